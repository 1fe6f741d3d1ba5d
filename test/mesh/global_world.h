#ifndef TEST_MESH_GLOBAL_WORLD_H
#define TEST_MESH_GLOBAL_WORLD_H
/* global_world: several machines of `global` (mesh/global_int.h) on a network that the test holds, with processes that are numbers. What is
 * sent arrives in order for each pair; pairs take turns as the dice fall. */
#include "base/mem.h"
#include "base/prng.h"
#include "mesh/global_int.h"
#include "proto/etf/term.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

#define NODES_MAX 5u
#define CALLER    900u /* the process of a node that calls */
#define KEPT_MAX  16u

typedef struct packet {
    list in_line;
    unsigned from, to;
    etf_pid sender;
    rt_blob *term;
    bool to_rex;
} packet;
typedef struct gdone { /* what an actor here was answered */
    uint64_t ticket;
    err status;
} gdone;
typedef struct gwatch {
    uint64_t id;
    etf_pid pid;
    bool on;
} gwatch;
typedef struct gnode {
    char name[16];
    mesh_global *g;
    uint64_t conn[NODES_MAX];
    gwatch watch[256];
    uint64_t watches;
    mesh_gen gen;          /* the message that is handled */
    unsigned from;         /* and whose it is */
    unsigned disconnected; /* how often it wanted that */
    unsigned parted, full;
    gdone done[64];
    unsigned n_done;
    char told[8][96]; /* to processes, as texts, behind their ids */
    unsigned n_told;
    int names;           /* published */
    char replies[8][32]; /* to its caller, as texts */
    unsigned n_replies;
    uint64_t kept_n;
    buf kept_tag[KEPT_MAX];
    unsigned kept_from[KEPT_MAX];
} gnode;
typedef struct gworld {
    gnode n[NODES_MAX];
    unsigned count;
    list lines[NODES_MAX][NODES_MAX];
    usec now;
    uint64_t conns, posted;
    prng dice;
    char resolves[16]; /* what a resolver answers: "his", "mine", "none", "badrpc" */
    unsigned resolved; /* how often one was asked */
    bool dead[2000];   /* processes of every node, by id */
} gworld;

static gworld *gw; /* one at a time */

static inline unsigned g_of(slice name) {
    for (unsigned i = 0; i < gw->count; i++)
        if (slice_is(name, gw->n[i].name)) return i;
    fail_msg("no node %.*s", (int)name.len, (const char *)name.p);
    return 0;
}
static inline etf_pid g_pid(unsigned node, uint32_t id) {
    return (etf_pid){.node = slice_str(gw->n[node].name), .id = id, .serial = 1, .creation = 7};
}
static inline void g_post_blob(unsigned from, unsigned to, etf_pid sender, bool rex, rt_blob *term) {
    if (!gw->n[from].conn[to]) return;
    packet *p = mem_zalloc(sizeof *p);
    *p = (packet){.from = from, .to = to, .sender = sender, .to_rex = rex, .term = rt_blob_ref(term)};
    list_push_back(&gw->lines[from][to], &p->in_line);
    gw->posted++;
}
static inline void g_post(unsigned from, unsigned to, etf_pid sender, bool rex, slice term) {
    rt_blob *b = rt_blob_alloc(term.len + 1);
    b->data[0] = ETF_VERSION;
    memcpy(b->data + 1, term.p, term.len);
    g_post_blob(from, to, sender, rex, b);
    rt_blob_unref(b);
}

