/* The simulated machine: sockets, pollers and files through the seam (rt/sys.h), as a node sees them. */
#include "base/mem.h"
#include "sim/host.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

typedef struct rig {
    sim_world w;
    sim_net net;
    sim_host a, b; /* a listens, b connects */
    sys *sa, *sb;
    int pa, pb;        /* pollers */
    int lfd, afd, cfd; /* listener, accepted, connected */
} rig;

static void rig_up(rig *r, uint64_t seed) {
    sys_addr ip[2];
    sim_world_init(&r->w, seed);
    sim_net_init(&r->net, &r->w);
    for (uint32_t i = 0; i < 2; i++) sim_host_address(i + 1, &ip[i]);
    sim_host_init(&r->a, &r->w, &r->net, &ip[0]);
    sim_host_init(&r->b, &r->w, &r->net, &ip[1]);
    r->sa = &r->a.sys, r->sb = &r->b.sys;
    assert_int_equal(r->sa->poll_new(r->sa, &r->pa), ERR_OK);
    assert_int_equal(r->sb->poll_new(r->sb, &r->pb), ERR_OK);
    sys_addr any = {.family = SYS_INET6, .port = 5222};
    assert_int_equal(r->sa->listen(r->sa, &any, 4, true, &r->lfd), ERR_OK);
    assert_int_equal(r->sa->poll_set(r->sa, r->pa, r->lfd, SYS_IN, 1), ERR_OK);
}

static err rig_connect(rig *r) {
    sys_addr to = r->a.ip, peer;
    to.port = 5222;
    err e = r->sb->connect(r->sb, &to, &r->cfd);
    assert_int_equal(e, ERR_OK);
    assert_int_equal(r->sb->poll_set(r->sb, r->pb, r->cfd, SYS_OUT, 2), ERR_OK);
    (void)sim_world_run(&r->w, r->w.now + USEC_PER_SEC);
    sys_ready ev[4];
    if (r->sa->poll_wait(r->sa, r->pa, 0, ev, 4) == 1) {
        assert_int_equal(ev[0].token, 1);
        assert_int_equal(r->sa->accept(r->sa, r->lfd, &r->afd, &peer), ERR_OK);
        assert_memory_equal(peer.ip, r->b.ip.ip, 4);
        assert_int_equal(r->sa->poll_set(r->sa, r->pa, r->afd, SYS_IN, 3), ERR_OK);
    }
    assert_int_equal(r->sb->poll_wait(r->sb, r->pb, 0, ev, 4), 1);
    return r->sb->sock_error(r->sb, r->cfd);
}

static void rig_down(rig *r) {
    sim_host_fini(&r->a);
    sim_host_fini(&r->b);
    sim_net_fini(&r->net);
    sim_world_fini(&r->w);
}

/* Pushes len patterned bytes from b to a through short writes and reads; returns how many arrived before an error. */
static size_t pump(rig *r, size_t len, err *out_end) {
    uint8_t *data = mem_alloc(len), got[4096];
    for (size_t i = 0; i < len; i++) data[i] = (uint8_t)(i * 7 + i / 251);
    size_t sent = 0, read = 0, n;
    *out_end = ERR_OK;
    for (int round = 0; round < 100000 && read < len; round++) {
        sys_iov iov[2] = {{data + sent, (len - sent) / 2}, {data + sent + (len - sent) / 2, len - sent - (len - sent) / 2}};
        err e = sent < len ? r->sb->writev(r->sb, r->cfd, iov, 2, &n) : ERR_AGAIN;
        if (!e) sent += n;
        (void)sim_world_run(&r->w, r->w.now + 2 * USEC_PER_MSEC);
        while (!(e = r->sa->read(r->sa, r->afd, got, sizeof got, &n))) {
            assert_memory_equal(got, data + read, n);
            read += n;
        }
        if (e != ERR_AGAIN) {
            *out_end = e;
            break;
        }
    }
    mem_free(data);
    return read;
}

