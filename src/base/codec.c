/* codec: base64, hex, decimal and time, in both directions and strict.
 *
 * Why strict: what two decoders read differently is a way to log in as somebody else. There is one spelling of every value; a second
 * spelling is an error.
 *
 * Invariants: (1) decode(encode(x)) == x, and what decode accepts is what encode writes (hex: either case). (2) On failure the output is as
 * long as before; only a full buffer is, as always, marked failed. (3) Parsing never overflows: the limit is checked before the digit
 * is added. */
#include "base/codec.h"

#include <stdio.h>

#define USEC_PER_SEC_ 1000000
#define SEC_PER_DAY   86400
#define TIME_TEXT_MAX 32 /* the size of time_format's out */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(buf *out, slice in) {
    if (in.len == 0) return;
    if (in.len > SIZE_MAX / 4 * 3 - 3) panic("base64 of %zu bytes", in.len);
    uint8_t *to = buf_reserve(out, BASE64_LEN(in.len));
    if (!to) return;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.p[i] << 16;
        if (n > 1) v |= (uint32_t)in.p[i + 1] << 8;
        if (n > 2) v |= in.p[i + 2];
        *to++ = (uint8_t)alphabet[v >> 18];
        *to++ = (uint8_t)alphabet[v >> 12 & 63];
        *to++ = n > 1 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
        *to++ = n > 2 ? (uint8_t)alphabet[v & 63] : '=';
    }
    buf_added(out, BASE64_LEN(in.len));
}

/* The value of a character of the alphabet, or -1. By arithmetic, not by table: a password passes here. */
static int32_t base64_value(uint8_t c) {
    int32_t v = -1;
    v += (c >= 'A' && c <= 'Z') * (c - 'A' + 1);
    v += (c >= 'a' && c <= 'z') * (c - 'a' + 27);
    v += (c >= '0' && c <= '9') * (c - '0' + 53);
    v += (c == '+') * 63 + (c == '/') * 64;
    return v;
}

err base64_decode(buf *out, slice in) {
    if (in.len % 4 != 0) return ERR_INVALID;
    if (in.len == 0) return ERR_OK;
    size_t pad = (size_t)(in.p[in.len - 1] == '=') + (size_t)(in.p[in.len - 1] == '=' && in.p[in.len - 2] == '=');
    size_t len = in.len / 4 * 3 - pad;
    uint8_t *to = buf_reserve(out, len);
    if (!to) return ERR_LIMIT;
    size_t at = 0;
    for (size_t i = 0; i < in.len; i += 4) {
        size_t chars = i + 4 == in.len ? 4 - pad : 4;
        int32_t v = 0;
        for (size_t j = 0; j < 4; j++) {
            int32_t d = j < chars ? base64_value(in.p[i + j]) : 0; /* '=' elsewhere than at the end has no value */
            if (d < 0) return ERR_INVALID;
            v = v << 6 | d;
        }
        if (chars < 4 && (v & (chars == 2 ? 0xffff : 0xff)) != 0) return ERR_INVALID; /* bits that no byte would hold */
        for (size_t j = 0; j < chars - 1; j++) to[at++] = (uint8_t)(v >> (16 - 8 * j));
    }
    buf_added(out, len);
    return ERR_OK;
}

void hex_encode(buf *out, slice in) {
    static const char digits[] = "0123456789abcdef";
    if (in.len > SIZE_MAX / 2) panic("hex of %zu bytes", in.len);
    uint8_t *to = buf_reserve(out, in.len * 2);
    if (!to) return;
    for (size_t i = 0; i < in.len; i++) {
        to[2 * i] = (uint8_t)digits[in.p[i] >> 4];
        to[2 * i + 1] = (uint8_t)digits[in.p[i] & 15];
    }
    buf_added(out, in.len * 2);
}

static int hex_value(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

err hex_decode(buf *out, slice in) {
    if (in.len % 2 != 0) return ERR_INVALID;
    uint8_t *to = buf_reserve(out, in.len / 2);
    if (!to) return ERR_LIMIT;
    for (size_t i = 0; i < in.len; i += 2) {
        int high = hex_value(in.p[i]);
        int low = hex_value(in.p[i + 1]);
        if (high < 0 || low < 0) return ERR_INVALID;
        to[i / 2] = (uint8_t)(high << 4 | low);
    }
    buf_added(out, in.len / 2);
    return ERR_OK;
}

err dec_parse_u64(slice s, uint64_t max, uint64_t *out) {
    if (s.len == 0) return ERR_INVALID;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return ERR_INVALID;
        uint64_t d = (uint64_t)(s.p[i] - '0');
        if (v > max / 10 || v * 10 > max - d || d > max) return ERR_INVALID;
        v = v * 10 + d;
    }
    *out = v;
    return ERR_OK;
}

err dec_parse_i64(slice s, int64_t min, int64_t max, int64_t *out) {
    bool negative = s.len > 0 && s.p[0] == '-';
    uint64_t v;
    err e = dec_parse_u64(slice_from(s, negative), negative ? (uint64_t)1 << 63 : INT64_MAX, &v);
    if (e) return e;
    int64_t value = !negative ? (int64_t)v : v == 0 ? 0 : -(int64_t)(v - 1) - 1; /* reaches INT64_MIN without overflow */
    if (value < min || value > max) return ERR_INVALID;
    *out = value;
    return ERR_OK;
}

typedef struct civil {
    int64_t year;
    int month; /* 1-12 */
    int day;   /* 1-31 */
} civil;

/* The date of a number of days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"): years run from March, so that
 * the leap day comes last; an era is 400 years. */
static civil civil_of(int64_t days) {
    int64_t z = days + 719468; /* days from 0000-03-01 to 1970-01-01 */
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (civil){yoe + era * 400 + (month <= 2), month, (int)(doy - (153 * mp + 2) / 5 + 1)};
}

size_t time_format(int64_t wall_usec, bool with_msec, char out[32]) {
    int64_t usecs = wall_usec % USEC_PER_SEC_;
    int64_t secs = wall_usec / USEC_PER_SEC_;
    if (usecs < 0) { /* before 1970: divide downwards */
        usecs += USEC_PER_SEC_;
        secs--;
    }
    int64_t days = secs / SEC_PER_DAY - (secs % SEC_PER_DAY < 0);
    int sec = (int)(secs - days * SEC_PER_DAY);
    civil d = civil_of(days);
    int n = snprintf(out, TIME_TEXT_MAX, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)d.year, d.month, d.day, sec / 3600, sec / 60 % 60,
                     sec % 60);
    size_t len = n < 0 ? 0 : (size_t)n; /* at most "-290308-12-21T19:59:05": 22 */
    if (with_msec) {
        n = snprintf(out + len, TIME_TEXT_MAX - len, ".%03d", (int)(usecs / 1000));
        len += n < 0 ? 0 : (size_t)n;
    }
    out[len++] = 'Z';
    out[len] = '\0';
    return len;
}
