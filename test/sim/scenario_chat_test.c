/* The server keeps the contract (promises.md R1, R3, R5-R8) towards people with phones, as the history checker sees it, and a seed names a
 * run. */
#include "history/text.h"
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

/* A history written as lines and read back is judged as it was in memory. */
static void read_back(void *arg, const history_chat *h) {
    unsigned *runs = arg;
    history_text *t = history_text_new();
    history_chat_cfg c = {.drained = true, .answered = true, .faults = true, .dedup_window = 0, .window = 1};
    history_chat_verdict a, b;
    buf line;
    buf_init(&line, HISTORY_TEXT_LINE_MAX);
    for (size_t i = 0; i < h->n; i++) {
        buf_reset(&line);
        history_text_write(&line, h, i);
        assert_int_equal(history_text_add(t, slice_sub(buf_slice(&line), 0, line.len - 1)), ERR_OK);
    }
    buf_fini(&line);
    (void)history_chat_judge(h, &c, NULL, NULL, &a); /* with another allowance than the run's: it may be broken, and then equally */
    (void)history_chat_judge(history_text_chat(t), &c, NULL, NULL, &b);
    assert_int_equal(a.breaches, b.breaches);
    assert_int_equal(a.first.what, b.first.what);
    assert_int_equal(a.first.record, b.first.record);
    const uint64_t figures[][2] = {{a.sent, b.sent},       {a.sent_again, b.sent_again}, {a.acked, b.acked},
                                   {a.refused, b.refused}, {a.received, b.received},     {a.doubled, b.doubled},
                                   {a.carbons, b.carbons}, {a.copy_only, b.copy_only},   {a.crossed, b.crossed},
                                   {a.faults, b.faults},   {a.resumed, b.resumed},       {a.connections, b.connections}};
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) assert_int_equal(figures[i][0], figures[i][1]);
    *runs += a.sent > 100;
    history_text_free(t);
}

static void a_history_read_back_is_judged_as_it_was(void **state) {
    (void)state;
    compose_sim *server = compose_sim_new(NULL);
    unsigned runs = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        sim_run_cfg c = {.seed = seed, .ops = 100, .on_history = read_back, .history_arg = &runs};
        sim_result r;
        compose_sim_use(server, &c);
        sim_scenario_run(sim_scenario_find("chat"), &c, &r);
        assert_true(r.ok);
    }
    compose_sim_free(server);
    assert_int_equal(runs, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_messages_arrive_once_and_in_order_through_crashes_and_bad_networks),
        cmocka_unit_test(without_a_fault_nothing_comes_twice),
        cmocka_unit_test(the_same_seed_gives_the_same_digest),
        cmocka_unit_test(a_history_read_back_is_judged_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
