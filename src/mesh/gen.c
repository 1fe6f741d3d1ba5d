/* gen: see gen.h. Tags have three forms (gen.erl of OTP 23, 25 and 27): a reference; [alias|Ref], which is an alias too; and
 * [[alias|Ref]|_], from a call to many. Whatever it is, it goes back as it came. */
#include "mesh/gen.h"

#include "base/mem.h"

static bool cons_of(etf_reader *r) {
    etf_item it;
    etf_reader at = *r;
    if (!etf_next(&at, &it) || it.kind != ETF_LIST || it.n != 1) return false;
    *r = at;
    return true;
}

/* The reference in [alias|Ref] or [[alias|Ref]|_]. */
static slice alias_in(slice tag) {
    etf_reader r = {.in = cursor_of(tag)};
    slice alias = SLICE_NULL;
    etf_ref ref;
    if (!cons_of(&r)) return SLICE_NULL;
    (void)cons_of(&r); /* or it is the plain form */
    if (!etf_get_atom_is(&r, SLICE("alias"))) return SLICE_NULL;
    etf_reader at = r;
    return etf_get_ref(&at, &ref) && etf_skip(&r, &alias) ? alias : SLICE_NULL;
}

static bool call_of(etf_reader r, mesh_gen *g) {
    uint32_t n;
    if (!etf_get_tuple(&r, &n) || n != 3 || !etf_get_atom_is(&r, SLICE("$gen_call"))) return false;
    if (!etf_get_tuple(&r, &n) || n != 2 || !etf_get_pid(&r, &g->from) || !etf_skip(&r, &g->tag)) return false;
    if (!etf_skip(&r, &g->request)) return false;
    g->alias = alias_in(g->tag);
    return true;
}

static bool cast_of(etf_reader r, mesh_gen *g) {
    uint32_t n;
    return etf_get_tuple(&r, &n) && n == 2 && etf_get_atom_is(&r, SLICE("$gen_cast")) && etf_skip(&r, &g->request);
}

void mesh_gen_read(const mesh_term *t, mesh_gen *out) {
    *out = (mesh_gen){.kind = MESH_GEN_INFO, .request = slice_from(rt_blob_slice(t->term), 1)};
    etf_reader r = {.in = cursor_of(out->request)};
    mesh_gen g = {0};
    if (call_of(r, &g))
        g.kind = MESH_GEN_CALL;
    else if (cast_of(r, &g))
        g.kind = MESH_GEN_CAST;
    else
        return;
    *out = g;
}

void mesh_gen_reply(rt_ctx *cx, const rt_msg *m, const mesh_gen *g, slice reply) {
    if (!check(g->kind == MESH_GEN_CALL)) return;
    if (g->from.id != m->sender.slot || g->from.serial != m->sender.gen) return; /* passed on by another: its node may be a third one */
    buf b;
    buf_init(&b, UINT32_MAX - 64u);
    etf_put_version(&b);
    etf_put_tuple(&b, 2);
    buf_add(&b, g->tag);
    buf_add(&b, reply);
    rt_pid to = {m->sender.node, g->from.id, g->from.serial};
    rt_msg *out = rt_msg_new(cx, MESH_SEND, sizeof(mesh_send_msg));
    *mesh_send_msg_of(out) = (mesh_send_msg){
        .from = rt_self(cx), .to = to, .alias = g->alias.len ? rt_blob_new(g->alias) : NULL, .term = rt_blob_new(buf_slice(&b))};
    buf_fini(&b);
    rt_send(cx, to, &out);
}
