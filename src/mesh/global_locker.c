/* global_locker: two parts of a cluster become one only while all of both are locked (OTP: global, "the locker"). The lock is {global,
 * [P1, P2]}, with the pids of the two lockers in order, so that both sides set the same one.
 *
 *     who begins                                         the other
 *     lock the boss of my part, me and him, the rest
 *     lock_set true                                -->   lock my part: its boss, me, the rest
 *                                                  <--   lock_set true, or false: both give up and try again later
 *     ... exchange, resolved (global_join.c) ...
 *     unlock all, the boss last                          likewise
 *
 * The boss is the greatest name: asked first, it lets only one of many through. Nobody waits for a lock: who does not get one gives back
 * what it has. Each node does one attempt at a time; to give a name to an actor of its own is one, too (global_naming.c): it locks its
 * part, for itself alone, and tells all of it.
 *
 * Invariants: (1) phase IDLE holds no lock; (2) what was asked for is given back on every node that was asked, also after a refusal,
 * because an answer may still be under way; (3) an attempt that is cancelled first hears all answers. */
#include "base/mem.h"
#include "mesh/global_int.h"

/* --- the nodes of an attempt ------------------------------------------------------------------------------------------------------ */
static void nodes_free(mesh_global_locker *k) {
    for (uint32_t i = 0; i < k->n_nodes; i++) mesh_global_own_free(&k->nodes[i]);
    mem_free(k->nodes);
    k->nodes = NULL;
    k->n_nodes = 0;
    k->nodes_cap = 0;
    k->boss = SLICE_NULL;
}

static void add(mesh_global_locker *k, slice name) {
    void *all = k->nodes;
    mem_grow(&all, &k->nodes_cap, k->n_nodes + 1, sizeof *k->nodes);
    k->nodes = all;
    k->nodes[k->n_nodes++] = mesh_global_own(name);
}

/* Adds those that it does not have: this node, those that are known, and him. True: there were some. The order of names is that of their
 * atoms: of their bytes. */
static bool collect(mesh_global *g, mesh_global_locker *k) {
    uint32_t had = k->n_nodes;
    if (k->phase == MESH_GLOBAL_IDLE) add(k, g->me);
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (!n->known || n->attempt == k->attempt) continue;
        n->attempt = k->attempt;
        add(k, n->name);
    }
    for (uint32_t i = 0; i < k->n_nodes && k->phase == MESH_GLOBAL_IDLE; i++)
        if (slice_cmp(k->nodes[i], k->boss) > 0) k->boss = k->nodes[i];
    mesh_global_node *n = k->active ? mesh_global_node_find(g, k->him) : NULL;
    if (n && n->attempt != k->attempt) {
        n->attempt = k->attempt;
        add(k, n->name);
    }
    return k->n_nodes > had;
}

static mesh_global_phase part_of(const mesh_global *g, const mesh_global_locker *k, slice node) {
    if (slice_eq(node, k->boss)) return MESH_GLOBAL_AT_BOSS;
    return slice_eq(node, g->me) || (k->active && slice_eq(node, k->him)) ? MESH_GLOBAL_AT_BOTH : MESH_GLOBAL_AT_REST;
}

/* --- asking ----------------------------------------------------------------------------------------------------------------------- */
/* Whether a node is asked in this phase. */
static bool is_asked(const mesh_global *g, const mesh_global_locker *k, slice node) {
    mesh_global_phase part = part_of(g, k, node);
    if (k->phase == MESH_GLOBAL_UNLOCKING) return part != MESH_GLOBAL_AT_BOSS && part <= k->reached;
    if (k->phase == MESH_GLOBAL_UNLOCKING_BOSS) return part == MESH_GLOBAL_AT_BOSS && part <= k->reached;
    return k->phase == MESH_GLOBAL_NAMING || part == k->phase;
}

