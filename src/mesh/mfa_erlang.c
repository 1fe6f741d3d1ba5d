/* mfa_erlang: functions of OTP's module erlang that say who is here and what time it is (erts, erlang.erl); all of them at once, but
 * registered/0. Processes: mfa_process.c; what the system is and does: mfa_system.c. */
#include "mesh/mfa.h"

/* --- nodes ------------------------------------------------------------------------------------------------------------------------- */
bool mesh_mfa_node(mesh_mfa_call *c) {
    etf_put_atom(c->value, c->m->cfg.name);
    return true;
}

bool mesh_mfa_node_of(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 0);
    etf_item it;
    if (!etf_next(&r, &it)) return false;
    if (it.kind == ETF_PID)
        etf_put_atom(c->value, it.pid.node);
    else if (it.kind == ETF_PORT)
        etf_put_atom(c->value, it.port.node);
    else if (it.kind == ETF_REF)
        etf_put_atom(c->value, it.ref.node);
    else
        return false;
    return true;
}

bool mesh_mfa_is_alive(mesh_mfa_call *c) {
    etf_put_bool(c->value, true);
    return true;
}

#define NODES_VISIBLE 1u
#define NODES_HIDDEN  2u
#define NODES_THIS    4u
typedef struct names {
    unsigned which;
    buf items;
    uint32_t n;
} names;
static void add_name(void *arg, uint32_t index, const mesh_node *n) {
    names *all = arg;
    (void)index;
    if (!(all->which & (n->hidden ? NODES_HIDDEN : NODES_VISIBLE))) return;
    etf_put_atom(&all->items, slice_of(n->name, n->name_len));
    all->n++;
}

static void put_nodes(mesh_mfa_call *c, unsigned which) {
    names all = {.which = which};
    buf_init(&all.items, UINT32_MAX);
    mesh_peers_each(c->m->nodes, rt_epoch_reader(c->cx), add_name, &all);
    if (which & NODES_THIS) {
        etf_put_atom(&all.items, c->m->cfg.name);
        all.n++;
    }
    etf_put_list(c->value, all.n);
    buf_add(c->value, buf_slice(&all.items));
    etf_put_nil(c->value);
    buf_fini(&all.items);
}

bool mesh_mfa_nodes(mesh_mfa_call *c) {
    put_nodes(c, NODES_VISIBLE);
    return true;
}

/* One kind, or a list of kinds. A node that is not connected any more is not known here either: nothing about it is kept for others. */
static bool add_kind(etf_reader *r, unsigned *which) {
    static const struct {
        const char *name;
        unsigned which;
    } kinds[] = {{"visible", NODES_VISIBLE},
                 {"hidden", NODES_HIDDEN},
                 {"connected", NODES_VISIBLE | NODES_HIDDEN},
                 {"this", NODES_THIS},
                 {"known", NODES_VISIBLE | NODES_HIDDEN | NODES_THIS}};
    slice name;
    if (!etf_get_atom(r, &name)) return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_is(name, kinds[i].name)) {
            *which |= kinds[i].which;
            return true;
        }
    return false;
}

bool mesh_mfa_nodes_of(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 0);
    etf_item tail = {.kind = ETF_NIL};
    unsigned which = 0;
    uint32_t n;
    if (!mesh_mfa_list(&r, &n)) {
        if (!add_kind(&r, &which)) return false;
    } else {
        for (uint32_t i = 0; i < n; i++)
            if (!add_kind(&r, &which)) return false;
        if (n && (!etf_next(&r, &tail) || tail.kind != ETF_NIL)) return false;
    }
    put_nodes(c, which);
    return true;
}

/* --- names ------------------------------------------------------------------------------------------------------------------------- */
bool mesh_mfa_whereis(mesh_mfa_call *c) {
    slice name;
    if (!mesh_mfa_atom(c, 0, &name)) return false;
    rt_pid pid = rt_name_find_slice(c->cx, name);
    if (rt_pid_ok(pid))
        mesh_mfa_pid(c, rt_epoch_reader(c->cx), pid);
    else
        etf_put_atom(c->value, SLICE("undefined"));
    return true;
}

static bool add_registered(void *arg, slice name, rt_pid pid) {
    names *all = arg;
    (void)pid;
    if (!etf_is_atom(name)) return true; /* no other node could say it */
    etf_put_atom(&all->items, name);
    all->n++;
    return true;
}

bool mesh_mfa_registered(mesh_mfa_call *c) {
    names all = {.n = 0};
    buf_init(&all.items, UINT32_MAX);
    rt_reader *r = rt_epoch_begin(c->m->node);
    rt_name_each(r, add_registered, &all);
    rt_epoch_end(&r);
    etf_put_list(c->value, all.n);
    buf_add(c->value, buf_slice(&all.items));
    etf_put_nil(c->value);
    buf_fini(&all.items);
    return true;
}

/* --- time: native units are nanoseconds, as in OTP on Linux ------------------------------------------------------------------------- */
#define NATIVE INT64_C(1000000000)

/* Parts of a second that a unit stands for: an atom, or their number. */
static bool unit_of(const mesh_mfa_call *c, uint32_t i, int64_t *out_per_sec) {
    static const struct {
        const char *name;
        int64_t per_sec;
    } units[] = {{"second", 1},  {"millisecond", 1000},   {"microsecond", 1000000},   {"nanosecond", NATIVE},   {"native", NATIVE},
                 {"seconds", 1}, {"milli_seconds", 1000}, {"micro_seconds", 1000000}, {"nano_seconds", NATIVE}, {"perf_counter", NATIVE}};
    etf_reader r = mesh_mfa_arg(c, i);
    int64_t n;
    slice name;
    if (etf_get_int(&r, &n)) {
        if (n <= 0) return false;
        *out_per_sec = n;
        return true;
    }
    if (!etf_get_atom(&r, &name)) return false;
    for (size_t k = 0; k < ARRAY_LEN(units); k++)
        if (slice_is(name, units[k].name)) {
            *out_per_sec = units[k].per_sec;
            return true;
        }
    return false;
}

/* False: there are more of these units than an integer of 64 bits can say. */
static bool put_time(mesh_mfa_call *c, usec t, int64_t per_sec) {
    int64_t whole, part = (t % USEC_PER_SEC) * (per_sec % USEC_PER_SEC) / USEC_PER_SEC + (t % USEC_PER_SEC) * (per_sec / USEC_PER_SEC);
    if (per_sec > INT64_C(1000000000000) || __builtin_mul_overflow(t / USEC_PER_SEC, per_sec, &whole)) return false;
    if (__builtin_add_overflow(whole, part, &whole)) return false;
    etf_put_int(c->value, whole);
    return true;
}

bool mesh_mfa_system_time(mesh_mfa_call *c) { return put_time(c, rt_wall(c->cx), NATIVE); }
bool mesh_mfa_monotonic_time(mesh_mfa_call *c) { return put_time(c, rt_now(c->cx), NATIVE); }
bool mesh_mfa_system_time_in(mesh_mfa_call *c) {
    int64_t per_sec;
    return unit_of(c, 0, &per_sec) && put_time(c, rt_wall(c->cx), per_sec);
}
bool mesh_mfa_monotonic_time_in(mesh_mfa_call *c) {
    int64_t per_sec;
    return unit_of(c, 0, &per_sec) && put_time(c, rt_now(c->cx), per_sec);
}

bool mesh_mfa_timestamp(mesh_mfa_call *c) {
    mesh_mfa_stamp(c->value, rt_wall(c->cx));
    return true;
}
