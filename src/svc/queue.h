#ifndef SVC_QUEUE_H
#define SVC_QUEUE_H
/* queue: the structures of the kept-message queue, shared by queue.c (puts, delivery, acks), queue_wait.c (who has messages that wait),
 * queue_live.c (stanzas that are not kept, behind those that are) and queue_admin.c (order, index, counts). */
#include "base/codec.h"
#include "base/cursor.h"
#include "proto/xmpp/ns.h"
#include "svc/part.h"

#define SVC_ENTRY_COMMITTED 1u   /* durable; loc is valid */
#define SVC_ENTRY_ACKED     2u   /* some resource has it; a STORE_DEL was sent */
#define SVC_ENTRY_DEAD      4u   /* was refused, damaged, or its account deleted: never delivered */
#define SVC_ENTRY_REDO      8u   /* was in flight to, or left to, a session that ended */
#define SVC_ENTRY_OWED      16u  /* acked, but a session that was there when it came has yet to take it: STORE_DEL waits for that */
#define SVC_ENTRY_HOLD      32u  /* is being handed to one session after the other: its bytes stay */
#define SVC_ENTRY_FLIGHT    64u  /* is in flight to a session, or was until it was acked */
#define SVC_ENTRY_INDEXED   128u /* is in a heap of the queue's svc_waits */

typedef struct svc_entry {
    uint64_t id;
    uint64_t loc;
    int64_t wall;
    rt_blob *env; /* packed env while in memory; NULL: in the log */
    uint32_t bytes;
    uint16_t flags;
    uint16_t from; /* of the hash of the sender's full JID; 0: not known (read from the index) */
} svc_entry;
_Static_assert(sizeof(svc_entry) == 40, "the memory of a kept message, docs/delivery.md");

typedef struct svc_waits svc_waits; /* queue_wait.c */
typedef struct svc_late svc_late;   /* queue_live.c */

#define SVC_SENT_REQUEST   UINT64_C(0) /* the id, among those in flight, of a subscription request; no message has it */
#define SVC_REQUEST_WINDOW 32768u /* bytes in flight to a session past which no further request is sent: half of the least xmpp.out_max */

typedef struct svc_ids { /* a list that is empty most of the time */
    uint64_t *v;
    size_t n, cap;
} svc_ids;

struct svc_queue {
    svc_entry *e; /* e[head .. n) */
    size_t head, n, cap;
    uint64_t base;    /* position of e[head]; positions never go back within an account's life in memory */
    uint64_t owed;    /* entries with SVC_ENTRY_OWED */
    uint64_t live;    /* neither acked nor dead */
    uint64_t bytes;   /* of those */
    svc_waits *waits; /* NULL until it is needed; goes with the last session */
    svc_ids loaded;   /* committed entries whose bytes are in memory, by id, and some whose bytes no longer are */
    svc_ids again;    /* positions of entries with SVC_ENTRY_REDO, ascending, and some that have left */
    uint64_t left;    /* one more than the lowest position that its own resource passed, because an older message waits; 0: none */
    svc_late *late_head, *late_tail;
    uint64_t late_limit; /* while a stanza that waited behind puts is delivered: one more than the tail when it came; else 0 */
    uint32_t late_bytes, late_n;
};

struct svc_put {
    svc_put *next;
    svc_account *account; /* held by its writes count */
    uint64_t id;
    uint64_t h[2]; /* to forget if it fails */
    rt_pid origin;
    uint32_t ticket;
    uint32_t trace; /* rt/trace.h */
};

struct svc_order {
    svc_order *next;
    uint64_t after_put, after_write; /* what it came behind */
    uint64_t tail;                   /* position of the queue's tail then */
    svc_later *fn;
    rt_blob *packed;
    rt_pid origin;
    uint32_t ticket;
    uint32_t trace; /* rt/trace.h */
};

/* Positions count the entries of an account, from the first that came while it is in memory; they never go back. */
static inline uint64_t svc_queue_tail(const svc_queue *q) { return q->base + (q->n - q->head); }
static inline svc_entry *svc_queue_at(svc_queue *q, uint64_t pos) { return &q->e[q->head + (size_t)(pos - q->base)]; }
static inline bool svc_queue_drains(const svc_session *s) { return s->available && s->priority >= 0; }
size_t svc_queue_ids_find(const svc_ids *l, uint64_t v); /* where v is in a sorted list, or would be */
/* The position that the session looks at next: what is to be looked at again comes first. */
uint64_t svc_queue_next(const svc_queue *q, const svc_session *s);

void svc_queue_release(svc_part *p, svc_account *a);   /* drops bytes that no session will take */
void svc_queue_trim(svc_part *p, svc_account *a);      /* what is done with leaves at the head */
uint64_t svc_queue_entries(const svc_account *a);      /* in memory, those that are done with too */
void svc_queue_free(svc_queue *q);                     /* memory only */
void svc_queue_order_run(svc_part *p, svc_account *a); /* what waited behind puts and writes that are done now */

/* queue_wait.c. Senders are told apart by 16 bits of a keyed hash: two that share them wait for each other, which costs order nothing. */
uint16_t svc_queue_wait_from(svc_part *p, slice from); /* never 0 */
void svc_queue_wait_add(svc_queue *q, uint64_t pos);   /* an entry is new, or waits again */
/* Is there an entry before pos, of this sender or of an unknown one, that no session has been sent? */
bool svc_queue_wait_older(svc_part *p, svc_queue *q, uint64_t pos, uint16_t from);
/* One more than the position of the newest entry of this sender, or of an unknown one; 0: there is none. */
uint64_t svc_queue_wait_newest(svc_part *p, svc_queue *q, uint16_t from);
void svc_queue_wait_free(svc_queue *q);

/* queue_live.c */
void svc_queue_live_run(svc_part *p, svc_account *a, svc_session *s); /* the session has moved on: what may follow goes out */
void svc_queue_live_end(svc_part *p, svc_account *a, svc_session *s); /* the session is over */
void svc_queue_live_moved(svc_queue *q, const svc_ids *gone);         /* entries at these positions are taken out */
void svc_queue_live_free(svc_queue *q);                               /* memory only */

#endif
