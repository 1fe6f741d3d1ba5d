/* metrics: see metrics.h.
 *
 *     scrape.c's thread:  relaxed loads of counters that shards keep anyway ----------------------------> text
 *                         answers of actors: at most MAIN_METRICS_ASK, kept between scrapes (part) --/
 *
 * Invariants: (1) nothing here waits for a shard without a limit, and a limit that was met is seen in the text. (2) A family is whole or
 * absent: a sum over partitions of which one did not answer is not shown. (3) A counter never goes down while the node runs, except thread
 * seconds when an operator resets them. (4) Families have their metadata once and their samples together (OpenMetrics 1.0). */
#include "main/metrics.h"

#include "base/mem.h"
#include "edge/edge.h"
#include "main/compose.h"
#include "main/openmetrics.h"
#include "mesh/mesh.h"
#include "rt/contend.h"
#include "rt/event.h"
#include "rt/maps.h"
#include "rt/memory.h"
#include "rt/msacc.h"
#include "rt/pool.h"
#include "rt/stat.h"
#include "rt/workers.h"
#include "store/store.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FAMILY_ROOM      96
#define PER_NSEC         UINT64_C(1000000000) /* of a second */
#define PER_USEC         UINT64_C(1000000)
#define LOCK_CLASSES_MAX 32u   /* names in the source: some ten */
#define THREADS_MAX      2048u /* accounts that are read: 64 shards and all threads of all pools */
#define KEEP_MIN         USEC_PER_SEC
#define KEEP_FAILED      (5 * USEC_PER_SEC) /* until one that did not answer is asked again */

typedef enum part_id { PART_LOG, PART_PARTITIONS, PART_TABLES, PART_PROCESS, PARTS } part_id;
typedef struct part { /* of the answers that take asking */
    bool whole;       /* the values below are those of `at` */
    usec at, again;   /* when it was asked, and when it will be; 0: never yet */
} part;
typedef enum partition_sum { SUM_SESSIONS, SUM_ACCOUNTS, SUM_MESSAGES, SUM_BYTES, SUM_ORIGIN_IDS, SUMS } partition_sum;

struct main_metrics {
    rt_node *node;
    usec born_wall; /* the process's, as far as we know */
    part parts[PARTS];
    struct {
        uint64_t live, live_bytes, total_bytes, segments, damaged, waiting;
        bool full;
    } log;
    uint64_t sums[SUMS];
    rt_maps_size tables[RT_MAPS_NAMES];
    size_t n_tables;
    uint64_t fds, resident;
    usec took; /* the scrape before */
    rt_msacc_row *rows;
};

/* --- what must be asked for ------------------------------------------------------------------------------------------------------ */
static usec left(main_metrics *m, usec end) {
    sys *s = rt_node_sys(m->node);
    usec now = s->mono(s);
    return end > now ? end - now : 0;
}

static bool ask(main_metrics *m, rt_pid to, rt_msg **q, usec end, rt_msg **out) {
    usec limit = left(m, end);
    if (limit == 0) rt_msg_drop(m->node, q);
    return limit > 0 && rt_call(m->node, to, q, limit, out) == ERR_OK;
}

static bool ask_log(main_metrics *m, usec end) {
    rt_msg *q = rt_msg_new_ext(STORE_STAT, sizeof(store_stat)), *r = NULL;
    if (!ask(m, rt_name_whereis(m->node, STORE_LOG_NAME), &q, end, &r)) return false;
    const store_status *st = store_status_of(r);
    m->log.live = st->live;
    m->log.live_bytes = st->live_bytes;
    m->log.total_bytes = st->total_bytes;
    m->log.segments = st->segments;
    m->log.damaged = st->damaged;
    m->log.waiting = st->waiting;
    m->log.full = st->full;
    rt_msg_drop(m->node, &r);
    return true;
}

