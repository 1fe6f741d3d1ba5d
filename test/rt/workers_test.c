/* Pools of workers: by key (order, the same worker, restarts) and to an idle one (dispatchers, bounds, deadlines, handing over, who is
 * stuck). */
#include "rt/workers.h"
#include "rt_world.h"

#define STUCK (100 * USEC_PER_MSEC)
enum { WORK = RT_TAG_TEST + 2 };
#define WORK_FIELDS(F) F(U32, n, "a number") F(U32, how, "HOLD, CRASH") F(BLOB, body, "bytes")
RT_MSG_DECLARE(WORK, work, "work")
RT_MSG_FIELDS(WORK, work, "work")
static const rt_msg_desc work_msgs[] = {RT_MSG_DESC(WORK, work, "work")};
enum { PLAIN, HOLD, CRASH, STOP };

typedef struct hall { /* what the workers of a test write down */
    world *w;
    rt_workers *pool;
    uint32_t done[4096]; /* numbers of work, in the order in which it was begun */
    unsigned by[4096];   /* and by whom */
    size_t n;
    unsigned inits, finis;
    rt_pid pid[64]; /* of the workers that hold on to their work */
} hall;
typedef struct hand_arg {
    hall *h;
    unsigned i;
} hand_arg;
static hand_arg hands[64];

static err hand_init(rt_ctx *cx, void *st, const void *arg) {
    const hand_arg *a = arg;
    memcpy(st, &a, sizeof a);
    a->h->inits++;
    a->h->pid[a->i] = rt_self(cx);
    return ERR_OK;
}
static err hand_handle(rt_ctx *cx, void *st, rt_msg **m) {
    const hand_arg *a;
    memcpy(&a, st, sizeof a);
    if ((*m)->tag == T_NOTE) { /* go on no more */
        rt_workers_done(cx);
        return ERR_OK;
    }
    if ((*m)->tag != WORK) return ERR_OK;
    const work *x = work_of(*m);
    a->h->done[a->h->n] = x->n;
    a->h->by[a->h->n++] = a->i;
    if (x->how == HOLD) rt_workers_go_on(cx);
    if (x->how == STOP) rt_stop(cx, ERR_OK);
    return x->how == CRASH ? ERR_IO : ERR_OK;
}
static void hand_fini(rt_ctx *cx, void *st, err reason) {
    (void)cx, (void)reason;
    const hand_arg *a;
    memcpy(&a, st, sizeof a);
    a->h->finis++;
}
static const rt_class hand_class = {
    .name = "hand", .state_size = sizeof(hand_arg *), .init = hand_init, .handle = hand_handle, .fini = hand_fini, .mailbox_max = 100};

static hall *hall_with(unsigned shards, rt_workers_mode mode, unsigned workers, unsigned desks, uint32_t queue_max, usec stuck) {
    hall *h = mem_zalloc(sizeof *h);
    h->w = world_new(shards, 1);
    rt_node_add_msgs(h->w->n, work_msgs, 1);
    for (unsigned i = 0; i < ARRAY_LEN(hands); i++) hands[i] = (hand_arg){h, i};
    rt_workers_cfg c = {.name = "hands",
                        .cls = &hand_class,
                        .arg = hands,
                        .arg_size = sizeof hands[0],
                        .mode = mode,
                        .workers = workers,
                        .dispatchers = desks,
                        .queue_max = queue_max,
                        .queue_bytes_max = 10000,
                        .stuck = stuck,
                        .intensity = 1000,
                        .period = USEC_PER_SEC};
    assert_int_equal(rt_workers_boot(h->w->n, &c, &h->pool), ERR_OK);
    return h;
}
static hall *hall_new(unsigned shards, rt_workers_mode mode, unsigned workers, unsigned desks, uint32_t queue_max) {
    return hall_with(shards, mode, workers, desks, queue_max, STUCK);
}
static void hall_free(hall *h) {
    world_free(h->w);
    assert_int_equal(h->inits, h->finis);
    mem_free(h);
}

