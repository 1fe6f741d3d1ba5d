/* Who follows events is told of each, in order, within a bound, and of how many were missed; nobody is told of what telling causes; and
 * what warns (long queue, long handler, late work, expired) reaches log and subscriber. */
#include "rt/follow.h"
#include "rt_world.h"

#include <stdio.h>

#define SEEN_MAX 8192

typedef struct listener { /* the test's; the actor's state points to it */
    rt_pid pid;
    rt_event_set set;
    err result;
    rt_event_msg last;
    char text[80];
    rt_event_id id[SEEN_MAX];
    size_t n;
    uint64_t lost;
    bool talks; /* causes an event in its handler */
} listener;

static err l_init(rt_ctx *cx, void *st, const void *arg) {
    listener *l = *(listener *const *)arg;
    *(listener **)st = l;
    l->pid = rt_self(cx);
    l->result = rt_event_subscribe(cx, &l->set);
    return ERR_OK;
}
static err l_handle(rt_ctx *cx, void *st, rt_msg **m) {
    listener *l = *(listener **)st;
    if (RT_TAG(*m) == T_DO) {
        if (t_do_of(*m)->arg == 1) return ERR_SHUTDOWN;
        if (t_do_of(*m)->arg == 2) rt_event_unsubscribe(cx);
        return ERR_OK;
    }
    if (RT_TAG(*m) != RT_EVENT) return ERR_OK;
    l->last = *rt_event_msg_of(*m);
    (void)snprintf(l->text, sizeof l->text, SLICE_FMT, SLICE_ARG(rt_blob_slice(l->last.text)));
    l->id[l->n++ % SEEN_MAX] = (rt_event_id)l->last.id;
    l->lost += l->last.lost;
    if (l->talks) rt_event(cx, EV_ACCEPT, 1, 2, 3);
    return ERR_OK;
}
static const rt_class l_class = {.name = "listener", .state_size = sizeof(listener *), .init = l_init, .handle = l_handle};

static listener *listen_to(world *w, unsigned shard, const rt_event_id *ids, size_t n) {
    listener *l = mem_zalloc(sizeof *l);
    for (size_t i = 0; i < n; i++) rt_event_set_add(&l->set, ids[i]);
    (void)world_spawn(w, shard, &l_class, &l);
    return l;
}
#define LISTEN(w, shard, ...) listen_to(w, shard, (const rt_event_id[]){__VA_ARGS__}, ARRAY_LEN(((const rt_event_id[]){__VA_ARGS__})))
static void command(world *w, const listener *l, uint64_t what) {
    rt_msg *m = rt_msg_new_ext(T_DO, sizeof(t_do));
    t_do_of(m)->arg = what;
    rt_post(w->n, l->pid, &m);
}

static unsigned told(const listener *l, rt_event_id id) {
    unsigned k = 0;
    for (size_t i = 0; i < l->n && i < SEEN_MAX; i++) k += l->id[i] == id;
    return k;
}

static void do_accepts(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p;
    for (uint64_t i = 0; i < n; i++) rt_event(cx, EV_ACCEPT, i, 0, 0);
}

static char lines[65536];
static void to_lines(void *arg, const char *line) {
    (void)arg;
    size_t n = strlen(lines);
    (void)snprintf(lines + n, sizeof lines - n, "%s\n", line);
}
static void do_be_long(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    world_of(rt_ctx_sys(cx))->now += 5 * USEC_PER_MSEC;
}
/* To another shard, which reads its clock later. */
static void do_expire(rt_ctx *cx, puppet *p, uint64_t other) {
    (void)p;
    rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
    m->deadline = rt_now_msec(cx) + 1;
    rt_send(cx, *pid_of(other), &m);
    world_of(rt_ctx_sys(cx))->now += 50 * USEC_PER_MSEC;
}
static void do_pile(rt_ctx *cx, puppet *p, uint64_t other) {
    (void)p;
    for (unsigned i = 0; i < 10001; i++) note(cx, *pid_of(other), i);
}

