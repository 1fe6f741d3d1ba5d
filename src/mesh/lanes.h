#ifndef MESH_LANES_H
#define MESH_LANES_H
/* lanes: what waits on a link until it is its turn, because it is long, or would overtake something long of the same two processes.
 *
 *     (A, B)    long, short      -->\
 *     (C, D)    long             --> in turns, a piece each --> the connection     what nothing of its pair waits for goes past all this
 *     (C, any)  to a name        -->/    (waits for all other lanes of C)
 *
 * A sender has a lane for each process that it has something waiting for. Whom a name or an alias means only the other node knows, and it
 * may be one of these: so it waits for all that its sender said before, and what the sender says after it waits behind it.
 *
 * Nothing here knows a socket or what an item is. Invariants: (1) a lane that is there has an item, a sender that is there has a lane.
 * (2) items of one pair come out in the order in which they were put in, whatever it is called by. (3) a lane is in the row, unless it is
 * the one for names of a sender that has others. */
#include "base/hash.h"
#include "base/list.h"
#include "rt/msg.h"

typedef struct mesh_item mesh_item;
struct mesh_item { /* in what the owner has to say */
    mesh_item *next;
    size_t bytes; /* of it that wait: counted in mesh_lanes.bytes */
};

typedef struct mesh_lanes {
    hmap senders, lanes;
    list row; /* of those lanes whose turn may come; the first one's is next */
    size_t bytes;
} mesh_lanes;

void mesh_lanes_init(mesh_lanes *s);
void mesh_lanes_fini(mesh_lanes *s); /* all items were taken out */
static inline bool mesh_lanes_empty(const mesh_lanes *s) { return s->senders.count == 0; }
/* Whether what this sender says now would overtake an item. to: RT_PID_NONE for a name or an alias. */
bool mesh_lanes_wait(const mesh_lanes *s, rt_pid from, rt_pid to);
void mesh_lanes_put(mesh_lanes *s, rt_pid from, rt_pid to, mesh_item *i);
mesh_item *mesh_lanes_first(const mesh_lanes *s); /* whose turn it is; NULL: nothing waits */
/* Its turn is over: n more bytes of it are said, and others come first. */
void mesh_lanes_said(mesh_lanes *s, size_t n);
mesh_item *mesh_lanes_take(mesh_lanes *s); /* takes out whose turn it is; NULL likewise */
#endif
