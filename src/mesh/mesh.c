/* mesh: configuration and boot. */
#include "base/mem.h"
#include "mesh/dial.h"
#include "mesh/pg.h"
#include "proto/dist/cookie.h"
#include "rt/sup.h"

#define RESTARTS       10
#define RESTART_PERIOD (10 * USEC_PER_SEC)

void mesh_cfg_default(mesh_cfg *c) {
    *c = (mesh_cfg){.ticktime = MESH_TICKTIME,
                    .setup_time = MESH_SETUP_TIME,
                    .link_bytes = MESH_LINK_BYTES,
                    .version = "",
                    .backlog = 1024,
                    .relations_max = MESH_RELATIONS_MAX,
                    .handshakes_max = MESH_HANDSHAKES_MAX,
                    .epmd_conns_max = MESH_EPMD_CONNS_MAX,
                    .mapper_port = DIST_EPMD_PORT,
                    .dial_rate = MESH_DIAL_RATE,
                    .dials_max = MESH_DIALS_MAX,
                    .dns_every = MESH_DNS_EVERY};
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
static void draw_creation(mesh *m) {
    sys *y = rt_node_sys(m->node);
    do y->entropy(y, &m->self.creation, sizeof m->self.creation);
    while (m->self.creation < 4); /* 0 to 3 could be mistaken for creations of two bits */
}

err mesh_new(rt_node *n, const mesh_cfg *c, mesh **out) {
    dist_name name;
    err e = dist_name_parse_own(c->name, &name);
    if (!e) e = dist_cookie_check(c->cookie);
    if (!e) e = mesh_pg_check(c->pg_scopes, c->n_pg_scopes, &(size_t){0});
    if (e) return e;
    mesh *m = mem_zalloc(sizeof *m);
    m->node = n;
    m->itself = m;
    m->cfg = *c;
    m->born = rt_node_sys(n)->mono(rt_node_sys(n));
    mesh_plug_init(m);
    mesh_pg_new(m);
    tls_slot_init(&m->tls, c->tls, c->tls_server);
    m->certified = c->tls_server != NULL;
    m->cfg.tls_server = NULL; /* it is in there */
    m->limits = (dist_in_cfg){.frame_max = DIST_FRAME_MAX,
                              .cache_max = DIST_CACHE_MAX,
                              .fragments = {.front = sizeof(rt_blob),
                                            .messages_max = DIST_FRAGMENTS_OPEN_MAX,
                                            .message_max = DIST_FRAGMENTS_EACH_MAX,
                                            .bytes_max = DIST_FRAGMENTS_BYTES_MAX,
                                            .key = *rt_node_hash_key(n)}};
    uint64_t flags = dist_flags_offered();
    if (c->hidden) flags &= ~DIST_FLAG(PUBLISHED);
    m->self = (dist_self){.name = c->name, .flags = flags};
    draw_creation(m);
    m->since = rt_node_sys(n)->wall(rt_node_sys(n));
    rt_node_add_msgs(n, mesh_msgs, mesh_msgs_count);
    rt_node_set_remote(n, &m->remote);
    *out = m;
    return ERR_OK;
}

void mesh_free(mesh *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n_ports; i++)
        for (unsigned k = 0; k < RT_SHARDS_MAX; k++) mem_free(m->ports[i][k]);
    for (unsigned i = 0; i < RT_SHARDS_MAX; i++) {
        if (m->atoms[i]) dist_atoms_fini(m->atoms[i]);
        mem_free(m->atoms[i]);
    }
    mesh_pg_free(m);
    rt_blob_unref(m->origin);
    tls_slot_fini(&m->tls);
    mem_free(m);
}

dist_atoms *mesh_atoms(mesh *m, unsigned shard) {
    if (m->atoms[shard]) return m->atoms[shard];
    m->atoms[shard] = mem_alloc(sizeof *m->atoms[shard]);
    dist_atoms_init(m->atoms[shard], rt_node_hash_key(m->node));
    return m->atoms[shard];
}

slice mesh_name(const mesh *m) { return m->cfg.name; }
bool mesh_has_left(const mesh *m) { return atomic_load_explicit(&m->left, memory_order_relaxed); } /* see int.h */
void mesh_set_tls(mesh *m, tls_server *server) { tls_slot_put(&m->tls, server); }

uint32_t mesh_creation(const mesh *m) { return m->self.creation; }

/* --- boot ------------------------------------------------------------------------------------------------------------------------- */
typedef struct booting {
    mesh *m;
    mesh_port *port;
    err status;
} booting;

static void boot_first(rt_ctx *cx, void *arg) {
    booting *b = arg;
    b->status = mesh_peers_init(b->m, cx);
    if (!b->status) b->status = mesh_dial_table(b->m, cx);
    if (!b->status) b->status = mesh_service_boot(b->m, cx);
    if (!b->status) b->status = mesh_pg_boot(b->m, cx);
}

err mesh_boot(mesh *m) {
    booting b = {.m = m};
    rt_node_boot(m->node, 0, boot_first, &b);
    return b.status;
}

static void boot_port(rt_ctx *cx, void *arg) {
    booting *b = arg;
    rt_pid pid;
    b->status = rt_spawn(cx, &rt_sup_class, &b->port->spec, 0, &pid, NULL);
}

