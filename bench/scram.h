#ifndef BENCH_SCRAM_H
#define BENCH_SCRAM_H
/* scram: the client's side of SCRAM with the salted password remembered per user, as real clients do. Without that, PBKDF2 in the load
 * generator would be what "logins per second" measures: murre's own client (proto/xmpp/scram.h) derives anew each time. */
#include "base/buf.h"
#include "base/digest.h"

typedef struct scram_entry {
    uint8_t salted[DIGEST_MAX];
    uint8_t salt[64];
    uint32_t salt_len; /* 0: nothing remembered */
    uint32_t iterations;
} scram_entry;
typedef struct scram_cache {
    scram_entry *e;
    size_t cap;
} scram_cache;
void scram_cache_fini(scram_cache *c);

typedef struct scram scram;
scram *scram_new(digest_alg alg, slice user, slice nonce);
void scram_free(scram *s);
void scram_first(scram *s, buf *out);
/* Server-first in, client-final out. ERR_PROTO if it is not one for our nonce. */
NODISCARD err scram_final(scram *s, slice msg, slice password, scram_cache *cache, uint32_t user, buf *out);
NODISCARD err scram_verify(scram *s, slice msg);

#endif
