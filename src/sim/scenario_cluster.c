/* scenario cluster: many nodes, each connected with every other, and what a cluster of that size must stand without noticing more than it
 * has to. Whole nodes of the mesh with all their services; nobody sends anything but they themselves.
 *
 *     cold start -> idle -> a node restarts -> one dozes, shorter than the ticktime -> one is frozen, longer -> one does not reach another
 *
 * On each node a witness hears which nodes come and go (mesh_watch_nodes). After each phase every pair of them is judged: connected, and
 * told of exactly what the phase did to that pair: once up, once down, or nothing. When a node is frozen or unreachable, both sides must
 * have declared the other one down within twice the ticktime (promises R18, R19).
 *
 * It measures as it goes: events, time and, when the whole mesh is idle, memory for each node and for each end of a connection, as malloc
 * counts it (mem_in_use), with what the witnesses need set aside. */
#include "base/codec.h"
#include "base/mem.h"
#include "mesh/actor.h"
#include "mesh/int.h"
#include "rt/stat.h"
#include "sim/scenario.h"

#include <stdio.h>

#define NODES_MAX    4096u
#define NODES_FEW    64u /* up to here the seed may give them two shards */
#define NODES_SMALL  4u  /* what the seed draws from, if nobody says how many */
#define NODES_SOME   16u
#define PORT         9100
#define COOKIE       "SIMULATEDCOOKIEOFMANYBITS"
#define TICKTIME     MESH_TICKTIME
#define IDLE         (2 * TICKTIME)
#define DOZE         (TICKTIME - TICKTIME / MESH_TICK_INTENSITY - USEC_PER_SEC) /* as a node ticks so often: nobody notices */
#define FREEZE       (2 * TICKTIME)
#define BLOCK        (3 * TICKTIME)
#define DETECT       (2 * TICKTIME) /* in which it is down for both */
#define PHASE_MAX    (900 * USEC_PER_SEC)
#define LOOK_EVERY   USEC_PER_SEC
#define HOSTS_A_BYTE 250u

typedef struct play play;

typedef struct seen {   /* by a witness, of another node, since the phase began */
    uint32_t slot, gen; /* of the link that it was last told of; gen 0: it is down */
    uint16_t ups, downs;
} seen;

typedef struct member {
    play *p;
    uint32_t number, connected;
    char name[32], seed[40], dir[16];
    sim_node node;
    mesh *mesh; /* of this life */
    seen *of;   /* each member */
} member;

typedef struct phase {
    const char *name;
    void (*begin)(play *p);
    usec least; /* it takes */
    /* What was told of a pair of which neither, one, or both were touched is right. */
    bool (*right)(const play *p, uint32_t by, uint32_t of, const seen *s);
    void (*midway)(play *p); /* after DETECT; NULL: nothing to see */
} phase;

typedef struct account { /* of memory, in bytes */
    uint64_t all, actors, tables, sockets;
} account;

struct play {
    sim_world w;
    sim_net net;
    member *member;
    seen *seen;
    slice *seeds;
    const sim_run_cfg *cfg;
    uint32_t n, shards, whole; /* whole: members that are connected with all others */
    uint32_t a, b;             /* whom the phase is about */
    size_t at;                 /* phase */
    usec began, whole_at;
    bool dialling, midway, done;
    uint64_t steps, conns, nsec; /* when the phase began */
    uint64_t empty, link_bytes;  /* bytes of a node that knows of no other, and of an end of a link */
    usec start;                  /* virtual time that it took to be whole */
    account before;              /* when nobody was connected */
};

/* --- witnesses ---------------------------------------------------------------------------------------------------------------------- */
typedef struct witness {
    member *at;
} witness;

/* n17@127.0.0.18 */
static bool member_of(const play *p, slice name, uint32_t *out) {
    uint64_t number;
    if (name.len == 0 || dec_parse_u64(slice_sub(name, 1, slice_find(name, '@') - 1), p->n - 1, &number)) return false;
    *out = (uint32_t)number;
    return true;
}

static void count(member *a, bool up) {
    uint32_t all = a->p->n - 1;
    a->p->whole -= a->connected == all;
    a->connected += up ? 1u : UINT32_MAX;
    a->p->whole += a->connected == all;
}

