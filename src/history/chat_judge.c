/* chat_judge: one pass over a history, with a row for each message.
 *
 * A message is (client, seq); sending it again with the same number is the same message. The rules are those of chat.h's violations; each
 * is judged at the record that breaks it, the ones about absence and about refusals at the end, and judging goes on after a breach.
 *
 * Refusals: of a message sent again the last answer counts, and an error then says nothing about the sendings before it.
 *
 * Order is that of first deliveries. An account with one client must see each sender's numbers ascend, come what may; and within one of
 * its connections all numbers, also of what comes again. Where an account has several clients, their connections race, and what one of
 * them took with it when it went is given to another later, behind newer ones; so there, each client's own session is looked at, and in
 * it the messages to the bare address that were sent when that session had been there for SETTLE: those were its own from the start.
 *
 * Where refusals may get lost (cfg.refusals), one that was sent again may have been refused before, and is then accepted behind others.
 *
 * A carbon copy is a delivery (any of the account's clients), but copy_only counts those that came in no other way.
 *
 * Duplicates: within a session of a receiving client none, ever; across sessions only when something broke. After a connection broke and
 * no FAULT came since the first receipt, only what was unacknowledged may come again, cfg.window messages.
 *
 * It uses base alone, and trusts nothing: numbers out of range are inventions. */
#include "base/hash.h"
#include "base/mem.h"
#include "history/chat.h"

#include <stdarg.h>
#include <stdio.h>

#define SETTLE (180 * USEC_PER_SEC) /* longer than any delay: the server knows the session and its presence */

typedef struct message {
    bool sent, direct, once, again, acked, refused, received, copied, had;
    uint32_t account;
    uint64_t body, from, stanza_id;
    usec first_sent, last_sent;
    size_t sent_at;      /* record of the first sending */
    size_t refused_at;   /* record of the newest refusal */
    size_t last_receipt; /* 1 + index of the newest RECV record; 0: none. The chain goes on in receipt.prev */
    uint64_t forgot;     /* judge.forgot at the first sending */
} message;

typedef struct receipt { /* by record, of RECV */
    size_t prev;         /* 1 + index of the receipt of the same message before it; 0: none */
    uint64_t session;    /* of the receiving client, counted */
    uint64_t faults;     /* until then */
} receipt;

typedef struct client {
    uint64_t first;                    /* index of its message 1 in judge.m */
    uint32_t count;                    /* highest seq that it sent */
    uint64_t session;                  /* sessions so far */
    usec session_at;                   /* when the present one began */
    uint64_t again_break, again_fault; /* received again in this connection: no fault since the last time, or one */
} client;

typedef struct id_row { /* stanza-id -> message */
    hmap_node node;
    uint64_t message;
} id_row;

typedef struct judge {
    const history_chat *h;
    const history_chat_cfg *c;
    history_chat_verdict *v;
    void (*on_breach)(void *arg, const history_chat_breach *);
    void *arg;
    size_t at;       /* record being judged */
    uint64_t forgot; /* faults since cfg.forgets_from, until then */
    message *m;
    receipt *receipts;
    client *clients;
    uint32_t *devices; /* by account: how many clients it has */
    uint32_t *newest;  /* by (receiving client, sender): highest seq received, in this session if the account has several clients */
    uint32_t *here;    /* the same, in this connection */
    hmap ids;
} judge;

const char *history_chat_name(history_chat_violation v) {
    static const char *const name[HISTORY_VIOLATIONS] = {"fine",       "lost",        "unanswered",   "invented", "altered",
                                                         "forged",     "misdirected", "refused-sent", "no-id",    "id-shared",
                                                         "id-changed", "reordered",   "doubled",      "window"};
    return v < HISTORY_VIOLATIONS ? name[v] : "?";
}

static bool PRINTF_LIKE(3, 4) wrong(judge *k, history_chat_violation what, const char *fmt, ...) {
    history_chat_breach b = {.what = what, .record = k->at};
    int n = snprintf(b.text, sizeof b.text, "%s: ", history_chat_name(what));
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(b.text + n, sizeof b.text - (size_t)n, fmt, ap); /* a long one is cut */
    va_end(ap);
    if (!k->v->breaches++) k->v->first = b;
    if (k->on_breach) k->on_breach(k->arg, &b);
    return false;
}

#define NAME_MAX_ 96
typedef struct label {
    char text[NAME_MAX_];
} label;

