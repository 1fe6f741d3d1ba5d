/* log_jobs: the log's work on pool threads. run() is the only function here that is not on the actor's shard; it touches the job and the
 * engine, and no runtime state.
 *
 * Invariants: (1) a job that the actor did not live to see frees the messages that it carries, and the last of them closes the log. (2) A
 * batch that found no space leaves no trace: its messages are all still in the job. */
#include "store/log_jobs.h"

#include "base/cursor.h"
#include "base/mem.h"
#include "store/copy.h"
#include "store/log_read.h"

#define DAMAGE_MAX (1u << 20)
#define MOVED_MAX  (64u << 20)
#define LONG       (5 * 60 * USEC_PER_SEC) /* for what reads or writes all there is: how long depends on how much that is */

/* The file, or the engine, that a job works on: it holds at most one thread of the pool. The writer has one job at a time in any case; its
 * key keeps it behind the last job of an actor before it. */
enum { KEY_WRITER = 1, KEY_BACKUP = STORE_BACKUP_KEY, KEY_SEGMENTS };

void store_log_hold_unref(log_hold *h) {
    if (--h->refs) return;
    store_log_close(h->log);
    mem_free(h);
}

void store_log_job_free(log_job *j) {
    while (j->head) {
        rt_msg *m = j->head;
        j->head = m->next;
        rt_msg_drop(j->node, &m);
    }
    rt_msg_drop(j->node, &j->req);
    if (j->index) j->index->box.free(&j->index->box);
    store_log_close(j->opened);
    buf_fini(&j->locs);
    buf_fini(&j->moved);
    buf_fini(&j->out);
    buf_fini(&j->damage);
    store_log_hold_unref(j->hold);
    mem_free(j);
}

static void box_free(rt_box *b) { store_log_job_free(container_of(b, log_job, job.box)); }

static void note_damage(void *arg, uint64_t segment, uint64_t off, const char *text) {
    buf *b = arg;
    buf_add_u64le(b, segment);
    buf_add_u64le(b, off);
    buf_add_lslice(b, slice_str(text));
}

static void note_moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    log_job *j = arg;
    buf_add_u32le(&j->moved, store_partition(user, j->cfg->partitions));
    buf_add_u64le(&j->moved, id);
    buf_add_u64le(&j->moved, loc);
    buf_add_lslice(&j->moved, user);
}

static err append(log_job *j, rt_msg *m) {
    store_log *l = j->hold->log;
    if (RT_TAG(m) == STORE_DEL) return store_log_del(l, store_del_of(m)->id, store_del_of(m)->loc);
    const store_put *p = store_put_of(m);
    uint64_t loc = 0;
    err e = ERR_LIMIT; /* also without its envelope: the actor refused it when it came, and reports it as OVERLOAD */
    if (p->env) e = store_log_put(l, p->id, rt_blob_slice(p->user), rt_blob_slice(p->env), p->wall, p->dedup0, p->dedup1, &loc);
    buf_add_u64le(&j->locs, e == ERR_OK ? loc : 0);
    return e == ERR_LIMIT ? ERR_OK : e;
}

static void run_write(log_job *j) {
    store_log *l = j->hold->log;
    err e = ERR_OK;
    if (j->probe) j->probe_status = store_log_probe(l);
    for (rt_msg *m = j->head; m && e == ERR_OK; m = m->next) e = append(j, m);
    j->bytes = store_log_batch_bytes(l);
    if (e == ERR_OK) e = store_log_commit(l);
    if (e == ERR_NOSPC && l->spare) {
        store_log_spare_give(l);
        j->room = true;
    }
    if (e == ERR_OK && j->full) e = store_log_turn(l);
    j->status = e;
    if (e == ERR_OK && j->step) j->step_status = store_log_compact_step(l, LOG_STEP_BYTES, note_moved, j, &j->stepped_all);
    if (e == ERR_OK && j->mark && store_log_mark(l) != ERR_OK) j->status = ERR_IO;
    if (j->stepped_all) j->segment = l->moving->number;
    if (!buf_ok(&j->moved)) j->status = ERR_BUG; /* a segment has fewer records than this has room for */
}

/* Where the read goes on; false: it is at its end. */
static bool next_read(const log_job *j, uint64_t *loc) {
    uint64_t id;
    cursor c = cursor_of(slice_from(rt_blob_slice(store_read_of(j->req)->ids), j->at));
    return cursor_u64le(&c, &id) && cursor_u64le(&c, loc);
}

