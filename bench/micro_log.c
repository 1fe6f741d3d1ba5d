/* micro_log: durable puts of 300 bytes, 1, 100 and 1,000 in a commit, beside writing as many bytes to a file whose space is there already
 * and fdatasync; and `fill`, which makes a log that a server can start with. */
#include "base/mem.h"
#include "micro.h"
#include "proto/xmpp/env.h"
#include "store/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PUT_BYTES  300u
#define FILE_BYTES (64u << 20)
#define PARTITIONS 64u
#define FILL_BATCH 2000u
#define BODY_BYTES 100u

static void on_damage(void *arg, uint64_t segment, uint64_t offset, const char *text) {
    (void)arg;
    (void)fprintf(stderr, "murre-bench: damage in segment %llu at %llu: %s\n", (unsigned long long)segment, (unsigned long long)offset,
                  text);
}

static int64_t wall_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

static uint64_t id_of(uint64_t epoch, unsigned partition, uint64_t counter) {
    return epoch << STORE_ID_EPOCH_SHIFT | (uint64_t)partition << STORE_ID_PARTITION_SHIFT | counter;
}

static void remove_tree(const char *dir) {
    char command[512];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) (void)fprintf(stderr, "murre-bench: %s was left behind\n", dir);
}

static bool ours(store_log *l, uint64_t epoch, uint64_t *counter, unsigned batch, unsigned commits, double *out) {
    uint8_t env[PUT_BYTES];
    memset(env, 'e', sizeof env);
    int64_t wall = wall_now();
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < commits; i++) {
        for (unsigned j = 0; j < batch; j++) {
            uint64_t loc, id = id_of(epoch, 0, ++*counter);
            if (store_log_put(l, id, SLICE("user@localhost"), slice_of(env, sizeof env), wall, id, id, &loc) != ERR_OK) return false;
        }
        if (store_log_commit(l) != ERR_OK) return false;
    }
    *out = (double)batch * commits * 1e9 / (double)(bench_nsec() - t0);
    return true;
}

static bool limit(int fd, const uint8_t *bytes, unsigned batch, unsigned commits, double *out) {
    off_t at = 0;
    size_t n = (size_t)batch * PUT_BYTES;
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < commits; i++, at += (off_t)n) {
        if (at + (off_t)n > (off_t)FILE_BYTES) at = 0;
        if (pwrite(fd, bytes, n, at) != (ssize_t)n || fdatasync(fd) != 0) return false;
    }
    *out = (double)batch * commits * 1e9 / (double)(bench_nsec() - t0);
    return true;
}

static const struct {
    const char *key;
    unsigned batch, commits;
} RUNS[] = {{"batch_1", 1, 300}, {"batch_100", 100, 100}, {"batch_1000", 1000, 50}};

static bool rounds(const micro_cfg *c, store_log *l, uint64_t epoch, int fd) {
    uint8_t *bytes = mem_zalloc(1000u * PUT_BYTES);
    uint64_t counter = 0;
    bool ok = true;
    micro_row a[ARRAY_LEN(RUNS)] = {0}, b[ARRAY_LEN(RUNS)] = {0};
    for (unsigned i = 0; i < MICRO_ROUNDS && ok; i++)
        for (size_t j = 0; j < ARRAY_LEN(RUNS) && ok; j++) {
            double x = 0, y = 0;
            ok = limit(fd, bytes, RUNS[j].batch, RUNS[j].commits, &x) && ours(l, epoch, &counter, RUNS[j].batch, RUNS[j].commits, &y);
            micro_add(&b[j], x);
            micro_add(&a[j], y);
        }
    mem_free(bytes);
    if (!ok) return false;
    bench_report_begin(c->json, "log");
    for (size_t j = 0; j < ARRAY_LEN(RUNS); j++) micro_report(RUNS[j].key, "puts/s of 300 B", true, &a[j], &b[j]);
    bench_report_end();
    return true;
}

