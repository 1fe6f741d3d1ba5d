/* log_actor: the message log as an actor: group commit, reads beside it, compaction between batches, a full disk.
 *
 *   partitions                     log actor                              disk pool
 *   ATTACH  -------------------->  queue (order of arrival)
 *   PUT, DEL ------------------->  queue ... flush, no writer in flight: WRITE job [PUT DEL PUT ...]  -->  put, del, commit (one fsync)
 *   <-- COMMITTED (one each) ----  <------------------------------------------------------------ done
 *   READ ----------------------->  READ job, at once, beside the writer  -->  RECORDS
 *   <-- MOVED,  MOVED_OK ------->  when a segment is copied; DROP job when all have answered
 *
 * Invariants: (1) COMMITTED OK is sent only for a batch whose sync returned OK. (2) One writer job is in flight at most; what arrives
 * meanwhile is the next batch, so the batch grows with the load and a lone message waits for nobody; a lone deletion waits for one. (3)
 * Each PUT is reported exactly once, in order within its partition. (4) Without space PUTs are refused, DELs wait; a probe at least once a
 * second finds out when that ends. (5) Any other failure of the disk ends the node (fatal): fsync is never tried again as if nothing had
 * happened. (6) ATTACH waits until all that came before it is committed, so the index holds it. (7) held_bytes is the memory of all
 * messages that wait or are being written; a PUT that would take it past its limit leaves its bytes at once and only its place in the order
 * stays, one for a run of such PUTs of a partition, so that they are reported in order, too (OVERLOAD). Deletions are counted and never
 * refused: they free space. */
#include "base/cursor.h"
#include "base/mem.h"
#include "rt/trace.h"
#include "store/again.h"
#include "store/log_jobs.h"

#include <stdio.h>

#define QUEUE_BYTES_DEFAULT (UINT64_C(64) << 20)
#define PROBE_USEC          (500 * USEC_PER_MSEC) /* between two looks for space */
#define LAZY_USEC           (5 * USEC_PER_MSEC) /* that deletions wait for a PUT to share its sync with; a crash meanwhile delivers again */
#define IDLE_USEC           USEC_PER_SEC        /* of silence: mark the end of the log, look whether to compact */
#define REST_USEC           (30 * USEC_PER_SEC) /* between looks when nothing happens */
#define COMMITTED_MAX       (64u << 20)

typedef struct peer { /* a partition */
    rt_pid pid;
    uint64_t monitor;
    rt_pid to; /* while a batch is reported: who gets it */
    uint64_t upto;
    uint32_t trace; /* of the first of them that has one */
    buf locs;
    buf moved;       /* since the compaction of the present segment began */
    bool owes_ok;    /* MOVED was sent and is not answered */
    rt_msg *refused; /* its last PUT in the queue, when that was refused: stands for those refused after it, too */
} peer;
typedef enum compact_state { COMPACT_NONE, COMPACT_STEPPING, COMPACT_TELLING, COMPACT_DROPPING } compact_state;
typedef struct log_actor {
    const store_log_cfg *cfg;
    rt_node *node;
    log_hold *hold;
    peer *peers;
    rt_msg *head, **tail;          /* PUT, DEL, ATTACH that wait, in the order of arrival */
    uint64_t held_bytes, held_max; /* of the queue and of the batch in flight */
    bool overloaded;               /* a PUT was refused, and not half of it was written since */
    bool awaited;                  /* somebody waits for what is in the queue: not deletions only */
    uint64_t batches;              /* written or being written in this life */
    usec lazy_until;               /* deletions that nobody waits for are written by then */
    rt_timer lazy;
    bool busy;         /* a writer job is in flight */
    bool writing_puts; /* it has PUTs */
    bool full;         /* no space */
    bool room;         /* though full: the last deletions went into the reserve, so more may */
    bool probe_due;
    bool mark_due, dirty; /* idle since a commit; a commit since the last mark */
    rt_timer timer;
    store_again again; /* the writer's job, when the pool was full */
    compact_state compact;
    bool wants_compact;
    uint64_t move;                                              /* number of the present notice */
    uint64_t segment;                                           /* being given back */
    uint32_t owing;                                             /* partitions that have not answered it */
    uint64_t read_damage;                                       /* records found damaged by reads */
    uint64_t commits, commit_usec, commit_longest, commit_last; /* what is told of them; microseconds */
    store_status now;
} log_actor;

