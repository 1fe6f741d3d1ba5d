/* scenario mesh: the nodes of a cluster, each with the whole mesh and two actors that talk, in a network that fails.
 *
 *     boot -> every node dials every other -> talkers send numbered terms to talkers of other nodes, by name, while [nodes are killed,
 *          machines lose their power, connections are cut, one way or both, or reset]
 *          -> calm: no faults, until every node is connected with every other and has heard of every talker -> judge
 *
 * What must hold, whatever happens: what one talker sends another over one connection arrives once, unaltered and in order, but for a tail
 * that the end of the connection takes along; nothing of an earlier connection, or of an earlier life of a node, comes after what is newer;
 * nothing comes from a node that is not the sender's; and once the faults are over all are connected, and each pair of nodes by one
 * connection that both know.
 *
 * An operation (--ops) is a second of the time with faults. */
#include "base/codec.h"
#include "base/cursor.h"
#include "base/mem.h"
#include "mesh/int.h"
#include "sim/scenario.h"

#include <stdio.h>

#define NODES_MAX       32u
#define TALKERS         2u /* of a node, on different shards if it has them */
#define SECONDS_DEFAULT 120u
#define CALM_MAX        (600 * USEC_PER_SEC) /* all have to be connected by then */
#define PORT            9100
#define COOKIE          "SIMULATEDCOOKIEOFMANYBITS"
#define LONG_MAX        300000u  /* bytes of a long term: some fragments */
#define HUGE_MAX        4000000u /* of a very long one: its sender is slowed down */
#define SHORT_MAX       200u
#define TICKTIME        (8 * USEC_PER_SEC)

typedef struct play play;

typedef struct heard { /* by a talker, of another one; the newest */
    uint32_t life, session, seq;
    uint64_t calm; /* terms since the faults were over */
} heard;

typedef struct member {
    play *p;
    uint32_t number;
    char name[32], dir[16];
    sim_node node;
    mesh *mesh; /* of this life */
    uint32_t life;
    heard heard[TALKERS][NODES_MAX * TALKERS];
} member;

struct play {
    sim_world w;
    sim_net net;
    member member[NODES_MAX];
    uint32_t n, shards;
    usec end; /* of the faults */
    bool calm, done;
    uint64_t sent, got, sessions, cuts;
};

/* --- talkers ------------------------------------------------------------------------------------------------------------------------ */

typedef struct talker_arg {
    member *at;
    uint32_t number;
} talker_arg;

typedef struct line_out { /* what a talker knows of a node that it talks to */
    rt_pid link;
    uint32_t session, seq[TALKERS];
} line_out;

typedef struct talker {
    member *at;
    uint32_t number;
    rt_timer timer;
    line_out out[NODES_MAX];
} talker;

static uint8_t filler(uint32_t seq, size_t i) { return (uint8_t)(seq * 31u + i * 7u); }

static void say(rt_ctx *cx, talker *t, uint32_t index, line_out *o, uint32_t to) {
    play *p = t->at->p;
    bool huge = sim_world_chance(&p->w, 1, 300);
    size_t len = (size_t)sim_world_below(&p->w, huge ? HUGE_MAX : sim_world_chance(&p->w, 1, 30) ? LONG_MAX : SHORT_MAX);
    buf b, body;
    buf_init(&body, HUGE_MAX + 64);
    buf_add_u32le(&body, t->at->number * TALKERS + t->number);
    buf_add_u32le(&body, t->at->life);
    buf_add_u32le(&body, o->session);
    buf_add_u32le(&body, ++o->seq[to]);
    for (size_t i = 0; i < len; i++) buf_add_byte(&body, filler(o->seq[to], i));
    buf_init(&b, HUGE_MAX + 128);
    etf_put_version(&b);
    etf_put_binary(&b, buf_slice(&body));
    rt_blob *term = rt_blob_new(buf_slice(&b));
    char name[16];
    (void)snprintf(name, sizeof name, "talker%u", to); /* fits */
    mesh_send_name(cx, t->at->mesh, index, slice_str(name), term);
    rt_blob_unref(term);
    buf_fini(&b);
    buf_fini(&body);
    p->sent++;
}

