/* roster: the account's own roster requests and every change of an item (RFC 6121 section 2), with versioning (2.6): the version is a
 * counter per account; a client that names the present one is told that nothing changed, one that names an older one is pushed what changed
 * since, one after the other in the order of versions; any other, or one for whom that would be much, gets the whole roster.
 *
 * A removed item stays in the store as a tombstone with its version. There are at most GONE_MAX; the oldest gives way, and a tombstone
 * without an address says from which version on removals are known.
 *
 * An item that is not in the roster, a stranger's request, is never shown (RFC 6121 A.1), so that it is no change of the roster: neither
 * its coming nor its going takes a new version. It keeps the version at which the contact was removed, if it was, in the tombstone's place.
 *
 * Invariant: a result or a push is sent only after the change is on stable storage; memory runs ahead of it and is loaded again when the
 * write fails, so that two changes in flight never work on the same old item. */
#include "base/codec.h"
#include "base/cursor.h"
#include "base/plant.h"
#include "proto/xmpp/ns.h"
#include "rt/memory.h"
#include "svc/route.h"

#define NAME_MAX_BYTES  1023u
#define GROUP_MAX_BYTES 1023u
#define GROUPS_MAX      64u
#define GONE_MAX        64u    /* removed items remembered per account */
#define CHANGES_MAX     64u    /* changes sent one by one; for more of them, or ... */
#define CHANGES_BYTES   32768u /* ... for larger ones, the whole roster is sent: half of the least xmpp.out_max, so that none is dropped */

static const char *sub_name(uint8_t sub) {
    static const char *const names[] = {"none", "to", "from", "both"};
    return names[sub & 3];
}

static void write_item(buf *out, const store_item *i) {
    buf_add_str(out, "<item");
    xmpp_xml_write_attr(out, "jid", i->jid);
    if (i->gone) {
        buf_add_str(out, " subscription='remove'/>");
        return;
    }
    xmpp_xml_write_attr(out, "name", i->name);
    buf_addf(out, " subscription='%s'", sub_name(i->sub));
    if (i->ask) buf_add_str(out, " ask='subscribe'");
    if (i->approved) buf_add_str(out, " approved='true'");
    buf_add_byte(out, '>');
    cursor c = cursor_of(i->groups);
    slice g;
    while (cursor_lslice(&c, &g)) {
        buf_add_str(out, "<group>");
        xmpp_xml_escape(out, g);
        buf_add_str(out, "</group>");
    }
    buf_add_str(out, "</item>");
}

/* To one session, or to every interested one. */
static void push_to(svc_part *p, svc_account *a, svc_session *only, const store_item *i) {
    buf b;
    buf_init(&b, 1u << 20);
    buf_addf(&b, "<query xmlns='" NS_ROSTER "' ver='%llu'>", (unsigned long long)i->ver);
    write_item(&b, i);
    buf_add_str(&b, "</query>");
    for (svc_session *s = a->sessions; s && buf_ok(&b); s = s->next)
        if (only ? s == only : s->interested) svc_iq_push(p, a, s, buf_slice(&b));
    buf_fini(&b);
}

typedef struct change {
    svc_roster_then *then;
    void *arg;
    slice user;      /* owned */
    store_item item; /* slices owned: what to push */
    bool show;
} change;

static void changed(svc_part *p, void *arg, rt_msg *reply) {
    change *c = arg;
    svc_account *a = svc_account_find(p, c->user);
    err status = reply ? keyed_written_of(reply)->status : ERR_CANCELLED;
    if (a && reply && status != ERR_OK) {
        rt_event_text(p->cx, EV_SQL_FAIL, (uint64_t)status, 0, svc_account_jid(a));
        if (a->state != SVC_ABSENT) a->state = SVC_UNLOADED;
    }
    if (c->then) c->then(p, reply ? a : NULL, c->arg, status);
    if (a && reply && status == ERR_OK && c->show) push_to(p, a, NULL, &c->item); /* after the stanza that tells of it (RFC 6121 3.1.6) */
    svc_disown(&c->user);
    svc_disown(&c->item.jid);
    svc_disown(&c->item.name);
    svc_disown(&c->item.groups);
    mem_free(c);
}

