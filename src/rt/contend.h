#ifndef RT_CONTEND_H
#define RT_CONTEND_H
/* contend: contention where there is no lock, told in the terms of the lock table (system.md F5), so that a hot mailbox is found there too.
 * Always counted: each of these counters is written once a batch, or only when somebody had to wait. */
#include "rt/node.h"

typedef enum rt_contend_kind {
    RT_CONTEND_RING,    /* from -> to: entries; that found the ring full; the time during which some waited */
    RT_CONTEND_WAKE,    /* to: batches and posts for a shard; that found it asleep and paid a system call */
    RT_CONTEND_RETURNS, /* to: blocks that other threads gave back to a shard; retries because two did at once */
    RT_CONTEND_MAILBOX, /* to: messages put into mailboxes of a shard; refused, dropped or muting their sender because one was full */
    RT_CONTEND_KINDS
} rt_contend_kind;
typedef struct rt_contend_row {
    rt_contend_kind kind;
    unsigned from, to;
    uint64_t tries, collisions, usecs;
} rt_contend_row;

const char *rt_contend_name(rt_contend_kind k); /* "ring", "wake", "returns", "mailbox" */
/* Calls fn for each row; rings that were never used are left out. Any thread; waits for nobody. Returns since when it counts: the node's
 * start or the last clear, in microseconds. */
usec rt_contend_each(rt_node *n, void (*fn)(void *arg, const rt_contend_row *r), void *arg);
void rt_contend_clear(rt_node *n); /* any thread */

void rt_contend_init(rt_node *n); /* node.c's */
void rt_contend_fini(rt_node *n);

#endif
