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

/* --- watches ---------------------------------------------------------------------------------------------------------------------- */
static uint64_t ref_hash(const etf_ref *r, const etf_pid *watcher) {
    uint64_t h = (uint64_t)watcher->id << 32 | watcher->serial;
    for (uint32_t i = 0; i < r->n; i++) h = hash_u64(h ^ r->word[i]);
    return h;
}

static bool is_ref(const mesh_watch *w, const etf_ref *r, const etf_pid *watcher) {
    return w->ref.n == r->n && w->ref.creation == r->creation && memcmp(w->ref.word, r->word, r->n * sizeof r->word[0]) == 0 &&
           w->watcher.id == watcher->id && w->watcher.serial == watcher->serial;
}

static mesh_watch *watch_by_ref(mesh_link *l, const etf_ref *r, const etf_pid *watcher) {
    for (hmap_node *n = hmap_find(&l->by_ref, ref_hash(r, watcher)); n; n = hmap_find_next(n)) {
        mesh_watch *w = container_of(n, mesh_watch, by_ref);
        if (is_ref(w, r, watcher)) return w;
    }
    return NULL;
}

mesh_watch *mesh_watch_by_id(mesh_link *l, uint64_t id) {
    for (hmap_node *n = hmap_find(&l->by_id, hash_u64(id)); n; n = hmap_find_next(n)) {
        mesh_watch *w = container_of(n, mesh_watch, by_id);
        if (w->id == id) return w;
    }
    return NULL;
}

void mesh_watch_forget(mesh_link *l, mesh_watch *w) {
    hmap_remove(&l->by_ref, &w->by_ref);
    hmap_remove(&l->by_id, &w->by_id);
    mem_free(w);
}

static rt_pid from_pid(const mesh_link *l, const etf_pid *p) { return (rt_pid){l->index, p->id, p->serial}; }

/* --- ties ------------------------------------------------------------------------------------------------------------------------- */
static uint64_t tie_hash(rt_pid here, rt_pid there) {
    return hash_u64(hash_u64((uint64_t)here.slot << 32 | here.gen) ^ ((uint64_t)there.slot << 32 | there.gen));
}

static mesh_tie *tie_find(mesh_link *l, rt_pid here, rt_pid there) {
    for (hmap_node *n = hmap_find(&l->ties, tie_hash(here, there)); n; n = hmap_find_next(n)) {
        mesh_tie *t = container_of(n, mesh_tie, node);
        if (rt_pid_eq(t->here, here) && rt_pid_eq(t->there, there)) return t;
    }
    return NULL;
}

static void tie_free(mesh_link *l, mesh_tie *t) {
    hmap_remove(&l->ties, &t->node);
    mem_free(t);
}

void mesh_tie_forget(mesh_link *l, rt_pid here, rt_pid there) {
    mesh_tie *t = tie_find(l, here, there);
    if (t) tie_free(l, t);
}

static void ties_end(rt_ctx *cx, mesh_link *l) {
    for (hmap_node *n = hmap_first(&l->ties), *next; n; n = next) {
        mesh_tie *t = container_of(n, mesh_tie, node);
        next = hmap_next(&l->ties, n);
        rt_remote_signal(cx, t->there, t->here, RT_SIG_EXIT_LINK, 0, ERR_NOCONN, NULL);
        tie_free(l, t);
    }
}

void mesh_watches_end(rt_ctx *cx, mesh_link *l) {
    ties_end(cx, l);
    for (hmap_node *n = hmap_first(&l->by_id), *next; n; n = next) {
        mesh_watch *w = container_of(n, mesh_watch, by_id);
        next = hmap_next(&l->by_id, n);
        rt_remote_signal(cx, from_pid(l, &w->watcher), w->watched, RT_SIG_DEMONITOR, w->id, ERR_OK, NULL);
        mesh_watch_forget(l, w);
    }
}

/* --- signals ---------------------------------------------------------------------------------------------------------------------- */
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

