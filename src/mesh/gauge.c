/* gauge: what waits on a link, as those see it who look from elsewhere: murrectl, metrics. */
#include "base/mem.h"
#include "mesh/int.h"

mesh_gauge *mesh_gauge_new(void) {
    mesh_gauge *g = mem_zalloc(sizeof *g);
    return g;
}

/* relaxed: one writer, and each number means something by itself. */
void mesh_gauge_busy(mesh_gauge *g, bool busy) {
    atomic_store_explicit(&g->busy, busy, memory_order_relaxed);
    if (busy) atomic_store_explicit(&g->busy_n, atomic_load_explicit(&g->busy_n, memory_order_relaxed) + 1, memory_order_relaxed);
}

static bool free_gauge(rt_node *n, rt_retired *x) {
    (void)n;
    mem_free(container_of(x, mesh_gauge, retired));
    return true;
}

void mesh_gauge_retire(rt_ctx *cx, mesh_gauge *g) {
    if (!g) return;
    g->retired = (rt_retired){.free = free_gauge, .bytes = sizeof *g};
    rt_epoch_retire(rt_epoch_reader(cx), &g->retired);
}

static void add(void *arg, uint32_t index, const mesh_node *n) {
    (void)index;
    mesh_load *l = arg;
    l->links++;
    if (!n->gauge) return;
    l->busy += atomic_load_explicit(&n->gauge->busy, memory_order_relaxed); /* see mesh_gauge, as the next one */
    l->bytes += atomic_load_explicit(&n->gauge->bytes, memory_order_relaxed);
}

void mesh_load_read(const mesh *m, mesh_load *out) {
    rt_reader *r = rt_epoch_begin(m->node);
    *out = (mesh_load){0};
    mesh_peers_each(m->nodes, r, add, out);
    rt_epoch_end(&r);
}
