/* shard: one thread's world and its step. A step is a round; it returns when it wants to be called next.
 *
 *     clock -> inbox -> rings -> timers, mutes -> actors (at most RT_STEP_MESSAGES, RT_STEP_USEC) -> flush callbacks
 *           -> publish rings -> poll: without waiting if there is work, else spin, publish `sleeping`, look once more, wait -> ports
 *
 * Invariants: (1) the clock is read once a round, and again after a wait; (2) a shard never waits while it has work: after `sleeping` is
 * set, everything that can be filled from outside is looked at once more (the partner is rt_shard_poke); (3) no callback runs inside
 * another; actors that ended in a callback are reaped directly after it; (4) order is decided by queues and numbers, never by addresses,
 * so that the simulator can replay a run. */
#include "base/mem.h"
#include "rt/core.h"

#define SLAB_SAY_EVERY (20 * USEC_PER_MSEC)
#define GAP_MAX        ((usec)400) /* of a wait, as it counts towards the average: eight times the longest spin */

err rt_shard_init(rt_node *n, unsigned id) {
    rt_shard *sh = &n->shards[id];
    sh->node = n;
    sh->s = n->s;
    sh->id = id;
    sh->cx.sh = sh;
    sh->poll = -1;
    err e = n->s->poll_new(n->s, &sh->poll);
    if (e) return e;
    rt_wheel_init(&sh->wheel);
    rt_slab_init(&sh->slab);
    hmap_init(&sh->rels);
    rt_maps_show(&sh->maps, &sh->rels_shown, "relations", id, &sh->rels);
    uint64_t seed;
    n->s->entropy(n->s, &seed, sizeof seed);
    prng_init(&sh->prng, seed);
    uint64_t per_sec = n->s->cycles_per_sec(n->s);
    sh->cycles_per_usec = per_sec / (uint64_t)USEC_PER_SEC ? per_sec / (uint64_t)USEC_PER_SEC : 1;
    sh->nsec_per_cycle = (UINT64_C(1000) << RT_NSEC_SHIFT) / sh->cycles_per_usec;
    sh->measure_in = RT_MEASURE_EVERY;
    sh->budget_cycles = sh->cycles_per_usec * (uint64_t)n->cfg.handler_budget;
    sh->queue_long = n->cfg.queue_long ? n->cfg.queue_long : UINT32_MAX;
    sh->late_at = USEC_NEVER;
    sh->step_cycles = sh->cycles_per_usec * (uint64_t)RT_STEP_USEC;
    rt_inbox_init(&sh->inbox, &n->locks, id);
    rt_epoch_reader_init(n, sh, &sh->reader);
    rt_event_state_init(n, &sh->ev, id);
    rt_msacc_join(n, &sh->msacc, RT_MSACC_SHARD, id);
    rt_out_init(sh);
    rt_shard_clock(sh);
    /* relaxed: no other thread knows the shard yet. It sleeps until its first step, so that who sends to it calls for one. */
    atomic_store_explicit(&sh->sleeping, true, memory_order_relaxed);
    atomic_store_explicit(&sh->idle, true, memory_order_relaxed);
    return ERR_OK;
}

void rt_shard_fini(rt_shard *sh) {
    if (!sh->node || sh->poll < 0) return; /* rt_node_new failed before it */
    rt_msacc_leave(sh->node, &sh->msacc);
    rt_event_state_fini(&sh->ev);
    rt_out_fini(sh);
    rt_inbox_fini(&sh->inbox);
    hmap_fini(&sh->rels);
    for (size_t i = 0; i * RT_SLOT_PAGE < sh->n_slots; i++) mem_free(sh->pages[i]);
    mem_free(sh->pages);
    mem_free(sh->dying);
    mem_free(sh->mutes);
    mem_free(sh->ports);
    mem_free(sh->scratch);
    rt_trace_fini(sh);
    rt_slab_collect(&sh->slab);
    (void)check(rt_slab_live(&sh->slab) == 0); /* an actor kept a message and its fini did not drop it; reported, not fatal */
    rt_slab_fini(&sh->slab);
    sh->s->poll_free(sh->s, sh->poll);
}

