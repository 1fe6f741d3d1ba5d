/* log_read_test: many records by one reader: few reads when they lie in a row, the right bytes in any order, beside the writer, and damage
 * that costs no other record. */
#include "base/mem.h"
#include "store/log_read.h"
#include "support/memsys.h"

#include <stdio.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define N 400u

typedef struct rig {
    memsys m;
    store_log *l;
    uint64_t loc[N];
} rig;

/* Most are short; some do not fit into the first read, or into any window. */
static size_t text_of(unsigned n, char *out) {
    size_t len = n % 97 == 96 ? 70000 : n % 50 == 49 ? 3000 : 100 + n % 200;
    memset(out, 'a' + (int)(n % 26), len);
    (void)snprintf(out, 16, "%010u", n);
    return len;
}

static void put(rig *r, unsigned n) {
    static char text[70000];
    size_t len = text_of(n, text);
    slice env = slice_of(text, len);
    assert_int_equal(store_log_put(r->l, n + 1, SLICE("u@x"), env, 1000 + n, 0, 0, &r->loc[n]), ERR_OK);
    assert_int_equal(store_log_commit(r->l), ERR_OK);
}

static void rig_init(rig *r, uint64_t segment_bytes) {
    store_log_cfg c = {.dir = "log", .partitions = 1, .segment_bytes = segment_bytes, .batch_bytes_max = 1u << 20, .compact = true};
    store_log_open_stat st;
    memsys_init(&r->m, 1);
    assert_int_equal(store_log_open(&r->m.sys, &c, NULL, NULL, &r->l, &st), ERR_OK);
}
static void rig_fini(rig *r) {
    store_log_close(r->l);
    memsys_fini(&r->m);
}

static err get(log_reader *x, const rig *r, unsigned n) {
    static char text[70000];
    buf b;
    int64_t wall = 0;
    buf_init(&b, 1u << 20);
    err e = store_log_reader_get(x, n + 1, r->loc[n], &b, &wall);
    if (e == ERR_OK) {
        size_t len = text_of(n, text);
        assert_true(slice_eq(buf_slice(&b), slice_of(text, len)));
        assert_int_equal(wall, 1000 + n);
    }
    buf_fini(&b);
    return e;
}

static void records_in_a_row_share_reads(void **state) {
    (void)state;
    rig *r = mem_zalloc(sizeof *r);
    rig_init(r, 1u << 24);
    for (unsigned i = 0; i < N; i++) put(r, i);
    log_reader x;
    store_log_reader_init(&x, r->l);
    uint64_t before = r->m.calls;
    for (unsigned i = 0; i < N; i++) assert_int_equal(get(&x, r, i), ERR_OK);
    assert_true(r->m.calls - before < N / 10);
    store_log_reader_fini(&x);
    rig_fini(r);
    mem_free(r);
}

static void any_order_over_many_segments_gives_the_right_bytes(void **state) {
    (void)state;
    rig *r = mem_zalloc(sizeof *r);
    rig_init(r, 20000);
    for (unsigned i = 0; i < N / 2; i++) put(r, i);
    log_reader x;
    store_log_reader_init(&x, r->l);
    for (unsigned i = 0; i < 2000; i++) assert_int_equal(get(&x, r, (unsigned)(prng_next(&r->m.rng) % (N / 2))), ERR_OK);
    for (unsigned i = N / 2; i < N; i++) { /* what is committed while it stands there is seen */
        put(r, i);
        assert_int_equal(get(&x, r, i), ERR_OK);
        assert_int_equal(get(&x, r, i - 1), ERR_OK);
    }
    assert_int_equal(store_log_reader_get(&x, 1, r->loc[0] + 8, &(buf){0}, &(int64_t){0}), ERR_CORRUPT); /* not where one begins */
    assert_int_equal(store_log_reader_get(&x, 1, r->loc[0] + 1, &(buf){0}, &(int64_t){0}), ERR_INVALID);
    assert_int_equal(store_log_reader_get(&x, 2, r->loc[0], &(buf){0}, &(int64_t){0}), ERR_NOT_FOUND);
    assert_int_equal(store_log_reader_get(&x, 1, UINT64_C(999) << 32 | LOG_PAGE, &(buf){0}, &(int64_t){0}), ERR_NOT_FOUND);
    store_log_reader_fini(&x);
    rig_fini(r);
    mem_free(r);
}

static void damage_within_a_window_costs_one_record(void **state) {
    (void)state;
    rig *r = mem_zalloc(sizeof *r);
    rig_init(r, 1u << 24);
    for (unsigned i = 0; i < 40; i++) put(r, i);
    int fd;
    assert_int_equal(r->m.sys.file_open(&r->m.sys, "log/000000000001.seg", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(r->m.sys.file_write(&r->m.sys, fd, SLICE("rot"), log_loc_off(r->loc[20]) + 60), ERR_OK);
    r->m.sys.file_close(&r->m.sys, fd);
    log_reader x;
    store_log_reader_init(&x, r->l);
    for (unsigned i = 0; i < 40; i++) assert_int_equal(get(&x, r, i), i == 20 ? ERR_CORRUPT : ERR_OK);
    store_log_reader_fini(&x);
    rig_fini(r);
    mem_free(r);
}

/* A wide read that fails, because of a sector that holds somebody else, is tried again for the record alone. */
static void a_wide_read_that_fails_is_tried_for_the_one_record(void **state) {
    (void)state;
    rig *r = mem_zalloc(sizeof *r);
    rig_init(r, 1u << 24);
    for (unsigned i = 0; i < N; i++) put(r, i);
    log_reader x;
    store_log_reader_init(&x, r->l);
    for (unsigned i = 0; i < N; i++) {
        if (x.ahead > 8192 && !r->m.fail_at) { /* the next read is a wide one */
            r->m.fail_at = r->m.calls + 1;
            r->m.fail_with = ERR_IO;
        }
        assert_int_equal(get(&x, r, i), ERR_OK);
    }
    assert_true(r->m.fail_at > 0 && r->m.calls >= r->m.fail_at);
    store_log_reader_fini(&x);
    rig_fini(r);
    mem_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_in_a_row_share_reads),
        cmocka_unit_test(any_order_over_many_segments_gives_the_right_bytes),
        cmocka_unit_test(damage_within_a_window_costs_one_record),
        cmocka_unit_test(a_wide_read_that_fails_is_tried_for_the_one_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
