/* verbs_follow: answers that go on: events as they happen, the steps of requests that are watched.
 *
 *     handler: opens a follower, result: what is followed -> ctl thread: next, next ... wake -> next ... -> close, when the client has gone
 *
 * Each event is an object: what of it is known, then its arguments under their names in events.def. "lost":N says that N were lost just
 * before it; alone, that nothing has come since.
 *
 * Invariant: no more than an event's own text is shown, RT_SEEN_TEXT bytes of it; no step of a request has what a user wrote. */
#include "base/codec.h"
#include "base/mem.h"
#include "rt/core.h"
#include "rt/verbs_fn.h"

#include <stdio.h>

#define TIME_TEXT 32

typedef struct following {
    rt_stream stream;
    rt_node *node;
    rt_follow *f;
} following;

/* --- an event as an object ------------------------------------------------------------------------------------------------------- */
static val *time_of(arena *a, int64_t wall) {
    char seconds[TIME_TEXT];
    int64_t part = wall % USEC_PER_SEC;
    (void)time_format(wall, false, seconds);
    return val_strf(a, "%.*s.%06dZ", (int)strcspn(seconds, "Z"), seconds, (int)(part < 0 ? part + USEC_PER_SEC : part));
}

static val *number(arena *a, uint64_t x) { return val_int(a, x > INT64_MAX ? INT64_MAX : (int64_t)x); }

static val *pid_text(arena *a, rt_pid pid) {
    char text[RT_PID_TEXT];
    rt_pid_format(pid, text);
    return val_str(a, slice_str(text));
}

/* A tag, and above it the generation of an actor: whose slot comes as the next argument, or who runs. */
static void set_message(const following *w, arena *a, val *m, const rt_seen *x) {
    const rt_msg_desc *d = rt_node_desc(w->node, (uint16_t)x->arg[0]);
    val_set(a, m, "message", d ? val_str(a, slice_str(d->name)) : number(a, x->arg[0] & UINT16_MAX));
    if (x->id == EV_TRACE_SEND) val_set(a, m, "to", pid_text(a, (rt_pid){0, (uint32_t)x->arg[1], (uint32_t)(x->arg[0] >> 32)}));
}

static void set_arg(const following *w, arena *a, val *m, const rt_seen *x, unsigned i) {
    const char *name = rt_event_descs[x->id].arg[i];
    bool in_pid = x->id == EV_TRACE_SEND && i > 0;
    if (!*name || in_pid || (i == 2 && x->has_text)) return;
    if (strcmp(name, "message") == 0)
        set_message(w, a, m, x);
    else if (strcmp(name, "err") == 0)
        val_set(a, m, name, val_str(a, slice_str(err_name(x->arg[i] < ERR_COUNT_ ? (err)x->arg[i] : ERR_BUG))));
    else if (strcmp(name, "kind") == 0 && x->arg[i] < RT_POOL_KINDS)
        val_set(a, m, name, val_str(a, slice_str(rt_pool_kind_name((rt_pool_kind)x->arg[i]))));
    else if (x->arg[i] == UINT64_MAX) /* not known: trace.c */
        val_set(a, m, name, val_null(a));
    else
        val_set(a, m, name, number(a, x->arg[i]));
}

static val *event_map(const following *w, arena *a, const rt_seen *x) {
    const rt_event_desc *d = &rt_event_descs[x->id];
    val *m = val_map(a);
    val_set(a, m, "time", time_of(a, x->wall));
    val_set(a, m, "at_usec", val_int(a, x->mono - w->node->epoch));
    if (x->lost) val_set(a, m, "lost", number(a, x->lost));
    if (x->trace) val_set(a, m, "trace", number(a, x->trace));
    val_set(a, m, "event", val_str(a, slice_str(d->name)));
    val_set(a, m, "level", val_str(a, slice_str(rt_verb_level_name(d->level))));
    if (x->shard < w->node->n_shards) val_set(a, m, "shard", number(a, x->shard));
    if (rt_pid_ok(x->actor)) val_set(a, m, "pid", pid_text(a, x->actor));
    if (x->cls) val_set(a, m, "class", val_str(a, slice_str(x->cls)));
    for (unsigned i = 0; i < 3; i++) set_arg(w, a, m, x, i);
    if (x->has_text && x->text_len > 0) val_set(a, m, "text", val_str(a, slice_of(x->text, x->text_len)));
    return m;
}

