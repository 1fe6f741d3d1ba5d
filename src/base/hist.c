/* hist: a log-linear histogram, the layout of HdrHistogram with four bits of mantissa.
 *
 *     value    0 .. 15   16 .. 31   32, 34 .. 62   64, 68 .. 124   ...        step 2^(e-4) where 2^e <= value
 *     bucket   0 .. 15   16 .. 31   32 .. 47       48 .. 63        ... 975
 *
 * Invariants: (1) A bucket is at most 1/16 of its lower edge wide; below 32 it is exact. (2) Nothing wraps: counts and sum stay at their
 * greatest value. (3) hist_merge(a, b) is the histogram of all values of both. */
#include "base/hist.h"

#include <math.h>
#include <string.h>

#define STEP_BITS 4
#define STEPS     (1u << STEP_BITS)

_Static_assert(HIST_BUCKETS == (64 - STEP_BITS + 1) * STEPS, "every 64-bit value has a bucket");

static size_t bucket_of(uint64_t v) {
    if (v < STEPS) return (size_t)v;
    unsigned e = 63 - (unsigned)__builtin_clzll(v);
    return (size_t)(e - STEP_BITS + 1) * STEPS + ((v >> (e - STEP_BITS)) & (STEPS - 1));
}

/* The greatest value that falls into bucket i. */
static uint64_t upper_edge(size_t i) {
    if (i < STEPS) return i;
    unsigned shift = (unsigned)(i / STEPS) - 1;
    uint64_t lower = (uint64_t)(STEPS + i % STEPS) << shift;
    return lower + ((UINT64_C(1) << shift) - 1);
}

static uint64_t add_sat(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

void hist_init(hist *h) { memset(h, 0, sizeof *h); }

void hist_add(hist *h, uint64_t value) {
    uint32_t *b = &h->b[bucket_of(value)];
    if (LIKELY(*b != UINT32_MAX)) (*b)++;
    h->n = add_sat(h->n, 1);
    h->sum = add_sat(h->sum, value);
    if (value > h->max) h->max = value;
}

void hist_merge(hist *into, const hist *from) {
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        uint32_t room = UINT32_MAX - into->b[i];
        into->b[i] += from->b[i] < room ? from->b[i] : room;
    }
    into->n = add_sat(into->n, from->n);
    into->sum = add_sat(into->sum, from->sum);
    if (from->max > into->max) into->max = from->max;
}

uint64_t hist_quantile(const hist *h, double q) {
    uint64_t total = 0; /* not n: a bucket that is full counts for what it holds */
    for (size_t i = 0; i < HIST_BUCKETS; i++) total += h->b[i];
    if (total == 0) return 0;
    double want = ceil((q > 0 ? q : 0) * (double)total);
    uint64_t rank = want < 1 ? 1 : want >= (double)total ? total : (uint64_t)want;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->b[i];
        if (seen >= rank) return upper_edge(i) < h->max ? upper_edge(i) : h->max;
    }
    return h->max;
}
