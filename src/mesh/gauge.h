#ifndef MESH_GAUGE_H
#define MESH_GAUGE_H
/* gauge: what waits on a link, for those who look from elsewhere. It is made with the link and found through the table of nodes; it is
 * freed when its entry there is gone and no reader has it any more. */
#include "rt/epoch.h"

typedef struct mesh_gauge {
    rt_retired retired;
    _Atomic uint64_t bytes;  /* written by the link's shard; these three are relaxed: each means something by itself */
    _Atomic uint64_t busy_n; /* how often it has become busy */
    _Atomic bool busy;
} mesh_gauge;

mesh_gauge *mesh_gauge_new(void);
void mesh_gauge_busy(mesh_gauge *g, bool busy);
void mesh_gauge_retire(rt_ctx *cx, mesh_gauge *g); /* no entry has it any more; NULL is fine */

#endif
