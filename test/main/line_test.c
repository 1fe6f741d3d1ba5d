/* Lines of murrectl's shell: words as other shells have them, and what the history may keep. */
#include "base/err.h"
#include "main/line.h"
#include "support/cmocka_unit.h"

#include <stdio.h>
#include <string.h>

#define MAX 6

/* Splits a copy; the words joined by a bar. */
static int split(const char *text, char out[256], size_t *last) {
    char line[256], *words[MAX];
    (void)snprintf(line, sizeof line, "%s", text);
    int n = main_line_split(line, words, MAX, last);
    out[0] = 0;
    for (int i = 0; i < n; i++) (void)snprintf(out + strlen(out), 256 - strlen(out), "%s%s", i ? "|" : "", words[i]);
    return n;
}

static void words_are_those_of_other_shells(void **state) {
    (void)state;
    static const struct {
        const char *line, *words;
        int n;
        size_t last;
    } cases[] = {
        {"", "", 0, 0},
        {"  \t ", "", 0, 4},
        {"a", "a", 1, 0},
        {"  one  two", "one|two", 2, 7},
        {"one two ", "one|two", 2, 8},
        {"a 'b c' d", "a|b c|d", 3, 8},
        {"a \"b 'c\" 'd \"e'", "a|b 'c|d \"e", 3, 9},
        {"a b\\ c", "a|b c", 2, 2},
        {"a b\\ c ", "a|b c", 2, 7},
        {"a 'b\\c' \"d\\\"e\"", "a|b\\c|d\"e", 3, 8},
        {"'' \"\"", "|", 2, 3},
        {"x'y'\"z\"w", "xyzw", 1, 0},
        {"# nothing", "", 0, 9},
        {"a # b", "a", 1, 5},
        {"a#b", "a#b", 1, 0},
        {"a\tb\nc\r", "a|b|c", 3, 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[256];
        size_t last = 99;
        assert_int_equal(split(cases[i].line, out, &last), cases[i].n);
        assert_string_equal(out, cases[i].words);
        assert_int_equal(last, cases[i].last);
    }
}

static void what_is_not_closed_or_too_long_is_told(void **state) {
    (void)state;
    char out[256];
    size_t last;
    assert_int_equal(split("a 'b", out, &last), -1);
    assert_int_equal(split("a \"b' c", out, &last), -1);
    assert_int_equal(split("a 'b' \\", out, &last), -1);
    assert_int_equal(split("1 2 3 4 5 6", out, &last), 6);
    assert_int_equal(split("1 2 3 4 5 6 7", out, &last), -2);
}

static void no_password_comes_into_the_history(void **state) {
    (void)state;
    static const char *const kept[] = {"status",        "user add a@b", "user passwd a@b", "--json user add a@b", "user add",
                                       "user list add", "kick a@b c",   "user del a@b",    "user add 'a b'@c",    "user add a@b --json"};
    static const char *const dropped[] = {"",
                                          " status",
                                          "   ",
                                          "# user add a@b pw",
                                          "user add a@b pw",
                                          "user passwd a@b pw",
                                          "user  'add' a@b  pw",
                                          "us\\er add a@b pw",
                                          "--json user add a@b pw",
                                          "--socket x user add a@b pw",
                                          "user --json add a@b pw",
                                          "user add --json a@b pw",
                                          "user add a@b 'pw",
                                          "user add a@b \\",
                                          "user add a@b p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) assert_true(main_line_may_be_kept(kept[i]));
    for (size_t i = 0; i < ARRAY_LEN(dropped); i++) assert_false(main_line_may_be_kept(dropped[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_other_shells),
        cmocka_unit_test(what_is_not_closed_or_too_long_is_told),
        cmocka_unit_test(no_password_comes_into_the_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
