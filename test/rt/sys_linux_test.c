/* The Linux seam, against the real kernel: sockets, files, threads, polling. */
#include "rt/sys.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define WAIT (5 * USEC_PER_SEC) /* longest wait for something that comes at once */

typedef struct fixture {
    sys *s;
    tmpdir dir;
    int poll;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f || sys_linux_new(&f->s) || f->s->poll_new(f->s, &f->poll)) return -1;
    tmpdir_make(&f->dir);
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    f->s->poll_free(f->s, f->poll);
    sys_linux_free(f->s);
    tmpdir_remove(&f->dir);
    free(f);
    return 0;
}

static uint32_t wait_for(fixture *f, int fd, uint32_t interest) {
    sys_ready r = {0};
    assert_int_equal(f->s->poll_set(f->s, f->poll, fd, interest, 77), ERR_OK);
    assert_int_equal(f->s->poll_wait(f->s, f->poll, WAIT, &r, 1), 1);
    assert_int_equal(r.token, 77);
    f->s->poll_del(f->s, f->poll, fd);
    return r.events;
}
static err write_text(fixture *f, int fd, const char *text) {
    sys_iov v[2] = {{(const uint8_t *)text, 1}, {(const uint8_t *)text + 1, strlen(text) - 1}};
    size_t n = 0;
    err e = f->s->writev(f->s, fd, v, 2, &n);
    if (!e) assert_int_equal(n, strlen(text));
    return e;
}
static int accept_one(fixture *f, int lfd, sys_addr *peer) {
    int fd = -1;
    (void)wait_for(f, lfd, SYS_IN);
    assert_int_equal(f->s->accept(f->s, lfd, &fd, peer), ERR_OK);
    return fd;
}

/* --- sockets */
static void bytes_go_both_ways_and_eof_follows_them(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, bound, peer;
    int lfd, cfd;
    assert_int_equal(s->listen(s, &a, 8, false, &lfd), ERR_OK);
    assert_int_equal(s->local_addr(s, lfd, &bound), ERR_OK);
    assert_int_not_equal(bound.port, 0);
    assert_int_equal(s->connect(s, &bound, &cfd), ERR_OK);
    int fd = accept_one(f, lfd, &peer);
    assert_true(wait_for(f, cfd, SYS_OUT) & SYS_OUT);
    assert_int_equal(s->sock_error(s, cfd), ERR_OK);
    assert_int_equal(peer.family, SYS_INET4);
    assert_memory_equal(peer.ip, a.ip, 4);
    char text[16];
    size_t n = 0;
    assert_int_equal(s->read(s, fd, text, sizeof text, &n), ERR_AGAIN);
    assert_int_equal(write_text(f, cfd, "hello"), ERR_OK);
    s->shutdown(s, cfd);
    (void)wait_for(f, fd, SYS_IN);
    assert_int_equal(s->read(s, fd, text, sizeof text, &n), ERR_OK);
    assert_int_equal(n, 5);
    (void)wait_for(f, fd, SYS_IN);
    assert_int_equal(s->read(s, fd, text, sizeof text, &n), ERR_EOF);
    assert_int_equal(write_text(f, fd, "back"), ERR_OK);
    (void)wait_for(f, cfd, SYS_IN);
    assert_int_equal(s->read(s, cfd, text, sizeof text, &n), ERR_OK);
    assert_int_equal(n, 4);
    s->close(s, cfd);
    s->close(s, fd);
    s->close(s, lfd);
}

static void a_refused_connection_says_so(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, bound;
    int lfd, cfd;
    assert_int_equal(s->listen(s, &a, 8, false, &lfd), ERR_OK);
    assert_int_equal(s->local_addr(s, lfd, &bound), ERR_OK);
    s->close(s, lfd);
    err e = s->connect(s, &bound, &cfd);
    if (e == ERR_OK) {
        (void)wait_for(f, cfd, SYS_OUT);
        e = s->sock_error(s, cfd);
        s->close(s, cfd);
    }
    assert_int_equal(e, ERR_REFUSED);
}

