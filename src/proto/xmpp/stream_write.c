/* stream_write: what the server says on a stream outside stanzas: headers, features, SASL and stream management replies.
 *
 * What: one function per element, straight. Why: what we say is fixed text with a few escaped values, and reading the code is reading
 * the wire.
 * Invariant: every value that is not a literal goes through xmpp_xml_write_attr, xmpp_xml_escape or base64. */
#include "base/codec.h"
#include "proto/xmpp/ns.h"
#include "proto/xmpp/stream.h"

void xmpp_stream_write_open(buf *out, slice from, slice to, slice id, slice lang) {
    buf_add(out, SLICE("<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "'"));
    xmpp_xml_write_attr(out, "from", from);
    xmpp_xml_write_attr(out, "to", to);
    xmpp_xml_write_attr(out, "id", id);
    xmpp_xml_write_attr(out, "xml:lang", lang.p ? lang : SLICE("en"));
    buf_add(out, SLICE(" version='1.0'>"));
}

static void write_mechanisms(buf *out, const xmpp_features *f) {
    if (f->mechanisms) {
        buf_add(out, SLICE("<mechanisms xmlns='" NS_SASL "'>"));
        for (const char *const *m = f->mechanisms; *m; m++) {
            buf_add(out, SLICE("<mechanism>"));
            buf_add_str(out, *m);
            buf_add(out, SLICE("</mechanism>"));
        }
        buf_add(out, SLICE("</mechanisms>"));
    }
    if (f->bindings && *f->bindings) {
        buf_add(out, SLICE("<sasl-channel-binding xmlns='" NS_SASL_CB "'>"));
        for (const char *const *b = f->bindings; *b; b++) {
            buf_add(out, SLICE("<channel-binding"));
            xmpp_xml_write_attr(out, "type", slice_str(*b));
            buf_add(out, SLICE("/>"));
        }
        buf_add(out, SLICE("</sasl-channel-binding>"));
    }
}

void xmpp_stream_write_features(buf *out, const xmpp_features *f) {
    buf_add(out, SLICE("<stream:features>"));
    if (f->starttls && f->starttls_required)
        buf_add(out, SLICE("<starttls xmlns='" NS_TLS "'><required/></starttls>"));
    else if (f->starttls)
        buf_add(out, SLICE("<starttls xmlns='" NS_TLS "'/>"));
    write_mechanisms(out, f);
    if (f->bind) buf_add(out, SLICE("<bind xmlns='" NS_BIND "'/>"));
    if (f->session) buf_add(out, SLICE("<session xmlns='" NS_SESSION "'><optional/></session>"));
    if (f->sm) buf_add(out, SLICE("<sm xmlns='" NS_SM "'/>"));
    if (f->rosterver) buf_add(out, SLICE("<ver xmlns='" NS_ROSTERVER "'/>"));
    if (f->preapproval) buf_add(out, SLICE("<sub xmlns='" NS_PREAPPROVAL "'/>"));
    if (f->caps_ver.p) {
        buf_add(out, SLICE("<c xmlns='" NS_CAPS "' hash='sha-1'"));
        xmpp_xml_write_attr(out, "node", f->caps_node);
        xmpp_xml_write_attr(out, "ver", f->caps_ver);
        buf_add(out, SLICE("/>"));
    }
    buf_add(out, SLICE("</stream:features>"));
}

void xmpp_stream_write_proceed(buf *out) { buf_add(out, SLICE("<proceed xmlns='" NS_TLS "'/>")); }

void xmpp_stream_write_challenge(buf *out, slice raw) {
    buf_add(out, SLICE("<challenge xmlns='" NS_SASL "'>"));
    base64_encode(out, raw);
    buf_add(out, SLICE("</challenge>"));
}

void xmpp_stream_write_success(buf *out, slice raw) {
    buf_add(out, SLICE("<success xmlns='" NS_SASL "'"));
    if (!raw.p) {
        buf_add(out, SLICE("/>"));
        return;
    }
    buf_add_byte(out, '>');
    if (raw.len)
        base64_encode(out, raw);
    else
        buf_add_byte(out, '='); /* RFC 6120 6.4.6: data of length zero */
    buf_add(out, SLICE("</success>"));
}

void xmpp_stream_write_bound(buf *out, slice iq_id, slice full_jid) {
    buf_add(out, SLICE("<iq type='result'"));
    xmpp_xml_write_attr(out, "id", iq_id);
    buf_add(out, SLICE("><bind xmlns='" NS_BIND "'><jid>"));
    xmpp_xml_escape(out, full_jid);
    buf_add(out, SLICE("</jid></bind></iq>"));
}

void xmpp_stream_write_iq_result(buf *out, slice iq_id, slice from, slice to) {
    buf_add(out, SLICE("<iq type='result'"));
    xmpp_xml_write_attr(out, "id", iq_id);
    xmpp_xml_write_attr(out, "from", from);
    xmpp_xml_write_attr(out, "to", to);
    buf_add(out, SLICE("/>"));
}

void xmpp_stream_write_sm_enabled(buf *out, slice id, bool resume, uint32_t max_sec) {
    buf_add(out, SLICE("<enabled xmlns='" NS_SM "'"));
    if (resume) {
        xmpp_xml_write_attr(out, "id", id);
        buf_addf(out, " resume='true' max='%u'", max_sec);
    }
    buf_add(out, SLICE("/>"));
}

void xmpp_stream_write_sm_resumed(buf *out, slice previd, uint32_t h) {
    buf_add(out, SLICE("<resumed xmlns='" NS_SM "'"));
    xmpp_xml_write_attr(out, "previd", previd);
    buf_addf(out, " h='%u'/>", h);
}

void xmpp_stream_write_sm_failed(buf *out, xmpp_stanza_error cond, bool with_h, uint32_t h) {
    buf_add(out, SLICE("<failed xmlns='" NS_SM "'"));
    if (with_h) buf_addf(out, " h='%u'", h);
    buf_add(out, SLICE("><"));
    buf_add_str(out, xmpp_error_stanza_name(cond));
    buf_add(out, SLICE(" xmlns='" NS_STANZA_ERRORS "'/></failed>"));
}

void xmpp_stream_write_sm_ack(buf *out, uint32_t h) { buf_addf(out, "<a xmlns='" NS_SM "' h='%u'/>", h); }
void xmpp_stream_write_sm_request(buf *out) { buf_add(out, SLICE("<r xmlns='" NS_SM "'/>")); }
void xmpp_stream_write_close(buf *out) { buf_add(out, SLICE("</stream:stream>")); }
