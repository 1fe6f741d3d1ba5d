/* scram: see scram.h. RFC 5802 section 3, without channel binding ("n,,"). */
#include "scram.h"

#include "base/codec.h"
#include "base/mem.h"

#define MESSAGE_MAX    4096u
#define ITERATIONS_MAX 1000000u

struct scram {
    digest_alg alg;
    buf bare;    /* client-first-message-bare, then the rest of AuthMessage */
    slice nonce; /* inside bare */
    uint8_t server_signature[DIGEST_MAX];
};

void scram_cache_fini(scram_cache *c) {
    mem_free(c->e);
    *c = (scram_cache){0};
}

scram *scram_new(digest_alg alg, slice user, slice nonce) {
    scram *s = mem_zalloc(sizeof *s);
    s->alg = alg;
    buf_init(&s->bare, MESSAGE_MAX);
    (void)buf_reserve(&s->bare, MESSAGE_MAX); /* so that nonce stays where it is */
    buf_addf(&s->bare, "n=" SLICE_FMT ",r=", SLICE_ARG(user));
    s->nonce = slice_of(s->bare.p + s->bare.len, nonce.len);
    buf_add(&s->bare, nonce);
    return s;
}

void scram_free(scram *s) {
    if (!s) return;
    buf_fini(&s->bare);
    mem_free(s);
}

void scram_first(scram *s, buf *out) {
    buf_add_str(out, "n,,");
    buf_add(out, buf_slice(&s->bare));
}

/* The value of attribute key at the front of *rest, which moves past it and its comma. */
static bool take(slice *rest, char key, slice *out) {
    if (rest->len < 2 || rest->p[0] != (uint8_t)key || rest->p[1] != '=') return false;
    size_t end = slice_find(*rest, ',');
    *out = slice_sub(*rest, 2, end - 2);
    *rest = slice_from(*rest, end + 1);
    return true;
}

static const uint8_t *salted_password(scram *s, slice password, slice salt, uint32_t iterations, scram_cache *cache, uint32_t user) {
    size_t had = cache->cap;
    mem_grow((void **)&cache->e, &cache->cap, (size_t)user + 1, sizeof *cache->e);
    if (cache->cap > had) memset(cache->e + had, 0, (cache->cap - had) * sizeof *cache->e);
    scram_entry *e = &cache->e[user];
    if (e->salt_len == 0 || e->iterations != iterations || !slice_eq(slice_of(e->salt, e->salt_len), salt)) {
        digest_pbkdf2(s->alg, password, salt, iterations, e->salted);
        memcpy(e->salt, salt.p, salt.len);
        e->salt_len = (uint32_t)salt.len;
        e->iterations = iterations;
    }
    return e->salted;
}

err scram_final(scram *s, slice msg, slice password, scram_cache *cache, uint32_t user, buf *out) {
    slice rest = msg, nonce, salt64, count;
    uint64_t iterations;
    if (!take(&rest, 'r', &nonce) || !take(&rest, 's', &salt64) || !take(&rest, 'i', &count) || !slice_starts(nonce, s->nonce) ||
        dec_parse_u64(count, ITERATIONS_MAX, &iterations) != ERR_OK)
        return ERR_PROTO;
    buf salt;
    buf_init(&salt, sizeof cache->e->salt);
    if (base64_decode(&salt, salt64) != ERR_OK || salt.len == 0) {
        buf_fini(&salt);
        return ERR_PROTO;
    }
    size_t n = digest_len(s->alg);
    slice salted = slice_of(salted_password(s, password, buf_slice(&salt), (uint32_t)iterations, cache, user), n);
    buf_fini(&salt);
    uint8_t client_key[DIGEST_MAX], stored_key[DIGEST_MAX], server_key[DIGEST_MAX], signature[DIGEST_MAX];
    digest_hmac(s->alg, salted, SLICE("Client Key"), client_key);
    digest_hmac(s->alg, salted, SLICE("Server Key"), server_key);
    digest_sum(s->alg, slice_of(client_key, n), stored_key);
    buf_addf(&s->bare, "," SLICE_FMT ",c=biws,r=" SLICE_FMT, SLICE_ARG(msg), SLICE_ARG(nonce));
    digest_hmac(s->alg, slice_of(stored_key, n), buf_slice(&s->bare), signature);
    digest_hmac(s->alg, slice_of(server_key, n), buf_slice(&s->bare), s->server_signature);
    for (size_t i = 0; i < n; i++) client_key[i] ^= signature[i];
    buf_addf(out, "c=biws,r=" SLICE_FMT ",p=", SLICE_ARG(nonce));
    base64_encode(out, slice_of(client_key, n));
    return buf_ok(&s->bare) && buf_ok(out) ? ERR_OK : ERR_PROTO;
}

err scram_verify(scram *s, slice msg) {
    buf want;
    buf_init(&want, 256);
    buf_add_str(&want, "v=");
    base64_encode(&want, slice_of(s->server_signature, digest_len(s->alg)));
    bool fits = slice_starts(msg, buf_slice(&want));
    buf_fini(&want);
    return fits ? ERR_OK : ERR_AUTH;
}
