/* A call that is to fail fails, once, with an error of its own; and whatever fails while a live server starts, it starts or says why, and
 * leaves nothing open (promises.md R27). */
#include "base/mem.h"
#include "main/compose.h"
#include "rt/event.h"
#include "sim/scenario.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <dirent.h>
#include <sys/wait.h>

typedef struct machine {
    sim_world w;
    sim_net net;
    sim_host h;
    sys *s;
} machine;

static void up(machine *m, uint64_t seed) {
    sys_addr ip;
    sim_host_address(1, &ip);
    sim_world_init(&m->w, seed);
    sim_net_init(&m->net, &m->w);
    sim_host_init(&m->h, &m->w, &m->net, &ip);
    m->s = &m->h.sys;
}
static void down(machine *m) {
    sim_host_fini(&m->h);
    sim_net_fini(&m->net);
    sim_world_fini(&m->w);
}

static void every_fallible_call_has_a_name_and_errors_of_its_own(void **state) {
    (void)state;
    for (int i = 0; i < SIM_CALLS; i++) {
        size_t n = 0;
        const err *e = sim_fault_errors((sim_call)i, &n);
        assert_true(n > 0);
        for (size_t j = 0; j < n; j++) assert_true(e[j] != ERR_OK && e[j] != ERR_BUG);
        for (int j = 0; j < i; j++) assert_string_not_equal(sim_fault_name(i), sim_fault_name(j));
    }
    assert_string_equal(sim_fault_name(-1), "nothing");
}

static void the_nth_call_fails_and_no_other(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth <= 5; nth++) {
        machine m;
        up(&m, 1);
        sim_fault_plan(&m.h.fault, nth, 9);
        for (uint64_t i = 1; i <= 5; i++) {
            int poll = -1;
            err e = m.s->poll_new(m.s, &poll);
            assert_int_equal(e, i == nth ? ERR_FD_LIMIT : ERR_OK);
        }
        assert_int_equal(m.h.fault.calls, 5);
        assert_int_equal(m.h.fault.fired, SIM_CALL_POLL_NEW);
        assert_int_equal(sim_host_open_handles(&m.h), 4);
        down(&m);
    }
}

static void a_seed_names_the_error_and_seeds_differ(void **state) {
    (void)state;
    bool seen[ERR_COUNT_] = {0};
    size_t kinds = 0, n = 0;
    (void)sim_fault_errors(SIM_CALL_READ, &n);
    for (uint64_t seed = 1; seed <= 64; seed++) {
        sim_fault f = {0};
        sim_fault_plan(&f, 1, seed);
        err a = sim_fault_turn(&f, SIM_CALL_READ);
        sim_fault_plan(&f, 1, seed);
        assert_int_equal(a, sim_fault_turn(&f, SIM_CALL_READ));
        kinds += !seen[a];
        seen[a] = true;
    }
    assert_int_equal(kinds, n);
}

static void what_the_machine_cannot_do_stays_absent(void **state) {
    (void)state;
    machine m;
    up(&m, 1);
    assert_null(m.s->thread_start);
    assert_non_null(m.s->poll_wait);
    down(&m);
}

/* A write that fails has written some of it; a sync that fails may lose what the cache still shows. */
static void a_failed_write_is_half_done_and_a_failed_sync_loses(void **state) {
    (void)state;
    unsigned partial = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        machine m;
        uint8_t data[2048], got[2048];
        size_t n = 0;
        uint64_t size = 0;
        int fd = -1;
        memset(data, 'x', sizeof data);
        up(&m, seed);
        assert_int_equal(m.s->file_open(m.s, "f", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
        assert_int_equal(m.s->dir_sync(m.s, "."), ERR_OK);
        sim_fault_plan(&m.h.fault, 1, seed);
        assert_true(m.s->file_write(m.s, fd, slice_of(data, sizeof data), 0) != ERR_OK);
        assert_int_equal(m.h.bare.file_size(&m.h.bare, fd, &size), ERR_OK);
        partial += size > 0 && size < sizeof data;
        assert_int_equal(m.s->file_write(m.s, fd, slice_of(data, sizeof data), 0), ERR_OK);
        sim_fault_plan(&m.h.fault, 1, seed);
        assert_true(m.s->file_sync(m.s, fd) != ERR_OK);
        assert_int_equal(m.s->file_sync(m.s, fd), ERR_OK); /* it does not bring them back */
        sim_host_kill(&m.h, SIM_POWER);
        sim_host_reset(&m.h);
        sim_fault_plan(&m.h.fault, 0, 0);
        assert_int_equal(m.s->file_open(m.s, "f", SYS_OPEN_READ, &fd), ERR_OK);
        assert_int_equal(m.s->file_read(m.s, fd, got, sizeof got, 0, &n), ERR_OK);
        lost += n != sizeof data || memcmp(got, data, sizeof data) != 0;
        down(&m);
    }
    assert_true(partial > 10);
    assert_true(lost > 10);
}

static void the_tls_seam_asks_for_its_turn(void **state) {
    (void)state;
    machine m;
    sim_tls t;
    char why[TLS_ERR_MAX] = "";
    tls_identity id = {.domain = "example.org"};
    tls_server_cfg cfg = {.ids = &id, .n_ids = 1};
    tls_server *s = NULL;
    buf out, plain;
    bool done = false;
    up(&m, 1);
    sim_tls_init(&t, 1);
    t.fault = &m.h.fault;
    buf_init(&out, 4096), buf_init(&plain, 4096);
    sim_fault_plan(&m.h.fault, 1, 1);
    assert_true(t.tls.server_new(&t.tls, &cfg, &s, why) != ERR_OK);
    assert_true(*why);
    assert_int_equal(t.tls.server_new(&t.tls, &cfg, &s, why), ERR_OK);
    tls_conn *c = t.tls.conn_new(s);
    const sim_call call[] = {SIM_CALL_TLS_HANDSHAKE, SIM_CALL_TLS_READ, SIM_CALL_TLS_WRITE, SIM_CALL_TLS_BINDING};
    for (size_t i = 0; i < ARRAY_LEN(call); i++) {
        sim_fault_plan(&m.h.fault, 1, 1);
        err e = call[i] == SIM_CALL_TLS_HANDSHAKE ? t.tls.conn_handshake(c, SLICE(""), &out, &done)
                : call[i] == SIM_CALL_TLS_READ    ? t.tls.conn_read(c, SLICE(""), &plain, &out)
                : call[i] == SIM_CALL_TLS_WRITE   ? t.tls.conn_write(c, SLICE(""), &out)
                                                  : t.tls.conn_binding(c, TLS_BINDING_EXPORTER, &out);
        assert_true(e != ERR_OK);
        assert_int_equal(m.h.fault.fired, call[i]);
    }
    t.tls.conn_free(c);
    t.tls.server_unref(s);
    assert_int_equal(t.conns + t.servers, 0);
    buf_fini(&out), buf_fini(&plain);
    down(&m);
}

/* --- the live server, over the live seam */

static unsigned open_descriptors(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d)) n++;
    (void)closedir(d);
    return n;
}