/* The end of the node, because going on would break promises: promises.md, R5. A restart reads the log and knows what is on it. */
static void fatal(rt_ctx *cx, err e, const char *what) {
    char why[200];
    rt_event_text(cx, EV_LOG_FAIL, (uint64_t)e, 0, slice_str(what));
    (void)snprintf(why, sizeof why, "the message log failed (%s: %s) and cannot be trusted any more: start it again when the disk is well",
                   what, err_text(e));
    sys *s = rt_ctx_sys(cx);
    s->end(s, why); /* returns in the simulator only, where nothing that we still do has an effect */
}

static void submit(rt_ctx *cx, log_actor *a, log_job *j) {
    j->cfg = a->cfg;
    j->full = a->full;
    if (j->kind != LOG_JOB_READ && j->kind != LOG_JOB_BACKUP) a->busy = true;
    rt_job *rj = &j->job;
    rt_pool_submit(cx, RT_POOL_DISK, &rj);
}

/* --- answers ----------------------------------------------------------------------------------------------------------------------- */

static void send_committed(rt_ctx *cx, rt_pid to, uint64_t upto, err status, const buf *locs, uint32_t trace) {
    rt_msg *m = rt_msg_new(cx, STORE_COMMITTED, sizeof(store_committed));
    *store_committed_of(m) = (store_committed){upto, status, locs ? rt_blob_new(buf_slice(locs)) : NULL};
    m->trace = trace;
    rt_send(cx, to, &m);
}

static void peer_report(rt_ctx *cx, peer *p) {
    if (p->locs.len > 0) send_committed(cx, p->to, p->upto, ERR_OK, &p->locs, p->trace);
    p->trace = 0;
    buf_reset(&p->locs);
}

static peer *peer_of(log_actor *a, uint64_t id) {
    return &a->peers[(id >> STORE_ID_PARTITION_SHIFT & (STORE_PARTITIONS_MAX - 1)) % a->cfg->partitions];
}

/* A committed batch: one COMMITTED a partition, in the order of the partitions; one of its own for a PUT, or a run of them, that is not
 * kept. */
static void report_batch(rt_ctx *cx, log_actor *a, log_job *j) {
    cursor c = cursor_of(buf_slice(&j->locs));
    for (rt_msg *m = j->head; m; m = m->next) {
        uint64_t loc;
        if (RT_TAG(m) != STORE_PUT || !cursor_u64le(&c, &loc)) continue;
        uint64_t id = store_put_of(m)->id;
        peer *p = peer_of(a, id);
        if (loc == 0 || (p->locs.len > 0 && !rt_pid_eq(p->to, m->sender))) peer_report(cx, p);
        if (loc == 0) {
            send_committed(cx, m->sender, id, store_put_of(m)->env ? ERR_LIMIT : ERR_OVERLOAD, NULL, m->trace);
            continue;
        }
        if (UNLIKELY(m->trace)) {
            rt_trace_step(cx, m->trace, EV_TRACE_BATCH, j->batch, j->n_msgs, (uint64_t)j->took);
            rt_trace_step(cx, m->trace, EV_TRACE_DURABLE, id, loc, j->batch);
            if (!p->trace) p->trace = m->trace;
        }
        p->to = m->sender;
        p->upto = id;
        buf_add_u64le(&p->locs, loc);
    }
    for (unsigned i = 0; i < a->cfg->partitions; i++) peer_report(cx, &a->peers[i]);
}

