/* listener: who comes in, running out of descriptors, new certificates, drain. */
#include "edge/edge_rig.h"
#include "rt/memory.h"
#include "support/heap.h"

static void connections_of_one_address_are_limited(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.per_ip_max = 3;
    rig_start(r);
    client *c[3], *more;
    for (size_t i = 0; i < 3; i++) c[i] = client_open(r);
    more = client_new(r, &r->bound_tls); /* whichever way in */
    assert_true(client_closed(more));
    client_free(more);
    client_abort(c[0]);
    rig_until(r, edge_session_count(r->node) == 2);
    more = client_open(r);
    client_free(more);
    for (size_t i = 0; i < 3; i++) client_free(c[i]);
    rig_free(r);
}

static void all_connections_are_limited(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.connections_max = 2;
    rig_start(r);
    client *a = client_open(r), *b = client_open(r), *more = client_new(r, &r->bound);
    assert_true(client_closed(more));
    client_free(a);
    client_free(b);
    client_free(more);
    rig_free(r);
}

static void prefixes_are_counted_not_addresses(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.per_ip_max = 1;
    rig_start(r);
    edge_door *d = edge_door_new(r->node, &r->edge, NULL);
    edge_ip *ip[4];
    sys_addr a6 = {.family = SYS_INET6, .ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}}, b6 = a6, c6 = a6;
    b6.ip[15] = 9; /* same /64 */
    c6.ip[7] = 2;
    sys_addr a4 = {.family = SYS_INET4, .ip = {192, 0, 2, 1}}, b4 = {.family = SYS_INET4, .ip = {192, 0, 2, 2}};
    sys_addr m4 = {.family = SYS_INET6, .ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1}}, n4 = m4;
    n4.ip[15] = 7;
    assert_int_equal(edge_door_enter(d, &a6, false, &ip[0]), ERR_OK);
    assert_int_equal(edge_door_enter(d, &b6, false, &ip[1]), ERR_LIMIT);
    assert_int_equal(edge_door_enter(d, &c6, false, &ip[1]), ERR_OK);
    edge_door_leave(d, ip[0]);
    assert_int_equal(edge_door_enter(d, &b6, false, &ip[0]), ERR_OK);
    assert_int_equal(edge_door_enter(d, &a4, false, &ip[2]), ERR_OK);
    assert_int_equal(edge_door_enter(d, &b4, false, &ip[3]), ERR_OK);
    edge_door_leave(d, ip[2]);
    edge_door_leave(d, ip[3]);
    assert_int_equal(edge_door_enter(d, &m4, false, &ip[2]), ERR_OK); /* v4 through a v6 socket: by the whole address */
    assert_int_equal(edge_door_enter(d, &n4, false, &ip[3]), ERR_OK);
    for (size_t i = 0; i < 4; i++) edge_door_leave(d, ip[i]);
    assert_int_equal(d->conns, 0);
    assert_int_equal(d->ips.count, 0);
    edge_door_unref(d);
    rig_free(r);
}

/* promises.md R28: no spin; accepting goes on within a second after descriptors are released. */
static void without_descriptors_the_listener_pauses_and_comes_back(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    r->accept_full = true;
    client *c = client_new(r, &r->bound);
    rig_until(r, r->accepts > 0);
    unsigned before = r->accepts;
    for (int i = 0; i < 5000; i++) rig_step(r);
    assert_int_equal(r->accepts, before); /* the clock stands still: it does not look again */
    for (int i = 0; i < 10; i++) rig_advance(r, 100 * USEC_PER_MSEC);
    assert_in_range(r->accepts, before + 1, before + 2 * 4); /* four looks a second, two calls each */
    assert_int_equal(rt_event_count(r->node, EV_ACCEPT_FAIL), 1);
    r->accept_full = false;
    rig_advance(r, 300 * USEC_PER_MSEC);
    client_send(c, HEADER);
    client_expect(c, "</stream:features>"); /* the one that waited */
    client *d = client_open(r);
    client_free(c);
    client_free(d);
    rig_free(r);
}

static uint32_t limit_now;
static uint32_t small_limit(sys *s) {
    (void)s;
    return limit_now;
}

static void descriptors_in_reserve_are_left_alone(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.fd_reserve = 8;
    rig_start(r);
    client *a = client_open(r);
    limit_now = (uint32_t)a->fd + 8; /* the next socket that is accepted would be past it */
    r->sys->fd_limit = small_limit;
    client *b = client_new(r, &r->bound);
    assert_true(client_closed(b));
    assert_int_equal(rt_event_count(r->node, EV_ACCEPT_FAIL), 1);
    limit_now = 1024;
    rig_advance(r, 300 * USEC_PER_MSEC);
    client *c = client_open(r);
    client_free(a);
    client_free(b);
    client_free(c);
    rig_free(r);
}

