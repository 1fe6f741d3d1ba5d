/* counter: a supervised gen_server in C, with a state, late answers, workers and reasons. In an Erlang shell with the same cookie, with
 * S = {counter, 'counter@127.0.0.1'}:
 *
 *     gen_server:call(S, {add, 5}).       ok; the state is lost when it ends, as in OTP
 *     gen_server:call(S, get).            #{count => 5, nodes => [...]}
 *     gen_server:call(S, {wait, 500}).    done, half a second later; other calls are answered meanwhile
 *     gen_server:call(S, {work, [1,2]}).  3, from a worker of its own; {error, Reason} if that one ends without an answer
 *     gen_server:cast(S, {stop, why}).    it ends with that reason, and its supervisor starts another */
#include <murre.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 64
#define JOBS_MAX  64
#define NAME_MAX_ 256

typedef struct job { /* somebody waits: for the timer, or for a worker */
    murre_caller *caller;
    murre_timer timer;
    uint64_t monitor; /* of the worker; 0: the timer */
} job;
typedef struct counter {
    int64_t count;
    job jobs[JOBS_MAX];
    char nodes[NODES_MAX][NAME_MAX_];
    size_t n_nodes;
} counter;

static murre_err answer_atom(murre_ctx *cx, const murre_msg *m, const char *atom) {
    murre_builder *b = murre_build();
    murre_put_atom(b, atom);
    return murre_reply(cx, m, &b);
}

/* --- a worker: adds up a list that its maker sends */
static murre_err work(murre_ctx *cx, void *st, const murre_msg *m) {
    int64_t sum = 0, i;
    uint32_t n = 0;
    (void)st;
    murre_reader r = murre_read(m->term);
    if (!murre_get_nil(&r) && !murre_get_list(&r, &n)) return MURRE_INVALID; /* it ends, and who watches hears of it */
    for (uint32_t k = 0; k < n; k++) {
        if (!murre_get_int(&r, &i)) return MURRE_INVALID;
        sum += i;
    }
    murre_builder *b = murre_build();
    murre_put_int(b, sum);
    return murre_stop(cx, &b); /* a result can be a reason */
}

static const murre_class worker = {.size = sizeof worker, .name = "worker", .handle = work};

/* --- who waits */
static job *free_job(counter *c) {
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (!c->jobs[i].caller) return &c->jobs[i];
    return NULL;
}

static murre_err on_wait(murre_ctx *cx, counter *c, const murre_msg *m, int64_t msec) {
    job *j = free_job(c);
    if (!j) return answer_atom(cx, m, "busy");
    j->caller = murre_caller_keep(m);
    j->monitor = 0;
    murre_timer_set(cx, &j->timer, msec * 1000);
    return MURRE_OK;
}

static murre_err on_timer(murre_ctx *cx, void *st, murre_timer *t) {
    counter *c = st;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        if (t != &c->jobs[i].timer) continue;
        murre_builder *b = murre_build();
        murre_put_atom(b, "done");
        return murre_caller_reply(cx, &c->jobs[i].caller, &b);
    }
    return MURRE_FAILED; /* there is no other timer */
}

static murre_err on_work(murre_ctx *cx, counter *c, const murre_msg *m, murre_term list) {
    job *j = free_job(c);
    murre_pid pid;
    if (!j) return answer_atom(cx, m, "busy");
    murre_err e = murre_spawn(cx, &worker, NULL, MURRE_MONITOR, &pid, &j->monitor);
    if (e) return e;
    j->caller = murre_caller_keep(m);
    murre_builder *b = murre_build();
    murre_put_term(b, list);
    return murre_send(cx, pid, &b);
}

static murre_err on_down(murre_ctx *cx, counter *c, const murre_msg *m) {
    murre_reader r = murre_read(m->term);
    for (size_t i = 0; i < JOBS_MAX; i++) {
        job *j = &c->jobs[i];
        if (!j->caller || j->monitor != m->monitor) continue;
        murre_builder *b = murre_build();
        if (murre_peek(&r) != MURRE_T_INT) {
            murre_put_tuple(b, 2);
            murre_put_atom(b, "error");
        }
        murre_put_term(b, m->term);
        return murre_caller_reply(cx, &j->caller, &b);
    }
    return MURRE_OK;
}

