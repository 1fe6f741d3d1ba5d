/* console: see console.h.
 *
 *     at the prompt                                   while a command runs
 *     libedit has the terminal; Ctrl-C and Ctrl-Z     a child process runs it, in the same process group, with the terminal as
 *     are keys: drop the line, suspend                before; Ctrl-C ends the child, the shell waits for it and goes on
 *
 * Why a child: whatever a command does (waits for the server, prints a million lines, draws a screen, asks for a password), Ctrl-C ends
 * just it, by the means that ends it outside the shell too. The shell's own state is its history, which the parent keeps.
 *
 * Invariants: (1) the terminal is in libedit's mode only within el_gets. (2) A password is never in the history: it is never part of a line
 * that is right, and main_line_may_be_kept knows those that are wrong. (3) A server that is not there ends a command, never the shell. */
#include "main/console.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "main/command.h"
#include "main/complete.h"
#include "main/line.h"
#include "main/render.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#define HISTORY_LINES 1000
#define PATH_BYTES    4096
#define SCREEN_WIDTH  80u
#define CTRL_C_NAME   "murre-drop-line"
#define CTRL_Z_NAME   "murre-suspend"
#define TAB_NAME      "murre-complete"
#define WIDE_(s)      L##s
#define WIDE(s)       WIDE_(s)

typedef struct shell {
    main_ask ask;
    EditLine *el;
    History *history;
    char history_path[PATH_BYTES]; /* "": none is kept */
} shell;

/* --- history */
static bool state_dir(char out[PATH_BYTES]) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && *state == '/')
        n = snprintf(out, PATH_BYTES, "%s/murre", state);
    else if (home && *home == '/')
        n = snprintf(out, PATH_BYTES, "%s/.local/state/murre", home);
    return n > 0 && n < PATH_BYTES - (int)sizeof "/history";
}

/* Makes a directory with those above it, as mkdir -p. */
static bool make_dirs(char *path) {
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        (void)mkdir(path, 0700); /* the last one tells */
        *at = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static void history_open(shell *s) {
    char dir[PATH_BYTES];
    HistEvent e;
    s->history = history_init();
    if (!s->history) return;
    (void)history(s->history, &e, H_SETSIZE, HISTORY_LINES);
    (void)history(s->history, &e, H_SETUNIQUE, 1);
    if (!state_dir(dir) || !make_dirs(dir)) return;
    (void)snprintf(s->history_path, sizeof s->history_path, "%.*s/history", PATH_BYTES - 16, dir);
    (void)history(s->history, &e, H_LOAD, s->history_path); /* none yet, or not one of ours: a new one is begun */
}

static void history_add(shell *s, const char *line) {
    HistEvent e;
    if (!s->history || !main_line_may_be_kept(line)) return;
    (void)history(s->history, &e, H_ENTER, line);
    if (s->history_path[0]) (void)history(s->history, &e, H_SAVE, s->history_path); /* mode 0600; a full disk costs the history alone */
}

/* --- keys */
static shell *shell_of(EditLine *el) {
    void *s = NULL;
    (void)el_get(el, EL_CLIENTDATA, &s);
    return s;
}

static size_t characters(const char *from, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)from[i] & 0xc0u) != 0x80u; /* libedit counts characters, not bytes */
    return count;
}

static unsigned char on_drop_line(EditLine *el, int ch) {
    (void)ch;
    const LineInfo *li = el_line(el);
    int right = (int)characters(li->cursor, (size_t)(li->lastchar - li->cursor));
    int all = (int)characters(li->buffer, (size_t)(li->lastchar - li->buffer));
    (void)el_cursor(el, right);
    el_deletestr(el, all);
    (void)fputs("^C\n", stdout);
    return CC_REDISPLAY;
}

