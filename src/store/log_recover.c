/* log_recover: opening a log: one pass over every segment, in order.
 *
 *   000000000001.seg  sealed      records ................. TAIL        damage here: that record is lost, and named
 *   000000000002.seg  the tail    records ... MARK records ~~~~~        damage here: was it rot, or the batch that was being written?
 *   000000000003.seg  empty       (made at a start or a rotation, nothing durable was ever in it)
 *
 * Which is the tail: the last segment with anything in it. All before a MARK was synced before the MARK was written. So damage before the
 * last whole MARK is rot. After it, a batch that was not synced may be torn: whole sectors, or the head or tail of one, still hold what was
 * there before, which is zeros, because space is allocated ahead and never used twice. Every record ends with a pad byte that is not zero;
 * so if the first or last byte of a sector that the damage touches is zero, it is a tear, and everything from there on was never
 * acknowledged: it is cut, so that what survives is a prefix. Otherwise it is rot and costs one record.
 *
 * Invariants: (1) opening again after a crash anywhere in here gives the same records: the cut is synced before the TAIL is written, the
 * TAIL before the new segment is made. (2) The new epoch is above every epoch on disk and durable before it is used. (3) Nothing that has a
 * record in it is removed here. */
#include "base/load.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/dir.h"
#include "store/log_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct bad_rec { /* a loss, to be judged when all deletions are known */
    uint64_t segment, off, end, id;
    bool named, put;
} bad_rec;
typedef struct recovery {
    store_log *l;
    uint64_t *numbers;
    size_t n_numbers, cap_numbers;
    bad_rec *bad;
    size_t n_bad, cap_bad;
    uint64_t epoch; /* newest that was seen */
    usec from;      /* when it began: monotonic */
    store_log_open_stat stat;
} recovery;

static void list_fn(void *arg, const char *name) {
    recovery *r = arg;
    size_t n = strlen(name);
    if (n != 16 || strcmp(name + 12, ".seg") != 0 || strspn(name, "0123456789") != 12) return;
    void *p = r->numbers;
    mem_grow(&p, &r->cap_numbers, r->n_numbers + 1, sizeof *r->numbers);
    r->numbers = p;
    r->numbers[r->n_numbers++] = strtoull(name, NULL, 10);
}

/* A segment without a header: was it being made when the power went, or is it damaged? */
static err no_header(recovery *r, uint64_t number, bool last) {
    store_log *l = r->l;
    char path[LOG_PATH_MAX], aside[LOG_PATH_MAX];
    if (!store_log_seg_path(l, number, "", path) || !store_log_seg_path(l, number, ".damaged", aside)) return ERR_LIMIT;
    uint64_t size = 0;
    usec mtime;
    int fd;
    err e = l->s->file_stat(l->s, path, &size, &mtime);
    if (e != ERR_OK) return e;
    e = l->s->file_open(l->s, path, SYS_OPEN_READ, &fd);
    if (e != ERR_OK) return e;
    log_scan c;
    store_log_scan_init(&c, l->s, fd, 0, size);
    log_found f;
    bool empty = size <= LOG_PAGE || !store_log_scan_next(&c, &f);
    store_log_scan_fini(&c);
    l->s->file_close(l->s, fd);
    if (last && empty) return l->s->file_unlink(l->s, path);
    char text[160];
    (void)snprintf(text, sizeof text, "segment %012" PRIu64 " has no whole header: its records are lost; it is set aside as .damaged",
                   number);
    store_log_report(l, number, 0, text);
    r->stat.damaged++;
    return l->s->file_rename(l->s, path, aside);
}

static err open_all(recovery *r) {
    store_log *l = r->l;
    for (size_t i = 0; i < r->n_numbers; i++) {
        bool flaw = false;
        log_seg *g;
        err e = store_log_seg_open(l, r->numbers[i], &g, &flaw);
        if (l->next_number <= r->numbers[i]) l->next_number = r->numbers[i] + 1;
        if (e == ERR_CORRUPT) {
            e = no_header(r, r->numbers[i], i + 1 == r->n_numbers);
            if (e != ERR_OK) return e;
            continue;
        }
        if (e != ERR_OK) return e;
        if (flaw) store_log_report(l, g->number, 0, "one copy of the segment's header is damaged; the other is used");
        if (g->epoch > r->epoch) r->epoch = g->epoch;
        store_log_seg_add(l, g);
        store_log_seg_unuse(l, g);
    }
    return ERR_OK;
}

