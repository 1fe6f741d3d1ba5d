/* parse: the text of a term, as etf_format writes it and people type it (OTP: erl_scan, erl_parse for terms), to the external format.
 *
 *     value --- scalar, or "]" at once -----> after a value: , or => or | or the closing bracket of the innermost open term
 *       ^  \--- { [ #{ opens a term --+                                   |
 *       +-----------------------------+<---------- , => | ----------------+
 *
 * Why not straight to a tree: what was typed is mostly sent; who wants the tree reads the bytes.
 *
 * Invariants: (1) one frame for each open term; its count is put in when it closes. (2) out is taken back to where it was on failure.
 * (3) names do not become anything that stays. */
#include "base/utf8.h"
#include "proto/etf/tag.h"
#include "proto/etf/term.h"
#include "proto/etf/text.h"

#include <math.h>
#include <stdlib.h>

#define FLOAT_TEXT_MAX 400 /* digits of a float; the largest has 309 before its point */
#define BASE_MAX       36u
#define SIZE_BITS_MAX  64u

typedef enum open_kind { OPEN_TUPLE, OPEN_LIST, OPEN_TAIL, OPEN_KEYS, OPEN_VALUES } open_kind;

typedef struct frame {
    size_t at;  /* of its head in out */
    uint32_t n; /* elements that are done */
    open_kind kind;
} frame;

typedef struct parser {
    slice text;
    size_t at;
    buf *out;
    err error;
    size_t depth;
    frame open[ETF_DEPTH_MAX];
} parser;

static bool fail(parser *p, err e) {
    if (!p->error) p->error = e;
    return false;
}

/* --- characters */

static inline uint32_t peek(const parser *p) { return p->at < p->text.len ? p->text.p[p->at] : 0; }

static bool take_if(parser *p, const char *word) {
    if (!slice_starts(slice_from(p->text, p->at), slice_str(word))) return false;
    p->at += strlen(word);
    return true;
}

static void skip_space(parser *p) {
    while (p->at < p->text.len && (peek(p) == ' ' || (peek(p) >= '\t' && peek(p) <= '\r'))) p->at++;
}

static bool next_char(parser *p, uint32_t *out) {
    size_t n = utf8_decode(slice_from(p->text, p->at), out);
    p->at += n;
    return n > 0 || fail(p, ERR_INVALID);
}

static unsigned digit_of(uint32_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : BASE_MAX;
}

/* Digits of a base, at most max of them; false: there is none. */
static bool code(parser *p, unsigned base, unsigned max, uint32_t *out) {
    uint32_t v = 0;
    unsigned n = 0;
    for (; n < max && digit_of(peek(p)) < base; n++, p->at++) v = v * base + digit_of(peek(p));
    *out = v;
    return n > 0 || fail(p, ERR_INVALID);
}

/* What follows a backslash (OTP: reference manual, "Escape Sequences"). */
static bool escape(parser *p, uint32_t *out) {
    static const char names[] = "bdefnrstv", means[] = "\b\x7f\x1b\f\n\r \t\v";
    if (peek(p) >= '0' && peek(p) <= '7') return code(p, 8, 3, out);
    if (take_if(p, "x{")) return code(p, 16, 6, out) && (take_if(p, "}") || fail(p, ERR_INVALID));
    if (take_if(p, "x")) return code(p, 16, 2, out);
    bool control = take_if(p, "^");
    if (!next_char(p, out)) return false;
    if (control) {
        *out &= 31;
        return true;
    }
    const char *name = *out && *out < 0x80 ? strchr(names, (int)*out) : NULL;
    if (name) *out = (uint8_t)means[name - names];
    return true;
}

static bool text_char(parser *p, uint32_t *out) {
    uint8_t bytes[4];
    if (!next_char(p, out)) return false;
    if (*out == '\\' && !escape(p, out)) return false;
    return utf8_encode(*out, bytes) > 0 || fail(p, ERR_INVALID);
}

/* --- texts: what stands in quotes is looked at once to learn its size, and once to write it */

