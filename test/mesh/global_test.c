/* The machine of `global` (mesh/global_int.h): nodes that join, names and locks, clashes; several machines against each other. What real
 * Erlang nodes make of it is in test/interop/otp/test_global.py. */
#include "global_world.h"

#define SEEDS 40u

/* Registers as OTP's registrar does: lock all, register everywhere, unlock. a calls, and is no node that is asked. */
static void name_it(unsigned a, const char *name, uint32_t id) {
    char set[64], del[64];
    (void)snprintf(set, sizeof set, "{set_lock,{global,caller%u}}", a);
    (void)snprintf(del, sizeof del, "{del_lock,{global,caller%u}}", a);
    for (unsigned b = 0; b < gw->count; b++)
        if (g_knows(b, a)) assert_string_equal(g_ask(a, b, set), "true");
    for (unsigned b = 0; b < gw->count; b++)
        if (g_knows(b, a)) g_register(a, b, name, a, id);
    for (unsigned b = 0; b < gw->count; b++)
        if (g_knows(b, a)) assert_string_equal(g_ask(a, b, del), "true");
    /* a itself: its server is asked by a process of another node, which stands for its own */
    buf b, c;
    etf_pid pid = g_pid(a, id), other = pid;
    buf_init(&b, 1000);
    buf_init(&c, 1000);
    g_put_text(&b, name);
    assert_true(mesh_global_canon(buf_slice(&b), &c));
    buf_reset(&b);
    etf_put_pid(&b, &other);
    mesh_global_entry e = {.name = buf_slice(&c), .pid = pid, .pid_term = buf_slice(&b), .method = SLICE("w\x01m")};
    mesh_global_name_insert(gw->n[a].g, buf_slice(&c), &e, SLICE_NULL);
    buf_fini(&b);
    buf_fini(&c);
}

static void all_know_all(void) {
    for (unsigned a = 0; a < gw->count; a++)
        for (unsigned b = 0; b < gw->count; b++) assert_int_equal(g_knows(a, b), a != b);
}

static void two_nodes_join_and_share_their_names(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        g_world(2, seed);
        name_it(0, "x", 101);
        name_it(1, "{\"y\",[1]}", 102);
        g_up(0, 1);
        g_wait(2 * USEC_PER_SEC);
        all_know_all();
        for (unsigned i = 0; i < 2; i++) assert_true(g_who(i, "x") == 101 && g_who(i, "{\"y\",[1]}") == 102);
        assert_true(g_quiet());
        assert_string_equal(g_ask(0, 1, "get_known"), "[a@h]");
        assert_string_equal(g_ask(0, 1, "get_synced"), "[a@h]");
        assert_string_equal(g_ask(0, 1, "get_names_ext"), "[]");
        assert_string_equal(g_ask(0, 1, "get_protocol_version"), "8");
        g_end();
    }
}

/* Whoever meets whom first, and at the same time: all end up in one part, with all names, and no lock stays. */
static void parts_become_one(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        g_world(5, seed);
        for (unsigned i = 0; i < 5; i++) name_it(i, (const char *[]){"a", "b", "c", "d", "e"}[i], 100 + i);
        g_up(0, 1);
        g_up(2, 3);
        g_wait(2 * USEC_PER_SEC);
        g_up(0, 2);
        if (seed % 2) g_up(1, 3);
        if (seed % 3) g_up(4, (unsigned)(seed % 4));
        g_wait(20 * USEC_PER_SEC);
        if (seed % 3 == 0) g_up(4, 0);
        g_wait(60 * USEC_PER_SEC);
        all_know_all();
        for (unsigned i = 0; i < 5; i++)
            for (unsigned k = 0; k < 5; k++) assert_int_equal(g_who(i, (const char *[]){"a", "b", "c", "d", "e"}[k]), 100 + k);
        assert_true(g_quiet());
        g_end();
    }
}

static void names_go_with_their_process_and_with_their_node(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1), g_up(0, 2), g_up(1, 2);
    g_wait(10 * USEC_PER_SEC);
    name_it(0, "x", 101);
    name_it(0, "y", 102);
    for (unsigned i = 0; i < 3; i++) assert_true(g_who(i, "x") == 101 && g_who(i, "y") == 102);
    g_kill(101);
    for (unsigned i = 0; i < 3; i++) assert_true(g_who(i, "x") == 0 && g_who(i, "y") == 102);
    g_cut(0, 1), g_cut(0, 2);
    assert_true(g_who(1, "y") == 0 && g_who(2, "y") == 0 && g_who(0, "y") == 102);
    assert_true(g_knows(1, 2) && !g_knows(1, 0) && !g_knows(0, 1));
    g_end();
}

