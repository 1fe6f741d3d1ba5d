#ifndef SIM_WORLD_H
#define SIM_WORLD_H
/* world: the clock, the seed and the list of what is to happen. Everything in a simulation is an event at a virtual time; the world takes
 * the earliest, and among events of the same instant the one whose key, drawn from the seed when it was added, is lowest. Nothing else
 * decides what runs next, so a seed names a run.
 *
 * One thread. The world owns no objects: who adds an event keeps its argument alive until it has run (sim_net counts references, nodes and
 * clients live as long as the world). */
#include "base/prng.h"
#include "base/time.h"

typedef struct sim_world sim_world;
typedef void sim_fn(sim_world *w, void *arg, uint64_t tag);

typedef struct sim_event {
    usec at;      /* virtual time at which it happens */
    uint32_t key; /* drawn from the seed: order among events of one instant */
    uint32_t seq; /* order in which they were added: the last word, so that the order is total */
    sim_fn *fn;   /* what happens */
    void *arg;    /* to whom; alive until then */
    uint64_t tag; /* anything; usually a generation, so that an event which has been overtaken is known */
} sim_event;

#define SIM_FAIL_MAX 512
#define SIM_START    (1000 * USEC_PER_SEC) /* the virtual clock starts here, so that "now minus a minute" is a time */

struct sim_world {
    prng rng;        /* every choice of the run comes from here */
    uint64_t seed;   /* that it was made with */
    usec now;        /* virtual, monotonic */
    usec wall_base;  /* wall clock at virtual time 0; nodes may jump away from it */
    sim_event *heap; /* binary heap by (at, key, seq) */
    size_t n_heap, cap_heap;
    uint32_t next_seq;
    uint64_t digest;        /* of everything noted so far, in order */
    uint64_t steps;         /* events run */
    bool failed;            /* a promise was broken, or a check failed */
    char why[SIM_FAIL_MAX]; /* the first reason */
    bool verbose;           /* sim_world_log prints */
};

void sim_world_init(sim_world *w, uint64_t seed);
void sim_world_fini(sim_world *w);

/* Adds an event; at is moved up to now if it lies in the past. */
void sim_world_at(sim_world *w, usec at, sim_fn *fn, void *arg, uint64_t tag);
/* Runs events until the clock would pass until (the clock then stands at until), the list is empty, or the run has failed. Returns false
 * when failed. */
bool sim_world_run(sim_world *w, usec until);
/* Runs the earliest event; false if there is none. */
bool sim_world_step(sim_world *w);

/* Choices. */
uint64_t sim_world_below(sim_world *w, uint64_t n);              /* [0, n), n >= 1 */
usec sim_world_between(sim_world *w, usec lo, usec hi);          /* [lo, hi] */
bool sim_world_chance(sim_world *w, uint32_t num, uint32_t den); /* num in den */
usec sim_world_latency(sim_world *w, usec typical, usec rare);   /* mostly around typical, one in 64 up to rare */

/* Folds a fact into the trace digest. */
void sim_world_note(sim_world *w, uint64_t fact);
/* The run has failed; the first reason is kept. */
void sim_world_fail(sim_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A line for people when verbose. */
void sim_world_log(sim_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
