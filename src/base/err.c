/* err: names of errors, and the two ways in which a broken assumption is told.
 *
 * Why: an error that crosses layers has to print the same way in a log, in murrectl and in an exit reason, so the words exist once, in
 * err.def. What check() and panic() say goes through a reporter that belongs to the thread: a simulator run adds its seed, a node its
 * name, and no process-wide pointer has to be guarded.
 *
 * Invariants: (1) One report is one line, cut at ERR_LINE_MAX. (2) The reporter may itself fail a check or panic: while it runs, reports
 * of the same thread go to standard error directly, so that reporting never recurses. (3) Nothing here allocates. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERR_LINE_MAX 1024
#define ERR_NAME_MAX 16

/* Lower case at compile time, one character at a time, so that err.def need not say every name twice. */
#define LOWER(s, i)  (char)((s)[i] >= 'A' && (s)[i] <= 'Z' ? (s)[i] + ('a' - 'A') : (s)[i])
#define LOWER4(s, i) LOWER(s, i), LOWER(s, (i) + 1), LOWER(s, (i) + 2), LOWER(s, (i) + 3)
#define PAD          "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static const char names[][ERR_NAME_MAX] = {
/* #name is written out in each place: passed on to a further macro, EOF would become what <stdio.h> says it is. */
#define E(name, text) {LOWER4(#name PAD, 0), LOWER4(#name PAD, 4), LOWER4(#name PAD, 8)},
#include "base/err.def"
#undef E
};

#define E(name, text) _Static_assert(sizeof(#name) - 1 <= 12, "err.c lowers 12 characters of a name: " #name);
#include "base/err.def"
#undef E

static const char *const texts[] = {
#define E(name, text) text,
#include "base/err.def"
#undef E
};

_Static_assert(ARRAY_LEN(names) == ERR_COUNT_ && ARRAY_LEN(texts) == ERR_COUNT_, "one name and one text for each error");

static _Thread_local struct {
    err_reporter *fn; /* NULL: standard error */
    void *arg;        /* given to fn */
    bool reporting;   /* fn is running */
} reporter;

const char *err_name(err e) { return (unsigned)e < ERR_COUNT_ ? names[e] : "unknown"; }

const char *err_text(err e) { return (unsigned)e < ERR_COUNT_ ? texts[e] : "unknown error"; }

void err_set_reporter(err_reporter *fn, void *arg) {
    reporter.fn = fn;
    reporter.arg = arg;
}

/* One write, so that lines of several threads do not mix; whatever it cannot say is lost, for there is nobody left to tell. */
static void to_stderr(const char *line) {
    char out[ERR_LINE_MAX + 1];
    size_t len = strnlen(line, ERR_LINE_MAX - 1);
    memcpy(out, line, len);
    out[len++] = '\n';
    ssize_t n = write(STDERR_FILENO, out, len);
    (void)n; /* nobody left to tell */
}

static void report(const char *line) {
    if (!reporter.fn || reporter.reporting) {
        to_stderr(line);
        return;
    }
    reporter.reporting = true;
    reporter.fn(reporter.arg, line);
    reporter.reporting = false;
}

bool err_check_failed(const char *file, int line, const char *expr) {
    char out[ERR_LINE_MAX];
    (void)snprintf(out, sizeof out, "%s:%d: check failed: %s", file, line, expr); /* a cut line is better than none */
    report(out);
    return false;
}

void err_panic(const char *file, int line, const char *fmt, ...) {
    char why[ERR_LINE_MAX];
    char out[ERR_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(why, sizeof why, fmt, ap) < 0) why[0] = '\0';
    va_end(ap);
    int n = snprintf(out, sizeof out, "%s:%d: panic: ", file, line);
    size_t at = n < 0 ? 0 : (size_t)n < sizeof out ? (size_t)n : sizeof out - 1;
    size_t len = strnlen(why, sizeof out - 1 - at);
    memcpy(out + at, why, len);
    out[at + len] = '\0';
    report(out);
    abort();
}
