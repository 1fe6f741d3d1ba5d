#ifndef RT_TLS_H
#define RT_TLS_H
/* tls: the second, narrow seam. A connection is a machine over memory: bytes from the socket in, bytes for the socket out. Two
 * implementations: OpenSSL (tls_openssl.c) and the simulator's identity layer. A connection may be used from any thread, by one at a time:
 * handshake steps run as pool jobs.
 *
 * Two kinds of use. Clients are served: only the server shows a certificate. Peers are equals, with ca_path: both show one that a common
 * authority signed, both roles use the same, and a session is never resumed, so that every connection is checked.
 *
 * TLS 1.2 and 1.3 only, AEAD with ECDHE, no renegotiation, no compression, no early data (promises.md). An idle connection keeps no
 * record buffers. */
#include "base/buf.h"
#include "base/time.h"

typedef struct tls tls;
typedef struct tls_server tls_server; /* identities (one certificate per domain) and settings; shared, swapped whole on reload */
typedef struct tls_conn tls_conn;

typedef struct tls_identity {
    const char *domain;    /* served name, for SNI; the first identity is the default */
    const char *cert_path; /* PEM chain, leaf first */
    const char *key_path;  /* PEM, PKCS8 or traditional */
} tls_identity;
typedef struct tls_server_cfg {
    const tls_identity *ids;
    size_t n_ids;
    const char *alpn; /* selected when the client offers it; NULL: none. A client that offers ALPN without it is refused (XEP-0368) */
    const char *ciphers_tls12; /* OpenSSL list; NULL: default */
    const char *ciphers_tls13; /* NULL: default */
    /* PEM: among peers, whose certificates count; NULL: clients are served. With it there is one identity, whose certificate must be what a
     * peer would take: signed by one of these, in its time, usable in both roles, and with domain among its names. */
    const char *ca_path;
    /* PEM, among peers: lists of revoked certificates, of each authority that signs for a node. A certificate whose authority has none, or
     * one that is out of date, counts no more than a revoked one. NULL: nothing is revoked. */
    const char *crl_path;
} tls_server_cfg;

typedef enum tls_binding { TLS_BINDING_EXPORTER, TLS_BINDING_SERVER_END_POINT, TLS_BINDING_UNIQUE } tls_binding;
typedef struct tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;
    bool resumed;
    const char *why; /* after ERR_TLS: what went wrong, for the log; NULL or "" if nothing did; lives as long as the connection */
} tls_info;

#define TLS_ERR_MAX 256
struct tls {
    void *self;
    /* Loads everything or nothing; on failure why (TLS_ERR_MAX bytes) says which file and why: ERR_PERM, ERR_NOT_FOUND, ERR_TLS. */
    err (*server_new)(tls *t, const tls_server_cfg *cfg, tls_server **out, char *why);
    tls_server *(*server_ref)(tls_server *s);
    void (*server_unref)(tls_server *s);
    /* SHA-256 of the default (index 0) or i-th certificate, 32 bytes. */
    void (*fingerprint)(tls_server *s, size_t i, uint8_t out[32]);
    /* A self-signed ECDSA P-256 certificate for domain, valid for days; key PKCS8; both files 0600, made atomically. */
    err (*make_self_signed)(tls *t, const char *domain, int days, const char *cert_path, const char *key_path, char *why);

    tls_conn *(*conn_new)(tls_server *s); /* accepting side; takes its own reference to s */
    /* Dialling side, among peers only: the handshake fails unless the other side's certificate names peer (as conn_names). Its first step
     * is without input. */
    tls_conn *(*conn_dial)(tls_server *s, const char *peer);
    void (*conn_free)(tls_conn *c); /* NULL is fine */
    /* One handshake step: consumes all of in, appends what to send to out. ERR_OK with *out_done, or ERR_TLS (out may hold an alert). May
     * take milliseconds. Application bytes that came with the last flight are returned by the first conn_read. */
    err (*conn_handshake)(tls_conn *c, slice in, buf *out, bool *out_done);
    /* Decrypts: consumes all of in (a partial record is kept inside), appends plain text to plain and replies of the protocol to out. EOF:
     * close_notify came (plain may have grown). */
    err (*conn_read)(tls_conn *c, slice in, buf *plain, buf *out);
    err (*conn_write)(tls_conn *c, slice plain, buf *out);
    void (*conn_close)(tls_conn *c, buf *out);                    /* close_notify */
    err (*conn_binding)(tls_conn *c, tls_binding kind, buf *out); /* RFC 9266, RFC 5929; ERR_UNSUPPORTED */
    void (*conn_info)(tls_conn *c, tls_info *out);
    /* After the handshake: does the other side's certificate name this host, as dNSName or iPAddress (RFC 9525; no wildcards, no common
     * names)? False if it showed none. */
    bool (*conn_names)(tls_conn *c, const char *host);
};

NODISCARD err tls_openssl_new(tls **out);
void tls_openssl_free(tls *t);

#endif
