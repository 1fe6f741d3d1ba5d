#ifndef TEST_BASE_UNIT_H
#define TEST_BASE_UNIT_H
/* unit: cmocka with the headers that it wants before itself (the formatter would sort them), and panics(): runs a function in a child
 * process and tells whether it ended in panic(), and with which line. */
#include "base/err.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void panics_report(void *arg, const char *line) {
    ssize_t n = write(*(int *)arg, line, strlen(line));
    (void)n; /* the parent sees an empty line and fails */
}

/* True if fn(arg) aborted and its report contains text. */
static inline bool panics(void (*fn)(void *arg), void *arg, const char *text) {
    int pipe_fd[2];
    if (pipe(pipe_fd) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core); /* a core file of a wanted panic is only litter */
        (void)signal(SIGABRT, SIG_DFL);
        err_set_reporter(panics_report, &pipe_fd[1]);
        fn(arg);
        _exit(0);
    }
    close(pipe_fd[1]);
    char line[1024];
    size_t len = 0;
    for (ssize_t n = 1; n > 0 && len<sizeof line - 1; len += n> 0 ? (size_t)n : 0) n = read(pipe_fd[0], line + len, sizeof line - 1 - len);
    line[len] = '\0';
    close(pipe_fd[0]);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return false;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(line, "panic: ") && strstr(line, text);
}

#endif