static void remove_item(svc_account *a, store_ops *ops, slice jid, uint64_t ver) {
    const store_item tombstone = {.jid = jid, .ver = ver, .gone = true};
    store_item floor = {.jid = SLICE(""), .gone = true};
    slice oldest;
    svc_contacts_del(a, jid);
    if (!svc_contacts_removed(a, jid, ver)) {
        store_ops_roster_purge(ops, svc_account_jid(a), jid);
        return;
    }
    while (svc_contacts_forget(a, GONE_MAX, &oldest, &floor.ver)) {
        store_ops_roster_purge(ops, svc_account_jid(a), oldest);
        store_ops_roster_put(ops, svc_account_jid(a), &floor);
        svc_disown(&oldest);
    }
    if (!plant(ROSTER_TOMBSTONE_LOST)) store_ops_roster_put(ops, svc_account_jid(a), &tombstone);
}

static void put_item(svc_account *a, store_ops *ops, store_item *item) {
    store_ops_roster_put(ops, svc_account_jid(a), item);
    svc_contacts_returned(a, item->jid);
    (void)svc_contacts_put(a, item);
}

void svc_roster_change(svc_part *p, svc_account *a, store_item *item, svc_roster_then *then, void *arg) {
    const store_item *old = svc_contacts_find(a, item->jid);
    change *c = mem_zalloc(sizeof *c);
    c->show = item->in_roster || (old && old->in_roster);
    item->ver = c->show ? svc_contacts_next_ver(a) : old ? old->ver : svc_contacts_gone_ver(a, item->jid);
    c->then = then;
    c->arg = arg;
    c->user = svc_own(svc_account_jid(a));
    c->item = *item;
    c->item.jid = svc_own(item->jid);
    c->item.name = svc_own(item->name);
    c->item.groups = svc_own(item->groups);
    c->item.request = SLICE_NULL;
    if (!item->in_roster) c->item.gone = true; /* nothing shown is left of it */
    store_ops *ops = store_ops_new();
    if (item->gone)
        remove_item(a, ops, c->item.jid, item->ver);
    else
        put_item(a, ops, item);
    svc_part_write(p, a, ops, changed, c);
}

/* --- what changed since a version */
typedef struct changes {
    store_item item[CHANGES_MAX]; /* ascending by version; what is not shown is gone; slices borrowed */
    size_t n;
} changes;

static bool changes_add(changes *c, const store_item *item) {
    if (c->n == CHANGES_MAX) return false;
    size_t i = c->n++;
    for (; i > 0 && c->item[i - 1].ver > item->ver; i--) c->item[i] = c->item[i - 1];
    c->item[i] = *item;
    c->item[i].gone = !item->in_roster;
    return true;
}

/* False: it is not known, or larger than the roster itself or than what may be sent bit by bit. */
static bool changes_since(const svc_account *a, uint64_t have, changes *out) {
    const svc_contacts *c = a->contacts;
    const svc_history *h = c ? c->history : NULL;
    if (!c || have >= c->roster_ver || (h && have < h->floor)) return false;
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].ver > have && !changes_add(out, &c->items[i])) return false;
    for (size_t i = 0; h && i < h->n; i++)
        if (h->gone[i].ver > have && !changes_add(out, &(store_item){.jid = h->gone[i].jid, .ver = h->gone[i].ver})) return false;
    buf b;
    buf_init(&b, CHANGES_BYTES);
    for (size_t i = 0; i < out->n; i++) write_item(&b, &out->item[i]);
    bool fits = buf_ok(&b);
    buf_fini(&b);
    return fits && out->n <= svc_contacts_count(a) + 1; /* one change is always less than a roster */
}

