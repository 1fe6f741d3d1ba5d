/* What svc/queue.c and svc/queue_wait.c cost: the entries that are looked at, counted, stay in proportion to what is concerned, however
 * long the queue is; and what the index of waiting messages answers. */
#include "svc/svc_rig.h"

#define LONG 100000u

static rig *rig_long(void) { /* bob has very many messages in the log */
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    (void)rig_add(r, "carol@x.test");
    r->bulk = LONG;
    r->cfg.offline_messages_max = 2 * LONG;
    rig_start(r);
    return r;
}

static uint64_t steps(rig *r, sess *tool) { return rig_status(r, tool, "bob@x.test", "queue_steps"); }

static void messages_to_a_resource_that_is_not_available_do_not_walk_the_queue(void **state) {
    (void)state;
    rig *r = rig_long();
    sess *tool = sess_new(r), *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", -1);
    forget(b);
    uint64_t before = steps(r, tool);
    for (int i = 0; i < 200; i++) chat(a, "bob@x.test/b", "m");
    assert_bodies(b, "");                         /* whose the old ones are is not known: they go first */
    assert_true(steps(r, tool) - before >= LONG); /* the index is made, once */
    assert_true(steps(r, tool) - before <= LONG + 200 * 20);
    unbind(b);
    rig_free(r);
}

static void a_session_that_ends_looks_at_what_it_was_sent_only(void **state) {
    (void)state;
    rig *r = rig_long();
    r->cfg.window_messages = 16;
    sess *tool = sess_new(r), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0);
    assert_int_equal(b->last_keep, 16);
    uint64_t before = steps(r, tool);
    for (int i = 0; i < 20; i++) {
        sess *d = login(r, "bob@x.test", "d", 0);
        assert_int_equal(d->last_keep, 16);
        die(d);
        unbind(login(r, "bob@x.test", "e", -1));
    }
    die(b);
    assert_true(steps(r, tool) - before <= 21 * 16 * 40); /* reads ahead and the windows of those who are there */
    ack(c, 16);
    assert_int_equal(c->last_keep, 32);
    assert_int_equal(r->bulk_dels, 16);
    die(c);
    rig_free(r);
}

static void what_was_left_to_a_session_is_all_that_others_look_at_again(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 4;
    sess *tool = sess_new(r), *a = login(r, "alice@x.test", "a", 0);
    sess *slow = login(r, "bob@x.test", "s", 0), *b = login(r, "bob@x.test", "b", 0);
    for (uint32_t i = 1; i <= 1000; i++) {
        (void)sayf(a, "<message type='chat' to='bob@x.test%s'><body>%u</body></message>", i % 100 == 0 ? "/s" : "", i);
        ack(b, b->last_keep);
    }
    assert_int_equal(slow->last_keep, 4);
    assert_int_equal(b->last_keep, 990);
    forget(b);
    uint64_t before = steps(r, tool);
    die(slow);
    assert_bodies(b, "100 200 300 400");
    ack(b, b->last_keep);
    ack(b, b->last_keep);
    ack(b, b->last_keep);
    assert_bodies(b, "100 200 300 400 500 600 700 800 900 1000");
    assert_int_equal(live_records(r), 0);
    assert_true(steps(r, tool) - before <= 1000 + 100); /* what the slow one had yet to take, once */
    rig_free(r);
}

static void a_resource_that_is_not_available_takes_its_own_while_no_older_one_of_the_sender_waits(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *tool = sess_new(r), *a = login(r, "alice@x.test", "a", 0), *c = login(r, "carol@x.test", "c", 0);
    sess *b = login_quiet(r, "bob@x.test", "b", -1);
    for (int i = 0; i < 2000; i++) chat(a, "bob@x.test", "bare");
    chat(a, "bob@x.test/b", "behind");
    uint64_t before = steps(r, tool);
    for (int i = 0; i < 100; i++) {
        chat(c, "bob@x.test/b", "now");
        ack(b, b->last_keep);
    }
    assert_int_equal(count(b, "now"), 100);
    assert_int_equal(count(b, "behind"), 0);
    assert_true(steps(r, tool) - before <= 100 * 20);
    unbind(b);
    rig_free(r);
}

