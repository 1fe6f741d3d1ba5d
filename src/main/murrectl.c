/* murrectl: the operator's tool. It asks the server which verbs there are (module, function, arity, usage), finds the one that the command
 * line names, sends it over the Unix socket and prints the answer as a table, or as it came with --json. What goes wrong on this side of
 * the socket is told in the same form: one line on standard error, and {"ok":false,...} on standard output with --json. Exit status as in
 * sysexits(3). Passwords are read from a terminal without echo, from standard input or from a file; never from the command line. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rt/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#define DEFAULT_SOCKET "data/ctl.sock"
#define COLUMNS_MAX    32
#define PASSWORD_MAX   1024u

typedef struct options {
    const char *socket, *password_file;
    bool json;
} options;

typedef enum trouble { NO_SERVER, BAD_USAGE, NO_INPUT, REFUSED, CUT_SHORT } trouble;

static int complain(const options *o, trouble t, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int complain(const options *o, trouble t, const char *fmt, ...) {
    static const struct {
        const char *name;
        int status;
    } kinds[] = {[NO_SERVER] = {"unavailable", EX_UNAVAILABLE},
                 [BAD_USAGE] = {"usage", EX_USAGE},
                 [NO_INPUT] = {"input", EX_NOINPUT},
                 [REFUSED] = {NULL, EX_DATAERR}, /* --json has the server's own answer */
                 [CUT_SHORT] = {"io", EX_IOERR}};
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "murrectl: %s\n", text);
    if (o->json && kinds[t].name) {
        json_t *v = json_pack("{s:b,s:s,s:s}", "ok", 0, "error", kinds[t].name, "why", text);
        if (v) (void)json_dumpf(v, stdout, JSON_COMPACT); /* NULL: text is not UTF-8; it stands on standard error */
        json_decref(v);
        (void)putchar('\n');
    }
    return kinds[t].status;
}

/* --- one request */
static int connect_to(const options *o) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(o->socket);
    if (len >= sizeof a.sun_path) {
        (void)complain(o, NO_SERVER, "the socket path is longer than %zu bytes: %s", sizeof a.sun_path - 1, o->socket);
        return -1;
    }
    memcpy(a.sun_path, o->socket, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0) return fd;
    (void)complain(o, NO_SERVER, "no server answers on %s: %s (is it running? --socket PATH names another)", o->socket, strerror(errno));
    if (fd >= 0) (void)close(fd);
    return -1;
}

static bool write_all(int fd, slice s) {
    while (s.len) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        s = slice_from(s, (size_t)n);
    }
    return true;
}

