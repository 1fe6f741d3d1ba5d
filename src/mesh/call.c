/* call: see call.h.
 *
 *                         answered {Ref, Reply} | DOWN | time is up
 *     mesh_calls_gen --> GEN ---------------------------------------------> over
 *     mesh_calls_rpc --> ERPC ---- DOWN {Ref, return, V} | time is up ------^
 *                          \-- DOWN: it cannot make processes --> REX -------^   as GEN
 *
 * Of ERPC the monitor is of the process that the other node makes, and the result is the reason of its end, as erpc has it: so there is
 * nobody on the other side whose queue it waits in.
 *
 * Invariants: (1) each call is in by_ref by its present monitor, and in by_timer exactly if its timer is armed. (2) A monitor of a call is
 * gone when the call is. */
#include "mesh/call.h"

#include "base/mem.h"
#include "mesh/actor.h"
#include "mesh/int.h"

#define MESSAGE_MAX (UINT32_MAX - 64u)

typedef enum call_kind { CALL_GEN, CALL_ERPC, CALL_REX } call_kind;
typedef struct call {
    hmap_node by_ref, by_timer;
    uint64_t number; /* by which the actor knows it: of its first monitor */
    uint64_t ref;    /* of its monitor */
    call_kind kind;
    uint32_t index; /* ERPC: of the node */
    rt_blob *again; /* ERPC: the request to rex, if the node wants that; else NULL */
    rt_timer timer;
} call;

static uint64_t timer_hash(const rt_timer *t) { return hash_u64((uint64_t)(uintptr_t)t); }

static call *find(const mesh_calls *c, uint64_t ref) {
    for (hmap_node *n = hmap_find(&c->by_ref, hash_u64(ref)); n; n = hmap_find_next(n)) {
        call *k = container_of(n, call, by_ref);
        if (k->ref == ref) return k;
    }
    return NULL;
}

static call *find_timer(const mesh_calls *c, const rt_timer *t) {
    for (hmap_node *n = hmap_find(&c->by_timer, timer_hash(t)); n; n = hmap_find_next(n)) {
        call *k = container_of(n, call, by_timer);
        if (&k->timer == t) return k;
    }
    return NULL;
}

/* --- a call ------------------------------------------------------------------------------------------------------------------------ */
static call *begin(rt_ctx *cx, mesh_calls *c, call_kind kind, uint64_t ref, usec timeout) {
    call *k = mem_zalloc(sizeof *k);
    *k = (call){.number = ref, .ref = ref, .kind = kind};
    hmap_insert(&c->by_ref, &k->by_ref, hash_u64(ref));
    if (timeout != USEC_NEVER) {
        usec now = rt_now(cx);
        rt_timer_set(cx, &k->timer, timeout < USEC_NEVER - 1 - now ? now + (timeout > 0 ? timeout : 0) : USEC_NEVER - 1);
        hmap_insert(&c->by_timer, &k->by_timer, timer_hash(&k->timer));
    }
    return k;
}

/* Its monitor may have fired already: then there is none to end. */
static void end(rt_ctx *cx, mesh_calls *c, call *k) {
    rt_demonitor(cx, k->ref);
    hmap_remove(&c->by_ref, &k->by_ref);
    if (find_timer(c, &k->timer)) hmap_remove(&c->by_timer, &k->by_timer);
    rt_timer_cancel(cx, &k->timer);
    rt_blob_unref(k->again);
    mem_free(k);
}

void mesh_calls_init(mesh_calls *c, mesh *m, uint32_t max) {
    *c = (mesh_calls){.m = m, .max = max};
    hmap_init(&c->by_ref);
    hmap_init(&c->by_timer);
}

void mesh_calls_fini(rt_ctx *cx, mesh_calls *c) {
    for (hmap_node *n = hmap_first(&c->by_ref), *next; n; n = next) {
        next = hmap_next(&c->by_ref, n);
        end(cx, c, container_of(n, call, by_ref));
    }
    hmap_fini(&c->by_ref);
    hmap_fini(&c->by_timer);
}

