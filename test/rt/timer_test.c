/* timer: the wheel by itself against a plain list, and timers of actors. */
#include "rt/rt_world.h"
#include "rt/timer.h"

typedef struct entry {
    rt_timer t;
    uint32_t due;
    bool armed;
} entry;

/* Everything that is due has fired, nothing else has, and rt_wheel_next never points past a due one. */
static void wheel_agrees_with_a_list(uint32_t start, uint64_t seed, unsigned count, unsigned rounds) {
    rt_wheel *w = mem_alloc(sizeof *w);
    entry *e = mem_zalloc(count * sizeof *e);
    prng r;
    prng_init(&r, seed);
    rt_wheel_init(w);
    w->tick = start;
    uint32_t now = start;
    for (unsigned k = 0; k < rounds; k++) {
        for (unsigned i = 0; i < count / 4; i++) {
            entry *x = &e[prng_below(&r, count)];
            static const uint32_t far[] = {1, 300, 20000, 2000000, 100000000, 0x7fffffff};
            x->due = now + (uint32_t)prng_below(&r, far[prng_below(&r, 6)]);
            if (x->armed && prng_chance(&r, 1, 2)) {
                rt_wheel_move(w, &x->t, x->due); /* earlier, later, or where it is */
                continue;
            }
            if (x->armed) rt_wheel_cancel(w, &x->t);
            x->armed = prng_chance(&r, 3, 4);
            if (x->armed) rt_wheel_set(w, &x->t, x->due);
        }
        uint32_t next = 0, earliest = UINT32_MAX;
        for (unsigned i = 0; i < count; i++)
            if (e[i].armed && e[i].due - now < earliest) earliest = e[i].due - now;
        bool any = rt_wheel_next(w, &next);
        assert_int_equal(any, earliest != UINT32_MAX);
        if (any) assert_true(next - now <= earliest);
        static const uint32_t step[] = {2, 256, 1000, 70000, 5000000};
        now += (uint32_t)prng_below(&r, step[prng_below(&r, 5)]);
        rt_wheel_advance(w, now);
        for (rt_timer *t; (t = rt_wheel_pop(w)) != NULL;) {
            entry *x = container_of(t, entry, t);
            assert_true(x->armed && (int32_t)(x->due - now) <= 0);
            x->armed = false;
        }
        for (unsigned i = 0; i < count; i++)
            if (e[i].armed) assert_true((int32_t)(e[i].due - now) > 0);
    }
    mem_free(e);
    mem_free(w);
}
static void the_wheel_fires_what_is_due_and_nothing_else(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) wheel_agrees_with_a_list((uint32_t)(seed * 123457), seed, 40, 300);
}
static void ticks_may_wrap(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) wheel_agrees_with_a_list(UINT32_MAX - 300000, seed, 40, 300);
}

static void following_next_reaches_every_timer(void **state) {
    (void)state;
    rt_wheel *w = mem_alloc(sizeof *w);
    for (uint32_t due = 1; due < 0x40000000; due = due * 3 + 1) {
        rt_timer t = {0};
        rt_wheel_init(w);
        rt_wheel_set(w, &t, due);
        uint32_t at = 0;
        unsigned steps = 0;
        while (rt_timer_armed(&t) && rt_wheel_next(w, &at)) {
            assert_true(at <= due && ++steps < 16); /* few wake-ups on the way down */
            rt_wheel_advance(w, at);
            if (at == due) assert_ptr_equal(rt_wheel_pop(w), &t);
        }
        assert_int_equal(at, due);
    }
    mem_free(w);
}

/* A guard against silence that is moved at every sign of life: never fires, and the wheel looks at it seldom. */
static void moving_later_is_followed_and_costs_few_wake_ups(void **state) {
    (void)state;
    rt_wheel *w = mem_alloc(sizeof *w);
    rt_timer t = {0};
    enum { SILENCE = 60000, MOVES = 600000 };
    rt_wheel_init(w);
    rt_wheel_set(w, &t, SILENCE);
    unsigned wakes = 0;
    uint32_t at = 0;
    for (uint32_t now = 1; now <= MOVES; now++) {
        rt_wheel_move(w, &t, now + SILENCE);
        assert_int_equal(t.due, now + SILENCE);
        assert_true(rt_wheel_next(w, &at) && at <= now + SILENCE);
        if (at > now) continue;
        wakes++;
        rt_wheel_advance(w, now);
        assert_null(rt_wheel_pop(w));
    }
    assert_true(wakes > 0 && wakes <= 8 * (MOVES / SILENCE + 1)); /* once a period, and on the way down */
    while (rt_wheel_next(w, &at) && at < MOVES + SILENCE) {
        rt_wheel_advance(w, at);
        assert_null(rt_wheel_pop(w));
    }
    rt_wheel_move(w, &t, MOVES + SILENCE); /* where it is */
    rt_wheel_advance(w, MOVES + SILENCE);
    rt_wheel_move(w, &t, MOVES + SILENCE + 1); /* already being fired: not in this sweep any more */
    assert_null(rt_wheel_pop(w));
    rt_wheel_advance(w, MOVES + SILENCE + 1);
    assert_ptr_equal(rt_wheel_pop(w), &t);
    assert_false(rt_wheel_next(w, &at));
    mem_free(w);
}

