/* listener: accepts, and decides at the door who comes in.
 *
 *      readable --> accept* --> door: limits --> spawn c2s (same shard)
 *                     | out of descriptors
 *                     +--> turn one away (with the spare descriptor), pause: no reading interest, a timer --> try again
 *                     | memory is tight (rt/memory.h): likewise
 *                     | too fast (guard.h)
 *                     +--> pause; they wait in the kernel's backlog, which is bounded (xmpp.backlog)
 *
 * Out of descriptors: level-triggered polling would report the waiting connection again and again, and the listener would burn the CPU.
 * So it stops polling and looks four times a second; each time, one client that waits is told by a close. The spare descriptor is given
 * up for the moment of that accept. fd_reserve descriptors stay free for the store and for tools: the system hands out the lowest free
 * number, so the number of an accepted socket says how many are in use.
 *
 * Too fast: all together, the listener pauses, and nobody is turned away. One address too fast: who it is is known when the connection is
 * accepted only, so that connection is closed.
 *
 * Invariants: (1) at most EDGE_ACCEPT_BATCH accepts a callback. (2) While paused the poller is silent and the timer is armed. (3) After
 * descriptors are released, accepting goes on within EDGE_ACCEPT_PAUSE. (4) No connection is accepted before the guard's time for it. */
#include "edge/listener.h"

#include "base/mem.h"
#include "edge/c2s.h"
#include "rt/memory.h"

edge_port *edge_port_ref(edge_port *p) {
    p->refs++;
    return p;
}

void edge_port_unref(edge_port *p) {
    if (!check(p->refs > 0) || --p->refs > 0) return;
    if (p->fd >= 0) p->sys->close(p->sys, p->fd);
    mem_free(p);
}

typedef struct listener {
    edge_port *port;
    int fd;
    int spare; /* a poller that nobody polls: only its descriptor matters; -1: none */
    bool paused;
    rt_timer timer;
} listener;

static void spare_take(listener *l) {
    sys *y = l->port->sys;
    if (l->spare < 0 && y->poll_new(y, &l->spare)) l->spare = -1;
}

static void spare_give(listener *l) {
    sys *y = l->port->sys;
    if (l->spare >= 0) y->poll_free(y, l->spare);
    l->spare = -1;
}

/* One client that waits is told that there is no room, by a close; false: none waits. */
static bool turn_away(listener *l) {
    sys *y = l->port->sys;
    sys_addr peer;
    int fd;
    spare_give(l);
    bool waited = y->accept(y, l->fd, &fd, &peer) == ERR_OK;
    if (waited) y->close(y, fd);
    spare_take(l);
    return waited;
}

static void set_paused(rt_ctx *cx, listener *l, usec until) {
    l->paused = true;
    rt_port_interest(cx, l->fd, 0);
    rt_timer_set(cx, &l->timer, until);
}

static void out_of_descriptors(rt_ctx *cx, listener *l, err why) {
    if (!l->paused) rt_event(cx, EV_ACCEPT_FAIL, (uint64_t)why, 0, 0);
    set_paused(cx, l, rt_now(cx) + EDGE_ACCEPT_PAUSE);
}

/* Have connections come too fast? Then the next one waits in the kernel. */
static bool too_fast(rt_ctx *cx, listener *l) {
    usec now = rt_now(cx), at = edge_guard_accept_at(l->port->door->guard, now);
    if (at <= now) return false;
    if (!l->paused) rt_event(cx, EV_ACCEPT_LIMITED, (uint64_t)(at - now), 0, 0);
    set_paused(cx, l, now + (at - now > EDGE_ACCEPT_BREAK ? at - now : EDGE_ACCEPT_BREAK));
    return true;
}

/* Nobody comes in while memory runs out; who waits is told, one each time. */
static bool too_full(rt_ctx *cx, listener *l) {
    if (!rt_memory_tight(l->port->door->node)) return false;
    if (turn_away(l)) rt_event_text(cx, EV_MEMORY_SHED, (uint64_t)l->fd, 0, SLICE("a connection was not accepted"));
    set_paused(cx, l, rt_now(cx) + EDGE_ACCEPT_PAUSE);
    return true;
}

static bool address_too_fast(rt_ctx *cx, listener *l, const sys_addr *peer) {
    if (edge_guard_arrived(l->port->door->guard, peer, rt_now(cx))) return false;
    char text[SYS_ADDR_TEXT];
    sys_addr_format(peer, text);
    rt_event_text(cx, EV_ACCEPT_LIMITED, 0, 0, slice_str(text));
    return true;
}