/* --- the tail ------------------------------------------------------------------------------------------------------------------ */

static bool byte_is_zero(store_log *l, const log_seg *g, uint64_t off) {
    uint8_t b = 0;
    size_t n = 0;
    if (off >= g->size) return true; /* the file is shorter than it was: the power went before its size was durable */
    err e = l->s->file_read(l->s, g->fd, &b, 1, off, &n);
    return e == ERR_OK && (n == 0 || b == 0);
}

static bool readable(store_log *l, const log_seg *g, uint64_t off) {
    uint8_t page[LOG_PAGE];
    size_t n = 0;
    off = off / sizeof page * sizeof page;
    return l->s->file_read(l->s, g->fd, page, sizeof page, off, &n) == ERR_OK;
}

/* Where the last byte that is not zero ends. */
static uint64_t data_end(store_log *l, const log_seg *g, uint64_t from) {
    uint8_t page[LOG_PAGE];
    uint64_t end = from;
    for (uint64_t at = from; at < g->size; at += sizeof page) {
        size_t n = 0;
        if (l->s->file_read(l->s, g->fd, page, sizeof page, at, &n) != ERR_OK || n == 0) break;
        while (n > 0 && page[n - 1] == 0) n--;
        if (n > 0) end = at + n;
    }
    return end;
}

/* Does damage look like sectors that were not written? batch_end: end of the batch as its MARK says, or 0. */
static bool torn(store_log *l, const log_seg *g, const log_found *f, uint64_t batch_end) {
    enum { SECTOR = 512 };
    bool head_zero = true;
    for (uint64_t i = 0; i < LOG_REC && head_zero; i++) head_zero = byte_is_zero(l, g, f->off + i);
    if (head_zero) return true;
    if (batch_end > g->size) return true; /* space is allocated before a batch is written: the power went before that was durable */
    if (!batch_end && byte_is_zero(l, g, f->off)) return true; /* its MARK lost its head, in the sector where the last batch ends */
    if (!batch_end) batch_end = data_end(l, g, f->off);        /* its MARK is gone: padding is not zero, so this is where it ends */
    for (uint64_t s = f->off / SECTOR * SECTOR; s < f->end; s += SECTOR) {
        uint64_t last = s + SECTOR;
        if (batch_end < last) last = batch_end;
        if (last > f->off && byte_is_zero(l, g, last - 1)) return true;
        if (s >= f->off && byte_is_zero(l, g, s)) return true;
    }
    return false;
}

static uint64_t mark_end(const log_found *f) { /* a MARK's body: how long its batch is */
    if (f->body.len < 4) return 0;
    return f->off + load_u32le(f->body.p);
}

typedef struct tail_scan {
    uint64_t cut;  /* where the segment ends for us */
    uint64_t mark; /* all before was synced */
    bool sealed, empty;
} tail_scan;

static tail_scan tail_look(store_log *l, const log_seg *g) {
    tail_scan t = {.mark = LOG_PAGE, .empty = true};
    uint64_t torn_at = 0, batch_end = 0, bad_at = 0; /* bad_at: damage after which nothing came yet */
    log_scan c;
    log_found f;
    store_log_scan_init(&c, l->s, g->fd, g->seed, g->size);
    while (!t.sealed && store_log_scan_next(&c, &f)) {
        t.empty = false;
        if (f.bad) {
            if (!torn_at && torn(l, g, &f, f.off < batch_end ? batch_end : 0)) torn_at = f.off;
            bad_at = f.off;
            continue;
        }
        bad_at = 0;
        if (f.type == LOG_TAIL) t.sealed = true;
        if (f.type == LOG_MARK) {
            t.mark = f.off;
            batch_end = mark_end(&f);
            torn_at = 0; /* everything before was synced: it cannot be a tear */
        }
    }
    /* Where a batch would begin, and no whole record of one follows. But what cannot be read may have been acknowledged: it is not cut. */
    if (!torn_at && bad_at && bad_at >= batch_end && readable(l, g, bad_at)) torn_at = bad_at;
    t.cut = torn_at && !t.sealed && !plant(TAIL_NOT_CUT) ? torn_at : c.at;
    store_log_scan_fini(&c);
    return t;
}