typedef struct order_of_work { /* what a puppet is told to send */
    hall *h;
    uint64_t key;
    uint32_t from, count, how, deadline_msec;
    size_t body;
} order_of_work;
static void do_send_work(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    const order_of_work *o = (const order_of_work *)(uintptr_t)arg;
    for (uint32_t i = 0; i < o->count; i++) {
        rt_msg *m = rt_msg_new(cx, WORK, sizeof(work));
        work_of(m)->n = o->from + i;
        work_of(m)->how = o->how;
        if (o->body) work_of(m)->body = rt_blob_alloc(o->body);
        if (o->deadline_msec) m->deadline = rt_now_msec(cx) + o->deadline_msec;
        rt_workers_send(cx, o->h->pool, o->key, &m);
        assert_null(m);
    }
}
/* Until nothing is under way: world_run stops while messages still cross from shard to shard. */
static usec settle(const hall *h) {
    usec next = 0;
    for (unsigned i = 0; i < 20; i++) next = world_run(h->w);
    return next;
}
static void send_work(hall *h, const puppet *p, order_of_work o) {
    o.h = h;
    tell(h->w, p, do_send_work, ARG(&o));
    (void)settle(h);
}
static void let_go(hall *h, unsigned worker) {
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    rt_post(h->w->n, h->pid[worker], &m);
    (void)settle(h);
}
static unsigned refused_of(const puppet *p) { return count_tag(p, RT_MSG_REFUSED | WORK); }
static rt_workers_stat total(const hall *h) {
    rt_workers_stat all = {0}, s;
    for (unsigned i = 0; i < rt_workers_rows(h->pool); i++) {
        rt_workers_look(h->pool, i, &s);
        all.workers += s.workers, all.busy += s.busy, all.stuck += s.stuck, all.down += s.down, all.queued += s.queued;
        all.queued_bytes += s.queued_bytes, all.sent += s.sent, all.begun += s.begun, all.expired += s.expired;
        all.refused += s.refused, all.lost += s.lost, all.handed += s.handed;
    }
    return all;
}

/* --- by key ----------------------------------------------------------------------------------------------------------------------------
 */
static void all_work_of_a_key_goes_to_one_worker_in_the_order_sent(void **state) {
    (void)state;
    hall *h = hall_new(3, RT_WORKERS_BY_KEY, 8, 0, 0);
    puppet *p = puppet_new(h->w, 1, &puppet_class);
    unsigned used[8] = {0};
    for (uint32_t key = 0; key < 64; key++) send_work(h, p, (order_of_work){.key = key, .from = key * 10, .count = 3});
    assert_int_equal(h->n, 64 * 3);
    for (uint32_t key = 0; key < 64; key++) {
        unsigned by = rt_workers_of(h->pool, key);
        uint32_t next = key * 10;
        used[by]++;
        for (size_t i = 0; i < h->n; i++) {
            if (h->done[i] / 10 != key) continue;
            assert_int_equal(h->by[i], by);
            assert_int_equal(h->done[i], next++);
        }
        assert_int_equal(next, key * 10 + 3);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_true(used[i] > 0); /* 64 keys reach them all */
        assert_int_equal(rt_pid_shard(rt_workers_at(h->pool, i)), i % 3);
    }
    rt_workers_stat s = total(h);
    assert_int_equal(s.sent, 0); /* nobody counts it */
    assert_int_equal(s.begun, 64 * 3);
    assert_int_equal(s.workers, 8);
    hall_free(h);
    mem_free(p);
}

