/* mfa_stop: functions that do something to this node (erlang.erl, init.erl): sending, which whoever is connected can do anyway, and ending
 * the node, which only who started it can (origin.h). */
#include "mesh/actor.h"
#include "mesh/mfa.h"

#define MESH_NOBODY UINT32_MAX /* number of no node: who sends from outside of all of them */

/* --- sending ----------------------------------------------------------------------------------------------------------------------- */
/* To a pid or {Name, Node} of another node; one that is not connected gets nothing, as OTP has it where it may not connect. False: it is
 * neither. */
static bool send_away(mesh_mfa_call *c, etf_reader to, rt_blob *term) {
    uint32_t n;
    slice name, node;
    etf_pid p;
    rt_pid pid;
    etf_reader at = to;
    if (etf_get_pid(&at, &p)) {
        if (mesh_pid_get(c->m, c->cx, &p, &pid)) mesh_send_pid(c->cx, pid, term);
        return true;
    }
    if (!etf_get_tuple(&to, &n) || n != 2 || !etf_get_atom(&to, &name) || !etf_get_atom(&to, &node)) return false;
    err e = mesh_send_to(c->m, c->cx, node, name, term);
    return e == ERR_OK || e == ERR_NOCONN; /* as above */
}

/* To an actor of this node, whose sender is nobody that could be answered; false: that is not who is meant. */
static bool send_here(mesh_mfa_call *c, etf_reader to, rt_blob *term, bool *out_there) {
    uint32_t n;
    slice name, node = c->m->cfg.name;
    etf_pid p;
    rt_pid pid = RT_PID_NONE;
    etf_reader at = to;
    *out_there = true;
    if (etf_get_pid(&at, &p)) {
        if (!slice_eq(p.node, c->m->cfg.name)) return false;
        if (!mesh_own_pid(c->m, &p, &pid)) return true; /* of an earlier life */
    } else {
        bool pair = etf_get_tuple(&to, &n);
        if ((pair && n != 2) || !etf_get_atom(&to, &name) || (pair && !etf_get_atom(&to, &node)) || !slice_eq(node, c->m->cfg.name))
            return false;
        pid = rt_name_find_slice(c->cx, name);
        *out_there = pair || rt_pid_ok(pid);
    }
    if (rt_pid_ok(pid)) {
        rt_msg *m = rt_msg_new(c->cx, MESH_TERM, sizeof(mesh_term));
        mesh_term_of(m)->term = rt_blob_ref(term);
        rt_remote_send(c->cx, (rt_pid){MESH_NOBODY, 0, 0}, pid, &m);
    }
    return true;
}

/* erlang:send(Dest, Message) -> Message; a name that nobody has here is badarg. */
bool mesh_mfa_send(mesh_mfa_call *c) {
    etf_reader to = mesh_mfa_arg(c, 0), what = mesh_mfa_arg(c, 1), again = what;
    rt_blob *term = mesh_term_blob(&what);
    bool there = true, fine = term && (send_here(c, to, term, &there) || send_away(c, to, term)) && there && etf_copy(&again, c->value);
    rt_blob_unref(term);
    return fine;
}

/* --- ending ------------------------------------------------------------------------------------------------------------------------ */
static bool end(mesh_mfa_call *c, bool now, int status) {
    mesh_mfa_audit(c);
    c->m->stop(c->m->stop_arg, now, status);
    mesh_mfa_ok(c->value);
    return true;
}

/* A status of a process, 0 to 255; abort and a text for its slogan are 1. */
static bool status_of(const mesh_mfa_call *c, int *out) {
    etf_reader r = mesh_mfa_arg(c, 0), text = r;
    etf_item it;
    if (!etf_next(&r, &it)) return false;
    bool slogan = it.kind == ETF_STRING || it.kind == ETF_LIST || it.kind == ETF_NIL || it.kind == ETF_BITS;
    *out = it.kind == ETF_INT ? (int)(it.i & 0xff) : 1;
    return slogan || (it.kind == ETF_INT && it.i >= 0) || etf_get_atom_is(&text, SLICE("abort"));
}

bool mesh_mfa_halt(mesh_mfa_call *c) { return end(c, true, 0); }
bool mesh_mfa_stop(mesh_mfa_call *c) { return end(c, false, 0); }
bool mesh_mfa_halt_with(mesh_mfa_call *c) {
    int status;
    return status_of(c, &status) && end(c, true, status);
}
bool mesh_mfa_stop_with(mesh_mfa_call *c) {
    int status;
    return status_of(c, &status) && end(c, false, status);
}

/* {started, started}: a node that answers has started. */
bool mesh_mfa_init_status(mesh_mfa_call *c) {
    mesh_mfa_pair(c->value, "started");
    etf_put_atom(c->value, SLICE("started"));
    return true;
}
