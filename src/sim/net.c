/* net: connections as two queues of segments, each with a time of arrival.
 *
 * Invariants: (1) bytes of one direction arrive once, in order, whatever the delays: an arrival never lies before that of the segment
 * ahead of it. (2) outstanding of an end never exceeds its window; a writer who fills it sees AGAIN until the reader has read. (3) After
 * BROKEN an end reads what had arrived and then its error. (4) FIN and resets travel with the same delay, behind the data (a reset
 * overtakes nothing either: what has not arrived when it arrives is gone). (5) A connection is freed when refs, one an owner and one an
 * event, reach zero. */
#include "sim/net.h"

#include "base/mem.h"

#define WINDOW_MIN      (2u << 10)
#define WINDOW_MAX      (256u << 10)
#define CONNECT_TIMEOUT (60 * USEC_PER_SEC)
#define PORT_FIRST      20000u

typedef enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RESET } segment_kind;
struct sim_segment {
    sim_segment *next;
    usec at;
    segment_kind kind;
    uint32_t off, len; /* bytes [off, len) are unread */
    uint8_t data[];
};

void sim_net_init(sim_net *n, sim_world *w) {
    *n = (sim_net){.w = w, .next_port = PORT_FIRST, .delay = 300, .delay_rare = 50 * USEC_PER_MSEC, .partial = true};
    n->window_min = WINDOW_MIN;
    n->window_max = WINDOW_MAX;
}

static sim_place place_of(const sys_addr *a) {
    sim_place p = {.family = (uint8_t)a->family, .port = a->port};
    memcpy(p.ip, a->ip, sizeof p.ip);
    return p;
}
static sys_addr addr_of(const sim_place *p) {
    sys_addr a = {.family = p->family, .port = p->port};
    memcpy(a.ip, p->ip, sizeof a.ip);
    return a;
}
static bool same_ip(const sys_addr *a, const sys_addr *b) { return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0; }
static bool same_addr(const sys_addr *a, const sys_addr *b) { return a->port == b->port && same_ip(a, b); }
/* An end that somebody only looks at belongs to a connection that is ours to change. */
static sim_conn *conn_of(const sim_sock *s) { return (sim_conn *)((uintptr_t)(s - s->which) - offsetof(sim_conn, end)); }
static sim_sock *peer_of(const sim_sock *s) { return &conn_of(s)->end[!s->which]; }
static uint32_t outstanding(const sim_sock *s) { return s->in ? s->in->outstanding : 0; }
static uint32_t arrived(const sim_sock *s) { return s->in ? s->in->arrived : 0; }
static void wake(const sim_sock *s) {
    if (s->wake) s->wake(s->arg, s->fd);
}

static void segment_free(sim_net *n, sim_segment *g) {
    n->memory -= sizeof *g + g->len;
    mem_free(g);
}

static void drop_segments(sim_net *n, sim_segment *from) {
    while (from) {
        sim_segment *next = from->next;
        segment_free(n, from);
        from = next;
    }
}

static void flow_free(sim_net *n, sim_sock *s) {
    if (!s->in) return;
    drop_segments(n, s->in->head);
    n->memory -= sizeof *s->in;
    mem_free(s->in);
    s->in = NULL;
}

static sim_flow *flow(sim_sock *s) {
    if (s->in) return s->in;
    conn_of(s)->net->memory += sizeof *s->in;
    return s->in = mem_zalloc(sizeof *s->in);
}

static void unref(sim_conn *c) {
    if (--c->refs) return;
    for (int i = 0; i < 2; i++) flow_free(c->net, &c->end[i]);
    if (c->next) c->next->prev = c->prev;
    *c->prev = c->next;
    c->net->memory -= sizeof *c;
    mem_free(c);
}

static void conn_event(sim_conn *c, usec at, sim_fn *fn, sim_sock *s) {
    c->refs++;
    sim_world_at(c->net->w, at, fn, s, 0);
}

