/* queue: the kept messages of an account, from the put to the ack.
 *
 *   put ----> p->puts (waiting for STORE_COMMITTED) ----> committed entry ----> in flight to sessions ----> acked: STORE_DEL, gone
 *               | NOSPC: the sender is answered, entry dead      ^ read again from the log when its bytes are not in memory
 *
 * Each account has one sequence of entries; each session has a cursor into it. Live delivery is a cursor at the end; draining the offline
 * queue is a cursor at the head; a slow client is a cursor that lags. That is why order holds across the switch (promises.md, sentence 5).
 *
 * Invariants: (1) entries are in id order, which is the order of acceptance. (2) A cursor never passes an entry that is not committed.
 * (3) Bytes of an entry stay in memory only until every session that drains has passed it; then they are read from the log when needed.
 * (4) An entry leaves at the head when it is acked or dead and every draining session has passed it. (5) SVC_DONE for a put is sent after
 * its commit, never before. (6) A stanza that came behind a put, or behind a change of the roster, waits in account.order until that is
 * durable. (7) No step walks the queue: entries whose bytes are in memory, entries to be looked at again and senders whose messages wait
 * have lists of their own; what is done with in the midst is taken out when it is more than half. */
#include "svc/queue.h"

#include "base/plant.h"
#include "rt/memory.h"
#include "rt/trace.h"
#include "svc/route.h"

#define READ_BATCH     64u /* records asked for at once */
#define INFLIGHT_FIRST 8u
#define COMPACT_MIN    64u /* entries that are done with, and stand between others, before they are taken out */

/* --- positions */
static inline uint64_t tail(const svc_queue *q) { return svc_queue_tail(q); }
static inline svc_entry *at(svc_queue *q, uint64_t pos) { return svc_queue_at(q, pos); }
static inline bool drains(const svc_session *s) { return svc_queue_drains(s); }

static svc_queue *queue_of(svc_account *a) {
    if (!a->queue) {
        a->queue = mem_zalloc(sizeof *a->queue);
        a->queue->base = a->positions;
    }
    return a->queue;
}

static svc_entry *entry_by_id(svc_queue *q, uint64_t id, uint64_t *out_pos) {
    size_t lo = q->head, hi = q->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (q->e[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == q->n || q->e[lo].id != id) return NULL;
    if (out_pos) *out_pos = q->base + (lo - q->head);
    return &q->e[lo];
}

static svc_entry *push(svc_account *a, uint64_t id, uint32_t bytes, int64_t wall) {
    svc_queue *q = queue_of(a);
    if (q->n == q->cap && q->head > q->n / 2) {
        memmove(q->e, q->e + q->head, (q->n - q->head) * sizeof *q->e);
        q->n -= q->head;
        q->head = 0;
    }
    void *e = q->e;
    mem_grow(&e, &q->cap, q->n + 1, sizeof *q->e);
    q->e = e;
    svc_entry *x = &q->e[q->n++];
    *x = (svc_entry){.id = id, .bytes = bytes, .wall = wall};
    q->live++;
    q->bytes += bytes;
    return x;
}

static void unlive(svc_queue *q, svc_entry *e, uint16_t flag) {
    if (!(e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_DEAD))) {
        q->live--;
        q->bytes -= e->bytes;
    }
    e->flags = (uint16_t)(e->flags | flag);
}

static bool window_full(const svc_part *p, const svc_session *s) {
    uint64_t bytes_max = p->cfg->window_bytes;
    if (s->more && s->more->asking && bytes_max > SVC_REQUEST_WINDOW)
        bytes_max = SVC_REQUEST_WINDOW; /* or requests would never have room */
    return s->keep_sent - s->keep_acked >= p->cfg->window_messages || (s->more && s->more->inflight_bytes >= bytes_max);
}

