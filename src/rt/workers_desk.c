/* workers_desk: a dispatcher of an idle pool.
 *
 *                    take                          free
 *     sender ----> idle worker? --yes--> BUSY -------------> queue empty? --yes--> IDLE, and ask desks where work waits
 *                      no |                ^                     | no
 *                         v                +----- the oldest ----+
 *     queue: full? expired ones go; still full: refused           DOWN <-- gone -- any state; its successor is free
 *
 *     desk A: work begins to wait    A sees that B idles:  HINT --> B --ASK(idle)--> A --the work itself--> B
 *     desk B: begins to be idle      B sees that A waits:            --ASK(idle)--> A
 *
 * Work is handed over only to a desk that has just asked: one whose shard is stuck gets none.
 *
 * Invariants: (1) a place is in the list of idle ones exactly when it is IDLE; (2) while work waits no worker of this desk is IDLE; (3) an
 * end of the desk's actor gives all that waits back to its senders; (4) the timer runs while a worker is busy or work waits. It hints at
 * work that still waits. And a worker that takes longer than `stuck` is reported once a piece of work, with the answer to a probe, sent to
 * the front of its mailbox after half of that time: is the actor stuck, or is it what it waits for? What blocks a whole shard, and its
 * desk, is the watchdog's to report. */
#include "rt/watchdog.h"
#include "rt/workers_int.h"

#include <stdio.h>

#define TICK_MIN  (10 * USEC_PER_MSEC)
#define TICK_IDLE (250 * USEC_PER_MSEC) /* where nobody is ever stuck: the queue is looked at for expired work */

typedef struct desk_actor {
    rt_desk *d;
    rt_timer timer;
} desk_actor;

static usec tick_of(const rt_desk *d) { return d->pool->cfg.stuck > 0 ? usec_max(d->pool->cfg.stuck / 4, TICK_MIN) : TICK_IDLE; }

/* --- its places ------------------------------------------------------------------------------------------------------------------------
 */
/* Says whether there are any; seq_cst: see rt_desk. */
static void say(rt_desk *d, _Atomic bool *what, bool any) {
    if (d->pool->n_desks > 1) atomic_store_explicit(what, any, memory_order_seq_cst);
}

static void idle_push(rt_desk *d, rt_place *p) {
    p->next = NULL;
    p->prev = d->last_idle;
    *(d->last_idle ? &d->last_idle->next : &d->first_idle) = p;
    d->last_idle = p;
    if (d->n_idle++ == 0) say(d, &d->idles, true);
}

static void idle_remove(rt_desk *d, rt_place *p) {
    *(p->prev ? &p->prev->next : &d->first_idle) = p->next;
    *(p->next ? &p->next->prev : &d->last_idle) = p->prev;
    if (--d->n_idle == 0) say(d, &d->idles, false);
}

static void set_state(rt_desk *d, rt_place *p, rt_place_state to) {
    if (p->state == RT_PLACE_IDLE) idle_remove(d, p);
    d->n_busy -= p->state == RT_PLACE_BUSY;
    p->state = to;
    d->n_busy += to == RT_PLACE_BUSY;
    if (to == RT_PLACE_IDLE) idle_push(d, p);
}

/* The timer is the actor's: set in its name, from wherever we are. */
static void tick_on(rt_ctx *cx, rt_desk *d) {
    if (LIKELY(d->ticking)) return;
    rt_actor *a = rt_actor_find(cx->sh, rt_place_unpack(atomic_load_explicit(&d->pid, memory_order_relaxed))); /* written on this shard */
    if (!a) return;
    rt_actor *self = cx->self;
    cx->self = a;
    rt_timer_set(cx, &((desk_actor *)rt_actor_state(a))->timer, rt_now(cx) + tick_of(d));
    cx->self = self;
    d->ticking = true;
}

/* --- the queue -------------------------------------------------------------------------------------------------------------------------
 */
static uint64_t weight(const rt_desk *d, const rt_msg *m) { return rt_msg_bytes(d->pool->n, m) + rt_msg_blobs(d->pool->n, m); }