typedef enum text_as { AS_BYTES, AS_UTF8, AS_INTEGERS } text_as;

static void put_as(buf *out, uint32_t c, text_as as) {
    uint8_t bytes[4];
    if (as == AS_BYTES) {
        buf_add_byte(out, (uint8_t)c);
    } else if (as == AS_UTF8) {
        buf_add(out, slice_of(bytes, utf8_encode(c, bytes)));
    } else {
        etf_put_int(out, c);
    }
}

/* After the opening quote, to past the closing one. out NULL: nothing is written. */
static bool quoted(parser *p, uint8_t quote, buf *out, text_as as, uint32_t *out_n, uint32_t *out_max) {
    uint32_t n = 0, max = 0, c;
    while (peek(p) != quote || p->at >= p->text.len) {
        if (!text_char(p, &c)) return false;
        if (out) put_as(out, c, as);
        if (c > max) max = c;
        n++;
    }
    p->at++;
    *out_n = n;
    *out_max = max;
    return true;
}

static bool string(parser *p) {
    size_t from = p->at;
    uint32_t n, max;
    if (!quoted(p, '"', NULL, AS_BYTES, &n, &max)) return false;
    size_t to = p->at;
    p->at = from;
    bool is_row = max > UINT8_MAX || n > UINT16_MAX;
    if (n == 0) {
        etf_put_nil(p->out);
    } else if (is_row) {
        etf_put_list(p->out, n);
    } else {
        const uint8_t head[] = {TAG_STRING, (uint8_t)(n >> 8), (uint8_t)n};
        buf_add(p->out, slice_of(head, sizeof head));
    }
    bool ok = quoted(p, '"', p->out, is_row ? AS_INTEGERS : AS_BYTES, &n, &max);
    if (is_row) etf_put_nil(p->out);
    return ok && check(p->at == to);
}

/* An atom into text, which holds ETF_ATOM_BYTES and one character more. */
static bool atom(parser *p, uint8_t *text, size_t *out_len) {
    size_t len = 0;
    uint32_t c;
    bool is_quoted = take_if(p, "'");
    while (is_quoted ? !take_if(p, "'") : true) {
        size_t before = p->at;
        if (!is_quoted && p->at == p->text.len) break;
        if (is_quoted ? !text_char(p, &c) : !next_char(p, &c)) return false;
        if (!is_quoted && !(len ? etf_is_name(c) : etf_is_lower(c))) {
            p->at = before;
            break;
        }
        len += utf8_encode(c, text + len);
        if (len > ETF_ATOM_BYTES) return fail(p, ERR_INVALID);
    }
    *out_len = len;
    slice word = slice_of(text, len);
    bool ok = is_quoted ? etf_is_atom(word) : len && !etf_is_reserved(word) && etf_is_atom(word);
    return ok || fail(p, ERR_INVALID);
}

static bool put_atom(parser *p) {
    uint8_t text[ETF_ATOM_BYTES + 4];
    size_t len;
    if (!atom(p, text, &len)) return false;
    etf_put_atom(p->out, slice_of(text, len));
    return true;
}

/* fun M:F/A */
static bool export(parser *p) {
    uint8_t module[ETF_ATOM_BYTES + 4], function[ETF_ATOM_BYTES + 4];
    size_t m, f;
    uint32_t arity;
    skip_space(p);
    if (!atom(p, module, &m) || !(take_if(p, ":") || fail(p, ERR_INVALID))) return false;
    if (!atom(p, function, &f) || !(take_if(p, "/") || fail(p, ERR_INVALID)) || !code(p, 10, 3, &arity)) return false;
    if (arity > UINT8_MAX) return fail(p, ERR_INVALID);
    etf_put_export(p->out, &(etf_export){slice_of(module, m), slice_of(function, f), (uint8_t)arity});
    return true;
}

/* --- numbers */

