/* conn: the life of a relayed connection: accepted, connected onward (a little later if the link has a delay, after the heal if it is
 * cut), pumped whenever anything changes, closed when both directions have ended or one was reset. */
#include "conn.h"

#include "base/mem.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PUMP_ROUNDS 8            /* before others have their turn */
#define SETTLE_MAX  USEC_PER_SEC /* that a reset waits for bytes to arrive */

static const char *state(const conn *c) { return c->connected ? "open" : c->connecting ? "connecting" : "waiting"; }

static void free_job(loop_job *j) {
    conn *c = container_of(j, conn, free);
    if (list_linked(&c->pump.node)) list_remove(&c->pump.node);
    mem_free(c);
}

static void wake(conn *c) { loop_later(&c->r->loop, &c->pump); }

static void side_close(conn *c, side *s, bool reset) {
    if (s->io.fd < 0) return;
    loop_unwatch(&c->r->loop, &s->io);
    if (reset)
        net_close_reset(s->io.fd);
    else
        close(s->io.fd);
    s->io.fd = -1;
    s->readable = s->writable = false;
}

void conn_close(conn *c, bool reset_client, bool reset_server) {
    relay *r = c->r;
    if (c->closed) return;
    c->closed = true;
    side_close(c, &c->side[0], reset_client);
    side_close(c, &c->side[1], reset_server);
    for (int d = 0; d < DIR_COUNT; d++) flow_fini(&c->flow[d]);
    loop_timer_clear(&r->loop, &c->timer);
    list_remove(&c->node);
    r->open--;
    trace_event(&r->trace, c->number, DIR_COUNT, 0, "closed", 0);
    loop_later(&r->loop, &c->free);
    relay_accept_again(r);
}

static void on_server(loop_io *io, uint32_t events);

/* Begins the connection to the server, when its SYN would be there. */
static void connect_onward(conn *c) {
    side *s = &c->side[1];
    if (c->connecting || c->connected || c->timer.slot || flow_cut(&c->flow[C2S]) || flow_cut(&c->flow[S2C])) return;
    err e = net_connect(&c->r->to, SOCK_STREAM, &s->io.fd);
    if (!e) e = loop_watch(&c->r->loop, &s->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    if (e) {
        c->r->failed++;
        trace_event(&c->r->trace, c->number, DIR_COUNT, 0, "refused", 0);
        conn_close(c, true, true);
        return;
    }
    c->connecting = true;
}

static void connect_done(conn *c) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->side[1].io.fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
        c->r->failed++;
        trace_event(&c->r->trace, c->number, DIR_COUNT, 0, "refused", (uint64_t)error);
        conn_close(c, true, true);
        return;
    }
    c->connecting = false;
    c->connected = true;
    trace_event(&c->r->trace, c->number, DIR_COUNT, 0, "connected", 0);
    for (int d = 0; d < DIR_COUNT && !c->closed; d++)
        if (c->flow[d].after_next == 0) {
            relay_after_fire(c->r, c->number, (dir)d, 0, &c->flow[d].fired);
            c->flow[d].after_next = relay_after_next(c->r, (dir)d, 0, c->flow[d].fired);
        }
}

/* RST to one side or both. The other side of one hears nothing. */
static void reset_now(conn *c, unsigned dirs) {
    relay *r = c->r;
    r->resets++;
    trace_event(&r->trace, c->number, DIR_COUNT, 0, "reset", dirs);
    if (dirs == DIR_BOTH || (dirs & DIR_BIT(C2S) && !c->connected)) {
        conn_close(c, true, true);
        return;
    }
    size_t gone = dirs & DIR_BIT(C2S) ? 1 : 0; /* the side that the RST goes to */
    side_close(c, &c->side[gone], true);
    flow *from = &c->flow[gone], *to = &c->flow[1 - gone];
    from->end = END_RST;
    from->done = from->muted = true;
    from->sink = true;
    to->sink = true;
    flow_link(from)->count.muted++;
}

/* A RST makes the kernel forget what it has not sent. So one that comes after N bytes waits, and all bytes with it, until the receivers'
 * kernels have those N; but not for long: a receiver that does not read will never have them. */
static void reset(conn *c, unsigned dirs, bool settled) {
    c->resetting = settled ? dirs : 0;
    c->resetting_until = loop_now() + SETTLE_MAX;
    if (!settled) reset_now(c, dirs);
    wake(c);
}

static bool unsent(const side *s) {
    int n = 0;
    return s->io.fd >= 0 && ioctl(s->io.fd, SIOCOUTQ, &n) == 0 && n > 0;
}

/* True while a reset waits. */
static bool resetting(conn *c) {
    unsigned dirs = c->resetting;
    if (!dirs) return false;
    if (loop_now() < c->resetting_until && (unsent(&c->side[0]) || unsent(&c->side[1]))) {
        loop_timer_set(&c->r->loop, &c->timer, loop_now() + USEC_PER_MSEC);
        return true;
    }
    c->resetting = 0;
    reset_now(c, dirs);
    return false;
}

