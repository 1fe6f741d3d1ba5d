/* Each look of the runtime, with the fault that it is meant to show: a hot mailbox, a full ring, a stuck handler behind a million messages,
 * a lock convoy, a table whose hash does not spread, a thread that is too busy. */
#include "base/lock.h"
#include "rt/contend.h"
#include "rt/ctl.h"
#include "rt/maps.h"
#include "rt/msacc.h"
#include "rt/rate.h"
#include "rt_world.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE (10 * USEC_PER_SEC) /* for what comes at once */

/* --- asking, as the ctl socket does */
typedef struct answer {
    buf b;
    char *text;
} answer;
static const char *ask_(answer *a, rt_node *n, const char *const *words) {
    buf q;
    buf_init(&q, 4096);
    for (size_t i = 0; words[i]; i++) {
        buf_add_lslice(&q, slice_str(words[i]));
        if (i == 1) buf_add_lslice(&q, SLICE(""));
    }
    buf_init(&a->b, 1 << 20);
    rt_ctl_run(n, 0, buf_slice(&q), &a->b);
    buf_fini(&q);
    a->text = slice_dup_str(buf_slice(&a->b));
    buf_fini(&a->b);
    return a->text;
}
#define ask(a, n, ...) ask_(a, n, (const char *const[]){__VA_ARGS__, NULL})
static void done(answer *a) { mem_free(a->text); }
static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("%s does not contain %s", text, part);
}
/* The number behind the first "key": after the first occurrence of from. */
static double number_after(const char *text, const char *from, const char *key) {
    char k[64];
    (void)snprintf(k, sizeof k, "\"%s\":", key);
    const char *at = strstr(text, from);
    at = at ? strstr(at, k) : NULL;
    if (!at) fail_msg("no %s after %s in %s", key, from, text);
    return strtod(at + strlen(k), NULL);
}
#define refused(n, what, ...)                                                                                                              \
    do {                                                                                                                                   \
        answer r_;                                                                                                                         \
        assert_has(ask(&r_, n, __VA_ARGS__), what);                                                                                        \
        done(&r_);                                                                                                                         \
    } while (0)

/* --- a world with the verbs, and backlogs in it */
static world *looked_at(unsigned shards) {
    world *w = world_new(shards, 1);
    rt_node_add_verbs(w->n, rt_verbs, rt_verbs_count);
    return w;
}
typedef struct backlog {
    rt_pid to;
    uint64_t n;
    uint32_t deadline;
} backlog;
static void send_all(rt_ctx *cx, void *arg) {
    const backlog *b = arg;
    for (uint64_t i = 0; i < b->n; i++) {
        rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
        m->deadline = b->deadline;
        rt_send(cx, b->to, &m);
    }
}
static void pile(world *w, unsigned from, rt_pid to, uint64_t n) { rt_node_boot(w->n, from, send_all, &(backlog){to, n, 0}); }

static void rates_are_of_the_last_1_10_and_100_seconds(void **state) {
    (void)state;
    world *w = looked_at(2);
    puppet *p = puppet_new(w, 1, &puppet_class);
    rt_rate m, s;
    rt_rate_read(w->n, RT_RATE_NODE, 0, &m, &s);
    assert_int_equal(m.over, 0); /* nobody samples */
    rt_rate_init(w->n);
    rt_rate_read(w->n, RT_RATE_NODE, 0, &m, &s);
    assert_int_equal(m.over, 0);                    /* one sample says nothing yet */
    for (int second = 1; second <= 130; second++) { /* past the end of the ring */
        if (second == 121) pile(w, 1, p->pid, 500);
        if (second == 125) (void)world_run(w);
        w->now += USEC_PER_SEC;
        rt_rate_sample(w->n);
        if (second == 121) {
            rt_rate_read(w->n, 1, 0, &m, &s);
            assert_true(m.in == 500 && m.out == 0 && m.over == USEC_PER_SEC);
            answer a; /* as it is shown while it grows */
            assert_has(ask(&a, w->n, "queues", "show"),
                       "\"in_1s\":500,\"out_1s\":0,\"in_10s\":50,\"out_10s\":0,\"in_100s\":5,\"out_100s\":0");
            assert_has(a.text, "\"shards\":[{\"shard\":0,\"queued\":0");
            done(&a);
        }
    }
    rt_rate_read(w->n, 1, 0, &m, &s);
    assert_true(m.in == 0 && m.out == 0);
    rt_rate_read(w->n, 1, 1, &m, &s);
    assert_true(m.in == 50 && m.out == 50 && m.over == 10 * USEC_PER_SEC);
    rt_rate_read(w->n, RT_RATE_NODE, 2, &m, &s);
    assert_true(m.in == 5 && m.out == 5 && m.over == 100 * USEC_PER_SEC);
    rt_rate_read(w->n, 0, 2, &m, &s);
    assert_true(m.in == 0 && m.over == 100 * USEC_PER_SEC);
    w->now += 9 * USEC_PER_SEC; /* the sampler was held up */
    pile(w, 1, p->pid, 100);
    w->now += USEC_PER_SEC;
    rt_rate_sample(w->n);
    rt_rate_read(w->n, 1, 0, &m, &s);
    assert_true(m.in == 10 && m.over == 10 * USEC_PER_SEC);
    rt_rate_fini(w->n);
    world_free(w);
    mem_free(p);
}

