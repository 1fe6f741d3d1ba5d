/* top: see top.h.
 *
 * What it costs the node: "load" reads counters and asks no shard. "actors by" goes over every actor, between handlers, 256 at a time, and
 * answers with the first thousand in the order of the column; where there are more, the longest mailboxes are asked for as well. How long
 * that took is measured here, and after two looks it is asked for only after ACTORS_SHARE times as long, so that it takes at most 2 % of
 * the node however many actors there are.
 *
 * Invariants: (1) the signals that concern the screen are blocked and read from a descriptor, so that the terminal is put right before any
 * of them acts. (2) A server that is away is told on the screen and asked for again; the last figures stay. After it was started again
 * (another process) nothing is compared with the one before. (3) A closed output or input ends it. */
#include "main/top.h"

#include "base/mem.h"
#include "main/top_view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ACTORS_SHARE  50
#define ANSWER_MSEC   2000
#define INTERVAL_MIN  (100 * USEC_PER_MSEC)
#define INTERVAL_MAX  (60 * USEC_PER_SEC)
#define SCREEN_MAX    (4u << 20)
#define TYPED_MAX     8u
#define ENTER_SCREEN  "\033[?1049h\033[?25l"
#define LEAVE_SCREEN  "\033[?25h\033[?1049l"
#define HOME          "\033[H"
#define CLEAR_BELOW   "\033[J"
#define STATUS_SIGNAL 128

typedef struct top {
    main_ask ask; /* its why is below */
    main_top_view view;
    bool once;
    usec actors_next; /* not asked for before this time */
    char why[MAIN_WHY_MAX], typed[TYPED_MAX + 1];
    int signals; /* a descriptor */
    struct termios before;
    int status;
    bool over;
} top;

static usec mono_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (usec)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

/* --- looking */
static void drop_look(main_top_look *l) {
    json_decref(l->load);
    json_decref(l->actors);
    *l = (main_top_look){.load = NULL};
}

/* False: no answer. */
static bool add_actors(top *t, const char *order, json_t *by_pid) {
    int status;
    size_t i;
    json_t *row, *rows = main_ask_verb(&t->ask, "actors", "by", order, &status);
    json_array_foreach(rows, i, row)(void) json_object_set(by_pid, main_ask_text(row, "pid"), row);
    bool ok = rows != NULL;
    json_decref(rows);
    return ok;
}

static bool look_at_actors(top *t) {
    main_top_look *now = &t->view.now, *before = &t->view.before;
    const char *order = main_top_order(t->view.sort), *queue = main_top_order(MAIN_TOP_QUEUED);
    json_t *rows = json_object();
    usec start = mono_now();
    bool ok = add_actors(t, order, rows);
    bool all = (json_int_t)json_object_size(rows) >= main_ask_int(now->load, "actors");
    if (ok && !all && strcmp(order, queue) != 0) ok = add_actors(t, queue, rows);
    usec end = mono_now();
    if (!ok) {
        json_decref(rows);
        return false;
    }
    json_decref(before->actors);
    before->actors = now->actors;
    before->actors_at = now->actors_at;
    now->actors = rows;
    now->actors_at = end;
    t->actors_next = end + (end - start) * ACTORS_SHARE;
    return true;
}

/* False: the server did not answer; t->why says it. */
static bool look(top *t) {
    main_top_look *now = &t->view.now, *before = &t->view.before;
    int status = EX_OK;
    t->why[0] = 0;
    json_t *load = main_ask_verb(&t->ask, "load", "read", NULL, &status);
    if (load && now->load && main_ask_int(load, "pid") != main_ask_int(now->load, "pid")) {
        drop_look(now);
        drop_look(before);
        t->actors_next = 0;
    }
    if (load) {
        json_decref(before->load);
        before->load = now->load;
        now->load = load;
    }
    bool skip = before->actors && mono_now() < t->actors_next; /* two looks are needed to see anything */
    bool ok = load && (skip || look_at_actors(t));
    if (!ok) t->status = status ? status : EX_UNAVAILABLE;
    return ok;
}

