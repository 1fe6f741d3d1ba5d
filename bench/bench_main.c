/* murre-bench: measures. `xmpp` loads any XMPP server, `micro` measures parts of murre beside the limit of the machine, `fill` makes a
 * message log of a given size, `profile` runs a node with a known load or fault for the looks of murrectl. bench/run drives all of them and
 * starts the servers. */
#include "base/codec.h"
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>

static void list(const bench_option *o, size_t n) {
    for (size_t i = 0; i < n; i++) (void)fprintf(stderr, "  --%-14s %s\n", o[i].name, o[i].doc);
}

static void refuse(const bench_option *o) {
    (void)fprintf(stderr, "murre-bench: --%s wants a %s", o->name, o->kind == BENCH_NUM ? "number" : "value");
    if (o->kind == BENCH_NUM && o->max) (void)fprintf(stderr, " from %" PRId64 " to %" PRId64, o->min, o->max);
    (void)fputc('\n', stderr);
}

bool bench_options(int argc, char **argv, const bench_option *o, size_t n) {
    for (int i = 0; i < argc; i++) {
        const bench_option *found = NULL;
        for (size_t j = 0; j < n && !found; j++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, o[j].name) == 0) found = &o[j];
        if (!found) {
            if (strcmp(argv[i], "--help") != 0) (void)fprintf(stderr, "murre-bench: unknown argument '%s'\n", argv[i]);
            list(o, n);
            return false;
        }
        if (found->kind == BENCH_FLAG) {
            *(bool *)found->to = true;
            continue;
        }
        int64_t max = found->max ? found->max : INT64_MAX;
        if (++i == argc || (found->kind == BENCH_NUM && dec_parse_i64(slice_str(argv[i]), found->min, max, found->to) != ERR_OK)) {
            refuse(found);
            return false;
        }
        if (found->kind == BENCH_STR) *(const char **)found->to = argv[i];
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc >= 2 && strcmp(argv[1], "xmpp") == 0) return bench_xmpp(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "micro") == 0) return bench_micro(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "profile") == 0) return bench_profile(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "fill") == 0) return bench_fill(argc - 2, argv + 2);
    (void)fputs("usage: murre-bench xmpp  --mode register|login|chat|idle|offline [--host ..] [--port ..] ...\n"
                "       murre-bench micro NAME|all [--json]\n"
                "       murre-bench profile NAME ...\n"
                "       murre-bench fill --dir DIR --messages N --users N\n",
                stderr);
    return EXIT_FAILURE;
}
