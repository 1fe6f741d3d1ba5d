/* TLS over memory, against a client made of OpenSSL's own parts: its BIOs are memory BIOs, ours is the caller's slices. */
#include "rt/tls.h"
#include "support/cmocka_unit.h"
#include "support/heap.h"
#include "support/tmpdir.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define LIMIT (1u << 22)

typedef struct fixture {
    tls *t;
    tmpdir dir;
    tls_server *srv;
    uint8_t print[2][32]; /* fingerprints of one.example and two.example */
} fixture;

typedef struct pair { /* a connection: our side, the client's side, and what is on the wire */
    tls_conn *c;
    SSL_CTX *cctx;
    SSL *ssl;
    buf to_client;
    err status;
    bool done;
} pair;

static tls_server_cfg two_domains(fixture *f, tls_identity ids[2]) {
    static char room[4][128];
    static const char *const names[] = {"c1", "k1", "c2", "k2"};
    for (int i = 0; i < 4; i++) (void)snprintf(room[i], sizeof room[i], "%s", tmpdir_at(&f->dir, names[i]));
    ids[0] = (tls_identity){"one.example", room[0], room[1]};
    ids[1] = (tls_identity){"two.example", room[2], room[3]};
    return (tls_server_cfg){.ids = ids, .n_ids = 2, .alpn = "xmpp-client"};
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    tls_identity ids[2];
    char why[TLS_ERR_MAX] = "";
    if (!f || tls_openssl_new(&f->t)) return -1;
    tmpdir_make(&f->dir);
    tls_server_cfg cfg = two_domains(f, ids);
    for (int i = 0; i < 2; i++)
        if (f->t->make_self_signed(f->t, ids[i].domain, 30, ids[i].cert_path, ids[i].key_path, why)) return -1;
    if (f->t->server_new(f->t, &cfg, &f->srv, why)) return -1;
    for (size_t i = 0; i < 2; i++) f->t->fingerprint(f->srv, i, f->print[i]);
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    f->t->server_unref(f->srv);
    tls_openssl_free(f->t);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

/* --- the client */
static void pair_start(fixture *f, pair *p, int version, const char *sni, const char *alpn) {
    *p = (pair){.status = ERR_OK};
    buf_init(&p->to_client, LIMIT);
    p->c = f->t->conn_new(f->srv);
    p->cctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(p->cctx, 0); /* what it may offer is the server's to refuse */
    if (version) {
        assert_int_equal(SSL_CTX_set_min_proto_version(p->cctx, version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(p->cctx, version), 1);
    }
    p->ssl = SSL_new(p->cctx);
    SSL_set_bio(p->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->ssl);
    if (sni) assert_int_equal(SSL_set_tlsext_host_name(p->ssl, sni), 1);
    if (alpn) assert_int_equal(SSL_set_alpn_protos(p->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
}
static void pair_end(fixture *f, pair *p) {
    f->t->conn_free(p->c);
    SSL_free(p->ssl);
    SSL_CTX_free(p->cctx);
    buf_fini(&p->to_client);
    ERR_clear_error();
}
/* What the client has written, in a slice that is good until the next call. */
static slice from_client(pair *p) {
    static uint8_t wire[1 << 20];
    int n = BIO_read(SSL_get_wbio(p->ssl), wire, sizeof wire);
    return slice_of(wire, n > 0 ? (size_t)n : 0);
}
static void give_client(pair *p) {
    if (p->to_client.len > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->ssl), p->to_client.p, (int)p->to_client.len), (int)p->to_client.len);
    buf_reset(&p->to_client);
}
/* Handshakes, a byte at a time if asked to, until both are done or one has failed. True: both are done. */
static bool shake(fixture *f, pair *p, bool bytes) {
    for (int round = 0; round < 10; round++) {
        int rc = SSL_do_handshake(p->ssl);
        slice in = from_client(p);
        if (rc != 1 && SSL_get_error(p->ssl, rc) != SSL_ERROR_WANT_READ) {
            if (in.len > 0 && !p->done) p->status = f->t->conn_handshake(p->c, in, &p->to_client, &p->done);
            return false;
        }
        if (rc == 1 && p->done) return true;
        for (size_t at = 0; at < in.len && !p->status && !p->done; at += bytes ? 1 : in.len)
            p->status = f->t->conn_handshake(p->c, slice_sub(in, at, bytes ? 1 : in.len), &p->to_client, &p->done);
        give_client(p);
        if (p->status) {
            (void)SSL_do_handshake(p->ssl); /* so that the client sees the alert */
            return false;
        }
    }
    return false;
}
/* One line each way. */
static void talk(fixture *f, pair *p) {
    buf plain;
    char text[64];
    buf_init(&plain, LIMIT);
    assert_int_equal(SSL_write(p->ssl, "ping", 4), 4);
    assert_int_equal(f->t->conn_read(p->c, from_client(p), &plain, &p->to_client), ERR_OK);
    assert_true(slice_is(buf_slice(&plain), "ping"));
    assert_int_equal(f->t->conn_write(p->c, SLICE("pong"), &p->to_client), ERR_OK);
    give_client(p);
    assert_int_equal(SSL_read(p->ssl, text, sizeof text), 4);
    assert_memory_equal(text, "pong", 4);
    buf_fini(&plain);
}
static void client_fingerprint(pair *p, uint8_t out[32]) {
    X509 *x = SSL_get1_peer_certificate(p->ssl);
    unsigned n = 32;
    assert_non_null(x);
    assert_int_equal(X509_digest(x, EVP_sha256(), out, &n), 1);
    X509_free(x);
}
static bool why_says(fixture *f, pair *p, const char *what) {
    tls_info info;
    f->t->conn_info(p->c, &info);
    return strstr(info.why, what) != NULL;
}

/* --- handshakes */
static void both_versions_shake_hands_and_talk(void **state) {
    fixture *f = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char *const names[] = {"TLSv1.2", "TLSv1.3"};
    for (int i = 0; i < 2; i++) {
        pair p;
        tls_info info;
        pair_start(f, &p, versions[i], "one.example", "\x0bxmpp-client");
        assert_true(shake(f, &p, false));
        f->t->conn_info(p.c, &info);
        assert_string_equal(info.version, names[i]);
        assert_string_equal(info.why, "");
        assert_false(info.resumed);
        assert_string_equal(info.cipher, SSL_get_cipher_name(p.ssl));
        talk(f, &p);
        pair_end(f, &p);
    }
}
static void a_handshake_may_come_a_byte_at_a_time(void **state) {
    fixture *f = *state;
    pair p;
    pair_start(f, &p, TLS1_2_VERSION, NULL, NULL);
    assert_true(shake(f, &p, true));
    talk(f, &p);
    pair_end(f, &p);
}
static void bytes_behind_the_last_flight_are_given_to_the_first_read(void **state) {
    fixture *f = *state;
    pair p;
    buf plain;
    buf_init(&plain, LIMIT);
    pair_start(f, &p, TLS1_3_VERSION, NULL, NULL);
    (void)SSL_do_handshake(p.ssl);
    assert_int_equal(f->t->conn_handshake(p.c, from_client(&p), &p.to_client, &p.done), ERR_OK);
    assert_false(p.done);
    give_client(&p);
    assert_int_equal(SSL_do_handshake(p.ssl), 1);
    assert_int_equal(SSL_write(p.ssl, "early bird", 10), 10);
    assert_int_equal(f->t->conn_handshake(p.c, from_client(&p), &p.to_client, &p.done), ERR_OK);
    assert_true(p.done);
    assert_int_equal(SSL_write(p.ssl, ", worm", 6), 6);
    assert_int_equal(f->t->conn_read(p.c, from_client(&p), &plain, &p.to_client), ERR_OK);
    assert_true(slice_is(buf_slice(&plain), "early bird, worm"));
    buf_fini(&plain);
    pair_end(f, &p);
}
static void tls_1_1_is_refused(void **state) {
    fixture *f = *state;
    pair p;
    pair_start(f, &p, TLS1_1_VERSION, NULL, NULL);
    assert_false(shake(f, &p, false));
    assert_int_equal(p.status, ERR_TLS);
    assert_true(why_says(f, &p, "unsupported protocol"));
    pair_end(f, &p);
}
static void ciphers_without_aead_or_ecdhe_are_refused(void **state) {
    fixture *f = *state;
    static const char *const weak[] = {"AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"};
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        pair p;
        pair_start(f, &p, TLS1_2_VERSION, NULL, NULL);
        assert_int_equal(SSL_set_cipher_list(p.ssl, weak[i]), 1);
        assert_false(shake(f, &p, false));
        assert_int_equal(p.status, ERR_TLS);
        pair_end(f, &p);
        tls_identity ids[2];
        tls_server_cfg cfg = two_domains(f, ids);
        char why[TLS_ERR_MAX];
        tls_server *s;
        cfg.ciphers_tls12 = weak[i];
        assert_int_equal(f->t->server_new(f->t, &cfg, &s, why), ERR_TLS);
        assert_non_null(strstr(why, "only ECDHE with AEAD"));
    }
}
static void renegotiation_is_refused(void **state) {
    fixture *f = *state;
    pair p;
    buf plain;
    buf_init(&plain, LIMIT);
    pair_start(f, &p, TLS1_2_VERSION, NULL, NULL);
    assert_true(shake(f, &p, false));
    assert_int_equal(SSL_renegotiate(p.ssl), 1);
    (void)SSL_do_handshake(p.ssl);
    (void)f->t->conn_read(p.c, from_client(&p), &plain, &p.to_client); /* a warning alert, or the end: either will do */
    give_client(&p);
    assert_int_not_equal(SSL_do_handshake(p.ssl), 1);
    buf_fini(&plain);
    pair_end(f, &p);
}
static void rubbish_is_an_error_with_a_reason(void **state) {
    fixture *f = *state;
    pair p;
    pair_start(f, &p, 0, NULL, NULL);
    assert_int_equal(f->t->conn_handshake(p.c, SLICE("<?xml version='1.0'?><stream:stream>"), &p.to_client, &p.done), ERR_TLS);
    assert_true(why_says(f, &p, "handshake: "));
    assert_false(p.done);
    pair_end(f, &p);
}

/* --- names */
static void the_server_name_picks_the_certificate(void **state) {
    fixture *f = *state;
    static const struct {
        const char *sni;
        int which;
    } cases[] = {{"one.example", 0}, {"two.example", 1}, {"TWO.example", 1}, {"three.example", 0}, {NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pair p;
        uint8_t got[32];
        pair_start(f, &p, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, cases[i].sni, NULL);
        assert_true(shake(f, &p, false));
        client_fingerprint(&p, got);
        assert_memory_equal(got, f->print[cases[i].which], 32);
        pair_end(f, &p);
    }
    assert_memory_not_equal(f->print[0], f->print[1], 32);
}
static void alpn_is_selected_or_refused_but_never_missed(void **state) {
    fixture *f = *state;
    static const struct {
        const char *offer;
        bool ok;
    } cases[] = {
        {"\x0bxmpp-client", true}, {"\x02h2\x0bxmpp-client", true}, {"\x02h2", false}, {"\x0bxmpp-server\x02h2", false}, {NULL, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pair p;
        const unsigned char *got = NULL;
        unsigned len = 0;
        pair_start(f, &p, 0, "two.example", cases[i].offer);
        assert_int_equal(shake(f, &p, false), cases[i].ok);
        if (cases[i].ok) {
            SSL_get0_alpn_selected(p.ssl, &got, &len);
            assert_int_equal(len, cases[i].offer ? 11 : 0);
        } else {
            assert_int_equal(p.status, ERR_TLS);
        }
        pair_end(f, &p);
    }
}

/* --- bindings */
static void bindings_are_equal_on_both_sides(void **state) {
    fixture *f = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char label[] = "EXPORTER-Channel-Binding";
    uint8_t before[32] = {0};
    for (int i = 0; i < 2; i++) {
        pair p;
        buf b;
        uint8_t theirs[32];
        buf_init(&b, 64);
        pair_start(f, &p, versions[i], "two.example", NULL);
        assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_EXPORTER, &b), ERR_UNSUPPORTED);
        assert_true(shake(f, &p, false));
        assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_EXPORTER, &b), ERR_OK);
        assert_int_equal(SSL_export_keying_material(p.ssl, theirs, 32, label, sizeof label - 1, NULL, 0, 0), 1);
        assert_int_equal(b.len, 32);
        assert_memory_equal(b.p, theirs, 32);
        assert_memory_not_equal(before, theirs, 32);
        memcpy(before, theirs, 32);
        buf_reset(&b);
        client_fingerprint(&p, theirs); /* ECDSA with SHA-256: the end point is the certificate's SHA-256 */
        assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_SERVER_END_POINT, &b), ERR_OK);
        assert_int_equal(b.len, 32);
        assert_memory_equal(b.p, theirs, 32);
        buf_fini(&b);
        pair_end(f, &p);
    }
}
static void the_exporter_needs_the_extended_master_secret_in_tls_1_2(void **state) {
    fixture *f = *state;
    pair p;
    buf b;
    buf_init(&b, 64);
    pair_start(f, &p, TLS1_2_VERSION, NULL, NULL);
    SSL_set_options(p.ssl, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    assert_true(shake(f, &p, false));
    assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_EXPORTER, &b), ERR_UNSUPPORTED);
    assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_SERVER_END_POINT, &b), ERR_OK);
    buf_fini(&b);
    pair_end(f, &p);
}

