/* actor: see actor.h. The tables are read without a lock; what a name or a number stands for is decided where peers.c decided it. */
#include "mesh/actor.h"

#include "base/mem.h"
#include "mesh/int.h"

/* The number of a node that is connected, in that life or, for 0, in any. */
static bool node_of(mesh *m, rt_ctx *cx, slice name, uint32_t creation, uint32_t *out) {
    slice v;
    mesh_peer p;
    if (rt_table_lookup(rt_epoch_reader(cx), m->names, name, &v) != ERR_OK || !check(v.len == sizeof p)) return false;
    memcpy(&p, v.p, sizeof p);
    *out = p.index;
    return rt_pid_ok(p.up) && (creation == 0 || p.creation == creation);
}

bool mesh_node_index(mesh *m, rt_ctx *cx, slice name, uint32_t *out) { return node_of(m, cx, name, 0, out); }

bool mesh_pid_get(mesh *m, rt_ctx *cx, const etf_pid *p, rt_pid *out) {
    rt_pid pid = {0, p->id, p->serial};
    if (!mesh_own_pid(m, p, &pid) && (slice_eq(p->node, m->cfg.name) || !node_of(m, cx, p->node, p->creation, &pid.node))) return false;
    *out = pid;
    return true;
}

bool mesh_pid_put(mesh *m, rt_ctx *cx, rt_pid p, buf *out) {
    slice v;
    mesh_node n = {0};
    if (p.node == 0) {
        etf_pid own = mesh_etf_pid(m, p);
        if (rt_pid_ok(p)) etf_put_pid(out, &own);
        return rt_pid_ok(p);
    }
    if (rt_table_lookup(rt_epoch_reader(cx), m->nodes, slice_of(&p.node, sizeof p.node), &v) != ERR_OK) return false;
    memcpy(&n, v.p, v.len < sizeof n ? v.len : sizeof n);
    etf_put_pid(out, &(etf_pid){.node = slice_of(n.name, n.name_len), .id = p.slot, .serial = p.gen, .creation = n.creation});
    return true;
}

err mesh_send_to(mesh *m, rt_ctx *cx, slice node, slice name, rt_blob *term) {
    uint32_t index;
    if (!etf_is_atom(name)) return ERR_INVALID;
    if (!node_of(m, cx, node, 0, &index)) return ERR_NOCONN;
    mesh_send_name(cx, m, index, name, term);
    return ERR_OK;
}

void mesh_send_term(rt_ctx *cx, rt_pid to, slice alias, rt_blob *term) {
    if (to.node == 0 || alias.len == 0) {
        mesh_send_pid(cx, to, term);
        return;
    }
    rt_msg *out = rt_msg_new(cx, MESH_SEND, sizeof(mesh_send_msg));
    *mesh_send_msg_of(out) = (mesh_send_msg){.from = rt_self(cx), .to = to, .alias = rt_blob_new(alias), .term = rt_blob_ref(term)};
    rt_send(cx, to, &out);
}

err mesh_reason_of(slice term, rt_blob **out_term) { return mesh_reason_in(etf_reader_of(term), out_term); }
void mesh_reason_put(err reason, const rt_blob *term, buf *out) { mesh_reason_out(reason, term, out); }

void mesh_watch_nodes(rt_ctx *cx, bool on) {
    rt_msg *m = rt_msg_new(cx, MESH_WATCH, sizeof(mesh_watch_msg));
    *mesh_watch_msg_of(m) = (mesh_watch_msg){.on = on, .who = rt_self(cx)};
    rt_send(cx, rt_name_find(cx, "net_kernel"), &m);
}
