/* global_fuzz: what two peers say to the machine of `global` (mesh/global_machine.h), and when they come and go. The input is steps, each
 * an octet, a length in two and that many octets:
 *
 *     0, 1  a message of the peer of that number, a term without version byte      4, 5  it is lost
 *     2, 3  it is connected                                                       6     so many times 100 ms pass
 *     7     an actor here wants the name that the term is                         8     a process that is watched ends
 *
 * Oracle: when both are lost and time has passed, nothing is left of them: no lock, no node, no name of theirs, no attempt under way; what
 * was asked for was done or refused once; and all memory is freed. */
#include "base/mem.h"
#include "mesh/global_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEERS     2u
#define WATCHES   512u
#define CREATION  9u
#define STEPS_MAX 64u

static void demand(bool ok) {
    if (!ok) abort();
}

typedef struct watched {
    uint32_t index;
    bool on;
} watched;
typedef struct world {
    mesh_global *g;
    usec now;
    uint64_t conns, conn[PEERS];
    watched watch[WATCHES];
    uint64_t n_watches, kept, answered, wanted, done;
    uint64_t cut; /* peers that it wants to be disconnected, by bits */
    int64_t names;
} world;

static const slice NAMES[PEERS] = {{(const uint8_t *)"b@h", 3}, {(const uint8_t *)"z@h", 3}};

static void io_send(void *arg, uint32_t index, slice name, rt_blob *term) {
    const world *w = arg;
    etf_reader r = etf_reader_of(slice_from(rt_blob_slice(term), 1));
    slice whole;
    demand(index >= 1 && index <= PEERS && w->conn[index - 1] && name.len > 0);
    demand(term->data[0] == ETF_VERSION && etf_skip(&r, &whole) && whole.len == term->len - 1);
}
static void io_tell(void *arg, uint32_t index, const etf_pid *to, rt_blob *term) {
    if (index) io_send(arg, index, to->node, term);
}
static void io_kill(void *arg, uint32_t index, const etf_pid *to) {
    const world *w = arg;
    demand(index == 0 || (w->conn[index - 1] && slice_eq(NAMES[index - 1], to->node)));
}
static void io_answer(void *arg, slice term) {
    etf_reader r = etf_reader_of(term);
    slice whole;
    (void)arg;
    demand(etf_skip(&r, &whole) && whole.len == term.len);
}
static uint64_t io_keep(void *arg) { return ++((world *)arg)->kept; }
static void io_answer_kept(void *arg, uint64_t call, slice term) {
    world *w = arg;
    (void)term;
    demand(call > 0 && call <= w->kept);
    w->answered++;
}
static uint64_t io_watch(void *arg, uint32_t index, const etf_pid *pid) {
    world *w = arg;
    demand(index == 0 || slice_eq(NAMES[index - 1], pid->node));
    if (w->n_watches == WATCHES || pid->id == 0) return 0; /* dead */
    w->watch[w->n_watches++] = (watched){index, true};
    return w->n_watches;
}
static void io_unwatch(void *arg, uint64_t watch) {
    world *w = arg;
    demand(watch > 0 && watch <= w->n_watches && w->watch[watch - 1].on);
    w->watch[watch - 1].on = false;
}
static void io_disconnect(void *arg, uint32_t index, const char *why) {
    world *w = arg;
    demand(index >= 1 && index <= PEERS && why);
    w->cut |= 1u << (index - 1);
}
static void io_connect(void *arg, slice node) { (void)arg, (void)node; }
static void io_done(void *arg, uint64_t ticket, err status) {
    world *w = arg;
    (void)status;
    demand(ticket > 0 && ticket <= w->wanted);
    w->done++;
}
static void io_named(void *arg, slice name, const etf_pid *pid) {
    (void)name;
    ((world *)arg)->names += pid ? 1 : -1;
}
static void io_parted(void *arg, slice node, const char *what) { (void)arg, (void)node, (void)what; }
static void io_full(void *arg, const char *what, slice node) { (void)arg, (void)node, (void)what; }
static uint64_t io_random(void *arg) { return ((world *)arg)->conns; }

static void process_ends(world *w, uint64_t watch) {
    if (watch == 0 || watch > w->n_watches || !w->watch[watch - 1].on) return;
    w->watch[watch - 1].on = false;
    mesh_global_down(w->g, w->now, watch);
}

static void lose(world *w, unsigned i) {
    uint64_t conn = w->conn[i];
    if (!conn) return;
    w->conn[i] = 0;
    for (uint64_t k = 1; k <= w->n_watches; k++)
        if (w->watch[k - 1].index == i + 1) process_ends(w, k);
    mesh_global_node_down(w->g, w->now, NAMES[i], conn);
}

static void connect(world *w, unsigned i) {
    if (w->conn[i]) return;
    w->conn[i] = ++w->conns;
    mesh_global_node_up(w->g, w->now, NAMES[i], i + 1, w->conns, CREATION, false);
}

