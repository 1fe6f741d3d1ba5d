/* Presence (RFC 6121 section 4): who sees whom, and that whoever saw somebody come sees them go, once. */
#include "svc/svc_rig.h"

/* One direction: owner's contact sees owner (sub from at owner, to at contact), or both. */
static void befriend(rig *r, const char *owner, const char *contact, store_sub at_owner, store_sub at_contact) {
    store_item i = rig_contact(contact, at_owner), j = rig_contact(owner, at_contact);
    rig_item_put(rig_user_of(r, owner), &i);
    rig_item_put(rig_user_of(r, contact), &j);
}

static void initial_presence_goes_to_subscribers_and_asks_for_theirs(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_FROM, STORE_SUB_TO); /* bob sees alice */
    befriend(r, "alice@x.test", "carol@x.test", STORE_SUB_TO, STORE_SUB_FROM);
    sess *b = login(r, "bob@x.test", "b", 0), *c = login(r, "carol@x.test", "c", 0);
    forget(b), forget(c);
    sess *a = login(r, "alice@x.test", "a", 3);
    assert_int_equal(count(b, "from='alice@x.test/a'"), 1);
    assert_int_equal(b->n, 1);
    assert_int_equal(c->n, 0);
    assert_int_equal(count(a, "from='carol@x.test/c'"), 1);
    assert_int_equal(count(a, "from='bob@x.test"), 0);
    assert_int_equal(count(a, "from='alice@x.test/a'"), 1);                         /* its own: 4.2.2 */
    assert_int_equal(count(a, "probe") + count(b, "probe") + count(c, "probe"), 0); /* the server's affair */
    forget(a), forget(b);
    (void)say(a, "<presence><show>away</show></presence>");
    assert_int_equal(count(b, "away"), 1);
    assert_int_equal(a->n, 1); /* no second round of probes */
    rig_free(r);
}

static void other_resources_see_each_other(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *b = login(r, "alice@x.test", "b", 0);
    assert_int_equal(count(a, "from='alice@x.test/b'"), 1);
    assert_int_equal(count(b, "from='alice@x.test/a'"), 1);
    unbind(b);
    assert_int_equal(count(a, "type='unavailable' from='alice@x.test/b'"), 1);
    assert_int_equal(count(a, "type='unavailable'"), 1);
    rig_free(r);
}

static void a_session_that_dies_leaves_no_ghost(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    sess *b = login(r, "bob@x.test", "b", 0);
    for (int how = 0; how < 4; how++) {
        sess *a = login_quiet(r, "alice@x.test", "a", 0);
        if (how == 0) die(a);
        if (how == 1) unbind(a);
        if (how == 2) (void)say(a, "<presence type='unavailable'><status>bye</status></presence>");
        if (how == 3) {
            sess *second = sess_bind(r, "alice@x.test", "a");
            assert_int_equal(a->kicks, 1);
            assert_int_equal(a->kick, STREAM_CONFLICT);
            assert_true(second->bound);
            a->dead = true;
        }
        assert_int_equal(count(b, "type='unavailable' from='alice@x.test/a'"), 1);
        if (how == 2) unbind(a);
        assert_int_equal(count(b, "type='unavailable'"), 1); /* once */
    }
    rig_free(r);
}

static void directed_presence_is_ended_at_logout_once(void **state) {
    (void)state;
    for (int how = 0; how < 5; how++) {
        rig *r = rig_three();
        sess *b = login(r, "bob@x.test", "b", 0), *a = login_quiet(r, "alice@x.test", "a", how == 4 ? NO_PRESENCE : 0);
        (void)say(a, "<presence to='bob@x.test/b'/>");
        (void)say(a, "<presence to='bob@x.test/b'><show>away</show></presence>");
        assert_int_equal(count(b, "from='alice@x.test/a'"), 2);
        forget(b);
        (void)say(a, "<presence><show>dnd</show></presence>"); /* it is not told of changes: 4.6.3 */
        if (how != 4) assert_int_equal(b->n, 0);
        if (how == 0) die(a);
        if (how == 1 || how == 4) unbind(a);
        if (how == 2) (void)say(a, "<presence type='unavailable'/>");
        if (how == 3) (void)say(a, "<presence type='unavailable' to='bob@x.test/b'/>");
        assert_int_equal(count(b, "type='unavailable'"), 1);
        if (how == 2 || how == 3) unbind(a);
        assert_int_equal(count(b, "type='unavailable'"), 1);
        rig_free(r);
    }
}

