#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
/* digest: hashes through OpenSSL (this file and rt/tls_openssl.c are the only callers), and CRC-32C for stored records. */
#include "base/slice.h"

/* MD5 is broken as a hash; it is here for the handshake of Erlang nodes, which knows no other (erl_dist_protocol). */
typedef enum digest_alg { DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_MD5 } digest_alg;
#define DIGEST_MAX 64

size_t digest_len(digest_alg alg); /* 20, 32, 48, 64, 16 */
void digest_sum(digest_alg alg, slice in, uint8_t *out);
void digest_hmac(digest_alg alg, slice key, slice in, uint8_t *out);
/* PBKDF2-HMAC (RFC 8018); out has digest_len(alg) bytes. About 0.25 us an iteration: never on a shard. */
void digest_pbkdf2(digest_alg alg, slice password, slice salt, uint32_t iterations, uint8_t *out);
/* CRC-32C (Castagnoli), hardware where the CPU has it. crc is 0 to start, or the result so far. */
uint32_t digest_crc32c(uint32_t crc, slice in);

#endif
