/* tls_openssl: TLS connections as machines over memory, by OpenSSL.
 *
 *     conn_read(in, plain, out)
 *         in   --> [ BIO read ]  --> SSL --> plain          the BIO is a struct with no buffer of its own: it reads from the caller's
 *         out  <-- [ BIO write ] <-- SSL                    slice and writes into the caller's buf, during the call only
 *
 * A BIO pair would keep 17 KB per direction; this keeps nothing, and with SSL_MODE_RELEASE_BUFFERS an idle connection has no record
 * buffers either.
 *
 * One SSL_CTX per identity; the first answers every hello and hands over to another by server name. Tickets are sealed by the first, with
 * keys that belong to the tls object, so that resumption survives a reload of certificates.
 *
 * Invariants: (1) in and out of a connection point to something only during a call. (2) All input is consumed: what follows the last flight
 * of a handshake is kept in early until the first read, a partial record inside SSL. (3) Whatever the configuration says, a server has only
 * TLS 1.2 and 1.3, ECDHE and AEAD. (4) A ticket is good for TICKET_ROTATE_SEC; the key that
 * sealed it seals for as long and is overwritten when the next but one is made.
 *
 * OpenSSL has state of its own that we cannot avoid: tables set up once in a process, and a queue of errors per thread, which is cleared
 * before each step and read after a failed one, so that nothing leaks from one connection to another. */
#include "base/lock.h"
#include "base/mem.h"
#include "rt/tls.h"
#include "rt/tls_cert.h"
#include "rt/tls_peer.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <strings.h>

#define TICKET_ROTATE_SEC 7200L /* also how long a ticket is good for, at most */
#define TICKETS_SENT      1     /* per full handshake */
#define READ_CHUNK        4096  /* plain text taken at once */
#define EKM_LEN           32    /* RFC 9266 */
#define SECURITY_LEVEL    2     /* 112 bits: RSA 2048, no SHA-1 signatures */
#define GROUPS            "X25519:P-256:P-384"
#define SESSION_CONTEXT   "murre" /* without one OpenSSL refuses to resume where client certificates may come in */
#define CIPHERS_12                                                                                                                         \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                 \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

typedef struct ticket_key {
    unsigned char name[16], aes[32], mac[32];
    long since; /* seconds since 1970 by OpenSSL's clock; 0: never made */
} ticket_key;

typedef struct tls_openssl {
    tls base;
    BIO_METHOD *bio;
    lock_set locks;
    lock lock;         /* guards key */
    ticket_key key[2]; /* current, previous */
} tls_openssl;

struct tls_server {
    tls_openssl *t;
    _Atomic uint32_t refs; /* acq_rel on the way down, pairs with itself: the last one frees */
    SSL_CTX **ctx;         /* n of them, as the configuration has them */
    char **domain;
    size_t n;
    bool peers; /* both sides show a certificate */
    char *alpn; /* NULL: none */
};

struct tls_conn {
    SSL *ssl;
    tls_server *s;
    slice in;  /* what the BIO reads; empty between calls */
    buf *out;  /* where it writes; NULL between calls */
    buf early; /* application bytes that came with the handshake's last flight */
    char *why; /* TLS_ERR_MAX bytes once something failed */
};

