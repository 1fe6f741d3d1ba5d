/* The server keeps the contract (promises.md R1, R3, R5-R8) towards people with phones, as the history checker sees it, and a seed names a
 * run. */
#include "main/compose_sim.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static sim_result run(uint64_t seed, unsigned seconds, bool calm) {
    compose_sim *server = compose_sim_new(NULL);
    sim_run_cfg c = {.seed = seed, .ops = seconds, .calm = calm};
    sim_result r;
    compose_sim_use(server, &c);
    sim_scenario_run(sim_scenario_find("chat"), &c, &r);
    compose_sim_free(server);
    if (!r.ok) print_message("seed %llu: %s\n", (unsigned long long)seed, r.why);
    return r;
}

static void accepted_messages_arrive_once_and_in_order_through_crashes_and_bad_networks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) assert_true(run(seed, 200, false).ok);
}

static void without_a_fault_nothing_comes_twice(void **state) {
    (void)state;
    for (uint64_t seed = 50; seed <= 53; seed++) assert_true(run(seed, 100, true).ok);
}

static void the_same_seed_gives_the_same_digest(void **state) {
    (void)state;
    for (uint64_t seed = 7; seed <= 9; seed++) {
        sim_result a = run(seed, 100, false), b = run(seed, 100, false);
        assert_true(a.digest == b.digest);
        assert_int_equal(a.steps, b.steps);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_messages_arrive_once_and_in_order_through_crashes_and_bad_networks),
        cmocka_unit_test(without_a_fault_nothing_comes_twice),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
