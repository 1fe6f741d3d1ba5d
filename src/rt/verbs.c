/* verbs: what an operator can ask of the runtime itself: actors, log, events, pool, and the table of all; the looks are in verbs_*.c.
 *
 * Invariants: (1) a shard is held up for one batch of actors at a time. (2) What can be read without a shard (queues, msacc, locks,
 * events, pool) is, so that it is answered while every shard is stuck. (3) Every failure has one sentence in c->why. */
#include "base/codec.h"
#include "base/mem.h"
#include "rt/core.h"
#include "rt/verbs_fn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ACTORS_BATCH  256u  /* taken from a shard at once: some 20 us */
#define ACTORS_SHOWN  1000u /* without an argument */
#define ACTORS_LIMIT  100000u
#define RELATED_SHOWN 10u /* with them an actor still fits on a screen; a leak is the first of them, or all the same */
#define NAME_TEXT     48

/* --- asking a shard -------------------------------------------------------------------------------------------------------------- */
typedef struct shard_ask {
    rt_verb_ask ask;
    rt_pid pid;          /* asked for */
    char cls[NAME_TEXT]; /* do_kill: what its class must be */
    err status;
    uint64_t count; /* flushed */
    uint32_t from;  /* slot to go on with */
    size_t n;
    rt_actor_info info[ACTORS_BATCH];
    size_t n_relations, max_relations;
    rt_stat_relation relations[]; /* max_relations */
} shard_ask;

static shard_ask *ask_new_related(void (*fn)(rt_ctx *, rt_shard_call *), rt_pid pid, size_t max_relations) {
    shard_ask *a = container_of(rt_verb_ask_new(sizeof *a + max_relations * sizeof a->relations[0], fn), shard_ask, ask);
    a->pid = pid;
    a->max_relations = max_relations;
    return a;
}
static shard_ask *ask_new(void (*fn)(rt_ctx *, rt_shard_call *), rt_pid pid) { return ask_new_related(fn, pid, 0); }
static void ask_unref(shard_ask *a) { rt_verb_ask_unref(&a->ask); }
static err ask_shard(rt_verb_call *c, unsigned shard, shard_ask *a) { return rt_verb_ask_shard(c, shard, &a->ask); }

static void do_list(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, ask.call);
    a->n = rt_stat_actors(cx, &a->from, a->info, ACTORS_BATCH);
}
static void do_info(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, ask.call);
    a->status = rt_stat_actor(cx, a->pid, a->info, a->relations, a->max_relations, &a->n_relations) ? ERR_OK : ERR_NOPROC;
}
static void do_flush(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, ask.call);
    a->status = rt_stat_flush(cx, a->pid, &a->count);
}

/* Acts at once; the actor ends when this call is over, before its shard does anything else. */
static void do_kill(rt_ctx *cx, rt_shard_call *call) {
    shard_ask *a = container_of(call, shard_ask, ask.call);
    bool alive = rt_stat_actor(cx, a->pid, a->info, NULL, 0, NULL);
    a->status = !alive ? ERR_NOPROC : strcmp(a->cls, a->info->cls) == 0 ? ERR_OK : ERR_REFUSED;
    if (!a->status) rt_exit(cx, a->pid, ERR_KILLED);
}

/* --- actors ---------------------------------------------------------------------------------------------------------------------- */
typedef enum actor_order { BY_QUEUE, BY_COST, BY_MEMORY, BY_RELATIONS, ACTOR_ORDERS } actor_order;
typedef struct actor_seen {
    uint64_t key; /* what it is ordered by */
    rt_actor_info info;
} actor_seen;
typedef struct actor_rows { /* the first `limit` actors in an order of those seen so far, and up to as many more */
    actor_order order;
    actor_seen *at;
    size_t n, cap, limit;
} actor_rows;