bool micro_log(const micro_cfg *c) {
    char dir[256], file[300], sub[300];
    (void)snprintf(dir, sizeof dir, "%.200s/murre-bench-XXXXXX", c->dir);
    sys *s;
    if (!mkdtemp(dir) || sys_linux_new(&s) != ERR_OK) {
        (void)fprintf(stderr, "murre-bench: %s: %s\n", dir, strerror(errno));
        return false;
    }
    (void)snprintf(file, sizeof file, "%s/limit", dir);
    (void)snprintf(sub, sizeof sub, "%s/log", dir);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    uint8_t *zero = mem_zalloc(1u << 20);
    bool ok = fd >= 0;
    for (unsigned i = 0; i < FILE_BYTES >> 20 && ok; i++) ok = write(fd, zero, 1u << 20) == 1 << 20;
    mem_free(zero);
    store_log_cfg cfg;
    store_log_cfg_default(&cfg);
    cfg.dir = sub;
    store_log *l = NULL;
    store_log_open_stat stat;
    ok = ok && fsync(fd) == 0 && store_log_open(s, &cfg, on_damage, NULL, &l, &stat) == ERR_OK && rounds(c, l, stat.epoch, fd);
    if (!ok) (void)fprintf(stderr, "murre-bench: log: %s\n", strerror(errno));
    store_log_close(l);
    if (fd >= 0) (void)close(fd);
    sys_linux_free(s);
    remove_tree(dir);
    return ok;
}

/* --- fill */
static err put_one(store_log *l, uint64_t epoch, uint64_t *counters, int64_t i, int64_t users, buf *packed) {
    char user[64], body[BODY_BYTES + 32], id[32];
    (void)snprintf(user, sizeof user, "u%lld@localhost", (long long)(i % users));
    (void)snprintf(id, sizeof id, "fill%lld", (long long)i);
    (void)snprintf(body, sizeof body, "<body>%-*lld</body>", (int)BODY_BYTES, (long long)i);
    const xmpp_env e = {.kind = XMPP_MESSAGE,
                        .type = XMPP_TYPE_CHAT,
                        .flags = XMPP_F_BODY | XMPP_F_PAYLOAD,
                        .from = SLICE("filler@localhost/bench"),
                        .to = slice_str(user),
                        .id = slice_str(id),
                        .inner = slice_str(body)};
    buf_reset(packed);
    xmpp_env_pack(packed, &e);
    unsigned p = store_partition(slice_str(user), PARTITIONS);
    uint64_t loc;
    return store_log_put(l, id_of(epoch, p, ++counters[p]), slice_str(user), buf_slice(packed), wall_now(), 0, 0, &loc);
}

int bench_fill(int argc, char **argv) {
    const char *dir = NULL;
    int64_t messages = 1000000, users = 10000;
    const bench_option options[] = {{"dir", BENCH_STR, &dir, "directory of the log: DATA/log", 0, 0},
                                    {"messages", BENCH_NUM, &messages, "1000000", 0, 0},
                                    {"users", BENCH_NUM, &users, "u0@localhost and on (10000)", 0, 0}};
    if (!bench_options(argc, argv, options, ARRAY_LEN(options)) || !dir || users < 1) return EXIT_FAILURE;
    sys *s;
    store_log_cfg cfg;
    store_log_cfg_default(&cfg);
    cfg.dir = dir;
    cfg.partitions = PARTITIONS;
    store_log *l = NULL;
    store_log_open_stat stat;
    if (sys_linux_new(&s) != ERR_OK) return EXIT_FAILURE;
    err e = store_log_open(s, &cfg, on_damage, NULL, &l, &stat);
    uint64_t counters[PARTITIONS] = {0};
    buf packed;
    buf_init(&packed, 4096);
    for (int64_t i = 0; i < messages && e == ERR_OK; i++) {
        e = put_one(l, stat.epoch, counters, i, users, &packed);
        if (e == ERR_OK && ((i + 1) % FILL_BATCH == 0 || i + 1 == messages)) e = store_log_commit(l);
    }
    buf_fini(&packed);
    store_log_close(l);
    sys_linux_free(s);
    if (e != ERR_OK) (void)fprintf(stderr, "murre-bench: fill: %s\n", err_text(e));
    return e == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
