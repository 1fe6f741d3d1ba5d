/* Jobs with keys: one at a time of each, in order, taking turns; a blocked one holds one thread; whose end a report as stuck belongs to. */
#include "rt/node.h"
#include "rt/pool_watch.h"
#include "rt_world.h"

#include <stdatomic.h>

/* --- stepped: who runs when ------------------------------------------------------------------------------------------------------- */
typedef struct keyed {
    rt_job j;
    uint64_t n;    /* key * 100 + number within it */
    uint64_t *ran; /* in order, 0-ended */
    unsigned *frees;
} keyed;
static uint64_t order[64];
static unsigned frees;
static void keyed_free(rt_box *b) {
    keyed *k = container_of(container_of(b, rt_job, box), keyed, j);
    ++*k->frees;
    mem_free(k);
}
static void keyed_run(rt_job *j) {
    keyed *k = container_of(j, keyed, j);
    size_t i = 0;
    while (k->ran[i]) i++;
    k->ran[i] = k->n;
}
static void submit(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p;
    keyed *k = mem_zalloc(sizeof *k);
    k->j = (rt_job){.box.free = keyed_free, .run = keyed_run, .what = "keyed", .key = n / 100, .deadline = USEC_NEVER};
    k->n = n;
    k->ran = order;
    k->frees = &frees;
    rt_job *j = &k->j;
    rt_pool_submit(cx, RT_POOL_DISK, &j);
}
static world *world_with(puppet **p, const uint64_t *jobs, size_t n) {
    world *w = world_new(1, 1);
    memset(order, 0, sizeof order);
    frees = 0;
    *p = puppet_new(w, 0, &puppet_class);
    for (size_t i = 0; i < n; i++) {
        tell(w, *p, submit, jobs[i]);
        (void)world_run(w);
        w->now += 10;
    }
    return w;
}

static void jobs_of_one_key_keep_their_order_and_keys_take_turns(void **state) {
    (void)state;
    const uint64_t jobs[] = {101, 102, 103, 104, 201, 1, 202, 301};
    const uint64_t turns[] = {101, 201, 1, 301, 102, 202, 103, 104}; /* the long queue of key 1 delays each of the others by one job */
    puppet *p;
    world *w = world_with(&p, jobs, ARRAY_LEN(jobs));
    rt_pool_stat s;
    rt_pool_stats(w->n, RT_POOL_DISK, &s);
    assert_int_equal(s.queued, ARRAY_LEN(jobs));
    assert_int_equal(s.held, 4);
    assert_string_equal(s.wait.what, "keyed");
    assert_int_equal(s.wait.key, 1); /* the oldest */
    assert_true(s.wait.age >= 80);
    while (rt_pool_run_one(w->n, RT_POOL_DISK)) {
    }
    assert_memory_equal(order, turns, sizeof turns);
    (void)world_run(w);
    assert_int_equal(frees, ARRAY_LEN(jobs)); /* each came home */
    rt_pool_stats(w->n, RT_POOL_DISK, &s);
    assert_int_equal(s.queued + s.held + s.running, 0);
    assert_null(s.wait.what);
    world_free(w);
    mem_free(p);
}

static void jobs_that_wait_for_their_key_are_freed_with_the_node(void **state) {
    (void)state;
    const uint64_t jobs[] = {101, 102, 103, 1, 201};
    puppet *p;
    world *w = world_with(&p, jobs, ARRAY_LEN(jobs));
    assert_true(rt_pool_run_one(w->n, RT_POOL_DISK));
    world_free(w);
    assert_int_equal(frees, ARRAY_LEN(jobs));
    mem_free(p);
}

