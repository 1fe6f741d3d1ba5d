/* node: live, with threads: order between shards, monitors under random kills, calls from outside, the pool, starting and stopping. Meant
 * for SAN=tsan too. No test waits by sleeping: each waits for an answer. */
#include "rt/rt_world.h"

#define PATIENCE (30 * USEC_PER_SEC)

static sys *the_sys; /* one for the program */

static rt_node *live_node(unsigned shards, usec spin) {
    rt_node_cfg c;
    rt_node *n;
    rt_node_cfg_default(&c);
    c.shards = shards;
    c.spin = spin;
    c.handler_budget = PATIENCE; /* a busy machine is no event here */
    assert_int_equal(rt_node_new(&c, the_sys, NULL, &n), ERR_OK);
    rt_log_level(n, RT_ERROR);
    rt_node_add_msgs(n, t_msgs, ARRAY_LEN(t_msgs));
    return n;
}
static rt_pid live_spawn(rt_node *n, unsigned shard, const rt_class *c, const void *arg) {
    spawn_arg a = {c, arg, RT_PID_NONE, ERR_OK};
    rt_node_boot(n, shard, spawn_boot, &a);
    assert_int_equal(a.e, ERR_OK);
    return a.pid;
}
static rt_msg *note_ext(uint64_t v) {
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    t_note_of(m)->n = v;
    return m;
}
static uint64_t ask(rt_node *n, rt_pid to) {
    rt_msg *m = note_ext(UINT64_MAX), *reply = NULL;
    assert_int_equal(rt_call(n, to, &m, PATIENCE, &reply), ERR_OK);
    uint64_t v = t_note_of(reply)->n;
    rt_msg_drop(n, &reply);
    return v;
}

/* --- a counter that answers a call when it has counted enough --------------------------------------------------------------------- */
typedef struct tally {
    uint64_t count, enough, wrong;
    rt_pid asker;
} tally;
static err tally_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    ((tally *)st)->enough = *(const uint64_t *)arg;
    return ERR_OK;
}
static err tally_handle(rt_ctx *cx, void *st, rt_msg **m) {
    tally *t = st;
    uint64_t n = t_note_of(*m)->n;
    if (n == UINT64_MAX)
        t->asker = (*m)->sender;
    else
        t->count++, t->wrong += n;
    if (t->count >= t->enough && rt_pid_ok(t->asker)) {
        note(cx, t->asker, t->wrong);
        t->asker = RT_PID_NONE;
    }
    return ERR_OK;
}
static const rt_class tally_class = {.name = "tally", .state_size = sizeof(tally), .init = tally_init, .handle = tally_handle};

/* --- order ----------------------------------------------------------------------------------------------------------------------- */
enum { HOPPERS = 24, TOKENS = 8, HOPS = 400 };
typedef struct hop_plan {
    rt_pid hopper[HOPPERS];
    rt_pid done;
} hop_plan;
typedef struct hopper {
    const hop_plan *plan;
    unsigned me;
    uint64_t sent[HOPPERS], got[HOPPERS];
} hopper;
typedef struct hopper_arg {
    const hop_plan *plan;
    unsigned me;
} hopper_arg;
#define T_HOP_FIELDS(F) F(U32, from, "hopper") F(U32, left, "hops") F(U64, seq, "of the pair")
enum { T_HOP = RT_TAG_TEST + 8 };
RT_MSG_DECLARE(T_HOP, t_hop, "a token")
static err hopper_init(rt_ctx *cx, void *st, const void *arg) {
    const hopper_arg *a = arg;
    *(hopper *)st = (hopper){.plan = a->plan, .me = a->me};
    (void)cx;
    return ERR_OK;
}
static void hop(rt_ctx *cx, hopper *h, uint32_t left) {
    uint32_t to = (uint32_t)(rt_random(cx) % HOPPERS);
    rt_msg *m = rt_msg_new(cx, T_HOP, sizeof(t_hop));
    *t_hop_of(m) = (t_hop){h->me, left, h->sent[to]++};
    rt_send(cx, h->plan->hopper[to], &m);
}
static err hopper_handle(rt_ctx *cx, void *st, rt_msg **m) {
    hopper *h = st;
    if ((*m)->tag == T_NOTE) {
        for (int i = 0; i < TOKENS; i++) hop(cx, h, HOPS);
        return ERR_OK;
    }
    const t_hop *t = t_hop_of(*m);
    uint64_t wrong = t->seq != h->got[t->from]++;
    if (wrong) note(cx, h->plan->done, 1000000);
    if (t->left == 0)
        note(cx, h->plan->done, 0);
    else
        hop(cx, h, t->left - 1);
    return ERR_OK;
}
static const rt_class hopper_class = {.name = "hopper", .state_size = sizeof(hopper), .init = hopper_init, .handle = hopper_handle};