static void a_crashed_worker_keeps_its_place_and_what_waited_comes_back(void **state) {
    (void)state;
    hall *h = hall_new(2, RT_WORKERS_BY_KEY, 1, 0, 0);
    puppet *p = puppet_new(h->w, 1, &puppet_class); /* on the other shard: its work is under way in a ring */
    rt_pid before = rt_workers_at(h->pool, 0);
    order_of_work o[] = {{.h = h, .from = 1, .count = 2}, {.h = h, .from = 3, .count = 1, .how = CRASH}, {.h = h, .from = 4, .count = 3}};
    for (size_t i = 0; i < 3; i++) tell(h->w, p, do_send_work, ARG(&o[i]));
    (void)settle(h);
    assert_int_equal(h->n, 3);
    assert_int_equal(refused_of(p), 3); /* 4, 5, 6 were not begun */
    rt_pid after = rt_workers_at(h->pool, 0);
    assert_true(rt_pid_ok(after) && !rt_pid_eq(before, after));
    send_work(h, p, (order_of_work){.from = 7, .count = 1});
    assert_int_equal(h->done[h->n - 1], 7);
    rt_workers_stat s = total(h);
    assert_int_equal(s.lost, 1); /* 3 */
    assert_int_equal(s.begun, 4);
    assert_int_equal(s.down, 0);
    hall_free(h);
    mem_free(p);
}

static void do_fill(rt_ctx *cx, puppet *p, uint64_t arg) { /* past the bound of a worker's mailbox */
    do_send_work(cx, p, arg);
}
static void a_full_worker_refuses_and_its_late_work_is_counted(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_BY_KEY, 1, 0, 0);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    order_of_work o = {.h = h, .from = 1, .count = 130};
    tell(h->w, p, do_fill, ARG(&o));
    (void)settle(h);
    assert_int_equal(h->n, 100);
    assert_int_equal(refused_of(p), 30);
    order_of_work late = {.h = h, .from = 200, .count = 5, .deadline_msec = 1};
    h->w->tick = 2000; /* each look at the clock takes 2 ms: the round after is too late */
    send_work(h, p, late);
    h->w->tick = 0;
    rt_workers_stat s = total(h);
    assert_int_equal(s.refused, 30);
    assert_int_equal(s.expired + h->n, 105);
    hall_free(h);
    mem_free(p);
}

/* --- to an idle one ----------------------------------------------------------------------------------------------------------------------
 */
static void a_slow_worker_blocks_only_itself(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 3, 0, 100);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    send_work(h, p, (order_of_work){.from = 1, .count = 1, .how = HOLD});
    unsigned slow = h->by[0];
    for (uint32_t i = 0; i < 20; i++) send_work(h, p, (order_of_work){.from = 10 + 5 * i, .count = 5});
    assert_int_equal(h->n, 101);
    for (size_t i = 1; i < h->n; i++) assert_int_not_equal(h->by[i], slow);
    rt_workers_stat s = total(h);
    assert_int_equal(s.busy, 1);
    assert_int_equal(s.queued, 0);
    let_go(h, slow);
    assert_int_equal(total(h).busy, 0);
    hall_free(h);
    mem_free(p);
}

static void where_none_is_idle_work_waits_in_order_bounded_in_messages_and_bytes(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 1, 0, 4);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    send_work(h, p, (order_of_work){.from = 1, .count = 1, .how = HOLD});
    send_work(h, p, (order_of_work){.from = 2, .count = 6});
    assert_int_equal(h->n, 1);
    assert_int_equal(total(h).queued, 4);
    assert_int_equal(refused_of(p), 2); /* 6 and 7 */
    let_go(h, 0);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(h->done[i], i + 1);
    assert_int_equal(h->n, 5);
    send_work(h, p, (order_of_work){.from = 20, .count = 1, .how = HOLD});
    send_work(h, p, (order_of_work){.from = 21, .count = 3, .body = 4000}); /* 10,000 bytes may wait */
    assert_int_equal(refused_of(p), 3);
    assert_true(total(h).queued_bytes > 8000);
    let_go(h, 0);
    assert_int_equal(total(h).queued_bytes, 0);
    rt_workers_stat s = total(h);
    assert_int_equal(s.sent, s.begun + s.refused);
    hall_free(h);
    mem_free(p);
}

