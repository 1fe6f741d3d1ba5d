/* actor: sending, order, deadlines, bounds, signals, ending. */
#include "rt/rt_world.h"

static void send_ten(rt_ctx *cx, puppet *p, uint64_t to) {
    (void)p;
    for (uint64_t i = 0; i < 10; i++) note(cx, *pid_of(to), i);
}
static void send_front(rt_ctx *cx, puppet *p, uint64_t to) {
    (void)p;
    rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
    t_note_of(m)->n = 99;
    rt_send_front(cx, *pid_of(to), &m);
}

static void messages_of_a_pair_arrive_in_order_and_front_overtakes(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        world *w = world_new(shards, 1);
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, shards - 1, &puppet_class);
        tell(w, a, send_ten, ARG(b));
        tell(w, a, send_front, ARG(b));
        (void)rt_node_step(w->n, 0, false);
        (void)world_run(w);
        assert_int_equal(b->n, 11);
        assert_int_equal(b->log[0].n, 99);
        for (uint64_t i = 0; i < 10; i++) assert_int_equal(b->log[i + 1].n, i);
        assert_true(rt_pid_eq(b->log[0].who, a->pid));
        world_free(w);
        mem_free(a);
        mem_free(b);
    }
}

static void send_deadline(rt_ctx *cx, puppet *p, uint64_t to) {
    (void)p;
    rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
    m->deadline = rt_now_msec(cx) + 5;
    t_note_of(m)->body = rt_blob_new(SLICE("owned"));
    rt_send(cx, *pid_of(to), &m);
    note(cx, *pid_of(to), 7);
}
static void a_deadline_is_checked_when_the_message_is_taken_out(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    tell(w, a, send_deadline, ARG(b));
    w->now += 4000;
    (void)world_run(w);
    assert_int_equal(b->n, 2);
    /* the second time it waits past its deadline: between the rounds of a two-shard node */
    world *w2 = world_new(2, 1);
    puppet *c = puppet_new(w2, 0, &puppet_class), *d = puppet_new(w2, 1, &puppet_class);
    tell(w2, c, send_deadline, ARG(d));
    (void)rt_node_step(w2->n, 0, false);
    w2->now += 20000;
    (void)world_run(w2);
    assert_int_equal(d->n, 1);
    assert_int_equal(d->log[0].n, 7);
    assert_int_equal(rt_event_count(w2->n, EV_EXPIRED), 1);
    world_free(w);
    world_free(w2);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

/* --- bounds ---------------------------------------------------------------------------------------------------------------------- */
PUPPET_CLASS(refusing, 4, RT_BOUND_REFUSE);
PUPPET_CLASS(dropping, 4, RT_BOUND_DROP_OLDEST);
PUPPET_CLASS(expiring, 4, RT_BOUND_DROP_EXPIRED);
PUPPET_CLASS(muting, 4, RT_BOUND_MUTE);

static void a_full_mailbox_refuses_and_the_sender_gets_its_message_back(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        world *w = world_new(shards, 1);
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, shards - 1, &refusing);
        tell(w, a, send_ten, ARG(b));
        (void)world_run(w);
        assert_int_equal(b->n, 4);
        assert_int_equal(count_tag(a, T_NOTE | RT_MSG_REFUSED), 6);
        assert_int_equal(a->log[0].n, 4);
        assert_true(rt_pid_eq(a->log[0].who, b->pid));
        world_free(w);
        mem_free(a);
        mem_free(b);
    }
}

static void a_full_mailbox_drops_the_oldest_but_never_a_down(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *b = puppet_new(w, 0, &dropping), *a = puppet_new(w, 0, &puppet_class), *v = puppet_new(w, 0, &puppet_class);
    tell(w, b, do_monitor, ARG(v));
    (void)world_run(w);
    tell(w, v, do_stop, ERR_IO);
    tell(w, a, send_ten, ARG(b));
    (void)world_run(w);
    assert_int_equal(count_tag(b, RT_DOWN), 1);
    assert_int_equal(count_tag(b, T_NOTE), 3);
    assert_int_equal(b->log[b->n - 1].n, 9);
    assert_int_equal(rt_event_count(w->n, EV_DROPPED), 7);
    world_free(w);
    mem_free(a);
    mem_free(b);
    mem_free(v);
}

