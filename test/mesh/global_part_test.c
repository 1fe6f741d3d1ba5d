/* Lost connections in the machine of `global` (mesh/global_part.c): what becomes of a cluster in which some nodes do not see each other.
 * What real Erlang nodes make of it is in test/interop/otp/test_global.py. */
#include "global_world.h"

#define SEEDS 40u

static void all_know_all(void) {
    for (unsigned a = 0; a < gw->count; a++)
        for (unsigned b = 0; b < gw->count; b++) assert_int_equal(g_knows(a, b), a != b);
}

static void say_lost(unsigned a, unsigned to, int64_t op, unsigned lost) {
    buf b;
    buf_init(&b, 1000);
    mesh_global_put_lost_connection(&b, slice_str(gw->n[a].name), 576460752303423488u, op, slice_str(gw->n[lost].name));
    g_post(a, to, g_pid(a, 1), false, buf_slice(&b));
    buf_fini(&b);
    g_run();
}

static void three(void) {
    g_world(3, 1);
    g_up(0, 1), g_up(1, 2), g_up(0, 2);
    g_wait(10 * USEC_PER_SEC);
    all_know_all();
}

static void a_lost_node_is_left_by_all(void **state) {
    (void)state;
    three();
    say_lost(0, 1, -5, 2); /* a cannot reach c: b leaves c, which then goes */
    assert_true(!g_knows(1, 2) && !g_knows(2, 1));
    assert_int_equal(gw->n[2].disconnected, 1); /* c was asked to */
    assert_int_equal(gw->n[1].parted, 1);
    assert_true(g_knows(0, 1) && g_knows(1, 0)); /* those two stay together */
    g_end();
}

static void a_report_about_this_node_parts_it_from_the_reporter(void **state) {
    (void)state;
    three();
    say_lost(0, 1, 5, 1);
    assert_true(!g_knows(1, 0) && !g_knows(2, 1) && g_knows(0, 2)); /* c has heard of it from b */
    g_end();
}

static void a_report_counts_once(void **state) {
    (void)state;
    three();
    say_lost(0, 1, 5, 2);
    assert_false(g_knows(1, 2));
    g_up(1, 2);
    g_wait(30 * USEC_PER_SEC);
    assert_true(g_knows(1, 2));
    say_lost(0, 1, 5, 2);
    assert_true(g_knows(1, 2)); /* an old one */
    g_wait(MESH_GLOBAL_LOST_KEEP + USEC_PER_SEC);
    assert_int_equal(gw->n[1].g->lost.count, 0);
    say_lost(0, 1, 6, 2);
    assert_false(g_knows(1, 2));
    g_end();
}

/* Of two nodes of this kind one reports: the others then leave one of them, not both. */
static void a_cut_between_two_leaves_one_out(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        g_world(4, seed);
        for (unsigned a = 0; a < 4; a++)
            for (unsigned b = 0; b < a; b++) g_up(a, b);
        g_wait(30 * USEC_PER_SEC);
        all_know_all();
        g_cut(1, 2);
        g_wait(5 * USEC_PER_SEC);
        assert_true(g_knows(0, 1) && g_knows(1, 3) && g_knows(3, 0) && g_knows(1, 0));
        for (unsigned i = 0; i < 4; i++) assert_false(g_knows(i, 2) || g_knows(2, i));
        g_end();
    }
}

static void who_cannot_be_reached_is_not_waited_for(void **state) {
    (void)state;
    g_no_dialling = true;
    g_world(3, 1);
    g_up(0, 1);
    g_wait(2 * USEC_PER_SEC);
    g_up(1, 2);
    assert_int_equal(g_wanted(2, MESH_GLOBAL_NAME, "x", 102), ERR_OK);
    g_wait(5 * USEC_PER_SEC);
    assert_true(g_knows(0, 2) && g_who(0, "x") == 102); /* it is introduced, and its names are known */
    g_wait(MESH_GLOBAL_WAIT_OTHERS);
    assert_true(!g_knows(0, 2) && g_who(0, "x") == 0 && g_knows(0, 1));
    assert_false(g_knows(1, 2) || g_knows(2, 1)); /* nobody sees both: a has said so, though it had never heard of c what it is */
    assert_true(g_quiet());
    g_end();
    g_no_dialling = false;
}

/* Who was introduced, and has never said init_connect, says in in_sync what it is: so of those two, too, one reports. */
static void a_cut_between_two_that_were_introduced(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        g_world(4, seed);
        g_up(0, 1), g_up(2, 3);
        g_wait(5 * USEC_PER_SEC);
        g_up(0, 2);
        g_wait(30 * USEC_PER_SEC);
        all_know_all();
        for (unsigned a = 0; a < 4; a++)
            for (unsigned b = 0; b < 4; b++)
                if (a != b) assert_int_equal(mesh_global_node_find(gw->n[a].g, slice_str(gw->n[b].name))->kin, MESH_GLOBAL_MURRE);
        g_cut(1, 3);
        g_wait(5 * USEC_PER_SEC);
        assert_true(g_knows(0, 1) && g_knows(1, 2) && g_knows(2, 0));
        for (unsigned i = 0; i < 3; i++) assert_false(g_knows(i, 3) || g_knows(3, i));
        g_end();
    }
}

/* --- as measured with nodes of OTP 25: a and b see c, and the connection of b and c is lost; b is an Erlang node, c this one, unless said
 */