static bool read_all(int fd, uint8_t *p, size_t len) {
    while (len) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static json_t *read_answer(int fd) {
    uint8_t head[4];
    json_t *v = NULL;
    if (!read_all(fd, head, sizeof head)) return NULL;
    uint32_t len = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
    uint8_t *text = len <= RT_CTL_REPLY_MAX ? mem_alloc(len + 1) : NULL;
    if (text && read_all(fd, text, len)) v = json_loadb((const char *)text, len, JSON_DECODE_ANY, NULL);
    mem_free(text);
    return v;
}

/* NULL after complaining, with the exit status. */
static json_t *request(const options *o, const slice *parts, size_t n, int *out_status) {
    buf b;
    buf_init(&b, RT_CTL_REQUEST_MAX);
    buf_add_u32le(&b, 0);
    for (size_t i = 0; i < n; i++) buf_add_lslice(&b, parts[i]);
    json_t *v = NULL;
    int fd = -1;
    if (!buf_ok(&b)) {
        *out_status = complain(o, NO_INPUT, "the input is larger than %u bytes", RT_CTL_REQUEST_MAX);
    } else if ((fd = connect_to(o)) < 0) {
        *out_status = EX_UNAVAILABLE;
    } else {
        uint32_t len = (uint32_t)(b.len - 4);
        for (unsigned i = 0; i < 4; i++) b.p[i] = (uint8_t)(len >> (8 * i));
        if (write_all(fd, buf_slice(&b))) v = read_answer(fd);
        if (!v)
            *out_status = complain(o, CUT_SHORT, "the server's answer was cut short: it may have ended, or may have done what was asked");
        (void)close(fd);
    }
    if (b.p) mem_wipe(b.p, b.cap);
    buf_fini(&b);
    return v;
}

/* --- printing */
/* Names that users chose: what could move the cursor or turn the text around is shown as \xNN. */
static void print_text(const char *s, FILE *to) {
    size_t max = 4 * strlen(s) + 1;
    char *text = mem_alloc(max);
    (void)utf8_escape(slice_str(s), text, max);
    (void)fputs(text, to);
    mem_free(text);
}

static void print_scalar(const json_t *v, FILE *to) {
    switch (json_typeof(v)) {
    case JSON_STRING: print_text(json_string_value(v), to); break;
    case JSON_INTEGER: (void)fprintf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: (void)fprintf(to, "%.2f", json_real_value(v)); break;
    case JSON_TRUE: (void)fputs("yes", to); break;
    case JSON_FALSE: (void)fputs("no", to); break;
    case JSON_NULL: (void)fputs("-", to); break;
    case JSON_OBJECT:
    case JSON_ARRAY: {
        char *s = json_dumps(v, JSON_COMPACT);
        (void)fputs(s ? s : "?", to);
        free(s);
        break;
    }
    }
}

static size_t width_of(const json_t *v) {
    if (!v) return 0;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return 0;
    print_scalar(v, f);
    (void)fclose(f);
    free(text);
    return n;
}

static void print_table(const json_t *rows) {
    const char *names[COLUMNS_MAX];
    size_t width[COLUMNS_MAX], n = 0, i;
    const json_t *row, *cell;
    const char *name;
    json_t *first = json_array_get(rows, 0);
    json_object_foreach(first, name, cell) {
        if (n == COLUMNS_MAX) break;
        names[n] = name;
        width[n++] = strlen(name);
    }
    json_array_foreach(rows, i, row) for (size_t c = 0; c < n; c++) {
        size_t w = width_of(json_object_get(row, names[c]));
        if (w > width[c]) width[c] = w;
    }
    for (size_t c = 0; c < n; c++) (void)printf("%-*s%s", (int)width[c], names[c], c + 1 < n ? "  " : "\n");
    json_array_foreach(rows, i, row) for (size_t c = 0; c < n; c++) {
        cell = json_object_get(row, names[c]);
        size_t w = width_of(cell);
        if (cell) print_scalar(cell, stdout);
        if (c + 1 < n)
            (void)printf("%*s", (int)(width[c] - w + 2), "");
        else
            (void)putchar('\n');
    }
}

static void print_value(const json_t *v, int indent) {
    size_t i;
    const json_t *item;
    const char *name;
    if (json_is_array(v)) {
        if (json_is_object(json_array_get(v, 0))) {
            print_table(v);
            return;
        }
        json_array_foreach(v, i, item) {
            (void)printf("%*s", indent, "");
            print_value(item, indent);
        }
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, name, item) {
            bool nested = json_is_object(item) || (json_is_array(item) && json_is_object(json_array_get(item, 0)));
            (void)printf("%*s%-20s%s", indent, "", name, nested ? "\n" : "");
            if (nested)
                print_value(item, indent + 2);
            else
                print_scalar(item, stdout), (void)putchar('\n');
        }
    } else if (!json_is_null(v)) {
        print_scalar(v, stdout);
        (void)putchar('\n');
    }
}

/* --- input: passwords and files */
static bool read_stream(FILE *f, buf *out) {
    char chunk[65536];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) buf_add(out, slice_of(chunk, n));
    mem_wipe(chunk, sizeof chunk);
    return buf_ok(out) && !ferror(f);
}

static bool read_file(const options *o, const char *path, buf *out) {
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rbe");
    bool ok = f && read_stream(f, out);
    if (!ok) (void)complain(o, NO_INPUT, "%s: %s", path, out->failed ? "too large" : strerror(errno));
    if (f && !standard) (void)fclose(f);
    return ok;
}

static void on_signal(int sig) { (void)sig; } /* its only use: ppoll returns, and the terminal gets its echo back */