/* --- the BIO --------------------------------------------------------------------------------------------------------------------- */
static int bio_read(BIO *b, char *p, size_t len, size_t *out_n) {
    tls_conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (c->in.len == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    size_t n = len < c->in.len ? len : c->in.len;
    memcpy(p, c->in.p, n);
    c->in = slice_from(c->in, n);
    *out_n = n;
    return 1;
}

static int bio_write(BIO *b, const char *p, size_t len, size_t *out_n) {
    tls_conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (!c->out) return 0; /* only freeing happens outside calls */
    buf_add(c->out, slice_of(p, len));
    if (!buf_ok(c->out)) return 0;
    *out_n = len;
    return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

/* --- tickets --------------------------------------------------------------------------------------------------------------------- */
/* Makes a new current key when the present one is old; the lock is held. The time is that of OpenSSL's session, so that this file needs no
 * clock. */
static bool rotate(tls_openssl *t, long now) {
    if (t->key[0].since != 0 && now - t->key[0].since < TICKET_ROTATE_SEC && now >= t->key[0].since) return true;
    ticket_key k = {.since = now};
    if (RAND_bytes(k.name, sizeof k.name) != 1 || RAND_priv_bytes(k.aes, sizeof k.aes) != 1 || RAND_priv_bytes(k.mac, sizeof k.mac) != 1)
        return false;
    t->key[1] = t->key[0];
    t->key[0] = k;
    mem_wipe(&k, sizeof k);
    return true;
}

/* Finds the key for a ticket: 1 current, 2 previous (the client should get a new ticket), 0 none. */
static int find_key(tls_openssl *t, SSL *ssl, unsigned char *name, bool seal, ticket_key *out) {
    int found = 0;
    lock_take(&t->lock);
    if (seal) {
        const SSL_SESSION *s = SSL_get_session(ssl);
        if (s && rotate(t, (long)SSL_SESSION_get_time(s))) found = 1;
        if (found) memcpy(name, t->key[0].name, sizeof t->key[0].name);
    } else {
        for (int i = 0; i < 2 && !found; i++)
            if (t->key[i].since != 0 && memcmp(name, t->key[i].name, sizeof t->key[i].name) == 0) found = i + 1;
    }
    if (found) *out = t->key[found - 1];
    lock_release(&t->lock);
    return found;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    const tls_server *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    ticket_key k;
    int found = find_key(s->t, ssl, name, seal != 0, &k);
    if (found == 0) return seal ? -1 : 0;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof k.mac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    bool ok = !seal || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;
    ok = ok && EVP_MAC_CTX_set_params(mac, params) == 1 && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.aes, iv, seal) == 1;
    mem_wipe(&k, sizeof k);
    return ok ? found : -1;
}

/* --- the hello ------------------------------------------------------------------------------------------------------------------- */
static int on_server_name(SSL *ssl, int *alert, void *arg) {
    (void)alert;
    const tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name) return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < s->n; i++) {
        if (strcasecmp(name, s->domain[i]) != 0) continue;
        return i == 0 || SSL_set_SSL_CTX(ssl, s->ctx[i]) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_NOACK; /* a name that we do not serve gets the default certificate, and its stream an error */
}

/* XEP-0368: a client that offers protocols and not ours wants something else. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned int len, void *arg) {
    (void)ssl;
    const tls_server *s = arg;
    slice offered = slice_of(in, len), mine = slice_str(s->alpn);
    while (offered.len > 0) {
        slice one = slice_sub(offered, 1, offered.p[0]);
        if (slice_eq(one, mine)) {
            *out = one.p;
            *out_len = (unsigned char)one.len;
            return SSL_TLSEXT_ERR_OK;
        }
        offered = slice_from(offered, 1 + one.len);
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* --- servers --------------------------------------------------------------------------------------------------------------------- */
/* A key with a passphrase fails, instead of asking on the terminal. */
static int no_passphrase(char *p, int size, int rw, void *arg) {
    (void)p, (void)size, (void)rw, (void)arg;
    return -1;
}

static err readable(const char *path, char *why) {
    BIO *b = BIO_new_file(path, "r");
    char one;
    err e = b && BIO_read(b, &one, 1) >= 0 ? ERR_OK : tls_cert_why(why, path); /* a directory can be opened, not read */
    BIO_free(b);
    return e;
}

static err load(SSL_CTX *ctx, const tls_identity *id, char *why) {
    err e = readable(id->cert_path, why);
    if (!e) e = readable(id->key_path, why);
    if (e) return e;
    if (SSL_CTX_use_certificate_chain_file(ctx, id->cert_path) != 1) return tls_cert_why(why, id->cert_path);
    if (SSL_CTX_use_PrivateKey_file(ctx, id->key_path, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1) return ERR_OK;
    int reason = ERR_GET_REASON(ERR_peek_error());
    if (reason != X509_R_KEY_VALUES_MISMATCH && reason != X509_R_KEY_TYPE_MISMATCH) return tls_cert_why(why, id->key_path);
    (void)snprintf(why, TLS_ERR_MAX, "the key in %s is not that of the certificate in %s", id->key_path, id->cert_path);
    ERR_clear_error();
    return ERR_TLS;
}

static err set_ciphers(SSL_CTX *ctx, const tls_server_cfg *cfg, char *why) {
    const char *old = cfg->ciphers_tls12 ? cfg->ciphers_tls12 : CIPHERS_12, *new = cfg->ciphers_tls13 ? cfg->ciphers_tls13 : CIPHERS_13;
    if (SSL_CTX_set_cipher_list(ctx, old) != 1) return tls_cert_why(why, old);
    if (SSL_CTX_set_ciphersuites(ctx, new) != 1) return tls_cert_why(why, new);
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *x = sk_SSL_CIPHER_value(all, i);
        int kx = SSL_CIPHER_get_kx_nid(x);
        if (SSL_CIPHER_is_aead(x) && (kx == NID_kx_ecdhe || kx == NID_kx_any)) continue;
        (void)snprintf(why, TLS_ERR_MAX, "%s: only ECDHE with AEAD is allowed", SSL_CIPHER_get_name(x));
        return ERR_TLS;
    }
    return ERR_OK;
}

