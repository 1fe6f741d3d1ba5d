/* metrics: the text where actors do not answer, and how often they are asked; escaping; the door's answer to a text that is too long. What
 * a whole node says over HTTP is in test/inside/test_metrics.py. */
#include "base/mem.h"
#include "main/metrics.h"
#include "main/openmetrics.h"
#include "rt/event.h"
#include "store/store.h"
#include "support/cmocka_unit.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE (30 * USEC_PER_SEC)

/* --- a log that answers as a test says */
typedef struct stand_in {
    _Atomic bool hold; /* its handler, and so its shard, does not come back */
    _Atomic unsigned asked;
} stand_in;

static err log_init(rt_ctx *cx, void *st, const void *arg) {
    memcpy(st, arg, sizeof(stand_in *));
    return rt_name_register(cx, STORE_LOG_NAME);
}

static err log_handle(rt_ctx *cx, void *st, rt_msg **m) {
    stand_in *s = *(stand_in **)st;
    atomic_fetch_add(&s->asked, 1);
    while (atomic_load(&s->hold)) (void)sched_yield();
    rt_msg *r = rt_msg_new(cx, STORE_STATUS, sizeof(store_status));
    *store_status_of(r) =
        (store_status){.live = 11, .live_bytes = 222, .total_bytes = 3333, .segments = 4, .damaged = 5, .full = true, .waiting = 66};
    rt_send(cx, (*m)->sender, &r);
    return ERR_OK;
}
static const rt_class log_class = {.name = "log", .state_size = sizeof(stand_in *), .init = log_init, .handle = log_handle};

static void spawn_log(rt_ctx *cx, void *arg) {
    rt_pid pid;
    assert_int_equal(rt_spawn(cx, &log_class, arg, 0, &pid, NULL), ERR_OK);
}

typedef struct fixture {
    sys *s;
    rt_node *n;
    svc_cfg svc;
    main_env env;
    main_metrics *m;
    stand_in log;
    buf out;
    main_scrape_stat st;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    rt_node_cfg c;
    if (!f || sys_linux_new(&f->s)) return -1;
    rt_node_cfg_default(&c);
    c.name = "a\"b\\c\nd";
    c.shards = 2;
    c.handler_budget = c.stuck_report = PATIENCE; /* what is held is no event here */
    if (rt_node_new(&c, f->s, NULL, &f->n)) return -1;
    rt_log_level(f->n, RT_ERROR);
    svc_cfg_default(&f->svc);
    f->svc.version = "1";
    f->svc.partitions = 1;
    main_env_init(&f->env, NULL, &f->svc, f->s);
    rt_node_set_env(f->n, &f->env);
    rt_node_add_msgs(f->n, store_msgs, store_msgs_count);
    rt_node_add_msgs(f->n, svc_msgs, svc_msgs_count);
    stand_in *log = &f->log;
    rt_node_boot(f->n, 1, spawn_log, &log);
    if (rt_node_start(f->n)) return -1;
    f->m = main_metrics_new(f->n);
    buf_init(&f->out, MAIN_SCRAPE_TEXT_MAX);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    atomic_store(&f->log.hold, false);
    rt_node_free(f->n);
    main_metrics_free(f->m);
    buf_fini(&f->out);
    sys_linux_free(f->s);
    free(f);
    return 0;
}

/* The text, and how long it took. */
static usec text(fixture *f) {
    usec start = f->s->mono(f->s);
    buf_reset(&f->out);
    main_metrics_text(f->m, &f->st, &f->out);
    usec took = f->s->mono(f->s) - start;
    buf_add_byte(&f->out, 0);
    assert_true(buf_ok(&f->out));
    return took;
}
static bool has(const fixture *f, const char *line) { /* a whole one */
    for (const char *at = (const char *)f->out.p; (at = strstr(at, line)); at++)
        if ((at == (const char *)f->out.p || at[-1] == '\n') && at[strlen(line)] == '\n') return true;
    return false;
}
static bool mentions(const fixture *f, const char *what) { return strstr((const char *)f->out.p, what) != NULL; }

