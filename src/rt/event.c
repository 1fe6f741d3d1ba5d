/* event: one call, six readers.
 *
 *     rt_event(cx, EV_X, a, b, c)
 *        |-- count of this shard            always: one add of a number that only this thread writes
 *        |-- USDT probe murre:x             always: a nop until somebody traces it
 *        `-- todo[EV_X], one byte           0 for most events of most nodes
 *              |-- digest                   the simulator: every event, with its virtual time and its actor
 *              |-- histograms               those that MEASURE names
 *              |-- flight recorder          all but the most frequent, live
 *              |-- log                      at or above the level
 *              `-- follow.c                 who follows it, or the request that it belongs to
 *
 * Invariants: (1) a state is written by one thread: its shard's, or under the log's lock for ev_ext. (2) An event that a peer can cause at
 * will costs no lock and no system call unless its line is really written (the rate limit is in front of the lock). (3) The digest
 * depends on nothing but the events: ids, arguments, virtual time, actor slot, text; never on addresses.
 */
#include "rt/event.h"

#include "rt/event_often.h"
#include "rt/follow.h"
#include "rt/trace.h"

#define DIGEST_START UINT64_C(0x6d757272652d7631)
#define DIGEST_MUL   UINT64_C(0x9e3779b97f4a7c15)

const rt_event_desc rt_event_descs[EV_COUNT_] = {
#define EVENT(id, name, level, a, b, c, doc) [EV_##id] = {name, level, {a, b, c}, doc},
#include "rt/events.def"
};
const rt_measure rt_measures[RT_MEASURES] = {
#define MEASURE(id, arg, doc) {EV_##id, arg, doc},
#include "rt/events.def"
};

/* Too many and too little to keep: each would push the rest out of the ring. They are counted and can be traced. */
bool rt_event_is_frequent(rt_event_id id) { return id == EV_SEND || id == EV_ENQUEUE || id == EV_HANDLE; }

static uint64_t digest_add(uint64_t h, uint64_t x) {
    h = (h ^ x) * DIGEST_MUL;
    return h ^ (h >> 29);
}

static uint64_t digest_text(uint64_t h, slice text) {
    for (size_t i = 0; i < text.len; i += 8) {
        uint64_t w = 0;
        for (size_t k = 0; k < 8 && i + k < text.len; k++) w |= (uint64_t)text.p[i + k] << (8 * k);
        h = digest_add(h, w);
    }
    return digest_add(h, text.len);
}

typedef struct occurrence { /* of an event */
    rt_event_id id;
    rt_pid actor; /* that is running */
    const char *cls;
    uint32_t trace;
    usec at;
    uint64_t arg[3];
    slice text;
} occurrence;

static void add_digest(struct rt_event_state *st, const occurrence *o) {
    uint64_t h = atomic_load_explicit(&st->digest, memory_order_relaxed);
    h = digest_add(h, (uint64_t)o->id << 32 | o->actor.slot);
    h = digest_add(h, (uint64_t)o->at);
    bool text = o->text.p != NULL;
    for (int i = 0; i < (text ? 2 : 3); i++) h = digest_add(h, o->arg[i]); /* with a text, arg[2] is its address */
    if (text) h = digest_text(h, o->text);
    atomic_store_explicit(&st->digest, h, memory_order_relaxed);
}

static void add_record(rt_node *n, const struct rt_event_state *st, const occurrence *o) {
    uint32_t trace = rt_trace_number(o->trace);
    rt_record r = {.wall_usec = rt_recorder_wall(n->recorder, st->ring), .event = (uint32_t)o->id, .slot = o->actor.slot, .trace = trace};
    slice text = o->trace && !o->text.p && o->cls ? slice_str(o->cls) : o->text; /* of a step: who took it */
    memcpy(r.arg, o->arg, sizeof r.arg);
    if (o->text.p) r.arg[2] = o->text.len;
    if (text.len > 0) memcpy(r.text, text.p, text.len < sizeof r.text ? text.len : sizeof r.text);
    rt_recorder_write(n->recorder, st->ring, &r);
}

