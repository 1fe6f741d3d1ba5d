/* pg_boot: which scopes this node has, and how its actors reach them (pg.h). Their names are in a table, so that tools find them and no
 * other actor is taken for one. */
#include "base/mem.h"
#include "mesh/int.h"
#include "mesh/pg.h"

#define RESTARTS       10
#define RESTART_PERIOD (10 * USEC_PER_SEC)

err mesh_pg_check(const char *const *names, size_t n, size_t *out_at) {
    if (n > MESH_PG_SCOPES_MAX) {
        *out_at = MESH_PG_SCOPES_MAX;
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < n; i++) {
        slice name = slice_str(names[i]);
        *out_at = i;
        if (name.len == 0 || !etf_is_atom(name)) return ERR_INVALID;
        if (mesh_service_is_name(name)) return ERR_EXISTS;
        for (size_t k = 0; k < i; k++)
            if (slice_is(name, names[k])) return ERR_EXISTS;
    }
    return ERR_OK;
}

/* --- boot ------------------------------------------------------------------------------------------------------------------------- */
void mesh_pg_new(mesh *m) {
    size_t n = m->cfg.n_pg_scopes;
    if (n == 0) return;
    m->scopes = mem_zalloc(n * sizeof *m->scopes);
    m->scope_children = mem_zalloc(n * sizeof *m->scope_children);
    for (size_t i = 0; i < n; i++) {
        mesh_pg_place *p = &m->scopes[i];
        p->m = m;
        p->self = p;
        p->name = m->cfg.pg_scopes[i];
        p->cls = mesh_pg_class;
        p->cls.count = &p->count;
        p->cls.of = &mesh_pg_class;
        m->scope_children[i] = (rt_child){.id = p->name, .cls = &p->cls, .arg = &p->self, .restart = RT_PERMANENT};
    }
    m->scopes_spec = (rt_sup_spec){.strategy = RT_ONE_FOR_ONE,
                                   .intensity = RESTARTS,
                                   .period = RESTART_PERIOD,
                                   .children = m->scope_children,
                                   .n_children = n,
                                   .vital = true};
}

void mesh_pg_free(mesh *m) {
    mem_free(m->scopes);
    mem_free(m->scope_children);
}

err mesh_pg_boot(mesh *m, rt_ctx *cx) {
    rt_table_cfg c = {.name = MESH_PG_SCOPES, .stripes = 1};
    rt_tid names;
    rt_pid pid;
    if (m->cfg.n_pg_scopes == 0) return ERR_OK;
    err e = rt_table_create(cx, &c, &names);
    for (size_t i = 0; !e && i < m->cfg.n_pg_scopes; i++)
        e = rt_table_insert(rt_epoch_reader(cx), names, slice_str(m->cfg.pg_scopes[i]), SLICE("\0"));
    return e ? e : rt_spawn(cx, &rt_sup_class, &m->scopes_spec, 0, &pid, NULL);
}

/* --- finding ---------------------------------------------------------------------------------------------------------------------- */
rt_pid mesh_pg_find(rt_ctx *cx, slice scope) {
    rt_reader *r = rt_epoch_reader(cx);
    slice v;
    err e = rt_table_lookup(r, rt_table_whereis(r, SLICE(MESH_PG_SCOPES)), scope, &v);
    return e ? RT_PID_NONE : rt_name_find_slice(cx, scope);
}

typedef struct each {
    void (*fn)(void *arg, slice name);
    void *arg;
} each;
static bool one(void *arg, slice key, slice value) {
    const each *e = arg;
    (void)value;
    e->fn(e->arg, key);
    return true;
}

void mesh_pg_each(rt_reader *r, void (*fn)(void *arg, slice name), void *arg) {
    rt_tid names = rt_table_whereis(r, SLICE(MESH_PG_SCOPES));
    rt_table_at at = {0};
    while (!at.done)
        if (rt_table_fold(r, names, &at, MESH_PG_SCOPES_MAX, one, &(each){fn, arg})) return;
}

