/* walk: over one whole term, item by item, with a stack of counts instead of recursion: to check it, to find its end, to write it again;
 * also when it comes in pieces (rewrite.h).
 *
 *     [ left | left | left | ... ]   one entry for each term that is open, the innermost last; an entry that reaches 0 is closed
 *
 * Of a term in pieces, an item that is cut is not begun: what there is of it waits for the next piece. Only binaries are passed on as they
 * come.
 *
 * Invariants: (1) at most ETF_DEPTH_MAX entries. (2) the tail of a list is counted after the list's entry is closed, so that a long list
 * that was written as many short ones is as deep as one. (3) a fun ends where its size says; what stands in its head and in that of a
 * record are the kinds of terms that belong there. (4) a step that returns false has changed nothing. */
#include "base/mem.h"
#include "proto/etf/rewrite.h"
#include "proto/etf/tag.h"

typedef struct frame {
    uint64_t end;  /* of a fun: where its last term must end, from the term's beginning; else 0 */
    size_t fun;    /* of a fun that is copied: etf_put_fun's */
    uint32_t left; /* terms that have not begun */
    bool is_list;  /* the last one is a tail */
} frame;

typedef struct walk {
    etf_reader *r;
    const uint8_t *from; /* what r has read begins here */
    uint64_t passed;     /* bytes of the term before that */
    buf *out;            /* NULL: nothing is written */
    size_t depth;
    frame *open; /* room for ETF_DEPTH_MAX, or for cap if that is not 0: then it grows */
    size_t cap;
} walk;

static inline uint64_t position(const walk *w) { return w->passed + (uint64_t)(w->r->in.p - w->from); }

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

static void grow(walk *w) {
    void *at = w->open;
    if (w->cap) mem_grow(&at, &w->cap, w->depth + 1, sizeof *w->open);
    w->open = at;
}

