/* Histograms that are left on: the tally itself, what events measure, turns of actors, jobs of pools; and how much is in tables. */
#include "rt/maps.h"
#include "rt/tally.h"
#include "rt_world.h"

static uint64_t values(const rt_tally_sum *s) {
    uint64_t n = 0;
    for (unsigned k = 0; k < RT_TALLY_BUCKETS; k++) n += s->b[k];
    return n;
}

/* --- the tally */
static void a_bucket_ends_with_a_power_of_two_and_the_last_one_has_no_end(void **state) {
    (void)state;
    for (unsigned k = 0; k < RT_TALLY_BUCKETS - 1; k++) {
        uint64_t edge = UINT64_C(1) << k;
        rt_tally t = {0};
        rt_tally_sum s = {0};
        rt_tally_add(&t, edge, 1);
        rt_tally_add(&t, edge + 1, 1);
        rt_tally_read(&t, &s);
        assert_int_equal(s.b[k], 1);
        assert_int_equal(s.b[k + 1], 1);
        assert_int_equal(s.sum, 2 * edge + 1);
    }
    rt_tally t = {0};
    rt_tally_sum s = {0};
    rt_tally_add(&t, 0, 1);
    rt_tally_add(&t, UINT64_MAX, 1);
    rt_tally_read(&t, &s);
    assert_true(s.b[0] == 1 && s.b[RT_TALLY_BUCKETS - 1] == 1 && values(&s) == 2);
}

static void several_values_count_as_often_and_readings_add_up(void **state) {
    (void)state;
    rt_tally t = {0};
    rt_tally_sum s = {0};
    rt_tally_add(&t, 3, 8);
    rt_tally_read(&t, &s);
    rt_tally_read(&t, &s);
    assert_true(s.b[2] == 16 && values(&s) == 16 && s.sum == 48);
}

/* --- events */
typedef struct emit {
    rt_event_id id;
    uint64_t a, b, c;
    const char *text;
} emit;
static void do_emit(rt_ctx *cx, void *arg) {
    const emit *e = arg;
    if (e->text)
        rt_event_text(cx, e->id, e->a, e->b, slice_str(e->text));
    else
        rt_event(cx, e->id, e->a, e->b, e->c);
}
static rt_tally_sum measured(world *w, rt_event_id id, unsigned arg) {
    rt_tally_sum s = {0};
    for (size_t i = 0; i < RT_MEASURES; i++)
        if (rt_measures[i].id == id && rt_measures[i].arg == arg) rt_event_measured(w->n, i, &s);
    return s;
}

static void what_events_measure_is_summed_over_shards_and_other_threads_at_any_log_level(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    rt_node_boot(w->n, 0, do_emit, &(emit){EV_LOG_COMMIT, 3, 4000, 700, NULL});
    rt_node_boot(w->n, 1, do_emit, &(emit){EV_LOG_COMMIT, 1, 100, 50, NULL});
    rt_log_level(w->n, RT_DEBUG);
    rt_log_level(w->n, RT_ERROR);
    rt_node_boot(w->n, 1, do_emit, &(emit){EV_LOG_COMMIT, 1, 100, 50, NULL});
    rt_tally_sum records = measured(w, EV_LOG_COMMIT, 0), bytes = measured(w, EV_LOG_COMMIT, 1), time = measured(w, EV_LOG_COMMIT, 2);
    assert_true(values(&records) == 3 && records.sum == 5 && records.b[0] == 2 && records.b[2] == 1);
    assert_true(values(&bytes) == 3 && bytes.sum == 4200 && bytes.b[12] == 1 && bytes.b[7] == 2);
    assert_true(values(&time) == 3 && time.sum == 800 && time.b[10] == 1 && time.b[6] == 2);
    rt_node_boot(w->n, 0, do_emit, &(emit){EV_LONG_HANDLER, 1, 2000, 0, "class"});
    rt_tally_sum handlers = measured(w, EV_LONG_HANDLER, 1);
    assert_true(values(&handlers) == 1 && handlers.sum == 2000);
    rt_event_ext(w->n, EV_JOB_EXPIRED, RT_POOL_DISK, 9, SLICE_NULL);
    rt_tally_sum late = measured(w, EV_JOB_EXPIRED, 1);
    assert_true(values(&late) == 1 && late.sum == 9);
    world_free(w);
}

