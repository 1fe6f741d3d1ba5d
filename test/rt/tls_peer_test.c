/* TLS among peers (rt/tls.h): two of ours with each other, and with a client made of OpenSSL's own parts. Certificates are made here, by an
 * authority of the test's own. */
#include "rt/tls.h"
#include "rt/tls_slot.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define LIMIT (1u << 22)
#define DAY   (24L * 3600)
#define PATHS 64

typedef struct authority {
    EVP_PKEY *key;
    X509 *cert;
    const char *path;
} authority;

typedef struct fixture {
    tls *t;
    tmpdir dir;
    char paths[PATHS][160];
    int n_paths;
    authority ours, other;
} fixture;

/* --- certificates ------------------------------------------------------------------------------------------------------------------- */
static const char *path(fixture *f) {
    char name[16], *p = f->paths[f->n_paths];
    assert_true(f->n_paths < PATHS);
    (void)snprintf(name, sizeof name, "f%d", f->n_paths++);
    (void)snprintf(p, sizeof f->paths[0], "%s", tmpdir_at(&f->dir, name));
    return p;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX v;
    X509V3_set_ctx(&v, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

typedef struct wish { /* zero: the host, now, for both roles */
    const char *alt, *use;
    long from_days, days;
} wish;

static X509 *make(EVP_PKEY *key, const char *common, const authority *by, EVP_PKEY *by_key, const wish *w) {
    static long serial;
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), w->from_days * DAY - 3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), (w->from_days + (w->days ? w->days : 1)) * DAY));
    assert_int_equal(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(x, by ? X509_get_subject_name(by->cert) : name), 1);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    extend(x, by ? by->cert : x, NID_basic_constraints, by ? "CA:FALSE" : "critical,CA:TRUE");
    if (w->alt) extend(x, by->cert, NID_subject_alt_name, w->alt);
    if (w->use) extend(x, by->cert, NID_ext_key_usage, w->use);
    assert_true(X509_sign(x, by_key, EVP_sha256()) > 0);
    return x;
}

static void save(const char *to, X509 *x, EVP_PKEY *key) {
    FILE *out = fopen(to, "w");
    assert_non_null(out);
    if (x) assert_int_equal(PEM_write_X509(out, x), 1);
    if (key) assert_int_equal(PEM_write_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(out);
}

static authority authority_new(fixture *f, const char *common) {
    static const wish plain;
    authority a = {.key = EVP_EC_gen("P-256"), .path = path(f)};
    a.cert = make(a.key, common, NULL, a.key, &plain);
    save(a.path, a.cert, NULL);
    return a;
}
static void authority_free(authority *a) {
    X509_free(a->cert);
    EVP_PKEY_free(a->key);
}

static tls_identity sign(fixture *f, const authority *by, wish w) {
    tls_identity id = {.domain = "one.example", .cert_path = path(f), .key_path = path(f)};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!w.alt) w.alt = "DNS:one.example,IP:127.0.0.1";
    X509 *x = make(key, "one.example", by, by->key, &w);
    save(id.cert_path, x, NULL);
    save(id.key_path, NULL, key);
    X509_free(x);
    EVP_PKEY_free(key);
    return id;
}

static err load(fixture *f, tls_identity id, const char *ca, tls_server **out, char *why) {
    tls_server_cfg c = {.ids = &id, .n_ids = 1, .ca_path = ca};
    return f->t->server_new(f->t, &c, out, why);
}

static tls_server *peer_of(fixture *f, const authority *by, const char *ca, wish w) {
    tls_server *s = NULL;
    char why[TLS_ERR_MAX] = "";
    tls_identity id = sign(f, by, w);
    if (w.alt && !strstr(w.alt, "one.example")) id.domain = "two.example";
    if (load(f, id, ca, &s, why)) fail_msg("%s", why);
    return s;
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f || tls_openssl_new(&f->t)) return -1;
    tmpdir_make(&f->dir);
    f->ours = authority_new(f, "ours");
    f->other = authority_new(f, "other");
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    authority_free(&f->ours);
    authority_free(&f->other);
    tls_openssl_free(f->t);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