static void send_mixed(rt_ctx *cx, puppet *p, uint64_t to) {
    (void)p;
    for (uint64_t i = 0; i < 4; i++) {
        rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
        t_note_of(m)->n = i;
        if (i < 2) m->deadline = rt_now_msec(cx) + 1;
        rt_send(cx, *pid_of(to), &m);
    }
}
static void a_full_mailbox_drops_what_is_expired_first(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *b = puppet_new(w, 1, &expiring), *a = puppet_new(w, 0, &puppet_class);
    tell(w, a, send_mixed, ARG(b));
    (void)rt_node_step(w->n, 0, false);
    w->now += 10000;
    tell(w, a, send_ten, ARG(b));
    (void)rt_node_step(w->n, 0, false);
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_EXPIRED), 2);
    assert_int_equal(b->n, 4); /* two of the first four, two of the ten */
    assert_int_equal(b->log[0].n, 2);
    assert_int_equal(count_tag(a, T_NOTE | RT_MSG_REFUSED), 8);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void flood(rt_ctx *cx, puppet *p, uint64_t to) {
    for (uint64_t i = 0; i < 6; i++) note(cx, *pid_of(to), i);
    note(cx, p->pid, 1000);
}
static void add_port(rt_ctx *cx, puppet *p, uint64_t fd) {
    (void)p;
    assert_int_equal(rt_port_add(cx, (int)fd, SYS_IN), ERR_OK);
}
static void a_muted_sender_is_not_run_nor_its_socket_read_until_the_receiver_has_halved(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &muting);
    tell(w, a, add_port, 9);
    (void)world_run(w);
    tell(w, a, flood, ARG(b));
    (void)rt_node_step(w->n, 0, false); /* sends */
    (void)rt_node_step(w->n, 0, false);
    size_t before = a->n;
    a->n = 0;
    assert_int_equal(before, 1);
    tell(w, a, flood, ARG(b));
    (void)rt_node_step(w->n, 1, false); /* receives six, mutes, handles them, unmutes: both signals are in the ring */
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_MUTE) >= 1, 1);
    assert_int_equal(b->n, 12); /* taken all */
    world_free(w);
    mem_free(a);
    mem_free(b);
}

/* --- slowing --- */
static void slow_it(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    rt_slow(cx, *pid_of(a));
}
static void let_go(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p, (void)a;
    rt_slow_end(cx);
}
static void note_to(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p;
    note(cx, *pid_of(a), 1);
}

/* Until whoever slows it says so, or ends; its timers go on, and the end of the mute time is none. */
static void a_slowed_actor_is_run_again_when_it_is_let_go(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class), *c = puppet_new(w, 0, &muting);
    tell(w, a, add_port, 9);
    tell(w, b, slow_it, ARG(a));
    tell(w, b, slow_it, ARG(a)); /* twice is once */
    (void)world_run(w);
    size_t before = a->n;
    tell(w, c, note_to, ARG(a));
    w->level[9] = SYS_IN;
    for (int i = 0; i < 3; i++) {
        w->now += RT_MUTE_MAX_USEC;
        (void)world_run(w);
    }
    assert_int_equal(a->n, before);
    assert_int_equal(w->interest[9] & SYS_IN, 0);
    tell(w, c, slow_it, ARG(a)); /* by two */
    tell(w, b, let_go, 0);
    (void)world_run(w);
    assert_int_equal(a->n, before);
    w->level[9] = 0;
    tell(w, c, do_stop, ERR_SHUTDOWN); /* ends: that lets go, too */
    (void)world_run(w);
    assert_int_equal(a->n, before + 1);
    assert_int_equal(w->interest[9] & SYS_IN, SYS_IN);
    tell(w, b, let_go, 0); /* nobody */
    tell(w, b, slow_it, ARG(b));
    (void)world_run(w);
    tell(w, b, slow_it, ARG(a));
    tell(w, a, do_stop, ERR_SHUTDOWN); /* goes while it is slowed: nothing is left of it */
    (void)world_run(w);
    tell(w, b, let_go, 0);
    (void)world_run(w);
    world_free(w);
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

