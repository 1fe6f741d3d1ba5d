/* c2s_session: bound sessions: stamping, acks in both directions, slow clients, silence, ends. */
#include "edge/edge_rig.h"

#define MSG_OF(id) "<message to='bob@x.test' id='" id "'><body>hi</body></message>"

static void from_is_stamped_and_forgery_closes(void **st) {
    (void)st;
    static const char *const own[] = {"", "from='alice@x.test'", "from='alice@x.test/desk'", "from='ALICE@X.test/desk'"};
    static const char *const forged[] = {"from='bob@x.test'", "from='alice@x.test/other'", "from='x.test'", "from='@'", "from=''"};
    static const char *const kinds[][2] = {{"<message to='bob@x.test' ", "><body>x</body></message>"},
                                           {"<presence ", "/>"},
                                           {"<iq type='get' id='1' ", "><ping xmlns='urn:xmpp:ping'/></iq>"}};
    rig *r = rig_new();
    rig_start(r);
    char t[256];
    client *c = client_login(r, "alice", "desk");
    for (size_t i = 0; i < ARRAY_LEN(own) * 3; i++) {
        (void)snprintf(t, sizeof t, "%s%s%s", kinds[i % 3][0], own[i / 3], kinds[i % 3][1]);
        client_send(c, t);
    }
    rig_until(r, r->n_st == 12);
    for (size_t i = 0; i < 12; i++) assert_true(slice_is(rig_env(r, i).from, "alice@x.test/desk"));
    client_free(c);
    for (size_t i = 0; i < ARRAY_LEN(forged) * 3; i++) {
        c = client_login(r, "alice", "desk");
        (void)snprintf(t, sizeof t, "%s%s%s", kinds[i % 3][0], forged[i / 3], kinds[i % 3][1]);
        client_send(c, t);
        client_expect(c, "<invalid-from");
        assert_true(client_closed(c));
        client_free(c);
    }
    assert_int_equal(r->n_st, 12);
    rig_free(r);
}

static void lang_of_the_stream_is_the_default(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk"); /* its header says de */
    client_send(c, MSG_OF("1") "<message to='bob@x.test' xml:lang='fr'><body>x</body></message>");
    rig_until(r, r->n_st == 2);
    assert_true(slice_is(rig_env(r, 0).lang, "de"));
    assert_true(slice_is(rig_env(r, 1).lang, "fr"));
    client_free(c);
    rig_free(r);
}

static void malformed_addresses_are_answered_and_complete(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, "<message to='@@' id='m7'><body>x</body></message><r " NSSM "/>");
    client_expect(c, "id='m7'");
    client_expect(c, "<jid-malformed");
    client_expect(c, "<a ");
    client_expect(c, "h='1'");
    assert_int_equal(r->n_st, 0);
    client_free(c);
    rig_free(r);
}

/* promises.md, sentence 1: h covers a prefix; an <r/> is answered when what came before it is complete. */
static void acks_wait_for_a_prefix_of_completions(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, MSG_OF("1") MSG_OF("2") MSG_OF("3") "<r " NSSM "/>" MSG_OF("4"));
    rig_until(r, r->n_st == 4);
    rig_done(r, r->session, r->st[1].ticket);
    rig_done(r, r->session, r->st[2].ticket);
    assert_true(client_quiet(c, "<a "));
    rig_done(r, r->session, r->st[0].ticket);
    client_expect(c, "<a ");
    client_expect(c, "h='3'");
    assert_true(client_quiet(c, "<a "));
    client_send(c, "<r " NSSM "/>");
    assert_true(client_quiet(c, "<a "));
    rig_done(r, r->session, r->st[3].ticket);
    client_expect(c, "h='4'");
    client_free(c);
    rig_free(r);
}

