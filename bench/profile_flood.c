/* profile flood: messages for one actor, many times faster than it handles them (R30). What must hold is counted, not timed:
 *
 *     floods (each shard) --bursts--> sink: a mailbox with a bound, and a policy for what is over it
 *     witness (each shard): a message to itself, for ever: how much of the sink is run between two of its turns
 *
 * Between two turns of a witness on the sink's shard the sink gets one batch (RT_BATCH messages), however long its mailbox is. How long
 * that took is told, and judged by nobody here. */
#include "base/hist.h"
#include "base/mem.h"
#include "profile.h"
#include "rt/event.h"
#include "rt/stat.h"

#define FLOODS    4u /* on each shard */
#define BURST     200u
#define SINK_MAX  20000u /* messages: its bound */
#define SINK_WORK 4u     /* units a message */

typedef struct flood {
    rt_pid sink;
    uint64_t each;             /* messages of a flood */
    _Atomic uint64_t refused;  /* came back; relaxed: a count */
    _Atomic bool ended;        /* all is accounted for: release by the witness, who writes nothing after it, acquire by who reports */
    uint64_t handled, between; /* by the sink; of those, since the last turn of the witness: its shard's own */
    uint64_t longest;          /* between two turns */
    uint64_t turns;
    uint64_t last; /* nanoseconds */
    hist delay;    /* from turn to turn with the sink between them, nanoseconds; of the witness on its shard */
    uint64_t rss_before;
} flood;

/* --- the sink */
typedef struct state {
    profile *p;
} state;
static err sink_init(rt_ctx *cx, void *st, const void *arg) {
    memcpy(st, arg, sizeof(profile *));
    return rt_name_register(cx, "sink");
}
static err sink_handle(rt_ctx *cx, void *st, rt_msg **m) {
    flood *f = ((const state *)st)->p->load;
    (void)cx;
    (void)m;
    profile_burn(SINK_WORK);
    f->handled++;
    f->between++;
    return ERR_OK;
}
static const rt_class SINKS[] = {{.name = "sink",
                                  .state_size = sizeof(state),
                                  .init = sink_init,
                                  .handle = sink_handle,
                                  .mailbox_max = SINK_MAX,
                                  .bound = RT_BOUND_REFUSE},
                                 {.name = "sink",
                                  .state_size = sizeof(state),
                                  .init = sink_init,
                                  .handle = sink_handle,
                                  .mailbox_max = SINK_MAX,
                                  .bound = RT_BOUND_DROP_OLDEST},
                                 {.name = "sink",
                                  .state_size = sizeof(state),
                                  .init = sink_init,
                                  .handle = sink_handle,
                                  .mailbox_max = SINK_MAX,
                                  .bound = RT_BOUND_MUTE}};
static const char *const HOWS[] = {"refuse", "drop", "mute"};

/* --- a flood: bursts until it has sent its part; what comes back is dropped and counted */
typedef struct source {
    profile *p;
    uint64_t left;
} source;
static err source_init(rt_ctx *cx, void *st, const void *arg) {
    source *s = st;
    memcpy(st, arg, sizeof(profile *));
    s->left = ((const flood *)s->p->load)->each;
    profile_send(cx, rt_self(cx), PROFILE_DONE, 0);
    return ERR_OK;
}
static err source_handle(rt_ctx *cx, void *st, rt_msg **m) {
    source *s = st;
    flood *f = s->p->load;
    if ((*m)->tag & RT_MSG_REFUSED) {
        (void)atomic_fetch_add_explicit(&f->refused, 1, memory_order_relaxed);
        return ERR_OK;
    }
    for (unsigned i = 0; i < BURST && s->left > 0; i++, s->left--) profile_send(cx, f->sink, PROFILE_WORK, s->left);
    if (s->left > 0) rt_send(cx, rt_self(cx), m);
    return ERR_OK;
}
static const rt_class SOURCE = {
    .name = "flood", .state_size = sizeof(source), .init = source_init, .handle = source_handle, .mailbox_max = UINT32_MAX};

