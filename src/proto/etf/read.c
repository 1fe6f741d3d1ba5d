/* read: one item of the external term format (OTP: erl_ext_dist), where it lies.
 *
 *     tag | fixed part | text or bytes          and, for a list, a tuple, a map, a fun, a record:  terms, items of their own
 *
 * Why items and not a tree: most messages pass by once, to be matched or handed on. What is read here costs no memory, so a sender
 * cannot ask for any.
 *
 * Invariants: (1) on false nothing was consumed and nothing written. (2) what an item promises is there: its texts and bytes wholly, and a
 * byte at least for each of its terms, so that a count is never larger than the input. (3) one value, one kind: an integer that fits
 * int64_t is never ETF_BIG, a list of no bytes is ETF_NIL, a list of no elements is its tail. */
#include "base/load.h"
#include "base/utf8.h"
#include "proto/etf/tag.h"

#include <math.h>
#include <stdlib.h>

#define FLOAT_TEXT    31 /* bytes of an old float */
#define TINY_CREATION 3u /* what the old tags have room for */
#define OLD_REF_FIRST (UINT32_C(1) << 18)
#define LATIN1_GROWTH 2u /* bytes of UTF-8 for one of Latin-1, at most */

static inline const uint8_t *take(cursor *c, size_t n) {
    if (UNLIKELY(cursor_left(c) < n)) return NULL;
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}

/* True if there is a byte for each of n terms. */
static inline bool has_terms(const etf_reader *r, uint64_t n) { return n <= cursor_left(&r->in) + r->more && n <= UINT32_MAX; }

/* --- atoms */

static bool utf8_atom(cursor *c, size_t len, slice *out) {
    const uint8_t *p = take(c, len);
    if (!p || !etf_is_atom(slice_of(p, len))) return false;
    *out = slice_of(p, len);
    return true;
}

static bool latin1_atom(const etf_reader *r, cursor *c, size_t len, bool convert, slice *out) {
    const uint8_t *p = take(c, len);
    if (!p || len > ETF_ATOM_CHARS) return false;
    if (etf_is_ascii(p, len) || (r->text && !convert)) {
        *out = slice_of(p, len);
        return true;
    }
    uint8_t *to = r->text ? arena_alloc(r->text, len * LATIN1_GROWTH) : NULL;
    if (!to) return false;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += utf8_encode(p[i], to + n);
    *out = slice_of(to, n);
    return true;
}

static bool cached_atom(const etf_reader *r, cursor *c, slice *out) {
    const uint8_t *p = take(c, 1);
    if (!p || !r->atoms || *p >= r->atoms->n) return false;
    *out = r->atoms->atom[*p];
    return true;
}

/* The text of an atom whose tag was taken; false also for a tag that is not an atom's. */
static bool atom_text(const etf_reader *r, cursor *c, uint8_t tag, bool convert, slice *out) {
    const uint8_t *p;
    switch (tag) {
    case TAG_SMALL_ATOM_UTF8: return (p = take(c, 1)) && utf8_atom(c, *p, out);
    case TAG_CACHE_REF: return cached_atom(r, c, out);
    case TAG_ATOM_UTF8: return (p = take(c, 2)) && utf8_atom(c, load_u16be(p), out);
    case TAG_SMALL_ATOM: return (p = take(c, 1)) && latin1_atom(r, c, *p, convert, out);
    case TAG_ATOM: return (p = take(c, 2)) && latin1_atom(r, c, load_u16be(p), convert, out);
    default: return false;
    }
}

/* A whole atom. Nearly all are short and ASCII. */
static inline bool atom(const etf_reader *r, cursor *c, bool convert, slice *out) {
    const uint8_t *p = c->p;
    size_t left = cursor_left(c);
    if (LIKELY(left >= 2 && p[0] == TAG_SMALL_ATOM_UTF8 && p[1] <= left - 2 && etf_is_ascii(p + 2, p[1]))) {
        c->p = p + 2 + p[1];
        *out = slice_of(p + 2, p[1]);
        return true;
    }
    slice other; /* so that *out may stay in registers */
    p = take(c, 1);
    if (!p || !atom_text(r, c, *p, convert, &other)) return false;
    *out = other;
    return true;
}

/* --- numbers */

static bool big(cursor *c, size_t len, etf_item *out) {
    const uint8_t *p = take(c, len + 1); /* the sign comes first */
    if (!p || p[0] > 1) return false;
    bool negative = p[0];
    while (len && p[len] == 0) len--;
    uint64_t v = 0;
    for (size_t i = len < 8 ? len : 8; i; i--) v = v << 8 | p[i];
    bool fits = len <= 8 && v <= (uint64_t)INT64_MAX + negative;
    if (fits) {
        out->kind = ETF_INT;
        out->i = (int64_t)(negative ? 0 - v : v);
    } else {
        out->kind = ETF_BIG;
        out->big = (etf_big){slice_of(p + 1, len), negative};
    }
    return true;
}