static err on_send(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    rt_pid to;
    etf_reader r = dist_message_reader(m, c->payload, text);
    rt_blob *term = mesh_term_blob(&r);
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

static err on_monitor(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    if (!is_present(l, &c->from) || watch_by_ref(l, &c->ref, &c->from.pid)) return ERR_OK;
    if (!target(cx, l, &c->to, &to)) return say_down(cx, l, &c->to, &c->from.pid, &c->ref, ERR_NOPROC, NULL);
    if (l->by_id.count + l->ties.count >= MESH_WATCHES_MAX) return mesh_link_end(cx, l, "it has a million monitors and links here");
    slice name = c->to.kind == DIST_ADDR_NAME ? c->to.name : SLICE_NULL;
    mesh_watch *w = mem_zalloc(sizeof *w + name.len);
    w->id = ++l->next_id;
    w->watcher = c->from.pid;
    w->ref = c->ref;
    w->watcher.node = w->ref.node = SLICE_NULL; /* slices of the message */
    w->watched = to;
    w->name_len = (uint32_t)name.len;
    if (name.len) memcpy(w->name, name.p, name.len);
    hmap_insert(&l->by_ref, &w->by_ref, ref_hash(&w->ref, &w->watcher));
    hmap_insert(&l->by_id, &w->by_id, hash_u64(w->id));
    rt_remote_signal(cx, from_pid(l, &w->watcher), to, RT_SIG_MONITOR, w->id, ERR_OK, NULL);
    return ERR_OK;
}

static err on_demonitor(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    mesh_watch *w = c->from.kind == DIST_ADDR_PID ? watch_by_ref(l, &c->ref, &c->from.pid) : NULL;
    if (!w) return ERR_OK; /* it has fired meanwhile */
    rt_remote_signal(cx, from_pid(l, &w->watcher), w->watched, RT_SIG_DEMONITOR, w->id, ERR_OK, NULL);
    mesh_watch_forget(l, w);
    return ERR_OK;
}

static err on_exit(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, rt_signal sig, arena *text) {
    rt_pid to, from = sender(l, &c->from);
    rt_blob *term = NULL;
    etf_reader r = dist_message_reader(m, c->reason, text);
    bool kill = sig == RT_SIG_EXIT && etf_get_atom_is(&r, SLICE("kill"));
    err reason = kill ? ERR_KILLED : mesh_reason_in(dist_message_reader(m, c->reason, text), &term);
    if (reason == ERR_FOREIGN && !term) return mesh_link_end(cx, l, "the reason of an exit is not a term");
    if (sig == RT_SIG_EXIT && reason == ERR_KILLED && !kill) reason = ERR_SHUTDOWN; /* exit(P, killed) can be trapped */
    /* A service does not end because a peer says so: without it nobody could reach the node. Of a link it hears, and traps it. */
    if (target(cx, l, &c->to, &to) && (sig == RT_SIG_EXIT_LINK || !mesh_service_is(cx, to))) {
        if (sig == RT_SIG_EXIT_LINK) mesh_tie_forget(l, to, from);
        rt_remote_signal(cx, from, to, sig, 0, reason, term);
    }
    rt_blob_unref(term);
    return ERR_OK;
}

static err on_unlink(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to;
    if (target(cx, l, &c->to, &to)) {
        mesh_tie_forget(l, to, sender(l, &c->from));
        rt_remote_signal(cx, sender(l, &c->from), to, RT_SIG_UNLINK, 0, ERR_OK, NULL);
    }
    if (c->id == 0) return ERR_OK; /* a peer that awaits no answer */
    dist_ctl ack = {.signal = DIST_SIG_UNLINK_ACK, .id = c->id, .from = c->to, .to = c->from};
    return mesh_out(cx, l, &ack);
}

static err on_link(rt_ctx *cx, mesh_link *l, const dist_ctl *c) {
    rt_pid to, from = sender(l, &c->from);
    if (!is_present(l, &c->from)) return ERR_OK;
    if (!target(cx, l, &c->to, &to)) {
        dist_ctl no = {.signal = DIST_SIG_EXIT, .from = c->to, .to = c->from, .reason = SLICE("w\x06noproc")};
        return mesh_out(cx, l, &no);
    }
    if (tie_find(l, to, from)) return ERR_OK;
    if (l->by_id.count + l->ties.count >= MESH_WATCHES_MAX) return mesh_link_end(cx, l, "it has a million monitors and links here");
    mesh_tie *t = mem_zalloc(sizeof *t);
    t->here = to;
    t->there = from;
    hmap_insert(&l->ties, &t->node, tie_hash(to, from));
    rt_remote_signal(cx, from, to, RT_SIG_LINK, 0, ERR_OK, NULL);
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
    case DIST_SIG_UNLINK_ACK:
    case DIST_SIG_DOWN:
    case DIST_SIG_SPAWN_REPLY:  /* answers to what this node does not ask yet */
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
        if (ev.kind != DIST_IN_MESSAGE) continue;
        bool was_full = l->full; /* what made it full may be long */
        size_t before = l->out.len;
        err e = on_message(cx, l, &ev.message);
        if (was_full) l->answers += l->out.len - before;
        if (l->answers > MESH_ANSWERS_MAX) return mesh_link_end(cx, l, "it asks and does not take the answers");
        if (e || l->ended) return e;
    }
}
