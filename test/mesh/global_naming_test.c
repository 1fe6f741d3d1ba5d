/* Names for actors (mesh/global_naming.c) and what becomes of two that have one (mesh/global_clash.c): several machines against each other.
 * What real Erlang nodes make of it is in test/interop/otp/test_global_names.py. */
#include "global_world.h"

#define SEEDS 40u

static void connected(unsigned count, uint64_t seed) {
    g_world(count, seed);
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < a; b++) g_up(a, b);
    g_wait(60 * USEC_PER_SEC);
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = 0; b < count; b++) assert_int_equal(g_knows(a, b), a != b);
}

static void all_say(const char *name, uint32_t id) {
    for (unsigned i = 0; i < gw->count; i++) assert_int_equal(g_who(i, name), id);
}

static void a_name_is_everywhere_when_it_is_answered(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        connected(4, seed);
        assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "{\"x\",1}", 101), ERR_OK);
        all_say("{\"x\",1}", 101);
        assert_int_equal(g_wanted(2, MESH_GLOBAL_NAME, "{\"x\",1}", 102), ERR_EXISTS);
        all_say("{\"x\",1}", 101);
        assert_int_equal(g_wanted(2, MESH_GLOBAL_RENAME, "{\"x\",1}", 102), ERR_OK);
        all_say("{\"x\",1}", 102);
        assert_int_equal(g_wanted(3, MESH_GLOBAL_UNNAME, "{\"x\",1}", 103), ERR_OK);
        all_say("{\"x\",1}", 0);
        assert_int_equal(g_wanted(3, MESH_GLOBAL_UNNAME, "{\"x\",1}", 103), ERR_NOT_FOUND);
        gw->dead[104] = true;
        assert_int_equal(g_wanted(1, MESH_GLOBAL_NAME, "y", 104), ERR_NOPROC);
        all_say("y", 0);
        assert_int_equal(g_wanted(1, MESH_GLOBAL_NAME, "y", 105), ERR_OK);
        g_kill(105);
        all_say("y", 0);
        assert_true(g_quiet());
        g_end();
    }
}

static void a_node_alone_names_its_actors(void **state) {
    (void)state;
    g_world(1, 1);
    assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "x", 101), ERR_OK);
    assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "x", 102), ERR_EXISTS);
    assert_int_equal(g_who(0, "x"), 101);
    assert_true(g_quiet());
    g_end();
}

/* Many that want the same name at once, on all nodes: one gets it, and nobody waits for ever. */
static void of_many_one_gets_it(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        connected(4, seed);
        for (uint32_t i = 0; i < 40; i++) g_want(i % 4, MESH_GLOBAL_NAME, "x", 100 + i, MESH_GLOBAL_RANDOM_EXIT);
        g_wait(120 * USEC_PER_SEC);
        unsigned got = 0;
        uint32_t who = 0;
        for (unsigned a = 0; a < 4; a++) {
            assert_int_equal(gw->n[a].n_done, 10);
            for (unsigned i = 0; i < 10; i++) {
                const gdone *d = &gw->n[a].done[i];
                assert_true(d->status == ERR_OK || d->status == ERR_EXISTS);
                got += d->status == ERR_OK;
                if (d->status == ERR_OK) who = (uint32_t)d->ticket;
            }
        }
        assert_int_equal(got, 1);
        all_say("x", who);
        assert_true(g_quiet());
        g_end();
    }
}

/* OTP's order on the wire: the greatest name of the part is locked first and alone, and unlocked last. */
static void the_boss_comes_first_and_last(void **state) {
    (void)state;
    char seen[64] = "";
    connected(4, 1);
    g_want(1, MESH_GLOBAL_NAME, "x", 101, MESH_GLOBAL_RANDOM_EXIT);
    for (bool more = true; more;) {
        unsigned to[NODES_MAX], n = 0;
        const char *what = "";
        for (unsigned i = 0; i < 4; i++) {
            list *first = list_first(&gw->lines[1][i]);
            if (!first) continue;
            mesh_gen gen;
            mesh_term t = {.term = container_of(first, packet, in_line)->term};
            mesh_global_msg m;
            mesh_gen_read(&t, &gen);
            mesh_global_msg_read(gen.kind, gen.request, &m);
            what = m.kind == MESH_GLOBAL_SET_LOCK ? "+" : m.kind == MESH_GLOBAL_REGISTER ? "=" : m.kind == MESH_GLOBAL_DEL_LOCK ? "-" : "?";
            to[n++] = i;
        }
        size_t len = strlen(seen);
        if (n) (void)snprintf(seen + len, sizeof seen - len, "%s", what);
        for (unsigned i = 0; i < n; i++) {
            len = strlen(seen);
            (void)snprintf(seen + len, sizeof seen - len, "%c", 'a' + (int)to[i]);
            g_take(container_of(list_pop_front(&gw->lines[1][to[i]]), packet, in_line));
        }
        more = n > 0;
        for (unsigned i = 0; i < 4; i++) /* answers */
            for (list *a = list_pop_front(&gw->lines[i][1]); a; a = list_pop_front(&gw->lines[i][1]))
                g_take(container_of(a, packet, in_line));
    }
    assert_string_equal(seen, "+d+ac=acd-ac-d"); /* b has its own lock without a message */
    all_say("x", 101);
    g_end();
}

