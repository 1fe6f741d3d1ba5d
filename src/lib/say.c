/* say: what actors do: sending, answering, linking, ending, waiting; and what else they ask of the place where they run. All of it is the
 * runtime's or the mesh's, under the names of murre.h. */
#include "lib/say.h"

#include "base/mem.h"
#include "rt/event.h"

struct murre_caller {
    rt_pid to;
    size_t tag_len, alias_len;
    uint8_t text[]; /* the tag, then the alias */
};
_Static_assert(sizeof(murre_timer) >= sizeof(rt_timer), "a murre_timer holds one");

/* --- where and who ---------------------------------------------------------------------------------------------------------------- */
murre_pid murre_self(murre_ctx *cx) { return lib_pid_out(rt_self(lib_cx(cx))); }
murre_node *murre_ctx_node(murre_ctx *cx) { return lib_node(lib_cx(cx)); }
int64_t murre_now(murre_ctx *cx) { return rt_now(lib_cx(cx)); }

murre_err murre_register(murre_ctx *cx, const char *name) {
    if (!name || !*name || !etf_is_atom(slice_str(name)) || strcmp(name, "undefined") == 0) return MURRE_INVALID;
    return lib_err(rt_name_register(lib_cx(cx), name));
}

murre_pid murre_whereis(murre_ctx *cx, const char *name) { return lib_pid_out(rt_name_find(lib_cx(cx), name)); }

void murre_log(murre_ctx *cx, murre_level level, const char *text) {
    static const rt_event_id ids[] = {
        [MURRE_LOG_DEBUG] = EV_APP_DEBUG,     [MURRE_LOG_INFO] = EV_APP_INFO,   [MURRE_LOG_NOTICE] = EV_APP_NOTICE,
        [MURRE_LOG_WARNING] = EV_APP_WARNING, [MURRE_LOG_ERROR] = EV_APP_ERROR,
    };
    if (level < MURRE_LOG_DEBUG || level > MURRE_LOG_ERROR) level = MURRE_LOG_ERROR;
    rt_event_text(lib_cx(cx), ids[level], 0, 0, slice_str(text));
}

void murre_timer_set(murre_ctx *cx, murre_timer *t, int64_t after) {
    usec now = rt_now(lib_cx(cx));
    if (after < 0) after = 0;
    rt_timer_set(lib_cx(cx), (rt_timer *)(void *)t, after < USEC_NEVER - 1 - now ? now + after : USEC_NEVER - 1);
}

void murre_timer_cancel(murre_ctx *cx, murre_timer *t) { rt_timer_cancel(lib_cx(cx), (rt_timer *)(void *)t); }

murre_err murre_spawn(murre_ctx *cx, const murre_class *c, const void *arg, unsigned flags, murre_pid *out_pid, uint64_t *out_monitor) {
    const rt_class *cls = lib_class_of(murre_ctx_node(cx), c);
    unsigned how = (flags & MURRE_LINK ? RT_SPAWN_LINK : 0) | (flags & MURRE_MONITOR ? RT_SPAWN_MONITOR : 0);
    rt_pid pid;
    if (!cls || (flags & ~(MURRE_LINK | MURRE_MONITOR))) return MURRE_INVALID;
    err e = rt_spawn(lib_cx(cx), cls, arg, how, &pid, out_monitor);
    if (!e && out_pid) *out_pid = lib_pid_out(pid);
    return lib_err(e);
}

/* --- saying ----------------------------------------------------------------------------------------------------------------------- */
murre_err murre_send(murre_ctx *cx, murre_pid to, murre_builder **b) {
    rt_blob *term = lib_build_take(b);
    if (!term) return MURRE_INVALID;
    if (murre_pid_ok(to)) mesh_send_term(lib_cx(cx), lib_pid(to), SLICE_NULL, term);
    rt_blob_unref(term);
    return MURRE_OK;
}

murre_err murre_send_name(murre_ctx *cx, const char *name, const char *node, murre_builder **b) {
    murre_node *n = murre_ctx_node(cx);
    rt_blob *term = lib_build_take(b);
    if (!term) return MURRE_INVALID;
    err e = ERR_OK;
    if (node && strcmp(node, n->name) != 0) {
        e = mesh_send_to(n->mesh, lib_cx(cx), slice_str(node), slice_str(name), term);
    } else {
        rt_pid to = rt_name_find(lib_cx(cx), name);
        if (rt_pid_ok(to)) mesh_send_term(lib_cx(cx), to, SLICE_NULL, term);
    }
    rt_blob_unref(term);
    return lib_err(e);
}

murre_err murre_node_send(murre_node *n, murre_pid to, murre_builder **b) {
    rt_blob *term = lib_build_take(b);
    if (!term || to.node != 0) {
        rt_blob_unref(term);
        return MURRE_INVALID;
    }
    rt_msg *m = rt_msg_new_ext(MESH_TERM, sizeof(mesh_term));
    mesh_term_of(m)->term = term;
    rt_post(n->node, lib_pid(to), &m);
    return MURRE_OK;
}