/* Slowing has nothing to do with the bound of the mailbox: each ends by itself. */
static void slowed_and_muted(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &muting);
    tell(w, b, slow_it, ARG(a));
    tell(w, a, flood, ARG(b)); /* in one batch: the flood comes before it is slowed, or after it is let go */
    (void)world_run(w);
    w->now += RT_MUTE_MAX_USEC;
    (void)world_run(w);
    tell(w, b, let_go, 0);
    (void)world_run(w);
    assert_int_equal(count_tag(b, T_NOTE), 6);
    tell(w, a, note_to, ARG(b));
    (void)world_run(w);
    assert_int_equal(count_tag(b, T_NOTE), 7);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static const rt_class stubborn = {
    .name = "stubborn", .state_size = sizeof(puppet_state), .init = p_init, .handle = p_handle, .fini = p_fini, .unmuted = true};
static void an_actor_that_nobody_slows(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &stubborn), *b = puppet_new(w, 0, &muting);
    tell(w, b, slow_it, ARG(a));
    (void)world_run(w);
    tell(w, a, flood, ARG(b));
    tell(w, a, note_to, ARG(b));
    (void)world_run(w);
    assert_int_equal(count_tag(b, T_NOTE), 7);
    assert_int_equal(rt_event_count(w->n, EV_MUTE), 0);
    tell(w, b, let_go, 0);
    (void)world_run(w);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void sleepy(rt_ctx *cx, puppet *p, uint64_t n) { (void)cx, (void)p, (void)n; }
static void two_that_mute_each_other_go_on_after_the_mute_time(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &muting), *b = puppet_new(w, 0, &muting);
    a->on_note = b->on_note = sleepy;
    tell(w, a, add_port, 9);
    (void)world_run(w);
    /* in one inbox batch: each floods the other before either is run again */
    tell(w, a, flood, ARG(b));
    tell(w, b, flood, ARG(a));
    w->level[9] = SYS_IN;
    (void)world_run(w);
    assert_true(rt_event_count(w->n, EV_MUTE) >= 2);
    unsigned readies = a->readies;
    size_t seen_a = a->n, seen_b = b->n;
    (void)world_run(w);
    assert_int_equal(a->n, seen_a); /* nobody moves */
    assert_int_equal(b->n, seen_b);
    assert_int_equal(a->readies, readies);
    assert_int_equal(w->interest[9] & SYS_IN, 0);
    w->level[9] = 0;
    w->now += RT_MUTE_MAX_USEC;
    (void)world_run(w);
    assert_int_equal(a->n, 7);
    assert_int_equal(b->n, 7);
    assert_int_equal(w->interest[9] & SYS_IN, SYS_IN);
    w->level[9] = SYS_IN;
    (void)rt_node_step(w->n, 0, false);
    assert_true(a->readies > readies);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

/* --- signals --------------------------------------------------------------------------------------------------------------------- */
static void down_comes_exactly_once_also_for_the_dead_and_across_shards(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        world *w = world_new(shards, 1);
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, shards - 1, &puppet_class);
        tell(w, a, do_monitor, ARG(b));
        tell(w, a, do_monitor, ARG(b));
        (void)world_run(w);
        tell(w, b, do_fail, ERR_IO);
        (void)world_run(w);
        assert_int_equal(count_tag(a, RT_DOWN), 2);
        assert_int_equal(a->log[0].reason, ERR_IO);
        assert_int_not_equal(a->log[0].n, a->log[1].n);
        assert_int_equal(b->fini_reason, ERR_IO);
        tell(w, a, do_monitor, ARG(b));
        (void)world_run(w);
        assert_int_equal(count_tag(a, RT_DOWN), 3);
        assert_int_equal(a->log[2].reason, ERR_NOPROC);
        assert_int_equal(a->log[2].n, a->log[4095].n);
        assert_true(rt_pid_eq(a->log[2].who, b->pid));
        world_free(w);
        mem_free(a);
        mem_free(b);
    }
}