void rt_shard_clock(rt_shard *sh) {
    sh->now = sh->s->mono(sh->s);
    sh->now_msec = (uint32_t)((sh->now - sh->node->epoch) / USEC_PER_MSEC);
    if (sh->now_msec == 0) sh->now_msec = 1; /* 0 means: no deadline */
}

void rt_shard_poke(rt_shard *dst) {
    /* seq_cst load and exchange: partner is wait_for_work, which sets sleeping and then looks. The load saves the exchange. */
    if (!atomic_load_explicit(&dst->sleeping, memory_order_seq_cst)) return;
    if (!atomic_exchange_explicit(&dst->sleeping, false, memory_order_seq_cst)) return;
    (void)atomic_fetch_add_explicit(&dst->n_woken, 1, memory_order_relaxed); /* statistics */
    dst->s->poll_wake(dst->s, dst->poll);
}

void rt_shard_entry(rt_shard *sh, rt_entry e) {
    rt_pid to = {0, e.slot, e.gen};
    rt_msg *m = e.m;
    bool front = m->tag & RT_M_FRONT;
    if (UNLIKELY(m->tag & RT_M_SIGNAL)) {
        rt_signal_arrive(sh, to, m);
    } else if (UNLIKELY(m->tag == RT_CALL)) {
        rt_calls_run(sh, m);
    } else {
        m->tag &= (uint16_t)~RT_M_FRONT;
        rt_mailbox_arrive(sh, to, m, front);
    }
    if (UNLIKELY(sh->dying_to)) rt_actor_reap(sh);
}

void rt_shard_boot(rt_shard *sh, void (*fn)(rt_ctx *cx, void *arg), void *arg) {
    rt_shard_clock(sh);
    bool entered = rt_epoch_enter(&sh->reader);
    fn(&sh->cx, arg);
    rt_actor_reap(sh);
    rt_out_flush(sh, false);
    if (entered) (void)rt_epoch_leave(&sh->reader); /* what is left over goes with the first round */
}

/* --- the phases ------------------------------------------------------------------------------------------------------------------ */
static void take_inbox(rt_shard *sh) {
    rt_entry *e;
    size_t n = rt_inbox_take(&sh->inbox, &e);
    for (size_t i = 0; i < n; i++) {
        if (e[i].m->tag & RT_M_SIGNAL) rt_count(&sh->sig_enqueued, 1); /* who sent it has no shard where it could count */
        rt_shard_entry(sh, e[i]);
    }
}

static void fire_timers(rt_shard *sh) {
    rt_wheel_advance(&sh->wheel, (uint32_t)((sh->now - sh->node->epoch) / USEC_PER_MSEC));
    for (rt_timer *t; (t = rt_wheel_pop(&sh->wheel)) != NULL;) {
        rt_msacc_set(sh->s, &sh->msacc, RT_MSACC_TIMERS);
        rt_actor *a = rt_actor_at(sh, t->slot);
        if (!check(a)) continue;
        a->timers--;
        if (a->flags & RT_A_DEAD)
            rt_actor_unpin(sh, a);
        else
            rt_actor_call_timer(sh, a, t);
    }
    rt_mute_expire(sh);
    if (UNLIKELY(sh->dying_to)) rt_actor_reap(sh);
}

