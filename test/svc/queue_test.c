/* The kept messages of an account (svc/queue.c), sentence by sentence of the contract: accepted, delivered, acked, once, in order. */
#include "svc/svc_rig.h"

static void a_kept_message_is_done_and_delivered_only_after_it_is_durable(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    uint32_t t = say(a, "<message type='chat' to='bob@x.test'><body>one</body></message>");
    assert_false(done(a, t));
    assert_int_equal(b->n, 0);
    rig_release(r, 1, ERR_OK);
    assert_true(done(a, t));
    assert_bodies(b, "one");
    assert_non_null(strstr(b->got[0], "<stanza-id xmlns='urn:xmpp:sid:0' id='"));
    assert_non_null(strstr(b->got[0], "by='bob@x.test'"));
    assert_int_equal(live_records(r), 1);
    ack(b, 1);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void a_put_that_found_no_space_bounces_and_is_never_delivered(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->put_status = ERR_NOSPC;
    uint32_t t = say(a, "<message type='chat' to='bob@x.test' id='m1'><body>one</body></message>");
    assert_true(done(a, t));
    assert_int_equal(count(a, "resource-constraint"), 1);
    assert_int_equal(b->n, 0);
    r->put_status = ERR_OK;
    chat(a, "bob@x.test", "two");
    assert_bodies(b, "two");
    rig_free(r);
}

static void kept_and_not_kept_of_one_sender_arrive_in_order_when_commits_are_late(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    chat(a, "bob@x.test", "1");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>2</body></message>");
    chat(a, "bob@x.test/b", "3");
    (void)say(a, "<message type='chat' to='bob@x.test/b'><body>4</body><no-store xmlns='urn:xmpp:hints'/></message>");
    uint32_t iq = say(a, "<iq type='get' id='5' to='bob@x.test/b'><body>5</body></iq>");
    (void)say(a, "<presence to='bob@x.test/b'><body>6</body></presence>");
    assert_int_equal(b->n, 0);
    assert_false(done(a, iq));
    rig_release(r, 1, ERR_OK);
    assert_bodies(b, "1 2");
    rig_release(r, 1, ERR_OK);
    assert_bodies(b, "1 2 3 4 5 6");
    for (size_t i = 1; i < a->n_done; i++) assert_true(a->order[i] > a->order[i - 1]);
    rig_free(r);
}

static void what_waits_behind_a_roster_change_is_not_overtaken_by_a_kept_message(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_keyed = true;
    (void)say(b, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='carol@x.test'/></query></iq>");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>1</body></message>");
    chat(a, "bob@x.test", "2");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>3</body></message>");
    r->hold_keyed = false;
    rig_keyed_release(r, 1);
    assert_bodies(b, "1 2 3");
    rig_free(r);
}

static void a_failed_batch_lets_what_waited_behind_it_go_on(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    chat(a, "bob@x.test", "1");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>2</body></message>");
    rig_release(r, 1, ERR_NOSPC);
    assert_bodies(b, "2");
    rig_free(r);
}

static void a_batch_is_done_in_one_answer_and_in_order(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    for (int i = 0; i < 9; i++) chat(a, "bob@x.test", "m");
    assert_int_equal(r->n_held, 9);
    rig_release_batch(r);
    assert_int_equal(b->n, 9);
    ack(b, 9);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void store_many(rig *r, sess *a, int n) {
    (void)r;
    for (int i = 0; i < n; i++) (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body></message>", i);
}

static void numbers(char *out, size_t max, int from, int to) {
    out[0] = 0;
    for (int i = from; i < to; i++) {
        size_t n = strlen(out);
        (void)snprintf(out + n, max - n, "%s%d", n ? " " : "", i);
    }
}

static void the_queue_drains_in_order_within_the_window(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 7;
    char want[4096];
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 100);
    assert_int_equal(live_records(r), 100);
    sess *b = login(r, "bob@x.test", "b", 0);
    for (uint32_t k = 7; k < 100; k += 7) {
        assert_int_equal(b->last_keep, k < 100 ? k : 100);
        ack(b, k);
    }
    ack(b, 100);
    numbers(want, sizeof want, 0, 100);
    assert_bodies(b, want);
    assert_int_equal(count(b, "<delay xmlns='urn:xmpp:delay'"), 100);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void live_messages_come_after_the_drained_ones(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 4;
    char want[4096];
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 10);
    sess *b = login(r, "bob@x.test", "b", 0);
    r->hold_reads = true;
    ack(b, 4);
    for (int i = 10; i < 20; i++) (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body></message>", i);
    r->hold_reads = false;
    rig_release(r, 1, ERR_OK);
    for (uint32_t k = 8; k <= 20; k += 4) ack(b, k);
    numbers(want, sizeof want, 0, 20);
    assert_bodies(b, want);
    rig_free(r);
}

static void what_a_dead_session_had_not_acked_is_delivered_to_the_next(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    store_many(r, a, 5);
    ack(b, 2);
    die(b);
    sess *c = login(r, "bob@x.test", "c", 0);
    assert_bodies(c, "2 3 4");
    ack(c, 3);
    assert_int_equal(live_records(r), 0);
    unbind(c);
    sess *d = login(r, "bob@x.test", "d", 0);
    assert_bodies(d, "");
    rig_free(r);
}

static void an_ack_by_one_resource_removes_it_and_the_others_still_got_it(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0);
    store_many(r, a, 3);
    assert_bodies(b, "0 1 2");
    assert_bodies(c, "0 1 2");
    assert_int_equal(r->reads, 0); /* what is live is not read back from the disk, however many resources there are */
    ack(b, 3);
    assert_int_equal(live_records(r), 0);
    die(c); /* it had not acked, but b had */
    assert_bodies(b, "0 1 2");
    ack(b, 3); /* again: nothing */
    rig_free(r);
}

static void a_full_jid_of_negative_priority_gets_its_message_without_the_disk(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", -1), *c = login(r, "bob@x.test", "c", 0);
    forget(b);
    forget(c);
    chat(a, "bob@x.test/b", "1");
    chat(a, "bob@x.test", "2");
    assert_bodies(b, "1");
    assert_bodies(c, "2");
    assert_int_equal(r->reads, 0);
    rig_free(r);
}

static void a_message_to_a_resource_that_dies_goes_to_the_others(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0);
    chat(a, "bob@x.test/b", "1");
    chat(a, "bob@x.test", "2");
    chat(a, "bob@x.test/b", "3");
    ack(b, 1);
    assert_bodies(c, "2");
    die(b);
    assert_bodies(c, "2 3");
    assert_int_equal(count(c, "<delay"), 1);
    ack(c, 2);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void a_bare_message_is_not_sent_twice_to_who_has_it_when_another_dies(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0);
    store_many(r, a, 3);
    ack(c, 1);
    die(b);
    assert_bodies(c, "0 1 2");
    die(c);
    sess *d = login(r, "bob@x.test", "d", 0);
    assert_bodies(d, "1 2");
    rig_free(r);
}

static void old_and_invented_acks_are_ignored(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    ack(b, 0);
    ack(b, 7);
    store_many(r, a, 3);
    ack(b, 4);
    assert_int_equal(live_records(r), 3);
    ack(b, 2);
    ack(b, 1);
    ack(b, 2);
    assert_int_equal(live_records(r), 1);
    ack(a, 1);
    ack(b, 3);
    ack(b, 3);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void a_damaged_record_is_skipped_and_the_rest_served(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 5);
    r->rec[2].damaged = true;
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_bodies(b, "0 1 3 4");
    ack(b, 4);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void a_read_that_fails_ends_the_session_and_loses_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 3);
    r->read_status = ERR_IO;
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_int_equal(b->kicks, 1);
    r->read_status = ERR_OVERLOAD;
    sess *c = login(r, "bob@x.test", "c", 0);
    assert_int_equal(c->kicks, 1);
    die(b);
    die(c);
    r->read_status = ERR_OK;
    sess *d = login(r, "bob@x.test", "d", 0);
    assert_bodies(d, "0 1 2");
    rig_free(r);
}