static uint64_t used_now;
static void small_memory(sys *s, sys_memory *out) {
    (void)s;
    *out = (sys_memory){.own = used_now, .used = used_now, .limit = 1000000000};
}

/* promises.md R26. Who is in goes on; who is not, or would take more, is told to come later. */
static void while_memory_is_tight_nobody_comes_in_and_nothing_grows(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *in = client_login(r, "alice", "desk"), *half = client_login(r, "alice", "phone"), *stranger = client_open(r);
    r->sys->memory = small_memory;
    used_now = 900000000;
    (void)rt_memory_look(r->node, 0); /* when the next is due does not matter here */
    client *b = client_new(r, &r->bound);
    assert_true(client_closed(b));
    client_send(stranger, "<auth ");
    client_expect(stranger, "<resource-constraint");
    client_send(half, "<message><body>");
    uint8_t more[10000];
    memset(more, 'x', sizeof more);
    client_raw(half, slice_of(more, sizeof more));
    client_expect(half, "<resource-constraint");
    client_send(in, "<presence/>");
    rig_until(r, r->n_st > 0);
    assert_true(rt_event_count(r->node, EV_MEMORY_SHED) >= 3);
    used_now = 100000000;
    (void)rt_memory_look(r->node, 0);
    rig_advance(r, 300 * USEC_PER_MSEC);
    client *c = client_open(r);
    client *all[] = {in, half, stranger, b, c};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) client_free(all[i]);
    rig_free(r);
}

static void new_certificates_are_for_new_connections(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_open(r);
    client_starttls(a);
    tls_server *two = rig_server_new("two");
    edge_set_tls(r->node, two);
    rig_server_unref(two);
    rig_settle(r);
    client_send(a, HEADER); /* goes on */
    client_expect(a, "</stream:features>");
    client *b = client_new(r, &r->bound_tls);
    client_raw(b, SLICE("HELLO"));
    client_expect(b, "SERVER two\n");
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void drain_closes_the_door(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    edge_drain(r->node, "moving");
    rig_settle(r);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(r->bound.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), -1);
    close(fd);
    rig_free(r);
}

static void a_port_in_use_is_said_at_once(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
    edge_listen_cfg c = {.transport = EDGE_STARTTLS};
    c.addr = (sys_addr){.family = SYS_INET4, .ip = {127, 0, 0, 1}, .port = ntohs(sa.sin_port)};
    sys_addr bound;
    assert_int_equal(edge_listen(r->edges, &c, &bound), ERR_ADDR_IN_USE);
    close(fd);
    rig_free(r);
}

/* Who comes too fast waits in the kernel; nobody is turned away, and nothing spins. */
static void more_connections_than_the_rate_wait(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.accept_rate = 10;
    rig_start(r);
    client *c[15];
    for (size_t i = 0; i < ARRAY_LEN(c); i++) c[i] = client_new(r, &r->bound);
    rig_until(r, rt_event_count(r->node, EV_ACCEPT) == 10);
    unsigned before = r->accepts;
    for (int i = 0; i < 5000; i++) rig_step(r);
    assert_int_equal(r->accepts, before); /* the clock stands still */
    assert_int_equal(rt_event_count(r->node, EV_ACCEPT_LIMITED), 1);
    for (unsigned i = 1; i <= 5; i++) {
        rig_advance(r, 101 * USEC_PER_MSEC);
        rig_until(r, rt_event_count(r->node, EV_ACCEPT) == 10 + i);
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        client_send(c[i], HEADER);
        client_expect(c[i], "</stream:features>");
    }
    rig_advance(r, 2 * USEC_PER_SEC);
    client *late = client_open(r); /* and after the pause it accepts as ever */
    client_free(late);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_free(c[i]);
    rig_free(r);
}

/* Connecting and leaving again is no way around it, although nobody is counted as present. */
static void an_address_that_comes_and_goes_too_fast_is_closed(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.per_ip_max = r->edge.accept_rate_ip = 5;
    rig_start(r);
    for (int i = 0; i < 5; i++) {
        client *c = client_open(r);
        client_abort(c);
        client_free(c);
    }
    client *more = client_new(r, &r->bound);
    assert_true(client_closed(more));
    assert_int_equal(rt_event_count(r->node, EV_ACCEPT_LIMITED), 1);
    assert_int_equal(edge_session_count(r->node), 0);
    rig_advance(r, 200 * USEC_PER_MSEC);
    client *again = client_open(r);
    client_free(more);
    client_free(again);
    rig_free(r);
}

