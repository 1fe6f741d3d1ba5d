/* cache_in: the atoms that the peer put into its slots.
 *
 *     header:  N  nibbles (new:1 segment:3), one for each reference and one for LongAtoms  { index:8 [length:8 or 16, text] } x N
 *
 *     segment[0..7] --> 256 slots --> atom { holders, length, text }
 *                                        ^ held by the slot, and by each message of which fragments are to come
 *
 * Why atoms are counted and not copied into such a message: a reference costs the peer a byte and a half, a copy of a text would cost us a
 * thousand.
 * Why what is replaced stays until the next header: a header may refer to a slot and then replace it.
 *
 * Invariants: (1) bytes is what all segments and all atoms cost, those that are only held or replaced too. (2) an atom is in a slot, in
 * `replaced`, or held by somebody; holders counts these. */
#include "base/mem.h"
#include "proto/dist/cache.h"

#define NIBBLE_NEW     8u
#define NIBBLE_SEGMENT 7u
#define NIBBLE_LONG    1u /* in the nibble after the last reference */

struct dist_atom {
    dist_atom *next; /* in `replaced` */
    uint32_t holders;
    uint32_t len;
    uint8_t text[];
};

static inline size_t atom_cost(const dist_atom *a) { return sizeof *a + a->len; }
/* The atom that a text of ours lies in; slices are of const bytes, what they lie in is ours to count. */
static inline dist_atom *atom_of(slice text) { return (dist_atom *)(uintptr_t)(text.p - offsetof(dist_atom, text)); }
static inline slice atom_text(const dist_atom *a) { return slice_of(a->text, a->len); }

void dist_cache_in_init(dist_cache_in *c, size_t bytes_max) { *c = (dist_cache_in){.bytes_max = bytes_max}; }

static void drop(dist_cache_in *c, dist_atom *a) {
    if (--a->holders) return;
    c->bytes -= atom_cost(a);
    mem_free(a);
}

static void drop_replaced(dist_cache_in *c) {
    while (c->replaced) {
        dist_atom *a = c->replaced;
        c->replaced = a->next;
        drop(c, a);
    }
}

void dist_cache_in_fini(dist_cache_in *c) {
    drop_replaced(c);
    for (size_t s = 0; s < DIST_CACHE_SEGMENTS; s++) {
        dist_atom **slot = c->segment[s];
        for (size_t i = 0; slot && i < DIST_CACHE_SEGMENT; i++)
            if (slot[i]) drop(c, slot[i]);
        if (slot) c->bytes -= DIST_CACHE_SEGMENT * sizeof *slot;
        mem_free(slot);
    }
    if (!check(c->bytes == 0)) c->bytes = 0; /* an atom is still held */
    dist_cache_in_init(c, c->bytes_max);
}

static bool allow(dist_cache_in *c, size_t n) {
    if (n > c->bytes_max - c->bytes) return false;
    c->bytes += n;
    return true;
}

/* Puts a new text into a slot. */
static err replace(dist_cache_in *c, unsigned segment, uint8_t index, slice text, slice *out, const char **out_why) {
    dist_atom **slot = c->segment[segment];
    if (!etf_is_atom(text)) {
        *out_why = "a text in the atom cache that is no atom";
        return ERR_PROTO;
    }
    if (!allow(c, sizeof(dist_atom) + text.len + (slot ? 0 : DIST_CACHE_SEGMENT * sizeof *slot))) {
        *out_why = "an atom cache larger than the limit";
        return ERR_LIMIT;
    }
    if (!slot) c->segment[segment] = slot = mem_zalloc(DIST_CACHE_SEGMENT * sizeof *slot);
    dist_atom *a = mem_alloc(sizeof *a + text.len), *old = slot[index];
    *a = (dist_atom){.holders = 1, .len = (uint32_t)text.len};
    if (text.len) memcpy(a->text, text.p, text.len);
    if (old) {
        old->next = c->replaced;
        c->replaced = old;
    }
    slot[index] = a;
    *out = atom_text(a);
    return ERR_OK;
}

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
        unsigned what = nibble(nibbles, i), segment = what & NIBBLE_SEGMENT;
        uint8_t index;
        if (!cursor_u8(in, &index)) return ERR_PROTO;
        if (UNLIKELY(what & NIBBLE_NEW)) {
            slice text;
            if (!read_text(in, is_long, &text)) return ERR_PROTO;
            err e = replace(c, segment, index, text, &out->atom[i], out_why);
            if (e) return e;
            continue;
        }
        const dist_atom *a = c->segment[segment] ? c->segment[segment][index] : NULL;
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
