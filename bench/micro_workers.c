/* micro_workers: what a pool of workers adds to a send (by key, to an idle one), and how many empty jobs go through a pool of threads.
 *
 * workers: on each shard a source sends bursts of 256. By key, beside rt_send to plain actors that are spread in the same way; to an idle
 * one, beside rt_send to plain actors of the same shard. On one shard and on two, a thread each. jobs: an actor keeps 256 jobs under way,
 * without a key, with 16 keys, and with one; one to four threads. Beside it a queue of pointers under one mutex between as many threads and
 * one that fills it. */
#include "base/mem.h"
#include "micro.h"
#include "rt/event.h"
#include "rt/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define MESSAGES    1000000u /* a shard */
#define BURST       256u
#define WORKERS     8u /* a shard */
#define SHARDS_MAX  2u
#define JOBS        200000u
#define JOBS_WINDOW 256u
#define THREADS_MAX 4u

#define BENCH_WORK_FIELDS(F) F(U64, n, "number in the stream")
enum { BENCH_WORK = RT_TAG_TEST, BENCH_GO };
RT_MSG_DECLARE(BENCH_WORK, bench_work, "work")
RT_MSG_FIELDS(BENCH_WORK, bench_work, "work")
RT_MSG_FIELDS(BENCH_WORK, bench_go, "send a burst")
typedef bench_work bench_go;
#define BENCH_GO_FIELDS BENCH_WORK_FIELDS
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(BENCH_WORK, bench_work, "work") RT_MSG_DESC(BENCH_GO, bench_go, "send a burst")};

/* --- pools of workers ------------------------------------------------------------------------------------------------------------- */
typedef enum way { PLAIN_SPREAD, BY_KEY, PLAIN_LOCAL, IDLE, WAYS } way;
typedef struct field {
    way how;
    unsigned shards;
    rt_workers *pool;
    rt_pid plain[SHARDS_MAX * WORKERS];
    struct {
        _Atomic uint64_t handled; /* relaxed, written by this shard, read by who waits until all are */
        uint64_t sent, refused;   /* the source's */
        uint8_t pad[104];
    } on[SHARDS_MAX];
} field;

static err field_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    memcpy(st, &arg, sizeof arg);
    return ERR_OK;
}

static err work_handle(rt_ctx *cx, void *st, rt_msg **m) {
    field *f = *(field **)st;
    if ((*m)->tag != BENCH_WORK) return ERR_OK;
    _Atomic uint64_t *n = &f->on[rt_ctx_shard(cx)].handled;
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
    return ERR_OK;
}
static const rt_class WORKER = {.name = "bench-worker", .state_size = sizeof(field *), .init = field_init, .handle = work_handle};

static void send_one(rt_ctx *cx, field *f, uint64_t n) {
    unsigned shard = rt_ctx_shard(cx);
    rt_msg *m = rt_msg_new(cx, BENCH_WORK, sizeof(bench_work));
    bench_work_of(m)->n = n;
    switch (f->how) {
    case PLAIN_SPREAD: rt_send(cx, f->plain[hash_u64(n) % (f->shards * WORKERS)], &m); break;
    case PLAIN_LOCAL: rt_send(cx, f->plain[n % WORKERS * f->shards + shard], &m); break;
    case BY_KEY:
    case IDLE: rt_workers_send(cx, f->pool, n, &m); break;
    case WAYS: break;
    }
}

static err source_handle(rt_ctx *cx, void *st, rt_msg **m) {
    field *f = *(field **)st;
    uint64_t *sent = &f->on[rt_ctx_shard(cx)].sent;
    if ((*m)->tag & RT_MSG_REFUSED) f->on[rt_ctx_shard(cx)].refused++;
    if ((*m)->tag != BENCH_GO) return ERR_OK;
    for (unsigned i = 0; i < BURST && *sent < MESSAGES; i++) send_one(cx, f, (*sent)++);
    if (*sent < MESSAGES) rt_send(cx, rt_self(cx), m);
    return ERR_OK;
}
static const rt_class SOURCE = {.name = "bench-source", .state_size = sizeof(field *), .init = field_init, .handle = source_handle};

static void field_boot(rt_ctx *cx, void *arg) {
    field *f = arg;
    rt_pid pid;
    bool pool = f->how == BY_KEY || f->how == IDLE;
    for (unsigned i = 0; i < WORKERS && !pool; i++)
        if (rt_spawn(cx, &WORKER, f, 0, &f->plain[i * f->shards + rt_ctx_shard(cx)], NULL)) panic("no actor");
    if (rt_spawn(cx, &SOURCE, f, 0, &pid, NULL)) panic("no actor");
    rt_msg *m = rt_msg_new(cx, BENCH_GO, sizeof(bench_go));
    rt_send(cx, pid, &m);
}

