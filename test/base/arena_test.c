/* arena: alignment, zeroes, the limit, and reset. */
#include "base/arena.h"
#include "base/prng.h"
#include "unit.h"

static void allocations_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    arena a;
    arena_init(&a, 10 * 1024 * 1024);
    prng r;
    prng_init(&r, 1);
    for (int round = 0; round < 3; round++) {
        struct {
            uint8_t *p;
            size_t len;
        } got[300];
        for (size_t i = 0; i < ARRAY_LEN(got); i++) {
            got[i].len = (size_t)prng_below(&r, i % 50 == 0 ? 20000 : 200);
            got[i].p = arena_alloc(&a, got[i].len);
            assert_non_null(got[i].p);
            assert_int_equal((uintptr_t)got[i].p % 8, 0);
            for (size_t j = 0; j < got[i].len; j++) assert_true(got[i].p[j] == 0);
            memset(got[i].p, (int)(i & 0xff), got[i].len);
        }
        for (size_t i = 0; i < ARRAY_LEN(got); i++)
            for (size_t j = 0; j < got[i].len; j++) assert_true(got[i].p[j] == (i & 0xff));
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_fini(&a);
    assert_null(a.head);
}

static void the_limit_holds_and_reset_gives_it_back(void **state) {
    (void)state;
    arena a;
    arena_init(&a, 64);
    assert_non_null(arena_alloc(&a, 60));
    assert_int_equal(a.used, 64);
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, 0));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 64));
    arena_fini(&a);
}

static void absurd_sizes_do_not_wrap(void **state) {
    (void)state;
    arena a;
    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 3));
    arena_fini(&a);
}

static void dup_copies_with_a_nul_behind(void **state) {
    (void)state;
    arena a;
    arena_init(&a, 24);
    slice s = arena_dup(&a, SLICE("1234567"));
    assert_memory_equal(s.p, "1234567", 8);
    assert_int_equal(s.len, 7);
    s = arena_dup(&a, SLICE_NULL);
    assert_non_null(s.p);
    assert_int_equal(s.len, 0);
    assert_null(arena_dup(&a, SLICE("12345678")).p);
    arena_fini(&a);
}

static void an_unused_arena_owns_no_memory(void **state) {
    (void)state;
    arena a;
    arena_init(&a, 1000);
    arena_reset(&a);
    assert_null(a.head);
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_zeroed_and_apart),
        cmocka_unit_test(the_limit_holds_and_reset_gives_it_back),
        cmocka_unit_test(absurd_sizes_do_not_wrap),
        cmocka_unit_test(dup_copies_with_a_nul_behind),
        cmocka_unit_test(an_unused_arena_owns_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
