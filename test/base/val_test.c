/* val: JSON escaping, order of keys, and trees with a hole. */
#include "base/val.h"
#include "support/val_nest.h"
#include "unit.h"

#include <jansson.h>
#include <math.h>

static arena a;
static buf out;

static int setup(void **state) {
    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_fini(&a);
    buf_fini(&out);
    return 0;
}

static void expect(const val *v, const char *want) {
    buf_reset(&out);
    val_json(v, &out);
    assert_true(buf_ok(&out));
    buf_add_byte(&out, 0);
    assert_string_equal((const char *)out.p, want);
}

static void scalars(void **state) {
    (void)state;
    expect(val_null(&a), "null");
    expect(val_bool(&a, true), "true");
    expect(val_bool(&a, false), "false");
    expect(val_int(&a, INT64_MIN), "-9223372036854775808");
    expect(val_int(&a, INT64_MAX), "9223372036854775807");
    expect(val_real(&a, 0.1), "0.1");
    expect(val_real(&a, 1.0 / 3), "0.33333333333333331");
    expect(val_real(&a, -1e300), "-1e+300");
    expect(val_real(&a, NAN), "null");
    expect(val_real(&a, INFINITY), "null");
    expect(val_strf(&a, "%s-%d", "x", 5), "\"x-5\"");
    expect(val_str(&a, SLICE_NULL), "\"\"");
}

static void strings_are_escaped(void **state) {
    (void)state;
    expect(val_str(&a, SLICE("\"\\\b\f\n\r\t/")), "\"\\\"\\\\\\b\\f\\n\\r\\t/\"");
    expect(val_str(&a, SLICE("\0\x1f\x7f")), "\"\\u0000\\u001f\\u007f\"");
    expect(val_str(&a, SLICE("\xc2\x9b\xe2\x80\xa8")), "\"\\u009b\\u2028\"");
    expect(val_str(&a, SLICE("\xc3\xbc\xf0\x9f\x90\xa6")), "\"\xc3\xbc\xf0\x9f\x90\xa6\"");
    expect(val_str(&a, SLICE("a\xff\xed\xa0\x80z")), "\"a\\ufffd\\ufffd\\ufffd\\ufffdz\"");
}

static void every_byte_string_reads_back_through_another_parser(void **state) {
    (void)state;
    uint8_t all[128];
    for (size_t i = 0; i < sizeof all; i++) all[i] = (uint8_t)i;
    val *list = val_list(&a);
    val_push(&a, list, val_str(&a, slice_of(all, sizeof all)));
    val_json(list, &out);
    json_t *json = json_loadb((const char *)out.p, out.len, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    json_t *s = json_array_get(json, 0);
    assert_int_equal(json_string_length(s), sizeof all);
    assert_memory_equal(json_string_value(s), all, sizeof all);
    json_decref(json);
    for (size_t i = 0; i < out.len; i++) assert_true(out.p[i] >= 0x20); /* one line */
}

static void containers_keep_their_order(void **state) {
    (void)state;
    val *map = val_map(&a);
    val *list = val_list(&a);
    val_set(&a, map, "z", val_int(&a, 1));
    val_set(&a, map, "a", list); /* filled after it was linked */
    val_set(&a, map, "m\"", val_map(&a));
    val_push(&a, list, val_int(&a, 2));
    val_push(&a, list, val_list(&a));
    val_push(&a, list, val_null(&a));
    expect(map, "{\"z\":1,\"a\":[2,[],null],\"m\\\"\":{}}");
    assert_int_equal(val_kind_of(map), VAL_MAP);
    assert_int_equal(val_kind_of(NULL), VAL_NULL);
}

static void a_key_set_again_keeps_its_place(void **state) {
    (void)state;
    val *map = val_map(&a);
    static const char *const keys[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) val_set(&a, map, keys[i], val_int(&a, 0));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) val_set(&a, map, keys[i], val_int(&a, (int64_t)i + 1));
    val_set(&a, map, "d", val_int(&a, 4));
    expect(map, "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}");
}

static void build(arena *from, buf *to) {
    val *map = val_map(from);
    val *list = val_list(from);
    val_set(from, map, "list", list);
    for (int i = 0; i < 5; i++) val_push(from, list, val_strf(from, "item %d", i));
    val_set(from, map, "n", val_int(from, 5));
    val_json(map, to);
}

static void a_tree_that_the_arena_cut_short_is_never_shown(void **state) {
    (void)state;
    static const char want[] = "{\"list\":[\"item 0\",\"item 1\",\"item 2\",\"item 3\",\"item 4\"],\"n\":5}";
    size_t failures = 0;
    size_t max = 0;
    for (;; max += 8) {
        arena small;
        arena_init(&small, max);
        buf_reset(&out);
        build(&small, &out);
        arena_fini(&small);
        if (buf_ok(&out)) break;
        failures++;
    }
    assert_true(failures > 10);
    assert_true(slice_is(buf_slice(&out), want));
}

