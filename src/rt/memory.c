/* memory: see memory.h. A look reads a few small files of the kernel's, 50 to 200 us, and is taken more often the nearer the limit is: a
 * machine may have a thousand nodes, and those that are far from it must cost next to nothing.
 *
 * What was freed stays in this process for a while: blocks in the slabs of shards, which never go back, are taken off by what each shard
 * says that it has ready; what malloc keeps is given back (mem_trim) once a second while it is tight. Without that a node that was tight
 * once could stay so for ever.
 *
 * Invariants: (1) tight changes by a look only, and each change is an event. (2) An unknown limit is never tight. */
#include "rt/memory.h"

#include "base/mem.h"
#include "rt/core.h"
#include "rt/event.h"

#define LOOK_NEAR  (5 * USEC_PER_MSEC)  /* between two looks, from half of what makes it tight on: 5 MiB at GROWTH */
#define LOOK_FAR   (50 * USEC_PER_MSEC) /* and below: */
#define LOOK_MOST  USEC_PER_SEC         /* up to this, */
#define LOOK_SHARE 20u                  /* while at most this part of what is left can be used up in between, at GROWTH */
#define GROWTH     (UINT64_C(1) << 30)  /* bytes a second: faster no node fills up */
#define TRIM_EVERY USEC_PER_SEC
#define HEADROOM   (UINT64_C(1) << 30)

static uint64_t headroom(uint64_t limit) {
    uint64_t h = limit / 10 * 3;
    if (h > HEADROOM) h = HEADROOM;
    return h > limit / 16 ? h : limit / 16;
}

uint64_t rt_memory_high(uint64_t limit) { return limit - headroom(limit); }

bool rt_memory_tight(const rt_node *n) { return atomic_load_explicit(&n->memory.tight, memory_order_relaxed); }

/* Relaxed, here and above: each figure is a statement about a moment that has passed; nothing else is published by them. */
void rt_memory_read(const rt_node *n, rt_memory *out) {
    out->used = atomic_load_explicit(&n->memory.used, memory_order_relaxed);
    out->limit = atomic_load_explicit(&n->memory.limit, memory_order_relaxed);
    out->tight = rt_memory_tight(n);
}

static uint64_t ready_in_slabs(const rt_node *n) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->n_shards; i++) sum += atomic_load_explicit(&n->shards[i].slab_ready, memory_order_relaxed);
    return sum;
}

/* Against which limit? That of the system, or the operator's, whichever is nearer. */
static void measure(rt_node *n, uint64_t *used, uint64_t *limit) {
    sys_memory m = {0};
    uint64_t own = n->cfg.memory_limit, ready = ready_in_slabs(n);
    n->s->memory(n->s, &m);
    *used = m.used, *limit = m.limit;
    if (own && (!m.limit || (double)m.own / (double)own > (double)m.used / (double)m.limit)) *used = m.own, *limit = own;
    *used -= *used > ready ? ready : *used;
}

static void change(rt_node *n, bool tight, uint64_t used, uint64_t limit) {
    atomic_store_explicit(&n->memory.tight, tight, memory_order_relaxed);
    rt_event_ext(n, tight ? EV_MEMORY_TIGHT : EV_MEMORY_FREE, used, limit, SLICE_NULL);
}

static usec until_next(uint64_t used, uint64_t limit, uint64_t high) {
    if (limit == 0) return LOOK_MOST; /* there may be one later */
    if (used >= high / 2) return LOOK_NEAR;
    uint64_t safe = (high - used) / (LOOK_SHARE * GROWTH / (uint64_t)USEC_PER_SEC);
    return usec_max(LOOK_FAR, safe < LOOK_MOST ? (usec)safe : LOOK_MOST);
}

usec rt_memory_look(rt_node *n, usec now) {
    if (!n->s->memory) return USEC_NEVER;
    uint64_t used, limit;
    measure(n, &used, &limit);
    bool tight = rt_memory_tight(n), live = n->s->thread_start != NULL;
    if (tight && live && now >= n->memory.trim_at) { /* the simulator shares its heap with others */
        mem_trim();
        n->memory.trim_at = now + TRIM_EVERY;
    }
    atomic_store_explicit(&n->memory.used, used, memory_order_relaxed);
    atomic_store_explicit(&n->memory.limit, limit, memory_order_relaxed);
    uint64_t high = rt_memory_high(limit), low = high - headroom(limit) / 4;
    if (limit > 0 && !tight && used >= high) change(n, true, used, limit);
    if (tight && (limit == 0 || used < low)) change(n, false, used, limit);
    return now + until_next(used, limit, high);
}
