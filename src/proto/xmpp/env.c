/* env: a stanza from the edge's tree to the form in which services route and the log stores it.
 *
 *      client --tree--> xmpp_env_build --env--> services --packed--> log, other shards
 *                        | to, type, id checked               |
 *                        | forged elements dropped            +--> xmpp_env_write --> another client
 *                        + children as canonical XML (inner)
 *
 * What: header fields in the open, the payload as text. Why: nobody between the two edges parses a payload, and what leaves is what we
 * wrote ourselves (promises.md, stanza smuggling; carbons and MAM forgery).
 * Invariants: (1) type is one that its kind can have. (2) inner is canonical XML whose default namespace is jabber:client. (3) what a
 * client cannot prove (that a server delayed, numbered, archived or carbon-copied) is not in inner. (4) flags are computed from what is in
 * inner, never from what was dropped, except NO_COPY, which <private/> sets by being removed. (5) packed bytes are foreign: every length
 * is checked. */
#include "proto/xmpp/env.h"

#include "base/codec.h"
#include "base/cursor.h"
#include "base/plant.h"
#include "proto/xmpp/jid.h"
#include "proto/xmpp/ns.h"

#define PACK_VERSION 1
#define FLAGS_ALL    0x03ffu

#define K_MESSAGE  (1u << XMPP_MESSAGE)
#define K_PRESENCE (1u << XMPP_PRESENCE)
#define K_IQ       (1u << XMPP_IQ)
#define TYPE_COUNT (XMPP_TYPE_RESULT + 1)

static const struct {
    const char *name;
    unsigned kinds; /* which kinds may have it */
} types[TYPE_COUNT] = {
    [XMPP_TYPE_NONE] = {"", K_PRESENCE | K_MESSAGE},
    [XMPP_TYPE_ERROR] = {"error", K_MESSAGE | K_PRESENCE | K_IQ},
    [XMPP_TYPE_NORMAL] = {"normal", K_MESSAGE},
    [XMPP_TYPE_CHAT] = {"chat", K_MESSAGE},
    [XMPP_TYPE_GROUPCHAT] = {"groupchat", K_MESSAGE},
    [XMPP_TYPE_HEADLINE] = {"headline", K_MESSAGE},
    [XMPP_TYPE_UNAVAILABLE] = {"unavailable", K_PRESENCE},
    [XMPP_TYPE_SUBSCRIBE] = {"subscribe", K_PRESENCE},
    [XMPP_TYPE_SUBSCRIBED] = {"subscribed", K_PRESENCE},
    [XMPP_TYPE_UNSUBSCRIBE] = {"unsubscribe", K_PRESENCE},
    [XMPP_TYPE_UNSUBSCRIBED] = {"unsubscribed", K_PRESENCE},
    [XMPP_TYPE_PROBE] = {"probe", K_PRESENCE},
    [XMPP_TYPE_GET] = {"get", K_IQ},
    [XMPP_TYPE_SET] = {"set", K_IQ},
    [XMPP_TYPE_RESULT] = {"result", K_IQ},
};
static const char *const kind_names[] = {[XMPP_MESSAGE] = "message", [XMPP_PRESENCE] = "presence", [XMPP_IQ] = "iq"};

const char *xmpp_env_type_name(uint8_t type) { return type < TYPE_COUNT ? types[type].name : ""; }

/* What the checks of one stanza need. */
typedef struct builder {
    const xmpp_env_rules *rules;
    arena *a;
    xmpp_env *e;
} builder;

static bool is_ours(const builder *b, slice domain) {
    for (size_t i = 0; i < b->rules->n_domains; i++)
        if (slice_eq(b->rules->domains[i], domain)) return true;
    return false;
}

/* Would this 'by' or 'from' speak for this server? account: also for an account on it. What is no address at all speaks for nobody and is
 * treated as a forgery: no honest client writes it. */
static bool speaks_for_us(const builder *b, slice text, bool account) {
    xmpp_jid j;
    slice full;
    if (!text.p || xmpp_jid_parse(text, b->a, &j, &full) != ERR_OK) return true;
    if (is_ours(b, j.domain)) return account || !j.local.p;
    slice bare = xmpp_jid_bare(full);
    return account && (slice_eq(bare, xmpp_jid_bare(b->e->from)) || (b->e->to.p && slice_eq(bare, xmpp_jid_bare(b->e->to))));
}

static bool is_copy(const xmpp_node *n) {
    if (slice_starts(n->ns, SLICE("urn:xmpp:carbons:"))) return slice_is(n->name, "received") || slice_is(n->name, "sent");
    return slice_starts(n->ns, SLICE("urn:xmpp:mam:")) && slice_is(n->name, "result");
}

