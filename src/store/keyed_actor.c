/* keyed_actor: accounts, rosters and blocklists as an actor: one connection, one pool job at a time, many requests a job.
 *
 *   partitions --LOAD, WRITE, LIST--> queue --flush, none in flight--> job: BEGIN, each request in turn, COMMIT (one fsync) --> answers
 *
 * Invariants: (1) WRITTEN OK is sent only after the commit of its transaction returned OK. (2) Requests are done in the order of arrival,
 * so a load sees the writes before it. (3) When a transaction of many fails for the disk's reasons, each request is tried alone, so that
 * one damaged page or one too large write costs only those that touch it. (4) After a write or sync that failed for another reason than
 * space the node ends. (5) A database that cannot be opened is reported and tried again, unless it is damaged or too new; the actor answers
 * anyway. (6) A backup is copied beside all this (keyed_backup.c): its target delays nobody. */
#include "base/mem.h"
#include "rt/trace.h"
#include "store/keyed_backup.h"
#include "store/keyed_sql.h"

#include <stdio.h>

#define BATCH_MAX      1000u   /* requests of a job */
#define QUEUE_MAX      200000u /* that wait; more are answered OVERLOAD */
#define REOPEN_USEC    USEC_PER_SEC
#define IDLE_USEC      USEC_PER_SEC /* after the last write: the WAL is emptied */
#define NAMES_MAX      (16u << 20)
#define BACKUP_WAL_MAX (UINT64_C(256) << 20)
#define DAMAGE_MAX     (1u << 20)
#define KEY_DATABASE   1                       /* of its jobs: one connection */
#define LONG_USEC      (5 * 60 * USEC_PER_SEC) /* opening looks through the database */

typedef struct sql_hold { /* keeps the database open while a job that came too late for its actor runs; counted on the shard only */
    store_sql *db;
    uint32_t refs;
} sql_hold;
typedef struct sql_result {
    err status;
    store_user *user;
    buf names;
} sql_result;
typedef struct sql_job {
    rt_job job;
    rt_node *node;
    sql_hold *hold;
    const store_keyed_cfg *cfg;
    bool open, checkpoint, freeze, thaw;
    rt_msg *head, **tail;
    sql_result *result; /* one for each message */
    uint32_t n, n_writes;
    store_sql *opened;
    err status;  /* of open and checkpoint; of the worst request */
    bool failed; /* nothing can be written any more */
    err froze;   /* of freeze */
    bool lost;   /* the frozen file has changed */
    buf damage;  /* lines, each with its newline */
    char why[256];
    usec took;
} sql_job;
typedef struct keyed_actor {
    const store_keyed_cfg *cfg;
    rt_node *node;
    sql_hold *hold;
    rt_msg *head, **tail;
    uint32_t queued;
    bool busy, checkpoint_due, dirty;
    err open_err; /* why it cannot be opened; OK while it is, or nobody has tried */
    bool tried;
    rt_timer timer;
    store_again again;
    keyed_backup backup;
} keyed_actor;

/* --- the job, on a pool thread -------------------------------------------------------------------------------------------------------- */

static void note_damage(void *arg, const char *text) {
    buf_add_str(arg, text);
    buf_add_byte(arg, '\n');
}

static err do_one(sql_job *j, rt_msg *m, sql_result *r) {
    store_sql *q = j->hold->db;
    switch (RT_TAG(m)) {
    case KEYED_LOAD: {
        const keyed_load *l = keyed_load_of(m);
        return (l->keys_only ? store_sql_load_keys : store_sql_load)(q, rt_blob_slice(l->user), &r->user);
    }
    case KEYED_WRITE: return keyed_write_of(m)->ops ? store_sql_apply(q, store_ops_of(keyed_write_of(m)->ops)) : ERR_INVALID;
    case KEYED_LIST:
        buf_reset(&r->names);
        return store_sql_list(q, rt_blob_slice(keyed_list_of(m)->after), keyed_list_of(m)->max, &r->names);
    default: return ERR_BUG;
    }
}

static bool is_disk(err e) { return e == ERR_NOSPC || e == ERR_IO || e == ERR_CORRUPT || e == ERR_NOMEM; }

static void forget(sql_result *r) {
    if (r->user) r->user->box.free(&r->user->box);
    r->user = NULL;
}