/* --- the pass ------------------------------------------------------------------------------------------------------------------ */

static void note_bad(recovery *r, const log_seg *g, const log_found *f) {
    void *p = r->bad;
    mem_grow(&p, &r->cap_bad, r->n_bad + 1, sizeof *r->bad);
    r->bad = p;
    r->bad[r->n_bad++] = (bad_rec){
        .segment = g->number, .off = f->off, .end = f->end, .id = f->id, .named = f->named, .put = f->named && f->type == LOG_PUT};
}

static void take(recovery *r, log_seg *g, const log_found *f) {
    store_log *l = r->l;
    g->records++;
    g->crc_sum += f->crc;
    r->stat.records++;
    if (f->type == LOG_DEL && f->body.len >= 8) {
        uint64_t loc = 0;
        memcpy(&loc, f->body.p, 8); /* little-endian machines only: checked at compile time in log.c */
        store_log_kill(l, loc);
    }
    log_put p;
    if (f->type != LOG_PUT || !store_log_rec_put(f->flags, f->body, &p)) return;
    g->puts++;
    g->put_bytes += f->end - f->off;
    g->put_at = r->from;
    if (p.moved_from) store_log_kill(l, p.moved_from);
    store_log_collect_put(l->found, f->id, log_loc(g->number, f->off), (uint32_t)(f->end - f->off), &p);
}

static void pass(recovery *r, log_seg *g, uint64_t limit) {
    store_log *l = r->l;
    log_scan c;
    log_found f;
    size_t bad_before = r->n_bad;
    store_log_scan_init(&c, l->s, g->fd, g->seed, limit);
    while (!g->sealed && store_log_scan_next(&c, &f)) {
        if (plant(RECOVERY_SKIPS_LAST) && f.end == limit) break;
        if (f.bad)
            note_bad(r, g, &f);
        else if (f.type == LOG_TAIL) {
            uint64_t want[2] = {0, 0};
            if (f.body.len >= 16) memcpy(want, f.body.p, 16);
            g->sealed = true;
            if (r->n_bad == bad_before && (want[0] != g->records || want[1] != g->crc_sum)) {
                store_log_report(l, g->number, f.off, "the segment does not hold the records that its tail counts");
                r->stat.damaged++;
            }
        } else
            take(r, g, &f);
    }
    g->end = c.at;
    store_log_scan_fini(&c);
}

/* Damage is a loss unless it hit what was deleted anyway. */
static void judge(recovery *r) {
    store_log *l = r->l;
    for (size_t i = 0; i < r->n_bad; i++) {
        bad_rec *b = &r->bad[i];
        log_seg *g = store_log_seg_find(l, b->segment);
        bool gone = g && store_log_seg_is_dead(g, b->off);
        char text[200];
        for (uint64_t off = b->off; g && off < b->end; off += 8) g->puts += store_log_seg_is_dead(g, off); /* dead_puts counts them */
        if (gone) {
            (void)snprintf(text, sizeof text, "bytes %" PRIu64 " to %" PRIu64 " are damaged: a message that was delivered already", b->off,
                           b->end);
        } else if (b->named && !b->put) {
            (void)snprintf(text, sizeof text, "bytes %" PRIu64 " to %" PRIu64 " are damaged: %s", b->off, b->end,
                           "a note of a delivery or of a batch; at worst a message is delivered again");
        } else {
            r->stat.damaged++;
            unsigned partition = (unsigned)(b->id >> STORE_ID_PARTITION_SHIFT & (STORE_PARTITIONS_MAX - 1));
            if (b->named && partition < l->cfg.partitions) l->lost[partition]++;
            if (b->named)
                (void)snprintf(text, sizeof text, "message %016" PRIx64 " of partition %u is damaged and lost", b->id, partition);
            else
                (void)snprintf(text, sizeof text, "bytes %" PRIu64 " to %" PRIu64 " are damaged: what was there is lost", b->off, b->end);
        }
        store_log_report(l, b->segment, b->off, text);
    }
}

/* Cuts the tail at its end, makes what was found behind its last mark durable, and closes it. Whoever wrote that may have been killed
 * before a sync, or have ended because of one; what follows relies on it. */
