/* port: descriptors that actors own. A port is an entry in the shard's table; the poller's token is the entry's index and generation.
 *
 *     poller -> token -> port (generation fits?) -> its actor -> ready(fd, events)
 *
 * Invariants: (1) an event of a port that was closed, or whose entry is used anew, is never delivered, even if it was taken from the poller
 * in the same batch; (2) a port always belongs to a living actor: they are closed when it ends; (3) level-triggered: an event that is not
 * acted upon comes again; an unchanged interest costs no system call; (4) a muted actor's port is taken off reading at its first
 * readiness, and put back when the mute ends; (5) an actor whose interest the poller refuses ends. */
#include "base/mem.h"
#include "rt/core.h"

static uint64_t token_of(const rt_shard *sh, const rt_port *p) { return (uint64_t)p->gen << 32 | (uint64_t)(p - sh->ports); }

/* An actor owns few: a walk is enough. */
static rt_port *find(rt_shard *sh, const rt_actor *a, int fd) {
    if (!a) return NULL;
    for (uint32_t i = a->ports; i; i = sh->ports[i - 1].next)
        if (sh->ports[i - 1].fd == fd) return &sh->ports[i - 1];
    return NULL;
}

err rt_port_add(rt_ctx *cx, int fd, uint32_t interest) {
    rt_shard *sh = cx->sh;
    rt_actor *a = cx->self;
    if (!check(a && fd >= 0) || !check(!find(sh, a, fd))) return ERR_BUG;
    uint32_t i = sh->free_port;
    if (!i) {
        void *arr = sh->ports;
        mem_grow(&arr, &sh->ports_cap, sh->n_ports + 1, sizeof *sh->ports);
        sh->ports = arr;
        sh->ports[sh->n_ports] = (rt_port){.fd = -1};
        i = sh->n_ports + 1;
    }
    rt_port *p = &sh->ports[i - 1];
    uint32_t gen = p->gen + 1;
    err e = sh->s->poll_set(sh->s, sh->poll, fd, interest, (uint64_t)gen << 32 | (i - 1));
    if (e) return e;
    if (i == sh->n_ports + 1)
        sh->n_ports++;
    else
        sh->free_port = p->next;
    *p = (rt_port){fd, interest, gen, a->slot, a->ports, false};
    a->ports = i;
    return ERR_OK;
}

/* Forgets the entry; the descriptor is the caller's. */
static void forget(rt_shard *sh, rt_port *p) {
    rt_actor *a = rt_actor_at(sh, p->owner);
    if (!check(a)) return;
    uint32_t i = (uint32_t)(p - sh->ports) + 1, *link = &a->ports;
    while (*link && *link != i) link = &sh->ports[*link - 1].next;
    *link = p->next;
    p->fd = -1;
    p->gen++;
    p->next = sh->free_port;
    sh->free_port = i;
}

/* Linux cannot refuse to change what is there already. A system that does leaves the actor deaf to its socket: then it ends, and with it
 * the connection, instead of waiting for an event that never comes. */
static void apply(rt_shard *sh, const rt_port *p) {
    err e = sh->s->poll_set(sh->s, sh->poll, p->fd, p->masked ? p->interest & ~SYS_IN : p->interest, token_of(sh, p));
    rt_actor *a = e ? rt_actor_at(sh, p->owner) : NULL;
    if (a) rt_actor_end(sh, a, e);
}

void rt_port_interest(rt_ctx *cx, int fd, uint32_t interest) {
    rt_port *p = find(cx->sh, cx->self, fd);
    if (!p || p->interest == interest) {
        (void)check(p); /* asking for what is not there is a mistake, for what is there already is none */
        return;
    }
    p->interest = interest;
    apply(cx->sh, p);
}

int rt_port_detach(rt_ctx *cx, int fd) {
    rt_port *p = find(cx->sh, cx->self, fd);
    if (!check(p)) return -1;
    forget(cx->sh, p);
    cx->sh->s->poll_del(cx->sh->s, cx->sh->poll, fd);
    return fd;
}

void rt_port_close(rt_ctx *cx, int fd) {
    rt_port *p = find(cx->sh, cx->self, fd);
    if (!check(p)) return;
    forget(cx->sh, p);
    cx->sh->s->close(cx->sh->s, fd);
}

void rt_port_end(rt_shard *sh, rt_actor *a) {
    while (a->ports) {
        rt_port *p = &sh->ports[a->ports - 1];
        int fd = p->fd;
        forget(sh, p);
        sh->s->close(sh->s, fd);
    }
}

void rt_port_unmask(rt_shard *sh, rt_actor *a) {
    a->flags &= (uint16_t)~RT_A_MASKED;
    for (uint32_t i = a->ports; i; i = sh->ports[i - 1].next) {
        rt_port *p = &sh->ports[i - 1];
        if (!p->masked) continue;
        p->masked = false;
        apply(sh, p);
    }
}

static void dispatch_one(rt_shard *sh, sys_ready r) {
    uint32_t i = (uint32_t)r.token;
    if (i >= sh->n_ports || sh->ports[i].fd < 0 || sh->ports[i].gen != (uint32_t)(r.token >> 32)) return;
    rt_port *p = &sh->ports[i];
    rt_actor *a = rt_actor_at(sh, p->owner);
    if (!check(a)) return;
    uint32_t events = r.events & (p->interest | SYS_HUP); /* it may have changed within this batch */
    if (rt_stops_mutes(a->stops) && (events & SYS_IN)) {
        p->masked = true;
        a->flags |= RT_A_MASKED;
        apply(sh, p);
        events &= ~SYS_IN;
    }
    if (events) rt_actor_call_ready(sh, a, p->fd, events);
    if (UNLIKELY(sh->dying_to)) rt_actor_reap(sh);
}

void rt_port_dispatch(rt_shard *sh, const sys_ready *r, int n) {
    for (int i = 0; i < n; i++) dispatch_one(sh, r[i]);
}