typedef struct present { /* the nodes that are connected */
    const play *p;
    uint32_t n, index[NODES_MAX], member[NODES_MAX];
    rt_pid link[NODES_MAX];
} present;

static void note(void *arg, uint32_t index, const mesh_node *n) {
    present *all = arg;
    for (uint32_t i = 0; i < all->p->n; i++) {
        if (!slice_is(slice_of(n->name, n->name_len), all->p->member[i].name)) continue;
        all->index[all->n] = index;
        all->link[all->n] = n->link;
        all->member[all->n++] = i;
    }
}

static void look(const play *p, mesh *m, rt_reader *r, present *out) {
    *out = (present){.p = p};
    mesh_peers_each(m->nodes, r, note, out);
}

static err talker_timer(rt_ctx *cx, void *st, rt_timer *timer) {
    talker *t = st;
    play *p = t->at->p;
    present all;
    look(p, t->at->mesh, rt_epoch_reader(cx), &all);
    if (all.n > 0) {
        uint32_t i = (uint32_t)sim_world_below(&p->w, all.n);
        line_out *o = &t->out[all.member[i]];
        if (!rt_pid_eq(o->link, all.link[i])) {
            *o = (line_out){.link = all.link[i], .session = o->session + 1};
            p->sessions++;
        }
        for (uint64_t n = 1 + sim_world_below(&p->w, 4); n; n--) say(cx, t, all.index[i], o, (uint32_t)sim_world_below(&p->w, TALKERS));
    }
    rt_timer_set(cx, timer, rt_now(cx) + sim_world_latency(&p->w, 100 * USEC_PER_MSEC, 2 * USEC_PER_SEC));
    return ERR_OK;
}

static void judge_order(play *p, heard *h, const char *who, uint32_t from, const heard *now) {
    bool same = now->life == h->life && now->session == h->session;
    bool newer = now->life > h->life || (now->life == h->life && now->session > h->session);
    if (same ? now->seq != h->seq + 1 : !newer || now->seq != 1)
        sim_world_fail(&p->w, "%s: from talker %u came %u of session %u, life %u, after %u of session %u, life %u", who, from, now->seq,
                       now->session, now->life, h->seq, h->session, h->life);
    *h = (heard){now->life, now->session, now->seq, h->calm + p->calm};
}

static err talker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx;
    talker *t = st;
    play *p = t->at->p;
    if ((*m)->tag != MESH_TERM) return ERR_OK;
    etf_reader r = {.in = cursor_of(slice_from(rt_blob_slice(mesh_term_of(*m)->term), 1))};
    slice body;
    heard now = {0};
    uint32_t from;
    bool whole = etf_get_binary(&r, &body);
    cursor c = cursor_of(body);
    whole = whole && cursor_u32le(&c, &from) && cursor_u32le(&c, &now.life) && cursor_u32le(&c, &now.session) && cursor_u32le(&c, &now.seq);
    slice rest = slice_of(c.p, cursor_left(&c));
    for (size_t i = 0; whole && i < rest.len; i++) whole = rest.p[i] == filler(now.seq, i);
    if (!whole || from >= p->n * TALKERS) {
        sim_world_fail(&p->w, "%s: a term came that nobody sent", t->at->name);
        return ERR_OK;
    }
    p->got++;
    judge_order(p, &t->at->heard[t->number][from], t->at->name, from, &now);
    return ERR_OK;
}