/* The memory that a message keeps from being used otherwise. */
static uint64_t held(const rt_msg *m) {
    if (RT_TAG(m) != STORE_PUT) return sizeof *m + sizeof(store_put); /* all are of about this size */
    const store_put *p = (const store_put *)(m + 1);
    return sizeof *m + sizeof *p + (p->user ? sizeof *p->user + p->user->len : 0) + (p->env ? sizeof *p->env + p->env->len : 0);
}

/* Refuses every PUT of a list; the rest stays in it. Later ids of a sender come later, so each report is exact. */
static void refuse_puts(rt_ctx *cx, log_actor *a, rt_msg **at) {
    while (*at) {
        rt_msg *m = *at;
        if (RT_TAG(m) != STORE_PUT) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        peer *p = peer_of(a, store_put_of(m)->id);
        if (p->refused == m) p->refused = NULL;
        a->held_bytes -= held(m);
        send_committed(cx, m->sender, store_put_of(m)->id, ERR_NOSPC, NULL, m->trace);
        rt_event(cx, EV_MSG_REFUSED, ERR_NOSPC, 0, 0);
        rt_msg_drop(a->node, &m);
    }
}

static void damage_events(rt_ctx *cx, const buf *damage) {
    cursor c = cursor_of(buf_slice(damage));
    uint64_t segment, off;
    slice text;
    while (cursor_u64le(&c, &segment) && cursor_u64le(&c, &off) && cursor_lslice(&c, &text))
        rt_event_text(cx, EV_LOG_DAMAGE, segment, off, text);
}

/* --- the writer -------------------------------------------------------------------------------------------------------------------- */

/* What a message adds to a batch. */
static uint64_t batch_cost(const rt_msg *m) {
    if (RT_TAG(m) != STORE_PUT) return LOG_DEL_BYTES;
    const store_put *p = (const store_put *)(m + 1);
    return store_log_put_bytes(p->user ? p->user->len : 0, p->env ? p->env->len : 0);
}

static void requeue_tail(log_actor *a) {
    a->tail = &a->head;
    while (*a->tail) a->tail = &(*a->tail)->next;
}

/* Moves what fits into one batch from the queue to the job; stops before an ATTACH. */
static void take_batch(log_actor *a, log_job *j) {
    uint64_t bytes = LOG_MARK_BYTES, max = a->full ? store_log_reserve(a->cfg) / 4 : a->cfg->batch_bytes_max;
    while (a->head && RT_TAG(a->head) != STORE_ATTACH) {
        rt_msg *m = a->head;
        uint64_t cost = batch_cost(m);
        if (j->head && bytes + cost > max) break;
        bytes += cost;
        j->held += held(m);
        a->head = m->next;
        m->next = NULL;
        *j->tail = m;
        j->tail = &m->next;
        j->n_msgs++;
        if (!j->job.trace) j->job.trace = m->trace; /* the job is done for all; its steps are shown for the first of them */
        if (RT_TAG(m) != STORE_PUT) continue;
        j->n_puts++;
        peer *p = peer_of(a, store_put_of(m)->id);
        if (p->refused == m) p->refused = NULL;
    }
    if (!a->head) a->tail = &a->head;
    a->awaited = a->head != NULL; /* what did not fit has waited enough, whatever it is */
}

static void pump_attach(rt_ctx *cx, log_actor *a) {
    log_job *j = store_log_job_new(a->node, a->hold, LOG_JOB_INDEX);
    a->held_bytes -= held(a->head);
    j->req = a->head;
    a->head = a->head->next;
    if (!a->head) a->tail = &a->head;
    j->req->next = NULL;
    submit(cx, a, j);
}

/* On a full disk only what needs no space: segments in which all is dead, and now and then a look whether a copy fits again. */
static bool wants_step(const log_actor *a) {
    if (a->compact == COMPACT_STEPPING) return !a->full || a->probe_due;
    return a->compact == COMPACT_NONE && a->wants_compact;
}