/* While another has the lock, nothing is changed, and it is tried again. */
static void a_lock_is_waited_for(void **state) {
    (void)state;
    connected(3, 1);
    assert_string_equal(g_ask(0, 2, "{set_lock,{global,other}}"), "true");
    g_want(1, MESH_GLOBAL_NAME, "x", 101, MESH_GLOBAL_RANDOM_EXIT);
    g_wait(30 * USEC_PER_SEC);
    assert_int_equal(gw->n[1].n_done, 0);
    all_say("x", 0);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(gw->n[i].g->locks.count, 0); /* it keeps none meanwhile */
    assert_string_equal(g_ask(0, 2, "{del_lock,{global,other}}"), "true");
    g_wait(10 * USEC_PER_SEC);
    assert_int_equal(g_done_of(1, 0), ERR_OK);
    all_say("x", 101);
    g_end();
}

/* A node that ends while it names: no lock stays, and no half name. One that ends while it is asked is not waited for. */
static void nodes_go_while_names_are_given(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4 * SEEDS; seed++) {
        connected(4, seed);
        g_want(1, MESH_GLOBAL_NAME, "x", 101, MESH_GLOBAL_RANDOM_EXIT);
        for (uint64_t steps = seed % 16; steps > 0; steps--) {
            list *first = NULL;
            for (unsigned at = 0; at < NODES_MAX * NODES_MAX && !first; at++)
                first = list_pop_front(&gw->lines[at / NODES_MAX][at % NODES_MAX]);
            if (first) g_take(container_of(first, packet, in_line));
            g_wishes_done();
        }
        unsigned gone = seed % 2 ? 1 : 3;
        for (unsigned i = 0; i < 4; i++)
            if (i != gone) g_cut(gone, i);
        g_wait(60 * USEC_PER_SEC);
        assert_true(g_quiet());
        for (unsigned i = 0; i < 4; i++)
            if (i != gone) assert_int_equal(g_who(i, "x"), gone == 1 ? 0 : 101);
        assert_int_equal(g_who(1, "x"), 101);
        assert_int_equal(g_done_of(1, 0), ERR_OK);
        g_end();
    }
}

/* Somebody joins while a name is given: it has it in the end. */
static void a_node_joins_while_names_are_given(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        g_world(4, seed);
        g_up(0, 1), g_up(1, 2), g_up(0, 2);
        g_wait(30 * USEC_PER_SEC);
        g_up(3, (unsigned)(seed % 3));
        g_wait((usec)(seed * 10) * USEC_PER_MSEC);
        g_want(0, MESH_GLOBAL_NAME, "x", 101, MESH_GLOBAL_RANDOM_EXIT);
        g_want(3, MESH_GLOBAL_NAME, "y", 102, MESH_GLOBAL_RANDOM_EXIT);
        g_wait(60 * USEC_PER_SEC);
        all_say("x", 101);
        all_say("y", 102);
        assert_true(g_quiet());
        g_end();
    }
}

static void limits_are_said(void **state) {
    (void)state;
    buf b;
    g_world(1, 1);
    etf_pid pid = g_pid(0, 101);
    buf_init(&b, 1u << 20);
    uint8_t *long_ = mem_zalloc(MESH_GLOBAL_TERM_MAX);
    etf_put_binary(&b, slice_of(long_, MESH_GLOBAL_TERM_MAX));
    assert_int_equal(mesh_global_wish(gw->n[0].g, gw->now, MESH_GLOBAL_NAME, buf_slice(&b), &pid, MESH_GLOBAL_RANDOM_EXIT, 1), ERR_LIMIT);
    mem_free(long_);
    gw->n[0].g->names_bytes += MESH_GLOBAL_NAMES_BYTES - 10;
    assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "x", 101), ERR_LIMIT);
    gw->n[0].g->names_bytes -= MESH_GLOBAL_NAMES_BYTES - 10;
    gw->n[0].g->n_namings = MESH_GLOBAL_NAMINGS_MAX;
    buf_reset(&b);
    g_put_text(&b, "x");
    assert_int_equal(mesh_global_wish(gw->n[0].g, gw->now, MESH_GLOBAL_NAME, buf_slice(&b), &pid, MESH_GLOBAL_RANDOM_EXIT, 1), ERR_LIMIT);
    gw->n[0].g->n_namings = 0;
    assert_int_equal(g_wanted(0, MESH_GLOBAL_NAME, "x", 101), ERR_OK);
    buf_fini(&b);
    g_end();
}

/* --- clashes ------------------------------------------------------------------------------------------------------------------------ */
static bool was_told(unsigned i, const char *text) {
    for (unsigned k = 0; k < gw->n[i].n_told && k < 8; k++)
        if (strcmp(gw->n[i].told[k], text) == 0) return true;
    return false;
}

static unsigned told(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < gw->count; i++) n += gw->n[i].n_told;
    return n;
}

