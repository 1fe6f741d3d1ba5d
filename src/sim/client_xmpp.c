/* client_xmpp: what a client says and understands.
 *
 * Bodies are "m SENDER ACCOUNT SEQ TEXT": whoever receives one knows what to look for in the history. The id and the origin-id of a
 * message are "c SENDER - SEQ", so that it keeps them when it is sent again, and an error names it.
 *
 * Invariants: (1) h_in counts the stanzas received since stream management was turned on, also across resumption. (2) out holds our stanzas
 * of this session that h does not cover, in order; acknowledged ones leave from the front. */
#include "base/codec.h"
#include "base/mem.h"
#include "proto/xmpp/ns.h"
#include "sim/client_private.h"

#include <stdarg.h>
#include <stdio.h>

#define DEPTH_MAX 64
#define TREE_MAX  (4u << 20)
#define BODY_MAX  3000u
#define IQ_MAX    400

static const xmpp_binding bindings[] = {
    {{(const uint8_t *)"", 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}},
    {{(const uint8_t *)"stream", 6}, {(const uint8_t *)NS_STREAM, sizeof NS_STREAM - 1}},
};
static const xmpp_scope scope = {bindings, ARRAY_LEN(bindings)};

static void say(sim_client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(sim_client *c, const char *fmt, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof text) sim_client_write(c, text, (size_t)n);
}

static void record(sim_client *c, history_chat_record r) {
    r.at = c->w->now;
    r.client = c->number;
    history_chat_add(c->history, &r);
    if (c->w->verbose && r.kind < HISTORY_HAD) {
        static const char *const names[] = {"sends", "sends once", "acked", "refused", "receives", "copy", "own copy"};
        uint32_t from = r.kind >= HISTORY_RECV ? r.sender : r.client;
        sim_world_log(c->w, "client %u: %s %u/%u%s", c->number, names[r.kind], from, r.seq, r.direct ? " direct" : "");
    }
    sim_world_note(c->w, (uint64_t)r.kind << 56 | (uint64_t)r.seq << 24 | r.client);
}

void sim_client_xmpp_open(sim_client *c) {
    xmpp_framer_init(&c->framer, true);
    buf_fini(&c->in);
    c->open = false;
    sim_client_set(c, SIM_CLIENT_HEADER);
    say(c, "<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "' to='%s' version='1.0'>",
        c->habits->domain);
}

/* --- our stanzas ------------------------------------------------------------------------------------------------------------------- */

void sim_client_xmpp_stanza(sim_client *c, const char *text, size_t len, uint32_t seq) {
    if (c->managed || c->state == SIM_CLIENT_ENABLING) { /* XEP-0198: counted from when enable was sent */
        sim_stanza *s = mem_alloc(sizeof *s + len);
        *s = (sim_stanza){.seq = seq, .len = len};
        memcpy(s->text, text, len);
        *c->out_tail = s;
        c->out_tail = &s->next;
    }
    sim_client_write(c, text, len);
}

void sim_client_xmpp_forget(sim_client *c) {
    while (c->out) {
        sim_stanza *s = c->out;
        c->out = s->next;
        mem_free(s);
    }
    c->out_tail = &c->out;
    c->smid[0] = 0;
}

static void answered(sim_client *c, uint32_t seq, history_chat_kind kind) {
    for (sim_message **at = &c->unanswered; *at; at = &(*at)->next) {
        sim_message *m = *at;
        if (m->seq != seq) continue;
        *at = m->next;
        if (!m->next) c->unanswered_tail = at;
        mem_free(m);
        c->n_unanswered--;
        record(c, (history_chat_record){.kind = kind, .sender = c->number, .seq = seq});
        return;
    }
    /* After <resumed h/>, which covers the message, comes the error that was on its way when the connection broke: both are answers. */
    if (kind == HISTORY_REFUSED) record(c, (history_chat_record){.kind = kind, .sender = c->number, .seq = seq});
}

static void acked(sim_client *c, uint32_t h) {
    while (c->out && c->h_acked != h) {
        sim_stanza *s = c->out;
        c->out = s->next;
        if (!c->out) c->out_tail = &c->out;
        c->h_acked++;
        if (s->seq) answered(c, s->seq, HISTORY_ACKED);
        mem_free(s);
    }
    if (c->h_acked != h) sim_world_fail(c->w, "client %u: the server acknowledged %u stanzas and got %u", c->number, h, c->h_acked);
}