static bool put_float(etf_item *out, double v) {
    if (!isfinite(v)) return false;
    out->kind = ETF_FLOAT;
    out->f = v;
    return true;
}

static bool new_float(cursor *c, etf_item *out) {
    const uint8_t *p = take(c, 8);
    if (!p) return false;
    uint64_t bits = load_u64be(p);
    double v;
    memcpy(&v, &bits, sizeof v);
    return put_float(out, v);
}

static const char *digits(const char *p) {
    const char *from = p;
    while (*p >= '0' && *p <= '9') p++;
    return p > from ? p : NULL;
}

/* What "%.20e" printed: [sign] digits . digits [e [sign] digits], then zero bytes to the end. Looked at before strtod, which takes more. */
static bool old_float(cursor *c, etf_item *out) {
    const uint8_t *p = take(c, FLOAT_TEXT);
    char text[FLOAT_TEXT + 1] = {0};
    if (!p) return false;
    memcpy(text, p, FLOAT_TEXT);
    const char *at = digits(text + (text[0] == '-' || text[0] == '+'));
    if (!at || *at != '.' || !(at = digits(at + 1))) return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (!(at = digits(at + (*at == '-' || *at == '+')))) return false;
    }
    for (; at < text + FLOAT_TEXT; at++)
        if (*at) return false;
    return put_float(out, strtod(text, NULL));
}

/* --- identities: the old tags have one byte of creation, of which two bits may be set, and 18 bits in the first word of a reference (OTP:
 * erts external.c, dec_pid and dec_term) */

static bool creation(cursor *c, bool old, uint32_t *out) {
    const uint8_t *p = take(c, old ? 1 : 4);
    if (!p || (old && *p > TINY_CREATION)) return false;
    *out = old ? *p : load_u32be(p);
    return true;
}

static bool pid(const etf_reader *r, cursor *c, bool old, bool convert, etf_pid *out) {
    slice node;
    if (!atom(r, c, convert, &node)) return false;
    const uint8_t *p = take(c, 8);
    uint32_t cr;
    if (!p || !creation(c, old, &cr)) return false;
    *out = (etf_pid){node, load_u32be(p), load_u32be(p + 4), cr};
    return true;
}

static bool port(const etf_reader *r, cursor *c, uint8_t tag, bool convert, etf_item *out) {
    slice node;
    size_t len = tag == TAG_V4_PORT ? 8 : 4;
    if (!atom(r, c, convert, &node)) return false;
    const uint8_t *p = take(c, len);
    uint32_t cr;
    if (!p || !creation(c, tag == TAG_PORT, &cr)) return false;
    out->kind = ETF_PORT;
    out->port = (etf_port){node, len == 8 ? load_u64be(p) : load_u32be(p), cr};
    return true;
}

static bool ref_words(cursor *c, slice node, bool old, uint32_t cr, uint32_t n, etf_ref *out) {
    const uint8_t *p = take(c, (size_t)n * 4);
    if (!p || (old && load_u32be(p) >= OLD_REF_FIRST)) return false;
    out->node = node;
    out->creation = cr;
    out->n = n;
    for (uint32_t i = 0; i < ETF_REF_WORDS; i++) out->word[i] = i < n ? load_u32be(p + (size_t)i * 4) : 0;
    return true;
}

static bool new_ref(const etf_reader *r, cursor *c, bool old, bool convert, etf_ref *out) {
    const uint8_t *p = take(c, 2);
    slice node;
    uint32_t cr;
    if (!p || load_u16be(p) == 0 || load_u16be(p) > ETF_REF_WORDS) return false;
    return atom(r, c, convert, &node) && creation(c, old, &cr) && ref_words(c, node, old, cr, load_u16be(p), out);
}

static bool old_ref(const etf_reader *r, cursor *c, bool convert, etf_ref *out) {
    slice node;
    if (!atom(r, c, convert, &node)) return false;
    cursor word = *c; /* the one word is before the creation */
    uint32_t cr;
    if (!take(c, 4) || !creation(c, true, &cr)) return false;
    return ref_words(&word, node, true, cr, 1, out);
}

/* --- bytes */

static bool bits(cursor *c, size_t len, uint8_t last, etf_item *out) {
    const uint8_t *p = take(c, len);
    if (!p) return false;
    out->kind = ETF_BITS;
    out->bits = (etf_bits){slice_of(p, len), last};
    return true;
}