static unsigned settle(fixture *f) { /* every question so far has been handled; returns how many there were */
    rt_msg *q = rt_msg_new_ext(STORE_STAT, sizeof(store_stat)), *r = NULL;
    assert_int_equal(rt_call(f->n, rt_name_whereis(f->n, STORE_LOG_NAME), &q, PATIENCE, &r), ERR_OK);
    rt_msg_drop(f->n, &r);
    return atomic_load(&f->log.asked) - 1;
}

static void what_the_log_says_is_shown(void **state) {
    fixture *f = *state;
    (void)text(f);
    assert_true(has(f, "murre_log_messages 11") && has(f, "murre_log_message_bytes 222") && has(f, "murre_log_size_bytes 3333"));
    assert_true(has(f, "murre_log_segments 4") && has(f, "murre_log_damaged_records 5") && has(f, "murre_log_waiting_bytes 66"));
    assert_true(has(f, "murre_log_full 1") && has(f, "murre_scrape_incomplete{part=\"log\"} 0"));
}

static void a_shard_that_is_stuck_costs_the_limit_and_its_part_is_left_out(void **state) {
    fixture *f = *state;
    atomic_store(&f->log.hold, true);
    usec took = text(f);
    assert_true(took >= MAIN_METRICS_ASK && took < PATIENCE);
    assert_true(has(f, "murre_scrape_incomplete{part=\"log\"} 1") && !mentions(f, "murre_log_messages"));
    assert_true(has(f, "murre_scrape_incomplete{part=\"tables\"} 1") && !mentions(f, "murre_table_entries"));
    /* All else is there, what the stuck shard counts too. */
    assert_true(has(f, "murre_shards 2") && has(f, "murre_actors{shard=\"1\"} 1") && has(f, "murre_node_start_total 1"));
    assert_true(mentions(f, "murre_thread_seconds_total{thread=\"shard 1\",state=\"emulator\"}"));
    assert_true(has(f, "murre_scrape_incomplete{part=\"process\"} 0") && has(f, "# EOF"));
    (void)text(f); /* soon after: it is not asked again */
    assert_true(has(f, "murre_scrape_incomplete{part=\"log\"} 1"));
    atomic_store(&f->log.hold, false);
    assert_int_equal(settle(f), 1);
}

static void an_actor_that_is_not_there_leaves_its_part_out(void **state) {
    fixture *f = *state;
    (void)text(f); /* this node has no partitions */
    assert_true(has(f, "murre_scrape_incomplete{part=\"partitions\"} 1") && !mentions(f, "murre_kept_messages"));
    assert_true(has(f, "murre_ready 0"));
}

static void however_often_it_is_scraped_an_actor_is_asked_once_a_second(void **state) {
    fixture *f = *state;
    usec start = f->s->mono(f->s);
    for (int i = 0; i < 300; i++) (void)text(f);
    assert_true(settle(f) <= 1 + (f->s->mono(f->s) - start) / USEC_PER_SEC);
    assert_true(has(f, "murre_log_messages 11"));
}

static void texts_are_escaped(void **state) {
    fixture *f = *state;
    (void)text(f);
    assert_true(has(f, "murre_build_info{version=\"1\",node=\"a\\\"b\\\\c\\\\x0ad\"} 1"));
    buf_reset(&f->out);
    main_om_family(&f->out, "a_seconds", "gauge", "seconds", "say \"x\\\n\xff\"");
    main_om_label a = {"l", "\"\\\n\xff\xc3\xa4"}, b = {"m", ""}, none = {"", ""};
    main_om_seconds(&f->out, "a_seconds", a, b, 1000001);
    main_om_seconds(&f->out, "a_seconds", none, none, -5); /* a clock that went back is no negative time */
    main_om_sample(&f->out, "n", a, none, UINT64_MAX);
    buf_add_byte(&f->out, 0);
    assert_string_equal((const char *)f->out.p, "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n"
                                                "# HELP a_seconds say \\\"x\\\\\\\\x0a\\\\xff\\\"\n"
                                                "a_seconds{l=\"\\\"\\\\\\\\x0a\\\\xff\xc3\xa4\",m=\"\"} 1.000001\n"
                                                "a_seconds 0.000000\n"
                                                "n{l=\"\\\"\\\\\\\\x0a\\\\xff\xc3\xa4\"} 18446744073709551615\n");
}

