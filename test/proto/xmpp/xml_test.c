/* xml_test: the tokenizer accepts exactly strict, namespaced XML within the limits; the writer's form reads back as the same tree. */
#include "proto/xmpp/ns.h"
#include "support/cmocka_unit.h"
#include "support/xml_oracle.h"

#include <string.h>

static const xmpp_binding bindings[] = {{{NULL, 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}},
                                        {{(const uint8_t *)"stream", 6}, {(const uint8_t *)NS_STREAM, sizeof NS_STREAM - 1}}};
static const xmpp_scope client_scope = {bindings, 2};

static int setup(void **state) {
    static arena a;
    arena_init(&a, 1 << 20);
    *state = &a;
    return 0;
}
static int teardown(void **state) {
    arena_fini(*state);
    return 0;
}

/* Parses, dumps, and checks parse(write(t)) == t and write(parse(write(t))) == write(t). */
static void accept(arena *a, slice in, const xmpp_scope *scope, const char *want) {
    xmpp_node *n = NULL, *again = NULL;
    xmpp_stream_error e = xmpp_xml_parse(in, scope, a, &n);
    if (e != STREAM_OK) fail_msg("%.*s: %s", SLICE_ARG(in), xmpp_error_stream_name(e));
    buf dump, text, dump2, text2;
    buf_init(&dump, 1 << 20);
    buf_init(&text, 1 << 20);
    buf_init(&dump2, 1 << 20);
    buf_init(&text2, 1 << 20);
    dump_tree(&dump, n);
    if (want && !slice_is(buf_slice(&dump), want)) fail_msg("%.*s:\n%.*s", SLICE_ARG(in), SLICE_ARG(buf_slice(&dump)));
    xmpp_xml_write(&text, n, SLICE_NULL);
    e = xmpp_xml_parse(buf_slice(&text), NULL, a, &again);
    if (e != STREAM_OK) fail_msg("rewritten %.*s: %s", SLICE_ARG(buf_slice(&text)), xmpp_error_stream_name(e));
    dump_tree(&dump2, again);
    xmpp_xml_write(&text2, again, SLICE_NULL);
    assert_true(slice_eq(buf_slice(&dump), buf_slice(&dump2)));
    assert_true(slice_eq(buf_slice(&text), buf_slice(&text2)));
    buf_fini(&dump);
    buf_fini(&text);
    buf_fini(&dump2);
    buf_fini(&text2);
    arena_reset(a);
}

static void refuse(arena *a, slice in, const xmpp_scope *scope, xmpp_stream_error want) {
    xmpp_node untouched, *n = &untouched;
    xmpp_stream_error e = xmpp_xml_parse(in, scope, a, &n);
    if (e != want) fail_msg("%.*s: '%s', not '%s'", SLICE_ARG(in), xmpp_error_stream_name(e), xmpp_error_stream_name(want));
    assert_ptr_equal(n, &untouched);
    arena_reset(a);
}
#define ACCEPT(in, want) accept(*state, SLICE(in), NULL, want)
#define REFUSE(in, want) refuse(*state, SLICE(in), NULL, want)

static void elements_attributes_and_text_become_a_tree(void **state) {
    ACCEPT("<a/>", "(|a\n)\n");
    ACCEPT("<a b='1' c = \"2'\"\n d='>'/>", "(|a\n@|b=1\n@|c=2'\n@|d=>\n)\n");
    ACCEPT("<a >x<b>y</b >z</a\t>", "(|a\n-x\n(|b\n-y\n)\n-z\n)\n");
    ACCEPT("<a> <b/> </a>", "(|a\n- \n(|b\n)\n- \n)\n");
    ACCEPT("<a></a>", "(|a\n)\n");
    ACCEPT("<_-.1 x-_.9=''/>", "(|_-.1\n@|x-_.9=\n)\n");
}

