/* The subscription states of RFC 6121 appendix A as data: each state, each stanza, out of the account and into it. */
#include "svc/svc_rig.h"

typedef struct st { /* a state of appendix A.1 */
    const char *name;
    uint8_t sub;
    bool out, in; /* pending */
} st;
enum { NONE, NONE_PO, NONE_PI, NONE_POI, TO, TO_PI, FROM, FROM_PO, BOTH, STATES };
static const st ST[STATES] = {
    {"None", STORE_SUB_NONE, false, false},
    {"None + Pending Out", STORE_SUB_NONE, true, false},
    {"None + Pending In", STORE_SUB_NONE, false, true},
    {"None + Pending Out+In", STORE_SUB_NONE, true, true},
    {"To", STORE_SUB_TO, false, false},
    {"To + Pending In", STORE_SUB_TO, false, true},
    {"From", STORE_SUB_FROM, false, false},
    {"From + Pending Out", STORE_SUB_FROM, true, false},
    {"Both", STORE_SUB_BOTH, false, false},
};

static void request_of(const char *from, const char *to, buf *out) {
    const xmpp_env e = {
        .kind = XMPP_PRESENCE, .type = XMPP_TYPE_SUBSCRIBE, .from = slice_str(from), .to = slice_str(to), .inner = SLICE("")};
    xmpp_env_pack(out, &e);
}

/* Puts owner's item for contact into a state. */
static void put_state(rig *r, const char *owner, const char *contact, const st *s, bool known) {
    if (!known) return;
    buf b;
    buf_init(&b, 4096);
    store_item i = rig_contact(contact, (store_sub)s->sub);
    i.ask = s->out;
    if (s->in) {
        request_of(contact, owner, &b);
        i.request = buf_slice(&b);
    }
    rig_item_put(rig_user_of(r, owner), &i);
    buf_fini(&b);
}

static unsigned state_of(rig *r, const char *owner, const char *contact) {
    const store_item *i = rig_item_of(r, owner, contact);
    for (unsigned k = 0; k < STATES; k++)
        if (i->sub == ST[k].sub && i->ask == ST[k].out && (i->request.len != 0) == ST[k].in) return k;
    fail_msg("a state that appendix A does not know");
    return STATES;
}

typedef struct row {
    bool routed; /* or, inbound, delivered */
    int next;    /* -1: no change */
    bool reply;  /* inbound subscribe: answered subscribed on the user's behalf */
} row;
typedef struct table {
    const char *type;
    st peer; /* what the other side must be in for the stanza to show there, or to be sent from there */
    row rows[STATES];
} table;

static const table OUT[] = {
    {"subscribe",
     {"", STORE_SUB_NONE, false, false},
     {{1, NONE_PO, 0}, {1, -1, 0}, {1, NONE_POI, 0}, {1, -1, 0}, {1, -1, 0}, {1, -1, 0}, {1, FROM_PO, 0}, {1, -1, 0}, {1, -1, 0}}},
    {"unsubscribe",
     {"", STORE_SUB_FROM, false, false},
     {{1, -1, 0}, {1, NONE, 0}, {1, -1, 0}, {1, NONE_PI, 0}, {1, NONE, 0}, {1, NONE_PI, 0}, {1, -1, 0}, {1, FROM, 0}, {1, FROM, 0}}},
    {"subscribed",
     {"", STORE_SUB_NONE, true, false},
     {{0, -1, 0}, {0, -1, 0}, {1, FROM, 0}, {1, FROM_PO, 0}, {0, -1, 0}, {1, BOTH, 0}, {0, -1, 0}, {0, -1, 0}, {0, -1, 0}}},
    {"unsubscribed",
     {"", STORE_SUB_TO, false, false},
     {{0, -1, 0}, {0, -1, 0}, {1, NONE, 0}, {1, NONE_PO, 0}, {0, -1, 0}, {1, TO, 0}, {1, NONE, 0}, {1, NONE_PO, 0}, {1, TO, 0}}},
};
static const table IN[] = {
    {"subscribe",
     {"", STORE_SUB_NONE, false, false},
     {{1, NONE_PI, 0}, {1, NONE_POI, 0}, {0, -1, 0}, {0, -1, 0}, {1, TO_PI, 0}, {0, -1, 0}, {0, -1, 1}, {0, -1, 1}, {0, -1, 1}}},
    {"unsubscribe",
     {"", STORE_SUB_TO, false, false},
     {{0, -1, 0}, {0, -1, 0}, {1, NONE, 0}, {1, NONE_PO, 0}, {0, -1, 0}, {1, TO, 0}, {1, NONE, 0}, {1, NONE_PO, 0}, {1, TO, 0}}},
    {"subscribed",
     {"", STORE_SUB_NONE, false, true},
     {{0, -1, 0}, {1, TO, 0}, {0, -1, 0}, {1, TO_PI, 0}, {0, -1, 0}, {0, -1, 0}, {0, -1, 0}, {1, BOTH, 0}, {0, -1, 0}}},
    {"unsubscribed",
     {"", STORE_SUB_FROM, false, false},
     {{0, -1, 0}, {1, NONE, 0}, {0, -1, 0}, {1, NONE_PI, 0}, {1, NONE, 0}, {1, NONE_PI, 0}, {0, -1, 0}, {1, FROM, 0}, {1, FROM, 0}}},
};

