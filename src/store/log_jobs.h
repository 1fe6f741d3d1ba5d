#ifndef STORE_LOG_JOBS_H
#define STORE_LOG_JOBS_H
/* log_jobs: what the log actor hands to the disk pool; private to log_actor.c and log_jobs.c. A job owns all that it touches, except the
 * log itself: at most one of OPEN, WRITE, INDEX and DROP is in flight (they are the writer), READ and BACKUP run beside it. */
#include "rt/event.h"
#include "store/log_int.h"

#define LOG_READ_REPLY_MAX (64u << 20) /* bytes of one STORE_RECORDS; records past this come back as AGAIN */

typedef struct log_hold { /* keeps the log open while a job that came too late for its actor is under way; counted on the actor's shard only
                           */
    store_log *log;       /* NULL until it is open */
    uint32_t refs;
} log_hold;

typedef enum log_job_kind { LOG_JOB_OPEN, LOG_JOB_WRITE, LOG_JOB_INDEX, LOG_JOB_DROP, LOG_JOB_READ, LOG_JOB_BACKUP } log_job_kind;
typedef struct log_job {
    rt_job job;
    log_job_kind kind;
    rt_node *node;
    log_hold *hold;
    const store_log_cfg *cfg;
    store_log *opened; /* OPEN: the result */
    store_log_open_stat opening;
    err status;
    usec took;
    /* WRITE */
    rt_msg *head, **tail; /* PUTs and DELs in the order of arrival */
    uint32_t n_msgs, n_puts;
    bool probe, step, mark; /* look for space first; then a step of compaction; a mark when idle */
    buf locs;               /* u64le for each PUT; 0: it cannot be kept at all (LIMIT) */
    buf moved;              /* u32le partition, u64le id, u64le loc, lslice user for each */
    err step_status, probe_status;
    bool stepped_all; /* the segment is copied */
    uint64_t bytes;   /* of the batch */
    uint64_t batch;   /* its number in the life of this actor */
    uint64_t held;    /* memory of its messages: the actor's account */
    /* the rest */
    uint64_t segment;   /* DROP */
    rt_msg *req;        /* INDEX, READ, BACKUP: the request */
    store_index *index; /* INDEX: the result */
    size_t at;          /* READ: bytes of the request's ids that are done */
    buf out;            /* READ: records */
    buf damage;         /* u64le segment, u64le offset, lslice text for each loss that was met */
    bool full;          /* the disk was full when the job was made */
    bool room;          /* the spare was given up: there is room for deletions */
    /* how the log is afterwards (writer jobs) */
    store_status now;
    bool wants_compact;
} log_job;

log_job *store_log_job_new(rt_node *n, log_hold *h, log_job_kind kind);
/* READ, on the shard: is there more to read? The job is then keyed by the segment that comes next, and may be submitted again. */
bool store_log_job_read_on(log_job *j);
void store_log_job_free(log_job *j); /* on the shard; with the messages that it still has */
void store_log_hold_unref(log_hold *h);
#endif