static void signals_have_rates_of_their_own(void **state) {
    (void)state;
    world *w = looked_at(2);
    puppet *p = puppet_new(w, 0, &puppet_class), *q = puppet_new(w, 1, &puppet_class);
    rt_rate m, s;
    rt_rate_init(w->n);
    for (int i = 0; i < 20; i++) tell(w, p, do_monitor, ARG(q));
    (void)world_run(w);
    w->now += USEC_PER_SEC;
    rt_rate_sample(w->n);
    rt_rate_read(w->n, 0, 0, &m, &s);
    assert_true(s.in == 20 && s.out == 0); /* sent there */
    rt_rate_read(w->n, 1, 0, &m, &s);
    assert_true(s.in == 0 && s.out == 20); /* acts there */
    rt_rate_fini(w->n);
    world_free(w);
    mem_free(p);
    mem_free(q);
}

#define CROWD 5000 /* more than a part of a scan */
static void the_longest_mailboxes_are_found_among_many(void **state) {
    (void)state;
    world *w = looked_at(2);
    puppet *p = mem_zalloc(sizeof *p);
    rt_pid first = RT_PID_NONE, last = RT_PID_NONE;
    char want[128], text[RT_PID_TEXT];
    answer a;
    for (int i = 0; i < CROWD; i++) {
        last = world_spawn(w, 0, &puppet_class, &p);
        if (i == 0) first = last;
    }
    rt_pid there = world_spawn(w, 1, &puppet_class, &p);
    pile(w, 0, first, 7);
    pile(w, 0, last, 900);
    pile(w, 1, there, 30);
    ask(&a, w->n, "queues", "longest");
    assert_true(number_after(a.text, "[", "queued") == 900);
    rt_pid_format(last, text);
    (void)snprintf(want, sizeof want, "[{\"pid\":\"%s\",\"class\":\"puppet_class\",\"queued\":900,\"longest\":900", text);
    assert_has(a.text, want);
    rt_pid_format(there, text);
    assert_has(a.text, text);
    rt_pid_format(first, text);
    assert_has(a.text, text);
    done(&a);
    ask(&a, w->n, "queues", "longest", "2");
    assert_null(strstr(a.text, text)); /* the third */
    done(&a);
    refused(w->n, "'0' is not a number from 1 to 100", "queues", "longest", "0");
    refused(w->n, "'101' is not a number from 1 to 100", "queues", "longest", "101");
    (void)world_run(w);
    refused(w->n, "\"result\":[]", "queues", "longest"); /* empty ones are not shown */
    world_free(w);
    mem_free(p);
}