static err witness_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx;
    member *a = ((witness *)st)->at;
    play *p = a->p;
    uint32_t other;
    if ((*m)->tag != MESH_NODE) return ERR_OK;
    const mesh_node_msg *n = mesh_node_msg_of(*m);
    if (!member_of(p, rt_blob_slice(n->name), &other) || other == a->number) {
        sim_world_fail(&p->w, "%s was told of a node that there is not", a->name);
        return ERR_OK;
    }
    seen *s = &a->of[other];
    bool same = s->gen != 0 && s->slot == n->link.slot && s->gen == n->link.gen;
    if (n->up == same)
        sim_world_fail(&p->w, "%s was told %s of %s", a->name, same ? "twice of a connection" : "of the end of none",
                       p->member[other].name);
    if (n->up && s->gen == 0) count(a, true);
    if (!n->up && same) count(a, false);
    if (n->up) s->slot = n->link.slot, s->gen = n->link.gen;
    if (!n->up && same) s->gen = 0;
    s->ups += n->up;
    s->downs += !n->up;
    return ERR_OK;
}

static err witness_init(rt_ctx *cx, void *st, const void *arg) {
    ((witness *)st)->at = *(member *const *)arg;
    (void)rt_scratch(cx); /* which a node has from the first byte that it reads on: no connection costs it again */
    mesh_watch_nodes(cx, true);
    return ERR_OK;
}

static const rt_class witness_class = {
    .name = "sim-witness", .state_size = sizeof(witness), .init = witness_init, .handle = witness_handle, .sure = MESH_NODE};

/* --- nodes -------------------------------------------------------------------------------------------------------------------------- */
typedef struct spawning {
    member *at;
    err status;
} spawning;

static void spawn_witness(rt_ctx *cx, void *arg) {
    spawning *s = arg;
    rt_pid pid;
    s->status = rt_spawn(cx, &witness_class, &s->at, 0, &pid, NULL);
}

static err dial_all(member *a) {
    play *p = a->p;
    slice own = p->seeds[a->number];
    p->seeds[a->number] = p->seeds[p->n - 1];
    err e = mesh_dial(a->mesh, p->seeds, p->n - 1);
    p->seeds[a->number] = own;
    return e;
}

static err boot_mesh(member *a, rt_node *n) {
    mesh_cfg c;
    mesh_cfg_default(&c);
    c.name = slice_str(a->name);
    c.cookie = SLICE(COOKIE);
    c.ticktime = TICKTIME;
    err e = mesh_new(n, &c, &a->mesh);
    if (e) return e;
    sys_addr at = a->node.host.ip, bound;
    spawning s = {.at = a};
    at.port = PORT;
    e = mesh_boot(a->mesh);
    if (!e) e = mesh_listen(a->mesh, &at, &bound);
    if (e) return e;
    rt_node_boot(n, 0, spawn_witness, &s);
    return s.status || !a->p->dialling ? s.status : dial_all(a);
}

static void unboot(void *arg, rt_node *n) {
    member *a = arg;
    rt_node_free(n);
    mesh_free(a->mesh);
    a->mesh = NULL;
}

static void forget_all(member *a) {
    a->p->whole -= a->connected == a->p->n - 1;
    a->connected = 0;
    memset(a->of, 0, a->p->n * sizeof *a->of);
}

static err boot(void *arg, sys *s, tls *t, const char *dir, rt_node **out) {
    (void)dir;
    member *a = arg;
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.name = a->name;
    c.shards = a->p->shards;
    c.spin = 0;
    c.recorder_path = c.ctl_path = NULL;
    rt_node *n;
    err e = rt_node_new(&c, s, t, &n);
    if (e) return e;
    sim_node_log_to(n, &a->p->w);
    forget_all(a); /* a new life knows nothing */
    e = boot_mesh(a, n);
    if (e)
        unboot(a, n);
    else
        *out = n;
    return e;
}

/* --- phases ------------------------------------------------------------------------------------------------------------------------- */
static uint32_t pick(play *p) { return (uint32_t)sim_world_below(&p->w, p->n); }
static bool told(const seen *s, unsigned ups, unsigned downs) { return s->ups == ups && s->downs == downs; }
static bool one_of(const play *p, uint32_t by, uint32_t of) { return by == p->a || of == p->a; }

