/* verbs: what an operator can ask of the runtime itself: actors, queues, microstates, locks, log, events, pool.
 *
 *     caller's thread (ctl)                          shard, between two handlers
 *     shard_ask, 2 references   -- rt_node_call -->  fn fills the ask
 *     waits ASK_USEC at most    <------------------  drops its reference
 *     reads it, drops its own
 *
 * Invariants: (1) an ask outlives both sides: a shard that answers after the time limit writes into memory that is still there, and nobody
 * reads it. (2) A shard is held up for one batch of actors at a time. (3) What can be read without a shard (queues, msacc, locks, events,
 * pool) is, so that it is answered while every shard is stuck. (4) Every failure has one sentence in c->why. */
#include "rt/verbs.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rt/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ASK_USEC       (2 * USEC_PER_SEC)
#define ACTORS_BATCH   256u  /* taken from a shard at once: some 20 us */
#define ACTORS_SHOWN   1000u /* without an argument */
#define ACTORS_LIMIT   100000u
#define LINKS_SHOWN    256u
#define MSACC_ROWS_MAX 512u
#define NAME_TEXT      48

/* "'what' is the matter" */
static err fail(rt_verb_call *c, err e, slice what, const char *matter) {
    char text[96];
    (void)utf8_escape(what, text, sizeof text);
    (void)snprintf(c->why, sizeof c->why, "'%s' %s", text, matter);
    return e;
}

static void set_uint(rt_verb_call *c, val *map, const char *key, uint64_t x) {
    val_set(c->arena, map, key, val_int(c->arena, x > INT64_MAX ? INT64_MAX : (int64_t)x));
}
static void set_text(rt_verb_call *c, val *map, const char *key, const char *s) {
    val_set(c->arena, map, key, val_str(c->arena, slice_str(s)));
}
static void set_pid(rt_verb_call *c, val *map, const char *key, rt_pid pid) {
    char text[RT_PID_TEXT] = "";
    if (rt_pid_ok(pid)) rt_pid_format(pid, text);
    set_text(c, map, key, text);
}
static double percent(uint64_t part, uint64_t whole) {
    return whole ? (double)(part * 10000 / whole) / 100.0 : 0; /* two digits are what people read */
}

/* --- asking a shard -------------------------------------------------------------------------------------------------------------- */
typedef struct shard_ask {
    rt_shard_call call;
    _Atomic uint32_t refs; /* the shard's and the caller's; acq_rel, pairs with itself: the last one frees */
    rt_pid pid;            /* asked for */
    char cls[NAME_TEXT];   /* do_kill: what its class must be */
    err status;
    uint64_t count; /* flushed */
    uint32_t from;  /* slot to go on with */
    size_t n, n_links;
    rt_pid links[LINKS_SHOWN];
    rt_actor_info info[ACTORS_BATCH];
} shard_ask;

static void ask_unref(shard_ask *a) {
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) mem_free(a);
}
static void ask_free(rt_box *b) { ask_unref(container_of(b, shard_ask, call.box)); }

static shard_ask *ask_new(void (*fn)(rt_ctx *, rt_shard_call *), rt_pid pid) {
    shard_ask *a = mem_zalloc(sizeof *a);
    a->call.box.free = ask_free;
    a->call.fn = fn;
    a->pid = pid;
    atomic_init(&a->refs, 2);
    return a;
}

/* Runs it on the shard; ERR_OK: it is filled, and the caller drops it. Otherwise it is dropped. */
static err ask_shard(rt_verb_call *c, unsigned shard, shard_ask *a) {
    err e = rt_node_call(c->node, shard, &a->call, ASK_USEC);
    if (e) ask_unref(a);
    return e;
}

static void do_list(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, call);
    a->n = rt_stat_actors(cx, &a->from, a->info, ACTORS_BATCH);
}
static void do_info(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, call);
    a->status = rt_stat_actor(cx, a->pid, a->info, a->links, LINKS_SHOWN, &a->n_links) ? ERR_OK : ERR_NOPROC;
}
static void do_flush(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, call);
    a->status = rt_stat_flush(cx, a->pid, &a->count);
}

