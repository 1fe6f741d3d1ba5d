/* edge: the edge of a node: one actor a shard, "edge.N", which owns the shard's door and looks after a listener for each socket.
 *
 *      edge_listen ----EDGE_LISTEN---> edge.0 --- listener, listener    edge_set_tls --EDGE_TLS----> every edge.N: door.server
 *                  ----EDGE_LISTEN---> edge.1 --- listener, listener    edge_drain ----EDGE_DRAIN--> every edge.N: listeners, sessions
 *
 * The sockets are opened by edge_listen itself, so that a port in use is reported where it can be: to its caller, before anything runs.
 * The edge actor supervises its listeners itself: a port must be served again whatever happens, so there is no restart intensity after
 * which it would be given up, only a pause between attempts.
 *
 * Invariants: (1) every shard has the same ports. (2) A port without a listener, on a node that does not drain, has the timer armed. (3)
 * Sessions outlive listeners and the edge actor by their reference to the door. */
#include "edge/edge.h"

#include "base/mem.h"
#include "edge/c2s.h"
#include "edge/listener.h"
#include "rt/stat.h"

#define MSG RT_MSG_FIELDS
#include "edge/edge.def"
#undef MSG
const rt_msg_desc edge_msgs[] = {
#define MSG RT_MSG_DESC
#include "edge/edge.def"
#undef MSG
};
const size_t edge_msgs_count = ARRAY_LEN(edge_msgs);

#define RESTART_PAUSE (100 * USEC_PER_MSEC) /* between the end of a listener and its successor */
#define TEN(t)                                                                                                                             \
    "edge." t "0", "edge." t "1", "edge." t "2", "edge." t "3", "edge." t "4", "edge." t "5", "edge." t "6", "edge." t "7", "edge." t "8", \
        "edge." t "9"
static const char *const names[] = {TEN(""), TEN("1"), TEN("2"), TEN("3"), TEN("4"), TEN("5"), TEN("6")};
_Static_assert(ARRAY_LEN(names) >= RT_SHARDS_MAX, "a name for each shard");

void edge_cfg_default(edge_cfg *c) {
    *c = (edge_cfg){
        .tls_required = true,
        .mechanisms = (1u << XMPP_MECH_SCRAM_SHA_256_PLUS) | (1u << XMPP_MECH_SCRAM_SHA_1_PLUS) | (1u << XMPP_MECH_SCRAM_SHA_256) |
                      (1u << XMPP_MECH_SCRAM_SHA_1),
        .stanza_bytes_max = 256u << 10,
        .auth_deadline = 30 * USEC_PER_SEC,
        .auth_failures_max = 3,
        .idle_ping = 300 * USEC_PER_SEC,
        .idle_timeout = 60 * USEC_PER_SEC,
        .write_timeout = 60 * USEC_PER_SEC,
        .out_bytes_max = 1u << 20,
        .resume_timeout = 300 * USEC_PER_SEC,
        .unacked_max = 1000,
        .per_ip_max = 1000,
        .backlog = 1024,
        .fd_reserve = 64,
    };
}

/* --- the actor of a shard ------------------------------------------------------------------------------------------------------- */
typedef struct edge_shard {
    edge_door *door;
    edge_port *ports;
    uint32_t restarts;
    rt_timer timer;
} edge_shard;
typedef struct edge_shard_arg {
    const edge_cfg *cfg;
    tls_server *server;
} edge_shard_arg;

static err shard_init(rt_ctx *cx, void *st, const void *arg) {
    edge_shard *e = st;
    const edge_shard_arg *a = arg;
    err bad = rt_name_register(cx, names[rt_ctx_shard(cx)]);
    if (bad) return bad;
    rt_trap_exit(cx, true);
    e->door = edge_door_new(rt_ctx_node(cx), a->cfg, a->server);
    e->door->owner = rt_self(cx);
    return ERR_OK;
}

static void port_free(rt_box *b) { edge_port_unref(container_of(b, edge_port, box)); }

/* Every port gets the listener that it lacks; if one cannot start, it is tried again. */
static void serve(rt_ctx *cx, edge_shard *e) {
    for (edge_port *p = e->ports; p && !e->door->draining; p = p->next) {
        edge_listener_arg a = {p};
        if (rt_pid_ok(p->listener)) continue;
        if (rt_spawn(cx, &edge_listener_class, &a, RT_SPAWN_LINK, &p->listener, NULL) == ERR_OK) continue;
        p->listener = RT_PID_NONE;
        rt_timer_set(cx, &e->timer, rt_now(cx) + RESTART_PAUSE);
    }
}