static err make_ctx(tls_server *s, const tls_server_cfg *cfg, size_t i, char *why) {
    SSL_CTX *ctx = s->ctx[i] = SSL_CTX_new(cfg->ca_path ? TLS_method() : TLS_server_method());
    if (!ctx) return tls_cert_why(why, "SSL_CTX_new");
    SSL_CTX_set_app_data(ctx, s);
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets are the client's memory, not ours */
    SSL_CTX_set_timeout(ctx, TICKET_ROTATE_SEC);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 && SSL_CTX_set_num_tickets(ctx, TICKETS_SENT) == 1 &&
              SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
              SSL_CTX_set_session_id_context(ctx, (const unsigned char *)SESSION_CONTEXT, sizeof SESSION_CONTEXT - 1) == 1 &&
              SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
    if (!ok) return tls_cert_why(why, "TLS settings");
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, s);
    if (s->alpn) SSL_CTX_set_alpn_select_cb(ctx, on_alpn, s);
    err e = set_ciphers(ctx, cfg, why);
    if (!e) e = load(ctx, &cfg->ids[i], why);
    if (!e && cfg->ca_path) e = readable(cfg->ca_path, why);
    if (!e && cfg->ca_path && cfg->crl_path) e = readable(cfg->crl_path, why);
    return !e && cfg->ca_path ? tls_peer_require(ctx, cfg, why) : e;
}

static void server_free(tls_server *s) {
    for (size_t i = 0; i < s->n; i++) {
        SSL_CTX_free(s->ctx[i]);
        mem_free(s->domain[i]);
    }
    mem_free(s->ctx);
    mem_free(s->domain);
    mem_free(s->alpn);
    mem_free(s);
}

static err server_new(tls *t, const tls_server_cfg *cfg, tls_server **out, char *why) {
    why[0] = 0;
    if (cfg->n_ids == 0 || (cfg->ca_path && cfg->n_ids > 1) || (cfg->alpn && (!cfg->alpn[0] || strlen(cfg->alpn) > UINT8_MAX))) {
        (void)snprintf(why, TLS_ERR_MAX, "a TLS server needs a certificate, one among peers, and ALPN names have 1 to 255 bytes");
        return ERR_INVALID;
    }
    ERR_clear_error();
    tls_server *s = mem_zalloc(sizeof *s);
    s->t = t->self;
    s->n = cfg->n_ids;
    s->peers = cfg->ca_path != NULL;
    s->ctx = mem_zalloc(s->n * sizeof *s->ctx);
    s->domain = mem_zalloc(s->n * sizeof *s->domain);
    if (cfg->alpn) s->alpn = slice_dup_str(slice_str(cfg->alpn));
    atomic_init(&s->refs, 1);
    for (size_t i = 0; i < s->n; i++) {
        s->domain[i] = slice_dup_str(slice_str(cfg->ids[i].domain));
        err e = make_ctx(s, cfg, i, why);
        if (!e) continue;
        server_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

static tls_server *server_ref(tls_server *s) {
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}
static void server_unref(tls_server *s) {
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) server_free(s);
}

static void fingerprint(tls_server *s, size_t i, uint8_t out[32]) {
    unsigned len = 32;
    if (i >= s->n || X509_digest(SSL_CTX_get0_certificate(s->ctx[i]), EVP_sha256(), out, &len) != 1) panic("no certificate %zu", i);
}

/* --- connections ----------------------------------------------------------------------------------------------------------------- */
static tls_conn *conn_new(tls_server *s) {
    tls_conn *c = mem_zalloc(sizeof *c);
    c->s = server_ref(s);
    buf_init(&c->early, SIZE_MAX); /* bounded by what one call brings */
    c->ssl = SSL_new(s->ctx[0]);
    BIO *b = BIO_new(s->t->bio);
    if (!c->ssl || !b) panic("OpenSSL is out of memory");
    BIO_set_data(b, c);
    BIO_set_init(b, 1);
    SSL_set_bio(c->ssl, b, b);
    SSL_set_accept_state(c->ssl);
    return c;
}

static tls_conn *conn_dial(tls_server *s, const char *peer) {
    if (!s->peers) panic("only peers dial");
    tls_conn *c = conn_new(s);
    tls_peer_expect(c->ssl, peer);
    return c;
}

static void conn_free(tls_conn *c) {
    if (!c) return;
    SSL_free(c->ssl);
    buf_fini(&c->early);
    server_unref(c->s);
    mem_free(c->why);
    mem_free(c);
}

static void begin(tls_conn *c, slice in, buf *out) {
    ERR_clear_error();
    c->in = in;
    c->out = out;
}
static void end(tls_conn *c) {
    c->in = SLICE_NULL;
    c->out = NULL;
}

static void explain(tls_conn *c, const char *what) {
    int reason = ERR_GET_REASON(ERR_peek_error());
    long judged = SSL_get_verify_result(c->ssl);
    (void)tls_cert_why(c->why, what); /* files play no part here: it is always ERR_TLS */
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST)
        (void)snprintf(c->why, TLS_ERR_MAX, "%s: what came is not TLS", what);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && judged != X509_V_OK)
        (void)snprintf(c->why, TLS_ERR_MAX, "%s: the certificate is not taken: %s", what, X509_verify_cert_error_string(judged));
}

