/* digest_crc32c: CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 appendix B.4) over stored records.
 *
 *     | stream 0: L bytes | stream 1: L bytes | stream 2: L bytes |      three crc32 instructions in flight: latency 3, throughput 1
 *         crc0 * x^(16 L)  ^  crc1 * x^(8 L)   ^      crc2               joined by one carry-less product for each shift
 *
 * Why three streams: the crc32 instruction waits three cycles for its own result, so that one chain runs at a third of the speed. Why the
 * product: a shift over L zero bytes is a multiplication by a constant; pclmul makes it, and crc32 of the 64-bit product reduces it (V.
 * Gopal et al., "Fast CRC computation for iSCSI polynomial using CRC32 instruction", Intel, 2011).
 *
 * Invariants: (1) crc(crc(0, a), b) == crc(0, ab). (2) The table and the instructions agree on every input; the test proves it.
 * (3) The tables are constants, built by the compiler: CRC is linear, so an entry is the sum of the entries of its bits. */
#include "base/digest_crc32c.h"

#include "base/digest.h"
#include "base/load.h"

#include <immintrin.h>

#define LONG_STREAM  1024 /* bytes in each of three streams */
#define SHORT_STREAM 128
/* x^(8 n - 33) modulo the polynomial, for n = the bytes to shift over. */
#define SHIFT_1024 0x170076faU
#define SHIFT_2048 0xa51b6135U
#define SHIFT_128  0x0d3b6092U
#define SHIFT_256  0xb9e02b86U

#define BIT(i, b, x) (((i) >> (b)&1) ? (x) : 0u)
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                                                                   \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^ BIT(i, 6, g) ^ BIT(i, 7, h))
#define ENTRY4(i, ...)  ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__), ENTRY((i) + 3, __VA_ARGS__)
#define ENTRY16(i, ...) ENTRY4(i, __VA_ARGS__), ENTRY4((i) + 4, __VA_ARGS__), ENTRY4((i) + 8, __VA_ARGS__), ENTRY4((i) + 12, __VA_ARGS__)
#define ENTRY64(i, ...)                                                                                                                    \
    ENTRY16(i, __VA_ARGS__), ENTRY16((i) + 16, __VA_ARGS__), ENTRY16((i) + 32, __VA_ARGS__), ENTRY16((i) + 48, __VA_ARGS__)
#define ENTRY256(...) ENTRY64(0, __VA_ARGS__), ENTRY64(64, __VA_ARGS__), ENTRY64(128, __VA_ARGS__), ENTRY64(192, __VA_ARGS__)

/* table[k][b]: the CRC of byte b followed by k zero bytes. */
static const uint32_t table[8][256] = {
    {ENTRY256(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)},
    {ENTRY256(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9)},
    {ENTRY256(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743)},
    {ENTRY256(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f)},
    {ENTRY256(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c)},
    {ENTRY256(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6)},
    {ENTRY256(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4)},
    {ENTRY256(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664)},
};

uint32_t digest_crc32c_table(uint32_t crc, slice in) {
    const uint8_t *p = in.p;
    size_t left = in.len;
    crc = ~crc;
    for (; left >= 8; left -= 8, p += 8) { /* eight bytes in one step ("slicing by eight", Kounavis and Berry, 2005) */
        uint64_t v = load_u64le(p) ^ crc;
        crc = 0;
        for (unsigned i = 0; i < 8; i++) crc ^= table[7 - i][v >> (8 * i) & 0xff];
    }
    for (; left > 0; left--, p++) crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    return ~crc;
}

bool digest_crc32c_has_sse42(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"); }

/* crc as if the zero bytes for which by was computed had followed it. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t shifted(uint64_t crc, uint32_t by) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)(uint32_t)crc), _mm_cvtsi32_si128((int)by), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* crc over 3 * stream bytes at p; stream is a multiple of 8. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t three_streams(uint64_t crc, const uint8_t *p, size_t stream,
                                                                              uint32_t by_one, uint32_t by_two) {
    uint64_t crc1 = 0;
    uint64_t crc2 = 0;
    for (size_t i = 0; i < stream; i += 8) {
        crc = _mm_crc32_u64(crc, load_u64le(p + i));
        crc1 = _mm_crc32_u64(crc1, load_u64le(p + stream + i));
        crc2 = _mm_crc32_u64(crc2, load_u64le(p + 2 * stream + i));
    }
    return shifted(crc, by_two) ^ shifted(crc1, by_one) ^ crc2;
}

__attribute__((target("sse4.2,pclmul"))) uint32_t digest_crc32c_sse42(uint32_t start, slice in) {
    const uint8_t *p = in.p;
    size_t left = in.len;
    uint64_t crc = ~start;
    for (; left >= 3 * LONG_STREAM; left -= 3 * LONG_STREAM, p += 3 * LONG_STREAM)
        crc = three_streams(crc, p, LONG_STREAM, SHIFT_1024, SHIFT_2048);
    for (; left >= 3 * SHORT_STREAM; left -= 3 * SHORT_STREAM, p += 3 * SHORT_STREAM)
        crc = three_streams(crc, p, SHORT_STREAM, SHIFT_128, SHIFT_256);
    for (; left >= 8; left -= 8, p += 8) crc = _mm_crc32_u64(crc, load_u64le(p));
    for (; left > 0; left--, p++) crc = _mm_crc32_u8((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}

uint32_t digest_crc32c(uint32_t crc, slice in) {
    return digest_crc32c_has_sse42() ? digest_crc32c_sse42(crc, in) : digest_crc32c_table(crc, in);
}
