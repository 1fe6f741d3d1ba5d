/* sup: strategies, restart types, intensity, ordered stop with time-outs. */
#include "rt/rt_world.h"

#include <stdio.h>

enum { KIDS = 3 };
static unsigned stop_order[16], n_stops; /* this program is one thread */
typedef struct family {
    world *w;
    puppet *kid[KIDS];
    puppet *arg[KIDS];
    rt_child child[KIDS];
    rt_sup_spec spec;
    rt_pid sup;
    puppet *watcher;
} family;

static void note_stop(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)cx, (void)a;
    stop_order[n_stops++ % 16] = (unsigned)p->fired_at[7]; /* its number */
}
static const char *const ids[KIDS] = {"a", "b", "c"};

static family *family_new(rt_sup_strategy how, rt_restart restart, uint32_t intensity) {
    family *f = mem_zalloc(sizeof *f);
    f->w = world_new(1, 1);
    for (unsigned i = 0; i < KIDS; i++) {
        f->kid[i] = f->arg[i] = mem_zalloc(sizeof(puppet));
        f->kid[i]->on_fini = note_stop;
        f->kid[i]->fired_at[7] = (usec)i;
        f->child[i] = (rt_child){ids[i], &puppet_class, &f->arg[i], restart, 50 * USEC_PER_MSEC, false};
    }
    f->spec = (rt_sup_spec){how, intensity, USEC_PER_SEC, f->child, KIDS, false};
    n_stops = 0;
    return f;
}
static void family_start(family *f) {
    f->sup = world_spawn(f->w, 0, &rt_sup_class, &f->spec);
    f->watcher = puppet_new(f->w, 0, &puppet_class);
    puppet target = {.pid = f->sup};
    tell(f->w, f->watcher, do_monitor, ARG(&target));
    (void)world_run(f->w);
}
static void family_free(family *f) {
    world_free(f->w);
    for (unsigned i = 0; i < KIDS; i++) mem_free(f->kid[i]);
    mem_free(f->watcher);
    mem_free(f);
}
static void crash(family *f, unsigned i, err e) {
    tell(f->w, f->kid[i], do_fail, e);
    (void)world_run(f->w);
}
static void inits_are(const family *f, unsigned a, unsigned b, unsigned c) {
    assert_int_equal(f->kid[0]->inits, a);
    assert_int_equal(f->kid[1]->inits, b);
    assert_int_equal(f->kid[2]->inits, c);
}