/* What the partition keeps order by (svc/route.c). */
static void a_stanza_says_whether_one_before_it_has_no_answer(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_send(c, MSG_OF("1") MSG_OF("2"));
    rig_until(r, r->n_st == 2);
    assert_true(r->st[0].alone);
    assert_false(r->st[1].alone);
    rig_done(r, r->session, r->st[1].ticket);
    client_send(c, MSG_OF("3"));
    rig_until(r, r->n_st == 3);
    assert_false(r->st[2].alone); /* the first one has none */
    rig_done(r, r->session, r->st[0].ticket);
    rig_done(r, r->session, r->st[2].ticket);
    client_send(c, MSG_OF("4"));
    rig_until(r, r->n_st == 4);
    assert_true(r->st[3].alone);
    client_free(c);
    rig_free(r);
}

static void requests_in_a_stream_of_messages_do_not_starve(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, MSG_OF("1") "<r " NSSM "/>" MSG_OF("2") "<r " NSSM "/>" MSG_OF("3") "<r " NSSM "/>");
    rig_settle(r);
    rig_done(r, r->session, r->st[0].ticket);
    client_expect(c, "h='1'"); /* though two more are asked for */
    rig_done(r, r->session, r->st[1].ticket);
    rig_done(r, r->session, r->st[2].ticket);
    client_expect(c, "h='3'"); /* one answer for a round */
    client_free(c);
    rig_free(r);
}

static void the_window_stops_reading(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    buf b;
    buf_init(&b, 1u << 20);
    for (unsigned i = 0; i < 1000; i++) buf_addf(&b, "<message to='bob@x.test' id='%u'><body>x</body></message>", i);
    buf_add_byte(&b, 0);
    client_send(c, (const char *)b.p);
    rig_until(r, r->n_st == XMPP_SM_WINDOW);
    for (size_t i = 0; i < r->n_st; i++) {
        rig_done(r, r->session, r->st[i].ticket);
        if (i % 100 == 99) rig_settle(r);
    }
    rig_until(r, r->n_st == 1000);
    for (unsigned i = 0; i < 1000; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%u", i);
        assert_true(slice_is(rig_env(r, i).id, id)); /* in order */
    }
    buf_fini(&b);
    client_free(c);
    rig_free(r);
}

static void one_byte_at_a_time_is_the_same(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    const char *t = MSG_OF("a") " " MSG_OF("b");
    for (; *t; t++) client_send(c, (char[2]){*t, 0});
    rig_until(r, r->n_st == 2);
    assert_true(slice_is(rig_env(r, 1).id, "b"));
    client_free(c);
    rig_free(r);
}

static void stanza_over_the_limit_closes(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    size_t n = (256u << 10) + 4096;
    char *big = mem_zalloc(n + 1);
    memset(big, 'a', n);
    memcpy(big, "<message to='bob@x.test'><body>", 31);
    client_send(c, big);
    client_expect(c, "<policy-violation");
    assert_true(client_closed(c));
    assert_int_equal(r->unbinds, 1);
    mem_free(big);
    client_free(c);
    rig_free(r);
}

/* promises.md, sentence 3: without 0198 a message is acked by the answer to a ping that was written after it. */
static void kept_messages_are_acked_by_a_ping_without_sm(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    rig_deliver(r, r->session, "one", 1);
    rig_deliver(r, r->session, "two", 2);
    client_expect(c, "one");
    client_expect(c, "two");
    client_expect(c, "<iq type='get' id='");
    char id[17] = {0};
    memcpy(id, c->in.p + c->seen, 16);
    client_expect(c, "urn:xmpp:ping");
    rig_deliver(r, r->session, "three", 3); /* after the ping: not acked by its answer */
    client_expect(c, "three");
    assert_true(client_quiet(c, "<iq"));
    assert_int_equal(r->acks, 0);
    char t[128];
    client_send(c, "<iq type='result' id='0000000000000000' to='x.test'/>"); /* not our ping's id: goes to svc */
    (void)snprintf(t, sizeof t, "<iq type='error' id='%s' to='x.test'><error type='cancel'/></iq>", id);
    client_send(c, t);
    client_expect(c, "<iq type='get' id='"); /* asks for three */
    memcpy(id, c->in.p + c->seen, 16);
    assert_int_equal(r->acked, 2);
    (void)snprintf(t, sizeof t, "<iq type='result' id='%s'/>", id);
    client_send(c, t);
    rig_until(r, r->acked == 3);
    assert_int_equal(r->n_st, 1);
    client_free(c);
    rig_free(r);
}