/* All in one transaction; false: nothing of it happened. */
static bool run_together(sql_job *j) {
    store_sql *q = j->hold->db;
    if (j->n_writes > 0 && store_sql_begin(q) != ERR_OK) return false;
    bool ok = true;
    uint32_t i = 0;
    for (rt_msg *m = j->head; m && ok; m = m->next, i++) {
        j->result[i].status = do_one(j, m, &j->result[i]);
        if (is_disk(j->result[i].status)) ok = false;
    }
    if (j->n_writes == 0) return ok;
    if (ok && store_sql_commit(q) == ERR_OK) return true;
    store_sql_rollback(q);
    return false;
}

static err run_alone(sql_job *j, rt_msg *m, sql_result *r) {
    store_sql *q = j->hold->db;
    if (RT_TAG(m) != KEYED_WRITE) return do_one(j, m, r);
    err e = store_sql_begin(q);
    if (e != ERR_OK) return e;
    e = do_one(j, m, r);
    if (e == ERR_OK) return store_sql_commit(q);
    store_sql_rollback(q);
    return e;
}

static void run_requests(sql_job *j) {
    if (run_together(j)) return;
    uint32_t i = 0;
    for (rt_msg *m = j->head; m; m = m->next, i++) {
        sql_result *r = &j->result[i];
        forget(r);
        r->status = store_sql_failed(j->hold->db) ? ERR_IO : run_alone(j, m, r);
        if (!is_disk(r->status)) continue;
        j->status = r->status;
        slice why = slice_str(store_sql_why(j->hold->db));
        memcpy(j->why, why.p, why.len + 1);
    }
}

/* After the requests: a backup has what was asked for before it. */
static void run_upkeep(sql_job *j) {
    store_sql *q = j->hold->db;
    j->lost = store_sql_changed(q);
    if (j->thaw) store_sql_thaw(q);
    if (j->checkpoint && !store_sql_failed(q)) {
        err e = store_sql_checkpoint(q);
        if (e != ERR_OK) j->status = e;
    }
    if (!j->freeze) return;
    j->froze = store_sql_failed(q) ? ERR_IO : store_sql_freeze(q, j->cfg->backup_wal_max ? j->cfg->backup_wal_max : BACKUP_WAL_MAX);
    if (j->froze == ERR_OK) return;
    slice why = slice_str(store_sql_why(q));
    memcpy(j->why, why.p, why.len + 1);
}

static void run(rt_job *rj) {
    sql_job *j = container_of(rj, sql_job, job);
    sys *s = rt_node_sys(j->node);
    usec from = s->mono(s);
    if (j->open)
        j->status = store_sql_open(s, j->cfg->path, note_damage, &j->damage, &j->opened, j->why);
    else {
        if (j->n > 0) run_requests(j);
        run_upkeep(j);
        j->failed = store_sql_failed(j->hold->db);
    }
    j->took = s->mono(s) - from;
}

static void hold_unref(sql_hold *h) {
    if (--h->refs) return;
    store_sql_close(h->db);
    mem_free(h);
}

static void job_free(sql_job *j) {
    while (j->head) {
        rt_msg *m = j->head;
        j->head = m->next;
        rt_msg_drop(j->node, &m);
    }
    for (uint32_t i = 0; i < j->n; i++) {
        forget(&j->result[i]);
        buf_fini(&j->result[i].names);
    }
    mem_free(j->result);
    store_sql_close(j->opened);
    buf_fini(&j->damage);
    hold_unref(j->hold);
    mem_free(j);
}
static void box_free(rt_box *b) { job_free(container_of(b, sql_job, job.box)); }

/* --- the actor --------------------------------------------------------------------------------------------------------------------------
 */

static sql_job *job_new(keyed_actor *a) {
    sql_job *j = mem_zalloc(sizeof *j);
    j->job = (rt_job){.box = {box_free}, .run = run, .what = "accounts", .key = KEY_DATABASE, .deadline = USEC_NEVER};
    j->node = a->node;
    j->cfg = a->cfg;
    j->hold = a->hold;
    a->hold->refs++;
    j->tail = &j->head;
    buf_init(&j->damage, DAMAGE_MAX);
    return j;
}

static void submit(rt_ctx *cx, keyed_actor *a, sql_job *j) {
    rt_job *rj = &j->job;
    a->busy = true;
    rt_pool_submit(cx, RT_POOL_SQL, &rj);
}

