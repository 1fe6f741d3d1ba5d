/* micro_send: local send and dispatch. Each of n actors has one message, which it hands on to a neighbour when it gets it: in order (the
 * next in memory) or at random (a fixed permutation that is one cycle). The limit is the same as plain C: a queue of actors, a queue of
 * messages in each, a call through a pointer. The node is stepped by this thread, so that no other one is in the figure. */
#include "base/mem.h"
#include "base/prng.h"
#include "micro.h"
#include "rt/msacc.h"

#define FEW       1000u
#define MANY      1000000u
#define PER_ROUND 4000000u

#define BENCH_TOKEN_FIELDS(F) F(U64, n, "how often it was handed on")
enum { BENCH_TOKEN = RT_TAG_TEST };
RT_MSG_DECLARE(BENCH_TOKEN, bench_token, "is handed on")
RT_MSG_FIELDS(BENCH_TOKEN, bench_token, "is handed on")
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(BENCH_TOKEN, bench_token, "is handed on")};

typedef struct ring { /* of actors */
    uint32_t n;
    uint32_t *next; /* whom i hands on to */
    rt_pid *pid;
    uint64_t handled;
} ring;

static void ring_init(ring *r, uint32_t n, bool random) {
    *r = (ring){.n = n, .next = mem_alloc(n * sizeof(uint32_t)), .pid = mem_zalloc(n * sizeof(rt_pid))};
    uint32_t *order = mem_alloc(n * sizeof *order);
    prng p;
    prng_init(&p, 1);
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    for (uint32_t i = n - 1; random && i > 0; i--) {
        uint32_t j = (uint32_t)prng_below(&p, i + 1), x = order[i];
        order[i] = order[j];
        order[j] = x;
    }
    for (uint32_t i = 0; i < n; i++) r->next[order[i]] = order[(i + 1) % n];
    mem_free(order);
}

static void ring_fini(ring *r) {
    mem_free(r->next);
    mem_free(r->pid);
}

/* --- ours */
typedef struct node_actor {
    ring *r;
    rt_pid next;
    uint64_t got;
} node_actor;
typedef struct actor_arg {
    ring *r;
} actor_arg;

static err actor_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    ((node_actor *)st)->r = ((const actor_arg *)arg)->r;
    return ERR_OK;
}

static err actor_handle(rt_ctx *cx, void *st, rt_msg **m) {
    node_actor *a = st;
    a->got++;
    a->r->handled++;
    if (!rt_pid_ok(a->next)) a->next = a->r->pid[a->r->next[bench_token_of(*m)->n]];
    bench_token_of(*m)->n++;
    rt_send(cx, a->next, m);
    return ERR_OK;
}

static const rt_class CLASS = {.name = "bench", .state_size = sizeof(node_actor), .init = actor_init, .handle = actor_handle};

static void boot(rt_ctx *cx, void *arg) {
    ring *r = arg;
    for (uint32_t i = 0; i < r->n; i++)
        if (rt_spawn(cx, &CLASS, &(actor_arg){r}, 0, &r->pid[i], NULL) != ERR_OK) panic("no actor");
    for (uint32_t i = 0; i < r->n; i++) { /* an actor learns its neighbour from the number in its first message */
        rt_msg *m = rt_msg_new(cx, BENCH_TOKEN, sizeof(bench_token));
        bench_token_of(m)->n = i;
        rt_send(cx, r->pid[i], &m);
    }
}

static rt_node *node_new(sys *s, ring *r) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.shards = 1;
    cfg.ctl_path = cfg.recorder_path = NULL;
    rt_node *n;
    if (rt_node_new(&cfg, s, NULL, &n) != ERR_OK) panic("no node");
    rt_node_add_msgs(n, MSGS, ARRAY_LEN(MSGS));
    rt_node_boot(n, 0, boot, r);
    while (r->handled < r->n) (void)rt_node_step(n, 0, false);
    return n;
}

static double node_round(rt_node *n, ring *r) {
    uint64_t from = r->handled, t0 = bench_nsec();
    while (r->handled - from < PER_ROUND) (void)rt_node_step(n, 0, false);
    return (double)(bench_nsec() - t0) / (double)(r->handled - from);
}

