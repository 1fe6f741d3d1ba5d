/* mfa_tools: what OTP's msacc (runtime_tools) and lcnt (tools) ask of another node: microstates and locks, from the accounts that
 * `murrectl msacc` and `murrectl locks` show, in the terms of those modules.
 *
 *     msacc   shards are its schedulers, numbered from 1; threads of the pool have their kind as a type; states are those of rt/msacc.h
 *     lcnt    [{duration, {S, Ns}}, {locks, [{Name, Id, Type, [{{File, Line}, {Tries, Collisions, {S, Ns, N}}, Histogram}]}]}]
 *
 * A lock is of type mutex and has a row for each place in the source that takes it. What does without a lock (rt/contend.h) is of type
 * lockfree and has one row without a place; a ring is one of a pair of shards, "1>2". */
#include "base/mem.h"
#include "mesh/mfa.h"
#include "rt/contend.h"
#include "rt/msacc.h"
#include "rt/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX     512u
#define HISTOGRAM_SLOTS 30u /* of OTP's lcnt: by the logarithm of the microseconds */

/* --- msacc ------------------------------------------------------------------------------------------------------------------------- */
typedef struct thread_name {
    const char *type;
    uint32_t id;
} thread_name;
static thread_name name_of(const rt_msacc_row *r) {
    uint32_t kind = r->id >> 8;
    if (r->type == RT_MSACC_SHARD) return (thread_name){"scheduler", r->id + 1};
    if (r->type == RT_MSACC_POOL && kind < RT_POOL_KINDS) return (thread_name){rt_pool_kind_name((rt_pool_kind)kind), r->id & 0xff};
    return (thread_name){rt_msacc_type_name(r->type), r->id};
}

/* statistics(microstate_accounting), in nanoseconds; tag: with '$type' and in microseconds, as msacc:stats/0 has it. */
bool mesh_mfa_put_msacc(mesh_mfa_call *c, const char *tag) {
    rt_msacc_row *rows = mem_alloc(THREADS_MAX * sizeof *rows);
    sys *s = rt_node_sys(c->m->node);
    size_t n = rt_msacc_read(c->m->node, rows, THREADS_MAX);
    double unit = (tag ? 1e6 : 1e9) / (double)s->cycles_per_sec(s);
    etf_put_list(c->value, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        thread_name name = name_of(&rows[i]);
        etf_put_map(c->value, tag ? 4 : 3);
        if (tag) {
            etf_put_atom(c->value, SLICE("$type"));
            etf_put_atom(c->value, slice_str(tag));
        }
        etf_put_atom(c->value, SLICE("type"));
        etf_put_atom(c->value, slice_str(name.type));
        etf_put_atom(c->value, SLICE("id"));
        etf_put_uint(c->value, name.id);
        etf_put_atom(c->value, SLICE("counters"));
        etf_put_map(c->value, RT_MSACC_STATES);
        for (unsigned k = 0; k < RT_MSACC_STATES; k++) {
            etf_put_atom(c->value, slice_str(rt_msacc_state_name((rt_msacc_state)k)));
            etf_put_uint(c->value, (uint64_t)((double)rows[i].cycles[k] * unit));
        }
    }
    etf_put_nil(c->value);
    mem_free(rows);
    return true;
}

bool mesh_mfa_msacc_stats(mesh_mfa_call *c) { return mesh_mfa_put_msacc(c, "msacc_data"); }
bool mesh_mfa_msacc_available(mesh_mfa_call *c) {
    etf_put_bool(c->value, true);
    return true;
}

static bool msacc_set(mesh_mfa_call *c, bool on) {
    bool was = rt_msacc_enabled(c->m->node);
    rt_msacc_enable(c->m->node, on);
    mesh_mfa_audit(c);
    etf_put_bool(c->value, was);
    return true;
}
bool mesh_mfa_msacc_start(mesh_mfa_call *c) { return msacc_set(c, true); }
bool mesh_mfa_msacc_stop(mesh_mfa_call *c) { return msacc_set(c, false); }
bool mesh_mfa_msacc_reset(mesh_mfa_call *c) {
    bool was = rt_msacc_enabled(c->m->node);
    rt_msacc_reset(c->m->node);
    mesh_mfa_audit(c);
    etf_put_bool(c->value, was);
    return true;
}

