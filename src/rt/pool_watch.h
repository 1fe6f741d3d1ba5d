#ifndef RT_POOL_WATCH_H
#define RT_POOL_WATCH_H
/* pool_watch: what the pools' threads are at, seen from outside and without their help. Any thread, between rt_pool_start and rt_pool_stop:
 * the watchdog. */
#include "rt/pool.h"

typedef struct rt_pool_doing { /* a moment old, and it may mix two jobs: act on it when serial has not changed */
    rt_pool_kind kind;
    uint64_t serial;  /* of the job, among those of its thread */
    const char *what; /* a literal */
    uint64_t key;
    usec slow_after; /* 0: rt_node_cfg.job_stuck */
    rt_pid owner;
    sys_thread *thread;
} rt_pool_doing;
unsigned rt_pool_threads(const rt_node *n);                                   /* of all kinds */
bool rt_pool_doing_of(const rt_node *n, unsigned thread, rt_pool_doing *out); /* false: it runs no job */
/* The job of that serial is reported as stuck: counted, shown until it is over, and then told (job_unstuck). False: it is over already, or
 * was reported before; nothing is done. */
NODISCARD bool rt_pool_stuck(rt_node *n, unsigned thread, uint64_t serial);

#endif
