/* net_kernel: the process of that name that other nodes ask (kernel, net_kernel.erl). is_auth is what net_adm:ping waits for; what is not
 * known is not answered, as OTP does not either, but for `spawn` of OTP 23 and before, whose caller would wait for ever. Actors of this
 * node hear from it which nodes come and go (its monitor_nodes). */
#include "base/mem.h"
#include "mesh/gen.h"
#include "mesh/int.h"
#include "mesh/pg.h"

typedef struct watcher { /* an actor that wants MESH_NODE */
    rt_pid pid;
    uint64_t ref; /* its monitor */
} watcher;
typedef struct net_kernel {
    mesh *m;
    watcher *watchers;
    size_t n, cap;
} net_kernel;

static err net_kernel_init(rt_ctx *cx, void *st, const void *arg) {
    net_kernel *k = st;
    k->m = *(mesh *const *)arg;
    rt_trap_exit(cx, true); /* whoever links to it and ends does not take it along */
    err e = rt_name_register(cx, "net_kernel");
    if (!e) e = mesh_pg_join(cx, SLICE(MESH_PG_SCOPE), MESH_PG_OWN, rt_self(cx), 0);
    return e == ERR_NOPROC ? ERR_OK : e; /* that scope sees to it as it starts */
}

static void net_kernel_fini(rt_ctx *cx, void *st, err reason) {
    net_kernel *k = st;
    (void)cx, (void)reason;
    mem_free(k->watchers);
}

/* --- who is there ----------------------------------------------------------------------------------------------------------------- */
static void tell(rt_ctx *cx, rt_pid to, const mesh_node_msg *n) {
    rt_msg *m = rt_msg_new(cx, MESH_NODE, sizeof *n);
    *mesh_node_msg_of(m) = *n;
    (void)rt_blob_ref(n->name); /* each message has its own */
    rt_send(cx, to, &m);
}

typedef struct telling {
    rt_ctx *cx;
    rt_pid to;
} telling;
static void tell_present(void *arg, uint32_t index, const mesh_node *n) {
    const telling *t = arg;
    rt_blob *name = rt_blob_new(slice_of(n->name, n->name_len));
    tell(t->cx, t->to,
         &(mesh_node_msg){.up = true, .hidden = n->hidden, .index = index, .creation = n->creation, .link = n->link, .name = name});
    rt_blob_unref(name);
}

static void forget(net_kernel *k, size_t i) { k->watchers[i] = k->watchers[--k->n]; }

/* The table first or its changes first: an up may be said twice, and none is missed. */
static void on_watch(rt_ctx *cx, net_kernel *k, const mesh_watch_msg *w) {
    size_t i = 0;
    while (i < k->n && !rt_pid_eq(k->watchers[i].pid, w->who)) i++;
    if (i < k->n && !w->on) {
        rt_demonitor(cx, k->watchers[i].ref);
        forget(k, i);
    }
    if (!w->on) return;
    if (i == k->n) {
        void *arr = k->watchers;
        mem_grow(&arr, &k->cap, k->n + 1, sizeof *k->watchers);
        k->watchers = arr;
        k->watchers[k->n++] = (watcher){w->who, rt_monitor(cx, w->who)};
    }
    mesh_peers_each(k->m->nodes, rt_epoch_reader(cx), tell_present, &(telling){cx, w->who});
}

static void on_down(net_kernel *k, uint64_t ref) {
    for (size_t i = 0; i < k->n; i++)
        if (k->watchers[i].ref == ref) {
            forget(k, i);
            return;
        }
}

/* --- what others ask -------------------------------------------------------------------------------------------------------------- */
static void on_term(rt_ctx *cx, rt_msg *m) {
    mesh_gen g;
    uint32_t n;
    mesh_gen_read(mesh_term_of(m), &g);
    if (g.kind != MESH_GEN_CALL) return;
    etf_reader r = {.in = cursor_of(g.request)};
    if (!etf_get_tuple(&r, &n)) return;
    if (n == 2 && etf_get_atom_is(&r, SLICE("is_auth"))) mesh_gen_reply(cx, m, &g, SLICE("w\x03yes"));
}

static err net_kernel_handle(rt_ctx *cx, void *st, rt_msg **m) {
    net_kernel *k = st;
    if ((*m)->tag == MESH_TERM) on_term(cx, *m);
    if ((*m)->tag == MESH_WATCH) on_watch(cx, k, mesh_watch_msg_of(*m));
    if ((*m)->tag == RT_DOWN) on_down(k, rt_down_of(*m)->ref);
    for (size_t i = 0; (*m)->tag == MESH_NODE && i < k->n; i++) tell(cx, k->watchers[i].pid, mesh_node_msg_of(*m));
    return ERR_OK;
}

const rt_class mesh_net_kernel_class = {
    .name = "net_kernel",
    .state_size = sizeof(net_kernel),
    .init = net_kernel_init,
    .handle = net_kernel_handle,
    .fini = net_kernel_fini,
    .mailbox_max = 100000,
    .mailbox_bytes_max = 16u << 20, /* a message has up to 128 MiB */
    .bound = RT_BOUND_DROP_OLDEST,
    .foreign = true,
    .unmuted = true,
    .sure = MESH_NODE,
};
