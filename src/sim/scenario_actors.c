/* scenario actors: the runtime's promises (rt/actor.h) under random use.
 *
 * Each actor, when told to go, does things drawn from the seed to others; a model outside the node notes what was done and what came of it:
 *
 *     pair (a,b): sent, got        every message arrives, in order (receiver alive)
 *     watch: monitor a -> b        DOWN exactly once after b's death, never after demonitor, behind all that b sent to a
 *     tie: link a -- b             a dead with a reason: b dead, or b traps and got EXIT exactly once
 *     timers                       never early, not much too late
 *     jobs                         JOB_DONE exactly once, having run or expired; of one key in order, one at a time
 *     work for pools of workers    pools.h
 *     tables                       there, with what its owner put in, while an owner lives; RT_TRANSFER to who has it now, and only then
 *
 * Roots, one a shard, cannot be killed; they spawn when there are too few. */
#include "base/mem.h"
#include "rt/event.h"
#include "rt/table.h"
#include "sim/actors_msgs.h"
#include "sim/pools.h"
#include "sim/scenario.h"

#define MSG RT_MSG_FIELDS
#include "sim/actors.def"
#undef MSG
static const rt_msg_desc actors_msgs[] = {
#define MSG RT_MSG_DESC
#include "sim/actors.def"
#undef MSG
};

#define ACTORS_MAX     4096u
#define ALIVE_WANTED   40u
#define ALIVE_MAX      200u
#define TIMER_LATE_MAX (100 * USEC_PER_MSEC)
#define OPS_DEFAULT    3000u
#define TABLES_MAX     200u
#define UNDER_WAY      UINT32_MAX           /* the owner of a table that was given away and has not come yet */
#define JOB_KEYS       4u                   /* key 0 is none */
#define JOB_PATIENCE   (20 * USEC_PER_MSEC) /* most of a deadline: some jobs expire, most do not */

typedef struct model_actor {
    rt_pid pid;
    bool alive, traps, root;
    err reason;
} model_actor;
typedef struct model_pair {
    hmap_node node;
    uint32_t from, to;
    uint64_t sent, got;
    bool killed; /* from has sent an exit signal to to: its EXIT looks like a link's, so such a pair is not linked */
} model_pair;
typedef struct model_watch {
    uint32_t watcher, target;
    uint64_t ref;
    uint32_t downs;
    bool gone; /* demonitored */
} model_watch;
typedef struct model_tie {
    uint32_t a, b;
    uint32_t exits_a, exits_b; /* EXIT messages that a got from b, and b from a */
    bool undone;
} model_tie;

typedef struct model_table {
    rt_tid id;
    uint32_t owner; /* who was told last that it has it, or made it; UNDER_WAY */
    uint64_t value; /* of its one entry */
    bool dropped;
} model_table;

typedef struct play {
    sim_world w;
    sim_net net;
    sim_node node;
    unsigned shards;
    model_actor actor[ACTORS_MAX];
    uint32_t n_actors, alive;
    hmap pairs;
    model_watch *watches;
    size_t n_watches, cap_watches;
    model_tie *ties;
    size_t n_ties, cap_ties;
    model_table table[TABLES_MAX];
    uint32_t n_tables;
    uint64_t transfers;
    uint64_t jobs_submitted, jobs_done, jobs_ran, timers, messages;
    uint64_t job_put[RT_POOL_KINDS][JOB_KEYS], job_got[RT_POOL_KINDS][JOB_KEYS]; /* jobs of a key that were submitted, and that ran */
    sim_pools *pools;
} play;

typedef struct actor_state {
    play *p;
    uint32_t id;
    rt_timer timer;
    usec due;
} actor_state;
typedef struct actor_arg {
    play *p;
    bool root;
} actor_arg;
typedef struct play_job {
    rt_job job;
    play *p;
    rt_pool_kind kind;
    uint64_t number; /* among those of its key */
    bool ran;
} play_job;

static const rt_class actor_class;

static uint32_t below(play *p, uint32_t n) { return (uint32_t)sim_world_below(&p->w, n); }

