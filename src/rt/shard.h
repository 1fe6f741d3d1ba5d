#ifndef RT_SHARD_H
#define RT_SHARD_H
/* shard: the runtime's private structs, seen by src/rt only: node, shard, context; actors and the like are in rt/parts.h. One shard is one
 * thread's world: everything in it is touched by that thread alone, except the fields marked "shared", each with its memory order and its
 * partner.
 *
 * Threads that are no shard (ctl, watchdog, pool, signal handlers) may read: n->*, shared fields, and nothing else. */
#include "base/hash.h"
#include "base/prng.h"
#include "rt/epoch.h"
#include "rt/event_state.h"
#include "rt/inbox.h"
#include "rt/maps.h"
#include "rt/msacc.h"
#include "rt/node.h"
#include "rt/parts.h"
#include "rt/recorder.h"
#include "rt/remote.h"
#include "rt/ring.h"
#include "rt/slab.h"
#include "rt/stat.h"
#include "rt/timer.h"

/* context: what callbacks get. One per shard. */
struct rt_ctx {
    rt_shard *sh;
    rt_actor *self; /* NULL outside an actor (boot, calls) */
    uint32_t trace; /* of the message being handled */
    bool work;      /* it is work of a pool */
};

/* --- shard ----------------------------------------------------------------------------------------------------------------------- */
#define RT_BATCH         100u          /* messages of one actor in a run */
#define RT_STEP_MESSAGES 4096u         /* messages handled in a step before it looks at its surroundings again */
#define RT_STEP_USEC     USEC_PER_MSEC /* and the time after which it does */
#define RT_READY_MAX     128           /* readiness events taken from the poller at once */
#define RT_MEASURE_EVERY 64u           /* one turn in so many is measured */
#define RT_NSEC_SHIFT    10            /* 0.3 % off at 3 GHz, and no span of cycles is too long for it */
struct rt_shard {
    rt_ctx cx;
    rt_node *node;
    sys *s;
    unsigned id;
    int poll; /* poller */

    usec now;                      /* monotonic, read once a round */
    uint32_t now_msec;             /* since the node's epoch */
    rt_actor *run_head, *run_tail; /* actors with messages */
    rt_actor *flush_head, *flush_tail;
    rt_wheel wheel;
    rt_slab slab;
    prng prng;

    rt_slot **pages; /* slot table */
    size_t pages_cap;
    uint32_t n_slots;   /* slots ever used */
    uint32_t free_slot; /* index + 1; 0: none */
    hmap rels;
    rt_map *maps;      /* tables that tools may look at; maps.c */
    rt_map rels_shown; /* of rels */
    rt_dying *dying;   /* actors that end when the present callback is over */
    size_t dying_cap, dying_from, dying_to;
    bool reaping;      /* inside rt_actor_reap */
    bool freeing;      /* node_free is at work */
    uint64_t next_ref; /* monitor references */
    rt_mute_end *mutes;
    size_t mutes_cap, mutes_from, mutes_to;

    rt_port *ports;
    size_t ports_cap;
    uint32_t n_ports, free_port; /* free_port: index + 1 */

    rt_out *outs;   /* to each shard; NULL with one shard */
    rt_out **dirty; /* outs with something unpublished */
    unsigned n_dirty;
    size_t n_over;    /* entries in all overflow queues: past RT_OVER_MAX no actor is run until receivers have made room */
    uint8_t *scratch; /* RT_SCRATCH, allocated at first use */

    uint64_t span_start;    /* cycle count at the end of the last span of callbacks; good while actors run (actor.c) */
    uint64_t budget_cycles; /* of a handler */
    uint64_t step_cycles;   /* RT_STEP_USEC in cycles */
    uint64_t cycles_per_usec;
    uint64_t nsec_per_cycle; /* << RT_NSEC_SHIFT */
    rt_actor *measured;      /* whose next turn is measured; NULL: nobody's. See actor.c */
    uint64_t measured_since; /* cycle count at which it was put into the run queue */
    uint32_t measure_in;     /* actors to be put there until another turn is measured */
    bool measuring;          /* its turn has come */
    uint32_t queue_long;     /* cfg.queue_long; UINT32_MAX: never */
    usec late_at;            /* when a message was last dropped because it had expired; USEC_NEVER: not yet */
    usec slab_at;            /* when slab_ready is due */
    usec gap;                /* average of the last waits for work: whether spinning is worth it */

    struct rt_event_state ev; /* event.c's */
    struct rt_traced *trace;  /* what is watched; NULL: nothing. trace.c */
    rt_msacc msacc;
    sys_thread *thread; /* live only; set before the watchdog starts */

