/* The watchdog, with a shard that is really stuck. */
#include "base/mem.h"
#include "rt/ctl.h"
#include "rt/event.h"
#include "rt/node.h"
#include "rt/watchdog.h"
#include "support/cmocka_unit.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT (40 * USEC_PER_MSEC)

typedef struct stuck {
    sys *s;
    _Atomic bool in, out;
    _Atomic unsigned reports;
    char line[1024]; /* written before reports grows (release), read after (acquire) */
} stuck;

/* Not static: dladdr names only what is exported. */
err watchdog_test_endless(rt_ctx *cx, void *st, rt_msg **m);
static stuck *the_stuck(rt_ctx *cx) { return rt_node_env(rt_ctx_node(cx)); }
err watchdog_test_endless(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st, (void)m;
    stuck *k = the_stuck(cx);
    atomic_store(&k->in, true);
    while (!atomic_load(&k->out)) (void)k->s->mono(k->s);
    return ERR_OK;
}
static const rt_class endless_class = {.name = "endless", .state_size = 8, .handle = watchdog_test_endless};

static void boot(rt_ctx *cx, void *arg) {
    (void)arg;
    rt_pid pid;
    rt_msg *m = rt_msg_new(cx, RT_DOWN, sizeof(rt_down));
    if (rt_spawn(cx, &endless_class, NULL, 0, &pid, NULL)) abort();
    rt_send(cx, pid, &m);
}
static void on_line(void *arg, const char *line) {
    stuck *k = arg;
    if (!strstr(line, " error stuck ")) return;
    if (atomic_load(&k->reports) == 0) (void)snprintf(k->line, sizeof k->line, "%s", line);
    atomic_fetch_add(&k->reports, 1);
}
static rt_node *start(stuck *k, usec limit) {
    rt_node_cfg cfg;
    rt_node *n;
    rt_node_cfg_default(&cfg);
    cfg.shards = 1;
    cfg.stuck_report = REPORT;
    cfg.stuck_limit = limit;
    if (rt_node_new(&cfg, k->s, NULL, &n)) abort();
    rt_node_set_env(n, k);
    rt_log_sink(n, on_line, k);
    rt_node_add_verbs(n, rt_verbs, rt_verbs_count);
    rt_node_boot(n, 0, boot, NULL);
    if (rt_node_start(n)) abort();
    while (!atomic_load(&k->in)) {
    }
    return n;
}

static void a_stuck_shard_is_reported_once_with_its_stack_and_others_still_answer(void **state) {
    (void)state;
    stuck k = {.in = false};
    assert_int_equal(sys_linux_new(&k.s), ERR_OK);
    rt_node *n = start(&k, 0);
    usec t0 = k.s->mono(k.s);
    while (atomic_load(&k.reports) == 0 && k.s->mono(k.s) - t0 < 5 * USEC_PER_SEC) {
    }
    assert_int_equal(atomic_load(&k.reports), 1);
    if (!strstr(k.line, "endless <0.0.")) fail_msg("no actor in: %s", k.line);
    if (!strstr(k.line, "rt_down: ")) fail_msg("no message in: %s", k.line);
    if (!strstr(k.line, "watchdog_test_endless+0x")) fail_msg("no stack in: %s", k.line);
    /* What needs no shard is answered meanwhile. */
    buf q, reply;
    buf_init(&q, 100);
    buf_init(&reply, 1 << 16);
    buf_add_lslice(&q, SLICE("queues"));
    buf_add_lslice(&q, SLICE("show"));
    buf_add_lslice(&q, SLICE(""));
    rt_ctl_run(n, 0, buf_slice(&q), &reply);
    assert_true(slice_starts(buf_slice(&reply), SLICE("{\"ok\":true")));
    buf_fini(&q);
    buf_fini(&reply);
    usec t1 = k.s->mono(k.s);
    while (k.s->mono(k.s) - t1 < 3 * REPORT) {
    } /* a second report would come in this time */
    assert_int_equal(rt_event_count(n, EV_STUCK), 1);
    atomic_store(&k.out, true);
    rt_node_free(n);
    sys_linux_free(k.s);
}