static void demonitor_last(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)a;
    rt_demonitor(cx, p->log[4095].n);
}
static void demonitor_takes_out_a_down_that_waits(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    tell(w, a, do_monitor, ARG(b));
    (void)world_run(w);
    tell(w, b, do_stop, ERR_OK); /* runs first: its DOWN stands in a's mailbox ... */
    tell(w, a, sleepy, 0);
    tell(w, a, demonitor_last, 0); /* ... behind this, which takes it out */
    (void)world_run(w);
    assert_int_equal(b->finis, 1);
    assert_int_equal(a->n, 0);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void monitor_and_drop(rt_ctx *cx, puppet *p, uint64_t a) {
    uint64_t ref = rt_monitor(cx, *pid_of(a));
    rt_demonitor(cx, ref);
    (void)p;
}
static void a_demonitored_dead_actor_sends_no_down(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        world *w = world_new(shards, 1);
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, shards - 1, &puppet_class);
        tell(w, b, do_stop, ERR_OK);
        (void)world_run(w);
        tell(w, a, monitor_and_drop, ARG(b));
        (void)world_run(w);
        assert_int_equal(a->n, 0);
        world_free(w);
        mem_free(a);
        mem_free(b);
    }
}

static void links_end_both_unless_trapped_or_normal_and_kill_cannot_be_trapped(void **state) {
    (void)state;
    for (unsigned shards = 1; shards <= 2; shards++) {
        world *w = world_new(shards, 1);
        unsigned far = shards - 1;
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, far, &puppet_class), *t = puppet_new(w, far, &puppet_class);
        puppet *n = puppet_new(w, 0, &puppet_class), *u = puppet_new(w, far, &puppet_class);
        tell(w, t, do_trap, 1);
        tell(w, a, do_link, ARG(b));
        tell(w, a, do_link, ARG(t));
        tell(w, a, do_link, ARG(u));
        tell(w, n, do_link, ARG(t));
        (void)world_run(w);
        tell(w, a, do_unlink, ARG(u));
        tell(w, n, do_stop, ERR_OK);
        (void)world_run(w);
        assert_int_equal(count_tag(t, RT_EXIT), 1); /* a trapping one hears of a normal end too */
        tell(w, a, do_fail, ERR_PROTO);
        (void)world_run(w);
        assert_int_equal(b->fini_reason, ERR_PROTO);
        assert_int_equal(u->finis, 0);
        assert_int_equal(count_tag(t, RT_EXIT), 2);
        assert_int_equal(t->finis, 0);
        tell(w, u, do_kill, ARG(t));
        (void)world_run(w);
        assert_int_equal(t->fini_reason, ERR_KILLED);
        tell(w, u, do_link, ARG(t)); /* to a dead one: NOPROC */
        (void)world_run(w);
        assert_int_equal(u->fini_reason, ERR_NOPROC);
        world_free(w);
        puppet *all[] = {a, b, t, n, u};
        for (size_t i = 0; i < ARRAY_LEN(all); i++) mem_free(all[i]);
    }
}