static void run(const table *t, unsigned from, bool out) {
    const row *w = &t->rows[from];
    unsigned want = w->next < 0 ? from : (unsigned)w->next;
    char what[64];
    (void)snprintf(what, sizeof what, "type='%s'", t->type);
    rig *r = rig_three();
    put_state(r, "alice@x.test", "bob@x.test", &ST[from], true);
    put_state(r, "bob@x.test", "alice@x.test", &t->peer, t->peer.sub || t->peer.in || t->peer.out);
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    forget(a);
    forget(b);
    uint64_t before = rig_user_of(r, "alice@x.test")->ver;
    (void)sayf(out ? a : b, "<presence type='%s' to='%s@x.test'/>", t->type, out ? "bob" : "alice");
    unsigned next = state_of(r, "alice@x.test", "bob@x.test");
    sess *at = out ? b : a;
    if (next != want || count(at, what) != (w->routed ? 1 : 0) || (out ? 0 : count(b, "type='subscribed'")) != (w->reply ? 1 : 0)) {
        show(a);
        show(b);
        fail_msg("%s %s in state '%s': new state '%s', seen %u times", out ? "outbound" : "inbound", t->type, ST[from].name, ST[next].name,
                 count(at, what));
    }
    if (w->routed) assert_non_null(strstr(at->got[where(at, what)], out ? "from='alice@x.test'" : "from='bob@x.test'")); /* bare */
    bool preapproved = rig_item_of(r, "alice@x.test", "bob@x.test")->approved;
    bool changed = next != from || preapproved;
    assert_int_equal(rig_user_of(r, "alice@x.test")->ver, before + (changed ? 1 : 0));
    bool shown = ST[next].sub != ST[from].sub || ST[next].out != ST[from].out || preapproved;
    if (shown) assert_int_equal(count(a, "jabber:iq:roster"), 1);
    if (!changed) assert_int_equal(count(a, "jabber:iq:roster"), 0);
    if (!out && shown && w->routed) assert_true(where(a, what) < where(a, "jabber:iq:roster")); /* 3.1.6, 3.2.3, 3.3.3: before the push */
    rig_free(r);
}

static void outbound_stanzas_change_states_and_are_routed_as_in_appendix_a_2(void **state) {
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(OUT); t++)
        for (unsigned s = 0; s < STATES; s++) run(&OUT[t], s, true);
}

static void inbound_stanzas_change_states_and_are_delivered_as_in_appendix_a_3(void **state) {
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(IN); t++)
        for (unsigned s = 0; s < STATES; s++) run(&IN[t], s, false);
}