static bool expired(const rt_ctx *cx, const rt_msg *m) { return m->deadline && (int32_t)(cx->sh->now_msec - m->deadline) > 0; }

static void show_queue(rt_desk *d) {
    atomic_store_explicit(&d->queued, d->n_queued, memory_order_relaxed); /* for looks */
    atomic_store_explicit(&d->queued_bytes, d->bytes, memory_order_relaxed);
}

/* Takes out what *link points to. */
static rt_msg *cut(rt_desk *d, rt_msg **link) {
    rt_msg *m = *link;
    *link = m->next;
    if (d->tail == &m->next) d->tail = link;
    m->next = NULL;
    d->bytes -= weight(d, m);
    if (--d->n_queued == 0) say(d, &d->waits, false);
    show_queue(d);
    return m;
}

static void drop_expired(rt_ctx *cx, rt_desk *d, rt_msg *m) {
    rt_count(&d->expired, 1);
    rt_count(&cx->sh->n_expired, 1);
    rt_event(cx, EV_EXPIRED, (uint32_t)(rt_counted(&d->pid) >> 32), RT_TAG(m), cx->sh->now_msec - m->deadline);
    rt_msg_release(cx->sh, m);
}

/* The oldest that is not too late; NULL: none waits. */
static rt_msg *pop(rt_ctx *cx, rt_desk *d) {
    while (d->head) {
        rt_msg *m = cut(d, &d->head);
        if (LIKELY(!expired(cx, m))) return m;
        drop_expired(cx, d, m);
    }
    return NULL;
}

static void search_expired(rt_ctx *cx, rt_desk *d) {
    if (d->scan_msec == cx->sh->now_msec + 1) return; /* once a millisecond: a full queue is not searched for every message */
    d->scan_msec = cx->sh->now_msec + 1;
    for (rt_msg **link = &d->head; *link;) {
        if (expired(cx, *link))
            drop_expired(cx, d, cut(d, link));
        else
            link = &(*link)->next;
    }
}

static void refuse(rt_ctx *cx, rt_desk *d, rt_msg *m) {
    rt_count(&d->refused, 1);
    rt_mailbox_refuse(cx->sh, rt_place_unpack(rt_counted(&d->pid)), m);
}

static bool over(const rt_desk *d, uint64_t more) {
    const rt_workers_cfg *c = &d->pool->cfg;
    return d->n_queued >= c->queue_max || (c->queue_bytes_max > 0 && d->bytes + more > c->queue_bytes_max);
}

/* --- the others --------------------------------------------------------------------------------------------------------------------------
 */
/* pid: of a desk, packed; of one that has ended the message is lost, as it would be. */
static void send_to(rt_ctx *cx, const rt_desk *from, uint64_t pid, uint16_t tag) {
    if (!pid) return;
    rt_msg *m = rt_msg_new(cx, tag, sizeof(rt_workers_ask));
    rt_workers_ask_of(m)->dispatcher = from->number; /* HINT begins with the same field */
    if (tag == RT_WORKERS_ASK) rt_workers_ask_of(m)->idle = from->n_idle;
    rt_send(cx, rt_place_unpack(pid), &m);
}

static uint64_t pid_of(const rt_desk *d) { return atomic_load_explicit(&d->pid, memory_order_relaxed); } /* old: it is gone */

/* Work waits here: the next one that has idle workers is to ask for it. A desk that was hinted and has not asked yet has that before it;
 * its successor has not. One whose shard is stuck does not ask: the timer hints at another one. */
static void hint(rt_ctx *cx, rt_desk *d) {
    const rt_workers *p = d->pool;
    for (unsigned i = 1; i < p->n_desks; i++) {
        const rt_desk *o = &p->desks[(d->number + i) % p->n_desks];
        uint64_t pid = pid_of(o);
        if (!pid || d->hinted[o->number] == pid || !atomic_load_explicit(&o->idles, memory_order_seq_cst)) continue; /* see rt_desk */
        d->hinted[o->number] = pid;
        send_to(cx, d, pid, RT_WORKERS_HINT);
        return;
    }
}