static const char *who(const judge *k, uint32_t c) { return c < k->h->n_clients ? k->h->clients[c].name : "nobody"; }

/* What the message is called: its id, or its sender and number. Cut if long. */
static label called(const judge *k, uint32_t sender, uint32_t seq) {
    label l;
    const history_chat_row *c = sender < k->h->n_clients ? &k->h->clients[sender] : &k->h->nobody;
    if (seq && seq <= c->n_ids)
        (void)snprintf(l.text, sizeof l.text, "%s", c->ids[seq - 1]);
    else
        (void)snprintf(l.text, sizeof l.text, "%s #%u", who(k, sender), seq);
    return l;
}

static uint32_t account_of(const judge *k, uint32_t c) { return k->h->clients[c].account; }
static bool alone(const judge *k, uint32_t c) { return k->devices[account_of(k, c)] == 1; }
/* Two sendings so far apart are two messages, as far as the contract goes; so are those between which the server could forget. It takes the
 * second in some time after it was sent, so a fault until now counts. */
static bool is_two(const judge *k, const message *m) {
    return m->again && (m->last_sent - m->first_sent >= k->c->dedup_window || k->forgot > m->forgot);
}

static message *find(judge *k, uint32_t sender, uint32_t seq) {
    if (sender >= k->h->n_clients || seq == 0 || seq > k->clients[sender].count) return NULL;
    message *m = &k->m[k->clients[sender].first + seq - 1];
    return m->sent ? m : NULL;
}

static bool on_send(judge *k, const history_chat_record *r) {
    if (r->seq == 0 || r->account >= k->h->n_accounts)
        return wrong(k, HISTORY_INVENTED, "%s sent a message without a number", who(k, r->client));
    message *m = &k->m[k->clients[r->client].first + r->seq - 1];
    if (m->sent) {
        k->v->sent_again++;
        m->last_sent = r->at;
        m->again = true;
        m->refused = false;
        return true;
    }
    *m = (message){.sent = true,
                   .direct = r->direct,
                   .once = r->kind == HISTORY_SEND_ONCE,
                   .account = r->account,
                   .body = r->body,
                   .from = r->from,
                   .first_sent = r->at,
                   .last_sent = r->at,
                   .forgot = k->forgot,
                   .sent_at = k->at};
    k->v->sent++;
    return true;
}

static bool on_answer(judge *k, const history_chat_record *r) {
    message *m = r->sender == r->client ? find(k, r->client, r->seq) : NULL;
    if (!m)
        return wrong(k, HISTORY_INVENTED, "%s got an answer to %s, which it never sent", who(k, r->client),
                     called(k, r->sender, r->seq).text);
    if (r->kind == HISTORY_ACKED) {
        m->acked = true;
    } else {
        m->refused = true;
        m->refused_at = k->at;
    }
    return true;
}

/* What holds for every copy of a message, direct or carbon. False: it is none that can be judged further. */
static bool on_copy(judge *k, const history_chat_record *r, message **out) {
    message *m = find(k, r->sender, r->seq);
    label name = called(k, r->sender, r->seq);
    if (!m) return wrong(k, HISTORY_INVENTED, "%s received %s, which nobody sent", who(k, r->client), name.text);
    uint32_t owner = r->kind == HISTORY_CARBON_SENT ? account_of(k, r->sender) : m->account;
    if (account_of(k, r->client) != owner)
        return wrong(k, HISTORY_MISDIRECTED, "%s received %s, which is not for it", who(k, r->client), name.text);
    *out = m;
    if (m->body != r->body) (void)wrong(k, HISTORY_ALTERED, "%s received %s with other content", who(k, r->client), name.text);
    if (m->from != r->from)
        (void)wrong(k, HISTORY_FORGED, "%s received %s as from somebody else than %s", who(k, r->client), name.text, who(k, r->sender));
    return true;
}

static bool check_id(judge *k, const history_chat_record *r, message *m, uint64_t index) {
    label name = called(k, r->sender, r->seq);
    if (!r->stanza_id) return wrong(k, HISTORY_NO_ID, "%s received %s without one id of the server", who(k, r->client), name.text);
    if (m->stanza_id && m->stanza_id != r->stanza_id && !is_two(k, m))
        (void)wrong(k, HISTORY_ID_CHANGED, "%s received %s under a second id of the server", who(k, r->client), name.text);
    for (hmap_node *n = hmap_find(&k->ids, r->stanza_id); n; n = hmap_find_next(n))
        return container_of(n, id_row, node)->message == index
                   ? true
                   : wrong(k, HISTORY_ID_SHARED, "%s received %s under the server's id of another message", who(k, r->client), name.text);
    id_row *row = mem_alloc(sizeof *row);
    row->message = index;
    hmap_insert(&k->ids, &row->node, r->stanza_id);
    m->stanza_id = r->stanza_id;
    return true;
}

