/* guard: what is limited and what is not, that time mends it, and that a flood of strangers makes nobody forgotten. */
#include "edge/guard.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

static const hash_key key = {1, 2};
static edge_cfg cfg;
static sys *the_sys;
static rt_node *node; /* the test's */
#define NOW (1000 * USEC_PER_SEC)

static void share(rt_ctx *cx, void *g) { assert_int_equal(edge_guard_share(cx, g), ERR_OK); }
static edge_guard *guard(void) {
    edge_guard *g = edge_guard_new(&cfg, &key, 1);
    rt_node_boot(node, 0, share, g);
    return g;
}
static sys_addr v4(uint32_t n) { return (sys_addr){.family = SYS_INET4, .ip = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}}; }
static edge_guard_key key_of(const edge_guard *g, const char *account, uint32_t from) {
    sys_addr a = v4(from);
    return edge_guard_key_of(g, slice_str(account), &a);
}
static void guess(edge_guard *g, const char *account, uint32_t from, unsigned times, usec now) {
    edge_guard_key k = key_of(g, account, from);
    for (unsigned i = 0; i < times; i++) {
        rt_reader *r = rt_epoch_begin(node);
        assert_int_equal(edge_guard_failed(r, g, &k, now), ERR_OK);
        rt_epoch_end(&r);
    }
}
static bool is_open(const edge_guard *g, const char *account, uint32_t from, usec now) {
    edge_guard_key k = key_of(g, account, from);
    rt_reader *r = rt_epoch_begin(node);
    bool open = edge_guard_open(r, g, &k, now);
    rt_epoch_end(&r);
    return open;
}
static usec delay(const edge_guard *g, const char *account, usec now) {
    edge_guard_key k = key_of(g, account, 1);
    rt_reader *r = rt_epoch_begin(node);
    usec d = edge_guard_delay(r, g, &k, now);
    rt_epoch_end(&r);
    return d;
}

static int begin(void **st) {
    (void)st;
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.ctl_path = c.recorder_path = NULL;
    edge_cfg_default(&cfg);
    return rt_node_new(&c, the_sys, NULL, &node) != ERR_OK;
}
static int end(void **st) {
    (void)st;
    rt_node_free(node);
    return 0;
}

static void ten_guesses_at_an_account_from_an_address_then_one_in_thirty_seconds(void **st) {
    (void)st;
    edge_guard *g = guard();
    guess(g, "a@x", 1, 9, NOW);
    assert_true(is_open(g, "a@x", 1, NOW));
    guess(g, "a@x", 1, 1, NOW);
    assert_false(is_open(g, "a@x", 1, NOW));
    assert_false(is_open(g, "a@x", 1, NOW + 30 * USEC_PER_SEC - 1));
    assert_true(is_open(g, "a@x", 1, NOW + 30 * USEC_PER_SEC));
    guess(g, "a@x", 1, 1, NOW + 30 * USEC_PER_SEC);
    assert_false(is_open(g, "a@x", 1, NOW + 30 * USEC_PER_SEC));
    assert_true(is_open(g, "a@x", 1, NOW + 60 * USEC_PER_SEC));
    edge_guard_free(g);
}

/* Nobody is locked out by guesses from elsewhere (CWE-645). */
static void the_owner_comes_in_from_another_address(void **st) {
    (void)st;
    edge_guard *g = guard();
    for (uint32_t n = 100; n < 1100; n++) guess(g, "a@x", n, 10, NOW);
    assert_false(is_open(g, "a@x", 100, NOW));
    assert_true(is_open(g, "a@x", 1, NOW));
    assert_true(delay(g, "a@x", NOW) > 0); /* it takes him a while */
    assert_true(delay(g, "a@x", NOW) <= EDGE_GUARD_DELAY_MAX);
    assert_int_equal(delay(g, "b@x", NOW), 0);
    edge_guard_free(g);
}

static void debts_do_not_grow(void **st) {
    (void)st;
    edge_guard *g = guard();
    guess(g, "a@x", 1, 100000, NOW);
    assert_true(is_open(g, "a@x", 1, NOW + 30 * USEC_PER_SEC));
    assert_int_equal(delay(g, "a@x", NOW + 10 * USEC_PER_SEC), 0);
    edge_guard_free(g);
}

