/* profiles stuck, convoy, equal-seed, monitor-leak and long-queue: one fault each, as the looks of murrectl are meant to find it. */
#include "base/hash.h"
#include "base/mem.h"
#include "profile.h"
#include "rt/maps.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

typedef struct state { /* of each class here */
    profile *p;
} state;
static err set_profile(void *st, const void *arg) {
    memcpy(st, arg, sizeof(profile *));
    return ERR_OK;
}
static void free_load(profile *p) { mem_free(p->load); }

/* --- stuck: the first message is handled until the profile ends, in a loop, in a lock that somebody else has, or in a system call; the
 * others wait behind it */
typedef struct stuck {
    int pipe[2]; /* --how call: read from until the end */
    pthread_t holder;
    bool holds; /* --how lock: that thread runs */
} stuck;

static err stuck_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(st, arg);
    return rt_name_register(cx, "stuck");
}

err profile_stuck_handle(rt_ctx *cx, void *st, rt_msg **m) {
    profile *p = ((const state *)st)->p;
    const stuck *s = p->load;
    (void)cx;
    if (profile_over(p) || profile_work_of(*m)->n > 0) return ERR_OK;
    profile_round(p);
    if (!p->how || strcmp(p->how, "loop") == 0) {
        while (!profile_over(p)) profile_burn(100);
    } else if (strcmp(p->how, "lock") == 0) {
        lock_take(&p->lock);
        lock_release(&p->lock);
    } else {
        uint8_t byte;
        while (read(s->pipe[0], &byte, 1) < 0 && !profile_over(p)) {
        } /* a stack is taken by signal, which ends a read early */
    }
    return ERR_OK;
}
static const rt_class STUCK = {
    .name = "stuck", .state_size = sizeof(state), .init = stuck_init, .handle = profile_stuck_handle, .mailbox_max = UINT32_MAX};

static void *hold(void *arg) {
    profile *p = arg;
    const stuck *s = p->load;
    uint8_t byte;
    lock_take(&p->lock);
    profile_round(p);
    while (read(s->pipe[0], &byte, 1) < 0 && !profile_over(p)) {
    }
    lock_release(&p->lock);
    return NULL;
}

static void stuck_boot(profile *p) {
    stuck *s = p->load = mem_zalloc(sizeof *s);
    if (pipe2(s->pipe, O_CLOEXEC) != 0) panic("no pipe");
    if (p->how && strcmp(p->how, "lock") == 0) {
        s->holds = pthread_create(&s->holder, NULL, hold, p) == 0;
        while (s->holds && atomic_load_explicit(&p->done, memory_order_relaxed) == 0) (void)sched_yield(); /* until it has the lock */
    }
    profile_fill(p, profile_spawn(p, 0, &STUCK, &p), (uint64_t)p->size);
}
static void stuck_end(profile *p) {
    stuck *s = p->load;
    (void)close(s->pipe[1]); /* who reads comes back */
    if (s->holds) (void)pthread_join(s->holder, NULL);
}
static void stuck_free(profile *p) {
    (void)close(((const stuck *)p->load)->pipe[0]);
    free_load(p);
}
const profile_load profile_stuck = {.name = "stuck",
                                    .doc = "a handler that does not come back, and a backlog behind it",
                                    .warm = 1,
                                    .size = 1000000,
                                    .hows = "loop|lock|call",
                                    .boot = stuck_boot,
                                    .end = stuck_end,
                                    .free = stuck_free};

/* --- convoy: jobs that all want one lock, and hold it for most of their work */
#define CONVOY_THREADS 4u
#define CONVOY_JOBS    16u
#define CONVOY_TURNS   16u
#define CONVOY_HELD    400u /* units: some 100 us */
typedef struct convoy_job {
    rt_job job;
    profile *p;
} convoy_job;

static void convoy_run(rt_job *j) {
    profile *p = container_of(j, convoy_job, job)->p;
    for (unsigned i = 0; i < CONVOY_TURNS && !profile_over(p); i++) {
        lock_take(&p->lock);
        profile_burn(CONVOY_HELD);
        lock_release(&p->lock);
        profile_burn(1);
    }
}
static void convoy_ask(rt_ctx *cx, profile *p) {
    convoy_job *c = mem_zalloc(sizeof *c);
    *c = (convoy_job){{.box = {rt_pool_job_free}, .run = convoy_run, .deadline = USEC_NEVER}, p};
    rt_job *j = &c->job;
    rt_pool_submit(cx, RT_POOL_USER, &j);
}
static err convoy_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(st, arg);
    convoy_ask(cx, ((const state *)st)->p);
    return ERR_OK;
}
static err convoy_handle(rt_ctx *cx, void *st, rt_msg **m) {
    profile *p = ((const state *)st)->p;
    (void)m; /* the job goes with it */
    profile_round(p);
    if (!profile_over(p)) convoy_ask(cx, p);
    return ERR_OK;
}
static const rt_class CONVOY = {.name = "convoy", .state_size = sizeof(state), .init = convoy_init, .handle = convoy_handle};

static void convoy_configure(const profile *p, rt_node_cfg *c) {
    (void)p;
    c->pool_threads[RT_POOL_USER] = CONVOY_THREADS;
}
static void convoy_boot(profile *p) {
    for (unsigned i = 0; i < CONVOY_JOBS; i++) (void)profile_spawn(p, i, &CONVOY, &p);
}
const profile_load profile_convoy = {
    .name = "convoy", .doc = "threads of a pool queue for one lock", .warm = 4, .configure = convoy_configure, .boot = convoy_boot};