static void what_warns_reaches_log_and_subscriber(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    static const char *const names[] = {" long_handler ", " expired ", " late_work ", " long_queue "};
    static const rt_event_id ids[] = {EV_LONG_HANDLER, EV_EXPIRED, EV_LATE_WORK, EV_LONG_QUEUE};
    lines[0] = 0;
    rt_log_sink(w->n, to_lines, NULL);
    rt_log_level(w->n, RT_DEBUG);
    listener *l = listen_to(w, 1, ids, ARRAY_LEN(ids));
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class), *c = puppet_new(w, 1, &puppet_class);
    world_run(w);
    assert_int_equal(l->n, 0);
    lines[0] = 0;
    tell(w, a, do_be_long, 0);
    tell(w, a, do_expire, ARG(c));
    world_run(w);
    lines[30000] = 0; /* what else is at level debug would fill it */
    for (unsigned i = 0; i < 3; i++) {
        if (!told(l, ids[i])) print_message("nobody is told of%s\n", names[i]);
        assert_true(told(l, ids[i]) >= 1);
        assert_non_null(strstr(lines, names[i]));
    }
    assert_int_equal(told(l, EV_EXPIRED), 1);
    lines[0] = 0;
    rt_log_level(w->n, RT_WARNING);
    tell(w, a, do_pile, ARG(b));
    world_run(w);
    assert_int_equal(told(l, EV_LONG_QUEUE), 1);
    assert_non_null(strstr(lines, names[3]));
    assert_non_null(strstr(lines, "puppet_class"));
    world_free(w);
    mem_free(a), mem_free(b), mem_free(c);
    mem_free(l);
}

static void an_event_is_told_with_its_place_and_arguments(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    listener *l = LISTEN(w, 0, EV_ACCEPT, EV_CTL);
    puppet *p = puppet_new(w, 1, &puppet_class);
    tell(w, p, do_accepts, 1);
    world_run(w);
    assert_int_equal(l->n, 1);
    assert_int_equal(l->last.shard, 1);
    assert_int_equal(l->last.slot, p->pid.slot);
    assert_true(l->last.wall > 0);
    assert_null(l->last.text);
    rt_event_ext(w->n, EV_CTL, 7, 0, SLICE("what the operator said"));
    world_run(w);
    assert_int_equal(l->n, 2);
    assert_int_equal(l->last.id, EV_CTL);
    assert_int_equal(l->last.shard, 2); /* another thread */
    assert_int_equal(l->last.a, 7);
    assert_string_equal(l->text, "what the operator said");
    command(w, l, 2);
    world_run(w);
    rt_event_ext(w->n, EV_CTL, 8, 0, SLICE("unheard"));
    world_run(w);
    assert_int_equal(l->n, 2);
    world_free(w);
    mem_free(p);
    mem_free(l);
}

static void what_waits_is_bounded_and_what_is_lost_is_counted(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    listener *l = LISTEN(w, 0, EV_ACCEPT);
    puppet *p = puppet_new(w, 0, &puppet_class);
    tell(w, p, do_accepts, RT_FOLLOW_PENDING + 44);
    world_run(w);
    assert_int_equal(l->n, RT_FOLLOW_PENDING);
    assert_int_equal(l->lost, 0);
    tell(w, p, do_accepts, 1);
    world_run(w);
    assert_int_equal(l->n, RT_FOLLOW_PENDING + 1);
    assert_int_equal(l->lost, 44);
    world_free(w);
    mem_free(p);
    mem_free(l);
}

static void nobody_is_told_of_what_telling_causes(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    listener *l = LISTEN(w, 0, EV_ACCEPT);
    puppet *p = puppet_new(w, 0, &puppet_class);
    l->talks = true;
    tell(w, p, do_accepts, 3);
    world_run(w);
    assert_int_equal(l->n, 3);
    listener *bad = LISTEN(w, 0, EV_ACCEPT, EV_SEND);
    assert_int_equal(bad->result, ERR_INVALID);
    rt_event_set frequent = {{0}};
    rt_follow *f = NULL;
    rt_event_set_add(&frequent, EV_HANDLE);
    assert_int_equal(rt_follow_events(w->n, &frequent, &f), ERR_INVALID);
    assert_null(f);
    world_free(w);
    mem_free(p);
    mem_free(l);
    mem_free(bad);
}

