#ifndef PROTO_ETF_REWRITE_H
#define PROTO_ETF_REWRITE_H
/* rewrite: etf_copy of a term that comes in pieces, cut anywhere: each piece costs what its bytes cost, and once the last one is in, the
 * term is there. So nobody has to go through a hundred megabytes in one go.
 *
 * Invariants: (1) what comes out, and what is refused in the end, is the same as with etf_copy of all pieces together; but an item other
 * than a binary whose bytes came in more than ETF_REWRITE_KEPT of them is refused. (2) memory besides `out`: the item that is cut, and an
 * entry for each level of depth. */
#include "proto/etf/etf.h"

#define ETF_REWRITE_KEPT (8u << 20) /* bytes of an item that is cut: more than the longest integer of OTP has */

typedef struct etf_rewrite etf_rewrite;
etf_rewrite *etf_rewrite_new(void);
void etf_rewrite_free(etf_rewrite *w); /* NULL is fine */
/* The next piece; what is whole of it is appended to out, always the same one. last: nothing follows. False: it is not one term, and not
 * the beginning of one, or out is full (buf_ok); nothing may follow. A fault may be found later than where it is, at the last piece at the
 * latest. atoms: as in etf_reader, the same each time. */
NODISCARD bool etf_rewrite_feed(etf_rewrite *w, const etf_atoms *atoms, slice piece, bool last, buf *out);
size_t etf_rewrite_kept(const etf_rewrite *w); /* bytes of an item that is cut */

#endif
