/* micro: see micro.h. `murre-bench micro NAME`. */
#include "micro.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double micro_median(const micro_row *r) {
    micro_row s = *r;
    if (s.n == 0) return 0;
    qsort(s.v, s.n, sizeof s.v[0], by_value);
    return s.v[s.n / 2];
}

void micro_report(const char *key, const char *unit, bool is_rate, const micro_row *ours, const micro_row *limit) {
    char name[64];
    double a = micro_median(ours), b = micro_median(limit);
    bench_report_num(key, unit, a);
    (void)snprintf(name, sizeof name, "%s_limit", key);
    bench_report_num(name, unit, b);
    (void)snprintf(name, sizeof name, "%s_ratio", key);
    bench_report_num(name, "times the limit", is_rate ? b / a : a / b);
}

void micro_ab(const char *key, const char *unit, void *arg, micro_ab_round *round, micro_ab_switch *set) {
    double off[MICRO_PAIRS], on[MICRO_PAIRS], ratio[MICRO_PAIRS];
    for (unsigned i = 0; i < MICRO_PAIRS; i++)
        for (unsigned half = 0; half < 2; half++) {
            bool is_on = (half + i) % 2;
            set(arg, is_on);
            *(is_on ? &on[i] : &off[i]) = round(arg);
        }
    for (unsigned i = 0; i < MICRO_PAIRS; i++) ratio[i] = on[i] / off[i];
    qsort(off, MICRO_PAIRS, sizeof off[0], by_value);
    qsort(on, MICRO_PAIRS, sizeof on[0], by_value);
    qsort(ratio, MICRO_PAIRS, sizeof ratio[0], by_value);
    const struct {
        const char *what, *unit;
        double value;
    } rows[] = {{"off", unit, off[MICRO_PAIRS / 2]},
                {"on", unit, on[MICRO_PAIRS / 2]},
                {"cost", "percent, median of pairs", (ratio[MICRO_PAIRS / 2] - 1) * 100},
                {"cost_low", "percent, lower quartile", (ratio[MICRO_PAIRS / 4] - 1) * 100},
                {"cost_high", "percent, upper quartile", (ratio[MICRO_PAIRS - 1 - MICRO_PAIRS / 4] - 1) * 100}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s: %s", key, rows[i].what);
        bench_report_num(name, rows[i].unit, rows[i].value);
    }
}

static const struct {
    const char *name;
    bool (*run)(const micro_cfg *c);
} ALL[] = {{"parse", micro_parse}, {"send", micro_send},       {"cross", micro_cross}, {"timers", micro_timers}, {"log", micro_log},
           {"msacc", micro_msacc}, {"wake", micro_wake},       {"table", micro_table}, {"locks", micro_locks},   {"looks", micro_looks},
           {"queue", micro_queue}, {"workers", micro_workers}, {"jobs", micro_jobs},   {"dist", micro_dist},     {"etf", micro_etf}};

int bench_micro(int argc, char **argv) {
    micro_cfg c = {.dir = "/var/tmp"};
    const bench_option options[] = {{"json", BENCH_FLAG, &c.json, "one JSON object a line", 0, 0},
                                    {"dir", BENCH_STR, &c.dir, "where the log is written (/var/tmp)", 0, 0}};
    bool ok = argc >= 1, found = false;
    if (ok) ok = bench_options(argc - 1, argv + 1, options, ARRAY_LEN(options));
    for (size_t i = 0; ok && i < ARRAY_LEN(ALL); i++) {
        if (strcmp(argv[0], "all") != 0 && strcmp(argv[0], ALL[i].name) != 0) continue;
        found = true;
        ok = ALL[i].run(&c);
    }
    if (!found) {
        (void)fputs("usage: murre-bench micro NAME|all; names:", stderr);
        for (size_t i = 0; i < ARRAY_LEN(ALL); i++) (void)fprintf(stderr, " %s", ALL[i].name);
        (void)fputs("\n", stderr);
    }
    return ok && found ? EXIT_SUCCESS : EXIT_FAILURE;
}
