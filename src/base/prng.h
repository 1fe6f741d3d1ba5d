#ifndef BASE_PRNG_H
#define BASE_PRNG_H
/* prng: xoshiro256** seeded by splitmix64 (Blackman, Vigna): for the simulator, jitter and sampling. Never for secrets. */
#include "base/err.h"

typedef struct prng {
    uint64_t s[4];
} prng;

void prng_init(prng *r, uint64_t seed);
uint64_t prng_next(prng *r);
uint64_t prng_below(prng *r, uint64_t n);              /* uniform in [0, n); n >= 1 */
bool prng_chance(prng *r, uint32_t num, uint32_t den); /* true with probability num/den */

#endif