static void what_is_measured_is_a_named_argument_that_no_text_takes_the_place_of(void **state) {
    (void)state;
    for (size_t i = 0; i < RT_MEASURES; i++) {
        assert_true(rt_measures[i].arg < 3 && *rt_measures[i].doc);
        const char *arg = rt_event_descs[rt_measures[i].id].arg[rt_measures[i].arg];
        assert_true(*arg && strcmp(arg, "text") != 0);
        for (size_t k = 0; k < i; k++) assert_false(rt_measures[k].id == rt_measures[i].id && rt_measures[k].arg == rt_measures[i].arg);
    }
}

/* --- turns */
static void take_time(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)cx, (void)n;
    world_of(rt_node_sys(rt_ctx_node(cx)))->now += p->inits; /* as many microseconds */
}

static void of_64_turns_one_is_measured_with_its_wait_its_messages_and_its_handlers(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    p->on_note = take_time;
    p->inits = 5;
    for (int i = 0; i < 2 * 64; i++) {
        for (uint64_t k = 0; k < 3; k++) {
            rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
            t_note_of(m)->n = k;
            rt_post(w->n, p->pid, &m);
        }
        (void)world_run(w);
    }
    rt_times t = {0};
    rt_stat_times(w->n, &t);
    assert_int_equal(p->n, 2 * 64 * 3);
    assert_true(values(&t.turn_messages) == 2 && t.turn_messages.sum == 6);
    assert_true(values(&t.handler_nsec) == 6 && t.handler_nsec.sum == 6 * 5000);
    assert_int_equal(values(&t.ready_nsec), 2);
    world_free(w);
    mem_free(p);
}

/* The wait is that of the actor behind others whose handlers take long. */
static void a_wait_in_the_run_queue_is_as_long_as_what_runs_before(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p[64];
    for (int i = 0; i < 64; i++) {
        p[i] = puppet_new(w, 0, &puppet_class);
        p[i]->on_note = take_time;
        p[i]->inits = 10;
    }
    for (int i = 0; i < 64; i++) {
        rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
        rt_post(w->n, p[i]->pid, &m);
    }
    (void)world_run(w); /* the last one to be queued is the measured one: 63 run before it */
    rt_times t = {0};
    rt_stat_times(w->n, &t);
    assert_int_equal(values(&t.ready_nsec), 1);
    assert_int_equal(t.ready_nsec.sum, 63 * 10 * 1000);
    world_free(w);
    for (int i = 0; i < 64; i++) mem_free(p[i]);
}

static void note_and_kill(rt_ctx *cx, void *arg) {
    rt_pid pid = ((puppet *)arg)->pid;
    note(cx, pid, 1);
    rt_exit(cx, pid, ERR_KILLED);
}
/* Who ends while it waits for the turn that would be measured is forgotten, and the next one is measured. */
static void a_measured_actor_that_ends_is_forgotten(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class), *q = puppet_new(w, 0, &puppet_class);
    for (int i = 0; i < 63; i++) {
        tell(w, p, take_time, 0);
        (void)world_run(w);
    }
    rt_node_boot(w->n, 0, note_and_kill, q); /* the 64th to be queued: it is to be measured */
    (void)world_run(w);
    for (int i = 0; i < 64; i++) {
        tell(w, p, take_time, 0);
        (void)world_run(w);
    }
    rt_times t = {0};
    rt_stat_times(w->n, &t);
    assert_true(values(&t.turn_messages) == 1 && q->finis == 1 && q->n == 0);
    world_free(w);
    mem_free(p);
    mem_free(q);
}