static err talker_init(rt_ctx *cx, void *st, const void *arg) {
    talker *t = st;
    const talker_arg *a = arg;
    char name[16];
    t->at = a->at;
    t->number = a->number;
    memset(t->at->heard[a->number], 0, sizeof t->at->heard[a->number]); /* a new life knows nothing */
    rt_timer_set(cx, &t->timer, rt_now(cx) + sim_world_between(&t->at->p->w, 1, USEC_PER_SEC));
    (void)snprintf(name, sizeof name, "talker%u", a->number); /* fits */
    return rt_name_register(cx, name);
}

static const rt_class talker_class = {
    .name = "sim-talker",
    .state_size = sizeof(talker),
    .init = talker_init,
    .handle = talker_handle,
    .timer = talker_timer,
    .foreign = true,
};

/* --- nodes -------------------------------------------------------------------------------------------------------------------------- */

typedef struct spawning {
    talker_arg talker;
    err status;
} spawning;

static void spawn_talker(rt_ctx *cx, void *arg) {
    spawning *s = arg;
    rt_pid pid;
    s->status = rt_spawn(cx, &talker_class, &s->talker, 0, &pid, NULL);
}

static err dial_all(member *a) {
    char text[NODES_MAX][64];
    slice seeds[NODES_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < a->p->n; i++) {
        if (i == a->number) continue;
        (void)snprintf(text[n], sizeof text[n], "%s:%d", a->p->member[i].name, PORT); /* fits */
        seeds[n] = slice_str(text[n]);
        n++;
    }
    return mesh_dial(a->mesh, seeds, n);
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
    at.port = PORT;
    e = mesh_boot(a->mesh);
    if (!e) e = mesh_listen(a->mesh, &at, &bound);
    if (!e) e = dial_all(a);
    for (unsigned i = 0; i < TALKERS && !e; i++) {
        spawning s = {.talker = {a, i}};
        rt_node_boot(n, i % a->p->shards, spawn_talker, &s);
        e = s.status;
    }
    return e;
}

static void unboot(void *arg, rt_node *n) {
    member *a = arg;
    rt_node_free(n);
    mesh_free(a->mesh);
    a->mesh = NULL;
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
    a->life++;
    e = boot_mesh(a, n);
    if (e)
        unboot(a, n);
    else
        *out = n;
    return e;
}

/* --- faults, and their end ---------------------------------------------------------------------------------------------------------- */

static void cut_one(play *p) {
    uint32_t seen = 0;
    sim_conn *chosen = NULL;
    for (sim_conn *c = p->net.conns; c; c = c->next)
        if (sim_world_chance(&p->w, 1, ++seen)) chosen = c;
    if (!chosen) return;
    uint64_t ways = 1 + sim_world_below(&p->w, 3);
    sim_net_cut(&chosen->end[0], ways & 1, ways & 2, p->w.now + sim_world_latency(&p->w, 2 * TICKTIME, 10 * TICKTIME));
    p->cuts++;
}

static void fault(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    play *p = arg;
    if (p->calm) return;
    member *a = &p->member[sim_world_below(w, p->n)];
    a->node.host.sock_faults = 0; /* the last ones are over */
    switch (sim_world_below(w, 4)) {
    case 0: sim_node_crash(&a->node, SIM_KILLED); break;
    case 1: sim_node_crash(&a->node, SIM_POWER); break;
    case 2: a->node.host.sock_faults = 20000; break;
    default: cut_one(p); break;
    }
    sim_world_at(w, w->now + sim_world_latency(w, 4 * USEC_PER_SEC, 40 * USEC_PER_SEC), fault, p, 0);
}

typedef struct looking {
    const member *a;
    present all;
} looking;

static void look_around(rt_ctx *cx, void *arg) {
    looking *l = arg;
    look(l->a->p, l->a->mesh, rt_epoch_reader(cx), &l->all);
}

