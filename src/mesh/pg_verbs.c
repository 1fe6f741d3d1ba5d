/* pg_verbs: process groups for operators (murrectl pg). What a scope knows, only its actor knows: it is asked, for a part that it has at
 * once (pg_scope.h). */
#include "mesh/int.h"
#include "mesh/pg.h"
#include "mesh/pg_scope.h"
#include "proto/etf/term.h"
#include "rt/verbs_fn.h"

#define CALL_USEC (5 * USEC_PER_SEC)
#define NODES_MAX 16384u
#define ROWS_MAX  1000u
#define NAME_MAX_ (ETF_ATOM_BYTES + 1)

/* --- asking ----------------------------------------------------------------------------------------------------------------------- */
/* The caller drops *out. */
static err ask(rt_verb_call *c, slice scope, const mesh_pg_ask *q, slice group, rt_msg **out) {
    char name[NAME_MAX_] = "";
    memcpy(name, scope.p, scope.len < sizeof name ? scope.len : sizeof name - 1);
    rt_pid to = rt_name_whereis(c->node, name);
    rt_msg *m = rt_msg_new_ext(MESH_PG_ASK, sizeof *q);
    *mesh_pg_ask_of(m) = *q;
    mesh_pg_ask_of(m)->group = group.p ? mesh_pg_group_blob(group) : NULL;
    err e = rt_call(c->node, to, &m, rt_verb_patience(c->node, to, CALL_USEC), out);
    if (e) return rt_verb_fail(c, e, scope, e == ERR_NOPROC ? "does not run at the moment" : "does not answer");
    e = (*out)->tag == MESH_PG_ANSWER ? mesh_pg_answer_of(*out)->status : ERR_BUSY; /* or the question, refused */
    if (!e) return ERR_OK;
    rt_msg_drop(c->node, out);
    return rt_verb_fail(c, e, scope, err_text(e));
}

typedef struct scopes {
    rt_verb_call *c;
    slice name[MESH_PG_SCOPES_MAX];
    size_t n;
} scopes;
static void add(void *arg, slice name) {
    scopes *s = arg;
    slice copy = arena_dup(s->c->arena, name);
    if (copy.p && s->n < MESH_PG_SCOPES_MAX) s->name[s->n++] = copy;
}

static scopes all_scopes(rt_verb_call *c) {
    scopes s = {.c = c};
    rt_reader *r = rt_epoch_begin(c->node);
    mesh_pg_each(r, add, &s);
    rt_epoch_end(&r);
    return s;
}

/* --- rows ------------------------------------------------------------------------------------------------------------------------- */
typedef struct share {
    uint32_t index;
    uint64_t times;
    slice node;
} share;
static bool next_share(cursor *rows, share *out) {
    return cursor_u32le(rows, &out->index) && cursor_u64le(rows, &out->times) && cursor_lslice(rows, &out->node);
}

static err push_nodes(rt_verb_call *c, slice scope) {
    rt_msg *answer = NULL;
    share s;
    err e = ask(c, scope, &(mesh_pg_ask){.op = MESH_PG_SHARES, .max = NODES_MAX}, SLICE_NULL, &answer);
    if (e) return e;
    cursor rows = cursor_of(rt_blob_slice(mesh_pg_answer_of(answer)->rows));
    while (next_share(&rows, &s)) {
        val *m = val_map(c->arena);
        val_set(c->arena, m, "scope", val_str(c->arena, scope));
        val_set(c->arena, m, "node", val_str(c->arena, s.node));
        rt_verb_uint(c, m, "members", s.times);
        val_push(c->arena, c->result, m);
    }
    rt_msg_drop(c->node, &answer);
    return ERR_OK;
}

