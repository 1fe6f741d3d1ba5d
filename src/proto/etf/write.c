/* write: items of the external term format (OTP: erl_ext_dist) into a buf, each in its shortest form, none with an old tag.
 *
 * Invariants: (1) an item is written whole or not at all: room for it is asked for once. (2) what has no encoding (text that is no atom, a
 * float that is not finite) makes out fail, as a full one does, so that a writer of fifty items asks once, at its end. */
#include "base/utf8.h"
#include "proto/etf/tag.h"

#include <math.h>

#define STRING_MAX UINT16_MAX

static inline uint8_t *put8(uint8_t *p, uint8_t v) {
    *p = v;
    return p + 1;
}
static inline uint8_t *put16(uint8_t *p, uint16_t v) { return put8(put8(p, (uint8_t)(v >> 8)), (uint8_t)v); }
static inline uint8_t *put32(uint8_t *p, uint32_t v) { return put16(put16(p, (uint16_t)(v >> 16)), (uint16_t)v); }
static inline uint8_t *put64(uint8_t *p, uint64_t v) { return put32(put32(p, (uint32_t)(v >> 32)), (uint32_t)v); }
static inline uint8_t *put_bytes(uint8_t *p, slice s) {
    if (s.len) memcpy(p, s.p, s.len);
    return p + s.len;
}

/* Room was reserved at from; it is used up to end. */
static inline void done(buf *out, const uint8_t *from, const uint8_t *end) { buf_added(out, (size_t)(end - from)); }

/* A tag and a count or length. */
static void head32(buf *out, uint8_t tag, uint32_t n) {
    uint8_t *p = buf_reserve(out, 5);
    if (p) done(out, p, put32(put8(p, tag), n));
}

void etf_put_version(buf *out) { buf_add_byte(out, ETF_VERSION); }
void etf_put_nil(buf *out) { buf_add_byte(out, TAG_NIL); }

/* --- numbers */

static void put_magnitude(buf *out, uint64_t v, bool negative) {
    uint8_t *p = buf_reserve(out, 11), *at = p;
    if (!p) return;
    at = put8(at, TAG_SMALL_BIG);
    uint8_t *n = at;
    at = put8(at + 1, negative);
    for (; v; v >>= 8) at = put8(at, (uint8_t)v);
    *n = (uint8_t)(at - n - 2);
    done(out, p, at);
}