static void late_work_makes_room_and_is_dropped_and_counted(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 1, 0, 4);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    send_work(h, p, (order_of_work){.from = 1, .count = 1, .how = HOLD});
    send_work(h, p, (order_of_work){.from = 2, .count = 3, .deadline_msec = 5});
    send_work(h, p, (order_of_work){.from = 5, .count = 1});
    h->w->now += 10 * USEC_PER_MSEC;
    send_work(h, p, (order_of_work){.from = 6, .count = 1}); /* full, but three are too late */
    assert_int_equal(total(h).expired, 3);
    assert_int_equal(total(h).queued, 2);
    send_work(h, p, (order_of_work){.from = 7, .count = 1, .deadline_msec = 5});
    h->w->now += 10 * USEC_PER_MSEC;
    let_go(h, 0);
    assert_int_equal(h->n, 3);
    assert_int_equal(h->done[1], 5);
    assert_int_equal(h->done[2], 6);
    assert_int_equal(total(h).expired, 4);
    assert_int_equal(refused_of(p), 0);
    hall_free(h);
    mem_free(p);
}

static void a_worker_that_ends_is_replaced_its_work_lost_and_counted(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 2, 0, 100);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    const uint32_t how[] = {CRASH, STOP, HOLD};
    for (uint32_t i = 0; i < 30; i++) send_work(h, p, (order_of_work){.from = i, .count = 1, .how = how[i % 2]});
    assert_int_equal(h->n, 30);
    rt_workers_stat s = total(h);
    assert_int_equal(s.lost, 15); /* who stops after its work has done it */
    assert_int_equal(s.down, 0);
    send_work(h, p, (order_of_work){.from = 100, .count = 2});
    assert_int_equal(h->n, 32);
    assert_int_equal(refused_of(p), 0);
    hall_free(h);
    mem_free(p);
}

static void a_desk_hands_over_what_waits_to_one_with_idle_workers(void **state) {
    (void)state;
    for (unsigned late = 0; late < 2; late++) { /* the others are idle already, or become so later */
        hall *h = hall_new(3, RT_WORKERS_IDLE, 3, 0, 100);
        puppet *p[3];
        for (unsigned i = 0; i < 3; i++) p[i] = puppet_new(h->w, i, &puppet_class);
        for (unsigned i = 0; i < (late ? 3 : 1); i++) send_work(h, p[i], (order_of_work){.from = i, .count = 1, .how = HOLD});
        size_t held = h->n;
        send_work(h, p[0], (order_of_work){.from = 10, .count = 7});
        if (late) {
            assert_int_equal(total(h).queued, 7);
            let_go(h, 1);
        }
        assert_int_equal(h->n, held + 7);
        for (size_t i = held; i < h->n; i++) assert_int_not_equal(h->by[i], 0);
        assert_int_equal(total(h).queued, 0);
        assert_true(total(h).handed >= 7);
        hall_free(h);
        for (unsigned i = 0; i < 3; i++) mem_free(p[i]);
    }
}

static void one_desk_may_serve_workers_and_senders_of_other_shards(void **state) {
    (void)state;
    hall *h = hall_new(3, RT_WORKERS_IDLE, 6, 1, 100);
    puppet *p = puppet_new(h->w, 2, &puppet_class);
    unsigned used[6] = {0};
    assert_int_equal(rt_workers_rows(h->pool), 1);
    for (uint32_t i = 0; i < 60; i++) send_work(h, p, (order_of_work){.from = i, .count = 1, .how = i % 7 == 3 ? CRASH : PLAIN});
    assert_int_equal(h->n, 60);
    for (size_t i = 0; i < h->n; i++) used[h->by[i]]++;
    for (unsigned i = 0; i < 6; i++) assert_true(used[i] > 0); /* they take turns */
    rt_msg *m = rt_msg_new_ext(WORK, sizeof(work));
    rt_workers_post(h->pool, 5, &m);
    (void)settle(h);
    assert_int_equal(h->n, 61);
    assert_int_equal(total(h).busy + total(h).down, 0);
    hall_free(h);
    mem_free(p);
}

