/* micro_table: tables that actors share (rt/table.h): lookups by 1, 2 and more threads beside the same with one lock around them, and
 * writers of different keys beside each other with 1, 8 and 64 stripes. */
#include "base/lock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "micro.h"
#include "rt/node.h"
#include "rt/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define KEYS        100000u
#define LOOKUPS     200000u /* by each thread */
#define WRITES      40000u  /* by each thread */
#define SECTION     256u    /* calls between entering and leaving: as many as a shard might make in a round */
#define THREADS_MAX 8u

typedef enum work { READ, READ_LOCKED, WRITE } work;
typedef struct team {
    rt_node *n;
    rt_tid t;
    lock one;
    work what;
    unsigned threads;
    pthread_barrier_t start, end;
} team;
typedef struct member {
    team *m;
    unsigned id;
    uint64_t failed;
    pthread_t t;
} member;

static uint64_t read_some(team *m, prng *rng) {
    uint64_t failed = 0;
    rt_reader *r = rt_epoch_begin(m->n);
    for (unsigned i = 0; i < SECTION; i++) {
        uint64_t k = prng_below(rng, KEYS), v = KEYS;
        slice found;
        if (m->what == READ_LOCKED) lock_take(&m->one);
        if (rt_table_lookup(r, m->t, slice_of(&k, sizeof k), &found) == ERR_OK) memcpy(&v, found.p, sizeof v);
        if (m->what == READ_LOCKED) lock_release(&m->one);
        failed += v != k;
    }
    rt_epoch_end(&r);
    return failed;
}

static uint64_t write_some(team *m, prng *rng) {
    uint64_t failed = 0;
    rt_reader *r = rt_epoch_begin(m->n);
    for (unsigned i = 0; i < SECTION; i++) {
        uint64_t k = prng_below(rng, KEYS);
        failed += rt_table_insert(r, m->t, slice_of(&k, sizeof k), slice_of(&k, sizeof k)) != ERR_OK;
    }
    rt_epoch_end(&r);
    return failed;
}

static void *member_main(void *arg) {
    member *x = arg;
    prng rng;
    prng_init(&rng, x->id + 1);
    (void)pthread_barrier_wait(&x->m->start); /* one of them gets another answer */
    for (unsigned done = 0; done < (x->m->what == WRITE ? WRITES : LOOKUPS); done += SECTION)
        x->failed += x->m->what == WRITE ? write_some(x->m, &rng) : read_some(x->m, &rng);
    (void)pthread_barrier_wait(&x->m->end);
    return NULL;
}

/* Millions a second, by all together; 0: something failed. */
static double run(team *m, unsigned threads, work what) {
    member x[THREADS_MAX];
    uint64_t failed = 0;
    m->what = what;
    m->threads = threads;
    if (pthread_barrier_init(&m->start, NULL, threads + 1) != 0 || pthread_barrier_init(&m->end, NULL, threads + 1) != 0) return 0;
    for (unsigned i = 0; i < threads; i++) {
        x[i] = (member){.m = m, .id = i};
        if (pthread_create(&x[i].t, NULL, member_main, &x[i]) != 0) panic("no thread"); /* the others would wait for it */
    }
    (void)pthread_barrier_wait(&m->start);
    uint64_t t0 = bench_nsec();
    (void)pthread_barrier_wait(&m->end);
    uint64_t t1 = bench_nsec();
    for (unsigned i = 0; i < threads; i++) {
        (void)pthread_join(x[i].t, NULL);
        failed += x[i].failed;
    }
    (void)pthread_barrier_destroy(&m->start);
    (void)pthread_barrier_destroy(&m->end);
    return failed ? 0 : (double)threads * (what == WRITE ? WRITES : LOOKUPS) * 1e3 / (double)(t1 - t0);
}

typedef struct making {
    unsigned stripes;
    rt_tid t;
    err e;
} making;
static void make(rt_ctx *cx, void *arg) {
    making *m = arg;
    const rt_table_cfg c = {.writers = RT_TABLE_ALL_WRITE, .stripes = m->stripes};
    m->e = rt_table_create(cx, &c, &m->t);
    for (uint64_t k = 0; k < KEYS && !m->e; k++)
        m->e = rt_table_insert(rt_epoch_reader(cx), m->t, slice_of(&k, sizeof k), slice_of(&k, sizeof k));
}

static bool measure(const micro_cfg *c, rt_node *n, unsigned cores) {
    static const unsigned stripes[] = {1, 8, 64};
    making made[ARRAY_LEN(stripes)];
    team m = {.n = n};
    bool ok = true;
    char key[32];
    for (size_t i = 0; i < ARRAY_LEN(stripes); i++) {
        made[i] = (making){.stripes = stripes[i]};
        rt_node_boot(n, 0, make, &made[i]);
        ok &= made[i].e == ERR_OK;
    }
    lock_init(&m.one, rt_node_locks(n), "bench", 0, LOCK_RANK_TEST);
    bench_report_begin(c->json, "table");
    for (unsigned threads = 1; ok && threads <= cores; threads *= 2) {
        micro_row free = {0}, locked = {0};
        m.t = made[ARRAY_LEN(stripes) - 1].t;
        for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
            micro_add(&locked, run(&m, threads, READ_LOCKED));
            micro_add(&free, run(&m, threads, READ));
        }
        (void)snprintf(key, sizeof key, "lookups_%u", threads);
        bench_report_num(key, "M/s, 100,000 keys", micro_median(&free));
        (void)snprintf(key, sizeof key, "lookups_%u_one_lock", threads);
        bench_report_num(key, "M/s, the same under one lock", micro_median(&locked));
        (void)snprintf(key, sizeof key, "lookups_%u_gain", threads);
        bench_report_num(key, "times", micro_median(&free) / micro_median(&locked));
        ok = micro_median(&free) > 0 && micro_median(&locked) > 0;
    }
    micro_row writes[ARRAY_LEN(stripes)] = {{.n = 0}};
    for (unsigned i = 0; ok && i < MICRO_ROUNDS; i++) {
        for (size_t k = 0; k < ARRAY_LEN(stripes); k++) {
            m.t = made[k].t;
            micro_add(&writes[k], run(&m, cores < 2 ? 2 : cores, WRITE));
        }
    }
    for (size_t k = 0; ok && k < ARRAY_LEN(stripes); k++) {
        (void)snprintf(key, sizeof key, "writes_%u_stripes", stripes[k]);
        bench_report_num(key, "M/s, a writer a core", micro_median(&writes[k]));
        ok = micro_median(&writes[k]) > 0;
    }
    bench_report_end();
    lock_fini(&m.one);
    return ok;
}

bool micro_table(const micro_cfg *c) {
    sys *s;
    rt_node *n;
    rt_node_cfg cfg;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cores = online < 1 ? 1 : online > (long)THREADS_MAX ? THREADS_MAX : (unsigned)online;
    if (sys_linux_new(&s) != ERR_OK) return false;
    rt_node_cfg_default(&cfg);
    cfg.ctl_path = cfg.recorder_path = NULL;
    bool ok = rt_node_new(&cfg, s, NULL, &n) == ERR_OK;
    if (ok) {
        ok = measure(c, n, cores);
        rt_node_free(n);
    }
    sys_linux_free(s);
    if (!ok) (void)fputs("murre-bench: table: an entry was not what it should be, or no node\n", stderr);
    return ok;
}