static void check_doubled(judge *k, const history_chat_record *r, const message *m) {
    client *c = &k->clients[r->client];
    for (size_t at = m->last_receipt; at; at = k->receipts[at - 1].prev) {
        const history_chat_record *b = &k->h->r[at - 1];
        const receipt *before = &k->receipts[at - 1];
        if (b->client != r->client) continue;
        k->v->doubled++;
        ++*(before->faults == k->v->faults ? &c->again_break : &c->again_fault);
        if (!is_two(k, m) && (!k->c->faults || before->session == c->session))
            (void)wrong(k, HISTORY_DOUBLED, "%s received %s again%s", who(k, r->client), called(k, r->sender, r->seq).text,
                        before->session == c->session ? " in one session" : "");
        return;
    }
}

static void check_order(judge *k, const history_chat_record *r, const message *m, bool first) {
    size_t pair = (size_t)r->client * k->h->n_clients + r->sender;
    uint32_t *newest = &k->newest[pair], *here = &k->here[pair];
    bool own = !m->direct && m->first_sent > k->clients[r->client].session_at + SETTLE, one = alone(k, r->client);
    bool excused = k->c->refusals && m->again;
    if (first && r->seq < *newest && (one || own) && !excused)
        (void)wrong(k, HISTORY_REORDERED, "%s received %s first after %s", who(k, r->client), called(k, r->sender, r->seq).text,
                    called(k, r->sender, *newest).text);
    else if (r->seq < *here && one && !excused && !is_two(k, m))
        (void)wrong(k, HISTORY_REORDERED, "%s received %s after %s in one connection", who(k, r->client), called(k, r->sender, r->seq).text,
                    called(k, r->sender, *here).text);
    k->v->crossed += first && r->seq < *newest;
    if (r->seq > *newest) *newest = r->seq;
    if (r->seq > *here) *here = r->seq;
}

static void on_recv(judge *k, const history_chat_record *r) {
    message *m = NULL;
    if (!on_copy(k, r, &m)) return;
    k->v->received++;
    (void)check_id(k, r, m, (uint64_t)(m - k->m));
    check_doubled(k, r, m);
    check_order(k, r, m, !m->last_receipt);
    k->receipts[k->at] = (receipt){.prev = m->last_receipt, .session = k->clients[r->client].session, .faults = k->v->faults};
    m->last_receipt = k->at + 1;
    m->received = true;
}

static void on_copied(judge *k, const history_chat_record *r) {
    message *m = NULL;
    if (r->kind != HISTORY_HAD) {
        k->v->carbons++;
        if (on_copy(k, r, &m)) m->copied |= r->kind == HISTORY_CARBON;
        return;
    }
    m = find(k, r->sender, r->seq);
    if (m && m->account == account_of(k, r->client)) m->had = true;
}

static void end_connection(judge *k, uint32_t number) {
    client *c = &k->clients[number];
    if (c->again_break > k->v->worst_after_break) k->v->worst_after_break = c->again_break;
    if (c->again_fault > k->v->worst_after_fault) k->v->worst_after_fault = c->again_fault;
    if (k->c->window && c->again_break > k->c->window)
        (void)wrong(k, HISTORY_WINDOW, "%s received %llu messages again in one connection; at most %u may have been unacknowledged",
                    who(k, number), (unsigned long long)c->again_break, k->c->window);
    c->again_break = c->again_fault = 0;
}

static void on_connection(judge *k, const history_chat_record *r) {
    size_t row = (size_t)r->client * k->h->n_clients;
    end_connection(k, r->client);
    k->v->connections++;
    memset(&k->here[row], 0, k->h->n_clients * sizeof *k->here);
    if (r->kind == HISTORY_RESUMED) {
        k->v->resumed++;
        return;
    }
    k->clients[r->client].session++;
    k->clients[r->client].session_at = r->at;
    if (!alone(k, r->client)) memset(&k->newest[row], 0, k->h->n_clients * sizeof *k->newest);
}

