/* The message log keeps what it committed, and only that, through crashes, torn writes, EIO and full disks (promises.md R3, R5, R6). */
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
    sim_scenario_run(sim_scenario_find("log"), &c, &r);
    if (!r.ok) print_message("seed %llu: %s\n", (unsigned long long)seed, r.why);
    return r;
}

static void committed_is_never_lost_and_never_invented_on_every_seed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        sim_result r = run(seed, 0);
        assert_true(r.ok);
    }
}

static void the_same_seed_gives_the_same_digest(void **state) {
    (void)state;
    for (uint64_t seed = 200; seed < 205; seed++) {
        sim_result a = run(seed, 500), b = run(seed, 500);
        assert_true(a.digest == b.digest);
        assert_int_equal(a.steps, b.steps);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_is_never_lost_and_never_invented_on_every_seed),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
