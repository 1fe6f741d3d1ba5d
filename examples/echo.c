/* echo: a gen_server in C. In an Erlang shell with the same cookie:
 *     gen_server:call({echo, 'echo@127.0.0.1'}, {hello, 1}).     gen_server:cast(...).     {echo, 'echo@127.0.0.1'} ! anything. */
#include <murre.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static murre_err init(murre_ctx *cx, void *st, const void *arg) {
    (void)st; /* it has none */
    return murre_register(cx, arg);
}

static murre_err handle(murre_ctx *cx, void *st, const murre_msg *m) {
    (void)st;
    murre_builder *b = murre_build();
    murre_put_term(b, m->term);
    if (m->kind == MURRE_CALL) return murre_reply(cx, m, &b);
    return murre_send(cx, m->from, &b);
}

static const murre_class echo = {.size = sizeof echo, .name = "echo", .init = init, .handle = handle};

int main(int argc, char **argv) {
    murre_config c = {.size = sizeof c, .name = argc > 1 ? argv[1] : "echo@127.0.0.1", .cookie_file = argc > 2 ? argv[2] : "cookie"};
    murre_node *node;
    char why[200];
    int sig;
    sigset_t ends;
    if (argc > 3) c.epmd_port = (unsigned short)strtoul(argv[3], NULL, 10);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before the node, whose threads inherit it */
    if (murre_node_start(&c, &node, why, sizeof why)) return fprintf(stderr, "%s\n", why), 1;
    if (murre_node_spawn(node, &echo, "echo", NULL)) return fprintf(stderr, "echo cannot start\n"), 1;
    sigwait(&ends, &sig);
    murre_node_stop(node);
}
