#ifndef RT_TLS_CERT_H
#define RT_TLS_CERT_H
/* tls_cert: certificates of our own making, and texts of OpenSSL's errors; private to rt/tls_*.c. */
#include "rt/tls.h"

/* As tls.make_self_signed. */
err tls_cert_make_self_signed(tls *t, const char *domain, int days, const char *cert_path, const char *key_path, char *why);
/* Writes "what: the oldest error in OpenSSL's queue" into why (TLS_ERR_MAX bytes; NULL: nowhere), empties the queue, and says which err
 * that is: NOT_FOUND, PERM, or TLS. */
err tls_cert_why(char *why, const char *what);

#endif
