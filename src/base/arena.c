/* arena: bump allocation that is freed at once.
 *
 *     arena.head -> [ newest chunk: |--handed out--|--free--| ] -> [ older, full ] -> ... -> NULL
 *
 * Why: a stanza or a request makes many small things that die together; freeing them one by one costs more than making them, and
 * forgetting one leaks.
 *
 * Invariants: (1) used <= max, where used counts sizes rounded up to ARENA_ALIGN. (2) Only the head has room; the rest of an older chunk is
 * lost until reset. (3) Chunks double from ARENA_CHUNK_MIN to ARENA_CHUNK_MAX; something larger gets a chunk of exactly its size.
 * (4) An arena from which nothing was taken owns no memory. */
#include "base/arena.h"

#include "base/mem.h"

#define ARENA_ALIGN     8
#define ARENA_CHUNK_MIN 1024
#define ARENA_CHUNK_MAX (64 * 1024)

struct arena_chunk {
    arena_chunk *next;                    /* older chunk, or NULL */
    size_t cap;                           /* bytes in data */
    size_t used;                          /* of those, handed out */
    _Alignas(ARENA_ALIGN) uint8_t data[]; /* the bytes */
};

void arena_init(arena *a, size_t max) { *a = (arena){.max = max}; }

static void free_chain(arena_chunk *c) {
    while (c) {
        arena_chunk *next = c->next;
        mem_free(c);
        c = next;
    }
}

void arena_fini(arena *a) {
    free_chain(a->head);
    arena_init(a, a->max);
}

void arena_reset(arena *a) {
    a->used = 0;
    if (!a->head) return;
    free_chain(a->head->next); /* the newest stays: it is the largest but for oversized ones */
    a->head->next = NULL;
    a->head->used = 0;
}

/* Puts a chunk with room for size bytes in front. */
static void add_chunk(arena *a, size_t size) {
    size_t cap = a->head ? a->head->cap * 2 : ARENA_CHUNK_MIN;
    if (cap > ARENA_CHUNK_MAX) cap = ARENA_CHUNK_MAX;
    if (cap < size) cap = size;
    arena_chunk *c = mem_alloc(sizeof *c + cap); /* cannot wrap: size <= max, and the heap refuses what is near SIZE_MAX */
    c->next = a->head;
    c->cap = cap;
    c->used = 0;
    a->head = c;
}

void *arena_alloc(arena *a, size_t size) {
    size_t left = a->max - a->used;
    if (size > left || size > SIZE_MAX / 2) return NULL;
    size_t want = size ? (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
    if (want > left) return NULL;
    if (!a->head || want > a->head->cap - a->head->used) add_chunk(a, want);
    void *p = a->head->data + a->head->used;
    a->head->used += want;
    a->used += want;
    return memset(p, 0, want);
}

slice arena_dup(arena *a, slice s) {
    uint8_t *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;
    if (!p) return SLICE_NULL;
    if (s.len) memcpy(p, s.p, s.len);
    return slice_of(p, s.len); /* the byte after it is zero already */
}