static void references_cdata_and_text_are_one_text_node(void **state) {
    ACCEPT("<a>1&lt;2&gt;3&amp;4&quot;5&apos;6</a>", "(|a\n-1<2>3&4\"5'6\n)\n");
    ACCEPT("<a>x<![CDATA[<&]]y]]>z&#65;&#x1F600;</a>", "(|a\n-x<&]]yzA\xf0\x9f\x98\x80\n)\n");
    ACCEPT("<a><![CDATA[]]></a>", "(|a\n)\n");
    ACCEPT("<a b='&lt;&#x41;&apos;'/>", "(|a\n@|b=<A'\n)\n");
    ACCEPT("<a>]] &gt; ]]&gt; ></a>", "(|a\n-]] > ]]> >\n)\n");
}

static void line_ends_and_attribute_space_are_normalised(void **state) {
    ACCEPT("<a>1\r\n2\r3\n4&#13;5</a>", "(|a\n-1\n2\n3\n4\r5\n)\n");
    ACCEPT("<a><![CDATA[1\r\n2\r3]]></a>", "(|a\n-1\n2\n3\n)\n");
    ACCEPT("<a b='1\r\n2\r3\n4\t5&#10;6&#9;7&#13;'/>", "(|a\n@|b=1 2 3 4 5\n6\t7\r\n)\n");
}

static void slices_point_into_the_unit_where_nothing_is_unescaped(void **state) {
    slice in = SLICE("<a b='val'>text</a>");
    xmpp_node *n = NULL;
    assert_int_equal(xmpp_xml_parse(in, NULL, *state, &n), STREAM_OK);
    assert_ptr_equal(n->name.p, in.p + 1);
    assert_ptr_equal(n->attrs->value.p, in.p + 6);
    assert_ptr_equal(n->child->text.p, in.p + 11);
}

/* promises.md, entity expansion. */
static void dtd_pi_comment_and_entities_are_restricted_xml(void **state) {
    static const char *const in[] = {
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
        "<?xml version='1.0'?><a/>",
        "<!-- x --><a/>",
        "<a><!-- x --></a>",
        "<a><?php x ?></a>",
        "<a>&x;</a>",
        "<a b='&x;'/>",
        "<a b='&lol9;'/>",
        "<a>&nbsp;</a>",
        "<a>&LT;</a>",
        "<a><!DOCTYPE b></a>",
        "<a><!ELEMENT b ANY></a>",
        "<a><![IGNORE[x]]></a>",
        "<a><![cdata[x]]></a>",
        "<a>&\xc3\xa9;</a>",
    };
    for (size_t i = 0; i < ARRAY_LEN(in); i++) refuse(*state, slice_str(in[i]), NULL, STREAM_RESTRICTED_XML);
}

static void what_is_not_well_formed_is_refused(void **state) {
    static const char *const in[] = {
        "",
        " ",
        "a",
        "<",
        "<a",
        "<a>",
        "</a>",
        "<a></b>",
        "<a></a",
        "<a></aa>",
        "<aa></a>",
        "<a/><b/>",
        "<a/> ",
        " <a/>",
        "<a></a><b/>",
        "<a/>x",
        "<a b/>",
        "<a b=/>",
        "<a b=c/>",
        "<a b='1'c='2'/>",
        "<a b='1/>",
        "<a b='<'/>",
        "<a b=\"<\"/>",
        "<a b='&#60;' b='2'/>",
        "<a b='&'/>",
        "<a b='&lt'/>",
        "<a>&</a>",
        "<a>& </a>",
        "<a>&;</a>",
        "<a>&lt</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#xg;</a>",
        "<a>&#X41;</a>",
        "<a>&#-1;</a>",
        "<a>&# 65;</a>",
        "<a>]]></a>",
        "<a>x]]>y</a>",
        "<a>\r]]></a>",
        "<a><![CDATA[x</a>",
        "<a><![CDATA[x]]",
        "<a><![CDATA[x]>]</a>",
        "<1/>",
        "<-a/>",
        "<.a/>",
        "<a 1='x'/>",
        "<a\v/>",
        "<a / >",
        "<a/ b='1'/>",
        "< a/>",
        "<a></ a>",
        "<a>]]&gt;</b>",
        "<a/b/>",
        "<a =''/>",
        "<\xc3\x97/>",
        "<a \xe2\x80\xbf='x'/>",
        "<a></a b='1'>",
        "<a></a/>",
        "<a><b></a></b>",
        "<a><</a>",
        "<>x</>",
        "<a#b/>",
    };
    for (size_t i = 0; i < ARRAY_LEN(in); i++) refuse(*state, slice_str(in[i]), NULL, STREAM_NOT_WELL_FORMED);
}

