/* node: everything hangs on one, so that a process can hold thousands.
 *
 *     rt_node_new -> add msgs, verbs, remote -> boot (spawn on any shard) -+-> start ... stop -> free     live: threads
 *                                                                          +-> step, step, ... -> free    simulator: the caller's thread
 *
 * Invariants: (1) whatever grows with use is made at first use: an idle node of one shard stays under 1 MB; (2) tables (messages, verbs,
 * remote) are written before start and only read after; (3) rt_node_free ends every actor with KILLED, its fini runs, and every message,
 * box, job and descriptor goes; (4) thread order: the log first, ctl last; stopping is the reverse, so that nobody talks to a thread that
 * is gone. */
#include "base/mem.h"
#include "rt/contend.h"
#include "rt/core.h"
#include "rt/ctl.h"
#include "rt/table.h"

#include <stdio.h>

#define NODE_RECORDER_BYTES (4u << 20)
#define NODE_TAG_MASK       0x0fffu
#define NODE_QUEUE_LONG     10000
#define NODE_TABLE_STRIPES  64
#define NODE_TABLE_WAIT     (256u << 20)

void rt_node_cfg_default(rt_node_cfg *c) {
    *c = (rt_node_cfg){
        .name = "murre@localhost",
        .shards = 1,
        .spin = RT_SPIN_MAX,
        .pool_threads = {[RT_POOL_DISK] = 2, [RT_POOL_SQL] = 1, [RT_POOL_CRYPTO] = 2, [RT_POOL_USER] = 1},
        .pool_queue_max = {[RT_POOL_DISK] = 65536, [RT_POOL_SQL] = 65536, [RT_POOL_CRYPTO] = 65536, [RT_POOL_USER] = 4096},
        .recorder_bytes = NODE_RECORDER_BYTES,
        .handler_budget = USEC_PER_MSEC,
        .stuck_report = USEC_PER_SEC,
        .job_stuck = 2 * USEC_PER_SEC,
        .stuck_limit = 60 * USEC_PER_SEC,
        .table_stripes = NODE_TABLE_STRIPES,
        .table_wait_max = NODE_TABLE_WAIT,
        .queue_long = NODE_QUEUE_LONG,
    };
}

static char *copy_str(const char *s) { return s ? slice_dup_str(slice_str(s)) : NULL; }

static NODISCARD err make_shards(rt_node *n) {
    n->shards = mem_zalloc(n->n_shards * sizeof *n->shards);
    n->rings = mem_zalloc((size_t)n->n_shards * n->n_shards * sizeof *n->rings);
    rt_contend_init(n);
    for (unsigned i = 0; i < n->n_shards; i++) n->shards[i].poll = -1;
    for (unsigned i = 0; i < n->n_shards; i++) {
        err e = rt_shard_init(n, i);
        if (e) return e;
    }
    return ERR_OK;
}

err rt_node_new(const rt_node_cfg *c, sys *s, tls *t, rt_node **out) {
    if (c->shards < 1 || c->shards > RT_SHARDS_MAX) return ERR_INVALID;
    if (c->table_stripes < 1 || c->table_stripes > RT_STRIPES_MAX || (c->table_stripes & (c->table_stripes - 1)) != 0) return ERR_INVALID;
    rt_node *n = mem_zalloc(sizeof *n);
    n->cfg = *c;
    n->cfg.name = n->name = copy_str(c->name ? c->name : "murre");
    n->cfg.recorder_path = n->recorder_path = copy_str(c->recorder_path);
    n->cfg.ctl_path = n->ctl_path = copy_str(c->ctl_path);
    n->s = s;
    n->t = t;
    n->n_shards = c->shards;
    n->epoch = s->mono(s);
    s->entropy(s, &n->key, sizeof n->key);
    lock_set_init(&n->locks);
    lock_set_clock(&n->locks, s->cycles_per_sec(s) / (uint64_t)USEC_PER_SEC);
    lock_init(&n->msacc_lock, &n->locks, "msacc", 0, LOCK_RANK_MSACC);
    rt_epoch_init(n);
    rt_tables_init(n);
    rt_calls_init(n);
    rt_follow_init(n);
    rt_pool_init(n);
    rt_node_add_msgs(n, rt_msgs, rt_msgs_count);
    err e = rt_event_node_init(n);
    if (!e) {
        rt_event_state_init(n, &n->ev_ext, n->n_shards);
        if (c->recorder_path) e = rt_recorder_new(s, c->recorder_path, c->recorder_bytes, n->n_shards + 1, &n->recorder);
    }
    if (!e) e = make_shards(n);
    if (e) {
        rt_node_free(n);
        return e;
    }
    *out = n;
    return ERR_OK;
}

