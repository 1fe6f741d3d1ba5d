/* command: see command.h. */
#include "main/command.h"

#include "base/buf.h"
#include "base/mem.h"
#include "main/complete.h"
#include "main/follow.h"
#include "main/input.h"
#include "main/record.h"
#include "main/render.h"
#include "main/top.h"
#include "main/trace.h"
#include "rt/ctl.h"

#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#define USAGE_WIDTH 28u

const char main_options_usage[] = "[--socket PATH] [--json] [--password-file FILE]";

static int usage(FILE *to) {
    (void)fprintf(to,
                  "usage: murrectl %s [COMMAND [ARGUMENT ...]]\n"
                  "       PATH is " MAIN_DEFAULT_SOCKET " unless told; -- ends the options; without a COMMAND it is a shell\n"
                  "       murrectl help lists the commands of the running server\n",
                  main_options_usage);
    return to == stderr ? EX_USAGE : EX_OK;
}

static bool is_name(const main_own *own, const char *word) {
    size_t n = strlen(word);
    return strncmp(own->usage, word, n) == 0 && (own->usage[n] == ' ' || !own->usage[n]);
}

static const main_own *own_command(const char *word) {
    for (size_t i = 0; i < main_own_count; i++)
        if (is_name(&main_own_commands[i], word)) return &main_own_commands[i];
    return NULL;
}

bool main_command_parse(main_command *c, const main_ask *defaults, char **args, int n, int *out_status) {
    bool more_options = true;
    *c = (main_command){.ask = *defaults};
    for (int i = 0; i < n; i++) {
        char *a = args[i];
        bool verbatim = c->n && strcmp(c->words[0], "complete") == 0; /* what is completed may be an option */
        bool value = i + 1 < n, option = more_options && !verbatim && strncmp(a, "--", 2) == 0;
        const main_own *own = c->n ? own_command(c->words[0]) : NULL;
        if (option && !a[2] && !own)
            more_options = false;
        else if (option && strcmp(a, "--json") == 0)
            c->ask.json = true;
        else if (option && strcmp(a, "--socket") == 0 && value)
            c->ask.socket = args[++i];
        else if (option && strcmp(a, "--password-file") == 0 && value)
            c->ask.password_file = args[++i];
        else if (option && !own) {
            *out_status = usage(strcmp(a, "--help") == 0 ? stdout : stderr);
            return false;
        } else if (c->n == MAIN_WORDS_MAX) {
            *out_status = main_complain(&c->ask, MAIN_BAD_USAGE, "too many arguments");
            return false;
        } else {
            c->words[c->n++] = a;
        }
    }
    return true;
}

/* --- finding the verb */
int main_command_name_words(const json_t *verb) {
    const char *function = main_ask_text(verb, "function"), *second = strchr(main_ask_text(verb, "usage"), ' ');
    size_t n = strlen(function);
    return second && strncmp(second + 1, function, n) == 0 && (second[1 + n] == ' ' || !second[1 + n]) ? 2 : 1;
}

/* The verb that the words name, and how many of them are its name. NULL: none; *out_near is then one of that name but with other arguments,
 * if there is one. */
static const json_t *find_verb(const json_t *verbs, char *const *words, int n, int *out_used, const json_t **out_near) {
    size_t i;
    const json_t *v;
    for (int used = 2; used >= 1; used--) /* "locks on" before "locks" */
        json_array_foreach(verbs, i, v) {
            if (main_command_name_words(v) > used || n < used || strcmp(main_ask_text(v, "module"), words[0]) != 0) continue;
            if (used == 2 && strcmp(main_ask_text(v, "function"), words[1]) != 0) continue;
            json_int_t args = n - used;
            *out_used = used;
            if (args >= main_ask_int(v, "arity_min") && args <= main_ask_int(v, "arity_max")) return v;
            if (!*out_near) *out_near = v;
        }
    return NULL;
}

static void list_row(const char *what, const char *doc, FILE *to) {
    if (strlen(what) <= USAGE_WIDTH)
        (void)fprintf(to, "  %-*s %s\n", (int)USAGE_WIDTH, what, doc);
    else
        (void)fprintf(to, "  %s\n  %*s %s\n", what, (int)USAGE_WIDTH, "", doc);
}

static size_t list_verbs(const json_t *verbs, const char *module, FILE *to) {
    size_t i, n = 0;
    const json_t *v;
    json_array_foreach(verbs, i, v) {
        if (module && strcmp(main_ask_text(v, "module"), module) != 0) continue;
        if (strcmp(main_ask_text(v, "module"), "help") == 0) continue; /* among our own */
        list_row(main_ask_text(v, "usage"), main_ask_text(v, "doc"), to);
        n++;
    }
    for (size_t k = 0; k < main_own_count; k++) {
        if (module && !is_name(&main_own_commands[k], module)) continue;
        list_row(main_own_commands[k].usage, main_own_commands[k].doc, to);
        n++;
    }
    return n;
}

