/* global_join: how two nodes, and with them the parts of the cluster that they belong to, come to know each other (OTP: global, "How
 * names are merged"). Each does this at its own nodeup; it is symmetric:
 *
 *     init_connect  ->   <- init_connect      my version, my tag, my locker; the tags tell this attempt from others
 *     init_connect_ack   init_connect_ack
 *     ... the lockers lock both parts (global_locker.c) ...
 *     exchange      ->   <- exchange          all names of my part
 *     resolved      ->   <- resolved          what you have to do with them (global_resolve.c), and the nodes of my part
 *     in_sync to each node of the other part, to which a connection is made; new_nodes to each node of my own; unlock
 *
 * Invariant: what belongs to an attempt (his_tag to his_done) is there only while joining, and goes in mesh_global_join_reset. */
#include "base/mem.h"
#include "mesh/global_int.h"

/* --- attempts --------------------------------------------------------------------------------------------------------------------- */
void mesh_global_early_free(mesh_global_node *n) {
    mesh_global_own_free(&n->early_tag);
    mesh_global_own_free(&n->early_locker);
}

void mesh_global_join_reset(mesh_global_node *n) {
    mesh_global_own_free(&n->his_tag);
    mesh_global_own_free(&n->locker);
    mesh_global_own_free(&n->names);
    mesh_global_own_free(&n->requester);
    mesh_global_own_free(&n->his_ops);
    mesh_global_own_free(&n->his_nodes);
    mesh_global_own_free(&n->his_exts);
    buf_fini(&n->ops);
    n->n_ops = 0;
    n->joining = n->pending = n->locked = n->ops_done = n->his_done = false;
}

/* Ends an attempt. heard: the other side knows that it is over. */
static void stop(mesh_global *g, mesh_global_node *n, bool heard) {
    buf b;
    buf_init(&b, UINT32_MAX);
    if (!heard && n->joining && n->pending && n->vsn >= 8) {
        mesh_global_put_cancel_connect(&b, g->me, n->his_tag);
        mesh_global_send(g, n, &b);
    }
    buf_fini(&b);
    mesh_global_locker_cancel(g, n);
    mesh_global_resolve_cancel(g, n);
    mesh_global_early_free(n);
    mesh_global_join_reset(n);
}

void mesh_global_join_leave(mesh_global *g, mesh_global_node *n) {
    stop(g, n, false);
    mesh_global_node_know(g, n, false);
    n->synced = n->introduced = false;
}

static void accept(mesh_global *g, mesh_global_node *n, slice tag, slice locker, int64_t vsn) {
    buf b;
    n->his_tag = mesh_global_own(tag);
    n->locker = mesh_global_own(locker);
    n->vsn = vsn;
    n->pending = true;
    buf_init(&b, UINT32_MAX);
    if (n->vsn >= 8) {
        mesh_global_put_init_connect_ack(&b, g->me, n->his_tag, n->my_tag);
        mesh_global_send(g, n, &b);
    }
    buf_fini(&b);
    mesh_global_locker_add(g, n);
}

void mesh_global_join_begin(mesh_global *g, mesh_global_node *n) {
    buf b;
    if (n->known || n->joining || !mesh_global_takes_part(n)) return;
    n->joining = true;
    n->my_tag = ++g->last_tag;
    buf_init(&b, UINT32_MAX);
    mesh_global_put_init_connect(&b, g->me, n->my_tag, &g->self);
    mesh_global_send(g, n, &b);
    if (n->early_tag.len) accept(g, n, n->early_tag, n->early_locker, n->early_vsn);
    mesh_global_early_free(n);
}

static void again(mesh_global *g, mesh_global_node *n, bool heard) {
    bool was = n->joining;
    stop(g, n, heard);
    if (was) mesh_global_join_begin(g, n);
}

static void on_init_connect(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m) {
    buf b;
    n->kin = m->kin;
    if (n->pending && m->vsn < 8) {
        g->io.disconnect(g->io.arg, n->index, "it begins to join a second time");
        return;
    }
    if (n->pending) { /* it has begun anew: so do we */
        buf_init(&b, UINT32_MAX);
        mesh_global_put_cancel_connect(&b, g->me, m->tag);
        mesh_global_send(g, n, &b);
        again(g, n, false);
    }
    if (n->joining) {
        accept(g, n, m->tag, m->pid_term, m->vsn);
        return;
    }
    mesh_global_early_free(n); /* we have not heard of it yet; or it is known, and this goes with its connection */
    n->early_tag = mesh_global_own(m->tag);
    n->early_locker = mesh_global_own(m->pid_term);
    n->early_vsn = m->vsn;
}

