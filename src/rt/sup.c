/* sup: supervisors, as in OTP's supervisor module: start in order, restart by strategy, stop in reverse order, give up past an intensity.
 *
 *     UP --- a child ended, restart it ---> STOPPING(the others that must go, youngest first) ---> start them again in order ---> UP
 *      |                                        ^   each: exit SHUTDOWN, after its time exit KILLED, wait for its DOWN
 *      +--- the parent ended, or too many restarts, or told to shut down: STOPPING(all) ---> ends with the reason
 *
 * A child is monitored and linked: the monitor tells of its end exactly once; the link ends the children should the supervisor be killed.
 *
 * Invariants: (1) children[0 .. n) are started in order, and stopped in reverse; (2) while STOPPING, only the child `at` has been told to
 * end; ends of others are noted; (3) more than intensity restarts within period: EV_SUP_GIVE_UP and the end with ERR_INTENSITY; (4) a
 * restart whose init fails counts as another restart. */
#include "rt/sup.h"

#include "base/mem.h"
#include "base/plant.h"
#include "rt/core.h"
#include "rt/table.h"

#include <stdio.h>

typedef struct sup_child {
    rt_pid pid;   /* RT_PID_NONE: not running */
    rt_pid was;   /* the one before: its link's EXIT may still come */
    uint64_t ref; /* its monitor */
    bool done;    /* ended and not to be restarted */
} sup_child;
typedef struct sup_table { /* a table that was a child's, and is ours until that is started again */
    rt_tid id;
    size_t child;
} sup_table;
typedef enum sup_state { SUP_UP, SUP_STOPPING } sup_state;
typedef struct sup {
    const rt_sup_spec *spec;
    sup_child *children;
    usec *restarts;      /* times of the last intensity restarts, a ring */
    uint32_t n_restarts; /* ever */
    sup_state state;
    size_t at;    /* STOPPING: child told to end; children after it are down */
    size_t first; /* STOPPING: oldest child that must go */
    bool ending;  /* STOPPING because the supervisor ends, with reason */
    err reason;
    rt_timer timer; /* the time of child `at` is up */
    sup_table *kept;
    size_t n_kept, kept_cap;
} sup;

static err stop_next(rt_ctx *cx, sup *s);

/* --- tables of children ---------------------------------------------------------------------------------------------------------- */
/* Hands what child i has left behind to its successor, or frees it: there will be none. */
static void settle_tables(rt_ctx *cx, sup *s, size_t i, rt_pid successor) {
    size_t left = 0;
    for (size_t k = 0; k < s->n_kept; k++) {
        sup_table t = s->kept[k];
        if (t.child != i) {
            s->kept[left++] = t;
            continue;
        }
        err e = rt_pid_ok(successor) ? rt_table_give_away(cx, t.id, successor, NULL) : rt_table_drop(cx, t.id);
        (void)check(e == ERR_OK); /* it is ours, and the successor is alive until this callback is over */
    }
    s->n_kept = left;
}

/* It comes before the DOWN of who had it. From others than children (who were given it by one) it is ours until we end. */
static void on_transfer(rt_ctx *cx, sup *s, const rt_transfer *t) {
    size_t i = 0;
    while (i < s->spec->n_children && !rt_pid_eq(s->children[i].pid, t->from) && !rt_pid_eq(s->children[i].was, t->from)) i++;
    if (i == s->spec->n_children) return;
    void *arr = s->kept;
    mem_grow(&arr, &s->kept_cap, s->n_kept + 1, sizeof *s->kept);
    s->kept = arr;
    s->kept[s->n_kept++] = (sup_table){t->table, i};
    bool alive = rt_pid_ok(s->children[i].pid) && !rt_pid_eq(s->children[i].pid, t->from);
    if (alive || s->children[i].done) settle_tables(cx, s, i, s->children[i].pid);
}

/* Child i has ended and is not started again. */
static void child_done(rt_ctx *cx, sup *s, size_t i) {
    s->children[i].done = true;
    settle_tables(cx, s, i, RT_PID_NONE);
}

/* --- starting and stopping ------------------------------------------------------------------------------------------------------- */
static NODISCARD err start_child(rt_ctx *cx, sup *s, size_t i) {
    const rt_child *c = &s->spec->children[i];
    sup_child *k = &s->children[i];
    k->done = false;
    unsigned flags = RT_SPAWN_LINK | RT_SPAWN_MONITOR | (c->tables_kept ? RT_SPAWN_KEEP : 0);
    err e = rt_spawn(cx, c->cls, c->arg, flags, &k->pid, &k->ref);
    if (!e) settle_tables(cx, s, i, k->pid);
    return e;
}

