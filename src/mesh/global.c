/* global: the actor global_name_server, which runs the machine of global_machine.h, and the table of names that everybody here reads.
 *
 * Invariants: (1) the table has what the machine has, in the shape of mesh_global_name, unless it is full; (2) the machine has been told of
 * every node that is connected. If this actor starts anew it knows nothing of what others believe that it knows: so it parts with
 * everybody, and they join again. */
#include "mesh/global.h"

#include "base/list.h"
#include "base/mem.h"
#include "mesh/actor.h"
#include "mesh/dial.h"
#include "mesh/global_int.h"
#include "mesh/int.h"
#include "rt/event.h"

typedef struct kept { /* a call that is answered later */
    list in_list;
    uint64_t number;
    rt_msg *msg; /* the call without what it asks */
} kept;
typedef struct asker { /* an actor of this node that wants a name */
    hmap_node by_number;
    uint64_t number, ticket;
    rt_pid who;
} asker;

typedef struct server {
    mesh *m;
    mesh_global *g;
    rt_ctx *cx;   /* of the callback that runs */
    rt_msg **msg; /* that it handles */
    mesh_gen gen; /* what is in it */
    rt_tid table;
    list calls;
    hmap askers; /* by their numbers */
    uint64_t last_kept, last_asker;
    uint64_t refused; /* messages, when it was looked last */
    rt_timer timer;
} server;

/* --- what the machine asks -------------------------------------------------------------------------------------------------------- */
static void io_send(void *arg, uint32_t index, slice name, rt_blob *term) {
    server *s = arg;
    mesh_send_name(s->cx, s->m, index, name, term);
}

/* What is done to an actor of this node for the sake of others is done as if they did it: it does not exist for them unless its class is
 * foreign. No node has this number. */
#define SOMEBODY ((rt_pid){UINT32_MAX, 0, 0})

static void io_tell(void *arg, uint32_t index, const etf_pid *to, rt_blob *term) {
    server *s = arg;
    rt_pid p = {index, to->id, to->serial};
    if (index) {
        mesh_send_pid(s->cx, p, term);
        return;
    }
    if (!mesh_own_pid(s->m, to, &p)) return;
    rt_msg *m = rt_msg_new(s->cx, MESH_TERM, sizeof(mesh_term));
    mesh_term_of(m)->term = rt_blob_ref(term);
    rt_remote_send(s->cx, SOMEBODY, p, &m);
}

static void io_kill(void *arg, uint32_t index, const etf_pid *to) {
    server *s = arg;
    rt_pid p = {index, to->id, to->serial};
    if (index)
        rt_exit(s->cx, p, ERR_KILLED);
    else if (mesh_own_pid(s->m, to, &p))
        rt_remote_signal(s->cx, SOMEBODY, p, RT_SIG_EXIT, 0, ERR_KILLED, NULL);
}

static void io_answer(void *arg, slice term) {
    server *s = arg;
    mesh_gen_reply(s->cx, *s->msg, &s->gen, term);
}

static uint64_t io_keep(void *arg) {
    server *s = arg;
    kept *k = mem_zalloc(sizeof *k);
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_tuple(&b, 3);
    etf_put_atom(&b, SLICE("$gen_call"));
    etf_put_tuple(&b, 2);
    etf_put_pid(&b, &s->gen.from);
    buf_add(&b, s->gen.tag);
    etf_put_nil(&b);
    k->number = ++s->last_kept;
    k->msg = rt_msg_new(s->cx, MESH_TERM, sizeof(mesh_term));
    k->msg->sender = (*s->msg)->sender;
    mesh_term_of(k->msg)->term = mesh_global_blob(&b);
    list_push_back(&s->calls, &k->in_list);
    return k->number;
}

static void io_answer_kept(void *arg, uint64_t call, slice term) {
    server *s = arg;
    for (list *i = list_first(&s->calls); i; i = list_next(&s->calls, i)) {
        kept *k = container_of(i, kept, in_list);
        mesh_gen gen;
        if (k->number != call) continue;
        mesh_gen_read(mesh_term_of(k->msg), &gen);
        if (term.len) mesh_gen_reply(s->cx, k->msg, &gen, term);
        rt_msg_drop(s->m->node, &k->msg);
        list_remove(&k->in_list);
        mem_free(k);
        return;
    }
}

static uint64_t io_watch(void *arg, uint32_t index, const etf_pid *pid) {
    server *s = arg;
    rt_pid p = {index, pid->id, pid->serial};
    if (index == 0 && !mesh_own_pid(s->m, pid, &p)) return 0;
    return rt_monitor(s->cx, p);
}

static void io_unwatch(void *arg, uint64_t watch) { rt_demonitor(((server *)arg)->cx, watch); }

