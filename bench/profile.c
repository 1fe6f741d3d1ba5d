/* profile: see profile.h. `murre-bench profile NAME`: the node, its life, and the table at its end. */
#include "profile.h"

#include "base/mem.h"
#include "rt/msacc.h"
#include "rt/stat.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NSEC  20000000 /* between looks whether it is over */
#define TABLE_MAX  (1u << 20)
#define PATH_BYTES 512

static const profile_load *const LOADS[] = {&profile_healthy, &profile_starved, &profile_hot,  &profile_slow_pool, &profile_stuck,
                                            &profile_convoy,  &profile_seed,    &profile_leak, &profile_long,      &profile_flood};

RT_MSG_FIELDS(PROFILE_WORK, profile_work, "asks for a piece of work")
RT_MSG_FIELDS(PROFILE_DONE, profile_done, "a piece of work is done")
static const rt_msg_desc MSGS[] = {RT_MSG_DESC(PROFILE_WORK, profile_work, "asks for a piece of work")
                                       RT_MSG_DESC(PROFILE_DONE, profile_done, "a piece of work is done")};

/* --- for the loads */
typedef struct spawning {
    const rt_class *cls;
    const void *arg;
    rt_pid pid;
} spawning;
static void spawn(rt_ctx *cx, void *arg) {
    spawning *y = arg;
    if (rt_spawn(cx, y->cls, y->arg, 0, &y->pid, NULL) != ERR_OK) panic("no actor");
}
rt_pid profile_spawn(profile *p, unsigned shard, const rt_class *c, const void *arg) {
    spawning y = {.cls = c, .arg = arg};
    rt_node_boot(p->n, shard % rt_node_shards(p->n), spawn, &y);
    return y.pid;
}

void profile_send(rt_ctx *cx, rt_pid to, uint16_t tag, uint64_t n) {
    bool work = tag == PROFILE_WORK;
    rt_msg *m = rt_msg_new(cx, tag, work ? sizeof(profile_work) : sizeof(profile_done));
    if (work)
        *profile_work_of(m) = (profile_work){rt_self(cx), n};
    else
        profile_done_of(m)->n = n;
    rt_send(cx, to, &m);
}

typedef struct filling {
    rt_pid to;
    uint64_t n;
} filling;
static void fill(rt_ctx *cx, void *arg) {
    const filling *f = arg;
    for (uint64_t i = 0; i < f->n; i++) profile_send(cx, f->to, PROFILE_WORK, i);
}
void profile_fill(profile *p, rt_pid to, uint64_t n) { rt_node_boot(p->n, rt_pid_shard(to), fill, &(filling){to, n}); }

void profile_round(profile *p) { (void)atomic_fetch_add_explicit(&p->done, 1, memory_order_relaxed); }
bool profile_over(const profile *p) { return atomic_load_explicit(&p->over, memory_order_acquire); }

void profile_burn(unsigned units) {
    static const uint8_t block[512];
    static const hash_key key = {1, 2};
    volatile uint64_t sink = 0; /* the work is wanted, its result is not */
    for (unsigned i = 0; i < units; i++) sink ^= hash_bytes(&key, slice_of(block, sizeof block));
}

/* --- what murrectl top and record ask, beside the runtime's own verbs */
static err node_show(rt_verb_call *c) {
    val *v = c->result = val_map(c->arena);
    val_set(c->arena, v, "name", val_str(c->arena, slice_str(rt_node_config(c->node)->name)));
    val_set(c->arena, v, "pid", val_int(c->arena, getpid()));
    val_set(c->arena, v, "recorder", val_str(c->arena, slice_str(rt_node_config(c->node)->recorder_path)));
    return ERR_OK;
}

