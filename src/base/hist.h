#ifndef BASE_HIST_H
#define BASE_HIST_H
/* hist: a log-linear histogram of non-negative values (microseconds, nanoseconds, bytes): 16 linear steps per power of two, relative
 * error at most 1/16. Fixed size, mergeable, no allocation. */
#include "base/err.h"

#define HIST_BUCKETS (61 * 16)
typedef struct hist {
    uint64_t n;               /* values recorded */
    uint64_t sum;             /* of the values */
    uint64_t max;             /* largest value */
    uint32_t b[HIST_BUCKETS]; /* counts, saturating */
} hist;

void hist_init(hist *h);
void hist_add(hist *h, uint64_t value);
void hist_merge(hist *into, const hist *from);
/* The value at quantile q in [0,1] (upper edge of its bucket, at most max); 0 if empty. */
uint64_t hist_quantile(const hist *h, double q);

#endif