/* --- the seam of a machine */
static inline unsigned g_me(const void *arg) { return (unsigned)((const gnode *)arg - gw->n); }
static inline void g_send(void *arg, uint32_t index, slice name, rt_blob *term) {
    bool rex = slice_is(name, "rex");
    assert_true(rex || slice_is(name, "global_name_server"));
    g_post_blob(g_me(arg), index - 1, g_pid(g_me(arg), 1), rex, term);
}
static inline void g_format(slice term, char out[64]) {
    const etf_term *t;
    arena a;
    buf b;
    etf_reader r = etf_reader_of(term);
    arena_init(&a, 1u << 20);
    buf_init(&b, 1000);
    assert_int_equal(etf_term_read(&r, &a, &t), ERR_OK);
    etf_format(t, &b);
    (void)snprintf(out, 64, "%.*s", (int)b.len, (const char *)b.p);
    buf_fini(&b);
    arena_fini(&a);
}
static inline void g_note_told(const etf_pid *to, const char *text) {
    gnode *n = &gw->n[g_of(to->node)];
    (void)snprintf(n->told[n->n_told++ % 8], 96, "%u %s", to->id, text);
}
static inline void g_tell(void *arg, uint32_t index, const etf_pid *to, rt_blob *term) {
    char text[64];
    assert_int_equal(index ? index - 1 : g_me(arg), g_of(to->node));
    if (to->id == 1) { /* the locker */
        g_post_blob(g_me(arg), index - 1, g_pid(g_me(arg), 1), false, term);
        return;
    }
    g_format(slice_from(rt_blob_slice(term), 1), text);
    g_note_told(to, text);
}
static inline void g_die(void *arg, uint32_t index, const etf_pid *to);
static inline void g_done(void *arg, uint64_t ticket, err status) {
    gnode *n = arg;
    n->done[n->n_done++ % 64] = (gdone){ticket, status};
}
static inline void g_reply(unsigned me, unsigned to, slice tag, slice term) {
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_tuple(&b, 2);
    buf_add(&b, tag);
    buf_add(&b, term);
    g_post(me, to, g_pid(me, 1), false, buf_slice(&b));
    buf_fini(&b);
}
static inline void g_answer(void *arg, slice term) {
    gnode *n = arg;
    g_reply(g_me(arg), n->from, n->gen.tag, term);
}
static inline uint64_t g_keep(void *arg) {
    gnode *n = arg;
    assert_true(n->kept_n < KEPT_MAX);
    buf_init(&n->kept_tag[n->kept_n], 1000);
    buf_add(&n->kept_tag[n->kept_n], n->gen.tag);
    n->kept_from[n->kept_n] = n->from;
    return ++n->kept_n;
}
static inline void g_answer_kept(void *arg, uint64_t call, slice term) {
    gnode *n = arg;
    if (term.len) g_reply(g_me(arg), n->kept_from[call - 1], buf_slice(&n->kept_tag[call - 1]), term);
    buf_fini(&n->kept_tag[call - 1]);
}
static inline uint64_t g_watch(void *arg, uint32_t index, const etf_pid *pid) {
    gnode *n = arg;
    unsigned where = index ? index - 1 : g_me(arg);
    assert_int_equal(where, g_of(pid->node));
    if (gw->dead[pid->id]) return 0;
    assert_true(n->watches < ARRAY_LEN(n->watch));
    gwatch *w = &n->watch[n->watches++];
    *w = (gwatch){.id = n->watches, .pid = g_pid(where, pid->id), .on = true};
    return w->id;
}
static inline void g_unwatch(void *arg, uint64_t watch) { ((gnode *)arg)->watch[watch - 1].on = false; }
static inline void g_disconnect(void *arg, uint32_t index, const char *why);
static inline void g_connect(void *arg, slice node);
static inline void g_named(void *arg, slice name, const etf_pid *pid) {
    (void)name;
    ((gnode *)arg)->names += pid ? 1 : -1;
}
static inline void g_parted(void *arg, slice node, const char *what) {
    (void)node, (void)what;
    ((gnode *)arg)->parted++;
}
static inline void g_full(void *arg, const char *what, slice node) {
    (void)node, (void)what;
    ((gnode *)arg)->full++;
}
static inline uint64_t g_random(void *arg) {
    (void)arg;
    return prng_next(&gw->dice);
}