static const struct {
    const char *key, *name, *unit, *help;
} sum_rows[SUMS] = {
    [SUM_SESSIONS] = {"sessions", "murre_partition_sessions", "", "sessions that partitions know, connected or resumable"},
    [SUM_ACCOUNTS] = {"accounts_in_memory", "murre_accounts_in_memory", "", "accounts in memory, those of unknown addresses too"},
    [SUM_MESSAGES] = {"messages", "murre_kept_messages", "", "messages kept for accounts and not delivered yet"},
    [SUM_BYTES] = {"message_bytes", "murre_kept_bytes", "bytes", "bytes of messages kept for accounts and not delivered yet"},
    [SUM_ORIGIN_IDS] = {"origin_ids", "murre_origin_ids", "", "origin-ids that are remembered"},
};

static bool ask_partitions(main_metrics *m, usec end) {
    const main_env *env = rt_node_env(m->node);
    uint64_t sums[SUMS] = {0};
    for (unsigned i = 0; i < env->svc.cfg->partitions; i++) {
        rt_msg *q = rt_msg_new_ext(SVC_ADMIN, sizeof(svc_admin)), *r = NULL;
        svc_admin_of(q)->op = SVC_ADMIN_STATUS;
        if (!ask(m, svc_partition_at(m->node, i), &q, end, &r)) return false;
        const svc_admin_reply *a = svc_admin_reply_of(r);
        bool good = a->status == ERR_OK && a->result;
        const val *v = good ? container_of(a->result, svc_result, box)->value : NULL;
        for (unsigned k = 0; good && k < SUMS; k++) {
            int64_t one;
            if (val_get_int(v, sum_rows[k].key, &one) && one > 0) sums[k] += (uint64_t)one;
        }
        rt_msg_drop(m->node, &r);
        if (!good) return false;
    }
    memcpy(m->sums, sums, sizeof sums);
    return true;
}

static void merge_tables(main_metrics *m, const rt_maps_size *of, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < m->n_tables && strcmp(m->tables[k].name, of[i].name) != 0) k++;
        if (!check(k < RT_MAPS_NAMES)) return;
        if (k == m->n_tables) m->tables[m->n_tables++] = (rt_maps_size){.name = of[i].name};
        m->tables[k].tables += of[i].tables;
        m->tables[k].entries += of[i].entries;
        m->tables[k].buckets += of[i].buckets;
    }
}

static bool ask_tables(main_metrics *m, usec end) {
    m->n_tables = 0;
    for (unsigned i = 0; i < rt_node_shards(m->node); i++) {
        rt_maps_size of[RT_MAPS_NAMES];
        size_t n;
        usec limit = left(m, end);
        if (limit == 0 || rt_maps_sizes(m->node, i, limit, of, &n) != ERR_OK) return false;
        merge_tables(m, of, n);
    }
    return true;
}