/* Gives the writer something to do, if there is anything. */
static void pump(rt_ctx *cx, log_actor *a) {
    if (a->busy || !a->hold->log) return;
    if (a->full) {
        refuse_puts(cx, a, &a->head);
        requeue_tail(a);
        bool goes = a->probe_due || a->compact == COMPACT_DROPPING || (a->head && (a->room || RT_TAG(a->head) == STORE_ATTACH));
        if (!goes) return; /* deletions go into the reserve, with the next probe if the last did not fit */
    }
    if (a->head && RT_TAG(a->head) == STORE_ATTACH) {
        pump_attach(cx, a);
        return;
    }
    if (a->compact == COMPACT_DROPPING) {
        log_job *d = store_log_job_new(a->node, a->hold, LOG_JOB_DROP);
        d->segment = a->segment;
        submit(cx, a, d);
        return;
    }
    bool step = wants_step(a);
    if (!a->head && !step && !a->probe_due && !a->mark_due) return;
    bool due = a->awaited || step || a->probe_due || a->mark_due || a->full || a->held_bytes >= a->cfg->batch_bytes_max;
    if (!due && !(a->head && rt_now(cx) >= a->lazy_until)) {
        if (a->head && !rt_timer_armed(&a->lazy)) rt_timer_set(cx, &a->lazy, a->lazy_until);
        return;
    }
    log_job *j = store_log_job_new(a->node, a->hold, LOG_JOB_WRITE);
    j->probe = a->probe_due && !(a->room && a->head); /* deletions first: the probe takes their room */
    j->mark = a->mark_due;
    j->step = step;
    if (step) a->compact = COMPACT_STEPPING;
    a->probe_due = a->mark_due = false;
    take_batch(a, j);
    j->batch = ++a->batches;
    a->writing_puts = j->n_puts > 0;
    submit(cx, a, j);
}

static void on_no_space(rt_ctx *cx, log_actor *a, log_job *j) {
    if (!a->full) rt_event(cx, EV_LOG_NOSPC, j->bytes, 0, 0);
    a->full = true;
    a->room = j->room;
    refuse_puts(cx, a, &j->head);
    rt_msg **end = &j->head; /* what is left, deletions, goes back to the front */
    while (*end) end = &(*end)->next;
    *end = a->head;
    a->head = j->head;
    j->head = NULL;
    requeue_tail(a);
    rt_timer_set(cx, &a->timer, rt_now(cx) + PROBE_USEC);
}

static void note_moves(log_actor *a, const buf *moved) {
    cursor c = cursor_of(buf_slice(moved));
    uint32_t partition;
    uint64_t id, loc;
    slice user;
    while (cursor_u32le(&c, &partition) && cursor_u64le(&c, &id) && cursor_u64le(&c, &loc) && cursor_lslice(&c, &user)) {
        buf *b = &a->peers[partition].moved;
        buf_add_lslice(b, user);
        buf_add_u64le(b, id);
        buf_add_u64le(b, loc);
    }
}

/* A segment is copied: who has messages in it is told where they are now. */
static void tell_moves(rt_ctx *cx, log_actor *a) {
    a->move++;
    a->owing = 0;
    for (unsigned i = 0; i < a->cfg->partitions; i++) {
        peer *p = &a->peers[i];
        if (p->moved.len > 0 && rt_pid_ok(p->pid)) {
            rt_msg *m = rt_msg_new(cx, STORE_MOVED, sizeof(store_moved));
            *store_moved_of(m) = (store_moved){a->move, rt_blob_new(buf_slice(&p->moved))};
            rt_send(cx, p->pid, &m);
            p->owes_ok = true;
            a->owing++;
        }
        buf_fini(&p->moved);
    }
    a->compact = a->owing ? COMPACT_TELLING : COMPACT_DROPPING;
}

static void moved_ok(rt_ctx *cx, log_actor *a, peer *p) {
    if (!p->owes_ok) return;
    p->owes_ok = false;
    if (--a->owing == 0 && a->compact == COMPACT_TELLING) {
        a->compact = COMPACT_DROPPING;
        rt_flush_later(cx);
    }
}

