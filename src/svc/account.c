/* account: accounts in memory. Loaded from the keyed store on first use; messages for an account that is being loaded wait on it and are
 * dispatched again in their order; an account without sessions, waiters, writes and queue is evicted after a while.
 *
 * Invariants: (1) an account is in part.idle exactly while it may be evicted. (2) SVC_ABSENT is remembered like an account, so that floods
 * to a wrong address cost one lookup a minute; there are at most idle_accounts_max idle ones of both kinds on the node. (3) Keys never stay
 * in memory: they are wiped when the record arrives. (4) A login asks the store for keys alone, whether or not the account is in memory or
 * exists: the same path, work and answer. The bind that follows loads the account. */
#include "rt/trace.h"
#include "svc/part.h"

#define JID_LEN_MASK 0xfffu /* a bare JID is at most 2,047 bytes (RFC 7622 section 3.1) */
#define STATE_MASK   0xfu
#define IDLE_SEC     60u   /* an account that nothing holds stays in memory this long after its last use */
#define EXPIRE_BATCH 1000u /* accounts looked at in one tick */

svc_account *svc_account_find(svc_part *p, slice bare) {
    uint64_t h = hash_bytes(rt_node_hash_key(rt_ctx_node(p->cx)), bare);
    for (hmap_node *n = hmap_find(&p->accounts, h); n; n = hmap_find_next(n)) {
        svc_account *a = container_of(n, svc_account, node);
        if (slice_eq(svc_account_jid(a), bare)) return a;
    }
    return NULL;
}

static uint32_t now_sec(const svc_part *p) { return rt_now_msec(p->cx) / 1000; }

static svc_account *account_new(svc_part *p, slice bare, svc_account_state state) {
    svc_account *a = mem_zalloc(sizeof *a);
    a->name = rt_blob_new(bare);
    a->jid_len = (uint16_t)bare.len & JID_LEN_MASK;
    a->state = (unsigned)state & STATE_MASK;
    a->used = now_sec(p);
    hmap_insert(&p->accounts, &a->node, hash_bytes(rt_node_hash_key(rt_ctx_node(p->cx)), bare));
    return a;
}

static void user_free(store_user *u) {
    if (u) u->box.free(&u->box);
}

static store_user *user_take(keyed_user *ku) { /* out of the message, without its keys */
    store_user *u = ku->user ? container_of(ku->user, store_user, box) : NULL;
    ku->user = NULL;
    return u;
}

static void wipe_keys(store_user *u) {
    mem_wipe(&u->sha1, sizeof u->sha1);
    mem_wipe(&u->sha256, sizeof u->sha256);
}

/* The record has come: the account can serve. Runs what waited. */
static void account_settle(svc_part *p, svc_account *a, keyed_user *ku) {
    if (ku && ku->status == ERR_OK) {
        store_user *u = user_take(ku);
        svc_contacts_load(a, u);
        wipe_keys(u);
        user_free(u);
        a->state = SVC_READY;
    } else {
        a->state = ku && ku->status == ERR_NOT_FOUND ? SVC_ABSENT : SVC_BROKEN;
    }
    svc_account_resume(p, a);
}

void svc_account_resume(svc_part *p, svc_account *a) {
    svc_account_hold(a); /* while its messages run */
    uint32_t trace = rt_trace(p->cx);
    rt_msg *m = a->work->wait_head;
    a->work->wait_head = a->work->wait_tail = NULL;
    while (m) {
        rt_msg *next = m->next;
        m->next = NULL;
        (void)rt_trace_swap(p->cx, m->trace);
        (void)svc_part_dispatch(p, &m); /* a failure is that message's alone: its sender got or gets no answer */
        rt_msg_drop(rt_ctx_node(p->cx), &m);
        arena_reset(&p->scratch);
        m = next;
    }
    (void)rt_trace_swap(p->cx, trace);
    svc_account_release(a);
    svc_account_touch(p, a);
}

/* The partition ends, or the store did not answer: the senders get no answer from this life of the partition. */
static void drop_waiting(svc_part *p, svc_account *a) {
    rt_msg *m = a->work ? a->work->wait_head : NULL;
    if (m) a->work->wait_head = a->work->wait_tail = NULL;
    while (m) {
        rt_msg *next = m->next;
        rt_msg_drop(rt_ctx_node(p->cx), &m);
        m = next;
    }
}

