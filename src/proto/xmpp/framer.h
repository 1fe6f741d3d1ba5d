#ifndef PROTO_XMPP_FRAMER_H
#define PROTO_XMPP_FRAMER_H
/* framer: finds where the next top-level unit of an XMPP stream ends, in one pass over the bytes, with 8 bytes of state between reads.
 *
 * It does not judge well-formedness (xml.h does) beyond what it needs to count depth: quotes, tags, and the constructs that XMPP forbids
 * (RFC 6120 11.1: comments, processing instructions, DTDs; CDATA sections are allowed), which it refuses at once.
 * Invariants: (1) linear: no byte is looked at twice. (2) the same units come out wherever the input is split, except
 * that a run of white space comes in as many pieces as it was read in. (3) after an error it
 * stays failed. */
#include "base/slice.h"
#include "proto/xmpp/error.h"

typedef enum xmpp_unit {
    XMPP_UNIT_NONE,   /* more bytes are needed */
    XMPP_UNIT_SPACE,  /* white space between units (keep-alive) */
    XMPP_UNIT_OPEN,   /* [<?xml ...?>] <stream:stream ...>; only when open was expected */
    XMPP_UNIT_STANZA, /* one whole element at depth 1 */
    XMPP_UNIT_CLOSE,  /* </stream:stream> */
} xmpp_unit;

typedef struct xmpp_framer {
    uint32_t scanned; /* bytes of the current unit that were looked at already */
    uint16_t depth;   /* open elements, not counting the stream */
    uint8_t state;    /* where in a tag the scan stands */
    uint8_t flags;    /* open expected, failed */
} xmpp_framer;

/* expect_open: the next unit must be a stream header. */
void xmpp_framer_init(xmpp_framer *f, bool expect_open);
/* in: everything from the start of the current unit (also what an earlier call saw already). max: limit on the bytes of one unit,
 * depth_max on nesting. Returns the unit and its length (leading part of in); XMPP_UNIT_NONE and 0 when in does not hold all of it.
 * On a violation returns XMPP_UNIT_NONE and sets *out_error, which is STREAM_OK otherwise: RESTRICTED_XML (comment, PI, DTD),
 * NOT_WELL_FORMED, BAD_FORMAT (text between units), POLICY_VIOLATION (max or depth_max passed). */
xmpp_unit xmpp_framer_next(xmpp_framer *f, slice in, size_t max, uint16_t depth_max, size_t *out_len, xmpp_stream_error *out_error);

#endif
