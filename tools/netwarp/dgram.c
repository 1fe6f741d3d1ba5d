/* dgram: datagrams. Each is held by itself, so that loss, duplication and reordering are what the words say. A flow is what one client
 * address sends and gets; it has a connected socket towards the server and ends when nothing came for a while. */
#include "base/mem.h"
#include "fate.h"
#include "relay.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ_ROUNDS 64 /* datagrams before others have their turn */

typedef struct peer {
    list node;      /* in relay.conns */
    hmap_node slot; /* in relay.peers */
    relay *r;
    uint64_t number;
    struct sockaddr_storage addr; /* the client's */
    socklen_t addr_len;
    loop_io io; /* towards the server; fd -1: it is over */
    usec heard; /* when the last datagram came, either way */
    loop_timer idle;
    loop_job free;
    list held; /* of gram */
    struct {
        uint64_t grams; /* came so far: the number of the next */
        uint64_t bytes; /* came so far */
        uint64_t fired;
        flips flips;
        hold cut;
    } dir[DIR_COUNT];
} peer;

/* A datagram that waits for its time. */
typedef struct gram {
    list node;
    loop_timer timer;
    peer *p;
    dir dir;
    size_t len;
    uint8_t data[];
} gram;

static void gram_free(gram *g) {
    relay *r = g->p->r;
    loop_timer_clear(&r->loop, &g->timer);
    list_remove(&g->node);
    r->dir[g->dir].count.held -= g->len;
    mem_free(g);
}

static void free_job(loop_job *j) { mem_free(container_of(j, peer, free)); }

static void peer_end(peer *p) {
    relay *r = p->r;
    for (list *n; (n = list_first(&p->held));) gram_free(container_of(n, gram, node));
    loop_timer_clear(&r->loop, &p->idle);
    hmap_remove(&r->peers, &p->slot);
    list_remove(&p->node);
    if (p->io.fd >= 0) {
        loop_unwatch(&r->loop, &p->io);
        close(p->io.fd);
        p->io.fd = -1;
    }
    r->open--;
    trace_event(&r->trace, p->number, DIR_COUNT, 0, "closed", 0);
    loop_later(&r->loop, &p->free);
}

static void on_idle(loop_timer *t) {
    peer *p = container_of(t, peer, idle);
    usec end = p->heard + p->r->idle;
    if (end <= loop_now() && list_empty(&p->held))
        peer_end(p);
    else
        loop_timer_set(&p->r->loop, t, (end > loop_now() ? end : loop_now()) + USEC_PER_MSEC);
}

