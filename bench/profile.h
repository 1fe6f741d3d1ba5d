#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H
/* profile: a node with one known load or fault in it: `murre-bench profile NAME`. murrectl looks at it through its control socket;
 * docs/inside.md says what the looks show then, and test/inside proves it.
 *
 *     boot (actors, before anything runs) -> start -> begin (threads outside) -> warm rounds -> "ready" -> ... -> table, figures -> end ->
 * stop
 *
 * A load is paced by what was done, never by the clock: who has an answer asks again, and who should be idle for a share of the time waits
 * until the node's own accounts show that share. A busy machine makes it slower, and leaves its shape. */
#include "base/lock.h"
#include "bench.h"
#include "rt/node.h"
#include "rt/pool.h"

#include <stdatomic.h>

#define PROFILE_WORK_FIELDS(F) F(PID, client, "who waits for the answer") F(U64, n, "which piece it is")
#define PROFILE_DONE_FIELDS(F) F(U64, n, "which piece it was")
enum { PROFILE_WORK = RT_TAG_TEST, PROFILE_DONE };
RT_MSG_DECLARE(PROFILE_WORK, profile_work, "asks for a piece of work")
RT_MSG_DECLARE(PROFILE_DONE, profile_done, "a piece of work is done")

typedef struct profile profile;
typedef struct profile_load {
    const char *name, *doc;
    uint64_t warm;                                       /* rounds before it is ready */
    int64_t size;                                        /* if --size is not given; 0: it has none */
    const char *hows;                                    /* what --how may be, the first one if it is not given; NULL: nothing */
    void (*configure)(const profile *p, rt_node_cfg *c); /* NULL: as it is */
    void (*boot)(profile *p);
    bool (*begin)(profile *p);  /* NULL: nothing to do. False: said on standard error */
    void (*report)(profile *p); /* figures, at the end; NULL: none */
    void (*end)(profile *p);    /* over is set; the node runs; NULL: nothing to do */
    void (*free)(profile *p);   /* the node is gone; NULL: nothing to do */
} profile_load;
struct profile {
    const profile_load *what;
    rt_node *n;
    sys *s;
    int64_t shards, seconds, rounds, size; /* seconds, rounds: 0: until it is interrupted */
    const char *dir, *how;
    usec started;
    lock lock;             /* named after the profile; rank LOCK_RANK_TEST */
    _Atomic uint64_t done; /* rounds; relaxed: a count */
    _Atomic bool over;     /* release by who ends it, acquire by who waits on purpose: it goes on */
    void *load;            /* the load's own */
};

extern const profile_load profile_healthy, profile_starved, profile_hot, profile_slow_pool;        /* profile_load.c, profile_bad.c */
extern const profile_load profile_stuck, profile_convoy, profile_seed, profile_leak, profile_long; /* profile_fault.c */
extern const profile_load profile_flood;                                                           /* profile_flood.c */

/* Spawns on that shard, modulo their number; at boot. arg is borrowed; the state of each class here begins with a profile *. */
rt_pid profile_spawn(profile *p, unsigned shard, const rt_class *c, const void *arg);
/* Puts n pieces of work numbered from 0 into an actor's mailbox; at boot. */
void profile_fill(profile *p, rt_pid to, uint64_t n);
void profile_send(rt_ctx *cx, rt_pid to, uint16_t tag, uint64_t n); /* PROFILE_WORK (this actor is the client) or PROFILE_DONE */
void profile_round(profile *p);                                     /* any thread: one more is done */
bool profile_over(const profile *p);
/* Some 250 ns of processor time each, on the machine that this was written on. */
void profile_burn(unsigned units);
/* The handler that does not come back; seen in stacks by this name. */
err profile_stuck_handle(rt_ctx *cx, void *st, rt_msg **m);

#endif