size_t svc_queue_ids_find(const svc_ids *l, uint64_t pos) {
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->v[mid] < pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t ids_find(const svc_ids *l, uint64_t pos) { return svc_queue_ids_find(l, pos); }

static void ids_add(svc_ids *l, size_t i, uint64_t v) {
    void *to = l->v;
    mem_grow(&to, &l->cap, l->n + 1, sizeof *l->v);
    l->v = to;
    memmove(l->v + i + 1, l->v + i, (l->n - i) * sizeof *l->v);
    l->v[i] = v;
    l->n++;
}

static void ids_free(svc_ids *l) {
    mem_free(l->v);
    *l = (svc_ids){0};
}

uint64_t svc_queue_next(const svc_queue *q, const svc_session *s) {
    uint64_t next = s->cursor < q->base ? q->base : s->cursor;
    if (!s->more || s->more->redo >= next) return next;
    size_t i = ids_find(&q->again, s->more->redo > q->base ? s->more->redo : q->base);
    return i < q->again.n && q->again.v[i] < next ? q->again.v[i] : next;
}

void svc_queue_free(svc_queue *q) {
    svc_queue_wait_free(q);
    svc_queue_live_free(q);
    for (size_t i = q->head; i < q->n; i++) rt_blob_unref(q->e[i].env);
    ids_free(&q->loaded);
    ids_free(&q->again);
    mem_free(q->e);
    mem_free(q);
}

static void del(svc_part *p, uint64_t id, uint64_t loc);

uint64_t svc_queue_entries(const svc_account *a) { return a->queue ? a->queue->n - a->queue->head : 0; }

/* Where a position lies when those are gone. */
static uint64_t moved(const svc_ids *gone, uint64_t pos) { return pos - ids_find(gone, pos); }

/* Takes out what is done with everywhere: behind an old message that nobody takes, such as one for a resource of negative priority to the
 * bare JID, the head would never come to it. Amortised, because at least as many are taken out as stay. */
static void compact(svc_part *p, svc_account *a) {
    svc_queue *q = a->queue;
    svc_ids gone = {0};
    size_t to = q->head, again = 0;
    for (uint64_t pos = q->base, end = tail(q); pos < end; pos++) {
        svc_entry *e = at(q, pos);
        p->queue_steps++;
        if ((e->flags & SVC_ENTRY_DEAD) || (e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_OWED)) == SVC_ENTRY_ACKED) {
            rt_blob_unref(e->env);
            ids_add(&gone, gone.n, pos);
        } else {
            q->e[to++] = *e;
        }
    }
    q->n = to;
    for (svc_session *s = a->sessions; s; s = s->next) {
        s->cursor = moved(&gone, s->cursor);
        s->start = moved(&gone, s->start);
        if (s->more && s->more->redo != UINT64_MAX) s->more->redo = moved(&gone, s->more->redo);
    }
    for (size_t i = 0; i < q->again.n; i++) {
        size_t at = ids_find(&gone, q->again.v[i]);
        bool out = q->again.v[i] < q->base || (at < gone.n && gone.v[at] == q->again.v[i]);
        if (!out) q->again.v[again++] = q->again.v[i] - at;
    }
    q->again.n = again;
    if (q->left) q->left = moved(&gone, q->left - 1) + 1;
    svc_queue_live_moved(q, &gone);
    for (svc_order *o = a->work ? a->work->order_head : NULL; o; o = o->next) o->tail = moved(&gone, o->tail);
    svc_queue_wait_free(q); /* made again when it is needed */
    ids_free(&gone);
}

void svc_queue_trim(svc_part *p, svc_account *a) {
    svc_queue *q = a->queue;
    if (!q) return;
    uint64_t limit = tail(q);
    for (svc_session *s = a->sessions; s; s = s->next)
        if (drains(s) && svc_queue_next(q, s) < limit) limit = svc_queue_next(q, s);
    while (q->base < limit && (at(q, q->base)->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_DEAD))) {
        const svc_entry *e = at(q, q->base);
        if (e->flags & SVC_ENTRY_OWED) {
            q->owed--;
            del(p, e->id, e->loc);
        }
        rt_blob_unref(e->env);
        q->head++;
        q->base++;
    }
    size_t n = q->n - q->head, done = n - (size_t)(q->live + q->owed);
    if (done > COMPACT_MIN && done > n / 2) compact(p, a);
    if (q->head == q->n) {
        for (svc_session *s = a->sessions; s; s = s->next) svc_queue_live_run(p, a, s); /* nothing is left to wait for */
        a->positions = q->base;
        svc_queue_free(q);
        a->queue = NULL;
    }
}

/* Will the session take this entry soon? Then it need not be read from the log for it. What a session may make us keep is bounded by the
 * window. */
static bool takes_soon(const svc_part *p, const svc_session *s, uint64_t pos) {
    if (!drains(s) || s->cursor > pos || pos - s->cursor >= p->cfg->window_messages) return false;
    return s->reading || !window_full(p, s);
}

static void drop_bytes(svc_part *p, svc_account *a, svc_entry *e, uint64_t pos) { /* invariant 3 */
    if (!e->env || e->flags & SVC_ENTRY_HOLD) return;
    for (svc_session *s = a->sessions; s; s = s->next)
        if (takes_soon(p, s, pos)) return;
    rt_blob_unref(e->env);
    e->env = NULL;
}

/* Forgets those of the loaded that are no longer in memory; with drop set, first drops what no session will take any more. */
static void sweep(svc_part *p, svc_account *a, bool drop) {
    svc_queue *q = a->queue;
    size_t n = 0;
    for (size_t i = 0; i < q->loaded.n; i++) {
        uint64_t pos;
        svc_entry *e = entry_by_id(q, q->loaded.v[i], &pos);
        p->queue_steps++;
        if (e && drop) drop_bytes(p, a, e, pos);
        if (e && e->env) q->loaded.v[n++] = q->loaded.v[i];
    }
    q->loaded.n = n;
    if (n == 0) ids_free(&q->loaded);
}