static rt_pid desk_pid;
static unsigned desks_seen;
static void find_desk(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    uint32_t from = 0;
    rt_actor_info info[64];
    size_t n = rt_stat_actors(cx, &from, info, ARRAY_LEN(info));
    for (size_t i = 0; i < n; i++)
        if (strcmp(info[i].cls, "desk") == 0) desk_pid = info[i].pid, desks_seen++;
}
static void do_kill_desk(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    rt_exit(cx, desk_pid, ERR_KILLED);
}
static void a_desk_that_ends_gives_its_work_back_and_its_successor_knows_the_workers(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 2, 0, 100);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    send_work(h, p, (order_of_work){.from = 1, .count = 2, .how = HOLD});
    send_work(h, p, (order_of_work){.from = 3, .count = 4});
    tell(h->w, p, find_desk, 0);
    tell(h->w, p, do_kill_desk, 0);
    (void)settle(h);
    assert_int_equal(desks_seen, 1);
    assert_int_equal(refused_of(p), 4);
    send_work(h, p, (order_of_work){.from = 10, .count = 1});
    assert_int_equal(h->n, 2); /* both are busy still */
    let_go(h, 1);
    assert_int_equal(h->done[2], 10);
    assert_int_equal(h->by[2], 1);
    hall_free(h);
    mem_free(p);
}

/* Steps one shard: the others do nothing meanwhile. */
static void step(const hall *h, unsigned shard) {
    for (unsigned i = 0; i < 20; i++) (void)rt_node_step(h->w->n, shard, false);
}

static void do_kill_desk_and_send_work(rt_ctx *cx, puppet *p, uint64_t arg) {
    rt_exit(cx, desk_pid, ERR_KILLED);
    do_send_work(cx, p, arg);
}
static void a_hint_that_was_lost_with_its_desk_is_not_the_last_one(void **state) {
    (void)state;
    hall *h = hall_new(2, RT_WORKERS_IDLE, 2, 0, 100);
    puppet *p[] = {puppet_new(h->w, 0, &puppet_class), puppet_new(h->w, 1, &puppet_class)};
    tell(h->w, p[1], find_desk, 0);
    send_work(h, p[0], (order_of_work){.from = 1, .count = 1, .how = HOLD});
    assert_int_equal(rt_pid_shard(desk_pid), 1);
    order_of_work o = {.h = h, .from = 2, .count = 1};
    tell(h->w, p[0], do_kill_desk_and_send_work, ARG(&o)); /* the hint comes behind the kill */
    step(h, 0);
    assert_int_equal(total(h).queued, 1);
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    rt_post(h->w->n, h->pid[0], &m);
    step(h, 0);
    assert_int_equal(total(h).queued, 0); /* before the successor could see that work waited */
    (void)settle(h);
    send_work(h, p[0], (order_of_work){.from = 3, .count = 1, .how = HOLD});
    send_work(h, p[0], (order_of_work){.from = 4, .count = 1});
    assert_int_equal(h->n, 4);
    assert_int_equal(h->done[3], 4);
    assert_int_equal(h->by[3], 1);
    hall_free(h);
    for (unsigned i = 0; i < 2; i++) mem_free(p[i]);
}

static void work_does_not_wait_for_a_hinted_desk_whose_shard_is_stuck(void **state) {
    (void)state;
    const usec stuck[] = {STUCK, 0};
    for (unsigned k = 0; k < ARRAY_LEN(stuck); k++) {
        hall *h = hall_with(3, RT_WORKERS_IDLE, 3, 0, 100, stuck[k]);
        puppet *p = puppet_new(h->w, 0, &puppet_class);
        send_work(h, p, (order_of_work){.from = 1, .count = 1, .how = HOLD});
        order_of_work o = {.h = h, .from = 2, .count = 1};
        tell(h->w, p, do_send_work, ARG(&o));
        for (unsigned i = 0; h->n < 2; i++) { /* desk 1 is the first to be hinted; its shard does nothing */
            assert_true(i < 30);
            h->w->now += 10 * USEC_PER_MSEC;
            step(h, 0);
            step(h, 2);
        }
        assert_int_equal(h->by[1], 2);
        (void)settle(h);
        assert_int_equal(h->n, 2);
        assert_int_equal(total(h).queued, 0);
        hall_free(h);
        mem_free(p);
    }
}

