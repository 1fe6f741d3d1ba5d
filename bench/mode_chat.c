/* mode_chat: pairs of clients, one sends, the other receives; each pair has a window of messages under way, and a message that arrives
 * (and, with acks, is acked too) lets the next one go. After a warm-up everything is counted for some seconds, then the sending stops and
 * what is under way has to arrive.
 *
 * With slices, the time is counted in parts, each begun by a line on standard input and ended with a line of figures, and the load goes on
 * in between: whoever drives it changes something of the server, and compares one slice with the next. */
#include "base/mem.h"
#include "mode.h"

#include <poll.h>
#include <unistd.h>

#define MSEC           UINT64_C(1000000)
#define SEC            (1000 * MSEC)
#define QUIET_NSEC     (10 * SEC) /* at the end: nothing came for this long, so the rest is lost */
#define LOGINS_AT_ONCE 32u

typedef struct chat {
    load l;
    pairs ps;
    const mode_cfg *m;
    client **clients; /* 2 i: sender, 2 i + 1: receiver */
    uint32_t started, ready, gone;
    bool sending, broken;
    uint64_t last; /* when anything came */
} chat;

static void pump(chat *c, pair *p) {
    uint32_t n = 0;
    while (c->sending && pairs_under_way(&c->ps, p, true) < c->ps.window) {
        pairs_send(&c->ps, p);
        n++;
    }
    if (n > 0 && c->ps.acks) client_ask_ack(p->from);
}

static chat *chat_of(client *x) { return x->l->data; }

static void on_ready(client *x) { chat_of(x)->ready++; }

static void on_message(client *x, const xmpp_node *m) {
    chat *c = chat_of(x);
    c->last = x->l->now;
    pair *p = pairs_got(&c->ps, x, m);
    if (p) pump(c, p);
}

static void on_acked(client *x) {
    chat *c = chat_of(x);
    pair *p = &c->ps.p[*(const uint32_t *)x->data / 2];
    if (x != p->from) return;
    c->last = x->l->now;
    pairs_acked(&c->ps, p);
    pump(c, p);
}

static void on_gone(client *x, const char *why) {
    if (why) chat_of(x)->broken = true;
    chat_of(x)->gone++;
}

static const load_events EVENTS = {on_ready, on_message, on_acked, on_gone};

static bool log_in(chat *c, uint32_t *ids) {
    uint32_t n = 2 * c->ps.n;
    uint64_t end = bench_nsec() + MODE_PATIENCE_NSEC;
    for (uint32_t was = 0; c->ready < n && !c->broken && bench_nsec() < end; was = c->ready) {
        if (c->ready > was) end = bench_nsec() + MODE_PATIENCE_NSEC;
        for (; c->started < n && c->started < c->ready + LOGINS_AT_ONCE; c->started++) {
            uint32_t i = c->started;
            ids[i] = i;
            c->clients[i] = client_new(&c->l, (uint32_t)c->m->first + i, 0, &ids[i]);
        }
        load_round(&c->l, 100);
    }
    return c->ready == n && !c->broken;
}

static void run_until(chat *c, uint64_t end, uint64_t count) {
    while (!c->broken && bench_nsec() < end && c->ps.received < count) load_round(&c->l, 10);
}

typedef struct span { /* what was measured */
    uint64_t took, messages;
    bench_cost from, to;
} span;

static void report(chat *c, const span *s) {
    uint64_t cpu = s->to.cpu_usec - s->from.cpu_usec;
    bench_report_begin(c->m->json, c->m->name);
    bench_report_num("rate", "messages/s", (double)s->messages * 1e9 / (double)s->took);
    bench_report_num("p50", "us", (double)hist_quantile(&c->ps.delivery, 0.5) / 1e3);
    bench_report_num("p99", "us", (double)hist_quantile(&c->ps.delivery, 0.99) / 1e3);
    bench_report_num("p999", "us", (double)hist_quantile(&c->ps.delivery, 0.999) / 1e3);
    if (c->ps.acks) {
        bench_report_num("ack_p50", "us", (double)hist_quantile(&c->ps.ack, 0.5) / 1e3);
        bench_report_num("ack_p99", "us", (double)hist_quantile(&c->ps.ack, 0.99) / 1e3);
    }
    if (s->from.processes && s->to.processes) {
        bench_report_num("cpu", "us/message of the server", (double)cpu / (double)s->messages);
        bench_report_num("cpu_share", "cores used by the server", (double)cpu * 1e3 / (double)s->took);
        bench_report_num("rss", "MB of the server", (double)s->to.rss_kb / 1024);
    }
    pairs_report(&c->ps);
    bench_report_end();
}

