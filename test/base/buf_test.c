/* buf: contents, the limit, and the failure that sticks. */
#include "base/buf.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "unit.h"

static void an_empty_buf_owns_no_memory(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 10);
    assert_null(b.p);
    buf_add(&b, SLICE_NULL);
    buf_add_str(&b, "");
    assert_null(b.p);
    buf_add_str(&b, "x");
    buf_fini(&b);
    assert_null(b.p);
    assert_int_equal(b.max, 10);
}

static void pieces_append_in_order(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1000);
    buf_add(&b, SLICE("ab"));
    buf_add_byte(&b, 'c');
    buf_addf(&b, "%d-%s", 42, "x");
    buf_add_u16le(&b, 0x0102);
    buf_add_u32le(&b, 0x01020304);
    buf_add_u64le(&b, UINT64_C(0x0102030405060708));
    buf_add_u16be(&b, 0x0102);
    buf_add_u32be(&b, 0x01020304);
    buf_add_u64be(&b, UINT64_C(0x0102030405060708));
    assert_true(buf_ok(&b));
    static const uint8_t want[] = "abc42-x\2\1\4\3\2\1\10\7\6\5\4\3\2\1\1\2\1\2\3\4\1\2\3\4\5\6\7\10";
    assert_true(slice_eq(buf_slice(&b), slice_of(want, sizeof want - 1)));
    buf_fini(&b);
}

static void exactly_max_fits_and_one_more_fails(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 4);
    buf_add_str(&b, "abcd");
    assert_true(buf_ok(&b));
    buf_add_byte(&b, 'e');
    assert_false(buf_ok(&b));
    assert_true(slice_is(buf_slice(&b), "abcd"));
    buf_fini(&b);
}

static void failure_is_sticky_until_reset(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 4);
    buf_add_str(&b, "ab");
    buf_add_str(&b, "too long");
    buf_add_byte(&b, 'c');
    buf_addf(&b, "d");
    buf_add_u16le(&b, 1);
    buf_add_u32be(&b, 1);
    assert_null(buf_reserve(&b, 0));
    assert_true(slice_is(buf_slice(&b), "ab"));
    buf_reset(&b);
    assert_true(buf_ok(&b));
    buf_add_str(&b, "wxyz");
    assert_true(slice_is(buf_slice(&b), "wxyz"));
    buf_fini(&b);
}

static void addf_fits_exactly_at_max_and_fails_past_it(void **state) {
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        buf b;
        buf_init(&b, max);
        buf_addf(&b, "%0*d", 100, 7);
        assert_int_equal(buf_ok(&b), max >= 100);
        assert_int_equal(b.len, max >= 100 ? 100 : 0);
        if (max >= 100) assert_int_equal(b.p[99], '7');
        buf_fini(&b);
    }
}

static void lslice_is_all_or_nothing_and_reads_back(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 9);
    buf_add_lslice(&b, SLICE("hello"));
    assert_true(buf_ok(&b));
    cursor c = cursor_of(buf_slice(&b));
    slice s;
    assert_true(cursor_lslice(&c, &s));
    assert_true(slice_is(s, "hello"));
    buf_reset(&b);
    buf_add_lslice(&b, SLICE("hello!"));
    assert_false(buf_ok(&b));
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void reserve_then_added_appends(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 100);
    uint8_t *p = buf_reserve(&b, 10);
    memcpy(p, "0123", 4);
    buf_added(&b, 4);
    assert_true(slice_is(buf_slice(&b), "0123"));
    assert_non_null(buf_reserve(&b, 96));
    assert_null(buf_reserve(&b, 97));
    buf_fini(&b);
    buf_init(&b, 0);
    assert_non_null(buf_reserve(&b, 0));
    buf_fini(&b);
}

static void consume_drops_from_the_front(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    buf_add_str(&b, "hello");
    buf_consume(&b, 2);
    assert_true(slice_is(buf_slice(&b), "llo"));
    buf_consume(&b, 3);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void take_hands_over_the_memory(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 100);
    buf_add_str(&b, "hello");
    uint8_t *p;
    size_t len;
    buf_take(&b, &p, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(p, "hello", 5);
    assert_null(b.p);
    buf_add_str(&b, "again");
    assert_true(buf_ok(&b));
    buf_fini(&b);
    mem_free(p);
}

static void consume_too_much(void *arg) {
    (void)arg;
    buf b;
    buf_init(&b, 10);
    buf_add_str(&b, "ab");
    buf_consume(&b, 3);
}

static void add_what_was_not_reserved(void *arg) {
    (void)arg;
    buf b;
    buf_init(&b, 10);
    buf_added(&b, 1);
}

static void broken_contracts_panic(void **state) {
    (void)state;
    assert_true(panics(consume_too_much, NULL, "buf_consume(3)"));
    assert_true(panics(add_what_was_not_reserved, NULL, "buf_added(1)"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buf_owns_no_memory),
        cmocka_unit_test(pieces_append_in_order),
        cmocka_unit_test(exactly_max_fits_and_one_more_fails),
        cmocka_unit_test(failure_is_sticky_until_reset),
        cmocka_unit_test(addf_fits_exactly_at_max_and_fails_past_it),
        cmocka_unit_test(lslice_is_all_or_nothing_and_reads_back),
        cmocka_unit_test(reserve_then_added_appends),
        cmocka_unit_test(consume_drops_from_the_front),
        cmocka_unit_test(take_hands_over_the_memory),
        cmocka_unit_test(broken_contracts_panic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