static void order_of_pair(unsigned shards, usec spin) {
    rt_node *n = live_node(shards, spin);
    hop_plan *plan = mem_zalloc(sizeof *plan);
    uint64_t tokens = HOPPERS * TOKENS;
    plan->done = live_spawn(n, 0, &tally_class, &tokens);
    for (unsigned i = 0; i < HOPPERS; i++) {
        hopper_arg a = {plan, i};
        plan->hopper[i] = live_spawn(n, i % shards, &hopper_class, &a);
    }
    assert_int_equal(rt_node_start(n), ERR_OK);
    for (unsigned i = 0; i < HOPPERS; i++) {
        rt_msg *m = note_ext(0);
        rt_post(n, plan->hopper[i], &m);
    }
    assert_int_equal(ask(n, plan->done), 0);
    rt_node_free(n);
    mem_free(plan);
}
static void order_of_every_pair_holds_under_random_traffic_between_shards(void **state) {
    (void)state;
    order_of_pair(3, 0);
    order_of_pair(2, 20);
}

/* --- a stream that is faster than its reader -------------------------------------------------------------------------------------- */
enum { STREAM = 30000 };
static err pour_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)m;
    rt_pid to = *(rt_pid *)st;
    for (uint64_t i = 0; i < STREAM; i++) {
        rt_msg *x = rt_msg_new(cx, T_HOP, sizeof(t_hop));
        *t_hop_of(x) = (t_hop){0, 0, i};
        rt_send(cx, to, &x);
    }
    return ERR_OK;
}
static err pour_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    *(rt_pid *)st = *(const rt_pid *)arg;
    return ERR_OK;
}
static const rt_class pour_class = {.name = "pour", .state_size = sizeof(rt_pid), .init = pour_init, .handle = pour_handle};
typedef struct drinker {
    uint64_t next, wrong;
    rt_pid asker;
} drinker;
static err drinker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    drinker *d = st;
    if ((*m)->tag == T_NOTE)
        d->asker = (*m)->sender;
    else
        d->wrong += t_hop_of(*m)->seq != d->next++ % STREAM;
    if (d->next == 2 * STREAM && rt_pid_ok(d->asker)) {
        note(cx, d->asker, d->wrong);
        d->asker = RT_PID_NONE;
    }
    return ERR_OK;
}
static const rt_class drinker_class = {.name = "drinker", .state_size = sizeof(drinker), .handle = drinker_handle};
static void a_full_ring_overflows_in_order_and_loses_nothing(void **state) {
    (void)state;
    rt_node *n = live_node(2, 0);
    rt_pid to = live_spawn(n, 1, &drinker_class, NULL), from = live_spawn(n, 0, &pour_class, &to);
    for (int i = 0; i < 2; i++) {
        rt_msg *m = note_ext(0);
        rt_post(n, from, &m);
    }
    (void)rt_node_step(n, 0, false); /* pours while nobody reads */
    assert_true(rt_event_count(n, EV_RING_FULL) >= 1);
    assert_int_equal(rt_node_start(n), ERR_OK);
    assert_int_equal(ask(n, to), 0);
    rt_node_free(n);
}

static void signals_of_callers_outside_come_in_before_they_go_out(void **state) {
    (void)state;
    rt_node *n = live_node(2, 0);
    uint64_t none = 0;
    rt_pid to = live_spawn(n, 1, &tally_class, &none);
    assert_int_equal(rt_node_start(n), ERR_OK);
    for (int i = 0; i < 10; i++) assert_int_equal(ask(n, to), 0);
    rt_queue_stat messages, signals;
    rt_stat_queues(n, &messages, &signals);
    assert_true(signals.dequeued >= 9); /* the last call's may be under way */
    assert_true(signals.enqueued >= signals.dequeued);
    rt_node_free(n);
}

