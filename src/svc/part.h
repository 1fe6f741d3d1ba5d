#ifndef SVC_PART_H
#define SVC_PART_H
/* part: the state of a partition actor, private to svc. One account is found by its bare JID; everything about it hangs on svc_account.
 *
 * Loading: an account is loaded from the keyed store the first time anything concerns it; messages for it wait on it until then and are
 * dispatched again in order. Accounts without sessions, waiters and queue are evicted when idle.
 *
 * Invariants of the kept queue (queue.c): (1) entries are in id order = arrival order. (2) an entry leaves when it is acked and every session that was
 * available when it came has passed it, or expires from no limit: never silently. (3) nothing that came after a put that is not committed yet is
 * delivered before it (account.order). (4) A session's in-flight list holds exactly the kept messages it was sent and has not acked. */
#include "base/list.h"
#include "rt/event.h"
#include "svc/svc.h"

typedef struct svc_part svc_part;
typedef struct svc_account svc_account;
typedef struct svc_session svc_session;
typedef struct svc_queue svc_queue;   /* queue.c */
typedef struct svc_dedup svc_dedup;   /* dedup.c */

typedef struct svc_directed { /* a directed presence, to be ended at logout (RFC 6121 4.6.3) */
    struct svc_directed *next;
    slice to; /* owned */
} svc_directed;

struct svc_session {
    svc_session *next;       /* of the account */
    rt_pid pid;              /* the edge actor */
    uint64_t monitor;
    slice resource;          /* owned */
    rt_blob *smid;           /* resumption id; NULL: not resumable */
    rt_blob *presence;       /* packed env of the last available presence; NULL: not available */
    rt_blob *about;
    svc_directed *directed;
    uint64_t cursor;         /* queue position of the next kept entry to consider */
    uint64_t redo;           /* below cursor: entries of a session that died are looked at again from here */
    uint64_t start;          /* queue position when it became available */
    void *inflight;          /* queue.c: kept messages sent and not acked; NULL when none */
    uint32_t keep_sent;      /* keep number of the last kept message sent */
    uint32_t keep_acked;
    uint32_t inflight_bytes;
    uint32_t n_directed;
    int8_t priority;
    bool available, interested, carbons, sm, block_interested, reading;
};

typedef enum svc_account_state { SVC_LOADING, SVC_READY, SVC_ABSENT, SVC_ANONYMOUS, SVC_BROKEN /* the store failed: temporary errors */ } svc_account_state;

typedef struct svc_order svc_order; /* a stanza that waits behind a put which is not durable yet; queue.c */

struct svc_account {
    hmap_node node;
    list lru;                /* in part.idle while it may be evicted */
    slice jid;               /* owned, bare */
    svc_part *part;
    store_user *user;        /* READY: roster and blocklist; keys are wiped after load and asked for again at login */
    svc_session *sessions;
    rt_msg *wait_head, *wait_tail; /* LOADING: messages to dispatch again */
    svc_queue *queue;        /* NULL when nothing is kept */
    svc_order *order_head, *order_tail;
    usec used;
    uint32_t n_sessions;
    uint32_t writes;         /* keyed writes in progress: not evicted */
    uint8_t state;           /* svc_account_state */
};

struct svc_part {
    rt_ctx *cx;              /* of the callback that is running; set by the dispatcher */
    const svc_cfg *cfg;
    unsigned index;
    bool ready;              /* the index has come */
    bool draining;
    rt_msg *defer_head, *defer_tail; /* before ready */
    hmap accounts;
    list idle;
    hmap refs;               /* requests under way (ref -> what to do then); part.c */
    uint64_t next_ref;
    uint64_t epoch, counter; /* of ids */
    void *commit;            /* queue.c: puts that are not reported yet, in id order */
    svc_dedup *dedup;
    uint32_t n_sessions;
    rt_timer tick;           /* once a second: eviction, dedup generations */
    arena scratch;           /* reset after every message */
    buf out;                 /* scratch for building envs */
};

/* --- part.c: dispatcher, requests */
typedef void svc_then(svc_part *p, void *arg, rt_msg *reply); /* reply NULL: the store is gone or the partition ends; frees arg */
uint64_t svc_part_ref(svc_part *p, svc_then *then, void *arg);   /* a ref to put in a request; then runs when its answer comes */
/* Sends ops to the keyed store; then gets the KEYED_WRITTEN. The account is held until then. */
void svc_part_write(svc_part *p, svc_account *a, store_ops *ops, svc_then *then, void *arg);
void svc_part_done(svc_part *p, rt_pid session, uint32_t ticket); /* SVC_DONE; NONE is fine */
rt_blob *svc_part_pack(svc_part *p, const xmpp_env *e);

/* --- account.c */
svc_account *svc_account_find(svc_part *p, slice bare);              /* NULL: not in memory */
svc_account *svc_account_get(svc_part *p, slice bare);               /* in memory, perhaps LOADING (the load is under way) */
void svc_account_wait(svc_account *a, rt_msg **m);                   /* dispatch m again when loaded */
void svc_account_touch(svc_part *p, svc_account *a);                 /* after use: on or off the idle list */
void svc_account_forget(svc_part *p, svc_account *a);                /* after USER_DEL: kicks sessions, drops the queue */
err svc_account_on_auth(svc_part *p, rt_msg **m);
err svc_account_on_loaded(svc_part *p, svc_account *a, keyed_user *u);

