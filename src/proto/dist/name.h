#ifndef PROTO_DIST_NAME_H
#define PROTO_DIST_NAME_H
/* name: the name of a node, alive@host.
 *
 * A node is short if its host has no dot and long if it has (or is an address with colons); OTP dials nodes of its own style only
 * (inet_tcp_dist, splitnode/3), and as acceptor takes both. */
#include "base/buf.h"

#define DIST_NAME_MAX        255u /* bytes of a whole name: an atom of OTP has at most 255 characters (erl_dist_protocol) */
#define DIST_NAME_INVENT_LEN 13u  /* base-36 digits of an invented alive part, as many as 64 bits need */

typedef struct dist_name {
    slice full;   /* alive@host */
    slice alive;  /* before the '@' */
    slice host;   /* after it */
    bool is_long; /* the host has a dot or a colon */
} dist_name;

/* A name as a peer may have it: 3 to DIST_NAME_MAX bytes, one '@' with something on both sides, and graphic ASCII (0x21 to 0x7e) only, so
 * that it may stand in a log or a list of names as it is. The slices of *out are parts of s. ERR_LIMIT: too long; ERR_INVALID: all else. */
NODISCARD err dist_name_parse(slice s, dist_name *out);
/* The same for a name that we give ourselves, whose alive part must be what OTP itself would take: letters, digits, '_' and '-'
 * (net_kernel, valid_name_head/1). */
NODISCARD err dist_name_parse_own(slice s, dist_name *out);
/* The host part alone, as a node sends it that has no name yet: 1 to 241 bytes of graphic ASCII without '@', so that a whole name with an
 * invented alive part still fits. ERR_LIMIT, ERR_INVALID. */
NODISCARD err dist_name_parse_host(slice s);
/* An alive part as it stands in the port mapper: 1 to DIST_NAME_MAX bytes of graphic ASCII without '@'. ERR_LIMIT, ERR_INVALID. */
NODISCARD err dist_name_parse_alive(slice s);

/* Byte-wise order of whole names: what decides when two nodes dial each other at once (erl_dist_protocol, "Distribution Handshake"). */
int dist_name_cmp(slice a, slice b);
/* May a be dialled from b: both short or both long? */
static inline bool dist_name_same_style(const dist_name *a, const dist_name *b) { return a->is_long == b->is_long; }

/* Appends a name for a node that asked for one: 13 digits in base 36, then '@' and host, which must be valid. random: 64 bits of the
 * caller's; different numbers give different names. */
void dist_name_invent(buf *out, uint64_t random, slice host);

#endif