/* --- monitors and links under random kills, with threads --------------------------------------------------------------------------- */
enum { VICTIMS = 300 };
static err victim_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx, (void)st, (void)m;
    return ERR_IO;
}
static const rt_class victim_class = {.name = "victim", .state_size = 8, .handle = victim_handle};
typedef struct watch_plan {
    rt_pid victim[VICTIMS];
    rt_pid done;
} watch_plan;
typedef struct watcher {
    const watch_plan *plan;
    uint64_t ref[VICTIMS];
    bool down[VICTIMS];
} watcher;
static err watcher_init(rt_ctx *cx, void *st, const void *arg) {
    ((watcher *)st)->plan = *(const watch_plan *const *)arg;
    rt_trap_exit(cx, true);
    return ERR_OK;
}
static err watcher_handle(rt_ctx *cx, void *st, rt_msg **m) {
    watcher *w = st;
    if ((*m)->tag == T_NOTE) {
        for (unsigned i = 0; i < VICTIMS; i++) {
            w->ref[i] = rt_monitor(cx, w->plan->victim[i]);
            if (i % 3 == 0) rt_exit(cx, w->plan->victim[rt_random(cx) % VICTIMS], ERR_KILLED);
        }
        for (unsigned i = 0; i < VICTIMS; i++) rt_exit(cx, w->plan->victim[i], ERR_PROTO);
        return ERR_OK;
    }
    if ((*m)->tag != RT_DOWN) return ERR_OK;
    unsigned i = 0;
    while (i < VICTIMS && w->ref[i] != rt_down_of(*m)->ref) i++;
    note(cx, w->plan->done, i == VICTIMS || w->down[i] ? 1 : 0);
    if (i < VICTIMS) w->down[i] = true;
    return ERR_OK;
}
static const rt_class watcher_class = {.name = "watcher", .state_size = sizeof(watcher), .init = watcher_init, .handle = watcher_handle};
static void every_monitor_fires_exactly_once_while_shards_kill_at_random(void **state) {
    (void)state;
    enum { WATCHERS = 6, SHARDS = 3 };
    rt_node *n = live_node(SHARDS, 0);
    watch_plan *plan = mem_zalloc(sizeof *plan);
    uint64_t enough = WATCHERS * VICTIMS;
    rt_pid watchers[WATCHERS];
    plan->done = live_spawn(n, 0, &tally_class, &enough);
    for (unsigned i = 0; i < VICTIMS; i++) plan->victim[i] = live_spawn(n, i % SHARDS, &victim_class, NULL);
    for (unsigned i = 0; i < WATCHERS; i++) watchers[i] = live_spawn(n, i % SHARDS, &watcher_class, &plan);
    assert_int_equal(rt_node_start(n), ERR_OK);
    for (unsigned i = 0; i < WATCHERS; i++) {
        rt_msg *m = note_ext(0);
        rt_post(n, watchers[i], &m);
    }
    assert_int_equal(ask(n, plan->done), 0);
    rt_node_stop(n);
    assert_int_equal(rt_stat_actor_count(n), WATCHERS + 1);
    rt_node_free(n);
    mem_free(plan);
}

/* --- from outside ---------------------------------------------------------------------------------------------------------------- */
static err echo_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    if (t_note_of(*m)->n == 13) return ERR_IO; /* instead of an answer */
    if (t_note_of(*m)->n != 14) rt_send(cx, (*m)->sender, m);
    return ERR_OK;
}
static const rt_class echo_class = {.name = "echo", .handle = echo_handle};
static void a_call_gets_its_answer_or_noproc_or_times_out(void **state) {
    (void)state;
    rt_node *n = live_node(2, 0);
    rt_pid echo = live_spawn(n, 1, &echo_class, NULL);
    assert_int_equal(rt_node_start(n), ERR_OK);
    for (uint64_t i = 100; i < 300; i++) {
        rt_msg *m = note_ext(i), *reply = NULL;
        assert_int_equal(rt_call(n, echo, &m, PATIENCE, &reply), ERR_OK);
        assert_int_equal(t_note_of(reply)->n, i);
        rt_msg_drop(n, &reply);
    }
    rt_msg *reply = NULL, *m = note_ext(14);
    assert_int_equal(rt_call(n, echo, &m, 1000, &reply), ERR_TIMEOUT);
    m = note_ext(13);
    assert_int_equal(rt_call(n, echo, &m, PATIENCE, &reply), ERR_NOPROC);
    m = note_ext(1);
    assert_int_equal(rt_call(n, echo, &m, PATIENCE, &reply), ERR_NOPROC); /* it is dead */
    m = note_ext(1);
    assert_int_equal(rt_call(n, (rt_pid){0, 200u << 24, 1}, &m, PATIENCE, &reply), ERR_NOPROC);
    assert_null(reply);
    rt_node_free(n);
}