/* --- what is said ------------------------------------------------------------------------------------------------------------------ */
/* {'$gen_call', {Self, Ref}, Request} */
static rt_blob *gen_blob(rt_ctx *cx, const mesh_calls *c, uint64_t ref, slice request) {
    etf_pid self = mesh_etf_pid(c->m, rt_self(cx));
    etf_ref tag = mesh_etf_ref(c->m, ref);
    buf b;
    buf_init(&b, MESSAGE_MAX);
    etf_put_version(&b);
    etf_put_tuple(&b, 3);
    etf_put_atom(&b, SLICE("$gen_call"));
    etf_put_tuple(&b, 2);
    etf_put_pid(&b, &self);
    etf_put_ref(&b, &tag);
    buf_add(&b, request);
    rt_blob *out = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return out;
}

rt_blob *mesh_cast_blob(slice request) {
    buf b;
    buf_init(&b, MESSAGE_MAX);
    etf_put_version(&b);
    etf_put_tuple(&b, 2);
    etf_put_atom(&b, SLICE("$gen_cast"));
    buf_add(&b, request);
    rt_blob *out = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return out;
}

/* The longest request that fits with what is around it. */
static bool fits(slice request) { return request.len > 0 && request.len <= MESSAGE_MAX - 4096u; }

err mesh_calls_gen(rt_ctx *cx, mesh_calls *c, const mesh_callee *to, slice request, usec timeout, uint64_t *out_call) {
    uint32_t index = 0;
    rt_pid pid = to->pid;
    bool named = !rt_pid_ok(pid), here = named && (to->node.len == 0 || slice_eq(to->node, c->m->cfg.name));
    if (c->by_ref.count >= c->max) return ERR_LIMIT;
    if ((named && !etf_is_atom(to->name)) || !fits(request)) return ERR_INVALID;
    if (here) pid = rt_name_find_slice(cx, to->name);
    if (rt_pid_eq(pid, rt_self(cx))) return ERR_INVALID;
    if (named && !here && !mesh_node_index(c->m, cx, to->node, &index)) return ERR_NOCONN;
    uint64_t ref = named && !here ? mesh_monitor_name(cx, c->m, index, to->name) : rt_monitor(cx, pid);
    rt_blob *say = gen_blob(cx, c, ref, request);
    if (!check(say)) {
        rt_demonitor(cx, ref);
        return ERR_BUG;
    }
    if (named && !here)
        mesh_send_name(cx, c->m, index, to->name, say);
    else if (rt_pid_ok(pid))
        mesh_send_pid(cx, pid, say);
    rt_blob_unref(say);
    *out_call = begin(cx, c, CALL_GEN, ref, timeout)->number;
    return ERR_OK;
}

bool mesh_args_list(slice term, buf *out) {
    etf_item it, tail = {.kind = ETF_NIL};
    etf_reader r = etf_reader_of(term);
    if (!etf_next(&r, &it)) return false;
    if (it.kind == ETF_STRING) {
        etf_put_list(out, (uint32_t)it.text.len);
        for (size_t i = 0; i < it.text.len; i++) etf_put_int(out, it.text.p[i]);
        etf_put_nil(out);
        return true;
    }
    for (uint32_t i = 0; it.kind == ETF_LIST && i < it.n; i++)
        if (!etf_skip(&r, NULL)) return false;
    bool fine = it.kind == ETF_NIL || (it.kind == ETF_LIST && etf_next(&r, &tail) && tail.kind == ETF_NIL);
    if (fine) buf_add(out, term);
    return fine;
}

/* {erpc, execute_call, [Ref, Module, Function, Args]}; {call, Module, Function, Args, user}: rex runs it with its own node's group leader.
 */
static rt_blob *erpc_blob(slice module, slice function, slice args) {
    buf b;
    buf_init(&b, MESSAGE_MAX);
    etf_put_tuple(&b, 3);
    etf_put_atom(&b, SLICE("erpc"));
    etf_put_atom(&b, SLICE("execute_call"));
    etf_put_list(&b, 4);
    etf_put_int(&b, 0); /* it comes back in front of the result, whatever it is */
    etf_put_atom(&b, module);
    etf_put_atom(&b, function);
    buf_add(&b, args);
    etf_put_nil(&b);
    rt_blob *out = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return out;
}

static rt_blob *rex_blob(slice module, slice function, slice args) {
    buf b;
    buf_init(&b, MESSAGE_MAX);
    etf_put_tuple(&b, 5);
    etf_put_atom(&b, SLICE("call"));
    etf_put_atom(&b, module);
    etf_put_atom(&b, function);
    buf_add(&b, args);
    etf_put_atom(&b, SLICE("user"));
    rt_blob *out = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return out;
}

