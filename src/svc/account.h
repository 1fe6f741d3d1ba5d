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
typedef struct svc_peer svc_peer;   /* route.c */

typedef struct svc_directed { /* a directed presence, to be ended at logout (RFC 6121 4.6.3) */
    struct svc_directed *next;
    slice to; /* owned */
} svc_directed;

typedef struct svc_sent { /* a kept message or a subscription request in flight */
    uint64_t id;          /* queue.h */
    uint32_t bytes;
    uint32_t trace; /* rt/trace.h */
} svc_sent;

typedef struct svc_more { /* what few sessions have at a time; exists while there is any of it */
    rt_blob *smid;        /* resumption id; NULL: not resumable */
    svc_directed *directed;
    svc_sent *inflight; /* queue.c: what keep numbers keep_acked + 1 to keep_sent were given to; NULL when none */
    uint32_t inflight_cap;
    uint32_t inflight_bytes;
    uint64_t redo; /* below the cursor: entries of a session that died are looked at again from here */
    uint32_t n_directed;
    uint32_t asking; /* subs.c: one more than the index of the next contact whose request is to be sent; 0: none is left */
} svc_more;

#define SVC_SINCE_NONE UINT32_MAX

struct svc_session {   /* of an idle one: 104 bytes, and its share of the JID */
    svc_session *next; /* of the account */
    svc_account *account;
    rt_blob *jid;      /* full; the account and the edge share it */
    rt_blob *presence; /* packed env of the last available presence; NULL: not available */
    svc_more *more;
    uint64_t cursor;     /* queue position of the next kept entry to consider */
    uint64_t start;      /* queue position when it became available */
    rt_pid pid;          /* the edge actor */
    uint32_t keep_sent;  /* keep number of the last kept message sent */
    uint32_t keep_acked; /* of the last one acked */
    uint32_t since;      /* svc_part.turns when the oldest of its stanzas that may lack an answer was routed; SVC_SINCE_NONE */
    svc_about about;
    int8_t priority;
    bool available : 1, interested : 1, carbons : 1, sm : 1, block_interested : 1, reading : 1;
    bool lost : 1;   /* what it sent may be lost, and it was told so: it is not heard any more */
    bool ending : 1; /* its messages are being left to others: it is not found any more */
};
_Static_assert(sizeof(svc_session) <= 104, "an idle session");

typedef enum svc_account_state {
    SVC_UNLOADED /* only its queue is known */,
    SVC_LOADING,
    SVC_READY,
    SVC_ABSENT,
    SVC_ANONYMOUS,
    SVC_BROKEN /* the store failed: temporary errors */
} svc_account_state;

typedef struct svc_order svc_order; /* a stanza that waits behind a put which is not durable yet; queue.c */

typedef struct svc_gone { /* a contact that was removed */
    slice jid;            /* owned */
    uint64_t ver;         /* of the roster, by that */
} svc_gone;
typedef struct svc_history { /* what a roster's difference needs beside its items; exists while there is any of it */
    svc_gone *gone;
    size_t n, cap;
    uint64_t floor; /* removals up to this version are forgotten */
} svc_history;

typedef struct svc_contacts { /* ours to change: memory follows the store at once, is loaded again when a write fails */
    store_item *items;        /* slices owned */
    size_t n, cap;
    slice *blocks; /* owned */
    size_t n_blocks, cap_blocks;
    uint64_t roster_ver;
    svc_history *history; /* NULL: nothing was ever removed */
} svc_contacts;

typedef struct svc_work {          /* what is under way for an account; exists while anything is */
    rt_msg *wait_head, *wait_tail; /* LOADING: messages to dispatch again */
    svc_order *order_head, *order_tail;
    uint64_t last_put, put_done;     /* ids of the newest put, and of the newest whose fate is known */
    uint64_t last_write, write_done; /* keyed writes, counted: asked for, answered (they are answered in order) */
    uint32_t puts;                   /* not reported by the log yet */
    uint32_t holds;                  /* puts, keyed writes, and callers that hold the account: it is not evicted */
} svc_work;

struct svc_account { /* of an idle user: 88 bytes */
    hmap_node node;
    list lru;               /* in part.idle while it may be evicted */
    rt_blob *name;          /* begins with the bare JID: shared with a session where there is one */
    svc_contacts *contacts; /* roster, its version, and blocklist; NULL when there is none of it */
    svc_session *sessions;
    svc_queue *queue; /* NULL when nothing is kept */
    svc_work *work;
    uint64_t positions; /* queue position that comes next while there is no queue */
    uint32_t used;      /* seconds since the node's epoch */
    uint16_t jid_len : 12;
    uint16_t state : 4; /* svc_account_state */
    uint16_t n_sessions;
};
_Static_assert(sizeof(svc_account) <= 88, "an idle account");

static inline slice svc_account_jid(const svc_account *a) { return slice_of(a->name->data, a->jid_len); } /* bare */
static inline slice svc_session_jid(const svc_session *s) { return rt_blob_slice(s->jid); }               /* full */
static inline slice svc_session_resource(const svc_session *s) {
    return slice_from(rt_blob_slice(s->jid), (size_t)s->account->jid_len + 1);
}
/* Does something that was asked for still change the account? What comes behind it waits. */
static inline bool svc_account_waited(const svc_account *a) { return a->work && a->work->wait_head; }
static inline bool svc_account_writing(const svc_account *a) { return a->work && a->work->write_done != a->work->last_write; }
static inline uint64_t svc_account_roster_ver(const svc_account *a) { return a->contacts ? a->contacts->roster_ver : 0; }

/* session.c */
svc_session *svc_session_find(svc_account *a, slice resource);
svc_session *svc_session_of(svc_account *a, rt_pid pid);
svc_more *svc_session_more(svc_session *s); /* made if there is none */
void svc_session_less(svc_session *s);      /* frees it if nothing is in it */

/* contacts.c: the roster and the blocklist. */
void svc_contacts_load(svc_account *a, const store_user *u);
void svc_contacts_free(svc_account *a);
store_item *svc_contacts_find(const svc_account *a, slice bare);      /* NULL: unknown */
store_item *svc_contacts_put(svc_account *a, const store_item *item); /* copies; returns the one in memory */
void svc_contacts_del(svc_account *a, slice bare);
uint64_t svc_contacts_next_ver(svc_account *a); /* the roster changes: its new version */
/* The memory of removals, so that a client that names an older version is sent the difference. */
bool svc_contacts_removed(svc_account *a, slice bare, uint64_t ver); /* false: nothing to remember, 0 or a forgotten version */
uint64_t svc_contacts_gone_ver(const svc_account *a, slice bare);    /* when it was removed; 0: never, or that is forgotten */
void svc_contacts_returned(svc_account *a, slice bare);              /* it is there again */
/* With more than max of them, forgets the oldest: the caller takes its JID over. False: there are not so many. */
bool svc_contacts_forget(svc_account *a, size_t max, slice *out_bare, uint64_t *out_ver);
size_t svc_contacts_count(const svc_account *a); /* items that are in the roster */
void svc_contacts_block(svc_account *a, slice jid);
void svc_contacts_unblock(svc_account *a, slice jid);

#endif