/* --- life */
static inline void g_start(unsigned i) {
    static const hash_key key = {1, 2};
    gnode *n = &gw->n[i];
    etf_pid self = g_pid(i, 1);
    mesh_global_io io = {.arg = n,
                         .send = g_send,
                         .tell = g_tell,
                         .kill = g_die,
                         .done = g_done,
                         .answer = g_answer,
                         .keep = g_keep,
                         .answer_kept = g_answer_kept,
                         .watch = g_watch,
                         .unwatch = g_unwatch,
                         .disconnect = g_disconnect,
                         .connect = g_connect,
                         .named = g_named,
                         .parted = g_parted,
                         .full = g_full,
                         .random = g_random};
    n->g = mesh_global_new(&io, slice_str(n->name), &self, false, &key);
}
static inline void g_world(unsigned count, uint64_t seed) {
    gw = mem_zalloc(sizeof *gw);
    gw->count = count;
    gw->now = USEC_PER_SEC;
    prng_init(&gw->dice, seed);
    (void)snprintf(gw->resolves, sizeof gw->resolves, "mine");
    for (unsigned i = 0; i < NODES_MAX; i++)
        for (unsigned k = 0; k < NODES_MAX; k++) list_init(&gw->lines[i][k]);
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(gw->n[i].name, sizeof gw->n[i].name, "%c@h", 'a' + (int)i);
        g_start(i);
    }
}
static inline void g_clear(unsigned from, unsigned to) {
    for (list *i = list_pop_front(&gw->lines[from][to]); i; i = list_pop_front(&gw->lines[from][to])) {
        packet *p = container_of(i, packet, in_line);
        rt_blob_unref(p->term);
        mem_free(p);
    }
}
static inline void g_end(void) {
    for (unsigned i = 0; i < gw->count; i++) mesh_global_free(gw->n[i].g);
    for (unsigned i = 0; i < gw->count; i++) {
        assert_int_equal(gw->n[i].names, 0);
        for (unsigned k = 0; k < gw->n[i].watches; k++) assert_false(gw->n[i].watch[k].on);
    }
    for (unsigned i = 0; i < NODES_MAX; i++)
        for (unsigned k = 0; k < NODES_MAX; k++) g_clear(i, k);
    mem_free(gw);
}

/* --- connections: a nodeup and a nodedown on both sides */
static inline void g_up(unsigned a, unsigned b) {
    if (a == b || gw->n[a].conn[b]) return;
    gw->n[a].conn[b] = gw->n[b].conn[a] = ++gw->conns;
    mesh_global_node_up(gw->n[a].g, gw->now, slice_str(gw->n[b].name), b + 1, gw->conns, 7, false);
    mesh_global_node_up(gw->n[b].g, gw->now, slice_str(gw->n[a].name), a + 1, gw->conns, 7, false);
}
static inline void g_watched_node_down(unsigned a, unsigned b) {
    for (unsigned i = 0; i < gw->n[a].watches; i++) {
        gwatch *w = &gw->n[a].watch[i];
        if (!w->on || g_of(w->pid.node) != b) continue;
        w->on = false;
        mesh_global_down(gw->n[a].g, gw->now, w->id);
    }
}
static inline void g_cut(unsigned a, unsigned b) {
    uint64_t conn = gw->n[a].conn[b];
    if (!conn) return;
    gw->n[a].conn[b] = gw->n[b].conn[a] = 0;
    g_clear(a, b);
    g_clear(b, a);
    g_watched_node_down(a, b);
    g_watched_node_down(b, a);
    mesh_global_node_down(gw->n[a].g, gw->now, slice_str(gw->n[b].name), conn);
    mesh_global_node_down(gw->n[b].g, gw->now, slice_str(gw->n[a].name), conn);
}
static inline void g_kill(uint32_t id) { /* the process of whatever node */
    gw->dead[id] = true;
    for (unsigned k = 0; k < gw->count; k++)
        for (unsigned i = 0; i < gw->n[k].watches; i++) {
            gwatch *w = &gw->n[k].watch[i];
            if (!w->on || w->pid.id != id) continue;
            w->on = false;
            mesh_global_down(gw->n[k].g, gw->now, w->id);
        }
}

/* What a machine wanted while it was called: done between two packets, because nothing calls back into it. */
typedef struct gwish {
    bool up;
    unsigned a, b;
    uint32_t kill; /* not 0: that process instead */
} gwish;
static gwish g_wishes[256];
static unsigned g_n_wishes;
static inline void g_wish(bool up, unsigned a, unsigned b) {
    assert_true(g_n_wishes < ARRAY_LEN(g_wishes));
    g_wishes[g_n_wishes++] = (gwish){up, a, b, 0};
}
static inline void g_die(void *arg, uint32_t index, const etf_pid *to) {
    assert_int_equal(index ? index - 1 : g_me(arg), g_of(to->node));
    assert_true(g_n_wishes < ARRAY_LEN(g_wishes));
    g_wishes[g_n_wishes++] = (gwish){.kill = to->id};
    g_note_told(to, "killed");
}
static bool g_no_dialling; /* nodes that are introduced cannot be reached */
static inline void g_disconnect(void *arg, uint32_t index, const char *why) {
    assert_non_null(why);
    ((gnode *)arg)->disconnected++;
    g_wish(false, g_me(arg), index - 1);
}
static inline void g_connect(void *arg, slice node) {
    if (!g_no_dialling) g_wish(true, g_me(arg), g_of(node));
}
static inline void g_wishes_done(void) {
    while (g_n_wishes) {
        gwish w = g_wishes[--g_n_wishes];
        if (w.kill) {
            g_kill(w.kill);
            continue;
        }
        w.up ? g_up(w.a, w.b) : g_cut(w.a, w.b);
    }
}

