/* workers: places, senders, and the worker's side of a pool; the dispatchers of idle pools are in workers_desk.c.
 *
 *     by key:  sender -- key -> place -> pid --> the worker's mailbox --> handle
 *     idle:    sender --> desk of its shard -- an idle worker of that desk --> its mailbox --> handle --> done --> desk: the next one
 *                              \-- none: waits in the desk's queue; desks with idle workers ask for it
 *
 * A worker is the user's class with three callbacks wrapped: init makes its place known, handle notes what it is at, fini takes it back.
 * Its state is the user's, with a `worker` behind it; the class is copied for each shard, so that its counts have one writer.
 *
 * Invariants: (1) a place belongs to one worker at a time: its supervisor starts the next one after the end of the one before; (2) work is
 * begun at most once; (3) work that no worker has begun comes back to its sender, or is expired and counted (RT_M_WORK); (4) in an idle
 * pool a worker has at most one piece of work, but after its desk was restarted, when one more may wait in its mailbox; (5) everything of a
 * pool but the atomics and what belongs to one shard is written at boot only. */
#include "base/mem.h"
#include "rt/workers_int.h"

#include <stdio.h>

typedef struct worker { /* behind the user's state */
    rt_place *place;
    bool working; /* on work that is not done */
    bool goes_on; /* its handler said so */
} worker;

/* The class of a pool's worker is in its rt_workers_shard, which is not const. */
static rt_workers_shard *part_of(const rt_ctx *cx) { return container_of((uintptr_t)cx->self->cls, rt_workers_shard, cls); }
static worker *worker_of(const rt_workers *p, void *st) { return (worker *)(void *)((char *)st + p->worker_at); }
static rt_pid pid_of(const rt_place *p) { return rt_place_unpack(atomic_load_explicit(&p->pid, memory_order_acquire)); /* see rt_place */ }

/* --- the worker -------------------------------------------------------------------------------------------------------------------- */
static void set_since(rt_place *p, usec at) {
    memory_order order = p->desk && p->desk->shard != p->shard ? memory_order_seq_cst : memory_order_relaxed; /* see rt_place */
    atomic_store_explicit(&p->since, at, order);
}

static void tell_desk(rt_ctx *cx, rt_place *p, uint16_t tag, bool fresh) {
    rt_desk *d = p->desk;
    if (!d || cx->sh->freeing) return;
    if (d->shard == cx->sh->id) {
        if (tag == RT_WORKERS_FREE)
            rt_desk_free(cx, d, p, rt_self(cx), fresh);
        else
            rt_desk_gone(cx, d, p, rt_self(cx));
        return;
    }
    uint64_t desk = atomic_load_explicit(&d->pid, memory_order_seq_cst); /* see rt_desk */
    if (!desk) return;                                                   /* its init will look at since and pid */
    rt_msg *m = rt_msg_new(cx, tag, sizeof(rt_workers_free));
    *rt_workers_free_of(m) = (rt_workers_free){p->number, fresh};
    rt_send(cx, rt_place_unpack(desk), &m);
}

static err worker_init(rt_ctx *cx, void *st, const void *arg) {
    rt_workers_shard *s = part_of(cx);
    rt_workers *pool = s->pool;
    rt_place *p = &pool->places[(const rt_place *)arg - pool->places];
    worker *w = worker_of(pool, st);
    w->place = p;
    err e = pool->cfg.cls->init ? pool->cfg.cls->init(cx, st, p->arg) : ERR_OK;
    if (e) return e;
    atomic_store_explicit(&p->pid, rt_place_pack(rt_self(cx)), memory_order_seq_cst); /* release, see rt_place; and the order of rt_desk */
    tell_desk(cx, p, RT_WORKERS_FREE, true);
    return ERR_OK;
}

static void finish(rt_ctx *cx, worker *w) {
    w->working = w->goes_on = false;
    set_since(w->place, 0);
    if (!(cx->self->flags & RT_A_DYING)) tell_desk(cx, w->place, RT_WORKERS_FREE, false);
}

