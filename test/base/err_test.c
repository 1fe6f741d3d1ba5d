/* err: names, check() and panic() through the reporter of the thread. */
#include "base/err.h"
#include "unit.h"

#include <string.h>

static void every_error_has_a_distinct_lower_case_name_and_a_text(void **state) {
    (void)state;
    for (err e = ERR_OK; e < ERR_COUNT_; e++) {
        assert_true(err_name(e)[0] != '\0' && err_text(e)[0] != '\0');
        for (const char *p = err_name(e); *p; p++) assert_true((*p >= 'a' && *p <= 'z') || *p == '_');
        for (err f = ERR_OK; f < e; f++) assert_string_not_equal(err_name(e), err_name(f));
    }
    assert_string_equal(err_name(ERR_OK), "ok");
    assert_string_equal(err_name(ERR_TIMEOUT), "timeout");
    assert_string_equal(err_name(ERR_ADDR_IN_USE), "addr_in_use");
    assert_string_equal(err_name(ERR_EOF), "eof"); /* also the name of a macro of <stdio.h> */
    assert_string_equal(err_text(ERR_OK), "normal");
}

static void a_number_that_is_no_error_is_unknown_not_null(void **state) {
    (void)state;
    assert_string_equal(err_name(ERR_COUNT_), "unknown");
    assert_string_equal(err_text((err)1000), "unknown error");
}

typedef struct heard {
    int lines;
    char last[2048];
} heard;

static void hear(void *arg, const char *line) {
    heard *h = arg;
    h->lines++;
    strncpy(h->last, line, sizeof h->last - 1);
}

static void check_reports_file_line_and_expression_and_goes_on(void **state) {
    (void)state;
    heard h = {0};
    err_set_reporter(hear, &h);
    int two = 2;
    assert_true(check(two == 2));
    assert_int_equal(h.lines, 0);
    assert_false(check(two == 3));
    err_set_reporter(NULL, NULL);
    assert_int_equal(h.lines, 1);
    assert_non_null(strstr(h.last, "err_test.c:"));
    assert_non_null(strstr(h.last, "check failed: two == 3"));
}

static int nested;
static void fails_itself(void *arg, const char *line) {
    (void)line;
    nested++;
    dup2(*(int *)arg, STDERR_FILENO);
    (void)check(nested > 1); /* must go to standard error, not here again */
}

static void a_reporter_that_fails_a_check_is_not_called_again(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    int saved = dup(STDERR_FILENO);
    err_set_reporter(fails_itself, &fd[1]);
    assert_false(check(state == NULL));
    err_set_reporter(NULL, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd[1]);
    char line[256] = "";
    ssize_t n = read(fd[0], line, sizeof line - 1);
    close(fd[0]);
    assert_int_equal(nested, 1);
    assert_true(n > 0 && line[n - 1] == '\n');
    assert_non_null(strstr(line, "nested > 1"));
}

static void do_panic(void *arg) { panic("told %s", (const char *)arg); }

static void panic_reports_and_aborts(void **state) {
    (void)state;
    char why[] = "why";
    assert_true(panics(do_panic, why, "err_test.c:"));
    assert_true(panics(do_panic, why, "told why"));
}

static void a_long_panic_is_one_cut_line(void **state) {
    (void)state;
    char why[4000];
    memset(why, 'x', sizeof why - 1);
    why[sizeof why - 1] = '\0';
    assert_true(panics(do_panic, why, "told xxxx"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_distinct_lower_case_name_and_a_text),
        cmocka_unit_test(a_number_that_is_no_error_is_unknown_not_null),
        cmocka_unit_test(check_reports_file_line_and_expression_and_goes_on),
        cmocka_unit_test(a_reporter_that_fails_a_check_is_not_called_again),
        cmocka_unit_test(panic_reports_and_aborts),
        cmocka_unit_test(a_long_panic_is_one_cut_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