void sim_net_fini(sim_net *n) {
    while (n->conns) { /* events that would have released them will not run any more */
        n->conns->refs = 1;
        unref(n->conns);
    }
    if (n->listeners) panic("a simulated listener is still open");
    mem_free(n->blocks);
}

/* Until when nothing comes from one machine to the other; 0: it does. */
static usec blocked(const sim_net *n, const sys_addr *from, const sys_addr *to) {
    usec until = 0;
    for (size_t i = 0; i < n->n_blocks; i++)
        if (same_ip(&n->blocks[i].from, from) && same_ip(&n->blocks[i].to, to)) until = usec_max(until, n->blocks[i].until);
    return until > n->w->now ? until : 0;
}

/* --- arrival -------------------------------------------------------------------------------------------------------------------- */

static void broke(sim_sock *s, err why) {
    if (s->state == SIM_SOCK_RELEASED || s->state == SIM_SOCK_BROKEN) return;
    s->state = SIM_SOCK_BROKEN;
    s->error = (uint16_t)why;
    wake(s);
}

static void send_segment(sim_sock *to, segment_kind kind, const sys_iov *iov, size_t len);
static void trim(sim_sock *s);

static void arrive_one(sim_sock *s, sim_segment *g) {
    sim_world_note(conn_of(s)->net->w, conn_of(s)->id << 32 | (uint64_t)g->kind << 24 | (g->len & 0xffffff));
    switch (g->kind) {
    case SEGMENT_DATA:
        s->in->arrived += g->len;
        if (s->state == SIM_SOCK_RELEASED && peer_of(s)->state == SIM_SOCK_OPEN) send_segment(peer_of(s), SEGMENT_RESET, NULL, 0);
        return;
    case SEGMENT_FIN: s->fin_in = true; return;
    case SEGMENT_RESET: broke(s, ERR_RESET); return;
    }
}

static void arrive(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    sim_sock *s = arg;
    sim_conn *c = conn_of(s);
    if (w->now < s->cut_until) {
        if (s->cut_until != USEC_NEVER && s->in && s->in->next_in) conn_event(c, s->cut_until, arrive, s);
        unref(c);
        return;
    }
    bool any = false;
    while (s->in && s->in->next_in && s->in->next_in->at <= w->now) {
        sim_segment *g = s->in->next_in;
        s->in->next_in = g->next;
        arrive_one(s, g);
        any = true;
    }
    trim(s);
    if (any) wake(s);
    unref(c);
}

static void send_segment(sim_sock *to, segment_kind kind, const sys_iov *iov, size_t len) {
    sim_net *n = conn_of(to)->net;
    sim_flow *f = flow(to);
    sim_segment *g = mem_zalloc(sizeof *g + len);
    usec at = n->w->now + sim_world_latency(n->w, n->delay, n->delay_rare);
    if (at < f->last_at) at = f->last_at;
    g->at = f->last_at = at;
    g->kind = kind;
    g->len = (uint32_t)len;
    for (size_t done = 0; done < len; iov++) {
        size_t part = iov->len < len - done ? iov->len : len - done;
        if (part) memcpy(g->data + done, iov->p, part);
        done += part;
    }
    if (f->tail)
        f->tail->next = g;
    else
        f->head = g;
    f->tail = g;
    if (!f->next_in) f->next_in = g;
    f->outstanding += g->len;
    n->bytes += len;
    n->memory += sizeof *g + len;
    conn_event(conn_of(to), at, arrive, to);
}

/* --- listening and connecting --------------------------------------------------------------------------------------------------- */

err sim_net_listen(sim_net *n, sys_addr *io, int backlog, bool reuse_port, sim_wake wake, sim_listener **out) {
    if (io->port == 0) io->port = n->next_port++;
    sim_listener **at = &n->listeners;
    for (; *at; at = &(*at)->next)
        if (same_addr(&(*at)->addr, io) && !((*at)->reuse_port && reuse_port)) return ERR_ADDR_IN_USE;
    sim_listener *l = mem_zalloc(sizeof *l);
    *l = (sim_listener){.net = n, .addr = *io, .wake = wake, .backlog = backlog, .reuse_port = reuse_port};
    *at = l;
    *out = l;
    return ERR_OK;
}

