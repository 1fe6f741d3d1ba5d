/* ctl over a real socket, and the runtime's verbs behind it. */
#include "base/cursor.h"
#include "base/mem.h"
#include "rt/ctl.h"
#include "rt/event.h"
#include "rt/msacc.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define WAIT_MSEC 10000 /* longest wait for something that comes at once */

typedef struct fixture {
    sys *s;
    tmpdir dir;
    rt_node *n;
    char path[128];
    rt_pid echo;
    char reply[1 << 18];
} fixture;

/* --- an actor to look at, and a verb that takes its time */
static err echo_handle(rt_ctx *cx, void *st, rt_msg **m) { return (void)cx, (void)st, (void)m, ERR_OK; }
static err echo_init(rt_ctx *cx, void *st, const void *arg) { return (void)st, (void)arg, rt_name_register(cx, "echo"); }
static const rt_class echo_class = {.name = "echo", .state_size = 16, .init = echo_init, .handle = echo_handle};
static err precious_init(rt_ctx *cx, void *st, const void *arg) {
    static const char *const names[] = {"precious", "precious.3", "precious.9", "precious.5", "precious.1", "Precious", "preciou"};
    (void)st, (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (rt_name_register(cx, names[i])) return ERR_BUG;
    return ERR_OK;
}
static const rt_class precious_class = {
    .name = "precious", .state_size = 16, .init = precious_init, .handle = echo_handle, .unflushable = true};
static void boot(rt_ctx *cx, void *arg) {
    fixture *f = arg;
    rt_pid precious;
    assert_int_equal(rt_spawn(cx, &echo_class, NULL, 0, &f->echo, NULL), ERR_OK);
    assert_int_equal(rt_spawn(cx, &precious_class, NULL, 0, &precious, NULL), ERR_OK);
}
static err slow_verb(rt_verb_call *c) {
    _Atomic int *gate = c->env;
    atomic_store(gate, 1);
    while (atomic_load(gate) != 2) {
    }
    c->result = val_str(c->arena, c->input);
    return ERR_OK;
}
static err failing_verb(rt_verb_call *c) {
    (void)snprintf(c->why, sizeof c->why, "it is \"%d\"", (int)c->n_args);
    return ERR_EXISTS;
}
static err big_verb(rt_verb_call *c) {
    c->result = val_list(c->arena);
    for (int i = 0; i < 100000; i++) val_push(c->arena, c->result, val_str(c->arena, SLICE("0123456789")));
    return ERR_OK;
}
static const rt_verb test_verbs[] = {{"test", "big", 0, 0, RT_READS, big_verb, "test big", "answers with a megabyte"},
                                     {"test", "slow", 0, 0, RT_MUTATES, slow_verb, "test slow", "waits"},
                                     {"test", "fail", 0, 2, RT_READS, failing_verb, "test fail", "fails"}};

static void no_log(void *arg, const char *line) { (void)arg, (void)line; }
static int setup(void **state) {
    fixture *f = mem_zalloc(sizeof *f);
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    tmpdir_make(&f->dir);
    (void)snprintf(f->path, sizeof f->path, "%s", tmpdir_at(&f->dir, "ctl.sock"));
    cfg.shards = 2;
    cfg.ctl_path = f->path;
    if (sys_linux_new(&f->s) || rt_node_new(&cfg, f->s, NULL, &f->n)) return -1;
    rt_log_sink(f->n, no_log, NULL);
    rt_node_add_verbs(f->n, rt_verbs, rt_verbs_count);
    rt_node_add_verbs(f->n, test_verbs, ARRAY_LEN(test_verbs));
    rt_node_boot(f->n, 1, boot, f);
    if (rt_node_start(f->n)) return -1;
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    rt_node_free(f->n);
    sys_linux_free(f->s);
    tmpdir_remove(&f->dir);
    mem_free(f);
    return 0;
}

/* --- a client */
static int dial(fixture *f) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(a.sun_path, f->path, strlen(f->path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}
static void send_bytes(int fd, slice b) { assert_int_equal(send(fd, b.p, b.len, MSG_NOSIGNAL), (ssize_t)b.len); }
static void read_exactly(int fd, void *out, size_t n) {
    for (size_t got = 0; got < n;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, WAIT_MSEC), 1);
        ssize_t k = recv(fd, (char *)out + got, n - got, 0);
        assert_true(k > 0);
        got += (size_t)k;
    }
}
static const char *frame(fixture *f, int fd) {
    uint8_t len[4];
    read_exactly(fd, len, 4);
    size_t n = (size_t)len[0] | (size_t)len[1] << 8 | (size_t)len[2] << 16 | (size_t)len[3] << 24;
    assert_true(n < sizeof f->reply);
    read_exactly(fd, f->reply, n);
    f->reply[n] = 0;
    return f->reply;
}
static const char *receive(fixture *f, int fd) {
    (void)frame(f, fd); /* the reply, which is returned */
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 0); /* one request a connection */
    close(fd);
    return f->reply;
}
/* A request from words: module, function, arguments ... NULL. */
static void request(buf *b, const char *input, const char *const *words) {
    buf body;
    buf_init(&body, 1 << 20);
    for (size_t i = 0; words[i]; i++) {
        buf_add_lslice(&body, slice_str(words[i]));
        if (i == 1) buf_add_lslice(&body, slice_str(input));
    }
    buf_init(b, 1 << 20);
    buf_add_lslice(b, buf_slice(&body));
    buf_fini(&body);
}
static const char *ask_(fixture *f, const char *const *words) {
    buf b;
    int fd = dial(f);
    request(&b, "", words);
    send_bytes(fd, buf_slice(&b));
    buf_fini(&b);
    return receive(f, fd);
}
#define ask(f, ...) ask_(f, (const char *const[]){__VA_ARGS__, NULL})
#define OK          "{\"ok\":true,\"result\":"
static void assert_starts(const char *text, const char *start) {
    if (strncmp(text, start, strlen(start)) != 0) fail_msg("%s does not start with %s", text, start);
}
static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("%s does not contain %s", text, part);
}

