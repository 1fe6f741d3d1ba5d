#ifndef BASE_UTF8_H
#define BASE_UTF8_H
/* utf8: strict validation (RFC 3629: no overlong form, no surrogate, nothing past U+10FFFF), with an ASCII fast path. */
#include "base/slice.h"

bool utf8_valid(slice s);
/* Decodes one code point at the front of s. Returns its length in bytes (1-4), or 0 if the bytes are invalid or cut short. */
size_t utf8_decode(slice s, uint32_t *out_cp);
/* Encodes cp into out[4]; returns the length, or 0 if cp is a surrogate or too large. */
size_t utf8_encode(uint32_t cp, uint8_t out[4]);
/* Appends s to text for a log or a terminal: control bytes, DEL, bidi controls and invalid bytes become \xNN. Writes at most max bytes,
 * the final NUL among them, into out; returns the length without the NUL. */
size_t utf8_escape(slice s, char *out, size_t max);

#endif