static void on_step_done(rt_ctx *cx, log_actor *a, log_job *j) {
    note_moves(a, &j->moved);
    if (j->step_status == ERR_NOSPC) {
        if (!a->full) rt_event(cx, EV_LOG_NOSPC, 0, 0, 0);
        a->full = true; /* compaction, too, goes on when there is space */
        rt_timer_set(cx, &a->timer, rt_now(cx) + PROBE_USEC);
        return;
    }
    if (j->step_status == ERR_FD_LIMIT) { /* nothing was begun: the next look tries again */
        a->compact = COMPACT_NONE;
        a->wants_compact = false;
        return;
    }
    if (j->step_status != ERR_OK) {
        fatal(cx, j->step_status, "compaction");
        return;
    }
    if (!j->stepped_all) return;
    a->segment = j->segment;
    rt_event(cx, EV_LOG_COMPACT, a->segment, j->now.live, 0);
    tell_moves(cx, a);
}

static void count_commit(log_actor *a, uint64_t took) {
    a->commits++;
    a->commit_usec += took;
    a->commit_last = took;
    if (took > a->commit_longest) a->commit_longest = took;
}

static void on_written(rt_ctx *cx, log_actor *a, log_job *j) {
    a->writing_puts = false;
    if (j->status == ERR_NOSPC) {
        on_no_space(cx, a, j);
        return;
    }
    if (j->status != ERR_OK) {
        fatal(cx, j->status, "write or sync");
        return;
    }
    if (a->full && j->probe && j->probe_status == ERR_OK) {
        a->full = false;
        rt_event(cx, EV_LOG_SPACE, 0, 0, 0);
    }
    a->room = j->n_msgs > 0;
    if (j->n_msgs > 0) {
        rt_event(cx, EV_LOG_COMMIT, j->n_msgs, j->bytes, (uint64_t)j->took);
        count_commit(a, (uint64_t)j->took);
        report_batch(cx, a, j);
        a->held_bytes -= j->held;
        if (a->held_bytes < a->held_max / 2) a->overloaded = false;
        a->dirty = true;
    }
    if (j->step) on_step_done(cx, a, j);
    if (!a->full) rt_timer_set(cx, &a->timer, rt_now(cx) + (a->dirty ? IDLE_USEC : REST_USEC));
}

/* --- jobs come home ------------------------------------------------------------------------------------------------------------------ */

static err on_opened(rt_ctx *cx, log_actor *a, log_job *j) {
    if (j->status != ERR_OK) {
        rt_event_text(cx, EV_LOG_FAIL, (uint64_t)j->status, 0, slice_str("the message log cannot be opened"));
        return j->status;
    }
    a->hold->log = j->opened;
    j->opened = NULL;
    rt_event_text(cx, EV_LOG_RECOVER, j->opening.records, (uint64_t)j->opening.took,
                  slice_str(j->opening.cut_bytes ? "a batch that was being written was cut off" : "whole"));
    rt_timer_set(cx, &a->timer, rt_now(cx) + IDLE_USEC);
    return ERR_OK;
}

static void on_indexed(rt_ctx *cx, log_actor *a, log_job *j) {
    const store_attach *q = store_attach_of(j->req);
    if (j->status == ERR_IO) {
        fatal(cx, j->status, "index");
        return;
    }
    if (j->status == ERR_OK) {
        peer *p = &a->peers[q->partition];
        if (p->monitor) rt_demonitor(cx, p->monitor);
        moved_ok(cx, a, p); /* the new index knows */
        p->pid = j->req->sender;
        p->monitor = rt_monitor(cx, p->pid);
    }
    rt_msg *m = rt_msg_new(cx, STORE_INDEX, sizeof(store_index_msg));
    *store_index_msg_of(m) = (store_index_msg){j->index ? &j->index->box : NULL, a->hold->log->epoch, j->status};
    j->index = NULL;
    rt_send(cx, j->req->sender, &m);
}

