/* edge: the edge of a node: one actor a shard, "edge.N", which looks after a listener for each socket and after what the sessions of its
 * shard depend on.
 *
 *      edge_boot ------> sup --- edge.0                                 edge_set_tls --EDGE_TLS----> every edge.N: door.server
 *      edge_listen ----EDGE_LISTEN---> edge.0 --- listener, listener    edge_drain ----EDGE_DRAIN--> every edge.N: listeners, sessions
 *                  ----EDGE_LISTEN---> edge.1 --- listener, listener
 *
 * The sockets are opened by edge_listen itself, so that a port in use is reported where it can be: to its caller, before anything runs.
 * The edge actor supervises its listeners itself: a port must be served again whatever happens, so there is no restart intensity after
 * which it would be given up, only a pause between attempts. It is supervised in turn. Everything that it must not forget is in the door,
 * which it does not own: its successor monitors the same partitions and the listeners that run on; what has ended meanwhile answers the
 * new monitor at once. So a crash of it closes no connection, no socket, and loses no end of a partition. The table of guesses, which
 * belongs to the first of them, passes to its supervisor and from there to its successor. What it does lose is what waited in its mailbox
 * in that moment: new certificates, until they change again; a drain, which its deadline ends.
 *
 * Invariants: (1) every shard has the same ports. (2) A port without a listener, on a node that does not drain, has the timer armed. (3)
 * Listeners and sessions outlive the edge actor, doors the node. (4) A partition is taken off door.watched after the sessions were told. */
#include "edge/edge.h"

#include "base/mem.h"
#include "edge/c2s.h"
#include "edge/listener.h"
#include "rt/stat.h"
#include "rt/sup.h"

#define MSG RT_MSG_FIELDS
#include "edge/edge.def"
#undef MSG
const rt_msg_desc edge_msgs[] = {
#define MSG RT_MSG_DESC
#include "edge/edge.def"
#undef MSG
};
const size_t edge_msgs_count = ARRAY_LEN(edge_msgs);

#define RESTART_PAUSE (100 * USEC_PER_MSEC) /* between the end of a listener and its successor, and two looks for that of a partition */
#define INTENSITY     10u                   /* crashes of an edge actor ... */
#define PERIOD        (10 * USEC_PER_SEC)   /* ... within this end the node: a fault that comes back at once is not mended by trying */
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
        .account_failures = 10,
        .account_refill = 30 * USEC_PER_SEC,
        .address_failures = 50,
        .address_refill = 6 * USEC_PER_SEC,
        .slow_failures = 100,
        .slow_refill = 10 * USEC_PER_SEC,
        .accept_rate = 10000,
        .accept_rate_ip = 100,
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
typedef struct edge_shard_arg {
    edge_door *door;
} edge_shard_arg;
typedef struct edge_actor {
    edge_door *door;
    uint32_t restarts;
    rt_timer timer;
} edge_actor;

static void port_free(rt_box *b) { edge_port_unref(container_of(b, edge_port, box)); }

/* Monitors every partition: stanzas of our sessions are on their way to any of them. One that restarts is looked for again. */
static void watch_all(rt_ctx *cx, edge_actor *e) {
    bool all = true;
    for (unsigned i = 0; i < e->door->cfg->svc->partitions; i++) {
        rt_pid part = svc_partition_at(rt_ctx_node(cx), i);
        if (!rt_pid_ok(part))
            all = false;
        else if (edge_door_watch(e->door, part))
            (void)rt_monitor(cx, part); /* until it ends; told apart by pid */
    }
    if (!all) rt_timer_set(cx, &e->timer, rt_now(cx) + RESTART_PAUSE);
}

/* Every port gets the listener that it lacks; if one cannot start, it is tried again. */
static void serve(rt_ctx *cx, edge_actor *e) {
    for (edge_port *p = e->door->ports; p && !e->door->draining; p = p->next) {
        edge_listener_arg a = {p};
        if (rt_pid_ok(p->listener)) continue;
        if (rt_spawn(cx, &edge_listener_class, &a, RT_SPAWN_MONITOR, &p->listener, &(uint64_t){0}) == ERR_OK) continue;
        p->listener = RT_PID_NONE;
        rt_timer_set(cx, &e->timer, rt_now(cx) + RESTART_PAUSE);
    }
    watch_all(cx, e);
}

