/* recorder: the last events of a node in a mapped file, which the kernel keeps when the process is killed.
 *
 *     page 0: header    ring 0 (shard 0)         ring 1 (shard 1)     ...    last ring (other threads)
 *     magic, rings, n   [r][r][r][r]...[r]       [r][r]...                   [r][r]...
 *                           ^ seq % n is written next; one writer a ring, plain stores, no lock, no system call
 *
 * Invariants: (1) a record is one cache line, at a multiple of its size. (2) Its check word is computed over the rest; a record torn by a
 * kill between two stores, or by another machine's cache after a power cut, does not fit it and is skipped. (3) seq rises by one a record,
 * from 1: 0 is "never written". (4) The reader trusts nothing in the file: sizes are held against the file's own. (5) Event numbers mean
 * something only together with events.def: its digest is in the header.
 *
 * A record costs its shard some 25 ns, of which the cycle counter takes 10 (`make bench T=looks`): hence a check of eight multiplications,
 * which is there for accidents and not for forgers, and a time that is reckoned from the cycle counter between two looks at the clock. */
#include "rt/recorder.h"

#include "base/codec.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/plant.h"
#include "rt/recorder_core.h"

#include <stdio.h>

#define PAGE       4096u
#define MAGIC      SLICE("murre-fr")
#define FORMAT     2u
#define RINGS_MAX  1024u
#define RING_MIN   16u /* records */
#define RING_MAX   ((uint32_t)(RT_RECORDER_RING_MAX / sizeof(rt_record)))
#define HEADER_LEN 32u
#define CHUNK      64u                                                      /* records read at once, of each ring */
#define CHECK_KEY  ((hash_key){UINT64_C(0x6d757272), UINT64_C(0x7265636f)}) /* a constant: readers are other processes */
#define LOOK_USEC  (10 * USEC_PER_MSEC) /* between two looks at the clock: how late a jump of it shows */
#define OLD_SUFFIX ".1"
#define PATH_BYTES 4096

typedef struct ring {
    rt_record *at;
    uint64_t seq;         /* of the last record */
    uint32_t next;        /* index of the one to come */
    uint64_t look_cycles; /* cycle count at the last look at the clock */
    usec look_wall;       /* what it said */
} ring;
struct rt_recorder {
    sys *s;
    uint64_t look_after;     /* cycles: LOOK_USEC */
    uint64_t usec_per_cycle; /* in units of 2^-32 */
    uint8_t *map;
    size_t len;
    unsigned n_rings;
    uint32_t per_ring;
    ring ring[];
};

/* A sum of the words, each multiplied by an odd number of its own, so that no change of one word goes unseen before the fold to 32 bits,
 * and one of several once in 2^32. The numbers are of a Weyl sequence, as in hash_u64. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)
static inline uint64_t mixed(uint64_t word, unsigned i) { return (word + STEP) * (STEP * (2 * i + 1)); }
static inline uint32_t check_word(const rt_record *r) {
    uint64_t text;
    memcpy(&text, r->text, sizeof text);
    uint64_t h = mixed((uint64_t)r->wall_usec, 0) + mixed(r->seq, 1) + mixed((uint64_t)r->slot << 32 | r->event, 2);
    h += mixed(r->arg[0], 3) + mixed(r->arg[1], 4) + mixed(r->arg[2], 5) + mixed(r->trace, 6) + mixed(text, 7);
    return (uint32_t)((h ^ h >> 32) * STEP >> 32);
}

/* Of the names of all events and their arguments. */
static uint64_t events_digest(void) {
    buf b;
    const hash_key k = CHECK_KEY;
    buf_init(&b, 1u << 20);
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        const rt_event_desc *d = &rt_event_descs[i];
        buf_addf(&b, "%s(%s,%s,%s)", d->name, d->arg[0], d->arg[1], d->arg[2]);
    }
    uint64_t h = hash_bytes(&k, buf_slice(&b));
    buf_fini(&b);
    return h;
}

