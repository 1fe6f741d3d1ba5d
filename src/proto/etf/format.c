/* format: a term as the shell prints it on one line (OTP: io_lib_pretty, io_lib, io_lib_format).
 *
 * What a list or a binary is shown as depends on all of it: text, if every byte or element is a printable character; else numbers.
 *
 * Invariants: (1) one frame for each open term, none of which is a tail. (2) what is written holds no control characters and nothing that
 * turns the direction of text. (3) it costs the bytes of the term, and for an integer at most the square of ETF_DECIMAL_BYTES. */
#include "base/utf8.h"
#include "proto/etf/term.h"
#include "proto/etf/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct frame {
    const etf_term *of; /* a list: its row that is being written */
    uint64_t next;      /* step: a term inside, or for a record a field */
} frame;

/* --- characters */

/* One character inside quotes. */
static void put_char(buf *out, uint32_t c, uint8_t quote) {
    static const char names[] = {[8] = 'b', [9] = 't', [10] = 'n', [11] = 'v', [12] = 'f', [13] = 'r', [27] = 'e', [127] = 'd'};
    uint8_t bytes[4];
    if (c == quote || c == '\\') {
        buf_addf(out, "\\%c", (char)c);
    } else if (c < sizeof names && names[c]) {
        buf_addf(out, "\\%c", names[c]);
    } else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
        buf_addf(out, "\\%03o", c);
    } else if (etf_is_turning(c)) {
        buf_addf(out, "\\x{%X}", c);
    } else {
        buf_add(out, slice_of(bytes, utf8_encode(c, bytes)));
    }
}

static void put_text(buf *out, slice text, uint8_t quote) {
    buf_add_byte(out, quote);
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t n = utf8_decode(slice_from(text, at), &c);
        put_char(out, n ? c : 0xfffd, quote);
        at += n ? n : 1;
    }
    buf_add_byte(out, quote);
}

static void put_latin1(buf *out, slice text) {
    buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) put_char(out, text.p[i], '"');
    buf_add_byte(out, '"');
}

bool etf_is_reserved(slice word) {
    static const char *const words[] = {"after", "and",   "andalso", "band",    "begin", "bnot", "bor",  "bsl", "bsr",   "bxor",
                                        "case",  "catch", "cond",    "div",     "end",   "fun",  "if",   "let", "maybe", "not",
                                        "of",    "or",    "orelse",  "receive", "rem",   "try",  "when", "xor"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_is(word, words[i])) return true;
    return false;
}

static bool is_bare(slice text) {
    uint32_t c;
    size_t n = utf8_decode(text, &c);
    if (n == 0 || !etf_is_lower(c) || etf_is_reserved(text)) return false;
    for (size_t at = n; at < text.len; at += n) {
        n = utf8_decode(slice_from(text, at), &c);
        if (n == 0 || !etf_is_name(c)) return false;
    }
    return true;
}

static void put_atom(buf *out, slice text) {
    if (is_bare(text)) {
        buf_add(out, text);
    } else {
        put_text(out, text, '\'');
    }
}

/* --- numbers */

static void put_big(buf *out, const etf_big *v) {
    if (v->negative) buf_add_byte(out, '-');
    if (v->magnitude.len > ETF_DECIMAL_BYTES) {
        buf_add_str(out, "16#");
        for (size_t i = v->magnitude.len; i; i--) buf_addf(out, i == v->magnitude.len ? "%X" : "%02X", v->magnitude.p[i - 1]);
        return;
    }
    enum { GROUP = 1000000000, LIMBS = ETF_DECIMAL_BYTES / 4, GROUPS = LIMBS * 32 / 29 + 1 };
    uint32_t limb[LIMBS] = {0}, group[GROUPS];
    size_t limbs = (v->magnitude.len + 3) / 4, groups = 0;
    for (size_t i = 0; i < v->magnitude.len; i++) limb[i / 4] |= (uint32_t)v->magnitude.p[i] << (i % 4 * 8);
    while (limbs) { /* nine digits a round, the lowest first */
        uint64_t rest = 0;
        for (size_t i = limbs; i; i--) {
            rest = rest << 32 | limb[i - 1];
            limb[i - 1] = (uint32_t)(rest / GROUP);
            rest %= GROUP;
        }
        group[groups++] = (uint32_t)rest;
        while (limbs && limb[limbs - 1] == 0) limbs--;
    }
    for (size_t i = groups; i; i--) buf_addf(out, i == groups ? "%u" : "%09u", group[i - 1]);
}

#define FLOAT_DIGITS 17
#define FLOAT_WHOLE  0x1p53 /* from here on a float has no digits after the point, and all get an exponent */

