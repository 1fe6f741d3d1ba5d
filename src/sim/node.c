/* node: the scheduler of one simulated node.
 *
 *     on_wake (host) --> step event --> rt_node_step --> deadline --> step event
 *                                            |
 *                                            +--> rt_pool_waiting > job events under way? --> job event --> rt_pool_run_one
 *
 * Invariants: (1) At most one step event of a shard counts: that with the newest generation. (2) Nothing of the node runs inside a call of
 * itself: a machine that dies in the middle of a step or a job is taken down when that returns, and until then has no effect (host.c).
 * (3) The digest of the node's own events is folded into the world's whenever the node goes down. (4) A job that was submitted is run
 * before the node is idle, unless the node dies first. */
#include "sim/node.h"

#include "rt/event.h"
#include "rt/memory.h"
#include "rt/stat.h"

#define RETRY_USEC USEC_PER_SEC

static void step(sim_world *w, void *arg, uint64_t tag);
static void job(sim_world *w, void *arg, uint64_t tag);
static void boot(sim_world *w, void *arg, uint64_t tag);

static void schedule(sim_shard *s, usec at) {
    at = usec_max(at, s->node->frozen_until);
    if (at >= s->at) return;
    s->at = at;
    sim_world_at(s->node->w, at, step, s, ++s->gen);
}

static void on_wake(void *arg, int poll) {
    sim_node *n = arg;
    if (!n->rt) return;
    for (unsigned i = 0; i < rt_node_shards(n->rt); i++)
        if (rt_node_poller(n->rt, i) == poll) schedule(&n->shard[i], n->w->now + sim_world_latency(n->w, n->pace.wake, n->pace.wake_rare));
}

void sim_node_poke(sim_node *n) {
    if (!n->rt) return;
    for (unsigned i = 0; i < rt_node_shards(n->rt); i++)
        schedule(&n->shard[i], n->w->now + sim_world_latency(n->w, n->pace.wake, n->pace.wake_rare));
}

void sim_node_init(sim_node *n, sim_world *w, sim_net *net, uint32_t index, const char *dir, sim_boot *fn, void *arg) {
    memset(n, 0, sizeof *n);
    sys_addr ip;
    sim_host_address(index, &ip);
    sim_host_init(&n->host, w, net, &ip);
    n->host.on_wake = on_wake;
    n->host.on_wake_arg = n;
    sim_tls_init(&n->tls, prng_next(&w->rng));
    n->tls.files = &n->host.bare; /* its files are part of the one call of the seam */
    n->tls.fault = &n->host.fault;
    n->w = w;
    n->dir = dir;
    n->boot = fn;
    n->boot_arg = arg;
    n->pace = (sim_node_pace){.wake = 5, .wake_rare = 3 * USEC_PER_MSEC, .step = 20};
    n->pace.job[RT_POOL_DISK] = 300, n->pace.job_rare[RT_POOL_DISK] = 80 * USEC_PER_MSEC;
    n->pace.job[RT_POOL_SQL] = 500, n->pace.job_rare[RT_POOL_SQL] = 80 * USEC_PER_MSEC;
    n->pace.job[RT_POOL_CRYPTO] = 200, n->pace.job_rare[RT_POOL_CRYPTO] = 20 * USEC_PER_MSEC;
    n->pace.job[RT_POOL_USER] = 1000, n->pace.job_rare[RT_POOL_USER] = USEC_PER_SEC;
    n->restart_min = 50 * USEC_PER_MSEC;
    n->restart_max = 5 * USEC_PER_SEC;
    for (unsigned i = 0; i < SIM_NODE_SHARDS_MAX; i++) n->shard[i] = (sim_shard){.node = n, .id = i, .at = USEC_NEVER};
    if (sim_disk_mkdir(&n->host.disk, dir)) panic("the simulated disk refused %s", dir);
    sim_disk_settle(&n->host.disk);
}

static void on_log(void *arg, const char *line) { sim_world_log(arg, "  %s", line); }
void sim_node_log_to(rt_node *rt, sim_world *w) { rt_log_sink(rt, on_log, w); }