/* --- the stream ------------------------------------------------------------------------------------------------------------------ */
static bool next(rt_stream *s, arena *a, val **out) {
    following *w = container_of(s, following, stream);
    rt_seen x;
    if (rt_follow_next(w->f, &x)) {
        *out = event_map(w, a, &x);
        return true;
    }
    uint64_t lost = rt_follow_lost(w->f); /* and nothing has come since */
    if (lost == 0) return false;
    *out = val_map(a);
    val_set(a, *out, "lost", number(a, lost));
    return true;
}

static void set_wake(rt_stream *s, void (*wake)(void *arg), void *arg) { rt_follow_wake(container_of(s, following, stream)->f, wake, arg); }

static void close_stream(rt_stream *s) {
    following *w = container_of(s, following, stream);
    rt_follow_close(w->f);
    mem_free(w);
}

static void answer_with(rt_verb_call *c, rt_follow *f) {
    following *w = mem_alloc(sizeof *w);
    *w = (following){.stream = {.next = next, .wake = set_wake, .close = close_stream}, .node = c->node, .f = f};
    c->stream = &w->stream;
}

/* --- verbs ----------------------------------------------------------------------------------------------------------------------- */
static bool event_of(slice name, rt_event_id *out) {
    for (unsigned i = 0; i < EV_COUNT_; i++)
        if (slice_is(name, rt_event_descs[i].name)) {
            *out = (rt_event_id)i;
            return true;
        }
    return false;
}

static void add_level(rt_event_set *set, rt_level least) {
    for (unsigned i = 0; i < EV_COUNT_; i++)
        if (rt_event_descs[i].level >= least && !rt_event_is_frequent((rt_event_id)i)) rt_event_set_add(set, (rt_event_id)i);
}

static err add_named(rt_verb_call *c, slice name, rt_event_set *set) {
    rt_event_id id;
    if (slice_is(name, "all")) {
        add_level(set, RT_DEBUG);
        return ERR_OK;
    }
    if (!event_of(name, &id)) return rt_verb_fail(c, ERR_INVALID, name, "is not an event; \"events all\" lists them");
    if (rt_event_is_frequent(id))
        return rt_verb_fail(c, ERR_INVALID, name, "happens with every message: it is counted and has a probe, but is not followed");
    rt_event_set_add(set, id);
    return ERR_OK;
}

err rt_verb_follow_events(rt_verb_call *c) {
    rt_event_set set = {{0}};
    rt_follow *f;
    if (c->n_args == 0) add_level(&set, RT_INFO);
    for (size_t i = 0; i < c->n_args; i++) {
        err e = add_named(c, c->args[i], &set);
        if (e) return e;
    }
    err e = rt_follow_events(c->node, &set, &f);
    if (e) {
        (void)snprintf(c->why, sizeof c->why, "%u follow events already: one of them has to end first", RT_FOLLOW_STREAMS);
        return e;
    }
    answer_with(c, f);
    c->result = val_map(c->arena);
    val *names = val_list(c->arena);
    for (unsigned i = 0; i < EV_COUNT_; i++)
        if (rt_event_set_has(&set, (rt_event_id)i)) val_push(c->arena, names, val_str(c->arena, slice_str(rt_event_descs[i].name)));
    val_set(c->arena, c->result, "events", names);
    return ERR_OK;
}

err rt_verb_trace(rt_verb_call *c, const rt_trace_filter *filter) {
    rt_follow *f;
    err e = rt_follow_trace(c->node, filter, &f);
    if (e)
        (void)snprintf(c->why, sizeof c->why, "%u watch requests already: one of them has to end first", RT_FOLLOW_TRACES);
    else
        answer_with(c, f);
    return e;
}

err rt_verb_trace_actor(rt_verb_call *c) {
    rt_trace_filter f = {.actor = RT_PID_NONE};
    rt_actor_info i;
    err e = rt_verb_pid_of(c, c->args[0], &f.actor);
    if (!e) e = rt_verb_actor_info(c, f.actor, &i);
    if (e) return e;
    rt_pid pid;
    if (!rt_pid_parse(c->args[0], &pid)) f.name = c->args[0];
    e = rt_verb_trace(c, &f);
    if (e) return e;
    c->result = val_map(c->arena);
    rt_verb_text(c, c->result, "watches", "actor");
    rt_verb_pid(c, c->result, "pid", f.actor);
    rt_verb_text(c, c->result, "class", i.cls);
    rt_verb_text(c, c->result, "name", i.name);
    return ERR_OK;
}
