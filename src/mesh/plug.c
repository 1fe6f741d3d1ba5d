/* plug: what an actor sends to a pid of another node finds its link here; on the actor's shard, without waiting. */
#include "base/mem.h"
#include "mesh/int.h"

static void plug_send(rt_remote *r, rt_ctx *cx, rt_pid to, rt_msg **mp) {
    mesh *m = container_of(r, mesh, remote);
    rt_pid link = mesh_peers_link(m, cx, to.node);
    rt_msg *in = *mp, *out = NULL;
    *mp = NULL;
    if (rt_pid_ok(link) && in->tag == MESH_TERM) {
        out = rt_msg_new(cx, MESH_SEND, sizeof(mesh_send_msg));
        *mesh_send_msg_of(out) = (mesh_send_msg){.from = in->sender, .to = to, .term = rt_blob_ref(mesh_term_of(in)->term)};
    } else if (rt_pid_ok(link) && in->tag == MESH_SEND) {
        out = in;
        in = NULL;
    }
    rt_msg_drop(m->node, &in); /* not connected; or a message that has no form as a term */
    if (out) rt_send(cx, link, &out);
}

/* Links and monitors of actors here to processes there are not said yet: they end at once, as if the node were not connected. */
static void plug_signal(rt_remote *r, rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term) {
    mesh *m = container_of(r, mesh, remote);
    if (sig == RT_SIG_LINK || sig == RT_SIG_MONITOR) {
        rt_remote_signal(cx, to, from, sig == RT_SIG_LINK ? RT_SIG_EXIT_LINK : RT_SIG_DOWN, ref, ERR_NOCONN, NULL);
        return;
    }
    rt_pid link = mesh_peers_link(m, cx, to.node);
    if (!rt_pid_ok(link)) return; /* not connected: the other node has said noconnection to its processes itself */
    rt_msg *out = rt_msg_new(cx, MESH_SIGNAL, sizeof(mesh_signal_msg));
    *mesh_signal_msg_of(out) = (mesh_signal_msg){(uint8_t)sig, from, to, ref, reason, rt_blob_ref(term)};
    rt_send(cx, link, &out);
}

void mesh_plug_init(mesh *m) { m->remote = (rt_remote){.send = plug_send, .signal = plug_signal}; }

void mesh_send_pid(rt_ctx *cx, rt_pid to, rt_blob *term) {
    rt_msg *m = rt_msg_new(cx, MESH_TERM, sizeof(mesh_term));
    mesh_term_of(m)->term = rt_blob_ref(term);
    rt_send(cx, to, &m);
}

void mesh_send_name(rt_ctx *cx, mesh *m, uint32_t index, slice name, rt_blob *term) {
    rt_pid link = mesh_peers_link(m, cx, index);
    if (!check(etf_is_atom(name)) || !rt_pid_ok(link)) return;
    rt_msg *out = rt_msg_new(cx, MESH_SEND, sizeof(mesh_send_msg));
    *mesh_send_msg_of(out) = (mesh_send_msg){.from = rt_self(cx), .name = rt_blob_new(name), .term = rt_blob_ref(term)};
    rt_send(cx, link, &out);
}
