#ifndef RT_WORKERS_H
#define RT_WORKERS_H
/* workers: pools of actors of one class, spread over the shards, each with its place in the pool: supervised, and when it crashed its
 * successor has the same place (system.md G17; what WhatsApp called gen_factory and gen_industry). Two modes:
 *
 *   by key   a key has one worker: all work of a key is done in the order in which a sender sent it. Whoever sends finds the worker by
 *            itself, in one table without locks: a dispatcher for every sender, at no cost.
 *   idle     work goes to any worker that has nothing to do, one at a time: a slow one blocks only itself. Dispatchers, one a shard or
 *            fewer, each have a share of the workers; where none is idle, work waits with the dispatcher, bounded in messages and bytes,
 * and another dispatcher that has idle workers takes it over.
 *
 * Work is any message. It comes back to its sender marked RT_MSG_REFUSED when it was not begun: there was no room, its worker was being
 * restarted, or ended before its turn. Work past its deadline (rt_msg.deadline) is dropped and counted. Work that a worker did not survive
 * is not given to another one: it is lost, counted, and whoever needs an answer has a deadline or a monitor. */
#include "rt/actor.h"
#include "rt/node.h"

typedef struct rt_workers rt_workers;
typedef enum rt_workers_mode { RT_WORKERS_BY_KEY, RT_WORKERS_IDLE } rt_workers_mode;
#define RT_WORKERS_MAX  65536u /* workers of a pool; and at most 4,095 on a shard (RT_SUP_CHILDREN_MAX) */
#define RT_WORKERS_NAME 32

typedef struct rt_workers_cfg {
    const char *name;    /* "part": less than RT_WORKERS_NAME bytes, for people and rt_workers_find; a literal */
    const rt_class *cls; /* of the workers; its mailbox bounds hold for work by key. The pool makes its own rt_class of it (rt_class.of) */
    const void *arg;     /* init of worker i gets arg + i * arg_size, which outlives the node's actors */
    size_t arg_size;
    rt_workers_mode mode;
    unsigned workers;         /* 1 to RT_WORKERS_MAX; worker i lives on shard i % shards */
    unsigned dispatchers;     /* idle: 1 to the number of shards; 0: one a shard. Senders of shard s use dispatcher s % dispatchers */
    uint32_t queue_max;       /* idle: messages that may wait with a dispatcher, */
    uint64_t queue_bytes_max; /* and bytes, payload and blobs; 0: unlimited by bytes */
    usec stuck;         /* a worker that takes longer for one piece of work is counted as stuck, and in an idle pool reported; 0: never */
    uint32_t intensity; /* restarts of the workers of one shard allowed ... */
    usec period;        /* ... within this; then they are gone (and the node, if vital) */
    bool vital;         /* rt_sup_spec.vital */
} rt_workers_cfg;
/* Starts a pool; at boot. It belongs to the node. INVALID: a number of c is out of range; EXISTS: its name is taken; other errors are of
 * the first worker whose init failed. */
NODISCARD err rt_workers_boot(rt_node *n, const rt_workers_cfg *c, rt_workers **out);

/* --- any thread, without locks */
rt_workers *rt_workers_find(const rt_node *n, const char *name);    /* NULL */
rt_workers *rt_workers_next(const rt_node *n, const rt_workers *p); /* all of the node, in order; p NULL: the first; NULL: p was the last */
unsigned rt_workers_count(const rt_workers *p);
rt_pid rt_workers_at(const rt_workers *p, unsigned i);         /* worker i; RT_PID_NONE while it restarts */
unsigned rt_workers_of(const rt_workers *p, uint64_t key);     /* number of a key's worker; the same for the life of the node */
void rt_workers_post(rt_workers *p, uint64_t key, rt_msg **m); /* as rt_post: from outside the shards */

/* --- on a shard. Consumes *m, like rt_send. key: idle pools do not look at it. To a by-key pool rt_send to rt_workers_at does as well, but
 * then what waits for a worker that ends is lost with it, as with any actor */
void rt_workers_send(rt_ctx *cx, rt_workers *p, uint64_t key, rt_msg **m);

/* --- for workers of an idle pool: work is done when its handler returns, unless it says that it goes on (it waits for a pool job, an
 * answer); until it says that it is done the worker gets no other work, but all other messages. */
void rt_workers_go_on(rt_ctx *cx);
void rt_workers_done(rt_ctx *cx);

/* --- looking: any thread. Of a dispatcher (idle), or of a shard (by key). */
typedef struct rt_workers_stat {
    unsigned shard;
    uint32_t workers, busy, stuck, down; /* down: being restarted, or given up; the others are idle */
    uint64_t queued, queued_bytes;       /* idle: wait with the dispatcher; by key they are in the workers' mailboxes */
    uint64_t sent;  /* idle: all that came to this dispatcher, also from others; by key 0: senders go past the pool, and nobody counts */
    uint64_t begun; /* by these workers */
    uint64_t expired, refused; /* before they were begun */
    uint64_t lost;             /* with a worker that ended in the midst of it */
    uint64_t handed;           /* idle: to other dispatchers, whose workers had nothing to do */
} rt_workers_stat;
const char *rt_workers_name(const rt_workers *p);
rt_workers_mode rt_workers_mode_of(const rt_workers *p);
unsigned rt_workers_rows(const rt_workers *p); /* dispatchers, or shards */
void rt_workers_look(const rt_workers *p, unsigned row, rt_workers_stat *out);

#endif