static void nap(void) {
    const struct timespec t = {.tv_nsec = 200000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* out of the way */
}

static rt_node *node_new(sys *s, unsigned shards, unsigned threads) {
    rt_node_cfg cfg;
    rt_node *n;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.ctl_path = cfg.recorder_path = NULL;
    cfg.shards = shards;
    cfg.pool_threads[RT_POOL_USER] = threads;
    if (rt_node_new(&cfg, s, NULL, &n)) panic("no node");
    rt_log_level(n, RT_ERROR);
    rt_node_add_msgs(n, MSGS, ARRAY_LEN(MSGS));
    return n;
}

/* Messages a second, of all shards; 0: it could not be measured. */
static double field_rate(sys *s, way how, unsigned shards) {
    field *f = mem_zalloc(sizeof *f);
    rt_node *n = node_new(s, shards, 1);
    f->how = how;
    f->shards = shards;
    rt_workers_cfg c = {.name = "bench",
                        .cls = &WORKER,
                        .arg = f,
                        .mode = how == BY_KEY ? RT_WORKERS_BY_KEY : RT_WORKERS_IDLE,
                        .workers = WORKERS * shards,
                        .queue_max = 1u << 20,
                        .stuck = USEC_PER_SEC};
    if ((how == BY_KEY || how == IDLE) && rt_workers_boot(n, &c, &f->pool)) panic("no pool");
    for (unsigned i = 0; i < shards; i++) rt_node_boot(n, i, field_boot, f);
    uint64_t from = bench_nsec(), all = 0;
    bool ok = rt_node_start(n) == ERR_OK;
    while (ok && all < (uint64_t)MESSAGES * shards) {
        nap();
        all = 0;
        for (unsigned i = 0; i < shards; i++) all += atomic_load_explicit(&f->on[i].handled, memory_order_relaxed) + f->on[i].refused;
    }
    double seconds = (double)(bench_nsec() - from) / 1e9;
    for (unsigned i = 0; i < shards; i++) ok = ok && f->on[i].refused == 0;
    rt_node_free(n);
    mem_free(f);
    return ok ? (double)all / seconds : 0;
}

bool micro_workers(const micro_cfg *c) {
    sys *s;
    if (sys_linux_new(&s)) return false;
    micro_row rate[SHARDS_MAX][WAYS] = {0};
    bool ok = true;
    for (unsigned round = 0; round < MICRO_ROUNDS; round++)
        for (unsigned shards = 1; shards <= SHARDS_MAX; shards++)
            for (unsigned k = 0; k < WAYS && ok; k++) {
                double r = field_rate(s, (way)k, shards);
                ok = r > 0;
                micro_add(&rate[shards - 1][k], r);
            }
    if (ok) {
        bench_report_begin(c->json, "workers");
        for (unsigned i = 0; i < SHARDS_MAX; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "by_key_%u", i + 1);
            micro_report(key, "messages/s on so many shards", true, &rate[i][BY_KEY], &rate[i][PLAIN_SPREAD]);
            (void)snprintf(key, sizeof key, "idle_%u", i + 1);
            micro_report(key, "messages/s on so many shards", true, &rate[i][IDLE], &rate[i][PLAIN_LOCAL]);
        }
        bench_report_end();
    } else {
        (void)fputs("murre-bench: workers: no threads, or work was refused\n", stderr);
    }
    sys_linux_free(s);
    return ok;
}

/* --- pools of threads ------------------------------------------------------------------------------------------------------------- */
typedef struct feeder {
    rt_job job[JOBS_WINDOW];
    uint64_t keys;
    unsigned submitted, done;
    _Atomic bool over; /* release by the actor, acquire by who waits */
} feeder;

static void keep(rt_box *b) { (void)b; } /* it is the feeder's */
static void nothing(rt_job *j) { (void)j; }

static void feed(rt_ctx *cx, feeder *f, rt_job *j) {
    j->key = f->keys ? 1 + f->submitted % f->keys : 0;
    f->submitted++;
    rt_pool_submit(cx, RT_POOL_USER, &j);
}

static err feeder_init(rt_ctx *cx, void *st, const void *arg) {
    memcpy(st, &arg, sizeof arg);
    feeder *f = *(feeder **)st;
    for (unsigned i = 0; i < JOBS_WINDOW; i++) feed(cx, f, &f->job[i]);
    return ERR_OK;
}

static err feeder_handle(rt_ctx *cx, void *st, rt_msg **m) {
    feeder *f = *(feeder **)st;
    rt_job *j = rt_job_of(rt_job_done_of(*m));
    rt_job_done_of(*m)->job = NULL; /* it goes again */
    if (f->submitted < JOBS) feed(cx, f, j);
    if (++f->done == JOBS) atomic_store_explicit(&f->over, true, memory_order_release);
    return ERR_OK;
}
static const rt_class FEEDER = {.name = "feeder", .state_size = sizeof(feeder *), .init = feeder_init, .handle = feeder_handle};

