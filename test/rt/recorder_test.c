/* The flight recorder: what is in the file when the process is gone. */
#include "base/mem.h"
#include "rt/node.h"
#include "rt/recorder.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define BYTES    (100 * 64u) /* of a ring: 100 records */
#define KEPT_MAX 4096

typedef struct fixture {
    sys *s;
    tmpdir dir;
    const char *path;
    size_t n; /* records read */
    rt_recorder_info info;
    rt_record rec[KEPT_MAX];
    unsigned ring[KEPT_MAX];
} fixture;

static int setup(void **state) {
    fixture *f = mem_zalloc(sizeof *f);
    if (sys_linux_new(&f->s)) return -1;
    tmpdir_make(&f->dir);
    static char path[128];
    (void)snprintf(path, sizeof path, "%s", tmpdir_at(&f->dir, "flight"));
    f->path = path;
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    sys_linux_free(f->s);
    tmpdir_remove(&f->dir);
    mem_free(f);
    return 0;
}

static void keep(fixture *f, unsigned ring, const rt_record *r) {
    assert_true(f->n < KEPT_MAX);
    f->ring[f->n] = ring;
    f->rec[f->n++] = *r;
}
static err read_records(fixture *f, const char *path) {
    rt_recorder_reader *r;
    rt_record x;
    unsigned ring;
    err e = rt_recorder_open(f->s, path, &r);
    if (e) return e;
    f->info = *rt_recorder_info_of(r);
    while (rt_recorder_next(r, &ring, &x)) keep(f, ring, &x);
    rt_recorder_close(r);
    return ERR_OK;
}
static void write_some(rt_recorder *r, unsigned ring, unsigned n, int64_t from) {
    for (unsigned i = 0; i < n; i++) {
        rt_record x = {.wall_usec = from + i, .event = EV_ACCEPT, .arg = {i, ring, 7}};
        rt_recorder_write(r, ring, &x);
    }
}
static void make_file(fixture *f, unsigned n0, unsigned n1) {
    rt_recorder *r;
    assert_int_equal(rt_recorder_new(f->s, f->path, BYTES, 2, &r), ERR_OK);
    write_some(r, 0, n0, 1000);
    write_some(r, 1, n1, 1050);
    rt_recorder_free(r);
}
static void change_byte(fixture *f, uint64_t at) {
    int fd;
    uint8_t b;
    size_t n;
    assert_int_equal(f->s->file_open(f->s, f->path, SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(f->s->file_read(f->s, fd, &b, 1, at, &n), ERR_OK);
    b ^= 0x55;
    assert_int_equal(f->s->file_write(f->s, fd, slice_of(&b, 1), at), ERR_OK);
    f->s->file_close(f->s, fd);
}

static void records_survive_kill_9(void **state) {
    fixture *f = *state;
    int pipe_[2];
    assert_int_equal(pipe(pipe_), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rt_recorder *r;
        if (rt_recorder_new(f->s, f->path, BYTES, 2, &r)) _exit(1);
        write_some(r, 0, 250, 1000);
        write_some(r, 1, 3, 5000);
        if (write(pipe_[1], "x", 1) != 1) _exit(1);
        for (;;) (void)pause();
    }
    char c;
    assert_int_equal(read(pipe_[0], &c, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 103); /* the newest hundred of ring 0, and three */
    assert_int_equal(f->rec[0].seq, 151);
    assert_int_equal(f->rec[99].seq, 250);
    assert_int_equal(f->rec[99].arg[0], 249);
    assert_int_equal(f->ring[102], 1);
    close(pipe_[0]);
    close(pipe_[1]);
}
static void records_of_all_rings_come_in_order_of_time(void **state) {
    fixture *f = *state;
    make_file(f, 100, 100);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 200);
    for (size_t i = 1; i < f->n; i++) assert_true(f->rec[i].wall_usec >= f->rec[i - 1].wall_usec);
    assert_int_equal(f->ring[0], 0);
    assert_int_equal(f->ring[199], 1);
}
static void a_torn_record_is_skipped_and_the_rest_is_read(void **state) {
    fixture *f = *state;
    make_file(f, 10, 0);
    for (unsigned byte = 0; byte < 64; byte++) {
        uint64_t at = 4096 + 3 * 64 + byte;
        change_byte(f, at);
        f->n = 0;
        assert_int_equal(read_records(f, f->path), ERR_OK);
        assert_int_equal(f->n, 9);
        change_byte(f, at);
    }
    f->n = 0;
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 10);
}
static void a_file_of_another_kind_or_version_is_refused(void **state) {
    fixture *f = *state;
    make_file(f, 1, 1);
    change_byte(f, 0);
    assert_int_equal(read_records(f, f->path), ERR_CORRUPT);
    change_byte(f, 0);
    change_byte(f, 8);
    assert_int_equal(read_records(f, f->path), ERR_VERSION);
    change_byte(f, 8);
    change_byte(f, 15); /* more rings than there may be */
    assert_int_equal(read_records(f, f->path), ERR_CORRUPT);
    change_byte(f, 15);
    change_byte(f, 19); /* more records than there may be */
    assert_int_equal(read_records(f, f->path), ERR_CORRUPT);
    change_byte(f, 19);
    assert_int_equal(truncate(f->path, 31), 0); /* within the header */
    assert_int_equal(read_records(f, f->path), ERR_CORRUPT);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_int_equal(read_records(f, f->path), ERR_CORRUPT);
    assert_int_equal(read_records(f, tmpdir_at(&f->dir, "none")), ERR_NOT_FOUND);
    assert_int_equal(f->n, 0);
}
static void what_a_truncated_file_still_has_is_read(void **state) {
    fixture *f = *state;
    make_file(f, 100, 100);
    for (unsigned kept = 0; kept <= 200; kept++) {
        unsigned whole = 200 - kept;
        assert_int_equal(truncate(f->path, 4096 + (long)whole * 64), 0);
        f->n = 0;
        assert_int_equal(read_records(f, f->path), ERR_OK);
        assert_int_equal(f->n, whole);
        assert_int_equal(f->info.missing_bytes, kept * 64);
        assert_int_equal(f->info.whole, whole);
    }
}
/* The oldest records stand behind the newest: those are lost first. */
static void a_ring_that_has_wrapped_and_was_cut_keeps_its_newest(void **state) {
    fixture *f = *state;
    make_file(f, 0, 150);
    assert_int_equal(truncate(f->path, 4096 + 160 * 64), 0);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 60);
    assert_int_equal(f->rec[0].seq, 51); /* 51 to 60 at index 50 to 59; 61 to 100 are gone; 101 to 150 at 0 to 49 */
    assert_int_equal(f->rec[10].seq, 101);
    for (size_t i = 1; i < f->n; i++) assert_true(f->rec[i].seq > f->rec[i - 1].seq);
    assert_int_equal(f->rec[f->n - 1].seq, 150);
}
static void records_that_come_while_it_is_read_are_left_out(void **state) {
    fixture *f = *state;
    rt_recorder *w;
    rt_recorder_reader *r;
    rt_record x;
    unsigned ring;
    uint64_t last = 0;
    assert_int_equal(rt_recorder_new(f->s, f->path, BYTES, 2, &w), ERR_OK);
    write_some(w, 0, 150, 1000);
    assert_int_equal(rt_recorder_open(f->s, f->path, &r), ERR_OK);
    write_some(w, 0, 30, 2000);
    while (rt_recorder_next(r, &ring, &x)) {
        assert_true(x.seq > last && x.seq <= 150);
        last = x.seq;
        f->n++;
    }
    assert_int_equal(last, 150);
    assert_true(f->n >= 70 && f->n <= 100); /* thirty were overwritten; what had been read ahead is there */
    rt_recorder_close(r);
    rt_recorder_free(w);
}
static void another_table_of_events_is_recognised(void **state) {
    fixture *f = *state;
    make_file(f, 3, 2);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_true(f->info.same_events);
    assert_int_equal(f->info.newest_usec, 1051);
    change_byte(f, 24);
    f->n = 0;
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_false(f->info.same_events);
    assert_int_equal(f->n, 5);
}
static void the_file_of_the_run_before_is_kept_beside(void **state) {
    fixture *f = *state;
    make_file(f, 5, 0);
    make_file(f, 7, 0);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 7);
    f->n = 0;
    assert_int_equal(read_records(f, tmpdir_at(&f->dir, "flight.1")), ERR_OK);
    assert_int_equal(f->n, 5);
}
static void sizes_that_make_no_sense_are_refused(void **state) {
    fixture *f = *state;
    rt_recorder *r;
    assert_int_equal(rt_recorder_new(f->s, f->path, 0, 1, &r), ERR_INVALID);
    assert_int_equal(rt_recorder_new(f->s, f->path, BYTES, 0, &r), ERR_INVALID);
    assert_int_equal(rt_recorder_new(f->s, f->path, SIZE_MAX, 1, &r), ERR_INVALID);
}