static void answer(rt_ctx *cx, const rt_msg *q, uint64_t ref, err status, sql_result *r) {
    rt_msg *m = NULL;
    switch (RT_TAG(q)) {
    case KEYED_LOAD:
        m = rt_msg_new(cx, KEYED_USER, sizeof(keyed_user));
        *keyed_user_of(m) = (keyed_user){ref, status, r && r->user ? &r->user->box : NULL};
        if (r) r->user = NULL;
        break;
    case KEYED_WRITE:
        m = rt_msg_new(cx, KEYED_WRITTEN, sizeof(keyed_written));
        *keyed_written_of(m) = (keyed_written){ref, status};
        break;
    case KEYED_LIST:
        m = rt_msg_new(cx, KEYED_NAMES, sizeof(keyed_names));
        *keyed_names_of(m) = (keyed_names){ref, status, r && status == ERR_OK ? rt_blob_new(buf_slice(&r->names)) : NULL};
        break;
    case STORE_BACKUP: store_keyed_backup_answer(cx, q, status, err_text(status)); return;
    default: return;
    }
    m->trace = q->trace;
    rt_send(cx, q->sender, &m);
}

static uint64_t ref_of(rt_msg *m) {
    uint64_t ref; /* the first field of every request */
    memcpy(&ref, rt_msg_payload(m), sizeof ref);
    return ref;
}

static void refuse_all(rt_ctx *cx, keyed_actor *a, err e) {
    while (a->head) {
        rt_msg *m = a->head;
        a->head = m->next;
        answer(cx, m, ref_of(m), e, NULL);
        rt_msg_drop(a->node, &m);
    }
    a->tail = &a->head;
    a->queued = 0;
}

static void take_requests(rt_ctx *cx, keyed_actor *a, sql_job *j) {
    while (a->head && j->n < BATCH_MAX) {
        rt_msg *m = a->head;
        a->head = m->next;
        a->queued--;
        if (RT_TAG(m) == STORE_BACKUP) {
            store_keyed_backup_add(cx, &a->backup, &m);
            continue;
        }
        m->next = NULL;
        *j->tail = m;
        j->tail = &m->next;
        j->n++;
        if (!j->job.trace) j->job.trace = m->trace; /* the job is done for all; its steps are shown for the first of them */
        if (RT_TAG(m) == KEYED_WRITE) j->n_writes++;
    }
    if (!a->head) a->tail = &a->head;
}

static void pump(rt_ctx *cx, keyed_actor *a) {
    if (a->busy || !a->tried) return;
    if (!a->hold->db) {
        refuse_all(cx, a, a->open_err);
        return;
    }
    sql_job *j = job_new(a);
    take_requests(cx, a, j);
    j->checkpoint = a->checkpoint_due && !store_keyed_backup_holds(&a->backup);
    j->thaw = store_keyed_backup_thaws(&a->backup);
    j->freeze = store_keyed_backup_freezes(&a->backup);
    a->checkpoint_due = false;
    if (j->n == 0 && !j->checkpoint && !j->thaw && !j->freeze) {
        job_free(j);
        return;
    }
    j->result = mem_zalloc((j->n + 1) * sizeof *j->result);
    for (uint32_t i = 0; i < j->n; i++) buf_init(&j->result[i].names, NAMES_MAX);
    submit(cx, a, j);
}

static void damage_events(rt_ctx *cx, const buf *damage) {
    for (slice s = buf_slice(damage); s.len > 0;) {
        size_t n = slice_find(s, '\n');
        rt_event_text(cx, EV_SQL_FAIL, ERR_CORRUPT, 0, slice_sub(s, 0, n));
        s = slice_from(s, n + 1);
    }
}

static void on_opened(rt_ctx *cx, keyed_actor *a, sql_job *j) {
    damage_events(cx, &j->damage);
    a->tried = true;
    if (j->status == ERR_OK) {
        a->hold->db = j->opened;
        j->opened = NULL;
        a->open_err = ERR_OK;
        return;
    }
    if (a->open_err != j->status) rt_event_text(cx, EV_SQL_FAIL, (uint64_t)j->status, 0, slice_str(j->why));
    a->open_err = j->status;
    if (j->status != ERR_CORRUPT && j->status != ERR_VERSION) rt_timer_set(cx, &a->timer, rt_now(cx) + REOPEN_USEC);
}

static void on_done(rt_ctx *cx, keyed_actor *a, sql_job *j) {
    if (j->status != ERR_OK) rt_event_text(cx, EV_SQL_FAIL, (uint64_t)j->status, 0, slice_str(j->why));
    if (j->failed) {
        char why[400];
        (void)snprintf(why, sizeof why,
                       "the account database failed (%s) and cannot be trusted any more: start it again when the disk is well", j->why);
        rt_ctx_sys(cx)->end(rt_ctx_sys(cx), why); /* returns in the simulator only, where nothing that we still do has an effect */
        return;
    }
    uint32_t i = 0;
    for (rt_msg *m = j->head; m; m = m->next, i++) {
        answer(cx, m, ref_of(m), j->result[i].status, &j->result[i]);
    }
    if (j->lost) store_keyed_backup_lost(&a->backup);
    if (j->thaw) store_keyed_backup_thawed(cx, &a->backup);
    if (j->freeze) store_keyed_backup_frozen(cx, &a->backup, j->froze, j->why);
    if (j->n_writes > 0) a->dirty = true;
    if (a->dirty) rt_timer_set(cx, &a->timer, rt_now(cx) + IDLE_USEC);
}

