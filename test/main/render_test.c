/* Answers for people: tables, units, nothing that could move the cursor. */
#include "base/err.h"
#include "main/render.h"
#include "support/cmocka_unit.h"

#include <stdlib.h>
#include <string.h>

static void shows(const char *json, const char *text) {
    char *out = NULL;
    size_t n = 0;
    json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
    FILE *f = open_memstream(&out, &n);
    assert_non_null(v);
    assert_non_null(f);
    main_render(v, f);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(out, text);
    free(out);
    json_decref(v);
}

static void a_list_of_maps_is_a_table(void **state) {
    (void)state;
    shows("[{\"name\":\"a\",\"n\":5},{\"name\":\"long\",\"n\":12345678901}]", "name            n\na               5\nlong  12345678901\n");
    shows("[{\"a\":1},{\"b\":\"x\",\"a\":2}]", "a  b\n1  \n2  x\n"); /* the union of the columns */
    shows("[{\"v\":[1,{\"x\":null}]}]", "v\n[1,{\"x\":null}]\n");
    shows("[{\"word\":\"\xc3\xa9\xc3\xa9\",\"n\":1},{\"word\":\"abcd\",\"n\":22}]", "word   n\n\xc3\xa9\xc3\xa9     1\nabcd  22\n");
}
static void maps_and_lists_are_lines(void **state) {
    (void)state;
    shows("{\"a\":true,\"b\":{\"c\":null,\"d\":[1,2]},\"e\":[]}",
          "a                   yes\nb\n  c                   -\n  d                   [1,2]\ne                   []\n");
    shows("{\"a_name_of_21_columns_\":1}", "a_name_of_21_columns_ 1\n");
    shows("[\"x\",2,false]", "x\n2\nno\n");
    shows("\"x\"", "x\n");
    shows("null", "");
    shows("{}", "");
    shows("[]", "");
}
static void nothing_moves_the_cursor(void **state) {
    (void)state;
    shows("\"a\\u001b[31m\\r\\u202e\"", "a\\x1b[31m\\x0d\\xe2\\x80\\xae\n");
    shows("[{\"a\":{\"\\u001b\":\"\\u009b\"}}]", "a\n{\"\\u001B\":\"\\xc2\\x9b\"}\n");
}
static void the_unit_is_in_the_name(void **state) {
    (void)state;
    shows("[{\"bytes\":14131,\"bytes_max\":67108864}]", "   bytes  bytes_max\n13.8 KiB   64.0 MiB\n");
    shows("{\"mono_usec\":29000000000,\"up_usec\":29000000000}", "mono_usec           29000000000\nup_usec             8 h 03 min\n");
    static const struct {
        const char *name;
        double value;
        const char *text;
    } cases[] = {{"bytes", 0, "0 B"},          {"x_bytes", 1023, "1023 B"},
                 {"x_bytes", 1536, "1.5 KiB"}, {"x_bytes", 3.0 * 1024 * 1024 * 1024, "3.0 GiB"},
                 {"usec", 0, "0 s"},           {"usec", 999, "999 us"},
                 {"x_usec", 1500, "1.5 ms"},   {"x_usec", 59.94e6, "59.9 s"},
                 {"x_sec", 60, "1 min 00 s"},  {"x_sec", 3661, "1 h 01 min"},
                 {"x_sec", 90000, "1 d 01 h"}, {"x_percent", 12.25, "12.25 %"},
                 {"count", 12, "12"},          {"ratio", 0.125, "0.12"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[MAIN_NUMBER_MAX];
        main_render_number(cases[i].name, cases[i].value, out);
        assert_string_equal(out, cases[i].text);
    }
    shows("{\"n\":123456789012345678,\"r\":1.005,\"used_bytes\":2048}",
          "n                   123456789012345678\nr                   1.00\nused_bytes          2.0 KiB\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_maps_is_a_table),
        cmocka_unit_test(maps_and_lists_are_lines),
        cmocka_unit_test(nothing_moves_the_cursor),
        cmocka_unit_test(the_unit_is_in_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