/* The text of murrectl msacc print threads, as one request of OTP's I/O protocol to the caller's group leader, which is how it comes to
 * the shell that asked. The answer to it would come to a process that never was; nobody waits for it. */
bool mesh_mfa_msacc_print(mesh_mfa_call *c) {
    arena a;
    buf text;
    const rt_verb *v = rt_node_verb(c->m->node, SLICE("msacc"), SLICE("print"), 1);
    if (!v) return false;
    arena_init(&a, 1u << 20);
    buf_init(&text, 1u << 20);
    rt_verb_call call = {.node = c->m->node, .args = {SLICE("threads")}, .n_args = 1, .arena = &a};
    bool ok = v->fn(&call) == ERR_OK;
    if (ok) val_lines(call.result, &text);
    if (ok && c->leader.node.p) {
        c->to = c->leader;
        etf_put_tuple(c->message, 4);
        etf_put_atom(c->message, SLICE("io_request"));
        etf_put_pid(c->message, &c->self);
        etf_put_atom(c->message, SLICE("msacc"));
        etf_put_tuple(c->message, 3);
        etf_put_atom(c->message, SLICE("put_chars"));
        etf_put_atom(c->message, SLICE("unicode"));
        etf_put_binary(c->message, buf_slice(&text));
    }
    mesh_mfa_ok(c->value);
    buf_fini(&text);
    arena_fini(&a);
    return ok;
}

/* --- lcnt -------------------------------------------------------------------------------------------------------------------------- */
typedef struct locks {
    buf rows;
    uint32_t n;
    double nsec; /* of a cycle */
} locks;

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); /* statistics */ }

/* {Seconds, Nanoseconds} */
static void put_nsec(buf *out, uint64_t nsec) {
    etf_put_uint(out, nsec / 1000000000u);
    etf_put_uint(out, nsec % 1000000000u);
}

/* {Tries, Collisions, {S, Ns, N}}, Histogram */
static void put_counts(buf *out, uint64_t tries, uint64_t collisions, uint64_t wait_nsec, const uint64_t slots[HISTOGRAM_SLOTS]) {
    etf_put_tuple(out, 3);
    etf_put_uint(out, tries);
    etf_put_uint(out, collisions);
    etf_put_tuple(out, 3);
    put_nsec(out, wait_nsec);
    etf_put_uint(out, collisions);
    etf_put_tuple(out, HISTOGRAM_SLOTS);
    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) etf_put_uint(out, slots[i]);
}

/* Bucket k of base/lock.h is below 2^k us, slot i of OTP's from 2^i us on; what is below 1 us is in its first slot, too. */
static void put_site(locks *all, const lock_site *site) {
    uint64_t slots[HISTOGRAM_SLOTS] = {0};
    const char *colon = strrchr(site->place, ':');
    for (unsigned k = 0; k < LOCK_WAIT_BUCKETS; k++) slots[k ? k - 1 : 0] += get(&site->waits[k]);
    etf_put_tuple(&all->rows, 3);
    etf_put_tuple(&all->rows, 2);
    etf_put_string(&all->rows, colon ? slice_of(site->place, (size_t)(colon - site->place)) : slice_str(site->place));
    etf_put_uint(&all->rows, colon ? strtoul(colon + 1, NULL, 10) : 0);
    put_counts(&all->rows, get(&site->tries), get(&site->collisions), (uint64_t)((double)get(&site->wait_cycles) * all->nsec), slots);
}
_Static_assert(LOCK_WAIT_BUCKETS - 1 <= HISTOGRAM_SLOTS, "each bucket has its slot");

/* One row without a place. OTP's lcnt ends when a lock has no row at all: what was never taken has one of zeroes. */
static void put_unplaced(buf *out, uint64_t tries, uint64_t collisions, uint64_t wait_nsec) {
    static const uint64_t none[HISTOGRAM_SLOTS];
    etf_put_list(out, 1);
    etf_put_tuple(out, 3);
    etf_put_tuple(out, 2);
    etf_put_atom(out, SLICE("undefined"));
    etf_put_int(out, 0);
    put_counts(out, tries, collisions, wait_nsec, none);
    etf_put_nil(out);
}