static void directed_presence_to_a_subscriber_or_to_oneself_is_ended_once_too(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    sess *b = login(r, "bob@x.test", "b", 0), *o = login(r, "alice@x.test", "o", 0), *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    (void)say(a, "<presence to='bob@x.test'/>"); /* before it was available */
    (void)say(a, "<presence/>");
    (void)say(a, "<presence to='bob@x.test/b'/>");
    (void)say(a, "<presence to='alice@x.test/o'/>");
    forget(b), forget(o);
    unbind(a);
    assert_int_equal(count(b, "type='unavailable'"), 1);
    assert_int_equal(count(o, "type='unavailable'"), 1);
    rig_free(r);
}

static void directed_presences_have_a_limit(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.directed_max = 3;
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    for (int i = 0; i < 5; i++) (void)sayf(a, "<presence to='bob@x.test/%d'/>", i);
    assert_int_equal(count(a, "resource-constraint"), 2);
    (void)say(a, "<presence type='unavailable' to='bob@x.test/0'/>");
    (void)say(a, "<presence to='bob@x.test/9'/>");
    assert_int_equal(count(a, "resource-constraint"), 2);
    rig_free(r);
}

static void blocking_ends_what_the_blocked_one_sees_of_us(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *b = login(r, "bob@x.test", "b", 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, "<presence to='bob@x.test/b'/>"); /* no subscriber */
    forget(b);
    (void)say(a, "<iq type='set' id='k'><block xmlns='urn:xmpp:blocking'><item jid='bob@x.test'/></block></iq>");
    assert_int_equal(count(b, "type='unavailable' from='alice@x.test/a'"), 1);
    unbind(a);
    assert_int_equal(b->n, 1);
    rig_free(r);
}

static void the_end_of_a_subscription_ends_presence(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    sess *b = login(r, "bob@x.test", "b", 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, "<presence type='unsubscribed' to='bob@x.test'/>");
    assert_int_equal(count(b, "type='unavailable' from='alice@x.test/a'"), 1);
    assert_int_equal(count(b, "type='unsubscribed' from='alice@x.test'"), 1);
    forget(b);
    (void)say(a, "<presence/>");
    unbind(a);
    assert_int_equal(b->n, 0);
    rig_free(r);
}

static void contacts_of_a_partition_that_dies_see_its_users_go(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    assert_int_not_equal(store_partition(SLICE("alice@x.test"), 4), store_partition(SLICE("bob@x.test"), 4));
    sess *b = login(r, "bob@x.test", "b", 0);
    (void)login_quiet(r, "alice@x.test", "a", 0);
    puppet *p = puppet_new(r->w, 0, &puppet_class), victim = {.pid = svc_partition(r->w->n, &r->cfg, SLICE("alice@x.test"))};
    tell(r->w, p, do_kill, ARG(&victim));
    rig_go(r);
    r->lossy = true;
    assert_int_equal(count(b, "type='unavailable' from='alice@x.test/a'"), 1);
    rig_free(r);
    mem_free(p);
}

/* A presence with a status of n bytes. */
static uint32_t say_status(sess *s, const char *attributes, size_t n) {
    static char xml[70000];
    int at = snprintf(xml, sizeof xml, "<presence%s><status>", attributes);
    memset(xml + at, 'x', n);
    (void)snprintf(xml + at + n, sizeof xml - (size_t)at - n, "</status></presence>");
    return say(s, xml);
}

