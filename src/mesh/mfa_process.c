/* mfa_process: actors as processes (erts, erlang.erl: process_info/1,2, processes/0): what an actor has and what an Erlang process has not
 * are told apart in one table, item by item.
 *
 *     reductions         microseconds in its callbacks: the only measure of work that the runtime takes
 *     current_function   {Class, handle, 3}: what its class runs when a message is there; it is looked at between two
 *     initial_call       {Class, init, 3}
 *     status             suspended: muted, or holds back its mailbox; runnable; waiting
 *     heaps, stacks, dictionary, traces, ...: none, as OTP says it of a process that has none
 *
 * Any other item is badarg, and so are the messages that wait: they are no terms. */
#include "base/mem.h"
#include "mesh/mfa.h"

#define ITEMS_MAX 256u /* asked for at once: each of them many times over would be a long answer to a short question */

typedef struct look {
    mesh_mfa_call *c;
    rt_reader *r; /* while relations are written */
    const rt_actor_info *i;
    const rt_stat_relation *relations;
    size_t n_relations;
} look;

/* --- values ------------------------------------------------------------------------------------------------------------------------ */
static void current_function(const look *l, buf *out) { mesh_mfa_call_of(out, l->i->cls, "handle"); }
static void initial_call(const look *l, buf *out) { mesh_mfa_call_of(out, l->i->cls, "init"); }
static void registered_name(const look *l, buf *out) {
    if (l->i->name[0] && etf_is_atom(slice_str(l->i->name)))
        etf_put_atom(out, slice_str(l->i->name));
    else
        etf_put_nil(out);
}
static void message_queue_len(const look *l, buf *out) { etf_put_uint(out, l->i->messages.queued); }
static void memory(const look *l, buf *out) { etf_put_uint(out, rt_stat_memory(l->i)); }
static void reductions(const look *l, buf *out) { etf_put_uint(out, l->i->reductions_usec); }
static void trap_exit(const look *l, buf *out) { etf_put_bool(out, l->i->trapping); }
static void status(const look *l, buf *out) {
    bool suspended = l->i->muted || l->i->held;
    etf_put_atom(out, suspended ? SLICE("suspended") : l->i->running ? SLICE("runnable") : SLICE("waiting"));
}
static void parent(const look *l, buf *out) {
    (void)out; /* the same as value */
    mesh_mfa_pid(l->c, l->r, l->i->parent);
}

static void put_related(const look *l, rt_stat_kind kind, const char *tag) {
    uint32_t n = 0;
    for (size_t i = 0; i < l->n_relations; i++) n += l->relations[i].kind == kind;
    etf_put_list(l->c->value, n);
    for (size_t i = 0; i < l->n_relations; i++) {
        if (l->relations[i].kind != kind) continue;
        if (tag) mesh_mfa_pair(l->c->value, tag);
        mesh_mfa_pid(l->c, l->r, l->relations[i].other);
    }
    etf_put_nil(l->c->value);
}
static void links(const look *l, buf *out) { (void)out, put_related(l, RT_STAT_LINK, NULL); }
static void monitors(const look *l, buf *out) { (void)out, put_related(l, RT_STAT_MONITORS, "process"); }
static void monitored_by(const look *l, buf *out) { (void)out, put_related(l, RT_STAT_MONITORED_BY, NULL); }

/* What no actor has. */
static void none(const look *l, buf *out) { (void)l, etf_put_nil(out); }
static void zero(const look *l, buf *out) { (void)l, etf_put_int(out, 0); }
static void no(const look *l, buf *out) { (void)l, etf_put_bool(out, false); }
static void undefined(const look *l, buf *out) { (void)l, etf_put_atom(out, SLICE("undefined")); }
static void normal(const look *l, buf *out) { (void)l, etf_put_atom(out, SLICE("normal")); }
static void off_heap(const look *l, buf *out) { (void)l, etf_put_atom(out, SLICE("off_heap")); }

typedef struct item {
    const char *name;
    void (*put)(const look *l, buf *out);
    bool all; /* process_info/1 has it */
} item;
static const item items[] = {
    {"registered_name", registered_name, true},
    {"current_function", current_function, true},
    {"initial_call", initial_call, true},
    {"status", status, true},
    {"message_queue_len", message_queue_len, true},
    {"links", links, true},
    {"dictionary", none, true},
    {"trap_exit", trap_exit, true},
    {"error_handler", undefined, true},
    {"priority", normal, true},
    {"group_leader", undefined, true},
    {"total_heap_size", zero, true},
    {"heap_size", zero, true},
    {"stack_size", zero, true},
    {"reductions", reductions, true},
    {"garbage_collection", none, true},
    {"suspending", none, true},
    {"monitors", monitors, false},
    {"monitored_by", monitored_by, false},
    {"memory", memory, false},
    {"parent", parent, false},
    {"min_heap_size", zero, false},
    {"garbage_collection_info", none, false},
    {"message_queue_data", off_heap, false},
    {"sequential_trace_token", none, false},
    {"trace", zero, false},
    {"last_calls", no, false},
    {"binary", none, false},
};