static uint64_t key_of(const rt_actor_info *i, actor_order o) {
    switch (o) {
    case BY_QUEUE: return i->messages.queued;
    case BY_COST: return i->reductions_usec;
    case BY_MEMORY: return rt_stat_memory(i);
    case BY_RELATIONS: return i->relations;
    case ACTOR_ORDERS: break;
    }
    return 0;
}
static int by_key(const void *a, const void *b) { /* the most comes first */
    const actor_seen *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->info.pid.slot < y->info.pid.slot ? -1 : x->info.pid.slot > y->info.pid.slot;
}
static void cut_rows(actor_rows *r) {
    if (r->n > 0) qsort(r->at, r->n, sizeof *r->at, by_key);
    if (r->n > r->limit) r->n = r->limit;
}
static void add_rows(actor_rows *r, const rt_actor_info *p, size_t n) {
    if (n == 0) return;
    if (r->n + n > 2 * r->limit + ACTORS_BATCH) cut_rows(r);
    void *arr = r->at;
    mem_grow(&arr, &r->cap, r->n + n, sizeof *r->at);
    r->at = arr;
    for (size_t i = 0; i < n; i++) r->at[r->n++] = (actor_seen){key_of(&p[i], r->order), p[i]};
}

static val *actor_row(rt_verb_call *c, const rt_actor_info *i) {
    val *m = val_map(c->arena);
    rt_verb_pid(c, m, "pid", i->pid);
    rt_verb_text(c, m, "class", i->cls);
    rt_verb_text(c, m, "name", i->name);
    rt_verb_uint(c, m, "queued", i->messages.queued);
    rt_verb_uint(c, m, "longest", i->messages.longest);
    rt_verb_uint(c, m, "handled", i->handled);
    rt_verb_uint(c, m, "signals", i->signals);
    rt_verb_uint(c, m, "usec", i->reductions_usec);
    rt_verb_uint(c, m, "memory_bytes", rt_stat_memory(i));
    rt_verb_uint(c, m, "relations", i->relations);
    rt_verb_uint(c, m, "ports", i->ports);
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

static err list_actors(rt_verb_call *c, actor_order order, uint64_t limit) {
    actor_rows r = {.order = order, .limit = (size_t)limit};
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++)
        if (collect_shard(c, i, &r)) val_push(c->arena, c->result, stuck_row(c, i));
    cut_rows(&r);
    for (size_t i = 0; i < r.n; i++) val_push(c->arena, c->result, actor_row(c, &r.at[i].info));
    mem_free(r.at);
    return ERR_OK;
}

static err actors_list(rt_verb_call *c) {
    uint64_t limit = ACTORS_SHOWN;
    bool digits = c->n_args == 1 && c->args[0].len > 0 && c->args[0].p[0] >= '0' && c->args[0].p[0] <= '9';
    if (c->n_args == 1 && !digits) return actor_info(c); /* "actors PID": who looks at the list types on */
    if (c->n_args == 1 && (dec_parse_u64(c->args[0], ACTORS_LIMIT, &limit) || limit == 0))
        return rt_verb_fail(c, ERR_INVALID, c->args[0], "is not a number from 1 to 100000");
    return list_actors(c, BY_QUEUE, limit);
}

static err actors_by(rt_verb_call *c) {
    static const char *const names[ACTOR_ORDERS] = {"queue", "cost", "memory", "relations"};
    unsigned order = 0;
    uint64_t limit;
    while (order < ACTOR_ORDERS && !slice_is(c->args[0], names[order])) order++;
    if (order == ACTOR_ORDERS) return rt_verb_fail(c, ERR_INVALID, c->args[0], "is not an order: cost, queue, memory, relations");
    err e = rt_verb_number(c, 1, ACTORS_LIMIT, ACTORS_SHOWN, &limit);
    return e ? e : list_actors(c, (actor_order)order, limit);
}

/* Consumes a; OK: *out is it, filled. */
static err ask_for(rt_verb_call *c, shard_ask *a, shard_ask **out) {
    err e = ask_shard(c, rt_pid_shard(a->pid), a);
    if (e) return rt_verb_fail(c, e, c->args[0], "does not answer: its shard is busy");
    e = a->status;
    if (!e) {
        *out = a;
        return ERR_OK;
    }
    ask_unref(a);
    if (e == ERR_REFUSED)
        return rt_verb_fail(c, e, c->args[0], "holds what others rely on and is not flushed; `actor kill` ends it, and they send again");
    return rt_verb_fail(c, e, c->args[0], "is not alive");
}

