/* pool: threads for work that blocks or burns. Each kind has its own queue, bound and threads, so that a slow disk does not starve
 * handshakes.
 *
 *     actor: submit -> no key, or none of its key under way: [ready] -> pool thread: deadline? run -> RT_JOB_DONE to the owner through
 *            |  |                                               ^                                         its shard's inbox
 *            |  \-> else: behind its key's leader --when that is done: the next one leads--+
 *            \-> queue_max wait already: RT_JOB_DONE(FULL) at once
 *
 * Of the jobs of one key one leads: it runs, or is in ready; the others hang on it, in order. When it is done, the next one leads and goes
 * to the end of ready: so the keys take turns, and one with a long queue delays the others by one job.
 *
 * Invariants: (1) every job submitted comes home exactly once: as RT_JOB_DONE, or, if its owner is gone or the node is freed, by its box's
 * free; (2) the lock is never held while a job runs or a message is sent; (3) a job past its deadline does not start; (4) without threads
 * (simulator) jobs wait until rt_pool_run_one; (5) while jobs are ready and a thread is idle, as many threads are on their way (woken,
 * and not there yet) as there are jobs ready, less those whose leader's thread is about to look for one; (6) of one key at most one job
 * runs, and leads.
 *
 * Waking is what a job on a quiet server costs most, so: the thread that fell asleep last is woken first, because its stack and its CPU
 * are warm; each thread has a condition of its own, so that just this one wakes; it is signalled after the lock is released, or it would
 * wake only to wait for that; and nobody is woken while enough threads are on their way. A thread that is sending an answer does not count
 * as such: its own wake-up of the shard often takes its CPU away from it, and the job would wait for that. */
#include "base/mem.h"
#include "base/plant.h"
#include "rt/core.h"
#include "rt/pool_watch.h"
#include "rt/trace.h"

#define POOL_THREADS_MAX 64u

typedef struct pool_queue pool_queue;
typedef struct pool_thread pool_thread;
struct pool_thread {
    pool_queue *q;
    sys_thread *t;
    rt_msacc msacc;
    lock_cond wake;
    bool idle;         /* in the queue's stack of idle threads; guarded by q->l */
    pool_thread *next; /* below it in that stack; guarded by q->l */
    /* What it runs: relaxed stores by the thread, relaxed loads by the watchdog and tools, which may see parts of two jobs: serial tells
     * them whether it is the job that they saw before. */
    _Atomic uint64_t serial; /* jobs begun */
    _Atomic usec since;      /* begun at; 0: none runs */
    _Atomic(const char *) what;
    _Atomic uint64_t key;
    _Atomic usec slow_after;
    _Atomic uint32_t owner_slot, owner_gen;
    /* The serial of the job that runs and was not reported as stuck; 0: there is none. The end of the job and the watchdog's report both
     * take it to 0, relaxed, as it stands for nothing else: who finds it there is first. */
    _Atomic uint64_t silent;
};
struct pool_queue {
    rt_node *n;
    rt_pool_kind kind;
    lock l;
    rt_job *head, *tail;     /* ready: may start; guarded by l */
    uint32_t ready;          /* of them; guarded by l */
    rt_job *oldest, *newest; /* of all that have not started; guarded by l */
    hmap leads;              /* leaders by key; guarded by l */
    rt_pool_stat stat;       /* guarded by l */
    rt_tally wait, run;      /* microseconds; written under l */
    bool stop;               /* guarded by l */
    pool_thread *idle;       /* stack: who fell asleep last is on top; guarded by l */
    uint32_t coming;         /* threads taken from it that do not run yet; guarded by l */
    pool_thread *threads;    /* started; written before they run */
    unsigned n_threads;
};
struct rt_pool {
    pool_queue q[RT_POOL_KINDS];
};

const char *rt_pool_kind_name(rt_pool_kind k) {
    static const char *const names[RT_POOL_KINDS] = {"disk", "sql", "crypto", "user"};
    return names[k];
}