static unsigned char on_suspend(EditLine *el, int ch) {
    (void)ch;
    (void)el_set(el, EL_PREP_TERM, 0);
    (void)raise(SIGTSTP); /* comes back when the user says fg */
    (void)el_set(el, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

/* The length of what all candidates begin with, not within a character. */
static size_t common_length(const json_t *found) {
    const char *first = json_string_value(json_array_get(found, 0));
    size_t n = strlen(first), i;
    const json_t *s;
    json_array_foreach(found, i, s) {
        size_t k = 0;
        while (k < n && json_string_value(s)[k] == first[k]) k++;
        n = k;
    }
    while (n && ((unsigned char)first[n] & 0xc0u) == 0x80u) n--;
    return n;
}

static void show_candidates(const json_t *found) {
    size_t i, width = 0, at = 0;
    const json_t *s;
    json_array_foreach(found, i, s) {
        size_t w = main_render_columns(json_string_value(s)) + 2;
        if (w > width) width = w;
    }
    (void)putchar('\n');
    json_array_foreach(found, i, s) {
        char text[256];
        (void)utf8_escape(slice_str(json_string_value(s)), text, sizeof text);
        at += width;
        bool last = at + width > SCREEN_WIDTH || i + 1 == json_array_size(found);
        size_t w = main_render_columns(text);
        (void)printf("%s%*s", text, last ? 0 : (int)(w < width ? width - w : 1), "");
        if (last) (void)putchar('\n'), at = 0;
    }
    (void)fflush(stdout);
}

/* The word in the line becomes the candidate's first n bytes, with a backslash before what would end it. */
static void replace_word(EditLine *el, const char *typed, const char *candidate, size_t n, bool whole) {
    char *text = mem_alloc(2 * n + 2), *at = text;
    for (size_t i = 0; i < n; i++) {
        if (strchr(" \t'\"\\#", candidate[i])) *at++ = '\\';
        *at++ = candidate[i];
    }
    if (whole && n && candidate[n - 1] != '/') *at++ = ' ';
    *at = 0;
    el_deletestr(el, (int)characters(typed, strlen(typed)));
    if (*text) (void)el_insertstr(el, text); /* a line that is full stays as it is */
    mem_free(text);
}

static unsigned char on_tab(EditLine *el, int ch) {
    (void)ch;
    shell *s = shell_of(el);
    const LineInfo *li = el_line(el);
    slice left = slice_of(li->buffer, (size_t)(li->cursor - li->buffer));
    char *raw = slice_dup_str(left), *line = slice_dup_str(left), *words[MAIN_WORDS_MAX + 1], empty[1] = "";
    size_t last, before = strlen(line);
    int n = main_line_split(line, words, MAIN_WORDS_MAX, &last);
    unsigned char result = CC_ERROR;
    bool fresh = last == before; /* a new word begins here */
    if (n >= 0) {
        if (fresh) words[n++] = empty, last = before;
        json_t *found = main_complete_words(&s->ask, words, n);
        size_t have = json_array_size(found), common = have ? common_length(found) : 0;
        if (have == 1 || (have && common > strlen(words[n - 1]))) {
            replace_word(el, raw + last, json_string_value(json_array_get(found, 0)), common, have == 1);
            result = CC_REFRESH;
        } else if (have) {
            show_candidates(found);
            result = CC_REDISPLAY;
        }
        json_decref(found);
    }
    mem_free(line);
    mem_free(raw);
    return result;
}

/* --- running lines */
/* *out_end: the user wants to leave. */
static int run_line(const main_ask *ask, char *line, bool *out_end) {
    char *words[2 * MAIN_WORDS_MAX];
    size_t last;
    main_command c;
    int status = EX_OK, n = main_line_split(line, words, ARRAY_LEN(words), &last);
    if (n == -1) return main_complain(ask, MAIN_BAD_USAGE, "a quote is not closed");
    if (n == -2) return main_complain(ask, MAIN_BAD_USAGE, "too many arguments");
    if (n == 0) return EX_OK;
    *out_end = n == 1 && (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0);
    if (!*out_end && main_command_parse(&c, ask, words, n, &status)) {
        if (c.n)
            status = main_command_run(&c);
        else
            status = main_complain(ask, MAIN_BAD_USAGE, "options without a command");
    }
    (void)fflush(stdout);
    return status;
}

static int read_script(const main_ask *ask) {
    char *line = NULL;
    size_t cap = 0;
    bool end = false;
    int first = EX_OK;
    while (!end && getline(&line, &cap, stdin) >= 0) {
        line[strcspn(line, "\n")] = 0;
        int status = run_line(ask, line, &end);
        if (first == EX_OK) first = status;
        if (ferror(stdout)) end = true;
    }
    free(line);
    return first;
}

/* Waits until the child has ended. When Ctrl-Z has stopped it, and it has put the terminal right, we stop too: only then whoever started us
 * takes the terminal back. */
static int wait_child(pid_t child) {
    const struct sigaction normal = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    int how = 0;
    for (;;) {
        pid_t changed = waitpid(child, &how, WUNTRACED);
        if (changed < 0 && errno == EINTR) continue;
        if (changed < 0 || !WIFSTOPPED(how)) return how;
        (void)sigaction(SIGTSTP, &normal, NULL);
        (void)raise(SIGTSTP); /* comes back when the user says fg */
        (void)sigaction(SIGTSTP, &ignore, NULL);
        (void)kill(child, SIGCONT);
    }
}

/* In a child, so that Ctrl-C ends it alone. *out_end: the user wants to leave. */
static void run_child(const main_ask *ask, char *line, bool *out_end) {
    static const int keys[] = {SIGINT, SIGQUIT, SIGTSTP};
    const struct sigaction normal = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    char *copy = slice_dup_str(slice_str(line)), *words[2];
    size_t last;
    *out_end = main_line_split(copy, words, 1, &last) == 1 && (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0);
    mem_free(copy);
    if (*out_end) return;
    (void)sigaction(SIGTSTP, &ignore, NULL);
    (void)fflush(NULL); /* or both would write it */
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) (void)sigaction(keys[i], &normal, NULL);
        _exit(run_line(ask, line, out_end)); /* what libedit has to put right is the parent's */
    }
    int how = child > 0 ? wait_child(child) : 0;
    (void)sigaction(SIGTSTP, &normal, NULL);
    if (child < 0)
        (void)main_complain(ask, MAIN_NO_INPUT, "no process for the command: %s", strerror(errno));
    else if (WIFSIGNALED(how))
        (void)main_complain(ask, MAIN_INTERRUPTED, "ended by signal %d; the server may go on with what was asked", WTERMSIG(how));
}