static void on_listen(rt_ctx *cx, edge_shard *e, edge_listen_msg *m) {
    edge_port *p = container_of(m->port, edge_port, box);
    m->port = NULL;
    p->door = edge_door_ref(e->door);
    p->next = e->ports;
    e->ports = p;
    serve(cx, e);
}

static void on_exit_message(rt_ctx *cx, edge_shard *e, const rt_exit_msg *x) {
    for (edge_port *p = e->ports; p; p = p->next) {
        if (!rt_pid_eq(p->listener, x->from)) continue;
        p->listener = RT_PID_NONE;
        rt_event_text(cx, EV_SUP_RESTART, p->addr.port, ++e->restarts, SLICE("listener"));
        rt_timer_set(cx, &e->timer, rt_now(cx) + RESTART_PAUSE);
    }
}

static err shard_timer(rt_ctx *cx, void *st, rt_timer *t) {
    (void)t; /* there is only one */
    serve(cx, st);
    return ERR_OK;
}

typedef struct edge_tls_box {
    rt_box box;
    tls *tls;
    tls_server *server;
} edge_tls_box;

static void tls_box_free(rt_box *b) {
    edge_tls_box *t = container_of(b, edge_tls_box, box);
    if (t->server) t->tls->server_unref(t->server);
    mem_free(t);
}

/* Calls fn for every actor of this shard that is of the class. They are found among all actors: a list of sessions kept for these rare
 * moments would cost memory in each. */
static uint64_t each(rt_ctx *cx, const rt_class *cls, rt_msg *(*fn)(rt_ctx *cx, const void *arg), const void *arg) {
    rt_actor_info info[16];
    uint32_t from = 0;
    uint64_t told = 0;
    for (size_t n; (n = rt_stat_actors(cx, &from, info, ARRAY_LEN(info))) > 0;) {
        for (size_t i = 0; i < n; i++) {
            if (strcmp(info[i].cls, cls->name) != 0) continue;
            rt_msg *m = fn(cx, arg);
            rt_send(cx, info[i].pid, &m);
            told++;
        }
    }
    return told;
}

static rt_msg *drain_msg(rt_ctx *cx, const void *arg) {
    const edge_drain_msg *d = arg;
    rt_msg *m = rt_msg_new(cx, EDGE_DRAIN, sizeof(edge_drain_msg));
    edge_drain_msg_of(m)->text = rt_blob_ref(d->text);
    return m;
}

static void on_drain(rt_ctx *cx, edge_shard *e, const edge_drain_msg *d) {
    e->door->draining = true;
    (void)each(cx, &edge_listener_class, drain_msg, d); /* how many listeners is no news */
    rt_event(cx, EV_DRAIN, each(cx, &edge_c2s_class, drain_msg, d), 0, 0);
}

static rt_msg *part_down_msg(rt_ctx *cx, const void *arg) {
    rt_msg *m = rt_msg_new(cx, EDGE_PART_DOWN, sizeof(edge_part_down));
    edge_part_down_of(m)->part = *(const rt_pid *)arg;
    return m;
}

static void on_down(rt_ctx *cx, edge_shard *e, const rt_down *d) {
    edge_door_unwatch(e->door, d->pid);
    (void)each(cx, &edge_c2s_class, part_down_msg, &d->pid); /* each knows whether it is meant */
}

static err shard_handle(rt_ctx *cx, void *st, rt_msg **m) {
    edge_shard *e = st;
    switch ((*m)->tag) {
    case EDGE_LISTEN: on_listen(cx, e, edge_listen_msg_of(*m)); break;
    case RT_EXIT: on_exit_message(cx, e, rt_exit_msg_of(*m)); break;
    case EDGE_TLS: edge_door_set_server(e->door, container_of(edge_tls_of(*m)->server, edge_tls_box, box)->server); break;
    case EDGE_WATCH: (void)rt_monitor(cx, edge_watch_of(*m)->part); break; /* until it ends; told apart by pid */
    case RT_DOWN: on_down(cx, e, rt_down_of(*m)); break;
    case EDGE_DRAIN: on_drain(cx, e, edge_drain_msg_of(*m)); break;
    default: break; /* nobody sends anything else */
    }
    return ERR_OK;
}