static void an_untrapped_exit_does_not_wait_behind_messages(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *b = puppet_new(w, 0, &puppet_class), *a = puppet_new(w, 0, &puppet_class);
    tell(w, a, send_ten, ARG(b));
    tell(w, a, do_kill, ARG(b));
    (void)world_run(w);
    assert_int_equal(b->n, 0);
    assert_int_equal(b->finis, 1);
    assert_int_equal(rt_stat_actor_count(w->n), 1);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void pids_are_never_reused(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    rt_pid last = RT_PID_NONE;
    puppet *p = mem_zalloc(sizeof *p);
    for (int i = 0; i < 1000; i++) {
        p->pid = world_spawn(w, 0, &puppet_class, &p);
        assert_false(rt_pid_eq(last, p->pid));
        if (i > 0) assert_int_equal(last.slot, p->pid.slot); /* the slot is */
        last = p->pid;
        tell(w, p, do_stop, ERR_OK);
        (void)world_run(w);
    }
    assert_int_equal(p->finis, 1000);
    char text[RT_PID_TEXT];
    rt_pid back;
    rt_pid_format(last, text);
    assert_true(rt_pid_parse(slice_str(text), &back) && rt_pid_eq(back, last));
    assert_false(rt_pid_parse(SLICE("<0.1.2>"), &back));
    world_free(w);
    mem_free(p);
}

static void a_failed_init_leaves_nothing_behind(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = mem_zalloc(sizeof *p);
    p->init_result = ERR_CONFIG;
    spawn_arg a = {&puppet_class, &p, RT_PID_NONE, ERR_OK};
    rt_node_boot(w->n, 0, spawn_boot, &a);
    assert_int_equal(a.e, ERR_CONFIG);
    assert_int_equal(p->finis, 0);
    assert_int_equal(rt_stat_actor_count(w->n), 0);
    world_free(w);
    mem_free(p);
}

/* --- R29 in miniature ------------------------------------------------------------------------------------------------------------ */
enum { CROWD = 60 };
static void every_link_and_monitor_fires_exactly_once_under_random_kills(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world *w = world_new(3, seed);
        puppet *p[CROWD], *watcher = puppet_new(w, 1, &puppet_class);
        unsigned expect[CROWD] = {0}, total = 0;
        tell(w, watcher, do_trap, 1);
        for (unsigned i = 0; i < CROWD; i++) p[i] = puppet_new(w, i % 3, &puppet_class);
        for (unsigned i = 0; i < CROWD; i++) {
            unsigned times = (unsigned)prng_below(&w->rng, 4);
            for (unsigned k = 0; k < times; k++) tell(w, watcher, do_monitor, ARG(p[i]));
            expect[i] = times;
            total += times;
            tell(w, watcher, do_link, ARG(p[i]));
            if (prng_chance(&w->rng, 1, 3)) tell(w, watcher, do_kill, ARG(p[prng_below(&w->rng, i + 1)]));
            if (prng_chance(&w->rng, 1, 2)) (void)rt_node_step(w->n, (unsigned)prng_below(&w->rng, 3), false);
        }
        for (unsigned i = 0; i < CROWD; i++) tell(w, watcher, do_kill, ARG(p[i]));
        (void)world_run(w);
        assert_int_equal(watcher->finis, 0);
        assert_int_equal(count_tag(watcher, RT_DOWN), total);
        assert_int_equal(count_tag(watcher, RT_EXIT), CROWD);
        for (unsigned i = 0; i < CROWD; i++) {
            unsigned downs = 0;
            for (size_t k = 0; k < watcher->n; k++) downs += watcher->log[k].tag == RT_DOWN && rt_pid_eq(watcher->log[k].who, p[i]->pid);
            assert_int_equal(downs, expect[i]);
            assert_int_equal(p[i]->finis, 1);
        }
        assert_int_equal(rt_stat_actor_count(w->n), 1);
        rt_queue_stat m, s;
        rt_stat_queues(w->n, &m, &s);
        assert_int_equal(m.queued, 0);
        assert_int_equal(s.queued, 0);
        assert_int_equal(m.bytes, 0);
        world_free(w);
        for (unsigned i = 0; i < CROWD; i++) mem_free(p[i]);
        mem_free(watcher);
    }
}

