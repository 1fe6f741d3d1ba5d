/* The identity layer passes through every state of a TLS connection and carries bytes unchanged, however they are split. */
#include "base/mem.h"
#include "sim/tls.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

typedef struct pair {
    sim_tls t;
    tls_server *s;
    tls_conn *c;
    sim_tls_client cl;
    buf to_server, to_client, plain;
} pair;

static void up(pair *p) {
    char why[TLS_ERR_MAX];
    tls_identity id = {.domain = "example.org"};
    tls_server_cfg cfg = {.ids = &id, .n_ids = 1};
    sim_tls_init(&p->t, 1);
    assert_int_equal(p->t.tls.server_new(&p->t.tls, &cfg, &p->s, why), ERR_OK);
    p->c = p->t.tls.conn_new(p->s);
    buf_init(&p->to_server, 1 << 20), buf_init(&p->to_client, 1 << 20), buf_init(&p->plain, 1 << 20);
    sim_tls_client_init(&p->cl, 7, &p->to_server);
}
static void down(pair *p) {
    p->t.tls.conn_free(p->c);
    p->t.tls.server_unref(p->s);
    assert_int_equal(p->t.conns, 0);
    sim_tls_client_fini(&p->cl);
    buf_fini(&p->to_server), buf_fini(&p->to_client), buf_fini(&p->plain);
}
/* Byte by byte. */
static void shake(pair *p) {
    bool done = false;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < p->to_server.len; i++)
            assert_int_equal(p->t.tls.conn_handshake(p->c, slice_sub(buf_slice(&p->to_server), i, 1), &p->to_client, &done), ERR_OK);
        buf_reset(&p->to_server);
        for (size_t i = 0; i < p->to_client.len; i++)
            assert_int_equal(sim_tls_client_read(&p->cl, slice_sub(buf_slice(&p->to_client), i, 1), &p->plain, &p->to_server), ERR_OK);
        buf_reset(&p->to_client);
    }
    assert_true(done && p->cl.done);
}

static void both_ends_know_the_same_binding_and_no_other_connection_does(void **state) {
    (void)state;
    pair p, q;
    uint8_t a[32];
    buf b, c;
    buf_init(&b, 64), buf_init(&c, 64);
    up(&p), up(&q);
    assert_int_equal(p.t.tls.conn_binding(p.c, TLS_BINDING_EXPORTER, &b), ERR_UNSUPPORTED);
    shake(&p);
    q.t.rng.s[0]++; /* another server's draw */
    shake(&q);
    assert_int_equal(p.t.tls.conn_binding(p.c, TLS_BINDING_EXPORTER, &b), ERR_OK);
    assert_int_equal(q.t.tls.conn_binding(q.c, TLS_BINDING_EXPORTER, &c), ERR_OK);
    sim_tls_client_binding(&p.cl, TLS_BINDING_EXPORTER, a);
    assert_memory_equal(a, b.p, 32);
    assert_memory_not_equal(a, c.p, 32);
    buf_fini(&b), buf_fini(&c);
    down(&p), down(&q);
}

