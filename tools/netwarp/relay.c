/* relay: the listener, the link's own state, and the actions on it. */
#include "relay.h"

#include "base/mem.h"
#include "fate.h"
#include "lang.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG     4096
#define ACCEPT_MAX  64                    /* acceptances before others have their turn */
#define ACCEPT_WAIT (100 * USEC_PER_MSEC) /* until the next try, out of descriptors */

void relay_init(relay *r) {
    *r = (relay){.listener = {.fd = -1}, .pipe = {-1, -1}, .conns_max = 10000, .idle = 60 * USEC_PER_SEC, .seed = 1};
    net_place_init(&r->listen_at);
    net_place_init(&r->to);
    list_init(&r->conns);
    list_init(&r->plan);
    hmap_init(&r->peers);
    for (int d = 0; d < DIR_COUNT; d++) warp_set_defaults(&r->dir[d].set);
}

static void listen_pause(relay *r) {
    if (r->listening) loop_unwatch(&r->loop, &r->listener);
    r->listening = false;
}

static void listen_again(relay *r) {
    if (r->listening || r->refuse.on || r->listener.fd < 0) return;
    r->listening = loop_watch(&r->loop, &r->listener, EPOLLIN) == ERR_OK;
    if (!r->listening) loop_timer_set(&r->loop, &r->accept_timer, loop_now() + ACCEPT_WAIT);
}

void relay_accept_again(relay *r) {
    if (r->open < r->conns_max && !r->accept_timer.slot && !r->udp) listen_again(r);
}

/* Accepts one connection. False if there is none, or none can be taken now. */
static bool accept_one(relay *r) {
    if (r->open >= r->conns_max) {
        listen_pause(r); /* until one ends: relay_accept_again */
        return false;
    }
    int fd = accept4(r->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        conn_accepted(r, fd, ++r->accepted);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        listen_pause(r);
        loop_timer_set(&r->loop, &r->accept_timer, loop_now() + ACCEPT_WAIT);
    }
    return errno == ECONNABORTED || errno == EINTR;
}

static void on_listener(loop_io *io, uint32_t events) {
    relay *r = container_of(io, relay, listener);
    (void)events; /* it is watched for one thing */
    if (r->slow > 0) {
        listen_pause(r);
        loop_timer_set(&r->loop, &r->accept_timer, loop_now() + r->slow);
        return;
    }
    for (int i = 0; i < ACCEPT_MAX && accept_one(r); i++) {
    }
}

static void on_accept_timer(loop_timer *t) {
    relay *r = container_of(t, relay, accept_timer);
    if (r->refuse.on) return;
    (void)accept_one(r); /* after a slow pause one; else it may fail again, and waits again */
    relay_accept_again(r);
}

static err failed(const char *what, char why[NET_TEXT]) {
    (void)snprintf(why, NET_TEXT, "%s: %s", what, strerror(errno));
    return ERR_IO;
}

err relay_start(relay *r, char why[NET_TEXT]) {
    err e = net_bind(&r->listen_at, r->udp ? SOCK_DGRAM : SOCK_STREAM, &r->listener.fd, why);
    if (e) return e;
    r->scratch = mem_alloc(RELAY_SCRATCH);
    r->peers_key = (hash_key){hash_u64(r->seed), hash_u64(~r->seed)};
    if (!r->udp && pipe2(r->pipe, O_NONBLOCK | O_CLOEXEC)) return failed("cannot make a pipe", why);
    if (!r->udp) (void)fcntl(r->pipe[1], F_SETPIPE_SZ, RELAY_SCRATCH); /* else it stays smaller: less is spliced at a time */
    r->listener.fn = r->udp ? dgram_readable : on_listener;
    r->accept_timer.fn = on_accept_timer;
    if (!r->udp && !r->refuse.on && listen(r->listener.fd, BACKLOG)) return failed("cannot listen", why);
    listen_again(r);
    return r->listening || r->refuse.on ? ERR_OK : failed("cannot watch the listener", why);
}

void relay_fini(relay *r) {
    plan_fini(r);
    conn_free_all(r);
    dgram_free_all(r);
    listen_pause(r);
    loop_timer_clear(&r->loop, &r->accept_timer);
    if (r->listener.fd >= 0) close(r->listener.fd);
    net_place_fini(&r->listen_at);
    net_place_fini(&r->to);
    hmap_fini(&r->peers);
    if (r->pipe[0] >= 0) close(r->pipe[0]);
    if (r->pipe[1] >= 0) close(r->pipe[1]);
    mem_free(r->scratch);
}