/* There are a handful of measures, and events that have some are rare: looking for them costs less than a table of all events. */
static void tally(struct rt_event_state *st, const occurrence *o) {
    for (size_t i = 0; i < RT_MEASURES; i++)
        if (rt_measures[i].id == o->id) rt_tally_add(&st->measured[i], o->arg[rt_measures[i].arg], 1);
}

static void keep(rt_node *n, struct rt_event_state *st, uint8_t todo, const occurrence *o) {
    if (todo & RT_EV_TALLY) tally(st, o);
    if (todo & RT_EV_DIGEST) add_digest(st, o);
    if ((todo & RT_EV_RECORD) && n->recorder) add_record(n, st, o);
}

/* To who follows it, or the request. */
static void tell(rt_node *n, unsigned shard, uint8_t todo, const occurrence *o) {
    if (!(todo & RT_EV_FOLLOW) && (!(todo & RT_EV_TRACE) || !o->trace)) return;
    rt_seen x = {.mono = n->s->mono(n->s),
                 .wall = n->s->wall(n->s),
                 .id = o->id,
                 .trace = o->trace,
                 .shard = shard,
                 .actor = o->actor,
                 .cls = o->cls,
                 .has_text = o->text.p != NULL};
    memcpy(x.arg, o->arg, sizeof x.arg);
    x.text_len = (uint16_t)(o->text.len < sizeof x.text ? o->text.len : sizeof x.text);
    if (x.text_len > 0) memcpy(x.text, o->text.p, x.text_len);
    rt_follow_push(n, &x);
}

static occurrence on_shard(const rt_ctx *cx, rt_event_id id) {
    occurrence o = {.id = id, .trace = cx->trace, .at = cx->sh->now};
    if (cx->self) o.actor = rt_actor_pid(cx->self), o.cls = cx->self->cls->name;
    return o;
}

void rt_event_more(rt_ctx *cx, rt_event_id id, uint8_t todo, uint64_t a, uint64_t b, uint64_t c) {
    occurrence o = on_shard(cx, id);
    o.arg[0] = a, o.arg[1] = b, o.arg[2] = c;
    keep(cx->sh->node, &cx->sh->ev, todo, &o);
    if (todo & RT_EV_LOG) rt_log_push(cx->sh->node->log, id, o.actor.slot, o.arg, SLICE_NULL);
    tell(cx->sh->node, cx->sh->id, todo, &o);
}

void rt_event(rt_ctx *cx, rt_event_id id, uint64_t a, uint64_t b, uint64_t c) {
    uint8_t todo = rt_event_note(&cx->sh->ev, id);
    rt_event_probe(id, a, b, c);
    if (UNLIKELY(todo)) rt_event_more(cx, id, todo, a, b, c);
}

/* A copy that ends in a NUL, for probes; o's text is in it. */
static void put_text(occurrence *o, slice text, char copy[RT_EVENT_TEXT + 1]) {
    text = slice_sub(text, 0, RT_EVENT_TEXT);
    if (text.len > 0) memcpy(copy, text.p, text.len);
    copy[text.len] = 0;
    o->text = slice_of(copy, text.len);
    o->arg[2] = (uintptr_t)copy;
}

void rt_event_text(rt_ctx *cx, rt_event_id id, uint64_t a, uint64_t b, slice text) {
    struct rt_event_state *st = &cx->sh->ev;
    uint8_t todo = rt_event_note(st, id);
    char copy[RT_EVENT_TEXT + 1];
    occurrence o = on_shard(cx, id);
    o.arg[0] = a, o.arg[1] = b;
    put_text(&o, text, copy);
    rt_event_probe(id, a, b, o.arg[2]);
    if (todo == 0) return;
    keep(cx->sh->node, st, todo, &o);
    if (todo & RT_EV_LOG) rt_log_push(cx->sh->node->log, id, o.actor.slot, o.arg, o.text);
    tell(cx->sh->node, cx->sh->id, todo, &o);
}

static void from_outside(rt_node *n, occurrence *o) {
    struct rt_event_state *st = &n->ev_ext;
    rt_event_probe(o->id, o->arg[0], o->arg[1], o->arg[2]);
    rt_log_ext_lock(n->log);
    uint8_t todo = rt_event_note(st, o->id);
    if (todo & RT_EV_DIGEST) o->at = n->s->mono(n->s);
    keep(n, st, todo, o);
    rt_log_ext_unlock(n->log);
    if (todo & RT_EV_LOG) rt_log_push(n->log, o->id, 0, o->arg, o->text);
    tell(n, n->n_shards, todo, o);
}

