/* sup: supervisors of the program. What it adds is what a rt_sup_spec is made of when the supervisor starts; then the runtime's supervisor
 * runs, within a class that other nodes can see and that frees the specification with the last actor that needs it.
 *
 * Invariant: the specification of a tree is owned by its top, and lives until that has ended; those below it have ended before, or are dead
 * already, because they are linked to it: so each holds a reference. */
#include "base/mem.h"
#include "lib/int.h"

#include <stdatomic.h>

typedef struct sup_child {
    char *id;
    const murre_class *cls; /* lib_sup_key: a supervisor */
    const void *arg;
    murre_sup *below; /* owned: of a supervisor */
    rt_restart restart;
    usec shutdown;
} sup_child;

struct murre_sup {
    _Atomic uint32_t refs; /* unref is acq_rel, pairs with itself: the last one frees. Its actors, and who made it or what it is below */
    rt_sup_spec spec;      /* once it is started */
    rt_child *out;
    sup_child *children;
    size_t n, cap;
    murre_sup *self; /* the arg of its actor points here */
};

typedef struct sup_state {
    murre_sup *s;
    uint64_t pad; /* what follows, the state of the runtime's supervisor, is aligned as this is */
} sup_state;

const murre_class lib_sup_key = {.size = sizeof(murre_class), .name = "sup"};

static void unref(murre_sup *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) return;
    for (size_t i = 0; i < s->n; i++) {
        murre_sup_free(s->children[i].below);
        mem_free(s->children[i].id);
    }
    mem_free(s->children);
    mem_free(s->out);
    mem_free(s);
}

/* --- its class -------------------------------------------------------------------------------------------------------------------- */
static err sup_init(rt_ctx *cx, void *st, const void *arg) {
    sup_state *x = st;
    x->s = *(murre_sup *const *)arg;
    err e = rt_sup_class.init(cx, x + 1, &x->s->spec);
    if (!e) (void)atomic_fetch_add_explicit(&x->s->refs, 1, memory_order_relaxed); /* the caller has one */
    return e;
}
static err sup_handle(rt_ctx *cx, void *st, rt_msg **m) { return rt_sup_class.handle(cx, (sup_state *)st + 1, m); }
static err sup_timer(rt_ctx *cx, void *st, rt_timer *t) { return rt_sup_class.timer(cx, (sup_state *)st + 1, t); }
static void sup_fini(rt_ctx *cx, void *st, err reason) {
    sup_state *x = st;
    rt_sup_class.fini(cx, x + 1, reason);
    unref(x->s);
}

void lib_sup_class(lib_class *c) {
    c->rt = rt_sup_class;
    c->rt.state_size += sizeof(sup_state);
    c->rt.init = sup_init;
    c->rt.handle = sup_handle;
    c->rt.timer = sup_timer;
    c->rt.fini = sup_fini;
    c->rt.foreign = true;
}

/* --- what the program says -------------------------------------------------------------------------------------------------------- */
murre_sup *murre_sup_new(murre_strategy strategy, uint32_t intensity, int64_t period) {
    static const rt_sup_strategy strategies[] = {
        [MURRE_ONE_FOR_ONE] = RT_ONE_FOR_ONE, [MURRE_ONE_FOR_ALL] = RT_ONE_FOR_ALL, [MURRE_REST_FOR_ONE] = RT_REST_FOR_ONE};
    if ((unsigned)strategy >= ARRAY_LEN(strategies) || period < 0) return NULL;
    murre_sup *s = mem_zalloc(sizeof *s);
    atomic_init(&s->refs, 1);
    s->self = s;
    s->spec = (rt_sup_spec){.strategy = strategies[strategy], .intensity = intensity, .period = period};
    return s;
}

void murre_sup_free(murre_sup *s) {
    if (s) unref(s);
}

static murre_err add(murre_sup *s, const char *id, const sup_child *c, murre_restart r) {
    static const rt_restart restarts[] = {
        [MURRE_PERMANENT] = RT_PERMANENT, [MURRE_TRANSIENT] = RT_TRANSIENT, [MURRE_TEMPORARY] = RT_TEMPORARY};
    if (!id || !*id || (unsigned)r >= ARRAY_LEN(restarts) || c->shutdown < 0) return MURRE_INVALID;
    if (s->n == RT_SUP_CHILDREN_MAX) return MURRE_LIMIT;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->children[i].id, id) == 0) return MURRE_EXISTS;
    void *arr = s->children;
    mem_grow(&arr, &s->cap, s->n + 1, sizeof *s->children);
    s->children = arr;
    s->children[s->n] = *c;
    s->children[s->n].id = slice_dup_str(slice_str(id));
    s->children[s->n++].restart = restarts[r];
    return MURRE_OK;
}

murre_err murre_sup_add(murre_sup *s, const char *id, const murre_class *c, const void *arg, murre_restart r, int64_t shutdown) {
    return c ? add(s, id, &(sup_child){.cls = c, .arg = arg, .shutdown = shutdown}, r) : MURRE_INVALID;
}

murre_err murre_sup_add_sup(murre_sup *s, const char *id, murre_sup **child, murre_restart r) {
    murre_sup *below = *child;
    *child = NULL;
    murre_err e = below ? add(s, id, &(sup_child){.cls = &lib_sup_key, .below = below, .shutdown = USEC_NEVER}, r) : MURRE_INVALID;
    if (e) murre_sup_free(below);
    return e;
}

/* False: a class is none. */
static bool prepare(murre_node *n, murre_sup *s) {
    s->out = mem_zalloc((s->n + 1) * sizeof *s->out);
    for (size_t i = 0; i < s->n; i++) {
        sup_child *c = &s->children[i];
        const rt_class *cls = lib_class_of(n, c->cls);
        if (!cls || (c->below && !prepare(n, c->below))) return false;
        const void *arg = c->below ? (const void *)&c->below->self : c->arg;
        s->out[i] = (rt_child){.id = c->id, .cls = cls, .arg = arg, .restart = c->restart, .shutdown = c->shutdown};
    }
    s->spec.children = s->out;
    s->spec.n_children = s->n;
    return true;
}

murre_err murre_sup_start(murre_node *n, murre_sup **sp, murre_pid *out_pid) {
    murre_sup *s = *sp;
    *sp = NULL;
    if (!s) return MURRE_INVALID;
    murre_err e = prepare(n, s) ? lib_spawn(n, lib_class_of(n, &lib_sup_key), &s->self, out_pid) : MURRE_INVALID;
    if (e != MURRE_TIMEOUT) unref(s); /* else it may still start, then or never: nobody knows when nobody needs it */
    return e;
}