static model_pair *pair(play *p, uint32_t from, uint32_t to) {
    uint64_t hash = hash_u64((uint64_t)from << 32 | to);
    for (hmap_node *n = hmap_find(&p->pairs, hash); n; n = hmap_find_next(n)) {
        model_pair *m = container_of(n, model_pair, node);
        if (m->from == from && m->to == to) return m;
    }
    model_pair *m = mem_zalloc(sizeof *m);
    m->from = from, m->to = to;
    hmap_insert(&p->pairs, &m->node, hash);
    return m;
}

static uint32_t number_of(const play *p, rt_pid pid) {
    for (uint32_t i = 0; i < p->n_actors; i++)
        if (rt_pid_eq(p->actor[i].pid, pid)) return i;
    return UINT32_MAX;
}

/* --- what actors do ---------------------------------------------------------------------------------------------------------------- */

static void do_send(rt_ctx *cx, actor_state *a, uint32_t to) {
    for (uint32_t n = 1 + below(a->p, 6); n; n--) {
        rt_msg *m = rt_msg_new(cx, SIM_DATA, sizeof(sim_data));
        *sim_data_of(m) = (sim_data){.from = a->id, .to = to, .seq = ++pair(a->p, a->id, to)->sent};
        if (below(a->p, 8) == 0) sim_data_of(m)->bulk = rt_blob_alloc(below(a->p, 2000));
        rt_send(cx, a->p->actor[to].pid, &m);
    }
}

static void do_watch(rt_ctx *cx, actor_state *a, uint32_t to) {
    play *p = a->p;
    uint64_t ref = rt_monitor(cx, p->actor[to].pid);
    void *v = p->watches;
    mem_grow(&v, &p->cap_watches, p->n_watches + 1, sizeof *p->watches);
    p->watches = v;
    p->watches[p->n_watches++] = (model_watch){.watcher = a->id, .target = to, .ref = ref};
}

static void do_unwatch(rt_ctx *cx, actor_state *a) {
    for (size_t i = 0; i < a->p->n_watches; i++) {
        model_watch *w = &a->p->watches[i];
        if (w->watcher != a->id || w->gone || w->downs) continue;
        rt_demonitor(cx, w->ref);
        w->gone = true;
        return;
    }
}

static model_tie *tie_of(play *p, uint32_t a, uint32_t b) {
    for (size_t i = 0; i < p->n_ties; i++)
        if ((p->ties[i].a == a && p->ties[i].b == b) || (p->ties[i].a == b && p->ties[i].b == a)) return &p->ties[i];
    return NULL;
}

static void note_tie(play *p, uint32_t a, uint32_t b) {
    void *v = p->ties;
    mem_grow(&v, &p->cap_ties, p->n_ties + 1, sizeof *p->ties);
    p->ties = v;
    p->ties[p->n_ties++] = (model_tie){.a = a, .b = b};
}

static void do_link(rt_ctx *cx, actor_state *a, uint32_t to) {
    play *p = a->p;
    if (to == a->id || p->actor[to].root || p->actor[a->id].root || !p->actor[to].alive || tie_of(p, a->id, to)) return;
    if (pair(p, a->id, to)->killed || pair(p, to, a->id)->killed) return;
    note_tie(p, a->id, to);
    rt_link(cx, p->actor[to].pid);
}

static void do_unlink(rt_ctx *cx, actor_state *a) {
    for (size_t i = 0; i < a->p->n_ties; i++) {
        model_tie *t = &a->p->ties[i];
        if (t->a != a->id || t->undone) continue;
        t->undone = true;
        rt_unlink(cx, a->p->actor[t->b].pid);
        return;
    }
}

static void do_spawn(rt_ctx *cx, actor_state *a) {
    play *p = a->p;
    if (p->n_actors == ACTORS_MAX || p->alive >= ALIVE_MAX) return;
    bool root = p->actor[a->id].root;
    unsigned flags = root ? below(p, 2) * RT_SPAWN_MONITOR : below(p, 4);
    actor_arg arg = {.p = p};
    rt_pid pid;
    uint64_t ref = 0;
    uint32_t id = p->n_actors;
    if (rt_spawn(cx, &actor_class, &arg, flags, &pid, &ref)) return;
    if (flags & RT_SPAWN_LINK) note_tie(p, a->id, id);
    if (flags & RT_SPAWN_MONITOR) {
        void *v = p->watches;
        mem_grow(&v, &p->cap_watches, p->n_watches + 1, sizeof *p->watches);
        p->watches = v;
        p->watches[p->n_watches++] = (model_watch){.watcher = a->id, .target = id, .ref = ref};
    }
}

