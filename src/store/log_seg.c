/* log_seg: one segment file: its header, how it comes to be, how it is closed, and which of its PUTs are dead.
 *
 *   | header copy | header copy | records ... MARK PUT PUT DEL MARK PUT ... TAIL |      allocated ahead, reads as zero
 *   0           2048          4096                                            end                                 size
 *
 * Invariants: (1) a segment's header and name are durable before a record is written to it. (2) A segment is sealed (TAIL, cut to its end,
 * synced) before a record is written to a later one. So of all segments that hold records only the last may be without TAIL. (3) A dead bit
 * stands for a PUT that was deleted, or copied, in a batch that is committed. (4) A descriptor that is in use is not closed; of the others
 * the longest unused are, above open_max, so that a log of any number of segments needs a bounded number of descriptors. No system call is
 * made under mu. */
#include "base/cursor.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/log_int.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_COPY  (LOG_PAGE / 2)
#define LOG_ZEROS (64u << 10) /* written at once */
#define LOG_HEAD  48u         /* magic 8, format 4, crc 4, segment 8, epoch 8, created 8, nonce 8 */
static const char log_magic[8] = {'M', 'U', 'R', 'R', 'E', 'L', 'O', 'G'};

bool store_log_seg_path(const store_log *l, uint64_t number, const char *suffix, char out[LOG_PATH_MAX]) {
    int n = snprintf(out, LOG_PATH_MAX, "%s/%012" PRIu64 ".seg%s", l->dir, number, suffix);
    return n > 0 && n < (int)LOG_PATH_MAX;
}

static uint32_t head_crc(const uint8_t *copy) {
    uint32_t c = digest_crc32c(0, slice_of(copy, 12));
    return digest_crc32c(c, slice_of(copy + 16, LOG_HEAD - 16));
}

static uint32_t seed_of(const uint8_t *copy) { return digest_crc32c(0, slice_of(copy + 16, LOG_HEAD - 16)); }

static void head_write(store_log *l, log_seg *g, uint8_t page[LOG_PAGE]) {
    buf b;
    buf_init(&b, LOG_HEAD);
    buf_add(&b, slice_of(log_magic, sizeof log_magic));
    buf_add_u32le(&b, LOG_FORMAT);
    buf_add_u32le(&b, 0);
    buf_add_u64le(&b, g->number);
    buf_add_u64le(&b, g->epoch);
    buf_add_u64le(&b, (uint64_t)l->s->wall(l->s));
    uint64_t nonce;
    l->s->entropy(l->s, &nonce, sizeof nonce);
    buf_add_u64le(&b, nonce);
    memset(page, 0, LOG_PAGE);
    memcpy(page, b.p, LOG_HEAD);
    buf_fini(&b);
    uint32_t crc = head_crc(page);
    for (int i = 0; i < 4; i++) page[12 + i] = (uint8_t)(crc >> (8 * i));
    memcpy(page + LOG_COPY, page, LOG_HEAD);
    g->seed = seed_of(page);
}

typedef enum head_state { HEAD_OK, HEAD_BAD, HEAD_VERSION } head_state;

static head_state head_read(const uint8_t *copy, log_seg *g) {
    cursor c = cursor_of(slice_of(copy + 8, LOG_HEAD - 8));
    uint32_t format, crc;
    uint64_t number, epoch;
    if (memcmp(copy, log_magic, sizeof log_magic) != 0) return HEAD_BAD;
    if (!cursor_u32le(&c, &format) || !cursor_u32le(&c, &crc) || !cursor_u64le(&c, &number) || !cursor_u64le(&c, &epoch)) return HEAD_BAD;
    if (crc != head_crc(copy)) return HEAD_BAD;
    if (format != LOG_FORMAT) return HEAD_VERSION;
    if (number != g->number) return HEAD_BAD; /* the file was renamed: its records say another place */
    g->epoch = epoch;
    g->seed = seed_of(copy);
    return HEAD_OK;
}

