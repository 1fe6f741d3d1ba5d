/* prng: the stream of a seed is fixed for ever, and draws are uniform. */
#include "base/prng.h"
#include "unit.h"

static void xoshiro_gives_the_numbers_of_the_reference_code(void **state) {
    (void)state;
    prng r = {{1, 2, 3, 4}};
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240}; /* rand_xoshiro's test, made with the authors' C code */
    for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_true(prng_next(&r) == want[i]);
}

static void the_seed_goes_through_splitmix64(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 0);
    assert_true(r.s[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(r.s[1] == UINT64_C(0x6e789e6aa1b965f4));
    assert_true(r.s[2] == UINT64_C(0x06c45d188009454f));
    assert_true(r.s[3] == UINT64_C(0xf88bb8a8724c81ec));
}

static void below_stays_below_and_is_uniform(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 42);
    unsigned count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = prng_below(&r, 7);
        assert_true(v < 7);
        count[v]++;
    }
    for (int i = 0; i < 7; i++) assert_in_range(count[i], 9600, 10400); /* four standard deviations */
    for (int i = 0; i < 1000; i++) assert_true(prng_below(&r, 1) == 0);
    const uint64_t n = (UINT64_C(3) << 62) + 1; /* a plain remainder would give the lowest third twice as often */
    unsigned low = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t v = prng_below(&r, n);
        assert_true(v < n);
        low += v < n / 3;
    }
    assert_in_range(low, 9650, 10350);
}

static void chance_is_a_fraction(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 5);
    unsigned hits = 0;
    for (int i = 0; i < 100000; i++) {
        hits += prng_chance(&r, 1, 10);
        assert_false(prng_chance(&r, 0, 3));
        assert_true(prng_chance(&r, 3, 3));
    }
    assert_in_range(hits, 9600, 10400);
}

static void draw_from_nothing(void *arg) {
    (void)arg;
    prng r;
    prng_init(&r, 1);
    (void)prng_below(&r, 0);
}

static void drawing_from_nothing_panics(void **state) {
    (void)state;
    assert_true(panics(draw_from_nothing, NULL, "prng_below(0)"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xoshiro_gives_the_numbers_of_the_reference_code),
        cmocka_unit_test(the_seed_goes_through_splitmix64),
        cmocka_unit_test(below_stays_below_and_is_uniform),
        cmocka_unit_test(chance_is_a_fraction),
        cmocka_unit_test(drawing_from_nothing_panics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
