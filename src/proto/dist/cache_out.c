/* cache_out: the slots that this end fills, and the headers that say so.
 *
 *     slot   0 .. 31    the caller's hot atoms, which never leave
 *           32 .. 159   the others: one slot for each hash, the newest text wins
 *
 * Why so few: a slot pays off when its text comes again soon, the names that do are few, and there are thousands of connections. All of
 * it is in segment 0, so that a reference is a nibble and a byte.
 * The hash is quick and not secret: whoever finds two names of the same one makes them be sent again, no more.
 *
 * Invariants: (1) a text is in at most one slot. (2) a slot that the header under way names is not replaced until it is written. (3) sent
 * says what the peer will know; abort takes back what it will not. */
#include "base/load.h"
#include "base/mem.h"
#include "proto/dist/cache.h"

#define HOT_BUCKETS 64u /* twice as many as hot atoms: a search ends soon */
#define HOT_NONE    0xffu
#define NIBBLE_NEW  8u

typedef struct warm {
    uint8_t len; /* 0: empty */
    uint8_t text[DIST_WARM_TEXT];
} warm;
_Static_assert(sizeof(warm) == 32, "two to a cache line");

struct dist_slots {
    uint8_t hot_at[HOT_BUCKETS];               /* number of a hot atom by its hash, then in the buckets that follow */
    uint64_t sent[(DIST_OUT_SLOTS + 63) / 64]; /* the peer has what is in the slot */
    warm other[DIST_WARM];
};

static inline bool bit(const uint64_t *set, unsigned i) { return set[i / 64] >> i % 64 & 1; }
static inline void bit_set(uint64_t *set, unsigned i) { set[i / 64] |= UINT64_C(1) << i % 64; }
static inline void bit_clear(uint64_t *set, unsigned i) { set[i / 64] &= ~(UINT64_C(1) << i % 64); }

/* The first, the last and the middle bytes and the length. len > 0. */
static uint32_t hash_of(slice s) {
    uint64_t a, b;
    if (s.len >= 8) {
        a = load_u64le(s.p);
        b = load_u64le(s.p + s.len - 8) ^ load_u64le(s.p + s.len / 2 - 4) << 1;
    } else {
        a = (uint64_t)s.p[0] << 16 | (uint64_t)s.p[s.len / 2] << 8 | s.p[s.len - 1];
        b = s.len > 3 ? (uint64_t)s.p[1] << 8 | s.p[s.len - 2] : 0;
    }
    uint64_t h = (a ^ s.len) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ b) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h >> 32);
}

void dist_cache_out_init(dist_cache_out *c, const slice *hot, size_t hot_n) {
    if (!check(hot_n <= DIST_HOT_MAX)) hot_n = DIST_HOT_MAX;
    *c = (dist_cache_out){.hot = hot, .hot_n = (uint32_t)hot_n};
}

void dist_cache_out_fini(dist_cache_out *c) {
    mem_free(c->slots);
    c->slots = NULL;
}

void dist_cache_out_idle(dist_cache_out *c) { dist_cache_out_fini(c); }

/* The bucket of a hot atom, or of nothing where it would be. */
static unsigned hot_bucket(const dist_cache_out *c, slice text, uint32_t hash) {
    unsigned b = hash % HOT_BUCKETS;
    while (c->slots->hot_at[b] != HOT_NONE && !slice_eq(c->hot[c->slots->hot_at[b]], text)) b = (b + 1) % HOT_BUCKETS;
    return b;
}

static void make_slots(dist_cache_out *c) {
    c->slots = mem_zalloc(sizeof *c->slots);
    memset(c->slots->hot_at, HOT_NONE, sizeof c->slots->hot_at);
    for (uint32_t i = 0; i < c->hot_n; i++) {
        slice text = c->hot[i];
        if (text.len == 0 || text.len > UINT8_MAX) continue; /* it would need LongAtoms, for all of its header */
        unsigned b = hot_bucket(c, text, hash_of(text));
        if (c->slots->hot_at[b] == HOT_NONE) c->slots->hot_at[b] = (uint8_t)i;
    }
}