static bool is_tag(int64_t tag, slice term) {
    int64_t i;
    etf_reader r = etf_reader_of(term);
    return etf_get_int(&r, &i) && i == tag;
}

static bool is_of_attempt(const mesh_global_node *n, const mesh_global_msg *m) { return n->joining && is_tag(n->my_tag, m->my_tag); }

static void on_ack(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m) {
    buf b;
    if (is_of_attempt(n, m) && slice_eq(n->his_tag, m->tag)) return;
    buf_init(&b, UINT32_MAX);
    mesh_global_put_cancel_connect(&b, g->me, m->tag);
    mesh_global_send(g, n, &b);
    again(g, n, false);
}

/* --- names ------------------------------------------------------------------------------------------------------------------------ */
/* The external ones among the names of a message, whose list is as long as its sender likes. */
typedef struct external {
    hmap_node by_name;
    mesh_global_entry e; /* e.method: the node that has registered it */
} external;
typedef struct externals {
    hmap by_name;
    external *all;
} externals;

static const mesh_global_entry *external_find(const mesh_global *g, const externals *x, slice name) {
    for (hmap_node *h = x->all ? hmap_find(&x->by_name, hash_bytes(&g->key, name)) : NULL; h; h = hmap_find_next(h)) {
        const mesh_global_entry *e = &container_of(h, external, by_name)->e;
        if (slice_eq(e->name, name)) return e;
    }
    return NULL;
}

static void externals_read(const mesh_global *g, slice exts, externals *out) {
    mesh_global_rows rows;
    mesh_global_entry e;
    uint32_t n = 0;
    hmap_init(&out->by_name);
    mesh_global_rows_begin(exts, &rows);
    while (mesh_global_rows_entry(&rows, &e)) n++;
    out->all = n ? mem_zalloc(n * sizeof *out->all) : NULL;
    mesh_global_rows_begin(exts, &rows);
    for (uint32_t i = 0; i < n && mesh_global_rows_entry(&rows, &out->all[i].e); i++)
        if (!external_find(g, out, out->all[i].e.name)) /* chains stay short */
            hmap_insert(&out->by_name, &out->all[i].by_name, hash_bytes(&g->key, out->all[i].e.name));
}

static void externals_free(externals *x) {
    hmap_fini(&x->by_name);
    mem_free(x->all);
}

static slice external_of(const mesh_global *g, const externals *x, const mesh_global_entry *e) {
    const mesh_global_entry *is = external_find(g, x, e->name);
    etf_reader r = etf_reader_of(is ? is->method : SLICE_NULL);
    slice node;
    return is && etf_pid_eq(&is->pid, &e->pid) && etf_get_atom(&r, &node) ? node : SLICE_NULL;
}

static void do_op(mesh_global *g, bool insert, const mesh_global_entry *e, const externals *x, slice requester) {
    buf name;
    buf_init(&name, UINT32_MAX);
    if (!mesh_global_canon(e->name, &name))
        g->io.full(g->io.arg, "bytes of a name", e->pid.node);
    else if (insert && mesh_global_lock_allows(g, NULL, requester))
        mesh_global_name_insert(g, buf_slice(&name), e, external_of(g, x, e));
    else
        mesh_global_name_delete(g, buf_slice(&name)); /* OTP: who has no lock any more puts it in and takes it out */
    buf_fini(&name);
}

/* Deletions come last, as in OTP. */
static void do_ops(mesh_global *g, slice ops, slice exts, slice requester) {
    externals x;
    externals_read(g, exts, &x);
    for (int deletions = 0; deletions < 2; deletions++) {
        mesh_global_rows rows;
        mesh_global_entry e;
        bool insert;
        mesh_global_rows_begin(ops, &rows);
        while (mesh_global_rows_op(&rows, &insert, &e))
            if (insert == !deletions) do_op(g, insert, &e, &x, requester);
    }
    externals_free(&x);
}

void mesh_global_join_locked(mesh_global *g, mesh_global_node *n, slice requester) {
    buf b, names;
    uint32_t count;
    n->requester = mesh_global_own(requester);
    buf_init(&b, UINT32_MAX);
    buf_init(&names, UINT32_MAX);
    mesh_global_names_put(g, &names, &count);
    mesh_global_put_exchange(&b, g->me, count, buf_slice(&names), n->his_tag);
    mesh_global_send(g, n, &b);
    buf_fini(&names);
    n->locked = n->names.len == 0;
    if (!n->locked) mesh_global_resolve_begin(g, n, n->names);
}

