/* slab: where messages, actors and relations of a shard live.
 *
 * Why not malloc: at a million live objects a malloc and free cost 36 to 199 ns (docs/performance.md), a free list two loads. A block
 * belongs for ever to the shard that made it; blocks that end elsewhere come home in chains through the ring (ring.c) or, from threads
 * that have no ring, through the stack `returns`.
 *
 *     alloc <- free list <- [returns: any thread, CAS]   if both are empty: bump <- chunk <- heap
 *
 * Between 192 and 384 bytes, where sessions and the like are, of which there are as many as users, the classes are 16 bytes apart; where
 * there are few they are coarser, because each class in use wastes a part of a chunk.
 *
 * Invariants: (1) only the shard touches its lists; (2) a class's new chunk is an eighth of what the class has, at least 4 KB and at most
 * 2 MB, so that little is wasted and an idle shard is small; (3) chunks are given back only with the shard; (4) rt_slab_live is zero when
 * every actor and message of the shard is gone: rt_node_free checks it. */
#include "rt/slab.h"

#include "base/mem.h"

#define SLAB_CHUNK_MIN 4096u
#define SLAB_CHUNK_MAX (2u << 20)

struct rt_slab_chunk {
    rt_slab_chunk *next;
    uint64_t pad; /* blocks stay 16-byte aligned */
};

const uint16_t rt_slab_sizes[RT_SLAB_CLASSES] = {
    32, 48, 64, 80, 96, 112, 128, 160, 192, 208, 224, 240, 256, 272, 288, 304, 320, 336, 352, 368, 384, 448, 512, 640, 704, 768, 896, 1024,
};
const uint8_t rt_slab_class_of[RT_SLAB_MAX / 16 + 1] = {
    0,  0,  0,  1,  2,  3,  4,  5,  6,  7,  7,  8,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 21, 21, 21, 22, 22, 22, 22,
    23, 23, 23, 23, 23, 23, 23, 23, 24, 24, 24, 24, 25, 25, 25, 25, 26, 26, 26, 26, 26, 26, 26, 26, 27, 27, 27, 27, 27, 27, 27, 27,
};

void rt_slab_init(rt_slab *s) {
    memset(s->c, 0, sizeof s->c);
    s->chunks = NULL;
    s->bytes = 0;
    atomic_store_explicit(&s->returns, NULL, memory_order_relaxed); /* before any other thread knows the shard */
}

void rt_slab_fini(rt_slab *s) {
    while (s->chunks) {
        rt_slab_chunk *k = s->chunks;
        s->chunks = k->next;
        mem_free(k);
    }
}

uint64_t rt_slab_live(const rt_slab *s) {
    uint64_t n = 0;
    for (unsigned c = 0; c < RT_SLAB_CLASSES; c++) n += s->c[c].live;
    return n;
}

uint64_t rt_slab_ready(const rt_slab *s) {
    uint64_t used = 0;
    for (unsigned c = 0; c < RT_SLAB_CLASSES; c++) used += s->c[c].live * rt_slab_sizes[c];
    return s->bytes > used ? s->bytes - used : 0;
}

void rt_slab_return(rt_slab *home, rt_msg *m) {
    rt_msg *top = atomic_load_explicit(&home->returns, memory_order_relaxed); /* only a first guess for the CAS */
    uint64_t retries = 0;
    m->next = top;
    /* release: partner is the acquire exchange in rt_slab_collect, which then reads m->next. Nothing is popped singly: no ABA. */
    while (!atomic_compare_exchange_weak_explicit(&home->returns, &top, m, memory_order_release, memory_order_relaxed)) {
        m->next = top;
        retries++;
    }
    if (UNLIKELY(retries)) (void)atomic_fetch_add_explicit(&home->retries, retries, memory_order_relaxed); /* statistics */
}

void rt_slab_collect(rt_slab *s) {
    /* relaxed: an empty look may be a moment old; the exchange is the partner of rt_slab_return. */
    if (!atomic_load_explicit(&s->returns, memory_order_relaxed)) return;
    rt_msg *m = atomic_exchange_explicit(&s->returns, NULL, memory_order_acquire);
    uint64_t n = atomic_load_explicit(&s->returned, memory_order_relaxed); /* our own */
    for (rt_msg *next; m; m = next, n++) {
        next = m->next;
        rt_slab_free(s, m->size_class, m);
    }
    atomic_store_explicit(&s->returned, n, memory_order_relaxed);
}

void *rt_slab_refill(rt_slab *s, unsigned c) {
    rt_slab_list *l = &s->c[c];
    size_t size = rt_slab_sizes[c];
    rt_slab_collect(s);
    if (l->free) {
        void *p = l->free;
        memcpy(&l->free, p, sizeof(void *));
        return p;
    }
    if ((size_t)(l->bump_end - l->bump) < size) {
        size_t want = l->total / 8;
        if (want < SLAB_CHUNK_MIN) want = SLAB_CHUNK_MIN;
        if (want > SLAB_CHUNK_MAX) want = SLAB_CHUNK_MAX;
        rt_slab_chunk *k = mem_alloc(want);
        k->next = s->chunks;
        s->chunks = k;
        s->bytes += want;
        l->total += want;
        l->bump = (uint8_t *)(k + 1);
        l->bump_end = (uint8_t *)k + want;
    }
    void *p = l->bump;
    l->bump += size;
    return p;
}