static void on_record(judge *k, const history_chat_record *r) {
    if (r->client >= k->h->n_clients && r->kind != HISTORY_FAULT) {
        (void)wrong(k, HISTORY_INVENTED, "a record of client %u, which is none", r->client);
        return;
    }
    switch (r->kind) {
    case HISTORY_SEND:
    case HISTORY_SEND_ONCE: (void)on_send(k, r); break;
    case HISTORY_ACKED:
    case HISTORY_REFUSED: (void)on_answer(k, r); break;
    case HISTORY_RECV: on_recv(k, r); break;
    case HISTORY_CARBON:
    case HISTORY_CARBON_SENT:
    case HISTORY_HAD: on_copied(k, r); break;
    case HISTORY_SESSION:
    case HISTORY_RESUMED: on_connection(k, r); break;
    case HISTORY_FAULT:
        k->v->faults++;
        k->forgot += k->c->forgets_from && r->at >= k->c->forgets_from;
        break;
    case HISTORY_CHAT_KINDS: (void)wrong(k, HISTORY_INVENTED, "a record of no kind"); break;
    }
}

static void at_end_one(judge *k, uint32_t sender, uint32_t seq, const message *m) {
    bool arrived = m->received || m->copied || m->had;
    k->v->acked += m->acked;
    k->v->refused += m->refused;
    k->v->copy_only += m->acked && !m->received && m->copied;
    if (m->refused && !m->again && m->received) {
        k->at = m->refused_at;
        (void)wrong(k, HISTORY_REFUSED_SENT, "%s of %s was answered with an error and arrived", called(k, sender, seq).text,
                    who(k, sender));
    }
    k->at = m->sent_at;
    if (k->c->drained && m->acked && !m->refused && !arrived)
        (void)wrong(k, HISTORY_LOST, "%s of %s was acked and never arrived", called(k, sender, seq).text, who(k, sender));
    if (k->c->answered && !m->once && !m->acked && !m->refused)
        (void)wrong(k, HISTORY_UNANSWERED, "%s of %s was neither acked nor refused", called(k, sender, seq).text, who(k, sender));
}

static void at_end(judge *k) {
    for (uint32_t c = 0; c < k->h->n_clients; c++) {
        k->at = k->h->n - 1; /* there is a client, so there is a record of it */
        end_connection(k, c);
        for (uint32_t seq = 1; seq <= k->clients[c].count; seq++) {
            const message *m = find(k, c, seq);
            if (m) at_end_one(k, c, seq, m);
        }
    }
}

static void number(judge *k) {
    uint64_t total = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const history_chat_record *r = &k->h->r[i];
        if ((r->kind == HISTORY_SEND || r->kind == HISTORY_SEND_ONCE) && r->client < k->h->n_clients &&
            r->seq > k->clients[r->client].count)
            k->clients[r->client].count = r->seq;
    }
    for (uint32_t c = 0; c < k->h->n_clients; c++) {
        k->clients[c].first = total;
        total += k->clients[c].count;
        k->devices[k->h->clients[c].account]++;
    }
    k->m = mem_zalloc((size_t)total * sizeof *k->m + 1);
}

bool history_chat_judge(const history_chat *h, const history_chat_cfg *c, void (*on_breach)(void *arg, const history_chat_breach *),
                        void *arg, history_chat_verdict *out) {
    *out = (history_chat_verdict){0};
    judge k = {.h = h, .c = c, .v = out, .on_breach = on_breach, .arg = arg};
    size_t pairs = (size_t)h->n_clients * h->n_clients;
    k.clients = mem_zalloc(h->n_clients * sizeof *k.clients + 1);
    k.devices = mem_zalloc(h->n_accounts * sizeof *k.devices + 1);
    k.newest = mem_zalloc(pairs * sizeof *k.newest + 1);
    k.here = mem_zalloc(pairs * sizeof *k.here + 1);
    k.receipts = mem_zalloc(h->n * sizeof *k.receipts + 1);
    hmap_init(&k.ids);
    number(&k);
    for (k.at = 0; k.at < h->n; k.at++) on_record(&k, &h->r[k.at]);
    at_end(&k);
    for (hmap_node *n = hmap_first(&k.ids), *next; n; n = next) {
        next = hmap_next(&k.ids, n);
        mem_free(container_of(n, id_row, node));
    }
    hmap_fini(&k.ids);
    mem_free(k.clients), mem_free(k.devices), mem_free(k.newest), mem_free(k.here), mem_free(k.receipts), mem_free(k.m);
    return out->breaches == 0;
}
