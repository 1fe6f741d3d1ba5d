/* pg: the actors of scopes; see pg.h. What is known of a node that is connected is thrown away with the connection: when it comes back,
 * both sides say everything anew. */
#include "mesh/pg.h"

#include "base/mem.h"
#include "mesh/int.h"
#include "mesh/pg_scope.h"
#include "rt/event.h"

#define MAILBOX_MAX       100000u
#define MAILBOX_BYTES_MAX ((uint64_t)256 << 20) /* a message has up to 128 MiB */
#define REPAIR_TIME       (1 * USEC_PER_SEC)    /* after something was refused: until all are asked anew, which brings more */

typedef struct pg {
    mesh_pg_place *at;
    mesh *m;
    mesh_pg_scope scope;
    rt_timer repair;
    uint64_t refused; /* messages, of which all is mended */
} pg;

/* --- saying ----------------------------------------------------------------------------------------------------------------------- */
static rt_blob *blob_of(buf *b) {
    rt_blob *out = check(buf_ok(b)) ? rt_blob_new(buf_slice(b)) : NULL;
    buf_reset(b);
    return out;
}

/* Empties b. */
static void broadcast(rt_ctx *cx, pg *p, buf *b) {
    rt_blob *term = blob_of(b);
    for (list *n = term ? list_first(&p->scope.all_nodes) : NULL; n; n = list_next(&p->scope.all_nodes, n)) {
        mesh_pg_node *node = container_of(n, mesh_pg_node, in_scope);
        for (list *o = list_first(&node->peers); o; o = list_next(&node->peers, o))
            mesh_send_pid(cx, container_of(o, mesh_pg_owner, in_node)->pid, term);
    }
    rt_blob_unref(term);
}

static void say(rt_ctx *cx, pg *p, rt_pid to, void (*put)(const mesh_pg_scope *s, buf *out)) {
    buf b;
    buf_init(&b, UINT32_MAX);
    put(&p->scope, &b);
    rt_blob *term = blob_of(&b);
    if (term) mesh_send_pid(cx, to, term);
    rt_blob_unref(term);
    buf_fini(&b);
}

