#ifndef TEST_RT_WORLD_H
#define TEST_RT_WORLD_H
/* rt_world: a node on a fake seam: a clock that the test moves, sockets that are numbers with a readiness, no threads. And a puppet: an
 * actor that notes what it gets and does what the test tells it to. */
#include "base/mem.h"
#include "base/prng.h"
#include "rt/event.h"
#include "rt/pool.h"
#include "rt/stat.h"
#include "rt/sup.h"
#include "support/cmocka_unit.h"

#define WORLD_FDS 64
typedef struct world {
    sys s;
    usec now;
    usec tick; /* the clock moves by this at each reading */
    usec nap;  /* a wait with a time-out takes this long */
    unsigned readings, naps;
    prng rng;
    int pollers;
    uint32_t level[WORLD_FDS]; /* readiness of each descriptor */
    uint32_t interest[WORLD_FDS];
    uint64_t token[WORLD_FDS];
    int poll_of[WORLD_FDS]; /* poller that has it, + 1; 0: none */
    unsigned sets, closes;  /* calls of poll_set and close */
    rt_node *n;
} world;

static inline world *world_of(sys *s) { return container_of(s, world, s); }
static inline usec w_time(sys *s) {
    world_of(s)->readings++;
    return world_of(s)->now += world_of(s)->tick;
}
static inline uint64_t w_cycles(sys *s) { return (uint64_t)world_of(s)->now; }
static inline uint64_t w_per_sec(sys *s) {
    (void)s;
    return 1000000;
}
static inline void w_entropy(sys *s, void *out, size_t len) {
    for (uint8_t *p = out; len > 0; len--) *p++ = (uint8_t)prng_next(&world_of(s)->rng);
}
static inline err w_poll_new(sys *s, int *out) {
    *out = world_of(s)->pollers++;
    return ERR_OK;
}
static inline void w_poll_free(sys *s, int p) {
    (void)p;
    world_of(s)->pollers--;
}
static inline err w_poll_set(sys *s, int poll, int fd, uint32_t interest, uint64_t token) {
    world *w = world_of(s);
    w->sets++;
    w->poll_of[fd] = poll + 1;
    w->interest[fd] = interest;
    w->token[fd] = token;
    return ERR_OK;
}
static inline void w_poll_del(sys *s, int poll, int fd) {
    (void)poll;
    world_of(s)->poll_of[fd] = 0;
}
static inline int w_poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int max) {
    world *w = world_of(s);
    int n = 0;
    if (timeout != 0) {
        w->naps++;
        w->now += usec_min(timeout, w->nap);
    }
    for (int fd = 0; fd < WORLD_FDS && n < max; fd++) {
        uint32_t ev = w->level[fd] & (w->interest[fd] | SYS_HUP);
        if (w->poll_of[fd] == poll + 1 && ev) out[n++] = (sys_ready){w->token[fd], ev};
    }
    return n;
}
static inline void w_poll_wake(sys *s, int poll) {
    (void)s;
    (void)poll;
}
static inline void w_close(sys *s, int fd) {
    world_of(s)->poll_of[fd] = 0;
    world_of(s)->closes++;
}

/* --- messages of the puppet ------------------------------------------------------------------------------------------------------ */
typedef struct puppet puppet;
typedef void deed(rt_ctx *cx, puppet *p, uint64_t arg);
#define T_NOTE_FIELDS(F) F(U64, n, "a number") F(BLOB, body, "bytes") F(BOX, box, "an object")
#define T_DO_FIELDS(F)   F(U64, what, "a deed *") F(U64, arg, "its argument")
enum { T_NOTE = RT_TAG_TEST, T_DO };
RT_MSG_DECLARE(T_NOTE, t_note, "a note")
RT_MSG_DECLARE(T_DO, t_do, "a deed")
RT_MSG_FIELDS(T_NOTE, t_note, "a note")
RT_MSG_FIELDS(T_DO, t_do, "a deed")
static const rt_msg_desc t_msgs[] = {RT_MSG_DESC(T_NOTE, t_note, "a note") RT_MSG_DESC(T_DO, t_do, "a deed")};