/* Writes an RSA certificate signed with md, and its key as PKCS8 or in the traditional form. */
static void make_rsa(const char *cert, const char *key, const EVP_MD *md, bool pkcs8) {
    EVP_PKEY *k = EVP_RSA_gen(2048);
    X509 *x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, k);
    assert_true(X509_sign(x, k, md) > 0);
    BIO *c = BIO_new_file(cert, "w"), *q = BIO_new_file(key, "w");
    assert_int_equal(PEM_write_bio_X509(c, x), 1);
    if (pkcs8)
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(q, k, NULL, NULL, 0, NULL, NULL), 1);
    else
        assert_int_equal(PEM_write_bio_PrivateKey_traditional(q, k, NULL, NULL, 0, NULL, NULL), 1);
    BIO_free(c);
    BIO_free(q);
    X509_free(x);
    EVP_PKEY_free(k);
}
static void the_end_point_hash_follows_the_signature_and_both_key_forms_load(void **state) {
    fixture *f = *state;
    char cert[128], key[128], why[TLS_ERR_MAX];
    (void)snprintf(cert, sizeof cert, "%s", tmpdir_at(&f->dir, "rc"));
    (void)snprintf(key, sizeof key, "%s", tmpdir_at(&f->dir, "rk"));
    for (int i = 0; i < 2; i++) {
        make_rsa(cert, key, i ? EVP_sha384() : EVP_sha256(), i != 0);
        tls_identity id = {"rsa.example", cert, key};
        tls_server_cfg cfg = {.ids = &id, .n_ids = 1};
        tls_server *s, *kept = f->srv;
        assert_int_equal(f->t->server_new(f->t, &cfg, &s, why), ERR_OK);
        f->srv = s;
        pair p;
        buf b;
        buf_init(&b, 64);
        pair_start(f, &p, 0, NULL, "\x02h2"); /* no ALPN configured: what is offered does not matter */
        f->t->server_unref(s);                /* the connection has its own reference */
        f->srv = kept;
        assert_true(shake(f, &p, false));
        assert_int_equal(f->t->conn_binding(p.c, TLS_BINDING_SERVER_END_POINT, &b), ERR_OK);
        assert_int_equal(b.len, i ? 48 : 32);
        X509 *x = SSL_get1_peer_certificate(p.ssl);
        uint8_t want[64];
        assert_int_equal(X509_digest(x, i ? EVP_sha384() : EVP_sha256(), want, NULL), 1);
        assert_memory_equal(b.p, want, b.len);
        X509_free(x);
        buf_fini(&b);
        pair_end(f, &p);
    }
}

