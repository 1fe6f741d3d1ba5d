/* framer_test: the framer finds the same units wherever the input is cut, refuses what XMPP forbids, and looks at each byte once. */
#include "base/buf.h"
#include "proto/xmpp/framer.h"
#include "support/cmocka_unit.h"

#define MAX   10000
#define DEPTH 64

/* Appends "O12 S40 C16 E:name " to log: the units of in, fed so that the first cut bytes arrive first, then step bytes at a time. */
static void run(buf *log, slice in, bool open, size_t cut, size_t step, size_t max) {
    xmpp_framer f;
    xmpp_framer_init(&f, open);
    size_t have = cut, at = 0, spaces = 0;
    for (;;) {
        size_t len = 0;
        xmpp_stream_error e = STREAM_OK;
        xmpp_unit u = xmpp_framer_next(&f, slice_sub(in, at, have - at), max, DEPTH, &len, &e);
        if (u == XMPP_UNIT_SPACE) {
            spaces += len;
            at += len;
            continue;
        }
        if (u != XMPP_UNIT_NONE || e != STREAM_OK) {
            if (spaces) buf_addf(log, "w%zu ", spaces);
            spaces = 0;
        }
        if (e != STREAM_OK) {
            assert_int_equal(len, 0);
            buf_addf(log, "E:%s", xmpp_error_stream_name(e));
            return;
        }
        if (u == XMPP_UNIT_NONE) {
            assert_int_equal(len, 0);
            if (have == in.len) break;
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        static const char letters[] = "?wOSC";
        buf_addf(log, "%c%zu ", letters[u], len);
        at += len;
    }
    if (spaces) buf_addf(log, "w%zu ", spaces);
    buf_addf(log, "left %zu", in.len - at);
}

static const char *const streams[] = {
    "<?xml version='1.0'?><stream:stream to='a>b' xmlns=\"x/>\"><a/> <b>t<c/>&lt;/b></b>\n<d e='/'>x</d></stream:stream>",
    "<stream:stream>  <m><![CDATA[</m><x>]]]]><![CDATA[]]]>]]></m><iq ><q a = '1' / ></q ></iq ></stream:stream >",
    "<?xml version='1.0' encoding='utf-8'?>\r\n<stream:stream\n a='1'\n><m>\xd0\x90\xf0\x9f\x98\x80</m></stream:stream>trailing",
    " <stream:stream><a><b><c><d/></c></b></a><z",
    "<s><a b='<'/>",
    "<s><a <b/></a>",
    "<s><!-- c --><a/>",
    "<s><a><!-- c --></a>",
    "<s><a><![CDAT x></a>",
    "<s><?pi?><a/>",
    "<s>text<a/>",
    "<?xml version='1.0'?><!DOCTYPE a><s>",
    "<?xml version='1.0'?><?xml version='1.0'?><s>",
    "<?xml-model?><s>",
    "</s>",
    "<s/>",
    "GET / HTTP/1.1\r\n\r\n",
    "\xef\xbb\xbf<s>",
};

static void units_are_the_same_wherever_the_input_is_cut(void **state) {
    (void)state;
    buf want, got;
    buf_init(&want, 4096);
    buf_init(&got, 4096);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        slice in = slice_str(streams[i]);
        buf_reset(&want);
        run(&want, in, true, in.len, 1, MAX);
        for (size_t cut = 0; cut <= in.len; cut++) {
            buf_reset(&got);
            run(&got, in, true, cut, in.len, MAX);
            if (!slice_eq(buf_slice(&got), buf_slice(&want)))
                fail_msg("cut at %zu of %s: %.*s, not %.*s", cut, streams[i], SLICE_ARG(buf_slice(&got)), SLICE_ARG(buf_slice(&want)));
        }
        for (size_t step = 1; step < 10; step++) {
            buf_reset(&got);
            run(&got, in, true, 0, step, MAX);
            assert_true(slice_eq(buf_slice(&got), buf_slice(&want)));
        }
    }
    buf_fini(&want);
    buf_fini(&got);
}

static void expect(const char *in, bool open, const char *want) {
    buf got;
    buf_init(&got, 4096);
    run(&got, slice_str(in), open, strlen(in), 1, MAX);
    if (!slice_is(buf_slice(&got), want)) fail_msg("%s: %.*s, not %s", in, SLICE_ARG(buf_slice(&got)), want);
    buf_fini(&got);
}

static void a_header_then_stanzas_then_the_close_are_units(void **state) {
    (void)state;
    expect(streams[0], true, "O57 S4 w1 S19 w1 S14 C16 left 0");
    expect(streams[3], true, "w1 O15 S25 left 2");
    expect("<a/><b></b>", false, "S4 S7 left 0");
    expect("", true, "left 0");
}

static void quotes_hide_brackets_and_cdata_hides_tags(void **state) {
    (void)state;
    expect("<a b='>' c=\"/>'\"/>", false, "S18 left 0");
    expect("<a><![CDATA[</a>]]]></a>", false, "S24 left 0");
    expect("<a><![CDATA[x]]</a>", false, "left 19");
}

static void restricted_xml_is_refused_at_once(void **state) {
    (void)state;
    expect("<!DOCTYPE x [<!ENTITY a 'b'>]>", true, "E:restricted-xml");
    expect("<!-- x -->", false, "E:restricted-xml");
    expect("<a><!--", false, "E:restricted-xml");
    expect("<a><!DOCTYPE", false, "E:restricted-xml");
    expect("<a><![INCLUDE[", false, "E:restricted-xml");
    expect("<a><?php", false, "E:restricted-xml");
    expect("<?xml version='1.0'?>", false, "E:restricted-xml"); /* where no header is expected */
    expect(" <?xml version='1.0'?><s>", true, "w1 E:restricted-xml");
    expect("<?xml-stylesheet href='x'?><s>", true, "E:restricted-xml");
    expect("<?xmlx?><s>", true, "E:restricted-xml");
}

