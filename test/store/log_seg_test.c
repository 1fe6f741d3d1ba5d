/* log_seg_test: a log of many segments needs few descriptors, whoever reads, and a process without descriptors keeps what it has. */
#include "base/mem.h"
#include "store/log_int.h"
#include "support/memsys.h"

#include <stdio.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define OPEN_MAX 8u
#define TEXT_LEN 3000u

static store_log *open_log_with(memsys *m, uint32_t open_max, store_log_open_stat *st) {
    store_log_cfg c = {.dir = "log",
                       .partitions = 1,
                       .segment_bytes = LOG_PAGE + TEXT_LEN, /* one message each */
                       .batch_bytes_max = 65536,
                       .segments_open_max = open_max,
                       .compact = true};
    store_log *l = NULL;
    assert_int_equal(store_log_open(&m->sys, &c, NULL, NULL, &l, st), ERR_OK);
    return l;
}

static store_log *open_log(memsys *m, store_log_open_stat *st) { return open_log_with(m, OPEN_MAX, st); }

static unsigned descriptors(const memsys *m) {
    unsigned n = 0;
    for (int i = 0; i < MEMSYS_FDS; i++) n += m->fd[i].inode != NULL;
    return n;
}

static void text_of(unsigned n, char text[TEXT_LEN + 1]) {
    memset(text, 't', TEXT_LEN);
    (void)snprintf(text, TEXT_LEN + 1, "%08u", n);
    text[8] = 't';
    text[TEXT_LEN] = 0;
}

/* The sums that are kept are those that a look at every segment gives. */
static void expect_sums(const store_log *l) {
    uint64_t live = 0, total = 0;
    for (size_t i = 0; i < l->n_segs; i++) {
        live += store_log_seg_live_bytes(l->segs[i]);
        total += l->segs[i]->size;
    }
    store_status st = {0};
    store_log_status(l, &st);
    assert_int_equal(st.live_bytes, live);
    assert_int_equal(st.total_bytes, total);
}

static uint64_t put(store_log *l, memsys *m, unsigned n) {
    char text[TEXT_LEN + 1];
    uint64_t loc = 0;
    text_of(n, text);
    assert_int_equal(store_log_put(l, n + 1, SLICE("u@x"), slice_str(text), m->wall, 0, 0, &loc), ERR_OK);
    assert_int_equal(store_log_commit(l), ERR_OK);
    return loc;
}

static err try_read(store_log *l, unsigned n, uint64_t loc) {
    char text[TEXT_LEN + 1];
    int64_t wall;
    buf b;
    buf_init(&b, 65536);
    text_of(n, text);
    err e = store_log_read(l, n + 1, loc, &b, &wall);
    if (e == ERR_OK) assert_true(slice_is(buf_slice(&b), text));
    buf_fini(&b);
    return e;
}

/* Descriptors: those of the limit, and the lock. The simulated machine has 1,024 in all. */
static void twenty_thousand_segments_need_a_bounded_number_of_descriptors(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint64_t loc[N];
    memsys m;
    store_log_open_stat st;
    memsys_init(&m, 1);
    store_log *l = open_log(&m, &st);
    for (unsigned i = 0; i < N; i++) {
        loc[i] = put(l, &m, i);
        if (i % 100 == 0) assert_true(descriptors(&m) <= OPEN_MAX + 1);
    }
    assert_true(l->n_segs > N);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 1000; i++) {
            unsigned n = (unsigned)(prng_next(&m.rng) % N);
            assert_int_equal(try_read(l, n, loc[n]), ERR_OK);
            assert_true(descriptors(&m) <= OPEN_MAX + 1);
        }
        if (again) break;
        store_log_close(l);
        assert_int_equal(descriptors(&m), 0);
        l = open_log(&m, &st);
        assert_int_equal(st.live, N);
        assert_true(descriptors(&m) <= OPEN_MAX + 1);
        expect_sums(l);
    }
    store_log_close(l);
    memsys_fini(&m);
}

/* The whole of it, index and backup, while the process has no descriptor but those of the log. */
static void without_a_free_descriptor_an_idle_one_is_closed(void **state) {
    (void)state;
    enum { N = 30 };
    uint64_t loc[N];
    int fd[MEMSYS_FDS], n = 0;
    memsys m;
    store_log_open_stat st;
    memsys_init(&m, 2);
    store_log *l = open_log(&m, &st);
    for (unsigned i = 0; i < N; i++) loc[i] = put(l, &m, i);
    while (m.sys.file_open(&m.sys, "other", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd[n]) == ERR_OK) n++;
    for (unsigned i = 0; i < N; i++) assert_int_equal(try_read(l, i, loc[i]), ERR_OK);
    store_index *x;
    for (int i = 0; i < 2; i++) { /* from recovery, then from a scan */
        assert_int_equal(store_log_index(l, 0, 1, &x), ERR_OK);
        if (i) assert_int_equal(x->n_entries, N);
        x->box.free(&x->box);
    }
    (void)put(l, &m, N); /* and a new segment */
    while (n > 0) m.sys.file_close(&m.sys, fd[--n]);
    store_log_close(l);
    memsys_fini(&m);
}

