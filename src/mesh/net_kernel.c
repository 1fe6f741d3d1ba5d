/* net_kernel: the process of that name that other nodes ask (kernel, net_kernel.erl). is_auth is what net_adm:ping waits for; what is not
 * known is not answered, as OTP does not either, but for `spawn` of OTP 23 and before, whose caller would wait for ever. */
#include "mesh/gen.h"
#include "mesh/int.h"
#include "mesh/pg.h"

static err net_kernel_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    (void)arg;
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    err e = rt_name_register(cx, "net_kernel");
    if (!e) e = mesh_pg_join(cx, SLICE(MESH_PG_SCOPE), MESH_PG_OWN, rt_self(cx), 0);
    return e == ERR_NOPROC ? ERR_OK : e; /* that scope sees to it as it starts */
}

static err net_kernel_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    if ((*m)->tag != MESH_TERM) return ERR_OK;
    mesh_gen g;
    uint32_t n;
    mesh_gen_read(mesh_term_of(*m), &g);
    if (g.kind != MESH_GEN_CALL) return ERR_OK;
    etf_reader r = {.in = cursor_of(g.request)};
    if (!etf_get_tuple(&r, &n)) return ERR_OK;
    if (n == 2 && etf_get_atom_is(&r, SLICE("is_auth"))) mesh_gen_reply(cx, *m, &g, SLICE("w\x03yes"));
    return ERR_OK;
}

const rt_class mesh_net_kernel_class = {
    .name = "net_kernel",
    .init = net_kernel_init,
    .handle = net_kernel_handle,
    .mailbox_max = 100000,
    .mailbox_bytes_max = 16u << 20, /* a message has up to 128 MiB */
    .bound = RT_BOUND_DROP_OLDEST,
    .foreign = true,
    .sure = MESH_NODE,
};
