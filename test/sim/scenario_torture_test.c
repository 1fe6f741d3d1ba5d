/* Whatever call of the seam fails, the node keeps the contract (promises.md R27), and a run of torture is named by its seed. */
#include "main/compose_sim.h"
#include "support/cmocka_unit.h"

static sim_result run(const char *scenario, uint64_t seed, unsigned ops, uint64_t nth) {
    compose_sim *server = compose_sim_new(compose_sim_small);
    sim_run_cfg c = {.seed = seed, .ops = ops, .fail_nth = nth};
    sim_result r;
    compose_sim_use(server, &c);
    sim_scenario_run(sim_scenario_find(scenario), &c, &r);
    compose_sim_free(server);
    if (!r.ok) print_message("%s, seed %llu: %s\n", scenario, (unsigned long long)seed, r.why);
    return r;
}

static void no_call_that_fails_breaks_a_promise(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) assert_true(run("torture", seed, 20, 0).ok);
}

static void the_same_seed_gives_the_same_digest(void **state) {
    (void)state;
    assert_true(run("torture", 9, 5, 0).digest == run("torture", 9, 5, 0).digest);
}

static void a_run_is_the_same_up_to_the_call_that_fails(void **state) {
    (void)state;
    sim_result all = run("chat", 3, 0, SIM_FAIL_NONE), one = run("chat", 3, 0, all.calls);
    assert_int_equal(all.failed_call, -1);
    assert_true(all.calls > 500);
    assert_true(one.failed_call >= 0 && one.failed_with != ERR_OK);
    assert_true(run("chat", 3, 0, all.calls + 1).digest == all.digest); /* none that fails: the same run */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_that_fails_breaks_a_promise),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
        cmocka_unit_test(a_run_is_the_same_up_to_the_call_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
