/* presence: availability (RFC 6121 section 4): initial and later presence, probes, directed presence, the end of a session.
 *
 * The presence of the account's contacts is never kept here: a resource that becomes available learns it by probing, and each contact's
 * own partition answers from its sessions. Invariant: whoever was told that a resource is available is told when it no longer is, once:
 * subscribers through the roster, others through the session's list of directed presences. */
#include "proto/xmpp/ns.h"
#include "svc/route.h"

static bool may_see(const store_item *i) { return i && (i->sub == STORE_SUB_FROM || i->sub == STORE_SUB_BOTH); }
static bool we_see(const store_item *i) { return i->sub == STORE_SUB_TO || i->sub == STORE_SUB_BOTH; }

/* e to one address, unless it is blocked. */
static void send_to(svc_part *p, svc_account *a, const xmpp_env *e, slice to) {
    if (svc_block_matches(a, to)) return;
    xmpp_env out = *e;
    out.to = to;
    svc_route_send(p, &out);
}

/* A presence packed once for everybody who gets it: the address is the only difference, and travels beside it. */
static rt_blob *pack_shared(svc_part *p, const xmpp_env *e) {
    xmpp_env out = *e;
    out.to = SLICE_NULL;
    return svc_part_pack(p, &out);
}

/* To subscribers, and (4.2.2) to the user's own available resources, the sender too. */
static void broadcast(svc_part *p, svc_account *a, rt_blob *env) {
    xmpp_env e;
    if (!env || xmpp_env_unpack(rt_blob_slice(env), &e) != ERR_OK) return;
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++) {
        const store_item *item = &a->contacts->items[i];
        if (!may_see(item) || svc_block_matches(a, item->jid)) continue;
        if (!svc_route_share(p, env, item->jid)) send_to(p, a, &e, item->jid); /* which answers for an address that is not ours */
    }
    for (svc_session *s = a->sessions; s; s = s->next)
        if (s->available) svc_session_deliver_blob(p, s, env);
}

static xmpp_env unavailable_of(slice from) {
    return (xmpp_env){.kind = XMPP_PRESENCE, .type = XMPP_TYPE_UNAVAILABLE, .flags = XMPP_F_SERVER, .from = from};
}

/* --- directed presence */
static svc_directed *directed_of(const svc_session *s) { return s->more ? s->more->directed : NULL; }

static svc_directed **directed_find(svc_session *s, slice to) {
    for (svc_directed **d = s->more ? &s->more->directed : NULL; d && *d; d = &(*d)->next)
        if (slice_eq((*d)->to, to)) return d;
    return NULL;
}

static void directed_forget(svc_session *s, slice to) {
    svc_directed **d = directed_find(s, to);
    if (!d) return;
    svc_directed *gone = *d;
    *d = gone->next;
    s->more->n_directed--;
    svc_disown(&gone->to);
    mem_free(gone);
}

static void directed_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    bool subscriber = svc_presence_trusted(a, xmpp_jid_bare(e->to));
    if (e->type == XMPP_TYPE_UNAVAILABLE) {
        directed_forget(s, e->to);
    } else if (!(subscriber && s->available) && !directed_find(s, e->to)) {
        svc_more *more = svc_session_more(s);
        if (more->n_directed >= p->cfg->directed_max) {
            svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "too many directed presences", origin, ticket);
            return;
        }
        svc_directed *d = mem_zalloc(sizeof *d);
        d->to = svc_own(e->to);
        d->next = more->directed;
        more->directed = d;
        more->n_directed++;
    }
    svc_route_out(p, s, e, ticket);
}

/* Who is about to be blocked is told that those whom he only saw by directed presence have gone. */
void svc_presence_block(svc_part *p, svc_account *a, slice block) {
    for (svc_session *s = a->sessions; s; s = s->next) {
        slice from = svc_session_jid(s);
        if (!from.p) return;
        const xmpp_env gone = unavailable_of(from);
        for (svc_directed *d = directed_of(s), *next; d; d = next) {
            next = d->next;
            if (!xmpp_jid_block_match(block, d->to)) continue;
            if (!(s->available && svc_presence_trusted(a, xmpp_jid_bare(d->to)))) send_to(p, a, &gone, d->to);
            directed_forget(s, d->to);
        }
    }
}

/* --- becoming available, changing, leaving */
static void first_available(svc_part *p, svc_account *a, svc_session *s, slice from) { /* 4.2.2, 4.3 */
    xmpp_env probe = {.kind = XMPP_PRESENCE, .type = XMPP_TYPE_PROBE, .flags = XMPP_F_SERVER, .from = from};
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++)
        if (we_see(&a->contacts->items[i])) send_to(p, a, &probe, a->contacts->items[i].jid);
    for (svc_session *o = a->sessions; o; o = o->next) {
        xmpp_env e;
        if (o == s || !o->presence || xmpp_env_unpack(rt_blob_slice(o->presence), &e) != ERR_OK) continue;
        e.to = from;
        svc_session_deliver(p, s, &e, SLICE_NULL);
    }
    svc_subs_pending(p, a, s);
}

static void available(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e) {
    bool first = !s->available;
    bool drained = s->available && s->priority >= 0;
    rt_blob_unref(s->presence);
    s->presence = pack_shared(p, e);
    s->available = true;
    s->priority = e->priority;
    broadcast(p, a, s->presence);
    if (first) first_available(p, a, s, e->from);
    if (!drained && s->priority >= 0) svc_queue_session_start(p, a, s);
    if (drained && s->priority < 0) svc_queue_session_stop(p, a);
}