/* --- statistics, names, trace ---------------------------------------------------------------------------------------------------- */
static void flush_other(rt_ctx *cx, puppet *p, uint64_t to) {
    uint64_t n = 0;
    send_ten(cx, p, to);
    rt_actor_info i;
    assert_true(rt_stat_actor(cx, *pid_of(to), &i, NULL, 0, NULL));
    assert_int_equal(i.messages.queued, 10);
    assert_int_equal(rt_stat_flush(cx, *pid_of(to), &n), ERR_OK);
    p->log[4095].n = n;
}
static void flush_takes_out_what_waits_and_statistics_follow(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    tell(w, a, flush_other, ARG(b));
    (void)world_run(w);
    assert_int_equal(a->log[4095].n, 10);
    assert_int_equal(b->n, 0);
    rt_queue_stat m, s;
    rt_stat_queues(w->n, &m, &s);
    assert_int_equal(m.queued, 0);
    assert_true(m.longest >= 10);
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void do_register(rt_ctx *cx, puppet *p, uint64_t expect) {
    (void)p;
    assert_int_equal(rt_name_register(cx, "me"), (err)expect);
}
static void a_name_has_one_owner_and_goes_with_it(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    tell(w, a, do_register, ERR_OK);
    tell(w, b, do_register, ERR_EXISTS);
    (void)world_run(w);
    assert_true(rt_pid_eq(rt_name_whereis(w->n, "me"), a->pid));
    tell(w, a, do_stop, ERR_OK);
    (void)world_run(w);
    assert_false(rt_pid_ok(rt_name_whereis(w->n, "me")));
    tell(w, b, do_register, ERR_OK);
    (void)world_run(w);
    assert_true(rt_pid_eq(rt_name_whereis(w->n, "me"), b->pid));
    world_free(w);
    mem_free(a);
    mem_free(b);
}

static void do_register_two(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    assert_int_equal(rt_name_register(cx, "me"), ERR_OK);
    assert_int_equal(rt_name_register(cx, "myself"), ERR_OK);
}
typedef struct names {
    rt_pid of;
    unsigned n, max;
} names;
static bool count_name(void *arg, slice name, rt_pid pid) {
    names *c = arg;
    assert_true(slice_is(name, "me") || slice_is(name, "myself"));
    assert_true(rt_pid_eq(pid, c->of));
    return ++c->n < c->max;
}
static void all_names_can_be_seen_until_it_is_enough(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 1, &puppet_class);
    tell(w, a, do_register_two, 0);
    (void)world_run(w);
    for (unsigned max = 1; max <= 3; max++) {
        names c = {a->pid, 0, max};
        rt_reader *r = rt_epoch_begin(w->n);
        rt_name_each(r, count_name, &c);
        rt_epoch_end(&r);
        assert_int_equal(c.n, max < 2 ? max : 2);
    }
    world_free(w);
    mem_free(a);
}

typedef struct test_box {
    rt_box box;
    unsigned *freed;
} test_box;
static void free_test_box(rt_box *b) {
    ++*container_of(b, test_box, box)->freed;
    mem_free(b);
}
static void send_owned(rt_ctx *cx, puppet *p, uint64_t to) {
    test_box *b = mem_zalloc(sizeof *b);
    b->box.free = free_test_box;
    b->freed = &p->flushes;
    rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
    *t_note_of(m) = (t_note){3, rt_blob_new(SLICE("a\n")), &b->box};
    char line[64];
    size_t n = rt_msg_print(rt_ctx_node(cx), m, line, sizeof line);
    assert_string_equal(line, "t_note{n=3, body=\"a\\x0a\", box=box}");
    assert_int_equal(n, strlen(line));
    rt_send(cx, *pid_of(to), &m);
}
static void a_dropped_message_releases_what_it_owns_exactly_once(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
    tell(w, a, send_owned, ARG(b)); /* handled and not kept */
    (void)world_run(w);
    assert_int_equal(a->flushes, 1);
    tell(w, b, do_stop, ERR_OK);
    (void)world_run(w);
    tell(w, a, send_owned, ARG(b)); /* nobody there */
    (void)world_run(w);
    assert_int_equal(a->flushes, 2);
    assert_int_equal(rt_event_count(w->n, EV_NOPROC), 1);
    tell(w, a, send_owned, ARG(b)); /* in the ring when the node is freed */
    (void)rt_node_step(w->n, 0, false);
    world_free(w);
    assert_int_equal(a->flushes, 3);
    mem_free(a);
    mem_free(b);
}

