/* stat: what tools read. Per actor: on its shard, between two handlers (rt_node_call). Per node: sums of counters that each shard keeps as
 * it goes, so that the cost does not grow with what is counted (system.md G13).
 *
 * Invariants: (1) nothing here changes an actor, except flush; (2) a sum over shards is taken while they run: sent and received of one
 * message may fall on two sides of the reading, so differences are cut at zero. */
#include "rt/stat.h"

#include "rt/core.h"

static size_t copy_rels(const rt_actor *a, rt_stat_relation *out, size_t max) {
    static const rt_stat_kind kinds[] = {[RT_REL_LINK] = RT_STAT_LINK,
                                         [RT_REL_MONITORS] = RT_STAT_MONITORS,
                                         [RT_REL_WATCHED] = RT_STAT_MONITORED_BY,
                                         [RT_REL_MUTES] = RT_STAT_MUTES,
                                         [RT_REL_MUTED] = RT_STAT_MUTED_BY};
    size_t n = 0;
    for (const rt_rel *r = a->rels; r && n < max; r = r->next) out[n++] = (rt_stat_relation){r->other, kinds[r->kind]};
    return n;
}

static void fill(rt_shard *sh, rt_actor *a, rt_actor_info *out) {
    *out = (rt_actor_info){
        .pid = rt_actor_pid(a),
        .cls = a->cls->name,
        .messages = {a->dequeued + a->queued, a->dequeued, a->queued, a->longest, a->bytes},
        .signals = a->signals,
        .handled = a->dequeued - a->dropped,
        .reductions_usec = a->cost / sh->cycles_per_usec,
        .relations = a->rels ? a->rels->count : 0,
        .timers = a->timers,
        .state_bytes = sizeof *a + a->cls->state_size,
        .trapping = a->flags & RT_A_TRAP,
        .muted = rt_stops_mutes(a->stops) > 0,
        .held = (a->stops & RT_A_HELD) != 0,
        .running = a->flags & (RT_A_RUNNING | RT_A_QUEUED),
        .parent = {0, a->parent_slot, a->parent_gen},
    };
    if (a->flags & RT_A_NAMED) (void)rt_name_of(&sh->reader, out->pid, out->name, sizeof out->name); /* "" if it lost it meanwhile */
    for (uint32_t i = a->ports; i; i = sh->ports[i - 1].next) out->ports++;
}

uint64_t rt_stat_memory(const rt_actor_info *i) {
    return i->state_bytes + i->messages.bytes + i->messages.queued * sizeof(rt_msg) + i->relations * sizeof(rt_rel);
}

size_t rt_stat_actors(rt_ctx *cx, uint32_t *from, rt_actor_info *out, size_t max) {
    size_t n = 0;
    for (; *from < cx->sh->n_slots && n < max; (*from)++) {
        rt_actor *a = rt_actor_at(cx->sh, *from);
        if (a && !(a->flags & RT_A_DEAD)) fill(cx->sh, a, &out[n++]);
    }
    return n;
}

bool rt_stat_actor(rt_ctx *cx, rt_pid pid, rt_actor_info *out, rt_stat_relation *relations, size_t max, size_t *out_n) {
    rt_actor *a = rt_actor_find(cx->sh, pid);
    if (!a) return false;
    fill(cx->sh, a, out);
    if (max) *out_n = copy_rels(a, relations, max);
    return true;
}

void rt_stat_keep(rt_stat_queue *out, size_t max, size_t *n, const rt_stat_queue *q) {
    if (q->queued == 0 || (*n == max && out[max - 1].queued >= q->queued)) return;
    size_t i = *n < max ? (*n)++ : max - 1;
    for (; i > 0 && out[i - 1].queued < q->queued; i--) out[i] = out[i - 1];
    out[i] = *q;
}

bool rt_stat_longest(rt_ctx *cx, uint32_t *from, rt_stat_queue *out, size_t max, size_t *n) {
    uint32_t end = cx->sh->n_slots - *from > RT_STAT_SCAN ? *from + RT_STAT_SCAN : cx->sh->n_slots;
    for (; *from < end; (*from)++) {
        const rt_actor *a = rt_actor_at(cx->sh, *from);
        if (!a || (a->flags & RT_A_DEAD) || a->queued == 0) continue;
        rt_stat_keep(out, max, n, &(rt_stat_queue){rt_actor_pid(a), a->cls->name, a->queued, a->longest, a->bytes});
    }
    return *from < cx->sh->n_slots;
}

