/* build: terms of the program's own. A builder is a buf with room for the head of a blob in front, so that it becomes one as it is, and a
 * version byte; whether it holds exactly one term is found out once, when it is used, so that a wrong count or a wrong atom stays here
 * instead of ending a connection. */
#include "base/mem.h"
#include "lib/int.h"
#include "proto/etf/term.h"

#define HEAD sizeof(rt_blob)
#define ROOM 240u /* bytes from the start: most messages grow no more */

murre_builder *murre_build(void) {
    murre_builder *b = mem_alloc(sizeof *b);
    buf_init(&b->b, HEAD + MURRE_TERM_MAX);
    (void)buf_reserve(&b->b, ROOM); /* never past the limit */
    buf_added(&b->b, HEAD);
    etf_put_version(&b->b);
    return b;
}

void murre_build_free(murre_builder *b) {
    if (!b) return;
    buf_fini(&b->b);
    mem_free(b);
}

bool murre_build_term(const murre_builder *b, murre_term *out) {
    if (!b || !buf_ok(&b->b)) return false;
    etf_reader r = etf_reader_of(slice_from(buf_slice(&b->b), HEAD));
    slice term;
    if (!etf_get_version(&r) || !etf_skip(&r, &term) || cursor_left(&r.in) > 0) return false;
    *out = (murre_term){term.p, term.len};
    return true;
}

rt_blob *lib_build_take(murre_builder **b) {
    murre_term t;
    rt_blob *out = NULL;
    if (murre_build_term(*b, &t)) {
        buf *taken = &(*b)->b;
        out = rt_blob_of(taken->p, taken->len - HEAD);
        buf_init(taken, 0); /* it has no memory any more */
    }
    murre_build_free(*b);
    *b = NULL;
    return out;
}

void murre_put_int(murre_builder *b, int64_t v) { etf_put_int(&b->b, v); }
void murre_put_float(murre_builder *b, double v) { etf_put_float(&b->b, v); }
void murre_put_bool(murre_builder *b, bool v) { etf_put_bool(&b->b, v); }
void murre_put_atom(murre_builder *b, const char *atom) { etf_put_atom(&b->b, slice_str(atom)); }
void murre_put_binary(murre_builder *b, const void *p, size_t len) { etf_put_binary(&b->b, slice_of(p, len)); }
void murre_put_string(murre_builder *b, const char *text) { etf_put_string(&b->b, slice_str(text)); }
void murre_put_tuple(murre_builder *b, uint32_t n) { etf_put_tuple(&b->b, n); }
void murre_put_list(murre_builder *b, uint32_t n) { etf_put_list(&b->b, n); }
void murre_put_nil(murre_builder *b) { etf_put_nil(&b->b); }
void murre_put_map(murre_builder *b, uint32_t n) { etf_put_map(&b->b, n); }
void murre_put_term(murre_builder *b, murre_term t) { buf_add(&b->b, slice_of(t.p, t.len)); }

void murre_put_big(murre_builder *b, bool negative, murre_bytes magnitude) {
    slice m = slice_of(magnitude.p, magnitude.len);
    while (m.len > 0 && m.p[m.len - 1] == 0) m.len--;
    uint64_t v = 0;
    for (size_t i = 0; i < m.len && i < sizeof v; i++) v |= (uint64_t)m.p[i] << 8 * i;
    if (m.len <= sizeof v && v <= (uint64_t)INT64_MAX + negative)
        etf_put_int(&b->b, negative ? (int64_t)(0 - v) : (int64_t)v);
    else
        etf_put_big(&b->b, &(etf_big){.magnitude = m, .negative = negative});
}

void murre_put_pid(murre_ctx *cx, murre_builder *b, murre_pid pid) {
    if (!mesh_pid_put(murre_ctx_node(cx)->mesh, lib_cx(cx), lib_pid(pid), &b->b)) b->b.failed = true;
}

void murre_put_text(murre_builder *b, const char *text) {
    size_t at;
    if (etf_parse(slice_str(text), &b->b, &at)) b->b.failed = true;
}
