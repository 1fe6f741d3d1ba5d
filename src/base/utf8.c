/* utf8: strict UTF-8 (RFC 3629) and the text form of foreign bytes for logs and terminals.
 *
 * Why strict: two parsers that disagree about an overlong form or a lone surrogate disagree about where a stanza ends; that is how stanzas
 * were smuggled through others. One decoder decides for the whole program.
 *
 * Invariants: (1) utf8_valid(s) holds exactly if utf8_decode walks over all of s. (2) utf8_encode and utf8_decode are each other's inverse.
 * (3) What utf8_escape writes is valid UTF-8 on one line and moves no cursor; it never cuts a code point or an escape in two. */
#include "base/utf8.h"

#define HIGH_BITS  UINT64_C(0x8080808080808080)
#define ESCAPE_LEN 4 /* \xNN */

static inline bool is_tail(uint8_t c) { return (c & 0xc0) == 0x80; }

size_t utf8_decode(slice s, uint32_t *out_cp) {
    if (s.len == 0) return 0;
    const uint8_t *p = s.p;
    uint8_t c = p[0];
    if (c < 0x80) {
        *out_cp = c;
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || s.len < len) return 0; /* a tail byte, an overlong two-byte form, or past U+13FFFF */
    uint32_t cp = c & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (!is_tail(p[i])) return 0;
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    if (len == 3 && (cp < 0x800 || (cp >= 0xd800 && cp <= 0xdfff))) return 0;
    if (len == 4 && (cp < 0x10000 || cp > 0x10ffff)) return 0;
    *out_cp = cp;
    return len;
}

bool utf8_valid(slice s) {
    size_t at = 0;
    while (at < s.len) {
        uint64_t word;
        while (s.len - at >= sizeof word) { /* eight bytes of ASCII at a time: most of what is ever checked */
            memcpy(&word, s.p + at, sizeof word);
            if (word & HIGH_BITS) break;
            at += sizeof word;
        }
        if (at == s.len) break;
        uint32_t cp;
        size_t n = utf8_decode(slice_from(s, at), &cp);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

size_t utf8_encode(uint32_t cp, uint8_t out[4]) {
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) return 0;
    size_t len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    if (len == 1) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    for (size_t i = len - 1; i > 0; i--, cp >>= 6) out[i] = (uint8_t)(0x80 | (cp & 0x3f));
    static const uint8_t lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(lead[len] | cp);
    return len;
}

/* True for what must not reach a terminal as it is: C0, DEL, C1, line and paragraph separators, and the marks that turn the direction of
 * the text (UAX #9, "Trojan Source"). */
static bool is_unsafe(uint32_t cp) {
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x61c || cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}

size_t utf8_escape(slice s, char *out, size_t max) {
    static const char hex[] = "0123456789abcdef";
    if (max == 0) return 0;
    size_t at = 0;
    size_t room = max - 1; /* the NUL has its place */
    for (size_t i = 0; i < s.len;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(slice_from(s, i), &cp);
        bool escape = n == 0 || is_unsafe(cp);
        if (n == 0) n = 1; /* one bad byte at a time */
        if (room - at < (escape ? n * ESCAPE_LEN : n)) break;
        for (size_t end = i + n; i < end; i++) {
            if (escape) {
                out[at++] = '\\';
                out[at++] = 'x';
                out[at++] = hex[s.p[i] >> 4];
                out[at++] = hex[s.p[i] & 15];
            } else {
                out[at++] = (char)s.p[i];
            }
        }
    }
    out[at] = '\0';
    return at;
}
