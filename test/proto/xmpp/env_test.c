/* env_test: stanzas are checked and cleaned on the way in, packed and unpacked without trust, and kept exactly as the promise says. */
#include "base/prng.h"
#include "proto/xmpp/env.h"
#include "proto/xmpp/ns.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

static const xmpp_binding binding = {{NULL, 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}};
static const xmpp_scope scope = {&binding, 1};
#define ROMEO "romeo@montague.example/orchard"

typedef struct fixture {
    arena a;
    buf inner, out;
    slice domains[2];
    xmpp_env_rules rules;
} fixture;

static int setup(void **state) {
    static fixture f;
    arena_init(&f.a, 1 << 20);
    buf_init(&f.inner, 1 << 18);
    buf_init(&f.out, 1 << 18);
    f.domains[0] = SLICE("montague.example");
    f.domains[1] = SLICE("capulet.example");
    f.rules = (xmpp_env_rules){f.domains, 2};
    *state = &f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    arena_fini(&f->a);
    buf_fini(&f->inner);
    buf_fini(&f->out);
    return 0;
}

static xmpp_stanza_error build(fixture *f, const char *text, xmpp_env *out) {
    xmpp_node *n = NULL;
    arena_reset(&f->a);
    buf_reset(&f->inner);
    assert_int_equal(xmpp_xml_parse(slice_str(text), &scope, &f->a, &n), STREAM_OK);
    return xmpp_env_build(n, SLICE(ROMEO), &f->rules, &f->a, &f->inner, out);
}
static xmpp_env build_ok(fixture *f, const char *text) {
    xmpp_env e;
    xmpp_stanza_error r = build(f, text, &e);
    if (r != STANZA_OK) fail_msg("%s: %s", text, xmpp_error_stanza_name(r));
    return e;
}

static void the_header_is_taken_from_the_stanza_and_stamped(void **state) {
    xmpp_env e =
        build_ok(*state, "<message from='forged@x' to='Juliet@CAPULET.example/balcony' type='chat' id='1' xml:lang='it'><body>ciao</body>"
                         "<origin-id xmlns='" NS_SID "' id='o1'/></message>");
    assert_int_equal(e.kind, XMPP_MESSAGE);
    assert_int_equal(e.type, XMPP_TYPE_CHAT);
    assert_true(slice_is(e.from, ROMEO) && slice_is(e.to, "juliet@capulet.example/balcony") && slice_is(e.id, "1") &&
                slice_is(e.lang, "it"));
    assert_true(slice_is(e.origin_id, "o1"));
    assert_true(slice_is(e.inner, "<body>ciao</body><origin-id xmlns='" NS_SID "' id='o1'/>"));
    e = build_ok(*state, "<presence><priority> -5\n</priority><show>away</show></presence>");
    assert_true(e.kind == XMPP_PRESENCE && e.type == XMPP_TYPE_NONE && e.priority == -5 && !e.to.p && !e.id.p);
    e = build_ok(*state, "<iq type='get' id='2'>\n<query xmlns='jabber:iq:roster'/>\n</iq>");
    assert_true(e.kind == XMPP_IQ && e.type == XMPP_TYPE_GET && slice_is(e.payload_ns, "jabber:iq:roster") &&
                slice_is(e.payload_name, "query"));
    assert_true(slice_is(e.inner, "<query xmlns='jabber:iq:roster'/>")); /* white space around the payload is not part of it */
    e = build_ok(*state, "<iq type='result' id='2'/>");
    assert_true(!e.payload_ns.p && e.inner.p && e.inner.len == 0);
}

static void types_follow_the_kind_of_the_stanza(void **state) {
    assert_int_equal(build_ok(*state, "<message/>").type, XMPP_TYPE_NORMAL);
    assert_int_equal(build_ok(*state, "<message type='normal'/>").type, XMPP_TYPE_NORMAL);
    assert_int_equal(build_ok(*state, "<message type='whatever'/>").type, XMPP_TYPE_NORMAL);
    assert_int_equal(build_ok(*state, "<message type='get'/>").type, XMPP_TYPE_NORMAL);
    assert_int_equal(build_ok(*state, "<message type='headline'/>").type, XMPP_TYPE_HEADLINE);
    assert_int_equal(build_ok(*state, "<message type='groupchat'/>").type, XMPP_TYPE_GROUPCHAT);
    assert_int_equal(build_ok(*state, "<presence type='probe'/>").type, XMPP_TYPE_PROBE);
    assert_int_equal(build_ok(*state, "<presence type='unsubscribed'/>").type, XMPP_TYPE_UNSUBSCRIBED);
    assert_int_equal(build_ok(*state, "<iq type='error' id='1'><a/><error/></iq>").type, XMPP_TYPE_ERROR);
}

