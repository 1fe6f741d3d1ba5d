#ifndef BASE_LOAD_H
#define BASE_LOAD_H
/* load: numbers from bytes of either order, at any address; compilers make one load of each. That the bytes are there is the caller's to
 * know: foreign bytes are read through a cursor, which asks (cursor.h); this is for what it has handed out, and for checksums. */
#include <stdint.h>

static inline uint16_t load_u16be(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t load_u32be(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}
static inline uint64_t load_u64be(const uint8_t *p) { return (uint64_t)load_u32be(p) << 32 | load_u32be(p + 4); }

static inline uint16_t load_u16le(const uint8_t *p) { return (uint16_t)(p[1] << 8 | p[0]); }
static inline uint32_t load_u32le(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[0];
}
static inline uint64_t load_u64le(const uint8_t *p) {
    return (uint64_t)p[7] << 56 | (uint64_t)p[6] << 48 | (uint64_t)p[5] << 40 | (uint64_t)p[4] << 32 | (uint64_t)p[3] << 24 |
           (uint64_t)p[2] << 16 | (uint64_t)p[1] << 8 | (uint64_t)p[0];
}
#endif