/* The digits from p->at on, _ between them left out: how many bytes of text they are. */
static size_t digits_len(const parser *p, unsigned base) {
    size_t at = p->at;
    while (at < p->text.len && (digit_of(p->text.p[at]) < base || (p->text.p[at] == '_' && at > p->at && p->text.p[at - 1] != '_'))) at++;
    return at > p->at && p->text.p[at - 1] == '_' ? at - 1 - p->at : at - p->at;
}

/* Hexadecimal digits of any length: two of them are a byte. */
static bool long_hex(parser *p, slice digits, bool negative) {
    size_t n = 0;
    for (size_t i = 0; i < digits.len; i++) n += digits.p[i] != '_';
    size_t len = (n + 1) / 2, at = 0;
    uint8_t *room = len <= UINT32_MAX ? buf_reserve(p->out, len + 6) : NULL;
    if (!room) return fail(p, ERR_LIMIT);
    const uint8_t head[] = {TAG_LARGE_BIG, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, negative};
    memcpy(room, head, sizeof head);
    memset(room + sizeof head, 0, len);
    for (size_t i = digits.len; i; i--) {
        if (digits.p[i - 1] == '_') continue;
        room[sizeof head + at / 2] |= (uint8_t)(digit_of(digits.p[i - 1]) << (at % 2 * 4));
        at++;
    }
    buf_added(p->out, sizeof head + len);
    return true;
}

static bool integer(parser *p, slice digits, unsigned base, bool negative) {
    uint8_t magnitude[ETF_DECIMAL_BYTES + 4] = {0};
    size_t len = 0;
    if (base == 16 && digits.len > ETF_DECIMAL_BYTES) return long_hex(p, digits, negative);
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.p[i] == '_') continue;
        unsigned carry = digit_of(digits.p[i]);
        for (size_t k = 0; k < len || carry; k++) {
            if (k == ETF_DECIMAL_BYTES) return fail(p, ERR_LIMIT);
            carry += magnitude[k] * base;
            magnitude[k] = (uint8_t)carry;
            carry >>= 8;
            if (k == len) len++;
        }
    }
    etf_put_big(p->out, &(etf_big){slice_of(magnitude, len), negative});
    return true;
}

static bool real(parser *p, size_t from, bool negative) {
    char text[FLOAT_TEXT_MAX + 1];
    size_t n = 0;
    for (size_t i = from; i < p->at; i++) {
        if (p->text.p[i] == '_') continue;
        if (n == FLOAT_TEXT_MAX) return fail(p, ERR_LIMIT);
        text[n++] = (char)p->text.p[i];
    }
    text[n] = '\0';
    double v = strtod(text, NULL);
    if (!isfinite(v)) return fail(p, ERR_INVALID);
    etf_put_float(p->out, negative ? -v : v);
    return true;
}

static bool number(parser *p) {
    bool negative = take_if(p, "-");
    if (!negative) (void)take_if(p, "+"); /* a sign that changes nothing */
    if (take_if(p, "$")) {
        uint32_t c;
        if (!text_char(p, &c)) return false;
        etf_put_int(p->out, negative ? -(int64_t)c : c);
        return true;
    }
    size_t from = p->at, len = digits_len(p, 10);
    if (len == 0) return fail(p, ERR_INVALID);
    p->at += len;
    if (take_if(p, "#")) {
        unsigned base = 0;
        for (size_t i = 0; i < len && base <= BASE_MAX; i++) base = base * 10 + digit_of(p->text.p[from + i]);
        if (base < 2 || base > BASE_MAX || (len = digits_len(p, base)) == 0) return fail(p, ERR_INVALID);
        p->at += len;
        return integer(p, slice_sub(p->text, p->at - len, len), base, negative);
    }
    if (peek(p) != '.' || p->at + 1 >= p->text.len || digit_of(p->text.p[p->at + 1]) > 9)
        return integer(p, slice_sub(p->text, from, len), 10, negative);
    p->at++;
    p->at += digits_len(p, 10);
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-') p->at++;
        len = digits_len(p, 10);
        if (len == 0) return fail(p, ERR_INVALID);
        p->at += len;
    }
    return real(p, from, negative);
}

/* --- bits */