static void a_session_may_die_or_change_while_its_records_are_being_read(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 3);
    r->hold_reads = true;
    sess *b = login(r, "bob@x.test", "b", 0);
    sess *c = login(r, "bob@x.test", "c", 0);
    sess *d = login(r, "bob@x.test", "d", 0);
    die(b);
    (void)say(c, "<presence type='unavailable'/>");
    r->hold_reads = false;
    rig_release(r, 9, ERR_OK);
    assert_bodies(b, "");
    assert_bodies(c, "");
    assert_bodies(d, "0 1 2");
    (void)say(c, "<presence/>");
    assert_bodies(c, "0 1 2");
    rig_free(r);
}

static void a_record_that_moved_is_read_where_it_lies_now(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 2);
    buf b;
    buf_init(&b, 4096);
    r->rec[1].loc = 777;
    buf_add_lslice(&b, SLICE("bob@x.test"));
    buf_add_u64le(&b, r->rec[1].id);
    buf_add_u64le(&b, 777);
    buf_add_lslice(&b, SLICE("carol@x.test"));
    buf_add_u64le(&b, 1);
    buf_add_u64le(&b, 1);
    rt_msg *m = rt_msg_new_ext(STORE_MOVED, sizeof(store_moved));
    store_moved_of(m)->locs = rt_blob_new(buf_slice(&b));
    m->sender = r->log;
    buf_fini(&b);
    rt_post(r->w->n, svc_partition(r->w->n, &r->cfg, SLICE("bob@x.test")), &m);
    rig_go(r);
    sess *d = login(r, "bob@x.test", "b", 0);
    assert_bodies(d, "0 1");
    ack(d, 2);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static const char *const SAME = "<message type='chat' to='bob@x.test'><body>m</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";

