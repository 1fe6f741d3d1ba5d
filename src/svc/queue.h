#ifndef SVC_QUEUE_H
#define SVC_QUEUE_H
/* queue: the structures of the kept-message queue, shared by queue.c (puts, delivery, acks) and queue_admin.c (order, index, counts). */
#include "base/codec.h"
#include "base/cursor.h"
#include "proto/xmpp/ns.h"
#include "svc/part.h"

#define SVC_ENTRY_COMMITTED 1u  /* durable; loc is valid */
#define SVC_ENTRY_ACKED     2u  /* some resource has it; a STORE_DEL was sent */
#define SVC_ENTRY_DEAD      4u  /* was refused, damaged, or its account deleted: never delivered */
#define SVC_ENTRY_REDO      8u  /* was in flight to, or left to, a session that ended */
#define SVC_ENTRY_HOLD      32u /* is being handed to one session after the other: its bytes stay */

#define SVC_ENTRY_OWED 16u /* acked, but a session that was there when it came has yet to take it: STORE_DEL waits for that */

typedef struct svc_entry {
    uint64_t id;
    uint64_t loc;
    int64_t wall;
    rt_blob *env; /* packed env while in memory; NULL: in the log */
    uint32_t bytes;
    uint16_t flags;
    uint16_t from; /* of the hash of the sender's full JID; 0: not known (read from the index) */
} svc_entry;

struct svc_queue {
    svc_entry *e; /* e[head .. n) */
    size_t head, n, cap;
    uint64_t base;  /* position of e[head]; positions never go back within an account's life in memory */
    uint64_t live;  /* neither acked nor dead */
    uint64_t bytes; /* of those */
};

struct svc_put {
    svc_put *next;
    svc_account *account; /* held by its writes count */
    uint64_t id;
    uint64_t h[2]; /* to forget if it fails */
    rt_pid origin;
    uint32_t ticket;
};

struct svc_order {
    svc_order *next;
    uint64_t after_put, after_write; /* what it came behind */
    svc_later *fn;
    rt_blob *packed;
    rt_pid origin;
    uint32_t ticket;
};

void svc_queue_release(svc_account *a);                /* drops bytes that no session will take */
void svc_queue_trim(svc_account *a);                   /* what is done with leaves at the head */
void svc_queue_order_run(svc_part *p, svc_account *a); /* what waited behind puts and writes that are done now */

#endif