/* --- tables ---------------------------------------------------------------------------------------------------------------------- */
void rt_node_add_msgs(rt_node *n, const rt_msg_desc *d, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned page = d[i].tag / 256u;
        if (!check(d[i].tag < RT_TAG_MAX)) return;
        if (!n->descs[page]) n->descs[page] = mem_zalloc(256 * sizeof(rt_msg_desc *));
        n->descs[page][d[i].tag % 256u] = &d[i];
    }
}

const rt_msg_desc *rt_node_desc(const rt_node *n, uint16_t tag) {
    unsigned t = tag & NODE_TAG_MASK;
    if (UNLIKELY(tag & RT_M_SIGNAL)) return NULL;
    const rt_msg_desc **page = n->descs[t / 256];
    return page ? page[t % 256] : NULL;
}

void rt_node_add_verbs(rt_node *n, const rt_verb *v, size_t count) {
    void *arr = n->verbs;
    mem_grow(&arr, &n->verbs_cap, n->n_verbs + count, sizeof *n->verbs);
    n->verbs = arr;
    for (size_t i = 0; i < count; i++) n->verbs[n->n_verbs++] = &v[i];
}

const rt_verb *rt_node_verb(const rt_node *n, slice module, slice function, size_t arity) {
    for (size_t i = 0; i < n->n_verbs; i++) {
        const rt_verb *v = n->verbs[i];
        if (slice_is(module, v->module) && slice_is(function, v->function) && arity >= v->arity_min && arity <= v->arity_max) return v;
    }
    return NULL;
}

void rt_node_each_verb(const rt_node *n, void (*fn)(void *arg, const rt_verb *v), void *arg) {
    for (size_t i = 0; i < n->n_verbs; i++) fn(arg, n->verbs[i]);
}

const rt_node_cfg *rt_node_config(const rt_node *n) { return &n->cfg; }
unsigned rt_node_shards(const rt_node *n) { return n->n_shards; }
sys *rt_node_sys(const rt_node *n) { return n->s; }
tls *rt_node_tls(const rt_node *n) { return n->t; }
lock_set *rt_node_locks(rt_node *n) { return &n->locks; }
const hash_key *rt_node_hash_key(const rt_node *n) { return &n->key; }
void rt_node_set_env(rt_node *n, void *env) { n->env = env; }
void *rt_node_env(const rt_node *n) { return n->env; }
void rt_node_set_beside(rt_node *n, const rt_beside *b) { n->beside = *b; }

void rt_node_boot(rt_node *n, unsigned shard, void (*fn)(rt_ctx *cx, void *arg), void *arg) {
    if (check(!n->started && shard < n->n_shards)) rt_shard_boot(&n->shards[shard], fn, arg);
}

/* --- live ------------------------------------------------------------------------------------------------------------------------ */
static void shard_main(void *arg) {
    rt_shard *sh = arg;
    /* relaxed: rt_node_stop wakes the shard after it has set it; see wait_for_work. */
    while (!atomic_load_explicit(&sh->node->stop, memory_order_relaxed)) (void)rt_node_step(sh->node, sh->id, true); /* it waits itself */
}

static NODISCARD err start_all(rt_node *n) {
    err e = rt_log_start(n);
    for (unsigned i = 0; !e && i < n->n_shards; i++) {
        char name[16]; /* what a thread's name holds */
        (void)snprintf(name, sizeof name, "shard%u", i);
        e = n->s->thread_start(n->s, name, shard_main, &n->shards[i], &n->shards[i].thread);
    }
    if (!e) e = rt_pool_start(n);
    if (!e) e = rt_watchdog_start(n);
    if (!e && n->ctl_path) {
        e = rt_ctl_new(n, n->ctl_path, &n->ctl);
        if (!e) e = rt_ctl_start(n->ctl);
    }
    if (!e && n->beside.start) e = n->beside.start(n->beside.arg);
    return e;
}