typedef struct seen {
    uint16_t tag;
    uint64_t n; /* of a note; of a DOWN its ref */
    rt_pid who; /* sender; of DOWN and EXIT the one that ended */
    err reason;
} seen;
struct puppet { /* the test's; the actor's state points to it */
    rt_pid pid;
    seen log[4096];
    size_t n;
    err fini_reason;
    unsigned finis, inits, timers, readies, flushes;
    err init_result, next_result;
    uint32_t last_events;
    rt_timer t[8];
    usec fired_at[8];
    deed *on_note, *on_init, *on_ready, *on_fini, *on_timer, *on_flush;
};
typedef struct puppet_state {
    puppet *p;
} puppet_state;

static inline err p_init(rt_ctx *cx, void *st, const void *arg) {
    puppet *p = *(puppet *const *)arg;
    ((puppet_state *)st)->p = p;
    p->pid = rt_self(cx);
    p->inits++;
    if (p->on_init) p->on_init(cx, p, 0);
    return p->init_result;
}
static inline err p_handle(rt_ctx *cx, void *st, rt_msg **m) {
    puppet *p = ((puppet_state *)st)->p;
    if ((*m)->tag == T_DO) {
        t_do *d = t_do_of(*m);
        ((deed *)(uintptr_t)d->what)(cx, p, d->arg);
    } else {
        seen s = {.tag = (*m)->tag, .who = (*m)->sender};
        if (RT_TAG(*m) == T_NOTE) s.n = t_note_of(*m)->n;
        if ((*m)->tag == RT_DOWN) s = (seen){RT_DOWN, rt_down_of(*m)->ref, rt_down_of(*m)->pid, rt_down_of(*m)->reason};
        if ((*m)->tag == RT_EXIT) s = (seen){RT_EXIT, 0, rt_exit_msg_of(*m)->from, rt_exit_msg_of(*m)->reason};
        if ((*m)->tag == RT_JOB_DONE) s.reason = rt_job_done_of(*m)->status;
        p->log[p->n++ % 4096] = s;
        if (p->on_note) p->on_note(cx, p, s.n);
    }
    err e = p->next_result;
    p->next_result = ERR_OK;
    return e;
}
static inline err p_timer(rt_ctx *cx, void *st, rt_timer *t) {
    puppet *p = ((puppet_state *)st)->p;
    size_t i = (size_t)(t - p->t);
    if (i < 8) p->fired_at[i] = rt_now(cx);
    p->timers++;
    if (p->on_timer) p->on_timer(cx, p, i);
    return ERR_OK;
}
static inline err p_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    puppet *p = ((puppet_state *)st)->p;
    p->readies++;
    p->last_events = events;
    if (p->on_ready) p->on_ready(cx, p, (uint64_t)fd);
    return ERR_OK;
}
static inline err p_flush(rt_ctx *cx, void *st) {
    puppet *p = ((puppet_state *)st)->p;
    p->flushes++;
    if (p->on_flush) p->on_flush(cx, p, 0);
    return ERR_OK;
}
static inline void p_fini(rt_ctx *cx, void *st, err reason) {
    puppet *p = ((puppet_state *)st)->p;
    p->finis++;
    p->fini_reason = reason;
    if (p->on_fini) p->on_fini(cx, p, 0);
    for (int i = 0; i < 8; i++) rt_timer_cancel(cx, &p->t[i]);
}
#define PUPPET_CLASS(id, max, how)                                                                                                         \
    static const rt_class id = {                                                                                                           \
        #id, sizeof(puppet_state), p_init, p_handle, p_ready, p_timer, p_flush, p_fini, max, 0, how, false, NULL, true, 0, false, NULL}
PUPPET_CLASS(puppet_class, 0, RT_BOUND_REFUSE);

/* --- doing things ---------------------------------------------------------------------------------------------------------------- */
static inline world *world_new_spin(unsigned shards, uint64_t seed, usec spin) {
    world *w = mem_zalloc(sizeof *w);
    prng_init(&w->rng, seed);
    w->now = 1000000;
    w->s = (sys){.mono = w_time,
                 .wall = w_time,
                 .cycles = w_cycles,
                 .cycles_per_sec = w_per_sec,
                 .entropy = w_entropy,
                 .poll_new = w_poll_new,
                 .poll_free = w_poll_free,
                 .poll_set = w_poll_set,
                 .poll_del = w_poll_del,
                 .poll_wait = w_poll_wait,
                 .poll_wake = w_poll_wake,
                 .close = w_close};
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.shards = shards;
    c.spin = spin;
    assert_int_equal(rt_node_new(&c, &w->s, NULL, &w->n), ERR_OK);
    rt_log_level(w->n, RT_ERROR);
    rt_node_add_msgs(w->n, t_msgs, ARRAY_LEN(t_msgs));
    return w;
}
static inline world *world_new(unsigned shards, uint64_t seed) { return world_new_spin(shards, seed, 0); }
/* Steps the shards in turn until none wants to run now; returns the earliest next deadline. */
static inline usec world_run(world *w) {
    usec next = USEC_NEVER;
    unsigned idle = 0, n = rt_node_shards(w->n);
    for (unsigned i = 0, rounds = 0; idle < 2 * n && rounds < 1000000; i = (i + 1) % n, rounds++) {
        usec d = rt_node_step(w->n, i, false);
        if (idle == 0) next = USEC_NEVER;
        next = usec_min(next, d);
        idle = d > w->now ? idle + 1 : 0;
    }
    return next;
}
static inline void world_free(world *w) {
    rt_node_free(w->n);
    assert_int_equal(w->pollers, 0);
    mem_free(w);
}
typedef struct spawn_arg {
    const rt_class *c;
    const void *arg;
    rt_pid pid;
    err e;
} spawn_arg;
static inline void spawn_boot(rt_ctx *cx, void *arg) {
    spawn_arg *a = arg;
    a->e = rt_spawn(cx, a->c, a->arg, 0, &a->pid, NULL);
}
static inline rt_pid world_spawn(world *w, unsigned shard, const rt_class *c, const void *arg) {
    spawn_arg a = {c, arg, RT_PID_NONE, ERR_OK};
    rt_node_boot(w->n, shard, spawn_boot, &a);
    assert_int_equal(a.e, ERR_OK);
    return a.pid;
}
static inline puppet *puppet_new(world *w, unsigned shard, const rt_class *c) {
    puppet *p = mem_zalloc(sizeof *p);
    p->pid = world_spawn(w, shard, c, &p);
    return p;
}
/* Makes the puppet do something, in its own context. */
static inline void tell(world *w, const puppet *p, deed *d, uint64_t arg) {
    rt_msg *m = rt_msg_new_ext(T_DO, sizeof(t_do));
    *t_do_of(m) = (t_do){(uint64_t)(uintptr_t)d, arg};
    rt_post(w->n, p->pid, &m);
}
static inline void note(rt_ctx *cx, rt_pid to, uint64_t n) {
    rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
    t_note_of(m)->n = n;
    rt_send(cx, to, &m);
}
static inline unsigned count_tag(const puppet *p, uint16_t tag) {
    unsigned k = 0;
    for (size_t i = 0; i < p->n; i++) k += p->log[i].tag == tag;
    return k;
}
static inline rt_pid *pid_of(uint64_t arg) { return &((puppet *)(uintptr_t)arg)->pid; }
#define ARG(p) ((uint64_t)(uintptr_t)(p))
/* deeds; arg is a puppet */
static inline void do_link(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_link(cx, *pid_of(a));
}
static inline void do_unlink(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_unlink(cx, *pid_of(a));
}
static inline void do_monitor(rt_ctx *cx, puppet *p, uint64_t a) { p->log[4095].n = rt_monitor(cx, *pid_of(a)); }
static inline void do_kill(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_exit(cx, *pid_of(a), ERR_KILLED);
}
static inline void do_trap(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_trap_exit(cx, a != 0);
}
static inline void do_stop(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_stop(cx, (err)a);
}
static inline void do_fail(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)cx;
    p->next_result = (err)a;
}
#endif
