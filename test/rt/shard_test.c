/* shard: when it looks around before it sleeps. The clock moves by one microsecond at each reading, so readings are time spent. */
#include "rt/rt_world.h"

enum { SPIN = 50, WAITS = 100 };

static world *ticking_world(usec spin, usec nap) {
    world *w = world_new_spin(1, 1, spin);
    (void)world_run(w);
    w->tick = 1;
    w->nap = nap;
    w->readings = w->naps = 0;
    return w;
}

static void who_is_seldom_needed_sleeps_at_once(void **state) {
    (void)state;
    world *w = ticking_world(SPIN, 10000);
    for (unsigned i = 0; i < 10; i++) (void)rt_node_step(w->n, 0, true); /* learns it */
    w->readings = w->naps = 0;
    for (unsigned i = 0; i < WAITS; i++) (void)rt_node_step(w->n, 0, true);
    assert_int_equal(w->naps, WAITS);
    assert_true(w->readings <= 4 * WAITS); /* the round, the sleep */
    world_free(w);
}

static void without_the_setting_it_never_spins(void **state) {
    (void)state;
    world *w = ticking_world(0, 10);
    for (unsigned i = 0; i < WAITS; i++) (void)rt_node_step(w->n, 0, true);
    assert_int_equal(w->naps, WAITS);
    assert_true(w->readings <= 4 * WAITS);
    world_free(w);
}

/* Sleeps that are short make it try; spinning in vain makes it stop: it does so in one wait of three at most. */
static void who_is_needed_soon_spins_and_stops_when_it_is_in_vain(void **state) {
    (void)state;
    world *w = ticking_world(SPIN, 60);
    unsigned spins = 0;
    for (unsigned i = 0; i < WAITS; i++) {
        unsigned before = w->readings;
        (void)rt_node_step(w->n, 0, true);
        spins += w->readings - before >= SPIN;
    }
    assert_int_equal(w->naps, WAITS); /* all in vain */
    assert_true(spins >= WAITS / 8 && spins <= WAITS / 3);
    world_free(w);
}

static void do_port(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    assert_int_equal(rt_port_add(cx, (int)fd, SYS_IN), ERR_OK);
}

/* Readiness that comes within the spin is seen without a sleep. */
static void what_comes_within_the_spin_is_seen_without_a_sleep(void **state) {
    (void)state;
    world *w = ticking_world(SPIN, 60);
    puppet *p = puppet_new(w, 0, &puppet_class);
    tell(w, p, do_port, 3);
    (void)rt_node_step(w->n, 0, false);
    w->level[3] = SYS_IN;
    w->naps = 0;
    for (unsigned i = 0; i < WAITS; i++) (void)rt_node_step(w->n, 0, true);
    assert_int_equal(w->naps, 0);
    assert_int_equal(p->readies, WAITS);
    world_free(w);
    mem_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_seldom_needed_sleeps_at_once),
        cmocka_unit_test(without_the_setting_it_never_spins),
        cmocka_unit_test(who_is_needed_soon_spins_and_stops_when_it_is_in_vain),
        cmocka_unit_test(what_comes_within_the_spin_is_seen_without_a_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