/* --- plain snapshots */
static void print_json(const top *t) {
    const char *pid;
    json_t *row, *actors = json_array(), *answer;
    json_object_foreach(t->view.now.actors, pid, row)(void) json_array_append(actors, row);
    answer = json_pack("{s:b,s:{s:O,s:o}}", "ok", 1, "result", "load", t->view.now.load, "actors", actors);
    if (answer) (void)json_dumpf(answer, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(answer);
}

static bool print_plain(const top *t) {
    buf b;
    buf_init(&b, SCREEN_MAX);
    if (t->ask.json) {
        print_json(t);
    } else {
        main_top_draw(&t->view, &b);
        if (!t->once) buf_add_byte(&b, '\n');
        (void)fwrite(b.p, 1, b.len, stdout);
    }
    buf_fini(&b);
    return fflush(stdout) == 0;
}

static int run_plain(top *t, const main_ask *o) {
    for (bool first = true;; first = false) {
        if (!look(t)) return main_complain(o, MAIN_NO_SERVER, "%s", t->why);
        if (!first && !print_plain(t)) return EX_IOERR; /* nobody reads any more */
        if (!first && t->once) return EX_OK;
        const struct timespec wait = {t->view.interval / USEC_PER_SEC, t->view.interval % USEC_PER_SEC * 1000};
        (void)nanosleep(&wait, NULL); /* a signal ends us */
    }
}

/* --- the screen */
static bool write_all(slice s) {
    while (s.len) {
        ssize_t n = write(STDOUT_FILENO, s.p, s.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        s = slice_from(s, (size_t)n);
    }
    return true;
}

static void draw(top *t) {
    struct winsize size = {0};
    buf b;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col;
    t->view.rows = known ? size.ws_row : 24;
    t->view.columns = known ? size.ws_col : 80;
    t->view.trouble = t->why;
    buf_init(&b, SCREEN_MAX);
    buf_add_str(&b, HOME);
    main_top_draw(&t->view, &b);
    buf_add_str(&b, CLEAR_BELOW);
    if (!write_all(buf_slice(&b))) t->over = true, t->status = EX_IOERR;
    buf_fini(&b);
}

static bool enter(top *t) {
    if (tcgetattr(STDIN_FILENO, &t->before) != 0) return false;
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0 && write_all(SLICE(ENTER_SCREEN));
}

static void leave(const top *t) {
    (void)write_all(SLICE(LEAVE_SCREEN)); /* a terminal that is gone needs neither */
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
}

static void on_signal(top *t) {
    struct signalfd_siginfo info;
    sigset_t stop;
    if (read(t->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
    int sig = (int)info.ssi_signo;
    if (sig == SIGWINCH) return; /* drawn again by the caller */
    if (sig != SIGTSTP) {
        t->over = true;
        t->status = sig == SIGINT ? EX_OK : STATUS_SIGNAL + sig; /* Ctrl-C is a way to leave */
        return;
    }
    leave(t);
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTSTP);
    (void)raise(SIGTSTP);
    (void)sigprocmask(SIG_UNBLOCK, &stop, NULL); /* stops here, until somebody lets us go on */
    (void)sigprocmask(SIG_BLOCK, &stop, NULL);
    if (!enter(t)) t->over = true, t->status = EX_IOERR;
}

/* The answer to "which interval?": digits and a point, Enter takes it, Escape leaves it as it was. */
static void on_typed(top *t, char key) {
    size_t n = strlen(t->typed);
    if (key == '\n' || key == '\r') {
        double sec = strtod(t->typed, NULL);
        if (sec * 1e6 >= (double)INTERVAL_MIN && sec * 1e6 <= (double)INTERVAL_MAX) t->view.interval = (usec)(sec * 1e6);
        t->view.typed = NULL;
    } else if (key == '\033') {
        t->view.typed = NULL;
    } else if (key == 0x7f || key == '\b') {
        if (n) t->typed[n - 1] = 0;
    } else if (n < TYPED_MAX && strchr("0123456789.", key)) {
        t->typed[n] = key;
        t->typed[n + 1] = 0;
    }
}

static void on_key(top *t, char key) {
    unsigned sort = (unsigned)t->view.sort;
    if (t->view.typed) {
        on_typed(t, key);
        return;
    }
    switch (key) {
    case 'q':
        t->over = true;
        t->status = EX_OK;
        return;
    case ' ': t->view.paused = !t->view.paused; return;
    case 's':
        t->typed[0] = 0;
        t->view.typed = t->typed;
        return;
    case '<': t->view.sort = (main_top_column)((sort + MAIN_TOP_COLUMNS - 1) % MAIN_TOP_COLUMNS); return;
    case '>': t->view.sort = (main_top_column)((sort + 1) % MAIN_TOP_COLUMNS); return;
    default: return; /* not one of ours */
    }
}

static void on_input(top *t) {
    char keys[64];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) t->over = true;
    for (ssize_t i = 0; i < n && !t->over; i++) on_key(t, keys[i]);
}

static void watch(top *t) {
    for (usec next = 0; !t->over;) {
        usec now = mono_now();
        if (now >= next) {
            if (!t->view.paused) (void)look(t); /* its trouble is drawn */
            next = mono_now() + t->view.interval;
        }
        draw(t);
        if (t->over) return;
        now = mono_now();
        struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = t->signals, .events = POLLIN}};
        usec wait = next > now ? next - now : 0;
        if (poll(p, ARRAY_LEN(p), (int)(wait / USEC_PER_MSEC) + 1) <= 0) continue;
        if (p[1].revents) on_signal(t);
        if (p[0].revents && !t->over) on_input(t);
        if (!t->view.typed && next - mono_now() > t->view.interval) next = mono_now() + t->view.interval; /* it was made shorter */
    }
}

