/* hash: SipHash-1-3 (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012), with one round a word and three at the end,
 * and the 128-bit output of the authors' reference code. The same choice as Rust's and Ruby's hash tables: enough against chains that
 * a peer builds on purpose, at half the price of 2-4.
 *
 * Invariants: (1) The result depends on the key and the bytes only: not on the address, the alignment or the byte order of the machine.
 * (2) The last word holds the length modulo 256 in its top byte, so that no input is a prefix of another. */
#include "base/hash.h"

#include "base/load.h"

typedef struct sip {
    uint64_t v0, v1, v2, v3;
} sip;

static inline uint64_t rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void sip_round(sip *s) {
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(sip *s, uint64_t m) {
    s->v3 ^= m;
    sip_round(s);
    s->v0 ^= m;
}

static inline uint64_t sip_end(sip *s) {
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* "somepseudorandomlygeneratedbytes" with the key mixed in. */
static inline sip sip_start(const hash_key *k) {
    return (sip){k->k0 ^ UINT64_C(0x736f6d6570736575), k->k1 ^ UINT64_C(0x646f72616e646f6d), k->k0 ^ UINT64_C(0x6c7967656e657261),
                 k->k1 ^ UINT64_C(0x7465646279746573)};
}

static inline void sip_bytes(sip *h, slice s) {
    const uint8_t *p = s.p;
    size_t left = s.len;
    for (; left >= 8; left -= 8, p += 8) sip_word(h, load_u64le(p));
    uint64_t last = (uint64_t)s.len << 56;
    for (size_t i = 0; i < left; i++) last |= (uint64_t)p[i] << (8 * i);
    sip_word(h, last);
}

uint64_t hash_bytes(const hash_key *k, slice s) {
    sip h = sip_start(k);
    sip_bytes(&h, s);
    h.v2 ^= 0xff;
    return sip_end(&h);
}

void hash_bytes128(const hash_key *k, slice s, uint64_t out[2]) {
    sip h = sip_start(k);
    h.v1 ^= 0xee;
    sip_bytes(&h, s);
    h.v2 ^= 0xee;
    out[0] = sip_end(&h);
    h.v1 ^= 0xdd;
    out[1] = sip_end(&h);
}

uint64_t hash_u64(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}
