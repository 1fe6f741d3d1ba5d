#ifndef BASE_ARENA_H
#define BASE_ARENA_H
/* arena: bump allocation that is freed at once; chunks from the heap, with a limit on the total. For one stanza, one request. */
#include "base/slice.h"

typedef struct arena_chunk arena_chunk;
typedef struct arena {
    arena_chunk *head; /* newest chunk; NULL while nothing was allocated */
    size_t used;       /* bytes handed out since the last reset */
    size_t max;        /* limit on used */
} arena;

void arena_init(arena *a, size_t max);
void arena_fini(arena *a);
void arena_reset(arena *a);               /* frees all but one chunk */
void *arena_alloc(arena *a, size_t size); /* 8-byte aligned, zeroed; NULL past the limit */
/* Copies s; out has p NULL past the limit. An extra NUL follows the copy (not counted). */
slice arena_dup(arena *a, slice s);

#endif
