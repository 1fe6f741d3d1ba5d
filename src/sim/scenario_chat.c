/* scenario chat: one server node as the program composes it, and people with phones.
 *
 *     boot -> accounts written -> clients chat, while [crashes, power cuts, single actors killed, disk faults, full disk, resets, wall
 *          clock jumps]
 *          -> drain: no faults, everybody online, until everything is answered and nothing comes any more -> checker
 *
 * In a restless run people send many messages at once, the machine is slow, and the partitions that serve them are killed while messages
 * are under way: what order has to stand (docs/promises.md, sentence 5).
 *
 * In a run of torture (sim_run_cfg.fail_nth) few people chat for some seconds, the node is killed once in the middle, and stopped in order
 * at the end; one call of the seam fails, and that is the only fault.
 *
 * An operation (--ops) is a second of the chatting phase. A calm run has no faults and only goodbyes in order: duplicates are violations
 * then (R8). What the server says about itself is never asked; the accounts are written through the keyed store's own message. */
#include "base/mem.h"
#include "history/chat.h"
#include "proto/xmpp/scram.h"
#include "sim/client.h"
#include "sim/scenario.h"
#include "sim/watch.h"
#include "store/store.h"

#include <stdio.h>

#define ACCOUNTS_MAX       12u
#define CLIENTS_MAX        36u
#define SECONDS_DEFAULT    900u
#define SECONDS_RESTLESS   300u
#define QUIET              (180 * USEC_PER_SEC) /* nothing came for so long: drained */
#define DRAIN_MAX          (3600 * USEC_PER_SEC)
#define ITERATIONS         4096u
#define ITERATIONS_TORTURE 16u /* passwords are not what is tested, and would be most of the time that a run takes */
#define SECONDS_TORTURE    12u
#define ACCOUNTS_TORTURE   2u
#define DEDUP_WINDOW       (600 * USEC_PER_SEC)
#define UNACKED_MAX        256u               /* delivery.window_messages */
#define RESTLESS_PAUSE     (USEC_PER_SEC / 2) /* between two ends of partitions: fewer than their supervisor allows */
#define RESTLESS_BURST     16u
#define RESTLESS_WAKE      (2 * USEC_PER_MSEC) /* as on a machine that is busy: messages are under way between shards for so long */
#define RESTLESS_WAKE_RARE (300 * USEC_PER_MSEC)
#define WATCHED_FEW        50u /* durable messages of one account, of which some must have found somebody there */

typedef struct chat {
    sim_world w;
    sim_net net;
    sim_node node;
    history_chat history;
    sim_habits habits;
    sim_account account[ACCOUNTS_MAX];
    sim_client client[CLIENTS_MAX];
    store_keys sha1[ACCOUNTS_MAX], sha256[ACCOUNTS_MAX];
    uint32_t n_accounts, n_clients;
    sim_watch watch; /* of the first account; on odd seeds */
    bool accounts_ready, calm, watched;
    bool restless;
    bool tortured;      /* sim_run_cfg.fail_nth */
    bool filled;        /* the disk was full, perhaps */
    usec forgets_from;  /* when it could be, first; 0: never */
    bool killed;        /* TORTURED: the one kill has been */
    bool jumps;         /* the wall clock may jump */
    usec end;           /* of the chatting phase */
    usec drained_until; /* give up then */
    bool done;
} chat;

/* --- accounts: an actor on the node that writes them once -------------------------------------------------------------------------- */

typedef struct setup_state {
    chat *c;
    rt_timer timer;
} setup_state;

static void derive(const sim_account *a, digest_alg alg, uint32_t iterations, store_keys *out) {
    xmpp_scram_keys k;
    char salt[SIM_CLIENT_TEXT + 8];
    (void)snprintf(salt, sizeof salt, "salt%s", a->user); /* fits */
    xmpp_scram_derive(alg, slice_str(a->password), slice_str(salt), iterations, &k);
    *out = (store_keys){.iterations = k.iterations, .salt_len = k.salt_len, .key_len = (uint8_t)digest_len(alg)};
    memcpy(out->salt, k.salt, k.salt_len);
    memcpy(out->stored_key, k.stored_key, out->key_len);
    memcpy(out->server_key, k.server_key, out->key_len);
}

