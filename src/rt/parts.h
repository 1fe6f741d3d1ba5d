#ifndef RT_PARTS_H
#define RT_PARTS_H
/* parts: what a shard is made of, seen by src/rt only: actor, relation, slot, port. */
#include "base/hash.h"
#include "rt/actor.h"

typedef struct rt_shard rt_shard;
typedef struct rt_actor rt_actor;
typedef struct rt_rel rt_rel;

/* --- actor: 112 bytes, its state follows in the same slab block: a server holds one per session, so every byte counts ------------------
 */
#define RT_A_QUEUED  1u  /* in the run queue (or will be looked at when it is taken out) */
#define RT_A_FLUSH   2u  /* in the flush list */
#define RT_A_INIT    4u  /* init returned OK: fini is owed */
#define RT_A_DYING   8u  /* has a reason to end; ends when the present callback is over */
#define RT_A_DEAD    16u /* over; the block lives on while the run queue, the flush list or an armed timer points to it */
#define RT_A_TRAP    32u
#define RT_A_NAMED   64u
#define RT_A_MASKED  128u       /* a port was taken off reading while it is muted */
#define RT_A_TIMED   256u       /* was over budget in a batch: every message is timed */
#define RT_A_MUTING  512u       /* has muted senders */
#define RT_A_LONG    2048u      /* its mailbox was reported as long and has not halved yet */
#define RT_A_RUNNING 1024u      /* its batch is being handled: others may end meanwhile, and take it along */
#define RT_A_TABLES  4096u      /* owns tables, or has */
#define RT_A_KEPT    8192u      /* its parent is the heir of the tables that it makes */
#define RT_A_TRACED  16384u     /* somebody watches it: what it handles gets a trace id */
#define RT_A_FOLLOWS 32768u     /* has subscribed to events */
#define RT_A_HELD    (1u << 31) /* in stops: it takes no messages (rt_hold) */
static inline uint32_t rt_stops_mutes(uint32_t stops) { return stops & ~RT_A_HELD; }
struct rt_actor {
    /* what a send touches */
    rt_actor *run_next; /* in the run queue */
    rt_msg *last;       /* mailbox: a private FIFO in a circle, the last one's next is the first; NULL: empty */
    const rt_class *cls;
    uint64_t bytes; /* in the mailbox: payload; blobs too if the class bounds bytes */
    uint32_t slot, gen;
    uint32_t queued;  /* messages in the mailbox */
    uint32_t longest; /* most that ever were */
    uint32_t stops;   /* why it is not run: RT_A_HELD, and how many receivers mute it */
    uint16_t flags;   /* RT_A_* */
    uint16_t reason;  /* err, once dying */
    /* what a run touches, and the rest */
    uint64_t dequeued;   /* messages taken out ever; handled = dequeued - dropped */
    uint64_t cost;       /* cycles in handlers */
    rt_rel *rels;        /* links, monitors, mutes */
    uint32_t flush_next; /* in the flush list: index of its slot + 1; 0: the last one */
    uint32_t dropped;    /* taken out without being handled */
    uint32_t signals;    /* received */
    uint32_t parent_slot, parent_gen;
    uint32_t ports;     /* first port, index + 1; 0: none */
    uint32_t timers;    /* armed */
    uint32_t scan_msec; /* when its mailbox was last searched for expired messages */
};
_Static_assert(sizeof(rt_actor) == 112 && sizeof(rt_actor) % 16 == 0, "actor header: the state that follows is aligned like a block");
static inline rt_msg *rt_actor_first(const rt_actor *a) { return a->last ? a->last->next : NULL; }
static inline void *rt_actor_state(rt_actor *a) { return a + 1; }
static inline rt_pid rt_actor_pid(const rt_actor *a) { return (rt_pid){0, a->slot, a->gen}; }

/* rel: one end of a relation between two actors; the other end, if it has one, is in the other actor's list. */
typedef enum rt_rel_kind {
    RT_REL_LINK,     /* both ends */
    RT_REL_MONITORS, /* the watcher's end: other is watched */
    RT_REL_WATCHED,  /* the watched one's end: other is the watcher */
    RT_REL_MUTES,    /* a full receiver's end: other is the muted sender */
    RT_REL_MUTED,    /* the muted sender's end: other is the receiver, ref the time at which it ends in any case */
} rt_rel_kind;
struct rt_rel {
    hmap_node node;        /* in shard.rels, by (owner, kind, other, ref) */
    rt_rel *next, **pprev; /* in the owner's list */
    uint64_t ref;
    uint32_t owner; /* slot */
    uint32_t kind;  /* rt_rel_kind */
    rt_pid other;
    uint32_t count; /* of the first one in its owner's list: how many are in it; means nothing in the others */
};
_Static_assert(sizeof(rt_rel) == 64, "a relation is a slab block of 64 bytes");

/* slots: pid index -> actor, in pages that come as needed and never move. */
#define RT_SLOT_PAGE 256u
typedef struct rt_slot {
    rt_actor *a;        /* NULL: free. A dead actor stays here until nothing points to it any more */
    uint32_t gen;       /* of the pid that is alive here; the next one to be used when free */
    uint32_t next_free; /* index + 1 of the next free slot */
} rt_slot;
static inline uint32_t rt_slot_index(uint32_t slot) { return slot & 0xffffffu; }
#define RT_SHARD_EXTERNAL 255u /* shard number in pids of callers outside (rt_call) */

/* port: a descriptor in the shard's poller. Its token is gen << 32 | index. */
typedef struct rt_port {
    int fd;            /* -1: free */
    uint32_t interest; /* what its actor wants */
    uint32_t gen;      /* of the slot in the table */
    uint32_t owner;    /* slot of its actor */
    uint32_t next;     /* next port of this actor, or next free one: index + 1 */
    bool masked;       /* not polled for reading, because its actor is muted */
} rt_port;

/* --- what a shard has in arrays */
typedef struct rt_mute_end { /* in shard.mutes, ordered by time because every mute lasts equally long */
    rt_pid sender, receiver;
    usec until;
} rt_mute_end;

typedef struct rt_dying { /* in shard.dying */
    rt_pid pid;
    rt_blob *term; /* of ERR_FOREIGN: the reason; else NULL */
} rt_dying;

#endif
