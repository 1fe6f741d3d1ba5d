/* mem: never NULL, growth by doubling, and panic instead of a size that wraps. */
#include "base/mem.h"
#include "unit.h"

static void zero_bytes_give_distinct_pointers(void **state) {
    (void)state;
    void *a = mem_alloc(0);
    void *b = mem_zalloc(0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    mem_free(a);
    b = mem_realloc(b, 0);
    assert_non_null(b);
    mem_free(b);
    mem_free(NULL);
}

static void zalloc_zeroes_and_wipe_zeroes(void **state) {
    (void)state;
    uint8_t *p = mem_zalloc(100);
    for (size_t i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    memset(p, 1, 100);
    mem_wipe(p, 99);
    for (size_t i = 0; i < 99; i++) assert_int_equal(p[i], 0);
    assert_int_equal(p[99], 1);
    mem_wipe(NULL, 0);
    mem_free(p);
}

static void grow_keeps_the_elements_and_doubles(void **state) {
    (void)state;
    uint32_t *arr = NULL;
    size_t cap = 0;
    size_t moves = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        size_t before = cap;
        mem_grow((void **)&arr, &cap, i + 1, sizeof *arr);
        moves += cap != before;
        assert_true(cap > i);
        arr[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++) assert_int_equal(arr[i], i);
    assert_int_equal(cap, 1024);
    assert_int_equal(moves, 8);
    mem_free(arr);
}

static void grow_absurdly(void *arg) {
    (void)arg;
    uint64_t *arr = NULL;
    size_t cap = 0;
    mem_grow((void **)&arr, &cap, SIZE_MAX / 4, sizeof *arr);
}

static void a_product_that_would_wrap_panics(void **state) {
    (void)state;
    assert_true(panics(grow_absurdly, NULL, "array of"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_bytes_give_distinct_pointers),
        cmocka_unit_test(zalloc_zeroes_and_wipe_zeroes),
        cmocka_unit_test(grow_keeps_the_elements_and_doubles),
        cmocka_unit_test(a_product_that_would_wrap_panics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
