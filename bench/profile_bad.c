/* profiles starved, hot-mailbox and slow-pool: three ways to be slow with most threads asleep (system.md F4), which one table tells apart.
 *
 *     starved      two actors with full mailboxes slow each other down: work waits, and reaches the shards ten times a second
 *     hot-mailbox  actors of all other shards fight for one: its shard does not sleep, the others wait for room in their rings
 *     slow-pool    every request wants a slow job: the pool's threads are busy, the shards wait for them */
#include "base/mem.h"
#include "profile.h"

static err set_profile(rt_ctx *cx, void *st, const void *arg) { /* the state begins with it */
    (void)cx;
    memcpy(st, arg, sizeof(profile *));
    return ERR_OK;
}

/* --- starved: each hands all that it has to the other one, whose mailbox is over its bound, and is muted for that until its time is over
 */
#define FEW 64u /* messages: where a mailbox is full */
typedef struct pair {
    rt_pid one, other;
} pair;
typedef struct half {
    profile *p;
    usec last; /* when it handled something */
} half;

static err half_handle(rt_ctx *cx, void *st, rt_msg **m) {
    half *h = st;
    const pair *both = h->p->load;
    bool first = rt_pid_eq(rt_self(cx), both->one);
    if (first && rt_now(cx) - h->last >= RT_MUTE_MAX_USEC / 2) profile_round(h->p); /* it was muted: a round is a pause */
    h->last = rt_now(cx);
    rt_send(cx, first ? both->other : both->one, m);
    return ERR_OK;
}

static err dispatcher_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(cx, st, arg);
    return rt_name_register(cx, "dispatcher");
}
static err store_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(cx, st, arg);
    return rt_name_register(cx, "store");
}
static const rt_class DISPATCHER = {.name = "dispatcher",
                                    .state_size = sizeof(half),
                                    .init = dispatcher_init,
                                    .handle = half_handle,
                                    .mailbox_max = FEW,
                                    .bound = RT_BOUND_MUTE};
static const rt_class STORE = {
    .name = "store", .state_size = sizeof(half), .init = store_init, .handle = half_handle, .mailbox_max = FEW, .bound = RT_BOUND_MUTE};

static void starved_boot(profile *p) {
    pair *both = p->load = mem_zalloc(sizeof *both);
    both->one = profile_spawn(p, 0, &DISPATCHER, &p);
    both->other = profile_spawn(p, 1, &STORE, &p);
    profile_fill(p, both->one, (uint64_t)p->size - (uint64_t)p->size / 2);
    profile_fill(p, both->other, (uint64_t)p->size / 2);
}

static void free_load(profile *p) { mem_free(p->load); }

const profile_load profile_starved = {.name = "starved",
                                      .doc = "two actors mute each other: shards sleep while work waits",
                                      .warm = 4,
                                      .size = 100000,
                                      .boot = starved_boot,
                                      .free = free_load};

/* --- hot-mailbox */
#define SENDERS  64u   /* on each of the other shards */
#define WINDOW   1024u /* messages of a sender that have no answer yet: in all more than the one handles while the others wait for a CPU */
#define HOT_WORK 40u   /* units a message, some 10 us: a ring full of them lasts longer than a sleeping shard takes to fill it again */
#define HOT_MAX                                                                                                                            \
    16384u /* messages: where its senders are muted until it has halved: far enough from empty, whatever the CPUs do meanwhile */
#define HOT_ROUND 512u

typedef struct hot {
    profile *p;
    uint64_t handled;
} hot;
static err hot_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(cx, st, arg);
    return rt_name_register(cx, "hot");
}
static err hot_handle(rt_ctx *cx, void *st, rt_msg **m) {
    hot *h = st;
    profile_burn(HOT_WORK);
    profile_send(cx, (*m)->sender, PROFILE_DONE, profile_work_of(*m)->n);
    if (++h->handled % HOT_ROUND == 0) profile_round(h->p);
    return ERR_OK;
}
static const rt_class HOT = {
    .name = "hot", .state_size = sizeof(hot), .init = hot_init, .handle = hot_handle, .mailbox_max = HOT_MAX, .bound = RT_BOUND_MUTE};

typedef struct sender {
    profile *p;
} sender;
static err sender_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(cx, st, arg);
    const sender *s = st;
    for (unsigned i = 0; i < WINDOW; i++) profile_send(cx, *(const rt_pid *)s->p->load, PROFILE_WORK, i);
    return ERR_OK;
}
static err sender_handle(rt_ctx *cx, void *st, rt_msg **m) {
    const sender *s = st;
    profile_send(cx, *(const rt_pid *)s->p->load, PROFILE_WORK, profile_done_of(*m)->n);
    return ERR_OK;
}
static const rt_class SENDER = {.name = "sender", .state_size = sizeof(sender), .init = sender_init, .handle = sender_handle};

static void hot_boot(profile *p) {
    rt_pid *to = p->load = mem_zalloc(sizeof *to);
    *to = profile_spawn(p, 0, &HOT, &p);
    for (unsigned shard = p->shards > 1; shard < (unsigned)p->shards; shard++)
        for (unsigned i = 0; i < SENDERS; i++) (void)profile_spawn(p, shard, &SENDER, &p);
}
const profile_load profile_hot = {
    .name = "hot-mailbox", .doc = "all shards send to one actor", .warm = 4, .boot = hot_boot, .free = free_load};

/* --- slow-pool */
#define CLIENTS      64u
#define SLOW_THREADS 2u
#define SLOW_WORK    8000u /* units: some 2 ms */

typedef struct client {
    profile *p;
} client;
static void slow_run(rt_job *j) {
    (void)j;
    profile_burn(SLOW_WORK);
}
static void ask(rt_ctx *cx) {
    rt_job *j = mem_zalloc(sizeof *j);
    *j = (rt_job){.box = {rt_pool_job_free}, .run = slow_run, .deadline = USEC_NEVER};
    rt_pool_submit(cx, RT_POOL_USER, &j);
}
static err client_init(rt_ctx *cx, void *st, const void *arg) {
    (void)set_profile(cx, st, arg);
    ask(cx);
    return ERR_OK;
}
static err client_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)m; /* the job goes with it */
    profile_round(((const client *)st)->p);
    ask(cx);
    return ERR_OK;
}
static const rt_class CLIENT = {.name = "client", .state_size = sizeof(client), .init = client_init, .handle = client_handle};

static void slow_configure(const profile *p, rt_node_cfg *c) {
    (void)p;
    c->pool_threads[RT_POOL_USER] = SLOW_THREADS;
}
static void slow_boot(profile *p) {
    for (unsigned i = 0; i < CLIENTS; i++) (void)profile_spawn(p, i, &CLIENT, &p);
}
const profile_load profile_slow_pool = {.name = "slow-pool",
                                        .doc = "every request wants a slow job of a pool that is too small",
                                        .warm = 8,
                                        .configure = slow_configure,
                                        .boot = slow_boot};
