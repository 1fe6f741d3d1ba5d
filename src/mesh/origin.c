/* origin: see origin.h. A function that looks at what only a shard may look at runs there, between two handlers; all others on the caller's
 * thread.
 *
 *     line's thread: mesh_origin_message                      shard 0
 *     a visit, 2 references       -- rt_node_call -->         runs the function, writes its value, drops its reference
 *     reads the value, drops its  <------------------
 *
 * Invariant: a visit outlives both sides: a shard that comes to it after the time limit writes into memory that is still there. */
#include "mesh/origin.h"

#include "base/mem.h"
#include "mesh/actor.h"
#include "mesh/link.h"
#include "mesh/mfa.h"

#include <stdatomic.h>

#define VISIT_USEC (5 * USEC_PER_SEC)
#define VALUE_MAX  (256u << 20) /* bytes of a result, as for any node that calls */

void mesh_origin_allow(mesh *m, void (*fn)(void *arg, bool now, int status), void *arg) {
    m->stop = fn;
    m->stop_arg = arg;
}

/* --- calling ------------------------------------------------------------------------------------------------------------------------- */
typedef struct visit {
    rt_shard_call call;
    _Atomic uint32_t refs; /* the shard's and the caller's; acq_rel, pairs with itself: the last one frees */
    mesh *m;
    const mesh_mfa *mfa;
    rt_blob *text; /* M, F and Args, one behind the other: what the slices are of */
    slice module, function, args;
    buf value, message;
    bool fine;
} visit;

static void visit_unref(visit *v) {
    if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1) return;
    rt_blob_unref(v->text);
    buf_fini(&v->value);
    buf_fini(&v->message);
    mem_free(v);
}
static void visit_free(rt_box *b) { visit_unref(container_of(container_of(b, rt_shard_call, box), visit, call)); }

static void visit_run(visit *v, rt_ctx *cx) {
    mesh_mfa_call c = {.m = v->m,
                       .cx = cx,
                       .peer = v->m->cfg.name,
                       .module = v->module,
                       .function = v->function,
                       .args = v->args,
                       .self = mesh_etf_pid(v->m, (rt_pid){0, MESH_NEVER_SHARD << 24, 1}),
                       .leader = {.node = SLICE("")},
                       .value = &v->value,
                       .message = &v->message};
    v->fine = v->mfa->fn(&c);
}
static void visit_shard(rt_ctx *cx, rt_shard_call *call) { visit_run(container_of(call, visit, call), cx); }

static visit *visit_new(mesh *m, const mesh_mfa *mfa, slice module, slice function, slice args) {
    visit *v = mem_zalloc(sizeof *v);
    buf b;
    buf_init(&b, UINT32_MAX);
    buf_add(&b, module);
    buf_add(&b, function);
    buf_add(&b, args);
    v->call = (rt_shard_call){.box.free = visit_free, .fn = visit_shard};
    atomic_init(&v->refs, 2);
    v->m = m;
    v->mfa = mfa;
    v->text = rt_blob_new(buf_slice(&b));
    slice all = rt_blob_slice(v->text);
    v->module = slice_sub(all, 0, module.len);
    v->function = slice_sub(all, module.len, function.len);
    v->args = slice_from(all, module.len + function.len);
    buf_init(&v->value, VALUE_MAX);
    buf_init(&v->message, VALUE_MAX);
    buf_fini(&b);
    return v;
}

/* Its value in out; NULL, or what was wrong. args: a term of any kind. */
static const char *apply(mesh *m, slice module, slice function, slice args, buf *out) {
    buf text;
    slice list_;
    uint32_t arity;
    const char *wrong = "badarg";
    buf_init(&text, UINT32_MAX);
    if (mesh_mfa_args(args, &text, &list_, &arity)) {
        const mesh_mfa *mfa = mesh_mfa_find(m, module, function, arity);
        visit *v = mfa ? visit_new(m, mfa, module, function, list_) : NULL;
        err e = ERR_OK;
        if (v && mfa->when == MESH_LATER) {
            visit_run(v, NULL);
            visit_unref(v); /* the shard's: none has it */
        } else if (v) {
            e = rt_node_call(m->node, 0, &v->call, VISIT_USEC);
        }
        wrong = !v ? "undef" : e ? "system_limit" : !v->fine ? "badarg" : buf_ok(&v->value) ? NULL : "system_limit";
        if (!wrong) buf_add(out, buf_slice(&v->value));
        if (v) visit_unref(v);
    }
    buf_fini(&text);
    return wrong;
}

/* --- the line ------------------------------------------------------------------------------------------------------------------------ */
static void put_reply(slice seq, slice module, slice function, slice args, const char *wrong, slice value, buf *reply) {
    etf_put_version(reply);
    etf_put_tuple(reply, 4);
    etf_put_atom(reply, SLICE("reply"));
    buf_add(reply, seq);
    etf_put_atom(reply, wrong ? SLICE("error") : SLICE("ok"));
    if (wrong) {
        etf_put_tuple(reply, 2);
        etf_put_atom(reply, slice_str(wrong));
        mesh_mfa_stack(module, function, args, reply);
    } else {
        buf_add(reply, value);
    }
}

/* M, F and Args, at which r stands; seq of no bytes: it is a cast. */
static bool on_call(mesh *m, etf_reader r, slice seq, buf *reply) {
    slice module, function, args;
    buf value;
    if (!etf_get_atom(&r, &module) || !etf_get_atom(&r, &function) || !etf_skip(&r, &args)) return false;
    buf_init(&value, VALUE_MAX);
    const char *wrong = apply(m, module, function, args, &value);
    if (seq.len) put_reply(seq, module, function, args, wrong, buf_slice(&value), reply);
    buf_fini(&value);
    return true;
}