static void job_run(rt_job *rj) {
    play_job *j = container_of(rj, play_job, job);
    j->ran = true;
    uint64_t *got = &j->p->job_got[j->kind][rj->key];
    if (rj->key && j->number <= *got) /* those between were past their deadline */
        sim_world_fail(&j->p->w, "job %llu of key %llu ran after %llu", (unsigned long long)j->number, (unsigned long long)rj->key,
                       (unsigned long long)*got);
    *got = j->number;
}

static void do_job(rt_ctx *cx, actor_state *a) {
    play_job *j = mem_zalloc(sizeof *j);
    *j = (play_job){.job = {.box = {rt_pool_job_free}, .run = job_run, .key = below(a->p, JOB_KEYS), .deadline = USEC_NEVER}, .p = a->p};
    if (below(a->p, 3) == 0) j->job.deadline = rt_now(cx) + (usec)below(a->p, JOB_PATIENCE);
    j->kind = (rt_pool_kind)below(a->p, RT_POOL_KINDS);
    j->number = ++a->p->job_put[j->kind][j->job.key];
    rt_job *job = &j->job;
    a->p->jobs_submitted += a->p->actor[a->id].root; /* others may die before theirs comes home */
    rt_pool_submit(cx, j->kind, &job);
}

static void do_timer(rt_ctx *cx, actor_state *a) {
    if (rt_timer_armed(&a->timer) && below(a->p, 3) == 0) {
        rt_timer_cancel(cx, &a->timer);
        return;
    }
    usec reach = (usec)below(a->p, 3000) * USEC_PER_MSEC;
    a->due = rt_now(cx) + reach / (1 + (usec)below(a->p, 50));
    rt_timer_set(cx, &a->timer, a->due);
}

static void do_front(rt_ctx *cx, actor_state *a, uint32_t to) {
    rt_msg *m = rt_msg_new(cx, SIM_FRONT, sizeof(sim_front));
    sim_front_of(m)->from = a->id;
    rt_send_front(cx, a->p->actor[to].pid, &m);
}

/* --- tables */
#define VALUE(x) slice_of(&(x), sizeof(x))

static void do_make(rt_ctx *cx, actor_state *a, uint32_t heir) {
    play *p = a->p;
    if (p->n_tables == TABLES_MAX) return;
    model_table *t = &p->table[p->n_tables];
    rt_table_cfg c = {.heir = below(p, 4) ? p->actor[heir].pid : RT_PID_NONE, .stripes = 1};
    *t = (model_table){.owner = a->id, .value = p->n_tables};
    if (rt_table_create(cx, &c, &t->id) || rt_table_insert(rt_epoch_reader(cx), t->id, SLICE("k"), VALUE(t->value)))
        sim_world_fail(&p->w, "actor %u could not make a table", a->id);
    p->n_tables++;
}

/* Anybody may look: it is there while its owner lives, and holds what that has put in. */
static void look(rt_reader *r, play *p, const model_table *t) {
    slice v;
    err e = rt_table_lookup(r, t->id, SLICE("k"), &v);
    bool lives = !t->dropped && t->owner != UNDER_WAY && p->actor[t->owner].alive;
    if (e && lives) sim_world_fail(&p->w, "a table of %u, which lives, is not there: %s", t->owner, err_name(e));
    if (!e && t->dropped) sim_world_fail(&p->w, "a table is there that was dropped");
    if (!e && !slice_eq(v, VALUE(t->value))) sim_world_fail(&p->w, "a table has lost what its owner put in");
}