/* promises.md, stanza smuggling: control characters, non-characters, references to what is no character. */
static void illegal_characters_are_refused(void **state) {
    static const char *const refs[] = {"0",     "1",     "8",     "11",    "12",      "14",         "31",
                                       "55296", "57343", "65534", "65535", "1114112", "4294967361", "18446744073709551681",
                                       "xD800", "xDFFF", "xFFFE", "xFFFF", "x110000", "x100000041", "x0"};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        int n = snprintf(text, sizeof text, "<a>&#%s;</a>", refs[i]);
        refuse(*state, slice_of(text, (size_t)n), NULL, STREAM_NOT_WELL_FORMED);
        n = snprintf(text, sizeof text, "<a b='&#%s;'/>", refs[i]);
        refuse(*state, slice_of(text, (size_t)n), NULL, STREAM_NOT_WELL_FORMED);
    }
    for (unsigned c = 0; c < 0x20; c++) {
        if (c == '\t' || c == '\n' || c == '\r') continue;
        uint8_t in[] = "<a>0123456789abcdef?</a>", attr[] = "<a b='?'/>";
        in[19] = attr[6] = (uint8_t)c;
        refuse(*state, slice_of(in, sizeof in - 1), NULL, STREAM_NOT_WELL_FORMED);
        refuse(*state, slice_of(attr, sizeof attr - 1), NULL, STREAM_NOT_WELL_FORMED);
    }
    REFUSE("<a>\xef\xbf\xbe</a>", STREAM_NOT_WELL_FORMED);
    REFUSE("<a>\xef\xbf\xbf</a>", STREAM_NOT_WELL_FORMED);
    ACCEPT("<a>\x7f&#x9;&#xD7FF;&#xE000;&#xFFFD;&#x10FFFF;&#00000065;</a>",
           "(|a\n-\x7f\t\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf"
           "A\n)\n");
}

/* promises.md: strict UTF-8. Every one and every pair of bytes from 0x80 up that is no character, at every alignment. */
static void invalid_utf8_is_unsupported_encoding(void **state) {
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x9f\x98",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "\xed\xa0\xbd\xed\xb8\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        for (int pad = 0; pad < 40; pad++) {
            char text[96];
            int n = snprintf(text, sizeof text, "<a>%.*s%s</a>", pad, "0123456789012345678901234567890123456789", bad[i]);
            refuse(*state, slice_of(text, (size_t)n), NULL, STREAM_UNSUPPORTED_ENCODING);
            n = snprintf(text, sizeof text, "<a b='%.*s%s'/>", pad, "0123456789012345678901234567890123456789", bad[i]);
            refuse(*state, slice_of(text, (size_t)n), NULL, STREAM_UNSUPPORTED_ENCODING);
        }
    ACCEPT("<a>\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf</a>", NULL);
    ACCEPT("<\xc3\xa9t\xc3\xa9 \xe6\x97\xa5='\xe6\x9c\xac'/>", "(|\xc3\xa9t\xc3\xa9\n@|\xe6\x97\xa5=\xe6\x9c\xac\n)\n");
}