/* A token bucket as its theoretical arrival time (GCRA): rate_nsec is when it would be full again. */
usec relay_rate(relay *r, dir d, uint64_t n, usec now) {
    link_dir *l = &r->dir[d];
    if (l->set.rate == 0) return now;
    uint64_t now_nsec = (uint64_t)now * 1000, cost = (n * UINT64_C(1000000000) + l->set.rate - 1) / l->set.rate;
    uint64_t burst = l->set.burst * UINT64_C(1000000000) / l->set.rate;
    if (l->rate_nsec < now_nsec) l->rate_nsec = now_nsec;
    l->rate_nsec += cost;
    uint64_t at = l->rate_nsec - now_nsec > burst ? l->rate_nsec - burst : now_nsec;
    return (usec)((at + 999) / 1000);
}

uint64_t relay_after_next(const relay *r, dir d, uint64_t given, uint64_t fired) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < r->afters; i++) {
        const after *a = &r->after[i];
        if (a->dirs & DIR_BIT(d) && !(fired >> i & 1) && a->bytes >= given && a->bytes < next) next = a->bytes;
    }
    return next;
}

void relay_after_fire(relay *r, uint64_t conn, dir d, uint64_t given, uint64_t *fired) {
    for (size_t i = 0; i < r->afters; i++) {
        stmt s = {.when = WHEN_NOW, .act = r->after[i].act};
        char why[LANG_WHY_MAX];
        if (!(r->after[i].dirs & DIR_BIT(d)) || *fired >> i & 1 || r->after[i].bytes > given) continue;
        *fired |= UINT64_C(1) << i;
        trace_event(&r->trace, conn, d, given, lang_verb_name(s.act.verb), 0);
        s.act.conn = conn;
        s.act.settled = true;
        if (s.act.dirs == 0) s.act.dirs = DIR_BIT(d);
        err e = plan_add(r, &s, why);
        if (e)
            trace_event(&r->trace, conn, d, given, err_name(e),
                        0); /* too many holds wait for their end, or it ended by an `after` before */
    }
}

static void flip_one(relay *r, uint64_t conn, dir d, uint8_t *byte, uint64_t pos) {
    fate_key k = {r->seed, conn, d};
    uint8_t mask = fate_flip_mask(&k, pos);
    *byte ^= mask;
    r->dir[d].count.flipped++;
    trace_event(&r->trace, conn, d, pos, "flip", mask);
}

void relay_flip(relay *r, flips *f, uint64_t conn, dir d, uint8_t *p, size_t n, uint64_t at) {
    const warp_set *s = &r->dir[d].set;
    fate_key k = {r->seed, conn, d};
    uint64_t pos = f->seen > at ? f->seen : at, end = at + n;
    bool chance = s->flip > 0;
    if (chance && f->chance != s->flip) f->next = pos + fate_flip_gap(&k, pos, s);
    f->chance = s->flip;
    while (pos < end) {
        uint64_t next = f->want > 0 ? pos : chance ? f->next : UINT64_MAX;
        if (next >= end) break;
        flip_one(r, conn, d, p + (next - at), next);
        if (f->want > 0) f->want--;
        pos = next + 1;
        if (chance && f->next < pos) {
            uint64_t gap = fate_flip_gap(&k, pos, s);
            f->next = gap > UINT64_MAX - pos ? UINT64_MAX : pos + gap;
        }
    }
    if (end > f->seen) f->seen = end;
}

static void refuse(relay *r, uint64_t number) {
    r->refuse = (hold){true, number};
    listen_pause(r);
    /* A listening socket that is shut down keeps its port and refuses; what waits to be accepted is reset. */
    if (r->listener.fd >= 0) (void)shutdown(r->listener.fd, SHUT_RDWR);
}

static void refuse_end(relay *r) {
    if (!r->refuse.on) return;
    r->refuse.on = false;
    if (r->listener.fd < 0) return;
    if (listen(r->listener.fd, BACKLOG)) panic("cannot listen again: %s", strerror(errno));
    relay_accept_again(r);
}

/* A heal of the link ends what was begun on its connections too. */
static void heal(relay *r, const action *a) {
    for (int d = 0; d < DIR_COUNT; d++) {
        if (!(a->dirs & DIR_BIT(d))) continue;
        r->dir[d].cut.on = r->dir[d].half_open.on = false;
        r->dir[d].healed++;
        r->dir[d].rate_nsec = 0;
        dgram_release(r, (dir)d);
    }
    if (a->dirs == DIR_BOTH) refuse_end(r);
}

