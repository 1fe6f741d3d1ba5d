/* rpc: spawn requests of other nodes (erl_dist_protocol, SPAWN_REQUEST). There is no code to run: what erpc asks for is looked up in
 * mfa.def, and its result is the exit reason of a process that never was, as erpc has it:
 *
 *     {erpc, execute_call, 4} [Ref, M, F, Args]   --> SPAWN_REPLY pid, DOWN {Ref, return, Value} or {Ref, error, undef, [{M, F, Args, []}]}
 *     {erpc, execute_cast, 3} [M, F, Args]        --> SPAWN_REPLY pid
 *     anything else                               --> SPAWN_REPLY notsup; badopt if only the options are wrong
 *
 * Invariant: SPAWN_REPLY goes out before anything else about that process (OTP closes the connection else). */
#include "base/mem.h"
#include "mesh/link.h"

typedef struct call {
    rt_ctx *cx;
    mesh_link *l;
    slice args; /* a list, complete in itself, without version byte */
    buf *out;   /* the result, a term */
} call;
typedef bool mfa_fn(call *c); /* false: badarg */

/* --- the functions ---------------------------------------------------------------------------------------------------------------- */
static bool erlang_node(call *c) {
    etf_put_atom(c->out, c->l->m->cfg.name);
    return true;
}

static bool erlang_is_alive(call *c) {
    etf_put_bool(c->out, true);
    return true;
}

typedef struct names {
    buf items;
    uint32_t n;
} names;
static void add_name(void *arg, uint32_t index, const mesh_node *n) {
    names *all = arg;
    (void)index;
    if (n->hidden) return;
    etf_put_atom(&all->items, slice_of(n->name, n->name_len));
    all->n++;
}

static bool erlang_nodes(call *c) {
    names all = {.n = 0};
    buf_init(&all.items, UINT32_MAX);
    mesh_peers_each(c->l->m->nodes, rt_epoch_reader(c->cx), add_name, &all);
    if (all.n) etf_put_list(c->out, all.n);
    buf_add(c->out, buf_slice(&all.items));
    etf_put_nil(c->out);
    buf_fini(&all.items);
    return true;
}

/* Of services only: other actors are not there for other nodes. */
static bool erlang_whereis(call *c) {
    etf_reader r = {.in = cursor_of(c->args)};
    etf_item row;
    slice name;
    if (!etf_next(&r, &row) || row.kind != ETF_LIST || !etf_get_atom(&r, &name)) return false;
    rt_pid pid = mesh_service_find(c->cx, name);
    etf_pid p = mesh_etf_pid(c->l->m, pid);
    if (rt_pid_ok(pid))
        etf_put_pid(c->out, &p);
    else
        etf_put_atom(c->out, SLICE("undefined"));
    return true;
}

static mfa_fn *find(slice module, slice function, uint32_t arity) {
    static const struct {
        const char *module, *function;
        uint32_t arity;
        mfa_fn *fn;
    } table[] = {
#define MFA(module, function, arity, fn) {module, function, arity, fn},
#include "mesh/mfa.def"
#undef MFA
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].arity == arity && slice_is(function, table[i].function) && slice_is(module, table[i].module)) return table[i].fn;
    return NULL;
}

/* --- erpc ------------------------------------------------------------------------------------------------------------------------- */
typedef struct erpc {
    slice ref, module, function, args; /* terms, but module and function: texts */
    uint32_t arity;
} erpc;

static bool list_of(etf_reader *r, uint32_t *out_n) {
    etf_item it;
    if (!etf_next(r, &it) || (it.kind != ETF_LIST && it.kind != ETF_NIL && it.kind != ETF_STRING)) return false;
    *out_n = it.kind == ETF_LIST ? it.n : it.kind == ETF_STRING ? (uint32_t)it.text.len : 0;
    return true;
}

/* [Ref, M, F, Args] of a call, [M, F, Args] of a cast; from a payload that is complete in itself. */
static bool read_erpc(slice payload, bool is_call, erpc *out) {
    etf_reader r = {.in = cursor_of(payload)};
    etf_item row;
    if (!etf_next(&r, &row) || row.kind != ETF_LIST || row.n != (is_call ? 4u : 3u)) return false;
    if (is_call && !etf_skip(&r, &out->ref)) return false;
    if (!etf_get_atom(&r, &out->module) || !etf_get_atom(&r, &out->function) || !etf_skip(&r, &out->args)) return false;
    etf_reader args = {.in = cursor_of(out->args)};
    return list_of(&args, &out->arity);
}

/* {Ref, error, Why, [{M, F, Args, []}]} */
static void put_error(const erpc *e, const char *why, buf *out) {
    etf_put_tuple(out, 4);
    buf_add(out, e->ref);
    etf_put_atom(out, SLICE("error"));
    etf_put_atom(out, slice_str(why));
    etf_put_list(out, 1);
    etf_put_tuple(out, 4);
    etf_put_atom(out, e->module);
    etf_put_atom(out, e->function);
    buf_add(out, e->args);
    etf_put_nil(out);
    etf_put_nil(out);
}

