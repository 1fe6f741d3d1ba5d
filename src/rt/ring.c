/* ring: between shards. One single-producer single-consumer ring per ordered pair, so that a pair's order is the ring's order; 6 ns a
 * message where one shared queue costs 77 (docs/performance.md).
 *
 *     shard A                                ring A->B                       shard B
 *     push: entry written at tail       [ . . . x x x x . . ]     receive: head .. tail, all of them
 *     flush: tail published, bit A of B.pending set, B woken if it sleeps          |
 *     full: overflow queue  <---- poke through B's ring bit ---- starved? <--------+
 *
 *     blocks: a message of A's slab that ends on B travels back in a chain of up to 64, as one entry of ring B->A
 *
 * Invariants: (1) while the overflow queue is not empty, nothing is written to the ring past it; (2) what is written is published at the
 * latest at the end of the round; (3) a receiver that makes room in a ring marked starved pokes the producer; (4) a chain never wakes a
 * sleeping shard: memory can wait; (5) a shard with more than RT_OVER_MAX messages in overflow runs no actors until there is room: it
 * still receives, so that two shards which press each other both go on. */
#include "base/mem.h"
#include "base/plant.h"
#include "rt/core.h"

void rt_out_init(rt_shard *sh) {
    unsigned n = sh->node->n_shards;
    if (n == 1) return;
    sh->outs = mem_zalloc(n * sizeof *sh->outs);
    sh->dirty = mem_zalloc(n * sizeof(rt_out *));
    for (unsigned i = 0; i < n; i++) sh->outs[i].dst = i;
}

void rt_out_fini(rt_shard *sh) {
    for (unsigned i = 0; sh->outs && i < sh->node->n_shards; i++) {
        rt_out *o = &sh->outs[i];
        (void)check(o->over_from == o->over_to); /* rt_node_free empties it first */
        mem_free(o->over);
        mem_free(o->chains);
        mem_free(o->ring);
    }
    mem_free(sh->outs);
    mem_free(sh->dirty);
}

static void make_ring(rt_shard *sh, rt_out *o) {
    o->ring = mem_zalloc(sizeof(rt_ring));
    /* release: partner is the acquire load in rt_ring_receive, which then reads the zeroed ring. */
    atomic_store_explicit(&sh->node->rings[sh->id * sh->node->n_shards + o->dst], o->ring, memory_order_release);
}

static void publish(rt_shard *sh, rt_out *o, bool wake) {
    if (o->published == o->tail) return;
    rt_shard *dst = &sh->node->shards[o->dst];
    rt_count(&o->ring->entries, o->tail - o->published);
    rt_count(&o->ring->batches, 1);
    o->published = o->tail;
    /* release: partner is the consumer's acquire load; it orders the entries and the messages they point to. */
    atomic_store_explicit(&o->ring->tail, o->tail, memory_order_release);
    /* seq_cst: see sleeping in shard.h. */
    (void)atomic_fetch_or_explicit(&dst->pending, UINT64_C(1) << sh->id, memory_order_seq_cst);
    if (wake && !plant(RING_WAKE_LOST)) rt_shard_poke(dst);
}

static bool has_room(rt_out *o) {
    if (LIKELY(o->tail - o->head_seen < RT_RING_SIZE)) return true;
    o->head_seen = atomic_load_explicit(&o->ring->head, memory_order_acquire); /* partner: consumer's store: it has read the entries */
    if (o->tail - o->head_seen < RT_RING_SIZE) return true;
    /* seq_cst store, then load: partner is rt_ring_receive, which stores head, then exchanges starved. */
    atomic_store_explicit(&o->ring->starved, true, memory_order_seq_cst);
    o->head_seen = atomic_load_explicit(&o->ring->head, memory_order_seq_cst);
    return o->tail - o->head_seen < RT_RING_SIZE;
}

static void write_entry(rt_out *o, rt_entry e) { o->ring->e[o->tail++ & (RT_RING_SIZE - 1)] = e; }

static void overflow(rt_shard *sh, rt_out *o, rt_entry e) {
    if (o->over_from == o->over_to) {
        rt_count(&sh->n_ring_full, 1);
        rt_event(&sh->cx, EV_RING_FULL, sh->id, o->dst, 0);
        o->over_from = o->over_to = 0;
        o->over_since = sh->now;
    }
    rt_count(&o->ring->delayed, 1);
    void *arr = o->over;
    mem_grow(&arr, &o->over_cap, o->over_to + 1, sizeof e);
    o->over = arr;
    o->over[o->over_to++] = e;
    sh->n_over++;
}

void rt_out_push(rt_shard *sh, unsigned dst, rt_entry e) {
    rt_out *o = &sh->outs[dst];
    if (UNLIKELY(!o->ring)) make_ring(sh, o);
    if (!o->dirty) {
        o->dirty = true;
        sh->dirty[sh->n_dirty++] = o;
    }
    if (UNLIKELY((o->over_from != o->over_to && !plant(OVERFLOW_REORDERS)) || !has_room(o))) {
        overflow(sh, o, e);
        return;
    }
    write_entry(o, e);
    if (o->tail - o->published >= RT_RING_BATCH) publish(sh, o, true);
}

