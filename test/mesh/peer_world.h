#ifndef TEST_MESH_PEER_WORLD_H
#define TEST_MESH_PEER_WORLD_H
/* peer_world: a whole node on the fake seam, whose sockets are two queues of bytes. The test plays the other node, with the project's own
 * dialler and frames. */
#include "mesh/int.h"
#include "proto/dist/frame_out.h"
#include "proto/etf/term.h"
#include "rt/epoch.h"
#include "rt/pool.h"
#include "rt/rt_world.h"
#include "sim/tls.h"

#define OWN      "murre@h"
#define PEER     "p@h"
#define COOKIE   "XKQJZPWVBNMTRHGFDSLC"
#define TICKTIME (4 * USEC_PER_SEC)
#define FIRST_FD 10
#define HOST     "h"  /* of both */
#define CA       "ca" /* whose certificates count */

/* --- sockets ----------------------------------------------------------------------------------------------------------------------- */
typedef struct conn {
    buf in, out; /* to the node, and from it */
    size_t room; /* bytes that the node may still write */
    bool eof, closed;
    const uint8_t *next; /* where what follows the bytes that were taken last lay */
    size_t moved;        /* bytes that were found elsewhere */
} conn;
static struct {
    world *w;
    mesh *m;
    conn c[WORLD_FDS];
    int listening, accepted, dialled; /* descriptors; the last two: the next one */
    size_t read_max;
    bool aside; /* shard 0 does a round when another one reads next */
    bool deaf;  /* the poller takes no more descriptors */
    sim_tls tls;
    tls_server *server; /* NULL: without TLS */
} net;

static inline err n_listen(sys *s, const sys_addr *a, int backlog, bool reuse_port, int *out) {
    (void)s, (void)a, (void)backlog, (void)reuse_port;
    *out = net.listening = 1;
    return ERR_OK;
}
static inline err n_local_addr(sys *s, int fd, sys_addr *out) {
    (void)s, (void)fd;
    out->port = 4711;
    return ERR_OK;
}
static inline err n_accept(sys *s, int fd, int *out, sys_addr *out_peer) {
    (void)s, (void)fd;
    if (net.accepted == net.dialled) return ERR_AGAIN;
    *out = net.accepted++;
    *out_peer = (sys_addr){.family = SYS_INET4};
    return ERR_OK;
}
static inline err n_read(sys *s, int fd, void *p, size_t len, size_t *out_n) {
    conn *c = &net.c[fd];
    (void)s;
    assert_false(c->closed);
    if (net.aside) (void)rt_node_step(net.w->n, 0, false);
    net.aside = false;
    size_t n = c->in.len < len ? c->in.len : len;
    if (n > net.read_max) n = net.read_max;
    if (n == 0) return c->eof ? ERR_EOF : ERR_AGAIN;
    memcpy(p, c->in.p, n);
    buf_consume(&c->in, n);
    *out_n = n;
    return ERR_OK;
}
static inline err n_writev(sys *s, int fd, const sys_iov *iov, int k, size_t *out_n) {
    conn *c = &net.c[fd];
    (void)s;
    assert_false(c->closed);
    assert_int_equal(k, 1);
    size_t n = iov->len < c->room ? iov->len : c->room;
    if (n == 0) return ERR_AGAIN;
    if (iov->p != c->next) c->moved += iov->len;
    c->next = iov->p + n;
    buf_add(&c->out, slice_of(iov->p, n));
    c->room -= n;
    *out_n = n;
    return ERR_OK;
}
static inline void n_close(sys *s, int fd) {
    net.c[fd].closed = true;
    w_close(s, fd);
}
static inline err n_poll_set(sys *s, int poll, int fd, uint32_t interest, uint64_t token) {
    return net.deaf && !world_of(s)->poll_of[fd] ? ERR_LIMIT : w_poll_set(s, poll, fd, interest, token);
}
static inline int n_poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int max) {
    world *w = world_of(s);
    w->level[net.listening] = net.accepted < net.dialled ? SYS_IN : 0;
    for (int fd = FIRST_FD; fd < net.dialled; fd++)
        w->level[fd] = (net.c[fd].in.len || net.c[fd].eof ? SYS_IN : 0) | (net.c[fd].room ? SYS_OUT : 0);
    return w_poll_wait(s, poll, timeout, out, max);
}

/* --- the node ---------------------------------------------------------------------------------------------------------------------- */
static inline void boot_peers(rt_ctx *cx, void *arg) { assert_int_equal(mesh_peers_init(arg, cx), ERR_OK); }

static size_t net_relations_max; /* of nodes that begin; 0: the default */
static unsigned net_shards = 1;  /* likewise; links are on the last one */

