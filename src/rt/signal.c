/* signal: links, monitors, exits: relations between actors and the signals that make, break and fire them.
 *
 *     watcher                                   watched
 *     MONITORS(ref) ---- RT_SIG_MONITOR ---->   WATCHED(ref)          a dead one answers DOWN(NOPROC) at once
 *     MONITORS removed, RT_DOWN message  <----- RT_SIG_DOWN           when it ends
 *
 * Between actors of one shard a signal acts at once; to another shard it travels in the ring as a message with the bit RT_M_SIGNAL, in
 * order with the messages of the same pair. Ending is never done inside the signal: the actor is marked, and ends when the present callback
 * is over (actor.c), so that no callback runs inside another and chains of links need no stack.
 *
 * Invariants: (1) DOWN becomes a message only if MONITORS(ref) is there and removes it: exactly once, whatever crosses on the way; (2) an
 * exit of a linked actor acts only if the link is there, and removes it; (3) each end of a relation is removed when its owner ends, and the
 * other end is told; (4) a relation is found by hash, never by walking: an actor may have a million. */
#include "base/mem.h"
#include "base/plant.h"
#include "rt/core.h"

/* --- relations ------------------------------------------------------------------------------------------------------------------- */
static uint64_t rel_hash(uint32_t owner, rt_rel_kind kind, rt_pid other, uint64_t ref) {
    bool by_ref = kind == RT_REL_MONITORS || kind == RT_REL_WATCHED;
    uint64_t key = by_ref ? ref : (uint64_t)other.slot << 32 ^ (uint64_t)other.gen << 8 ^ other.node;
    return hash_u64(key ^ hash_u64((uint64_t)owner << 8 | (uint64_t)kind));
}

static bool rel_is(const rt_rel *r, uint32_t owner, rt_rel_kind kind, rt_pid other, uint64_t ref) {
    if (r->owner != owner || r->kind != (uint32_t)kind) return false;
    if (kind == RT_REL_MONITORS) return r->ref == ref; /* the target's pid is not needed: refs are the shard's own */
    return rt_pid_eq(r->other, other) && (kind != RT_REL_WATCHED || r->ref == ref);
}

rt_rel *rt_rel_find(rt_shard *sh, uint32_t owner, rt_rel_kind kind, rt_pid other, uint64_t ref) {
    for (hmap_node *n = hmap_find(&sh->rels, rel_hash(owner, kind, other, ref)); n; n = hmap_find_next(n)) {
        rt_rel *r = container_of(n, rt_rel, node);
        if (rel_is(r, owner, kind, other, ref)) return r;
    }
    return NULL;
}

rt_rel *rt_rel_add(rt_shard *sh, rt_actor *a, rt_rel_kind kind, rt_pid other, uint64_t ref) {
    rt_rel *r = rt_slab_alloc(&sh->slab, rt_slab_class(sizeof *r));
    r->owner = a->slot;
    r->kind = (uint32_t)kind;
    r->other = other;
    r->ref = ref;
    r->count = (a->rels ? a->rels->count : 0) + 1;
    r->next = a->rels;
    r->pprev = &a->rels;
    if (r->next) r->next->pprev = &r->next;
    a->rels = r;
    hmap_insert(&sh->rels, &r->node, rel_hash(a->slot, kind, other, ref));
    return r;
}

void rt_rel_remove(rt_shard *sh, rt_rel *r) {
    rt_actor *a = rt_actor_at(sh, r->owner); /* it has its slot until its last relation is gone */
    uint32_t left = a->rels->count - 1;
    *r->pprev = r->next;
    if (r->next) r->next->pprev = r->pprev;
    if (a->rels) a->rels->count = left;
    hmap_remove(&sh->rels, &r->node);
    rt_slab_free(&sh->slab, rt_slab_class(sizeof *r), r);
}

/* --- acting on a signal ---------------------------------------------------------------------------------------------------------- */
static void exit_message(rt_shard *sh, rt_actor *a, rt_pid from, const rt_signal_body *b) {
    rt_msg *m = rt_msg_new(&sh->cx, RT_EXIT, sizeof(rt_exit_msg));
    *rt_exit_msg_of(m) = (rt_exit_msg){from, b->reason, rt_blob_ref(b->term)};
    m->sender = from;
    rt_mailbox_append(sh, a, m);
}

