/* micro_looks: what each look costs where it costs most: a local send, a message between shards, a round with one message in it, a lock
 * taken and released, a pool job, an event that is recorded; each with the look on and off, in turn.
 *
 *     round:  off on | on off | off on | ...     -> one ratio on / off of each pair; their median and quartiles
 *
 * Rounds are some milliseconds, so that what else runs on the machine hits both halves of a pair, and are counted in CPU time, so that
 * being put aside does not count. One thread steps all shards and runs all jobs: no wake-ups, and nothing waits for anything. What a pool
 * thread does besides is to change its microstate twice a job. */
#include "base/lock.h"
#include "base/mem.h"
#include "micro.h"
#include "rt/event.h"
#include "rt/msacc.h"
#include "rt/pool.h"

#include <unistd.h>

#define RING_ACTORS 1000u
#define MESSAGES    100000u /* of a round */
#define SINGLE      40000u
#define BURST       256u
#define TAKES       200000u
#define JOBS        16384u
#define JOBS_AT     64u /* under way at once */
#define RECORDS     100000u
#define RING_BYTES  (4u << 20)

#define BENCH_HOP_FIELDS(F) F(U64, n, "how often it was handed on")
enum { BENCH_HOP = RT_TAG_TEST };
RT_MSG_DECLARE(BENCH_HOP, bench_hop, "is handed on")
RT_MSG_FIELDS(BENCH_HOP, bench_hop, "is handed on")
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(BENCH_HOP, bench_hop, "is handed on")};

typedef struct place { /* where looks are measured */
    rt_node *n;
    unsigned shards;
    unsigned hops; /* messages that are handed on */
    uint64_t handled;
    rt_pid pid[RING_ACTORS];
} place;

/* --- messages -------------------------------------------------------------------------------------------------------------------- */
typedef struct hopper {
    place *p;
    uint32_t next; /* whom it hands on to */
} hopper;

static err hopper_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    memcpy(st, arg, sizeof(hopper));
    return ERR_OK;
}
static err hopper_handle(rt_ctx *cx, void *st, rt_msg **m) {
    hopper *h = st;
    h->p->handled++;
    bench_hop_of(*m)->n++;
    rt_send(cx, h->p->pid[h->next], m);
    return ERR_OK;
}
static const rt_class HOPPER = {.name = "hopper", .state_size = sizeof(hopper), .init = hopper_init, .handle = hopper_handle};

/* One shard: RING_ACTORS in a ring with a message each. Two: an actor on each and `hops` messages between them. */
static void boot(rt_ctx *cx, void *arg) {
    place *p = arg;
    uint32_t n = p->shards == 1 ? RING_ACTORS : 2, first = rt_ctx_shard(cx), step = p->shards;
    for (uint32_t i = first; i < n; i += step)
        if (rt_spawn(cx, &HOPPER, &(hopper){p, (i + 1) % n}, 0, &p->pid[i], NULL) != ERR_OK) panic("no actor");
    for (unsigned i = 0; i < p->hops && first == 0; i++) {
        rt_msg *m = rt_msg_new(cx, BENCH_HOP, sizeof(bench_hop));
        bench_hop_of(m)->n = i;
        rt_send(cx, p->pid[p->shards == 1 ? i % n : 0], &m);
    }
}

static void node_init(place *p, sys *s, unsigned shards, unsigned hops, const char *recorder) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.shards = shards;
    cfg.ctl_path = NULL;
    cfg.recorder_path = recorder;
    cfg.recorder_bytes = RING_BYTES;
    cfg.handler_budget = 60 * USEC_PER_SEC; /* a round that another process interrupts is no news */
    *p = (place){.shards = shards, .hops = hops};
    if (rt_node_new(&cfg, s, NULL, &p->n) != ERR_OK) panic("no node");
    rt_node_add_msgs(p->n, MSGS, ARRAY_LEN(MSGS));
    for (unsigned i = shards; i-- > 0 && hops > 0;) rt_node_boot(p->n, i, boot, p);
}

/* This thread is all shards. */
static double step_round(place *p, uint64_t messages) {
    uint64_t from = p->handled, t0 = bench_cpu_nsec();
    while (p->handled - from < messages)
        for (unsigned i = 0; i < p->shards; i++) (void)rt_node_step(p->n, i, false);
    return (double)(bench_cpu_nsec() - t0) / (double)(p->handled - from);
}
static double many_round(void *arg) { return step_round(arg, MESSAGES); }
static double single_round(void *arg) { return step_round(arg, SINGLE); }
static void msacc_switch(void *arg, bool on) { rt_msacc_enable(((place *)arg)->n, on); }