static int run_screen(top *t, const main_ask *o) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    sigset_t blocked, before;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaddset(&blocked, signals[i]);
    t->signals = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->signals < 0) return main_complain(o, MAIN_NO_INPUT, "no descriptor: %s", strerror(errno));
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    t->status = EX_OK;
    if (enter(t)) {
        watch(t);
        leave(t);
    } else {
        t->status = main_complain(o, MAIN_NO_INPUT, "no terminal: %s", strerror(errno));
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(t->signals);
    return t->status;
}

static bool parse_interval(const char *text, usec *out) {
    char *end;
    double sec = strtod(text, &end);
    if (end == text || *end || !(sec * 1e6 >= (double)INTERVAL_MIN && sec * 1e6 <= (double)INTERVAL_MAX)) return false;
    *out = (usec)(sec * 1e6);
    return true;
}

int main_top(const main_ask *o, char **words, int n) {
    top t = {.ask = *o, .view = {.interval = USEC_PER_SEC, .trouble = ""}};
    for (int i = 1; i < n; i++) {
        if (strcmp(words[i], "--once") == 0)
            t.once = true;
        else if (strcmp(words[i], "--interval") != 0 || i + 1 == n)
            return main_complain(o, MAIN_BAD_USAGE, "usage: top [--once] [--interval SEC]");
        else if (!parse_interval(words[++i], &t.view.interval))
            return main_complain(o, MAIN_BAD_USAGE, "'%s' is not an interval of 0.1 to 60 seconds", main_ask_word(words[i]).text);
    }
    t.ask.why = t.why;
    t.ask.timeout_msec = ANSWER_MSEC;
    bool screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !t.once && !o->json;
    int status = screen ? run_screen(&t, o) : run_plain(&t, o);
    drop_look(&t.view.now);
    drop_look(&t.view.before);
    return status;
}
