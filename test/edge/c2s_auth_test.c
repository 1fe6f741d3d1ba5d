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

static void guess(rig *r, const char *user, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        client *c = client_open(r);
        client_plain(c, user, "wrong");
        client_expect(c, "<not-authorized");
        client_free(c);
    }
}

/* guard.h: while limited no attempt succeeds, with either mechanism, and what is said is what is said of a wrong password. */
static void after_ten_guesses_the_right_password_is_refused_too(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_open(r), *d = client_open(r);
    size_t from = c->in.len;
    client_plain(c, "alice", "wrong");
    client_expect(c, "</failure>");
    slice wrong = slice_from(buf_slice(&c->in), from);
    guess(r, "alice", 9);
    assert_int_equal(rt_event_count(r->node, EV_AUTH_LIMITED), 0);
    from = d->in.len;
    r->hold_pool = true; /* no PBKDF2 is spent on it */
    client_plain(d, "alice", "secret");
    client_expect(d, "</failure>");
    r->hold_pool = false;
    assert_true(slice_eq(slice_from(buf_slice(&d->in), from), wrong));
    assert_int_equal(rt_event_count(r->node, EV_AUTH_LIMITED), 1);
    client *plus = open_tls(r);
    assert_false(scram_plus(plus, "alice", "secret", "exporter-data"));
    assert_int_equal(rt_event_count(r->node, EV_AUTH_LIMITED), 2);
    rig_advance(r, 29 * USEC_PER_SEC);
    client *e = client_open(r);
    client_plain(e, "alice", "secret");
    client_expect(e, "</failure>");
    rig_advance(r, USEC_PER_SEC); /* what was refused took no token */
    client *f = client_login(r, "alice", "desk");
    client *g = client_login(r, "bob", "desk");
    client_free(c);
    client_free(d);
    client_free(e);
    client_free(f);
    client_free(g);
    client_free(plus);
    rig_free(r);
}

/* Many verdicts that are on their way at once are judged one after the other. */
static void guesses_at_the_same_time_get_no_more_than_others(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.account_failures = 3;
    rig_start(r);
    client *c[12];
    for (size_t i = 0; i < ARRAY_LEN(c); i++) c[i] = client_open(r);
    r->hold_pool = true;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_plain(c[i], "alice", i < 11 ? "wrong" : "secret");
    rig_settle(r);
    r->hold_pool = false;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_expect(c[i], "<not-authorized");
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_free(c[i]);
    rig_free(r);
}

/* The same attempts at an account that does not exist have the same answers and the same events. */
static void unknown_accounts_are_limited_as_known_ones(void **st) {
    (void)st;
    uint64_t limited[2];
    char text[2][64];
    for (int i = 0; i < 2; i++) {
        rig *r = rig_new();
        rig_start(r);
        const char *user = i == 0 ? "alice" : "nobody";
        guess(r, user, 14);
        client *c = client_open(r);
        size_t from = c->in.len;
        client_plain(c, user, "wrong");
        client_expect(c, "</failure>");
        (void)snprintf(text[i], sizeof text[i], SLICE_FMT, SLICE_ARG(slice_from(buf_slice(&c->in), from)));
        limited[i] = rt_event_count(r->node, EV_AUTH_LIMITED);
        client_free(c);
        rig_free(r);
    }
    assert_int_equal(limited[0], 5);
    assert_int_equal(limited[1], limited[0]);
    assert_string_equal(text[0], text[1]);
}

static void an_account_that_many_guess_at_lets_its_owner_wait_not_more(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.slow_failures = 3;
    rig_start(r);
    guess(r, "alice", 3);
    client *c = client_open(r);
    client_plain(c, "alice", "secret");
    assert_true(client_quiet(c, "<"));
    assert_int_equal(rt_event_count(r->node, EV_AUTH_LIMITED), 1);
    rig_advance(r, 4 * USEC_PER_SEC);
    assert_true(client_quiet(c, "<"));
    rig_advance(r, USEC_PER_SEC + USEC_PER_MSEC);
    client_expect(c, "<success");
    client *gone = client_open(r); /* nobody waits for the answer */
    client_plain(gone, "alice", "secret");
    rig_settle(r);
    client_abort(gone);
    rig_advance(r, 6 * USEC_PER_SEC);
    client *late = client_open(r); /* and a node that ends meanwhile leaks nothing */
    rig_advance(r, 10 * USEC_PER_SEC);
    guess(r, "alice", 2); /* what has come back by now */
    client_plain(late, "alice", "secret");
    rig_settle(r);
    client_free(c);
    client_free(gone);
    client_free(late);
    rig_free(r);
}

/* However short the time for logging in is set, the delay leaves some of it. */
static void a_delay_leaves_time_to_log_in(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.slow_failures = 1;
    r->edge.auth_deadline = 2 * USEC_PER_SEC;
    rig_start(r);
    guess(r, "alice", 1);
    client *c = client_open(r);
    client_plain(c, "alice", "secret");
    assert_true(client_quiet(c, "<"));
    rig_advance(r, USEC_PER_SEC + USEC_PER_MSEC);
    client_expect(c, "<success");
    client_free(c);
    rig_free(r);
}

/* The limits are the node's, not a shard's. */
static void a_guess_on_one_shard_counts_on_all(void **st) {
    (void)st;
    rig *r = rig_new();
    r->shards = 2;
    rig_start(r);
    guess(r, "alice", 10); /* wherever the kernel puts them */
    for (int i = 0; i < 8; i++) {
        client *c = client_open(r);
        client_plain(c, "alice", "secret");
        client_expect(c, "<not-authorized");
        client_free(c);
    }
    assert_int_equal(rt_event_count(r->node, EV_AUTH_LIMITED), 8);
    rig_free(r);
}

/* XEP-0474: the hash of what the features said. */
static void the_challenge_says_what_was_offered(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = open_tls(r);
    buf msg, in, want;
    uint8_t hash[DIGEST_MAX];
    buf_init(&msg, 8192);
    buf_init(&in, 8192);
    buf_init(&want, 8192);
    digest_sum(
        DIGEST_SHA256,
        SLICE("PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1eSCRAM-SHA-256\x1eSCRAM-SHA-256-PLUS\x1ftls-exporter\x1etls-server-end-point"),
        hash);
    buf_add_str(&want, ",h=");
    base64_encode(&want, slice_of(hash, 32));
    buf_add_str(&msg, "p=tls-exporter,,n=alice,r=clientnonceclientnonce12");
    answer(c, "auth", &msg);
    client_expect(c, "<challenge");
    data_of(c, &in);
    assert_true(in.len > want.len && slice_eq(slice_from(buf_slice(&in), in.len - want.len), buf_slice(&want)));
    buf_fini(&msg);
    buf_fini(&in);
    buf_fini(&want);
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
        cmocka_unit_test(after_ten_guesses_the_right_password_is_refused_too),
        cmocka_unit_test(guesses_at_the_same_time_get_no_more_than_others),
        cmocka_unit_test(unknown_accounts_are_limited_as_known_ones),
        cmocka_unit_test(an_account_that_many_guess_at_lets_its_owner_wait_not_more),
        cmocka_unit_test(a_delay_leaves_time_to_log_in),
        cmocka_unit_test(a_guess_on_one_shard_counts_on_all),
        cmocka_unit_test(the_challenge_says_what_was_offered),
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
