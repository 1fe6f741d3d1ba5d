/* call: threads outside the shards that want an answer: rt_call sends an actor a message under a temporary pid and waits for the first
 * message to that pid; rt_node_call runs a function on a shard and waits until it has.
 *
 *     caller: table entry, post MONITOR and the message, wait          shard: ... rt_send(temporary pid) -> entry, signal
 *                                                                             ... actor gone: DOWN       -> entry, signal
 *
 * A temporary pid has the shard number RT_SHARD_EXTERNAL, and a generation that is never used again.
 *
 * Invariants: (1) an entry is in the table exactly while its caller waits: an answer that comes too late finds nothing and is dropped;
 * (2) the lock is not held while anything is posted; (3) a shard's box is freed exactly once: after the function has run, or when the node
 * is freed with it still waiting. */
#include "base/list.h"
#include "base/mem.h"
#include "rt/core.h"

typedef struct call_wait {
    list in_table;
    lock_cond cond;
    uint32_t gen; /* of its temporary pid */
    bool done;
    err result;
    rt_msg *reply;
} call_wait;
struct rt_calls {
    lock l;
    list waits;        /* guarded by l */
    uint32_t next_gen; /* guarded by l */
    bool ended;        /* nobody waits any more; guarded by l */
};

void rt_calls_init(rt_node *n) {
    n->calls = mem_zalloc(sizeof *n->calls);
    lock_init(&n->calls->l, &n->locks, "calls", 0, LOCK_RANK_CTL);
    list_init(&n->calls->waits);
}

void rt_calls_fini(rt_node *n) {
    if (!n->calls) return;
    (void)check(list_empty(&n->calls->waits)); /* a caller outlives the node: its mistake */
    lock_fini(&n->calls->l);
    mem_free(n->calls);
    n->calls = NULL;
}

void rt_calls_end(rt_node *n) {
    lock_take(&n->calls->l);
    n->calls->ended = true;
    for (list *i = list_first(&n->calls->waits); i; i = list_next(&n->calls->waits, i))
        lock_signal(&container_of(i, call_wait, in_table)->cond);
    lock_release(&n->calls->l);
}

static call_wait *find(rt_calls *c, rt_pid pid) {
    for (list *i = list_first(&c->waits); i; i = list_next(&c->waits, i)) {
        call_wait *w = container_of(i, call_wait, in_table);
        if (w->gen == pid.gen) return w;
    }
    return NULL;
}

/* Completes a wait; false if nobody waits any more. */
static bool complete(rt_node *n, rt_pid to, rt_msg *reply, err result) {
    rt_calls *c = n->calls;
    bool taken = false;
    lock_take(&c->l);
    call_wait *w = find(c, to);
    if (w && !w->done) {
        w->done = taken = true;
        w->reply = reply;
        w->result = result;
        lock_signal(&w->cond);
    }
    lock_release(&c->l);
    return taken;
}

void rt_calls_reply(rt_node *n, rt_pid to, rt_msg *m) {
    bool refused = m->tag & RT_MSG_REFUSED;
    if (!complete(n, to, refused ? NULL : m, refused ? ERR_FULL : ERR_OK) || refused) rt_msg_drop(n, &m);
}

void rt_calls_down(rt_node *n, rt_pid to, err reason) {
    (void)reason; /* how it ended is for its supervisor; the caller learns that there is no answer */
    (void)complete(n, to, NULL, ERR_NOPROC);
}

/* Waits until w is done or timeout has passed; the lock is held. */
static bool wait_done(rt_node *n, call_wait *w, usec timeout) {
    usec end = timeout == USEC_NEVER ? USEC_NEVER : n->s->mono(n->s) + timeout;
    while (!w->done && !n->calls->ended) {
        usec left = end == USEC_NEVER ? -1 : end - n->s->mono(n->s);
        if (end != USEC_NEVER && left <= 0) break;
        (void)lock_wait(&w->cond, &n->calls->l, left); /* the loop decides */
    }
    return w->done;
}

static void wait_begin(rt_node *n, call_wait *w) {
    *w = (call_wait){.result = ERR_TIMEOUT};
    lock_cond_init(&w->cond);
    lock_take(&n->calls->l);
    if (++n->calls->next_gen == 0) n->calls->next_gen = 1;
    w->gen = n->calls->next_gen;
    list_push_back(&n->calls->waits, &w->in_table);
    lock_release(&n->calls->l);
}

/* Takes the wait out of the table; from then on nobody completes it. */
static void wait_end(rt_node *n, call_wait *w, usec timeout) {
    lock_take(&n->calls->l);
    (void)wait_done(n, w, timeout); /* w->result says */
    list_remove(&w->in_table);
    lock_release(&n->calls->l);
    lock_cond_fini(&w->cond);
}

static void put(rt_node *n, unsigned shard, rt_entry e) {
    rt_inbox_put(&n->shards[shard].inbox, e);
    rt_shard_poke(&n->shards[shard]);
}

