/* verbs_queue: looks at queues and at what stands in their way: rates, longest mailboxes, an actor that may be stuck, chains of tables.
 *
 * Invariants: (1) a shard is held up for RT_STAT_SCAN slots or RT_MAPS_PART buckets at a time, whatever it holds. (2) A probe says
 * something useful in either case: how long it took, or what the actor's shard is at, with its stack. (3) Who waits on purpose (probe,
 * rates of an actor) runs beside the ctl thread: those verbs are marked so. */
#include "base/mem.h"
#include "rt/core.h"
#include "rt/rate.h"
#include "rt/verbs_fn.h"
#include "rt/watchdog.h"

#include <math.h>
#include <stdio.h>

#define LONGEST_SHOWN  20u /* without an argument */
#define LONGEST_LIMIT  100u
#define RATE_SEC       1u /* between the two looks at an actor, without an argument */
#define RATE_SEC_MAX   10u
#define PROBE_MSEC     1000u /* without an argument */
#define PROBE_MSEC_MAX 60000u
#define PROBE_STACK    1024

/* --- rates ----------------------------------------------------------------------------------------------------------------------- */
static void set_rates(rt_verb_call *c, val *m, const rt_rate r[RT_RATE_WINDOWS]) {
    static const char *const in[RT_RATE_WINDOWS] = {"in_1s", "in_10s", "in_100s"};
    static const char *const out[RT_RATE_WINDOWS] = {"out_1s", "out_10s", "out_100s"};
    for (unsigned w = 0; w < RT_RATE_WINDOWS; w++) {
        val_set(c->arena, m, in[w], r[w].over ? val_real(c->arena, r[w].in) : val_null(c->arena));
        val_set(c->arena, m, out[w], r[w].over ? val_real(c->arena, r[w].out) : val_null(c->arena));
    }
}

static void read_rates(rt_verb_call *c, uint32_t shard, rt_rate messages[RT_RATE_WINDOWS], rt_rate signals[RT_RATE_WINDOWS]) {
    for (unsigned w = 0; w < RT_RATE_WINDOWS; w++) rt_rate_read(c->node, shard, w, &messages[w], &signals[w]);
}

static val *shard_row(rt_verb_call *c, unsigned shard) {
    rt_queue_stat messages, signals;
    rt_rate m_rate[RT_RATE_WINDOWS], s_rate[RT_RATE_WINDOWS];
    rt_stat_queues_of(c->node, shard, &messages, &signals);
    read_rates(c, shard, m_rate, s_rate);
    val *m = val_map(c->arena);
    rt_verb_uint(c, m, "shard", shard);
    rt_verb_uint(c, m, "queued", messages.queued);
    rt_verb_uint(c, m, "longest", messages.longest);
    set_rates(c, m, m_rate);
    val_set(c->arena, m, "signals_in_1s", s_rate[0].over ? val_real(c->arena, s_rate[0].in) : val_null(c->arena));
    val_set(c->arena, m, "signals_out_1s", s_rate[0].over ? val_real(c->arena, s_rate[0].out) : val_null(c->arena));
    return m;
}

err rt_verb_queues(rt_verb_call *c) {
    rt_queue_stat messages, signals;
    rt_rate m_rate[RT_RATE_WINDOWS], s_rate[RT_RATE_WINDOWS];
    rt_stat_queues(c->node, &messages, &signals);
    read_rates(c, RT_RATE_NODE, m_rate, s_rate);
    val *m = rt_verb_queue(c, &messages), *s = rt_verb_queue(c, &signals), *shards = val_list(c->arena);
    set_rates(c, m, m_rate);
    set_rates(c, s, s_rate);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++) val_push(c->arena, shards, shard_row(c, i));
    c->result = val_map(c->arena);
    val_set(c->arena, c->result, "messages", m);
    val_set(c->arena, c->result, "signals", s);
    rt_verb_uint(c, c->result, "actors", rt_stat_actor_count(c->node));
    val_set(c->arena, c->result, "shards", shards);
    return ERR_OK;
}

/* --- longest mailboxes ----------------------------------------------------------------------------------------------------------- */
typedef struct longest_ask {
    rt_verb_ask ask;
    uint32_t from;
    size_t max, n;
    bool more;
    rt_stat_queue at[LONGEST_LIMIT];
} longest_ask;