/* NULL: all are connected, and have heard of all talkers since the faults ended. */
static const member *lonely(play *p) {
    for (uint32_t i = 0; i < p->n; i++) {
        member *a = &p->member[i];
        looking l = {.a = a};
        if (!a->node.rt) return a;
        rt_node_boot(a->node.rt, 0, look_around, &l);
        if (l.all.n != p->n - 1) return a;
        for (uint32_t k = 0; k < TALKERS; k++)
            for (uint32_t from = 0; from < p->n * TALKERS; from++)
                if (from / TALKERS != i && a->heard[k][from].calm == 0) return a;
    }
    return NULL;
}

static void watch(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    play *p = arg;
    sim_world_at(w, w->now + USEC_PER_SEC, watch, p, 0);
    if (w->now < p->end) return;
    if (!p->calm) {
        p->calm = true;
        sim_world_log(w, "calm");
        for (uint32_t i = 0; i < p->n; i++) p->member[i].node.host.sock_faults = 0;
    }
    const member *a = lonely(p);
    p->done = !a;
    if (a && w->now > p->end + CALM_MAX) sim_world_fail(w, "%s is not connected with all others, or has not heard of all talkers", a->name);
}

static uint32_t connections(const play *p) {
    uint32_t n = 0;
    for (const sim_conn *c = p->net.conns; c; c = c->next) n += c->end[0].state == SIM_SOCK_OPEN && c->end[1].state == SIM_SOCK_OPEN;
    return n;
}

void sim_scenario_mesh(const sim_run_cfg *cfg, sim_result *out) {
    play *p = mem_zalloc(sizeof *p);
    uint64_t crashes = 0;
    sim_world_init(&p->w, cfg->seed);
    p->w.verbose = cfg->verbose;
    sim_net_init(&p->net, &p->w);
    p->n = cfg->nodes ? (cfg->nodes < NODES_MAX ? cfg->nodes : NODES_MAX) : 2 + (uint32_t)sim_world_below(&p->w, 6);
    p->shards = 1 + (uint32_t)sim_world_below(&p->w, 2);
    p->end = SIM_START + (cfg->calm ? 0 : (cfg->ops ? cfg->ops : SECONDS_DEFAULT) * USEC_PER_SEC);
    for (uint32_t i = 0; i < p->n; i++) {
        member *a = &p->member[i];
        a->p = p;
        a->number = i;
        (void)snprintf(a->name, sizeof a->name, "n%u@127.0.0.%u", i, 1 + i); /* fits */
        (void)snprintf(a->dir, sizeof a->dir, "n%u", i);                     /* fits */
        sim_node_init(&a->node, &p->w, &p->net, 1 + i, a->dir, boot, a);
        a->node.unboot = unboot;
        a->node.host.ip = (sys_addr){.family = SYS_INET4, .ip = {127, 0, 0, (uint8_t)(1 + i)}}; /* nodes dial loopback only */
    }
    for (uint32_t i = 0; i < p->n; i++) sim_node_start(&p->member[i].node);
    if (!cfg->calm) sim_world_at(&p->w, p->w.now + 5 * USEC_PER_SEC, fault, p, 0);
    sim_world_at(&p->w, p->w.now + USEC_PER_SEC, watch, p, 0);
    while (!p->done && !p->w.failed && sim_world_step(&p->w)) {
    }
    uint32_t want = p->n * (p->n - 1) / 2;
    if (!p->w.failed && connections(p) != want) sim_world_fail(&p->w, "%u connections for %u nodes", connections(p), p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        crashes += p->member[i].node.crashes;
        sim_node_stop(&p->member[i].node);
    }
    sim_scenario_finish(&p->w, out, "%u nodes of %u shards, %llu terms sent, %llu received, %llu sessions, %llu crashes, %llu cuts", p->n,
                        p->shards, (unsigned long long)p->sent, (unsigned long long)p->got, (unsigned long long)p->sessions,
                        (unsigned long long)crashes, (unsigned long long)p->cuts);
    for (uint32_t i = 0; i < p->n; i++) sim_node_fini(&p->member[i].node);
    sim_net_fini(&p->net);
    sim_world_fini(&p->w);
    mem_free(p);
}
