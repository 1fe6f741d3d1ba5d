/* queue: two rings that grow by doubling and go when the queue is empty. */
#include "queue.h"

#include "base/mem.h"

#define BYTES_MIN 4096 /* of the first ring */
#define SEGS_MIN  8

void queue_init(queue *q) { *q = (queue){.p = NULL}; }

void queue_fini(queue *q) {
    mem_free(q->p);
    mem_free(q->seg);
    queue_init(q);
}

size_t queue_room(const queue *q, uint64_t limit) {
    if (q->len >= limit || q->segs >= 16 + limit / 64) return 0;
    return (size_t)limit - q->len;
}

static queue_seg *seg_at(const queue *q, size_t i) { return &q->seg[(q->seg_head + i) & (q->seg_cap - 1)]; }

/* Copies n bytes out of the ring, from its head on. */
static void unroll(const queue *q, uint8_t *to, size_t n) {
    size_t first = q->cap - q->head < n ? q->cap - q->head : n;
    if (first > 0) memcpy(to, q->p + q->head, first);
    if (n > first) memcpy(to + first, q->p, n - first);
}

static void grow_bytes(queue *q, size_t need) {
    size_t cap = q->cap ? q->cap : BYTES_MIN;
    while (cap < need) cap *= 2;
    if (cap == q->cap) return;
    uint8_t *p = mem_alloc(cap);
    if (q->len > 0) unroll(q, p, q->len);
    mem_free(q->p);
    q->p = p;
    q->cap = cap;
    q->head = 0;
}

static void grow_segs(queue *q) {
    if (q->segs < q->seg_cap) return;
    size_t cap = q->seg_cap ? q->seg_cap * 2 : SEGS_MIN;
    queue_seg *s = mem_alloc(cap * sizeof *s);
    for (size_t i = 0; i < q->segs; i++) s[i] = *seg_at(q, i);
    mem_free(q->seg);
    q->seg = s;
    q->seg_cap = cap;
    q->seg_head = 0;
}

void queue_add(queue *q, slice bytes, usec due) {
    if (bytes.len == 0) return;
    grow_bytes(q, q->len + bytes.len);
    size_t tail = (q->head + q->len) & (q->cap - 1);
    size_t first = q->cap - tail < bytes.len ? q->cap - tail : bytes.len;
    memcpy(q->p + tail, bytes.p, first);
    if (bytes.len > first) memcpy(q->p, bytes.p + first, bytes.len - first);
    q->len += bytes.len;
    queue_seg *last = q->segs ? seg_at(q, q->segs - 1) : NULL;
    if (last && last->due >= due) {
        last->len += bytes.len;
        return;
    }
    grow_segs(q);
    *seg_at(q, q->segs++) = (queue_seg){due, bytes.len};
}

uint8_t *queue_due(const queue *q, usec now, size_t max, size_t *out_len) {
    size_t n = 0, whole = q->cap - q->head < max ? q->cap - q->head : max;
    for (size_t i = 0; i < q->segs && n < whole && seg_at(q, i)->due <= now; i++) n += seg_at(q, i)->len;
    if (n == 0) return NULL;
    *out_len = n < whole ? n : whole;
    return q->p + q->head;
}

void queue_drop(queue *q, size_t n) {
    if (n > q->len) panic("%zu bytes of %zu dropped", n, q->len);
    q->len -= n;
    if (q->len == 0) {
        queue_fini(q);
        return;
    }
    q->head = (q->head + n) & (q->cap - 1);
    while (n > 0) {
        queue_seg *s = seg_at(q, 0);
        size_t part = s->len < n ? s->len : n;
        s->len -= part;
        n -= part;
        if (s->len > 0) break;
        q->seg_head = (q->seg_head + 1) & (q->seg_cap - 1);
        q->segs--;
    }
}

usec queue_next(const queue *q) { return q->segs ? seg_at(q, 0)->due : USEC_NEVER; }

void queue_release(queue *q) {
    if (q->segs == 0) return;
    q->segs = 1;
    *seg_at(q, 0) = (queue_seg){0, q->len};
}
