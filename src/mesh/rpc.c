/* rpc: spawn requests of other nodes (erl_dist_protocol, SPAWN_REQUEST). There is no code to run: what a request asks for is looked up in
 * mfa.def, and its result is the exit reason of a process that never was, as erpc has it:
 *
 *     {erpc, execute_call, 4} [Ref, M, F, Args]   --> SPAWN_REPLY pid, DOWN {Ref, return, Value} or {Ref, error, undef, [{M, F, Args, []}]}
 *     {erpc, execute_cast, 3} [M, F, Args]        --> SPAWN_REPLY pid, DOWN normal or {undef, [{M, F, Args, []}]}
 *     {M, F, A} Args                              --> the same
 *     wrong options                               --> SPAWN_REPLY badopt
 *
 * What asks the shards runs on a thread of the pool, one call of a peer after the other, while the link goes on; the next one begins when
 * the answer to the last one was written. A link that is busy, because its peer does not read, answers no finished job, so that a peer
 * costs one thread, one result and MESH_RPC_WAIT_MAX requests, however much it asks.
 *
 * Invariants: (1) SPAWN_REPLY goes out before anything else about that process (OTP closes the connection else). (2) A call that waits is
 * in the list, but for the one that runs, which the pool has: running is true exactly then. */
#include "mesh/rpc.h"

#include "base/mem.h"
#include "mesh/link.h"

#define VALUE_MAX (256u << 20) /* bytes of a result: a few million pids */

typedef enum rpc_kind { RPC_CALL, RPC_PLAIN } rpc_kind;
typedef struct rpc {
    rt_job job; /* first: box.free is the job's */
    list waits;
    rpc_kind kind;
    const mesh_mfa *mfa; /* NULL: undef */
    bool badarg;         /* the arguments are no proper list */
    mesh *m;
    uint32_t flags; /* DIST_SPAWN_*: what the requester has */
    uint64_t never; /* number of the process */
    etf_pid from;   /* the requester, and its reference for the request; their node is the peer: not set */
    etf_ref ref;
    etf_pid leader;                    /* id 0 and serial 0 with an empty name: of a third node */
    buf text;                          /* what the slices are of */
    slice peer, tag, module, function; /* tag: Ref of a call, a term */
    slice args;                        /* a term: a proper list, unless badarg */
    uint32_t arity;
    buf value, message;
    rt_blob *reason,
        *sent; /* what the answer is made of: a long one waits in the link, by reference; NULL: not made yet; nothing is sent */
    etf_pid to;
    bool fine; /* it has run, and was no badarg */
} rpc;

static void rpc_free(rpc *q) {
    buf_fini(&q->text);
    buf_fini(&q->value);
    buf_fini(&q->message);
    rt_blob_unref(q->reason);
    rt_blob_unref(q->sent);
    mem_free(q);
}
static void free_box(rt_box *b) { rpc_free(container_of(container_of(b, rt_job, box), rpc, job)); }

/* A process that never was, on a shard that there is not; its number is not used again soon. */
static etf_pid never_pid(const rpc *q) {
    return mesh_etf_pid(q->m, (rt_pid){0, MESH_NEVER_SHARD << 24 | (uint32_t)(q->never & 0xffffffu), (uint32_t)(q->never >> 24) + 1});
}

/* --- reading a request ------------------------------------------------------------------------------------------------------------- */
/* [Ref, M, F, Args] of a call, [M, F, Args] of a cast. */
static bool read_erpc(rpc *q, slice payload) {
    etf_reader r = etf_reader_of(payload);
    etf_item row;
    if (!etf_next(&r, &row) || row.kind != ETF_LIST || row.n != (q->kind == RPC_CALL ? 4u : 3u)) return false;
    if (q->kind == RPC_CALL && !etf_skip(&r, &q->tag)) return false;
    return etf_get_atom(&r, &q->module) && etf_get_atom(&r, &q->function) && etf_skip(&r, &q->args);
}

