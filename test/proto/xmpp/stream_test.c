/* stream_test: what may come when. Each phase accepts what its row of the table says and closes on everything else, wherever input is cut.
 */
#include "proto/xmpp/ns.h"
#include "proto/xmpp/stream.h"
#include "support/cmocka_unit.h"

#define HEADER   "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='" NS_STREAM "' version='1.0'>"
#define UNIT_MAX 4096u

static const char *const event_names[] = {"none",  "space",  "open",    "starttls",   "auth",      "response",
                                          "abort", "bind",   "session", "sm-enable",  "sm-resume", "r",
                                          "a",     "stanza", "close",   "peer-error", "fail",      "sm-fail"};

static void show(buf *log, const xmpp_event *ev) {
    buf_add_str(log, event_names[ev->kind]);
    if (ev->to.p) buf_addf(log, " to=" SLICE_FMT, SLICE_ARG(ev->to));
    if (ev->lang.p) buf_addf(log, " lang=" SLICE_FMT, SLICE_ARG(ev->lang));
    if (ev->mechanism.p) buf_addf(log, " mechanism=" SLICE_FMT, SLICE_ARG(ev->mechanism));
    if (ev->id.p) buf_addf(log, " id=" SLICE_FMT, SLICE_ARG(ev->id));
    if (ev->data.p) buf_addf(log, " data=[" SLICE_FMT "]", SLICE_ARG(ev->data));
    if (ev->stanza) {
        buf_add_byte(log, ' ');
        xmpp_xml_write(log, ev->stanza, SLICE(NS_CLIENT));
    }
    if (ev->kind == XMPP_EV_SM_RESUME || ev->kind == XMPP_EV_SM_ACK) buf_addf(log, " h=%u", ev->h);
    if (ev->kind == XMPP_EV_SM_ENABLE) buf_addf(log, " resume=%d max=%u", ev->resume, ev->max_sec);
    if (ev->error) buf_addf(log, " %s", xmpp_error_stream_name(ev->error));
    buf_add_byte(log, '\n');
}

