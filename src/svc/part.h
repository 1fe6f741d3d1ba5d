#ifndef SVC_PART_H
#define SVC_PART_H
/* part: the state of a partition actor, private to svc. One account is found by its bare JID; everything about it hangs on svc_account.
 *
 * Loading: an account is loaded from the keyed store the first time anything concerns it; messages for it wait on it until then and are
 * dispatched again in order. Accounts without sessions, waiters and queue are evicted when idle.
 *
 * Invariants of the kept queue (queue.c): (1) entries are in id order = arrival order. (2) an entry leaves when it is acked and every
 * session that was available when it came has passed it, or expires from no limit: never silently. (3) nothing that came after a put that
 * is not committed yet is delivered before it (account.order). (4) A session has in flight just the kept messages sent and not acked. */
#include "rt/maps.h"
#include "svc/account.h"

/* Ids that were given out: outlives a life of the partition, so that an id never names two messages of one epoch. */
typedef struct svc_part_ids {
    uint64_t epoch, counter; /* of the newest id; touched by the partition only */
} svc_part_ids;

/* What a partition is started with; made by boot.c, lives as long as the node. */
typedef struct svc_part_arg {
    svc_part_ids *ids;
    const svc_cfg *cfg;
    unsigned index;
    char name[24];       /* "svc.part.17" */
    char ready_name[24]; /* "svc.ready.17": registered once the index has come */
} svc_part_arg;
extern const rt_class svc_part_class;

struct svc_part {
    rt_ctx *cx; /* of the callback that is running; set by the dispatcher */
    const svc_cfg *cfg;
    const svc_part_arg *arg;
    unsigned index;
    bool ready;                      /* the index has come */
    rt_msg *defer_head, *defer_tail; /* before ready */
    hmap accounts;
    rt_map accounts_shown; /* of accounts, for tools */
    list idle;
    hmap refs; /* requests under way (ref -> what to do then); part.c */
    uint64_t next_ref;
    uint64_t epoch;                      /* of this start of the log: ids begin with it */
    uint64_t log_monitor, keyed_monitor; /* 0: not found yet */
    svc_put *put_head, *put_tail;        /* puts that are not reported yet, in id order */
    svc_dedup *dedup;
    svc_peer *peers; /* cfg->partitions; route.c */
    uint32_t turns;  /* how often a partition was seen to live again */
    uint32_t n_sessions;
    uint64_t queue_steps; /* entries of queues that were looked at since the start: work that has to stay in proportion, for tools */
    uint32_t n_idle;      /* accounts in idle */
    rt_timer tick;        /* once a second: eviction, dedup generations */
    arena scratch;        /* reset after every message */
    buf out;              /* scratch for building envs */
};

/* Owned copies of slices. */
static inline slice svc_own(slice s) {
    if (!s.p) return SLICE_NULL;
    uint8_t *q = mem_alloc(s.len + 1);
    memcpy(q, s.p, s.len);
    q[s.len] = 0;
    return slice_of(q, s.len);
}
static inline void svc_disown(slice *s) {
    union {
        const uint8_t *c;
        uint8_t *m;
    } u = {s->p};
    mem_free(u.m);
    *s = SLICE_NULL;
}

/* --- part.c: dispatcher, requests */
typedef void svc_then(svc_part *p, void *arg, rt_msg *reply);  /* reply NULL: the store is gone or the partition ends; frees arg */
uint64_t svc_part_ref(svc_part *p, svc_then *then, void *arg); /* a ref to put in a request; then runs when its answer comes */
/* Sends ops to the keyed store; then gets the KEYED_WRITTEN. The account is held until then. */
void svc_part_write(svc_part *p, svc_account *a, store_ops *ops, svc_then *then, void *arg);
void svc_part_done(svc_part *p, rt_pid session, uint32_t ticket); /* SVC_DONE; NONE is fine */
err svc_part_dispatch(svc_part *p, rt_msg **m);                   /* as if it had come now: for messages that waited */
rt_blob *svc_part_pack(svc_part *p, const xmpp_env *e);