/* --- records */
static void megabytes_go_through_in_pieces_of_any_size(void **state) {
    fixture *f = *state;
    pair p;
    buf plain;
    static uint8_t data[300000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + i / 251);
    buf_init(&plain, LIMIT);
    pair_start(f, &p, 0, NULL, NULL);
    assert_true(shake(f, &p, false));
    assert_int_equal(SSL_write(p.ssl, data, sizeof data), (int)sizeof data);
    slice in = from_client(&p);
    for (size_t at = 0, step = 1; at < in.len; at += step, step = step * 3 % 9973 + 1)
        assert_int_equal(f->t->conn_read(p.c, slice_sub(in, at, step), &plain, &p.to_client), ERR_OK);
    assert_true(slice_eq(buf_slice(&plain), slice_of(data, sizeof data)));
    assert_int_equal(f->t->conn_write(p.c, buf_slice(&plain), &p.to_client), ERR_OK);
    give_client(&p);
    size_t got = 0;
    while (got < sizeof data) {
        uint8_t part[20000];
        int n = SSL_read(p.ssl, part, sizeof part);
        assert_true(n > 0);
        assert_memory_equal(part, data + got, (size_t)n);
        got += (size_t)n;
    }
    buf_fini(&plain);
    pair_end(f, &p);
}
static void a_damaged_record_ends_the_connection(void **state) {
    fixture *f = *state;
    pair p;
    buf plain;
    uint8_t wire[256];
    buf_init(&plain, LIMIT);
    pair_start(f, &p, 0, NULL, NULL);
    assert_true(shake(f, &p, false));
    assert_int_equal(SSL_write(p.ssl, "ping", 4), 4);
    slice in = from_client(&p);
    memcpy(wire, in.p, in.len);
    wire[in.len - 1] ^= 1;
    assert_int_equal(f->t->conn_read(p.c, slice_of(wire, in.len), &plain, &p.to_client), ERR_TLS);
    assert_int_equal(plain.len, 0);
    buf_fini(&plain);
    pair_end(f, &p);
}
static void close_notify_goes_both_ways(void **state) {
    fixture *f = *state;
    pair p;
    buf plain;
    char text[8];
    buf_init(&plain, LIMIT);
    pair_start(f, &p, 0, NULL, NULL);
    assert_true(shake(f, &p, false));
    assert_int_equal(SSL_write(p.ssl, "bye", 3), 3);
    (void)SSL_shutdown(p.ssl);
    assert_int_equal(f->t->conn_read(p.c, from_client(&p), &plain, &p.to_client), ERR_EOF);
    assert_true(slice_is(buf_slice(&plain), "bye"));
    f->t->conn_close(p.c, &p.to_client);
    give_client(&p);
    assert_int_equal(SSL_get_error(p.ssl, SSL_read(p.ssl, text, sizeof text)), SSL_ERROR_ZERO_RETURN);
    buf_fini(&plain);
    pair_end(f, &p);
}
static void a_full_output_buffer_is_a_limit(void **state) {
    fixture *f = *state;
    pair p;
    buf small;
    pair_start(f, &p, 0, NULL, NULL);
    assert_true(shake(f, &p, false));
    buf_init(&small, 16);
    assert_int_equal(f->t->conn_write(p.c, SLICE("more than fits into sixteen bytes"), &small), ERR_LIMIT);
    buf_fini(&small);
    pair_end(f, &p);
}

