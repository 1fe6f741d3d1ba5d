/* log_read: committed records, from any thread, beside the writer.
 *
 *   get(loc) --pin the segment under mu, keep its descriptor--> window of bytes --verify--> env
 *               the next loc is close behind: the window grows 1 KiB, 2 KiB ... 64 KiB, and most records are there already
 *
 * Invariants: (1) what lies below a segment's committed end never changes, so a window stays true as long as the segment is pinned. (2)
 * Every record is verified by its checksum, wherever its bytes came from. (3) A wide read that fails is tried again for the one record: a
 * bad sector costs what lies on it. (4) A reader holds one segment at a time. */
#include "store/log_read.h"

#include "base/mem.h"

#define READ_MIN  1024u                /* most messages, in one read */
#define READ_MAX  (UINT64_C(64) << 10) /* ahead, when records are wanted in the order in which they lie */
#define READ_NEAR 4096u                /* a gap that is not worth a read of its own */

void store_log_reader_init(log_reader *r, store_log *l) {
    *r = (log_reader){.l = l, .ahead = READ_MIN};
    buf_init(&r->win, LOG_RECORD_MAX + READ_MAX);
}

static void leave(log_reader *r) {
    if (!r->g) return;
    store_log_seg_unuse(r->l, r->g);
    store_log_unpin(r->l, r->g);
    r->g = NULL;
    buf_reset(&r->win);
}

void store_log_reader_fini(log_reader *r) {
    leave(r);
    buf_fini(&r->win);
}

/* Goes to a segment; again when off was not committed yet when it came there. */
static err enter(log_reader *r, uint64_t number, uint64_t off) {
    if (r->g && r->g->number == number && off < r->end) return ERR_OK;
    leave(r);
    uint64_t end = 0;
    log_seg *g = store_log_pin(r->l, number, &end);
    if (!g) return ERR_NOT_FOUND;
    err e = store_log_seg_use(r->l, g);
    if (e != ERR_OK) {
        store_log_unpin(r->l, g);
        return e;
    }
    r->g = g;
    r->end = end;
    r->next = 0;
    return ERR_OK;
}

static err fill(log_reader *r, uint64_t off, uint64_t n) {
    buf_reset(&r->win);
    if (n > r->end - off) n = r->end - off;
    uint8_t *p = buf_reserve(&r->win, (size_t)n);
    size_t got = 0;
    if (!p) return ERR_LIMIT;
    err e = r->l->s->file_read(r->l->s, r->g->fd, p, (size_t)n, off, &got);
    if (e != ERR_OK) return e;
    buf_added(&r->win, got);
    r->off = off;
    return ERR_OK;
}

/* The bytes from off on, at least n of them if they are committed. */
static err need(log_reader *r, uint64_t off, uint64_t n, slice *out) {
    if (n > r->end - off) n = r->end - off;
    bool there = r->win.len > 0 && off >= r->off && off + n <= r->off + r->win.len;
    if (!there) {
        err e = fill(r, off, n > r->ahead ? n : r->ahead);
        if (e == ERR_IO && r->ahead > n) e = fill(r, off, n);
        if (e != ERR_OK) return e;
    }
    *out = slice_from(buf_slice(&r->win), (size_t)(off - r->off));
    return ERR_OK;
}

static err record(log_reader *r, uint64_t off, log_found *out) {
    if (off < LOG_PAGE || off % 8 != 0 || off + LOG_REC > r->end) return ERR_INVALID;
    bool near = r->next > 0 && off >= r->next && off - r->next <= READ_NEAR;
    if (!near) r->ahead = READ_MIN;
    slice s;
    err e = need(r, off, LOG_REC, &s);
    if (e != ERR_OK) return e;
    uint32_t len;
    if (s.len < LOG_REC) return ERR_CORRUPT;
    memcpy(&len, s.p + 4, 4);
    if (len > LOG_RECORD_MAX || store_log_rec_total(len) > r->end - off) return ERR_CORRUPT;
    size_t total = store_log_rec_total(len);
    e = need(r, off, total, &s);
    if (e != ERR_OK) return e;
    r->next = off + total;
    if (near && r->ahead < READ_MAX) r->ahead *= 2;
    return store_log_rec_check(s.p, s.len, r->g->seed, off, out) ? ERR_OK : ERR_CORRUPT;
}

err store_log_reader_get(log_reader *r, uint64_t id, uint64_t loc, buf *out_env, int64_t *out_wall) {
    log_found f;
    log_put p;
    err e = enter(r, log_loc_segment(loc), log_loc_off(loc));
    if (e == ERR_OK) e = record(r, log_loc_off(loc), &f);
    if (e == ERR_OK && (f.type != LOG_PUT || !store_log_rec_put(f.flags, f.body, &p))) e = ERR_CORRUPT;
    if (e == ERR_OK && f.id != id) e = ERR_NOT_FOUND;
    if (e != ERR_OK) return e;
    buf_add(out_env, p.env);
    if (!buf_ok(out_env)) return ERR_LIMIT;
    *out_wall = p.wall;
    return ERR_OK;
}

err store_log_read(store_log *l, uint64_t id, uint64_t loc, buf *out_env, int64_t *out_wall) {
    log_reader r;
    store_log_reader_init(&r, l);
    err e = store_log_reader_get(&r, id, loc, out_env, out_wall);
    store_log_reader_fini(&r);
    return e;
}
