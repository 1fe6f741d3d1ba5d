/* log_compact: giving space back, oldest segment first; and backup.
 *
 *   oldest segment:  [dead][live A][dead][live B] TAIL
 *                           |              |
 *      step by step:        +--> PUT A (MOVED, replaces loc) ... appended and committed like any record
 *   when all are copied: partitions are told where A and B lie now; when they have noted it, the segment is dropped
 *
 * Invariants: (1) a copy and the death of what it replaces are one record, so a crash leaves exactly one of the two alive. (2) The order of
 * segments is the order of time for deletions: a DEL lies in a segment at least as new as its PUT, and a segment is dropped, durably,
 * before a newer one is. (3) At most one segment is being moved, and it is dropped only when nothing lives in it any more. (4) A copy waits
 * for the dedup window, so that recent origin-ids are on disk; a full disk does not. */
#include "base/cursor.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/log_int.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_SEGMENTS_MANY 256u /* above this, small segments (one a start) are gathered into large ones */

bool store_log_wants_compact(const store_log *l, usec now, bool full) {
    if (l->failed || l->moving || l->n_segs < 2) return false;
    const log_seg *g = l->segs[0];
    if (g->kept && store_log_seg_live(g) > 0) return false;
    if (full) return store_log_seg_live_bytes(g) == 0; /* its recent origin-ids are remembered until the next start */
    if (g->puts > 0 && now - g->put_at < STORE_DEDUP_WINDOW) return false;
    uint64_t live = store_log_seg_live_bytes(g);
    if (live * 2 <= g->size) return true;
    if (l->n_segs > LOG_SEGMENTS_MANY && g->size < l->cfg.segment_bytes / 4) return true;
    return l->total_bytes > 4 * l->cfg.segment_bytes && l->live_bytes * 2 < l->total_bytes; /* what is worth it lies behind this one */
}

static err begin(store_log *l) {
    err e =
        store_log_seg_use(l, l->segs[0]); /* until it is dropped: readers that have it pinned need its descriptor once its name is gone */
    if (e != ERR_OK) return e;
    l->moving = l->segs[0];
    l->move_at = LOG_PAGE;
    l->move_done = false;
    l->n_moves = 0;
    l->unread = (log_gap){0};
    store_log_collect_free(l->found); /* its locs are about to change */
    l->found = NULL;
    return ERR_OK;
}

static err copy(store_log *l, const log_found *f) {
    log_put p;
    uint64_t from = log_loc(l->moving->number, f->off), to = 0;
    if (!store_log_rec_put(f->flags, f->body, &p)) return ERR_OK; /* a valid checksum over a body that is too short: nothing to copy */
    slice fixed = (f->flags & LOG_MOVED) ? slice_from(f->body, 8) : f->body;
    slice part[2] = {slice_of(&from, sizeof from), fixed};
    err e = store_log_append(l, LOG_PUT, LOG_MOVED, f->id, part, ARRAY_LEN(part), &to);
    if (e != ERR_OK) return e;
    void *m = l->moves;
    mem_grow(&m, &l->cap_moves, l->n_moves + 1, sizeof *l->moves);
    l->moves = m;
    l->moves[l->n_moves++] = (log_move){from, to};
    buf_add_u64le(&l->told, f->id);
    buf_add_u64le(&l->told, to);
    buf_add_lslice(&l->told, p.user);
    return ERR_OK;
}

typedef void moved_fn(void *arg, slice user, uint64_t id, uint64_t loc);

/* What was committed is told from memory: nobody else knows where the copies lie, so it must not depend on a read or a descriptor. */
static void tell(store_log *l, moved_fn *moved, void *arg) {
    cursor c = cursor_of(buf_slice(&l->told));
    uint64_t id, loc;
    slice user;
    while (cursor_u64le(&c, &id) && cursor_u64le(&c, &loc) && cursor_lslice(&c, &user)) moved(arg, user, id, loc);
}

