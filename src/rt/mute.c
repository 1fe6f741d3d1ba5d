/* mute: slowing a sender down, Pony's rule with an end to it: who sends to a full mailbox of policy MUTE handles no more messages, and its
 * sockets are not read, until that mailbox has halved, but RT_MUTE_MAX_USEC at most, so that two actors which mute each other go on.
 *
 *     receiver: MUTES(sender, when)  ---- MUTE ---->  sender: MUTED(receiver, until)      not run, ports masked at their next readiness
 *                                    <--- MUTE_GONE -- (the sender has ended)
 *     halved: MUTES removed          ---- UNMUTE -->  MUTED removed; the last one: scheduled, ports unmasked
 *
 * Timers and writable sockets of a muted actor still come: they let it time out and empty its own queues.
 *
 * rt_slow is the same without an end: when it ends is the receiver's to know. The ref of both relations is then NO_END.
 *
 * Invariants: (1) an actor is not run while stops is not 0, and stops counts its MUTED relations, beside the bit of rt_hold; (2) every
 * MUTED relation has an entry in shard.mutes that ends it, or its ref is NO_END; (3) shard.mutes is ordered by time. */
#include "base/mem.h"
#include "base/plant.h"
#include "rt/core.h"

#define NO_END UINT64_MAX

static bool can_be_muted(const rt_shard *sh, rt_pid sender, rt_pid by) {
    return rt_pid_ok(sender) && sender.node == 0 && rt_pid_shard(sender) < sh->node->n_shards && !rt_pid_eq(sender, by);
}

void rt_mute_sender(rt_shard *sh, rt_actor *receiver, rt_pid sender) {
    rt_pid self = rt_actor_pid(receiver);
    if (!can_be_muted(sh, sender, self)) return;
    rt_rel *r = rt_rel_find(sh, receiver->slot, RT_REL_MUTES, sender, 0);
    if (r && (r->ref == NO_END || sh->now < (usec)r->ref + RT_MUTE_MAX_USEC)) return; /* it has been told and its time is not over */
    if (!r) r = rt_rel_add(sh, receiver, RT_REL_MUTES, sender, 0);
    r->ref = (uint64_t)sh->now;
    receiver->flags |= RT_A_MUTING;
    rt_signal_send(sh, self, sender, RT_SIG_MUTE, 0, ERR_OK);
}

void rt_slow(rt_ctx *cx, rt_pid sender) {
    rt_shard *sh = cx->sh;
    rt_actor *self = cx->self;
    if (!check(self) || !can_be_muted(sh, sender, rt_actor_pid(self))) return;
    rt_rel *r = rt_rel_find(sh, self->slot, RT_REL_MUTES, sender, 0);
    if (r && r->ref == NO_END) return;
    if (!r) r = rt_rel_add(sh, self, RT_REL_MUTES, sender, 0);
    r->ref = NO_END;
    rt_signal_send(sh, rt_actor_pid(self), sender, RT_SIG_MUTE, NO_END, ERR_OK);
}

/* Those that are slowed, or those that are muted for a time. */
static void release(rt_shard *sh, rt_actor *receiver, bool slowed) {
    for (rt_rel *r = receiver->rels, *next; r; r = next) {
        next = r->next;
        if (r->kind != RT_REL_MUTES || (r->ref == NO_END) != slowed) continue;
        rt_pid sender = r->other;
        rt_rel_remove(sh, r);
        rt_signal_send(sh, rt_actor_pid(receiver), sender, RT_SIG_UNMUTE, 0, ERR_OK); /* may run a sender later, never now */
    }
}

void rt_mute_release(rt_shard *sh, rt_actor *receiver) {
    receiver->flags &= (uint16_t)~RT_A_MUTING;
    release(sh, receiver, false);
}

void rt_slow_end(rt_ctx *cx) {
    if (check(cx->self)) release(cx->sh, cx->self, true);
}

void rt_mute_begin(rt_shard *sh, rt_actor *a, rt_pid receiver, uint64_t how) {
    usec until = sh->now + RT_MUTE_MAX_USEC;
    if (a->cls->unmuted) return; /* the receiver's UNMUTE will find nothing */
    rt_rel *r = rt_rel_find(sh, a->slot, RT_REL_MUTED, receiver, 0);
    if (!r) {
        r = rt_rel_add(sh, a, RT_REL_MUTED, receiver, 0);
        a->stops++;
        rt_count(&sh->n_muted, 1);
        rt_event(&sh->cx, EV_MUTE, a->slot, receiver.slot, 0);
    }
    r->ref = how == NO_END ? NO_END : (uint64_t)until;
    if (how == NO_END) return;
    void *arr = sh->mutes;
    mem_grow(&arr, &sh->mutes_cap, sh->mutes_to + 1, sizeof *sh->mutes);
    sh->mutes = arr;
    sh->mutes[sh->mutes_to++] = (rt_mute_end){rt_actor_pid(a), receiver, until};
}

void rt_mute_end_one(rt_shard *sh, rt_actor *a, rt_rel *r) {
    rt_rel_remove(sh, r);
    if (rt_stops_mutes(--a->stops) > 0 || plant(MUTE_NEVER_ENDS)) return;
    if (a->flags & RT_A_MASKED) rt_port_unmask(sh, a);
    if (a->last) rt_actor_schedule(sh, a); /* not while it is held */
}

void rt_mute_expire(rt_shard *sh) {
    while (sh->mutes_from < sh->mutes_to && sh->mutes[sh->mutes_from].until <= sh->now) {
        rt_mute_end e = sh->mutes[sh->mutes_from++];
        rt_actor *a = rt_actor_find(sh, e.sender);
        rt_rel *r = a ? rt_rel_find(sh, a->slot, RT_REL_MUTED, e.receiver, 0) : NULL;
        if (r && (usec)r->ref == e.until) rt_mute_end_one(sh, a, r); /* else: muted anew since, and a later entry ends that */
    }
    if (sh->mutes_from == sh->mutes_to) {
        sh->mutes_from = sh->mutes_to = 0;
    } else if (sh->mutes_from > 1024 && sh->mutes_from > sh->mutes_to / 2) {
        memmove(sh->mutes, sh->mutes + sh->mutes_from, (sh->mutes_to - sh->mutes_from) * sizeof *sh->mutes);
        sh->mutes_to -= sh->mutes_from;
        sh->mutes_from = 0;
    }
}

usec rt_mute_next(const rt_shard *sh) { return sh->mutes_from < sh->mutes_to ? sh->mutes[sh->mutes_from].until : USEC_NEVER; }
