/* cursor: every read at every length of input, and nothing consumed on failure. */
#include "base/cursor.h"
#include "unit.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};

static void both_byte_orders(void **state) {
    (void)state;
    cursor c = cursor_of(slice_of(bytes, 8));
    uint8_t a;
    uint16_t b;
    uint32_t d;
    uint64_t e;
    assert_true(cursor_u8(&c, &a) && a == 1);
    assert_true(cursor_u16le(&c, &b) && b == 0x0302);
    assert_true(cursor_u32le(&c, &d) && d == 0x07060504);
    assert_int_equal(cursor_left(&c), 1);
    c = cursor_of(slice_of(bytes, 8));
    assert_true(cursor_u16be(&c, &b) && b == 0x0102);
    assert_true(cursor_u32be(&c, &d) && d == 0x03040506);
    c = cursor_of(slice_of(bytes, 8));
    assert_true(cursor_u64le(&c, &e) && e == UINT64_C(0x0807060504030201));
    c = cursor_of(slice_of(bytes, 8));
    assert_true(cursor_u64be(&c, &e) && e == UINT64_C(0x0102030405060708));
}

static void too_short_consumes_and_writes_nothing(void **state) {
    (void)state;
    for (size_t len = 0; len < 8; len++) {
        cursor c = cursor_of(slice_of(bytes, len));
        uint8_t a = 99;
        uint16_t b = 99;
        uint32_t d = 99;
        uint64_t e = 99;
        slice s = SLICE("x");
        if (len < 1) assert_false(cursor_u8(&c, &a));
        if (len < 2) assert_false(cursor_u16le(&c, &b) || cursor_u16be(&c, &b));
        if (len < 4) assert_false(cursor_u32le(&c, &d) || cursor_u32be(&c, &d));
        assert_false(cursor_u64le(&c, &e) || cursor_u64be(&c, &e));
        assert_false(cursor_bytes(&c, len + 1, &s) || cursor_bytes(&c, SIZE_MAX, &s));
        assert_true(a == 99 && b == 99 && d == 99 && e == 99 && slice_is(s, "x"));
        assert_int_equal(cursor_left(&c), len);
    }
}

static void a_length_beyond_the_end_is_refused_whole(void **state) {
    (void)state;
    cursor c = cursor_of(SLICE("\3\0\0\0abc\4\0\0\0abc"));
    slice s;
    assert_true(cursor_lslice(&c, &s));
    assert_true(slice_is(s, "abc"));
    assert_false(cursor_lslice(&c, &s));
    assert_int_equal(cursor_left(&c), 7);
    c = cursor_of(SLICE("\xff\xff\xff\xff"));
    assert_false(cursor_lslice(&c, &s));
    assert_int_equal(cursor_left(&c), 4);
}

static void an_absent_slice_reads_as_empty(void **state) {
    (void)state;
    cursor c = cursor_of(SLICE_NULL);
    slice s = SLICE("x");
    uint8_t a;
    assert_false(cursor_u8(&c, &a));
    assert_true(cursor_bytes(&c, 0, &s));
    assert_int_equal(s.len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_byte_orders),
        cmocka_unit_test(too_short_consumes_and_writes_nothing),
        cmocka_unit_test(a_length_beyond_the_end_is_refused_whole),
        cmocka_unit_test(an_absent_slice_reads_as_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
