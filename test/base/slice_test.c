/* slice: order, search, clamping, and the difference between absent and empty. */
#include "base/mem.h"
#include "base/slice.h"
#include "unit.h"

static void order_is_bytewise_and_the_prefix_comes_first(void **state) {
    (void)state;
    assert_int_equal(slice_cmp(SLICE("a"), SLICE("b")), -1);
    assert_int_equal(slice_cmp(SLICE("b"), SLICE("a")), 1);
    assert_int_equal(slice_cmp(SLICE("a"), SLICE("ab")), -1);
    assert_int_equal(slice_cmp(SLICE("ab"), SLICE("a")), 1);
    assert_int_equal(slice_cmp(SLICE("\x7f"), SLICE("\x80")), -1);
    assert_int_equal(slice_cmp(SLICE_NULL, SLICE("")), 0);
    assert_int_equal(slice_cmp(SLICE_NULL, SLICE("a")), -1);
}

static void find_gives_the_first_index_or_the_length(void **state) {
    (void)state;
    assert_int_equal(slice_find(SLICE("abcb"), 'b'), 1);
    assert_int_equal(slice_find(SLICE("abcb"), 'x'), 4);
    assert_int_equal(slice_find(SLICE_NULL, 'x'), 0);
}

static void constant_time_equality_agrees_with_equality(void **state) {
    (void)state;
    static const char *const words[] = {"", "a", "b", "secret", "secreT", "Secret", "secre"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        for (size_t j = 0; j < ARRAY_LEN(words); j++) assert_int_equal(slice_eq_ct(slice_str(words[i]), slice_str(words[j])), i == j);
    assert_true(slice_eq_ct(SLICE_NULL, SLICE("")));
}

static void sub_is_clamped(void **state) {
    (void)state;
    slice s = SLICE("hello");
    assert_true(slice_is(slice_sub(s, 1, 3), "ell"));
    assert_true(slice_is(slice_sub(s, 3, SIZE_MAX), "lo"));
    assert_int_equal(slice_sub(s, 9, 1).len, 0);
    assert_true(slice_is(slice_from(s, 4), "o"));
    assert_null(slice_from(SLICE_NULL, 4).p);
    assert_true(slice_starts(s, SLICE("hel")));
    assert_false(slice_starts(s, SLICE("hello!")));
}

static void dup_str_ends_with_nul_and_keeps_inner_bytes(void **state) {
    (void)state;
    char *s = slice_dup_str(SLICE("a\0b"));
    assert_memory_equal(s, "a\0b", 4);
    mem_free(s);
    s = slice_dup_str(SLICE_NULL);
    assert_string_equal(s, "");
    mem_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_bytewise_and_the_prefix_comes_first), cmocka_unit_test(find_gives_the_first_index_or_the_length),
        cmocka_unit_test(constant_time_equality_agrees_with_equality),  cmocka_unit_test(sub_is_clamped),
        cmocka_unit_test(dup_str_ends_with_nul_and_keeps_inner_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
