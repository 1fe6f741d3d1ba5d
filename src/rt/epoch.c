/* epoch: see epoch.h.
 *
 *      reader       enter: epoch = now          reads, unlinks, retires            leave: limbo -> waiting[its epoch], epoch = 0
 *      now          ---- e ----|---- e+1 ----|---- e+2 ----|---- e+3                moves on when nobody inside has an older epoch
 *      unlinked in e           some may not  nobody new     free: everybody who
 *                              see it yet    finds it       could find it has left
 *
 * Why three steps. A reader at e keeps now at e or e + 1. Who unlinks at e has left, or entered again, before now becomes e + 2: so whoever
 * enters at e + 2 or later sees the list without it. Who entered before that is at e + 1 at most, and keeps now below e + 3 until it
 * leaves.
 *
 * Invariants: (1) now moves by one, with the lock held, when every reader inside has it. (2) What is in waiting[k] was retired by a reader
 * whose epoch was k modulo 4, and at most three of the four lists are used. (3) Nothing is freed with the lock held. (4) Whoever leaves
 * last frees: `pending` is set before the readers are looked at, and looked at after one has left; both seq_cst, so one of the two sees the
 * other. (5) Leaving frees at most STEPS things; what is left over keeps a shard awake, and a thread outside goes on until all is done. */
#include "rt/epoch.h"

#include "base/mem.h"
#include "rt/core.h"

#define STEPS      1024u      /* frees in passing: some 100 us */
#define LIMBO_MAX  (1u << 20) /* bytes in a reader's own list, which nobody counts, before it is handed over */
#define LIST_COUNT (RT_EPOCH_GRACE + 1)

void rt_epoch_init(rt_node *n) {
    rt_epochs *p = &n->epochs;
    atomic_init(&p->now, 1);
    atomic_init(&p->pending, false);
    atomic_init(&p->outside, NULL);
    lock_init(&p->l, &n->locks, "epoch", 0, LOCK_RANK_EPOCH);
}

void rt_epoch_reader_init(rt_node *n, rt_shard *sh, rt_reader *r) {
    atomic_init(&r->epoch, 0);
    atomic_init(&r->busy, false);
    r->node = n;
    r->sh = sh;
}

rt_reader *rt_epoch_reader(rt_ctx *cx) { return &cx->sh->reader; }
uint64_t rt_epoch_of(const rt_reader *r) { return atomic_load_explicit(&r->epoch, memory_order_relaxed); /* its own */ }
bool rt_epoch_full(const rt_node *n) { return atomic_load_explicit(&n->epochs.bytes, memory_order_relaxed) > n->cfg.table_wait_max; }

/* --- entering -------------------------------------------------------------------------------------------------------------------- */
bool rt_epoch_enter(rt_reader *r) {
    rt_epochs *p = &r->node->epochs;
    if (rt_epoch_of(r) != 0) return false;
    /* seq_cst: partner is advance. Either that sees this store, or the second load sees that now has moved on. */
    uint64_t e = atomic_load_explicit(&p->now, memory_order_seq_cst), again;
    for (;; e = again) {
        atomic_store_explicit(&r->epoch, e, memory_order_seq_cst);
        again = atomic_load_explicit(&p->now, memory_order_seq_cst);
        if (LIKELY(again == e)) return true;
    }
}

/* --- retiring -------------------------------------------------------------------------------------------------------------------- */
/* Moves all of from behind to. */
static void append(rt_retired_list *to, rt_retired_list *from) {
    if (!from->first) return;
    if (to->first)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    from->first = NULL;
}

static void hand_over(rt_reader *r) {
    rt_epochs *p = &r->node->epochs;
    (void)atomic_fetch_add_explicit(&p->bytes, r->limbo_bytes, memory_order_relaxed);
    lock_take(&p->l);
    append(&p->waiting[rt_epoch_of(r) % LIST_COUNT], &r->limbo);
    atomic_store_explicit(&p->pending, true, memory_order_seq_cst); /* partner: rt_epoch_leave */
    lock_release(&p->l);
    r->limbo_bytes = 0;
}

void rt_epoch_retire(rt_reader *r, rt_retired *x) {
    if (!check(rt_epoch_of(r) != 0)) return; /* rather lost than freed under somebody */
    x->next = NULL;
    append(&r->limbo, &(rt_retired_list){x, x});
    r->limbo_bytes += x->bytes;
    if (UNLIKELY(r->limbo_bytes > LIMBO_MAX)) hand_over(r);
}

/* --- freeing --------------------------------------------------------------------------------------------------------------------- */
static bool inside_since(const rt_reader *r, uint64_t now) {
    uint64_t e = atomic_load_explicit(&r->epoch, memory_order_seq_cst); /* partners: rt_epoch_enter, rt_epoch_leave */
    return e != 0 && e != now;
}

