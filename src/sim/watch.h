#ifndef SIM_WATCH_H
#define SIM_WATCH_H
/* watch: somebody watches an account of a simulated node, as murrectl trace does (rt/follow.h), and what the steps of its requests say is
 * held against the contract: nothing is told or delivered before it is durable, and every step belongs to a request that began. The numbers
 * of the requests and their steps go into the world's digest. */
#include "sim/node.h"

typedef struct sim_watch {
    sim_world *w;
    sim_node *node;
    const char *subject;
    struct rt_follow *follow; /* of the node's life below; NULL: none */
    uint64_t life;
    uint32_t *seen; /* of request i + 1: what has happened to it, watch.c */
    size_t n, cap;
    bool lost;                                       /* steps, in this life: a request may have begun unseen */
    uint64_t began, stored, durable, reached, acked; /* requests, in all lives */
} sim_watch;

void sim_watch_init(sim_watch *x, sim_node *n, const char *subject);
void sim_watch_up(sim_watch *x);   /* the node has booted: watches it */
void sim_watch_look(sim_watch *x); /* takes what has come; now and then, and at the end before the node stops */
void sim_watch_fini(sim_watch *x);

#endif