/* --- answers that go on */
static int follow(fixture *f) {
    buf b;
    int fd = dial(f);
    request(&b, "", (const char *const[]){"events", "follow", "drain", NULL});
    send_bytes(fd, buf_slice(&b));
    buf_fini(&b);
    return fd;
}
static void an_answer_goes_on_until_its_client_closes(void **state) {
    fixture *f = *state;
    int fd = follow(f);
    assert_starts(frame(f, fd), "{\"ok\":true,\"stream\":true,\"result\":{\"events\":[\"drain\"]}}");
    for (unsigned i = 0; i < 3; i++) {
        rt_event_ext(f->n, EV_DRAIN, 40 + i, 0, SLICE_NULL);
        char want[32];
        (void)snprintf(want, sizeof want, "\"sessions\":%u", 40 + i);
        assert_has(frame(f, fd), want);
        assert_starts(ask(f, "queues", "show"), OK); /* others are answered meanwhile */
    }
    send_bytes(fd, SLICE("what nobody asked for")); /* is thrown away */
    for (unsigned i = 0; i < 1000; i++) rt_event_ext(f->n, EV_DRAIN, i, 0, SLICE_NULL);
    for (unsigned i = 0; i < 1000; i++) assert_has(frame(f, fd), "\"event\":\"drain\"");
    close(fd);
    for (unsigned i = 0; i < 30; i++) { /* each gives its place back when it is heard to close */
        const char *answer = NULL;
        do {
            fd = follow(f);
            answer = frame(f, fd);
            close(fd);
        } while (strstr(answer, "follow events already"));
        assert_has(answer, "\"stream\":true");
    }
}
static void a_stream_without_a_connection_is_closed_at_once(void **state) {
    fixture *f = *state;
    for (unsigned i = 0; i < 30; i++) {
        buf b, out;
        buf_init(&out, 1 << 16);
        request(&b, "", (const char *const[]){"events", "follow", "all", NULL});
        rt_ctl_run(f->n, 0, slice_from(buf_slice(&b), 4), &out);
        assert_true(out.len > 19 && memcmp(out.p, "{\"ok\":true,\"stream\"", 19) == 0);
        buf_fini(&b);
        buf_fini(&out);
    }
}

