/* mapper: see mapper.h. A connection says one thing: it asks and is answered, or it registers and stays.
 *
 *     accepted --request--> ASKED --answer taken--> closed
 *         |                 REGISTERED --(the node ends, or says more)--> closed, the name is free
 *         +--(MESH_MAPPER_TALK is over, the request is none)--> closed
 *
 * Invariants: (1) a connection costs at most a request and a piece of an answer (DIST_EPMD_CHUNK): it is not read while it has not taken
 * what it asked for. (2) Only registered ones live longer than MESH_MAPPER_TALK. (3) There are at most cfg.epmd_conns_max; past it they are
 * closed at once and counted (EV_EPMD_CROWDED). (4) A reading, and a piece written, of one connection a round: none keeps the others
 * waiting. */
#include "mesh/mapper.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "proto/dist/epmd_server.h"
#include "rt/event.h"

#include <stdio.h>

#define BATCH     16
#define PAUSE     (250 * USEC_PER_MSEC) /* of accepting, when there are no descriptors: polling would report the same connection again */
#define LISTENERS 2

typedef struct conn {
    hmap_node by_fd;
    int fd;
    rt_timer timer; /* until it has to have its answer; a registered one has none */
    dist_epmd_conn said;
    buf in, out;
    bool more; /* out is a piece of the answer */
    bool over; /* to be closed when out is written */
} conn;

struct mesh_mapper {
    mesh *m;
    int fd[LISTENERS];
    dist_epmd_table table;
    dist_epmd_conn own; /* this node's name */
    hmap conns;
    uint32_t next_id;
    rt_timer timer; /* until connections are accepted again */
};

/* --- connections ------------------------------------------------------------------------------------------------------------------ */
static conn *find(const mesh_mapper *p, int fd) {
    for (hmap_node *n = hmap_find(&p->conns, hash_u64((uint64_t)fd)); n; n = hmap_find_next(n)) {
        conn *c = container_of(n, conn, by_fd);
        if (c->fd == fd) return c;
    }
    return NULL;
}

static void conn_free(rt_ctx *cx, mesh_mapper *p, conn *c) {
    hmap_remove(&p->conns, &c->by_fd);
    dist_epmd_conn_fini(&c->said);
    rt_timer_cancel(cx, &c->timer);
    buf_fini(&c->in);
    buf_fini(&c->out);
    mem_free(c);
}

static void hang_up(rt_ctx *cx, mesh_mapper *p, conn *c) {
    rt_port_close(cx, c->fd);
    conn_free(cx, p, c);
}

static void say_refused(rt_ctx *cx, const dist_epmd_served *ev) {
    char text[512], what[256];
    (void)utf8_escape(slice_sub(ev->what, 0, 60), what, sizeof what);
    (void)snprintf(text, sizeof text, "%s%s%s", dist_epmd_fail_text(ev->fail), *what ? ": " : "", what);
    rt_event_text(cx, EV_EPMD_REFUSED, 0, 0, slice_str(text));
}

/* What was said is answered, in out. */
static void answer(rt_ctx *cx, conn *c) {
    dist_epmd_served ev;
    size_t used;
    dist_epmd_conn_next(&c->said, buf_slice(&c->in), &c->out, &used, &ev);
    if (ev.kind == DIST_EPMD_SERVED_REFUSED) say_refused(cx, &ev);
    if (ev.kind == DIST_EPMD_SERVED_REGISTERED) rt_event_text(cx, EV_EPMD_NAME, 0, 0, ev.name);
    buf_consume(&c->in, used);
    if (c->in.len == 0) buf_fini(&c->in); /* a registered node costs no buffer */
    c->more = ev.kind == DIST_EPMD_SERVED_MORE;
    c->over = ev.kind == DIST_EPMD_SERVED_DONE || ev.kind == DIST_EPMD_SERVED_REFUSED;
}

