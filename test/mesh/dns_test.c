/* Names whose addresses are the hosts of nodes (mesh/dns.c, lookup.c): what becomes wanted, and what stays so while nothing can be looked
 * up. */
#include "mesh/dial.h"
#include "rt/epoch.h"
#include "rt/pool.h"
#include "rt/rt_world.h"

#include <stdio.h>

#define OWN   "m@127.0.0.1"
#define EVERY (10 * USEC_PER_SEC)

static struct {
    world *w;
    mesh *m;
    err result;
    const char *addrs; /* what the name stands for: last bytes of addresses */
    bool v6;
    unsigned asked;
} at;

static err d_resolve(sys *s, const char *host, sys_addr *out, size_t max, size_t *out_n) {
    (void)s;
    assert_string_equal(host, "cluster.example");
    at.asked++;
    size_t n = strlen(at.addrs);
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) out[i] = (sys_addr){.family = SYS_INET4, .ip = {at.v6 ? 10 : 127, 0, 0, (uint8_t)(at.addrs[i] - '0')}};
    if (at.v6) out[0] = (sys_addr){.family = SYS_INET6, .ip = {[15] = 1}};
    *out_n = n;
    return at.result;
}

static void begin(const char *query) {
    static const char *dns[1];
    mesh_cfg c;
    memset(&at, 0, sizeof at);
    mesh_cfg_default(&c);
    dns[0] = query;
    c.name = SLICE(OWN);
    c.cookie = SLICE("XKQJZPWVBNMTRHGFDSLC");
    c.dns = dns;
    c.n_dns = 1;
    c.dns_every = EVERY;
    at.w = world_new(1, 1);
    at.w->s.resolve = d_resolve;
    assert_int_equal(mesh_new(at.w->n, &c, &at.m), ERR_OK);
    assert_int_equal(mesh_boot(at.m), ERR_OK);
    slice seed = SLICE("s@127.0.0.3:7");
    assert_int_equal(mesh_dial(at.m, &seed, 1), ERR_OK);
    (void)world_run(at.w);
}
static void end(void) {
    world_free(at.w);
    mesh_free(at.m);
}

/* The name is looked up now, with that answer. */
static void looks(err result, const char *addrs) {
    unsigned had = at.asked;
    at.result = result;
    at.addrs = addrs;
    while (at.asked == had) {
        if (!rt_pool_run_one(at.w->n, RT_POOL_USER)) {
            usec next = world_run(at.w);
            assert_true(next != USEC_NEVER);
            at.w->now = usec_max(at.w->now, next);
        }
        (void)world_run(at.w);
    }
}

static bool add_name(void *arg, slice name, slice value) {
    char *text = arg;
    (void)value;
    (void)snprintf(text + strlen(text), 200 - strlen(text), SLICE_FMT " ", SLICE_ARG(name));
    return true;
}
static void wanted(const char *const *names, size_t n) {
    char text[200] = "";
    size_t len = 0;
    rt_table_at where = {0};
    rt_reader *r = rt_epoch_begin(at.w->n);
    while (!where.done) assert_int_equal(rt_table_fold(r, at.m->wanted, &where, 64, add_name, text), ERR_OK);
    rt_epoch_end(&r);
    for (size_t i = 0; i < n; i++) {
        if (!strstr(text, names[i])) fail_msg("%s is not in '%s'", names[i], text);
        len += strlen(names[i]) + 1;
    }
    assert_int_equal(strlen(text), len);
}
#define WANTED(...) wanted((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void a_list_that_changes(void **state) {
    (void)state;
    begin("b@cluster.example:9100");
    looks(ERR_OK, "12");
    WANTED("s@127.0.0.3", "b@127.0.0.1", "b@127.0.0.2");
    usec from = at.w->now;
    looks(ERR_OK, "23");
    assert_in_range(at.w->now - from, EVERY, EVERY + 10 * USEC_PER_MSEC);
    WANTED("s@127.0.0.3", "b@127.0.0.2", "b@127.0.0.3");
    looks(ERR_TIMEOUT, "");
    looks(ERR_NOT_FOUND, "");
    WANTED("s@127.0.0.3", "b@127.0.0.2", "b@127.0.0.3");
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_DNS_FAIL), 2); /* another reason is said at once, the same one not */
    looks(ERR_NOT_FOUND, "");
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_DNS_FAIL), 2);
    looks(ERR_OK, "1");
    WANTED("s@127.0.0.3", "b@127.0.0.1");
    end();
}

/* What is written elsewhere stays when the name does not stand for it any more; this node itself is left out. */
static void other_sources(void **state) {
    (void)state;
    begin("s@cluster.example");
    looks(ERR_OK, "34");
    WANTED("s@127.0.0.3", "s@127.0.0.4");
    looks(ERR_OK, "4");
    WANTED("s@127.0.0.3", "s@127.0.0.4");
    end();
    begin("m@cluster.example");
    looks(ERR_OK, "12");
    WANTED("s@127.0.0.3", "m@127.0.0.2");
    end();
}

static void what_cannot_be_dialled(void **state) {
    (void)state;
    begin("b@cluster.example:9100");
    looks(ERR_OK, "2");
    at.v6 = true; /* without certificates only loopback is dialled: ::1 is, 10.0.0.3 is not; all or nothing */
    looks(ERR_OK, "13");
    WANTED("s@127.0.0.3", "b@127.0.0.2");
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_DNS_FAIL), 1);
    looks(ERR_OK, "1");
    WANTED("s@127.0.0.3", "b@::1");
    at.v6 = false;
    looks(ERR_OK, "4");
    WANTED("s@127.0.0.3", "b@127.0.0.4");
    end();
}

static void how_it_is_written(void **state) {
    (void)state;
    char why[MESH_WHY_MAX];
    static const char *const bad[] = {"", "b", "b@", "@h", "b@127.0.0.1", "b@[::1]:7", "b@::1", "b@h:0", "b@h:x", "b@h@i", "b@h:65536"};
    assert_int_equal(mesh_dns_check(SLICE("b@cluster.example"), why), ERR_OK);
    assert_int_equal(mesh_dns_check(SLICE("b@cluster:65535"), why), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(mesh_dns_check(slice_str(bad[i]), why), ERR_INVALID);
        assert_non_null(strstr(why, "is not a name to be looked up"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_list_that_changes), cmocka_unit_test(other_sources),
                                       cmocka_unit_test(what_cannot_be_dialled), cmocka_unit_test(how_it_is_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
