/* inbox: messages for a shard from threads outside the shards (pool, ctl, callers of rt_call). These are few, so a lock is good enough;
 * shards among themselves use rings.
 *
 *     poster: lock, append, unlock, filled = true, poke        shard: filled = false, lock, swap arrays, unlock, distribute
 *
 * Invariants: (1) entries come out in the order put in, so one poster's order holds; (2) filled is cleared before the array is swapped:
 * an entry put in between leaves it set, and a look too many finds nothing; (3) the lock is never held while a message is handled. */
#include "rt/inbox.h"

#include "base/mem.h"

void rt_inbox_init(rt_inbox *in, lock_set *set, uint32_t id) {
    lock_init(&in->l, set, "inbox", id, LOCK_RANK_INBOX);
    in->e = in->spare = NULL;
    in->n = in->cap = in->spare_cap = 0;
    atomic_store_explicit(&in->filled, false, memory_order_relaxed); /* before any other thread knows the shard */
}

void rt_inbox_fini(rt_inbox *in) {
    (void)check(in->n == 0); /* rt_node_free empties it first; a leak is reported, not fatal */
    mem_free(in->e);
    mem_free(in->spare);
    lock_fini(&in->l);
}

void rt_inbox_put(rt_inbox *in, rt_entry e) {
    void *arr = NULL;
    lock_take(&in->l);
    arr = in->e;
    mem_grow(&arr, &in->cap, in->n + 1, sizeof e);
    in->e = arr;
    in->e[in->n++] = e;
    uint64_t puts = atomic_load_explicit(&in->puts, memory_order_relaxed);
    atomic_store_explicit(&in->puts, puts + 1, memory_order_relaxed); /* l is held: nobody else writes it */
    lock_release(&in->l);
    /* seq_cst: partner is the shard's load before it sleeps (rt_shard_quiet); see shard.h, sleeping. */
    atomic_store_explicit(&in->filled, true, memory_order_seq_cst);
}

size_t rt_inbox_take(rt_inbox *in, rt_entry **out) {
    *out = NULL;
    /* seq_cst: as above. Cleared before the swap: invariant 2. */
    if (!atomic_load_explicit(&in->filled, memory_order_seq_cst)) return 0;
    atomic_store_explicit(&in->filled, false, memory_order_seq_cst);
    lock_take(&in->l);
    rt_entry *e = in->e;
    size_t n = in->n, cap = in->cap;
    in->e = in->spare;
    in->cap = in->spare_cap;
    in->n = 0;
    lock_release(&in->l);
    in->spare = e;
    in->spare_cap = cap;
    *out = e;
    return n;
}
