#ifndef NETWARP_QUEUE_H
#define NETWARP_QUEUE_H
/* queue: the bytes that one direction of a connection holds, in order, each with the time when it is due. Owns no memory while empty. */
#include "warp.h"

typedef struct queue_seg {
    usec due;   /* not before; never less than that of the segment in front */
    size_t len; /* bytes, at least 1 */
} queue_seg;

typedef struct queue {
    uint8_t *p; /* a ring of cap bytes, a power of two; len of them from head on are in use */
    size_t cap, head, len;
    queue_seg *seg; /* a ring of seg_cap segments, a power of two; segs of them from seg_head on cover the bytes */
    size_t seg_cap, seg_head, segs;
} queue;

void queue_init(queue *q);
void queue_fini(queue *q); /* frees the memory; q is as after queue_init */
/* How many bytes more a queue of limit bytes takes. Segments are limited too (16 and one for each 64 bytes of limit), so that a sender of
 * single bytes cannot hold much more memory than limit. */
size_t queue_room(const queue *q, uint64_t limit);
/* Appends bytes; due before the last one's becomes the last one's: a stream keeps its order. */
void queue_add(queue *q, slice bytes, usec due);
/* The bytes at the front that are due, at most max of them and not over the end of the ring; NULL if there are none. */
uint8_t *queue_due(const queue *q, usec now, size_t max, size_t *out_len);
void queue_drop(queue *q, size_t n); /* n: at most what queue_due gave */
usec queue_next(const queue *q);     /* when the front is due; USEC_NEVER if empty */
void queue_release(queue *q);        /* everything is due now */

#endif
