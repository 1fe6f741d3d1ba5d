/* global_machine: what comes in is handed to the part that it is for; and the answers to calls. */
#include "base/mem.h"
#include "mesh/global_int.h"

mesh_global *mesh_global_new(const mesh_global_io *io, slice me, const etf_pid *self, bool hidden, const hash_key *key) {
    mesh_global *g = mem_zalloc(sizeof *g);
    *g = (mesh_global){.io = *io, .me = me, .self = *self, .hidden = hidden, .key = *key};
    hmap_init(&g->nodes);
    hmap_init(&g->by_index);
    hmap_init(&g->names);
    hmap_init(&g->locks);
    hmap_init(&g->watches);
    hmap_init(&g->lost);
    list_init(&g->lost_by_age);
    list_init(&g->syncs);
    list_init(&g->waits);
    list_init(&g->namings);
    g->locker.due = USEC_NEVER;
    return g;
}

void mesh_global_free(mesh_global *g) {
    if (!g) return;
    mesh_global_sync_free(g);
    mesh_global_locker_free(g);
    mesh_global_naming_free(g);
    mesh_global_resolve_free(g);
    mesh_global_names_free(g); /* those that are awaited are in lists of nodes */
    mesh_global_nodes_free(g);
    mesh_global_locks_free(g);
    mesh_global_part_free(g);
    hmap_fini(&g->watches);
    mem_free(g);
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------------ */
static void no_more_awaited(mesh_global_node *n) {
    if (list_linked(&n->in_wait)) list_remove(&n->in_wait);
}

void mesh_global_node_down(mesh_global *g, usec now, slice name, uint64_t conn) {
    mesh_global_node *n = mesh_global_node_find(g, name);
    g->now = now;
    if (!n || !n->index || n->conn != conn) return;
    hmap_remove(&g->by_index, &n->by_index);
    n->index = 0;
    if (n->removing) no_more_awaited(n);
    mesh_global_locker_node_down(g, n);
    mesh_global_resolve_node_down(g, n);
    mesh_global_sync_done(g, n->name);
    if (!n->removing) mesh_global_part_tell(g, n);
    mesh_global_join_leave(g, n);
    n->removing = false;
    mesh_global_node_settle(g, n);
}

void mesh_global_node_up(mesh_global *g, usec now, slice name, uint32_t index, uint64_t conn, uint32_t creation, bool hidden) {
    mesh_global_node *n = mesh_global_node_get(g, name);
    g->now = now;
    if (!n || (n->index && n->conn == conn)) return;
    if (n->index) mesh_global_node_down(g, now, name, n->conn); /* its end is told later */
    n = mesh_global_node_get(g, name);
    if (!check(n != NULL)) return;
    no_more_awaited(n);
    n->index = index;
    n->conn = conn;
    hmap_insert(&g->by_index, &n->by_index, hash_u64(index));
    n->creation = creation;
    n->hidden = hidden || g->hidden;
    mesh_global_names_watch(g, n);
    mesh_global_tales_tell(g, n);
    mesh_global_locker_node_up(g, n);
    if (n->hidden) return;
    if (n->introduced) mesh_global_join_introduce(g, n);
    mesh_global_join_begin(g, n);
}

/* Somebody has introduced it, and it could not be reached: as if its connection were lost. Or it was asked to disconnect, and did not. */
static void waited(mesh_global *g, mesh_global_node *n) {
    no_more_awaited(n);
    if (n->index) {
        g->io.disconnect(g->io.arg, n->index, "it was asked to disconnect, and did not");
        return;
    }
    mesh_global_locker_node_down(g, n);
    mesh_global_names_drop(g, n);
    mesh_global_tales_drop(g, n);
    mesh_global_sync_done(g, n->name);
    mesh_global_part_tell(g, n);
    mesh_global_join_leave(g, n);
    mesh_global_node_settle(g, n);
}

/* --- time ------------------------------------------------------------------------------------------------------------------------- */
usec mesh_global_due(const mesh_global *g) {
    usec due = g->locker.phase == MESH_GLOBAL_IDLE ? g->locker.due : USEC_NEVER;
    list *lost = list_first(&g->lost_by_age), *wait = list_first(&g->waits);
    if (g->locker.phase == MESH_GLOBAL_IDLE && !list_empty(&g->namings)) due = usec_min(due, g->naming_due);
    if (lost) due = usec_min(due, container_of(lost, mesh_global_lost, by_age)->until);
    if (wait) due = usec_min(due, container_of(wait, mesh_global_node, in_wait)->wait_until);
    return due;
}

void mesh_global_timer(mesh_global *g, usec now) {
    g->now = now;
    mesh_global_part_timer(g);
    for (list *i = list_first(&g->waits); i; i = list_first(&g->waits)) {
        mesh_global_node *n = container_of(i, mesh_global_node, in_wait);
        if (n->wait_until > now) break;
        waited(g, n);
    }
    mesh_global_locker_timer(g);
}

/* --- watches ---------------------------------------------------------------------------------------------------------------------- */
void mesh_global_down(mesh_global *g, usec now, uint64_t watch) {
    g->now = now;
    for (hmap_node *h = hmap_find(&g->watches, hash_u64(watch)); h; h = hmap_find_next(h)) {
        mesh_global_watch *w = container_of(h, mesh_global_watch, node);
        if (w->id != watch) continue;
        hmap_remove(&g->watches, &w->node);
        w->id = 0;
        switch (w->what) {
        case MESH_GLOBAL_OF_NAME: mesh_global_name_down(g, container_of(w, mesh_global_name, watch)); break;
        case MESH_GLOBAL_OF_HOLD: mesh_global_lock_down(g, container_of(w, mesh_global_hold, watch)); break;
        }
        return;
    }
}

/* --- calls ------------------------------------------------------------------------------------------------------------------------ */
static void answer(mesh_global *g, const char *atom) {
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_atom(&b, slice_str(atom));
    g->io.answer(g->io.arg, buf_slice(&b));
    buf_fini(&b);
}

static void on_lock(mesh_global *g, const mesh_gen *gen, const mesh_global_msg *m) {
    buf resource, requester;
    bool yes = m->kind == MESH_GLOBAL_DEL_LOCK;
    buf_init(&resource, UINT32_MAX);
    buf_init(&requester, UINT32_MAX);
    if (!mesh_global_canon(m->resource, &resource) || !mesh_global_canon(m->requester, &requester))
        g->io.full(g->io.arg, "bytes of a lock", gen->from.node);
    else if (yes)
        mesh_global_lock_del(g, buf_slice(&resource), buf_slice(&requester), &gen->from);
    else
        yes = mesh_global_lock_set(g, buf_slice(&resource), buf_slice(&requester), &gen->from);
    answer(g, yes ? "true" : "false");
    buf_fini(&resource);
    buf_fini(&requester);
}

/* Who has no lock (any more) is answered yes, and the name is gone: OTP. */
static void on_name(mesh_global *g, const mesh_gen *gen, const mesh_global_msg *m) {
    buf name;
    mesh_global_entry e = {.name = m->name, .pid = m->pid, .pid_term = m->pid_term, .method = m->method};
    bool put = m->kind != MESH_GLOBAL_UNREGISTER;
    buf_init(&name, UINT32_MAX);
    if (!mesh_global_canon(m->name, &name))
        g->io.full(g->io.arg, "bytes of a name", gen->from.node);
    else if (put && mesh_global_lock_allows(g, &gen->from, SLICE_NULL))
        mesh_global_name_insert(g, buf_slice(&name), &e, m->kind == MESH_GLOBAL_REGISTER_EXT ? m->node : SLICE_NULL);
    else
        mesh_global_name_delete(g, buf_slice(&name));
    answer(g, put ? "yes" : "ok");
    buf_fini(&name);
}

/* Another node asks about a name of a process here. A resolver that is not known here, or somebody else's name, is no answer that gives it
 * to either: the caller then takes its own. */
static void on_resolve(mesh_global *g, const mesh_global_msg *m) {
    buf b;
    buf_init(&b, UINT32_MAX);
    if (!slice_is(m->function, "resolve_it") || !mesh_global_resolve_it(g, m->args, &b)) {
        etf_put_tuple(&b, 2);
        etf_put_atom(&b, SLICE("badrpc"));
        etf_put_atom(&b, SLICE("undef"));
    }
    g->io.answer(g->io.arg, buf_slice(&b));
    buf_fini(&b);
}

static void on_get(mesh_global *g, mesh_global_kind kind) {
    buf b;
    buf_init(&b, UINT32_MAX);
    if (kind == MESH_GLOBAL_GET_PROTOCOL_VERSION)
        etf_put_int(&b, MESH_GLOBAL_VSN);
    else if (kind == MESH_GLOBAL_GET_NAMES_EXT)
        mesh_global_names_put_exts(g, &b);
    else if (kind == MESH_GLOBAL_GET_KNOWN)
        mesh_global_put_known(g, 0, &b);
    else
        mesh_global_put_synced(g, &b);
    g->io.answer(g->io.arg, buf_slice(&b));
    buf_fini(&b);
}

static void call(mesh_global *g, const mesh_gen *gen, const mesh_global_msg *m) {
    switch (m->kind) {
    case MESH_GLOBAL_SET_LOCK:
    case MESH_GLOBAL_DEL_LOCK: on_lock(g, gen, m); break;
    case MESH_GLOBAL_REGISTER:
    case MESH_GLOBAL_REGISTER_EXT:
    case MESH_GLOBAL_UNREGISTER: on_name(g, gen, m); break;
    case MESH_GLOBAL_SYNC:
        if (gen->tag.len <= MESH_GLOBAL_TERM_MAX) mesh_global_sync_call(g, m->nodes); /* it may be kept for long */
        break;
    case MESH_GLOBAL_GET_KNOWN:
    case MESH_GLOBAL_GET_SYNCED:
    case MESH_GLOBAL_GET_NAMES_EXT:
    case MESH_GLOBAL_GET_PROTOCOL_VERSION: on_get(g, m->kind); break;
    case MESH_GLOBAL_RESOLVE: on_resolve(g, m); break;
    case MESH_GLOBAL_INIT_CONNECT:
    case MESH_GLOBAL_INIT_CONNECT_ACK:
    case MESH_GLOBAL_CANCEL_CONNECT:
    case MESH_GLOBAL_LOCK_SET:
    case MESH_GLOBAL_EXCHANGE:
    case MESH_GLOBAL_RESOLVED:
    case MESH_GLOBAL_NEW_NODES:
    case MESH_GLOBAL_IN_SYNC:
    case MESH_GLOBAL_LOST_CONNECTION:
    case MESH_GLOBAL_REMOVE_CONNECTION:
    case MESH_GLOBAL_OTHER: break; /* any other call gets no answer, as in OTP */
    }
}

/* --- messages --------------------------------------------------------------------------------------------------------------------- */
static bool reply(mesh_global *g, const mesh_global_node *n, slice request) {
    uint64_t number;
    slice term;
    if (!mesh_global_reply_read(request, &number, &term)) return false;
    return mesh_global_locker_reply(g, n, number, term) || mesh_global_resolve_reply(g, n, number, term);
}

void mesh_global_message(mesh_global *g, usec now, uint32_t index, const mesh_gen *gen) {
    mesh_global_msg m;
    mesh_global_node *n = mesh_global_node_at(g, index);
    g->now = now;
    if (!n) return; /* its end was told */
    if (gen->kind == MESH_GEN_INFO && reply(g, n, gen->request)) return;
    mesh_global_msg_read(gen->kind, gen->request, &m);
    bool his =
        slice_eq(m.kind == MESH_GLOBAL_LOCK_SET ? m.pid.node : m.node, n->name); /* nobody speaks for others, but of lost connections */
    if (gen->kind == MESH_GEN_CALL)
        call(g, gen, &m);
    else if (g->hidden || n->hidden)
        return;
    else if (m.kind == MESH_GLOBAL_LOST_CONNECTION)
        mesh_global_part_lost(g, gen, &m);
    else if (m.kind == MESH_GLOBAL_REMOVE_CONNECTION && his)
        mesh_global_part_remove(g, n);
    else if (his)
        mesh_global_join_message(g, n, &m);
}
