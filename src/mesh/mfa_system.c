/* mfa_system: what the node is and does, as functions of OTP's module erlang: system_info/1, statistics/1, memory/0,1, system_flag/2.
 *
 * What OTP counts and this node does not is badarg, so that nobody takes a 0 for a measurement. A 0 is said only where there is nothing:
 * atoms, code and garbage.
 *
 *     total       what the process uses, as `murrectl memory` and the watchdog have it (rt/memory.h)
 *     processes   all actors: rt_stat_memory
 *     ets         the tables that actors share (rt/table.h)
 *     system      total without processes; ets is in it, as in OTP */
#include "base/mem.h"
#include "mesh/mfa.h"
#include "rt/memory.h"
#include "rt/msacc.h"
#include "rt/pool.h"

#define PIDS_A_SHARD (UINT64_C(1) << 24) /* rt_slot_index */
#define WORD         8u
#define THREADS_MAX  512u

/* --- memory ------------------------------------------------------------------------------------------------------------------------ */
typedef struct memory_sum {
    uint64_t total, processes, ets;
} memory_sum;
static void add_memory(void *arg, const rt_actor_info *i) { ((memory_sum *)arg)->processes += rt_stat_memory(i); }

static uint64_t tables(mesh_mfa_call *c, uint64_t *out_bytes) {
    rt_tid *at = mem_alloc(RT_TABLES_MAX * sizeof *at);
    rt_reader *r = rt_epoch_begin(c->m->node);
    size_t n = rt_table_list(r, at, RT_TABLES_MAX), there = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        rt_table_info info;
        if (rt_table_info_of(r, at[i], &info)) continue; /* it has gone meanwhile */
        bytes += info.bytes;
        there++;
    }
    rt_epoch_end(&r);
    mem_free(at);
    *out_bytes = bytes;
    return there;
}

static memory_sum sum_memory(mesh_mfa_call *c) {
    memory_sum s = {0};
    rt_memory m;
    rt_memory_read(c->m->node, &m);
    mesh_mfa_actors(c, add_memory, &s);
    (void)tables(c, &s.ets);
    s.total = m.used > s.processes + s.ets ? m.used : s.processes + s.ets; /* the last look may be a moment old */
    return s;
}

static const char *const memory_types[] = {"total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets"};
static uint64_t memory_type(const memory_sum *s, const char *type) {
    if (strcmp(type, "total") == 0) return s->total;
    if (strcmp(type, "processes") == 0 || strcmp(type, "processes_used") == 0) return s->processes;
    if (strcmp(type, "system") == 0) return s->total - s->processes;
    return strcmp(type, "ets") == 0 ? s->ets : 0;
}

void mesh_mfa_put_memory(mesh_mfa_call *c, const char *const *types, size_t n, buf *out) {
    memory_sum s = sum_memory(c);
    const char *const *asked = n ? types : memory_types;
    size_t count = n ? n : ARRAY_LEN(memory_types);
    etf_put_list(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) mesh_mfa_pair_uint(out, asked[i], memory_type(&s, asked[i]));
    etf_put_nil(out);
}

bool mesh_mfa_memory_all(mesh_mfa_call *c) {
    mesh_mfa_put_memory(c, NULL, 0, c->value);
    return true;
}

static const char *memory_type_of(slice name) {
    for (size_t i = 0; i < ARRAY_LEN(memory_types); i++)
        if (slice_is(name, memory_types[i])) return memory_types[i];
    return NULL;
}

/* A type, or a proper list of types. */
bool mesh_mfa_memory_of(mesh_mfa_call *c) {
    const char *asked[ARRAY_LEN(memory_types)];
    etf_reader r = mesh_mfa_arg(c, 0);
    etf_item tail = {.kind = ETF_NIL};
    slice name;
    uint32_t n;
    if (etf_get_atom(&r, &name)) {
        const char *type = memory_type_of(name);
        memory_sum s = type ? sum_memory(c) : (memory_sum){0};
        if (type) etf_put_uint(c->value, memory_type(&s, type));
        return type;
    }
    if (!mesh_mfa_list(&r, &n) || n > ARRAY_LEN(asked)) return false;
    for (uint32_t i = 0; i < n; i++)
        if (!etf_get_atom(&r, &name) || !(asked[i] = memory_type_of(name))) return false;
    if (n && (!etf_next(&r, &tail) || tail.kind != ETF_NIL)) return false;
    if (n)
        mesh_mfa_put_memory(c, asked, n, c->value);
    else
        etf_put_nil(c->value);
    return true;
}

