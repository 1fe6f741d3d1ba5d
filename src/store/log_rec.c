/* log_rec: what a record is, byte by byte, and the scanner that finds records in the bytes of a segment.
 *
 *   0    4      8    9     10     12  20              20+length
 *   | crc | len | ty | fl | check | id | body ........ | pad (1 to 8 bytes of LOG_PAD) |
 *
 * crc covers everything from len to the end of the body, and starts from the segment's seed mixed with the offset. check is 16 bits over
 * len, type, flags and id only, so that a record with a damaged body still tells its length and its id.
 *
 * Invariants: (1) a body that carries the image of a record never passes for one: the seed has a random nonce that no sender knows, and the
 * offset is part of the checksum. (2) The scanner returns ranges that touch and never overlap: record or damage, from where it started to
 * the first place after which there are only zeros. (3) It reads a file once, in large blocks, and backwards never. */
#include "store/log_rec.h"

#include "base/digest.h"
#include "base/load.h"
#include "base/mem.h"
#include "base/plant.h"

#define LOG_WINDOW     (UINT64_C(1) << 20)
#define LOG_UNREADABLE 0xeeu /* stands for bytes that the disk does not give back; not zero, which would look like the end */

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static void put64(uint8_t *p, uint64_t v) {
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

size_t store_log_rec_total(size_t body_len) { return (LOG_REC + body_len + 1 + 7) & ~(size_t)7; }

static uint32_t start_of(uint32_t seed, uint64_t off) { return seed ^ ((uint32_t)(off >> 3) * 0x9e3779b1u); }

static uint16_t head_check(const uint8_t *p, uint32_t seed, uint64_t off) {
    uint8_t h[14];
    memcpy(h, p + 4, 6);
    memcpy(h + 6, p + 12, 8);
    uint32_t c = digest_crc32c(~start_of(seed, off), slice_of(h, sizeof h));
    return (uint16_t)(c ^ c >> 16);
}

void store_log_rec_seal(uint8_t *p, uint32_t seed, uint64_t off, log_type type, uint8_t flags, uint64_t id, size_t body_len) {
    put32(p + 4, (uint32_t)body_len);
    p[8] = (uint8_t)type;
    p[9] = flags;
    put64(p + 12, id);
    uint16_t h = head_check(p, seed, off);
    p[10] = (uint8_t)h;
    p[11] = (uint8_t)(h >> 8);
    memset(p + LOG_REC + body_len, LOG_PAD, store_log_rec_total(body_len) - LOG_REC - body_len);
    put32(p, digest_crc32c(start_of(seed, off), slice_of(p + 4, LOG_REC - 4 + body_len)));
}

static bool head_ok(const uint8_t *p, uint32_t seed, uint64_t off) {
    return (uint16_t)(p[10] | p[11] << 8) == head_check(p, seed, off) && p[8] >= LOG_PUT && p[8] <= LOG_TAIL &&
           load_u32le(p + 4) <= LOG_RECORD_MAX;
}

static bool body_ok(const uint8_t *p, uint32_t seed, uint64_t off) {
    return plant(RECOVERY_BELIEVES_TORN) ||
           load_u32le(p) == digest_crc32c(start_of(seed, off), slice_of(p + 4, LOG_REC - 4 + load_u32le(p + 4)));
}

static void describe(const uint8_t *p, uint64_t off, log_found *out) {
    uint32_t len = load_u32le(p + 4);
    *out = (log_found){.type = p[8],
                       .flags = p[9],
                       .crc = load_u32le(p),
                       .off = off,
                       .end = off + store_log_rec_total(len),
                       .id = load_u64le(p + 12),
                       .body = slice_of(p + LOG_REC, len)};
}

bool store_log_rec_check(const uint8_t *p, size_t len, uint32_t seed, uint64_t off, log_found *out) {
    if (len < LOG_REC || !head_ok(p, seed, off) || store_log_rec_total(load_u32le(p + 4)) > len || !body_ok(p, seed, off)) return false;
    describe(p, off, out);
    return true;
}

bool store_log_rec_put(uint8_t flags, slice body, log_put *out) {
    size_t fixed = LOG_PUT_FIXED + ((flags & LOG_MOVED) ? 8 : 0);
    if (body.len < fixed) return false;
    const uint8_t *p = body.p;
    *out = (log_put){0};
    if (flags & LOG_MOVED) {
        out->moved_from = load_u64le(p);
        p += 8;
    }
    out->wall = (int64_t)load_u64le(p);
    out->h0 = load_u64le(p + 8);
    out->h1 = load_u64le(p + 16);
    size_t user_len = (size_t)p[24] | (size_t)p[25] << 8;
    if (user_len > body.len - fixed) return false;
    out->user = slice_sub(body, fixed, user_len);
    out->env = slice_from(body, fixed + user_len);
    return true;
}

/* --- the scanner -------------------------------------------------------------------------------------------------------------- */

void store_log_scan_init(log_scan *c, sys *s, int fd, uint32_t seed, uint64_t limit) {
    *c = (log_scan){.s = s, .fd = fd, .seed = seed, .at = LOG_PAGE, .limit = limit};
}

void store_log_scan_fini(log_scan *c) {
    mem_free(c->win);
    c->win = NULL;
}

/* A page that cannot be read is given up only after many tries: what is called damaged once is not served until the next start, and not
 * copied when its segment is compacted. */
static bool fill_page(log_scan *c, uint8_t *to, uint64_t off, size_t want) {
    enum { TRIES = 16 };
    for (int i = 0; i < TRIES; i++) {
        size_t got = 0;
        if (c->s->file_read(c->s, c->fd, to, want, off, &got) != ERR_OK) continue;
        memset(to + got, 0, want - got);
        return true;
    }
    return false;
}

/* Reads a block; where the disk fails, page by page, so that one bad sector costs one page. */
static void fill(log_scan *c, uint64_t off, size_t len) {
    size_t n = 0;
    if (c->s->file_read(c->s, c->fd, c->win, len, off, &n) == ERR_OK) {
        memset(c->win + n, 0, len - n);
        return;
    }
    for (size_t at = 0; at < len; at += LOG_PAGE) {
        size_t want = len - at < LOG_PAGE ? len - at : LOG_PAGE;
        if (!fill_page(c, c->win + at, off + at, want)) memset(c->win + at, LOG_UNREADABLE, want);
    }
}

/* n bytes of the file at off, or NULL past the limit. Valid until the next call. */
static const uint8_t *bytes_at(log_scan *c, uint64_t off, size_t n) {
    if (off > c->limit || n > c->limit - off) return NULL;
    if (off >= c->win_off && off + n <= c->win_off + c->win_len) return c->win + (off - c->win_off);
    size_t want = n > LOG_WINDOW ? n : (size_t)LOG_WINDOW;
    if (want > c->limit - off) want = (size_t)(c->limit - off);
    if (want > c->win_cap) {
        mem_free(c->win);
        c->win = mem_alloc(want);
        c->win_cap = want;
    }
    fill(c, off, want);
    c->win_off = off;
    c->win_len = want;
    return c->win;
}

static bool record_at(log_scan *c, uint64_t off, log_found *out) {
    const uint8_t *p = bytes_at(c, off, LOG_REC);
    if (!p || !head_ok(p, c->seed, off)) return false;
    size_t total = store_log_rec_total(load_u32le(p + 4));
    p = bytes_at(c, off, total);
    return p && store_log_rec_check(p, total, c->seed, off, out);
}

static bool zero(const uint8_t *p, size_t n) { return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); }

