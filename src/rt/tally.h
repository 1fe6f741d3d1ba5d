#ifndef RT_TALLY_H
#define RT_TALLY_H
/* tally: a histogram for monitoring systems: one thread writes, any thread reads, and neither waits. A bucket per power of two, which is
 * what a scrape can carry; base/hist.h is for measuring, this is for leaving on.
 *
 *     value    0, 1   2   3, 4   5 .. 8   ...   2^29 + 1 .. 2^30   more
 *     bucket   0      1   2      3        ...   30                 31
 *
 * Invariants: (1) Bucket k holds what is at most 2^k and more than 2^(k-1): the bounds of OpenMetrics ("le") are inclusive. (2) Each number
 * only grows, so that a sum over several tallies, read while they are written, is never less than one that was read before. (3) How many
 * there were is the sum of the buckets, so that the two never disagree; `sum` may be that of a moment later or earlier.
 *
 * All relaxed: each number is good on its own, and nothing is read through it. */
#include "base/err.h"

#include <stdatomic.h>

#define RT_TALLY_BUCKETS 32u
typedef struct rt_tally {
    _Atomic uint64_t sum; /* of the values; wraps after 2^64, which is 584,000 years of microseconds */
    _Atomic uint64_t b[RT_TALLY_BUCKETS];
} rt_tally;

/* n values that are v on average. By the owner alone: the shard whose it is, or who holds the lock that guards it. */
static inline void rt_tally_add(rt_tally *t, uint64_t v, uint64_t n) {
    unsigned k = v <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(v - 1);
    _Atomic uint64_t *b = &t->b[k < RT_TALLY_BUCKETS ? k : RT_TALLY_BUCKETS - 1];
    atomic_store_explicit(b, atomic_load_explicit(b, memory_order_relaxed) + n, memory_order_relaxed);
    atomic_store_explicit(&t->sum, atomic_load_explicit(&t->sum, memory_order_relaxed) + v * n, memory_order_relaxed);
}

typedef struct rt_tally_sum { /* what was read; starts zeroed */
    uint64_t sum;
    uint64_t b[RT_TALLY_BUCKETS];
} rt_tally_sum;
/* Adds what is in t. Any thread. */
static inline void rt_tally_read(const rt_tally *t, rt_tally_sum *into) {
    into->sum += atomic_load_explicit(&t->sum, memory_order_relaxed);
    for (unsigned k = 0; k < RT_TALLY_BUCKETS; k++) into->b[k] += atomic_load_explicit(&t->b[k], memory_order_relaxed);
}

#endif
