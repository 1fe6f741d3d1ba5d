/* follow: the hub between events and those who follow them. See follow.h for the picture.
 *
 * Invariants: (1) the hub's lock is held for a few copies, never across a send: whom to post to is written down and done after. (2) What is
 * in todo of each event state is what the slots want: settle, under the lock. (3) A follower's wake is called under the lock, and never
 * after rt_follow_close has returned. (4) A subscription is counted: by its slot and by each message on its way, whose seat gives the place
 * back wherever the message ends; so it outlives its actor, and a flushed mailbox makes room. (5) A slot's filter is on every shard or on
 * its way there before the slot can be used again: calls to a shard keep their order. */
#include "rt/follow.h"

#include "base/mem.h"
#include "rt/core.h"
#include "rt/trace.h"

#define INSTALL_USEC (2 * USEC_PER_SEC) /* that a shard is waited for */

struct rt_follow {
    rt_node *node;
    bool trace;     /* else events of a set */
    unsigned index; /* of its slot */
    rt_event_set set;
    uint32_t since; /* trace: number of the last request before it */
    rt_seen *ring;  /* RT_FOLLOW_RING; guarded by the hub's lock, as all that follows */
    size_t from, n;
    uint64_t lost;
    bool idle; /* it was told that there is nothing: wake it */
    void (*wake)(void *arg);
    void *wake_arg;
};

typedef struct subscription {
    rt_pid pid;
    rt_event_set set;         /* guarded by the hub's lock */
    uint64_t lost;            /* since the last message; guarded by the hub's lock */
    _Atomic uint32_t pending; /* messages on their way or waiting; relaxed: a bound */
    _Atomic uint32_t refs;    /* acq_rel, pairs with itself: the last one frees */
} subscription;
typedef struct seat {
    rt_box box;
    subscription *of;
} seat;

struct rt_hub {
    lock l; /* guards what follows */
    rt_follow *trace[RT_FOLLOW_TRACES];
    rt_follow *stream[RT_FOLLOW_STREAMS];
    subscription *actor[RT_FOLLOW_ACTORS];
};

/* --- what the slots want of each event ------------------------------------------------------------------------------------------- */
static void settle_one(struct rt_event_state *st, rt_event_id id, bool follow, bool trace) {
    uint8_t on = (uint8_t)((follow ? RT_EV_FOLLOW : 0) | (trace ? RT_EV_TRACE : 0)), off = (RT_EV_FOLLOW | RT_EV_TRACE) & (uint8_t)~on;
    (void)atomic_fetch_or_explicit(&st->todo[id], on, memory_order_relaxed); /* as rt_log_level */
    (void)atomic_fetch_and_explicit(&st->todo[id], (uint8_t)~off, memory_order_relaxed);
}

static void add_set(rt_event_set *sum, const rt_event_set *s) {
    for (size_t i = 0; i < ARRAY_LEN(sum->bits); i++) sum->bits[i] |= s->bits[i];
}

static void settle(rt_node *n) { /* the lock is held */
    const struct rt_hub *h = n->hub;
    rt_event_set wanted = {{0}};
    bool traces = false;
    for (unsigned i = 0; i < RT_FOLLOW_STREAMS; i++)
        if (h->stream[i]) add_set(&wanted, &h->stream[i]->set);
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++)
        if (h->actor[i]) add_set(&wanted, &h->actor[i]->set);
    for (unsigned i = 0; i < RT_FOLLOW_TRACES; i++) traces |= h->trace[i] != NULL;
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        bool follow = rt_event_set_has(&wanted, (rt_event_id)id), trace = traces && !rt_event_is_frequent((rt_event_id)id);
        for (unsigned s = 0; s < n->n_shards; s++) settle_one(&n->shards[s].ev, (rt_event_id)id, follow, trace);
        settle_one(&n->ev_ext, (rt_event_id)id, follow, trace);
    }
}

static bool followable(const rt_event_set *s) {
    for (unsigned id = 0; id < EV_COUNT_; id++)
        if (rt_event_is_frequent((rt_event_id)id) && rt_event_set_has(s, (rt_event_id)id)) return false;
    return true;
}

/* --- actors ---------------------------------------------------------------------------------------------------------------------- */
static void sub_unref(subscription *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) mem_free(s);
}

static void seat_free(rt_box *b) {
    seat *x = container_of(b, seat, box);
    (void)atomic_fetch_sub_explicit(&x->of->pending, 1, memory_order_relaxed);
    sub_unref(x->of);
    mem_free(x);
}

