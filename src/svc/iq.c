/* iq: requests to the server and to accounts, answered here; requests to resources, passed on (RFC 6121 8.5).
 *
 * One table says which payloads are answered, for whom; everything else is service-unavailable, so that a request to an account that
 * exists and one that does not look alike to strangers. */
#include "base/codec.h"
#include "base/digest.h"
#include "proto/xmpp/ns.h"
#include "svc/route.h"

#include <stdio.h>

/* What the server (its domains) and accounts announce, sorted as XEP-0115 5.1 wants it. */
static const char *const SERVER_FEATURES[] = {
    NS_CAPS, NS_DISCO_INFO, NS_DISCO_ITEMS, NS_ROSTER, NS_VERSION, NS_OFFLINE, NS_BLOCKING, NS_CARBONS, NS_PING, NS_SID, NS_TIME,
};
static const char *const ACCOUNT_FEATURES[] = {NS_DISCO_INFO, NS_DISCO_ITEMS, NS_BLOCKING, NS_CARBONS, NS_PING, NS_SID};

/* --- answers */
void svc_iq_result(svc_part *p, const xmpp_env *request, slice inner, rt_pid origin, uint32_t ticket) {
    xmpp_env r = {.kind = XMPP_IQ, .type = XMPP_TYPE_RESULT, .flags = XMPP_F_SERVER, .from = request->to, .to = request->from};
    r.id = request->id;
    r.inner = inner;
    if (svc_route_answer(p, &r, origin))
        svc_part_done(p, origin, ticket);
    else
        svc_route_bounce(p, request, STANZA_RESOURCE_CONSTRAINT, "the answer is too large", origin, ticket);
}

void svc_iq_push(svc_part *p, svc_account *a, svc_session *s, slice inner) {
    uint8_t raw[8];
    rt_entropy(p->cx, raw, sizeof raw);
    char id[24];
    int n =
        snprintf(id, sizeof id, "push-%02x%02x%02x%02x%02x%02x%02x%02x", raw[0], raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], raw[7]);
    xmpp_env e = {.kind = XMPP_IQ, .type = XMPP_TYPE_SET, .flags = XMPP_F_SERVER, .from = svc_account_jid(a), .to = svc_session_jid(s)};
    e.id = slice_of(id, (size_t)n);
    e.inner = inner;
    svc_session_deliver(p, s, &e, SLICE_NULL);
}

typedef struct request {
    svc_part *p;
    svc_account *a; /* NULL: to the server */
    svc_session *s; /* the asking session, if it is the account's own */
    const xmpp_env *e;
    rt_pid origin;
    uint32_t ticket;
} request;

static void result(const request *q, slice inner) { svc_iq_result(q->p, q->e, inner, q->origin, q->ticket); }
static void refuse(const request *q, xmpp_stanza_error e) { svc_route_bounce(q->p, q->e, e, NULL, q->origin, q->ticket); }

static void write_disco(buf *b, bool account, const char *category, const char *type, const char *name) {
    const char *const *f = account ? ACCOUNT_FEATURES : SERVER_FEATURES;
    size_t n = account ? ARRAY_LEN(ACCOUNT_FEATURES) : ARRAY_LEN(SERVER_FEATURES);
    buf_addf(b, "<identity category='%s' type='%s'", category, type);
    if (name) buf_addf(b, " name='%s'", name);
    buf_add_str(b, "/>");
    for (size_t i = 0; i < n; i++) buf_addf(b, "<feature var='%s'/>", f[i]);
}

static void on_disco_info(const request *q) {
    xmpp_node *iq;
    const xmpp_node *query = xmpp_env_tree(q->e, &q->p->scratch, &iq) == STREAM_OK ? xmpp_xml_first_element(iq) : NULL;
    slice node = query ? xmpp_xml_attr(query, "node") : SLICE_NULL;
    char ver[64], caps_node[128] = "";
    if (!q->a) {
        size_t n = svc_iq_caps_ver(q->p->cfg, ver);
        (void)snprintf(caps_node, sizeof caps_node, "%s#%.*s", SVC_CAPS_NODE, (int)n, ver);
    }
    if (node.len && !slice_is(node, caps_node)) {
        refuse(q, STANZA_ITEM_NOT_FOUND);
        return;
    }
    buf b;
    buf_init(&b, 16384);
    buf_add_str(&b, "<query xmlns='" NS_DISCO_INFO "'");
    if (node.len) xmpp_xml_write_attr(&b, "node", node);
    buf_add_byte(&b, '>');
    if (q->a)
        write_disco(&b, true, "account", q->a->state == SVC_ANONYMOUS ? "anonymous" : "registered", NULL);
    else
        write_disco(&b, false, "server", "im", "murre");
    buf_add_str(&b, "</query>");
    result(q, buf_slice(&b));
    buf_fini(&b);
}

static void on_disco_items(const request *q) { result(q, SLICE("<query xmlns='" NS_DISCO_ITEMS "'/>")); }
static void on_ping(const request *q) { result(q, SLICE("")); }

static void on_version(const request *q) {
    buf b;
    buf_init(&b, 1024);
    buf_add_str(&b, "<query xmlns='" NS_VERSION "'><name>murre</name><version>");
    xmpp_xml_escape(&b, slice_str(q->p->cfg->version));
    buf_add_str(&b, "</version></query>");
    result(q, buf_slice(&b));
    buf_fini(&b);
}

static void on_time(const request *q) { /* XEP-0202; the server's zone is UTC */
    char utc[32];
    (void)time_format(rt_wall(q->p->cx), false, utc);
    buf b;
    buf_init(&b, 256);
    buf_addf(&b, "<time xmlns='" NS_TIME "'><tzo>+00:00</tzo><utc>%s</utc></time>", utc);
    result(q, buf_slice(&b));
    buf_fini(&b);
}

