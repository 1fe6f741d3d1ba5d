/* c2s_stream: streams before there is a session: headers, what may come when, TLS, limits, ends. */
#include "edge/edge_rig.h"

static void header_has_from_and_a_random_id(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_open(r), *b = client_open(r);
    a->seen = b->seen = 0;
    client_expect(a, " from='x.test'");
    a->seen = b->seen = 0;
    client_expect(a, " id='");
    client_expect(b, " id='");
    assert_memory_not_equal(a->in.p + a->seen, b->in.p + b->seen, 32);
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void host_unknown_comes_behind_a_header(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_new(r, &r->bound);
    client_send(c, "<stream:stream to='other.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    client_expect(c, "<stream:stream");
    client_expect(c, " from='x.test'");
    client_expect(c, "<host-unknown");
    client_expect(c, "</stream:stream>");
    assert_true(client_closed(c));
    client_free(c);
    rig_free(r);
}

static void garbage_is_answered_with_a_header_and_an_error(void **st) {
    (void)st;
    static const struct {
        const char *send, *error;
    } t[] = {
        {"GET / HTTP/1.1\r\n\r\n", "<stream:error>"},
        {"<stream:stream to='x.test' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
         "<invalid-namespace"},
        {"<stream:stream to='x.test' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "<unsupported-version"},
        {"<stream:stream version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "<improper-addressing"},
        {"<!DOCTYPE a [<!ENTITY b 'c'>]>", "<restricted-xml"},
        {HEADER "<!-- c -->", "<restricted-xml"}};
    rig *r = rig_new();
    rig_start(r);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        client *c = client_new(r, &r->bound);
        client_send(c, t[i].send);
        client_expect(c, "<stream:stream");
        client_expect(c, t[i].error);
        client_expect(c, "</stream:stream>");
        assert_true(client_closed(c));
        client_free(c);
    }
    rig_until(r, edge_session_count(r->node) == 0);
    rig_free(r);
}

/* promises.md: STARTTLS stripping. Nothing but starttls is accepted in clear, and nothing of it reaches svc. */
static void before_tls_only_starttls_is_accepted(void **st) {
    (void)st;
    static const char *const t[] = {
        "<auth " NSSASL " mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>",
        "<auth " NSSASL " mechanism='SCRAM-SHA-256'/>",
        "<response " NSSASL "/>",
        "<abort " NSSASL "/>",
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'/></iq>",
        "<presence/>",
        "<message to='bob@x.test'><body>hi</body></message>",
        "<enable " NSSM "/>",
        "<resume " NSSM " previd='x' h='0'/>",
        "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    };
    rig *r = rig_new();
    r->edge.tls_required = true;
    rig_start(r);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        client *c = client_open(r);
        c->seen = 0;
        assert_true(client_quiet(c, "<mechanism"));
        client_send(c, t[i]);
        client_expect(c, "<stream:error>");
        assert_true(client_closed(c));
        client_free(c);
    }
    assert_int_equal(r->auths + r->binds + r->resumes + (unsigned)r->n_st, 0);
    rig_free(r);
}

/* promises.md: STARTTLS plaintext injection. */
static void bytes_behind_starttls_close_the_connection(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_send(c, STARTTLS HEADER "<auth " NSSASL " mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>");
    assert_true(client_closed(c));
    c->seen = 0;
    assert_true(client_quiet(c, "<proceed"));
    assert_int_equal(r->auths, 0);
    client_free(c);
    rig_free(r);
}

static void clear_text_instead_of_a_handshake_closes(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_send(c, STARTTLS);
    client_expect(c, "<proceed");
    client_send(c, HEADER);
    assert_true(client_closed(c));
    assert_int_equal(rt_event_count(r->node, EV_TLS_FAIL), 1);
    client_free(c);
    rig_free(r);
}

static void after_starttls_the_stream_begins_anew_and_nothing_is_in_clear(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.tls_required = true;
    rig_start(r);
    client *c = client_open(r);
    client_starttls(c);
    client_send(c, HEADER);
    client_expect(c, "<stream:stream");
    client_expect(c, "SCRAM-SHA-256-PLUS");
    client_expect(c, "PLAIN");
    client_expect(c, "</stream:features>");
    client_auth(c, "alice");
    client_bind(c, "desk");
    client_expect(c, "alice@x.test/desk");
    client_free(c);
    rig_free(r);
}

static void direct_tls_speaks_xml_only_after_the_handshake(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.tls_required = true;
    rig_start(r);
    client *c = client_new(r, &r->bound_tls);
    client_raw(c, SLICE("HEL")); /* in pieces */
    rig_settle(r);
    client_raw(c, SLICE("LO"));
    client_expect(c, "SERVER one\n");
    c->tls = true;
    client_send(c, HEADER);
    client_expect(c, "<mechanism>SCRAM-SHA-256-PLUS</mechanism>");
    client_expect(c, "</stream:features>");
    client_auth(c, "alice");
    client_free(c);
    rig_free(r);
}

static void bytes_with_the_last_flight_are_read(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_new(r, &r->bound_tls);
    buf b;
    buf_init(&b, 4096);
    buf_add_str(&b, "HELLO");
    rig_xor(SLICE(HEADER), &b);
    client_raw(c, buf_slice(&b));
    buf_fini(&b);
    client_expect(c, "SERVER one\n");
    c->tls = true;
    for (size_t i = c->seen; i < c->in.len; i++) c->in.p[i] ^= RIG_KEY; /* came in the same read */
    client_expect(c, "</stream:features>");
    client_free(c);
    rig_free(r);
}

static void unit_before_authentication_is_limited(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    char *big = mem_zalloc(XMPP_UNIT_MAX_PREAUTH + 100);
    memset(big, 'a', XMPP_UNIT_MAX_PREAUTH + 50);
    memcpy(big, "<auth x='", 9);
    client_send(c, big);
    client_expect(c, "<policy-violation");
    assert_true(client_closed(c));
    mem_free(big);
    client_free(c);
    rig_free(r);
}

static void close_is_answered_and_then_the_socket_closes(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_send(c, "</stream:stream>");
    client_expect(c, "</stream:stream>");
    assert_true(client_closed(c));
    close(c->fd);
    c->fd = -1;
    rig_until(r, edge_session_count(r->node) == 0);
    client_free(c);
    rig_free(r);
}

static void a_client_that_does_not_close_is_closed_in_time(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_send(c, "</stream:stream>");
    client_expect(c, "</stream:stream>");
    rig_until(r, edge_session_count(r->node) == 1);
    rig_advance(r, 6 * USEC_PER_SEC);
    assert_int_equal(edge_session_count(r->node), 0);
    client_free(c);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(header_has_from_and_a_random_id),
        cmocka_unit_test(host_unknown_comes_behind_a_header),
        cmocka_unit_test(garbage_is_answered_with_a_header_and_an_error),
        cmocka_unit_test(before_tls_only_starttls_is_accepted),
        cmocka_unit_test(bytes_behind_starttls_close_the_connection),
        cmocka_unit_test(clear_text_instead_of_a_handshake_closes),
        cmocka_unit_test(after_starttls_the_stream_begins_anew_and_nothing_is_in_clear),
        cmocka_unit_test(direct_tls_speaks_xml_only_after_the_handshake),
        cmocka_unit_test(bytes_with_the_last_flight_are_read),
        cmocka_unit_test(unit_before_authentication_is_limited),
        cmocka_unit_test(close_is_answered_and_then_the_socket_closes),
        cmocka_unit_test(a_client_that_does_not_close_is_closed_in_time),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