static void do_table(rt_ctx *cx, actor_state *a, uint32_t to) {
    play *p = a->p;
    model_table *t = p->n_tables ? &p->table[below(p, p->n_tables)] : NULL;
    if (!t) return;
    rt_reader *r = rt_epoch_reader(cx);
    look(r, p, t);
    uint64_t next = t->value + TABLES_MAX;
    if (t->dropped || t->owner != a->id) {
        err e = rt_table_insert(r, t->id, SLICE("k"), VALUE(next)); /* its owner alone may, and nobody is it twice */
        if (e != ERR_NO_TABLE && e != ERR_PERM && t->owner != UNDER_WAY && p->actor[t->owner].alive)
            sim_world_fail(&p->w, "actor %u wrote to a table of %u: %s", a->id, t->owner, err_name(e));
        if (!e) t->value = next; /* it has it, and has not been told yet */
        return;
    }
    err e = rt_table_insert(r, t->id, SLICE("k"), VALUE(next));
    if (e) sim_world_fail(&p->w, "actor %u could not write to its table: %s", a->id, err_name(e));
    t->value = next;
    uint32_t what = below(p, 8);
    if (what == 0) {
        e = rt_table_drop(cx, t->id);
        t->dropped = true;
    } else if (what < 3) {
        e = rt_table_set_heir(cx, t->id, p->actor[to].pid, NULL);
    } else if (what < 6 && to != a->id) {
        e = rt_table_give_away(cx, t->id, p->actor[to].pid, NULL);
        if (!e) t->owner = UNDER_WAY;
        if (e == ERR_NOPROC && !p->actor[to].alive) e = ERR_OK;
    }
    if (e) sim_world_fail(&p->w, "actor %u could not do with its table what it may: %s", a->id, err_name(e));
}

static void on_transfer(rt_ctx *cx, actor_state *a, const rt_transfer *m) {
    play *p = a->p;
    model_table *t = NULL;
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (p->table[i].id == m->table) t = &p->table[i];
    p->transfers++;
    if (!t || t->dropped) {
        sim_world_fail(&p->w, "actor %u got a table that is not", a->id);
    } else if (t->owner != UNDER_WAY && p->actor[t->owner].alive) {
        sim_world_fail(&p->w, "actor %u got a table of %u, which lives", a->id, t->owner);
    } else {
        t->owner = a->id;
        look(rt_epoch_reader(cx), p, t);
    }
}

typedef enum deed { SEND, WATCH, UNWATCH, LINK, UNLINK, SPAWN, KILL, END, JOB, FRONT, TIMER, WORK, MAKE, TABLE } deed;
static const uint8_t deeds[] = {SEND, SEND,  SEND,  SEND,  SEND,  SEND,  SEND,    SEND, SEND, SEND,   SEND,  SEND,  SEND,
                                SEND, WATCH, WATCH, WATCH, WATCH, WATCH, UNWATCH, LINK, LINK, UNLINK, SPAWN, SPAWN, SPAWN,
                                KILL, END,   JOB,   JOB,   FRONT, TIMER, WORK,    WORK, WORK, MAKE,   TABLE, TABLE, TABLE};

static err do_something(rt_ctx *cx, actor_state *a) {
    static const err reasons[] = {ERR_IO, ERR_PROTO, ERR_SHUTDOWN, ERR_KILLED, ERR_OK};
    play *p = a->p;
    uint32_t to = below(p, p->n_actors);
    err reason = reasons[below(p, ARRAY_LEN(reasons))];
    switch ((deed)deeds[below(p, ARRAY_LEN(deeds))]) {
    case SEND: do_send(cx, a, to); break;
    case WATCH: do_watch(cx, a, to); break;
    case UNWATCH: do_unwatch(cx, a); break;
    case LINK: do_link(cx, a, to); break;
    case UNLINK: do_unlink(cx, a); break;
    case SPAWN: do_spawn(cx, a); break;
    case KILL:
        if (p->actor[to].root || tie_of(p, a->id, to)) break;
        pair(p, a->id, to)->killed = true;
        rt_exit(cx, p->actor[to].pid, reason);
        break;
    case END:
        if (p->actor[a->id].root) break;
        if (below(p, 2)) return reason == ERR_OK ? ERR_SHUTDOWN : reason;
        rt_stop(cx, reason);
        break;
    case JOB: do_job(cx, a); break;
    case FRONT: do_front(cx, a, to); break;
    case WORK: sim_pools_act(cx, p->pools, a->id); break;
    case TIMER: do_timer(cx, a); break;
    case MAKE: do_make(cx, a, to); break;
    case TABLE: do_table(cx, a, to); break;
    }
    return ERR_OK;
}