static void actors_are_listed_by_queue_memory_and_relations(void **state) {
    (void)state;
    world *w = looked_at(2);
    puppet *quiet = puppet_new(w, 0, &puppet_class), *full = puppet_new(w, 1, &puppet_class), *leak = puppet_new(w, 0, &puppet_class);
    char first[96], text[RT_PID_TEXT];
    answer a;
    for (int i = 0; i < 50; i++) tell(w, leak, do_monitor, ARG(quiet)); /* 50 ends here, 50 there */
    for (int i = 0; i < 30; i++) tell(w, leak, do_monitor, ARG(full));
    (void)world_run(w);
    pile(w, 1, full->pid, 7);
    rt_pid_format(full->pid, text);
    (void)snprintf(first, sizeof first, "\"result\":[{\"pid\":\"%s\"", text);
    assert_has(ask(&a, w->n, "actors", "by", "queue"), first);
    assert_true(number_after(a.text, "[", "queued") == 7);
    done(&a);
    rt_pid_format(leak->pid, text);
    (void)snprintf(first, sizeof first, "\"result\":[{\"pid\":\"%s\"", text);
    assert_has(ask(&a, w->n, "actors", "by", "relations", "2"), first);
    assert_true(number_after(a.text, "[", "relations") == 80);
    rt_pid_format(quiet->pid, text);
    assert_true(number_after(a.text, text, "relations") == 50);
    rt_pid_format(full->pid, text);
    assert_null(strstr(a.text, text)); /* the third */
    done(&a);
    assert_has(ask(&a, w->n, "actors", "by", "memory", "1"), first); /* 80 relations are more than 7 messages */
    done(&a);
    tell(w, quiet, do_stop, ERR_OK);
    (void)world_run(w);
    ask(&a, w->n, "actors", "by", "relations", "1");
    assert_true(number_after(a.text, "[", "relations") == 30); /* an end takes its relations along */
    done(&a);
    refused(w->n, "'size' is not an order: cost, queue, memory, relations", "actors", "by", "size");
    refused(w->n, "'0' is not a number from 1 to 100000", "actors", "by", "cost", "0");
    world_free(w);
    mem_free(quiet);
    mem_free(full);
    mem_free(leak);
}

/* --- events that are raised once */
static void a_long_mailbox_is_reported_once_until_it_has_halved(void **state) {
    (void)state;
    world *w = looked_at(1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    pile(w, 0, p->pid, 9999);
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_LONG_QUEUE), 0);
    pile(w, 0, p->pid, 10000);
    (void)rt_node_step(w->n, 0, false); /* handles some 4096 */
    assert_int_equal(rt_event_count(w->n, EV_LONG_QUEUE), 1);
    assert_int_equal(rt_event_count(w->n, EV_QUEUE_HALVED), 0);
    pile(w, 0, p->pid, 6000); /* over it once more, but it has not been short */
    (void)rt_node_step(w->n, 0, false);
    assert_int_equal(rt_event_count(w->n, EV_LONG_QUEUE), 1);
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_QUEUE_HALVED), 1);
    pile(w, 0, p->pid, 10000);
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_LONG_QUEUE), 2);
    assert_int_equal(rt_event_count(w->n, EV_QUEUE_HALVED), 2);
    world_free(w);
    mem_free(p);
}

static void expired_work_is_reported_when_it_begins(void **state) {
    (void)state;
    world *w = looked_at(1);
    puppet *p = puppet_new(w, 0, &puppet_class);
    w->now += 100 * USEC_PER_MSEC;
    for (int i = 0; i < 3; i++) {
        rt_node_boot(w->n, 0, send_all, &(backlog){p->pid, 10, 50}); /* due 50 ms after the start */
        (void)world_run(w);
        w->now += 9 * USEC_PER_SEC;
    }
    assert_int_equal(rt_event_count(w->n, EV_EXPIRED), 30);
    assert_int_equal(rt_event_count(w->n, EV_LATE_WORK), 1);
    w->now += 2 * USEC_PER_SEC; /* 11 s without */
    rt_node_boot(w->n, 0, send_all, &(backlog){p->pid, 10, 50});
    (void)world_run(w);
    assert_int_equal(rt_event_count(w->n, EV_LATE_WORK), 2);
    world_free(w);
    mem_free(p);
}

