#ifndef RT_FOLLOW_H
#define RT_FOLLOW_H
/* follow: who is told of events while they happen (OTP's system_monitor and system_flag(trace) in one):
 *
 *     rt_event --+--> actors that subscribed: a message RT_EVENT each (rt_event_subscribe)
 *                |
 *                +--> a tool that follows events: a ring of RT_FOLLOW_RING, outside the shards (rt_follow_events)
 *                |
 *                `--> a tool that watches requests: the same, of what has its trace id (rt_follow_trace; trace.h says what such an id is)
 *
 * Nobody is waited for: a follower that does not keep up loses the newest and is told how many. The three events of every message (send,
 * enqueue, handle) are not for following, because being told of them would cause more of them: refused with ERR_INVALID. */
#include "rt/event.h"

#define RT_FOLLOW_TRACES  8u    /* at a time: the upper byte of a trace id has a bit for each */
#define RT_FOLLOW_STREAMS 8u    /* rt_follow_events at a time */
#define RT_FOLLOW_ACTORS  16u   /* subscriptions at a time */
#define RT_FOLLOW_PENDING 256u  /* RT_EVENT messages of a subscription that wait for its actor; what comes then is lost and counted */
#define RT_FOLLOW_RING    4096u /* events that wait for a tool: 0.7 MiB, allocated with the follower; what comes then is lost and counted */
#define RT_SEEN_TEXT      64u   /* bytes of a text that a tool is shown */

typedef struct rt_seen { /* an event, as a tool gets it */
    uint64_t lost;       /* events that its follower missed just before it */
    usec mono;           /* when, on the monotonic clock: comparable between shards */
    int64_t wall;        /* and since 1970 */
    rt_event_id id;
    uint32_t trace;    /* number of the request, rt_trace_number; 0: none */
    uint32_t shard;    /* number of shards: another thread */
    rt_pid actor;      /* that was running; RT_PID_NONE */
    const char *cls;   /* its class, a literal; NULL */
    uint64_t arg[3];   /* as named in events.def; arg[2] is nothing where there is a text */
    uint16_t text_len; /* of the kept part */
    bool has_text;
    uint8_t text[RT_SEEN_TEXT];
} rt_seen;

typedef struct rt_event_set {
    uint64_t bits[(EV_COUNT_ + 63) / 64];
} rt_event_set;
static inline void rt_event_set_add(rt_event_set *s, rt_event_id id) { s->bits[id / 64] |= UINT64_C(1) << (id % 64); }
static inline bool rt_event_set_has(const rt_event_set *s, rt_event_id id) { return s->bits[id / 64] >> (id % 64) & 1; }
bool rt_event_is_frequent(rt_event_id id); /* send, enqueue, handle: not to be followed */

/* This actor gets an RT_EVENT for each event of the set, from any shard and thread, but not for those that happen while it is itself
 * running: it would be told of what telling it causes. Again: the set is replaced. It ends with the actor. ERR_LIMIT: RT_FOLLOW_ACTORS
 * have subscribed; ERR_INVALID: a frequent one is in the set. */
NODISCARD err rt_event_subscribe(rt_ctx *cx, const rt_event_set *set);
void rt_event_unsubscribe(rt_ctx *cx); /* what is on its way still comes; fine when not subscribed */

/* --- tools: any thread; each follower belongs to one */
typedef struct rt_follow rt_follow;
typedef struct rt_trace_filter { /* one of the three */
    slice subject;               /* a name that rt_trace_subject is asked with: for the edge, a bare or full JID */
    rt_pid actor;
    slice name; /* of an actor, and of its successors; at most RT_TRACE_NAME bytes */
} rt_trace_filter;
#define RT_TRACE_NAME 47u
/* ERR_LIMIT: as many follow. Of a trace: no shard was waited for longer than a moment; one that is stuck traces when it goes on. */
NODISCARD err rt_follow_events(rt_node *n, const rt_event_set *set, rt_follow **out);
NODISCARD err rt_follow_trace(rt_node *n, const rt_trace_filter *f, rt_follow **out);
/* wake is called when something can be taken after rt_follow_next has said that there is nothing, on whatever thread, under a lock: it
 * may wake a poller and do no more. */
void rt_follow_wake(rt_follow *f, void (*wake)(void *arg), void *arg);
bool rt_follow_next(rt_follow *f, rt_seen *out);
uint64_t rt_follow_lost(rt_follow *f); /* after the newest that was taken or waits; it is then told */
void rt_follow_close(rt_follow *f);    /* nothing is traced for it any more; NULL is fine. rt_node_free closes those that are left */

#endif
