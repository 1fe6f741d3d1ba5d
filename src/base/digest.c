/* digest: hashes, HMAC and PBKDF2 through OpenSSL.
 *
 * Why a layer of its own: nobody else learns OpenSSL's types, and its failures (out of memory, an algorithm switched off by a policy of the
 * machine) are of one kind: the node cannot authenticate anybody. That is panic(), not an error that ten callers forget.
 *
 * Invariants: (1) out is written completely or the process ends. (2) No context outlives a call. (3) NULL never reaches OpenSSL as a key or
 * a password: for it, that is another thing than an empty one. */
#include "base/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

_Static_assert(DIGEST_MAX == 64, "SHA-512 is the longest");

static const EVP_MD *md_of(digest_alg alg) {
    switch (alg) {
    case DIGEST_MD5: return EVP_md5();
    case DIGEST_SHA1: return EVP_sha1();
    case DIGEST_SHA256: return EVP_sha256();
    case DIGEST_SHA384: return EVP_sha384();
    case DIGEST_SHA512: return EVP_sha512();
    }
    panic("no digest algorithm %d", (int)alg);
}

size_t digest_len(digest_alg alg) {
    switch (alg) {
    case DIGEST_MD5: return 16;
    case DIGEST_SHA1: return 20;
    case DIGEST_SHA256: return 32;
    case DIGEST_SHA384: return 48;
    case DIGEST_SHA512: return 64;
    }
    panic("no digest algorithm %d", (int)alg);
}

static const uint8_t *not_null(slice s) {
    static const uint8_t nothing[1];
    return s.p ? s.p : nothing;
}

/* OpenSSL counts some lengths in int. */
static int int_len(slice s) {
    if (s.len > INT_MAX) panic("%zu bytes are too many for OpenSSL", s.len);
    return (int)s.len;
}

void digest_sum(digest_alg alg, slice in, uint8_t *out) {
    if (EVP_Digest(not_null(in), in.len, out, NULL, md_of(alg), NULL) != 1)
        panic("OpenSSL refused a digest (%d), as it does when it is out of memory", (int)alg);
}

void digest_hmac(digest_alg alg, slice key, slice in, uint8_t *out) {
    if (!HMAC(md_of(alg), not_null(key), int_len(key), not_null(in), in.len, out, NULL))
        panic("OpenSSL refused an HMAC (%d), as it does when it is out of memory", (int)alg);
}

void digest_pbkdf2(digest_alg alg, slice password, slice salt, uint32_t iterations, uint8_t *out) {
    if (iterations == 0 || iterations > INT_MAX) panic("PBKDF2 with %u iterations", iterations);
    if (PKCS5_PBKDF2_HMAC((const char *)not_null(password), int_len(password), not_null(salt), int_len(salt), (int)iterations, md_of(alg),
                          (int)digest_len(alg), out) != 1)
        panic("OpenSSL refused PBKDF2 (%d), as it does when it is out of memory", (int)alg);
}
