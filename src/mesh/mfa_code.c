/* mfa_code: what tools ask of a node before they call it: is that module there, has it that function (kernel, code.erl). Nothing is ever
 * loaded: a module is there if one of its functions is in mfa.def. Since OTP 26, erl -remsh asks for the module shell first, and says that
 * it is not there. */
#include "mesh/mfa.h"

/* {module, M}, or {error, nofile} */
bool mesh_mfa_ensure_loaded(mesh_mfa_call *c) {
    slice module;
    if (!mesh_mfa_atom(c, 0, &module)) return false;
    bool there = mesh_mfa_is_module(module);
    mesh_mfa_pair(c->value, there ? "module" : "error");
    etf_put_atom(c->value, there ? module : SLICE("nofile"));
    return true;
}

/* {file, preloaded}, as OTP says of what is in its emulator and has no file, or false */
bool mesh_mfa_is_loaded(mesh_mfa_call *c) {
    slice module;
    if (!mesh_mfa_atom(c, 0, &module)) return false;
    if (mesh_mfa_is_module(module)) {
        mesh_mfa_pair(c->value, "file");
        etf_put_atom(c->value, SLICE("preloaded"));
    } else {
        etf_put_bool(c->value, false);
    }
    return true;
}

bool mesh_mfa_module_loaded(mesh_mfa_call *c) {
    slice module;
    if (!mesh_mfa_atom(c, 0, &module)) return false;
    etf_put_bool(c->value, mesh_mfa_is_module(module));
    return true;
}

bool mesh_mfa_function_exported(mesh_mfa_call *c) {
    etf_reader r = mesh_mfa_arg(c, 2);
    slice module, function;
    int64_t arity;
    if (!mesh_mfa_atom(c, 0, &module) || !mesh_mfa_atom(c, 1, &function) || !etf_get_int(&r, &arity) || arity < 0) return false;
    etf_put_bool(c->value, arity <= UINT32_MAX && mesh_mfa_find(c->m, module, function, (uint32_t)arity) != NULL);
    return true;
}

/* The time after which a silent peer is gone, in seconds, as an Erlang node sets it for all of a cluster. */
bool mesh_mfa_net_ticktime(mesh_mfa_call *c) {
    etf_put_int(c->value, c->m->cfg.ticktime / USEC_PER_SEC);
    return true;
}
