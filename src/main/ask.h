#ifndef MAIN_ASK_H
#define MAIN_ASK_H
/* ask: a tool's side of the control socket (rt/ctl.h): one request a connection, the answer as JSON; and the one way in which what goes
 * wrong on this side is told: a line on standard error, and {"ok":false,...} on standard output where JSON was asked for. */
#include "base/slice.h"

#include <jansson.h>

#define MAIN_WHY_MAX 1024
typedef struct main_ask {
    const char *socket;        /* path of the server's control socket */
    const char *password_file; /* NULL: from the terminal or standard input */
    bool password_line;        /* a password is the next line of standard input: commands come from there too */
    bool json;                 /* answers are printed as they came */
    char *why;                 /* MAIN_WHY_MAX bytes that take what would be told, for a screen; NULL: it is told */
    int timeout_msec;          /* longest wait for a byte of the answer; -1: for ever, as a backup needs it */
} main_ask;

typedef enum main_trouble {
    MAIN_NO_SERVER,   /* EX_UNAVAILABLE */
    MAIN_BAD_USAGE,   /* EX_USAGE */
    MAIN_NO_INPUT,    /* EX_NOINPUT */
    MAIN_REFUSED,     /* EX_DATAERR; with --json the server's own answer says it */
    MAIN_BAD_DATA,    /* EX_DATAERR: a file's content */
    MAIN_CUT_SHORT,   /* EX_IOERR */
    MAIN_INTERRUPTED, /* 130, as a shell reports SIGINT */
} main_trouble;

/* A word that the user typed, for a sentence that repeats it: a long one is cut, and ends in "...". */
#define MAIN_WORD_MAX 80
typedef struct main_word {
    char text[MAIN_WORD_MAX + sizeof "..."];
} main_word;
main_word main_ask_word(const char *typed);
/* Tells what went wrong, in one sentence; what could move a terminal's cursor is shown as \xNN. Returns the exit status of its kind, never
 * 0.
 */
int main_complain(const main_ask *o, main_trouble t, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Sends [module, function, input, argument...] and returns the answer (json_decref it), or NULL after complaining, with the exit status in
 * *out_status. The memory that held the parts is wiped: the input may be a password. The connection stays open for what follows the answer
 * if that says "stream": *out_fd, which the caller closes. */
NODISCARD json_t *main_ask_open(const main_ask *o, const slice *parts, size_t n, int *out_fd, int *out_status);
typedef enum main_next {
    MAIN_NEXT_FRAME, /* *out is one; json_decref it */
    MAIN_NEXT_LATE,  /* none came in time */
    MAIN_NEXT_END,   /* the server closed the connection, or what came is no frame */
    MAIN_NEXT_LEFT,  /* nobody reads our standard output any more */
} main_next;
NODISCARD main_next main_ask_next(const main_ask *o, int fd, int wait_msec, json_t **out); /* wait_msec -1: for ever */
/* The answer to a verb without input and with at most one argument (NULL: none): its result, or NULL after complaining. */
NODISCARD json_t *main_ask_verb(const main_ask *o, const char *module, const char *function, const char *arg, int *out_status);
/* The server's verbs, as its "help" gives them. */
NODISCARD json_t *main_ask_verbs(const main_ask *o, int *out_status);

/* A member of a map of the answer; "" and 0 if it is not there or of another type. */
const char *main_ask_text(const json_t *map, const char *name);
json_int_t main_ask_int(const json_t *map, const char *name);

#endif
