/* log: append, commit, and pins for readers (log_read.c).
 *
 *   put, del --> batch in memory  [MARK len | PUT | PUT | DEL ...]  --commit: allocate, write, sync--> the active segment, end moves on
 *                                                                            NOSPC: batch dropped, nothing changed
 *   pin(segment) --> it stays, with all below its committed end, until unpin
 *
 * Invariants: (1) records are serialised once, at the offset where they will lie; a batch never spans two segments, so the active segment
 * changes only while no batch is open. (2) What a batch means (a PUT lives, a DEL or a copy kills) is applied when the sync has returned
 * OK, never before. (3) After a write or sync that failed for any reason but space, failed is set and every later call is refused: what is
 * on the disk is not known, and only a new start, which reads it, may say. (4) One writer; mu is held for a few loads and stores only,
 * never across a system call. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/log_int.h"

#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are copied as they are");

log_seg *store_log_active(const store_log *l) { return l->segs[l->n_segs - 1]; }

void store_log_close(store_log *l) {
    if (!l) return;
    if (!l->failed && store_log_mark(l) != ERR_OK)
        l->failed = true; /* a courtesy: without it, the next start has to guess about the last batch */
    for (size_t i = 0; i < l->n_segs; i++) store_log_seg_free(l, l->segs[i]);
    if (l->lock_fd >= 0) l->s->file_close(l->s, l->lock_fd);
    mem_free(l->segs);
    store_log_collect_free(l->found);
    mem_free(l->moves);
    mem_free(l->lost);
    mem_free(l->dir);
    buf_fini(&l->batch);
    buf_fini(&l->told);
    lock_fini(&l->mu);
    lock_set_fini(&l->locks);
    mem_free(l);
}

void store_log_damage_to(store_log *l, log_damage_fn *damage, void *arg) {
    l->damage = damage;
    l->damage_arg = arg;
    l->reports = 0;
}

size_t store_log_batch_bytes(const store_log *l) { return l->batch.len; }
size_t store_log_put_bytes(size_t user_len, size_t env_len) { return store_log_rec_total(LOG_PUT_FIXED + user_len + env_len); }

/* --- appending ------------------------------------------------------------------------------------------------------------------ */

static void batch_reset(store_log *l) {
    buf_reset(&l->batch);
    l->batch_puts = false;
}

/* Every batch starts with a MARK: all before it was synced. Its body is the length of the batch, known at commit. */
static void batch_begin(store_log *l) {
    uint8_t *p = buf_reserve(&l->batch, LOG_MARK_BYTES);
    if (!p) return;
    memset(p, 0, LOG_MARK_BYTES);
    buf_added(&l->batch, LOG_MARK_BYTES);
}

static void batch_finish(store_log *l) {
    uint32_t len = (uint32_t)l->batch.len;
    memcpy(l->batch.p + LOG_REC, &len, sizeof len);
    log_seg *g = store_log_active(l);
    store_log_rec_seal(l->batch.p, g->seed, g->end, LOG_MARK, 0, l->batch_seq++, sizeof len);
}

err store_log_append(store_log *l, log_type t, uint8_t flags, uint64_t id, const slice *part, size_t n_parts, uint64_t *out_loc) {
    size_t body = 0;
    for (size_t i = 0; i < n_parts; i++) body += part[i].len;
    size_t total = store_log_rec_total(body);
    if (total > LOG_RECORD_MAX) return ERR_LIMIT;
    if (l->failed) return ERR_IO;
    if (l->batch.len > 0 && l->batch.len + total > l->cfg.batch_bytes_max) return ERR_FULL;
    if (l->batch.len == 0) batch_begin(l);
    log_seg *g = store_log_active(l);
    uint64_t off = g->end + l->batch.len;
    uint8_t *p = buf_reserve(&l->batch, total);
    if (!p) return ERR_LIMIT;
    uint8_t *at = p + LOG_REC;
    for (size_t i = 0; i < n_parts; i++) {
        if (part[i].len) memcpy(at, part[i].p, part[i].len);
        at += part[i].len;
    }
    store_log_rec_seal(p, g->seed, off, t, flags, id, body);
    buf_added(&l->batch, total);
    if (out_loc) *out_loc = log_loc(g->number, off);
    return ERR_OK;
}