/* A shard runs what waits in the poller before its next round begins. */
static err waiting_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    return rt_port_add(cx, *(const int *)arg, SYS_IN);
}
static err waiting_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    (void)fd, (void)events;
    return watchdog_test_endless(cx, st, NULL);
}
static const rt_class waiting_class = {.name = "waiting", .state_size = 8, .init = waiting_init, .ready = waiting_ready};
static void boot_waiting(rt_ctx *cx, void *arg) {
    rt_pid pid;
    if (rt_spawn(cx, &waiting_class, arg, 0, &pid, NULL)) abort();
}

static void a_shard_that_is_stuck_in_what_woke_it_is_reported(void **state) {
    (void)state;
    stuck k = {.in = false};
    int pair[2];
    rt_node_cfg cfg;
    rt_node *n;
    assert_int_equal(sys_linux_new(&k.s), ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    rt_node_cfg_default(&cfg);
    cfg.stuck_report = REPORT;
    cfg.stuck_limit = 0;
    assert_int_equal(rt_node_new(&cfg, k.s, NULL, &n), ERR_OK);
    rt_node_set_env(n, &k);
    rt_log_sink(n, on_line, &k);
    rt_node_boot(n, 0, boot_waiting, &pair[0]);
    assert_int_equal(rt_node_start(n), ERR_OK);
    while (rt_watchdog_doing(n, 0).cls == NULL || !rt_watchdog_doing(n, 0).idle) {
    }
    assert_int_equal(write(pair[1], "x", 1), 1);
    while (!atomic_load(&k.in)) {
    }
    assert_false(rt_watchdog_doing(n, 0).idle);
    for (usec end = k.s->mono(k.s) + 60 * USEC_PER_SEC; atomic_load(&k.reports) == 0 && k.s->mono(k.s) < end;) {
    }
    assert_int_equal(atomic_load(&k.reports), 1);
    if (!strstr(k.line, "waiting <0.0.")) fail_msg("no actor in: %s", k.line);
    if (!strstr(k.line, "callback: ")) fail_msg("not in a callback: %s", k.line);
    /* Who asks is not kept waiting for it, until it has come back. */
    rt_pid there = {0, 1, 1};
    assert_true(rt_watchdog_stuck(n, 0));
    assert_true(rt_verb_patience(n, there, 30 * USEC_PER_SEC) < USEC_PER_SEC);
    assert_int_equal(rt_verb_patience(n, there, 1), 1);
    assert_int_equal(rt_verb_patience(n, RT_PID_NONE, 30 * USEC_PER_SEC), 30 * USEC_PER_SEC);
    char c;
    assert_int_equal(read(pair[0], &c, 1), 1); /* or it would be called again */
    atomic_store(&k.out, true);
    for (usec end = k.s->mono(k.s) + 60 * USEC_PER_SEC; rt_watchdog_stuck(n, 0) && k.s->mono(k.s) < end;) {
    }
    assert_false(rt_watchdog_stuck(n, 0));
    assert_int_equal(rt_verb_patience(n, there, 30 * USEC_PER_SEC), 30 * USEC_PER_SEC);
    rt_node_free(n);
    close(pair[1]);
    sys_linux_free(k.s);
}

static void a_shard_that_works_or_sleeps_is_not_stuck(void **state) {
    (void)state;
    stuck k = {.out = true};
    assert_int_equal(sys_linux_new(&k.s), ERR_OK);
    rt_node *n = start(&k, 2 * REPORT); /* its only message is handled at once, then it sleeps past the limit */
    usec t0 = k.s->mono(k.s);
    while (k.s->mono(k.s) - t0 < 4 * REPORT) {
    }
    assert_int_equal(rt_event_count(n, EV_STUCK), 0);
    rt_node_free(n);
    sys_linux_free(k.s);
}

/* --- a pool thread ----------------------------------------------------------------------------------------------------------------- */
typedef struct slow_job {
    rt_job j;
    stuck *k;
    bool waits;
} slow_job;
void watchdog_test_job(rt_job *j);
void watchdog_test_job(rt_job *j) {
    slow_job *x = container_of(j, slow_job, j);
    if (!x->waits) return;
    atomic_store(&x->k->in, true);
    while (!atomic_load(&x->k->out)) (void)x->k->s->mono(x->k->s);
}
static err submitter_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    for (unsigned i = 0; i < 100; i++) {
        slow_job *x = mem_zalloc(sizeof *x);
        *x = (slow_job){.j = {.box.free = rt_pool_job_free, .run = watchdog_test_job, .what = "slow", .key = 7, .deadline = USEC_NEVER},
                        .k = the_stuck(cx),
                        .waits = i == 99};
        rt_job *j = &x->j;
        rt_pool_submit(cx, RT_POOL_DISK, &j);
    }
    return ERR_OK;
}
static const rt_class submitter_class = {.name = "submitter", .init = submitter_init};
static void boot_submitter(rt_ctx *cx, void *arg) {
    (void)arg;
    rt_pid pid;
    if (rt_spawn(cx, &submitter_class, NULL, 0, &pid, NULL)) abort();
}
static void on_job_line(void *arg, const char *line) {
    stuck *k = arg;
    if (!strstr(line, " job_stuck ")) return;
    if (atomic_load(&k->reports) == 0) (void)snprintf(k->line, sizeof k->line, "%s", line);
    atomic_fetch_add(&k->reports, 1);
}

