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
#include "base/utf8.h"
#include "edge/edge.h"
#include "rt/event.h"
#include "rt/msacc.h"
#include "rt/pool.h"
#include "rt/stat.h"
#include "store/store.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FAMILY_ROOM 96
#define LABEL_MAX   512
#define THREADS_MAX 2048u /* accounts that are read: 64 shards and all threads of all pools */
#define KEEP_MIN    USEC_PER_SEC
#define KEEP_FAILED (5 * USEC_PER_SEC) /* until one that did not answer is asked again */

typedef enum part_id { PART_LOG, PART_PARTITIONS, PART_PROCESS, PARTS } part_id;
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
    uint64_t fds, resident;
    usec took; /* the scrape before */
    rt_msacc_row *rows;
};

static const main_metrics_label NO_LABEL = {"", ""};

/* --- the format ------------------------------------------------------------------------------------------------------------------ */
/* Backslash, quote and line end are escaped as OpenMetrics wants it; control and invalid bytes become \xNN first, so that what is left is
 * UTF-8 that a terminal can show. */
static void add_escaped(buf *out, const char *text) {
    char shown[LABEL_MAX];
    size_t n = utf8_escape(slice_str(text), shown, sizeof shown);
    for (size_t i = 0; i < n; i++) {
        if (shown[i] == '\\' || shown[i] == '"') buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)shown[i]);
    }
}

void main_metrics_family(buf *out, const char *name, const char *type, const char *unit, const char *help) {
    buf_addf(out, "# TYPE %s %s\n", name, type);
    if (*unit) buf_addf(out, "# UNIT %s %s\n", name, unit);
    buf_addf(out, "# HELP %s ", name);
    add_escaped(out, help);
    buf_add_byte(out, '\n');
}

static void add_labels(buf *out, main_metrics_label a, main_metrics_label b) {
    if (!*a.name) return;
    buf_addf(out, "{%s=\"", a.name);
    add_escaped(out, a.value);
    if (*b.name) {
        buf_addf(out, "\",%s=\"", b.name);
        add_escaped(out, b.value);
    }
    buf_add_str(out, "\"}");
}

void main_metrics_sample(buf *out, const char *name, main_metrics_label a, main_metrics_label b, uint64_t value) {
    buf_add_str(out, name);
    add_labels(out, a, b);
    buf_addf(out, " %" PRIu64 "\n", value);
}

void main_metrics_seconds(buf *out, const char *name, main_metrics_label a, main_metrics_label b, usec value) {
    buf_add_str(out, name);
    add_labels(out, a, b);
    usec v = value > 0 ? value : 0; /* clocks of two CPUs may differ by a little */
    buf_addf(out, " %" PRId64 ".%06" PRId64 "\n", v / USEC_PER_SEC, v % USEC_PER_SEC);
}

static void gauge(buf *out, const char *name, const char *unit, const char *help, uint64_t value) {
    main_metrics_family(out, name, "gauge", unit, help);
    main_metrics_sample(out, name, NO_LABEL, NO_LABEL, value);
}

static void counter(buf *out, const char *family, const char *unit, const char *help, uint64_t value) {
    char name[FAMILY_ROOM + 8];
    main_metrics_family(out, family, "counter", unit, help);
    (void)snprintf(name, sizeof name, "%s_total", family);
    main_metrics_sample(out, name, NO_LABEL, NO_LABEL, value);
}

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
} part_rows[PARTS] = {
    [PART_LOG] = {"log", ask_log}, [PART_PARTITIONS] = {"partitions", ask_partitions}, [PART_PROCESS] = {"process", ask_process}};

static void ask_all(main_metrics *m) {
    sys *s = rt_node_sys(m->node);
    usec now = s->mono(s), end = now + MAIN_METRICS_ASK;
    for (unsigned i = 0; i < PARTS; i++) {
        part *p = &m->parts[i];
        usec start = s->mono(s);
        if (start < p->again) continue;
        p->whole = part_rows[i].ask(m, end);
        p->at = s->mono(s);
        usec keep = (p->at - start) * MAIN_METRICS_DUTY, least = p->whole ? KEEP_MIN : KEEP_FAILED;
        p->again = p->at + (p->whole && keep > least ? keep : least);
    }
}

