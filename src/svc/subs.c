/* subs: presence subscriptions (RFC 6121 section 3): two tables, one for what the user sends, one for what a contact sends, over the state
 * of the item: subscription (none, to, from, both), pending out (ask), pending in (a stored request), pre-approval.
 *
 * Each function reads as its row of appendix A. Invariants: (1) the item is on stable storage before anything is routed because of it.
 * (2) Subscription stanzas go from bare JID to bare JID. (3) A request is stored whole and delivered again at every login until it is
 * answered (3.1.3). */
#include "proto/xmpp/ns.h"
#include "svc/route.h"

static inline bool has_to(const store_item *i) { return i->sub == STORE_SUB_TO || i->sub == STORE_SUB_BOTH; }
static inline bool has_from(const store_item *i) { return i->sub == STORE_SUB_FROM || i->sub == STORE_SUB_BOTH; }
static uint8_t add_to(uint8_t s) { return s == STORE_SUB_FROM || s == STORE_SUB_BOTH ? STORE_SUB_BOTH : STORE_SUB_TO; }
static uint8_t add_from(uint8_t s) { return s == STORE_SUB_TO || s == STORE_SUB_BOTH ? STORE_SUB_BOTH : STORE_SUB_FROM; }
static uint8_t drop_to(uint8_t s) { return s == STORE_SUB_BOTH || s == STORE_SUB_FROM ? STORE_SUB_FROM : STORE_SUB_NONE; }
static uint8_t drop_from(uint8_t s) { return s == STORE_SUB_BOTH || s == STORE_SUB_TO ? STORE_SUB_TO : STORE_SUB_NONE; }

/* What follows once the item is durable. */
#define THEN_ROUTE       1u  /* send the stanza on to the contact */
#define THEN_DELIVER     2u  /* give the stanza to the user's interested resources */
#define THEN_PRESENCE    4u  /* the contact may see us now: present presence */
#define THEN_UNAVAILABLE 8u  /* the contact may no longer see us */
#define THEN_APPROVE     16u /* answer subscribed on the user's behalf */
#define THEN_ASK         32u /* give the request to every available resource */
typedef struct after {
    rt_blob *env;
    rt_pid origin;
    uint32_t ticket;
    unsigned what;
    bool out; /* from our user; else from the contact */
} after;

static void deliver(svc_part *p, svc_account *a, rt_blob *env, bool interested_only) {
    for (svc_session *s = a->sessions; s; s = s->next)
        if (interested_only ? s->interested : s->available) svc_session_deliver_blob(p, s, env);
}

static void act(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, unsigned what, bool out) {
    slice contact = out ? e->to : e->from;
    if (what & THEN_UNAVAILABLE) svc_presence_to(p, a, contact, false);
    if (what & THEN_ROUTE) svc_route_send(p, e);
    if (what & THEN_DELIVER) deliver(p, a, packed, true);
    if (what & THEN_ASK) deliver(p, a, packed, false);
    if (what & THEN_APPROVE) {
        xmpp_env yes = {.kind = XMPP_PRESENCE,
                        .type = XMPP_TYPE_SUBSCRIBED,
                        .flags = XMPP_F_SERVER,
                        .from = svc_account_jid(a),
                        .to = contact,
                        .id = e->id};
        svc_route_send(p, &yes);
    }
    if (what & THEN_PRESENCE) svc_presence_to(p, a, contact, true);
}

static void changed(svc_part *p, svc_account *a, void *arg, err status) {
    after *f = arg;
    xmpp_env e;
    if (a && xmpp_env_unpack(rt_blob_slice(f->env), &e) == ERR_OK) {
        if (status == ERR_OK) {
            act(p, a, &e, f->env, f->what, f->out);
            svc_part_done(p, f->origin, f->ticket);
        } else {
            svc_route_bounce(p, &e, STANZA_RESOURCE_CONSTRAINT, "the subscription cannot be changed now, try again later", f->origin,
                             f->ticket);
        }
    }
    rt_blob_unref(f->env);
    mem_free(f);
}

static void commit(svc_part *p, svc_account *a, store_item *i, rt_blob *packed, unsigned what, bool out, rt_pid origin, uint32_t ticket) {
    after *f = mem_zalloc(sizeof *f);
    *f = (after){.env = rt_blob_ref(packed), .origin = origin, .ticket = ticket, .what = what, .out = out};
    svc_roster_change(p, a, i, changed, f);
}