/* --- statistics -------------------------------------------------------------------------------------------------------------------- */
static void count_running(void *arg, const rt_actor_info *i) { *(uint64_t *)arg += i->running; }
uint64_t mesh_mfa_run_queue(mesh_mfa_call *c) {
    uint64_t n = 0;
    mesh_mfa_actors(c, count_running, &n);
    return n;
}

uint64_t mesh_mfa_uptime_msec(const mesh_mfa_call *c) {
    sys *s = rt_node_sys(c->m->node);
    return (uint64_t)((s->mono(s) - c->m->born) / USEC_PER_MSEC);
}

/* [{Id, Active, Total}] of the shards, in nanoseconds: active is all but sleeping and looking for work. undefined, as in OTP: nobody
 * counts (murrectl msacc stop, or system_flag). */
void mesh_mfa_put_wall_times(mesh_mfa_call *c, buf *out) {
    rt_msacc_row *rows = mem_alloc(THREADS_MAX * sizeof *rows);
    sys *s = rt_node_sys(c->m->node);
    size_t n = rt_msacc_read(c->m->node, rows, THREADS_MAX);
    double nsec = 1e9 / (double)s->cycles_per_sec(s);
    if (!rt_msacc_enabled(c->m->node)) {
        etf_put_atom(out, SLICE("undefined"));
    } else {
        etf_put_list(out, rt_node_shards(c->m->node));
        for (size_t i = 0; i < n; i++) {
            if (rows[i].type != RT_MSACC_SHARD) continue;
            double total = 0, idle = (double)rows[i].cycles[RT_MSACC_SLEEP] + (double)rows[i].cycles[RT_MSACC_BUSY_WAIT];
            for (unsigned k = 0; k < RT_MSACC_STATES; k++) total += (double)rows[i].cycles[k];
            etf_put_tuple(out, 3);
            etf_put_uint(out, rows[i].id + 1u);
            etf_put_uint(out, (uint64_t)((total - idle) * nsec));
            etf_put_uint(out, (uint64_t)(total * nsec));
        }
        etf_put_nil(out);
    }
    mem_free(rows);
}

static bool wall_clock(mesh_mfa_call *c) {
    uint64_t now = mesh_mfa_uptime_msec(c), before = atomic_exchange_explicit(&c->m->wall_clock, now, memory_order_relaxed);
    etf_put_tuple(c->value, 2);
    etf_put_uint(c->value, now);
    etf_put_uint(c->value, now > before ? now - before : 0);
    return true;
}

bool mesh_mfa_statistics(mesh_mfa_call *c) {
    slice name;
    if (!mesh_mfa_atom(c, 0, &name)) return false;
    if (slice_is(name, "wall_clock")) return wall_clock(c);
    if (slice_is(name, "microstate_accounting")) return mesh_mfa_put_msacc(c, NULL);
    if (slice_is(name, "run_queue") || slice_is(name, "total_run_queue_lengths")) {
        etf_put_uint(c->value, mesh_mfa_run_queue(c));
    } else if (slice_is(name, "scheduler_wall_time")) {
        mesh_mfa_put_wall_times(c, c->value);
    } else if (slice_is(name, "garbage_collection")) {
        etf_put_tuple(c->value, 3);
        for (int i = 0; i < 3; i++) etf_put_int(c->value, 0);
    } else {
        return false;
    }
    return true;
}

/* --- system_flag: of the flags that OTP has, those two that say what is counted ----------------------------------------------------------
 */
bool mesh_mfa_system_flag(mesh_mfa_call *c) {
    slice flag, v;
    rt_node *n = c->m->node;
    bool was = rt_msacc_enabled(n);
    if (!mesh_mfa_atom(c, 0, &flag) || !mesh_mfa_atom(c, 1, &v)) return false;
    bool msacc = slice_is(flag, "microstate_accounting"), on = slice_is(v, "true"), off = slice_is(v, "false");
    if (!msacc && !slice_is(flag, "scheduler_wall_time")) return false;
    if (msacc && slice_is(v, "reset"))
        rt_msacc_reset(n);
    else if (on && !was)
        rt_msacc_enable(n, true);
    else if (off && msacc)
        rt_msacc_enable(n, false);
    else if (!on && !off)
        return false;
    mesh_mfa_audit(c);
    etf_put_bool(c->value, was);
    return true;
}