static void post_signal(rt_node *n, rt_pid from, rt_pid to, unsigned sig) {
    rt_msg *m = rt_msg_new_ext((uint16_t)(RT_M_SIGNAL | sig), sizeof(rt_signal_body));
    m->sender = from;
    *(rt_signal_body *)rt_msg_payload(m) = (rt_signal_body){from.gen, NULL, ERR_OK};
    put(n, rt_pid_shard(to), (rt_entry){m, to.slot, to.gen});
}

static bool is_here(const rt_node *n, rt_pid to) { return rt_pid_ok(to) && to.node == 0 && rt_pid_shard(to) < n->n_shards; }

void rt_post(rt_node *n, rt_pid to, rt_msg **mp) {
    rt_msg *m = *mp;
    *mp = NULL;
    if (!check(m)) return;
    m->tag = RT_TAG(m);
    m->sender = RT_PID_NONE;
    if (is_here(n, to))
        put(n, rt_pid_shard(to), (rt_entry){m, to.slot, to.gen});
    else
        rt_msg_drop(n, &m);
}

static NODISCARD err call(rt_node *n, rt_pid to, rt_msg **mp, uint16_t how, usec timeout, rt_msg **out_reply) {
    rt_msg *m = *mp;
    *mp = NULL;
    if (!check(m)) return ERR_BUG;
    if (!is_here(n, to)) {
        rt_msg_drop(n, &m);
        return ERR_NOPROC;
    }
    call_wait w;
    wait_begin(n, &w);
    rt_pid me = {0, RT_SHARD_EXTERNAL << 24, w.gen};
    post_signal(n, me, to, RT_SIG_MONITOR);
    m->tag = RT_TAG(m) | how;
    m->sender = me;
    put(n, rt_pid_shard(to), (rt_entry){m, to.slot, to.gen});
    wait_end(n, &w, timeout);
    if (w.result != ERR_NOPROC) post_signal(n, me, to, RT_SIG_DEMONITOR);
    if (w.result == ERR_OK) *out_reply = w.reply;
    return w.result;
}

err rt_call(rt_node *n, rt_pid to, rt_msg **m, usec timeout, rt_msg **out_reply) { return call(n, to, m, 0, timeout, out_reply); }

err rt_calls_probe(rt_node *n, rt_pid to, usec timeout, uint64_t *out_queued) {
    rt_msg *m = rt_msg_new_ext(RT_PROBE, sizeof(rt_probe)), *reply = NULL;
    m->deadline = (uint32_t)((n->s->mono(n->s) - n->epoch + timeout) / USEC_PER_MSEC);
    if (m->deadline == 0) m->deadline = 1; /* 0 means: none */
    err e = call(n, to, &m, RT_M_FRONT, timeout, &reply);
    if (e) return e;
    *out_queued = rt_probe_of(reply)->queued;
    rt_msg_drop(n, &reply);
    return ERR_OK;
}

/* --- rt_node_call ---------------------------------------------------------------------------------------------------------------- */
typedef struct call_box {
    rt_box box; /* frees the caller's and this one */
    rt_shard_call *call;
    rt_pid waiter; /* temporary pid of who waits */
} call_box;

static void free_box(rt_box *b) {
    call_box *cb = container_of(b, call_box, box);
    cb->call->box.free(&cb->call->box);
    mem_free(cb);
}

void rt_calls_run(rt_shard *sh, rt_msg *m) {
    call_box *cb = container_of(rt_call_msg_of(m)->call, call_box, box);
    if (!sh->freeing) cb->call->fn(&sh->cx, cb->call);
    (void)complete(sh->node, cb->waiter, NULL, ERR_OK); /* or it has stopped waiting */
    rt_msg_release(sh, m);
}

static void run_now(rt_ctx *cx, void *arg) {
    rt_shard_call *c = arg;
    c->fn(cx, c);
}

err rt_node_call(rt_node *n, unsigned shard, rt_shard_call *c, usec timeout) {
    if (!check(shard < n->n_shards)) {
        c->box.free(&c->box);
        return ERR_BUG;
    }
    if (!n->started) {
        rt_shard_boot(&n->shards[shard], run_now, c);
        c->box.free(&c->box);
        return ERR_OK;
    }
    call_wait w;
    wait_begin(n, &w);
    call_box *cb = mem_zalloc(sizeof *cb);
    cb->box.free = free_box;
    cb->call = c;
    cb->waiter = (rt_pid){0, RT_SHARD_EXTERNAL << 24, w.gen};
    rt_msg *m = rt_msg_new_ext(RT_CALL, sizeof(rt_call_msg));
    rt_call_msg_of(m)->call = &cb->box;
    put(n, shard, (rt_entry){m, 0, 0});
    wait_end(n, &w, timeout);
    return w.result;
}