void rt_event_ext(rt_node *n, rt_event_id id, uint64_t a, uint64_t b, slice text) {
    char copy[RT_EVENT_TEXT + 1];
    occurrence o = {.id = id, .arg = {a, b, 0}};
    put_text(&o, text, copy);
    from_outside(n, &o);
}

void rt_event_ext_traced(rt_node *n, uint32_t trace, rt_event_id id, const uint64_t arg[3]) {
    occurrence o = {.id = id, .trace = trace};
    memcpy(o.arg, arg, sizeof o.arg);
    from_outside(n, &o);
}

uint64_t rt_event_count(rt_node *n, rt_event_id id) {
    uint64_t sum = atomic_load_explicit(&n->ev_ext.count[id], memory_order_relaxed);
    for (unsigned i = 0; i < n->n_shards; i++) sum += atomic_load_explicit(&n->shards[i].ev.count[id], memory_order_relaxed);
    return sum;
}

void rt_event_measured(rt_node *n, size_t i, rt_tally_sum *into) {
    rt_tally_read(&n->ev_ext.measured[i], into);
    for (unsigned k = 0; k < n->n_shards; k++) rt_tally_read(&n->shards[k].ev.measured[i], into);
}

uint64_t rt_event_digest(rt_node *n) {
    uint64_t h = atomic_load_explicit(&n->ev_ext.digest, memory_order_relaxed);
    for (unsigned i = 0; i < n->n_shards; i++) h = digest_add(h, atomic_load_explicit(&n->shards[i].ev.digest, memory_order_relaxed));
    return h;
}

/* --- recording --------------------------------------------------------------------------------------------------------------------- */
/* Where there are no threads, in the simulator, a recorder takes all of them. */
static bool recorded(const rt_node *n, rt_event_id id) { return n->recorder_path && (!n->s->thread_start || !rt_event_is_frequent(id)); }

static void set_recording(const rt_node *n, struct rt_event_state *st, bool on) {
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        if (on && recorded(n, (rt_event_id)id))
            (void)atomic_fetch_or_explicit(&st->todo[id], RT_EV_RECORD, memory_order_relaxed);
        else
            (void)atomic_fetch_and_explicit(&st->todo[id], (uint8_t)~RT_EV_RECORD, memory_order_relaxed);
    }
}

void rt_event_record(rt_node *n, bool on) {
    for (unsigned i = 0; i < n->n_shards; i++) set_recording(n, &n->shards[i].ev, on);
    set_recording(n, &n->ev_ext, on);
}

bool rt_event_recording(rt_node *n) { return atomic_load_explicit(&n->ev_ext.todo[EV_NODE_START], memory_order_relaxed) & RT_EV_RECORD; }

/* --- life ------------------------------------------------------------------------------------------------------------------------ */
void rt_event_state_init(rt_node *n, struct rt_event_state *st, unsigned ring) {
    bool threads = n->s->thread_start != NULL;
    rt_level level = rt_log_level_get(n);
    st->ring = ring;
    atomic_init(&st->digest, DIGEST_START);
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        uint8_t todo = threads ? 0 : RT_EV_DIGEST;
        if (recorded(n, (rt_event_id)id)) todo |= RT_EV_RECORD;
        if (rt_event_descs[id].level >= level) todo |= RT_EV_LOG;
        atomic_init(&st->todo[id], todo);
        atomic_init(&st->count[id], 0);
    }
    for (size_t i = 0; i < RT_MEASURES; i++) {
        uint8_t todo = atomic_load_explicit(&st->todo[rt_measures[i].id], memory_order_relaxed);
        atomic_init(&st->todo[rt_measures[i].id], todo | RT_EV_TALLY);
    }
}

err rt_event_node_init(rt_node *n) {
    n->log = rt_log_new(n);
    return ERR_OK;
}

void rt_event_node_fini(rt_node *n) {
    rt_log_free(n->log);
    n->log = NULL;
}