static void send_message(sim_client *c, const sim_message *m) {
    history_chat_kind kind = c->sm ? HISTORY_SEND : HISTORY_SEND_ONCE;
    record(c, (history_chat_record){
                  .kind = kind, .account = m->account, .seq = m->seq, .direct = m->direct, .body = m->body, .from = c->jid_hash});
    sim_client_xmpp_stanza(c, m->text, m->len, m->seq);
}

void sim_client_xmpp_message(sim_client *c) {
    static const char filler[] = "the quick brown fox & the <lazy> \"dog\" \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 ";
    uint32_t to = (uint32_t)sim_world_below(c->w, c->n_accounts), seq = ++c->seq;
    char head[128], address[3 * SIM_CLIENT_TEXT];
    buf body, text;
    buf_init(&body, 4 * BODY_MAX);
    buf_init(&text, 16 * BODY_MAX);
    (void)snprintf(head, sizeof head, "m %u %u %u ", c->number, to, seq); /* three numbers fit */
    buf_add_str(&body, head);
    size_t len = sim_world_chance(c->w, 1, 16) ? sim_world_below(c->w, BODY_MAX) : sim_world_below(c->w, 60);
    while (body.len < len) buf_add_str(&body, filler);
    (void)snprintf(address, sizeof address, "%s@%s", c->all[to].user, c->habits->domain); /* both are short */
    const sim_client *one = &c->clients[sim_world_below(c->w, c->n_clients)];
    bool direct = one->account == &c->all[to];
    if (direct) memcpy(address, one->jid, sizeof one->jid); /* one of its resources, there or not */
    buf_addf(&text, "<message to='%s' type='chat' id='c%u-%u'><body>", address, c->number, seq);
    xmpp_xml_escape(&text, buf_slice(&body));
    buf_addf(&text, "</body><origin-id xmlns='" NS_SID "' id='c%u-%u'/>", c->number, seq);
    if (seq % 8 == 0) /* what only the recipient's server may say */
        buf_addf(&text, "<stanza-id xmlns='" NS_SID "' id='lie' by='%s@%s'/>", c->all[to].user, c->habits->domain);
    buf_add_str(&text, "</message>");
    sim_message *m = mem_alloc(sizeof *m + text.len);
    *m = (sim_message){.seq = seq, .account = to, .direct = direct, .body = history_chat_hash(buf_slice(&body)), .len = text.len};
    memcpy(m->text, text.p, text.len);
    send_message(c, m);
    buf_fini(&body);
    buf_fini(&text);
    if (!c->sm) {
        mem_free(m);
        return;
    }
    *c->unanswered_tail = m;
    c->unanswered_tail = &m->next;
    c->n_unanswered++;
}

static void iq(sim_client *c, const char *type, const char *payload) {
    char text[IQ_MAX];
    int n = snprintf(text, sizeof text, "<iq type='%s' id='q%u'>%s</iq>", type, c->next_iq++, payload);
    sim_client_xmpp_stanza(c, text, (size_t)n, 0);
}

void sim_client_xmpp_ping(sim_client *c) {
    if (c->managed)
        sim_client_xmpp_ask(c);
    else
        iq(c, "get", "<ping xmlns='" NS_PING "'/>");
}

void sim_client_xmpp_ask(sim_client *c) { say(c, "<r xmlns='" NS_SM "'/>"); }
void sim_client_xmpp_ack(sim_client *c) { say(c, "<a xmlns='" NS_SM "' h='%u'/>", c->h_in); }

void sim_client_xmpp_leave(sim_client *c) {
    if (c->managed) sim_client_xmpp_ack(c);
    if (!c->sock) return;
    say(c, "</stream:stream>");
    c->smid[0] = 0; /* this session ends; the last acknowledgements are on their way */
    if (c->sock) sim_client_set(c, SIM_CLIENT_LEAVING);
}

/* --- logging in -------------------------------------------------------------------------------------------------------------------- */