void rt_pool_init(rt_node *n) {
    n->pool = mem_zalloc(sizeof *n->pool);
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        pool_queue *q = &n->pool->q[k];
        q->n = n;
        q->kind = (rt_pool_kind)k;
        lock_init(&q->l, &n->locks, "pool", k, LOCK_RANK_POOL);
        hmap_init(&q->leads);
    }
}

/* --- the queue, with its lock held ------------------------------------------------------------------------------------------------- */
static void push_ready(pool_queue *q, rt_job *j) {
    j->place.next = NULL;
    if (q->tail)
        q->tail->place.next = j;
    else
        q->head = j;
    q->tail = j;
    q->ready++;
}

static rt_job *leader(const pool_queue *q, uint64_t key) {
    for (hmap_node *i = hmap_find(&q->leads, hash_u64(key)); i; i = hmap_find_next(i)) {
        rt_job *j = container_of(i, rt_job, place.lead);
        if (j->key == key) return j;
    }
    return NULL;
}

static void lead(pool_queue *q, rt_job *j) {
    hmap_insert(&q->leads, &j->place.lead, hash_u64(j->key));
    push_ready(q, j);
}

static void put(pool_queue *q, rt_job *j) {
    rt_job *before = j->key ? leader(q, j->key) : NULL;
    q->stat.queued++;
    j->place.older = q->newest;
    *(q->newest ? &q->newest->place.newer : &q->oldest) = j;
    q->newest = j;
    if (before) {
        if (before->place.tail)
            before->place.tail->place.next = j;
        else
            before->place.head = j;
        before->place.tail = j;
        q->stat.held++;
    } else if (j->key) {
        lead(q, j);
    } else {
        push_ready(q, j);
    }
}

static rt_job *take(pool_queue *q) {
    rt_job *j = q->head;
    if (!j) return NULL;
    q->head = j->place.next;
    if (!q->head) q->tail = NULL;
    j->place.next = NULL;
    *(j->place.older ? &j->place.older->place.newer : &q->oldest) = j->place.newer;
    *(j->place.newer ? &j->place.newer->place.older : &q->newest) = j->place.older;
    q->ready--;
    q->stat.queued--;
    q->stat.running++;
    return j;
}

/* A job is over: the next one of its key leads. */
static void over(pool_queue *q, rt_job *j) {
    q->stat.running--;
    if (!j->key) return;
    rt_job *heir = j->place.head;
    hmap_remove(&q->leads, &j->place.lead);
    if (!heir) return;
    heir->place.head = heir->place.next;
    heir->place.tail = heir->place.head ? j->place.tail : NULL;
    j->place.head = j->place.tail = NULL;
    q->stat.held--;
    lead(q, heir);
}

/* --- running ----------------------------------------------------------------------------------------------------------------------- */
/* t: the thread, so that others see what it is at; NULL: there is none. */
static void show(pool_thread *t, const rt_job *j, usec now) {
    if (!t) return;
    /* relaxed: see pool_thread */
    uint64_t serial = atomic_load_explicit(&t->serial, memory_order_relaxed) + 1;
    atomic_store_explicit(&t->serial, serial, memory_order_relaxed);
    atomic_store_explicit(&t->silent, serial, memory_order_relaxed);
    atomic_store_explicit(&t->what, j->what ? j->what : "job", memory_order_relaxed);
    atomic_store_explicit(&t->key, j->key, memory_order_relaxed);
    atomic_store_explicit(&t->slow_after, j->slow_after, memory_order_relaxed);
    atomic_store_explicit(&t->owner_slot, j->owner.slot, memory_order_relaxed);
    atomic_store_explicit(&t->owner_gen, j->owner.gen, memory_order_relaxed);
    atomic_store_explicit(&t->since, now > 0 ? now : 1, memory_order_relaxed);
}