static void a_subscription_ends_with_its_actor(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    listener *l[RT_FOLLOW_ACTORS];
    puppet *p = puppet_new(w, 0, &puppet_class);
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++) {
        l[i] = LISTEN(w, i % 2, EV_ACCEPT);
        assert_int_equal(l[i]->result, ERR_OK);
    }
    listener *more = LISTEN(w, 0, EV_ACCEPT);
    assert_int_equal(more->result, ERR_LIMIT);
    mem_free(more);
    tell(w, p, do_accepts, 2);
    command(w, l[3], 1); /* may be told before it ends, or not */
    world_run(w);
    size_t at_end = l[3]->n;
    tell(w, p, do_accepts, 5);
    world_run(w);
    assert_int_equal(l[3]->n, at_end);
    assert_int_equal(l[4]->n, 7);
    more = LISTEN(w, 0, EV_ACCEPT);
    assert_int_equal(more->result, ERR_OK);
    tell(w, p, do_accepts, 1);
    world_run(w);
    assert_int_equal(more->n, 1);
    world_free(w); /* with messages that wait, too */
    for (unsigned i = 0; i < RT_FOLLOW_ACTORS; i++) mem_free(l[i]);
    mem_free(more);
    mem_free(p);
}

static void count_wake(void *arg) { ++*(unsigned *)arg; }

static void a_tool_reads_what_has_happened_in_order_and_what_it_missed(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    rt_event_set set = {{0}};
    rt_follow *f, *others[RT_FOLLOW_STREAMS];
    rt_seen x;
    unsigned wakes = 0;
    rt_event_set_add(&set, EV_ACCEPT);
    rt_event_set_add(&set, EV_CTL);
    assert_int_equal(rt_follow_events(w->n, &set, &f), ERR_OK);
    rt_follow_wake(f, count_wake, &wakes);
    assert_false(rt_follow_next(f, &x));
    tell(w, p, do_accepts, RT_FOLLOW_RING + 10);
    world_run(w);
    assert_int_equal(wakes, 1);
    for (unsigned i = 0; i < RT_FOLLOW_RING; i++) {
        assert_true(rt_follow_next(f, &x));
        assert_int_equal(x.arg[0], i);
        assert_int_equal(x.lost, 0);
        assert_true(rt_pid_eq(x.actor, p->pid));
        assert_string_equal(x.cls, "puppet_class");
    }
    char longer[RT_SEEN_TEXT + 30];
    memset(longer, 'x', sizeof longer);
    rt_event_ext(w->n, EV_CTL, 1, 0, slice_of(longer, sizeof longer));
    assert_true(rt_follow_next(f, &x));
    assert_int_equal(x.lost, 10);
    assert_int_equal(x.text_len, RT_SEEN_TEXT);
    assert_int_equal(x.shard, 1);
    assert_false(rt_follow_next(f, &x));
    assert_int_equal(rt_follow_lost(f), 0);
    tell(w, p, do_accepts, RT_FOLLOW_RING + 3);
    world_run(w);
    assert_int_equal(wakes, 2);
    while (rt_follow_next(f, &x)) assert_int_equal(x.lost, 0);
    assert_int_equal(rt_follow_lost(f), 3); /* and nothing came since */
    assert_int_equal(rt_follow_lost(f), 0);
    for (unsigned i = 1; i < RT_FOLLOW_STREAMS; i++) assert_int_equal(rt_follow_events(w->n, &set, &others[i]), ERR_OK);
    assert_int_equal(rt_follow_events(w->n, &set, &others[0]), ERR_LIMIT);
    rt_follow_close(f);
    assert_int_equal(rt_follow_events(w->n, &set, &f), ERR_OK);
    rt_follow_close(NULL);
    world_free(w); /* closes those that are left */
    mem_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_warns_reaches_log_and_subscriber),
        cmocka_unit_test(an_event_is_told_with_its_place_and_arguments),
        cmocka_unit_test(what_waits_is_bounded_and_what_is_lost_is_counted),
        cmocka_unit_test(nobody_is_told_of_what_telling_causes),
        cmocka_unit_test(a_subscription_ends_with_its_actor),
        cmocka_unit_test(a_tool_reads_what_has_happened_in_order_and_what_it_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