err rt_verb_actor_info(rt_verb_call *c, rt_pid pid, rt_actor_info *out) {
    shard_ask *a;
    err e = ask_for(c, ask_new(do_info, pid), &a);
    if (e) return e;
    *out = a->info[0];
    ask_unref(a);
    return ERR_OK;
}

/* --- one actor and whom it is related to: a leak is the same one again and again, so each is listed once, with how often ---------- */
static const char *const relation_names[RT_STAT_KINDS] = {"link", "monitors", "monitored_by", "mutes", "muted_by"};
typedef struct related {
    rt_stat_relation with;
    uint64_t times;
} related;

static int by_other(const void *a, const void *b) {
    const rt_stat_relation *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->other.node != y->other.node) return x->other.node < y->other.node ? -1 : 1;
    if (x->other.slot != y->other.slot) return x->other.slot < y->other.slot ? -1 : 1;
    return x->other.gen < y->other.gen ? -1 : x->other.gen > y->other.gen;
}
static int by_times(const void *a, const void *b) {
    const related *x = a, *y = b;
    return x->times != y->times ? (x->times > y->times ? -1 : 1) : by_other(&x->with, &y->with);
}

static void set_related(rt_verb_call *c, val *m, shard_ask *a) {
    uint64_t kinds[RT_STAT_KINDS] = {0}, shown = 0;
    related *at = mem_alloc((a->n_relations + 1) * sizeof *at);
    size_t n = 0;
    qsort(a->relations, a->n_relations, sizeof a->relations[0], by_other);
    for (size_t i = 0; i < a->n_relations; i++) {
        const rt_stat_relation *r = &a->relations[i];
        kinds[r->kind]++;
        if (n > 0 && by_other(&at[n - 1].with, r) == 0)
            at[n - 1].times++;
        else
            at[n++] = (related){*r, 1};
    }
    qsort(at, n, sizeof *at, by_times);
    val *list = val_list(c->arena);
    for (size_t i = 0; i < n && i < RELATED_SHOWN; i++) {
        val *row = val_map(c->arena);
        rt_verb_text(c, row, "relation", relation_names[at[i].with.kind]);
        rt_verb_pid(c, row, "pid", at[i].with.other);
        rt_verb_uint(c, row, "times", at[i].times);
        val_push(c->arena, list, row);
        shown += at[i].times;
    }
    mem_free(at);
    rt_verb_uint(c, m, "relations", a->info->relations);
    rt_verb_uint(c, m, "links", kinds[RT_STAT_LINK]);
    rt_verb_uint(c, m, "monitors", kinds[RT_STAT_MONITORS]);
    rt_verb_uint(c, m, "monitored_by", kinds[RT_STAT_MONITORED_BY]);
    val_set(c->arena, m, "related", list);
    rt_verb_uint(c, m, "relations_unlisted", a->info->relations - shown);
}

static err actor_info(rt_verb_call *c) {
    rt_pid pid;
    shard_ask *a = NULL;
    err e = rt_verb_pid_of(c, c->args[0], &pid);
    if (!e) e = ask_for(c, ask_new_related(do_info, pid, RT_STAT_RELATIONS), &a);
    if (e) return e;
    const rt_actor_info *i = a->info;
    val *m = c->result = val_map(c->arena);
    rt_verb_pid(c, m, "pid", i->pid);
    rt_verb_text(c, m, "class", i->cls);
    rt_verb_text(c, m, "name", i->name);
    rt_verb_pid(c, m, "parent", i->parent);
    val_set(c->arena, m, "messages", rt_verb_queue(c, &i->messages));
    rt_verb_uint(c, m, "handled", i->handled);
    rt_verb_uint(c, m, "signals", i->signals);
    rt_verb_uint(c, m, "usec", i->reductions_usec);
    rt_verb_uint(c, m, "ports", i->ports);
    rt_verb_uint(c, m, "timers", i->timers);
    rt_verb_uint(c, m, "state_bytes", i->state_bytes);
    val_set(c->arena, m, "trapping", val_bool(c->arena, i->trapping));
    val_set(c->arena, m, "muted", val_bool(c->arena, i->muted));
    val_set(c->arena, m, "held", val_bool(c->arena, i->held));
    val_set(c->arena, m, "running", val_bool(c->arena, i->running));
    set_related(c, m, a);
    ask_unref(a);
    return ERR_OK;
}