/* --- system_info ------------------------------------------------------------------------------------------------------------------- */
static uint64_t pool_threads(const mesh_mfa_call *c) {
    uint64_t n = 0;
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        rt_pool_stat p;
        rt_pool_stats(c->m->node, (rt_pool_kind)k, &p);
        n += p.threads;
    }
    return n;
}
static void count_ports(void *arg, const rt_actor_info *i) { *(uint64_t *)arg += i->ports; }

static uint64_t number_of(mesh_mfa_call *c, slice what, bool *out_known) {
    uint64_t n = 0;
    sys *s = rt_node_sys(c->m->node);
    *out_known = true;
    if (slice_is(what, "process_count")) return rt_stat_actor_count(c->m->node);
    if (slice_is(what, "process_limit")) return PIDS_A_SHARD * rt_node_shards(c->m->node);
    if (slice_is(what, "schedulers") || slice_is(what, "schedulers_online")) return rt_node_shards(c->m->node);
    if (slice_is(what, "ets_count")) return tables(c, &n);
    if (slice_is(what, "ets_limit")) return RT_TABLES_MAX;
    if (slice_is(what, "port_count")) {
        mesh_mfa_actors(c, count_ports, &n);
        return n;
    }
    if (slice_is(what, "port_limit") && s->fd_limit) return s->fd_limit(s);
    if (slice_is(what, "wordsize")) return WORD;
    if (slice_is(what, "creation")) return c->m->self.creation;
    if (slice_is(what, "dist_buf_busy_limit")) return c->m->cfg.link_bytes;
    if (slice_is(what, "thread_pool_size")) return pool_threads(c);
    if (slice_is(what, "atom_count")) return 0;
    *out_known = false;
    return 0;
}

static const struct {
    const char *name, *value;
} atoms[] = {{"kernel_poll", "true"},
             {"smp_support", "true"},
             {"threads", "true"},
             {"multi_scheduling", "enabled"},
             {"logical_processors", "unknown"},
             {"logical_processors_online", "unknown"},
             {"logical_processors_available", "unknown"},
             {"build_type", "opt"}};

static bool put_text(mesh_mfa_call *c, slice what, buf *out) {
    buf text;
    buf_init(&text, 256);
    bool version = slice_is(what, "version"), system = slice_is(what, "system_version");
    if (version) buf_add_str(&text, c->m->cfg.version);
    if (system) buf_addf(&text, "murre %s [shards:%u]\n", c->m->cfg.version, rt_node_shards(c->m->node));
    if (slice_is(what, "otp_release") || slice_is(what, "machine")) buf_add_str(&text, "murre");
    bool known = text.len > 0;
    if (known) etf_put_string(out, buf_slice(&text));
    buf_fini(&text);
    return known;
}

bool mesh_mfa_put_info(mesh_mfa_call *c, slice what, buf *out) {
    bool known;
    uint64_t n = number_of(c, what, &known);
    if (known) {
        etf_put_uint(out, n);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(atoms); i++)
        if (slice_is(what, atoms[i].name)) {
            etf_put_atom(out, slice_str(atoms[i].value));
            return true;
        }
    if (slice_is(what, "alloc_util_allocators")) {
        etf_put_nil(out);
        return true;
    }
    return put_text(c, what, out);
}

/* {wordsize, internal | external} is the one item that is no atom. */
static bool wordsize(etf_reader r) {
    uint32_t n;
    slice which;
    return etf_get_tuple(&r, &n) && n == 2 && etf_get_atom_is(&r, SLICE("wordsize")) && etf_get_atom(&r, &which) &&
           (slice_is(which, "internal") || slice_is(which, "external"));
}

bool mesh_mfa_system_info(mesh_mfa_call *c) {
    slice what;
    if (mesh_mfa_atom(c, 0, &what)) return mesh_mfa_put_info(c, what, c->value);
    if (!wordsize(mesh_mfa_arg(c, 0))) return false;
    etf_put_int(c->value, WORD);
    return true;
}