static void a_name_is_changed_only_under_the_lock(void **state) {
    (void)state;
    g_world(2, 1);
    g_up(0, 1);
    g_wait(2 * USEC_PER_SEC);
    name_it(0, "x", 101);
    assert_string_equal(g_ask(0, 1, "{set_lock,{global,other}}"), "true");
    g_register(0, 1, "x", 0, 102); /* the caller has it */
    assert_int_equal(g_who(1, "x"), 102);
    assert_string_equal(g_ask(0, 1, "{del_lock,{global,other}}"), "true");
    g_kill(102);
    assert_string_equal(g_ask(0, 1, "{set_lock,{global,1}}"), "true");
    g_kill(CALLER); /* the lock goes with its holder: who comes late is too late */
    gw->dead[CALLER] = false;
    assert_int_equal(gw->n[1].g->locks.count, 0);
    g_register(0, 1, "z", 0, 103);
    assert_string_equal(g_said(0), "yes");
    assert_int_equal(g_who(1, "z"), 0);
    assert_string_equal(g_ask(0, 1, "{set_lock,{global,1}}"), "true");
    assert_string_equal(g_ask(0, 1, "{del_lock,{global,1}}"), "true");
    g_register(0, 1, "z", 0, 103); /* nobody has it, nor lost it */
    assert_int_equal(g_who(1, "z"), 103);
    assert_string_equal(g_ask(0, 1, "{unregister,z}"), "ok");
    assert_int_equal(g_who(1, "z"), 0);
    g_end();
}

static void locks_belong_to_a_requester(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1), g_up(1, 2), g_up(0, 2);
    g_wait(10 * USEC_PER_SEC);
    assert_string_equal(g_ask(0, 1, "{set_lock,{\"r\",me}}"), "true");
    assert_string_equal(g_ask(0, 1, "{set_lock,{\"r\",me}}"), "true");
    assert_string_equal(g_ask(2, 1, "{set_lock,{\"r\",you}}"), "false");
    assert_string_equal(g_ask(2, 1, "{set_lock,{other,you}}"), "true");
    assert_string_equal(g_ask(2, 1, "{del_lock,{\"r\",me}}"), "true"); /* not its own */
    assert_string_equal(g_ask(2, 1, "{set_lock,{\"r\",you}}"), "false");
    assert_string_equal(g_ask(2, 1, "{set_lock,{\"r\",me}}"), "true"); /* the same requester, from another process */
    assert_string_equal(g_ask(0, 1, "{del_lock,{\"r\",me}}"), "true");
    assert_string_equal(g_ask(0, 1, "{set_lock,{\"r\",you}}"), "false");
    g_cut(2, 1);
    assert_string_equal(g_ask(0, 1, "{set_lock,{\"r\",you}}"), "true");
    /* maps in whatever order their keys are written are the same requester */
    assert_string_equal(g_ask(0, 1, "{set_lock,{m,#{a=>1,b=>2}}}"), "true");
    assert_string_equal(g_ask(0, 1, "{set_lock,{m,#{b=>2,a=>1}}}"), "true");
    g_end();
}

/* Of two that have a name, the resolver of the node with the lesser name decides, once, for all. */
static void clashes_are_resolved_once(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        uint32_t winner; /* 0: nobody */
    } cases[] = {{"his", 102}, {"mine", 101}, {"none", 0}, {"badrpc", 102}};
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
            g_world(4, seed);
            (void)snprintf(gw->resolves, sizeof gw->resolves, "%s", cases[c].answer);
            g_up(0, 1), g_up(2, 3);
            g_wait(5 * USEC_PER_SEC);
            name_it(1, "x", 101); /* in the part of a; its process is on b, whose resolver is asked */
            name_it(2, "x", 102);
            name_it(3, "w", 103);
            g_as_erlang();
            g_up(0, 2);
            g_wait(30 * USEC_PER_SEC);
            all_know_all();
            assert_int_equal(gw->resolved, 1);
            for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(g_who(i, "x"), cases[c].winner);
                assert_int_equal(g_who(i, "w"), 103);
            }
            assert_true(g_quiet());
            g_end();
        }
}

/* A node that ends in the middle of joining, at any moment: no lock stays, and the others join. */
static void a_node_may_go_at_any_moment(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4 * SEEDS; seed++) {
        g_world(3, seed);
        name_it(0, "x", 101);
        name_it(2, "x", 102);
        g_up(0, 1), g_up(0, 2), g_up(1, 2);
        gw->now += 200 * USEC_PER_MSEC;
        for (unsigned i = 0; i < 3; i++) mesh_global_timer(gw->n[i].g, gw->now);
        for (uint64_t steps = seed % 24; steps > 0; steps--) {
            list *first = NULL;
            for (unsigned at = 0; at < NODES_MAX * NODES_MAX && !first; at++)
                first = list_pop_front(&gw->lines[at / NODES_MAX][at % NODES_MAX]);
            if (first) g_take(container_of(first, packet, in_line));
            g_wishes_done();
        }
        g_cut(2, 0), g_cut(2, 1);
        g_wait(60 * USEC_PER_SEC);
        assert_true(g_knows(0, 1) && g_knows(1, 0) && !g_knows(0, 2) && !g_knows(1, 2));
        assert_true(g_who(1, "x") == g_who(0, "x"));
        assert_true(g_quiet());
        g_up(2, 0), g_up(2, 1); /* and it comes back */
        g_wait(60 * USEC_PER_SEC);
        all_know_all();
        assert_true(g_quiet());
        g_end();
    }
}