static void say64(sim_client *c, const char *before, slice raw, const char *after) {
    buf b;
    buf_init(&b, 2 * SIM_SCRAM_TEXT);
    buf_add_str(&b, before);
    base64_encode(&b, raw);
    buf_add_str(&b, after);
    sim_client_write(c, (const char *)b.p, b.len);
    buf_fini(&b);
}

static bool offers(const xmpp_node *mechanisms, const char *name, arena *a) {
    for (xmpp_node *m = mechanisms ? xmpp_xml_first_element(mechanisms) : NULL; m; m = xmpp_xml_next_element(m))
        if (slice_is(m->name, "mechanism") && slice_is(xmpp_xml_text(m, a), name)) return true;
    return false;
}

static void authenticate(sim_client *c, const xmpp_node *features, arena *a) {
    static const struct {
        const char *name;
        digest_alg alg;
        bool plus;
    } known[] = {{"SCRAM-SHA-256-PLUS", DIGEST_SHA256, true},
                 {"SCRAM-SHA-256", DIGEST_SHA256, false},
                 {"SCRAM-SHA-1-PLUS", DIGEST_SHA1, true},
                 {"SCRAM-SHA-1", DIGEST_SHA1, false}};
    const xmpp_node *mechs = xmpp_xml_child(features, NS_SASL, "mechanisms");
    size_t first = (size_t)sim_world_below(c->w, ARRAY_LEN(known));
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t k = (first + i) % ARRAY_LEN(known);
        if (!offers(mechs, known[k].name, a) || (known[k].plus && !c->secure)) continue;
        uint8_t cb[32];
        char before[128];
        buf raw;
        buf_init(&raw, SIM_SCRAM_TEXT);
        if (known[k].plus) sim_tls_client_binding(&c->tls, TLS_BINDING_EXPORTER, cb);
        sim_scram_first(&c->scram, known[k].alg, c->account->user, prng_next(&c->w->rng), known[k].plus ? cb : NULL, &raw);
        (void)snprintf(before, sizeof before, "<auth xmlns='" NS_SASL "' mechanism='%s'>", known[k].name); /* fits */
        sim_client_set(c, SIM_CLIENT_AUTH);
        say64(c, before, buf_slice(&raw), "</auth>");
        buf_fini(&raw);
        return;
    }
    sim_client_drop(c, SIM_CLOSE, "no mechanism");
}

static void bind_resource(sim_client *c) {
    sim_client_set(c, SIM_CLIENT_BINDING);
    say(c, "<iq type='set' id='bind'><bind xmlns='" NS_BIND "'><resource>%s</resource></bind></iq>", c->resource);
}

static void on_features(sim_client *c, const xmpp_node *f, arena *a) {
    if (!c->secure && xmpp_xml_child(f, NS_TLS, "starttls")) {
        sim_client_set(c, SIM_CLIENT_STARTTLS);
        say(c, "<starttls xmlns='" NS_TLS "'/>");
    } else if (!c->authed) {
        authenticate(c, f, a);
    } else if (c->smid[0] && xmpp_xml_child(f, NS_SM, "sm")) {
        sim_client_set(c, SIM_CLIENT_RESUMING);
        say(c, "<resume xmlns='" NS_SM "' previd='%s' h='%u'/>", c->smid, c->h_in);
    } else {
        bind_resource(c);
    }
}

static void on_sasl(sim_client *c, const xmpp_node *n, arena *a) {
    buf raw, out;
    buf_init(&raw, SIM_SCRAM_TEXT);
    buf_init(&out, SIM_SCRAM_TEXT);
    err e = base64_decode(&raw, xmpp_xml_text(n, a));
    bool sha256 = c->scram.alg == DIGEST_SHA256;
    if (slice_is(n->name, "challenge") && c->state == SIM_CLIENT_AUTH && !e) {
        e = sim_scram_final(&c->scram, &c->account->salted[sha256], c->account->password, buf_slice(&raw), &out);
        sim_client_set(c, SIM_CLIENT_PROOF);
        if (!e) say64(c, "<response xmlns='" NS_SASL "'>", buf_slice(&out), "</response>");
    } else if (slice_is(n->name, "success") && c->state == SIM_CLIENT_PROOF && !e) {
        e = sim_scram_verify(&c->scram, buf_slice(&raw));
        if (!e) {
            c->authed = true;
            sim_client_xmpp_open(c);
        }
    } else {
        if (xmpp_xml_child(n, NS_SASL, "not-authorized")) sim_world_fail(c->w, "client %u: the right password was refused", c->number);
        c->auth_errors++;
        e = ERR_AUTH;
    }
    buf_fini(&raw);
    buf_fini(&out);
    if (e == ERR_AUTH && slice_is(n->name, "success")) sim_world_fail(c->w, "client %u: the server's signature is wrong", c->number);
    if (e && c->sock) sim_client_drop(c, SIM_CLOSE, "SASL");
}

