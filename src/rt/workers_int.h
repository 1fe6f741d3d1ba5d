#ifndef RT_WORKERS_INT_H
#define RT_WORKERS_INT_H
/* workers_int: a pool's private structs, shared by workers.c (places, senders, the worker's side) and workers_desk.c (dispatchers). */
#include "rt/core.h"
#include "rt/sup.h"
#include "rt/workers.h"

typedef struct rt_place rt_place;
typedef struct rt_desk rt_desk;

/* A pid of this node in one word, so that it is seen whole. */
static inline uint64_t rt_place_pack(rt_pid p) { return (uint64_t)p.slot << 32 | p.gen; }
static inline rt_pid rt_place_unpack(uint64_t w) { return (rt_pid){0, (uint32_t)(w >> 32), (uint32_t)w}; }

typedef enum rt_place_state { RT_PLACE_DOWN, RT_PLACE_IDLE, RT_PLACE_BUSY } rt_place_state;
struct rt_place { /* of one worker */
    rt_workers *pool;
    const void *arg; /* of the user's init */
    rt_desk *desk;   /* idle: whose worker it is */
    unsigned number, shard;
    char id[RT_WORKERS_NAME + 12]; /* of the child: pool.number */
    /* Written by the worker's shard alone. pid: release, partners are senders on any thread (acquire): who has the pid may send. since and
     * tag: relaxed, for looks; but since is seq_cst where worker and desk are on different shards, see rt_desk. */
    _Atomic uint64_t pid; /* packed; 0: none */
    _Atomic usec since;   /* the work that it is on has begun; 0: none */
    _Atomic uint32_t tag; /* of that work */
    /* The desk's; touched by its shard alone. */
    rt_place *prev, *next; /* among the idle ones */
    rt_place_state state;
    rt_pid worker; /* whose state that is: what is told of the one before comes late */
    usec given;    /* when it got its work */
    bool probed;   /* a probe is under way */
    bool answered; /* by the actor, since it was probed in this work */
    bool reported;
};

/* A dispatcher of an idle pool. Everything but the atomics is touched by its shard alone: by its actor, and directly by senders and workers
 * on that shard, so that work there costs no message more than a plain send.
 *
 * waits and idles: seq_cst store by its shard when the number behind changes from or to none, then a seq_cst load of the others'; partners
 * are the other desks. Of two desks, one with work that begins to wait and one that begins to be idle, at least one sees the other.
 * pid: seq_cst store in the desk's init, which then loads its places' since (seq_cst); partners are workers of other shards, which store
 * since (seq_cst), then load pid: either the new desk sees that it is done, or is told. */
struct rt_desk {
    rt_workers *pool;
    unsigned number, shard;
    char id[RT_WORKERS_NAME + 12];
    rt_class cls;         /* rt_desk_class, with count */
    rt_class_count count; /* of work that its actor never took out of its mailbox */
    _Atomic uint64_t pid; /* packed, of its actor */
    rt_msg *head, **tail; /* work that waits, oldest first */
    uint32_t n_queued, n_idle, n_busy;
    uint64_t bytes;
    uint32_t scan_msec; /* the last search of a full queue for expired work was at scan_msec - 1 */
    rt_place *first_idle, *last_idle;
    bool ticking;                   /* its actor's timer runs */
    uint64_t hinted[RT_SHARDS_MAX]; /* i: the pid of desk i, packed, that was hinted at work here and has not asked since; 0: none */
    uint8_t pad_before[128];
    _Atomic bool waits, idles;
    uint8_t pad_after[128];
    _Atomic uint64_t queued, queued_bytes, sent, expired, refused, handed; /* relaxed, written by its shard, for looks */
};

typedef struct rt_workers_shard { /* what a pool has on a shard */
    rt_workers *pool;
    rt_class cls;
    rt_class_count count; /* of cls */
    rt_sup_spec spec;
    rt_child *children;
    err status;                            /* of the boot */
    _Atomic uint64_t begun, refused, lost; /* relaxed, written by this shard alone */
} rt_workers_shard;

struct rt_workers {
    rt_node *n;
    rt_workers *next; /* of the node; written at boot */
    rt_workers_cfg cfg;
    size_t worker_at; /* offset of the worker in the actor's state, behind the user's */
    unsigned n_desks;
    rt_place *places;
    rt_desk *desks; /* idle only */
    rt_workers_shard *shards;
};

extern const rt_class rt_desk_class; /* arg: its rt_desk */
/* On the desk's shard. */
void rt_desk_take(rt_ctx *cx, rt_desk *d, rt_msg *m);                              /* work from a sender, which is in it */
void rt_desk_free(rt_ctx *cx, rt_desk *d, rt_place *p, rt_pid worker, bool fresh); /* it has nothing to do */
void rt_desk_gone(rt_ctx *cx, rt_desk *d, rt_place *p, rt_pid worker);             /* its worker has ended */

#endif