static void on_exchange(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m) {
    if (n->locked) {
        n->locked = false;
        mesh_global_resolve_begin(g, n, m->names);
    } else {
        mesh_global_own_free(&n->names);
        n->names = mesh_global_own(m->names);
    }
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------------ */
void mesh_global_join_introduce(mesh_global *g, mesh_global_node *n) {
    buf b;
    n->introduced = true;
    mesh_global_node_await(g, n);
    if (!n->index) return;
    buf_init(&b, UINT32_MAX);
    mesh_global_put_in_sync(&b, g->me);
    mesh_global_send(g, n, &b);
    n->introduced = false;
}

/* True: it was not known before. */
static bool know(mesh_global *g, slice name, int64_t vsn, mesh_global_node **out) {
    mesh_global_node *n = slice_eq(name, g->me) ? NULL : mesh_global_node_get(g, name);
    *out = n;
    if (!n || n->known || n->removing) return false; /* removing: it is known when it is back */
    mesh_global_node_know(g, n, true);
    n->vsn = vsn;
    return true;
}

/* new_nodes, as that version has it. */
static rt_blob *new_nodes(mesh_global *g, const mesh_global_node *n, slice ops, slice exts, slice nodes, bool versions) {
    buf b, all;
    mesh_global_rows rows;
    slice name;
    int64_t vsn;
    buf_init(&b, UINT32_MAX);
    buf_init(&all, UINT32_MAX);
    mesh_global_rows_begin(nodes, &rows);
    while (mesh_global_rows_node(&rows, &name, &vsn)) {
        etf_put_list(&all, 1); /* a cell: its tail is the rest */
        if (versions) etf_put_tuple(&all, 2);
        etf_put_atom(&all, name);
        if (versions) etf_put_int(&all, vsn);
    }
    etf_put_nil(&all);
    mesh_global_put_new_nodes(&b, g->me, ops, exts, buf_slice(&all), n->vsn, n->requester);
    buf_fini(&all);
    return mesh_global_blob(&b);
}

static void tell_new_nodes(mesh_global *g, const mesh_global_node *n, slice ops, slice exts, slice nodes) {
    rt_blob *said[2] = {NULL, NULL}; /* without versions, with them */
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        const mesh_global_node *to = container_of(h, mesh_global_node, by_name);
        bool versions = to->vsn >= 7;
        if (!to->known || !to->index) continue;
        if (!said[versions]) said[versions] = new_nodes(g, n, ops, exts, nodes, versions);
        mesh_global_send_blob(g, to, said[versions]);
    }
    rt_blob_unref(said[0]);
    rt_blob_unref(said[1]);
}

/* The nodes of the other part, but for the one that we have joined. */
static void meet(mesh_global *g, const mesh_global_node *joined, slice his_nodes) {
    mesh_global_rows rows;
    slice name;
    int64_t vsn;
    mesh_global_rows_begin(his_nodes, &rows);
    while (mesh_global_rows_node(&rows, &name, &vsn)) {
        mesh_global_node *n = slice_eq(name, g->me) ? NULL : mesh_global_node_get(g, name);
        if (!n || n == joined || n->removing) continue;
        stop(g, n, true); /* it need not join us itself */
        mesh_global_join_introduce(g, n);
    }
}

static void know_all(mesh_global *g, const mesh_global_node *n, slice his_nodes) {
    mesh_global_rows rows;
    slice name;
    int64_t vsn;
    mesh_global_node *out;
    (void)know(g, n->name, n->vsn, &out);
    mesh_global_rows_begin(his_nodes, &rows);
    while (mesh_global_rows_node(&rows, &name, &vsn)) (void)know(g, name, vsn, &out);
}

/* Both have said what is to be done. */
static void finish(mesh_global *g, mesh_global_node *n) {
    buf ops, nodes;
    buf_init(&ops, UINT32_MAX);
    buf_init(&nodes, UINT32_MAX);
    if (n->n_ops) etf_put_list(&ops, n->n_ops); /* ours, and his as the tail */
    buf_add(&ops, buf_slice(&n->ops));
    buf_add(&ops, n->his_ops);
    etf_put_list(&nodes, 1);
    etf_put_tuple(&nodes, 2);
    etf_put_atom(&nodes, n->name);
    etf_put_int(&nodes, n->vsn);
    buf_add(&nodes, n->his_nodes);
    slice his_nodes = n->his_nodes;
    n->his_nodes = SLICE_NULL;
    do_ops(g, buf_slice(&ops), n->his_exts, n->requester);
    meet(g, n, his_nodes);
    tell_new_nodes(g, n, buf_slice(&ops), n->his_exts, buf_slice(&nodes));
    know_all(g, n, his_nodes);
    n->synced = true;
    mesh_global_sync_done(g, n->name);
    stop(g, n, true); /* the locker unlocks, after what was told */
    mesh_global_own_free(&his_nodes);
    buf_fini(&ops);
    buf_fini(&nodes);
}