/* Presence and what else belongs to a new session, then what was never answered. */
static void session_ready(sim_client *c) {
    sim_client_set(c, SIM_CLIENT_ONLINE);
    c->until = c->w->now;
    sim_client_xmpp_stanza(c, "<presence/>", 11, 0);
    if (c->carbons) iq(c, "set", "<enable xmlns='" NS_CARBONS "'/>");
    if (sim_world_chance(c->w, 1, 4)) iq(c, "get", "<query xmlns='" NS_ROSTER "'/>");
    for (sim_message *m = c->unanswered; m && c->sock; m = m->next) send_message(c, m);
}

static void on_bound(sim_client *c, const xmpp_node *n, arena *a) {
    const xmpp_node *bind = xmpp_xml_child(n, NS_BIND, "bind"), *jid = bind ? xmpp_xml_child(bind, NS_BIND, "jid") : NULL;
    if (!slice_is(xmpp_xml_attr(n, "type"), "result") || !jid) {
        sim_client_drop(c, SIM_CLOSE, "bind refused");
        return;
    }
    if (!slice_is(xmpp_xml_text(jid, a), c->jid)) sim_world_fail(c->w, "client %u: bound as somebody else", c->number);
    c->logins++;
    sim_client_xmpp_forget(c);
    c->h_in = c->h_acked = 0;
    record(c, (history_chat_record){.kind = HISTORY_SESSION});
    if (c->sm) {
        sim_client_set(c, SIM_CLIENT_ENABLING);
        say(c, "<enable xmlns='" NS_SM "' resume='true'/>");
    } else {
        session_ready(c);
    }
}

static bool number(slice s, uint32_t *out) {
    uint64_t v;
    if (dec_parse_u64(s, UINT32_MAX, &v)) return false;
    *out = (uint32_t)v;
    return true;
}

static void on_resumed(sim_client *c, uint32_t h) {
    c->resumptions++;
    record(c, (history_chat_record){.kind = HISTORY_RESUMED});
    c->managed = true;
    acked(c, h);
    sim_client_set(c, SIM_CLIENT_ONLINE);
    c->until = c->w->now;
    for (sim_stanza *s = c->out; s && c->sock; s = s->next) {
        const sim_message *m = c->unanswered;
        while (m && m->seq != s->seq) m = m->next;
        if (m)
            record(
                c,
                (history_chat_record){
                    .kind = HISTORY_SEND, .account = m->account, .seq = m->seq, .direct = m->direct, .body = m->body, .from = c->jid_hash});
        sim_client_write(c, s->text, s->len);
    }
}

static void on_sm(sim_client *c, const xmpp_node *n) {
    uint32_t h = 0;
    bool has_h = number(xmpp_xml_attr(n, "h"), &h);
    if (slice_is(n->name, "r")) {
        sim_client_xmpp_ack(c);
    } else if (slice_is(n->name, "a") && has_h) {
        acked(c, h);
    } else if (slice_is(n->name, "enabled")) {
        slice id = xmpp_xml_attr(n, "id"), resume = xmpp_xml_attr(n, "resume");
        if (id.p && (slice_is(resume, "true") || slice_is(resume, "1")) && id.len < sizeof c->smid)
            (void)snprintf(c->smid, sizeof c->smid, SLICE_FMT, SLICE_ARG(id)); /* checked */
        c->managed = true;
        session_ready(c);
    } else if (slice_is(n->name, "resumed") && has_h) {
        on_resumed(c, h);
    } else if (slice_is(n->name, "failed") && c->state == SIM_CLIENT_RESUMING) {
        if (has_h) acked(c, h); /* XEP-0198: what the ended session had handled */
        c->resume_failures++;
        sim_client_xmpp_forget(c);
        bind_resource(c);
    } else {
        sim_client_drop(c, SIM_CLOSE, "stream management");
    }
}

