/* verbs_lock: the lock table (system.md F5-F8): per class, per instance, per place in the source; in the same table, and in the same terms,
 * what does without locks (contend.h).
 *
 *     lock_set_each, rt_contend_each -> entries -> those of one class, if one is named -> merged by class or place -> the worst first
 *
 * Invariant: what is counted without locks is always counted; "on" and "off" are for locks, "clear" is for both. */
#include "base/mem.h"
#include "rt/contend.h"
#include "rt/verbs_fn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WAITS_TEXT 512

typedef enum view { BY_CLASS, BY_INSTANCE, BY_PLACE } view;
typedef struct entry {
    const char *name;
    const char *place; /* BY_PLACE; else NULL */
    bool lock_free, pair;
    uint32_t from, to;  /* id; from of a ring, which is a pair */
    uint32_t instances; /* merged into it */
    uint64_t tries, collisions;
    double wait_usec;
    uint64_t waits[LOCK_WAIT_BUCKETS];
} entry;
typedef struct table {
    view by;
    entry *at;
    size_t n, cap;
    double cycles_per_usec;
} table;

static entry *add(table *t, const entry *e) {
    void *arr = t->at;
    mem_grow(&arr, &t->cap, t->n + 1, sizeof *t->at);
    t->at = arr;
    t->at[t->n] = *e;
    t->at[t->n].instances = 1;
    return &t->at[t->n++];
}

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); /* statistics */ }

static void add_lock(void *arg, const lock *l) {
    table *t = arg;
    entry e = {.name = l->name, .to = l->id};
    if (t->by != BY_PLACE) {
        lock_counts c = lock_counted(l);
        e.tries = c.tries;
        e.collisions = c.collisions;
        e.wait_usec = (double)c.wait_cycles / t->cycles_per_usec;
        (void)add(t, &e);
        return;
    }
    for (const lock_site *i = atomic_load_explicit(&l->sites, memory_order_acquire); i; i = i->next) { /* partner: lock.c, find_site */
        e.place = i->place;
        e.tries = get(&i->tries);
        e.collisions = get(&i->collisions);
        e.wait_usec = (double)get(&i->wait_cycles) / t->cycles_per_usec;
        for (unsigned k = 0; k < LOCK_WAIT_BUCKETS; k++) e.waits[k] = get(&i->waits[k]);
        if (e.tries > 0) (void)add(t, &e);
    }
}

static void add_free(void *arg, const rt_contend_row *r) {
    (void)add(arg, &(entry){.name = rt_contend_name(r->kind),
                            .lock_free = true,
                            .pair = r->kind == RT_CONTEND_RING,
                            .from = r->from,
                            .to = r->to,
                            .tries = r->tries,
                            .collisions = r->collisions,
                            .wait_usec = (double)r->usecs});
}

static void no_row(void *arg, const lock *l) {
    const char **name = arg;
    if (*name && strcmp(*name, l->name) == 0) *name = NULL; /* found */
}

static bool is_class(rt_verb_call *c, slice text) {
    char copy[64];
    if (text.len >= sizeof copy) return false;
    memcpy(copy, text.p, text.len);
    copy[text.len] = 0;
    for (unsigned k = 0; k < RT_CONTEND_KINDS; k++)
        if (strcmp(copy, rt_contend_name((rt_contend_kind)k)) == 0) return true;
    const char *wanted = copy;
    lock_set_each(rt_node_locks(c->node), no_row, &wanted);
    return !wanted;
}

/* --- merging and sorting --------------------------------------------------------------------------------------------------------- */
static bool same(const entry *a, const entry *b) { return strcmp(a->name, b->name) == 0 && (!a->place || strcmp(a->place, b->place) == 0); }

static void merge(table *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t k = 0;
        while (k < n && !same(&t->at[k], &t->at[i])) k++;
        if (k == n) {
            t->at[n++] = t->at[i];
            continue;
        }
        entry *into = &t->at[k];
        into->instances++;
        into->tries += t->at[i].tries;
        into->collisions += t->at[i].collisions;
        into->wait_usec += t->at[i].wait_usec;
        for (unsigned b = 0; b < LOCK_WAIT_BUCKETS; b++) into->waits[b] += t->at[i].waits[b];
    }
    t->n = n;
}

static void keep_class(table *t, slice name) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (slice_is(name, t->at[i].name)) t->at[n++] = t->at[i];
    t->n = n;
}