void sim_net_unlisten(sim_listener *l, bool silent) {
    while (l->head) {
        sim_conn *c = l->head;
        l->head = c->backlog;
        sim_sock *s = &c->end[1];
        sim_net_release(&s, silent ? SIM_SILENT : SIM_RESET, USEC_NEVER);
    }
    sim_listener **at = &l->net->listeners;
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    mem_free(l);
}

bool sim_net_acceptable(const sim_listener *l) { return l->head != NULL; }

static void set_wake(sim_sock *s, sim_wake wake) {
    s->wake = wake.fn;
    s->arg = wake.arg;
    s->fd = wake.fd;
}

err sim_net_accept(sim_listener *l, sim_wake wake, sim_sock **out) {
    sim_conn *c = l->head;
    if (!c) return ERR_AGAIN;
    l->head = c->backlog;
    if (!l->head) l->tail = NULL;
    l->waiting--;
    set_wake(&c->end[1], wake);
    *out = &c->end[1];
    return ERR_OK;
}

/* One of the listeners at the address, drawn from the seed as the kernel draws among SO_REUSEPORT ones. */
static sim_listener *listener_at(sim_net *n, const sys_addr *to) {
    uint64_t count = 0;
    for (sim_listener *l = n->listeners; l; l = l->next) count += same_addr(&l->addr, to);
    if (!count) return NULL;
    uint64_t pick = sim_world_below(n->w, count);
    sim_listener *l = n->listeners;
    for (;; l = l->next)
        if (same_addr(&l->addr, to) && pick-- == 0) return l;
}

static void on_established(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    sim_sock *s = arg;
    if (w->now < s->cut_until) { /* the answer is said again until it comes through */
        if (s->cut_until != USEC_NEVER && s->state == SIM_SOCK_CONNECTING) conn_event(conn_of(s), s->cut_until, on_established, s);
        unref(conn_of(s));
        return;
    }
    if (s->state == SIM_SOCK_CONNECTING) {
        s->state = SIM_SOCK_OPEN;
        wake(s);
    }
    unref(conn_of(s));
}

static void on_refused(sim_world *w, void *arg, uint64_t tag) {
    (void)w, (void)tag;
    sim_sock *s = arg;
    broke(s, ERR_REFUSED);
    unref(conn_of(s));
}

static void on_timeout(sim_world *w, void *arg, uint64_t tag) {
    (void)w, (void)tag;
    sim_sock *s = arg;
    if (s->state == SIM_SOCK_CONNECTING) broke(s, ERR_TIMEOUT);
    unref(conn_of(s));
}

static void on_syn(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    sim_sock *s = arg;
    sim_conn *c = conn_of(s);
    if (w->now < c->end[1].cut_until) { /* likewise */
        if (c->end[1].cut_until != USEC_NEVER && s->state == SIM_SOCK_CONNECTING) conn_event(c, c->end[1].cut_until, on_syn, s);
        unref(c);
        return;
    }
    sys_addr to = addr_of(&c->addr[1]);
    sim_listener *l = s->state == SIM_SOCK_CONNECTING ? listener_at(c->net, &to) : NULL;
    usec back = w->now + sim_world_latency(w, c->net->delay, c->net->delay_rare);
    if (s->state == SIM_SOCK_CONNECTING && !l) conn_event(c, back, on_refused, s);
    if (l && l->waiting >= l->backlog) conn_event(c, w->now + CONNECT_TIMEOUT, on_timeout, s);
    if (l && l->waiting < l->backlog) {
        c->end[1].state = SIM_SOCK_OPEN;
        c->refs++; /* the server's end has an owner: the backlog, then who accepts */
        if (l->tail)
            l->tail->backlog = c;
        else
            l->head = c;
        l->tail = c;
        l->waiting++;
        conn_event(c, back, on_established, s);
        if (l->wake.fn) l->wake.fn(l->wake.arg, l->wake.fd);
    }
    unref(c);
}

