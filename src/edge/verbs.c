/* verbs: connections for operators: whose clients have not taken what they were sent, which is what a slow client is.
 *
 *     rt_node_call -> each shard, RT_STAT_SCAN slots at a time: state of each c2s -> the best `max` by what waits -> rows
 *
 * Invariant: a shard is held up for one part at a time, however many connections it has. */
#include "base/mem.h"
#include "base/utf8.h"
#include "edge/c2s.h"
#include "rt/stat.h"
#include "rt/verbs_fn.h"

#define SHOWN     20u /* without an argument */
#define SHOWN_MAX 100u
#define JID_SHOWN 160u

typedef struct waiting {
    rt_pid pid;
    char jid[JID_SHOWN]; /* "" before it is bound; escaped */
    const char *state;
    uint64_t bytes;   /* of output: not written, and written but not acked */
    uint32_t unacked; /* stanzas */
    usec stalled;     /* how long the client has taken nothing of what waits; 0: it takes */
    usec silent;      /* since something came from it */
} waiting;
typedef struct waiting_ask {
    rt_verb_ask ask;
    uint32_t from;
    size_t max, n;
    bool more;
    waiting at[SHOWN_MAX];
} waiting_ask;

static const char *state_name(uint8_t state) {
    static const char *const names[EDGE_STATES_] = {"handshake", "open", "bound", "lost", "ending", "closing", "handover", "gone"};
    return state < EDGE_STATES_ ? names[state] : "?";
}

static uint64_t bytes_of(const edge_c2s *s) {
    uint64_t bytes = s->ack ? s->ack->bytes : 0;
    return bytes + (s->out ? s->out->plain.len + s->out->wire.len - s->out->off : 0);
}

static bool before(const waiting *a, const waiting *b) { return a->bytes != b->bytes ? a->bytes > b->bytes : a->silent > b->silent; }

/* Puts w in its place among the best max. */
static void keep(waiting *out, size_t max, size_t *n, const waiting *w) {
    if (*n == max && !before(w, &out[max - 1])) return;
    size_t i = *n < max ? (*n)++ : max - 1;
    for (; i > 0 && before(w, &out[i - 1]); i--) out[i] = out[i - 1];
    out[i] = *w;
}

static void do_waiting(rt_ctx *cx, rt_shard_call *call) {
    waiting_ask *a = container_of(call, waiting_ask, ask.call);
    uint32_t slots = rt_stat_slots(cx), end = slots - a->from > RT_STAT_SCAN ? a->from + RT_STAT_SCAN : slots;
    rt_pid pid;
    for (const edge_c2s *s; (s = rt_stat_state(cx, &edge_c2s_class, &a->from, end, &pid)) != NULL;) {
        waiting w = {.pid = pid, .state = state_name(s->state), .bytes = bytes_of(s), .unacked = s->ack ? s->ack->count : 0};
        if (s->out && s->out->stalled) w.stalled = rt_now(cx) - s->out->stalled;
        w.silent = (usec)(uint32_t)(rt_now_msec(cx) - s->last_in) * USEC_PER_MSEC;
        if (s->jid) (void)utf8_escape(edge_c2s_full(s), w.jid, sizeof w.jid);
        keep(a->at, a->max, &a->n, &w);
    }
    a->more = end < slots;
}

/* Adds a shard's to best; false: it does not answer. */
static bool waiting_of(rt_verb_call *c, unsigned shard, waiting *best, size_t max, size_t *n) {
    uint32_t from = 0;
    for (bool more = true; more;) {
        waiting_ask *a = container_of(rt_verb_ask_new(sizeof *a, do_waiting), waiting_ask, ask);
        a->from = from;
        a->max = max;
        if (rt_verb_ask_shard(c, shard, &a->ask)) return false;
        for (size_t i = 0; i < a->n; i++) keep(best, max, n, &a->at[i]);
        from = a->from;
        more = a->more;
        rt_verb_ask_unref(&a->ask);
    }
    return true;
}

static err connections(rt_verb_call *c) {
    uint64_t max;
    size_t n = 0;
    err e = rt_verb_number(c, 0, SHOWN_MAX, SHOWN, &max);
    if (e) return e;
    waiting *best = mem_alloc(SHOWN_MAX * sizeof *best);
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++) {
        if (waiting_of(c, i, best, (size_t)max, &n)) continue;
        val *m = val_map(c->arena);
        val_set(c->arena, m, "pid", val_strf(c->arena, "shard %u", i));
        rt_verb_text(c, m, "state", "(does not answer)");
        val_push(c->arena, c->result, m);
    }
    for (size_t i = 0; i < n; i++) {
        val *m = val_map(c->arena);
        rt_verb_pid(c, m, "pid", best[i].pid);
        rt_verb_text(c, m, "state", best[i].state);
        rt_verb_uint(c, m, "waiting_bytes", best[i].bytes);
        rt_verb_uint(c, m, "unacked", best[i].unacked);
        rt_verb_uint(c, m, "stalled_usec", (uint64_t)best[i].stalled);
        rt_verb_uint(c, m, "silent_usec", (uint64_t)best[i].silent);
        rt_verb_text(c, m, "jid", best[i].jid);
        val_push(c->arena, c->result, m);
    }
    mem_free(best);
    return ERR_OK;
}

const rt_verb edge_verbs[] = {
    {"connections", "list", 0, 1, RT_WAITS, connections, "connections [N]",
     "lists the connections with the most output that their clients have not taken or not acked"},
};
const size_t edge_verbs_count = ARRAY_LEN(edge_verbs);