static void namespaces_are_resolved(void **state) {
    ACCEPT("<a xmlns='u'><b/><c xmlns=''/><d xmlns='v'/></a>", "(u|a\n(u|b\n)\n(|c\n)\n(v|d\n)\n)\n");
    ACCEPT("<p:a xmlns:p='u'><p:b p:c='1' c='2'/></p:a>", "(u|a\n(u|b\n@|c=2\n@u|c=1\n)\n)\n");
    ACCEPT("<p:a xmlns:p='u'><p:b xmlns:p='v'/><p:c/></p:a>", "(u|a\n(v|b\n)\n(u|c\n)\n)\n");
    ACCEPT("<a xml:lang='en' xml:space='preserve'/>", "(|a\n@" NS_XML "|lang=en\n@" NS_XML "|space=preserve\n)\n");
    ACCEPT("<a xmlns:xml='" NS_XML "'/>", "(|a\n)\n");
    ACCEPT("<xml:a b=''><c/><d xmlns='u'><xml:e><f/></xml:e></d></xml:a>",
           "(" NS_XML "|a\n@|b=\n(|c\n)\n(u|d\n(" NS_XML "|e\n(u|f\n)\n)\n)\n)\n");
    ACCEPT("<a xmlns='&#117;'><b xmlns='u'/></a>", "(u|a\n(u|b\n)\n)\n");
    ACCEPT("<a xmlns:p='u' xmlns:q='v' p:x='1' q:x='2' x='3'/>", "(|a\n@|x=3\n@u|x=1\n@v|x=2\n)\n");
    accept(*state, SLICE("<message><stream:x/></message>"), &client_scope, "(" NS_CLIENT "|message\n(" NS_STREAM "|x\n)\n)\n");
    accept(*state, SLICE("<x:message xmlns:x='jabber:client' xmlns='y'><b/></x:message>"), &client_scope,
           "(" NS_CLIENT "|message\n(y|b\n)\n)\n");
}

/* promises.md, namespace confusion and reserved prefixes; Namespaces in XML 1.0, sections 3 and 6.3. */
static void namespace_errors_are_not_well_formed(void **state) {
    static const char *const in[] = {
        "<p:a/>",
        "<a p:b='1'/>",
        "<a><p:b xmlns:p='u'/><p:c/></a>",
        "<xmlns:a/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:xmlns='" NS_XMLNS "'/>",
        "<a xmlns:p='" NS_XMLNS "'/>",
        "<a xmlns='" NS_XMLNS "'/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:p='" NS_XML "'/>",
        "<a xmlns='" NS_XML "'/>",
        "<a xmlns:p=''/>",
        "<a xmlns='u' xmlns='v'/>",
        "<a xmlns:p='u' xmlns:p='v'/>",
        "<a xmlns:p='u' xmlns:p='u'/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        "<a xmlns:p='u' xmlns:q='&#117;' p:b='1' q:b='2'/>",
        "<a:b:c xmlns:a='u'/>",
        "<:a/>",
        "<a:/>",
        "<a :b='1'/>",
        "<a b:='1'/>",
        "<a xmlns:='u'/>",
        "<p:a xmlns:p='u'></q:a>",
        "<p:a xmlns:p='u' xmlns:q='u'></q:a>",
        "<a xml:lang='en' xml:lang='de'/>",
    };
    for (size_t i = 0; i < ARRAY_LEN(in); i++) refuse(*state, slice_str(in[i]), NULL, STREAM_NOT_WELL_FORMED);
}

/* A document of n repetitions of piece(i) between head and tail. */
static slice repeat(buf *b, const char *head, const char *piece, size_t n, const char *tail) {
    buf_reset(b);
    buf_add_str(b, head);
    for (size_t i = 0; i < n; i++) {
        const char *hash = strchr(piece, '#');
        if (!hash)
            buf_add_str(b, piece);
        else
            buf_addf(b, "%.*s%zu%s", (int)(hash - piece), piece, i, hash + 1);
    }
    buf_add_str(b, tail);
    return buf_slice(b);
}

