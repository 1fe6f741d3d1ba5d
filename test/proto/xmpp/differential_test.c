/* differential_test: our tokenizer against expat and libxml2, on a corpus and on mutations of it from a seeded generator.
 *
 * What we accept, both accept, with the same tree (no stanza smuggling between parsers). What both accept, we accept, but for the stated
 * reasons: DTD, PI, comment, entity (restricted-xml), a limit (policy-violation), or bytes around the one element of a unit.
 * Known differences of theirs: has_wide_name, has_amp_ns. */
#include "base/prng.h"
#include "support/cmocka_unit.h"
#include "support/xml_oracle.h"

#define ROUNDS  100000
#define DOC_MAX 2048

static const char *const corpus[] = {
    "<message to='juliet@capulet.example/balcony' from='romeo@montague.example/orchard' type='chat' id='ktx72v49' xml:lang='en'><body>Art "
    "thou "
    "not Romeo, and a Montague?</body><request xmlns='urn:xmpp:receipts'/><active "
    "xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r&amp;d</resource></bind></iq>",
    ("<presence><show>away</show><status xml:lang=\"cs\">\xc4\x8c\xc3\xa1\xc3\xa1 \xf0\x9f\x98\x80</status><priority>-1</priority>"
     "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://x' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/></presence>"),
    "<a xmlns='u' xmlns:p='v' xmlns:q=\"w\" p:x='1' q:x='2' x='3'><p:b xmlns:p='v2' p:y='&lt;&#10;&#x41;'/><q:c xmlns=''><d/></q:c></a>",
    "<a>x<![CDATA[<&]] >]]>y&gt;\r\nz\r<b\n c='\t1\r\n2'\td=\"'\"></b ></a>",
    "<m><n><o><p><q r='&quot;&apos;&amp;&lt;&gt;'>]] &#62;</q></p></o></n>\n\t<s/></m>",
    "<\xc3\xa9 \xc3\xa8='1'>\xe6\x97\xa5\xe6\x9c\xac</\xc3\xa9>",
    "<a xml:lang='en' xml:space='preserve' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    "<xml:a><b xmlns='u'><xml:c/></b></xml:a>",
    "<a xmlns:x='http://www.w3.org/2000/xmlns/'/>",
    "<a xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>",
    "<a><p:b/></a>",
    "<a xmlns:p=''/>",
    "<a b='<'/>",
    "<a>]]></a>",
    "<a>&#0;&#xD800;</a>",
    "<a>\xed\xa0\x80\xef\xbf\xbf</a>",
    "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
    "<a><!-- c --><?p i?></a>",
};
/* What mutations insert: what parsers trip over. */
static const char *const pieces[] = {"<",
                                     ">",
                                     "&",
                                     "'",
                                     "\"",
                                     "/",
                                     "=",
                                     ":",
                                     ";",
                                     "#",
                                     "]",
                                     "]]>",
                                     "<![CDATA[",
                                     "&lt;",
                                     "&#65;",
                                     "&#x0;",
                                     "&amp;",
                                     " ",
                                     "\t",
                                     "\n",
                                     "\r",
                                     "\r\n",
                                     "xmlns='u'",
                                     " xmlns:p='u'",
                                     " xmlns:xml='u'",
                                     " xmlns=''",
                                     " p:a='1'",
                                     "p:",
                                     "xmlns:",
                                     "xml:",
                                     " a='1'",
                                     "<!--",
                                     "-->",
                                     "<?",
                                     "?>",
                                     "<b>",
                                     "</b>",
                                     "<b/>",
                                     "\xc3",
                                     "\xa9",
                                     "\xc2\x85",
                                     "\xe2\x80\xa8",
                                     "\xef\xbf\xbe",
                                     "\xed\xa0\x80",
                                     "\xf0\x90\x80\x80",
                                     "\xcc\x80",
                                     "\x7f",
                                     "\x01",
                                     "",
                                     "-",
                                     ".",
                                     "0",
                                     "_"};

typedef struct counts {
    size_t accepted, refused_by_all, stricter;
} counts;

static buf ours, theirs, text;
static arena memory;