err rt_node_start(rt_node *n) {
    if (!check(!n->started)) return ERR_BUG;
    if (!n->s->thread_start) return ERR_UNSUPPORTED;
    atomic_store_explicit(&n->stop, false, memory_order_relaxed); /* starting a thread orders it */
    n->started = true;
    err e = start_all(n);
    if (e)
        rt_node_stop(n);
    else
        rt_event_ext(n, EV_NODE_START, n->n_shards, 0, SLICE_NULL);
    return e;
}

void rt_node_stop(rt_node *n) {
    if (!n->started) return;
    rt_event_ext(n, EV_NODE_STOP, 0, 0, SLICE_NULL);
    if (n->beside.start) n->beside.stop(n->beside.arg);
    if (n->ctl) rt_ctl_free(n->ctl);
    n->ctl = NULL;
    rt_watchdog_stop(n);
    /* seq_cst: partner is wait_for_work, which looks at it after it has set sleeping. */
    atomic_store_explicit(&n->stop, true, memory_order_seq_cst);
    for (unsigned i = 0; i < n->n_shards; i++) {
        rt_shard *sh = &n->shards[i];
        rt_shard_poke(sh);
        if (sh->thread) n->s->thread_join(n->s, sh->thread);
        sh->thread = NULL;
    }
    rt_pool_stop(n);
    n->started = false;
}

/* --- the end --------------------------------------------------------------------------------------------------------------------- */
/* Everything that is under way arrives, where nobody is left to take it. */
static void drain(rt_node *n) {
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned i = 0; i < n->n_shards; i++) {
            rt_shard *sh = &n->shards[i];
            rt_entry *e;
            size_t count = rt_inbox_take(&sh->inbox, &e);
            for (size_t k = 0; k < count; k++) rt_shard_entry(sh, e[k]);
            moved |= sh->n_dirty > 0; /* what goes out now may be for a shard that has had its turn */
            rt_out_flush(sh, true);
            moved |= rt_ring_receive(sh) || count > 0 || sh->n_dirty > 0;
        }
    }
}

void rt_node_free(rt_node *n) {
    if (!n) return;
    rt_node_stop(n);
    if (n->shards) {
        for (unsigned i = 0; i < n->n_shards; i++) {
            rt_shard *sh = &n->shards[i];
            sh->freeing = true;
            if (sh->poll < 0) continue;
            rt_shard_clock(sh);
            (void)rt_epoch_enter(&sh->reader); /* no round is under way */
        }
        for (unsigned i = n->n_shards; i-- > 0;) rt_actor_end_all(&n->shards[i]);
        if (n->shards[n->n_shards - 1].poll >= 0) drain(n);
        for (unsigned i = 0; i < n->n_shards; i++) rt_actor_free_dead(&n->shards[i]);
    }
    rt_pool_fini(n);
    for (unsigned i = 0; n->shards && i < n->n_shards; i++)
        if (n->shards[i].poll >= 0) (void)rt_epoch_leave(&n->shards[i].reader); /* what is left over goes in rt_epoch_fini */
    for (unsigned i = 0; n->shards && i < n->n_shards; i++) rt_shard_fini(&n->shards[i]);
    rt_workers_fini(n);
    rt_event_state_fini(&n->ev_ext);
    rt_recorder_free(n->recorder);
    rt_event_node_fini(n);
    rt_tables_fini(n);
    rt_epoch_fini(n);
    rt_calls_fini(n);
    rt_follow_fini(n);
    lock_fini(&n->msacc_lock);
    lock_set_fini(&n->locks);
    for (size_t i = 0; i < ARRAY_LEN(n->descs); i++) mem_free(n->descs[i]);
    mem_free(n->verbs);
    mem_free(n->rings);
    rt_contend_fini(n);
    mem_free(n->shards);
    mem_free(n->name);
    mem_free(n->recorder_path);
    mem_free(n->ctl_path);
    mem_free(n);
}