/* --- the listener */
static void the_socket_is_private_and_is_gone_with_the_node(void **state) {
    fixture *f = *state;
    struct stat st;
    rt_ctl *second;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(rt_ctl_new(f->n, f->path, &second), ERR_BUSY);
    assert_starts(ask(f, "queues", "show"), OK);
    rt_node_stop(f->n);
    assert_int_not_equal(stat(f->path, &st), 0);
}
static void bad_requests_are_answered(void **state) {
    fixture *f = *state;
    const struct {
        slice bytes;
        const char *reply;
    } cases[] = {
        {SLICE("\0\0\0\0"), "{\"ok\":false,\"error\":\"proto\""},
        {SLICE("\3\0\0\0abc"), "{\"ok\":false,\"error\":\"proto\""},
        {SLICE("\x08\0\0\0\xff\xff\xff\xff"
               "abcd"),
         "{\"ok\":false,\"error\":\"proto\""},
        {SLICE("\x0d\0\0\0\1\0\0\0a\1\0\0\0b\0\0\0"), "{\"ok\":false,\"error\":\"proto\""},
        {SLICE("\xff\xff\xff\xff"), "{\"ok\":false,\"error\":\"limit\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = dial(f);
        send_bytes(fd, cases[i].bytes);
        assert_starts(receive(f, fd), cases[i].reply);
    }
    const char *many[RT_VERB_ARGS_MAX + 4] = {"test", "fail"};
    for (size_t i = 2; i < ARRAY_LEN(many) - 1; i++) many[i] = "x";
    assert_starts(ask_(f, many), "{\"ok\":false,\"error\":\"limit\"");
}
static void unknown_commands_and_failures_are_explained(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "no\nsuch", "thing"), "\"error\":\"not_found\",\"why\":\"there is no command no\\\\x0asuch thing");
    assert_has(ask(f, "actor", "info"), "\"error\":\"invalid\",\"why\":\"wrong number of arguments (0); usage: actor PID|NAME\"");
    assert_string_equal(ask(f, "test", "fail", "x"), "{\"ok\":false,\"error\":\"exists\",\"why\":\"it is \\\"1\\\"\"}");
}
static void a_slow_client_and_a_slow_verb_hold_up_nobody(void **state) {
    fixture *f = *state;
    _Atomic int gate = 0;
    rt_node_set_env(f->n, &gate);
    buf b;
    int half = dial(f), slow = dial(f);
    request(&b, "in\nput", (const char *const[]){"test", "slow", NULL});
    send_bytes(half, slice_sub(buf_slice(&b), 0, 6));
    send_bytes(slow, buf_slice(&b));
    while (atomic_load(&gate) != 1) {
    }
    assert_starts(ask(f, "queues", "show"), OK);
    atomic_store(&gate, 2);
    assert_string_equal(receive(f, slow), OK "\"in\\nput\"}");
    send_bytes(half, slice_from(buf_slice(&b), 6));
    while (atomic_load(&gate) != 1) {
    }
    atomic_store(&gate, 2);
    assert_string_equal(receive(f, half), OK "\"in\\nput\"}");
    buf_fini(&b);
}
static void a_client_that_does_not_read_holds_up_nobody_and_gets_it_all(void **state) {
    fixture *f = *state;
    uint8_t len[4];
    char part[10000];
    buf b;
    int lazy = dial(f);
    request(&b, "", (const char *const[]){"test", "big", NULL});
    send_bytes(lazy, buf_slice(&b));
    buf_fini(&b);
    read_exactly(lazy, len, 4); /* the answer is under way, and more than the kernel takes */
    assert_starts(ask(f, "queues", "show"), OK);
    size_t n = (size_t)len[0] | (size_t)len[1] << 8 | (size_t)len[2] << 16;
    assert_int_equal(n, 100000 * 13 - 1 + sizeof OK - 1 + 3);
    for (size_t got = 0; got < n; got += sizeof part) read_exactly(lazy, part, n - got < sizeof part ? n - got : sizeof part);
    close(lazy);
}
static void a_client_that_leaves_early_takes_nothing_with_it(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 200; i++) { /* more than there are places */
        int fd = dial(f);
        if (i % 2) send_bytes(fd, SLICE("\x10\0\0\0\1"));
        close(fd);
    }
    int fd[100];
    for (int i = 0; i < 100; i++) fd[i] = dial(f);
    for (int i = 0; i < 100; i++) close(fd[i]);
    assert_starts(ask(f, "pool", "show"), OK);
}
static void what_changes_something_is_audited_without_its_input(void **state) {
    fixture *f = *state;
    uint64_t before = rt_event_count(f->n, EV_CTL);
    (void)ask(f, "queues", "show");
    assert_int_equal(rt_event_count(f->n, EV_CTL), before);
    (void)ask(f, "locks", "on");
    assert_int_equal(rt_event_count(f->n, EV_CTL), before + 1);
}