static void put_ops(buf *b, uint32_t n, slice elements) {
    if (n) etf_put_list(b, n);
    buf_add(b, elements);
    etf_put_nil(b);
}

void mesh_global_join_resolved(mesh_global *g, mesh_global_node *n, slice ops, uint32_t n_ops, slice res, uint32_t n_res) {
    buf b, his, known, exts;
    buf_init(&b, UINT32_MAX);
    buf_init(&his, UINT32_MAX);
    buf_init(&known, UINT32_MAX);
    buf_init(&exts, UINT32_MAX);
    put_ops(&his, n_res, res);
    mesh_global_put_known(g, n->vsn, &known);
    mesh_global_names_put_exts(g, &exts);
    mesh_global_put_resolved(&b, g->me, buf_slice(&his), buf_slice(&known), buf_slice(&exts), n->his_tag);
    mesh_global_send(g, n, &b);
    buf_fini(&his);
    buf_fini(&known);
    buf_fini(&exts);
    buf_add(&n->ops, ops);
    n->n_ops = n_ops;
    n->ops_done = true;
    if (n->his_done) finish(g, n);
}

static void on_resolved(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m) {
    if (n->his_done) return;
    n->his_ops = mesh_global_own(m->ops);
    n->his_nodes = mesh_global_own(m->nodes);
    n->his_exts = mesh_global_own(m->exts);
    n->his_done = true;
    if (n->ops_done) finish(g, n);
}

/* A node of our part has joined another part. */
static void on_new_nodes(mesh_global *g, const mesh_global_msg *m) {
    mesh_global_rows rows;
    slice name, locked_for = mesh_global_msg_lock(m->extra);
    int64_t vsn;
    buf requester;
    buf_init(&requester, UINT32_MAX);
    mesh_global_rows_begin(m->nodes, &rows);
    while (mesh_global_rows_node(&rows, &name, &vsn)) {
        mesh_global_node *n;
        if (know(g, name, vsn, &n)) mesh_global_join_introduce(g, n);
    }
    if (locked_for.len == 0 || mesh_global_canon(locked_for, &requester)) do_ops(g, m->ops, m->exts, buf_slice(&requester));
    buf_fini(&requester);
}

static void on_in_sync(mesh_global *g, mesh_global_node *n, mesh_global_kin kin) {
    n->kin = kin;
    n->synced = true;
    mesh_global_sync_done(g, n->name);
    stop(g, n, true);
}

void mesh_global_join_message(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m) {
    switch (m->kind) {
    case MESH_GLOBAL_INIT_CONNECT: on_init_connect(g, n, m); break;
    case MESH_GLOBAL_INIT_CONNECT_ACK: on_ack(g, n, m); break;
    case MESH_GLOBAL_CANCEL_CONNECT:
        if (is_of_attempt(n, m)) again(g, n, true);
        break;
    case MESH_GLOBAL_LOCK_SET:
        if (n->joining && (!m->tagged || is_of_attempt(n, m))) mesh_global_locker_told(g, n, m->set);
        break;
    case MESH_GLOBAL_EXCHANGE:
        if (is_of_attempt(n, m)) on_exchange(g, n, m);
        break;
    case MESH_GLOBAL_RESOLVED:
        if (is_of_attempt(n, m)) on_resolved(g, n, m);
        break;
    case MESH_GLOBAL_NEW_NODES: on_new_nodes(g, m); break;
    case MESH_GLOBAL_IN_SYNC: on_in_sync(g, n, m->kin); break;
    case MESH_GLOBAL_LOST_CONNECTION:
    case MESH_GLOBAL_REMOVE_CONNECTION:
    case MESH_GLOBAL_SET_LOCK:
    case MESH_GLOBAL_DEL_LOCK:
    case MESH_GLOBAL_REGISTER:
    case MESH_GLOBAL_REGISTER_EXT:
    case MESH_GLOBAL_UNREGISTER:
    case MESH_GLOBAL_SYNC:
    case MESH_GLOBAL_GET_KNOWN:
    case MESH_GLOBAL_GET_SYNCED:
    case MESH_GLOBAL_GET_NAMES_EXT:
    case MESH_GLOBAL_GET_PROTOCOL_VERSION:
    case MESH_GLOBAL_RESOLVE:
    case MESH_GLOBAL_OTHER: break; /* global_machine.c */
    }
}