/* Moves now on; false: somebody inside has an older epoch. With the lock held. */
static bool advance(rt_node *n) {
    rt_epochs *p = &n->epochs;
    uint64_t now = atomic_load_explicit(&p->now, memory_order_relaxed); /* written with the lock held */
    for (unsigned i = 0; n->shards && i < n->n_shards; i++)
        if (inside_since(&n->shards[i].reader, now)) return false;
    for (const rt_reader *r = atomic_load_explicit(&p->outside, memory_order_acquire); r; r = r->next)
        if (inside_since(r, now)) return false;
    atomic_store_explicit(&p->now, now + 1, memory_order_seq_cst);
    return true;
}

static bool any_waiting(const rt_epochs *p) {
    for (size_t i = 0; i < LIST_COUNT; i++)
        if (p->waiting[i].first) return true;
    return false;
}

/* Takes the first STEPS things that can be freed. *out_more: there are more of them. */
static rt_retired *take_ready(rt_node *n, bool *out_more) {
    rt_epochs *p = &n->epochs;
    lock_take(&p->l);
    for (unsigned i = 0; i < RT_EPOCH_GRACE && any_waiting(p) && advance(n); i++) {
        uint64_t now = atomic_load_explicit(&p->now, memory_order_relaxed); /* our own */
        append(&p->ready, &p->waiting[(now + 1) % LIST_COUNT]);             /* now - 3, modulo 4 */
    }
    rt_retired *first = p->ready.first, **end = &first;
    for (unsigned i = 0; i < STEPS && *end; i++) end = &(*end)->next;
    p->ready.first = *end;
    *end = NULL;
    *out_more = p->ready.first != NULL;
    atomic_store_explicit(&p->pending, *out_more || any_waiting(p), memory_order_seq_cst);
    lock_release(&p->l);
    return first;
}

static void put_back(rt_node *n, rt_retired *x) {
    rt_epochs *p = &n->epochs;
    lock_take(&p->l);
    append(&p->ready, &(rt_retired_list){x, x});
    atomic_store_explicit(&p->pending, true, memory_order_seq_cst);
    lock_release(&p->l);
}

/* True: there is more that can be freed. */
static bool collect(rt_node *n) {
    rt_epochs *p = &n->epochs;
    bool more;
    for (rt_retired *x = take_ready(n, &more), *next; x; x = next) {
        next = x->next;
        x->next = NULL;
        size_t bytes = x->bytes;
        if (x->free(n, x)) {
            (void)atomic_fetch_sub_explicit(&p->bytes, bytes, memory_order_relaxed);
            (void)atomic_fetch_add_explicit(&p->freed, 1, memory_order_relaxed);
        } else {
            put_back(n, x);
            more = true;
        }
    }
    return more;
}

bool rt_epoch_leave(rt_reader *r) {
    rt_epochs *p = &r->node->epochs;
    if (r->limbo.first) hand_over(r);
    atomic_store_explicit(&r->epoch, 0, memory_order_seq_cst);
    return UNLIKELY(atomic_load_explicit(&p->pending, memory_order_seq_cst)) && collect(r->node);
}

/* --- threads outside the shards -------------------------------------------------------------------------------------------------- */
static rt_reader *reader_new(rt_node *n) {
    rt_reader *r = mem_zalloc(sizeof *r);
    rt_epoch_reader_init(n, NULL, r);
    atomic_init(&r->busy, true);
    /* release: partner is the acquire of those who walk; they see it whole. They never see it go. */
    r->next = atomic_load_explicit(&n->epochs.outside, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&n->epochs.outside, &r->next, r, memory_order_release, memory_order_relaxed)) {
    }
    return r;
}

rt_reader *rt_epoch_begin(rt_node *n) {
    rt_reader *r = atomic_load_explicit(&n->epochs.outside, memory_order_acquire);
    /* The load saves an exchange on a line that its user writes. */
    while (r && (atomic_load_explicit(&r->busy, memory_order_relaxed) || atomic_exchange_explicit(&r->busy, true, memory_order_acquire)))
        r = r->next;
    if (!r) r = reader_new(n);
    (void)rt_epoch_enter(r); /* it was outside */
    return r;
}

void rt_epoch_end(rt_reader **rp) {
    rt_reader *r = *rp;
    *rp = NULL;
    if (!r || !check(!r->sh)) return;
    for (bool more = rt_epoch_leave(r); more;) more = collect(r->node);
    atomic_store_explicit(&r->busy, false, memory_order_release); /* partner: the exchange in rt_epoch_begin */
}

void rt_epoch_fini(rt_node *n) {
    rt_epochs *p = &n->epochs;
    if (!p->l.name) return; /* rt_node_new failed before it */
    while (collect(n)) {
    }
    (void)check(!any_waiting(p) && !p->ready.first); /* somebody is still inside */
    for (rt_reader *r = atomic_load_explicit(&p->outside, memory_order_acquire), *next; r; r = next) {
        next = r->next;
        mem_free(r);
    }
    lock_fini(&p->l);
}