/* The kernel counts pages of memory and lists descriptors in proc(5); with many of these the list takes a while. */
static bool ask_process(main_metrics *m, usec end) {
    (void)end;
    unsigned long long pages;
    FILE *f = fopen("/proc/self/statm", "re");
    bool good = f && fscanf(f, "%*u %llu", &pages) == 1;
    if (f) (void)fclose(f);
    DIR *d = opendir("/proc/self/fd");
    if (!good || !d) {
        if (d) (void)closedir(d);
        return false;
    }
    uint64_t n = 0;
    for (const struct dirent *x; (x = readdir(d));) n += x->d_name[0] != '.';
    (void)closedir(d);
    m->fds = n - 1; /* the one that has just read the list */
    m->resident = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

static const struct {
    const char *name;
    bool (*ask)(main_metrics *m, usec end);
    bool messaging; /* it is there on a node with that role only */
} part_rows[PARTS] = {
    [PART_LOG] = {"log", ask_log, true},
    [PART_PARTITIONS] = {"partitions", ask_partitions, true},
    [PART_TABLES] = {"tables", ask_tables, false},
    [PART_PROCESS] = {"process", ask_process, false},
};

static bool is_there(const main_metrics *m, unsigned i) {
    const main_env *env = rt_node_env(m->node);
    return env->messaging || !part_rows[i].messaging;
}

static void ask_all(main_metrics *m) {
    sys *s = rt_node_sys(m->node);
    usec now = s->mono(s), end = now + MAIN_METRICS_ASK;
    for (unsigned i = 0; i < PARTS; i++) {
        part *p = &m->parts[i];
        usec start = s->mono(s);
        if (start < p->again || !is_there(m, i)) continue;
        p->whole = part_rows[i].ask(m, end);
        p->at = s->mono(s);
        usec keep = (p->at - start) * MAIN_METRICS_DUTY, least = p->whole ? KEEP_MIN : KEEP_FAILED;
        p->again = p->at + (p->whole && keep > least ? keep : least);
    }
}

/* --- what is shown --------------------------------------------------------------------------------------------------------------- */
static void add_memory(const main_metrics *m, buf *out) {
    rt_memory mem;
    rt_memory_read(m->node, &mem);
    main_om_gauge(out, "murre_memory_used_bytes", "bytes", "memory that counts against the nearest limit", mem.used);
    main_om_gauge(out, "murre_memory_limit_bytes", "bytes", "that limit: of a control group, the machine, or memory.limit", mem.limit);
    main_om_gauge(out, "murre_memory_shedding", "", "1: nothing more is taken in until there is memory again", mem.tight);
}

static void add_node(main_metrics *m, buf *out) {
    const main_env *env = rt_node_env(m->node);
    main_om_family(out, "murre_build", "info", "", "the program, and the name of this node");
    main_om_label version = {"version", env->svc.cfg->version}, name = {"node", rt_node_config(m->node)->name};
    main_om_sample(out, "murre_build_info", version, name, 1);
    main_om_gauge(out, "murre_ready", "", "1 once everything is recovered and messages are served",
                  !env->messaging || svc_ready(m->node, env->svc.cfg));
    add_memory(m, out);
    main_om_gauge(out, "murre_sessions", "", "client connections that have not ended, resumable ones too", edge_session_count(m->node));
}

static void add_links(main_metrics *m, buf *out) {
    const main_env *env = rt_node_env(m->node);
    const mesh *k = env->compose ? compose_mesh(env->compose) : NULL;
    mesh_load load = {0};
    if (k) mesh_load_read(k, &load);
    main_om_gauge(out, "murre_links", "", "nodes of the cluster that are connected", load.links);
    main_om_gauge(out, "murre_links_busy", "", "of those: more waits for them than node.link_bytes", load.busy);
    main_om_gauge(out, "murre_links_waiting_bytes", "bytes", "what waits for all of them", load.bytes);
}

typedef struct shard_row {
    const char *name, *type, *unit, *help;
    size_t offset; /* of a uint64_t in rt_shard_stat */
} shard_row;
static const shard_row shard_rows[] = {
    {"murre_actors", "gauge", "", "actors that are alive", offsetof(rt_shard_stat, actors)},
    {"murre_queued_messages", "gauge", "", "messages that wait in mailboxes", offsetof(rt_shard_stat, messages.queued)},
    {"murre_queued_bytes", "gauge", "bytes", "bytes of messages that wait in mailboxes", offsetof(rt_shard_stat, messages.bytes)},
    {"murre_queued_messages_longest", "gauge", "", "most messages that ever waited in mailboxes at a time",
     offsetof(rt_shard_stat, messages.longest)},
    {"murre_mailbox_in", "counter", "", "messages put into mailboxes", offsetof(rt_shard_stat, messages.enqueued)},
    {"murre_mailbox_out", "counter", "", "messages taken out of mailboxes", offsetof(rt_shard_stat, messages.dequeued)},
    {"murre_signals", "counter", "", "signals (exits, downs, links) that were handled", offsetof(rt_shard_stat, signals.dequeued)},
};

static void add_shards(main_metrics *m, buf *out) {
    rt_shard_stat st[RT_SHARDS_MAX];
    unsigned n = rt_node_shards(m->node);
    for (unsigned i = 0; i < n; i++) rt_stat_shard(m->node, i, &st[i]);
    main_om_gauge(out, "murre_shards", "", "shards: threads that run actors", n);
    for (size_t k = 0; k < ARRAY_LEN(shard_rows); k++) {
        const shard_row *r = &shard_rows[k];
        char name[FAMILY_ROOM], id[16];
        main_om_family(out, r->name, r->type, r->unit, r->help);
        (void)snprintf(name, sizeof name, "%s%s", r->name, r->type[0] == 'c' ? "_total" : "");
        for (unsigned i = 0; i < n; i++) {
            (void)snprintf(id, sizeof id, "%u", i);
            main_om_sample(out, name, (main_om_label){"shard", id}, MAIN_OM_NO_LABEL,
                           *(const uint64_t *)(const void *)((const char *)&st[i] + r->offset));
        }
    }
}

static void add_times(main_metrics *m, buf *out) {
    rt_times t = {0};
    rt_stat_times(m->node, &t);
    main_om_family(out, "murre_handler_seconds", "histogram", "seconds", "time of message handlers, of one turn of an actor in 64");
    main_om_histogram(out, "murre_handler_seconds", MAIN_OM_NO_LABEL, PER_NSEC, &t.handler_nsec);
    main_om_family(out, "murre_run_queue_seconds", "histogram", "seconds", "waits of actors that have messages for their turn, one in 64");
    main_om_histogram(out, "murre_run_queue_seconds", MAIN_OM_NO_LABEL, PER_NSEC, &t.ready_nsec);
    main_om_family(out, "murre_turn_messages", "histogram", "", "messages in the mailbox of an actor when its turn comes, one in 64");
    main_om_histogram(out, "murre_turn_messages", MAIN_OM_NO_LABEL, 1, &t.turn_messages);
}

/* Threads of a pool are one row, so that the number of rows does not depend on settings but for the shards. */
static void thread_name(const rt_msacc_row *r, char out[32]) {
    unsigned kind = r->id >> 8;
    if (r->type == RT_MSACC_POOL && kind < RT_POOL_KINDS)
        (void)snprintf(out, 32, "pool %s", rt_pool_kind_name((rt_pool_kind)kind));
    else if (r->type == RT_MSACC_SHARD)
        (void)snprintf(out, 32, "shard %u", r->id);
    else
        (void)snprintf(out, 32, "%s", rt_msacc_type_name(r->type));
}

static void add_threads(main_metrics *m, buf *out) {
    sys *s = rt_node_sys(m->node);
    size_t n = rt_msacc_read(m->node, m->rows, THREADS_MAX);
    uint64_t per_usec = s->cycles_per_sec(s) / (uint64_t)USEC_PER_SEC;
    main_om_family(out, "murre_thread_seconds", "counter", "seconds", "time of each thread, or of all threads of a pool, by what it did");
    for (size_t i = 0; i < n;) {
        char name[32], next[32];
        uint64_t cycles[RT_MSACC_STATES] = {0};
        thread_name(&m->rows[i], name);
        do {
            for (unsigned k = 0; k < RT_MSACC_STATES; k++) cycles[k] += m->rows[i].cycles[k];
            if (++i < n) thread_name(&m->rows[i], next);
        } while (i < n && strcmp(name, next) == 0);
        for (unsigned k = 0; k < RT_MSACC_STATES; k++)
            main_om_seconds(out, "murre_thread_seconds_total", (main_om_label){"thread", name},
                            (main_om_label){"state", rt_msacc_state_name((rt_msacc_state)k)},
                            (usec)(cycles[k] / (per_usec ? per_usec : 1)));
    }
}

typedef struct pool_row {
    const char *name, *help;
    size_t offset; /* of a uint32_t in rt_pool_stat */
} pool_row;
static const pool_row pool_rows[] = {
    {"murre_pool_threads", "threads of the pool", offsetof(rt_pool_stat, threads)},
    {"murre_pool_queued", "jobs that wait", offsetof(rt_pool_stat, queued)},
    {"murre_pool_running", "jobs that run", offsetof(rt_pool_stat, running)},
    {"murre_pool_held", "jobs that wait for another one of their key", offsetof(rt_pool_stat, held)},
    {"murre_pool_stuck", "threads in a job that was reported as stuck", offsetof(rt_pool_stat, stuck)},
};

static void add_pools(main_metrics *m, buf *out) {
    rt_pool_stat st[RT_POOL_KINDS];
    main_om_label pool[RT_POOL_KINDS];
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        rt_pool_stats(m->node, (rt_pool_kind)i, &st[i]); /* under the pool's lock, for a copy */
        pool[i] = (main_om_label){"pool", rt_pool_kind_name((rt_pool_kind)i)};
    }
    for (size_t k = 0; k < ARRAY_LEN(pool_rows); k++) {
        main_om_family(out, pool_rows[k].name, "gauge", "", pool_rows[k].help);
        for (unsigned i = 0; i < RT_POOL_KINDS; i++)
            main_om_sample(out, pool_rows[k].name, pool[i], MAIN_OM_NO_LABEL,
                           *(const uint32_t *)(const void *)((const char *)&st[i] + pool_rows[k].offset));
    }
    main_om_family(out, "murre_pool_jobs", "counter", "",
                   "jobs by their end: done, past the deadline before the start, or refused: queue full");
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        main_om_sample(out, "murre_pool_jobs_total", pool[i], (main_om_label){"end", "done"}, st[i].done);
        main_om_sample(out, "murre_pool_jobs_total", pool[i], (main_om_label){"end", "expired"}, st[i].expired);
        main_om_sample(out, "murre_pool_jobs_total", pool[i], (main_om_label){"end", "refused"}, st[i].refused);
    }
}