static void an_unspecified_ipv6_listener_takes_ipv4_and_reports_it_as_such(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr any = {.family = SYS_INET6}, bound, peer;
    int lfd, cfd;
    assert_int_equal(s->listen(s, &any, 8, false, &lfd), ERR_OK);
    assert_int_equal(s->local_addr(s, lfd, &bound), ERR_OK);
    sys_addr to = {.family = SYS_INET4, .port = bound.port, .ip = {127, 0, 0, 1}};
    assert_int_equal(s->connect(s, &to, &cfd), ERR_OK);
    int fd = accept_one(f, lfd, &peer);
    assert_int_equal(peer.family, SYS_INET4);
    assert_memory_equal(peer.ip, to.ip, 4);
    s->close(s, fd);
    s->close(s, cfd);
    s->close(s, lfd);
}

static void one_sys_shares_a_port_between_listeners_but_not_with_another(void **state) {
    fixture *f = *state;
    sys *s = f->s, *other;
    assert_int_equal(sys_linux_new(&other), ERR_OK);
    const sys_addr addrs[] = {{.family = SYS_INET4, .ip = {127, 0, 0, 1}}, {.family = SYS_INET6}};
    for (int i = 0; i < 2; i++) {
        sys_addr bound;
        int first, second, third, extra;
        assert_int_equal(s->listen(s, &addrs[i], 8, true, &first), ERR_OK);
        assert_int_equal(s->local_addr(s, first, &bound), ERR_OK);
        assert_int_equal(s->listen(s, &bound, 8, true, &second), ERR_OK);
        sys_addr any4 = {.family = SYS_INET4, .port = bound.port};
        assert_int_equal(s->listen(s, &any4, 8, true, &extra), ERR_OK); /* beside "[::]" or a single address */
        assert_int_equal(other->listen(other, &bound, 8, true, &third), ERR_ADDR_IN_USE);
        assert_int_equal(other->listen(other, &bound, 8, false, &third), ERR_ADDR_IN_USE);
        s->close(s, first);
        s->close(s, second);
        s->close(s, extra);
        assert_int_equal(other->listen(other, &bound, 8, true, &third), ERR_OK);
        other->close(other, third);
    }
    sys_linux_free(other);
}