static bool bit_binary(cursor *c, etf_item *out) {
    const uint8_t *p = take(c, 5);
    if (!p || p[4] > 8 || (p[4] == 0) != (load_u32be(p) == 0)) return false;
    return bits(c, load_u32be(p), p[4] ? p[4] : 8, out);
}

static bool string(cursor *c, etf_item *out) {
    const uint8_t *p = take(c, 2);
    size_t len = p ? load_u16be(p) : 0;
    if (!p || !(p = take(c, len))) return false;
    out->kind = len ? ETF_STRING : ETF_NIL;
    if (len) out->text = slice_of(p, len);
    return true;
}

/* --- what holds terms */

/* each: terms for one of n; more: besides. */
static bool holds(const etf_reader *r, etf_kind kind, uint32_t n, uint64_t each, uint64_t more, etf_item *out) {
    if (!has_terms(r, n * each + more)) return false;
    out->kind = kind;
    out->n = n;
    return true;
}

static bool export(const etf_reader *r, cursor *c, bool convert, etf_item *out) {
    etf_export fn;
    if (!atom(r, c, convert, &fn.module) || !atom(r, c, convert, &fn.function)) return false;
    const uint8_t *p = take(c, 2);
    if (!p || p[0] != TAG_SMALL_INTEGER) return false;
    fn.arity = p[1];
    out->kind = ETF_EXPORT;
    out->fn = fn;
    return true;
}

static bool fun(const etf_reader *r, cursor *c, etf_item *out) {
    const uint8_t *p = take(c, FUN_HEAD);
    if (!p) return false;
    etf_fun f = {.size = load_u32be(p), .arity = p[4], .uniq = p + 5, .index = load_u32be(p + 21), .n = load_u32be(p + 25)};
    if (f.size < FUN_HEAD || f.size - FUN_HEAD > cursor_left(c) + r->more || !has_terms(r, (uint64_t)f.n + 4)) return false;
    out->kind = ETF_FUN;
    out->fun = f;
    return true;
}

static bool record(const etf_reader *r, cursor *c, etf_item *out) {
    const uint8_t *p = take(c, 5);
    if (!p || !has_terms(r, (uint64_t)load_u32be(p) * 2 + 2)) return false;
    out->kind = ETF_RECORD;
    out->record = (etf_record){load_u32be(p), p[4]};
    return true;
}

static bool integer(cursor *c, size_t len, etf_item *out) {
    const uint8_t *p = take(c, len);
    if (!p) return false;
    out->kind = ETF_INT;
    out->i = len == 1 ? *p : (int32_t)load_u32be(p);
    return true;
}

/* The next item is of that kind, if it is one. */
static inline bool is_kind(etf_item *out, etf_kind kind, bool ok) {
    if (ok) out->kind = kind;
    return ok;
}

/* The rest of an item whose tag is taken. */
static bool dispatch(const etf_reader *r, cursor *c, uint8_t tag, bool convert, etf_item *out) {
    const uint8_t *p;
    slice text;
    switch (tag) {
    case TAG_SMALL_INTEGER: return integer(c, 1, out);
    case TAG_INTEGER: return integer(c, 4, out);
    case TAG_SMALL_BIG: return (p = take(c, 1)) && big(c, *p, out);
    case TAG_LARGE_BIG: return (p = take(c, 4)) && big(c, load_u32be(p), out);
    case TAG_NEW_FLOAT: return new_float(c, out);
    case TAG_FLOAT: return old_float(c, out);
    case TAG_SMALL_TUPLE: return (p = take(c, 1)) && holds(r, ETF_TUPLE, *p, 1, 0, out);
    case TAG_LARGE_TUPLE: return (p = take(c, 4)) && holds(r, ETF_TUPLE, load_u32be(p), 1, 0, out);
    case TAG_MAP: return (p = take(c, 4)) && holds(r, ETF_MAP, load_u32be(p), 2, 0, out);
    case TAG_NIL: out->kind = ETF_NIL; return true;
    case TAG_STRING: return string(c, out);
    case TAG_BINARY: return (p = take(c, 4)) && bits(c, load_u32be(p), 8, out);
    case TAG_BIT_BINARY: return bit_binary(c, out);
    case TAG_NEW_PID: return is_kind(out, ETF_PID, pid(r, c, false, convert, &out->pid));
    case TAG_PID: return is_kind(out, ETF_PID, pid(r, c, true, convert, &out->pid));
    case TAG_NEW_PORT:
    case TAG_V4_PORT:
    case TAG_PORT: return port(r, c, tag, convert, out);
    case TAG_NEWER_REF: return is_kind(out, ETF_REF, new_ref(r, c, false, convert, &out->ref));
    case TAG_NEW_REF: return is_kind(out, ETF_REF, new_ref(r, c, true, convert, &out->ref));
    case TAG_REF: return is_kind(out, ETF_REF, old_ref(r, c, convert, &out->ref));
    case TAG_EXPORT: return export(r, c, convert, out);
    case TAG_NEW_FUN: return fun(r, c, out);
    case TAG_RECORD: return record(r, c, out);
    default:
        c->p--; /* an atom, or nothing that is known */
        if (!atom(r, c, convert, &text)) return false;
        out->kind = ETF_ATOM;
        out->text = text;
        return true;
    }
}

