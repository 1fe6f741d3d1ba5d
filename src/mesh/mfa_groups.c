/* mfa_groups: what this node knows of process groups and of names of the cluster, as OTP's pg and global say it (kernel, pg.erl,
 * global.erl). A scope is asked, as murrectl asks it; actors of this node, those of a foreign class, can be put into groups. */
#include "base/mem.h"
#include "mesh/global.h"
#include "mesh/mfa.h"
#include "mesh/pg.h"
#include "mesh/pg_scope.h"
#include "rt/verbs.h"

#define CALL_USEC (5 * USEC_PER_SEC)
#define PIDS_MAX  1024u /* in one call of join or leave */

/* --- asking a scope ------------------------------------------------------------------------------------------------------------------ */
/* The scope is argument 0 if the function has one more than otherwise; false: it is none of this node's, or does not answer. The caller
 * drops *out. */
static bool ask(mesh_mfa_call *c, bool scoped, const mesh_pg_ask *q, etf_reader group, rt_msg **out) {
    slice scope = SLICE(MESH_PG_SCOPE), name = SLICE_NULL, v;
    char text[ETF_ATOM_BYTES + 1] = "";
    if (scoped && !mesh_mfa_atom(c, 0, &scope)) return false;
    if (q->op != MESH_PG_GROUPS && !etf_skip(&group, &name)) return false;
    rt_reader *r = rt_epoch_begin(c->m->node);
    bool there = rt_table_lookup(r, rt_table_whereis(r, SLICE(MESH_PG_SCOPES)), scope, &v) == ERR_OK;
    rt_epoch_end(&r);
    if (!there) return false;
    memcpy(text, scope.p, scope.len);
    rt_pid to = rt_name_whereis(c->m->node, text);
    rt_msg *m = rt_msg_new_ext(MESH_PG_ASK, sizeof *q);
    *mesh_pg_ask_of(m) = *q;
    mesh_pg_ask_of(m)->group = name.p ? mesh_pg_group_blob(name) : NULL;
    if (rt_call(c->m->node, to, &m, rt_verb_patience(c->m->node, to, CALL_USEC), out)) return false;
    return true;
}

/* The status of what a scope has answered, and its end. */
static err settled(const mesh_mfa_call *c, rt_msg **answer) {
    err e = (*answer)->tag == MESH_PG_ANSWER ? mesh_pg_answer_of(*answer)->status : ERR_BUSY; /* or the question, refused */
    rt_msg_drop(c->m->node, answer);
    return e;
}

/* --- members ------------------------------------------------------------------------------------------------------------------------ */
static void put_member(mesh_mfa_call *c, rt_reader *r, const mesh_pg_member *k) {
    slice v;
    if (k->pid.node && rt_table_lookup(r, c->m->nodes, slice_of(&k->pid.node, sizeof k->pid.node), &v) != ERR_OK)
        return; /* its node has gone meanwhile */
    for (uint64_t i = 0; i < k->times && buf_ok(c->value); i++) {
        etf_put_list(c->value, 1); /* the rest of the list is its tail */
        mesh_mfa_pid(c, r, k->pid);
    }
}

static bool members(mesh_mfa_call *c, bool scoped, bool local) {
    rt_msg *answer = NULL;
    mesh_pg_member k;
    if (!ask(c, scoped, &(mesh_pg_ask){.op = MESH_PG_MEMBERS, .max = UINT32_MAX}, mesh_mfa_arg(c, scoped ? 1 : 0), &answer)) return false;
    bool fine = answer->tag == MESH_PG_ANSWER && mesh_pg_answer_of(answer)->status == ERR_OK;
    slice rows = fine ? rt_blob_slice(mesh_pg_answer_of(answer)->rows) : SLICE_NULL;
    rt_reader *r = rt_epoch_begin(c->m->node);
    for (; rows.len >= sizeof k; rows = slice_from(rows, sizeof k)) {
        memcpy(&k, rows.p, sizeof k);
        if (!local || k.pid.node == 0) put_member(c, r, &k);
    }
    rt_epoch_end(&r);
    etf_put_nil(c->value);
    rt_msg_drop(c->m->node, &answer);
    return fine;
}
bool mesh_mfa_pg_members(mesh_mfa_call *c) { return members(c, false, false); }
bool mesh_mfa_pg_members_in(mesh_mfa_call *c) { return members(c, true, false); }
bool mesh_mfa_pg_local_members(mesh_mfa_call *c) { return members(c, false, true); }
bool mesh_mfa_pg_local_members_in(mesh_mfa_call *c) { return members(c, true, true); }