static err close_tail(recovery *r, log_seg *g, uint64_t mark) {
    store_log *l = r->l;
    if (g->size > g->end) {
        err e = l->s->file_truncate(l->s, g->fd, g->end);
        if (e != ERR_OK) return e;
        g->size = g->end;
    }
    err e = store_log_seg_rewrite(l, g, mark, g->end);
    return e == ERR_OK && !g->sealed ? store_log_seg_seal(l, g) : e;
}

/* Segments behind the tail hold a header at most, and that may not be durable yet. It has to be before a newer segment is: a segment
 * without header is no damage only if it is the last one. */
static err keep_empty(store_log *l, size_t from) {
    err e = ERR_OK;
    for (size_t i = from; i < l->n_segs && e == ERR_OK; i++) {
        e = store_log_seg_use(l, l->segs[i]);
        if (e != ERR_OK) break;
        e = store_log_seg_rewrite(l, l->segs[i], 0, LOG_PAGE);
        store_log_seg_unuse(l, l->segs[i]);
    }
    return e;
}

/* Finds the last segment with anything in it; *out_tail: its index + 1; 0: there is none. It is left in use. */
static err find_tail(store_log *l, size_t *out_tail, tail_scan *out) {
    tail_scan t = {.empty = true};
    size_t tail = l->n_segs;
    for (; tail > 0; tail--) {
        err e = store_log_seg_use(l, l->segs[tail - 1]);
        if (e != ERR_OK) return e;
        t = tail_look(l, l->segs[tail - 1]);
        if (!t.empty) break;
        store_log_seg_unuse(l, l->segs[tail - 1]);
    }
    *out_tail = tail;
    *out = t;
    return ERR_OK;
}

static err pass_closed(recovery *r, log_seg *g) {
    store_log *l = r->l;
    err e = store_log_seg_use(l, g);
    if (e != ERR_OK) return e;
    pass(r, g, g->size);
    store_log_seg_unuse(l, g);
    bool bad_end = r->n_bad > 0 && r->bad[r->n_bad - 1].segment == g->number && r->bad[r->n_bad - 1].end == g->end;
    if (g->sealed || g->end == LOG_PAGE || bad_end) return ERR_OK; /* damage at the very end is counted as such */
    store_log_report(l, g->number, g->end, "the segment ends without its tail: it was cut short and records are missing");
    r->stat.damaged++;
    return ERR_OK;
}

static err read_all(recovery *r) {
    store_log *l = r->l;
    tail_scan t;
    size_t tail;
    err e = find_tail(l, &tail, &t);
    for (size_t i = 0; e == ERR_OK && i + 1 < tail; i++) e = pass_closed(r, l->segs[i]);
    if (e != ERR_OK) return e;
    log_seg *g = tail > 0 ? l->segs[tail - 1] : NULL;
    if (g) pass(r, g, t.cut);
    judge(r);
    if (g) {
        r->stat.cut_bytes = data_end(l, g, g->end) - g->end;
        e = close_tail(r, g, t.mark);
        store_log_seg_unuse(l, g);
    }
    return e == ERR_OK ? keep_empty(l, tail) : e;
}

/* Segments in which nothing durable ever was. */
static void remove_empty(store_log *l) {
    size_t keep = 0;
    char path[LOG_PATH_MAX];
    for (size_t i = 0; i < l->n_segs; i++) {
        log_seg *g = l->segs[i];
        bool empty = i + 1 < l->n_segs && g->end == LOG_PAGE && !g->sealed && g->records == 0;
        if (empty && store_log_seg_path(l, g->number, "", path)) {
            store_log_seg_free(l, g);
            (void)l->s->file_unlink(l->s, path); /* if it stays, the next start finds it as empty as we did */
        } else {
            l->segs[keep++] = g;
        }
    }
    l->n_segs = keep;
}

