/* mode_many: many clients one after the other, a few at a time.
 *   register  makes the users on a server with in-band registration (XEP-0077)
 *   login     logs in and out for some seconds: logins per second, time and server CPU of one
 *   idle      logs in and stays: memory of the server for each session, from the difference between `base` sessions and all of them, so
 *             that what a server allocates once is not counted */
#include "base/mem.h"
#include "mode.h"

#define MSEC        UINT64_C(1000000)
#define SEC         (1000 * MSEC)
#define SETTLE_NSEC (500 * MSEC)
#define SETTLE_MAX  10 /* times SETTLE_NSEC */

typedef struct many {
    load l;
    const mode_cfg *m;
    client **clients; /* by number of the login */
    uint32_t cap;
    uint32_t started, ready, gone;
    bool stay; /* idle; the others leave at once */
    hist took; /* nanoseconds from connect to ready */
} many;

static many *many_of(client *x) { return x->l->data; }

static void on_ready(client *x) {
    many *y = many_of(x);
    y->ready++;
    hist_add(&y->took, bench_nsec() - x->started);
    if (!y->stay) client_leave(x);
}
static void on_message(client *x, const xmpp_node *m) {
    (void)x;
    (void)m;
}
static void on_acked(client *x) { (void)x; }
static void on_gone(client *x, const char *why) {
    (void)why; /* counted in l.failures */
    many_of(x)->gone++;
}
static const load_events EVENTS = {on_ready, on_message, on_acked, on_gone};

static bool many_init(many *y, const mode_cfg *m, uint32_t cap) {
    *y = (many){.m = m, .cap = cap, .clients = mem_zalloc(cap * sizeof(client *))};
    hist_init(&y->took);
    bool ok = load_init(&y->l, &m->load, &EVENTS);
    y->l.data = y;
    return ok;
}

static bool many_end(many *y, bool ok, const char *what) {
    if (!ok || y->l.failures) ok = mode_failed(&y->l, what);
    for (uint32_t i = 0; i < y->cap; i++) client_free(y->clients[i]);
    load_fini(&y->l);
    mem_free(y->clients);
    return ok;
}

/* Sessions are spread over users per_user at a time; user numbers wrap round after `users`. There is always a free place: no more than cap
 * are under way. */
static void start_one(many *y, uint32_t users) {
    uint32_t i = y->started++, at = y->stay ? i : 0, per = (uint32_t)y->m->per_user;
    while (y->clients[at] && y->clients[at]->state != CLIENT_GONE) at++;
    client_free(y->clients[at]);
    y->clients[at] = client_new(&y->l, (uint32_t)y->m->first + i / per % users, i % per, NULL);
}

/* Logins until n have been started in all and are ready (or, if they do not stay, are gone), or time is up. False: stuck or refused. */
static bool logins_until(many *y, uint32_t n, uint32_t users, uint64_t end) {
    uint64_t last = bench_nsec();
    for (uint32_t was = 0, now; !y->l.failures; was = now) {
        uint64_t t = bench_nsec();
        now = y->stay ? y->ready : y->gone;
        if (now != was) last = t;
        if (now >= n || (t >= end && now == y->started)) return true;
        if (t > last + MODE_PATIENCE_NSEC) return false;
        while (y->started < n && y->started - now < (uint32_t)y->m->parallel && t < end) start_one(y, users);
        load_round(&y->l, 100);
    }
    return false;
}

bool mode_register(const mode_cfg *m) {
    mode_cfg with = *m;
    with.load.create = true;
    many y;
    bool ok = many_init(&y, &with, (uint32_t)m->parallel);
    uint64_t t0 = bench_nsec();
    ok = ok && logins_until(&y, (uint32_t)m->count, (uint32_t)m->count, UINT64_MAX);
    bench_report_begin(m->json, m->name);
    bench_report_num("users", "", (double)y.ready);
    bench_report_num("rate", "users/s", (double)y.ready * 1e9 / (double)(bench_nsec() - t0));
    bench_report_end();
    return many_end(&y, ok, "registrations");
}

bool mode_login(const mode_cfg *m) {
    mode_cfg with = *m;
    with.load.resource = NULL; /* the session before may not have ended yet: it must not be in the way */
    many y;
    bool ok = many_init(&y, &with, (uint32_t)m->parallel);
    uint32_t users = (uint32_t)m->count;
    ok = ok && logins_until(&y, users, users, UINT64_MAX); /* each once: both sides know their keys */
    hist_init(&y.took);
    uint32_t before = y.ready;
    bench_cost a = bench_cost_of((int)m->server_pid);
    uint64_t t0 = bench_nsec();
    ok = ok && logins_until(&y, UINT32_MAX, users, t0 + (uint64_t)m->seconds * SEC);
    uint64_t took = bench_nsec() - t0;
    bench_cost b = bench_cost_of((int)m->server_pid);
    double n = (double)(y.ready - before);
    bench_report_begin(m->json, m->name);
    bench_report_num("rate", "logins/s", n * 1e9 / (double)took);
    bench_report_num("p50", "us", (double)hist_quantile(&y.took, 0.5) / 1e3);
    bench_report_num("p99", "us", (double)hist_quantile(&y.took, 0.99) / 1e3);
    if (a.processes && n > 0) bench_report_num("cpu", "us/login of the server", (double)(b.cpu_usec - a.cpu_usec) / n);
    bench_report_end();
    return many_end(&y, ok && n > 0, "logins");
}

/* Until the memory of the server has stopped to change. */
static bench_cost settled(many *y) {
    bench_cost was = bench_cost_of((int)y->m->server_pid), now = was;
    for (int i = 0; i < SETTLE_MAX; i++, was = now) {
        uint64_t end = bench_nsec() + SETTLE_NSEC;
        while (bench_nsec() < end) load_round(&y->l, 50);
        now = bench_cost_of((int)y->m->server_pid);
        if (now.anon_kb == was.anon_kb) break;
    }
    return now;
}

bool mode_idle(const mode_cfg *m) {
    many y;
    uint32_t n = (uint32_t)m->sessions, base = (uint32_t)m->base, users = n / (uint32_t)m->per_user + 1;
    uint64_t files = bench_files_max();
    if (files < n + 100u) {
        (void)fprintf(stderr, "murre-bench: %u sessions need more open files than the limit of %llu\n", n, (unsigned long long)files);
        return false;
    }
    bool ok = many_init(&y, m, n);
    y.stay = true;
    ok = ok && logins_until(&y, base, users, UINT64_MAX);
    bench_cost a = settled(&y);
    uint64_t t0 = bench_nsec();
    ok = ok && logins_until(&y, n, users, UINT64_MAX);
    uint64_t took = bench_nsec() - t0;
    bench_cost b = settled(&y);
    bench_report_begin(m->json, m->name);
    bench_report_num("sessions", "", (double)y.ready);
    if (a.processes && b.processes && n > base) {
        bench_report_num("per_session", "bytes of anonymous memory", ((double)b.anon_kb - (double)a.anon_kb) * 1024 / (n - base));
        bench_report_num("per_session_rss", "bytes resident", ((double)b.rss_kb - (double)a.rss_kb) * 1024 / (n - base));
        bench_report_num("rss", "MB of the server", (double)b.rss_kb / 1024);
        bench_report_num("login_cpu", "us/login of the server", (double)(b.cpu_usec - a.cpu_usec) / (n - base));
    }
    bench_report_num("login_rate", "logins/s", (n - base) * 1e9 / (double)took);
    bench_report_end();
    return many_end(&y, ok, "sessions");
}
