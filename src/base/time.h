#ifndef BASE_TIME_H
#define BASE_TIME_H
/* usec: time and durations in microseconds. Instants are on the seam's monotonic clock unless a name says wall. */
#include <stdint.h>

typedef int64_t usec;
#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_NEVER    INT64_MAX /* a deadline that never comes */
static inline usec usec_min(usec a, usec b) { return a < b ? a : b; }
static inline usec usec_max(usec a, usec b) { return a > b ? a : b; }

#endif