bool mesh_secure(const mesh *m, const sys_addr *a) { return m->cfg.tls_required || !sys_addr_is_loopback(a); }

static err port_open(mesh *m, const sys_addr *a, mesh_port **out) {
    sys *y = rt_node_sys(m->node);
    int fd = -1;
    sys_addr bound = *a;
    err e = y->listen(y, a, m->cfg.backlog, true, &fd);
    if (e) return e;
    e = y->local_addr(y, fd, &bound);
    if (e) {
        y->close(y, fd);
        return e;
    }
    mesh_port *p = mem_zalloc(sizeof *p);
    *p = (mesh_port){.m = m, .self = p, .addr = bound, .secure = mesh_secure(m, a), .fd = fd};
    p->child = (rt_child){.id = "mesh_acceptor", .cls = &mesh_acceptor_class, .arg = &p->self, .restart = RT_PERMANENT};
    p->spec = (rt_sup_spec){
        .strategy = RT_ONE_FOR_ONE, .intensity = RESTARTS, .period = RESTART_PERIOD, .children = &p->child, .n_children = 1, .vital = true};
    *out = p;
    return ERR_OK;
}

/* After an attempt to start its acceptor: a socket that it did not come to take is nobody's. */
static void port_settle(mesh *m, mesh_port *p) {
    sys *y = rt_node_sys(m->node);
    if (p->fd >= 0) y->close(y, p->fd);
    p->fd = -1;
}

err mesh_listen(mesh *m, const sys_addr *a, sys_addr *out_bound) {
    if (m->n_ports == MESH_LISTEN_MAX) return ERR_LIMIT;
    if (mesh_secure(m, a) && !m->certified) return ERR_TLS;
    mesh_port **ports = m->ports[m->n_ports++];
    sys_addr addr = *a;
    for (unsigned i = 0; i < rt_node_shards(m->node); i++) {
        booting b = {.m = m};
        err e = port_open(m, &addr, &ports[i]);
        if (e) return e;
        addr = ports[i]->addr; /* the same port on every shard */
        b.port = ports[i];
        rt_node_boot(m->node, i, boot_port, &b);
        port_settle(m, ports[i]);
        if (b.status) return b.status;
    }
    if (m->port == 0) m->port = addr.port;
    *out_bound = addr;
    return ERR_OK;
}

static void boot_epmd(rt_ctx *cx, void *arg) {
    booting *b = arg;
    rt_pid pid;
    b->status = rt_spawn(cx, &rt_sup_class, &b->m->epmd_spec, 0, &pid, NULL);
}

err mesh_register(mesh *m) {
    booting b = {.m = m};
    if (m->cfg.epmd.port == 0 || !check(m->port != 0)) return ERR_OK;
    m->epmd_child = (rt_child){.id = "epmd", .cls = &mesh_epmd_class, .arg = &m->itself, .restart = RT_PERMANENT};
    m->epmd_spec = (rt_sup_spec){.strategy = RT_ONE_FOR_ONE,
                                 .intensity = RESTARTS,
                                 .period = RESTART_PERIOD,
                                 .children = &m->epmd_child,
                                 .n_children = 1,
                                 .vital = true};
    rt_node_boot(m->node, 0, boot_epmd, &b);
    return b.status;
}

typedef struct seeding {
    booting b;
    const slice *seeds;
    size_t n;
    mesh_by by;
} seeding;
static void boot_seeds(rt_ctx *cx, void *arg) {
    seeding *x = arg;
    for (size_t i = 0; i < x->n && !x->b.status; i++) x->b.status = mesh_dial_add(x->b.m, cx, x->seeds[i], x->by);
}

err mesh_dial_listed(mesh *m, const slice *seeds, size_t n) {
    seeding x = {.b = {.m = m}, .seeds = seeds, .n = n, .by = MESH_BY_FILE};
    if (n > MESH_SEEDS_MAX) return ERR_LIMIT;
    rt_node_boot(m->node, 0, boot_seeds, &x);
    return x.b.status;
}

static void boot_dial(rt_ctx *cx, void *arg) {
    seeding *x = arg;
    mesh *m = x->b.m;
    rt_pid pid;
    boot_seeds(cx, x);
    if (!x->b.status) x->b.status = rt_spawn(cx, &rt_sup_class, &m->dial_spec, 0, &pid, NULL);
}

err mesh_dial(mesh *m, const slice *seeds, size_t n) {
    seeding x = {.b = {.m = m}, .seeds = seeds, .n = n, .by = MESH_BY_SETTING};
    if (n > MESH_SEEDS_MAX) return ERR_LIMIT;
    m->dial_children[0] = (rt_child){.id = "dial", .cls = &mesh_dial_class, .arg = &m->itself, .restart = RT_PERMANENT};
    m->dial_children[1] = (rt_child){.id = "dns", .cls = &mesh_dns_class, .arg = &m->itself, .restart = RT_PERMANENT};
    m->dial_spec = (rt_sup_spec){.strategy = RT_ONE_FOR_ONE,
                                 .intensity = RESTARTS,
                                 .period = RESTART_PERIOD,
                                 .children = m->dial_children,
                                 .n_children = m->cfg.n_dns ? 2 : 1,
                                 .vital = true};
    rt_node_boot(m->node, 0, boot_dial, &x);
    return x.b.status;
}