static void run(rt_ctx *cx, mesh_link *l, const erpc *e, buf *out) {
    mfa_fn *fn = find(e->module, e->function, e->arity);
    buf value;
    buf_init(&value, UINT32_MAX);
    call c = {cx, l, e->args, &value};
    if (!fn) {
        put_error(e, "undef", out);
    } else if (!fn(&c)) {
        put_error(e, "badarg", out);
    } else {
        etf_put_tuple(out, 3);
        buf_add(out, e->ref);
        etf_put_atom(out, SLICE("return"));
        buf_add(out, buf_slice(&value));
    }
    buf_fini(&value);
}

/* One option: link, monitor, {monitor, _}, or another {Name, _}, which is about heaps and schedulers: a process that never was has none.
 * False: it is none of these (OTP: erlang:spawn_request/5, "badopt"). */
static bool option(etf_reader *r, uint32_t *flags) {
    etf_reader at = *r;
    uint32_t arity = 0;
    slice name;
    bool pair = etf_get_tuple(&at, &arity);
    if ((pair && arity != 2) || !etf_get_atom(&at, &name)) return false;
    if (slice_is(name, "monitor"))
        *flags |= DIST_SPAWN_MONITOR;
    else if (slice_is(name, "link") && !pair)
        *flags |= DIST_SPAWN_LINK;
    else if (!pair)
        return false;
    return etf_skip(r, NULL);
}

/* What the requester wants of link and monitor. False: it is not a proper list of options. */
static NODISCARD bool options(const dist_message *m, const dist_ctl *c, arena *text, uint32_t *out_flags) {
    etf_reader r = dist_message_reader(m, c->options, text);
    etf_item it;
    uint32_t flags = 0;
    if (!etf_next(&r, &it) || (it.kind != ETF_LIST && it.kind != ETF_NIL)) return false;
    bool any = it.kind == ETF_LIST;
    for (uint32_t i = 0; any && i < it.n; i++)
        if (!option(&r, &flags)) return false;
    etf_item tail = {.kind = ETF_NIL};
    if (any && (!etf_next(&r, &tail) || tail.kind != ETF_NIL)) return false;
    *out_flags = flags;
    return true;
}

static err tell_end(rt_ctx *cx, mesh_link *l, const dist_ctl *c, uint32_t flags, const dist_addr *pid, slice reason) {
    dist_ctl down = {.signal = DIST_SIG_DOWN, .from = *pid, .to = c->from, .ref = c->ref, .reason = reason};
    dist_ctl end = {.signal = DIST_SIG_EXIT, .from = *pid, .to = c->from, .reason = reason};
    err e = flags & DIST_SPAWN_MONITOR ? mesh_out(cx, l, &down) : ERR_OK;
    return !e && flags & DIST_SPAWN_LINK ? mesh_out(cx, l, &end) : e;
}

err mesh_rpc_spawn(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    bool call_ = slice_is(c->function, "execute_call") && c->arity == 4, cast = slice_is(c->function, "execute_cast") && c->arity == 3;
    etf_reader r = dist_message_reader(m, c->payload, text);
    buf args, reason;
    erpc e = {.arity = 0};
    buf_init(&args, UINT32_MAX);
    buf_init(&reason, UINT32_MAX);
    bool known = slice_is(c->module, "erpc") && (call_ || cast) && etf_copy(&r, &args) && read_erpc(buf_slice(&args), call_, &e);
    uint32_t flags = 0;
    bool fine = known && options(m, c, text, &flags);
    /* A process that never was, on a shard that there is not; its number is not used again soon. */
    rt_pid never = {0, MESH_NEVER_SHARD << 24 | (uint32_t)(++l->never & 0xffffffu), (uint32_t)(l->never >> 24) + 1};
    dist_addr pid = {.kind = DIST_ADDR_PID, .pid = mesh_etf_pid(l->m, never)},
              no = {.kind = DIST_ADDR_NAME, .name = known ? SLICE("badopt") : SLICE("notsup")};
    dist_ctl reply = {.signal = DIST_SIG_SPAWN_REPLY, .ref = c->ref, .to = c->from, .flags = flags, .from = fine ? pid : no};
    err er = mesh_out(cx, l, &reply);
    if (!er && !l->ended && fine) {
        if (call_)
            run(cx, l, &e, &reason);
        else
            etf_put_atom(&reason, SLICE("normal"));
        er = tell_end(cx, l, c, flags, &pid, buf_slice(&reason));
    }
    buf_fini(&args);
    buf_fini(&reason);
    return er;
}
