/* client_login: what a client makes of the units that it gets: the stages of a login (client.c has the drawing), stream management, and
 * the few requests that a server may send and that a client has to answer. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "client_int.h"
#include "proto/xmpp/ns.h"

#define NS_REGISTER "jabber:iq:register"
#define NONCE_BYTES 18

static bool is(const xmpp_node *n, const char *ns, const char *name) { return xmpp_xml_is(n, ns, name); }

static slice user_of(const client *c, char out[64]) {
    load_name(out, c->l->cfg.user, c->user);
    return slice_str(out);
}

static void send_auth(client *c) {
    const load_cfg *f = &c->l->cfg;
    char name[64];
    slice user = user_of(c, name);
    buf raw;
    buf_init(&raw, 4096);
    if (strcmp(f->mech, "PLAIN") == 0) {
        buf_add_byte(&raw, 0);
        buf_add(&raw, user);
        buf_add_byte(&raw, 0);
        buf_add_str(&raw, f->password);
    } else if (strncmp(f->mech, "SCRAM", 5) == 0) {
        prng r;
        prng_init(&r, bench_nsec() ^ (uint64_t)(uintptr_t)c);
        uint8_t bytes[NONCE_BYTES];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)prng_next(&r);
        buf nonce;
        buf_init(&nonce, 64);
        base64_encode(&nonce, slice_of(bytes, sizeof bytes));
        c->scram = scram_new(strcmp(f->mech, "SCRAM-SHA-1") == 0 ? DIGEST_SHA1 : DIGEST_SHA256, user, buf_slice(&nonce));
        buf_fini(&nonce);
        scram_first(c->scram, &raw);
    }
    buf *o = client_out(c, false);
    buf_addf(o, "<auth xmlns='" NS_SASL "' mechanism='%s'>", f->mech);
    base64_encode(o, buf_slice(&raw));
    buf_add_str(o, "</auth>");
    buf_fini(&raw);
    c->state = CLIENT_AUTH;
}

static void send_create(client *c) {
    char name[64];
    slice user = user_of(c, name);
    buf_addf(client_out(c, false),
             "<iq type='set' id='create'><query xmlns='" NS_REGISTER "'><username>" SLICE_FMT
             "</username><password>%s</password></query></iq>",
             SLICE_ARG(user), c->l->cfg.password);
    c->state = CLIENT_CREATE;
}

static void send_bind(client *c) {
    buf *o = client_out(c, false);
    buf_add_str(o, "<iq type='set' id='bind'><bind xmlns='" NS_BIND "'>");
    if (c->l->cfg.resource) {
        char name[64];
        load_name(name, c->l->cfg.resource, c->session);
        buf_addf(o, "<resource>%s</resource>", name);
    }
    buf_add_str(o, "</bind></iq>");
    c->state = CLIENT_BIND;
}

static void become_ready(client *c) {
    c->state = CLIENT_READY;
    c->l->on.ready(c);
}

static void send_presence(client *c) {
    if (!c->l->cfg.presence) {
        become_ready(c);
        return;
    }
    buf_add_str(client_out(c, true), "<presence/>");
    c->state = CLIENT_PRESENCE;
}

/* Whether the server offers the mechanism; if not, ends with a sentence that says what it does offer. */
static bool offered(client *c, const xmpp_node *features) {
    const xmpp_node *list = xmpp_xml_child(features, NS_SASL, "mechanisms");
    char text[192];
    size_t n = 0;
    for (const xmpp_node *m = list ? xmpp_xml_first_element(list) : NULL; m && n < sizeof text; m = xmpp_xml_next_element(m)) {
        slice name = xmpp_xml_text(m, &c->l->arena);
        if (slice_is(name, c->l->cfg.mech)) return true;
        n += (size_t)snprintf(text + n, sizeof text - n, " " SLICE_FMT, SLICE_ARG(name));
    }
    char why[256];
    (void)snprintf(why, sizeof why, "the server does not offer %s%s%s", c->l->cfg.mech, n ? ", but" : "",
                   n ? text : " or any mechanism: --tls?");
    client_end(c, why);
    return false;
}

static void on_features(client *c, const xmpp_node *u) {
    const load_cfg *f = &c->l->cfg;
    if (!is(u, NS_STREAM, "features")) {
        client_end(c, "no stream features");
    } else if (f->tls == LOAD_STARTTLS && !c->ssl) {
        buf_add_str(client_out(c, false), "<starttls xmlns='" NS_TLS "'/>");
        c->state = CLIENT_PROCEED;
    } else if (f->create) {
        send_create(c);
    } else if (!c->authed) {
        if (offered(c, u)) send_auth(c);
    } else {
        send_bind(c);
    }
}

/* The base64 text of a SASL element, decoded into out. */
static bool decoded(client *c, const xmpp_node *u, buf *out) {
    buf_init(out, 4096);
    return base64_decode(out, xmpp_xml_text(u, &c->l->arena)) == ERR_OK;
}

static void on_challenge(client *c, const xmpp_node *u) {
    buf msg, answer;
    buf_init(&answer, 4096);
    bool ok = decoded(c, u, &msg) && c->scram &&
              scram_final(c->scram, buf_slice(&msg), slice_str(c->l->cfg.password), &c->l->keys, c->user, &answer) == ERR_OK;
    if (ok) {
        buf *o = client_out(c, false);
        buf_add_str(o, "<response xmlns='" NS_SASL "'>");
        base64_encode(o, buf_slice(&answer));
        buf_add_str(o, "</response>");
    }
    buf_fini(&msg);
    buf_fini(&answer);
    if (!ok) client_end(c, "a challenge that is not one");
}

