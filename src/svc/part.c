/* part: the partition actor: one dispatcher, requests under way, ids, the once-a-second tick.
 *
 * Invariants: (1) nothing is served before the log's index has come: what arrives earlier is deferred, in order. (2) Every request to a
 * store actor has a ref; its continuation runs exactly once, with the reply or, at the end of the actor, with NULL. (3) Ids grow; the
 * epoch in their top bits is new at every start of the log. */
#include "base/codec.h"
#include "base/plant.h"
#include "rt/trace.h"
#include "svc/queue.h"
#include "svc/route.h"

#define MAILBOX_BYTES_MAX                                                                                                                  \
    (64u << 20) /* stanzas that wait for a partition; past it sessions are not read, other partitions not run, for a while */
#define TICK_USEC   USEC_PER_SEC
#define SCRATCH_MAX (4u << 20)  /* one stanza's tree: bytes retained / received is at most 16 for 256 KiB */
#define OUT_MAX     (16u << 20) /* one composed stanza or result (a full roster) */

typedef struct ref_node {
    hmap_node node;
    uint64_t ref;
    svc_then *then;
    void *arg;
} ref_node;

/* --- requests under way */
uint64_t svc_part_ref(svc_part *p, svc_then *then, void *arg) {
    ref_node *r = mem_zalloc(sizeof *r);
    r->ref = ++p->next_ref;
    r->then = then;
    r->arg = arg;
    hmap_insert(&p->refs, &r->node, hash_u64(r->ref));
    return r->ref;
}

static ref_node *ref_take(svc_part *p, uint64_t ref) {
    for (hmap_node *n = hmap_find(&p->refs, hash_u64(ref)); n; n = hmap_find_next(n)) {
        ref_node *r = container_of(n, ref_node, node);
        if (r->ref == ref) {
            hmap_remove(&p->refs, n);
            return r;
        }
    }
    return NULL;
}

static err on_answer(svc_part *p, uint64_t ref, rt_msg *reply) {
    ref_node *r = ref_take(p, ref);
    if (!r) return ERR_OK; /* asked by an earlier life of this partition */
    r->then(p, r->arg, reply);
    mem_free(r);
    return ERR_OK;
}

typedef struct write_ctx {
    slice user;      /* owned: the account may be gone and loaded again */
    uint64_t number; /* among the writes of the account */
    svc_then *then;
    void *arg;
} write_ctx;

static void write_done(svc_part *p, void *arg, rt_msg *reply) {
    write_ctx *w = arg;
    svc_account *a = svc_account_find(p, w->user);
    if (a) a->work->write_done = w->number; /* it is held for this write */
    w->then(p, w->arg, reply);
    if (a && reply) {
        svc_queue_order_run(p, a);
        if (!svc_account_writing(a) && a->state != SVC_LOADING && svc_account_waited(a)) svc_account_resume(p, a);
    }
    if (a) {
        svc_account_release(a);
        svc_account_touch(p, a);
    }
    svc_disown(&w->user);
    mem_free(w);
}

void svc_part_write(svc_part *p, svc_account *a, store_ops *ops, svc_then *then, void *arg) {
    write_ctx *w = mem_zalloc(sizeof *w);
    w->user = svc_own(svc_account_jid(a));
    w->then = then;
    w->arg = arg;
    svc_account_hold(a);
    w->number = ++a->work->last_write;
    svc_account_touch(p, a);
    rt_msg *m = rt_msg_new(p->cx, KEYED_WRITE, sizeof(keyed_write));
    keyed_write_of(m)->ref = svc_part_ref(p, write_done, w);
    keyed_write_of(m)->ops = store_ops_box(ops);
    rt_send(p->cx, rt_name_find(p->cx, STORE_KEYED_NAME), &m);
}

void svc_part_done(svc_part *p, rt_pid session, uint32_t ticket) {
    if (!rt_pid_ok(session)) return;
    rt_msg *m = rt_msg_new(p->cx, SVC_DONE, sizeof(svc_done));
    svc_done_of(m)->ticket = ticket;
    rt_send(p->cx, session, &m);
}

rt_blob *svc_part_pack(svc_part *p, const xmpp_env *e) {
    buf b; /* not p->out: e->inner may live there */
    buf_init(&b, OUT_MAX);
    xmpp_env_pack(&b, e);
    rt_blob *blob = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    (void)p;
    return blob;
}

/* --- the stores: when one ends, what it was asked is never answered, so this life of the partition ends with it and begins again */
static void watch(svc_part *p, uint64_t *monitor, const char *name) {
    rt_pid store = rt_name_find(p->cx, name);
    if (rt_pid_ok(store) && *monitor == 0) *monitor = rt_monitor(p->cx, store);
}

/* --- deferring until the index is there */
static void defer(svc_part *p, rt_msg **m) {
    rt_msg *d = *m;
    *m = NULL;
    d->next = NULL;
    if (p->defer_tail)
        p->defer_tail->next = d;
    else
        p->defer_head = d;
    p->defer_tail = d;
}

