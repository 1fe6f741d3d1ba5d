/* read: terms that came. A murre_reader is a cursor over bytes that are known to be whole terms; what is not one reads as the end.
 *
 * A list of small integers may come as a text (tag 107): while its elements are read one by one, in_text is set and text is where the next
 * one is; after the last one stands a nil that is not in the input. */
#include "base/arena.h"
#include "lib/int.h"
#include "proto/etf/term.h"

_Static_assert((int)ETF_RECORD + 1 == 16, "a kind was added: murre_type says what it is");

murre_reader murre_read(murre_term t) { return (murre_reader){.p = t.p, .end = t.p ? t.p + t.len : NULL}; }

static etf_reader at(const murre_reader *r) { return (etf_reader){.in = {r->p, r->end}}; }
static bool moved(murre_reader *r, const etf_reader *to) {
    r->p = to->in.p;
    return true;
}

murre_type murre_peek(const murre_reader *r) {
    static const murre_type types[] = {
        [ETF_INT] = MURRE_T_INT, [ETF_BIG] = MURRE_T_BIG,      [ETF_FLOAT] = MURRE_T_FLOAT, [ETF_ATOM] = MURRE_T_ATOM,
        [ETF_PID] = MURRE_T_PID, [ETF_PORT] = MURRE_T_OTHER,   [ETF_REF] = MURRE_T_REF,     [ETF_BITS] = MURRE_T_BINARY,
        [ETF_NIL] = MURRE_T_NIL, [ETF_STRING] = MURRE_T_LIST,  [ETF_LIST] = MURRE_T_LIST,   [ETF_TUPLE] = MURRE_T_TUPLE,
        [ETF_MAP] = MURRE_T_MAP, [ETF_EXPORT] = MURRE_T_OTHER, [ETF_FUN] = MURRE_T_OTHER,   [ETF_RECORD] = MURRE_T_OTHER,
    };
    etf_item it;
    etf_reader e = at(r);
    if (r->in_text) return r->text < r->text_end ? MURRE_T_INT : MURRE_T_NIL;
    if (!etf_next(&e, &it)) return MURRE_T_NONE;
    return it.kind == ETF_BITS && it.bits.last != 8 ? MURRE_T_OTHER : types[it.kind];
}

/* The next item if it is of that kind, not one of a text that is read one by one. */
static bool get(murre_reader *r, etf_kind kind, etf_item *out) {
    etf_reader e = at(r);
    return !r->in_text && etf_next(&e, out) && out->kind == kind && moved(r, &e);
}

bool murre_get_int(murre_reader *r, int64_t *out) {
    etf_item it;
    if (r->in_text) {
        if (r->text == r->text_end) return false;
        *out = *r->text++;
        return true;
    }
    if (!get(r, ETF_INT, &it)) return false;
    *out = it.i;
    return true;
}

bool murre_get_big(murre_reader *r, bool *out_negative, murre_bytes *out_magnitude) {
    etf_item it;
    if (!get(r, ETF_BIG, &it)) return false;
    *out_negative = it.big.negative;
    *out_magnitude = (murre_bytes){it.big.magnitude.p, it.big.magnitude.len};
    return true;
}

bool murre_get_float(murre_reader *r, double *out) {
    etf_item it;
    if (!get(r, ETF_FLOAT, &it)) return false;
    *out = it.f;
    return true;
}

bool murre_get_atom(murre_reader *r, murre_bytes *out) {
    etf_item it;
    if (!get(r, ETF_ATOM, &it)) return false;
    *out = (murre_bytes){it.text.p, it.text.len};
    return true;
}

bool murre_get_atom_is(murre_reader *r, const char *atom) {
    murre_reader was = *r;
    murre_bytes text;
    if (!murre_get_atom(r, &text)) return false;
    if (slice_is(slice_of(text.p, text.len), atom)) return true;
    *r = was;
    return false;
}

bool murre_get_binary(murre_reader *r, murre_bytes *out) {
    etf_item it;
    etf_reader e = at(r);
    if (r->in_text || !etf_next(&e, &it) || it.kind != ETF_BITS || it.bits.last != 8) return false;
    *out = (murre_bytes){it.bits.bytes.p, it.bits.bytes.len};
    return moved(r, &e);
}