/* --- stanzas that come -------------------------------------------------------------------------------------------------------------- */

/* Reads "m SENDER ACCOUNT SEQ ..."; the account is part of the text that the judge compares. */
static void parse_body(slice body, history_chat_record *r) {
    slice rest = body;
    r->sender = HISTORY_CHAT_NOBODY;
    if (!slice_starts(rest, SLICE("m "))) return;
    rest = slice_from(rest, 2);
    uint32_t v[3];
    for (int i = 0; i < 3; i++) {
        size_t end = slice_find(rest, ' ');
        if (end == rest.len || !number(slice_sub(rest, 0, end), &v[i])) return;
        rest = slice_from(rest, end + 1);
    }
    r->sender = v[0];
    r->seq = v[2];
}

/* Of our server's, which is to be the only one by this name; 0: it is not. */
static uint64_t stanza_id(const sim_client *c, const xmpp_node *m) {
    slice bare = slice_sub(slice_str(c->jid), 0, slice_find(slice_str(c->jid), '/'));
    uint64_t id = 0;
    for (xmpp_node *n = xmpp_xml_first_element(m); n; n = xmpp_xml_next_element(n)) {
        if (!xmpp_xml_is(n, NS_SID, "stanza-id") || !slice_eq(xmpp_xml_attr(n, "by"), bare)) continue;
        if (id) return 0;
        id = history_chat_hash(xmpp_xml_attr(n, "id"));
    }
    return id;
}

static void on_copy(sim_client *c, const xmpp_node *m, history_chat_kind kind, arena *a) {
    const xmpp_node *body = xmpp_xml_child(m, NS_CLIENT, "body");
    if (!body) return;
    slice text = xmpp_xml_text(body, a);
    history_chat_record r = {
        .kind = kind, .body = history_chat_hash(text), .from = history_chat_hash(xmpp_xml_attr(m, "from")), .stanza_id = stanza_id(c, m)};
    parse_body(text, &r);
    if (kind == HISTORY_CARBON_SENT && r.sender == c->number)
        sim_world_fail(c->w, "client %u: a carbon copy of a message that it sent itself", c->number);
    c->last_received = c->w->now;
    record(c, r);
}

static void on_message(sim_client *c, const xmpp_node *m, arena *a) {
    if (slice_is(xmpp_xml_attr(m, "type"), "error")) { /* an answer, as an ack is, also while we leave */
        slice id = xmpp_xml_attr(m, "id");
        size_t dash = slice_find(id, '-');
        uint32_t who, seq;
        if (slice_starts(id, SLICE("c")) && number(slice_sub(id, 1, dash - 1), &who) && number(slice_from(id, dash + 1), &seq) &&
            who == c->number)
            answered(c, seq, HISTORY_REFUSED);
        return;
    }
    if (c->state == SIM_CLIENT_LEAVING) return; /* nobody looks any more, and it cannot be acknowledged */
    static const struct {
        const char *name;
        history_chat_kind kind;
    } wraps[] = {{"received", HISTORY_CARBON}, {"sent", HISTORY_CARBON_SENT}};
    for (size_t i = 0; i < ARRAY_LEN(wraps); i++) {
        const xmpp_node *w = xmpp_xml_child(m, NS_CARBONS, wraps[i].name), *f = w ? xmpp_xml_child(w, NS_FORWARD, "forwarded") : NULL;
        const xmpp_node *inner = f ? xmpp_xml_child(f, NS_CLIENT, "message") : NULL;
        if (!w) continue;
        if (!c->carbons) sim_world_fail(c->w, "client %u: a carbon copy, which it never asked for", c->number);
        if (inner) on_copy(c, inner, wraps[i].kind, a);
        return;
    }
    on_copy(c, m, HISTORY_RECV, a);
}

