/* term: the tree of a term in an arena.
 *
 *     [ item | in ] ---> [ item | in ][ item | in ][ item | in ]     the terms inside lie side by side
 *                                         |
 *                                         +---> [ item | in ] ...
 *
 * Why checked first: a list that promises a million elements, the first of which promises a million, and so on, would take memory for all
 * of them before the last is seen to be missing. etf_skip finds that out for nothing.
 *
 * Invariants: (1) a node is 64 bytes and stands for a byte of input at least. (2) the pairs of a map are in the exact order of their keys,
 * none of which is there twice: so two maps are compared, and a key is found, without a table. */
#include "proto/etf/term.h"

#include "proto/etf/order.h"

typedef struct frame {
    etf_term *of;   /* the term that is being filled */
    etf_term *next; /* the next one inside it */
    uint64_t left;  /* how many more */
} frame;

/* --- maps: pairs are sorted where they lie (a heap: no memory, no recursion, no input that is slow) */

typedef struct pair {
    etf_term key, value;
} pair;

static void sift(pair *p, size_t from, size_t n) {
    pair moved = p[from];
    for (size_t child; (child = from * 2 + 1) < n; from = child) {
        if (child + 1 < n && etf_order(&p[child].key, &p[child + 1].key, true) < 0) child++;
        if (etf_order(&moved.key, &p[child].key, true) >= 0) break;
        p[from] = p[child];
    }
    p[from] = moved;
}

static bool is_ascending(const pair *p, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (etf_order(&p[i - 1].key, &p[i].key, true) >= 0) return false;
    return true;
}

/* False: a key is there twice. */
static bool sort_pairs(pair *p, size_t n) {
    if (is_ascending(p, n)) return true; /* as OTP writes small maps up to release 25 */
    for (size_t i = n / 2; i; i--) sift(p, i - 1, n);
    for (size_t i = n - 1; i; i--) {
        pair last = p[i];
        p[i] = p[0];
        p[0] = last;
        sift(p, 0, i);
    }
    return is_ascending(p, n);
}

/* --- reading */

typedef struct builder {
    etf_reader *r;
    arena *a;
    size_t depth;
    frame open[ETF_DEPTH_MAX];
} builder;

static err read_into(builder *b, etf_term *t) {
    if (!etf_next(b->r, &t->item)) return ERR_LIMIT; /* it was checked: what can fail is r->text */
    uint64_t n = etf_item_terms(&t->item);
    if (n == 0) return ERR_OK;
    if (!check(b->depth < ETF_DEPTH_MAX)) return ERR_BUG;
    etf_term *in = n <= SIZE_MAX / sizeof *in ? arena_alloc(b->a, (size_t)n * sizeof *in) : NULL;
    if (!in) return ERR_LIMIT;
    t->in = in;
    b->open[b->depth++] = (frame){t, in, n};
    return ERR_OK;
}

static err close_terms(builder *b) {
    while (b->depth && b->open[b->depth - 1].left == 0) {
        const frame *f = &b->open[--b->depth];
        if (f->of->item.kind != ETF_MAP) continue;
        etf_term *in = f->next - etf_item_terms(&f->of->item); /* the same as of->in, which is const for all others */
        if (!sort_pairs((pair *)(void *)in, f->of->item.n)) return ERR_INVALID;
    }
    return ERR_OK;
}

static err build(builder *b, etf_term *root) {
    err e = read_into(b, root);
    while (!e && b->depth) {
        frame *f = &b->open[b->depth - 1];
        etf_term *t = f->next++;
        f->left--;
        if (f->left == 0 && f->of->item.kind == ETF_LIST) b->depth--; /* the tail is not deeper */
        e = read_into(b, t);
        if (!e) e = close_terms(b);
    }
    return e;
}

err etf_term_read(etf_reader *r, arena *a, const etf_term **out) {
    etf_reader checked = *r, ahead = *r;
    if (!etf_skip(&checked, NULL)) return ERR_INVALID;
    etf_term *root = arena_alloc(a, sizeof *root);
    if (!root) return ERR_LIMIT;
    builder b;
    b.r = &ahead, b.a = a, b.depth = 0;
    err e = build(&b, root);
    if (e) return e;
    *r = ahead;
    *out = root;
    return ERR_OK;
}

/* --- writing */

typedef struct out_frame {
    const etf_term *of;
    uint64_t next;
    size_t fun; /* etf_put_fun's */
} out_frame;

void etf_term_write(const etf_term *t, buf *out) {
    out_frame open[ETF_DEPTH_MAX];
    size_t depth = 0;
    for (;;) {
        if (t->item.kind != ETF_FUN) etf_put_item(out, &t->item);
        if (t->in) {
            if (!check(depth < ETF_DEPTH_MAX)) {
                out->failed = true;
                return;
            }
            open[depth++] = (out_frame){t, 0, t->item.kind == ETF_FUN ? etf_put_fun(out, &t->item.fun) : 0};
        }
        while (depth && open[depth - 1].next == etf_item_terms(&open[depth - 1].of->item)) {
            depth--;
            if (open[depth].of->item.kind == ETF_FUN) etf_put_fun_end(out, open[depth].fun);
        }
        if (depth == 0 || !buf_ok(out)) return;
        out_frame *f = &open[depth - 1];
        t = &f->of->in[f->next++];
        if (f->of->item.kind == ETF_LIST && f->next > f->of->item.n) depth--;
    }
}

/* --- looking */

const etf_term *etf_term_at(const etf_term *t, uint64_t i) { return i < etf_item_terms(&t->item) ? &t->in[i] : NULL; }

bool etf_term_is_atom(const etf_term *t, slice text) { return t->item.kind == ETF_ATOM && slice_eq(t->item.text, text); }

const etf_term *etf_term_get(const etf_term *map, slice key) {
    if (map->item.kind != ETF_MAP) return NULL;
    const etf_term want = {.item = {.kind = ETF_ATOM, .text = key}};
    size_t from = 0, to = map->item.n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = etf_order(&want, &map->in[2 * mid], true);
        if (c == 0) return &map->in[2 * mid + 1];
        if (c < 0) {
            to = mid;
        } else {
            from = mid + 1;
        }
    }
    return NULL;
}

/* What the bytes of a string are as elements. */
#define T1(n)                                                                                                                              \
    { {.kind = ETF_INT, .i = (n)}, NULL }
#define T4(n)  T1(n), T1((n) + 1), T1((n) + 2), T1((n) + 3)
#define T16(n) T4(n), T4((n) + 4), T4((n) + 8), T4((n) + 12)
#define T64(n) T16(n), T16((n) + 16), T16((n) + 32), T16((n) + 48)
static const etf_term byte_terms[256] = {T64(0), T64(64), T64(128), T64(192)};
static const etf_term nil_term = {{.kind = ETF_NIL}, NULL};

bool etf_list_next(etf_list *l, const etf_term **out) {
    const etf_term *t = l->rest;
    while (t->item.kind == ETF_LIST && l->i == t->item.n) {
        t = &t->in[l->i];
        l->i = 0;
    }
    if (t->item.kind == ETF_STRING && l->i == t->item.text.len) {
        t = &nil_term;
        l->i = 0;
    }
    l->rest = t;
    if (t->item.kind == ETF_STRING) {
        *out = &byte_terms[t->item.text.p[l->i++]];
        return true;
    }
    if (t->item.kind != ETF_LIST) return false;
    *out = &t->in[l->i++];
    return true;
}
