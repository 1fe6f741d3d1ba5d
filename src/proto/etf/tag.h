#ifndef PROTO_ETF_TAG_H
#define PROTO_ETF_TAG_H
/* tag: the first byte of an item, and what read.c shares with walk.c and write.c. Private to etf.
 *
 * Names and layouts are those of OTP's "Erlang External Term Format" (erl_ext_dist); RECORD is that of OTP 29. Not here, and so refused:
 * 80 (compressed), 121 (private to its writer), 117 (old fun, gone with OTP 23). */
#include "base/load.h"
#include "proto/etf/etf.h"

enum {
    TAG_RECORD = 67,
    TAG_NEW_FLOAT = 70,
    TAG_BIT_BINARY = 77,
    TAG_CACHE_REF = 82,
    TAG_NEW_PID = 88,
    TAG_NEW_PORT = 89,
    TAG_NEWER_REF = 90,
    TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98,
    TAG_FLOAT = 99,
    TAG_ATOM = 100, /* Latin-1 */
    TAG_REF = 101,
    TAG_PORT = 102,
    TAG_PID = 103,
    TAG_SMALL_TUPLE = 104,
    TAG_LARGE_TUPLE = 105,
    TAG_NIL = 106,
    TAG_STRING = 107,
    TAG_LIST = 108,
    TAG_BINARY = 109,
    TAG_SMALL_BIG = 110,
    TAG_LARGE_BIG = 111,
    TAG_NEW_FUN = 112,
    TAG_EXPORT = 113,
    TAG_NEW_REF = 114,
    TAG_SMALL_ATOM = 115, /* Latin-1 */
    TAG_MAP = 116,
    TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119,
    TAG_V4_PORT = 120,
};

#define FUN_HEAD 29u /* bytes of a fun after the tag, before its terms: size, arity, uniq, index, free variables */

/* As etf_next. convert false: a Latin-1 atom is left in Latin-1, for who wants to know only that it can be read. */
NODISCARD bool etf_next_as(etf_reader *r, bool convert, etf_item *out);

/* Eight bytes at a time; the last eight may overlap those before. */
static inline bool etf_is_ascii(const uint8_t *p, size_t len) {
    uint64_t seen = 0;
    if (LIKELY(len >= 8)) {
        for (size_t at = 0; at < len - 8; at += 8) seen |= load_u64le(p + at);
        seen |= load_u64le(p + len - 8);
    } else {
        for (size_t at = 0; at < len; at++) seen |= p[at];
    }
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

#endif