static void on_iq(sim_client *c, const xmpp_node *q) {
    slice type = xmpp_xml_attr(q, "type"), id = xmpp_xml_attr(q, "id"), from = xmpp_xml_attr(q, "from");
    if (!slice_is(type, "get") && !slice_is(type, "set")) return;
    buf b;
    buf_init(&b, 8192);
    buf_add_str(&b, "<iq type='result'");
    xmpp_xml_write_attr(&b, "id", id);
    xmpp_xml_write_attr(&b, "to", from);
    buf_add_str(&b, "/>");
    sim_client_xmpp_stanza(c, (const char *)b.p, b.len, 0);
    buf_fini(&b);
}

static void on_element(sim_client *c, const xmpp_node *n, arena *a) {
    if (xmpp_xml_is(n, NS_STREAM, "features")) {
        on_features(c, n, a);
    } else if (xmpp_xml_is(n, NS_STREAM, "error")) {
        const xmpp_node *why = xmpp_xml_first_element(n);
        slice name = why ? why->name : SLICE("without a condition");
        char text[64];
        (void)snprintf(text, sizeof text, "stream error " SLICE_FMT, SLICE_ARG(name)); /* cut if long */
        if (why && (slice_is(why->name, "undefined-condition") || slice_is(why->name, "conflict"))) sim_client_xmpp_forget(c);
        sim_client_drop(c, SIM_CLOSE, text);
    } else if (xmpp_xml_is(n, NS_TLS, "proceed") && c->state == SIM_CLIENT_STARTTLS) {
        sim_client_set(c, SIM_CLIENT_HANDSHAKE);
        buf_fini(&c->in);
        sim_tls_client_init(&c->tls, prng_next(&c->w->rng), &c->wire);
        sim_client_write(c, "", 0);
    } else if (slice_is(n->ns, NS_SASL)) {
        on_sasl(c, n, a);
    } else if (slice_is(n->ns, NS_SM)) {
        on_sm(c, n);
    } else if (slice_is(n->ns, NS_CLIENT)) {
        if (c->managed) c->h_in++;
        if (slice_is(n->name, "message"))
            on_message(c, n, a);
        else if (slice_is(n->name, "iq") && c->state == SIM_CLIENT_BINDING)
            on_bound(c, n, a);
        else if (slice_is(n->name, "iq"))
            on_iq(c, n);
    } else {
        sim_world_fail(c->w, "client %u: the server sent <" SLICE_FMT "/>", c->number, SLICE_ARG(n->name));
    }
}

/* One unit off c->in; false when there is none, or when the connection is gone. */
static bool one_unit(sim_client *c, arena *a) {
    size_t len = 0;
    xmpp_stream_error bad = STREAM_OK;
    xmpp_unit u = xmpp_framer_next(&c->framer, buf_slice(&c->in), SIM_CLIENT_UNIT_MAX, DEPTH_MAX, &len, &bad);
    if (bad) sim_world_fail(c->w, "client %u: the server's stream breaks the rules: %s", c->number, xmpp_error_stream_name(bad));
    if (u == XMPP_UNIT_NONE) return false;
    uint8_t *unit = mem_alloc(len + 1); /* handling may replace c->in */
    memcpy(unit, c->in.p, len);
    buf_consume(&c->in, len);
    xmpp_node *n = NULL;
    if (u == XMPP_UNIT_OPEN) sim_client_set(c, SIM_CLIENT_FEATURES);
    if (u == XMPP_UNIT_CLOSE) sim_client_drop(c, SIM_CLOSE, c->state == SIM_CLIENT_LEAVING ? "goodbye" : "closed by the server");
    if (u == XMPP_UNIT_STANZA) {
        xmpp_stream_error e = xmpp_xml_parse(slice_of(unit, len), &scope, a, &n);
        if (e)
            sim_world_fail(c->w, "client %u: the server's XML is wrong (%s): %.*s", c->number, xmpp_error_stream_name(e),
                           (int)(len > 200 ? 200 : len), (const char *)unit);
        else
            on_element(c, n, a);
    }
    mem_free(unit);
    return c->sock != NULL && c->state != SIM_CLIENT_HANDSHAKE;
}

void sim_client_xmpp_input(sim_client *c) {
    if (c->state == SIM_CLIENT_HANDSHAKE) return;
    arena a;
    arena_init(&a, TREE_MAX);
    while (!c->w->failed && one_unit(c, &a)) arena_reset(&a);
    arena_fini(&a);
}
