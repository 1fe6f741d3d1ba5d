/* acceptor: takes connections of other nodes on one shard, and starts those that dial.c wants (one acceptor a shard: that of the first
 * address). Each becomes a link there; an accepted one unless too many have not come through their handshake
 * yet: then it is closed at once, because whoever can connect could hold any number of them for setup_time each. Out of descriptors the
 * acceptor pauses, as edge's listener does: polling would report the same connection again and again. */
#include "mesh/int.h"
#include "mesh/link.h"
#include "rt/event.h"

#include <stdio.h>

#define BATCH 16
#define PAUSE (250 * USEC_PER_MSEC)

typedef struct acceptor {
    mesh_port *port;
    int fd;
    bool paused;
    rt_timer timer;
} acceptor;

static void pause_for(rt_ctx *cx, acceptor *a, err why) {
    if (!a->paused) {
        rt_event(cx, EV_ACCEPT_FAIL, (uint64_t)why, 0, 0);
        rt_port_interest(cx, a->fd, 0);
    }
    a->paused = true;
    rt_timer_set(cx, &a->timer, rt_now(cx) + PAUSE);
}

static void turn_away(rt_ctx *cx, const mesh_link_arg *c) {
    sys *y = rt_ctx_sys(cx);
    char text[SYS_ADDR_TEXT];
    sys_addr_format(&c->addr, text);
    rt_event_text(cx, EV_MESH_CROWDED, c->m->cfg.handshakes_max, 0, slice_str(text));
    y->close(y, c->fd);
}

/* A connection that was accepted. On failure it is closed. */
static NODISCARD err begin(rt_ctx *cx, const mesh_link_arg *c) {
    sys *y = rt_ctx_sys(cx);
    rt_pid pid;
    rt_event(cx, EV_MESH_ACCEPT, (uint64_t)c->fd, 0, 0);
    if (!mesh_hand_take(c->m)) {
        turn_away(cx, c);
        return ERR_OK;
    }
    err e = rt_spawn(cx, &mesh_link_class, c, 0, &pid, NULL);
    if (!e) return ERR_OK;
    mesh_hand_give(c->m);
    y->close(y, c->fd);
    return e;
}

static err accept_some(rt_ctx *cx, acceptor *a) {
    sys *y = rt_ctx_sys(cx);
    for (int i = 0; i < BATCH; i++) {
        mesh_link_arg arg = {.m = a->port->m, .fd = -1, .secure = a->port->secure};
        err e = y->accept(y, a->fd, &arg.fd, &arg.addr);
        if (e == ERR_AGAIN) break;
        if (e == ERR_RESET || e == ERR_REFUSED) continue; /* it went away while it waited */
        if (!e) e = begin(cx, &arg);
        if (e) {
            pause_for(cx, a, e);
            return ERR_OK;
        }
    }
    if (a->paused) rt_port_interest(cx, a->fd, SYS_IN);
    a->paused = false;
    return ERR_OK;
}

/* --- dialling ---------------------------------------------------------------------------------------------------------------------- */
void mesh_acceptor_name(unsigned shard, char out[MESH_ACCEPTOR_NAME_MAX]) {
    (void)snprintf(out, MESH_ACCEPTOR_NAME_MAX, "mesh_acceptor.%u", shard);
}

static err acceptor_handle(rt_ctx *cx, void *st, rt_msg **m) {
    const acceptor *a = st;
    mesh_seed seed;
    char why[MESH_WHY_MAX];
    rt_pid pid;
    if ((*m)->tag != MESH_DIAL) return ERR_OK;
    const mesh_dial_msg *d = mesh_dial_msg_of(*m);
    if (!check(mesh_seed_of(a->port->m, rt_blob_slice(d->seed), &seed, why) == ERR_OK)) return ERR_OK;
    mesh_link_arg arg = {.m = a->port->m, .fd = -1, .dial = &seed, .teller = (*m)->sender, .ticket = d->ticket};
    err e = rt_spawn(cx, &mesh_link_class, &arg, 0, &pid, NULL);
    if (!e) return ERR_OK;
    rt_msg *no = rt_msg_new(cx, MESH_DIALLED, sizeof(mesh_dialled_msg));
    *mesh_dialled_msg_of(no) = (mesh_dialled_msg){.ticket = d->ticket,
                                                  .name = rt_blob_new(mesh_seed_name(&seed)),
                                                  .what = MESH_DIALLED_FAILED,
                                                  .why = rt_blob_new(slice_str(err_text(e)))};
    rt_send(cx, arg.teller, &no);
    return ERR_OK;
}

static err name_it(rt_ctx *cx, const acceptor *a) {
    char name[MESH_ACCEPTOR_NAME_MAX];
    unsigned shard = rt_ctx_shard(cx);
    if (a->port != a->port->m->ports[0][shard]) return ERR_OK;
    mesh_acceptor_name(shard, name);
    return rt_name_register(cx, name);
}

/* --- life -------------------------------------------------------------------------------------------------------------------------- */
static err acceptor_init(rt_ctx *cx, void *st, const void *arg) {
    acceptor *a = st;
    sys *y = rt_ctx_sys(cx);
    a->port = *(mesh_port *const *)arg;
    a->fd = a->port->fd;
    a->port->fd = -1;
    err e = a->fd >= 0 ? ERR_OK : y->listen(y, &a->port->addr, a->port->m->cfg.backlog, true, &a->fd); /* a restart */
    if (e) return e;
    e = name_it(cx, a);
    if (!e) e = rt_port_add(cx, a->fd, SYS_IN);
    if (e) {
        y->close(y, a->fd);
        return e;
    }
    char text[SYS_ADDR_TEXT];
    sys_addr_format(&a->port->addr, text);
    rt_event_text(cx, EV_LISTEN, (uint64_t)a->fd, a->port->addr.port, slice_str(text));
    return ERR_OK;
}

static err acceptor_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    (void)fd;
    (void)events; /* an error shows in accept */
    return accept_some(cx, st);
}

static err acceptor_timer(rt_ctx *cx, void *st, rt_timer *t) {
    (void)t; /* there is one */
    return accept_some(cx, st);
}

static void acceptor_fini(rt_ctx *cx, void *st, err reason) {
    (void)reason;
    rt_timer_cancel(cx, &((acceptor *)st)->timer);
}

const rt_class mesh_acceptor_class = {
    .name = "mesh_acceptor",
    .state_size = sizeof(acceptor),
    .init = acceptor_init,
    .handle = acceptor_handle,
    .ready = acceptor_ready,
    .timer = acceptor_timer,
    .fini = acceptor_fini,
};