static void a_million_timers_fire_in_order_of_time(void **state) {
    (void)state;
    enum { N = 1000000 };
    rt_wheel *w = mem_alloc(sizeof *w);
    rt_timer *t = mem_zalloc(N * sizeof *t);
    prng r;
    prng_init(&r, 1);
    rt_wheel_init(w);
    for (unsigned i = 0; i < N; i++) rt_wheel_set(w, &t[i], 1 + (uint32_t)prng_below(&r, 600000));
    for (unsigned i = 0; i < N; i += 2) { /* re-armed, as sessions do */
        rt_wheel_cancel(w, &t[i]);
        rt_wheel_set(w, &t[i], 1 + (uint32_t)prng_below(&r, 600000));
    }
    unsigned fired = 0;
    for (uint32_t at; rt_wheel_next(w, &at);) {
        rt_wheel_advance(w, at);
        for (rt_timer *x; (x = rt_wheel_pop(w)) != NULL; fired++) assert_int_equal(x->due, at);
    }
    assert_int_equal(fired, N);
    mem_free(t);
    mem_free(w);
}

/* --- of actors ------------------------------------------------------------------------------------------------------------------- */
static void set_first(rt_ctx *cx, puppet *p, uint64_t at) { rt_timer_set(cx, &p->t[0], (usec)at); }
static void cancel_first(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)a;
    rt_timer_cancel(cx, &p->t[0]);
}
static void again_at_once(rt_ctx *cx, puppet *p, uint64_t i) {
    if (p->timers < 1000) rt_timer_set(cx, &p->t[i], rt_now(cx));
}

static void a_timer_is_never_early_and_the_step_says_when_to_come_back(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    usec due[] = {1, 999, 1000, 1001, 255999, 256001, 70000001, 100000000001};
    for (size_t i = 0; i < ARRAY_LEN(due); i++) {
        usec at = w->now + due[i];
        tell(w, p, set_first, (uint64_t)at);
        unsigned before = p->timers;
        for (usec next = world_run(w); p->timers == before; next = world_run(w)) {
            assert_true(next > w->now && next != USEC_NEVER);
            w->now = next;
        }
        assert_true(p->fired_at[0] >= at && p->fired_at[0] < at + 1000);
    }
    assert_int_equal(world_run(w), USEC_NEVER);
    world_free(w);
    mem_free(p);
}

static void rearming_moves_a_timer_and_cancelling_ends_it(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    tell(w, p, set_first, (uint64_t)w->now + 5000);
    tell(w, p, set_first, (uint64_t)w->now + 50000);
    (void)world_run(w);
    w->now += 40000;
    (void)world_run(w);
    assert_int_equal(p->timers, 0);
    tell(w, p, cancel_first, 0);
    tell(w, p, cancel_first, 0);
    (void)world_run(w);
    w->now += 40000;
    assert_int_equal(world_run(w), USEC_NEVER);
    assert_int_equal(p->timers, 0);
    world_free(w);
    mem_free(p);
}

static void a_timer_of_no_delay_does_not_keep_the_shard_in_its_loop(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    p->on_timer = again_at_once;
    tell(w, p, set_first, 0);
    (void)rt_node_step(w->n, 0, false);
    assert_true(rt_node_step(w->n, 0, false) <= w->now);
    assert_int_equal(p->timers, 1);
    (void)world_run(w);
    assert_int_equal(p->timers, 1000);
    world_free(w);
    mem_free(p);
}

typedef struct careless {
    rt_timer t;
} careless;
static err careless_init(rt_ctx *cx, void *st, const void *arg) {
    (void)arg;
    rt_timer_set(cx, &((careless *)st)->t, rt_now(cx) + 5000);
    return ERR_OK;
}
static err careless_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx, (void)st, (void)m;
    return ERR_SHUTDOWN;
}
static void an_actor_that_ends_with_an_armed_timer_keeps_its_memory_until_it_fires(void **state) {
    (void)state;
    static const rt_class c = {.name = "careless", .state_size = sizeof(careless), .init = careless_init, .handle = careless_handle};
    world *w = world_new(1, 1);
    for (int i = 0; i < 100; i++) {
        rt_pid pid = world_spawn(w, 0, &c, NULL);
        rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
        rt_post(w->n, pid, &m);
        (void)world_run(w);
        assert_int_equal(rt_stat_actor_count(w->n), 0);
        w->now += 700;
    }
    (void)world_spawn(w, 0, &c, NULL); /* and one that is freed with the node */
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wheel_fires_what_is_due_and_nothing_else),
        cmocka_unit_test(ticks_may_wrap),
        cmocka_unit_test(following_next_reaches_every_timer),
        cmocka_unit_test(moving_later_is_followed_and_costs_few_wake_ups),
        cmocka_unit_test(a_million_timers_fire_in_order_of_time),
        cmocka_unit_test(a_timer_is_never_early_and_the_step_says_when_to_come_back),
        cmocka_unit_test(rearming_moves_a_timer_and_cancelling_ends_it),
        cmocka_unit_test(a_timer_of_no_delay_does_not_keep_the_shard_in_its_loop),
        cmocka_unit_test(an_actor_that_ends_with_an_armed_timer_keeps_its_memory_until_it_fires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
