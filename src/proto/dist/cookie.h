#ifndef PROTO_DIST_COOKIE_H
#define PROTO_DIST_COOKIE_H
/* cookie: the secret that all nodes of a cluster share, and the proof of knowing it: MD5 of the cookie followed by the other side's
 * challenge in decimal (erl_dist_protocol, "Distribution Handshake", gen_digest()). A cookie is the only authentication of the protocol,
 * and whoever records a handshake can guess at it in peace; therefore weak ones are refused. */
#include "base/digest.h"

#define DIST_COOKIE_MAX      255u /* bytes: in OTP it is an atom */
#define DIST_COOKIE_BITS_MIN 90u  /* the least strength that is accepted; what OTP generates, 20 capital letters, has 94 */
#define DIST_COOKIE_DIGEST   16u  /* bytes of a proof */

/* The cookie in the contents of a cookie file: one line of printable ASCII (0x20 to 0x7e, as OTP's auth module takes it), a line end after
 * it dropped. *out is a part of file. ERR_INVALID: nothing there, another byte, or more than one line; ERR_LIMIT: more than
 * DIST_COOKIE_MAX bytes. */
NODISCARD err dist_cookie_parse(slice file, slice *out);
/* An estimate of the strength in bits, rounded down: length times the logarithm of the alphabet that the characters seem to be drawn from.
 * What repeats, runs in sequence (aaaa, 1234) or uses few different characters counts for less. An estimate from above: a sentence of a
 * book passes. */
unsigned dist_cookie_bits(slice cookie);
/* ERR_INVALID, ERR_LIMIT as dist_cookie_parse; ERR_AUTH: weaker than DIST_COOKIE_BITS_MIN. */
NODISCARD err dist_cookie_check(slice cookie);

/* The proof of knowing cookie (at most DIST_COOKIE_MAX bytes) for a challenge. */
void dist_cookie_digest(slice cookie, uint32_t challenge, uint8_t out[DIST_COOKIE_DIGEST]);
/* Is digest the proof? In time that depends on its length only. */
bool dist_cookie_proves(slice cookie, uint32_t challenge, slice digest);

#endif