/* --- contention without locks */
static void a_hot_mailbox_shows_in_the_lock_table_as_a_full_ring(void **state) {
    (void)state;
    world *w = looked_at(2);
    puppet *p = puppet_new(w, 1, &puppet_class);
    answer a;
    ask(&a, w->n, "locks", "table", "ring");
    assert_has(a.text, "\"result\":[]"); /* there is none yet */
    done(&a);
    pile(w, 0, p->pid, 5000); /* more than a ring holds */
    w->now += 3000;
    (void)rt_node_step(w->n, 0, false);
    for (int i = 0; i < 3; i++) (void)world_run(w); /* a ring full each time */
    ask(&a, w->n, "locks", "instances", "ring");
    assert_has(a.text,
               "[{\"lock\":\"ring\",\"id\":\"0>1\",\"tries\":5000,\"collisions\":2952,\"collisions_percent\":59.04,\"wait_usec\":3000");
    assert_has(a.text, "\"lock_free\":true");
    done(&a);
    ask(&a, w->n, "locks", "table");
    assert_true(number_after(a.text, "\"lock\":\"wake\"", "collisions") >= 1); /* shard 1 slept and was woken */
    assert_true(number_after(a.text, "\"lock\":\"mailbox\"", "tries") == 5000);
    done(&a);
    ask(&a, w->n, "locks", "clear");
    done(&a);
    ask(&a, w->n, "locks", "table", "ring");
    assert_true(number_after(a.text, "\"lock\":\"ring\"", "tries") == 0);
    assert_true(number_after(a.text, "\"lock\":\"ring\"", "wait_usec") == 0);
    done(&a);
    refused(w->n, "\"error\":\"not_found\",\"why\":\"'rings' is not a class in the table that locks shows\"", "locks", "table", "rings");
    world_free(w);
    mem_free(p);
}

PUPPET_CLASS(small_class, 10, RT_BOUND_REFUSE);
static void a_full_mailbox_shows_in_the_lock_table(void **state) {
    (void)state;
    world *w = looked_at(1);
    puppet *p = puppet_new(w, 0, &small_class);
    answer a;
    pile(w, 0, p->pid, 25);
    ask(&a, w->n, "locks", "table", "mailbox");
    assert_true(number_after(a.text, "mailbox", "tries") == 10);
    assert_true(number_after(a.text, "mailbox", "collisions") == 15);
    done(&a);
    world_free(w);
    mem_free(p);
}

/* --- tables */
#define ALIKE 2000
typedef struct heap_of {
    hmap map;
    rt_map shown;
    hmap_node at[ALIKE];
} heap_of;
static err heap_init(rt_ctx *cx, void *st, const void *arg) {
    heap_of *h = st;
    bool same = *(const bool *)arg;
    hmap_init(&h->map);
    for (uint64_t i = 0; i < ALIKE; i++) hmap_insert(&h->map, &h->at[i], same ? 42 : hash_u64(i));
    rt_map_show(cx, &h->shown, same ? "alike" : "spread", 3, &h->map);
    return ERR_OK;
}
static void heap_fini(rt_ctx *cx, void *st, err reason) {
    heap_of *h = st;
    (void)reason;
    rt_map_hide(cx, &h->shown);
    rt_map_hide(cx, &h->shown); /* fine */
    hmap_fini(&h->map);
}
static const rt_class heap_class = {.name = "heap", .state_size = sizeof(heap_of), .init = heap_init, .fini = heap_fini};

static void a_table_whose_hash_does_not_spread_is_found_by_its_chains(void **state) {
    (void)state;
    world *w = looked_at(2);
    bool yes = true, no = false;
    rt_pid alike = world_spawn(w, 1, &heap_class, &yes);
    (void)world_spawn(w, 1, &heap_class, &no);
    answer a;
    ask(&a, w->n, "tables", "chains");
    assert_has(a.text, "{\"table\":\"rt.tables\",\"id\":1,\"shard\":\"-\",\"entries\":2,\"buckets\":8,");
    assert_has(a.text, "{\"table\":\"relations\",\"id\":0,\"shard\":\"0\",\"entries\":0");
    assert_has(a.text, "{\"table\":\"relations\",\"id\":1,\"shard\":\"1\",\"entries\":0");
    assert_has(a.text, "{\"table\":\"alike\",\"id\":3,\"shard\":\"1\",\"entries\":2000,\"buckets\":2048,\"used\":1,\"longest_chain\":2000,"
                       "\"average_chain\":2000");
    assert_true(number_after(a.text, "alike", "spread_percent") < 1);
    assert_true(number_after(a.text, "spread\"", "longest_chain") <= 10);
    assert_true(number_after(a.text, "spread\"", "spread_percent") > 90);
    done(&a);
    puppet *p = puppet_new(w, 1, &puppet_class);
    tell(w, p, do_kill, (uint64_t)(uintptr_t)((uint8_t *)&alike - offsetof(puppet, pid)));
    (void)world_run(w);
    ask(&a, w->n, "tables", "chains");
    assert_null(strstr(a.text, "alike"));
    assert_has(a.text, "\"spread\"");
    done(&a);
    world_free(w);
    mem_free(p);
}