static err flush_actor(rt_verb_call *c) {
    rt_pid pid;
    shard_ask *a = NULL;
    err e = rt_verb_pid_of(c, c->args[0], &pid);
    if (!e) e = ask_for(c, ask_new(do_flush, pid), &a);
    if (e) return e;
    c->result = val_map(c->arena);
    rt_verb_uint(c, c->result, "flushed", a->count);
    ask_unref(a);
    return ERR_OK;
}

/* Erlang's exit(Pid, kill): cannot be trapped, and nothing is spared. Whoever supervises it sees it end; what nobody can start again takes
 * the node along. A pid only: a name may have passed on to a successor since the operator looked. The class is asked for as a confirmation
 * that says more than "yes". */
static err kill_actor(rt_verb_call *c) {
    rt_pid pid;
    if (!rt_pid_parse(c->args[0], &pid)) return rt_verb_not_a_pid(c, c->args[0]);
    if (!rt_verb_is_ours(c, pid)) return rt_verb_not_ours(c, c->args[0]);
    shard_ask *a = ask_new(do_kill, pid);
    (void)snprintf(a->cls, sizeof a->cls, SLICE_FMT, SLICE_ARG(c->args[1]));
    err e = ask_shard(c, rt_pid_shard(pid), a);
    if (e) return rt_verb_fail(c, e, c->args[0], "does not answer: its shard is busy; it will be killed when the shard goes on");
    e = a->status;
    if (!e) {
        c->result = actor_row(c, a->info);
    } else if (e == ERR_REFUSED) {
        char matter[NAME_TEXT + 48];
        (void)snprintf(matter, sizeof matter, "is not its class, which is %s: nothing was killed", a->info->cls);
        e = rt_verb_fail(c, e, c->args[1], matter);
    } else {
        e = rt_verb_fail(c, e, c->args[0], "is not alive");
    }
    ask_unref(a);
    return e;
}

/* --- log, events, pool, help ----------------------------------------------------------------------------------------------------- */
const char *rt_verb_level_name(rt_level l) {
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
            return rt_verb_fail(c, ERR_INVALID, c->args[0], "is not a level: debug, info, notice, warning, error");
        rt_log_level(c->node, l);
    }
    c->result = val_map(c->arena);
    rt_verb_text(c, c->result, "level", rt_verb_level_name(rt_log_level_get(c->node)));
    return ERR_OK;
}

static err events_counters(rt_verb_call *c) {
    bool all = c->n_args == 1;
    if (all && !slice_is(c->args[0], "all"))
        return rt_verb_fail(c, ERR_INVALID, c->args[0], "is not \"all\", which is what can follow events");
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        uint64_t n = rt_event_count(c->node, (rt_event_id)i);
        if (n == 0 && !all) continue;
        val *m = val_map(c->arena);
        rt_verb_text(c, m, "event", rt_event_descs[i].name);
        rt_verb_uint(c, m, "count", n);
        rt_verb_text(c, m, "level", rt_verb_level_name(rt_event_descs[i].level));
        rt_verb_text(c, m, "meaning", rt_event_descs[i].doc);
        val_push(c->arena, c->result, m);
    }
    return ERR_OK;
}