/* --- delivering */
static inline void g_rex(const packet *p, const mesh_gen *gen) {
    etf_reader r = etf_reader_of(gen->request);
    slice skip, his, mine;
    uint32_t n;
    etf_item it;
    assert_true(etf_get_tuple(&r, &n) && n == 5 && etf_get_atom_is(&r, SLICE("call")) && etf_get_atom_is(&r, SLICE("global")));
    assert_true(etf_get_atom_is(&r, SLICE("resolve_it")) && etf_next(&r, &it) && it.n == 4);
    assert_true(etf_skip(&r, &skip) && etf_skip(&r, &skip) && etf_skip(&r, &his) && etf_skip(&r, &mine));
    gw->resolved++;
    if (strcmp(gw->resolves, "his") == 0) g_reply(p->to, p->from, gen->tag, his);
    if (strcmp(gw->resolves, "mine") == 0) g_reply(p->to, p->from, gen->tag, mine);
    if (strcmp(gw->resolves, "none") == 0) g_reply(p->to, p->from, gen->tag, SLICE("w\x04none"));
    if (strcmp(gw->resolves, "badrpc") == 0)
        g_reply(p->to, p->from, gen->tag,
                SLICE("h\x02w\x06"
                      "badrpcw\x05"
                      "undef"));
}
static inline void g_note_reply(gnode *n, slice request) {
    char text[64];
    etf_reader r = etf_reader_of(request);
    uint32_t arity;
    slice value = SLICE_NULL;
    assert_true(etf_get_tuple(&r, &arity) && etf_skip(&r, NULL) && etf_skip(&r, &value));
    g_format(value, text);
    (void)snprintf(n->replies[n->n_replies++ % 8], 32, "%.31s", text);
}
static inline void g_take(packet *p) {
    gnode *n = &gw->n[p->to];
    mesh_term t = {.term = p->term};
    mesh_gen_read(&t, &n->gen);
    n->from = p->from;
    etf_reader r = etf_reader_of(n->gen.request);
    uint32_t arity;
    if (p->to_rex)
        g_rex(p, &n->gen);
    else if (etf_get_tuple(&r, &arity) && arity == 2 && etf_get_atom_is(&r, SLICE("reply"))) /* to the caller there */
        g_note_reply(n, n->gen.request);
    else
        mesh_global_message(n->g, gw->now, p->from + 1, &n->gen);
    rt_blob_unref(p->term);
    mem_free(p);
}
/* Until nothing is under way. */
static inline void g_run(void) {
    g_wishes_done();
    for (;;) {
        unsigned start = (unsigned)(prng_next(&gw->dice) % (NODES_MAX * NODES_MAX)), i = 0;
        list *first = NULL;
        for (; i < NODES_MAX * NODES_MAX && !first; i++) {
            unsigned at = (start + i) % (NODES_MAX * NODES_MAX);
            first = list_pop_front(&gw->lines[at / NODES_MAX][at % NODES_MAX]);
        }
        if (!first) return;
        g_take(container_of(first, packet, in_line));
        g_wishes_done();
    }
}
/* And for that long. */
static inline void g_wait(usec time) {
    usec until = gw->now + time;
    for (;;) {
        usec due = until;
        g_run();
        for (unsigned i = 0; i < gw->count; i++) due = usec_min(due, mesh_global_due(gw->n[i].g));
        if (due >= until) break;
        gw->now = due > gw->now ? due : gw->now;
        for (unsigned i = 0; i < gw->count; i++)
            if (mesh_global_due(gw->n[i].g) <= gw->now) mesh_global_timer(gw->n[i].g, gw->now);
    }
    gw->now = until;
    g_run();
}