/* --- a witness */
static err witness_init(rt_ctx *cx, void *st, const void *arg) {
    memcpy(st, arg, sizeof(profile *));
    profile_send(cx, rt_self(cx), PROFILE_DONE, 0);
    return ERR_OK;
}

static void take_note(rt_ctx *cx, profile *p, flood *f) {
    if (atomic_load_explicit(&f->ended, memory_order_relaxed)) return; /* its own */
    uint64_t now = bench_nsec();
    rt_actor_info sink;
    if (f->last && f->between > 0) hist_add(&f->delay, now - f->last);
    f->last = now;
    f->turns++;
    if (f->between > f->longest) f->longest = f->between;
    f->between = 0;
    if (f->turns % 64) return;
    uint64_t refused = atomic_load_explicit(&f->refused, memory_order_relaxed);
    if (!rt_stat_actor(cx, f->sink, &sink, NULL, 0, NULL) || sink.messages.queued > 0) return;
    if (sink.messages.enqueued + refused < f->each * FLOODS * rt_node_shards(p->n)) return;
    atomic_store_explicit(&f->ended, true, memory_order_release);
    profile_round(p);
}

static err witness_handle(rt_ctx *cx, void *st, rt_msg **m) {
    profile *p = ((const state *)st)->p;
    flood *f = p->load;
    if (rt_ctx_shard(cx) == rt_pid_shard(f->sink)) take_note(cx, p, f);
    if (!profile_over(p)) rt_send(cx, rt_self(cx), m);
    return ERR_OK;
}
static const rt_class WITNESS = {.name = "witness", .state_size = sizeof(state), .init = witness_init, .handle = witness_handle};

/* --- its life */
static uint64_t rss_peak_kb(void) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    uint64_t kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lu", &kb) == 1) break;
    if (f) (void)fclose(f);
    return kb;
}

static void flood_boot(profile *p) {
    flood *f = p->load = mem_zalloc(sizeof *f);
    size_t how = 0;
    while (p->how && strcmp(HOWS[how], p->how) != 0) how++;
    hist_init(&f->delay);
    f->each = ((uint64_t)p->size + (uint64_t)p->shards * FLOODS - 1) / ((uint64_t)p->shards * FLOODS);
    f->sink = profile_spawn(p, 0, &SINKS[how], &p);
    f->rss_before = rss_peak_kb();
    for (unsigned shard = 0; shard < (unsigned)p->shards; shard++) {
        (void)profile_spawn(p, shard, &WITNESS, &p);
        for (unsigned i = 0; i < FLOODS; i++) (void)profile_spawn(p, shard, &SOURCE, &p);
    }
}

static void flood_report(profile *p) {
    const flood *f = p->load;
    if (!atomic_load_explicit(&f->ended, memory_order_acquire)) {
        (void)puts("not all messages are accounted for: ended too early for figures");
        return;
    }
    bench_report_begin(true, "flood");
    bench_report_num("messages", "", (double)(f->each * FLOODS * rt_node_shards(p->n)));
    bench_report_num("handled", "", (double)f->handled);
    bench_report_num("refused", "", (double)atomic_load_explicit(&f->refused, memory_order_relaxed));
    bench_report_num("dropped", "", (double)rt_event_count(p->n, EV_DROPPED));
    bench_report_num("bound", "", SINK_MAX);
    bench_report_num("turns", "", (double)f->turns);
    bench_report_num("most_between_turns", "", (double)f->longest);
    bench_report_num("delay_p50_usec", "", (double)hist_quantile(&f->delay, 0.5) / 1e3);
    bench_report_num("delay_p99_usec", "", (double)hist_quantile(&f->delay, 0.99) / 1e3);
    bench_report_num("rss_grown_kib", "", (double)(rss_peak_kb() - f->rss_before));
    bench_report_num("long_queue", "", (double)rt_event_count(p->n, EV_LONG_QUEUE));
    bench_report_end();
}

static void flood_free(profile *p) { mem_free(p->load); }

const profile_load profile_flood = {.name = "flood",
                                    .doc = "messages for one actor, faster than it handles them; a round is all of them",
                                    .size = 1000000,
                                    .hows = "refuse|drop|mute",
                                    .boot = flood_boot,
                                    .report = flood_report,
                                    .free = flood_free};