static void a_request_is_delivered_at_every_login_until_it_is_answered(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'><status>it is me</status></presence>");
    for (int i = 0; i < 2; i++) {
        sess *b = login(r, "bob@x.test", "b", 0);
        assert_int_equal(count(b, "type='subscribe'"), 1);
        assert_int_equal(count(b, "<status>it is me</status>"), 1); /* whole */
        unbind(b);
    }
    sess *b = login(r, "bob@x.test", "b", 0);
    forget(a);
    (void)say(b, "<presence type='subscribed' to='alice@x.test'/>");
    assert_int_equal(count(a, "type='subscribed'"), 1);
    assert_int_equal(count(a, "from='bob@x.test/b'"), 1); /* and presence */
    unbind(b);
    b = login(r, "bob@x.test", "b", 0);
    assert_int_equal(count(b, "type='subscribe'"), 0);
    rig_free(r);
}

/* n contacts, c0 and so on, each with a request to bob of about bytes. */
static void add_requests(rig *r, int n, size_t bytes) {
    static char inner[20000];
    memset(inner, 'x', bytes);
    memcpy(inner, "<status>", 8);
    memcpy(inner + bytes - 9, "</status>", 9);
    for (int i = 0; i < n; i++) {
        char from[32];
        (void)snprintf(from, sizeof from, "c%d@x.test", i);
        const xmpp_env e = {.kind = XMPP_PRESENCE,
                            .type = XMPP_TYPE_SUBSCRIBE,
                            .from = slice_str(from),
                            .to = SLICE("bob@x.test"),
                            .inner = slice_of((const uint8_t *)inner, bytes)};
        buf b;
        buf_init(&b, 32768);
        xmpp_env_pack(&b, &e);
        store_item item = {.jid = slice_str(from), .ver = 1, .request = buf_slice(&b)};
        rig_item_put(rig_user_of(r, "bob@x.test"), &item);
        buf_fini(&b);
    }
}

static size_t waiting(const sess *s, uint32_t acked) { /* bytes that were sent and are not acked */
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->keep[i] > acked) n += strlen(s->got[i]);
    return n;
}

static void assert_each_once(const sess *s, int n) {
    for (int i = 0; i < n; i++) {
        char from[32];
        (void)snprintf(from, sizeof from, "from='c%d@x.test'", i);
        assert_int_equal(count(s, from), 1);
    }
}

static void requests_that_wait_are_paced_and_every_one_arrives(void **state) {
    (void)state;
    rig *r = rig_three();
    add_requests(r, 60, 16000);
    for (int again = 0; again < 2; again++) {
        sess *b = login(r, "bob@x.test", "b", 0);
        for (uint32_t k = 0; k < 60; k++) { /* one after the other is acked */
            assert_true(waiting(b, k) > 0);
            assert_true(waiting(b, k) <= 3 * 16384); /* within the least xmpp.out_max, which is 64 KiB */
            ack(b, k + 1);
        }
        assert_int_equal(b->last_keep, 60);
        assert_each_once(b, 60);
        unbind(b);
    }
    rig_free(r);
}

