/* block: the blocklist (XEP-0191). Matching is by the four address forms of XEP-0191 section 3.3 on canonical JIDs, so that case, resources
 * and look-alike encodings do not evade it. */
#include "proto/xmpp/ns.h"
#include "svc/route.h"

bool svc_block_matches(const svc_account *a, slice jid) {
    for (size_t i = 0; a->contacts && i < a->contacts->n_blocks; i++)
        if (xmpp_jid_block_match(a->contacts->blocks[i], jid)) return true;
    return false;
}

static void write_items(buf *out, const slice *jids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        buf_add_str(out, "<item");
        xmpp_xml_write_attr(out, "jid", jids[i]);
        buf_add_str(out, "/>");
    }
}

typedef struct block_ctx {
    rt_blob *env;
    rt_pid origin;
    uint32_t ticket;
    bool block;
    slice *jids; /* owned */
    size_t n;
} block_ctx;

static void ctx_free(block_ctx *c) {
    for (size_t i = 0; i < c->n; i++) svc_disown(&c->jids[i]);
    mem_free(c->jids);
    rt_blob_unref(c->env);
    mem_free(c);
}

/* Contacts that match and may see us are told: gone when blocked, here when unblocked (3.3, 3.4). Before the list changes to blocked, and
 * after it changes back, because nothing is sent to who is blocked. */
static void tell(svc_part *p, svc_account *a, const block_ctx *c, bool available) {
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++) {
        const store_item *item = &a->contacts->items[i];
        if (item->sub != STORE_SUB_FROM && item->sub != STORE_SUB_BOTH) continue;
        for (size_t j = 0; j < c->n; j++)
            if (xmpp_jid_block_match(c->jids[j], item->jid)) {
                svc_presence_to(p, a, item->jid, available);
                break;
            }
    }
}

static void written(svc_part *p, void *arg, rt_msg *reply) {
    block_ctx *c = arg;
    xmpp_env e;
    svc_account *a = NULL;
    err status = reply ? keyed_written_of(reply)->status : ERR_CANCELLED;
    if (reply && xmpp_env_unpack(rt_blob_slice(c->env), &e) == ERR_OK) a = svc_account_find(p, xmpp_jid_bare(e.from));
    if (a && status != ERR_OK) {
        svc_route_bounce(p, &e, STANZA_RESOURCE_CONSTRAINT, "the blocklist cannot be changed now, try again later", c->origin, c->ticket);
    } else if (a) {
        if (c->block) tell(p, a, c, false);
        for (size_t i = 0; c->block && i < c->n; i++) svc_presence_block(p, a, c->jids[i]);
        for (size_t i = 0; i < c->n; i++) {
            if (c->block)
                svc_contacts_block(a, c->jids[i]);
            else
                svc_contacts_unblock(a, c->jids[i]);
        }
        if (!c->block) tell(p, a, c, true);
        svc_iq_result(p, &e, SLICE(""), c->origin, c->ticket);
        buf b;
        buf_init(&b, 4u << 20);
        const char *name = c->block ? "block" : "unblock";
        buf_addf(&b, "<%s xmlns='" NS_BLOCKING "'>", name);
        write_items(&b, c->jids, c->n);
        buf_addf(&b, "</%s>", name);
        for (svc_session *s = a->sessions; s && buf_ok(&b); s = s->next)
            if (s->block_interested) svc_iq_push(p, a, s, buf_slice(&b));
        buf_fini(&b);
    }
    ctx_free(c);
}

static xmpp_stanza_error read_items(svc_part *p, const svc_account *a, const xmpp_node *items, block_ctx *c) {
    size_t cap = 0;
    for (const xmpp_node *n = xmpp_xml_first_element(items); n; n = xmpp_xml_next_element(n)) {
        xmpp_jid jid;
        slice full, text = xmpp_xml_attr(n, "jid");
        if (!xmpp_xml_is(n, NS_BLOCKING, "item") || !text.p) return STANZA_BAD_REQUEST;
        if (xmpp_jid_parse(text, &p->scratch, &jid, &full) != ERR_OK) return STANZA_JID_MALFORMED;
        if (slice_eq(full, svc_account_jid(a))) return STANZA_NOT_ALLOWED;
        if (c->n >= p->cfg->blocks_max) return STANZA_RESOURCE_CONSTRAINT;
        void *jids = c->jids;
        mem_grow(&jids, &cap, c->n + 1, sizeof *c->jids);
        c->jids = jids;
        c->jids[c->n++] = svc_own(full);
    }
    if (c->block && c->n == 0) return STANZA_BAD_REQUEST; /* 3.3: an empty block is refused; an empty unblock means all */
    if (!c->block && c->n == 0 && a->contacts) {
        c->jids = mem_alloc((a->contacts->n_blocks + 1) * sizeof *c->jids);
        for (; c->n < a->contacts->n_blocks; c->n++) c->jids[c->n] = svc_own(a->contacts->blocks[c->n]);
    }
    if (c->block && (a->contacts ? a->contacts->n_blocks : 0) + c->n > p->cfg->blocks_max) return STANZA_RESOURCE_CONSTRAINT;
    return STANZA_OK;
}

static void list_get(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    s->block_interested = true;
    buf b;
    buf_init(&b, 4u << 20);
    buf_add_str(&b, "<blocklist xmlns='" NS_BLOCKING "'>");
    if (a->contacts) write_items(&b, a->contacts->blocks, a->contacts->n_blocks);
    buf_add_str(&b, "</blocklist>");
    if (buf_ok(&b))
        svc_iq_result(p, e, buf_slice(&b), origin, ticket);
    else
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, NULL, origin, ticket);
    buf_fini(&b);
}

void svc_block_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    xmpp_node *iq;
    const xmpp_node *child = xmpp_env_tree(e, &p->scratch, &iq) == STREAM_OK ? xmpp_xml_first_element(iq) : NULL;
    if (!child) { /* also: a tree that is larger than p->scratch */
        svc_route_bounce(p, e, STANZA_BAD_REQUEST, NULL, origin, ticket);
        return;
    }
    bool get = e->type == XMPP_TYPE_GET, block = xmpp_xml_is(child, NS_BLOCKING, "block");
    if (get && xmpp_xml_is(child, NS_BLOCKING, "blocklist")) {
        list_get(p, a, s, e, origin, ticket);
        return;
    }
    if (get || (!block && !xmpp_xml_is(child, NS_BLOCKING, "unblock"))) {
        svc_route_bounce(p, e, STANZA_BAD_REQUEST, NULL, origin, ticket);
        return;
    }
    block_ctx *c = mem_zalloc(sizeof *c);
    *c = (block_ctx){.origin = origin, .ticket = ticket, .block = block};
    c->env = svc_part_pack(p, e);
    xmpp_stanza_error bad = c->env ? read_items(p, a, child, c) : STANZA_POLICY_VIOLATION;
    if (bad != STANZA_OK) {
        svc_route_bounce(p, e, bad, NULL, origin, ticket);
        ctx_free(c);
        return;
    }
    store_ops *ops = store_ops_new();
    for (size_t i = 0; i < c->n; i++) {
        if (block)
            store_ops_block_add(ops, svc_account_jid(a), c->jids[i]);
        else
            store_ops_block_del(ops, svc_account_jid(a), c->jids[i]);
    }
    svc_part_write(p, a, ops, written, c);
}
