/* call: what actors of the program ask of others: calls, functions of other nodes, connections; and how the answers reach them.
 *
 * What an actor has under way hangs on a pointer behind its state (lib_calls_at), which is NULL until it asks for the first time. */
#include "mesh/call.h"

#include "base/mem.h"
#include "lib/int.h"
#include "mesh/dial.h"

#define CALLS_MAX 65536u       /* of an actor at a time; of either kind */
#define CONNECTS  (1ull << 63) /* in the number of a murre_connect, which no reference has */

struct lib_calls {
    mesh_calls calls;
    uint64_t next, connecting; /* of murre_connect: numbers; how many are under way */
};

static lib_calls *calls_of(rt_ctx *cx) {
    lib_calls **at = lib_calls_at(cx, rt_ctx_state(cx));
    if (!*at) {
        *at = mem_zalloc(sizeof **at);
        mesh_calls_init(&(*at)->calls, lib_node(cx)->mesh, CALLS_MAX);
    }
    return *at;
}

void lib_calls_free(rt_ctx *cx, lib_calls **c) {
    if (!*c) return;
    mesh_calls_fini(cx, &(*c)->calls);
    mem_free(*c);
    *c = NULL;
}

/* --- asking ------------------------------------------------------------------------------------------------------------------------- */
static murre_err call(murre_ctx *mcx, const mesh_callee *to, murre_builder **b, int64_t timeout, uint64_t *out_call) {
    rt_ctx *cx = lib_cx(mcx);
    uint64_t number;
    rt_blob *term = lib_build_take(b);
    if (!term) return MURRE_INVALID;
    err e = mesh_calls_gen(cx, &calls_of(cx)->calls, to, slice_from(rt_blob_slice(term), 1), timeout < 0 ? USEC_NEVER : timeout, &number);
    rt_blob_unref(term);
    if (!e && out_call) *out_call = number;
    return lib_err(e);
}

murre_err murre_call(murre_ctx *cx, murre_pid to, murre_builder **b, int64_t timeout, uint64_t *out_call) {
    if (murre_pid_ok(to)) return call(cx, &(mesh_callee){.pid = lib_pid(to)}, b, timeout, out_call);
    murre_build_free(*b);
    *b = NULL;
    return MURRE_INVALID;
}

murre_err murre_call_name(murre_ctx *cx, const char *name, const char *node, murre_builder **b, int64_t timeout, uint64_t *out_call) {
    mesh_callee to = {.name = slice_str(name), .node = node ? slice_str(node) : SLICE_NULL};
    return call(cx, &to, b, timeout, out_call);
}

murre_err murre_rpc(murre_ctx *mcx, const char *node, const char *module, const char *function, murre_builder **args, int64_t timeout,
                    uint64_t *out_call) {
    rt_ctx *cx = lib_cx(mcx);
    uint64_t number;
    rt_blob *term = lib_build_take(args);
    if (!term) return MURRE_INVALID;
    buf list;
    buf_init(&list, UINT32_MAX);
    err e = mesh_args_list(slice_from(rt_blob_slice(term), 1), &list) ? ERR_OK : ERR_INVALID;
    if (!e)
        e = mesh_calls_rpc(cx, &calls_of(cx)->calls, slice_str(node), slice_str(module), slice_str(function), buf_slice(&list),
                           timeout < 0 ? USEC_NEVER : timeout, &number);
    rt_blob_unref(term);
    buf_fini(&list);
    if (!e && out_call) *out_call = number;
    return lib_err(e);
}

murre_err murre_connect(murre_ctx *mcx, const char *node, uint64_t *out_call) {
    rt_ctx *cx = lib_cx(mcx);
    char why[MESH_WHY_MAX];
    lib_calls *c = calls_of(cx);
    rt_pid dial = rt_name_find(cx, MESH_DIAL_NAME);
    err e = mesh_seed_check(mesh_name(lib_node(cx)->mesh), false, slice_str(node), why);
    if (!e && c->connecting >= CALLS_MAX) e = ERR_LIMIT;
    if (!e && !rt_pid_ok(dial)) e = ERR_NOCONN;
    if (e) return lib_err(e);
    rt_msg *m = rt_msg_new(cx, MESH_WANT, sizeof(mesh_want_msg));
    *mesh_want_msg_of(m) = (mesh_want_msg){.op = MESH_WANT_REACH, .ticket = CONNECTS | ++c->next, .seed = rt_blob_new(slice_str(node))};
    if (out_call) *out_call = CONNECTS | c->next;
    c->connecting++;
    rt_send(cx, dial, &m);
    return MURRE_OK;
}

/* --- answers ------------------------------------------------------------------------------------------------------------------------ */
static murre_err status_of(err e) { return e == ERR_NOPROC ? MURRE_NOT_FOUND : e == ERR_FOREIGN ? MURRE_FAILED : lib_err(e); }

static err hand(rt_ctx *cx, void *st, mesh_answer *a, lib_hand *fn) {
    murre_msg m = {.kind = MURRE_ANSWER, .term = {a->term.p, a->term.len}, .call = a->call, .status = status_of(a->status)};
    err e = a->call ? fn(cx, st, &m) : ERR_OK;
    mesh_answer_fini(a);
    return e;
}

/* The name of the node, or why it is not connected, as a binary. */
static err connected(rt_ctx *cx, void *st, lib_calls *c, const mesh_wanted_msg *w, lib_hand *fn) {
    buf b;
    if (check(c->connecting > 0)) c->connecting--;
    buf_init(&b, UINT32_MAX);
    etf_put_binary(&b, rt_blob_slice(w->text));
    murre_msg m = {.kind = MURRE_ANSWER, .term = {b.p, b.len}, .call = w->ticket, .status = lib_err(w->status)};
    err e = fn(cx, st, &m);
    buf_fini(&b);
    return e;
}

bool lib_calls_take(rt_ctx *cx, void *st, rt_msg *m, lib_hand *fn, err *out) {
    lib_calls *c = *lib_calls_at(cx, st);
    mesh_answer a;
    if (!c) return false;
    if (m->tag == MESH_WANTED) {
        *out = connected(cx, st, c, mesh_wanted_msg_of(m), fn);
        return true;
    }
    if (!mesh_calls_take(cx, &c->calls, m, &a)) return false;
    *out = hand(cx, st, &a, fn);
    return true;
}

bool lib_calls_expire(rt_ctx *cx, void *st, const rt_timer *t, lib_hand *fn, err *out) {
    lib_calls *c = *lib_calls_at(cx, st);
    mesh_answer a;
    if (!c || !mesh_calls_expire(cx, &c->calls, t, &a)) return false;
    *out = hand(cx, st, &a, fn);
    return true;
}
