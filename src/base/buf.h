#ifndef BASE_BUF_H
#define BASE_BUF_H
/* buf: a growable byte buffer with a limit. Appending past the limit sets a sticky failure and appends nothing more, so that a
 * serialiser checks once, at its end, with buf_ok(). An empty buf owns no memory. */
#include "base/slice.h"

typedef struct buf {
    uint8_t *p;  /* the bytes; NULL while cap is 0 */
    size_t len;  /* bytes in use */
    size_t cap;  /* bytes allocated */
    size_t max;  /* limit on len */
    bool failed; /* an append would have passed max */
} buf;

void buf_init(buf *b, size_t max);
void buf_fini(buf *b);  /* frees the memory; b is as after buf_init with the same max */
void buf_reset(buf *b); /* len 0, failed false; keeps the memory */
static inline bool buf_ok(const buf *b) { return !b->failed; }
static inline slice buf_slice(const buf *b) { return slice_of(b->p, b->len); }
void buf_add(buf *b, slice s);
void buf_add_byte(buf *b, uint8_t c);
void buf_add_str(buf *b, const char *s);
void buf_addf(buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_add_u16le(buf *b, uint16_t v);
void buf_add_u32le(buf *b, uint32_t v);
void buf_add_u64le(buf *b, uint64_t v);
void buf_add_u16be(buf *b, uint16_t v);
void buf_add_u32be(buf *b, uint32_t v);
void buf_add_u64be(buf *b, uint64_t v);
/* u32 little-endian length, then the bytes. Read back by cursor_lslice. */
void buf_add_lslice(buf *b, slice s);
/* Makes room for n more bytes and returns where they go, or NULL (and sets failed) past the limit. Follow with buf_added. */
uint8_t *buf_reserve(buf *b, size_t n);
void buf_added(buf *b, size_t n);
void buf_consume(buf *b, size_t n);                      /* drops n bytes from the front (memmove) */
void buf_take(buf *b, uint8_t **out_p, size_t *out_len); /* hands the memory to the caller (mem_free); b is empty */

#endif