static void pump(conn *c) {
    bool moved = true;
    if (resetting(c) || c->closed) return;
    connect_onward(c);
    for (int i = 0; i < PUMP_ROUNDS && moved && !c->closed && !c->resetting; i++) {
        moved = false;
        for (int d = 0; d < DIR_COUNT && !c->closed; d++) {
            flow *f = &c->flow[d];
            f->after_next = relay_after_next(c->r, (dir)d, f->given, f->fired); /* statements may have come since */
            if (flow_give(f)) moved = true;
            if (!c->closed && flow_read(f)) moved = true;
            if (!c->closed && c->side[d].err && !flow_can_read(f) && !f->muted && f->end != END_RST && f->end != END_TIMEOUT) {
                flow_broken(f);
                moved = true;
            }
        }
    }
    if (c->closed) return;
    bool gone = !c->connected && c->flow[C2S].end == END_RST;
    if (gone || (c->flow[C2S].done && c->flow[S2C].done)) {
        conn_close(c, false, false);
        return;
    }
    if (moved) loop_later(&c->r->loop, &c->pump);
    for (int d = 0; d < DIR_COUNT; d++) flow_arm(&c->flow[d]);
}

static void pump_job(loop_job *j) {
    conn *c = container_of(j, conn, pump);
    if (!c->closed) pump(c);
}

static void on_timer_flow(loop_timer *t) { pump(container_of(t, flow, timer)->c); }

static void on_timer_conn(loop_timer *t) { pump(container_of(t, conn, timer)); }

static void note(side *s, uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) s->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->hup = true;
    if (events & EPOLLERR) s->err = true;
}

static void on_client(loop_io *io, uint32_t events) {
    conn *c = container_of(io, conn, side[0].io);
    note(&c->side[0], events);
    pump(c);
}

static void on_server(loop_io *io, uint32_t events) {
    conn *c = container_of(io, conn, side[1].io);
    if (c->connecting && events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) connect_done(c);
    if (c->closed || !c->connected) return;
    note(&c->side[1], events);
    pump(c);
}

void conn_accepted(relay *r, int fd, uint64_t number) {
    int one = 1;
    conn *c = mem_zalloc(sizeof *c);
    c->r = r;
    c->number = number;
    c->side[0].io = (loop_io){fd, on_client};
    c->side[1].io = (loop_io){-1, on_server};
    c->pump.fn = pump_job;
    c->free.fn = free_job;
    c->timer.fn = on_timer_conn;
    for (int d = 0; d < DIR_COUNT; d++) {
        flow_init(&c->flow[d], c, (dir)d);
        c->flow[d].timer.fn = on_timer_flow;
    }
    list_push_back(&r->conns, &c->node);
    r->open++;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* else only slower */
    trace_event(&r->trace, number, DIR_COUNT, 0, "accepted", 0);
    if (loop_watch(&r->loop, &c->side[0].io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
        conn_close(c, true, true);
        return;
    }
    usec delay = r->dir[C2S].set.delay;
    if (delay > 0) loop_timer_set(&r->loop, &c->timer, loop_now() + delay);
    connect_onward(c);
}

static bool holding(const action *a, flow *f, uint64_t number) {
    hold *h = a->verb == VERB_CUT ? &f->cut : a->verb == VERB_HALF_OPEN ? &f->half_open : NULL;
    if (h) *h = (hold){true, number};
    return h != NULL;
}

static void apply_one(conn *c, const action *a, uint64_t number) {
    if (a->verb == VERB_RESET) {
        reset(c, a->dirs, a->settled);
        return;
    }
    if (a->verb == VERB_HEAL && number == 0 && a->dirs & DIR_BIT(C2S) && !c->connected) loop_timer_clear(&c->r->loop, &c->timer);
    for (int d = 0; d < DIR_COUNT; d++) {
        flow *f = &c->flow[d];
        if (!(a->dirs & DIR_BIT(d))) continue;
        if (a->verb == VERB_FLIP)
            f->flips.want += a->count;
        else if (!holding(a, f, number) && a->verb == VERB_HEAL) {
            if (number == 0 || f->cut.number == number) f->cut.on = false;
            if (number == 0 || f->half_open.number == number) f->half_open.on = false;
            if (number == 0) f->healed = UINT64_MAX; /* what is held goes now: see follow_heal */
        }
    }
    wake(c);
}

err conn_apply(relay *r, const action *a, uint64_t number, uint64_t hold_number) {
    bool found = number == 0;
    for (list *n = list_first(&r->conns), *next; n; n = next) {
        conn *c = container_of(n, conn, node);
        next = list_next(&r->conns, n);
        if (number != 0 && c->number != number) continue;
        found = true;
        apply_one(c, a, hold_number);
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

void conn_wake_all(relay *r) {
    if (r->udp) return;
    for (list *n = list_first(&r->conns); n; n = list_next(&r->conns, n)) wake(container_of(n, conn, node));
}

void conn_free_all(relay *r) {
    if (r->udp) return;
    for (list *n; (n = list_first(&r->conns));) conn_close(container_of(n, conn, node), true, true);
}

void conn_json(const relay *r, buf *out) {
    const char *comma = "";
    for (list *n = list_first(&r->conns); n; n = list_next(&r->conns, n)) {
        const conn *c = container_of(n, conn, node);
        buf_addf(out, "%s{\"conn\":%llu,\"state\":\"%s\"", comma, (unsigned long long)c->number, state(c));
        for (int d = 0; d < DIR_COUNT; d++) {
            const flow *f = &c->flow[d];
            buf_addf(out, ",\"%s\":{\"taken\":%llu,\"given\":%llu,\"held\":%zu,\"cut\":%s,\"half_open\":%s,\"ended\":%s}",
                     warp_dir_name((dir)d), (unsigned long long)f->taken, (unsigned long long)f->given, f->q.len,
                     flow_cut(f) ? "true" : "false", flow_half_open(f) ? "true" : "false", f->end != END_NONE ? "true" : "false");
        }
        buf_add_str(out, "}");
        comma = ",";
    }
}
