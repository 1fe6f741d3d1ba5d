/* plan: statements that wait for their time, and the ends of what lasts a while. Each is an entry with a timer. */
#include "base/mem.h"
#include "fate.h"
#include "lang.h"
#include "relay.h"

#include <stdio.h>

typedef struct entry {
    list node;
    relay *r;
    loop_timer timer;
    stmt s;
    bool undo;       /* it ends what s.act began under number, instead of doing it */
    uint64_t number; /* of the hold to end; else of this statement, for its draws */
    uint64_t nth;    /* every: how often it was done */
} entry;

static err perform(relay *r, const action *a, char *why);

static void entry_free(entry *e) {
    loop_timer_clear(&e->r->loop, &e->timer);
    list_remove(&e->node);
    e->r->planned--;
    mem_free(e);
}

static void on_time(loop_timer *t) {
    entry *e = container_of(t, entry, timer);
    char why[LANG_WHY_MAX];
    trace_event(&e->r->trace, e->s.act.conn, DIR_COUNT, 0, e->undo ? "ends" : lang_verb_name(e->s.act.verb), e->s.act.dirs);
    if (e->undo)
        relay_undo(e->r, &e->s.act, e->number);
    else
        (void)perform(e->r, &e->s.act, why); /* a connection that has ended by now needs nothing done */
    if (e->s.when != WHEN_EVERY || e->undo) {
        entry_free(e);
        return;
    }
    e->nth++;
    loop_timer_set(&e->r->loop, t, t->at + fate_between(e->r->seed, e->number, e->nth, e->s.from, e->s.to));
}

static entry *entry_new(relay *r, const stmt *s, usec at) {
    entry *e = mem_zalloc(sizeof *e);
    e->r = r;
    e->s = *s;
    e->timer.fn = on_time;
    list_push_back(&r->plan, &e->node);
    r->planned++;
    loop_timer_set(&r->loop, &e->timer, at);
    return e;
}

static err explain(err e, const action *a, char *why) {
    const char *name = lang_verb_name(a->verb);
    bool control = a->verb == VERB_STATS || a->verb == VERB_CONNS || a->verb == VERB_WATCH;
    if (e == ERR_UNSUPPORTED)
        (void)snprintf(why, LANG_WHY_MAX, control ? "'%s' is for the control socket" : "'%s' has no meaning for datagrams", name);
    else if (e == ERR_NOT_FOUND)
        (void)snprintf(why, LANG_WHY_MAX, "there is no connection %llu", (unsigned long long)a->conn);
    else if (e == ERR_FULL)
        (void)snprintf(why, LANG_WHY_MAX, "%u statements wait already", WARP_PLAN_MAX);
    return e;
}

static err perform(relay *r, const action *a, char *why) {
    uint64_t number;
    bool ends = a->lasts > 0 && a->verb != VERB_SLOW;
    if (ends && r->planned >= WARP_PLAN_MAX) return explain(ERR_FULL, a, why);
    err e = relay_apply(r, a, 0, &number);
    if (e) return explain(e, a, why);
    if (ends) {
        stmt s = {.when = WHEN_AT, .act = *a};
        entry *u = entry_new(r, &s, loop_now() + a->lasts);
        u->undo = true;
        u->number = number;
    }
    return ERR_OK;
}

err plan_add(relay *r, const stmt *s, char *why) {
    if (s->when == WHEN_NOW) return perform(r, &s->act, why);
    if (relay_unsupported(r, s->act.verb)) return explain(ERR_UNSUPPORTED, &s->act, why);
    if (s->when == WHEN_AFTER) {
        if (r->afters == WARP_AFTER_MAX) {
            (void)snprintf(why, LANG_WHY_MAX, "more than %d 'after' statements", WARP_AFTER_MAX);
            return ERR_FULL;
        }
        r->after[r->afters++] = (after){s->bytes, s->dirs, s->act};
        conn_wake_all(r);
        return ERR_OK;
    }
    if (r->planned >= WARP_PLAN_MAX) return explain(ERR_FULL, &s->act, why);
    uint64_t id = ++r->plan_ids;
    usec gap = s->when == WHEN_AT ? s->from : fate_between(r->seed, id, 0, s->from, s->to);
    entry_new(r, s, loop_now() + gap)->number = id;
    return ERR_OK;
}

void plan_fini(relay *r) {
    for (list *n; (n = list_first(&r->plan));) entry_free(container_of(n, entry, node));
}