_Static_assert(RT_SLAB_CLASSES <= 32, "rt_out.chained has a bit for each");
static void chain_out(rt_shard *sh, unsigned dst, unsigned c) {
    rt_chain *k = &sh->outs[dst].chains[c];
    *(rt_msg **)rt_msg_payload(k->first) = k->last; /* the payload is free: the end of the chain goes there */
    rt_entry e = {k->first, RT_ENTRY_CHAIN, c << 16 | k->count};
    *k = (rt_chain){NULL, NULL, 0};
    sh->outs[dst].chained &= ~(UINT32_C(1) << c);
    rt_out_push(sh, dst, e);
}

void rt_out_home(rt_shard *sh, rt_msg *m) {
    rt_out *o = &sh->outs[m->home];
    if (UNLIKELY(!o->chains)) o->chains = mem_zalloc(RT_SLAB_CLASSES * sizeof(rt_chain));
    unsigned c = m->size_class;
    rt_chain *k = &o->chains[c];
    m->next = k->first;
    if (!k->first) k->last = m;
    k->first = m;
    o->chained |= UINT32_C(1) << c;
    if (++k->count == RT_CHAIN_MAX) chain_out(sh, o->dst, c);
}

static void refill(rt_shard *sh, rt_out *o) {
    if (o->over_from != o->over_to) {
        rt_count(&o->ring->full_usec, (uint64_t)(sh->now - o->over_since));
        o->over_since = sh->now;
    }
    while (o->over_from != o->over_to && has_room(o)) {
        write_entry(o, o->over[o->over_from++]);
        sh->n_over--;
        if (o->tail - o->published >= RT_RING_BATCH) publish(sh, o, true);
    }
    if (o->over_from == o->over_to && o->over_cap > RT_RING_SIZE) {
        mem_free(o->over); /* a burst is over */
        o->over = NULL;
        o->over_cap = o->over_from = o->over_to = 0;
    } else if (o->over_from > RT_RING_SIZE && o->over_from > o->over_to / 2) {
        memmove(o->over, o->over + o->over_from, (o->over_to - o->over_from) * sizeof(rt_entry));
        o->over_to -= o->over_from;
        o->over_from = 0;
    }
}

void rt_out_flush(rt_shard *sh, bool chains) {
    if (!sh->outs) return;
    unsigned kept = 0;
    for (unsigned i = 0; i < sh->n_dirty; i++) {
        rt_out *o = sh->dirty[i];
        refill(sh, o);
        publish(sh, o, true);
        o->dirty = o->over_from != o->over_to;
        if (o->dirty) sh->dirty[kept++] = o;
    }
    sh->n_dirty = kept;
    for (unsigned d = 0; chains && d < sh->node->n_shards; d++) {
        rt_out *o = &sh->outs[d];
        if (!o->chained) continue;
        while (o->chained) chain_out(sh, d, (unsigned)__builtin_ctz(o->chained));
        publish(sh, o, false); /* invariant 4 */
    }
}

/* A message that arrives lies in the sender's cache, and will be written to: it is asked for some messages early. */
#define AHEAD 8u
static inline void fetch(const rt_ring *r, uint32_t i) { __builtin_prefetch(r->e[i & (RT_RING_SIZE - 1)].m, 1); }

static void receive_from(rt_shard *sh, unsigned src) {
    /* acquire: partner is make_ring. */
    rt_ring *r = atomic_load_explicit(&sh->node->rings[src * sh->node->n_shards + sh->id], memory_order_acquire);
    if (!r) return;
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed); /* our own */
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire); /* partner: publish */
    uint64_t signals = rt_counted(&sh->sig_dequeued);
    for (uint32_t i = head, ahead = tail - head < AHEAD ? tail - head : AHEAD; ahead > 0; ahead--) fetch(r, i++);
    while (head != tail) {
        rt_entry e = r->e[head & (RT_RING_SIZE - 1)];
        if (LIKELY(tail - head > AHEAD)) fetch(r, head + AHEAD);
        head++;
        if (UNLIKELY(e.slot == RT_ENTRY_CHAIN)) {
            rt_msg *last = *(rt_msg **)rt_msg_payload(e.m);
            rt_slab_free_chain(&sh->slab, e.gen >> 16, e.m, last, e.gen & 0xffff);
        } else {
            rt_shard_entry(sh, e);
        }
    }
    signals = rt_counted(&sh->sig_dequeued) - signals; /* that waited together */
    if (signals > rt_counted(&sh->sig_longest)) rt_count(&sh->sig_longest, signals - rt_counted(&sh->sig_longest));
    /* seq_cst store, then exchange: partner is has_room. */
    atomic_store_explicit(&r->head, head, memory_order_seq_cst);
    if (UNLIKELY(atomic_load_explicit(&r->starved, memory_order_seq_cst)) &&
        atomic_exchange_explicit(&r->starved, false, memory_order_seq_cst)) {
        rt_shard *from = &sh->node->shards[src];
        (void)atomic_fetch_or_explicit(&from->pending, UINT64_C(1) << sh->id, memory_order_seq_cst); /* as if something came: it flushes */
        rt_shard_poke(from);
    }
}

bool rt_ring_receive(rt_shard *sh) {
    /* relaxed: only saves the exchange; what is missed now is seen in the next round or before sleeping. */
    if (!sh->outs || !atomic_load_explicit(&sh->pending, memory_order_relaxed)) return false;
    uint64_t bits = atomic_exchange_explicit(&sh->pending, 0, memory_order_seq_cst); /* partner: publish */
    while (bits) {
        unsigned src = (unsigned)__builtin_ctzll(bits);
        bits &= bits - 1;
        receive_from(sh, src);
    }
    return true;
}
