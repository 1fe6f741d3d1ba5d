/* link_out: what this node says to a peer: the runtime's signals and messages, as control messages into the link's buffer. */
#include "base/mem.h"
#include "mesh/link.h"

err mesh_out(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    slice rest;
    dist_split split;
    if (l->ended) return ERR_OK;
    err e = dist_out_signal(&l->enc, c, ++l->sequence, &l->out, &rest, &split);
    if (e == ERR_UNSUPPORTED) return ERR_OK; /* OTP drops it, too */
    if (e) return mesh_link_end(cx, l, e == ERR_LIMIT ? "what waits for it is past every limit" : "a signal could not be written");
    buf_add(&l->out, rest);
    while (split.left > 0) {
        e = dist_out_fragment(&split, &l->out, &rest);
        if (e) return mesh_link_end(cx, l, "what waits for it is past every limit");
        buf_add(&l->out, rest);
    }
    mesh_link_flush(cx, l);
    return ERR_OK;
}

static etf_pid peer_pid(const mesh_link *l, rt_pid p) {
    return (etf_pid){.node = mesh_link_name(l), .id = p.slot, .serial = p.gen, .creation = l->creation};
}
static dist_addr addr_of(etf_pid p) { return (dist_addr){.kind = DIST_ADDR_PID, .pid = p}; }

err mesh_out_send(rt_ctx *cx, mesh_link *l, const mesh_send_msg *s) {
    if (!check(s->term && s->term->len > 1)) return ERR_OK;
    dist_ctl c = {
        .signal = DIST_SIG_SEND, .from = addr_of(mesh_etf_pid(l->m, s->from)), .payload = slice_of(s->term->data + 1, s->term->len - 1)};
    if (s->name) {
        c.to = (dist_addr){.kind = DIST_ADDR_NAME, .name = rt_blob_slice(s->name)};
    } else if (s->alias) {
        etf_reader r = {.in = cursor_of(rt_blob_slice(s->alias))};
        c.to.kind = DIST_ADDR_ALIAS;
        if (!etf_get_ref(&r, &c.to.alias) || !slice_eq(c.to.alias.node, mesh_link_name(l)))
            return ERR_OK; /* of a third node: not this way */
    } else {
        c.to = addr_of(peer_pid(l, s->to));
    }
    return mesh_out(cx, l, &c);
}

/* A DOWN goes to who asked, by the reference and the name that it asked with. */
static err down(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s, slice reason) {
    mesh_watch *w = mesh_watch_by_id(l, s->ref);
    if (!w) return ERR_OK; /* it was taken back meanwhile */
    dist_ctl c = {.signal = DIST_SIG_DOWN, .ref = w->ref, .reason = reason};
    c.ref.node = mesh_link_name(l);
    c.to = addr_of(peer_pid(l, s->to));
    c.from =
        w->name_len ? (dist_addr){.kind = DIST_ADDR_NAME, .name = slice_of(w->name, w->name_len)} : addr_of(mesh_etf_pid(l->m, s->from));
    err e = mesh_out(cx, l, &c);
    mesh_watch_forget(l, w);
    return e;
}

err mesh_out_signal(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    buf b;
    buf_init(&b, UINT32_MAX);
    mesh_reason_out(s->reason, s->term, &b);
    dist_ctl c = {.from = addr_of(mesh_etf_pid(l->m, s->from)), .to = addr_of(peer_pid(l, s->to)), .reason = buf_slice(&b)};
    err e = ERR_OK;
    switch ((rt_signal)s->sig) {
    case RT_SIG_EXIT: c.signal = DIST_SIG_EXIT2, e = mesh_out(cx, l, &c); break;
    case RT_SIG_EXIT_LINK:
        mesh_tie_forget(l, s->from, s->to);
        c.signal = DIST_SIG_EXIT, e = mesh_out(cx, l, &c);
        break;
    case RT_SIG_DOWN: e = down(cx, l, s, c.reason); break;
    case RT_SIG_LINK:
    case RT_SIG_UNLINK:
    case RT_SIG_MONITOR:
    case RT_SIG_DEMONITOR: break; /* mesh.c answers them */
    }
    buf_fini(&b);
    return e;
}