/* Is there a carbon or an archive result anywhere below? Recursion is bounded by XMPP_XML_DEPTH_MAX. */
static bool holds_copy(const xmpp_node *n) {
    for (const xmpp_node *c = xmpp_xml_first_element(n); c; c = xmpp_xml_next_element(c))
        if (is_copy(c) || holds_copy(c)) return true;
    return false;
}

/* What only a server may say (XEP-0203, 0280, 0313, 0359). */
static bool is_forged(const builder *b, const xmpp_node *n) {
    if (slice_is(n->ns, NS_CLIENT)) return false;
    if (is_copy(n) || xmpp_xml_is(n, NS_CARBONS, "private")) return true;
    if (xmpp_xml_is(n, NS_FORWARD, "forwarded")) return holds_copy(n);
    if (xmpp_xml_is(n, NS_SID, "stanza-id") && !plant(STANZA_ID_BELIEVED)) return speaks_for_us(b, xmpp_xml_attr(n, "by"), true);
    if (xmpp_xml_is(n, NS_DELAY, "delay") || xmpp_xml_is(n, NS_DELAY_OLD, "x")) {
        slice from = xmpp_xml_attr(n, "from");
        return from.p && speaks_for_us(b, from, false);
    }
    return false;
}

static uint32_t hint_flag(slice name) {
    if (slice_is(name, "no-store")) return XMPP_F_NO_STORE;
    if (slice_is(name, "no-permanent-store")) return XMPP_F_NO_PERMANENT;
    if (slice_is(name, "no-copy")) return XMPP_F_NO_COPY;
    if (slice_is(name, "store")) return XMPP_F_STORE_HINT;
    return 0;
}

/* What a child of a message says about it. */
static uint32_t child_flags(const xmpp_node *n) {
    if (slice_is(n->ns, NS_CLIENT)) {
        if (slice_is(n->name, "body")) return XMPP_F_BODY | XMPP_F_PAYLOAD;
        return slice_is(n->name, "thread") ? 0 : XMPP_F_PAYLOAD;
    }
    if (slice_is(n->ns, NS_CHATSTATES)) return XMPP_F_CHATSTATE;
    if (slice_is(n->ns, NS_HINTS)) return hint_flag(n->name);
    if (slice_is(n->ns, NS_SID)) return 0;
    if (slice_is(n->ns, NS_RECEIPTS)) return XMPP_F_RECEIPT | XMPP_F_PAYLOAD;
    return XMPP_F_PAYLOAD;
}

static bool parse_kind(const xmpp_node *n, uint8_t *out) {
    for (uint8_t k = 0; k < ARRAY_LEN(kind_names); k++)
        if (slice_is(n->name, kind_names[k])) {
            *out = k;
            return slice_is(n->ns, NS_CLIENT);
        }
    return false;
}

static bool parse_type(uint8_t kind, slice text, uint8_t *out) {
    if (text.p)
        for (uint8_t t = XMPP_TYPE_NONE + 1; t < TYPE_COUNT; t++)
            if ((types[t].kinds & (1u << kind)) && slice_is(text, types[t].name)) {
                *out = t;
                return true;
            }
    if (kind == XMPP_MESSAGE) {
        *out = XMPP_TYPE_NORMAL; /* absent or unknown: RFC 6121 5.2.2 */
        return true;
    }
    *out = XMPP_TYPE_NONE;
    return kind == XMPP_PRESENCE && !text.p;
}

/* <priority/> of available presence: -128 to 127 (RFC 6121 4.7.2.3), white space around it allowed by its schema type. */
static bool parse_priority(const xmpp_node *n, arena *a, int8_t *out) {
    const xmpp_node *p = xmpp_xml_child(n, NS_CLIENT, "priority");
    int64_t v = 0;
    if (!p) return true;
    slice s = xmpp_xml_text(p, a);
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\n' || s.p[0] == '\t' || s.p[0] == '\r')) s = slice_from(s, 1);
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\t' || s.p[s.len - 1] == '\r')) s.len--;
    if (xmpp_xml_first_element(p) || dec_parse_i64(s, INT8_MIN, INT8_MAX, &v) != ERR_OK) return false;
    *out = (int8_t)v;
    return true;
}

/* RFC 6120 8.2.3: an iq has an id; get and set have one child, a result at most one. */
static bool check_iq(const xmpp_node *n, xmpp_env *e) {
    size_t children = 0;
    for (const xmpp_node *c = xmpp_xml_first_element(n); c; c = xmpp_xml_next_element(c)) {
        if (children++ > 0) continue;
        e->payload_ns = c->ns.p ? c->ns : SLICE("");
        e->payload_name = c->name;
    }
    if (!e->id.p) return false;
    if (e->type == XMPP_TYPE_GET || e->type == XMPP_TYPE_SET) return children == 1;
    return e->type == XMPP_TYPE_ERROR || children <= 1;
}

