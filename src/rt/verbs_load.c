/* verbs_load: all that a node counts, at one moment, for who compares two moments: murrectl top. Totals since the start only, no rates and
 * no percentages: what has changed is for who asks twice.
 *
 * Invariant: no shard is asked and no lock is waited for but those of the pools' counters, so that it is answered whatever the shards do.
 */
#include "base/mem.h"
#include "rt/msacc.h"
#include "rt/verbs_fn.h"

#define THREADS_MAX 512u

static val *thread_times(rt_verb_call *c) {
    rt_msacc_row *rows = mem_alloc(THREADS_MAX * sizeof *rows);
    size_t n = rt_msacc_read(c->node, rows, THREADS_MAX);
    sys *s = rt_node_sys(c->node);
    uint64_t per_usec = s->cycles_per_sec(s) / (uint64_t)USEC_PER_SEC;
    val *list = val_list(c->arena);
    for (size_t i = 0; i < n; i++) {
        val *m = val_map(c->arena);
        const char *type = rt_msacc_type_name(rows[i].type);
        unsigned kind = rows[i].id >> 8;
        bool pool = rows[i].type == RT_MSACC_POOL && kind < RT_POOL_KINDS;
        val *name = pool ? val_strf(c->arena, "%s %s/%u", type, rt_pool_kind_name((rt_pool_kind)kind), rows[i].id & 0xff)
                         : val_strf(c->arena, "%s %u", type, rows[i].id);
        val_set(c->arena, m, "thread", name);
        val_set(c->arena, m, "type", val_str(c->arena, slice_str(type)));
        for (unsigned k = 0; k < RT_MSACC_STATES; k++)
            rt_verb_uint(c, m, rt_msacc_state_name((rt_msacc_state)k), rows[i].cycles[k] / (per_usec ? per_usec : 1));
        val_push(c->arena, list, m);
    }
    mem_free(rows);
    return list;
}

static val *pool_counts(rt_verb_call *c) {
    val *list = val_list(c->arena);
    for (unsigned k = 0; k < RT_POOL_KINDS; k++) {
        rt_pool_stat p;
        rt_pool_stats(c->node, (rt_pool_kind)k, &p);
        val_push(c->arena, list, rt_verb_pool(c, (rt_pool_kind)k, &p));
    }
    return list;
}

void rt_verb_load(rt_verb_call *c, val *v) {
    sys *s = rt_node_sys(c->node);
    rt_queue_stat messages, signals;
    val *events = val_map(c->arena);
    val_set(c->arena, v, "mono_usec", val_int(c->arena, s->mono(s)));
    rt_stat_queues(c->node, &messages, &signals);
    val_set(c->arena, v, "messages", rt_verb_queue(c, &messages));
    val_set(c->arena, v, "signals", rt_verb_queue(c, &signals));
    val_set(c->arena, v, "threads", thread_times(c));
    val_set(c->arena, v, "pools", pool_counts(c));
    for (unsigned i = 0; i < EV_COUNT_; i++) {
        uint64_t n = rt_event_count(c->node, (rt_event_id)i);
        if (n) rt_verb_uint(c, events, rt_event_descs[i].name, n);
    }
    val_set(c->arena, v, "events", events);
}