/* --- what comes to them -------------------------------------------------------------------------------------------------------------- */

static void on_data(actor_state *a, const sim_data *d) {
    model_pair *m = pair(a->p, d->from, d->to);
    a->p->messages++;
    if (d->to != a->id) sim_world_fail(&a->p->w, "actor %u got a message for %u", a->id, d->to);
    if (d->seq != m->got + 1)
        sim_world_fail(&a->p->w, "actor %u got message %llu of %u after %llu", a->id, (unsigned long long)d->seq, d->from,
                       (unsigned long long)m->got);
    m->got = d->seq;
}

static void on_down(actor_state *a, const rt_down *d) {
    for (size_t i = 0; i < a->p->n_watches; i++) {
        model_watch *w = &a->p->watches[i];
        if (w->watcher != a->id || w->ref != d->ref) continue;
        const model_pair *m = pair(a->p, w->target, a->id);
        if (w->gone) sim_world_fail(&a->p->w, "actor %u: DOWN after demonitor", a->id);
        if (w->downs++) sim_world_fail(&a->p->w, "actor %u: DOWN twice", a->id);
        if (a->p->actor[w->target].alive) sim_world_fail(&a->p->w, "actor %u: DOWN of %u, which lives", a->id, w->target);
        if (d->reason != ERR_NOPROC && m->got != m->sent)
            sim_world_fail(&a->p->w, "actor %u: DOWN overtook messages of %u", a->id, w->target);
        return;
    }
    sim_world_fail(&a->p->w, "actor %u: DOWN of a monitor that is not its own", a->id);
}

static void on_exit_msg(actor_state *a, const rt_exit_msg *e) {
    uint32_t from = number_of(a->p, e->from);
    model_tie *t = from == UINT32_MAX ? NULL : tie_of(a->p, a->id, from);
    if (!a->p->actor[a->id].traps) sim_world_fail(&a->p->w, "actor %u got EXIT and does not trap", a->id);
    if (t) *(t->a == a->id ? &t->exits_a : &t->exits_b) += 1;
}

static void on_job(actor_state *a, rt_msg *m) {
    rt_job_done *d = rt_job_done_of(m);
    play_job *j = container_of(rt_job_of(d), play_job, job);
    if (d->status == ERR_OK && !j->ran) sim_world_fail(&a->p->w, "a job is done and did not run");
    if (d->status != ERR_OK && j->ran) sim_world_fail(&a->p->w, "a job ran and is answered with %s", err_name(d->status));
    if (d->status == ERR_EXPIRED && j->job.deadline == USEC_NEVER) sim_world_fail(&a->p->w, "a job without a deadline expired");
    a->p->jobs_done += a->p->actor[a->id].root;
    a->p->jobs_ran++;
}

static err actor_handle(rt_ctx *cx, void *st, rt_msg **m) {
    actor_state *a = st;
    err e = ERR_OK;
    switch (RT_TAG(*m)) {
    case SIM_GO:
        for (uint32_t n = sim_go_of(*m)->actions; n && !e; n--) e = do_something(cx, a);
        return e;
    case SIM_DATA: on_data(a, sim_data_of(*m)); return ERR_OK;
    case SIM_FRONT: return ERR_OK;
    case SIM_WORK: sim_pools_refused(a->p->pools, *m, a->id); return ERR_OK;
    case RT_DOWN: on_down(a, rt_down_of(*m)); return ERR_OK;
    case RT_EXIT: on_exit_msg(a, rt_exit_msg_of(*m)); return ERR_OK;
    case RT_TRANSFER: on_transfer(cx, a, rt_transfer_of(*m)); return ERR_OK;
    case RT_JOB_DONE: on_job(a, *m); return ERR_OK;
    default: sim_world_fail(&a->p->w, "actor %u got a message of kind %u", a->id, RT_TAG(*m)); return ERR_BUG;
    }
}

