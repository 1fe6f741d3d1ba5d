/* micro_parse: a message of 293 bytes on a stream that is open: found, checked, and made a tree by our framer and tokenizer; checked only,
 * by expat and by libxml2 (SAX, with handlers that count), which do the same checks of well-formedness, names and UTF-8. */
#include "base/arena.h"
#include "micro.h"
#include "proto/xmpp/framer.h"
#include "proto/xmpp/ns.h"
#include "proto/xmpp/xml.h"

#include <expat.h>
#include <libxml/parser.h>

#define STANZAS 20000u

static const char HEADER[] = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
static const char STANZA[] =
    "<message to='romeo@montague.example/orchard-7f3a' from='juliet@capulet.example/balcony-22b1' type='chat' id='ab91c-2f'>"
    "<body>Art thou not Romeo, and a Montague? Neither, fair saint, if eit 100 &lt; 200.</body>"
    "<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/ch'/></message>";
_Static_assert(sizeof STANZA - 1 == 293, "the stanza of numbers.md");

static const xmpp_binding BINDINGS[] = {{{(const uint8_t *)"", 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}}};
static const xmpp_scope SCOPE = {BINDINGS, ARRAY_LEN(BINDINGS)};

static double since(uint64_t t0) { return (double)(bench_nsec() - t0) / STANZAS; }

static bool ours(bool tree, double *out) {
    arena a;
    arena_init(&a, 1u << 20);
    xmpp_framer f;
    xmpp_framer_init(&f, false);
    slice in = slice_of(STANZA, sizeof STANZA - 1);
    bool ok = true;
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < STANZAS && ok; i++) {
        size_t len;
        xmpp_stream_error e;
        xmpp_node *root;
        ok = xmpp_framer_next(&f, in, 1u << 18, 64, &len, &e) == XMPP_UNIT_STANZA;
        if (tree && ok) {
            ok = xmpp_xml_parse(slice_sub(in, 0, len), &SCOPE, &a, &root) == STREAM_OK;
            arena_reset(&a);
        }
    }
    *out = since(t0);
    arena_fini(&a);
    return ok;
}

static void XMLCALL expat_start(void *n, const char *name, const char **attrs) {
    (void)name;
    (void)attrs;
    ++*(unsigned *)n;
}
static void XMLCALL expat_end(void *n, const char *name) {
    (void)n;
    (void)name;
}
static void XMLCALL expat_text(void *n, const char *s, int len) {
    (void)n;
    (void)s;
    (void)len;
}

static bool expat(double *out) {
    unsigned n = 0;
    XML_Parser p = XML_ParserCreateNS("UTF-8", ' ');
    if (!p) return false;
    XML_SetUserData(p, &n);
    XML_SetElementHandler(p, expat_start, expat_end);
    XML_SetCharacterDataHandler(p, expat_text);
    bool ok = XML_Parse(p, HEADER, sizeof HEADER - 1, 0) == XML_STATUS_OK;
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < STANZAS && ok; i++) ok = XML_Parse(p, STANZA, sizeof STANZA - 1, 0) == XML_STATUS_OK;
    *out = since(t0);
    XML_ParserFree(p);
    return ok && n == 4 * STANZAS + 1;
}

static void xml2_start(void *n, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int n_ns, const xmlChar **ns, int n_attrs,
                       int n_default, const xmlChar **attrs) {
    (void)name, (void)prefix, (void)uri, (void)n_ns, (void)ns, (void)n_attrs, (void)n_default, (void)attrs;
    ++*(unsigned *)n;
}
static void xml2_end(void *n, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri) {
    (void)n, (void)name, (void)prefix, (void)uri;
}
static void xml2_text(void *n, const xmlChar *s, int len) { (void)n, (void)s, (void)len; }

static bool libxml2(double *out) {
    unsigned n = 0;
    xmlSAXHandler h = {.initialized = XML_SAX2_MAGIC, .startElementNs = xml2_start, .endElementNs = xml2_end, .characters = xml2_text};
    xmlParserCtxtPtr p = xmlCreatePushParserCtxt(&h, &n, HEADER, sizeof HEADER - 1, NULL);
    if (!p) return false;
    bool ok = true;
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < STANZAS && ok; i++) ok = xmlParseChunk(p, STANZA, sizeof STANZA - 1, 0) == 0;
    *out = since(t0);
    xmlFreeParserCtxt(p);
    return ok && n >= 4 * (STANZAS - 1);
}

bool micro_parse(const micro_cfg *c) {
    micro_row framer = {0}, tree = {0}, ex = {0}, x2 = {0};
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        double v[4];
        if (!ours(false, &v[0]) || !ours(true, &v[1]) || !expat(&v[2]) || !libxml2(&v[3])) {
            (void)fputs("murre-bench: a parser refused the stanza\n", stderr);
            return false;
        }
        micro_add(&framer, v[0]);
        micro_add(&tree, v[1]);
        micro_add(&ex, v[2]);
        micro_add(&x2, v[3]);
    }
    bench_report_begin(c->json, "parse");
    bench_report_num("framer", "ns/stanza of 293 B", micro_median(&framer));
    bench_report_num("framer_tree", "ns/stanza, checked and a tree", micro_median(&tree));
    bench_report_num("expat", "ns/stanza", micro_median(&ex));
    bench_report_num("libxml2", "ns/stanza", micro_median(&x2));
    bench_report_num("expat_over_ours", "times", micro_median(&ex) / micro_median(&tree));
    bench_report_num("libxml2_over_ours", "times", micro_median(&x2) / micro_median(&tree));
    bench_report_end();
    return true;
}
