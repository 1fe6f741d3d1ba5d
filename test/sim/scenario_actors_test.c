/* The runtime keeps its promises (rt/actor.h) under random use, and a seed names a run. */
#include "sim/scenario.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static sim_result run(uint64_t seed, unsigned ops) {
    sim_run_cfg c = {.seed = seed, .ops = ops};
    sim_result r;
    sim_scenario_run(sim_scenario_find("actors"), &c, &r);
    if (!r.ok) print_message("seed %llu: %s\n", (unsigned long long)seed, r.why);
    return r;
}

static void order_links_monitors_timers_and_jobs_hold_on_every_seed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        sim_result r = run(seed, 400);
        assert_true(r.ok);
    }
}

static void the_same_seed_gives_the_same_digest_and_another_one_another(void **state) {
    (void)state;
    uint64_t last = 0;
    for (uint64_t seed = 100; seed < 106; seed++) {
        sim_result a = run(seed, 300), b = run(seed, 300);
        assert_true(a.ok && b.ok);
        assert_true(a.digest == b.digest);
        assert_int_equal(a.steps, b.steps);
        assert_true(a.digest != last);
        last = a.digest;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_links_monitors_timers_and_jobs_hold_on_every_seed),
        cmocka_unit_test(the_same_seed_gives_the_same_digest_and_another_one_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