static err actor_timer(rt_ctx *cx, void *st, rt_timer *t) {
    actor_state *a = st;
    a->p->timers++;
    if (t != &a->timer || rt_now(cx) < a->due) sim_world_fail(&a->p->w, "actor %u: a timer fired early", a->id);
    if (rt_now(cx) > a->due + TIMER_LATE_MAX)
        sim_world_fail(&a->p->w, "actor %u: a timer fired %lld us late", a->id, (long long)(rt_now(cx) - a->due));
    return below(a->p, 4) ? ERR_OK : do_something(cx, a);
}

static err actor_init(rt_ctx *cx, void *st, const void *arg) {
    actor_state *a = st;
    const actor_arg *x = arg;
    a->p = x->p;
    a->id = a->p->n_actors++;
    bool traps = x->root || below(a->p, 3) == 0;
    a->p->actor[a->id] = (model_actor){.pid = rt_self(cx), .alive = true, .traps = traps, .root = x->root};
    a->p->alive++;
    if (traps) rt_trap_exit(cx, true);
    return ERR_OK;
}

static void actor_fini(rt_ctx *cx, void *st, err reason) {
    (void)cx;
    actor_state *a = st;
    a->p->actor[a->id].alive = false;
    a->p->actor[a->id].reason = reason;
    a->p->alive--;
}

static const rt_class actor_class = {
    .name = "sim-actor",
    .state_size = sizeof(actor_state),
    .init = actor_init,
    .handle = actor_handle,
    .timer = actor_timer,
    .fini = actor_fini,
};

/* --- the run ---------------------------------------------------------------------------------------------------------------------------
 */

static void boot_shard(rt_ctx *cx, void *arg) {
    play *p = arg;
    rt_pid pid;
    actor_arg root = {.p = p, .root = true}, plain = {.p = p};
    if (rt_spawn(cx, &actor_class, &root, 0, &pid, NULL)) sim_world_fail(&p->w, "a root did not start");
    for (unsigned i = 0; i < 5; i++)
        if (rt_spawn(cx, &actor_class, &plain, 0, &pid, NULL)) sim_world_fail(&p->w, "an actor did not start");
}

static err boot(void *arg, sys *s, tls *t, const char *dir, rt_node **out) {
    (void)dir;
    play *p = arg;
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.name = "sim";
    c.shards = p->shards;
    c.spin = 0;
    c.recorder_path = c.ctl_path = NULL;
    err e = rt_node_new(&c, s, t, out);
    if (e) return e;
    sim_node_log_to(*out, &p->w);
    rt_node_add_msgs(*out, actors_msgs, ARRAY_LEN(actors_msgs));
    e = sim_pools_boot(p->pools, *out);
    for (unsigned i = 0; i < p->shards && !e; i++) rt_node_boot(*out, i, boot_shard, p);
    return e;
}

static void drive(sim_world *w, void *arg, uint64_t left) {
    play *p = arg;
    uint32_t to = p->alive < ALIVE_WANTED ? 6 * below(p, p->shards) : below(p, p->n_actors); /* every sixth of the first is a root */
    if (p->node.rt && p->actor[to].alive) {
        rt_msg *m = rt_msg_new_ext(SIM_GO, sizeof(sim_go));
        sim_go_of(m)->actions = 1 + below(p, 4);
        rt_post(p->node.rt, p->actor[to].pid, &m);
    }
    if (left) sim_world_at(w, w->now + sim_world_latency(w, 200, 50 * USEC_PER_MSEC), drive, p, left - 1);
}

static bool is_alive(void *arg, uint32_t id) { return ((const play *)arg)->actor[id].alive; }