static void a_broadcast_is_packed_once_for_all_who_get_it(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    befriend(r, "alice@x.test", "carol@x.test", STORE_SUB_FROM, STORE_SUB_TO);
    sess *b = login(r, "bob@x.test", "b", 0), *b2 = login(r, "bob@x.test", "b2", 0), *c = login(r, "carol@x.test", "c", 0);
    sess *a = login(r, "alice@x.test", "a", 0), *a2 = login(r, "alice@x.test", "a2", 0);
    sess *const who[] = {b, b2, c, a, a2};
    for (size_t i = 0; i < ARRAY_LEN(who); i++) forget(who[i]);
    (void)say_status(a, "", 16000);
    for (size_t i = 0; i < ARRAY_LEN(who); i++) {
        assert_int_equal(who[i]->n, 1);
        assert_ptr_equal(who[i]->last_env, a->last_env);
    }
    assert_non_null(strstr(b->got[0], "from='alice@x.test/a'"));
    assert_non_null(strstr(b->got[0], "to='bob@x.test'")); /* each its own address, bare (4.2.2) */
    assert_non_null(strstr(c->got[0], "to='carol@x.test'"));
    unbind(a);
    assert_int_equal(count(c, "type='unavailable'"), 1);
    assert_ptr_equal(b->last_env, c->last_env);
    rig_free(r);
}

static void a_presence_of_more_than_16_KiB_is_refused_and_changes_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    sess *b = login(r, "bob@x.test", "b", 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    static const char *const to[] = {"", " to='bob@x.test'", " to='carol@x.test/x'", " type='subscribe' to='carol@x.test'"};
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        forget(a);
        assert_true(done(a, say_status(a, to[i], 16385)));
        assert_int_equal(count(a, "policy-violation"), 1);
    }
    assert_int_equal(b->n, 0);
    assert_int_equal(r->writes, 0);
    unbind(a);
    assert_int_equal(b->n, 1); /* what it was before is what ends */
    rig_free(r);
}

static void leaving_is_never_refused_but_goes_without_what_is_too_large(void **state) {
    (void)state;
    rig *r = rig_three();
    befriend(r, "alice@x.test", "bob@x.test", STORE_SUB_BOTH, STORE_SUB_BOTH);
    sess *b = login(r, "bob@x.test", "b", 0), *c = login(r, "carol@x.test", "c", 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, "<presence to='carol@x.test/c'/>");
    forget(c);
    (void)say_status(a, " type='unavailable' to='carol@x.test/c'", 60000);
    (void)say_status(a, " type='unavailable'", 60000);
    assert_int_equal(count(b, "type='unavailable'"), 1);
    assert_int_equal(count(c, "type='unavailable'"), 1);
    assert_int_equal(count(b, "<status>") + count(c, "<status>"), 0);
    assert_int_equal(count(a, "policy-violation"), 0);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broadcast_is_packed_once_for_all_who_get_it),
        cmocka_unit_test(a_presence_of_more_than_16_KiB_is_refused_and_changes_nothing),
        cmocka_unit_test(leaving_is_never_refused_but_goes_without_what_is_too_large),
        cmocka_unit_test(initial_presence_goes_to_subscribers_and_asks_for_theirs),
        cmocka_unit_test(other_resources_see_each_other),
        cmocka_unit_test(a_session_that_dies_leaves_no_ghost),
        cmocka_unit_test(directed_presence_is_ended_at_logout_once),
        cmocka_unit_test(directed_presence_to_a_subscriber_or_to_oneself_is_ended_once_too),
        cmocka_unit_test(directed_presences_have_a_limit),
        cmocka_unit_test(blocking_ends_what_the_blocked_one_sees_of_us),
        cmocka_unit_test(the_end_of_a_subscription_ends_presence),
        cmocka_unit_test(contacts_of_a_partition_that_dies_see_its_users_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