/* False: it is gone. */
static bool write_out(rt_ctx *cx, mesh_mapper *p, conn *c) {
    sys *y = rt_ctx_sys(cx);
    err e = ERR_OK;
    while (c->out.len > 0 && !e) {
        size_t n = 0;
        sys_iov v = {c->out.p, c->out.len};
        e = y->writev(y, c->fd, &v, 1, &n);
        buf_consume(&c->out, n);
    }
    if ((e && e != ERR_AGAIN) || (c->out.len == 0 && c->over)) {
        hang_up(cx, p, c);
        return false;
    }
    if (c->out.len == 0 && !c->more) {
        buf_fini(&c->out);
        if (c->said.entry) rt_timer_cancel(cx, &c->timer); /* it is registered, and knows it */
    }
    rt_port_interest(cx, c->fd, c->out.len > 0 || c->more ? SYS_OUT : SYS_IN);
    return true;
}

static void read_in(rt_ctx *cx, mesh_mapper *p, conn *c) {
    sys *y = rt_ctx_sys(cx);
    size_t n = 0;
    err e = y->read(y, c->fd, rt_scratch(cx), DIST_EPMD_REQUEST_MAX + 2, &n);
    if (e == ERR_AGAIN) return;
    if (e) {
        hang_up(cx, p, c);
        return;
    }
    buf_add(&c->in, slice_of(rt_scratch(cx), n));
    answer(cx, c);
    (void)write_out(cx, p, c); /* then nothing is left to do here */
}

static void conn_ready(rt_ctx *cx, mesh_mapper *p, conn *c, uint32_t events) {
    if (c->out.len > 0 || c->more) {
        if (!write_out(cx, p, c) || c->out.len > 0 || !c->more) return;
        answer(cx, c);
        (void)write_out(cx, p, c); /* likewise */
    } else if (events & (SYS_IN | SYS_HUP)) {
        read_in(cx, p, c);
    }
}

/* --- accepting -------------------------------------------------------------------------------------------------------------------- */
static err conn_new(rt_ctx *cx, mesh_mapper *p, int fd) {
    err e = rt_port_add(cx, fd, SYS_IN);
    if (e) return e;
    conn *c = mem_zalloc(sizeof *c);
    c->fd = fd;
    buf_init(&c->in, 2 * (DIST_EPMD_REQUEST_MAX + 2));
    buf_init(&c->out, 2 * DIST_EPMD_CHUNK);
    dist_epmd_conn_init(&c->said, &p->table, true, ++p->next_id);
    hmap_insert(&p->conns, &c->by_fd, hash_u64((uint64_t)fd));
    rt_timer_set(cx, &c->timer, rt_now(cx) + MESH_MAPPER_TALK);
    return ERR_OK;
}

static void listen_for(rt_ctx *cx, const mesh_mapper *p, uint32_t interest) {
    for (size_t i = 0; i < LISTENERS; i++)
        if (p->fd[i] >= 0) rt_port_interest(cx, p->fd[i], interest);
}

static void pause_for(rt_ctx *cx, mesh_mapper *p, err why) {
    rt_event(cx, EV_ACCEPT_FAIL, (uint64_t)why, 0, 0);
    listen_for(cx, p, 0);
    rt_timer_set(cx, &p->timer, rt_now(cx) + PAUSE);
}

static void accept_some(rt_ctx *cx, mesh_mapper *p, int listener) {
    sys *y = rt_ctx_sys(cx);
    for (int i = 0; i < BATCH; i++) {
        int fd = -1;
        sys_addr from;
        err e = y->accept(y, listener, &fd, &from);
        if (e == ERR_AGAIN) return;
        if (e == ERR_RESET || e == ERR_REFUSED) continue; /* it went away while it waited */
        if (!e && p->conns.count >= p->m->cfg.epmd_conns_max) {
            rt_event(cx, EV_EPMD_CROWDED, p->m->cfg.epmd_conns_max, 0, 0);
            y->close(y, fd);
            continue;
        }
        if (!e && (e = conn_new(cx, p, fd))) y->close(y, fd);
        if (e) {
            pause_for(cx, p, e);
            return;
        }
    }
}

void mesh_mapper_ready(rt_ctx *cx, mesh_mapper *p, int fd, uint32_t events) {
    if (fd == p->fd[0] || fd == p->fd[1]) {
        accept_some(cx, p, fd); /* an error shows in accept */
        return;
    }
    conn *c = find(p, fd);
    if (c) conn_ready(cx, p, c, events); /* each port of the actor that is no listener has one */
}

