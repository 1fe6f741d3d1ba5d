#ifndef RT_EVENT_STATE_H
#define RT_EVENT_STATE_H
/* event_state: what event.c and log.c keep, private to src/rt: one rt_event_state per shard and one (node.ev_ext) for other threads.
 *
 * The frequent path of rt_event is a count, a probe and one test of a byte: `todo` says what else an event wants. The most frequent
 * events (send, handle and their like) are not recorded live, because they would push everything else out of the ring within
 * milliseconds; in the simulator every event goes into the digest. */
#include "rt/event.h"
#include "rt/recorder.h"

#include <stdatomic.h>

#define RT_EV_LOG    1u  /* at or above the log's level */
#define RT_EV_RECORD 2u  /* goes into the flight recorder */
#define RT_EV_DIGEST 4u  /* goes into the digest: all of them, where there are no threads (simulator) */
#define RT_EV_TALLY  8u  /* an argument is measured */
#define RT_EV_FOLLOW 16u /* somebody follows it, or an actor has subscribed to it */
#define RT_EV_TRACE  32u /* traces are watched: goes to who watches, if it has an id */
struct rt_event_state {
    unsigned ring;                     /* in the flight recorder: shard number, or the number of shards for other threads */
    _Atomic uint8_t todo[EV_COUNT_];   /* RT_EV_*; relaxed: written from any thread by rt_log_level, rt_event_record, follow.c; seen late */
    _Atomic uint64_t count[EV_COUNT_]; /* relaxed: written by the owning thread alone (ev_ext: under the lock), read by tools */
    _Atomic uint64_t digest;           /* relaxed, as count */
    rt_tally measured[RT_MEASURES];    /* written as count */
};

/* n's sys, configuration and number of shards are in place and rt_event_node_init has run. */
void rt_event_state_init(rt_node *n, struct rt_event_state *st, unsigned ring);
static inline void rt_event_state_fini(struct rt_event_state *st) { (void)st; /* it owns nothing */ }

/* follow.c: tells who follows. Not under a lock of rank FOLLOW or above; nobody is waited for. */
typedef struct rt_seen rt_seen;
void rt_follow_push(rt_node *n, const rt_seen *x); /* x->trace: the whole id */
/* As rt_event_ext with three arguments, for what happens to a traced request outside the shards. */
void rt_event_ext_traced(rt_node *n, uint32_t trace, rt_event_id id, const uint64_t arg[3]);

/* --- between event.c and log.c ------------------------------------------------------------------------------------------------- */
typedef struct rt_log rt_log;
rt_log *rt_log_new(rt_node *n);
void rt_log_free(rt_log *l); /* writes what waits, ends the thread */
/* Puts a line into the buffer unless its event is over its rate. Any thread; never waits for the sink. slot 0: no actor. */
void rt_log_push(rt_log *l, rt_event_id id, uint32_t slot, const uint64_t arg[3], slice text);
/* The thread beside the shards also guards node.ev_ext with the log's lock. */
void rt_log_ext_lock(rt_log *l);
void rt_log_ext_unlock(rt_log *l);

#endif