void svc_queue_release(svc_part *p, svc_account *a) {
    if (a->queue) sweep(p, a, true);
}

static void loaded(svc_part *p, svc_account *a, const svc_entry *e) { /* its bytes stay in memory for now */
    svc_ids *l = &a->queue->loaded;
    if (l->n > 0 && l->n == l->cap) sweep(p, a, false); /* before it grows */
    ids_add(l, l->n, e->id);
}

/* --- acks */
static void del(svc_part *p, uint64_t id, uint64_t loc) {
    rt_msg *m = rt_msg_new(p->cx, STORE_DEL, sizeof(store_del));
    store_del_of(m)->id = id;
    store_del_of(m)->loc = loc;
    rt_send(p->cx, rt_name_find(p->cx, STORE_LOG_NAME), &m);
}

/* Is there a session that was draining when the entry came, and has not come to it yet? */
static bool owed(const svc_account *a, uint64_t pos) {
    for (const svc_session *s = a->sessions; s; s = s->next)
        if (drains(s) && s->start <= pos && s->cursor <= pos) return true;
    return false;
}

/* Microseconds since it came. By the wall clock, because it may have come before a restart; 0 when that was set back meanwhile. */
static uint64_t age(svc_part *p, const svc_entry *e) {
    int64_t now = rt_wall(p->cx);
    return now > e->wall ? (uint64_t)(now - e->wall) : 0;
}

static void acked(svc_part *p, svc_account *a, uint64_t id) {
    svc_queue *q = a->queue;
    uint64_t pos = 0;
    svc_entry *e = q ? entry_by_id(q, id, &pos) : NULL;
    if (!e || (e->flags & SVC_ENTRY_ACKED)) return; /* another resource was first */
    unlive(q, e, SVC_ENTRY_ACKED);
    if (owed(a, pos)) {
        e->flags |= SVC_ENTRY_OWED;
        q->owed++;
    } else {
        del(p, e->id, e->loc);
    }
    rt_event(p->cx, EV_MSG_DELIVERED, e->id, age(p, e), 0);
}

/* A resource that takes nothing keeps everything that others have acked: no more than the quota of the account, or it has to come again. */
static void shed(svc_part *p, svc_account *a) {
    while (a->queue && a->queue->owed > p->cfg->offline_messages_max) {
        svc_session *last = NULL;
        for (svc_session *s = a->sessions; s; s = s->next)
            if (drains(s) && (!last || svc_queue_next(a->queue, s) < svc_queue_next(a->queue, last))) last = s;
        if (!check(last)) return; /* somebody is owed what is owed */
        svc_session_kick(p, last, STREAM_POLICY_VIOLATION, "other resources have read far more than this one");
        svc_session_end(p, a, last);
    }
}

err svc_queue_on_acked(svc_part *p, rt_msg **m) {
    svc_acked *k = svc_acked_of(*m);
    svc_account *a = svc_account_find(p, xmpp_jid_bare(rt_blob_slice(k->jid)));
    svc_session *s = a ? svc_session_of(a, (*m)->sender) : NULL;
    if (!s) return ERR_OK;
    if (k->upto - s->keep_acked > s->keep_sent - s->keep_acked) return ERR_OK; /* not a number that we sent: an old ack */
    uint32_t n = k->upto - s->keep_acked;
    if (plant(ACK_WINDOW_OFF_BY_ONE) && n > 1 && k->upto < s->keep_sent) acked(p, a, s->more->inflight[n].id);
    if (n == 0) return ERR_OK;
    svc_more *f = s->more; /* it is there: something was in flight */
    for (uint32_t i = 0; i < n; i++) {
        f->inflight_bytes -= f->inflight[i].bytes;
        rt_trace_step(p->cx, f->inflight[i].trace, EV_TRACE_ACKED, f->inflight[i].id, s->keep_acked + i + 1, 0);
        if (f->inflight[i].id != SVC_SENT_REQUEST) acked(p, a, f->inflight[i].id);
    }
    memmove(f->inflight, f->inflight + n, (s->keep_sent - k->upto) * sizeof *f->inflight);
    s->keep_acked = k->upto;
    if (s->keep_acked == s->keep_sent) {
        mem_free(f->inflight);
        f->inflight = NULL;
        f->inflight_cap = 0;
        svc_session_less(s);
    }
    svc_subs_more(p, a, s);
    svc_queue_pump(p, a, s);
    svc_queue_trim(p, a);
    shed(p, a);
    svc_account_touch(p, a);
    return ERR_OK;
}