/* Nothing is under way any more: every table that is there belongs to an actor that lives and knows it. */
static void check_tables(play *p) {
    rt_reader *r = rt_epoch_begin(p->node.rt);
    for (uint32_t i = 0; i < p->n_tables; i++) {
        const model_table *t = &p->table[i];
        rt_table_info info;
        look(r, p, t);
        if (rt_table_info_of(r, t->id, &info)) continue;
        if (t->owner == UNDER_WAY || !p->actor[t->owner].alive || !rt_pid_eq(info.owner, p->actor[t->owner].pid))
            sim_world_fail(&p->w, "a table is there, and who has it does not know");
    }
    rt_epoch_end(&r);
}

static void check_end(play *p) {
    check_tables(p);
    sim_pools_check(p->pools, is_alive, p);
    for (hmap_node *n = hmap_first(&p->pairs); n; n = hmap_next(&p->pairs, n)) {
        const model_pair *m = container_of(n, model_pair, node);
        if (p->actor[m->to].alive && m->got != m->sent)
            sim_world_fail(&p->w, "%u sent %llu messages to %u, which got %llu", m->from, (unsigned long long)m->sent, m->to,
                           (unsigned long long)m->got);
    }
    for (size_t i = 0; i < p->n_watches; i++) {
        const model_watch *w = &p->watches[i];
        if (p->actor[w->watcher].alive && !p->actor[w->target].alive && !w->gone && w->downs != 1)
            sim_world_fail(&p->w, "%u watches %u, which is dead, and got %u DOWNs", w->watcher, w->target, w->downs);
    }
    for (size_t i = 0; i < p->n_ties; i++) {
        const model_tie *t = &p->ties[i];
        const model_actor *a = &p->actor[t->a], *b = &p->actor[t->b];
        if (t->undone || a->alive == b->alive) continue;
        const model_actor *live = a->alive ? a : b, *dead = a->alive ? b : a;
        uint32_t exits = a->alive ? t->exits_a : t->exits_b;
        if (live->traps && exits != 1) sim_world_fail(&p->w, "link %u-%u: %u EXITs", t->a, t->b, exits);
        if (!live->traps && dead->reason != ERR_OK)
            sim_world_fail(&p->w, "link %u-%u: one died of %s, the other lives", t->a, t->b, err_name(dead->reason));
    }
    if (p->jobs_done != p->jobs_submitted)
        sim_world_fail(&p->w, "%llu of %llu jobs came home", (unsigned long long)p->jobs_done, (unsigned long long)p->jobs_submitted);
}

void sim_scenario_actors(const sim_run_cfg *c, sim_result *out) {
    play *p = mem_zalloc(sizeof *p);
    sim_world_init(&p->w, c->seed);
    p->w.verbose = c->verbose;
    sim_net_init(&p->net, &p->w);
    hmap_init(&p->pairs);
    p->shards = 1 + below(p, 4);
    p->pools = sim_pools_new(&p->w);
    sim_node_init(&p->node, &p->w, &p->net, 1, "node", boot, p);
    sim_node_start(&p->node);
    sim_world_at(&p->w, p->w.now + USEC_PER_SEC, drive, p, c->ops ? c->ops : OPS_DEFAULT);
    while (!p->w.failed && sim_world_step(&p->w)) {
    } /* the list runs empty: timers end, nobody has anything left to do */
    if (!p->w.failed && p->node.rt) check_end(p);
    uint32_t actors = p->n_actors;
    sim_node_stop(&p->node);
    sim_scenario_finish(
        &p->w, out,
        "%u shards, %u actors, %llu messages, %zu monitors, %zu links, %llu timers, %llu jobs, %llu works, %u tables, %llu transfers",
        p->shards, actors, (unsigned long long)p->messages, p->n_watches, p->n_ties, (unsigned long long)p->timers,
        (unsigned long long)p->jobs_ran, (unsigned long long)sim_pools_begun(p->pools), p->n_tables, (unsigned long long)p->transfers);
    sim_node_fini(&p->node);
    for (hmap_node *n = hmap_first(&p->pairs), *next; n; n = next) {
        next = hmap_next(&p->pairs, n);
        mem_free(container_of(n, model_pair, node));
    }
    hmap_fini(&p->pairs);
    mem_free(p->watches);
    mem_free(p->ties);
    sim_pools_free(p->pools);
    sim_net_fini(&p->net);
    sim_world_fini(&p->w);
    mem_free(p);
}
