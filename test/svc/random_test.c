/* Random use with late, failing and repeated answers, sessions that come and go, and a partition that dies: what was acked without an
 * error arrives, what was answered with an error does not, and what a pair sends, kept or not, keeps its order. A seed names a run. */
#include "svc/svc_rig.h"

#include <stdlib.h>

#define OPS   400
#define SEEDS 25

typedef struct sent {
    sess *by;
    uint32_t ticket;
    int origin; /* the first with the same origin-id; itself if none */
    bool live;  /* a headline: not kept, may be lost, but keeps its place */
} sent;
typedef struct run {
    rig *r;
    prng rng;
    puppet *p;
    sess *from[3];
    sess *bob[8]; /* NULL: free */
    sent msg[OPS + 1];
    int n;
    bool killed;
} run;

static uint32_t pick(run *x, uint32_t n) { return (uint32_t)(prng_next(&x->rng) % n); }

static void send_chat(run *x) {
    static const char *const to[] = {"bob@x.test", "bob@x.test", "bob@x.test/0", "bob@x.test/1", "bob@x.test/2"};
    sess *s = x->from[pick(x, 3)];
    if (s->dead) return;
    int n = x->n++, origin = n;
    if (pick(x, 5) == 0) {
        uint32_t live = sayf(s, "<message type='headline' id='m%d.' to='%s'><body>%d</body></message>", n, to[pick(x, 5)], n);
        x->msg[n] = (sent){s, live, n, true};
        return;
    }
    if (n > 0 && pick(x, 8) == 0) { /* the same again, perhaps from another resource */
        origin = x->msg[pick(x, (uint32_t)n)].origin;
        if (x->msg[origin].live || !slice_eq(sess_bare(s), sess_bare(x->msg[origin].by))) origin = n;
    }
    uint32_t t = sayf(s, "<message type='chat' id='m%d.' to='%s'><body>%d</body><origin-id xmlns='urn:xmpp:sid:0' id='o%d'/></message>", n,
                      to[origin == n ? pick(x, 5) : 0], origin, origin);
    x->msg[n] = (sent){s, t, origin, false};
}

static sess *any_bob(run *x) {
    sess *s = x->bob[pick(x, 8)];
    return s && !s->dead && !s->kicks ? s : NULL;
}