/* --- what is shown --------------------------------------------------------------------------------------------------------------- */
static void add_node(main_metrics *m, buf *out) {
    const main_env *env = rt_node_env(m->node);
    main_metrics_family(out, "murre_build", "info", "", "the program, and the name of this node");
    main_metrics_label version = {"version", env->svc.cfg->version}, name = {"node", rt_node_config(m->node)->name};
    main_metrics_sample(out, "murre_build_info", version, name, 1);
    gauge(out, "murre_ready", "", "1 once everything is recovered and messages are served", svc_ready(m->node, env->svc.cfg));
    gauge(out, "murre_sessions", "", "client connections that have not ended, resumable ones too", edge_session_count(m->node));
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
    gauge(out, "murre_shards", "", "shards: threads that run actors", n);
    for (size_t k = 0; k < ARRAY_LEN(shard_rows); k++) {
        const shard_row *r = &shard_rows[k];
        char name[FAMILY_ROOM], id[16];
        main_metrics_family(out, r->name, r->type, r->unit, r->help);
        (void)snprintf(name, sizeof name, "%s%s", r->name, r->type[0] == 'c' ? "_total" : "");
        for (unsigned i = 0; i < n; i++) {
            (void)snprintf(id, sizeof id, "%u", i);
            main_metrics_sample(out, name, (main_metrics_label){"shard", id}, NO_LABEL,
                                *(const uint64_t *)(const void *)((const char *)&st[i] + r->offset));
        }
    }
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
    main_metrics_family(out, "murre_thread_seconds", "counter", "seconds",
                        "time of each thread, or of all threads of a pool, by what it did");
    for (size_t i = 0; i < n;) {
        char name[32], next[32];
        uint64_t cycles[RT_MSACC_STATES] = {0};
        thread_name(&m->rows[i], name);
        do {
            for (unsigned k = 0; k < RT_MSACC_STATES; k++) cycles[k] += m->rows[i].cycles[k];
            if (++i < n) thread_name(&m->rows[i], next);
        } while (i < n && strcmp(name, next) == 0);
        for (unsigned k = 0; k < RT_MSACC_STATES; k++)
            main_metrics_seconds(out, "murre_thread_seconds_total", (main_metrics_label){"thread", name},
                                 (main_metrics_label){"state", rt_msacc_state_name((rt_msacc_state)k)},
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
    main_metrics_label pool[RT_POOL_KINDS];
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        rt_pool_stats(m->node, (rt_pool_kind)i, &st[i]); /* under the pool's lock, for a copy */
        pool[i] = (main_metrics_label){"pool", rt_pool_kind_name((rt_pool_kind)i)};
    }
    for (size_t k = 0; k < ARRAY_LEN(pool_rows); k++) {
        main_metrics_family(out, pool_rows[k].name, "gauge", "", pool_rows[k].help);
        for (unsigned i = 0; i < RT_POOL_KINDS; i++)
            main_metrics_sample(out, pool_rows[k].name, pool[i], NO_LABEL,
                                *(const uint32_t *)(const void *)((const char *)&st[i] + pool_rows[k].offset));
    }
    main_metrics_family(out, "murre_pool_jobs", "counter", "",
                        "jobs by their end: done, past the deadline before the start, or refused: queue full");
    for (unsigned i = 0; i < RT_POOL_KINDS; i++) {
        main_metrics_sample(out, "murre_pool_jobs_total", pool[i], (main_metrics_label){"end", "done"}, st[i].done);
        main_metrics_sample(out, "murre_pool_jobs_total", pool[i], (main_metrics_label){"end", "expired"}, st[i].expired);
        main_metrics_sample(out, "murre_pool_jobs_total", pool[i], (main_metrics_label){"end", "refused"}, st[i].refused);
    }
}

static void add_log(const main_metrics *m, buf *out) {
    if (!m->parts[PART_LOG].whole) return;
    gauge(out, "murre_log_messages", "", "live messages of the message log", m->log.live);
    gauge(out, "murre_log_message_bytes", "bytes", "bytes of live messages of the message log", m->log.live_bytes);
    gauge(out, "murre_log_size_bytes", "bytes", "bytes of all segments of the message log on disk", m->log.total_bytes);
    gauge(out, "murre_log_waiting_bytes", "bytes", "memory of what is not on stable storage yet", m->log.waiting);
    gauge(out, "murre_log_segments", "", "files of the message log", m->log.segments);
    gauge(out, "murre_log_full", "", "1 while there is no space and messages to be kept are refused", m->log.full);
    gauge(out, "murre_log_damaged_records", "", "records found damaged since the start", m->log.damaged);
}

static void add_partitions(const main_metrics *m, buf *out) {
    if (!m->parts[PART_PARTITIONS].whole) return;
    for (unsigned i = 0; i < SUMS; i++) gauge(out, sum_rows[i].name, sum_rows[i].unit, sum_rows[i].help, m->sums[i]);
}

static void add_events(main_metrics *m, buf *out) {
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        char family[FAMILY_ROOM];
        (void)snprintf(family, sizeof family, "murre_%s", rt_event_descs[i].name);
        counter(out, family, "", rt_event_descs[i].doc, rt_event_count(m->node, (rt_event_id)i));
    }
}