static void the_smallest_ring_has_16_records(void **state) {
    fixture *f = *state;
    rt_recorder *r;
    assert_int_equal(rt_recorder_new(f->s, f->path, 1, 1, &r), ERR_OK);
    write_some(r, 0, 20, 1000);
    rt_recorder_free(r);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 16);
}

static void emit(rt_ctx *cx, void *arg) {
    (void)arg;
    rt_event(cx, EV_SEND, 1, 2, 3);
    rt_event(cx, EV_CLOSE, 42, 0, 0);
    rt_event_text(cx, EV_BIND, 42, 0, SLICE("romeo@localhost"));
}
static void a_nodes_events_are_recorded_but_the_most_frequent(void **state) {
    fixture *f = *state;
    rt_node_cfg cfg;
    rt_node *n;
    rt_node_cfg_default(&cfg);
    cfg.recorder_path = f->path;
    cfg.recorder_bytes = BYTES;
    assert_int_equal(rt_node_new(&cfg, f->s, NULL, &n), ERR_OK);
    rt_node_boot(n, 0, emit, NULL);
    rt_event_ext(n, EV_CONFIG_RELOAD, 0, 0, SLICE("x"));
    rt_node_free(n);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 3);
    assert_int_equal(f->rec[0].event, EV_CLOSE);
    assert_int_equal(f->rec[0].arg[0], 42);
    assert_int_equal(f->rec[1].event, EV_BIND);
    assert_int_equal(f->rec[1].arg[2], 15);
    assert_memory_equal(f->rec[1].text, "romeo@lo", 8);
    assert_int_equal(f->rec[2].event, EV_CONFIG_RELOAD);
    assert_int_equal(f->ring[2], 1);
}

