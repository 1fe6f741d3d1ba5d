/* epmd: keeps this node registered with the port mapper of its machine (kernel, erl_epmd.erl; proto/dist/epmd.h). The registration lives as
 * long as the connection; when that is lost it is made again, every RETRY, as OTP does, and the node keeps the creation that it has.
 *
 * With cfg.epmd_serve this node is the port mapper where none is (mapper.h). Who takes the port is decided by the kernel, so of several
 * nodes that see their port mapper go one takes its place and the others register with that one:
 *
 *     begin --the port is free--> SERVING (until this actor ends)
 *       ^  \--it is taken, or not to be served--> connecting --registered--> HELD
 *       +--(no answer in ANSWER, lost, in use ...: after RETRY; lost after RETRY or more: at once)--+ */
#include "proto/dist/epmd.h"

#include "mesh/int.h"
#include "mesh/mapper.h"
#include "rt/event.h"

#include <stdio.h>

#define RETRY  (2 * USEC_PER_SEC)
#define ANSWER (15 * USEC_PER_SEC) /* for a whole registration */

typedef struct mapper {
    mesh *m;
    int fd;             /* -1: not connected */
    bool said;          /* what is wrong was said, and has not changed */
    usec held_at;       /* since when it is registered; 0: it is not */
    mesh_mapper *serve; /* it is the port mapper; NULL: it is not */
    buf in, out;
    dist_epmd_client client;
    rt_timer timer; /* not connected: until it tries again; else until it has to be registered */
} mapper;

/* Where nobody is the port mapper, whoever may be takes its place at once: until then no node is found. A port mapper that ends whoever
 * registers is tried at RETRY like any other. */
static void again(rt_ctx *cx, mapper *p, const char *why) {
    bool at_once = p->m->cfg.epmd_serve && p->held_at != 0 && rt_now(cx) - p->held_at >= RETRY;
    if (p->fd >= 0) rt_port_close(cx, p->fd);
    p->fd = -1;
    p->held_at = 0;
    buf_reset(&p->in);
    buf_reset(&p->out);
    if (!p->said) {
        char text[160];
        (void)snprintf(text, sizeof text, "port %u: %s; tried again %s", p->m->cfg.epmd.port, why, at_once ? "at once" : "every 2 s");
        rt_event_text(cx, EV_EPMD_LOST, 0, 0, slice_str(text));
    }
    p->said = !at_once;
    rt_timer_set(cx, &p->timer, rt_now(cx) + (at_once ? 1 : RETRY));
}

static void dial(rt_ctx *cx, mapper *p, const dist_epmd_node *n) {
    sys *y = rt_ctx_sys(cx);
    err e = dist_epmd_register(&p->client, n, &p->out);
    if (!e) e = y->connect(y, &p->m->cfg.epmd, &p->fd);
    if (!e && (e = rt_port_add(cx, p->fd, SYS_OUT))) {
        y->close(y, p->fd);
        p->fd = -1; /* it is no port */
    }
    if (e)
        again(cx, p, err_text(e));
    else
        rt_timer_set(cx, &p->timer, rt_now(cx) + ANSWER);
}

static void is_registered(rt_ctx *cx, mapper *p) {
    p->said = false;
    p->held_at = rt_now(cx);
    rt_timer_cancel(cx, &p->timer);
    rt_event(cx, EV_EPMD_REGISTERED, p->m->port, 0, 0);
}

static void begin(rt_ctx *cx, mapper *p) {
    dist_name name;
    if (!check(dist_name_parse_own(p->m->cfg.name, &name) == ERR_OK)) return;
    dist_epmd_node n = {.name = name.alive,
                        .port = p->m->port,
                        .high = DIST_EPMD_VERSION_HIGH,
                        .low = DIST_EPMD_VERSION_LOW,
                        .type = p->m->cfg.hidden ? DIST_EPMD_TYPE_HIDDEN : DIST_EPMD_TYPE_VISIBLE,
                        .proto = DIST_EPMD_PROTO_TCP};
    err e = p->m->cfg.epmd_serve ? mesh_mapper_open(cx, p->m, &n, &p->serve) : ERR_ADDR_IN_USE;
    if (e == ERR_ADDR_IN_USE)
        dial(cx, p, &n);
    else if (e)
        again(cx, p, err_text(e));
    else
        is_registered(cx, p);
}