/* --- sending to sessions */
static bool inflight_has(svc_part *p, const svc_session *s, const svc_entry *e) {
    if (!(e->flags & SVC_ENTRY_FLIGHT)) return false;
    for (uint32_t i = 0; i < s->keep_sent - s->keep_acked; i++) {
        p->queue_steps++;
        if (s->more->inflight[i].id == e->id) return true;
    }
    return false;
}

typedef enum how { SKIP, DIRECT, CARBON } how;

/* RFC 6121 8.5.2.1 and 8.5.3: to the bare JID, every available resource of non-negative priority; to a full JID, that resource, copies to
 * carbons-enabled others, and, if it is not there, as to the bare JID. */
static how wants(svc_account *a, const svc_session *s, const xmpp_env *e) {
    slice resource = xmpp_jid_resource(e->to);
    if (!resource.p) return drains(s) ? DIRECT : SKIP;
    if (slice_eq(resource, svc_session_resource(s))) return DIRECT;
    if (!svc_session_find(a, resource)) return drains(s) ? DIRECT : SKIP;
    if (slice_eq(xmpp_jid_bare(e->from), svc_account_jid(a))) return SKIP; /* it has, or is, what was sent: XEP-0280 section 8 */
    return (s->carbons || plant(CARBON_TO_EVERYBODY)) && drains(s) && svc_carbon_wanted(e) ? CARBON : SKIP;
}

static slice extra_of(svc_part *p, svc_account *a, const svc_entry *e, bool delayed) {
    size_t from = p->out.len;
    buf_addf(&p->out, "<stanza-id xmlns='" NS_SID "' id='%016llx' by='", (unsigned long long)e->id);
    xmpp_xml_escape(&p->out, svc_account_jid(a));
    buf_add_str(&p->out, "'/>");
    if (delayed) {
        char stamp[32];
        (void)time_format(e->wall, true, stamp);
        xmpp_jid j;
        buf_addf(&p->out, "<delay xmlns='" NS_DELAY "' stamp='%s'", stamp);
        if (xmpp_jid_split(svc_account_jid(a), &j)) xmpp_xml_write_attr(&p->out, "from", j.domain);
        buf_add_str(&p->out, "/>");
    }
    return slice_from(buf_slice(&p->out), from);
}

/* Sends with the session's next keep number. Takes env and extra over. */
static void send_kept(svc_part *p, svc_session *s, rt_blob *env, rt_blob *extra, svc_sent what) {
    rt_msg *m = rt_msg_new(p->cx, SVC_DELIVER, sizeof(svc_deliver));
    svc_deliver *d = svc_deliver_of(m);
    d->env = env;
    d->extra = extra;
    d->keep = ++s->keep_sent;
    uint32_t n = s->keep_sent - s->keep_acked;
    svc_more *f = svc_session_more(s);
    if (n > f->inflight_cap) {
        f->inflight_cap = f->inflight_cap ? f->inflight_cap * 2 : INFLIGHT_FIRST;
        f->inflight = mem_realloc(f->inflight, f->inflight_cap * sizeof *f->inflight);
    }
    f->inflight[n - 1] = what;
    f->inflight_bytes += what.bytes;
    rt_send(p->cx, s->pid, &m);
}

static void send_entry(svc_part *p, svc_account *a, svc_session *s, svc_entry *e, const xmpp_env *env, how h, bool delayed) {
    buf_reset(&p->out);
    slice extra = extra_of(p, a, e, delayed);
    if (!buf_ok(&p->out)) return;
    rt_blob *what = h == DIRECT ? rt_blob_ref(e->env) : svc_carbon_wrap(p, s, a, env, false, extra);
    if (!what) return; /* too large to be wrapped: a carbon is a courtesy */
    e->flags |= SVC_ENTRY_FLIGHT;
    uint32_t trace = rt_trace(p->cx); /* of the put that is being finished, which is this entry's only while it is held for that */
    if (UNLIKELY(trace && !(e->flags & SVC_ENTRY_HOLD))) (void)rt_trace_swap(p->cx, 0);
    send_kept(p, s, what, h == DIRECT ? rt_blob_new(extra) : NULL, (svc_sent){e->id, e->bytes, rt_trace(p->cx)});
    if (UNLIKELY(trace)) (void)rt_trace_swap(p->cx, trace);
}

bool svc_queue_request(svc_part *p, svc_session *s, slice request) {
    uint64_t bytes_max = p->cfg->window_bytes < SVC_REQUEST_WINDOW ? p->cfg->window_bytes : SVC_REQUEST_WINDOW;
    if (s->keep_sent - s->keep_acked >= p->cfg->window_messages || (s->more && s->more->inflight_bytes >= bytes_max)) return false;
    send_kept(p, s, rt_blob_new(request), NULL, (svc_sent){SVC_SENT_REQUEST, (uint32_t)request.len, rt_trace(p->cx)});
    return true;
}