void mesh_mapper_timer(rt_ctx *cx, mesh_mapper *p, rt_timer *t) {
    if (t == &p->timer) {
        listen_for(cx, p, SYS_IN);
        return;
    }
    conn *c = container_of(t, conn, timer);
    rt_event_text(cx, EV_EPMD_REFUSED, 0, 0, SLICE("who connected did not say what it wants, or did not take the answer, in 30 s"));
    hang_up(cx, p, c);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
static err listen_at(rt_ctx *cx, const mesh *m, const sys_addr *a, int *out_fd) {
    sys *y = rt_ctx_sys(cx);
    int fd = -1;
    err e = y->listen(y, a, m->cfg.backlog, false, &fd);
    if (e) return e;
    e = rt_port_add(cx, fd, SYS_IN);
    if (e)
        y->close(y, fd);
    else
        *out_fd = fd;
    return e;
}

/* As any node would, but for the socket. The table is empty. */
static void register_own(mesh_mapper *p, const dist_epmd_node *own) {
    dist_epmd_client c;
    dist_epmd_served ev = {.kind = DIST_EPMD_SERVED_NONE};
    buf request, said;
    size_t used;
    buf_init(&request, 2 * DIST_EPMD_REQUEST_MAX);
    buf_init(&said, DIST_EPMD_ANSWER_MAX);
    dist_epmd_conn_init(&p->own, &p->table, true, 0);
    if (dist_epmd_register(&c, own, &request) == ERR_OK) dist_epmd_conn_next(&p->own, buf_slice(&request), &said, &used, &ev);
    (void)check(ev.kind == DIST_EPMD_SERVED_REGISTERED);
    buf_fini(&request);
    buf_fini(&said);
}

/* Where it listens, for the log; why6: what is wrong with [::1]. */
static void say_serving(rt_ctx *cx, const sys_addr *a4, const sys_addr *a6, err why6) {
    char text[3 * SYS_ADDR_TEXT], t4[SYS_ADDR_TEXT], t6[SYS_ADDR_TEXT];
    sys_addr_format(a4, t4);
    sys_addr_format(a6, t6);
    (void)snprintf(text, sizeof text, why6 ? "%s, but not %s: %s" : "%s, %s", t4, t6, err_text(why6));
    rt_event_text(cx, EV_EPMD_SERVING, a4->port, 0, slice_str(text));
}

err mesh_mapper_open(rt_ctx *cx, mesh *m, const dist_epmd_node *own, mesh_mapper **out) {
    sys_addr a4 = m->cfg.epmd, a6 = {.family = SYS_INET6, .port = a4.port, .ip = {[15] = 1}};
    int fd[LISTENERS] = {-1, -1};
    err e = listen_at(cx, m, &a4, &fd[0]);
    if (e) return e;
    err e6 = listen_at(cx, m, &a6, &fd[1]); /* a machine without IPv6 has no [::1], and nodes there ask 127.0.0.1 */
    mesh_mapper *p = mem_zalloc(sizeof *p);
    uint32_t seed;
    p->m = m;
    memcpy(p->fd, fd, sizeof fd);
    hmap_init(&p->conns);
    rt_entropy(cx, &seed, sizeof seed);
    dist_epmd_table_init(&p->table, a4.port, DIST_EPMD_NAMES_MAX, rt_node_hash_key(m->node), seed);
    register_own(p, own);
    say_serving(cx, &a4, &a6, e6);
    *out = p;
    return ERR_OK;
}

void mesh_mapper_free(rt_ctx *cx, mesh_mapper *p) {
    if (!p) return;
    for (hmap_node *n = hmap_first(&p->conns), *next; n; n = next) {
        next = hmap_next(&p->conns, n);
        conn_free(cx, p, container_of(n, conn, by_fd));
    }
    hmap_fini(&p->conns);
    dist_epmd_conn_fini(&p->own);
    dist_epmd_table_fini(&p->table);
    rt_timer_cancel(cx, &p->timer);
    mem_free(p);
}