static void show_over(pool_queue *q, pool_thread *t, const rt_job *j, usec from) {
    if (!t) return;
    atomic_store_explicit(&t->since, 0, memory_order_relaxed); /* see pool_thread */
    if (LIKELY(atomic_exchange_explicit(&t->silent, 0, memory_order_relaxed))) return;
    rt_event_ext(q->n, EV_JOB_UNSTUCK, (uint64_t)q->kind, (uint64_t)(q->n->s->mono(q->n->s) - from), slice_str(j->what ? j->what : "job"));
}

/* Runs a job that was taken and sends it home. */
static void run(pool_queue *q, pool_thread *t, rt_job *j) {
    rt_node *n = q->n;
    usec now = n->s->mono(n->s), waited = now - j->submitted, ended = now;
    err status = now > j->deadline ? ERR_EXPIRED : ERR_OK;
    rt_trace_step_ext(n, j->trace, EV_TRACE_JOB, (uint64_t)q->kind, (uint64_t)waited, 0);
    if (status == ERR_OK) {
        show(t, j, now);
        j->run(j);
        ended = n->s->mono(n->s);
        show_over(q, t, j, now);
    } else {
        rt_event_ext(n, EV_JOB_EXPIRED, (uint64_t)q->kind, (uint64_t)(now - j->deadline), SLICE_NULL);
    }
    rt_pid owner = j->owner;
    rt_msg *m = rt_msg_new_ext(RT_JOB_DONE, sizeof(rt_job_done));
    *rt_job_done_of(m) = (rt_job_done){&j->box, status};
    m->trace = j->trace;
    if (UNLIKELY(m->trace))
        rt_trace_step_ext(n, m->trace, EV_TRACE_JOB_DONE, (uint64_t)q->kind, (uint64_t)(n->s->mono(n->s) - now), status);
    lock_take(&q->l); /* counted before it comes home: who has the answer sees it counted */
    over(q, j);
    rt_tally_add(&q->wait, waited > 0 ? (uint64_t)waited : 0, 1);
    if (status == ERR_OK) {
        q->stat.done++;
        rt_tally_add(&q->run, (uint64_t)(ended - now), 1);
    } else {
        q->stat.expired++;
    }
    lock_release(&q->l);
    if (status == ERR_OK || !plant(EXPIRED_JOB_UNANSWERED)) rt_post(n, owner, &m);
}

/* With the lock held: whom to wake, after it is released, for the jobs that are ready; NULL: enough threads are on their way. */
static pool_thread *call_one(pool_queue *q) {
    pool_thread *t = q->idle;
    if (!t || q->coming >= q->ready) return NULL;
    q->idle = t->next;
    t->idle = false;
    q->coming++;
    return t;
}

/* With the lock held: sleeps until call_one has chosen this thread, or the pool stops. */
static void fall_idle(pool_queue *q, pool_thread *t) {
    t->next = q->idle;
    q->idle = t;
    t->idle = true;
    while (t->idle && !q->stop) (void)lock_wait(&t->wake, &q->l, -1); /* the loop decides */
    if (!t->idle) q->coming--;
}

static void thread_main(void *arg) {
    pool_thread *t = arg;
    pool_queue *q = t->q;
    sys *s = q->n->s;
    lock_take(&q->l);
    while (!q->stop) {
        rt_job *j = take(q);
        if (!j) {
            rt_msacc_set(s, &t->msacc, RT_MSACC_SLEEP);
            fall_idle(q, t);
            continue;
        }
        lock_release(&q->l);
        rt_msacc_set(s, &t->msacc, RT_MSACC_EMULATOR);
        run(q, t, j);
        rt_msacc_set(s, &t->msacc, RT_MSACC_OTHER);
        lock_take(&q->l);
    }
    lock_release(&q->l);
}