/* Two parts, {a, b} and {c, d}, of which two nodes meet; the processes are on any of them, so that whoever decides mostly asks another, and
 * who is to be told is mostly not connected yet with who tells. */
static void clash(uint64_t seed, mesh_global_clash how, unsigned left, unsigned right, unsigned by, unsigned with) {
    g_world(4, seed);
    g_up(0, 1), g_up(2, 3);
    g_wait(5 * USEC_PER_SEC);
    g_want(left, MESH_GLOBAL_NAME, "x", 101, how);
    g_want(right, MESH_GLOBAL_NAME, "x", 102, how);
    g_wait(5 * USEC_PER_SEC);
    g_up(by, with);
    g_wait(60 * USEC_PER_SEC);
}

static void clashes_of_actors_end_as_among_erlang_nodes(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 96; seed++) {
        unsigned left = seed & 1, right = 2 + (seed >> 1 & 1), by = seed >> 2 & 1, with = 2 + (seed >> 3 & 1);
        mesh_global_clash how = (mesh_global_clash)(seed % 3);
        clash(seed, how, left, right, by, with);
        bool none = how == MESH_GLOBAL_NOTIFY_ALL;
        all_say("x", none ? 0 : 101); /* the one on the lesser node */
        assert_int_equal(told(), none ? 2 : 1);
        if (how == MESH_GLOBAL_RANDOM_EXIT) assert_true(was_told(right, "102 killed"));
        if (how == MESH_GLOBAL_RANDOM_NOTIFY) assert_true(was_told(right, "102 {global_name_conflict,x}"));
        if (none) assert_int_equal(gw->n[left].n_told + gw->n[right].n_told, 2);
        assert_int_equal(gw->resolved, 0); /* no rex was asked */
        assert_true(g_quiet());
        assert_int_equal(gw->n[0].g->n_tales + gw->n[1].g->n_tales + gw->n[2].g->n_tales + gw->n[3].g->n_tales, 0);
        g_end();
    }
}

/* The resolver that counts is that of the name which the deciding part has; a peer asks for what it is told by whom. */
static const char *resolve(unsigned from, unsigned of, const char *method, const char *name, etf_pid his, etf_pid mine) {
    buf b, m, t1, t2;
    etf_pid leader = g_pid(from, 5);
    unsigned before = gw->n[from].n_replies;
    buf_init(&b, 4000), buf_init(&m, 1000), buf_init(&t1, 1000), buf_init(&t2, 1000);
    if (method)
        g_put_text(&m, method);
    else
        mesh_global_put_method(&m, MESH_GLOBAL_RANDOM_NOTIFY);
    etf_put_pid(&t1, &his);
    etf_put_pid(&t2, &mine);
    buf n;
    buf_init(&n, 1000);
    g_put_text(&n, name);
    mesh_global_put_resolve(&b, buf_slice(&m), buf_slice(&n), buf_slice(&t1), buf_slice(&t2), &leader);
    g_call(from, of, buf_slice(&b));
    g_run();
    buf_fini(&b), buf_fini(&m), buf_fini(&t1), buf_fini(&t2), buf_fini(&n);
    return gw->n[from].n_replies > before ? g_said(from) : "";
}

static void only_who_has_the_name_is_touched(void **state) {
    (void)state;
    connected(3, 1);
    assert_int_equal(g_wanted(2, MESH_GLOBAL_NAME, "x", 101), ERR_OK);
    assert_non_null(strstr(resolve(0, 2, "m", "x", g_pid(0, 7), g_pid(2, 101)), "badrpc"));                        /* unknown */
    assert_non_null(strstr(resolve(0, 2, "{other,random_exit_name}", "x", g_pid(0, 7), g_pid(2, 101)), "badrpc")); /* likewise */
    assert_non_null(strstr(resolve(0, 2, NULL, "y", g_pid(0, 7), g_pid(2, 101)), "badrpc"));                       /* not its name */
    assert_non_null(strstr(resolve(0, 2, NULL, "x", g_pid(0, 7), g_pid(2, 102)), "badrpc"));                       /* not its process */
    assert_non_null(strstr(resolve(0, 2, NULL, "x", g_pid(0, 7), g_pid(1, 101)), "badrpc"));                       /* not its node */
    assert_int_equal(told(), 0);
    assert_string_equal(resolve(0, 2, "{global,random_exit_name}", "x", g_pid(0, 7), g_pid(2, 101)), "<a@h.7.1>");
    assert_true(was_told(2, "101 killed"));
    g_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_everywhere_when_it_is_answered),
        cmocka_unit_test(a_node_alone_names_its_actors),
        cmocka_unit_test(of_many_one_gets_it),
        cmocka_unit_test(the_boss_comes_first_and_last),
        cmocka_unit_test(a_lock_is_waited_for),
        cmocka_unit_test(nodes_go_while_names_are_given),
        cmocka_unit_test(a_node_joins_while_names_are_given),
        cmocka_unit_test(limits_are_said),
        cmocka_unit_test(clashes_of_actors_end_as_among_erlang_nodes),
        cmocka_unit_test(only_who_has_the_name_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