static void on_carbons(const request *q) { /* XEP-0280 sections 4 and 5 */
    bool on = slice_is(q->e->payload_name, "enable");
    if (!on && !slice_is(q->e->payload_name, "disable")) {
        refuse(q, STANZA_BAD_REQUEST);
        return;
    }
    q->s->carbons = on;
    result(q, SLICE(""));
}

static void on_roster(const request *q) {
    if (q->a->state == SVC_ANONYMOUS && q->e->type == XMPP_TYPE_SET)
        refuse(q, STANZA_NOT_ALLOWED);
    else
        svc_roster_iq(q->p, q->a, q->s, q->e, q->origin, q->ticket);
}

static void on_blocking(const request *q) {
    if (q->a->state == SVC_ANONYMOUS && q->e->type == XMPP_TYPE_SET)
        refuse(q, STANZA_NOT_ALLOWED);
    else
        svc_block_iq(q->p, q->a, q->s, q->e, q->origin, q->ticket);
}

#define FOR_SERVER  1u /* addressed to a domain of ours */
#define FOR_OWN     2u /* the user, to its own account */
#define FOR_TRUSTED 4u /* a contact that may see the user's presence, to the account */
typedef struct handler {
    const char *ns;
    uint8_t type; /* GET, SET, or NONE for both */
    unsigned whom;
    void (*fn)(const request *q);
} handler;
static const handler HANDLERS[] = {
    {NS_ROSTER, XMPP_TYPE_NONE, FOR_OWN, on_roster},
    {NS_BLOCKING, XMPP_TYPE_NONE, FOR_OWN, on_blocking},
    {NS_CARBONS, XMPP_TYPE_SET, FOR_OWN, on_carbons},
    {NS_DISCO_INFO, XMPP_TYPE_GET, FOR_SERVER | FOR_OWN | FOR_TRUSTED, on_disco_info},
    {NS_DISCO_ITEMS, XMPP_TYPE_GET, FOR_SERVER | FOR_OWN | FOR_TRUSTED, on_disco_items},
    {NS_PING, XMPP_TYPE_GET, FOR_SERVER | FOR_OWN, on_ping},
    {NS_VERSION, XMPP_TYPE_GET, FOR_SERVER, on_version},
    {NS_TIME, XMPP_TYPE_GET, FOR_SERVER, on_time},
};

static void answer(const request *q, unsigned whom) {
    for (size_t i = 0; i < ARRAY_LEN(HANDLERS); i++) {
        const handler *h = &HANDLERS[i];
        if (!(h->whom & whom) || !slice_is(q->e->payload_ns, h->ns)) continue;
        if (h->type != XMPP_TYPE_NONE && h->type != q->e->type) continue;
        h->fn(q);
        return;
    }
    refuse(q, STANZA_SERVICE_UNAVAILABLE);
}

static bool is_request(const xmpp_env *e) { return e->kind == XMPP_IQ && (e->type == XMPP_TYPE_GET || e->type == XMPP_TYPE_SET); }

/* --- where requests come in */
void svc_iq_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    if (e->to.p && !slice_eq(e->to, svc_account_jid(a))) {
        svc_route_out(p, s, e, ticket);
    } else if (!is_request(e)) {
        svc_part_done(p, origin, ticket); /* the answer to a push */
    } else {
        xmpp_env own = *e;
        if (!own.to.p) own.to = svc_account_jid(a);
        const request q = {p, a, s, &own, origin, ticket};
        answer(&q, FOR_OWN);
    }
}

void svc_iq_server(svc_part *p, const xmpp_env *e, rt_pid origin, uint32_t ticket) {
    const request q = {p, NULL, NULL, e, origin, ticket};
    if (is_request(e) && !xmpp_jid_resource(e->to).p)
        answer(&q, FOR_SERVER);
    else if (e->kind == XMPP_PRESENCE)
        svc_part_done(p, origin, ticket); /* the server has no roster */
    else
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket);
}

static void iq_live(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    svc_session *s = svc_session_find(a, xmpp_jid_resource(e->to));
    if (!s) {
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket);
        return;
    }
    svc_queue_live(p, a, s, e->from, packed);
    svc_part_done(p, origin, ticket);
}

void svc_iq_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    if (xmpp_jid_resource(e->to).p) {
        bool spoof = e->type == XMPP_TYPE_SET && (slice_is(e->payload_ns, NS_ROSTER) || slice_is(e->payload_ns, NS_BLOCKING));
        if (spoof)
            svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket); /* pushes come from the server only */
        else
            svc_queue_behind(p, a, packed, origin, ticket, iq_live);
    } else if (is_request(e)) {
        const request q = {p, a, NULL, e, origin, ticket};
        answer(&q, svc_presence_trusted(a, xmpp_jid_bare(e->from)) ? FOR_TRUSTED : 0);
    } else {
        svc_part_done(p, origin, ticket);
    }
}

/* --- XEP-0115 section 5.1: the hash over identity and features */
size_t svc_iq_caps_ver(const svc_cfg *c, char *out) {
    (void)c;
    buf s;
    buf_init(&s, 4096);
    buf_add_str(&s, "server/im//murre<");
    for (size_t i = 0; i < ARRAY_LEN(SERVER_FEATURES); i++) buf_addf(&s, "%s<", SERVER_FEATURES[i]);
    uint8_t sum[DIGEST_MAX];
    digest_sum(DIGEST_SHA1, buf_slice(&s), sum);
    buf_reset(&s);
    base64_encode(&s, slice_of(sum, digest_len(DIGEST_SHA1)));
    size_t n = s.len < 63 ? s.len : 63;
    memcpy(out, s.p, n);
    out[n] = 0;
    buf_fini(&s);
    return n;
}