/* Workers have nothing to do here: asks who has work that waits. */
static void ask(rt_ctx *cx, rt_desk *d) {
    const rt_workers *p = d->pool;
    for (unsigned i = 1; i < p->n_desks; i++) {
        rt_desk *o = &p->desks[(d->number + i) % p->n_desks];
        if (atomic_load_explicit(&o->waits, memory_order_seq_cst)) send_to(cx, d, pid_of(o), RT_WORKERS_ASK); /* see rt_desk */
    }
}

/* --- work -------------------------------------------------------------------------------------------------------------------------- */
static void give(rt_ctx *cx, rt_desk *d, rt_place *p, rt_msg *m) {
    set_state(d, p, RT_PLACE_BUSY);
    p->given = rt_now(cx);
    p->probed = p->answered = p->reported = false;
    rt_pass_work(cx, p->worker, &m); /* gone: it is refused */
    tick_on(cx, d);
}

void rt_desk_take(rt_ctx *cx, rt_desk *d, rt_msg *m) {
    if (cx->sh->freeing) {
        rt_msg_release(cx->sh, m);
        return;
    }
    rt_count(&d->sent, 1);
    if (LIKELY(d->first_idle)) {
        give(cx, d, d->first_idle, m);
        return;
    }
    uint64_t bytes = weight(d, m);
    if (UNLIKELY(over(d, bytes))) search_expired(cx, d);
    if (UNLIKELY(over(d, bytes))) {
        refuse(cx, d, m);
        return;
    }
    m->next = NULL;
    *d->tail = m;
    d->tail = &m->next;
    d->bytes += bytes;
    if (d->n_queued++ == 0) say(d, &d->waits, true);
    show_queue(d);
    if (d->pool->n_desks > 1) hint(cx, d);
    tick_on(cx, d);
}

static void tell_unstuck(rt_ctx *cx, const rt_desk *d, const rt_place *p) {
    char text[RT_WORKERS_NAME + 32];
    int n = snprintf(text, sizeof text, "%s worker %u", d->pool->cfg.name, p->number);
    rt_event_text(cx, EV_WORKER_UNSTUCK, p->number, (uint64_t)(rt_now(cx) - p->given), slice_of(text, n > 0 ? (size_t)n : 0));
}

void rt_desk_free(rt_ctx *cx, rt_desk *d, rt_place *p, rt_pid worker, bool fresh) {
    if (fresh && p->state == RT_PLACE_DOWN)
        p->worker = worker;
    else if (fresh || p->state != RT_PLACE_BUSY || !rt_pid_eq(worker, p->worker))
        return; /* a desk that was restarted has found it out by itself */
    if (!fresh && p->reported) tell_unstuck(cx, d, p);
    rt_msg *m = pop(cx, d);
    if (m) {
        give(cx, d, p, m);
        return;
    }
    bool first = d->n_idle == 0;
    set_state(d, p, RT_PLACE_IDLE);
    if (first && d->pool->n_desks > 1) ask(cx, d);
}

void rt_desk_gone(rt_ctx *cx, rt_desk *d, rt_place *p, rt_pid worker) {
    (void)cx;
    if (rt_pid_eq(worker, p->worker)) set_state(d, p, RT_PLACE_DOWN);
}

static void hand_over(rt_ctx *cx, rt_desk *d, const rt_workers_ask *q) {
    if (!check(q->dispatcher < d->pool->n_desks)) return;
    rt_desk *to = &d->pool->desks[q->dispatcher];
    d->hinted[to->number] = 0;
    for (uint32_t i = 0; i < q->idle; i++) {
        rt_msg *m = pop(cx, d);
        if (!m) return;
        rt_count(&d->handed, 1);
        rt_pass_work(cx, rt_place_unpack(pid_of(to)), &m); /* gone: it is refused */
    }
    if (d->head) hint(cx, d);
}