static err worker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    rt_workers_shard *s = part_of(cx);
    const rt_class *of = s->pool->cfg.cls;
    worker *w = worker_of(s->pool, st);
    bool by_key = s->pool->cfg.mode == RT_WORKERS_BY_KEY, work = cx->work;
    if (by_key) work = RT_TAG(*m) >= RT_TAG_STORE && !((*m)->tag & RT_MSG_REFUSED); /* senders may know the pid */
    if (!work) return of->handle ? of->handle(cx, st, m) : ERR_OK;
    rt_count(&s->begun, 1);
    set_since(w->place, rt_now(cx) > 0 ? rt_now(cx) : 1);
    atomic_store_explicit(&w->place->tag, RT_TAG(*m), memory_order_relaxed); /* see rt_place */
    w->working = true;
    err e = of->handle ? of->handle(cx, st, m) : ERR_OK;
    if (e) return e; /* lost: fini counts it */
    if (by_key) {
        w->working = false;
        set_since(w->place, 0);
    } else if (w->working && !w->goes_on) {
        finish(cx, w);
    }
    return ERR_OK;
}

static void worker_fini(rt_ctx *cx, void *st, err reason) {
    rt_workers_shard *s = part_of(cx);
    worker *w = worker_of(s->pool, st);
    if (w->working) rt_count(&s->lost, 1);
    atomic_store_explicit(&w->place->pid, 0, memory_order_seq_cst); /* see rt_place and rt_desk */
    set_since(w->place, 0);
    if (s->pool->cfg.cls->fini) s->pool->cfg.cls->fini(cx, st, reason);
    tell_desk(cx, w->place, RT_WORKERS_GONE, false);
}

/* The worker whose callback runs; NULL: it is none, or none of an idle pool. */
static worker *this_worker(rt_ctx *cx) {
    if (!check(cx->self && cx->self->cls->init == worker_init)) return NULL;
    const rt_workers *p = part_of(cx)->pool;
    return check(p->cfg.mode == RT_WORKERS_IDLE) ? worker_of(p, rt_actor_state(cx->self)) : NULL;
}

void rt_workers_go_on(rt_ctx *cx) {
    worker *w = this_worker(cx);
    if (w && check(w->working)) w->goes_on = true;
}

void rt_workers_done(rt_ctx *cx) {
    worker *w = this_worker(cx);
    if (w && w->working) finish(cx, w);
}

/* --- senders ---------------------------------------------------------------------------------------------------------------------------
 */
unsigned rt_workers_of(const rt_workers *p, uint64_t key) { return (unsigned)(hash_u64(key) % p->cfg.workers); }
unsigned rt_workers_count(const rt_workers *p) { return p->cfg.workers; }
rt_pid rt_workers_at(const rt_workers *p, unsigned i) { return check(i < p->cfg.workers) ? pid_of(&p->places[i]) : RT_PID_NONE; }

static rt_desk *desk_for(const rt_workers *p, unsigned shard) { return &p->desks[shard % p->n_desks]; }

/* Of the actor that goes on with work for this key from this shard. */
static rt_pid next_of(const rt_workers *p, unsigned shard, uint64_t key) {
    if (p->cfg.mode == RT_WORKERS_BY_KEY) return pid_of(&p->places[rt_workers_of(p, key)]);
    return rt_place_unpack(atomic_load_explicit(&desk_for(p, shard)->pid, memory_order_relaxed)); /* a stale one is refused on arrival */
}