/* Appends the low n bits of v; *used: bits of the last byte that are in use, 0 for all. */
static void put_low_bits(buf *out, uint64_t v, unsigned n, unsigned *used) {
    while (n) {
        if (*used == 0) buf_add_byte(out, 0);
        if (!buf_ok(out)) return;
        unsigned take = 8 - *used < n ? 8 - *used : n;
        unsigned part = (unsigned)(v >> (n - take)) & ((1u << take) - 1);
        out->p[out->len - 1] |= (uint8_t)(part << (8 - *used - take));
        *used = (*used + take) % 8;
        n -= take;
    }
}

/* "text" or "text"/utf8 */
static bool text_segment(parser *p, unsigned *used) {
    size_t from = p->at;
    uint32_t n, max, c;
    if (!quoted(p, '"', NULL, AS_BYTES, &n, &max)) return false;
    size_t to = p->at;
    bool is_utf8 = take_if(p, "/utf8");
    if (!is_utf8 && max > UINT8_MAX) return fail(p, ERR_INVALID);
    size_t end = p->at;
    for (p->at = from; p->at + 1 < to;) {
        uint8_t bytes[4];
        if (!text_char(p, &c)) return false;
        bytes[0] = (uint8_t)c;
        size_t len = is_utf8 ? utf8_encode(c, bytes) : 1;
        for (size_t i = 0; i < len; i++) put_low_bits(p->out, bytes[i], 8, used);
    }
    p->at = end;
    return true;
}

/* N or N:Size */
static bool number_segment(parser *p, unsigned *used) {
    size_t before = p->out->len;
    if (!number(p)) return false;
    etf_reader r = etf_reader_of(slice_from(buf_slice(p->out), before));
    int64_t v;
    if (!buf_ok(p->out)) return false;
    if (!etf_get_int(&r, &v)) return fail(p, ERR_INVALID);
    p->out->len = before;
    uint32_t size = 8;
    if (take_if(p, ":") && !code(p, 10, 3, &size)) return false;
    if (size > SIZE_BITS_MAX) return fail(p, ERR_INVALID);
    put_low_bits(p->out, (uint64_t)v, size, used);
    return true;
}

static bool segments(parser *p, unsigned *used) {
    skip_space(p);
    if (take_if(p, ">>")) return true;
    for (;;) {
        skip_space(p);
        if (!(take_if(p, "\"") ? text_segment(p, used) : number_segment(p, used))) return false;
        skip_space(p);
        if (take_if(p, ">>")) return true;
        if (!take_if(p, ",")) return fail(p, ERR_INVALID);
    }
}

