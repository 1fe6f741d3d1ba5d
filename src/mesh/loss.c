/* loss: what is left to do when a connection that was up is lost: its links and monitors end with NOCONN, those of the other node's
 * processes are forgotten, then its name is free, and the services hear that the node is down. A link may have hundreds of thousands of
 * relations, and the shard has other work: past the first BATCH an actor of its own goes on, a batch a round, and whoever takes the place
 * of the lost link waits for it (mesh_peers_loss).
 *
 *     link ends --BATCH--> all told? --------------------------------------------> name free, MESH_NODE down
 *                              \--spawn--> loss: BATCH a round until all are told --/
 *
 * Invariants: (1) everything happens on the shard of the link, after all that came from the peer. (2) The name is free, and the down told,
 * only after the last relation has ended, so that nothing of this connection is mistaken for one of the next. */
#include "base/mem.h"
#include "mesh/link.h"

#define BATCH 1000u /* some 200 us */

typedef struct loss {
    mesh *m;
    rt_pid link;
    mesh_node_msg node; /* with a reference to its name */
    mesh_rels rels;
    mesh_gauge *gauge;
    bool invented;
    rt_timer timer;
} loss;

static void over(rt_ctx *cx, const loss *s) {
    mesh_peers_down(s->m, cx, s->link, rt_blob_slice(s->node.name), s->invented);
    mesh_gauge_retire(cx, s->gauge);
    mesh_service_tell(cx, &s->node);
}

static void loss_free(loss *s) {
    mesh_rels_fini(&s->rels);
    rt_blob_unref(s->node.name);
}

/* Takes over what *arg, another loss, has. */
static err loss_init(rt_ctx *cx, void *st, const void *arg) {
    loss *s = st, *from = *(loss *const *)arg;
    *s = *from;
    mesh_rels_init(&from->rels);
    from->node.name = NULL;
    rt_trap_exit(cx, true); /* who takes the link's place tells whom it finds to end; this one does, soon */
    mesh_peers_lost(s->m, cx, s->link, rt_blob_slice(s->node.name));
    rt_timer_set(cx, &s->timer, rt_now(cx));
    return ERR_OK;
}

static err loss_timer(rt_ctx *cx, void *st, rt_timer *t) {
    loss *s = st;
    if (mesh_rels_end(cx, &s->rels, s->node.index, BATCH))
        rt_stop(cx, ERR_SHUTDOWN);
    else
        rt_timer_set(cx, t, rt_now(cx));
    return ERR_OK;
}

/* Before its time it ends with the node only. */
static void loss_fini(rt_ctx *cx, void *st, err reason) {
    loss *s = st;
    (void)reason;
    rt_timer_cancel(cx, &s->timer);
    over(cx, s);
    loss_free(s);
}

static const rt_class loss_class = {
    .name = "mesh_loss", .state_size = sizeof(loss), .init = loss_init, .timer = loss_timer, .fini = loss_fini, .unflushable = true};

void mesh_loss_begin(rt_ctx *cx, mesh_link *l) {
    loss s = {.m = l->m,
              .link = rt_self(cx),
              .node = mesh_link_node(cx, l, false),
              .rels = l->rels,
              .gauge = l->gauge,
              .invented = l->invented},
         *arg = &s;
    rt_pid pid;
    mesh_rels_init(&l->rels);
    bool all = mesh_rels_end(cx, &s.rels, l->index, BATCH);
    if (!all && rt_spawn(cx, &loss_class, &arg, 0, &pid, NULL) == ERR_OK) return;
    while (!all) all = mesh_rels_end(cx, &s.rels, l->index, BATCH); /* the node is freed, or has no room for another actor */
    over(cx, &s);
    loss_free(&s);
}