static err load_read(rt_verb_call *c) {
    val *v = c->result = val_map(c->arena);
    sys *s = rt_node_sys(c->node);
    const profile *p = rt_node_env(c->node);
    val_set(c->arena, v, "uptime_sec", val_int(c->arena, (s->mono(s) - p->started) / USEC_PER_SEC));
    val_set(c->arena, v, "actors", val_int(c->arena, rt_stat_actor_count(c->node)));
    val_set(c->arena, v, "name", val_str(c->arena, slice_str(rt_node_config(c->node)->name)));
    val_set(c->arena, v, "pid", val_int(c->arena, getpid()));
    rt_verb_load(c, v);
    return ERR_OK;
}
static const rt_verb VERBS[] = {
    {"node", "show", 0, 0, RT_READS, node_show, "node", "shows the process and where its recorder is"},
    {"load", "read", 0, 0, RT_READS, load_read, "load", "shows all counts since the start at one moment"},
};

/* --- its life */
/* The table as murrectl msacc print threads shows it. */
static bool print_table(profile *p) {
    const rt_verb *v = rt_node_verb(p->n, SLICE("msacc"), SLICE("print"), 1);
    arena a;
    buf text;
    arena_init(&a, TABLE_MAX);
    buf_init(&text, TABLE_MAX);
    rt_verb_call call = {.node = p->n, .args = {SLICE("threads")}, .n_args = 1, .arena = &a};
    bool ok = v && v->fn(&call) == ERR_OK;
    if (ok) val_lines(call.result, &text);
    ok = ok && !text.failed && fwrite(text.p, 1, text.len, stdout) == text.len;
    buf_fini(&text);
    arena_fini(&a);
    return ok;
}

static bool interrupted(const sigset_t *signals, const struct timespec *wait) { return sigtimedwait(signals, NULL, wait) > 0; }

/* False: interrupted before it was ready. */
static bool run(profile *p, const sigset_t *signals, const char *ctl) {
    static const struct timespec wait = {.tv_nsec = WAIT_NSEC};
    while (atomic_load_explicit(&p->done, memory_order_relaxed) < p->what->warm)
        if (interrupted(signals, &wait)) return false;
    rt_msacc_reset(p->n);
    uint64_t from = atomic_load_explicit(&p->done, memory_order_relaxed), until = bench_nsec() + (uint64_t)p->seconds * 1000000000u;
    (void)printf("profile %s\nctl %s\nready\n", p->what->name, ctl);
    (void)fflush(stdout);
    for (;;) {
        if (interrupted(signals, &wait)) return true;
        if (p->seconds && bench_nsec() >= until) return true;
        if (p->rounds && atomic_load_explicit(&p->done, memory_order_relaxed) - from >= (uint64_t)p->rounds) return true;
    }
}

static int live(profile *p, const char *ctl, const char *recorder) {
    sigset_t signals, before;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, &before); /* in every thread that is started from here on */
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.name = p->what->name;
    c.shards = (unsigned)p->shards;
    c.spin = 0; /* as murre's default */
    c.ctl_path = ctl;
    c.recorder_path = recorder;
    c.stuck_limit = 0; /* what is stuck on purpose can be looked at for as long as it takes */
    if (p->what->configure) p->what->configure(p, &c);
    err e = rt_node_new(&c, p->s, NULL, &p->n);
    if (e) {
        (void)fprintf(stderr, "murre-bench: no node: %s\n", err_text(e));
        return EXIT_FAILURE;
    }
    p->started = p->s->mono(p->s);
    rt_node_set_env(p->n, p);
    rt_node_add_msgs(p->n, MSGS, ARRAY_LEN(MSGS));
    rt_node_add_verbs(p->n, rt_verbs, rt_verbs_count);
    rt_node_add_verbs(p->n, VERBS, ARRAY_LEN(VERBS));
    lock_init(&p->lock, rt_node_locks(p->n), p->what->name, 0, LOCK_RANK_TEST);
    p->what->boot(p);
    e = rt_node_start(p->n);
    if (e) (void)fprintf(stderr, "murre-bench: the node does not start: %s\n", err_text(e));
    bool ok = !e && (!p->what->begin || p->what->begin(p));
    if (ok && run(p, &signals, ctl)) {
        ok = print_table(p);
        if (p->what->report) p->what->report(p);
    }
    atomic_store_explicit(&p->over, true, memory_order_release);
    if (p->what->end) p->what->end(p);
    rt_node_stop(p->n);
    lock_fini(&p->lock);
    rt_node_free(p->n);
    if (p->what->free) p->what->free(p);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return ok && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int in_directory(profile *p) {
    char own[] = "/tmp/murre-profile-XXXXXX", ctl[PATH_BYTES], recorder[PATH_BYTES];
    const char *dir = p->dir ? p->dir : mkdtemp(own);
    if (!dir || strlen(dir) > PATH_BYTES - 32) {
        (void)fprintf(stderr, "murre-bench: no directory: %s\n", dir ? "its path is too long" : strerror(errno));
        return EXIT_FAILURE;
    }
    struct stat st;
    int bad = stat(dir, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    if (bad) {
        (void)fprintf(stderr, "murre-bench: no directory: %s: %s\n", dir, strerror(bad));
        return EXIT_FAILURE;
    }
    (void)snprintf(ctl, sizeof ctl, "%s/ctl.sock", dir);
    (void)snprintf(recorder, sizeof recorder, "%s/recorder", dir);
    if (sys_linux_new(&p->s) != ERR_OK) return EXIT_FAILURE;
    if (!p->dir) p->dir = dir;
    int status = live(p, ctl, recorder);
    sys_linux_free(p->s);
    if (dir != own) return status;
    (void)unlink(recorder); /* the socket went with the node; what is left behind in the directory keeps it */
    (void)rmdir(own);
    return status;
}

static const profile_load *load_named(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(LOADS); i++)
        if (strcmp(LOADS[i]->name, name) == 0) return LOADS[i];
    return NULL;
}

