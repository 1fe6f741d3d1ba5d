/* Stanzas that are not kept, for a session that lags (svc/queue_live.c): behind what the same sender sent before, bounded, answered. */
#include "svc/svc_rig.h"

static const char *const LIVE = "<message type='headline' to='bob@x.test'><body>%s</body></message>";

static void behind_the_offline_queue_of_the_same_sender(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 2;
    sess *a = login(r, "alice@x.test", "a", 0), *c = login(r, "carol@x.test", "c", 0);
    for (int i = 0; i < 4; i++) (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body></message>", i);
    sess *b = login(r, "bob@x.test", "b", 0);
    (void)sayf(a, LIVE, "4");
    (void)say(a, "<iq type='get' id='q' to='bob@x.test/b'><body>5</body></iq>");
    (void)say(a, "<presence to='bob@x.test/b'><body>6</body></presence>");
    chat(a, "bob@x.test", "7");
    (void)sayf(a, LIVE, "8");
    (void)sayf(c, LIVE, "c"); /* nothing of hers waits */
    assert_bodies(b, "0 1 c");
    ack(b, 1);
    assert_bodies(b, "0 1 c 2");
    ack(b, 2);
    assert_bodies(b, "0 1 c 2 3 4 5 6");
    ack(b, 4);
    assert_bodies(b, "0 1 c 2 3 4 5 6 7 8");
    rig_free(r);
}

static void their_tickets_do_not_wait_with_them(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test", "1");
    chat(a, "bob@x.test", "2");
    assert_true(done(a, sayf(a, LIVE, "3"))); /* a slow reader does not hold up the sender's acks */
    assert_bodies(b, "1");
    ack(b, 1);
    assert_bodies(b, "1 2 3");
    rig_free(r);
}

static void a_put_that_came_later_does_not_hold_them_up(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    chat(a, "bob@x.test", "1");
    (void)sayf(a, LIVE, "2");
    chat(a, "bob@x.test", "3");
    (void)sayf(a, LIVE, "4");
    rig_release(r, 1, ERR_OK);
    assert_bodies(b, "1 2");
    rig_release(r, 1, ERR_OK);
    assert_bodies(b, "1 2 3 4");
    rig_free(r);
}

static void messages_of_unknown_senders_hold_them_up(void **state) {
    (void)state;
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    r->bulk = 3;
    r->cfg.window_messages = 2;
    rig_start(r); /* a restart: the log's index does not name senders */
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    (void)sayf(a, LIVE, "x");
    assert_bodies(b, "1 2");
    ack(b, 2);
    assert_bodies(b, "1 2 3 x");
    rig_free(r);
}

static void what_is_too_much_goes_out_at_once_and_in_its_own_order(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test", "k1");
    chat(a, "bob@x.test", "k2");
    char want[2048] = "k1";
    for (int i = 0; i <= 128; i++) {
        char n[12];
        (void)snprintf(n, sizeof n, "%d", i);
        assert_int_equal(b->n, 1);
        (void)sayf(a, LIVE, n);
        (void)snprintf(want + strlen(want), sizeof want - strlen(want), " %d", i);
    }
    assert_bodies(b, want); /* the 129th did not fit */
    (void)sayf(a, LIVE, "again");
    assert_int_equal(b->n, 130);
    ack(b, 1);
    assert_string_equal(bodies(b) + strlen(want), " k2 again");
    rig_free(r);
}

static void bytes_are_bounded_too(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test", "k1");
    chat(a, "bob@x.test", "k2");
    static char big[100001], xml[110000];
    memset(big, 'x', sizeof big - 1);
    (void)snprintf(xml, sizeof xml, LIVE, big);
    (void)say(a, xml);
    (void)say(a, xml);
    assert_int_equal(b->n, 1);
    (void)say(a, xml); /* more than 256 KiB in all */
    assert_int_equal(b->n, 4);
    rig_free(r);
}

static void requests_that_wait_when_the_session_ends_are_answered(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test", "k1");
    chat(a, "bob@x.test", "k2");
    (void)say(a, "<iq type='get' id='q1' to='bob@x.test/b'><q xmlns='x'/></iq>");
    (void)say(a, "<message type='chat' id='m1' to='bob@x.test/b'><body>n</body><no-store xmlns='urn:xmpp:hints'/></message>");
    (void)sayf(a, LIVE, "h");
    (void)say(a, "<presence to='bob@x.test/b'/>");
    assert_int_equal(a->n, 0);
    die(b);
    assert_int_equal(a->n, 2);
    assert_int_equal(count(a, "service-unavailable"), 2);
    assert_int_equal(count(a, "id='q1'"), 1);
    assert_int_equal(count(a, "id='m1'"), 1);
    rig_free(r);
}

static void what_they_wait_for_may_be_taken_by_another_resource(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *n = login(r, "bob@x.test", "n", -1), *c = login(r, "bob@x.test", "c", 0);
    (void)say(c, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    forget(n);
    chat(a, "bob@x.test/n", "1");
    chat(a, "bob@x.test/n", "2");
    (void)say(a, "<message type='headline' to='bob@x.test/n'><body>3</body></message>");
    assert_bodies(n, "1");
    ack(c, 1);
    ack(c, 2); /* copies of both: they are done with */
    assert_int_equal(live_records(r), 0);
    assert_int_equal(count(n, "<body>3"), 1);
    rig_free(r);
}

static void a_node_that_ends_while_some_wait_leaks_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test", "k1");
    chat(a, "bob@x.test", "k2");
    (void)sayf(a, LIVE, "h");
    assert_int_equal(count(b, "<body>h"), 0);
    rig_free(r); /* the memory checks of the sanitizers look */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_the_offline_queue_of_the_same_sender),
        cmocka_unit_test(their_tickets_do_not_wait_with_them),
        cmocka_unit_test(a_put_that_came_later_does_not_hold_them_up),
        cmocka_unit_test(messages_of_unknown_senders_hold_them_up),
        cmocka_unit_test(what_is_too_much_goes_out_at_once_and_in_its_own_order),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(requests_that_wait_when_the_session_ends_are_answered),
        cmocka_unit_test(what_they_wait_for_may_be_taken_by_another_resource),
        cmocka_unit_test(a_node_that_ends_while_some_wait_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
