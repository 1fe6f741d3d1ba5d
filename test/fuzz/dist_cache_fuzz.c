/* dist_cache_fuzz: headers, one after the other: a byte of length, then that many bytes. Oracle: a model that keeps the text of each of the
 * 2048 slots; messages hold their atoms for a while, and these do not change; memory stays within its limit, and none is left. */
#include "proto/dist/cache.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP  40000u
#define HELD 4u

typedef struct text {
    size_t len; /* 0 also for a slot that is empty: see used */
    bool used;
    uint8_t bytes[ETF_ATOM_BYTES];
} text;
typedef struct held {
    size_t n;
    dist_atom *atom[DIST_REFS_MAX];
    text want[DIST_REFS_MAX];
} held;

static void demand(bool ok) {
    if (!ok) abort();
}

static text text_of(slice s) {
    text t = {.len = s.len, .used = true};
    demand(s.len <= sizeof t.bytes);
    memcpy(t.bytes, s.p, s.len);
    return t;
}
static bool is(const text *t, slice s) { return t->used && slice_eq(slice_of(t->bytes, t->len), s); }

/* Reads the header that was accepted once more, in the plainest way. */
static void compare(text *slots, slice header, const dist_refs *refs) {
    size_t n = header.p[0], at = 1 + n / 2 + 1;
    demand(refs->n == n);
    if (n == 0) return;
    bool is_long = header.p[1 + n / 2] >> (n % 2 * 4) & 1;
    for (size_t i = 0; i < n; i++) {
        unsigned nibble = header.p[1 + i / 2] >> (i % 2 * 4) & 15u;
        text *slot = &slots[(nibble & 7u) * 256 + header.p[at++]];
        if (nibble & 8u) {
            size_t len = is_long ? (size_t)header.p[at] << 8 | header.p[at + 1] : header.p[at];
            at += is_long ? 2 : 1;
            *slot = text_of(slice_sub(header, at, len));
            at += len;
        }
        demand(is(slot, refs->atom[i]));
    }
}

static void check_held(const held *h) {
    dist_refs refs;
    dist_cache_in_held(h->atom, h->n, &refs);
    for (size_t i = 0; i < h->n; i++) demand(is(&h->want[i], refs.atom[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static text slots[DIST_CACHE_SEGMENTS * DIST_CACHE_SEGMENT];
    static held keep[HELD];
    dist_cache_in c;
    dist_refs refs;
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) slots[i].used = false;
    for (size_t i = 0; i < HELD; i++) keep[i].n = 0;
    dist_cache_in_init(&c, CAP);
    slice in = slice_of(data, size);
    for (unsigned round = 0; in.len > 0; round++) {
        slice header = slice_sub(in, 1, in.p[0]);
        const char *why = NULL;
        cursor at = cursor_of(header);
        in = slice_from(in, 1 + header.len);
        err e = dist_cache_in_apply(&c, &at, &refs, &why);
        demand(c.bytes <= CAP);
        if (e) {
            demand(why != NULL);
            break;
        }
        compare(slots, header, &refs);
        held *h = &keep[round % HELD];
        check_held(h);
        dist_cache_in_release(&c, h->atom, h->n);
        h->n = refs.n;
        dist_cache_in_hold(&refs, h->atom);
        for (size_t i = 0; i < h->n; i++) h->want[i] = text_of(refs.atom[i]);
    }
    for (size_t i = 0; i < HELD; i++) dist_cache_in_release(&c, keep[i].atom, keep[i].n);
    dist_cache_in_fini(&c);
    demand(c.bytes == 0);
    return 0;
}