/* --- account.c */
svc_account *svc_account_find(svc_part *p, slice bare);   /* NULL: not in memory */
svc_account *svc_account_stored(svc_part *p, slice bare); /* at start: in memory because of its queue, loaded when used */
svc_account *svc_account_get(svc_part *p, slice bare);    /* in memory, perhaps LOADING (the load is under way) */
void svc_account_wait(svc_account *a, rt_msg **m);        /* dispatch m again when loaded */
void svc_account_resume(svc_part *p, svc_account *a);     /* dispatches what waits */
void svc_account_touch(svc_part *p, svc_account *a);      /* after use: on or off the idle list */
svc_work *svc_account_work(svc_account *a);               /* made if there is none; svc_account_touch frees it when nothing is under way */
void svc_account_hold(svc_account *a);                    /* it stays in memory ... */
void svc_account_release(svc_account *a);                 /* ... until then; svc_account_touch has to follow */
void svc_account_evict(svc_part *p, svc_account *a);      /* frees it; it must be idle */
void svc_account_expire(svc_part *p);                     /* now and then: evicts those that are idle for long */
void svc_account_shed(svc_part *p);                       /* after each message, when nobody holds one: evicts what is too many */
void svc_account_free_all(svc_part *p);                   /* at the end of the partition */
void svc_account_forget(svc_part *p, svc_account *a);     /* after USER_DEL: kicks sessions, drops the queue */
err svc_account_on_auth(svc_part *p, rt_msg **m);

/* keys.c: the protocol's form of keys and the store's; an absent one has key_len 0. */
void svc_keys_to_store(const xmpp_scram_keys *k, store_keys *out);
NODISCARD bool svc_keys_of_store(const store_keys *k, digest_alg alg, xmpp_scram_keys *out);

/* --- session.c */
void svc_session_deliver(svc_part *p, svc_session *s, const xmpp_env *e, slice extra); /* not kept */
void svc_session_deliver_blob(svc_part *p, svc_session *s, rt_blob *env);              /* not kept; takes its own reference */
void svc_session_kick(svc_part *p, svc_session *s, xmpp_stream_error e, const char *text);
void svc_session_free(svc_part *p, svc_account *a, svc_session *s); /* memory only: the partition ends */
void svc_session_end(svc_part *p, svc_account *a, svc_session *s);  /* unavailable goes out, unacked is delivered again, memory goes */
err svc_session_on_bind(svc_part *p, rt_msg **m);
err svc_session_on_unbind(svc_part *p, rt_msg **m);
err svc_session_on_sm(svc_part *p, rt_msg **m);
err svc_session_on_resume(svc_part *p, rt_msg **m);

/* --- message.c, carbon.c, queue.c, dedup.c */
void svc_message_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, uint32_t ticket);
void svc_message_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_carbon_sent(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e);
/* A received carbon of e for session s, as an env in p->out/p->scratch. */
rt_blob *svc_carbon_wrap(svc_part *p, svc_session *s, svc_account *a, const xmpp_env *e, bool sent, slice extra);
bool svc_carbon_wanted(const xmpp_env *e); /* XEP-0280 section 6: is this message eligible? */