/* What a call that did not succeed means. OK: it wants more input. */
static err outcome(tls_conn *c, int rc, const char *what) {
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_NONE:
    case SSL_ERROR_WANT_READ: return ERR_OK;
    case SSL_ERROR_ZERO_RETURN: return ERR_EOF;
    default: break;
    }
    if (c->out && !buf_ok(c->out)) return ERR_LIMIT;
    if (!c->why) c->why = mem_alloc(TLS_ERR_MAX);
    explain(c, what);
    return ERR_TLS;
}

static err conn_handshake(tls_conn *c, slice in, buf *out, bool *out_done) {
    begin(c, in, out);
    int rc = SSL_do_handshake(c->ssl);
    err e = rc == 1 ? ERR_OK : outcome(c, rc, "handshake");
    if (!e && rc == 1 && c->in.len > 0) buf_add(&c->early, c->in);
    end(c);
    if (e == ERR_EOF) e = ERR_TLS; /* close_notify before the handshake is complete */
    if (!e) *out_done = rc == 1;
    return e;
}

static err read_all(tls_conn *c, buf *plain) {
    for (;;) {
        uint8_t *p = buf_reserve(plain, READ_CHUNK);
        if (!p) return ERR_LIMIT;
        size_t n = 0;
        int rc = SSL_read_ex(c->ssl, p, READ_CHUNK, &n);
        if (rc != 1) return outcome(c, rc, "read");
        buf_added(plain, n);
    }
}

static err conn_read(tls_conn *c, slice in, buf *plain, buf *out) {
    err e = ERR_OK;
    if (UNLIKELY(c->early.len > 0)) {
        begin(c, buf_slice(&c->early), out);
        e = read_all(c, plain);
        end(c);
        buf_fini(&c->early);
    }
    if (e) return e;
    begin(c, in, out);
    e = read_all(c, plain);
    end(c);
    return e;
}

static err conn_write(tls_conn *c, slice plain, buf *out) {
    err e = ERR_OK;
    begin(c, SLICE_NULL, out);
    while (plain.len > 0 && !e) {
        size_t n = 0;
        int rc = SSL_write_ex(c->ssl, plain.p, plain.len, &n);
        if (rc == 1)
            plain = slice_from(plain, n);
        else if (!(e = outcome(c, rc, "write")))
            e = ERR_TLS; /* wants input: a handshake is not complete */
    }
    end(c);
    return e;
}

static void conn_close(tls_conn *c, buf *out) {
    if (!SSL_is_init_finished(c->ssl)) return; /* there is nobody to say goodbye to under this protocol */
    begin(c, SLICE_NULL, out);
    (void)SSL_shutdown(c->ssl); /* 0: sent, the peer's has not come, and nobody waits for it */
    ERR_clear_error();
    end(c);
}

/* RFC 9266. For TLS 1.2 the exporter depends on the whole handshake only with an extended master secret (RFC 7627). No context rather than
 * an empty one: the same thing in TLS 1.3, and what GnuTLS and the other servers do in 1.2. */
static err binding_exporter(tls_conn *c, buf *out) {
    static const char label[] = "EXPORTER-Channel-Binding";
    if (SSL_version(c->ssl) < TLS1_3_VERSION && SSL_get_extms_support(c->ssl) != 1) return ERR_UNSUPPORTED;
    unsigned char ekm[EKM_LEN];
    if (SSL_export_keying_material(c->ssl, ekm, sizeof ekm, label, sizeof label - 1, NULL, 0, 0) != 1) return ERR_UNSUPPORTED;
    buf_add(out, slice_of(ekm, sizeof ekm));
    mem_wipe(ekm, sizeof ekm);
    return ERR_OK;
}

