/* link_in: what the peer says, as signals and messages of the runtime (erl_dist_protocol, "Protocol between Connected Nodes").
 *
 * Who may be meant is decided in three steps: a pid or name of another node than the two is a forgery and ends the link (dist_ctl_forged);
 * one of an earlier life of this node is dropped; an actor whose class is not foreign is, for the peer, not there (the runtime). Monitors
 * are kept here by the peer's reference, because the runtime counts its own.
 *
 * Invariants: (1) everything from the peer is done on this shard, in the order in which it came, so pairs keep their order. (2) A spawn
 * request is always answered, before anything else about it (OTP ends the connection else). */
#include "base/mem.h"
#include "mesh/link.h"

/* --- signals ---------------------------------------------------------------------------------------------------------------------- */
static rt_pid from_pid(const mesh_link *l, const etf_pid *p) { return (rt_pid){l->index, p->id, p->serial}; }

/* An actor of this node that is meant; false: there is none, and never will be. */
static bool target(rt_ctx *cx, const mesh_link *l, const dist_addr *to, rt_pid *out) {
    if (to->kind == DIST_ADDR_PID) return mesh_own_pid(l->m, &to->pid, out);
    if (to->kind != DIST_ADDR_NAME) return false;
    *out = rt_name_find_slice(cx, to->name);
    return rt_pid_ok(*out);
}

/* Of the life of the peer that is connected: to one of an earlier life nothing could be told. */
static bool is_present(const mesh_link *l, const dist_addr *from) {
    return from->kind == DIST_ADDR_PID && from->pid.creation == l->creation;
}

/* Who sent it. One of an earlier life of the peer, or none: somebody there. */
static rt_pid sender(const mesh_link *l, const dist_addr *from) {
    if (is_present(l, from)) return from_pid(l, &from->pid);
    return (rt_pid){l->index, 0, 0};
}

/* A long one was made ready while it came. */
static rt_blob *term_of(mesh_link *l, const dist_message *m, slice term, arena *text) {
    uint8_t *mem;
    size_t len;
    if (m->payload.p && dist_in_take_payload(&l->in, &mem, &len)) return rt_blob_of(mem, len - sizeof(rt_blob));
    etf_reader r = dist_message_reader(m, term, text);
    return mesh_term_blob(&r);
}

static err on_send(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    rt_pid to;
    rt_blob *term = term_of(l, m, c->payload, text);
    if (!term) return mesh_link_end(cx, l, "a message is not a term");
    if (target(cx, l, &c->to, &to)) {
        rt_msg *out = rt_msg_new(cx, MESH_TERM, sizeof(mesh_term));
        mesh_term_of(out)->term = rt_blob_ref(term);
        rt_remote_send(cx, sender(l, &c->from), to, &out);
    }
    rt_blob_unref(term);
    return ERR_OK;
}

static err say_down(rt_ctx *cx, mesh_link *l, const dist_addr *what, const etf_pid *watcher, const etf_ref *ref, err reason,
                    rt_blob *term) {
    buf b;
    buf_init(&b, UINT32_MAX);
    mesh_reason_out(reason, term, &b);
    dist_ctl d = {
        .signal = DIST_SIG_DOWN, .from = *what, .to = {.kind = DIST_ADDR_PID, .pid = *watcher}, .ref = *ref, .reason = buf_slice(&b)};
    err e = mesh_out(cx, l, &d);
    buf_fini(&b);
    return e;
}

/* --- monitors --------------------------------------------------------------------------------------------------------------------- */
static err too_many(rt_ctx *cx, mesh_link *l) { return mesh_link_end(cx, l, "it has too many links and monitors here"); }

static err on_monitor(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    if (!is_present(l, &c->from) || mesh_rels_watch(&l->rels, &c->ref, &c->from.pid)) return ERR_OK;
    if (!target(cx, l, &c->to, &to)) return say_down(cx, l, &c->to, &c->from.pid, &c->ref, ERR_NOPROC, NULL);
    if (l->rels.theirs >= l->m->cfg.relations_max) return too_many(cx, l);
    slice name = c->to.kind == DIST_ADDR_NAME ? c->to.name : SLICE_NULL;
    uint64_t id = atomic_fetch_add_explicit(&l->m->next_watch, 1, memory_order_relaxed) + 1; /* only unique */
    (void)mesh_rels_watch_add(&l->rels, id, &c->ref, &c->from.pid, to, name);                /* found by its references later */
    rt_remote_signal(cx, from_pid(l, &c->from.pid), to, RT_SIG_MONITOR, id, ERR_OK, NULL);
    return ERR_OK;
}