/* --- live: a worker that is slow or stuck, a lock convoy, a busy thread */
typedef struct live {
    sys *s;
    rt_node *n;
    rt_pid slow, other;
    _Atomic bool in, out;
    uint64_t backlog;
} live;
static live *the_live(rt_ctx *cx) { return rt_node_env(rt_ctx_node(cx)); }
/* Not static: a stack names only what is exported. A note of 0 takes 20 us, any other until it is let out. */
err look_test_slow_handler(rt_ctx *cx, void *st, rt_msg **m);
err look_test_slow_handler(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    live *l = the_live(cx);
    usec end = l->s->mono(l->s) + 20;
    bool stuck = (*m)->tag == T_NOTE && t_note_of(*m)->n != 0;
    if (stuck) atomic_store(&l->in, true);
    while ((stuck || l->s->mono(l->s) < end) && !atomic_load(&l->out)) {
    }
    return ERR_OK;
}
static const rt_class slow_class = {.name = "slow", .state_size = 8, .handle = look_test_slow_handler};
static void live_boot(rt_ctx *cx, void *arg) {
    live *l = arg;
    if (rt_spawn(cx, &slow_class, NULL, 0, &l->slow, NULL) || rt_spawn(cx, &slow_class, NULL, 0, &l->other, NULL)) abort();
    send_all(cx, &(backlog){l->slow, l->backlog, 0});
}
static void no_log(void *arg, const char *line) { (void)arg, (void)line; }
static void live_start(live *l, uint64_t messages) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.stuck_limit = 0;
    cfg.stuck_report = PATIENCE;
    l->backlog = messages;
    if (sys_linux_new(&l->s) || rt_node_new(&cfg, l->s, NULL, &l->n)) abort();
    rt_node_set_env(l->n, l);
    rt_log_sink(l->n, no_log, NULL);
    rt_node_add_verbs(l->n, rt_verbs, rt_verbs_count);
    rt_node_add_msgs(l->n, t_msgs, ARRAY_LEN(t_msgs));
    rt_node_boot(l->n, 0, live_boot, l);
    if (rt_node_start(l->n)) abort();
}
static void live_end(live *l) {
    atomic_store(&l->out, true);
    rt_node_free(l->n);
    sys_linux_free(l->s);
}

static void a_probe_overtakes_a_million_messages(void **state) {
    (void)state;
    live l = {.in = false};
    char pid[RT_PID_TEXT];
    answer a;
    live_start(&l, 1000000); /* 20 s of work */
    rt_pid_format(l.slow, pid);
    usec from = l.s->mono(l.s);
    ask(&a, l.n, "probe", "actor", pid, "10000");
    usec took = l.s->mono(l.s) - from;
    assert_has(a.text, "\"answered\":true");
    assert_true(number_after(a.text, "answered", "queued") > 400000); /* that many wait behind it */
    assert_true(number_after(a.text, "answered", "took_usec") <= (double)took);
    assert_true(took < PATIENCE);
    done(&a);
    ask(&a, l.n, "queues", "actor", pid, "1");
    assert_has(a.text, "\"class\":\"slow\"");
    assert_true(number_after(a.text, "slow", "in") <= 1);
    assert_true(number_after(a.text, "slow", "out") > 100);
    done(&a);
    live_end(&l);
}

static void a_probe_of_a_stuck_actor_says_where_it_is(void **state) {
    (void)state;
    live l = {.in = false};
    char pid[RT_PID_TEXT], other[RT_PID_TEXT];
    answer a;
    live_start(&l, 0);
    rt_pid_format(l.slow, pid);
    rt_pid_format(l.other, other);
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    t_note_of(m)->n = 1;
    rt_post(l.n, l.slow, &m);
    while (!atomic_load(&l.in)) (void)sched_yield();
    ask(&a, l.n, "probe", "actor", pid, "30");
    assert_has(a.text, "\"answered\":false");
    assert_has(a.text, "\"why\":\"it is in a handler\",\"shard\":0,\"running\":\"");
    assert_has(a.text, "\"class\":\"slow\",\"message\":\"t_note\",\"stack\":\"");
    assert_has(a.text, "look_test_slow_handler+0x");
    assert_true(number_after(a.text, "answered", "took_usec") >= 30000);
    done(&a);
    ask(&a, l.n, "probe", "actor", other, "30");
    assert_has(a.text, "\"why\":\"its shard is busy with another actor\"");
    assert_has(a.text, pid); /* that one */
    done(&a);
    atomic_store(&l.out, true);
    ask(&a, l.n, "probe", "actor", pid, "10000");
    assert_has(a.text, "\"answered\":true");
    done(&a);
    refused(l.n, "\"error\":\"noproc\",\"why\":\"'<0.0.77.1>' is not alive\"", "probe", "actor", "<0.0.77.1>");
    refused(l.n, "'nobody' is neither a pid nor the name of an actor", "probe", "actor", "nobody");
    refused(l.n, "'60001' is not a number from 1 to 60000", "probe", "actor", pid, "60001");
    refused(l.n, "'x' is not a number from 1 to 60000", "probe", "actor", pid, "x");
    refused(l.n, "'11' is not a number from 1 to 10", "queues", "actor", pid, "11");
    refused(l.n, "'<0.0.77.1>' is not alive", "queues", "actor", "<0.0.77.1>");
    live_end(&l);
}

