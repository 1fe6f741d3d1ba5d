/* caller: what operators want of other nodes (murrectl rpc, ping): one actor that connects to the node, asks it, and gives the answer to
 * the thread that waits for it (rt_call).
 *
 *     MESH_ASK --> REACHING --connected--> CALLING --answered, or not--> MESH_ASKED
 *                      \--not reached: why, time is up--------------------^
 *
 * Invariants: (1) each ask is answered once. (2) Its own timer is armed while it is REACHING; then the call has one. */
#include "base/mem.h"
#include "base/utf8.h"
#include "mesh/call.h"
#include "mesh/dial.h"
#include "mesh/int.h"

#define ASKS_MAX 1024u /* at a time; there are four threads that can wait for one (rt/ctl.h), and each asks one thing */

typedef struct ask {
    hmap_node node; /* by number */
    uint64_t number;
    uint64_t call; /* CALLING */
    mesh_ask_op op;
    rt_pid who;
    usec end;
    rt_timer timer;
    rt_blob *module, *function, *args;
} ask;
typedef struct caller {
    mesh *m;
    hmap asks;
    uint64_t next;
    mesh_calls calls;
} caller;

static ask *find(const caller *c, uint64_t number) {
    for (hmap_node *n = hmap_find(&c->asks, hash_u64(number)); n; n = hmap_find_next(n)) {
        ask *a = container_of(n, ask, node);
        if (a->number == number) return a;
    }
    return NULL;
}

static ask *find_call(const caller *c, uint64_t call) {
    for (hmap_node *n = hmap_first(&c->asks); n; n = hmap_next(&c->asks, n)) {
        ask *a = container_of(n, ask, node);
        if (a->call == call) return a;
    }
    return NULL;
}

static void reply(rt_ctx *cx, rt_pid to, err status, slice term, slice why) {
    rt_msg *m = rt_msg_new(cx, MESH_ASKED, sizeof(mesh_asked_msg));
    *mesh_asked_msg_of(m) =
        (mesh_asked_msg){.status = status, .term = term.len ? rt_blob_new(term) : NULL, .why = why.len ? rt_blob_new(why) : NULL};
    rt_send(cx, to, &m);
}

static void over(rt_ctx *cx, caller *c, ask *a) {
    hmap_remove(&c->asks, &a->node);
    rt_timer_cancel(cx, &a->timer);
    rt_blob_unref(a->module);
    rt_blob_unref(a->function);
    rt_blob_unref(a->args);
    mem_free(a);
}

static void fail(rt_ctx *cx, caller *c, ask *a, err status, slice why) {
    reply(cx, a->who, status, SLICE_NULL, why);
    over(cx, c, a);
}

/* --- reaching ---------------------------------------------------------------------------------------------------------------------- */
static void on_ask(rt_ctx *cx, caller *c, const mesh_ask_msg *q, rt_pid who) {
    rt_pid dial = rt_name_find(cx, MESH_DIAL_NAME);
    if (c->asks.count >= ASKS_MAX) {
        reply(cx, who, ERR_LIMIT, SLICE_NULL, SLICE("too many are under way"));
        return;
    }
    if (!rt_pid_ok(dial)) {
        reply(cx, who, ERR_NOPROC, SLICE_NULL, SLICE("what dials other nodes does not run at the moment"));
        return;
    }
    ask *a = mem_zalloc(sizeof *a);
    *a = (ask){.number = ++c->next,
               .op = (mesh_ask_op)q->op,
               .who = who,
               .end = rt_now(cx) + q->timeout_usec,
               .module = rt_blob_ref(q->module),
               .function = rt_blob_ref(q->function),
               .args = rt_blob_ref(q->args)};
    hmap_insert(&c->asks, &a->node, hash_u64(a->number));
    rt_timer_set(cx, &a->timer, a->end);
    rt_msg *m = rt_msg_new(cx, MESH_WANT, sizeof(mesh_want_msg));
    *mesh_want_msg_of(m) = (mesh_want_msg){.op = MESH_WANT_REACH, .ticket = a->number, .seed = rt_blob_ref(q->node)};
    rt_send(cx, dial, &m);
}

