/* contend: the rows of what is lock-free. The counters only grow and belong to their writers; a clear is a base that readers subtract.
 *
 * Invariant: a row has a fixed number: rings first (from * shards + to), then each shard's other kinds. */
#include "rt/contend.h"

#include "base/mem.h"
#include "rt/core.h"

typedef struct base { /* relaxed: statistics; two clears at once leave one of the two */
    _Atomic uint64_t tries, collisions, usecs;
} base;
struct rt_contend {
    _Atomic usec since; /* relaxed */
    base at[];
};

const char *rt_contend_name(rt_contend_kind k) {
    static const char *const names[RT_CONTEND_KINDS] = {"ring", "wake", "returns", "mailbox"};
    return names[k];
}

static size_t row_count(const rt_node *n) { return (size_t)n->n_shards * n->n_shards + (RT_CONTEND_KINDS - 1u) * n->n_shards; }

void rt_contend_init(rt_node *n) {
    n->contend = mem_zalloc(sizeof *n->contend + row_count(n) * sizeof(base));
    atomic_init(&n->contend->since, n->s->mono(n->s));
}

void rt_contend_fini(rt_node *n) {
    mem_free(n->contend);
    n->contend = NULL;
}

static rt_ring *ring_of(rt_node *n, unsigned from, unsigned to) {
    return atomic_load_explicit(&n->rings[from * n->n_shards + to], memory_order_acquire); /* partner: make_ring */
}

static void read_wake(rt_node *n, rt_contend_row *r) {
    rt_shard *sh = &n->shards[r->to];
    r->collisions = rt_counted(&sh->n_woken); /* first: there is no wake-up without a try */
    r->tries = rt_counted(&sh->inbox.puts);
    for (unsigned i = 0; i < n->n_shards; i++) {
        rt_ring *ring = ring_of(n, i, r->to);
        if (ring) r->tries += rt_counted(&ring->batches);
    }
}

/* Row number i, without its base; false: it does not exist yet. */
static bool read_row(rt_node *n, size_t i, rt_contend_row *r) {
    size_t rings = (size_t)n->n_shards * n->n_shards;
    *r = (rt_contend_row){.kind = RT_CONTEND_RING, .from = (unsigned)(i / n->n_shards), .to = (unsigned)(i % n->n_shards)};
    if (i >= rings) {
        r->kind = (rt_contend_kind)(RT_CONTEND_WAKE + (i - rings) / n->n_shards);
        r->from = r->to;
    }
    rt_shard *sh = &n->shards[r->to];
    rt_ring *ring;
    switch (r->kind) {
    case RT_CONTEND_RING:
        ring = ring_of(n, r->from, r->to);
        if (!ring) return false;
        r->tries = rt_counted(&ring->entries);
        r->collisions = rt_counted(&ring->delayed);
        r->usecs = rt_counted(&ring->full_usec);
        return true;
    case RT_CONTEND_WAKE: read_wake(n, r); return true;
    case RT_CONTEND_RETURNS:
        r->tries = rt_counted(&sh->slab.returned);
        r->collisions = rt_counted(&sh->slab.retries);
        return true;
    case RT_CONTEND_MAILBOX:
        r->tries = rt_counted(&sh->msg_enqueued);
        r->collisions = rt_counted(&sh->n_refused) + rt_counted(&sh->n_dropped) + rt_counted(&sh->n_muted);
        return true;
    case RT_CONTEND_KINDS: break;
    }
    return false;
}

static uint64_t since(uint64_t now, _Atomic uint64_t *cleared) {
    uint64_t then = rt_counted(cleared);
    return now > then ? now - then : 0;
}

usec rt_contend_each(rt_node *n, void (*fn)(void *arg, const rt_contend_row *r), void *arg) {
    usec from = atomic_load_explicit(&n->contend->since, memory_order_relaxed);
    for (size_t i = 0; i < row_count(n); i++) {
        rt_contend_row r;
        base *b = &n->contend->at[i];
        if (!read_row(n, i, &r)) continue;
        r.tries = since(r.tries, &b->tries);
        r.collisions = since(r.collisions, &b->collisions);
        r.usecs = since(r.usecs, &b->usecs);
        fn(arg, &r);
    }
    return from;
}

void rt_contend_clear(rt_node *n) {
    atomic_store_explicit(&n->contend->since, n->s->mono(n->s), memory_order_relaxed);
    for (size_t i = 0; i < row_count(n); i++) {
        rt_contend_row r;
        base *b = &n->contend->at[i];
        if (!read_row(n, i, &r)) continue;
        atomic_store_explicit(&b->tries, r.tries, memory_order_relaxed);
        atomic_store_explicit(&b->collisions, r.collisions, memory_order_relaxed);
        atomic_store_explicit(&b->usecs, r.usecs, memory_order_relaxed);
    }
}
