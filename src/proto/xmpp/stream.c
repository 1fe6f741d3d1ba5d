/* stream: what may come when, on the receiving side of a client's stream.
 *
 * What: framer -> tokenizer -> the table below -> one event. Why a table: every pair of phase and element has one entry, so that nothing is
 * allowed by having been forgotten (STARTTLS stripping, stanzas before authentication; promises.md).
 *
 *   client bytes --> framer --unit--> xml --tree--> classify --element--> rules[phase][element] --> event | FAIL | SM_FAIL
 *                      ^ header expected after init                                                  |
 *                      +---------------------------------- CLOSED after FAIL, CLOSE, PEER_ERROR, STARTTLS
 *
 * Invariants: (1) after FAIL, CLOSE, PEER_ERROR and STARTTLS the phase is CLOSED: what follows in the clear is dropped and takes no effect
 * until the caller begins anew with xmpp_stream_init. (2) before a header was accepted, no element is looked at. (3) no bytes are kept:
 * the state is 16 bytes. */
#include "proto/xmpp/stream.h"

#include "base/codec.h"
#include "proto/xmpp/ns.h"

_Static_assert(sizeof(xmpp_framer) == 8, "an idle stream keeps 8 bytes of framer");
_Static_assert(sizeof(xmpp_stream) == 16, "and 16 in all");

/* The elements at depth 1 that we know. */
typedef enum element {
    EL_STANZA,  /* message, presence, iq of jabber:client */
    EL_BIND,    /* an iq that binds */
    EL_SESSION, /* an iq that asks for an RFC 3921 session of the server */
    EL_STARTTLS,
    EL_AUTH,
    EL_RESPONSE,
    EL_ABORT,
    EL_ENABLE,
    EL_RESUME,
    EL_REQUEST,
    EL_ACK,
    EL_ERROR,      /* stream:error */
    EL_FOREIGN_NS, /* a stanza of jabber:server, or of no namespace */
    EL_OTHER,
    EL_COUNT_,
} element;

/* What is done with an element in a phase. */
typedef enum rule {
    DO_STANZA, /* event STANZA */
    DO_BIND,
    DO_SESSION,
    DO_STARTTLS,
    DO_STARTTLS_IF, /* if it is offered in this phase */
    DO_AUTH,        /* unless an exchange is under way */
    DO_RESPONSE,    /* if an exchange is under way */
    DO_ABORT,       /* likewise */
    DO_ENABLE,      /* unless stream management is on */
    DO_RESUME,
    DO_REQUEST, /* if stream management is on */
    DO_ACK,     /* likewise */
    DO_PEER_ERROR,
    NO_SM,     /* stream management at the wrong time: SM_FAIL */
    NO_AUTH,   /* FAIL not-authorized: RFC 6120 4.9.3.12 */
    NO_POLICY, /* FAIL policy-violation */
    NO_NS,     /* FAIL invalid-namespace */
    NO_TYPE,   /* FAIL unsupported-stanza-type */
} rule;

