/* client: connection and habits.
 *
 *     OFFLINE --dial--> ... --> ONLINE --(clean | reset | silent | server)--> OFFLINE
 *
 * Invariants: (1) One tick event of a client counts, that with its newest life. (2) A message leaves unanswered when the server has
 * acknowledged or refused it, never else; messages without an answer are sent again, in order, before any new one. (3) While a connection
 * is down nothing is sent. (4) A client that cannot get online within LOGIN_MAX gives up that connection and tries again. */
#include "sim/client.h"

#include "base/mem.h"
#include "sim/client_private.h"

#include <stdio.h>

#define LOGIN_MAX         (60 * USEC_PER_SEC)
#define LEAVE_MAX         (10 * USEC_PER_SEC)
#define SILENT_ONLINE_MAX (20 * 60 * USEC_PER_SEC)
#define SILENT_ASK        (30 * USEC_PER_SEC)  /* nothing came for so long: ask whether the server is there */
#define SILENT_MAX        (120 * USEC_PER_SEC) /* and give up */
#define UNANSWERED_MAX    40u                  /* a person waits before writing more */
#define HUNDRED           100u

static void tick(sim_world *w, void *arg, uint64_t tag);
static void on_socket(sim_world *w, void *arg, uint64_t tag);

void sim_client_init(sim_client *c, sim_world *w, sim_net *net, history_chat *h, const sim_habits *habits, sim_account *account,
                     uint32_t index) {
    memset(c, 0, sizeof *c);
    c->w = w, c->net = net, c->history = h, c->habits = habits, c->account = account;
    (void)snprintf(c->resource, sizeof c->resource, "r%u", index); /* short */
    (void)snprintf(c->jid, sizeof c->jid, "%s@%s/%s", account->user, habits->domain, c->resource);
    c->number = history_chat_client(h, account->number, slice_str(c->jid));
    c->jid_hash = history_chat_hash(slice_str(c->jid));
    c->ip = (sys_addr){.family = SYS_INET4, .ip = {192, 168, (uint8_t)(index >> 8), (uint8_t)index}, .port = 40000};
    c->out_tail = &c->out;
    c->unanswered_tail = &c->unanswered;
    c->sm = sim_world_chance(w, 3, 4);
    c->carbons = sim_world_chance(w, 1, 2);
    c->direct_tls = habits->server_tls.port && sim_world_chance(w, 1, 4);
    buf_init(&c->in, SIM_CLIENT_BUF_MAX);
    buf_init(&c->wire, SIM_CLIENT_BUF_MAX);
}

void sim_client_fini(sim_client *c) {
    if (c->sock) sim_net_release(&c->sock, SIM_SILENT, USEC_NEVER);
    sim_client_xmpp_forget(c);
    while (c->unanswered) {
        sim_message *m = c->unanswered;
        c->unanswered = m->next;
        mem_free(m);
    }
    sim_tls_client_fini(&c->tls);
    buf_fini(&c->in);
    buf_fini(&c->wire);
}

void sim_client_set(sim_client *c, sim_client_state s) {
    c->state = s;
    c->since = c->w->now;
}

static void tick_at(sim_client *c, usec at) { sim_world_at(c->w, at, tick, c, ++c->life); }

/* --- bytes ------------------------------------------------------------------------------------------------------------------------- */

static void flush(sim_client *c) {
    while (c->sock && c->wire.len) {
        sys_iov iov = {c->wire.p, c->wire.len};
        size_t n = 0;
        err e = sim_net_write(c->sock, &iov, 1, &n);
        if (e == ERR_AGAIN) return; /* wakes when there is room */
        if (e) {
            sim_client_drop(c, SIM_CLOSE, err_name(e));
            return;
        }
        buf_consume(&c->wire, n);
    }
}

void sim_client_write(sim_client *c, const char *text, size_t len) {
    if (!c->sock) return;
    if (c->secure)
        sim_tls_client_write(&c->tls, slice_of(text, len), &c->wire);
    else
        buf_add(&c->wire, slice_of(text, len));
    flush(c);
}

