/* powercut_load: a workload on the message log for tools/powercut, and its check.
 *
 *   powercut_load run DIR SEED           appends with group commit for ever; on standard output "+ id" when id is durable, "- id" before it
 * is deleted powercut_load verify DIR ACKED ALL   opens DIR and checks: every id of ACKED is there with its payload, unless ALL says that
 * it was being deleted; nothing is there that ALL or the open batch cannot explain powercut_load bench DIR COUNT        COUNT durable puts
 * of 300 B in batches of 100, then a new start; figures on standard output
 *
 * Exit status: 0 as promised, 1 a promise is broken (a line says which), 2 it could not be found out. */
#include "base/mem.h"
#include "base/prng.h"
#include "rt/sys.h"
#include "store/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define USER     "somebody@example.org"
#define BATCH    100u
#define LIVE_MAX 20000u

static err open_log(sys *s, const char *dir, store_log **out, store_log_open_stat *st) {
    store_log_cfg c;
    store_log_cfg_default(&c);
    c.dir = dir;
    c.segment_bytes = UINT64_C(1) << 20; /* many rotations and compactions in a short time */
    return store_log_open(s, &c, NULL, NULL, out, st);
}

static slice payload(uint64_t id, char out[600]) {
    size_t n = 100 + (size_t)(id * 7919 % 400);
    int head = snprintf(out, 600, "payload of %" PRIu64 ":", id);
    for (size_t i = (size_t)head; i < n; i++) out[i] = (char)('a' + (id + i) % 26);
    return slice_of(out, n);
}

typedef struct live { /* ids that are durable and not deleted, oldest first */
    uint64_t id[LIVE_MAX], loc[LIVE_MAX];
    size_t n;
} live;

static void moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    live *v = arg;
    (void)user;
    for (size_t i = 0; i < v->n; i++)
        if (v->id[i] == id) v->loc[i] = loc;
}

static void say(const char *text, size_t n) {
    while (n > 0) { /* one write a batch: what is printed is out of this process */
        ssize_t k = write(STDOUT_FILENO, text, n);
        if (k <= 0) exit(2);
        text += k;
        n -= (size_t)k;
    }
}

static err compact(store_log *l, sys *s, live *v) {
    /* Records carry old stamps here, so the window of origin-ids does not hold a segment back. */
    while (store_log_wants_compact(l, s->wall(s), false)) {
        uint64_t seg;
        err e = store_log_compact(l, moved, v, &seg);
        if (e == ERR_OK) e = store_log_drop(l, seg);
        if (e != ERR_OK) return e;
    }
    return ERR_OK;
}

static err delete_some(store_log *l, live *v, prng *r) {
    buf b;
    buf_init(&b, 1u << 20);
    size_t n = v->n > LIVE_MAX / 2 ? 150 : (size_t)prng_below(r, 120);
    if (n > v->n) n = v->n;
    for (size_t i = 0; i < n; i++) buf_addf(&b, "- %" PRIu64 "\n", v->id[i]);
    say((const char *)b.p, b.len);
    buf_fini(&b);
    err e = ERR_OK;
    for (size_t i = 0; i < n && e == ERR_OK; i++) e = store_log_del(l, v->id[i], v->loc[i]);
    v->n -= n;
    memmove(v->id, v->id + n, v->n * sizeof v->id[0]);
    memmove(v->loc, v->loc + n, v->n * sizeof v->loc[0]);
    return e;
}

static int run_load(sys *s, const char *dir, uint64_t seed) {
    store_log *l;
    store_log_open_stat st;
    prng r;
    prng_init(&r, seed);
    live *v = mem_zalloc(sizeof *v);
    err e = open_log(s, dir, &l, &st);
    uint64_t next = 1;
    while (e == ERR_OK) {
        size_t before = v->n, n = 1 + (size_t)prng_below(&r, BATCH);
        char text[600];
        for (size_t i = 0; i < n && e == ERR_OK; i++, next++) {
            v->id[v->n] = next;
            e = store_log_put(l, next, SLICE(USER), payload(next, text), 1, 0, 0, &v->loc[v->n]);
            v->n++;
        }
        if (e == ERR_OK) e = store_log_commit(l);
        if (e != ERR_OK) break;
        buf b;
        buf_init(&b, 1u << 20);
        for (size_t i = before; i < v->n; i++) buf_addf(&b, "+ %" PRIu64 "\n", v->id[i]);
        say((const char *)b.p, b.len);
        buf_fini(&b);
        if (prng_chance(&r, 1, 2)) e = delete_some(l, v, &r);
        if (e == ERR_OK) e = store_log_commit(l);
        if (e == ERR_OK && prng_chance(&r, 1, 8)) e = compact(l, s, v);
    }
    fprintf(stderr, "powercut_load: %s\n", err_name(e));
    return 2;
}

