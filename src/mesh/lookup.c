/* lookup: see lookup.h. */
#include "mesh/lookup.h"

#include "base/mem.h"

#define LOOKUP_KEY UINT64_C(0x6c6f6f6b7570) /* one for all */

static void run(rt_job *j) {
    mesh_lookup *u = container_of(j, mesh_lookup, job);
    u->result = u->y->resolve(u->y, u->host, u->found, u->max, &u->n);
}

void mesh_lookup_begin(rt_ctx *cx, slice host, size_t max, usec patience, uint64_t ticket) {
    mesh_lookup *u = mem_zalloc(sizeof *u + max * sizeof *u->found + host.len + 1);
    char *name = (char *)(u + 1) + max * sizeof *u->found;
    u->found = (sys_addr *)(void *)(u + 1);
    u->host = memcpy(name, host.p, host.len);
    u->max = max;
    u->ticket = ticket;
    u->y = rt_ctx_sys(cx);
    u->job.box.free = rt_pool_job_free;
    u->job.run = run;
    u->job.what = "host lookup";
    u->job.key = LOOKUP_KEY;
    u->job.slow_after = patience; /* name servers may take their time */
    u->job.deadline = rt_now(cx) + patience;
    rt_job *job = &u->job;
    rt_pool_submit(cx, RT_POOL_USER, &job);
}

const mesh_lookup *mesh_lookup_of(rt_job_done *d) {
    rt_job *j = rt_job_of(d);
    return j->run == run ? container_of(j, mesh_lookup, job) : NULL;
}

const char *mesh_lookup_text(err e) {
    if (e == ERR_NOT_FOUND) return "there is no such host, or it has no address";
    if (e == ERR_TIMEOUT) return "no name server has said what its address is";
    return err_text(e);
}