static err on_demonitor(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    mesh_watch *w = c->from.kind == DIST_ADDR_PID ? mesh_rels_watch(&l->rels, &c->ref, &c->from.pid) : NULL;
    if (!w) return ERR_OK; /* it has fired meanwhile */
    rt_remote_signal(cx, from_pid(l, &w->watcher), w->watched, RT_SIG_DEMONITOR, w->id, ERR_OK, NULL);
    mesh_rels_watch_drop(&l->rels, w);
    return ERR_OK;
}

static bool is_watched(const mesh_link *l, const mesh_aim *a, const dist_addr *what) {
    if (a->name_len) return what->kind == DIST_ADDR_NAME && slice_eq(what->name, slice_of(a->name, a->name_len));
    return is_present(l, what) && rt_pid_eq(from_pid(l, &what->pid), a->watched);
}

/* Of a monitor that this link has sent out, to who asked for it, about what it asked for; all else is of an earlier life, or made up. */
static err on_down(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    uint64_t ref;
    rt_pid to;
    rt_blob *term = NULL;
    mesh_aim *a = mesh_own_ref(l->m, &c->ref, &ref) ? mesh_rels_aim(&l->rels, ref) : NULL;
    if (!a || !is_watched(l, a, &c->from) || !target(cx, l, &c->to, &to) || !rt_pid_eq(to, a->watcher)) return ERR_OK;
    err reason = mesh_reason_in(dist_message_reader(m, c->reason, text), &term);
    if (reason == ERR_FOREIGN && !term) return mesh_link_end(cx, l, "the reason of a DOWN is not a term");
    rt_remote_signal(cx, a->watched, a->watcher, RT_SIG_DOWN, ref, reason, term);
    rt_blob_unref(term);
    mesh_rels_aim_drop(&l->rels, a);
    return ERR_OK;
}

/* What has become of a process that an actor here wanted made there: its pid, or an atom that says why there is none. */
static err on_spawn_reply(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    uint64_t ref;
    mesh_aim *a = mesh_own_ref(l->m, &c->ref, &ref) ? mesh_rels_aim(&l->rels, ref) : NULL;
    if (!a || !a->awaited) return ERR_OK;
    if (c->from.kind == DIST_ADDR_PID && c->flags & DIST_SPAWN_MONITOR) {
        a->watched = from_pid(l, &c->from.pid);
        a->awaited = false;
        return a->given_up ? mesh_out_demonitor(cx, l, a) : ERR_OK;
    }
    buf b;
    buf_init(&b, 2 * ETF_ATOM_BYTES);
    etf_put_version(&b);
    etf_put_atom(&b, c->from.kind == DIST_ADDR_NAME ? c->from.name : SLICE("badopt")); /* or it has made one that is not watched */
    rt_blob *why = rt_blob_new(buf_slice(&b));
    rt_remote_signal(cx, a->watched, a->watcher, RT_SIG_DOWN, ref, ERR_FOREIGN, why);
    rt_blob_unref(why);
    buf_fini(&b);
    mesh_rels_aim_drop(&l->rels, a);
    return ERR_OK;
}

/* --- links and exits -------------------------------------------------------------------------------------------------------------- */
/* The link between those two, if the peer can mean it. */
static mesh_tie *tie_of(const mesh_link *l, rt_pid here, const dist_addr *there) {
    return is_present(l, there) ? mesh_rels_tie(&l->rels, here, from_pid(l, &there->pid)) : NULL;
}

static err on_link(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    if (!is_present(l, &c->from)) return ERR_OK;
    if (!target(cx, l, &c->to, &to)) {
        dist_ctl no = {.signal = DIST_SIG_EXIT, .from = c->to, .to = c->from, .reason = SLICE("w\x06noproc")};
        return mesh_out(cx, l, &no);
    }
    mesh_tie *t = tie_of(l, to, &c->from);
    if (t && (t->unlink || !t->leaving)) return ERR_OK; /* it is about the one that ends; or there is one */
    if (!t && l->rels.theirs >= l->m->cfg.relations_max) return too_many(cx, l);
    if (!t) t = mesh_rels_tie_add(&l->rels, to, from_pid(l, &c->from.pid), false);
    t->leaving = 0;
    rt_remote_signal(cx, t->there, to, RT_SIG_LINK, 0, ERR_OK, NULL);
    return ERR_OK;
}

/* Acknowledged by the actor, if it goes there, so that what that has said before it knew comes before the acknowledgement. */
static err on_unlink(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    mesh_tie *t = target(cx, l, &c->to, &to) ? tie_of(l, to, &c->from) : NULL;
    if (t && !t->unlink) {
        if (l->unlinks >= l->m->cfg.relations_max) return mesh_link_end(cx, l, "it ends too many links at once");
        l->unlinks++;
        t->leaving = mesh_rels_leaving(c->id);
        rt_remote_signal(cx, t->there, to, RT_SIG_UNLINK, c->id, ERR_OK, NULL);
        return ERR_OK;
    }
    if (c->id == 0) return ERR_OK; /* a peer that awaits no answer */
    dist_ctl ack = {.signal = DIST_SIG_UNLINK_ACK, .id = c->id, .from = c->to, .to = c->from};
    return mesh_out(cx, l, &ack);
}