static void what_waits_again_after_a_session_has_ended_holds_the_order_again(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *n = login(r, "bob@x.test", "n", -1), *b = login(r, "bob@x.test", "b", 0);
    forget(n);
    chat(a, "bob@x.test", "1");
    chat(a, "bob@x.test/n", "2"); /* the first is in flight to b */
    assert_bodies(n, "2");
    die(b);
    chat(a, "bob@x.test/n", "3"); /* it waits again */
    assert_bodies(n, "2");
    ack(n, 1);
    (void)say(n, "<presence/>");
    assert_bodies(n, "2 1 3");
    rig_free(r);
}

static void what_a_resource_passed_over_goes_to_the_others_when_it_ends(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 1;
    sess *a = login(r, "alice@x.test", "a", 0), *n = login(r, "bob@x.test", "n", -1), *b = login(r, "bob@x.test", "b", 0);
    forget(n);
    chat(a, "bob@x.test", "0");
    chat(a, "bob@x.test", "1");
    chat(a, "bob@x.test/n", "2"); /* behind 1, which waits for the window of b */
    ack(b, 1);
    ack(b, 2);
    assert_bodies(n, "");
    assert_bodies(b, "0 1");
    die(n);
    assert_bodies(b, "0 1 2");
    rig_free(r);
}

static void what_is_done_with_leaves_memory_behind_one_that_nobody_takes(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *tool = sess_new(r), *a = login(r, "alice@x.test", "a", 0), *c = login(r, "carol@x.test", "c", 0);
    sess *n = login_quiet(r, "bob@x.test", "n", -1);
    chat(a, "bob@x.test", "waits");
    for (uint32_t i = 0; i < 1000; i++) {
        chat(c, "bob@x.test/n", "taken");
        if (i % 100 == 50) chat(a, "bob@x.test", "waits too");
        ack(n, n->last_keep);
    }
    assert_int_equal(count(n, "taken"), 1000);
    assert_int_equal(live_records(r), 11);
    assert_true(rig_status(r, tool, "bob@x.test", "queue_entries") <= 11 + 64 + 1);
    forget(n);
    (void)say(n, "<presence/>");
    assert_bodies(n, "waits waits too waits too waits too waits too waits too waits too waits too waits too waits too waits too");
    ack(n, n->last_keep);
    assert_int_equal(live_records(r), 0);
    assert_int_equal(rig_status(r, tool, "bob@x.test", "queue_entries"), 0);
    rig_free(r);
}

static void a_resource_that_takes_nothing_while_another_reads_on_has_to_come_again(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 3;
    r->cfg.offline_messages_max = 50;
    sess *tool = sess_new(r), *a = login(r, "alice@x.test", "a", 0);
    sess *slow = login(r, "bob@x.test", "s", 0), *b = login(r, "bob@x.test", "b", 0);
    for (uint32_t i = 1; i <= 200; i++) {
        chat(a, "bob@x.test", "m");
        ack(b, i);
        assert_true(rig_status(r, tool, "bob@x.test", "queue_entries") <= 54);
        assert_int_equal(slow->kicks, i > 53); /* three are in flight to it */
    }
    assert_int_equal(slow->kick, STREAM_POLICY_VIOLATION);
    assert_int_equal(b->kicks, 0);
    assert_int_equal(count(b, "<body>m"), 200);
    assert_int_equal(count(a, "type='error'"), 0); /* nobody else notices */
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_done_with_leaves_memory_behind_one_that_nobody_takes),
        cmocka_unit_test(a_resource_that_takes_nothing_while_another_reads_on_has_to_come_again),
        cmocka_unit_test(messages_to_a_resource_that_is_not_available_do_not_walk_the_queue),
        cmocka_unit_test(a_session_that_ends_looks_at_what_it_was_sent_only),
        cmocka_unit_test(what_was_left_to_a_session_is_all_that_others_look_at_again),
        cmocka_unit_test(a_resource_that_is_not_available_takes_its_own_while_no_older_one_of_the_sender_waits),
        cmocka_unit_test(what_waits_again_after_a_session_has_ended_holds_the_order_again),
        cmocka_unit_test(what_a_resource_passed_over_goes_to_the_others_when_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
