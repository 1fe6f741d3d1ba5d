/* etf_fuzz: any bytes as a term, or, if the first one is odd, any text as one. Oracles: skipping, reading item by item, copying and making
 * a tree agree about what is a term; a copy of a copy is the same, and so is the tree of what a tree writes; a tree costs what it may; what
 * is printed and can be read back is the same term. */
#include "base/utf8.h"
#include "proto/etf/term.h"

#include <stdlib.h>

#define OUT_MAX (1u << 22)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

/* Every item of a term that was skipped. */
static void items(etf_reader r, size_t len) {
    const uint8_t *from = r.in.p;
    for (uint64_t left = 1; left; left--) {
        etf_item it;
        demand(etf_next(&r, &it));
        left += etf_item_terms(&it);
    }
    demand((size_t)(r.in.p - from) == len);
}

static const etf_term *tree(etf_reader r, size_t len, arena *a) {
    const etf_term *t = NULL;
    arena_init(a, len * ETF_TERM_COST);
    err e = etf_term_read(&r, a, &t);
    demand(e == ERR_OK || e == ERR_INVALID); /* never ERR_LIMIT: this much is enough */
    return t;
}

static void reads_back(const etf_term *t, buf *text) {
    buf out;
    arena a;
    size_t at;
    buf_init(&out, OUT_MAX);
    etf_format(t, text);
    demand(!buf_ok(text) || utf8_valid(buf_slice(text)));
    if (buf_ok(text) && etf_parse(buf_slice(text), &out, &at) == ERR_OK) {
        const etf_term *u = tree(etf_reader_of(buf_slice(&out)), out.len, &a);
        demand(u && etf_equal(t, u) && etf_compare(t, u) == 0);
        arena_fini(&a);
    }
    buf_fini(&out);
}

static void as_tree(etf_reader r, size_t len, buf *out) {
    arena a, b;
    const etf_term *t = tree(r, len, &a);
    if (t) {
        etf_term_write(t, out);
        demand(buf_ok(out));
        const etf_term *u = tree(etf_reader_of(buf_slice(out)), out->len, &b);
        demand(u && etf_equal(t, u) && etf_compare(t, u) == 0);
        arena_fini(&b);
        buf_reset(out);
        reads_back(t, out);
    }
    arena_fini(&a);
}

static void as_term(slice in) {
    const slice atom[] = {SLICE("ok"), SLICE("a@b")};
    const etf_atoms atoms = {atom, ARRAY_LEN(atom)};
    arena text;
    buf one, two;
    arena_init(&text, in.len * ETF_TERM_COST + 64);
    buf_init(&one, OUT_MAX);
    buf_init(&two, OUT_MAX);
    etf_reader r = {.in = cursor_of(in), .atoms = &atoms, .text = &text}, skipped = r, copied = r;
    slice all;
    bool ok = etf_skip(&skipped, &all);
    demand(etf_copy(&copied, &one) == ok && copied.in.p == skipped.in.p);
    if (ok) {
        demand(buf_ok(&one) && all.len == (size_t)(skipped.in.p - in.p));
        arena_reset(&text);
        items(r, all.len);
        etf_reader again = etf_reader_of(buf_slice(&one));
        demand(etf_copy(&again, &two) && cursor_left(&again.in) == 0 && slice_eq(buf_slice(&one), buf_slice(&two)));
        buf_reset(&two);
        arena_reset(&text);
        as_tree(r, all.len, &two);
    } else {
        demand(skipped.in.p == in.p && one.len == 0);
    }
    arena_fini(&text);
    buf_fini(&one);
    buf_fini(&two);
}

static void as_text(slice in) {
    buf out, text;
    arena a;
    size_t at = 0;
    buf_init(&out, OUT_MAX);
    buf_init(&text, OUT_MAX);
    if (etf_parse(in, &out, &at) == ERR_OK) {
        const etf_term *t = tree(etf_reader_of(buf_slice(&out)), out.len, &a);
        demand(t != NULL);
        reads_back(t, &text);
        arena_fini(&a);
    } else {
        demand(out.len == 0 && at <= in.len);
    }
    buf_fini(&out);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    slice in = slice_of(data + 1, size - 1);
    if (data[0] & 1) {
        as_text(in);
    } else {
        as_term(in);
    }
    return 0;
}
