/* mfa_observer: what etop and observer ask of the node that they look at (runtime_tools, observer_backend.erl): its system page, its list
 * of processes, its tables. They are records and lists of fixed shape; the values are those of mfa_process.c and mfa_system.c.
 *
 *     etop_collect(To)    To ! {self(), #etop_info{}}
 *     procs_info(To)      To ! {procs_info, self(), [#etop_proc_info{}]}
 *
 * Both are spawned by the tool, with a link. Where the tool wants pieces of 10,000 processes it takes a longer one as well. */
#include "base/mem.h"
#include "mesh/mfa.h"

#include <inttypes.h>
#include <stdio.h>

/* --- processes --------------------------------------------------------------------------------------------------------------------- */
typedef struct procs {
    const mesh *m;
    buf items;
    uint32_t n;
    uint64_t running;
} procs;

/* {etop_proc_info, Pid, Memory, Reductions, NameOrInitialCall, Runtime, CurrentFunction, MessageQueueLen} */
static void add_proc(void *arg, const rt_actor_info *i) {
    procs *all = arg;
    etf_pid p = mesh_etf_pid(all->m, i->pid);
    slice name = slice_str(i->name);
    etf_put_tuple(&all->items, 8);
    etf_put_atom(&all->items, SLICE("etop_proc_info"));
    etf_put_pid(&all->items, &p);
    etf_put_uint(&all->items, rt_stat_memory(i));
    etf_put_uint(&all->items, i->reductions_usec);
    if (name.len && etf_is_atom(name))
        etf_put_atom(&all->items, name);
    else
        mesh_mfa_call_of(&all->items, i->cls, "init");
    etf_put_int(&all->items, 0); /* the tool's own to fill in */
    mesh_mfa_call_of(&all->items, i->cls, "handle");
    etf_put_uint(&all->items, i->messages.queued);
    all->n++;
    all->running += i->running;
}

static void collect(mesh_mfa_call *c, procs *all) {
    *all = (procs){.m = c->m};
    buf_init(&all->items, c->message->max);
    mesh_mfa_actors(c, add_proc, all);
    if (!buf_ok(&all->items)) c->message->failed = true;
}

static void put_procs(buf *out, procs *all) {
    etf_put_list(out, all->n);
    buf_add(out, buf_slice(&all->items));
    etf_put_nil(out);
    buf_fini(&all->items);
}

/* The collector is a process of the node that asks: what it is sent goes back the way the question came. */
static bool collector(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 0);
    return etf_get_pid(&r, &c->to) && slice_eq(c->to.node, c->peer);
}

bool mesh_mfa_etop_collect(mesh_mfa_call *c) {
    static const char *const memory[] = {"total", "processes", "ets", "atom", "code", "binary"};
    sys *s = rt_node_sys(c->m->node);
    procs all;
    if (!collector(c)) return false;
    collect(c, &all);
    buf *out = c->message;
    etf_put_tuple(out, 2);
    etf_put_pid(out, &c->self);
    etf_put_tuple(out, 9);
    etf_put_atom(out, SLICE("etop_info"));
    mesh_mfa_stamp(out, s->wall(s));
    etf_put_uint(out, all.n);
    etf_put_atom(out, SLICE("undefined")); /* wall_clock: of tools before OTP 17 */
    mesh_mfa_put_wall_times(c, out);
    etf_put_uint(out, all.running);
    etf_put_nil(out); /* alloc_areas: likewise */
    mesh_mfa_put_memory(c, memory, ARRAY_LEN(memory), out);
    put_procs(out, &all);
    mesh_mfa_ok(c->value);
    return true;
}

bool mesh_mfa_procs_info(mesh_mfa_call *c) {
    procs all;
    if (!collector(c)) return false;
    collect(c, &all);
    etf_put_tuple(c->message, 3);
    etf_put_atom(c->message, SLICE("procs_info"));
    etf_put_pid(c->message, &c->self);
    put_procs(c->message, &all);
    mesh_mfa_ok(c->value);
    return true;
}

/* --- the system page --------------------------------------------------------------------------------------------------------------- */
bool mesh_mfa_observer_vsn(mesh_mfa_call *c) {
    mesh_mfa_pair(c->value, "ok");
    mesh_mfa_text(c->value, c->m->cfg.version);
    return true;
}

