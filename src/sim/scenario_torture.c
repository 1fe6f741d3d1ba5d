/* scenario torture: each call of the seam fails once.
 *
 *     run of "log" or "chat" without a failure --> how many calls it makes
 *          then, for calls spread evenly over them: the same run, in which that call fails --> the scenario's own judge
 *
 * What may happen then: the node goes on, answers an error, or ends by its declared fail-fast (sys.end) and is started again. What may not:
 * a promise broken, a client without an answer, something left open, a node that does not start again. The seed chooses the run, which
 * calls (an operation, --ops, is a call, for each of the two) and each one's error. `--scenario chat --seed S --fail-nth N` is one of them
 * again. */
#include "base/hash.h"
#include "sim/scenario.h"

#include <stdio.h>

#define OPS_DEFAULT 40u

typedef struct tally {
    uint64_t pairs, ended, calls, digest, steps;
    usec took;
} tally;

static bool one(const sim_scenario *s, const sim_run_cfg *c, uint64_t nth, tally *t, sim_result *r) {
    sim_run_cfg k = *c;
    k.ops = 0;
    k.fail_nth = nth;
    sim_scenario_run(s, &k, r);
    t->digest = hash_u64(t->digest ^ r->digest);
    t->steps += r->steps;
    t->took += r->took;
    return r->ok;
}

/* False: *out says what is wrong. */
static bool torture(const char *name, const sim_run_cfg *c, tally *t, sim_result *out) {
    const sim_scenario *s = sim_scenario_find(name);
    sim_result r;
    uint64_t nth = SIM_FAIL_NONE, want = c->ops ? c->ops : OPS_DEFAULT;
    bool ok = one(s, c, nth, t, &r);
    uint64_t calls = r.calls, pairs = want < calls ? want : calls;
    uint64_t first = pairs ? hash_u64(c->seed) % (calls / pairs) : 0;
    t->calls += calls;
    for (uint64_t i = 0; ok && i < pairs; i++) {
        nth = 1 + first + i * calls / pairs;
        ok = one(s, c, nth, t, &r);
        if (ok && nth <= calls && r.failed_call < 0) {
            ok = false;
            (void)snprintf(r.why, sizeof r.why, "the run did not come to its call"); /* fits */
        }
        t->pairs++;
        t->ended += r.ended;
    }
    if (ok) return true;
    (void)snprintf(out->why, sizeof out->why, "%.300s [--scenario %s --seed %llu --fail-nth %llu: %s gives %s]", r.why, name,
                   (unsigned long long)c->seed, (unsigned long long)nth, sim_fault_name(r.failed_call), err_name(r.failed_with));
    return false;
}

void sim_scenario_torture(const sim_run_cfg *c, sim_result *out) {
    tally t = {0};
    out->ok = torture("log", c, &t, out) && torture("chat", c, &t, out);
    (void)snprintf(out->note, sizeof out->note, "%llu of %llu calls failed, %llu nodes ended for it", (unsigned long long)t.pairs,
                   (unsigned long long)t.calls, (unsigned long long)t.ended); /* fits */
    out->took = t.took;
    out->digest = t.digest;
    out->steps = t.steps;
}