static void kept_messages_are_acked_by_h_with_sm(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    rig_deliver(r, r->session, "one", 1);
    rig_deliver(r, r->session, "noise", 0);
    rig_deliver(r, r->session, "two", 2);
    client_expect(c, "two");
    client_expect(c, "<r ");
    client_send(c, "<a " NSSM " h='2'/>");
    rig_until(r, r->acked == 1);
    client_send(c, "<a " NSSM " h='3'/>");
    rig_until(r, r->acked == 2);
    client_send(c, "<a " NSSM " h='4'/>"); /* more than was sent */
    client_expect(c, "<undefined-condition");
    assert_true(client_closed(c));
    client_free(c);
    rig_free(r);
}

/* promises.md R21. */
static void a_client_that_does_not_read_is_bounded_and_then_closed(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.out_bytes_max = 256u << 10;
    r->rcvbuf = 4096; /* or the kernel would take it all */
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    char *body = mem_zalloc(4097);
    memset(body, 'x', 4096);
    for (int i = 0; i < 4000; i++) { /* 16 MB: more than the kernel takes for it */
        rig_deliver(r, r->session, body, 0);
        if (i % 50 == 0) rig_settle(r);
    }
    rig_until(r, edge_session_count(r->node) == 1); /* best effort is dropped */
    rig_deliver(r, r->session, "important", 1);     /* there is room for what is kept */
    rig_settle(r);
    assert_int_equal(rt_event_count(r->node, EV_SLOW_CLIENT), 0);
    rig_advance(r, 61 * USEC_PER_SEC);
    assert_int_equal(rt_event_count(r->node, EV_SLOW_CLIENT), 1);
    assert_int_equal(r->unbinds, 1);
    assert_int_equal(edge_session_count(r->node), 0);
    mem_free(body);
    client_free(c);
    rig_free(r);
}

static void a_slow_client_gets_kept_messages_before_best_effort(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.out_bytes_max = 256u << 10;
    r->rcvbuf = 4096; /* or the kernel would take it all */
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    char *body = mem_zalloc(4097);
    memset(body, 'x', 4096);
    for (int i = 0; i < 4000; i++) {
        rig_deliver(r, r->session, body, 0);
        if (i % 50 == 0) rig_settle(r);
    }
    rig_deliver(r, r->session, "important", 1);
    memcpy(body, "dropped", 7);
    rig_deliver(r, r->session, body, 0);
    rig_settle(r);
    client_expect(c, "important"); /* now it reads */
    assert_true(client_quiet(c, "dropped"));
    rig_advance(r, 61 * USEC_PER_SEC);
    assert_int_equal(rt_event_count(r->node, EV_SLOW_CLIENT), 0); /* forgiven */
    mem_free(body);
    client_free(c);
    rig_free(r);
}

static void a_silent_client_is_pinged_and_then_closed(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    rig_advance(r, 299 * USEC_PER_SEC);
    assert_true(client_quiet(c, "urn:xmpp:ping"));
    client_send(c, " "); /* a keep-alive counts */
    rig_advance(r, 299 * USEC_PER_SEC);
    assert_true(client_quiet(c, "urn:xmpp:ping"));
    rig_advance(r, 2 * USEC_PER_SEC);
    client_expect(c, "urn:xmpp:ping");
    rig_advance(r, 61 * USEC_PER_SEC);
    client_expect(c, "<connection-timeout");
    assert_int_equal(r->unbinds, 1);
    client_free(c);
    rig_free(r);
}

