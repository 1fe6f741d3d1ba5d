#ifndef RT_POOL_H
#define RT_POOL_H
/* pool: threads for work that blocks or burns. Submit and complete are messages; a job carries a deadline; each kind has its own bound on
 * queue and concurrency, so that a slow disk does not starve handshakes. In the simulator the world runs queued jobs at times drawn from
 * the seed (rt_pool_run_one). */
#include "rt/actor.h"

typedef enum rt_pool_kind { RT_POOL_DISK, RT_POOL_SQL, RT_POOL_CRYPTO, RT_POOL_USER, RT_POOL_KINDS } rt_pool_kind;

typedef struct rt_job rt_job;
struct rt_job {             /* embedded in the submitter's own struct, first or through container_of */
    rt_box box;             /* box.free frees the whole job: called if its owner is gone when it completes */
    void (*run)(rt_job *j); /* on a pool thread: may block; touches only what the job owns */
    rt_pid owner;           /* set by submit: who gets RT_JOB_DONE */
    usec deadline;          /* not started after this; USEC_NEVER */
    rt_job *next;           /* in the queue */
    usec submitted;         /* set by submit */
};

/* Consumes *j (set to NULL). The owner gets RT_JOB_DONE with it, also when it was refused (status FULL). */
void rt_pool_submit(rt_ctx *cx, rt_pool_kind kind, rt_job **j);
/* Like submit for a caller without a mailbox: only the simulator and boot use it: runs at once. */
static inline rt_job *rt_job_of(rt_job_done *d) { return container_of(d->job, rt_job, box); }

typedef struct rt_pool_stat {
    uint64_t submitted, done, expired, refused;
    uint32_t queued, running, threads;
    usec waits, runs; /* since when the oldest job that is queued waits, and the oldest that runs runs: how long; 0: there is none */
} rt_pool_stat;
void rt_pool_stats(rt_node *n, rt_pool_kind kind, rt_pool_stat *out);
const char *rt_pool_kind_name(rt_pool_kind k); /* "disk", "sql", "crypto", "user" */

/* For the simulator: how many jobs of a kind wait, and run one of them here. */
uint32_t rt_pool_waiting(rt_node *n, rt_pool_kind kind);
bool rt_pool_run_one(rt_node *n, rt_pool_kind kind);

#endif
