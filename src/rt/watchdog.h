#ifndef RT_WATCHDOG_H
#define RT_WATCHDOG_H
/* watchdog: what a shard is at, seen from outside and without its help, so that it can be asked of one that is stuck. Any thread. */
#include "rt/node.h"

typedef struct rt_doing {
    const char *cls; /* class of the actor whose callback runs, or ran last; "no actor" before the first */
    rt_pid pid;
    const char *msg; /* name of the message that is handled; "callback" for others */
    bool idle;       /* nothing runs: the shard waits */
} rt_doing;
rt_doing rt_watchdog_doing(const rt_node *n, unsigned shard);
/* It has been reported as stuck and has not come back since, as far as the watchdog's last look goes. */
bool rt_watchdog_stuck(const rt_node *n, unsigned shard);
/* The shard's stack as "function+0x1f < caller+0x2 < ...", innermost first, or "no stack"; returns its length, less than max. Takes at most
 * 100 ms. */
size_t rt_watchdog_stack(rt_node *n, unsigned shard, char *out, size_t max);

#endif
