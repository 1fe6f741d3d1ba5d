#ifndef BASE_LOCK_H
#define BASE_LOCK_H
/* lock: every lock has a name, an id and a rank, or does not compile; and is counted when counting is on (system.md F5-F8).
 *
 * Invariants: (1) locks are taken in strictly increasing rank; breaking that is panic(), in every build. (2) No lock is held across a
 * send. (3) Counting off costs one relaxed load and no clock; on, an uncontended take costs one trylock and one add, and only a
 * collision reads the cycle counter.
 *
 * lock_set is the registry of a node's locks: there is no process-wide list. */
#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>

/* Ranks: one line per lock class; a thread takes them downward in this list only. */
typedef enum lock_rank {
    LOCK_RANK_NONE,
    LOCK_RANK_CTL,    /* ctl: requests waiting for a reply */
    LOCK_RANK_TABLES, /* rt: who owns which table */
    LOCK_RANK_TABLE,  /* rt: a stripe of a table */
    LOCK_RANK_EPOCH,  /* rt: what waits to be freed until its readers have left */
    LOCK_RANK_CONFIG, /* main: settings that can change while running */
    LOCK_RANK_CLASS,  /* lib: classes of actors */
    LOCK_RANK_TLS,    /* rt: certificate store being swapped */
    LOCK_RANK_POOL,   /* rt: queue of a pool kind */
    LOCK_RANK_INBOX,  /* rt: a shard's inbox for threads outside the shards */
    LOCK_RANK_LOG,    /* rt: log sink */
    LOCK_RANK_FOLLOW, /* rt: who follows events */
    LOCK_RANK_MSACC,  /* rt: the list of all threads' accounts */
    LOCK_RANK_STORE,  /* store: table of log segments, between the writer and readers */
    LOCK_RANK_SET,    /* base: the lock registry itself */
    LOCK_RANK_TEST,
} lock_rank;

typedef struct lock_set lock_set;

/* A place in the source that takes a lock: made by its first counted take, gone with the lock. */
#define LOCK_WAIT_BUCKETS 24u /* of waiting times: bucket 0 is below 1 us, k from 2^(k-1) us to below 2^k us, the last one has no end */
typedef struct lock_site {
    const char *place;                         /* file and line, as the compiler was given them: "src/rt/pool.c:85" */
    struct lock_site *next;                    /* of the same lock; never changes */
    _Atomic uint64_t tries;                    /* takes while counting was on; relaxed: statistics */
    _Atomic uint64_t collisions;               /* of those, takes that had to wait; relaxed */
    _Atomic uint64_t wait_cycles;              /* cycles spent waiting; relaxed */
    _Atomic uint64_t waits[LOCK_WAIT_BUCKETS]; /* collisions by how long they waited; relaxed */
} lock_site;

typedef struct lock {
    pthread_mutex_t m;
    const char *name; /* class, a string literal: "pool", "names" */
    uint32_t id;      /* instance within its class */
    lock_rank rank;
    lock_set *set;
    struct lock *next;          /* in the set */
    lock_site *last;            /* where it was last taken and counted, NULL: never; guarded by the lock itself */
    _Atomic(lock_site *) sites; /* release by the owner of the lock, who adds one in front; acquire by who reads through lock_set_each */
} lock;
typedef struct lock_counts {
    uint64_t tries, collisions, wait_cycles;
} lock_counts;

struct lock_set {
    pthread_mutex_t m; /* guards head; rank LOCK_RANK_SET, not counted */
    lock *head;
    uint64_t cycles_per_usec;
    uint64_t on_since;     /* cycle count at which counting was switched on; 0: it is off. Guarded by m */
    uint64_t on_before;    /* cycles that it was on before that, since it was cleared. Guarded by m */
    _Atomic bool counting; /* relaxed: a take may miss the switch by a moment */
};

void lock_set_init(lock_set *s);
void lock_set_fini(lock_set *s);                            /* every lock must be gone */
void lock_set_clock(lock_set *s, uint64_t cycles_per_usec); /* before its first lock; what the buckets of waiting times are told by */
void lock_set_counting(lock_set *s, bool on);
void lock_set_clear(lock_set *s);       /* zeroes the counters of all, and the time that was counted */
uint64_t lock_set_counted(lock_set *s); /* cycles during which counting was on since it was cleared */
/* Calls fn for each lock, under the set's own mutex: fn must not take locks. */
void lock_set_each(lock_set *s, void (*fn)(void *arg, const lock *l), void *arg);
lock_counts lock_counted(const lock *l); /* the sum of its sites; within lock_set_each, or where the lock cannot go away */

void lock_init(lock *l, lock_set *set, const char *name, uint32_t id, lock_rank rank);
void lock_fini(lock *l);
/* Captures the call site. */
#define LOCK_TEXT_(x) #x
#define LOCK_TEXT(x)  LOCK_TEXT_(x)
#define lock_take(l)  lock_take_at((l), __FILE__ ":" LOCK_TEXT(__LINE__))
void lock_take_at(lock *l, const char *place); /* place: a literal */
void lock_release(lock *l);
bool lock_held(const lock *l); /* by this thread */

/* A condition to wait on with a lock held. timeout_usec < 0: for ever. lock_wait returns false on time-out. Spurious wake-ups happen. */
typedef struct lock_cond {
    pthread_cond_t c;
} lock_cond;
void lock_cond_init(lock_cond *c);
void lock_cond_fini(lock_cond *c);
bool lock_wait(lock_cond *c, lock *l, int64_t timeout_usec);
void lock_signal(lock_cond *c);
void lock_broadcast(lock_cond *c);

#endif
