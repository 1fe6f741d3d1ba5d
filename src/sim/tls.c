/* tls: see tls.h for the exchange. One parser serves both sides.
 *
 * Invariants: (1) A connection keeps a buffer only while it holds part of a message. (2) All input is consumed by every call. (3) The
 * binding of the two ends of one connection is equal, and differs from that of every other connection. */
#include "sim/tls.h"

#include "base/cursor.h"
#include "base/digest.h"
#include "base/mem.h"

#include <stdio.h>

#define RECORD_MAX 16384u
#define REST_MAX   (RECORD_MAX + 16)
#define IDS_MAX    64u
#define HOST_MAX   255u /* bytes of a host's name */
#define AUTHORITY  32u  /* bytes that stand for who signs: the hash of the path that names it */

struct tls_server {
    uint32_t refs;
    sim_tls *t;
    size_t n_ids;
    uint8_t id[IDS_MAX][32]; /* fingerprints: hashes of the domains */
    bool peers;
    uint8_t authority[AUTHORITY]; /* among peers: who signed ours, and must have signed theirs */
    char domain[HOST_MAX + 1];    /* of the first identity */
};

struct tls_conn {
    tls_server *server;
    uint8_t nonce[2][SIM_TLS_NONCE];
    buf rest;
    bool dials, hello, known, done; /* known: the peer has shown its certificate, and it is taken */
    const char *why;
    char expect[HOST_MAX + 1], peer[HOST_MAX + 1]; /* dialling: whom; the name in the peer's certificate */
};

static void binding(const uint8_t nonce[2][SIM_TLS_NONCE], tls_binding kind, uint8_t out[32]) {
    uint8_t in[2 * SIM_TLS_NONCE + 1];
    memcpy(in, nonce[0], SIM_TLS_NONCE);
    memcpy(in + SIM_TLS_NONCE, nonce[1], SIM_TLS_NONCE);
    in[2 * SIM_TLS_NONCE] = (uint8_t)kind;
    digest_sum(DIGEST_SHA256, slice_of(in, sizeof in), out);
}

static void write_records(slice plain, buf *out) {
    for (size_t at = 0; at < plain.len; at += RECORD_MAX) {
        slice part = slice_sub(plain, at, RECORD_MAX);
        buf_add_byte(out, 'D');
        buf_add_u16le(out, (uint16_t)part.len);
        buf_add(out, part);
    }
}

/* Takes records off the front of rest. AGAIN: the remainder is partial. */
static err read_record(cursor *c, buf *plain) {
    cursor at = *c;
    uint8_t type;
    uint16_t len;
    slice body;
    if (!cursor_u8(&at, &type)) return ERR_AGAIN;
    if (type == 'C') {
        *c = at;
        return ERR_EOF;
    }
    if (type != 'D') return ERR_TLS;
    if (!cursor_u16le(&at, &len) || !cursor_bytes(&at, len, &body)) return ERR_AGAIN;
    if (len > RECORD_MAX) return ERR_TLS;
    buf_add(plain, body);
    *c = at;
    return buf_ok(plain) ? ERR_OK : ERR_LIMIT;
}

static void keep_rest(buf *rest, const cursor *c) {
    buf_consume(rest, rest->len - cursor_left(c));
    if (rest->len == 0) buf_fini(rest);
}

static err read_records(buf *rest, buf *plain) {
    cursor c = cursor_of(buf_slice(rest));
    err e;
    do e = read_record(&c, plain);
    while (!e);
    keep_rest(rest, &c);
    return e == ERR_AGAIN ? ERR_OK : e;
}

/* Is it this call's turn to fail? (fault.h) */
static err turn(const sim_tls *t, sim_call call) { return t->fault ? sim_fault_turn(t->fault, call) : ERR_OK; }

/* --- server ----------------------------------------------------------------------------------------------------------------------- */

