#ifndef RT_ACTOR_H
#define RT_ACTOR_H
/* actor: a struct and a switch, pinned to a shard. Everything here is called on the actor's own shard, from its callbacks, with the ctx
 * that they were given. No callback blocks, takes a lock, or keeps a ctx.
 *
 * A callback that returns anything but ERR_OK ends the actor with that reason (ERR_SHUTDOWN and ERR_OK via rt_stop are the orderly ones).
 * Order: messages and signals from one actor to another arrive in the order sent; only rt_send_front overtakes. A signal acts on arrival,
 * before messages that wait in the mailbox (as in Erlang: an untrapped exit does not queue behind them; EXIT and DOWN messages do). */
#include "rt/rt_msgs.h"
#include "rt/sys.h"
#include "rt/tls.h"

typedef struct rt_timer rt_timer;
struct rt_timer {
    rt_timer *next, *prev; /* in a wheel slot; next NULL: not armed */
    uint32_t due;          /* tick at which it fires */
    uint32_t slot;         /* slot of the owning actor */
};
_Static_assert(sizeof(rt_timer) == 24, "timer node");

typedef enum rt_bound {                        /* what happens to a message that finds the mailbox at its bound */
                        RT_BOUND_REFUSE,       /* it goes back to the sender, marked RT_MSG_REFUSED (dropped if it comes from outside) */
                        RT_BOUND_DROP_OLDEST,  /* the oldest message in the mailbox is dropped */
                        RT_BOUND_DROP_EXPIRED, /* messages past their deadline are dropped; if none is, refuse */
                        RT_BOUND_MUTE,         /* it is taken, and the sender is not run (nor its socket read) until the mailbox has halved,
                                                  mute_max at most */
} rt_bound;

typedef struct rt_class_count { /* relaxed, written by one shard: a class with counts is used on one shard only */
    _Atomic uint64_t expired, refused;
} rt_class_count;
typedef struct rt_class {
    const char *name;                                            /* "c2s", "part": for people and statistics */
    size_t state_size;                                           /* zeroed state handed to every callback */
    err (*init)(rt_ctx *cx, void *st, const void *arg);          /* arg is borrowed for the call; NULL: nothing to do */
    err (*handle)(rt_ctx *cx, void *st, rt_msg **m);             /* takes *m over by setting it to NULL; else it is released after */
    err (*ready)(rt_ctx *cx, void *st, int fd, uint32_t events); /* for ports: SYS_* on a descriptor it owns */
    err (*timer)(rt_ctx *cx, void *st, rt_timer *t);             /* t is disarmed */
    err (*flush)(rt_ctx *cx, void *st);                          /* once at the end of a round after rt_flush_later */
    void (*fini)(rt_ctx *cx, void *st, err reason); /* always, if init returned OK; also when the node is freed; sends still work */
    uint32_t mailbox_max;                           /* messages; 0: RT_MAILBOX_MAX_DEFAULT */
    uint64_t mailbox_bytes_max;                     /* payload and blobs, shared ones in full; 0: unlimited by bytes */
    rt_bound bound;
    bool unflushable;             /* others rely on each message that it is sent, beyond a DOWN: rt_stat_flush refuses (ERR_REFUSED) */
    struct rt_class_count *count; /* what became of messages that it never handled; NULL: only the shard counts them */
    bool foreign;                 /* processes of other nodes may send to it, watch it and end it; else it does not exist for them */
    uint16_t sure;                /* messages with this tag pass its bound and survive a flush, as the runtime's own do; 0: no more */
    bool unmuted;                 /* no receiver slows it down: too many wait for it who do not send to that one */
    const struct rt_class *of;    /* what a pool of workers made it from (rt/workers.h); NULL: it was written as it is */
} rt_class;
#define RT_MAILBOX_MAX_DEFAULT 1000000u
#define RT_MUTE_MAX_USEC       (100 * USEC_PER_MSEC)

/* --- where am I */
rt_pid rt_self(const rt_ctx *cx);
rt_node *rt_ctx_node(const rt_ctx *cx);
const rt_class *rt_ctx_class(const rt_ctx *cx); /* of the actor that runs; NULL: none does */
void *rt_ctx_state(const rt_ctx *cx);           /* and its state */
unsigned rt_ctx_shard(const rt_ctx *cx);
usec rt_now(const rt_ctx *cx);          /* monotonic, read once per round */
usec rt_wall(rt_ctx *cx);               /* wall clock, for stamps */
uint32_t rt_now_msec(const rt_ctx *cx); /* base of message deadlines */
sys *rt_ctx_sys(const rt_ctx *cx);
uint64_t rt_random(rt_ctx *cx); /* shard's prng: jitter, never secrets */
void rt_entropy(rt_ctx *cx, void *out, size_t len);
/* The shard's read scratch: RT_SCRATCH bytes, valid until the callback returns. */
#define RT_SCRATCH 65536u
uint8_t *rt_scratch(rt_ctx *cx);

