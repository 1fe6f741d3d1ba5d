/* The roster (RFC 6121 section 2): requests, errors, versions, pushes only of what is durable. */
#include "svc/svc_rig.h"

#define GET       "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"
#define SET(item) "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>" item "</query></iq>"

static void a_set_is_pushed_to_interested_resources_once_it_is_durable(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *o = login_quiet(r, "alice@x.test", "o", NO_PRESENCE);
    r->hold_keyed = true;
    uint32_t t = say(a, SET("<item jid='Bob@X.test/res' name='B'><group>g</group></item>"));
    assert_int_equal(a->n, 0);
    assert_false(done(a, t));
    r->hold_keyed = false;
    rig_keyed_release(r, 1);
    assert_true(done(a, t));
    assert_int_equal(count(a, "type='result'"), 1);
    assert_int_equal(count(a, "<item jid='bob@x.test' name='B' subscription='none'><group>g</group></item>"), 1);
    assert_int_equal(o->n, 0); /* it never asked for the roster */
    assert_int_equal(count(a, "from='alice@x.test' to='alice@x.test/a' id='push-"), 1);
    rig_free(r);
}

static void wrong_sets_have_the_errors_of_section_2_3_3(void **state) {
    (void)state;
    static const struct {
        const char *xml, *error;
    } bad[] = {
        {SET(""), "bad-request"},
        {SET("<item jid='bob@x.test'/><item jid='carol@x.test'/>"), "bad-request"},
        {SET("<item/>"), "jid-malformed"},
        {SET("<item jid='@'/>"), "jid-malformed"},
        {SET("<item jid='alice@x.test'/>"), "not-allowed"},
        {SET("<item jid='bob@x.test'><group/></item>"), "not-acceptable"},
        {SET("<item jid='bob@x.test'><group>g</group><group>g</group></item>"), "bad-request"},
        {SET("<item jid='bob@x.test' subscription='remove'/>"), "item-not-found"},
        {"<iq type='set' id='s' to='bob@x.test'><query xmlns='jabber:iq:roster'><item jid='c@x.test'/></query></iq>",
         "service-unavailable"},
    };
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        forget(a);
        (void)say(a, bad[i].xml);
        if (count(a, bad[i].error) != 1) fail_msg("%s: not %s but %s", bad[i].xml, bad[i].error, a->n ? a->got[0] : "nothing");
    }
    assert_int_equal(r->writes, 0);
    r->cfg.roster_max = 1;
    (void)say(a, SET("<item jid='bob@x.test'/>"));
    forget(a);
    (void)say(a, SET("<item jid='carol@x.test'/>"));
    assert_int_equal(count(a, "resource-constraint"), 1);
    (void)say(a, SET("<item jid='bob@x.test' name='x'/>")); /* what is there may change */
    assert_int_equal(count(a, "type='result'"), 1);
    rig_free(r);
}

static void a_client_may_not_set_a_subscription(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='bob@x.test' subscription='both' ask='subscribe' approved='true'/>"));
    assert_int_equal(count(a, "<item jid='bob@x.test' subscription='none'>"), 1);
    rig_free(r);
}

