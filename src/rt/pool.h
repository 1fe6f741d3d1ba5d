#ifndef RT_POOL_H
#define RT_POOL_H
/* pool: threads for work that blocks or burns. Submit and complete are messages; a job carries a deadline; each kind has its own bound on
 * queue and concurrency, so that a slow disk does not starve handshakes. Jobs may carry a key, the file that they work on: those of one key
 * run one at a time, so that one slow file never holds more than one thread (system.md G2). In the simulator the world runs queued jobs at
 * times drawn from the seed (rt_pool_run_one). */
#include "base/hash.h"
#include "rt/actor.h"
#include "rt/tally.h"

typedef enum rt_pool_kind { RT_POOL_DISK, RT_POOL_SQL, RT_POOL_CRYPTO, RT_POOL_USER, RT_POOL_KINDS } rt_pool_kind;

typedef struct rt_job rt_job;
struct rt_job {                /* embedded in the submitter's own struct, first or through container_of */
    rt_box box;                /* box.free frees the whole job: called if its owner is gone when it completes */
    void (*run)(rt_job *j);    /* on a pool thread: may block; touches only what the job owns */
    const char *what;          /* for people: "log write"; a literal; NULL: "job" */
    uint64_t key;              /* jobs of one kind and key run one at a time, in the order of submission, and keys take turns; 0: no key */
    usec slow_after;           /* a thread that runs it for so long is reported as stuck; 0: as rt_node_cfg.job_stuck says */
    usec deadline;             /* not started after this; USEC_NEVER */
    rt_pid owner;              /* set by submit: who gets RT_JOB_DONE */
    usec submitted;            /* set by submit */
    uint32_t trace;            /* id of the request that it is done for; 0: submit sets that of what is being handled (rt/trace.h) */
    struct {                   /* the pool's, guarded by its lock */
        rt_job *next;          /* behind it: in the queue of what may start, or of its key */
        rt_job *older, *newer; /* in the list of all that wait */
        hmap_node lead;        /* the job of its key that runs, or may start */
        rt_job *head, *tail;   /* a leader's: those of its key that wait for it */
    } place;
};

/* Consumes *j (set to NULL). The owner gets RT_JOB_DONE with it, also when it was refused (status FULL). */
void rt_pool_submit(rt_ctx *cx, rt_pool_kind kind, rt_job **j);
/* The box.free of a job that is first in the one block (base/mem.h) that it is all of. */
void rt_pool_job_free(rt_box *b);
static inline rt_job *rt_job_of(rt_job_done *d) { return container_of(d->job, rt_job, box); }

typedef struct rt_pool_stat {
    uint64_t submitted, done, expired, refused;
    uint64_t n_stuck;                  /* jobs that were reported as stuck, since the start */
    uint32_t queued, running, threads; /* queued: all that have not started */
    uint32_t held;                     /* of those queued: wait for another one of their key */
    uint32_t stuck;                    /* threads in a job that was reported as stuck */
    struct rt_pool_oldest {
        const char *what; /* NULL: there is none */
        uint64_t key;
        usec age;
    } run, wait; /* the job that has run, and waited, for longest */
} rt_pool_stat;
void rt_pool_stats(rt_node *n, rt_pool_kind kind, rt_pool_stat *out);
/* How long jobs waited for a thread, and how long they ran; expired ones only waited. Adds to what is there; any thread. */
typedef struct rt_pool_times {
    rt_tally_sum wait_usec, run_usec;
} rt_pool_times;
void rt_pool_times_read(rt_node *n, rt_pool_kind kind, rt_pool_times *into);
const char *rt_pool_kind_name(rt_pool_kind k); /* "disk", "sql", "crypto", "user" */

/* For the simulator: how many jobs of a kind wait, and run one of them here. */
uint32_t rt_pool_waiting(rt_node *n, rt_pool_kind kind);
bool rt_pool_run_one(rt_node *n, rt_pool_kind kind);

#endif