static void text_between_units_is_bad_format(void **state) {
    (void)state;
    expect("x", false, "E:bad-format");
    expect("<a/>x", false, "S4 E:bad-format");
    expect("&lt;", false, "E:bad-format");
    expect("<?xml version='1.0'?>x<s>", true, "E:bad-format");
    expect("\xff\xfe<\0s", true, "E:bad-format");
    expect("<s a='1'/>", true, "E:bad-format"); /* a stream that ends in its header */
}

static void less_than_in_a_tag_or_value_is_not_well_formed(void **state) {
    (void)state;
    expect("<a<b>", false, "E:not-well-formed");
    expect("<a b='<'>", false, "E:not-well-formed");
    expect("<a b=\"<\">", false, "E:not-well-formed");
    expect("<a></a<b>", false, "E:not-well-formed");
    expect("</a>", true, "E:not-well-formed");
    expect("<?xml version='1.0'<s>", true, "E:not-well-formed");
}

static void failed_stays_failed(void **state) {
    (void)state;
    xmpp_framer f;
    xmpp_stream_error e = STREAM_OK;
    size_t len = 1;
    xmpp_framer_init(&f, false);
    assert_int_equal(xmpp_framer_next(&f, SLICE("x"), MAX, DEPTH, &len, &e), XMPP_UNIT_NONE);
    assert_int_equal(e, STREAM_BAD_FORMAT);
    e = STREAM_OK;
    assert_int_equal(xmpp_framer_next(&f, SLICE("<a/>"), MAX, DEPTH, &len, &e), XMPP_UNIT_NONE);
    assert_int_equal(e, STREAM_BAD_FORMAT);
    assert_int_equal(len, 0);
}

static void the_size_limit_is_counted_on_raw_bytes_while_they_come(void **state) {
    (void)state;
    buf in, log;
    buf_init(&in, 4096);
    buf_init(&log, 4096);
    buf_add_str(&in, "<a>");
    while (in.len < 96) buf_add_byte(&in, 'x');
    buf_add_str(&in, "</a>"); /* 100 bytes */
    run(&log, buf_slice(&in), false, in.len, 1, 100);
    assert_true(slice_is(buf_slice(&log), "S100 left 0"));
    buf_reset(&log);
    run(&log, buf_slice(&in), false, in.len, 1, 99);
    assert_true(slice_is(buf_slice(&log), "E:policy-violation"));
    buf_reset(&log);
    run(&log, slice_sub(buf_slice(&in), 0, 50), false, 0, 1, 50); /* refused before the end was seen */
    assert_true(slice_is(buf_slice(&log), "E:policy-violation"));
    buf_fini(&in);
    buf_fini(&log);
}

static void nesting_past_the_limit_is_refused_before_it_is_counted(void **state) {
    (void)state;
    buf in, log;
    buf_init(&in, 4096);
    buf_init(&log, 4096);
    for (int i = 0; i < DEPTH - 1; i++) buf_add_str(&in, "<a>");
    buf_add_str(&in, "<b/>");
    for (int i = 0; i < DEPTH - 1; i++) buf_add_str(&in, "</a>");
    run(&log, buf_slice(&in), false, in.len, 1, MAX);
    assert_true(slice_starts(buf_slice(&log), SLICE("S")));
    buf_reset(&in);
    buf_reset(&log);
    for (int i = 0; i < DEPTH; i++) buf_add_str(&in, "<a>");
    run(&log, buf_slice(&in), false, in.len, 1, MAX);
    assert_true(slice_is(buf_slice(&log), "left 192"));
    buf_reset(&log);
    buf_add_str(&in, "<a");
    run(&log, buf_slice(&in), false, in.len, 1, MAX);
    assert_true(slice_is(buf_slice(&log), "E:policy-violation"));
    buf_fini(&in);
    buf_fini(&log);
}

/* The framer may not look back: the bytes that it has seen are overwritten behind it, except the one before the next. */
static void no_byte_is_looked_at_twice(void **state) {
    (void)state;
    slice all = SLICE("<message a='b/' c='d'><x><![CDATA[ ]]></x><y/></message>");
    uint8_t copy[64];
    assert_true(all.len <= sizeof copy);
    memcpy(copy, all.p, all.len);
    xmpp_framer f;
    xmpp_framer_init(&f, false);
    for (size_t n = 1; n <= all.len; n++) {
        size_t len = 0;
        xmpp_stream_error e = STREAM_OK;
        xmpp_unit u = xmpp_framer_next(&f, slice_of(copy, n), MAX, DEPTH, &len, &e);
        assert_int_equal(e, STREAM_OK);
        assert_int_equal(u, n == all.len ? XMPP_UNIT_STANZA : XMPP_UNIT_NONE);
        if (u == XMPP_UNIT_NONE) assert_int_equal(f.scanned, n);
        if (n >= 2) copy[n - 2] = '<';
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_the_same_wherever_the_input_is_cut),
        cmocka_unit_test(a_header_then_stanzas_then_the_close_are_units),
        cmocka_unit_test(quotes_hide_brackets_and_cdata_hides_tags),
        cmocka_unit_test(restricted_xml_is_refused_at_once),
        cmocka_unit_test(text_between_units_is_bad_format),
        cmocka_unit_test(less_than_in_a_tag_or_value_is_not_well_formed),
        cmocka_unit_test(failed_stays_failed),
        cmocka_unit_test(the_size_limit_is_counted_on_raw_bytes_while_they_come),
        cmocka_unit_test(nesting_past_the_limit_is_refused_before_it_is_counted),
        cmocka_unit_test(no_byte_is_looked_at_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