const void *rt_stat_state(rt_ctx *cx, const rt_class *c, uint32_t *from, uint32_t end, rt_pid *out_pid) {
    while (*from < end) {
        rt_actor *a = rt_actor_at(cx->sh, (*from)++);
        if (!a || a->cls != c || (a->flags & RT_A_DEAD)) continue;
        *out_pid = rt_actor_pid(a);
        return rt_actor_state(a);
    }
    return NULL;
}

uint32_t rt_stat_slots(const rt_ctx *cx) { return cx->sh->n_slots; }

static uint64_t difference(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static void queues(rt_node *n, unsigned first, unsigned end, rt_queue_stat *out_messages, rt_queue_stat *out_signals) {
    rt_queue_stat m = {0}, s = {0};
    for (unsigned i = first; i < end; i++) {
        rt_shard *sh = &n->shards[i];
        m.dequeued += rt_counted(&sh->msg_dequeued); /* read first: what was taken out had been put in */
        m.enqueued += rt_counted(&sh->msg_enqueued);
        m.longest += rt_counted(&sh->msg_longest);
        m.bytes += rt_counted(&sh->msg_bytes);
        s.dequeued += rt_counted(&sh->sig_dequeued);
        s.longest += rt_counted(&sh->sig_longest);
    }
    for (unsigned i = first; i < end; i++) s.enqueued += rt_counted(&n->shards[i].sig_enqueued);
    m.queued = difference(m.enqueued, m.dequeued);
    s.queued = difference(s.enqueued, s.dequeued);
    *out_messages = m;
    *out_signals = s;
}

void rt_stat_queues(rt_node *n, rt_queue_stat *out_messages, rt_queue_stat *out_signals) {
    queues(n, 0, n->n_shards, out_messages, out_signals);
}

void rt_stat_queues_of(rt_node *n, unsigned shard, rt_queue_stat *out_messages, rt_queue_stat *out_signals) {
    queues(n, shard, shard + 1, out_messages, out_signals);
}

void rt_stat_shard(rt_node *n, unsigned shard, rt_shard_stat *out) {
    rt_shard *sh = &n->shards[shard];
    rt_shard_stat st = {.messages.dequeued = rt_counted(&sh->msg_dequeued)}; /* read first: what was taken out had been put in */
    st.messages.enqueued = rt_counted(&sh->msg_enqueued);
    st.messages.queued = difference(st.messages.enqueued, st.messages.dequeued);
    st.messages.longest = rt_counted(&sh->msg_longest);
    st.messages.bytes = rt_counted(&sh->msg_bytes);
    st.signals.enqueued = rt_counted(&sh->sig_enqueued);
    st.signals.dequeued = rt_counted(&sh->sig_dequeued);
    st.signals.longest = rt_counted(&sh->sig_longest);
    st.actors = atomic_load_explicit(&sh->n_actors, memory_order_relaxed); /* statistics */
    *out = st;
}

void rt_stat_times(rt_node *n, rt_times *into) {
    for (unsigned i = 0; i < n->n_shards; i++) {
        rt_tally_read(&n->shards[i].handler_nsec, &into->handler_nsec);
        rt_tally_read(&n->shards[i].ready_nsec, &into->ready_nsec);
        rt_tally_read(&n->shards[i].turn_messages, &into->turn_messages);
    }
}

err rt_stat_flush(rt_ctx *cx, rt_pid pid, uint64_t *out_count) {
    rt_actor *a = rt_actor_find(cx->sh, pid);
    if (!a) return ERR_NOPROC;
    if (a->cls->unflushable) return ERR_REFUSED;
    *out_count = rt_mailbox_clear(cx->sh, a, false); /* exits, downs and finished jobs stay: somebody counts on them */
    rt_event(cx, EV_FLUSH, a->slot, *out_count, 0);
    return ERR_OK;
}

uint32_t rt_stat_actor_count(rt_node *n) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < n->n_shards; i++) sum += atomic_load_explicit(&n->shards[i].n_actors, memory_order_relaxed); /* statistics */
    return sum;
}

uint64_t rt_stat_slabs(const rt_node *n) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->n_shards; i++) sum += n->shards[i].slab.bytes;
    return sum;
}
