/* ctx: what an actor can ask of the place where it runs: who, where, when, and the sends. All O(1) and without locks, except a send to
 * a caller outside the shards (call.c), which waits on a condition of its own. */
#include "base/mem.h"
#include "rt/core.h"
#include "rt/event_often.h"
#include "rt/remote.h"

rt_pid rt_self(const rt_ctx *cx) { return cx->self ? rt_actor_pid(cx->self) : RT_PID_NONE; }
rt_node *rt_ctx_node(const rt_ctx *cx) { return cx->sh->node; }
const rt_class *rt_ctx_class(const rt_ctx *cx) { return cx->self ? cx->self->cls : NULL; }
void *rt_ctx_state(const rt_ctx *cx) { return cx->self ? rt_actor_state(cx->self) : NULL; }
unsigned rt_ctx_shard(const rt_ctx *cx) { return cx->sh->id; }
usec rt_now(const rt_ctx *cx) { return cx->sh->now; }
usec rt_wall(rt_ctx *cx) { return cx->sh->s->wall(cx->sh->s); }
uint32_t rt_now_msec(const rt_ctx *cx) { return cx->sh->now_msec; }
sys *rt_ctx_sys(const rt_ctx *cx) { return cx->sh->s; }
uint64_t rt_random(rt_ctx *cx) { return prng_next(&cx->sh->prng); }
void rt_entropy(rt_ctx *cx, void *out, size_t len) { cx->sh->s->entropy(cx->sh->s, out, len); }

uint8_t *rt_scratch(rt_ctx *cx) {
    if (UNLIKELY(!cx->sh->scratch)) cx->sh->scratch = mem_alloc(RT_SCRATCH);
    return cx->sh->scratch;
}

static void send_elsewhere(rt_shard *sh, rt_pid to, rt_msg *m, bool front) {
    rt_remote *r = sh->node->remote;
    unsigned shard = rt_pid_shard(to);
    if (to.node != 0 && r) {
        r->send(r, &sh->cx, to, &m);
    } else if (to.node == 0 && shard < sh->node->n_shards) {
        if (front) m->tag |= RT_M_FRONT;
        rt_out_push(sh, shard, (rt_entry){m, to.slot, to.gen});
    } else if (to.node == 0 && shard == RT_SHARD_EXTERNAL) {
        rt_calls_reply(sh->node, to, m);
    } else {
        rt_event(&sh->cx, EV_NOPROC, to.slot, m->tag, 0);
        rt_msg_release(sh, m);
    }
}

static ALWAYS_INLINE void send(rt_ctx *cx, rt_pid to, rt_msg **mp, bool front) {
    rt_shard *sh = cx->sh;
    rt_msg *m = *mp;
    *mp = NULL;
    if (UNLIKELY(!check(m))) return;
    m->tag = RT_TAG(m); /* a refused message may be sent again */
    m->sender = cx->self ? rt_actor_pid(cx->self) : RT_PID_NONE;
    if (UNLIKELY(m->trace | cx->trace)) rt_trace_send(cx, to, m);
    rt_event_often(cx, EV_SEND, to.slot, m->tag, 0);
    if (LIKELY(to.node == 0 && rt_pid_shard(to) == sh->id))
        rt_mailbox_arrive(sh, to, m, front);
    else
        send_elsewhere(sh, to, m, front);
}

void rt_remote_send(rt_ctx *cx, rt_pid from, rt_pid to, rt_msg **mp) {
    rt_shard *sh = cx->sh;
    rt_msg *m = *mp;
    *mp = NULL;
    if (UNLIKELY(!check(m && from.node != 0 && to.node == 0))) return;
    m->tag = RT_TAG(m);
    m->sender = from;
    rt_event_often(cx, EV_SEND, to.slot, m->tag, 0);
    if (rt_pid_shard(to) == sh->id) {
        rt_mailbox_arrive(sh, to, m, false);
    } else if (rt_pid_shard(to) == RT_SHARD_EXTERNAL) { /* not there for other nodes: who waits outside casts what comes */
        rt_event(cx, EV_NOPROC, to.slot, m->tag, 0);
        rt_msg_release(sh, m);
    } else {
        send_elsewhere(sh, to, m, false);
    }
}

void rt_pass_work(rt_ctx *cx, rt_pid to, rt_msg **mp) {
    rt_msg *m = *mp;
    *mp = NULL;
    m->tag = RT_TAG(m) | RT_M_WORK;
    if (LIKELY(to.node == 0 && rt_pid_shard(to) == cx->sh->id))
        rt_mailbox_arrive(cx->sh, to, m, false);
    else
        send_elsewhere(cx->sh, to, m, false);
}

void rt_send_work(rt_ctx *cx, rt_pid to, rt_msg **m) {
    (*m)->sender = rt_self(cx);
    if (UNLIKELY((*m)->trace | cx->trace)) rt_trace_send(cx, to, *m);
    rt_event(cx, EV_SEND, to.slot, RT_TAG(*m), 0);
    rt_pass_work(cx, to, m);
}

void rt_send(rt_ctx *cx, rt_pid to, rt_msg **m) { send(cx, to, m, false); }
void rt_send_front(rt_ctx *cx, rt_pid to, rt_msg **m) { send(cx, to, m, true); }

void rt_timer_set(rt_ctx *cx, rt_timer *t, usec at) {
    rt_shard *sh = cx->sh;
    if (!check(cx->self) || at == USEC_NEVER) {
        rt_timer_cancel(cx, t);
        return;
    }
    usec from_epoch = at - sh->node->epoch, max = sh->now - sh->node->epoch + RT_TIMER_MAX_USEC;
    if (at > sh->now && from_epoch > max) from_epoch = max;
    if (from_epoch < 0) from_epoch = 0;
    uint32_t due = (uint32_t)((from_epoch + USEC_PER_MSEC - 1) / USEC_PER_MSEC); /* up: never early */
    if (at <= sh->now) due = sh->wheel.tick;
    if (rt_timer_armed(t) && t->slot == cx->self->slot) {
        rt_wheel_move(&sh->wheel, t, due);
        return;
    }
    rt_timer_cancel(cx, t);
    t->slot = cx->self->slot;
    cx->self->timers++;
    rt_wheel_set(&sh->wheel, t, due);
}

void rt_timer_cancel(rt_ctx *cx, rt_timer *t) {
    if (!rt_timer_armed(t)) return;
    rt_actor *a = rt_actor_at(cx->sh, t->slot);
    rt_wheel_cancel(&cx->sh->wheel, t);
    if (check(a)) a->timers--;
}
