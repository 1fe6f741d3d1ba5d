/* cookie: reading, judging and proving the shared secret of a cluster.
 *
 * How strength is estimated: alphabet ^ length, in bits. The alphabet is that of the classes of characters that occur (10 digits, 26
 * letters of each case, 33 others; 16 if all are hex digits), so that twenty random capitals have 94 bits whichever of them came up. Three
 * things that no random cookie has count for less: fewer than 6 different characters (they are then the alphabet), a whole that is one
 * piece repeated (its length counts), and more than two thirds of the steps from one character to the next being -1, 0 or 1 (steps do not
 * count).
 *
 * Invariants: (1) No copy of the cookie is left in memory: what was hashed is wiped. (2) Digests are compared in constant time. */
#include "proto/dist/cookie.h"

#include "base/mem.h"

#include <stdio.h>

#define DECIMAL_MAX    10u /* digits of 2^32 - 1 */
#define DISTINCT_FEW   6u
#define ALPHABET_HEX   16u
#define ALPHABET_DIGIT 10u
#define ALPHABET_CASE  26u
#define ALPHABET_OTHER 33u

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_lower(uint8_t c) { return c >= 'a' && c <= 'z'; }
static bool is_upper(uint8_t c) { return c >= 'A' && c <= 'Z'; }
static bool is_hex(uint8_t c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static err printable(slice s) {
    if (s.len == 0) return ERR_INVALID;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] > '~') return ERR_INVALID;
    return s.len > DIST_COOKIE_MAX ? ERR_LIMIT : ERR_OK;
}

err dist_cookie_parse(slice file, slice *out) {
    slice s = file;
    if (s.len && s.p[s.len - 1] == '\n') s.len--;
    if (s.len && s.p[s.len - 1] == '\r') s.len--;
    err e = printable(s);
    if (e == ERR_OK) *out = s;
    return e;
}

/* How many characters the cookie could have been drawn from. */
static unsigned alphabet_of(slice s) {
    bool seen[256] = {false};
    bool digit = false, lower = false, upper = false, other = false, hex = true;
    unsigned distinct = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        distinct += !seen[c];
        seen[c] = true;
        digit |= is_digit(c);
        lower |= is_lower(c);
        upper |= is_upper(c);
        other |= !is_digit(c) && !is_lower(c) && !is_upper(c);
        hex &= is_hex(c);
    }
    if (distinct < DISTINCT_FEW) return distinct;
    if (hex && digit && (lower || upper)) return ALPHABET_HEX;
    return (digit ? ALPHABET_DIGIT : 0) + (lower ? ALPHABET_CASE : 0) + (upper ? ALPHABET_CASE : 0) + (other ? ALPHABET_OTHER : 0);
}

/* The length of the piece that the whole repeats, at least twice (the last time perhaps in part), or the whole. */
static size_t period_of(slice s) {
    size_t p = 1;
    while (p < s.len && memcmp(s.p, s.p + p, s.len - p) != 0) p++;
    return p <= s.len / 2 ? p : s.len;
}

/* How many characters follow from the one before: the same, the next, or the one before it in the alphabet. */
static size_t steps_of(slice s) {
    size_t n = 0;
    for (size_t i = 1; i < s.len; i++) {
        int d = s.p[i] - s.p[i - 1];
        n += d >= -1 && d <= 1;
    }
    return n;
}

/* floor(log2(alphabet ^ len)), or one less: a product that is shifted whenever it grows past 32 bits, so that rounding only loses. */
static unsigned bits_of_power(unsigned alphabet, size_t len) {
    uint64_t mantissa = 1;
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++)
        for (mantissa *= alphabet; mantissa >> 32; mantissa >>= 1) bits++;
    while (mantissa >>= 1) bits++;
    return bits;
}

unsigned dist_cookie_bits(slice cookie) {
    if (cookie.len == 0) return 0;
    slice piece = slice_sub(cookie, 0, period_of(cookie));
    size_t steps = steps_of(piece);
    size_t counted = steps > piece.len * 2 / 3 ? piece.len - steps : piece.len;
    return bits_of_power(alphabet_of(piece), counted);
}

err dist_cookie_check(slice cookie) {
    err e = printable(cookie);
    if (e != ERR_OK) return e;
    return dist_cookie_bits(cookie) < DIST_COOKIE_BITS_MIN ? ERR_AUTH : ERR_OK;
}

void dist_cookie_digest(slice cookie, uint32_t challenge, uint8_t out[DIST_COOKIE_DIGEST]) {
    uint8_t text[DIST_COOKIE_MAX + DECIMAL_MAX + 1];
    if (cookie.len > DIST_COOKIE_MAX) panic("a cookie of %zu bytes", cookie.len);
    if (cookie.len) memcpy(text, cookie.p, cookie.len);
    int n = snprintf((char *)text + cookie.len, DECIMAL_MAX + 1, "%u", (unsigned)challenge);
    digest_sum(DIGEST_MD5, slice_of(text, cookie.len + (size_t)n), out);
    mem_wipe(text, sizeof text);
}

bool dist_cookie_proves(slice cookie, uint32_t challenge, slice digest) {
    uint8_t want[DIST_COOKIE_DIGEST];
    dist_cookie_digest(cookie, challenge, want);
    bool same = slice_eq_ct(slice_of(want, sizeof want), digest);
    mem_wipe(want, sizeof want);
    return same;
}