/* To and Message, at which r stands, are the arguments of erlang:send. */
static bool on_message(mesh *m, etf_reader r) {
    slice to, what;
    buf args, value;
    if (!etf_skip(&r, &to) || !etf_skip(&r, &what)) return false;
    buf_init(&args, UINT32_MAX);
    buf_init(&value, VALUE_MAX);
    etf_put_list(&args, 2);
    buf_add(&args, to);
    buf_add(&args, what);
    etf_put_nil(&args);
    (void)apply(m, SLICE("erlang"), SLICE("send"), buf_slice(&args),
                &value); /* nobody there: OTP's peer would end, for a mistake of the caller */
    buf_fini(&args);
    buf_fini(&value);
    return true;
}

static bool on_tuple(mesh *m, etf_reader r, buf *reply) {
    slice what, seq;
    uint32_t n;
    if (!etf_get_tuple(&r, &n) || n < 1 || !etf_get_atom(&r, &what)) return false;
    if (n == 5 && slice_is(what, "call")) return etf_skip(&r, &seq) && on_call(m, r, seq, reply);
    if (n == 4 && slice_is(what, "cast")) return on_call(m, r, SLICE(""), reply);
    if (n == 3 && slice_is(what, "message")) return on_message(m, r);
    return n == 4 && slice_is(what, "io_reply");
}

err mesh_origin_message(mesh *m, slice message, buf *reply) {
    etf_reader r = etf_reader_of(message);
    buf whole; /* as this node writes it, looked through as a whole: what is read again does not fail */
    buf_init(&whole, UINT32_MAX);
    bool fine = etf_get_version(&r) && etf_copy(&r, &whole) && buf_ok(&whole) && on_tuple(m, etf_reader_of(buf_slice(&whole)), reply);
    buf_fini(&whole);
    return fine ? ERR_OK : ERR_CORRUPT;
}

void mesh_origin_started(const mesh *m, buf *reply) {
    etf_put_version(reply);
    etf_put_tuple(reply, 2);
    etf_put_atom(reply, SLICE("started"));
    etf_put_atom(reply, m->cfg.name);
}

/* --- without a line: the actor ------------------------------------------------------------------------------------------------------- */
typedef struct origin {
    mesh *m;
    etf_pid pid;    /* its node is a slice of m->origin */
    uint32_t index; /* of its node while that is connected; 0 */
    uint64_t watch; /* the monitor on it */
} origin;

static err origin_init(rt_ctx *cx, void *st, const void *arg) {
    origin *o = st;
    o->m = *(mesh *const *)arg;
    etf_reader r = etf_reader_of(rt_blob_slice(o->m->origin));
    if (!check(etf_get_pid(&r, &o->pid))) return ERR_BUG;
    mesh_watch_nodes(cx, true);
    return ERR_OK;
}

static void on_node(rt_ctx *cx, origin *o, const mesh_node_msg *n) {
    if (!n->up || n->index == o->index || !slice_eq(rt_blob_slice(n->name), o->pid.node) || n->creation != o->pid.creation) return;
    rt_pid to = {n->index, o->pid.id, o->pid.serial};
    buf b;
    o->index = n->index;
    o->watch = rt_monitor(cx, to);
    buf_init(&b, 4096);
    mesh_origin_started(o->m, &b);
    rt_blob *term = rt_blob_new(buf_slice(&b));
    mesh_send_pid(cx, to, term);
    rt_blob_unref(term);
    buf_fini(&b);
}

static err origin_handle(rt_ctx *cx, void *st, rt_msg **m) {
    origin *o = st;
    if ((*m)->tag == MESH_NODE) on_node(cx, o, mesh_node_msg_of(*m));
    if ((*m)->tag == RT_DOWN && rt_down_of(*m)->ref == o->watch) o->m->stop(o->m->stop_arg, false, 0);
    return ERR_OK;
}

static const rt_class mesh_origin_class = {
    .name = "mesh_origin",
    .state_size = sizeof(origin),
    .init = origin_init,
    .handle = origin_handle,
    .mailbox_max = 100000,
    .mailbox_bytes_max = 16u << 20,
    .bound = RT_BOUND_DROP_OLDEST,
    .sure = MESH_NODE,
};

typedef struct booting {
    mesh *m;
    err status;
} booting;
static void boot(rt_ctx *cx, void *arg) {
    booting *b = arg;
    rt_pid pid;
    b->status = rt_spawn(cx, &rt_sup_class, &b->m->origin_spec, 0, &pid, NULL);
}

err mesh_origin_follow(mesh *m, slice pid, slice *out_node) {
    etf_reader r = etf_reader_of(pid), at;
    etf_pid p;
    if (!check(m->stop && !m->origin)) return ERR_BUG;
    if (!etf_get_version(&r)) return ERR_INVALID;
    at = r;
    if (!etf_get_pid(&at, &p)) return ERR_INVALID;
    buf b;
    buf_init(&b, 4096);
    etf_put_pid(&b, &p);
    m->origin = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    r = etf_reader_of(rt_blob_slice(m->origin));
    if (!check(etf_get_pid(&r, &p))) return ERR_BUG;
    *out_node = p.node;
    m->origin_child = (rt_child){.id = "mesh_origin", .cls = &mesh_origin_class, .arg = &m->itself, .restart = RT_PERMANENT};
    m->origin_spec = (rt_sup_spec){
        .strategy = RT_ONE_FOR_ONE, .intensity = 3, .period = USEC_PER_SEC, .children = &m->origin_child, .n_children = 1, .vital = true};
    booting x = {.m = m};
    rt_node_boot(m->node, 0, boot, &x);
    return x.status;
}