/* --- calls of a process of node a to the server of b */
static inline void g_call(unsigned a, unsigned b, slice request) {
    buf m;
    etf_pid from = g_pid(a, CALLER);
    buf_init(&m, 1u << 20);
    etf_put_tuple(&m, 3);
    etf_put_atom(&m, SLICE("$gen_call"));
    etf_put_tuple(&m, 2);
    etf_put_pid(&m, &from);
    etf_put_atom(&m, SLICE("reply"));
    buf_add(&m, request);
    g_post(a, b, from, false, buf_slice(&m));
    buf_fini(&m);
}
static inline void g_put_text(buf *b, const char *text) {
    size_t at;
    assert_int_equal(etf_parse(slice_str(text), b, &at), ERR_OK);
}
/* What it was answered last. */
static inline const char *g_said(unsigned a) { return gw->n[a].n_replies ? gw->n[a].replies[(gw->n[a].n_replies - 1) % 8] : ""; }
static inline const char *g_ask(unsigned a, unsigned b, const char *request) {
    buf m;
    unsigned before = gw->n[a].n_replies;
    buf_init(&m, 1u << 20);
    g_put_text(&m, request);
    g_call(a, b, buf_slice(&m));
    buf_fini(&m);
    g_run();
    return gw->n[a].n_replies > before ? g_said(a) : "";
}
static inline void g_register(unsigned a, unsigned b, const char *name, unsigned node, uint32_t id) {
    buf m;
    etf_pid pid = g_pid(node, id);
    buf_init(&m, 1000);
    etf_put_tuple(&m, 4);
    etf_put_atom(&m, SLICE("register"));
    g_put_text(&m, name);
    etf_put_pid(&m, &pid);
    etf_put_export(&m, &(etf_export){SLICE("global"), SLICE("random_exit_name"), 3});
    g_call(a, b, buf_slice(&m));
    buf_fini(&m);
    g_run();
}
/* An actor of node a wants a name; the ticket is the id of the process. */
static inline void g_want(unsigned a, mesh_global_want want, const char *name, uint32_t id, mesh_global_clash clash) {
    buf b;
    etf_pid pid = g_pid(a, id);
    buf_init(&b, 1u << 20);
    g_put_text(&b, name);
    assert_int_equal(mesh_global_wish(gw->n[a].g, gw->now, want, buf_slice(&b), &pid, clash, id), ERR_OK);
    buf_fini(&b);
}
/* What the last one of node a was answered; 999: nothing new. */
static inline int g_done_of(unsigned a, unsigned before) {
    return gw->n[a].n_done > before ? (int)gw->n[a].done[(gw->n[a].n_done - 1) % 64].status : 999;
}
/* The same, waited for. */
static inline int g_wanted(unsigned a, mesh_global_want want, const char *name, uint32_t id) {
    unsigned before = gw->n[a].n_done;
    g_want(a, want, name, id, MESH_GLOBAL_RANDOM_EXIT);
    for (unsigned i = 0; i < 200 && gw->n[a].n_done == before; i++) g_wait(100 * USEC_PER_MSEC);
    return g_done_of(a, before);
}
/* Who has a name, as node i sees it: its id; 0: nobody. */
static inline uint32_t g_who(unsigned i, const char *name) {
    buf b, c;
    buf_init(&b, 1000);
    buf_init(&c, 1000);
    g_put_text(&b, name);
    assert_true(mesh_global_canon(buf_slice(&b), &c));
    mesh_global_name *n = mesh_global_name_find(gw->n[i].g, buf_slice(&c));
    buf_fini(&b);
    buf_fini(&c);
    return n ? n->pid.id : 0;
}
/* All nodes take each other for Erlang nodes from now on, as far as they know each other. */
static inline void g_as_erlang(void) {
    for (unsigned a = 0; a < gw->count; a++)
        for (unsigned b = 0; b < gw->count; b++) {
            mesh_global_node *n = mesh_global_node_find(gw->n[a].g, slice_str(gw->n[b].name));
            if (n) n->kin = MESH_GLOBAL_ERLANG;
        }
}
static inline bool g_knows(unsigned a, unsigned b) {
    mesh_global_node *n = mesh_global_node_find(gw->n[a].g, slice_str(gw->n[b].name));
    return n && n->known;
}
static inline bool g_quiet(void) { /* nobody holds a lock, and nobody is in the middle of something */
    for (unsigned i = 0; i < gw->count; i++)
        if (gw->n[i].g->locks.count || gw->n[i].g->locker.phase != MESH_GLOBAL_IDLE) return false;
    return true;
}
#endif
