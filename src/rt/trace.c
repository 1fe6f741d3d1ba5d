/* trace: see trace.h. A shard has its own copy of the filters, made by a call that runs between two handlers, so that nobody takes a lock
 * to find that a stanza is not watched.
 *
 *     rt_trace_install --(rt_node_call)--> each shard: sh->trace, one filter a slot     no filter: NULL, which is all that is looked at
 *
 * Waiting times: a message has no room for the time at which it came, so that of a traced one is noted in a small table, by request, tag
 * and actor: of those that are the same the first to come is the first to go. What was pushed out waited for a time that is not known:
 * UINT64_MAX.
 *
 * Invariants: (1) sh->trace is there just while its mask is not 0. (2) An actor is flagged TRACED just while a filter of its shard names
 * its pid. (3) Ids are drawn from one count of the node: in the simulator they follow from the seed. */
#include "rt/trace.h"

#include "base/mem.h"
#include "rt/core.h"
#include "rt/follow.h"

#define WAITS      64u /* a power of two: places in the table ... */
#define WAITS_DEEP 8u  /* ... and messages in each */
#define MASK_SHIFT 24
#define UNKNOWN    UINT64_MAX
#define TAG_OF(m)  ((uint16_t)((m)->tag & (RT_TAG_MAX - 1))) /* without what travels with it */

typedef struct filter {
    uint8_t *subject; /* owned; NULL: an actor */
    size_t subject_len;
    rt_pid actor; /* RT_PID_NONE: the name has nobody now */
    char name[RT_TRACE_NAME + 1];
} filter;
typedef struct waiting {
    uint32_t trace, slot; /* of the message, of its actor; trace 0: free */
    uint16_t tag;
    usec since;
} waiting;
struct rt_traced {
    uint32_t mask;
    filter at[RT_FOLLOW_TRACES];
    waiting wait[WAITS][WAITS_DEEP];
};

/* --- filters --------------------------------------------------------------------------------------------------------------------- */
static uint32_t mask_of(const struct rt_traced *t, rt_pid pid) {
    uint32_t mask = 0;
    for (unsigned i = 0; i < RT_FOLLOW_TRACES; i++)
        if (t->mask & 1u << i && !t->at[i].subject && rt_pid_eq(t->at[i].actor, pid)) mask |= 1u << i;
    return mask;
}

static void flag(rt_shard *sh, rt_pid pid) {
    rt_actor *a = rt_pid_ok(pid) ? rt_actor_find(sh, pid) : NULL;
    if (!a) return;
    if (sh->trace && mask_of(sh->trace, pid))
        a->flags |= RT_A_TRACED;
    else
        a->flags &= (uint16_t)~RT_A_TRACED;
}

static void remove_filter(rt_shard *sh, unsigned i) {
    struct rt_traced *t = sh->trace;
    if (!t || !(t->mask & 1u << i)) return;
    rt_pid actor = t->at[i].subject ? RT_PID_NONE : t->at[i].actor;
    mem_free(t->at[i].subject);
    t->at[i] = (filter){0};
    t->mask &= ~(1u << i);
    if (t->mask == 0) {
        sh->trace = NULL;
        mem_free(t);
    }
    flag(sh, actor);
}

static void add_filter(rt_shard *sh, unsigned i, const rt_trace_filter *f) {
    remove_filter(sh, i);
    if (!sh->trace) sh->trace = mem_zalloc(sizeof *sh->trace);
    filter *x = &sh->trace->at[i];
    sh->trace->mask |= 1u << i;
    if (f->subject.p) {
        x->subject = mem_alloc(f->subject.len + 1);
        memcpy(x->subject, f->subject.p, f->subject.len);
        x->subject_len = f->subject.len;
        return;
    }
    x->actor = f->actor;
    if (f->name.len > 0 && f->name.len <= RT_TRACE_NAME) {
        memcpy(x->name, f->name.p, f->name.len);
        x->actor = rt_name_whereis(sh->node, x->name);
    }
    flag(sh, x->actor);
}

typedef struct install {
    rt_shard_call call;
    unsigned index;
    bool on;
    rt_trace_filter filter; /* its slices point behind this struct */
} install;

static void install_free(rt_box *b) { mem_free(container_of(b, install, call.box)); }
static void install_run(rt_ctx *cx, rt_shard_call *c) {
    install *x = container_of(c, install, call);
    if (x->on)
        add_filter(cx->sh, x->index, &x->filter);
    else
        remove_filter(cx->sh, x->index);
}

void rt_trace_install(rt_node *n, unsigned index, const rt_trace_filter *f, usec timeout) {
    for (unsigned s = 0; s < n->n_shards; s++) {
        size_t subject = f ? f->subject.len : 0, name = f ? f->name.len : 0;
        install *x = mem_zalloc(sizeof *x + subject + name + 1);
        uint8_t *at = (uint8_t *)(x + 1);
        *x = (install){.call = {.box = {install_free}, .fn = install_run}, .index = index, .on = f != NULL};
        if (f) x->filter.actor = f->actor;
        if (subject) memcpy(at, f->subject.p, subject), x->filter.subject = slice_of(at, subject);
        if (name) memcpy(at + subject, f->name.p, name), x->filter.name = slice_of(at + subject, name);
        err e = rt_node_call(n, s, &x->call, timeout);
        (void)e; /* a shard that is stuck does it when it goes on */
    }
}