static err on_unlink_ack(mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    mesh_tie *t = mesh_own_pid(l->m, &c->to.pid, &to) ? tie_of(l, to, &c->from) : NULL;
    if (t && t->unlink && t->unlink == c->id) mesh_rels_tie_drop(&l->rels, t);
    return ERR_OK;
}

/* The end of a link acts if there is one, and ends it. */
static bool ends_link(mesh_link *l, rt_pid to, const dist_addr *from) {
    mesh_tie *t = tie_of(l, to, from);
    bool acts = t && !t->unlink;
    if (t) mesh_rels_tie_drop(&l->rels, t);
    return acts;
}

static err on_exit(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, rt_signal sig, arena *text) {
    rt_pid to;
    rt_blob *term = NULL;
    etf_reader r = dist_message_reader(m, c->reason, text);
    bool kill = sig == RT_SIG_EXIT && etf_get_atom_is(&r, SLICE("kill"));
    err reason = kill ? ERR_KILLED : mesh_reason_in(dist_message_reader(m, c->reason, text), &term);
    if (reason == ERR_FOREIGN && !term) return mesh_link_end(cx, l, "the reason of an exit is not a term");
    if (sig == RT_SIG_EXIT && reason == ERR_KILLED && !kill) reason = ERR_SHUTDOWN; /* exit(P, killed) can be trapped */
    /* A service does not end because a peer says so: without it nobody could reach the node. Of a link it hears, and traps it. */
    if (target(cx, l, &c->to, &to) && (sig == RT_SIG_EXIT_LINK ? ends_link(l, to, &c->from) : !mesh_service_is(cx, to)))
        rt_remote_signal(cx, sender(l, &c->from), to, sig, 0, reason, term);
    rt_blob_unref(term);
    return ERR_OK;
}

static err act(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    switch (c->signal) {
    case DIST_SIG_SEND: return on_send(cx, l, m, c, text);
    case DIST_SIG_LINK: return on_link(cx, l, c);
    case DIST_SIG_UNLINK: return on_unlink(cx, l, c);
    case DIST_SIG_EXIT: return on_exit(cx, l, m, c, RT_SIG_EXIT_LINK, text);
    case DIST_SIG_EXIT2: return on_exit(cx, l, m, c, RT_SIG_EXIT, text);
    case DIST_SIG_MONITOR: return on_monitor(cx, l, c);
    case DIST_SIG_DEMONITOR: return on_demonitor(cx, l, c);
    case DIST_SIG_SPAWN: return mesh_rpc_spawn(cx, l, m, c, text);
    case DIST_SIG_UNLINK_ACK: return on_unlink_ack(l, c);
    case DIST_SIG_DOWN: return on_down(cx, l, m, c, text);
    case DIST_SIG_SPAWN_REPLY: return on_spawn_reply(cx, l, c);
    case DIST_SIG_GROUP_LEADER: /* actors have none */
    case DIST_SIG_NODE_LINK: return ERR_OK;
    }
    return ERR_OK;
}

static err on_message(rt_ctx *cx, mesh_link *l, const dist_message *m) {
    arena text;
    arena_init(&text, 64 * 1024);
    dist_ctl c;
    const char *why = NULL;
    if (dist_ctl_read(m, &text, &c, &why) == ERR_OK) why = dist_ctl_forged(&c, l->m->cfg.name, mesh_link_name(l));
    err e = why ? mesh_link_end(cx, l, why) : act(cx, l, m, &c, &text);
    arena_fini(&text);
    return e;
}

err mesh_in_feed(rt_ctx *cx, mesh_link *l, slice bytes) {
    dist_refs refs;
    for (;;) {
        dist_in_event ev;
        size_t used;
        dist_in_next(&l->in, bytes, &refs, &used, &ev);
        bytes = slice_from(bytes, used);
        if (ev.kind == DIST_IN_NONE) return ERR_OK;
        if (ev.kind == DIST_IN_BAD) return mesh_link_end(cx, l, ev.why);
        l->n.in_ticks += ev.kind == DIST_IN_TICK;
        if (ev.kind != DIST_IN_MESSAGE) continue;
        l->n.in_messages++;
        bool was_full = mesh_link_waiting(l).len > l->m->cfg.link_bytes; /* what made it full may be long */
        size_t before = l->out.len;
        err e = on_message(cx, l, &ev.message);
        if (was_full) l->answers += l->out.len - before;
        if (l->answers > MESH_ANSWERS_MAX) return mesh_link_end(cx, l, "it asks and does not take the answers");
        if (e || l->ended) return e;
    }
}