/* --- requests */
static void get(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, const xmpp_node *query, rt_pid origin, uint32_t ticket) {
    slice ver = xmpp_xml_attr(query, "ver");
    uint64_t have = 0;
    changes since = {.n = 0};
    s->interested = true;
    bool known = ver.p && dec_parse_u64(ver, UINT64_MAX, &have) == ERR_OK;
    if (known && (have == svc_account_roster_ver(a) || changes_since(a, have, &since))) {
        svc_iq_result(p, e, SLICE(""), origin, ticket);
        for (size_t i = 0; i < since.n; i++) push_to(p, a, s, &since.item[i]);
        return;
    }
    buf b;
    buf_init(&b, 16u << 20);
    buf_add_str(&b, "<query xmlns='" NS_ROSTER "'");
    if (ver.p) buf_addf(&b, " ver='%llu'", (unsigned long long)svc_account_roster_ver(a));
    buf_add_byte(&b, '>');
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++)
        if (a->contacts->items[i].in_roster) write_item(&b, &a->contacts->items[i]);
    buf_add_str(&b, "</query>");
    if (buf_ok(&b))
        svc_iq_result(p, e, buf_slice(&b), origin, ticket);
    else
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, NULL, origin, ticket);
    buf_fini(&b);
}

typedef struct set_ctx {
    rt_blob *env; /* the request, to answer */
    rt_pid origin;
    uint32_t ticket;
    store_item was; /* of a removal: jid owned, subscription states */
} set_ctx;

/* RFC 6121 2.5.2: a removal cancels subscriptions in both directions. */
static void cancel(svc_part *p, svc_account *a, const store_item *was) {
    xmpp_env e = {.kind = XMPP_PRESENCE, .flags = XMPP_F_SERVER, .from = svc_account_jid(a), .to = was->jid};
    if (was->sub == STORE_SUB_TO || was->sub == STORE_SUB_BOTH || was->ask) {
        e.type = XMPP_TYPE_UNSUBSCRIBE;
        svc_route_send(p, &e);
    }
    if (was->sub == STORE_SUB_FROM || was->sub == STORE_SUB_BOTH) {
        svc_presence_to(p, a, was->jid, false);
        e.type = XMPP_TYPE_UNSUBSCRIBED;
        svc_route_send(p, &e);
    }
}

static void set_done(svc_part *p, svc_account *a, void *arg, err status) {
    set_ctx *c = arg;
    xmpp_env e;
    if (a && xmpp_env_unpack(rt_blob_slice(c->env), &e) == ERR_OK) {
        if (status == ERR_OK) {
            if (c->was.jid.p) cancel(p, a, &c->was);
            svc_iq_result(p, &e, SLICE(""), c->origin, c->ticket);
        } else {
            svc_route_bounce(p, &e, STANZA_RESOURCE_CONSTRAINT, "the roster cannot be changed now, try again later", c->origin, c->ticket);
        }
    }
    svc_disown(&c->was.jid);
    rt_blob_unref(c->env);
    mem_free(c);
}

static xmpp_stanza_error read_groups(svc_part *p, const xmpp_node *item, buf *out) {
    unsigned n = 0;
    for (const xmpp_node *g = xmpp_xml_first_element(item); g; g = xmpp_xml_next_element(g)) {
        if (!xmpp_xml_is(g, NS_ROSTER, "group")) continue;
        slice text = xmpp_xml_text(g, &p->scratch);
        if (text.len == 0 || text.len > GROUP_MAX_BYTES) return STANZA_NOT_ACCEPTABLE;
        if (++n > GROUPS_MAX) return STANZA_NOT_ACCEPTABLE;
        cursor c = cursor_of(buf_slice(out));
        slice seen;
        while (cursor_lslice(&c, &seen))
            if (slice_eq(seen, text)) return STANZA_BAD_REQUEST; /* 2.3.3: duplicate groups */
        buf_add_lslice(out, text);
    }
    return STANZA_OK;
}

