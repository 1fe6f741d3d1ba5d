/* mailbox: an actor's queue of messages, its bound, and what happens at the bound. The queue is a private singly-linked list of slab
 * blocks, apart from the actor's state; whatever comes from other threads comes through rings and the inbox and is put in by the shard.
 * The list is a circle, so that one pointer in the actor does for both ends: a->last, whose next is the first.
 *
 *     arrive -> gone? drop, NOPROC -> below the bound? append -> policy: refuse | drop oldest | drop expired | append and mute the sender
 *     take   -> front; past its deadline? drop, EXPIRED, next one
 *
 * Invariants: (1) the runtime's own messages (EXIT, DOWN, JOB_DONE, TRANSFER), returned ones and those that the class names (sure) are
 * never refused or dropped by a bound: a monitor fires exactly once, whatever the load; (2) a deadline is tested in rt_mailbox_take only
 * (system.md G11); (3) queue statistics are counters kept by append and take: reading them is O(1) (G13); (4) a probe is answered here,
 * when it is taken out: no actor sees one that it has not sent. */
#include "base/plant.h"
#include "rt/core.h"
#include "rt/event_often.h"

#define LATE_QUIET (10 * USEC_PER_SEC)

uint32_t rt_mailbox_max(const rt_actor *a) { return a->cls->mailbox_max ? a->cls->mailbox_max : RT_MAILBOX_MAX_DEFAULT; }

static bool is_sure(const rt_actor *a, const rt_msg *m) {
    return m->tag < RT_TAG_STORE || (m->tag & RT_MSG_REFUSED) || m->tag == a->cls->sure;
}

/* What the message counts for. Blobs are looked at only where they are bounded: finding them costs more than the rest of a send. */
static inline uint64_t weight(const rt_shard *sh, const rt_actor *a, const rt_msg *m) {
    uint64_t bytes = rt_msg_bytes(sh->node, m);
    return UNLIKELY(a->cls->mailbox_bytes_max) ? bytes + rt_msg_blobs(sh->node, m) : bytes;
}

static inline void account_in(rt_shard *sh, rt_actor *a, const rt_msg *m) {
    uint64_t bytes = weight(sh, a, m);
    a->bytes += bytes;
    if (++a->queued > a->longest) a->longest = a->queued;
    rt_count(&sh->msg_enqueued, 1);
    rt_count(&sh->msg_bytes, bytes);
    uint64_t queued = rt_counted(&sh->msg_enqueued) - rt_counted(&sh->msg_dequeued);
    if (queued > rt_counted(&sh->msg_longest)) atomic_store_explicit(&sh->msg_longest, queued, memory_order_relaxed); /* as rt_count */
    rt_event_often(&sh->cx, EV_ENQUEUE, a->slot, m->tag, a->queued);
    if (UNLIKELY(m->trace)) rt_trace_queued(sh, a, m);
}

static inline void account_out(rt_shard *sh, rt_actor *a, const rt_msg *m) {
    uint64_t bytes = weight(sh, a, m);
    a->bytes -= bytes;
    a->queued--;
    a->dequeued++;
    rt_count(&sh->msg_dequeued, 1);
    rt_count(&sh->msg_bytes, (uint64_t)0 - bytes);
}

/* Puts m into the circle, after the last one: in front of the first. */
static inline void link_in(rt_actor *a, rt_msg *m) {
    if (!a->last) {
        a->last = m->next = m;
    } else {
        m->next = a->last->next;
        a->last->next = m;
    }
}

void rt_mailbox_append(rt_shard *sh, rt_actor *a, rt_msg *m) {
    link_in(a, m);
    if (!plant(SIGNAL_OVERTAKES) || m->tag != RT_DOWN || m->next == m) a->last = m;
    account_in(sh, a, m);
    rt_actor_schedule(sh, a);
}

static void prepend(rt_shard *sh, rt_actor *a, rt_msg *m) {
    link_in(a, m);
    account_in(sh, a, m);
    rt_actor_schedule(sh, a);
}