static inline tls_server *certificate(const char *host, const char *ca) {
    char why[TLS_ERR_MAX];
    tls_identity id = {.domain = host};
    tls_server_cfg c = {.ids = &id, .n_ids = 1, .ca_path = ca};
    tls_server *s = NULL;
    assert_int_equal(net.tls.tls.server_new(&net.tls.tls, &c, &s, why), ERR_OK);
    return s;
}

/* Steps the node until it has nothing to do, its pool included. */
static inline void run(void) {
    do (void)world_run(net.w);
    while (rt_pool_run_one(net.w->n, RT_POOL_CRYPTO));
}

static inline mesh_cfg world_cfg(void) {
    static const mesh_cfg zero;
    mesh_cfg c = zero;
    mesh_cfg_default(&c);
    c.name = SLICE(OWN);
    c.cookie = SLICE(COOKIE);
    c.ticktime = TICKTIME;
    c.link_bytes = 1000;
    if (net_relations_max) c.relations_max = net_relations_max;
    return c;
}

/* Under TLS if it is required. services: net_kernel and its like run; else the test can have their names. */
static inline void begin_cfg(const mesh_cfg *cfg, bool services) {
    mesh_cfg with = *cfg, *c = &with;
    memset(&net, 0, sizeof net);
    net.accepted = net.dialled = FIRST_FD;
    net.read_max = SIZE_MAX;
    sim_tls_init(&net.tls, 5);
    if (c->tls_required) c->tls_server = net.server = certificate(HOST, CA);
    c->tls = &net.tls.tls;
    net.w = world_new(net_shards, 1);
    sys *s = &net.w->s;
    s->listen = n_listen, s->local_addr = n_local_addr, s->accept = n_accept, s->read = n_read, s->writev = n_writev;
    s->close = n_close, s->poll_wait = n_poll_wait, s->poll_set = n_poll_set;
    assert_int_equal(mesh_new(net.w->n, c, &net.m), ERR_OK);
    if (services)
        assert_int_equal(mesh_boot(net.m), ERR_OK);
    else
        rt_node_boot(net.w->n, 0, boot_peers, net.m);
    sys_addr a = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, bound;
    assert_int_equal(mesh_listen(net.m, &a, &bound), ERR_OK);
    assert_int_equal(bound.port, 4711);
    (void)world_run(net.w);
}

static inline void begin_as(uint32_t handshakes_max, bool services, const slice *domains, size_t n_domains) {
    mesh_cfg c = world_cfg();
    c.domains = domains, c.n_domains = n_domains;
    if (handshakes_max) c.handshakes_max = handshakes_max;
    begin_cfg(&c, services);
}

static inline void begin_with(uint32_t handshakes_max, bool services) { begin_as(handshakes_max, services, NULL, 0); }
static inline void begin(void) { begin_with(0, true); }

static inline void end(void) {
    world_free(net.w);
    mesh_free(net.m);
    if (net.server) net.tls.tls.server_unref(net.server);
    assert_int_equal(net.tls.conns + net.tls.servers, 0);
    for (int fd = FIRST_FD; fd < net.dialled; fd++) {
        assert_true(net.c[fd].closed);
        buf_fini(&net.c[fd].in);
        buf_fini(&net.c[fd].out);
    }
}

static inline void count_node(void *arg, uint32_t index, const mesh_node *n) {
    (void)index, (void)n;
    ++*(unsigned *)arg;
}
static inline void count_nodes(rt_ctx *cx, void *arg) { mesh_peers_each(net.m->nodes, rt_epoch_reader(cx), count_node, arg); }
static inline unsigned nodes(void) {
    unsigned n = 0;
    rt_node_boot(net.w->n, 0, count_nodes, &n);
    return n;
}

/* --- the other node ---------------------------------------------------------------------------------------------------------------- */
typedef struct peer {
    conn *c;
    dist_self self;
    dist_handshake h;
    buf in, out;   /* from the node, not used yet; to it, not sent yet */
    tls_conn *tls; /* NULL: without */
    buf wire;      /* out, sealed */
    bool shaken, goodbye;
    err tls_end;
    dist_in_cfg limits;
    dist_in frames;
    dist_out enc;
    dist_end end;
    bool up, early; /* early: sends `first` right after its answer to the challenge */
    dist_ctl first;
    size_t sent, cut, piece; /* what it sends is split at byte cut, and in pieces */
    unsigned ticks, messages;
    etf_ref ref; /* that came last, and who said it: */
    etf_pid from;
    buf heard;                                    /* a line a message */
    void (*on_payload)(void *arg, slice payload); /* NULL: not wanted; arg: */
    void *arg;
} peer;