static void limits_are_exact_and_are_policy_violations(void **state) {
    buf b;
    buf_init(&b, 1 << 20);
    accept(*state, repeat(&b, "<a", " b#=''", XMPP_XML_ATTRS_MAX, "/>"), NULL, NULL);
    refuse(*state, repeat(&b, "<a", " b#=''", XMPP_XML_ATTRS_MAX + 1, "/>"), NULL, STREAM_POLICY_VIOLATION);
    accept(*state, repeat(&b, "<a", " xmlns:n#='u'", XMPP_XML_DECLS_MAX, "/>"), NULL, NULL);
    refuse(*state, repeat(&b, "<a", " xmlns:n#='u'", XMPP_XML_DECLS_MAX + 1, "/>"), NULL, STREAM_POLICY_VIOLATION);
    refuse(*state, repeat(&b, "", "<a xmlns:n#='u'>", XMPP_XML_DECLS_MAX + 1, ""), NULL, STREAM_POLICY_VIOLATION);
    accept(*state, repeat(&b, "<a>", "<b xmlns:n='u'/>", 100, "</a>"), NULL, NULL); /* gone with their elements */
    refuse(*state, repeat(&b, "", "<a>", XMPP_XML_DEPTH_MAX + 1, ""), NULL, STREAM_POLICY_VIOLATION);
    buf deep, name;
    buf_init(&deep, 1 << 20);
    buf_init(&name, 1 << 20);
    repeat(&deep, "", "<a xmlns='u#'>", XMPP_XML_DEPTH_MAX, ""); /* the default namespace costs no declaration */
    for (int i = 0; i < XMPP_XML_DEPTH_MAX; i++) buf_add_str(&deep, "</a>");
    accept(*state, buf_slice(&deep), NULL, NULL);
    accept(*state, repeat(&name, "<", "a", XMPP_XML_NAME_MAX, "/>"), NULL, NULL);
    refuse(*state, repeat(&name, "<", "a", XMPP_XML_NAME_MAX + 1, "/>"), NULL, STREAM_POLICY_VIOLATION);
    refuse(*state, repeat(&name, "<a ", "a", XMPP_XML_NAME_MAX + 1, "='x'/>"), NULL, STREAM_POLICY_VIOLATION);
    buf_fini(&deep);
    buf_fini(&name);
    buf_fini(&b);
}

/* What is accepted with the most prefixes in force must be so again in canonical form, where each element declares its own. */
static void canonical_form_stays_within_the_limits(void **state) {
    buf b;
    buf_init(&b, 1 << 20);
    repeat(&b, "<a", " xmlns:n#='u#'", 0, "");
    for (int i = 0; i < XMPP_XML_DECLS_MAX; i++) buf_addf(&b, " xmlns:n%d='u%d'", i, i);
    buf_add_byte(&b, '>');
    for (int d = 0; d < XMPP_XML_DEPTH_MAX - 1; d++) {
        buf_addf(&b, "<n%d:b", d % XMPP_XML_DECLS_MAX);
        for (int i = 0; i < XMPP_XML_DECLS_MAX; i++) buf_addf(&b, " n%d:x='%d'", i, i);
        buf_add_byte(&b, '>');
    }
    for (int d = XMPP_XML_DEPTH_MAX - 2; d >= 0; d--) buf_addf(&b, "</n%d:b>", d % XMPP_XML_DECLS_MAX);
    buf_add_str(&b, "</a>");
    accept(*state, buf_slice(&b), NULL, NULL);
    buf_fini(&b);
}

static void a_full_arena_is_resource_constraint(void **state) {
    (void)state;
    slice in = SLICE("<a b='1&lt;'><c>t&amp;</c><d xmlns:e='u' e:f='g'/>x</a>");
    for (size_t max = 0; max < 1200; max += 8) {
        arena a;
        xmpp_node *n = NULL;
        arena_init(&a, max);
        xmpp_stream_error e = xmpp_xml_parse(in, NULL, &a, &n);
        assert_true(e == (n ? STREAM_OK : STREAM_RESOURCE_CONSTRAINT));
        arena_fini(&a);
    }
}

