/* c2s_resume: lost connections come back (XEP-0198 section 5), whoever asks and wherever the old session lives. */
#include "edge/edge_rig.h"

#define MSG_OF(id) "<message to='bob@x.test' id='" id "'><body>hi</body></message>"

/* A second connection of user that asks to resume with previd. */
static client *ask(rig *r, const char *user, const char *previd, unsigned h) {
    client *c = client_open(r);
    char t[512];
    client_auth(c, user);
    (void)snprintf(t, sizeof t, "<resume " NSSM " previd='%s' h='%u'/>", previd, h);
    client_send(c, t);
    return c;
}

static client *login_sm(rig *r, const char *resource, char smid[64]) {
    client *c = client_login(r, "alice", resource);
    client_sm(c);
    rig_until(r, r->smid != NULL);
    (void)snprintf(smid, 64, SLICE_FMT, SLICE_ARG(rt_blob_slice(r->smid)));
    assert_int_equal(strlen(smid), EDGE_SMID);
    return c;
}

static void resumption_sends_again_what_h_does_not_cover(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    rt_pid session = r->session;
    rig_deliver(r, session, "one", 1);
    rig_deliver(r, session, "two", 2);
    client_send(a, MSG_OF("x"));
    client_expect(a, "two");
    client_abort(a);
    rig_deliver(r, session, "three", 3); /* while it is away */
    rig_settle(r);
    assert_int_equal(r->unbinds, 0);
    client *b = ask(r, "alice", smid, 1);
    client_expect(b, "<resumed ");
    client_expect(b, "h='1'");
    client_expect(b, "two");
    client_expect(b, "three");
    rig_deliver(r, session, "four", 4);
    client_expect(b, "four");
    b->seen = 0;
    assert_true(client_quiet(b, ">one<") && r->acked == 1);
    client_send(b, "<a " NSSM " h='4'/>" MSG_OF("y") "<r " NSSM "/>");
    rig_until(r, r->acked == 4);
    b->seen = 0;
    client_expect(b, "<a ");
    client_expect(b, "h='2'");
    assert_int_equal(edge_session_count(r->node), 1);
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void a_half_open_connection_is_replaced(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    client *b = ask(r, "alice", smid, 0);
    client_expect(b, "<resumed ");
    assert_true(client_closed(a));
    client_send(b, MSG_OF("1"));
    rig_until(r, r->n_st == 1);
    assert_true(slice_is(rig_env(r, 0).from, "alice@x.test/desk"));
    rig_until(r, edge_session_count(r->node) == 1);
    client *c = ask(r, "alice", smid, 0); /* the id is good for the next time, too */
    client_expect(c, "<resumed ");
    assert_true(client_closed(b));
    client_free(a);
    client_free(b);
    client_free(c);
    rig_free(r);
}

static void bytes_behind_resume_are_read_by_the_session(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64], t[512];
    client *a = login_sm(r, "desk", smid);
    client_abort(a);
    client *b = client_open(r);
    client_auth(b, "alice");
    (void)snprintf(t, sizeof t, "<resume " NSSM " previd='%s' h='0'/>" MSG_OF("1") "<message to='bob@x.te", smid);
    client_send(b, t);
    client_expect(b, "<resumed ");
    client_send(b, "st' id='2'/><r " NSSM "/>");
    client_expect(b, "<a ");
    client_expect(b, "h='2'");
    assert_int_equal(r->n_st, 2);
    client_free(a);
    client_free(b);
    rig_free(r);
}

/* So that the client does not send again what is on its way to the disk. */
static void resumed_waits_for_stanzas_in_progress(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    rt_pid session = r->session;
    client_send(a, MSG_OF("1") MSG_OF("2"));
    rig_until(r, r->n_st == 2);
    client_abort(a);
    rig_done(r, session, r->st[0].ticket);
    client *b = ask(r, "alice", smid, 0);
    assert_true(client_quiet(b, "<resumed "));
    rig_deliver(r, session, "meanwhile", 1);
    assert_true(client_quiet(b, "meanwhile"));
    rig_done(r, session, r->st[1].ticket);
    client_expect(b, "<resumed ");
    client_expect(b, "h='2'");
    client_expect(b, "meanwhile");
    client_free(a);
    client_free(b);
    rig_free(r);
}

/* promises.md: SM resume theft. */
static void a_wrong_or_foreign_id_fails_and_the_client_may_bind(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    client *b = ask(r, "alice", "AAAAAAAAAAAAAAAAAAAAAAAA", 0);
    client_expect(b, "<failed");
    client_expect(b, "<item-not-found");
    client_bind(b, "other");
    client_expect(b, "alice@x.test/other");
    client *c = ask(r, "bob", smid, 0);
    client_expect(c, "<item-not-found");
    client_bind(c, "x");
    client_expect(c, "bob@x.test/x");
    client_send(a, "<r " NSSM "/>");
    client_expect(a, "<a "); /* undisturbed */
    client_free(a);
    client_free(b);
    client_free(c);
    rig_free(r);
}

