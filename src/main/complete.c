/* complete: see complete.h. A usage is words: the command's name, then arguments: JID, [LIMIT|PID|NAME], [all], [--last N], [EVENT ...]. An
 * argument in lower case stands for itself. */
#include "main/complete.h"

#include "base/mem.h"
#include "main/command.h"
#include "rt/event.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define ACTORS_ASKED  "200"
#define ANSWER_MSEC   1000
#define TOKEN_MAX     48
#define USAGE_MAX     24
#define LITERAL_CHARS "abcdefghijklmnopqrstuvwxyz_"

typedef struct place { /* where we complete */
    const main_ask *ask;
    const char *prefix, *before; /* the word, and the one before it ("") */
    const char *command;         /* the first word of the line */
    json_t *found;
} place;

static void add(place *p, const char *s) {
    bool fits = *s && strncmp(s, p->prefix, strlen(p->prefix)) == 0;
    size_t i;
    const json_t *have;
    json_array_foreach(p->found, i, have) if (strcmp(json_string_value(have), s) == 0) return;
    if (fits && i < MAIN_CANDIDATES_MAX) (void)json_array_append_new(p->found, json_string(s)); /* what is not UTF-8 is left out */
}

/* --- what the server knows */
static void add_members(place *p, const char *module, const char *function, const char *arg, const char *member) {
    int status;
    size_t i;
    const json_t *row;
    json_t *rows = main_ask_verb(p->ask, module, function, arg, &status);
    json_array_foreach(rows, i, row) {
        const char *s = json_is_string(row) ? json_string_value(row) : main_ask_text(row, member);
        add(p, s);
    }
    json_decref(rows);
}

static void add_class(place *p) { /* of locks, or of the actor named before */
    int status;
    if (strcmp(p->command, "locks") == 0) {
        add_members(p, "locks", "table", NULL, "lock");
        return;
    }
    json_t *actor = main_ask_verb(p->ask, "actor", "info", p->before, &status);
    add(p, main_ask_text(actor, "class"));
    json_decref(actor);
}

static void add_jids(place *p) {
    const char *slash = strchr(p->prefix, '/');
    if (slash) {
        char *bare = slice_dup_str(slice_of(p->prefix, (size_t)(slash - p->prefix)));
        add_members(p, "sessions", "list", bare, "jid");
        mem_free(bare);
    } else {
        add_members(p, "user", "find", p->prefix, "");
    }
}

static void add_files(place *p) {
    size_t n = strlen(p->prefix);
    char *pattern = mem_alloc(2 * n + 2), *at = pattern;
    for (size_t i = 0; i < n; i++) {
        if (strchr("*?[\\", p->prefix[i])) *at++ = '\\';
        *at++ = p->prefix[i];
    }
    *at++ = '*', *at = 0;
    glob_t g;
    if (glob(pattern, GLOB_MARK, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++) add(p, g.gl_pathv[i]);
        globfree(&g);
    }
    mem_free(pattern);
}

static void add_events(place *p) {
    for (size_t i = 0; i < EV_COUNT_; i++) add(p, rt_event_descs[i].name);
}

static void add_names(place *p, const json_t *verbs) {
    size_t i;
    const json_t *v;
    json_array_foreach(verbs, i, v) add(p, main_ask_text(v, "module"));
    for (i = 0; i < main_own_count; i++) {
        char name[TOKEN_MAX];
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(main_own_commands[i].usage, " "), main_own_commands[i].usage);
        add(p, name);
    }
}

/* --- usages */
typedef struct usage {
    char token[USAGE_MAX][TOKEN_MAX]; /* without brackets around them; an option's value is a token of its own */
    int n;
} usage;

static void split_usage(const char *text, usage *out) {
    out->n = 0;
    while (*text && out->n < USAGE_MAX) {
        size_t n = strcspn(text, " ");
        slice t = slice_of(text, n);
        if (t.len && t.p[0] == '[') t = slice_from(t, 1);
        bool inner = slice_find(t, '[') < t.len;
        if (t.len && t.p[t.len - 1] == ']' && !inner) t.len--;
        (void)snprintf(out->token[out->n++], TOKEN_MAX, SLICE_FMT, SLICE_ARG(t));
        text += n + (text[n] == ' ');
    }
}

static void add_kind(place *p, const char *kind, const json_t *verbs) {
    static const char *const levels[] = {"debug", "info", "notice", "warning", "error"};
    if (kind[strspn(kind, LITERAL_CHARS)] == 0) add(p, kind);
    if (strncmp(kind, "JID", 3) == 0 || strcmp(kind, "PREFIX") == 0) add_jids(p);
    if (strcmp(kind, "PID") == 0) add_members(p, "actors", "list", ACTORS_ASKED, "pid");
    if (strcmp(kind, "NAME") == 0) add_members(p, "actors", "list", ACTORS_ASKED, "name");
    if (strcmp(kind, "CLASS") == 0) add_class(p);
    if (strcmp(kind, "EVENT") == 0) add_events(p);
    if (strcmp(kind, "NODE") == 0) add_members(p, "nodes", "list", NULL, "node");
    if (strcmp(kind, "POOL") == 0) add_members(p, "workers", "list", NULL, "pool");
    if (strcmp(kind, "SCOPE") == 0) add_members(p, "pg", "list", NULL, "scope");
    if (strcmp(kind, "GROUP") == 0) add_members(p, "pg", "list", p->before, "group");
    if (strcmp(kind, "FILE") == 0 || strcmp(kind, "DIR") == 0 || strcmp(kind, "PATH") == 0) add_files(p);
    if (strcmp(kind, "COMMAND") == 0) add_names(p, verbs);
    for (size_t i = 0; strcmp(kind, "LEVEL") == 0 && i < ARRAY_LEN(levels); i++) add(p, levels[i]);
}