static void a_stream_header_gives_its_root_and_bindings(void **state) {
    slice in = SLICE("<?xml version='1.0' encoding='Utf-8' standalone=\"yes\"?>\n<stream:stream to='a' xmlns='jabber:client' "
                     "xmlns:stream='" NS_STREAM "' xmlns:x='y' version='1.0' xml:lang='de'>");
    xmpp_node *n = NULL;
    xmpp_scope scope = {NULL, 0};
    assert_int_equal(xmpp_xml_parse_open(in, *state, &n, &scope), STREAM_OK);
    assert_true(xmpp_xml_is(n, NS_STREAM, "stream"));
    assert_true(slice_is(xmpp_xml_attr(n, "to"), "a"));
    assert_true(slice_is(xmpp_xml_attr_ns(n, NS_XML, "lang"), "de"));
    assert_int_equal(scope.n, 3);
    assert_true(slice_is(scope.b[0].prefix, "stream") && slice_is(scope.b[0].ns, NS_STREAM));
    assert_true(slice_is(scope.b[1].prefix, "x") && slice_is(scope.b[1].ns, "y"));
    assert_true(scope.b[2].prefix.len == 0 && slice_is(scope.b[2].ns, "jabber:client"));
}

static void a_bad_stream_header_is_refused(void **state) {
    static const struct {
        const char *in;
        xmpp_stream_error want;
    } t[] = {
        {"<?xml version='1.0' encoding='iso-8859-1'?><s>", STREAM_UNSUPPORTED_ENCODING},
        {"<?xml version='1.0' encoding='UTF-16'?><s>", STREAM_UNSUPPORTED_ENCODING},
        {"<?xml version='1.1'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml encoding='utf-8'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml?><s>", STREAM_RESTRICTED_XML},
        {"<?xml ?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml version='1.0' standalone='yes' encoding='utf-8'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml version='1.0' standalone='maybe'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml version='1.0' version='1.0'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml version='1.0'encoding='utf-8'?><s>", STREAM_NOT_WELL_FORMED},
        {"<?xml version='1.0' x='y'?><s>", STREAM_NOT_WELL_FORMED},
        {"<s/>", STREAM_NOT_WELL_FORMED},
        {"<s></s>", STREAM_NOT_WELL_FORMED},
        {"<p:s>", STREAM_NOT_WELL_FORMED},
        {"<s a='&x;'>", STREAM_RESTRICTED_XML},
        {"<!DOCTYPE s><s>", STREAM_RESTRICTED_XML},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        xmpp_node *n = NULL;
        xmpp_scope scope;
        xmpp_stream_error e = xmpp_xml_parse_open(slice_str(t[i].in), *state, &n, &scope);
        if (e != t[i].want) fail_msg("%s: %s", t[i].in, xmpp_error_stream_name(e));
        assert_null(n);
    }
}

static void lookups_match_namespace_and_name(void **state) {
    xmpp_node *n = NULL;
    slice in = SLICE("<a xmlns='u' xmlns:p='v' p:x='1'>t1<b xmlns='w'/>t2<b x='2'>in</b><p:b/></a>");
    assert_int_equal(xmpp_xml_parse(in, NULL, *state, &n), STREAM_OK);
    assert_true(xmpp_xml_is(n, "u", "a"));
    assert_false(xmpp_xml_is(n, "v", "a") || xmpp_xml_is(n, "u", "b") || xmpp_xml_is(n, "", "a"));
    assert_null(xmpp_xml_attr(n, "x").p); /* p:x is not x */
    assert_true(slice_is(xmpp_xml_attr_ns(n, "v", "x"), "1"));
    assert_true(slice_is(xmpp_xml_attr(xmpp_xml_child(n, "u", "b"), "x"), "2"));
    assert_ptr_equal(xmpp_xml_first_element(n), xmpp_xml_child(n, "w", "b"));
    assert_ptr_equal(xmpp_xml_next_element(xmpp_xml_child(n, "u", "b")), xmpp_xml_child(n, "v", "b"));
    assert_null(xmpp_xml_next_element(xmpp_xml_child(n, "v", "b")));
    assert_null(xmpp_xml_child(n, "x", "b"));
    assert_true(slice_is(xmpp_xml_text(n, *state), "t1t2"));
    assert_true(slice_is(xmpp_xml_text(xmpp_xml_child(n, "u", "b"), *state), "in"));
    assert_true(slice_is(xmpp_xml_text(xmpp_xml_child(n, "v", "b"), *state), ""));
    assert_false(xmpp_xml_is(n->child, "", "")); /* text is no element */
}