/* One of the words of a list that is separated by bars; NULL is its first one. */
static bool is_one_of(const char *list, const char *word) {
    if (!list || !word) return !word;
    for (slice rest = slice_str(list); rest.len;) {
        size_t end = slice_find(rest, '|');
        if (slice_is(slice_sub(rest, 0, end), word)) return true;
        rest = end < rest.len ? slice_from(rest, end + 1) : SLICE_NULL;
    }
    return false;
}

int bench_profile(int argc, char **argv) {
    profile p = {.shards = 2};
    const bench_option options[] = {
        {"dir", BENCH_STR, &p.dir, "directory for the control socket and the recorder (a temporary one)", 0, 0},
        {"shards", BENCH_NUM, &p.shards, "threads that run actors (2)", 1, RT_SHARDS_MAX},
        {"seconds", BENCH_NUM, &p.seconds, "ends after this long (0: when interrupted)", 0, 86400},
        {"rounds", BENCH_NUM, &p.rounds, "ends after so many rounds of work (0: when interrupted)", 0, INT64_MAX},
        {"size", BENCH_NUM, &p.size, "messages, entries, relations: what the profile has many of", 1, 100000000},
        {"how", BENCH_STR, &p.how, "a variant", 0, 0},
    };
    p.what = argc > 0 ? load_named(argv[0]) : NULL;
    if (!p.what) {
        if (argc > 0) (void)fprintf(stderr, "murre-bench: there is no profile '%s'\n", argv[0]);
        (void)fputs("usage: murre-bench profile NAME [--dir DIR] [--shards N] [--seconds N | --rounds N] [--size N] [--how VARIANT]\n",
                    stderr);
        for (size_t i = 0; i < ARRAY_LEN(LOADS); i++)
            (void)fprintf(stderr, "  %-13s %s%s%s\n", LOADS[i]->name, LOADS[i]->doc, LOADS[i]->hows ? "; --how " : "",
                          LOADS[i]->hows ? LOADS[i]->hows : "");
        return EXIT_FAILURE;
    }
    if (!bench_options(argc - 1, argv + 1, options, ARRAY_LEN(options))) return EXIT_FAILURE;
    if (!is_one_of(p.what->hows, p.how)) {
        if (p.what->hows)
            (void)fprintf(stderr, "murre-bench: --how of %s is %s, not '%s'\n", p.what->name, p.what->hows, p.how);
        else
            (void)fprintf(stderr, "murre-bench: %s has no --how\n", p.what->name);
        return EXIT_FAILURE;
    }
    if (!p.size) p.size = p.what->size;
    return in_directory(&p);
}