void etf_put_int(buf *out, int64_t v) {
    if (v < INT32_MIN || v > INT32_MAX) {
        put_magnitude(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
        return;
    }
    uint8_t *p = buf_reserve(out, 5);
    if (!p) return;
    if (v >= 0 && v <= UINT8_MAX) {
        done(out, p, put8(put8(p, TAG_SMALL_INTEGER), (uint8_t)v));
    } else {
        done(out, p, put32(put8(p, TAG_INTEGER), (uint32_t)(int32_t)v));
    }
}

void etf_put_uint(buf *out, uint64_t v) {
    if (v <= INT32_MAX) {
        etf_put_int(out, (int64_t)v);
    } else {
        put_magnitude(out, v, false);
    }
}

void etf_put_big(buf *out, const etf_big *v) {
    slice m = v->magnitude;
    while (m.len && m.p[m.len - 1] == 0) m.len--;
    uint64_t low = 0;
    for (size_t i = m.len < 8 ? m.len : 8; i; i--) low = low << 8 | m.p[i - 1];
    bool negative = v->negative && m.len;
    if (m.len <= 8) {
        if (low <= INT64_MAX) {
            etf_put_int(out, negative ? -(int64_t)low : (int64_t)low);
        } else {
            put_magnitude(out, low, negative);
        }
        return;
    }
    uint8_t *p = m.len <= UINT32_MAX ? buf_reserve(out, m.len + 6) : NULL;
    if (!p) {
        out->failed = true;
        return;
    }
    uint8_t *at = m.len <= UINT8_MAX ? put8(put8(p, TAG_SMALL_BIG), (uint8_t)m.len) : put32(put8(p, TAG_LARGE_BIG), (uint32_t)m.len);
    done(out, p, put_bytes(put8(at, negative), m));
}

void etf_put_float(buf *out, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint8_t *p = isfinite(v) ? buf_reserve(out, 9) : NULL;
    if (p) {
        done(out, p, put64(put8(p, TAG_NEW_FLOAT), bits));
    } else {
        out->failed = true;
    }
}

/* --- atoms */

bool etf_is_atom(slice text) {
    if (LIKELY(etf_is_ascii(text.p, text.len))) return text.len <= ETF_ATOM_CHARS;
    if (text.len > ETF_ATOM_BYTES || !utf8_valid(text)) return false;
    size_t chars = 0;
    for (size_t i = 0; i < text.len; i++) chars += (text.p[i] & 0xc0) != 0x80;
    return chars <= ETF_ATOM_CHARS;
}

/* Room for head bytes, two atoms of which the second may be absent (NULL), and tail bytes; the atoms are to be put with put_atom. */
static uint8_t *reserve(buf *out, size_t head, const slice *a, const slice *b, size_t tail) {
    uint8_t *p = etf_is_atom(*a) && (!b || etf_is_atom(*b)) ? buf_reserve(out, head + 3 + a->len + (b ? 3 + b->len : 0) + tail) : NULL;
    if (!p) out->failed = true;
    return p;
}

static inline uint8_t *put_atom(uint8_t *p, const slice *text) {
    p = text->len <= UINT8_MAX ? put8(put8(p, TAG_SMALL_ATOM_UTF8), (uint8_t)text->len)
                               : put16(put8(p, TAG_ATOM_UTF8), (uint16_t)text->len);
    return put_bytes(p, *text);
}

void etf_put_atom(buf *out, slice text) {
    uint8_t *p = reserve(out, 0, &text, NULL, 0);
    if (p) done(out, p, put_atom(p, &text));
}

void etf_put_bool(buf *out, bool v) { etf_put_atom(out, v ? SLICE("true") : SLICE("false")); }

/* --- bytes */

void etf_put_binary(buf *out, slice bytes) {
    uint8_t *p = bytes.len <= UINT32_MAX ? buf_reserve(out, bytes.len + 5) : NULL;
    if (p) {
        done(out, p, put_bytes(put32(put8(p, TAG_BINARY), (uint32_t)bytes.len), bytes));
    } else {
        out->failed = true;
    }
}

void etf_put_bits(buf *out, const etf_bits *v) {
    if (v->last == 8 || v->bytes.len == 0) {
        etf_put_binary(out, v->bytes);
        return;
    }
    bool ok = v->last > 0 && v->last < 8 && v->bytes.len <= UINT32_MAX;
    uint8_t *p = ok ? buf_reserve(out, v->bytes.len + 6) : NULL;
    if (!p) {
        out->failed = true;
        return;
    }
    uint8_t *end = put_bytes(put8(put32(put8(p, TAG_BIT_BINARY), (uint32_t)v->bytes.len), v->last), v->bytes);
    end[-1] &= (uint8_t)(0xff00u >> v->last);
    done(out, p, end);
}

void etf_put_string(buf *out, slice bytes) {
    if (bytes.len == 0) {
        etf_put_nil(out);
        return;
    }
    bool is_short = bytes.len <= STRING_MAX;
    uint8_t *p = bytes.len <= UINT32_MAX ? buf_reserve(out, is_short ? bytes.len + 3 : bytes.len * 2 + 6) : NULL;
    if (!p) {
        out->failed = true;
        return;
    }
    if (is_short) {
        done(out, p, put_bytes(put16(put8(p, TAG_STRING), (uint16_t)bytes.len), bytes));
        return;
    }
    uint8_t *at = put32(put8(p, TAG_LIST), (uint32_t)bytes.len);
    for (size_t i = 0; i < bytes.len; i++) at = put8(put8(at, TAG_SMALL_INTEGER), bytes.p[i]);
    done(out, p, put8(at, TAG_NIL));
}

/* --- what holds terms */

void etf_put_tuple(buf *out, uint32_t n) {
    if (n > UINT8_MAX) {
        head32(out, TAG_LARGE_TUPLE, n);
        return;
    }
    uint8_t *p = buf_reserve(out, 2);
    if (p) done(out, p, put8(put8(p, TAG_SMALL_TUPLE), (uint8_t)n));
}

void etf_put_list(buf *out, uint32_t n) {
    if (n) head32(out, TAG_LIST, n);
}

void etf_put_map(buf *out, uint32_t n) { head32(out, TAG_MAP, n); }

void etf_put_record(buf *out, const etf_record *r) {
    uint8_t *p = buf_reserve(out, 6);
    if (p) done(out, p, put8(put32(put8(p, TAG_RECORD), r->n), r->flags));
}

size_t etf_put_fun(buf *out, const etf_fun *f) {
    size_t at = out->len;
    uint8_t *p = buf_reserve(out, 1 + FUN_HEAD);
    if (!p) return at;
    uint8_t *end = put_bytes(put8(put32(put8(p, TAG_NEW_FUN), 0), f->arity), slice_of(f->uniq, ETF_UNIQ_BYTES));
    done(out, p, put32(put32(end, f->index), f->n));
    return at;
}

void etf_put_fun_end(buf *out, size_t fun) {
    if (!buf_ok(out)) return;
    if (!check(fun + 1 + FUN_HEAD <= out->len) || out->len - fun - 1 > UINT32_MAX) {
        out->failed = true;
        return;
    }
    put32(out->p + fun + 1, (uint32_t)(out->len - fun - 1));
}

/* --- identities */

void etf_put_pid(buf *out, const etf_pid *v) {
    uint8_t *p = reserve(out, 1, &v->node, NULL, 12);
    if (p) done(out, p, put32(put32(put32(put_atom(put8(p, TAG_NEW_PID), &v->node), v->id), v->serial), v->creation));
}

void etf_put_port(buf *out, const etf_port *v) {
    uint8_t *p = reserve(out, 1, &v->node, NULL, 12);
    if (!p) return;
    bool fits = etf_port_is_small(v);
    uint8_t *at = put_atom(put8(p, fits ? TAG_NEW_PORT : TAG_V4_PORT), &v->node);
    done(out, p, put32(fits ? put32(at, (uint32_t)v->id) : put64(at, v->id), v->creation));
}

void etf_put_ref(buf *out, const etf_ref *v) {
    bool ok = v->n > 0 && v->n <= ETF_REF_WORDS;
    uint8_t *p = ok ? reserve(out, 3, &v->node, NULL, 4 + 4 * (size_t)v->n) : NULL;
    if (!p) {
        out->failed = true;
        return;
    }
    uint8_t *at = put32(put_atom(put16(put8(p, TAG_NEWER_REF), (uint16_t)v->n), &v->node), v->creation);
    for (uint32_t i = 0; i < v->n; i++) at = put32(at, v->word[i]);
    done(out, p, at);
}

void etf_put_export(buf *out, const etf_export *f) {
    uint8_t *p = reserve(out, 1, &f->module, &f->function, 2);
    if (p) done(out, p, put8(put8(put_atom(put_atom(put8(p, TAG_EXPORT), &f->module), &f->function), TAG_SMALL_INTEGER), f->arity));
}

void etf_put_item(buf *out, const etf_item *it) {
    switch (it->kind) {
    case ETF_INT: etf_put_int(out, it->i); return;
    case ETF_BIG: etf_put_big(out, &it->big); return;
    case ETF_FLOAT: etf_put_float(out, it->f); return;
    case ETF_ATOM: etf_put_atom(out, it->text); return;
    case ETF_PID: etf_put_pid(out, &it->pid); return;
    case ETF_PORT: etf_put_port(out, &it->port); return;
    case ETF_REF: etf_put_ref(out, &it->ref); return;
    case ETF_BITS: etf_put_bits(out, &it->bits); return;
    case ETF_NIL: etf_put_nil(out); return;
    case ETF_STRING: etf_put_string(out, it->text); return;
    case ETF_LIST: etf_put_list(out, it->n); return;
    case ETF_TUPLE: etf_put_tuple(out, it->n); return;
    case ETF_MAP: etf_put_map(out, it->n); return;
    case ETF_EXPORT: etf_put_export(out, &it->fn); return;
    case ETF_FUN: out->failed = true; return;
    case ETF_RECORD: etf_put_record(out, &it->record); return;
    }
}
