#ifndef RT_TLS_PEER_H
#define RT_TLS_PEER_H
/* tls_peer: what is different between peers: both show a certificate, and who signed it counts. */
#include "rt/tls.h"

#include <openssl/ssl.h>

/* ctx, which has the own certificate, asks for the other side's, and takes one that an authority in cfg->ca_path signed. ERR_PERM,
 * ERR_NOT_FOUND, ERR_TLS: why (TLS_ERR_MAX bytes) says which file is not good for that and why; the own certificate is judged too. */
NODISCARD err tls_peer_require(SSL_CTX *ctx, const tls_server_cfg *cfg, char *why);
/* A connection on the dialling side: its handshake fails unless the other side's certificate names peer. */
void tls_peer_expect(SSL *ssl, const char *peer);
bool tls_peer_names(X509 *x, const char *host); /* x may be NULL */

#endif
