/* c2s_auth: SASL on a connection: what is offered, failures, deadlines, sameness of answers. */
#include "edge/edge_rig.h"

static void answer(client *c, const char *element, const buf *raw) {
    buf b;
    buf_init(&b, 8192);
    buf_addf(&b, "<%s " NSSASL "%s>", element, strcmp(element, "auth") == 0 ? " mechanism='SCRAM-SHA-256-PLUS'" : "");
    base64_encode(&b, buf_slice(raw));
    buf_addf(&b, "</%s>", element);
    buf_add_byte(&b, 0);
    client_send(c, (const char *)b.p);
    buf_fini(&b);
}

/* The base64 text of the element just expected, decoded. */
static void data_of(client *c, buf *out) {
    client_expect(c, ">");
    slice rest = slice_from(buf_slice(&c->in), c->seen);
    assert_int_equal(base64_decode(out, slice_sub(rest, 0, slice_find(rest, '<'))), ERR_OK);
}

/* Logs in with SCRAM-SHA-256-PLUS over TLS; returns whether it succeeded. */
static bool scram_plus(client *c, const char *user, const char *password, const char *cb) {
    buf msg, in;
    buf_init(&msg, 8192);
    buf_init(&in, 8192);
    xmpp_scram_client *k = xmpp_scram_client_new(DIGEST_SHA256, slice_str(user), slice_str(password), SLICE("clientnonceclientnonce12"),
                                                 false, SLICE("tls-exporter"), slice_str(cb));
    xmpp_scram_client_first(k, &msg);
    answer(c, "auth", &msg);
    client_expect(c, "<challenge");
    data_of(c, &in);
    client_expect(c, "</challenge>");
    buf_reset(&msg);
    assert_int_equal(xmpp_scram_client_final(k, buf_slice(&in), &msg), ERR_OK);
    answer(c, "response", &msg);
    client_expect(c, "<");
    bool ok = client_has(c, "success");
    if (ok) {
        buf_reset(&in);
        data_of(c, &in);
        assert_int_equal(xmpp_scram_client_verify(k, buf_slice(&in)), ERR_OK);
    }
    xmpp_scram_client_free(k);
    buf_fini(&msg);
    buf_fini(&in);
    return ok;
}

static client *open_tls(rig *r) {
    client *c = client_open(r);
    client_starttls(c);
    client_send(c, HEADER);
    client_expect(c, "</stream:features>");
    return c;
}

static void scram_plus_binds_to_the_channel(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *good = open_tls(r), *mitm = open_tls(r);
    assert_true(scram_plus(good, "alice", "secret", "exporter-data"));
    assert_false(scram_plus(mitm, "alice", "secret", "another-channel"));
    client_free(good);
    client_free(mitm);
    rig_free(r);
}