/* Runs in through a new stream, cut bytes first and then step by step, and logs its events. White space is not logged. */
static void run(buf *log, xmpp_phase phase, unsigned flags, slice in, size_t cut, size_t step) {
    xmpp_stream s;
    xmpp_stream_init(&s, phase, flags, UNIT_MAX);
    arena scope_memory, a;
    arena_init(&scope_memory, 1 << 16);
    arena_init(&a, 1 << 16);
    xmpp_scope scope = {NULL, 0};
    xmpp_binding kept[XMPP_XML_DECLS_MAX];
    size_t have = cut, at = 0;
    for (;;) {
        xmpp_event ev;
        size_t used = 0;
        arena_reset(&a);
        xmpp_stream_next(&s, slice_sub(in, at, have - at), &scope, &a, &used, &ev);
        at += used;
        assert_true(at <= have);
        if (ev.kind == XMPP_EV_NONE) {
            if (have == in.len) break;
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        if (ev.kind == XMPP_EV_SPACE) continue;
        show(log, &ev);
        if (ev.kind == XMPP_EV_OPEN) {
            assert_true(ev.version_1 && s.opened);
            for (size_t i = 0; i < ev.scope.n; i++) {
                kept[i].prefix = arena_dup(&scope_memory, ev.scope.b[i].prefix);
                kept[i].ns = arena_dup(&scope_memory, ev.scope.b[i].ns);
            }
            scope = (xmpp_scope){kept, ev.scope.n};
        }
    }
    arena_fini(&a);
    arena_fini(&scope_memory);
}

static void expect(xmpp_phase phase, unsigned flags, const char *text, const char *want) {
    slice in = slice_str(text);
    buf log;
    buf_init(&log, 1 << 16);
    for (size_t cut = 0; cut <= in.len; cut++) {
        buf_reset(&log);
        run(&log, phase, flags, in, cut, in.len);
        if (!slice_is(buf_slice(&log), want)) fail_msg("%s\ncut at %zu: %.*s", text, cut, SLICE_ARG(buf_slice(&log)));
    }
    buf_reset(&log);
    run(&log, phase, flags, in, 0, 1);
    assert_true(slice_is(buf_slice(&log), want));
    buf_fini(&log);
}
#define OPENED                          "open to=localhost\n"
#define AFTER(phase, flags, text, want) expect(phase, flags, HEADER text, OPENED want)

static void a_header_opens_the_stream(void **state) {
    (void)state;
    expect(XMPP_PHASE_PLAIN, 0, HEADER, OPENED);
    expect(XMPP_PHASE_PLAIN, 0, "<s:stream xmlns:s='" NS_STREAM "' xmlns='jabber:client' version='1.0' xml:lang='de'></s:stream>",
           "open lang=de\nclose\n");
    expect(XMPP_PHASE_PLAIN, 0, "<?xml version='1.0' ?>\n<stream:stream xmlns:stream='" NS_STREAM "' xmlns='jabber:client' version='1.7'>",
           "open\n");
}

/* RFC 6120 4.9.3; promises.md, namespace confusion. */
static void a_wrong_header_gets_its_stream_error(void **state) {
    (void)state;
#define STREAM_NS " xmlns:stream='" NS_STREAM "'"
    static const struct {
        const char *in, *want;
    } t[] = {
        {"<stream:stream" STREAM_NS " xmlns='jabber:server' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream" STREAM_NS " version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream" STREAM_NS " xmlns='' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client2' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream xmlns:stream='http://etherx.jabber.org/stream' xmlns='jabber:client' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream xmlns='jabber:client' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream xmlns='" NS_STREAM "' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream xmlns:stream='jabber:client' xmlns='" NS_STREAM "' version='1.0'>", "fail invalid-namespace\n"},
        {"<stream:stream xmlns='jabber:client' version='1.0'>", "fail not-well-formed\n"},
        {"<stream:features" STREAM_NS " xmlns='jabber:client' version='1.0'>", "fail bad-format\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='2.0'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='0.9'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='11.0'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1.x'>", "fail unsupported-version\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1.0'/>", "fail bad-format\n"},
        {"<?xml version='1.0' encoding='latin1'?><stream:stream" STREAM_NS " xmlns='jabber:client' version='1.0'>",
         "fail unsupported-encoding\n"},
        {"<!DOCTYPE x [<!ENTITY a 'b'>]>" HEADER, "fail restricted-xml\n"},
        {"<?xml version='1.0'?><!DOCTYPE x>" HEADER, "fail restricted-xml\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1.0' to='&a;'>", "fail restricted-xml\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1.0' to='\x80'>", "fail unsupported-encoding\n"},
        {"<stream:stream" STREAM_NS " xmlns='jabber:client' version='1.0' to='\x01'>", "fail not-well-formed\n"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "fail bad-format\n"},
        {"\x16\x03\x01\x02", "fail bad-format\n"}, /* a TLS client at the wrong port */
        {"</stream:stream>", "fail not-well-formed\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        slice in = slice_str(t[i].in);
        buf log;
        buf_init(&log, 4096);
        run(&log, XMPP_PHASE_SECURE, 0, in, in.len, 1);
        slice got = buf_slice(&log), cond = slice_from(slice_str(t[i].want), 4); /* between them stand the header's attributes */
        bool good = slice_starts(got, SLICE("fail")) && got.len >= 4 + cond.len && slice_eq(slice_from(got, got.len - cond.len), cond);
        if (!good) fail_msg("%s: %.*s", t[i].in, SLICE_ARG(got));
        buf_fini(&log);
    }
}

/* promises.md, STARTTLS stripping: before TLS everything but starttls closes. */
static void before_tls_only_starttls_is_accepted(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_PLAIN, 0, "<starttls xmlns='" NS_TLS "'/>", "starttls\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<message to='a'><body>x</body></message>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<presence/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<response xmlns='" NS_SASL "'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<abort xmlns='" NS_SASL "'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<resume xmlns='" NS_SM "' previd='x' h='0'/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<r xmlns='" NS_SM "'/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<starttls xmlns='urn:x'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<compress xmlns='http://jabber.org/protocol/compress'/>", "fail policy-violation\n");
}

/* promises.md, STARTTLS plaintext injection: what was pipelined in the clear is dropped. */
static void nothing_after_starttls_takes_effect(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_PLAIN, 0, "<starttls xmlns='" NS_TLS "'/><auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth><presence/>",
          "starttls\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_STARTTLS, "<starttls xmlns='" NS_TLS "'/>" HEADER "<presence/>", "starttls\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</stream:stream><presence/>", "close\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<!----><presence/>", "fail restricted-xml\n");
}

static void authentication_takes_its_course(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_SECURE, 0, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'>biws</auth>",
          "auth mechanism=SCRAM-SHA-256 data=[biws]\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<auth xmlns='" NS_SASL "' mechanism='X'/>", "auth mechanism=X\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<auth xmlns='" NS_SASL "' mechanism='X'>=</auth>", "auth mechanism=X data=[]\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_SASL_BUSY, "<response xmlns='" NS_SASL "'>Yz0=</response>", "response data=[Yz0=]\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_SASL_BUSY, "<response xmlns='" NS_SASL "'/>", "response data=[]\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_SASL_BUSY, "<abort xmlns='" NS_SASL "'/>", "abort\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_SASL_BUSY, "<auth xmlns='" NS_SASL "' mechanism='X'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<response xmlns='" NS_SASL "'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<abort xmlns='" NS_SASL "'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<auth xmlns='" NS_SASL "'>x</auth>", "fail bad-format\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<auth xmlns='jabber:client' mechanism='X'/>", "fail unsupported-stanza-type\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<presence/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<enable xmlns='" NS_SM "'/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_SECURE, 0, "<starttls xmlns='" NS_TLS "'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_SECURE, XMPP_STREAM_STARTTLS | XMPP_STREAM_SASL_BUSY, "<starttls xmlns='" NS_TLS "'/>", "fail policy-violation\n");
}

