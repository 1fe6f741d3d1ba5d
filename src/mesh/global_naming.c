/* global_naming: names of the cluster for actors of this node (OTP: global, register_name, re_register_name, unregister_name). One at a
 * time, in the order in which they are wanted: all of our part is locked, everybody is told what to do with the name, and all is unlocked
 * (global_locker.c). Who does not get the lock tries again, first within 250 ms, then within twice as long each time, up to 8 s
 * (OTP: global, random_sleep). Whether a name is free is looked at here, under the lock, because every node has all of them.
 *
 * Invariant: an attempt that is about a name is about the first of them. */
#include "base/mem.h"
#include "mesh/global_int.h"

static mesh_global_naming *first_of(const mesh_global *g) {
    list *i = list_first(&g->namings);
    return i ? container_of(i, mesh_global_naming, in_line) : NULL;
}

static slice put(uint8_t **at, slice s) {
    uint8_t *p = *at;
    if (s.len) memcpy(p, s.p, s.len);
    *at = p + s.len;
    return slice_of(p, s.len);
}

static mesh_global_naming *make(mesh_global_want want, slice name, const mesh_global_entry *e, uint64_t ticket) {
    mesh_global_naming *w = mem_zalloc(sizeof *w + name.len + e->pid_term.len + e->method.len + e->pid.node.len);
    uint8_t *at = (uint8_t *)(w + 1);
    w->want = want;
    w->ticket = ticket;
    w->name = put(&at, name);
    w->pid_term = put(&at, e->pid_term);
    w->method = put(&at, e->method);
    w->pid = e->pid;
    w->pid.node = put(&at, e->pid.node);
    return w;
}

err mesh_global_wish(mesh_global *g, usec now, mesh_global_want want, slice name, const etf_pid *pid, mesh_global_clash clash,
                     uint64_t ticket) {
    buf canon, term, method;
    err e = ERR_LIMIT;
    g->now = now;
    buf_init(&canon, UINT32_MAX);
    buf_init(&term, UINT32_MAX);
    buf_init(&method, UINT32_MAX);
    etf_put_pid(&term, pid);
    mesh_global_put_method(&method, clash);
    if (g->n_namings < MESH_GLOBAL_NAMINGS_MAX && mesh_global_canon(name, &canon)) {
        mesh_global_entry entry = {.pid = *pid, .pid_term = buf_slice(&term), .method = buf_slice(&method)};
        list_push_back(&g->namings, &make(want, buf_slice(&canon), &entry, ticket)->in_line);
        if (g->n_namings++ == 0) g->naming_due = now;
        mesh_global_locker_step(g);
        e = ERR_OK;
    }
    buf_fini(&canon);
    buf_fini(&term);
    buf_fini(&method);
    return e;
}

/* --- an attempt ------------------------------------------------------------------------------------------------------------------- */
slice mesh_global_naming_requester(const mesh_global *g) {
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_pid(&b, &g->self);
    slice out = mesh_global_own(buf_slice(&b));
    buf_fini(&b);
    return out;
}

bool mesh_global_naming_ready(const mesh_global *g) { return !list_empty(&g->namings) && g->naming_due <= g->now; }

/* What is to become of it, now that nobody else changes names. */
static err judge(const mesh_global *g, const mesh_global_naming *w, const mesh_global_entry *e) {
    bool taken = mesh_global_name_find(g, w->name) != NULL;
    if (w->want == MESH_GLOBAL_UNNAME) return taken ? ERR_OK : ERR_NOT_FOUND;
    if (w->want == MESH_GLOBAL_NAME && taken) return ERR_EXISTS;
    return mesh_global_names_full(g, w->name, e) ? ERR_LIMIT : ERR_OK;
}

bool mesh_global_naming_locked(mesh_global *g, buf *out) {
    mesh_global_naming *w = first_of(g);
    if (!w) return false; /* the invariant: there is one */
    mesh_global_entry e = {.name = w->name, .pid = w->pid, .pid_term = w->pid_term, .method = w->method};
    w->done = true;
    w->status = judge(g, w, &e);
    if (w->status) return false;
    if (w->want == MESH_GLOBAL_UNNAME) {
        mesh_global_put_unregister(out, w->name);
        mesh_global_name_delete(g, w->name);
        return true;
    }
    mesh_global_name_insert(g, w->name, &e, SLICE_NULL);
    if (!mesh_global_name_find(g, w->name)) w->status = ERR_NOPROC; /* the others will find that out, or did not hear of it */
    if (w->status && w->want == MESH_GLOBAL_NAME) return false;
    mesh_global_put_register(out, &e);
    return true;
}

void mesh_global_naming_refused(mesh_global *g) {
    mesh_global_naming *w = first_of(g);
    if (!w) return; /* likewise */
    w->tries++;
    usec most = w->tries > 5 ? 8 * USEC_PER_SEC : ((usec)1 << w->tries) * USEC_PER_SEC / 8;
    g->naming_due = g->now + 1 + (usec)(g->io.random(g->io.arg) % (uint64_t)most);
}

void mesh_global_naming_over(mesh_global *g) {
    mesh_global_naming *w = first_of(g);
    if (!w || !w->done) return; /* again later */
    list_remove(&w->in_line);
    g->n_namings--;
    g->naming_due = g->now;
    g->io.done(g->io.arg, w->ticket, w->status);
    mem_free(w);
}

void mesh_global_naming_free(mesh_global *g) {
    for (list *i = list_pop_front(&g->namings); i; i = list_pop_front(&g->namings)) mem_free(container_of(i, mesh_global_naming, in_line));
}
