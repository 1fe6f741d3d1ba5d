/* hist: the error of a quantile, merging, and values at both ends. */
#include "base/hist.h"
#include "base/prng.h"
#include "unit.h"

#include <stdlib.h>

static hist h;

static void an_empty_histogram_gives_zero(void **state) {
    (void)state;
    hist_init(&h);
    assert_true(hist_quantile(&h, 0.5) == 0);
}

static void one_value_at_every_magnitude_within_a_sixteenth(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 11);
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (int i = 0; i < 50; i++) {
            uint64_t v = bits == 0 ? 0 : prng_next(&r) >> (64 - bits);
            if (i == 0 && bits > 0) v = UINT64_MAX >> (64 - bits); /* the last value before a power of two, */
            if (i == 1 && bits > 0) v = UINT64_C(1) << (bits - 1); /* and the power of two */
            hist_init(&h);
            hist_add(&h, v);
            hist_add(&h, UINT64_MAX); /* so that the maximum does not hide the edge of the bucket */
            uint64_t q = hist_quantile(&h, 0.5);
            if (q < v || q - v > v / 16) fail_msg("%llu came back as %llu", (unsigned long long)v, (unsigned long long)q);
            if (v < 32) assert_true(q == v);
        }
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_of_many_are_within_a_sixteenth_of_the_sorted_list(void **state) {
    (void)state;
    static uint64_t v[10000];
    prng r;
    prng_init(&r, 12);
    hist_init(&h);
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = prng_below(&r, UINT64_C(1) << prng_below(&r, 40));
        hist_add(&h, v[i]);
    }
    qsort(v, ARRAY_LEN(v), sizeof v[0], by_value);
    for (unsigned k = 0; k <= 1000; k++) {
        size_t rank = k == 0 ? 1 : k * 10;
        uint64_t want = v[rank - 1];
        uint64_t got = hist_quantile(&h, k / 1000.0);
        uint64_t slack = v[rank < ARRAY_LEN(v) ? rank : rank - 1]; /* q * n may round up by one rank */
        assert_true(got >= want && got <= slack + slack / 16);
    }
    assert_true(hist_quantile(&h, 1.0) == v[ARRAY_LEN(v) - 1]);
    assert_true(hist_quantile(&h, 2.0) == h.max && hist_quantile(&h, -1.0) >= v[0]);
}

static void merging_is_adding_the_values_of_both(void **state) {
    (void)state;
    static hist a;
    static hist b;
    prng r;
    prng_init(&r, 13);
    hist_init(&h);
    hist_init(&a);
    hist_init(&b);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = prng_next(&r) >> (i % 64);
        hist_add(&h, v);
        hist_add(i % 3 ? &a : &b, v);
    }
    hist_merge(&a, &b);
    assert_true(a.n == h.n && a.max == h.max && a.sum == h.sum);
    assert_memory_equal(a.b, h.b, sizeof h.b);
}

static void counts_saturate_instead_of_wrapping(void **state) {
    (void)state;
    static hist a;
    hist_init(&h);
    hist_init(&a);
    hist_add(&h, 5);
    h.b[5] = UINT32_MAX;
    hist_add(&h, 5);
    assert_true(h.b[5] == UINT32_MAX);
    hist_add(&a, 5);
    hist_merge(&a, &h);
    assert_true(a.b[5] == UINT32_MAX);
    hist_add(&h, UINT64_MAX);
    assert_true(h.sum == UINT64_MAX);
    assert_true(hist_quantile(&h, 0.99) == 5 && hist_quantile(&h, 1.0) == UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_gives_zero),
        cmocka_unit_test(one_value_at_every_magnitude_within_a_sixteenth),
        cmocka_unit_test(quantiles_of_many_are_within_a_sixteenth_of_the_sorted_list),
        cmocka_unit_test(merging_is_adding_the_values_of_both),
        cmocka_unit_test(counts_saturate_instead_of_wrapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