/* One password tried on many accounts. */
static void fifty_guesses_from_an_address_whatever_the_account(void **st) {
    (void)st;
    edge_guard *g = guard();
    char name[16];
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "u%u@x", i);
        assert_true(is_open(g, name, 7, NOW));
        guess(g, name, 7, 1, NOW);
    }
    assert_false(is_open(g, "another@x", 7, NOW));
    assert_true(is_open(g, "another@x", 8, NOW));
    assert_true(is_open(g, "another@x", 7, NOW + 6 * USEC_PER_SEC));
    edge_guard_free(g);
}

static void an_address_is_a_64_of_ipv6_and_all_of_ipv4(void **st) {
    (void)st;
    edge_guard *g = guard();
    sys_addr a = {.family = SYS_INET6, .ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}}, b = a, c = a;
    sys_addr m = {.family = SYS_INET6, .ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [15] = 1}}, n = m;
    b.ip[15] = 9;
    c.ip[7] = 2;
    n.ip[15] = 2;
    edge_guard_key ka = edge_guard_key_of(g, SLICE("a@x"), &a), kb = edge_guard_key_of(g, SLICE("a@x"), &b),
                   kc = edge_guard_key_of(g, SLICE("a@x"), &c), km = edge_guard_key_of(g, SLICE("a@x"), &m),
                   kn = edge_guard_key_of(g, SLICE("a@x"), &n);
    assert_int_equal(ka.pair, kb.pair);
    assert_int_equal(ka.address, kb.address);
    assert_int_not_equal(ka.pair, kc.pair);
    assert_int_not_equal(ka.address, kc.address);
    assert_int_not_equal(km.address, kn.address);
    assert_int_equal(ka.account, kn.account);
    edge_guard_free(g);
}

/* Strangers with one failure each push out each other, not who is at his limit; and it takes no memory. */
static void a_flood_of_addresses_does_not_free_a_guesser(void **st) {
    (void)st;
    edge_guard *g = guard();
    guess(g, "a@x", 1, 10, NOW);
    for (uint32_t n = 2; n < 2 + 20 * EDGE_GUARD_CELLS; n++) guess(g, "a@x", n, 1, NOW);
    assert_false(is_open(g, "a@x", 1, NOW));
    edge_guard_free(g);
}

/* Guesses are the node's; and a guesser cannot make the table grow past its sets. */
static void guards_of_all_shards_count_together_in_bounded_memory(void **st) {
    (void)st;
    edge_guard *g = guard(), *h = guard();
    guess(g, "a@x", 1, 5, NOW);
    guess(h, "a@x", 1, 4, NOW);
    assert_true(is_open(g, "a@x", 1, NOW) && is_open(h, "a@x", 1, NOW));
    guess(h, "a@x", 1, 1, NOW);
    assert_false(is_open(g, "a@x", 1, NOW) || is_open(h, "a@x", 1, NOW));
    for (uint32_t n = 2; n < 4 * EDGE_GUARD_CELLS; n++) guess(g, "b@x", n, 1, NOW);
    rt_reader *r = rt_epoch_begin(node);
    rt_table_info i;
    assert_int_equal(rt_table_info_of(r, rt_table_whereis(r, SLICE(EDGE_GUARD_TABLE)), &i), ERR_OK);
    assert_in_range(i.entries, EDGE_GUARD_CELLS / EDGE_GUARD_WAYS, 3 * EDGE_GUARD_CELLS / EDGE_GUARD_WAYS);
    assert_true(i.bytes < i.bytes_max / 4);
    rt_epoch_end(&r);
    edge_guard_free(g);
    edge_guard_free(h);
}

/* In a table full of those at their limit a stranger is not refused for them. */
static void a_full_table_refuses_no_newcomer(void **st) {
    (void)st;
    edge_guard *g = guard();
    for (uint32_t n = 2; n < 2 + 4 * EDGE_GUARD_CELLS; n++) guess(g, "a@x", n, 10, NOW);
    for (uint32_t n = 0; n < 1000; n++) assert_true(is_open(g, "b@x", (1u << 20) + n, NOW));
    edge_guard_free(g);
}