/* Acts at once; the actor ends when this call is over, before its shard does anything else. */
static void do_kill(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, call);
    bool alive = rt_stat_actor(cx, a->pid, a->info, NULL, 0, NULL);
    a->status = !alive ? ERR_NOPROC : strcmp(a->cls, a->info->cls) == 0 ? ERR_OK : ERR_REFUSED;
    if (!a->status) rt_exit(cx, a->pid, ERR_KILLED);
}

/* --- actors ---------------------------------------------------------------------------------------------------------------------- */
typedef struct actor_rows { /* the `limit` actors with the longest mailboxes seen so far, and up to as many more */
    rt_actor_info *at;
    size_t n, cap, limit;
} actor_rows;

static int by_queue(const void *a, const void *b) {
    const rt_actor_info *x = a, *y = b;
    if (x->messages.queued != y->messages.queued) return x->messages.queued > y->messages.queued ? -1 : 1;
    return x->pid.slot < y->pid.slot ? -1 : x->pid.slot > y->pid.slot;
}
static void cut_rows(actor_rows *r) {
    if (r->n > 0) qsort(r->at, r->n, sizeof *r->at, by_queue);
    if (r->n > r->limit) r->n = r->limit;
}
static void add_rows(actor_rows *r, const rt_actor_info *p, size_t n) {
    if (n == 0) return;
    if (r->n + n > 2 * r->limit + ACTORS_BATCH) cut_rows(r);
    void *arr = r->at;
    mem_grow(&arr, &r->cap, r->n + n, sizeof *r->at);
    r->at = arr;
    memcpy(&r->at[r->n], p, n * sizeof *p);
    r->n += n;
}

static val *actor_row(rt_verb_call *c, const rt_actor_info *i) {
    val *m = val_map(c->arena);
    set_pid(c, m, "pid", i->pid);
    set_text(c, m, "class", i->cls);
    set_text(c, m, "name", i->name);
    set_uint(c, m, "queued", i->messages.queued);
    set_uint(c, m, "longest", i->messages.longest);
    set_uint(c, m, "handled", i->handled);
    set_uint(c, m, "signals", i->signals);
    set_uint(c, m, "usec", i->reductions_usec);
    set_uint(c, m, "ports", i->ports);
    return m;
}

static val *stuck_row(rt_verb_call *c, unsigned shard) {
    const char *cls = atomic_load_explicit(&c->node->shards[shard].run_class, memory_order_relaxed);
    val *m = val_map(c->arena);
    val_set(c->arena, m, "pid", val_strf(c->arena, "shard %u", shard));
    val_set(c->arena, m, "class", val_strf(c->arena, "(does not answer, in %s)", cls ? cls : "no actor"));
    return m;
}

static err collect_shard(rt_verb_call *c, unsigned shard, actor_rows *r) {
    uint32_t from = 0;
    for (;;) {
        shard_ask *a = ask_new(do_list, RT_PID_NONE);
        a->from = from;
        err e = ask_shard(c, shard, a);
        if (e) return e;
        add_rows(r, a->info, a->n);
        from = a->from;
        bool done = a->n < ACTORS_BATCH;
        ask_unref(a);
        if (done) return ERR_OK;
    }
}

static err actor_info(rt_verb_call *c);