static xmpp_stanza_error set(svc_part *p, svc_account *a, const xmpp_node *query, store_item *out, buf *groups) {
    const xmpp_node *item = xmpp_xml_first_element(query);
    if (!item || xmpp_xml_next_element(item) || !xmpp_xml_is(item, NS_ROSTER, "item")) return STANZA_BAD_REQUEST;
    xmpp_jid jid;
    slice full, name = xmpp_xml_attr(item, "name");
    slice text = xmpp_xml_attr(item, "jid");
    if (!text.p || xmpp_jid_parse(text, &p->scratch, &jid, &full) != ERR_OK) return STANZA_JID_MALFORMED;
    slice bare = xmpp_jid_bare(full);
    if (slice_eq(bare, svc_account_jid(a))) return STANZA_NOT_ALLOWED;
    const store_item *old = svc_contacts_find(a, bare);
    if (slice_is(xmpp_xml_attr(item, "subscription"), "remove")) {
        if (!old || !old->in_roster) return STANZA_ITEM_NOT_FOUND;
        *out = *old;
        out->gone = true;
        return STANZA_OK;
    }
    if (name.len > NAME_MAX_BYTES) return STANZA_NOT_ACCEPTABLE;
    xmpp_stanza_error bad = read_groups(p, item, groups);
    if (bad != STANZA_OK) return bad;
    bool no_room = svc_contacts_count(a) >= p->cfg->roster_max || rt_memory_tight(rt_ctx_node(p->cx));
    if ((!old || !old->in_roster) && no_room) return STANZA_RESOURCE_CONSTRAINT;
    *out = old ? *old : (store_item){.jid = bare};
    out->name = name.len ? name : SLICE_NULL;
    out->groups = buf_slice(groups);
    out->in_roster = true;
    return STANZA_OK;
}

/* A request for the roster while a change is on its way to the store: answered from what is durable then. */
static void get_later(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    svc_session *s = svc_session_of(a, origin);
    (void)packed;
    if (!s)
        svc_part_done(p, origin, ticket);
    else if (a->state == SVC_READY)
        svc_roster_iq(p, a, s, e, origin, ticket);
    else
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "the roster cannot be read now, try again later", origin, ticket);
}

void svc_roster_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    if (e->type == XMPP_TYPE_GET && svc_account_writing(a)) {
        rt_blob *packed = svc_part_pack(p, e);
        if (packed)
            svc_queue_behind(p, a, packed, origin, ticket, get_later);
        else
            svc_route_bounce(p, e, STANZA_POLICY_VIOLATION, "the request is too large", origin, ticket);
        rt_blob_unref(packed);
        return;
    }
    xmpp_node *iq;
    const xmpp_node *query = xmpp_env_tree(e, &p->scratch, &iq) == STREAM_OK ? xmpp_xml_child(iq, NS_ROSTER, "query") : NULL;
    if (!query) {
        svc_route_bounce(p, e, STANZA_BAD_REQUEST, NULL, origin, ticket);
        return;
    }
    if (e->type == XMPP_TYPE_GET) {
        get(p, a, s, e, query, origin, ticket);
        return;
    }
    store_item item;
    buf groups;
    buf_init(&groups, GROUPS_MAX * (GROUP_MAX_BYTES + 4));
    rt_blob *packed = svc_part_pack(p, e);
    xmpp_stanza_error bad = packed ? set(p, a, query, &item, &groups) : STANZA_POLICY_VIOLATION;
    if (bad != STANZA_OK) {
        svc_route_bounce(p, e, bad, NULL, origin, ticket);
    } else {
        set_ctx *c = mem_zalloc(sizeof *c);
        c->env = rt_blob_ref(packed);
        c->origin = origin;
        c->ticket = ticket;
        if (item.gone) {
            c->was = item;
            c->was.jid = svc_own(item.jid);
            c->was.name = c->was.groups = c->was.request = SLICE_NULL;
        }
        svc_roster_change(p, a, &item, set_done, c);
    }
    rt_blob_unref(packed);
    buf_fini(&groups);
}
