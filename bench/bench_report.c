/* bench_report: figures as lines for people, or as one JSON object a line for the scripts beside this file. */
#include "bench.h"

static bool as_json, first;

void bench_report_begin(bool json, const char *name) {
    as_json = json;
    first = true;
    (void)printf(json ? "{" : "%s\n", name);
    if (json) bench_report_text("name", name);
}

static void key_out(const char *key) {
    (void)printf("%s\"%s\": ", first ? "" : ", ", key);
    first = false;
}

void bench_report_num(const char *key, const char *unit, double value) {
    if (as_json) {
        key_out(key);
        (void)printf("%.6g", value);
    } else {
        (void)printf("  %-22s %12.6g %s\n", key, value, unit);
    }
}

void bench_report_text(const char *key, const char *value) {
    if (as_json) {
        key_out(key);
        (void)printf("\"%s\"", value);
    } else {
        (void)printf("  %-22s %s\n", key, value);
    }
}

void bench_report_end(void) {
    if (as_json) (void)printf("}\n");
    (void)fflush(stdout);
}
