#ifndef PROTO_DIST_FLAGS_H
#define PROTO_DIST_FLAGS_H
/* flags: the 64 capability bits that both sides of a connection say in its handshake (erl_dist_protocol, "Distribution Flags"). What may be
 * used on the connection is what both have. Bits that nobody has named yet are kept out of it and otherwise ignored. */
#include "base/buf.h"

/* DIST_BIT_x: the number of a bit. */
typedef enum dist_flag_bit {
#define DIST_FLAG_DEF(bit, name, m25, m26, offered) DIST_BIT_##name = bit,
#include "proto/dist/flags.def"
#undef DIST_FLAG_DEF
} dist_flag_bit;

/* The mask of one flag: DIST_FLAG(SPAWN). */
#define DIST_FLAG(name) (UINT64_C(1) << DIST_BIT_##name)

uint64_t dist_flags_offered(void);      /* what a murre node offers; a switch of the caller may clear bits that are not demanded */
uint64_t dist_flags_mandatory_25(void); /* what MANDATORY_25_DIGEST stands for */
uint64_t dist_flags_mandatory_26(void); /* what OTP 26 and later demand besides */
/* What we demand of a peer: what every OTP since 23 sends, the handshake of OTP 23 among it. All else is a capability that may be absent.
 */
uint64_t dist_flags_demanded(void);

/* flags as a peer sent them, with MANDATORY_25_DIGEST replaced by what it stands for added. */
uint64_t dist_flags_expand(uint64_t flags);
/* What both can do, MANDATORY_25_DIGEST expanded on both sides. NAME_ME is a question, not a capability, and is never in it. */
uint64_t dist_flags_common(uint64_t ours, uint64_t theirs);
/* What is demanded and absent from flags as a peer sent them; 0: nothing. */
uint64_t dist_flags_missing(uint64_t flags);

/* The name without prefix ("SPAWN"), NULL if the bit has none. */
const char *dist_flags_name(unsigned bit);
/* Appends the names with '|' between them, a bit without a name as "bit 40", and "none" for 0. */
void dist_flags_print(buf *out, uint64_t flags);

#endif