static void on_event(rt_ctx *cx, mapper *p, const dist_epmd_event *ev) {
    if (ev->kind == DIST_EPMD_REGISTERED) {
        is_registered(cx, p);
    } else if (ev->kind == DIST_EPMD_IN_USE) {
        again(cx, p, "another node of this machine has the name");
    } else if (ev->kind == DIST_EPMD_FAIL) {
        again(cx, p, dist_epmd_fail_text(ev->fail));
    }
}

static void receive(rt_ctx *cx, mapper *p) {
    sys *y = rt_ctx_sys(cx);
    uint8_t *room = buf_reserve(&p->in, DIST_EPMD_ANSWER_MAX);
    size_t n = 0, used;
    if (!room) {
        again(cx, p, "it says more than it should");
        return;
    }
    err e = y->read(y, p->fd, room, DIST_EPMD_ANSWER_MAX, &n);
    if (e == ERR_AGAIN) return;
    buf_added(&p->in, n);
    dist_epmd_event ev;
    do {
        dist_epmd_next(&p->client, buf_slice(&p->in), e != ERR_OK, &used, &ev);
        buf_consume(&p->in, used);
        on_event(cx, p, &ev);
    } while (ev.kind != DIST_EPMD_NONE && p->fd >= 0);
    if (e && p->fd >= 0) again(cx, p, e == ERR_EOF ? "it closed the connection" : err_text(e));
}

static err mapper_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    mapper *p = st;
    sys *y = rt_ctx_sys(cx);
    if (p->serve) {
        mesh_mapper_ready(cx, p->serve, fd, events);
    } else if (p->out.len > 0) {
        err e = y->sock_error(y, fd);
        size_t n = 0;
        sys_iov v = {p->out.p, p->out.len};
        if (!e) e = y->writev(y, fd, &v, 1, &n);
        if (e == ERR_AGAIN) return ERR_OK;
        if (e) {
            again(cx, p, err_text(e));
            return ERR_OK;
        }
        buf_consume(&p->out, n);
        if (p->out.len == 0) rt_port_interest(cx, fd, SYS_IN);
    } else if (events & (SYS_IN | SYS_HUP)) {
        receive(cx, p);
    }
    return ERR_OK;
}

static err mapper_timer(rt_ctx *cx, void *st, rt_timer *t) {
    mapper *p = st;
    if (p->serve)
        mesh_mapper_timer(cx, p->serve, t);
    else if (p->fd >= 0)
        again(cx, p, "it does not answer");
    else
        begin(cx, p);
    return ERR_OK;
}

static err mapper_init(rt_ctx *cx, void *st, const void *arg) {
    mapper *p = st;
    *p = (mapper){.m = *(mesh *const *)arg, .fd = -1};
    buf_init(&p->in, 4 * DIST_EPMD_ANSWER_MAX);
    buf_init(&p->out, 2 * DIST_EPMD_REQUEST_MAX);
    begin(cx, p);
    return ERR_OK;
}

static void mapper_fini(rt_ctx *cx, void *st, err reason) {
    mapper *p = st;
    (void)reason;
    mesh_mapper_free(cx, p->serve);
    rt_timer_cancel(cx, &p->timer);
    buf_fini(&p->in);
    buf_fini(&p->out);
}

const rt_class mesh_epmd_class = {
    .name = "epmd",
    .state_size = sizeof(mapper),
    .init = mapper_init,
    .ready = mapper_ready,
    .timer = mapper_timer,
    .fini = mapper_fini,
};
