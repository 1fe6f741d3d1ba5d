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

struct tls_server {
    uint32_t refs;
    sim_tls *t;
    size_t n_ids;
    uint8_t id[IDS_MAX][32]; /* fingerprints: hashes of the domains */
};

struct tls_conn {
    tls_server *server;
    uint8_t nonce[2][SIM_TLS_NONCE];
    buf rest;
    bool hello, done;
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
static void conn_free(tls_conn *c) {
    if (!c) return;
    c->server->t->conns--;
    buf_fini(&c->rest);
    server_unref(c->server);
    mem_free(c);
}

static err conn_handshake(tls_conn *c, slice in, buf *out, bool *out_done) {
    err e = turn(c->server->t, SIM_CALL_TLS_HANDSHAKE);
    if (e) return e;
    buf_add(&c->rest, in);
    cursor at = cursor_of(buf_slice(&c->rest));
    uint8_t type;
    slice nonce;
    if (c->done || !buf_ok(&c->rest)) return ERR_TLS;
    if (!c->hello) {
        cursor t = at;
        if (cursor_u8(&t, &type)) {
            if (type != 'H') return ERR_TLS;
            if (cursor_bytes(&t, SIM_TLS_NONCE, &nonce)) {
                c->hello = true;
                memcpy(c->nonce[0], nonce.p, SIM_TLS_NONCE);
                for (size_t i = 0; i < SIM_TLS_NONCE; i++) c->nonce[1][i] = (uint8_t)prng_next(&c->server->t->rng);
                buf_add_byte(out, 'S');
                buf_add(out, slice_of(c->nonce[1], SIM_TLS_NONCE));
                at = t;
            }
        }
    }
    if (c->hello && cursor_u8(&at, &type)) {
        if (type != 'F') return ERR_TLS;
        c->done = true;
    }
    keep_rest(&c->rest, &at);
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
    (void)c;
    *out = (tls_info){.version = "SIM", .cipher = "identity", .resumed = false};
}

void sim_tls_init(sim_tls *t, uint64_t seed) {
    memset(t, 0, sizeof *t);
    prng_init(&t->rng, seed);
    tls *v = &t->tls;
    v->self = t;
    v->server_new = server_new, v->server_ref = server_ref, v->server_unref = server_unref, v->fingerprint = fingerprint;
    v->make_self_signed = make_self_signed, v->conn_new = conn_new, v->conn_free = conn_free, v->conn_handshake = conn_handshake;
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