static const uint8_t rules[XMPP_PHASE_CLOSED][EL_COUNT_] = {
    [XMPP_PHASE_PLAIN] = {[EL_STANZA] = NO_AUTH,
                          [EL_BIND] = NO_AUTH,
                          [EL_SESSION] = NO_AUTH,
                          [EL_STARTTLS] = DO_STARTTLS,
                          [EL_AUTH] = NO_POLICY,
                          [EL_RESPONSE] = NO_POLICY,
                          [EL_ABORT] = NO_POLICY,
                          [EL_ENABLE] = NO_AUTH,
                          [EL_RESUME] = NO_AUTH,
                          [EL_REQUEST] = NO_AUTH,
                          [EL_ACK] = NO_AUTH,
                          [EL_ERROR] = DO_PEER_ERROR,
                          [EL_FOREIGN_NS] = NO_AUTH,
                          [EL_OTHER] = NO_POLICY},
    [XMPP_PHASE_SECURE] = {[EL_STANZA] = NO_AUTH,
                           [EL_BIND] = NO_AUTH,
                           [EL_SESSION] = NO_AUTH,
                           [EL_STARTTLS] = DO_STARTTLS_IF,
                           [EL_AUTH] = DO_AUTH,
                           [EL_RESPONSE] = DO_RESPONSE,
                           [EL_ABORT] = DO_ABORT,
                           [EL_ENABLE] = NO_AUTH,
                           [EL_RESUME] = NO_AUTH,
                           [EL_REQUEST] = NO_AUTH,
                           [EL_ACK] = NO_AUTH,
                           [EL_ERROR] = DO_PEER_ERROR,
                           [EL_FOREIGN_NS] = NO_NS,
                           [EL_OTHER] = NO_TYPE},
    [XMPP_PHASE_AUTHED] = {[EL_STANZA] = NO_AUTH,
                           [EL_BIND] = DO_BIND,
                           [EL_SESSION] = NO_AUTH,
                           [EL_STARTTLS] = NO_POLICY,
                           [EL_AUTH] = NO_POLICY,
                           [EL_RESPONSE] = NO_POLICY,
                           [EL_ABORT] = NO_POLICY,
                           [EL_ENABLE] = NO_SM,
                           [EL_RESUME] = DO_RESUME,
                           [EL_REQUEST] = NO_SM,
                           [EL_ACK] = NO_SM,
                           [EL_ERROR] = DO_PEER_ERROR,
                           [EL_FOREIGN_NS] = NO_NS,
                           [EL_OTHER] = NO_TYPE},
    [XMPP_PHASE_BOUND] = {[EL_STANZA] = DO_STANZA,
                          [EL_BIND] = DO_STANZA,
                          [EL_SESSION] = DO_SESSION,
                          [EL_STARTTLS] = NO_POLICY,
                          [EL_AUTH] = NO_POLICY,
                          [EL_RESPONSE] = NO_POLICY,
                          [EL_ABORT] = NO_POLICY,
                          [EL_ENABLE] = DO_ENABLE,
                          [EL_RESUME] = NO_SM,
                          [EL_REQUEST] = DO_REQUEST,
                          [EL_ACK] = DO_ACK,
                          [EL_ERROR] = DO_PEER_ERROR,
                          [EL_FOREIGN_NS] = NO_NS,
                          [EL_OTHER] = NO_TYPE},
};

/* Elements that are known by name alone. */
static const struct {
    const char *ns, *name;
    uint8_t el;
} known[] = {
    {NS_SM, "r", EL_REQUEST},       {NS_SM, "a", EL_ACK},
    {NS_SM, "enable", EL_ENABLE},   {NS_SM, "resume", EL_RESUME},
    {NS_SASL, "auth", EL_AUTH},     {NS_SASL, "response", EL_RESPONSE},
    {NS_SASL, "abort", EL_ABORT},   {NS_TLS, "starttls", EL_STARTTLS},
    {NS_STREAM, "error", EL_ERROR},
};

void xmpp_stream_init(xmpp_stream *s, xmpp_phase phase, unsigned flags, uint32_t unit_max) {
    *s = (xmpp_stream){.phase = (uint8_t)phase, .flags = (uint8_t)flags, .unit_max = unit_max};
    xmpp_framer_init(&s->framer, true);
}

void xmpp_stream_set_phase(xmpp_stream *s, xmpp_phase phase) { s->phase = (uint8_t)phase; }

static void fail(xmpp_stream *s, xmpp_event *ev, xmpp_stream_error e, const char *text) {
    s->phase = XMPP_PHASE_CLOSED;
    ev->kind = XMPP_EV_FAIL;
    ev->mechanism = ev->data = SLICE_NULL; /* half of a refused request is of no use to anybody */
    ev->error = e;
    ev->text = text;
}

/* RFC 6120 4.7.5: "1.x" in decimal. Nothing else is spoken here; no version at all is a client from before RFC 3920. */
static bool is_version_1(slice v) {
    uint64_t minor;
    size_t dot = slice_find(v, '.');
    if (dot == v.len || !slice_is(slice_sub(v, 0, dot), "1")) return false;
    return dec_parse_u64(slice_from(v, dot + 1), UINT32_MAX, &minor) == ERR_OK;
}

/* Splits the header's bindings: the default namespace, which must be jabber:client, and what later units need besides the standard ones. */
static slice take_default(xmpp_scope *scope, arena *a) {
    slice dflt = SLICE_NULL;
    xmpp_binding *keep = scope->n ? arena_alloc(a, scope->n * sizeof *keep) : NULL;
    size_t n = 0;
    for (size_t i = 0; keep && i < scope->n; i++) {
        if (scope->b[i].prefix.len == 0)
            dflt = scope->b[i].ns;
        else if (!slice_is(scope->b[i].prefix, "stream") || !slice_is(scope->b[i].ns, NS_STREAM))
            keep[n++] = scope->b[i];
    }
    *scope = (xmpp_scope){keep, n};
    return dflt;
}