/* --- who is late ------------------------------------------------------------------------------------------------------------------- */
static void probe(rt_ctx *cx, const rt_desk *d, rt_place *p) {
    rt_msg *m = rt_msg_new(cx, RT_PROBE, sizeof(rt_probe));
    m->deadline = cx->sh->now_msec + (uint32_t)(d->pool->cfg.stuck / USEC_PER_MSEC) + 1; /* it has one always (mailbox.c) */
    if (m->deadline == 0) m->deadline = 1;
    rt_probe_of(m)->ref = p->number;
    p->probed = true;
    rt_send_front(cx, p->worker, &m);
}

static void report(rt_ctx *cx, const rt_desk *d, rt_place *p) {
    char text[RT_EVENT_TEXT + 1], pid[RT_PID_TEXT];
    const rt_msg_desc *desc = rt_node_desc(d->pool->n, (uint16_t)atomic_load_explicit(&p->tag, memory_order_relaxed)); /* see rt_place */
    rt_doing doing = rt_watchdog_doing(d->pool->n, p->shard);
    bool begun = atomic_load_explicit(&p->since, memory_order_relaxed) != 0; /* see rt_place */
    rt_pid_format(p->worker, pid);
    int n = snprintf(text, sizeof text, "%s worker %u, %s %s in %s: ", d->pool->cfg.name, p->number, d->pool->cfg.cls->name, pid,
                     !begun ? "nothing yet"
                     : desc ? desc->name
                            : "a message");
    size_t len = n > 0 && (size_t)n < sizeof text ? (size_t)n : 0;
    if (p->answered)
        n = snprintf(text + len, sizeof text - len, "it answers, and waits for something");
    else
        n = snprintf(text + len, sizeof text - len, "it does not answer; its shard %u is in %s of %s", p->shard, doing.msg, doing.cls);
    len = n > 0 && len + (size_t)n < sizeof text ? len + (size_t)n : sizeof text - 1;
    p->reported = true;
    rt_event_text(cx, EV_WORKER_STUCK, p->number, (uint64_t)(rt_now(cx) - p->given), slice_of(text, len));
}

static void look_at(rt_ctx *cx, const rt_desk *d, rt_place *p) {
    usec late = rt_now(cx) - p->given, stuck = d->pool->cfg.stuck;
    if (p->state != RT_PLACE_BUSY || stuck == 0 || p->reported || late < stuck / 2) return;
    if (!p->probed)
        probe(cx, d, p);
    else if (late >= stuck)
        report(cx, d, p);
}

/* Its places, in order: workers of the shards that it serves. */
static void each_place(rt_ctx *cx, rt_desk *d, void (*fn)(rt_ctx *cx, rt_desk *d, rt_place *p)) {
    const rt_workers *p = d->pool;
    for (unsigned shard = d->number; shard < p->n->n_shards; shard += p->n_desks)
        for (unsigned i = shard; i < p->cfg.workers; i += p->n->n_shards) fn(cx, d, &p->places[i]);
}

static void look_at_one(rt_ctx *cx, rt_desk *d, rt_place *p) { look_at(cx, d, p); }

static err desk_timer(rt_ctx *cx, void *st, rt_timer *t) {
    desk_actor *a = st;
    rt_desk *d = a->d;
    if (!check(t == &a->timer)) return ERR_BUG;
    search_expired(cx, d);
    if (d->n_busy > 0) each_place(cx, d, look_at_one);
    if (d->n_queued > 0) hint(cx, d);
    d->ticking = d->n_busy > 0 || d->n_queued > 0;
    if (d->ticking) rt_timer_set(cx, t, rt_now(cx) + tick_of(d));
    return ERR_OK;
}

