/* plug: what an actor says to a process of another node finds its link here; on the actor's shard, without waiting.
 *
 *     rt_send, rt_link, rt_monitor ... to a pid of another node --rt/remote.h--> its link, as MESH_SEND or MESH_SIGNAL
 *
 * Invariant: each link and monitor that goes out is answered: by the other node, by the link when the connection is lost, or here: where
 * there is no connection, and for a message that its link did not live to handle. */
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

void mesh_plug_refuse(rt_ctx *cx, const mesh_signal_msg *s, err reason) {
    if (s->sig == RT_SIG_LINK)
        rt_remote_signal(cx, s->to, s->from, RT_SIG_EXIT_LINK, 0, reason, NULL);
    else if (s->sig == RT_SIG_MONITOR)
        rt_remote_signal(cx, s->to, s->from, RT_SIG_DOWN, s->ref, reason, NULL);
}

/* Takes over the blobs of s. */
static void say(mesh *m, rt_ctx *cx, const mesh_signal_msg *s) {
    rt_pid link = mesh_peers_link(m, cx, s->to.node);
    if (!rt_pid_ok(link)) { /* of all else the other node has said noconnection to its processes itself */
        mesh_plug_refuse(cx, s, ERR_NOCONN);
        rt_blob_unref(s->term);
        rt_blob_unref(s->name);
        rt_blob_unref(s->spawn);
        return;
    }
    rt_msg *out = rt_msg_new(cx, MESH_SIGNAL, sizeof *s);
    *mesh_signal_msg_of(out) = *s;
    rt_send(cx, link, &out);
}

static void plug_signal(rt_remote *r, rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term) {
    mesh_signal_msg s = {.sig = (uint8_t)sig, .from = from, .to = to, .ref = ref, .reason = reason, .term = rt_blob_ref(term)};
    say(container_of(r, mesh, remote), cx, &s);
}

static void plug_lost(rt_remote *r, rt_ctx *cx, rt_msg *m) {
    (void)r;
    mesh_plug_refuse(cx, mesh_signal_msg_of(m), ERR_NOCONN);
}

void mesh_plug_init(mesh *m) {
    m->remote = (rt_remote){.send = plug_send, .signal = plug_signal, .lost = plug_lost, .carrier = MESH_SIGNAL};
}

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

uint64_t mesh_monitor_name(rt_ctx *cx, mesh *m, uint32_t index, slice name) {
    rt_pid who = {index, 0, 0};
    if (!check(etf_is_atom(name))) return 0;
    uint64_t ref = rt_remote_monitor(cx, who);
    if (ref) say(m, cx, &(mesh_signal_msg){.sig = RT_SIG_MONITOR, .from = rt_self(cx), .to = who, .ref = ref, .name = rt_blob_new(name)});
    return ref;
}

uint64_t mesh_monitor_spawn(rt_ctx *cx, mesh *m, uint32_t index, rt_blob *what) {
    rt_pid who = {index, 0, 0};
    uint64_t ref = rt_remote_monitor(cx, who);
    if (ref) say(m, cx, &(mesh_signal_msg){.sig = RT_SIG_MONITOR, .from = rt_self(cx), .to = who, .ref = ref, .spawn = rt_blob_ref(what)});
    return ref;
}

void mesh_disconnect(rt_ctx *cx, mesh *m, uint32_t index, const char *why) {
    rt_pid link = mesh_peers_link(m, cx, index);
    if (!rt_pid_ok(link)) return;
    rt_msg *out = rt_msg_new(cx, MESH_END, sizeof(mesh_end_msg));
    mesh_end_msg_of(out)->why = rt_blob_new(slice_str(why));
    rt_send(cx, link, &out);
}
