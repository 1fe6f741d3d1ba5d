/* global_clash: what becomes of two processes that have one name (OTP: global, random_exit_name, random_notify_name, notify_all_name).
 *
 *     random_exit_name      the one on the lesser node keeps it, the other one is killed
 *     random_notify_name    the one on the lesser node keeps it, the other one is told {global_name_conflict, Name}
 *     notify_all_name       neither does, and both are told {global_name_conflict, Name, OtherPid}
 *
 * These are all that are known here, because no Erlang code is. They come as fun global:F/3 or {global, F}; a fun that belongs to the
 * module global and takes three is the default of its functions that name, random_exit_name, as no other one leaves it.
 *
 * A process on a node that is not connected yet is told when it is: who meets its like of another part often is. */
#include "base/mem.h"
#include "mesh/global_int.h"

/* --- resolvers -------------------------------------------------------------------------------------------------------------------- */
static const char *const methods[] = {[MESH_GLOBAL_RANDOM_EXIT] = "random_exit_name",
                                      [MESH_GLOBAL_RANDOM_NOTIFY] = "random_notify_name",
                                      [MESH_GLOBAL_NOTIFY_ALL] = "notify_all_name"};

void mesh_global_put_method(buf *b, mesh_global_clash clash) {
    etf_put_export(b, &(etf_export){SLICE("global"), slice_str(methods[clash]), 3});
}

static bool method_named(slice function, mesh_global_clash *out) {
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!slice_is(function, methods[i])) continue;
        *out = (mesh_global_clash)i;
        return true;
    }
    return false;
}

static bool method_read(slice term, mesh_global_clash *out) {
    etf_reader r = etf_reader_of(term);
    etf_item it;
    slice function;
    if (!etf_next(&r, &it)) return false;
    if (it.kind == ETF_EXPORT) return slice_is(it.fn.module, "global") && it.fn.arity == 3 && method_named(it.fn.function, out);
    if (it.kind == ETF_TUPLE && it.n == 2)
        return etf_get_atom_is(&r, SLICE("global")) && etf_get_atom(&r, &function) && method_named(function, out);
    *out = MESH_GLOBAL_RANDOM_EXIT;
    return it.kind == ETF_FUN && it.fun.arity == 3 && etf_get_atom_is(&r, SLICE("global"));
}

mesh_global_verdict mesh_global_clash_judge(slice method, const mesh_global_claim *his, const mesh_global_claim *mine) {
    mesh_global_clash clash;
    if (!method_read(method, &clash)) return MESH_GLOBAL_NOBODY_KNOWS;
    if (clash == MESH_GLOBAL_NOTIFY_ALL) return MESH_GLOBAL_NEITHER;
    return slice_cmp(his->pid.node, mine->pid.node) < 0 ? MESH_GLOBAL_HIS : MESH_GLOBAL_MINE;
}

/* --- telling ---------------------------------------------------------------------------------------------------------------------- */
static void deliver(mesh_global *g, uint32_t index, const etf_pid *to, rt_blob *term) {
    if (term)
        g->io.tell(g->io.arg, index, to, term);
    else
        g->io.kill(g->io.arg, index, to);
}

/* term: NULL kills it. */
static void tell(mesh_global *g, const etf_pid *to, rt_blob *term) {
    mesh_global_node *n = slice_eq(to->node, g->me) ? NULL : mesh_global_node_find(g, to->node);
    if (slice_eq(to->node, g->me)) {
        deliver(g, 0, to, term);
        return;
    }
    if (n && n->index) {
        if (n->creation == to->creation) deliver(g, n->index, to, term);
        return;
    }
    if (!n) n = mesh_global_node_absent(g, to->node); /* of the other part: we meet it in a moment */
    if (!n) return;
    if (g->n_tales >= MESH_GLOBAL_TALES_MAX) {
        g->io.full(g->io.arg, "clashes", to->node);
        return;
    }
    mesh_global_tale *t = mem_zalloc(sizeof *t + to->node.len);
    memcpy(t + 1, to->node.p, to->node.len);
    t->to = *to;
    t->to.node = slice_of(t + 1, to->node.len);
    t->term = rt_blob_ref(term);
    list_push_back(&n->tales, &t->in_tales);
    g->n_tales++;
    mesh_global_node_await(g, n);
}

static void tale_free(mesh_global *g, mesh_global_tale *t) {
    list_remove(&t->in_tales);
    g->n_tales--;
    rt_blob_unref(t->term);
    mem_free(t);
}

void mesh_global_tales_tell(mesh_global *g, mesh_global_node *n) {
    for (list *i = list_first(&n->tales); i; i = list_first(&n->tales)) {
        mesh_global_tale *t = container_of(i, mesh_global_tale, in_tales);
        if (n->creation == t->to.creation) deliver(g, n->index, &t->to, t->term);
        tale_free(g, t);
    }
}

void mesh_global_tales_drop(mesh_global *g, mesh_global_node *n) {
    for (list *i = list_first(&n->tales); i; i = list_first(&n->tales)) tale_free(g, container_of(i, mesh_global_tale, in_tales));
}

/* other: NULL if it is not said. */
static void tell_conflict(mesh_global *g, slice name, const mesh_global_claim *who, const mesh_global_claim *other) {
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_tuple(&b, other ? 3 : 2);
    etf_put_atom(&b, SLICE("global_name_conflict"));
    buf_add(&b, name);
    if (other) buf_add(&b, other->term);
    rt_blob *term = mesh_global_blob(&b);
    if (term) tell(g, &who->pid, term);
    rt_blob_unref(term);
}

void mesh_global_clash_act(mesh_global *g, slice method, slice name, const mesh_global_claim *his, const mesh_global_claim *mine) {
    mesh_global_clash clash;
    if (!check(method_read(method, &clash))) return;
    const mesh_global_claim *loser = mesh_global_clash_judge(method, his, mine) == MESH_GLOBAL_HIS ? mine : his;
    switch (clash) {
    case MESH_GLOBAL_RANDOM_EXIT: tell(g, &loser->pid, NULL); break;
    case MESH_GLOBAL_RANDOM_NOTIFY: tell_conflict(g, name, loser, NULL); break;
    case MESH_GLOBAL_NOTIFY_ALL:
        tell_conflict(g, name, his, mine);
        tell_conflict(g, name, mine, his);
        break;
    }
}