static void do_longest(rt_ctx *cx, rt_shard_call *call) {
    longest_ask *a = container_of(call, longest_ask, ask.call);
    a->more = rt_stat_longest(cx, &a->from, a->at, a->max, &a->n);
}

/* Adds a shard's longest to best; false: it does not answer. */
static bool longest_of(rt_verb_call *c, unsigned shard, rt_stat_queue *best, size_t max, size_t *n) {
    uint32_t from = 0;
    for (bool more = true; more;) {
        longest_ask *a = container_of(rt_verb_ask_new(sizeof *a, do_longest), longest_ask, ask);
        a->from = from;
        a->max = max;
        if (rt_verb_ask_shard(c, shard, &a->ask)) return false;
        for (size_t i = 0; i < a->n; i++) rt_stat_keep(best, max, n, &a->at[i]);
        from = a->from;
        more = a->more;
        rt_verb_ask_unref(&a->ask);
    }
    return true;
}

err rt_verb_longest(rt_verb_call *c) {
    uint64_t max;
    rt_stat_queue best[LONGEST_LIMIT];
    size_t n = 0;
    err e = rt_verb_number(c, 0, LONGEST_LIMIT, LONGEST_SHOWN, &max);
    if (e) return e;
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++) {
        if (longest_of(c, i, best, (size_t)max, &n)) continue;
        rt_doing d = rt_watchdog_doing(c->node, i);
        val *m = val_map(c->arena);
        val_set(c->arena, m, "pid", val_strf(c->arena, "shard %u", i));
        val_set(c->arena, m, "class", val_strf(c->arena, "(does not answer, in %s)", d.cls));
        val_push(c->arena, c->result, m);
    }
    for (size_t i = 0; i < n; i++) {
        val *m = val_map(c->arena);
        rt_verb_pid(c, m, "pid", best[i].pid);
        rt_verb_text(c, m, "class", best[i].cls);
        rt_verb_uint(c, m, "queued", best[i].queued);
        rt_verb_uint(c, m, "longest", best[i].longest);
        rt_verb_uint(c, m, "bytes", best[i].bytes);
        val_push(c->arena, c->result, m);
    }
    return ERR_OK;
}

/* --- one actor ------------------------------------------------------------------------------------------------------------------- */
typedef struct info_ask {
    rt_verb_ask ask;
    rt_pid pid;
    bool alive;
    usec at; /* when it was looked at */
    rt_actor_info info;
} info_ask;

static void do_info(rt_ctx *cx, rt_shard_call *call) {
    info_ask *a = container_of(call, info_ask, ask.call);
    sys *s = rt_ctx_sys(cx);
    a->alive = rt_stat_actor(cx, a->pid, &a->info, NULL, 0, NULL);
    a->at = s->mono(s);
}

static err look_at(rt_verb_call *c, rt_pid pid, info_ask **out) {
    info_ask *a = container_of(rt_verb_ask_new(sizeof *a, do_info), info_ask, ask);
    a->pid = pid;
    err e = rt_verb_ask_shard(c, rt_pid_shard(pid), &a->ask);
    if (e) return rt_verb_fail(c, e, c->args[0], "does not answer: its shard is busy");
    if (!a->alive) {
        rt_verb_ask_unref(&a->ask);
        return rt_verb_fail(c, ERR_NOPROC, c->args[0], "is not alive");
    }
    *out = a;
    return ERR_OK;
}

/* Time passes; in a poller with nothing in it. */
static err let_pass(sys *s, usec time) {
    int poll;
    sys_ready none;
    err e = s->poll_new(s, &poll);
    if (e) return e;
    for (usec end = s->mono(s) + time, left = time; left > 0; left = end - s->mono(s)) (void)s->poll_wait(s, poll, left, &none, 1);
    s->poll_free(s, poll);
    return ERR_OK;
}