static void attach(svc_part *p) {
    rt_pid log = rt_name_find(p->cx, STORE_LOG_NAME);
    rt_msg *m = rt_msg_new(p->cx, STORE_ATTACH, sizeof(store_attach));
    store_attach_of(m)->partition = p->index;
    store_attach_of(m)->partitions = p->cfg->partitions;
    rt_send(p->cx, log, &m);
    watch(p, &p->log_monitor, STORE_LOG_NAME);
    watch(p, &p->keyed_monitor, STORE_KEYED_NAME);
}

static err part_handle(rt_ctx *cx, void *st, rt_msg **m);

static err on_index(svc_part *p, rt_msg *m) {
    store_index_msg *im = store_index_msg_of(m);
    if (im->status != ERR_OK) return im->status;
    store_index *ix = container_of(im->index, store_index, box);
    im->index = NULL;
    p->epoch = im->epoch;
    if (p->arg->ids->epoch != p->epoch) *p->arg->ids = (svc_part_ids){.epoch = p->epoch};
    svc_queue_attach(p, ix);
    for (size_t i = 0; i < ix->n_recent && !plant(DEDUP_FORGETS_AT_START); i++) {
        const uint64_t h[2] = {ix->recent[i].h0, ix->recent[i].h1};
        svc_dedup_add(p, h);
    }
    ix->box.free(&ix->box);
    p->ready = true;
    err named = rt_name_register(p->cx, p->arg->ready_name);
    if (named != ERR_OK) return named;
    rt_msg *d = p->defer_head;
    p->defer_head = p->defer_tail = NULL;
    while (d) {
        rt_msg *next = d->next;
        d->next = NULL;
        (void)rt_trace_swap(p->cx, d->trace);
        err e = part_handle(p->cx, p, &d);
        rt_msg_drop(rt_ctx_node(p->cx), &d);
        if (e != ERR_OK) {
            while (next) {
                d = next;
                next = d->next;
                rt_msg_drop(rt_ctx_node(p->cx), &d);
            }
            return e;
        }
        d = next;
    }
    return ERR_OK;
}

/* The answer that a store actor would have given had it had room for the question. */
static err answer_for(svc_part *p, uint64_t ref, rt_msg *a) {
    err e = on_answer(p, ref, a);
    rt_msg_drop(rt_ctx_node(p->cx), &a);
    return e;
}

static err refused_load(svc_part *p, uint64_t ref) {
    rt_msg *a = rt_msg_new(p->cx, KEYED_USER, sizeof(keyed_user));
    keyed_user_of(a)->status = ERR_OVERLOAD;
    return answer_for(p, ref, a);
}

static err refused_write(svc_part *p, uint64_t ref) {
    rt_msg *a = rt_msg_new(p->cx, KEYED_WRITTEN, sizeof(keyed_written));
    keyed_written_of(a)->status = ERR_OVERLOAD;
    return answer_for(p, ref, a);
}

static err refused_read(svc_part *p, const store_read *q) {
    cursor c = cursor_of(rt_blob_slice(q->ids));
    uint64_t id = 0;
    if (!cursor_u64le(&c, &id)) return ERR_BUG;
    buf b;
    buf_init(&b, 64);
    buf_add_u64le(&b, id);
    buf_add_byte(&b, ERR_OVERLOAD);
    buf_add_u64le(&b, 0);
    buf_add_lslice(&b, SLICE(""));
    rt_msg *a = rt_msg_new(p->cx, STORE_RECORDS, sizeof(store_records));
    store_records_of(a)->records = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    return answer_for(p, q->ref, a);
}

/* What a session must have did not reach it: acks of what came later would cover it. It ends without a word that could be refused too. */
static void lost(svc_part *p, rt_pid session) { rt_exit(p->cx, session, ERR_OVERLOAD); }

/* A message that came back: the receiver's mailbox was full. */
static err on_refused(svc_part *p, rt_msg *m) {
    switch (RT_TAG(m)) {
    case KEYED_LOAD: return refused_load(p, keyed_load_of(m)->ref);
    case KEYED_WRITE: return refused_write(p, keyed_write_of(m)->ref);
    case STORE_READ: return refused_read(p, store_read_of(m));
    case STORE_PUT: return ERR_OVERLOAD; /* its fate is unknown to senders: they will send again */
    case SVC_DONE: lost(p, m->sender); return ERR_OK;
    case SVC_DELIVER:
        if (svc_deliver_of(m)->keep) lost(p, m->sender);
        return ERR_OK; /* what is not kept is best effort */
    default: return ERR_OK;
    }
}