static err setup_try(rt_ctx *cx, void *st, rt_timer *t) {
    setup_state *s = st;
    rt_pid keyed = rt_name_find(cx, STORE_KEYED_NAME);
    rt_timer_set(cx, t, rt_now(cx) + USEC_PER_SEC); /* again, if no answer comes */
    if (!rt_pid_ok(keyed)) return ERR_OK;
    store_ops *ops = store_ops_new();
    for (uint32_t i = 0; i < s->c->n_accounts; i++) {
        char jid[2 * SIM_CLIENT_TEXT];
        (void)snprintf(jid, sizeof jid, "%s@%s", s->c->account[i].user, SIM_DOMAIN); /* fits */
        store_ops_user_add(ops, slice_str(jid), &s->c->sha1[i], &s->c->sha256[i], rt_wall(cx));
    }
    rt_msg *m = rt_msg_new(cx, KEYED_WRITE, sizeof(keyed_write));
    keyed_write_of(m)->ops = store_ops_box(ops);
    rt_send(cx, keyed, &m);
    return ERR_OK;
}

static void start_clients(chat *c) {
    c->accounts_ready = true;
    sim_world_log(&c->w, "accounts are there");
    for (uint32_t i = 0; i < c->n_clients; i++) sim_client_start(&c->client[i]);
    c->end += c->w.now;
}

static err setup_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx;
    setup_state *s = st;
    if (RT_TAG(*m) != KEYED_WRITTEN) return ERR_OK;
    err status = keyed_written_of(*m)->status;
    if (status == ERR_OK || status == ERR_EXISTS) {
        if (!s->c->accounts_ready) start_clients(s->c);
        return ERR_SHUTDOWN;
    }
    return ERR_OK; /* the timer tries again */
}

static err setup_init(rt_ctx *cx, void *st, const void *arg) {
    setup_state *s = st;
    memcpy(&s->c, arg, sizeof s->c);
    rt_timer_set(cx, &s->timer, rt_now(cx) + 10 * USEC_PER_MSEC);
    return ERR_OK;
}

static const rt_class setup_class = {
    .name = "sim-setup", .state_size = sizeof(setup_state), .init = setup_init, .handle = setup_handle, .timer = setup_try};

static void spawn_setup(rt_ctx *cx, void *arg) {
    rt_pid pid;
    if (rt_spawn(cx, &setup_class, &arg, 0, &pid, NULL)) panic("the setup actor does not start");
}

static void broken(chat *c) { history_chat_add(&c->history, &(history_chat_record){.at = c->w.now, .kind = HISTORY_FAULT}); }

static void on_up(void *arg, sim_node *n) {
    chat *c = arg;
    if (n->boots > 1) broken(c);
    sim_node_log_to(n->rt, &c->w);
    if (c->watched) sim_watch_up(&c->watch);
    if (!c->accounts_ready) {
        rt_node_boot(n->rt, 0, spawn_setup, c);
        sim_node_poke(n);
    }
}

/* --- faults ------------------------------------------------------------------------------------------------------------------------- */

static void forgetful(chat *c) {
    if (!c->forgets_from) c->forgets_from = c->w.now;
}

static void fault(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    chat *c = arg;
    if (c->habits.draining) return;
    sim_host *h = &c->node.host;
    if (c->accounts_ready) {
        sim_death how = sim_world_chance(w, 1, 2) ? SIM_POWER : SIM_KILLED;
        h->disk.faults = (sim_disk_faults){0}; /* the last ones are over */
        h->disk.capacity = 0;
        h->sock_faults = 0;
        switch (sim_world_below(w, 8)) {
        case 0: sim_node_crash(&c->node, how); break;
        case 1:
        case 2: sim_node_crash_soon(&c->node, how, 1 + (uint32_t)sim_world_below(w, 60)); break;
        case 3: h->disk.faults.sync_eio = 20000; break;
        case 4: /* either a disk that fails now and then, or one that can hardly be read */
            h->disk.faults.write_eio = sim_world_chance(w, 1, 2) ? 10000 : 0;
            h->disk.faults.read_eio = h->disk.faults.write_eio ? 10000 : 300000;
            break;
        case 5: forgetful(c), c->filled = true, h->disk.capacity = h->disk.used + sim_world_below(w, 200000); break;
        case 6: h->sock_faults = 20000; break;
        default: h->wall_shift += c->jumps ? sim_world_between(w, -2, 2) * 1000 * USEC_PER_SEC : 0; break;
        }
    }
    sim_world_at(w, w->now + sim_world_latency(w, 40 * USEC_PER_SEC, 400 * USEC_PER_SEC), fault, c, 0);
}