static void add_argument(place *p, const char *token, const json_t *verbs) {
    char text[TOKEN_MAX];
    (void)snprintf(text, sizeof text, "%s", token);
    char *save = NULL;
    for (char *kind = strtok_r(text, "|", &save); kind; kind = strtok_r(NULL, "|", &save)) add_kind(p, kind, verbs);
}

/* The options of a usage, or what may follow the option before: true if it was one that takes a value. */
static bool add_options(place *p, const usage *u, const json_t *verbs) {
    for (int i = 0; i < u->n; i++) {
        if (strncmp(u->token[i], "--", 2) != 0) continue;
        const char *name = u->token[i], *value = i + 1 < u->n ? u->token[i + 1] : "";
        bool takes = *value && strncmp(value, "--", 2) != 0 && value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == 0;
        if (takes && strcmp(p->before, name) == 0) {
            add_argument(p, value, verbs);
            return true;
        }
        if (strncmp(p->prefix, "--", 2) == 0) add(p, name);
    }
    return false;
}

static void add_verb(place *p, const json_t *verb, char *const *words, int n, const json_t *verbs) {
    usage u;
    int name = main_command_name_words(verb);
    const char *function = main_ask_text(verb, "function");
    if (strcmp(main_ask_text(verb, "module"), words[0]) != 0) return;
    if (name == 2 && n == 2) add(p, function);
    if (name == 2 && (n == 2 || strcmp(function, words[1]) != 0)) return;
    split_usage(main_ask_text(verb, "usage"), &u);
    bool again = u.n > 1 && strcmp(u.token[u.n - 1], "...") == 0; /* as many as you like of the kind before */
    int at = again && n >= u.n ? u.n - 2 : n - 1;
    if (at < u.n) add_argument(p, u.token[at], verbs);
}

/* Of our own commands every argument that is no option has the last place. */
static void add_own(place *p, const usage *u, const json_t *verbs) {
    int last = u->n - 1;
    bool value = last > 0 && strncmp(u->token[last - 1], "--", 2) == 0;
    if (last > 0 && !value && strncmp(u->token[last], "--", 2) != 0) add_argument(p, u->token[last], verbs);
}

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static json_t *sorted(const json_t *list) {
    size_t n = json_array_size(list);
    const char **at = mem_alloc((n + 1) * sizeof *at);
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++) at[i] = json_string_value(json_array_get(list, i));
    if (n) qsort(at, n, sizeof *at, by_text);
    for (size_t i = 0; i < n; i++) (void)json_array_append_new(out, json_string(at[i]));
    mem_free(at);
    return out;
}

json_t *main_complete_words(const main_ask *o, char *const *words, int n) {
    char why[MAIN_WHY_MAX] = "";
    main_ask quiet = *o;
    quiet.why = why;
    quiet.timeout_msec = ANSWER_MSEC;
    place p = {.ask = &quiet, .prefix = words[n - 1], .before = n > 1 ? words[n - 2] : "", .found = json_array()};
    char *plain[MAIN_WORDS_MAX]; /* without murrectl's own options, whose values tell us where to ask */
    int k = 0, status;
    for (int i = 0; i < n && k < MAIN_WORDS_MAX; i++) {
        bool value = i + 1 < n - 1;
        if (i < n - 1 && strcmp(words[i], "--json") == 0) continue;
        if (value && strcmp(words[i], "--socket") == 0)
            quiet.socket = words[++i];
        else if (value && strcmp(words[i], "--password-file") == 0)
            i++;
        else
            plain[k++] = words[i];
    }
    p.command = k ? plain[0] : "";
    json_t *verbs = main_ask_verbs(&quiet, &status);
    const main_own *own = NULL;
    usage u;
    size_t i;
    const json_t *verb;
    split_usage(main_options_usage, &u);
    bool done = add_options(&p, &u, verbs);
    for (i = 0; k > 1 && i < main_own_count; i++) {
        split_usage(main_own_commands[i].usage, &u);
        if (strcmp(u.token[0], plain[0]) != 0) continue;
        own = &main_own_commands[i];
        if (!done && !add_options(&p, &u, verbs)) add_own(&p, &u, verbs);
    }
    if (!done && k == 1) add_names(&p, verbs);
    if (!done && k > 1 && !own) json_array_foreach(verbs, i, verb) add_verb(&p, verb, plain, k, verbs);
    json_t *out = sorted(p.found);
    json_decref(p.found);
    json_decref(verbs);
    return out;
}

int main_complete(const main_ask *o, char **words, int n) {
    if (n < 2) return main_complain(o, MAIN_BAD_USAGE, "wrong number of arguments; usage: complete WORD ...");
    json_t *found = main_complete_words(o, words + 1, n - 1);
    size_t i;
    const json_t *s;
    json_array_foreach(found, i, s)(void) puts(json_string_value(s));
    json_decref(found);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}