static void a_unix_socket_is_private_and_knows_its_peer(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a = {.family = SYS_UNIX, .path = tmpdir_at(&f->dir, "sock")};
    int lfd, cfd;
    sys_peer own, peer;
    struct stat st;
    assert_int_equal(s->listen(s, &a, 8, false, &lfd), ERR_OK);
    assert_int_equal(stat(a.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(s->peer_cred(s, lfd, &own), ERR_OK);
    assert_int_equal(own.uid, getuid());
    assert_int_equal(s->connect(s, &a, &cfd), ERR_OK);
    int fd = accept_one(f, lfd, NULL);
    assert_int_equal(s->peer_cred(s, fd, &peer), ERR_OK);
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.pid, getpid());
    s->close(s, fd);
    s->close(s, cfd);
    s->close(s, lfd);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a = {.family = SYS_UNIX, .path = tmpdir_at(&f->dir, "sock")};
    int lfd, again;
    assert_int_equal(s->listen(s, &a, 8, false, &lfd), ERR_OK);
    assert_int_equal(s->listen(s, &a, 8, false, &again), ERR_BUSY);
    s->close(s, lfd); /* the file stays: this is what a killed server leaves */
    assert_int_equal(access(a.path, F_OK), 0);
    assert_int_equal(s->listen(s, &a, 8, false, &again), ERR_OK);
    s->close(s, again);
    a.path = tmpdir_at(&f->dir, "file");
    int fd;
    assert_int_equal(s->file_open(s, a.path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
    s->file_close(s, fd);
    assert_int_equal(s->listen(s, &a, 8, false, &again), ERR_EXISTS);
    assert_int_equal(access(a.path, F_OK), 0);
}

static void writing_to_a_closed_peer_is_an_error_and_no_signal(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a = {.family = SYS_UNIX, .path = tmpdir_at(&f->dir, "sock")};
    int lfd, cfd;
    assert_int_equal(s->listen(s, &a, 8, false, &lfd), ERR_OK);
    assert_int_equal(s->connect(s, &a, &cfd), ERR_OK);
    int fd = accept_one(f, lfd, NULL);
    s->close(s, fd);
    assert_int_equal(write_text(f, cfd, "anybody?"), ERR_RESET);
    s->close(s, cfd);
    s->close(s, lfd);
}

/* --- polling and clocks */
static void wake_from_another_thread(void *arg) {
    fixture *f = arg;
    f->s->poll_wake(f->s, f->poll);
}
static void a_wake_ends_a_wait_also_when_it_came_first(void **state) {
    fixture *f = *state;
    sys_ready r[4];
    usec t0 = f->s->mono(f->s);
    f->s->poll_wake(f->s, f->poll);
    assert_int_equal(f->s->poll_wait(f->s, f->poll, WAIT, r, 4), 0);
    sys_thread *t;
    assert_int_equal(f->s->thread_start(f->s, "waker", wake_from_another_thread, f, &t), ERR_OK);
    assert_int_equal(f->s->poll_wait(f->s, f->poll, WAIT, r, 4), 0);
    f->s->thread_join(f->s, t);
    assert_true(f->s->mono(f->s) - t0 < WAIT);
    assert_int_equal(f->s->poll_wait(f->s, f->poll, 0, r, 4), 0);
}
static void a_timeout_in_microseconds_is_kept_and_not_early(void **state) {
    fixture *f = *state;
    sys_ready r;
    usec t0 = f->s->mono(f->s);
    assert_int_equal(f->s->poll_wait(f->s, f->poll, 300, &r, 1), 0);
    assert_true(f->s->mono(f->s) - t0 >= 300);
}
static void interest_zero_still_reports_a_hang_up(void **state) {
    fixture *f = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    close(pair[1]);
    assert_true(wait_for(f, pair[0], 0) & SYS_HUP);
    f->s->close(f->s, pair[0]);
}
static void the_cycle_counter_runs_at_its_stated_rate(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    usec t0 = s->mono(s);
    uint64_t c0 = s->cycles(s);
    while (s->mono(s) - t0 < 20000) {
    }
    uint64_t c1 = s->cycles(s);
    double rate = (double)(c1 - c0) / (double)(s->mono(s) - t0) * 1e6;
    assert_true(rate > 0.8 * (double)s->cycles_per_sec(s) && rate < 1.2 * (double)s->cycles_per_sec(s));
}
static void entropy_differs(void **state) {
    fixture *f = *state;
    uint8_t a[32] = {0}, b[32] = {0};
    f->s->entropy(f->s, a, sizeof a);
    f->s->entropy(f->s, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* --- files */
static void a_file_holds_what_was_written_and_reads_short_only_at_its_end(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    int fd;
    char text[16];
    size_t n = 0;
    uint64_t size;
    struct stat st;
    const char *path = tmpdir_at(&f->dir, "a");
    assert_int_equal(s->file_open(s, path, SYS_OPEN_WRITE, &fd), ERR_NOT_FOUND);
    assert_int_equal(s->file_open(s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
    assert_int_equal(s->file_write(s, fd, SLICE("0123456789"), 2), ERR_OK);
    assert_int_equal(s->file_sync(s, fd), ERR_OK);
    assert_int_equal(s->file_read(s, fd, text, sizeof text, 0, &n), ERR_OK);
    assert_int_equal(n, 12);
    assert_memory_equal(text,
                        "\0\0"
                        "0123456789",
                        12);
    assert_int_equal(s->file_truncate(s, fd, 4), ERR_OK);
    assert_int_equal(s->file_allocate(s, fd, 0, 8192), ERR_OK);
    assert_int_equal(s->file_size(s, fd, &size), ERR_OK);
    assert_int_equal(size, 8192);
    assert_int_equal(s->file_read(s, fd, text, 4, 4, &n), ERR_OK);
    assert_memory_equal(text, "\0\0\0\0", 4);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s->file_close(s, fd);
    assert_int_equal(s->file_open(s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_EXCL, &fd), ERR_EXISTS);
}
static void a_lock_keeps_out_another_opening_even_of_this_process(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    int a, b;
    const char *path = tmpdir_at(&f->dir, "lock");
    assert_int_equal(s->file_open(s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &a), ERR_OK);
    assert_int_equal(s->file_open(s, path, SYS_OPEN_WRITE, &b), ERR_OK);
    assert_int_equal(s->file_lock(s, a), ERR_OK);
    assert_int_equal(s->file_lock(s, b), ERR_BUSY);
    s->file_close(s, a);
    assert_int_equal(s->file_lock(s, b), ERR_OK);
    s->file_close(s, b);
}
#define NAMES_ROOM 64
static void note_name(void *arg, const char *name) {
    char *all = arg;
    size_t len = strlen(all);
    (void)snprintf(all + len, NAMES_ROOM - len, "%s ", name);
}
static void a_folder_is_listed_in_order_of_names(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    static const char *const names[] = {"c", "a", "b"};
    char all[NAMES_ROOM] = "";
    for (int i = 0; i < 3; i++) {
        int fd;
        assert_int_equal(s->file_open(s, tmpdir_at(&f->dir, names[i]), SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
        s->file_close(s, fd);
    }
    assert_int_equal(s->dir_make(s, tmpdir_at(&f->dir, "d")), ERR_OK);
    assert_int_equal(s->dir_make(s, tmpdir_at(&f->dir, "d")), ERR_EXISTS);
    assert_int_equal(s->file_rename(s, tmpdir_at(&f->dir, "a"), tmpdir_at(&f->dir, "x")), ERR_OK);
    assert_int_equal(s->file_unlink(s, tmpdir_at(&f->dir, "b")), ERR_OK);
    assert_int_equal(s->dir_sync(s, f->dir.path), ERR_OK);
    assert_int_equal(s->dir_list(s, f->dir.path, note_name, all), ERR_OK);
    assert_string_equal(all, "c d x ");
    assert_int_equal(s->dir_list(s, tmpdir_at(&f->dir, "none"), note_name, all), ERR_NOT_FOUND);
    assert_int_equal(s->dir_make(s, tmpdir_at(&f->dir, "d/e")), ERR_OK);
    assert_int_equal(s->dir_remove(s, tmpdir_at(&f->dir, "d")), ERR_EXISTS);
    assert_int_equal(s->dir_remove(s, tmpdir_at(&f->dir, "d/e")), ERR_OK);
    assert_int_equal(s->dir_remove(s, tmpdir_at(&f->dir, "d")), ERR_OK);
    assert_int_equal(s->dir_remove(s, tmpdir_at(&f->dir, "d")), ERR_NOT_FOUND);
    assert_int_equal(s->dir_remove(s, tmpdir_at(&f->dir, "x")), ERR_NOT_FOUND); /* a file */
}

/* --- threads */
typedef struct spinner {
    sys *s;
    _Atomic bool running, stop;
    uint64_t turns;
} spinner;
__attribute__((noinline)) void sys_linux_test_spin(void *arg);
void sys_linux_test_spin(void *arg) {
    spinner *p = arg;
    atomic_store(&p->running, true);
    while (!atomic_load(&p->stop)) p->turns += (uint64_t)p->s->mono(p->s) & 1;
}
static void the_stack_of_a_busy_thread_names_where_it_is(void **state) {
    fixture *f = *state;
    spinner p = {.s = f->s};
    sys_thread *t;
    assert_int_equal(f->s->thread_start(f->s, "spinner", sys_linux_test_spin, &p, &t), ERR_OK);
    while (!atomic_load(&p.running)) {
    }
    bool named = false;
    for (int round = 0; round < 3; round++) {
        sys_stack st = {.n = 0};
        assert_true(f->s->thread_stack(f->s, t, &st));
        assert_true(st.n > 1);
        for (int i = 0; i < st.n; i++) {
            Dl_info d;
            if (dladdr(st.frame[i], &d) && d.dli_sname && strcmp(d.dli_sname, "sys_linux_test_spin") == 0) named = true;
        }
    }
    atomic_store(&p.stop, true);
    f->s->thread_join(f->s, t);
    assert_true(named);
}
static void a_stray_stack_signal_is_ignored(void **state) {
    (void)state;
    assert_int_equal(raise(SIGUSR2), 0);
    assert_int_equal(raise(SIGPIPE), 0);
}

/* --- addresses */
static void addresses_come_back_from_their_text(void **state) {
    (void)state;
    static const char *const good[] = {"127.0.0.1:5222", "[::1]:5222", "[::]:0", "unix:/run/murre/ctl.sock", "0.0.0.0:65535"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        sys_addr a;
        char text[SYS_ADDR_TEXT];
        assert_int_equal(sys_addr_parse(slice_str(good[i]), &a), ERR_OK);
        sys_addr_format(&a, text);
        assert_string_equal(text, good[i]);
    }
}
static void bad_addresses_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",         ":",         "127.0.0.1",     "127.0.0.1:",     "127.0.0.1:65536",
                                      "::1:5222", "[::1:5222", "[127.0.0.1]:1", "localhost:5222", "1.2.3:4",
                                      "unix:",    "[]:1",      "127.0.0.1:+1",  "127.0.0.1:5222 "};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        sys_addr a = {.port = 9};
        assert_int_not_equal(sys_addr_parse(slice_str(bad[i]), &a), ERR_OK);
        assert_int_equal(a.port, 9);
    }
}
static void which_addresses_are_loopback(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool yes;
    } cases[] = {{"127.0.0.1:1", true},  {"127.255.0.9:1", true},        {"[::1]:1", true},         {"[::ffff:127.0.0.1]:1", true},
                 {"128.0.0.1:1", false}, {"[::ffff:10.0.0.1]:1", false}, {"[::2]:1", false},        {"[::]:1", false},
                 {"0.0.0.0:1", false},   {"[7f00::1]:1", false},         {"unix:/127.0.0.1", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        sys_addr a;
        assert_int_equal(sys_addr_parse(slice_str(cases[i].text), &a), ERR_OK);
        assert_int_equal(sys_addr_is_loopback(&a), cases[i].yes);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
/* Numeric hosts need neither a name server nor a file; a name that cannot be is refused by every resolver. */
static void hosts_are_looked_up(void **state) {
    fixture *f = *state;
    sys *s = f->s;
    sys_addr a[4];
    size_t n = 0;
    assert_int_equal(s->resolve(s, "127.0.0.9", a, ARRAY_LEN(a), &n), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(a[0].family, SYS_INET4);
    assert_memory_equal(a[0].ip, "\x7f\0\0\x09", 4);
    assert_int_equal(a[0].port, 0);
    assert_int_equal(s->resolve(s, "::1", a, ARRAY_LEN(a), &n), ERR_OK);
    assert_int_equal(a[0].family, SYS_INET6);
    assert_int_equal(s->resolve(s, "a..b", a, ARRAY_LEN(a), &n), ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(bytes_go_both_ways_and_eof_follows_them),
        T(a_refused_connection_says_so),
        T(an_unspecified_ipv6_listener_takes_ipv4_and_reports_it_as_such),
        T(one_sys_shares_a_port_between_listeners_but_not_with_another),
        T(a_unix_socket_is_private_and_knows_its_peer),
        T(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        T(writing_to_a_closed_peer_is_an_error_and_no_signal),
        T(a_wake_ends_a_wait_also_when_it_came_first),
        T(a_timeout_in_microseconds_is_kept_and_not_early),
        T(interest_zero_still_reports_a_hang_up),
        T(the_cycle_counter_runs_at_its_stated_rate),
        T(entropy_differs),
        T(a_file_holds_what_was_written_and_reads_short_only_at_its_end),
        T(a_lock_keeps_out_another_opening_even_of_this_process),
        T(a_folder_is_listed_in_order_of_names),
        T(the_stack_of_a_busy_thread_names_where_it_is),
        T(a_stray_stack_signal_is_ignored),
        T(addresses_come_back_from_their_text),
        T(bad_addresses_are_refused),
        T(which_addresses_are_loopback),
        T(hosts_are_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