/* --- jobs */
typedef struct job {
    rt_job j;
    world *w;
    usec takes;
} job;
static void job_run(rt_job *x) {
    job *j = container_of(x, job, j);
    j->w->now += j->takes;
}
static void submit(rt_ctx *cx, puppet *p, uint64_t deadline) {
    (void)p;
    job *j = mem_zalloc(sizeof *j);
    j->j.box.free = rt_pool_job_free;
    j->j.run = job_run;
    j->j.deadline = deadline ? (usec)deadline : USEC_NEVER;
    j->w = world_of(rt_node_sys(rt_ctx_node(cx)));
    j->takes = 300;
    rt_job *x = &j->j;
    rt_pool_submit(cx, RT_POOL_SQL, &x);
}

static void a_job_is_measured_waiting_and_running_and_one_that_expires_only_waiting(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    rt_pool_times t = {0}, other = {0};
    tell(w, p, submit, 0);
    tell(w, p, submit, (uint64_t)w->now + 500);
    (void)world_run(w);
    w->now += 1000;
    assert_true(rt_pool_run_one(w->n, RT_POOL_SQL) && rt_pool_run_one(w->n, RT_POOL_SQL));
    rt_pool_times_read(w->n, RT_POOL_SQL, &t);
    rt_pool_times_read(w->n, RT_POOL_DISK, &other);
    assert_true(values(&t.wait_usec) == 2 && t.wait_usec.sum == 1000 + 1300);
    assert_true(values(&t.run_usec) == 1 && t.run_usec.sum == 300 && t.run_usec.b[9] == 1);
    assert_int_equal(values(&other.wait_usec), 0);
    world_free(w);
    mem_free(p);
}

/* --- tables */
static void link_two(rt_ctx *cx, puppet *p, uint64_t other) {
    (void)p;
    rt_link(cx, *pid_of(other));
}
typedef struct showing {
    rt_map *map;
    const hmap *of;
} showing;
static void show_mine(rt_ctx *cx, void *arg) {
    showing *s = arg;
    rt_map_show(cx, s->map, "mine", 0, s->of);
}
static void tables_of_one_name_are_one_row(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *p = puppet_new(w, 0, &puppet_class), *q = puppet_new(w, 0, &puppet_class);
    rt_maps_size at[RT_MAPS_NAMES];
    size_t n = 0;
    assert_int_equal(rt_maps_sizes(w->n, 0, USEC_PER_SEC, at, &n), ERR_OK);
    assert_true(n == 1 && strcmp(at[0].name, "relations") == 0 && at[0].tables == 1 && at[0].entries == 0);
    tell(w, p, link_two, ARG(q));
    (void)world_run(w);
    assert_int_equal(rt_maps_sizes(w->n, 0, USEC_PER_SEC, at, &n), ERR_OK);
    assert_true(at[0].entries == 2 && at[0].buckets >= 2);
    hmap mine[2];
    rt_map shown[2] = {0};
    for (int i = 0; i < 2; i++) {
        hmap_init(&mine[i]);
        rt_node_boot(w->n, 0, show_mine, &(showing){&shown[i], &mine[i]});
    }
    assert_int_equal(rt_maps_sizes(w->n, 0, USEC_PER_SEC, at, &n), ERR_OK);
    assert_true(n == 2 && strcmp(at[1].name, "mine") == 0 && at[1].tables == 2);
    for (int i = 0; i < 2; i++) hmap_fini(&mine[i]);
    world_free(w);
    mem_free(p);
    mem_free(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_ends_with_a_power_of_two_and_the_last_one_has_no_end),
        cmocka_unit_test(several_values_count_as_often_and_readings_add_up),
        cmocka_unit_test(what_events_measure_is_summed_over_shards_and_other_threads_at_any_log_level),
        cmocka_unit_test(what_is_measured_is_a_named_argument_that_no_text_takes_the_place_of),
        cmocka_unit_test(of_64_turns_one_is_measured_with_its_wait_its_messages_and_its_handlers),
        cmocka_unit_test(a_wait_in_the_run_queue_is_as_long_as_what_runs_before),
        cmocka_unit_test(a_measured_actor_that_ends_is_forgotten),
        cmocka_unit_test(a_job_is_measured_waiting_and_running_and_one_that_expires_only_waiting),
        cmocka_unit_test(tables_of_one_name_are_one_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