static err actors_list(rt_verb_call *c) {
    uint64_t limit = ACTORS_SHOWN;
    bool digits = c->n_args == 1 && c->args[0].len > 0 && c->args[0].p[0] >= '0' && c->args[0].p[0] <= '9';
    if (c->n_args == 1 && !digits) return actor_info(c); /* "actors PID": who looks at the list types on */
    if (c->n_args == 1 && (dec_parse_u64(c->args[0], ACTORS_LIMIT, &limit) || limit == 0))
        return fail(c, ERR_INVALID, c->args[0], "is not a number from 1 to 100000");
    actor_rows r = {.limit = (size_t)limit};
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++)
        if (collect_shard(c, i, &r)) val_push(c->arena, c->result, stuck_row(c, i));
    cut_rows(&r);
    for (size_t i = 0; i < r.n; i++) val_push(c->arena, c->result, actor_row(c, &r.at[i]));
    mem_free(r.at);
    return ERR_OK;
}

static err not_a_pid(rt_verb_call *c, slice text) { return fail(c, ERR_INVALID, text, "is not a pid of the form <0.1.2.3>"); }
static err not_ours(rt_verb_call *c, slice text) { return fail(c, ERR_NOPROC, text, "is not an actor of this node"); }
static bool is_ours(const rt_verb_call *c, rt_pid pid) { return pid.node == 0 && rt_pid_shard(pid) < rt_node_shards(c->node); }

/* A pid as printed, or a registered name. */
static err pid_of(rt_verb_call *c, slice text, rt_pid *out) {
    rt_pid pid;
    if (rt_pid_parse(text, &pid)) {
        if (!is_ours(c, pid)) return not_ours(c, text);
        *out = pid;
        return ERR_OK;
    }
    char name[NAME_TEXT];
    if (text.len == 0 || text.len >= sizeof name || text.p[0] == '<') return not_a_pid(c, text);
    memcpy(name, text.p, text.len);
    name[text.len] = 0;
    pid = rt_name_whereis(c->node, name);
    if (!rt_pid_ok(pid)) return fail(c, ERR_NOPROC, text, "is neither a pid nor the name of an actor");
    *out = pid;
    return ERR_OK;
}

static err ask_actor(rt_verb_call *c, void (*fn)(rt_ctx *, rt_shard_call *), shard_ask **out) {
    rt_pid pid;
    err e = pid_of(c, c->args[0], &pid);
    if (e) return e;
    shard_ask *a = ask_new(fn, pid);
    e = ask_shard(c, rt_pid_shard(pid), a);
    if (e) return fail(c, e, c->args[0], "does not answer: its shard is busy");
    e = a->status;
    if (!e) {
        *out = a;
        return ERR_OK;
    }
    ask_unref(a);
    if (e == ERR_REFUSED)
        return fail(c, e, c->args[0], "holds what others rely on and is not flushed; `actor kill` ends it, and they send again");
    return fail(c, e, c->args[0], "is not alive");
}

static val *queue_map(rt_verb_call *c, const rt_queue_stat *q) {
    val *m = val_map(c->arena);
    set_uint(c, m, "queued", q->queued);
    set_uint(c, m, "longest", q->longest);
    set_uint(c, m, "enqueued", q->enqueued);
    set_uint(c, m, "dequeued", q->dequeued);
    set_uint(c, m, "bytes", q->bytes);
    return m;
}

static err actor_info(rt_verb_call *c) {
    shard_ask *a;
    err e = ask_actor(c, do_info, &a);
    if (e) return e;
    const rt_actor_info *i = a->info;
    val *m = c->result = val_map(c->arena), *links = val_list(c->arena);
    set_pid(c, m, "pid", i->pid);
    set_text(c, m, "class", i->cls);
    set_text(c, m, "name", i->name);
    set_pid(c, m, "parent", i->parent);
    val_set(c->arena, m, "messages", queue_map(c, &i->messages));
    set_uint(c, m, "handled", i->handled);
    set_uint(c, m, "signals", i->signals);
    set_uint(c, m, "usec", i->reductions_usec);
    for (size_t k = 0; k < a->n_links; k++) {
        char text[RT_PID_TEXT];
        rt_pid_format(a->links[k], text);
        val_push(c->arena, links, val_str(c->arena, slice_str(text)));
    }
    val_set(c->arena, m, "links", links);
    set_uint(c, m, "monitors", i->monitors);
    set_uint(c, m, "monitored_by", i->monitored_by);
    set_uint(c, m, "ports", i->ports);
    set_uint(c, m, "timers", i->timers);
    set_uint(c, m, "state_bytes", i->state_bytes);
    val_set(c->arena, m, "trapping", val_bool(c->arena, i->trapping));
    val_set(c->arena, m, "muted", val_bool(c->arena, i->muted));
    val_set(c->arena, m, "running", val_bool(c->arena, i->running));
    ask_unref(a);
    return ERR_OK;
}