/* Takes out the message after prev; that is the first one after the last. */
static inline rt_msg *cut(rt_shard *sh, rt_actor *a, rt_msg *prev) {
    rt_msg *m = prev->next;
    prev->next = m->next;
    if (m == a->last) a->last = m == prev ? NULL : prev;
    m->next = NULL;
    account_out(sh, a, m);
    return m;
}

static bool expired(const rt_shard *sh, const rt_msg *m) {
    return !plant(DEADLINE_IGNORED) && m->deadline && (int32_t)(sh->now_msec - m->deadline) > 0;
}

/* Work that comes too late is reported when it begins, and again only after it has been in time for LATE_QUIET. */
static void report_late(rt_shard *sh, const rt_actor *a, uint32_t late_msec) {
    bool begins = sh->late_at == USEC_NEVER || sh->now - sh->late_at > LATE_QUIET;
    sh->late_at = sh->now;
    if (begins) rt_event_text(&sh->cx, EV_LATE_WORK, a->slot, late_msec, slice_str(a->cls->name));
}

static void drop_expired_one(rt_shard *sh, rt_actor *a, rt_msg *m) {
    rt_count(&sh->n_expired, 1);
    if (a->cls->count) rt_count(&a->cls->count->expired, 1);
    a->dropped++;
    report_late(sh, a, sh->now_msec - m->deadline);
    rt_event(&sh->cx, EV_EXPIRED, a->slot, m->tag, sh->now_msec - m->deadline);
    rt_msg_release(sh, m);
}

/* Says how many wait behind it, to a caller outside or to an actor: that handles it, as it has no deadline any more. One who has gone
 * meanwhile is found gone there. */
static void answer_probe(rt_shard *sh, rt_actor *a, rt_msg *m) {
    rt_probe_of(m)->queued = a->queued;
    a->dropped++; /* taken out without being handled */
    m->deadline = 0;
    rt_send(&sh->cx, m->sender, &m);
}

rt_msg *rt_mailbox_take(rt_shard *sh, rt_actor *a) {
    while (a->last) {
        rt_msg *m = cut(sh, a, a->last);
        if (LIKELY(!m->deadline)) return m;
        if (UNLIKELY(m->tag == RT_PROBE)) /* has a deadline always: others pay nothing for it */
            answer_probe(sh, a, m);
        else if (!expired(sh, m))
            return m;
        else
            drop_expired_one(sh, a, m);
    }
    return NULL;
}

void rt_mailbox_refuse(rt_shard *sh, rt_pid by, rt_msg *m) {
    rt_pid sender = m->sender;
    rt_count(&sh->n_refused, 1);
    rt_event(&sh->cx, EV_REFUSED, by.slot, RT_TAG(m), 0);
    if (!rt_pid_ok(sender) || sender.node != 0) {
        rt_msg_release(sh, m);
        return;
    }
    m->tag = RT_TAG(m) | RT_MSG_REFUSED;
    m->deadline = 0; /* it has arrived: the sender shall know */
    m->sender = by;
    unsigned shard = rt_pid_shard(sender);
    if (shard == sh->id)
        rt_mailbox_arrive(sh, sender, m, false);
    else if (shard < sh->node->n_shards)
        rt_out_push(sh, shard, (rt_entry){m, sender.slot, sender.gen});
    else
        rt_calls_reply(sh->node, sender, m);
}

/* --- the bound ------------------------------------------------------------------------------------------------------------------- */
static bool over(const rt_actor *a, uint64_t more_bytes) {
    return a->queued >= rt_mailbox_max(a) + (plant(MAILBOX_BOUND_OFF) ? 1 : 0) ||
           (a->cls->mailbox_bytes_max && a->bytes + more_bytes > a->cls->mailbox_bytes_max);
}

static void refuse(rt_shard *sh, rt_actor *a, rt_msg *m) {
    if (a->cls->count) rt_count(&a->cls->count->refused, 1);
    rt_mailbox_refuse(sh, rt_actor_pid(a), m);
}