/* Does somebody wait for answers to as many messages as are under way in a burst? */
static bool under_way(const chat *c) {
    for (uint32_t i = 0; i < c->n_clients; i++)
        if (c->client[i].n_unanswered >= RESTLESS_BURST / 2) return true;
    return false;
}

static void death(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    chat *c = arg;
    if (c->habits.draining) return;
    if (c->restless && !under_way(c)) {
        sim_world_at(w, w->now + RESTLESS_WAKE, death, c, 0);
        return;
    }
    if (c->accounts_ready) {
        sim_node_kill_actor(&c->node, c->restless ? "part" : NULL);
        broken(c);
    }
    usec pause = c->restless ? RESTLESS_PAUSE : 20 * USEC_PER_SEC;
    sim_world_at(w, w->now + sim_world_latency(w, pause, 10 * pause), death, c, 0);
}

/* --- the end -------------------------------------------------------------------------------------------------------------------------- */

static void drain(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    chat *c = arg;
    sim_world_at(w, w->now + USEC_PER_SEC, drain, c, 0);
    if (c->watched) sim_watch_look(&c->watch);
    if (c->accounts_ready && c->tortured && !c->killed && w->now > c->end - SECONDS_TORTURE / 2 * USEC_PER_SEC && c->node.rt) {
        c->killed = true;
        sim_node_crash(&c->node, SIM_KILLED);
    }
    if (!c->accounts_ready || w->now < c->end) return;
    if (!c->habits.draining) {
        sim_world_log(w, "draining");
        c->habits.draining = true;
        c->node.host.disk.faults = (sim_disk_faults){0};
        c->node.host.disk.capacity = 0;
        c->node.host.sock_faults = 0;
        c->node.host.fuse = 0;
        c->drained_until = w->now + DRAIN_MAX;
    }
    usec newest = c->end;
    const sim_client *late = NULL;
    for (uint32_t i = 0; i < c->n_clients; i++) {
        const sim_client *x = &c->client[i];
        if (!sim_client_settled(x)) late = x;
        if (x->last_received > newest) newest = x->last_received;
        if (x->since > newest) newest = x->since;
    }
    c->done = !late && w->now - newest > QUIET;
    if (w->now > c->drained_until && late)
        sim_world_fail(w, "client %u does not settle: state %d for %lld s, %u unanswered, last trouble: %s", late->number, (int)late->state,
                       (long long)((w->now - late->since) / USEC_PER_SEC), late->n_unanswered, late->trouble);
    else if (w->now > c->drained_until)
        sim_world_fail(w, "messages still come an hour after everybody stopped");
}

static void judge(chat *c, history_chat_verdict *v) {
    /* A full disk gives up segments in which nothing lives, with the origin-ids that a restart would find there (docs/promises.md, 4). Of a
     * single call that fails it is not known when it did. */
    bool full = c->filled || c->node.host.fault.error == ERR_NOSPC;
    if (full && !c->forgets_from) c->forgets_from = SIM_START;
    history_chat_cfg k = {.drained = true,
                          .answered = true,
                          .faults = !c->calm,
                          .refusals = full,
                          .dedup_window = DEDUP_WINDOW - 60 * USEC_PER_SEC,
                          .forgets_from = c->forgets_from,
                          .window = UNACKED_MAX};
    if (!history_chat_judge(&c->history, &k, NULL, NULL, v)) {
        usec at = v->first.record < c->history.n ? c->history.r[v->first.record].at : c->w.now;
        sim_world_fail(&c->w, "%s (at %.6f)", v->first.text, (double)(at - SIM_START) / (double)USEC_PER_SEC);
    }
}