/* digits with the point before number place: the shorter of the plain form and that with an exponent (OTP: float_to_list, short). */
static void put_digits(buf *out, const char *digits, int len, int place, bool is_large) {
    char exponent[8];
    int exp_len = snprintf(exponent, sizeof exponent, "%d", place - 1), exp_cost = exp_len + (len == 1 ? 3 : 2);
    bool is_plain = !is_large && (place > 0 ? place - len + 2 <= exp_cost || place < len : 2 - place <= exp_cost);
    if (!is_plain) {
        buf_addf(out, "%c.%.*se%s", digits[0], len > 1 ? len - 1 : 1, len > 1 ? digits + 1 : "0", exponent);
    } else if (place <= 0) {
        buf_addf(out, "0.%.*s%.*s", -place, "0000000000", len, digits);
    } else if (place >= len) {
        buf_addf(out, "%.*s%.*s.0", len, digits, place - len, "0000000000");
    } else {
        buf_addf(out, "%.*s.%.*s", place, digits, len - place, digits + place);
    }
}

/* One more in the last digit of what "%.*e" printed. False: it was 9. */
static bool next_up(char *text) {
    char *last = strchr(text, 'e') - 1;
    if (*last == '9') return false;
    ++*last;
    return true;
}

/* The n digits nearest to v; false if they do not read back as v. The floats below a power of two are nearer to it than those above, so
 * that there the next digits up may do where the nearest ones do not. */
static bool try_digits(char *text, size_t size, int n, double v) {
    int exponent;
    (void)snprintf(text, size, "%.*e", n - 1, v);
    if (strtod(text, NULL) == v) return true;
    return frexp(v, &exponent) == 0.5 && next_up(text) && strtod(text, NULL) == v;
}

/* The fewest digits that read back as the same float. */
static void put_float(buf *out, double v) {
    char text[40], digits[FLOAT_DIGITS + 1];
    if (v == 0) {
        buf_add_str(out, signbit(v) ? "-0.0" : "0.0");
        return;
    }
    if (v < 0) buf_add_byte(out, '-');
    v = fabs(v);
    for (int n = 1; n <= FLOAT_DIGITS && !try_digits(text, sizeof text, n, v); n++) {
    }
    const char *e = strchr(text, 'e');
    int len = 0;
    for (const char *p = text; p < e; p++)
        if (*p != '.') digits[len++] = *p;
    while (len > 1 && digits[len - 1] == '0') len--;
    put_digits(out, digits, len, (int)strtol(e + 1, NULL, 10) + 1, v >= FLOAT_WHOLE);
}

/* --- bytes and lists as text */

static bool is_text(slice s, bool *out_ascii) {
    *out_ascii = true;
    for (size_t at = 0; at < s.len;) {
        uint32_t c;
        size_t n = utf8_decode(slice_from(s, at), &c);
        if (n == 0 || !etf_is_printable(c)) return false;
        if (n > 1) *out_ascii = false;
        at += n;
    }
    return true;
}

static bool is_latin1(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!etf_is_printable(s.p[i])) return false;
    return true;
}

/* Text if it can be: UTF-8; else, if it is not UTF-8 at all, Latin-1. */
static void put_bits(buf *out, const etf_bits *v) {
    bool ascii;
    buf_add_str(out, "<<");
    if (v->bytes.len && v->last == 8 && is_text(v->bytes, &ascii)) {
        put_text(out, v->bytes, '"');
        if (!ascii) buf_add_str(out, "/utf8");
    } else if (v->bytes.len && v->last == 8 && is_latin1(v->bytes) && !utf8_valid(v->bytes)) {
        put_latin1(out, v->bytes);
    } else {
        for (size_t i = 0; i < v->bytes.len && buf_ok(out); i++) {
            bool is_part = i + 1 == v->bytes.len && v->last < 8;
            buf_addf(out, "%s%u", i ? "," : "", is_part ? v->bytes.p[i] >> (8 - v->last) : v->bytes.p[i]);
            if (is_part) buf_addf(out, ":%u", v->last);
        }
    }
    buf_add_str(out, ">>");
}

static bool list_is_text(const etf_term *t) {
    const etf_term *c;
    etf_list l = etf_list_of(t);
    while (etf_list_next(&l, &c))
        if (c->item.kind != ETF_INT || c->item.i < 0 || c->item.i > 0x10ffff || !etf_is_printable((uint32_t)c->item.i)) return false;
    return l.rest->item.kind == ETF_NIL;
}

static void put_list_text(buf *out, const etf_term *t) {
    const etf_term *c;
    etf_list l = etf_list_of(t);
    buf_add_byte(out, '"');
    while (etf_list_next(&l, &c)) put_char(out, (uint32_t)c->item.i, '"');
    buf_add_byte(out, '"');
}

static void put_numbers(buf *out, slice s) {
    for (size_t i = 0; i < s.len && buf_ok(out); i++) buf_addf(out, "%s%u", i ? "," : "", s.p[i]);
}

/* --- terms */

static void put_ref(buf *out, const etf_ref *r) {
    buf_add_str(out, "#Ref<");
    put_atom(out, r->node);
    for (uint32_t i = r->n; i; i--) buf_addf(out, ".%u", r->word[i - 1]);
    buf_add_byte(out, '>');
}