err store_log_put(store_log *l, uint64_t id, slice user, slice env, int64_t wall, uint64_t h0, uint64_t h1, uint64_t *out_loc) {
    uint8_t fixed[LOG_PUT_FIXED];
    if (user.len > UINT16_MAX) return ERR_LIMIT;
    memcpy(fixed, &wall, 8);
    memcpy(fixed + 8, &h0, 8);
    memcpy(fixed + 16, &h1, 8);
    fixed[24] = (uint8_t)user.len;
    fixed[25] = (uint8_t)(user.len >> 8);
    slice part[3] = {slice_of(fixed, sizeof fixed), user, env};
    err e = store_log_append(l, LOG_PUT, 0, id, part, ARRAY_LEN(part), out_loc);
    if (e != ERR_OK) return e;
    l->batch_puts = true;
    store_log_found_stale(l, user); /* of a partition that ends, after this start and before its successor attaches */
    return ERR_OK;
}

static const log_move *move_find(const store_log *l, uint64_t from) {
    size_t lo = 0, hi = l->n_moves; /* copied in the order of the segment: sorted */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->moves[mid].from == from) return &l->moves[mid];
        if (l->moves[mid].from < from)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

err store_log_del(store_log *l, uint64_t id, uint64_t loc) {
    if (l->failed) return ERR_IO;
    const log_move *m = move_find(l, loc); /* the partition may not know yet that it was moved */
    if (m && !plant(MOVED_NOT_FOLLOWED)) loc = m->to;
    log_seg *g = store_log_seg_find(l, log_loc_segment(loc));
    if (!g || store_log_seg_is_dead(g, log_loc_off(loc))) return ERR_OK; /* gone already: nothing to remember */
    if (plant(DELETION_LOST) && id % 8 == 0) return ERR_OK;
    slice part = slice_of(&loc, sizeof loc);
    return store_log_append(l, LOG_DEL, 0, id, &part, 1, NULL);
}

/* --- committing ----------------------------------------------------------------------------------------------------------------- */

/* The batch is durable: what it means, happens. */
static void apply(store_log *l) {
    log_seg *g = store_log_active(l);
    uint64_t records = 0, sum = 0, off = g->end;
    usec now = l->s->mono(l->s);
    for (size_t at = 0; at < l->batch.len;) {
        const uint8_t *p = l->batch.p + at;
        uint32_t len, crc;
        memcpy(&crc, p, 4);
        memcpy(&len, p + 4, 4);
        slice body = slice_of(p + LOG_REC, len);
        log_put put;
        uint64_t loc;
        records++;
        sum += crc;
        size_t total = store_log_rec_total(len);
        if (p[8] == LOG_PUT && store_log_rec_put(p[9], body, &put)) {
            g->puts++;
            g->put_bytes += total;
            if (put.moved_from) {
                store_log_kill(l, put.moved_from);
            } else {
                g->put_at = now;
                l->live++;
            }
        } else if (p[8] == LOG_DEL) {
            memcpy(&loc, body.p, sizeof loc);
            log_seg *of = store_log_seg_find(l, log_loc_segment(loc));
            if (of && !store_log_seg_is_dead(of, log_loc_off(loc))) {
                store_log_seg_kill(of, log_loc_off(loc));
                store_log_seg_count(l, of);
                if (l->live > 0) l->live--;
            }
        }
        at += total;
    }
    lock_take(&l->mu);
    g->records += records;
    g->crc_sum += sum;
    g->end = off + l->batch.len;
    lock_release(&l->mu);
    store_log_seg_count(l, g);
}

/* The write found no space although it was allocated: whatever of it reached the file is taken back. */
static err undo(store_log *l, log_seg *g) {
    err e = l->s->file_truncate(l->s, g->fd, g->end);
    if (e == ERR_OK) e = l->s->file_sync(l->s, g->fd);
    if (e == ERR_OK) g->size = g->end;
    return e;
}

/* A new segment when this one is full. Only a failure of the disk is an error: without space or descriptors, the old one goes on growing.
 */
static err rotate(store_log *l) {
    log_seg *old = store_log_active(l), *g;
    err e = store_log_seg_allocate(l, old, old->end + LOG_PAGE, 0); /* room for the TAIL */
    if (e == ERR_OK) e = store_log_seg_create(l, l->next_number, l->epoch, &g);
    if (e != ERR_OK) return e == ERR_NOSPC || e == ERR_LIMIT || e == ERR_FD_LIMIT ? ERR_OK : e;
    e = store_log_seg_seal(l, old);
    if (e != ERR_OK) {
        store_log_seg_free(l, g);
        return e;
    }
    l->next_number++;
    lock_take(&l->mu);
    store_log_seg_add(l, g);
    lock_release(&l->mu);
    store_log_seg_unuse(l, old);
    store_log_seg_count(l, old);
    store_log_seg_count(l, g);
    return ERR_OK;
}