/* --- nodes */
static void on_node(counter *c, const murre_msg *m) {
    size_t i = 0;
    while (i < c->n_nodes && (strlen(c->nodes[i]) != m->node.len || memcmp(c->nodes[i], m->node.p, m->node.len) != 0)) i++;
    if (m->kind == MURRE_NODE_UP && i == c->n_nodes && i < NODES_MAX && m->node.len < NAME_MAX_) {
        memcpy(c->nodes[i], m->node.p, m->node.len);
        c->nodes[c->n_nodes++][m->node.len] = 0;
    } else if (m->kind == MURRE_NODE_DOWN && i < c->n_nodes) {
        memmove(c->nodes[i], c->nodes[--c->n_nodes], NAME_MAX_);
    }
}

static murre_err on_get(murre_ctx *cx, const counter *c, const murre_msg *m) {
    murre_builder *b = murre_build();
    murre_put_map(b, 2);
    murre_put_atom(b, "count");
    murre_put_int(b, c->count);
    murre_put_atom(b, "nodes");
    murre_put_list(b, (uint32_t)c->n_nodes);
    for (size_t i = 0; i < c->n_nodes; i++) murre_put_atom(b, c->nodes[i]);
    murre_put_nil(b);
    return murre_reply(cx, m, &b);
}

/* --- the server */
static murre_err on_call(murre_ctx *cx, counter *c, const murre_msg *m) {
    murre_reader r = murre_read(m->term);
    murre_term list;
    uint32_t n;
    int64_t i;
    if (murre_get_atom_is(&r, "get")) return on_get(cx, c, m);
    if (murre_get_tuple(&r, &n) && n == 2) {
        if (murre_get_atom_is(&r, "add") && murre_get_int(&r, &i) && !__builtin_add_overflow(c->count, i, &c->count))
            return answer_atom(cx, m, "ok");
        if (murre_get_atom_is(&r, "wait") && murre_get_int(&r, &i) && i >= 0 && i <= 60000) return on_wait(cx, c, m, i);
        if (murre_get_atom_is(&r, "work") && murre_get_term(&r, &list)) return on_work(cx, c, m, list);
    }
    return answer_atom(cx, m, "badarg");
}

static murre_err on_cast(murre_ctx *cx, const murre_msg *m) {
    murre_reader r = murre_read(m->term);
    murre_term why;
    uint32_t n;
    if (!murre_get_tuple(&r, &n) || n != 2 || !murre_get_atom_is(&r, "stop") || !murre_get_term(&r, &why)) return MURRE_OK;
    murre_builder *b = murre_build();
    murre_put_term(b, why);
    return murre_stop(cx, &b);
}

static murre_err handle(murre_ctx *cx, void *st, const murre_msg *m) {
    switch (m->kind) {
    case MURRE_CALL: return on_call(cx, st, m);
    case MURRE_CAST: return on_cast(cx, m);
    case MURRE_DOWN: return on_down(cx, st, m);
    case MURRE_NODE_UP:
    case MURRE_NODE_DOWN: on_node(st, m); return MURRE_OK;
    case MURRE_INFO:
    case MURRE_ANSWER:
    case MURRE_EXIT: return MURRE_OK;
    }
    return MURRE_OK;
}

static murre_err init(murre_ctx *cx, void *st, const void *arg) {
    (void)st;
    murre_watch_nodes(cx, true);
    return murre_register(cx, arg);
}

static void ended(murre_ctx *cx, void *st) {
    counter *c = st;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        murre_timer_cancel(cx, &c->jobs[i].timer);
        murre_caller_free(c->jobs[i].caller); /* who waits hears of our end */
    }
}

static const murre_class counters = {
    .size = sizeof counters,
    .name = "counter",
    .state_size = sizeof(counter),
    .init = init,
    .handle = handle,
    .timer = on_timer,
    .ended = ended,
};

int main(int argc, char **argv) {
    murre_config c = {
        .size = sizeof c, .name = argc > 1 ? argv[1] : "counter@127.0.0.1", .cookie_file = argc > 2 ? argv[2] : "cookie", .shards = 2};
    murre_node *node;
    char why[200];
    int sig;
    sigset_t ends;
    if (argc > 3) c.epmd_port = (uint16_t)strtoul(argv[3], NULL, 10);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before the node, whose threads inherit it */
    if (murre_node_start(&c, &node, why, sizeof why)) return fprintf(stderr, "%s\n", why), 1;
    murre_sup *s = murre_sup_new(MURRE_ONE_FOR_ONE, 5, 10 * 1000000);
    murre_err e = murre_sup_add(s, "counter", &counters, "counter", MURRE_PERMANENT, 1000000);
    if (!e) e = murre_sup_start(node, &s, NULL);
    murre_sup_free(s); /* NULL once it is started */
    if (e) return fprintf(stderr, "counter cannot start: %s\n", murre_err_text(e)), 1;
    sigwait(&ends, &sig);
    murre_node_stop(node);
}
