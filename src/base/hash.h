#ifndef BASE_HASH_H
#define BASE_HASH_H
/* hash: SipHash-1-3 (Aumasson, Bernstein) with a 128-bit key, and an intrusive chained hash table over it.
 *
 * Keys that a peer can choose are hashed with a key drawn per node, so that nobody can build a chain. What must agree between nodes and
 * restarts (partition of a user) uses a key that is a documented constant. Two levels never share a key (system.md G6). */
#include "base/slice.h"

typedef struct hash_key {
    uint64_t k0, k1;
} hash_key;

uint64_t hash_bytes(const hash_key *k, slice s);
void hash_bytes128(const hash_key *k, slice s, uint64_t out[2]);
uint64_t hash_u64(uint64_t x); /* a mixer (splitmix64 finaliser) for trusted integers */

/* hmap: buckets of singly-linked nodes; the owner embeds hmap_node and compares its own key. Grows by doubling; shrinks when an eighth
 * full. A map of zero entries owns no memory. Iteration order is by bucket and insertion, never by address. */
typedef struct hmap_node hmap_node;
struct hmap_node {
    hmap_node *next; /* next in the chain */
    uint64_t hash;   /* full hash, as given to hmap_insert */
};
typedef struct hmap {
    hmap_node **buckets; /* mask + 1 chains, NULL while empty */
    size_t mask;         /* number of buckets - 1 */
    size_t count;        /* entries */
} hmap;

void hmap_init(hmap *m);
void hmap_fini(hmap *m); /* frees the buckets, not the entries */
void hmap_insert(hmap *m, hmap_node *n, uint64_t hash);
void hmap_remove(hmap *m, hmap_node *n);
/* The first entry with this hash, then the next one with the same hash; NULL at the end. */
hmap_node *hmap_find(const hmap *m, uint64_t hash);
hmap_node *hmap_find_next(const hmap_node *n);
/* Iterates over all: hmap_first(m), then hmap_next(m, n). The map must not change between, except that the current entry may be removed
 * if hmap_next was called for it before. */
hmap_node *hmap_first(const hmap *m);
hmap_node *hmap_next(const hmap *m, const hmap_node *n);
/* Chain-length statistics: longest chain and number of non-empty buckets. */
void hmap_stat(const hmap *m, size_t *out_longest, size_t *out_used);
/* The same, a part at a time: adds the buckets from `from` on to *s, at most max of them, and returns the bucket to go on with; m->mask +
 * 1: that was all. s starts zeroed. A map that grew or shrank meanwhile (another mask) has to be looked at again from the start. */
#define HMAP_CHAIN_BUCKETS 16u
typedef struct hmap_chains {
    size_t entries, used, longest;     /* seen; buckets that are not empty; the longest chain */
    size_t of_len[HMAP_CHAIN_BUCKETS]; /* [k]: chains of 2^k to 2^(k+1)-1 entries; the last one has no end */
} hmap_chains;
size_t hmap_chains_add(const hmap *m, size_t from, size_t max, hmap_chains *s);
void hmap_chains_count(hmap_chains *s, size_t len); /* one chain, of whatever table; 0: an empty bucket, which is not counted */

#endif