void dist_head_begin(dist_head *h, dist_cache_out *c) {
    h->cache = c;
    h->n = 0;
    memset(h->at, 0, sizeof h->at);
    memset(h->is_new, 0, sizeof h->is_new);
    h->bare = c->rest > 0;
    if (h->bare)
        c->rest--;
    else if (!c->slots)
        make_slots(c);
}

static inline bool named(const dist_head *h, unsigned slot) { return h->at[slot] < h->n && h->slot[h->at[slot]] == slot; }

/* Names a slot whose text is right. */
static uint8_t name_slot(dist_head *h, unsigned slot) {
    if (named(h, slot)) return h->at[slot];
    uint64_t *sent = h->cache->slots->sent;
    uint8_t ref = h->n++;
    h->slot[ref] = (uint8_t)slot;
    h->at[slot] = ref;
    if (!bit(sent, slot)) {
        bit_set(h->is_new, ref);
        bit_set(sent, slot);
    }
    return ref;
}

bool dist_head_ref(dist_head *h, slice text, uint8_t *out_ref) {
    const dist_cache_out *c = h->cache;
    if (h->bare || text.len == 0) return false; /* an empty one is no longer in full than as a reference */
    for (unsigned i = 0; i < 2 && i < c->hot_n; i++)
        if (c->hot[i].p == text.p && c->hot[i].len == text.len && text.len <= UINT8_MAX) {
            *out_ref = name_slot(h, i);
            return true;
        }
    uint32_t hash = hash_of(text);
    uint8_t hot = c->slots->hot_at[hot_bucket(c, text, hash)];
    if (hot != HOT_NONE) {
        *out_ref = name_slot(h, hot);
        return true;
    }
    if (text.len > DIST_WARM_TEXT) return false;
    unsigned i = hash / HOT_BUCKETS % DIST_WARM, slot = DIST_HOT_MAX + i;
    warm *w = &c->slots->other[i];
    if (!slice_eq(slice_of(w->text, w->len), text)) {
        if (named(h, slot)) return false;
        w->len = (uint8_t)text.len;
        memcpy(w->text, text.p, text.len);
        bit_clear(c->slots->sent, slot);
    }
    *out_ref = name_slot(h, slot);
    return true;
}

static slice text_of(const dist_head *h, unsigned slot) {
    if (slot < DIST_HOT_MAX) return h->cache->hot[slot];
    const warm *w = &h->cache->slots->other[slot - DIST_HOT_MAX];
    return slice_of(w->text, w->len);
}

size_t dist_head_size(const dist_head *h) {
    if (h->n == 0) return 1;
    size_t size = 1 + h->n / 2u + 1 + h->n;
    for (unsigned i = 0; i < h->n; i++)
        if (bit(h->is_new, i)) size += 1 + text_of(h, h->slot[i]).len;
    return size;
}

void dist_head_write(const dist_head *h, uint8_t *to) {
    *to++ = h->n;
    if (h->n == 0) return;
    size_t flags = h->n / 2u + 1;
    memset(to, 0, flags);
    for (unsigned i = 0; i < h->n; i++)
        if (bit(h->is_new, i)) to[i / 2] |= (uint8_t)(NIBBLE_NEW << i % 2 * 4);
    to += flags;
    for (unsigned i = 0; i < h->n; i++) {
        *to++ = h->slot[i];
        if (!bit(h->is_new, i)) continue;
        slice text = text_of(h, h->slot[i]);
        *to++ = (uint8_t)text.len;
        memcpy(to, text.p, text.len);
        to += text.len;
    }
}

void dist_head_abort(dist_head *h) {
    for (unsigned i = 0; i < h->n; i++)
        if (bit(h->is_new, i)) bit_clear(h->cache->slots->sent, h->slot[i]);
    h->n = 0;
}