static void what_is_malformed_is_answered_not_routed(void **state) {
    static const struct {
        const char *in;
        xmpp_stanza_error want;
        bool bounce;
    } t[] = {
        {"<message to='a@@b' id='7'/>", STANZA_JID_MALFORMED, true},
        {"<message to='' id='7'/>", STANZA_JID_MALFORMED, true},
        {"<message to='@b' id='7'/>", STANZA_JID_MALFORMED, true},
        {"<message to='a b@c' id='7'/>", STANZA_JID_MALFORMED, true},
        {"<message type='error' to='@b' id='7'/>", STANZA_JID_MALFORMED, false},
        {"<presence type='chat' id='7'/>", STANZA_BAD_REQUEST, true},
        {"<presence type='' id='7'/>", STANZA_BAD_REQUEST, true},
        {"<presence id='7'><priority>128</priority></presence>", STANZA_BAD_REQUEST, true},
        {"<presence id='7'><priority>-129</priority></presence>", STANZA_BAD_REQUEST, true},
        {"<presence id='7'><priority/></presence>", STANZA_BAD_REQUEST, true},
        {"<presence id='7'><priority>1<x/></priority></presence>", STANZA_BAD_REQUEST, true},
        {"<iq id='7'><a/></iq>", STANZA_BAD_REQUEST, true},
        {"<iq type='chat' id='7'><a/></iq>", STANZA_BAD_REQUEST, true},
        {"<iq type='get' id='7'/>", STANZA_BAD_REQUEST, true},
        {"<iq type='set' id='7'><a/><b/></iq>", STANZA_BAD_REQUEST, true},
        {"<iq type='result' id='7'><a/><b/></iq>", STANZA_BAD_REQUEST, false},
        {"<iq type='set'><a/></iq>", STANZA_BAD_REQUEST, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        xmpp_env e;
        xmpp_stanza_error r = build(*state, t[i].in, &e);
        if (r != t[i].want) fail_msg("%s: %s", t[i].in, xmpp_error_stanza_name(r));
        assert_int_equal(xmpp_env_may_bounce(&e), t[i].bounce); /* e is fit for an answer */
        assert_true(slice_is(e.from, ROMEO));
    }
}

static uint32_t flags(void **state, const char *children) {
    char text[1024];
    int n = snprintf(text, sizeof text, "<message to='juliet@capulet.example' type='chat'>%s</message>", children);
    assert_true(n > 0 && (size_t)n < sizeof text);
    return build_ok(*state, text).flags;
}

#define BODY      "<body>x</body>"
#define STATE     "<composing xmlns='" NS_CHATSTATES "'/>"
#define HINT(x)   "<" x " xmlns='" NS_HINTS "'/>"
#define RECEIVED  "<received xmlns='" NS_RECEIPTS "' id='1'/>"
#define DISPLAYED "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"

static void flags_say_what_services_need_to_know(void **state) {
    assert_int_equal(flags(state, BODY), XMPP_F_BODY | XMPP_F_PAYLOAD);
    assert_int_equal(flags(state, STATE "<thread>t</thread>"), XMPP_F_CHATSTATE);
    assert_int_equal(flags(state, "<origin-id xmlns='" NS_SID "' id='1'/>"), 0);
    assert_int_equal(flags(state, "<subject>s</subject>"), XMPP_F_PAYLOAD);
    assert_int_equal(flags(state, RECEIVED), XMPP_F_RECEIPT | XMPP_F_PAYLOAD);
    assert_int_equal(flags(state, DISPLAYED STATE), XMPP_F_PAYLOAD | XMPP_F_CHATSTATE);
    assert_int_equal(flags(state, "<encrypted xmlns='eu.siacs.conversations.axolotl'/>"), XMPP_F_PAYLOAD);
    assert_int_equal(flags(state, "<body xmlns='urn:x'>not a body</body>"), XMPP_F_PAYLOAD);
    assert_int_equal(flags(state, HINT("no-store") HINT("no-permanent-store") HINT("no-copy") HINT("store")),
                     XMPP_F_NO_STORE | XMPP_F_NO_PERMANENT | XMPP_F_NO_COPY | XMPP_F_STORE_HINT);
    assert_int_equal(flags(state, "<no-store xmlns='urn:x'/>"), XMPP_F_PAYLOAD);
}

/* The contract, sentence 2. */
static void kept_are_chat_and_normal_with_a_payload_that_is_not_only_a_chat_state(void **state) {
    static const struct {
        const char *in;
        bool kept;
    } t[] = {
        {"<message type='chat'>" BODY "</message>", true},
        {"<message>" BODY "</message>", true},
        {"<message type='normal'>" BODY STATE "</message>", true},
        {"<message type='unheard-of'>" BODY "</message>", true},
        {"<message type='chat'><subject>s</subject></message>", true},
        {"<message type='chat'>" RECEIVED "</message>", true},
        {"<message type='chat'>" DISPLAYED "</message>", true},
        {"<message type='chat'>" STATE "</message>", false},
        {"<message type='chat'>" STATE "<thread>t</thread></message>", false},
        {"<message type='chat'>" STATE HINT("store") "</message>", false},
        {"<message type='chat'/>", false},
        {"<message type='chat'>" BODY HINT("no-store") "</message>", false},
        {"<message type='chat'>" BODY HINT("no-permanent-store") "</message>", false},
        {"<message type='chat'>" BODY HINT("no-copy") "</message>", true},
        {"<message type='chat'>" BODY HINT("store") "</message>", true},
        {"<message type='groupchat'>" BODY "</message>", false},
        {"<message type='headline'>" BODY "</message>", false},
        {"<message type='error'>" BODY "</message>", false},
        {"<presence><status>x</status></presence>", false},
        {"<iq type='set' id='1'><a/></iq>", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        xmpp_env e = build_ok(*state, t[i].in);
        if (xmpp_env_is_kept(&e) != t[i].kept) fail_msg("%s", t[i].in);
    }
}

/* promises.md, carbons and MAM forgery: what a client sends in the server's name does not reach anybody. */
static void what_a_client_cannot_prove_is_removed(void **state) {
    static const char *const forged[] = {
        "<delay xmlns='" NS_DELAY "' from='montague.example' stamp='2002-09-10T23:08:25Z'/>",
        "<delay xmlns='" NS_DELAY "' from='MONTAGUE.example' stamp='2002-09-10T23:08:25Z'/>",
        "<delay xmlns='" NS_DELAY "' from='capulet.example/x' stamp='2002-09-10T23:08:25Z'/>",
        "<x xmlns='jabber:x:delay' from='capulet.example' stamp='20020910T23:08:25'/>",
        "<p:delay xmlns:p='" NS_DELAY "' from='capulet.example'/>",
        "<stanza-id xmlns='" NS_SID "' by='juliet@capulet.example' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' by='JULIET@capulet.example' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' by='romeo@montague.example' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' by='capulet.example' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' by='nurse@capulet.example/x' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' id='1'/>",
        "<stanza-id xmlns='" NS_SID "' by='@' id='1'/>",
        "<received xmlns='" NS_CARBONS "'><forwarded xmlns='" NS_FORWARD "'><message xmlns='jabber:client'/></forwarded></received>",
        "<sent xmlns='" NS_CARBONS "'/>",
        "<sent xmlns='urn:xmpp:carbons:1'/>",
        "<private xmlns='" NS_CARBONS "'/>",
        "<result xmlns='" NS_MAM "' queryid='q' id='1'><forwarded xmlns='" NS_FORWARD "'/></result>",
        "<result xmlns='urn:xmpp:mam:1'/>",
        "<forwarded xmlns='" NS_FORWARD "'><message xmlns='jabber:client'><received xmlns='" NS_CARBONS "'/></message></forwarded>",
        "<forwarded xmlns='" NS_FORWARD "'><x><result xmlns='" NS_MAM "'/></x></forwarded>",
    };
    static const char *const honest[] = {
        "<delay xmlns='" NS_DELAY "' from='verona.example' stamp='2002-09-10T23:08:25Z'/>",
        "<delay xmlns='" NS_DELAY "' from='romeo@montague.example' stamp='2002-09-10T23:08:25Z'/>",
        "<delay xmlns='urn:x' from='capulet.example'/>",
        "<stanza-id xmlns='" NS_SID "' by='room@verona.example' id='1'/>",
        "<received xmlns='" NS_RECEIPTS "' id='1'/>",
        "<sent xmlns='urn:x'/>",
        "<result xmlns='urn:x'/>",
        "<forwarded xmlns='" NS_FORWARD "'><message xmlns='jabber:client'><body>b</body></message></forwarded>",
        "<origin-id xmlns='" NS_SID "' id='1'/>",
    };
    char text[1024];
    for (size_t i = 0; i < ARRAY_LEN(forged) + ARRAY_LEN(honest); i++) {
        bool keep = i >= ARRAY_LEN(forged);
        const char *child = keep ? honest[i - ARRAY_LEN(forged)] : forged[i];
        for (int presence = 0; presence < 2; presence++) {
            const char *kind = presence ? "presence" : "message";
            int n = snprintf(text, sizeof text, "<%s to='juliet@capulet.example'>%s</%s>", kind, child, kind);
            assert_true(n > 0 && (size_t)n < sizeof text);
            xmpp_env e = build_ok(*state, text);
            if ((e.inner.len != 0) != keep) fail_msg("%s", text);
            if (!keep) assert_int_equal(e.flags & ~XMPP_F_NO_COPY, 0);
        }
    }
    xmpp_env e = build_ok(*state, "<message type='chat'>" BODY "<private xmlns='" NS_CARBONS "'/></message>");
    assert_true(slice_is(e.inner, BODY));
    assert_int_equal(e.flags, XMPP_F_BODY | XMPP_F_PAYLOAD | XMPP_F_NO_COPY);
}

static void assert_same(const xmpp_env *a, const xmpp_env *b) {
    const slice x[] = {a->from, a->to, a->id, a->lang, a->origin_id, a->payload_ns, a->payload_name, a->inner};
    const slice y[] = {b->from, b->to, b->id, b->lang, b->origin_id, b->payload_ns, b->payload_name, b->inner};
    assert_true(a->kind == b->kind && a->type == b->type && a->priority == b->priority && a->flags == b->flags);
    for (size_t i = 0; i < ARRAY_LEN(x); i++) assert_true(slice_eq(x[i], y[i]) && !x[i].p == !y[i].p);
}

static const char *const samples[] = {
    "<message to='juliet@capulet.example' type='chat' id='' xml:lang='en'>" BODY "<origin-id xmlns='" NS_SID "' id='o'/></message>",
    "<presence><priority>-1</priority></presence>",
    "<iq type='get' id='1' to='capulet.example'><query xmlns='jabber:iq:roster'/></iq>",
    "<iq type='get' id='1'><query xmlns=''/></iq>",
    "<iq type='result' id='1'/>",
};

static void packing_round_trips(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        xmpp_env e = build_ok(f, samples[i]), back;
        buf_reset(&f->out);
        xmpp_env_pack(&f->out, &e);
        assert_int_equal(xmpp_env_unpack(buf_slice(&f->out), &back), ERR_OK);
        assert_same(&e, &back);
    }
}

/* Every truncation fails; every flipped bit fails or stays within the bytes given. Run under ASan with the bytes in an exact block. */
static void unpacking_damaged_bytes_is_bounded(void **state) {
    fixture *f = *state;
    prng r;
    prng_init(&r, 7);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        xmpp_env e = build_ok(f, samples[i]), back;
        buf_reset(&f->out);
        xmpp_env_pack(&f->out, &e);
        size_t len = f->out.len;
        for (size_t n = 0; n < len; n++) assert_int_equal(xmpp_env_unpack(slice_of(f->out.p, n), &back), ERR_CORRUPT);
        for (size_t bit = 0; bit < len * 8 + 2000; bit++) {
            uint8_t *copy = test_malloc(len);
            memcpy(copy, f->out.p, len);
            size_t flips = bit < len * 8 ? 1 : 1 + (size_t)prng_below(&r, 20);
            for (size_t k = 0; k < flips; k++) {
                size_t at = bit < len * 8 ? bit : (size_t)prng_below(&r, len * 8);
                copy[at / 8] ^= (uint8_t)(1u << at % 8);
            }
            if (xmpp_env_unpack(slice_of(copy, len), &back) == ERR_OK) {
                size_t total = back.from.len + back.to.len + back.id.len + back.lang.len + back.origin_id.len + back.payload_ns.len +
                               back.payload_name.len + back.inner.len;
                assert_true(total <= len);
                assert_true(!back.inner.len || (back.inner.p >= copy && back.inner.p + back.inner.len <= copy + len));
                xmpp_node *n = NULL;
                buf_reset(&f->inner);
                xmpp_env_write(&f->inner, &back, SLICE_NULL, SLICE_NULL);
                xmpp_stream_error t = xmpp_env_tree(&back, &f->a, &n); /* may be refused, must not be believed */
                assert_true((t == STREAM_OK) == (n != NULL));
            }
            test_free(copy);
        }
        arena_reset(&f->a);
    }
    xmpp_env back;
    assert_int_equal(xmpp_env_unpack(SLICE("\x02"), &back), ERR_VERSION);
    assert_int_equal(xmpp_env_unpack(SLICE(""), &back), ERR_CORRUPT);
}

