/* micro_cross: a stream of messages from an actor on one shard to an actor on another, each shard a thread, beside a bare ring between two
 * threads with entries of the same size, published 64 at a time. */
#include "base/mem.h"
#include "micro.h"
#include "rt/actor.h"
#include "rt/node.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MESSAGES  8000000u
#define BURST     256u
#define RING_SIZE 2048u
#define RING_STEP 64u

#define BENCH_DATA_FIELDS(F) F(U64, n, "number in the stream")
#define BENCH_GO_FIELDS(F)   F(U64, n, "how many were sent")
enum { BENCH_DATA = RT_TAG_TEST, BENCH_GO };
RT_MSG_DECLARE(BENCH_DATA, bench_data, "an item of a stream")
RT_MSG_DECLARE(BENCH_GO, bench_go, "send a burst")
RT_MSG_FIELDS(BENCH_DATA, bench_data, "an item of a stream")
RT_MSG_FIELDS(BENCH_GO, bench_go, "send a burst")
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(BENCH_DATA, bench_data, "an item of a stream")
                                       RT_MSG_DESC(BENCH_GO, bench_go, "send a burst")};

typedef struct stream {
    rt_pid sink;
    uint64_t got, wrong, start, end; /* of the sink; start is the source's */
    _Atomic bool done;               /* release by the sink, acquire by who waits: got, wrong and end are then final */
} stream;

static err init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    memcpy(st, arg, sizeof(stream *));
    return ERR_OK;
}

static err source_handle(rt_ctx *cx, void *st, rt_msg **m) {
    stream *s = *(stream **)st;
    uint64_t n = bench_go_of(*m)->n;
    if (n == 0) s->start = bench_nsec();
    for (unsigned i = 0; i < BURST; i++) {
        rt_msg *d = rt_msg_new(cx, BENCH_DATA, sizeof(bench_data));
        bench_data_of(d)->n = n++;
        rt_send(cx, s->sink, &d);
    }
    bench_go_of(*m)->n = n;
    if (n < MESSAGES) rt_send(cx, rt_self(cx), m);
    return ERR_OK;
}

static err sink_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx;
    stream *s = *(stream **)st;
    if (bench_data_of(*m)->n != s->got) s->wrong++;
    if (++s->got == MESSAGES) {
        s->end = bench_nsec();
        atomic_store_explicit(&s->done, true, memory_order_release);
    }
    return ERR_OK;
}

static const rt_class SOURCE = {.name = "source", .state_size = sizeof(stream *), .init = init, .handle = source_handle};
static const rt_class SINK = {.name = "sink", .state_size = sizeof(stream *), .init = init, .handle = sink_handle};

static void boot_sink(rt_ctx *cx, void *arg) {
    stream *s = arg;
    if (rt_spawn(cx, &SINK, &s, 0, &s->sink, NULL) != ERR_OK) panic("no actor");
}
static void boot_source(rt_ctx *cx, void *arg) {
    rt_pid pid;
    if (rt_spawn(cx, &SOURCE, &arg, 0, &pid, NULL) != ERR_OK) panic("no actor");
    rt_msg *m = rt_msg_new(cx, BENCH_GO, sizeof(bench_go));
    rt_send(cx, pid, &m);
}

static bool ours(sys *s, double *out) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.shards = 2;
    cfg.ctl_path = cfg.recorder_path = NULL;
    rt_node *n;
    stream st = {.got = 0};
    if (rt_node_new(&cfg, s, NULL, &n) != ERR_OK) return false;
    rt_node_add_msgs(n, MSGS, ARRAY_LEN(MSGS));
    rt_node_boot(n, 1, boot_sink, &st);
    rt_node_boot(n, 0, boot_source, &st);
    bool ok = rt_node_start(n) == ERR_OK;
    while (ok && !atomic_load_explicit(&st.done, memory_order_acquire)) {
        const struct timespec nap = {.tv_nsec = 1000000};
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL); /* out of the way of the two threads */
    }
    rt_node_stop(n);
    rt_node_free(n);
    *out = (double)MESSAGES * 1e3 / (double)(st.end - st.start);
    return ok && st.wrong == 0;
}

/* --- the limit */
typedef struct bare_entry {
    uint64_t n, pad;
} bare_entry;
typedef struct bare {
    _Atomic uint32_t head; /* release by the consumer, acquire by the producer */
    uint8_t pad_head[124];
    _Atomic uint32_t tail; /* release by the producer, acquire by the consumer */
    uint8_t pad_tail[124];
    uint64_t wrong;
    bare_entry e[RING_SIZE];
} bare;

static void *bare_consume(void *arg) {
    bare *b = arg;
    for (uint32_t at = 0; at < MESSAGES;) {
        uint32_t tail = atomic_load_explicit(&b->tail, memory_order_acquire);
        if (tail == at) (void)sched_yield();
        for (; at != tail; at++)
            if (b->e[at % RING_SIZE].n != at) b->wrong++;
        atomic_store_explicit(&b->head, at, memory_order_release);
    }
    return NULL;
}

static bool limit(double *out) {
    bare *b = mem_zalloc(sizeof *b);
    pthread_t t;
    if (pthread_create(&t, NULL, bare_consume, b) != 0) {
        mem_free(b);
        return false;
    }
    uint64_t t0 = bench_nsec();
    for (uint32_t at = 0; at < MESSAGES; at += RING_STEP) {
        while (at + RING_STEP - atomic_load_explicit(&b->head, memory_order_acquire) > RING_SIZE) (void)sched_yield();
        for (uint32_t i = at; i < at + RING_STEP; i++) b->e[i % RING_SIZE].n = i;
        atomic_store_explicit(&b->tail, at + RING_STEP, memory_order_release);
    }
    (void)pthread_join(t, NULL);
    *out = (double)MESSAGES * 1e3 / (double)(bench_nsec() - t0);
    bool ok = b->wrong == 0;
    mem_free(b);
    return ok;
}

bool micro_cross(const micro_cfg *c) {
    sys *s;
    if (sys_linux_new(&s) != ERR_OK) return false;
    micro_row a = {0}, b = {0};
    bool ok = true;
    for (unsigned i = 0; i < MICRO_ROUNDS && ok; i++) {
        double x = 0, y = 0;
        ok = limit(&x) && ours(s, &y);
        micro_add(&b, x);
        micro_add(&a, y);
    }
    if (ok) {
        bench_report_begin(c->json, "cross");
        micro_report("stream", "M messages/s", true, &a, &b);
        bench_report_end();
    } else {
        (void)fputs("murre-bench: cross: messages came out of order, or no node\n", stderr);
    }
    sys_linux_free(s);
    return ok;
}
