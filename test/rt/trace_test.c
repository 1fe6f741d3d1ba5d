/* A request that is watched keeps its number from actor to actor, over shards, pool and spawn; what is not watched has none; a watcher that
 * goes takes its ids along. */
#include "rt/follow.h"
#include "rt/trace.h"
#include "rt_world.h"

#define STEPS_MAX 256

typedef struct steps {
    rt_seen at[STEPS_MAX];
    size_t n;
} steps;

static steps take(rt_follow *f) {
    steps s = {.n = 0};
    while (s.n < STEPS_MAX && rt_follow_next(f, &s.at[s.n])) s.n++;
    return s;
}
static unsigned count(const steps *s, rt_event_id id, uint32_t number) {
    unsigned k = 0;
    for (size_t i = 0; i < s->n; i++) k += s->at[i].id == id && s->at[i].trace == number;
    return k;
}
static rt_follow *watch_subject(world *w, const char *subject) {
    rt_trace_filter f = {.subject = slice_str(subject)};
    rt_follow *out = NULL;
    assert_int_equal(rt_follow_trace(w->n, &f, &out), ERR_OK);
    return out;
}
static rt_follow *watch_actor(world *w, rt_pid pid) {
    rt_trace_filter f = {.actor = pid};
    rt_follow *out = NULL;
    assert_int_equal(rt_follow_trace(w->n, &f, &out), ERR_OK);
    return out;
}

/* What the edge does with a stanza: arg names the puppet that it goes to. */
static void do_request(rt_ctx *cx, puppet *p, uint64_t to) {
    (void)p;
    (void)rt_trace_swap(cx, 0);
    rt_trace_begin(cx, rt_trace_subject(cx, SLICE("romeo@x")) | rt_trace_self(cx));
    if (rt_trace(cx)) rt_event_text(cx, EV_TRACE_IN, 10, 1, SLICE("message"));
    note(cx, *pid_of(to), 1);
    (void)rt_trace_swap(cx, 0);
    note(cx, *pid_of(to), 2); /* nobody's */
}
static puppet *next_of;
static void pass_on(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p;
    if (next_of) note(cx, next_of->pid, n + 10);
}

static void a_request_keeps_its_number_over_actors_and_shards(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class), *c = puppet_new(w, 0, &puppet_class);
    next_of = c;
    b->on_note = pass_on;
    rt_follow *other = watch_subject(w, "tybalt@x"), *f = watch_subject(w, "romeo@x");
    w->tick = 1;
    tell(w, a, do_request, ARG(b));
    world_run(w);
    steps s = take(f);
    assert_int_equal(b->n, 2); /* both notes came, one is traced */
    assert_int_equal(c->n, 2);
    assert_int_equal(count(&s, EV_TRACE_IN, 1), 1);
    assert_int_equal(count(&s, EV_TRACE_SEND, 1), 2);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 1), 2);
    assert_int_equal(s.n, 5);
    for (size_t i = 0; i < s.n; i++) {
        const rt_seen *x = &s.at[i];
        if (i > 0) assert_true(x->mono >= s.at[i - 1].mono);
        if (x->id != EV_TRACE_HANDLE) continue;
        bool at_b = rt_pid_eq(x->actor, b->pid);
        assert_true(at_b || rt_pid_eq(x->actor, c->pid));
        assert_int_equal(x->shard, at_b ? 1 : 0);
        assert_int_equal(x->arg[0] & 0xffff, T_NOTE);
        assert_int_equal(x->arg[0] >> 32, x->actor.gen);
        assert_true(x->arg[2] > 0 && x->arg[2] < 100000); /* it waited for some ticks */
    }
    assert_int_equal(take(other).n, 0);
    tell(w, a, do_request, ARG(b));
    world_run(w);
    s = take(f);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 2), 2); /* another number */
    rt_follow_close(f);
    tell(w, a, do_request, ARG(b));
    world_run(w);
    assert_int_equal(take(other).n, 0);
    assert_int_equal(rt_event_count(w->n, EV_TRACE_HANDLE), 4);
    rt_follow_close(other);
    world_free(w);
    mem_free(a), mem_free(b), mem_free(c);
}