/* Asks those whose turn it is in this phase. True: this node is one of them. */
static bool ask(mesh_global *g, mesh_global_phase phase, slice request) {
    mesh_global_locker *k = &g->locker;
    uint32_t n = 0;
    bool me = false;
    slice *nodes = mem_alloc((k->n_nodes + 1) * sizeof *nodes);
    k->phase = phase;
    for (uint32_t i = 0; i < k->n_nodes; i++) {
        if (!is_asked(g, k, k->nodes[i])) continue;
        if (slice_eq(k->nodes[i], g->me))
            me = true;
        else
            nodes[n++] = k->nodes[i];
    }
    mesh_global_multi_ask(g, &k->multi, nodes, n, request);
    mem_free(nodes);
    return me;
}

static void enter(mesh_global *g, mesh_global_phase phase) {
    mesh_global_locker *k = &g->locker;
    bool set = phase <= MESH_GLOBAL_AT_REST;
    buf b;
    buf_init(&b, UINT32_MAX);
    mesh_global_put_lock(&b, set ? "set_lock" : "del_lock", k->requester);
    if (set) k->reached = phase;
    if (ask(g, phase, buf_slice(&b))) {
        if (!set)
            mesh_global_lock_del(g, MESH_GLOBAL_RESOURCE, k->requester, &g->self);
        else if (!mesh_global_lock_set(g, MESH_GLOBAL_RESOURCE, k->requester, &g->self))
            k->multi.refused = true;
    }
    buf_fini(&b);
}

static void tell(mesh_global *g, mesh_global_node *n, bool set) {
    buf b;
    etf_pid to;
    etf_reader r = etf_reader_of(n->locker);
    slice tag = n->vsn >= 8 ? n->his_tag : SLICE_NULL;
    if (!etf_get_pid(&r, &to)) return; /* it has said no init_connect */
    buf_init(&b, UINT32_MAX);
    mesh_global_put_lock_set(&b, n->vsn >= 6, &g->self, set, tag);
    if (n->vsn >= 6) {
        mesh_global_send(g, n, &b);
        return;
    }
    rt_blob *term = mesh_global_blob(&b);
    if (n->index && term) g->io.tell(g->io.arg, n->index, &to, term);
    rt_blob_unref(term);
}

/* --- attempts --------------------------------------------------------------------------------------------------------------------- */
/* [P1, P2] in the order of terms: pids by serial, then id, then node, then creation. */
static bool in_order(const etf_pid *a, const etf_pid *b) {
    if (a->serial != b->serial) return a->serial < b->serial;
    if (a->id != b->id) return a->id < b->id;
    int c = slice_cmp(a->node, b->node);
    return c ? c < 0 : a->creation <= b->creation;
}

static slice requester_of(const mesh_global *g, const mesh_global_node *n) {
    etf_pid his;
    etf_reader r = etf_reader_of(n->locker);
    buf b, canon;
    if (!etf_get_pid(&r, &his)) return SLICE_NULL;
    buf_init(&b, UINT32_MAX);
    buf_init(&canon, UINT32_MAX);
    bool mine_first = in_order(&g->self, &his);
    etf_put_list(&b, 2);
    etf_put_pid(&b, mine_first ? &g->self : &his);
    etf_put_pid(&b, mine_first ? &his : &g->self);
    etf_put_nil(&b);
    slice out = mesh_global_canon(buf_slice(&b), &canon) ? mesh_global_own(buf_slice(&canon)) : SLICE_NULL;
    buf_fini(&b);
    buf_fini(&canon);
    return out;
}

static mesh_global_node *him(const mesh_global *g) {
    mesh_global_node *n = g->locker.him.len ? mesh_global_node_find(g, g->locker.him) : NULL;
    return n && n->joining && n->my_tag == g->locker.my_tag ? n : NULL;
}

static void refused(mesh_global *g);

/* n: NULL if it is about a name. */
static void begin(mesh_global *g, const mesh_global_node *n, bool active) {
    mesh_global_locker *k = &g->locker;
    k->attempt++;
    k->him = n ? mesh_global_own(n->name) : SLICE_NULL;
    k->my_tag = n ? n->my_tag : 0;
    k->active = active;
    k->cancelled = false;
    k->reached = MESH_GLOBAL_IDLE;
    if (n) k->due = USEC_NEVER;
    k->requester = n ? requester_of(g, n) : mesh_global_naming_requester(g);
    (void)collect(g, k);
    /* What this node itself would refuse need not be asked of others. */
    if (check(k->requester.len > 0) && mesh_global_lock_free(g, MESH_GLOBAL_RESOURCE, k->requester))
        enter(g, MESH_GLOBAL_AT_BOSS);
    else
        refused(g);
}