sim_sock *sim_net_connect(sim_net *n, const sys_addr *from, const sys_addr *to, sim_wake wake) {
    sim_conn *c = mem_zalloc(sizeof *c);
    c->net = n;
    c->id = n->next_id++;
    c->addr[0] = place_of(from);
    c->addr[1] = place_of(to);
    c->refs = 1;
    for (int i = 0; i < 2; i++) {
        c->end[i].which = (uint8_t)i;
        c->end[i].window = (uint32_t)sim_world_between(n->w, n->window_min, n->window_max);
        c->end[i].state = i ? SIM_SOCK_RELEASED : SIM_SOCK_CONNECTING;
    }
    c->end[0].cut_until = blocked(n, to, from);
    c->end[1].cut_until = blocked(n, from, to);
    n->memory += sizeof *c;
    set_wake(&c->end[0], wake);
    c->next = n->conns;
    if (c->next) c->next->prev = &c->next;
    c->prev = &n->conns;
    n->conns = c;
    conn_event(c, n->w->now + sim_world_latency(n->w, n->delay, n->delay_rare), on_syn, &c->end[0]);
    return &c->end[0];
}

/* --- reading and writing --------------------------------------------------------------------------------------------------------- */

static uint32_t space(const sim_sock *s) {
    const sim_sock *p = peer_of(s);
    return outstanding(p) < p->window ? p->window - outstanding(p) : 0;
}

uint32_t sim_net_ready(const sim_sock *s) {
    if (s->state == SIM_SOCK_BROKEN) return SYS_IN | SYS_OUT | SYS_HUP;
    uint32_t r = 0;
    if (arrived(s) || s->fin_in) r |= SYS_IN;
    if (s->state == SIM_SOCK_OPEN && !s->fin_out && space(s)) r |= SYS_OUT;
    if (s->fin_in && s->fin_out) r |= SYS_HUP;
    return r;
}

err sim_net_error(const sim_sock *s) { return s->state == SIM_SOCK_BROKEN ? (err)s->error : ERR_OK; }

/* Removes read segments, and markers that have done their work, from the front. */
static void trim(sim_sock *s) {
    sim_flow *f = s->in;
    while (f && f->head && f->head != f->next_in && f->head->off == f->head->len) {
        sim_segment *g = f->head;
        f->head = g->next;
        segment_free(conn_of(s)->net, g);
    }
    if (f && !f->head) flow_free(conn_of(s)->net, s);
}

/* The segment at the front was read; there are more bytes behind it. */
static void drop_read(sim_sock *s) {
    sim_segment *g = s->in->head;
    s->in->head = g->next;
    segment_free(conn_of(s)->net, g);
}

err sim_net_read(sim_sock *s, void *p, size_t len, size_t *out_n) {
    trim(s);
    if (!arrived(s)) {
        if (s->state == SIM_SOCK_BROKEN) return (err)s->error;
        return s->fin_in ? ERR_EOF : ERR_AGAIN;
    }
    sim_world *w = conn_of(s)->net->w;
    if (len > arrived(s)) len = arrived(s);
    if (len > 1 && conn_of(s)->net->partial && sim_world_chance(w, 1, 8)) len = 1 + (size_t)sim_world_below(w, len);
    uint8_t *o = p;
    for (size_t done = 0; done < len;) {
        sim_segment *g = s->in->head;
        size_t part = g->len - g->off;
        if (part > len - done) part = len - done;
        memcpy(o + done, g->data + g->off, part);
        g->off += (uint32_t)part;
        done += part;
        if (g->off == g->len && done < len) drop_read(s);
    }
    bool was_full = !space(peer_of(s));
    s->in->arrived -= (uint32_t)len;
    s->in->outstanding -= (uint32_t)len;
    trim(s);
    if (was_full && peer_of(s)->state == SIM_SOCK_OPEN) wake(peer_of(s));
    *out_n = len;
    return ERR_OK;
}

