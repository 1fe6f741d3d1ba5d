/* micro_queue: what a long mailbox costs (system.md G1): a send to an actor that has a million messages queued beside one that has none,
 * handling out of such a mailbox beside a short one, and what the other actors of the shard pay for a neighbour with a million.
 *
 * A node for each length; rounds alternate as in micro_looks, "off" is the short one. A million messages do not fit into a cache, so that
 * whoever touches them waits for memory: the limit, a plain linked queue of as many messages, says how much of the difference that is. */
#include "base/mem.h"
#include "micro.h"
#include "rt/stat.h"

#define LONG     1000000u
#define SHORT    100u   /* a batch, so that both are taken from in batches */
#define SENDS    1000u  /* of a round */
#define CYCLES   40000u /* messages handled and sent again in a round */
#define OTHERS   10000u
#define OTHER_IN 100000u /* messages of a round with others */

#define BENCH_ITEM_FIELDS(F) F(U64, n, "a number")
enum { BENCH_ITEM = RT_TAG_TEST };
RT_MSG_DECLARE(BENCH_ITEM, bench_item, "waits")
RT_MSG_FIELDS(BENCH_ITEM, bench_item, "waits")
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(BENCH_ITEM, bench_item, "waits")};

typedef struct side { /* a node with a keeper, who has `len` messages and sends each that it handles to itself again */
    rt_node *n;
    uint32_t len, others;
    uint64_t handled;
    rt_pid keeper;
    rt_pid *other; /* in a ring, with one message each */
    double took;   /* of the last timed sends */
} side;
typedef struct both {
    side side[2];
    bool longer; /* which of them is measured */
} both;

typedef struct member {
    side *s;
    uint32_t next; /* in the ring of others; the keeper: UINT32_MAX */
} member;

static err member_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    memcpy(st, arg, sizeof(member));
    return ERR_OK;
}
static err member_handle(rt_ctx *cx, void *st, rt_msg **m) {
    member *k = st;
    k->s->handled++;
    rt_send(cx, k->next == UINT32_MAX ? rt_self(cx) : k->s->other[k->next], m);
    return ERR_OK;
}
static const rt_class MEMBER = {
    .name = "member", .state_size = sizeof(member), .init = member_init, .handle = member_handle, .mailbox_max = UINT32_MAX};

static void put(rt_ctx *cx, rt_pid to) {
    rt_msg *m = rt_msg_new(cx, BENCH_ITEM, sizeof(bench_item));
    rt_send(cx, to, &m);
}

static void boot(rt_ctx *cx, void *arg) {
    side *s = arg;
    if (rt_spawn(cx, &MEMBER, &(member){s, UINT32_MAX}, 0, &s->keeper, NULL) != ERR_OK) panic("no actor");
    for (uint32_t i = 0; i < s->others; i++)
        if (rt_spawn(cx, &MEMBER, &(member){s, (i + 1) % s->others}, 0, &s->other[i], NULL) != ERR_OK) panic("no actor");
    for (uint32_t i = 0; i < s->others; i++) put(cx, s->other[i]);
    for (uint32_t i = 0; i < s->len; i++) put(cx, s->keeper);
}

static void side_init(side *to, sys *s, uint32_t len, uint32_t others) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.ctl_path = cfg.recorder_path = NULL;
    cfg.queue_long = 0;
    cfg.handler_budget = 60 * USEC_PER_SEC; /* a round that another process interrupts is no news */
    *to = (side){.len = len, .others = others, .other = mem_zalloc((others + 1) * sizeof(rt_pid))};
    if (rt_node_new(&cfg, s, NULL, &to->n) != ERR_OK) panic("no node");
    rt_node_add_msgs(to->n, MSGS, ARRAY_LEN(MSGS));
    rt_node_boot(to->n, 0, boot, to);
}
static void side_fini(side *s) {
    rt_node_free(s->n);
    mem_free(s->other);
}

static void choose(void *arg, bool longer) { ((both *)arg)->longer = longer; }