/* --- descriptors ---------------------------------------------------------------------------------------------------------------- */

/* Under mu. Takes the descriptor that was unused the longest, if there are more than max; -1: there is none to close. */
static int take_idle(store_log *l, uint32_t max) {
    list *n = l->n_open > max ? list_pop_front(&l->idle) : NULL;
    if (!n) return -1;
    log_seg *g = container_of(n, log_seg, idle);
    int fd = g->fd;
    g->fd = -1;
    l->n_open--;
    return fd;
}

static void close_fd(store_log *l, int fd) {
    if (fd >= 0) l->s->file_close(l->s, fd);
}

/* Opens the file of a segment; a process that has no descriptor left closes one of ours for it. */
static err open_file(store_log *l, const log_seg *g, unsigned flags, int *out_fd) {
    char path[LOG_PATH_MAX];
    if (!store_log_seg_path(l, g->number, "", path)) return ERR_LIMIT;
    for (;;) {
        err e = l->s->file_open(l->s, path, flags, out_fd);
        if (e != ERR_FD_LIMIT) return e;
        lock_take(&l->mu);
        int fd = take_idle(l, 0);
        lock_release(&l->mu);
        if (fd < 0) return e;
        close_fd(l, fd);
    }
}

/* fd is what g, in use, has from now on; unless another thread was faster. */
static void give_fd(store_log *l, log_seg *g, int fd) {
    lock_take(&l->mu);
    if (g->fd < 0) {
        g->fd = fd;
        l->n_open++;
        fd = take_idle(l, l->open_max);
    }
    lock_release(&l->mu);
    close_fd(l, fd);
}

err store_log_seg_use(store_log *l, log_seg *g) {
    lock_take(&l->mu);
    bool open = g->fd >= 0;
    if (g->users++ == 0 && open) list_remove(&g->idle);
    lock_release(&l->mu);
    if (open) return ERR_OK;
    int fd;
    err e = open_file(l, g, SYS_OPEN_WRITE, &fd);
    if (e == ERR_OK)
        give_fd(l, g, fd);
    else
        store_log_seg_unuse(l, g);
    return e;
}

void store_log_seg_unuse(store_log *l, log_seg *g) {
    lock_take(&l->mu);
    if (--g->users == 0 && g->fd >= 0) list_push_back(&l->idle, &g->idle);
    int fd = take_idle(l, l->open_max);
    lock_release(&l->mu);
    close_fd(l, fd);
}

/* --- files ---------------------------------------------------------------------------------------------------------------------- */

static log_seg *seg_new(uint64_t number) {
    log_seg *g = mem_zalloc(sizeof *g);
    g->number = number;
    g->fd = -1;
    g->users = 1;
    return g;
}

err store_log_seg_open(store_log *l, uint64_t number, log_seg **out, bool *out_flaw) {
    log_seg *g = seg_new(number);
    int fd;
    err e = open_file(l, g, SYS_OPEN_WRITE, &fd);
    if (e != ERR_OK) {
        store_log_seg_free(l, g);
        return e;
    }
    give_fd(l, g, fd);
    uint8_t page[LOG_PAGE] = {0};
    size_t n = 0;
    e = l->s->file_size(l->s, g->fd, &g->size);
    if (e == ERR_OK) e = l->s->file_read(l->s, g->fd, page, sizeof page, 0, &n);
    head_state a = head_read(page, g), b = a == HEAD_OK ? a : head_read(page + LOG_COPY, g);
    if (e == ERR_OK && b == HEAD_VERSION) e = ERR_VERSION;
    if (e == ERR_OK && b == HEAD_BAD) e = a == HEAD_VERSION ? ERR_VERSION : ERR_CORRUPT;
    if (e != ERR_OK) {
        store_log_seg_free(l, g);
        return e;
    }
    *out_flaw = memcmp(page, page + LOG_COPY, LOG_HEAD) != 0;
    g->end = LOG_PAGE;
    *out = g;
    return ERR_OK;
}

