/* fate: the draws. A generator is seeded afresh for each (position, kind): about 10 ns, and no draw depends on another having been made. */
#include "fate.h"

#include "base/hash.h"
#include "base/prng.h"

#include <math.h>

typedef enum draw_kind {
    DRAW_JITTER,
    DRAW_LOSS,
    DRAW_TWICE,
    DRAW_OVERTAKEN,
    DRAW_COPY,
    DRAW_FLIP_GAP,
    DRAW_FLIP_MASK,
    DRAW_EVERY
} draw_kind;

static void seeded(prng *r, const fate_key *k, uint64_t pos, draw_kind kind) {
    uint64_t h = hash_u64(k->seed ^ UINT64_C(0x6e65747761727000)); /* so that seed 0 is like any other */
    h = hash_u64(h ^ k->conn);
    h = hash_u64(h ^ ((uint64_t)kind << 8 | (uint64_t)k->dir));
    prng_init(r, h ^ hash_u64(pos));
}

/* Uniform in (0, 1]: never 0, whose logarithm is taken. */
static double unit(prng *r) { return (double)((prng_next(r) >> 11) + 1) * 0x1p-53; }

static bool happens(prng *r, double chance) { return chance > 0 && unit(r) <= chance; }

/* At least 0: delay is what the light takes, jitter is the queues on the way, which only add.
 * uniform: 0 to J. normal: |x| with standard deviation J, cut at 4 J. pareto: Lomax with shape 3 and mean J, cut at 100 J: most are
 * smaller than J, a few are very late. */
static usec jitter(prng *r, usec j, spread how) {
    double x = 0;
    if (j <= 0) return 0;
    switch (how) {
    case SPREAD_UNIFORM: return (usec)prng_below(r, (uint64_t)j + 1);
    case SPREAD_NORMAL: {
        double radius = sqrt(-2 * log(unit(r)));
        x = fmin(fabs(radius * cos(6.283185307179586 * unit(r))), 4);
        break;
    }
    case SPREAD_PARETO: x = fmin(2 * (pow(unit(r), -1.0 / 3) - 1), 100); break;
    }
    return (usec)llround(x * (double)j);
}

bool fate_any(const warp_set *s) { return s->jitter > 0 || s->loss > 0 || s->duplicate > 0 || s->reorder > 0; }

void fate_draw(const fate_key *k, uint64_t pos, const warp_set *s, fate *out) {
    prng r;
    *out = (fate){.stall = 0};
    if (s->jitter > 0) {
        seeded(&r, k, pos, DRAW_JITTER);
        out->jitter = jitter(&r, s->jitter, s->spread);
    }
    if (s->loss > 0) {
        seeded(&r, k, pos, DRAW_LOSS);
        usec rto = s->rto;
        while (out->losses <= WARP_RETRIES_MAX && happens(&r, s->loss)) {
            out->losses++;
            out->stall += usec_min(rto, s->rto_max);
            rto = usec_min(rto * 2, WARP_TIME_MAX);
        }
    }
    if (s->duplicate > 0) {
        seeded(&r, k, pos, DRAW_TWICE);
        out->twice = happens(&r, s->duplicate);
    }
    if (s->reorder > 0) {
        seeded(&r, k, pos, DRAW_OVERTAKEN);
        out->overtaken = happens(&r, s->reorder);
    }
    if (out->twice && s->jitter > 0) {
        seeded(&r, k, pos, DRAW_COPY);
        out->copy_jitter = jitter(&r, s->jitter, s->spread);
    }
}

uint64_t fate_flip_gap(const fate_key *k, uint64_t pos, const warp_set *s) {
    prng r;
    if (s->flip <= 0) return UINT64_MAX;
    if (s->flip >= 1) return 0;
    seeded(&r, k, pos, DRAW_FLIP_GAP);
    double gap = floor(log(unit(&r)) / log1p(-s->flip)); /* geometric */
    return gap < 0x1p62 ? (uint64_t)gap : UINT64_MAX;
}

uint8_t fate_flip_mask(const fate_key *k, uint64_t pos) {
    prng r;
    seeded(&r, k, pos, DRAW_FLIP_MASK);
    return (uint8_t)(1u << prng_below(&r, 8));
}

usec fate_between(uint64_t seed, uint64_t id, uint64_t nth, usec from, usec to) {
    prng r;
    fate_key k = {seed, id, C2S};
    seeded(&r, &k, nth, DRAW_EVERY);
    return from + (usec)prng_below(&r, (uint64_t)(to - from) + 1);
}