static void on_exit_signal(rt_shard *sh, rt_actor *a, rt_pid from, const rt_signal_body *b) {
    if (b->reason == ERR_KILLED)
        rt_actor_end(sh, a, b->reason); /* cannot be trapped */
    else if (a->flags & RT_A_TRAP)
        exit_message(sh, a, from, b);
    else if (b->reason != ERR_OK)
        rt_actor_end_term(sh, a, b->reason, b->term);
}

static void on_exit_link(rt_shard *sh, rt_actor *a, rt_pid from, const rt_signal_body *b) {
    rt_rel *r = rt_rel_find(sh, a->slot, RT_REL_LINK, from, 0);
    if (!r) return; /* unlinked meanwhile */
    rt_rel_remove(sh, r);
    if (a->flags & RT_A_TRAP)
        exit_message(sh, a, from, b);
    else if (b->reason != ERR_OK)
        rt_actor_end_term(sh, a, b->reason, b->term);
}

static void on_down(rt_shard *sh, rt_actor *a, rt_pid from, const rt_signal_body *b) {
    rt_rel *r = rt_rel_find(sh, a->slot, RT_REL_MONITORS, from, b->ref);
    if (!r) return; /* demonitored meanwhile */
    rt_pid who = r->other;
    rt_rel_remove(sh, r);
    rt_msg *m = rt_msg_new(&sh->cx, RT_DOWN, sizeof(rt_down));
    *rt_down_of(m) = (rt_down){b->ref, who, b->reason, rt_blob_ref(b->term)};
    m->sender = who;
    rt_mailbox_append(sh, a, m);
}

static void remove_if(rt_shard *sh, rt_actor *a, rt_rel_kind kind, rt_pid other, uint64_t ref) {
    rt_rel *r = rt_rel_find(sh, a->slot, kind, other, ref);
    if (r) rt_rel_remove(sh, r);
}

static void on_unmute(rt_shard *sh, rt_actor *a, rt_pid from) {
    rt_rel *r = rt_rel_find(sh, a->slot, RT_REL_MUTED, from, 0);
    if (r) rt_mute_end_one(sh, a, r);
}

/* A node that links to processes of others has to know when an unlink has arrived: until then a link from there is an older one. */
static void tell_unlinked(rt_shard *sh, rt_pid from, rt_pid to, uint64_t ref) {
    if (from.node != 0) rt_signal_send(sh, to, from, RT_SIG_UNLINKED, ref, ERR_OK);
}

static void act_on_dead(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, uint64_t ref) {
    if (sig == RT_SIG_LINK)
        rt_signal_send(sh, to, from, RT_SIG_EXIT_LINK, 0, ERR_NOPROC);
    else if (sig == RT_SIG_UNLINK)
        tell_unlinked(sh, from, to, ref);
    else if (sig == RT_SIG_MONITOR)
        rt_signal_send(sh, to, from, RT_SIG_DOWN, ref, ERR_NOPROC);
    else if (sig == RT_SIG_MUTE)
        rt_signal_send(sh, to, from, RT_SIG_MUTE_GONE, 0, ERR_OK);
    else if (sig == RT_SIG_TABLE)
        rt_tables_owner_end(sh, to, true, ERR_NOPROC); /* it was its owner already */
}