/* A session's timer is due in half a minute; its memory must not wait for that. */
static void who_connects_and_drops_leaves_no_memory_behind(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.accept_rate_ip = 0;
    rig_start(r);
    size_t used = 0;
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0, ended = rt_event_count(r->node, EV_SESSION_END); i < 300; i++) {
            client *c = client_new(r, &r->bound);
            client_free(c);
            for (int k = 0; k < RIG_STEPS && rt_event_count(r->node, EV_SESSION_END) <= ended + i; k++) rig_step(r);
        }
        rig_settle(r);
        if (round > 0) assert_true(heap_used() < used + 300 * sizeof(edge_c2s) / 2);
        used = heap_used();
    }
    rig_free(r);
}

/* --- the edge actor of a shard crashes */
static void kill_listener(rt_ctx *cx, void *arg) {
    (void)arg;
    rt_actor_info info[64];
    uint32_t from = 0;
    for (size_t n; (n = rt_stat_actors(cx, &from, info, 64)) > 0;)
        for (size_t i = 0; i < n; i++)
            if (strcmp(info[i].cls, "listener") == 0) rt_exit(cx, info[i].pid, ERR_KILLED);
}

static void kill_pid(rt_ctx *cx, void *arg) { rt_exit(cx, *(rt_pid *)arg, ERR_KILLED); }

static void crash_edge(rig *r) {
    rt_pid was = edge_shard(r->node, 0);
    rt_node_boot(r->node, 0, kill_pid, &was);
    rig_until(r, rt_pid_ok(edge_shard(r->node, 0)) && !rt_pid_eq(edge_shard(r->node, 0), was));
}

static void a_crash_of_the_edge_closes_nothing(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_login(r, "alice", "desk"), *early = client_new(r, &r->bound);
    uint64_t listens = rt_event_count(r->node, EV_LISTEN);
    crash_edge(r);
    assert_int_equal(rt_event_count(r->node, EV_LISTEN), listens); /* the listeners ran on */
    client_send(early, HEADER);
    client_expect(early, "</stream:features>");
    client *b = client_login(r, "bob", "desk");
    client_send(a, "<message to='bob@x.test'/>");
    rig_until(r, r->n_st == 1);
    client_free(a);
    client_free(b);
    client_free(early);
    rig_free(r);
}