static void the_limit_of_the_output_is_sticky(void **state) {
    (void)state;
    buf small;
    for (size_t max = 0; max < 60; max++) {
        buf_init(&small, max);
        build(&a, &small);
        assert_false(buf_ok(&small));
        buf_fini(&small);
    }
}

static void heard(void *arg, const char *line) {
    (void)line;
    ++*(int *)arg;
}

static void misuse_is_reported_and_leaves_a_hole(void **state) {
    (void)state;
    int reports = 0;
    err_set_reporter(heard, &reports);
    val *list = val_list(&a);
    val *item = val_int(&a, 1);
    val_push(&a, list, item);
    val_push(&a, list, item);         /* twice */
    val_push(&a, item, val_null(&a)); /* not a list */
    val_push(&a, NULL, val_null(&a));
    val_set(&a, NULL, "x", NULL);
    err_set_reporter(NULL, NULL);
    assert_int_equal(reports, 2);
    val_json(list, &out);
    assert_false(buf_ok(&out));
}

static void an_integer_of_a_map_is_found_by_its_name(void **state) {
    (void)state;
    int64_t i = 7;
    val *map = val_map(&a), *list = val_list(&a);
    val_set(&a, map, "text", val_str(&a, SLICE("1")));
    val_set(&a, map, "x", val_int(&a, -3));
    val_push(&a, list, val_int(&a, 5));
    assert_false(val_get_int(map, "text", &i));
    assert_false(val_get_int(map, "X", &i));
    assert_false(val_get_int(list, "x", &i));
    assert_false(val_get_int(NULL, "x", &i));
    assert_int_equal(i, 7);
    assert_true(val_get_int(map, "x", &i));
    assert_int_equal(i, -3);
}

static void the_strings_of_a_list_are_lines(void **state) {
    (void)state;
    val *list = val_list(&a);
    val_push(&a, list, val_str(&a, SLICE("one")));
    val_push(&a, list, val_int(&a, 2));
    val_push(&a, list, val_str(&a, SLICE("")));
    val_push(&a, list, val_str(&a, SLICE("three")));
    val_lines(list, &out);
    assert_true(buf_ok(&out));
    assert_true(slice_is(buf_slice(&out), "one\n\nthree\n"));
    val_lines(val_map(&a), &out); /* is none */
    assert_false(buf_ok(&out));
    buf_reset(&out);
    val_push(&a, list, NULL); /* it has a hole */
    val_lines(list, &out);
    assert_false(buf_ok(&out));
}

static void nesting_past_the_limit_fails(void **state) {
    (void)state;
    for (unsigned depth = 1; depth <= 100; depth++) {
        buf_reset(&out);
        val_json(val_nested(&a, depth), &out);
        assert_int_equal(buf_ok(&out), depth <= 64);
    }
}

static void what_is_in_a_tree_can_be_walked(void **state) {
    (void)state;
    val *map = val_map(&a), *list = val_list(&a);
    val_push(&a, list, val_bool(&a, true));
    val_push(&a, list, val_real(&a, 2.5));
    val_set(&a, map, "n", val_int(&a, -7));
    val_set(&a, map, "s", val_str(&a, SLICE("text")));
    val_set(&a, map, "l", list);
    const val *i = val_first(map);
    assert_true(val_int_of(i) == -7 && strcmp(val_key(i), "n") == 0 && val_str_of(i).len == 0 && !val_first(i));
    i = val_next(i);
    assert_true(slice_is(val_str_of(i), "text") && val_int_of(i) == 0 && !val_bool_of(i));
    i = val_next(i);
    assert_null(val_next(i));
    assert_true(val_bool_of(val_first(i)) && val_real_of(val_next(val_first(i))) == 2.5);
    assert_true(val_is_whole(map) && val_is_whole(list) && !val_is_whole(NULL));
    val_push(&a, list, NULL);
    assert_true(!val_is_whole(list) && val_is_whole(map)); /* what is inside is asked for itself */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars, setup, teardown),
        cmocka_unit_test_setup_teardown(strings_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_string_reads_back_through_another_parser, setup, teardown),
        cmocka_unit_test_setup_teardown(containers_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_set_again_keeps_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tree_that_the_arena_cut_short_is_never_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_of_the_output_is_sticky, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse_is_reported_and_leaves_a_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_integer_of_a_map_is_found_by_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(the_strings_of_a_list_are_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting_past_the_limit_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_a_tree_can_be_walked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