static void add_pool_times(main_metrics *m, buf *out) {
    rt_pool_times t[RT_POOL_KINDS] = {0};
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) rt_pool_times_read(m->node, (rt_pool_kind)i, &t[i]);
    main_om_family(out, "murre_pool_wait_seconds", "histogram", "seconds", "waits of jobs for a thread of their pool");
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        main_om_label pool = {"pool", rt_pool_kind_name((rt_pool_kind)i)};
        main_om_histogram(out, "murre_pool_wait_seconds", pool, PER_USEC, &t[i].wait_usec);
    }
    main_om_family(out, "murre_pool_run_seconds", "histogram", "seconds", "run time of jobs");
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        main_om_label pool = {"pool", rt_pool_kind_name((rt_pool_kind)i)};
        main_om_histogram(out, "murre_pool_run_seconds", pool, PER_USEC, &t[i].run_usec);
    }
}

typedef struct worker_row {
    const char *name, *type, *help;
    size_t offset;  /* in rt_workers_stat */
    bool wide;      /* of a uint64_t; else of a uint32_t */
    bool idle_only; /* nobody counts it in a pool by key */
} worker_row;
static const worker_row worker_rows[] = {
    {"murre_workers", "gauge", "workers of the pool", offsetof(rt_workers_stat, workers), false, false},
    {"murre_workers_busy", "gauge", "workers that have work", offsetof(rt_workers_stat, busy), false, false},
    {"murre_workers_stuck", "gauge", "workers that take too long for one piece of work", offsetof(rt_workers_stat, stuck), false, false},
    {"murre_workers_down", "gauge", "workers that are being restarted, or were given up", offsetof(rt_workers_stat, down), false, false},
    {"murre_workers_queued", "gauge", "messages that wait with a dispatcher for an idle worker", offsetof(rt_workers_stat, queued), true,
     false},
    {"murre_workers_sent", "counter", "messages that came to dispatchers", offsetof(rt_workers_stat, sent), true, true},
    {"murre_workers_begun", "counter", "messages that a worker has begun", offsetof(rt_workers_stat, begun), true, false},
    {"murre_workers_expired", "counter", "messages past their deadline before they were begun", offsetof(rt_workers_stat, expired), true,
     false},
    {"murre_workers_refused", "counter", "messages that came back because there was no room or no worker",
     offsetof(rt_workers_stat, refused), true, false},
    {"murre_workers_lost", "counter", "messages lost with a worker that ended in their midst", offsetof(rt_workers_stat, lost), true,
     false},
};

