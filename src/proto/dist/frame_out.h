#ifndef PROTO_DIST_FRAME_OUT_H
#define PROTO_DIST_FRAME_OUT_H
/* frame_out: the sending end of a connection after its handshake: signals in, frames out, in the form that was agreed.
 *
 *     dist_ctl --choose--> op --write, with the cache--> { length, header, control message, a short payload } to a buf
 *                                                         + what is left of the payload as a slice, never copied
 *
 * A long payload goes in fragments of 64 KiB if they were agreed (OTP: erl_ext_dist, "Distribution Header for fragmented messages"), one at
 * a time: what others have to say, and ticks, may be written between them, and only the next signal of the same sender has to wait.
 * Invariants: (1) what is appended is sent, in the order of these calls: a header says what the peer's cache holds from then on; but for
 * what is written apart. (2) on an error nothing was appended and the cache is as the peer knows it. */
#include "proto/dist/ctl.h"
#include "proto/dist/frame.h"

#define DIST_FRAGMENT_BYTES 65536u /* of payload in a fragment, as OTP has it (erts: ERTS_DIST_FRAGMENT_SIZE) */
#define DIST_SHORT          4096u  /* bytes of a payload that is copied behind its control message */

typedef struct dist_out {
    uint64_t agreed;
    bool headers, fragmenting; /* as agreed */
    uint32_t
        rewrite_max; /* bytes of a payload that is gone through for atoms that the cache has, at most DIST_SHORT: the caller's choice */
    dist_cache_out cache;
} dist_out;

/* A message of which fragments are still to be written; left is 0 if there are none. */
typedef struct dist_split {
    uint64_t sequence;
    uint64_t left; /* fragments */
    slice rest;    /* of the payload, borrowed until left is 0 */
} dist_split;

/* agreed: dist_flags_common. hot: as in dist_cache_out_init. rewrite_max becomes DIST_SHORT: a third fewer bytes, and less to do for OTP,
 * whose atoms are numbers. Between nodes of ours the caller sets it to 0, since both ends are faster without: then only control messages
 * use the cache. */
void dist_out_init(dist_out *o, uint64_t agreed, const slice *hot, size_t hot_n);
void dist_out_fini(dist_out *o);
/* Writes a signal, or its first fragment. sequence: which message it is, if it is in fragments; another than that of any other that is
 * under way, as the number of its sender. *out_rest: bytes of c's payload (or reason) that have to follow what was appended to `to`.
 * ERR_UNSUPPORTED, ERR_BUG, ERR_INVALID: as dist_ctl_choose and dist_ctl_write; ERR_LIMIT: past the limit of `to`, or 4 GiB. */
NODISCARD err dist_out_signal(dist_out *o, const dist_ctl *c, uint64_t sequence, buf *to, slice *out_rest, dist_split *out_split);
/* The same for a message whose place is not known yet: it refers to no atom of the cache, so `to`, another buf than the connection's, can
 * be written at any later time, at once or never. Before what follows it, and its fragments after it, there may be others. */
NODISCARD err dist_out_apart(const dist_out *o, const dist_ctl *c, uint64_t sequence, buf *to, slice *out_rest, dist_split *out_split);
/* Writes the next fragment; *out_rest as above. s->left > 0. ERR_LIMIT: past the limit of `to`; nothing was appended. */
NODISCARD err dist_out_fragment(dist_split *s, buf *to, slice *out_rest);

#endif
