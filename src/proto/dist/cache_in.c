/* cache_in: the atoms that the peer put into its slots.
 *
 *     header:  N  nibbles (new:1 segment:3), one for each reference and one for LongAtoms  { index:8 [length:8 or 16, text] } x N
 *
 *     slot 0..2047 --> place, the first free one from its hash on --> atom { holders, length, text } <-- by text: dist_atoms
 *                                                                      ^ held by the slot, and by each message of which fragments are to
 * come
 *
 * Why a hash table: a peer uses a few dozen of 2048 slots, and there are thousands of connections, most of which are idle.
 * Why atoms are counted and not copied into such a message: a reference costs the peer a byte and a half, a copy of a text would cost us a
 * thousand. Why what is replaced stays until the next header: a header may refer to a slot and then replace it.
 *
 * Invariants: (1) bytes is what the places cost and all atoms in slots and in `replaced`; who holds one counts it himself. (2) an atom is
 * in a slot, in `replaced`, or held by somebody; holders counts these, in all caches that share it. (3) a slot that was used stays in its
 * place. */
#include "base/mem.h"
#include "proto/dist/cache.h"

#define NIBBLE_NEW     8u
#define NIBBLE_SEGMENT 7u
#define NIBBLE_LONG    1u /* in the nibble after the last reference */
#define CAP_MIN        8u

struct dist_atom {
    hmap_node by_text; /* shared: in dist_atoms */
    uint32_t holders;
    uint32_t len;
    uint8_t text[];
};

static inline size_t cost_of(size_t len) { return sizeof(dist_atom) + len; }
/* The atom that a text of ours lies in; slices are of const bytes, what they lie in is ours to count. */
static inline dist_atom *atom_of(slice text) { return (dist_atom *)(uintptr_t)(text.p - offsetof(dist_atom, text)); }
static inline slice atom_text(const dist_atom *a) { return slice_of(a->text, a->len); }

/* --- texts ------------------------------------------------------------------------------------------------------------------------ */
void dist_atoms_init(dist_atoms *a, const hash_key *key) {
    a->key = *key;
    hmap_init(&a->by_text);
}

void dist_atoms_fini(dist_atoms *a) {
    (void)check(a->by_text.count == 0); /* an atom is still held */
    hmap_fini(&a->by_text);
}

static dist_atom *find(const dist_atoms *a, slice text, uint64_t hash) {
    for (hmap_node *n = hmap_find(&a->by_text, hash); n; n = hmap_find_next(n)) {
        dist_atom *x = container_of(n, dist_atom, by_text);
        if (slice_eq(atom_text(x), text)) return x;
    }
    return NULL;
}

/* With one holder more. */
static dist_atom *take(const dist_cache_in *c, slice text) {
    uint64_t hash = c->shared ? hash_bytes(&c->shared->key, text) : 0;
    dist_atom *a = c->shared ? find(c->shared, text, hash) : NULL;
    if (!a) {
        a = mem_alloc(sizeof *a + text.len);
        *a = (dist_atom){.len = (uint32_t)text.len};
        if (text.len) memcpy(a->text, text.p, text.len);
        if (c->shared) hmap_insert(&c->shared->by_text, &a->by_text, hash);
    }
    a->holders++;
    return a;
}

static void drop(const dist_cache_in *c, dist_atom *a) {
    if (--a->holders) return;
    if (c->shared) hmap_remove(&c->shared->by_text, &a->by_text);
    mem_free(a);
}

/* --- slots ------------------------------------------------------------------------------------------------------------------------ */
static inline uint16_t *slots(const dist_cache_in *c) { return (uint16_t *)(void *)(c->at + c->cap); }
static inline size_t places_cost(size_t cap) { return cap * (sizeof(dist_atom *) + sizeof(uint16_t)); }

/* The place that a slot has, or would have; cap is not 0. */
static inline unsigned place(const dist_cache_in *c, unsigned slot) {
    const uint16_t *at = slots(c);
    unsigned i = slot * 0x9e37u >> 4 & (c->cap - 1u);
    while (at[i] && at[i] != slot + 1) i = (i + 1) & (c->cap - 1u);
    return i;
}

void dist_cache_in_init(dist_cache_in *c, size_t bytes_max) { *c = (dist_cache_in){.bytes_max = (uint32_t)bytes_max}; }
void dist_cache_in_share(dist_cache_in *c, dist_atoms *shared) { c->shared = shared; }

/* Out of this cache. */
static void forget(dist_cache_in *c, dist_atom *a) {
    c->bytes -= (uint32_t)cost_of(a->len);
    drop(c, a);
}

static void drop_replaced(dist_cache_in *c) {
    for (uint32_t i = 0; i < c->n_replaced; i++) forget(c, c->replaced[i]);
    mem_free(c->replaced);
    c->replaced = NULL;
    c->n_replaced = 0;
}

void dist_cache_in_fini(dist_cache_in *c) {
    drop_replaced(c);
    for (size_t i = 0; i < c->cap; i++)
        if (slots(c)[i]) forget(c, c->at[i]);
    c->bytes -= (uint32_t)places_cost(c->cap);
    mem_free(c->at);
    (void)check(c->bytes == 0);
    dist_atoms *shared = c->shared;
    dist_cache_in_init(c, c->bytes_max);
    c->shared = shared;
}

