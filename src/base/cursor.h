#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H
/* cursor: bounded reading of foreign bytes; every call checks and reads in one step. On failure nothing is consumed. */
#include "base/slice.h"

typedef struct cursor {
    const uint8_t *p;   /* next byte */
    const uint8_t *end; /* one past the last */
} cursor;

static inline cursor cursor_of(slice s) { return (cursor){s.p, s.p ? s.p + s.len : NULL}; }
static inline size_t cursor_left(const cursor *c) { return (size_t)(c->end - c->p); }
NODISCARD bool cursor_u8(cursor *c, uint8_t *out);
NODISCARD bool cursor_u16le(cursor *c, uint16_t *out);
NODISCARD bool cursor_u32le(cursor *c, uint32_t *out);
NODISCARD bool cursor_u64le(cursor *c, uint64_t *out);
NODISCARD bool cursor_u16be(cursor *c, uint16_t *out);
NODISCARD bool cursor_u32be(cursor *c, uint32_t *out);
NODISCARD bool cursor_u64be(cursor *c, uint64_t *out);
NODISCARD bool cursor_bytes(cursor *c, size_t n, slice *out);
NODISCARD bool cursor_lslice(cursor *c, slice *out); /* u32le length, then bytes */

#endif