static void sync_waits_until_names_are_shared(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1);
    g_wait(2 * USEC_PER_SEC);
    assert_string_equal(g_ask(0, 1, "{sync,['a@h','nobody@h']}"), "ok");
    g_up(1, 2);
    assert_string_equal(g_ask(0, 1, "{sync,['c@h']}"), "");
    g_wait(10 * USEC_PER_SEC);
    assert_string_equal(g_said(0), "ok");
    g_cut(1, 2), g_cut(0, 2);
    g_up(1, 2);
    assert_string_equal(g_ask(0, 1, "{sync,['c@h']}"), "");
    unsigned before = gw->n[0].n_replies;
    g_cut(1, 2); /* not any more: nothing to wait for */
    g_run();
    assert_int_equal(gw->n[0].n_replies, before + 1);
    g_end();
}

/* Only who was asked answers, and only once. */
static void answers_of_others_do_not_count(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1), g_up(1, 2), g_up(0, 2);
    g_wait(10 * USEC_PER_SEC);
    g_want(0, MESH_GLOBAL_NAME, "x", 101, MESH_GLOBAL_RANDOM_EXIT); /* c, the boss, is asked */
    uint64_t call = gw->n[0].g->last_call;
    assert_int_equal(gw->n[0].g->locker.multi.waiting, 1);
    for (int64_t number = (int64_t)call - 3; number < (int64_t)call + 3; number++) {
        buf b;
        buf_init(&b, 100);
        etf_put_tuple(&b, 2);
        etf_put_int(&b, number);
        etf_put_bool(&b, false);
        g_post(1, 0, g_pid(1, 1), false, buf_slice(&b));
        g_take(container_of(list_pop_front(&gw->lines[1][0]), packet, in_line));
        buf_fini(&b);
    }
    assert_int_equal(gw->n[0].g->locker.multi.waiting, 1);
    g_wait(USEC_PER_SEC);
    assert_int_equal(g_who(2, "x"), 101);
    g_end();
}

/* A caller of sync that names a node many times waits for it once. */
static void sync_counts_a_node_once(void **state) {
    (void)state;
    g_world(3, 1);
    g_up(0, 1);
    g_wait(2 * USEC_PER_SEC);
    g_up(1, 2);
    (void)g_ask(0, 1, "{sync,['c@h','c@h','c@h','c@h']}");
    assert_false(list_empty(&gw->n[1].g->syncs));
    assert_int_equal(container_of(gw->n[1].g->syncs.next, mesh_global_sync, in_list)->n, 1);
    g_end();
}

/* What one peer can fill of the tables has an end. */
static void tables_have_an_end_in_bytes(void **state) {
    (void)state;
    g_world(2, 1);
    g_up(0, 1);
    g_wait(2 * USEC_PER_SEC);
    gw->n[1].g->locks_bytes += MESH_GLOBAL_LOCKS_BYTES;
    assert_string_equal(g_ask(0, 1, "{set_lock,{r,me}}"), "false");
    assert_int_equal(gw->n[1].full, 1);
    gw->n[1].g->locks_bytes -= MESH_GLOBAL_LOCKS_BYTES;
    assert_string_equal(g_ask(0, 1, "{set_lock,{r,me}}"), "true");
    assert_true(gw->n[1].g->locks_bytes > 0);
    assert_string_equal(g_ask(0, 1, "{del_lock,{r,me}}"), "true");
    assert_int_equal(gw->n[1].g->locks_bytes, 0);
    gw->n[1].g->names_bytes += MESH_GLOBAL_NAMES_BYTES;
    g_register(0, 1, "x", 0, 101);
    assert_true(g_who(1, "x") == 0 && gw->n[1].full == 2);
    gw->n[1].g->names_bytes -= MESH_GLOBAL_NAMES_BYTES;
    g_register(0, 1, "x", 0, 101);
    assert_true(g_who(1, "x") == 101 && gw->n[1].g->names_bytes > 0);
    assert_string_equal(g_ask(0, 1, "{unregister,x}"), "ok");
    assert_int_equal(gw->n[1].g->names_bytes, 0);
    g_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_join_and_share_their_names),
        cmocka_unit_test(parts_become_one),
        cmocka_unit_test(names_go_with_their_process_and_with_their_node),
        cmocka_unit_test(a_name_is_changed_only_under_the_lock),
        cmocka_unit_test(locks_belong_to_a_requester),
        cmocka_unit_test(clashes_are_resolved_once),
        cmocka_unit_test(a_node_may_go_at_any_moment),
        cmocka_unit_test(sync_waits_until_names_are_shared),
        cmocka_unit_test(answers_of_others_do_not_count),
        cmocka_unit_test(sync_counts_a_node_once),
        cmocka_unit_test(tables_have_an_end_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