static void histograms_are_cumulative_with_canonical_bounds(void **state) {
    fixture *f = *state;
    rt_tally_sum t = {.sum = 2500001, .b = {[0] = 1, [4] = 2, [20] = 3, [RT_TALLY_BUCKETS - 1] = 4}};
    buf_reset(&f->out);
    main_om_histogram(&f->out, "a_seconds", (main_om_label){"l", "x"}, 1000000, &t);
    main_om_histogram(&f->out, "b_bytes", MAIN_OM_NO_LABEL, 1, &t);
    main_om_histogram(&f->out, "c_seconds", MAIN_OM_NO_LABEL, 1000000000, &t);
    buf_add_byte(&f->out, 0);
    assert_true(has(f, "a_seconds_bucket{l=\"x\",le=\"1e-06\"} 1") && has(f, "a_seconds_bucket{l=\"x\",le=\"8e-06\"} 1"));
    assert_true(has(f, "a_seconds_bucket{l=\"x\",le=\"1.6e-05\"} 3") && has(f, "a_seconds_bucket{l=\"x\",le=\"0.000128\"} 3"));
    assert_true(has(f, "a_seconds_bucket{l=\"x\",le=\"1.048576\"} 6") && has(f, "a_seconds_bucket{l=\"x\",le=\"1073.741824\"} 6"));
    assert_true(has(f, "a_seconds_bucket{l=\"x\",le=\"+Inf\"} 10") && has(f, "a_seconds_count{l=\"x\"} 10"));
    assert_true(has(f, "a_seconds_sum{l=\"x\"} 2.500001"));
    assert_true(has(f, "b_bytes_bucket{le=\"1.0\"} 1") && has(f, "b_bytes_bucket{le=\"524288.0\"} 3"));
    assert_true(has(f, "b_bytes_bucket{le=\"1.048576e+06\"} 6") && has(f, "b_bytes_bucket{le=\"1.073741824e+09\"} 6"));
    assert_true(has(f, "b_bytes_sum 2500001") && has(f, "c_seconds_bucket{le=\"1.024e-06\"} 3") && has(f, "c_seconds_sum 0.002500001"));
}

/* --- the door */
static void endless(void *arg, const main_scrape_stat *st, buf *out) {
    (void)arg, (void)st;
    while (buf_ok(out)) buf_add_str(out, "murre_x_total 1\n");
}

static void a_text_that_is_too_long_is_answered_with_500(void **state) {
    fixture *f = *state;
    sys_addr any = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, at;
    main_scrape *x;
    char answer[4096];
    size_t n = 0;
    assert_int_equal(main_scrape_new(f->s, &any, endless, NULL, &x), ERR_OK);
    assert_int_equal(main_scrape_start(x), ERR_OK);
    main_scrape_addr(x, &at);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    for (ssize_t got; n < sizeof answer - 1 && (got = read(fd, answer + n, sizeof answer - 1 - n)) > 0;) n += (size_t)got;
    answer[n] = 0;
    (void)close(fd);
    assert_int_equal(strncmp(answer, "HTTP/1.1 500 Internal Server Error\r\n", 36), 0);
    assert_non_null(strstr(answer, "\r\n\r\nthe text is too long\n"));
    main_scrape_stop(x);
    main_scrape_stop(x); /* once more is fine */
    main_scrape_free(x);
    main_scrape_free(NULL);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(what_the_log_says_is_shown),
        T(a_shard_that_is_stuck_costs_the_limit_and_its_part_is_left_out),
        T(an_actor_that_is_not_there_leaves_its_part_out),
        T(however_often_it_is_scraped_an_actor_is_asked_once_a_second),
        T(texts_are_escaped),
        T(histograms_are_cumulative_with_canonical_bounds),
        T(a_text_that_is_too_long_is_answered_with_500),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
