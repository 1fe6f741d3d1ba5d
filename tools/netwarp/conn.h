#ifndef NETWARP_CONN_H
#define NETWARP_CONN_H
/* conn: one relayed TCP connection: two sockets and the two flows between them. flow.c moves bytes, conn.c opens and ends.
 *
 * Invariants: (1) given + held == taken in each flow. (2) Bytes leave in the order in which they came. (3) A connection is freed only in a
 * job, so that no event of the same round points into freed memory; from conn_close on it is closed and does nothing. */
#include "fate.h"
#include "queue.h"
#include "relay.h"

typedef struct conn conn;

typedef enum flow_end {
    END_NONE,    /* its sender may still send */
    END_FIN,     /* it said that it will not */
    END_RST,     /* it broke */
    END_TIMEOUT, /* a segment was lost more than WARP_RETRIES_MAX times */
} flow_end;

typedef struct flow {
    conn *c;
    dir dir;
    queue q;
    uint64_t taken, given; /* bytes read and written since the start */
    flips flips;
    uint64_t fired;      /* bits: which `after` statements were done */
    uint64_t after_next; /* position of the next of them */
    usec due_last;       /* when the last byte is due: none behind it is earlier */
    usec pace_until;     /* nothing is written before (chunk, pace) */
    uint64_t healed;     /* link_dir.healed, as far as this flow followed it */
    hold cut, half_open; /* of this connection alone */
    flow_end end;
    usec end_due; /* when its peer may hear of the end */
    bool done;    /* the end is passed on, or never will be */
    bool muted;   /* it never will be */
    bool sink;    /* its receiver is gone: nothing is written any more */
    bool bulk;    /* the last read brought much: the next one is a splice */
    loop_timer timer;
} flow;

typedef struct side {
    loop_io io; /* fd -1: not connected yet, or closed by `reset` */
    bool readable, writable;
    bool hup; /* its peer has shut down or gone */
    bool err; /* it broke */
} side;

struct conn {
    relay *r;
    list node;
    uint64_t number;
    side side[2]; /* [d]: where direction d comes from; [0] the client, [1] the server */
    flow flow[DIR_COUNT];
    bool connecting, connected, closed;
    unsigned resetting; /* DIR_BITs of a reset that waits until what was written before it has arrived */
    usec resetting_until;
    loop_job pump;
    loop_job free;
    loop_timer timer; /* until connected: when to begin that; then: when to look again whether a reset may go on */
};

/* flow.c. Each returns true if it moved or changed anything. */
void flow_init(flow *f, conn *c, dir d);
void flow_fini(flow *f);
bool flow_read(flow *f);
bool flow_give(flow *f);
bool flow_can_read(const flow *f);
bool flow_cut(const flow *f);
bool flow_half_open(const flow *f);
/* Sets the timer for the next time at which anything may happen by itself. */
void flow_arm(flow *f);
/* The sender of f broke: its peer hears of it as it would of bytes sent then. */
void flow_broken(flow *f);

/* conn.c */
void conn_close(conn *c, bool reset_client, bool reset_server);

static inline side *flow_from(flow *f) { return &f->c->side[f->dir]; }
static inline side *flow_to(flow *f) { return &f->c->side[1 - f->dir]; }
static inline link_dir *flow_link(const flow *f) { return &f->c->r->dir[f->dir]; }

#endif
