/* global_names: name -> process, as every node of the cluster has it. A name is there while its process lives; nobody is told when it
 * goes, because every node watches for itself.
 *
 * Invariant: a name in the table is watched, or its node is awaited (MESH_GLOBAL_LATER) and it is in that node's list. */
#include "base/mem.h"
#include "mesh/global_int.h"

/* --- watches ---------------------------------------------------------------------------------------------------------------------- */
void mesh_global_watch_begin(mesh_global *g, mesh_global_watch *w, mesh_global_watched what, const etf_pid *pid) {
    mesh_global_node *n = mesh_global_node_find(g, pid->node);
    bool mine = slice_eq(pid->node, g->me);
    *w = (mesh_global_watch){.what = what, .id = MESH_GLOBAL_LATER};
    if (mine)
        w->id = g->io.watch(g->io.arg, 0, pid);
    else if (n && n->index)
        w->id = n->creation == pid->creation ? g->io.watch(g->io.arg, n->index, pid) : 0;
    if (w->id && w->id != MESH_GLOBAL_LATER) hmap_insert(&g->watches, &w->node, hash_u64(w->id));
}

void mesh_global_watch_end(mesh_global *g, mesh_global_watch *w) {
    if (w->id == 0 || w->id == MESH_GLOBAL_LATER) return;
    hmap_remove(&g->watches, &w->node);
    g->io.unwatch(g->io.arg, w->id);
    w->id = 0;
}

/* --- the table -------------------------------------------------------------------------------------------------------------------- */
static uint64_t hash(const mesh_global *g, slice name) { return hash_bytes(&g->key, name); }

mesh_global_name *mesh_global_name_find(const mesh_global *g, slice name) {
    for (hmap_node *h = hmap_find(&g->names, hash(g, name)); h; h = hmap_find_next(h)) {
        mesh_global_name *n = container_of(h, mesh_global_name, by_name);
        if (slice_eq(n->name, name)) return n;
    }
    return NULL;
}

static slice put(uint8_t **at, slice s) {
    uint8_t *p = *at;
    if (s.len) memcpy(p, s.p, s.len);
    *at = p + s.len;
    return slice_of(p, s.len);
}

static size_t size_of(slice name, const mesh_global_entry *e, slice reg_node) {
    return name.len + e->pid_term.len + e->method.len + reg_node.len + e->pid.node.len;
}

static mesh_global_name *make(slice name, const mesh_global_entry *e, slice reg_node) {
    size_t bytes = size_of(name, e, reg_node);
    mesh_global_name *n = mem_zalloc(sizeof *n + bytes);
    uint8_t *at = (uint8_t *)(n + 1);
    n->bytes = bytes;
    n->name = put(&at, name);
    n->pid_term = put(&at, e->pid_term);
    n->method = put(&at, e->method);
    n->reg_node = put(&at, reg_node);
    n->pid = e->pid;
    n->pid.node = put(&at, e->pid.node);
    return n;
}

static void drop(mesh_global *g, mesh_global_name *n) {
    if (list_linked(&n->in_later)) list_remove(&n->in_later);
    g->names_bytes -= n->bytes;
    mesh_global_watch_end(g, &n->watch);
    hmap_remove(&g->names, &n->by_name);
    g->io.named(g->io.arg, n->name, NULL);
    mem_free(n);
}

void mesh_global_name_delete(mesh_global *g, slice name) {
    mesh_global_name *n = mesh_global_name_find(g, name);
    if (n) drop(g, n);
}

/* Its watch has fired, which is out of the table of watches. */
void mesh_global_name_down(mesh_global *g, mesh_global_name *n) { drop(g, n); }

bool mesh_global_names_full(const mesh_global *g, slice name, const mesh_global_entry *e) {
    return g->names.count >= MESH_GLOBAL_NAMES_MAX || g->names_bytes + size_of(name, e, SLICE_NULL) > MESH_GLOBAL_NAMES_BYTES;
}

void mesh_global_name_insert(mesh_global *g, slice name, const mesh_global_entry *e, slice reg_node) {
    mesh_global_name_delete(g, name);
    if (mesh_global_names_full(g, name, e)) {
        g->io.full(g->io.arg, "names", e->pid.node);
        return;
    }
    mesh_global_name *n = make(name, e, reg_node);
    mesh_global_watch_begin(g, &n->watch, MESH_GLOBAL_OF_NAME, &n->pid);
    mesh_global_node *node = n->watch.id == MESH_GLOBAL_LATER ? mesh_global_node_absent(g, n->pid.node) : NULL;
    if (n->watch.id == 0 || (n->watch.id == MESH_GLOBAL_LATER && !node)) { /* dead; or nobody could ever say that it is */
        mem_free(n);
        return;
    }
    if (node) {
        list_push_back(&node->later, &n->in_later);
        mesh_global_node_await(g, node);
    }
    g->names_bytes += n->bytes;
    hmap_insert(&g->names, &n->by_name, hash(g, n->name));
    g->io.named(g->io.arg, n->name, &n->pid);
}

/* --- nodes that come late, or never ----------------------------------------------------------------------------------------------- */
void mesh_global_names_watch(mesh_global *g, mesh_global_node *node) {
    for (list *i = list_pop_front(&node->later); i; i = list_pop_front(&node->later)) {
        mesh_global_name *n = container_of(i, mesh_global_name, in_later);
        mesh_global_watch_begin(g, &n->watch, MESH_GLOBAL_OF_NAME, &n->pid);
        if (n->watch.id == 0) drop(g, n);
    }
}

void mesh_global_names_drop(mesh_global *g, mesh_global_node *node) {
    for (list *i = list_first(&node->later); i; i = list_first(&node->later)) drop(g, container_of(i, mesh_global_name, in_later));
}

void mesh_global_names_free(mesh_global *g) {
    for (hmap_node *h = hmap_first(&g->names), *next; h; h = next) {
        next = hmap_next(&g->names, h);
        drop(g, container_of(h, mesh_global_name, by_name));
    }
    hmap_fini(&g->names);
}

/* --- telling others --------------------------------------------------------------------------------------------------------------- */
void mesh_global_names_put(const mesh_global *g, buf *b, uint32_t *out_n) {
    uint32_t count = 0;
    for (hmap_node *h = hmap_first(&g->names); h; h = hmap_next(&g->names, h), count++) {
        const mesh_global_name *n = container_of(h, mesh_global_name, by_name);
        etf_put_tuple(b, 3);
        buf_add(b, n->name);
        buf_add(b, n->pid_term);
        buf_add(b, n->method);
    }
    *out_n = count;
}

void mesh_global_names_put_exts(const mesh_global *g, buf *b) {
    for (hmap_node *h = hmap_first(&g->names); h; h = hmap_next(&g->names, h)) {
        const mesh_global_name *n = container_of(h, mesh_global_name, by_name);
        if (n->reg_node.len == 0) continue;
        etf_put_list(b, 1); /* a cell: its tail is the rest */
        etf_put_tuple(b, 3);
        buf_add(b, n->name);
        buf_add(b, n->pid_term);
        etf_put_atom(b, n->reg_node);
    }
    etf_put_nil(b);
}