err mesh_calls_rpc(rt_ctx *cx, mesh_calls *c, slice node, slice module, slice function, slice args, usec timeout, uint64_t *out_call) {
    uint32_t index;
    if (c->by_ref.count >= c->max) return ERR_LIMIT;
    if (!etf_is_atom(module) || !etf_is_atom(function) || !fits(args) || slice_eq(node, c->m->cfg.name)) return ERR_INVALID;
    if (!mesh_node_index(c->m, cx, node, &index)) return ERR_NOCONN;
    rt_blob *what = erpc_blob(module, function, args);
    if (!check(what)) return ERR_BUG;
    call *k = begin(cx, c, CALL_ERPC, mesh_monitor_spawn(cx, c->m, index, what), timeout);
    rt_blob_unref(what);
    k->index = index;
    k->again = rex_blob(module, function, args);
    c->leads = true;
    *out_call = k->number;
    return ERR_OK;
}

/* The node cannot make processes for others: its rex is asked instead. */
static void ask_rex(rt_ctx *cx, mesh_calls *c, call *k) {
    hmap_remove(&c->by_ref, &k->by_ref);
    k->kind = CALL_REX;
    k->ref = mesh_monitor_name(cx, c->m, k->index, SLICE("rex"));
    hmap_insert(&c->by_ref, &k->by_ref, hash_u64(k->ref));
    rt_blob *say = gen_blob(cx, c, k->ref, rt_blob_slice(k->again));
    if (check(say)) mesh_send_name(cx, c->m, k->index, SLICE("rex"), say);
    rt_blob_unref(say);
    rt_blob_unref(k->again);
    k->again = NULL;
}

/* --- what comes back --------------------------------------------------------------------------------------------------------------- */
static slice rest_of(const etf_reader *r) { return slice_of(r->in.p, cursor_left(&r->in)); }

void mesh_answer_fini(mesh_answer *a) { buf_fini(&a->made); }

static void answer_init(mesh_answer *a, const call *k) {
    *a = (mesh_answer){.call = k ? k->number : 0};
    buf_init(&a->made, UINT32_MAX);
}

/* {badrpc, Reason} as the value of a function is what rex says of one that failed; one that returns it cannot be told from that, nor can it
 * in OTP. */
static void rex_result(mesh_answer *a, slice reply) {
    uint32_t n;
    etf_reader r = etf_reader_of(reply);
    bool bad = etf_get_tuple(&r, &n) && n == 2 && etf_get_atom_is(&r, SLICE("badrpc"));
    a->status = bad ? ERR_FOREIGN : ERR_OK;
    a->term = bad ? rest_of(&r) : reply;
}

/* {'EXIT', Reason}, or {'EXIT', {Reason, Stack}}. */
static void put_exit(mesh_answer *a, slice reason, slice stack) {
    a->status = ERR_FOREIGN;
    etf_put_tuple(&a->made, 2);
    etf_put_atom(&a->made, SLICE("EXIT"));
    if (stack.len) etf_put_tuple(&a->made, 2);
    buf_add(&a->made, reason);
    buf_add(&a->made, stack);
    a->term = buf_slice(&a->made);
}

/* The reason with which a process of erpc has ended: {_, return, Value}, {_, throw | exit, Reason}, {_, error, Reason, Stack}; any other is
 * of one that was ended before it was done. A value that is thrown is the result, as of rpc:call. */
static void erpc_result(mesh_answer *a, slice reason) {
    uint32_t n;
    slice class, value, stack = SLICE_NULL;
    etf_reader r = etf_reader_of(reason);
    bool fine = etf_get_tuple(&r, &n) && (n == 3 || n == 4) && etf_skip(&r, NULL) && etf_get_atom(&r, &class) && etf_skip(&r, &value) &&
                (n == 3 || etf_skip(&r, &stack));
    if (fine && (slice_is(class, "return") || slice_is(class, "throw")))
        a->term = value;
    else if (fine)
        put_exit(a, value, stack);
    else
        put_exit(a, reason, SLICE_NULL);
}

static bool has_no_erpc(slice reason) {
    etf_reader r = etf_reader_of(reason);
    return etf_get_atom_is(&r, SLICE("notsup"));
}