err store_log_seg_create(store_log *l, uint64_t number, uint64_t epoch, log_seg **out) {
    char path[LOG_PATH_MAX];
    if (number > UINT32_MAX || epoch > LOG_EPOCH_MAX || !store_log_seg_path(l, number, "", path)) return ERR_LIMIT;
    log_seg *g = seg_new(number);
    g->epoch = epoch;
    int fd;
    err e = open_file(l, g, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd);
    if (e != ERR_OK) {
        store_log_seg_free(l, g);
        return e;
    }
    give_fd(l, g, fd);
    uint8_t page[LOG_PAGE];
    head_write(l, g, page);
    e = l->s->file_write(l->s, g->fd, slice_of(page, sizeof page), 0);
    g->size = g->end = LOG_PAGE;
    if (e == ERR_OK) {
        err a = store_log_seg_allocate(l, g, LOG_PAGE + l->chunk, 0);
        if (a != ERR_NOSPC) e = a; /* a full disk is met by the first put: what is there can be served without space */
    }
    if (e == ERR_OK) e = l->s->file_sync(l->s, g->fd);
    if (e == ERR_OK && !plant(SEGMENT_NAME_NOT_SYNCED)) e = l->s->dir_sync(l->s, l->dir);
    if (e != ERR_OK) {
        store_log_seg_free(l, g);
        (void)l->s->file_unlink(l->s, path); /* an empty last segment is harmless if it stays */
        return e;
    }
    *out = g;
    return ERR_OK;
}

/* Space that was allocated but never written costs a change of the file system's own records at every sync that follows a write to it. */
static err write_zeros(store_log *l, const log_seg *g, uint64_t from, uint64_t to) {
    static const uint8_t zeros[LOG_ZEROS];
    err e = ERR_OK;
    while (from < to && e == ERR_OK) {
        size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        e = l->s->file_write(l->s, g->fd, slice_of(zeros, n), from);
        from += n;
    }
    return e;
}

err store_log_seg_allocate(store_log *l, log_seg *g, uint64_t upto, uint64_t written) {
    if (upto <= g->size) return ERR_OK;
    uint64_t size = LOG_PAGE + (upto - LOG_PAGE + l->chunk - 1) / l->chunk * l->chunk;
    err e = l->s->file_allocate(l->s, g->fd, g->size, size - g->size);
    if (e == ERR_NOSPC && size > upto) { /* the last bytes of a disk count, too */
        size = upto;
        e = l->s->file_allocate(l->s, g->fd, g->size, size - g->size);
    }
    if (e == ERR_OK) e = write_zeros(l, g, written > g->size ? written : g->size, size);
    if (e == ERR_OK) g->size = size;
    return e;
}

void store_log_seg_tail(const log_seg *g, uint64_t end, buf *out) {
    size_t total = store_log_rec_total(16);
    uint8_t *p = buf_reserve(out, total);
    if (!p) return;
    memcpy(p + LOG_REC, &g->records, 8);
    memcpy(p + LOG_REC + 8, &g->crc_sum, 8);
    store_log_rec_seal(p, g->seed, end, LOG_TAIL, 0, g->number, 16);
    buf_added(out, total);
}

err store_log_seg_rewrite(store_log *l, const log_seg *g, uint64_t from, uint64_t to) {
    uint8_t page[LOG_PAGE];
    err e = ERR_OK;
    for (uint64_t at = from; at < to && e == ERR_OK; at += sizeof page) {
        size_t want = to - at < sizeof page ? (size_t)(to - at) : sizeof page, n = 0;
        if (l->s->file_read(l->s, g->fd, page, want, at, &n) == ERR_OK && n > 0) /* what cannot be read is counted as damage elsewhere */
            e = l->s->file_write(l->s, g->fd, slice_of(page, n), at);
    }
    return e == ERR_OK ? l->s->file_sync(l->s, g->fd) : e;
}

