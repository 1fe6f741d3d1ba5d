/* slice: the comparisons and searches over borrowed bytes that are too long to be inline.
 *
 * Invariants: (1) A slice with p == NULL has len 0; no libc function is ever given its NULL. (2) slice_eq_ct looks at every byte of both
 * whatever it finds, so that the time says nothing about where a secret differs. */
#include "base/slice.h"

#include "base/mem.h"

int slice_cmp(slice a, slice b) {
    size_t len = a.len < b.len ? a.len : b.len;
    int d = len ? memcmp(a.p, b.p, len) : 0;
    if (d != 0) return d < 0 ? -1 : 1;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

size_t slice_find(slice s, uint8_t c) {
    const uint8_t *at = s.len ? memchr(s.p, c, s.len) : NULL;
    return at ? (size_t)(at - s.p) : s.len;
}

bool slice_eq_ct(slice a, slice b) {
    if (a.len != b.len) return false;
    volatile uint8_t diff = 0; /* volatile: the compiler must not leave the loop at the first difference */
    for (size_t i = 0; i < a.len; i++) diff = (uint8_t)(diff | (a.p[i] ^ b.p[i]));
    return diff == 0;
}

char *slice_dup_str(slice s) {
    char *out = mem_alloc(s.len + 1);
    if (s.len) memcpy(out, s.p, s.len);
    out[s.len] = '\0';
    return out;
}