static void run_actors(rt_shard *sh) {
    bool live = sh->node->cfg.handler_cost_max == 0;
    uint64_t begin = sh->span_start = sh->s->cycles(sh->s);
    rt_msacc_set_at(&sh->msacc, RT_MSACC_EMULATOR, begin);
    for (unsigned n = 0; sh->run_head && n < RT_STEP_MESSAGES && sh->n_over <= RT_OVER_MAX;) {
        rt_actor *a = sh->run_head;
        sh->run_head = a->run_next;
        if (!sh->run_head)
            sh->run_tail = NULL;
        else
            __builtin_prefetch(sh->run_head->last);
        n += rt_actor_run(sh, a);
        if (live && sh->span_start - begin > sh->step_cycles) break;
    }
}

static void run_flushes(rt_shard *sh) {
    rt_actor *a = sh->flush_head;
    sh->flush_head = sh->flush_tail = NULL; /* who asks again during this gets the next round */
    while (a) {
        rt_actor *next = a->flush_next ? rt_actor_slot(sh, a->flush_next - 1)->a : NULL; /* flushing pins it in its slot */
        a->flags &= (uint16_t)~RT_A_FLUSH;
        if (a->flags & RT_A_DEAD)
            rt_actor_unpin(sh, a);
        else
            rt_actor_call_flush(sh, a);
        a = next;
    }
}

static bool has_work(const rt_shard *sh) { return (sh->run_head && sh->n_over <= RT_OVER_MAX) || sh->flush_head; }

/* Whether something has come from outside. seq_cst loads: see sleeping in shard.h. */
static bool something_came(rt_shard *sh) {
    return atomic_load_explicit(&sh->pending, memory_order_seq_cst) != 0 || atomic_load_explicit(&sh->inbox.filled, memory_order_seq_cst) ||
           atomic_load_explicit(&sh->node->stop, memory_order_seq_cst);
}

static usec next_deadline(rt_shard *sh) {
    uint32_t tick;
    usec at = rt_mute_next(sh);
    if (!rt_wheel_next(&sh->wheel, &tick)) return at;
    uint32_t now_tick = (uint32_t)((sh->now - sh->node->epoch) / USEC_PER_MSEC);
    int32_t ahead = (int32_t)(tick - now_tick);
    usec timer = ahead <= 0 ? sh->now : sh->node->epoch + ((sh->now - sh->node->epoch) / USEC_PER_MSEC + ahead) * USEC_PER_MSEC;
    return usec_min(at, timer);
}

/* Takes readiness events, waiting at most timeout. */
static bool poll_ports(rt_shard *sh, usec timeout) {
    sys_ready r[RT_READY_MAX];
    int n = sh->s->poll_wait(sh->s, sh->poll, timeout, r, RT_READY_MAX);
    if (timeout != 0) rt_shard_clock(sh);
    (void)rt_epoch_enter(&sh->reader); /* it has left before a wait */
    if (n <= 0) return false;
    atomic_store_explicit(&sh->idle, false, memory_order_relaxed); /* for the watchdog: callbacks run from here on */
    rt_msacc_set(sh->s, &sh->msacc, RT_MSACC_PORT);
    rt_port_dispatch(sh, r, n);
    return true;
}

/* An average of the last few waits for work, each cut so that one long silence is soon forgotten. */
static void note_gap(rt_shard *sh, usec gap) { sh->gap += (usec_min(gap, GAP_MAX) - sh->gap) / 4; }

/* Looks around for up to cfg.spin before it sleeps, if lately something came soon: a sleep and the wake-up from it count in the gap and may
 * be as long as the spin, hence twice. When nothing comes that counts as a long gap, so that it stops trying: what is seldom needed sleeps
 * at once and costs nothing. True if something came. */
static bool spin(rt_shard *sh, usec deadline) {
    usec max = sh->node->cfg.spin;
    if (max == 0 || sh->gap > 2 * max) return false;
    rt_msacc_set(sh->s, &sh->msacc, RT_MSACC_BUSY_WAIT);
    usec began = sh->now, end = usec_min(began + max, deadline);
    bool came = false;
    for (unsigned i = 1; !came && sh->now < end; i++) {
        came = something_came(sh) || (sh->n_ports && i % 8 == 0 && poll_ports(sh, 0));
        rt_shard_clock(sh);
    }
    note_gap(sh, came ? sh->now - began : GAP_MAX);
    return came;
}

