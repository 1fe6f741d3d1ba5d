#ifndef RT_STAT_H
#define RT_STAT_H
/* stat: what tools read of the runtime: actors, queues. Gathered on the shard between two handlers (through rt_node_call), queue
 * statistics of a node from per-shard counters, O(1) (system.md G13). */
#include "rt/epoch.h"
#include "rt/node.h"
#include "rt/tally.h"

typedef struct rt_queue_stat {   /* for messages or for signals */
    uint64_t enqueued, dequeued; /* since start */
    uint64_t queued;             /* now */
    uint64_t longest;            /* most that were ever queued */
    uint64_t bytes;              /* payload bytes queued now (messages) */
} rt_queue_stat;
typedef struct rt_actor_info {
    rt_pid pid;
    const char *cls;
    char name[48]; /* registered name, or "" */
    rt_queue_stat messages;
    uint64_t signals;         /* received since start */
    uint64_t handled;         /* messages handled */
    uint64_t reductions_usec; /* time spent in its callbacks, sampled 1 in 64 and scaled */
    uint32_t relations;       /* links, monitors of both ends, mutes */
    uint32_t ports, timers;
    uint64_t state_bytes;
    bool trapping, muted, held, running;
    rt_pid parent; /* who spawned it */
} rt_actor_info;
/* What of the node's memory is its: its own block, what waits for it, its ends of relations; not what its state points to, which only its
 * code knows. */
uint64_t rt_stat_memory(const rt_actor_info *i);
typedef enum rt_stat_kind {
    RT_STAT_LINK,
    RT_STAT_MONITORS,
    RT_STAT_MONITORED_BY,
    RT_STAT_MUTES,
    RT_STAT_MUTED_BY,
    RT_STAT_KINDS
} rt_stat_kind;
typedef struct rt_stat_relation {
    rt_pid other;
    rt_stat_kind kind;
} rt_stat_relation;
#define RT_STAT_RELATIONS 16384u /* as many are worth a walk: some 100 us of the shard */
/* Actors of a shard with slot index >= *from, up to max; *from moves on; returns how many (0: done). Runs on that shard. */
size_t rt_stat_actors(rt_ctx *cx, uint32_t *from, rt_actor_info *out, size_t max);
/* The actors with the longest mailboxes, for who has a million of them: looks at the next RT_STAT_SCAN slots from *from on, keeps the best
 * max (empty mailboxes never) of those seen so far in out, longest first, *n of them; *from moves on; false: that was all. On that shard.
 */
#define RT_STAT_SCAN 4096u
typedef struct rt_stat_queue {
    rt_pid pid;
    const char *cls;
    uint64_t queued, longest, bytes;
} rt_stat_queue;
bool rt_stat_longest(rt_ctx *cx, uint32_t *from, rt_stat_queue *out, size_t max, size_t *n);
/* For the layer that a class belongs to: its next actor on this shard, in the slots from *from to before end; *from moves past it. Its
 * state, good until the caller returns to the shard; NULL: none, and *from is end. */
const void *rt_stat_state(rt_ctx *cx, const rt_class *c, uint32_t *from, uint32_t end, rt_pid *out_pid);
uint32_t rt_stat_slots(const rt_ctx *cx); /* of this shard, free ones too */
/* Puts q in its place among the best max. */
void rt_stat_keep(rt_stat_queue *out, size_t max, size_t *n, const rt_stat_queue *q);
/* One actor, on its shard; false: it is gone. With it the newest of its relations, up to max (0: none), *out_n of them. */
bool rt_stat_actor(rt_ctx *cx, rt_pid pid, rt_actor_info *out, rt_stat_relation *relations, size_t max, size_t *out_n);
/* The whole node: O(shards), from any thread. */
void rt_stat_queues(rt_node *n, rt_queue_stat *out_messages, rt_queue_stat *out_signals);
void rt_stat_queues_of(rt_node *n, unsigned shard, rt_queue_stat *out_messages, rt_queue_stat *out_signals); /* one shard */
/* One shard's part, from any thread; O(1). A signal is counted where it is sent and where it arrives, so that `queued` of one shard's
 * signals means nothing and is 0. */
typedef struct rt_shard_stat {
    rt_queue_stat messages, signals;
    uint64_t actors;
} rt_shard_stat;
void rt_stat_shard(rt_node *n, unsigned shard, rt_shard_stat *out);
/* Bytes that the shards have for actors, messages and relations, in use or not. Of a node that is not running: where it is stepped. */
uint64_t rt_stat_slabs(const rt_node *n);
/* What takes how long on the shards: histograms of one turn in 64 of all actors, always on. Adds all shards' to *into; any thread. Nothing
 * is measured where handlers take no time (simulator). */
typedef struct rt_times {
    rt_tally_sum handler_nsec;  /* message handlers; of up to 8 messages in a row the average counts as often */
    rt_tally_sum ready_nsec;    /* waits in the run queue */
    rt_tally_sum turn_messages; /* messages in the mailbox when the turn comes */
} rt_times;
void rt_stat_times(rt_node *n, rt_times *into);
/* Takes out every message that waits in an actor's mailbox (G12); on its shard; how many to *out_count. NOPROC if it is gone; REFUSED by
 * a class that is unflushable. */
NODISCARD err rt_stat_flush(rt_ctx *cx, rt_pid pid, uint64_t *out_count);
uint32_t rt_stat_actor_count(rt_node *n);
/* Every registered name, in no order, until fn returns false. Any thread. */
void rt_name_each(rt_reader *r, bool (*fn)(void *arg, slice name, rt_pid pid), void *arg);

#endif