static bool read_line(const options *o, buf *out) {
    char line[PASSWORD_MAX + 2];
    bool ok = fgets(line, sizeof line, stdin) != NULL;
    size_t n = ok ? strcspn(line, "\n") : 0;
    if (!ok)
        (void)complain(o, NO_INPUT, "no password was given");
    else if (n > PASSWORD_MAX)
        ok = complain(o, NO_INPUT, "a password has at most %u bytes", PASSWORD_MAX) == EX_OK;
    else
        buf_add(out, slice_of(line, n));
    mem_wipe(line, sizeof line);
    return ok;
}

/* Signals are blocked but while we wait, so that none comes between the prompt and the waiting. A terminal that is readable has a line. */
static bool prompt(const options *o, const char *text, buf *out) {
    static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP};
    struct sigaction old[ARRAY_LEN(signals)];
    const struct sigaction quick = {.sa_handler = on_signal};
    struct termios was, quiet;
    sigset_t blocked, before;
    if (tcgetattr(STDIN_FILENO, &was) != 0) return complain(o, NO_INPUT, "no terminal: %s", strerror(errno)) == EX_OK;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaddset(&blocked, signals[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaction(signals[i], &quick, &old[i]);
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    (void)fputs(text, stderr);
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    bool typed = ppoll(&p, 1, NULL, &before) == 1;
    (void)fputc('\n', stderr); /* the user's own is not echoed */
    bool ok = typed ? read_line(o, out) : complain(o, NO_INPUT, "no password was given") == EX_OK;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)sigaction(signals[i], &old[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static bool read_password(const options *o, buf *out) {
    if (o->password_file) return read_file(o, o->password_file, out);
    if (!isatty(STDIN_FILENO)) return read_file(o, "-", out);
    buf again;
    buf_init(&again, PASSWORD_MAX);
    bool ok = prompt(o, "Password: ", out) && prompt(o, "Again: ", &again);
    if (ok && !slice_eq(buf_slice(out), buf_slice(&again))) ok = complain(o, NO_INPUT, "the passwords differ") == EX_OK;
    if (again.p) mem_wipe(again.p, again.cap);
    buf_fini(&again);
    return ok;
}

/* --- finding the verb */
static const char *text_of(const json_t *v, const char *name) {
    const char *s = json_string_value(json_object_get(v, name));
    return s ? s : "";
}

/* How many words name the verb: the usage says whether its function is written ("user add JID") or understood ("kick JID"). */
static int words_of(const json_t *v) {
    const char *function = text_of(v, "function"), *second = strchr(text_of(v, "usage"), ' ');
    size_t n = strlen(function);
    return second && strncmp(second + 1, function, n) == 0 && (second[1 + n] == ' ' || !second[1 + n]) ? 2 : 1;
}

/* The verb that the words name, and how many of them are its name. NULL: none; *out_near is then one of that name but with other arguments,
 * if there is one. */
static const json_t *find_verb(const json_t *verbs, char **words, int n, int *out_used, const json_t **out_near) {
    size_t i;
    const json_t *v;
    for (int used = 2; used >= 1; used--) /* "locks on" before "locks" */
        json_array_foreach(verbs, i, v) {
            if (words_of(v) > used || n < used || strcmp(text_of(v, "module"), words[0]) != 0) continue;
            if (used == 2 && strcmp(text_of(v, "function"), words[1]) != 0) continue;
            json_int_t args = n - used;
            *out_used = used;
            if (args >= json_integer_value(json_object_get(v, "arity_min")) && args <= json_integer_value(json_object_get(v, "arity_max")))
                return v;
            if (!*out_near) *out_near = v;
        }
    return NULL;
}

static size_t list_verbs(const json_t *verbs, const char *module, FILE *to) {
    size_t i, n = 0;
    const json_t *v;
    json_array_foreach(verbs, i, v) {
        if (module && strcmp(text_of(v, "module"), module) != 0) continue;
        (void)fprintf(to, "  %-28s %s\n", text_of(v, "usage"), text_of(v, "doc"));
        n++;
    }
    return n;
}

static int print_answer(const options *o, const json_t *answer) {
    bool ok = json_is_true(json_object_get(answer, "ok"));
    if (o->json) {
        (void)json_dumpf(answer, stdout, JSON_ENCODE_ANY);
        (void)putchar('\n');
    } else if (ok) {
        print_value(json_object_get(answer, "result"), 0);
    }
    if (ok) return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    return complain(o, REFUSED, "%s", *text_of(answer, "why") ? text_of(answer, "why") : text_of(answer, "error"));
}

static int no_verb(const options *o, const json_t *verbs, const json_t *near, const char *word) {
    if (near) return complain(o, BAD_USAGE, "wrong number of arguments; usage: %s", text_of(near, "usage"));
    int status = complain(o, BAD_USAGE, "unknown command: %s; these are known:", word);
    if (list_verbs(verbs, word, stderr) == 0) (void)list_verbs(verbs, NULL, stderr);
    return status;
}

static int run_verb(const options *o, const json_t *verb, char **words, int n, int used) {
    slice parts[3 + RT_VERB_ARGS_MAX];
    size_t n_parts = 3;
    const char *module = text_of(verb, "module"), *function = text_of(verb, "function");
    bool user = strcmp(module, "user") == 0, ok = true;
    int status = EX_NOINPUT;
    buf input;
    buf_init(&input, RT_CTL_REQUEST_MAX);
    if (user && (strcmp(function, "add") == 0 || strcmp(function, "passwd") == 0))
        ok = read_password(o, &input);
    else if (user && strcmp(function, "import") == 0)
        ok = read_file(o, words[used], &input);
    parts[0] = slice_str(module);
    parts[1] = slice_str(function);
    parts[2] = input.p ? buf_slice(&input) : SLICE("");
    for (int i = used; i < n && n_parts < ARRAY_LEN(parts); i++) parts[n_parts++] = slice_str(words[i]);
    json_t *answer = ok ? request(o, parts, n_parts, &status) : NULL;
    if (answer) status = print_answer(o, answer);
    json_decref(answer);
    if (input.p) mem_wipe(input.p, input.cap);
    buf_fini(&input);
    return status;
}

static int run(const options *o, char **words, int n) {
    const slice ask[] = {SLICE("help"), SLICE("verbs"), SLICE("")};
    int used = 0, status = EX_SOFTWARE;
    json_t *help = request(o, ask, ARRAY_LEN(ask), &status);
    if (!help) return status;
    const json_t *verbs = json_object_get(help, "result"), *near = NULL;
    if (!json_is_array(verbs)) {
        status = print_answer(o, help); /* a stranger is told why */
    } else if (strcmp(words[0], "help") == 0 && !o->json) {
        (void)list_verbs(verbs, n > 1 ? words[1] : NULL, stdout);
        status = EX_OK;
    } else {
        const json_t *verb = find_verb(verbs, words, n, &used, &near);
        status = verb ? run_verb(o, verb, words, n, used) : no_verb(o, verbs, near, words[0]);
    }
    json_decref(help);
    return status;
}

static int usage(FILE *to) {
    (void)fputs("usage: murrectl [--socket PATH] [--json] [--password-file FILE] COMMAND [ARGUMENT ...]\n"
                "       PATH is " DEFAULT_SOCKET " unless told; -- ends the options\n"
                "       murrectl help lists the commands of the running server\n",
                to);
    return to == stderr ? EX_USAGE : EX_OK;
}

int main(int argc, char **argv) {
    options o = {.socket = DEFAULT_SOCKET};
    char *words[2 + RT_VERB_ARGS_MAX];
    int n = 0;
    bool more_options = true;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc, option = more_options && strncmp(argv[i], "--", 2) == 0;
        if (!option && n == (int)ARRAY_LEN(words)) return complain(&o, BAD_USAGE, "too many arguments");
        if (!option)
            words[n++] = argv[i];
        else if (!argv[i][2])
            more_options = false;
        else if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--socket") == 0 && value)
            o.socket = argv[++i];
        else if (strcmp(argv[i], "--password-file") == 0 && value)
            o.password_file = argv[++i];
        else
            return usage(strcmp(argv[i], "--help") == 0 ? stdout : stderr);
    }
    return n ? run(&o, words, n) : usage(stderr);
}