bool relay_unsupported(const relay *r, verb v) {
    if (v == VERB_STATS || v == VERB_CONNS || v == VERB_WATCH) return true;
    return r->udp && (v == VERB_RESET || v == VERB_HALF_OPEN || v == VERB_REFUSE || v == VERB_SLOW);
}

static void apply_link(relay *r, const action *a, uint64_t number) {
    for (int d = 0; d < DIR_COUNT; d++) {
        if (!(a->dirs & DIR_BIT(d))) continue;
        if (a->verb == VERB_SET || a->verb == VERB_CLEAR) lang_apply(a, &r->dir[d].set);
        if (a->verb == VERB_CUT) r->dir[d].cut = (hold){true, number};
        if (a->verb == VERB_HALF_OPEN) r->dir[d].half_open = (hold){true, number};
    }
    if (a->verb == VERB_HEAL) heal(r, a);
    if (a->verb == VERB_REFUSE) refuse(r, number);
    if (a->verb == VERB_SLOW) r->slow = a->lasts;
}

err relay_apply(relay *r, const action *a, uint64_t only, uint64_t *out_number) {
    uint64_t conn = a->conn ? a->conn : only, number = ++r->holds;
    if (relay_unsupported(r, a->verb)) return ERR_UNSUPPORTED;
    bool each = a->verb == VERB_RESET || a->verb == VERB_FLIP || a->verb == VERB_HEAL;
    bool one = each || a->verb == VERB_CUT || a->verb == VERB_HALF_OPEN;
    err e = ERR_OK;
    if (!conn || !one) apply_link(r, a, number);
    err (*to_each)(relay *, const action *, uint64_t, uint64_t) = r->udp ? dgram_apply : conn_apply;
    if (conn ? one : each) e = to_each(r, a, conn, a->verb == VERB_HEAL ? 0 : number);
    conn_wake_all(r);
    if (!e && out_number) *out_number = number;
    return e;
}

void relay_undo(relay *r, const action *a, uint64_t number) {
    if (a->verb == VERB_REFUSE && r->refuse.number == number) refuse_end(r);
    for (int d = 0; d < DIR_COUNT && !a->conn; d++) {
        if (a->verb == VERB_CUT && r->dir[d].cut.number == number) r->dir[d].cut.on = false;
        if (a->verb == VERB_HALF_OPEN && r->dir[d].half_open.number == number) r->dir[d].half_open.on = false;
    }
    action end = {.verb = VERB_HEAL, .dirs = a->dirs};
    err e = !a->conn ? ERR_OK : r->udp ? dgram_apply(r, &end, a->conn, number) : conn_apply(r, &end, a->conn, number);
    if (e) trace_event(&r->trace, a->conn, DIR_COUNT, 0, "gone", 0); /* the connection ended before the hold on it did */
    conn_wake_all(r);
}

static void count_json(const link_dir *l, buf *out) {
    const warp_count *c = &l->count;
    const struct {
        const char *name;
        uint64_t n;
    } fields[] = {{"taken", c->taken},           {"given", c->given},         {"held", c->held},
                  {"reads", c->reads},           {"writes", c->writes},       {"lost", c->lost},
                  {"duplicated", c->duplicated}, {"reordered", c->reordered}, {"flipped", c->flipped},
                  {"dropped", c->dropped},       {"fins", c->fins},           {"muted", c->muted}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        buf_addf(out, "%s\"%s\":%llu", i ? "," : "{", fields[i].name, (unsigned long long)fields[i].n);
    buf_addf(out, ",\"cut\":%s,\"half_open\":%s,\"set\":", l->cut.on ? "true" : "false", l->half_open.on ? "true" : "false");
    lang_settings_json(&l->set, out);
    buf_add_str(out, "}");
}

void relay_stats(const relay *r, buf *out) {
    buf_addf(
        out,
        "{\"up_usec\":%lld,\"seed\":%llu,\"accepted\":%llu,\"open\":%llu,\"failed\":%llu,\"resets\":%llu,\"planned\":%zu,\"refusing\":%s",
        (long long)(loop_now() - r->trace.started), (unsigned long long)r->seed, (unsigned long long)r->accepted,
        (unsigned long long)r->open, (unsigned long long)r->failed, (unsigned long long)r->resets, r->planned,
        r->refuse.on ? "true" : "false");
    for (int d = 0; d < DIR_COUNT; d++) {
        buf_addf(out, ",\"%s\":", warp_dir_name((dir)d));
        count_json(&r->dir[d], out);
    }
    buf_add_str(out, "}");
}

void relay_conns(const relay *r, buf *out) {
    buf_add_str(out, "[");
    if (r->udp)
        dgram_json(r, out);
    else
        conn_json(r, out);
    buf_add_str(out, "]");
}