static void after_a_crash_of_the_edge_its_successor_looks_after_listeners(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    crash_edge(r);
    rt_node_boot(r->node, 0, kill_listener, NULL);
    rig_settle(r);
    rig_advance(r, 200 * USEC_PER_MSEC);
    client *a = client_open(r);
    rt_pid was = edge_shard(r->node, 0);
    rt_node_boot(r->node, 0, kill_pid, &was); /* and if both go at once */
    rt_node_boot(r->node, 0, kill_listener, NULL);
    rig_settle(r);
    rig_advance(r, 200 * USEC_PER_MSEC);
    client *b = client_open(r);
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void after_a_crash_of_the_edge_the_end_of_a_partition_reaches_all_sessions(void **st) {
    (void)st;
    for (int before = 0; before < 2; before++) { /* the partition ends after the crash, or with it */
        rig *r = rig_new();
        rig_start(r);
        client *a = client_login(r, "alice", "desk"), *b = client_login(r, "bob", "desk");
        rt_pid part = r->part, was = edge_shard(r->node, 0);
        if (before) {
            rt_node_boot(r->node, 0, kill_pid, &part);
            rt_node_boot(r->node, 0, kill_pid, &was);
            rig_settle(r);
        } else {
            crash_edge(r);
            rt_node_boot(r->node, 0, kill_pid, &part);
        }
        client_expect(a, "<reset");
        client_expect(b, "<reset");
        rig_settle(r);
        client *c = client_login(r, "alice", "desk"); /* what watches the new one is the new edge */
        part = r->part;
        rt_node_boot(r->node, 0, kill_pid, &part);
        client_expect(c, "<reset");
        client_free(a);
        client_free(b);
        client_free(c);
        rig_free(r);
    }
}

static void after_a_crash_of_the_edge_drain_and_certificates_work(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_login(r, "alice", "desk");
    crash_edge(r);
    tls_server *two = rig_server_new("two");
    edge_set_tls(r->node, two);
    rig_server_unref(two);
    rig_settle(r);
    client *b = client_new(r, &r->bound_tls);
    client_raw(b, SLICE("HELLO"));
    client_expect(b, "SERVER two\n");
    edge_drain(r->node, "moving");
    client_expect(a, "<system-shutdown");
    client_free(a);
    client_free(b);
    rig_free(r);
}

static rt_pid guesses_owner(rig *r) {
    rt_reader *e = rt_epoch_begin(r->node);
    rt_table_info i;
    assert_int_equal(rt_table_info_of(e, rt_table_whereis(e, SLICE(EDGE_GUARD_TABLE)), &i), ERR_OK);
    rt_epoch_end(&e);
    return i.owner;
}

/* Limits survive: those of connections are the door's; guesses are in a table that passes from the edge actor to its supervisor and from
 * there to its successor. */
static void a_crash_of_the_edge_forgives_no_guess(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.account_failures = 1;
    r->edge.connections_max = 2;
    rig_start(r);
    client *a = client_open(r);
    client_plain(a, "alice", "wrong");
    client_expect(a, "<not-authorized");
    assert_true(rt_pid_eq(guesses_owner(r), edge_shard(r->node, 0)));
    crash_edge(r);
    assert_true(rt_pid_eq(guesses_owner(r), edge_shard(r->node, 0)));
    assert_int_equal(rt_event_count(r->node, EV_TABLE_HEIR), 1);
    client *b = client_open(r);
    client_plain(b, "alice", "secret");
    client_expect(b, "<not-authorized");
    client *c = client_new(r, &r->bound);
    assert_true(client_closed(c));
    client_free(a);
    client_free(b);
    client_free(c);
    rig_free(r);
}

static void a_client_that_does_not_close_holds_a_drain_up_for_a_second(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_login(r, "alice", "desk"), *b = client_login(r, "bob", "desk");
    edge_drain(r->node, "moving");
    client_expect(a, "</stream:stream>");
    client_expect(b, "</stream:stream>");
    client_abort(b); /* one closes, one does not */
    rig_until(r, edge_session_count(r->node) == 1);
    rig_advance(r, EDGE_CLOSE_LINGER - 2 * USEC_PER_MSEC);
    assert_int_equal(edge_session_count(r->node), 1);
    rig_advance(r, 4 * USEC_PER_MSEC);
    assert_int_equal(edge_session_count(r->node), 0);
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void a_listener_that_dies_is_started_again_and_sessions_stay(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_login(r, "alice", "desk");
    rt_node_boot(r->node, 0, kill_listener, NULL);
    rig_settle(r);
    rig_advance(r, 200 * USEC_PER_MSEC);
    client *b = client_login(r, "bob", "desk");
    client_send(a, "<message to='bob@x.test'/>");
    rig_until(r, r->n_st == 1);
    client_free(a);
    client_free(b);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(connections_of_one_address_are_limited),
        cmocka_unit_test(all_connections_are_limited),
        cmocka_unit_test(prefixes_are_counted_not_addresses),
        cmocka_unit_test(without_descriptors_the_listener_pauses_and_comes_back),
        cmocka_unit_test(descriptors_in_reserve_are_left_alone),
        cmocka_unit_test(more_connections_than_the_rate_wait),
        cmocka_unit_test(an_address_that_comes_and_goes_too_fast_is_closed),
        cmocka_unit_test(who_connects_and_drops_leaves_no_memory_behind),
        cmocka_unit_test(while_memory_is_tight_nobody_comes_in_and_nothing_grows),
        cmocka_unit_test(new_certificates_are_for_new_connections),
        cmocka_unit_test(drain_closes_the_door),
        cmocka_unit_test(a_port_in_use_is_said_at_once),
        cmocka_unit_test(a_listener_that_dies_is_started_again_and_sessions_stay),
        cmocka_unit_test(a_crash_of_the_edge_closes_nothing),
        cmocka_unit_test(after_a_crash_of_the_edge_its_successor_looks_after_listeners),
        cmocka_unit_test(after_a_crash_of_the_edge_the_end_of_a_partition_reaches_all_sessions),
        cmocka_unit_test(after_a_crash_of_the_edge_drain_and_certificates_work),
        cmocka_unit_test(a_crash_of_the_edge_forgives_no_guess),
        cmocka_unit_test(a_client_that_does_not_close_holds_a_drain_up_for_a_second),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