err rt_pool_start(rt_node *n) {
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        pool_queue *q = &n->pool->q[k];
        unsigned want = n->cfg.pool_threads[k] < POOL_THREADS_MAX ? n->cfg.pool_threads[k] : POOL_THREADS_MAX;
        if (want == 0) want = 1; /* a queue that nobody serves would keep its jobs for ever */
        q->stop = false;
        q->threads = mem_zalloc(want * sizeof *q->threads);
        for (unsigned i = 0; i < want; i++) {
            pool_thread *t = &q->threads[i];
            t->q = q;
            lock_cond_init(&t->wake);
            rt_msacc_join(n, &t->msacc, RT_MSACC_POOL, k << 8 | i);
            err e = n->s->thread_start(n->s, rt_pool_kind_name(q->kind), thread_main, t, &t->t);
            if (e) {
                rt_msacc_leave(n, &t->msacc);
                lock_cond_fini(&t->wake);
                return e; /* rt_pool_stop ends the others */
            }
            q->n_threads++;
            lock_take(&q->l);
            q->stat.threads++;
            lock_release(&q->l);
        }
    }
    return ERR_OK;
}

void rt_pool_stop(rt_node *n) {
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        pool_queue *q = &n->pool->q[k];
        lock_take(&q->l);
        q->stop = true;
        q->stat.threads = 0;
        lock_release(&q->l); /* who falls idle from here on sees stop first */
        for (unsigned i = 0; i < q->n_threads; i++) lock_signal(&q->threads[i].wake);
        for (unsigned i = 0; i < q->n_threads; i++) {
            n->s->thread_join(n->s, q->threads[i].t);
            rt_msacc_leave(n, &q->threads[i].msacc);
            lock_cond_fini(&q->threads[i].wake);
        }
        mem_free(q->threads);
        q->threads = q->idle = NULL;
        q->n_threads = 0;
    }
}

void rt_pool_fini(rt_node *n) {
    if (!n->pool) return;
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        pool_queue *q = &n->pool->q[k];
        hmap_fini(&q->leads); /* its entries are among those that wait: no job runs any more */
        for (rt_job *j = q->oldest, *next; j; j = next) {
            next = j->place.newer;
            j->box.free(&j->box);
        }
        lock_fini(&q->l);
    }
    mem_free(n->pool);
    n->pool = NULL;
}

void rt_pool_job_free(rt_box *b) { mem_free(container_of(b, rt_job, box)); }

void rt_pool_submit(rt_ctx *cx, rt_pool_kind kind, rt_job **jp) {
    rt_job *j = *jp;
    *jp = NULL;
    pool_queue *q = &cx->sh->node->pool->q[kind];
    unsigned max = cx->sh->node->cfg.pool_queue_max[kind];
    j->owner = rt_self(cx);
    j->submitted = rt_now(cx);
    memset(&j->place, 0, sizeof j->place);
    if (!j->trace) j->trace = rt_trace(cx);
    pool_thread *wake = NULL;
    lock_take(&q->l);
    uint32_t queued = q->stat.queued, trace = j->trace; /* it may run, and be gone, once it is in the queue */
    bool full = queued >= max;
    q->stat.submitted++;
    if (full) {
        q->stat.refused++;
    } else {
        put(q, j);
        wake = call_one(q);
    }
    lock_release(&q->l);
    rt_trace_step(cx, trace, EV_TRACE_SUBMIT, (uint64_t)kind, queued, 0);
    if (wake) lock_signal(&wake->wake); /* it outlives the shards: rt_node_stop joins them before it stops the pool */
    if (!full) return;
    rt_event(cx, EV_JOB_REFUSED, (uint64_t)kind, queued, 0);
    rt_msg *m = rt_msg_new(cx, RT_JOB_DONE, sizeof(rt_job_done));
    *rt_job_done_of(m) = (rt_job_done){&j->box, ERR_FULL};
    m->trace = trace;
    rt_send(cx, j->owner, &m);
}

