/* walk: over one whole term, item by item, with a stack of counts instead of recursion: to check it, to find its end, to write it again.
 *
 *     [ left | left | left | ... ]   one entry for each term that is open, the innermost last; an entry that reaches 0 is closed
 *
 * Invariants: (1) at most ETF_DEPTH_MAX entries. (2) the tail of a list is counted after the list's entry is closed, so that a long list
 * that was written as many short ones is as deep as one. (3) a fun ends where its size says; what stands in its head and in that of a
 * record are the kinds of terms that belong there. */
#include "proto/etf/tag.h"

typedef struct frame {
    const uint8_t *end; /* of a fun: where its last term must end; else NULL */
    size_t fun;         /* of a fun that is copied: etf_put_fun's */
    uint32_t left;      /* terms that have not begun */
    bool is_list;       /* the last one is a tail */
} frame;

typedef struct walk {
    etf_reader *r;
    buf *out; /* NULL: nothing is written */
    size_t depth;
    frame open[ETF_DEPTH_MAX];
} walk;

static bool one_of(walk *w, etf_kind a, etf_kind b) {
    etf_item it;
    if (!etf_next_as(w->r, w->out != NULL, &it) || (it.kind != a && it.kind != b)) return false;
    if (w->out) etf_put_item(w->out, &it);
    return true;
}

/* The terms of a fun that are always there. */
static bool fun_head(walk *w) {
    return one_of(w, ETF_ATOM, ETF_ATOM) && one_of(w, ETF_INT, ETF_INT) && one_of(w, ETF_INT, ETF_INT) && one_of(w, ETF_PID, ETF_PID);
}

/* An item that holds terms was read. */
static bool open_term(walk *w, const etf_item *it, uint64_t terms) {
    if (w->depth == ETF_DEPTH_MAX) return false;
    frame f = {.left = (uint32_t)terms, .is_list = it->kind == ETF_LIST};
    if (it->kind == ETF_FUN) {
        f.end = w->r->in.p - FUN_HEAD + it->fun.size;
        f.left = it->fun.n;
        if (w->out) f.fun = etf_put_fun(w->out, &it->fun);
        if (!fun_head(w)) return false;
    } else if (it->kind == ETF_RECORD) {
        f.left = it->record.n;
        if (w->out) etf_put_item(w->out, it);
        for (uint64_t i = 0; i < (uint64_t)it->record.n + 2; i++)
            if (!one_of(w, ETF_ATOM, ETF_ATOM)) return false;
    } else if (w->out) {
        etf_put_item(w->out, it);
    }
    w->open[w->depth++] = f;
    return true;
}

/* Takes off the entries that are done. */
static bool close_terms(walk *w) {
    while (w->depth && w->open[w->depth - 1].left == 0) {
        const frame *f = &w->open[--w->depth];
        if (!f->end) continue;
        if (w->r->in.p != f->end) return false;
        if (w->out) etf_put_fun_end(w->out, f->fun);
    }
    return true;
}

static bool run(walk *w) {
    do {
        if (w->depth) {
            frame *f = &w->open[w->depth - 1];
            f->left--;
            if (f->is_list && f->left == 0) w->depth--; /* the tail begins */
        }
        etf_item it;
        if (!etf_next_as(w->r, w->out != NULL, &it)) return false;
        uint64_t terms = etf_item_terms(&it);
        if (terms) {
            if (!open_term(w, &it, terms)) return false;
        } else if (w->out) {
            etf_put_item(w->out, &it);
        }
        if (!close_terms(w)) return false;
    } while (w->depth);
    return true;
}

bool etf_skip(etf_reader *r, slice *out) {
    const uint8_t *from = r->in.p;
    walk w;
    w.r = r, w.out = NULL, w.depth = 0;
    if (!run(&w)) {
        r->in.p = from;
        return false;
    }
    if (out) *out = slice_of(from, (size_t)(r->in.p - from));
    return true;
}

bool etf_copy(etf_reader *r, buf *out) {
    const uint8_t *from = r->in.p;
    size_t len = out->len;
    walk w;
    w.r = r, w.out = out, w.depth = 0;
    if (run(&w)) return true;
    r->in.p = from;
    out->len = len;
    return false;
}
