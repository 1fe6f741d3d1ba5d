/* log_fuzz: F13 of promises.md: any bytes as a segment file. The input is laid over a segment that this program writes first:
 * u16 offset, u8 length, bytes, and so on; a length of 0 cuts the file there. Oracles: recovery ends and opens (or says why), no record is
 * served that was not put, what is served has its payload, and a second start finds the same. */
#include "base/mem.h"
#include "store/log_int.h"
#include "support/memsys.h"

#include <stdint.h>
#include <stdio.h>

#define RECORDS 40u
#define SEGMENT "log/000000000001.seg"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static slice payload(unsigned i, char out[128]) {
    int n = snprintf(out, 128, "payload number %u %0*u", i, (int)(i * 2 + 1), i);
    return slice_of(out, (size_t)n);
}

static store_log *open_log(memsys *m, store_log_open_stat *st) {
    store_log_cfg c = {.dir = "log", .partitions = 1, .segment_bytes = 32768, .batch_bytes_max = 65536, .compact = true};
    store_log *l = NULL;
    return store_log_open(&m->sys, &c, NULL, NULL, &l, st) == ERR_OK ? l : NULL;
}

static void write_log(memsys *m) {
    store_log_open_stat st;
    store_log *l = open_log(m, &st);
    if (!l) panic("the first start failed");
    uint64_t loc[RECORDS];
    char text[128];
    for (unsigned i = 0; i < RECORDS; i++) {
        if (store_log_put(l, i, SLICE("a@x"), payload(i, text), m->wall, i, 1, &loc[i]) != ERR_OK) panic("put");
        if (i % 7 == 6 && store_log_del(l, i - 3, loc[i - 3]) != ERR_OK) panic("del");
        if (i % 5 == 4 && store_log_commit(l) != ERR_OK) panic("commit");
    }
    store_log_close(l);
}

static void damage(memsys *m, const uint8_t *p, size_t len) {
    int fd;
    if (m->sys.file_open(&m->sys, SEGMENT, SYS_OPEN_WRITE, &fd) != ERR_OK) panic("open");
    while (len >= 3) {
        size_t at = (size_t)p[0] | (size_t)p[1] << 8, n = p[2];
        p += 3;
        len -= 3;
        if (n > len) n = len;
        err e = n ? m->sys.file_write(&m->sys, fd, slice_of(p, n), at) : m->sys.file_truncate(&m->sys, fd, at);
        if (e != ERR_OK) panic("write");
        p += n;
        len -= n;
    }
    m->sys.file_close(&m->sys, fd);
}

/* How many are served; panics if one of them was never put. */
static size_t served(store_log *l) {
    store_index *x;
    if (store_log_index(l, 0, 1, &x) != ERR_OK) panic("index");
    char text[128];
    for (size_t i = 0; i < x->n_entries; i++) {
        buf b;
        int64_t wall;
        buf_init(&b, 4096);
        uint64_t id = x->entries[i].id;
        if (id >= RECORDS || (i && id <= x->entries[i - 1].id)) panic("invented or doubled: %llu", (unsigned long long)id);
        if (store_log_read(l, id, x->entries[i].loc, &b, &wall) != ERR_OK) panic("an indexed record cannot be read");
        if (!slice_eq(buf_slice(&b), payload((unsigned)id, text))) panic("a wrong payload");
        buf_fini(&b);
    }
    size_t n = x->n_entries;
    x->box.free(&x->box);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    memsys m;
    memsys_init(&m, 1);
    write_log(&m);
    damage(&m, data, len);
    store_log_open_stat st;
    store_log *l = open_log(&m, &st);
    if (l) {
        size_t n = served(l);
        store_log_close(l);
        l = open_log(&m, &st);
        if (!l) panic("it opened once, and not again");
        if (served(l) != n) panic("a second start finds %s", "other records");
        store_log_close(l);
    }
    memsys_fini(&m);
    return 0;
}