/* --- tickets */
static SSL_SESSION *session_of(fixture *f, int version, SSL_SESSION *old, bool *out_resumed) {
    pair p;
    tls_info info;
    pair_start(f, &p, version, "one.example", NULL);
    if (old) assert_int_equal(SSL_set_session(p.ssl, old), 1);
    assert_true(shake(f, &p, false));
    talk(f, &p); /* in TLS 1.3 the ticket comes after the handshake */
    f->t->conn_info(p.c, &info);
    *out_resumed = info.resumed;
    SSL_SESSION *s = SSL_get1_session(p.ssl);
    (void)SSL_shutdown(p.ssl);
    pair_end(f, &p);
    return s;
}
static void a_session_is_resumed_by_ticket_also_after_a_reload(void **state) {
    fixture *f = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        bool resumed;
        SSL_SESSION *a = session_of(f, versions[i], NULL, &resumed), *b, *c;
        assert_false(resumed);
        b = session_of(f, versions[i], a, &resumed);
        assert_true(resumed);
        tls_identity ids[2];
        tls_server_cfg cfg = two_domains(f, ids);
        char why[TLS_ERR_MAX];
        f->t->server_unref(f->srv);
        assert_int_equal(f->t->server_new(f->t, &cfg, &f->srv, why), ERR_OK);
        c = session_of(f, versions[i], b, &resumed);
        assert_true(resumed);
        SSL_SESSION_free(a);
        SSL_SESSION_free(b);
        SSL_SESSION_free(c);
    }
}