/* Who watched has seen messages all the way, and that none was told or delivered too early. */
static void judge_watch(chat *c) {
    const sim_watch *x = &c->watch;
    sim_watch_look(&c->watch);
    if (c->calm && x->durable >= WATCHED_FEW && x->reached == 0)
        sim_world_fail(&c->w, "of %llu durable messages of %s none is seen to reach anybody by its trace id",
                       (unsigned long long)x->durable, x->subject);
}

static void people(chat *c) {
    c->n_accounts = c->tortured ? ACCOUNTS_TORTURE : 2 + (uint32_t)sim_world_below(&c->w, ACCOUNTS_MAX - 2);
    uint32_t iterations = c->tortured ? ITERATIONS_TORTURE : ITERATIONS;
    for (uint32_t i = 0; i < c->n_accounts; i++) {
        sim_account *a = &c->account[i];
        a->number = i;
        (void)snprintf(a->user, sizeof a->user, "user%u", i);       /* fits */
        (void)snprintf(a->password, sizeof a->password, "pw%u", i); /* fits */
        derive(a, DIGEST_SHA1, iterations, &c->sha1[i]);
        derive(a, DIGEST_SHA256, iterations, &c->sha256[i]);
        for (uint64_t n = 1 + (sim_world_chance(&c->w, 1, 2) ? sim_world_below(&c->w, c->tortured ? 2 : 3) : 0);
             n && c->n_clients < CLIENTS_MAX; n--, c->n_clients++)
            sim_client_init(&c->client[c->n_clients], &c->w, &c->net, &c->history, &c->habits, a, c->n_clients);
    }
    for (uint32_t i = 0; i < c->n_clients; i++) {
        if (c->calm) c->client[i].sm = true; /* without 0198 a goodbye cannot say what was read, and it comes again */
        c->client[i].all = c->account;
        c->client[i].n_accounts = c->n_accounts;
        c->client[i].clients = c->client;
        c->client[i].n_clients = c->n_clients;
    }
}

static void habits(chat *c) {
    sim_host_address(1, &c->habits.server);
    c->habits.server_tls = c->habits.server;
    c->habits.server.port = SIM_PORT;
    c->habits.server_tls.port = SIM_PORT_TLS;
    c->habits.domain = SIM_DOMAIN;
    c->habits.act = sim_world_between(&c->w, 200 * USEC_PER_MSEC, 5 * USEC_PER_SEC);
    c->habits.offline = sim_world_between(&c->w, USEC_PER_SEC, 30 * USEC_PER_SEC);
    c->habits.offline_rare = 1200 * USEC_PER_SEC;
    c->habits.hundred_send = 40;
    c->habits.hundred_clean = c->habits.hundred_reset = c->habits.hundred_silent = 2;
    c->habits.hundred_pause = c->habits.hundred_cut = 2;
    c->habits.burst = c->restless ? RESTLESS_BURST : 4;
    c->habits.calm = c->calm;
    if (c->restless) {
        c->habits.act = sim_world_between(&c->w, 20 * USEC_PER_MSEC, 500 * USEC_PER_MSEC);
        c->habits.offline = sim_world_between(&c->w, USEC_PER_SEC, 3 * USEC_PER_SEC);
        c->habits.hundred_send = 70;
    }
    if (!c->tortured) return;
    c->habits.act = sim_world_between(&c->w, 200 * USEC_PER_MSEC, 600 * USEC_PER_MSEC);
    c->habits.offline = 2 * USEC_PER_SEC;
    c->habits.offline_rare = 5 * USEC_PER_SEC;
    c->habits.hundred_send = 70;
}

