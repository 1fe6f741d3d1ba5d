/* buf: a growable byte buffer with a limit and a sticky failure.
 *
 *     p          p + len        p + cap           p + max
 *     |--in use--|--allocated---|--may be asked---|
 *
 * Why sticky: a serialiser writes fifty pieces; one check at its end instead of fifty is the difference between code and noise.
 *
 * Invariants: (1) len <= max, always; cap may pass max by the one byte that vsnprintf needs for its NUL. (2) Once failed is set, nothing is
 * appended until buf_reset: what is in the buffer is a prefix of whole pieces. (3) p is NULL exactly while cap is 0. (4) What is appended
 * never lies in the buffer itself, because growing would move it away. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_CAP_MIN 64

void buf_init(buf *b, size_t max) { *b = (buf){.max = max}; }

void buf_fini(buf *b) {
    mem_free(b->p);
    buf_init(b, b->max);
}

void buf_reset(buf *b) {
    b->len = 0;
    b->failed = false;
}

/* True if n more bytes are allowed; false sets the failure. */
static bool allowed(buf *b, size_t n) {
    if (UNLIKELY(b->failed)) return false;
    if (UNLIKELY(n > b->max - b->len)) {
        b->failed = true;
        return false;
    }
    return true;
}

/* Makes cap at least need: by doubling, but not past max unless need itself is. */
static void grow(buf *b, size_t need) {
    if (LIKELY(need <= b->cap)) return;
    size_t cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (cap > b->max) cap = b->max;
    if (cap < need) cap = need;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

uint8_t *buf_reserve(buf *b, size_t n) {
    if (!allowed(b, n)) return NULL;
    grow(b, b->len + n > 0 ? b->len + n : 1); /* never NULL on success, even for nothing at all */
    return b->p + b->len;
}

void buf_added(buf *b, size_t n) {
    if (n > b->cap - b->len || n > b->max - b->len) panic("buf_added(%zu) without that much room", n);
    b->len += n;
}

void buf_add(buf *b, slice s) {
    if (s.len == 0) return;
    uint8_t *to = buf_reserve(b, s.len);
    if (!to) return;
    memcpy(to, s.p, s.len);
    b->len += s.len;
}

void buf_add_byte(buf *b, uint8_t c) {
    uint8_t *to = buf_reserve(b, 1);
    if (!to) return;
    *to = c;
    b->len++;
}

void buf_add_str(buf *b, const char *s) { buf_add(b, slice_str(s)); }

void buf_addf(buf *b, const char *fmt, ...) {
    if (b->failed) return;
    va_list ap;
    va_list again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->p ? (char *)b->p + b->len : NULL, room, fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if (allowed(b, (size_t)n)) {
        if ((size_t)n >= room) { /* the first try was cut: make room for the text and its NUL, and print again */
            grow(b, b->len + (size_t)n + 1);
            n = vsnprintf((char *)b->p + b->len, b->cap - b->len, fmt, again);
        }
        b->len += n < 0 ? 0 : (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

/* The n low bytes of v, least significant first. */
static void add_le(buf *b, uint64_t v, size_t n) {
    uint8_t *to = buf_reserve(b, n);
    if (!to) return;
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * i));
    b->len += n;
}

void buf_add_u16le(buf *b, uint16_t v) { add_le(b, v, 2); }
void buf_add_u32le(buf *b, uint32_t v) { add_le(b, v, 4); }
void buf_add_u64le(buf *b, uint64_t v) { add_le(b, v, 8); }

/* The n low bytes of v, most significant first. */
static void add_be(buf *b, uint64_t v, size_t n) {
    uint8_t *to = buf_reserve(b, n);
    if (!to) return;
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    b->len += n;
}

void buf_add_u16be(buf *b, uint16_t v) { add_be(b, v, 2); }
void buf_add_u32be(buf *b, uint32_t v) { add_be(b, v, 4); }
void buf_add_u64be(buf *b, uint64_t v) { add_be(b, v, 8); }

void buf_add_lslice(buf *b, slice s) {
    /* Asked for in one piece, so that a length never stands without its bytes. */
    if (s.len > UINT32_MAX) b->failed = true;
    if (!buf_reserve(b, s.len > UINT32_MAX ? 0 : s.len + 4)) return;
    buf_add_u32le(b, (uint32_t)s.len);
    buf_add(b, s);
}

void buf_consume(buf *b, size_t n) {
    if (n > b->len) panic("buf_consume(%zu) of %zu bytes", n, b->len);
    if (n == 0) return;
    b->len -= n;
    memmove(b->p, b->p + n, b->len);
}

void buf_take(buf *b, uint8_t **out_p, size_t *out_len) {
    *out_p = b->p;
    *out_len = b->len;
    buf_init(b, b->max);
}