typedef struct looking {
    rt_ctx *cx;
    rt_pid pid;
    const mesh_node_msg *node;
    bool found;
} looking;
static void compare(void *arg, slice name) {
    looking *l = arg;
    l->found |= rt_pid_eq(rt_name_find_slice(l->cx, name), l->pid);
}
bool mesh_pg_is(rt_ctx *cx, rt_pid p) {
    looking l = {.cx = cx, .pid = p};
    if (rt_pid_ok(p)) mesh_pg_each(rt_epoch_reader(cx), compare, &l);
    return l.found;
}

static void tell(void *arg, slice name) {
    const looking *l = arg;
    mesh_service_tell_one(l->cx, rt_name_find_slice(l->cx, name), l->node);
}
void mesh_pg_tell(rt_ctx *cx, const mesh_node_msg *n) { mesh_pg_each(rt_epoch_reader(cx), tell, &(looking){.cx = cx, .node = n}); }

/* --- asking ----------------------------------------------------------------------------------------------------------------------- */
/* The elements of a list, if it is one of bytes only; the reader is then past it. */
static bool are_bytes(etf_reader *r, uint32_t n, buf *text) {
    etf_reader at = *r;
    etf_item it;
    int64_t c;
    buf_reset(text);
    for (uint32_t i = 0; i < n; i++) {
        if (!etf_get_int(&at, &c) || c < 0 || c > 255) return false;
        buf_add_byte(text, (uint8_t)c);
    }
    if (!etf_next(&at, &it) || it.kind != ETF_NIL || !buf_ok(text)) return false;
    *r = at;
    return true;
}

/* Writes lists of bytes as OTP does. False: there is a fun in it, which is left as it is. */
static bool put_as_otp(slice term, buf *out) {
    etf_reader r = etf_reader_of(term);
    etf_item it;
    buf text;
    bool ok = true;
    buf_init(&text, UINT16_MAX);
    while (ok && cursor_left(&r.in)) {
        ok = etf_next(&r, &it) && it.kind != ETF_FUN;
        if (ok && it.kind == ETF_LIST && are_bytes(&r, it.n, &text))
            etf_put_string(out, buf_slice(&text));
        else if (ok)
            etf_put_item(out, &it);
    }
    buf_fini(&text);
    return ok && buf_ok(out);
}

rt_blob *mesh_pg_group_blob(slice group) {
    etf_reader r = etf_reader_of(group);
    rt_blob *out = NULL;
    buf copy, as_otp;
    buf_init(&copy, UINT32_MAX - 64u);
    buf_init(&as_otp, UINT32_MAX - 64u);
    if (etf_copy(&r, &copy) && cursor_left(&r.in) == 0 && buf_ok(&copy))
        out = rt_blob_new(put_as_otp(buf_slice(&copy), &as_otp) ? buf_slice(&as_otp) : buf_slice(&copy));
    buf_fini(&copy);
    buf_fini(&as_otp);
    return out;
}

static err ask(rt_ctx *cx, slice scope, slice group, const mesh_pg_ask *q) {
    rt_pid to = mesh_pg_find(cx, scope);
    if (!rt_pid_ok(to)) return ERR_NOPROC;
    rt_blob *term = mesh_pg_group_blob(group);
    if (!term) return ERR_INVALID;
    rt_msg *m = rt_msg_new(cx, MESH_PG_ASK, sizeof *q);
    *mesh_pg_ask_of(m) = *q;
    mesh_pg_ask_of(m)->group = term;
    rt_send(cx, to, &m);
    return ERR_OK;
}

err mesh_pg_join(rt_ctx *cx, slice scope, slice group, rt_pid pid, uint64_t ticket) {
    return ask(cx, scope, group, &(mesh_pg_ask){.op = MESH_PG_JOIN, .pid = pid, .ticket = ticket});
}
err mesh_pg_leave(rt_ctx *cx, slice scope, slice group, rt_pid pid, uint64_t ticket) {
    return ask(cx, scope, group, &(mesh_pg_ask){.op = MESH_PG_LEAVE, .pid = pid, .ticket = ticket});
}
err mesh_pg_members(rt_ctx *cx, slice scope, slice group, uint32_t max, uint64_t ticket) {
    return ask(cx, scope, group, &(mesh_pg_ask){.op = MESH_PG_MEMBERS, .max = max, .ticket = ticket});
}