/* Off freezes what is in it: on a busy node the last minute before a fault is soon written over. */
static err recorder_set(rt_verb_call *c, bool on) {
    const rt_node_cfg *cfg = rt_node_config(c->node);
    if (!cfg->recorder_path) return rt_verb_fail(c, ERR_NOT_FOUND, SLICE("recorder"), "is not there: recorder.bytes is 0");
    rt_event_record(c->node, on);
    return ERR_OK;
}
static err recorder_on(rt_verb_call *c) { return recorder_set(c, true); }
static err recorder_off(rt_verb_call *c) { return recorder_set(c, false); }
static err recorder_show(rt_verb_call *c) {
    const rt_node_cfg *cfg = rt_node_config(c->node);
    c->result = val_map(c->arena);
    val_set(c->arena, c->result, "recording", val_bool(c->arena, rt_event_recording(c->node)));
    rt_verb_text(c, c->result, "file", cfg->recorder_path ? cfg->recorder_path : "");
    rt_verb_uint(c, c->result, "rings", cfg->recorder_path ? rt_node_shards(c->node) + 1 : 0);
    rt_verb_uint(c, c->result, "events_a_ring", cfg->recorder_path ? cfg->recorder_bytes / sizeof(rt_record) : 0);
    return ERR_OK;
}

/* The job that has run, or waited, for longest. */
static void set_oldest(rt_verb_call *c, val *m, const char *job, const char *age, const struct rt_pool_oldest *o) {
    if (!o->what)
        val_set(c->arena, m, job, val_null(c->arena));
    else if (o->key)
        val_set(c->arena, m, job, val_strf(c->arena, "%s, key %" PRIu64, o->what, o->key));
    else
        rt_verb_text(c, m, job, o->what);
    rt_verb_uint(c, m, age, (uint64_t)o->age);
}

static err pool_show(rt_verb_call *c) {
    c->result = val_list(c->arena);
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        rt_pool_stat p;
        rt_pool_stats(c->node, (rt_pool_kind)k, &p);
        val *m = rt_verb_pool(c, (rt_pool_kind)k, &p);
        rt_verb_uint(c, m, "held", p.held);
        rt_verb_uint(c, m, "stuck", p.stuck);
        set_oldest(c, m, "longest_wait", "oldest_queued_usec", &p.wait);
        set_oldest(c, m, "longest_run", "oldest_running_usec", &p.run);
        val_push(c->arena, c->result, m);
    }
    return ERR_OK;
}

static void help_row(void *arg, const rt_verb *v) {
    rt_verb_call *c = arg;
    val *m = val_map(c->arena);
    rt_verb_text(c, m, "module", v->module);
    rt_verb_text(c, m, "function", v->function);
    rt_verb_uint(c, m, "arity_min", v->arity_min);
    rt_verb_uint(c, m, "arity_max", v->arity_max);
    val_set(c->arena, m, "mutates", val_bool(c->arena, v->how == RT_MUTATES));
    rt_verb_text(c, m, "usage", v->usage);
    rt_verb_text(c, m, "doc", v->doc);
    val_push(c->arena, c->result, m);
}
static err help_verbs(rt_verb_call *c) {
    c->result = val_list(c->arena);
    rt_node_each_verb(c->node, help_row, c);
    return ERR_OK;
}

