/* actor: spawning, running, ending. An actor is a slab block: 112 bytes of header and the class's state; its pid is shard, slot and the
 * generation of the slot.
 *
 *     spawn -> init OK -> [ run: up to RT_BATCH messages, or until it ends or is muted ]* -> dying -> fini -> dead -> block and slot freed
 *                  \-> init failed: dead at once, no fini
 *
 * Ending is two steps: rt_actor_end marks it with its reason, from within whatever callback; rt_actor_reap, when no callback runs, calls
 * fini, tells everybody, and gives back what it owned.
 *
 * Invariants: (1) no callback of one actor runs inside a callback of another, except init inside rt_spawn; (2) the first reason to end
 * wins; (3) once dead, its pid finds nothing, for ever: the generation of the slot moves on, and a slot whose generations are used up is
 * never used again; (4) the block stays while the run queue, the flush list or an armed timer points to it (timers live in the state);
 * (5) the clock is read once per span of at most SPAN messages, not per message. */
#include "base/mem.h"
#include "rt/core.h"
#include "rt/event_often.h"

#include <stdio.h>

#define SPAN 8u /* messages between two readings of the cycle counter; 1 for an actor that was over its budget before */

/* --- slots ----------------------------------------------------------------------------------------------------------------------- */
rt_actor *rt_actor_at(const rt_shard *sh, uint32_t slot) {
    uint32_t i = rt_slot_index(slot);
    return i < sh->n_slots ? rt_actor_slot(sh, i)->a : NULL;
}

#define SLOTS_MAX 0xffffffu /* 24 bits */
static NODISCARD err slot_take(rt_shard *sh, uint32_t *out_index) {
    if (sh->free_slot) {
        *out_index = sh->free_slot - 1;
        sh->free_slot = rt_actor_slot(sh, *out_index)->next_free;
        return ERR_OK;
    }
    if (sh->n_slots >= SLOTS_MAX) return ERR_LIMIT;
    if (sh->n_slots % RT_SLOT_PAGE == 0) {
        void *arr = sh->pages;
        mem_grow(&arr, &sh->pages_cap, sh->n_slots / RT_SLOT_PAGE + 1, sizeof *sh->pages);
        sh->pages = arr;
        sh->pages[sh->n_slots / RT_SLOT_PAGE] = mem_zalloc(RT_SLOT_PAGE * sizeof(rt_slot));
    }
    *out_index = sh->n_slots++;
    rt_actor_slot(sh, *out_index)->gen = 1;
    return ERR_OK;
}

static void slot_give(rt_shard *sh, uint32_t index) {
    rt_slot *s = rt_actor_slot(sh, index);
    s->a = NULL;
    if (s->gen == 0) return; /* wrapped: retired */
    s->next_free = sh->free_slot;
    sh->free_slot = index + 1;
}

/* --- blocks ---------------------------------------------------------------------------------------------------------------------- */
static rt_actor *block_new(rt_shard *sh, const rt_class *c) {
    size_t size = sizeof(rt_actor) + c->state_size;
    rt_actor *a = size <= RT_SLAB_MAX ? rt_slab_alloc(&sh->slab, rt_slab_class(size)) : mem_alloc(size);
    memset(a, 0, size);
    a->cls = c;
    return a;
}

static void block_free(rt_shard *sh, rt_actor *a) {
    size_t size = sizeof(rt_actor) + a->cls->state_size;
    if (size <= RT_SLAB_MAX)
        rt_slab_free(&sh->slab, rt_slab_class(size), a);
    else
        mem_free(a);
}

void rt_actor_unpin(rt_shard *sh, rt_actor *a) {
    if (!(a->flags & RT_A_DEAD) || a->timers || (a->flags & (RT_A_QUEUED | RT_A_FLUSH | RT_A_RUNNING))) return;
    uint32_t index = rt_slot_index(a->slot);
    block_free(sh, a);
    slot_give(sh, index);
}

/* --- entering and leaving a callback --------------------------------------------------------------------------------------------- */
typedef struct frame { /* what a nested callback (init) puts aside */
    rt_actor *self;
    uint32_t trace;
} frame;