static void writing_composes_the_stanza_again(void **state) {
    fixture *f = *state;
    xmpp_env e = build_ok(f, "<c:message xmlns:c='jabber:client' to='juliet@capulet.example' type='chat' id='a&apos;' xml:lang='en'>"
                             "<c:body>1&lt;2</c:body><x:y xmlns:x='urn:x' x:z='1'/></c:message>");
    xmpp_env_write(&f->out, &e, SLICE("juliet@capulet.example/r"), SLICE("<extra/>"));
    assert_true(slice_is(buf_slice(&f->out),
                         "<message type='chat' from='" ROMEO "' to='juliet@capulet.example/r' id='a&apos;' xml:lang='en'>"
                         "<body>1&lt;2</body><y xmlns='urn:x' xmlns:ns1='urn:x' ns1:z='1'/><extra/></message>"));
    buf_reset(&f->out);
    e = build_ok(f, "<message/>");
    xmpp_env_write(&f->out, &e, SLICE_NULL, SLICE_NULL);
    assert_true(slice_is(buf_slice(&f->out), "<message from='" ROMEO "'/>"));
    buf_reset(&f->out);
    e = build_ok(f, "<iq type='set' id='1'><a xmlns='u'/></iq>");
    xmpp_env_write_ns(&f->out, &e, SLICE_NULL, SLICE_NULL);
    assert_true(slice_is(buf_slice(&f->out), "<iq xmlns='jabber:client' type='set' from='" ROMEO "' id='1'><a xmlns='u'/></iq>"));
}

