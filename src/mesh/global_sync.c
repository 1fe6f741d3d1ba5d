/* global_sync: callers that wait until names are shared with some nodes (OTP: global:sync/0,1). A node that is not connected, or is
 * not any more, is not waited for. */
#include "base/mem.h"
#include "mesh/global_int.h"

static void sync_free(mesh_global *g, mesh_global_sync *s) {
    list_remove(&s->in_list);
    g->n_syncs--;
    for (uint32_t i = 0; i < s->n; i++) mesh_global_own_free(&s->nodes[i]);
    mem_free(s->nodes);
    mem_free(s);
}

/* Not twice for one caller. */
static bool is_awaited(mesh_global *g, slice node) {
    mesh_global_node *n = mesh_global_node_find(g, node);
    if (!n || !n->index || n->synced || n->asked_for == g->last_sync) return false;
    n->asked_for = g->last_sync;
    return true;
}

void mesh_global_sync_call(mesh_global *g, slice nodes) {
    mesh_global_rows rows;
    slice node;
    int64_t vsn;
    size_t cap = 0;
    void *all = NULL;
    mesh_global_sync *s = mem_zalloc(sizeof *s);
    g->last_sync++;
    mesh_global_rows_begin(nodes, &rows);
    while (mesh_global_rows_node(&rows, &node, &vsn)) {
        if (!is_awaited(g, node)) continue;
        mem_grow(&all, &cap, s->n + 1, sizeof *s->nodes);
        s->nodes = all;
        s->nodes[s->n++] = mesh_global_own(node);
    }
    list_push_back(&g->syncs, &s->in_list);
    g->n_syncs++;
    if (s->n && g->n_syncs <= MESH_GLOBAL_SYNCS_MAX) {
        s->call = g->io.keep(g->io.arg);
        return;
    }
    if (s->n == 0)
        g->io.answer(g->io.arg, SLICE("w\x02ok"));
    else
        g->io.full(g->io.arg, "callers of sync", SLICE_NULL);
    sync_free(g, s);
}

void mesh_global_sync_done(mesh_global *g, slice node) {
    for (list *i = list_first(&g->syncs), *next; i; i = next) {
        mesh_global_sync *s = container_of(i, mesh_global_sync, in_list);
        next = list_next(&g->syncs, i);
        for (uint32_t k = 0; k < s->n; k++) {
            if (!slice_eq(s->nodes[k], node)) continue;
            mesh_global_own_free(&s->nodes[k]);
            s->nodes[k] = s->nodes[--s->n];
            k--;
        }
        if (s->n > 0) continue;
        g->io.answer_kept(g->io.arg, s->call, SLICE("w\x02ok"));
        sync_free(g, s);
    }
}

void mesh_global_sync_free(mesh_global *g) {
    for (list *i = list_first(&g->syncs); i; i = list_first(&g->syncs)) {
        mesh_global_sync *s = container_of(i, mesh_global_sync, in_list);
        g->io.answer_kept(g->io.arg, s->call, SLICE_NULL);
        sync_free(g, s);
    }
}
