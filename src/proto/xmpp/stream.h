#ifndef PROTO_XMPP_STREAM_H
#define PROTO_XMPP_STREAM_H
/* stream: the receiving side of a client-to-server stream (RFC 6120 sections 4-7, XEP-0198) as a pure machine: bytes in, events out; what
 * may come in which phase is one table, everything else closes the stream.
 *
 *      HEADER -> PLAIN -> (starttls) -> HEADER -> SECURE -> (sasl) -> HEADER -> AUTHED -> (bind | resume) -> BOUND
 *
 * The machine keeps no bytes: the caller hands in all unread bytes and drops what was used. Size: 16 bytes. */
#include "proto/xmpp/framer.h"
#include "proto/xmpp/xml.h"

typedef enum xmpp_phase {
    XMPP_PHASE_PLAIN,  /* before TLS, and TLS is required: only starttls */
    XMPP_PHASE_SECURE, /* may authenticate; starttls too if XMPP_STREAM_STARTTLS */
    XMPP_PHASE_AUTHED, /* may bind or resume */
    XMPP_PHASE_BOUND,  /* stanzas, stream management */
    XMPP_PHASE_CLOSED, /* nothing more is read */
} xmpp_phase;

/* The flags belong to the caller: the machine only reads them. */
#define XMPP_STREAM_STARTTLS  1u /* starttls is offered in this phase */
#define XMPP_STREAM_SASL_BUSY 2u /* an exchange is under way: response and abort are allowed, auth is not */
#define XMPP_STREAM_SM        4u /* stream management is on: r and a are allowed, enable is not */

typedef struct xmpp_stream {
    xmpp_framer framer;
    uint8_t phase; /* xmpp_phase that follows the next header, or is in force */
    uint8_t flags; /* XMPP_STREAM_* */
    bool opened;   /* the header of this phase has been read */
    uint8_t reserved;
    uint32_t unit_max; /* limit on the bytes of one unit */
} xmpp_stream;

typedef enum xmpp_event_kind {
    XMPP_EV_NONE,     /* need more bytes */
    XMPP_EV_SPACE,    /* keep-alive */
    XMPP_EV_OPEN,     /* stream header; to, from, lang, version */
    XMPP_EV_STARTTLS, /* the phase is CLOSED until xmpp_stream_init: cleartext that follows is dropped */
    XMPP_EV_AUTH,     /* mechanism, data (p NULL: no initial response; empty: "=") */
    XMPP_EV_RESPONSE, /* data */
    XMPP_EV_ABORT,
    XMPP_EV_BIND,       /* stanza: the iq; data: wanted resource, p NULL if none; id */
    XMPP_EV_SESSION,    /* RFC 3921 session iq (answer with a result); id */
    XMPP_EV_SM_ENABLE,  /* resume, max_sec (0: not given) */
    XMPP_EV_SM_RESUME,  /* data: previd; h */
    XMPP_EV_SM_REQUEST, /* <r/> */
    XMPP_EV_SM_ACK,     /* h */
    XMPP_EV_STANZA,     /* stanza */
    XMPP_EV_CLOSE,      /* </stream:stream> */
    XMPP_EV_PEER_ERROR, /* the peer sent a stream error; it is closing */
    XMPP_EV_FAIL,       /* violation: send error with text (may be NULL), close */
    XMPP_EV_SM_FAIL,    /* stream management asked for at the wrong time: send <failed/> unexpected-request, go on */
} xmpp_event_kind;

typedef struct xmpp_event {
    xmpp_event_kind kind;
    slice to, from, lang;    /* OPEN: raw attribute values */
    bool version_1;          /* OPEN: version is 1.x, x >= 0 */
    xmpp_scope scope;        /* OPEN: extra bindings to pass to later calls; caller copies what it keeps */
    slice mechanism;         /* AUTH */
    slice data;              /* AUTH, RESPONSE: base64 text; BIND: resource; SM_RESUME: previd */
    slice id;                /* BIND, SESSION */
    uint32_t h;              /* SM_RESUME, SM_ACK */
    uint32_t max_sec;        /* SM_ENABLE */
    bool resume;             /* SM_ENABLE */
    xmpp_node *stanza;       /* STANZA, BIND */
    xmpp_stream_error error; /* FAIL, PEER_ERROR */
    const char *text;        /* FAIL: for the peer; a literal */
} xmpp_event;

#define XMPP_UNIT_MAX_PREAUTH 10000u

/* FAIL, CLOSE, PEER_ERROR and STARTTLS leave the phase CLOSED. s->opened says whether the peer's header was accepted, so whether ours must
 * be sent before an error. A new stream, or the restart after TLS and after SASL: nothing read before has any effect after. */
void xmpp_stream_init(xmpp_stream *s, xmpp_phase phase, unsigned flags, uint32_t unit_max);
/* Takes one unit off the front of in. scope: bindings of the stream header besides the standard ones, or NULL. The event's slices live in
 * in and in the arena. *out_used bytes are done with, also when the event is NONE. */
void xmpp_stream_next(xmpp_stream *s, slice in, const xmpp_scope *scope, arena *a, size_t *out_used, xmpp_event *out);
void xmpp_stream_set_phase(xmpp_stream *s, xmpp_phase phase); /* without a new header: AUTHED -> BOUND, any -> CLOSED */

/* --- writing ------------------------------------------------------------------------------------------------------------------- */
typedef struct xmpp_features {
    bool starttls, starttls_required;
    const char *const *mechanisms; /* NULL-terminated names; NULL: no mechanisms element */
    const char *const *bindings;   /* XEP-0440 types, NULL-terminated; NULL: none */
    bool bind, session, sm, rosterver, preapproval;
    slice caps_node, caps_ver; /* XEP-0115 of the server; p NULL: none */
} xmpp_features;
/* <?xml version='1.0'?><stream:stream ...> of the server. to may be absent. */
void xmpp_stream_write_open(buf *out, slice from, slice to, slice id, slice lang);
void xmpp_stream_write_features(buf *out, const xmpp_features *f);
void xmpp_stream_write_proceed(buf *out);
void xmpp_stream_write_challenge(buf *out, slice raw); /* base64-encodes */
void xmpp_stream_write_success(buf *out, slice raw);   /* p NULL: no data */
void xmpp_stream_write_bound(buf *out, slice iq_id, slice full_jid);
void xmpp_stream_write_iq_result(buf *out, slice iq_id, slice from, slice to); /* empty result */
void xmpp_stream_write_sm_enabled(buf *out, slice id, bool resume, uint32_t max_sec);
void xmpp_stream_write_sm_resumed(buf *out, slice previd, uint32_t h);
void xmpp_stream_write_sm_failed(buf *out, xmpp_stanza_error cond, bool with_h, uint32_t h);
void xmpp_stream_write_sm_ack(buf *out, uint32_t h);
void xmpp_stream_write_sm_request(buf *out);
void xmpp_stream_write_close(buf *out);

#endif
