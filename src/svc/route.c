/* route: where a stanza goes. Outbound: from a session of ours, checked against the sender's blocklist, then by kind. Inbound: for an
 * account of ours, by RFC 6121 section 8. Between the two lies one message (SVC_ROUTE), also within a partition, so that pairs keep their
 * order whatever the partitions are.
 *
 * Invariant: every stanza that came with an origin ends in exactly one SVC_DONE to it, after what it answers was sent. */
#include "svc/route.h"

#include "base/mem.h"
#include "base/plant.h"
#include "proto/xmpp/ns.h"

struct svc_peer { /* a partition as another one knows it */
    rt_pid life;
    uint32_t turn; /* svc_part.turns when that life was first seen; 0: no other was seen before it */
};

void svc_route_init(svc_part *p) { p->peers = mem_zalloc(p->cfg->partitions * sizeof *p->peers); }

void svc_route_fini(svc_part *p) { mem_free(p->peers); }

static slice domain_of(slice jid) {
    xmpp_jid j;
    return xmpp_jid_split(jid, &j) ? j.domain : SLICE_NULL;
}

/* The life of the partition of bare that serves now, and who it is. *out_pid NONE: it restarts. */
static svc_peer *peer_of(svc_part *p, slice bare, rt_pid *out_pid) {
    unsigned i = store_partition(bare, p->cfg->partitions);
    rt_pid now = svc_partition_at(rt_ctx_node(p->cx), i);
    svc_peer *peer = &p->peers[i];
    *out_pid = now;
    if (!rt_pid_ok(now) || rt_pid_eq(now, peer->life)) return peer;
    if (rt_pid_ok(peer->life)) peer->turn = ++p->turns;
    peer->life = now;
    return peer;
}

/* Order (promises.md, sentence 5). What a partition had not read when it ended is lost, and its session hears of that late: a stanza that
 * came after it would find the next life and overtake it. So no stanza is routed to a life that was first seen after an older stanza of
 * the session, which may lack its answer, was routed: the session ends, and its client sends again what was not acked, in order. */
static bool overtakes(svc_part *p, svc_session *s, const svc_peer *peer) {
    if (s->since == SVC_SINCE_NONE || peer->turn <= s->since || plant(LOST_IS_OVERTAKEN)) return false;
    rt_event_text(p->cx, EV_STANZA_LOST, (uint64_t)(peer - p->peers), 0, svc_session_jid(s));
    svc_session_kick(p, s, STREAM_INTERNAL_SERVER_ERROR, "a stanza got no answer: what was not acknowledged must be sent again");
    s->lost = true;
    return true;
}

/* s NULL: the server made it, and nobody waits. */
static void route(svc_part *p, svc_session *s, const xmpp_env *e, uint32_t ticket) {
    rt_pid origin = s ? s->pid : RT_PID_NONE;
    xmpp_jid to;
    if (!xmpp_jid_split(e->to, &to)) {
        svc_route_bounce(p, e, STANZA_JID_MALFORMED, NULL, origin, ticket);
        return;
    }
    if (!svc_cfg_domain(p->cfg, to.domain)) {
        svc_route_bounce(p, e, STANZA_REMOTE_SERVER_NOT_FOUND, NULL, origin, ticket);
        return;
    }
    if (!to.local.p) {
        svc_iq_server(p, e, origin, ticket);
        return;
    }
    rt_pid part;
    const svc_peer *peer = peer_of(p, xmpp_jid_bare(e->to), &part);
    if (!rt_pid_ok(part)) { /* it restarts: a moment */
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "try again in a moment", origin, ticket);
        return;
    }
    if (s && overtakes(p, s, peer)) return;
    rt_blob *env = svc_part_pack(p, e);
    if (!env) {
        svc_route_bounce(p, e, STANZA_POLICY_VIOLATION, "the stanza is too large", origin, ticket);
        return;
    }
    if (s && s->since == SVC_SINCE_NONE) s->since = p->turns;
    rt_msg *m = rt_msg_new(p->cx, SVC_ROUTE, sizeof(svc_route));
    svc_route *r = svc_route_of(m);
    r->origin = origin;
    r->ticket = ticket;
    r->env = env;
    rt_send(p->cx, part, &m);
}

void svc_route_send(svc_part *p, const xmpp_env *e) { route(p, NULL, e, 0); }

void svc_route_out(svc_part *p, svc_session *s, const xmpp_env *e, uint32_t ticket) { route(p, s, e, ticket); }

bool svc_route_share(svc_part *p, rt_blob *env, slice to) {
    xmpp_jid j;
    if (!xmpp_jid_split(to, &j) || !j.local.p || !svc_cfg_domain(p->cfg, j.domain)) return false;
    rt_pid part = svc_partition(rt_ctx_node(p->cx), p->cfg, to);
    if (!rt_pid_ok(part)) return true; /* it restarts: its sessions end, and learn who is there when they come again */
    rt_msg *m = rt_msg_new(p->cx, SVC_ROUTE, sizeof(svc_route));
    svc_route_of(m)->env = rt_blob_ref(env);
    svc_route_of(m)->to = rt_blob_new(to);
    rt_send(p->cx, part, &m);
    return true;
}

void svc_route_bounce(svc_part *p, const xmpp_env *e, xmpp_stanza_error cond, const char *text, rt_pid origin, uint32_t ticket) {
    if (xmpp_env_may_bounce(e)) {
        buf inner;
        buf_init(&inner, 4096);
        xmpp_env reply;
        xmpp_env_error(e, cond, text, &inner, &reply);
        (void)svc_route_answer(p, &reply, origin); /* too large only if the id alone is; nothing can answer that */
        buf_fini(&inner);
    }
    svc_part_done(p, origin, ticket);
}