static void after_authentication_only_bind_and_resume(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_AUTHED, 0, "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'/></iq>",
          "bind id=b1 <iq type='set' id='b1'><bind xmlns='" NS_BIND "'/></iq>\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<iq type='set' id='b' to='localhost'><bind xmlns='" NS_BIND "'><resource>r&amp;</resource></bind></iq>",
          "bind id=b data=[r&] <iq type='set' id='b' to='localhost'><bind xmlns='" NS_BIND "'><resource>r&amp;</resource></bind></iq>\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<resume xmlns='" NS_SM "' previd='p' h='4294967295'/>", "sm-resume data=[p] h=4294967295\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<resume xmlns='" NS_SM "' previd='p' h='4294967296'/>", "fail bad-format\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<resume xmlns='" NS_SM "' h='0'/>", "fail bad-format\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<enable xmlns='" NS_SM "'/>", "sm-fail\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<r xmlns='" NS_SM "'/><a xmlns='" NS_SM "' h='0'/>", "sm-fail\nsm-fail\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<iq type='get' id='b'><bind xmlns='" NS_BIND "'/></iq>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<iq type='set' id='b' to='a@b'><bind xmlns='" NS_BIND "'/></iq>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<presence/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<message/>", "fail not-authorized\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<auth xmlns='" NS_SASL "' mechanism='X'/>", "fail policy-violation\n");
    AFTER(XMPP_PHASE_AUTHED, 0, "<starttls xmlns='" NS_TLS "'/>", "fail policy-violation\n");
}

static void a_bound_stream_takes_stanzas_and_stream_management(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_BOUND, 0, "<message to='a@b'><body>x</body></message> \n<presence/>",
          "stanza <message to='a@b'><body>x</body></message>\nstanza <presence/>\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<iq type='set' id='s'><session xmlns='" NS_SESSION "'/></iq>", "session id=s\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<enable xmlns='" NS_SM "' resume='true' max='60'/>", "sm-enable resume=1 max=60\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<enable xmlns='" NS_SM "' resume='1' max='x'/>", "sm-enable resume=1 max=0\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<enable xmlns='" NS_SM "'/>", "sm-enable resume=0 max=0\n");
    AFTER(XMPP_PHASE_BOUND, XMPP_STREAM_SM, "<enable xmlns='" NS_SM "'/>", "sm-fail\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<resume xmlns='" NS_SM "' previd='p' h='1'/>", "sm-fail\n");
    AFTER(XMPP_PHASE_BOUND, XMPP_STREAM_SM, "<r xmlns='" NS_SM "'/><a xmlns='" NS_SM "' h='7'/>", "r\na h=7\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<r xmlns='" NS_SM "'/>", "sm-fail\n");
    AFTER(XMPP_PHASE_BOUND, XMPP_STREAM_SM, "<a xmlns='" NS_SM "'/>", "fail bad-format\n");
    AFTER(XMPP_PHASE_BOUND, XMPP_STREAM_SM, "<a xmlns='" NS_SM "' h='-1'/>", "fail bad-format\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</stream:stream>", "close\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</stream:stream \n>", "close\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</stream>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</stream:strea>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_BOUND, 0, "</s:stream>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<stream:error><reset xmlns='" NS_STREAM_ERRORS "'/></stream:error>", "peer-error reset\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<stream:error/>", "peer-error undefined-condition\n");
}