static void one_who_takes_too_long_is_reported_once_and_again_when_it_is_done(void **state) {
    (void)state;
    hall *h = hall_new(1, RT_WORKERS_IDLE, 2, 0, 100);
    puppet *p = puppet_new(h->w, 0, &puppet_class);
    send_work(h, p, (order_of_work){.from = 1, .count = 1, .how = HOLD});
    usec from = h->w->now;
    while (rt_event_count(h->w->n, EV_WORKER_STUCK) == 0) {
        assert_true(h->w->now - from <= 2 * STUCK); /* promises.md R23 */
        h->w->now += STUCK / 20;
        (void)settle(h);
    }
    assert_true(h->w->now - from >= STUCK);
    assert_int_equal(total(h).stuck, 1);
    for (unsigned i = 0; i < 100; i++) {
        h->w->now += STUCK / 20;
        send_work(h, p, (order_of_work){.from = 10 + i, .count = 1}); /* the other does it */
    }
    assert_int_equal(h->n, 101);
    assert_int_equal(rt_event_count(h->w->n, EV_WORKER_STUCK), 1);
    let_go(h, h->by[0]);
    assert_int_equal(rt_event_count(h->w->n, EV_WORKER_UNSTUCK), 1);
    assert_int_equal(total(h).stuck, 0);
    (void)settle(h);
    h->w->now += STUCK;
    assert_int_equal(settle(h), USEC_NEVER); /* no timer runs where nothing is to be seen */
    hall_free(h);
    mem_free(p);
}

static void an_impossible_pool_is_refused(void **state) {
    (void)state;
    hall *h = hall_new(2, RT_WORKERS_IDLE, 2, 0, 100);
    rt_workers *out;
    rt_workers_cfg c = {.name = "others", .cls = &hand_class, .arg = hands, .workers = 0};
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_INVALID);
    c.workers = RT_WORKERS_MAX + 1;
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_INVALID);
    c.workers = 2 * RT_SUP_CHILDREN_MAX;
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_INVALID);
    c.workers = 2;
    c.mode = RT_WORKERS_IDLE;
    c.dispatchers = 3;
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_INVALID);
    c.dispatchers = 2;
    c.name = "a name that is far too long for it";
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_INVALID);
    c.name = "hands";
    assert_int_equal(rt_workers_boot(h->w->n, &c, &out), ERR_EXISTS);
    assert_ptr_equal(rt_workers_find(h->w->n, "hands"), h->pool);
    assert_null(rt_workers_find(h->w->n, "others"));
    assert_null(rt_workers_next(h->w->n, h->pool));
    hall_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_work_of_a_key_goes_to_one_worker_in_the_order_sent),
        cmocka_unit_test(a_crashed_worker_keeps_its_place_and_what_waited_comes_back),
        cmocka_unit_test(a_full_worker_refuses_and_its_late_work_is_counted),
        cmocka_unit_test(a_slow_worker_blocks_only_itself),
        cmocka_unit_test(where_none_is_idle_work_waits_in_order_bounded_in_messages_and_bytes),
        cmocka_unit_test(late_work_makes_room_and_is_dropped_and_counted),
        cmocka_unit_test(a_worker_that_ends_is_replaced_its_work_lost_and_counted),
        cmocka_unit_test(a_desk_hands_over_what_waits_to_one_with_idle_workers),
        cmocka_unit_test(one_desk_may_serve_workers_and_senders_of_other_shards),
        cmocka_unit_test(a_desk_that_ends_gives_its_work_back_and_its_successor_knows_the_workers),
        cmocka_unit_test(a_hint_that_was_lost_with_its_desk_is_not_the_last_one),
        cmocka_unit_test(work_does_not_wait_for_a_hinted_desk_whose_shard_is_stuck),
        cmocka_unit_test(one_who_takes_too_long_is_reported_once_and_again_when_it_is_done),
        cmocka_unit_test(an_impossible_pool_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
