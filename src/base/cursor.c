/* cursor: bounded reading of foreign bytes.
 *
 * Why: a length that is checked in one statement and used in another is the oldest hole in C. Here the check and the read are one call.
 *
 * Invariants: (1) p <= end; both NULL for an absent slice. (2) A call that returns false has consumed nothing and written nothing.
 * (3) Nothing is read through a cast pointer: unaligned input is the normal case. */
#include "base/cursor.h"

#include "base/load.h"

/* Takes the next n bytes, or NULL. n >= 1. */
static const uint8_t *take(cursor *c, size_t n) {
    if (UNLIKELY(cursor_left(c) < n)) return NULL;
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}

bool cursor_u8(cursor *c, uint8_t *out) {
    const uint8_t *p = take(c, 1);
    if (p) *out = *p;
    return p != NULL;
}

bool cursor_u16le(cursor *c, uint16_t *out) {
    const uint8_t *p = take(c, 2);
    if (p) *out = load_u16le(p);
    return p != NULL;
}

bool cursor_u32le(cursor *c, uint32_t *out) {
    const uint8_t *p = take(c, 4);
    if (p) *out = load_u32le(p);
    return p != NULL;
}

bool cursor_u64le(cursor *c, uint64_t *out) {
    const uint8_t *p = take(c, 8);
    if (p) *out = load_u64le(p);
    return p != NULL;
}

bool cursor_u16be(cursor *c, uint16_t *out) {
    const uint8_t *p = take(c, 2);
    if (p) *out = load_u16be(p);
    return p != NULL;
}

bool cursor_u32be(cursor *c, uint32_t *out) {
    const uint8_t *p = take(c, 4);
    if (p) *out = load_u32be(p);
    return p != NULL;
}

bool cursor_u64be(cursor *c, uint64_t *out) {
    const uint8_t *p = take(c, 8);
    if (p) *out = load_u64be(p);
    return p != NULL;
}

bool cursor_bytes(cursor *c, size_t n, slice *out) {
    if (cursor_left(c) < n) return false;
    *out = slice_of(c->p, n);
    if (n) c->p += n; /* p may be NULL when there is nothing to read */
    return true;
}

bool cursor_lslice(cursor *c, slice *out) {
    cursor ahead = *c;
    uint32_t len;
    if (!cursor_u32le(&ahead, &len) || !cursor_bytes(&ahead, len, out)) return false;
    *c = ahead;
    return true;
}
