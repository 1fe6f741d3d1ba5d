#ifndef STORE_AGAIN_H
#define STORE_AGAIN_H
/* again: the engine's one job that a pool had no room for, kept until it goes in; private to the two store actors.
 *
 *   pool --DONE(FULL)--> park: event, timer --1 ms, 2 ms, 4 ms ... 128 ms--> submit --DONE(FULL)--> park ...
 *                                                                                 \--DONE(OK)--> went_in
 *
 * Invariants: (1) the job is in one place: here while the timer runs, else with the pool or on its way home. (2) It is never given up, as
 * an engine cannot go on without it; what waits behind it is bounded by the actor's own queue. */
#include "rt/event.h"
#include "rt/node.h"

#define STORE_AGAIN_MIN_USEC (1 * USEC_PER_MSEC)
#define STORE_AGAIN_MAX_USEC (128 * USEC_PER_MSEC) /* a pool that is full for a second is asked 14 times */

typedef struct store_again {
    rt_timer timer; /* hand its firing to store_again_submit */
    rt_job *job;    /* NULL unless the timer runs */
    usec wait;      /* before the last attempt; 0: it was the first */
} store_again;

/* Takes the job out of d, whose status is FULL; or which could not begin, because a job of an actor before us is still at work. */
void store_again_park(rt_ctx *cx, store_again *a, rt_pool_kind kind, rt_job_done *d);
void store_again_submit(rt_ctx *cx, store_again *a, rt_pool_kind kind); /* the timer fired */
static inline void store_again_went_in(store_again *a) { a->wait = 0; } /* a job came home done: the next wait is short again */
void store_again_fini(store_again *a);                                  /* frees the job that waits, if one does */
#endif
