/* verbs: the mesh for operators: which nodes are connected. */
#include "mesh/int.h"
#include "rt/verbs_fn.h"

static void push(void *arg, uint32_t index, const mesh_node *n) {
    rt_verb_call *c = arg;
    char link[RT_PID_TEXT];
    val *m = val_map(c->arena);
    rt_pid_format(n->link, link);
    val_set(c->arena, m, "node", val_str(c->arena, slice_of(n->name, n->name_len)));
    rt_verb_uint(c, m, "index", index);
    rt_verb_uint(c, m, "creation", n->creation);
    rt_verb_text(c, m, "link", link);
    val_push(c->arena, c->result, m);
}

static err nodes_list(rt_verb_call *c) {
    rt_reader *r = rt_epoch_begin(c->node);
    c->result = val_list(c->arena);
    mesh_peers_each(rt_table_whereis(r, SLICE(MESH_NODES)), r, push, c);
    rt_epoch_end(&r);
    return ERR_OK;
}

const rt_verb mesh_verbs[] = {
    {"nodes", "list", 0, 0, RT_READS, nodes_list, "nodes",
     "lists the nodes that are connected: name, number, creation and the actor of the link"},
};
const size_t mesh_verbs_count = ARRAY_LEN(mesh_verbs);