/* What OTP has there and this node does not count is left out: the page says so. */
bool mesh_mfa_sys_info(mesh_mfa_call *c) {
    static const struct {
        const char *name, *item;
    } rows[] = {{"logical_processors", NULL},
                {"logical_processors_online", NULL},
                {"logical_processors_available", NULL},
                {"schedulers", NULL},
                {"schedulers_online", NULL},
                {"schedulers_available", "schedulers"},
                {"otp_release", NULL},
                {"version", NULL},
                {"kernel_poll", NULL},
                {"smp_support", NULL},
                {"threads", NULL},
                {"thread_pool_size", NULL},
                {"wordsize_internal", "wordsize"},
                {"wordsize_external", "wordsize"},
                {"alloc_info", "alloc_util_allocators"},
                {"process_count", NULL},
                {"process_limit", NULL},
                {"port_count", NULL},
                {"port_limit", NULL},
                {"ets_count", NULL},
                {"ets_limit", NULL},
                {"dist_buf_busy_limit", NULL}};
    buf items;
    uint32_t n = 0;
    buf_init(&items, 1u << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t before = items.len;
        mesh_mfa_pair(&items, rows[i].name);
        if (mesh_mfa_put_info(c, slice_str(rows[i].item ? rows[i].item : rows[i].name), &items))
            n++;
        else
            items.len = before; /* a system without a limit on descriptors */
    }
    etf_put_list(c->value, n + 2);
    mesh_mfa_pair_uint(c->value, "uptime", mesh_mfa_uptime_msec(c));
    mesh_mfa_pair_uint(c->value, "run_queue", mesh_mfa_run_queue(c));
    buf_add(c->value, buf_slice(&items));
    mesh_mfa_put_memory(c, NULL, 0, c->value); /* the rest of the list is its tail */
    buf_fini(&items);
    return true;
}

/* --- tables ------------------------------------------------------------------------------------------------------------------------ */
static void put_atom_pair(buf *out, const char *key, const char *v) {
    mesh_mfa_pair(out, key);
    etf_put_atom(out, slice_str(v));
}

static void put_owner(mesh_mfa_call *c, rt_reader *r, const char *key, rt_pid pid, const char *nobody) {
    mesh_mfa_pair(c->value, key);
    if (rt_pid_ok(pid))
        mesh_mfa_pid(c, r, pid);
    else
        etf_put_atom(c->value, slice_str(nobody));
}

/* One that has no name is named by its number, as murrectl tables list has it; the node's own belong to nobody. */
static void put_table(mesh_mfa_call *c, rt_reader *r, const rt_table_info *i) {
    char number[32];
    (void)snprintf(number, sizeof number, "table.%" PRIu64, i->id);
    bool named = i->name[0] && etf_is_atom(slice_str(i->name));
    etf_put_list(c->value, 12);
    put_atom_pair(c->value, "name", named ? i->name : number);
    put_atom_pair(c->value, "id", "ignore");
    put_atom_pair(c->value, "protection", i->writers == RT_TABLE_ALL_WRITE ? "public" : "protected");
    put_owner(c, r, "owner", i->owner, "undefined");
    mesh_mfa_pair_uint(c->value, "size", i->entries);
    put_atom_pair(c->value, "reg_name", "ignore");
    put_atom_pair(c->value, "type", "set");
    mesh_mfa_pair_uint(c->value, "keypos", 1);
    put_owner(c, r, "heir", i->heir, "none");
    mesh_mfa_pair_uint(c->value, "memory", i->bytes);
    put_atom_pair(c->value, "compressed", "false");
    put_atom_pair(c->value, "fixed", "false");
    etf_put_nil(c->value);
}

/* Of ets; the options say what to hide of OTP's own tables, which are not here. */
bool mesh_mfa_table_list(mesh_mfa_call *c) {
    slice kind;
    if (!mesh_mfa_atom(c, 0, &kind) || !slice_is(kind, "ets")) return false;
    rt_tid *at = mem_alloc(RT_TABLES_MAX * sizeof *at);
    rt_reader *r = rt_epoch_begin(c->m->node);
    size_t all = rt_table_list(r, at, RT_TABLES_MAX);
    for (size_t i = 0; i < all; i++) {
        rt_table_info info;
        if (rt_table_info_of(r, at[i], &info)) continue; /* it has gone meanwhile */
        etf_put_list(c->value, 1);                       /* the rest of the list is its tail */
        put_table(c, r, &info);
    }
    etf_put_nil(c->value);
    rt_epoch_end(&r);
    mem_free(at);
    return true;
}