/* Marks ids of a file of lines; a half line at the end is none. */
static void read_ids(const char *path, uint8_t *seen, uint64_t max, uint8_t put, uint8_t del) {
    FILE *f = fopen(path, "r");
    char sign;
    uint64_t id;
    if (!f) exit(2);
    char line[64];
    while (fgets(line, sizeof line, f) && strchr(line, '\n'))
        if (sscanf(line, "%c %" SCNu64, &sign, &id) == 2 && id < max) seen[id] |= sign == '+' ? put : del;
    (void)fclose(f); /* it was read only */
}

enum { ACKED = 1, DELETING = 2, PRESENT = 4 };
#define IDS_MAX UINT64_C(20000000)

static int check_entry(store_log *l, const store_entry *e, uint8_t *seen) {
    char text[600];
    buf b;
    int64_t wall;
    buf_init(&b, 4096);
    err r = store_log_read(l, e->id, e->loc, &b, &wall);
    bool good = r == ERR_OK && e->id < IDS_MAX && slice_eq(buf_slice(&b), payload(e->id, text));
    if (good)
        seen[e->id] |= PRESENT;
    else
        printf("message %" PRIu64 " is not what was put: %s\n", e->id, err_name(r));
    buf_fini(&b);
    return good ? 0 : 1;
}

static int verify(sys *s, const char *dir, const char *acked, const char *all) {
    uint8_t *seen = mem_zalloc(IDS_MAX);
    read_ids(acked, seen, IDS_MAX, ACKED, 0);
    read_ids(all, seen, IDS_MAX, 0, DELETING);
    store_log *l;
    store_log_open_stat st;
    err e = open_log(s, dir, &l, &st);
    if (e != ERR_OK) {
        printf("the log does not open: %s\n", err_name(e));
        return 1;
    }
    store_index *x;
    e = store_log_index(l, 0, 1, &x);
    if (e != ERR_OK) return 2;
    int bad = 0;
    for (size_t i = 0; i < x->n_entries; i++) bad |= check_entry(l, &x->entries[i], seen);
    size_t n = 0, lost = 0;
    for (uint64_t id = 0; id < IDS_MAX; id++) {
        if (!(seen[id] & ACKED)) continue;
        n++;
        if (seen[id] & (DELETING | PRESENT)) continue;
        if (lost++ < 5) printf("acked message %" PRIu64 " is lost\n", id);
    }
    if (st.damaged) printf("%" PRIu64 " records are taken for damaged\n", st.damaged);
    printf("%zu acked, %zu there, %zu lost, %" PRIu64 " bytes cut\n", n, x->n_entries, lost, st.cut_bytes);
    x->box.free(&x->box);
    store_log_close(l);
    mem_free(seen);
    return bad || lost || st.damaged;
}

static int bench(sys *s, const char *dir, uint64_t count) {
    store_log *l;
    store_log_open_stat st;
    store_log_cfg c;
    store_log_cfg_default(&c);
    c.dir = dir;
    if (store_log_open(s, &c, NULL, NULL, &l, &st) != ERR_OK) return 2;
    char env[300], user[64];
    memset(env, 'e', sizeof env);
    usec from = s->mono(s);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t loc;
        int n = snprintf(user, sizeof user, "user%" PRIu64 "@example.org", i % 100000);
        if (store_log_put(l, i, slice_of(user, (size_t)n), slice_of(env, sizeof env), s->wall(s), i, 1, &loc) != ERR_OK) return 2;
        if (i % BATCH == BATCH - 1 && store_log_commit(l) != ERR_OK) return 2;
    }
    if (store_log_commit(l) != ERR_OK) return 2;
    double took = (double)(s->mono(s) - from) / 1e6;
    printf("%" PRIu64 " durable puts of 300 B in batches of %u: %.3f s, %.0f per s\n", count, BATCH, took, (double)count / took);
    store_log_close(l);
    from = s->mono(s);
    if (store_log_open(s, &c, NULL, NULL, &l, &st) != ERR_OK) return 2;
    usec opened = s->mono(s);
    store_index *x;
    if (store_log_index(l, 0, 1, &x) != ERR_OK) return 2;
    printf("start: %" PRIu64 " records read in %.3f s, index of %zu entries and %zu users in %.3f s\n", st.records,
           (double)(opened - from) / 1e6, x->n_entries, x->n_users, (double)(s->mono(s) - opened) / 1e6);
    x->box.free(&x->box);
    store_log_close(l);
    return 0;
}

int main(int argc, char **argv) {
    sys *s;
    if (argc < 4 || sys_linux_new(&s) != ERR_OK) return 2;
    int status = 2;
    if (!strcmp(argv[1], "run")) status = run_load(s, argv[2], strtoull(argv[3], NULL, 10));
    if (!strcmp(argv[1], "verify") && argc == 5) status = verify(s, argv[2], argv[3], argv[4]);
    if (!strcmp(argv[1], "bench")) status = bench(s, argv[2], strtoull(argv[3], NULL, 10));
    sys_linux_free(s);
    return status;
}