err rt_verb_actor_rates(rt_verb_call *c) {
    rt_pid pid;
    uint64_t seconds;
    info_ask *a = NULL, *b = NULL;
    err e = rt_verb_pid_of(c, c->args[0], &pid);
    if (!e) e = rt_verb_number(c, 1, RATE_SEC_MAX, RATE_SEC, &seconds);
    if (!e) e = look_at(c, pid, &a);
    if (!e) e = let_pass(rt_node_sys(c->node), (usec)seconds * USEC_PER_SEC);
    if (!e) e = look_at(c, pid, &b);
    if (!e) {
        const rt_actor_info *x = &a->info, *y = &b->info;
        double sec = (double)(b->at - a->at) / (double)USEC_PER_SEC;
        val *m = c->result = val_map(c->arena);
        rt_verb_pid(c, m, "pid", y->pid);
        rt_verb_text(c, m, "class", y->cls);
        rt_verb_uint(c, m, "queued", y->messages.queued);
        rt_verb_uint(c, m, "longest", y->messages.longest);
        val_set(c->arena, m, "in", val_real(c->arena, (double)(y->messages.enqueued - x->messages.enqueued) / sec));
        val_set(c->arena, m, "out", val_real(c->arena, (double)(y->messages.dequeued - x->messages.dequeued) / sec));
        val_set(c->arena, m, "signals", val_real(c->arena, (double)(uint32_t)(y->signals - x->signals) / sec));
        double busy = (double)(y->reductions_usec - x->reductions_usec);
        val_set(c->arena, m, "busy_percent", val_real(c->arena, rt_verb_percent(busy, (double)(b->at - a->at))));
        rt_verb_uint(c, m, "over_usec", (uint64_t)(b->at - a->at));
    }
    if (a) rt_verb_ask_unref(&a->ask);
    if (b) rt_verb_ask_unref(&b->ask);
    return e;
}

/* --- probe ----------------------------------------------------------------------------------------------------------------------- */
/* Why a probe was not answered, as far as it can be seen from outside the shard. */
static const char *why_silent(rt_verb_call *c, rt_pid pid, const rt_doing *d) {
    if (!d->idle) return rt_pid_eq(d->pid, pid) ? "it is in a handler" : "its shard is busy with another actor";
    info_ask *a;
    if (look_at(c, pid, &a)) return "its shard does not answer";
    bool muted = a->info.muted, held = a->info.held;
    rt_verb_ask_unref(&a->ask);
    if (held) return "it takes nothing until what it has passed on is gone";
    return muted ? "it is muted: an actor that it sends to is full" : "its shard waits for work again: it was late";
}

static void tell_silent(rt_verb_call *c, val *m, rt_pid pid) {
    char stack[PROBE_STACK];
    rt_doing d = rt_watchdog_doing(c->node, rt_pid_shard(pid));
    size_t len = rt_watchdog_stack(c->node, rt_pid_shard(pid), stack, sizeof stack);
    rt_verb_text(c, m, "why", why_silent(c, pid, &d));
    rt_verb_uint(c, m, "shard", rt_pid_shard(pid));
    rt_verb_pid(c, m, "running", d.pid);
    rt_verb_text(c, m, "class", d.cls);
    rt_verb_text(c, m, "message", d.msg);
    val_set(c->arena, m, "stack", val_str(c->arena, slice_of(stack, len)));
}

err rt_verb_probe(rt_verb_call *c) {
    rt_pid pid;
    uint64_t msec, queued;
    err e = rt_verb_pid_of(c, c->args[0], &pid);
    if (!e) e = rt_verb_number(c, 1, PROBE_MSEC_MAX, PROBE_MSEC, &msec);
    if (e) return e;
    sys *s = rt_node_sys(c->node);
    usec from = s->mono(s);
    e = rt_calls_probe(c->node, pid, (usec)msec * USEC_PER_MSEC, &queued);
    uint64_t took = (uint64_t)(s->mono(s) - from);
    if (e == ERR_NOPROC) return rt_verb_fail(c, e, c->args[0], "is not alive");
    if (e && e != ERR_TIMEOUT) return e;
    val *m = c->result = val_map(c->arena);
    rt_verb_pid(c, m, "pid", pid);
    val_set(c->arena, m, "answered", val_bool(c->arena, e == ERR_OK));
    rt_verb_uint(c, m, "took_usec", took);
    if (e)
        tell_silent(c, m, pid);
    else
        rt_verb_uint(c, m, "queued", queued);
    return ERR_OK;
}