static subscription **slot_of(struct rt_hub *h, rt_pid pid) { /* the lock is held; NULL: none */
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++)
        if (h->actor[i] && rt_pid_eq(h->actor[i]->pid, pid)) return &h->actor[i];
    return NULL;
}

static subscription **free_slot(struct rt_hub *h) {
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++)
        if (!h->actor[i]) return &h->actor[i];
    return NULL;
}

err rt_event_subscribe(rt_ctx *cx, const rt_event_set *set) {
    if (!check(cx->self)) return ERR_BUG;
    if (!followable(set)) return ERR_INVALID;
    struct rt_hub *h = cx->sh->node->hub;
    err e = ERR_OK;
    lock_take(&h->l);
    subscription **at = slot_of(h, rt_self(cx));
    if (!at && (at = free_slot(h)) != NULL) {
        *at = mem_zalloc(sizeof **at);
        (*at)->pid = rt_self(cx);
        atomic_init(&(*at)->refs, 1);
    }
    if (at)
        (*at)->set = *set;
    else
        e = ERR_LIMIT;
    settle(cx->sh->node);
    lock_release(&h->l);
    if (!e) cx->self->flags |= RT_A_FOLLOWS;
    return e;
}

void rt_follow_actor_gone(rt_node *n, rt_pid pid) {
    lock_take(&n->hub->l);
    subscription **at = slot_of(n->hub, pid), *gone = at ? *at : NULL;
    if (at) *at = NULL;
    settle(n);
    lock_release(&n->hub->l);
    if (gone) sub_unref(gone);
}

void rt_event_unsubscribe(rt_ctx *cx) {
    if (!check(cx->self)) return;
    cx->self->flags &= (uint16_t)~RT_A_FOLLOWS;
    rt_follow_actor_gone(cx->sh->node, rt_self(cx));
}

typedef struct letter { /* an RT_EVENT to be posted */
    subscription *to;   /* counted */
    uint64_t lost;
} letter;

/* Takes a place for the event, if there is one; the lock is held. */
static bool take_seat(subscription *s, const rt_seen *x, letter *out) {
    if (!rt_event_set_has(&s->set, x->id) || rt_pid_eq(s->pid, x->actor)) return false;
    if (atomic_load_explicit(&s->pending, memory_order_relaxed) >= RT_FOLLOW_PENDING) {
        s->lost++;
        return false;
    }
    (void)atomic_fetch_add_explicit(&s->pending, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); /* the slot's reference keeps it meanwhile */
    *out = (letter){s, s->lost};
    s->lost = 0;
    return true;
}

/* Through the inbox, also to an actor of this shard: events happen in the midst of everything, of work on a mailbox too. */
static void post(rt_node *n, const letter *l, const rt_seen *x) {
    seat *at = mem_alloc(sizeof *at);
    *at = (seat){.box = {seat_free}, .of = l->to};
    rt_pid to = l->to->pid;
    rt_msg *m = rt_msg_new_ext(RT_EVENT, sizeof(rt_event_msg));
    *rt_event_msg_of(m) = (rt_event_msg){.id = (uint32_t)x->id,
                                         .shard = x->shard,
                                         .slot = x->actor.slot,
                                         .trace = x->trace,
                                         .a = x->arg[0],
                                         .b = x->arg[1],
                                         .c = x->has_text ? 0 : x->arg[2],
                                         .text = x->has_text ? rt_blob_new(slice_of(x->text, x->text_len)) : NULL,
                                         .wall = x->wall,
                                         .lost = l->lost,
                                         .seat = &at->box};
    rt_post(n, to, &m);
}

/* --- tools ----------------------------------------------------------------------------------------------------------------------- */
static void put(rt_follow *f, const rt_seen *x) { /* the lock is held */
    if (f->n == RT_FOLLOW_RING) {
        f->lost++;
        return;
    }
    rt_seen *at = &f->ring[(f->from + f->n++) % RT_FOLLOW_RING];
    *at = *x;
    at->lost = f->lost;
    f->lost = 0;
    if (!f->idle) return;
    f->idle = false;
    if (f->wake) f->wake(f->wake_arg);
}

/* Did the request begin after its watcher? Numbers wrap: of two less than half the circle apart the later one is known. */
static bool began_after(const rt_follow *f, uint32_t number) {
    uint32_t ahead = (number - f->since) & RT_TRACE_NUMBER;
    return ahead != 0 && ahead <= RT_TRACE_NUMBER / 2;
}