/* Whoever has the scope's name there, if anybody. */
static void look_for(rt_ctx *cx, pg *p, uint32_t index) {
    buf b;
    buf_init(&b, UINT32_MAX);
    mesh_pg_scope_put_discover(&p->scope, &b);
    rt_blob *term = blob_of(&b);
    if (term) mesh_send_name(cx, p->m, index, slice_str(p->at->name), term);
    rt_blob_unref(term);
    buf_fini(&b);
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------------ */
/* Nothing new, if it is known by that link. By another: the old one is down (int.h, mesh_service_tell). */
static void node_up(rt_ctx *cx, pg *p, const mesh_node_msg *n) {
    mesh_pg_node *old = mesh_pg_scope_node(&p->scope, n->index);
    if (old && rt_pid_eq(old->link, n->link)) return;
    if (old) mesh_pg_scope_node_down(&p->scope, old);
    (void)mesh_pg_scope_node_up(&p->scope, n->index, n->creation, n->link, rt_blob_slice(n->name));
    if (!n->hidden && !p->m->cfg.hidden) look_for(cx, p, n->index);
}

static void node_down(pg *p, const mesh_node_msg *n) {
    mesh_pg_node *old = mesh_pg_scope_node(&p->scope, n->index);
    if (old && rt_pid_eq(old->link, n->link)) mesh_pg_scope_node_down(&p->scope, old);
}

typedef struct learning {
    rt_ctx *cx;
    pg *p;
} learning;
static void learn_one(void *arg, uint32_t index, const mesh_node *n) {
    const learning *l = arg;
    mesh_node_msg up = {.up = true, .hidden = n->hidden, .index = index, .creation = n->creation, .link = n->link};
    up.name = rt_blob_new(slice_of(n->name, n->name_len));
    node_up(l->cx, l->p, &up);
    rt_blob_unref(up.name);
}
static void learn(rt_ctx *cx, pg *p) { mesh_peers_each(p->m->nodes, rt_epoch_reader(cx), learn_one, &(learning){cx, p}); }

/* --- what another scope says ------------------------------------------------------------------------------------------------------ */
static void complain(rt_ctx *cx, const pg *p, const mesh_pg_node *n, mesh_pg_fault fault) {
    static const char *const why[] = {[MESH_PG_TOO_MUCH] = "all that it has in groups",
                                      [MESH_PG_LONG_GROUP] = "a group with a name that is too long",
                                      [MESH_PG_MANY_PEERS] = "one more process that says it is a scope"};
    buf text;
    buf_init(&text, 1024);
    buf_addf(&text, "scope %s leaves out of " SLICE_FMT ": %s", p->at->name, SLICE_ARG(slice_of(n->name, n->name_len)), why[fault]);
    rt_event_text(cx, EV_MESH_PG_LIMIT, n->index, 0, buf_slice(&text));
    buf_fini(&text);
}

static void on_term(rt_ctx *cx, pg *p, rt_msg *m) {
    mesh_pg_node *from = mesh_pg_scope_node(&p->scope, m->sender.node);
    mesh_pg_todo todo;
    if (!from) return; /* an actor of this node; or it is down already */
    mesh_pg_scope_hear(&p->scope, from, rt_blob_slice(mesh_term_of(m)->term), &todo);
    mesh_pg_owner *peer = rt_pid_ok(todo.peer) ? mesh_pg_scope_owner(&p->scope, todo.peer) : NULL;
    if (todo.sync) say(cx, p, todo.peer, mesh_pg_scope_put_sync);
    if (todo.watch && peer) peer->watch = rt_monitor(cx, todo.peer);
    if (todo.discover) say(cx, p, todo.peer, mesh_pg_scope_put_discover);
    if (todo.fault) complain(cx, p, from, todo.fault);
}

/* --- actors of this node ---------------------------------------------------------------------------------------------------------- */
static err join(rt_ctx *cx, pg *p, slice group, rt_pid pid) {
    mesh_pg_owner *o = NULL;
    bool is_new = false;
    err e = mesh_pg_scope_join(&p->scope, group, pid, &o, &is_new);
    if (e) return e;
    buf b;
    buf_init(&b, UINT32_MAX);
    if (is_new) o->watch = rt_monitor(cx, pid);
    mesh_pg_scope_put_join(&p->scope, group, pid, &b);
    broadcast(cx, p, &b);
    buf_fini(&b);
    return ERR_OK;
}

static err leave(rt_ctx *cx, pg *p, slice group, rt_pid pid) {
    uint64_t last = 0;
    err e = mesh_pg_scope_leave(&p->scope, group, pid, &last);
    if (e) return e;
    buf b;
    buf_init(&b, UINT32_MAX);
    if (last) rt_demonitor(cx, last);
    mesh_pg_scope_put_leave(&p->scope, group, pid, &b);
    broadcast(cx, p, &b);
    buf_fini(&b);
    return ERR_OK;
}

static void on_ask(rt_ctx *cx, pg *p, rt_msg *m) {
    const mesh_pg_ask *q = mesh_pg_ask_of(m);
    slice group = rt_blob_slice(q->group);
    buf rows;
    err e = ERR_OK;
    buf_init(&rows, UINT32_MAX - 64u);
    switch ((mesh_pg_op)q->op) {
    case MESH_PG_JOIN: e = join(cx, p, group, q->pid); break;
    case MESH_PG_LEAVE: e = leave(cx, p, group, q->pid); break;
    case MESH_PG_MEMBERS: mesh_pg_scope_members(&p->scope, group, q->max, &rows); break;
    case MESH_PG_SHARES: mesh_pg_scope_shares(&p->scope, q->max, &rows); break;
    case MESH_PG_GROUPS: mesh_pg_scope_groups(&p->scope, q->max, &rows); break;
    }
    if (q->ticket || q->op > MESH_PG_LEAVE) {
        rt_msg *a = rt_msg_new(cx, MESH_PG_ANSWER, sizeof(mesh_pg_answer));
        *mesh_pg_answer_of(a) =
            (mesh_pg_answer){.ticket = q->ticket, .status = buf_ok(&rows) ? e : ERR_LIMIT, .rows = rt_blob_new(buf_slice(&rows))};
        rt_send(cx, m->sender, &a);
    }
    buf_fini(&rows);
}

/* --- ends ------------------------------------------------------------------------------------------------------------------------- */
static void on_down(rt_ctx *cx, pg *p, const rt_down *d) {
    mesh_pg_owner *o = mesh_pg_scope_owner(&p->scope, d->pid);
    if (!o || o->watch != d->ref) return;                    /* of a connection before this one */
    if (d->pid.node != 0 && d->reason == ERR_NOCONN) return; /* its node is down: MESH_NODE says so, in order with what it said */
    if (d->pid.node == 0) {
        buf b;
        buf_init(&b, UINT32_MAX);
        mesh_pg_scope_put_gone(&p->scope, o, &b);
        broadcast(cx, p, &b);
        buf_fini(&b);
    }
    mesh_pg_scope_forget(&p->scope, o);
}

/* --- repair ----------------------------------------------------------------------------------------------------------------------- */
static uint64_t refused(pg *p) { return atomic_load_explicit(&p->at->count.refused, memory_order_relaxed); } /* written on this shard */

/* Something was refused: what it was, only those know who sent it. Nodes are learned anew, and each says anew what it has. */
static err pg_timer(rt_ctx *cx, void *st, rt_timer *t) {
    pg *p = st;
    (void)t;
    p->refused = refused(p);
    for (list *n = list_first(&p->scope.all_nodes), *next; n; n = next) {
        mesh_pg_node *node = container_of(n, mesh_pg_node, in_scope);
        next = list_next(&p->scope.all_nodes, n);
        if (!rt_pid_eq(mesh_peers_link(p->m, cx, node->index), node->link)) {
            mesh_pg_scope_node_down(&p->scope, node);
            continue;
        }
        for (list *o = list_first(&node->peers); o; o = list_next(&node->peers, o))
            say(cx, p, container_of(o, mesh_pg_owner, in_node)->pid, mesh_pg_scope_put_discover);
        if (node->n_peers == 0) look_for(cx, p, node->index);
    }
    learn(cx, p);
    return ERR_OK;
}

static void mend_later(rt_ctx *cx, pg *p) {
    if (refused(p) == p->refused || rt_timer_armed(&p->repair)) return;
    rt_timer_set(cx, &p->repair, rt_now(cx) + REPAIR_TIME);
}

/* --- the actor -------------------------------------------------------------------------------------------------------------------- */
static err pg_init(rt_ctx *cx, void *st, const void *arg) {
    pg *p = st;
    p->at = *(mesh_pg_place *const *)arg;
    p->m = p->at->m;
    p->refused = refused(p);
    etf_pid self = mesh_etf_pid(p->m, rt_self(cx));
    mesh_pg_scope_init(&p->scope, rt_node_hash_key(p->m->node), &self);
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    err e = rt_name_register(cx, p->at->name);
    if (e) {
        mesh_pg_scope_fini(&p->scope);
        return e;
    }
    learn(cx, p);
    rt_pid kernel = rt_name_find(cx, "net_kernel");
    if (rt_pid_ok(kernel) && slice_is(SLICE(MESH_PG_SCOPE), p->at->name))
        return join(cx, p, MESH_PG_OWN, kernel); /* or it joins as it starts */
    return ERR_OK;
}

static err pg_handle(rt_ctx *cx, void *st, rt_msg **m) {
    pg *p = st;
    switch ((*m)->tag) {
    case MESH_TERM: on_term(cx, p, *m); break;
    case MESH_NODE:
        if (mesh_node_msg_of(*m)->up)
            node_up(cx, p, mesh_node_msg_of(*m));
        else
            node_down(p, mesh_node_msg_of(*m));
        break;
    case MESH_PG_ASK: on_ask(cx, p, *m); break;
    case RT_DOWN: on_down(cx, p, rt_down_of(*m)); break;
    default: break; /* an exit of somebody who had linked to it */
    }
    mend_later(cx, p);
    return ERR_OK;
}

static void pg_fini(rt_ctx *cx, void *st, err reason) {
    pg *p = st;
    (void)reason;
    rt_timer_cancel(cx, &p->repair);
    mesh_pg_scope_fini(&p->scope);
}

const rt_class mesh_pg_class = {
    .name = "pg",
    .state_size = sizeof(pg),
    .init = pg_init,
    .handle = pg_handle,
    .timer = pg_timer,
    .fini = pg_fini,
    .mailbox_max = MAILBOX_MAX,
    .mailbox_bytes_max = MAILBOX_BYTES_MAX,
    .bound = RT_BOUND_REFUSE,
    .unflushable = true,
    .sure = MESH_NODE,
    .foreign = true,
    .unmuted = true,
};