static void on_sasl(client *c, const xmpp_node *u) {
    if (is(u, NS_SASL, "challenge")) {
        on_challenge(c, u);
    } else if (is(u, NS_SASL, "success")) {
        buf msg;
        bool ok = decoded(c, u, &msg) && (!c->scram || scram_verify(c->scram, buf_slice(&msg)) == ERR_OK);
        buf_fini(&msg);
        scram_free(c->scram);
        c->scram = NULL;
        c->authed = true;
        if (ok)
            client_header(c);
        else
            client_end(c, "the server does not know the password");
    } else {
        const xmpp_node *why = xmpp_xml_first_element(u);
        char text[96];
        (void)snprintf(text, sizeof text, "login refused: " SLICE_FMT, SLICE_ARG(why ? why->name : u->name));
        client_end(c, text);
    }
}

static void on_bound(client *c, const xmpp_node *u) {
    const xmpp_node *bind = xmpp_xml_child(u, NS_BIND, "bind");
    const xmpp_node *jid = bind ? xmpp_xml_child(bind, NS_BIND, "jid") : NULL;
    if (!is(u, NS_CLIENT, "iq") || !slice_is(xmpp_xml_attr(u, "type"), "result") || !jid) {
        client_end(c, "not bound");
        return;
    }
    c->jid = slice_dup_str(xmpp_xml_text(jid, &c->l->arena));
    if (!c->l->cfg.acks) {
        send_presence(c);
        return;
    }
    buf_add_str(client_out(c, false), "<enable xmlns='" NS_SM "'/>");
    c->state = CLIENT_ENABLE;
}

static void on_created(client *c, const xmpp_node *u) {
    const xmpp_node *e = xmpp_xml_child(u, NS_CLIENT, "error");
    if (slice_is(xmpp_xml_attr(u, "type"), "result") || (e && xmpp_xml_child(e, NS_STANZA_ERRORS, "conflict"))) {
        c->l->on.ready(c);
    } else {
        client_end(c, "the server does not register users");
    }
}

/* Requests of the server to the client: a ping is answered, anything else is refused. */
static void on_iq(client *c, const xmpp_node *u) {
    slice type = xmpp_xml_attr(u, "type");
    if (!slice_is(type, "get") && !slice_is(type, "set")) return;
    bool ping = xmpp_xml_child(u, NS_PING, "ping") != NULL;
    buf *o = client_out(c, true);
    buf_addf(o, "<iq type='%s'", ping ? "result" : "error");
    xmpp_xml_write_attr(o, "id", xmpp_xml_attr(u, "id"));
    xmpp_xml_write_attr(o, "to", xmpp_xml_attr(u, "from"));
    buf_add_str(o, ping ? "/>" : "><error type='cancel'><service-unavailable xmlns='" NS_STANZA_ERRORS "'/></error></iq>");
}

static void on_sm(client *c, const xmpp_node *u) {
    uint64_t h;
    if (is(u, NS_SM, "r")) {
        client_ack(c);
    } else if (is(u, NS_SM, "a") && dec_parse_u64(xmpp_xml_attr(u, "h"), UINT32_MAX, &h) == ERR_OK &&
               (uint32_t)h - c->sm_acked <= c->sm_out - c->sm_acked) {
        c->sm_acked = (uint32_t)h;
        c->l->on.acked(c);
    } else {
        client_end(c, "stream management failed");
    }
}

static void on_stanza(client *c, const xmpp_node *u) {
    if (c->sm) c->sm_in++;
    if (is(u, NS_CLIENT, "iq")) on_iq(c, u);
    if (is(u, NS_CLIENT, "message")) c->l->on.message(c, u);
    if (c->state == CLIENT_PRESENCE && is(u, NS_CLIENT, "presence")) become_ready(c);
}

void client_unit(client *c, const xmpp_node *u) {
    if (is(u, NS_STREAM, "error")) {
        const xmpp_node *why = xmpp_xml_first_element(u);
        char text[96];
        (void)snprintf(text, sizeof text, "stream error: " SLICE_FMT, SLICE_ARG(why ? why->name : u->name));
        client_end(c, text);
        return;
    }
    switch (c->state) {
    case CLIENT_FEATURES: on_features(c, u); break;
    case CLIENT_PROCEED:
        if (is(u, NS_TLS, "proceed"))
            client_tls(c);
        else
            client_end(c, "no starttls");
        break;
    case CLIENT_CREATE: on_created(c, u); break;
    case CLIENT_AUTH: on_sasl(c, u); break;
    case CLIENT_BIND: on_bound(c, u); break;
    case CLIENT_ENABLE:
        if (is(u, NS_SM, "enabled")) {
            c->sm = true;
            send_presence(c);
        } else {
            client_end(c, "no stream management");
        }
        break;
    case CLIENT_PRESENCE:
    case CLIENT_READY:
    case CLIENT_CLOSING:
        if (slice_is(u->ns, NS_SM))
            on_sm(c, u);
        else
            on_stanza(c, u);
        break;
    case CLIENT_CONNECTING:
    case CLIENT_HANDSHAKE:
    case CLIENT_GONE: break;
    }
}