static void act(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, const rt_signal_body *b) {
    uint64_t ref = b->ref;
    rt_count(&sh->sig_dequeued, 1);
    bool asks = sig == RT_SIG_LINK || sig == RT_SIG_MONITOR || sig == RT_SIG_EXIT; /* the others answer what is there */
    rt_actor *a = asks ? rt_actor_find_for(sh, to, from) : rt_actor_find(sh, to);
    if (!a) {
        act_on_dead(sh, from, to, sig, ref);
        return;
    }
    a->signals++;
    switch (sig) {
    case RT_SIG_LINK:
        if (!plant(LINK_ONE_WAY) && !rt_rel_find(sh, a->slot, RT_REL_LINK, from, 0))
            (void)rt_rel_add(sh, a, RT_REL_LINK, from, 0); /* found by its key later */
        break;
    case RT_SIG_UNLINK:
        remove_if(sh, a, RT_REL_LINK, from, 0);
        tell_unlinked(sh, from, to, ref);
        break;
    case RT_SIG_MONITOR: (void)rt_rel_add(sh, a, RT_REL_WATCHED, from, ref); break; /* found by its key later */
    case RT_SIG_DEMONITOR: remove_if(sh, a, RT_REL_WATCHED, from, ref); break;
    case RT_SIG_EXIT: on_exit_signal(sh, a, from, b); break;
    case RT_SIG_EXIT_LINK: on_exit_link(sh, a, from, b); break;
    case RT_SIG_DOWN: on_down(sh, a, from, b); break;
    case RT_SIG_MUTE: rt_mute_begin(sh, a, from, ref); break;
    case RT_SIG_UNMUTE: on_unmute(sh, a, from); break;
    case RT_SIG_MUTE_GONE: remove_if(sh, a, RT_REL_MUTES, from, 0); break;
    case RT_SIG_TABLE: rt_tables_arrive(sh, a, from, ref, b->reason); break;
    default: (void)check(sig <= RT_SIG_TABLE); break; /* sig is not an enum: it came in a tag */
    }
}

/* --- sending and receiving ------------------------------------------------------------------------------------------------------- */
static void send_remote(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, const rt_signal_body *b) {
    rt_remote *r = sh->node->remote;
    if (sig > RT_SIG_UNLINKED) return; /* mutes and tables are the node's own */
    if (r)
        r->signal(r, &sh->cx, from, to, (rt_signal)sig, b->ref, b->reason, b->term);
    else if (sig == RT_SIG_LINK)
        rt_signal_send(sh, to, from, RT_SIG_EXIT_LINK, 0, ERR_NOCONN);
    else if (sig == RT_SIG_MONITOR)
        rt_signal_send(sh, to, from, RT_SIG_DOWN, b->ref, ERR_NOCONN);
}

static void post(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, const rt_signal_body *b) {
    if (!rt_pid_ok(to)) return;
    if (to.node != 0) {
        send_remote(sh, from, to, sig, b);
        return;
    }
    unsigned shard = rt_pid_shard(to);
    if (shard == RT_SHARD_EXTERNAL) {
        if (sig == RT_SIG_DOWN) rt_calls_down(sh->node, to, b->reason);
        return;
    }
    rt_count(&sh->sig_enqueued, 1);
    if (shard == sh->id) {
        act(sh, from, to, sig, b);
        return;
    }
    if (shard >= sh->node->n_shards) { /* a pid that never was: acts as a dead one */
        rt_count(&sh->sig_dequeued, 1);
        act_on_dead(sh, from, to, sig, b->ref);
        return;
    }
    rt_msg *m = rt_msg_new(&sh->cx, (uint16_t)(RT_M_SIGNAL | sig), sizeof(rt_signal_body));
    m->sender = from;
    *(rt_signal_body *)rt_msg_payload(m) = (rt_signal_body){b->ref, rt_blob_ref(b->term), b->reason};
    rt_out_push(sh, shard, (rt_entry){m, to.slot, to.gen});
}

void rt_signal_send(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, uint64_t ref, err reason) {
    rt_signal_body b = {ref, NULL, reason};
    post(sh, from, to, sig, &b);
}

void rt_remote_signal(rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term) {
    rt_signal_body b = {ref, term, reason};
    if (!check(from.node != 0 && to.node == 0)) return;
    if (rt_pid_shard(to) == RT_SHARD_EXTERNAL)
        act_on_dead(cx->sh, from, to, sig, ref); /* a caller outside is not there for other nodes */
    else
        post(cx->sh, from, to, sig, &b);
}

void rt_signal_arrive(rt_shard *sh, rt_pid to, rt_msg *m) {
    const rt_signal_body *b = rt_msg_payload(m);
    act(sh, m->sender, to, m->tag & ~RT_M_SIGNAL, b);
    rt_blob_unref(b->term);
    rt_msg_free_block(sh, m);
}