static void free_node(sim_node *n, rt_node *rt) {
    if (n->unboot)
        n->unboot(n->boot_arg, rt);
    else
        rt_node_free(rt);
}

/* A node that was freed, or not made, by a machine that lives holds nothing. */
static void check_closed(sim_node *n, const char *when) {
    size_t open = sim_host_open_handles(&n->host);
    if (open || n->tls.conns || n->tls.servers)
        sim_world_fail(n->w, "node %s %s and holds %zu handles, %u TLS connections and %u sets of certificates", n->dir, when, open,
                       n->tls.conns, n->tls.servers);
}

/* The node goes, with everything that it had in memory. */
static void take_down(sim_node *n, bool in_order) {
    n->life++;
    if (n->rt) {
        sim_world_note(n->w, rt_event_digest(n->rt));
        if (!n->host.dead && !in_order) sim_host_kill(&n->host, SIM_KILLED);
        free_node(n, n->rt);
        n->rt = NULL;
        if (!n->host.dead) check_closed(n, "was freed");
        if (!n->host.dead) sim_host_kill(&n->host, SIM_KILLED);
    }
    sim_host_reset(&n->host);
    for (unsigned i = 0; i < SIM_NODE_SHARDS_MAX; i++) n->shard[i].at = USEC_NEVER, n->shard[i].gen++;
    memset(n->jobs, 0, sizeof n->jobs);
    n->frozen_until = 0;
}

void sim_node_fini(sim_node *n) {
    sim_node_stop(n);
    sim_host_fini(&n->host);
}

void sim_node_stop(sim_node *n) {
    if (n->rt) take_down(n, false);
    n->life++;
}

void sim_node_quit(sim_node *n) {
    if (n->rt) take_down(n, true);
    n->life++;
}

/* After every call into the node: did it die, or end, in there? */
static bool survived(sim_node *n) {
    if (!n->host.dead) return true;
    sim_world_log(n->w, "node %s: %s", n->dir, n->host.dead == SIM_POWER ? "power cut" : "killed");
    n->crashes++;
    take_down(n, false);
    sim_world_at(n->w, n->w->now + sim_world_between(n->w, n->restart_min, n->restart_max), boot, n, n->life);
    return false;
}

void sim_node_crash(sim_node *n, sim_death how) {
    if (!n->rt) return;
    sim_host_kill(&n->host, how);
    (void)survived(n); /* it did not */
}

void sim_node_freeze(sim_node *n, usec until) {
    sim_world_log(n->w, "node %s: frozen", n->dir);
    n->frozen_until = until;
}

void sim_node_crash_soon(sim_node *n, sim_death how, uint32_t calls) {
    if (n->rt) sim_host_light(&n->host, how, calls);
}

#define BUSY 8u /* messages that an actor has handled which is of some use to somebody */

typedef struct choice {
    sim_world *w;
    const char *cls; /* NULL: any */
    uint32_t seen;
    rt_actor_info victim;
} choice;

static void choose(rt_ctx *cx, void *arg) {
    choice *c = arg;
    rt_actor_info info[16];
    uint32_t from = 0;
    for (size_t k; (k = rt_stat_actors(cx, &from, info, ARRAY_LEN(info))) > 0;)
        for (size_t i = 0; i < k; i++) {
            bool fits = !c->cls || (!strcmp(c->cls, info[i].cls) && info[i].handled >= BUSY);
            if (fits && sim_world_chance(c->w, 1, ++c->seen)) c->victim = info[i]; /* each with the same chance, in the end */
        }
}

static void kill_victim(rt_ctx *cx, void *arg) { rt_exit(cx, ((const choice *)arg)->victim.pid, ERR_KILLED); }