static inline void show(rt_shard *sh, const rt_actor *a) {
    /* relaxed: for the watchdog, see shard.h. */
    atomic_store_explicit(&sh->run_slot, a->slot, memory_order_relaxed);
    atomic_store_explicit(&sh->run_gen, a->gen, memory_order_relaxed);
    atomic_store_explicit(&sh->run_tag, 0, memory_order_relaxed);
    atomic_store_explicit(&sh->run_class, a->cls->name, memory_order_relaxed);
    rt_count(&sh->steps, 1);
}

static inline frame enter(rt_shard *sh, rt_actor *a) {
    frame f = {sh->cx.self, sh->cx.trace};
    sh->cx.self = a;
    sh->cx.trace = 0;
    show(sh, a);
    return f;
}

/* What is shown stays: a shard that is stuck outside a callback is shown with the last one. */
static inline void leave(rt_shard *sh, frame f) {
    sh->cx.self = f.self;
    sh->cx.trace = f.trace;
    if (UNLIKELY(f.self)) show(sh, f.self);
}

static void long_handler(rt_shard *sh, const rt_actor *a, uint64_t usecs) {
    rt_event_text(&sh->cx, EV_LONG_HANDLER, a->slot, usecs, slice_str(a->cls->name));
}

/* In the simulator a handler takes a time drawn from the seed; only this event sees it. */
static void simulate_cost(rt_shard *sh, const rt_actor *a) {
    uint64_t cost = prng_below(&sh->prng, sh->node->cfg.handler_cost_max + 1);
    if (cost > (uint64_t)sh->node->cfg.handler_budget) long_handler(sh, a, cost);
}

static inline void span_begin(rt_shard *sh) {
    if (!sh->node->cfg.handler_cost_max) sh->span_start = sh->s->cycles(sh->s);
}

static inline uint64_t to_nsec(const rt_shard *sh, uint64_t cycles) { return cycles * sh->nsec_per_cycle >> RT_NSEC_SHIFT; }

/* The end of a span with n callbacks in it, which is the beginning of the next. */
static inline void span_end(rt_shard *sh, rt_actor *a, unsigned n) {
    if (UNLIKELY(sh->node->cfg.handler_cost_max)) {
        for (unsigned i = 0; i < n; i++) simulate_cost(sh, a);
        return;
    }
    uint64_t t = sh->s->cycles(sh->s), d = t - sh->span_start;
    sh->span_start = t;
    a->cost += d;
    if (UNLIKELY(sh->measuring)) rt_tally_add(&sh->handler_nsec, to_nsec(sh, d) / n, n);
    if (UNLIKELY(d > sh->budget_cycles)) {
        a->flags |= RT_A_TIMED;
        if (n == 1 || d > 2 * sh->budget_cycles) long_handler(sh, a, d / sh->cycles_per_usec);
    }
}

/* --- spawning -------------------------------------------------------------------------------------------------------------------- */
static void bury(rt_shard *sh, rt_actor *a, err reason, rt_blob *term);

err rt_spawn(rt_ctx *cx, const rt_class *c, const void *arg, unsigned flags, rt_pid *out_pid, uint64_t *out_ref) {
    rt_shard *sh = cx->sh;
    rt_actor *parent = cx->self;
    uint32_t index;
    if (sh->freeing) return ERR_SHUTDOWN;
    err e = slot_take(sh, &index);
    if (e) return e;
    rt_actor *a = block_new(sh, c);
    rt_slot *s = rt_actor_slot(sh, index);
    s->a = a;
    a->slot = (uint32_t)sh->id << 24 | index;
    a->gen = s->gen;
    if (parent) {
        a->parent_slot = parent->slot;
        a->parent_gen = parent->gen;
    }
    if (parent && (flags & RT_SPAWN_KEEP)) a->flags |= RT_A_KEPT;
    rt_pid pid = rt_actor_pid(a);
    (void)atomic_fetch_add_explicit(&sh->n_actors, 1, memory_order_relaxed); /* statistics */
    rt_event(cx, EV_SPAWN, a->slot, a->gen, 0);
    frame f = enter(sh, a);
    cx->trace = f.trace; /* it is part of what the parent handles */
    e = c->init ? c->init(cx, rt_actor_state(a), arg) : ERR_OK;
    leave(sh, f);
    if (e) {
        a->flags |= RT_A_DYING;
        bury(sh, a, e, NULL);
        return e;
    }
    a->flags |= RT_A_INIT;
    if (out_pid) *out_pid = pid;
    if (parent && (flags & RT_SPAWN_LINK)) rt_link(cx, pid);
    if (parent && (flags & RT_SPAWN_MONITOR)) {
        uint64_t ref = rt_monitor(cx, pid);
        if (out_ref) *out_ref = ref;
    }
    return ERR_OK;
}