static void on_read(rt_ctx *cx, log_actor *a, log_job *j, err submitted) {
    const store_read *q = store_read_of(j->req);
    damage_events(cx, &j->damage);
    if (j->damage.len > 0) a->read_damage++;
    if (submitted != ERR_OK) { /* the pool was full: each that is left is to be asked for again */
        cursor c = cursor_of(slice_from(rt_blob_slice(q->ids), j->at));
        uint64_t id, loc;
        while (cursor_u64le(&c, &id) && cursor_u64le(&c, &loc)) {
            buf_add_u64le(&j->out, id);
            buf_add_byte(&j->out, (uint8_t)ERR_IO);
            buf_add_u64le(&j->out, 0);
            buf_add_lslice(&j->out, SLICE_NULL);
        }
    }
    rt_msg *m = rt_msg_new(cx, STORE_RECORDS, sizeof(store_records));
    *store_records_of(m) = (store_records){q->ref, rt_blob_new(buf_slice(&j->out))};
    rt_send(cx, j->req->sender, &m);
}

static void on_backed_up(rt_ctx *cx, log_job *j, err submitted) {
    err e = submitted == ERR_OK ? j->status : submitted;
    rt_msg *m = rt_msg_new(cx, STORE_BACKED_UP, sizeof(store_backed_up));
    *store_backed_up_of(m) = (store_backed_up){store_backup_of(j->req)->ref, e, e == ERR_OK ? NULL : rt_blob_new(slice_str(err_text(e)))};
    if (e == ERR_OK) rt_event_text(cx, EV_BACKUP, (uint64_t)j->took, 0, slice_str("message log"));
    rt_send(cx, j->req->sender, &m);
}

static err on_job_done(rt_ctx *cx, log_actor *a, rt_job_done *d) {
    log_job *j = container_of(rt_job_of(d), log_job, job);
    err e = ERR_OK;
    bool writer = j->kind != LOG_JOB_READ && j->kind != LOG_JOB_BACKUP;
    bool early = j->kind == LOG_JOB_OPEN && j->status == ERR_BUSY; /* the last job of an actor before us still has the log open */
    if (writer && (d->status != ERR_OK || early)) {                /* or the pool's queue was full: the work is still to be done */
        store_again_park(cx, &a->again, RT_POOL_DISK, d);
        return ERR_OK;
    }
    if (writer) {
        (void)rt_trace_swap(cx, 0); /* what it is done for is in its messages; what comes next is not part of it */
        store_again_went_in(&a->again);
        a->busy = false;
        if (j->kind != LOG_JOB_OPEN || j->status == ERR_OK) a->now = j->now;
        a->wants_compact = j->wants_compact;
        damage_events(cx, &j->damage);
    }
    switch (j->kind) {
    case LOG_JOB_OPEN: e = on_opened(cx, a, j); break;
    case LOG_JOB_WRITE: on_written(cx, a, j); break;
    case LOG_JOB_INDEX: on_indexed(cx, a, j); break;
    case LOG_JOB_DROP:
        if (j->status != ERR_OK) {
            fatal(cx, j->status, "removing a segment");
            return ERR_IO;
        }
        a->compact = COMPACT_NONE;
        break;
    case LOG_JOB_READ:
        if (d->status == ERR_OK && store_log_job_read_on(j)) { /* in the next segment, for which others may wait */
            d->job = NULL;
            submit(cx, a, j);
            break;
        }
        on_read(cx, a, j, d->status);
        break;
    case LOG_JOB_BACKUP: on_backed_up(cx, j, d->status); break;
    }
    if (e == ERR_OK) pump(cx, a);
    return e; /* the message frees the job */
}

/* --- requests ------------------------------------------------------------------------------------------------------------------------- */

