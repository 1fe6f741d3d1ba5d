/* link_out: what this node says to a peer: the runtime's signals and messages, as control messages into the link's buffer. */
#include "base/mem.h"
#include "mesh/link.h"

static err cannot(rt_ctx *cx, mesh_link *l, err e) {
    return mesh_link_end(cx, l, e == ERR_LIMIT ? "what waits for it is past every limit" : "a signal could not be written");
}

/* *out_said: false if it cannot be said to this peer. */
static NODISCARD err put(rt_ctx *cx, mesh_link *l, const dist_ctl *c, bool *out_said) {
    slice rest;
    dist_split split;
    *out_said = true;
    if (l->ended) return ERR_OK;
    err e = dist_out_signal(&l->enc, c, ++l->sequence, &l->out, &rest, &split);
    *out_said = e != ERR_UNSUPPORTED;
    if (!*out_said) return ERR_OK;
    if (e) return cannot(cx, l, e);
    l->n.out_messages++;
    buf_add(&l->out, rest);
    if (split.left == 0) return ERR_OK;
    if (!check(l->split)) return ERR_BUG; /* what is long has its turn in link_turn.c */
    *l->split = split;
    return ERR_OK;
}

/* As said by an actor, in its turn. */
static err put_or_drop(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    bool said; /* if not, OTP drops it, too */
    return put(cx, l, c, &said);
}

err mesh_out_kept(rt_ctx *cx, mesh_link *l, const dist_ctl *c, rt_blob *holds) {
    if (l->ended) return ERR_OK;
    err e = mesh_turn_waits(l, c) ? mesh_turn_keep(cx, l, c, holds) : put_or_drop(cx, l, c);
    if (l->ended) return e;
    if (e && e != ERR_UNSUPPORTED) return cannot(cx, l, e);
    mesh_link_flush(cx, l);
    return ERR_OK;
}

err mesh_out(rt_ctx *cx, mesh_link *l, const dist_ctl *c) { return mesh_out_kept(cx, l, c, NULL); }

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
    return put_or_drop(cx, l, &c);
}

/* A DOWN goes to who asked, by the reference and the name that it asked with. */
static err down(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s, slice reason) {
    mesh_watch *w = mesh_rels_watch_by_id(&l->rels, s->ref);
    if (!w) return ERR_OK; /* it was taken back meanwhile */
    dist_ctl c = {.signal = DIST_SIG_DOWN, .ref = w->ref, .reason = reason};
    c.ref.node = mesh_link_name(l);
    c.to = addr_of(peer_pid(l, s->to));
    c.from =
        w->name_len ? (dist_addr){.kind = DIST_ADDR_NAME, .name = slice_of(w->name, w->name_len)} : addr_of(mesh_etf_pid(l->m, s->from));
    err e = put_or_drop(cx, l, &c);
    mesh_rels_watch_drop(&l->rels, w);
    return e;
}

/* --- links ------------------------------------------------------------------------------------------------------------------------ */
static dist_ctl between(const mesh_link *l, const mesh_signal_msg *s, dist_signal what) {
    return (dist_ctl){.signal = what, .from = addr_of(mesh_etf_pid(l->m, s->from)), .to = addr_of(peer_pid(l, s->to))};
}

static bool has_room(rt_ctx *cx, const mesh_link *l, const mesh_signal_msg *s) {
    if (l->rels.ours < l->m->cfg.relations_max) return true;
    mesh_plug_refuse(cx, s, ERR_LIMIT);
    return false;
}

/* Said also if there is a link already: the peer may be about to end that. It knows which one is meant. */
static err out_link(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    dist_ctl c = between(l, s, DIST_SIG_LINK);
    bool said = true;
    mesh_tie *t = mesh_rels_tie(&l->rels, s->from, s->to);
    if (!t && !has_room(cx, l, s)) return ERR_OK;
    if (!t) t = mesh_rels_tie_add(&l->rels, s->from, s->to, true);
    t->unlink = 0;
    err e = put(cx, l, &c, &said);
    if (said) return e;
    mesh_rels_tie_drop(&l->rels, t);
    mesh_plug_refuse(cx, s, ERR_UNSUPPORTED);
    return e;
}

static err out_unlink(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    dist_ctl c = between(l, s, DIST_SIG_UNLINK);
    mesh_tie *t = mesh_rels_tie(&l->rels, s->from, s->to);
    if (!t || t->unlink) return ERR_OK; /* an exit was faster */
    if (l->flags & DIST_FLAG(UNLINK_ID))
        c.id = t->unlink = ++l->next_unlink;
    else
        mesh_rels_tie_drop(&l->rels, t);
    return put_or_drop(cx, l, &c);
}

/* The peer's unlink has arrived at the actor. */
static err out_unlinked(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    dist_ctl c = between(l, s, DIST_SIG_UNLINK_ACK);
    mesh_tie *t = mesh_rels_tie(&l->rels, s->from, s->to);
    if (check(l->unlinks > 0)) l->unlinks--;
    if (t && t->leaving == mesh_rels_leaving(s->ref)) mesh_rels_tie_drop(&l->rels, t); /* else it has linked again */
    c.id = s->ref;
    return c.id ? put_or_drop(cx, l, &c) : ERR_OK;
}