static void on_listen(rt_ctx *cx, edge_actor *e, edge_listen_msg *m) {
    edge_port *p = container_of(m->port, edge_port, box);
    m->port = NULL;
    p->door = e->door;
    p->next = e->door->ports;
    e->door->ports = p;
    serve(cx, e);
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

static void on_drain(rt_ctx *cx, edge_actor *e, const edge_drain_msg *d) {
    e->door->draining = true;
    (void)each(cx, &edge_listener_class, drain_msg, d); /* how many listeners is no news */
    rt_event(cx, EV_DRAIN, each(cx, &edge_c2s_class, drain_msg, d), 0, 0);
}

static rt_msg *part_down_msg(rt_ctx *cx, const void *arg) {
    rt_msg *m = rt_msg_new(cx, EDGE_PART_DOWN, sizeof(edge_part_down));
    edge_part_down_of(m)->part = *(const rt_pid *)arg;
    return m;
}

/* A listener, or a partition. */
static void on_down(rt_ctx *cx, edge_actor *e, const rt_down *d) {
    for (edge_port *p = e->door->ports; p; p = p->next) {
        if (!rt_pid_eq(p->listener, d->pid)) continue;
        p->listener = RT_PID_NONE;
        rt_event_text(cx, EV_SUP_RESTART, p->addr.port, ++e->restarts, SLICE("listener"));
        rt_timer_set(cx, &e->timer, rt_now(cx) + RESTART_PAUSE);
        return;
    }
    (void)each(cx, &edge_c2s_class, part_down_msg, &d->pid); /* each knows whether it is meant */
    edge_door_unwatch(e->door, d->pid);
    watch_all(cx, e);
}

/* The first one of the shard, or the successor of one that crashed. */
static err shard_init(rt_ctx *cx, void *st, const void *arg) {
    edge_actor *e = st;
    edge_door *d = ((const edge_shard_arg *)arg)->door;
    err bad = rt_name_register(cx, names[rt_ctx_shard(cx)]);
    if (!bad) bad = edge_guard_share(cx, d->guard);
    if (bad) return bad;
    e->door = edge_door_ref(d);
    d->owner = rt_self(cx);
    for (size_t i = 0; i < d->n_watched; i++) (void)rt_monitor(cx, d->watched[i]); /* until it ends; told apart by pid */
    for (edge_port *p = d->ports; p; p = p->next)
        if (rt_pid_ok(p->listener)) (void)rt_monitor(cx, p->listener); /* likewise */
    serve(cx, e);
    const edge_drain_msg drain = {.text = NULL};
    if (d->draining) on_drain(cx, e, &drain); /* its predecessor may not have told everybody */
    return ERR_OK;
}

static err shard_handle(rt_ctx *cx, void *st, rt_msg **m) {
    edge_actor *e = st;
    switch ((*m)->tag) {
    case EDGE_LISTEN: on_listen(cx, e, edge_listen_msg_of(*m)); break;
    case EDGE_TLS: edge_door_set_server(e->door, container_of(edge_tls_of(*m)->server, edge_tls_box, box)->server); break;
    case EDGE_WATCH: (void)rt_monitor(cx, edge_watch_of(*m)->part); break; /* until it ends; told apart by pid */
    case RT_DOWN: on_down(cx, e, rt_down_of(*m)); break;
    case EDGE_DRAIN: on_drain(cx, e, edge_drain_msg_of(*m)); break;
    case RT_TRANSFER: break; /* the guesses, which are reached by their name */
    default: break;          /* nobody sends anything else */
    }
    return ERR_OK;
}

static void shard_fini(rt_ctx *cx, void *st, err reason) {
    edge_actor *e = st;
    (void)cx;
    (void)reason;
    edge_door_unref(e->door);
}

static const rt_class shard_class = {
    .name = "edge",
    .state_size = sizeof(edge_actor),
    .init = shard_init,
    .handle = shard_handle,
    .timer = shard_timer,
    .fini = shard_fini,
    .unflushable = true,
};

/* --- for the layer above -------------------------------------------------------------------------------------------------------- */
typedef struct shard_boot {
    edge_shard_arg arg;
    rt_child child;
    rt_sup_spec spec;
    err status;
} shard_boot;
struct edge_services {
    rt_node *node;
    const edge_cfg *cfg;
    unsigned n;
    shard_boot shard[RT_SHARDS_MAX];
};

static void boot_shard(rt_ctx *cx, void *arg) {
    shard_boot *b = arg;
    rt_pid pid;
    b->status = rt_spawn(cx, &rt_sup_class, &b->spec, 0, &pid, NULL);
}

err edge_boot(rt_node *n, const edge_cfg *c, tls_server *server, edge_services **out_services) {
    edge_services *s = mem_zalloc(sizeof *s);
    *out_services = s;
    s->node = n;
    s->cfg = c;
    for (; s->n < rt_node_shards(n); s->n++) {
        shard_boot *b = &s->shard[s->n];
        b->arg.door = edge_door_new(n, c, server);
        b->child = (rt_child){.id = names[s->n], .cls = &shard_class, .arg = &b->arg, .restart = RT_PERMANENT, .tables_kept = true};
        b->spec = (rt_sup_spec){
            .strategy = RT_ONE_FOR_ONE, .intensity = INTENSITY, .period = PERIOD, .children = &b->child, .n_children = 1, .vital = true};
        rt_node_boot(n, s->n, boot_shard, b);
        if (b->status) return b->status; /* its door goes with the services */
    }
    return ERR_OK;
}

void edge_services_free(edge_services *s) {
    if (!s) return;
    for (unsigned i = 0; i < RT_SHARDS_MAX; i++) {
        edge_door *d = s->shard[i].arg.door;
        if (!d) continue;
        for (edge_port *p = d->ports, *next; p; p = next) {
            next = p->next;
            edge_port_unref(p);
        }
        edge_door_unref(d);
    }
    mem_free(s);
}

rt_pid edge_shard(rt_node *n, unsigned shard) { return rt_name_whereis(n, names[shard]); }

static edge_port *port_open(sys *y, const edge_listen_cfg *c, int backlog, const sys_addr *a, err *out_err) {
    int fd = -1;
    sys_addr bound = *a;
    *out_err = y->listen(y, a, backlog, true, &fd);
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
    p->backlog = backlog;
    p->fd = fd;
    return p;
}

static void boot_port(rt_ctx *cx, void *arg) {
    edge_port *p = arg;
    rt_msg *m = rt_msg_new(cx, EDGE_LISTEN, sizeof(edge_listen_msg));
    edge_listen_msg_of(m)->port = &p->box;
    rt_send(cx, edge_shard(rt_ctx_node(cx), rt_ctx_shard(cx)), &m);
}

err edge_listen(edge_services *s, const edge_listen_cfg *c, sys_addr *out_bound) {
    edge_port *port[RT_SHARDS_MAX] = {NULL};
    sys_addr addr = c->addr;
    err e = ERR_OK;
    for (unsigned i = 0; i < s->n && !e; i++) {
        port[i] = port_open(rt_node_sys(s->node), c, (int)s->cfg->backlog, &addr, &e);
        if (!e) addr = port[i]->addr; /* the same port on every shard */
    }
    for (unsigned i = 0; i < s->n; i++) {
        if (!e)
            rt_node_boot(s->node, i, boot_port, port[i]);
        else if (port[i])
            edge_port_unref(port[i]);
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
        rt_post(n, edge_shard(n, i), &m);
    }
}

void edge_drain(rt_node *n, const char *text) {
    for (unsigned i = 0; i < rt_node_shards(n); i++) {
        rt_msg *m = rt_msg_new_ext(EDGE_DRAIN, sizeof(edge_drain_msg));
        edge_drain_msg_of(m)->text = text ? rt_blob_new(slice_str(text)) : NULL;
        rt_post(n, edge_shard(n, i), &m);
    }
}

/* Two counters that exist anyway: no lock, any thread. Ends are read first, so that the difference is never negative. */
uint32_t edge_session_count(rt_node *n) {
    uint64_t ended = rt_event_count(n, EV_SESSION_END);
    return (uint32_t)(rt_event_count(n, EV_ACCEPT) - ended);
}