static err server_new(tls *t, const tls_server_cfg *cfg, tls_server **out, char *why) {
    sim_tls *x = t->self;
    err e = turn(x, SIM_CALL_TLS_SERVER_NEW);
    if (e) {
        (void)snprintf(why, TLS_ERR_MAX, "a certificate cannot be read: %s", err_text(e)); /* fits */
        return e;
    }
    if (cfg->n_ids == 0 || cfg->n_ids > IDS_MAX) {
        (void)snprintf(why, TLS_ERR_MAX, "%zu identities, 1 to %u are possible", cfg->n_ids, IDS_MAX); /* cut if long */
        return ERR_TLS;
    }
    tls_server *s = mem_zalloc(sizeof *s);
    s->refs = 1;
    s->t = x;
    x->servers++;
    s->n_ids = cfg->n_ids;
    for (size_t i = 0; i < cfg->n_ids; i++) digest_sum(DIGEST_SHA256, slice_str(cfg->ids[i].domain), s->id[i]);
    s->peers = cfg->ca_path != NULL;
    if (s->peers) digest_sum(DIGEST_SHA256, slice_str(cfg->ca_path), s->authority);
    (void)snprintf(s->domain, sizeof s->domain, "%s", cfg->ids[0].domain); /* fits: it is a host's name */
    *out = s;
    return ERR_OK;
}
static tls_server *server_ref(tls_server *s) {
    s->refs++;
    return s;
}
static void server_unref(tls_server *s) {
    if (!s || --s->refs > 0) return;
    s->t->servers--;
    mem_free(s);
}
static void fingerprint(tls_server *s, size_t i, uint8_t out[32]) { memcpy(out, s->id[i < s->n_ids ? i : 0], 32); }
static err write_file(sys *s, const char *path, const char *text) {
    int fd = -1;
    err e = s->file_open(s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd);
    if (e) return e;
    e = s->file_write(s, fd, slice_str(text), 0);
    if (!e) e = s->file_sync(s, fd);
    s->file_close(s, fd);
    return e;
}
/* Files that hold the domain: an identity needs no more here. */
static err make_self_signed(tls *t, const char *domain, int days, const char *cert_path, const char *key_path, char *why) {
    (void)days;
    sim_tls *x = t->self;
    err e = turn(x, SIM_CALL_TLS_MAKE_SELF_SIGNED);
    if (!e) e = x->files ? write_file(x->files, key_path, domain) : ERR_UNSUPPORTED;
    if (!e) e = write_file(x->files, cert_path, domain);
    if (e) (void)snprintf(why, TLS_ERR_MAX, "%s: %s", cert_path, err_text(e)); /* cut if long */
    return e;
}

static tls_conn *conn_new(tls_server *s) {
    tls_conn *c = mem_zalloc(sizeof *c);
    c->server = server_ref(s);
    c->server->t->conns++;
    buf_init(&c->rest, REST_MAX + RECORD_MAX * 16);
    return c;
}
static tls_conn *conn_dial(tls_server *s, const char *peer) {
    if (!s->peers) panic("only peers dial");
    tls_conn *c = conn_new(s);
    c->dials = true;
    (void)snprintf(c->expect, sizeof c->expect, "%s", peer); /* likewise */
    return c;
}
static void conn_free(tls_conn *c) {
    if (!c) return;
    c->server->t->conns--;
    buf_fini(&c->rest);
    server_unref(c->server);
    mem_free(c);
}

static void write_nonce(tls_conn *c, uint8_t type, uint8_t nonce[SIM_TLS_NONCE], buf *out) {
    for (size_t i = 0; i < SIM_TLS_NONCE; i++) nonce[i] = (uint8_t)prng_next(&c->server->t->rng);
    buf_add_byte(out, type);
    buf_add(out, slice_of(nonce, SIM_TLS_NONCE));
}
static void write_certificate(const tls_conn *c, buf *out) {
    const tls_server *s = c->server;
    if (!s->peers) return;
    buf_add_byte(out, 'P');
    buf_add_byte(out, (uint8_t)strlen(s->domain));
    buf_add_str(out, s->domain);
    buf_add(out, slice_of(s->authority, AUTHORITY));
}