static void feeder_boot(rt_ctx *cx, void *arg) {
    rt_pid pid;
    if (rt_spawn(cx, &FEEDER, arg, 0, &pid, NULL)) panic("no actor");
}

static double job_rate(sys *s, uint64_t keys, unsigned threads) {
    rt_node *n = node_new(s, 1, threads);
    feeder *f = mem_zalloc(sizeof *f);
    f->keys = keys;
    for (unsigned i = 0; i < JOBS_WINDOW; i++) f->job[i] = (rt_job){.box = {keep}, .run = nothing, .deadline = USEC_NEVER};
    rt_node_boot(n, 0, feeder_boot, f);
    uint64_t from = bench_nsec();
    bool ok = rt_node_start(n) == ERR_OK;
    while (ok && !atomic_load_explicit(&f->over, memory_order_acquire)) nap();
    double seconds = (double)(bench_nsec() - from) / 1e9;
    rt_node_free(n);
    mem_free(f);
    return ok ? JOBS / seconds : 0;
}

/* --- the limit: pointers through one queue */
typedef struct bare {
    pthread_mutex_t m;
    pthread_cond_t filled, emptied;
    unsigned queued, taken; /* guarded by m */
    bool over;              /* guarded by m */
} bare;

static void *bare_take(void *arg) {
    bare *b = arg;
    (void)pthread_mutex_lock(&b->m); /* cannot fail: a default mutex that this thread does not hold */
    while (!b->over) {
        if (b->queued == 0) {
            (void)pthread_cond_wait(&b->filled, &b->m);
            continue;
        }
        b->queued--;
        b->taken++;
        (void)pthread_cond_signal(&b->emptied);
        (void)pthread_mutex_unlock(&b->m);
        (void)pthread_mutex_lock(&b->m);
    }
    (void)pthread_mutex_unlock(&b->m);
    return NULL;
}

static double bare_rate(unsigned threads) {
    bare b = {.m = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .emptied = PTHREAD_COND_INITIALIZER};
    pthread_t t[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, bare_take, &b) != 0) return 0;
    uint64_t from = bench_nsec();
    for (unsigned i = 0; i < JOBS; i++) {
        (void)pthread_mutex_lock(&b.m);
        while (b.queued == JOBS_WINDOW) (void)pthread_cond_wait(&b.emptied, &b.m);
        b.queued++;
        (void)pthread_cond_signal(&b.filled);
        (void)pthread_mutex_unlock(&b.m);
    }
    (void)pthread_mutex_lock(&b.m);
    while (b.taken < JOBS) (void)pthread_cond_wait(&b.emptied, &b.m);
    b.over = true;
    (void)pthread_cond_broadcast(&b.filled);
    (void)pthread_mutex_unlock(&b.m);
    double seconds = (double)(bench_nsec() - from) / 1e9;
    for (unsigned i = 0; i < threads; i++) (void)pthread_join(t[i], NULL);
    return JOBS / seconds;
}

bool micro_jobs(const micro_cfg *c) {
    static const uint64_t keys[] = {0, 16, 1};
    static const char *const names[] = {"no_key", "16_keys", "1_key"};
    static const unsigned threads[] = {1, 2, THREADS_MAX};
    sys *s;
    if (sys_linux_new(&s)) return false;
    micro_row rate[ARRAY_LEN(threads)][ARRAY_LEN(keys)] = {0}, limit[ARRAY_LEN(threads)] = {0};
    bool ok = true;
    for (unsigned round = 0; round < MICRO_ROUNDS; round++)
        for (size_t t = 0; t < ARRAY_LEN(threads) && ok; t++) {
            micro_add(&limit[t], bare_rate(threads[t]));
            for (size_t k = 0; k < ARRAY_LEN(keys) && ok; k++) {
                double r = job_rate(s, keys[k], threads[t]);
                ok = r > 0;
                micro_add(&rate[t][k], r);
            }
        }
    if (ok) bench_report_begin(c->json, "jobs");
    for (size_t t = 0; t < ARRAY_LEN(threads) && ok; t++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            char key[48];
            (void)snprintf(key, sizeof key, "%s_%u", names[k], threads[t]);
            micro_report(key, "jobs/s on so many threads", true, &rate[t][k], &limit[t]);
        }
    if (ok)
        bench_report_end();
    else
        (void)fputs("murre-bench: jobs: no threads, or no node\n", stderr);
    sys_linux_free(s);
    return ok;
}
