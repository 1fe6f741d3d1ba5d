/* recorder: the last events of a node in a mapped file, which the kernel keeps when the process is killed.
 *
 *     page 0: header    ring 0 (shard 0)         ring 1 (shard 1)     ...    last ring (other threads)
 *     magic, rings, n   [r][r][r][r]...[r]       [r][r]...                   [r][r]...
 *                           ^ seq % n is written next; one writer a ring, plain stores, no lock, no system call
 *
 * Invariants: (1) a record is one cache line, at a multiple of its size. (2) Its check word is computed over the rest and stored last; a
 * record torn by a kill between two stores, or by another machine's cache after a power cut, does not fit it and is skipped. (3) seq rises
 * by one a record, from 1: 0 is "never written". (4) The reader trusts nothing in the file: sizes are held against the file's own. */
#include "rt/recorder.h"

#include "base/codec.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE       4096u
#define MAGIC      SLICE("murre-fr")
#define FORMAT     1u
#define RINGS_MAX  1024u
#define FILE_MAX   ((size_t)1 << 30)
#define RING_MIN   16u /* records */
#define HEADER_LEN 24u
#define CHECK_KEY  ((hash_key){UINT64_C(0x6d757272), UINT64_C(0x7265636f)}) /* a constant: readers are other processes */
#define OLD_SUFFIX ".1"
#define PATH_BYTES 4096

typedef struct ring {
    rt_record *at;
    uint64_t seq; /* of the last record */
} ring;
struct rt_recorder {
    sys *s;
    uint8_t *map;
    size_t len;
    unsigned n_rings;
    uint32_t per_ring;
    ring ring[];
};

static uint32_t check_word(const rt_record *r) {
    rt_record x = *r;
    x.check = 0;
    const hash_key k = CHECK_KEY;
    uint64_t h = hash_bytes(&k, slice_of(&x, sizeof x));
    return (uint32_t)(h ^ h >> 32);
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
    memcpy(r->map, b.p, b.len);
    buf_fini(&b);
}

err rt_recorder_new(sys *s, const char *path, size_t bytes, unsigned rings, rt_recorder **out) {
    if (rings == 0 || rings > RINGS_MAX || bytes > FILE_MAX) return ERR_INVALID;
    size_t room = bytes > PAGE ? (bytes - PAGE) / rings / sizeof(rt_record) : 0;
    if (room < RING_MIN) return ERR_INVALID;
    err e = move_old(s, path);
    if (e) return e;
    size_t len = PAGE + room * rings * sizeof(rt_record);
    void *map;
    e = s->file_map(s, path, len, &map);
    if (e) return e;
    rt_recorder *r = mem_zalloc(sizeof *r + rings * sizeof(ring));
    r->s = s;
    r->map = map;
    r->len = len;
    r->n_rings = rings;
    r->per_ring = (uint32_t)room;
    for (unsigned i = 0; i < rings; i++) r->ring[i].at = (rt_record *)(void *)(r->map + PAGE + i * room * sizeof(rt_record));
    write_header(r);
    *out = r;
    return ERR_OK;
}

void rt_recorder_free(rt_recorder *r) {
    if (!r) return;
    r->s->file_unmap(r->s, r->map, r->len);
    mem_free(r);
}

void rt_recorder_write(rt_recorder *r, unsigned ring_no, const rt_record *rec) {
    if (!check(ring_no < r->n_rings)) return;
    ring *g = &r->ring[ring_no];
    rt_record x = *rec;
    x.seq = ++g->seq;
    x.check = check_word(&x);
    g->at[(x.seq - 1) % r->per_ring] = x;
}

/* --- reading --------------------------------------------------------------------------------------------------------------------- */
typedef struct found {
    rt_record rec;
    unsigned ring;
} found;

static int by_time(const void *a, const void *b) {
    const found *x = a, *y = b;
    if (x->rec.wall_usec != y->rec.wall_usec) return x->rec.wall_usec < y->rec.wall_usec ? -1 : 1;
    if (x->ring != y->ring) return x->ring < y->ring ? -1 : 1;
    return x->rec.seq < y->rec.seq ? -1 : x->rec.seq > y->rec.seq;
}

typedef struct header {
    uint32_t rings, per_ring;
} header;

static err read_header(slice page, uint64_t file_len, header *out) {
    cursor c = cursor_of(page);
    slice magic;
    uint32_t format, rings, per_ring, size;
    if (!cursor_bytes(&c, MAGIC.len, &magic) || !slice_eq(magic, MAGIC)) return ERR_CORRUPT;
    if (!cursor_u32le(&c, &format) || !cursor_u32le(&c, &rings) || !cursor_u32le(&c, &per_ring) || !cursor_u32le(&c, &size))
        return ERR_CORRUPT;
    if (format != FORMAT || size != sizeof(rt_record)) return ERR_VERSION;
    if (rings == 0 || rings > RINGS_MAX || per_ring == 0) return ERR_CORRUPT;
    if (file_len < PAGE + (uint64_t)rings * per_ring * sizeof(rt_record)) return ERR_CORRUPT;
    *out = (header){rings, per_ring};
    return ERR_OK;
}

static size_t collect(const uint8_t *p, const header *h, found *out) {
    size_t n = 0;
    for (uint32_t g = 0; g < h->rings; g++) {
        for (uint32_t i = 0; i < h->per_ring; i++, p += sizeof(rt_record)) {
            rt_record r;
            memcpy(&r, p, sizeof r);
            bool whole = r.seq != 0 && (r.seq - 1) % h->per_ring == i && r.check == check_word(&r);
            if (whole) out[n++] = (found){r, g};
        }
    }
    return n;
}

static err read_all(sys *s, int fd, uint8_t **out_p, header *out_h) {
    uint64_t len;
    err e = s->file_size(s, fd, &len);
    if (e) return e;
    if (len < PAGE || len > FILE_MAX) return ERR_CORRUPT;
    uint8_t *p = mem_alloc((size_t)len);
    size_t n = 0;
    e = s->file_read(s, fd, p, (size_t)len, 0, &n);
    if (!e) e = n < PAGE ? ERR_CORRUPT : read_header(slice_of(p, HEADER_LEN), n, out_h);
    if (e)
        mem_free(p);
    else
        *out_p = p;
    return e;
}

err rt_recorder_read(sys *s, const char *path, void (*fn)(void *arg, unsigned ring, const rt_record *rec), void *arg) {
    int fd;
    err e = s->file_open(s, path, SYS_OPEN_READ, &fd);
    if (e) return e;
    uint8_t *p = NULL;
    header h = {0};
    e = read_all(s, fd, &p, &h);
    s->file_close(s, fd);
    if (e) return e;
    found *all = mem_alloc((size_t)h.rings * h.per_ring * sizeof *all);
    size_t n = collect(p + PAGE, &h, all);
    qsort(all, n, sizeof *all, by_time);
    for (size_t i = 0; i < n; i++) fn(arg, all[i].ring, &all[i].rec);
    mem_free(all);
    mem_free(p);
    return ERR_OK;
}