/* --- live: a slow file ------------------------------------------------------------------------------------------------------------ */
#define PATIENCE (20 * USEC_PER_SEC)
enum { SLOW_JOBS = 50, OTHER_JOBS = 300, THREADS = 2 };
typedef struct gate {
    lock l;
    lock_cond open, others;
    bool is_open;            /* guarded by l */
    unsigned in, most, late; /* guarded by l: jobs of the slow key at the gate; most at a time; those that gave up */
    unsigned others_done;    /* guarded by l */
    uint64_t last;           /* guarded by l: number of the last job of the slow key that began */
    bool disorder;           /* guarded by l */
} gate;
typedef struct gated {
    rt_job j;
    gate *g;
    uint64_t n;
    rt_box *kept;
} gated;
static void slow_run(rt_job *j) {
    gate *g = container_of(j, gated, j)->g;
    lock_take(&g->l);
    if (++g->in > g->most) g->most = g->in;
    if (container_of(j, gated, j)->n != ++g->last) g->disorder = true;
    while (!g->is_open)
        if (!lock_wait(&g->open, &g->l, PATIENCE)) g->is_open = ++g->late > 0;
    g->in--;
    lock_release(&g->l);
}
static void other_run(rt_job *j) {
    gate *g = container_of(j, gated, j)->g;
    lock_take(&g->l);
    if (++g->others_done == OTHER_JOBS) lock_broadcast(&g->others);
    lock_release(&g->l);
}
static void submit_gated(rt_ctx *cx, gate *g, void (*run)(rt_job *), uint64_t key, uint64_t n) {
    gated *x = mem_zalloc(sizeof *x);
    *x = (gated){.j = {.box.free = rt_pool_job_free, .run = run, .key = key, .deadline = USEC_NEVER}, .g = g, .n = n};
    rt_job *j = &x->j;
    rt_pool_submit(cx, RT_POOL_DISK, &j);
}
static err gated_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    gate *g = *(gate *const *)arg;
    for (uint64_t i = 0; i < SLOW_JOBS; i++) submit_gated(cx, g, slow_run, 7, i + 1);
    for (uint64_t i = 0; i < OTHER_JOBS; i++) submit_gated(cx, g, other_run, i % 3 == 0 ? 0 : 100 + i % 5, i);
    return ERR_OK;
}
static const rt_class gated_class = {.name = "gated", .init = gated_init};
static void gated_boot(rt_ctx *cx, void *arg) {
    rt_pid pid;
    assert_int_equal(rt_spawn(cx, &gated_class, &arg, 0, &pid, NULL), ERR_OK);
}

static void a_blocked_file_holds_one_thread_and_delays_no_other_file(void **state) {
    (void)state;
    sys *s;
    rt_node *n;
    rt_node_cfg cfg;
    gate g = {.in = 0};
    assert_int_equal(sys_linux_new(&s), ERR_OK);
    rt_node_cfg_default(&cfg);
    cfg.pool_threads[RT_POOL_DISK] = THREADS;
    assert_int_equal(rt_node_new(&cfg, s, NULL, &n), ERR_OK);
    lock_init(&g.l, rt_node_locks(n), "gate", 0, LOCK_RANK_TEST);
    lock_cond_init(&g.open);
    lock_cond_init(&g.others);
    rt_node_boot(n, 0, gated_boot, &g);
    assert_int_equal(rt_node_start(n), ERR_OK);
    lock_take(&g.l);
    bool waits = true;
    while (waits && g.others_done < OTHER_JOBS) waits = lock_wait(&g.others, &g.l, PATIENCE);
    assert_int_equal(g.others_done, OTHER_JOBS); /* all of the others, though 50 jobs of the slow file came before them */
    assert_false(g.is_open);
    lock_release(&g.l);
    rt_pool_stat st;
    do rt_pool_stats(n, RT_POOL_DISK, &st);
    while (st.running > 1 || st.done < OTHER_JOBS); /* counted just after it ran */
    assert_int_equal(st.queued, SLOW_JOBS - 1);
    assert_int_equal(st.held, SLOW_JOBS - 1);
    assert_int_equal(st.run.key, 7);
    assert_int_equal(st.wait.key, 7);
    lock_take(&g.l);
    g.is_open = true;
    lock_broadcast(&g.open);
    lock_release(&g.l);
    do rt_pool_stats(n, RT_POOL_DISK, &st);
    while (st.done < SLOW_JOBS + OTHER_JOBS);
    rt_node_stop(n);
    assert_int_equal(g.most, 1);
    assert_int_equal(g.late, 0);
    assert_false(g.disorder);
    lock_cond_fini(&g.open);
    lock_cond_fini(&g.others);
    lock_fini(&g.l);
    rt_node_free(n);
    sys_linux_free(s);
}