/* Notes a restart; false when there were too many. */
static bool may_restart(rt_ctx *cx, sup *s, size_t i) {
    uint32_t max = s->spec->intensity;
    bool ok =
        plant(INTENSITY_FORGOTTEN) || (max > 0 && (s->n_restarts < max || rt_now(cx) - s->restarts[s->n_restarts % max] > s->spec->period));
    if (max > 0) s->restarts[s->n_restarts % max] = rt_now(cx); /* over the one before the last max */
    s->n_restarts++;
    slice id = slice_str(s->spec->children[i].id);
    if (ok)
        rt_event_text(cx, EV_SUP_RESTART, i, s->n_restarts, id);
    else
        rt_event_text(cx, EV_SUP_GIVE_UP, s->n_restarts, 0, id);
    if (!ok && s->spec->vital) {
        char why[128];
        (void)snprintf(why, sizeof why, "%s reached its restart intensity: the node ends", s->spec->children[i].id);
        rt_ctx_sys(cx)->end(rt_ctx_sys(cx), why); /* returns in the simulator only */
    }
    return ok;
}

/* Begins to stop children [first, n), youngest first. */
static err begin_stop(rt_ctx *cx, sup *s, size_t first) {
    s->state = SUP_STOPPING;
    s->first = first;
    s->at = s->spec->n_children;
    return stop_next(cx, s);
}

static err begin_end(rt_ctx *cx, sup *s, err reason) {
    if (s->state == SUP_STOPPING && s->ending) return ERR_OK;
    s->ending = true;
    s->reason = reason;
    if (s->state == SUP_UP) return begin_stop(cx, s, 0);
    s->first = 0; /* it was stopping some for a restart: all go */
    return ERR_OK;
}

static err give_up_or_restart(rt_ctx *cx, sup *s, size_t i);

/* All that had to go are down. */
static err stopped(rt_ctx *cx, sup *s) {
    s->state = SUP_UP;
    if (s->ending) {
        rt_stop(cx, s->reason);
        return ERR_OK;
    }
    for (size_t i = s->first; i < s->spec->n_children; i++) {
        if (s->children[i].done || rt_pid_ok(s->children[i].pid)) continue;
        err e = start_child(cx, s, i);
        if (e) return give_up_or_restart(cx, s, i);
    }
    return ERR_OK;
}

static err stop_next(rt_ctx *cx, sup *s) {
    while (s->at > s->first) {
        sup_child *k = &s->children[--s->at];
        if (!rt_pid_ok(k->pid)) continue;
        usec patience = s->spec->children[s->at].shutdown;
        rt_unlink(cx, k->pid); /* its end is ours: the monitor tells */
        rt_exit(cx, k->pid, patience ? ERR_SHUTDOWN : ERR_KILLED);
        if (patience && patience != USEC_NEVER) rt_timer_set(cx, &s->timer, rt_now(cx) + patience);
        return ERR_OK;
    }
    return stopped(cx, s);
}

/* Child i is down (or did not start) and must be started again. */
static err give_up_or_restart(rt_ctx *cx, sup *s, size_t i) {
    if (!may_restart(cx, s, i)) return begin_end(cx, s, ERR_INTENSITY);
    switch (s->spec->strategy) {
    case RT_ONE_FOR_ONE: {
        err e = start_child(cx, s, i);
        return e ? give_up_or_restart(cx, s, i) : ERR_OK;
    }
    case RT_ONE_FOR_ALL: return begin_stop(cx, s, 0);
    case RT_REST_FOR_ONE: return begin_stop(cx, s, i);
    }
    return ERR_BUG;
}

static bool wants_restart(const rt_child *c, err reason) {
    switch (c->restart) {
    case RT_PERMANENT: return true;
    case RT_TRANSIENT: return reason != ERR_OK && reason != ERR_SHUTDOWN;
    case RT_TEMPORARY: return false;
    }
    return false;
}

static err on_down(rt_ctx *cx, sup *s, const rt_down *d) {
    size_t i = 0;
    while (i < s->spec->n_children && !(s->children[i].ref == d->ref && rt_pid_ok(s->children[i].pid))) i++;
    if (i == s->spec->n_children) return ERR_OK; /* of a child that is forgotten */
    sup_child *k = &s->children[i];
    k->was = k->pid;
    k->pid = RT_PID_NONE;
    bool restart = wants_restart(&s->spec->children[i], d->reason);
    if (s->state == SUP_STOPPING) {
        if (i < s->first && !restart) child_done(cx, s, i);
        if (i < s->first && restart) s->first = i; /* it ended by itself meanwhile: it is started again with the others */
        if (i >= s->first && s->spec->children[i].restart == RT_TEMPORARY) child_done(cx, s, i);
        if (i != s->at) return ERR_OK;
        rt_timer_cancel(cx, &s->timer);
        return stop_next(cx, s);
    }
    if (!restart) {
        child_done(cx, s, i);
        return ERR_OK;
    }
    return give_up_or_restart(cx, s, i);
}

