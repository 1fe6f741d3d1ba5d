/* framer: where does the next top-level unit end?
 *
 * What: a scan that counts depth, and knows quotes and CDATA sections only, so that a unit is handed to the parser whole and the
 * parser can work in place. Why apart from the parser: an idle or slow stream keeps 8 bytes instead of a parser, and limits are counted
 * on raw bytes before anything is built from them.
 *
 *            '<'          name           '>'
 *   START ---------> LT ---------> TAG --------> TEXT (depth + 1) | unit (OPEN, or '/>' at depth 0)
 *     |  white space  |  '/'        |  ' or "
 *     +-> unit SPACE  +-----> END   +-------> SQ, DQ
 *                     |  '!'    '>' : depth - 1; at 0 the unit is whole; below the stream itself: CLOSE
 *                     +-----> BANG0..6 --> CDATA --> CDATA1 --> CDATA2 --> TEXT
 *                     |  '?' (only where a header is expected, at its very start)
 *                     +-----> DECL0..2 --> DECL --> DECL_Q --> PROLOG --> PROLOG_LT --> TAG
 *
 * Invariants: (1) every byte is scanned once: f->scanned says how far, and a call resumes there. (2) the state is a function of the bytes
 * scanned, not of how they were cut. (3) once failed, state holds the error and nothing is read. (4) depth > 0 in TEXT and CDATA. */
#include "proto/xmpp/framer.h"

#include "base/plant.h"
#include "proto/xmpp/xml_scan.h"

enum {
    ST_START,
    ST_LT,
    ST_TAG,
    ST_SQ,
    ST_DQ,
    ST_END,
    ST_TEXT,
    ST_BANG0, /* after "<!": seven bytes of "[CDATA[" to match */
    ST_BANG6 = ST_BANG0 + 6,
    ST_CDATA,
    ST_CDATA1, /* after "]" */
    ST_CDATA2, /* after "]]" */
    ST_DECL0,  /* after "<?": three bytes of "xml" to match */
    ST_DECL2 = ST_DECL0 + 2,
    ST_DECL3, /* white space must follow "xml" */
    ST_DECL,
    ST_DECL_Q, /* after "?" */
    ST_PROLOG,
    ST_PROLOG_LT,
};
enum { FL_OPEN = 1, FL_FAILED = 2, FL_SPACED = 4 };

static const uint8_t cdata_open[] = {'[', 'C', 'D', 'A', 'T', 'A', '['};
static const uint8_t decl_open[] = {'x', 'm', 'l'};

/* One call's view. */
typedef struct scan {
    xmpp_framer *f;
    const uint8_t *base, *p, *end;
    uint16_t depth_max;
    xmpp_stream_error error;
} scan;

static inline bool is_space(uint8_t c) { return (xmpp_xml_class[c] & XML_C_SPACE) != 0; }

static xmpp_unit fail(scan *s, xmpp_stream_error e) {
    s->error = e;
    return XMPP_UNIT_NONE;
}

void xmpp_framer_init(xmpp_framer *f, bool expect_open) { *f = (xmpp_framer){.state = ST_START, .flags = expect_open ? FL_OPEN : 0}; }

static xmpp_unit on_start(scan *s) {
    uint8_t c = *s->p;
    if (LIKELY(c == '<')) {
        s->p++;
        s->f->state = ST_LT;
        return XMPP_UNIT_NONE;
    }
    if (!is_space(c)) return fail(s, STREAM_BAD_FORMAT); /* text, a byte order mark or noise between units */
    while (s->p < s->end && is_space(*s->p)) s->p++;
    s->f->flags |= FL_SPACED;
    return XMPP_UNIT_SPACE;
}

/* The byte after '<'. A start tag's first byte is left to ST_TAG. */
static xmpp_unit on_lt(scan *s) {
    xmpp_framer *f = s->f;
    bool open = f->flags & FL_OPEN;
    switch (*s->p) {
    case '/':
        if (open) return fail(s, STREAM_NOT_WELL_FORMED);
        f->state = ST_END;
        break;
    case '!':
        if (f->depth == 0) return fail(s, STREAM_RESTRICTED_XML);
        f->state = ST_BANG0;
        break;
    case '?':
        if (!open || (f->flags & FL_SPACED)) return fail(s, STREAM_RESTRICTED_XML);
        f->state = ST_DECL0;
        break;
    default:
        if (!open && f->depth >= s->depth_max + (plant(DEPTH_OFF_BY_ONE) ? 1 : 0)) return fail(s, STREAM_POLICY_VIOLATION);
        f->state = ST_TAG;
        return XMPP_UNIT_NONE;
    }
    s->p++;
    return XMPP_UNIT_NONE;
}

/* The '>' of a start tag has just been taken. */
static xmpp_unit on_tag_end(scan *s) {
    xmpp_framer *f = s->f;
    bool empty = s->p[-2] == '/'; /* of this unit: a tag has at least '<' before its '>' */
    if (f->flags & FL_OPEN) return empty ? fail(s, STREAM_BAD_FORMAT) : XMPP_UNIT_OPEN;
    if (empty && f->depth == 0) return XMPP_UNIT_STANZA;
    if (!empty) f->depth++;
    f->state = ST_TEXT;
    return XMPP_UNIT_NONE;
}

/* Inside a start tag; quote: the quote that is open, or 0. Values are skipped here and not by a state each, because most of a stanza is
 * attributes. */
