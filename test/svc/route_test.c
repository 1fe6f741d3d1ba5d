/* Where stanzas go (RFC 6121 section 8), and that each is answered for exactly once. */
#include "svc/svc_rig.h"

typedef enum who { NOBODY, AVAILABLE, NEGATIVE, BOUND, WHO } who; /* the session bob/b */
static const char *const WHO_NAME[WHO] = {"no session", "available", "negative priority", "bound, not available"};
typedef enum what { LOST, GOT, ERROR, STORED } what;
static const char *const WHAT_NAME[] = {"ignored", "delivered", "answered with an error", "stored"};

typedef struct line {
    const char *stanza; /* with one %s for the address */
    what bare[WHO], full[WHO];
    const char *error;
} line;
#define UNAVAILABLE "service-unavailable"
static const line TABLE[] = {
    {"<message type='chat' to='%s'><body>m</body></message>", {STORED, GOT, STORED, STORED}, {STORED, GOT, GOT, GOT}, NULL},
    {"<message to='%s'><body>m</body></message>", {STORED, GOT, STORED, STORED}, {STORED, GOT, GOT, GOT}, NULL},
    {"<message type='chat' to='%s'><x xmlns='m'/></message>", {STORED, GOT, STORED, STORED}, {STORED, GOT, GOT, GOT}, NULL},
    {"<message type='chat' to='%s'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
     {LOST, GOT, LOST, LOST},
     {LOST, GOT, GOT, GOT},
     NULL},
    {"<message type='chat' to='%s'><body>m</body><no-store xmlns='urn:xmpp:hints'/></message>",
     {ERROR, GOT, ERROR, ERROR},
     {ERROR, GOT, GOT, GOT},
     UNAVAILABLE},
    {"<message type='headline' to='%s'><body>m</body></message>", {LOST, GOT, LOST, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<message type='groupchat' to='%s'><body>m</body></message>", {ERROR, ERROR, ERROR, ERROR}, {ERROR, GOT, GOT, GOT}, UNAVAILABLE},
    {"<message type='error' to='%s'><body>m</body></message>", {LOST, LOST, LOST, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<presence to='%s'/>", {LOST, GOT, GOT, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<presence type='unavailable' to='%s'/>", {LOST, GOT, GOT, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<presence type='probe' to='%s'/>", {LOST, LOST, LOST, LOST}, {LOST, LOST, LOST, LOST}, NULL},
    {"<iq type='get' id='i' to='%s'><q xmlns='q'/></iq>", {ERROR, ERROR, ERROR, ERROR}, {ERROR, GOT, GOT, GOT}, UNAVAILABLE},
    {"<iq type='set' id='i' to='%s'><q xmlns='q'/></iq>", {ERROR, ERROR, ERROR, ERROR}, {ERROR, GOT, GOT, GOT}, UNAVAILABLE},
    {"<iq type='result' id='i' to='%s'/>", {LOST, LOST, LOST, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<iq type='error' id='i' to='%s'/>", {LOST, LOST, LOST, LOST}, {LOST, GOT, GOT, GOT}, NULL},
    {"<iq type='set' id='i' to='%s'><query xmlns='jabber:iq:roster'><item jid='eve@x.test'/></query></iq>",
     {ERROR, ERROR, ERROR, ERROR},
     {ERROR, ERROR, ERROR, ERROR},
     UNAVAILABLE},
    {"<iq type='set' id='i' to='%s'><block xmlns='urn:xmpp:blocking'/></iq>",
     {ERROR, ERROR, ERROR, ERROR},
     {ERROR, ERROR, ERROR, ERROR},
     UNAVAILABLE},
    {"<iq type='get' id='i' to='%s'><query xmlns='jabber:iq:roster'/></iq>",
     {ERROR, ERROR, ERROR, ERROR},
     {ERROR, GOT, GOT, GOT},
     UNAVAILABLE},
    {"<iq type='get' id='i' to='%s'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
     {ERROR, ERROR, ERROR, ERROR},
     {ERROR, GOT, GOT, GOT},
     UNAVAILABLE},
};

static void fill(char *out, size_t max, const char *stanza, const char *to) {
    const char *at = strstr(stanza, "%s");
    (void)snprintf(out, max, "%.*s%s%s", (int)(at - stanza), stanza, to, at + 2);
}

static void one(const line *l, who w, bool full) {
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE), *b = NULL;
    if (w != NOBODY) b = login_quiet(r, "bob@x.test", "b", w == AVAILABLE ? 5 : w == NEGATIVE ? -1 : NO_PRESENCE);
    char xml[512];
    fill(xml, sizeof xml, l->stanza, full ? "bob@x.test/b" : "bob@x.test");
    uint32_t t = say(a, xml);
    what want = full ? l->full[w] : l->bare[w];
    what is = b && b->n == 1 ? GOT : a->n == 1 && count(a, "type='error'") ? ERROR : live_records(r) == 1 ? STORED : LOST;
    if (is != want || a->n + (b ? b->n : 0) > 1 || !done(a, t)) {
        show(a);
        if (b) show(b);
        fail_msg("%s, %s: %s, not %s", xml, WHO_NAME[w], WHAT_NAME[is], WHAT_NAME[want]);
    }
    if (want == ERROR && l->error) assert_int_equal(count(a, l->error), 1);
    rig_free(r);
}

static void stanzas_go_where_section_8_5_says(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TABLE); i++)
        for (who w = NOBODY; w < WHO; w++) {
            one(&TABLE[i], w, false);
            one(&TABLE[i], w, true);
        }
}

static void a_bare_message_goes_to_every_available_resource_of_priority_zero_or_more(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    sess *b1 = login(r, "bob@x.test", "1", 0), *b2 = login(r, "bob@x.test", "2", 9), *b3 = login(r, "bob@x.test", "3", -1),
         *b4 = login(r, "bob@x.test", "4", NO_PRESENCE);
    forget(b1), forget(b2), forget(b3);
    chat(a, "bob@x.test", "m");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>h</body></message>");
    assert_bodies(b1, "m h");
    assert_bodies(b2, "m h");
    assert_int_equal(b3->n + b4->n, 0);
    (void)say(a, "<message type='chat' to='bob@x.test/gone'><body>n</body></message>"); /* 8.5.3.2.1: as to the bare JID */
    assert_bodies(b1, "m h n");
    rig_free(r);
}

/* The answer, without its addresses: what a stranger can tell apart. */
static void answers(sess *a, const char *stanza, const char *to, char *out, size_t max) {
    char xml[512];
    fill(xml, sizeof xml, stanza, to);
    forget(a);
    (void)say(a, xml);
    char *from = a->n ? strstr(a->got[0], to) : NULL;
    (void)snprintf(out, max, "%zu %.*s%s", a->n, from ? (int)(from - a->got[0]) : 0, a->n ? a->got[0] : "", from ? from + strlen(to) : "");
}

static void strangers_cannot_tell_an_account_that_exists_from_one_that_does_not(void **state) {
    (void)state;
    static const char *const ask[] = {
        "<presence to='%s'/>",
        "<presence type='subscribe' to='%s'/>",
        "<presence type='unsubscribe' to='%s'/>",
        "<presence type='probe' to='%s'/>",
        "<iq type='get' id='i' to='%s'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        "<iq type='get' id='i' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='get' id='i' to='%s'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='set' id='i' to='%s'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='get' id='i' to='%s'><q xmlns='q'/></iq>",
        "<iq type='get' id='i' to='%s'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
        "<iq type='get' id='i' to='%s'><query xmlns='jabber:iq:version'/></iq>",
        "<iq type='result' id='i' to='%s'/>",
        "<message type='groupchat' to='%s'><body>m</body></message>",
        "<message type='error' to='%s'><body>m</body></message>",
    };
    char here[1024], away[1024];
    for (size_t i = 0; i < ARRAY_LEN(ask); i++) {
        rig *r = rig_three();
        sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
        (void)login(r, "bob@x.test", "b", 0);
        answers(a, ask[i], "bob@x.test", here, sizeof here);
        answers(a, ask[i], "eve@x.test", away, sizeof away);
        assert_string_equal(here, away);
        rig_free(r);
    }
}

static void what_is_for_no_account_of_ours_is_answered(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    chat(a, "eve@x.test", "m");
    assert_int_equal(count(a, UNAVAILABLE), 1);
    chat(a, "eve@far.test", "m");
    assert_int_equal(count(a, "remote-server-not-found"), 1);
    (void)say(a, "<message to='x.test'><body>m</body></message>");
    assert_int_equal(count(a, UNAVAILABLE), 2);
    (void)say(a, "<presence to='x.test'/>");
    (void)say(a, "<iq type='result' id='i' to='x.test'/>");
    (void)say(a, "<iq type='get' id='p' to='x.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_int_equal(count(a, "type='result'"), 1);
    assert_int_equal(a->n, 4);
    rig_free(r);
}

static void an_unreadable_account_is_a_temporary_error_and_comes_back(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    r->load_status = ERR_IO;
    chat(a, "bob@x.test", "m");
    assert_int_equal(count(a, "resource-constraint"), 1);
    r->load_status = ERR_OK;
    chat(a, "bob@x.test", "m");
    assert_int_equal(live_records(r), 1);
    rig_free(r);
}

static void what_comes_while_an_account_is_loaded_keeps_its_order(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    r->hold_keyed = true;
    for (int i = 0; i < 5; i++) (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body></message>", i);
    assert_int_equal(r->n_keyed, 1); /* one look-up */
    assert_int_equal(r->puts, 0);
    r->hold_keyed = false;
    rig_keyed_release(r, 1);
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_bodies(b, "0 1 2 3 4");
    rig_free(r);
}

static void blocked_users_are_answered_like_strangers_in_both_directions(void **state) {
    (void)state;
    rig *r = rig_three();
    rig_user *u = rig_user_of(r, "alice@x.test");
    store_item i = rig_contact("bob@x.test", STORE_SUB_BOTH), j = rig_contact("alice@x.test", STORE_SUB_BOTH);
    rig_item_put(u, &i);
    rig_item_put(rig_user_of(r, "bob@x.test"), &j);
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0);
    (void)say(a, "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>");
    (void)say(a, "<iq type='set' id='k'><block xmlns='urn:xmpp:blocking'><item jid='BOB@X.test'/></block></iq>"); /* case does not evade */
    assert_int_equal(count(a, "type='result'"), 2);
    assert_int_equal(count(a, "<block xmlns='urn:xmpp:blocking'><item jid='bob@x.test'/>"), 1);
    assert_int_equal(count(b, "type='unavailable'"), 1);
    forget(a), forget(b);
    chat(b, "alice@x.test", "m");
    chat(b, "alice@x.test/a", "m");
    (void)say(b, "<presence><status>new</status></presence>");
    (void)say(b, "<presence to='alice@x.test/a'/>");
    (void)say(b, "<iq type='get' id='i' to='alice@x.test/a'><q xmlns='q'/></iq>");
    assert_int_equal(a->n, 0);
    assert_int_equal(count(b, UNAVAILABLE), 3);
    assert_int_equal(live_records(r), 0);
    forget(b);
    chat(a, "bob@x.test", "m");
    (void)say(a, "<iq type='get' id='i' to='bob@x.test/b'><q xmlns='q'/></iq>");
    (void)say(a, "<presence><status>hidden</status></presence>");
    (void)say(a, "<presence to='bob@x.test'/>");
    assert_int_equal(count(a, "<blocked xmlns='urn:xmpp:blocking:errors'/>"), 2);
    assert_int_equal(b->n, 0);
    sess *b2 = login(r, "bob@x.test", "b2", 0); /* its probe is not answered */
    assert_int_equal(count(b2, "alice@x.test/a"), 0);
    (void)say(a, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>");
    assert_int_equal(count(b, "hidden"), 1);
    chat(b, "alice@x.test", "again");
    assert_int_equal(count(a, "again"), 1);
    assert_int_equal(u->n_blocks, 0);
    rig_free(r);
}

static void blocklist_requests_that_are_wrong_change_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.blocks_max = 2;
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    static const struct {
        const char *inner, *error;
    } bad[] = {
        {"<block xmlns='urn:xmpp:blocking'/>", "bad-request"},
        {"<block xmlns='urn:xmpp:blocking'><item/></block>", "bad-request"},
        {"<block xmlns='urn:xmpp:blocking'><item jid='@'/></block>", "jid-malformed"},
        {"<block xmlns='urn:xmpp:blocking'><item jid='a@b'/><item jid='b@b'/><item jid='c@b'/></block>", "resource-constraint"},
        {"<block xmlns='urn:xmpp:blocking'><item jid='alice@x.test'/></block>", "not-allowed"},
        {"<other xmlns='urn:xmpp:blocking'/>", "bad-request"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        forget(a);
        (void)sayf(a, "<iq type='set' id='i'>%s</iq>", bad[i].inner);
        assert_int_equal(count(a, bad[i].error), 1);
    }
    assert_int_equal(r->writes, 0);
    r->write_status = ERR_IO;
    (void)say(a, "<iq type='set' id='i'><block xmlns='urn:xmpp:blocking'><item jid='bob@x.test'/></block></iq>");
    assert_int_equal(count(a, "resource-constraint"), 1);
    chat(a, "bob@x.test", "m");
    assert_int_equal(live_records(r), 1);
    rig_free(r);
}

#define CARBONS "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
static void carbons_copy_what_is_eligible_and_nothing_else(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0),
         *d = login_quiet(r, "bob@x.test", "d", 0);
    (void)say(c, CARBONS);
    forget(c);
    chat(a, "bob@x.test/b", "1");
    assert_int_equal(count(c, "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
                              "type='chat' from='alice@x.test/a'"),
                     1);
    assert_int_equal(count(c, "from='bob@x.test' to='bob@x.test/c'"), 1); /* genuine: from the user's bare JID */
    chat(b, "alice@x.test", "2");
    assert_int_equal(count(c, "<sent xmlns"), 1);
    assert_int_equal(count(b, "<sent"), 0);
    assert_int_equal(d->n, 0);
    forget(c);
    (void)say(a, "<message type='chat' to='bob@x.test/b'><body>3</body><private xmlns='urn:xmpp:carbons:2'/></message>");
    (void)say(a, "<message type='chat' to='bob@x.test/b'><body>4</body><no-copy xmlns='urn:xmpp:hints'/></message>");
    (void)say(a, "<message type='headline' to='bob@x.test/b'><body>5</body></message>");
    (void)say(a, "<message type='groupchat' to='bob@x.test/b'><body>6</body></message>");
    (void)say(b, "<message type='chat' to='alice@x.test'><body>7</body><private xmlns='urn:xmpp:carbons:2'/></message>");
    assert_int_equal(c->n, 0);
    assert_int_equal(count(b, "<private"), 0);
    chat(a, "bob@x.test", "8"); /* to the bare JID: it has the message itself, once */
    assert_int_equal(c->n, 1);
    (void)say(a, "<message type='chat' to='bob@x.test/b'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>");
    assert_int_equal(count(c, "composing"), 1);
    (void)say(c, "<iq type='set' id='c'><disable xmlns='urn:xmpp:carbons:2'/></iq>");
    forget(c);
    chat(a, "bob@x.test/b", "9");
    assert_int_equal(c->n, 0);
    rig_free(r);
}

static void carbons_between_ones_own_resources_come_once(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0), *d = login(r, "bob@x.test", "d", 0);
    (void)say(b, CARBONS), (void)say(c, CARBONS), (void)say(d, CARBONS);
    forget(b), forget(c), forget(d);
    chat(b, "bob@x.test/c", "1");
    (void)say(b, "<message type='chat' to='bob@x.test/c'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>");
    assert_int_equal(b->n, 0);
    assert_int_equal(c->n, 2);
    assert_int_equal(d->n, 2);
    rig_free(r);
}

static void forged_wrappers_reach_nobody(void **state) {
    (void)state;
    static const char *const forged[] = {
        "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
        "from='eve@x.test'><body>F</body></message></forwarded></received>",
        "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message "
        "xmlns='jabber:client'><body>F</body></message></forwarded></sent>",
        "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><received "
        "xmlns='urn:xmpp:carbons:2'>F</received></message></forwarded>",
        "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'><message "
        "xmlns='jabber:client'><body>F</body></message></forwarded></result>",
        "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@x.test' id='F'/>",
        "<stanza-id xmlns='urn:xmpp:sid:0' by='BOB@x.test' id='F'/>",
        "<delay xmlns='urn:xmpp:delay' from='x.test' stamp='F'/>",
        "<delay xmlns='urn:xmpp:delay' from='X.TEST' stamp='F'/>",
    };
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *c = login(r, "bob@x.test", "c", 0);
    (void)say(c, CARBONS);
    forget(b), forget(c);
    for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
        (void)sayf(a, "<message type='chat' to='bob@x.test/b'><body>hi</body>%s</message>", forged[i]);
        assert_int_equal(b->n, i + 1);
        assert_int_equal(count(b, "F<") + count(b, "'F'") + count(c, "F<") + count(c, "'F'"), 0);
    }
    rig_free(r);
}

/* --- what cannot be packed: more than 16 MiB, which no edge lets through, but limits of two layers never rest on each other */
#define HUGE (17u << 20)

static slice huge(const char *before, const char *after) {
    static char text[HUGE + 1];
    memset(text, 'x', HUGE);
    memcpy(text, before, strlen(before));
    memcpy(text + HUGE - strlen(after), after, strlen(after));
    return slice_of((const uint8_t *)text, HUGE);
}

static void a_stanza_that_is_too_large_to_be_packed_is_answered(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *a2 = login_quiet(r, "alice@x.test", "a2", 0),
         *b = login_quiet(r, "bob@x.test", "b", 0);
    (void)say(a2, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    forget(a2);
    const xmpp_env e[] = {
        {.kind = XMPP_MESSAGE, .type = XMPP_TYPE_CHAT, .flags = XMPP_F_BODY, .to = SLICE("bob@x.test")},
        {.kind = XMPP_MESSAGE, .type = XMPP_TYPE_CHAT, .flags = XMPP_F_BODY, .to = SLICE("bob@x.test/b")},
        {.kind = XMPP_IQ, .type = XMPP_TYPE_SET, .to = SLICE("bob@x.test/b")},
        {.kind = XMPP_IQ, .type = XMPP_TYPE_SET, .payload_ns = SLICE("jabber:iq:roster")},
        {.kind = XMPP_IQ, .type = XMPP_TYPE_GET, .payload_ns = SLICE("jabber:iq:roster")},
        {.kind = XMPP_IQ, .type = XMPP_TYPE_SET, .payload_ns = SLICE("urn:xmpp:blocking")},
        {.kind = XMPP_PRESENCE, .to = SLICE("bob@x.test")},
        {.kind = XMPP_PRESENCE, .type = XMPP_TYPE_SUBSCRIBE, .to = SLICE("bob@x.test")},
        {.kind = XMPP_PRESENCE},
    };
    const slice inner = huge("<x>", "</x>");
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        xmpp_env x = e[i];
        x.from = slice_str(a->jid);
        x.id = SLICE("big");
        x.inner = inner;
        forget(a);
        assert_true(done(a, say_env(a, &x)));
        assert_int_equal(a->n, 1);
        assert_int_equal(count(a, "id='big'"), 1);
        assert_int_equal(count(a, "type='error'"), 1);
    }
    assert_int_equal(b->n, 0);
    assert_int_equal(a2->n, 0);
    assert_int_equal(r->puts + r->writes, 0);
    rig_free(r);
}

static void an_answer_that_is_too_large_to_be_packed_is_an_error(void **state) {
    (void)state;
    rig *r = rig_three();
    static char name[16u << 20];
    unsigned whole = 0, errors = 0;
    for (size_t less = 40; less < 340; less += 20) { /* around the largest result that fits */
        memset(name, 'n', sizeof name);
        store_item item = rig_contact("bob@x.test", STORE_SUB_NONE);
        item.name = slice_of((const uint8_t *)name, sizeof name - less);
        rig_item_put(rig_user_of(r, "alice@x.test"), &item);
        rig_later(r, 62 * USEC_PER_SEC); /* the account leaves memory */
        rig_later(r, 2 * USEC_PER_SEC);
        sess *a = sess_bind(r, "alice@x.test", "a");
        assert_true(done(a, say(a, "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")));
        assert_int_equal(count(a, "id='g'"), 1);
        whole += count(a, "type='result'");
        errors += count(a, "resource-constraint");
        unbind(a);
    }
    assert_true(whole > 0 && errors > 1);
    assert_int_equal(whole + errors, 15);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stanza_that_is_too_large_to_be_packed_is_answered),
        cmocka_unit_test(an_answer_that_is_too_large_to_be_packed_is_an_error),
        cmocka_unit_test(stanzas_go_where_section_8_5_says),
        cmocka_unit_test(a_bare_message_goes_to_every_available_resource_of_priority_zero_or_more),
        cmocka_unit_test(strangers_cannot_tell_an_account_that_exists_from_one_that_does_not),
        cmocka_unit_test(what_is_for_no_account_of_ours_is_answered),
        cmocka_unit_test(an_unreadable_account_is_a_temporary_error_and_comes_back),
        cmocka_unit_test(what_comes_while_an_account_is_loaded_keeps_its_order),
        cmocka_unit_test(blocked_users_are_answered_like_strangers_in_both_directions),
        cmocka_unit_test(blocklist_requests_that_are_wrong_change_nothing),
        cmocka_unit_test(carbons_copy_what_is_eligible_and_nothing_else),
        cmocka_unit_test(carbons_between_ones_own_resources_come_once),
        cmocka_unit_test(forged_wrappers_reach_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