/* The session checks for itself, whatever svc says; the connection comes back to the one that asked. */
static void the_session_refuses_another_account_and_a_connection_without_tls(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = client_open(r);
    client_starttls(a);
    client_send(a, HEADER);
    client_expect(a, "</stream:features>");
    client_auth(a, "alice");
    client_bind(a, "desk");
    client_expect(a, "</jid>");
    client_sm(a);
    rig_until(r, r->smid != NULL);
    (void)snprintf(smid, 64, SLICE_FMT, SLICE_ARG(rt_blob_slice(r->smid)));
    client *b = ask(r, "alice", smid, 0); /* right account, right id, but in clear */
    client_expect(b, "<item-not-found");
    (void)snprintf(r->smid_user, sizeof r->smid_user, "bob@x.test"); /* svc is fooled */
    client *c = ask(r, "bob", smid, 0);
    client_expect(c, "<item-not-found");
    client_bind(c, "x");
    client_expect(c, "bob@x.test/x");
    client_send(a, "<r " NSSM "/>");
    client_expect(a, "<a ");
    client_free(a);
    client_free(b);
    client_free(c);
    rig_free(r);
}

static void a_lost_session_ends_after_the_time_for_resumption(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    client_abort(a);
    rig_advance(r, 299 * USEC_PER_SEC);
    assert_int_equal(r->unbinds, 0);
    rig_advance(r, 2 * USEC_PER_SEC);
    assert_int_equal(r->unbinds, 1);
    assert_int_equal(edge_session_count(r->node), 0);
    client *b = ask(r, "alice", smid, 0); /* svc still knows the pid: the message finds nobody */
    assert_true(client_closed(b));
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void a_session_that_closed_its_stream_cannot_be_resumed(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    client_send(a, "</stream:stream>");
    client_expect(a, "</stream:stream>");
    rig_until(r, r->unbinds == 1);
    client_free(a);
    rig_until(r, edge_session_count(r->node) == 0);
    rig_free(r);
}

static void what_waits_for_a_lost_client_is_bounded(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.unacked_max = 100;
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    rt_pid session = r->session;
    client_abort(a);
    for (int i = 0; i < 500; i++) rig_deliver(r, session, "noise", 0); /* best effort: three quarters, then dropped */
    rig_settle(r);
    assert_int_equal(edge_session_count(r->node), 1);
    for (uint32_t i = 1; i <= 25; i++) rig_deliver(r, session, "kept", i);
    rig_settle(r);
    assert_int_equal(edge_session_count(r->node), 1);
    rig_deliver(r, session, "kept", 26); /* one too many: it ends, and svc delivers again */
    rig_until(r, edge_session_count(r->node) == 0);
    assert_int_equal(r->unbinds, 1);
    client_free(a);
    rig_free(r);
}

/* What was dropped while nobody could ack is not held against the client. */
static void a_client_that_comes_back_is_not_slow(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.unacked_max = 100;
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    rt_pid session = r->session;
    client_abort(a);
    for (int i = 0; i < 100; i++) rig_deliver(r, session, "noise", 0);
    rig_settle(r);
    rig_advance(r, 120 * USEC_PER_SEC);
    client *b = ask(r, "alice", smid, 0);
    client_expect(b, "<resumed ");
    client_send(b, "<a " NSSM " h='75'/>");
    rig_advance(r, 61 * USEC_PER_SEC);
    client_send(b, "<r " NSSM "/>");
    client_expect(b, "<a ");
    client_free(a);
    client_free(b);
    rig_free(r);
}

static void resumption_works_across_shards(void **st) {
    (void)st;
    rig *r = rig_new();
    r->shards = 2;
    r->edge.per_ip_max = r->edge.accept_rate_ip = 0;
    rig_start(r);
    char smid[64];
    client *a = login_sm(r, "desk", smid);
    rt_pid session = r->session;
    rig_deliver(r, session, "one", 1);
    client_expect(a, "one");
    client_abort(a);
    client *c[32] = {NULL};
    size_t n = 0;
    for (; n < ARRAY_LEN(c); n++) { /* the kernel chooses the shard: until it is the other one */
        c[n] = client_open(r);
        client_auth(c[n], "alice");
        client_bind(c[n], "probe");
        client_expect(c[n], "</jid>");
        if (rt_pid_shard(r->session) != rt_pid_shard(session)) break;
    }
    assert_true(n < ARRAY_LEN(c));
    unsigned crossed = 0;
    for (int i = 0; i < 12; i++) { /* of these, about half come from the other shard */
        client *b = ask(r, "alice", smid, 0);
        client_expect(b, "<resumed ");
        client_expect(b, ">one<");
        client_send(b, "<message to='bob@x.test' id='after'/><r " NSSM "/>");
        client_expect(b, "<a ");
        client_abort(b);
        client_free(b);
        crossed++;
    }
    assert_int_equal(crossed, 12);
    assert_int_equal(rt_event_count(r->node, EV_SM_RESUME), 12);
    for (size_t i = 0; i <= n; i++) client_free(c[i]);
    client_free(a);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(resumption_sends_again_what_h_does_not_cover),
        cmocka_unit_test(a_half_open_connection_is_replaced),
        cmocka_unit_test(bytes_behind_resume_are_read_by_the_session),
        cmocka_unit_test(resumed_waits_for_stanzas_in_progress),
        cmocka_unit_test(a_wrong_or_foreign_id_fails_and_the_client_may_bind),
        cmocka_unit_test(the_session_refuses_another_account_and_a_connection_without_tls),
        cmocka_unit_test(a_lost_session_ends_after_the_time_for_resumption),
        cmocka_unit_test(a_session_that_closed_its_stream_cannot_be_resumed),
        cmocka_unit_test(what_waits_for_a_lost_client_is_bounded),
        cmocka_unit_test(a_client_that_comes_back_is_not_slow),
        cmocka_unit_test(resumption_works_across_shards),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