static xmpp_unit on_tag(scan *s, uint8_t quote) {
    const uint8_t *p = s->p, *end = s->end;
    for (;;) {
        if (quote) {
            p = scan_quote(p, end, quote);
            if (p == end) break;
            if (*p++ != quote) return fail(s, STREAM_NOT_WELL_FORMED); /* '<' in a value */
            quote = 0;
        }
        p = scan_tag(p, end);
        if (p == end) break;
        uint8_t c = *p++;
        if (c == '>') {
            s->p = p;
            return on_tag_end(s);
        }
        if (c != '\'' && c != '"') return fail(s, STREAM_NOT_WELL_FORMED); /* '<', '#', '&' outside quotes */
        quote = c;
    }
    s->p = end;
    s->f->state = quote == '\'' ? ST_SQ : quote ? ST_DQ : ST_TAG;
    return XMPP_UNIT_NONE;
}

static xmpp_unit on_end(scan *s) {
    xmpp_framer *f = s->f;
    s->p = scan_tag(s->p, s->end);
    if (s->p == s->end) return XMPP_UNIT_NONE;
    if (*s->p != '>') return fail(s, STREAM_NOT_WELL_FORMED);
    s->p++;
    if (f->depth == 0) return XMPP_UNIT_CLOSE;
    f->depth--;
    if (f->depth == 0) return XMPP_UNIT_STANZA;
    f->state = ST_TEXT;
    return XMPP_UNIT_NONE;
}

static xmpp_unit on_text(scan *s) {
    s->p = scan_lt(s->p, s->end);
    if (s->p == s->end) return XMPP_UNIT_NONE;
    s->p++;
    s->f->state = ST_LT;
    return XMPP_UNIT_NONE;
}

/* CDATA and the XML declaration: rare, one byte at a time. */
static xmpp_unit on_rare(scan *s) {
    xmpp_framer *f = s->f;
    uint8_t c = *s->p++;
    if (f->state >= ST_BANG0 && f->state <= ST_BANG6) {
        if (c != cdata_open[f->state - ST_BANG0]) return fail(s, STREAM_RESTRICTED_XML); /* a comment or a DTD */
        f->state++;
        return XMPP_UNIT_NONE;
    }
    if (f->state >= ST_DECL0 && f->state <= ST_DECL2) {
        if (c != decl_open[f->state - ST_DECL0]) return fail(s, STREAM_RESTRICTED_XML); /* a processing instruction */
        f->state++;
        return XMPP_UNIT_NONE;
    }
    switch (f->state) {
    case ST_CDATA: f->state = c == ']' ? ST_CDATA1 : ST_CDATA; break;
    case ST_CDATA1: f->state = c == ']' ? ST_CDATA2 : ST_CDATA; break;
    case ST_CDATA2: f->state = c == '>' ? ST_TEXT : c == ']' ? ST_CDATA2 : ST_CDATA; break;
    case ST_DECL3:
        if (!is_space(c)) return fail(s, STREAM_RESTRICTED_XML); /* <?xml-stylesheet ...?> */
        f->state = ST_DECL;
        break;
    case ST_DECL:
    case ST_DECL_Q:
        if (c == '<') return fail(s, STREAM_NOT_WELL_FORMED);
        f->state = c == '?' ? ST_DECL_Q : c == '>' && f->state == ST_DECL_Q ? ST_PROLOG : ST_DECL;
        break;
    case ST_PROLOG:
        if (c == '<')
            f->state = ST_PROLOG_LT;
        else if (!is_space(c))
            return fail(s, STREAM_BAD_FORMAT);
        break;
    case ST_PROLOG_LT:
        if (c == '!' || c == '?') return fail(s, STREAM_RESTRICTED_XML);
        if (c == '/') return fail(s, STREAM_NOT_WELL_FORMED);
        s->p--;
        f->state = ST_TAG;
        break;
    default: return fail(s, STREAM_INTERNAL_SERVER_ERROR);
    }
    return XMPP_UNIT_NONE;
}

static xmpp_unit dispatch(scan *s) {
    switch (s->f->state) {
    case ST_START: return on_start(s);
    case ST_LT: return on_lt(s);
    case ST_TAG: return on_tag(s, 0);
    case ST_SQ: return on_tag(s, '\'');
    case ST_DQ: return on_tag(s, '"');
    case ST_END: return on_end(s);
    case ST_TEXT: return on_text(s);
    default: return on_rare(s);
    }
}

xmpp_unit xmpp_framer_next(xmpp_framer *f, slice in, size_t max, uint16_t depth_max, size_t *out_len, xmpp_stream_error *out_error) {
    *out_len = 0;
    *out_error = STREAM_OK;
    if (f->flags & FL_FAILED) {
        *out_error = (xmpp_stream_error)f->state;
        return XMPP_UNIT_NONE;
    }
    size_t len = in.len < max ? in.len : max;
    if (len <= f->scanned) return XMPP_UNIT_NONE;
    scan s = {f, in.p, in.p + f->scanned, in.p + len, depth_max, STREAM_OK};
    xmpp_unit unit = XMPP_UNIT_NONE;
    while (s.p < s.end && unit == XMPP_UNIT_NONE && s.error == STREAM_OK) unit = dispatch(&s);
    f->scanned = (uint32_t)(s.p - s.base);
    if (s.error == STREAM_OK && unit == XMPP_UNIT_NONE && f->scanned >= max) s.error = STREAM_POLICY_VIOLATION; /* would be too large */
    if (s.error != STREAM_OK) {
        f->flags |= FL_FAILED;
        f->state = (uint8_t)s.error;
        *out_error = s.error;
        return XMPP_UNIT_NONE;
    }
    if (unit == XMPP_UNIT_NONE) return XMPP_UNIT_NONE;
    *out_len = f->scanned;
    uint8_t keep = unit == XMPP_UNIT_SPACE ? FL_OPEN | FL_SPACED : 0;
    *f = (xmpp_framer){.state = ST_START, .flags = f->flags & keep};
    return unit;
}