err sim_net_write(sim_sock *s, const sys_iov *iov, int n, size_t *out_n) {
    if (s->state == SIM_SOCK_BROKEN) return (err)s->error;
    if (s->fin_out) return ERR_RESET;
    size_t total = 0;
    for (int i = 0; i < n; i++) total += iov[i].len;
    if (s->state == SIM_SOCK_CONNECTING || (total && !space(s))) return ERR_AGAIN;
    if (total > space(s)) total = space(s);
    sim_world *w = conn_of(s)->net->w;
    if (total > 1 && conn_of(s)->net->partial && sim_world_chance(w, 1, 8)) total = 1 + (size_t)sim_world_below(w, total);
    if (total) send_segment(peer_of(s), SEGMENT_DATA, iov, total);
    *out_n = total;
    return ERR_OK;
}

void sim_net_shutdown(sim_sock *s) {
    if (s->fin_out || s->state != SIM_SOCK_OPEN) return;
    s->fin_out = true;
    send_segment(peer_of(s), SEGMENT_FIN, NULL, 0);
}

sys_addr sim_net_addr(const sim_sock *s, bool peer) { return addr_of(&conn_of(s)->addr[(s->which == 1) != peer]); }

static void on_answer(sim_world *w, void *arg, uint64_t tag) {
    (void)w, (void)tag;
    sim_sock *s = arg; /* the end that still believes */
    if (outstanding(s) + outstanding(peer_of(s)) || s->fin_out)
        broke(s, ERR_RESET);
    else if (sim_world_chance(w, 1, 2))
        broke(s, ERR_RESET);
    unref(conn_of(s));
}

void sim_net_release(sim_sock **io, sim_release how, usec answer_after) {
    sim_sock *s = *io, *p = peer_of(s);
    *io = NULL;
    s->wake = NULL;
    bool unread = arrived(s) > 0, alive = s->state != SIM_SOCK_BROKEN && p->state != SIM_SOCK_BROKEN && p->state != SIM_SOCK_RELEASED;
    s->state = SIM_SOCK_RELEASED;
    if (alive) {
        switch (how) {
        case SIM_CLOSE:
            if (unread)
                send_segment(p, SEGMENT_RESET, NULL, 0);
            else if (!s->fin_out)
                send_segment(p, SEGMENT_FIN, NULL, 0);
            break;
        case SIM_RESET: send_segment(p, SEGMENT_RESET, NULL, 0); break;
        case SIM_SILENT:
            s->cut_until = USEC_NEVER; /* what arrives finds nobody, and nobody answers */
            if (answer_after != USEC_NEVER) conn_event(conn_of(s), conn_of(s)->net->w->now + answer_after, on_answer, p);
            break;
        }
    }
    s->fin_out = true;
    unref(conn_of(s));
}

static void cut_end(sim_sock *s, usec until) {
    bool waiting = s->cut_until == USEC_NEVER; /* its arrivals were not put off but dropped */
    s->cut_until = until;
    if (waiting && until != USEC_NEVER && s->in && s->in->next_in) conn_event(conn_of(s), until, arrive, s);
}

void sim_net_cut(sim_sock *s, bool in, bool out, usec until) {
    if (in) cut_end(s, until);
    if (out && peer_of(s)->state != SIM_SOCK_RELEASED) cut_end(peer_of(s), until);
}

static bool at_ip(const sim_place *p, const sys_addr *a) { return p->family == a->family && memcmp(p->ip, a->ip, sizeof p->ip) == 0; }

void sim_net_block(sim_net *n, const sys_addr *from, const sys_addr *to, usec until) {
    void *all = n->blocks;
    mem_grow(&all, &n->cap_blocks, n->n_blocks + 1, sizeof *n->blocks);
    n->blocks = all;
    n->blocks[n->n_blocks++] = (sim_block){*from, *to, until};
    for (sim_conn *c = n->conns; c; c = c->next)
        for (int i = 0; i < 2; i++)
            if (at_ip(&c->addr[1 - i], from) && at_ip(&c->addr[i], to)) cut_end(&c->end[i], until);
}
