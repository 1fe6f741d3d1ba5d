#include "sim/pools.h"

#include "base/mem.h"
#include "rt/stat.h"
#include "sim/actors_msgs.h"

#define WORK_MAX    200000u
#define KEYS        8u
#define QUEUE_MAX   12u
#define HOLD_MAX    300u /* ms that work goes on after its handler */
#define WORKERS_MAX 6u

typedef enum how { PLAIN, HOLD, CRASH, STOP } how; /* done at once; goes on for a while; ends its worker; does so when it is done */
typedef struct model_work {
    uint32_t sender, key;
    bool by_key, deadline, begun, refused;
} model_work;
typedef struct hand_arg {
    sim_pools *p;
    unsigned pool;
} hand_arg;
typedef struct hand { /* a worker's state */
    const hand_arg *arg;
    rt_timer timer;
    bool holds;
} hand;
struct sim_pools {
    sim_world *w;
    rt_workers *pool[2];
    hand_arg arg[2];
    model_work *work;
    size_t n, cap;
    uint64_t begun[2], lost[2];
    bool ends_desks; /* dispatchers are ended too: a successor may give a worker work before it knows that it is busy (workers.c) */
};

static uint32_t below(sim_pools *p, uint32_t n) { return (uint32_t)sim_world_below(p->w, n); }

/* --- workers ----------------------------------------------------------------------------------------------------------------------- */
static err hand_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    ((hand *)st)->arg = arg;
    return ERR_OK;
}

/* By key, what a sender sent for a key before is begun before, unless it came back. */
static void check_order(sim_pools *p, uint32_t number) {
    const model_work *x = &p->work[number];
    for (size_t i = number + 1; i < p->n; i++) {
        const model_work *later = &p->work[i];
        if (later->by_key && later->begun && later->sender == x->sender && later->key == x->key)
            sim_world_fail(p->w, "work %u of %u for key %u was begun after work %zu", number, x->sender, x->key, i);
    }
}

static err hand_handle(rt_ctx *cx, void *st, rt_msg **m) {
    hand *h = st;
    sim_pools *p = h->arg->p;
    if ((*m)->tag != SIM_WORK) return ERR_OK;
    const sim_work *w = sim_work_of(*m);
    model_work *x = &p->work[w->number];
    unsigned pool = h->arg->pool;
    if (x->begun || x->refused) sim_world_fail(p->w, "work %u was %s before it was begun", w->number, x->begun ? "begun" : "refused");
    if (pool == RT_WORKERS_IDLE && h->holds && !p->ends_desks)
        sim_world_fail(p->w, "work %u was given to a worker that was busy", w->number);
    x->begun = true;
    p->begun[pool]++;
    if (x->by_key) check_order(p, w->number);
    if (w->how == HOLD && pool == RT_WORKERS_IDLE) {
        h->holds = true;
        rt_workers_go_on(cx);
        rt_timer_set(cx, &h->timer, rt_now(cx) + (usec)below(p, HOLD_MAX) * USEC_PER_MSEC);
    }
    if (w->how == STOP) rt_stop(cx, ERR_SHUTDOWN);
    if (w->how == CRASH && !h->holds) p->lost[pool]++; /* else it is counted at its end, as one */
    return w->how == CRASH ? ERR_IO : ERR_OK;
}

static err hand_timer(rt_ctx *cx, void *st, rt_timer *t) {
    hand *h = st;
    (void)t;
    h->holds = false;
    rt_workers_done(cx);
    return ERR_OK;
}

static void hand_fini(rt_ctx *cx, void *st, err reason) {
    hand *h = st;
    (void)reason;
    rt_timer_cancel(cx, &h->timer);
    h->arg->p->lost[h->arg->pool] += h->holds;
}

static const rt_class hand_class = {.name = "sim-hand",
                                    .state_size = sizeof(hand),
                                    .init = hand_init,
                                    .handle = hand_handle,
                                    .timer = hand_timer,
                                    .fini = hand_fini,
                                    .mailbox_max = QUEUE_MAX};

/* --- senders ------------------------------------------------------------------------------------------------------------------------ */
static void send_one(rt_ctx *cx, sim_pools *p, uint32_t sender) {
    static const uint8_t hows[] = {PLAIN, PLAIN, PLAIN, PLAIN, PLAIN, HOLD, HOLD, HOLD, CRASH, STOP};
    if (p->n == WORK_MAX) return;
    void *v = p->work;
    mem_grow(&v, &p->cap, p->n + 1, sizeof *p->work);
    p->work = v;
    model_work *x = &p->work[p->n];
    *x = (model_work){.sender = sender, .key = below(p, KEYS), .by_key = below(p, 2), .deadline = below(p, 3) == 0};
    rt_msg *m = rt_msg_new(cx, SIM_WORK, sizeof(sim_work));
    *sim_work_of(m) = (sim_work){.number = (uint32_t)p->n++, .how = hows[below(p, ARRAY_LEN(hows))]};
    if (below(p, 4) == 0) sim_work_of(m)->bulk = rt_blob_alloc(below(p, 3000));
    if (x->deadline) m->deadline = rt_now_msec(cx) + 1 + below(p, 200);
    rt_workers_send(cx, p->pool[x->by_key ? RT_WORKERS_BY_KEY : RT_WORKERS_IDLE], x->key, &m);
}