/* An EXIT of a child is told by its DOWN already. Of others: who made us takes us along, and anybody may ask for an orderly end. */
static err on_exit_message(rt_ctx *cx, sup *s, const rt_exit_msg *x) {
    for (size_t i = 0; i < s->spec->n_children; i++)
        if (rt_pid_eq(s->children[i].pid, x->from) || rt_pid_eq(s->children[i].was, x->from)) return ERR_OK;
    rt_pid parent = {0, cx->self->parent_slot, cx->self->parent_gen};
    if (x->reason == ERR_SHUTDOWN || (x->reason != ERR_OK && rt_pid_eq(parent, x->from))) return begin_end(cx, s, x->reason);
    return ERR_OK;
}

static err sup_init(rt_ctx *cx, void *st, const void *arg) {
    sup *s = st;
    s->spec = arg;
    if (!check(s->spec && s->spec->n_children <= RT_SUP_CHILDREN_MAX)) return ERR_BUG;
    rt_trap_exit(cx, true);
    s->children = mem_zalloc((s->spec->n_children + 1) * sizeof *s->children);
    s->restarts = mem_zalloc((s->spec->intensity + 1) * sizeof *s->restarts);
    for (size_t i = 0; i < s->spec->n_children; i++) {
        err e = start_child(cx, s, i);
        if (!e) continue;
        mem_free(s->children);
        mem_free(s->restarts);
        mem_free(s->kept);
        return e; /* those that run are linked to us and go with us */
    }
    return ERR_OK;
}

static err sup_handle(rt_ctx *cx, void *st, rt_msg **m) {
    sup *s = st;
    if ((*m)->tag == RT_DOWN) return on_down(cx, s, rt_down_of(*m));
    if ((*m)->tag == RT_EXIT) return on_exit_message(cx, s, rt_exit_msg_of(*m));
    if ((*m)->tag == RT_TRANSFER) on_transfer(cx, s, rt_transfer_of(*m));
    return ERR_OK;
}

static err sup_timer(rt_ctx *cx, void *st, rt_timer *t) {
    sup *s = st;
    if (!check(t == &s->timer && s->state == SUP_STOPPING)) return ERR_BUG;
    rt_exit(cx, s->children[s->at].pid, ERR_KILLED);
    return ERR_OK;
}

/* Its children end with it and nobody starts them again. Giving up has ended the node before (may_restart). */
static void vital_end(rt_ctx *cx, const sup *s, err reason) {
    char why[128];
    const char *id = s->spec->n_children ? s->spec->children[0].id : "nothing";
    (void)snprintf(why, sizeof why, "the supervisor of %s ended (%s): the node ends", id, err_text(reason));
    rt_ctx_sys(cx)->end(rt_ctx_sys(cx), why); /* returns in the simulator only */
}

static void sup_fini(rt_ctx *cx, void *st, err reason) {
    sup *s = st;
    rt_timer_cancel(cx, &s->timer);
    if (s->spec->vital && reason != ERR_INTENSITY && !cx->sh->freeing) vital_end(cx, s, reason);
    mem_free(s->children);
    mem_free(s->restarts);
    mem_free(s->kept);
}

const rt_class rt_sup_class = {
    .name = "sup",
    .state_size = sizeof(sup),
    .init = sup_init,
    .handle = sup_handle,
    .timer = sup_timer,
    .fini = sup_fini,
};

typedef struct child_query {
    rt_shard_call call;
    _Atomic int refs; /* acq_rel: the last one frees; partners are the runtime's box and the caller */
    rt_pid sup, found;
    const char *id;
} child_query;

static void query_unref(rt_box *b) {
    child_query *q = container_of(b, child_query, call.box);
    if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) == 1) mem_free(q);
}

static void query_run(rt_ctx *cx, rt_shard_call *c) {
    child_query *q = container_of(c, child_query, call);
    rt_actor *a = rt_actor_find(cx->sh, q->sup);
    if (!a || a->cls != &rt_sup_class) return;
    const sup *s = rt_actor_state(a);
    for (size_t i = 0; i < s->spec->n_children; i++)
        if (strcmp(s->spec->children[i].id, q->id) == 0) q->found = s->children[i].pid;
}

rt_pid rt_sup_child(rt_node *n, rt_pid pid, const char *id) {
    if (pid.node != 0 || rt_pid_shard(pid) >= rt_node_shards(n)) return RT_PID_NONE;
    child_query *q = mem_zalloc(sizeof *q);
    q->call.box.free = query_unref;
    q->call.fn = query_run;
    q->sup = pid;
    q->id = id; /* a literal */
    atomic_init(&q->refs, 2);
    err e = rt_node_call(n, rt_pid_shard(pid), &q->call, USEC_PER_SEC);
    rt_pid found = e ? RT_PID_NONE : q->found;
    query_unref(&q->call.box);
    return found;
}