static void io_disconnect(void *arg, uint32_t index, const char *why) {
    server *s = arg;
    mesh_disconnect(s->cx, s->m, index, why);
}

static void io_connect(void *arg, slice node) {
    server *s = arg;
    char acceptor[MESH_ACCEPTOR_NAME_MAX];
    mesh_acceptor_name(rt_ctx_shard(s->cx), acceptor);
    rt_msg *m = rt_msg_new(s->cx, MESH_DIAL, sizeof(mesh_dial_msg));
    *mesh_dial_msg_of(m) = (mesh_dial_msg){.seed = rt_blob_new(node)};
    rt_send(s->cx, rt_name_find(s->cx, acceptor), &m);
}

static void answer(rt_ctx *cx, rt_pid to, uint64_t ticket, err status) {
    if (ticket == 0) return;
    rt_msg *m = rt_msg_new(cx, MESH_GLOBAL_ANSWER, sizeof(mesh_global_answer));
    *mesh_global_answer_of(m) = (mesh_global_answer){.ticket = ticket, .status = status};
    rt_send(cx, to, &m);
}

static void io_done(void *arg, uint64_t number, err status) {
    server *s = arg;
    hmap_node *h = hmap_find(&s->askers, number); /* its own hash: there is one with it */
    if (!check(h != NULL)) return;
    asker *a = container_of(h, asker, by_number);
    hmap_remove(&s->askers, h);
    answer(s->cx, a->who, a->ticket, status);
    mem_free(a);
}

static void io_parted(void *arg, slice node, const char *what) {
    server *s = arg;
    buf b;
    buf_init(&b, 2 * DIST_NAME_MAX);
    buf_addf(&b, "%.*s %s", (int)node.len, (const char *)node.p, what);
    rt_event_text(s->cx, EV_GLOBAL_PARTED, 0, 0, buf_slice(&b));
    buf_fini(&b);
}

static void io_full(void *arg, const char *what, slice node) {
    server *s = arg;
    buf b;
    buf_init(&b, 2 * DIST_NAME_MAX);
    buf_addf(&b, "too many %s from %.*s", what, (int)node.len, (const char *)node.p);
    rt_event_text(s->cx, EV_GLOBAL_FULL, 0, 0, buf_slice(&b));
    buf_fini(&b);
}

static uint64_t io_random(void *arg) { return rt_random(((server *)arg)->cx); }

/* --- the table that others read --------------------------------------------------------------------------------------------------- */
/* Names may be longer than a key. */
typedef struct table_key {
    uint64_t part[2];
} table_key;
static table_key key_of(const mesh *m, slice name) {
    table_key k;
    hash_bytes128(rt_node_hash_key(m->node), name, k.part);
    return k;
}