/* --- ending ---------------------------------------------------------------------------------------------------------------------- */
void rt_hold(rt_ctx *cx, bool on) {
    rt_actor *a = cx->self;
    if (!check(a)) return;
    if (on) {
        a->stops |= RT_A_HELD;
    } else if (a->stops & RT_A_HELD) {
        a->stops &= ~RT_A_HELD;
        if (a->last) rt_actor_schedule(cx->sh, a);
    }
}

void rt_stop(rt_ctx *cx, err reason) {
    if (check(cx->self)) rt_actor_end(cx->sh, cx->self, reason);
}

void rt_stop_term(rt_ctx *cx, rt_blob *term) {
    if (check(cx->self && term)) rt_actor_end_term(cx->sh, cx->self, ERR_FOREIGN, term);
}

void rt_actor_end(rt_shard *sh, rt_actor *a, err reason) { rt_actor_end_term(sh, a, reason, NULL); }

void rt_actor_end_term(rt_shard *sh, rt_actor *a, err reason, rt_blob *term) {
    if (a->flags & (RT_A_DYING | RT_A_DEAD)) return;
    a->flags |= RT_A_DYING;
    a->reason = (uint16_t)reason;
    void *arr = sh->dying;
    mem_grow(&arr, &sh->dying_cap, sh->dying_to + 1, sizeof *sh->dying);
    sh->dying = arr;
    sh->dying[sh->dying_to++] = (rt_dying){rt_actor_pid(a), rt_blob_ref(term)};
}

static void tell_end(rt_shard *sh, const rt_actor *a, err reason) {
    rt_event(&sh->cx, EV_EXIT, a->slot, a->gen, (uint64_t)reason);
    if (reason == ERR_OK || reason == ERR_SHUTDOWN || reason == ERR_KILLED) return;
    char text[96];
    int n = snprintf(text, sizeof text, "%s: %s", a->cls->name, err_name(reason));
    rt_event_text(&sh->cx, EV_CRASH, a->slot, a->gen, slice_of(text, n < 0 ? 0 : strlen(text)));
}

static void bury(rt_shard *sh, rt_actor *a, err reason, rt_blob *term) {
    tell_end(sh, a, reason);
    if (UNLIKELY(a->flags & RT_A_FOLLOWS)) rt_follow_actor_gone(sh->node, rt_actor_pid(a));
    if (a->flags & RT_A_NAMED) rt_name_remove(sh, rt_actor_pid(a));
    if (a->flags & RT_A_TABLES) rt_tables_owner_end(sh, rt_actor_pid(a), a->flags & RT_A_INIT, reason);
    rt_port_end(sh, a);
    (void)rt_mailbox_clear(sh, a, true); /* whoever waits for an answer has a monitor or a deadline */
    a->flags |= RT_A_DEAD;
    rt_actor_slot(sh, rt_slot_index(a->slot))->gen++;
    rt_signal_end(sh, a, reason, term);
    (void)atomic_fetch_sub_explicit(&sh->n_actors, 1, memory_order_relaxed); /* statistics */
    rt_actor_unpin(sh, a);
}

void rt_actor_reap(rt_shard *sh) {
    if (sh->reaping) return;
    sh->reaping = true;
    while (sh->dying_from < sh->dying_to) {
        rt_dying d = sh->dying[sh->dying_from++];
        rt_actor *a = rt_actor_find(sh, d.pid);
        if (!a) { /* its init failed after it had been told to end */
            rt_blob_unref(d.term);
            continue;
        }
        err reason = (err)a->reason;
        if (a->cls->fini && (a->flags & RT_A_INIT)) {
            frame f = enter(sh, a);
            a->cls->fini(&sh->cx, rt_actor_state(a), reason);
            leave(sh, f);
        }
        bury(sh, a, reason, d.term);
        rt_blob_unref(d.term);
    }
    sh->dying_from = sh->dying_to = 0;
    sh->reaping = false;
}

