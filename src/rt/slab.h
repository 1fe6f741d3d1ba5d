#ifndef RT_SLAB_H
#define RT_SLAB_H
/* slab: blocks for messages, actors and relations of one shard: free lists by size class over chunks that grow by an eighth. Private to
 * its shard, except rt_slab_return, by which any thread gives a message's block back. */
#include "rt/msg.h"

#include <stdatomic.h>

#define RT_SLAB_MAX     1024u /* largest block; more goes to the heap */
#define RT_SLAB_CLASSES 28u
extern const uint16_t rt_slab_sizes[RT_SLAB_CLASSES];        /* bytes of a block */
extern const uint8_t rt_slab_class_of[RT_SLAB_MAX / 16 + 1]; /* by (size + 15) / 16 */
static inline unsigned rt_slab_class(size_t size) { return rt_slab_class_of[(size + 15) / 16]; }

typedef struct rt_slab_chunk rt_slab_chunk;
typedef struct rt_slab_list {
    void *free;    /* blocks that were given back; the first bytes of each point to the next */
    uint8_t *bump; /* never used part of the newest chunk */
    uint8_t *bump_end;
    size_t total;  /* bytes in chunks of this class */
    uint64_t live; /* blocks handed out and not back */
} rt_slab_list;
typedef struct rt_slab {
    rt_slab_list c[RT_SLAB_CLASSES];
    rt_slab_chunk *chunks;
    uint64_t bytes;            /* in chunks */
    _Atomic(rt_msg *) returns; /* stack: release CAS by any thread, acquire exchange by the shard */
    _Atomic uint64_t returned; /* blocks that came through it; relaxed: written by the shard, read by tools */
    _Atomic uint64_t retries;  /* CAS that failed because others returned a block at the same time; relaxed, added by any thread */
} rt_slab;

void rt_slab_init(rt_slab *s);
void rt_slab_fini(rt_slab *s);                 /* frees the chunks; what is still live is lost */
uint64_t rt_slab_live(const rt_slab *s);       /* blocks handed out and not back */
uint64_t rt_slab_ready(const rt_slab *s);      /* bytes of chunks that no block in use has */
void *rt_slab_refill(rt_slab *s, unsigned c);  /* a block when the free list is empty */
void rt_slab_collect(rt_slab *s);              /* takes in what came through rt_slab_return */
void rt_slab_return(rt_slab *home, rt_msg *m); /* any thread */

static inline void *rt_slab_alloc(rt_slab *s, unsigned c) {
    void *p = s->c[c].free;
    s->c[c].live++;
    if (UNLIKELY(!p)) return rt_slab_refill(s, c);
    memcpy(&s->c[c].free, p, sizeof(void *));
    __builtin_prefetch(s->c[c].free, 1); /* the next one may come back from another shard, and lie in its cache */
    return p;
}
static inline void rt_slab_free(rt_slab *s, unsigned c, void *p) {
    memcpy(p, &s->c[c].free, sizeof(void *));
    s->c[c].free = p;
    s->c[c].live--;
}
/* A chain of count blocks of one class, from first to last, linked through their first bytes. */
static inline void rt_slab_free_chain(rt_slab *s, unsigned c, void *first, void *last, uint32_t count) {
    memcpy(last, &s->c[c].free, sizeof(void *));
    s->c[c].free = first;
    s->c[c].live -= count;
}
#endif