/* --- verbs */
static void help_lists_every_verb_with_its_usage(void **state) {
    fixture *f = *state;
    const char *r = ask(f, "help", "verbs");
    for (size_t i = 0; i < rt_verbs_count; i++) {
        assert_has(r, rt_verbs[i].usage);
        assert_has(r, rt_verbs[i].doc);
    }
    assert_has(r, "\"module\":\"test\",\"function\":\"fail\",\"arity_min\":0,\"arity_max\":2");
}
static void of_several_names_the_first_in_byte_order_is_shown(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "actors", "list"), "\"class\":\"precious\",\"name\":\"Precious\"");
    assert_has(ask(f, "actor", "info", "precious.9"), "\"name\":\"Precious\"");
}
static void actors_are_found_by_pid_and_by_name(void **state) {
    fixture *f = *state;
    char pid[RT_PID_TEXT], want[128];
    rt_pid_format(f->echo, pid);
    (void)snprintf(want, sizeof want, "{\"pid\":\"%s\",\"class\":\"echo\",\"name\":\"echo\"", pid);
    assert_has(ask(f, "actors", "list"), want);
    assert_has(ask(f, "actors", "list", "1"), want);
    assert_has(ask(f, "actor", "info", pid), want);
    assert_has(ask(f, "actor", "info", "echo"), want);
    assert_has(f->reply, "\"links\":0,\"monitors\":0,\"monitored_by\":0,\"related\":[],\"relations_unlisted\":0");
    assert_has(ask(f, "flush", "actor", "echo"), OK "{\"flushed\":0}");
}
static void unknown_actors_and_bad_pids_are_told_apart(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "actor", "info", "<0.1.77.5>"), "\"error\":\"noproc\",\"why\":\"'<0.1.77.5>' is not alive\"");
    assert_has(ask(f, "actor", "info", "<0.9.1.1>"), "\"error\":\"noproc\",\"why\":\"'<0.9.1.1>' is not an actor of this node\"");
    assert_has(ask(f, "actor", "info", "<0.1"), "\"error\":\"invalid\"");
    assert_has(ask(f, "flush", "actor", "precious"),
               "\"error\":\"refused\",\"why\":\"'precious' holds what others rely on and is not flushed;");
    assert_has(ask(f, "flush", "actor", "nobody"), "\"error\":\"noproc\",\"why\":\"'nobody' is neither a pid nor the name of an actor\"");
    assert_has(ask(f, "actors", "list", "0"), "\"error\":\"invalid\"");
    assert_has(ask(f, "actors", "list", "1x"), "\"error\":\"invalid\"");
    assert_has(ask(f, "actors", "list", "many"), "\"error\":\"noproc\""); /* a name, as in "actor many" */
}
static void an_actor_is_killed_by_pid_and_class(void **state) {
    fixture *f = *state;
    char pid[RT_PID_TEXT], want[128];
    rt_pid_format(f->echo, pid);
    (void)snprintf(want, sizeof want, OK "{\"pid\":\"%s\",\"class\":\"echo\",\"name\":\"echo\"", pid);
    uint64_t audited = rt_event_count(f->n, EV_CTL);
    assert_starts(ask(f, "actor", "kill", pid, "echo"), want);
    assert_int_equal(rt_event_count(f->n, EV_CTL), audited + 1);
    assert_has(ask(f, "actor", "info", pid), "is not alive");
    assert_has(ask(f, "actor", "info", "echo"), "is neither a pid nor the name of an actor");
    assert_has(ask(f, "actor", "kill", pid, "echo"), "\"error\":\"noproc\",\"why\":\"'<0.1.0.1>' is not alive\"");
}
static void who_cannot_be_killed_is_left_alone_with_a_reason(void **state) {
    fixture *f = *state;
    char pid[RT_PID_TEXT];
    rt_pid_format(f->echo, pid);
    assert_has(ask(f, "actor", "kill", pid, "part"),
               "\"error\":\"refused\",\"why\":\"'part' is not its class, which is echo: nothing was killed\"");
    assert_has(ask(f, "actor", "kill", "echo", "echo"), "\"error\":\"invalid\",\"why\":\"'echo' is not a pid of the form <0.1.2.3>\"");
    assert_has(ask(f, "actor", "kill", "<0.9.1.1>", "echo"), "\"error\":\"noproc\",\"why\":\"'<0.9.1.1>' is not an actor of this node\"");
    assert_has(ask(f, "actor", "kill", "<7.256.1>", "echo"), "is not an actor of this node");
    assert_has(ask(f, "actor", "kill", "<0.1.77.5>", "echo"), "'<0.1.77.5>' is not alive");
    assert_has(ask(f, "actor", "kill", pid), "wrong number of arguments (1); usage: actor kill PID CLASS");
    assert_starts(ask(f, "actor", "info", "echo"), OK);
}
/* An account begins when its thread runs for the first time, which on a busy machine may be long after it was started. */
static bool all_began(rt_node *n) {
    rt_msacc_row rows[64];
    size_t n_rows = rt_msacc_read(n, rows, 64), began = 0;
    for (size_t i = 0; i < n_rows; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < RT_MSACC_STATES; k++) sum += rows[i].cycles[k];
        began += sum != 0;
    }
    return began == n_rows;
}
static void microstates_of_a_thread_sum_to_its_whole_time(void **state) {
    fixture *f = *state;
    const char *r = ask(f, "msacc", "read");
    static const char *const threads[] = {"shard 0", "shard 1", "pool disk/0", "watchdog 0", "ctl 0"};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) assert_has(r, threads[i]);
    rt_msacc_row rows[64];
    while (!all_began(f->n)) {
    }
    usec t0 = f->s->mono(f->s);
    rt_msacc_reset(f->n);
    while (f->s->mono(f->s) - t0 < 20000) {
    }
    size_t n = rt_msacc_read(f->n, rows, 64);
    uint64_t passed = (uint64_t)(f->s->mono(f->s) - t0);
    assert_true(n >= 5);
    for (size_t i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < RT_MSACC_STATES; k++) sum += rows[i].cycles[k];
        uint64_t took = sum / (f->s->cycles_per_sec(f->s) / 1000000);
        assert_true(took >= 19000 && took <= passed + 1000);
    }
    assert_starts(ask(f, "msacc", "stop"), OK);
    assert_starts(ask(f, "msacc", "start"), OK);
    assert_starts(ask(f, "msacc", "reset"), OK);
}
static void locks_are_counted_when_asked_to(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "locks", "table"), "{\"lock\":\"log\",\"id\":1,\"tries\":0,\"collisions\":0");
    assert_starts(ask(f, "locks", "on"), OK);
    rt_event_ext(f->n, EV_CTL, 0, 0, SLICE("x"));
    assert_null(strstr(ask(f, "locks", "table"), "{\"lock\":\"log\",\"id\":1,\"tries\":0,"));
    assert_starts(ask(f, "locks", "off"), OK);
    assert_starts(ask(f, "locks", "clear"), OK);
    assert_has(ask(f, "locks", "table"), "{\"lock\":\"log\",\"id\":1,\"tries\":0,");
}
static void the_log_level_is_shown_and_set(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "log", "level"), "{\"level\":\"info\"}");
    assert_has(ask(f, "log", "level", "warning"), "{\"level\":\"warning\"}");
    assert_has(ask(f, "log", "level", "loud"), "\"error\":\"invalid\"");
    assert_int_equal(rt_log_level_get(f->n), RT_WARNING);
}
static void events_and_pools_are_shown(void **state) {
    fixture *f = *state;
    assert_has(ask(f, "events", "counters"), "{\"event\":\"node_start\",\"count\":1,\"level\":\"notice\"");
    assert_null(strstr(f->reply, "\"backup\""));
    assert_has(ask(f, "events", "counters", "all"), "{\"event\":\"backup\",\"count\":0");
    assert_has(ask(f, "events", "counters", "some"), "\"error\":\"invalid\"");
    static const char pool[] =
        "{\"kind\":\"disk\",\"threads\":2,\"running\":0,\"queued\":0,\"submitted\":0,\"done\":0,\"expired\":0,\"refused\":0";
    assert_has(ask(f, "pool", "show"), pool);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(the_socket_is_private_and_is_gone_with_the_node),
        T(bad_requests_are_answered),
        T(unknown_commands_and_failures_are_explained),
        T(a_slow_client_and_a_slow_verb_hold_up_nobody),
        T(a_client_that_does_not_read_holds_up_nobody_and_gets_it_all),
        T(a_client_that_leaves_early_takes_nothing_with_it),
        T(what_changes_something_is_audited_without_its_input),
        T(help_lists_every_verb_with_its_usage),
        T(actors_are_found_by_pid_and_by_name),
        T(of_several_names_the_first_in_byte_order_is_shown),
        T(unknown_actors_and_bad_pids_are_told_apart),
        T(an_actor_is_killed_by_pid_and_class),
        T(who_cannot_be_killed_is_left_alone_with_a_reason),
        T(microstates_of_a_thread_sum_to_its_whole_time),
        T(locks_are_counted_when_asked_to),
        T(the_log_level_is_shown_and_set),
        T(events_and_pools_are_shown),
        T(an_answer_goes_on_until_its_client_closes),
        T(a_stream_without_a_connection_is_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