void sim_node_kill_actor(sim_node *n, const char *cls) {
    choice c = {.w = n->w, .cls = cls};
    if (!n->rt) return;
    for (unsigned i = 0; i < rt_node_shards(n->rt); i++) rt_node_boot(n->rt, i, choose, &c);
    if (c.seen == 0) return;
    char pid[RT_PID_TEXT];
    rt_pid_format(c.victim.pid, pid);
    sim_world_log(n->w, "node %s: actor %s %s is killed", n->dir, pid, c.victim.cls);
    n->kills++;
    rt_node_boot(n->rt, rt_pid_shard(c.victim.pid), kill_victim, &c);
    sim_node_poke(n);
    (void)survived(n);
}

static void submit_jobs(sim_node *n) {
    for (unsigned k = 0; k < RT_POOL_KINDS; k++)
        for (uint32_t waiting = rt_pool_waiting(n->rt, (rt_pool_kind)k); n->jobs[k] < waiting; n->jobs[k]++)
            sim_world_at(n->w, n->w->now + sim_world_latency(n->w, n->pace.job[k], n->pace.job_rare[k]), job, n, n->life << 8 | k);
}

static void job(sim_world *w, void *arg, uint64_t tag) {
    sim_node *n = arg;
    if (!n->rt || tag >> 8 != (n->life & (UINT64_MAX >> 8))) return;
    if (w->now < n->frozen_until) {
        sim_world_at(w, n->frozen_until, job, n, tag);
        return;
    }
    unsigned k = (unsigned)(tag & 0xff);
    n->jobs[k]--;
    (void)rt_pool_run_one(n->rt, (rt_pool_kind)k); /* false: it had expired */
    if (survived(n)) submit_jobs(n);
}

static void step(sim_world *w, void *arg, uint64_t tag) {
    sim_shard *s = arg;
    sim_node *n = s->node;
    if (!n->rt || tag != s->gen) return;
    if (w->now < n->frozen_until) {
        s->at = n->frozen_until;
        sim_world_at(w, s->at, step, s, s->gen);
        return;
    }
    s->at = USEC_NEVER;
    s->gen++;
    n->steps++;
    sim_world_note(w, s->id);
    if (n->host.memory.limit)
        (void)rt_memory_look(n->rt, w->now); /* live the watchdog's thread does; when the next is due does not matter */
    usec mono = n->host.sys.mono(&n->host.sys), due = rt_node_step(n->rt, s->id, false);
    if (!survived(n)) return;
    usec soonest = w->now + sim_world_between(w, 1, n->pace.step);
    if (due <= mono || sim_host_has_ready(&n->host, rt_node_poller(n->rt, s->id)))
        schedule(s, soonest);
    else if (due != USEC_NEVER)
        schedule(s, w->now + (due - mono) + (soonest - w->now));
    submit_jobs(n);
}

static void boot(sim_world *w, void *arg, uint64_t tag) {
    sim_node *n = arg;
    if (n->rt || tag != n->life) return;
    n->life++;
    rt_node *rt = NULL;
    err e = n->boot(n->boot_arg, &n->host.sys, &n->tls.tls, n->dir, &rt);
    sim_world_note(w, (uint64_t)e);
    if (e || n->host.dead) {
        sim_world_log(w, "node %s: boot failed: %s", n->dir, n->host.dead ? "died in it" : err_name(e));
        n->boots_failed += !n->host.dead;
        if (!n->host.dead) check_closed(n, "did not start");
        if (!n->host.dead) sim_host_kill(&n->host, SIM_KILLED);
        if (!e && rt) free_node(n, rt);
        sim_host_reset(&n->host);
        if (n->boots_failed > SIM_NODE_BOOTS_MAX) sim_world_fail(w, "node %s does not start: %s", n->dir, err_name(e));
        sim_world_at(w, w->now + RETRY_USEC, boot, n, n->life);
        return;
    }
    sim_world_log(w, "node %s: up", n->dir);
    n->boots_failed = 0;
    n->boots++;
    n->rt = rt;
    if (rt_node_shards(rt) > SIM_NODE_SHARDS_MAX) panic("more shards than a simulated node has");
    sim_node_poke(n);
    submit_jobs(n);
    if (n->up) n->up(n->hook_arg, n);
}

void sim_node_start(sim_node *n) { sim_world_at(n->w, n->w->now, boot, n, n->life); }
