/* murre-sim: runs seeds of the simulator.
 *
 * usage: murre-sim [--seed N] [--seeds COUNT] [--scenario NAME] [--nodes N] [--ops N] [--calm] [--fail-nth N] [--history FILE]
 *                  [--verbose] [--list]
 *
 * One line a run: scenario, seed, verdict, virtual time, trace digest. Exit status 1 when a run failed, with the command that shows it
 * again; 2 for a wrong command line. Without --scenario every scenario runs. --fail-nth is for the scenarios log and chat: a short run in
 * which that call of the seam fails. --history writes what the clients of scenario chat saw (docs/history.md), of the last run. */
#include "base/codec.h"
#include "history/text.h"
#include "main/compose_sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct options {
    const char *scenario; /* NULL: all */
    uint64_t seeds;
    sim_run_cfg run;
    const char *history; /* file to write, or NULL */
    bool list;
} options;

static bool number(const char *text, uint64_t max, uint64_t *out) { return text && !dec_parse_u64(slice_str(text), max, out); }

static bool parse(int argc, char **argv, options *o) {
    uint64_t n = 0;
    *o = (options){.seeds = 1, .run = {.seed = 1}};
    for (int i = 1; i < argc; i++) {
        slice a = slice_str(argv[i]);
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (slice_is(a, "--verbose"))
            o->run.verbose = true;
        else if (slice_is(a, "--list"))
            o->list = true;
        else if (slice_is(a, "--calm"))
            o->run.calm = true;
        else if (slice_is(a, "--scenario") && value && sim_scenario_find(value))
            o->scenario = argv[++i];
        else if (slice_is(a, "--history") && value)
            o->history = argv[++i];
        else if (slice_is(a, "--seed") && number(value, UINT64_MAX, &n))
            o->run.seed = n, i++;
        else if (slice_is(a, "--seeds") && number(value, UINT64_MAX, &n))
            o->seeds = n, i++;
        else if (slice_is(a, "--nodes") && number(value, 4096, &n))
            o->run.nodes = (unsigned)n, i++;
        else if (slice_is(a, "--ops") && number(value, 1000000000, &n))
            o->run.ops = (unsigned)n, i++;
        else if (slice_is(a, "--fail-nth") && number(value, UINT64_MAX, &n))
            o->run.fail_nth = n, i++;
        else
            return false;
    }
    return true;
}

/* The history of a run, as lines. */
static void write_history(void *arg, const history_chat *h) {
    const char *file = ((const options *)arg)->history;
    FILE *f = fopen(file, "w");
    buf line;
    buf_init(&line, HISTORY_TEXT_LINE_MAX);
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < h->n; i++) {
        buf_reset(&line);
        history_text_write(&line, h, i);
        ok = buf_ok(&line) && fwrite(line.p, 1, line.len, f) == line.len;
    }
    ok = f && !fclose(f) && ok;
    if (!ok) (void)fprintf(stderr, "murre-sim: %s: %s\n", file, strerror(errno));
    buf_fini(&line);
    if (!ok) exit(2);
}

static uint64_t nsec(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Of a run that takes long; not where there are many of them. */
static void say(void *arg, const char *line) {
    const options *o = arg;
    if (!o->scenario || o->seeds > 1) return;
    printf("  %s\n", line);
    (void)fflush(stdout); /* for people */
}

static bool run(const sim_scenario *s, const sim_run_cfg *c) {
    sim_result r;
    uint64_t began = nsec();
    sim_scenario_run(s, c, &r);
    double took = (double)(nsec() - began) / 1e9, virt = (double)r.took / (double)USEC_PER_SEC;
    printf("%s seed %" PRIu64 ": %s, %.3f s virtual (%.0f x), digest %016" PRIx64 " | %s\n", s->name, c->seed, r.ok ? "ok" : "FAILED", virt,
           took > 0 ? virt / took : 0.0, r.digest, r.note);
    if (r.ok) return true;
    printf("  %s\n  replay: build/murre-sim --scenario %s --seed %" PRIu64, r.why, s->name, c->seed);
    if (c->nodes) printf(" --nodes %u", c->nodes);
    if (c->ops) printf(" --ops %u", c->ops);
    if (c->fail_nth) printf(" --fail-nth %" PRIu64, c->fail_nth);
    printf("%s --verbose\n", c->calm ? " --calm" : "");
    return false;
}

int main(int argc, char **argv) {
    options o;
    bool ok = true;
    if (!parse(argc, argv, &o)) {
        (void)fprintf(stderr, "usage: murre-sim [--seed N] [--seeds COUNT] [--scenario NAME] [--nodes N] [--ops N] [--calm] [--fail-nth N] "
                              "[--history FILE] [--verbose] [--list]\n");
        return 2;
    }
    compose_sim *server = compose_sim_new(NULL), *small = compose_sim_new(compose_sim_small);
    o.run.say = say;
    o.run.say_arg = &o;
    o.run.nsec = nsec;
    if (o.history) {
        o.run.on_history = write_history;
        o.run.history_arg = &o;
    }
    for (size_t i = 0; i < sim_scenarios_count; i++) {
        const sim_scenario *s = &sim_scenarios[i];
        if (o.list) printf("%-8s %s\n", s->name, s->doc);
        if (o.list || (o.scenario && !slice_is(slice_str(o.scenario), s->name))) continue;
        sim_run_cfg c = o.run;
        bool short_runs = c.fail_nth || s->run == sim_scenario_torture;
        compose_sim_use(short_runs ? small : server, &c);
        for (uint64_t n = 0; n < o.seeds; n++, c.seed++) ok = run(s, &c) && ok;
    }
    compose_sim_free(server);
    compose_sim_free(small);
    return ok ? 0 : 1;
}
