#ifndef SIM_SCRAM_H
#define SIM_SCRAM_H
/* scram: the client's side of SCRAM (RFC 5802, RFC 7677) for simulated clients: written apart from proto/xmpp/scram, so that the two check
 * each other, and with the salted password remembered, so that a thousand logins cost one PBKDF2. */
#include "base/buf.h"
#include "base/digest.h"

#define SIM_SCRAM_TEXT 1024u
typedef struct sim_salted { /* of one account and hash; all zero: not known */
    uint8_t salt[64];
    size_t salt_len;
    uint32_t iterations;
    uint8_t key[DIGEST_MAX];
} sim_salted;

typedef struct sim_scram {
    digest_alg alg;
    char gs2[32];   /* "n,," or "p=tls-exporter,," */
    uint8_t cb[32]; /* channel binding; used when gs2 is p= */
    char nonce[40];
    char bare[256];                /* client-first-message-bare */
    uint8_t signature[DIGEST_MAX]; /* what the server must prove */
} sim_scram;

/* cb NULL: without channel binding. user must need no escaping. */
void sim_scram_first(sim_scram *s, digest_alg alg, const char *user, uint64_t nonce, const uint8_t cb[32], buf *out);
NODISCARD err sim_scram_final(sim_scram *s, sim_salted *cache, const char *password, slice server_first, buf *out);
NODISCARD err sim_scram_verify(const sim_scram *s, slice server_final);

#endif
