#ifndef BASE_SLICE_H
#define BASE_SLICE_H
/* slice: borrowed bytes, never owned, not NUL-terminated. p may be NULL only when len is 0; "absent" is p == NULL, "empty" is p != NULL
 * with len 0, where a function says that it tells them apart. */
#include "base/err.h"

#include <string.h>

typedef struct slice {
    const uint8_t *p;
    size_t len;
} slice;

#define SLICE(lit)   ((slice){(const uint8_t *)(lit), sizeof(lit) - 1}) /* of a string literal */
#define SLICE_NULL   ((slice){NULL, 0})
#define SLICE_FMT    "%.*s" /* for printf: SLICE_FMT with SLICE_ARG(s) */
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).p

static inline slice slice_of(const void *p, size_t len) { return (slice){(const uint8_t *)p, len}; }
static inline slice slice_str(const char *s) { return (slice){(const uint8_t *)s, s ? strlen(s) : 0}; }
static inline bool slice_eq(slice a, slice b) { return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0); }
static inline bool slice_is(slice a, const char *s) { return slice_eq(a, slice_str(s)); }
/* Bytes [from, from+len) clamped to s. */
static inline slice slice_sub(slice s, size_t from, size_t len) {
    if (from > s.len) from = s.len;
    if (len > s.len - from) len = s.len - from;
    return (slice){s.p ? s.p + from : NULL, len};
}
static inline slice slice_from(slice s, size_t from) { return slice_sub(s, from, s.len); }
static inline bool slice_starts(slice s, slice prefix) { return s.len >= prefix.len && slice_eq(slice_sub(s, 0, prefix.len), prefix); }
/* memcmp order, the shorter first on a tie. */
int slice_cmp(slice a, slice b);
/* Index of the first byte c, or s.len. */
size_t slice_find(slice s, uint8_t c);
/* Equality in time that depends on the lengths only; for secrets. */
bool slice_eq_ct(slice a, slice b);
/* A malloc'ed NUL-terminated copy (mem_alloc); the caller frees it with mem_free. */
char *slice_dup_str(slice s);

#endif
