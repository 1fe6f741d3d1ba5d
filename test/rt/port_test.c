/* port: descriptors of actors; and the pool, stepped as the simulator does it. */
#include "rt/rt_world.h"

static void add_in(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    assert_int_equal(rt_port_add(cx, (int)fd, SYS_IN), ERR_OK);
}
static void close_it(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    rt_port_close(cx, (int)fd);
}
static void want_nothing(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    rt_port_interest(cx, (int)fd, 0);
}
static void detach_it(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    assert_int_equal(rt_port_detach(cx, (int)fd), (int)fd);
}

static void readiness_is_delivered_while_it_lasts(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    tell(w, p, add_in, 5);
    (void)world_run(w);
    w->level[5] = SYS_IN | SYS_OUT;
    for (unsigned i = 1; i <= 3; i++) {
        (void)rt_node_step(w->n, 0, false);
        assert_int_equal(p->readies, i);
        assert_int_equal(p->last_events, SYS_IN); /* OUT was not asked for */
    }
    unsigned sets = w->sets;
    p->on_ready = want_nothing;
    (void)world_run(w);
    assert_int_equal(p->readies, 4);
    assert_int_equal(w->sets, sets + 1);
    tell(w, p, want_nothing, 5); /* unchanged: no call */
    (void)world_run(w);
    assert_int_equal(w->sets, sets + 1);
    w->level[5] = SYS_HUP;
    (void)rt_node_step(w->n, 0, false);
    assert_int_equal(p->last_events, SYS_HUP);
    p->on_ready = close_it;
    (void)world_run(w);
    assert_int_equal(w->closes, 1);
    world_free(w);
    mem_free(p);
}

static puppet *other;
static void end_other(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)fd;
    rt_exit(cx, other->pid, ERR_KILLED);
    p->on_ready = NULL;
}
static void readiness_of_a_dead_or_reused_port_is_never_delivered(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class);
    other = puppet_new(w, 0, &puppet_class);
    tell(w, a, add_in, 5);
    tell(w, other, add_in, 6);
    (void)world_run(w);
    a->on_ready = end_other;
    w->level[5] = w->level[6] = SYS_IN; /* both in one batch: the first ends the owner of the second */
    (void)rt_node_step(w->n, 0, false);
    assert_int_equal(other->readies, 0);
    assert_int_equal(other->finis, 1);
    assert_int_equal(w->closes, 1);
    assert_int_equal(w->poll_of[6], 0);
    /* the table's entry is used anew: the old token finds nothing */
    uint64_t old = w->token[6];
    w->level[5] = 0;
    tell(w, a, add_in, 7);
    (void)world_run(w);
    assert_int_equal((uint32_t)w->token[7], (uint32_t)old);
    unsigned before = a->readies;
    w->token[7] = old;
    w->level[7] = SYS_IN;
    (void)rt_node_step(w->n, 0, false);
    assert_int_equal(a->readies, before);
    w->level[7] = 0;
    world_free(w);
    mem_free(a);
    mem_free(other);
}

static void a_detached_descriptor_is_not_closed_and_can_go_to_another_actor(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    tell(w, a, add_in, 5);
    tell(w, a, detach_it, 5);
    tell(w, b, add_in, 5);
    tell(w, a, do_stop, ERR_OK);
    (void)world_run(w);
    assert_int_equal(w->closes, 0);
    w->level[5] = SYS_IN;
    (void)rt_node_step(w->n, 0, false);
    assert_int_equal(b->readies, 1);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void later(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p, (void)a;
    rt_flush_later(cx);
    rt_flush_later(cx);
}
static void flush_comes_once_at_the_end_of_the_round(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    for (int i = 0; i < 5; i++) tell(w, p, later, 0);
    (void)world_run(w);
    assert_int_equal(p->flushes, 1);
    tell(w, p, later, 0);
    tell(w, p, do_stop, ERR_OK);
    (void)world_run(w);
    assert_int_equal(p->flushes, 1);
    world_free(w);
    mem_free(p);
}

/* --- pool ------------------------------------------------------------------------------------------------------------------------ */
typedef struct job {
    rt_job j;
    unsigned *runs, *frees;
} job;
static void job_free(rt_box *b) {
    job *j = container_of(container_of(b, rt_job, box), job, j);
    ++*j->frees;
    mem_free(j);
}
static void job_run(rt_job *x) { ++*container_of(x, job, j)->runs; }
static void submit(rt_ctx *cx, puppet *p, uint64_t deadline) {
    job *j = mem_zalloc(sizeof *j);
    j->j.box.free = job_free;
    j->j.run = job_run;
    j->j.deadline = deadline ? (usec)deadline : USEC_NEVER;
    j->runs = &p->timers;
    j->frees = &p->flushes;
    rt_job *x = &j->j;
    rt_pool_submit(cx, RT_POOL_USER, &x);
    assert_null(x);
}
static void jobs_run_when_asked_expire_and_come_home_exactly_once(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    tell(w, p, submit, 0);
    tell(w, p, submit, (uint64_t)w->now + 10);
    tell(w, p, submit, 0);
    (void)world_run(w);
    assert_int_equal(rt_pool_waiting(w->n, RT_POOL_USER), 3);
    w->now += 1000;
    assert_true(rt_pool_run_one(w->n, RT_POOL_USER));
    assert_true(rt_pool_run_one(w->n, RT_POOL_USER));
    (void)world_run(w);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->log[0].reason, ERR_OK);
    assert_int_equal(p->log[1].reason, ERR_EXPIRED);
    assert_int_equal(p->timers, 1);
    assert_int_equal(p->flushes, 2); /* the puppet does not keep them */
    tell(w, p, do_stop, ERR_OK);
    (void)world_run(w);
    assert_true(rt_pool_run_one(w->n, RT_POOL_USER)); /* its owner is gone */
    (void)world_run(w);
    assert_int_equal(p->flushes, 3);
    assert_false(rt_pool_run_one(w->n, RT_POOL_USER));
    world_free(w);
    mem_free(p);
}
static void submit_many(rt_ctx *cx, puppet *p, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) submit(cx, p, 0);
}
static void a_full_pool_queue_refuses_and_freeing_the_node_frees_the_jobs(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    unsigned max = rt_node_config(w->n)->pool_queue_max[RT_POOL_USER];
    tell(w, p, submit_many, max + 2);
    (void)world_run(w);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->log[0].reason, ERR_FULL);
    rt_pool_stat s;
    rt_pool_stats(w->n, RT_POOL_USER, &s);
    assert_int_equal(s.refused, 2);
    assert_int_equal(s.queued, max);
    world_free(w);
    assert_int_equal(p->flushes, max + 2);
    mem_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readiness_is_delivered_while_it_lasts),
        cmocka_unit_test(readiness_of_a_dead_or_reused_port_is_never_delivered),
        cmocka_unit_test(a_detached_descriptor_is_not_closed_and_can_go_to_another_actor),
        cmocka_unit_test(flush_comes_once_at_the_end_of_the_round),
        cmocka_unit_test(jobs_run_when_asked_expire_and_come_home_exactly_once),
        cmocka_unit_test(a_full_pool_queue_refuses_and_freeing_the_node_frees_the_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
