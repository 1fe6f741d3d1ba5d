#ifndef RT_NODE_H
#define RT_NODE_H
/* node: everything hangs on one; a process may hold thousands. A node is made, booted (actors spawned, on any shard, before anything
 * runs), then either started (live: a thread per shard, pool threads, watchdog, ctl) or stepped (simulator). */
#include "base/hash.h"
#include "base/lock.h"
#include "rt/pool.h"
#include "rt/verbs.h"

#define RT_SPIN_MAX ((usec)50)
typedef struct rt_node_cfg {
    const char *name; /* for people: "murre@localhost" */
    unsigned shards;  /* 1 to RT_SHARDS_MAX */
    usec spin;        /* 0 to RT_SPIN_MAX: most time to poll before sleeping; adaptive below this; 0: off */
    unsigned pool_threads[RT_POOL_KINDS];
    unsigned pool_queue_max[RT_POOL_KINDS];
    const char *recorder_path; /* flight recorder file; NULL: none */
    size_t recorder_bytes;     /* of each of its rings: one a shard and one for the other threads; 64 bytes an event */
    const char *ctl_path;      /* Unix socket; NULL: none */
    usec handler_budget;       /* a handler that takes longer is an event (1 ms) */
    usec stuck_report;         /* a shard stuck this long is reported with its stack (1 s) */
    usec job_stuck;            /* a pool thread stuck in one job this long is reported with its stack (2 s); 0: never */
    usec stuck_limit;          /* and past this the node ends (60 s); 0: never */
    unsigned table_stripes;    /* locks of a table whose configuration says nothing: a power of two, 1 to RT_STRIPES_MAX (64) */
    size_t table_wait_max;     /* bytes replaced in tables that may wait for readers to leave; then inserts are refused (256 MiB) */
    uint32_t queue_long;       /* messages in a mailbox from which on it is reported, once until it has halved (10000); 0: never */
    uint64_t memory_limit;     /* bytes that the process may use, beside what the system allows (rt/memory.h); 0: only that */
    uint64_t handler_cost_max; /* simulator: a handler takes a time drawn from the seed up to this, in microseconds; 0 live */
} rt_node_cfg;
#define RT_SHARDS_MAX 64u
void rt_node_cfg_default(rt_node_cfg *c);

/* sys and tls outlive the node. tls may be NULL where no TLS is used. */
NODISCARD err rt_node_new(const rt_node_cfg *c, sys *s, tls *t, rt_node **out);
void rt_node_add_msgs(rt_node *n, const rt_msg_desc *d, size_t count); /* before boot; each layer's table */
void rt_node_add_verbs(rt_node *n, const rt_verb *v, size_t count);    /* before start; the plug rt/verbs.h */
/* Runs fn on the shard, in a context that can spawn, register and send: before start at once; while running between two handlers, and
 * then waits up to timeout: ERR_TIMEOUT if the shard is stuck (fn may still run later: arg is reference-counted by the box). */
typedef struct rt_shard_call rt_shard_call;
struct rt_shard_call {
    rt_box box; /* frees it; called exactly once */
    void (*fn)(rt_ctx *cx, rt_shard_call *c);
};
NODISCARD err rt_node_call(rt_node *n, unsigned shard, rt_shard_call *c, usec timeout);
/* A function call with plain arguments for before start and the simulator, where nothing can be stuck. */
void rt_node_boot(rt_node *n, unsigned shard, void (*fn)(rt_ctx *cx, void *arg), void *arg);

NODISCARD err rt_node_start(rt_node *n); /* live */
void rt_node_stop(rt_node *n);           /* live: ends the threads after their present round; idempotent */
void rt_node_free(rt_node *n);           /* every actor's fini runs (reason KILLED), then all memory goes */

/* A thread of the layer above, beside the shards. start is called when the node's own threads run, and its error ends the start; stop when
 * a start ends, well or not, before any of the node's threads does: fine when start has not been called. Before start; arg outlives it. */
typedef struct rt_beside {
    err (*start)(void *arg);
    void (*stop)(void *arg);
    void *arg;
} rt_beside;
void rt_node_set_beside(rt_node *n, const rt_beside *b);

/* One round of a shard: inbox, rings, timers, actors, flush, poll. Live (may_sleep) it waits in poll when idle. Returns when it wants to
 * run next: at most now if it has work, USEC_NEVER if only something from outside can give it any. */
usec rt_node_step(rt_node *n, unsigned shard, bool may_sleep);
int rt_node_poller(rt_node *n, unsigned shard); /* for the simulator: which poller wakes which shard */

const rt_node_cfg *rt_node_config(const rt_node *n);
unsigned rt_node_shards(const rt_node *n);
sys *rt_node_sys(const rt_node *n);
tls *rt_node_tls(const rt_node *n);
lock_set *rt_node_locks(rt_node *n);
const hash_key *rt_node_hash_key(const rt_node *n);                                        /* drawn at start: for keys that peers choose */
const rt_verb *rt_node_verb(const rt_node *n, slice module, slice function, size_t arity); /* NULL */
void rt_node_each_verb(const rt_node *n, void (*fn)(void *arg, const rt_verb *v), void *arg);
/* The node's user data for the layer above: main hangs its services here. */
void rt_node_set_env(rt_node *n, void *env);
void *rt_node_env(const rt_node *n);

#endif