/* The monitor of a call has fired. False: the call goes on. */
static bool on_down(rt_ctx *cx, mesh_calls *c, call *k, const rt_down *d, mesh_answer *a) {
    slice term = d->term ? slice_from(rt_blob_slice(d->term), 1) : SLICE_NULL;
    if (k->kind == CALL_ERPC && k->again && (d->reason == ERR_UNSUPPORTED || (term.len && has_no_erpc(term)))) {
        ask_rex(cx, c, k);
        return false;
    }
    buf reason;
    buf_init(&reason, UINT32_MAX);
    mesh_reason_out(d->reason, d->term, &reason);
    a->status = d->reason;
    bool is_plain = d->reason == ERR_NOCONN || d->reason == ERR_LIMIT || d->reason == ERR_UNSUPPORTED;
    if (!is_plain && k->kind == CALL_ERPC) {
        a->status = ERR_OK;
        erpc_result(a, term.len ? term : buf_slice(&reason));
    } else if (!is_plain && d->reason != ERR_NOPROC && k->kind == CALL_REX) {
        put_exit(a, buf_slice(&reason), SLICE_NULL);
    } else if (!is_plain && d->reason != ERR_NOPROC) {
        a->status = ERR_FOREIGN;
        buf_add(&a->made, buf_slice(&reason));
        a->term = buf_slice(&a->made);
    }
    buf_fini(&reason);
    return true;
}

/* A request to write or to read, of a function that runs with this actor as its group leader: what it writes is dropped, and there is
 * nothing to read (stdlib, "The Erlang I/O Protocol"). */
static bool on_io(rt_ctx *cx, const mesh_calls *c, slice term) {
    uint32_t n;
    etf_pid from;
    rt_pid to;
    slice as, kind = SLICE_NULL;
    etf_reader r = etf_reader_of(term);
    if (!c->leads || !etf_get_tuple(&r, &n) || n != 4 || !etf_get_atom_is(&r, SLICE("io_request"))) return false;
    if (!etf_get_pid(&r, &from) || !etf_skip(&r, &as) || !mesh_pid_get(c->m, cx, &from, &to)) return false;
    bool puts = etf_get_tuple(&r, &n) && etf_get_atom(&r, &kind) && slice_is(kind, "put_chars");
    buf b;
    buf_init(&b, MESSAGE_MAX);
    etf_put_version(&b);
    etf_put_tuple(&b, 3);
    etf_put_atom(&b, SLICE("io_reply"));
    buf_add(&b, as);
    if (!puts) etf_put_tuple(&b, 2);
    etf_put_atom(&b, puts ? SLICE("ok") : SLICE("error"));
    if (!puts) etf_put_atom(&b, SLICE("enotsup"));
    rt_blob *say = buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    if (say) mesh_send_pid(cx, to, say);
    rt_blob_unref(say);
    buf_fini(&b);
    return true;
}

/* {Ref, Reply}: a reference of this node is never said to others but as the tag of a call. */
static bool on_term(rt_ctx *cx, mesh_calls *c, rt_msg *m, mesh_answer *out) {
    uint32_t n;
    uint64_t ref;
    etf_ref tag;
    slice term = slice_from(rt_blob_slice(mesh_term_of(m)->term), 1);
    etf_reader r = etf_reader_of(term);
    if (!etf_get_tuple(&r, &n) || n != 2 || !etf_get_ref(&r, &tag) || !mesh_own_ref(c->m, &tag, &ref)) {
        answer_init(out, NULL);
        return on_io(cx, c, term);
    }
    call *k = find(c, ref);
    answer_init(out, k);
    if (!k || k->kind == CALL_ERPC) {
        out->call = 0;
        return true;
    }
    if (k->kind == CALL_REX)
        rex_result(out, rest_of(&r));
    else
        out->term = rest_of(&r);
    end(cx, c, k);
    return true;
}

bool mesh_calls_take(rt_ctx *cx, mesh_calls *c, rt_msg *m, mesh_answer *out) {
    if (m->tag == MESH_TERM) return on_term(cx, c, m, out);
    call *k = m->tag == RT_DOWN ? find(c, rt_down_of(m)->ref) : NULL;
    if (!k) return false;
    answer_init(out, k);
    if (on_down(cx, c, k, rt_down_of(m), out))
        end(cx, c, k);
    else
        out->call = 0;
    return true;
}

bool mesh_calls_expire(rt_ctx *cx, mesh_calls *c, const rt_timer *t, mesh_answer *out) {
    call *k = find_timer(c, t);
    if (!k) return false;
    answer_init(out, k);
    out->status = ERR_TIMEOUT;
    end(cx, c, k);
    return true;
}