/* --- two of ours -------------------------------------------------------------------------------------------------------------------- */
typedef struct pair {
    tls_conn *a, *b; /* dials, accepts */
    buf to_a, to_b;
    bool done_a, done_b;
    err end_a, end_b;
} pair;

static void pair_start(fixture *f, pair *p, tls_server *dials, const char *peer, tls_server *accepts) {
    *p = (pair){.a = f->t->conn_dial(dials, peer), .b = f->t->conn_new(accepts)};
    buf_init(&p->to_a, LIMIT);
    buf_init(&p->to_b, LIMIT);
    p->end_a = f->t->conn_handshake(p->a, SLICE_NULL, &p->to_b, &p->done_a);
    while (!p->end_a && !p->end_b && (p->to_a.len || p->to_b.len)) {
        buf in = p->to_b;
        buf_init(&p->to_b, LIMIT);
        if (in.len && !p->done_b) p->end_b = f->t->conn_handshake(p->b, buf_slice(&in), &p->to_a, &p->done_b);
        buf_fini(&in);
        in = p->to_a;
        buf_init(&p->to_a, LIMIT);
        if (in.len && !p->done_a) p->end_a = f->t->conn_handshake(p->a, buf_slice(&in), &p->to_b, &p->done_a);
        buf_fini(&in);
    }
}
static void pair_end(fixture *f, pair *p) {
    f->t->conn_free(p->a);
    f->t->conn_free(p->b);
    buf_fini(&p->to_a);
    buf_fini(&p->to_b);
}
static void says(fixture *f, tls_conn *c, const char *what) {
    tls_info info;
    f->t->conn_info(c, &info);
    if (!strstr(info.why, what)) fail_msg("'%s' is not in '%s'", what, info.why);
}

static void peers_shake_hands_and_talk(void **state) {
    fixture *f = *state;
    tls_server *one = peer_of(f, &f->ours, f->ours.path, (wish){0});
    tls_server *two = peer_of(f, &f->ours, f->ours.path, (wish){.alt = "DNS:two.example,IP:::1"});
    static const char *const names[] = {"two.example", "TWO.example", "::1"};
    for (size_t i = 0; i < 3; i++) {
        pair p;
        buf plain;
        buf_init(&plain, LIMIT);
        pair_start(f, &p, one, names[i], two);
        assert_true(p.done_a && p.done_b);
        assert_int_equal(f->t->conn_write(p.a, SLICE("ping"), &p.to_b), ERR_OK);
        assert_int_equal(f->t->conn_read(p.b, buf_slice(&p.to_b), &plain, &p.to_a), ERR_OK);
        assert_true(slice_is(buf_slice(&plain), "ping"));
        assert_true(f->t->conn_names(p.b, "one.example") && f->t->conn_names(p.b, "127.0.0.1") && f->t->conn_names(p.a, "two.example"));
        static const char *const wrong[] = {"two.example", "example", "ne.example", "a.one.example", "127.0.0.2", "", "*"};
        for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) assert_false(f->t->conn_names(p.b, wrong[k]));
        buf_fini(&plain);
        pair_end(f, &p);
    }
    f->t->server_unref(one);
    f->t->server_unref(two);
}

static void who_is_dialled_must_be_named(void **state) {
    fixture *f = *state;
    tls_server *one = peer_of(f, &f->ours, f->ours.path, (wish){0});
    static const char *const wrong[] = {"two.example", "www.one.example", "127.0.0.2"};
    for (size_t i = 0; i < 3; i++) {
        pair p;
        pair_start(f, &p, one, wrong[i], one);
        assert_int_equal(p.end_a, ERR_TLS);
        says(f, p.a, "the certificate is not taken: ");
        says(f, p.a, "mismatch");
        assert_false(p.done_b);
        pair_end(f, &p);
    }
    f->t->server_unref(one);
}