static uint64_t worker_sum(const rt_workers *p, const worker_row *r) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt_workers_rows(p); i++) {
        rt_workers_stat st;
        rt_workers_look(p, i, &st);
        const void *at = (const char *)&st + r->offset;
        sum += r->wide ? *(const uint64_t *)at : *(const uint32_t *)at;
    }
    return sum;
}

static void add_workers(main_metrics *m, buf *out) {
    for (size_t k = 0; k < ARRAY_LEN(worker_rows); k++) {
        const worker_row *r = &worker_rows[k];
        char name[FAMILY_ROOM];
        main_om_family(out, r->name, r->type, "", r->help);
        (void)snprintf(name, sizeof name, "%s%s", r->name, r->type[0] == 'c' ? "_total" : "");
        for (const rt_workers *p = NULL; (p = rt_workers_next(m->node, p)) != NULL;)
            if (!r->idle_only || rt_workers_mode_of(p) == RT_WORKERS_IDLE)
                main_om_sample(out, name, (main_om_label){"workers", rt_workers_name(p)}, MAIN_OM_NO_LABEL, worker_sum(p, r));
    }
}

/* --- locks, and what does without ------------------------------------------------------------------------------------------------ */
typedef struct lock_class {
    const char *name;
    uint64_t tries, wait_cycles;
    rt_tally_sum waits; /* microseconds */
} lock_class;
typedef struct lock_classes {
    size_t n;
    lock_class at[LOCK_CLASSES_MAX];
} lock_classes;