void rt_signal_end(rt_shard *sh, rt_actor *a, err reason, rt_blob *term) {
    rt_pid self = rt_actor_pid(a);
    rt_signal_body b = {0, term, reason};
    while (a->rels) {
        rt_rel r = *a->rels;
        rt_rel_remove(sh, a->rels);
        switch ((rt_rel_kind)r.kind) {
        case RT_REL_LINK: post(sh, self, r.other, RT_SIG_EXIT_LINK, &b); break;
        case RT_REL_MONITORS: rt_signal_send(sh, self, r.other, RT_SIG_DEMONITOR, r.ref, ERR_OK); break;
        case RT_REL_WATCHED:
            b.ref = r.ref;
            if (!plant(DOWN_FORGOTTEN) || reason != ERR_KILLED) post(sh, self, r.other, RT_SIG_DOWN, &b);
            break;
        case RT_REL_MUTES: rt_signal_send(sh, self, r.other, RT_SIG_UNMUTE, 0, ERR_OK); break;
        case RT_REL_MUTED: rt_signal_send(sh, self, r.other, RT_SIG_MUTE_GONE, 0, ERR_OK); break;
        }
    }
}

/* --- what actors call ------------------------------------------------------------------------------------------------------------ */
void rt_exit(rt_ctx *cx, rt_pid to, err reason) { rt_signal_send(cx->sh, rt_self(cx), to, RT_SIG_EXIT, 0, reason); }

void rt_exit_term(rt_ctx *cx, rt_pid to, rt_blob *term) {
    rt_signal_body b = {0, term, ERR_FOREIGN};
    if (check(term)) post(cx->sh, rt_self(cx), to, RT_SIG_EXIT, &b);
}

void rt_trap_exit(rt_ctx *cx, bool on) {
    if (!check(cx->self)) return;
    if (on)
        cx->self->flags |= RT_A_TRAP;
    else
        cx->self->flags &= (uint16_t)~RT_A_TRAP;
}

void rt_link(rt_ctx *cx, rt_pid to) {
    rt_actor *a = cx->self;
    if (!check(a) || rt_pid_eq(to, rt_actor_pid(a)) || rt_rel_find(cx->sh, a->slot, RT_REL_LINK, to, 0)) return;
    (void)rt_rel_add(cx->sh, a, RT_REL_LINK, to, 0); /* found by its key later */
    rt_signal_send(cx->sh, rt_actor_pid(a), to, RT_SIG_LINK, 0, ERR_OK);
}

void rt_unlink(rt_ctx *cx, rt_pid to) {
    rt_actor *a = cx->self;
    if (!check(a)) return;
    rt_rel *r = rt_rel_find(cx->sh, a->slot, RT_REL_LINK, to, 0);
    if (!r) return;
    rt_rel_remove(cx->sh, r);
    rt_signal_send(cx->sh, rt_actor_pid(a), to, RT_SIG_UNLINK, 0, ERR_OK);
}

static uint64_t watch(rt_shard *sh, rt_actor *a, rt_pid what) {
    uint64_t ref = ++sh->next_ref << 8 | sh->id;         /* unique in the node */
    (void)rt_rel_add(sh, a, RT_REL_MONITORS, what, ref); /* found by its key later */
    return ref;
}

uint64_t rt_remote_monitor(rt_ctx *cx, rt_pid what) { return check(cx->self && what.node != 0) ? watch(cx->sh, cx->self, what) : 0; }

uint64_t rt_monitor(rt_ctx *cx, rt_pid to) {
    rt_actor *a = cx->self;
    if (!check(a)) return 0;
    uint64_t ref = watch(cx->sh, a, to);
    if (rt_pid_ok(to))
        rt_signal_send(cx->sh, rt_actor_pid(a), to, RT_SIG_MONITOR, ref, ERR_OK);
    else
        on_down(cx->sh, a, to, &(rt_signal_body){ref, NULL, ERR_NOPROC});
    return ref;
}

void rt_demonitor(rt_ctx *cx, uint64_t ref) {
    rt_actor *a = cx->self;
    if (!check(a)) return;
    rt_rel *r = rt_rel_find(cx->sh, a->slot, RT_REL_MONITORS, RT_PID_NONE, ref);
    if (r) {
        rt_pid to = r->other;
        rt_rel_remove(cx->sh, r);
        rt_signal_send(cx->sh, rt_actor_pid(a), to, RT_SIG_DEMONITOR, ref, ERR_OK);
    } else {
        if (!plant(DEMONITOR_LEAVES_DOWN)) (void)rt_mailbox_remove_down(cx->sh, a, ref); /* it may have been handled already */
    }
}
