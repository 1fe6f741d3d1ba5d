/* error: names and writers of the error conditions of error.def.
 *
 * What: three enums, each with its element names, and one writer per place where an error may stand (stanza, stream, SASL).
 * Why here: a condition must be spelled once, and an error that is sent to a client must be well-formed whatever the text.
 * Invariants: (1) an OK value has the name "" and is never written. (2) text is escaped. */
#include "proto/xmpp/error.h"

#include "proto/xmpp/ns.h"
#include "proto/xmpp/xml.h"

static const char *const stanza_name[] = {
    "",
#define STANZA_ERROR(n, e, t) e,
#include "proto/xmpp/error.def"
#undef STANZA_ERROR
};
static const char *const stanza_type[] = {
    "",
#define STANZA_ERROR(n, e, t) t,
#include "proto/xmpp/error.def"
#undef STANZA_ERROR
};
static const char *const stream_name[] = {
    "",
#define STREAM_ERROR(n, e) e,
#include "proto/xmpp/error.def"
#undef STREAM_ERROR
};
static const char *const sasl_name[] = {
    "",
#define SASL_ERROR(n, e) e,
#include "proto/xmpp/error.def"
#undef SASL_ERROR
};

const char *xmpp_error_stanza_name(xmpp_stanza_error e) { return (size_t)e < ARRAY_LEN(stanza_name) ? stanza_name[e] : ""; }
const char *xmpp_error_stanza_type(xmpp_stanza_error e) { return (size_t)e < ARRAY_LEN(stanza_type) ? stanza_type[e] : ""; }
const char *xmpp_error_stream_name(xmpp_stream_error e) { return (size_t)e < ARRAY_LEN(stream_name) ? stream_name[e] : ""; }
const char *xmpp_error_sasl_name(xmpp_sasl_error e) { return (size_t)e < ARRAY_LEN(sasl_name) ? sasl_name[e] : ""; }

/* <text xmlns='ns' xml:lang='en'>text</text>; our own texts are English. */
static void write_text(buf *out, const char *ns, const char *text) {
    if (!text) return;
    buf_add(out, SLICE("<text"));
    if (ns) xmpp_xml_write_attr(out, "xmlns", slice_str(ns));
    buf_add(out, SLICE(" xml:lang='en'>"));
    xmpp_xml_escape(out, slice_str(text));
    buf_add(out, SLICE("</text>"));
}

void xmpp_error_write_stanza(buf *out, xmpp_stanza_error e, const char *type, const char *text) {
    if (!check(e != STANZA_OK)) return;
    buf_add(out, SLICE("<error"));
    xmpp_xml_write_attr(out, "type", slice_str(type ? type : xmpp_error_stanza_type(e)));
    buf_add(out, SLICE("><"));
    buf_add_str(out, xmpp_error_stanza_name(e));
    buf_add(out, SLICE(" xmlns='" NS_STANZA_ERRORS "'/>"));
    write_text(out, NS_STANZA_ERRORS, text);
    buf_add(out, SLICE("</error>"));
}

void xmpp_error_write_stream(buf *out, xmpp_stream_error e, const char *text) {
    if (!check(e != STREAM_OK)) return;
    buf_add(out, SLICE("<stream:error><"));
    buf_add_str(out, xmpp_error_stream_name(e));
    buf_add(out, SLICE(" xmlns='" NS_STREAM_ERRORS "'/>"));
    write_text(out, NS_STREAM_ERRORS, text);
    buf_add(out, SLICE("</stream:error></stream:stream>"));
}

void xmpp_error_write_sasl(buf *out, xmpp_sasl_error e, const char *text) {
    if (!check(e != SASL_OK)) return;
    buf_add(out, SLICE("<failure xmlns='" NS_SASL "'><"));
    buf_add_str(out, xmpp_error_sasl_name(e));
    buf_add(out, SLICE("/>"));
    write_text(out, NULL, text);
    buf_add(out, SLICE("</failure>"));
}
