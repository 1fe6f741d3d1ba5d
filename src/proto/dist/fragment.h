#ifndef PROTO_DIST_FRAGMENT_H
#define PROTO_DIST_FRAGMENT_H
/* fragment: messages in pieces (OTP: erl_ext_dist, "Distribution Header for fragmented messages"), so that a long one does not hold up what
 * comes after it. The first fragment has the header, the whole control message and a part of the payload; the others have more of the
 * payload. Their numbers count down to 1. Fragments of different messages, and whole messages, may come in any mixture.
 *
 * The payload can be rewritten as it comes (front), so that a long one is not gone through when it is whole: each fragment costs what its
 * bytes cost, and the last one no more than another.
 *
 * Here is the receiving end; for the sending one, see frame_out.h.
 * Invariants: (1) bytes <= bytes_max, and no message is longer than message_max, and there are at most messages_max that are not whole.
 * (2) a fragment that is not the next of its message, or of none, is refused, as is the first of a message that is under way.
 * (3) memory is at most four times what came, and what a message costs before its first byte (less than 1 KiB with its references; if it
 * is rewritten, some 500 bytes more, and its atoms count with their texts). */
#include "base/hash.h"
#include "proto/dist/cache.h"
#include "proto/etf/rewrite.h"

typedef struct dist_fragments_cfg {
    uint32_t messages_max; /* that are not whole, at a time */
    size_t message_max;    /* bytes of one: control message and payload */
    size_t bytes_max;      /* of all together */
    hash_key key;          /* the peer chooses the sequences: drawn per node */
    size_t front;          /* not 0: payloads are rewritten (proto/etf/rewrite.h), with so many bytes of room before them */
} dist_fragments_cfg;

typedef struct dist_part dist_part; /* a message that is not whole yet */
typedef struct dist_fragments {
    const dist_fragments_cfg *cfg;
    dist_cache_in *cache; /* of the connection: owns the atoms that messages hold */
    hmap parts;           /* by sequence */
    size_t bytes;         /* of all, with the texts of the atoms that they hold */
    dist_part *whole;     /* the one that was handed out last */
} dist_fragments;

void dist_fragments_init(dist_fragments *f, const dist_fragments_cfg *cfg, dist_cache_in *cache);
void dist_fragments_fini(dist_fragments *f); /* drops everything; before dist_cache_in_fini */
/* The first fragment: body is what follows its header, which is applied already, and refs the atoms of it. *out_whole: the message has no
 * more fragments; see dist_fragments_whole. ERR_PROTO: out of order, or the control message is not whole; ERR_LIMIT. *out_why is then a
 * sentence without its full stop, a literal, and the connection has to be closed. */
NODISCARD err dist_fragments_first(dist_fragments *f, uint64_t sequence, uint64_t number, slice body, const dist_refs *refs,
                                   bool *out_whole, const char **out_why);
/* A piece of another fragment. begins, more: as in dist_frame. */
NODISCARD err dist_fragments_next(dist_fragments *f, uint64_t sequence, uint64_t number, slice piece, bool begins, bool more,
                                  bool *out_whole, const char **out_why);
/* The message that became whole in the call before: the bytes of control message and payload, and its atoms. Valid until the next call. If
 * payloads are rewritten it is the control message only, and *out_payload the payload without its version byte; else that is absent. */
slice dist_fragments_whole(dist_fragments *f, dist_refs *out_refs, slice *out_payload);
void dist_fragments_done(dist_fragments *f); /* frees that message, if there is one */
/* The caller gets the memory of these bytes (mem_free), which stay where they are; not of a payload that was rewritten. */
NODISCARD bool dist_fragments_take(dist_fragments *f, uint8_t **out_p);
/* The caller gets the memory of such a payload (mem_free), in which it stays: cfg.front bytes, the version byte, the term; *out_len of all.
 */
NODISCARD bool dist_fragments_take_payload(dist_fragments *f, uint8_t **out_p, size_t *out_len);
static inline size_t dist_fragments_open(const dist_fragments *f) { return f->parts.count; }

#endif
