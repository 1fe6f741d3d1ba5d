#ifndef RT_RATE_H
#define RT_RATE_H
/* rate: how many messages and signals a second go into queues and out of them, over the last 1, 10 and 100 seconds, per shard and of the
 * node (system.md G13). Sending pays nothing: the counters that it keeps anyway are copied once a second by the watchdog's thread. Reading
 * is O(1) a shard, from any thread. */
#include "rt/node.h"

#define RT_RATE_WINDOWS 3u
extern const unsigned rt_rate_seconds[RT_RATE_WINDOWS]; /* 1, 10, 100 */
#define RT_RATE_NODE  UINT32_MAX                        /* as shard: all of them */
#define RT_RATE_EVERY USEC_PER_SEC

typedef struct rt_rate {
    double in, out; /* a second. A signal counts as in at the shard that sends it, as out at the one where it acts */
    usec over;      /* the time that was looked at: shorter than the window soon after the start; 0: too early to say, or no watchdog */
} rt_rate;
/* window: index into rt_rate_seconds. */
void rt_rate_read(rt_node *n, uint32_t shard, unsigned window, rt_rate *out_messages, rt_rate *out_signals);

/* The watchdog's: before threads run, once every RT_RATE_EVERY by one thread, and after the readers have gone. */
void rt_rate_init(rt_node *n);
void rt_rate_sample(rt_node *n);
void rt_rate_fini(rt_node *n); /* fine when it was never made */

#endif