static char *prompt(EditLine *el) {
    (void)el;
    static const char text[] = "murre> ";
    return (char *)(uintptr_t)text;
}

static bool prepare(shell *s) {
    s->el = el_init("murrectl", stdin, stdout, stderr);
    if (!s->el) return false;
    (void)el_set(s->el, EL_CLIENTDATA, s);
    (void)el_set(s->el, EL_PROMPT, prompt);
    (void)el_set(s->el, EL_EDITOR, "emacs");
    (void)el_set(s->el, EL_SIGNAL, 1); /* the terminal is put right when a signal ends or stops us, and when its size changes */
    history_open(s);
    if (s->history) (void)el_set(s->el, EL_HIST, history, s->history);
    /* wide: el_set would make copies of the names and never free them */
    (void)el_wset(s->el, EL_ADDFN, WIDE(TAB_NAME), L"completes the word", on_tab);
    (void)el_wset(s->el, EL_ADDFN, WIDE(CTRL_C_NAME), L"drops the line", on_drop_line);
    (void)el_wset(s->el, EL_ADDFN, WIDE(CTRL_Z_NAME), L"suspends the shell", on_suspend);
    (void)el_set(s->el, EL_SETTY, "-d", "-isig", NULL); /* Ctrl-C and Ctrl-Z are keys while a line is edited */
    (void)el_set(s->el, EL_BIND, "^I", TAB_NAME, NULL);
    (void)el_set(s->el, EL_BIND, "^C", CTRL_C_NAME, NULL);
    (void)el_set(s->el, EL_BIND, "^Z", CTRL_Z_NAME, NULL);
    (void)el_set(s->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    (void)el_source(s->el, NULL); /* ~/.editrc, if there is one */
    return true;
}

static void greet(const main_ask *ask) {
    char why[MAIN_WHY_MAX] = "";
    main_ask quiet = *ask;
    int status;
    quiet.why = why;
    quiet.timeout_msec = 2000;
    json_t *node = main_ask_verb(&quiet, "node", "show", NULL, &status);
    if (node)
        (void)printf("%s %s, process %lld; help lists the commands, Tab completes, Ctrl-D ends\n", main_ask_text(node, "name"),
                     main_ask_text(node, "version"), (long long)main_ask_int(node, "pid"));
    else
        (void)fprintf(stderr, "murrectl: %s\n", why);
    json_decref(node);
}

static int read_terminal(const main_ask *ask) {
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    shell s = {.ask = *ask};
    bool end = false;
    int n;
    const char *typed;
    if (!prepare(&s)) return main_complain(ask, MAIN_NO_INPUT, "no terminal: %s", strerror(errno));
    (void)sigaction(SIGINT, &ignore, NULL); /* of keys that come between a prompt and a command; a command has its own */
    (void)sigaction(SIGQUIT, &ignore, NULL);
    greet(ask);
    while (!end && (typed = el_gets(s.el, &n)) != NULL && n > 0) {
        char *line = slice_dup_str(slice_of(typed, strcspn(typed, "\n")));
        history_add(&s, line);
        run_child(ask, line, &end);
        mem_free(line);
    }
    if (!end) (void)putchar('\n'); /* after Ctrl-D */
    el_end(s.el);
    if (s.history) history_end(s.history);
    return EX_OK;
}

int main_console(const main_ask *defaults) {
    main_ask ask = *defaults;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        ask.password_line = true;
        return read_script(&ask);
    }
    return read_terminal(&ask);
}