static void on_open(xmpp_stream *s, slice unit, arena *a, xmpp_event *ev) {
    xmpp_node *root = NULL;
    xmpp_stream_error e = xmpp_xml_parse_open(unit, a, &root, &ev->scope);
    if (e != STREAM_OK) {
        fail(s, ev, e, NULL);
        return;
    }
    slice dflt = take_default(&ev->scope, a);
    ev->to = xmpp_xml_attr(root, "to");
    ev->from = xmpp_xml_attr(root, "from");
    ev->lang = xmpp_xml_attr_ns(root, NS_XML, "lang");
    ev->version_1 = is_version_1(xmpp_xml_attr(root, "version"));
    if (!slice_is(root->ns, NS_STREAM))
        fail(s, ev, STREAM_INVALID_NAMESPACE, "not a stream of XMPP");
    else if (!slice_is(root->name, "stream"))
        fail(s, ev, STREAM_BAD_FORMAT, "a stream header was expected");
    else if (!slice_is(dflt, NS_CLIENT))
        fail(s, ev, STREAM_INVALID_NAMESPACE, "the default namespace must be jabber:client");
    else if (!ev->version_1)
        fail(s, ev, STREAM_UNSUPPORTED_VERSION, "only version 1.0 is spoken here");
    else {
        s->opened = true;
        ev->kind = XMPP_EV_OPEN;
    }
}

/* An iq of type set to the server (no 'to', or a domain) with one child, (ns, name)? */
static bool is_iq_set(const xmpp_node *n, const char *ns, const char *name) {
    const xmpp_node *c = xmpp_xml_first_element(n);
    slice to = xmpp_xml_attr(n, "to");
    return c && xmpp_xml_is(c, ns, name) && !xmpp_xml_next_element(c) && slice_is(xmpp_xml_attr(n, "type"), "set") &&
           xmpp_xml_attr(n, "id").p && slice_find(to, '@') == to.len && slice_find(to, '/') == to.len;
}