/* All slices become slices of q->text, so that q outlives the message. */
static bool read_request(rpc *q, const mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    bool call_ = slice_is(c->function, "execute_call") && c->arity == 4, cast = slice_is(c->function, "execute_cast") && c->arity == 3;
    bool erpc = slice_is(c->module, "erpc") && (call_ || cast);
    etf_reader r = dist_message_reader(m, c->payload, text);
    buf terms, list_;
    buf_init(&terms, UINT32_MAX);
    buf_init(&list_, UINT32_MAX);
    q->kind = erpc && call_ ? RPC_CALL : RPC_PLAIN;
    q->module = c->module;
    q->function = c->function;
    bool ok = etf_copy(&r, &terms);
    q->args = buf_slice(&terms);
    if (ok && erpc) ok = read_erpc(q, buf_slice(&terms));
    if (ok) {
        q->badarg = !mesh_mfa_args(q->args, &list_, &q->args, &q->arity);
        slice leader = slice_eq(c->leader.node, mesh_link_name(l)) ? c->leader.node : SLICE_NULL;
        slice *parts[] = {&q->peer, &q->tag, &q->module, &q->function, &q->args};
        q->peer = mesh_link_name(l);
        q->leader = c->leader;
        q->leader.node = leader;
        size_t at[ARRAY_LEN(parts)];
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            at[i] = q->text.len;
            buf_add(&q->text, *parts[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) *parts[i] = slice_of(q->text.p + at[i], parts[i]->len);
        if (leader.p) q->leader.node = q->peer;
    }
    buf_fini(&terms);
    buf_fini(&list_);
    return ok && buf_ok(&q->text);
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

/* --- answering --------------------------------------------------------------------------------------------------------------------- */
/* Why the process that never was has ended. */
static void put_reason(const rpc *q, const char *wrong, buf *out) {
    if (q->kind == RPC_CALL) {
        etf_put_tuple(out, wrong ? 4 : 3);
        buf_add(out, q->tag);
        etf_put_atom(out, wrong ? SLICE("error") : SLICE("return"));
    } else if (!wrong) {
        etf_put_atom(out, SLICE("normal"));
        return;
    } else {
        etf_put_tuple(out, 2);
    }
    if (wrong) {
        etf_put_atom(out, slice_str(wrong));
        mesh_mfa_stack(q->module, q->function, q->args, out);
    } else {
        buf_add(out, buf_slice(&q->value));
    }
}

/* What the answer is made of; of a job, on its thread. */
static void seal(rpc *q, const char *wrong) {
    buf b;
    buf_init(&b, UINT32_MAX);
    put_reason(q, wrong, &b);
    q->reason = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    if (!wrong && q->message.len) q->sent = rt_blob_new(buf_slice(&q->message));
}

/* It ends: what it sends first, then its DOWN and its EXIT. */
static err answer(rt_ctx *cx, mesh_link *l, rpc *q, const char *wrong) {
    dist_addr pid = {.kind = DIST_ADDR_PID, .pid = never_pid(q)}, to = {.kind = DIST_ADDR_PID, .pid = q->from};
    err e = ERR_OK;
    to.pid.node = mesh_link_name(l);
    if (!q->reason) seal(q, wrong);
    if (q->sent) {
        dist_ctl send = {
            .signal = DIST_SIG_SEND, .from = pid, .to = {.kind = DIST_ADDR_PID, .pid = q->to}, .payload = rt_blob_slice(q->sent)};
        e = mesh_out_kept(cx, l, &send, q->sent);
    }
    dist_ctl down = {.signal = DIST_SIG_DOWN, .from = pid, .to = to, .ref = q->ref, .reason = rt_blob_slice(q->reason)};
    dist_ctl end = {.signal = DIST_SIG_EXIT, .from = pid, .to = to, .reason = rt_blob_slice(q->reason)};
    down.ref.node = mesh_link_name(l);
    if (!e && q->flags & DIST_SPAWN_MONITOR) e = mesh_out_kept(cx, l, &down, q->reason);
    if (!e && q->flags & DIST_SPAWN_LINK) e = mesh_out_kept(cx, l, &end, q->reason);
    return e;
}

static void run(rpc *q, rt_ctx *cx) {
    mesh_mfa_call c = {.m = q->m,
                       .cx = cx,
                       .peer = q->peer,
                       .module = q->module,
                       .function = q->function,
                       .args = q->args,
                       .self = never_pid(q),
                       .leader = q->leader,
                       .value = &q->value,
                       .message = &q->message};
    q->fine = q->mfa->fn(&c);
    q->to = c.to;
}

/* What was wrong with a call that has run; NULL: nothing. */
static const char *verdict(const rpc *q) {
    if (!q->fine) return "badarg";
    return buf_ok(&q->value) && buf_ok(&q->message) ? NULL : "system_limit";
}

static void run_job(rt_job *j) {
    rpc *q = container_of(j, rpc, job);
    run(q, NULL);
    seal(q, verdict(q));
}

/* --- those that wait --------------------------------------------------------------------------------------------------------------- */
struct mesh_rpcs {
    list waits;   /* in the order in which they came */
    uint32_t n;   /* of those */
    size_t bytes; /* of their requests */
    bool running; /* the pool has one */
};

static mesh_rpcs *rpcs(mesh_link *l) {
    if (l->rpcs) return l->rpcs;
    l->rpcs = mem_zalloc(sizeof *l->rpcs);
    list_init(&l->rpcs->waits);
    return l->rpcs;
}

static void start_next(rt_ctx *cx, mesh_rpcs *w) {
    list *first = w->running ? NULL : list_pop_front(&w->waits);
    if (!first) return;
    rpc *q = container_of(first, rpc, waits);
    w->n--;
    w->bytes -= q->text.len;
    w->running = true;
    rt_job *j = &q->job;
    rt_pool_submit(cx, RT_POOL_USER, &j);
}

static bool has_room(const mesh_link *l, size_t len) {
    const mesh_rpcs *w = l->rpcs;
    return !w || (w->n < MESH_RPC_WAIT_MAX && w->bytes + len <= MESH_RPC_WAIT_BYTES);
}

/* Consumes q. */
static err begin(rt_ctx *cx, mesh_link *l, rpc *q) {
    const char *wrong = q->badarg ? "badarg" : !q->mfa ? "undef" : NULL;
    if (!wrong && q->mfa->when != MESH_LATER) {
        run(q, cx);
        wrong = verdict(q);
    } else if (!wrong && has_room(l, q->text.len)) {
        mesh_rpcs *w = rpcs(l);
        list_push_back(&w->waits, &q->waits);
        w->n++;
        w->bytes += q->text.len;
        start_next(cx, w);
        return ERR_OK;
    } else if (!wrong) {
        wrong = "system_limit";
    }
    err e = answer(cx, l, q, wrong);
    rpc_free(q);
    return e;
}

err mesh_rpc_done(rt_ctx *cx, mesh_link *l, rt_job_done *d) {
    rpc *q = container_of(rt_job_of(d), rpc, job);
    if (!check(l->rpcs)) return ERR_BUG;
    l->rpcs->running = false;
    err e = answer(cx, l, q, d->status ? "system_limit" : verdict(q));
    if (e || l->ended) return e;
    start_next(cx, l->rpcs);
    if (l->rpcs->running) return ERR_OK;
    mesh_rpcs_free(l->rpcs);
    l->rpcs = NULL;
    return ERR_OK;
}

void mesh_rpcs_free(mesh_rpcs *w) {
    if (!w) return;
    for (list *i = list_pop_front(&w->waits); i; i = list_pop_front(&w->waits)) rpc_free(container_of(i, rpc, waits));
    mem_free(w);
}

err mesh_rpc_spawn(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text) {
    rpc *q = mem_zalloc(sizeof *q);
    q->job = (rt_job){.box.free = free_box, .run = run_job, .what = "rpc", .deadline = USEC_NEVER};
    q->m = l->m;
    q->from = c->from.pid;
    q->ref = c->ref;
    q->from.node = q->ref.node = SLICE_NULL; /* slices of the message */
    buf_init(&q->text, UINT32_MAX);
    buf_init(&q->value, VALUE_MAX);
    buf_init(&q->message, VALUE_MAX);
    q->never = ++l->never;
    bool known = read_request(q, l, m, c, text), fine = known && options(m, c, text, &q->flags);
    if (known) q->mfa = mesh_mfa_find(q->m, q->module, q->function, q->arity);
    dist_addr pid = {.kind = DIST_ADDR_PID, .pid = never_pid(q)},
              no = {.kind = DIST_ADDR_NAME, .name = known ? SLICE("badopt") : SLICE("notsup")};
    dist_ctl reply = {.signal = DIST_SIG_SPAWN_REPLY, .ref = c->ref, .to = c->from, .flags = q->flags, .from = fine ? pid : no};
    err e = mesh_out(cx, l, &reply);
    if (!e && !l->ended && fine) return begin(cx, l, q);
    rpc_free(q);
    return e;
}
