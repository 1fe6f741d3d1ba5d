#ifndef PROTO_XMPP_SASL_H
#define PROTO_XMPP_SASL_H
/* sasl: the server's side of one authentication exchange (RFC 6120 section 6), over SCRAM, PLAIN (RFC 4616) and ANONYMOUS (RFC 4505).
 * A pure machine: it asks its caller for keys or for a password check through its steps, because those take time. */
#include "base/arena.h"
#include "proto/xmpp/scram.h"

typedef enum xmpp_mech {
    XMPP_MECH_NONE,
    XMPP_MECH_SCRAM_SHA_256_PLUS,
    XMPP_MECH_SCRAM_SHA_1_PLUS,
    XMPP_MECH_SCRAM_SHA_256,
    XMPP_MECH_SCRAM_SHA_1,
    XMPP_MECH_PLAIN,
    XMPP_MECH_ANONYMOUS,
    XMPP_MECH_COUNT_,
} xmpp_mech;
const char *xmpp_sasl_mech_name(xmpp_mech m); /* "SCRAM-SHA-256-PLUS"; "" for NONE */
xmpp_mech xmpp_sasl_mech_find(slice name);    /* NONE when unknown */

typedef enum xmpp_sasl_step {
    XMPP_SASL_NEED_DATA,  /* send an empty challenge; the client starts */
    XMPP_SASL_NEED_KEYS,  /* look up account user (canonical localpart), then xmpp_sasl_keys */
    XMPP_SASL_NEED_CHECK, /* PLAIN: check password against the account's keys off the shard, then xmpp_sasl_checked */
    XMPP_SASL_CHALLENGE,  /* send out as a challenge */
    XMPP_SASL_SUCCESS,    /* send out as success; the session is user's (ANONYMOUS: user is empty, the server makes one) */
    XMPP_SASL_FAILURE,    /* send error */
} xmpp_sasl_step;

typedef struct xmpp_sasl xmpp_sasl; /* heap, about 1 KiB while an exchange lasts */

/* allowed: bit (1u << mech) for each mechanism offered on this stream. nonce: fresh random text, printable, no comma, >= 24 bytes.
 * domain: canonical, for checking authzid. NULL with *out_error when the mechanism is unknown or not allowed. */
xmpp_sasl *xmpp_sasl_new(slice mechanism, uint32_t allowed, const xmpp_scram_binding *b, slice nonce, slice domain,
                         xmpp_sasl_error *out_error);
void xmpp_sasl_free(xmpp_sasl *s); /* wipes; NULL is fine */
/* The client's initial response or response: base64 text as received ("=" is empty data, RFC 6120 6.4.2); p NULL: none given. out: raw
 * bytes to send (not yet base64). */
xmpp_sasl_step xmpp_sasl_feed(xmpp_sasl *s, slice base64, buf *out, xmpp_sasl_error *out_error);
/* After NEED_KEYS: keys of the account, or the fake ones (exists false). */
xmpp_sasl_step xmpp_sasl_keys(xmpp_sasl *s, const xmpp_scram_keys *k, bool exists, buf *out, xmpp_sasl_error *out_error);
/* After NEED_CHECK: the verdict. */
xmpp_sasl_step xmpp_sasl_checked(xmpp_sasl *s, bool ok, buf *out, xmpp_sasl_error *out_error);
xmpp_mech xmpp_sasl_mech(const xmpp_sasl *s);
digest_alg xmpp_sasl_alg(const xmpp_sasl *s); /* which keys are wanted; PLAIN: SHA256 */
slice xmpp_sasl_user(const xmpp_sasl *s);     /* canonical localpart; valid from NEED_KEYS/NEED_CHECK on */
slice xmpp_sasl_password(const xmpp_sasl *s); /* PLAIN: saslprepped; valid between NEED_CHECK and checked */

#endif