static void authorities_must_be_common(void **state) {
    fixture *f = *state;
    tls_server *one = peer_of(f, &f->ours, f->ours.path, (wish){0}), *alien = peer_of(f, &f->other, f->other.path, (wish){0});
    pair p;
    pair_start(f, &p, one, "one.example", alien);
    assert_int_equal(p.end_a, ERR_TLS);
    says(f, p.a, "the certificate is not taken: unable to get local issuer certificate");
    pair_end(f, &p);
    f->t->server_unref(one);
    f->t->server_unref(alien);
}

/* --- a client that may do what ours would not ----------------------------------------------------------------------------------------- */
typedef struct stranger {
    SSL_CTX *ctx;
    SSL *ssl;
    tls_conn *c;
    buf out;
    bool done;
    err end;
} stranger;

static void stranger_start(fixture *f, stranger *s, tls_server *server, int version, const tls_identity *id) {
    *s = (stranger){.ctx = SSL_CTX_new(TLS_client_method()), .c = f->t->conn_new(server)};
    buf_init(&s->out, LIMIT);
    assert_int_equal(SSL_CTX_set_min_proto_version(s->ctx, version) & SSL_CTX_set_max_proto_version(s->ctx, version), 1);
    if (id) {
        assert_int_equal(SSL_CTX_use_certificate_file(s->ctx, id->cert_path, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(s->ctx, id->key_path, SSL_FILETYPE_PEM), 1);
    }
    s->ssl = SSL_new(s->ctx);
    SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(s->ssl);
    for (int round = 0; round < 5 && !s->end && !s->done; round++) {
        static uint8_t wire[1 << 16];
        (void)SSL_do_handshake(s->ssl);
        int n = BIO_read(SSL_get_wbio(s->ssl), wire, sizeof wire);
        if (n > 0) s->end = f->t->conn_handshake(s->c, slice_of(wire, (size_t)n), &s->out, &s->done);
        if (s->out.len) assert_int_equal(BIO_write(SSL_get_rbio(s->ssl), s->out.p, (int)s->out.len), (int)s->out.len);
        buf_reset(&s->out);
    }
    (void)SSL_do_handshake(s->ssl);
}
static void stranger_end(fixture *f, stranger *s) {
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
    f->t->conn_free(s->c);
    buf_fini(&s->out);
    ERR_clear_error();
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void who_accepts_takes_only_good_certificates(void **state) {
    fixture *f = *state;
    tls_server *server = peer_of(f, &f->ours, f->ours.path, (wish){0});
    const struct {
        const authority *by;
        wish w;
        const char *why;
    } rows[] = {
        {&f->ours, {0}, NULL},
        {&f->other, {0}, "the certificate is not taken: unable to get local issuer certificate"},
        {&f->ours, {.from_days = -9}, "the certificate is not taken: certificate has expired"},
        {&f->ours, {.from_days = 9}, "the certificate is not taken: certificate is not yet valid"},
        {&f->ours, {.use = "serverAuth"}, "the certificate is not taken: unsuitable certificate purpose"},
        {NULL, {0}, "peer did not return a certificate"},
    };
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            stranger s;
            tls_identity id = {0};
            if (rows[i].by) id = sign(f, rows[i].by, rows[i].w);
            stranger_start(f, &s, server, versions[v], rows[i].by ? &id : NULL);
            assert_int_equal(s.end, rows[i].why ? ERR_TLS : ERR_OK);
            assert_int_equal(s.done, !rows[i].why);
            assert_int_equal(f->t->conn_names(s.c, "one.example"), !rows[i].why);
            if (rows[i].why) says(f, s.c, rows[i].why);
            stranger_end(f, &s);
        }
    }
    f->t->server_unref(server);
}

/* A certificate that is good today is judged anew tomorrow. */
static void a_session_is_never_resumed(void **state) {
    fixture *f = *state;
    tls_server *server = peer_of(f, &f->ours, f->ours.path, (wish){0});
    tls_identity id = sign(f, &f->ours, (wish){0});
    for (size_t v = 0; v < 2; v++) {
        stranger s;
        char one;
        stranger_start(f, &s, server, versions[v], &id);
        assert_true(s.done);
        (void)SSL_read(s.ssl, &one, 1); /* tickets of TLS 1.3 would come here */
        assert_int_equal(SSL_SESSION_is_resumable(SSL_get_session(s.ssl)), 0);
        stranger_end(f, &s);
    }
    f->t->server_unref(server);
}