static void push_group(rt_verb_call *c, slice name, uint64_t here, uint64_t there) {
    arena a;
    buf text;
    etf_reader r = etf_reader_of(name);
    const etf_term *t;
    arena_init(&a, (size_t)MESH_PG_GROUP_MAX * ETF_TERM_COST);
    buf_init(&text, 8 * MESH_PG_GROUP_MAX);
    if (etf_term_read(&r, &a, &t) == ERR_OK) etf_format(t, &text);
    val *m = val_map(c->arena);
    val_set(c->arena, m, "group", val_str(c->arena, buf_slice(&text)));
    rt_verb_uint(c, m, "here", here);
    rt_verb_uint(c, m, "elsewhere", there);
    val_push(c->arena, c->result, m);
    arena_fini(&a);
    buf_fini(&text);
}

static err push_groups(rt_verb_call *c, slice scope) {
    rt_msg *answer = NULL;
    uint64_t here, there;
    slice name;
    err e = ask(c, scope, &(mesh_pg_ask){.op = MESH_PG_GROUPS, .max = ROWS_MAX}, SLICE_NULL, &answer);
    if (e) return e;
    cursor rows = cursor_of(rt_blob_slice(mesh_pg_answer_of(answer)->rows));
    while (cursor_u64le(&rows, &here) && cursor_u64le(&rows, &there) && cursor_lslice(&rows, &name)) push_group(c, name, here, there);
    rt_msg_drop(c->node, &answer);
    return ERR_OK;
}

/* The name of a node of a scope; empty: it went in between. */
static slice node_name(cursor shares, uint32_t index) {
    share s;
    while (next_share(&shares, &s))
        if (s.index == index) return s.node;
    return SLICE("");
}

static err push_members(rt_verb_call *c, slice scope, slice group) {
    rt_msg *answer = NULL, *nodes = NULL;
    mesh_pg_member k;
    err e = ask(c, scope, &(mesh_pg_ask){.op = MESH_PG_MEMBERS, .max = ROWS_MAX}, group, &answer);
    if (!e) e = ask(c, scope, &(mesh_pg_ask){.op = MESH_PG_SHARES, .max = NODES_MAX}, SLICE_NULL, &nodes);
    slice rows = e ? SLICE_NULL : rt_blob_slice(mesh_pg_answer_of(answer)->rows);
    for (; rows.len >= sizeof k; rows = slice_from(rows, sizeof k)) {
        memcpy(&k, rows.p, sizeof k);
        val *m = val_map(c->arena);
        rt_verb_pid(c, m, "pid", k.pid);
        val_set(c->arena, m, "node", val_str(c->arena, node_name(cursor_of(rt_blob_slice(mesh_pg_answer_of(nodes)->rows)), k.pid.node)));
        rt_verb_uint(c, m, "times", k.times);
        val_push(c->arena, c->result, m);
    }
    rt_msg_drop(c->node, &answer);
    rt_msg_drop(c->node, &nodes);
    return e;
}

/* --- the verb --------------------------------------------------------------------------------------------------------------------- */
err mesh_pg_verb(rt_verb_call *c) {
    scopes s = all_scopes(c);
    err e = ERR_OK;
    size_t at = 0, bad = 0;
    c->result = val_list(c->arena);
    for (size_t i = 0; !e && c->n_args == 0 && i < s.n; i++) e = push_nodes(c, s.name[i]);
    if (c->n_args == 0) return e;
    while (at < s.n && !slice_eq(s.name[at], c->args[0])) at++;
    if (at == s.n) return rt_verb_fail(c, ERR_NOT_FOUND, c->args[0], "is not a scope of process groups here (pg.scopes)");
    if (c->n_args == 1) return push_groups(c, s.name[at]);
    buf group;
    buf_init(&group, MESH_PG_GROUP_MAX);
    e = etf_parse(c->args[1], &group, &bad);
    if (e)
        e = rt_verb_fail(c, e, c->args[1],
                         e == ERR_LIMIT ? "is longer than a group's name can be" : "is not an Erlang term, as the name of a group is");
    else
        e = push_members(c, s.name[at], buf_slice(&group));
    buf_fini(&group);
    return e;
}
