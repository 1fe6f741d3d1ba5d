/* A connection of another node under TLS (mesh/link_tls.c): the same handshake and frames within it, and who is refused. */
#include "peer_world.h"

#include <stdio.h>

static void begin_secure(void) {
    mesh_cfg c = world_cfg();
    c.tls_required = true;
    begin_cfg(&c, true);
}

/* The peer shows another certificate, and takes one of the same authority. */
static void shows(peer *p, const char *host, const char *ca) {
    tls *t = &net.tls.tls;
    tls_server *s = certificate(host, ca);
    t->conn_free(p->tls);
    p->tls = t->conn_dial(s, HOST);
    t->server_unref(s);
}

static void refused(peer *p) {
    assert_false(p->up);
    assert_true(p->c->closed);
    assert_int_equal(nodes(), 0);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_REFUSED), 1);
    peer_fini(p);
    end();
}

/* --- going well --------------------------------------------------------------------------------------------------------------------- */
static void handshake_split_anywhere(void **state) {
    (void)state;
    size_t all = 1;
    for (size_t cut = 0; cut < all; cut++) {
        peer p;
        begin_secure();
        peer_init(&p, PEER, COOKIE);
        p.cut = cut;
        talk(&p);
        assert_true(p.up);
        assert_int_equal(nodes(), 1);
        assert_int_equal(rt_event_count(net.w->n, EV_TLS_DONE), 1);
        all = p.sent;
        p.c->eof = true;
        run();
        take(&p);
        assert_true(p.c->closed && p.goodbye); /* close_notify */
        assert_int_equal(nodes(), 0);
        peer_fini(&p);
        end();
    }
    assert_true(all > 100);
}

static void byte_by_byte(void **state) {
    (void)state;
    peer p;
    begin_secure();
    net.read_max = 1;
    peer_init(&p, PEER, COOKIE);
    p.piece = 1;
    talk(&p);
    assert_true(p.up);
    say(&p, monitor_of(&p, "nobody"));
    heard(&p, "down from nobody to pid: noproc\n");
    peer_fini(&p);
    end();
}

/* The peer's last message of TLS and its first one of the distribution in one reading; and frames behind the last one of those. */
static void what_comes_early(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    p.early = true;
    p.first = monitor_of(&p, "nobody");
    talk(&p);
    assert_true(p.up);
    heard(&p, "down from nobody to pid: noproc\n");
    peer_fini(&p);
    end();
}

/* What comes while the pool works on what came before waits for it. */
static void what_comes_while_the_pool_works(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    take(&p);
    for (size_t i = 0; i < p.wire.len; i++) { /* the hello */
        buf_add(&p.c->in, slice_sub(buf_slice(&p.wire), i, 1));
        (void)world_run(net.w);
        assert_int_equal(rt_pool_waiting(net.w->n, RT_POOL_CRYPTO), 1);
    }
    buf_reset(&p.wire);
    talk(&p);
    assert_true(p.up);
    peer_fini(&p);
    end();
}

static void ticks(void **state) {
    (void)state;
    peer p;
    begin_secure();
    connect_as(&p, PEER);
    for (int i = 0; i < 40; i++) { /* a quarter of an interval each */
        net.w->now += TICKTIME / MESH_TICK_INTENSITY / 4;
        if (i % 4 == 0) dist_frame_tick(&p.out);
        talk(&p);
        take(&p);
    }
    assert_false(p.c->closed);
    assert_in_range(p.ticks, 9, 11);
    peer_fini(&p);
    end();
}

/* Whatever the socket takes at a time, all comes, once and in order; and what is sealed before its time is bounded, so that the link still
 * feels its peer. */
