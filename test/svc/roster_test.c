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

static void the_present_version_gets_an_empty_result_and_any_other_the_roster(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, SET("<item jid='bob@x.test'/>"));
    assert_int_equal(count(a, "ver='2'"), 1);
    static const struct {
        const char *ver;
        bool whole;
    } t[] = {{"2", false}, {"1", true}, {"", true}, {"3", true}, {"x", true}, {"99999999999999999999999", true}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        forget(a);
        (void)sayf(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='%s'/></iq>", t[i].ver);
        assert_int_equal(count(a, "<query xmlns='jabber:iq:roster' ver='2'><item"), t[i].whole);
        assert_int_equal(a->n, 1);
    }
    (void)say(a, SET("<item jid='bob@x.test' subscription='remove'/>"));
    assert_int_equal(count(a, "ver='3'><item jid='bob@x.test' subscription='remove'/>"), 1);
    forget(a);
    (void)say(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='2'/></iq>");
    assert_int_equal(count(a, "ver='3'></query>"), 1);
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
        cmocka_unit_test(the_present_version_gets_an_empty_result_and_any_other_the_roster),
        cmocka_unit_test(the_roster_is_not_shown_before_a_change_is_durable),
        cmocka_unit_test(a_failed_write_is_answered_not_pushed_and_memory_is_read_again),
        cmocka_unit_test(two_changes_in_flight_build_upon_each_other),
        cmocka_unit_test(removal_cancels_both_directions),
        cmocka_unit_test(a_pending_request_is_not_shown_and_survives_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