static void a_stuck_job_is_reported_once_with_its_stack_and_again_when_it_is_over(void **state) {
    (void)state;
    stuck k = {.in = false};
    rt_node_cfg cfg;
    rt_node *n;
    assert_int_equal(sys_linux_new(&k.s), ERR_OK);
    rt_node_cfg_default(&cfg);
    cfg.stuck_report = 0; /* each is watched for itself */
    cfg.job_stuck = REPORT;
    assert_int_equal(rt_node_new(&cfg, k.s, NULL, &n), ERR_OK);
    rt_node_set_env(n, &k);
    rt_log_sink(n, on_job_line, &k);
    rt_node_boot(n, 0, boot_submitter, NULL);
    assert_int_equal(rt_node_start(n), ERR_OK);
    usec t0 = k.s->mono(k.s);
    while (atomic_load(&k.reports) == 0 && k.s->mono(k.s) - t0 < 10 * USEC_PER_SEC) {
    }
    assert_int_equal(atomic_load(&k.reports), 1);
    assert_true(atomic_load(&k.in)); /* none of the 99 that were done at once */
    if (!strstr(k.line, "disk slow, key 7, for <0.0.")) fail_msg("no job in: %s", k.line);
    if (!strstr(k.line, "watchdog_test_job+0x")) fail_msg("no stack in: %s", k.line);
    rt_pool_stat st;
    rt_pool_stats(n, RT_POOL_DISK, &st);
    assert_int_equal(st.stuck, 1);
    assert_true(st.run.age >= REPORT);
    assert_string_equal(st.run.what, "slow");
    atomic_store(&k.out, true);
    do rt_pool_stats(n, RT_POOL_DISK, &st);
    while (st.done < 100);
    assert_int_equal(st.stuck, 0);
    assert_int_equal(st.n_stuck, 1);
    assert_int_equal(rt_event_count(n, EV_JOB_STUCK), 1);
    assert_int_equal(rt_event_count(n, EV_JOB_UNSTUCK), 1);
    rt_node_free(n);
    sys_linux_free(k.s);
}

static void past_the_hard_limit_the_node_ends_with_a_clear_line(void **state) {
    (void)state;
    int fd[2], status;
    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(fd[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        static stuck k;
        if (sys_linux_new(&k.s)) _exit(1);
        (void)start(&k, 2 * REPORT);
        (void)alarm(10);
        for (;;) (void)pause();
    }
    close(fd[1]);
    char text[4096];
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = read(fd[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)k;
    text[n] = 0;
    close(fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (!strstr(text, "shard 0 has been stuck for ")) fail_msg("no clear line in: %s", text);
    if (!strstr(text, "in rt_down of endless")) fail_msg("no actor in: %s", text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_the_hard_limit_the_node_ends_with_a_clear_line),
        cmocka_unit_test(a_stuck_shard_is_reported_once_with_its_stack_and_others_still_answer),
        cmocka_unit_test(a_shard_that_is_stuck_in_what_woke_it_is_reported),
        cmocka_unit_test(a_shard_that_works_or_sleeps_is_not_stuck),
        cmocka_unit_test(a_stuck_job_is_reported_once_with_its_stack_and_again_when_it_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