err store_log_seg_seal(store_log *l, log_seg *g) {
    buf b;
    buf_init(&b, LOG_PAGE);
    store_log_seg_tail(g, g->end, &b);
    uint64_t end = g->end + b.len;
    err e = l->s->file_write(l->s, g->fd, buf_slice(&b), g->end);
    if (e == ERR_OK) e = l->s->file_truncate(l->s, g->fd, end);
    if (e == ERR_OK) e = l->s->file_sync(l->s, g->fd);
    buf_fini(&b);
    if (e != ERR_OK) return e;
    lock_take(&l->mu);
    g->end = g->size = end;
    g->sealed = true;
    lock_release(&l->mu);
    return ERR_OK;
}

void store_log_seg_free(store_log *l, log_seg *g) {
    if (!g) return;
    lock_take(&l->mu);
    if (list_linked(&g->idle)) list_remove(&g->idle);
    if (g->fd >= 0) l->n_open--;
    lock_release(&l->mu);
    close_fd(l, g->fd);
    mem_free(g->dead);
    mem_free(g);
}

log_seg *store_log_seg_find(const store_log *l, uint64_t number) {
    size_t lo = 0, hi = l->n_segs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->segs[mid]->number == number) return l->segs[mid];
        if (l->segs[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

void store_log_seg_add(store_log *l, log_seg *g) {
    void *p = l->segs;
    mem_grow(&p, &l->cap_segs, l->n_segs + 1, sizeof *l->segs);
    l->segs = p;
    l->segs[l->n_segs++] = g;
}

bool store_log_seg_is_dead(const log_seg *g, uint64_t off) {
    uint64_t bit = off / 8;
    return bit / 64 < g->dead_words && (g->dead[bit / 64] >> (bit % 64) & 1);
}

void store_log_seg_kill(log_seg *g, uint64_t off) {
    uint64_t bit = off / 8;
    if (bit / 64 >= g->dead_words) {
        size_t old = g->dead_words;
        void *p = g->dead;
        mem_grow(&p, &g->dead_words, (size_t)(bit / 64) + 1, sizeof *g->dead);
        g->dead = p;
        memset(g->dead + old, 0, (g->dead_words - old) * sizeof *g->dead);
    }
    uint64_t mask = UINT64_C(1) << (bit % 64);
    if (g->dead[bit / 64] & mask) return;
    g->dead[bit / 64] |= mask;
    g->dead_puts++;
}

void store_log_kill(store_log *l, uint64_t loc) {
    log_seg *g = store_log_seg_find(l, log_loc_segment(loc));
    if (!g) return;
    store_log_seg_kill(g, log_loc_off(loc));
    store_log_seg_count(l, g);
}

void store_log_seg_count(store_log *l, log_seg *g) {
    uint64_t live = store_log_seg_live_bytes(g);
    l->live_bytes += live - g->counted_live; /* may go down: modulo 2^64 */
    l->total_bytes += g->size - g->counted_size;
    g->counted_live = live;
    g->counted_size = g->size;
}

uint64_t store_log_seg_live(const log_seg *g) { return g->puts > g->dead_puts ? g->puts - g->dead_puts : 0; }

uint64_t store_log_seg_live_bytes(const log_seg *g) {
    return g->puts ? g->put_bytes / g->puts * store_log_seg_live(g)
                   : 0; /* by the average: a deletion does not say how long its record was */
}

/* --- what cannot be read ---------------------------------------------------------------------------------------------------------- */

void store_log_report(store_log *l, uint64_t segment, uint64_t off, const char *text) {
    if (l->reports++ < LOG_REPORTS_MAX && l->damage) l->damage(l->damage_arg, segment, off, text);
}

void store_log_report_gap(store_log *l, const log_seg *g, uint64_t n, const log_gap *gap, const char *then) {
    char text[200];
    (void)snprintf(text, sizeof text, "messages that cannot be read now: %" PRIu64 " within bytes %" PRIu64 " to %" PRIu64 "; %s", n,
                   gap->from, gap->to, then); /* fits */
    store_log_report(l, g->number, gap->from, text);
}