/* --- equal-seed: keys are spread over parts; part 0 has its keys in two tables: one takes the hash that chose the part, so that all
 * of its keys agree in the bits that choose a bucket; the other one has a hash of its own */
#define PART_BITS 6                            /* 64 parts */
#define SPREAD    UINT64_C(0x9e3779b97f4a7c15) /* as in hmap.c: its bucket are the first bits of the product */
typedef struct registry {
    profile *p;
    hmap equal, own;
    rt_map equal_shown, own_shown;
    hmap_node *nodes; /* two a key */
} registry;

static err registry_init(rt_ctx *cx, void *st, const void *arg) {
    static const hash_key first = {1, 2}, second = {3, 4};
    registry *r = st;
    (void)set_profile(st, arg);
    hmap_init(&r->equal);
    hmap_init(&r->own);
    r->nodes = mem_zalloc(2 * (size_t)r->p->size * sizeof *r->nodes);
    hmap_node *next = r->nodes;
    for (uint64_t i = 0; i < (uint64_t)r->p->size; i++) {
        slice key = slice_of(&i, sizeof i);
        uint64_t h = hash_bytes(&first, key);
        if (h * SPREAD >> (64 - PART_BITS) != 0) continue;
        hmap_insert(&r->equal, next++, h);
        hmap_insert(&r->own, next++, hash_bytes(&second, key));
    }
    rt_map_show(cx, &r->equal_shown, "equal_seed", 0, &r->equal);
    rt_map_show(cx, &r->own_shown, "own_seed", 0, &r->own);
    profile_round(r->p);
    return ERR_OK;
}
static void registry_fini(rt_ctx *cx, void *st, err reason) {
    registry *r = st;
    (void)reason;
    rt_map_hide(cx, &r->equal_shown);
    rt_map_hide(cx, &r->own_shown);
    hmap_fini(&r->equal);
    hmap_fini(&r->own);
    mem_free(r->nodes);
}
static const rt_class REGISTRY = {.name = "registry", .state_size = sizeof(registry), .init = registry_init, .fini = registry_fini};

static void seed_boot(profile *p) { (void)profile_spawn(p, 0, &REGISTRY, &p); }
const profile_load profile_seed = {.name = "equal-seed",
                                   .doc = "one hash chooses the part and the bucket: a table with long chains beside one without",
                                   .warm = 1,
                                   .size = 1000000,
                                   .boot = seed_boot};

/* --- monitor-leak: an actor that watches whom it works with, and never stops watching */
#define LEAK_TARGETS 16u
#define LEAK_TURN    8u /* monitors a millisecond, until there are --size */
typedef struct leak {
    profile *p;
    rt_timer next;
    uint64_t n;
} leak;

static err leak_init(rt_ctx *cx, void *st, const void *arg) {
    leak *l = st;
    (void)set_profile(st, arg);
    rt_timer_set(cx, &l->next, rt_now(cx));
    return rt_name_register(cx, "leak");
}
static err leak_timer(rt_ctx *cx, void *st, rt_timer *t) {
    leak *l = st;
    const rt_pid *targets = l->p->load;
    for (unsigned i = 0; i < LEAK_TURN && l->n < (uint64_t)l->p->size; i++, l->n++) (void)rt_monitor(cx, targets[l->n % LEAK_TARGETS]);
    profile_round(l->p);
    rt_timer_set(cx, t, rt_now(cx) + USEC_PER_MSEC);
    return ERR_OK;
}
static void leak_fini(rt_ctx *cx, void *st, err reason) {
    (void)reason;
    rt_timer_cancel(cx, &((leak *)st)->next);
}
static const rt_class LEAK = {.name = "leak", .state_size = sizeof(leak), .init = leak_init, .timer = leak_timer, .fini = leak_fini};
static const rt_class TARGET = {.name = "target", .state_size = sizeof(state)};

static void leak_boot(profile *p) {
    rt_pid *targets = p->load = mem_zalloc(LEAK_TARGETS * sizeof *targets);
    for (unsigned i = 0; i < LEAK_TARGETS; i++) targets[i] = profile_spawn(p, i, &TARGET, NULL);
    (void)profile_spawn(p, 0, &LEAK, &p);
}
const profile_load profile_leak = {.name = "monitor-leak",
                                   .doc = "an actor that monitors others and never stops to",
                                   .warm = 1,
                                   .size = 1000000,
                                   .boot = leak_boot,
                                   .free = free_load};

/* --- long-queue: an actor that keeps up with what comes, but never gets its backlog down */
#define LONG_WORK 40u /* units: some 10 us */
static err long_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(st, arg);
    return rt_name_register(cx, "long");
}
static err long_handle(rt_ctx *cx, void *st, rt_msg **m) {
    profile_burn(LONG_WORK);
    profile_round(((const state *)st)->p);
    rt_send(cx, rt_self(cx), m);
    return ERR_OK;
}
static const rt_class LONG = {
    .name = "long", .state_size = sizeof(state), .init = long_init, .handle = long_handle, .mailbox_max = UINT32_MAX};

static void long_boot(profile *p) { profile_fill(p, profile_spawn(p, 0, &LONG, &p), (uint64_t)p->size); }
const profile_load profile_long = {
    .name = "long-queue", .doc = "an actor with a backlog that does not get shorter", .warm = 1, .size = 1000000, .boot = long_boot};