void rt_actor_end_all(rt_shard *sh) {
    rt_actor_reap(sh);
    for (uint32_t i = sh->n_slots; i-- > 0;) {
        rt_actor *a = rt_actor_slot(sh, i)->a;
        if (!a || (a->flags & RT_A_DEAD)) continue;
        rt_actor_end(sh, a, ERR_KILLED);
        rt_actor_reap(sh);
    }
}

void rt_actor_free_dead(rt_shard *sh) {
    for (uint32_t i = 0; i < sh->n_slots; i++)
        if (rt_actor_slot(sh, i)->a) block_free(sh, rt_actor_slot(sh, i)->a); /* lists and wheel that point to it go with the shard */
}

static inline void reap_some(rt_shard *sh) {
    if (UNLIKELY(sh->dying_to)) rt_actor_reap(sh);
}

/* --- running --------------------------------------------------------------------------------------------------------------------- */
static bool runnable(const rt_actor *a) { return a->last && !a->stops && !(a->flags & (RT_A_DYING | RT_A_DEAD)); }

/* One turn in RT_MEASURE_EVERY, and one at a time, is measured: how long its actor waited for it, how many messages it found, and its
 * handlers. All of them would cost a tenth of a small message. Whoever is in the run queue is taken out of it by rt_actor_run, dead or
 * alive, so that `measured` never outlives its actor. */
static void measure_next(rt_shard *sh, rt_actor *a) {
    sh->measure_in = RT_MEASURE_EVERY;
    if (sh->measured || sh->node->cfg.handler_cost_max) return;
    sh->measured = a;
    sh->measured_since = sh->s->cycles(sh->s);
}
static void measure(rt_shard *sh, const rt_actor *a) {
    uint64_t now = sh->s->cycles(sh->s);
    sh->measured = NULL;
    if (!runnable(a)) return;
    rt_tally_add(&sh->ready_nsec, now > sh->measured_since ? to_nsec(sh, now - sh->measured_since) : 0, 1);
    rt_tally_add(&sh->turn_messages, a->queued, 1);
    sh->measuring = true;
}

void rt_actor_schedule(rt_shard *sh, rt_actor *a) {
    if (a->flags & RT_A_QUEUED || a->stops) return;
    a->flags |= RT_A_QUEUED;
    if (UNLIKELY(--sh->measure_in == 0)) measure_next(sh, a);
    a->run_next = NULL;
    if (sh->run_tail)
        sh->run_tail->run_next = a;
    else
        sh->run_head = a;
    sh->run_tail = a;
}

static ALWAYS_INLINE void handle_one(rt_shard *sh, rt_actor *a, rt_msg *m) {
    sh->cx.work = m->tag & RT_M_WORK;
    m->tag &= (uint16_t)~RT_M_WORK;
    if (UNLIKELY(m->trace | (a->flags & RT_A_TRACED)))
        rt_trace_handle(sh, a, m);
    else
        sh->cx.trace = 0;
    atomic_store_explicit(&sh->run_tag, m->tag, memory_order_relaxed); /* for the watchdog, see shard.h */
    rt_count(&sh->steps, 1);
    rt_event_often(&sh->cx, EV_HANDLE, a->slot, m->tag, a->queued);
    err e = a->cls->handle ? a->cls->handle(&sh->cx, rt_actor_state(a), &m) : ERR_OK;
    if (m) rt_msg_release(sh, m);
    if (UNLIKELY(e)) rt_actor_end(sh, a, e);
}