/* --- sending: always consumes, *m becomes NULL */
void rt_send(rt_ctx *cx, rt_pid to, rt_msg **m);
void rt_send_front(rt_ctx *cx, rt_pid to, rt_msg **m); /* overtakes everything that waits */
/* From outside the shards (pool, ctl, simulator); m from rt_msg_new_ext. Any thread. */
void rt_post(rt_node *n, rt_pid to, rt_msg **m);

/* --- life */
#define RT_SPAWN_LINK    1u /* linked to the caller from the start */
#define RT_SPAWN_MONITOR 2u /* monitored by the caller; *out_ref */
#define RT_SPAWN_KEEP    4u /* the caller is the heir of the tables that it makes (rt/table.h), unless they name another */
NODISCARD err rt_spawn(rt_ctx *cx, const rt_class *c, const void *arg, unsigned flags, rt_pid *out_pid, uint64_t *out_ref);
void rt_stop(rt_ctx *cx, err reason);            /* this actor ends after the present callback, also if that returns OK */
void rt_exit(rt_ctx *cx, rt_pid to, err reason); /* an exit signal; ERR_KILLED cannot be trapped; ERR_OK is ignored unless trapped */
/* The same with a reason that has no err (rt/remote.h); term: takes a reference of its own. */
void rt_stop_term(rt_ctx *cx, rt_blob *term);
void rt_exit_term(rt_ctx *cx, rt_pid to, rt_blob *term);
void rt_trap_exit(rt_ctx *cx, bool on); /* exits of linked actors become RT_EXIT messages */
void rt_link(rt_ctx *cx, rt_pid to);    /* to a dead actor: an exit NOPROC comes */
void rt_unlink(rt_ctx *cx, rt_pid to);
uint64_t rt_monitor(rt_ctx *cx, rt_pid to);  /* RT_DOWN comes exactly once, NOPROC if it is dead */
void rt_demonitor(rt_ctx *cx, uint64_t ref); /* and a DOWN of it that waits is taken out */

/* --- holding back */
/* While on, this actor takes no messages out of its mailbox, whose bound then slows its senders down or refuses them; signals, timers and
 * sockets come as ever. For those who pass on what they get: while nothing more fits, it waits where the runtime counts it. */
void rt_hold(rt_ctx *cx, bool on);
/* For those who keep what they are sent elsewhere than in their mailbox, when that gets too much: sender, an actor of this node, handles no
 * messages and its sockets are not read, as under RT_BOUND_MUTE, but without RT_MUTE_MAX_USEC: until this actor calls rt_slow_end, or ends.
 * So whoever calls it has to end it in any case. Nothing happens to an actor of another node, to itself, or to one that is unmuted. */
void rt_slow(rt_ctx *cx, rt_pid sender);
void rt_slow_end(rt_ctx *cx); /* of all whom this actor slows */

/* --- time and batching */
void rt_timer_set(rt_ctx *cx, rt_timer *t, usec at); /* arms or re-arms; resolution 1 ms, never early */
void rt_timer_cancel(rt_ctx *cx, rt_timer *t);       /* fine when not armed */
static inline bool rt_timer_armed(const rt_timer *t) { return t->next != NULL; }
void rt_flush_later(rt_ctx *cx); /* class.flush once, when this round's messages are handled */

/* --- ports: an actor that owns descriptors. Closed for it when it ends. */
NODISCARD err rt_port_add(rt_ctx *cx, int fd, uint32_t interest);
void rt_port_interest(rt_ctx *cx, int fd, uint32_t interest); /* no system call if unchanged; a poller that refuses ends the actor */
int rt_port_detach(rt_ctx *cx, int fd); /* leaves the poller; the caller owns fd again (to hand it to another actor) */
void rt_port_close(rt_ctx *cx, int fd);

/* --- local names: at most one actor a name; removed when it ends, before anybody is told. Looking one up takes no lock. */
/* This actor; the name is copied. ERR_EXISTS; ERR_INVALID: longer than RT_TABLE_KEY_MAX; ERR_LIMIT, ERR_FULL: as rt_table_insert. */
NODISCARD err rt_name_register(rt_ctx *cx, const char *name);
rt_pid rt_name_find(rt_ctx *cx, const char *name);    /* for actors; RT_PID_NONE */
rt_pid rt_name_find_slice(rt_ctx *cx, slice name);    /* the same; bytes of any kind: with a NUL among them it is no name */
rt_pid rt_name_whereis(rt_node *n, const char *name); /* the same for any thread: costs a little more */

/* --- a context, for services that run on a shard but outside an actor (boot): see rt/node.h */
#endif