/* The first buckets of a lock's waits end where those of a tally do; its last one has no end either. */
static void add_lock(void *arg, const lock *l) {
    lock_classes *c = arg;
    size_t i = 0;
    while (i < c->n && strcmp(c->at[i].name, l->name) != 0) i++;
    if (!check(i < LOCK_CLASSES_MAX)) return;
    if (i == c->n) c->at[c->n++] = (lock_class){.name = l->name};
    lock_class *x = &c->at[i];
    lock_counts sum = lock_counted(l);
    x->tries += sum.tries;
    x->wait_cycles += sum.wait_cycles;
    for (const lock_site *s = atomic_load_explicit(&l->sites, memory_order_acquire); s; s = s->next) /* partner: lock.c, find_site */
        for (unsigned k = 0; k < LOCK_WAIT_BUCKETS; k++)
            x->waits.b[k < LOCK_WAIT_BUCKETS - 1 ? k : RT_TALLY_BUCKETS - 1] += atomic_load_explicit(&s->waits[k], memory_order_relaxed);
}

static void add_locks(main_metrics *m, buf *out) {
    sys *s = rt_node_sys(m->node);
    lock_set *set = rt_node_locks(m->node);
    uint64_t per_usec = s->cycles_per_sec(s) / PER_USEC, counted = lock_set_counted(set);
    lock_classes c = {0};
    if (per_usec == 0) per_usec = 1;
    main_om_family(out, "murre_locks_counted_seconds", "counter", "seconds", "how long locks were counted, which murrectl locks on begins");
    main_om_seconds(out, "murre_locks_counted_seconds_total", MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL, (usec)(counted / per_usec));
    if (counted == 0) return;
    lock_set_each(set, add_lock, &c);
    main_om_family(out, "murre_lock_takes", "counter", "", "takes of all locks of a class while they were counted");
    for (size_t i = 0; i < c.n; i++)
        main_om_sample(out, "murre_lock_takes_total", (main_om_label){"lock", c.at[i].name}, MAIN_OM_NO_LABEL, c.at[i].tries);
    main_om_family(out, "murre_lock_wait_seconds", "histogram", "seconds", "waits for locks of a class that somebody else had");
    for (size_t i = 0; i < c.n; i++) {
        c.at[i].waits.sum = c.at[i].wait_cycles / per_usec;
        main_om_histogram(out, "murre_lock_wait_seconds", (main_om_label){"lock", c.at[i].name}, PER_USEC, &c.at[i].waits);
    }
}

typedef struct contention {
    uint64_t tries[RT_CONTEND_KINDS], collisions[RT_CONTEND_KINDS];
} contention;
static void add_contended(void *arg, const rt_contend_row *r) {
    contention *c = arg;
    c->tries[r->kind] += r->tries;
    c->collisions[r->kind] += r->collisions;
}

static void add_contention(main_metrics *m, buf *out) {
    contention c = {0};
    (void)rt_contend_each(m->node, add_contended, &c); /* since when does not matter to a counter */
    main_om_family(out, "murre_lock_free_tries", "counter", "", "uses of what does without a lock, as in murrectl locks");
    for (unsigned i = 0; i < RT_CONTEND_KINDS; i++) {
        main_om_label what = {"what", rt_contend_name((rt_contend_kind)i)};
        main_om_sample(out, "murre_lock_free_tries_total", what, MAIN_OM_NO_LABEL, c.tries[i]);
    }
    main_om_family(out, "murre_lock_free_collisions", "counter", "", "of those, that found it full, asleep or in use");
    for (unsigned i = 0; i < RT_CONTEND_KINDS; i++) {
        main_om_label what = {"what", rt_contend_name((rt_contend_kind)i)};
        main_om_sample(out, "murre_lock_free_collisions_total", what, MAIN_OM_NO_LABEL, c.collisions[i]);
    }
}

