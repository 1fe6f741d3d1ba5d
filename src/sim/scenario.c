/* scenario: the table, and what every run shares.
 *
 * Invariant: a run leaves nothing behind: two runs with the same seed in one process give the same digest. */
#include "sim/scenario.h"

#include <stdarg.h>
#include <stdio.h>

const sim_scenario sim_scenarios[] = {
    {"actors", "actors on several shards send, link, monitor, kill, arm timers and submit jobs; order and exactly-once are checked",
     sim_scenario_actors},
    {"log", "the message log under crashes, torn writes, EIO and full disks; what was committed is neither lost nor invented",
     sim_scenario_log},
    {"chat", "a server node and its clients under disconnects, crashes and disk faults; the history checker judges", sim_scenario_chat},
    {"mesh", "nodes of a cluster, a network that fails; what one says to another over one connection arrives once and in order",
     sim_scenario_mesh},
    {"cluster", "many nodes connected with each other; none is lost or told of without need when one restarts, freezes or is cut off",
     sim_scenario_cluster},
    {"torture", "short runs of log and chat, in each of which another call of the seam fails; the same judges, and nothing stays open",
     sim_scenario_torture},
};
const size_t sim_scenarios_count = ARRAY_LEN(sim_scenarios);

const sim_scenario *sim_scenario_find(const char *name) {
    for (size_t i = 0; i < sim_scenarios_count; i++)
        if (slice_is(slice_str(name), sim_scenarios[i].name)) return &sim_scenarios[i];
    return NULL;
}

typedef struct reported {
    uint64_t seed, fail_nth;
    const char *name;
    char first[SIM_FAIL_MAX];
    bool any;
} reported;

/* A check that failed, or the last words before a panic: the seed is what somebody needs to see it again. */
static void on_report(void *arg, const char *line) {
    reported *r = arg;
    char nth[48] = "";
    if (r->fail_nth) (void)snprintf(nth, sizeof nth, ", --fail-nth %llu", (unsigned long long)r->fail_nth);   /* fits */
    (void)fprintf(stderr, "scenario %s, seed %llu%s: %s\n", r->name, (unsigned long long)r->seed, nth, line); /* best effort */
    if (!r->any) (void)snprintf(r->first, sizeof r->first, "%s", line);                                       /* cut if long */
    r->any = true;
}

void sim_scenario_run(const sim_scenario *s, const sim_run_cfg *c, sim_result *out) {
    reported r = {.seed = c->seed, .fail_nth = c->fail_nth, .name = s->name};
    *out = (sim_result){.ok = false, .failed_call = -1};
    err_set_reporter(on_report, &r);
    s->run(c, out);
    err_set_reporter(NULL, NULL);
    if (r.any && out->ok) {
        out->ok = false;
        (void)snprintf(out->why, sizeof out->why, "%s", r.first); /* both have the same size */
    }
}

void sim_scenario_calls(const sim_fault *f, sim_result *out) {
    out->calls = f->calls;
    out->failed_call = f->fired;
    out->failed_with = (err)f->error;
}

void sim_scenario_finish(sim_world *w, sim_result *out, const char *note, ...) {
    va_list ap;
    va_start(ap, note);
    (void)vsnprintf(out->note, sizeof out->note, note, ap); /* cut if long */
    va_end(ap);
    out->ok = !w->failed;
    memcpy(out->why, w->why, sizeof out->why);
    out->took = w->now - SIM_START;
    out->digest = w->digest;
    out->steps = w->steps;
}