/* Is there room for a PUT? If not, it loses its bytes; when the last one of its partition did as well, that one stands for both. */
static void admit(rt_ctx *cx, log_actor *a, rt_msg **m) {
    rt_msg *q = *m;
    store_put *put = store_put_of(q);
    peer *p = peer_of(a, put->id);
    if (a->held_bytes + held(q) <= a->held_max) {
        p->refused = NULL;
        return;
    }
    if (!a->overloaded) rt_event(cx, EV_LOG_OVERLOAD, a->held_bytes, 0, 0);
    a->overloaded = true;
    if (p->refused && rt_pid_eq(p->refused->sender, q->sender)) {
        store_put_of(p->refused)->id = put->id;
        rt_msg_drop(a->node, m);
        return;
    }
    rt_blob_unref(put->user);
    rt_blob_unref(put->env);
    put->user = put->env = NULL;
    p->refused = q;
}

static void enqueue(rt_ctx *cx, log_actor *a, rt_msg **m) {
    if (RT_TAG(*m) == STORE_PUT) admit(cx, a, m);
    rt_msg *q = *m;
    *m = NULL;
    if (!q) return;
    q->next = NULL;
    a->held_bytes += held(q);
    if (a->full && RT_TAG(q) == STORE_PUT && !a->writing_puts) { /* no older PUT is unreported: this one can be told at once */
        refuse_puts(cx, a, &q);
        return;
    }
    if (RT_TAG(q) != STORE_DEL)
        a->awaited = true;
    else if (!a->head)
        a->lazy_until = rt_now(cx) + LAZY_USEC;
    *a->tail = q;
    a->tail = &q->next;
    rt_flush_later(cx);
}

static void beside(rt_ctx *cx, log_actor *a, rt_msg **m, log_job_kind kind) {
    log_job *j = store_log_job_new(a->node, a->hold, kind);
    j->req = *m;
    *m = NULL;
    if (a->hold->log) {
        if (kind == LOG_JOB_READ) (void)store_log_job_read_on(j); /* its first key; an empty request is answered like any other */
        submit(cx, a, j);
        return;
    }
    if (kind == LOG_JOB_READ)
        on_read(cx, a, j, ERR_AGAIN);
    else
        on_backed_up(cx, j, ERR_AGAIN);
    store_log_job_free(j);
}

static void on_stat(rt_ctx *cx, log_actor *a, rt_msg *q) {
    rt_msg *m = rt_msg_new(cx, STORE_STATUS, sizeof(store_status));
    store_status *s = store_status_of(m);
    *s = a->now;
    s->ref = store_stat_of(q)->ref;
    s->full = a->full;
    s->waiting = a->held_bytes;
    s->damaged += a->read_damage;
    s->commits = a->commits;
    s->commit_usec = a->commit_usec;
    s->commit_longest_usec = a->commit_longest;
    s->commit_last_usec = a->commit_last;
    rt_send(cx, q->sender, &m);
}

static void on_down(rt_ctx *cx, log_actor *a, const rt_down *d) {
    for (unsigned i = 0; i < a->cfg->partitions; i++) {
        peer *p = &a->peers[i];
        if (p->monitor != d->ref) continue;
        p->monitor = 0;
        p->pid = RT_PID_NONE;
        moved_ok(cx, a, p); /* it will not read the old place any more */
    }
}

static void on_moved_ok(rt_ctx *cx, log_actor *a, const rt_msg *m, const store_moved_ok *ok) {
    if (ok->move != a->move) return;
    for (unsigned i = 0; i < a->cfg->partitions; i++)
        if (rt_pid_eq(a->peers[i].pid, m->sender)) moved_ok(cx, a, &a->peers[i]);
}

static void refuse_attach(rt_ctx *cx, const rt_msg *q) {
    rt_msg *m = rt_msg_new(cx, STORE_INDEX, sizeof(store_index_msg));
    store_index_msg_of(m)->status = ERR_INVALID;
    rt_send(cx, q->sender, &m);
}

