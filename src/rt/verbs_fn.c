/* verbs_fn: what the runtime's verbs share: sentences for failures, arguments, and asking a shard.
 *
 *     caller's thread (ctl)                                shard, between two handlers
 *     rt_verb_ask, 2 references   -- rt_node_call -->      fn fills it
 *     waits ASK_USEC at most      <------------------      drops its reference
 *     reads it, drops its own
 *
 * Invariant: an ask outlives both sides: a shard that answers after the time limit writes into memory that is still there, and nobody reads
 * it. */
#include "rt/verbs_fn.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rt/core.h"
#include "rt/watchdog.h"

#include <inttypes.h>
#include <stdio.h>

#define ASK_USEC       (2 * USEC_PER_SEC)
#define ASK_STUCK_USEC (50 * USEC_PER_MSEC) /* of a shard that is known to be stuck: it may just have come back */
#define NAME_TEXT      48

err rt_verb_fail(rt_verb_call *c, err e, slice what, const char *matter) {
    char text[96];
    (void)utf8_escape(what, text, sizeof text);
    (void)snprintf(c->why, sizeof c->why, "'%s' %s", text, matter);
    return e;
}

void rt_verb_uint(rt_verb_call *c, val *map, const char *key, uint64_t x) {
    val_set(c->arena, map, key, val_int(c->arena, x > INT64_MAX ? INT64_MAX : (int64_t)x));
}
void rt_verb_text(rt_verb_call *c, val *map, const char *key, const char *s) {
    val_set(c->arena, map, key, val_str(c->arena, slice_str(s)));
}
void rt_verb_pid(rt_verb_call *c, val *map, const char *key, rt_pid pid) {
    char text[RT_PID_TEXT] = "";
    if (rt_pid_ok(pid)) rt_pid_format(pid, text);
    rt_verb_text(c, map, key, text);
}
val *rt_verb_queue(rt_verb_call *c, const rt_queue_stat *q) {
    val *m = val_map(c->arena);
    rt_verb_uint(c, m, "queued", q->queued);
    rt_verb_uint(c, m, "longest", q->longest);
    rt_verb_uint(c, m, "enqueued", q->enqueued);
    rt_verb_uint(c, m, "dequeued", q->dequeued);
    rt_verb_uint(c, m, "bytes", q->bytes);
    return m;
}
val *rt_verb_pool(rt_verb_call *c, rt_pool_kind kind, const rt_pool_stat *p) {
    val *m = val_map(c->arena);
    rt_verb_text(c, m, "kind", rt_pool_kind_name(kind));
    rt_verb_uint(c, m, "threads", p->threads);
    rt_verb_uint(c, m, "running", p->running);
    rt_verb_uint(c, m, "queued", p->queued);
    rt_verb_uint(c, m, "submitted", p->submitted);
    rt_verb_uint(c, m, "done", p->done);
    rt_verb_uint(c, m, "expired", p->expired);
    rt_verb_uint(c, m, "refused", p->refused);
    return m;
}
double rt_verb_percent(double part, double whole) { return whole > 0 ? (double)(int64_t)(part * 10000 / whole) / 100 : 0; }

/* --- arguments ------------------------------------------------------------------------------------------------------------------- */
err rt_verb_not_a_pid(rt_verb_call *c, slice text) { return rt_verb_fail(c, ERR_INVALID, text, "is not a pid of the form <0.1.2.3>"); }
err rt_verb_not_ours(rt_verb_call *c, slice text) { return rt_verb_fail(c, ERR_NOPROC, text, "is not an actor of this node"); }
bool rt_verb_is_ours(const rt_verb_call *c, rt_pid pid) { return pid.node == 0 && rt_pid_shard(pid) < rt_node_shards(c->node); }

err rt_verb_pid_of(rt_verb_call *c, slice text, rt_pid *out) {
    rt_pid pid;
    if (rt_pid_parse(text, &pid)) {
        if (!rt_verb_is_ours(c, pid)) return rt_verb_not_ours(c, text);
        *out = pid;
        return ERR_OK;
    }
    char name[NAME_TEXT];
    if (text.len == 0 || text.len >= sizeof name || text.p[0] == '<') return rt_verb_not_a_pid(c, text);
    memcpy(name, text.p, text.len);
    name[text.len] = 0;
    pid = rt_name_whereis(c->node, name);
    if (!rt_pid_ok(pid)) return rt_verb_fail(c, ERR_NOPROC, text, "is neither a pid nor the name of an actor");
    *out = pid;
    return ERR_OK;
}

err rt_verb_number(rt_verb_call *c, size_t i, uint64_t max, uint64_t absent, uint64_t *out) {
    uint64_t x = absent;
    if (i < c->n_args && (dec_parse_u64(c->args[i], max, &x) || x == 0)) {
        char matter[64];
        (void)snprintf(matter, sizeof matter, "is not a number from 1 to %" PRIu64, max);
        return rt_verb_fail(c, ERR_INVALID, c->args[i], matter);
    }
    *out = x;
    return ERR_OK;
}

/* --- asking a shard -------------------------------------------------------------------------------------------------------------- */
void rt_verb_ask_unref(rt_verb_ask *a) {
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) mem_free(a);
}
static void ask_free(rt_box *b) { rt_verb_ask_unref(container_of(b, rt_verb_ask, call.box)); }

rt_verb_ask *rt_verb_ask_new(size_t size, void (*fn)(rt_ctx *, rt_shard_call *)) {
    rt_verb_ask *a = mem_zalloc(size);
    a->call.box.free = ask_free;
    a->call.fn = fn;
    atomic_init(&a->refs, 2);
    return a;
}

static usec patience(const rt_node *n, unsigned shard, usec limit) {
    return shard < n->n_shards && rt_watchdog_stuck(n, shard) ? usec_min(limit, ASK_STUCK_USEC) : limit;
}
usec rt_verb_patience(const rt_node *n, rt_pid to, usec limit) {
    return rt_pid_ok(to) && to.node == 0 ? patience(n, rt_pid_shard(to), limit) : limit;
}

err rt_verb_ask_shard(rt_verb_call *c, unsigned shard, rt_verb_ask *a) {
    err e = rt_node_call(c->node, shard, &a->call, patience(c->node, shard, ASK_USEC));
    if (e) rt_verb_ask_unref(a);
    return e;
}
