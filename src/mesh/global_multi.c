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

static void ask(mesh_global *g, mesh_global_multi *m, mesh_global_asked *a, const mesh_global_node *n) {
    buf b;
    buf_init(&b, UINT32_MAX);
    a->call = ++g->last_call;
    mesh_global_put_call(&b, &g->self, a->call, buf_slice(&m->request));
    mesh_global_send(g, n, &b);
}

void mesh_global_multi_ask(mesh_global *g, mesh_global_multi *m, const slice *nodes, uint32_t n, slice request) {
    mesh_global_multi_free(m);
    buf_init(&m->request, UINT32_MAX);
    buf_add(&m->request, request);
    m->asked = n ? mem_zalloc(n * sizeof *m->asked) : NULL;
    m->n = n;
    for (uint32_t i = 0; i < n; i++) {
        mesh_global_asked *a = &m->asked[i];
        mesh_global_node *node = mesh_global_node_find(g, nodes[i]);
        a->node = mesh_global_own(nodes[i]);
        a->waits = node && (node->index || node->wait_until != USEC_NEVER);
        m->waiting += a->waits;
        if (a->waits && node->index) ask(g, m, a, node);
    }
}

bool mesh_global_multi_reply(mesh_global_multi *m, uint64_t call, slice reply) {
    for (uint32_t i = 0; i < m->n; i++) {
        mesh_global_asked *a = &m->asked[i];
        if (!a->waits || a->call != call) continue;
        etf_reader r = etf_reader_of(reply);
        a->waits = false;
        a->yes = etf_get_atom_is(&r, SLICE("true"));
        m->refused = m->refused || !a->yes;
        m->waiting--;
        return true;
    }
    return false;
}

void mesh_global_multi_node_up(mesh_global *g, mesh_global_multi *m, const mesh_global_node *n) {
    for (uint32_t i = 0; i < m->n; i++)
        if (m->asked[i].waits && m->asked[i].call == 0 && slice_eq(m->asked[i].node, n->name)) ask(g, m, &m->asked[i], n);
}

void mesh_global_multi_node_down(mesh_global *g, mesh_global_multi *m, slice node) {
    (void)g;
    for (uint32_t i = 0; i < m->n; i++) {
        mesh_global_asked *a = &m->asked[i];
        if (!a->waits || !slice_eq(a->node, node)) continue;
        a->waits = false;
        m->waiting--;
    }
}