/* promises.md, namespace confusion: a name means something in its namespace only. */
static void stanzas_are_matched_by_namespace_and_name(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_BOUND, 0, "<message xmlns='jabber:server'/>", "fail invalid-namespace\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<presence xmlns=''/>", "fail invalid-namespace\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<x:iq xmlns:x='jabber:server'/>", "fail invalid-namespace\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<stream:message/>", "fail unsupported-stanza-type\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<message xmlns='urn:x'/>", "fail unsupported-stanza-type\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<foo/>", "fail unsupported-stanza-type\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<compress xmlns='http://jabber.org/protocol/compress'/>", "fail unsupported-stanza-type\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<x:message xmlns:x='jabber:client' xmlns='y'><x:body/></x:message>", "stanza <message><body/></message>\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<stream:iq xmlns:stream='jabber:client'/>", "stanza <iq/>\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<x:message/>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_PLAIN, 0, "<x:starttls xmlns:x='" NS_TLS "'/>", "starttls\n");
    expect(XMPP_PHASE_BOUND, 0,
           "<stream:stream" STREAM_NS
           " xmlns='jabber:client' xmlns:c='jabber:client' xmlns:v='urn:v' version='1.0'><c:message><v:x v:y='1'/></c:message>"
           "</stream:stream>",
           "open\nstanza <message><x xmlns='urn:v' xmlns:ns1='urn:v' ns1:y='1'/></message>\nclose\n");
}

static void violations_inside_a_stanza_close_the_stream(void **state) {
    (void)state;
    AFTER(XMPP_PHASE_BOUND, 0, "<message><body>&lol;</body></message>", "fail restricted-xml\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<message><!-- --></message>", "fail restricted-xml\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<message><body>\xc0\x80</body></message>", "fail unsupported-encoding\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<message><body></message></body>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<message to='a' to='b'/>", "fail not-well-formed\n");
    AFTER(XMPP_PHASE_BOUND, 0, "text", "fail bad-format\n");
    AFTER(XMPP_PHASE_BOUND, 0, "<?xml version='1.0'?><presence/>", "fail restricted-xml\n");
}

/* promises.md: the limit is counted while parsing, so that an unclosed stanza never grows. */
static void an_endless_stanza_is_cut_off_at_the_limit(void **state) {
    (void)state;
    xmpp_stream s;
    xmpp_event ev;
    size_t used = 0;
    arena a;
    uint8_t flood[UNIT_MAX + 10];
    arena_init(&a, 1 << 16);
    xmpp_stream_init(&s, XMPP_PHASE_BOUND, 0, UNIT_MAX);
    xmpp_stream_next(&s, SLICE(HEADER), NULL, &a, &used, &ev);
    assert_int_equal(ev.kind, XMPP_EV_OPEN);
    memset(flood, 'x', sizeof flood);
    memcpy(flood, "<a>", 3);
    for (size_t n = 1; n < UNIT_MAX; n++) {
        xmpp_stream_next(&s, slice_of(flood, n), NULL, &a, &used, &ev);
        assert_int_equal(ev.kind, XMPP_EV_NONE);
        assert_int_equal(used, 0);
    }
    xmpp_stream_next(&s, slice_of(flood, UNIT_MAX), NULL, &a, &used, &ev);
    assert_int_equal(ev.kind, XMPP_EV_FAIL);
    assert_int_equal(ev.error, STREAM_POLICY_VIOLATION);
    xmpp_stream_next(&s, SLICE("<presence/>"), NULL, &a, &used, &ev);
    assert_int_equal(ev.kind, XMPP_EV_NONE);
    assert_int_equal(used, 11);
    arena_fini(&a);
}

static void a_restart_forgets_the_stream_before_it(void **state) {
    (void)state;
    xmpp_stream s;
    xmpp_event ev;
    size_t used = 0;
    arena a;
    arena_init(&a, 1 << 16);
    xmpp_stream_init(&s, XMPP_PHASE_SECURE, XMPP_STREAM_SASL_BUSY, UNIT_MAX);
    xmpp_stream_next(&s, SLICE(HEADER), NULL, &a, &used, &ev);
    xmpp_stream_next(&s, SLICE("<unfinished"), NULL, &a, &used, &ev);
    xmpp_stream_init(&s, XMPP_PHASE_AUTHED, 0, UNIT_MAX);
    assert_false(s.opened);
    xmpp_stream_next(&s, SLICE("<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>"), NULL, &a, &used, &ev);
    assert_int_equal(ev.kind, XMPP_EV_FAIL); /* a header must come first */
    assert_int_equal(ev.error, STREAM_INVALID_NAMESPACE);
    arena_fini(&a);
}