static inline etf_pid peer_pid(const peer *p) { return (etf_pid){.node = p->self.name, .id = 91, .creation = p->self.creation}; }
static inline etf_ref peer_ref(const peer *p) {
    return (etf_ref){.node = p->self.name, .creation = p->self.creation, .n = 2, .word = {6, 7}};
}
static inline dist_addr to_pid(etf_pid x) { return (dist_addr){.kind = DIST_ADDR_PID, .pid = x}; }
static inline dist_addr to_name(const char *name) { return (dist_addr){.kind = DIST_ADDR_NAME, .name = slice_str(name)}; }

static inline void put(peer *p, const dist_ctl *c) {
    slice rest;
    dist_split split;
    assert_int_equal(dist_out_signal(&p->enc, c, 1, &p->out, &rest, &split), ERR_OK);
    buf_add(&p->out, rest);
    while (split.left) {
        assert_int_equal(dist_out_fragment(&split, &p->out, &rest), ERR_OK);
        buf_add(&p->out, rest);
    }
}

static inline void coders(peer *p) {
    dist_in_init(&p->frames, &p->limits, p->h.flags);
    dist_out_init(&p->enc, p->h.flags, NULL, 0);
}

static inline void hear_addr(peer *p, const char *word, const dist_addr *a) {
    static const char *const kinds[] = {"nobody", "pid", "", "alias"};
    buf_addf(&p->heard, " %s %s", word, kinds[a->kind]);
    if (a->kind == DIST_ADDR_NAME) buf_add(&p->heard, a->name);
}

static inline void hear(peer *p, const dist_message *m) {
    dist_ctl c;
    arena a;
    const char *why = NULL;
    const etf_term *t;
    arena_init(&a, 1 << 20);
    assert_int_equal(dist_ctl_read(m, &a, &c, &why), ERR_OK);
    assert_null(dist_ctl_forged(&c, p->self.name, SLICE(OWN)));
    if (c.to.kind == DIST_ADDR_NAME && slice_is(c.to.name, "global_name_server")) { /* said to every node that comes: global_test.c */
        arena_fini(&a);
        return;
    }
    p->messages++;
    buf_add_str(&p->heard, dist_signal_name(c.signal));
    hear_addr(p, "from", &c.from);
    hear_addr(p, "to", &c.to);
    if (c.ref.n) p->ref = c.ref;
    p->ref.node = SLICE(OWN);
    if (c.from.kind == DIST_ADDR_PID) p->from = c.from.pid;
    p->from.node = SLICE(OWN);
    if (c.id) buf_addf(&p->heard, " number %llu", (unsigned long long)c.id);
    if (c.signal == DIST_SIG_SPAWN_REPLY) buf_addf(&p->heard, " flags %u", c.flags);
    slice body = c.payload.p ? c.payload : c.reason;
    if (body.p && body.len < 300) {
        etf_reader r = dist_message_reader(m, body, &a);
        assert_int_equal(etf_term_read(&r, &a, &t), ERR_OK);
        buf_add_str(&p->heard, ": ");
        etf_format(t, &p->heard);
    }
    buf_add_byte(&p->heard, '\n');
    if (p->on_payload && c.payload.p) p->on_payload(p->arg, c.payload);
    arena_fini(&a);
}

static inline void shake(peer *p) {
    for (dist_handshake_event ev = {.kind = DIST_HANDSHAKE_ALIVE}; ev.kind != DIST_HANDSHAKE_NONE && !p->up && !p->end;) {
        size_t used;
        dist_handshake_next(&p->h, buf_slice(&p->in), &p->out, &used, &ev);
        buf_consume(&p->in, used);
        switch (ev.kind) {
        case DIST_HANDSHAKE_NONE: break;
        case DIST_HANDSHAKE_ALIVE: dist_handshake_consent(&p->h, true, &p->out); break;
        case DIST_HANDSHAKE_CHALLENGED:
            dist_handshake_reply(&p->h, false, &p->out);
            if (!p->early) break;
            p->h.flags = dist_flags_common(p->self.flags, p->h.peer_flags);
            coders(p);
            put(p, &p->first);
            break;
        case DIST_HANDSHAKE_UP:
            p->up = true;
            if (!p->early) coders(p);
            break;
        case DIST_HANDSHAKE_END: p->end = ev.end; break;
        case DIST_HANDSHAKE_PEER:
        case DIST_HANDSHAKE_TAKEOVER: fail_msg("an acceptor's");
        }
    }
}

static inline void listen_to(peer *p) {
    dist_refs refs;
    dist_in_event ev = {.kind = DIST_IN_TICK};
    slice in = buf_slice(&p->in);
    while (ev.kind != DIST_IN_NONE) {
        size_t used;
        dist_in_next(&p->frames, in, &refs, &used, &ev);
        in = slice_from(in, used);
        assert_int_not_equal(ev.kind, DIST_IN_BAD);
        p->ticks += ev.kind == DIST_IN_TICK;
        if (ev.kind == DIST_IN_MESSAGE) hear(p, &ev.message);
    }
    buf_reset(&p->in);
}