static void an_actor_is_watched_by_its_pid(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
    next_of = NULL;
    rt_follow *f = watch_actor(w, b->pid);
    tell(w, a, do_request, ARG(b)); /* two notes: two requests, which begin where they are handled */
    world_run(w);
    steps s = take(f);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 1), 1);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 2), 1);
    assert_int_equal(s.n, 2);
    assert_true(s.at[0].arg[2] == UINT64_MAX); /* how long it waited was not noted: it had no id then */
    rt_follow_close(f);
    tell(w, a, do_request, ARG(b));
    world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_TRACE_HANDLE), 2);
    world_free(w);
    mem_free(a), mem_free(b);
}

static void do_name(rt_ctx *cx, puppet *p, uint64_t a) {
    (void)p, (void)a;
    assert_int_equal(rt_name_register(cx, "keeper"), ERR_OK);
}

static void a_name_is_watched_in_its_next_life_too(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class), *c = puppet_new(w, 0, &puppet_class);
    next_of = NULL;
    tell(w, b, do_name, 0);
    world_run(w);
    rt_trace_filter filter = {.actor = b->pid, .name = SLICE("keeper")};
    rt_follow *f;
    assert_int_equal(rt_follow_trace(w->n, &filter, &f), ERR_OK);
    tell(w, b, do_stop, ERR_SHUTDOWN);
    world_run(w);
    tell(w, c, do_name, 0);
    world_run(w);
    (void)take(f);
    tell(w, a, do_request, ARG(c));
    world_run(w);
    steps s = take(f);
    unsigned handled = 0;
    for (size_t i = 0; i < s.n; i++) handled += s.at[i].id == EV_TRACE_HANDLE && rt_pid_eq(s.at[i].actor, c->pid);
    assert_int_equal(handled, 2);
    world_free(w); /* with the follower open */
    mem_free(a), mem_free(b), mem_free(c);
}

static void two_who_watch_the_same_see_the_same_request(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
    next_of = NULL;
    rt_follow *by_subject = watch_subject(w, "romeo@x"), *by_actor = watch_actor(w, b->pid);
    tell(w, a, do_request, ARG(b));
    world_run(w);
    steps s = take(by_subject), t = take(by_actor);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 1), 1);
    assert_int_equal(count(&t, EV_TRACE_HANDLE, 1), 1); /* it had a number and keeps it */
    assert_int_equal(count(&t, EV_TRACE_HANDLE, 2), 1); /* the other note */
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 2), 0);
    rt_follow *more[RT_FOLLOW_TRACES], *none = NULL;
    for (unsigned i = 2; i < RT_FOLLOW_TRACES; i++) more[i] = watch_subject(w, "x");
    rt_trace_filter filter = {.subject = SLICE("x")};
    assert_int_equal(rt_follow_trace(w->n, &filter, &none), ERR_LIMIT);
    rt_follow_close(by_subject);
    assert_int_equal(rt_follow_trace(w->n, &filter, &none), ERR_OK);
    (void)more;
    world_free(w);
    mem_free(a), mem_free(b);
}

static void a_request_under_way_is_not_shown_to_who_comes_later(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
    world_run(w);
    next_of = NULL;
    rt_follow *f = watch_subject(w, "romeo@x");
    tell(w, a, do_request, ARG(b));
    (void)rt_node_step(w->n, 0, false); /* the notes are on their way to b's shard */
    steps s = take(f);
    assert_int_equal(count(&s, EV_TRACE_SEND, 1), 1);
    rt_follow_close(f);
    f = watch_subject(w, "romeo@x"); /* in the same slot */
    world_run(w);
    assert_int_equal(take(f).n, 0);
    tell(w, a, do_request, ARG(b));
    world_run(w);
    s = take(f);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 2), 1);
    world_free(w);
    mem_free(a), mem_free(b);
}