/* Written with room for the head of bits; whole bytes have one that is shorter. */
static bool bits(parser *p) {
    const uint8_t room[6] = {TAG_BIT_BINARY};
    size_t at = p->out->len;
    unsigned used = 0;
    buf_add(p->out, slice_of(room, sizeof room));
    if (!buf_ok(p->out) || !segments(p, &used) || !buf_ok(p->out)) return false;
    uint8_t *head = p->out->p + at;
    size_t len = p->out->len - at - sizeof room;
    if (len > UINT32_MAX) return fail(p, ERR_LIMIT);
    for (int i = 0; i < 4; i++) head[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    head[5] = (uint8_t)used;
    if (used) return true;
    head[0] = TAG_BINARY;
    memmove(head + 5, head + 6, len);
    p->out->len--;
    return true;
}

/* --- what holds terms */

static bool open_term(parser *p, open_kind kind) {
    static const uint8_t tags[] = {[OPEN_TUPLE] = TAG_LARGE_TUPLE, [OPEN_LIST] = TAG_LIST, [OPEN_KEYS] = TAG_MAP};
    if (p->depth == ETF_DEPTH_MAX) return fail(p, ERR_LIMIT);
    const uint8_t head[5] = {tags[kind]};
    p->open[p->depth++] = (frame){p->out->len, 0, kind};
    buf_add(p->out, slice_of(head, sizeof head));
    return true;
}

/* The closing bracket was taken. */
static void close_term(parser *p) {
    const frame *f = &p->open[--p->depth];
    if (!buf_ok(p->out)) return;
    if (f->kind == OPEN_LIST && f->n == 0) p->out->len = f->at;
    if (f->kind == OPEN_LIST) etf_put_nil(p->out);
    if (f->kind == OPEN_LIST && f->n == 0) return;
    for (int i = 0; i < 4; i++) p->out->p[f->at + 1 + (size_t)i] = (uint8_t)(f->n >> (24 - 8 * i));
}

static const char *closing(open_kind k) { return k == OPEN_TUPLE || k == OPEN_VALUES || k == OPEN_KEYS ? "}" : "]"; }

/* After a value: true if another one has to follow, false if none is left open, or on failure. */
static bool go_on(parser *p) {
    while (p->depth) {
        frame *f = &p->open[p->depth - 1];
        skip_space(p);
        if (f->kind == OPEN_KEYS) {
            f->kind = OPEN_VALUES;
            return take_if(p, "=>") || fail(p, ERR_INVALID);
        }
        if (f->kind != OPEN_TAIL) f->n++;
        if (f->kind != OPEN_TAIL && take_if(p, ",")) {
            if (f->kind == OPEN_VALUES) f->kind = OPEN_KEYS;
            return true;
        }
        if (f->kind == OPEN_LIST && take_if(p, "|")) {
            f->kind = OPEN_TAIL;
            return true;
        }
        if (!take_if(p, closing(f->kind))) return fail(p, ERR_INVALID);
        close_term(p);
    }
    return false;
}

static bool scalar(parser *p) {
    uint32_t c = peek(p);
    if (take_if(p, "\"")) return string(p);
    if (take_if(p, "<<")) return bits(p);
    if (take_if(p, "fun ")) return export(p);
    if (c == '-' || c == '+' || c == '$' || (c >= '0' && c <= '9')) return number(p);
    return put_atom(p);
}

/* One value, or the beginning of one. *out_open: a value has to follow. */
static bool value(parser *p, bool *out_open) {
    *out_open = true;
    skip_space(p);
    bool ok, is_empty;
    if (take_if(p, "{")) {
        ok = open_term(p, OPEN_TUPLE);
    } else if (take_if(p, "[")) {
        ok = open_term(p, OPEN_LIST);
    } else if (take_if(p, "#{")) {
        ok = open_term(p, OPEN_KEYS);
    } else {
        *out_open = false;
        return scalar(p);
    }
    if (!ok) return false;
    skip_space(p);
    is_empty = take_if(p, closing(p->open[p->depth - 1].kind));
    if (is_empty) close_term(p);
    *out_open = !is_empty;
    return true;
}

/* The limits of a term, and that no map has a key twice, are seen by reading it. */
static err judge(slice term) {
    arena a;
    arena_init(&a, term.len <= SIZE_MAX / ETF_TERM_COST ? term.len * ETF_TERM_COST : SIZE_MAX);
    etf_reader r = etf_reader_of(term);
    const etf_term *tree;
    err e = etf_term_read(&r, &a, &tree);
    arena_fini(&a);
    return e;
}

err etf_parse(slice text, buf *out, size_t *out_at) {
    size_t from = out->len;
    parser p;
    p.text = text, p.at = 0, p.out = out, p.error = ERR_OK, p.depth = 0;
    bool more = true, is_open;
    if (!buf_ok(out)) return ERR_LIMIT;
    while (more && buf_ok(out)) {
        more = value(&p, &is_open);
        if (more && !is_open) more = go_on(&p);
    }
    skip_space(&p);
    if (!buf_ok(out)) (void)fail(&p, ERR_LIMIT); /* the first error is kept */
    if (!p.error && p.at < text.len) (void)fail(&p, ERR_INVALID);
    if (!p.error) p.error = judge(slice_from(buf_slice(out), from));
    if (!p.error) return ERR_OK;
    out->len = from;
    out->failed = false;
    *out_at = p.at;
    return p.error;
}
