#ifndef PROTO_XMPP_ENV_H
#define PROTO_XMPP_ENV_H
/* env: a stanza as it travels between actors, and as it is stored: addresses and kind in the open, the payload as canonical XML of the
 * stanza's children. Services route on the header and never parse a message's payload; delivery composes the stanza again.
 * The packed form is little-endian, versioned, and safe to read from a damaged file (bounded cursor). */
#include "proto/xmpp/xml.h"

typedef enum xmpp_kind { XMPP_MESSAGE, XMPP_PRESENCE, XMPP_IQ } xmpp_kind;
typedef enum xmpp_type {
    XMPP_TYPE_NONE,  /* presence without a type: available */
    XMPP_TYPE_ERROR, /* all three kinds */
    XMPP_TYPE_NORMAL,
    XMPP_TYPE_CHAT,
    XMPP_TYPE_GROUPCHAT,
    XMPP_TYPE_HEADLINE, /* message; none and unknown types are NORMAL (RFC 6121 5.2.2) */
    XMPP_TYPE_UNAVAILABLE,
    XMPP_TYPE_SUBSCRIBE,
    XMPP_TYPE_SUBSCRIBED,
    XMPP_TYPE_UNSUBSCRIBE,
    XMPP_TYPE_UNSUBSCRIBED,
    XMPP_TYPE_PROBE,
    XMPP_TYPE_GET,
    XMPP_TYPE_SET,
    XMPP_TYPE_RESULT, /* iq */
} xmpp_type;

/* What services need to know of a payload, computed once from the tree. */
#define XMPP_F_BODY         0x0001u /* has a <body/> */
#define XMPP_F_PAYLOAD      0x0002u /* has a child that is not only a chat state, hint, thread or id */
#define XMPP_F_NO_STORE     0x0004u /* XEP-0334 no-store */
#define XMPP_F_NO_PERMANENT 0x0008u /* XEP-0334 no-permanent-store */
#define XMPP_F_NO_COPY      0x0010u /* XEP-0334 no-copy, or XEP-0280 <private/> (which the sender's server removes) */
#define XMPP_F_STORE_HINT   0x0020u /* XEP-0334 store */
#define XMPP_F_CARBON       0x0040u /* is itself a carbon wrapper */
#define XMPP_F_CHATSTATE    0x0080u /* has a chat state */
#define XMPP_F_RECEIPT      0x0100u /* XEP-0184 request or received */
#define XMPP_F_SERVER       0x0200u /* made by this server, not by a client */

typedef struct xmpp_env {
    uint8_t kind;       /* xmpp_kind */
    uint8_t type;       /* xmpp_type */
    int8_t priority;    /* of presence; else 0 */
    uint8_t show;       /* reserved, 0 */
    uint32_t flags;     /* XMPP_F_* */
    slice from;         /* canonical full JID; stamped by the edge */
    slice to;           /* canonical; p NULL when the client gave none */
    slice id;           /* p NULL when absent */
    slice lang;         /* p NULL when absent */
    slice origin_id;    /* XEP-0359 origin-id of a message; p NULL when absent */
    slice payload_ns;   /* of an iq: namespace of its first child element; p NULL when none */
    slice payload_name; /* and its name */
    slice inner;        /* canonical XML of the children; empty when none */
} xmpp_env;

/* Builds an env from a parsed stanza. from: the stamped sender. Serialises the children into inner (caller's buf, borrowed by out->inner);
 * everything else borrows the tree or the arena. Removes what a client may not forge: <delay from=our domain>, <stanza-id by=to, its own
 * account or one of domains>, carbon wrappers. STANZA_OK, or the error to answer with (JID_MALFORMED for a bad 'to', BAD_REQUEST for a
 * bad type, priority, a missing iq id or a wrong number of iq children, RESOURCE_CONSTRAINT past the limit of a or inner). After an error
 * *out still holds kind, type, from, id and, if it was good, to: what xmpp_env_may_bounce and xmpp_env_error need; nothing else.
 * The caller compares the stanza's own 'from', if there is one, with the stamp (invalid-from): this does not look at it. */
typedef struct xmpp_env_rules {
    const slice *domains; /* canonical domains that this server serves */
    size_t n_domains;
} xmpp_env_rules;
NODISCARD xmpp_stanza_error xmpp_env_build(const xmpp_node *stanza, slice from, const xmpp_env_rules *rules, arena *a, buf *inner,
                                           xmpp_env *out);

void xmpp_env_pack(buf *out, const xmpp_env *e);
NODISCARD err xmpp_env_unpack(slice packed, xmpp_env *out); /* borrows packed; ERR_CORRUPT, ERR_VERSION */

/* Writes the whole stanza as it goes to a client whose stream default namespace is jabber:client. extra: canonical XML appended inside
 * (stanza-id, delay); may be empty. to: p NULL writes e->to. */
void xmpp_env_write(buf *out, const xmpp_env *e, slice to, slice extra);
/* The same with xmlns='jabber:client' declared on the stanza: for embedding in another namespace (XEP-0297). */
void xmpp_env_write_ns(buf *out, const xmpp_env *e, slice to, slice extra);
/* The payload as a tree: one element named as the stanza kind with the children inside. */
NODISCARD xmpp_stream_error xmpp_env_tree(const xmpp_env *e, arena *a, xmpp_node **out_stanza);
const char *xmpp_env_type_name(uint8_t type); /* "" for NONE */
/* May this stanza be answered with an error? Not errors, not iq results. */
bool xmpp_env_may_bounce(const xmpp_env *e);
/* Makes *out the error reply to e (addresses swapped; inner: the error in errbuf). payload of the original is not included. */
void xmpp_env_error(const xmpp_env *e, xmpp_stanza_error cond, const char *text, buf *errbuf, xmpp_env *out);
/* The promise, sentence 2: is this message to be kept? */
bool xmpp_env_is_kept(const xmpp_env *e);

#endif
