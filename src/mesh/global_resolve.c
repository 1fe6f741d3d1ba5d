/* global_resolve: the names of the other part against ours (OTP: global, exchange_names). A name that only they have is to be put
 * here. For one that both have, the node with the lesser name decides, so that it is decided once: it lets the resolver that came with our
 * registration say which of the two processes keeps it, on the node of ours, because that is where its code is. One clash at a time.
 *
 *     his process    put it here          ours    put it there          none, or anything else    neither
 *
 * A process of this node has its resolver here (global_clash.c). An Erlang node is asked through its rex, one of this kind is asked itself.
 * A resolver that cannot be asked gives the name to his process. */
#include "base/mem.h"
#include "mesh/global_int.h"

static void done(mesh_global *g) {
    mesh_global_resolving *r = &g->resolving;
    mesh_global_own_free(&r->node);
    mesh_global_own_free(&r->names);
    mesh_global_own_free(&r->asked);
    mesh_global_own_free(&r->my_pid);
    mesh_global_own_free(&r->my_method);
    buf_fini(&r->ops);
    buf_fini(&r->res);
    *r = (mesh_global_resolving){.call = 0};
}

static void put_insert(buf *b, slice name, slice pid, slice method) {
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("insert"));
    etf_put_tuple(b, 3);
    buf_add(b, name);
    buf_add(b, pid);
    buf_add(b, method);
}

static void put_delete(buf *b, slice name) {
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("delete"));
    buf_add(b, name);
}

static void take_his(mesh_global_resolving *r) {
    put_insert(&r->ops, r->his.name, r->his.pid_term, r->his.method);
    r->n_ops++;
}

static void keep_mine(mesh_global_resolving *r) {
    put_insert(&r->res, r->his.name, r->my_pid, r->my_method);
    r->n_res++;
}

static void take_none(mesh_global_resolving *r) {
    put_delete(&r->ops, r->his.name);
    put_delete(&r->res, r->his.name);
    r->n_ops++;
    r->n_res++;
}

static void take(mesh_global_resolving *r, mesh_global_verdict v) {
    switch (v) {
    case MESH_GLOBAL_HIS:
    case MESH_GLOBAL_NOBODY_KNOWS: take_his(r); break;
    case MESH_GLOBAL_MINE: keep_mine(r); break;
    case MESH_GLOBAL_NEITHER: take_none(r); break;
    }
}

static void ask(mesh_global *g, const mesh_global_node *n, slice name) {
    mesh_global_resolving *r = &g->resolving;
    buf request, b;
    buf_init(&request, UINT32_MAX);
    buf_init(&b, UINT32_MAX);
    r->asked = mesh_global_own(n->name);
    r->call = ++g->last_call;
    mesh_global_put_resolve(&request, r->my_method, name, r->his.pid_term, r->my_pid, &g->self);
    mesh_global_put_call(&b, &g->self, r->call, buf_slice(&request));
    rt_blob *term = mesh_global_blob(&b);
    if (term) g->io.send(g->io.arg, n->index, n->kin == MESH_GLOBAL_ERLANG ? SLICE("rex") : SLICE(MESH_GLOBAL_SERVER), term);
    rt_blob_unref(term);
    buf_fini(&request);
}

/* Two processes have the name. True: the answer has to be awaited. */
static bool clash(mesh_global *g, const mesh_global_name *mine) {
    mesh_global_resolving *r = &g->resolving;
    const mesh_global_node *n = mesh_global_node_find(g, mine->pid.node);
    if (slice_cmp(g->me, r->node) > 0) return false; /* he decides */
    r->my_pid = mesh_global_own(mine->pid_term);
    r->my_method = mesh_global_own(mine->method);
    if (slice_eq(mine->pid.node, g->me)) {
        mesh_global_claim his = {r->his.pid_term, r->his.pid}, ours = {r->my_pid, mine->pid};
        mesh_global_verdict v = mesh_global_clash_judge(r->my_method, &his, &ours);
        if (v != MESH_GLOBAL_NOBODY_KNOWS) mesh_global_clash_act(g, r->my_method, mine->name, &his, &ours);
        take(r, v);
        return false;
    }
    if (!n || n->index == 0 || n->kin == MESH_GLOBAL_UNHEARD) { /* who could be asked how */
        take_his(r);
        return false;
    }
    ask(g, n, mine->name);
    return true;
}

bool mesh_global_question_read(slice args, mesh_global_question *out) {
    etf_reader r = etf_reader_of(args);
    etf_item it;
    if (!etf_next(&r, &it) || it.kind != ETF_LIST || it.n != 4 || !etf_skip(&r, &out->method) || !etf_skip(&r, &out->name)) return false;
    if (!etf_skip(&r, &out->his.term) || !etf_skip(&r, &out->mine.term)) return false;
    etf_reader his = etf_reader_of(out->his.term), mine = etf_reader_of(out->mine.term);
    return etf_get_pid(&his, &out->his.pid) && etf_get_pid(&mine, &out->mine.pid);
}