/* --- the actor --------------------------------------------------------------------------------------------------------------------- */
/* What it can see of a place whose messages to the desk before it may be lost; seq_cst: see rt_desk. */
static void find_out(rt_ctx *cx, rt_desk *d, rt_place *p) {
    (void)cx;
    p->worker = rt_place_unpack(atomic_load_explicit(&p->pid, memory_order_seq_cst));
    bool up = rt_pid_ok(p->worker), busy = atomic_load_explicit(&p->since, memory_order_seq_cst) != 0;
    p->state = RT_PLACE_DOWN; /* in no list: fini has emptied it */
    set_state(d, p, !up ? RT_PLACE_DOWN : busy ? RT_PLACE_BUSY : RT_PLACE_IDLE);
    p->given = rt_now(cx);
    p->probed = p->answered = p->reported = false;
}

static err desk_init(rt_ctx *cx, void *st, const void *arg) {
    desk_actor *a = st;
    const rt_desk *of = arg;
    rt_desk *d = a->d = &of->pool->desks[of->number];
    atomic_store_explicit(&d->pid, rt_place_pack(rt_self(cx)), memory_order_seq_cst); /* see rt_desk */
    d->n_idle = d->n_busy = 0;
    each_place(cx, d, find_out);
    if (d->n_busy > 0) tick_on(cx, d);
    if (d->n_idle > 0) ask(cx, d);
    return ERR_OK;
}

static rt_place *place_at(const rt_desk *d, uint32_t number) {
    return check(number < d->pool->cfg.workers && d->pool->places[number].desk == d) ? &d->pool->places[number] : NULL;
}

static err desk_handle(rt_ctx *cx, void *st, rt_msg **m) {
    rt_desk *d = ((desk_actor *)st)->d;
    rt_place *p;
    switch (RT_TAG(*m)) {
    case RT_WORKERS_FREE:
        p = place_at(d, rt_workers_free_of(*m)->worker);
        if (p) rt_desk_free(cx, d, p, (*m)->sender, rt_workers_free_of(*m)->fresh);
        return ERR_OK;
    case RT_WORKERS_GONE:
        p = place_at(d, rt_workers_gone_of(*m)->worker);
        if (p) rt_desk_gone(cx, d, p, (*m)->sender);
        return ERR_OK;
    case RT_WORKERS_HINT:
        if (check(rt_workers_hint_of(*m)->dispatcher < d->pool->n_desks)) /* also when none is idle any more: it may hint again then */
            send_to(cx, d, pid_of(&d->pool->desks[rt_workers_hint_of(*m)->dispatcher]), RT_WORKERS_ASK);
        return ERR_OK;
    case RT_WORKERS_ASK: hand_over(cx, d, rt_workers_ask_of(*m)); return ERR_OK;
    case RT_PROBE:
        p = place_at(d, (uint32_t)rt_probe_of(*m)->ref);
        if (p) p->answered = true;
        return ERR_OK;
    default:
        if ((*m)->tag & RT_MSG_REFUSED || RT_TAG(*m) < RT_TAG_STORE) return ERR_OK; /* nothing that we wait for */
        rt_desk_take(cx, d, *m);
        *m = NULL;
        return ERR_OK;
    }
}

static void desk_fini(rt_ctx *cx, void *st, err reason) {
    desk_actor *a = st;
    rt_desk *d = a->d;
    (void)reason;
    rt_timer_cancel(cx, &a->timer);
    d->ticking = false;
    while (d->head) {
        rt_msg *m = cut(d, &d->head);
        if (cx->sh->freeing)
            rt_msg_release(cx->sh, m);
        else
            refuse(cx, d, m);
    }
    d->first_idle = d->last_idle = NULL;
    d->n_idle = d->n_busy = 0;
    memset(d->hinted, 0, sizeof d->hinted);
    say(d, &d->idles, false);
    atomic_store_explicit(&d->pid, 0, memory_order_seq_cst); /* see rt_desk */
}

const rt_class rt_desk_class = {.name = "desk",
                                .state_size = sizeof(desk_actor),
                                .init = desk_init,
                                .handle = desk_handle,
                                .timer = desk_timer,
                                .fini = desk_fini,
                                .unflushable = true};
