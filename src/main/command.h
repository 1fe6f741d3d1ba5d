#ifndef MAIN_COMMAND_H
#define MAIN_COMMAND_H
/* command: one command line of murrectl, from its arguments or from a line of its shell: options, then a command of murrectl's own (top,
 * record, complete, help) or a verb of the server, which is asked what verbs there are. */
#include "main/ask.h"
#include "rt/verbs.h"

#define MAIN_WORDS_MAX      (2 + RT_VERB_ARGS_MAX)
#define MAIN_DEFAULT_SOCKET "data/ctl.sock"

typedef struct main_command {
    main_ask ask;
    char *words[MAIN_WORDS_MAX]; /* borrowed from the arguments */
    int n;                       /* 0: no command was given */
} main_command;

/* Sets c->ask's options and takes the words. *out_status as main_command_run's, when it returns false: there is nothing to run, because
 * help was asked for or the line is wrong; it has been told. */
NODISCARD bool main_command_parse(main_command *c, const main_ask *defaults, char **args, int n, int *out_status);
/* Runs it; returns the exit status, as in sysexits(3). c->n > 0. */
int main_command_run(const main_command *c);

/* murrectl's own commands. */
typedef struct main_own {
    const char *usage; /* its first word is its name */
    const char *doc;
    int (*run)(const main_ask *o, char **words, int n); /* with the name */
} main_own;
extern const main_own main_own_commands[];
extern const size_t main_own_count;
extern const char main_options_usage[]; /* of murrectl itself: "[--socket PATH] ..." */

/* How many words name a verb: the usage says whether its function is written ("user add JID") or understood ("kick JID"). */
int main_command_name_words(const json_t *verb);

#endif
