#ifndef SVC_ACCOUNT_H
#define SVC_ACCOUNT_H
/* account: what a partition keeps in memory of an account and of its sessions, private to svc. */
#include "base/list.h"
#include "base/mem.h"
#include "rt/event.h"
#include "store/store.h"
#include "svc/svc.h"

typedef struct svc_part svc_part;
typedef struct svc_account svc_account;
typedef struct svc_session svc_session;
typedef struct svc_queue svc_queue; /* queue.c */
typedef struct svc_dedup svc_dedup; /* dedup.c */
typedef struct svc_put svc_put;     /* queue.c */

typedef struct svc_directed { /* a directed presence, to be ended at logout (RFC 6121 4.6.3) */
    struct svc_directed *next;
    slice to; /* owned */
} svc_directed;

struct svc_session {
    svc_session *next; /* of the account */
    svc_account *account;
    hmap_node by_monitor; /* in part.monitors */
    rt_pid pid;           /* the edge actor */
    uint64_t monitor;
    slice resource;    /* owned */
    rt_blob *smid;     /* resumption id; NULL: not resumable */
    rt_blob *presence; /* packed env of the last available presence; NULL: not available */
    rt_blob *about;
    svc_directed *directed;
    uint64_t cursor;    /* queue position of the next kept entry to consider */
    uint64_t redo;      /* below cursor: entries of a session that died are looked at again from here */
    uint64_t start;     /* queue position when it became available */
    uint64_t *inflight; /* queue.c: ids of keep numbers keep_acked + 1 to keep_sent; NULL when none */
    uint32_t inflight_cap;
    uint32_t keep_sent; /* keep number of the last kept message sent */
    uint32_t keep_acked;
    uint32_t inflight_bytes;
    uint32_t n_directed;
    int8_t priority;
    bool available, interested, carbons, sm, block_interested, reading;
};

typedef enum svc_account_state {
    SVC_UNLOADED /* only its queue is known */,
    SVC_LOADING,
    SVC_READY,
    SVC_ABSENT,
    SVC_ANONYMOUS,
    SVC_BROKEN /* the store failed: temporary errors */
} svc_account_state;

typedef struct svc_order svc_order; /* a stanza that waits behind a put which is not durable yet; queue.c */

typedef struct svc_contacts { /* ours to change: memory follows the store at once, is loaded again when a write fails */
    store_item *items;        /* slices owned */
    size_t n, cap;
    slice *blocks; /* owned */
    size_t n_blocks, cap_blocks;
} svc_contacts;

struct svc_account {
    hmap_node node;
    list lru;  /* in part.idle while it may be evicted */
    slice jid; /* owned, bare */
    svc_part *part;
    svc_contacts *contacts; /* roster and blocklist; NULL when both are empty */
    uint64_t roster_ver;
    svc_session *sessions;
    rt_msg *wait_head, *wait_tail; /* LOADING: messages to dispatch again */
    svc_queue *queue;              /* NULL when nothing is kept */
    svc_order *order_head, *order_tail;
    uint64_t positions;              /* queue position that comes next while there is no queue */
    uint64_t last_put, put_done;     /* ids of the newest put, and of the newest whose fate is known */
    uint64_t last_write, write_done; /* keyed writes, counted: asked for, answered (they are answered in order) */
    usec used;
    uint32_t n_sessions;
    uint32_t puts;   /* not reported by the log yet */
    uint32_t writes; /* keyed writes in progress: not evicted */
    uint8_t state;   /* svc_account_state */
};

#endif