static err handle(rt_ctx *cx, void *st, rt_msg **m) {
    log_actor *a = st;
    if ((*m)->tag & RT_MSG_REFUSED) return ERR_OK; /* an answer that its receiver had no room for: it asks again or is gone */
    switch (RT_TAG(*m)) {
    case STORE_PUT:
    case STORE_DEL: enqueue(cx, a, m); return ERR_OK;
    case STORE_ATTACH:
        if (store_attach_of(*m)->partitions != a->cfg->partitions || store_attach_of(*m)->partition >= a->cfg->partitions)
            refuse_attach(cx, *m);
        else
            enqueue(cx, a, m);
        return ERR_OK;
    case STORE_READ: beside(cx, a, m, LOG_JOB_READ); return ERR_OK;
    case STORE_BACKUP: beside(cx, a, m, LOG_JOB_BACKUP); return ERR_OK;
    case STORE_MOVED_OK: on_moved_ok(cx, a, *m, store_moved_ok_of(*m)); return ERR_OK;
    case STORE_STAT: on_stat(cx, a, *m); return ERR_OK;
    case RT_DOWN: on_down(cx, a, rt_down_of(*m)); return ERR_OK;
    case RT_JOB_DONE: return on_job_done(cx, a, rt_job_done_of(*m));
    default: return ERR_OK; /* foreign nodes may send anything */
    }
}

static err on_flush(rt_ctx *cx, void *st) {
    pump(cx, st);
    return ERR_OK;
}

static err on_timer(rt_ctx *cx, void *st, rt_timer *t) {
    log_actor *a = st;
    if (t == &a->again.timer) {
        store_again_submit(cx, &a->again, RT_POOL_DISK);
        return ERR_OK;
    }
    if (t == &a->lazy) {
        pump(cx, a);
        return ERR_OK;
    }
    if (a->full)
        a->probe_due = true;
    else {
        a->mark_due = true; /* also looks whether there is something to compact */
        a->dirty = false;
    }
    rt_timer_set(cx, t, rt_now(cx) + (a->full ? PROBE_USEC : REST_USEC));
    pump(cx, a);
    return ERR_OK;
}

static err init(rt_ctx *cx, void *st, const void *arg) {
    log_actor *a = st;
    a->cfg = arg;
    a->node = rt_ctx_node(cx);
    a->tail = &a->head;
    a->held_max = a->cfg->queue_bytes_max ? a->cfg->queue_bytes_max : QUEUE_BYTES_DEFAULT;
    if (!check(a->cfg->partitions > 0 && a->cfg->partitions <= STORE_PARTITIONS_MAX)) return ERR_BUG;
    err e = rt_name_register(cx, STORE_LOG_NAME);
    if (e != ERR_OK) return e;
    a->peers = mem_zalloc(a->cfg->partitions * sizeof *a->peers);
    for (unsigned i = 0; i < a->cfg->partitions; i++) {
        buf_init(&a->peers[i].locs, COMMITTED_MAX);
        buf_init(&a->peers[i].moved, COMMITTED_MAX);
    }
    a->hold = mem_zalloc(sizeof *a->hold);
    a->hold->refs = 1;
    submit(cx, a, store_log_job_new(a->node, a->hold, LOG_JOB_OPEN));
    return ERR_OK;
}

static void fini(rt_ctx *cx, void *st, err reason) {
    log_actor *a = st;
    (void)cx;
    (void)reason;
    while (a->head) { /* not acked: their fate is unknown to the senders, as promised */
        rt_msg *m = a->head;
        a->head = m->next;
        rt_msg_drop(a->node, &m);
    }
    for (unsigned i = 0; i < a->cfg->partitions; i++) {
        buf_fini(&a->peers[i].locs);
        buf_fini(&a->peers[i].moved);
    }
    mem_free(a->peers);
    store_again_fini(&a->again);
    store_log_hold_unref(a->hold);
}

const rt_class store_log_class = {.name = "store_log",
                                  .state_size = sizeof(log_actor),
                                  .init = init,
                                  .handle = handle,
                                  .timer = on_timer,
                                  .flush = on_flush,
                                  .fini = fini,
                                  .unflushable = true};