static err out_exit_link(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s, slice reason) {
    dist_ctl c = between(l, s, DIST_SIG_EXIT);
    mesh_tie *t = mesh_rels_tie(&l->rels, s->from, s->to);
    if (t) mesh_rels_tie_drop(&l->rels, t);
    c.reason = reason;
    return put_or_drop(cx, l, &c);
}

/* --- monitors --------------------------------------------------------------------------------------------------------------------- */
static dist_ctl about(const mesh_link *l, const mesh_aim *a, dist_signal what) {
    return (dist_ctl){.signal = what,
                      .from = addr_of(mesh_etf_pid(l->m, a->watcher)),
                      .to = a->name_len ? (dist_addr){.kind = DIST_ADDR_NAME, .name = slice_of(a->name, a->name_len)}
                                        : addr_of(peer_pid(l, a->watched)),
                      .ref = mesh_etf_ref(l->m, a->ref)};
}

/* A monitor of a process that the peer is to make for it. Its group leader is who asks. */
static dist_ctl asking(const mesh_link *l, const mesh_signal_msg *s) {
    uint32_t n = 0;
    etf_pid self = mesh_etf_pid(l->m, s->from);
    dist_ctl c = {.signal = DIST_SIG_SPAWN, .from = addr_of(self), .leader = self, .ref = mesh_etf_ref(l->m, s->ref)};
    etf_reader r = etf_reader_of(rt_blob_slice(s->spawn)), args;
    etf_item row = {.kind = ETF_NIL};
    bool fine = etf_get_tuple(&r, &n) && n == 3 && etf_get_atom(&r, &c.module) && etf_get_atom(&r, &c.function);
    args = r;
    fine = fine && etf_skip(&r, &c.payload) && etf_next(&args, &row);
    uint32_t arity = row.kind == ETF_LIST ? row.n : 0;
    (void)check(fine && (row.kind == ETF_LIST || row.kind == ETF_NIL) && arity <= UINT8_MAX);
    c.arity = (uint8_t)arity;
    c.options = SLICE("l\0\0\0\1w\7monitorj"); /* [monitor] */
    return c;
}

static err out_monitor(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    bool said = true;
    if (!has_room(cx, l, s)) return ERR_OK;
    mesh_aim *a = mesh_rels_aim_add(&l->rels, s->ref, s->from, s->to, rt_blob_slice(s->name));
    a->awaited = s->spawn != NULL;
    dist_ctl c = s->spawn ? asking(l, s) : about(l, a, DIST_SIG_MONITOR);
    err e = put(cx, l, &c, &said);
    if (said) return e;
    mesh_rels_aim_drop(&l->rels, a);
    mesh_plug_refuse(cx, s, ERR_UNSUPPORTED);
    return e;
}

err mesh_out_demonitor(rt_ctx *cx, mesh_link *l, mesh_aim *a) {
    dist_ctl c = about(l, a, DIST_SIG_DEMONITOR);
    err e = put_or_drop(cx, l, &c);
    mesh_rels_aim_drop(&l->rels, a);
    if (!e && !l->ended) mesh_link_flush(cx, l); /* the link says it itself, too, where nothing else would have it written */
    return e;
}

static err out_demonitor(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    mesh_aim *a = mesh_rels_aim(&l->rels, s->ref);
    if (!a) return ERR_OK; /* it has fired meanwhile */
    a->given_up = a->awaited;
    return a->awaited ? ERR_OK : mesh_out_demonitor(cx, l, a); /* whom it is about is not known yet */
}

/* --- all -------------------------------------------------------------------------------------------------------------------------- */
/* exit/2. To kill is an order, killed what becomes of it (OTP: erlang:exit/2). */
static err out_exit(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s, slice reason) {
    dist_ctl c = between(l, s, DIST_SIG_EXIT2);
    c.reason = s->reason == ERR_KILLED ? SLICE("w\x04kill") : reason;
    return put_or_drop(cx, l, &c);
}

err mesh_out_signal(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s) {
    buf b;
    err e = ERR_OK;
    buf_init(&b, UINT32_MAX);
    bool long_one = s->term && s->term->len > 1; /* maybe: it is not copied */
    if (!long_one) mesh_reason_out(s->reason, NULL, &b);
    slice reason = long_one ? slice_from(rt_blob_slice(s->term), 1) : buf_slice(&b);
    switch ((rt_signal)s->sig) {
    case RT_SIG_EXIT: e = out_exit(cx, l, s, reason); break;
    case RT_SIG_EXIT_LINK: e = out_exit_link(cx, l, s, reason); break;
    case RT_SIG_DOWN: e = down(cx, l, s, reason); break;
    case RT_SIG_LINK: e = out_link(cx, l, s); break;
    case RT_SIG_UNLINK: e = out_unlink(cx, l, s); break;
    case RT_SIG_UNLINKED: e = out_unlinked(cx, l, s); break;
    case RT_SIG_MONITOR: e = out_monitor(cx, l, s); break;
    case RT_SIG_DEMONITOR: e = out_demonitor(cx, l, s); break;
    }
    buf_fini(&b);
    return e;
}