bool store_log_job_read_on(log_job *j) {
    uint64_t loc;
    if (!next_read(j, &loc)) return false;
    j->job.key = KEY_SEGMENTS + log_loc_segment(loc);
    return true;
}

/* The records of one segment, as far as they follow each other. */
static void run_read(log_job *j) {
    slice ids = rt_blob_slice(store_read_of(j->req)->ids);
    cursor c = cursor_of(slice_from(ids, j->at));
    uint64_t id, loc, next = 0;
    buf env;
    log_reader r;
    buf_init(&env, LOG_RECORD_MAX);
    store_log_reader_init(&r, j->hold->log);
    do {
        if (!cursor_u64le(&c, &id) || !cursor_u64le(&c, &loc)) break;
        int64_t wall = 0;
        err e = ERR_AGAIN;
        buf_reset(&env);
        if (j->out.len < LOG_READ_REPLY_MAX) e = store_log_reader_get(&r, id, loc, &env, &wall);
        if (e == ERR_CORRUPT) note_damage(&j->damage, log_loc_segment(loc), log_loc_off(loc), "a stored message is damaged");
        buf_add_u64le(&j->out, id);
        buf_add_byte(&j->out, (uint8_t)e);
        buf_add_u64le(&j->out, (uint64_t)wall);
        buf_add_lslice(&j->out, e == ERR_OK ? buf_slice(&env) : SLICE_NULL);
        j->at = ids.len - cursor_left(&c);
    } while (next_read(j, &next) && log_loc_segment(next) == log_loc_segment(loc));
    store_log_reader_fini(&r);
    buf_fini(&env);
}

static void run_backup(log_job *j) {
    char *dir = slice_dup_str(rt_blob_slice(store_backup_of(j->req)->dir));
    j->status = store_log_backup(j->hold->log, dir);
    mem_free(dir);
}

static void run(rt_job *rj) {
    log_job *j = container_of(rj, log_job, job);
    sys *s = rt_node_sys(j->node);
    usec from = s->mono(s);
    bool writer = j->kind != LOG_JOB_READ && j->kind != LOG_JOB_BACKUP;
    if (writer && j->hold->log) store_log_damage_to(j->hold->log, note_damage, &j->damage);
    switch (j->kind) {
    case LOG_JOB_OPEN: j->status = store_log_open(s, j->cfg, note_damage, &j->damage, &j->opened, &j->opening); break;
    case LOG_JOB_WRITE: run_write(j); break;
    case LOG_JOB_INDEX:
        j->status = store_log_index(j->hold->log, store_attach_of(j->req)->partition, store_attach_of(j->req)->partitions, &j->index);
        break;
    case LOG_JOB_DROP: j->status = store_log_drop(j->hold->log, j->segment); break;
    case LOG_JOB_READ: run_read(j); break;
    case LOG_JOB_BACKUP: run_backup(j); break;
    }
    store_log *l = j->kind == LOG_JOB_OPEN ? j->opened : j->hold->log;
    if (l && writer) {
        store_log_damage_to(l, NULL, NULL);
        store_log_status(l, &j->now);
        j->wants_compact = j->cfg->compact && store_log_wants_compact(l, s->mono(s), j->full);
    }
    j->took = s->mono(s) - from;
}

/* By kind: for people, and when it is late. */
static const struct {
    const char *what;
    usec slow_after;
} kinds[] = {[LOG_JOB_OPEN] = {"log open", LONG}, [LOG_JOB_WRITE] = {"log write", 0}, [LOG_JOB_INDEX] = {"log index", LONG},
             [LOG_JOB_DROP] = {"log drop", 0},    [LOG_JOB_READ] = {"log read", 0},   [LOG_JOB_BACKUP] = {"log backup", LONG}};

log_job *store_log_job_new(rt_node *n, log_hold *h, log_job_kind kind) {
    log_job *j = mem_zalloc(sizeof *j);
    j->job = (rt_job){.box = {box_free},
                      .run = run,
                      .what = kinds[kind].what,
                      .key = kind == LOG_JOB_BACKUP ? KEY_BACKUP : KEY_WRITER,
                      .slow_after = kinds[kind].slow_after,
                      .deadline = USEC_NEVER};
    j->kind = kind;
    j->node = n;
    j->hold = h;
    h->refs++;
    j->tail = &j->head;
    buf_init(&j->locs, MOVED_MAX);
    buf_init(&j->moved, MOVED_MAX);
    buf_init(&j->out, LOG_READ_REPLY_MAX + 2 * LOG_RECORD_MAX);
    buf_init(&j->damage, DAMAGE_MAX);
    return j;
}