static void compare(slice doc, counts *c) {
    xmpp_node *n = NULL, *again = NULL;
    arena_reset(&memory);
    xmpp_stream_error e = xmpp_xml_parse(doc, NULL, &memory, &n);
    if (e == STREAM_OK) {
        c->accepted++;
        buf_reset(&ours);
        dump_tree(&ours, n);
        buf_reset(&theirs);
        if (!dump_expat(&theirs, doc)) {
            if (!has_wide_name(doc)) fail_msg("expat refuses: %.*s", SLICE_ARG(doc));
        } else if (!slice_eq(buf_slice(&ours), buf_slice(&theirs))) {
            fail_msg("expat differs on %.*s:\n%.*s\n%.*s", SLICE_ARG(doc), SLICE_ARG(buf_slice(&ours)), SLICE_ARG(buf_slice(&theirs)));
        }
        buf_reset(&theirs);
        if (!dump_libxml(&theirs, doc)) fail_msg("libxml2 refuses: %.*s", SLICE_ARG(doc));
        if (!has_amp_ns(n) && !slice_eq(buf_slice(&ours), buf_slice(&theirs)))
            fail_msg("libxml2 differs on %.*s:\n%.*s\n%.*s", SLICE_ARG(doc), SLICE_ARG(buf_slice(&ours)), SLICE_ARG(buf_slice(&theirs)));
        buf_reset(&text);
        buf_reset(&theirs);
        xmpp_xml_write(&text, n, SLICE_NULL);
        if (xmpp_xml_parse(buf_slice(&text), NULL, &memory, &again) != STREAM_OK)
            fail_msg("not read back: %.*s", SLICE_ARG(buf_slice(&text)));
        dump_tree(&theirs, again);
        if (!slice_eq(buf_slice(&ours), buf_slice(&theirs))) fail_msg("changed by writing: %.*s", SLICE_ARG(doc));
        return;
    }
    buf_reset(&theirs);
    bool expat = dump_expat(&theirs, doc);
    buf_reset(&theirs);
    if (!expat || !dump_libxml(&theirs, doc)) {
        c->refused_by_all++;
        return;
    }
    c->stricter++;
    bool around = doc.len == 0 || doc.p[0] != '<' || doc.p[doc.len - 1] != '>';
    bool trailing = doc.len > 2 && memcmp(doc.p + doc.len - 2, "?>", 2) == 0;
    trailing = trailing || (doc.len > 3 && memcmp(doc.p + doc.len - 3, "-->", 3) == 0); /* after the root: not one element */
    if (e != STREAM_RESTRICTED_XML && e != STREAM_POLICY_VIOLATION && !around && !trailing)
        fail_msg("we refuse (%s): %.*s", xmpp_error_stream_name(e), SLICE_ARG(doc));
}

/* One change to doc of len bytes in a buffer of DOC_MAX; returns the new length. */
static size_t mutate(prng *r, uint8_t *doc, size_t len) {
    size_t at = (size_t)prng_below(r, len + 1), n = 0, room = DOC_MAX - len;
    uint8_t piece[64];
    switch (prng_below(r, 6)) {
    case 0: /* flip a bit */
        if (at < len) doc[at] ^= (uint8_t)(1u << prng_below(r, 8));
        return len;
    case 1: /* delete a run */
        n = 1 + (size_t)prng_below(r, 8);
        if (n > len - at) n = len - at;
        memmove(doc + at, doc + at + n, len - at - n);
        return len - n;
    case 2: /* copy a run of the document here */
        if (len == 0) return len;
        n = 1 + (size_t)prng_below(r, sizeof piece);
        size_t from = (size_t)prng_below(r, len);
        if (n > len - from) n = len - from;
        memcpy(piece, doc + from, n);
        break;
    case 3: /* one byte becomes another of the document */
        if (at < len) doc[at] = doc[prng_below(r, len)];
        return len;
    default: { /* insert something that parsers trip over */
        slice p = slice_str(pieces[prng_below(r, ARRAY_LEN(pieces))]);
        n = p.len;
        memcpy(piece, p.p, n);
    }
    }
    if (n > room) return len;
    memmove(doc + at + n, doc + at, len - at);
    memcpy(doc + at, piece, n);
    return len + n;
}

static int setup(void **state) {
    (void)state;
    arena_init(&memory, 1 << 20);
    buf_init(&ours, 1 << 20);
    buf_init(&theirs, 1 << 20);
    buf_init(&text, 1 << 20);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    arena_fini(&memory);
    buf_fini(&ours);
    buf_fini(&theirs);
    buf_fini(&text);
    xmlCleanupParser();
    return 0;
}

static void what_we_accept_expat_and_libxml2_read_alike(void **state) {
    (void)state;
    counts c = {0, 0, 0};
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++) compare(slice_str(corpus[i]), &c);
    assert_int_equal(c.accepted, 9);
    assert_int_equal(c.stricter, 2);
}

static void so_on_mutations(void **state) {
    (void)state;
    counts c = {0, 0, 0};
    uint8_t doc[DOC_MAX];
    prng r;
    prng_init(&r, 20261123);
    for (size_t i = 0; i < ROUNDS; i++) {
        slice seed = slice_str(corpus[prng_below(&r, ARRAY_LEN(corpus))]);
        size_t len = seed.len, changes = 1 + (size_t)prng_below(&r, 2);
        memcpy(doc, seed.p, len);
        for (size_t k = 0; k < changes; k++) len = mutate(&r, doc, len);
        compare(slice_of(doc, len), &c);
    }
    /* The comparison is worth something only if all three outcomes are frequent. */
    assert_true(c.accepted > ROUNDS / 10 && c.refused_by_all > ROUNDS / 20 && c.stricter > ROUNDS / 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_we_accept_expat_and_libxml2_read_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(so_on_mutations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
