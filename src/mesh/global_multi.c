/* global_multi: one question to the global_name_servers of several nodes, and when all have answered (OTP: gen_server:multi_call/3,
 * without a time limit). A node that is not connected is asked when it is; one whose connection is lost has nothing to say. */
#include "base/mem.h"
#include "mesh/global_int.h"

void mesh_global_multi_free(mesh_global_multi *m) {
    for (uint32_t i = 0; i < m->n; i++) mesh_global_own_free(&m->asked[i].node);
    mem_free(m->asked);
    buf_fini(&m->request);
    *m = (mesh_global_multi){.n = 0};
}

static void ask(mesh_global *g, mesh_global_multi *m, uint32_t i, const mesh_global_node *n) {
    buf b;
    buf_init(&b, UINT32_MAX);
    m->asked[i].sent = true;
    mesh_global_put_call(&b, &g->self, m->first + i, buf_slice(&m->request));
    mesh_global_send(g, n, &b);
}

void mesh_global_multi_ask(mesh_global *g, mesh_global_multi *m, const slice *nodes, uint32_t n, slice request) {
    mesh_global_multi_free(m);
    buf_init(&m->request, UINT32_MAX);
    buf_add(&m->request, request);
    m->asked = n ? mem_zalloc(n * sizeof *m->asked) : NULL;
    m->n = n;
    m->first = g->last_call + 1;
    g->last_call += n;
    for (uint32_t i = 0; i < n; i++) {
        mesh_global_asked *a = &m->asked[i];
        mesh_global_node *node = mesh_global_node_find(g, nodes[i]);
        a->node = mesh_global_own(nodes[i]);
        a->waits = node && (node->index || list_linked(&node->in_wait));
        m->waiting += a->waits;
        if (a->waits && node->index) ask(g, m, i, node);
    }
}

bool mesh_global_multi_reply(mesh_global_multi *m, const mesh_global_node *n, uint64_t call, slice reply) {
    if (call < m->first || call - m->first >= m->n) return false;
    mesh_global_asked *a = &m->asked[call - m->first];
    if (!a->waits || !a->sent || !slice_eq(a->node, n->name)) return false;
    etf_reader r = etf_reader_of(reply);
    a->waits = false;
    m->waiting--;
    if (!etf_get_atom_is(&r, SLICE("true"))) m->refused = true;
    return true;
}

void mesh_global_multi_node_up(mesh_global *g, mesh_global_multi *m, const mesh_global_node *n) {
    for (uint32_t i = 0; i < m->n && m->waiting; i++)
        if (m->asked[i].waits && !m->asked[i].sent && slice_eq(m->asked[i].node, n->name)) ask(g, m, i, n);
}

void mesh_global_multi_node_down(mesh_global_multi *m, slice node) {
    for (uint32_t i = 0; i < m->n && m->waiting; i++) {
        mesh_global_asked *a = &m->asked[i];
        if (!a->waits || !slice_eq(a->node, node)) continue;
        a->waits = false;
        m->waiting--;
    }
}