    /* --- shared, read by others seldom --------------------------------------------------------------------------------------------- */
    /* For the watchdog: relaxed stores by the shard, relaxed loads by anybody: a snapshot that may be a moment old. */
    _Atomic uint64_t steps;    /* counts rounds and runs of an actor: does not move while a callback is stuck */
    _Atomic bool idle;         /* in poll, or not being stepped */
    _Atomic usec step_start;   /* monotonic time at which the present round began */
    _Atomic uint32_t run_slot; /* actor whose callback runs; 0 gen: none */
    _Atomic uint32_t run_gen;
    _Atomic uint32_t run_tag;        /* tag of the message being handled; 0: another callback */
    _Atomic(const char *) run_class; /* its class name, a literal; NULL: none */
    _Atomic uint64_t slab_ready;     /* bytes in slab that no block uses; relaxed store by the shard, relaxed load by memory.c */
    _Atomic bool stuck;              /* the watchdog has reported that it does not come back; written by the watchdog, read by tools */
    /* Queue statistics: written relaxed by the shard alone, read relaxed by tools. */
    _Atomic uint64_t msg_enqueued, msg_dequeued, msg_bytes, msg_longest;
    _Atomic uint64_t sig_enqueued, sig_dequeued, sig_longest;
    _Atomic uint64_t n_expired, n_refused, n_dropped, n_muted, n_ring_full;
    _Atomic uint32_t n_actors;
    rt_tally handler_nsec, ready_nsec, turn_messages; /* rt_stat_times */
    rt_reader reader;                                 /* what it may be reading in tables */
    /* --- shared, written by others often: on cache lines of their own ---------------------------------------------------------------- */
    uint8_t pad_before[128];
    /* Wake-up. sleeping: seq_cst store by the shard before it looks at pending and inbox.filled (seq_cst) for the last time; partners:
     * rt_shard_poke, which sets those first (seq_cst) and then exchanges sleeping (seq_cst). One of the two sees the other. */
    _Atomic bool sleeping;
    _Atomic uint64_t pending; /* bit i: shard i has published to its ring to here. fetch_or by i, exchange(0) here; both seq_cst */
    rt_inbox inbox;           /* from threads outside the shards */
    _Atomic uint64_t n_woken; /* times it was woken from its sleep; relaxed, added by who wakes it */
    uint8_t pad_after[128];
};

/* --- node ------------------------------------------------------------------------------------------------------------------------ */
typedef struct rt_pool rt_pool;
typedef struct rt_tables rt_tables;
typedef struct rt_calls rt_calls;
struct rt_node {
    rt_node_cfg cfg;
    char *name; /* copies of the configuration's strings */
    char *recorder_path, *ctl_path;
    sys *s;
    tls *t;
    usec epoch; /* monotonic time of its birth: base of ticks and message deadlines */
    hash_key key;
    lock_set locks;
    bool locks_ready;
    unsigned n_shards;
    rt_shard *shards;
    _Atomic(rt_ring *) *rings;                   /* [src * n_shards + dst]; release by src when it makes one, acquire by dst */
    const rt_msg_desc **descs[RT_TAG_MAX / 256]; /* tag -> description, in pages */
    const rt_verb **verbs;
    size_t n_verbs, verbs_cap;
    rt_remote *remote;
    void *env;
    rt_beside beside; /* start NULL: none */
    rt_pool *pool;
    struct rt_workers *workers; /* pools of them, in the order of boot; written at boot */
    rt_tables *tables;
    rt_epochs epochs;
    rt_calls *calls;
    bool started;      /* threads run; written before they start and after they are joined */
    _Atomic bool stop; /* relaxed store by rt_node_stop, then every shard is woken; relaxed load once a round */

    /* The other half of rt: made by its modules from rt_node_new and rt_node_start. */
    struct rt_event_state ev_ext; /* events from threads outside the shards; guarded by event.c's own lock */
    rt_recorder *recorder;        /* NULL: none. Ring i: shard i; ring n_shards: other threads */
    struct rt_log *log;
    struct rt_ctl *ctl;
    struct rt_hub *hub;             /* who follows events; follow.c */
    _Atomic uint32_t trace_numbers; /* of requests that were traced; relaxed: numbers, nothing is read through them */
    struct rt_watchdog *watchdog;
    struct {
        _Atomic bool tight; /* relaxed, as the two figures: memory.c */
        _Atomic uint64_t used, limit;
        usec trim_at; /* of who looks: when malloc is next asked to give back */
    } memory;
    struct rt_rates *rates;     /* queue rates; NULL: nothing samples them (not started, simulator). Written before threads run */
    struct rt_contend *contend; /* what the lock-free counters read when they were cleared; contend.c */
    rt_msacc *msaccs;           /* shards, then pool threads, watchdog, ctl: rt_msacc_join, before the thread runs; guarded by */
    lock msacc_lock;            /* this: readers on threads of the pool may still be at it when others leave */
};

const rt_msg_desc *rt_node_desc(const rt_node *n, uint16_t tag); /* NULL: no table was added with it */

/* The runtime's other half, called by node.c in this order. Each *_init/_new is called once with the node's configuration in place.
 *   rt_node_new:   rt_event_node_init(n), rt_event_state_init(n, st, ring) per shard and for ev_ext, rt_recorder_new if configured
 *   rt_node_start: rt_log_start(n), threads of shards and pool, rt_watchdog_start(n), rt_ctl_new + rt_ctl_start if configured
 *   rt_node_stop:  rt_ctl_free, rt_watchdog_stop(n), threads joined
 *   rt_node_free:  rt_event_state_fini, rt_recorder_free, rt_event_node_fini(n) (stops the log's thread, frees the log) */
NODISCARD err rt_event_node_init(rt_node *n);
void rt_event_node_fini(rt_node *n);
NODISCARD err rt_log_start(rt_node *n);
NODISCARD err rt_watchdog_start(rt_node *n);
void rt_watchdog_stop(rt_node *n); /* fine when it was never started */
/* msacc: puts an account into the node's list, before its thread runs; it begins with the thread's first state. msacc.c. */
void rt_msacc_join(rt_node *n, rt_msacc *m, rt_msacc_type type, uint32_t id);
void rt_msacc_leave(rt_node *n, rt_msacc *m);

#endif