static void leave(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e) { /* 4.5.2, 4.6.3 */
    rt_blob *shared = pack_shared(p, e);
    if (s->available) broadcast(p, a, shared);
    rt_blob_unref(shared);
    while (directed_of(s)) {
        slice to = directed_of(s)->to;
        if (!(s->available && svc_presence_trusted(a, xmpp_jid_bare(to)))) send_to(p, a, e, to);
        directed_forget(s, to);
    }
    rt_blob_unref(s->presence);
    s->presence = NULL;
    s->available = false;
    if (s->more) s->more->asking = 0;
    svc_session_less(s);
    svc_queue_session_stop(p, a);
}

/* A presence that everybody who may see the user gets is bounded by more than the size of a stanza; so is a directed one, which may be sent
 * to as many, and a request, which is kept. Leaving is never refused: it goes without what is too large. */
static bool too_large(const xmpp_env *e) { return e->inner.len + e->id.len + e->lang.len > SVC_PRESENCE_MAX; }

void svc_presence_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    xmpp_env small = *e;
    if (too_large(e) && e->type != XMPP_TYPE_UNAVAILABLE) {
        svc_route_bounce(p, e, STANZA_POLICY_VIOLATION, "a presence may have 16 KiB", origin, ticket);
        return;
    }
    if (too_large(e)) {
        small.inner = SLICE("");
        small.id = small.lang = SLICE_NULL;
        e = &small;
    }
    switch ((int)e->type) {
    case XMPP_TYPE_SUBSCRIBE:
    case XMPP_TYPE_SUBSCRIBED:
    case XMPP_TYPE_UNSUBSCRIBE:
    case XMPP_TYPE_UNSUBSCRIBED:
        if (a->state == SVC_ANONYMOUS)
            svc_route_bounce(p, e, STANZA_NOT_ALLOWED, NULL, origin, ticket);
        else if (!e->to.p || slice_eq(xmpp_jid_bare(e->to), svc_account_jid(a)))
            svc_part_done(p, origin, ticket); /* to oneself: nothing to do */
        else
            svc_subs_out(p, a, e, origin, ticket);
        return;
    case XMPP_TYPE_NONE:
    case XMPP_TYPE_UNAVAILABLE:
        if (e->to.p && !slice_eq(e->to, svc_account_jid(a))) {
            directed_out(p, a, s, e, origin, ticket);
            return;
        }
        if (e->type == XMPP_TYPE_NONE)
            available(p, a, s, e);
        else
            leave(p, a, s, e);
        svc_part_done(p, origin, ticket);
        return;
    case XMPP_TYPE_ERROR:
        if (e->to.p)
            svc_route_out(p, s, e, ticket);
        else
            svc_part_done(p, origin, ticket);
        return;
    default: svc_part_done(p, origin, ticket); return; /* probes are the server's to send (4.3) */
    }
}

void svc_presence_end(svc_part *p, svc_account *a, svc_session *s) {
    slice from = svc_session_jid(s);
    if (!from.p) return;
    xmpp_env e = unavailable_of(from);
    s->interested = false;
    bool was = s->available;
    if (was) { /* it no longer hears of itself */
        rt_blob *own = s->presence;
        s->presence = NULL;
        s->available = false;
        rt_blob *shared = pack_shared(p, &e);
        broadcast(p, a, shared);
        rt_blob_unref(shared);
        rt_blob_unref(own);
    }
    while (directed_of(s)) {
        slice to = directed_of(s)->to;
        if (!(was && svc_presence_trusted(a, xmpp_jid_bare(to)))) send_to(p, a, &e, to);
        directed_forget(s, to);
    }
}

void svc_presence_to(svc_part *p, svc_account *a, slice to, bool is_available) {
    for (svc_session *s = a->sessions; s; s = s->next) {
        xmpp_env e;
        if (!s->presence || xmpp_env_unpack(rt_blob_slice(s->presence), &e) != ERR_OK) continue;
        xmpp_env gone = unavailable_of(e.from);
        send_to(p, a, is_available ? &e : &gone, to);
    }
}

bool svc_presence_trusted(const svc_account *a, slice bare) {
    return slice_eq(svc_account_jid(a), bare) || may_see(svc_contacts_find(a, bare));
}

/* --- inbound */
static void probed(svc_part *p, svc_account *a,
                   const xmpp_env *e) { /* 4.3.2; strangers hear nothing, as from an account that is not there */
    if (svc_presence_trusted(a, xmpp_jid_bare(e->from))) svc_presence_to(p, a, e->from, true);
}

static void presence_live(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    slice resource = xmpp_jid_resource(e->to);
    for (svc_session *s = a->sessions; s; s = s->next)
        if (resource.p ? slice_eq(svc_session_resource(s), resource) : s->available) svc_queue_live(p, a, s, e->from, packed);
    svc_part_done(p, origin, ticket);
}

void svc_presence_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    switch ((int)e->type) {
    case XMPP_TYPE_SUBSCRIBE:
    case XMPP_TYPE_SUBSCRIBED:
    case XMPP_TYPE_UNSUBSCRIBE:
    case XMPP_TYPE_UNSUBSCRIBED:
        if (a->state == SVC_ANONYMOUS)
            svc_part_done(p, origin, ticket);
        else
            svc_subs_in(p, a, e, packed, origin, ticket);
        return;
    case XMPP_TYPE_PROBE:
        probed(p, a, e);
        svc_part_done(p, origin, ticket);
        return;
    default: svc_queue_behind(p, a, packed, origin, ticket, presence_live); return;
    }
}