void rt_workers_send(rt_ctx *cx, rt_workers *p, uint64_t key, rt_msg **mp) {
    rt_workers_shard *s = &p->shards[cx->sh->id];
    rt_pid to = next_of(p, cx->sh->id, key);
    if (LIKELY(rt_pid_ok(to) && (p->cfg.mode == RT_WORKERS_BY_KEY || rt_pid_shard(to) != cx->sh->id))) {
        rt_send_work(cx, to, mp);
        return;
    }
    rt_msg *m = *mp;
    *mp = NULL;
    m->tag = RT_TAG(m);
    m->sender = rt_self(cx);
    if (!m->trace) m->trace = cx->trace;
    if (rt_pid_ok(to)) {
        rt_desk_take(cx, desk_for(p, cx->sh->id), m);
        return;
    }
    rt_count(&s->refused, 1); /* it is being restarted */
    rt_mailbox_refuse(cx->sh, RT_PID_NONE, m);
}

void rt_workers_post(rt_workers *p, uint64_t key, rt_msg **m) {
    rt_post(p->n, next_of(p, (unsigned)(hash_u64(key) % p->n->n_shards), key), m);
}

/* --- looking -----------------------------------------------------------------------------------------------------------------------------
 */
const char *rt_workers_name(const rt_workers *p) { return p->cfg.name; }
rt_workers_mode rt_workers_mode_of(const rt_workers *p) { return p->cfg.mode; }
unsigned rt_workers_rows(const rt_workers *p) { return p->cfg.mode == RT_WORKERS_IDLE ? p->n_desks : p->n->n_shards; }

rt_workers *rt_workers_next(const rt_node *n, const rt_workers *p) { return p ? p->next : n->workers; }
rt_workers *rt_workers_find(const rt_node *n, const char *name) {
    rt_workers *p = n->workers;
    while (p && strcmp(p->cfg.name, name) != 0) p = p->next;
    return p;
}

static void look_at_places(const rt_workers *p, unsigned row, rt_workers_stat *out) {
    usec now = p->n->s->mono(p->n->s);
    unsigned step = rt_workers_rows(p);
    for (unsigned shard = row; shard < p->n->n_shards; shard += step)
        for (unsigned i = shard; i < p->cfg.workers; i += p->n->n_shards) {
            rt_place *w = &p->places[i];
            usec since = atomic_load_explicit(&w->since, memory_order_relaxed); /* see rt_place */
            out->workers++;
            out->busy += since != 0;
            out->stuck += since != 0 && p->cfg.stuck > 0 && now - since >= p->cfg.stuck;
            out->down += !rt_pid_ok(pid_of(w));
        }
}

void rt_workers_look(const rt_workers *p, unsigned row, rt_workers_stat *out) {
    *out = (rt_workers_stat){.shard = row};
    look_at_places(p, row, out);
    for (unsigned i = row; i < p->n->n_shards; i += rt_workers_rows(p)) {
        rt_workers_shard *s = &p->shards[i];
        out->begun += rt_counted(&s->begun);
        out->lost += rt_counted(&s->lost);
        out->expired += rt_counted(&s->count.expired);
        out->refused += rt_counted(&s->count.refused) + rt_counted(&s->refused);
    }
    if (p->cfg.mode != RT_WORKERS_IDLE) return;
    rt_desk *d = &p->desks[row];
    out->queued = rt_counted(&d->queued);
    out->queued_bytes = rt_counted(&d->queued_bytes);
    out->sent += rt_counted(&d->sent);
    out->expired += rt_counted(&d->expired) + rt_counted(&d->count.expired);
    out->refused += rt_counted(&d->refused) + rt_counted(&d->count.refused);
    out->handed = rt_counted(&d->handed);
}

/* --- boot -------------------------------------------------------------------------------------------------------------------------- */
static void fill_places(rt_workers *p) {
    unsigned shards = p->n->n_shards;
    for (unsigned i = 0; i < p->cfg.workers; i++) {
        rt_place *w = &p->places[i];
        *w = (rt_place){.pool = p, .arg = (const char *)p->cfg.arg + i * p->cfg.arg_size, .number = i, .shard = i % shards};
        if (p->desks) w->desk = desk_for(p, w->shard);
        (void)snprintf(w->id, sizeof w->id, "%s.%u", p->cfg.name, i);
    }
    for (unsigned i = 0; i < p->n_desks; i++) {
        rt_desk *d = &p->desks[i];
        d->pool = p;
        d->number = d->shard = i;
        d->tail = &d->head;
        d->cls = rt_desk_class;
        d->cls.of = &rt_desk_class;
        d->cls.count = &d->count;
        (void)snprintf(d->id, sizeof d->id, "%s.desk.%u", p->cfg.name, i);
    }
}