/* Ends a dispatcher of the caller's shard. */
static void end_desk(rt_ctx *cx, sim_pools *p) {
    rt_actor_info found[64];
    rt_pid victim = RT_PID_NONE;
    uint32_t from = 0;
    for (size_t n; (n = rt_stat_actors(cx, &from, found, ARRAY_LEN(found))) > 0;)
        for (size_t i = 0; i < n; i++)
            if (strcmp(found[i].cls, "desk") == 0 && (!rt_pid_ok(victim) || below(p, 2) == 0)) victim = found[i].pid;
    if (rt_pid_ok(victim)) rt_exit(cx, victim, ERR_KILLED);
}

void sim_pools_act(rt_ctx *cx, sim_pools *p, uint32_t sender) {
    if (p->ends_desks && below(p, 12) == 0) {
        end_desk(cx, p);
        return;
    }
    if (below(p, 12) == 0) {
        const rt_workers *pool = p->pool[below(p, 2)];
        rt_pid victim = rt_workers_at(pool, below(p, rt_workers_count(pool)));
        if (rt_pid_ok(victim)) rt_exit(cx, victim, ERR_KILLED);
        return;
    }
    for (uint32_t n = 1 + below(p, 10); n; n--) send_one(cx, p, sender);
}

void sim_pools_refused(sim_pools *p, const rt_msg *m, uint32_t by) {
    uint32_t number = ((const sim_work *)(const void *)(m + 1))->number;
    model_work *x = &p->work[number];
    if (!(m->tag & RT_MSG_REFUSED)) sim_world_fail(p->w, "work %u came back unmarked", number);
    if (x->sender != by) sim_world_fail(p->w, "work %u of %u came back to %u", number, x->sender, by);
    if (x->begun || x->refused) sim_world_fail(p->w, "work %u was %s and came back", number, x->begun ? "begun" : "refused");
    x->refused = true;
}

/* --- the run ------------------------------------------------------------------------------------------------------------------------ */
err sim_pools_boot(sim_pools *p, rt_node *n) {
    static const char *const names[] = {"sim.key", "sim.idle"};
    unsigned shards = rt_node_shards(n);
    p->ends_desks = below(p, 2) == 0;
    for (unsigned i = 0; i < 2; i++) {
        p->arg[i] = (hand_arg){p, i};
        rt_workers_cfg c = {.name = names[i],
                            .cls = &hand_class,
                            .arg = &p->arg[i],
                            .mode = (rt_workers_mode)i,
                            .workers = 1 + below(p, WORKERS_MAX),
                            .dispatchers = below(p, shards + 1),
                            .queue_max = QUEUE_MAX,
                            .queue_bytes_max = 20000,
                            .stuck = 200 * USEC_PER_MSEC,
                            .intensity = 1000,
                            .period = USEC_PER_MSEC};
        err e = rt_workers_boot(n, &c, &p->pool[i]);
        if (e) return e;
    }
    return ERR_OK;
}

void sim_pools_check(sim_pools *p, bool (*alive)(void *arg, uint32_t sender), void *arg) {
    uint64_t late[2] = {0}; /* the rest of what had a deadline and a sender that lives: it was dropped as too late */
    for (size_t i = 0; i < p->n; i++) {
        const model_work *x = &p->work[i];
        if (x->begun || x->refused || !alive(arg, x->sender)) continue;
        if (!x->deadline) sim_world_fail(p->w, "work %zu of %u was neither begun nor refused", i, x->sender);
        late[x->by_key ? RT_WORKERS_BY_KEY : RT_WORKERS_IDLE]++;
    }
    for (unsigned k = 0; k < 2; k++) {
        rt_workers_stat all = {0}, s;
        for (unsigned i = 0; i < rt_workers_rows(p->pool[k]); i++) {
            rt_workers_look(p->pool[k], i, &s);
            all.begun += s.begun, all.lost += s.lost, all.expired += s.expired;
            all.busy += s.busy + s.down, all.queued += s.queued;
        }
        const char *name = rt_workers_name(p->pool[k]);
        if (all.begun != p->begun[k] || all.lost != p->lost[k])
            sim_world_fail(p->w, "%s counts %llu begun, %llu lost; the model %llu, %llu", name, (unsigned long long)all.begun,
                           (unsigned long long)all.lost, (unsigned long long)p->begun[k], (unsigned long long)p->lost[k]);
        if (all.expired < late[k])
            sim_world_fail(p->w, "%s counts %llu expired, and %llu are missing", name, (unsigned long long)all.expired,
                           (unsigned long long)late[k]);
        if (all.busy || all.queued) sim_world_fail(p->w, "%s: not all is done and up at the end", name);
    }
}

uint64_t sim_pools_begun(const sim_pools *p) { return p->begun[0] + p->begun[1]; }

sim_pools *sim_pools_new(sim_world *w) {
    sim_pools *p = mem_zalloc(sizeof *p);
    p->w = w;
    return p;
}

void sim_pools_free(sim_pools *p) {
    mem_free(p->work);
    mem_free(p);
}
