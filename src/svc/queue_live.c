/* queue_live: stanzas that are not kept, for a session that lags behind: one that is draining its offline queue, or whose window is full. A
 * pair's order (RFC 6120 section 10.1) holds for them too: a stanza goes behind the kept messages that the same sender's resource sent
 * before it, as long as the session has not been sent those.
 *
 *   queue      k1  k2  k3  k4          cursor of the session at k2
 *   late            ^       ^
 *                   u1      u2         u1 goes out when the cursor has passed k2, u2 when it has passed k4
 *
 * A sender whose messages the session has had, or who sent none, is not held up. What waits is bounded per account, by LATE_MAX stanzas and
 * LATE_BYTES_MAX bytes: past that, everything that waits for the session goes out at once, in its order among itself, so that an old
 * presence never comes after a newer one; kept messages are overtaken then (docs/delivery.md). What waits when its session ends is answered
 * as for a resource that is not there.
 *
 * Invariants: (1) stanzas of one sender for one session leave in the order in which they came. (2) A queue that is empty has none. */
#include "svc/queue.h"
#include "svc/route.h"

#define LATE_MAX       128u
#define LATE_BYTES_MAX (256u << 10)

struct svc_late {
    svc_late *next;
    svc_session *session;
    rt_blob *env;
    uint64_t after; /* it goes out once the session's next position is not below this */
    uint16_t from;  /* as in svc_entry */
};

static void free_late(svc_queue *q, svc_late *l) {
    q->late_n--;
    q->late_bytes -= l->env->len;
    rt_blob_unref(l->env);
    mem_free(l);
}

/* Hands every stanza for s, or with all unset only those whose turn it is, to fn, and forgets it. */
static void take(svc_part *p, svc_account *a, svc_session *s, bool all, void (*fn)(svc_part *p, svc_session *s, rt_blob *env)) {
    svc_queue *q = a->queue;
    uint64_t next = svc_queue_next(q, s);
    svc_late *before = NULL;
    for (svc_late *l = q->late_head; l;) {
        svc_late *after = l->next;
        if (l->session == s && (all || l->after <= next)) {
            if (before)
                before->next = after;
            else
                q->late_head = after;
            if (q->late_tail == l) q->late_tail = before;
            fn(p, s, l->env);
            free_late(q, l);
        } else {
            before = l;
        }
        l = after;
    }
}

void svc_queue_live_run(svc_part *p, svc_account *a, svc_session *s) {
    if (a->queue && a->queue->late_head) take(p, a, s, false, svc_session_deliver_blob);
}

/* The answer that it would have got had the session ended a moment earlier (RFC 6121 8.5.3.2). */
static void refuse(svc_part *p, svc_session *s, rt_blob *env) {
    xmpp_env e;
    (void)s;
    if (xmpp_env_unpack(rt_blob_slice(env), &e) != ERR_OK || !xmpp_jid_resource(e.to).p || e.flags & XMPP_F_SERVER) return;
    bool asks = e.kind == XMPP_IQ || (e.kind == XMPP_MESSAGE && e.flags & XMPP_F_BODY && e.type != XMPP_TYPE_HEADLINE);
    if (asks) svc_route_bounce(p, &e, STANZA_SERVICE_UNAVAILABLE, NULL, RT_PID_NONE, 0);
}

void svc_queue_live_end(svc_part *p, svc_account *a, svc_session *s) { take(p, a, s, true, refuse); }

void svc_queue_live_moved(svc_queue *q, const svc_ids *gone) {
    for (svc_late *l = q->late_head; l; l = l->next) l->after -= svc_queue_ids_find(gone, l->after);
    if (q->late_limit) q->late_limit -= svc_queue_ids_find(gone, q->late_limit - 1);
}

void svc_queue_live_free(svc_queue *q) {
    while (q->late_head) {
        svc_late *l = q->late_head;
        q->late_head = l->next;
        free_late(q, l);
    }
    q->late_tail = NULL;
}

/* What a stanza of this sender goes behind: a position, or 0. */
static uint64_t behind(svc_part *p, svc_queue *q, const svc_session *s, uint16_t from) {
    uint64_t after = svc_queue_wait_newest(p, q, from);
    if (q->late_limit && after > q->late_limit - 1) after = q->late_limit - 1; /* what came after it does not count */
    for (const svc_late *l = q->late_head; l; l = l->next)
        if (l->session == s && l->from == from && l->after > after) after = l->after;
    return after;
}

void svc_queue_live(svc_part *p, svc_account *a, svc_session *s, slice from, rt_blob *env) {
    svc_queue *q = a->queue;
    uint64_t next = q ? svc_queue_next(q, s) : 0;
    if (!q || next >= svc_queue_tail(q)) {
        svc_session_deliver_blob(p, s, env);
        return;
    }
    uint16_t hash = svc_queue_wait_from(p, from);
    uint64_t after = behind(p, q, s, hash);
    if (after <= next) {
        svc_session_deliver_blob(p, s, env);
        return;
    }
    if (q->late_n >= LATE_MAX || q->late_bytes + env->len > LATE_BYTES_MAX) {
        take(p, a, s, true, svc_session_deliver_blob);
        svc_session_deliver_blob(p, s, env);
        return;
    }
    svc_late *l = mem_zalloc(sizeof *l);
    *l = (svc_late){.session = s, .env = rt_blob_ref(env), .after = after, .from = hash};
    if (q->late_tail)
        q->late_tail->next = l;
    else
        q->late_head = l;
    q->late_tail = l;
    q->late_n++;
    q->late_bytes += env->len;
}