static err take_lock(store_log *l) {
    char path[LOG_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/lock", l->dir);
    if (n <= 0 || n >= (int)sizeof path) return ERR_LIMIT;
    err e = l->s->file_open(l->s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &l->lock_fd);
    if (e != ERR_OK) {
        l->lock_fd = -1;
        return e;
    }
    return l->s->file_lock(l->s, l->lock_fd);
}

static err recover(recovery *r) {
    store_log *l = r->l;
    err e = l->s->dir_make(l->s, l->dir);
    if (e != ERR_OK && e != ERR_EXISTS) return e;
    e = store_dir_sync_parent(l->s, l->dir); /* also when it exists: who made it may have died before this */
    if (e == ERR_OK) e = take_lock(l);
    if (e == ERR_OK) e = l->s->dir_list(l->s, l->dir, list_fn, r);
    if (e == ERR_OK) e = open_all(r);
    if (e == ERR_OK) e = read_all(r);
    if (e != ERR_OK) return e;
    log_seg *g;
    l->epoch = r->epoch + (plant(EPOCH_USED_AGAIN) ? 0 : 1);
    e = store_log_seg_create(l, l->next_number, l->epoch, &g);
    if (e == ERR_NOSPC) { /* what an earlier life kept for this */
        l->spare = true;
        store_log_spare_give(l);
        e = store_log_seg_create(l, l->next_number, l->epoch, &g);
    }
    if (e != ERR_OK) return e;
    l->next_number++;
    store_log_seg_add(l, g);
    remove_empty(l);
    l->live_bytes = l->total_bytes = 0;
    for (size_t i = 0; i < l->n_segs; i++) {
        l->segs[i]->counted_live = l->segs[i]->counted_size = 0;
        if (l->segs[i]->dead_puts > l->segs[i]->puts) l->segs[i]->dead_puts = l->segs[i]->puts; /* notes of what was damaged and unnamed */
        l->live += l->segs[i]->puts - l->segs[i]->dead_puts;
        store_log_seg_count(l, l->segs[i]);
    }
    return ERR_OK;
}

static uint64_t chunk_of(const store_log_cfg *c) {
    uint64_t quarter = c->segment_bytes / 4;
    return quarter < LOG_CHUNK_MIN ? LOG_CHUNK_MIN : quarter > LOG_CHUNK_MAX ? LOG_CHUNK_MAX : quarter;
}

uint64_t store_log_reserve(const store_log_cfg *c) { return chunk_of(c) / 4; }

err store_log_open(sys *s, const store_log_cfg *c, log_damage_fn *damage, void *arg, store_log **out, store_log_open_stat *out_stat) {
    if (c->partitions == 0 || c->partitions > STORE_PARTITIONS_MAX || c->segment_bytes > LOG_SEGMENT_END_MAX / 2) return ERR_INVALID;
    if (c->batch_bytes_max < LOG_PAGE || c->batch_bytes_max > (1u << 30)) return ERR_INVALID;
    store_log *l = mem_zalloc(sizeof *l);
    l->s = s;
    l->cfg = *c;
    l->dir = slice_dup_str(slice_str(c->dir));
    l->cfg.dir = l->dir;
    store_log_damage_to(l, damage, arg);
    l->next_number = 1;
    l->chunk = chunk_of(c);
    l->reserve = store_log_reserve(c);
    l->batch_seq = 1;
    l->lock_fd = -1;
    l->lost = mem_zalloc(c->partitions * sizeof *l->lost);
    lock_set_init(&l->locks);
    lock_init(&l->mu, &l->locks, "store", 0, LOCK_RANK_STORE);
    list_init(&l->idle);
    l->open_max = c->segments_open_max ? c->segments_open_max : LOG_OPEN_DEFAULT;
    buf_init(&l->batch, (size_t)c->batch_bytes_max + LOG_RECORD_MAX);
    buf_init(&l->told, (size_t)c->batch_bytes_max + LOG_RECORD_MAX); /* of each copy less than the copy */
    s->entropy(s, &l->key, sizeof l->key);
    l->found = store_log_collect_new(l, -1);
    recovery r = {.l = l, .from = s->mono(s)};
    err e = recover(&r);
    mem_free(r.numbers);
    mem_free(r.bad);
    if (e != ERR_OK) {
        l->failed = true;
        store_log_close(l);
        return e;
    }
    l->damaged = r.stat.damaged;
    store_log_damage_to(l, NULL, NULL);
    (void)store_log_spare_keep(l); /* without it the log serves, too; the first probe of a full disk makes it */
    r.stat.live = l->live;
    r.stat.epoch = l->epoch;
    r.stat.took = s->mono(s) - r.from;
    *out = l;
    *out_stat = r.stat;
    return ERR_OK;
}