static void emit_bind(rt_ctx *cx, void *arg) { rt_event(cx, EV_CLOSE, *(uint64_t *)arg, 0, 0); }
static void recording_stops_and_goes_on(void **state) {
    fixture *f = *state;
    rt_node_cfg cfg;
    rt_node *n;
    rt_node_cfg_default(&cfg);
    assert_int_equal(rt_node_new(&cfg, f->s, NULL, &n), ERR_OK);
    assert_false(rt_event_recording(n));
    rt_event_record(n, true); /* there is nowhere to */
    assert_false(rt_event_recording(n));
    rt_node_free(n);
    cfg.recorder_path = f->path;
    cfg.recorder_bytes = BYTES;
    assert_int_equal(rt_node_new(&cfg, f->s, NULL, &n), ERR_OK);
    for (uint64_t i = 0; i < 6; i++) { /* on, off, on, ... */
        assert_true(rt_event_recording(n) == (i % 2 == 0));
        rt_node_boot(n, 0, emit_bind, &i);
        rt_event_ext(n, EV_CONFIG_RELOAD, i, 0, SLICE("x"));
        rt_event_record(n, i % 2);
    }
    rt_node_boot(n, 0, emit, NULL); /* the most frequent ones are still left out */
    assert_int_equal(rt_event_count(n, EV_CLOSE), 7);
    rt_node_free(n);
    assert_int_equal(read_records(f, f->path), ERR_OK);
    assert_int_equal(f->n, 8);
    unsigned closed = 0, reloaded = 0;
    for (size_t i = 0; i < f->n; i++) {
        const rt_record *r = &f->rec[i];
        if (r->event == EV_CLOSE && r->arg[0] != 42) assert_int_equal(r->arg[0], 2 * closed++);
        if (r->event == EV_CONFIG_RELOAD) assert_int_equal(r->arg[0], 2 * reloaded++);
        assert_int_not_equal(r->event, EV_SEND);
    }
    assert_true(closed == 3 && reloaded == 3);
}

