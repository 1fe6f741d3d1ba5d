/* micro_dist: one gen_server:call as it crosses a connection of Erlang's distribution: {6, Pid, '', shard_srv} and
 * {'$gen_call', {Pid, Ref}, {put, Int, <<64 bytes>>}}. Written from values to a frame and read back from the frame to values, without a
 * header and with atoms in the cache; the limit is a copy of the frame. CPU time. */
#include "micro.h"
#include "micro_call.h"
#include "proto/dist/frame_in.h"
#include "proto/dist/frame_out.h"

#define MESSAGES 200000u
#define PEER     "murre2@host18.example"
#define PLAIN    (~(DIST_FLAG(DIST_HDR_ATOM_CACHE) | DIST_FLAG(FRAGMENTS)))
#define CACHED   (~UINT64_C(0))

static const dist_in_cfg CFG = {
    DIST_FRAME_MAX, DIST_CACHE_MAX, {DIST_FRAGMENTS_OPEN_MAX, DIST_FRAGMENTS_EACH_MAX, DIST_FRAGMENTS_BYTES_MAX, {1, 2}, 0}};
static const slice HOT[] = {
    {(const uint8_t *)CALL_OWN, sizeof CALL_OWN - 1}, {(const uint8_t *)PEER, sizeof PEER - 1}, {(const uint8_t *)"$gen_call", 9}};

typedef struct dist_bed {
    uint64_t agreed;
    dist_out out;
    dist_in in;
    dist_refs refs;
    buf payload, frame;
    size_t last; /* where the newest frame begins */
} dist_bed;

static void bed_init(dist_bed *b, uint64_t agreed) {
    *b = (dist_bed){.agreed = agreed};
    dist_out_init(&b->out, agreed, HOT, ARRAY_LEN(HOT));
    dist_in_init(&b->in, &CFG, agreed);
    buf_init(&b->payload, 4096);
    buf_init(&b->frame, 4096);
}
static void bed_fini(dist_bed *b) {
    dist_out_fini(&b->out);
    dist_in_fini(&b->in);
    buf_fini(&b->payload);
    buf_fini(&b->frame);
}

static double since(uint64_t t0) { return (double)(bench_cpu_nsec() - t0) / MESSAGES; }

static bool write_one(dist_bed *b, uint32_t i) {
    slice rest;
    dist_split split;
    buf *p = &b->payload;
    buf_reset(p);
    call_put(p, i);
    dist_ctl c = {.signal = DIST_SIG_SEND, .payload = buf_slice(p)};
    c.from = (dist_addr){.kind = DIST_ADDR_PID, .pid = CALL_CALLER};
    c.to = (dist_addr){.kind = DIST_ADDR_NAME, .name = SLICE(CALL_SERVER)};
    return dist_out_signal(&b->out, &c, 1, &b->frame, &rest, &split) == ERR_OK && !rest.p;
}

typedef enum read_how { READ_CONTROL, READ_CHECKED, READ_VALUES } read_how;

static bool read_one(dist_bed *b, slice frame, uint32_t i, read_how how) {
    size_t used;
    dist_in_event e;
    dist_ctl c;
    const char *why;
    dist_in_next(&b->in, frame, &b->refs, &used, &e);
    if (e.kind != DIST_IN_MESSAGE || dist_ctl_read(&e.message, NULL, &c, &why) || c.to.kind != DIST_ADDR_NAME) return false;
    if (how == READ_CHECKED) return dist_ctl_payload_is_term(&e.message, &c, NULL);
    etf_reader r = dist_message_reader(&e.message, c.payload, NULL);
    return how == READ_CONTROL || call_get(&r, i);
}

static bool writes(uint64_t agreed, bool rewrite, double *out, size_t *out_len) {
    dist_bed b;
    bed_init(&b, agreed);
    if (!rewrite) b.out.rewrite_max = 0;
    bool ok = write_one(&b, 0);
    uint64_t t0 = bench_cpu_nsec();
    for (uint32_t i = 0; i < MESSAGES && ok; i++) {
        buf_reset(&b.frame);
        ok = write_one(&b, i);
    }
    *out = since(t0);
    *out_len = b.frame.len;
    bed_fini(&b);
    return ok;
}

static bool reads(uint64_t agreed, read_how how, double *out) {
    dist_bed b;
    bed_init(&b, agreed);
    bool ok = write_one(&b, 7) && read_one(&b, buf_slice(&b.frame), 7, how); /* this one brings the atoms */
    buf_reset(&b.frame);
    ok = ok && write_one(&b, 7);
    uint64_t t0 = bench_cpu_nsec();
    for (uint32_t i = 0; i < MESSAGES && ok; i++) ok = read_one(&b, buf_slice(&b.frame), 7, how);
    *out = since(t0);
    bed_fini(&b);
    return ok;
}

static double copies(size_t len) {
    uint8_t from[512] = {1}, to[512];
    uint64_t t0 = bench_cpu_nsec();
    for (uint32_t i = 0; i < MESSAGES; i++) {
        memcpy(to, from, len);
        __asm__ volatile("" ::"r"(to), "r"(from) : "memory");
    }
    return since(t0);
}

bool micro_dist(const micro_cfg *c) {
    enum { WRITE, WRITE_CONTROL_CACHED, WRITE_CACHED, CONTROL, CHECKED, VALUES, CONTROL_CACHED, VALUES_CACHED, ROWS };
    static const char *const keys[ROWS] = {"write",        "write_control_cached", "write_cached",        "read_control",
                                           "read_checked", "read_values",          "read_control_cached", "read_values_cached"};
    micro_row row[ROWS] = {0}, limit[ROWS] = {0};
    size_t len[2], len_control;
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        double v[ROWS];
        bool ok = writes(PLAIN, false, &v[WRITE], &len[0]) && writes(CACHED, false, &v[WRITE_CONTROL_CACHED], &len_control) &&
                  writes(CACHED, true, &v[WRITE_CACHED], &len[1]) && reads(PLAIN, READ_CONTROL, &v[CONTROL]) &&
                  reads(PLAIN, READ_CHECKED, &v[CHECKED]) && reads(PLAIN, READ_VALUES, &v[VALUES]) &&
                  reads(CACHED, READ_CONTROL, &v[CONTROL_CACHED]) && reads(CACHED, READ_VALUES, &v[VALUES_CACHED]);
        if (!ok) {
            (void)fputs("murre-bench: a message did not come through\n", stderr);
            return false;
        }
        for (unsigned k = 0; k < ROWS; k++) {
            micro_add(&row[k], v[k]);
            micro_add(&limit[k], copies(len[k == WRITE_CACHED || k >= CONTROL_CACHED]));
        }
    }
    bench_report_begin(c->json, "dist");
    bench_report_num("frame", "bytes", (double)len[0]);
    bench_report_num("frame_control_cached", "bytes", (double)len_control);
    bench_report_num("frame_cached", "bytes", (double)len[1]);
    for (unsigned k = 0; k < ROWS; k++) micro_report(keys[k], "ns/message", false, &row[k], &limit[k]);
    bench_report_end();
    return true;
}