static void io_named(void *arg, slice name, const etf_pid *pid) {
    server *s = arg;
    rt_reader *r = rt_epoch_reader(s->cx);
    table_key k = key_of(s->m, name);
    slice key = slice_of(&k, sizeof k);
    if (!pid) {
        err e = rt_table_delete(r, s->table, key);
        (void)check(e == ERR_OK || e == ERR_NOT_FOUND); /* that one: there was no room for it */
        return;
    }
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_tuple(&b, 2);
    buf_add(&b, name);
    etf_put_pid(&b, pid);
    if (rt_table_insert(r, s->table, key, buf_slice(&b))) io_full(s, "bytes of names", pid->node);
    buf_fini(&b);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
static void part(void *arg, uint32_t index, const mesh_node *n) {
    server *s = arg;
    (void)n;
    mesh_disconnect(s->cx, s->m, index, "global_name_server has started anew");
}

static uint64_t refused(const server *s) { return atomic_load_explicit(&s->m->global_count.refused, memory_order_relaxed); }

static void begin(rt_ctx *cx, server *s) {
    etf_pid self = mesh_etf_pid(s->m, rt_self(cx));
    mesh_global_io io = {.arg = s,
                         .send = io_send,
                         .tell = io_tell,
                         .kill = io_kill,
                         .answer = io_answer,
                         .keep = io_keep,
                         .answer_kept = io_answer_kept,
                         .watch = io_watch,
                         .unwatch = io_unwatch,
                         .disconnect = io_disconnect,
                         .connect = io_connect,
                         .done = io_done,
                         .named = io_named,
                         .parted = io_parted,
                         .full = io_full,
                         .random = io_random};
    s->g = mesh_global_new(&io, s->m->cfg.name, &self, s->m->cfg.hidden, rt_node_hash_key(s->m->node));
    mesh_peers_each(s->m->nodes, rt_epoch_reader(cx), part, s);
    s->refused = refused(s);
}

static err mesh_global_init(rt_ctx *cx, void *st, const void *arg) {
    server *s = st;
    rt_table_cfg cfg = {.name = MESH_GLOBAL_TABLE};
    s->m = *(mesh *const *)arg;
    s->cx = cx;
    list_init(&s->calls);
    hmap_init(&s->askers);
    err e = rt_name_register(cx, MESH_GLOBAL_SERVER);
    if (!e) e = rt_table_create(cx, &cfg, &s->table);
    if (e) return e;
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    begin(cx, s);
    return ERR_OK;
}

static void finish(server *s) {
    mesh_global_free(s->g);
    for (hmap_node *h = hmap_first(&s->askers), *next; h; h = next) {
        next = hmap_next(&s->askers, h);
        hmap_remove(&s->askers, h);
        mem_free(container_of(h, asker, by_number));
    }
}

static void mesh_global_fini(rt_ctx *cx, void *st, err reason) {
    server *s = st;
    (void)reason;
    s->cx = cx;
    finish(s);
    hmap_fini(&s->askers);
    rt_timer_cancel(cx, &s->timer);
}

/* --- actors of this node ---------------------------------------------------------------------------------------------------------- */
static void on_ask(server *s, rt_msg *m) {
    const mesh_global_ask *q = mesh_global_ask_of(m);
    buf b;
    etf_pid pid = {.node = s->m->cfg.name};
    err e = ERR_NOPROC;
    asker *a = mem_zalloc(sizeof *a);
    *a = (asker){.number = ++s->last_asker, .ticket = q->ticket, .who = m->sender};
    hmap_insert(&s->askers, &a->by_number, a->number);
    buf_init(&b, UINT32_MAX);
    if (q->want == MESH_GLOBAL_UNNAME) {
        e = mesh_global_wish(s->g, rt_now(s->cx), MESH_GLOBAL_UNNAME, rt_blob_slice(q->name), &pid, 0, a->number);
    } else if (mesh_pid_put(s->m, s->cx, q->pid, &b)) {
        etf_reader r = etf_reader_of(buf_slice(&b));
        if (check(etf_get_pid(&r, &pid)))
            e = mesh_global_wish(s->g, rt_now(s->cx), q->want, rt_blob_slice(q->name), &pid, q->clash, a->number);
    }
    buf_fini(&b);
    if (e) io_done(s, a->number, e);
}

/* A process here has a name that one of another part has too, whose node has asked for this (mfa_global.c). */
static void on_clash(server *s, rt_msg *m) {
    buf b;
    buf_init(&b, UINT32_MAX);
    bool has = mesh_global_resolve_it(s->g, rt_blob_slice(mesh_global_clash_msg_of(m)->args), &b);
    (void)has; /* the name may have gone meanwhile, and the answer was given */
    buf_fini(&b);
}

static void settle(server *s) {
    usec due = mesh_global_due(s->g);
    if (due == USEC_NEVER)
        rt_timer_cancel(s->cx, &s->timer);
    else
        rt_timer_set(s->cx, &s->timer, due);
    s->cx = NULL;
    s->msg = NULL;
}

/* A message was refused, because there are too many: what it was, only who has sent it knows, who may wait for its answer for ever. */
static void start_anew(rt_ctx *cx, server *s) {
    rt_event_text(cx, EV_GLOBAL_FULL, 0, 0, SLICE("too many messages: the names are learned anew"));
    finish(s);
    begin(cx, s);
}

static uint64_t conn_of(rt_pid link) { return (uint64_t)link.slot << 32 | link.gen; }

static err mesh_global_handle(rt_ctx *cx, void *st, rt_msg **m) {
    server *s = st;
    s->cx = cx;
    s->msg = m;
    if (s->refused != refused(s)) start_anew(cx, s);
    if ((*m)->tag == MESH_TERM && (*m)->sender.node != 0) {
        uint32_t index = (*m)->sender.node;
        mesh_gen_read(mesh_term_of(*m), &s->gen);
        mesh_global_message(s->g, rt_now(cx), index, &s->gen);
    } else if ((*m)->tag == MESH_NODE) {
        const mesh_node_msg *n = mesh_node_msg_of(*m);
        if (n->up)
            mesh_global_node_up(s->g, rt_now(cx), rt_blob_slice(n->name), n->index, conn_of(n->link), n->creation, n->hidden);
        else
            mesh_global_node_down(s->g, rt_now(cx), rt_blob_slice(n->name), conn_of(n->link));
    } else if ((*m)->tag == RT_DOWN) {
        mesh_global_down(s->g, rt_now(cx), rt_down_of(*m)->ref);
    } else if ((*m)->tag == MESH_GLOBAL_ASK) {
        on_ask(s, *m);
    } else if ((*m)->tag == MESH_GLOBAL_CLASH) {
        on_clash(s, *m);
    }
    settle(s);
    return ERR_OK;
}

static err mesh_global_timer_due(rt_ctx *cx, void *st, rt_timer *t) {
    server *s = st;
    (void)t;
    s->cx = cx;
    mesh_global_timer(s->g, rt_now(cx));
    settle(s);
    return ERR_OK;
}

const rt_class mesh_global_class = {
    .name = "global",
    .state_size = sizeof(server),
    .init = mesh_global_init,
    .handle = mesh_global_handle,
    .timer = mesh_global_timer_due,
    .fini = mesh_global_fini,
    .mailbox_max = 1000000,
    .mailbox_bytes_max = 256u << 20, /* a message has up to 128 MiB: all names of the other part of a cluster */
    .bound = RT_BOUND_REFUSE,
    .sure = MESH_NODE,
    .unflushable = true,
    .foreign = true,
    .unmuted = true,
};

/* --- for everybody ---------------------------------------------------------------------------------------------------------------- */
typedef struct each {
    void (*fn)(void *arg, slice name, const etf_pid *pid);
    void *arg;
} each;

static bool entry_of(slice value, slice *name, etf_pid *pid) {
    etf_reader r = etf_reader_of(value);
    uint32_t n;
    return etf_get_tuple(&r, &n) && n == 2 && etf_skip(&r, name) && etf_get_pid(&r, pid);
}

static bool one(void *arg, slice key, slice value) {
    const each *e = arg;
    slice name;
    etf_pid pid;
    (void)key;
    if (check(entry_of(value, &name, &pid))) e->fn(e->arg, name, &pid);
    return true;
}

void mesh_global_each(rt_reader *r, void (*fn)(void *arg, slice name, const etf_pid *pid), void *arg) {
    each e = {fn, arg};
    rt_table_at at = {0};
    rt_tid t = rt_table_whereis(r, SLICE(MESH_GLOBAL_TABLE));
    while (t && !at.done)
        if (rt_table_fold(r, t, &at, 1024, one, &e)) return;
}

static NODISCARD err ask(rt_ctx *cx, mesh_global_want want, slice name, rt_pid pid, mesh_global_clash clash, uint64_t ticket) {
    rt_pid to = mesh_global_find(cx);
    slice whole;
    etf_reader r = etf_reader_of(name);
    if (!etf_skip(&r, &whole) || whole.len != name.len) return ERR_INVALID;
    if (!rt_pid_ok(to)) return ERR_NOPROC;
    rt_msg *m = rt_msg_new(cx, MESH_GLOBAL_ASK, sizeof(mesh_global_ask));
    *mesh_global_ask_of(m) =
        (mesh_global_ask){.want = (uint8_t)want, .clash = (uint8_t)clash, .ticket = ticket, .name = rt_blob_new(name), .pid = pid};
    rt_send(cx, to, &m);
    return ERR_OK;
}

rt_pid mesh_global_find(rt_ctx *cx) { return rt_name_find(cx, MESH_GLOBAL_SERVER); }

err mesh_global_register(rt_ctx *cx, slice name, rt_pid pid, mesh_global_clash clash, uint64_t ticket) {
    return ask(cx, MESH_GLOBAL_NAME, name, pid, clash, ticket);
}
err mesh_global_reregister(rt_ctx *cx, slice name, rt_pid pid, mesh_global_clash clash, uint64_t ticket) {
    return ask(cx, MESH_GLOBAL_RENAME, name, pid, clash, ticket);
}
err mesh_global_unregister(rt_ctx *cx, slice name, uint64_t ticket) {
    return ask(cx, MESH_GLOBAL_UNNAME, name, RT_PID_NONE, MESH_GLOBAL_RANDOM_EXIT, ticket);
}

bool mesh_global_lookup(mesh *m, rt_ctx *cx, slice name, etf_pid *out) {
    rt_reader *r = rt_epoch_reader(cx);
    table_key k = key_of(m, name);
    slice value, is;
    rt_tid t = rt_table_whereis(r, SLICE(MESH_GLOBAL_TABLE));
    return t && rt_table_lookup(r, t, slice_of(&k, sizeof k), &value) == ERR_OK && check(entry_of(value, &is, out)) && slice_eq(is, name);
}

err mesh_global_whereis(mesh *m, rt_ctx *cx, slice name, rt_pid *out) {
    buf canon;
    etf_pid pid;
    buf_init(&canon, UINT32_MAX);
    err e = mesh_global_canon(name, &canon) ? ERR_OK : ERR_INVALID;
    if (!e && (!mesh_global_lookup(m, cx, buf_slice(&canon), &pid) || !mesh_pid_get(m, cx, &pid, out))) e = ERR_NOT_FOUND;
    buf_fini(&canon);
    return e;
}

err mesh_global_send_to(mesh *m, rt_ctx *cx, slice name, rt_blob *term) {
    rt_pid to;
    err e = mesh_global_whereis(m, cx, name, &to);
    if (!e) mesh_send_pid(cx, to, term);
    return e;
}
