/* global_resolve: the names of the other part against ours (OTP: global, exchange_names). A name that only they have is to be put
 * here. For one that both have, the node with the lesser name decides, so that it is decided once: it lets the resolver that came with our
 * registration say which of the two processes keeps it, on the node of ours, because that is where its code is. One clash at a time.
 *
 *     his process    put it here          ours    put it there          none, or anything else    neither
 *
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

/* Two processes have the name. True: the answer has to be awaited. */
static bool clash(mesh_global *g, const mesh_global_name *mine) {
    mesh_global_resolving *r = &g->resolving;
    const mesh_global_node *n = mesh_global_node_find(g, mine->pid.node);
    buf request, b;
    if (slice_cmp(g->me, r->node) > 0) return false; /* he decides */
    r->my_pid = mesh_global_own(mine->pid_term);
    r->my_method = mesh_global_own(mine->method);
    if (!n || n->index == 0) { /* cannot be asked; or it is a process of ours, none of which is registered */
        take_his(r);
        return false;
    }
    buf_init(&request, UINT32_MAX);
    buf_init(&b, UINT32_MAX);
    r->asked = mesh_global_own(n->name);
    r->call = ++g->last_call;
    mesh_global_put_resolve(&request, r->my_method, mine->name, r->his.pid_term, r->my_pid, &g->self);
    mesh_global_put_call(&b, &g->self, r->call, buf_slice(&request));
    g->io.send(g->io.arg, n->index, SLICE("rex"), buf_slice(&b));
    buf_fini(&request);
    buf_fini(&b);
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

void mesh_global_resolve_cancel(mesh_global *g, const mesh_global_node *n) {
    if (slice_eq(g->resolving.node, n->name)) done(g);
}

static void forget_call(mesh_global_resolving *r) {
    r->call = 0;
    mesh_global_own_free(&r->asked);
}

bool mesh_global_resolve_reply(mesh_global *g, uint64_t call, slice reply) {
    mesh_global_resolving *r = &g->resolving;
    etf_reader t = etf_reader_of(reply), at = t;
    etf_pid mine;
    uint32_t n;
    if (r->call == 0 || r->call != call) return false;
    etf_reader p = etf_reader_of(r->my_pid);
    forget_call(r);
    if (same_pid(reply, &r->his.pid) || (etf_get_tuple(&at, &n) && n == 2 && etf_get_atom_is(&at, SLICE("badrpc"))))
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