/* --- live: reports of stuck jobs ---------------------------------------------------------------------------------------------------- */
typedef struct turns { /* jobs one after the other, each until the test lets it end */
    lock l;
    lock_cond changed;
    unsigned began, may_end, late; /* guarded by l; late: gave up */
} turns;
typedef struct turn {
    rt_job j;
    turns *of;
} turn;
static void turn_run(rt_job *j) {
    turns *t = container_of(j, turn, j)->of;
    lock_take(&t->l);
    unsigned n = ++t->began;
    lock_broadcast(&t->changed);
    while (t->may_end < n)
        if (!lock_wait(&t->changed, &t->l, PATIENCE)) t->may_end = n, t->late++;
    lock_release(&t->l);
}
static err turns_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    for (unsigned i = 0; i < 3; i++) {
        turn *x = mem_zalloc(sizeof *x);
        x->j = (rt_job){.box.free = rt_pool_job_free, .run = turn_run, .deadline = USEC_NEVER, .slow_after = 3600 * USEC_PER_SEC};
        x->of = *(turns *const *)arg;
        rt_job *j = &x->j;
        rt_pool_submit(cx, RT_POOL_DISK, &j);
    }
    return ERR_OK;
}
static const rt_class turns_class = {.name = "turns", .init = turns_init};
static void turns_boot(rt_ctx *cx, void *arg) {
    rt_pid pid;
    assert_int_equal(rt_spawn(cx, &turns_class, &arg, 0, &pid, NULL), ERR_OK);
}
/* Lets all before job n end, and waits until that one runs: its serial. */
static uint64_t serial_of(rt_node *n, turns *t, unsigned job) {
    rt_pool_doing d = {.serial = 0};
    lock_take(&t->l);
    t->may_end = job - 1;
    lock_broadcast(&t->changed);
    bool waits = true;
    while (waits && t->began < job) waits = lock_wait(&t->changed, &t->l, PATIENCE);
    assert_int_equal(t->began, job);
    lock_release(&t->l);
    assert_true(rt_pool_doing_of(n, 0, &d));
    return d.serial;
}

static void a_report_as_stuck_that_comes_late_is_not_the_next_jobs(void **state) {
    (void)state;
    sys *s;
    rt_node *n;
    rt_node_cfg cfg;
    rt_pool_stat st;
    turns t = {.began = 0};
    assert_int_equal(sys_linux_new(&s), ERR_OK);
    rt_node_cfg_default(&cfg);
    cfg.pool_threads[RT_POOL_DISK] = 1;
    assert_int_equal(rt_node_new(&cfg, s, NULL, &n), ERR_OK);
    lock_init(&t.l, rt_node_locks(n), "turns", 0, LOCK_RANK_TEST);
    lock_cond_init(&t.changed);
    rt_node_boot(n, 0, turns_boot, &t);
    assert_int_equal(rt_node_start(n), ERR_OK);
    uint64_t first = serial_of(n, &t, 1), second = serial_of(n, &t, 2);
    assert_int_not_equal(first, second);
    assert_false(rt_pool_stuck(n, 0, first)); /* it has ended */
    rt_pool_stats(n, RT_POOL_DISK, &st);
    assert_int_equal(st.stuck + st.n_stuck, 0);
    uint64_t third = serial_of(n, &t, 3);
    assert_int_equal(rt_event_count(n, EV_JOB_UNSTUCK), 0);
    assert_true(rt_pool_stuck(n, 0, third));
    assert_false(rt_pool_stuck(n, 0, third)); /* once */
    rt_pool_stats(n, RT_POOL_DISK, &st);
    assert_int_equal(st.stuck, 1);
    assert_int_equal(st.n_stuck, 1);
    lock_take(&t.l);
    t.may_end = 3;
    lock_broadcast(&t.changed);
    lock_release(&t.l);
    do rt_pool_stats(n, RT_POOL_DISK, &st);
    while (st.done < 3); /* counted after its end was told */
    assert_int_equal(rt_event_count(n, EV_JOB_UNSTUCK), 1);
    assert_int_equal(st.stuck, 0);
    rt_node_stop(n);
    assert_int_equal(t.late, 0);
    lock_cond_fini(&t.changed);
    lock_fini(&t.l);
    rt_node_free(n);
    sys_linux_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_one_key_keep_their_order_and_keys_take_turns),
        cmocka_unit_test(jobs_that_wait_for_their_key_are_freed_with_the_node),
        cmocka_unit_test(a_blocked_file_holds_one_thread_and_delays_no_other_file),
        cmocka_unit_test(a_report_as_stuck_that_comes_late_is_not_the_next_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