static void loaded(svc_part *p, void *arg, rt_msg *reply) {
    slice *bare = arg;
    svc_account *a = svc_account_find(p, *bare);
    if (a && (a->state == SVC_LOADING || svc_account_waited(a))) { /* deleted meanwhile: what waited is answered all the same */
        if (reply) {
            account_settle(p, a, keyed_user_of(reply));
        } else {
            a->state = SVC_BROKEN;
            drop_waiting(p, a);
        }
    }
    svc_disown(bare);
    mem_free(bare);
}

static void request_load(svc_part *p, slice bare, bool keys_only, svc_then *then, void *arg) {
    rt_msg *m = rt_msg_new(p->cx, KEYED_LOAD, sizeof(keyed_load));
    keyed_load_of(m)->ref = svc_part_ref(p, then, arg);
    keyed_load_of(m)->user = rt_blob_new(bare);
    keyed_load_of(m)->keys_only = keys_only;
    rt_send(p->cx, rt_name_find(p->cx, STORE_KEYED_NAME), &m);
}

svc_account *svc_account_stored(svc_part *p, slice bare) {
    svc_account *a = svc_account_find(p, bare);
    return a ? a : account_new(p, bare, SVC_UNLOADED);
}

svc_account *svc_account_get(svc_part *p, slice bare) {
    svc_account *a = svc_account_find(p, bare);
    if (a && a->state != SVC_UNLOADED && (a->state != SVC_BROKEN || (a->work && a->work->holds > 0)))
        return a; /* BROKEN and held: what waited is being answered with errors */
    xmpp_jid j;
    const svc_domain *d = xmpp_jid_split(bare, &j) ? svc_cfg_domain(p->cfg, j.domain) : NULL;
    if (!a) a = account_new(p, bare, SVC_LOADING);
    a->state = SVC_LOADING;
    if (d && d->anonymous) {
        a->state = a->sessions ? SVC_ANONYMOUS : SVC_ABSENT;
        svc_account_touch(p, a);
        return a;
    }
    svc_account_touch(p, a);
    slice *copy = mem_alloc(sizeof *copy);
    *copy = svc_own(bare);
    request_load(p, bare, false, loaded, copy);
    return a;
}

void svc_account_wait(svc_account *a, rt_msg **m) {
    rt_msg *w = *m;
    *m = NULL;
    w->next = NULL;
    svc_work *k = svc_account_work(a);
    if (k->wait_tail)
        k->wait_tail->next = w;
    else
        k->wait_head = w;
    k->wait_tail = w;
}

svc_work *svc_account_work(svc_account *a) {
    if (!a->work) a->work = mem_zalloc(sizeof *a->work);
    return a->work;
}

void svc_account_hold(svc_account *a) { svc_account_work(a)->holds++; }

void svc_account_release(svc_account *a) {
    if (check(a->work && a->work->holds > 0)) a->work->holds--;
}

static void work_free(svc_account *a) {
    const svc_work *w = a->work;
    if (!w || w->wait_head || w->order_head || w->puts || w->holds) return;
    mem_free(a->work);
    a->work = NULL;
}

static bool evictable(const svc_account *a) { return !a->sessions && !a->work && !a->queue && a->state != SVC_LOADING; }

static void leave_idle(svc_part *p, svc_account *a) {
    if (!list_linked(&a->lru)) return;
    list_remove(&a->lru);
    p->n_idle--;
}

void svc_account_touch(svc_part *p, svc_account *a) {
    a->used = now_sec(p);
    work_free(a);
    leave_idle(p, a);
    if (!evictable(a)) return;
    list_push_back(&p->idle, &a->lru);
    p->n_idle++;
}

void svc_account_evict(svc_part *p, svc_account *a) {
    leave_idle(p, a);
    hmap_remove(&p->accounts, &a->node);
    svc_contacts_free(a);
    rt_blob_unref(a->name);
    mem_free(a->work);
    mem_free(a);
}