static void kept_messages_drain_beside_requests_and_do_not_starve_them(void **state) {
    (void)state;
    rig *r = rig_three();
    add_requests(r, 20, 16000);
    static char xml[12000];
    sess *a = login(r, "alice@x.test", "a", 0);
    for (int i = 0; i < 20; i++) {
        int n = snprintf(xml, sizeof xml, "<message type='chat' to='bob@x.test'><body>%d</body><x xmlns='x'>", i);
        memset(xml + n, 'y', 10000);
        (void)snprintf(xml + n + 10000, sizeof xml - (size_t)n - 10000, "</x></message>");
        (void)say(a, xml);
    }
    sess *b = login(r, "bob@x.test", "b", 0);
    for (uint32_t k = 0; k < 40; k++) {
        if (count(b, "type='subscribe'") < 20) assert_true(waiting(b, k) <= 3 * 16384 + 11000); /* then the window is its whole size */
        ack(b, k + 1);
    }
    assert_each_once(b, 20);
    assert_bodies(b, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19");
    assert_int_equal(live_records(r), 0);
    rig_free(r);
}

static void answers_and_a_reload_in_between_pass_over_none(void **state) {
    (void)state;
    rig *r = rig_three();
    add_requests(r, 12, 16000);
    sess *b = login(r, "bob@x.test", "b", 0);
    (void)say(b, "<presence type='unsubscribed' to='c0@x.test'/>"); /* the last contact takes the place of the first */
    (void)say(b, "<presence type='unsubscribed' to='c5@x.test'/>");
    r->write_status = ERR_NOSPC;
    (void)say(b, "<presence type='unsubscribed' to='c6@x.test'/>");
    r->write_status = ERR_OK;
    (void)say(b, "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"); /* reads the account again */
    for (uint32_t k = 1; k < 60; k++)
        if (k <= b->last_keep) ack(b, k);
    for (int i = 0; i < 12; i++) {
        char from[32];
        (void)snprintf(from, sizeof from, "from='c%d@x.test'", i);
        if (i != 0 && i != 5) assert_true(count(b, from) >= 1);
    }
    (void)say(b, "<presence type='unavailable'/>");
    forget(b);
    (void)say(b, "<presence/>"); /* and all of them again */
    for (uint32_t k = b->last_keep - 1; k <= b->last_keep; k++) ack(b, k);
    assert_int_equal(count(b, "type='subscribe'"), 10);
    rig_free(r);
}

static void a_pre_approval_answers_and_is_used_once(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    (void)say(b, "<presence type='subscribed' to='alice@x.test'/>");
    assert_int_equal(a->n, 0); /* it stays here */
    assert_int_equal(count(b, "approved='true'"), 1);
    forget(b);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    assert_int_equal(count(b, "type='subscribe'"), 0);
    assert_int_equal(count(a, "type='subscribed'"), 1);
    assert_int_equal(count(a, "from='bob@x.test/b'"), 1);
    assert_int_equal(state_of(r, "bob@x.test", "alice@x.test"), FROM);
    (void)say(b, "<presence type='unsubscribed' to='alice@x.test'/>");
    forget(b);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    assert_int_equal(count(b, "type='subscribe'"), 1);
    rig_free(r);
}

static void subscriptions_to_oneself_and_of_anonymous_accounts_do_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *n = login_quiet(r, "n1@anon.test", NULL, NO_PRESENCE);
    (void)say(a, "<presence type='subscribe' to='alice@x.test/x'/>");
    assert_int_equal(a->n, 0);
    (void)say(n, "<presence type='subscribe' to='alice@x.test'/>");
    assert_int_equal(count(n, "not-allowed"), 1);
    assert_int_equal(r->writes, 0);
    rig_free(r);
}

static void nothing_is_routed_when_the_change_is_not_durable(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    r->write_status = ERR_NOSPC;
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    assert_int_equal(count(a, "resource-constraint"), 1);
    assert_int_equal(count(a, "jabber:iq:roster"), 0);
    assert_int_equal(b->n, 0);
    r->write_status = ERR_OK;
    forget(a);
    (void)say(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"); /* memory follows the store again */
    assert_int_equal(count(a, "<item"), 0);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    assert_int_equal(count(b, "type='subscribe'"), 1);
    rig_free(r);
}

static void the_roster_limit_holds_for_subscriptions_too(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.roster_max = 1;
    sess *a = login_quiet(r, "alice@x.test", "a", 0);
    (void)say(a, "<presence type='subscribe' to='bob@x.test'/>");
    (void)say(a, "<presence type='subscribe' to='carol@x.test'/>");
    assert_int_equal(count(a, "resource-constraint"), 1);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outbound_stanzas_change_states_and_are_routed_as_in_appendix_a_2),
        cmocka_unit_test(inbound_stanzas_change_states_and_are_delivered_as_in_appendix_a_3),
        cmocka_unit_test(a_request_is_delivered_at_every_login_until_it_is_answered),
        cmocka_unit_test(requests_that_wait_are_paced_and_every_one_arrives),
        cmocka_unit_test(kept_messages_drain_beside_requests_and_do_not_starve_them),
        cmocka_unit_test(answers_and_a_reload_in_between_pass_over_none),
        cmocka_unit_test(a_pre_approval_answers_and_is_used_once),
        cmocka_unit_test(subscriptions_to_oneself_and_of_anonymous_accounts_do_nothing),
        cmocka_unit_test(nothing_is_routed_when_the_change_is_not_durable),
        cmocka_unit_test(the_roster_limit_holds_for_subscriptions_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
