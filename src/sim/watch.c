/* watch: see watch.h.
 *
 *     trace_in -> store_put handled (STORED) -> trace_durable (DURABLE) -> svc_done handled | trace_out (REACHED) -> trace_acked (ACKED)
 *
 * Invariant: a follower lives as long as its node: what a crash leaves of it is never touched again. */
#include "sim/watch.h"

#include "base/mem.h"
#include "rt/follow.h"
#include "store/store.h"
#include "svc/svc.h"

#define BEGAN   1u
#define STORED  2u /* the log has it in its queue */
#define DURABLE 4u
#define REACHED 8u /* a kept message was written to a client */
#define ACKED   16u
#define REFUSED 32u /* the log did not keep it: it is answered at once */

void sim_watch_init(sim_watch *x, sim_node *n, const char *subject) { *x = (sim_watch){.w = n->w, .node = n, .subject = subject}; }

void sim_watch_up(sim_watch *x) {
    const rt_trace_filter f = {.subject = slice_str(x->subject)};
    x->n = 0;
    x->lost = false;
    x->follow = NULL;
    if (rt_follow_trace(x->node->rt, &f, &x->follow)) sim_world_fail(x->w, "nobody else watches, but there is no room for a watcher");
    x->life = x->node->life;
}

static uint32_t *request(sim_watch *x, uint32_t number) {
    void *seen = x->seen;
    if (number > x->n) {
        mem_grow(&seen, &x->cap, number, sizeof *x->seen);
        x->seen = seen;
        memset(x->seen + x->n, 0, (number - x->n) * sizeof *x->seen);
        x->n = number;
    }
    return &x->seen[number - 1];
}

static void note(uint32_t *r, uint32_t flag, uint64_t *count) {
    if (!(*r & flag)) ++*count;
    *r |= flag;
}

/* To say that it is safe, or to hand it on, before it is: the promise broken (promises: an ack means durable). */
static void demand_durable(sim_watch *x, uint32_t number, uint32_t r, const char *what) {
    if (r & STORED && !(r & (DURABLE | REFUSED)))
        sim_world_fail(x->w, "request %u of %s was %s before it was durable", number, x->subject, what);
}

static void handled(sim_watch *x, const rt_seen *s, uint32_t *r) {
    uint16_t tag = (uint16_t)s->arg[0];
    if (tag == STORE_PUT) note(r, STORED, &x->stored);
    if (tag == SVC_DONE) demand_durable(x, s->trace, *r, "done");
}

static void take(sim_watch *x, const rt_seen *s) {
    sim_world_note(x->w, (uint64_t)s->id << 32 | s->trace);
    if (s->lost) x->lost = true;
    uint32_t *r = request(x, s->trace);
    if (s->id == EV_TRACE_IN) {
        if (*r & BEGAN) sim_world_fail(x->w, "two requests of %s have the number %u", x->subject, s->trace);
        note(r, BEGAN, &x->began);
        return;
    }
    if (!(*r & BEGAN) && !x->lost) sim_world_fail(x->w, "a step of request %u of %s, which never began", s->trace, x->subject);
    if (s->id == EV_TRACE_HANDLE) handled(x, s, r);
    if (s->id == EV_TRACE_DURABLE) note(r, DURABLE, &x->durable);
    if (s->id == EV_MSG_REFUSED) *r |= REFUSED;
    if (s->id == EV_TRACE_OUT && s->arg[0] > 0) {
        demand_durable(x, s->trace, *r, "delivered");
        if (*r & DURABLE) note(r, REACHED, &x->reached);
    }
    if (s->id == EV_TRACE_ACKED && *r & REACHED) note(r, ACKED, &x->acked);
}

void sim_watch_look(sim_watch *x) {
    rt_seen s;
    if (!x->follow || !x->node->rt || x->node->life != x->life) return; /* it went with its node */
    while (rt_follow_next(x->follow, &s)) take(x, &s);
    if (rt_follow_lost(x->follow)) x->lost = true;
}

void sim_watch_fini(sim_watch *x) { mem_free(x->seen); }
