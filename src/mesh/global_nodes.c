/* global_nodes: the nodes that this one is connected with, knows or awaits. */
#include "base/mem.h"
#include "mesh/global_int.h"
#include "proto/dist/name.h"

slice mesh_global_own(slice s) {
    if (s.len == 0) return SLICE_NULL;
    uint8_t *p = mem_alloc(s.len);
    memcpy(p, s.p, s.len);
    return slice_of(p, s.len);
}

void mesh_global_own_free(slice *s) {
    mem_free((void *)(uintptr_t)s->p);
    *s = SLICE_NULL;
}

/* --- the table -------------------------------------------------------------------------------------------------------------------- */
static uint64_t hash(const mesh_global *g, slice name) { return hash_bytes(&g->key, name); }

mesh_global_node *mesh_global_node_find(const mesh_global *g, slice name) {
    for (hmap_node *h = hmap_find(&g->nodes, hash(g, name)); h; h = hmap_find_next(h)) {
        mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (slice_eq(n->name, name)) return n;
    }
    return NULL;
}

mesh_global_node *mesh_global_node_at(const mesh_global *g, uint32_t index) {
    for (hmap_node *h = hmap_find(&g->by_index, hash_u64(index)); h; h = hmap_find_next(h)) {
        mesh_global_node *n = container_of(h, mesh_global_node, by_index);
        if (n->index == index) return n;
    }
    return NULL;
}

mesh_global_node *mesh_global_node_get(mesh_global *g, slice name) {
    mesh_global_node *n = mesh_global_node_find(g, name);
    if (n) return n;
    if (g->nodes.count >= MESH_GLOBAL_NODES_MAX) {
        g->io.full(g->io.arg, "nodes", name);
        return NULL;
    }
    n = mem_zalloc(sizeof *n + name.len);
    memcpy(n + 1, name.p, name.len);
    n->name = slice_of(n + 1, name.len);
    list_init(&n->later);
    list_init(&n->tales);
    buf_init(&n->ops, UINT32_MAX);
    hmap_insert(&g->nodes, &n->by_name, hash(g, name));
    return n;
}

mesh_global_node *mesh_global_node_absent(mesh_global *g, slice name) {
    dist_name parts;
    return dist_name_parse(name, &parts) == ERR_OK ? mesh_global_node_get(g, name) : NULL;
}

static void node_free(mesh_global *g, mesh_global_node *n) {
    mesh_global_join_reset(n);
    mesh_global_early_free(n);
    mesh_global_tales_drop(g, n);
    (void)check(list_empty(&n->later));
    if (list_linked(&n->in_wait)) list_remove(&n->in_wait);
    if (n->index) hmap_remove(&g->by_index, &n->by_index);
    hmap_remove(&g->nodes, &n->by_name);
    mem_free(n);
}

void mesh_global_node_settle(mesh_global *g, mesh_global_node *n) {
    if (!n->index && !n->known && !n->pending && !list_linked(&n->in_wait)) node_free(g, n);
}

void mesh_global_nodes_free(mesh_global *g) {
    for (hmap_node *h = hmap_first(&g->nodes), *next; h; h = next) {
        next = hmap_next(&g->nodes, h);
        node_free(g, container_of(h, mesh_global_node, by_name));
    }
    hmap_fini(&g->nodes);
    hmap_fini(&g->by_index);
}

void mesh_global_node_wait(mesh_global *g, mesh_global_node *n) {
    if (list_linked(&n->in_wait)) return;
    n->wait_until = g->now + MESH_GLOBAL_WAIT_OTHERS;
    list_push_back(&g->waits, &n->in_wait);
}

void mesh_global_node_await(mesh_global *g, mesh_global_node *n) {
    if (n->index || list_linked(&n->in_wait)) return;
    mesh_global_node_wait(g, n);
    g->io.connect(g->io.arg, n->name);
}

void mesh_global_node_know(mesh_global *g, mesh_global_node *n, bool known) {
    if (n->known == known) return;
    n->known = known;
    if (known)
        g->n_known++;
    else
        g->n_known--;
}

bool mesh_global_takes_part(const mesh_global_node *n) { return n->index != 0 && !n->hidden; }

/* --- telling ---------------------------------------------------------------------------------------------------------------------- */
rt_blob *mesh_global_blob(buf *b) {
    rt_blob *out = check(buf_ok(b)) ? rt_blob_alloc(b->len + 1) : NULL;
    if (out) {
        out->data[0] = ETF_VERSION;
        memcpy(out->data + 1, b->p, b->len);
    }
    buf_fini(b);
    return out;
}

void mesh_global_send_blob(mesh_global *g, const mesh_global_node *n, rt_blob *term) {
    if (n->index && term) g->io.send(g->io.arg, n->index, SLICE(MESH_GLOBAL_SERVER), term);
}

void mesh_global_send(mesh_global *g, const mesh_global_node *n, buf *b) {
    rt_blob *term = mesh_global_blob(b);
    mesh_global_send_blob(g, n, term);
    rt_blob_unref(term);
}

void mesh_global_put_known(const mesh_global *g, int64_t vsn, buf *b) {
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        const mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (!n->known) continue;
        etf_put_list(b, 1); /* a cell: its tail is the rest */
        if (vsn >= 7) etf_put_tuple(b, 2);
        etf_put_atom(b, n->name);
        if (vsn >= 7) etf_put_int(b, n->vsn);
    }
    etf_put_nil(b);
}

void mesh_global_put_synced(const mesh_global *g, buf *b) {
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        const mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (!n->synced) continue;
        etf_put_list(b, 1);
        etf_put_atom(b, n->name);
    }
    etf_put_nil(b);
}