static void fill_shard(rt_workers *p, unsigned shard) {
    rt_workers_shard *s = &p->shards[shard];
    const rt_workers_cfg *c = &p->cfg;
    s->pool = p;
    s->cls = *c->cls;
    s->cls.of = c->cls;
    s->cls.count = &s->count;
    s->cls.state_size = p->worker_at + sizeof(worker);
    s->cls.init = worker_init;
    s->cls.handle = worker_handle;
    s->cls.fini = worker_fini;
    s->children = mem_zalloc((c->workers / p->n->n_shards + 2) * sizeof *s->children);
    size_t n = 0;
    if (shard < p->n_desks)
        s->children[n++] =
            (rt_child){.id = p->desks[shard].id, .cls = &p->desks[shard].cls, .arg = &p->desks[shard], .restart = RT_PERMANENT};
    for (unsigned i = shard; i < c->workers; i += p->n->n_shards)
        s->children[n++] = (rt_child){.id = p->places[i].id, .cls = &s->cls, .arg = &p->places[i], .restart = RT_PERMANENT};
    s->spec = (rt_sup_spec){RT_ONE_FOR_ONE, c->intensity, c->period, s->children, n, c->vital};
}

static void boot_shard(rt_ctx *cx, void *arg) {
    rt_workers_shard *s = arg;
    rt_pid pid;
    s->status = rt_spawn(cx, &rt_sup_class, &s->spec, 0, &pid, NULL);
}

err rt_workers_boot(rt_node *n, const rt_workers_cfg *c, rt_workers **out) {
    unsigned desks = c->mode == RT_WORKERS_IDLE ? c->dispatchers : 0;
    if (c->workers < 1 || c->workers > RT_WORKERS_MAX || c->workers / n->n_shards + 2 > RT_SUP_CHILDREN_MAX || desks > n->n_shards ||
        strlen(c->name) >= RT_WORKERS_NAME)
        return ERR_INVALID;
    if (rt_workers_find(n, c->name)) return ERR_EXISTS;
    rt_workers *p = mem_zalloc(sizeof *p), **last = &n->workers;
    p->n = n;
    p->cfg = *c;
    p->worker_at = (c->cls->state_size + 15) & ~(size_t)15;
    p->places = mem_zalloc(c->workers * sizeof *p->places);
    p->n_desks = c->mode != RT_WORKERS_IDLE ? 0 : desks ? desks : n->n_shards;
    p->desks = p->n_desks ? mem_zalloc(p->n_desks * sizeof *p->desks) : NULL;
    p->shards = mem_zalloc(n->n_shards * sizeof *p->shards);
    fill_places(p);
    while (*last) last = &(*last)->next;
    *last = p; /* from here on the node frees it */
    err e = ERR_OK;
    for (unsigned i = 0; i < n->n_shards; i++) fill_shard(p, i);
    for (unsigned i = 0; i < n->n_shards && !e; i++) {
        rt_node_boot(n, i, boot_shard, &p->shards[i]);
        e = p->shards[i].status;
    }
    if (!e) *out = p;
    return e;
}

void rt_workers_fini(rt_node *n) {
    for (rt_workers *p = n->workers, *next; p; p = next) {
        next = p->next;
        for (unsigned i = 0; i < n->n_shards; i++) mem_free(p->shards[i].children);
        mem_free(p->shards);
        mem_free(p->desks);
        mem_free(p->places);
        mem_free(p);
    }
    n->workers = NULL;
}