static int by_number(uint64_t a, uint64_t b) { return a > b ? -1 : a < b; } /* the larger one first */
static int worst_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int d = x->wait_usec > y->wait_usec ? -1 : x->wait_usec < y->wait_usec;
    if (!d) d = by_number(x->collisions, y->collisions);
    if (!d) d = by_number(x->tries, y->tries);
    if (!d) d = strcmp(x->name, y->name);
    if (!d) d = by_number(y->from, x->from);
    if (!d) d = by_number(y->to, x->to);
    return d || !x->place ? d : strcmp(x->place, y->place);
}

/* --- the table ------------------------------------------------------------------------------------------------------------------- */
/* "<1us 3, <2us 1, <1024us 7": waiting times by powers of two. */
static val *waits_val(rt_verb_call *c, const entry *e) {
    char text[WAITS_TEXT] = "";
    size_t len = 0;
    for (unsigned k = 0; k < LOCK_WAIT_BUCKETS && len < sizeof text; k++) {
        if (!e->waits[k]) continue;
        bool last = k == LOCK_WAIT_BUCKETS - 1;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s%" PRIu64 "us %" PRIu64, len ? ", " : "", last ? ">=" : "<",
                                UINT64_C(1) << (last ? k - 1 : k), e->waits[k]);
    }
    return val_str(c->arena, slice_str(text));
}

static val *row(rt_verb_call *c, view by, const entry *e, double duration_usec) {
    arena *a = c->arena;
    val *m = val_map(a);
    rt_verb_text(c, m, "lock", e->name);
    if (by != BY_INSTANCE)
        rt_verb_uint(c, m, "id", e->instances);
    else
        val_set(a, m, "id", e->pair ? val_strf(a, "%" PRIu32 ">%" PRIu32, e->from, e->to) : val_strf(a, "%" PRIu32, e->to));
    if (by == BY_PLACE) val_set(a, m, "location", val_str(a, slice_str(e->place)));
    rt_verb_uint(c, m, "tries", e->tries);
    rt_verb_uint(c, m, "collisions", e->collisions);
    val_set(a, m, "collisions_percent", val_real(a, rt_verb_percent((double)e->collisions, (double)e->tries)));
    rt_verb_uint(c, m, "wait_usec", (uint64_t)e->wait_usec);
    val_set(a, m, "duration_percent", val_real(a, rt_verb_percent(e->wait_usec, duration_usec)));
    if (by == BY_PLACE)
        val_set(a, m, "waits", waits_val(c, e));
    else
        val_set(a, m, "lock_free", val_bool(a, e->lock_free));
    return m;
}

static err show(rt_verb_call *c, view by) {
    if (c->n_args == 1 && !is_class(c, c->args[0]))
        return rt_verb_fail(c, ERR_NOT_FOUND, c->args[0], "is not a class in the table that locks shows");
    sys *s = rt_node_sys(c->node);
    lock_set *set = rt_node_locks(c->node);
    table t = {.by = by, .cycles_per_usec = (double)s->cycles_per_sec(s) / (double)USEC_PER_SEC};
    double counted = (double)lock_set_counted(set) / t.cycles_per_usec, free_for = 0;
    lock_set_each(set, add_lock, &t);
    if (by != BY_PLACE) free_for = (double)(s->mono(s) - rt_contend_each(c->node, add_free, &t));
    if (c->n_args == 1) keep_class(&t, c->args[0]);
    if (by != BY_INSTANCE) merge(&t);
    if (t.n > 0) qsort(t.at, t.n, sizeof *t.at, worst_first);
    c->result = val_list(c->arena);
    for (size_t i = 0; i < t.n; i++) val_push(c->arena, c->result, row(c, by, &t.at[i], t.at[i].lock_free ? free_for : counted));
    mem_free(t.at);
    return ERR_OK;
}

err rt_verb_locks(rt_verb_call *c) { return show(c, BY_CLASS); }
err rt_verb_locks_instances(rt_verb_call *c) { return show(c, BY_INSTANCE); }
err rt_verb_locks_locations(rt_verb_call *c) { return show(c, BY_PLACE); }

err rt_verb_locks_on(rt_verb_call *c) {
    lock_set_counting(rt_node_locks(c->node), true);
    return ERR_OK;
}
err rt_verb_locks_off(rt_verb_call *c) {
    lock_set_counting(rt_node_locks(c->node), false);
    return ERR_OK;
}
err rt_verb_locks_clear(rt_verb_call *c) {
    lock_set_clear(rt_node_locks(c->node));
    rt_contend_clear(c->node);
    return ERR_OK;
}