/* --- the limit */
typedef struct plain_msg {
    struct plain_msg *next;
    uint64_t n;
    uint8_t pad[48]; /* as large as ours */
} plain_msg;
typedef struct plain plain;
typedef struct plain_actor {
    struct plain_actor *next; /* in the run queue */
    plain_msg *head, *tail;
    void (*handle)(plain *p, struct plain_actor *a, plain_msg *m);
    uint64_t got;
    uint32_t to;
    uint8_t pad[76]; /* as large as ours */
} plain_actor;
struct plain {
    plain_actor *a;
    plain_msg *m;
    plain_actor *run, *run_tail;
};

static void plain_send(plain *p, plain_actor *a, plain_msg *m) {
    m->next = NULL;
    if (a->head) {
        a->tail->next = m;
    } else {
        a->head = m;
        a->next = NULL;
        if (p->run)
            p->run_tail->next = a;
        else
            p->run = a;
        p->run_tail = a;
    }
    a->tail = m;
}

static void plain_handle(plain *p, plain_actor *a, plain_msg *m) {
    a->got++;
    m->n++;
    plain_send(p, &p->a[a->to], m);
}

static void plain_init(plain *p, const ring *r) {
    *p = (plain){.a = mem_zalloc(r->n * sizeof *p->a), .m = mem_zalloc(r->n * sizeof *p->m)};
    for (uint32_t i = 0; i < r->n; i++) {
        p->a[i].handle = plain_handle;
        p->a[i].to = r->next[i];
        plain_send(p, &p->a[i], &p->m[i]);
    }
}

static double plain_round(plain *p) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < PER_ROUND; i++) {
        plain_actor *a = p->run;
        p->run = a->next;
        plain_msg *m = a->head;
        a->head = m->next;
        if (a->head) {
            a->next = NULL;
            if (p->run)
                p->run_tail->next = a;
            else
                p->run = a;
            p->run_tail = a;
        }
        a->handle(p, a, m);
    }
    return (double)(bench_nsec() - t0) / PER_ROUND;
}

static void measure(sys *s, uint32_t n, bool random, micro_row *ours, micro_row *limit) {
    ring r;
    plain p;
    ring_init(&r, n, random);
    plain_init(&p, &r);
    rt_node *node = node_new(s, &r);
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        micro_add(limit, plain_round(&p));
        micro_add(ours, node_round(node, &r));
    }
    rt_node_free(node);
    mem_free(p.a);
    mem_free(p.m);
    ring_fini(&r);
}

bool micro_send(const micro_cfg *c) {
    static const struct {
        const char *key, *unit;
        uint32_t n;
        bool random;
    } RUNS[] = {{"in_order", "ns/message, 1,000 actors", FEW, false},
                {"random_1k", "ns/message, 1,000 actors at random", FEW, true},
                {"random_1m", "ns/message, 1 M actors at random", MANY, true}};
    sys *s;
    if (sys_linux_new(&s) != ERR_OK) return false;
    bench_report_begin(c->json, "send");
    for (size_t i = 0; i < ARRAY_LEN(RUNS); i++) {
        micro_row ours = {0}, limit = {0};
        measure(s, RUNS[i].n, RUNS[i].random, &ours, &limit);
        micro_report(RUNS[i].key, RUNS[i].unit, false, &ours, &limit);
    }
    bench_report_end();
    sys_linux_free(s);
    return true;
}

bool micro_msacc(const micro_cfg *c) {
    sys *s;
    if (sys_linux_new(&s) != ERR_OK) return false;
    ring r;
    ring_init(&r, FEW, true);
    rt_node *n = node_new(s, &r);
    micro_row on = {0}, off = {0};
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        rt_msacc_enable(n, false);
        micro_add(&off, node_round(n, &r));
        rt_msacc_enable(n, true);
        micro_add(&on, node_round(n, &r));
    }
    bench_report_begin(c->json, "msacc");
    bench_report_num("off", "ns/message, 1,000 actors at random", micro_median(&off));
    bench_report_num("on", "ns/message", micro_median(&on));
    bench_report_num("cost", "percent", (micro_median(&on) / micro_median(&off) - 1) * 100);
    bench_report_end();
    rt_node_free(n);
    ring_fini(&r);
    sys_linux_free(s);
    return true;
}
