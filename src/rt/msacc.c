/* msacc: the accounts of all threads of a node, and their reading.
 *
 *     shard 0   [emulator 812 | port 90 | ... | sleep 99000]  <- written by that thread alone, at phase boundaries (rt_msacc_set)
 *     shard 1   [...]                                          <- read by anybody, one relaxed load a state
 *     pool disk [...]
 *
 * Invariants: (1) a thread is in exactly one state, so that its states sum to its whole time; a reader adds the part of the present state
 * that is not over, by the mark. (2) Nobody waits for a shard, and no shard waits for a reader: a reader that meets a change looks again.
 * (3) An account is in the list from before its thread runs until after it has ended; the list has a lock, which no thread takes to write
 * its account. (4) The accounts only grow; a reset is a base that readers subtract, so that no other thread ever writes them. */
#include "rt/msacc.h"

#include "rt/shard.h"

static const char *const state_names[RT_MSACC_STATES] = {"emulator", "port",      "send",  "flush", "timers",
                                                         "check_io", "busy_wait", "sleep", "aux",   "other"};
static const char *const type_names[RT_MSACC_TYPES] = {"shard", "pool", "watchdog", "ctl"};

const char *rt_msacc_state_name(rt_msacc_state s) { return s < RT_MSACC_STATES ? state_names[s] : "?"; }
const char *rt_msacc_type_name(rt_msacc_type t) { return t < RT_MSACC_TYPES ? type_names[t] : "?"; }

void rt_msacc_join(rt_node *n, rt_msacc *m, rt_msacc_type type, uint32_t id) {
    for (unsigned i = 0; i < RT_MSACC_STATES; i++) {
        atomic_init(&m->acc[i], 0);
        atomic_init(&m->base[i], 0);
    }
    m->type = type;
    m->id = id;
    m->next = NULL;
    atomic_init(&m->on, true);
    atomic_init(&m->mark, 0); /* its time begins with its first state: until then it has not run */
    lock_take(&n->msacc_lock);
    rt_msacc **at = &n->msaccs;
    while (*at) at = &(*at)->next;
    *at = m;
    lock_release(&n->msacc_lock);
}

void rt_msacc_leave(rt_node *n, rt_msacc *m) {
    lock_take(&n->msacc_lock);
    rt_msacc **at = &n->msaccs;
    while (*at && *at != m) at = &(*at)->next;
    if (*at) *at = m->next;
    lock_release(&n->msacc_lock);
}

void rt_msacc_enable(rt_node *n, bool on) {
    lock_take(&n->msacc_lock);
    for (rt_msacc *m = n->msaccs; m; m = m->next) atomic_store_explicit(&m->on, on, memory_order_relaxed);
    lock_release(&n->msacc_lock);
}

bool rt_msacc_enabled(rt_node *n) {
    lock_take(&n->msacc_lock);
    bool on = n->msaccs && atomic_load_explicit(&n->msaccs->on, memory_order_relaxed); /* all are, or none */
    lock_release(&n->msacc_lock);
    return on;
}

/* All states at one moment, the present one included; see msacc.h for the order. */
static void snapshot(sys *s, rt_msacc *m, uint64_t out[RT_MSACC_STATES]) {
    for (;;) {
        uint64_t mark = atomic_load_explicit(&m->mark, memory_order_acquire);
        for (unsigned i = 0; i < RT_MSACC_STATES; i++) out[i] = atomic_load_explicit(&m->acc[i], memory_order_acquire);
        uint64_t now = s->cycles(s);
        if (mark == RT_MSACC_MOVING || atomic_load_explicit(&m->mark, memory_order_acquire) != mark) continue;
        uint64_t since = mark >> RT_MSACC_STATE_BITS;
        /* Another CPU's counter may be a little behind the one that wrote the mark. */
        if (mark && now > since && atomic_load_explicit(&m->on, memory_order_relaxed)) out[mark & RT_MSACC_MOVING] += now - since;
        return;
    }
}

void rt_msacc_reset(rt_node *n) {
    lock_take(&n->msacc_lock);
    for (rt_msacc *m = n->msaccs; m; m = m->next) {
        uint64_t now[RT_MSACC_STATES];
        snapshot(n->s, m, now);
        for (unsigned i = 0; i < RT_MSACC_STATES; i++) atomic_store_explicit(&m->base[i], now[i], memory_order_relaxed);
    }
    lock_release(&n->msacc_lock);
}

size_t rt_msacc_read(rt_node *n, rt_msacc_row *out, size_t max) {
    size_t k = 0;
    lock_take(&n->msacc_lock);
    for (rt_msacc *m = n->msaccs; m && k < max; m = m->next, k++) {
        out[k].type = m->type;
        out[k].id = m->id;
        snapshot(n->s, m, out[k].cycles);
        for (unsigned i = 0; i < RT_MSACC_STATES; i++) {
            uint64_t base = atomic_load_explicit(&m->base[i], memory_order_relaxed);
            out[k].cycles[i] = out[k].cycles[i] > base ? out[k].cycles[i] - base : 0;
        }
    }
    lock_release(&n->msacc_lock);
    return k;
}