static void bytes_pass_unchanged_however_they_are_split(void **state) {
    (void)state;
    pair p;
    up(&p), shake(&p);
    uint8_t big[50000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (uint8_t)(i * 31);
    sim_tls_client_write(&p.cl, slice_of(big, sizeof big), &p.to_server);
    for (size_t at = 0, n = 1; at < p.to_server.len; at += n, n = n * 3 % 1009 + 1)
        assert_int_equal(p.t.tls.conn_read(p.c, slice_sub(buf_slice(&p.to_server), at, n), &p.plain, &p.to_client), ERR_OK);
    assert_true(slice_eq(buf_slice(&p.plain), slice_of(big, sizeof big)));
    buf_reset(&p.plain);
    assert_int_equal(p.t.tls.conn_write(p.c, slice_of(big, sizeof big), &p.to_client), ERR_OK);
    p.t.tls.conn_close(p.c, &p.to_client);
    assert_int_equal(sim_tls_client_read(&p.cl, buf_slice(&p.to_client), &p.plain, &p.to_server), ERR_EOF);
    assert_true(slice_eq(buf_slice(&p.plain), slice_of(big, sizeof big)));
    down(&p);
}

static void anything_else_is_an_error(void **state) {
    (void)state;
    pair p;
    bool done = false;
    up(&p);
    assert_int_equal(p.t.tls.conn_handshake(p.c, SLICE("<stream:stream"), &p.to_client, &done), ERR_TLS);
    down(&p);
    up(&p), shake(&p);
    assert_int_equal(p.t.tls.conn_read(p.c, SLICE("<message/>"), &p.plain, &p.to_client), ERR_TLS);
    down(&p);
}

/* --- peers */
static tls_server *peer_of(sim_tls *t, const char *host, const char *ca) {
    char why[TLS_ERR_MAX];
    tls_identity id = {.domain = host};
    tls_server_cfg cfg = {.ids = &id, .n_ids = 1, .ca_path = ca};
    tls_server *s = NULL;
    assert_int_equal(t->tls.server_new(&t->tls, &cfg, &s, why), ERR_OK);
    return s;
}

typedef struct two { /* a dials */
    tls_conn *a, *b;
    bool done_a, done_b;
    err end_a, end_b;
    buf to_a, to_b;
} two;

/* Byte by byte. */
static void meet(sim_tls *t, two *p, tls_server *dials, const char *host, tls_server *accepts) {
    *p = (two){.a = t->tls.conn_dial(dials, host), .b = t->tls.conn_new(accepts)};
    buf_init(&p->to_a, 1 << 20), buf_init(&p->to_b, 1 << 20);
    p->end_a = t->tls.conn_handshake(p->a, SLICE_NULL, &p->to_b, &p->done_a);
    while (!p->end_a && !p->end_b && (p->to_a.len || p->to_b.len)) {
        bool b = p->to_b.len > 0;
        buf *from = b ? &p->to_b : &p->to_a;
        uint8_t byte = from->p[0];
        buf_consume(from, 1);
        if (b)
            p->end_b = t->tls.conn_handshake(p->b, slice_of(&byte, 1), &p->to_a, &p->done_b);
        else
            p->end_a = t->tls.conn_handshake(p->a, slice_of(&byte, 1), &p->to_b, &p->done_a);
    }
}
static void part(sim_tls *t, two *p) {
    t->tls.conn_free(p->a), t->tls.conn_free(p->b);
    buf_fini(&p->to_a), buf_fini(&p->to_b);
}

static void peers_show_each_other_who_they_are(void **state) {
    (void)state;
    sim_tls t;
    two p;
    buf plain;
    sim_tls_init(&t, 3);
    buf_init(&plain, 1 << 20);
    tls_server *one = peer_of(&t, "one", "ca"), *other = peer_of(&t, "two", "ca"), *alien = peer_of(&t, "two", "another");
    meet(&t, &p, one, "two", other);
    assert_true(p.done_a && p.done_b);
    assert_true(t.tls.conn_names(p.a, "two") && t.tls.conn_names(p.b, "one") && !t.tls.conn_names(p.b, "two"));
    assert_int_equal(t.tls.conn_write(p.a, SLICE("hello"), &p.to_b), ERR_OK);
    assert_int_equal(t.tls.conn_read(p.b, buf_slice(&p.to_b), &plain, &p.to_a), ERR_OK);
    assert_true(slice_is(buf_slice(&plain), "hello"));
    part(&t, &p);
    meet(&t, &p, one, "three", other); /* not who was dialled */
    assert_int_equal(p.end_a, ERR_TLS);
    part(&t, &p);
    meet(&t, &p, one, "two", alien);
    assert_int_equal(p.end_a, ERR_TLS);
    part(&t, &p);
    buf_fini(&plain);
    t.tls.server_unref(one), t.tls.server_unref(other), t.tls.server_unref(alien);
    assert_int_equal(t.conns + t.servers, 0);
}

/* A client that is only served does as if it had no certificate. */
static void without_a_certificate_nobody_is_a_peer(void **state) {
    (void)state;
    sim_tls t;
    sim_tls_client c;
    buf out, back;
    bool done = false;
    sim_tls_init(&t, 3);
    buf_init(&out, 1 << 20), buf_init(&back, 1 << 20);
    tls_server *s = peer_of(&t, "one", "ca");
    tls_conn *conn = t.tls.conn_new(s);
    sim_tls_client_init(&c, 7, &out);
    buf_add_byte(&out, 'F');
    assert_int_equal(t.tls.conn_handshake(conn, buf_slice(&out), &back, &done), ERR_TLS);
    assert_false(done || t.tls.conn_names(conn, ""));
    t.tls.conn_free(conn);
    t.tls.server_unref(s);
    sim_tls_client_fini(&c);
    buf_fini(&out), buf_fini(&back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_know_the_same_binding_and_no_other_connection_does),
        cmocka_unit_test(bytes_pass_unchanged_however_they_are_split),
        cmocka_unit_test(anything_else_is_an_error),
        cmocka_unit_test(peers_show_each_other_who_they_are),
        cmocka_unit_test(without_a_certificate_nobody_is_a_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