static err flush_actor(rt_verb_call *c) {
    shard_ask *a;
    err e = ask_actor(c, do_flush, &a);
    if (e) return e;
    c->result = val_map(c->arena);
    set_uint(c, c->result, "flushed", a->count);
    ask_unref(a);
    return ERR_OK;
}

/* Erlang's exit(Pid, kill): cannot be trapped, and nothing is spared. Whoever supervises it sees it end; what nobody can start again takes
 * the node along. A pid only: a name may have passed on to a successor since the operator looked. The class is asked for as a confirmation
 * that says more than "yes". */
static err kill_actor(rt_verb_call *c) {
    rt_pid pid;
    if (!rt_pid_parse(c->args[0], &pid)) return not_a_pid(c, c->args[0]);
    if (!is_ours(c, pid)) return not_ours(c, c->args[0]);
    shard_ask *a = ask_new(do_kill, pid);
    (void)snprintf(a->cls, sizeof a->cls, SLICE_FMT, SLICE_ARG(c->args[1]));
    err e = ask_shard(c, rt_pid_shard(pid), a);
    if (e) return fail(c, e, c->args[0], "does not answer: its shard is busy; it will be killed when the shard goes on");
    e = a->status;
    if (!e) {
        c->result = actor_row(c, a->info);
    } else if (e == ERR_REFUSED) {
        char matter[NAME_TEXT + 48];
        (void)snprintf(matter, sizeof matter, "is not its class, which is %s: nothing was killed", a->info->cls);
        e = fail(c, e, c->args[1], matter);
    } else {
        e = fail(c, e, c->args[0], "is not alive");
    }
    ask_unref(a);
    return e;
}

static err queues_show(rt_verb_call *c) {
    rt_queue_stat q[2];
    rt_stat_queues(c->node, &q[0], &q[1]);
    c->result = val_map(c->arena);
    val_set(c->arena, c->result, "messages", queue_map(c, &q[0]));
    val_set(c->arena, c->result, "signals", queue_map(c, &q[1]));
    set_uint(c, c->result, "actors", rt_stat_actor_count(c->node));
    return ERR_OK;
}

/* --- microstates ----------------------------------------------------------------------------------------------------------------- */
static void set_thread(rt_verb_call *c, val *m, const rt_msacc_row *r) {
    const char *type = rt_msacc_type_name(r->type);
    unsigned kind = r->id >> 8;
    val *name = r->type == RT_MSACC_POOL && kind < RT_POOL_KINDS
                    ? val_strf(c->arena, "%s %s/%u", type, rt_pool_kind_name((rt_pool_kind)kind), r->id & 0xff)
                    : val_strf(c->arena, "%s %u", type, r->id);
    val_set(c->arena, m, "thread", name);
}