static void add_lock(void *arg, const lock *l) {
    locks *all = arg;
    uint32_t n = 0;
    const lock_site *first = atomic_load_explicit(&l->sites, memory_order_acquire); /* partner: lock.c, find_site */
    for (const lock_site *i = first; i; i = i->next) n++;
    all->n++;
    etf_put_tuple(&all->rows, 4);
    etf_put_atom(&all->rows, slice_str(l->name));
    etf_put_uint(&all->rows, l->id);
    etf_put_atom(&all->rows, SLICE("mutex"));
    if (n == 0) {
        put_unplaced(&all->rows, 0, 0, 0);
        return;
    }
    etf_put_list(&all->rows, n);
    for (const lock_site *i = first; i; i = i->next) put_site(all, i);
    etf_put_nil(&all->rows);
}

static void add_free(void *arg, const rt_contend_row *r) {
    locks *all = arg;
    all->n++;
    etf_put_tuple(&all->rows, 4);
    etf_put_atom(&all->rows, slice_str(rt_contend_name(r->kind)));
    if (r->kind == RT_CONTEND_RING) {
        char pair[32];
        (void)snprintf(pair, sizeof pair, "%u>%u", r->from, r->to);
        mesh_mfa_text(&all->rows, pair);
    } else {
        etf_put_uint(&all->rows, r->to);
    }
    etf_put_atom(&all->rows, SLICE("lockfree"));
    put_unplaced(&all->rows, r->tries, r->collisions, r->usecs * 1000);
}

/* The time is that of the locks, while they were counted; without it, that of what needs none. */
bool mesh_mfa_lcnt_collect(mesh_mfa_call *c) {
    sys *s = rt_node_sys(c->m->node);
    lock_set *set = rt_node_locks(c->m->node);
    locks all = {.nsec = 1e9 / (double)s->cycles_per_sec(s)};
    buf_init(&all.rows, c->value->max);
    double counted = (double)lock_set_counted(set) * all.nsec;
    lock_set_each(set, add_lock, &all);
    usec since = rt_contend_each(c->m->node, add_free, &all);
    uint64_t nsec = counted >= 1 ? (uint64_t)counted : (uint64_t)(s->mono(s) - since) * 1000u;
    etf_put_list(c->value, 2);
    mesh_mfa_pair(c->value, "duration");
    etf_put_tuple(c->value, 2);
    put_nsec(c->value, nsec);
    mesh_mfa_pair(c->value, "locks");
    etf_put_list(c->value, all.n);
    buf_add(c->value, buf_slice(&all.rows));
    etf_put_nil(c->value);
    etf_put_nil(c->value);
    if (!buf_ok(&all.rows)) c->value->failed = true;
    buf_fini(&all.rows);
    return true;
}

bool mesh_mfa_lcnt_clear(mesh_mfa_call *c) {
    lock_set_clear(rt_node_locks(c->m->node));
    rt_contend_clear(c->m->node);
    mesh_mfa_audit(c);
    mesh_mfa_ok(c->value);
    return true;
}

/* Which categories are counted: all locks here are of OTP's category "generic", and are counted or not. */
static bool counting(mesh_mfa_call *c) { return atomic_load_explicit(&rt_node_locks(c->m->node)->counting, memory_order_relaxed); }

bool mesh_mfa_lcnt_mask(mesh_mfa_call *c) {
    bool on = counting(c);
    etf_put_list(c->value, on);
    if (on) etf_put_atom(c->value, SLICE("generic"));
    etf_put_nil(c->value);
    return true;
}

bool mesh_mfa_lcnt_set_mask(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 0);
    etf_item tail = {.kind = ETF_NIL};
    uint32_t n;
    if (!mesh_mfa_list(&r, &n) || n > 1) return false;
    if (n && (!etf_get_atom_is(&r, SLICE("generic")) || !etf_next(&r, &tail) || tail.kind != ETF_NIL)) return false;
    if ((n > 0) != counting(c)) {
        lock_set_counting(rt_node_locks(c->m->node), n > 0);
        mesh_mfa_audit(c);
    }
    mesh_mfa_ok(c->value);
    return true;
}