static void the_present_version_gets_an_empty_result_and_an_unknown_one_the_roster(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='bob@x.test'/>"));
    assert_int_equal(count(a, "ver='2'"), 1);
    static const struct {
        const char *ver;
        bool whole;
    } t[] = {{"2", false}, {"", true}, {"3", true}, {"x", true}, {"99999999999999999999999", true}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        forget(a);
        (void)sayf(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='%s'/></iq>", t[i].ver);
        assert_int_equal(
            count(a, "type='result' from='alice@x.test' to='alice@x.test/a' id='g'><query xmlns='jabber:iq:roster' ver='2'><item"),
            t[i].whole);
        assert_int_equal(a->n, 1);
    }
    rig_free(r);
}

static void get_since(sess *s, unsigned ver) {
    forget(s);
    (void)sayf(s, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='%u'/></iq>", ver);
}

/* An empty result and then one push for each of these, in this order. */
static void assert_pushed(const sess *s, const char *const *want, size_t n) {
    if (s->n != n + 1) show(s);
    assert_int_equal(s->n, n + 1);
    assert_non_null(strstr(s->got[0], "id='g'/>"));
    for (size_t i = 0; i < n; i++) {
        assert_non_null(strstr(s->got[i + 1], "type='set'"));
        assert_non_null(strstr(s->got[i + 1], want[i]));
    }
}

static void an_older_version_gets_what_changed_since_also_after_a_reload(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *other = login(r, "alice@x.test", "b", 0);
    (void)say(a, SET("<item jid='bob@x.test'/>"));                         /* 2 */
    (void)say(a, SET("<item jid='carol@x.test'/>"));                       /* 3 */
    (void)say(a, SET("<item jid='dave@x.test'/>"));                        /* 4 */
    (void)say(a, SET("<item jid='carol@x.test' subscription='remove'/>")); /* 5 */
    (void)say(a, SET("<item jid='bob@x.test' name='B'/>"));                /* 6 */
    forget(other);
    for (int again = 0; again < 2; again++) {
        static const char *const from_3[] = {"ver='4'><item jid='dave@x.test'", "ver='5'><item jid='carol@x.test' subscription='remove'/>",
                                             "ver='6'><item jid='bob@x.test' name='B'"};
        get_since(a, 3);
        assert_pushed(a, from_3, 3);
        get_since(a, 4);
        assert_pushed(a, from_3 + 1, 2);
        get_since(a, 5);
        assert_pushed(a, from_3 + 2, 1);
        get_since(a, 0); /* what changed is not less than the roster */
        assert_int_equal(count(a, "ver='6'><item"), 1);
        assert_int_equal(other->n, 0); /* it was told when it happened */
        unbind(a);
        unbind(other);
        rig_later(r, 62 * USEC_PER_SEC);
        rig_later(r, 2 * USEC_PER_SEC); /* out of memory */
        a = sess_bind(r, "alice@x.test", "a");
        other = sess_bind(r, "alice@x.test", "b");
    }
    (void)say(a, SET("<item jid='carol@x.test'/>")); /* 7: it is back */
    static const char *const from_4[] = {"ver='6'><item jid='bob@x.test' name='B'",
                                         "ver='7'><item jid='carol@x.test' subscription='none'>"};
    get_since(a, 4);
    assert_pushed(a, from_4, 2);
    rig_free(r);
}

static sess *out_of_memory_and_back(rig *r, sess *a) {
    unbind(a);
    rig_later(r, 62 * USEC_PER_SEC);
    rig_later(r, 2 * USEC_PER_SEC);
    unsigned loads = r->loads;
    a = sess_bind(r, "alice@x.test", "a");
    assert_true(r->loads > loads);
    return a;
}

static void a_strangers_request_and_its_end_are_no_change_of_the_roster(void **state) {
    (void)state;
    rig *r = rig_three();
    const rig_user *u = rig_user_of(r, "alice@x.test");
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    static const char *const says[] = {"subscribe", "unsubscribe"};
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        forget(a);
        (void)sayf(b, "<presence type='%s' to='alice@x.test'/>", says[i]);
        assert_int_equal(count(a, "<item"), 0);
        assert_int_equal(u->n_items, i == 0); /* the request; and nothing is left of it */
        assert_int_equal(u->ver, 1);
        for (int again = 0; again < 2; again++) {
            get_since(a, 1);
            assert_pushed(a, NULL, 0);
            a = out_of_memory_and_back(r, a);
        }
    }
    (void)say(b, "<presence type='subscribe' to='alice@x.test'/>");
    (void)say(a, "<presence type='unsubscribed' to='bob@x.test'/>"); /* it is refused */
    assert_int_equal(u->n_items, 0);
    get_since(a, 1);
    assert_pushed(a, NULL, 0);
    rig_free(r);
}

static void a_removal_is_told_also_when_the_contact_asked_again_since(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *c = login_quiet(r, "carol@x.test", "c", 0);
    (void)say(a, SET("<item jid='carol@x.test'/>"));                       /* 2 */
    (void)say(a, SET("<item jid='carol@x.test' subscription='remove'/>")); /* 3 */
    static const char *const says[] = {"subscribe", "unsubscribe"};
    static const char *const from_2[] = {"ver='3'><item jid='carol@x.test' subscription='remove'/>"};
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        (void)sayf(c, "<presence type='%s' to='alice@x.test'/>", says[i]);
        for (int again = 0; again < 2; again++) {
            get_since(a, 2);
            assert_pushed(a, from_2, 1);
            get_since(a, 3); /* it knows */
            assert_pushed(a, NULL, 0);
            a = out_of_memory_and_back(r, a);
        }
    }
    (void)say(c, "<presence type='subscribe' to='alice@x.test'/>");
    (void)say(a, "<presence type='subscribed' to='carol@x.test'/>"); /* 4: from here on it is shown */
    static const char *const from_3[] = {"ver='4'><item jid='carol@x.test' subscription='from'>"};
    get_since(a, 3);
    assert_pushed(a, from_3, 1);
    rig_free(r);
}