static void built_trees_are_written_canonically(void **state) {
    arena *a = *state;
    xmpp_node *n = xmpp_xml_element(a, NS_CLIENT, "iq"), *q = xmpp_xml_element(a, "u", "q");
    assert_true(xmpp_xml_set(a, n, "id", SLICE("1")) && xmpp_xml_set(a, n, "to", SLICE("x")) && xmpp_xml_set(a, n, "id", SLICE("'2'")));
    xmpp_xml_append(n, q);
    xmpp_xml_append(q, xmpp_xml_element(a, "u", "i"));
    xmpp_xml_append(q, xmpp_xml_element(a, NS_CLIENT, "j"));
    assert_true(xmpp_xml_append_text(a, q, SLICE("<&>\"'\t\n\r\x01")) && xmpp_xml_append_text(a, q, SLICE("")));
    buf b;
    buf_init(&b, 4096);
    xmpp_xml_write(&b, n, SLICE(NS_CLIENT));
    assert_true(slice_is(buf_slice(&b),
                         "<iq id='&apos;2&apos;' to='x'><q xmlns='u'><i/><j xmlns='jabber:client'/>&lt;&amp;&gt;&quot;&apos;\t\n"
                         "&#13;\xef\xbf\xbd</q></iq>"));
    buf_reset(&b);
    xmpp_xml_write_children(&b, n);
    assert_true(slice_starts(buf_slice(&b), SLICE("<q xmlns='u'><i/>")));
    buf_reset(&b);
    xmpp_xml_write_attr(&b, "a", SLICE("\t\r\n'\""));
    xmpp_xml_write_attr(&b, "b", SLICE_NULL);
    xmpp_xml_write_attr(&b, "c", SLICE(""));
    assert_true(slice_is(buf_slice(&b), " a='&#9;&#13;&#10;&apos;&quot;' c=''"));
    buf_fini(&b);
}

static void prefixes_are_declared_once_on_a_path(void **state) {
    xmpp_node *n = NULL;
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(
        xmpp_xml_parse(SLICE("<a xmlns:p='u' xmlns:q='v' p:x='1' q:y='2'><q:b q:z='3' p:z='4'/><c q:z='5'/></a>"), NULL, *state, &n),
        STREAM_OK);
    xmpp_xml_write(&b, n, SLICE_NULL);
    assert_true(
        slice_is(buf_slice(&b), "<a xmlns:ns1='u' xmlns:ns2='v' ns1:x='1' ns2:y='2'><b xmlns='v' ns2:z='3' ns1:z='4'/><c ns2:z='5'/></a>"));
    buf_fini(&b);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(elements_attributes_and_text_become_a_tree),
        T(references_cdata_and_text_are_one_text_node),
        T(line_ends_and_attribute_space_are_normalised),
        T(slices_point_into_the_unit_where_nothing_is_unescaped),
        T(dtd_pi_comment_and_entities_are_restricted_xml),
        T(what_is_not_well_formed_is_refused),
        T(illegal_characters_are_refused),
        T(invalid_utf8_is_unsupported_encoding),
        T(namespaces_are_resolved),
        T(namespace_errors_are_not_well_formed),
        T(limits_are_exact_and_are_policy_violations),
        T(canonical_form_stays_within_the_limits),
        T(a_full_arena_is_resource_constraint),
        T(a_stream_header_gives_its_root_and_bindings),
        T(a_bad_stream_header_is_refused),
        T(lookups_match_namespace_and_name),
        T(built_trees_are_written_canonically),
        T(prefixes_are_declared_once_on_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