/* Copies from the segment that is being moved until max_bytes are in the batch. *out_at: from where the next step goes on. */
static err gather(store_log *l, size_t max_bytes, uint64_t *out_at, bool *out_done) {
    log_seg *g = l->moving;
    log_scan c;
    log_found f;
    err e = ERR_OK;
    store_log_scan_init(&c, l->s, g->fd, g->seed, g->end);
    c.at = *out_at = l->move_at;
    while (e == ERR_OK && store_log_scan_next(&c, &f)) {
        if (f.bad) store_log_gap_add(&l->unread, &f);
        if (!f.bad && f.type == LOG_PUT && !store_log_seg_is_dead(g, f.off)) e = l->batch.len >= max_bytes ? ERR_FULL : copy(l, &f);
        if (e == ERR_OK || plant(COMPACTION_SKIPS_ONE)) *out_at = f.end;
    }
    store_log_scan_fini(&c);
    *out_done = e == ERR_OK;
    return e == ERR_FULL ? ERR_OK : e;
}

static err step(store_log *l, size_t max_bytes, moved_fn *moved, void *arg, bool *out_done) {
    uint64_t at;
    size_t moves_before = l->n_moves;
    bool done;
    buf_reset(&l->told);
    err e = gather(l, max_bytes, &at, &done);
    if (e == ERR_OK && l->batch.len > 0) {
        l->batch_puts = true; /* copies leave the reserve alone, too */
        e = store_log_commit(l);
        if (e == ERR_NOSPC) l->n_moves = moves_before;
    }
    if (e != ERR_OK) return e;
    tell(l, moved, arg);
    l->move_at = at;
    l->move_done = done;
    *out_done = done;
    return ERR_OK;
}

err store_log_compact_step(store_log *l, size_t max_bytes, moved_fn *moved, void *arg, bool *out_done) {
    if (l->failed) return ERR_IO;
    if (!check(l->batch.len == 0) || !check(l->n_segs > 1)) return ERR_BUG;
    err e = l->moving ? ERR_OK : begin(l);
    return e == ERR_OK ? step(l, max_bytes, moved, arg, out_done) : e;
}

err store_log_compact(store_log *l, moved_fn *moved, void *arg, uint64_t *out_segment) {
    bool done = false;
    while (!done) {
        err e = store_log_compact_step(l, LOG_STEP_BYTES, moved, arg, &done);
        if (e != ERR_OK) return e;
    }
    *out_segment = l->moving->number;
    return ERR_OK;
}

/* What lives in it could not be read, and would go with it. So it stays, and with it all newer ones, invariant (2); in this life: the next
 * start reads it again, and names as lost what it cannot read. */
static void keep(store_log *l, log_seg *g) {
    g->kept = true;
    store_log_report_gap(l, g, store_log_seg_live(g), &l->unread, "compaction stops here until the next start");
    store_log_seg_unuse(l, g);
}

static err forget(store_log *l, log_seg *g) {
    char path[LOG_PATH_MAX];
    if (!store_log_seg_path(l, g->number, "", path)) return ERR_LIMIT;
    err e = l->s->file_unlink(l->s, path);
    if (e == ERR_OK) e = l->s->dir_sync(l->s, l->dir); /* before a deletion that this segment needs can go */
    if (e != ERR_OK) {
        l->failed = true;
        return e;
    }
    lock_take(&l->mu);
    memmove(l->segs, l->segs + 1, (l->n_segs - 1) * sizeof *l->segs);
    l->n_segs--;
    g->dropped = g->pins > 0;
    bool now = !g->dropped;
    lock_release(&l->mu);
    l->live_bytes -= g->counted_live;
    l->total_bytes -= g->counted_size;
    if (now) store_log_seg_free(l, g);
    return ERR_OK;
}