static const item *item_of(slice name) {
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        if (slice_is(name, items[i].name)) return &items[i];
    return NULL;
}

/* --- which process ----------------------------------------------------------------------------------------------------------------- */
/* Of this node: *out is NONE if it is of an earlier life of it. False: it is no pid, or of another node. */
static bool own_pid(const mesh_mfa_call *c, rt_pid *out) {
    etf_reader r = mesh_mfa_arg(c, 0);
    etf_pid p;
    if (!etf_get_pid(&r, &p) || !slice_eq(p.node, c->m->cfg.name)) return false;
    if (!mesh_own_pid(c->m, &p, out)) *out = RT_PID_NONE;
    return true;
}

bool mesh_mfa_is_process_alive(mesh_mfa_call *c) {
    rt_pid pid;
    rt_actor_info i;
    if (!own_pid(c, &pid)) return false;
    etf_put_bool(c->value, rt_pid_ok(pid) && mesh_mfa_actor(c, pid, &i, NULL, 0, NULL));
    return true;
}

/* --- process_info ------------------------------------------------------------------------------------------------------------------ */
/* fn writes the value with all that is known of the process; undefined if it is gone. */
static void with_process(mesh_mfa_call *c, rt_pid pid, void (*fn)(const look *l)) {
    rt_actor_info i;
    rt_stat_relation *relations = mem_alloc(RT_STAT_RELATIONS * sizeof *relations);
    look l = {.c = c, .i = &i, .relations = relations};
    if (rt_pid_ok(pid) && mesh_mfa_actor(c, pid, &i, relations, RT_STAT_RELATIONS, &l.n_relations)) {
        l.r = rt_epoch_begin(c->m->node);
        fn(&l);
        rt_epoch_end(&l.r);
    } else {
        etf_put_atom(c->value, SLICE("undefined"));
    }
    mem_free(relations);
}

static void put_item(const look *l, const item *i) {
    mesh_mfa_pair(l->c->value, i->name);
    i->put(l, l->c->value);
}

/* A name is not in the answer if it has none (erlang:process_info/1). */
static void put_all(const look *l) {
    uint32_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) n += items[i].all;
    bool named = l->i->name[0] != 0;
    etf_put_list(l->c->value, n - !named);
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        if (items[i].all && (named || items[i].put != registered_name)) put_item(l, &items[i]);
    etf_put_nil(l->c->value);
}

bool mesh_mfa_process_info(mesh_mfa_call *c) {
    rt_pid pid;
    if (!own_pid(c, &pid)) return false;
    with_process(c, pid, put_all);
    return true;
}

/* One item: a tuple, but [] for a name that it has not; a list of items: a list of tuples, with {registered_name, []}. Checked before. */
static void put_asked(const look *l) {
    etf_reader r = mesh_mfa_arg(l->c, 1);
    slice name = SLICE_NULL;
    uint32_t n;
    if (etf_get_atom(&r, &name)) {
        if (slice_is(name, "registered_name") && !l->i->name[0])
            etf_put_nil(l->c->value);
        else
            put_item(l, item_of(name));
        return;
    }
    if (!check(mesh_mfa_list(&r, &n))) return;
    etf_put_list(l->c->value, n);
    for (uint32_t i = 0; i < n; i++)
        if (check(etf_get_atom(&r, &name))) put_item(l, item_of(name));
    etf_put_nil(l->c->value);
}

/* An item, or a proper list of items, all of which are known. */
static bool are_items(etf_reader r) {
    etf_item tail;
    slice name;
    uint32_t n;
    if (etf_get_atom(&r, &name)) return item_of(name) != NULL;
    if (!mesh_mfa_list(&r, &n) || n > ITEMS_MAX) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!etf_get_atom(&r, &name) || !item_of(name)) return false;
    return n == 0 || (etf_next(&r, &tail) && tail.kind == ETF_NIL);
}

bool mesh_mfa_process_info_of(mesh_mfa_call *c) {
    rt_pid pid;
    if (!own_pid(c, &pid) || !are_items(mesh_mfa_arg(c, 1))) return false;
    with_process(c, pid, put_asked);
    return true;
}

/* --- all of them ------------------------------------------------------------------------------------------------------------------- */
typedef struct pids {
    const mesh *m;
    buf items;
    uint32_t n;
} pids;
static void add_pid(void *arg, const rt_actor_info *i) {
    pids *all = arg;
    etf_pid p = mesh_etf_pid(all->m, i->pid);
    etf_put_pid(&all->items, &p);
    all->n++;
}

bool mesh_mfa_processes(mesh_mfa_call *c) {
    pids all = {.m = c->m};
    buf_init(&all.items, c->value->max);
    mesh_mfa_actors(c, add_pid, &all);
    etf_put_list(c->value, all.n);
    buf_add(c->value, buf_slice(&all.items));
    etf_put_nil(c->value);
    if (!buf_ok(&all.items)) c->value->failed = true;
    buf_fini(&all.items);
    return true;
}
