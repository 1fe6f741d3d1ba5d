#ifndef PROTO_XMPP_ERROR_H
#define PROTO_XMPP_ERROR_H
/* Error conditions of streams, stanzas and SASL, and their writers. */
#include "base/buf.h"

typedef enum xmpp_stanza_error {
    STANZA_OK, /* no error */
#define STANZA_ERROR(n, e, t) STANZA_##n,
#include "proto/xmpp/error.def"
#undef STANZA_ERROR
} xmpp_stanza_error;

typedef enum xmpp_stream_error {
    STREAM_OK, /* no error */
#define STREAM_ERROR(n, e) STREAM_##n,
#include "proto/xmpp/error.def"
#undef STREAM_ERROR
} xmpp_stream_error;

typedef enum xmpp_sasl_error {
    SASL_OK, /* no error */
#define SASL_ERROR(n, e) SASL_##n,
#include "proto/xmpp/error.def"
#undef SASL_ERROR
} xmpp_sasl_error;

/* The element name of a condition. Never NULL; "" for the OK values. */
const char *xmpp_error_stanza_name(xmpp_stanza_error e);
const char *xmpp_error_stanza_type(xmpp_stanza_error e); /* RFC 6120 8.3.3's default error type */
const char *xmpp_error_stream_name(xmpp_stream_error e);
const char *xmpp_error_sasl_name(xmpp_sasl_error e);

/* <error type=..><cond xmlns=stanzas/>[<text>]</error>, without the stanza around it. text may be NULL; type NULL is the default. */
void xmpp_error_write_stanza(buf *out, xmpp_stanza_error e, const char *type, const char *text);
/* <stream:error>..</stream:error></stream:stream>; text may be NULL. */
void xmpp_error_write_stream(buf *out, xmpp_stream_error e, const char *text);
/* <failure xmlns=sasl><cond/>[<text>]</failure> */
void xmpp_error_write_sasl(buf *out, xmpp_sasl_error e, const char *text);

#endif