static usec pause(const mesh_global *g) {
    if (g->locker.just_synced) return 0;
    if (g->n_known == 0) return MESH_GLOBAL_WAIT_FIRST;
    return usec_min((1000 + 100 * (usec)g->n_known) * USEC_PER_MSEC, 3000 * USEC_PER_MSEC); /* OTP: global, loop_the_locker */
}

static bool is_ready(const mesh_global_node *n) { return n->joining && n->in_line && !n->known && mesh_global_takes_part(n); }

/* Whoever has locked its part comes first. */
static bool next_asker(mesh_global *g) {
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (!n->lock_asked) continue;
        n->lock_asked = false;
        begin(g, n, false);
        return true;
    }
    return false;
}

static void end(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    bool joined = k->him.len > 0;
    k->phase = MESH_GLOBAL_IDLE;
    mesh_global_own_free(&k->him);
    mesh_global_own_free(&k->requester);
    nodes_free(k);
    mesh_global_multi_free(&k->multi);
    if (joined) k->due = g->now + pause(g); /* if nobody is in line then, it was for nothing */
    k->just_synced = false;
    if (!joined) mesh_global_naming_over(g);
}

static void unlock(mesh_global *g) { enter(g, MESH_GLOBAL_UNLOCKING); }

static void refused(mesh_global *g) {
    mesh_global_node *n = him(g);
    if (n && !g->locker.active) tell(g, n, false);
    if (g->locker.him.len == 0) mesh_global_naming_refused(g);
    unlock(g);
}

/* All of our part is locked. If somebody has joined it meanwhile, it is not all. */
static void locked_to_name(mesh_global *g) {
    buf request;
    buf_init(&request, UINT32_MAX);
    if (collect(g, &g->locker))
        refused(g);
    else if (mesh_global_naming_locked(g, &request))
        (void)ask(g, MESH_GLOBAL_NAMING, buf_slice(&request));
    else
        unlock(g);
    buf_fini(&request);
}

/* All of our part, and of his if we began, is locked. */
static void locked(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    mesh_global_node *n = him(g);
    if (k->him.len == 0) {
        locked_to_name(g);
        return;
    }
    if (!n) {
        refused(g);
        return;
    }
    tell(g, n, true);
    bool both = !k->active || n->lock_asked; /* both began, and both got it: it is the same lock */
    k->phase = both ? MESH_GLOBAL_LOCKED : MESH_GLOBAL_AT_HIM;
    n->lock_asked = false;
    if (both) mesh_global_join_locked(g, n, k->requester);
}

/* The answers that the phase waits for are there. */
static void answered(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    bool no = k->cancelled || k->multi.refused;
    switch (k->phase) {
    case MESH_GLOBAL_AT_BOSS:
        if (!no) (void)collect(g, k); /* there may be more by now */
        no ? refused(g) : enter(g, MESH_GLOBAL_AT_BOTH);
        break;
    case MESH_GLOBAL_AT_BOTH: no ? refused(g) : enter(g, MESH_GLOBAL_AT_REST); break;
    case MESH_GLOBAL_AT_REST: no ? refused(g) : locked(g); break;
    case MESH_GLOBAL_NAMING: unlock(g); break;
    case MESH_GLOBAL_UNLOCKING: enter(g, MESH_GLOBAL_UNLOCKING_BOSS); break;
    case MESH_GLOBAL_UNLOCKING_BOSS: end(g); break;
    case MESH_GLOBAL_IDLE:
    case MESH_GLOBAL_AT_HIM:
    case MESH_GLOBAL_LOCKED: break;
    }
}