static err refuse(tls_conn *c, const char *why) {
    c->why = why;
    return ERR_TLS;
}

/* One message each off the front. AGAIN: it is partial, and nothing is taken. */
static err read_type(cursor *c, uint8_t want) {
    uint8_t type;
    if (!cursor_u8(c, &type)) return ERR_AGAIN;
    return type == want ? ERR_OK : ERR_TLS;
}
static err read_nonce(cursor *c, uint8_t type, uint8_t nonce[SIM_TLS_NONCE]) {
    cursor at = *c;
    slice got;
    err e = read_type(&at, type);
    if (e) return e;
    if (!cursor_bytes(&at, SIM_TLS_NONCE, &got)) return ERR_AGAIN;
    memcpy(nonce, got.p, SIM_TLS_NONCE);
    *c = at;
    return ERR_OK;
}
static err read_certificate(tls_conn *c, cursor *in) {
    cursor at = *in;
    uint8_t len;
    slice name, authority;
    err e = read_type(&at, 'P');
    if (e) return e == ERR_TLS ? refuse(c, "the peer shows no certificate") : e;
    if (!cursor_u8(&at, &len) || !cursor_bytes(&at, len, &name) || !cursor_bytes(&at, AUTHORITY, &authority)) return ERR_AGAIN;
    if (!slice_eq(authority, slice_of(c->server->authority, AUTHORITY)))
        return refuse(c, "another authority signed the peer's certificate");
    memcpy(c->peer, name.p, name.len);
    c->peer[name.len] = 0;
    if (c->dials && strcmp(c->peer, c->expect) != 0) return refuse(c, "the certificate is another host's");
    c->known = true;
    *in = at;
    return ERR_OK;
}

static err accepted(tls_conn *c, cursor *at, buf *out) {
    err e;
    if (!c->hello) {
        if ((e = read_nonce(at, 'H', c->nonce[0]))) return e;
        c->hello = true;
        write_nonce(c, 'S', c->nonce[1], out);
        write_certificate(c, out);
        return ERR_OK;
    }
    if (c->server->peers && !c->known) return read_certificate(c, at);
    e = read_type(at, 'F');
    c->done = !e;
    return e;
}

static err dialled(tls_conn *c, cursor *at, buf *out) {
    cursor t = *at;
    err e = read_nonce(&t, 'S', c->nonce[1]);
    if (!e) e = read_certificate(c, &t); /* both at once: what is partial stays */
    if (e) return e;
    *at = t;
    write_certificate(c, out);
    buf_add_byte(out, 'F');
    c->done = true;
    return ERR_OK;
}

static err conn_handshake(tls_conn *c, slice in, buf *out, bool *out_done) {
    err e = turn(c->server->t, SIM_CALL_TLS_HANDSHAKE);
    if (e) return e;
    buf_add(&c->rest, in);
    cursor at = cursor_of(buf_slice(&c->rest));
    if (c->done || !buf_ok(&c->rest)) return ERR_TLS;
    if (c->dials && !c->hello) {
        c->hello = true;
        write_nonce(c, 'H', c->nonce[0], out);
    }
    do e = c->done ? ERR_AGAIN : c->dials ? dialled(c, &at, out) : accepted(c, &at, out);
    while (!e);
    keep_rest(&c->rest, &at);
    if (e != ERR_AGAIN) return e;
    *out_done = c->done;
    return ERR_OK;
}