typedef struct clocks { /* a sys whose clocks the test moves */
    sys s;
    sys *real;
    uint64_t cycles;
    usec wall;
    unsigned looks; /* at the wall clock */
} clocks;
static uint64_t clocks_cycles(sys *s) { return container_of(s, clocks, s)->cycles; }
static usec clocks_wall(sys *s) {
    container_of(s, clocks, s)->looks++;
    return container_of(s, clocks, s)->wall;
}
static uint64_t per_sec_3g(sys *s) {
    (void)s;
    return UINT64_C(3000000000);
}
static uint64_t per_sec_0(sys *s) {
    (void)s;
    return 0;
}
static void pass(clocks *c, usec t) {
    c->wall += t;
    c->cycles += (uint64_t)t * 3000;
}

static void times_are_right_to_the_microsecond_and_a_jump_shows_within_10_ms(void **state) {
    fixture *f = *state;
    clocks c = {.s = *f->s, .cycles = 12345, .wall = 1000000};
    rt_recorder *r;
    c.s.cycles = clocks_cycles;
    c.s.wall = clocks_wall;
    c.s.cycles_per_sec = per_sec_3g;
    assert_int_equal(rt_recorder_new(&c.s, f->path, BYTES, 2, &r), ERR_OK);
    for (unsigned i = 0; i < 1000; i++, pass(&c, 99)) {
        usec t = rt_recorder_wall(r, i % 2);
        assert_true(t <= c.wall && t >= c.wall - 1);
    }
    assert_true(c.looks < 30); /* two rings, 99 ms */
    c.wall -= 3600 * USEC_PER_SEC;
    (void)rt_recorder_wall(r, 0);
    pass(&c, 10 * USEC_PER_MSEC);
    assert_int_equal(rt_recorder_wall(r, 0), c.wall);
    c.cycles -= 5000; /* another CPU's counter is a little behind */
    assert_int_equal(rt_recorder_wall(r, 0), c.wall);
    rt_recorder_free(r);
    c.s.cycles_per_sec = per_sec_0; /* a world without a counter */
    assert_int_equal(rt_recorder_new(&c.s, f->path, BYTES, 1, &r), ERR_OK);
    for (unsigned i = 0; i < 10; i++, c.wall += 7) assert_int_equal(rt_recorder_wall(r, 0), c.wall);
    rt_recorder_free(r);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
/* --- out of a core (what a real one looks like: test/inside/test_trace.py; any bytes: core_fuzz) */
#define CORE_AT 8192u
typedef struct core {
    Elf64_Ehdr h;
    Elf64_Phdr p[2];
} core;

static core core_head(uint64_t recorder_len) {
    core c = {.h = {.e_type = ET_CORE, .e_phoff = offsetof(core, p), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2}};
    memcpy(c.h.e_ident, ELFMAG, SELFMAG);
    c.h.e_ident[EI_CLASS] = ELFCLASS64;
    c.h.e_ident[EI_DATA] = ELFDATA2LSB;
    c.p[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = 4096, .p_filesz = 4096};
    c.p[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = CORE_AT, .p_filesz = recorder_len};
    return c;
}
/* The recorder's file as a mapping of a core: len bytes of it are in the file, and behind it is something else. */
static const char *write_core(fixture *f, const core *c, size_t len, size_t more) {
    uint8_t *p = mem_zalloc(CORE_AT + len + more);
    int fd;
    size_t n;
    memcpy(p, c, sizeof *c);
    assert_int_equal(f->s->file_open(f->s, f->path, SYS_OPEN_READ, &fd), ERR_OK);
    assert_int_equal(f->s->file_read(f->s, fd, p + CORE_AT, len, 0, &n), ERR_OK);
    f->s->file_close(f->s, fd);
    memset(p + CORE_AT + len, 0xee, more);
    const char *path = tmpdir_at(&f->dir, "core");
    assert_int_equal(f->s->file_open(f->s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd), ERR_OK);
    assert_int_equal(f->s->file_write(f->s, fd, slice_of(p, CORE_AT + len + more), 0), ERR_OK);
    f->s->file_close(f->s, fd);
    mem_free(p);
    f->n = 0;
    return path;
}
static size_t file_len(fixture *f) {
    uint64_t len = 0;
    assert_int_equal(f->s->file_stat(f->s, f->path, &len, NULL), ERR_OK);
    return (size_t)len;
}

static void a_core_has_the_records_of_the_file(void **state) {
    fixture *f = *state;
    make_file(f, 100, 30);
    size_t len = file_len(f);
    core c = core_head(len);
    assert_int_equal(read_records(f, write_core(f, &c, len, 5000)), ERR_OK);
    assert_int_equal(f->n, 130);
    assert_true(f->info.core);
    assert_int_equal(f->info.missing_bytes, 0);
    assert_int_equal(read_records(f, write_core(f, &c, 4096 + 40 * 64, 0)), ERR_OK); /* cut off */
    assert_int_equal(f->n, 40);
    assert_int_equal(f->info.missing_bytes, len - 4096 - 40 * 64);
    c.p[1].p_filesz = 4096 + 7 * 64; /* only a part was written, and what follows belongs to another mapping */
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_OK);
    assert_int_equal(f->n, 7);
}
static void a_core_without_it_and_headers_that_lie_are_refused(void **state) {
    fixture *f = *state;
    make_file(f, 1, 1);
    size_t len = file_len(f);
    core c = core_head(len);
    c.p[1].p_filesz = 0; /* not written: the filter of cores */
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_EOF);
    c = core_head(len), c.h.e_type = ET_EXEC;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_INVALID);
    c = core_head(len), c.h.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_INVALID);
    c = core_head(len), c.h.e_phoff = UINT64_MAX - 8;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_CORRUPT);
    c = core_head(len), c.h.e_phentsize = 8;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_CORRUPT);
    c = core_head(len), c.h.e_phnum = PN_XNUM, c.h.e_shentsize = sizeof(Elf64_Shdr), c.h.e_shoff = 1u << 30;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_CORRUPT);
    c = core_head(len), c.p[1].p_offset = UINT64_MAX - 4;
    assert_int_equal(read_records(f, write_core(f, &c, len, 0)), ERR_EOF);
    assert_int_equal(f->n, 0);
}
static void a_mapped_recorder_is_in_the_cores_of_its_process(void **state) {
    fixture *f = *state;
    char text[32] = "";
    make_file(f, 1, 0);
    FILE *filter = fopen("/proc/self/coredump_filter", "r");
    assert_non_null(filter);
    assert_non_null(fgets(text, sizeof text, filter));
    (void)fclose(filter);
    assert_true(strtoul(text, NULL, 16) & 8); /* core(5): shared mappings of files */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(records_survive_kill_9),
        T(records_of_all_rings_come_in_order_of_time),
        T(a_torn_record_is_skipped_and_the_rest_is_read),
        T(a_file_of_another_kind_or_version_is_refused),
        T(what_a_truncated_file_still_has_is_read),
        T(a_ring_that_has_wrapped_and_was_cut_keeps_its_newest),
        T(records_that_come_while_it_is_read_are_left_out),
        T(another_table_of_events_is_recognised),
        T(the_file_of_the_run_before_is_kept_beside),
        T(sizes_that_make_no_sense_are_refused),
        T(the_smallest_ring_has_16_records),
        T(a_nodes_events_are_recorded_but_the_most_frequent),
        T(recording_stops_and_goes_on),
        T(times_are_right_to_the_microsecond_and_a_jump_shows_within_10_ms),
        T(a_core_has_the_records_of_the_file),
        T(a_core_without_it_and_headers_that_lie_are_refused),
        T(a_mapped_recorder_is_in_the_cores_of_its_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
