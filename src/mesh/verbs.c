/* verbs: the mesh for operators: which nodes are connected, which are to be, and what is in the way; and which names the cluster has. */
#include "mesh/call.h"
#include "mesh/dial.h"
#include "mesh/global.h"
#include "mesh/link.h"
#include "proto/etf/term.h"
#include "rt/verbs_fn.h"

#include <stdio.h>

#define CALL_USEC (10 * USEC_PER_SEC)

/* --- nodes ------------------------------------------------------------------------------------------------------------------------- */
/* relaxed: see mesh_gauge. */
static void push_load(rt_verb_call *c, val *m, mesh_gauge *g) {
    rt_verb_uint(c, m, "queued", g ? atomic_load_explicit(&g->bytes, memory_order_relaxed) : 0);
    val_set(c->arena, m, "busy", val_bool(c->arena, g && atomic_load_explicit(&g->busy, memory_order_relaxed)));
    rt_verb_uint(c, m, "busy_n", g ? atomic_load_explicit(&g->busy_n, memory_order_relaxed) : 0);
}

static void push(rt_verb_call *c, slice name, const mesh_want *w, uint32_t index, const mesh_node *n) {
    static const char *const states[] = {
        [MESH_WANT_WAITING] = "waiting", [MESH_WANT_READY] = "ready", [MESH_WANT_DIALLING] = "dialling", [MESH_WANT_UP] = "lost"};
    val *m = val_map(c->arena);
    val_set(c->arena, m, "node", val_str(c->arena, name));
    rt_verb_text(c, m, "state", n ? "up" : w->state < ARRAY_LEN(states) ? states[w->state] : "?"); /* UP, and no link any more: a moment */
    rt_verb_uint(c, m, "index", index);
    rt_verb_uint(c, m, "creation", n ? n->creation : 0);
    rt_verb_pid(c, m, "link", n ? n->link : RT_PID_NONE);
    push_load(c, m, n ? n->gauge : NULL);
    val_set(c->arena, m, "wanted", val_bool(c->arena, w != NULL));
    rt_verb_uint(c, m, "attempts", w ? w->attempts : 0);
    val_set(c->arena, m, "error", val_str(c->arena, w ? mesh_want_why(w) : SLICE("")));
    val_push(c->arena, c->result, m);
}

typedef struct listing {
    rt_verb_call *c;
    rt_reader *r;
    rt_tid wanted;
} listing;

static bool push_wanted(void *arg, slice name, slice value) {
    const listing *l = arg;
    mesh_node n;
    uint32_t index = 0;
    bool up = mesh_peers_find(l->r, name, &index, &n);
    push(l->c, name, mesh_want_of(value), index, up ? &n : NULL);
    return true;
}

static void push_other(void *arg, uint32_t index, const mesh_node *n) {
    const listing *l = arg;
    slice name = slice_of(n->name, n->name_len), v;
    if (rt_table_lookup(l->r, l->wanted, name, &v) != ERR_OK) push(l->c, name, NULL, index, n);
}

static err nodes_list(rt_verb_call *c) {
    rt_reader *r = rt_epoch_begin(c->node);
    listing l = {c, r, rt_table_whereis(r, SLICE(MESH_WANTED_NODES))};
    rt_table_at at = {0};
    err e = ERR_OK;
    c->result = val_list(c->arena);
    while (!at.done && !e) e = rt_table_fold(r, l.wanted, &at, 1024, push_wanted, &l);
    if (!e) mesh_peers_each(rt_table_whereis(r, SLICE(MESH_NODES)), r, push_other, &l);
    rt_epoch_end(&r);
    if (e) (void)snprintf(c->why, sizeof c->why, "the table of wanted nodes cannot be read: %s", err_text(e));
    return e;
}

/* --- who is wanted ----------------------------------------------------------------------------------------------------------------- */
static err ask(rt_verb_call *c, mesh_want_op op) {
    rt_pid to = rt_name_whereis(c->node, MESH_DIAL_NAME);
    rt_msg *m = rt_msg_new_ext(MESH_WANT, sizeof(mesh_want_msg)), *r = NULL;
    *mesh_want_msg_of(m) = (mesh_want_msg){.op = (uint8_t)op, .seed = rt_blob_new(c->args[0])};
    err e = rt_call(c->node, to, &m, rt_verb_patience(c->node, to, CALL_USEC), &r);
    if (e) {
        (void)snprintf(c->why, sizeof c->why, "%s does not answer: %s", MESH_DIAL_NAME, err_text(e));
        return e;
    }
    e = mesh_wanted_msg_of(r)->status;
    slice text = rt_blob_slice(mesh_wanted_msg_of(r)->text);
    if (e)
        (void)snprintf(c->why, sizeof c->why, SLICE_FMT, SLICE_ARG(text));
    else
        c->result = val_str(c->arena, text);
    rt_msg_drop(c->node, &r);
    return e;
}