static void shard_fini(rt_ctx *cx, void *st, err reason) {
    edge_shard *e = st;
    (void)cx;
    (void)reason;
    for (edge_port *p = e->ports, *next; p; p = next) {
        next = p->next;
        edge_port_unref(p);
    }
    edge_door_unref(e->door);
}

static const rt_class shard_class = {
    .name = "edge",
    .state_size = sizeof(edge_shard),
    .init = shard_init,
    .handle = shard_handle,
    .timer = shard_timer,
    .fini = shard_fini,
};

/* --- for the layer above -------------------------------------------------------------------------------------------------------- */
typedef struct boot_arg {
    const edge_listen_cfg *cfg;
    edge_port *port;
    err result;
} boot_arg;

static void boot_shard(rt_ctx *cx, void *arg) {
    boot_arg *b = arg;
    rt_pid pid = rt_name_whereis(rt_ctx_node(cx), names[rt_ctx_shard(cx)]);
    edge_shard_arg a = {b->cfg->edge, b->cfg->server};
    if (!rt_pid_ok(pid)) b->result = rt_spawn(cx, &shard_class, &a, 0, &pid, NULL);
    if (b->result) {
        edge_port_unref(b->port);
        return;
    }
    rt_msg *m = rt_msg_new(cx, EDGE_LISTEN, sizeof(edge_listen_msg));
    edge_listen_msg_of(m)->port = &b->port->box;
    rt_send(cx, pid, &m);
}

static edge_port *port_open(sys *y, const edge_listen_cfg *c, const sys_addr *a, err *out_err) {
    int fd = -1;
    sys_addr bound = *a;
    *out_err = y->listen(y, a, (int)c->edge->backlog, true, &fd);
    if (*out_err) return NULL;
    *out_err = y->local_addr(y, fd, &bound);
    if (*out_err) {
        y->close(y, fd);
        return NULL;
    }
    edge_port *p = mem_zalloc(sizeof *p);
    p->box.free = port_free;
    p->refs = 1;
    p->sys = y;
    p->transport = c->transport;
    p->addr = bound;
    p->backlog = (int)c->edge->backlog;
    p->fd = fd;
    return p;
}

err edge_listen(rt_node *n, const edge_listen_cfg *c, sys_addr *out_bound) {
    edge_port *port[RT_SHARDS_MAX] = {NULL};
    unsigned shards = rt_node_shards(n);
    sys_addr addr = c->addr;
    err e = ERR_OK;
    for (unsigned i = 0; i < shards && !e; i++) {
        port[i] = port_open(rt_node_sys(n), c, &addr, &e);
        if (!e) addr = port[i]->addr; /* the same port on every shard */
    }
    for (unsigned i = 0; i < shards; i++) {
        if (e) {
            if (port[i]) edge_port_unref(port[i]);
            continue;
        }
        boot_arg b = {c, port[i], ERR_OK};
        rt_node_boot(n, i, boot_shard, &b);
        e = b.result;
    }
    if (!e) *out_bound = addr;
    return e;
}

void edge_set_tls(rt_node *n, tls_server *server) {
    tls *t = rt_node_tls(n);
    for (unsigned i = 0; i < rt_node_shards(n); i++) {
        edge_tls_box *b = mem_zalloc(sizeof *b);
        b->box.free = tls_box_free;
        b->tls = t;
        b->server = server ? t->server_ref(server) : NULL;
        rt_msg *m = rt_msg_new_ext(EDGE_TLS, sizeof(edge_tls));
        edge_tls_of(m)->server = &b->box;
        rt_post(n, rt_name_whereis(n, names[i]), &m);
    }
}

void edge_drain(rt_node *n, const char *text) {
    for (unsigned i = 0; i < rt_node_shards(n); i++) {
        rt_msg *m = rt_msg_new_ext(EDGE_DRAIN, sizeof(edge_drain_msg));
        edge_drain_msg_of(m)->text = text ? rt_blob_new(slice_str(text)) : NULL;
        rt_post(n, rt_name_whereis(n, names[i]), &m);
    }
}

/* Two counters that exist anyway: no lock, any thread. Ends are read first, so that the difference is never negative. */
uint32_t edge_session_count(rt_node *n) {
    uint64_t ended = rt_event_count(n, EV_SESSION_END);
    return (uint32_t)(rt_event_count(n, EV_ACCEPT) - ended);
}