static void the_payload_reads_back_as_a_tree(void **state) {
    fixture *f = *state;
    xmpp_env e = build_ok(f, "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='a@b' name='&amp;'/></query></iq>");
    xmpp_node *n = NULL;
    assert_int_equal(xmpp_env_tree(&e, &f->a, &n), STREAM_OK);
    assert_true(xmpp_xml_is(n, NS_CLIENT, "iq"));
    xmpp_node *q = xmpp_xml_child(n, NS_ROSTER, "query");
    assert_non_null(q);
    assert_true(slice_is(xmpp_xml_attr(xmpp_xml_child(q, NS_ROSTER, "item"), "name"), "&"));
    e = build_ok(f, "<message/>");
    assert_int_equal(xmpp_env_tree(&e, &f->a, &n), STREAM_OK);
    assert_true(xmpp_xml_is(n, NS_CLIENT, "message") && !n->child);
}

static void an_error_goes_back_to_the_sender(void **state) {
    fixture *f = *state;
    xmpp_env e = build_ok(f, "<message to='juliet@capulet.example' type='chat' id='9'>" BODY "</message>"), r;
    buf errbuf;
    buf_init(&errbuf, 4096);
    xmpp_env_error(&e, STANZA_SERVICE_UNAVAILABLE, NULL, &errbuf, &r);
    xmpp_env_write(&f->out, &r, SLICE_NULL, SLICE_NULL);
    assert_true(slice_is(buf_slice(&f->out),
                         "<message type='error' from='juliet@capulet.example' to='" ROMEO "' id='9'><error type='cancel'>"
                         "<service-unavailable xmlns='" NS_STANZA_ERRORS "'/></error></message>"));
    assert_false(xmpp_env_may_bounce(&r) || xmpp_env_is_kept(&r)); /* no loops */
    e = build_ok(f, "<iq type='result' id='1'/>");
    assert_false(xmpp_env_may_bounce(&e));
    e = build_ok(f, "<iq type='get' id='1'><a/></iq>");
    assert_true(xmpp_env_may_bounce(&e));
    buf_fini(&errbuf);
}

static void a_full_buffer_is_resource_constraint(void **state) {
    fixture *f = *state;
    xmpp_env e;
    buf_fini(&f->inner);
    buf_init(&f->inner, 8);
    assert_int_equal(build(f, "<message>" BODY "</message>", &e), STANZA_RESOURCE_CONSTRAINT);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_header_is_taken_from_the_stanza_and_stamped),
        T(types_follow_the_kind_of_the_stanza),
        T(what_is_malformed_is_answered_not_routed),
        T(flags_say_what_services_need_to_know),
        T(kept_are_chat_and_normal_with_a_payload_that_is_not_only_a_chat_state),
        T(what_a_client_cannot_prove_is_removed),
        T(packing_round_trips),
        T(unpacking_damaged_bytes_is_bounded),
        T(writing_composes_the_stanza_again),
        T(the_payload_reads_back_as_a_tree),
        T(an_error_goes_back_to_the_sender),
        T(a_full_buffer_is_resource_constraint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