static unsigned run_batch(rt_shard *sh, rt_actor *a) {
    unsigned n = 0, in_span = 0, span = a->flags & RT_A_TIMED ? 1 : SPAN;
    frame f = enter(sh, a);
    while (n < RT_BATCH && runnable(a) && sh->n_over <= RT_OVER_MAX) {
        rt_msg *m = rt_mailbox_take(sh, a);
        if (!m) break;
        handle_one(sh, a, m);
        n++;
        if (++in_span == span) {
            span_end(sh, a, in_span);
            in_span = 0;
        }
        if (UNLIKELY(sh->dying_to) && !(a->flags & RT_A_DYING)) { /* others end now, and may take a along */
            leave(sh, f);
            rt_actor_reap(sh);
            f = enter(sh, a);
        }
    }
    if (in_span) span_end(sh, a, in_span);
    leave(sh, f);
    return n;
}

/* Looked at before a batch, when the mailbox is at its longest, and after it; a send pays nothing for it. */
static void report_long(rt_shard *sh, rt_actor *a) {
    if (a->flags & RT_A_LONG) return;
    a->flags |= RT_A_LONG;
    rt_event_text(&sh->cx, EV_LONG_QUEUE, a->slot, a->queued, slice_str(a->cls->name));
}
static void report_halved(rt_shard *sh, rt_actor *a) {
    a->flags &= (uint16_t)~RT_A_LONG;
    rt_event_text(&sh->cx, EV_QUEUE_HALVED, a->slot, a->queued, slice_str(a->cls->name));
}

/* The caller has set span_start, or the last run has. */
unsigned rt_actor_run(rt_shard *sh, rt_actor *a) {
    a->flags &= (uint16_t)~RT_A_QUEUED;
    if (UNLIKELY(sh->measured == a)) measure(sh, a);
    if (UNLIKELY(a->flags & RT_A_DEAD)) {
        rt_actor_unpin(sh, a);
        return 0;
    }
    if (UNLIKELY(a->queued >= sh->queue_long)) report_long(sh, a);
    a->flags |= RT_A_RUNNING;
    unsigned n = run_batch(sh, a);
    sh->measuring = false;
    if (UNLIKELY(a->flags & RT_A_LONG) && a->queued <= sh->queue_long / 2) report_halved(sh, a);
    if (UNLIKELY(a->flags & RT_A_MUTING) && a->queued <= rt_mailbox_max(a) / 2) rt_mute_release(sh, a);
    if (runnable(a)) rt_actor_schedule(sh, a);
    reap_some(sh);
    a->flags &= (uint16_t)~RT_A_RUNNING;
    rt_actor_unpin(sh, a);
    return n;
}

/* --- the other callbacks --------------------------------------------------------------------------------------------------------- */
static void after_callback(rt_shard *sh, rt_actor *a, frame f, err e) {
    span_end(sh, a, 1);
    leave(sh, f);
    if (e) rt_actor_end(sh, a, e);
    reap_some(sh);
}

void rt_actor_call_timer(rt_shard *sh, rt_actor *a, rt_timer *t) {
    if (!a->cls->timer || (a->flags & RT_A_DYING)) return;
    frame f = enter(sh, a);
    span_begin(sh);
    after_callback(sh, a, f, a->cls->timer(&sh->cx, rt_actor_state(a), t));
}

void rt_actor_call_ready(rt_shard *sh, rt_actor *a, int fd, uint32_t events) {
    if (!a->cls->ready || (a->flags & RT_A_DYING)) return;
    frame f = enter(sh, a);
    span_begin(sh);
    after_callback(sh, a, f, a->cls->ready(&sh->cx, rt_actor_state(a), fd, events));
}

void rt_actor_call_flush(rt_shard *sh, rt_actor *a) {
    if (!a->cls->flush || (a->flags & RT_A_DYING)) return;
    frame f = enter(sh, a);
    span_begin(sh);
    after_callback(sh, a, f, a->cls->flush(&sh->cx, rt_actor_state(a)));
}

void rt_flush_later(rt_ctx *cx) {
    rt_actor *a = cx->self;
    if (!check(a) || (a->flags & (RT_A_FLUSH | RT_A_DYING))) return;
    a->flags |= RT_A_FLUSH;
    a->flush_next = 0;
    if (cx->sh->flush_tail)
        cx->sh->flush_tail->flush_next = rt_slot_index(a->slot) + 1;
    else
        cx->sh->flush_head = a;
    cx->sh->flush_tail = a;
}