/* The addresses, type and id. e stays fit for xmpp_env_error when this fails. */
static xmpp_stanza_error build_header(const builder *b, const xmpp_node *n) {
    xmpp_env *e = b->e;
    if (!parse_kind(n, &e->kind)) return STANZA_BAD_REQUEST;
    e->id = xmpp_xml_attr(n, "id");
    e->lang = xmpp_xml_attr_ns(n, NS_XML, "lang");
    if (!parse_type(e->kind, xmpp_xml_attr(n, "type"), &e->type)) return STANZA_BAD_REQUEST;
    slice to = xmpp_xml_attr(n, "to");
    if (to.p) {
        xmpp_jid j;
        err r = xmpp_jid_parse(to, b->a, &j, &e->to);
        if (r != ERR_OK) return r == ERR_LIMIT ? STANZA_RESOURCE_CONSTRAINT : STANZA_JID_MALFORMED;
    }
    if (e->kind == XMPP_IQ && !check_iq(n, e)) return STANZA_BAD_REQUEST;
    if (e->kind == XMPP_PRESENCE && e->type == XMPP_TYPE_NONE && !parse_priority(n, b->a, &e->priority)) return STANZA_BAD_REQUEST;
    return STANZA_OK;
}

xmpp_stanza_error xmpp_env_build(const xmpp_node *stanza, slice from, const xmpp_env_rules *rules, arena *a, buf *inner, xmpp_env *out) {
    memset(out, 0, sizeof *out);
    out->from = from;
    builder b = {rules, a, out};
    xmpp_stanza_error e = build_header(&b, stanza);
    if (e != STANZA_OK) return e;
    size_t start = inner->len;
    for (const xmpp_node *c = xmpp_xml_first_element(stanza); c; c = xmpp_xml_next_element(c)) {
        if (out->kind != XMPP_IQ && is_forged(&b, c)) {
            if (xmpp_xml_is(c, NS_CARBONS, "private")) out->flags |= XMPP_F_NO_COPY;
            continue;
        }
        xmpp_xml_write(inner, c, SLICE(NS_CLIENT));
        if (out->kind != XMPP_MESSAGE) {
            out->flags |= XMPP_F_PAYLOAD;
            continue;
        }
        out->flags |= child_flags(c);
        if (xmpp_xml_is(c, NS_SID, "origin-id")) out->origin_id = xmpp_xml_attr(c, "id");
    }
    if (!buf_ok(inner)) return STANZA_RESOURCE_CONSTRAINT;
    out->inner = inner->len > start ? slice_of(inner->p + start, inner->len - start) : SLICE("");
    return STANZA_OK;
}

/* --- packed ----------------------------------------------------------------------------------------------------------------------
 *   u8 version | u8 kind | u8 type | i8 priority | u32 flags | u16 which slices follow | for each: u32 length, bytes */
#define PACK_SLICES 8
static void slices_of(xmpp_env *e, slice *out[PACK_SLICES]) {
    slice *all[PACK_SLICES] = {&e->from, &e->to, &e->id, &e->lang, &e->origin_id, &e->payload_ns, &e->payload_name, &e->inner};
    memcpy(out, all, sizeof all);
}

void xmpp_env_pack(buf *out, const xmpp_env *e) {
    xmpp_env copy = *e;
    slice *s[PACK_SLICES];
    unsigned which = 0;
    slices_of(&copy, s);
    for (unsigned i = 0; i < PACK_SLICES; i++)
        if (s[i]->p) which |= 1u << i;
    buf_add_byte(out, PACK_VERSION);
    buf_add_byte(out, e->kind);
    buf_add_byte(out, e->type);
    buf_add_byte(out, (uint8_t)e->priority);
    buf_add_u32le(out, e->flags);
    buf_add_u16le(out, (uint16_t)which);
    for (unsigned i = 0; i < PACK_SLICES; i++)
        if (s[i]->p) buf_add_lslice(out, *s[i]);
}