static void what_is_not_tls_is_called_so(void **state) {
    fixture *f = *state;
    tls_server *server = peer_of(f, &f->ours, f->ours.path, (wish){0});
    static const char *const said[] = {"\0\x15N\0\0\0\0\0\0\0\0\0\0\0\0", "GET / HTTP/1.0\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        buf out;
        bool done = false;
        tls_conn *c = f->t->conn_new(server);
        buf_init(&out, LIMIT);
        assert_int_equal(f->t->conn_handshake(c, slice_of(said[i], 15), &out, &done), ERR_TLS);
        says(f, c, "handshake: what came is not TLS");
        f->t->conn_free(c);
        buf_fini(&out);
    }
    f->t->server_unref(server);
}

/* --- what is read from files -------------------------------------------------------------------------------------------------------- */
static void the_own_certificate_must_be_one_that_peers_take(void **state) {
    fixture *f = *state;
    const struct {
        tls_identity id;
        const char *ca, *why;
        err want;
    } rows[] = {
        {sign(f, &f->ours, (wish){0}), f->other.path, "would not take the certificate in", ERR_TLS},
        {sign(f, &f->ours, (wish){.from_days = -9}), f->ours.path, "certificate has expired", ERR_TLS},
        {sign(f, &f->ours, (wish){.use = "serverAuth"}), f->ours.path, "unsuitable certificate purpose", ERR_TLS},
        {sign(f, &f->ours, (wish){.use = "clientAuth"}), f->ours.path, "unsuitable certificate purpose", ERR_TLS},
        {sign(f, &f->ours, (wish){.alt = "DNS:two.example"}), f->ours.path, "does not name one.example as subjectAltName", ERR_TLS},
        {sign(f, &f->ours, (wish){.alt = "DNS:*.example"}), f->ours.path, "does not name one.example as subjectAltName", ERR_TLS},
        {sign(f, &f->ours, (wish){0}), "/nonexistent/ca.pem", "/nonexistent/ca.pem: No such file or directory", ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[TLS_ERR_MAX] = "";
        tls_server *s = NULL;
        assert_int_equal(load(f, rows[i].id, rows[i].ca, &s, why), rows[i].want);
        if (!strstr(why, rows[i].why)) fail_msg("'%s' is not in '%s'", rows[i].why, why);
        assert_null(s);
    }
    char why[TLS_ERR_MAX] = "";
    tls_server *s = NULL;
    tls_identity id = sign(f, &f->ours, (wish){0});
    assert_int_equal(load(f, id, id.key_path, &s, why), ERR_TLS); /* no certificate in it */
    assert_non_null(strstr(why, id.key_path));
    assert_null(s);
}

static void a_slot_holds_one_and_hands_out_references(void **state) {
    fixture *f = *state;
    tls_slot slot;
    tls_slot_init(&slot, f->t, NULL);
    assert_null(tls_slot_get(&slot));
    tls_server *a = peer_of(f, &f->ours, f->ours.path, (wish){0}), *b = peer_of(f, &f->ours, f->ours.path, (wish){0});
    tls_slot_put(&slot, a);
    tls_server *got = tls_slot_get(&slot);
    assert_ptr_equal(got, a);
    tls_slot_put(&slot, b);
    f->t->server_unref(a);
    tls_conn *c = f->t->conn_new(got); /* it is still there */
    f->t->server_unref(got);
    f->t->conn_free(c);
    got = tls_slot_get(&slot);
    assert_ptr_equal(got, b);
    f->t->server_unref(got);
    f->t->server_unref(b);
    tls_slot_fini(&slot);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(peers_shake_hands_and_talk),
        T(who_is_dialled_must_be_named),
        T(authorities_must_be_common),
        T(who_accepts_takes_only_good_certificates),
        T(a_session_is_never_resumed),
        T(what_is_not_tls_is_called_so),
        T(the_own_certificate_must_be_one_that_peers_take),
        T(a_slot_holds_one_and_hands_out_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
