/* bench_xmpp: `murre-bench xmpp`: options of the load generator. It knows nothing about the server but where it listens; --server-pid is
 * only for reading what it costs. */
#include "mode.h"

#include <arpa/inet.h>
#include <stdlib.h>

bool mode_failed(const load *l, const char *what) {
    (void)fprintf(stderr, "murre-bench: %s: %s\n", what, l->failures ? l->why : "not all came back in time, or not as they should");
    return false;
}

static bool choose(const char *tls, load_tls *out) {
    static const char *const NAMES[] = {"none", "starttls", "direct"};
    for (unsigned i = 0; i < ARRAY_LEN(NAMES); i++)
        if (strcmp(tls, NAMES[i]) == 0) {
            *out = (load_tls)i;
            return true;
        }
    (void)fputs("murre-bench: --tls is none, starttls or direct\n", stderr);
    return false;
}

static bool sane(const mode_cfg *m) {
    struct in_addr unused;
    if (inet_pton(AF_INET, m->load.host, &unused) != 1) {
        (void)fputs("murre-bench: --host wants an IPv4 address\n", stderr);
        return false;
    }
    if (m->base >= m->sessions) (void)fputs("murre-bench: --base wants less than --sessions\n", stderr);
    return m->base < m->sessions;
}

int bench_xmpp(int argc, char **argv) {
    const char *mode = "chat", *tls = "none";
    int64_t port = 5222;
    mode_cfg m = {.pairs = 100,
                  .window = 10,
                  .bytes = 100,
                  .seconds = 5,
                  .warm = 1,
                  .sessions = 15000,
                  .base = 500,
                  .per_user = 1,
                  .parallel = 32,
                  .slice_msec = 300};
    m.load = (load_cfg){
        .host = "127.0.0.1", .domain = "localhost", .user = "u%u", .password = "secret", .mech = "SCRAM-SHA-256", .resource = "r%u"};
    const bench_option options[] = {
        {"mode", BENCH_STR, &mode, "register, login, chat (default), idle or offline", 0, 0},
        {"name", BENCH_STR, &m.name, "a title for the figures", 0, 0},
        {"host", BENCH_STR, &m.load.host, "IPv4 address (127.0.0.1)", 0, 0},
        {"port", BENCH_NUM, &port, "5222", 1, UINT16_MAX},
        {"domain", BENCH_STR, &m.load.domain, "localhost", 0, 0},
        {"user", BENCH_STR, &m.load.user, "pattern of user names (u%u)", 0, 0},
        {"password", BENCH_STR, &m.load.password, "of all users (secret)", 0, 0},
        {"resource", BENCH_STR, &m.load.resource, "pattern of resources (r%u)", 0, 0},
        {"mech", BENCH_STR, &m.load.mech, "PLAIN, SCRAM-SHA-256 (default), SCRAM-SHA-1 or ANONYMOUS", 0, 0},
        {"tls", BENCH_STR, &tls, "none (default), starttls or direct", 0, 0},
        {"acks", BENCH_FLAG, &m.load.acks, "stream management (XEP-0198) on both sides; a message counts as done when it is acked too", 0,
         0},
        {"full", BENCH_FLAG, &m.to_full, "chat: to full JIDs, not to accounts", 0, 0},
        {"first", BENCH_NUM, &m.first, "number of the first user (0)", 0, UINT32_MAX},
        {"pairs", BENCH_NUM, &m.pairs, "chat, offline: senders with a receiver each (100)", 1, 10000},
        {"window", BENCH_NUM, &m.window, "messages of a pair under way at once (10)", 1, 100000},
        {"bytes", BENCH_NUM, &m.bytes, "of a message body (100)", 0, 65536},
        {"seconds", BENCH_NUM, &m.seconds, "chat, login: time that is measured (5)", 1, 86400},
        {"warm", BENCH_NUM, &m.warm, "chat: seconds before that (1)", 0, 86400},
        {"count", BENCH_NUM, &m.count, "messages in all (chat: 0, no limit); users (register, login)", 0, 0},
        {"slices", BENCH_NUM, &m.slices, "chat: parts that are measured one by one, each after a line on standard input (0: the whole)", 0,
         1000000},
        {"slice-ms", BENCH_NUM, &m.slice_msec, "chat: how long one is (300)", 1, 3600000},
        {"sessions", BENCH_NUM, &m.sessions, "idle: sessions (15000)", 1, 1000000},
        {"base", BENCH_NUM, &m.base, "idle: sessions that are there before memory is read first (500)", 0, 0},
        {"per-user", BENCH_NUM, &m.per_user, "idle: sessions of one user (1)", 1, 1000000},
        {"parallel", BENCH_NUM, &m.parallel, "logins under way at once (32)", 1, 100000},
        {"server-pid", BENCH_NUM, &m.server_pid, "process whose CPU time and memory are read, with its descendants", 0, INT32_MAX},
        {"json", BENCH_FLAG, &m.json, "one JSON object instead of lines", 0, 0},
    };
    if (!bench_options(argc, argv, options, ARRAY_LEN(options)) || !choose(tls, &m.load.tls) || !sane(&m)) return EXIT_FAILURE;
    (void)bench_files_max();
    m.load.port = (uint16_t)port;
    if (!m.name) m.name = mode;
    static const struct {
        const char *name;
        bool (*run)(const mode_cfg *m);
        bool counts;
    } MODES[] = {{"register", mode_register, true},
                 {"login", mode_login, true},
                 {"chat", mode_chat, false},
                 {"idle", mode_idle, false},
                 {"offline", mode_offline, true}};
    for (size_t i = 0; i < ARRAY_LEN(MODES); i++) {
        if (strcmp(mode, MODES[i].name) != 0) continue;
        if (MODES[i].counts && m.count < 1) m.count = 1000;
        return MODES[i].run(&m) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    (void)fputs("murre-bench: no such mode\n", stderr);
    return EXIT_FAILURE;
}