err xmpp_env_unpack(slice packed, xmpp_env *out) {
    cursor c = cursor_of(packed);
    xmpp_env e;
    uint8_t version, priority;
    uint16_t which;
    memset(&e, 0, sizeof e);
    if (!cursor_u8(&c, &version)) return ERR_CORRUPT;
    if (version != PACK_VERSION) return ERR_VERSION;
    if (!cursor_u8(&c, &e.kind) || !cursor_u8(&c, &e.type) || !cursor_u8(&c, &priority)) return ERR_CORRUPT;
    if (!cursor_u32le(&c, &e.flags) || !cursor_u16le(&c, &which)) return ERR_CORRUPT;
    if (e.kind > XMPP_IQ || e.type >= TYPE_COUNT || !(types[e.type].kinds & (1u << e.kind))) return ERR_CORRUPT;
    if ((e.flags & ~FLAGS_ALL) || (which >> PACK_SLICES)) return ERR_CORRUPT;
    e.priority = (int8_t)priority;
    slice *s[PACK_SLICES];
    slices_of(&e, s);
    for (unsigned i = 0; i < PACK_SLICES; i++)
        if ((which & (1u << i)) && !cursor_lslice(&c, s[i])) return ERR_CORRUPT;
    if (cursor_left(&c) != 0) return ERR_CORRUPT;
    *out = e;
    return ERR_OK;
}

/* --- out again ------------------------------------------------------------------------------------------------------------------- */
static void write_env(buf *out, const xmpp_env *e, slice to, slice extra, bool with_ns) {
    if (!check(e->kind <= XMPP_IQ)) return;
    buf_add_byte(out, '<');
    buf_add_str(out, kind_names[e->kind]);
    if (with_ns) buf_add(out, SLICE(" xmlns='" NS_CLIENT "'"));
    if (e->type != XMPP_TYPE_NONE && e->type != XMPP_TYPE_NORMAL) xmpp_xml_write_attr(out, "type", slice_str(xmpp_env_type_name(e->type)));
    xmpp_xml_write_attr(out, "from", e->from);
    xmpp_xml_write_attr(out, "to", to.p ? to : e->to);
    xmpp_xml_write_attr(out, "id", e->id);
    xmpp_xml_write_attr(out, "xml:lang", e->lang);
    if (e->inner.len == 0 && extra.len == 0) {
        buf_add(out, SLICE("/>"));
        return;
    }
    buf_add_byte(out, '>');
    buf_add(out, e->inner);
    buf_add(out, extra);
    buf_add(out, SLICE("</"));
    buf_add_str(out, kind_names[e->kind]);
    buf_add_byte(out, '>');
}

void xmpp_env_write(buf *out, const xmpp_env *e, slice to, slice extra) { write_env(out, e, to, extra, false); }
void xmpp_env_write_ns(buf *out, const xmpp_env *e, slice to, slice extra) { write_env(out, e, to, extra, true); }

xmpp_stream_error xmpp_env_tree(const xmpp_env *e, arena *a, xmpp_node **out_stanza) {
    static const xmpp_binding dflt = {{NULL, 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}};
    static const xmpp_scope scope = {&dflt, 1};
    if (e->kind > XMPP_IQ) return STREAM_INTERNAL_SERVER_ERROR;
    slice name = slice_str(kind_names[e->kind]);
    size_t len = 2 * name.len + 5 + e->inner.len;
    uint8_t *mem = arena_alloc(a, len), *p = mem;
    if (!mem) return STREAM_RESOURCE_CONSTRAINT;
    *p++ = '<';
    memcpy(p, name.p, name.len);
    p += name.len;
    *p++ = '>';
    if (e->inner.len) memcpy(p, e->inner.p, e->inner.len);
    p += e->inner.len;
    *p++ = '<';
    *p++ = '/';
    memcpy(p, name.p, name.len);
    p += name.len;
    *p = '>';
    return xmpp_xml_parse(slice_of(mem, len), &scope, a, out_stanza);
}

bool xmpp_env_may_bounce(const xmpp_env *e) { return e->type != XMPP_TYPE_ERROR && e->type != XMPP_TYPE_RESULT; }

void xmpp_env_error(const xmpp_env *e, xmpp_stanza_error cond, const char *text, buf *errbuf, xmpp_env *out) {
    size_t start = errbuf->len;
    xmpp_error_write_stanza(errbuf, cond, NULL, text);
    xmpp_env r = {
        .kind = e->kind, .type = XMPP_TYPE_ERROR, .flags = XMPP_F_SERVER | XMPP_F_PAYLOAD, .from = e->to, .to = e->from, .id = e->id};
    r.inner = slice_of(errbuf->p + start, errbuf->len - start);
    *out = r;
}

bool xmpp_env_is_kept(const xmpp_env *e) {
    if (e->kind != XMPP_MESSAGE) return false;
    if (e->type != XMPP_TYPE_CHAT && e->type != XMPP_TYPE_NORMAL && e->type != XMPP_TYPE_NONE) return false;
    if (e->flags & (XMPP_F_NO_STORE | XMPP_F_NO_PERMANENT | XMPP_F_CARBON)) return false;
    return (e->flags & (XMPP_F_BODY | XMPP_F_PAYLOAD)) != 0;
}
