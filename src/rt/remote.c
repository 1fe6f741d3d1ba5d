/* remote: where the plug for actors on other nodes is put in; ctx.c and signal.c use it. */
#include "rt/core.h"

void rt_node_set_remote(rt_node *n, rt_remote *r) {
    if (check(!n->started)) n->remote = r;
}