static bool groups(mesh_mfa_call *c, bool scoped) {
    rt_msg *answer = NULL;
    uint64_t here, there;
    slice name;
    if (!ask(c, scoped, &(mesh_pg_ask){.op = MESH_PG_GROUPS, .max = UINT32_MAX}, (etf_reader){0}, &answer)) return false;
    bool fine = answer->tag == MESH_PG_ANSWER && mesh_pg_answer_of(answer)->status == ERR_OK;
    cursor rows = cursor_of(fine ? rt_blob_slice(mesh_pg_answer_of(answer)->rows) : SLICE_NULL);
    while (cursor_u64le(&rows, &here) && cursor_u64le(&rows, &there) && cursor_lslice(&rows, &name)) {
        etf_put_list(c->value, 1); /* the rest of the list is its tail */
        buf_add(c->value, name);
    }
    etf_put_nil(c->value);
    rt_msg_drop(c->m->node, &answer);
    return fine;
}
bool mesh_mfa_pg_groups(mesh_mfa_call *c) { return groups(c, false); }
bool mesh_mfa_pg_groups_in(mesh_mfa_call *c) { return groups(c, true); }

/* --- joining and leaving -------------------------------------------------------------------------------------------------------------- */
/* Actors of this node: one pid, or a list of them. 0: it is neither, or they are more than max. */
static size_t actors(const mesh_mfa_call *c, uint32_t i, rt_pid *out, size_t max) {
    etf_reader r = mesh_mfa_arg(c, i);
    etf_pid p;
    uint32_t n = 1;
    bool list_ = mesh_mfa_list(&r, &n);
    if (list_ && n > max) return 0;
    for (uint32_t k = 0; k < n; k++)
        if (!etf_get_pid(&r, &p) || !mesh_own_pid(c->m, &p, &out[k])) return 0;
    etf_item tail = {.kind = ETF_NIL};
    if (list_ && n && (!etf_next(&r, &tail) || tail.kind != ETF_NIL)) return 0;
    return n;
}

/* ok; not_joined: of leave, none of them is in the group. What a scope refuses past its limits ends the call with badarg. */
static bool change(mesh_mfa_call *c, bool scoped, mesh_pg_op op) {
    rt_pid pid[PIDS_MAX];
    uint32_t at = scoped ? 1 : 0;
    size_t n = actors(c, at + 1, pid, PIDS_MAX), done = 0;
    for (size_t i = 0; i < n; i++) {
        rt_msg *answer = NULL;
        if (!ask(c, scoped, &(mesh_pg_ask){.op = (uint8_t)op, .ticket = 1, .pid = pid[i]}, mesh_mfa_arg(c, at), &answer)) return false;
        err e = settled(c, &answer);
        if (e && e != ERR_NOT_FOUND) return false;
        done += e == ERR_OK;
    }
    if (n) etf_put_atom(c->value, done ? SLICE("ok") : SLICE("not_joined"));
    return n > 0;
}
bool mesh_mfa_pg_join(mesh_mfa_call *c) { return change(c, false, MESH_PG_JOIN); }
bool mesh_mfa_pg_join_in(mesh_mfa_call *c) { return change(c, true, MESH_PG_JOIN); }
bool mesh_mfa_pg_leave(mesh_mfa_call *c) { return change(c, false, MESH_PG_LEAVE); }
bool mesh_mfa_pg_leave_in(mesh_mfa_call *c) { return change(c, true, MESH_PG_LEAVE); }

/* --- names of the cluster ----------------------------------------------------------------------------------------------------------- */
static void put_name(void *arg, slice name, const etf_pid *pid) {
    buf *out = arg;
    (void)pid;
    etf_put_list(out, 1); /* the rest of the list is its tail */
    buf_add(out, name);
}

bool mesh_mfa_global_names(mesh_mfa_call *c) {
    mesh_global_each(rt_epoch_reader(c->cx), put_name, c->value);
    etf_put_nil(c->value);
    return true;
}

typedef struct looking {
    slice name; /* as it is in the table */
    buf *out;
    bool found;
} looking;
static void look(void *arg, slice name, const etf_pid *pid) {
    looking *l = arg;
    if (l->found || !slice_eq(name, l->name)) return;
    etf_put_pid(l->out, pid);
    l->found = true;
}

bool mesh_mfa_global_whereis(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 0);
    looking l = {.out = c->value};
    if (!etf_skip(&r, &l.name)) return false;
    mesh_global_each(rt_epoch_reader(c->cx), look, &l);
    if (!l.found) etf_put_atom(c->value, SLICE("undefined"));
    return true;
}
