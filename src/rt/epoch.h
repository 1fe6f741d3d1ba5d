#ifndef RT_EPOCH_H
#define RT_EPOCH_H
/* epoch: when memory that others may be reading can be freed, without a lock or a count that readers share (K. Fraser, "Practical
 * lock-freedom", 2004, 5.2.3; the quiescent states are rounds of shards, as the grace periods of RCU are).
 *
 * A reader is a shard during a round, or another thread between rt_epoch_begin and rt_epoch_end. What a reader finds in a table stays until
 * it has left. A reader that does not leave keeps what is replaced meanwhile from being freed: table_wait_max of the node's
 * configuration limits how much.
 */
#include "base/lock.h"
#include "rt/msg.h"

#include <stdatomic.h>

typedef struct rt_shard rt_shard;
typedef struct rt_reader rt_reader;

/* --- for everybody */
/* The reader of this callback's shard. What is found through it is good until the callback returns. */
rt_reader *rt_epoch_reader(rt_ctx *cx);
/* Threads outside the shards (pool, ctl, tools): begin, read as often as wanted, end; waits for nobody. *r becomes NULL. */
rt_reader *rt_epoch_begin(rt_node *n);
void rt_epoch_end(rt_reader **r);

/* --- for who keeps things that are found through tables: what is to be freed */
typedef struct rt_retired rt_retired;
struct rt_retired {                          /* in what was unlinked */
    rt_retired *next;                        /* in one list or another of epoch.c */
    bool (*free)(rt_node *n, rt_retired *x); /* frees it, or a part of it and returns false: called again when others had their turn */
    size_t bytes;                            /* counted towards table_wait_max */
};
typedef struct rt_retired_list {
    rt_retired *first, *last; /* last: good if there is a first */
} rt_retired_list;
struct rt_reader {
    _Atomic uint64_t epoch; /* seen when it entered; 0: it reads nothing. seq_cst stores by its thread, seq_cst loads by whoever advances */
    rt_node *node;
    rt_shard *sh;             /* NULL: a thread outside the shards */
    rt_retired_list limbo;    /* unlinked by it since it entered */
    size_t limbo_bytes;       /* of those */
    rt_reader *next;          /* of those outside; written before it can be seen, never changes */
    _Atomic bool busy;        /* outside: somebody has it. acquire exchange, release store: pairs with itself */
    uint8_t pad[128 - 8 * 8]; /* what shares a line with another reader's epoch slows both */
};

#define RT_EPOCH_GRACE 3u /* what was unlinked in epoch e is free in epoch e + 3 */
typedef struct rt_epochs {
    _Atomic uint64_t now;   /* from 1. seq_cst, with rt_reader.epoch */
    _Atomic bool pending;   /* something waits: who leaves looks after it. seq_cst store before readers are looked at; load by who leaves */
    _Atomic uint64_t bytes; /* of what waits; relaxed: a limit may be passed by a little */
    _Atomic uint64_t freed; /* retired things that were freed; relaxed: statistics */
    _Atomic(rt_reader *) outside; /* all that ever were; release by who adds one in front, acquire by who walks */
    lock l;
    rt_retired_list waiting[RT_EPOCH_GRACE + 1]; /* guarded by l: by the epoch of the reader that unlinked it, modulo */
    rt_retired_list ready;                       /* guarded by l: can be freed */
} rt_epochs;

void rt_epoch_init(rt_node *n);
void rt_epoch_fini(rt_node *n); /* frees all that waits; nobody reads any more */
void rt_epoch_reader_init(rt_node *n, rt_shard *sh, rt_reader *r);
/* A shard's round. Entering twice is fine: false, and then it is not this caller that leaves. Leaving returns true if there is more to free
 * than was freed in passing: the shard should not sleep. */
bool rt_epoch_enter(rt_reader *r);
bool rt_epoch_leave(rt_reader *r);
/* x has been unlinked by r, which is inside: nobody who enters from now on finds it. */
void rt_epoch_retire(rt_reader *r, rt_retired *x);
bool rt_epoch_full(const rt_node *n);     /* more than table_wait_max waits */
uint64_t rt_epoch_of(const rt_reader *r); /* 0: it is outside. By its own thread */

#endif
