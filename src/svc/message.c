/* message: messages out of and into an account (RFC 6121 section 8.5, XEP-0160, XEP-0280). What is kept goes through the queue; the rest is
 * delivered now or not at all.
 *
 * Which resources get a message: see queue.c (wants) for kept ones and deliver_live for the others: the same rules. */
#include "svc/route.h"

void svc_message_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, uint32_t ticket) {
    xmpp_env out = *e;
    if (!out.to.p) out.to = svc_account_jid(a); /* RFC 6120 10.3.1: to the sender's own bare JID */
    svc_carbon_sent(p, a, s, &out);
    svc_route_out(p, s, &out, ticket);
}

static bool drains(const svc_session *s) { return s->available && s->priority >= 0; }

/* A message that is not kept, to whoever is there. Returns how many got it. */
static unsigned deliver_live(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed) {
    slice resource = xmpp_jid_resource(e->to);
    svc_session *exact = resource.p ? svc_session_find(a, resource) : NULL;
    unsigned n = 0;
    if (exact) {
        svc_queue_live(p, a, exact, e->from, packed);
        n++;
        if (!svc_carbon_wanted(e) || slice_eq(xmpp_jid_bare(e->from), svc_account_jid(a))) return n; /* its own: they have what was sent */
        for (svc_session *s = a->sessions; s; s = s->next) {
            if (s == exact || !s->carbons || !drains(s)) continue;
            rt_blob *copy = svc_carbon_wrap(p, s, a, e, false, SLICE_NULL);
            if (copy) svc_queue_live(p, a, s, e->from, copy);
            rt_blob_unref(copy);
        }
        return n;
    }
    if (resource.p && (e->type == XMPP_TYPE_ERROR || e->type == XMPP_TYPE_HEADLINE || e->type == XMPP_TYPE_GROUPCHAT)) return 0;
    for (svc_session *s = a->sessions; s; s = s->next) {
        if (!drains(s)) continue;
        svc_queue_live(p, a, s, e->from, packed);
        n++;
    }
    return n;
}

static void message_live(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    bool bare = !xmpp_jid_resource(e->to).p;
    if (bare && e->type == XMPP_TYPE_ERROR) { /* 8.5.2.1.1: errors to the bare JID are ignored */
        svc_part_done(p, origin, ticket);
        return;
    }
    if (bare && e->type == XMPP_TYPE_GROUPCHAT) {
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket);
        return;
    }
    bool ask_back =
        e->type == XMPP_TYPE_GROUPCHAT || (e->flags & XMPP_F_BODY && e->type != XMPP_TYPE_HEADLINE && e->type != XMPP_TYPE_ERROR);
    if (deliver_live(p, a, e, packed) == 0 && ask_back) {
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket); /* it wanted no store, and nobody is there */
        return;
    }
    svc_part_done(p, origin, ticket);
}

void svc_message_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    if (a->state != SVC_ANONYMOUS && xmpp_env_is_kept(e))
        svc_queue_put(p, a, e, packed, origin, ticket);
    else
        svc_queue_behind(p, a, packed, origin, ticket, message_live);
}