static element classify(const xmpp_node *n) {
    bool iq = slice_is(n->name, "iq");
    if (iq || slice_is(n->name, "message") || slice_is(n->name, "presence")) {
        if (!slice_is(n->ns, NS_CLIENT)) return slice_is(n->ns, NS_SERVER) || n->ns.len == 0 ? EL_FOREIGN_NS : EL_OTHER;
        if (iq && is_iq_set(n, NS_BIND, "bind")) return EL_BIND;
        if (iq && is_iq_set(n, NS_SESSION, "session")) return EL_SESSION;
        return EL_STANZA;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (xmpp_xml_is(n, known[i].ns, known[i].name)) return (element)known[i].el;
    return EL_OTHER;
}

/* RFC 6120 6.4.2: no text is no data, "=" is empty data. An element inside is not base64. */
static bool sasl_data(const xmpp_node *n, arena *a, slice *out) {
    if (xmpp_xml_first_element(n)) return false;
    slice text = xmpp_xml_text(n, a);
    *out = slice_is(text, "=") ? SLICE("") : text.len ? text : SLICE_NULL;
    return true;
}

static void on_sasl(xmpp_stream *s, const xmpp_node *n, rule r, arena *a, xmpp_event *ev) {
    bool busy = s->flags & XMPP_STREAM_SASL_BUSY;
    if (busy != (r != DO_AUTH)) {
        fail(s, ev, STREAM_POLICY_VIOLATION, busy ? "an authentication is under way" : "no authentication is under way");
        return;
    }
    if (r == DO_ABORT) {
        ev->kind = XMPP_EV_ABORT;
        return;
    }
    ev->mechanism = xmpp_xml_attr(n, "mechanism");
    if (!sasl_data(n, a, &ev->data) || (r == DO_AUTH && !ev->mechanism.p)) {
        fail(s, ev, STREAM_BAD_FORMAT, NULL);
        return;
    }
    ev->kind = r == DO_AUTH ? XMPP_EV_AUTH : XMPP_EV_RESPONSE;
    if (r == DO_RESPONSE && !ev->data.p) ev->data = SLICE("");
}

static bool u32_attr(const xmpp_node *n, const char *name, uint32_t *out) {
    uint64_t v;
    if (dec_parse_u64(xmpp_xml_attr(n, name), UINT32_MAX, &v) != ERR_OK) return false;
    *out = (uint32_t)v;
    return true;
}

static void on_sm(xmpp_stream *s, const xmpp_node *n, rule r, xmpp_event *ev) {
    bool on = s->flags & XMPP_STREAM_SM;
    slice resume;
    ev->kind = XMPP_EV_SM_FAIL;
    if (r == DO_ENABLE && !on) {
        ev->kind = XMPP_EV_SM_ENABLE;
        resume = xmpp_xml_attr(n, "resume");
        ev->resume = slice_is(resume, "true") || slice_is(resume, "1");
        if (!u32_attr(n, "max", &ev->max_sec)) ev->max_sec = 0;
    } else if (r == DO_RESUME) {
        ev->kind = XMPP_EV_SM_RESUME;
        ev->data = xmpp_xml_attr(n, "previd");
        if (!ev->data.p || !u32_attr(n, "h", &ev->h)) fail(s, ev, STREAM_BAD_FORMAT, "resume needs previd and h");
    } else if (r == DO_REQUEST && on) {
        ev->kind = XMPP_EV_SM_REQUEST;
    } else if (r == DO_ACK && on) {
        ev->kind = XMPP_EV_SM_ACK;
        if (!u32_attr(n, "h", &ev->h)) fail(s, ev, STREAM_BAD_FORMAT, "an ack needs h");
    }
}

static void on_bind(xmpp_node *n, arena *a, xmpp_event *ev) {
    const xmpp_node *bind = xmpp_xml_first_element(n);
    const xmpp_node *res = bind ? xmpp_xml_child(bind, NS_BIND, "resource") : NULL;
    slice text = res ? xmpp_xml_text(res, a) : SLICE_NULL;
    ev->kind = XMPP_EV_BIND;
    ev->stanza = n;
    ev->id = xmpp_xml_attr(n, "id");
    ev->data = text.len ? text : SLICE_NULL; /* an empty wish is no wish: the server chooses (RFC 6120 7.6) */
}

static void on_starttls(xmpp_stream *s, rule r, xmpp_event *ev) {
    if (r == DO_STARTTLS_IF && (!(s->flags & XMPP_STREAM_STARTTLS) || (s->flags & XMPP_STREAM_SASL_BUSY))) {
        fail(s, ev, STREAM_POLICY_VIOLATION, "starttls is not offered now");
        return;
    }
    s->phase = XMPP_PHASE_CLOSED; /* what came in the clear after it must never take effect */
    ev->kind = XMPP_EV_STARTTLS;
}

/* A stream error of the peer: which one, for the log. */
static void on_peer_error(xmpp_stream *s, const xmpp_node *n, xmpp_event *ev) {
    const xmpp_node *c = xmpp_xml_first_element(n);
    s->phase = XMPP_PHASE_CLOSED;
    ev->kind = XMPP_EV_PEER_ERROR;
    ev->error = STREAM_UNDEFINED_CONDITION;
    if (c && slice_is(c->ns, NS_STREAM_ERRORS))
        for (int e = STREAM_OK + 1; xmpp_error_stream_name((xmpp_stream_error)e)[0]; e++)
            if (slice_is(c->name, xmpp_error_stream_name((xmpp_stream_error)e))) ev->error = (xmpp_stream_error)e;
}

static void apply(xmpp_stream *s, rule r, xmpp_node *n, arena *a, xmpp_event *ev) {
    switch (r) {
    case DO_STANZA:
        ev->kind = XMPP_EV_STANZA;
        ev->stanza = n;
        break;
    case DO_BIND: on_bind(n, a, ev); break;
    case DO_SESSION:
        ev->kind = XMPP_EV_SESSION;
        ev->id = xmpp_xml_attr(n, "id");
        break;
    case DO_STARTTLS:
    case DO_STARTTLS_IF: on_starttls(s, r, ev); break;
    case DO_AUTH:
    case DO_RESPONSE:
    case DO_ABORT: on_sasl(s, n, r, a, ev); break;
    case DO_ENABLE:
    case DO_RESUME:
    case DO_REQUEST:
    case DO_ACK:
    case NO_SM: on_sm(s, n, r, ev); break;
    case DO_PEER_ERROR: on_peer_error(s, n, ev); break;
    case NO_AUTH: fail(s, ev, STREAM_NOT_AUTHORIZED, NULL); break;
    case NO_POLICY: fail(s, ev, STREAM_POLICY_VIOLATION, NULL); break;
    case NO_NS: fail(s, ev, STREAM_INVALID_NAMESPACE, NULL); break;
    case NO_TYPE: fail(s, ev, STREAM_UNSUPPORTED_STANZA_TYPE, NULL); break;
    }
}

/* The standard bindings, and those of the header after them, which win. */
static const xmpp_binding *with_standard(const xmpp_scope *extra, xmpp_binding out[XMPP_XML_DECLS_MAX + 2], size_t *out_n) {
    out[0] = (xmpp_binding){SLICE(""), SLICE(NS_CLIENT)};
    out[1] = (xmpp_binding){SLICE("stream"), SLICE(NS_STREAM)};
    *out_n = 2;
    for (size_t i = 0; extra && i < extra->n && i < XMPP_XML_DECLS_MAX; i++) out[(*out_n)++] = extra->b[i];
    return out;
}

static void on_stanza(xmpp_stream *s, slice unit, const xmpp_scope *scope, arena *a, xmpp_event *ev) {
    xmpp_node *n = NULL;
    xmpp_stream_error e = xmpp_xml_parse(unit, scope, a, &n);
    if (e != STREAM_OK)
        fail(s, ev, e, NULL);
    else
        apply(s, (rule)rules[s->phase][classify(n)], n, a, ev);
}

/* </stream:stream>: the end tag of a header that is not kept, so its name is resolved instead of compared. */
static void on_close(xmpp_stream *s, slice unit, const xmpp_scope *scope, xmpp_event *ev) {
    slice name = slice_sub(unit, 2, unit.len - 3), prefix = SLICE_NULL, ns = SLICE_NULL;
    while (name.len && (name.p[name.len - 1] == ' ' || (name.p[name.len - 1] >= '\t' && name.p[name.len - 1] <= '\r'))) name.len--;
    size_t colon = slice_find(name, ':');
    if (colon < name.len) {
        prefix = slice_sub(name, 0, colon);
        name = slice_from(name, colon + 1);
    }
    for (size_t i = 0; i < scope->n; i++)
        if (slice_eq(scope->b[i].prefix, prefix)) ns = scope->b[i].ns; /* the last one wins */
    if (!slice_is(name, "stream") || !slice_is(ns, NS_STREAM)) {
        fail(s, ev, STREAM_NOT_WELL_FORMED, NULL);
        return;
    }
    s->phase = XMPP_PHASE_CLOSED;
    ev->kind = XMPP_EV_CLOSE;
}

void xmpp_stream_next(xmpp_stream *s, slice in, const xmpp_scope *scope, arena *a, size_t *out_used, xmpp_event *out) {
    memset(out, 0, sizeof *out);
    if (s->phase >= XMPP_PHASE_CLOSED) {
        *out_used = in.len;
        return;
    }
    xmpp_stream_error e = STREAM_OK;
    xmpp_unit kind = xmpp_framer_next(&s->framer, in, s->unit_max, XMPP_XML_DEPTH_MAX, out_used, &e);
    slice unit = slice_sub(in, 0, *out_used);
    xmpp_binding b[XMPP_XML_DECLS_MAX + 2];
    xmpp_scope all = {NULL, 0};
    switch (kind) {
    case XMPP_UNIT_NONE:
        if (e != STREAM_OK) {
            fail(s, out, e, e == STREAM_POLICY_VIOLATION ? "too large or too deep" : NULL);
            *out_used = in.len;
        }
        break;
    case XMPP_UNIT_SPACE: out->kind = XMPP_EV_SPACE; break;
    case XMPP_UNIT_OPEN: on_open(s, unit, a, out); break;
    case XMPP_UNIT_STANZA:
    case XMPP_UNIT_CLOSE:
        all.b = with_standard(scope, b, &all.n);
        if (kind == XMPP_UNIT_STANZA)
            on_stanza(s, unit, &all, a, out);
        else
            on_close(s, unit, &all, out);
        break;
    }
}