static void close_waits_for_acks_that_are_asked_for(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, MSG_OF("1") "<r " NSSM "/></stream:stream>");
    assert_true(client_quiet(c, "</stream:stream>"));
    rig_done(r, r->session, r->st[0].ticket);
    client_expect(c, "h='1'");
    client_expect(c, "</stream:stream>");
    assert_true(client_closed(c));
    assert_int_equal(r->unbinds, 1);
    client_free(c);
    rig_free(r);
}

static void kick_and_drain_send_a_reason(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *a = client_login(r, "alice", "desk");
    rig_kick(r, r->session, STREAM_CONFLICT);
    client_expect(a, "<conflict");
    assert_true(client_closed(a));
    assert_int_equal(r->unbinds, 1);
    client *b = client_login(r, "bob", "desk"), *c = client_open(r);
    edge_drain(r->node, "moving house");
    client_expect(b, "<system-shutdown");
    client_expect(b, "moving house");
    client_expect(c, "<system-shutdown");
    assert_true(client_closed(b) && client_closed(c));
    client_free(a);
    client_free(b);
    client_free(c);
    rig_until(r, edge_session_count(r->node) == 0);
    rig_free(r);
}

static void end_part(rt_ctx *cx, void *arg) { rt_exit(cx, *(rt_pid *)arg, ERR_KILLED); }

static void a_session_ends_with_its_partition(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    rt_node_boot(r->node, 0, end_part, &r->part);
    client_expect(c, "<reset");
    assert_true(client_closed(c));
    client_free(c);
    rig_free(r);
}

/* promises.md, sentence 1: acked when it is safe, or answered with an error. */
static void stanzas_that_a_busy_partition_refuses_are_answered_and_acked(void **st) {
    (void)st;
    rig *r = rig_new();
    r->part_small = true;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    buf b;
    buf_init(&b, 1u << 16);
    for (unsigned i = 0; i < 20; i++) buf_addf(&b, "<message to='bob@x.test' id='m%u'><body>x</body></message>", i);
    buf_add_str(&b, "<r " NSSM "/>");
    buf_add_byte(&b, 0);
    client_send(c, (const char *)b.p);
    client_expect(c, " h='20'");
    size_t errors = 0;
    for (c->seen = 0; client_has(c, "<resource-constraint");) errors++;
    assert_true(errors > 0);
    assert_int_equal(errors + r->n_st, 20);
    buf_fini(&b);
    client_free(c);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(from_is_stamped_and_forgery_closes),
        cmocka_unit_test(lang_of_the_stream_is_the_default),
        cmocka_unit_test(malformed_addresses_are_answered_and_complete),
        cmocka_unit_test(acks_wait_for_a_prefix_of_completions),
        cmocka_unit_test(a_stanza_says_whether_one_before_it_has_no_answer),
        cmocka_unit_test(requests_in_a_stream_of_messages_do_not_starve),
        cmocka_unit_test(the_window_stops_reading),
        cmocka_unit_test(one_byte_at_a_time_is_the_same),
        cmocka_unit_test(stanza_over_the_limit_closes),
        cmocka_unit_test(kept_messages_are_acked_by_a_ping_without_sm),
        cmocka_unit_test(kept_messages_are_acked_by_h_with_sm),
        cmocka_unit_test(a_client_that_does_not_read_is_bounded_and_then_closed),
        cmocka_unit_test(a_slow_client_gets_kept_messages_before_best_effort),
        cmocka_unit_test(a_silent_client_is_pinged_and_then_closed),
        cmocka_unit_test(close_waits_for_acks_that_are_asked_for),
        cmocka_unit_test(kick_and_drain_send_a_reason),
        cmocka_unit_test(stanzas_that_a_busy_partition_refuses_are_answered_and_acked),
        cmocka_unit_test(a_session_ends_with_its_partition),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