static err reserve(store_log *l, log_seg *g) {
    uint64_t want = g->end + l->batch.len + (l->batch_puts ? l->reserve : 0);
    return want > LOG_SEGMENT_END_MAX ? ERR_NOSPC : store_log_seg_allocate(l, g, want, g->end + l->batch.len);
}

err store_log_commit(store_log *l) {
    if (l->failed) return ERR_IO;
    if (l->batch.len == 0) return ERR_OK;
    log_seg *g = store_log_active(l);
    err e = reserve(l, g);
    if (e == ERR_OK) {
        batch_finish(l);
        e = l->s->file_write(l->s, g->fd, buf_slice(&l->batch), g->end);
        if (e == ERR_NOSPC && undo(l, g) != ERR_OK) e = ERR_IO;
    }
    if (e == ERR_NOSPC) {
        batch_reset(l);
        return e;
    }
    if (e == ERR_OK && !plant(ACK_BEFORE_SYNC)) e = l->s->file_sync(l->s, g->fd);
    if (e != ERR_OK && !plant(FAILED_SYNC_IGNORED)) {
        l->failed = true;
        return e == ERR_NOSPC ? ERR_IO : e; /* from a sync: the records may be there or not, so they cannot be refused */
    }
    apply(l);
    batch_reset(l);
    if (g->end >= l->cfg.segment_bytes && rotate(l) != ERR_OK) l->failed = true; /* this batch is durable; the next call says IO */
    return ERR_OK;
}

err store_log_probe(store_log *l) {
    if (l->failed) return ERR_IO;
    log_seg *g = store_log_active(l);
    err e = store_log_spare_keep(l);
    if (e == ERR_OK) e = store_log_seg_allocate(l, g, g->end + 2 * l->reserve, 0);
    if (e != ERR_OK) store_log_spare_give(l);
    return e;
}

err store_log_turn(store_log *l) {
    log_seg *g = store_log_active(l);
    if (l->failed || l->batch.len > 0 || l->n_segs > 1 || g->puts == 0 || store_log_seg_live_bytes(g) > 0) return ERR_OK;
    err e = rotate(l);
    if (e != ERR_OK) l->failed = true;
    return e;
}

err store_log_mark(store_log *l) {
    if (l->failed) return ERR_IO;
    log_seg *g = store_log_active(l);
    if (l->batch.len > 0 || g->records == 0 || g->end + LOG_MARK_BYTES > g->size) return ERR_OK;
    batch_begin(l);
    batch_finish(l);
    err e = l->s->file_write(l->s, g->fd, buf_slice(&l->batch), g->end);
    if (e == ERR_OK)
        apply(l);
    else
        l->failed = true;
    batch_reset(l);
    return e;
}

/* --- pins, from any thread ---------------------------------------------------------------------------------------------------- */

log_seg *store_log_pin(store_log *l, uint64_t number, uint64_t *out_end) {
    lock_take(&l->mu);
    log_seg *g = store_log_seg_find(l, number);
    if (g) {
        g->pins++;
        *out_end = g->end;
    }
    lock_release(&l->mu);
    return g;
}

void store_log_unpin(store_log *l, log_seg *g) {
    lock_take(&l->mu);
    bool last = --g->pins == 0 && g->dropped;
    lock_release(&l->mu);
    if (last) store_log_seg_free(l, g);
}

void store_log_status(const store_log *l, store_status *out) {
    out->live = l->live;
    out->live_bytes = l->live_bytes;
    out->total_bytes = l->total_bytes;
    out->segments = (uint32_t)l->n_segs;
    out->damaged = l->damaged;
}

void store_log_cfg_default(store_log_cfg *c) {
    *c = (store_log_cfg){
        .dir = "log", .partitions = 1, .segment_bytes = UINT64_C(64) << 20, .batch_bytes_max = UINT64_C(4) << 20, .compact = true};
}

unsigned store_partition(slice user, unsigned partitions) {
    static const hash_key key = {UINT64_C(0x6d75727265207061), UINT64_C(0x72746974696f6e73)}; /* "murre partitions": never changes */
    return partitions > 1 ? (unsigned)(hash_bytes(&key, user) % partitions) : 0;
}
