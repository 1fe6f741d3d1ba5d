/* scram_common: what an account stores for SCRAM (RFC 5802 section 3), and what stands in for an account that does not exist.
 *
 * What: password -> keys, password against keys, user -> fake keys. Why fake keys: a stranger must not learn which accounts exist. An
 * unknown user gets the same salt on every try, of the same length and with the same iterations as a new account, the exchange takes the
 * same steps and fails at the same one: nobody has a ClientKey whose hash is the output of an HMAC under a secret.
 *
 * Invariants: (1) nothing derived from a password leaves here except StoredKey and ServerKey; the rest is wiped. (2) a comparison with a
 * secret takes the same time whatever the bytes. (3) each field of fake keys is its own function of (secret, algorithm, user). */
#include "base/mem.h"
#include "proto/xmpp/scram_wire.h"

void xmpp_scram_derive(digest_alg alg, slice password, slice salt, uint32_t iterations, xmpp_scram_keys *out) {
    if (salt.len == 0 || salt.len > SCRAM_SALT_MAX || iterations == 0)
        panic("scram: a salt of %zu bytes, %u iterations", salt.len, iterations);
    uint8_t salted[SCRAM_KEY_MAX];
    *out = (xmpp_scram_keys){.alg = alg, .iterations = iterations, .salt_len = (uint8_t)salt.len};
    memcpy(out->salt, salt.p, salt.len);
    digest_pbkdf2(alg, password, salt, iterations, salted);
    xmpp_scram_keys_of(alg, salted, NULL, out->stored_key, out->server_key);
    mem_wipe(salted, sizeof salted);
}

bool xmpp_scram_verify_password(const xmpp_scram_keys *k, slice password) {
    if (!check(k->salt_len > 0 && k->salt_len <= SCRAM_SALT_MAX && k->iterations > 0)) return false;
    xmpp_scram_keys fresh;
    xmpp_scram_derive(k->alg, password, slice_of(k->salt, k->salt_len), k->iterations, &fresh);
    bool same = slice_eq_ct(slice_of(fresh.stored_key, digest_len(k->alg)), slice_of(k->stored_key, digest_len(k->alg)));
    mem_wipe(&fresh, sizeof fresh);
    return same;
}

/* HMAC(secret, label | algorithm | 0 | user), as long as the algorithm's digest. */
static void fake_field(digest_alg alg, slice secret, const char *label, slice user, uint8_t *out) {
    buf in;
    buf_init(&in, user.len + 64);
    buf_add_str(&in, label);
    buf_addf(&in, "%zu", digest_len(alg));
    buf_add_byte(&in, 0);
    buf_add(&in, user);
    digest_hmac(alg, secret, buf_slice(&in), out);
    buf_fini(&in);
}

void xmpp_scram_fake(digest_alg alg, slice secret, slice user, uint32_t iterations, xmpp_scram_keys *out) {
    uint8_t salt[SCRAM_KEY_MAX];
    *out = (xmpp_scram_keys){.alg = alg, .iterations = iterations, .salt_len = SCRAM_SALT_LEN};
    fake_field(alg, secret, "salt", user, salt);
    memcpy(out->salt, salt, SCRAM_SALT_LEN);
    fake_field(alg, secret, "stored", user, out->stored_key);
    fake_field(alg, secret, "server", user, out->server_key);
}