static err msacc_read(rt_verb_call *c) {
    rt_msacc_row *rows = mem_alloc(MSACC_ROWS_MAX * sizeof *rows);
    size_t n = rt_msacc_read(c->node, rows, MSACC_ROWS_MAX);
    sys *s = rt_node_sys(c->node);
    uint64_t per_usec = s->cycles_per_sec(s) / (uint64_t)USEC_PER_SEC;
    if (per_usec == 0) per_usec = 1;
    c->result = val_list(c->arena);
    for (size_t i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < RT_MSACC_STATES; k++) sum += rows[i].cycles[k];
        val *m = val_map(c->arena);
        set_thread(c, m, &rows[i]);
        for (unsigned k = 0; k < RT_MSACC_STATES; k++)
            val_set(c->arena, m, rt_msacc_state_name((rt_msacc_state)k), val_real(c->arena, percent(rows[i].cycles[k], sum)));
        set_uint(c, m, "usec", sum / per_usec);
        val_push(c->arena, c->result, m);
    }
    mem_free(rows);
    return ERR_OK;
}
static err msacc_start(rt_verb_call *c) {
    rt_msacc_enable(c->node, true);
    rt_msacc_reset(c->node);
    return ERR_OK;
}
static err msacc_stop(rt_verb_call *c) {
    rt_msacc_enable(c->node, false);
    return ERR_OK;
}
static err msacc_reset(rt_verb_call *c) {
    rt_msacc_reset(c->node);
    return ERR_OK;
}

/* --- locks ----------------------------------------------------------------------------------------------------------------------- */
static void lock_row(void *arg, const lock *l) {
    rt_verb_call *c = arg;
    sys *s = rt_node_sys(c->node);
    uint64_t tries = atomic_load_explicit(&l->tries, memory_order_relaxed);
    uint64_t collisions = atomic_load_explicit(&l->collisions, memory_order_relaxed);
    uint64_t cycles = atomic_load_explicit(&l->wait_cycles, memory_order_relaxed), rate = s->cycles_per_sec(s);
    val *m = val_map(c->arena);
    set_text(c, m, "lock", l->name);
    set_uint(c, m, "id", l->id);
    set_uint(c, m, "tries", tries);
    set_uint(c, m, "collisions", collisions);
    val_set(c->arena, m, "collisions_percent", val_real(c->arena, percent(collisions, tries)));
    set_uint(c, m, "wait_usec", (uint64_t)((double)cycles * (double)USEC_PER_SEC / (double)rate));
    val_push(c->arena, c->result, m);
}
static err locks_table(rt_verb_call *c) {
    c->result = val_list(c->arena);
    lock_set_each(rt_node_locks(c->node), lock_row, c);
    return ERR_OK;
}
static err locks_on(rt_verb_call *c) {
    lock_set_counting(rt_node_locks(c->node), true);
    return ERR_OK;
}
static err locks_off(rt_verb_call *c) {
    lock_set_counting(rt_node_locks(c->node), false);
    return ERR_OK;
}
static err locks_clear(rt_verb_call *c) {
    lock_set_clear(rt_node_locks(c->node));
    return ERR_OK;
}

/* --- log, events, pool, help ----------------------------------------------------------------------------------------------------- */
static const char *level_name(rt_level l) {
    switch (l) {
    case RT_DEBUG: return "debug";
    case RT_INFO: return "info";
    case RT_NOTICE: return "notice";
    case RT_WARNING: return "warning";
    case RT_ERROR: return "error";
    }
    return "?";
}

static err log_level(rt_verb_call *c) {
    rt_level l;
    if (c->n_args == 1) {
        if (!rt_log_level_parse(c->args[0], &l))
            return fail(c, ERR_INVALID, c->args[0], "is not a level: debug, info, notice, warning, error");
        rt_log_level(c->node, l);
    }
    c->result = val_map(c->arena);
    set_text(c, c->result, "level", level_name(rt_log_level_get(c->node)));
    return ERR_OK;
}

static err events_counters(rt_verb_call *c) {
    bool all = c->n_args == 1;
    if (all && !slice_is(c->args[0], "all")) return fail(c, ERR_INVALID, c->args[0], "is not \"all\", which is what can follow events");
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        uint64_t n = rt_event_count(c->node, (rt_event_id)i);
        if (n == 0 && !all) continue;
        val *m = val_map(c->arena);
        set_text(c, m, "event", rt_event_descs[i].name);
        set_uint(c, m, "count", n);
        set_text(c, m, "level", level_name(rt_event_descs[i].level));
        set_text(c, m, "meaning", rt_event_descs[i].doc);
        val_push(c->arena, c->result, m);
    }
    return ERR_OK;
}