static void one_for_one_restarts_only_the_one(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 5);
    family_start(f);
    crash(f, 1, ERR_IO);
    inits_are(f, 1, 2, 1);
    assert_true(rt_pid_eq(rt_sup_child(f->w->n, f->sup, "b"), f->kid[1]->pid));
    assert_int_equal(f->kid[0]->finis, 0);
    family_free(f);
}
static void one_for_all_stops_the_others_youngest_first_and_restarts_all_in_order(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ALL, RT_PERMANENT, 5);
    family_start(f);
    crash(f, 1, ERR_IO);
    inits_are(f, 2, 2, 2);
    assert_int_equal(n_stops, 3);
    assert_int_equal(stop_order[0], 1);
    assert_int_equal(stop_order[1], 2);
    assert_int_equal(stop_order[2], 0);
    assert_int_equal(f->kid[2]->fini_reason, ERR_SHUTDOWN);
    assert_true(f->kid[0]->pid.gen > 0 && rt_stat_actor_count(f->w->n) == KIDS + 2);
    family_free(f);
}
static void rest_for_one_restarts_the_one_and_the_younger(void **state) {
    (void)state;
    family *f = family_new(RT_REST_FOR_ONE, RT_PERMANENT, 5);
    family_start(f);
    crash(f, 1, ERR_IO);
    inits_are(f, 1, 2, 2);
    assert_int_equal(f->kid[0]->finis, 0);
    family_free(f);
}
static void transient_and_temporary_children_are_restarted_as_they_say(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_TRANSIENT, 5);
    f->child[2].restart = RT_TEMPORARY;
    f->child[0].restart = RT_PERMANENT;
    family_start(f);
    tell(f->w, f->kid[1], do_stop, ERR_OK);
    tell(f->w, f->kid[2], do_fail, ERR_IO);
    tell(f->w, f->kid[0], do_stop, ERR_OK);
    (void)world_run(f->w);
    inits_are(f, 2, 1, 1);
    assert_false(rt_pid_ok(rt_sup_child(f->w->n, f->sup, "b")));
    family_free(f);
    f = family_new(RT_ONE_FOR_ONE, RT_TRANSIENT, 5);
    family_start(f);
    crash(f, 1, ERR_IO);
    inits_are(f, 1, 2, 1);
    family_free(f);
}
static void more_restarts_than_the_intensity_within_the_period_end_the_supervisor(void **state) {
    (void)state;
    for (uint32_t intensity = 0; intensity <= 3; intensity++) {
        family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, intensity);
        family_start(f);
        for (uint32_t i = 0; i < intensity; i++) crash(f, 1, ERR_IO);
        assert_int_equal(f->watcher->n, 0);
        crash(f, 1, ERR_IO);
        assert_int_equal(f->watcher->n, 1);
        assert_int_equal(f->watcher->log[0].reason, ERR_INTENSITY);
        assert_int_equal(f->kid[0]->finis, 1);
        assert_int_equal(f->kid[2]->fini_reason, ERR_SHUTDOWN);
        assert_int_equal(rt_event_count(f->w->n, EV_SUP_GIVE_UP), 1);
        assert_int_equal(rt_stat_actor_count(f->w->n), 1);
        family_free(f);
    }
}
static void slow_crashes_are_restarted_for_ever(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ALL, RT_PERMANENT, 2);
    family_start(f);
    for (int i = 0; i < 20; i++) {
        crash(f, 2, ERR_IO);
        f->w->now += USEC_PER_SEC * 6 / 10;
    }
    inits_are(f, 21, 21, 21);
    family_free(f);
}
static void ignore_shutdown(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)a, (void)p;
    rt_trap_exit(cx, true);
}
static void a_child_that_does_not_stop_is_killed_after_its_time(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ALL, RT_PERMANENT, 5);
    f->kid[2]->on_init = ignore_shutdown;
    family_start(f);
    crash(f, 0, ERR_IO);
    assert_int_equal(f->kid[2]->finis, 0);
    assert_int_equal(count_tag(f->kid[2], RT_EXIT), 1);
    assert_int_equal(f->kid[1]->finis, 0); /* its turn has not come */
    f->w->now += 49 * USEC_PER_MSEC;
    (void)world_run(f->w);
    assert_int_equal(f->kid[2]->finis, 0);
    f->w->now += 2 * USEC_PER_MSEC;
    (void)world_run(f->w);
    assert_int_equal(f->kid[2]->fini_reason, ERR_KILLED);
    inits_are(f, 2, 2, 2);
    family_free(f);
}
static void shut_down(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_exit(cx, *pid_of(a), ERR_SHUTDOWN);
}
static void a_supervisor_told_to_shut_down_stops_its_children_in_reverse_order(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 5);
    family_start(f);
    puppet target = {.pid = f->sup};
    tell(f->w, f->watcher, shut_down, ARG(&target));
    (void)world_run(f->w);
    assert_int_equal(f->watcher->log[0].reason, ERR_SHUTDOWN);
    assert_int_equal(n_stops, 3);
    for (unsigned i = 0; i < 3; i++) assert_int_equal(stop_order[i], 2 - i);
    family_free(f);
}
static void killing_the_supervisor_takes_the_children_along(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 5);
    family_start(f);
    puppet target = {.pid = f->sup};
    tell(f->w, f->watcher, do_kill, ARG(&target));
    (void)world_run(f->w);
    assert_int_equal(rt_stat_actor_count(f->w->n), 1);
    family_free(f);
}
static char ended[128]; /* why the node was asked to end; this program is one thread */
static void note_end(sys *s, const char *why) { (void)s, (void)snprintf(ended, sizeof ended, "%s", why); }
static void the_end_of_a_vital_supervisor_is_that_of_the_node(void **state) {
    (void)state;
    static const err reason[] = {ERR_KILLED, ERR_SHUTDOWN};
    for (unsigned i = 0; i < ARRAY_LEN(reason); i++) {
        family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 5);
        f->spec.vital = true;
        f->w->s.end = note_end;
        ended[0] = 0;
        family_start(f);
        puppet target = {.pid = f->sup};
        tell(f->w, f->watcher, reason[i] == ERR_KILLED ? do_kill : shut_down, ARG(&target));
        (void)world_run(f->w);
        assert_non_null(strstr(ended, "the supervisor of a ended ("));
        assert_non_null(strstr(ended, err_text(reason[i])));
        family_free(f);
    }
}
static void a_vital_supervisor_that_gives_up_ends_the_node_once(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 1);
    f->spec.vital = true;
    f->w->s.end = note_end;
    ended[0] = 0;
    family_start(f);
    crash(f, 1, ERR_IO);
    assert_string_equal(ended, "");
    crash(f, 1, ERR_IO);
    assert_string_equal(ended, "b reached its restart intensity: the node ends");
    family_free(f);
}
static void a_vital_supervisor_is_freed_with_its_node_in_silence(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 1);
    f->spec.vital = true;
    f->w->s.end = note_end;
    ended[0] = 0;
    family_start(f);
    family_free(f);
    assert_string_equal(ended, "");
}
static void a_child_that_fails_in_init_at_the_start_ends_the_supervisor_with_its_reason(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 5);
    f->kid[2]->init_result = ERR_CONFIG;
    spawn_arg a = {&rt_sup_class, &f->spec, RT_PID_NONE, ERR_OK};
    rt_node_boot(f->w->n, 0, spawn_boot, &a);
    (void)world_run(f->w);
    assert_int_equal(a.e, ERR_CONFIG);
    assert_int_equal(rt_stat_actor_count(f->w->n), 0);
    assert_int_equal(f->kid[0]->finis, 1);
    f->watcher = NULL;
    family_free(f);
}
static void a_restart_that_fails_in_init_counts_towards_the_intensity(void **state) {
    (void)state;
    family *f = family_new(RT_ONE_FOR_ONE, RT_PERMANENT, 3);
    family_start(f);
    f->kid[1]->init_result = ERR_CONFIG;
    crash(f, 1, ERR_IO);
    assert_int_equal(f->watcher->log[0].reason, ERR_INTENSITY);
    assert_int_equal(f->kid[1]->inits, 4);
    family_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_for_one_restarts_only_the_one),
        cmocka_unit_test(one_for_all_stops_the_others_youngest_first_and_restarts_all_in_order),
        cmocka_unit_test(rest_for_one_restarts_the_one_and_the_younger),
        cmocka_unit_test(transient_and_temporary_children_are_restarted_as_they_say),
        cmocka_unit_test(more_restarts_than_the_intensity_within_the_period_end_the_supervisor),
        cmocka_unit_test(slow_crashes_are_restarted_for_ever),
        cmocka_unit_test(a_child_that_does_not_stop_is_killed_after_its_time),
        cmocka_unit_test(a_supervisor_told_to_shut_down_stops_its_children_in_reverse_order),
        cmocka_unit_test(killing_the_supervisor_takes_the_children_along),
        cmocka_unit_test(the_end_of_a_vital_supervisor_is_that_of_the_node),
        cmocka_unit_test(a_vital_supervisor_that_gives_up_ends_the_node_once),
        cmocka_unit_test(a_vital_supervisor_is_freed_with_its_node_in_silence),
        cmocka_unit_test(a_child_that_fails_in_init_at_the_start_ends_the_supervisor_with_its_reason),
        cmocka_unit_test(a_restart_that_fails_in_init_counts_towards_the_intensity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