static void no_log(void *arg, const char *line) { (void)arg, (void)line; }

/* In a child: a start and a stop in which the nth call fails. Exit status: 0 it did, 3 the run has fewer calls, else something is wrong. */
static int start_and_stop(const char *dir, uint64_t nth) {
    char data[128], why[CONFIG_WHY_MAX] = "";
    (void)snprintf(data, sizeof data, "data=%s/data", dir);
    const char *const set[] = {data,       "xmpp.listen=127.0.0.1:0", "xmpp.tls_listen=127.0.0.1:0", "metrics.listen=127.0.0.1:0",
                               "shards=1", "recorder.bytes=64k",      "log.segment_bytes=1M"};
    sys *live = NULL;
    tls *t = NULL;
    if (sys_linux_new(&live) || tls_openssl_new(&t)) return 10;
    sim_fault f;
    sys s;
    sim_fault_init(&f, live, &s);
    config cfg;
    config_init(&cfg);
    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        if (config_set(&cfg, set[i], why)) return 11;
    unsigned before = open_descriptors();
    sim_fault_plan(&f, nth, nth);
    compose *c = NULL;
    err e = compose_new(&cfg, &s, t, &c, why);
    if (!e) {
        rt_log_sink(compose_node(c), no_log, NULL);
        e = rt_node_start(compose_node(c));
        rt_node_stop(compose_node(c));
    }
    if (e && !f.fired && f.error == ERR_OK) return 12; /* nothing failed, and yet */
    compose_free(c);
    int status = open_descriptors() != before ? 13 : f.fired < 0 ? 3 : 0;
    config_fini(&cfg);
    tls_openssl_free(t);
    sys_linux_free(live);
    return status;
}

static void a_start_in_which_a_call_fails_closes_what_it_opened(void **state) {
    (void)state;
    uint64_t nth = 1;
    for (int status = 0; status == 0; nth++) {
        tmpdir dir = {"/dev/shm/murre-test-XXXXXX"}; /* a hundred starts, and a disk would be most of their time */
        if (!mkdtemp(dir.path)) tmpdir_make(&dir);
        pid_t child = fork();
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr)) _exit(14); /* what it complains of is expected */
            exit(start_and_stop(dir.path, nth));
        }
        assert_true(child > 0);
        int w = 0;
        assert_int_equal(waitpid(child, &w, 0), child);
        tmpdir_remove(&dir);
        bool declared = WIFSIGNALED(w) && WTERMSIG(w) == SIGABRT; /* sys.end: a disk that is not to be trusted ends the node */
        status = declared ? 0 : WIFEXITED(w) ? WEXITSTATUS(w) : 100 + WTERMSIG(w);
        if (status != 0 && status != 3) print_message("call %llu: status %d\n", (unsigned long long)nth, status);
        assert_true(status == 0 || status == 3);
    }
    assert_true(nth > 50); /* a start makes more calls than that */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fallible_call_has_a_name_and_errors_of_its_own),
        cmocka_unit_test(the_nth_call_fails_and_no_other),
        cmocka_unit_test(a_seed_names_the_error_and_seeds_differ),
        cmocka_unit_test(what_the_machine_cannot_do_stays_absent),
        cmocka_unit_test(a_failed_write_is_half_done_and_a_failed_sync_loses),
        cmocka_unit_test(the_tls_seam_asks_for_its_turn),
        cmocka_unit_test(a_start_in_which_a_call_fails_closes_what_it_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
