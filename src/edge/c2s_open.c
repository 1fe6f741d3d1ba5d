/* c2s_open: stream headers (RFC 6120 section 4.7) and stream features (4.3.2).
 *
 * Our header is written once per stream, always before anything else, errors included (4.9.1.2), and says from: the domain that was
 * asked for, or the first one if that is not ours. Stream ids are 128 random bits. A restart, after TLS and after SASL, begins from
 * nothing: no byte, binding, counter or language of the stream before has any effect.
 *
 * Invariants: (1) EDGE_F_HEADER is set if and only if our header of the present stream is written. (2) Once a client has authenticated,
 * its domain does not change. */
#include "base/mem.h"
#include "edge/c2s_fn.h"

static void drop_head(edge_c2s *s) {
    s->lang_len = 0;
    if (!s->more) return;
    mem_free(s->more->head);
    s->more->head = NULL;
}

void edge_c2s_open_restart(edge_c2s *s, xmpp_phase phase, unsigned flags) {
    bool authed = phase == XMPP_PHASE_AUTHED;
    xmpp_stream_init(&s->stream, phase, flags, authed ? s->door->cfg->stanza_bytes_max : XMPP_UNIT_MAX_PREAUTH);
    s->flags &= (uint16_t)~EDGE_F_HEADER;
    drop_head(s);
}

slice edge_c2s_open_lang(const edge_c2s *s) {
    if (s->lang_len) return slice_of(s->lang, s->lang_len);
    return edge_c2s_head(s) ? edge_c2s_head(s)->lang : SLICE_NULL;
}

static size_t put(uint8_t *base, size_t at, slice from, slice *out) {
    if (from.len) memcpy(base + at, from.p, from.len);
    *out = slice_of(base + at, from.len);
    return at + from.len;
}

/* Keeps what later units need: their default language and the header's own bindings. Most headers have neither. */
static void keep_head(edge_c2s *s, const xmpp_event *ev) {
    drop_head(s);
    slice lang = ev->lang.len <= EDGE_LANG_MAX ? ev->lang : SLICE_NULL;
    if (lang.len && lang.len <= sizeof s->lang) {
        memcpy(s->lang, lang.p, lang.len);
        s->lang_len = (uint8_t)lang.len;
        lang = SLICE_NULL;
    }
    if (lang.len == 0 && ev->scope.n == 0) return;
    size_t bytes = lang.len;
    for (size_t i = 0; i < ev->scope.n; i++) bytes += ev->scope.b[i].prefix.len + ev->scope.b[i].ns.len;
    size_t table = ev->scope.n * sizeof(xmpp_binding);
    edge_head *h = mem_zalloc(sizeof *h + table + bytes); /* bounded: a header is at most XMPP_UNIT_MAX_PREAUTH bytes */
    xmpp_binding *b = (xmpp_binding *)(void *)(h + 1);
    uint8_t *text = (uint8_t *)(h + 1) + table;
    size_t at = 0;
    if (lang.len) at = put(text, at, lang, &h->lang);
    for (size_t i = 0; i < ev->scope.n; i++) {
        at = put(text, at, ev->scope.b[i].prefix, &b[i].prefix);
        at = put(text, at, ev->scope.b[i].ns, &b[i].ns);
    }
    h->scope = (xmpp_scope){b, ev->scope.n};
    edge_c2s_more(s)->head = h;
}

void edge_c2s_open_header(rt_ctx *cx, edge_c2s *s, slice to) {
    char id[33];
    edge_c2s_random_id(cx, id);
    slice lang = edge_c2s_open_lang(s);
    if (!lang.p) lang = SLICE("en");
    xmpp_stream_write_open(edge_c2s_out(cx, s), edge_c2s_domain(s), to, slice_str(id), lang);
    s->flags |= EDGE_F_HEADER;
}

static void write_features(rt_ctx *cx, edge_c2s *s) {
    const char *mechs[XMPP_MECH_COUNT_] = {NULL};
    const char *bindings[3] = {NULL};
    char ver[64];
    xmpp_features f = {0};
    switch ((xmpp_phase)s->stream.phase) {
    case XMPP_PHASE_PLAIN: f.starttls = f.starttls_required = true; break;
    case XMPP_PHASE_SECURE:
        f.starttls = s->stream.flags & XMPP_STREAM_STARTTLS;
        edge_c2s_auth_features(s, mechs, bindings);
        f.mechanisms = mechs;
        f.bindings = bindings[0] ? bindings : NULL;
        break;
    case XMPP_PHASE_AUTHED:
        f.bind = f.session = f.sm = f.rosterver = f.preapproval = true;
        f.caps_node = SLICE(SVC_CAPS_NODE);
        f.caps_ver = slice_of(ver, svc_iq_caps_ver(edge_c2s_svc(s), ver));
        break;
    case XMPP_PHASE_BOUND:
    case XMPP_PHASE_CLOSED: break;
    }
    xmpp_stream_write_features(edge_c2s_out(cx, s), &f);
}

/* Which of our domains is asked for? false: none. */
static bool find_domain(const edge_c2s *s, slice to, uint16_t *out) {
    const svc_cfg *c = edge_c2s_svc(s);
    slice name;
    if (xmpp_jid_prep_domain(to, &s->door->arena, &name)) return false;
    for (size_t i = 0; i < c->n_domains; i++) {
        if (!slice_eq(c->domains[i].name, name)) continue;
        *out = (uint16_t)i;
        return true;
    }
    return false;
}

void edge_c2s_open(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    keep_head(s, ev);
    bool authed = s->nego->user != NULL;
    uint16_t domain = 0;
    bool found = ev->to.p && find_domain(s, ev->to, &domain);
    bool changed = authed && found && domain != s->domain;
    if (!authed) s->domain = domain;
    xmpp_jid from;
    slice full, to = SLICE_NULL; /* to: the client's own address, if it gave one that is an address */
    if (ev->from.p && xmpp_jid_parse(ev->from, &s->door->arena, &from, &full) == ERR_OK) to = xmpp_jid_bare(full);
    edge_c2s_open_header(cx, s, authed ? rt_blob_slice(s->nego->user) : to);
    if (!ev->version_1) {
        edge_c2s_close(cx, s, STREAM_UNSUPPORTED_VERSION, NULL);
    } else if (!ev->to.p) {
        edge_c2s_close(cx, s, STREAM_IMPROPER_ADDRESSING, "the stream header names no domain");
    } else if (!found || changed) {
        edge_c2s_close(cx, s, STREAM_HOST_UNKNOWN, NULL);
    } else {
        write_features(cx, s);
    }
}
