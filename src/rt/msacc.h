#ifndef RT_MSACC_H
#define RT_MSACC_H
/* msacc: microstate accounting (system.md F2): at every moment a thread is in exactly one state; the cycles between two changes go to the
 * state that was left. The states of a thread sum to its whole time. Changed at a handful of places in the shard's step, never per message.
 * Names are OTP's where the meaning holds. */
#include "rt/node.h"

typedef enum rt_msacc_state {
    RT_MSACC_EMULATOR, /* running handlers */
    RT_MSACC_PORT,     /* socket reads and readiness callbacks */
    RT_MSACC_SEND,     /* flushing rings to other shards */
    RT_MSACC_FLUSH,    /* flush callbacks: writing sockets */
    RT_MSACC_TIMERS,
    RT_MSACC_CHECK_IO, /* polling without waiting */
    RT_MSACC_BUSY_WAIT,/* spinning before sleep */
    RT_MSACC_SLEEP,
    RT_MSACC_AUX,      /* inbox, calls from tools */
    RT_MSACC_OTHER,
    RT_MSACC_STATES
} rt_msacc_state;
typedef enum rt_msacc_type { RT_MSACC_SHARD, RT_MSACC_POOL, RT_MSACC_WATCHDOG, RT_MSACC_CTL, RT_MSACC_TYPES } rt_msacc_type;
typedef struct rt_msacc {
    uint64_t last;                    /* cycle count at the last change */
    _Atomic uint64_t acc[RT_MSACC_STATES]; /* cycles; written by the thread (relaxed), read by tools (relaxed): each is monotonic */
    rt_msacc_state state;
    rt_msacc_type type;
    uint32_t id;                      /* within its type */
    bool on;
    struct rt_msacc *next;            /* of the node's list */
} rt_msacc;
typedef struct rt_msacc_row {
    rt_msacc_type type;
    uint32_t id;
    uint64_t cycles[RT_MSACC_STATES];
} rt_msacc_row;
const char *rt_msacc_state_name(rt_msacc_state s);
const char *rt_msacc_type_name(rt_msacc_type t);
void rt_msacc_enable(rt_node *n, bool on); /* on by default */
void rt_msacc_reset(rt_node *n);
/* Up to max rows, one a thread; returns how many. Never waits for a shard. */
size_t rt_msacc_read(rt_node *n, rt_msacc_row *out, size_t max);

#endif