typedef struct read_ctx {
    slice bare; /* owned */
    rt_pid session;
} read_ctx;

static void read_done(svc_part *p, void *arg, rt_msg *reply);

/* Asks for the records from a position on, of those that are looked at again only the one there. */
static void request_read(svc_part *p, svc_account *a, svc_session *s, uint64_t from, bool redo) {
    svc_queue *q = a->queue;
    uint64_t end = redo ? from + 1 : tail(q);
    buf ids;
    buf_init(&ids, READ_BATCH * 16);
    uint64_t bytes = 0;
    for (uint64_t pos = from; pos < end && ids.len < READ_BATCH * 16 && bytes < p->cfg->window_bytes; pos++) {
        svc_entry *e = at(q, pos);
        p->queue_steps++;
        if (!(e->flags & SVC_ENTRY_COMMITTED)) break;
        if (e->env || (e->flags & SVC_ENTRY_DEAD) || (e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_OWED)) == SVC_ENTRY_ACKED) continue;
        buf_add_u64le(&ids, e->id);
        buf_add_u64le(&ids, e->loc);
        bytes += e->bytes;
    }
    read_ctx *c = mem_zalloc(sizeof *c);
    c->bare = svc_own(svc_account_jid(a));
    c->session = s->pid;
    s->reading = true;
    rt_msg *m = rt_msg_new(p->cx, STORE_READ, sizeof(store_read));
    store_read_of(m)->ref = svc_part_ref(p, read_done, c);
    store_read_of(m)->ids = rt_blob_new(buf_slice(&ids));
    buf_fini(&ids);
    rt_send(p->cx, rt_name_find(p->cx, STORE_LOG_NAME), &m);
}

/* The entry will be looked at again by sessions that have passed it. */
static void again(svc_queue *q, uint64_t pos) {
    at(q, pos)->flags |= SVC_ENTRY_REDO;
    if (q->again.n > 0 && q->again.n == q->again.cap) { /* before it grows: those at its head may have left the queue */
        size_t gone = ids_find(&q->again, q->base);
        memmove(q->again.v, q->again.v + gone, (q->again.n - gone) * sizeof *q->again.v);
        q->again.n -= gone;
    }
    size_t i = ids_find(&q->again, pos);
    if (i == q->again.n || q->again.v[i] != pos) ids_add(&q->again, i, pos);
}

/* What the pump does with one entry: moves on (true) or stops (false).
 *
 * A session that does not drain (not available, or of negative priority) takes what is addressed to it at once, but never before an older
 * message of the same sender that still waits. */
static bool pump_one(svc_part *p, svc_account *a, svc_session *s, uint64_t pos, bool redo) {
    svc_entry *e = at(a->queue, pos);
    p->queue_steps++;
    if (!(e->flags & SVC_ENTRY_COMMITTED) && !(e->flags & SVC_ENTRY_DEAD)) return false;
    const svc_order *waits = a->work ? a->work->order_head : NULL;
    if (waits && e->id > waits->after_put && e->id <= a->work->last_put) return false; /* what came before it still waits */
    bool old = pos < s->start || redo;
    if ((e->flags & SVC_ENTRY_DEAD) || ((e->flags & SVC_ENTRY_ACKED) && old)) return true;
    if (old && inflight_has(p, s, e)) return true;
    if (!e->env) {
        if ((e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_OWED)) == SVC_ENTRY_ACKED) return true; /* its record may be gone */
        if (!s->reading) request_read(p, a, s, pos, redo);
        return false;
    }
    xmpp_env env;
    if (xmpp_env_unpack(rt_blob_slice(e->env), &env) != ERR_OK) return true; /* verified by its checksum: written by a newer version */
    how h = wants(a, s, &env);
    if (h == DIRECT && !drains(s) && svc_queue_wait_older(p, a->queue, pos, svc_queue_wait_from(p, env.from))) {
        h = SKIP; /* it gets both when it becomes available; sentence 5 */
        again(a->queue, pos);
        if (!a->queue->left || pos + 1 < a->queue->left) a->queue->left = pos + 1;
    }
    if (h != SKIP) send_entry(p, a, s, e, &env, h, old || (e->flags & SVC_ENTRY_REDO));
    drop_bytes(p, a, e, pos);
    return true;
}