static void zero_is_no_limit(void **st) {
    (void)st;
    cfg.account_failures = cfg.address_failures = cfg.slow_failures = cfg.accept_rate = cfg.accept_rate_ip = 0;
    edge_guard *g = guard();
    guess(g, "a@x", 1, 100000, NOW);
    assert_true(is_open(g, "a@x", 1, NOW));
    assert_int_equal(delay(g, "a@x", NOW), 0);
    sys_addr a = v4(1);
    for (int i = 0; i < 100000; i++) {
        edge_guard_accepted(g, NOW);
        assert_true(edge_guard_arrived(g, &a, NOW));
    }
    assert_int_equal(edge_guard_accept_at(g, NOW), NOW);
    edge_guard_free(g);
}

static void connections_come_at_the_rate_that_is_set_and_a_second_of_them_at_once(void **st) {
    (void)st;
    cfg.accept_rate = 100;
    edge_guard *g = guard();
    unsigned n = 0;
    for (usec now = NOW; now < NOW + 10 * USEC_PER_SEC; now += USEC_PER_MSEC)
        for (; edge_guard_accept_at(g, now) <= now; n++) edge_guard_accepted(g, now);
    assert_in_range(n, 1095, 1100);
    usec now = NOW + 10 * USEC_PER_SEC, at = edge_guard_accept_at(g, now);
    assert_in_range(at, now, now + 10 * USEC_PER_MSEC);
    edge_guard_free(g);
    g = edge_guard_new(&cfg, &key, 4); /* a shard's share */
    for (n = 0; edge_guard_accept_at(g, NOW) <= NOW; n++) edge_guard_accepted(g, NOW);
    assert_int_equal(n, 25);
    edge_guard_free(g);
}

static void an_address_may_come_so_often(void **st) {
    (void)st;
    cfg.per_ip_max = 30;
    cfg.accept_rate_ip = 10;
    edge_guard *g = guard();
    sys_addr a = v4(1), b = v4(2);
    for (int i = 0; i < 30; i++) assert_true(edge_guard_arrived(g, &a, NOW));
    assert_false(edge_guard_arrived(g, &a, NOW));
    assert_true(edge_guard_arrived(g, &b, NOW));
    assert_false(edge_guard_arrived(g, &a, NOW + 99 * USEC_PER_MSEC));
    assert_true(edge_guard_arrived(g, &a, NOW + 100 * USEC_PER_MSEC));
    edge_guard_free(g);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test_setup_teardown(ten_guesses_at_an_account_from_an_address_then_one_in_thirty_seconds, begin, end),
        cmocka_unit_test_setup_teardown(the_owner_comes_in_from_another_address, begin, end),
        cmocka_unit_test_setup_teardown(debts_do_not_grow, begin, end),
        cmocka_unit_test_setup_teardown(fifty_guesses_from_an_address_whatever_the_account, begin, end),
        cmocka_unit_test_setup_teardown(an_address_is_a_64_of_ipv6_and_all_of_ipv4, begin, end),
        cmocka_unit_test_setup_teardown(a_flood_of_addresses_does_not_free_a_guesser, begin, end),
        cmocka_unit_test_setup_teardown(guards_of_all_shards_count_together_in_bounded_memory, begin, end),
        cmocka_unit_test_setup_teardown(a_full_table_refuses_no_newcomer, begin, end),
        cmocka_unit_test_setup_teardown(zero_is_no_limit, begin, end),
        cmocka_unit_test_setup_teardown(connections_come_at_the_rate_that_is_set_and_a_second_of_them_at_once, begin, end),
        cmocka_unit_test_setup_teardown(an_address_may_come_so_often, begin, end),
    };
    if (sys_linux_new(&the_sys) != ERR_OK) return 1;
    int failed = cmocka_run_group_tests(t, NULL, NULL);
    sys_linux_free(the_sys);
    return failed;
}