/* murrectl takes the first verb of a module that fits when the function is left out: what reads comes first. */
const rt_verb rt_verbs[] = {
    {"actors", "list", 0, 1, RT_READS, actors_list, "actors [LIMIT|PID|NAME]", "lists actors, the longest mailboxes first, or shows one"},
    {"actors", "by", 1, 2, RT_READS, actors_by, "actors by cost|queue|memory|relations [LIMIT]",
     "lists actors, first those with the most time in handlers, messages waiting, memory, or links and monitors"},
    {"actor", "info", 1, 1, RT_READS, actor_info, "actor PID|NAME", "shows all that is known of one actor"},
    {"actor", "kill", 2, 2, RT_MUTATES, kill_actor, "actor kill PID CLASS",
     "ends an actor of that class at once: a last resort, or a drill"},
    {"queues", "show", 0, 0, RT_READS, rt_verb_queues, "queues",
     "shows message and signal queues of the node and of each shard, with rates"},
    {"queues", "longest", 0, 1, RT_READS, rt_verb_longest, "queues longest [N]", "lists the actors with the longest mailboxes"},
    {"queues", "actor", 1, 2, RT_WAITS, rt_verb_actor_rates, "queues actor PID|NAME [SECONDS]",
     "shows the rates of one actor, by two looks so far apart"},
    {"probe", "actor", 1, 2, RT_WAITS, rt_verb_probe, "probe PID|NAME [MSEC]",
     "asks an actor for a sign of life past all that waits; if none comes, says what its shard is at"},
    {"tables", "chains", 0, 0, RT_READS, rt_verb_tables, "tables", "shows how long the chains of the big hash tables are"},
    {"tables", "list", 0, 1, RT_READS, rt_verb_tables_list, "tables list [N]",
     "lists the tables that actors share, the largest first: whose they are, who inherits them, what they hold"},
    {"flush", "actor", 1, 1, RT_MUTATES, flush_actor, "flush PID|NAME", "takes out every message that waits in an actor's mailbox"},
    {"msacc", "read", 0, 0, RT_READS, rt_verb_msacc_read, "msacc", "shows what each thread spends its time on, in percent"},
    {"msacc", "print", 0, 1, RT_READS, rt_verb_msacc_print, "msacc print [threads]",
     "the same by type of thread, laid out as by OTP's msacc:print"},
    {"msacc", "start", 0, 0, RT_MUTATES, rt_verb_msacc_start, "msacc start", "counts from zero; it is on by default"},
    {"msacc", "stop", 0, 0, RT_MUTATES, rt_verb_msacc_stop, "msacc stop", "stops counting"},
    {"msacc", "reset", 0, 0, RT_MUTATES, rt_verb_msacc_reset, "msacc reset", "sets every count to zero"},
    {"locks", "table", 0, 1, RT_READS, rt_verb_locks, "locks [CLASS]",
     "shows takes, collisions and waiting time of each class of locks, and of what does without"},
    {"locks", "instances", 0, 1, RT_READS, rt_verb_locks_instances, "locks instances [CLASS]", "the same of each lock, ring, inbox"},
    {"locks", "locations", 0, 1, RT_READS, rt_verb_locks_locations, "locks locations [CLASS]",
     "the same of each place in the source that takes one, with its waiting times"},
    {"locks", "on", 0, 0, RT_MUTATES, rt_verb_locks_on, "locks on", "counts lock takes"},
    {"locks", "off", 0, 0, RT_MUTATES, rt_verb_locks_off, "locks off", "stops counting lock takes"},
    {"locks", "clear", 0, 0, RT_MUTATES, rt_verb_locks_clear, "locks clear", "sets the counts to zero"},
    {"log", "level", 0, 0, RT_READS, log_level, "log level", "shows the level from which on events are logged"},
    {"log", "level", 1, 1, RT_MUTATES, log_level, "log level LEVEL", "sets it: debug, info, notice, warning, error"},
    {"events", "counters", 0, 1, RT_READS, events_counters, "events [all]", "shows how often each event has happened"},
    {"events", "follow", 0, RT_VERB_ARGS_MAX, RT_READS, rt_verb_follow_events, "events follow [EVENT ...]",
     "shows events as they happen, until it is ended: those named, all, or those from level info on"},
    {"recorder", "show", 0, 0, RT_READS, recorder_show, "recorder",
     "shows whether events are recorded, where, and how many of the last ones are kept"},
    {"recorder", "on", 0, 0, RT_MUTATES, recorder_on, "recorder on", "records events; it is on by default"},
    {"recorder", "off", 0, 0, RT_MUTATES, recorder_off, "recorder off", "stops recording, so that what is in the flight recorder stays"},
    {"workers", "list", 0, 1, RT_READS, rt_verb_workers, "workers [POOL]",
     "shows the pools of workers by dispatcher: idle, busy, stuck; what waits, was dispatched, expired, refused"},
    {"pool", "show", 0, 0, RT_READS, pool_show, "pool", "shows the threads for work that blocks, by kind"},
    {"help", "verbs", 0, 0, RT_READS, help_verbs, "help", "lists all commands"},
};
const size_t rt_verbs_count = ARRAY_LEN(rt_verbs);
