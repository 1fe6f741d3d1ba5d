/* dedup: the origin-ids of the last ten minutes (promises.md, sentence 4): two generations of an open-addressing table of 128-bit keyed
 * hashes. A generation lasts ten minutes, so that an entry is remembered for at least ten and at most twenty.
 *
 * The hashes are stored in the log, so that a restart remembers; the log does not look into them. Their key is derived from the secret of
 * the data directory: it outlives a restart, and nobody outside can tell which origin-ids share a slot, or a hash with somebody else's.
 *
 * Invariants: (1) at most half of a table is used. (2) Past max entries in a generation it is turned early: the oldest are forgotten first,
 * and the ten minutes end early for them, with an event and a count. (3) The all-zero hash means empty and is never stored. */
#include "base/digest.h"
#include "base/plant.h"
#include "svc/part.h"

#define GENERATION_USEC STORE_DEDUP_WINDOW
#define FIRST_CAP       64u

typedef struct slot {
    uint64_t h[2];
} slot;
typedef struct table {
    slot *s;
    size_t cap, n; /* cap: a power of two, or 0 */
} table;
struct svc_dedup {
    hash_key key;
    table now, before;
    uint64_t early; /* generations that were turned before their time */
    uint64_t max;   /* entries in a generation */
    usec turned;    /* when the present generation began */
    bool started;
};

void svc_dedup_hash(const svc_dedup *d, slice from_bare, slice to_bare, slice origin_id, uint64_t out[2]) {
    buf b;
    buf_init(&b, 2 * XMPP_JID_MAX + origin_id.len + 64); /* with the three lengths */
    buf_add_lslice(&b, from_bare);
    buf_add_lslice(&b, to_bare);
    buf_add_lslice(&b, origin_id);
    hash_bytes128(&d->key, buf_slice(&b), out);
    buf_fini(&b);
    if (!out[0] && !out[1]) out[0] = 1;
}

svc_dedup *svc_dedup_new(slice secret, uint64_t max) {
    uint8_t raw[DIGEST_MAX];
    digest_hmac(DIGEST_SHA256, secret, SLICE("murre origin-ids 1"), raw);
    svc_dedup *d = mem_zalloc(sizeof *d);
    memcpy(&d->key, raw, sizeof d->key);
    mem_wipe(raw, sizeof raw);
    d->max = max;
    return d;
}

void svc_dedup_free(svc_dedup *d) {
    if (!d) return;
    mem_free(d->now.s);
    mem_free(d->before.s);
    mem_free(d);
}

static slot *place(const table *t, const uint64_t h[2]) { /* where h is, or the empty slot where it would go */
    for (size_t i = h[0] & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
        slot *s = &t->s[i];
        if ((s->h[0] == h[0] && s->h[1] == h[1]) || (!s->h[0] && !s->h[1])) return s;
    }
}

static bool holds(const table *t, const uint64_t h[2]) {
    if (!t->cap) return false;
    const slot *s = place(t, h);
    return s->h[0] || s->h[1];
}

static void grow(table *t) {
    table bigger = {.cap = t->cap ? t->cap * 2 : FIRST_CAP, .n = t->n};
    bigger.s = mem_zalloc(bigger.cap * sizeof *bigger.s);
    for (size_t i = 0; i < t->cap; i++)
        if (t->s[i].h[0] || t->s[i].h[1]) *place(&bigger, t->s[i].h) = t->s[i];
    mem_free(t->s);
    *t = bigger;
}

static void turn(svc_dedup *d, usec now) {
    mem_free(d->before.s);
    d->before = d->now;
    d->now = (table){0};
    d->turned = now;
}

bool svc_dedup_seen(svc_dedup *d, const uint64_t h[2]) { return !plant(DEDUP_SKIPPED) && (holds(&d->now, h) || holds(&d->before, h)); }

void svc_dedup_add(svc_part *p, const uint64_t h[2]) {
    svc_dedup *d = p->dedup;
    usec now = rt_now(p->cx);
    if (!d->started) d->turned = now;
    d->started = true;
    if (d->now.n >= d->max) {
        rt_event(p->cx, EV_ORIGIN_IDS_EARLY, p->index, d->now.n, (uint64_t)(now - d->turned) / USEC_PER_SEC);
        d->early++;
        turn(d, now);
    }
    if ((d->now.n + 1) * 2 > d->now.cap) grow(&d->now);
    slot *s = place(&d->now, h);
    if (!s->h[0] && !s->h[1]) d->now.n++;
    s->h[0] = h[0];
    s->h[1] = h[1];
}

static void forget(table *t, const uint64_t h[2]) { /* and close the gap, so that probes need no tombstones */
    if (!holds(t, h)) return;
    size_t hole = (size_t)(place(t, h) - t->s);
    t->s[hole] = (slot){{0, 0}};
    t->n--;
    for (size_t i = (hole + 1) & (t->cap - 1); t->s[i].h[0] || t->s[i].h[1]; i = (i + 1) & (t->cap - 1)) {
        slot moved = t->s[i];
        t->s[i] = (slot){{0, 0}};
        *place(t, moved.h) = moved;
    }
}

void svc_dedup_forget(svc_dedup *d, const uint64_t h[2]) {
    forget(&d->now, h);
    forget(&d->before, h);
}

void svc_dedup_tick(svc_dedup *d, usec now) {
    if (d->started && now - d->turned >= GENERATION_USEC) turn(d, now);
}

uint64_t svc_dedup_count(const svc_dedup *d) { return d->now.n + d->before.n; }
uint64_t svc_dedup_early(const svc_dedup *d) { return d->early; }
