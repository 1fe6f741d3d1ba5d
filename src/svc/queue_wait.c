/* queue_wait: which senders have messages in a queue that wait, that is, were sent to no session: what the order of a pair needs to know
 * when a session takes messages out of turn (queue.c, a resource that is not available) or a stanza is not kept (queue_live.c).
 *
 *   sender 7f3a -> { newest 41, heap of positions that wait: 12 17 40 }
 *   sender 0    -> { newest  9, heap: 0 1 2 .. 9 }     read from the log's index: their senders are not known
 *
 * It is made when it is first asked, by one walk over the queue, kept up to date by every put, and freed with the account's last session:
 * an account without sessions pays nothing, one with sessions pays the walk once.
 *
 * Invariants: (1) every entry that waits has its position in its sender's heap, once: SVC_ENTRY_INDEXED says that it has.
 * (2) What no longer waits is taken out when it comes to the top, so each question costs O(log n), amortised. */
#include "svc/queue.h"

typedef struct sender {
    hmap_node node;
    uint64_t newest; /* one more than the position of its newest entry */
    uint64_t *heap;  /* heap[0] is the lowest */
    size_t n, cap;
} sender;

struct svc_waits {
    hmap senders; /* by svc_entry.from */
};

uint16_t svc_queue_wait_from(svc_part *p, slice from) { return (uint16_t)(hash_bytes(rt_node_hash_key(rt_ctx_node(p->cx)), from) | 1); }

static bool waits(const svc_entry *e) { return !(e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_DEAD | SVC_ENTRY_FLIGHT)); }

static sender *find(svc_waits *w, uint16_t from) {
    hmap_node *n = hmap_find(&w->senders, hash_u64(from)); /* hash_u64 is one to one: there is no other with this hash */
    return n ? container_of(n, sender, node) : NULL;
}

/* --- a heap of positions */
static void heap_push(sender *x, uint64_t pos) {
    void *heap = x->heap;
    mem_grow(&heap, &x->cap, x->n + 1, sizeof *x->heap);
    x->heap = heap;
    size_t i = x->n++;
    for (; i > 0 && x->heap[(i - 1) / 2] > pos; i = (i - 1) / 2) x->heap[i] = x->heap[(i - 1) / 2];
    x->heap[i] = pos;
}

static void heap_pop(sender *x) {
    uint64_t last = x->heap[--x->n];
    size_t i = 0;
    for (size_t child = 1; child < x->n; child = 2 * i + 1) {
        if (child + 1 < x->n && x->heap[child + 1] < x->heap[child]) child++;
        if (x->heap[child] >= last) break;
        x->heap[i] = x->heap[child];
        i = child;
    }
    x->heap[i] = last;
}

/* --- the index */
void svc_queue_wait_add(svc_queue *q, uint64_t pos) {
    svc_waits *w = q->waits;
    if (!w) return;
    svc_entry *e = svc_queue_at(q, pos);
    sender *x = find(w, e->from);
    if (!x) {
        x = mem_zalloc(sizeof *x);
        hmap_insert(&w->senders, &x->node, hash_u64(e->from));
    }
    if (x->newest < pos + 1) x->newest = pos + 1;
    if (!waits(e) || e->flags & SVC_ENTRY_INDEXED) return;
    e->flags |= SVC_ENTRY_INDEXED;
    heap_push(x, pos);
}

static svc_waits *waits_of(svc_part *p, svc_queue *q) {
    if (q->waits) return q->waits;
    q->waits = mem_zalloc(sizeof *q->waits);
    hmap_init(&q->waits->senders);
    for (uint64_t pos = q->base; pos < svc_queue_tail(q); pos++) {
        p->queue_steps++;
        svc_queue_at(q, pos)->flags &= (uint16_t)~SVC_ENTRY_INDEXED; /* of an index before this one */
        svc_queue_wait_add(q, pos);
    }
    return q->waits;
}

static bool older(svc_part *p, svc_queue *q, uint64_t pos, uint16_t from) {
    sender *x = find(q->waits, from);
    while (x && x->n > 0) {
        uint64_t first = x->heap[0];
        p->queue_steps++;
        if (first >= q->base && waits(svc_queue_at(q, first))) return first < pos;
        if (first >= q->base) svc_queue_at(q, first)->flags &= (uint16_t)~SVC_ENTRY_INDEXED;
        heap_pop(x);
    }
    return false;
}

bool svc_queue_wait_older(svc_part *p, svc_queue *q, uint64_t pos, uint16_t from) {
    (void)waits_of(p, q);
    return older(p, q, pos, from) || older(p, q, pos, 0);
}

uint64_t svc_queue_wait_newest(svc_part *p, svc_queue *q, uint16_t from) {
    svc_waits *w = waits_of(p, q);
    const sender *x = find(w, from), *unknown = find(w, 0);
    uint64_t a = x ? x->newest : 0, b = unknown ? unknown->newest : 0;
    return a > b ? a : b;
}

void svc_queue_wait_free(svc_queue *q) {
    svc_waits *w = q->waits;
    if (!w) return;
    for (hmap_node *n = hmap_first(&w->senders); n;) {
        hmap_node *next = hmap_next(&w->senders, n);
        sender *x = container_of(n, sender, node);
        hmap_remove(&w->senders, n);
        mem_free(x->heap);
        mem_free(x);
        n = next;
    }
    hmap_fini(&w->senders);
    mem_free(w);
    q->waits = NULL;
}