/* Local funs have no syntax; what is inside is not shown (OTP: erlang:fun_to_list). */
static void put_fun(buf *out, const etf_term *t) {
    buf_add_str(out, "#Fun<");
    put_atom(out, t->in[0].item.text);
    buf_addf(out, ".%lld.%lld>", (long long)t->in[1].item.i, (long long)t->in[2].item.i);
}

static void put_head(buf *out, const etf_term *t) {
    const etf_item *it = &t->item;
    switch (it->kind) {
    case ETF_INT: buf_addf(out, "%lld", (long long)it->i); return;
    case ETF_BIG: put_big(out, &it->big); return;
    case ETF_FLOAT: put_float(out, it->f); return;
    case ETF_ATOM: put_atom(out, it->text); return;
    case ETF_PID:
        buf_add_byte(out, '<');
        put_atom(out, it->pid.node);
        buf_addf(out, ".%u.%u>", it->pid.id, it->pid.serial);
        return;
    case ETF_PORT:
        buf_add_str(out, "#Port<");
        put_atom(out, it->port.node);
        buf_addf(out, ".%llu>", (unsigned long long)it->port.id);
        return;
    case ETF_REF: put_ref(out, &it->ref); return;
    case ETF_BITS: put_bits(out, &it->bits); return;
    case ETF_NIL: buf_add_str(out, "[]"); return;
    case ETF_STRING:
    case ETF_LIST: buf_add_byte(out, '['); return;
    case ETF_TUPLE: buf_add_byte(out, '{'); return;
    case ETF_MAP: buf_add_str(out, "#{"); return;
    case ETF_EXPORT:
        buf_add_str(out, "fun ");
        put_atom(out, it->fn.module);
        buf_add_byte(out, ':');
        put_atom(out, it->fn.function);
        buf_addf(out, "/%u", it->fn.arity);
        return;
    case ETF_FUN: put_fun(out, t); return;
    case ETF_RECORD:
        buf_add_byte(out, '#');
        put_atom(out, t->in[0].item.text);
        buf_add_byte(out, ':');
        put_atom(out, t->in[1].item.text);
        buf_add_byte(out, '{');
        return;
    }
}

/* The next term inside the list f; NULL: it is closed. A tail that is a list goes on with its own elements. */
static const etf_term *next_in_list(frame *f, buf *out) {
    while (f->next == f->of->item.n) {
        const etf_term *tail = &f->of->in[f->next];
        if (tail->item.kind == ETF_LIST) {
            *f = (frame){tail, 0};
            buf_add_byte(out, ',');
            return &tail->in[f->next++];
        }
        if (tail->item.kind == ETF_STRING) {
            buf_add_byte(out, ',');
            put_numbers(out, tail->item.text);
        }
        if (tail->item.kind == ETF_STRING || tail->item.kind == ETF_NIL) return NULL;
        buf_add_byte(out, '|');
        f->next++;
        return tail;
    }
    if (f->next > f->of->item.n) return NULL;
    if (f->next) buf_add_byte(out, ',');
    return &f->of->in[f->next++];
}

/* The next term inside, with what stands before it; NULL: the term is closed, and that is written too. */
static const etf_term *next_inside(frame *f, buf *out) {
    const etf_item *it = &f->of->item;
    if (it->kind == ETF_LIST) {
        const etf_term *t = next_in_list(f, out);
        if (!t) buf_add_byte(out, ']');
        return t;
    }
    uint64_t n = it->kind == ETF_RECORD ? it->record.n : etf_item_terms(it);
    if (f->next == n) {
        buf_add_byte(out, '}');
        return NULL;
    }
    bool is_value = it->kind == ETF_MAP && f->next % 2;
    if (f->next) buf_add_str(out, is_value ? " => " : ",");
    uint64_t i = f->next++;
    if (it->kind != ETF_RECORD) return &f->of->in[i];
    put_atom(out, f->of->in[2 + i].item.text);
    buf_add_str(out, " = ");
    return &f->of->in[2 + n + i];
}

void etf_format(const etf_term *t, buf *out) {
    frame open[ETF_DEPTH_MAX + 1]; /* a string is opened too */
    size_t depth = 0;
    while (buf_ok(out)) {
        etf_kind k = t->item.kind;
        bool is_list = k == ETF_LIST || k == ETF_STRING;
        if (is_list && list_is_text(t)) {
            put_list_text(out, t);
        } else {
            put_head(out, t);
            if (k == ETF_STRING) {
                put_numbers(out, t->item.text);
                buf_add_byte(out, ']');
            } else if (is_list || k == ETF_TUPLE || k == ETF_MAP || k == ETF_RECORD) {
                if (!check(depth < ARRAY_LEN(open))) break;
                open[depth++] = (frame){t, 0};
            }
        }
        const etf_term *next = NULL;
        while (depth && !(next = next_inside(&open[depth - 1], out))) depth--;
        if (!next) return;
        t = next;
    }
    out->failed = true;
}