static bool zero_to_end(log_scan *c, uint64_t off) {
    while (off < c->limit) {
        size_t n = c->limit - off < LOG_PAGE ? (size_t)(c->limit - off) : LOG_PAGE;
        const uint8_t *p = bytes_at(c, off, n);
        if (!p || !zero(p, n)) return false;
        off += n;
    }
    return true;
}

/* Can a record start here, or the end be? */
static bool boundary(log_scan *c, uint64_t off) {
    if (off == c->limit) return true;
    const uint8_t *p = bytes_at(c, off, LOG_REC);
    return (p && head_ok(p, c->seed, off)) || zero_to_end(c, off);
}

/* Damage starts at off: how far does it go? */
static uint64_t damage_end(log_scan *c, uint64_t off, log_found *out) {
    const uint8_t *p = bytes_at(c, off, LOG_REC);
    if (p && head_ok(p, c->seed, off)) {
        describe(p, off, out);
        out->named = true;
        if (out->end <= c->limit && boundary(c, out->end)) return out->end;
    }
    log_found next;
    for (uint64_t at = off + 8; at + LOG_REC <= c->limit; at += 8)
        if (record_at(c, at, &next)) return at;
    return c->limit;
}

bool store_log_scan_next(log_scan *c, log_found *out) {
    if (c->at >= c->limit) return false;
    if (record_at(c, c->at, out)) {
        c->at = out->end;
        return true;
    }
    if (zero_to_end(c, c->at)) return false;
    log_found f = {0};
    uint64_t end = damage_end(c, c->at, &f);
    f.bad = true;
    f.off = c->at;
    f.end = end;
    f.body = SLICE_NULL;
    c->at = end;
    *out = f;
    return true;
}

void store_log_gap_add(log_gap *gap, const log_found *bad) {
    if (!gap->to || bad->off < gap->from) gap->from = bad->off;
    if (bad->end > gap->to) gap->to = bad->end;
}