static usec of_timeval(struct timeval t) { return (usec)t.tv_sec * USEC_PER_SEC + (usec)t.tv_usec; }

/* The names are those of every Prometheus client library, so that existing dashboards find them. */
static void add_process(const main_metrics *m, buf *out) {
    struct rusage use;
    struct rlimit files;
    main_metrics_family(out, "process_start_time_seconds", "gauge", "seconds", "since 1970: when the node was made");
    main_metrics_seconds(out, "process_start_time_seconds", NO_LABEL, NO_LABEL, m->born_wall);
    if (getrusage(RUSAGE_SELF, &use) == 0) {
        main_metrics_family(out, "process_cpu_seconds", "counter", "seconds", "user and system time of all threads");
        main_metrics_seconds(out, "process_cpu_seconds_total", NO_LABEL, NO_LABEL, of_timeval(use.ru_utime) + of_timeval(use.ru_stime));
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        gauge(out, "process_max_fds", "", "descriptors that the process may hold", files.rlim_cur);
    if (!m->parts[PART_PROCESS].whole) return;
    gauge(out, "process_open_fds", "", "descriptors that it holds", m->fds);
    gauge(out, "process_resident_memory_bytes", "bytes", "memory that is not paged out", m->resident);
}

static void add_scrape(main_metrics *m, const main_scrape_stat *st, usec now, buf *out) {
    main_metrics_family(out, "murre_scrape_incomplete", "gauge", "", "1: this part did not answer in time and is left out of this text");
    for (unsigned i = 0; i < PARTS; i++)
        main_metrics_sample(out, "murre_scrape_incomplete", (main_metrics_label){"part", part_rows[i].name}, NO_LABEL, !m->parts[i].whole);
    main_metrics_family(out, "murre_scrape_age_seconds", "gauge", "seconds", "how long ago this part was asked for");
    for (unsigned i = 0; i < PARTS; i++)
        main_metrics_seconds(out, "murre_scrape_age_seconds", (main_metrics_label){"part", part_rows[i].name}, NO_LABEL,
                             now - m->parts[i].at);
    main_metrics_family(out, "murre_scrape_previous_seconds", "gauge", "seconds", "what it took to make the text before this one");
    main_metrics_seconds(out, "murre_scrape_previous_seconds", NO_LABEL, NO_LABEL, m->took);
    gauge(out, "murre_scrape_clients", "", "connections to this door", st->clients);
    main_metrics_family(out, "murre_scrape_answers", "counter", "", "answers by HTTP status, before this one");
    for (unsigned i = 0; i < MAIN_SCRAPE_STATUSES; i++) {
        char code[16];
        (void)snprintf(code, sizeof code, "%u", main_scrape_code((main_scrape_status)i));
        main_metrics_sample(out, "murre_scrape_answers_total", (main_metrics_label){"code", code}, NO_LABEL, st->answers[i]);
    }
}

void main_metrics_text(void *arg, const main_scrape_stat *st, buf *out) {
    main_metrics *m = arg;
    sys *s = rt_node_sys(m->node);
    usec start = s->mono(s);
    ask_all(m);
    add_node(m, out);
    add_shards(m, out);
    add_threads(m, out);
    add_pools(m, out);
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