static void on_job_done(rt_ctx *cx, keyed_actor *a, rt_job_done *d) {
    if (store_keyed_backup_owns(rt_job_of(d))) {
        store_keyed_backup_done(cx, &a->backup, d);
        pump(cx, a);
        return;
    }
    sql_job *j = container_of(rt_job_of(d), sql_job, job);
    if (d->status != ERR_OK) { /* the pool's queue was full: the work is still to be done */
        store_again_park(cx, &a->again, RT_POOL_SQL, d);
        return;
    }
    store_again_went_in(&a->again);
    (void)rt_trace_swap(cx, 0); /* each answer has what its request had */
    a->busy = false;
    if (j->open)
        on_opened(cx, a, j);
    else
        on_done(cx, a, j);
    pump(cx, a);
}

static void enqueue(rt_ctx *cx, keyed_actor *a, rt_msg **m) {
    if (a->queued >= QUEUE_MAX) {
        answer(cx, *m, ref_of(*m), ERR_OVERLOAD, NULL);
        return;
    }
    (*m)->next = NULL;
    *a->tail = *m;
    a->tail = &(*m)->next;
    *m = NULL;
    a->queued++;
    rt_flush_later(cx);
}

static err handle(rt_ctx *cx, void *st, rt_msg **m) {
    keyed_actor *a = st;
    if ((*m)->tag & RT_MSG_REFUSED) return ERR_OK; /* an answer that its receiver had no room for */
    switch (RT_TAG(*m)) {
    case KEYED_LOAD:
    case KEYED_WRITE:
    case KEYED_LIST:
    case STORE_BACKUP: enqueue(cx, a, m); return ERR_OK;
    case RT_JOB_DONE: on_job_done(cx, a, rt_job_done_of(*m)); return ERR_OK;
    default: return ERR_OK; /* foreign nodes may send anything */
    }
}

static err on_flush(rt_ctx *cx, void *st) {
    pump(cx, st);
    return ERR_OK;
}

static void open_db(rt_ctx *cx, keyed_actor *a) {
    sql_job *j = job_new(a);
    j->open = true;
    j->job.what = "accounts open";
    j->job.slow_after = LONG_USEC;
    submit(cx, a, j);
}

static err on_timer(rt_ctx *cx, void *st, rt_timer *t) {
    keyed_actor *a = st;
    if (t == &a->again.timer) {
        store_again_submit(cx, &a->again, RT_POOL_SQL);
        return ERR_OK;
    }
    if (t == &a->backup.again.timer) {
        store_again_submit(cx, &a->backup.again, RT_POOL_DISK);
        return ERR_OK;
    }
    if (!a->hold->db && !a->busy) {
        open_db(cx, a);
        return ERR_OK;
    }
    if (store_keyed_backup_holds(&a->backup)) return ERR_OK; /* the job that thaws it sets the timer again */
    a->checkpoint_due = a->dirty;
    a->dirty = false;
    pump(cx, a);
    return ERR_OK;
}

static err init(rt_ctx *cx, void *st, const void *arg) {
    keyed_actor *a = st;
    a->cfg = arg;
    a->node = rt_ctx_node(cx);
    a->tail = &a->head;
    store_keyed_backup_init(&a->backup, a->node, a->cfg->path);
    err e = rt_name_register(cx, STORE_KEYED_NAME);
    if (e != ERR_OK) return e;
    a->hold = mem_zalloc(sizeof *a->hold);
    a->hold->refs = 1;
    open_db(cx, a);
    return ERR_OK;
}

static void fini(rt_ctx *cx, void *st, err reason) {
    keyed_actor *a = st;
    (void)cx;
    (void)reason;
    while (a->head) {
        rt_msg *m = a->head;
        a->head = m->next;
        rt_msg_drop(a->node, &m);
    }
    store_again_fini(&a->again);
    store_keyed_backup_fini(&a->backup);
    hold_unref(a->hold);
}

const rt_class store_keyed_class = {.name = "store_keyed",
                                    .state_size = sizeof(keyed_actor),
                                    .init = init,
                                    .handle = handle,
                                    .timer = on_timer,
                                    .flush = on_flush,
                                    .fini = fini,
                                    .unflushable = true};
