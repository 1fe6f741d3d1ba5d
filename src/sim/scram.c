/* scram: three messages; see RFC 5802 section 3 for the formulas, which are spelled out below in its names. */
#include "sim/scram.h"

#include "base/codec.h"

#include <stdio.h>

void sim_scram_first(sim_scram *s, digest_alg alg, const char *user, uint64_t nonce, const uint8_t cb[32], buf *out) {
    memset(s, 0, sizeof *s);
    s->alg = alg;
    memcpy(s->gs2, cb ? "p=tls-exporter,," : "n,,", cb ? 17 : 4);
    if (cb) memcpy(s->cb, cb, sizeof s->cb);
    (void)snprintf(s->nonce, sizeof s->nonce, "sim%016llx%016llx", (unsigned long long)nonce, (unsigned long long)~nonce); /* 35 bytes */
    (void)snprintf(s->bare, sizeof s->bare, "n=%s,r=%s", user, s->nonce); /* user names of the simulator are short */
    buf_add_str(out, s->gs2);
    buf_add_str(out, s->bare);
}

/* The value of "x=..." at the front of *rest, up to the comma. */
static bool attr(slice *rest, char name, slice *out) {
    if (rest->len < 2 || rest->p[0] != (uint8_t)name || rest->p[1] != '=') return false;
    size_t end = slice_find(*rest, ',');
    *out = slice_sub(*rest, 2, end - 2);
    *rest = slice_from(*rest, end < rest->len ? end + 1 : end);
    return true;
}

static const sim_salted *salted(sim_scram *s, sim_salted *c, const char *password, slice salt, uint32_t iterations) {
    if (c->iterations == iterations && slice_eq(slice_of(c->salt, c->salt_len), salt)) return c;
    memcpy(c->salt, salt.p, salt.len);
    c->salt_len = salt.len;
    c->iterations = iterations;
    digest_pbkdf2(s->alg, slice_str(password), salt, iterations, c->key);
    return c;
}

err sim_scram_final(sim_scram *s, sim_salted *cache, const char *password, slice server_first, buf *out) {
    slice rest = server_first, r, salt64, iter;
    uint64_t iterations;
    if (!attr(&rest, 'r', &r) || !attr(&rest, 's', &salt64) || !attr(&rest, 'i', &iter)) return ERR_PROTO;
    if (!slice_starts(r, slice_str(s->nonce)) || r.len == strlen(s->nonce)) return ERR_PROTO;
    if (dec_parse_u64(iter, 10000000, &iterations)) return ERR_PROTO;
    buf salt, cb, auth;
    buf_init(&salt, sizeof cache->salt);
    err e = base64_decode(&salt, salt64);
    if (e || !buf_ok(&salt)) {
        buf_fini(&salt);
        return ERR_PROTO;
    }
    size_t n = digest_len(s->alg);
    slice salted_password = slice_of(salted(s, cache, password, buf_slice(&salt), (uint32_t)iterations)->key, n);
    buf_fini(&salt);

    buf_init(&cb, SIM_SCRAM_TEXT);
    buf_add_str(&cb, s->gs2);
    if (s->gs2[0] == 'p') buf_add(&cb, slice_of(s->cb, sizeof s->cb));
    size_t start = out->len;
    buf_add_str(out, "c=");
    base64_encode(out, buf_slice(&cb));
    buf_add_str(out, ",r=");
    buf_add(out, r);
    buf_fini(&cb);

    buf_init(&auth, 4 * SIM_SCRAM_TEXT); /* AuthMessage := client-first-message-bare "," server-first-message "," without-proof */
    buf_add_str(&auth, s->bare);
    buf_add_byte(&auth, ',');
    buf_add(&auth, server_first);
    buf_add_byte(&auth, ',');
    buf_add(&auth, slice_from(buf_slice(out), start));

    uint8_t client_key[DIGEST_MAX], stored_key[DIGEST_MAX], proof[DIGEST_MAX], server_key[DIGEST_MAX];
    digest_hmac(s->alg, salted_password, SLICE("Client Key"), client_key);
    digest_sum(s->alg, slice_of(client_key, n), stored_key);
    digest_hmac(s->alg, slice_of(stored_key, n), buf_slice(&auth), proof); /* ClientSignature */
    for (size_t i = 0; i < n; i++) proof[i] ^= client_key[i];
    digest_hmac(s->alg, salted_password, SLICE("Server Key"), server_key);
    digest_hmac(s->alg, slice_of(server_key, n), buf_slice(&auth), s->signature);
    buf_fini(&auth);
    buf_add_str(out, ",p=");
    base64_encode(out, slice_of(proof, n));
    return buf_ok(out) ? ERR_OK : ERR_LIMIT;
}

err sim_scram_verify(const sim_scram *s, slice server_final) {
    slice rest = server_final, v;
    if (!attr(&rest, 'v', &v)) return ERR_PROTO;
    buf got;
    buf_init(&got, DIGEST_MAX);
    err e = base64_decode(&got, v);
    if (!e && !slice_eq(buf_slice(&got), slice_of(s->signature, digest_len(s->alg)))) e = ERR_AUTH;
    buf_fini(&got);
    return e;
}