err store_log_drop(store_log *l, uint64_t segment) {
    if (l->failed) return ERR_IO;
    log_seg *g = l->moving;
    if (!check(g && l->move_done && g->number == segment && l->segs[0] == g)) return ERR_BUG;
    err e = ERR_OK;
    if (store_log_seg_live(g) > 0 && !plant(COMPACTION_SKIPS_ONE))
        keep(l, g);
    else
        e = forget(l, g);
    if (e != ERR_OK) return e;
    l->moving = NULL;
    l->n_moves = 0;
    l->move_done = false;
    return ERR_OK;
}

/* --- backup, beside the writer ---------------------------------------------------------------------------------------------------- */

typedef struct copy_of { /* a segment as it was at one moment */
    log_seg *g;
    log_seg then; /* end, records, crc_sum, sealed */
} copy_of;

static err copy_bytes(store_log *l, const copy_of *c, int fd) {
    enum { BLOCK = 1 << 20 };
    uint8_t *block = mem_alloc(BLOCK);
    err e = ERR_OK;
    for (uint64_t at = 0; at < c->then.end && e == ERR_OK;) {
        size_t n = c->then.end - at < BLOCK ? (size_t)(c->then.end - at) : BLOCK, got = 0;
        e = l->s->file_read(l->s, c->g->fd, block, n, at, &got);
        if (e == ERR_OK && got != n) e = ERR_IO;
        if (e == ERR_OK) e = l->s->file_write(l->s, fd, slice_of(block, n), at);
        at += n;
    }
    mem_free(block);
    if (e != ERR_OK || c->then.sealed) return e;
    buf tail;
    buf_init(&tail, LOG_PAGE);
    store_log_seg_tail(&c->then, c->then.end, &tail);
    e = l->s->file_write(l->s, fd, buf_slice(&tail), c->then.end);
    buf_fini(&tail);
    return e;
}

/* Removes a segment that this backup made: half of one is of no use. */
static void uncopy_segment(store_log *l, const copy_of *c, const char *dir) {
    char path[LOG_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%012" PRIu64 ".seg", dir, c->then.number); /* it fitted when it was made */
    (void)l->s->file_unlink(l->s, path);                                             /* the error that made it useless is what counts */
}

static err copy_segment(store_log *l, const copy_of *c, const char *dir) {
    char path[LOG_PATH_MAX];
    int fd, n = snprintf(path, sizeof path, "%s/%012" PRIu64 ".seg", dir, c->then.number);
    if (n <= 0 || n >= (int)sizeof path) return ERR_LIMIT;
    err e = l->s->file_open(l->s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_EXCL, &fd);
    if (e != ERR_OK) return e;
    e = store_log_seg_use(l, c->g);
    if (e == ERR_OK) {
        e = copy_bytes(l, c, fd);
        store_log_seg_unuse(l, c->g);
    }
    if (e == ERR_OK) e = l->s->file_sync(l->s, fd);
    l->s->file_close(l->s, fd);
    if (e != ERR_OK) uncopy_segment(l, c, dir);
    return e;
}

err store_log_backup(store_log *l, const char *dir) {
    lock_take(&l->mu);
    size_t n = l->n_segs;
    copy_of *c = mem_alloc((n + 1) * sizeof *c);
    for (size_t i = 0; i < n; i++) {
        l->segs[i]->pins++;
        const log_seg *g = l->segs[i];
        c[i].g = l->segs[i];
        c[i].then = (log_seg){
            .number = g->number, .seed = g->seed, .end = g->end, .records = g->records, .crc_sum = g->crc_sum, .sealed = g->sealed};
    }
    lock_release(&l->mu);
    err e = ERR_OK;
    size_t made = 0;
    for (size_t i = 0; i < n; i++) {
        if (e == ERR_OK) e = copy_segment(l, &c[i], dir);
        if (e == ERR_OK) made++;
        store_log_unpin(l, c[i].g);
    }
    if (e == ERR_OK) e = l->s->dir_sync(l->s, dir);
    while (e != ERR_OK && made > 0) uncopy_segment(l, &c[--made], dir);
    mem_free(c);
    return e;
}