typedef struct job {
    rt_job job;
    unsigned runs;
} job;
static void job_run(rt_job *j) { container_of(j, job, job)->runs++; }
static void submit(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p, (void)n;
    job *j = mem_zalloc(sizeof *j);
    j->job = (rt_job){.box = {rt_pool_job_free}, .run = job_run, .deadline = USEC_NEVER};
    rt_job *q = &j->job;
    rt_pool_submit(cx, RT_POOL_USER, &q);
}

static void a_job_is_a_step_of_the_request(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class);
    b->on_note = submit;
    rt_follow *f = watch_subject(w, "romeo@x");
    tell(w, a, do_request, ARG(b));
    world_run(w);
    b->on_note = NULL;
    w->now += 1000;
    while (rt_pool_run_one(w->n, RT_POOL_USER)) {
    }
    world_run(w);
    steps s = take(f);
    assert_int_equal(count_tag(b, RT_JOB_DONE), 2);
    assert_int_equal(count(&s, EV_TRACE_SUBMIT, 1), 1);
    assert_int_equal(count(&s, EV_TRACE_JOB, 1), 1);
    assert_int_equal(count(&s, EV_TRACE_JOB_DONE, 1), 1);
    assert_int_equal(count(&s, EV_TRACE_HANDLE, 1), 2); /* the note, the RT_JOB_DONE */
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i].id != EV_TRACE_JOB) continue;
        assert_int_equal(s.at[i].shard, 1); /* no shard's */
        assert_true(s.at[i].arg[1] >= 1000);
    }
    world_free(w);
    mem_free(a), mem_free(b);
}

static puppet child;
static void do_spawn(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p, (void)n;
    puppet *c = &child;
    rt_pid pid;
    assert_int_equal(rt_spawn(cx, &puppet_class, &c, 0, &pid, NULL), ERR_OK);
}
static void in_init(rt_ctx *cx, puppet *p, uint64_t n) {
    (void)p, (void)n;
    note(cx, next_of->pid, 7);
}

static void what_is_spawned_for_a_request_belongs_to_it(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 0, &puppet_class), *c = puppet_new(w, 0, &puppet_class);
    child = (puppet){.on_init = in_init};
    next_of = c;
    b->on_note = do_spawn;
    rt_follow *f = watch_subject(w, "romeo@x");
    tell(w, a, do_request, ARG(b));
    world_run(w);
    steps s = take(f);
    unsigned spawned = count(&s, EV_SPAWN, 1), at_c = 0;
    for (size_t i = 0; i < s.n; i++) at_c += s.at[i].id == EV_TRACE_HANDLE && rt_pid_eq(s.at[i].actor, c->pid);
    assert_int_equal(spawned, 1); /* an event like others, with its id */
    assert_int_equal(at_c, 1);
    world_free(w);
    mem_free(a), mem_free(b), mem_free(c);
}

static void ids_follow_from_what_happens(void **state) {
    (void)state;
    uint64_t sum[2] = {0, 0};
    for (unsigned run = 0; run < 2; run++) {
        world *w = world_new(2, 5);
        puppet *a = puppet_new(w, 0, &puppet_class), *b = puppet_new(w, 1, &puppet_class);
        next_of = NULL;
        rt_follow *f = watch_subject(w, "romeo@x");
        for (unsigned i = 0; i < 5; i++) tell(w, a, do_request, ARG(b));
        world_run(w);
        steps s = take(f);
        for (size_t i = 0; i < s.n; i++) sum[run] = sum[run] * 31 + s.at[i].trace * 100 + (uint64_t)s.at[i].id;
        world_free(w);
        mem_free(a), mem_free(b);
    }
    assert_true(sum[0] == sum[1] && sum[0] != 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_keeps_its_number_over_actors_and_shards),
        cmocka_unit_test(an_actor_is_watched_by_its_pid),
        cmocka_unit_test(a_name_is_watched_in_its_next_life_too),
        cmocka_unit_test(two_who_watch_the_same_see_the_same_request),
        cmocka_unit_test(a_request_under_way_is_not_shown_to_who_comes_later),
        cmocka_unit_test(a_job_is_a_step_of_the_request),
        cmocka_unit_test(what_is_spawned_for_a_request_belongs_to_it),
        cmocka_unit_test(ids_follow_from_what_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