static void bytes_arrive_once_and_in_order_whatever_the_delays(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rig r;
        err end;
        rig_up(&r, seed);
        assert_int_equal(rig_connect(&r), ERR_OK);
        assert_int_equal(pump(&r, 300000, &end), 300000);
        rig_down(&r);
    }
}

static void a_writer_who_fills_the_window_must_wait_for_the_reader(void **state) {
    (void)state;
    rig r;
    rig_up(&r, 4);
    assert_int_equal(rig_connect(&r), ERR_OK);
    static uint8_t big[1 << 20];
    size_t n, sent = 0;
    sys_iov iov = {big, sizeof big};
    while (!r.sb->writev(r.sb, r.cfd, &iov, 1, &n)) sent += n;
    assert_true(sent > 0 && sent <= r.net.window_max);
    (void)sim_world_run(&r.w, r.w.now + USEC_PER_SEC);
    sys_ready ev[4];
    assert_int_equal(r.sb->poll_wait(r.sb, r.pb, 0, ev, 4), 0); /* not writable */
    assert_int_equal(r.sa->read(r.sa, r.afd, big, sizeof big, &n), ERR_OK);
    assert_int_equal(r.sb->poll_wait(r.sb, r.pb, 0, ev, 4), 1);
    assert_int_equal(ev[0].events, SYS_OUT);
    rig_down(&r);
}

static void close_is_read_as_eof_after_the_data(void **state) {
    (void)state;
    rig r;
    char got[8];
    size_t n;
    rig_up(&r, 5);
    r.net.partial = false;
    assert_int_equal(rig_connect(&r), ERR_OK);
    sys_iov iov = {(const uint8_t *)"bye", 3};
    assert_int_equal(r.sb->writev(r.sb, r.cfd, &iov, 1, &n), ERR_OK);
    r.sb->close(r.sb, r.cfd);
    (void)sim_world_run(&r.w, r.w.now + USEC_PER_SEC);
    assert_int_equal(r.sa->read(r.sa, r.afd, got, 8, &n), ERR_OK);
    assert_int_equal(n, 3);
    assert_int_equal(r.sa->read(r.sa, r.afd, got, 8, &n), ERR_EOF);
    assert_int_equal(r.sa->writev(r.sa, r.afd, &iov, 1, &n), ERR_OK); /* nobody is there */
    (void)sim_world_run(&r.w, r.w.now + USEC_PER_SEC);
    assert_int_equal(r.sa->writev(r.sa, r.afd, &iov, 1, &n), ERR_RESET);
    rig_down(&r);
}

static void nobody_listening_is_refused(void **state) {
    (void)state;
    rig r;
    rig_up(&r, 6);
    r.sa->close(r.sa, r.lfd);
    assert_int_equal(rig_connect(&r), ERR_REFUSED);
    rig_down(&r);
}

static void a_killed_process_ends_its_connections_a_dead_machine_is_silent(void **state) {
    (void)state;
    for (int power = 0; power < 2; power++) {
        rig r;
        char got[8];
        size_t n;
        rig_up(&r, 7);
        assert_int_equal(rig_connect(&r), ERR_OK);
        sim_host_kill(&r.a, power ? SIM_POWER : SIM_KILLED);
        sim_host_reset(&r.a);
        (void)sim_world_run(&r.w, r.w.now + USEC_PER_SEC / 2);
        err e = r.sb->read(r.sb, r.cfd, got, 8, &n);
        assert_int_equal(e, power ? ERR_AGAIN : ERR_EOF);
        sys_iov iov = {(const uint8_t *)"x", 1};
        assert_int_equal(r.sb->writev(r.sb, r.cfd, &iov, 1, &n), ERR_OK);
        (void)sim_world_run(&r.w, r.w.now + 120 * USEC_PER_SEC);
        assert_int_equal(r.sb->read(r.sb, r.cfd, got, 8, &n), ERR_RESET); /* whoever writes to it learns it */
        rig_down(&r);
    }
}

