/* xml_fuzz: one unit. Oracle: what we accept, expat and libxml2 accept with the same tree; parse(write(parse(x))) == parse(x), and writing
 * again gives the same bytes; the framer takes what the tokenizer takes, as one unit. */
#include "proto/xmpp/framer.h"
#include "support/xml_oracle.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static void check_accepted(slice in, xmpp_node *n, arena *a) {
    buf ours, theirs, text, text2;
    xmpp_node *again = NULL;
    buf_init(&ours, 1 << 24);
    buf_init(&theirs, 1 << 24);
    buf_init(&text, 1 << 24);
    buf_init(&text2, 1 << 24);
    dump_tree(&ours, n);
    if (dump_expat(&theirs, in))
        require(slice_eq(buf_slice(&ours), buf_slice(&theirs)));
    else
        require(has_wide_name(in));
    buf_reset(&theirs);
    require(dump_libxml(&theirs, in));
    require(has_amp_ns(n) || slice_eq(buf_slice(&ours), buf_slice(&theirs)));
    xmpp_xml_write(&text, n, SLICE_NULL);
    require(xmpp_xml_parse(buf_slice(&text), NULL, a, &again) == STREAM_OK);
    buf_reset(&theirs);
    dump_tree(&theirs, again);
    require(slice_eq(buf_slice(&ours), buf_slice(&theirs)));
    xmpp_xml_write(&text2, again, SLICE_NULL);
    require(slice_eq(buf_slice(&text), buf_slice(&text2)));
    buf_fini(&ours);
    buf_fini(&theirs);
    buf_fini(&text);
    buf_fini(&text2);
    xmpp_framer f;
    size_t len = 0;
    xmpp_stream_error e = STREAM_OK;
    xmpp_framer_init(&f, false);
    require(xmpp_framer_next(&f, in, in.len + 1, XMPP_XML_DEPTH_MAX, &len, &e) == XMPP_UNIT_STANZA && len == in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    arena a;
    arena_init(&a, 1 << 22);
    xmpp_node *n = NULL;
    xmpp_scope scope;
    slice in = slice_of(data, size);
    if (xmpp_xml_parse(in, NULL, &a, &n) == STREAM_OK) check_accepted(in, n, &a);
    n = NULL;
    if (xmpp_xml_parse_open(in, &a, &n, &scope) == STREAM_OK) require(n && n->name.p && scope.n <= XMPP_XML_DECLS_MAX + 1);
    arena_fini(&a);
    return 0;
}