static void what_the_server_writes_is_well_formed(void **state) {
    (void)state;
    static const char *const mechs[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", NULL}, *const cb[] = {"tls-exporter", NULL};
    static const xmpp_binding b[] = {{{NULL, 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}},
                                     {{(const uint8_t *)"stream", 6}, {(const uint8_t *)NS_STREAM, sizeof NS_STREAM - 1}}};
    static const xmpp_scope scope = {b, 2};
    const xmpp_features f = {true, true, mechs, cb, true, true, true, true, true, SLICE("http://n'"), SLICE("v&")};
    arena a;
    buf o;
    xmpp_node *n = NULL;
    arena_init(&a, 1 << 16);
    buf_init(&o, 1 << 16);
    xmpp_stream_write_open(&o, SLICE("loc'al"), SLICE_NULL, SLICE("id1"), SLICE_NULL);
    xmpp_stream s;
    xmpp_event ev;
    size_t used;
    xmpp_stream_init(&s, XMPP_PHASE_BOUND, 0, UNIT_MAX);
    xmpp_stream_next(&s, buf_slice(&o), NULL, &a, &used, &ev);
    assert_true(ev.kind == XMPP_EV_OPEN && used == o.len && slice_is(ev.from, "loc'al") && slice_is(ev.lang, "en"));
    for (int i = 0; i < 14; i++) {
        buf_reset(&o);
        switch (i) {
        case 0: xmpp_stream_write_features(&o, &f); break;
        case 1: xmpp_stream_write_proceed(&o); break;
        case 2: xmpp_stream_write_challenge(&o, SLICE("r=1")); break;
        case 3: xmpp_stream_write_success(&o, SLICE("v=1")); break;
        case 4: xmpp_stream_write_success(&o, SLICE_NULL); break;
        case 5: xmpp_stream_write_bound(&o, SLICE("i'd"), SLICE("a@b/<c>")); break;
        case 6: xmpp_stream_write_iq_result(&o, SLICE("1"), SLICE("a"), SLICE_NULL); break;
        case 7: xmpp_stream_write_sm_enabled(&o, SLICE("x"), true, 300); break;
        case 8: xmpp_stream_write_sm_resumed(&o, SLICE("x"), UINT32_MAX); break;
        case 9: xmpp_stream_write_sm_failed(&o, STANZA_ITEM_NOT_FOUND, true, 3); break;
        case 10: xmpp_stream_write_sm_ack(&o, 3); break;
        case 11: xmpp_stream_write_sm_request(&o); break;
        case 12: xmpp_error_write_stanza(&o, STANZA_FORBIDDEN, NULL, "no & no"); break;
        case 13: xmpp_error_write_sasl(&o, SASL_NOT_AUTHORIZED, "<no>"); break;
        }
        xmpp_stream_error e = xmpp_xml_parse(buf_slice(&o), &scope, &a, &n);
        if (e != STREAM_OK) fail_msg("%.*s: %s", SLICE_ARG(buf_slice(&o)), xmpp_error_stream_name(e));
    }
    buf_reset(&o);
    xmpp_error_write_stream(&o, STREAM_HOST_UNKNOWN, "who?");
    assert_true(slice_is(buf_slice(&o), "<stream:error><host-unknown xmlns='" NS_STREAM_ERRORS "'/><text xmlns='" NS_STREAM_ERRORS
                                        "' xml:lang='en'>who?</text></stream:error></stream:stream>"));
    buf_reset(&o);
    xmpp_stream_write_success(&o, SLICE(""));
    assert_true(slice_is(buf_slice(&o), "<success xmlns='" NS_SASL "'>=</success>"));
    buf_fini(&o);
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_opens_the_stream),
        cmocka_unit_test(a_wrong_header_gets_its_stream_error),
        cmocka_unit_test(before_tls_only_starttls_is_accepted),
        cmocka_unit_test(nothing_after_starttls_takes_effect),
        cmocka_unit_test(authentication_takes_its_course),
        cmocka_unit_test(after_authentication_only_bind_and_resume),
        cmocka_unit_test(a_bound_stream_takes_stanzas_and_stream_management),
        cmocka_unit_test(stanzas_are_matched_by_namespace_and_name),
        cmocka_unit_test(violations_inside_a_stanza_close_the_stream),
        cmocka_unit_test(an_endless_stanza_is_cut_off_at_the_limit),
        cmocka_unit_test(a_restart_forgets_the_stream_before_it),
        cmocka_unit_test(what_the_server_writes_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