static err pool_show(rt_verb_call *c) {
    c->result = val_list(c->arena);
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        rt_pool_stat p;
        rt_pool_stats(c->node, (rt_pool_kind)k, &p);
        val *m = val_map(c->arena);
        set_text(c, m, "kind", rt_pool_kind_name((rt_pool_kind)k));
        set_uint(c, m, "threads", p.threads);
        set_uint(c, m, "running", p.running);
        set_uint(c, m, "queued", p.queued);
        set_uint(c, m, "submitted", p.submitted);
        set_uint(c, m, "done", p.done);
        set_uint(c, m, "expired", p.expired);
        set_uint(c, m, "refused", p.refused);
        val_push(c->arena, c->result, m);
    }
    return ERR_OK;
}

static void help_row(void *arg, const rt_verb *v) {
    rt_verb_call *c = arg;
    val *m = val_map(c->arena);
    set_text(c, m, "module", v->module);
    set_text(c, m, "function", v->function);
    set_uint(c, m, "arity_min", v->arity_min);
    set_uint(c, m, "arity_max", v->arity_max);
    val_set(c->arena, m, "mutates", val_bool(c->arena, v->mutates));
    set_text(c, m, "usage", v->usage);
    set_text(c, m, "doc", v->doc);
    val_push(c->arena, c->result, m);
}
static err help_verbs(rt_verb_call *c) {
    c->result = val_list(c->arena);
    rt_node_each_verb(c->node, help_row, c);
    return ERR_OK;
}

/* murrectl takes the first verb of a module that fits when the function is left out: what reads comes first. */
const rt_verb rt_verbs[] = {
    {"actors", "list", 0, 1, false, actors_list, "actors [LIMIT|PID|NAME]", "lists actors, the longest mailboxes first, or shows one"},
    {"actor", "info", 1, 1, false, actor_info, "actor PID|NAME", "shows all that is known of one actor"},
    {"actor", "kill", 2, 2, true, kill_actor, "actor kill PID CLASS", "ends an actor of that class at once: a last resort, or a drill"},
    {"queues", "show", 0, 0, false, queues_show, "queues", "shows message and signal queues of the whole node"},
    {"flush", "actor", 1, 1, true, flush_actor, "flush PID|NAME", "takes out every message that waits in an actor's mailbox"},
    {"msacc", "read", 0, 0, false, msacc_read, "msacc", "shows what each thread spends its time on, in percent"},
    {"msacc", "start", 0, 0, true, msacc_start, "msacc start", "counts from zero; it is on by default"},
    {"msacc", "stop", 0, 0, true, msacc_stop, "msacc stop", "stops counting"},
    {"msacc", "reset", 0, 0, true, msacc_reset, "msacc reset", "sets every count to zero"},
    {"locks", "table", 0, 0, false, locks_table, "locks", "shows takes, collisions and waiting time of each lock"},
    {"locks", "on", 0, 0, true, locks_on, "locks on", "counts lock takes"},
    {"locks", "off", 0, 0, true, locks_off, "locks off", "stops counting lock takes"},
    {"locks", "clear", 0, 0, true, locks_clear, "locks clear", "sets the counts to zero"},
    {"log", "level", 0, 0, false, log_level, "log level", "shows the level from which on events are logged"},
    {"log", "level", 1, 1, true, log_level, "log level LEVEL", "sets it: debug, info, notice, warning, error"},
    {"events", "counters", 0, 1, false, events_counters, "events [all]", "shows how often each event has happened"},
    {"pool", "show", 0, 0, false, pool_show, "pool", "shows the threads for work that blocks, by kind"},
    {"help", "verbs", 0, 0, false, help_verbs, "help", "lists all commands"},
};
const size_t rt_verbs_count = ARRAY_LEN(rt_verbs);