static void drop_oldest(rt_shard *sh, rt_actor *a, uint64_t more_bytes) {
    rt_msg *prev = a->last;
    for (uint32_t left = a->queued; left > 0 && over(a, more_bytes); left--) {
        if (is_sure(a, prev->next)) {
            prev = prev->next;
            continue;
        }
        rt_msg *m = cut(sh, a, prev);
        rt_count(&sh->n_dropped, 1);
        a->dropped++;
        rt_event(&sh->cx, EV_DROPPED, a->slot, m->tag, 0);
        rt_msg_release(sh, m);
    }
}

static void drop_expired(rt_shard *sh, rt_actor *a) {
    if (a->scan_msec == sh->now_msec + 1) return; /* once per millisecond: a full mailbox is not searched for every message */
    a->scan_msec = sh->now_msec + 1;
    rt_msg *prev = a->last;
    for (uint32_t left = a->queued; left > 0; left--) {
        if (expired(sh, prev->next))
            drop_expired_one(sh, a, cut(sh, a, prev));
        else
            prev = prev->next;
    }
}

/* True if there is room now. */
static bool make_room(rt_shard *sh, rt_actor *a, const rt_msg *m, uint64_t bytes) {
    switch (a->cls->bound) {
    case RT_BOUND_REFUSE: return false;
    case RT_BOUND_DROP_OLDEST: drop_oldest(sh, a, bytes); return !over(a, bytes);
    case RT_BOUND_DROP_EXPIRED: drop_expired(sh, a); return !over(a, bytes);
    case RT_BOUND_MUTE: rt_mute_sender(sh, a, m->sender); return true;
    }
    return false;
}

/* Its receiver is gone, or ends. */
static void give_up(rt_shard *sh, rt_pid by, rt_msg *m) {
    rt_remote *r = sh->node->remote;
    if (UNLIKELY(m->tag & RT_M_WORK) && !sh->freeing) {
        rt_mailbox_refuse(sh, by, m);
        return;
    }
    if (UNLIKELY(r && r->lost && RT_TAG(m) == r->carrier) && !sh->freeing) r->lost(r, &sh->cx, m);
    rt_msg_release(sh, m);
}

void rt_mailbox_arrive(rt_shard *sh, rt_pid to, rt_msg *m, bool front) {
    rt_actor *a = rt_actor_find_for(sh, to, m->sender);
    if (UNLIKELY(!a)) {
        rt_event(&sh->cx, EV_NOPROC, to.slot, RT_TAG(m), 0);
        give_up(sh, to, m);
        return;
    }
    uint64_t bytes = a->cls->mailbox_bytes_max ? weight(sh, a, m) : 0;
    if (UNLIKELY(over(a, bytes)) && !is_sure(a, m) && !make_room(sh, a, m, bytes))
        refuse(sh, a, m);
    else if (UNLIKELY(front))
        prepend(sh, a, m);
    else
        rt_mailbox_append(sh, a, m);
}

/* --- taking out without handling ------------------------------------------------------------------------------------------------- */
uint64_t rt_mailbox_clear(rt_shard *sh, rt_actor *a, bool all) {
    uint64_t n = 0;
    rt_msg *prev = a->last;
    for (uint32_t left = a->queued; left > 0; left--) {
        if (!all && is_sure(a, prev->next) && !plant(FLUSH_LOSES_DOWN)) {
            prev = prev->next;
            continue;
        }
        rt_msg *m = cut(sh, a, prev);
        a->dropped++;
        n++;
        if (all)
            give_up(sh, rt_actor_pid(a), m);
        else
            rt_msg_release(sh, m);
    }
    return n;
}

bool rt_mailbox_remove_down(rt_shard *sh, rt_actor *a, uint64_t ref) {
    rt_msg *prev = a->last;
    for (uint32_t left = a->queued; left > 0; left--, prev = prev->next) {
        if (prev->next->tag != RT_DOWN || rt_down_of(prev->next)->ref != ref) continue;
        rt_msg_release(sh, cut(sh, a, prev));
        a->dropped++;
        return true;
    }
    return false;
}