/* A line on standard input: go on. The load is kept up meanwhile; the end of the input ends the run. */
static bool told_to_go_on(chat *c) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    for (char x = 0; !c->broken && x != '\n';) {
        load_round(&c->l, 10);
        if (poll(&in, 1, 0) > 0 && read(STDIN_FILENO, &x, 1) != 1) return false;
    }
    return !c->broken;
}

static bool slices(chat *c) {
    int pid = (int)c->m->server_pid;
    for (int64_t i = 0; i < c->m->slices; i++) {
        if (!told_to_go_on(c)) return false;
        pairs_clear_times(&c->ps);
        uint64_t cpu = bench_cpu_nsec_of(pid), t0 = bench_nsec(), n = c->ps.received;
        run_until(c, t0 + (uint64_t)c->m->slice_msec * MSEC, UINT64_MAX);
        n = c->ps.received - n;
        bench_report_begin(c->m->json, c->m->name);
        bench_report_num("messages", "", (double)n);
        bench_report_num("rate", "messages/s", (double)n * 1e9 / (double)(bench_nsec() - t0));
        bench_report_num("cpu", "us/message of the server", (double)(bench_cpu_nsec_of(pid) - cpu) / 1e3 / (double)(n ? n : 1));
        bench_report_num("p50", "us", (double)hist_quantile(&c->ps.delivery, 0.5) / 1e3);
        bench_report_num("p99", "us", (double)hist_quantile(&c->ps.delivery, 0.99) / 1e3);
        bench_report_end();
    }
    return true;
}

/* All of it at once; false: nothing came. */
static bool whole(chat *c, span *out) {
    uint64_t all = c->m->count ? (uint64_t)c->m->count : UINT64_MAX;
    pairs_clear_times(&c->ps);
    out->from = bench_cost_of((int)c->m->server_pid);
    uint64_t t0 = bench_nsec(), n0 = c->ps.received;
    run_until(c, t0 + (uint64_t)c->m->seconds * SEC, c->m->count ? n0 + all : all);
    out->took = bench_nsec() - t0;
    out->messages = c->ps.received - n0;
    out->to = bench_cost_of((int)c->m->server_pid);
    return out->messages > 0;
}

static bool measure(chat *c) {
    c->sending = true;
    for (uint32_t i = 0; i < c->ps.n; i++) {
        c->ps.p[i].from = c->clients[2 * i];
        c->ps.p[i].to = c->clients[2 * i + 1];
        pump(c, &c->ps.p[i]);
    }
    uint64_t all = c->m->count ? (uint64_t)c->m->count : UINT64_MAX;
    run_until(c, bench_nsec() + (uint64_t)c->m->warm * SEC, all);
    span s = {.took = 0};
    bool ok = c->m->slices ? slices(c) : whole(c, &s);
    c->sending = false;
    c->last = bench_nsec();
    while (!c->broken && (pairs_lost(&c->ps) || pairs_unacked(&c->ps)) && bench_nsec() < c->last + QUIET_NSEC) load_round(&c->l, 100);
    if (s.messages > 0) report(c, &s);
    for (uint32_t i = 0; i < 2 * c->ps.n && !c->broken; i++) client_leave(c->clients[i]);
    for (uint64_t end = bench_nsec() + 2 * SEC; !c->broken && c->gone < 2 * c->ps.n && bench_nsec() < end;) load_round(&c->l, 100);
    return ok && !c->broken && pairs_clean(&c->ps);
}

bool mode_chat(const mode_cfg *m) {
    chat c = {.m = m};
    load_cfg f = m->load;
    f.presence = true;
    uint32_t n = 2 * (uint32_t)m->pairs;
    uint32_t *ids = mem_zalloc(n * sizeof *ids);
    c.clients = mem_zalloc(n * sizeof(client *));
    pairs_init(&c.ps, m);
    bool ok = load_init(&c.l, &f, &EVENTS);
    c.l.data = &c;
    ok = ok && log_in(&c, ids) && measure(&c);
    if (!ok) (void)mode_failed(&c.l, c.ps.received ? "messages" : "logins");
    for (uint32_t i = 0; i < n; i++) client_free(c.clients[i]);
    pairs_fini(&c.ps);
    load_fini(&c.l);
    mem_free(c.clients);
    mem_free(ids);
    return ok;
}