/* Would another descriptor eat into the reserve? */
static bool reserve_hit(const listener *l, int fd) {
    sys *y = l->port->sys;
    const edge_cfg *c = l->port->door->cfg;
    uint32_t limit = y->fd_limit && c->connections_max == 0 ? y->fd_limit(y) : 0;
    return limit > 0 && (uint64_t)fd + c->fd_reserve >= limit;
}

/* Takes fd over. ERR_FD_LIMIT: it was the last for now. */
static err admit(rt_ctx *cx, listener *l, int fd, const sys_addr *peer) {
    edge_door *d = l->port->door;
    edge_c2s_arg arg = {.door = d, .fd = fd, .addr = *peer, .transport = l->port->transport};
    err e = reserve_hit(l, fd) ? ERR_FD_LIMIT : d->draining ? ERR_SHUTDOWN : address_too_fast(cx, l, peer) ? ERR_LIMIT : ERR_OK;
    if (!e) e = edge_door_enter(d, peer, false, &arg.ip);
    if (!e) {
        rt_pid pid;
        e = rt_spawn(cx, &edge_c2s_class, &arg, 0, &pid, NULL);
        if (!e) {
            rt_event(cx, EV_ACCEPT, (uint64_t)fd, 0, 0);
            return ERR_OK;
        }
        edge_door_leave(d, arg.ip);
    }
    l->port->sys->close(l->port->sys, fd);
    return e == ERR_FD_LIMIT ? e : ERR_OK; /* the others concern this client only */
}

static void accept_some(rt_ctx *cx, listener *l) {
    sys *y = l->port->sys;
    for (int i = 0; i < EDGE_ACCEPT_BATCH; i++) {
        if (too_full(cx, l) || too_fast(cx, l)) return;
        sys_addr peer = {0};
        int fd = -1;
        err e = y->accept(y, l->fd, &fd, &peer);
        if (e == ERR_AGAIN) break;
        if (e == ERR_RESET || e == ERR_REFUSED) continue; /* it went away while it waited */
        if (e == ERR_FD_LIMIT) (void)turn_away(l);        /* or it went away */
        if (!e) {
            edge_guard_accepted(l->port->door->guard, rt_now(cx));
            e = admit(cx, l, fd, &peer);
        }
        if (e) {
            out_of_descriptors(cx, l, e);
            return;
        }
    }
    if (!l->paused) return;
    l->paused = false;
    rt_port_interest(cx, l->fd, SYS_IN);
}

/* --- the class ------------------------------------------------------------------------------------------------------------------ */
static err listener_init(rt_ctx *cx, void *st, const void *arg) {
    listener *l = st;
    edge_port *p = ((const edge_listener_arg *)arg)->port;
    int fd = p->fd;
    if (fd < 0) { /* a restart */
        err e = p->sys->listen(p->sys, &p->addr, p->backlog, true, &fd);
        if (e) return e;
    }
    err e = rt_port_add(cx, fd, SYS_IN);
    if (e) {
        if (p->fd < 0) p->sys->close(p->sys, fd);
        return e;
    }
    p->fd = -1;
    l->port = edge_port_ref(p);
    l->fd = fd;
    l->spare = -1;
    spare_take(l);
    char text[SYS_ADDR_TEXT];
    sys_addr_format(&p->addr, text);
    rt_event_text(cx, EV_LISTEN, (uint64_t)fd, p->addr.port, slice_str(text));
    return ERR_OK;
}

static err listener_handle(rt_ctx *cx, void *st, rt_msg **m) {
    listener *l = st;
    if ((*m)->tag != EDGE_DRAIN || l->fd < 0) return ERR_OK;
    rt_timer_cancel(cx, &l->timer);
    rt_port_close(cx, l->fd);
    l->fd = -1;
    return ERR_OK;
}

static err listener_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    listener *l = st;
    (void)events; /* an error shows in accept */
    if (fd == l->fd && !l->paused) accept_some(cx, l);
    return ERR_OK;
}

static err listener_timer(rt_ctx *cx, void *st, rt_timer *t) {
    listener *l = st;
    (void)t; /* there is only one */
    if (l->fd >= 0) accept_some(cx, l);
    return ERR_OK;
}

static void listener_fini(rt_ctx *cx, void *st, err reason) {
    listener *l = st;
    (void)cx;
    (void)reason;
    spare_give(l);
    edge_port_unref(l->port);
}

const rt_class edge_listener_class = {
    .name = "listener",
    .state_size = sizeof(listener),
    .init = listener_init,
    .handle = listener_handle,
    .ready = listener_ready,
    .timer = listener_timer,
    .fini = listener_fini,
};