static void the_watchdog_samples_the_rates_every_second(void **state) {
    (void)state;
    live l = {.in = false};
    rt_rate m = {.over = 0}, s;
    live_start(&l, 100000); /* it goes on for 2 s */
    for (usec end = l.s->mono(l.s) + PATIENCE; m.over == 0 && l.s->mono(l.s) < end;) {
        (void)sched_yield();
        rt_rate_read(l.n, 0, 0, &m, &s);
    }
    assert_true(m.over > 900000 && m.over < PATIENCE);
    assert_true(m.out > 100);
    live_end(&l);
}

typedef struct convoy {
    lock l;
    _Atomic bool waits;
} convoy;
static void *waits_for_it(void *arg) {
    convoy *v = arg;
    atomic_store(&v->waits, true);
    lock_take(&v->l);
    lock_release(&v->l);
    return NULL;
}
static void a_lock_convoy_is_found_by_class_instance_and_place(void **state) {
    (void)state;
    live l = {.in = false};
    convoy v = {.waits = false};
    pthread_t t;
    answer a;
    live_start(&l, 0);
    lock_init(&v.l, rt_node_locks(l.n), "convoy", 7, LOCK_RANK_TEST);
    ask(&a, l.n, "locks", "on");
    done(&a);
    lock_take(&v.l);
    assert_int_equal(pthread_create(&t, NULL, waits_for_it, &v), 0);
    while (!atomic_load(&v.waits)) (void)sched_yield();
    for (usec end = l.s->mono(l.s) + 50000; l.s->mono(l.s) < end;) (void)sched_yield(); /* that is how long it has to wait */
    lock_release(&v.l);
    assert_int_equal(pthread_join(t, NULL), 0);
    ask(&a, l.n, "locks", "table");
    assert_has(a.text,
               "[{\"lock\":\"convoy\",\"id\":1,\"tries\":2,\"collisions\":1,\"collisions_percent\":50,"); /* the worst of all is first */
    assert_true(number_after(a.text, "convoy", "wait_usec") > 20000);
    double percent = number_after(a.text, "convoy", "duration_percent");
    assert_true(percent > 1 && percent <= 100);
    done(&a);
    ask(&a, l.n, "locks", "instances", "convoy");
    assert_has(a.text, "[{\"lock\":\"convoy\",\"id\":\"7\",\"tries\":2,");
    done(&a);
    ask(&a, l.n, "locks", "locations", "convoy");
    assert_has(a.text, "[{\"lock\":\"convoy\",\"id\":1,\"location\":\"test/rt/look_test.c:");
    assert_true(number_after(a.text, "location", "tries") == 1 && number_after(a.text, "location", "collisions") == 1);
    assert_has(a.text, "us 1\"},{"); /* its one wait in the histogram; then the place that did not wait */
    assert_has(a.text, "\"collisions\":0,\"collisions_percent\":0,\"wait_usec\":0,\"duration_percent\":0,\"waits\":\"\"}");
    done(&a);
    ask(&a, l.n, "locks", "off");
    done(&a);
    ask(&a, l.n, "locks", "clear");
    done(&a);
    lock_take(&v.l);
    lock_release(&v.l);
    ask(&a, l.n, "locks", "instances", "convoy");
    assert_true(number_after(a.text, "convoy", "tries") == 0);
    done(&a);
    lock_fini(&v.l);
    live_end(&l);
}