static void messages(sys *s) {
    static const struct {
        const char *key, *unit;
        unsigned shards, hops;
        micro_ab_round *round;
    } RUNS[] = {{"local, msacc", "ns/send and handle, 1,000 actors", 1, RING_ACTORS, many_round},
                {"cross, msacc", "ns/message, two shards, 256 a round", 2, BURST, many_round},
                {"single, msacc", "ns/round of a shard with one message in it", 2, 1, single_round}};
    for (size_t i = 0; i < ARRAY_LEN(RUNS); i++) {
        place p;
        node_init(&p, s, RUNS[i].shards, RUNS[i].hops, NULL);
        micro_ab(RUNS[i].key, RUNS[i].unit, &p, RUNS[i].round, msacc_switch);
        rt_node_free(p.n);
    }
}

/* --- locks ----------------------------------------------------------------------------------------------------------------------- */
typedef struct locked {
    lock_set set;
    lock l;
} locked;
static double lock_round(void *arg) {
    locked *k = arg;
    uint64_t t0 = bench_cpu_nsec();
    for (unsigned i = 0; i < TAKES; i++) {
        lock_take(&k->l);
        lock_release(&k->l);
    }
    return (double)(bench_cpu_nsec() - t0) / TAKES;
}
static void lock_switch(void *arg, bool on) { lock_set_counting(&((locked *)arg)->set, on); }

static void locks(void) {
    locked k;
    lock_set_init(&k.set);
    lock_init(&k.l, &k.set, "bench", 0, LOCK_RANK_TEST);
    micro_ab("lock, counting", "ns/take and release", &k, lock_round, lock_switch);
    lock_fini(&k.l);
    lock_set_fini(&k.set);
}

/* --- pool jobs: submitted, run and answered by this thread --------------------------------------------------------------------- */
static void job_run(rt_job *j) { (void)j; }

/* A hop starts JOBS_AT jobs; each answer counts. */
static err submitter_handle(rt_ctx *cx, void *st, rt_msg **m) {
    place *p = ((hopper *)st)->p;
    bool start = RT_TAG(*m) == BENCH_HOP;
    for (unsigned n = start ? JOBS_AT : 0; n > 0; n--) {
        rt_job *j = mem_zalloc(sizeof *j);
        *j = (rt_job){.box = {rt_pool_job_free}, .run = job_run, .deadline = USEC_NEVER};
        rt_pool_submit(cx, RT_POOL_USER, &j);
    }
    if (!start) p->handled++;
    return ERR_OK;
}
static const rt_class SUBMITTER = {.name = "submitter", .state_size = sizeof(hopper), .init = hopper_init, .handle = submitter_handle};

static void boot_submitter(rt_ctx *cx, void *arg) {
    place *p = arg;
    if (rt_spawn(cx, &SUBMITTER, &(hopper){p, 0}, 0, &p->pid[0], NULL) != ERR_OK) panic("no actor");
}

static double job_round(void *arg) {
    place *p = arg;
    uint64_t from = p->handled, t0 = bench_cpu_nsec();
    while (p->handled - from < JOBS) {
        rt_msg *m = rt_msg_new_ext(BENCH_HOP, sizeof(bench_hop));
        rt_post(p->n, p->pid[0], &m);
        (void)rt_node_step(p->n, 0, false);
        while (rt_pool_run_one(p->n, RT_POOL_USER)) {
        }
        (void)rt_node_step(p->n, 0, false);
    }
    return (double)(bench_cpu_nsec() - t0) / (double)(p->handled - from);
}
static void node_lock_switch(void *arg, bool on) { lock_set_counting(rt_node_locks(((place *)arg)->n), on); }

static void jobs(sys *s) {
    place p;
    node_init(&p, s, 1, 0, NULL);
    rt_node_boot(p.n, 0, boot_submitter, &p);
    micro_ab("job, counting", "ns/pool job and its answer", &p, job_round, node_lock_switch);
    rt_node_free(p.n);
}

/* --- recorded events ------------------------------------------------------------------------------------------------------------- */
static void emit(rt_ctx *cx, void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < RECORDS; i++) rt_event(cx, EV_MSG_ACCEPTED, i, 300, 0);
}
static double record_round(void *arg) {
    uint64_t t0 = bench_cpu_nsec();
    rt_node_boot(((place *)arg)->n, 0, emit, NULL);
    return (double)(bench_cpu_nsec() - t0) / RECORDS;
}
static void record_switch(void *arg, bool on) { rt_event_record(((place *)arg)->n, on); }

static void records(sys *s, const char *dir) {
    char path[4096], old[4100];
    place p;
    (void)snprintf(path, sizeof path, "%s/murre-bench-recorder-%d", dir, (int)getpid());
    (void)snprintf(old, sizeof old, "%s.1", path);
    node_init(&p, s, 1, 0, path);
    micro_ab("event, recorder", "ns/event", &p, record_round, record_switch);
    rt_node_free(p.n);
    (void)unlink(path);
    (void)unlink(old);
}

bool micro_looks(const micro_cfg *c) {
    sys *s;
    if (sys_linux_new(&s) != ERR_OK) return false;
    bench_report_begin(c->json, "looks");
    messages(s);
    locks();
    jobs(s);
    records(s, c->dir);
    bench_report_end();
    sys_linux_free(s);
    return true;
}
