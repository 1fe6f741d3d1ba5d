/* Two nodes that serve one domain (mesh/domains.c): what they say to each other, who stays, and what the one that goes does. */
#include "peer_world.h"

#include <stdio.h>

static const slice domains[] = {{(const uint8_t *)"one.example", 11}, {(const uint8_t *)"two.example", 11}};

static void begin_serving(size_t n) {
    begin_as(0, true, domains, n);
    assert_false(mesh_has_left(net.m));
}

/* What p says of itself: since relative to the node, and its domains; a list has a tail. */
static void claim(buf *t, int64_t later, const char *a, const char *b, unsigned arity) {
    buf_init(t, 1 << 20);
    etf_put_tuple(t, arity);
    etf_put_atom(t, SLICE("$murre_node"));
    etf_put_int(t, 1);
    etf_put_int(t, net.m->since + later);
    etf_put_list(t, b ? 2 : 1);
    etf_put_binary(t, slice_str(a));
    if (b) etf_put_binary(t, slice_str(b));
    etf_put_nil(t);
    if (arity > 4) etf_put_atom(t, SLICE("more"));
}

static void says(peer *p, int64_t later, const char *a, const char *b, unsigned arity) {
    buf t;
    claim(&t, later, a, b, arity);
    dist_ctl c = {.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(p)), .to = to_name("murre_node"), .payload = buf_slice(&t)};
    say(p, c);
    buf_fini(&t);
}

static void told(peer *p) {
    char want[200];
    (void)snprintf(want, sizeof want, "send from pid to murre_node: {'$murre_node',1,%lld,[<<\"one.example\">>,<<\"two.example\">>]}\n",
                   (long long)net.m->since);
    heard(p, want);
}

static uint64_t clashes(void) { return rt_event_count(net.w->n, EV_MESH_DOMAIN); }

/* The later one goes; of two that were started at once, the one with the greater name, which is the peer's. */
static void the_earlier_stays(void **state) {
    (void)state;
    const int64_t later[] = {0, 1, 3600 * USEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        peer p, q;
        begin_serving(2);
        connect_as(&p, PEER);
        told(&p);
        connect_as(&q, "q@h");
        told(&q);
        says(&p, later[i], "other.example", "two.example", 4);
        assert_true(p.c->closed);
        assert_int_equal(clashes(), 1);
        assert_false(mesh_has_left(net.m));
        assert_false(q.c->closed);
        says(&q, later[i], "other.example", NULL, 4);
        assert_false(q.c->closed);
        assert_int_equal(clashes(), 1);
        peer_fini(&p);
        q.c->eof = true;
        (void)world_run(net.w);
        peer_fini(&q);
        end();
    }
}

static void the_later_leaves_the_cluster(void **state) {
    (void)state;
    const char *const names[] = {PEER, "a@h"}; /* started earlier, or at once with a lesser name */
    for (int64_t i = 0; i < 2; i++) {
        peer p, q, r;
        begin_serving(2);
        connect_as(&q, "q@h");
        connect_as(&p, names[i]);
        told(&q);
        told(&p);
        says(&p, i - 1, "one.example", NULL, 5); /* a later version may say more */
        assert_true(p.c->closed && q.c->closed);
        assert_int_equal(clashes(), 1);
        assert_true(mesh_has_left(net.m));
        assert_int_equal(nodes(), 0);
        peer_init(&r, "r@h", COOKIE);
        talk(&r);
        assert_false(r.up);
        assert_true(r.c->closed);
        assert_int_equal(r.end, DIST_END_NOT_ALLOWED);
        peer_fini(&p);
        peer_fini(&q);
        peer_fini(&r);
        end();
    }
}

/* The other side was faster: its claim and the end of its connection come at once, and it is judged all the same. */
static void a_claim_with_the_end_of_the_connection(void **state) {
    (void)state;
    peer p;
    begin_serving(2);
    connect_as(&p, PEER);
    told(&p);
    buf t;
    claim(&t, 1, "one.example", NULL, 4);
    dist_ctl c = {.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to_name("murre_node"), .payload = buf_slice(&t)};
    put(&p, &c);
    buf_add(&p.c->in, buf_slice(&p.out));
    buf_add(&p.c->in, slice_of("\0\0\0\1\0", 5)); /* no frame: the connection ends before anything else is done */
    (void)world_run(net.w);
    assert_true(p.c->closed);
    assert_int_equal(clashes(), 1);
    assert_false(mesh_has_left(net.m));
    buf_fini(&t);
    peer_fini(&p);
    end();
}

/* What another node says that is none of this, and what a node without domains hears: nothing comes of it. */
static void nothing_comes_of(void **state) {
    (void)state;
    peer p;
    begin_serving(2);
    connect_as(&p, PEER);
    told(&p);
    buf t = term("hello");
    dist_ctl c = {.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to_name("murre_node"), .payload = buf_slice(&t)};
    say(&p, c);
    says(&p, 0, "ONE.example", "one.example.", 4);
    assert_false(p.c->closed);
    buf_fini(&t);
    p.c->eof = true;
    (void)world_run(net.w);
    peer_fini(&p);
    end();
    begin_serving(0);
    connect_as(&p, PEER);
    heard(&p, "");
    says(&p, -1, "one.example", NULL, 4);
    assert_false(p.c->closed);
    assert_int_equal(clashes(), 0);
    p.c->eof = true;
    (void)world_run(net.w);
    peer_fini(&p);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earlier_stays),
        cmocka_unit_test(the_later_leaves_the_cluster),
        cmocka_unit_test(a_claim_with_the_end_of_the_connection),
        cmocka_unit_test(nothing_comes_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
