#ifndef TEST_SUPPORT_DIST_WIRE_H
#define TEST_SUPPORT_DIST_WIRE_H
/* dist_wire: frames of Erlang's distribution put together byte by byte, after erl_dist_protocol and erl_ext_dist, without the code under
 * test. In a header, because fuzz targets and unit tests link differently. */
#include "base/buf.h"

static inline void wire_bytes(buf *b, const char *text, size_t n) { buf_add(b, slice_of(text, n)); }
/* Appends a string literal with its NULs, but not its last. */
#define WIRE(b, lit) wire_bytes(b, lit, sizeof(lit) - 1)

/* A length, which wire_end fills in; returns where the frame begins. */
static inline size_t wire_begin(buf *b) {
    buf_add_u32be(b, 0);
    return b->len;
}
static inline void wire_end(buf *b, size_t from) {
    size_t n = b->len - from;
    for (size_t i = 0; i < 4; i++) b->p[from - 4 + i] = (uint8_t)(n >> (24 - 8 * i));
}
/* {Tag, sequence, number}: 69 or 70. */
static inline void wire_fragment(buf *b, uint8_t type, uint64_t sequence, uint64_t number) {
    buf_add_byte(b, 131);
    buf_add_byte(b, type);
    buf_add_u64be(b, sequence);
    buf_add_u64be(b, number);
}
static inline void wire_atom(buf *b, const char *text) {
    buf_add_byte(b, 119);
    buf_add_byte(b, (uint8_t)strlen(text));
    buf_add_str(b, text);
}
static inline void wire_pid(buf *b, const char *node, uint32_t id, uint32_t serial, uint32_t creation) {
    buf_add_byte(b, 88);
    wire_atom(b, node);
    buf_add_u32be(b, id);
    buf_add_u32be(b, serial);
    buf_add_u32be(b, creation);
}
static inline void wire_ref(buf *b, const char *node, uint32_t creation, uint32_t word) {
    buf_add_byte(b, 90);
    buf_add_u16be(b, 1);
    wire_atom(b, node);
    buf_add_u32be(b, creation);
    buf_add_u32be(b, word);
}

#endif
