/* world: the event list of a simulation; see world.h for what it promises.
 *
 * Invariants: (1) now never goes back, and no event runs before its time. (2) The order of events is total and made of (time, key from the
 * seed, sequence), never of addresses. (3) The digest covers every event that ran: two runs with the same digest did the same things in
 * the same order. (4) After the first failure nothing more runs. */
#include "sim/world.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define WALL_BASE (INT64_C(1700000000) * USEC_PER_SEC) /* an arbitrary date; only differences matter */

void sim_world_init(sim_world *w, uint64_t seed) {
    memset(w, 0, sizeof *w);
    prng_init(&w->rng, seed);
    w->seed = seed;
    w->now = SIM_START;
    w->wall_base = WALL_BASE;
}

void sim_world_fini(sim_world *w) {
    mem_free(w->heap);
    w->heap = NULL;
    w->n_heap = w->cap_heap = 0;
}

static bool earlier(const sim_event *a, const sim_event *b) {
    if (a->at != b->at) return a->at < b->at;
    if (a->key != b->key) return a->key < b->key;
    return a->seq < b->seq;
}

void sim_world_at(sim_world *w, usec at, sim_fn *fn, void *arg, uint64_t tag) {
    void *heap = w->heap;
    mem_grow(&heap, &w->cap_heap, w->n_heap + 1, sizeof *w->heap);
    w->heap = heap;
    sim_event e = {
        .at = at < w->now ? w->now : at, .key = (uint32_t)prng_next(&w->rng), .seq = w->next_seq++, .fn = fn, .arg = arg, .tag = tag};
    size_t i = w->n_heap++;
    while (i > 0 && earlier(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
}

static sim_event pop(sim_world *w) {
    sim_event first = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && earlier(&w->heap[child + 1], &w->heap[child])) child++;
        if (!earlier(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    if (w->n_heap) w->heap[i] = last;
    return first;
}

bool sim_world_step(sim_world *w) {
    if (w->n_heap == 0) return false;
    sim_event e = pop(w);
    if (e.at > w->now) w->now = e.at;
    w->steps++;
    sim_world_note(w, (uint64_t)w->now);
    e.fn(w, e.arg, e.tag);
    return true;
}

bool sim_world_run(sim_world *w, usec until) {
    while (!w->failed && w->n_heap && w->heap[0].at <= until) (void)sim_world_step(w); /* there is one */
    if (!w->failed && w->now < until) w->now = until;
    return !w->failed;
}

uint64_t sim_world_below(sim_world *w, uint64_t n) { return prng_below(&w->rng, n); }
usec sim_world_between(sim_world *w, usec lo, usec hi) { return hi <= lo ? lo : lo + (usec)prng_below(&w->rng, (uint64_t)(hi - lo) + 1); }
bool sim_world_chance(sim_world *w, uint32_t num, uint32_t den) { return num && prng_chance(&w->rng, num, den); }

usec sim_world_latency(sim_world *w, usec typical, usec rare) {
    usec d = sim_world_between(w, typical / 4, typical * 2);
    return sim_world_chance(w, 1, 64) ? sim_world_between(w, d, rare) : d;
}

void sim_world_note(sim_world *w, uint64_t fact) { w->digest = hash_u64(w->digest ^ hash_u64(fact + UINT64_C(0x9e3779b97f4a7c15))); }

void sim_world_fail(sim_world *w, const char *fmt, ...) {
    if (w->failed) return;
    w->failed = true;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(w->why, sizeof w->why, fmt, ap); /* a long reason is cut */
    va_end(ap);
}

void sim_world_log(sim_world *w, const char *fmt, ...) {
    if (!w->verbose) return;
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%12.6f ", (double)(w->now - SIM_START) / (double)USEC_PER_SEC); /* for people; nothing depends on it */
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
}
