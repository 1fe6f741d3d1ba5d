/* prng: xoshiro256** (D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018), seeded through splitmix64 as its
 * authors advise, so that seeds 1 and 2 give unrelated streams.
 *
 * Invariants: (1) The same seed gives the same numbers on every machine and for ever: the simulator's seeds are committed. (2) The state is
 * never all zero. */
#include "base/prng.h"

__extension__ typedef unsigned __int128 u128;

static inline uint64_t rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static uint64_t splitmix(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void prng_init(prng *r, uint64_t seed) {
    for (size_t i = 0; i < ARRAY_LEN(r->s); i++) r->s[i] = splitmix(&seed);
}

uint64_t prng_next(prng *r) {
    uint64_t *s = r->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

/* D. Lemire, "Fast random integer generation in an interval", 2019: the high half of a product, drawn again in the rare case where the low
 * half says that this result would come up once too often. */
uint64_t prng_below(prng *r, uint64_t n) {
    if (n == 0) panic("prng_below(0)");
    u128 m = (u128)prng_next(r) * n;
    if ((uint64_t)m < n) {
        uint64_t excess = (0 - n) % n; /* 2^64 mod n */
        while ((uint64_t)m < excess) m = (u128)prng_next(r) * n;
    }
    return (uint64_t)(m >> 64);
}

bool prng_chance(prng *r, uint32_t num, uint32_t den) { return prng_below(r, den) < num; }