bool murre_get_string(murre_reader *r, murre_bytes *out) {
    etf_item it;
    if (r->in_text) return false;
    if (get(r, ETF_NIL, &it)) {
        *out = (murre_bytes){NULL, 0};
        return true;
    }
    if (!get(r, ETF_STRING, &it)) return false;
    *out = (murre_bytes){it.text.p, it.text.len};
    return true;
}

bool murre_get_tuple(murre_reader *r, uint32_t *out_n) {
    etf_item it;
    if (!get(r, ETF_TUPLE, &it)) return false;
    *out_n = it.n;
    return true;
}

bool murre_get_list(murre_reader *r, uint32_t *out_n) {
    etf_item it;
    if (get(r, ETF_LIST, &it)) {
        *out_n = it.n;
        return true;
    }
    if (!get(r, ETF_STRING, &it)) return false;
    r->text = it.text.p;
    r->text_end = it.text.p + it.text.len;
    r->in_text = 1;
    *out_n = (uint32_t)it.text.len;
    return true;
}

bool murre_get_nil(murre_reader *r) {
    etf_item it;
    if (!r->in_text) return get(r, ETF_NIL, &it);
    if (r->text < r->text_end) return false;
    r->in_text = 0;
    return true;
}

bool murre_get_map(murre_reader *r, uint32_t *out_n) {
    etf_item it;
    if (!get(r, ETF_MAP, &it)) return false;
    *out_n = it.n;
    return true;
}

bool murre_get_pid(murre_ctx *cx, murre_reader *r, murre_pid *out) {
    murre_reader was = *r;
    etf_item it;
    rt_pid pid;
    if (!get(r, ETF_PID, &it)) return false;
    if (mesh_pid_get(murre_ctx_node(cx)->mesh, lib_cx(cx), &it.pid, &pid)) {
        *out = lib_pid_out(pid);
        return true;
    }
    *r = was;
    return false;
}

bool murre_get_ref(murre_reader *r, murre_term *out) { return murre_peek(r) == MURRE_T_REF && murre_get_term(r, out); }

/* An element of a text has no term in the input: its byte stands alone. Each such term is in a table: tag 97, then the byte. */
static bool get_element(murre_reader *r, murre_term *out) {
#define ROW(n)                                                                                                                             \
    {97, (n)}, {97, (n) + 1}, {97, (n) + 2}, { 97, (n) + 3 }
#define ROWS(n) ROW(n), ROW((n) + 4), ROW((n) + 8), ROW((n) + 12)
#define ALL(n)  ROWS(n), ROWS((n) + 16), ROWS((n) + 32), ROWS((n) + 48)
    static const uint8_t bytes[256][2] = {ALL(0), ALL(64), ALL(128), ALL(192)};
#undef ALL
#undef ROWS
#undef ROW
    static const uint8_t nil = 106;
    if (r->text == r->text_end) {
        if (out) *out = (murre_term){&nil, 1};
        r->in_text = 0;
        return true;
    }
    if (out) *out = (murre_term){bytes[*r->text], 2};
    r->text++;
    return true;
}

bool murre_get_term(murre_reader *r, murre_term *out) {
    slice term;
    etf_reader e = at(r);
    if (r->in_text) return get_element(r, out);
    if (!etf_skip(&e, &term)) return false;
    if (out) *out = (murre_term){term.p, term.len};
    return moved(r, &e);
}

bool murre_map_find(murre_term map, const char *key, murre_term *out) {
    murre_reader r = murre_read(map);
    uint32_t n;
    if (!murre_get_map(&r, &n)) return false;
    for (uint32_t i = 0; i < n; i++) {
        bool found = murre_get_atom_is(&r, key);
        if (!found && !murre_get_term(&r, NULL)) return false;
        if (!murre_get_term(&r, found ? out : NULL) || found) return found;
    }
    return false;
}

size_t murre_term_text(murre_term t, char *out, size_t size) {
    arena a;
    buf b;
    const etf_term *tree;
    etf_reader r = etf_reader_of(slice_of(t.p, t.len));
    size_t len = 0;
    arena_init(&a, ETF_TERM_COST * (t.len + 1));
    buf_init(&b, UINT32_MAX);
    if (etf_term_read(&r, &a, &tree) == ERR_OK) etf_format(tree, &b);
    if (buf_ok(&b)) len = b.len;
    if (size > 0) {
        size_t n = len < size ? len : size - 1;
        if (n) memcpy(out, b.p, n);
        out[n] = 0;
    }
    buf_fini(&b);
    arena_fini(&a);
    return len;
}