static bool allow(dist_cache_in *c, size_t n) {
    if (n > c->bytes_max - c->bytes) return false;
    c->bytes += (uint32_t)n;
    return true;
}

/* Room for one slot more; a quarter of the places stays free, so that searches are short. False: past the limit. */
static bool grow(dist_cache_in *c) {
    if (c->n < c->cap / 4u * 3u) return true;
    dist_cache_in old = *c;
    uint16_t cap = (uint16_t)(c->cap ? c->cap * 2u : CAP_MIN);
    if (!allow(c, places_cost(cap) - places_cost(old.cap))) return false;
    c->at = mem_zalloc(places_cost(cap));
    c->cap = cap;
    for (unsigned i = 0; i < old.cap; i++) {
        uint16_t slot = slots(&old)[i];
        if (!slot) continue;
        unsigned to = place(c, slot - 1u);
        slots(c)[to] = slot;
        c->at[to] = old.at[i];
    }
    mem_free(old.at);
    return true;
}

/* Out of a slot; still there for the header that is being read. */
static void put_aside(dist_cache_in *c, dist_atom *a) {
    if (!c->replaced) c->replaced = mem_alloc(DIST_REFS_MAX * sizeof *c->replaced); /* a header replaces no more */
    c->replaced[c->n_replaced++] = a;
}

/* Puts a new text into a slot. */
static err replace(dist_cache_in *c, unsigned slot, slice text, slice *out, const char **out_why) {
    if (!etf_is_atom(text)) {
        *out_why = "a text in the atom cache that is no atom";
        return ERR_PROTO;
    }
    if (!allow(c, cost_of(text.len))) {
        *out_why = "an atom cache larger than the limit";
        return ERR_LIMIT;
    }
    unsigned i = c->cap ? place(c, slot) : 0;
    bool used = c->cap && slots(c)[i];
    if (!used && !grow(c)) {
        c->bytes -= (uint32_t)cost_of(text.len);
        *out_why = "an atom cache larger than the limit";
        return ERR_LIMIT;
    }
    if (!used) i = place(c, slot);
    if (used)
        put_aside(c, c->at[i]);
    else
        c->n++;
    c->at[i] = take(c, text);
    slots(c)[i] = (uint16_t)(slot + 1);
    *out = atom_text(c->at[i]);
    return ERR_OK;
}

static const dist_atom *look(const dist_cache_in *c, unsigned slot) {
    if (UNLIKELY(!c->cap)) return NULL;
    unsigned i = place(c, slot);
    return LIKELY(slots(c)[i]) ? c->at[i] : NULL;
}

/* --- headers ---------------------------------------------------------------------------------------------------------------------- */
static bool read_text(cursor *in, bool is_long, slice *out) {
    uint16_t len = 0;
    uint8_t byte = 0;
    if (is_long ? !cursor_u16be(in, &len) : !cursor_u8(in, &byte)) return false;
    return cursor_bytes(in, is_long ? len : byte, out);
}

static inline unsigned nibble(slice nibbles, size_t i) { return (unsigned)(nibbles.p[i / 2] >> (i % 2 * 4)) & 15u; }

err dist_cache_in_apply(dist_cache_in *c, cursor *in, dist_refs *out, const char **out_why) {
    static const char cut[] = "a distribution header that is cut short";
    uint8_t n;
    slice nibbles;
    drop_replaced(c);
    out->n = 0;
    *out_why = cut;
    if (!cursor_u8(in, &n)) return ERR_PROTO;
    if (n == 0) return ERR_OK;
    if (!cursor_bytes(in, n / 2u + 1, &nibbles)) return ERR_PROTO;
    bool is_long = nibble(nibbles, n) & NIBBLE_LONG;
    for (size_t i = 0; i < n; i++) {
        unsigned what = nibble(nibbles, i);
        uint8_t index;
        if (!cursor_u8(in, &index)) return ERR_PROTO;
        unsigned slot = (what & NIBBLE_SEGMENT) * DIST_CACHE_SEGMENT + index;
        if (UNLIKELY(what & NIBBLE_NEW)) {
            slice text;
            if (!read_text(in, is_long, &text)) return ERR_PROTO;
            err e = replace(c, slot, text, &out->atom[i], out_why);
            if (e) return e;
            continue;
        }
        const dist_atom *a = look(c, slot);
        if (UNLIKELY(!a)) {
            *out_why = "a reference to an empty slot of the atom cache";
            return ERR_PROTO;
        }
        out->atom[i] = atom_text(a);
    }
    out->n = n;
    return ERR_OK;
}

void dist_cache_in_hold(const dist_refs *r, dist_atom **held) {
    for (size_t i = 0; i < r->n; i++) {
        held[i] = atom_of(r->atom[i]);
        held[i]->holders++;
    }
}

void dist_cache_in_held(dist_atom *const *held, size_t n, dist_refs *out) {
    for (size_t i = 0; i < n; i++) out->atom[i] = atom_text(held[i]);
    out->n = n;
}

void dist_cache_in_release(dist_cache_in *c, dist_atom *const *held, size_t n) {
    for (size_t i = 0; i < n; i++) drop(c, held[i]);
}