/* --- writing --------------------------------------------------------------------------------------------------------------------- */
static err move_old(sys *s, const char *path) {
    char old[PATH_BYTES];
    int len = snprintf(old, sizeof old, "%s" OLD_SUFFIX, path);
    if (len < 0 || (size_t)len >= sizeof old) return ERR_INVALID;
    err e = s->file_rename(s, path, old);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static void write_header(rt_recorder *r) {
    buf b;
    buf_init(&b, PAGE);
    buf_add(&b, MAGIC);
    buf_add_u32le(&b, FORMAT);
    buf_add_u32le(&b, r->n_rings);
    buf_add_u32le(&b, r->per_ring);
    buf_add_u32le(&b, (uint32_t)sizeof(rt_record));
    buf_add_u64le(&b, events_digest());
    memcpy(r->map, b.p, b.len);
    buf_fini(&b);
}

err rt_recorder_new(sys *s, const char *path, size_t ring_bytes, unsigned rings, rt_recorder **out) {
    size_t room = ring_bytes / sizeof(rt_record);
    if (rings == 0 || rings > RINGS_MAX || room > RING_MAX || ring_bytes == 0) return ERR_INVALID;
    if (room < RING_MIN) room = RING_MIN;
    err e = move_old(s, path);
    if (e) return e;
    size_t len = PAGE + room * rings * sizeof(rt_record);
    void *map;
    e = s->file_map(s, path, len, &map);
    if (e) return e;
    rt_recorder *r = mem_zalloc(sizeof *r + rings * sizeof(ring));
    uint64_t per_sec = s->cycles_per_sec(s);
    r->s = s;
    r->map = map;
    r->len = len;
    r->n_rings = rings;
    r->per_ring = (uint32_t)room;
    if (per_sec >= (uint64_t)USEC_PER_SEC) { /* a slower counter is of no use: look_after stays 0 */
        r->look_after = per_sec / (uint64_t)(USEC_PER_SEC / LOOK_USEC);
        r->usec_per_cycle = ((uint64_t)USEC_PER_SEC << 32) / per_sec;
    }
    for (unsigned i = 0; i < rings; i++) {
        rt_record *at = (rt_record *)(void *)(r->map + PAGE + i * room * sizeof(rt_record));
        r->ring[i] = (ring){.at = at, .look_cycles = s->cycles(s), .look_wall = s->wall(s)};
    }
    write_header(r);
    *out = r;
    return ERR_OK;
}

void rt_recorder_free(rt_recorder *r) {
    if (!r) return;
    r->s->file_unmap(r->s, r->map, r->len);
    mem_free(r);
}

usec rt_recorder_wall(rt_recorder *r, unsigned ring_no) {
    if (!check(ring_no < r->n_rings)) return 0;
    ring *g = &r->ring[ring_no];
    uint64_t now = r->s->cycles(r->s), passed = now - g->look_cycles;
    if (UNLIKELY(passed >= r->look_after)) { /* also when another CPU's counter is behind: passed is huge then */
        g->look_wall = r->s->wall(r->s);
        g->look_cycles = now;
        return g->look_wall;
    }
    return g->look_wall + (usec)(passed * r->usec_per_cycle >> 32);
}

void rt_recorder_write(rt_recorder *r, unsigned ring_no, const rt_record *rec) {
    if (!check(ring_no < r->n_rings)) return;
    ring *g = &r->ring[ring_no];
    rt_record *to = &g->at[g->next];
    g->next = g->next + 1 == r->per_ring ? 0 : g->next + 1;
    __builtin_prefetch(&g->at[g->next], 1); /* the one to come was written a whole ring ago */
    rt_record x = *rec;
    x.seq = ++g->seq;
    x.check = check_word(&x);
    *to = x;
}

/* --- reading --------------------------------------------------------------------------------------------------------------------- */
typedef struct source { /* a ring that is being read */
    uint64_t newest;    /* seq of its last record when it was opened; what was written since is left out */
    uint64_t next;      /* seq of the record to go on with; past newest: none */
    uint64_t from;      /* seq of chunk[0] */
    uint32_t n;         /* records in chunk */
    bool ready;         /* head is the next record to hand out */
    rt_record head;
    rt_record chunk[CHUNK];
} source;
struct rt_recorder_reader {
    sys *s;
    int fd;
    rt_recorder_place place; /* of the recorder in the file */
    rt_recorder_info info;
    source at[];
};

static bool is_whole(const rt_record *r, uint32_t per_ring, uint64_t index) {
    return r->seq != 0 && (r->seq - 1) % per_ring == index && (plant(RECORDER_UNCHECKED) || r->check == check_word(r));
}

static err read_header(slice page, rt_recorder_info *out) {
    cursor c = cursor_of(page);
    slice magic;
    uint32_t format, rings, per_ring, size;
    uint64_t events;
    if (!cursor_bytes(&c, MAGIC.len, &magic) || !slice_eq(magic, MAGIC)) return ERR_CORRUPT;
    if (!cursor_u32le(&c, &format) || !cursor_u32le(&c, &rings) || !cursor_u32le(&c, &per_ring) || !cursor_u32le(&c, &size) ||
        !cursor_u64le(&c, &events))
        return ERR_CORRUPT;
    if (format != FORMAT || size != sizeof(rt_record)) return ERR_VERSION;
    if (rings == 0 || rings > RINGS_MAX || per_ring == 0 || per_ring > RING_MAX) return ERR_CORRUPT;
    *out = (rt_recorder_info){.rings = rings, .per_ring = per_ring, .same_events = events == events_digest(), .newest_usec = INT64_MIN};
    return ERR_OK;
}

/* Reads up to CHUNK records of a ring from an index on, not around its end; 0: the file ends before, or cannot be read there. */
static uint32_t read_chunk(const rt_recorder_reader *r, uint32_t ring_no, uint64_t index, rt_record out[CHUNK]) {
    uint64_t n = r->info.per_ring - index < CHUNK ? r->info.per_ring - index : CHUNK;
    uint64_t offset = PAGE + ((uint64_t)ring_no * r->info.per_ring + index) * sizeof(rt_record);
    size_t got = 0, want = (size_t)n * sizeof(rt_record);
    if (offset >= r->place.len) return 0;
    if (want > r->place.len - offset) want = (size_t)(r->place.len - offset); /* behind it in a core is something else */
    if (r->s->file_read(r->s, r->fd, (uint8_t *)out, want, r->place.at + offset, &got)) return 0;
    return (uint32_t)(got / sizeof(rt_record));
}

/* Finds the newest record of a ring, and counts. */
static void survey(rt_recorder_reader *r, uint32_t ring_no) {
    source *g = &r->at[ring_no];
    uint64_t index = 0, newest = 0;
    for (uint32_t n; index < r->info.per_ring && (n = read_chunk(r, ring_no, index, g->chunk)) > 0; index += n)
        for (uint32_t i = 0; i < n; i++) {
            const rt_record *x = &g->chunk[i];
            bool whole = is_whole(x, r->info.per_ring, index + i);
            r->info.whole += whole;
            r->info.torn += !whole && x->seq != 0;
            if (whole && x->seq > newest) newest = x->seq;
            if (whole && x->wall_usec > r->info.newest_usec) r->info.newest_usec = x->wall_usec;
        }
    g->newest = newest;
    g->next = newest > r->info.per_ring ? newest - r->info.per_ring + 1 : 1;
}

/* Puts the next whole record of the ring into head. */
static void advance(rt_recorder_reader *r, uint32_t ring_no) {
    source *g = &r->at[ring_no];
    for (g->ready = false; !g->ready && g->next <= g->newest; g->next++) {
        uint64_t index = (g->next - 1) % r->info.per_ring;
        if (g->next < g->from || g->next - g->from >= g->n) {
            g->from = g->next;
            g->n = read_chunk(r, ring_no, index, g->chunk);
        }
        if (g->n == 0) { /* cut off; the ring may go on at its front */
            g->next += r->info.per_ring - index - 1;
            continue;
        }
        g->head = g->chunk[g->next - g->from];
        g->ready = g->head.seq == g->next && is_whole(&g->head, r->info.per_ring, index);
    }
}

/* Where the recorder is in the file: the whole of it, or in a core the mapping that begins as a recorder does. */
static err find_place(sys *s, int fd, rt_recorder_place *out, bool *out_core) {
    uint8_t first[HEADER_LEN];
    uint64_t size;
    size_t n = 0;
    err e = s->file_size(s, fd, &size);
    if (!e) e = s->file_read(s, fd, first, sizeof first, 0, &n);
    if (e) return e;
    *out_core = rt_recorder_core_is(slice_of(first, n));
    *out = (rt_recorder_place){0, size};
    return *out_core ? rt_recorder_core_find(s, fd, size, MAGIC, out) : ERR_OK;
}

static err open_file(sys *s, const char *path, int *out_fd, rt_recorder_place *out_place, rt_recorder_info *out_info) {
    uint8_t page[HEADER_LEN];
    size_t n = 0;
    int fd;
    bool core = false;
    err e = s->file_open(s, path, SYS_OPEN_READ, &fd);
    if (e) return e;
    e = find_place(s, fd, out_place, &core);
    if (!e) e = s->file_read(s, fd, page, out_place->len < sizeof page ? (size_t)out_place->len : sizeof page, out_place->at, &n);
    if (!e) e = read_header(slice_of(page, n), out_info);
    if (!e) {
        out_info->core = core;
        *out_fd = fd;
        return ERR_OK;
    }
    s->file_close(s, fd);
    return e;
}

err rt_recorder_open(sys *s, const char *path, rt_recorder_reader **out) {
    rt_recorder_info info;
    rt_recorder_place place;
    int fd = -1;
    err e = open_file(s, path, &fd, &place, &info);
    if (e) return e;
    uint64_t full = PAGE + (uint64_t)info.rings * info.per_ring * sizeof(rt_record);
    info.missing_bytes = place.len < full ? full - place.len : 0;
    rt_recorder_reader *r = mem_zalloc(sizeof *r + info.rings * sizeof(source));
    *r = (rt_recorder_reader){.s = s, .fd = fd, .place = place, .info = info};
    for (uint32_t g = 0; g < info.rings; g++) {
        survey(r, g);
        advance(r, g);
    }
    *out = r;
    return ERR_OK;
}

const rt_recorder_info *rt_recorder_info_of(const rt_recorder_reader *r) { return &r->info; }

bool rt_recorder_next(rt_recorder_reader *r, unsigned *out_ring, rt_record *out) {
    uint32_t best = r->info.rings;
    for (uint32_t g = 0; g < r->info.rings; g++) {
        bool earlier = r->at[g].ready && (best == r->info.rings || r->at[g].head.wall_usec < r->at[best].head.wall_usec);
        if (earlier) best = g;
    }
    if (best == r->info.rings) return false;
    *out = r->at[best].head;
    *out_ring = best;
    advance(r, best);
    return true;
}

void rt_recorder_close(rt_recorder_reader *r) {
    if (!r) return;
    r->s->file_close(r->s, r->fd);
    mem_free(r);
}