/* --- running it */
static int print_answer(const main_ask *o, const json_t *answer) {
    bool ok = json_is_true(json_object_get(answer, "ok"));
    if (o->json) {
        (void)json_dumpf(answer, stdout, JSON_ENCODE_ANY);
        (void)putchar('\n');
    } else if (ok) {
        main_render(json_object_get(answer, "result"), stdout);
    }
    if (ok) return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    const char *why = main_ask_text(answer, "why");
    return main_complain(o, MAIN_REFUSED, "%s", *why ? why : main_ask_text(answer, "error"));
}

static bool only_one(const json_t *verbs, const char *module) {
    size_t i, n = 0;
    const json_t *v;
    json_array_foreach(verbs, i, v) n += strcmp(main_ask_text(v, "module"), module) == 0;
    return n == 1;
}

static int no_verb(const main_ask *o, const json_t *verbs, const json_t *near, char *const *words, int n) {
    if (near && (n < 2 || strcmp(main_ask_text(near, "function"), words[1]) == 0 || only_one(verbs, words[0])))
        return main_complain(o, MAIN_BAD_USAGE, "wrong number of arguments; usage: %s", main_ask_text(near, "usage"));
    int status = near ? main_complain(o, MAIN_BAD_USAGE, "%s takes other arguments than these:", main_ask_word(words[0]).text)
                      : main_complain(o, MAIN_BAD_USAGE, "unknown command: %s; these are known:", main_ask_word(words[0]).text);
    if (list_verbs(verbs, words[0], stderr) == 0) (void)list_verbs(verbs, NULL, stderr);
    return status;
}

static int run_verb(const main_ask *o, const json_t *verb, char *const *words, int n, int used) {
    slice parts[3 + RT_VERB_ARGS_MAX];
    size_t n_parts = 3;
    const char *module = main_ask_text(verb, "module"), *function = main_ask_text(verb, "function");
    bool user = strcmp(module, "user") == 0, ok = true;
    int status = EX_NOINPUT;
    buf input;
    buf_init(&input, RT_CTL_REQUEST_MAX);
    if (user && (strcmp(function, "add") == 0 || strcmp(function, "passwd") == 0))
        ok = main_input_password(o, &input);
    else if (user && strcmp(function, "import") == 0)
        ok = main_input_file(o, words[used], &input);
    parts[0] = slice_str(module);
    parts[1] = slice_str(function);
    parts[2] = input.p ? buf_slice(&input) : SLICE("");
    for (int i = used; i < n && n_parts < ARRAY_LEN(parts); i++) parts[n_parts++] = slice_str(words[i]);
    int fd = -1;
    json_t *answer = ok ? main_ask_open(o, parts, n_parts, &fd, &status) : NULL;
    bool goes_on = answer && json_is_true(json_object_get(answer, "stream"));
    if (goes_on) status = main_follow_frames(o, answer, fd);
    if (answer && !goes_on) status = print_answer(o, answer);
    if (answer) (void)close(fd);
    json_decref(answer);
    if (input.p) mem_wipe(input.p, input.cap);
    buf_fini(&input);
    return status;
}

static int help(const main_ask *o, char **words, int n) {
    int status = EX_SOFTWARE;
    if (n > 2) return main_complain(o, MAIN_BAD_USAGE, "wrong number of arguments; usage: help [COMMAND]");
    json_t *verbs = main_ask_verbs(o, &status);
    if (!verbs) return status;
    status = EX_OK;
    if (o->json) {
        (void)printf("{\"ok\":true,\"result\":");
        (void)json_dumpf(verbs, stdout, JSON_COMPACT);
        (void)puts("}");
    } else if (list_verbs(verbs, n > 1 ? words[1] : NULL, stdout) == 0) {
        status = main_complain(o, MAIN_BAD_USAGE, "unknown command: %s; help without it lists all", main_ask_word(words[1]).text);
    }
    json_decref(verbs);
    return status;
}

int main_command_run(const main_command *c) {
    char *words[MAIN_WORDS_MAX];
    memcpy(words, c->words, sizeof words);
    const main_own *own = own_command(words[0]);
    if (own) return own->run(&c->ask, words, c->n);
    int used = 0, status = EX_SOFTWARE;
    json_t *verbs = main_ask_verbs(&c->ask, &status);
    if (!verbs) return status;
    const json_t *near = NULL, *verb = find_verb(verbs, words, c->n, &used, &near);
    status = verb ? run_verb(&c->ask, verb, words, c->n, used) : no_verb(&c->ask, verbs, near, words, c->n);
    json_decref(verbs);
    return status;
}

const main_own main_own_commands[] = {
    {"top [--once] [--interval SEC]", "shows the running node, again and again, on the whole screen; keys: q, space, s, < and >", main_top},
    {"trace [--count N] [--seconds N] JID|PID|NAME",
     "follows requests from and to a JID, or of an actor, as they happen: each step, with its time", main_trace},
    {"record [--last N] [--event EVENT] [--actor PID] [--trace N] [--since TIME] [FILE]",
     "shows the flight recorder of the running node, or of a file", main_record},
    {"complete WORD ...", "names what may stand in place of the last WORD, one a line; for shells", main_complete},
    {"help [COMMAND]", "lists all commands", help},
};
const size_t main_own_count = ARRAY_LEN(main_own_commands);