void rt_follow_push(rt_node *n, const rt_seen *x) {
    letter to[RT_FOLLOW_ACTORS];
    unsigned k = 0;
    struct rt_hub *h = n->hub;
    uint32_t watchers = x->trace >> 24;
    rt_seen shown = *x;
    shown.trace = rt_trace_number(x->trace);
    lock_take(&h->l);
    for (unsigned i = 0; watchers && i < RT_FOLLOW_TRACES; i++)
        if (watchers & 1u << i && h->trace[i] && began_after(h->trace[i], shown.trace)) put(h->trace[i], &shown);
    for (unsigned i = 0; i < RT_FOLLOW_STREAMS; i++)
        if (h->stream[i] && rt_event_set_has(&h->stream[i]->set, x->id)) put(h->stream[i], &shown);
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++)
        if (h->actor[i] && take_seat(h->actor[i], x, &to[k])) k++;
    lock_release(&h->l);
    for (unsigned i = 0; i < k; i++) post(n, &to[i], &shown);
}

static NODISCARD err open_slot(rt_node *n, rt_follow **slots, unsigned count, bool trace, const rt_event_set *set, rt_follow **out) {
    struct rt_hub *h = n->hub;
    rt_follow *f = mem_zalloc(sizeof *f);
    *f = (rt_follow){.node = n, .trace = trace, .idle = true};
    if (set) f->set = *set;
    f->ring = mem_alloc(RT_FOLLOW_RING * sizeof *f->ring);
    lock_take(&h->l);
    unsigned i = 0;
    while (i < count && slots[i]) i++;
    if (i < count) {
        f->index = i;
        f->since = atomic_load_explicit(&n->trace_numbers, memory_order_relaxed) & RT_TRACE_NUMBER; /* ids from now on */
        slots[i] = f;
        settle(n);
    }
    lock_release(&h->l);
    if (i < count) {
        *out = f;
        return ERR_OK;
    }
    mem_free(f->ring);
    mem_free(f);
    return ERR_LIMIT;
}

err rt_follow_events(rt_node *n, const rt_event_set *set, rt_follow **out) {
    if (!followable(set)) return ERR_INVALID;
    return open_slot(n, n->hub->stream, RT_FOLLOW_STREAMS, false, set, out);
}

err rt_follow_trace(rt_node *n, const rt_trace_filter *f, rt_follow **out) {
    rt_follow *w;
    err e = open_slot(n, n->hub->trace, RT_FOLLOW_TRACES, true, NULL, &w);
    if (e) return e;
    rt_trace_install(n, w->index, f, INSTALL_USEC);
    *out = w;
    return ERR_OK;
}

void rt_follow_wake(rt_follow *f, void (*wake)(void *arg), void *arg) {
    lock_take(&f->node->hub->l);
    f->wake = wake;
    f->wake_arg = arg;
    lock_release(&f->node->hub->l);
}

bool rt_follow_next(rt_follow *f, rt_seen *out) {
    lock_take(&f->node->hub->l);
    bool got = f->n > 0;
    if (got) {
        *out = f->ring[f->from];
        f->from = (f->from + 1) % RT_FOLLOW_RING;
        f->n--;
    }
    f->idle = !got;
    lock_release(&f->node->hub->l);
    return got;
}

uint64_t rt_follow_lost(rt_follow *f) {
    lock_take(&f->node->hub->l);
    uint64_t lost = f->lost;
    f->lost = 0;
    lock_release(&f->node->hub->l);
    return lost;
}

void rt_follow_close(rt_follow *f) {
    if (!f) return;
    rt_node *n = f->node;
    if (f->trace) rt_trace_install(n, f->index, NULL, 0);
    lock_take(&n->hub->l);
    (f->trace ? n->hub->trace : n->hub->stream)[f->index] = NULL;
    settle(n);
    lock_release(&n->hub->l);
    mem_free(f->ring);
    mem_free(f);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */
void rt_follow_init(rt_node *n) {
    n->hub = mem_zalloc(sizeof *n->hub);
    lock_init(&n->hub->l, &n->locks, "follow", 0, LOCK_RANK_FOLLOW);
}

static void drop(rt_follow *f) {
    if (!f) return;
    mem_free(f->ring);
    mem_free(f);
}

void rt_follow_fini(rt_node *n) {
    struct rt_hub *h = n->hub;
    if (!h) return;
    for (unsigned i = 0; i < RT_FOLLOW_TRACES; i++) drop(h->trace[i]);
    for (unsigned i = 0; i < RT_FOLLOW_STREAMS; i++) drop(h->stream[i]);
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++)
        if (h->actor[i]) sub_unref(h->actor[i]);
    lock_fini(&h->l);
    mem_free(h);
    n->hub = NULL;
}
