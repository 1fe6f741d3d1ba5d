/* guard: token buckets, each as one moment: when it will be full again (GCRA, ITU-T I.371).
 *
 *      now          full              now + depth
 *       |------------|--------------------|           tokens = (now + depth - full) / refill; a token taken moves full by refill
 *
 * A bucket whose moment has passed is full, and is the same as one that does not exist: nothing has to be swept.
 *
 * Invariants: (1) full is never later than now + depth: debts do not grow. (2) A table never grows. (3) Nothing here depends on whether an
 * account exists. */
#include "edge/guard.h"

#include "base/mem.h"
#include "base/plant.h"

typedef struct cell {
    uint64_t hash;
    usec full;
} cell;
typedef struct table {
    usec refill; /* for one token */
    usec depth;  /* for all of them; 0: no limit */
    cell *cells; /* EDGE_GUARD_CELLS */
} table;

struct edge_guard {
    const hash_key *key;
    table pair, address, account, arrivals;
    usec accept_refill; /* 0: no limit */
    usec accept_full;
};

_Static_assert(EDGE_GUARD_CELLS % EDGE_GUARD_WAYS == 0, "whole sets");
_Static_assert((EDGE_GUARD_CELLS / EDGE_GUARD_WAYS & (EDGE_GUARD_CELLS / EDGE_GUARD_WAYS - 1)) == 0, "sets are chosen by bits of the hash");

static usec later(usec a, usec b) { return a > b ? a : b; }

/* --- a table of buckets --------------------------------------------------------------------------------------------------------- */
static void table_init(table *t, uint32_t burst, usec refill) {
    t->refill = refill;
    t->depth = (usec)burst * refill;
    if (t->depth) t->cells = mem_zalloc(EDGE_GUARD_CELLS * sizeof *t->cells);
}

static cell *set_of(const table *t, uint64_t hash) { return t->cells + hash % (EDGE_GUARD_CELLS / EDGE_GUARD_WAYS) * EDGE_GUARD_WAYS; }

/* How long until the bucket is full. */
static usec debt(const table *t, uint64_t hash, usec now) {
    if (!t->depth) return 0;
    const cell *c = set_of(t, hash);
    for (size_t i = 0; i < EDGE_GUARD_WAYS; i++)
        if (c[i].hash == hash && c[i].full > now) return c[i].full - now;
    return 0;
}

/* How long until there is a token. */
static usec wait(const table *t, uint64_t hash, usec now) {
    usec d = debt(t, hash, now) + t->refill;
    return t->depth && d > t->depth ? d - t->depth : 0;
}

static void take(table *t, uint64_t hash, usec now) {
    if (!t->depth || plant(GUARD_NEVER_FILLS)) return;
    cell *c = set_of(t, hash), *at = c;
    usec d = debt(t, hash, now);
    for (size_t i = 1; i < EDGE_GUARD_WAYS; i++) {
        bool mine = at->hash == hash, better = c[i].hash == hash || c[i].full < at->full;
        if (!mine && better) at = &c[i];
    }
    *at = (cell){hash, now + usec_min(d + t->refill, t->depth)};
}

/* --- the guard ------------------------------------------------------------------------------------------------------------------ */
edge_guard *edge_guard_new(const edge_cfg *c, const hash_key *k, unsigned shards) {
    edge_guard *g = mem_zalloc(sizeof *g);
    g->key = k;
    table_init(&g->pair, c->account_failures, c->account_refill);
    table_init(&g->address, c->address_failures, c->address_refill);
    table_init(&g->account, c->slow_failures, c->slow_refill);
    if (c->accept_rate_ip) {
        uint32_t burst = c->per_ip_max ? c->per_ip_max : EDGE_GUARD_BURST;
        if (burst < c->accept_rate_ip) burst = c->accept_rate_ip; /* a second of them */
        table_init(&g->arrivals, burst > shards ? burst / shards : 1, later(USEC_PER_SEC * shards / c->accept_rate_ip, 1));
    }
    if (c->accept_rate) g->accept_refill = later(USEC_PER_SEC * shards / c->accept_rate, 1);
    return g;
}

void edge_guard_free(edge_guard *g) {
    if (!g) return;
    mem_free(g->pair.cells);
    mem_free(g->address.cells);
    mem_free(g->account.cells);
    mem_free(g->arrivals.cells);
    mem_free(g);
}

uint64_t edge_guard_prefix(const sys_addr *a) {
    uint64_t p = 0;
    if (a->family == SYS_INET4) {
        memcpy(&p, a->ip, 4);
    } else if (a->family == SYS_INET6) {
        static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        memcpy(&p, memcmp(a->ip, mapped, sizeof mapped) == 0 ? a->ip + 8 : a->ip, 8); /* v4 through a v6 socket: the whole address */
    }
    return p;
}

static uint64_t mix(const edge_guard *g, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t x[3] = {a, b, c};
    return hash_bytes(g->key, slice_of(x, sizeof x));
}

edge_guard_key edge_guard_key_of(const edge_guard *g, slice account, const sys_addr *a) {
    uint64_t prefix = edge_guard_prefix(a);
    edge_guard_key k;
    k.account = hash_bytes(g->key, account);
    k.address = mix(g, 0, prefix, a->family);
    k.pair = mix(g, k.account, prefix, a->family);
    return k;
}

bool edge_guard_open(const edge_guard *g, const edge_guard_key *k, usec now) {
    return wait(&g->pair, k->pair, now) == 0 && wait(&g->address, k->address, now) == 0;
}

usec edge_guard_delay(const edge_guard *g, const edge_guard_key *k, usec now) {
    return usec_min(wait(&g->account, k->account, now), EDGE_GUARD_DELAY_MAX);
}

void edge_guard_failed(edge_guard *g, const edge_guard_key *k, usec now) {
    take(&g->pair, k->pair, now);
    take(&g->address, k->address, now);
    take(&g->account, k->account, now);
}

/* The bucket of all connections of the shard holds those of one second: clients come in bursts, and the kernel spreads them unevenly. */
usec edge_guard_accept_at(const edge_guard *g, usec now) {
    usec next = later(g->accept_full, now) + g->accept_refill;
    usec deepest = now + later(USEC_PER_SEC, g->accept_refill);
    return g->accept_refill && next > deepest ? now + (next - deepest) : now;
}

void edge_guard_accepted(edge_guard *g, usec now) { g->accept_full = later(g->accept_full, now) + g->accept_refill; }

bool edge_guard_arrived(edge_guard *g, const sys_addr *a, usec now) {
    uint64_t hash = mix(g, 0, edge_guard_prefix(a), a->family);
    if (wait(&g->arrivals, hash, now) > 0) return false;
    take(&g->arrivals, hash, now);
    return true;
}
