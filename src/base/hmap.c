/* hmap: the intrusive chained hash table of hash.h.
 *
 *     bucket i    of 2^k       [ a -> b -> c ]
 *                              /            \            growing splits a chain in order, shrinking joins two neighbours
 *     2i, 2i+1    of 2^(k+1)  [ a -> c ]    [ b ]
 *
 * The bucket is the TOP k bits of hash * phi. Multiplying spreads hashes that are consecutive integers; taking the top bits makes the two
 * halves of a bucket neighbours, so that shrinking keeps the order of iteration exactly: the current entry may be removed in the midst of a
 * walk, the map may shrink under it, and still no entry is seen twice or missed.
 *
 * Invariants: (1) buckets is NULL exactly while count is 0. (2) The number of buckets is a power of two, at least BUCKETS_MIN.
 * (3) buckets / SPARSE <= count <= buckets, after every call, where there are more than BUCKETS_MIN of them. (4) A chain is in order of
 * insertion, as far as no joining of chains came between. (5) No address decides anything. */
#include "base/hash.h"
#include "base/mem.h"

#define BUCKETS_MIN 8
#define SPARSE      8 /* shrink when fewer than one bucket in SPARSE would be used */

static inline size_t bucket_of(size_t mask, uint64_t hash) {
    return (size_t)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> __builtin_clzll(mask));
}

void hmap_init(hmap *m) { *m = (hmap){0}; }

void hmap_fini(hmap *m) {
    mem_free(m->buckets);
    hmap_init(m);
}

static hmap_node **tail_of(hmap_node **chain) {
    while (*chain) chain = &(*chain)->next;
    return chain;
}

static void double_buckets(hmap *m) {
    size_t mask = m->mask * 2 + 1;
    hmap_node **to = mem_zalloc((mask + 1) * sizeof(hmap_node *));
    for (size_t i = 0; i <= m->mask; i++) {
        hmap_node **tail[2] = {&to[2 * i], &to[2 * i + 1]};
        for (hmap_node *n = m->buckets[i]; n; n = n->next) {
            size_t half = bucket_of(mask, n->hash) & 1;
            *tail[half] = n;
            tail[half] = &n->next; /* overwritten by a later entry only, or below, at the end of the chain */
        }
        *tail[0] = NULL;
        *tail[1] = NULL;
    }
    mem_free(m->buckets);
    m->buckets = to;
    m->mask = mask;
}

static void halve_buckets(hmap *m) {
    for (size_t i = 0; i <= m->mask / 2; i++) {
        hmap_node *second = m->buckets[2 * i + 1];
        m->buckets[i] = m->buckets[2 * i]; /* 2i >= i: nothing is overwritten before it was read */
        *tail_of(&m->buckets[i]) = second;
    }
    m->mask /= 2;
    m->buckets = mem_realloc(m->buckets, (m->mask + 1) * sizeof(hmap_node *));
}

void hmap_insert(hmap *m, hmap_node *n, uint64_t hash) {
    if (!m->buckets) {
        m->buckets = mem_zalloc(BUCKETS_MIN * sizeof(hmap_node *));
        m->mask = BUCKETS_MIN - 1;
    } else if (m->count > m->mask) {
        double_buckets(m);
    }
    n->hash = hash;
    n->next = NULL;
    *tail_of(&m->buckets[bucket_of(m->mask, hash)]) = n;
    m->count++;
}

void hmap_remove(hmap *m, hmap_node *n) {
    if (!m->buckets) panic("hmap_remove from an empty map");
    hmap_node **at = &m->buckets[bucket_of(m->mask, n->hash)];
    while (*at && *at != n) at = &(*at)->next;
    if (!*at) panic("hmap_remove of an entry that is not in the map");
    *at = n->next;
    n->next = NULL;
    m->count--;
    if (m->count == 0) {
        hmap_fini(m);
    } else if (m->mask >= BUCKETS_MIN && m->count < (m->mask + 1) / SPARSE) {
        halve_buckets(m);
    }
}

static hmap_node *same_hash(hmap_node *n, uint64_t hash) {
    while (n && n->hash != hash) n = n->next;
    return n;
}

hmap_node *hmap_find(const hmap *m, uint64_t hash) { return m->buckets ? same_hash(m->buckets[bucket_of(m->mask, hash)], hash) : NULL; }

hmap_node *hmap_find_next(const hmap_node *n) { return same_hash(n->next, n->hash); }

/* The first entry in bucket i or after it. */
static hmap_node *first_from(const hmap *m, size_t i) {
    for (; i <= m->mask; i++)
        if (m->buckets[i]) return m->buckets[i];
    return NULL;
}

hmap_node *hmap_first(const hmap *m) { return m->buckets ? first_from(m, 0) : NULL; }

hmap_node *hmap_next(const hmap *m, const hmap_node *n) { return n->next ? n->next : first_from(m, bucket_of(m->mask, n->hash) + 1); }

void hmap_chains_count(hmap_chains *s, size_t len) {
    if (!len) return;
    unsigned k = 63u - (unsigned)__builtin_clzll(len);
    s->of_len[k < HMAP_CHAIN_BUCKETS ? k : HMAP_CHAIN_BUCKETS - 1]++;
    s->entries += len;
    s->used++;
    if (len > s->longest) s->longest = len;
}

size_t hmap_chains_add(const hmap *m, size_t from, size_t max, hmap_chains *s) {
    if (!m->buckets) return m->mask + 1;
    size_t i = from;
    for (; i <= m->mask && i - from < max; i++) {
        size_t len = 0;
        for (const hmap_node *n = m->buckets[i]; n; n = n->next) len++;
        hmap_chains_count(s, len);
    }
    return i;
}

void hmap_stat(const hmap *m, size_t *out_longest, size_t *out_used) {
    hmap_chains s = {0};
    (void)hmap_chains_add(m, 0, m->mask + 1, &s); /* all: there is nothing to go on with */
    *out_longest = s.longest;
    *out_used = s.used;
}
