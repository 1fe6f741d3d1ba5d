/* mfa_global: what global of other nodes calls here (OTP: global, resolve_it/4): a name has two processes, one of which is of this node,
 * and the resolver that it was registered with says who keeps it. The answer is given at once; what becomes of the two is done by
 * global_name_server, which looks again. */
#include "mesh/global_int.h"
#include "mesh/mfa.h"

/* [Method, Name, Pid1, Pid2]. badarg: Pid2 has not that name here, or the resolver is unknown: the caller then takes Pid1. */
bool mesh_mfa_resolve_it(mesh_mfa_call *c) {
    mesh_global_question q;
    rt_pid mine;
    etf_pid has;
    buf canon;
    if (!mesh_global_question_read(c->args, &q) || !mesh_own_pid(c->m, &q.mine.pid, &mine)) return false;
    buf_init(&canon, UINT32_MAX);
    bool its =
        mesh_global_canon(q.name, &canon) && mesh_global_lookup(c->m, c->cx, buf_slice(&canon), &has) && etf_pid_eq(&has, &q.mine.pid);
    buf_fini(&canon);
    mesh_global_verdict v = its ? mesh_global_clash_judge(q.method, &q.his, &q.mine) : MESH_GLOBAL_NOBODY_KNOWS;
    if (v == MESH_GLOBAL_NOBODY_KNOWS) return false;
    mesh_global_put_verdict(c->value, v, &q);
    rt_msg *m = rt_msg_new(c->cx, MESH_GLOBAL_CLASH, sizeof(mesh_global_clash_msg));
    mesh_global_clash_msg_of(m)->args = rt_blob_new(c->args);
    rt_send(c->cx, mesh_global_find(c->cx), &m);
    return true;
}