/* An item that holds terms was read. */
static bool open_term(walk *w, const etf_item *it, uint64_t terms) {
    if (w->depth == ETF_DEPTH_MAX) return false;
    frame f = {.left = (uint32_t)terms, .is_list = it->kind == ETF_LIST};
    if (it->kind == ETF_FUN) {
        f.end = position(w) - FUN_HEAD + it->fun.size;
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
    if (UNLIKELY(w->cap)) grow(w);
    w->open[w->depth++] = f;
    return true;
}

/* Takes off the entries that are done. */
static bool close_terms(walk *w) {
    while (w->depth && w->open[w->depth - 1].left == 0) {
        const frame *f = &w->open[--w->depth];
        if (!f->end) continue;
        if (position(w) != f->end) return false;
        if (w->out) etf_put_fun_end(w->out, f->fun);
    }
    return true;
}

/* The next item is one of those that are open. */
static inline void count(walk *w) {
    if (!w->depth) return;
    frame *f = &w->open[w->depth - 1];
    f->left--;
    if (f->is_list && f->left == 0) w->depth--; /* the tail begins */
}

static inline bool item(walk *w) {
    etf_item it;
    if (!etf_next_as(w->r, w->out != NULL, &it)) return false;
    uint64_t terms = etf_item_terms(&it);
    count(w);
    if (terms) return open_term(w, &it, terms);
    if (w->out) etf_put_item(w->out, &it);
    return true;
}

static bool run(walk *w) {
    do {
        if (!item(w) || !close_terms(w)) return false;
    } while (w->depth);
    return true;
}

bool etf_skip(etf_reader *r, slice *out) {
    const uint8_t *from = r->in.p;
    frame open[ETF_DEPTH_MAX];
    walk w;
    w.r = r, w.out = NULL, w.depth = 0, w.open = open, w.cap = 0, w.from = from, w.passed = 0;
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
    frame open[ETF_DEPTH_MAX];
    walk w;
    w.r = r, w.out = out, w.depth = 0, w.open = open, w.cap = 0, w.from = from, w.passed = 0;
    if (run(&w)) return true;
    r->in.p = from;
    out->len = len;
    return false;
}

/* --- in pieces --------------------------------------------------------------------------------------------------------------------- */
#define FRAMES_FIRST 8u /* as many levels as most messages have */

struct etf_rewrite {
    walk w;
    uint64_t raw; /* bytes of a binary that are to come */
    uint8_t last; /* bits used of its last one */
    bool begun;   /* an item of the term was read */
    buf kept;     /* the item that is cut */
};

etf_rewrite *etf_rewrite_new(void) {
    etf_rewrite *w = mem_zalloc(sizeof *w);
    w->w.cap = FRAMES_FIRST;
    w->w.open = mem_alloc(FRAMES_FIRST * sizeof *w->w.open);
    buf_init(&w->kept, SIZE_MAX); /* see the end of etf_rewrite_feed */
    return w;
}

void etf_rewrite_free(etf_rewrite *w) {
    if (!w) return;
    mem_free(w->w.open);
    buf_fini(&w->kept);
    mem_free(w);
}

size_t etf_rewrite_kept(const etf_rewrite *w) { return w->kept.len; }

/* Passes on what there is of a binary. */
static bool pass(etf_rewrite *w) {
    cursor *c = &w->w.r->in;
    slice part = slice_of(c->p, cursor_left(c) < w->raw ? cursor_left(c) : (size_t)w->raw);
    buf_add(w->w.out, part);
    c->p += part.len;
    w->raw -= part.len;
    if (w->raw || !buf_ok(w->w.out)) return true;
    if (w->last != 8) w->w.out->p[w->w.out->len - 1] &= (uint8_t)(0xff00u >> w->last);
    return close_terms(&w->w);
}

/* A binary of which more is to come than there is: its head. False: something else, or the head is not whole. */
static bool begin_binary(etf_rewrite *w) {
    cursor *c = &w->w.r->in;
    const uint8_t *p = c->p;
    size_t left = cursor_left(c), head = left && *p == TAG_BINARY ? 5 : 6;
    if (left < head || (*p != TAG_BINARY && *p != TAG_BIT_BINARY)) return false;
    uint32_t len = load_u32be(p + 1);
    uint8_t last = *p == TAG_BINARY ? 8 : p[5];
    if (len <= left - head || last == 0 || last > 8) return false;
    count(&w->w);
    w->raw = len;
    w->last = last;
    c->p += head;
    uint8_t *to = buf_reserve(w->w.out, 6);
    if (!to) return true; /* the caller sees it */
    memcpy(to, p, 5);
    to[0] = last == 8 ? TAG_BINARY : TAG_BIT_BINARY;
    to[5] = last;
    buf_added(w->w.out, last == 8 ? 5 : 6);
    return true;
}

/* One item. False: it is cut, or wrong; nothing has changed. */
static bool step(etf_rewrite *w) {
    walk *k = &w->w;
    const uint8_t *from = k->r->in.p;
    size_t depth = k->depth, len = k->out->len;
    frame top = depth ? k->open[depth - 1] : (frame){0};
    if (item(k)) return true;
    k->r->in.p = from;
    k->depth = depth;
    if (depth) k->open[depth - 1] = top;
    k->out->len = len;
    return false;
}

/* All items that are whole. False: it goes on after its end, or a fun ends elsewhere than it says. */
static bool items(etf_rewrite *w, bool last) {
    walk *k = &w->w;
    while (cursor_left(&k->r->in) && buf_ok(k->out)) {
        if (w->raw) {
            if (!pass(w)) return false;
            continue;
        }
        if (w->begun && k->depth == 0) return false;
        if (!last && begin_binary(w)) {
            w->begun = true;
            continue;
        }
        if (!step(w)) return true;
        w->begun = true;
        if (!close_terms(k)) return false;
    }
    return true;
}

bool etf_rewrite_feed(etf_rewrite *w, const etf_atoms *atoms, slice piece, bool last, buf *out) {
    slice in = piece;
    if (w->kept.len) {
        buf_add(&w->kept, piece);
        in = buf_slice(&w->kept);
    }
    arena text;
    arena_init(&text, 2 * in.len + 64);
    etf_reader r = {.in = cursor_of(in), .atoms = atoms, .text = &text, .more = last ? 0 : UINT32_MAX};
    w->w.r = &r;
    w->w.out = out;
    w->w.from = in.p;
    bool good = items(w, last);
    slice rest = slice_of(r.in.p, cursor_left(&r.in));
    w->w.passed += in.len - rest.len;
    w->w.r = NULL;
    arena_fini(&text);
    if (!good || !buf_ok(out) || rest.len > ETF_REWRITE_KEPT) return false;
    if (last) return rest.len == 0 && w->begun && w->raw == 0 && w->w.depth == 0;
    if (!w->kept.len)
        buf_add(&w->kept, rest);
    else if (rest.len)
        buf_consume(&w->kept, w->kept.len - rest.len);
    else
        buf_fini(&w->kept);
    return true;
}