/* --- certificates */
static void a_made_certificate_is_private_and_names_its_domain(void **state) {
    fixture *f = *state;
    struct stat st;
    FILE *c = fopen(tmpdir_at(&f->dir, "c1"), "r");
    X509 *x = PEM_read_X509(c, NULL, NULL, NULL);
    fclose(c);
    assert_non_null(x);
    assert_int_equal(X509_check_host(x, "one.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "two.example", 0, 0, NULL), 0);
    assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(x)), EVP_PKEY_EC);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 2);
    assert_int_equal(sk_GENERAL_NAME_value(names, 1)->type, GEN_OTHERNAME);
    GENERAL_NAMES_free(names);
    X509_free(x);
    char head[32] = "";
    FILE *k = fopen(tmpdir_at(&f->dir, "k1"), "r");
    assert_non_null(fgets(head, sizeof head, k));
    fclose(k);
    assert_string_equal(head, "-----BEGIN PRIVATE KEY-----\n");
    static const char *const both[] = {"k1", "c1"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stat(tmpdir_at(&f->dir, both[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}
static void what_cannot_be_loaded_is_named_with_its_reason(void **state) {
    fixture *f = *state;
    tls_identity ids[2];
    tls_server_cfg cfg = two_domains(f, ids);
    tls_server *s = NULL;
    char why[TLS_ERR_MAX];
    ids[1].cert_path = "/nonexistent/cert.pem";
    assert_int_equal(f->t->server_new(f->t, &cfg, &s, why), ERR_NOT_FOUND);
    assert_string_equal(why, "/nonexistent/cert.pem: No such file or directory");
    cfg = two_domains(f, ids);
    ids[1].key_path = ids[0].key_path; /* another certificate's key */
    assert_int_equal(f->t->server_new(f->t, &cfg, &s, why), ERR_TLS);
    assert_non_null(strstr(why, ids[0].key_path));
    cfg = two_domains(f, ids);
    ids[0].key_path = ids[0].cert_path; /* no key in it */
    assert_int_equal(f->t->server_new(f->t, &cfg, &s, why), ERR_TLS);
    assert_non_null(strstr(why, ids[0].cert_path));
    assert_int_equal(f->t->make_self_signed(f->t, "x", 1, "/nonexistent/c", "/nonexistent/k", why), ERR_NOT_FOUND);
    assert_non_null(strstr(why, "/nonexistent/k"));
    assert_null(s);
}

/* --- memory */
#define IDLE 50
static void an_idle_connection_is_within_its_budget(void **state) {
    fixture *f = *state;
    pair p[IDLE];
    size_t used = 0;
    for (int i = 0; i < IDLE; i++) {
        pair_start(f, &p[i], TLS1_3_VERSION, "one.example", NULL);
        assert_true(shake(f, &p[i], false));
        talk(f, &p[i]);
        buf_fini(&p[i].to_client);
    }
    size_t before = heap_used();
    for (int i = 0; i < IDLE; i++) {
        f->t->conn_free(p[i].c);
        p[i].c = NULL;
    }
    used = (before - heap_used()) / IDLE;
    for (int i = 0; i < IDLE; i++) pair_end(f, &p[i]);
    print_message("an idle TLS 1.3 connection: %zu bytes\n", used);
    assert_true(used > 1000 && used <= 15600);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(both_versions_shake_hands_and_talk),
        T(a_handshake_may_come_a_byte_at_a_time),
        T(bytes_behind_the_last_flight_are_given_to_the_first_read),
        T(tls_1_1_is_refused),
        T(ciphers_without_aead_or_ecdhe_are_refused),
        T(renegotiation_is_refused),
        T(rubbish_is_an_error_with_a_reason),
        T(the_server_name_picks_the_certificate),
        T(alpn_is_selected_or_refused_but_never_missed),
        T(bindings_are_equal_on_both_sides),
        T(the_exporter_needs_the_extended_master_secret_in_tls_1_2),
        T(the_end_point_hash_follows_the_signature_and_both_key_forms_load),
        T(megabytes_go_through_in_pieces_of_any_size),
        T(a_damaged_record_ends_the_connection),
        T(close_notify_goes_both_ways),
        T(a_full_output_buffer_is_a_limit),
        T(a_session_is_resumed_by_ticket_also_after_a_reload),
        T(a_made_certificate_is_private_and_names_its_domain),
        T(what_cannot_be_loaded_is_named_with_its_reason),
        T(an_idle_connection_is_within_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