void svc_queue_pump(svc_part *p, svc_account *a, svc_session *s) {
    while (a->queue && !s->reading) {
        svc_queue *q = a->queue;
        uint64_t pos = svc_queue_next(q, s);
        if (s->cursor < q->base) s->cursor = q->base;
        bool redo = pos < s->cursor;
        if (!redo && s->more && s->more->redo != UINT64_MAX) { /* that is over */
            s->more->redo = UINT64_MAX;
            svc_session_less(s);
        }
        if (q->late_head) svc_queue_live_run(p, a, s);
        if (window_full(p, s) || pos >= tail(q) || !pump_one(p, a, s, pos, redo)) return;
        if (redo)
            s->more->redo = pos + 1;
        else
            s->cursor = pos + 1;
    }
}

/* Takes in one record that was read. False: it could not be read now. */
static bool keep_bytes(svc_part *p, svc_account *a, uint64_t id, uint8_t status, slice env) {
    svc_entry *e = a->queue ? entry_by_id(a->queue, id, NULL) : NULL;
    if (!e || e->env || (e->flags & SVC_ENTRY_DEAD)) return true;
    if ((e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_OWED)) == SVC_ENTRY_ACKED) return true; /* acked meanwhile: its record may be gone */
    if (status == ERR_OK) {
        e->env = rt_blob_new(env);
        loaded(p, a, e);
    } else if (status == ERR_CORRUPT || status == ERR_NOT_FOUND ||
               plant(READ_ERROR_IS_THE_END)) { /* named by the log's own event too; the rest is served */
        rt_event_text(p->cx, EV_LOG_DAMAGE, e->loc >> 32, e->loc & 0xffffffffu, svc_account_jid(a));
        unlive(a->queue, e, SVC_ENTRY_DEAD);
        if (e->flags & SVC_ENTRY_OWED) a->queue->owed--;
        e->flags = (uint16_t)(e->flags & ~SVC_ENTRY_OWED);
        del(p, e->id, e->loc);
    } else {
        return false; /* asking again at once would go on for ever */
    }
    return true;
}

static void read_done(svc_part *p, void *arg, rt_msg *reply) {
    read_ctx *c = arg;
    svc_account *a = svc_account_find(p, c->bare);
    svc_session *s = a ? svc_session_of(a, c->session) : NULL;
    bool failed = !reply;
    if (a && reply) {
        cursor r = cursor_of(rt_blob_slice(store_records_of(reply)->records));
        uint64_t id, wall;
        uint8_t status;
        slice env;
        while (cursor_u64le(&r, &id) && cursor_u8(&r, &status) && cursor_u64le(&r, &wall) && cursor_lslice(&r, &env)) {
            if (!keep_bytes(p, a, id, status, env)) failed = true;
        }
    }
    if (s) {
        s->reading = false;
        if (failed && reply)
            svc_session_kick(p, s, STREAM_INTERNAL_SERVER_ERROR, "stored messages cannot be read now");
        else if (reply)
            svc_queue_pump(p, a, s);
    }
    if (a && reply) {
        if (!s) svc_queue_release(p, a);
        svc_queue_trim(p, a);
        svc_account_touch(p, a);
    }
    svc_disown(&c->bare);
    mem_free(c);
}

/* --- sessions come and go */
void svc_queue_session_bind(svc_account *a, svc_session *s) { s->cursor = s->start = a->queue ? tail(a->queue) : a->positions; }

void svc_queue_session_start(svc_part *p, svc_account *a, svc_session *s) {
    s->start = a->queue ? tail(a->queue) : a->positions;
    s->cursor = a->queue ? a->queue->base + (plant(QUEUE_FROM_THE_SECOND) ? 1 : 0) : a->positions;
    if (s->more) s->more->redo = UINT64_MAX;
    svc_queue_pump(p, a, s);
    svc_queue_trim(p, a);
}

void svc_queue_session_stop(svc_part *p, svc_account *a) {
    svc_queue_release(p, a);
    svc_queue_trim(p, a);
}

/* What it was sent and did not ack waits again, unless another session was sent it too. Returns the lowest position, or UINT64_MAX. */
static uint64_t unsend(svc_part *p, svc_account *a, const svc_session *s) {
    svc_queue *q = a->queue;
    uint64_t first = UINT64_MAX, pos;
    uint32_t n = s->keep_sent - s->keep_acked;
    for (uint32_t i = 0; i < n; i++) {
        svc_entry *e = entry_by_id(q, s->more->inflight[i].id, NULL);
        if (e) e->flags &= (uint16_t)~SVC_ENTRY_FLIGHT;
    }
    for (const svc_session *o = a->sessions; o && n > 0; o = o->next)
        for (uint32_t i = 0; o != s && i < o->keep_sent - o->keep_acked; i++) {
            svc_entry *e = entry_by_id(q, o->more->inflight[i].id, NULL);
            p->queue_steps++;
            if (e) e->flags |= SVC_ENTRY_FLIGHT;
        }
    for (uint32_t i = 0; i < n; i++) {
        svc_entry *e = entry_by_id(q, s->more->inflight[i].id, &pos);
        p->queue_steps++;
        if (!e || e->flags & SVC_ENTRY_ACKED || plant(UNACKED_NOT_AGAIN)) continue;
        again(q, pos);
        svc_queue_wait_add(q, pos);
        if (pos < first) first = pos;
    }
    return first;
}