static err nodes_connect(rt_verb_call *c) { return ask(c, MESH_WANT_CONNECT); }
static err nodes_disconnect(rt_verb_call *c) { return ask(c, MESH_WANT_DISCONNECT); }

/* --- names of the cluster ------------------------------------------------------------------------------------------------------------ */
/* A term in words; past VERB_TEXT_MAX it is not shown. */
#define VERB_TEXT_MAX 4096u
static void text_of(rt_verb_call *c, val *m, const char *key, slice term) {
    const etf_term *t;
    arena a;
    buf b;
    etf_reader r = etf_reader_of(term);
    arena_init(&a, (term.len + 1) * ETF_TERM_COST);
    buf_init(&b, VERB_TEXT_MAX);
    bool fits = etf_term_read(&r, &a, &t) == ERR_OK;
    if (fits) etf_format(t, &b);
    val_set(c->arena, m, key, val_str(c->arena, fits && buf_ok(&b) ? buf_slice(&b) : SLICE("(too long to be shown)")));
    buf_fini(&b);
    arena_fini(&a);
}

static void push_name(void *arg, slice name, const etf_pid *pid) {
    rt_verb_call *c = arg;
    val *m = val_map(c->arena);
    buf b;
    buf_init(&b, DIST_NAME_MAX);
    buf_addf(&b, "%u.%u", pid->id, pid->serial);
    text_of(c, m, "name", name);
    val_set(c->arena, m, "process", val_str(c->arena, buf_slice(&b)));
    val_set(c->arena, m, "node", val_str(c->arena, pid->node));
    val_push(c->arena, c->result, m);
    buf_fini(&b);
}

static err global_list(rt_verb_call *c) {
    rt_reader *r = rt_epoch_begin(c->node);
    c->result = val_list(c->arena);
    mesh_global_each(r, push_name, c);
    rt_epoch_end(&r);
    return ERR_OK;
}

const rt_verb mesh_verbs[] = {
    {"nodes", "list", 0, 0, RT_READS, nodes_list, "nodes",
     "lists the nodes that are connected or are to be: name, state, number, creation, the actor of the link, the bytes that wait for it, "
     "whether that is too much and how often it was, failed attempts and why the last one failed"},
    {"nodes", "connect", 1, 1, RT_MUTATES, nodes_connect, "nodes connect NODE",
     "dials a node, NAME@HOST or NAME@HOST:PORT, and keeps it connected until this node ends"},
    {"nodes", "disconnect", 1, 1, RT_MUTATES, nodes_disconnect, "nodes disconnect NODE",
     "ends the connection to a node, and does not dial it any more; it may connect itself again"},
    {"links", "list", 0, 1, RT_READS, mesh_links_verb, "links [NODE]",
     "shows the connections to other nodes: bytes, messages and ticks each way, what waits, links and monitors, TLS, age"},
    {"ping", "node", 1, 2, RT_WAITS, mesh_ping_verb, "ping NODE [SECONDS]",
     "connects to a node, NAME@HOST or NAME@HOST:PORT, if it is not connected, and asks whether it takes this one for a node of its "
     "cluster"},
    {"rpc", "call", 3, 5, RT_WAITS, mesh_rpc_verb, "rpc NODE MODULE FUNCTION [ARGS] [SECONDS]",
     "runs a function of another node; ARGS is a list of Erlang terms, such as [1,two]"},
    {"pg", "list", 0, 2, RT_WAITS, mesh_pg_verb, "pg [SCOPE] [GROUP]",
     "shows process groups: what each node has in each scope; the groups of one; the members of a group, an Erlang term"},
    {"global", "list", 0, 0, RT_READS, global_list, "global",
     "lists the names that the whole cluster knows (Erlang's global): the name, the process by its numbers, and its node"},
};
const size_t mesh_verbs_count = ARRAY_LEN(mesh_verbs);