static puppet *last_heard; /* by whom the last words are meant */
static void last_words(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)a;
    send_owned(cx, p, ARG(last_heard));
}
static void what_is_said_while_the_node_is_freed_is_released(void **state) {
    (void)state;
    for (unsigned from = 0; from < 2; from++) {
        world *w = world_new(2, 1);
        puppet *a = puppet_new(w, from, &puppet_class), *b = puppet_new(w, 1 - from, &puppet_class);
        a->on_fini = last_words;
        last_heard = b;
        (void)world_run(w);
        world_free(w);
        assert_int_equal(a->flushes, 1);
        mem_free(a);
        mem_free(b);
    }
}

static void spawn_more(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)a;
    puppet *child = p;
    assert_int_equal(rt_spawn(cx, &puppet_class, &child, 0, NULL, NULL), ERR_SHUTDOWN);
    note(cx, p->pid, 1);
}
static void freeing_the_node_runs_every_fini_with_killed(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
    a->on_fini = spawn_more;
    tell(w, a, do_link, ARG(b));
    tell(w, b, add_port, 5);
    (void)world_run(w);
    tell(w, a, send_ten, ARG(b));
    world_free(w);
    assert_int_equal(a->finis, 1);
    assert_int_equal(b->finis, 1);
    assert_int_equal(a->fini_reason, ERR_KILLED);
    mem_free(a);
    mem_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_a_pair_arrive_in_order_and_front_overtakes),
        cmocka_unit_test(a_deadline_is_checked_when_the_message_is_taken_out),
        cmocka_unit_test(a_full_mailbox_refuses_and_the_sender_gets_its_message_back),
        cmocka_unit_test(a_full_mailbox_drops_the_oldest_but_never_a_down),
        cmocka_unit_test(a_full_mailbox_drops_what_is_expired_first),
        cmocka_unit_test(a_muted_sender_is_not_run_nor_its_socket_read_until_the_receiver_has_halved),
        cmocka_unit_test(a_slowed_actor_is_run_again_when_it_is_let_go),
        cmocka_unit_test(slowed_and_muted),
        cmocka_unit_test(an_actor_that_nobody_slows),
        cmocka_unit_test(two_that_mute_each_other_go_on_after_the_mute_time),
        cmocka_unit_test(down_comes_exactly_once_also_for_the_dead_and_across_shards),
        cmocka_unit_test(demonitor_takes_out_a_down_that_waits),
        cmocka_unit_test(a_demonitored_dead_actor_sends_no_down),
        cmocka_unit_test(links_end_both_unless_trapped_or_normal_and_kill_cannot_be_trapped),
        cmocka_unit_test(an_untrapped_exit_does_not_wait_behind_messages),
        cmocka_unit_test(pids_are_never_reused),
        cmocka_unit_test(a_failed_init_leaves_nothing_behind),
        cmocka_unit_test(every_link_and_monitor_fires_exactly_once_under_random_kills),
        cmocka_unit_test(flush_takes_out_what_waits_and_statistics_follow),
        cmocka_unit_test(a_name_has_one_owner_and_goes_with_it),
        cmocka_unit_test(all_names_can_be_seen_until_it_is_enough),
        cmocka_unit_test(a_dropped_message_releases_what_it_owns_exactly_once),
        cmocka_unit_test(what_is_said_while_the_node_is_freed_is_released),
        cmocka_unit_test(freeing_the_node_runs_every_fini_with_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