/* The end of a round without work. Returns when it wants to run next. */
static usec wait_for_work(rt_shard *sh, bool may_sleep) {
    usec deadline = next_deadline(sh);
    if (deadline <= sh->now) return sh->now;
    if (may_sleep && spin(sh, deadline)) return sh->now;
    rt_out_flush(sh, true); /* foreign blocks go home before we sleep */
    /* seq_cst: partner is rt_shard_poke. */
    atomic_store_explicit(&sh->sleeping, true, memory_order_seq_cst);
    bool left_over = rt_epoch_leave(&sh->reader); /* asleep, or not being stepped, it reads nothing */
    if (left_over || something_came(sh)) {
        atomic_store_explicit(&sh->sleeping, false, memory_order_seq_cst);
        return sh->now;
    }
    atomic_store_explicit(&sh->idle, true, memory_order_relaxed); /* for the watchdog */
    if (!may_sleep) return deadline;
    rt_msacc_set(sh->s, &sh->msacc, RT_MSACC_SLEEP);
    usec began = sh->now;
    (void)poll_ports(sh, deadline == USEC_NEVER ? USEC_NEVER : deadline - began); /* whether it was readiness does not matter here */
    note_gap(sh, sh->now - began);
    return sh->now;
}

/* For the look at memory (memory.c): what lies ready here is not needed. */
static void say_slab(rt_shard *sh) {
    sh->slab_at = sh->now + SLAB_SAY_EVERY;
    atomic_store_explicit(&sh->slab_ready, rt_slab_ready(&sh->slab), memory_order_relaxed);
}

usec rt_node_step(rt_node *n, unsigned shard, bool may_sleep) {
    rt_shard *sh = &n->shards[shard];
    /* relaxed: awake; a poke too many does no harm, and what was published before one is looked for below. */
    atomic_store_explicit(&sh->sleeping, false, memory_order_relaxed);
    atomic_store_explicit(&sh->idle, false, memory_order_relaxed);
    rt_shard_clock(sh);
    (void)rt_epoch_enter(&sh->reader);                                     /* it left at the end of the last one */
    atomic_store_explicit(&sh->step_start, sh->now, memory_order_relaxed); /* for the watchdog */
    rt_count(&sh->steps, 1);
    rt_msacc_set(n->s, &sh->msacc, RT_MSACC_AUX);
    take_inbox(sh);
    (void)rt_ring_receive(sh); /* whether anything came shows in the run queue */
    rt_slab_collect(&sh->slab);
    if (sh->now >= sh->slab_at) say_slab(sh);
    fire_timers(sh);
    if (sh->run_head) run_actors(sh);
    if (sh->flush_head) {
        rt_msacc_set(n->s, &sh->msacc, RT_MSACC_FLUSH);
        run_flushes(sh);
    }
    if (sh->n_dirty) {
        rt_msacc_set(n->s, &sh->msacc, RT_MSACC_SEND);
        rt_out_flush(sh, false);
    }
    if ((has_work(sh) || !may_sleep) && sh->n_ports) {
        rt_msacc_set(n->s, &sh->msacc, RT_MSACC_CHECK_IO);
        (void)poll_ports(sh, 0); /* what came shows in has_work */
    }
    usec next = has_work(sh) ? sh->now : wait_for_work(sh, may_sleep);
    if (!may_sleep) rt_msacc_set(n->s, &sh->msacc, RT_MSACC_OTHER);                   /* else the caller comes back at once */
    if (rt_epoch_of(&sh->reader) != 0 && rt_epoch_leave(&sh->reader)) return sh->now; /* there is more to free */
    return next;
}

int rt_node_poller(rt_node *n, unsigned shard) { return n->shards[shard].poll; }