static void a_cut_direction_delivers_after_it_heals(void **state) {
    (void)state;
    rig r;
    char got[8];
    size_t n;
    rig_up(&r, 8);
    assert_int_equal(rig_connect(&r), ERR_OK);
    sys_iov iov = {(const uint8_t *)"x", 1};
    sim_sock *s = &r.net.conns->end[1];
    sim_net_cut(s, true, false, r.w.now + 10 * USEC_PER_SEC);
    assert_int_equal(r.sb->writev(r.sb, r.cfd, &iov, 1, &n), ERR_OK);
    assert_int_equal(r.sa->writev(r.sa, r.afd, &iov, 1, &n), ERR_OK);
    (void)sim_world_run(&r.w, r.w.now + 5 * USEC_PER_SEC);
    assert_int_equal(r.sa->read(r.sa, r.afd, got, 8, &n), ERR_AGAIN);
    assert_int_equal(r.sb->read(r.sb, r.cfd, got, 8, &n), ERR_OK); /* the other direction works */
    (void)sim_world_run(&r.w, r.w.now + 6 * USEC_PER_SEC);
    assert_int_equal(r.sa->read(r.sa, r.afd, got, 8, &n), ERR_OK);
    rig_down(&r);
}

static void a_machine_dies_at_the_file_call_it_was_told_and_does_nothing_after(void **state) {
    (void)state;
    for (uint32_t calls = 1; calls <= 6; calls++) {
        rig r;
        rig_up(&r, 9 + calls);
        int fd = -1;
        unsigned ok = 0;
        sim_host_light(&r.a, SIM_POWER, calls);
        ok += !r.sa->file_open(r.sa, "f", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd);
        ok += !r.sa->file_write(r.sa, fd, SLICE("abc"), 0);
        ok += !r.sa->file_sync(r.sa, fd);
        ok += !r.sa->dir_sync(r.sa, "");
        ok += !r.sa->file_write(r.sa, fd, SLICE("def"), 0);
        assert_int_equal(ok, calls - 1);
        sys_ready ev[1];
        assert_int_equal(r.a.dead, calls <= 5 ? SIM_POWER : SIM_ALIVE);
        if (r.a.dead) assert_int_equal(r.sa->poll_wait(r.sa, r.pa, 0, ev, 1), 0);
        sim_host_kill(&r.a, SIM_POWER);
        sim_host_reset(&r.a);
        char got[4] = "";
        size_t n = 0;
        err e = r.sa->file_open(r.sa, "f", SYS_OPEN_READ, &fd);
        if (calls > 4) assert_int_equal(e, ERR_OK);
        if (!e) assert_int_equal(r.sa->file_read(r.sa, fd, got, 3, 0, &n), ERR_OK);
        if (calls == 5 || calls == 4) assert_true(e || got[0] == 'a' || got[0] == 'd');
        rig_down(&r);
    }
}

static void handles_are_the_lowest_free_and_limited(void **state) {
    (void)state;
    rig r;
    rig_up(&r, 30);
    r.a.fds_max = 4;
    int x = -1, y = -1, z = -1;
    assert_int_equal(r.sa->file_open(r.sa, "x", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &x), ERR_OK);
    assert_int_equal(r.sa->file_open(r.sa, "y", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &y), ERR_OK);
    assert_int_equal(r.sa->file_open(r.sa, "z", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &z), ERR_FD_LIMIT);
    r.sa->file_close(r.sa, x);
    assert_int_equal(r.sa->file_open(r.sa, "z", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &z), ERR_OK);
    assert_int_equal(z, x);
    rig_down(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_once_and_in_order_whatever_the_delays),
        cmocka_unit_test(a_writer_who_fills_the_window_must_wait_for_the_reader),
        cmocka_unit_test(close_is_read_as_eof_after_the_data),
        cmocka_unit_test(nobody_listening_is_refused),
        cmocka_unit_test(a_killed_process_ends_its_connections_a_dead_machine_is_silent),
        cmocka_unit_test(a_cut_direction_delivers_after_it_heals),
        cmocka_unit_test(a_machine_dies_at_the_file_call_it_was_told_and_does_nothing_after),
        cmocka_unit_test(handles_are_the_lowest_free_and_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
