/* global_part: no overlapping partitions (OTP 25: kernel, prevent_overlapping_partitions). When some nodes see one that others do not
 * see, names mean different things to different nodes. So a node that loses a connection tells all of its part, each of which then leaves
 * the node that was lost, until every part is fully connected.
 *
 *     lost_connection A B     I am B: leave A. Else: leave B. Told once to everybody else, known by (A, B) and A's counter.
 *     remove_connection A     disconnect A
 *
 * Leaving a node is to ask it to disconnect, and to take it for gone: its going is then no news.
 *
 * A node of this kind that loses an Erlang node does not report it, because that node reports it too, and its report removes only this one;
 * both reports would part all who are told. Of two of this kind the one with the lesser name reports, for the same reason, and so it does
 * of a node that was never heard, which may be either.
 *
 * OTP passes on every report that is new. Here only one that names a node of this part is passed on: everybody who has lost a node reports
 * it, so that a node that ends would cost as many messages as there are pairs, from each. */
#include "base/mem.h"
#include "mesh/global_int.h"

/* --- reports ---------------------------------------------------------------------------------------------------------------------- */
static uint64_t hash(const mesh_global *g, slice a, slice b) { return hash_bytes(&g->key, a) ^ hash_u64(hash_bytes(&g->key, b)); }

static mesh_global_lost *find(const mesh_global *g, slice a, slice b) {
    for (hmap_node *h = hmap_find(&g->lost, hash(g, a, b)); h; h = hmap_find_next(h)) {
        mesh_global_lost *l = container_of(h, mesh_global_lost, by_nodes);
        if (slice_eq(l->a, a) && slice_eq(l->b, b)) return l;
    }
    return NULL;
}

static void forget(mesh_global *g, mesh_global_lost *l) {
    hmap_remove(&g->lost, &l->by_nodes);
    list_remove(&l->by_age);
    mem_free(l);
}

/* The oldest give way: a report that comes again then only costs a round. */
static void remember(mesh_global *g, const mesh_global_msg *m) {
    size_t n = m->node.len, k = m->lost.len;
    list *oldest = list_first(&g->lost_by_age);
    if (oldest && g->lost.count >= MESH_GLOBAL_LOST_MAX) forget(g, container_of(oldest, mesh_global_lost, by_age));
    mesh_global_lost *l = mem_zalloc(sizeof *l + n + k + m->creation.len);
    uint8_t *p = (uint8_t *)(l + 1);
    memcpy(p, m->node.p, n);
    memcpy(p + n, m->lost.p, k);
    memcpy(p + n + k, m->creation.p, m->creation.len);
    l->a = slice_of(p, n);
    l->b = slice_of(p + n, k);
    l->creation = slice_of(p + n + k, m->creation.len);
    l->op_id = m->op_id;
    l->until = g->now + MESH_GLOBAL_LOST_KEEP;
    hmap_insert(&g->lost, &l->by_nodes, hash(g, l->a, l->b));
    list_push_back(&g->lost_by_age, &l->by_age);
}

static bool is_news(mesh_global *g, const mesh_global_msg *m) {
    mesh_global_lost *l = find(g, m->node, m->lost);
    if (l && slice_eq(l->creation, m->creation) && m->op_id <= l->op_id) return false;
    if (l) forget(g, l);
    remember(g, m);
    return true;
}

void mesh_global_part_timer(mesh_global *g) {
    for (list *i = list_first(&g->lost_by_age); i; i = list_first(&g->lost_by_age)) {
        mesh_global_lost *l = container_of(i, mesh_global_lost, by_age);
        if (l->until > g->now) return;
        forget(g, l);
    }
}

void mesh_global_part_free(mesh_global *g) {
    for (list *i = list_first(&g->lost_by_age); i; i = list_first(&g->lost_by_age)) forget(g, container_of(i, mesh_global_lost, by_age));
    hmap_fini(&g->lost);
}

/* --- telling ---------------------------------------------------------------------------------------------------------------------- */
/* To all of our part, and those who are about to join it, but one. */
static void tell_all(mesh_global *g, slice but, slice message) {
    buf b;
    buf_init(&b, UINT32_MAX);
    buf_add(&b, message);
    rt_blob *term = mesh_global_blob(&b);
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        const mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if ((n->known || n->pending) && n->vsn >= 7 && !slice_eq(n->name, but)) mesh_global_send_blob(g, n, term);
    }
    rt_blob_unref(term);
}

void mesh_global_part_tell(mesh_global *g, const mesh_global_node *lost) {
    buf b;
    if (!lost->known || lost->kin == MESH_GLOBAL_ERLANG || slice_cmp(g->me, lost->name) > 0) return;
    buf_init(&b, UINT32_MAX);
    mesh_global_put_lost_connection(&b, g->me, g->self.creation, ++g->last_op, lost->name);
    tell_all(g, lost->name, buf_slice(&b));
    buf_fini(&b);
}

/* --- leaving ---------------------------------------------------------------------------------------------------------------------- */
static void leave(mesh_global *g, mesh_global_node *n) {
    mesh_global_join_leave(g, n);
    n->removing = n->index != 0;
    if (n->removing) mesh_global_node_wait(g, n); /* it is not asked for ever */
    mesh_global_node_settle(g, n);
}

void mesh_global_part_lost(mesh_global *g, const mesh_gen *gen, const mesh_global_msg *m) {
    buf b;
    slice victim = slice_eq(m->lost, g->me) ? m->node : m->lost;
    if (slice_eq(m->node, g->me) || !is_news(g, m)) return;
    mesh_global_node *n = mesh_global_node_find(g, victim);
    if (!n || (!n->known && !n->pending)) return;
    tell_all(g, m->node, gen->request);
    g->io.parted(g->io.arg, n->name, "is asked to disconnect");
    if (n->vsn >= 7) {
        buf_init(&b, UINT32_MAX);
        mesh_global_put_remove_connection(&b, g->me);
        mesh_global_send(g, n, &b);
    } else if (n->index) {
        g->io.disconnect(g->io.arg, n->index, "others cannot reach it");
    }
    leave(g, n);
}

void mesh_global_part_remove(mesh_global *g, mesh_global_node *n) {
    if (!n->known && !n->pending && !n->removing) return; /* removing: each has asked the other */
    g->io.parted(g->io.arg, n->name, "asks to be disconnected");
    if (n->index) g->io.disconnect(g->io.arg, n->index, "it wants to be disconnected: others cannot reach this node");
    leave(g, n);
}