/* Not even that: the segment in use grows beyond its size, and nothing is lost. */
static void without_any_descriptor_the_last_segment_grows(void **state) {
    (void)state;
    int fd[MEMSYS_FDS], n = 0;
    memsys m;
    store_log_open_stat st;
    memsys_init(&m, 3);
    store_log *l = open_log(&m, &st);
    size_t segments = l->n_segs;
    while (m.sys.file_open(&m.sys, "other", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd[n]) == ERR_OK) n++;
    for (unsigned i = 0; i < 5; i++) assert_int_equal(try_read(l, i, put(l, &m, i)), ERR_OK);
    assert_int_equal(l->n_segs, segments);
    while (n > 0) m.sys.file_close(&m.sys, fd[--n]);
    (void)put(l, &m, 5);
    assert_int_equal(l->n_segs, segments + 1);
    store_log_close(l);
    l = open_log(&m, &st);
    assert_int_equal(st.live, 6);
    store_log_close(l);
    memsys_fini(&m);
}

static void on_moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    (void)arg;
    (void)id;
    assert_true(slice_is(user, "u@x") && loc != 0);
}

/* A backup and a reader have a segment pinned; its name goes, its bytes stay for them. */
static void a_segment_that_is_dropped_is_read_to_the_end_by_who_has_it(void **state) {
    (void)state;
    enum { N = 40 };
    uint64_t loc[N], end = 0;
    memsys m;
    store_log_open_stat st;
    memsys_init(&m, 4);
    store_log *l = open_log(&m, &st);
    for (unsigned i = 0; i < N; i++) loc[i] = put(l, &m, i);
    for (unsigned i = 0; i < N; i++)
        if (i != 0) assert_int_equal(store_log_del(l, i + 1, loc[i]), ERR_OK);
    assert_int_equal(store_log_commit(l), ERR_OK);
    expect_sums(l);
    for (unsigned i = 0; i < 2 * OPEN_MAX; i++) assert_int_equal(try_read(l, N - 1 - i, loc[N - 1 - i]), ERR_OK); /* the first is closed */
    log_seg *g = store_log_pin(l, log_loc_segment(loc[0]), &end);
    assert_non_null(g);
    uint64_t segment = 0;
    assert_int_equal(store_log_compact(l, on_moved, NULL, &segment), ERR_OK);
    assert_int_equal(segment, g->number);
    assert_int_equal(store_log_drop(l, segment), ERR_OK);
    expect_sums(l);
    assert_int_equal(store_log_seg_use(l, g), ERR_OK);
    uint8_t byte;
    size_t got = 0;
    assert_int_equal(m.sys.file_read(&m.sys, g->fd, &byte, 1, 0, &got), ERR_OK);
    assert_int_equal(byte, 'M');
    store_log_seg_unuse(l, g);
    store_log_unpin(l, g);
    assert_true(descriptors(&m) <= OPEN_MAX + 1);
    store_log_close(l);
    memsys_fini(&m);
}

static void on_moved_note(void *arg, slice user, uint64_t id, uint64_t loc) {
    uint64_t *told = arg;
    (void)user;
    if (id == 1) *told = loc;
}

/* Found by the simulator's torture: who had no descriptor between the commit of the copies and the telling tried again later, and a message
 * deleted where it had lain before came back. Whichever call finds no descriptor: a deletion at the place that was told is one. */
static void a_copy_that_is_committed_is_told_whatever_descriptors_there_are(void **state) {
    (void)state;
    enum { N = 6 };
    unsigned failures = 0;
    for (uint64_t nth = 1;; nth++) {
        memsys m;
        store_log_open_stat st;
        memsys_init(&m, 9);
        store_log *l = open_log_with(&m, 1, &st);
        uint64_t told = put(l, &m, 0), segment = 0;
        for (unsigned i = 1; i < N; i++) (void)put(l, &m, i);
        m.fail_with = ERR_FD_LIMIT;
        m.fail_at = m.calls + nth;
        err e = store_log_compact(l, on_moved_note, &told, &segment);
        bool past = m.calls < m.fail_at;
        m.fail_at = 0;
        failures += e == ERR_FD_LIMIT;
        if (e == ERR_FD_LIMIT) e = store_log_compact(l, on_moved_note, &told, &segment);
        if (e == ERR_OK) e = store_log_drop(l, segment);
        bool deleted = e == ERR_OK;
        if (deleted) {
            assert_int_equal(store_log_del(l, 1, told), ERR_OK);
            assert_int_equal(store_log_commit(l), ERR_OK);
        }
        store_log_close(l);
        l = open_log_with(&m, 1, &st);
        assert_int_equal(st.live, deleted ? N - 1 : N);
        store_log_close(l);
        memsys_fini(&m);
        if (past) break;
    }
    assert_true(failures > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_thousand_segments_need_a_bounded_number_of_descriptors),
        cmocka_unit_test(without_a_free_descriptor_an_idle_one_is_closed),
        cmocka_unit_test(without_any_descriptor_the_last_segment_grows),
        cmocka_unit_test(a_copy_that_is_committed_is_told_whatever_descriptors_there_are),
        cmocka_unit_test(a_segment_that_is_dropped_is_read_to_the_end_by_who_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
