/* name: which names are names, of which style, and in which order. */
#include "proto/dist/name.h"
#include "support/cmocka_unit.h"

static void a_name_is_taken_apart_at_its_one_at_sign(void **state) {
    (void)state;
    dist_name n;
    assert_int_equal(dist_name_parse(SLICE("murre_1@host-a"), &n), ERR_OK);
    assert_true(slice_is(n.full, "murre_1@host-a") && slice_is(n.alive, "murre_1") && slice_is(n.host, "host-a"));
    assert_false(n.is_long);
    static const char *const longs[] = {"a@127.0.0.1", "a@h.example", "a@::1", "a@h."};
    for (size_t i = 0; i < ARRAY_LEN(longs); i++) {
        assert_int_equal(dist_name_parse(slice_str(longs[i]), &n), ERR_OK);
        assert_true(n.is_long);
    }
}

static void what_is_no_name_is_refused_and_leaves_the_result_alone(void **state) {
    (void)state;
    const slice bad[] = {SLICE_NULL,         SLICE(""),      SLICE("@"),       SLICE("a"),          SLICE("a@"),    SLICE("@h"),
                         SLICE("a@b@c"),     SLICE("a@@b"),  SLICE("a b@h"),   SLICE("a@h "),       SLICE("a\n@h"), SLICE("a@h\x7f"),
                         SLICE("\x1b[1m@h"), SLICE("a@h\0"), SLICE("\xe5r@h"), SLICE("\xc3\xa5@h"), SLICE("a@\xff")};
    dist_name n = {.is_long = true};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dist_name_parse(bad[i], &n), ERR_INVALID);
        assert_int_equal(dist_name_parse_own(bad[i], &n), ERR_INVALID);
    }
    assert_true(n.is_long);
    assert_null(n.full.p);
}

static void a_name_has_at_most_255_bytes(void **state) {
    (void)state;
    char text[300];
    memset(text, 'x', sizeof text);
    text[20] = '@';
    dist_name n;
    assert_int_equal(dist_name_parse(slice_of(text, DIST_NAME_MAX), &n), ERR_OK);
    assert_int_equal(dist_name_parse(slice_of(text, DIST_NAME_MAX + 1), &n), ERR_LIMIT);
    assert_int_equal(dist_name_parse_host(slice_of(text + 21, 241)), ERR_OK);
    assert_int_equal(dist_name_parse_host(slice_of(text + 21, 242)), ERR_LIMIT);
    assert_int_equal(dist_name_parse_alive(slice_of(text + 21, DIST_NAME_MAX)), ERR_OK);
    assert_int_equal(dist_name_parse_alive(slice_of(text + 21, DIST_NAME_MAX + 1)), ERR_LIMIT);
    assert_int_equal(dist_name_parse_alive(SLICE("a@h")), ERR_INVALID);
    assert_int_equal(dist_name_parse_host(SLICE("a@h")), ERR_INVALID);
    assert_int_equal(dist_name_parse_host(SLICE_NULL), ERR_INVALID);
}

static void our_own_names_are_those_that_otp_would_start_with(void **state) {
    (void)state;
    dist_name n;
    assert_int_equal(dist_name_parse_own(SLICE("Aa0_-zZ9@h"), &n), ERR_OK);
    static const char *const others[] = {"a.b@h", "a+b@h", "a/b@h", "<a>@h"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(dist_name_parse(slice_str(others[i]), &n), ERR_OK);
        assert_int_equal(dist_name_parse_own(slice_str(others[i]), &n), ERR_INVALID);
    }
}

static void names_compare_byte_by_byte_as_atoms_do(void **state) {
    (void)state;
    static const char *const sorted[] = {"A@h", "a@g", "a@h", "a@ha", "aa@h", "b@a"};
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        for (size_t j = 0; j < ARRAY_LEN(sorted); j++) {
            int d = dist_name_cmp(slice_str(sorted[i]), slice_str(sorted[j]));
            assert_int_equal((d > 0) - (d < 0), (i > j) - (i < j));
        }
}

static void only_nodes_of_one_style_dial_each_other(void **state) {
    (void)state;
    dist_name a, b, c;
    assert_int_equal(dist_name_parse(SLICE("a@h"), &a), ERR_OK);
    assert_int_equal(dist_name_parse(SLICE("b@h.x"), &b), ERR_OK);
    assert_int_equal(dist_name_parse(SLICE("c@::1"), &c), ERR_OK);
    assert_false(dist_name_same_style(&a, &b));
    assert_true(dist_name_same_style(&b, &c));
}

static void invented_names_are_valid_and_differ(void **state) {
    (void)state;
    static const struct {
        uint64_t random;
        const char *name;
    } cases[] = {{0, "0000000000000@h.x"},
                 {1, "0000000000001@h.x"},
                 {35, "000000000000Z@h.x"},
                 {36, "0000000000010@h.x"},
                 {UINT64_MAX, "3W5E11264SGSF@h.x"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        dist_name n;
        buf_init(&b, DIST_NAME_MAX);
        dist_name_invent(&b, cases[i].random, SLICE("h.x"));
        assert_true(slice_is(buf_slice(&b), cases[i].name));
        assert_int_equal(dist_name_parse_own(buf_slice(&b), &n), ERR_OK);
        buf_fini(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_taken_apart_at_its_one_at_sign),
        cmocka_unit_test(what_is_no_name_is_refused_and_leaves_the_result_alone),
        cmocka_unit_test(a_name_has_at_most_255_bytes),
        cmocka_unit_test(our_own_names_are_those_that_otp_would_start_with),
        cmocka_unit_test(names_compare_byte_by_byte_as_atoms_do),
        cmocka_unit_test(only_nodes_of_one_style_dial_each_other),
        cmocka_unit_test(invented_names_are_valid_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