static void start_all(play *p) {
    p->dialling = true;
    for (uint32_t i = 0; i < p->n; i++) {
        member *a = &p->member[i];
        if (!a->node.rt || dial_all(a)) sim_world_fail(&p->w, "%s does not dial", a->name);
        sim_node_poke(&a->node);
    }
}
static bool right_start(const play *p, uint32_t by, uint32_t of, const seen *s) {
    (void)p, (void)by, (void)of;
    return told(s, 1, 0);
}

static void be_idle(play *p) { (void)p; }
static bool right_nothing(const play *p, uint32_t by, uint32_t of, const seen *s) {
    (void)p, (void)by, (void)of;
    return told(s, 0, 0);
}

static void restart(play *p) {
    p->a = pick(p);
    sim_node_crash(&p->member[p->a].node, SIM_KILLED);
}
static bool right_restart(const play *p, uint32_t by, uint32_t of, const seen *s) {
    return by == p->a ? told(s, 1, 0) : of == p->a ? told(s, 1, 1) : told(s, 0, 0);
}

static void doze(play *p) { sim_node_freeze(&p->member[pick(p)].node, p->w.now + DOZE); }

static void freeze(play *p) {
    p->a = pick(p);
    sim_node_freeze(&p->member[p->a].node, p->w.now + FREEZE);
}
static bool right_freeze(const play *p, uint32_t by, uint32_t of, const seen *s) {
    return one_of(p, by, of) ? told(s, 1, 1) : told(s, 0, 0);
}
static void frozen_is_down(play *p) {
    for (uint32_t i = 0; i < p->n; i++)
        if (i != p->a && p->member[i].of[p->a].downs != 1)
            sim_world_fail(&p->w, "%s still believes in %s, which is frozen", p->member[i].name, p->member[p->a].name);
}

static void block(play *p) {
    p->a = pick(p);
    do p->b = pick(p);
    while (p->b == p->a);
    sim_net_block(&p->net, &p->member[p->a].node.host.ip, &p->member[p->b].node.host.ip, p->w.now + BLOCK);
}
/* The two lose each other, and others may part with one of them, so that no partitions overlap (mesh/global_part.c). */
static bool right_block(const play *p, uint32_t by, uint32_t of, const seen *s) {
    bool pair = (by == p->a && of == p->b) || (by == p->b && of == p->a);
    bool touched = one_of(p, by, of) || by == p->b || of == p->b;
    return s->ups == s->downs && (pair ? s->downs >= 1 : touched || s->downs == 0);
}
static void blocked_is_down(play *p) {
    const member *a = &p->member[p->a], *b = &p->member[p->b];
    if (a->of[p->b].downs == 0) sim_world_fail(&p->w, "%s still believes in %s, which hears nothing from it", a->name, b->name);
    if (b->of[p->a].downs == 0) sim_world_fail(&p->w, "%s still believes in %s, from which it hears nothing", b->name, a->name);
}

static const phase phases[] = {
    {"cold start", start_all, 0, right_start, NULL},
    {"idle", be_idle, IDLE, right_nothing, NULL},
    {"restart", restart, TICKTIME, right_restart, NULL},
    {"doze", doze, DOZE + TICKTIME, right_nothing, NULL},
    {"freeze", freeze, FREEZE + TICKTIME, right_freeze, frozen_is_down},
    {"block", block, BLOCK + TICKTIME, right_block, blocked_is_down},
};
#define PHASE_IDLE 1u

/* --- memory ------------------------------------------------------------------------------------------------------------------------- */
static void add_tables(rt_ctx *cx, void *arg) {
    account *x = arg;
    rt_tid ids[64];
    rt_reader *r = rt_epoch_reader(cx);
    size_t n = rt_table_list(r, ids, ARRAY_LEN(ids));
    for (size_t i = 0; i < n; i++) {
        rt_table_info t;
        if (rt_table_info_of(r, ids[i], &t) == ERR_OK) x->tables += t.bytes;
    }
}