static void oldest_running(const pool_queue *q, usec now, rt_pool_stat *out) {
    for (unsigned i = 0; i < q->n_threads; i++) {
        pool_thread *t = &q->threads[i];
        usec since = atomic_load_explicit(&t->since, memory_order_relaxed); /* all: see pool_thread */
        if (since == 0) continue;
        out->stuck += atomic_load_explicit(&t->silent, memory_order_relaxed) == 0;
        if (out->run.what && out->run.age >= now - since) continue;
        out->run = (struct rt_pool_oldest){atomic_load_explicit(&t->what, memory_order_relaxed),
                                           atomic_load_explicit(&t->key, memory_order_relaxed), usec_max(now - since, 0)};
    }
}

void rt_pool_times_read(rt_node *n, rt_pool_kind kind, rt_pool_times *into) {
    rt_tally_read(&n->pool->q[kind].wait, &into->wait_usec);
    rt_tally_read(&n->pool->q[kind].run, &into->run_usec);
}

void rt_pool_stats(rt_node *n, rt_pool_kind kind, rt_pool_stat *out) {
    pool_queue *q = &n->pool->q[kind];
    usec now = n->s->mono(n->s);
    lock_take(&q->l);
    *out = q->stat;
    const rt_job *j = q->oldest;
    if (j) out->wait = (struct rt_pool_oldest){j->what ? j->what : "job", j->key, usec_max(now - j->submitted, 0)};
    if (out->threads > 0) oldest_running(q, now, out); /* they are there as long as they are counted */
    lock_release(&q->l);
}

/* --- what threads are at, for the watchdog ------------------------------------------------------------------------------------------ */
static pool_thread *thread_at(const rt_node *n, unsigned i) {
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        const pool_queue *q = &n->pool->q[k];
        if (i < q->n_threads) return &q->threads[i];
        i -= q->n_threads;
    }
    return NULL;
}

unsigned rt_pool_threads(const rt_node *n) {
    unsigned all = 0;
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) all += n->pool->q[k].n_threads;
    return all;
}

bool rt_pool_doing_of(const rt_node *n, unsigned i, rt_pool_doing *out) {
    pool_thread *t = thread_at(n, i);
    if (!t || atomic_load_explicit(&t->since, memory_order_relaxed) == 0) return false; /* all: see pool_thread */
    *out = (rt_pool_doing){
        .kind = t->q->kind,
        .serial = atomic_load_explicit(&t->serial, memory_order_relaxed),
        .what = atomic_load_explicit(&t->what, memory_order_relaxed),
        .key = atomic_load_explicit(&t->key, memory_order_relaxed),
        .slow_after = atomic_load_explicit(&t->slow_after, memory_order_relaxed),
        .owner = {0, atomic_load_explicit(&t->owner_slot, memory_order_relaxed), atomic_load_explicit(&t->owner_gen, memory_order_relaxed)},
        .thread = t->t};
    return true;
}

bool rt_pool_stuck(rt_node *n, unsigned i, uint64_t serial) {
    pool_thread *t = thread_at(n, i);
    if (!t || !atomic_compare_exchange_strong_explicit(&t->silent, &serial, 0, memory_order_relaxed, memory_order_relaxed)) return false;
    lock_take(&t->q->l); /* relaxed: see pool_thread */
    t->q->stat.n_stuck++;
    lock_release(&t->q->l);
    return true;
}

/* --- the simulator ------------------------------------------------------------------------------------------------------------------ */
uint32_t rt_pool_waiting(rt_node *n, rt_pool_kind kind) {
    rt_pool_stat s;
    rt_pool_stats(n, kind, &s);
    return s.queued;
}

bool rt_pool_run_one(rt_node *n, rt_pool_kind kind) {
    pool_queue *q = &n->pool->q[kind];
    lock_take(&q->l);
    rt_job *j = take(q);
    lock_release(&q->l);
    if (!j) return false;
    run(q, NULL, j);
    return true;
}