/* --- what was asked for ---------------------------------------------------------------------------------------------------------- */
static void add_tables(const main_metrics *m, buf *out) {
    static const struct {
        const char *name, *help;
        size_t offset; /* of a uint64_t in rt_maps_size */
    } rows[] = {
        {"murre_tables", "hash tables of shards and partitions, by what they hold", offsetof(rt_maps_size, tables)},
        {"murre_table_entries", "entries in those", offsetof(rt_maps_size, entries)},
        {"murre_table_buckets", "buckets of those", offsetof(rt_maps_size, buckets)},
    };
    if (!m->parts[PART_TABLES].whole) return;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        main_om_family(out, rows[k].name, "gauge", "", rows[k].help);
        for (size_t i = 0; i < m->n_tables; i++)
            main_om_sample(out, rows[k].name, (main_om_label){"table", m->tables[i].name}, MAIN_OM_NO_LABEL,
                           *(const uint64_t *)(const void *)((const char *)&m->tables[i] + rows[k].offset));
    }
}

static void add_log(const main_metrics *m, buf *out) {
    if (!m->parts[PART_LOG].whole) return;
    main_om_gauge(out, "murre_log_messages", "", "live messages of the message log", m->log.live);
    main_om_gauge(out, "murre_log_message_bytes", "bytes", "bytes of live messages of the message log", m->log.live_bytes);
    main_om_gauge(out, "murre_log_size_bytes", "bytes", "bytes of all segments of the message log on disk", m->log.total_bytes);
    main_om_gauge(out, "murre_log_waiting_bytes", "bytes", "memory of what is not on stable storage yet", m->log.waiting);
    main_om_gauge(out, "murre_log_segments", "", "files of the message log", m->log.segments);
    main_om_gauge(out, "murre_log_full", "", "1 while there is no space and messages to be kept are refused", m->log.full);
    main_om_gauge(out, "murre_log_damaged_records", "", "records found damaged since the start", m->log.damaged);
}

static void add_partitions(const main_metrics *m, buf *out) {
    if (!m->parts[PART_PARTITIONS].whole) return;
    for (unsigned i = 0; i < SUMS; i++) main_om_gauge(out, sum_rows[i].name, sum_rows[i].unit, sum_rows[i].help, m->sums[i]);
}

/* What the last word of an argument's name says of its values. */
static const struct unit {
    const char *word, *unit;
    uint64_t per;
} units[] = {
    {"usec", "seconds", PER_USEC},
    {"msec", "seconds", 1000},
    {"bytes", "bytes", 1},
};

/* murre_<event>_<argument>, with the unit that monitoring systems expect. */
static void add_measure(main_metrics *m, size_t i, buf *out) {
    const rt_measure *x = &rt_measures[i];
    const char *arg = rt_event_descs[x->id].arg[x->arg], *word = strrchr(arg, '_');
    const struct unit *u = NULL;
    char family[FAMILY_ROOM];
    rt_tally_sum sum = {0};
    word = word ? word + 1 : arg;
    for (size_t k = 0; k < ARRAY_LEN(units); k++)
        if (strcmp(word, units[k].word) == 0) u = &units[k];
    (void)snprintf(family, sizeof family, "murre_%s_%.*s%s", rt_event_descs[x->id].name, (int)(word - arg), arg, u ? u->unit : word);
    rt_event_measured(m->node, i, &sum);
    main_om_family(out, family, "histogram", u ? u->unit : "", x->doc);
    main_om_histogram(out, family, MAIN_OM_NO_LABEL, u ? u->per : 1, &sum);
}

static void add_events(main_metrics *m, buf *out) {
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        char family[FAMILY_ROOM];
        (void)snprintf(family, sizeof family, "murre_%s", rt_event_descs[i].name);
        main_om_counter(out, family, "", rt_event_descs[i].doc, rt_event_count(m->node, (rt_event_id)i));
    }
    for (size_t i = 0; i < RT_MEASURES; i++) add_measure(m, i, out);
}