static err conn_read(tls_conn *c, slice in, buf *plain, buf *out) {
    (void)out;
    err e = turn(c->server->t, SIM_CALL_TLS_READ);
    if (e) return e;
    if (!c->done) return ERR_TLS;
    buf_add(&c->rest, in);
    if (!buf_ok(&c->rest)) return ERR_TLS;
    return read_records(&c->rest, plain);
}
static err conn_write(tls_conn *c, slice plain, buf *out) {
    err e = turn(c->server->t, SIM_CALL_TLS_WRITE);
    if (e) return e;
    if (!c->done) return ERR_TLS;
    write_records(plain, out);
    return buf_ok(out) ? ERR_OK : ERR_LIMIT;
}
static void conn_close(tls_conn *c, buf *out) {
    if (c->done) buf_add_byte(out, 'C');
}
static err conn_binding(tls_conn *c, tls_binding kind, buf *out) {
    err e = turn(c->server->t, SIM_CALL_TLS_BINDING);
    if (e) return e;
    if (!c->done) return ERR_UNSUPPORTED;
    uint8_t b[32];
    binding((const uint8_t(*)[SIM_TLS_NONCE])c->nonce, kind, b);
    buf_add(out, slice_of(b, sizeof b));
    return ERR_OK;
}
static void conn_info(tls_conn *c, tls_info *out) {
    *out = (tls_info){.version = "SIM", .cipher = "identity", .resumed = false, .why = c->why};
}
static bool conn_names(tls_conn *c, const char *host) { return c->done && c->known && strcmp(c->peer, host) == 0; }

void sim_tls_init(sim_tls *t, uint64_t seed) {
    memset(t, 0, sizeof *t);
    prng_init(&t->rng, seed);
    tls *v = &t->tls;
    v->self = t;
    v->server_new = server_new, v->server_ref = server_ref, v->server_unref = server_unref, v->fingerprint = fingerprint;
    v->make_self_signed = make_self_signed, v->conn_new = conn_new, v->conn_dial = conn_dial, v->conn_free = conn_free;
    v->conn_handshake = conn_handshake, v->conn_names = conn_names;
    v->conn_read = conn_read, v->conn_write = conn_write, v->conn_close = conn_close, v->conn_binding = conn_binding;
    v->conn_info = conn_info;
}

/* --- client ----------------------------------------------------------------------------------------------------------------------- */

void sim_tls_client_init(sim_tls_client *c, uint64_t nonce, buf *out) {
    memset(c, 0, sizeof *c);
    buf_init(&c->rest, REST_MAX + RECORD_MAX * 16);
    prng r;
    prng_init(&r, nonce);
    for (size_t i = 0; i < SIM_TLS_NONCE; i++) c->nonce[0][i] = (uint8_t)prng_next(&r);
    buf_add_byte(out, 'H');
    buf_add(out, slice_of(c->nonce[0], SIM_TLS_NONCE));
}
void sim_tls_client_fini(sim_tls_client *c) { buf_fini(&c->rest); }

err sim_tls_client_read(sim_tls_client *c, slice in, buf *plain, buf *out) {
    buf_add(&c->rest, in);
    if (!buf_ok(&c->rest)) return ERR_TLS;
    if (!c->done) {
        cursor at = cursor_of(buf_slice(&c->rest));
        uint8_t type;
        slice nonce;
        if (!cursor_u8(&at, &type)) return ERR_OK;
        if (type != 'S') return ERR_TLS;
        if (!cursor_bytes(&at, SIM_TLS_NONCE, &nonce)) return ERR_OK;
        memcpy(c->nonce[1], nonce.p, SIM_TLS_NONCE);
        c->done = true;
        buf_add_byte(out, 'F');
        keep_rest(&c->rest, &at);
    }
    return read_records(&c->rest, plain);
}
void sim_tls_client_write(sim_tls_client *c, slice plain, buf *out) {
    (void)c;
    write_records(plain, out);
}
void sim_tls_client_binding(const sim_tls_client *c, tls_binding kind, uint8_t out[32]) {
    binding((const uint8_t(*)[SIM_TLS_NONCE])c->nonce, kind, out);
}
