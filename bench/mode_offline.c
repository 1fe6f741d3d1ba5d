/* mode_offline: messages for users who are not there, then the users come. Store: from the first message to the last ack (0198) of the
 * senders, a window of messages of each under way. Drain: from the first login of a receiver to the last message of all. */
#include "base/mem.h"
#include "mode.h"

#define SEC            UINT64_C(1000000000)
#define QUIET_NSEC     (10 * SEC)
#define LOGINS_AT_ONCE 32u

typedef struct offline {
    load l;
    pairs ps;
    const mode_cfg *m;
    client **clients; /* first the senders, then the receivers */
    uint32_t *ids;
    uint32_t each; /* messages of a pair */
    uint32_t started, ready, gone;
    bool draining, broken;
    uint64_t last;
} offline;

static offline *offline_of(client *x) { return x->l->data; }

static void pump(offline *o, pair *p) {
    uint32_t n = 0;
    while (p->sent < o->each && pairs_under_way(&o->ps, p, false) < o->ps.window) {
        pairs_send(&o->ps, p);
        n++;
    }
    if (n > 0) client_ask_ack(p->from);
}

static void on_ready(client *x) { offline_of(x)->ready++; }

static void on_message(client *x, const xmpp_node *m) {
    offline *o = offline_of(x);
    o->last = x->l->now;
    (void)pairs_got(&o->ps, x, m);
}

static void on_acked(client *x) {
    offline *o = offline_of(x);
    pair *p = &o->ps.p[*(const uint32_t *)x->data];
    if (o->draining || x != p->from) return;
    o->last = x->l->now;
    pairs_acked(&o->ps, p);
    pump(o, p);
}

static void on_gone(client *x, const char *why) {
    if (why) offline_of(x)->broken = true;
    offline_of(x)->gone++;
}

static const load_events EVENTS = {on_ready, on_message, on_acked, on_gone};

/* Starts the logins of this half, a few at a time; side 0: senders, 1: receivers. */
static void some_logins(offline *o, uint32_t side) {
    for (; o->started < o->ps.n && o->started < o->ready + LOGINS_AT_ONCE; o->started++) {
        uint32_t i = o->started;
        client *x = client_new(&o->l, (uint32_t)o->m->first + 2 * i + side, 0, &o->ids[i]);
        o->clients[side * o->ps.n + i] = x;
        *(side ? &o->ps.p[i].to : &o->ps.p[i].from) = x;
    }
}

static bool store(offline *o, uint64_t *out_took) {
    o->last = bench_nsec();
    while (o->ready < o->ps.n && !o->broken && bench_nsec() < o->last + MODE_PATIENCE_NSEC) {
        some_logins(o, 0);
        load_round(&o->l, 100);
    }
    if (o->ready < o->ps.n || o->broken) return false;
    uint64_t t0 = o->last = bench_nsec();
    for (uint32_t i = 0; i < o->ps.n; i++) pump(o, &o->ps.p[i]);
    while (!o->broken && pairs_unacked(&o->ps) && bench_nsec() < o->last + QUIET_NSEC) load_round(&o->l, 100);
    *out_took = bench_nsec() - t0;
    return !o->broken && pairs_unacked(&o->ps) == 0;
}

static bool drain(offline *o, uint64_t *out_took) {
    for (uint32_t i = 0; i < o->ps.n; i++) client_leave(o->clients[i]);
    o->l.cfg.presence = true;
    o->draining = true;
    o->started = o->ready = 0;
    uint64_t t0 = o->last = bench_nsec();
    while (!o->broken && pairs_lost(&o->ps) && bench_nsec() < o->last + QUIET_NSEC) {
        some_logins(o, 1);
        load_round(&o->l, 100);
    }
    *out_took = bench_nsec() - t0;
    for (uint32_t i = 0; i < o->started && !o->broken; i++) client_leave(o->clients[o->ps.n + i]);
    for (uint64_t end = bench_nsec() + SEC; !o->broken && o->gone < 2 * o->ps.n && bench_nsec() < end;) load_round(&o->l, 100);
    return !o->broken && pairs_clean(&o->ps);
}

static bool measure(offline *o) {
    int pid = (int)o->m->server_pid;
    uint64_t stored = 0, drained = 0;
    bench_cost a = bench_cost_of(pid);
    if (!store(o, &stored)) return false;
    bench_cost b = bench_cost_of(pid);
    bool ok = drain(o, &drained);
    bench_cost c = bench_cost_of(pid);
    double n = (double)o->ps.sent;
    bench_report_begin(o->m->json, o->m->name);
    bench_report_num("store", "messages/s", n * 1e9 / (double)stored);
    bench_report_num("drain", "messages/s", n * 1e9 / (double)drained);
    bench_report_num("ack_p50", "us", (double)hist_quantile(&o->ps.ack, 0.5) / 1e3);
    bench_report_num("ack_p99", "us", (double)hist_quantile(&o->ps.ack, 0.99) / 1e3);
    if (a.processes && c.processes) {
        bench_report_num("store_cpu", "us/message of the server, logins included", (double)(b.cpu_usec - a.cpu_usec) / n);
        bench_report_num("drain_cpu", "us/message of the server, logins included", (double)(c.cpu_usec - b.cpu_usec) / n);
        bench_report_num("rss", "MB of the server", (double)c.rss_kb / 1024);
    }
    pairs_report(&o->ps);
    bench_report_end();
    return ok;
}

bool mode_offline(const mode_cfg *m) {
    mode_cfg with = *m;
    with.load.acks = true;
    with.to_full = false;
    offline o = {.m = &with, .each = (uint32_t)(m->count / m->pairs)};
    uint32_t n = (uint32_t)m->pairs;
    if (o.each == 0) {
        (void)fputs("murre-bench: --count wants at least a message for each of --pairs\n", stderr);
        return false;
    }
    o.clients = mem_zalloc(2 * n * sizeof(client *));
    o.ids = mem_zalloc(n * sizeof *o.ids);
    for (uint32_t i = 0; i < n; i++) o.ids[i] = i;
    pairs_init(&o.ps, &with);
    bool ok = load_init(&o.l, &with.load, &EVENTS);
    o.l.data = &o;
    ok = ok && measure(&o);
    if (!ok) (void)mode_failed(&o.l, o.ps.sent ? "messages" : "logins");
    for (uint32_t i = 0; i < 2 * n; i++) client_free(o.clients[i]);
    pairs_fini(&o.ps);
    load_fini(&o.l);
    mem_free(o.clients);
    mem_free(o.ids);
    return ok;
}
