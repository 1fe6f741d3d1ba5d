/* The nodes of a large cluster all see each other, and none of them loses or hears of another without need (scenario "cluster"); 100 of
 * them are the business of tools/sim-seeds. */
#include "sim/scenario.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static sim_result run(uint64_t seed, unsigned nodes) {
    sim_run_cfg c = {.seed = seed, .nodes = nodes};
    sim_result r;
    sim_scenario_run(sim_scenario_find("cluster"), &c, &r);
    if (!r.ok) print_message("seed %llu: %s\n", (unsigned long long)seed, r.why);
    return r;
}

static void everybody_hears_of_everybody_once(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) assert_true(run(seed, 0).ok);
    assert_true(run(1, 30).ok);
}

static void two_nodes_are_a_cluster(void **state) {
    (void)state;
    assert_true(run(3, 2).ok);
}

static void the_same_seed_gives_the_same_digest(void **state) {
    (void)state;
    sim_result a = run(5, 12), b = run(5, 12);
    assert_true(a.digest == b.digest);
    assert_int_equal(a.steps, b.steps);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_hears_of_everybody_once),
        cmocka_unit_test(two_nodes_are_a_cluster),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