/* What it had yet to take and others have passed, because they left it to this one. */
static uint64_t leave(svc_part *p, svc_account *a, const svc_session *s) {
    svc_queue *q = a->queue;
    uint64_t first = q->left > q->base ? q->left - 1 : UINT64_MAX, passed = 0;
    for (const svc_session *o = a->sessions; o; o = o->next)
        if (o != s && drains(o) && o->cursor > passed) passed = o->cursor;
    for (uint64_t pos = s->cursor > q->base ? s->cursor : q->base; pos < passed; pos++) {
        p->queue_steps++;
        if (at(q, pos)->flags & SVC_ENTRY_ACKED) continue;
        again(q, pos);
        if (pos < first) first = pos;
    }
    return first;
}

void svc_queue_session_end(svc_part *p, svc_account *a, svc_session *s) {
    svc_queue *q = a->queue;
    if (!q) return;
    svc_queue_live_end(p, a, s);
    s->available = false; /* it no longer holds entries back, nor takes any */
    s->ending = true;     /* messages to it are anybody's now */
    uint64_t first = unsend(p, a, s), other = leave(p, a, s);
    if (other < first) first = other;
    for (svc_session *o = a->sessions; o && a->queue; o = o->next) {
        if (o == s || !drains(o)) continue;
        if (first < o->cursor && first < svc_session_more(o)->redo) o->more->redo = first;
        svc_queue_pump(p, a, o);
    }
    if (a->sessions == s && !s->next) { /* the next one begins at the head */
        ids_free(&q->again);
        svc_queue_wait_free(q);
    }
    svc_queue_release(p, a);
    svc_queue_trim(p, a);
}

/* --- puts */
static void put_failed(svc_part *p, svc_put *t, svc_entry *e, err status) {
    if (e) unlive(t->account->queue, e, SVC_ENTRY_DEAD);
    if (t->h[0] || t->h[1]) svc_dedup_forget(p->dedup, t->h);
    xmpp_env env;
    rt_event(p->cx, EV_MSG_REFUSED, (uint64_t)status, 0, 0);
    if (e && e->env && xmpp_env_unpack(rt_blob_slice(e->env), &env) == ERR_OK)
        svc_route_bounce(p, &env, STANZA_RESOURCE_CONSTRAINT, "the server cannot store messages now, try again later", t->origin,
                         t->ticket);
    else
        svc_part_done(p, t->origin, t->ticket); /* the account was deleted meanwhile */
}

static void pump_all(svc_part *p, svc_account *a) {
    for (svc_session *s = a->sessions; s; s = s->next) svc_queue_pump(p, a, s);
}

static void put_finish(svc_part *p, svc_put *t, err status, uint64_t loc) {
    svc_account *a = t->account;
    svc_queue *q = a->queue;
    svc_entry *e = q ? entry_by_id(q, t->id, NULL) : NULL;
    if (status != ERR_OK) {
        put_failed(p, t, e, status);
        pump_all(p, a); /* past it */
    } else if (!e || (e->flags & SVC_ENTRY_DEAD)) {
        del(p, t->id, loc); /* the account was deleted meanwhile */
        svc_part_done(p, t->origin, t->ticket);
    } else {
        e->flags = (uint16_t)(e->flags | SVC_ENTRY_COMMITTED | SVC_ENTRY_HOLD);
        e->loc = loc;
        rt_event(p->cx, EV_MSG_ACCEPTED, t->id, e->bytes, age(p, e));
        svc_part_done(p, t->origin, t->ticket);
        pump_all(p, a);
        uint64_t pos = 0;
        e = a->queue ? entry_by_id(a->queue, t->id, &pos) : NULL;
        if (e) {
            e->flags = (uint16_t)(e->flags & ~SVC_ENTRY_HOLD);
            drop_bytes(p, a, e, pos);
            if (e->env) loaded(p, a, e);
        }
    }
    a->work->puts--;
    a->work->put_done = t->id;
    svc_account_release(a);
    svc_queue_order_run(p, a);
    svc_queue_trim(p, a);
    svc_account_touch(p, a);
}