static void deaf(unsigned i) { /* what was sent to it is not heard */
    for (unsigned k = 0; k < NODES_MAX; k++) g_clear(k, i);
}

/* It does not report an Erlang node: that node does, which leaves this one out; both reports would part the healthy ones. */
static void an_erlang_node_is_not_reported(void **state) {
    (void)state;
    three();
    g_as_erlang();
    g_cut(1, 2);
    g_wait(5 * USEC_PER_SEC);
    assert_true(g_knows(0, 1) && g_knows(0, 2)); /* nobody has said anything */
    say_lost(1, 0, 5, 2);
    assert_true(g_knows(0, 1) && g_knows(1, 0) && !g_knows(0, 2) && !g_knows(2, 0));
    assert_int_equal(gw->n[0].conn[2], 0);
    g_end();
}

/* One that is asked to disconnect and does not is disconnected by who has asked, in the end. */
static void who_does_not_obey_is_made_to(void **state) {
    (void)state;
    three();
    buf b;
    buf_init(&b, 1000);
    mesh_global_put_lost_connection(&b, slice_str(gw->n[1].name), 5, 5, slice_str(gw->n[2].name));
    g_post(1, 0, g_pid(1, 1), false, buf_slice(&b));
    buf_fini(&b);
    g_take(container_of(list_pop_front(&gw->lines[1][0]), packet, in_line));
    deaf(2);
    g_run();
    assert_true(!g_knows(0, 2) && gw->n[0].conn[2] != 0);
    g_wait(MESH_GLOBAL_WAIT_OTHERS - USEC_PER_SEC);
    assert_true(gw->n[0].conn[2] != 0);
    g_wait(2 * USEC_PER_SEC);
    assert_true(gw->n[0].conn[2] == 0 && g_knows(0, 1));
    g_end();
}

/* Two that have left each other at the same time: each asks, neither knows the other any more, and both disconnect. */
static void two_may_ask_each_other(void **state) {
    (void)state;
    g_world(4, 1);
    for (unsigned a = 0; a < 4; a++)
        for (unsigned b = 0; b < a; b++) g_up(a, b);
    g_wait(30 * USEC_PER_SEC);
    all_know_all();
    for (unsigned to = 0; to < 2; to++) { /* c tells a that b is lost, and b that a is */
        buf b;
        buf_init(&b, 1000);
        mesh_global_put_lost_connection(&b, slice_str(gw->n[2].name), 5, 5, slice_str(gw->n[!to].name));
        g_post(2, to, g_pid(2, 1), false, buf_slice(&b));
        buf_fini(&b);
    }
    for (unsigned to = 0; to < 2; to++) g_take(container_of(list_pop_front(&gw->lines[2][to]), packet, in_line));
    assert_true(!g_knows(0, 1) && !g_knows(1, 0) && gw->n[0].conn[1] != 0);
    g_run();
    assert_int_equal(gw->n[0].conn[1], 0);
    g_end();
}

/* A node that says nothing of names stays connected, and is waited for only by who syncs with it. */
static void a_mute_node_costs_only_sync(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1), g_up(0, 2), g_up(1, 2);
    for (int i = 0; i < 600; i++) {
        g_clear(2, 0), g_clear(2, 1), deaf(2);
        g_wait(100 * USEC_PER_MSEC);
    }
    assert_true(g_knows(0, 1) && g_knows(1, 0) && !g_knows(0, 2) && gw->n[0].conn[2] != 0);
    assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "x", 101), ERR_OK);
    assert_string_equal(g_ask(0, 1, "{sync,['c@h']}"), "");
    unsigned before = gw->n[0].n_replies;
    g_cut(1, 2);
    g_run();
    assert_true(gw->n[0].n_replies == before + 1 && g_knows(0, 1));
    g_end();
}

/* All of whom a node has ended report it: nobody else is left, and as many messages are said as there are pairs. */
static void a_node_that_ends_parts_nobody(void **state) {
    (void)state;
    g_world(5, 1);
    for (unsigned a = 0; a < 5; a++)
        for (unsigned b = 0; b < a; b++) g_up(a, b);
    g_wait(60 * USEC_PER_SEC);
    all_know_all();
    uint64_t before = gw->posted;
    for (unsigned i = 0; i < 4; i++) g_cut(4, i);
    g_wait(USEC_PER_SEC);
    assert_in_range(gw->posted - before, 1, 4 * 3);
    for (unsigned a = 0; a < 4; a++)
        for (unsigned b = 0; b < 4; b++) assert_int_equal(g_knows(a, b), a != b);
    for (unsigned i = 0; i < 4; i++) assert_int_equal(gw->n[i].parted, 0);
    for (unsigned i = 0; i < 4; i++) g_up(4, i); /* it is back */
    g_wait(60 * USEC_PER_SEC);
    all_know_all();
    g_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_node_is_left_by_all),
        cmocka_unit_test(a_report_about_this_node_parts_it_from_the_reporter),
        cmocka_unit_test(a_report_counts_once),
        cmocka_unit_test(a_cut_between_two_leaves_one_out),
        cmocka_unit_test(who_cannot_be_reached_is_not_waited_for),
        cmocka_unit_test(a_cut_between_two_that_were_introduced),
        cmocka_unit_test(an_erlang_node_is_not_reported),
        cmocka_unit_test(who_does_not_obey_is_made_to),
        cmocka_unit_test(two_may_ask_each_other),
        cmocka_unit_test(a_mute_node_costs_only_sync),
        cmocka_unit_test(a_node_that_ends_parts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