/* The percentages of a line of msacc print; their number. */
static unsigned percentages(const char *at, const char *end, double *sum, double *first) {
    unsigned n = 0;
    *sum = 0;
    for (const char *p = at; p && p < end && (p = strchr(p, '%')) && p < end; p++) {
        const char *b = p;
        while (b > at && (b[-1] == '.' || (b[-1] >= '0' && b[-1] <= '9'))) b--;
        double x = strtod(b, NULL);
        if (n++ == 0) *first = x;
        *sum += x;
    }
    return n;
}
static void line_of(const char *text, const char *name, double *sum, double *emulator) {
    const char *at = strstr(text, name);
    if (!at) fail_msg("no %s in %s", name, text);
    assert_int_equal(percentages(at, strchr(at + 1, '"'), sum, emulator), RT_MSACC_STATES);
}

/* What the shards do while a moment passes, as its print has it. A machine that is busy with something else may take the thread off its
 * core in any state, which then lasts; so it is looked until a moment is as it should be, which a print that is wrong never shows. */
static void moment(live *l, answer *a, double *emulator, const char *threads) {
    double sum;
    rt_msacc_reset(l->n);
    for (usec end = l->s->mono(l->s) + 50000; l->s->mono(l->s) < end;) (void)sched_yield();
    if (threads)
        ask(a, l->n, "msacc", "print", threads);
    else
        ask(a, l->n, "msacc", "print");
    line_of(a->text, "\"           shard ", &sum, emulator);
    assert_true(sum > 99.9 && sum < 100.1);
}

static void a_busy_shard_and_an_idle_one_are_told_apart_by_msacc_print(void **state) {
    (void)state;
    live l = {.in = false};
    answer a;
    double sum, emulator = 0;
    live_start(&l, 1000000);
    for (moment(&l, &a, &emulator, "threads"); emulator <= 80; moment(&l, &a, &emulator, "threads")) done(&a);
    static const char *const parts[] = {
        "\"Average thread real-time    : ",
        "\"Accumulated system run-time : ",
        "\"Average scheduler run-time  : ",
        "\"          Thread  emulator      port      send     flush    timers  check_io busy_wait     sleep       aux     other\"",
        "\"Stats per thread:\"",
        "\"Stats per type:\"",
        "pool disk( 1)",
        "\"       pool disk "};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) assert_has(a.text, parts[i]);
    line_of(a.text, "shard( 0)", &sum, &emulator);
    assert_true(sum > 99.9 && sum < 100.1 && emulator > 80); /* there is only one */
    done(&a);
    atomic_store(&l.out, true); /* now each message takes no time, and then there is none */
    for (rt_queue_stat m = {.queued = 1}, s; m.queued > 0; rt_stat_queues(l.n, &m, &s)) (void)sched_yield();
    for (moment(&l, &a, &emulator, NULL); emulator >= 20; moment(&l, &a, &emulator, NULL)) done(&a);
    assert_null(strstr(a.text, "Stats per thread"));
    done(&a);
    refused(l.n, "'thread' is not \\\"threads\\\", which is what can follow msacc print", "msacc", "print", "thread");
    live_end(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_of_the_last_1_10_and_100_seconds),
        cmocka_unit_test(signals_have_rates_of_their_own),
        cmocka_unit_test(actors_are_listed_by_queue_memory_and_relations),
        cmocka_unit_test(the_longest_mailboxes_are_found_among_many),
        cmocka_unit_test(a_long_mailbox_is_reported_once_until_it_has_halved),
        cmocka_unit_test(expired_work_is_reported_when_it_begins),
        cmocka_unit_test(a_hot_mailbox_shows_in_the_lock_table_as_a_full_ring),
        cmocka_unit_test(a_full_mailbox_shows_in_the_lock_table),
        cmocka_unit_test(a_table_whose_hash_does_not_spread_is_found_by_its_chains),
        cmocka_unit_test(a_probe_overtakes_a_million_messages),
        cmocka_unit_test(a_probe_of_a_stuck_actor_says_where_it_is),
        cmocka_unit_test(the_watchdog_samples_the_rates_every_second),
        cmocka_unit_test(a_lock_convoy_is_found_by_class_instance_and_place),
        cmocka_unit_test(a_busy_shard_and_an_idle_one_are_told_apart_by_msacc_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