static void bob_comes(run *x) {
    uint32_t i = pick(x, 8);
    char resource[4];
    if (x->r->n_s >= RIG_SESSIONS - 2) return;
    if (x->bob[i] && !x->bob[i]->dead && !x->bob[i]->kicks) return;
    (void)snprintf(resource, sizeof resource, "%u", pick(x, 3));
    sess *s = sess_bind(x->r, "bob@x.test", resource);
    if (!s->bound) { /* the account is being loaded: the answer comes later, to nobody */
        die(s);
        return;
    }
    x->bob[i] = s;
    if (pick(x, 2)) (void)say(s, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    (void)sayf(s, "<presence><priority>%d</priority></presence>", (int)pick(x, 3) - 1);
}

static void bob_does(run *x) {
    sess *s = any_bob(x);
    if (!s) return;
    switch (pick(x, 8)) {
    case 0: die(s); break;
    case 1: unbind(s); break;
    case 2: (void)say(s, "<presence type='unavailable'/>"); break;
    case 3: (void)sayf(s, "<presence><priority>%d</priority></presence>", (int)pick(x, 3) - 1); break;
    case 4: (void)sayf(s, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c%u@x.test'/></query></iq>", pick(x, 5)); break;
    case 5:
        (void)say(s, pick(x, 2) ? "<presence type='subscribe' to='carol@x.test'/>" : "<presence type='unsubscribe' to='carol@x.test'/>");
        break;
    default:
        if (s->last_keep) ack(s, pick(x, s->last_keep) + 1);
        break;
    }
}

static void store_does(run *x) {
    rig *r = x->r;
    switch (pick(x, 6)) {
    case 0: r->hold_puts = !r->hold_puts; break;
    case 1: r->hold_reads = !r->hold_reads; break;
    case 2: r->hold_keyed = !r->hold_keyed; break;
    case 3: r->write_status = pick(x, 3) ? ERR_OK : ERR_NOSPC; break;
    case 4: rig_release(r, pick(x, 5), pick(x, 4) ? ERR_OK : ERR_NOSPC); break;
    default: rig_keyed_release(r, pick(x, 4)); break;
    }
    if (!r->hold_keyed) rig_keyed_release(r, RIG_MAX);
    if (!r->hold_puts && !r->hold_reads) rig_release(r, RIG_MAX, ERR_OK);
}

static void kill_bobs(run *x) {
    puppet victim = {.pid = svc_partition(x->r->w->n, &x->r->cfg, SLICE("bob@x.test"))};
    x->r->lossy = x->killed = true;
    tell(x->r->w, x->p, do_kill, ARG(&victim));
    rig_go(x->r);
    for (int i = 0; i < 8; i++) { /* they see it go, and end */
        if (x->bob[i] && !x->bob[i]->dead) die(x->bob[i]);
        x->bob[i] = NULL;
    }
    rig_later(x->r, 2 * USEC_PER_SEC);
}

static bool has_body(const sess *s, int n) {
    char text[32];
    (void)snprintf(text, sizeof text, "<body>%d</body>", n);
    return count(s, text) > 0;
}

static bool bounced(const sent *m, int n) {
    for (size_t i = 0; i < m->by->n; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "id='m%d.'", n);
        if (strstr(m->by->got[i], id) && strstr(m->by->got[i], "type='error'")) return true;
    }
    return false;
}

static bool arrived(const run *x, int n) {
    for (size_t i = 0; i < x->r->n_s; i++)
        if (strncmp(x->r->s[i]->jid, "bob@", 4) == 0 && has_body(x->r->s[i], n)) return true;
    return false;
}

static void check_order(const run *x, uint64_t seed) {
    for (size_t i = 0; i < x->r->n_s; i++) {
        const sess *s = x->r->s[i];
        int last[3] = {-1, -1, -1};
        if (strncmp(s->jid, "bob@", 4) != 0) continue;
        for (size_t k = 0; k < s->n; k++) {
            const char *b = strstr(s->got[k], "<body>");
            if (!b || strstr(s->got[k], "<delay")) continue;
            int n = (int)strtol(b + 6, NULL, 10);
            for (int f = 0; f < 3; f++) {
                char who[280];
                (void)snprintf(who, sizeof who, "from='%s'", x->from[f]->jid);
                if (!strstr(s->got[k], who)) continue;
                bool repeated = false;
                for (int m = n + 1; m < x->n; m++) repeated |= x->msg[m].origin == n;
                if (n <= last[f] && !repeated) fail_msg("seed %llu: %s got %d after %d", (unsigned long long)seed, s->jid, n, last[f]);
                if (!repeated) last[f] = n;
            }
        }
    }
}

static void drain(run *x) {
    rig *r = x->r;
    r->hold_puts = r->hold_reads = r->hold_keyed = false;
    r->write_status = ERR_OK;
    for (int i = 0; i < 3; i++) {
        rig_keyed_release(r, RIG_MAX);
        rig_release(r, RIG_MAX, ERR_OK);
    }
    for (int i = 0; i < 8; i++)
        if (x->bob[i] && !x->bob[i]->dead) unbind(x->bob[i]);
    sess *b = login(r, "bob@x.test", "last", 0);
    for (uint32_t before = UINT32_MAX; b->last_keep && before != b->last_keep;) {
        before = b->last_keep;
        ack(b, b->last_keep);
    }
    assert_int_equal(live_records(r), 0);
}

static void one(uint64_t seed, bool kills) {
    run x = {.r = rig_three()};
    prng_init(&x.rng, seed);
    x.p = puppet_new(x.r->w, 0, &puppet_class);
    x.r->cfg.window_messages = 1 + pick(&x, 8);
    x.from[0] = login(x.r, "alice@x.test", "a", 0);
    x.from[1] = login(x.r, "alice@x.test", "b", -1);
    x.from[2] = login(x.r, "carol@x.test", "c", 0);
    for (int i = 0; i < OPS; i++) {
        uint32_t k = pick(&x, 100);
        if (k < 35)
            send_chat(&x);
        else if (k < 50)
            store_does(&x);
        else if (k < 65)
            bob_comes(&x);
        else if (k < 97)
            bob_does(&x);
        else if (k < 99)
            rig_later(x.r, USEC_PER_SEC);
        else if (kills)
            kill_bobs(&x);
    }

    drain(&x);
    for (int n = 0; n < x.n; n++) {
        const sent *m = &x.msg[n];
        bool error = bounced(m, n), here = arrived(&x, m->origin);
        if (m->by->done[m->ticket] && !error && !here && !m->live)
            fail_msg("seed %llu: message %d (%d) was acked and is lost", (unsigned long long)seed, n, m->origin);
        bool again = false;
        for (int k = 0; k < x.n; k++) again |= k != n && x.msg[k].origin == m->origin;
        if (error && here && !again) fail_msg("seed %llu: message %d was refused and arrived", (unsigned long long)seed, n);
    }
    check_order(&x, seed);
    rig_free(x.r);
    mem_free(x.p);
}

static void random_use_loses_nothing_that_was_acked(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) one(seed, false);
}

static void nor_do_deaths_of_the_partition(void **state) {
    (void)state;
    for (uint64_t seed = 1001; seed <= 1000 + SEEDS; seed++) one(seed, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use_loses_nothing_that_was_acked),
        cmocka_unit_test(nor_do_deaths_of_the_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
