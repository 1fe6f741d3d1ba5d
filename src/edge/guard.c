/* guard: token buckets, each as one moment: when it will be full again (GCRA, ITU-T I.371).
 *
 *      now          full              now + depth
 *       |------------|--------------------|           tokens = (now + depth - full) / refill; a token taken moves full by refill
 *
 * A bucket whose moment has passed is full, and is the same as one that does not exist: nothing has to be swept.
 *
 * Buckets lie in sets of cells: those of guesses are the entries of a shared table, one a set, replaced whole; those of arrivals an array.
 *
 * Invariants: (1) full is never later than now + depth: debts do not grow. (2) There are never more sets than SETS of a kind. (3) Nothing
 * here depends on whether an account exists. */
#include "edge/guard.h"

#include "base/mem.h"
#include "base/plant.h"

#define SETS        (EDGE_GUARD_CELLS / EDGE_GUARD_WAYS)
#define GUESS_BYTES (4u << 20) /* for all sets of the three kinds, which take a sixth of it: never refused for its size */

typedef struct cell {
    uint64_t hash;
    usec full;
} cell;
typedef struct set {
    cell c[EDGE_GUARD_WAYS];
} set;
typedef enum guess_kind { PAIR, ADDRESS, ACCOUNT, GUESS_KINDS } guess_kind;
typedef struct rule {
    usec refill; /* for one token */
    usec depth;  /* for all of them; 0: no limit */
} rule;
typedef struct set_key { /* in the table of guesses */
    uint32_t kind, number;
} set_key;

struct edge_guard {
    const hash_key *key;
    rule guess[GUESS_KINDS], arrival;
    rt_tid guesses;
    set *arrivals;      /* SETS */
    usec accept_refill; /* 0: no limit */
    usec accept_full;
};

_Static_assert(EDGE_GUARD_CELLS % EDGE_GUARD_WAYS == 0, "whole sets");
_Static_assert((SETS & (SETS - 1)) == 0, "sets are chosen by bits of the hash");

static usec later(usec a, usec b) { return a > b ? a : b; }

/* --- a set of buckets ----------------------------------------------------------------------------------------------------------- */
static rule rule_of(uint32_t burst, usec refill) { return (rule){refill, (usec)burst * refill}; }

/* How long until the bucket is full. */
static usec debt(const set *s, uint64_t hash, usec now) {
    for (size_t i = 0; i < EDGE_GUARD_WAYS; i++)
        if (s->c[i].hash == hash && s->c[i].full > now) return s->c[i].full - now;
    return 0;
}

/* How long until there is a token. */
static usec wait(const rule *t, const set *s, uint64_t hash, usec now) {
    usec d = debt(s, hash, now) + t->refill;
    return d > t->depth ? d - t->depth : 0;
}

static void take(const rule *t, set *s, uint64_t hash, usec now) {
    if (plant(GUARD_NEVER_FILLS)) return;
    cell *c = s->c, *at = c;
    usec d = debt(s, hash, now);
    for (size_t i = 1; i < EDGE_GUARD_WAYS; i++) {
        bool mine = at->hash == hash, better = c[i].hash == hash || c[i].full < at->full;
        if (!mine && better) at = &c[i];
    }
    *at = (cell){hash, now + usec_min(d + t->refill, t->depth)};
}

/* --- sets of the node: guesses -------------------------------------------------------------------------------------------------- */
static set_key key_of(guess_kind k, uint64_t hash) { return (set_key){(uint32_t)k, (uint32_t)(hash % SETS)}; }

static usec guess_wait(rt_reader *r, const edge_guard *g, guess_kind kind, uint64_t hash, usec now) {
    static const set none;
    set_key k = key_of(kind, hash);
    slice v;
    if (!g->guess[kind].depth) return 0;
    err e = rt_table_lookup(r, g->guesses, slice_of(&k, sizeof k), &v);
    return wait(&g->guess[kind], e ? &none : (const set *)(const void *)v.p, hash, now);
}

typedef struct taking {
    const rule *t;
    uint64_t hash;
    usec now;
    set s;
} taking;

static rt_table_verdict take_one(void *arg, slice old, slice *value) {
    taking *x = arg;
    if (old.p) memcpy(&x->s, old.p, sizeof x->s);
    take(x->t, &x->s, x->hash, x->now);
    *value = slice_of(&x->s, sizeof x->s);
    return RT_TABLE_PUT;
}