static void emit(peer *p, dir d, const uint8_t *data, size_t len) {
    relay *r = p->r;
    ssize_t n = d == C2S ? send(p->io.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                         : sendto(r->listener.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&p->addr, p->addr_len);
    if (n < 0) { /* no room, or nobody there: datagrams vanish */
        r->dir[d].count.dropped++;
        return;
    }
    r->dir[d].count.given += len;
    r->dir[d].count.writes++;
}

static void on_gram(loop_timer *t) {
    gram *g = container_of(t, gram, timer);
    emit(g->p, g->dir, g->data, g->len);
    gram_free(g);
}

/* Sends it at a time, which may be now; drops it if the link holds too much already. */
static void send_at(peer *p, dir d, const uint8_t *data, size_t len, usec at, usec now, uint64_t number) {
    relay *r = p->r;
    warp_count *c = &r->dir[d].count;
    if (at <= now) {
        emit(p, d, data, len);
        return;
    }
    if (c->held + len > r->dir[d].set.queue) {
        c->dropped++;
        trace_event(&r->trace, p->number, d, number, "full", 1);
        return;
    }
    gram *g = mem_alloc(sizeof *g + len);
    *g = (gram){.timer = {.fn = on_gram}, .p = p, .dir = d, .len = len};
    memcpy(g->data, data, len);
    list_push_back(&p->held, &g->node);
    c->held += len;
    loop_timer_set(&r->loop, &g->timer, at);
}

static void decided(const peer *p, dir d, uint64_t number, const char *what, uint64_t n) {
    trace_event(&p->r->trace, p->number, d, number, what, n);
}

static void fated(peer *p, dir d, uint8_t *data, size_t len, uint64_t number, uint64_t at) {
    relay *r = p->r;
    link_dir *l = &r->dir[d];
    fate_key k = {r->seed, p->number, d};
    fate f;
    usec now = loop_now();
    fate_draw(&k, number, &l->set, &f);
    relay_flip(r, &p->dir[d].flips, p->number, d, data, len, at);
    if (f.losses > 0) {
        l->count.lost++;
        decided(p, d, number, "loss", 1);
        return;
    }
    if (l->set.jitter > 0) decided(p, d, number, "jitter", (uint64_t)f.jitter);
    usec due = relay_rate(r, d, len, now) + l->set.delay + f.jitter;
    if (f.overtaken) {
        due += l->set.gap;
        l->count.reordered++;
        decided(p, d, number, "reorder", (uint64_t)l->set.gap);
    }
    send_at(p, d, data, len, due, now, number);
    if (!f.twice) return;
    l->count.duplicated++;
    decided(p, d, number, "duplicate", 1);
    send_at(p, d, data, len, relay_rate(r, d, len, now) + l->set.delay + f.copy_jitter, now, number);
}

static void came(peer *p, dir d, uint8_t *data, size_t len) {
    relay *r = p->r;
    link_dir *l = &r->dir[d];
    uint64_t number = p->dir[d].grams++, at = p->dir[d].bytes;
    p->heard = loop_now();
    p->dir[d].bytes += len;
    l->count.taken += len;
    l->count.reads++;
    if (relay_after_next(r, d, 0, p->dir[d].fired) <= at) relay_after_fire(r, p->number, d, at, &p->dir[d].fired);
    if (l->cut.on || p->dir[d].cut.on) {
        l->count.dropped++;
        decided(p, d, number, "cut", 1);
    } else
        fated(p, d, data, len, number, at);
}

static void on_server(loop_io *io, uint32_t events) {
    peer *p = container_of(io, peer, io);
    (void)events; /* errors of the socket (ICMP) are of single datagrams: read and forgotten */
    for (int i = 0; i < READ_ROUNDS; i++) {
        ssize_t n = recv(io->fd, p->r->scratch, WARP_DATAGRAM, MSG_DONTWAIT);
        if (n < 0 && errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH) return;
        if (n >= 0) came(p, S2C, p->r->scratch, (size_t)n);
    }
}

static peer *peer_new(relay *r, const struct sockaddr_storage *a, socklen_t len, uint64_t hash) {
    int fd;
    if (r->open >= r->conns_max || net_connect(&r->to, SOCK_DGRAM, &fd)) return NULL;
    peer *p = mem_zalloc(sizeof *p);
    p->r = r;
    p->number = ++r->accepted;
    p->addr = *a;
    p->addr_len = len;
    p->io = (loop_io){fd, on_server};
    p->idle.fn = on_idle;
    p->free.fn = free_job;
    p->heard = loop_now();
    list_init(&p->held);
    list_push_back(&r->conns, &p->node);
    hmap_insert(&r->peers, &p->slot, hash);
    r->open++;
    trace_event(&r->trace, p->number, DIR_COUNT, 0, "accepted", 0);
    loop_timer_set(&r->loop, &p->idle, loop_now() + r->idle);
    if (loop_watch(&r->loop, &p->io, EPOLLIN) == ERR_OK) return p;
    peer_end(p);
    return NULL;
}

static peer *peer_of(relay *r, const struct sockaddr_storage *a, socklen_t len) {
    uint64_t h = hash_bytes(&r->peers_key, slice_of(a, len));
    for (hmap_node *n = hmap_find(&r->peers, h); n; n = hmap_find_next(n)) {
        peer *p = container_of(n, peer, slot);
        if (p->addr_len == len && memcmp(&p->addr, a, len) == 0) return p;
    }
    return peer_new(r, a, len, h);
}

void dgram_readable(loop_io *io, uint32_t events) {
    relay *r = container_of(io, relay, listener);
    (void)events; /* it is watched for one thing */
    for (int i = 0; i < READ_ROUNDS; i++) {
        struct sockaddr_storage a;
        socklen_t len = sizeof a;
        memset(&a, 0, sizeof a);
        ssize_t n = recvfrom(io->fd, r->scratch, WARP_DATAGRAM, MSG_DONTWAIT, (struct sockaddr *)&a, &len);
        if (n < 0) return;
        peer *p = peer_of(r, &a, len);
        if (p)
            came(p, C2S, r->scratch, (size_t)n);
        else
            r->failed++;
    }
}

static void apply_one(peer *p, const action *a, uint64_t conn, uint64_t number) {
    for (int d = 0; d < DIR_COUNT; d++) {
        if (!(a->dirs & DIR_BIT(d))) continue;
        if (a->verb == VERB_FLIP) p->dir[d].flips.want += a->count;
        if (a->verb == VERB_CUT && conn) p->dir[d].cut = (hold){true, number};
        if (a->verb == VERB_HEAL && (number == 0 || p->dir[d].cut.number == number)) p->dir[d].cut.on = false;
    }
}

err dgram_apply(relay *r, const action *a, uint64_t conn, uint64_t number) {
    bool found = conn == 0;
    for (list *n = list_first(&r->conns); n; n = list_next(&r->conns, n)) {
        peer *p = container_of(n, peer, node);
        if (conn && p->number != conn) continue;
        found = true;
        apply_one(p, a, conn, number);
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

void dgram_release(relay *r, dir d) {
    if (!r->udp) return;
    for (list *n = list_first(&r->conns); n; n = list_next(&r->conns, n)) {
        peer *p = container_of(n, peer, node);
        for (list *h = list_first(&p->held), *next; h; h = next) {
            gram *g = container_of(h, gram, node);
            next = list_next(&p->held, h);
            if (g->dir == d) loop_timer_set(&r->loop, &g->timer, 0);
        }
    }
}

void dgram_free_all(relay *r) {
    if (!r->udp) return;
    for (list *n; (n = list_first(&r->conns));) peer_end(container_of(n, peer, node));
}

void dgram_json(const relay *r, buf *out) {
    const char *comma = "";
    for (list *n = list_first(&r->conns); n; n = list_next(&r->conns, n)) {
        const peer *p = container_of(n, peer, node);
        char text[NET_TEXT];
        net_format(&p->addr, p->addr_len, text);
        buf_addf(out, "%s{\"conn\":%llu,\"client\":\"%s\"", comma, (unsigned long long)p->number, text);
        for (int d = 0; d < DIR_COUNT; d++)
            buf_addf(out, ",\"%s\":{\"datagrams\":%llu,\"taken\":%llu}", warp_dir_name((dir)d), (unsigned long long)p->dir[d].grams,
                     (unsigned long long)p->dir[d].bytes);
        buf_add_str(out, "}");
        comma = ",";
    }
}
