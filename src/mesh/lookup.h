#ifndef MESH_LOOKUP_H
#define MESH_LOOKUP_H
/* lookup: addresses of a host by its name, as a job of the pool. All of them take turns on one thread, however slow the name servers are.
 */
#include "rt/pool.h"
#include "rt/sys.h"

typedef struct mesh_lookup {
    rt_job job;
    uint64_t ticket; /* the owner's own */
    sys *y;
    err result; /* ERR_OK: 1 to max addresses, in the order in which they should be tried, with port 0 */
    size_t n, max;
    sys_addr *found; /* behind the struct, as the name */
    const char *host;
} mesh_lookup;

/* The calling actor gets RT_JOB_DONE. At most max addresses are wanted, and none after patience. */
void mesh_lookup_begin(rt_ctx *cx, slice host, size_t max, usec patience, uint64_t ticket);
const mesh_lookup *mesh_lookup_of(rt_job_done *d); /* NULL: somebody else's job */
/* Of a job that came home: its own status, or the result. */
static inline err mesh_lookup_error(const rt_job_done *d, const mesh_lookup *u) { return d->status ? d->status : u->result; }
const char *mesh_lookup_text(err e); /* in words */
#endif