static void wrong_password_and_unknown_user_get_the_same_bytes(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_open(r), *b = client_open(r);
    size_t from_a = a->in.len, from_b = b->in.len;
    client_plain(a, "alice", "wrong");
    client_plain(b, "nobody", "wrong");
    client_expect(a, "</failure>");
    client_expect(b, "</failure>");
    slice sa = slice_from(buf_slice(&a->in), from_a), sb = slice_from(buf_slice(&b->in), from_b);
    assert_true(slice_eq(sa, sb));
    client_free(a);
    client_free(b);
    a = open_tls(r);
    b = open_tls(r);
    from_a = a->in.len;
    from_b = b->in.len;
    assert_false(scram_plus(a, "alice", "wrong", "exporter-data"));
    assert_false(scram_plus(b, "nobody", "wrong", "exporter-data"));
    client_expect(a, "</failure>");
    client_expect(b, "</failure>");
    assert_int_equal(a->in.len - from_a, b->in.len - from_b); /* the challenges differ by nonce and salt only */
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void failures_are_counted_and_end_the_connection(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    for (int i = 0; i < 2; i++) {
        client_plain(c, "alice", "wrong");
        client_expect(c, "</failure>");
    }
    client_send(c, "<auth " NSSASL " mechanism='NO-SUCH'/>");
    client_expect(c, "<invalid-mechanism");
    client_expect(c, "<policy-violation");
    assert_true(client_closed(c));
    assert_int_equal(r->auths, 2);
    client_free(c);
    rig_free(r);
}

static void success_after_a_failure_is_possible(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_plain(c, "alice", "wrong");
    client_expect(c, "</failure>");
    client_auth(c, "alice");
    client_free(c);
    rig_free(r);
}

static void a_database_that_does_not_answer_is_temporary_and_not_counted(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auth_io = true;
    rig_start(r);
    client *c = client_open(r);
    for (int i = 0; i < 5; i++) {
        client_plain(c, "alice", "secret");
        client_expect(c, "<temporary-auth-failure");
    }
    r->auth_io = false;
    client_auth(c, "alice");
    client_free(c);
    rig_free(r);
}

static void plain_and_plus_are_offered_only_where_they_may(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    c->seen = 0;
    client_expect(c, "SCRAM-SHA-256<");
    c->seen = 0;
    assert_true(client_quiet(c, "-PLUS"));
    client_send(c, "<auth " NSSASL " mechanism='SCRAM-SHA-256-PLUS'>cD10bHMtZXhwb3J0ZXIsLG49YWxpY2Uscj1hYmNk</auth>");
    client_expect(c, "<failure");
    client_free(c);
    c = client_new(r, &r->bound);
    client_send(c, "<stream:stream to='anon.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    client_expect(c, "<mechanism>ANONYMOUS</mechanism></mechanisms>");
    client_send(c, "<auth " NSSASL " mechanism='ANONYMOUS'>=</auth>");
    client_expect(c, "<success");
    client_send(c, "<stream:stream to='anon.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    client_expect(c, "</stream:features>");
    client_bind(c, "x");
    client_expect(c, "@anon.test/x");
    client_free(c);
    rig_free(r);
}

/* promises.md: auth deadline 30 s regardless of pings. */
static void the_deadline_runs_whatever_the_client_sends(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    for (int i = 0; i < 29; i++) {
        rig_advance(r, USEC_PER_SEC);
        client_send(c, " ");
    }
    assert_true(client_quiet(c, "connection-timeout"));
    rig_advance(r, 2 * USEC_PER_SEC);
    client_expect(c, "<connection-timeout");
    assert_true(client_closed(c));
    client_free(c);
    c = client_new(r, &r->bound_tls); /* and in the handshake */
    rig_settle(r);
    rig_advance(r, 31 * USEC_PER_SEC);
    assert_true(client_closed(c));
    client_free(c);
    rig_free(r);
}

static void the_domain_cannot_change_after_authentication(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_plain(c, "alice", "secret");
    client_expect(c, "<success");
    client_send(c, "<stream:stream to='anon.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    client_expect(c, "from='x.test'");
    client_expect(c, "<host-unknown");
    assert_true(client_closed(c));
    client_free(c);
    rig_free(r);
}

static void bind_errors_leave_the_stream_open(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r);
    client_auth(c, "alice");
    client_bind(c, "taken");
    client_expect(c, "type='error'");
    client_expect(c, "<conflict");
    client_bind(c, "free");
    client_expect(c, "<jid>alice@x.test/free</jid>");
    client_send(c, "<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    client_expect(c, "type='result'");
    assert_int_equal(r->n_st, 0);
    client_free(c);
    rig_free(r);
}

static void a_session_that_is_gone_before_bound_unbinds(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_abort(c);
    assert_int_equal(r->unbinds, 1);
    assert_int_equal(edge_session_count(r->node), 0);
    client_free(c);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(scram_plus_binds_to_the_channel),
        cmocka_unit_test(wrong_password_and_unknown_user_get_the_same_bytes),
        cmocka_unit_test(failures_are_counted_and_end_the_connection),
        cmocka_unit_test(success_after_a_failure_is_possible),
        cmocka_unit_test(a_database_that_does_not_answer_is_temporary_and_not_counted),
        cmocka_unit_test(plain_and_plus_are_offered_only_where_they_may),
        cmocka_unit_test(the_deadline_runs_whatever_the_client_sends),
        cmocka_unit_test(the_domain_cannot_change_after_authentication),
        cmocka_unit_test(bind_errors_leave_the_stream_open),
        cmocka_unit_test(a_session_that_is_gone_before_bound_unbinds),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