/* An answer made by the server: straight to the session that asked, which keeps it in front of its SVC_DONE; else by its address. */
bool svc_route_answer(svc_part *p, const xmpp_env *reply, rt_pid origin) {
    if (rt_pid_ok(origin)) {
        rt_blob *env = svc_part_pack(p, reply);
        if (!env) return false;
        rt_msg *m = rt_msg_new(p->cx, SVC_DELIVER, sizeof(svc_deliver));
        svc_deliver_of(m)->env = env;
        rt_send(p->cx, origin, &m);
    } else if (svc_cfg_domain(p->cfg, domain_of(reply->to))) {
        svc_route_send(p, reply);
    }
    return true;
}

/* --- outbound */
static void blocked_out(svc_part *p, const xmpp_env *e, rt_pid origin, uint32_t ticket) { /* XEP-0191 section 3.4 */
    if (xmpp_env_may_bounce(e) && e->kind != XMPP_PRESENCE) {
        buf inner;
        buf_init(&inner, 4096);
        xmpp_env reply;
        xmpp_env_error(e, STANZA_NOT_ACCEPTABLE, NULL, &inner, &reply);
        buf blocked;
        buf_init(&blocked, 4096);
        static const char end[] = "</error>";
        buf_add(&blocked, slice_sub(buf_slice(&inner), 0, inner.len - (sizeof end - 1)));
        buf_add_str(&blocked, "<blocked xmlns='" NS_BLOCKING_ERRORS "'/>");
        buf_add_str(&blocked, end);
        reply.inner = buf_slice(&blocked);
        (void)svc_route_answer(p, &reply, origin); /* as in svc_route_bounce */
        buf_fini(&blocked);
        buf_fini(&inner);
    }
    svc_part_done(p, origin, ticket);
}

err svc_route_on_stanza(svc_part *p, rt_msg **m) {
    svc_stanza *q = svc_stanza_of(*m);
    rt_pid origin = (*m)->sender;
    xmpp_env e;
    if (!check(xmpp_env_unpack(rt_blob_slice(q->env), &e) == ERR_OK)) return ERR_BUG; /* our own edge packed it */
    svc_account *a = svc_account_find(p, xmpp_jid_bare(e.from));
    svc_session *s = a ? svc_session_of(a, origin) : NULL;
    if (!s || s->lost) return ERR_OK; /* kicked meanwhile; its stream is closing */
    if (q->alone) s->since = SVC_SINCE_NONE;
    a = svc_account_get(p, svc_account_jid(a));
    if (a->state == SVC_LOADING || svc_account_writing(a) || svc_account_waited(a)) { /* behind a change that is not durable yet */
        svc_account_wait(a, m);
        return ERR_OK;
    }
    if (a->state == SVC_BROKEN) { /* what memory says of roster and blocklist may be a change that failed */
        svc_route_bounce(p, &e, STANZA_RESOURCE_CONSTRAINT, "the account cannot be read now, try again later", origin, q->ticket);
        return ERR_OK;
    }
    bool to_self = !e.to.p || slice_eq(xmpp_jid_bare(e.to), svc_account_jid(a));
    if (!to_self && svc_block_matches(a, e.to) && !(e.kind == XMPP_PRESENCE && e.type == XMPP_TYPE_UNAVAILABLE)) {
        blocked_out(p, &e, origin, q->ticket);
        return ERR_OK;
    }
    switch ((xmpp_kind)e.kind) {
    case XMPP_MESSAGE: svc_message_out(p, a, s, &e, q->ticket); break;
    case XMPP_PRESENCE: svc_presence_out(p, a, s, &e, origin, q->ticket); break;
    case XMPP_IQ: svc_iq_out(p, a, s, &e, origin, q->ticket); break;
    }
    return ERR_OK;
}

/* --- inbound */
static void no_account(svc_part *p, const xmpp_env *e, rt_pid origin, uint32_t ticket) { /* RFC 6121 8.5.1 */
    if (e->kind == XMPP_PRESENCE)
        svc_part_done(p, origin, ticket); /* silently, whatever the type: nobody learns who exists */
    else
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket);
}

err svc_route_on_route(svc_part *p, rt_msg **m) {
    svc_route *r = svc_route_of(*m);
    xmpp_env e;
    if (!check(xmpp_env_unpack(rt_blob_slice(r->env), &e) == ERR_OK)) return ERR_BUG;
    if (r->to) e.to = rt_blob_slice(r->to);
    svc_account *a = svc_account_get(p, xmpp_jid_bare(e.to));
    svc_account_state state = (svc_account_state)a->state;
    if (state == SVC_LOADING) {
        svc_account_wait(a, m);
        return ERR_OK;
    }
    if (state == SVC_ABSENT) {
        no_account(p, &e, r->origin, r->ticket);
    } else if (state == SVC_BROKEN) {
        svc_route_bounce(p, &e, STANZA_RESOURCE_CONSTRAINT, "the account cannot be read now, try again later", r->origin, r->ticket);
    } else if (!plant(BLOCKED_GET_THROUGH) && !slice_eq(xmpp_jid_bare(e.from), svc_account_jid(a)) &&
               svc_block_matches(a, e.from)) { /* XEP-0191 section 3.3 */
        no_account(p, &e, r->origin, r->ticket);
    } else {
        switch ((xmpp_kind)e.kind) {
        case XMPP_MESSAGE: svc_message_in(p, a, &e, r->env, r->origin, r->ticket); break;
        case XMPP_PRESENCE: svc_presence_in(p, a, &e, r->env, r->origin, r->ticket); break;
        case XMPP_IQ: svc_iq_in(p, a, &e, r->env, r->origin, r->ticket); break;
        }
    }
    svc_account_touch(p, a);
    return ERR_OK;
}
