#ifndef PROTO_DIST_CACHE_H
#define PROTO_DIST_CACHE_H
/* cache: the atom caches of a connection (OTP: erl_ext_dist, "Distribution Header"). Each direction has 2048 slots that the sender fills as
 * it likes: the header of a message names the slots that its terms refer to, and brings the text of those that are new. Tag 82 and a byte i
 * in a term stand for reference i of the header.
 *
 * Receiving: a slot has its text; only slots that are used cost anything. Connections of one thread may share texts, most of which are the
 * same on all of them (dist_atoms). Nothing becomes an atom of the node, and everything counts against a limit. Sending: far fewer slots,
 * which are enough for names that come again and again. After a reconnect both begin empty. */
#include "base/buf.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "proto/etf/etf.h"

#define DIST_CACHE_SEGMENTS 8u
#define DIST_CACHE_SEGMENT  256u /* slots */
#define DIST_CACHE_SLOTS    (DIST_CACHE_SEGMENTS * DIST_CACHE_SEGMENT)
#define DIST_REFS_MAX       255u /* references in a header */

/* The atoms of one header. */
typedef struct dist_refs {
    size_t n;
    slice atom[DIST_REFS_MAX]; /* [n..] is not set */
} dist_refs;
static inline etf_atoms dist_refs_atoms(const dist_refs *r) { return (etf_atoms){r->atom, r->n}; }

/* --- receiving
 * Invariants: (1) headers are applied in the order in which their frames came, also of messages that are dropped. (2) bytes <= bytes_max.
 * (3) the text of an atom does not change or go while it is held, or until the next header. */
typedef struct dist_atom dist_atom;
typedef struct dist_atoms { /* texts that several caches have, once; used by one thread */
    hash_key key;           /* peers choose the texts */
    hmap by_text;
} dist_atoms;
void dist_atoms_init(dist_atoms *a, const hash_key *key);
void dist_atoms_fini(dist_atoms *a); /* no cache has any of them any more */

typedef struct dist_cache_in {
    dist_atom **at;       /* a hash table by slot: cap atoms, then the cap slots that they are in, plus one; NULL: no slot was used */
    dist_atoms *shared;   /* where texts are kept; NULL: they are this cache's own */
    dist_atom **replaced; /* what the last header replaced: its references may point there; n_replaced of them */
    uint32_t n_replaced;
    uint16_t n, cap;    /* slots in use; places: a power of two, or 0 */
    uint32_t bytes;     /* allocated, shared texts in full */
    uint32_t bytes_max; /* limit on bytes */
} dist_cache_in;

/* bytes_max: less than 4 GiB. */
void dist_cache_in_init(dist_cache_in *c, size_t bytes_max);
void dist_cache_in_share(dist_cache_in *c, dist_atoms *shared); /* before it is used; shared lives longer than the cache */
void dist_cache_in_fini(dist_cache_in *c);                      /* nothing is held any more; c is as after init */
/* Reads a header, from its number of references on, and applies it. The atoms in *out are valid until the next call. ERR_PROTO: malformed,
 * a slot that is empty, a text that is no atom; ERR_LIMIT: past bytes_max. *out_why is then a sentence without its full stop, a literal;
 * the connection has to be closed, because the two ends no longer mean the same. */
NODISCARD err dist_cache_in_apply(dist_cache_in *c, cursor *in, dist_refs *out, const char **out_why);
/* Keeps the atoms of a header until they are released: for a message of which more is to come. held: room for r->n. They count against the
 * limit no more when their slots have others. */
void dist_cache_in_hold(const dist_refs *r, dist_atom **held);
void dist_cache_in_held(dist_atom *const *held, size_t n, dist_refs *out); /* as references again */
void dist_cache_in_release(dist_cache_in *c, dist_atom *const *held, size_t n);

/* --- sending
 * Invariants: (1) a slot that is marked as sent holds at the receiver what it holds here, once the headers written so far have been sent,
 * in this order: a message is written when its turn has come, and is sent. (2) no header names a slot twice. */
#define DIST_HOT_MAX   32u  /* slots for atoms that the caller names */
#define DIST_WARM      128u /* slots for others, by hash */
#define DIST_WARM_TEXT 31u  /* bytes of the longest of them */
#define DIST_OUT_SLOTS (DIST_HOT_MAX + DIST_WARM)
_Static_assert(DIST_OUT_SLOTS <= DIST_REFS_MAX && DIST_OUT_SLOTS <= DIST_CACHE_SEGMENT, "a header can name them all, by a byte each");

typedef struct dist_slots dist_slots;
typedef struct dist_cache_out {
    const slice *hot; /* the caller's, as long as this lives */
    uint32_t hot_n;
    uint32_t rest;     /* messages that still have to go without slots, so that a connection that says little costs both ends no cache:
                          the caller's choice after init, which sets 0 */
    dist_slots *slots; /* NULL until the first message that may use them */
} dist_cache_out;

/* hot: at most DIST_HOT_MAX atoms that are in almost every message; the node's own name first and the peer's next are found soonest. */
void dist_cache_out_init(dist_cache_out *c, const slice *hot, size_t hot_n);
void dist_cache_out_fini(dist_cache_out *c);
/* Gives its memory back, when nothing is likely to be said soon: what is said then brings its texts anew. No message is being written. */
void dist_cache_out_idle(dist_cache_out *c);

/* A message that is being written: what its header will say. */
typedef struct dist_head {
    dist_cache_out *cache;
    bool bare;                                   /* without references: the cache rests */
    uint8_t n;                                   /* references */
    uint8_t slot[DIST_OUT_SLOTS];                /* of each */
    uint8_t at[DIST_OUT_SLOTS];                  /* the reference of a slot, if slot[at] is that slot and at < n */
    uint64_t is_new[(DIST_OUT_SLOTS + 63) / 64]; /* by reference: its text goes with it */
} dist_head;

void dist_head_begin(dist_head *h, dist_cache_out *c);
/* The reference for an atom, which is put into the header; false: this one is written in full. */
NODISCARD bool dist_head_ref(dist_head *h, slice text, uint8_t *out_ref);
size_t dist_head_size(const dist_head *h);
void dist_head_write(const dist_head *h, uint8_t *to); /* dist_head_size bytes */
void dist_head_abort(dist_head *h);                    /* the message will not be sent: what is new in it was not sent */

/* --- writing terms with or without a cache */
typedef struct dist_pen {
    buf *out;
    dist_head *head; /* NULL: every atom in full */
} dist_pen;
void dist_put_atom(dist_pen *p, slice text);
void dist_put_pid(dist_pen *p, const etf_pid *pid);
void dist_put_ref(dist_pen *p, const etf_ref *ref);
/* One term that was written without a cache, with one. ERR_INVALID: it is not one term. Texts of atoms are not checked again. What is
 * inside a fun stays as it is. */
NODISCARD err dist_put_term(dist_pen *p, slice term);

#endif
