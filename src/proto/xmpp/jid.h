#ifndef PROTO_XMPP_JID_H
#define PROTO_XMPP_JID_H
/* jid: addresses (RFC 7622; normalised with the stringprep profiles of RFC 6122, unassigned code points allowed, because that is what
 * clients in the field do; ASCII never leaves the fast path). Everything inside the server is a normalised ("canonical") JID, made once
 * at the edge; two JIDs are equal when their bytes are. Parts are at most 1023 bytes each. */
#include "base/arena.h"

#define XMPP_JID_PART_MAX 1023
#define XMPP_JID_MAX      (3 * XMPP_JID_PART_MAX + 2)

typedef struct xmpp_jid {
    slice local;    /* p NULL when absent */
    slice domain;   /* never absent */
    slice resource; /* p NULL when absent */
} xmpp_jid;

/* Normalises foreign text into arena memory. ERR_INVALID for anything that is not a JID (empty part, forbidden code point, too long,
 * bad UTF-8), ERR_LIMIT when the arena is full. out slices point into one contiguous canonical string: out_full, if not NULL. */
NODISCARD err xmpp_jid_parse(slice text, arena *a, xmpp_jid *out, slice *out_full);
/* Normalises one part. */
NODISCARD err xmpp_jid_prep_local(slice text, arena *a, slice *out);
NODISCARD err xmpp_jid_prep_domain(slice text, arena *a, slice *out);
NODISCARD err xmpp_jid_prep_resource(slice text, arena *a, slice *out);
/* SASLprep (RFC 4013) for user names and passwords; stored strings rules. ERR_INVALID for prohibited text. */
NODISCARD err xmpp_jid_saslprep(slice text, arena *a, slice *out);

/* Splits canonical text; no normalising, no copying. false if it is not of the form [local@]domain[/resource]. */
NODISCARD bool xmpp_jid_split(slice canonical, xmpp_jid *out);
/* The bare part of canonical text ("a@b" of "a@b/c"). */
slice xmpp_jid_bare(slice canonical);
slice xmpp_jid_resource(slice canonical); /* p NULL when absent */
/* XEP-0191: does the block list entry (canonical JID of any of the four forms) match the address? */
bool xmpp_jid_block_match(slice entry, slice address);

#endif
