/* cache_pen: terms with references to the header in place of atoms.
 *
 * Why a term that is written already is gone over once more: it is written where no connection is known, often for several of them, and
 * each has slots of its own. Only what holds an atom is written anew; the bytes between are copied.
 *
 * A fun says how long it is before what is in it, so that it is copied as it is: atoms in full are allowed everywhere. */
#include "base/load.h"
#include "proto/dist/cache.h"

#define TAG_CACHED    82u
#define TAG_PID       88u
#define TAG_REFERENCE 90u
#define TAG_SMALL_INT 97u
#define TAG_INT       98u
#define TAG_OLD_REF   101u
#define TAG_TUPLE     104u
#define TAG_NIL       106u
#define TAG_BINARY    109u
#define TAG_ATOM      119u /* UTF-8, a byte of length: the only kind that is written where it fits */
#define REF_NODE      3u   /* bytes of a reference before its node: the tag and the number of words, which the oldest kind does not have */

void dist_put_atom(dist_pen *p, slice text) {
    uint8_t ref;
    if (!p->head || !dist_head_ref(p->head, text, &ref)) {
        etf_put_atom(p->out, text);
        return;
    }
    uint8_t *to = buf_reserve(p->out, 2);
    if (!to) return;
    to[0] = TAG_CACHED;
    to[1] = ref;
    buf_added(p->out, 2);
}

void dist_put_pid(dist_pen *p, const etf_pid *pid) {
    if (!p->head) {
        etf_put_pid(p->out, pid);
        return;
    }
    buf_add_byte(p->out, TAG_PID);
    dist_put_atom(p, pid->node);
    uint8_t *to = buf_reserve(p->out, 12);
    if (!to) return;
    const uint32_t word[3] = {pid->id, pid->serial, pid->creation};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 4; k++) to[4 * i + k] = (uint8_t)(word[i] >> (24 - 8 * k));
    buf_added(p->out, 12);
}

void dist_put_ref(dist_pen *p, const etf_ref *ref) {
    if (!p->head) {
        etf_put_ref(p->out, ref);
        return;
    }
    if (ref->n == 0 || ref->n > ETF_REF_WORDS) {
        p->out->failed = true;
        return;
    }
    buf_add_byte(p->out, TAG_REFERENCE);
    buf_add_u16be(p->out, (uint16_t)ref->n);
    dist_put_atom(p, ref->node);
    buf_add_u32be(p->out, ref->creation);
    for (uint32_t i = 0; i < ref->n; i++) buf_add_u32be(p->out, ref->word[i]);
}

/* What was copied by now and what is next: [from, at) stands as it is and has not been written. */
typedef struct walk {
    dist_pen *pen;
    const uint8_t *from;
} walk;

/* Writes what stands before an atom, which begins with `before` bytes after at, and the atom; goes on behind its text. */
static void swap(walk *w, const uint8_t *at, size_t before, slice text) {
    buf_add(w->pen->out, slice_of(w->from, (size_t)(at + before - w->from)));
    dist_put_atom(w->pen, text);
    w->from = text.p + text.len;
}

static void on_item(walk *w, const uint8_t *at, const etf_item *it) {
    switch (it->kind) {
    case ETF_ATOM: swap(w, at, 0, it->text); break;
    case ETF_PID: swap(w, at, 1, it->pid.node); break;
    case ETF_PORT: swap(w, at, 1, it->port.node); break;
    case ETF_REF: swap(w, at, at[0] == TAG_OLD_REF ? 1 : REF_NODE, it->ref.node); break;
    case ETF_EXPORT:
        swap(w, at, 1, it->fn.module);
        swap(w, w->from, 0, it->fn.function);
        break;
    case ETF_INT:
    case ETF_BIG:
    case ETF_FLOAT:
    case ETF_BITS:
    case ETF_NIL:
    case ETF_STRING:
    case ETF_LIST:
    case ETF_TUPLE:
    case ETF_MAP:
    case ETF_FUN:
    case ETF_RECORD: break;
    }
}

/* Past what is frequent and holds no atom, without making an item of it: *left terms are to come. False: something else, or cut short. */
static inline bool step_over(cursor *c, uint64_t *left) {
    const uint8_t *p = c->p;
    size_t have = cursor_left(c), n = 0;
    if (have < 1) return false;
    if (*p == TAG_NIL) {
        n = 1;
    } else if (*p == TAG_SMALL_INT) {
        n = 2;
    } else if (*p == TAG_INT) {
        n = 5;
    } else if (*p == TAG_TUPLE && have >= 2) {
        n = 2;
        *left += p[1];
    } else if (*p == TAG_BINARY && have >= 5) {
        n = 5 + (size_t)load_u32be(p + 1);
    }
    if (n == 0 || n > have) return false;
    c->p += n;
    return true;
}

/* The same for an atom, and for the identity of a process or a reference, with the tags that are written today. */
static inline bool swap_over(walk *w, cursor *c) {
    const uint8_t *p = c->p;
    size_t have = cursor_left(c), before, after;
    if (have < REF_NODE + 2) return false;
    if (*p == TAG_ATOM) {
        before = after = 0;
    } else if (*p == TAG_PID) {
        before = 1;
        after = 12;
    } else if (*p == TAG_REFERENCE && p[1] == 0 && p[2] >= 1 && p[2] <= ETF_REF_WORDS) {
        before = REF_NODE;
        after = 4 + 4u * p[2];
    } else {
        return false;
    }
    slice text = slice_of(p + before + 2, p[before + 1]);
    if (p[before] != TAG_ATOM || before + 2 + text.len + after > have) return false;
    swap(w, p, before, text);
    c->p += before + 2 + text.len + after;
    return true;
}

err dist_put_term(dist_pen *p, slice term) {
    if (!p->head) {
        buf_add(p->out, term);
        return ERR_OK;
    }
    etf_reader r = {.in = cursor_of(term)};
    walk w = {p, term.p};
    for (uint64_t left = 1; left > 0; left--) {
        const uint8_t *at = r.in.p;
        etf_item it;
        if (step_over(&r.in, &left) || swap_over(&w, &r.in)) continue;
        if (!etf_next(&r, &it)) return ERR_INVALID;
        if (it.kind == ETF_FUN) {
            r.in.p = at;
            if (!etf_skip(&r, NULL)) return ERR_INVALID;
            continue;
        }
        left += etf_item_terms(&it);
        on_item(&w, at, &it);
    }
    if (cursor_left(&r.in)) return ERR_INVALID;
    buf_add(p->out, slice_of(w.from, (size_t)(r.in.p - w.from)));
    return ERR_OK;
}
