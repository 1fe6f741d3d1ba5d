/* keyed_backup: see keyed_backup.h. A target that is slow, or does not come back at all, holds a thread of the disk pool and a WAL that
 * grows, and nobody who logs in or changes a roster.
 *
 *   actor's job (the connection)             this (disk pool, a key of its own)
 *     requests; WAL into database; freeze ---> copy 4 MiB, copy 4 MiB ... (the database's file does not change; writes go to the WAL)
 *     thaw <---------------------------------- all read, or an error
 *     ... -----------------------------------> sync, or remove ---> STORE_BACKED_UP
 *
 * Invariants: (1) The copy is the database at the moment of one freeze: if its file changed before it was thawed, the backup fails. (2) It
 * has all that was asked for before the backup was. (3) One backup at a time; at most one job of it exists. (4) Whatever ends it, an
 * incomplete copy is removed. */
#include "store/keyed_backup.h"

#include "base/mem.h"
#include "store/store.h"

#define STEP_SLOW_USEC (5 * 60 * USEC_PER_SEC) /* the last step syncs all of the copy */

struct keyed_backup_job {
    rt_job job;
    store_copy *copy;
    bool finish, more;
    err status;
};

static void run(rt_job *rj) {
    keyed_backup_job *j = container_of(rj, keyed_backup_job, job);
    j->more = false;
    j->status = j->finish ? store_copy_finish(j->copy, j->status) : store_copy_step(j->copy, &j->more);
}

bool store_keyed_backup_owns(const rt_job *j) { return j->run == run; }

static void job_free(keyed_backup_job *j) {
    if (!j) return;
    store_copy_free(j->copy);
    mem_free(j);
}
static void box_free(rt_box *b) { job_free(container_of(b, keyed_backup_job, job.box)); }

void store_keyed_backup_init(keyed_backup *b, rt_node *n, const char *path) {
    *b = (keyed_backup){.node = n, .path = path};
    b->tail = &b->head;
}

void store_keyed_backup_fini(keyed_backup *b) {
    while (b->head) {
        rt_msg *m = b->head;
        b->head = m->next;
        rt_msg_drop(b->node, &m);
    }
    job_free(b->job);
    store_again_fini(&b->again);
}

void store_keyed_backup_add(rt_ctx *cx, keyed_backup *b, rt_msg **m) {
    if (b->n == STORE_BACKUPS_MAX) {
        store_keyed_backup_answer(cx, *m, ERR_OVERLOAD, err_text(ERR_OVERLOAD));
        rt_msg_drop(b->node, m);
        return;
    }
    b->n++;
    (*m)->next = NULL;
    *b->tail = *m;
    b->tail = &(*m)->next;
    *m = NULL;
    if (b->state == BACKUP_IDLE) b->state = BACKUP_WAITS;
}

void store_keyed_backup_answer(rt_ctx *cx, const rt_msg *q, err status, const char *why) {
    rt_msg *m = rt_msg_new(cx, STORE_BACKED_UP, sizeof(store_backed_up));
    uint64_t ref = ((const store_backup *)(const void *)(q + 1))->ref;
    *store_backed_up_of(m) = (store_backed_up){ref, status, status == ERR_OK ? NULL : rt_blob_new(slice_str(why))};
    m->trace = q->trace;
    rt_send(cx, q->sender, &m);
}

static void end(rt_ctx *cx, keyed_backup *b, err e, const char *why) {
    rt_msg *m = b->head;
    b->head = m->next;
    b->n--;
    if (!b->head) b->tail = &b->head;
    b->state = b->head ? BACKUP_WAITS : BACKUP_IDLE;
    b->lost = false;
    if (e == ERR_OK) rt_event_text(cx, EV_BACKUP, (uint64_t)(rt_now(cx) - b->since), 0, SLICE("accounts"));
    store_keyed_backup_answer(cx, m, e, why[0] ? why : err_text(e));
    rt_msg_drop(b->node, &m);
}

static void submit(rt_ctx *cx, keyed_backup *b) {
    rt_job *rj = &b->job->job;
    b->job = NULL;
    rt_pool_submit(cx, RT_POOL_DISK, &rj);
}

/* --- what the actor's jobs do for it ---------------------------------------------------------------------------------------------------
 */

bool store_keyed_backup_freezes(keyed_backup *b) {
    if (b->state != BACKUP_WAITS) return false;
    b->state = BACKUP_FREEZES;
    return true;
}
bool store_keyed_backup_thaws(keyed_backup *b) {
    if (b->state != BACKUP_COPIED) return false;
    b->state = BACKUP_THAWS;
    return true;
}
bool store_keyed_backup_holds(const keyed_backup *b) { return b->state >= BACKUP_FREEZES && b->state <= BACKUP_THAWS; }

void store_keyed_backup_frozen(rt_ctx *cx, keyed_backup *b, err e, const char *why) {
    if (e != ERR_OK) {
        end(cx, b, e, why);
        return;
    }
    b->state = BACKUP_COPIES;
    b->lost = false;
    b->since = rt_now(cx);
    keyed_backup_job *j = b->job = mem_zalloc(sizeof *j);
    j->job = (rt_job){.box = {box_free},
                      .run = run,
                      .what = "accounts backup",
                      .key = STORE_BACKUP_KEY,
                      .slow_after = STEP_SLOW_USEC,
                      .deadline = USEC_NEVER,
                      .trace = b->head->trace};
    char *dir = slice_dup_str(rt_blob_slice(store_backup_of(b->head)->dir));
    j->copy = store_copy_new(rt_node_sys(b->node), b->path, dir);
    mem_free(dir);
    submit(cx, b);
}

void store_keyed_backup_thawed(rt_ctx *cx, keyed_backup *b) {
    b->state = BACKUP_ENDS;
    b->job->finish = true;
    if (b->lost && b->job->status == ERR_OK) b->job->status = ERR_LIMIT;
    submit(cx, b);
}

/* --- its own jobs ----------------------------------------------------------------------------------------------------------------------
 */

void store_keyed_backup_done(rt_ctx *cx, keyed_backup *b, rt_job_done *d) {
    if (d->status != ERR_OK) { /* the pool's queue was full */
        store_again_park(cx, &b->again, RT_POOL_DISK, d);
        return;
    }
    store_again_went_in(&b->again);
    keyed_backup_job *j = b->job = container_of(rt_job_of(d), keyed_backup_job, job);
    d->job = NULL;
    if (b->state == BACKUP_ENDS) {
        const char *why = store_copy_why(j->copy);
        if (b->lost && !why[0]) why = "the account database changed too much before it was copied: its WAL reached its limit";
        end(cx, b, j->status, why);
        job_free(b->job);
        b->job = NULL;
        return;
    }
    if (j->status == ERR_OK && j->more && !b->lost)
        submit(cx, b);
    else
        b->state = BACKUP_COPIED;
}
