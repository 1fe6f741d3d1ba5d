#ifndef BASE_CODEC_H
#define BASE_CODEC_H
/* codec: base64 (RFC 4648 section 4, strict: padding required, no whitespace), hex, decimal, XEP-0082 time. */
#include "base/buf.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)
void base64_encode(buf *out, slice in);
/* Appends the decoded bytes to out. ERR_INVALID for any byte outside the alphabet, wrong padding, or non-zero trailing bits. */
NODISCARD err base64_decode(buf *out, slice in);
void hex_encode(buf *out, slice in); /* lower case */
NODISCARD err hex_decode(buf *out, slice in);
/* Digits only, no sign, no space, no leading '+'; ERR_INVALID if empty, not digits, or above max. */
NODISCARD err dec_parse_u64(slice s, uint64_t max, uint64_t *out);
/* As above, with an optional '-'. */
NODISCARD err dec_parse_i64(slice s, int64_t min, int64_t max, int64_t *out);
/* XEP-0082 DateTime in UTC: "2026-11-23T09:51:15Z", with ".mmm" when with_msec. wall_usec: microseconds since 1970. out needs 32 bytes. */
size_t time_format(int64_t wall_usec, bool with_msec, char out[32]);

#endif
