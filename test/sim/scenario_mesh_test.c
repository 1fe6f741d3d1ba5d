/* The nodes of a cluster find each other through crashes and bad networks, and what one says to another over a connection arrives once and
 * in order. */
#include "sim/scenario.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static sim_result run(uint64_t seed, unsigned nodes, unsigned seconds, bool calm) {
    sim_run_cfg c = {.seed = seed, .nodes = nodes, .ops = seconds, .calm = calm};
    sim_result r;
    sim_scenario_run(sim_scenario_find("mesh"), &c, &r);
    if (!r.ok) print_message("seed %llu: %s\n", (unsigned long long)seed, r.why);
    return r;
}

static void nodes_find_each_other_again_and_a_connection_keeps_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) assert_true(run(seed, 0, 30, false).ok);
}

static void a_calm_cluster_is_whole_soon(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        sim_result r = run(seed, 12, 0, true);
        assert_true(r.ok);
        assert_true(r.took < 60 * USEC_PER_SEC);
    }
}

static void the_same_seed_gives_the_same_digest(void **state) {
    (void)state;
    for (uint64_t seed = 40; seed < 42; seed++) {
        sim_result a = run(seed, 0, 30, false), b = run(seed, 0, 30, false);
        assert_true(a.digest == b.digest);
        assert_int_equal(a.steps, b.steps);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_find_each_other_again_and_a_connection_keeps_order),
        cmocka_unit_test(a_calm_cluster_is_whole_soon),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