static account take_account(play *p) {
    account x = {.all = mem_in_use(), .sockets = p->net.memory};
    for (uint32_t i = 0; i < p->n; i++) {
        sim_node *n = &p->member[i].node;
        x.sockets += sim_host_sock_memory(&n->host);
        if (!n->rt) continue;
        x.actors += rt_stat_slabs(n->rt);
        rt_node_boot(n->rt, 0, add_tables, &x);
    }
    return x;
}

static void say(play *p, const char *line) {
    if (p->cfg->say) p->cfg->say(p->cfg->say_arg, line);
    sim_world_log(&p->w, "%s", line);
}

static double each(uint64_t now, uint64_t before, double n) { return ((double)now - (double)before) / n; }

static void say_memory(play *p, const account *was, const account *is) {
    char line[SIM_NOTE_MAX];
    double ends = (double)p->n * (p->n - 1), all = each(is->all, was->all, ends);
    double actors = each(is->actors, was->actors, ends), tables = each(is->tables, was->tables, ends);
    double sockets = each(is->sockets, was->sockets, ends);
    if (is->all == 0) return; /* malloc does not tell */
    p->link_bytes = (uint64_t)all;
    (void)snprintf(line, sizeof line,
                   "memory: %.1f KiB a node, %.0f bytes an idle end of a link: actors and what they wait for %.0f, tables %.0f, simulated "
                   "socket %.0f, the rest %.0f",
                   (double)p->empty / 1024, all, actors, tables, sockets, all - actors - tables - sockets);
    say(p, line);
}

/* --- the run ------------------------------------------------------------------------------------------------------------------------ */
static uint64_t nsec(const play *p) { return p->cfg->nsec ? p->cfg->nsec() : 0; }

static void judge(play *p) {
    for (uint32_t i = 0; i < p->n && !p->w.failed; i++)
        for (uint32_t k = 0; k < p->n && !p->w.failed; k++) {
            seen *s = &p->member[i].of[k];
            if (i != k && !phases[p->at].right(p, i, k, s))
                sim_world_fail(&p->w, "%s: %s was told %u times that %s is up, %u times that it is down", phases[p->at].name,
                               p->member[i].name, s->ups, p->member[k].name, s->downs);
            s->ups = s->downs = 0;
        }
}

static void say_phase(play *p) {
    char line[SIM_NOTE_MAX];
    uint64_t events = p->w.steps - p->steps, took = nsec(p) - p->nsec;
    double ends = (double)p->n * (p->n - 1), ticks = (double)(p->w.now - p->began) / (double)(TICKTIME / MESH_TICK_INTENSITY);
    int n = snprintf(line, sizeof line, "%s: %.1f s virtual, whole after %.1f s, %llu events, %llu connections, %.1f s real",
                     phases[p->at].name, (double)(p->w.now - p->began) / 1e6, (double)(p->whole_at - p->began) / 1e6,
                     (unsigned long long)events, (unsigned long long)(p->net.next_id - p->conns), (double)took / 1e9);
    if (p->at == PHASE_IDLE)
        (void)snprintf(line + n, sizeof line - (size_t)n, "; for each tick of an end of a link %.1f events, %.0f ns",
                       (double)events / ends / ticks, (double)took / ends / ticks);
    say(p, line);
}

static void enter(play *p, size_t at) {
    p->at = at;
    p->began = p->w.now;
    p->midway = false;
    p->steps = p->w.steps;
    p->conns = p->net.next_id;
    p->nsec = nsec(p);
    phases[at].begin(p);
}

/* True: everybody sees everybody, and has done so from one look to the next. */
static bool is_whole(play *p) {
    bool whole = p->whole == p->n;
    if (!whole) p->whole_at = USEC_NEVER;
    if (whole && p->whole_at == USEC_NEVER) {
        p->whole_at = p->w.now;
        return false;
    }
    return whole;
}

