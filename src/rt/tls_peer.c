/* tls_peer: certificates among peers.
 *
 * Everybody judges everybody by the same rule, so the own certificate is held against it when it is loaded: a node that nobody would talk
 * to says so at its start, and not in the logs of all the others.
 *
 * Invariants: (1) a name counts only as subjectAltName, whole: no wildcards, no common names. (2) Whoever shows no certificate gets no
 * connection. (3) A session is never resumed: a certificate that has expired or was revoked since, or an authority that was taken out of
 * the file, counts from the next connection on. */
#include "rt/tls_peer.h"

#include "rt/tls_cert.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define NAME_FLAGS (X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS)

static bool is_ip(const char *host) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    return ip != NULL;
}

bool tls_peer_names(X509 *x, const char *host) {
    if (!x || !host[0]) return false;
    bool named = is_ip(host) ? X509_check_ip_asc(x, host, 0) == 1 : X509_check_host(x, host, 0, NAME_FLAGS, NULL) == 1;
    ERR_clear_error();
    return named;
}

/* As a peer would judge it: once as that of a server, once as that of a client. */
static int judge(SSL_CTX *ctx, int purpose) {
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = NULL;
    int result = X509_V_ERR_OUT_OF_MEM;
    (void)SSL_CTX_get0_chain_certs(ctx, &chain);
    if (v && X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(ctx), SSL_CTX_get0_certificate(ctx), chain) == 1 &&
        X509_STORE_CTX_set_purpose(v, purpose) == 1)
        result = X509_verify_cert(v) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(v);
    X509_STORE_CTX_free(v);
    ERR_clear_error();
    return result;
}

static err own(SSL_CTX *ctx, const tls_identity *id, const char *ca_path, char *why) {
    int result = judge(ctx, X509_PURPOSE_SSL_SERVER);
    if (result == X509_V_OK) result = judge(ctx, X509_PURPOSE_SSL_CLIENT);
    if (result != X509_V_OK) {
        (void)snprintf(why, TLS_ERR_MAX, "peers with %s would not take the certificate in %s: %s", ca_path, id->cert_path,
                       X509_verify_cert_error_string(result)); /* cut if long */
        return ERR_TLS;
    }
    if (tls_peer_names(SSL_CTX_get0_certificate(ctx), id->domain)) return ERR_OK;
    (void)snprintf(why, TLS_ERR_MAX, "the certificate in %s does not name %s as subjectAltName", id->cert_path, id->domain);
    return ERR_TLS;
}

static err revoke(SSL_CTX *ctx, const char *path, char *why) {
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_LOOKUP *file = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!file || X509_load_crl_file(file, path, X509_FILETYPE_PEM) < 1) return tls_cert_why(why, path);
    return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1 ? ERR_OK : tls_cert_why(why, path);
}

err tls_peer_require(SSL_CTX *ctx, const tls_server_cfg *cfg, char *why) {
    if (SSL_CTX_load_verify_file(ctx, cfg->ca_path) != 1) return tls_cert_why(why, cfg->ca_path);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(cfg->ca_path);
    if (!names) return tls_cert_why(why, cfg->ca_path);
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN); /* what is shown is what the file has */
    if (SSL_CTX_set_num_tickets(ctx, 0) != 1) return tls_cert_why(why, "TLS settings");
    err e = cfg->crl_path ? revoke(ctx, cfg->crl_path, why) : ERR_OK;
    return e ? e : own(ctx, &cfg->ids[0], cfg->ca_path, why);
}

/* SSL_set_tlsext_host_name, whose macro casts a const away; it copies the name. */
static bool announce(SSL *ssl, const char *name) {
    union {
        const char *c;
        void *p;
    } host = {name};
    return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.p) == 1;
}

void tls_peer_expect(SSL *ssl, const char *peer) {
    SSL_set_connect_state(ssl);
    SSL_set_hostflags(ssl, NAME_FLAGS);
    bool ip = is_ip(peer);
    X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
    bool ok = ip ? X509_VERIFY_PARAM_set1_ip_asc(p, peer) == 1 : SSL_set1_host(ssl, peer) == 1 && announce(ssl, peer);
    if (!ok) panic("OpenSSL is out of memory");
}
