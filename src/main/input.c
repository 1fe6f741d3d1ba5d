/* input: see input.h. */
#include "main/input.h"

#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

static bool read_stream(FILE *f, buf *out) {
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) buf_add(out, slice_of(chunk, n));
    mem_wipe(chunk, sizeof chunk);
    return buf_ok(out) && !ferror(f);
}

bool main_input_file(const main_ask *o, const char *path, buf *out) {
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rbe");
    bool ok = f && read_stream(f, out);
    if (!ok) (void)main_complain(o, MAIN_NO_INPUT, "%s: %s", path, out->failed ? "too large" : strerror(errno));
    if (f && !standard) (void)fclose(f);
    return ok;
}

static void on_signal(int sig) { (void)sig; } /* its only use: ppoll returns, and the terminal gets its echo back */

static bool read_line(const main_ask *o, buf *out) {
    char line[MAIN_PASSWORD_MAX + 2];
    bool ok = fgets(line, sizeof line, stdin) != NULL;
    size_t n = ok ? strcspn(line, "\n") : 0;
    if (!ok)
        (void)main_complain(o, MAIN_NO_INPUT, "no password was given");
    else if (n > MAIN_PASSWORD_MAX)
        ok = main_complain(o, MAIN_NO_INPUT, "a password has at most %u bytes", MAIN_PASSWORD_MAX) == 0;
    else
        buf_add(out, slice_of(line, n));
    mem_wipe(line, sizeof line);
    return ok;
}

/* Signals are blocked but while we wait, so that none comes between the prompt and the waiting. A terminal that is readable has a line. */
static bool prompt(const main_ask *o, const char *text, buf *out) {
    static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP};
    struct sigaction old[ARRAY_LEN(signals)];
    const struct sigaction quick = {.sa_handler = on_signal};
    struct termios was, quiet;
    sigset_t blocked, before, waiting;
    if (tcgetattr(STDIN_FILENO, &was) != 0) return main_complain(o, MAIN_NO_INPUT, "no terminal: %s", strerror(errno)) == 0;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaddset(&blocked, signals[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    waiting = before; /* the shell has SIGINT blocked all the time; here it must come through */
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        (void)sigaction(signals[i], &quick, &old[i]);
        (void)sigdelset(&waiting, signals[i]);
    }
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    (void)fputs(text, stderr);
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    bool typed = ppoll(&p, 1, NULL, &waiting) == 1;
    (void)fputc('\n', stderr); /* the user's own is not echoed */
    bool ok = typed ? read_line(o, out) : main_complain(o, MAIN_NO_INPUT, "no password was given") == 0;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaction(signals[i], &old[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}

bool main_input_password(const main_ask *o, buf *out) {
    if (o->password_file) return main_input_file(o, o->password_file, out);
    if (o->password_line && !isatty(STDIN_FILENO)) return read_line(o, out);
    if (!isatty(STDIN_FILENO)) return main_input_file(o, "-", out);
    buf again;
    buf_init(&again, MAIN_PASSWORD_MAX);
    bool ok = prompt(o, "Password: ", out) && prompt(o, "Again: ", &again);
    if (ok && !slice_eq(buf_slice(out), buf_slice(&again))) ok = main_complain(o, MAIN_NO_INPUT, "the passwords differ") == 0;
    if (again.p) mem_wipe(again.p, again.cap);
    buf_fini(&again);
    return ok;
}
