/* global: the actor global_name_server, which runs the machine of global_machine.h, and the table of names that everybody here reads.
 *
 * Invariants: (1) the table has what the machine has, in the shape of mesh_global_name, unless it is full; (2) the machine has been told of
 * every node that is connected. If this actor starts anew it knows nothing of what others believe that it knows: so it parts with
 * everybody, and they join again. */
#include "mesh/global.h"

#include "base/list.h"
#include "base/mem.h"
#include "mesh/global_machine.h"
#include "mesh/int.h"
#include "rt/event.h"

typedef struct kept { /* a call that is answered later */
    list in_list;
    uint64_t number;
    rt_msg *msg;
} kept;

typedef struct server {
    mesh *m;
    mesh_global *g;
    rt_ctx *cx;   /* of the callback that runs */
    rt_msg **msg; /* that it handles */
    mesh_gen gen; /* what is in it */
    rt_tid table;
    list calls;
    uint64_t last_kept;
    rt_timer timer;
} server;

/* --- what the machine asks -------------------------------------------------------------------------------------------------------- */
static rt_blob *blob_of(slice term) {
    rt_blob *b = rt_blob_alloc(term.len + 1);
    b->data[0] = ETF_VERSION;
    memcpy(b->data + 1, term.p, term.len);
    return b;
}

static void io_send(void *arg, uint32_t index, slice name, slice term) {
    server *s = arg;
    rt_blob *b = blob_of(term);
    mesh_send_name(s->cx, s->m, index, name, b);
    rt_blob_unref(b);
}

static void io_send_pid(void *arg, uint32_t index, const etf_pid *to, slice term) {
    server *s = arg;
    rt_blob *b = blob_of(term);
    mesh_send_pid(s->cx, (rt_pid){index, to->id, to->serial}, b);
    rt_blob_unref(b);
}

static void io_answer(void *arg, slice term) {
    server *s = arg;
    mesh_gen_reply(s->cx, *s->msg, &s->gen, term);
}

static uint64_t io_keep(void *arg) {
    server *s = arg;
    kept *k = mem_zalloc(sizeof *k);
    k->number = ++s->last_kept;
    k->msg = *s->msg;
    *s->msg = NULL;
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

/* Nothing to do: who is introduced connects, to this node as to all others. */
static void io_connect(void *arg, slice node) {
    (void)arg;
    (void)node;
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

static err mesh_global_init(rt_ctx *cx, void *st, const void *arg) {
    server *s = st;
    rt_table_cfg cfg = {.name = MESH_GLOBAL_TABLE};
    s->m = *(mesh *const *)arg;
    s->cx = cx;
    list_init(&s->calls);
    err e = rt_name_register(cx, "global_name_server");
    if (!e) e = rt_table_create(cx, &cfg, &s->table);
    if (e) return e;
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    etf_pid self = mesh_etf_pid(s->m, rt_self(cx));
    mesh_global_io io = {.arg = s,
                         .send = io_send,
                         .send_pid = io_send_pid,
                         .answer = io_answer,
                         .keep = io_keep,
                         .answer_kept = io_answer_kept,
                         .watch = io_watch,
                         .unwatch = io_unwatch,
                         .disconnect = io_disconnect,
                         .connect = io_connect,
                         .named = io_named,
                         .parted = io_parted,
                         .full = io_full,
                         .random = io_random};
    s->g = mesh_global_new(&io, s->m->cfg.name, &self, s->m->cfg.hidden, rt_node_hash_key(s->m->node));
    mesh_peers_each(s->m->nodes, rt_epoch_reader(cx), part, s);
    return ERR_OK;
}

static void mesh_global_fini(rt_ctx *cx, void *st, err reason) {
    server *s = st;
    (void)reason;
    s->cx = cx;
    mesh_global_free(s->g);
    rt_timer_cancel(cx, &s->timer);
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

static uint64_t conn_of(rt_pid link) { return (uint64_t)link.slot << 32 | link.gen; }

static err mesh_global_handle(rt_ctx *cx, void *st, rt_msg **m) {
    server *s = st;
    s->cx = cx;
    s->msg = m;
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
    .bound = RT_BOUND_DROP_OLDEST,
    .sure = MESH_NODE,
    .unflushable = true,
    .foreign = true,
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