/* --- session.c */
svc_session *svc_session_find(svc_account *a, slice resource);
svc_session *svc_session_of(svc_account *a, rt_pid pid);
void svc_session_deliver(svc_part *p, svc_session *s, const xmpp_env *e, slice extra); /* not kept */
void svc_session_deliver_blob(svc_part *p, svc_session *s, rt_blob *env);              /* not kept; takes its own reference */
void svc_session_kick(svc_part *p, svc_session *s, xmpp_stream_error e, const char *text);
void svc_session_end(svc_part *p, svc_account *a, svc_session *s);   /* unavailable goes out, unacked is delivered again, memory goes */
err svc_session_on_bind(svc_part *p, rt_msg **m);
err svc_session_on_unbind(svc_part *p, rt_msg **m);
err svc_session_on_sm(svc_part *p, rt_msg **m);
err svc_session_on_resume(svc_part *p, rt_msg **m);
err svc_session_on_down(svc_part *p, rt_down *d);

/* --- route.c: a stanza from a session (outbound), a stanza for an account of ours (inbound) */
err svc_route_on_stanza(svc_part *p, rt_msg **m);
err svc_route_on_route(svc_part *p, rt_msg **m);
/* Sends e towards its 'to' from this partition: to another account's partition (SVC_ROUTE), to the server's own handlers, or
 * remote-server-not-found. origin NONE: nobody waits. */
void svc_route_send(svc_part *p, const xmpp_env *e, rt_pid origin, uint32_t ticket);
/* Answers e with an error, if it may be answered, straight to origin if given, else by routing; then SVC_DONE to origin. */
void svc_route_bounce(svc_part *p, const xmpp_env *e, xmpp_stanza_error cond, const char *text, rt_pid origin, uint32_t ticket);

/* --- message.c, carbon.c, queue.c, dedup.c */
void svc_message_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_message_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_carbon_sent(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e);
/* A received carbon of e for session s, as an env in p->out/p->scratch. */
rt_blob *svc_carbon_wrap(svc_part *p, svc_session *s, svc_account *a, const xmpp_env *e, bool sent, slice extra);
bool svc_carbon_wanted(const xmpp_env *e); /* XEP-0280 section 6: is this message eligible? */

void svc_queue_put(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
/* Runs fn now, or, if a put of this account is not durable yet, after it: keeps pair order. packed is referenced. */
typedef void svc_later(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_queue_behind(svc_part *p, svc_account *a, rt_blob *packed, rt_pid origin, uint32_t ticket, svc_later *fn);
void svc_queue_pump(svc_part *p, svc_account *a, svc_session *s);         /* sends what the window allows */
void svc_queue_session_start(svc_part *p, svc_account *a, svc_session *s); /* it became available with priority >= 0: drain from the head */
void svc_queue_session_end(svc_part *p, svc_account *a, svc_session *s);   /* its in-flight entries go to others, or stay */
void svc_queue_attach(svc_part *p, store_index *ix);                      /* at start */
void svc_queue_drop(svc_part *p, svc_account *a);                          /* account deleted */
void svc_queue_counts(const svc_account *a, uint64_t *out_messages, uint64_t *out_bytes, int64_t *out_oldest_wall);
err svc_queue_on_committed(svc_part *p, store_committed *c);
err svc_queue_on_moved(svc_part *p, rt_msg **m);
err svc_queue_on_acked(svc_part *p, rt_msg **m);
void svc_queue_fini(svc_part *p);

svc_dedup *svc_dedup_new(uint64_t max);
void svc_dedup_free(svc_dedup *d);
void svc_dedup_hash(slice from_bare, slice to_bare, slice origin_id, uint64_t out[2]);
bool svc_dedup_seen(svc_dedup *d, const uint64_t h[2]);
void svc_dedup_add(svc_dedup *d, const uint64_t h[2], usec now);
void svc_dedup_forget(svc_dedup *d, const uint64_t h[2]); /* the put failed */
void svc_dedup_tick(svc_dedup *d, usec now);
uint64_t svc_dedup_count(const svc_dedup *d);

/* --- presence.c, subs.c, roster.c, block.c */
void svc_presence_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_presence_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_presence_end(svc_part *p, svc_account *a, svc_session *s); /* the session is gone: unavailable to all who saw it */
bool svc_presence_trusted(const svc_account *a, slice bare);        /* may that contact see our presence (from or both, or ourselves)? */
store_item *svc_roster_find(svc_account *a, slice bare);
/* Roster iq of the account's own user. */
void svc_roster_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
/* Writes an item, and when it is durable changes memory and pushes it to interested resources; then(done). */
typedef void svc_roster_then(svc_part *p, svc_account *a, void *arg, err status);
void svc_roster_change(svc_part *p, svc_account *a, const store_item *item, svc_roster_then *then, void *arg);
void svc_block_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
bool svc_block_matches(const svc_account *a, slice jid);

/* --- iq.c: requests to the account (bare JID or none) and to the server's domain; disco, ping, version, time, carbons enable */
void svc_iq_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_iq_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
/* Answers a request with a result whose children are inner. */
void svc_iq_result(svc_part *p, const xmpp_env *request, slice inner, rt_pid origin, uint32_t ticket);
/* Entity capabilities of the server (XEP-0115): the ver hash over its disco#info, base64. out needs 64 bytes. */
size_t svc_iq_caps_ver(const svc_cfg *c, char *out);

/* --- admin.c */
err svc_admin_on_request(svc_part *p, rt_msg **m);

#endif