/* --- calling ----------------------------------------------------------------------------------------------------------------------- */
/* OTP: net_adm:ping/1 */
static err ping(rt_ctx *cx, caller *c, slice node, usec timeout, uint64_t *out_call) {
    buf b;
    buf_init(&b, 2 * DIST_NAME_MAX);
    etf_put_tuple(&b, 2);
    etf_put_atom(&b, SLICE("is_auth"));
    etf_put_atom(&b, c->m->cfg.name);
    mesh_callee to = {.name = SLICE("net_kernel"), .node = node};
    err e = mesh_calls_gen(cx, &c->calls, &to, buf_slice(&b), timeout, out_call);
    buf_fini(&b);
    return e;
}

static void on_wanted(rt_ctx *cx, caller *c, const mesh_wanted_msg *w) {
    ask *a = find(c, w->ticket);
    slice node = rt_blob_slice(w->text);
    if (!a || a->call) return; /* its time was up */
    if (w->status) {
        fail(cx, c, a, w->status, node);
        return;
    }
    usec left = a->end - rt_now(cx);
    rt_timer_cancel(cx, &a->timer);
    err e = a->op == MESH_ASK_PING ? ping(cx, c, node, left, &a->call)
                                   : mesh_calls_rpc(cx, &c->calls, node, rt_blob_slice(a->module), rt_blob_slice(a->function),
                                                    rt_blob_slice(a->args), left, &a->call);
    if (e) fail(cx, c, a, e, slice_str(err_text(e)));
}

static void on_answer(rt_ctx *cx, caller *c, mesh_answer *r) {
    ask *a = r->call ? find_call(c, r->call) : NULL;
    if (a) {
        bool term = r->status == ERR_OK || r->status == ERR_FOREIGN;
        reply(cx, a->who, r->status, term ? r->term : SLICE_NULL, term ? SLICE_NULL : slice_str(err_text(r->status)));
        over(cx, c, a);
    }
    mesh_answer_fini(r);
}

/* --- the actor --------------------------------------------------------------------------------------------------------------------- */
static err caller_init(rt_ctx *cx, void *st, const void *arg) {
    caller *c = st;
    c->m = *(mesh *const *)arg;
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    err e = rt_name_register(cx, MESH_CALLER_NAME);
    if (e) return e;
    hmap_init(&c->asks);
    mesh_calls_init(&c->calls, c->m, ASKS_MAX);
    return ERR_OK;
}

static err caller_handle(rt_ctx *cx, void *st, rt_msg **m) {
    caller *c = st;
    mesh_answer r;
    if (mesh_calls_take(cx, &c->calls, *m, &r))
        on_answer(cx, c, &r);
    else if ((*m)->tag == MESH_ASK)
        on_ask(cx, c, mesh_ask_msg_of(*m), (*m)->sender);
    else if ((*m)->tag == MESH_WANTED)
        on_wanted(cx, c, mesh_wanted_msg_of(*m));
    return ERR_OK;
}

static err caller_timer(rt_ctx *cx, void *st, rt_timer *t) {
    caller *c = st;
    mesh_answer r;
    if (mesh_calls_expire(cx, &c->calls, t, &r))
        on_answer(cx, c, &r);
    else
        fail(cx, c, container_of(t, ask, timer), ERR_TIMEOUT, SLICE("it was not connected in time"));
    return ERR_OK;
}

static void caller_fini(rt_ctx *cx, void *st, err reason) {
    caller *c = st;
    (void)reason; /* who waits learns that there is no answer */
    mesh_calls_fini(cx, &c->calls);
    for (hmap_node *n = hmap_first(&c->asks), *next; n; n = next) {
        next = hmap_next(&c->asks, n);
        over(cx, c, container_of(n, ask, node));
    }
    hmap_fini(&c->asks);
}

const rt_class mesh_caller_class = {
    .name = "mesh_caller",
    .state_size = sizeof(caller),
    .init = caller_init,
    .handle = caller_handle,
    .timer = caller_timer,
    .fini = caller_fini,
    .mailbox_max = 100000,
    .mailbox_bytes_max = 256u << 20, /* an answer has up to 128 MiB */
    .bound = RT_BOUND_DROP_OLDEST,
    .foreign = true,
    .sure = MESH_NODE,
};