static usec of_timeval(struct timeval t) { return (usec)t.tv_sec * USEC_PER_SEC + (usec)t.tv_usec; }

/* The names are those of every Prometheus client library, so that existing dashboards find them. */
static void add_process(const main_metrics *m, buf *out) {
    struct rusage use;
    struct rlimit files;
    main_om_family(out, "process_start_time_seconds", "gauge", "seconds", "since 1970: when the node was made");
    main_om_seconds(out, "process_start_time_seconds", MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL, m->born_wall);
    if (getrusage(RUSAGE_SELF, &use) == 0) {
        main_om_family(out, "process_cpu_seconds", "counter", "seconds", "user and system time of all threads");
        main_om_seconds(out, "process_cpu_seconds_total", MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL,
                        of_timeval(use.ru_utime) + of_timeval(use.ru_stime));
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        main_om_gauge(out, "process_max_fds", "", "descriptors that the process may hold", files.rlim_cur);
    if (!m->parts[PART_PROCESS].whole) return;
    main_om_gauge(out, "process_open_fds", "", "descriptors that it holds", m->fds);
    main_om_gauge(out, "process_resident_memory_bytes", "bytes", "memory that is not paged out", m->resident);
}

static void add_scrape(main_metrics *m, const main_scrape_stat *st, usec now, buf *out) {
    main_om_family(out, "murre_scrape_incomplete", "gauge", "", "1: this part did not answer in time and is left out of this text");
    for (unsigned i = 0; i < PARTS; i++)
        if (is_there(m, i))
            main_om_sample(out, "murre_scrape_incomplete", (main_om_label){"part", part_rows[i].name}, MAIN_OM_NO_LABEL,
                           !m->parts[i].whole);
    main_om_family(out, "murre_scrape_age_seconds", "gauge", "seconds", "how long ago this part was asked for");
    for (unsigned i = 0; i < PARTS; i++)
        if (is_there(m, i))
            main_om_seconds(out, "murre_scrape_age_seconds", (main_om_label){"part", part_rows[i].name}, MAIN_OM_NO_LABEL,
                            now - m->parts[i].at);
    main_om_family(out, "murre_scrape_previous_seconds", "gauge", "seconds", "what it took to make the text before this one");
    main_om_seconds(out, "murre_scrape_previous_seconds", MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL, m->took);
    main_om_gauge(out, "murre_scrape_clients", "", "connections to this door", st->clients);
    main_om_family(out, "murre_scrape_answers", "counter", "", "answers by HTTP status, before this one");
    for (unsigned i = 0; i < MAIN_SCRAPE_STATUSES; i++) {
        char code[16];
        (void)snprintf(code, sizeof code, "%u", main_scrape_code((main_scrape_status)i));
        main_om_sample(out, "murre_scrape_answers_total", (main_om_label){"code", code}, MAIN_OM_NO_LABEL, st->answers[i]);
    }
}

void main_metrics_text(void *arg, const main_scrape_stat *st, buf *out) {
    main_metrics *m = arg;
    sys *s = rt_node_sys(m->node);
    usec start = s->mono(s);
    ask_all(m);
    add_node(m, out);
    add_links(m, out);
    add_shards(m, out);
    add_threads(m, out);
    add_times(m, out);
    add_pools(m, out);
    add_pool_times(m, out);
    add_workers(m, out);
    add_locks(m, out);
    add_contention(m, out);
    add_tables(m, out);
    add_log(m, out);
    add_partitions(m, out);
    add_events(m, out);
    add_process(m, out);
    add_scrape(m, st, s->mono(s), out);
    buf_add_str(out, "# EOF\n");
    m->took = s->mono(s) - start;
}

main_metrics *main_metrics_new(rt_node *n) {
    main_metrics *m = mem_zalloc(sizeof *m);
    sys *s = rt_node_sys(n);
    m->node = n;
    m->born_wall = s->wall(s);
    m->rows = mem_alloc(THREADS_MAX * sizeof *m->rows);
    return m;
}

void main_metrics_free(main_metrics *m) {
    if (!m) return;
    mem_free(m->rows);
    mem_free(m);
}