void sim_scenario_chat(const sim_run_cfg *cfg, sim_result *out) {
    chat *c = mem_zalloc(sizeof *c);
    history_chat_verdict v = {0};
    sim_world_init(&c->w, cfg->seed);
    c->w.verbose = cfg->verbose;
    sim_net_init(&c->net, &c->w);
    history_chat_init(&c->history);
    c->tortured = cfg->fail_nth != 0;
    c->calm = !c->tortured && (cfg->calm || sim_world_chance(&c->w, 1, 6));
    c->jumps = !c->calm && !c->tortured && sim_world_chance(&c->w, 1, 6);
    c->restless = cfg->seed % 5 == 3 && !c->calm && !c->tortured; /* not drawn, as watched below */
    habits(c);
    people(c);
    sim_node_init(&c->node, &c->w, &c->net, 1, "data", cfg->boot, cfg->boot_arg);
    c->node.host.survives_eio = true;
    if (c->restless) c->node.pace.wake = RESTLESS_WAKE, c->node.pace.wake_rare = RESTLESS_WAKE_RARE;
    c->watched = cfg->seed % 2 == 1 && !c->tortured; /* not drawn: the other choices of a seed stay what they are */
    sim_watch_init(&c->watch, &c->node, "user0@" SIM_DOMAIN);
    c->node.unboot = cfg->unboot;
    c->node.up = on_up;
    c->node.hook_arg = c;
    c->end = (c->tortured ? SECONDS_TORTURE : cfg->ops ? cfg->ops : c->restless ? SECONDS_RESTLESS : SECONDS_DEFAULT) * USEC_PER_SEC;
    if (c->tortured) sim_fault_plan(&c->node.host.fault, cfg->fail_nth, cfg->seed);
    if (!cfg->boot)
        sim_world_fail(&c->w, "this scenario needs the program's way to make a node");
    else
        sim_node_start(&c->node);
    bool faults = !c->calm && !c->tortured;
    if (faults) sim_world_at(&c->w, c->w.now + 20 * USEC_PER_SEC, fault, c, 0);
    if (faults && (sim_world_chance(&c->w, 1, 2) || c->restless)) sim_world_at(&c->w, c->w.now + 25 * USEC_PER_SEC, death, c, 0);
    sim_world_at(&c->w, c->w.now + USEC_PER_SEC, drain, c, 0);
    while (!c->done && !c->w.failed && sim_world_step(&c->w)) {
    }
    if (!c->w.failed) judge(c, &v);
    if (!c->w.failed && c->watched) judge_watch(c);
    if (cfg->on_history) cfg->on_history(cfg->history_arg, &c->history);
    uint64_t logins = 0, resumed = 0, crashes = c->node.crashes;
    for (uint32_t i = 0; i < c->n_clients; i++) logins += c->client[i].logins, resumed += c->client[i].resumptions;
    if (c->tortured) {
        sim_node_quit(&c->node);
        sim_scenario_calls(&c->node.host.fault, out);
        out->ended = crashes - c->killed;
    } else {
        sim_node_stop(&c->node);
    }
    sim_scenario_finish(
        &c->w, out,
        "%u clients of %u accounts%s, %llu sent, %llu acked, %llu refused, %llu received, %llu doubled, %llu crossed, %llu "
        "copy only, %llu carbons, %llu logins, %llu resumed, %llu crashes, %llu actors killed, %llu traced, %llu to the end",
        c->n_clients, c->n_accounts, c->calm ? ", calm" : "", (unsigned long long)v.sent, (unsigned long long)v.acked,
        (unsigned long long)v.refused, (unsigned long long)v.received, (unsigned long long)v.doubled, (unsigned long long)v.crossed,
        (unsigned long long)v.copy_only, (unsigned long long)v.carbons, (unsigned long long)logins, (unsigned long long)resumed,
        (unsigned long long)crashes, (unsigned long long)c->node.kills, (unsigned long long)c->watch.began,
        (unsigned long long)c->watch.acked);
    for (uint32_t i = 0; i < c->n_clients; i++) sim_client_fini(&c->client[i]);
    sim_watch_fini(&c->watch);
    sim_node_fini(&c->node);
    history_chat_fini(&c->history);
    sim_net_fini(&c->net);
    sim_world_fini(&c->w);
    mem_free(c);
}