static void look(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    play *p = arg;
    const phase *f = &phases[p->at];
    bool whole = is_whole(p);
    sim_world_at(w, w->now + LOOK_EVERY, look, p, 0);
    if (f->midway && !p->midway && w->now >= p->began + DETECT) {
        f->midway(p);
        p->midway = true;
    }
    if (w->now > p->began + f->least + PHASE_MAX)
        sim_world_fail(w, "%s: %u of %u nodes are connected with all others", f->name, p->whole, p->n);
    if (!whole || w->now < p->began + f->least) return;
    if (p->at == 0) p->start = p->whole_at - p->began;
    judge(p);
    say_phase(p);
    if (w->failed) return;
    if (p->at == PHASE_IDLE) {
        account now = take_account(p);
        say_memory(p, &p->before, &now);
    }
    p->done = p->at + 1 == ARRAY_LEN(phases);
    if (!p->done) enter(p, p->at + 1);
}

static void member_init(play *p, uint32_t i) {
    member *a = &p->member[i];
    unsigned high = i / HOSTS_A_BYTE, low = 1 + i % HOSTS_A_BYTE;
    a->p = p;
    a->number = i;
    a->of = p->seen + (size_t)i * p->n;
    (void)snprintf(a->name, sizeof a->name, "n%u@127.0.%u.%u", i, high, low); /* fits, as the next two */
    (void)snprintf(a->seed, sizeof a->seed, "%s:%d", a->name, PORT);
    (void)snprintf(a->dir, sizeof a->dir, "n%u", i);
    p->seeds[i] = slice_str(a->seed);
    sim_node_init(&a->node, &p->w, &p->net, 1 + i, a->dir, boot, a);
    a->node.unboot = unboot;
    a->node.host.ip = (sys_addr){.family = SYS_INET4, .ip = {127, 0, (uint8_t)high, (uint8_t)low}}; /* nodes dial loopback only */
}

static void play_init(play *p, const sim_run_cfg *cfg) {
    sim_world_init(&p->w, cfg->seed);
    p->cfg = cfg;
    p->w.verbose = cfg->verbose;
    sim_net_init(&p->net, &p->w);
    p->n = cfg->nodes ? cfg->nodes : (uint32_t)sim_world_between(&p->w, NODES_SMALL, NODES_SOME);
    p->n = p->n < 2 ? 2 : p->n < NODES_MAX ? p->n : NODES_MAX;
    p->shards = p->n > NODES_FEW ? 1 : 1 + (uint32_t)sim_world_below(&p->w, 2);
    p->whole_at = USEC_NEVER;
    p->member = mem_zalloc(p->n * sizeof *p->member);
    p->seeds = mem_zalloc(p->n * sizeof *p->seeds);
    p->seen = mem_zalloc((size_t)p->n * p->n * sizeof *p->seen);
}

static void play_fini(play *p) {
    for (uint32_t i = 0; i < p->n; i++) sim_node_fini(&p->member[i].node);
    sim_net_fini(&p->net);
    sim_world_fini(&p->w);
    mem_free(p->seen);
    mem_free(p->seeds);
    mem_free(p->member);
    mem_free(p);
}

/* Boots all nodes, none of which knows of another. */
static void boot_all(play *p) {
    uint64_t before = mem_in_use();
    for (uint32_t i = 0; i < p->n; i++) {
        member_init(p, i);
        sim_node_start(&p->member[i].node);
    }
    if (!sim_world_run(&p->w, p->w.now + USEC_PER_SEC)) return;
    p->before = take_account(p);
    p->empty = (p->before.all - before) / p->n;
    enter(p, 0);
    sim_world_at(&p->w, p->w.now + LOOK_EVERY, look, p, 0);
}

void sim_scenario_cluster(const sim_run_cfg *cfg, sim_result *out) {
    play *p = mem_zalloc(sizeof *p);
    play_init(p, cfg);
    boot_all(p);
    while (!p->done && !p->w.failed && sim_world_step(&p->w)) {
    }
    for (uint32_t i = 0; i < p->n; i++) sim_node_stop(&p->member[i].node);
    sim_scenario_finish(&p->w, out, "%u nodes of %u shards, whole after %.1f s, %llu bytes a node, %llu an end of a link, %llu connections",
                        p->n, p->shards, (double)p->start / 1e6, (unsigned long long)p->empty, (unsigned long long)p->link_bytes,
                        (unsigned long long)p->net.next_id);
    out->link_bytes = p->link_bytes;
    play_fini(p);
}