void mesh_global_put_verdict(buf *b, mesh_global_verdict v, const mesh_global_question *q) {
    if (v == MESH_GLOBAL_NEITHER)
        etf_put_atom(b, SLICE("none"));
    else
        buf_add(b, v == MESH_GLOBAL_HIS ? q->his.term : q->mine.term);
}

/* Pid2 has the name, and is of this node: what anybody else has is none of this node's business. */
bool mesh_global_resolve_it(mesh_global *g, slice args, buf *out) {
    mesh_global_question q;
    buf canon;
    if (!mesh_global_question_read(args, &q) || !slice_eq(q.mine.pid.node, g->me)) return false;
    buf_init(&canon, UINT32_MAX);
    const mesh_global_name *n = mesh_global_canon(q.name, &canon) ? mesh_global_name_find(g, buf_slice(&canon)) : NULL;
    buf_fini(&canon);
    mesh_global_verdict v =
        n && etf_pid_eq(&n->pid, &q.mine.pid) ? mesh_global_clash_judge(q.method, &q.his, &q.mine) : MESH_GLOBAL_NOBODY_KNOWS;
    if (v == MESH_GLOBAL_NOBODY_KNOWS) return false;
    mesh_global_clash_act(g, q.method, q.name, &q.his, &q.mine);
    mesh_global_put_verdict(out, v, &q);
    return true;
}

static bool same_pid(slice term, const etf_pid *pid) {
    etf_pid p;
    etf_reader r = etf_reader_of(term);
    return etf_get_pid(&r, &p) && etf_pid_eq(&p, pid);
}

/* One of his. True: an answer has to be awaited. */
static bool one(mesh_global *g) {
    mesh_global_resolving *r = &g->resolving;
    buf canon;
    bool wait = false;
    buf_init(&canon, UINT32_MAX);
    if (mesh_global_canon(r->his.name, &canon)) {
        mesh_global_name *mine = mesh_global_name_find(g, buf_slice(&canon));
        if (!mine)
            take_his(r);
        else if (!etf_pid_eq(&mine->pid, &r->his.pid))
            wait = clash(g, mine);
    } else {
        g->io.full(g->io.arg, "bytes of a name", r->node);
    }
    buf_fini(&canon);
    return wait;
}

static void go_on(mesh_global *g) {
    mesh_global_resolving *r = &g->resolving;
    while (mesh_global_rows_entry(&r->rows, &r->his)) {
        mesh_global_own_free(&r->my_pid);
        mesh_global_own_free(&r->my_method);
        if (one(g)) return;
    }
    mesh_global_node *n = mesh_global_node_find(g, r->node);
    mesh_global_resolving over = *r;
    *r = (mesh_global_resolving){.call = 0}; /* what follows may begin the next one */
    if (check(n != NULL)) mesh_global_join_resolved(g, n, buf_slice(&over.ops), over.n_ops, buf_slice(&over.res), over.n_res);
    mesh_global_resolving next = *r;
    *r = over;
    done(g);
    *r = next;
}

void mesh_global_resolve_begin(mesh_global *g, mesh_global_node *n, slice names) {
    mesh_global_resolving *r = &g->resolving;
    done(g);
    r->node = mesh_global_own(n->name);
    r->names = mesh_global_own(names);
    buf_init(&r->ops, UINT32_MAX);
    buf_init(&r->res, UINT32_MAX);
    mesh_global_rows_begin(r->names, &r->rows);
    go_on(g);
}

void mesh_global_resolve_free(mesh_global *g) { done(g); }

void mesh_global_resolve_cancel(mesh_global *g, const mesh_global_node *n) {
    if (slice_eq(g->resolving.node, n->name)) done(g);
}

static void forget_call(mesh_global_resolving *r) {
    r->call = 0;
    mesh_global_own_free(&r->asked);
}

bool mesh_global_resolve_reply(mesh_global *g, const mesh_global_node *n, uint64_t call, slice reply) {
    mesh_global_resolving *r = &g->resolving;
    etf_reader at = etf_reader_of(reply);
    etf_pid mine;
    uint32_t arity;
    if (r->call == 0 || r->call != call || !slice_eq(r->asked, n->name)) return false;
    etf_reader p = etf_reader_of(r->my_pid);
    forget_call(r);
    if (same_pid(reply, &r->his.pid) || (etf_get_tuple(&at, &arity) && arity == 2 && etf_get_atom_is(&at, SLICE("badrpc"))))
        take_his(r);
    else if (etf_get_pid(&p, &mine) && same_pid(reply, &mine))
        keep_mine(r);
    else
        take_none(r);
    go_on(g);
    return true;
}

void mesh_global_resolve_node_down(mesh_global *g, const mesh_global_node *n) {
    mesh_global_resolving *r = &g->resolving;
    if (r->call == 0 || !slice_eq(r->asked, n->name)) return;
    forget_call(r);
    take_his(r);
    go_on(g);
}