/* {First, what is in *b}; first: one term. */
static rt_blob *pair(slice first, murre_builder **b) {
    murre_term in;
    buf out;
    rt_blob *blob = NULL;
    buf_init(&out, MURRE_TERM_MAX);
    if (murre_build_term(*b, &in)) {
        etf_put_version(&out);
        etf_put_tuple(&out, 2);
        buf_add(&out, first);
        buf_add(&out, slice_of(in.p, in.len));
        if (buf_ok(&out)) blob = rt_blob_new(buf_slice(&out));
    }
    buf_fini(&out);
    murre_build_free(*b);
    *b = NULL;
    return blob;
}

murre_err murre_cast(murre_ctx *cx, murre_pid to, murre_builder **b) {
    rt_blob *term = pair(SLICE("w\x09$gen_cast"), b);
    if (!term) return MURRE_INVALID;
    if (murre_pid_ok(to)) mesh_send_term(lib_cx(cx), lib_pid(to), SLICE_NULL, term);
    rt_blob_unref(term);
    return MURRE_OK;
}

static murre_err answer(rt_ctx *cx, rt_pid to, slice tag, slice alias, murre_builder **b) {
    rt_blob *term = pair(tag, b);
    if (!term) return MURRE_INVALID;
    if (rt_pid_ok(to)) mesh_send_term(cx, to, alias, term);
    rt_blob_unref(term);
    return MURRE_OK;
}

murre_err murre_reply(murre_ctx *cx, const murre_msg *m, murre_builder **b) {
    const lib_call *c = m->inner;
    if (m->kind == MURRE_CALL) return answer(lib_cx(cx), c->to, c->tag, c->alias, b);
    murre_build_free(*b);
    *b = NULL;
    return MURRE_INVALID;
}

murre_caller *murre_caller_keep(const murre_msg *m) {
    if (m->kind != MURRE_CALL) return NULL;
    const lib_call *c = m->inner;
    murre_caller *k = mem_alloc(sizeof *k + c->tag.len + c->alias.len);
    *k = (murre_caller){.to = c->to, .tag_len = c->tag.len, .alias_len = c->alias.len};
    memcpy(k->text, c->tag.p, c->tag.len);
    if (c->alias.len) memcpy(k->text + c->tag.len, c->alias.p, c->alias.len);
    return k;
}

murre_err murre_caller_reply(murre_ctx *cx, murre_caller **caller, murre_builder **b) {
    murre_caller *k = *caller;
    *caller = NULL;
    murre_err e = answer(lib_cx(cx), k->to, slice_of(k->text, k->tag_len), slice_of(k->text + k->tag_len, k->alias_len), b);
    mem_free(k);
    return e;
}

void murre_caller_free(murre_caller *caller) { mem_free(caller); }

/* --- ends ------------------------------------------------------------------------------------------------------------------------- */
/* What is in *reason as an err, or FOREIGN and a blob that the caller releases. NULL: normal. INVALID: it is no term. */
static murre_err reason_take(murre_builder **reason, err *out, rt_blob **out_term, bool *out_kill) {
    murre_term t;
    *out = ERR_OK;
    *out_term = NULL;
    *out_kill = false;
    if (!reason || !*reason) return MURRE_OK;
    bool good = murre_build_term(*reason, &t);
    if (good) {
        murre_reader r = murre_read(t);
        *out_kill = murre_get_atom_is(&r, "kill");
        *out = mesh_reason_of(slice_of(t.p, t.len), out_term);
        if (*out == ERR_KILLED) { /* the atom killed: an ordinary reason for who says it */
            *out = ERR_FOREIGN;
            *out_term = lib_build_take(reason);
        }
    }
    murre_build_free(*reason);
    *reason = NULL;
    return good ? MURRE_OK : MURRE_INVALID;
}

murre_err murre_stop(murre_ctx *cx, murre_builder **reason) {
    err why;
    rt_blob *term;
    bool kill;
    murre_err e = reason_take(reason, &why, &term, &kill);
    if (!e && term) rt_stop_term(lib_cx(cx), term);
    if (!e && !term) rt_stop(lib_cx(cx), why);
    rt_blob_unref(term);
    return e;
}

murre_err murre_exit(murre_ctx *cx, murre_pid to, murre_builder **reason) {
    err why;
    rt_blob *term;
    bool kill;
    murre_err e = reason_take(reason, &why, &term, &kill);
    if (!e && term && !kill) rt_exit_term(lib_cx(cx), lib_pid(to), term);
    if (!e && (!term || kill)) rt_exit(lib_cx(cx), lib_pid(to), kill ? ERR_KILLED : why);
    rt_blob_unref(term);
    return e;
}

void murre_trap_exit(murre_ctx *cx, bool on) { rt_trap_exit(lib_cx(cx), on); }
void murre_link(murre_ctx *cx, murre_pid to) { rt_link(lib_cx(cx), lib_pid(to)); }
void murre_unlink(murre_ctx *cx, murre_pid to) { rt_unlink(lib_cx(cx), lib_pid(to)); }
uint64_t murre_monitor(murre_ctx *cx, murre_pid to) { return rt_monitor(lib_cx(cx), lib_pid(to)); }
void murre_demonitor(murre_ctx *cx, uint64_t monitor) { rt_demonitor(lib_cx(cx), monitor); }
void murre_watch_nodes(murre_ctx *cx, bool on) { mesh_watch_nodes(lib_cx(cx), on); }
