/* order: Erlang's order of all terms (OTP: "Term Comparisons"; erts utils.c, erts_cmp; EEP 79 for records).
 *
 * A comparison of what holds terms goes on in a frame: the two terms, how far it got, and whether an integer may equal a float.
 *
 *     maps:   the number of pairs; then all keys, exactly; then all values      lists: element by element, tails as terms
 *     tuples: the number of elements; then the elements                          funs:  module, index, uniq, number of variables; variables
 *
 * Invariants: (1) a frame for each level at most, so that ORDER_DEPTH_MAX are enough: the tail of a list takes the place of the list.
 * (2) it is a total order: an integer and a float are compared as the numbers that they are, not as what one becomes when converted. */
#include "proto/etf/order.h"

#include <math.h>

#define ORDER_DEPTH_MAX (ETF_DEPTH_MAX + 1) /* a string is walked like a list, and may be in the innermost term */

typedef struct frame {
    const etf_term *a, *b;
    uint64_t a_at, b_at; /* lists: element of each; others: a_at counts the steps */
    bool exact;
} frame;

static inline int order_u64(uint64_t a, uint64_t b) { return (a > b) - (a < b); }
static inline int order_i64(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* --- numbers */

static int int_float(int64_t i, double f) {
    if (f >= 0x1p63) return -1;
    if (f < -0x1p63) return 1;
    int64_t whole = (int64_t)f;
    if (i != whole) return i < whole ? -1 : 1;
    double part = f - (double)whole; /* exact: where there is a part, the whole fits a double */
    return part > 0 ? -1 : part < 0;
}

static int magnitudes(slice a, slice b) {
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    for (size_t i = a.len; i; i--)
        if (a.p[i - 1] != b.p[i - 1]) return a.p[i - 1] < b.p[i - 1] ? -1 : 1;
    return 0;
}

/* The magnitude of a big, of more than 63 bits, against a positive float. */
static int magnitude_float(slice m, double f) {
    int bits;
    double part = frexp(f, &bits); /* f = part * 2^bits, part from 1/2 up to 1 */
    uint64_t m_bits = (uint64_t)m.len * 8 - (uint64_t)(__builtin_clz(m.p[m.len - 1]) - 24);
    if (bits < 0 || m_bits != (uint64_t)bits) return bits > 0 && m_bits < (uint64_t)bits ? -1 : 1;
    uint64_t top = 0; /* the 64 highest bits of m, and whether any below is set */
    bool below = false;
    for (size_t i = 0; i < m.len; i++) {
        uint64_t byte = m.p[i];
        int64_t at = (int64_t)i * 8 + 64 - (int64_t)m_bits; /* where the byte's lowest bit lands */
        if (at >= 0) {
            top |= byte << at;
        } else {
            below |= at <= -8 ? byte != 0 : (byte & ((1u << -at) - 1)) != 0;
            if (at > -8) top |= byte >> -at;
        }
    }
    uint64_t want = (uint64_t)ldexp(part, 64);
    if (top != want) return top < want ? -1 : 1;
    return below;
}

static int big_float(const etf_big *v, double f) {
    if (v->negative != signbit(f) || f == 0) return v->negative ? -1 : 1;
    int c = magnitude_float(v->magnitude, fabs(f));
    return v->negative ? -c : c;
}

static int float_float(double a, double b, bool exact) {
    if (a != b || !exact) return (a > b) - (a < b);
    return (signbit(b) != 0) - (signbit(a) != 0); /* -0.0 before 0.0 */
}

static int number(const etf_item *a, const etf_item *b, bool exact) {
    if (a->kind == ETF_FLOAT && b->kind == ETF_FLOAT) return float_float(a->f, b->f, exact);
    if (a->kind == ETF_FLOAT) return -number(b, a, exact);
    if (b->kind == ETF_FLOAT) {
        if (exact) return -1;
        return a->kind == ETF_INT ? int_float(a->i, b->f) : big_float(&a->big, b->f);
    }
    if (a->kind == ETF_INT && b->kind == ETF_INT) return order_i64(a->i, b->i);
    if (a->kind == ETF_INT) return b->big.negative ? 1 : -1;
    if (b->kind == ETF_INT) return a->big.negative ? -1 : 1;
    if (a->big.negative != b->big.negative) return a->big.negative ? -1 : 1;
    int c = magnitudes(a->big.magnitude, b->big.magnitude);
    return a->big.negative ? -c : c;
}

/* --- identities and bytes */

static int node(slice a, uint32_t a_creation, slice b, uint32_t b_creation) {
    int c = slice_cmp(a, b);
    return c ? c : order_u64(a_creation, b_creation);
}

static int pid(const etf_pid *a, const etf_pid *b) {
    if (a->serial != b->serial) return order_u64(a->serial, b->serial);
    if (a->id != b->id) return order_u64(a->id, b->id);
    return node(a->node, a->creation, b->node, b->creation);
}

static int port(const etf_port *a, const etf_port *b) {
    int c = node(a->node, a->creation, b->node, b->creation);
    return c ? c : order_u64(a->id, b->id);
}

/* The last word counts most; one that is not there is 0. */
static int ref(const etf_ref *a, const etf_ref *b) {
    int c = node(a->node, a->creation, b->node, b->creation);
    for (uint32_t i = ETF_REF_WORDS; i && c == 0; i--) c = order_u64(i <= a->n ? a->word[i - 1] : 0, i <= b->n ? b->word[i - 1] : 0);
    return c;
}

static uint64_t bit_len(const etf_bits *v) { return v->bytes.len ? (uint64_t)v->bytes.len * 8 - 8 + v->last : 0; }

static int bits(const etf_bits *a, const etf_bits *b) {
    uint64_t a_len = bit_len(a), b_len = bit_len(b), n = a_len < b_len ? a_len : b_len;
    size_t whole = (size_t)(n / 8);
    int c = whole ? memcmp(a->bytes.p, b->bytes.p, whole) : 0;
    if (c == 0 && n % 8) {
        unsigned mask = 0xff00u >> (n % 8);
        c = (int)(a->bytes.p[whole] & mask & 0xff) - (int)(b->bytes.p[whole] & mask & 0xff);
    }
    return c ? c : order_u64(a_len, b_len);
}

static int export(const etf_export *a, const etf_export *b) {
    int c = slice_cmp(a->module, b->module);
    if (c == 0) c = slice_cmp(a->function, b->function);
    return c ? c : a->arity - b->arity;
}

/* --- what holds terms: what is known before any of them is looked at; the three terms at the front of a fun, the two of a record are no
 * deeper than it */

static int fun(const etf_term *a, const etf_term *b) {
    int c = slice_cmp(a->in[0].item.text, b->in[0].item.text);
    if (c == 0) c = order_i64(a->in[1].item.i, b->in[1].item.i);
    if (c == 0) c = order_i64(a->in[2].item.i, b->in[2].item.i);
    return c ? c : order_u64(a->item.fun.n, b->item.fun.n);
}

static int record(const etf_term *a, const etf_term *b) {
    int c = slice_cmp(a->in[0].item.text, b->in[0].item.text);
    if (c == 0) c = slice_cmp(a->in[1].item.text, b->in[1].item.text);
    if (c == 0) c = (a->item.record.flags & ETF_RECORD_EXPORTED) - (b->item.record.flags & ETF_RECORD_EXPORTED);
    return c ? c : order_u64(a->item.record.n, b->item.record.n);
}

static int rank(etf_kind k) {
    switch (k) {
    case ETF_INT:
    case ETF_BIG:
    case ETF_FLOAT: return 0;
    case ETF_ATOM: return 1;
    case ETF_REF: return 2;
    case ETF_FUN: return 3;
    case ETF_EXPORT: return 4;
    case ETF_PORT: return 5;
    case ETF_PID: return 6;
    case ETF_TUPLE: return 7;
    case ETF_RECORD: return 8;
    case ETF_MAP: return 9;
    case ETF_NIL: return 10;
    case ETF_STRING:
    case ETF_LIST: return 11;
    case ETF_BITS: return 12;
    }
    return 0;
}

/* Two terms without what is inside. */
static int shallow(const etf_term *a, const etf_term *b, bool exact) {
    const etf_item *x = &a->item, *y = &b->item;
    int c = rank(x->kind) - rank(y->kind);
    if (c) return c;
    switch (x->kind) {
    case ETF_INT:
    case ETF_BIG:
    case ETF_FLOAT: return number(x, y, exact);
    case ETF_ATOM: return slice_cmp(x->text, y->text);
    case ETF_REF: return ref(&x->ref, &y->ref);
    case ETF_FUN: return fun(a, b);
    case ETF_EXPORT: return export(&x->fn, &y->fn);
    case ETF_PORT: return port(&x->port, &y->port);
    case ETF_PID: return pid(&x->pid, &y->pid);
    case ETF_TUPLE:
    case ETF_MAP: return order_u64(x->n, y->n);
    case ETF_RECORD: return record(a, b);
    case ETF_BITS: return bits(&x->bits, &y->bits);
    case ETF_NIL:
    case ETF_STRING:
    case ETF_LIST: return 0;
    }
    return 0;
}

/* How many steps a frame has, and which term each looks at. */
static uint64_t first_step(const etf_item *it) { return it->kind == ETF_FUN ? 4 : it->kind == ETF_RECORD ? 2 : 0; }

static uint64_t term_of_step(const etf_item *it, uint64_t step) {
    if (it->kind != ETF_MAP) return step;
    return step < it->n ? 2 * step : 2 * (step - it->n) + 1; /* all keys, then all values */
}

typedef struct look {
    const etf_term *a, *b;
    bool exact;
} look;

/* The next pair of terms of the innermost frame; false: it is done, and gone. */
static bool next_pair(frame *open, size_t *depth, look *out) {
    frame *f = &open[*depth - 1];
    const etf_item *it = &f->a->item;
    if (it->kind == ETF_LIST || it->kind == ETF_STRING) {
        etf_list x = {f->a, f->a_at}, y = {f->b, f->b_at};
        const etf_term *p, *q;
        bool more_x = etf_list_next(&x, &p), more_y = etf_list_next(&y, &q);
        if (more_x && more_y) {
            *out = (look){p, q, f->exact};
            *f = (frame){x.rest, y.rest, x.i, y.i, f->exact};
            return true;
        }
        --*depth;
        *out = (look){x.rest, y.rest, f->exact}; /* tails: one of them is no list, so that their kinds decide */
        return true;
    }
    if (f->a_at == etf_item_terms(it)) {
        --*depth;
        return false;
    }
    uint64_t i = term_of_step(it, f->a_at);
    *out = (look){&f->a->in[i], &f->b->in[i], f->exact || (it->kind == ETF_MAP && f->a_at < it->n)};
    f->a_at++;
    return true;
}

int etf_order(const etf_term *a, const etf_term *b, bool exact) {
    frame open[ORDER_DEPTH_MAX];
    size_t depth = 0;
    look at = {a, b, exact};
    for (;;) {
        int c = shallow(at.a, at.b, at.exact);
        if (c) return c;
        if (at.a->in || at.a->item.kind == ETF_STRING) {
            if (!check(depth < ORDER_DEPTH_MAX)) return 0;
            uint64_t first = first_step(&at.a->item);
            open[depth++] = (frame){at.a, at.b, first, first, at.exact};
        }
        do {
            if (depth == 0) return 0;
        } while (!next_pair(open, &depth, &at));
    }
}

int etf_compare(const etf_term *a, const etf_term *b) { return etf_order(a, b, false); }
bool etf_equal(const etf_term *a, const etf_term *b) { return etf_order(a, b, true) == 0; }