/* What came from the node, in clear. */
static inline void open_wire(peer *p) {
    tls *t = &net.tls.tls;
    slice came = buf_slice(&p->c->out);
    err e = ERR_OK;
    if (p->tls_end || p->goodbye) return;
    if (p->shaken) {
        e = t->conn_read(p->tls, came, &p->in, &p->wire);
    } else {
        e = t->conn_handshake(p->tls, came, &p->wire, &p->shaken);
        if (p->shaken) e = t->conn_read(p->tls, SLICE_NULL, &p->in, &p->wire);
    }
    p->goodbye = e == ERR_EOF;
    if (e != ERR_EOF) p->tls_end = e;
}

/* What goes to the node next. */
static inline buf *to_node(peer *p) {
    if (!p->tls) return &p->out;
    if (p->shaken && p->out.len) {
        assert_int_equal(net.tls.tls.conn_write(p->tls, buf_slice(&p->out), &p->wire), ERR_OK);
        buf_reset(&p->out);
    }
    return &p->wire;
}

static inline void take(peer *p) {
    if (p->tls)
        open_wire(p);
    else
        buf_add(&p->in, buf_slice(&p->c->out));
    buf_reset(&p->c->out);
    if (!p->up) shake(p);
    if (p->up) listen_to(p);
}

/* Says what it has to say, piece by piece, and hears what there is, until both are silent. */
static inline void talk(peer *p) {
    run();
    for (take(p); to_node(p)->len && !p->c->closed; take(p)) {
        buf *out = to_node(p);
        size_t n = out->len < p->piece ? out->len : p->piece;
        if (p->sent < p->cut && p->sent + n > p->cut) n = p->cut - p->sent;
        buf_add(&p->c->in, slice_of(out->p, n));
        buf_consume(out, n);
        p->sent += n;
        run();
    }
    run();
}

static inline void say(peer *p, dist_ctl c) {
    put(p, &c);
    talk(p);
}

static inline void peer_init(peer *p, const char *name, const char *cookie) {
    *p = (peer){.piece = SIZE_MAX};
    assert_true(net.dialled < WORLD_FDS);
    p->c = &net.c[net.dialled];
    p->c->room = SIZE_MAX;
    buf_init(&p->c->in, SIZE_MAX);
    buf_init(&p->c->out, SIZE_MAX);
    buf_init(&p->in, SIZE_MAX);
    buf_init(&p->out, SIZE_MAX);
    buf_init(&p->heard, SIZE_MAX);
    buf_init(&p->wire, SIZE_MAX);
    if (net.server) p->tls = net.tls.tls.conn_dial(net.server, HOST);
    p->limits = (dist_in_cfg){DIST_FRAME_MAX,
                              DIST_CACHE_MAX,
                              {.messages_max = DIST_FRAGMENTS_OPEN_MAX,
                               .message_max = DIST_FRAGMENTS_EACH_MAX,
                               .bytes_max = DIST_FRAGMENTS_BYTES_MAX,
                               .key = *rt_node_hash_key(net.w->n)}};
    p->self = (dist_self){.name = slice_str(name), .flags = dist_flags_offered(), .creation = 5};
    const char *dials = strcmp(name, OWN) == 0 ? "x@h" : OWN; /* nobody dials itself: it only says that it has our name */
    assert_int_equal(dist_handshake_dial(&p->h, p->tls ? DIST_CARRIER_TLS : DIST_CARRIER_TCP, &p->self, slice_str(dials), slice_str(cookie),
                                         77, &p->out),
                     ERR_OK);
    net.dialled++;
}

static inline void peer_fini(peer *p) {
    if (p->up) {
        dist_in_fini(&p->frames);
        dist_out_fini(&p->enc);
    }
    buf_fini(&p->in);
    buf_fini(&p->out);
    buf_fini(&p->heard);
    buf_fini(&p->wire);
    net.tls.tls.conn_free(p->tls);
}

static inline void connect_as(peer *p, const char *name) {
    peer_init(p, name, COOKIE);
    talk(p);
    assert_true(p->up);
    assert_false(p->c->closed);
}

static inline void heard(peer *p, const char *want) {
    slice got = buf_slice(&p->heard);
    if (!slice_is(got, want)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(got), want);
    buf_reset(&p->heard);
}

/* A term from text; the caller frees it. */
static inline buf term(const char *text) {
    buf b;
    size_t at;
    buf_init(&b, 4096);
    assert_int_equal(etf_parse(slice_str(text), &b, &at), ERR_OK);
    return b;
}

static inline dist_ctl monitor_of(const peer *p, const char *name) {
    return (dist_ctl){.signal = DIST_SIG_MONITOR, .from = to_pid(peer_pid(p)), .to = to_name(name), .ref = peer_ref(p)};
}
#endif