/* Here and below the reader's own cursor goes ahead, and back on failure: a copy of it that goes ahead would be a store of 8 bytes and a
 * load of 16 an item, for which a processor waits longer than for all the rest. */
static inline bool stay(etf_reader *r, const uint8_t *from) {
    r->in.p = from;
    return false;
}

bool etf_next_as(etf_reader *r, bool convert, etf_item *out) {
    cursor *c = &r->in;
    const uint8_t *from = c->p, *p = take(c, 1);
    while (p && *p == TAG_LIST) {
        const uint8_t *n = take(c, 4);
        if (!n) return stay(r, from);
        if (LIKELY(load_u32be(n) > 0)) return holds(r, ETF_LIST, load_u32be(n), 1, 1, out) || stay(r, from);
        p = take(c, 1); /* a list of no elements is its tail */
    }
    return (p && dispatch(r, c, *p, convert, out)) || stay(r, from);
}

bool etf_next(etf_reader *r, etf_item *out) { return etf_next_as(r, true, out); }

bool etf_get_version(etf_reader *r) {
    if (cursor_left(&r->in) == 0 || *r->in.p != ETF_VERSION) return false;
    r->in.p++;
    return true;
}

/* --- one kind: the tag that is always used is tried at once; any other comes as an item */

/* The next item, if it is of that kind. */
static bool next_of(etf_reader *r, etf_kind kind, etf_item *out) {
    const uint8_t *from = r->in.p;
    return (etf_next(r, out) && out->kind == kind) || stay(r, from);
}

/* True if the next tag is this one and n bytes follow it. */
static inline bool is_next(const etf_reader *r, uint8_t tag, size_t n) { return cursor_left(&r->in) > n && *r->in.p == tag; }

bool etf_get_int(etf_reader *r, int64_t *out) {
    const uint8_t *p = r->in.p;
    if (is_next(r, TAG_SMALL_INTEGER, 1)) {
        *out = p[1];
        r->in.p = p + 2;
        return true;
    }
    if (is_next(r, TAG_INTEGER, 4)) {
        *out = (int32_t)load_u32be(p + 1);
        r->in.p = p + 5;
        return true;
    }
    etf_item it;
    if (!next_of(r, ETF_INT, &it)) return false;
    *out = it.i;
    return true;
}

bool etf_get_atom(etf_reader *r, slice *out) {
    const uint8_t *from = r->in.p;
    return atom(r, &r->in, true, out) || stay(r, from);
}

bool etf_get_atom_is(etf_reader *r, slice text) {
    const uint8_t *from = r->in.p;
    slice got;
    return (atom(r, &r->in, true, &got) && slice_eq(got, text)) || stay(r, from);
}

bool etf_get_tuple(etf_reader *r, uint32_t *out_n) {
    const uint8_t *p = r->in.p;
    if (is_next(r, TAG_SMALL_TUPLE, 1) && p[1] <= cursor_left(&r->in) - 2) {
        *out_n = p[1];
        r->in.p = p + 2;
        return true;
    }
    etf_item it;
    if (!next_of(r, ETF_TUPLE, &it)) return false;
    *out_n = it.n;
    return true;
}

bool etf_get_pid(etf_reader *r, etf_pid *out) {
    const uint8_t *from = r->in.p;
    if (is_next(r, TAG_NEW_PID, 0)) {
        r->in.p++;
        return pid(r, &r->in, false, true, out) || stay(r, from);
    }
    etf_item it;
    if (!next_of(r, ETF_PID, &it)) return false;
    *out = it.pid;
    return true;
}

bool etf_get_ref(etf_reader *r, etf_ref *out) {
    const uint8_t *from = r->in.p;
    if (is_next(r, TAG_NEWER_REF, 0)) {
        r->in.p++;
        return new_ref(r, &r->in, false, true, out) || stay(r, from);
    }
    etf_item it;
    if (!next_of(r, ETF_REF, &it)) return false;
    *out = it.ref;
    return true;
}

bool etf_get_binary(etf_reader *r, slice *out) {
    const uint8_t *from = r->in.p;
    etf_item it;
    if (!next_of(r, ETF_BITS, &it)) return false;
    if (it.bits.last != 8) return stay(r, from);
    *out = it.bits.bytes;
    return true;
}