static svc_account *longest_idle(const svc_part *p) {
    list *l = list_first(&p->idle);
    return l ? container_of(l, svc_account, lru) : NULL;
}

void svc_account_expire(svc_part *p) {
    svc_account *a = longest_idle(p);
    for (unsigned i = 0; i < EXPIRE_BATCH && a && now_sec(p) - a->used >= IDLE_SEC; i++, a = longest_idle(p)) svc_account_evict(p, a);
}

void svc_account_shed(svc_part *p) {
    uint32_t max = p->cfg->idle_accounts_max / p->cfg->partitions;
    while (p->n_idle > max && p->n_idle > 0) svc_account_evict(p, longest_idle(p));
}

void svc_account_free_all(svc_part *p) {
    for (hmap_node *n = hmap_first(&p->accounts); n;) {
        hmap_node *next = hmap_next(&p->accounts, n);
        svc_account *a = container_of(n, svc_account, node);
        while (a->sessions) svc_session_free(p, a, a->sessions);
        drop_waiting(p, a);
        svc_account_evict(p, a);
        n = next;
    }
}

void svc_account_forget(svc_part *p, svc_account *a) {
    while (a->sessions) {
        svc_session_kick(p, a->sessions, STREAM_NOT_AUTHORIZED, "the account was deleted");
        svc_session_end(p, a, a->sessions);
    }
    svc_queue_drop(p, a);
    svc_contacts_free(a);
    a->state = SVC_ABSENT;
    svc_account_touch(p, a);
}

/* --- login: keys of an account, or fake ones */
typedef struct auth_ctx {
    rt_pid to;
    uint64_t ref;
    slice bare; /* owned */
} auth_ctx;

static void fake_keys(const svc_part *p, digest_alg alg, slice user, xmpp_scram_keys *out) {
    xmpp_scram_fake(alg, slice_of(p->cfg->fake_salt_secret, sizeof p->cfg->fake_salt_secret), user, p->cfg->scram_iterations, out);
}

static void auth_loaded(svc_part *p, void *arg, rt_msg *reply) {
    auth_ctx *c = arg;
    keyed_user *ku = reply ? keyed_user_of(reply) : NULL;
    store_user *u = ku ? user_take(ku) : NULL; /* of an unknown account, too, without keys; NULL when the store failed */
    xmpp_scram_keys sha1, sha256;              /* made for every request, so that known and unknown accounts cost the same */
    fake_keys(p, DIGEST_SHA1, c->bare, &sha1);
    fake_keys(p, DIGEST_SHA256, c->bare, &sha256);
    xmpp_scram_keys real;
    if (u && svc_keys_of_store(&u->sha1, DIGEST_SHA1, &real)) sha1 = real; /* an account that lacks one keeps the fake: no proof fits it */
    if (u && svc_keys_of_store(&u->sha256, DIGEST_SHA256, &real)) sha256 = real;
    mem_wipe(&real, sizeof real);
    buf b;
    buf_init(&b, 4096);
    svc_keys_pack(&b, &sha1, &sha256);
    if (reply) {
        rt_msg *m = rt_msg_new(p->cx, SVC_KEYS, sizeof(svc_keys));
        svc_keys *k = svc_keys_of(m);
        k->ref = c->ref;
        k->status = ku->status == ERR_OK || ku->status == ERR_NOT_FOUND ? ERR_OK : ERR_IO;
        k->exists = ku->status == ERR_OK;
        k->keys = rt_blob_new(buf_slice(&b));
        rt_send(p->cx, c->to, &m);
    }
    if (b.p) mem_wipe(b.p, b.cap);
    buf_fini(&b);
    mem_wipe(&sha1, sizeof sha1);
    mem_wipe(&sha256, sizeof sha256);
    if (u) wipe_keys(u);
    user_free(u);
    svc_disown(&c->bare);
    mem_free(c);
}

err svc_account_on_auth(svc_part *p, rt_msg **m) {
    svc_auth *q = svc_auth_of(*m);
    auth_ctx *c = mem_zalloc(sizeof *c);
    c->to = (*m)->sender;
    c->ref = q->ref;
    c->bare = svc_own(rt_blob_slice(q->user));
    request_load(p, c->bare, true, auth_loaded, c);
    return ERR_OK;
}
