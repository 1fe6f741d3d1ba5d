/* caller: a C program that asks an Erlang node. It connects to the node of its last argument, calls a server there and functions of OTP,
 * one after the other, and prints what becomes of each:
 *
 *     erl -name a@127.0.0.1 -setcookie "$(cat cookie)"
 *     build/examples/caller caller@127.0.0.1 cookie 4369 a@127.0.0.1 */
#include <murre.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECOND 1000000

typedef struct question { /* of a function, or (without a module) of whoever is registered as name */
    const char *module, *name, *term;
} question;
static const question questions[] = {
    {"lists", "reverse", "[[1,two,\"three\"]]"},
    {"erlang", "node", "[]"},
    {"string", "uppercase", "[\"shout\"]"},
    {NULL, "net_kernel", "{is_auth,'caller@127.0.0.1'}"},
    {NULL, "nobody", "hello"},
    {"no", "such", "[1]"},
    {"timer", "sleep", "[infinity]"},
};

typedef struct caller {
    const char *node;
    size_t next; /* question */
    uint64_t call;
} caller;

static murre_err ask(murre_ctx *cx, caller *c) {
    if (c->next == sizeof questions / sizeof questions[0]) {
        kill(getpid(), SIGTERM); /* main waits for it */
        return MURRE_OK;
    }
    const question *q = &questions[c->next++];
    murre_builder *b = murre_build();
    murre_put_text(b, q->term);
    return q->module ? murre_rpc(cx, c->node, q->module, q->name, &b, SECOND, &c->call)
                     : murre_call_name(cx, q->name, c->node, &b, SECOND, &c->call);
}

static murre_err init(murre_ctx *cx, void *st, const void *arg) {
    caller *c = st;
    c->node = arg;
    return murre_connect(cx, c->node, &c->call);
}

static murre_err handle(murre_ctx *cx, void *st, const murre_msg *m) {
    caller *c = st;
    char text[400];
    if (m->kind != MURRE_ANSWER || m->call != c->call) return MURRE_OK;
    bool connects = c->next == 0;
    murre_term_text(m->term, text, sizeof text);
    printf("%s: %s%s%s\n", connects ? c->node : questions[c->next - 1].name, murre_err_text(m->status), *text ? ", " : "", text);
    fflush(stdout);
    if (connects && m->status) {
        kill(getpid(), SIGTERM);
        return MURRE_OK;
    }
    return ask(cx, c);
}

static const murre_class class = {.size = sizeof class, .name = "caller", .state_size = sizeof(caller), .init = init, .handle = handle};

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "usage: caller NAME COOKIE_FILE EPMD_PORT NODE\n"), 2;
    murre_config c = {.size = sizeof c, .name = argv[1], .cookie_file = argv[2], .epmd_port = (uint16_t)strtoul(argv[3], NULL, 10)};
    murre_node *node;
    char why[200];
    int sig;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before the node, whose threads inherit it */
    if (murre_node_start(&c, &node, why, sizeof why)) return fprintf(stderr, "%s\n", why), 1;
    if (murre_node_spawn(node, &class, argv[4], NULL)) return fprintf(stderr, "%s cannot be dialled\n", argv[4]), 1;
    sigwait(&ends, &sig);
    murre_node_stop(node);
}