err svc_part_dispatch(svc_part *p, rt_msg **m) {
    switch (RT_TAG(*m)) {
    case SVC_AUTH: return svc_account_on_auth(p, m);
    case SVC_BIND: return svc_session_on_bind(p, m);
    case SVC_UNBIND: return svc_session_on_unbind(p, m);
    case SVC_SM: return svc_session_on_sm(p, m);
    case SVC_RESUME: return svc_session_on_resume(p, m);
    case SVC_STANZA: return svc_route_on_stanza(p, m);
    case SVC_ROUTE: return svc_route_on_route(p, m);
    case SVC_ACKED: return svc_queue_on_acked(p, m);
    case SVC_ADMIN: return svc_admin_on_request(p, m);
    case STORE_COMMITTED: return svc_queue_on_committed(p, store_committed_of(*m));
    case STORE_RECORDS: return on_answer(p, store_records_of(*m)->ref, *m);
    case STORE_MOVED: return svc_queue_on_moved(p, m);
    case KEYED_USER: return on_answer(p, keyed_user_of(*m)->ref, *m);
    case KEYED_WRITTEN: return on_answer(p, keyed_written_of(*m)->ref, *m);
    case RT_JOB_DONE: return svc_admin_on_job(p, *m);
    default: return ERR_OK; /* anybody may send us anything */
    }
}

static err part_handle(rt_ctx *cx, void *st, rt_msg **m) {
    svc_part *p = st;
    p->cx = cx;
    if (RT_TAG(*m) == RT_DOWN && (rt_down_of(*m)->ref == p->log_monitor || rt_down_of(*m)->ref == p->keyed_monitor)) return ERR_NOPROC;
    if ((*m)->tag & RT_MSG_REFUSED) return on_refused(p, *m);
    if (RT_TAG(*m) == STORE_INDEX) return p->ready ? ERR_OK : on_index(p, *m);
    if (!p->ready) {
        defer(p, m);
        return ERR_OK;
    }
    err e = svc_part_dispatch(p, m);
    svc_account_shed(p);
    arena_reset(&p->scratch);
    buf_reset(&p->out);
    return e;
}

static err part_timer(rt_ctx *cx, void *st, rt_timer *t) {
    svc_part *p = st;
    p->cx = cx;
    usec now = rt_now(cx);
    rt_timer_set(cx, t, now + TICK_USEC);
    svc_dedup_tick(p->dedup, now);
    svc_account_expire(p);
    if (!p->ready) attach(p); /* the log may have restarted before it answered */
    return ERR_OK;
}

static err part_init(rt_ctx *cx, void *st, const void *arg) {
    svc_part *p = st;
    const svc_part_arg *pa = arg;
    p->cx = cx;
    p->cfg = pa->cfg;
    p->index = pa->index;
    p->arg = pa;
    hmap_init(&p->accounts);
    hmap_init(&p->refs);
    list_init(&p->idle);
    arena_init(&p->scratch, SCRATCH_MAX);
    buf_init(&p->out, OUT_MAX);
    slice secret = slice_of(p->cfg->fake_salt_secret, sizeof p->cfg->fake_salt_secret);
    p->dedup = svc_dedup_new(secret, p->cfg->dedup_max / p->cfg->partitions + 1);
    svc_route_init(p);
    err e = rt_name_register(cx, pa->name);
    if (e != ERR_OK) {
        svc_dedup_free(p->dedup);
        svc_route_fini(p);
        return e;
    }
    rt_map_show(cx, &p->accounts_shown, "accounts", p->index, &p->accounts);
    rt_timer_set(cx, &p->tick, rt_now(cx) + TICK_USEC);
    attach(p);
    return ERR_OK;
}

static void each_session(svc_part *p, void (*fn)(svc_part *p, svc_account *a, svc_session *s)) {
    for (hmap_node *n = hmap_first(&p->accounts); n; n = hmap_next(&p->accounts, n)) {
        svc_account *a = container_of(n, svc_account, node);
        for (svc_session *s = a->sessions; s; s = s->next) fn(p, a, s);
        arena_reset(&p->scratch);
    }
}

static void part_fini(rt_ctx *cx, void *st, err reason) {
    svc_part *p = st;
    p->cx = cx;
    (void)reason;
    each_session(p, svc_presence_end); /* who saw them must not see ghosts */
    for (hmap_node *n = hmap_first(&p->refs); n;) {
        hmap_node *next = hmap_next(&p->refs, n);
        ref_node *r = container_of(n, ref_node, node);
        hmap_remove(&p->refs, n);
        r->then(p, r->arg, NULL);
        mem_free(r);
        n = next ? next : hmap_first(&p->refs); /* a continuation may have asked again */
    }
    for (rt_msg *d = p->defer_head; d;) {
        rt_msg *next = d->next;
        rt_msg_drop(rt_ctx_node(cx), &d);
        d = next;
    }
    svc_queue_fini(p);
    svc_account_free_all(p);
    rt_map_hide(cx, &p->accounts_shown);
    hmap_fini(&p->refs);
    hmap_fini(&p->accounts);
    svc_dedup_free(p->dedup);
    svc_route_fini(p);
    arena_fini(&p->scratch);
    buf_fini(&p->out);
}

const rt_class svc_part_class = {
    .name = "part",
    .state_size = sizeof(svc_part),
    .init = part_init,
    .handle = part_handle,
    .timer = part_timer,
    .fini = part_fini,
    .mailbox_bytes_max = MAILBOX_BYTES_MAX,
    .bound = RT_BOUND_MUTE,
    .unflushable = true,
};