static NODISCARD err guess_take(rt_reader *r, edge_guard *g, guess_kind kind, uint64_t hash, usec now) {
    set_key k = key_of(kind, hash);
    taking x = {.t = &g->guess[kind], .hash = hash, .now = now};
    if (!x.t->depth) return ERR_OK;
    return rt_table_update(r, g->guesses, slice_of(&k, sizeof k), take_one, &x);
}

err edge_guard_share(rt_ctx *cx, edge_guard *g) {
    const rt_table_cfg c = {.name = EDGE_GUARD_TABLE, .writers = RT_TABLE_ALL_WRITE, .bytes_max = GUESS_BYTES};
    err e = rt_table_create(cx, &c, &g->guesses);
    if (e == ERR_EXISTS) { /* another shard's edge actor has made it, or this one's predecessor */
        g->guesses = rt_table_whereis(rt_epoch_reader(cx), SLICE(EDGE_GUARD_TABLE));
        e = g->guesses ? ERR_OK : ERR_NO_TABLE;
    }
    return e;
}

/* --- the guard ------------------------------------------------------------------------------------------------------------------ */
edge_guard *edge_guard_new(const edge_cfg *c, const hash_key *k, unsigned shards) {
    edge_guard *g = mem_zalloc(sizeof *g);
    g->key = k;
    g->guess[PAIR] = rule_of(c->account_failures, c->account_refill);
    g->guess[ADDRESS] = rule_of(c->address_failures, c->address_refill);
    g->guess[ACCOUNT] = rule_of(c->slow_failures, c->slow_refill);
    if (c->accept_rate_ip) {
        uint32_t burst = c->per_ip_max ? c->per_ip_max : EDGE_GUARD_BURST;
        if (burst < c->accept_rate_ip) burst = c->accept_rate_ip; /* a second of them */
        g->arrival = rule_of(burst > shards ? burst / shards : 1, later(USEC_PER_SEC * shards / c->accept_rate_ip, 1));
        g->arrivals = mem_zalloc(SETS * sizeof *g->arrivals);
    }
    if (c->accept_rate) g->accept_refill = later(USEC_PER_SEC * shards / c->accept_rate, 1);
    return g;
}

void edge_guard_free(edge_guard *g) {
    if (!g) return;
    mem_free(g->arrivals);
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

bool edge_guard_open(rt_reader *r, const edge_guard *g, const edge_guard_key *k, usec now) {
    return guess_wait(r, g, PAIR, k->pair, now) == 0 && guess_wait(r, g, ADDRESS, k->address, now) == 0;
}

usec edge_guard_delay(rt_reader *r, const edge_guard *g, const edge_guard_key *k, usec now) {
    return usec_min(guess_wait(r, g, ACCOUNT, k->account, now), EDGE_GUARD_DELAY_MAX);
}

err edge_guard_failed(rt_reader *r, edge_guard *g, const edge_guard_key *k, usec now) {
    err pair = guess_take(r, g, PAIR, k->pair, now), address = guess_take(r, g, ADDRESS, k->address, now);
    err account = guess_take(r, g, ACCOUNT, k->account, now);
    return pair ? pair : address ? address : account;
}

/* The bucket of all connections of the shard holds those of one second: clients come in bursts, and the kernel spreads them unevenly. */
usec edge_guard_accept_at(const edge_guard *g, usec now) {
    usec next = later(g->accept_full, now) + g->accept_refill;
    usec deepest = now + later(USEC_PER_SEC, g->accept_refill);
    return g->accept_refill && next > deepest ? now + (next - deepest) : now;
}

void edge_guard_accepted(edge_guard *g, usec now) { g->accept_full = later(g->accept_full, now) + g->accept_refill; }

bool edge_guard_arrived(edge_guard *g, const sys_addr *a, usec now) {
    if (!g->arrivals) return true;
    uint64_t hash = mix(g, 0, edge_guard_prefix(a), a->family);
    set *s = &g->arrivals[hash % SETS];
    if (wait(&g->arrival, s, hash, now) > 0) return false;
    take(&g->arrival, s, hash, now);
    return true;
}
