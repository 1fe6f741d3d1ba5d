/* memory: one bit with hysteresis over what counts against the nearest limit. */
#include "base/mem.h"
#include "rt/event.h"
#include "rt/memory.h"
#include "sim/node.h"
#include "support/cmocka_unit.h"

#define MIB (UINT64_C(1) << 20)

typedef struct rig {
    sim_world w;
    sim_net net;
    sim_host h;
    rt_node *n;
} rig;

static void no_log(void *arg, const char *line) { (void)arg, (void)line; }
static void up(rig *r, uint64_t own_limit) {
    sys_addr ip;
    rt_node_cfg cfg;
    sim_host_address(1, &ip);
    sim_world_init(&r->w, 1);
    sim_net_init(&r->net, &r->w);
    sim_host_init(&r->h, &r->w, &r->net, &ip);
    rt_node_cfg_default(&cfg);
    cfg.shards = 1;
    cfg.memory_limit = own_limit;
    assert_int_equal(rt_node_new(&cfg, &r->h.sys, NULL, &r->n), ERR_OK);
    rt_log_sink(r->n, no_log, NULL);
}
static void down(rig *r) {
    rt_node_free(r->n);
    sim_host_fini(&r->h);
    sim_net_fini(&r->net);
    sim_world_fini(&r->w);
}
static bool look(rig *r, uint64_t used, uint64_t limit) {
    r->h.memory = (sys_memory){.own = used, .used = used, .limit = limit};
    assert_true(rt_memory_look(r->n, 1000) > 1000);
    return rt_memory_tight(r->n);
}

static void it_is_tight_near_the_limit_until_there_is_room_again(void **state) {
    (void)state;
    rig r;
    up(&r, 0);
    uint64_t limit = 1000 * MIB, high = rt_memory_high(limit);
    assert_int_equal(high, 700 * MIB);
    assert_false(look(&r, high - 1, limit));
    assert_true(look(&r, high, limit));
    assert_true(look(&r, high - 70 * MIB, limit)); /* not yet room enough */
    assert_int_equal(rt_event_count(r.n, EV_MEMORY_TIGHT), 1);
    assert_int_equal(rt_event_count(r.n, EV_MEMORY_FREE), 0);
    assert_false(look(&r, high - 76 * MIB, limit));
    assert_int_equal(rt_event_count(r.n, EV_MEMORY_FREE), 1);
    assert_false(look(&r, high - 1, limit));
    rt_memory m;
    rt_memory_read(r.n, &m);
    assert_int_equal(m.used, high - 1);
    assert_int_equal(m.limit, limit);
    down(&r);
}

static void the_headroom_is_a_share_with_bounds(void **state) {
    (void)state;
    assert_int_equal(rt_memory_high(256 * MIB), 256 * MIB - 256 * MIB / 10 * 3);
    assert_int_equal(rt_memory_high(8192 * MIB), 7168 * MIB);             /* 1 GiB */
    assert_int_equal(rt_memory_high(65536 * MIB), 65536 * MIB / 16 * 15); /* a sixteenth */
}

static void an_unknown_limit_is_never_tight(void **state) {
    (void)state;
    rig r;
    up(&r, 0);
    assert_false(look(&r, UINT64_MAX / 2, 0));
    assert_true(look(&r, 999, 1000));
    assert_false(look(&r, 999, 0)); /* it was lifted */
    r.h.sys.memory = NULL;
    assert_int_equal(rt_memory_look(r.n, 5), USEC_NEVER);
    down(&r);
}

static usec until_next(rig *r, uint64_t used, uint64_t limit) {
    r->h.memory = (sys_memory){.own = used, .used = used, .limit = limit};
    return rt_memory_look(r->n, 1000) - 1000;
}

/* What is left must not be used up between two looks; far from the limit a look is rare. */
static void it_looks_more_often_the_nearer_the_limit_is(void **state) {
    (void)state;
    rig r;
    up(&r, 0);
    uint64_t limit = 65536 * MIB, high = rt_memory_high(limit);
    assert_int_equal(until_next(&r, 10 * MIB, limit), USEC_PER_SEC);
    assert_int_equal(until_next(&r, high / 2, limit), 5 * USEC_PER_MSEC);
    assert_int_equal(until_next(&r, high, limit), 5 * USEC_PER_MSEC);
    assert_int_equal(until_next(&r, 10 * MIB, 256 * MIB), 50 * USEC_PER_MSEC);
    usec middle = until_next(&r, 1024 * MIB, 8192 * MIB); /* 6 GiB are left: a twentieth of them takes 300 ms at 1 GiB a second */
    assert_in_range(middle, 290 * USEC_PER_MSEC, 310 * USEC_PER_MSEC);
    assert_int_equal(until_next(&r, 10 * MIB, 0), USEC_PER_SEC);
    down(&r);
}

static void the_nearer_of_two_limits_counts(void **state) {
    (void)state;
    rig r;
    up(&r, 100 * MIB);
    assert_true(look(&r, 90 * MIB, 1000 * MIB)); /* ours */
    assert_true(look(&r, 49 * MIB, 50 * MIB));   /* the system's */
    assert_false(look(&r, 30 * MIB, 1000 * MIB));
    down(&r);
}

static void linux_says_what_is_used_and_what_is_there(void **state) {
    (void)state;
    sys *s = NULL;
    sys_memory a, b;
    enum { MORE = 32 << 20 };
    assert_int_equal(sys_linux_new(&s), ERR_OK);
    s->memory(s, &a);
    assert_true(a.own > 0 && a.limit > MIB && a.used > 0);
    uint8_t *p = mem_alloc(MORE);
    memset(p, 1, MORE);
    s->memory(s, &b);
    assert_true(b.own >= a.own + MORE / 2);
    mem_free(p);
    sys_linux_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_tight_near_the_limit_until_there_is_room_again),
        cmocka_unit_test(the_headroom_is_a_share_with_bounds),
        cmocka_unit_test(an_unknown_limit_is_never_tight),
        cmocka_unit_test(it_looks_more_often_the_nearer_the_limit_is),
        cmocka_unit_test(the_nearer_of_two_limits_counts),
        cmocka_unit_test(linux_says_what_is_used_and_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