typedef struct probe {
    rt_shard_call c;
    _Atomic int refs; /* acq_rel, partner is itself: the last one frees */
    unsigned shard;
    rt_pid self;
} probe;
static void probe_unref(rt_box *b) {
    probe *p = container_of(b, probe, c.box);
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) mem_free(p);
}
static void probe_run(rt_ctx *cx, rt_shard_call *c) {
    probe *p = container_of(c, probe, c);
    p->shard = rt_ctx_shard(cx);
    assert_int_equal(rt_spawn(cx, &echo_class, NULL, 0, &p->self, NULL), ERR_OK);
}
static void a_function_runs_on_the_shard_it_was_sent_to(void **state) {
    (void)state;
    rt_node *n = live_node(3, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            probe *p = mem_zalloc(sizeof *p);
            p->c = (rt_shard_call){{probe_unref}, probe_run};
            atomic_init(&p->refs, 2);
            assert_int_equal(rt_node_call(n, i, &p->c, PATIENCE), ERR_OK);
            assert_int_equal(p->shard, i);
            assert_int_equal(rt_pid_shard(p->self), i);
            probe_unref(&p->c.box);
        }
        if (round == 0) assert_int_equal(rt_node_start(n), ERR_OK);
    }
    assert_int_equal(rt_stat_actor_count(n), 6);
    rt_node_free(n);
}

/* --- the pool, live --------------------------------------------------------------------------------------------------------------- */
enum { JOBS = 200 };
typedef struct live_job {
    rt_job j;
    uint64_t in, out;
} live_job;
static void live_job_run(rt_job *j) {
    live_job *l = container_of(j, live_job, j);
    l->out = hash_u64(l->in);
}
static err worker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    if ((*m)->tag == T_NOTE) {
        for (uint64_t i = 0; i < JOBS; i++) {
            live_job *l = mem_zalloc(sizeof *l);
            l->j.box.free = rt_pool_job_free;
            l->j.run = live_job_run;
            l->j.deadline = USEC_NEVER;
            l->in = i;
            rt_job *j = &l->j;
            rt_pool_submit(cx, RT_POOL_CRYPTO, &j);
        }
        return ERR_OK;
    }
    rt_job_done *d = rt_job_done_of(*m);
    const live_job *l = container_of(rt_job_of(d), live_job, j);
    note(cx, rt_name_find(cx, "done"), d->status != ERR_OK || l->out != hash_u64(l->in));
    return ERR_OK;
}
static const rt_class worker_class = {.name = "worker", .handle = worker_handle};
static err named_tally_init(rt_ctx *cx, void *st, const void *arg) {
    err e = rt_name_register(cx, "done");
    return e ? e : tally_init(cx, st, arg);
}
static const rt_class named_tally = {.name = "tally", .state_size = sizeof(tally), .init = named_tally_init, .handle = tally_handle};
static void jobs_run_on_pool_threads_and_come_home(void **state) {
    (void)state;
    rt_node *n = live_node(2, 0);
    uint64_t enough = JOBS;
    rt_pid done = live_spawn(n, 0, &named_tally, &enough), worker = live_spawn(n, 1, &worker_class, NULL);
    assert_int_equal(rt_node_start(n), ERR_OK);
    rt_msg *m = note_ext(0);
    rt_post(n, worker, &m);
    assert_int_equal(ask(n, done), 0);
    rt_pool_stat s;
    rt_pool_stats(n, RT_POOL_CRYPTO, &s);
    assert_int_equal(s.done, JOBS);
    m = note_ext(0);
    rt_post(n, worker, &m); /* stopped and freed in the midst of it */
    rt_node_stop(n);
    rt_node_stop(n);
    rt_node_free(n);
}