/* --- out of the account: appendix A.2 */
void svc_subs_out(svc_part *p, svc_account *a, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    xmpp_env bare = *e;
    bare.from = svc_account_jid(a);
    bare.to = xmpp_jid_bare(e->to);
    const store_item *old = svc_contacts_find(a, bare.to);
    store_item i = old ? *old : (store_item){.jid = bare.to};
    unsigned what = 0;
    bool change = false;
    switch ((int)e->type) {
    case XMPP_TYPE_SUBSCRIBE: /* A.2.1: routed in every state */
        what = THEN_ROUTE;
        change = !has_to(&i) && !i.ask;
        i.ask = i.ask || !has_to(&i);
        i.in_roster = true;
        break;
    case XMPP_TYPE_UNSUBSCRIBE: /* A.2.2 */
        what = THEN_ROUTE;
        change = has_to(&i) || i.ask;
        i.ask = false;
        i.sub = drop_to(i.sub);
        break;
    case XMPP_TYPE_SUBSCRIBED: /* A.2.3; without a request it is a pre-approval (3.4) and stays here */
        if (has_from(&i)) break;
        change = true;
        i.in_roster = true;
        if (i.request.len) {
            i.request = SLICE_NULL;
            i.sub = add_from(i.sub);
            what = THEN_ROUTE | THEN_PRESENCE;
        } else {
            change = !i.approved;
            i.approved = true;
        }
        break;
    case XMPP_TYPE_UNSUBSCRIBED: /* A.2.4; also takes a pre-approval back */
        change = has_from(&i) || i.request.len || i.approved;
        if (has_from(&i))
            what = THEN_ROUTE | THEN_UNAVAILABLE;
        else if (i.request.len)
            what = THEN_ROUTE;
        i.request = SLICE_NULL;
        i.approved = false;
        i.sub = drop_from(i.sub);
        if (!i.in_roster) i.gone = true; /* only the request was there */
        break;
    default: break;
    }
    if (i.in_roster && !(old && old->in_roster) && change && svc_contacts_count(a) >= p->cfg->roster_max) {
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "the roster is full", origin, ticket);
        return;
    }
    rt_blob *packed = svc_part_pack(p, &bare);
    if (!packed) {
        svc_route_bounce(p, e, STANZA_POLICY_VIOLATION, "the stanza is too large", origin, ticket);
    } else if (change) {
        commit(p, a, &i, packed, what, true, origin, ticket);
    } else {
        act(p, a, &bare, packed, what, true);
        svc_part_done(p, origin, ticket);
    }
    rt_blob_unref(packed);
}

/* --- into the account: appendix A.3. A request is stored whole until it is answered; SVC_PRESENCE_MAX bounds what strangers can fill an
 * account's memory with. */
void svc_subs_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    slice contact = xmpp_jid_bare(e->from);
    const store_item *old = svc_contacts_find(a, contact);
    store_item i = old ? *old : (store_item){.jid = contact};
    unsigned what = 0;
    bool change = false;
    switch ((int)e->type) {
    case XMPP_TYPE_SUBSCRIBE: /* A.3.1 */
        if (has_from(&i)) {
            what = THEN_APPROVE;
        } else if (i.approved) {
            what = THEN_APPROVE | THEN_PRESENCE;
            change = true;
            i.sub = add_from(i.sub);
            i.approved = false;
        } else if (!i.request.len && (old || !a->contacts || a->contacts->n < 2 * (size_t)p->cfg->roster_max)) {
            what = THEN_ASK;
            change = true;
            i.request = rt_blob_slice(packed);
        }
        break;
    case XMPP_TYPE_UNSUBSCRIBE: /* A.3.2 */
        change = has_from(&i) || i.request.len;
        if (change) what = THEN_DELIVER; /* also when it takes a request back */
        if (has_from(&i)) what |= THEN_UNAVAILABLE;
        i.request = SLICE_NULL;
        i.sub = drop_from(i.sub);
        if (change && !i.in_roster) i.gone = true;
        break;
    case XMPP_TYPE_SUBSCRIBED: /* A.3.3: only an answer to what was asked */
        if (!i.ask) break;
        change = true;
        what = THEN_DELIVER;
        i.ask = false;
        i.sub = add_to(i.sub);
        break;
    case XMPP_TYPE_UNSUBSCRIBED: /* A.3.4 */
        if (!has_to(&i) && !i.ask) break;
        change = true;
        what = THEN_DELIVER;
        i.ask = false;
        i.sub = drop_to(i.sub);
        break;
    default: break;
    }
    if (change) {
        commit(p, a, &i, packed, what, false, origin, ticket);
    } else {
        act(p, a, e, packed, what, false);
        svc_part_done(p, origin, ticket);
    }
}

/* --- requests that wait: each reaches every resource that becomes available (3.1.3). They are sent like kept messages, numbered, within a
 * window, acked, because what is sent as best effort is dropped at a client that reads slowly. From the last contact to the first: when a
 * contact is removed, the last one takes its place, so one may be sent twice, but none is passed over. A request that comes meanwhile is
 * delivered as it comes. */
void svc_subs_more(svc_part *p, svc_account *a, svc_session *s) {
    svc_more *m = s->more;
    const svc_contacts *c = a->contacts;
    if (!m || !m->asking) return;
    if (m->asking > (c ? c->n : 0)) m->asking = (uint32_t)(c ? c->n : 0);
    for (; m->asking > 0; m->asking--) {
        slice request = c->items[m->asking - 1].request;
        if (request.len && !svc_queue_request(p, s, request)) return;
    }
    svc_session_less(s);
}

void svc_subs_pending(svc_part *p, svc_account *a, svc_session *s) {
    if (!a->contacts || a->contacts->n == 0) return;
    svc_session_more(s)->asking = (uint32_t)a->contacts->n;
    svc_subs_more(p, a, s);
}

void svc_subs_loaded(svc_account *a) {
    for (svc_session *s = a->sessions; s; s = s->next)
        if (s->more && s->more->asking) s->more->asking = (uint32_t)(a->contacts ? a->contacts->n : 0);
}