void svc_queue_put(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
/* Runs fn now, or, if a put of this account is not durable yet, after it: keeps pair order. packed is referenced. */
typedef void svc_later(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_queue_behind(svc_part *p, svc_account *a, rt_blob *packed, rt_pid origin, uint32_t ticket, svc_later *fn);
void svc_queue_pump(svc_part *p, svc_account *a, svc_session *s);          /* sends what the window allows */
void svc_queue_session_bind(svc_account *a, svc_session *s);               /* new session: only what is addressed to it, from now on */
void svc_queue_session_start(svc_part *p, svc_account *a, svc_session *s); /* it became available with priority >= 0: drain from the head */
void svc_queue_session_stop(svc_part *p, svc_account *a);                  /* it no longer drains */
void svc_queue_session_end(svc_part *p, svc_account *a, svc_session *s);   /* its in-flight entries go to others, or stay */
/* Delivers a stanza that is not kept, behind what from (a full JID) sent before it and the session has not had yet. Takes a reference. */
void svc_queue_live(svc_part *p, svc_account *a, svc_session *s, slice from, rt_blob *env);
/* Sends a subscription request, which counts in the window and is acked like a kept message. False: no room now. */
bool svc_queue_request(svc_part *p, svc_session *s, slice request);
void svc_queue_attach(svc_part *p, store_index *ix); /* at start */
void svc_queue_drop(svc_part *p, svc_account *a);    /* account deleted */
void svc_queue_counts(const svc_account *a, uint64_t *out_messages, uint64_t *out_bytes, int64_t *out_oldest_wall);
err svc_queue_on_committed(svc_part *p, store_committed *c);
err svc_queue_on_moved(svc_part *p, rt_msg **m);
err svc_queue_on_acked(svc_part *p, rt_msg **m);
void svc_queue_fini(svc_part *p);

svc_dedup *svc_dedup_new(slice secret, uint64_t max); /* secret: of the data directory; max: entries in ten minutes */
void svc_dedup_free(svc_dedup *d);
void svc_dedup_hash(const svc_dedup *d, slice from_bare, slice to_bare, slice origin_id, uint64_t out[2]);
bool svc_dedup_seen(svc_dedup *d, const uint64_t h[2]);
void svc_dedup_add(svc_part *p, const uint64_t h[2]);
void svc_dedup_forget(svc_dedup *d, const uint64_t h[2]); /* the put failed */
void svc_dedup_tick(svc_dedup *d, usec now);
uint64_t svc_dedup_count(const svc_dedup *d);
uint64_t svc_dedup_early(const svc_dedup *d); /* how often entries were forgotten before ten minutes, because there were too many */

/* --- presence.c, subs.c, roster.c, block.c */
#define SVC_PRESENCE_MAX 16384u /* bytes of a presence: children, id and language; a larger one is refused */
void svc_presence_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_presence_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_presence_end(svc_part *p, svc_account *a, svc_session *s); /* the session is gone: unavailable to all who saw it */
void svc_presence_block(svc_part *p, svc_account *a, slice block);  /* ends directed presences to it, before it is blocked */
bool svc_presence_trusted(const svc_account *a, slice bare);        /* may that contact see our presence (from or both, or ourselves)? */
/* Roster iq of the account's own user. */
void svc_roster_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
/* Puts (or, if item->gone, removes) an item: memory and store; if it is or was in the roster, with a new version, and when durable a push
 * to interested resources; then(OK). On failure memory is loaded again and then(status). */
typedef void svc_roster_then(svc_part *p, svc_account *a, void *arg, err status);
void svc_roster_change(svc_part *p, svc_account *a, store_item *item, svc_roster_then *then, void *arg);
/* Presence of the subscription types, out of and into the account (RFC 6121 section 3 and appendix A). */
void svc_subs_out(svc_part *p, svc_account *a, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_subs_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
void svc_subs_more(svc_part *p, svc_account *a, svc_session *s);    /* as many of them as there is room for now */
void svc_subs_loaded(svc_account *a);                               /* the contacts are others now: those that are being sent begin anew */
void svc_subs_pending(svc_part *p, svc_account *a, svc_session *s); /* requests that wait, to a resource that became available */
void svc_presence_to(svc_part *p, svc_account *a, slice to, bool available); /* every available resource's presence, or unavailable */
void svc_block_iq(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
bool svc_block_matches(const svc_account *a, slice jid);

/* --- iq.c: requests to the account (bare JID or none) and to the server's domain; disco, ping, version, time, carbons enable */
void svc_iq_out(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e, rt_pid origin, uint32_t ticket);
/* Anything addressed to a domain of ours itself. */
void svc_iq_server(svc_part *p, const xmpp_env *e, rt_pid origin, uint32_t ticket);
void svc_iq_in(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket);
/* A set from the account to one of its own resources (roster and blocklist pushes), with an id of its own. */
void svc_iq_push(svc_part *p, svc_account *a, svc_session *s, slice inner);
/* Answers a request with a result whose children are inner. */
void svc_iq_result(svc_part *p, const xmpp_env *request, slice inner, rt_pid origin, uint32_t ticket);

/* --- admin.c */
err svc_admin_on_request(svc_part *p, rt_msg **m);
err svc_admin_on_job(svc_part *p, rt_msg *m); /* RT_JOB_DONE: keys were derived */

#endif
