#ifndef RT_REMOTE_H
#define RT_REMOTE_H
/* remote: the plug for actors that are not here: main fills it with the mesh's functions. Without one, a send to another node's pid is
 * dropped, and a link or monitor answers NOCONN.
 *
 * What is sent goes out through the table of functions; what comes in, the mesh hands to rt_remote_send and rt_remote_signal. A reason is
 * an err; ERR_FOREIGN is one that has no err, and its term (Erlang's external format, with the version byte) goes along. */
#include "rt/actor.h"

typedef enum rt_signal {
    RT_SIG_LINK,
    RT_SIG_UNLINK,    /* ref: the other node's number for it */
    RT_SIG_MONITOR,   /* ref: the watcher's reference, or what stands for it where the watched one is */
    RT_SIG_DEMONITOR, /* the same ref */
    RT_SIG_EXIT,      /* somebody wants it to end (rt_exit) */
    RT_SIG_EXIT_LINK, /* a linked actor has ended */
    RT_SIG_DOWN,      /* a monitored one has; the ref of its monitor */
    RT_SIG_UNLINKED,  /* only outwards: an UNLINK from there, with that ref, has arrived, and found a link or none */
} rt_signal;
typedef struct rt_remote {
    void *self;
    /* From an actor of this node, whose shard cx is of, to a pid of another. Neither waits. send: the sender is in *m, which it consumes.
     * term is borrowed, NULL but with ERR_FOREIGN. */
    void (*send)(struct rt_remote *r, rt_ctx *cx, rt_pid to, rt_msg **m);
    void (*signal)(struct rt_remote *r, rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term);
    /* A message with the tag `carrier` was sent to an actor that ended before it handled it, or had ended: what it carries has to be
     * answered. m is borrowed. NULL, 0: there is none such. Not called while the node is freed. */
    void (*lost)(struct rt_remote *r, rt_ctx *cx, rt_msg *m);
    uint16_t carrier;
} rt_remote;
void rt_node_set_remote(rt_node *n, rt_remote *r); /* before start */

/* From a pid of another node to one of this node, as if it had been sent on this shard by one of its actors: a pair keeps its order if the
 * mesh keeps it on one shard. The receiver need not be alive: a link or monitor is then answered through the plug, with NOPROC; an
 * EXIT_LINK or a DOWN acts only if the link or the monitor (by its ref) is there. rt_remote_send consumes *m. term: as above. */
void rt_remote_send(rt_ctx *cx, rt_pid from, rt_pid to, rt_msg **m);
void rt_remote_signal(rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term);
/* The watcher's end of a monitor of somebody on another node whose pid is not known: the caller tells that node. what: a pid there that
 * stands for it in RT_DOWN and when the plug is told DEMONITOR. Else as rt_monitor. */
uint64_t rt_remote_monitor(rt_ctx *cx, rt_pid what);
#endif