/* A name, unless it is time to join: so neither keeps the other waiting. */
static bool next_name(mesh_global *g) {
    if (!mesh_global_naming_ready(g) || g->locker.due <= g->now) return false;
    begin(g, NULL, true);
    return true;
}

/* Goes on as far as it can without an answer. */
static void step(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    for (;;) {
        if (k->phase == MESH_GLOBAL_AT_HIM || k->phase == MESH_GLOBAL_LOCKED || k->multi.waiting > 0) return;
        if (k->phase != MESH_GLOBAL_IDLE)
            answered(g);
        else if (!next_asker(g) && !next_name(g))
            return;
    }
}

/* --- what comes ------------------------------------------------------------------------------------------------------------------- */
void mesh_global_locker_add(mesh_global *g, mesh_global_node *n) {
    n->in_line = true;
    if (g->locker.phase == MESH_GLOBAL_IDLE && g->locker.due == USEC_NEVER) g->locker.due = g->now + pause(g);
}

void mesh_global_locker_cancel(mesh_global *g, mesh_global_node *n) {
    mesh_global_locker *k = &g->locker;
    bool mine = him(g) == n;
    n->in_line = n->lock_asked = false;
    if (!mine || k->cancelled) return;
    k->cancelled = true;
    k->just_synced = k->phase == MESH_GLOBAL_LOCKED;
    if (k->phase == MESH_GLOBAL_AT_HIM || k->phase == MESH_GLOBAL_LOCKED) unlock(g);
    step(g);
}

void mesh_global_locker_told(mesh_global *g, mesh_global_node *n, bool set) {
    mesh_global_locker *k = &g->locker;
    if (k->phase == MESH_GLOBAL_AT_HIM && him(g) == n && !k->cancelled) {
        if (set) {
            k->phase = MESH_GLOBAL_LOCKED;
            mesh_global_join_locked(g, n, k->requester);
        } else {
            unlock(g);
        }
        step(g);
        return;
    }
    if (!set) return;
    if (!n->in_line) {
        tell(g, n, false);
        return;
    }
    n->lock_asked = true;
    step(g);
}

void mesh_global_locker_step(mesh_global *g) { step(g); }

bool mesh_global_locker_reply(mesh_global *g, const mesh_global_node *n, uint64_t call, slice reply) {
    if (!mesh_global_multi_reply(&g->locker.multi, n, call, reply)) return false;
    step(g);
    return true;
}

void mesh_global_locker_node_up(mesh_global *g, const mesh_global_node *n) { mesh_global_multi_node_up(g, &g->locker.multi, n); }

void mesh_global_locker_node_down(mesh_global *g, const mesh_global_node *n) {
    mesh_global_multi_node_down(&g->locker.multi, n->name);
    step(g);
}

/* The pause is over. The lock being set, by whomever: somebody else is joining or naming, and it is tried again after another. */
static void begin_to_join(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    uint64_t ready = 0, pick;
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h))
        ready += is_ready(container_of(h, mesh_global_node, by_name));
    k->due = USEC_NEVER;
    if (ready == 0) return;
    if (!mesh_global_lock_free(g, MESH_GLOBAL_RESOURCE, SLICE_NULL)) {
        k->due = g->now + pause(g);
        return;
    }
    pick = g->io.random(g->io.arg) % ready;
    for (hmap_node *h = hmap_first(&g->nodes); h; h = hmap_next(&g->nodes, h)) {
        const mesh_global_node *n = container_of(h, mesh_global_node, by_name);
        if (!is_ready(n) || pick-- > 0) continue;
        begin(g, n, true);
        return;
    }
}

void mesh_global_locker_timer(mesh_global *g) {
    const mesh_global_locker *k = &g->locker;
    if (k->phase == MESH_GLOBAL_IDLE && k->due <= g->now) begin_to_join(g);
    step(g);
}

void mesh_global_locker_free(mesh_global *g) {
    mesh_global_locker *k = &g->locker;
    mesh_global_own_free(&k->him);
    mesh_global_own_free(&k->requester);
    nodes_free(k);
    mesh_global_multi_free(&k->multi);
}