static void the_end_of_a_request_brings_no_forgotten_removal_back(void **state) {
    (void)state;
    rig *r = rig_three();
    rig_user *u = rig_user_of(r, "alice@x.test");
    const store_item floor = {.jid = SLICE(""), .ver = 60, .gone = true},
                     asks = {.jid = SLICE("bob@x.test"), .ver = 50, .request = SLICE("x")};
    rig_item_put(u, &floor);
    rig_item_put(u, &asks); /* it was removed at 50 */
    (void)say(login_quiet(r, "bob@x.test", "b", 0), "<presence type='unsubscribe' to='alice@x.test'/>");
    assert_int_equal(u->n_items, 1);
    assert_int_equal(rig_item_of(r, "alice@x.test", "")->ver, 60);
    assert_int_equal(u->ver, 60);
    rig_free(r);
}

static void of_very_many_removals_the_oldest_are_forgotten(void **state) {
    (void)state;
    rig *r = rig_three();
    rig_user *u = rig_user_of(r, "alice@x.test");
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='keep@x.test'/>")); /* 2 */
    for (unsigned i = 0; i < 70; i++) {             /* added and removed at 3 and 4, 5 and 6, ... 141 and 142 */
        (void)sayf(a, SET("<item jid='c%u@x.test'/>"), i);
        (void)sayf(a, SET("<item jid='c%u@x.test' subscription='remove'/>"), i);
    }
    assert_int_equal(u->n_items, 1 + 64 + 1); /* keep, the tombstones, and the one that says what is forgotten */
    assert_int_equal(u->ver, 142);
    for (int again = 0; again < 2; again++) {
        get_since(a, 140);
        assert_int_equal(a->n, 2);
        get_since(a, 139);
        assert_int_equal(a->n, 3);
        get_since(a, 13); /* c0 to c5 are forgotten: the last of them went at 14 */
        assert_int_equal(count(a, "ver='142'><item jid='keep@x.test'"), 1);
        unbind(a);
        rig_later(r, 62 * USEC_PER_SEC);
        rig_later(r, 2 * USEC_PER_SEC);
        a = sess_bind(r, "alice@x.test", "a");
    }
    rig_free(r);
}

static void a_removal_that_is_forgotten_costs_the_difference(void **state) {
    (void)state;
    rig *r = rig_three();
    rig_user *u = rig_user_of(r, "alice@x.test");
    char jid[32];
    for (unsigned i = 0; i < 61; i++) { /* gone at versions 2 to 62 */
        (void)snprintf(jid, sizeof jid, "c%u@x.test", i);
        const store_item gone = {.jid = slice_str(jid), .ver = i + 2, .gone = true};
        rig_item_put(u, &gone);
    }
    for (int i = 4; i >= 0; i--) { /* more than what changed, so that only the memory decides */
        (void)snprintf(jid, sizeof jid, "keep%.*s@x.test", i, "1234");
        const store_item keep = rig_contact(jid, STORE_SUB_NONE);
        rig_item_put(u, &keep);
    }
    const store_item floor = {.jid = SLICE(""), .ver = 60, .gone = true};
    rig_item_put(u, &floor);
    sess *a = sess_bind(r, "alice@x.test", "a");
    get_since(a, 59); /* something that went before is not known any more */
    assert_int_equal(a->n, 1);
    assert_int_equal(count(a, "ver='62'><item jid='keep1234@x.test'"), 1);
    static const char *const from_60[] = {"ver='61'><item jid='c59@x.test' subscription='remove'/>",
                                          "ver='62'><item jid='c60@x.test' subscription='remove'/>"};
    get_since(a, 60);
    assert_pushed(a, from_60, 2);
    rig_free(r);
}

static void a_difference_that_is_large_is_sent_as_the_whole(void **state) {
    (void)state;
    rig *r = rig_three();
    rig_user *u = rig_user_of(r, "alice@x.test");
    static char name[20000];
    memset(name, 'n', sizeof name);
    for (unsigned i = 0; i < 4; i++) {
        char jid[32];
        (void)snprintf(jid, sizeof jid, "c%u@x.test", i);
        store_item item = rig_contact(jid, STORE_SUB_NONE);
        item.ver = i + 2;
        item.name = slice_of((const uint8_t *)name, sizeof name);
        rig_item_put(u, &item);
    }
    sess *a = sess_bind(r, "alice@x.test", "a");
    get_since(a, 4);
    assert_int_equal(a->n, 2); /* one of 20 KB */
    get_since(a, 3);
    assert_int_equal(a->n, 1); /* two of them might be dropped at a client that reads slowly */
    assert_int_equal(count(a, "c0@x.test"), 1);
    rig_free(r);
}

