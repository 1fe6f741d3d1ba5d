#ifndef MAIN_TOP_H
#define MAIN_TOP_H
/* top: a live view of a node: what its shards do, queues with rates, pools, events, the longest mailboxes, the busiest actors. On a
 * terminal the whole screen, redrawn every second; otherwise one plain snapshot an interval, or one and no more with --once. */
#include "main/ask.h"

/* The command; words[0] is its name. */
int main_top(const main_ask *o, char **words, int n);

#endif
