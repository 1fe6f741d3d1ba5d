#ifndef EDGE_LISTENER_H
#define EDGE_LISTENER_H
/* listener: the actor that accepts connections on one socket of one shard. Private to the edge. */
#include "edge/door.h"

typedef struct edge_port {  /* an open listening socket and what to do with it; outlives the listener that serves it */
    rt_box box;             /* lets go of it */
    struct edge_port *next; /* in door.ports */
    sys *sys;
    edge_door *door; /* borrowed: it lives as long as the node */
    uint32_t refs;   /* the door's, and the listener's while there is one */
    edge_transport transport;
    sys_addr addr; /* bound */
    int backlog;
    int fd; /* -1: a listener has taken it, or it is gone with one */
    rt_pid listener;
} edge_port;
edge_port *edge_port_ref(edge_port *p);
void edge_port_unref(edge_port *p); /* closes the socket if no listener has it */

typedef struct edge_listener_arg { /* of the class */
    edge_port *port;
} edge_listener_arg;
extern const rt_class edge_listener_class;

#define EDGE_ACCEPT_BATCH 64                    /* connections taken per readiness: a flood does not starve present sessions */
#define EDGE_ACCEPT_PAUSE (250 * USEC_PER_MSEC) /* before it is tried again when descriptors have run out */
#define EDGE_ACCEPT_BREAK (10 * USEC_PER_MSEC)  /* least pause when connections come too fast: a hundred wakings a second are nothing */

#endif
