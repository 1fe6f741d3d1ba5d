#ifndef MAIN_METRICS_H
#define MAIN_METRICS_H
/* metrics: what a node tells a monitoring system, as OpenMetrics text 1.0: every event's count and what it measures, queues,
 * microstates, pools, locks, tables, the message log, partitions, the process. Label values come from fixed sets (shards, states, kinds);
 * the only free text is the node's own name. Never a user, an address or a message. docs/metrics.md lists it all. */
#include "main/scrape.h"
#include "main/verbs.h"

typedef struct main_metrics main_metrics;
/* n's environment is a main_env; n outlives it. */
main_metrics *main_metrics_new(rt_node *n);
void main_metrics_free(main_metrics *m); /* NULL is fine */

/* Appends the whole text; arg is a main_metrics. One thread at a time, never a shard's: what only an actor knows is asked for with
 * MAIN_METRICS_ASK for all questions together, and left out when the time is over (murre_scrape_incomplete). */
void main_metrics_text(void *arg, const main_scrape_stat *st, buf *out);
#define MAIN_METRICS_ASK (500 * USEC_PER_MSEC)
/* An answer is kept for a second, or for MAIN_METRICS_DUTY times what it took to get, if that is longer: however often somebody scrapes, at
 * most one part in MAIN_METRICS_DUTY of the time goes into asking. */
#define MAIN_METRICS_DUTY 50

#endif