static void pass(world *w, usec time) {
    usec until = w->now + time;
    for (usec due = mesh_global_due(w->g); due <= until; due = mesh_global_due(w->g)) {
        w->now = due > w->now ? due : w->now;
        mesh_global_timer(w->g, w->now);
        if (mesh_global_due(w->g) <= w->now) w->now += USEC_PER_MSEC; /* as the wheel, which is never early */
    }
    w->now = until;
}

static void say(world *w, unsigned i, slice term) {
    rt_blob *b = rt_blob_alloc(term.len + 1);
    mesh_gen gen;
    etf_reader r = etf_reader_of(term);
    slice whole;
    b->data[0] = ETF_VERSION;
    if (term.len) memcpy(b->data + 1, term.p, term.len);
    mesh_term t = {.term = b};
    if (etf_skip(&r, &whole) && whole.len == term.len) { /* a link hands on nothing else */
        mesh_gen_read(&t, &gen);
        if (w->conn[i]) mesh_global_message(w->g, w->now, i + 1, &gen);
    }
    rt_blob_unref(b);
}

static void want(world *w, slice name) {
    etf_reader r = etf_reader_of(name);
    slice whole;
    etf_pid pid = {.node = SLICE("m@h"), .id = 50, .serial = 1, .creation = 3};
    if (!etf_skip(&r, &whole) || whole.len != name.len) return;
    w->wanted++;
    err e = mesh_global_wish(w->g, w->now, (mesh_global_want)(w->wanted % 3), name, &pid, (mesh_global_clash)(name.len % 3), w->wanted);
    if (e) w->done++;
}

static void step(world *w, unsigned what, slice with) {
    if (what < 2)
        say(w, what, with);
    else if (what < 4)
        connect(w, what - 2);
    else if (what < 6)
        lose(w, what - 4);
    else if (what == 6)
        pass(w, (usec)with.len * 100 * USEC_PER_MSEC);
    else if (what == 7)
        want(w, with);
    else
        process_ends(w, with.len);
    for (unsigned i = 0; i < PEERS; i++)
        if (w->cut & 1u << i) lose(w, i);
    w->cut = 0;
}

/* A peer's names may be said to be of processes here, which live. */
static void judge(world *w) {
    lose(w, 0), lose(w, 1);
    pass(w, 100 * USEC_PER_SEC);
    const mesh_global *g = w->g;
    demand(g->nodes.count == 0 && g->n_known == 0 && g->n_tales == 0 && g->locker.phase == MESH_GLOBAL_IDLE);
    demand(list_empty(&g->waits) && list_empty(&g->syncs) && list_empty(&g->namings) && w->done == w->wanted);
    demand(w->names == (int64_t)g->names.count && w->kept == w->answered);
    for (hmap_node *h = hmap_first(&g->names); h; h = hmap_next(&g->names, h))
        demand(slice_is(container_of(h, mesh_global_name, by_name)->pid.node, "m@h"));
    for (hmap_node *h = hmap_first(&g->locks); h; h = hmap_next(&g->locks, h)) /* a peer may have locked for a process here, too */
        demand(!slice_eq(container_of(h, mesh_global_lock, by_resource)->resource, MESH_GLOBAL_RESOURCE));
    mesh_global_free(w->g);
    for (uint64_t i = 0; i < w->n_watches; i++) demand(!w->watch[i].on);
    demand(w->names == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hash_key key = {1, 2};
    static world w;
    etf_pid self = {.node = SLICE("m@h"), .id = 1, .serial = 1, .creation = 3};
    mesh_global_io io = {.arg = &w,
                         .send = io_send,
                         .tell = io_tell,
                         .kill = io_kill,
                         .answer = io_answer,
                         .keep = io_keep,
                         .answer_kept = io_answer_kept,
                         .watch = io_watch,
                         .unwatch = io_unwatch,
                         .disconnect = io_disconnect,
                         .connect = io_connect,
                         .done = io_done,
                         .named = io_named,
                         .parted = io_parted,
                         .full = io_full,
                         .random = io_random};
    w = (world){.now = USEC_PER_SEC};
    w.g = mesh_global_new(&io, SLICE("m@h"), &self, false, &key);
    cursor c = cursor_of(slice_of(data, size));
    for (unsigned n = 0; n < STEPS_MAX && cursor_left(&c) >= 3; n++) {
        unsigned what = c.p[0] % 9u;
        size_t len = (size_t)c.p[1] << 8 | c.p[2], left = cursor_left(&c) - 3;
        slice with = slice_of(c.p + 3, what < 2 || what == 7 ? (len < left ? len : left) : len % 256);
        c = cursor_of(slice_of(c.p + 3 + (what < 2 || what == 7 ? with.len : 0), left - (what < 2 || what == 7 ? with.len : 0)));
        step(&w, what, with);
    }
    judge(&w);
    return 0;
}
