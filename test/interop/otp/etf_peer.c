/* etf_peer: the external term format of murre as a program on a pipe, for a real Erlang to judge: requests and answers are packets with a
 * length of 4 bytes. The first byte of a request says what is asked:
 *
 *     c term         the term as etf_copy writes it, and as a tree does: each with a length of 4 bytes; nothing if it is refused
 *     s bytes        1 if they are a term, wholly, else 0
 *     o term term    less, same, more: 0, 1, 2; then 1 if they are the same exactly, else 0
 *     f term         the term as text
 *     p text         the term that the text stands for; nothing if it is refused
 *     e term         the term as libei decodes it and encodes it again; then as murre does, from what libei wrote; as c */
#include "base/mem.h"
#include "proto/etf/term.h"

#include <ei.h>
#include <stdio.h>
#include <stdlib.h>

#define PACKET_MAX (16u << 20)

static void demand(bool ok) {
    if (!ok) abort();
}

static void put_u32(buf *out, size_t n) {
    const uint8_t b[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    buf_add(out, slice_of(b, sizeof b));
}

static void put_with_len(buf *out, const buf *b) {
    put_u32(out, b->len);
    buf_add(out, buf_slice(b));
}

/* An arena of exactly what the tree of these bytes may cost, so that a tree that costs more is refused. */
static const etf_term *tree_of(slice *in, arena *a) {
    arena_init(a, in->len * ETF_TERM_COST);
    etf_reader r = etf_reader_of(*in);
    r.text = a;
    const etf_term *t = NULL;
    if (etf_term_read(&r, a, &t) != ERR_OK) return NULL;
    *in = slice_of(r.in.p, cursor_left(&r.in));
    return t;
}

/* As etf_copy has it; with the tree's, which must read as the same term. */
static void copy(slice in, buf *out) {
    buf one, two;
    arena a, b, text;
    buf_init(&one, PACKET_MAX);
    buf_init(&two, PACKET_MAX);
    arena_init(&b, 0);
    arena_init(&text, in.len * ETF_TERM_COST);
    etf_reader r = etf_reader_of(in);
    r.text = &text;
    const etf_term *t = tree_of(&in, &a);
    if (t && in.len == 0) {
        demand(etf_copy(&r, &one) && cursor_left(&r.in) == 0);
        etf_term_write(t, &two);
        slice again = buf_slice(&two);
        const etf_term *u = tree_of(&again, &b);
        demand(u && again.len == 0 && etf_equal(t, u) && etf_compare(t, u) == 0);
        demand(buf_ok(&one) && buf_ok(&two));
        put_with_len(out, &one);
        put_with_len(out, &two);
    }
    arena_fini(&a);
    arena_fini(&b);
    arena_fini(&text);
    buf_fini(&one);
    buf_fini(&two);
}

static void order(slice in, buf *out) {
    arena a, b;
    const etf_term *t = tree_of(&in, &a), *u = tree_of(&in, &b);
    demand(t && u);
    int c = etf_compare(t, u), back = etf_compare(u, t);
    demand((c > 0) == (back < 0) && (c < 0) == (back > 0) && etf_equal(t, u) == etf_equal(u, t));
    buf_add_byte(out, (uint8_t)(1 + (c > 0) - (c < 0)));
    buf_add_byte(out, etf_equal(t, u));
    arena_fini(&a);
    arena_fini(&b);
}

/* --- libei: one term after the other, as its API has it */

static void through_term(const char *in, int *at, ei_x_buff *x);

static void through_terms(const char *in, int *at, ei_x_buff *x, int n) {
    for (int i = 0; i < n; i++) through_term(in, at, x);
}

static void through_list(const char *in, int *at, ei_x_buff *x) {
    int n;
    demand(ei_decode_list_header(in, at, &n) == 0);
    if (n == 0) {
        demand(ei_x_encode_empty_list(x) == 0);
        return;
    }
    demand(ei_x_encode_list_header(x, n) == 0);
    through_terms(in, at, x, n + 1);
}

static void through_bytes(const char *in, int *at, ei_x_buff *x, int type, int size) {
    long len;
    size_t bits;
    const char *p;
    char *copy_of = mem_alloc((size_t)size + 1);
    if (type == ERL_STRING_EXT) {
        demand(ei_decode_string(in, at, copy_of) == 0 && ei_x_encode_string_len(x, copy_of, size) == 0);
    } else if (type == ERL_BIT_BINARY_EXT) {
        unsigned offset;
        demand(ei_decode_bitstring(in, at, &p, &offset, &bits) == 0 && offset == 0);
        demand(ei_x_encode_bitstring(x, p, 0, bits) == 0);
    } else {
        demand(ei_decode_binary(in, at, copy_of, &len) == 0 && ei_x_encode_binary(x, copy_of, (int)len) == 0);
    }
    mem_free(copy_of);
}

static void through_number(const char *in, int *at, ei_x_buff *x, int type) {
    double f;
    long long i;
    if (type == ERL_FLOAT_EXT || type == NEW_FLOAT_EXT) {
        demand(ei_decode_double(in, at, &f) == 0 && ei_x_encode_double(x, f) == 0);
    } else {
        demand(ei_decode_longlong(in, at, &i) == 0 && ei_x_encode_longlong(x, i) == 0);
    }
}

static void through_term(const char *in, int *at, ei_x_buff *x) {
    int type, size, n;
    char atom[MAXATOMLEN_UTF8];
    erlang_pid pid;
    erlang_port port;
    erlang_ref ref;
    demand(ei_get_type(in, at, &type, &size) == 0);
    switch (type) {
    case ERL_SMALL_INTEGER_EXT:
    case ERL_INTEGER_EXT:
    case ERL_SMALL_BIG_EXT:
    case ERL_FLOAT_EXT:
    case NEW_FLOAT_EXT: through_number(in, at, x, type); return;
    case ERL_ATOM_EXT:
        demand(ei_decode_atom_as(in, at, atom, sizeof atom, ERLANG_UTF8, NULL, NULL) == 0);
        demand(ei_x_encode_atom_as(x, atom, ERLANG_UTF8, ERLANG_UTF8) == 0);
        return;
    case ERL_PID_EXT:
    case ERL_NEW_PID_EXT: demand(ei_decode_pid(in, at, &pid) == 0 && ei_x_encode_pid(x, &pid) == 0); return;
    case ERL_PORT_EXT:
    case ERL_NEW_PORT_EXT:
    case ERL_V4_PORT_EXT: demand(ei_decode_port(in, at, &port) == 0 && ei_x_encode_port(x, &port) == 0); return;
    case ERL_NEW_REFERENCE_EXT:
    case ERL_NEWER_REFERENCE_EXT: demand(ei_decode_ref(in, at, &ref) == 0 && ei_x_encode_ref(x, &ref) == 0); return;
    case ERL_SMALL_TUPLE_EXT:
    case ERL_LARGE_TUPLE_EXT:
        demand(ei_decode_tuple_header(in, at, &n) == 0 && ei_x_encode_tuple_header(x, n) == 0);
        through_terms(in, at, x, n);
        return;
    case ERL_MAP_EXT:
        demand(ei_decode_map_header(in, at, &n) == 0 && ei_x_encode_map_header(x, n) == 0);
        through_terms(in, at, x, 2 * n);
        return;
    case ERL_NIL_EXT:
    case ERL_LIST_EXT: through_list(in, at, x); return;
    case ERL_STRING_EXT:
    case ERL_BINARY_EXT:
    case ERL_BIT_BINARY_EXT: through_bytes(in, at, x, type, size); return;
    default: demand(false);
    }
}

static void through_ei(slice in, buf *out) {
    ei_x_buff x;
    int at = 0, end = 0;
    const char *p = (const char *)in.p;
    demand(ei_x_new(&x) == 0);
    demand(ei_skip_term(p, &end) == 0 && (size_t)end == in.len);
    through_term(p, &at, &x);
    demand((size_t)at == in.len);
    buf ours;
    buf_init(&ours, PACKET_MAX);
    slice term = slice_of(x.buff, (size_t)x.index);
    etf_reader r = etf_reader_of(term);
    demand(etf_copy(&r, &ours) && cursor_left(&r.in) == 0 && buf_ok(&ours));
    put_u32(out, term.len);
    buf_add(out, term);
    put_with_len(out, &ours);
    buf_fini(&ours);
    (void)ei_x_free(&x);
}

static void answer(slice in, buf *out) {
    demand(in.len > 0);
    uint8_t what = in.p[0];
    in = slice_from(in, 1);
    arena a;
    arena_init(&a, 0);
    size_t at;
    switch (what) {
    case 'c': copy(in, out); break;
    case 's': buf_add_byte(out, tree_of(&in, &a) && in.len == 0); break;
    case 'o': order(in, out); break;
    case 'f': {
        const etf_term *t = tree_of(&in, &a);
        demand(t && in.len == 0);
        etf_format(t, out);
        break;
    }
    case 'p':
        if (etf_parse(in, out, &at) != ERR_OK) buf_reset(out);
        break;
    case 'e': through_ei(in, out); break;
    default: demand(false);
    }
    arena_fini(&a);
}

int main(void) {
    uint8_t head[4];
    uint8_t *in = mem_alloc(PACKET_MAX);
    buf out;
    buf_init(&out, PACKET_MAX);
    demand(ei_init() == 0);
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        demand(len <= PACKET_MAX && fread(in, 1, len, stdin) == len);
        uint8_t *exact = mem_alloc(len); /* so that an address sanitizer sees what is read past the end */
        memcpy(exact, in, len);
        buf_reset(&out);
        answer(slice_of(exact, len), &out);
        demand(buf_ok(&out));
        mem_free(exact);
        buf back;
        buf_init(&back, 8);
        put_u32(&back, out.len);
        demand(fwrite(back.p, 1, 4, stdout) == 4 && fwrite(out.p, 1, out.len, stdout) == out.len);
        buf_fini(&back);
        demand(fflush(stdout) == 0);
    }
    buf_fini(&out);
    mem_free(in);
    return 0;
}