/* --- sends */
static void send_some(rt_ctx *cx, void *arg) {
    side *s = arg;
    rt_msg *m[SENDS];
    for (unsigned i = 0; i < SENDS; i++) m[i] = rt_msg_new(cx, BENCH_ITEM, sizeof(bench_item));
    uint64_t t0 = bench_cpu_nsec();
    for (unsigned i = 0; i < SENDS; i++) rt_send(cx, s->keeper, &m[i]);
    s->took = (double)(bench_cpu_nsec() - t0) / SENDS;
}
static void clear(rt_ctx *cx, void *arg) {
    uint64_t n;
    if (rt_stat_flush(cx, ((side *)arg)->keeper, &n) != ERR_OK) panic("no keeper");
}
static double send_round(void *arg) {
    both *b = arg;
    side *s = &b->side[b->longer];
    rt_node_boot(s->n, 0, send_some, s);
    if (!b->longer) rt_node_boot(s->n, 0, clear, s); /* a thousand more make no difference to a million */
    return s->took;
}

/* --- handling and sending again */
static double cycle(side *s, uint64_t messages) {
    uint64_t from = s->handled, t0 = bench_cpu_nsec();
    while (s->handled - from < messages) (void)rt_node_step(s->n, 0, false);
    return (double)(bench_cpu_nsec() - t0) / (double)(s->handled - from);
}
static double cycle_round(void *arg) { return cycle(&((both *)arg)->side[((both *)arg)->longer], CYCLES); }
static double others_round(void *arg) { return cycle(&((both *)arg)->side[((both *)arg)->longer], OTHER_IN); }

/* --- the limit */
typedef struct plain_msg {
    struct plain_msg *next;
    uint64_t n;
    uint8_t pad[48]; /* as large as ours */
} plain_msg;
typedef struct plain {
    plain_msg *at[2], *last[2]; /* circles of SHORT and of LONG messages */
    bool longer;
} plain;
static plain_msg *plain_init(uint32_t n, plain_msg **out_last) {
    plain_msg *m = mem_zalloc(n * sizeof *m);
    for (uint32_t i = 0; i < n; i++) m[i].next = &m[(i + 1) % n];
    *out_last = &m[n - 1];
    return m;
}
static void plain_choose(void *arg, bool longer) { ((plain *)arg)->longer = longer; }
static double plain_round(void *arg) {
    plain *p = arg;
    plain_msg *last = p->last[p->longer];
    uint64_t t0 = bench_cpu_nsec();
    for (unsigned i = 0; i < CYCLES; i++) { /* out at the front, in at the back */
        plain_msg *m = last->next;
        last->next = m->next;
        m->n++;
        m->next = last->next;
        last->next = m;
        last = m;
    }
    p->last[p->longer] = last;
    return (double)(bench_cpu_nsec() - t0) / CYCLES;
}

static void measure(sys *s, const char *key, const char *unit, uint32_t less, uint32_t others, micro_ab_round *round) {
    both b = {.longer = false};
    side_init(&b.side[0], s, less, others);
    side_init(&b.side[1], s, LONG, others);
    micro_ab(key, unit, &b, round, choose);
    side_fini(&b.side[0]);
    side_fini(&b.side[1]);
}

bool micro_queue(const micro_cfg *c) {
    sys *s;
    plain p = {.longer = false};
    if (sys_linux_new(&s) != ERR_OK) return false;
    bench_report_begin(c->json, "queue");
    measure(s, "send, none or 1 M queued", "ns/send", 0, 0, send_round);
    measure(s, "handle and send, 100 or 1 M queued", "ns/message", SHORT, 0, cycle_round);
    for (unsigned i = 0; i < 2; i++) p.at[i] = plain_init(i ? LONG : SHORT, &p.last[i]);
    micro_ab("the same as plain C", "ns/message", &p, plain_round, plain_choose);
    for (unsigned i = 0; i < 2; i++) mem_free(p.at[i]);
    measure(s, "10,000 others, beside 100 or 1 M queued", "ns/message", SHORT, OTHERS, others_round);
    bench_report_end();
    sys_linux_free(s);
    return true;
}
