#ifndef RT_MSACC_H
#define RT_MSACC_H
/* msacc: microstate accounting (system.md F2): at every moment a thread is in exactly one state; the cycles between two changes go to the
 * state that was left. The states of a thread sum to its whole time. Changed at a handful of places in the shard's step, never per message,
 * and only where there is something to do: a state lasts until the next one begins, and what a thread does between two counts for the
 * first. Names are OTP's where the meaning holds. */
#include "rt/node.h"

#include <stdatomic.h>

typedef enum rt_msacc_state {
    RT_MSACC_EMULATOR, /* running handlers */
    RT_MSACC_PORT,     /* socket reads and readiness callbacks */
    RT_MSACC_SEND,     /* flushing rings to other shards */
    RT_MSACC_FLUSH,    /* flush callbacks: writing sockets */
    RT_MSACC_TIMERS,
    RT_MSACC_CHECK_IO,  /* polling without waiting */
    RT_MSACC_BUSY_WAIT, /* spinning before sleep */
    RT_MSACC_SLEEP,
    RT_MSACC_AUX, /* inbox, calls from tools */
    RT_MSACC_OTHER,
    RT_MSACC_STATES
} rt_msacc_state;
typedef enum rt_msacc_type { RT_MSACC_SHARD, RT_MSACC_POOL, RT_MSACC_WATCHDOG, RT_MSACC_CTL, RT_MSACC_TYPES } rt_msacc_type;
/* One word says since when the thread is in which state, so that a reader can add the part that is not over: cycle count << 4 | state.
 * 0: not counting. RT_MSACC_MOVING: the thread is just moving cycles to acc. Order in which the thread writes: MOVING (relaxed), acc
 * (release), the new mark (release). A reader takes mark, acc, mark again (all acquire): who sees a new acc sees that the mark has changed.
 */
#define RT_MSACC_STATE_BITS 4
#define RT_MSACC_MOVING     15u
typedef struct rt_msacc {
    _Atomic uint64_t mark;
    _Atomic uint64_t acc[RT_MSACC_STATES];  /* cycles; written by the thread alone: each is monotonic */
    _Atomic uint64_t base[RT_MSACC_STATES]; /* acc at the last reset; relaxed, written by tools, subtracted by readers */
    _Atomic bool on;                        /* relaxed; the thread notices at its next change of state */
    rt_msacc_type type;
    uint32_t id;           /* within its type; of a pool thread: kind << 8 | number */
    struct rt_msacc *next; /* of the node's list */
} rt_msacc;
typedef struct rt_msacc_row {
    rt_msacc_type type;
    uint32_t id;
    uint64_t cycles[RT_MSACC_STATES];
} rt_msacc_row;
const char *rt_msacc_state_name(rt_msacc_state s);
const char *rt_msacc_type_name(rt_msacc_type t);
void rt_msacc_enable(rt_node *n, bool on); /* on by default */
bool rt_msacc_enabled(rt_node *n);
void rt_msacc_reset(rt_node *n);
/* Up to max rows, one a thread; returns how many. Never waits for a shard. */
size_t rt_msacc_read(rt_node *n, rt_msacc_row *out, size_t max);

/* Is it a change? If nothing is counted, that is noted here. */
static inline bool rt_msacc_moves(rt_msacc *m, rt_msacc_state st) {
    uint64_t mark = atomic_load_explicit(&m->mark, memory_order_relaxed);
    if (LIKELY(atomic_load_explicit(&m->on, memory_order_relaxed))) return !mark || (mark & RT_MSACC_MOVING) != st;
    if (mark) atomic_store_explicit(&m->mark, 0, memory_order_relaxed);
    return false;
}
/* Changes the state, which was left at `now`: for who has just read the cycle counter anyway. At phase boundaries only. */
static inline void rt_msacc_set_at(rt_msacc *m, rt_msacc_state st, uint64_t now) {
    if (!rt_msacc_moves(m, st)) return;
    uint64_t mark = atomic_load_explicit(&m->mark, memory_order_relaxed), was = mark & RT_MSACC_MOVING;
    if (mark) {
        atomic_store_explicit(&m->mark, RT_MSACC_MOVING, memory_order_relaxed);
        uint64_t acc = atomic_load_explicit(&m->acc[was], memory_order_relaxed);
        atomic_store_explicit(&m->acc[was], acc + (now - (mark >> RT_MSACC_STATE_BITS)), memory_order_release);
    }
    atomic_store_explicit(&m->mark, now << RT_MSACC_STATE_BITS | st, memory_order_release);
}
static inline void rt_msacc_set(sys *s, rt_msacc *m, rt_msacc_state st) {
    if (rt_msacc_moves(m, st)) rt_msacc_set_at(m, st, s->cycles(s));
}

#endif