static void wake(void *arg, int fd) {
    (void)fd;
    sim_client *c = arg;
    if (c->awake) return;
    c->awake = true;
    sim_world_at(c->w, c->w->now + sim_world_latency(c->w, 50, 20 * USEC_PER_MSEC), on_socket, c, 0);
}

static void take_bytes(sim_client *c, slice in) {
    if (!c->secure && c->state != SIM_CLIENT_HANDSHAKE) {
        buf_add(&c->in, in);
        return;
    }
    err e = sim_tls_client_read(&c->tls, in, &c->in, &c->wire);
    if (e == ERR_EOF) return; /* the socket says so too */
    if (e) {
        sim_client_drop(c, SIM_CLOSE, "TLS");
        return;
    }
    if (!c->secure && c->tls.done) {
        c->secure = true;
        flush(c);
        if (c->sock) sim_client_xmpp_open(c);
    }
}

static void on_connected(sim_client *c) {
    err e = sim_net_error(c->sock);
    if (e) {
        sim_client_drop(c, SIM_CLOSE, err_name(e));
        return;
    }
    if (!(sim_net_ready(c->sock) & SYS_OUT)) return; /* not yet */
    if (!c->direct_tls) {
        sim_client_xmpp_open(c);
        return;
    }
    sim_client_set(c, SIM_CLIENT_HANDSHAKE);
    sim_tls_client_init(&c->tls, prng_next(&c->w->rng), &c->wire);
    flush(c);
}

static void on_socket(sim_world *w, void *arg, uint64_t tag) {
    (void)tag;
    sim_client *c = arg;
    c->awake = false;
    if (!c->sock) return;
    if (c->state == SIM_CLIENT_DIALING) {
        on_connected(c);
        return;
    }
    if (c->state == SIM_CLIENT_ONLINE && w->now < c->until) return; /* not reading: its tick looks again */
    flush(c);
    uint8_t bytes[4096];
    while (c->sock) {
        size_t n = 0;
        err e = sim_net_read(c->sock, bytes, sizeof bytes, &n);
        if (e == ERR_AGAIN) return;
        if (e) {
            sim_client_drop(c, SIM_CLOSE, err_name(e));
            return;
        }
        c->last_heard = w->now;
        take_bytes(c, slice_of(bytes, n));
        if (c->sock) sim_client_xmpp_input(c);
    }
}

/* --- coming and going ---------------------------------------------------------------------------------------------------------------- */

static void dial(sim_client *c) {
    c->direct_tls = c->habits->server_tls.port && sim_world_chance(c->w, 1, 4);
    c->ip.port++;
    c->secure = c->authed = c->open = c->managed = false;
    buf_fini(&c->in);
    buf_fini(&c->wire);
    sim_client_set(c, SIM_CLIENT_DIALING);
    c->sock =
        sim_net_connect(c->net, &c->ip, c->direct_tls ? &c->habits->server_tls : &c->habits->server, (sim_wake){.fn = wake, .arg = c});
}

void sim_client_drop(sim_client *c, sim_release how, const char *why) {
    sim_world_log(c->w, "client %u: gone: %s", c->number, why);
    (void)snprintf(c->trouble, sizeof c->trouble, "%s", why); /* cut if long */
    usec answer = sim_world_chance(c->w, 1, 2) ? USEC_NEVER : sim_world_between(c->w, USEC_PER_SEC, 300 * USEC_PER_SEC);
    if (c->sock) sim_net_release(&c->sock, how, answer);
    sim_tls_client_fini(&c->tls);
    c->secure = c->managed = false;
    if (!c->smid[0]) sim_client_xmpp_forget(c);
    sim_client_set(c, SIM_CLIENT_OFFLINE);
    usec away = sim_world_latency(c->w, c->habits->offline, c->habits->offline_rare);
    if (c->habits->draining) away = usec_min(away, 5 * USEC_PER_SEC);
    c->until = c->w->now + away;
}