void rt_trace_named(rt_shard *sh, const rt_actor *a, const char *name) {
    struct rt_traced *t = sh->trace;
    for (unsigned i = 0; i < RT_FOLLOW_TRACES; i++)
        if (t->mask & 1u << i && t->at[i].name[0] && strcmp(t->at[i].name, name) == 0) t->at[i].actor = rt_actor_pid(a);
    flag(sh, rt_actor_pid(a));
}

void rt_trace_fini(rt_shard *sh) {
    struct rt_traced *t = sh->trace; /* the actors are gone */
    for (unsigned i = 0; t && i < RT_FOLLOW_TRACES; i++) mem_free(t->at[i].subject);
    mem_free(t);
    sh->trace = NULL;
}

/* --- ids ------------------------------------------------------------------------------------------------------------------------- */
uint32_t rt_trace(const rt_ctx *cx) { return cx->trace; }
uint32_t rt_trace_swap(rt_ctx *cx, uint32_t id) {
    uint32_t before = cx->trace;
    cx->trace = id;
    return before;
}
bool rt_trace_watched(const rt_ctx *cx) { return cx->sh->trace != NULL; }

uint32_t rt_trace_subject(const rt_ctx *cx, slice subject) {
    const struct rt_traced *t = cx->sh->trace;
    uint32_t mask = 0;
    for (unsigned i = 0; t && subject.len > 0 && i < RT_FOLLOW_TRACES; i++)
        if (t->at[i].subject && slice_eq(subject, slice_of(t->at[i].subject, t->at[i].subject_len))) mask |= 1u << i;
    return mask;
}

uint32_t rt_trace_self(const rt_ctx *cx) {
    return cx->self && cx->self->flags & RT_A_TRACED && cx->sh->trace ? mask_of(cx->sh->trace, rt_actor_pid(cx->self)) : 0;
}

void rt_trace_begin(rt_ctx *cx, uint32_t mask) {
    if (mask == 0) return;
    while (!rt_trace_number(cx->trace)) /* relaxed: a number is all that is wanted of it */
        cx->trace = (atomic_fetch_add_explicit(&cx->sh->node->trace_numbers, 1, memory_order_relaxed) + 1) & RT_TRACE_NUMBER;
    cx->trace |= mask << MASK_SHIFT;
}

static bool live(const rt_shard *sh, uint32_t trace) { return sh->trace && sh->trace->mask & trace >> MASK_SHIFT; }

/* --- steps ----------------------------------------------------------------------------------------------------------------------- */
void rt_trace_step(rt_ctx *cx, uint32_t trace, rt_event_id id, uint64_t a, uint64_t b, uint64_t c) {
    if (LIKELY(!trace) || !live(cx->sh, trace)) return;
    uint32_t before = rt_trace_swap(cx, trace);
    rt_event(cx, id, a, b, c);
    cx->trace = before;
}

/* Whether it is watched yet is known on the shards only; where it is not, the hub finds nobody. */
void rt_trace_step_ext(rt_node *n, uint32_t trace, rt_event_id id, uint64_t a, uint64_t b, uint64_t c) {
    if (LIKELY(!trace)) return;
    const uint64_t arg[3] = {a, b, c};
    rt_event_ext_traced(n, trace, id, arg);
}

static waiting *place_of(struct rt_traced *t, const rt_actor *a, const rt_msg *m) {
    return t->wait[hash_u64((uint64_t)a->slot << 32 | (m->trace ^ (uint32_t)RT_TAG(m) << 16)) & (WAITS - 1)];
}

void rt_trace_queued(rt_shard *sh, const rt_actor *a, const rt_msg *m) {
    if (!sh->trace) return;
    waiting *w = place_of(sh->trace, a, m), *to = w;
    for (unsigned i = 0; i < WAITS_DEEP && to->trace; i++)
        if (!w[i].trace || w[i].since < to->since) to = &w[i]; /* a free one, else the oldest */
    *to = (waiting){m->trace, a->slot, RT_TAG(m), sh->s->mono(sh->s)};
}

static uint64_t waited(rt_shard *sh, const rt_actor *a, const rt_msg *m) {
    waiting *w = place_of(sh->trace, a, m), *first = NULL;
    for (unsigned i = 0; i < WAITS_DEEP; i++) {
        bool same = w[i].trace == m->trace && w[i].slot == a->slot && w[i].tag == RT_TAG(m);
        if (same && (!first || w[i].since < first->since)) first = &w[i];
    }
    if (!first) return UNKNOWN;
    first->trace = 0;
    return (uint64_t)(sh->s->mono(sh->s) - first->since);
}

static uint64_t what(uint16_t tag, uint32_t gen) { return (uint64_t)gen << 32 | tag; }

void rt_trace_send(rt_ctx *cx, rt_pid to, rt_msg *m) {
    uint32_t trace = m->trace ? m->trace : cx->trace;
    m->trace = live(cx->sh, trace) ? trace : 0;
    rt_trace_step(cx, m->trace, EV_TRACE_SEND, what(TAG_OF(m), to.gen), to.slot, cx->self ? cx->self->gen : 0);
}

void rt_trace_handle(rt_shard *sh, rt_actor *a, rt_msg *m) {
    uint64_t time = sh->trace && m->trace ? waited(sh, a, m) : UNKNOWN;
    sh->cx.trace = live(sh, m->trace) ? m->trace : 0;
    rt_trace_begin(&sh->cx, rt_trace_self(&sh->cx));
    m->trace = sh->cx.trace;
    rt_trace_step(&sh->cx, m->trace, EV_TRACE_HANDLE, what(TAG_OF(m), a->gen), a->queued, time);
}