/* RFC 5929 section 4.1: the hash of the certificate's signature; SHA-256 instead of MD5 and SHA-1; undefined where there is no one hash. */
static err binding_end_point(tls_conn *c, buf *out) {
    X509 *x = SSL_get_certificate(c->ssl);
    int nid = NID_undef;
    if (!x || X509_get_signature_info(x, &nid, NULL, NULL, NULL) != 1 || nid == NID_undef) return ERR_UNSUPPORTED;
    if (nid == NID_md5 || nid == NID_sha1) nid = NID_sha256;
    const EVP_MD *md = EVP_get_digestbynid(nid);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!md || X509_digest(x, md, hash, &len) != 1) return ERR_UNSUPPORTED;
    buf_add(out, slice_of(hash, len));
    return ERR_OK;
}

/* RFC 5929 section 3: the first Finished message. RFC 9266 leaves it undefined for TLS 1.3; libraries in the field (Python's ssl, and so
 * slixmpp) take the client's Finished there, or the server's when the session was resumed, and so do we (docs/decisions/0004). */
static err binding_unique(tls_conn *c, buf *out) {
    if (SSL_version(c->ssl) < TLS1_3_VERSION && SSL_get_extms_support(c->ssl) != 1) return ERR_UNSUPPORTED;
    unsigned char finished[EVP_MAX_MD_SIZE];
    size_t len = SSL_session_reused(c->ssl) ? SSL_get_finished(c->ssl, finished, sizeof finished)
                                            : SSL_get_peer_finished(c->ssl, finished, sizeof finished);
    if (len == 0 || len > sizeof finished) return ERR_UNSUPPORTED;
    buf_add(out, slice_of(finished, len));
    mem_wipe(finished, sizeof finished);
    return ERR_OK;
}

static err conn_binding(tls_conn *c, tls_binding kind, buf *out) {
    if (!SSL_is_init_finished(c->ssl)) return ERR_UNSUPPORTED;
    ERR_clear_error();
    err e = ERR_UNSUPPORTED;
    switch (kind) {
    case TLS_BINDING_EXPORTER: e = binding_exporter(c, out); break;
    case TLS_BINDING_SERVER_END_POINT: e = binding_end_point(c, out); break;
    case TLS_BINDING_UNIQUE: e = binding_unique(c, out); break;
    }
    ERR_clear_error();
    return e;
}

static void conn_info(tls_conn *c, tls_info *out) {
    *out = (tls_info){.version = SSL_get_version(c->ssl),
                      .cipher = SSL_get_cipher_name(c->ssl),
                      .resumed = SSL_session_reused(c->ssl) == 1,
                      .why = c->why ? c->why : ""};
}

static bool conn_names(tls_conn *c, const char *host) {
    return SSL_is_init_finished(c->ssl) && SSL_get_verify_result(c->ssl) == X509_V_OK &&
           tls_peer_names(SSL_get0_peer_certificate(c->ssl), host);
}

/* --- making ---------------------------------------------------------------------------------------------------------------------- */
err tls_openssl_new(tls **out) {
    tls_openssl *t = mem_zalloc(sizeof *t);
    t->bio = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "murre"); /* no index of its own: a process has only 127 of those */
    if (!t->bio || !BIO_meth_set_read_ex(t->bio, bio_read) || !BIO_meth_set_write_ex(t->bio, bio_write) ||
        !BIO_meth_set_ctrl(t->bio, bio_ctrl)) {
        BIO_meth_free(t->bio);
        mem_free(t);
        ERR_clear_error();
        return ERR_TLS;
    }
    lock_set_init(&t->locks);
    lock_init(&t->lock, &t->locks, "tickets", 0, LOCK_RANK_TLS);
    t->base = (tls){.self = t,
                    .server_new = server_new,
                    .server_ref = server_ref,
                    .server_unref = server_unref,
                    .fingerprint = fingerprint,
                    .make_self_signed = tls_cert_make_self_signed,
                    .conn_new = conn_new,
                    .conn_dial = conn_dial,
                    .conn_free = conn_free,
                    .conn_handshake = conn_handshake,
                    .conn_read = conn_read,
                    .conn_write = conn_write,
                    .conn_close = conn_close,
                    .conn_binding = conn_binding,
                    .conn_info = conn_info,
                    .conn_names = conn_names};
    *out = &t->base;
    return ERR_OK;
}

void tls_openssl_free(tls *t) {
    if (!t) return;
    tls_openssl *o = t->self;
    BIO_meth_free(o->bio);
    lock_fini(&o->lock);
    lock_set_fini(&o->locks);
    mem_wipe(o->key, sizeof o->key);
    mem_free(o);
}