static void cut_a_while(sim_client *c) {
    bool in = sim_world_chance(c->w, 2, 3), out = !in || sim_world_chance(c->w, 1, 2);
    sim_net_cut(c->sock, in, out, c->w->now + sim_world_latency(c->w, 5 * USEC_PER_SEC, 120 * USEC_PER_SEC));
}

static void act_online(sim_client *c) {
    const sim_habits *h = c->habits;
    if (c->w->now < c->until) return;
    wake(c, 0); /* whatever came while it was not reading */
    usec silent = c->w->now - c->last_heard;
    if (silent > SILENT_MAX) {
        sim_client_drop(c, SIM_RESET, "the server is silent");
        return;
    }
    if (silent > SILENT_ASK)
        sim_client_xmpp_ping(c);
    else if (c->managed && (c->unanswered || c->out))
        sim_client_xmpp_ask(c);
    if (!c->sock || c->state != SIM_CLIENT_ONLINE) return;
    uint32_t draw = (uint32_t)sim_world_below(c->w, HUNDRED);
    if (h->draining) return;
    if (draw < h->hundred_send) {
        for (uint32_t n = 1 + (uint32_t)sim_world_below(c->w, h->burst); n && c->sock && c->n_unanswered < UNANSWERED_MAX; n--)
            sim_client_xmpp_message(c);
        return;
    }
    draw -= h->hundred_send;
    if (draw < h->hundred_clean) {
        if (!h->calm || !c->n_unanswered) sim_client_xmpp_leave(c);
        return;
    }
    draw -= h->hundred_clean;
    if (h->calm) return;
    if (draw < h->hundred_reset) {
        sim_client_drop(c, SIM_RESET, "reset by us");
        return;
    }
    draw -= h->hundred_reset;
    if (draw < h->hundred_silent) {
        sim_client_drop(c, SIM_SILENT, "battery is empty");
        return;
    }
    draw -= h->hundred_silent;
    if (draw < h->hundred_pause)
        c->last_heard = c->until = c->w->now + sim_world_latency(c->w, USEC_PER_SEC, 60 * USEC_PER_SEC);
    else if (draw - h->hundred_pause < h->hundred_cut)
        cut_a_while(c);
}

static void tick(sim_world *w, void *arg, uint64_t tag) {
    sim_client *c = arg;
    if (tag != c->life) return;
    switch (c->state) {
    case SIM_CLIENT_OFFLINE:
        if (w->now >= c->until || c->habits->draining) dial(c);
        break;
    case SIM_CLIENT_ONLINE:
        act_online(c);
        if (c->state == SIM_CLIENT_ONLINE && c->unanswered && c->sm && w->now - c->since > SILENT_ONLINE_MAX) {
            c->since = w->now; /* answers have been missing for long: as a person would, begin anew */
            sim_client_drop(c, SIM_RESET, "no answers");
        }
        break;
    case SIM_CLIENT_LEAVING:
        if (w->now - c->since > LEAVE_MAX) sim_client_drop(c, SIM_RESET, "the server does not say goodbye");
        break;
    case SIM_CLIENT_DIALING:
    case SIM_CLIENT_HEADER:
    case SIM_CLIENT_FEATURES:
    case SIM_CLIENT_STARTTLS:
    case SIM_CLIENT_HANDSHAKE:
    case SIM_CLIENT_AUTH:
    case SIM_CLIENT_PROOF:
    case SIM_CLIENT_RESUMING:
    case SIM_CLIENT_BINDING:
    case SIM_CLIENT_ENABLING:
        if (w->now - c->since > LOGIN_MAX) sim_client_drop(c, SIM_RESET, "login takes too long");
        break;
    }
    tick_at(c, w->now + sim_world_latency(w, c->habits->act, 10 * c->habits->act));
}

void sim_client_start(sim_client *c) {
    c->until = c->w->now + sim_world_between(c->w, 0, 3 * USEC_PER_SEC);
    tick_at(c, c->until);
}

bool sim_client_settled(const sim_client *c) {
    return c->state == SIM_CLIENT_ONLINE && (!c->sm || !c->n_unanswered) && c->w->now - c->last_heard < SILENT_MAX / 2;
}