static void the_roster_is_not_shown_before_a_change_is_durable(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    r->hold_keyed = true;
    (void)say(a, SET("<item jid='bob@x.test'/>"));
    uint32_t t = say(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='1'/></iq>");
    assert_false(done(a, t));
    r->write_status = ERR_NOSPC;
    rig_keyed_release(r, 1);
    rig_keyed_release(r, 9);
    assert_int_equal(count(a, "<item"), 0);
    assert_true(done(a, t));
    r->hold_keyed = false;
    r->write_status = ERR_OK;
    rig_go(r);
    rig_free(r);
}

static void a_failed_write_is_answered_not_pushed_and_memory_is_read_again(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='bob@x.test'/>"));
    forget(a);
    static const err bad[] = {ERR_NOSPC, ERR_IO, ERR_OVERLOAD};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        r->write_status = bad[i];
        (void)say(a, SET("<item jid='carol@x.test'/>"));
        (void)say(a, SET("<item jid='bob@x.test' subscription='remove'/>"));
    }
    assert_int_equal(count(a, "resource-constraint"), 6);
    assert_int_equal(a->n, 6);
    r->write_status = ERR_OK;
    (void)say(a, GET);
    assert_int_equal(count(a, "<query xmlns='jabber:iq:roster'><item jid='bob@x.test' subscription='none'></item></query>"), 1);
    r->write_status = ERR_IO;
    r->load_status = ERR_IO; /* and cannot be: nothing is answered from a guess */
    forget(a);
    (void)say(a, SET("<item jid='carol@x.test'/>"));
    (void)say(a, GET);
    assert_int_equal(count(a, "<item"), 0);
    assert_int_equal(count(a, "resource-constraint"), 2);
    rig_free(r);
}

static void two_changes_in_flight_build_upon_each_other(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    r->hold_keyed = true;
    (void)say(a, SET("<item jid='bob@x.test' name='one'/>"));
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    (void)say(a, SET("<item jid='carol@x.test'/>"));
    r->hold_keyed = false;
    rig_keyed_release(r, 3);
    const store_item *i = rig_item_of(r, "alice@x.test", "bob@x.test");
    assert_true(i->ask);
    assert_true(slice_is(i->name, "one"));
    assert_int_equal(count(a, "ver='4'"), 1);
    rig_free(r);
}

static void removal_cancels_both_directions(void **state) {
    (void)state;
    rig *r = rig_three();
    store_item i = rig_contact("bob@x.test", STORE_SUB_BOTH), j = rig_contact("alice@x.test", STORE_SUB_BOTH);
    rig_item_put(rig_user_of(r, "alice@x.test"), &i);
    rig_item_put(rig_user_of(r, "bob@x.test"), &j);
    sess *b = login(r, "bob@x.test", "b", 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='bob@x.test' subscription='remove'/>"));
    assert_int_equal(count(b, "type='unavailable' from='alice@x.test/a'"), 1);
    assert_int_equal(count(b, "type='unsubscribe' from='alice@x.test'"), 1);
    assert_int_equal(count(b, "type='unsubscribed' from='alice@x.test'"), 1);
    assert_int_equal(count(b, "subscription='none'"), 1);
    assert_int_equal(rig_item_of(r, "bob@x.test", "alice@x.test")->sub, STORE_SUB_NONE);
    rig_free(r);
}

static void a_pending_request_is_not_shown_and_survives_a_reload(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    forget(b);
    (void)say(b, GET);
    assert_int_equal(count(b, "<item"), 0);
    unbind(b);
    for (int i = 0; i < 3; i++) rig_later(r, 61 * USEC_PER_SEC); /* evicted */
    unsigned loads = r->loads;
    b = login(r, "bob@x.test", "b", 0);
    assert_true(r->loads > loads);
    assert_int_equal(count(b, "type='subscribe'"), 1);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_pushed_to_interested_resources_once_it_is_durable),
        cmocka_unit_test(wrong_sets_have_the_errors_of_section_2_3_3),
        cmocka_unit_test(a_client_may_not_set_a_subscription),
        cmocka_unit_test(the_present_version_gets_an_empty_result_and_an_unknown_one_the_roster),
        cmocka_unit_test(an_older_version_gets_what_changed_since_also_after_a_reload),
        cmocka_unit_test(a_strangers_request_and_its_end_are_no_change_of_the_roster),
        cmocka_unit_test(a_removal_is_told_also_when_the_contact_asked_again_since),
        cmocka_unit_test(the_end_of_a_request_brings_no_forgotten_removal_back),
        cmocka_unit_test(of_very_many_removals_the_oldest_are_forgotten),
        cmocka_unit_test(a_removal_that_is_forgotten_costs_the_difference),
        cmocka_unit_test(a_difference_that_is_large_is_sent_as_the_whole),
        cmocka_unit_test(the_roster_is_not_shown_before_a_change_is_durable),
        cmocka_unit_test(a_failed_write_is_answered_not_pushed_and_memory_is_read_again),
        cmocka_unit_test(two_changes_in_flight_build_upon_each_other),
        cmocka_unit_test(removal_cancels_both_directions),
        cmocka_unit_test(a_pending_request_is_not_shown_and_survives_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