static void the_same_origin_id_is_acked_and_not_stored_twice(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *c = login(r, "carol@x.test", "c", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    (void)say(a, SAME);
    (void)say(a, SAME);
    assert_bodies(b, "m");
    (void)say(c, SAME); /* another sender: another message */
    assert_bodies(b, "m m");
    assert_int_equal(r->puts, 2);
    rig_later(r, 599 * USEC_PER_SEC);
    (void)say(a, SAME);
    assert_int_equal(r->puts, 2);
    for (int i = 0; i < 3; i++) rig_later(r, 601 * USEC_PER_SEC);
    (void)say(a, SAME);
    assert_int_equal(r->puts, 3);
    rig_free(r);
}

static void the_second_of_an_origin_id_is_not_acked_before_the_first_is_durable(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *a2 = login(r, "alice@x.test", "a2", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    uint32_t t1 = say(a, SAME), t2 = say(a2, SAME);
    assert_false(done(a, t1));
    assert_false(done(a2, t2));
    rig_release(r, 1, ERR_OK);
    assert_true(done(a, t1));
    assert_true(done(a2, t2));
    assert_bodies(b, "m");
    rig_free(r);
}

static void the_second_of_an_origin_id_whose_first_failed_is_stored_itself(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *a2 = login(r, "alice@x.test", "a2", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->hold_puts = true;
    uint32_t t1 = say(a, SAME), t2 = say(a2, SAME), t3 = say(a2, SAME);
    rig_release(r, 1, ERR_NOSPC);
    assert_true(done(a, t1));
    assert_false(done(a2, t2)); /* nothing is stored yet */
    assert_false(done(a2, t3));
    assert_int_equal(r->n_held, 1);
    rig_release(r, 1, ERR_OK);
    assert_true(done(a2, t2));
    assert_true(done(a2, t3));
    assert_bodies(b, "m");
    rig_free(r);
}

static void the_quota_bounces_and_counts_what_is_not_acked(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.offline_messages_max = 3;
    sess *a = login(r, "alice@x.test", "a", 0);
    store_many(r, a, 5);
    assert_int_equal(count(a, "resource-constraint"), 2);
    sess *b = login(r, "bob@x.test", "b", 0);
    ack(b, 1);
    store_many(r, a, 1);
    assert_int_equal(count(a, "resource-constraint"), 2);
    r->cfg.offline_bytes_max = 10;
    store_many(r, a, 1);
    assert_int_equal(count(a, "resource-constraint"), 3);
    rig_free(r);
}

static void a_slow_resource_gets_in_its_own_time_what_another_acked(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_messages = 3;
    sess *a = login(r, "alice@x.test", "a", 0), *slow = login(r, "bob@x.test", "s", 0), *b = login(r, "bob@x.test", "b", 0);
    char want[512];
    forget(slow);
    for (uint32_t i = 1; i <= 20; i++) {
        (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%u</body></message>", i - 1);
        ack(b, i);
    }
    assert_int_equal(slow->n, 3);
    sess *tool = sess_new(r);
    admin(tool, SVC_ADMIN_OFFLINE, "bob@x.test", SLICE_NULL);
    assert_non_null(strstr(tool->json, "\"messages\":0"));
    for (uint32_t k = 3; k <= 21; k += 3) ack(slow, k < 20 ? k : 20);
    numbers(want, sizeof want, 0, 20);
    assert_bodies(slow, want);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void a_read_asks_for_no_more_than_the_window(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.window_bytes = 4000;
    char big[3000], want[512];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    sess *a = login(r, "alice@x.test", "a", 0);
    for (int i = 0; i < 6; i++) (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body><x xmlns='b'>%s</x></message>", i, big);
    r->hold_reads = true;
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_int_equal(r->n_held, 1);
    assert_true(store_read_of(r->held[0])->ids->len <= 2 * 16);
    r->hold_reads = false;
    rig_release(r, 1, ERR_OK);
    for (uint32_t k = 2; k <= 6; k += 2) ack(b, k);
    numbers(want, sizeof want, 0, 6);
    assert_bodies(b, want);
    rig_free(r);
}

static void an_account_that_is_deleted_takes_its_queue_and_puts_on_their_way_with_it(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *tool = sess_new(r);
    store_many(r, a, 2);
    r->hold_puts = true;
    store_many(r, a, 2);
    admin(tool, SVC_ADMIN_USER_DEL, "bob@x.test", SLICE_NULL);
    assert_int_equal(tool->admin, ERR_OK);
    rig_release(r, 1, ERR_OK);
    rig_release(r, 1, ERR_NOSPC); /* each of them is done, exactly once: rig_free looks */
    assert_int_equal(live_records(r), 0);
    store_many(r, a, 1);
    assert_int_equal(count(a, "service-unavailable"), 1);
    rig_free(r);
}

static void rejoining_with_presence_changes_sends_nothing_twice(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    store_many(r, a, 3);
    (void)say(b, "<presence><priority>-1</priority></presence>");
    chat(a, "bob@x.test", "3");
    (void)say(b, "<presence/>");
    assert_bodies(b, "0 1 2 3");
    ack(b, 4);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_message_is_done_and_delivered_only_after_it_is_durable),
        cmocka_unit_test(a_put_that_found_no_space_bounces_and_is_never_delivered),
        cmocka_unit_test(kept_and_not_kept_of_one_sender_arrive_in_order_when_commits_are_late),
        cmocka_unit_test(what_waits_behind_a_roster_change_is_not_overtaken_by_a_kept_message),
        cmocka_unit_test(a_failed_batch_lets_what_waited_behind_it_go_on),
        cmocka_unit_test(a_batch_is_done_in_one_answer_and_in_order),
        cmocka_unit_test(the_queue_drains_in_order_within_the_window),
        cmocka_unit_test(live_messages_come_after_the_drained_ones),
        cmocka_unit_test(what_a_dead_session_had_not_acked_is_delivered_to_the_next),
        cmocka_unit_test(an_ack_by_one_resource_removes_it_and_the_others_still_got_it),
        cmocka_unit_test(a_full_jid_of_negative_priority_gets_its_message_without_the_disk),
        cmocka_unit_test(a_message_to_a_resource_that_dies_goes_to_the_others),
        cmocka_unit_test(a_bare_message_is_not_sent_twice_to_who_has_it_when_another_dies),
        cmocka_unit_test(old_and_invented_acks_are_ignored),
        cmocka_unit_test(a_damaged_record_is_skipped_and_the_rest_served),
        cmocka_unit_test(a_read_that_fails_ends_the_session_and_loses_nothing),
        cmocka_unit_test(a_session_may_die_or_change_while_its_records_are_being_read),
        cmocka_unit_test(a_record_that_moved_is_read_where_it_lies_now),
        cmocka_unit_test(the_same_origin_id_is_acked_and_not_stored_twice),
        cmocka_unit_test(the_second_of_an_origin_id_is_not_acked_before_the_first_is_durable),
        cmocka_unit_test(the_second_of_an_origin_id_whose_first_failed_is_stored_itself),
        cmocka_unit_test(the_quota_bounces_and_counts_what_is_not_acked),
        cmocka_unit_test(a_slow_resource_gets_in_its_own_time_what_another_acked),
        cmocka_unit_test(a_read_asks_for_no_more_than_the_window),
        cmocka_unit_test(an_account_that_is_deleted_takes_its_queue_and_puts_on_their_way_with_it),
        cmocka_unit_test(rejoining_with_presence_changes_sends_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