static void what_waits_goes_out_as_it_was_said(void **state) {
    (void)state;
    peer p;
    begin_secure();
    connect_as(&p, PEER);
    buf want;
    buf_init(&want, SIZE_MAX);
    p.c->room = 0;
    for (unsigned i = 0; i < 120; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        dist_ctl c = monitor_of(&p, name);
        c.ref.word[0] = 100 + i;
        p.c->room = i % 17;
        say(&p, c);
        buf_addf(&want, "down from %s to pid: noproc\n", name);
    }
    for (size_t left = 0; p.messages < 120; left++) { /* a byte at a time */
        assert_in_range(left, 0, 100000);
        p.c->room = 1;
        run();
        take(&p);
    }
    assert_true(slice_eq(buf_slice(&p.heard), buf_slice(&want)));
    buf_fini(&want);
    peer_fini(&p);
    end();
}

/* --- who is refused ----------------------------------------------------------------------------------------------------------------- */
static void another_authority(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    take(&p); /* its hello */
    buf_add(&p.c->in, buf_slice(&p.wire));
    buf_reset(&p.wire);
    run();
    take(&p); /* its certificate, with who signed it, and F */
    assert_true(p.shaken);
    p.wire.p[p.wire.len - 2] ^= 1;
    talk(&p);
    refused(&p);
}

/* The authority is ours, and the cookie; but the name is that of a node elsewhere: not allowed, before any proof. */
static void another_host(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    shows(&p, "elsewhere", CA);
    talk(&p);
    take(&p);
    assert_int_equal(p.end, DIST_END_NOT_ALLOWED);
    refused(&p);
}

static void no_tls(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    net.tls.tls.conn_free(p.tls);
    p.tls = NULL;
    talk(&p);
    refused(&p);
}

/* --- limits and time ---------------------------------------------------------------------------------------------------------------- */
static void too_much_before_the_handshake_is_complete(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    for (int i = 0; i < 200000; i++) buf_add_byte(&p.c->in, 'H');
    for (int i = 0; i < 10 && !p.c->closed; i++) (void)world_run(net.w); /* the pool does nothing */
    assert_true(p.c->closed);
    run(); /* its job comes home to nobody */
    refused(&p);
}

static void the_pool_has_its_time(void **state) {
    (void)state;
    peer p;
    begin_secure();
    peer_init(&p, PEER, COOKIE);
    take(&p);
    buf_add(&p.c->in, buf_slice(&p.wire));
    (void)world_run(net.w);
    net.w->now += MESH_SETUP_TIME + 1;
    (void)world_run(net.w);
    assert_true(p.c->closed);
    run();
    refused(&p);
}

/* --- certificates that change -------------------------------------------------------------------------------------------------------- */
static void new_certificates_count_from_the_next_connection_on(void **state) {
    (void)state;
    peer p, q;
    begin_secure();
    connect_as(&p, PEER);
    tls_server *fresh = certificate(HOST, "another");
    mesh_set_tls(net.m, fresh);
    net.tls.tls.server_unref(fresh);
    say(&p, monitor_of(&p, "nobody")); /* it keeps what it began with */
    heard(&p, "down from nobody to pid: noproc\n");
    peer_init(&q, "q@h", COOKIE);
    shows(&q, HOST, "another");
    talk(&q);
    assert_true(q.up);
    peer_fini(&q);
    peer_init(&q, "r@h", COOKIE);
    talk(&q);
    assert_int_equal(q.tls_end, ERR_TLS);
    peer_fini(&q);
    peer_fini(&p);
    end();
}

static void without_certificates_only_loopback_is_listened_on(void **state) {
    (void)state;
    sys_addr a = {.family = SYS_INET4, .ip = {10, 0, 0, 1}}, bound;
    begin();
    assert_int_equal(mesh_listen(net.m, &a, &bound), ERR_TLS);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_split_anywhere),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(what_comes_early),
        cmocka_unit_test(what_comes_while_the_pool_works),
        cmocka_unit_test(ticks),
        cmocka_unit_test(what_waits_goes_out_as_it_was_said),
        cmocka_unit_test(another_authority),
        cmocka_unit_test(another_host),
        cmocka_unit_test(no_tls),
        cmocka_unit_test(too_much_before_the_handshake_is_complete),
        cmocka_unit_test(the_pool_has_its_time),
        cmocka_unit_test(new_certificates_count_from_the_next_connection_on),
        cmocka_unit_test(without_certificates_only_loopback_is_listened_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