/* --- two jobs that wait for each other ------------------------------------------------------------------------------------------- */
enum { PAIRS = 300 };
typedef struct meeting { /* of two jobs: each arrives and waits for the other */
    lock l;
    lock_cond both;
    unsigned here;       /* guarded by l */
    unsigned alone, met; /* guarded by l */
    uint64_t rounds;     /* the pairer's */
} meeting;
typedef struct pair_job {
    rt_job j;
    meeting *m;
} pair_job;
static void pair_job_run(rt_job *j) {
    meeting *m = container_of(j, pair_job, j)->m;
    lock_take(&m->l);
    unsigned even = (++m->here + 1) & ~1u; /* how many have come when both of this pair have */
    if (m->here == even) lock_broadcast(&m->both);
    bool waits = true;
    while (waits && m->here < even) waits = lock_wait(&m->both, &m->l, PATIENCE);
    if (m->here < even)
        m->alone++;
    else
        m->met++;
    lock_release(&m->l);
}
static void submit_pair(rt_ctx *cx, meeting *m) {
    for (unsigned i = 0; i < 2; i++) {
        pair_job *p = mem_zalloc(sizeof *p);
        *p = (pair_job){.j = {.box.free = rt_pool_job_free, .run = pair_job_run, .deadline = USEC_NEVER}, .m = m};
        rt_job *j = &p->j;
        rt_pool_submit(cx, RT_POOL_CRYPTO, &j);
    }
}
static err pairer_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    memcpy(st, arg, sizeof(meeting *));
    return ERR_OK;
}
static err pairer_handle(rt_ctx *cx, void *st, rt_msg **m) {
    meeting *t = *(meeting **)st;
    if ((*m)->tag == T_NOTE || (++t->rounds % 2 == 0 && t->rounds < 2 * PAIRS))
        submit_pair(cx, t); /* at once: threads may be on their way */
    if ((*m)->tag != T_NOTE && t->rounds == 2 * PAIRS) note(cx, rt_name_find(cx, "done"), 0);
    return ERR_OK;
}
static const rt_class pairer_class = {.name = "pairer", .state_size = sizeof(meeting *), .init = pairer_init, .handle = pairer_handle};
static void as_many_jobs_run_at_once_as_there_are_threads(void **state) {
    (void)state;
    rt_node *n = live_node(2, 0); /* two crypto threads, by default */
    meeting t = {.rounds = 0}, *arg = &t;
    uint64_t one = 1;
    lock_init(&t.l, rt_node_locks(n), "meeting", 0, LOCK_RANK_TEST);
    lock_cond_init(&t.both);
    rt_pid done = live_spawn(n, 0, &named_tally, &one), pairer = live_spawn(n, 1, &pairer_class, &arg);
    assert_int_equal(rt_node_start(n), ERR_OK);
    rt_msg *m = note_ext(0);
    rt_post(n, pairer, &m);
    (void)ask(n, done);
    rt_node_stop(n);
    assert_int_equal(t.met, 2 * PAIRS);
    assert_int_equal(t.alone, 0);
    lock_cond_fini(&t.both);
    lock_fini(&t.l);
    rt_node_free(n);
}

/* --- a thread of the layer above --------------------------------------------------------------------------------------------------- */
typedef struct side {
    rt_node *n;
    rt_pid echo;
    err e;
    unsigned starts, stops;
} side;
static err side_start(void *arg) {
    side *s = arg;
    s->starts++;
    (void)ask(s->n, s->echo); /* the shards run */
    return s->e;
}
static void side_stop(void *arg) {
    side *s = arg;
    s->stops++;
    (void)ask(s->n, s->echo); /* and still do */
}
static void what_runs_beside_the_shards_starts_after_and_stops_before_them(void **state) {
    (void)state;
    const err ends[] = {ERR_OK, ERR_FD_LIMIT};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        side s = {.n = live_node(2, 0), .e = ends[i]};
        s.echo = live_spawn(s.n, 1, &echo_class, NULL);
        rt_node_set_beside(s.n, &(rt_beside){side_start, side_stop, &s});
        assert_int_equal(rt_node_start(s.n), ends[i]);
        assert_int_equal(s.starts, 1);
        assert_int_equal(s.stops, ends[i] != ERR_OK); /* its error ends the start, and with it the node's threads */
        rt_node_stop(s.n);
        rt_node_free(s.n);
        assert_int_equal(s.stops, 1);
    }
}

static void many_nodes_live_in_one_process(void **state) {
    (void)state;
    enum { NODES = 200 };
    world *w[NODES];
    for (unsigned i = 0; i < NODES; i++) w[i] = world_new(1, i + 1);
    for (unsigned i = 0; i < NODES; i++) {
        (void)world_spawn(w[i], 0, &echo_class, NULL);
        assert_int_equal(world_run(w[i]), USEC_NEVER);
        assert_int_equal(rt_stat_actor_count(w[i]->n), 1);
    }
    for (unsigned i = 0; i < NODES; i++) world_free(w[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_every_pair_holds_under_random_traffic_between_shards),
        cmocka_unit_test(a_full_ring_overflows_in_order_and_loses_nothing),
        cmocka_unit_test(signals_of_callers_outside_come_in_before_they_go_out),
        cmocka_unit_test(every_monitor_fires_exactly_once_while_shards_kill_at_random),
        cmocka_unit_test(a_call_gets_its_answer_or_noproc_or_times_out),
        cmocka_unit_test(a_function_runs_on_the_shard_it_was_sent_to),
        cmocka_unit_test(jobs_run_on_pool_threads_and_come_home),
        cmocka_unit_test(as_many_jobs_run_at_once_as_there_are_threads),
        cmocka_unit_test(what_runs_beside_the_shards_starts_after_and_stops_before_them),
        cmocka_unit_test(many_nodes_live_in_one_process),
    };
    if (sys_linux_new(&the_sys) != ERR_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sys_linux_free(the_sys);
    return failed;
}