err svc_queue_on_committed(svc_part *p, store_committed *c) {
    cursor locs = cursor_of(rt_blob_slice(c->locs));
    bool first = true;
    while (p->put_head && p->put_head->id <= c->upto) {
        svc_put *t = p->put_head;
        bool alone = first && (!t->next || t->next->id > c->upto);
        uint32_t trace = rt_trace(p->cx); /* each is a request of its own; one that got its id in the log is known if it comes alone */
        if (t->trace || !alone) (void)rt_trace_swap(p->cx, t->trace);
        first = false;
        p->put_head = t->next;
        if (!p->put_head) p->put_tail = NULL;
        uint64_t loc = 0;
        if (c->status == ERR_OK && !cursor_u64le(&locs, &loc)) {
            mem_free(t);
            return ERR_BUG; /* the log answered for fewer than it was asked */
        }
        put_finish(p, t, c->status, loc);
        (void)rt_trace_swap(p->cx, trace);
        mem_free(t);
    }
    return ERR_OK;
}

static bool on_its_way(const svc_part *p, const uint64_t h[2]) {
    for (const svc_put *t = p->put_head; t; t = t->next)
        if (t->h[0] == h[0] && t->h[1] == h[1]) return true;
    return false;
}

/* The fate of the first one is known: stored, so this one is done; or it found no space, and then this one is the message. */
static void duplicate_done(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    uint64_t h[2];
    svc_dedup_hash(p->dedup, xmpp_jid_bare(e->from), svc_account_jid(a), e->origin_id, h);
    if (a->state == SVC_ABSENT)
        svc_route_bounce(p, e, STANZA_SERVICE_UNAVAILABLE, NULL, origin, ticket);
    else if (svc_dedup_seen(p->dedup, h) && !on_its_way(p, h))
        svc_part_done(p, origin, ticket);
    else
        svc_message_in(p, a, e, packed, origin, ticket);
}

void svc_queue_put(svc_part *p, svc_account *a, const xmpp_env *e, rt_blob *packed, rt_pid origin, uint32_t ticket) {
    uint64_t h[2] = {0, 0};
    if (e->origin_id.p) {
        svc_dedup_hash(p->dedup, xmpp_jid_bare(e->from), svc_account_jid(a), e->origin_id, h);
        if (svc_dedup_seen(p->dedup, h)) {
            rt_event(p->cx, EV_MSG_DUPLICATE, h[0], 0, 0);
            svc_queue_behind(p, a, packed, origin, ticket, duplicate_done); /* the first one may not be durable yet */
            return;
        }
    }
    uint64_t live, bytes;
    svc_queue_counts(a, &live, &bytes, NULL);
    if (live >= p->cfg->offline_messages_max || bytes + packed->len > p->cfg->offline_bytes_max) {
        rt_event(p->cx, EV_MSG_REFUSED, ERR_LIMIT, 0, 0);
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "the recipient's queue is full", origin, ticket);
        return;
    }
    if (rt_memory_tight(rt_ctx_node(p->cx))) {
        rt_event(p->cx, EV_MSG_REFUSED, ERR_NOMEM, 0, 0);
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "the server is short of memory, try again later", origin, ticket);
        return;
    }
    if (p->arg->ids->counter >= STORE_ID_COUNTER_MAX) { /* years at any rate that this machine has; a restart begins a new epoch */
        svc_route_bounce(p, e, STANZA_RESOURCE_CONSTRAINT, "the server must be restarted to go on numbering messages", origin, ticket);
        return;
    }
    if (h[0] || h[1]) svc_dedup_add(p, h);
    uint64_t id = p->epoch << STORE_ID_EPOCH_SHIFT | (uint64_t)p->index << STORE_ID_PARTITION_SHIFT | ++p->arg->ids->counter;
    int64_t wall = rt_wall(p->cx);
    svc_entry *entry = push(a, id, packed->len, wall);
    entry->env = rt_blob_ref(packed);
    entry->from = svc_queue_wait_from(p, e->from);
    svc_queue_wait_add(a->queue, tail(a->queue) - 1);
    svc_put *t = mem_zalloc(sizeof *t);
    *t = (svc_put){.id = id, .account = a, .origin = origin, .ticket = ticket, .h = {h[0], h[1]}, .trace = rt_trace(p->cx)};
    if (p->put_tail)
        p->put_tail->next = t;
    else
        p->put_head = t;
    p->put_tail = t;
    svc_account_hold(a);
    a->work->puts++;
    a->work->last_put = id;
    if (plant(ANSWERED_BEFORE_STORED)) svc_part_done(p, origin, ticket), t->origin = RT_PID_NONE;
    svc_account_touch(p, a);
    rt_msg *m = rt_msg_new(p->cx, STORE_PUT, sizeof(store_put));
    store_put *sp = store_put_of(m);
    sp->id = id;
    sp->user = rt_blob_new(svc_account_jid(a));
    sp->env = rt_blob_ref(packed);
    sp->wall = wall;
    sp->dedup0 = h[0];
    sp->dedup1 = h[1];
    rt_send(p->cx, rt_name_find(p->cx, STORE_LOG_NAME), &m);
}
