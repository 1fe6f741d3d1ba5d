#ifndef NETWARP_LOOP_H
#define NETWARP_LOOP_H
/* loop: one thread, one epoll, a heap of timers, and jobs for the end of a round. Everything is intrusive: the owner embeds loop_io,
 * loop_timer and loop_job, and finds itself by container_of.
 *
 * A round: the events that epoll has, then the timers that are due, then the jobs that were there when the round's jobs began. Memory that
 * an event of the same round may still point to is freed in a job. */
#include "base/list.h"
#include "base/time.h"

typedef struct loop loop;
typedef struct loop_io loop_io;
typedef struct loop_timer loop_timer;
typedef struct loop_job loop_job;

struct loop_io {
    int fd;                                   /* the descriptor, owned by the embedder; -1: none */
    void (*fn)(loop_io *io, uint32_t events); /* events: EPOLL* */
};
struct loop_timer {
    usec at;        /* due then, CLOCK_MONOTONIC */
    uint64_t order; /* of two at the same time, the one set first goes first */
    size_t slot;    /* place in the heap, from 1; 0: not set */
    void (*fn)(loop_timer *t);
};
struct loop_job {
    list node;
    void (*fn)(loop_job *j);
};
struct loop {
    int epfd;
    loop_timer **heap; /* [0..timers) is a binary heap by (at, order) */
    size_t timers;
    size_t cap;
    uint64_t order;
    list jobs;
    bool stop; /* the round that sets it is the last */
};

NODISCARD err loop_init(loop *l);
void loop_fini(loop *l);
/* Runs until stop. ERR_IO if epoll fails. */
NODISCARD err loop_run(loop *l);
usec loop_now(void);
/* Edge-triggered with EPOLLET in events, else level-triggered. ERR_IO if the kernel will not. */
NODISCARD err loop_watch(loop *l, loop_io *io, uint32_t events);
/* Other events for one that is watched. */
void loop_rewatch(loop *l, loop_io *io, uint32_t events);
void loop_unwatch(loop *l, loop_io *io);
/* Sets, or moves, a timer. */
void loop_timer_set(loop *l, loop_timer *t, usec at);
void loop_timer_clear(loop *l, loop_timer *t);
/* Runs fn at the end of this round (of the next one, if this round's jobs are being run); no effect if it is waiting already. */
void loop_later(loop *l, loop_job *j);

#endif
