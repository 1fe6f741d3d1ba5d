/* ids: who is who on the wire. A pid of this node is its slot and generation; nothing is looked up on the way out or in. Reasons that have
 * a name on both sides are translated; others are carried along as they are. */
#include "base/mem.h"
#include "mesh/int.h"

bool mesh_own_pid(const mesh *m, const etf_pid *p, rt_pid *out) {
    *out = (rt_pid){0, p->id, p->serial};
    return slice_eq(p->node, m->cfg.name) && p->creation == m->self.creation && rt_pid_ok(*out);
}

etf_pid mesh_etf_pid(const mesh *m, rt_pid own) {
    return (etf_pid){.node = m->cfg.name, .id = own.slot, .serial = own.gen, .creation = m->self.creation};
}

/* Three words, the first one of 18 bits, which every peer can hold. */
#define REF_LOW 18u
etf_ref mesh_etf_ref(const mesh *m, uint64_t number) {
    return (etf_ref){.node = m->cfg.name,
                     .creation = m->self.creation,
                     .n = 3,
                     .word = {number & ((1u << REF_LOW) - 1), (uint32_t)(number >> REF_LOW), (uint32_t)(number >> (REF_LOW + 32))}};
}

bool mesh_own_ref(const mesh *m, const etf_ref *r, uint64_t *out_number) {
    if (!slice_eq(r->node, m->cfg.name) || r->creation != m->self.creation || r->n != 3) return false;
    if (r->word[0] >> REF_LOW || r->word[2] >> (64 - REF_LOW - 32)) return false;
    *out_number = r->word[0] | (uint64_t)r->word[1] << REF_LOW | (uint64_t)r->word[2] << (REF_LOW + 32);
    return true;
}

rt_blob *mesh_term_blob(etf_reader *r) {
    buf b;
    buf_init(&b, UINT32_MAX - 64u);
    etf_put_version(&b);
    rt_blob *out = etf_copy(r, &b) && buf_ok(&b) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return out;
}

static const struct {
    err e;
    const char *name;
} reasons[] = {
    {ERR_OK, "normal"}, {ERR_NOPROC, "noproc"}, {ERR_NOCONN, "noconnection"}, {ERR_SHUTDOWN, "shutdown"}, {ERR_KILLED, "killed"}};

err mesh_reason_in(etf_reader r, rt_blob **out_term) {
    etf_reader at = r;
    slice name;
    *out_term = NULL;
    if (etf_get_atom(&at, &name))
        for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
            if (slice_is(name, reasons[i].name)) return reasons[i].e;
    *out_term = mesh_term_blob(&r);
    return ERR_FOREIGN;
}

void mesh_reason_out(err reason, const rt_blob *term, buf *out) {
    if (term && term->len > 1) { /* without its version byte */
        buf_add(out, slice_of(term->data + 1, term->len - 1));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].e == reason) {
            etf_put_atom(out, slice_str(reasons[i].name));
            return;
        }
    etf_put_atom(out, slice_str(err_name(reason)));
}
