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

static const struct {
    const char *name;
    bool (*run)(const micro_cfg *c);
} ALL[] = {{"parse", micro_parse}, {"send", micro_send},   {"cross", micro_cross}, {"timers", micro_timers},
           {"log", micro_log},     {"msacc", micro_msacc}, {"wake", micro_wake},   {"locks", micro_locks}};

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
