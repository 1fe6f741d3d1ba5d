/* pool: threads for work that blocks or burns. Each kind has its own queue, bound and threads, so that a slow disk does not starve
 * handshakes.
 *
 *     actor: submit -> [queue, at most queue_max] -> pool thread: deadline? run -> RT_JOB_DONE to the owner through its shard's inbox
 *                  \-> full: RT_JOB_DONE(FULL) at once
 *
 * Invariants: (1) every job submitted comes home exactly once: as RT_JOB_DONE, or, if its owner is gone or the node is freed, by its box's
 * free; (2) the lock is never held while a job runs or a message is sent; (3) a job past its deadline does not start; (4) without threads
 * (simulator) jobs wait until rt_pool_run_one; (5) while jobs are queued and a thread is idle, as many threads are on their way (woken,
 * and not there yet) as there are jobs in the queue.
 *
 * Waking is what a job on a quiet server costs most, so: the thread that fell asleep last is woken first, because its stack and its CPU
 * are warm; each thread has a condition of its own, so that just this one wakes; it is signalled after the lock is released, or it would
 * wake only to wait for that; and nobody is woken while enough threads are on their way. A thread that is sending an answer does not count
 * as such: its own wake-up of the shard often takes its CPU away from it, and the job would wait for that. */
#include "base/mem.h"
#include "rt/core.h"

#define POOL_THREADS_MAX 64u

typedef struct pool_queue pool_queue;
typedef struct pool_thread pool_thread;
struct pool_thread {
    pool_queue *q;
    sys_thread *t;
    rt_msacc msacc;
    lock_cond wake;
    usec began;        /* when it took the job that it runs; 0: none. Guarded by q->l */
    bool idle;         /* in the queue's stack of idle threads; guarded by q->l */
    pool_thread *next; /* below it in that stack; guarded by q->l */
};
struct pool_queue {
    rt_node *n;
    rt_pool_kind kind;
    lock l;
    rt_job *head, *tail;  /* guarded by l */
    rt_pool_stat stat;    /* guarded by l */
    bool stop;            /* guarded by l */
    pool_thread *idle;    /* stack: who fell asleep last is on top; guarded by l */
    uint32_t coming;      /* threads taken from it that do not run yet; guarded by l */
    pool_thread *threads; /* started; written before they run */
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
    }
}

static rt_job *take(pool_queue *q) {
    rt_job *j = q->head;
    if (!j) return NULL;
    q->head = j->next;
    if (!q->head) q->tail = NULL;
    j->next = NULL;
    q->stat.queued--;
    q->stat.running++;
    return j;
}

/* Runs a job that was taken and sends it home. */
static void run(pool_queue *q, rt_job *j) {
    rt_node *n = q->n;
    usec now = n->s->mono(n->s);
    err status = now > j->deadline ? ERR_EXPIRED : ERR_OK;
    if (status == ERR_OK)
        j->run(j);
    else
        rt_event_ext(n, EV_JOB_EXPIRED, (uint64_t)q->kind, (uint64_t)(now - j->deadline), SLICE_NULL);
    rt_pid owner = j->owner;
    rt_msg *m = rt_msg_new_ext(RT_JOB_DONE, sizeof(rt_job_done));
    *rt_job_done_of(m) = (rt_job_done){&j->box, status};
    lock_take(&q->l); /* counted before it comes home: who has the answer sees it counted */
    q->stat.running--;
    if (status == ERR_OK)
        q->stat.done++;
    else
        q->stat.expired++;
    lock_release(&q->l);
    rt_post(n, owner, &m);
}

/* With the lock held: whom to wake, after it is released, for the jobs that are queued; NULL: enough threads are on their way. */
static pool_thread *call_one(pool_queue *q) {
    pool_thread *t = q->idle;
    if (!t || q->coming >= q->stat.queued) return NULL;
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
        t->began = s->mono(s);
        lock_release(&q->l);
        rt_msacc_set(s, &t->msacc, RT_MSACC_EMULATOR);
        run(q, j);
        rt_msacc_set(s, &t->msacc, RT_MSACC_OTHER);
        lock_take(&q->l);
        t->began = 0;
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
        while (q->head) {
            rt_job *j = q->head;
            q->head = j->next;
            j->box.free(&j->box);
        }
        lock_fini(&q->l);
    }
    mem_free(n->pool);
    n->pool = NULL;
}

void rt_pool_submit(rt_ctx *cx, rt_pool_kind kind, rt_job **jp) {
    rt_job *j = *jp;
    *jp = NULL;
    pool_queue *q = &cx->sh->node->pool->q[kind];
    unsigned max = cx->sh->node->cfg.pool_queue_max[kind];
    j->owner = rt_self(cx);
    j->submitted = rt_now(cx);
    j->next = NULL;
    pool_thread *wake = NULL;
    lock_take(&q->l);
    uint32_t queued = q->stat.queued;
    bool full = queued >= max;
    q->stat.submitted++;
    if (full) {
        q->stat.refused++;
    } else {
        if (q->tail)
            q->tail->next = j;
        else
            q->head = j;
        q->tail = j;
        q->stat.queued++;
        wake = call_one(q);
    }
    lock_release(&q->l);
    if (wake) lock_signal(&wake->wake); /* it outlives the shards: rt_node_stop joins them before it stops the pool */
    if (!full) return;
    rt_event(cx, EV_JOB_REFUSED, (uint64_t)kind, queued, 0);
    rt_msg *m = rt_msg_new(cx, RT_JOB_DONE, sizeof(rt_job_done));
    *rt_job_done_of(m) = (rt_job_done){&j->box, ERR_FULL};
    rt_send(cx, j->owner, &m);
}

void rt_pool_stats(rt_node *n, rt_pool_kind kind, rt_pool_stat *out) {
    pool_queue *q = &n->pool->q[kind];
    usec now = n->s->mono(n->s), oldest = now;
    lock_take(&q->l);
    *out = q->stat;
    for (unsigned i = 0; i < q->n_threads; i++)
        if (q->threads[i].began) oldest = usec_min(oldest, q->threads[i].began);
    out->waits = q->head && now > q->head->submitted ? now - q->head->submitted : 0;
    lock_release(&q->l);
    out->runs = now - oldest;
}

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
    run(q, j);
    return true;
}
