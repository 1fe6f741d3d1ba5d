/* checker: one pass over a history, with a row for each message.
 *
 * A message is (client, seq); sending it again with the same number is the same message. The rules are those of checker.h's violations;
 * each is judged at the record that breaks it, the ones about absence at the end.
 *
 * Order (contract 5) is that of first deliveries. An account with one client must see each sender's numbers ascend, come what may. Where an
 * account has several, their connections race, and what one of them took with it when it went is given to another later, behind newer
 * ones; so there, each client's own session is looked at, and in it the messages to the bare JID that were sent when that session had
 * been there for SETTLE: those were its own from the start.
 * A carbon copy is a delivery (contract 3: any of the account's resources), but copy_only counts those that came in no other way.
 * Duplicates (R8): within a session of a receiving client none, ever; across sessions only when something broke.
 *
 * It uses base alone, and trusts nothing: numbers out of range are inventions. */
#include "sim/checker.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define SETTLE (180 * USEC_PER_SEC) /* longer than any delay: the server knows the session and its presence */

typedef struct message {
    bool sent, direct, once, acked, refused, received, copied;
    uint32_t account;
    uint64_t body, from, stanza_id;
    usec first_sent, last_sent;
    size_t last_receipt; /* 1 + index of the newest RECV record; 0: none. The chain goes on in prev */
} message;

typedef struct id_row { /* stanza-id -> message */
    hmap_node node;
    uint64_t message;
} id_row;

typedef struct checker {
    const sim_history *h;
    const sim_check_cfg *c;
    sim_verdict *v;
    size_t at; /* record being judged */
    message *m;
    uint64_t *first;    /* by client: index of its message 1 in m */
    uint32_t *count;    /* by client: highest seq it sent */
    size_t *prev;       /* by record: 1 + index of the receipt of the same message before it */
    uint64_t *session;  /* by record: session count of the receiving client then */
    uint64_t *sessions; /* by client: sessions so far */
    usec *session_at;   /* by client: when the present one began */
    uint32_t *clients;  /* by account: how many it has */
    uint32_t *newest;   /* by (sender, receiving client): highest seq received, in this session if the account has several clients */
    hmap ids;
} checker;

const char *sim_checker_name(sim_violation v) {
    static const char *const name[SIM_VIOLATIONS] = {"fine",       "lost",        "unanswered",   "invented", "altered",
                                                     "forged",     "misdirected", "refused-sent", "no-id",    "id-shared",
                                                     "id-changed", "reordered",   "doubled"};
    return v < SIM_VIOLATIONS ? name[v] : "?";
}

static bool PRINTF_LIKE(3, 4) wrong(checker *k, sim_violation what, const char *fmt, ...) {
    k->v->what = what;
    k->v->record = k->at;
    int n = snprintf(k->v->text, sizeof k->v->text, "%s: ", sim_checker_name(what));
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(k->v->text + n, sizeof k->v->text - (size_t)n, fmt, ap); /* a long one is cut */
    va_end(ap);
    return false;
}

static message *find(checker *k, uint32_t client, uint32_t seq) {
    if (client >= k->h->n_clients || seq == 0 || seq > k->count[client]) return NULL;
    message *m = &k->m[k->first[client] + seq - 1];
    return m->sent ? m : NULL;
}

static bool on_send(checker *k, const sim_record *r) {
    message *m = &k->m[k->first[r->client] + r->seq - 1];
    if (m->sent) {
        k->v->sent_again++;
        m->last_sent = r->at;
        return true;
    }
    *m = (message){.sent = true,
                   .direct = r->direct,
                   .once = r->kind == SIM_SEND_ONCE,
                   .account = r->account,
                   .body = r->body,
                   .from = r->from,
                   .first_sent = r->at,
                   .last_sent = r->at};
    k->v->sent++;
    return true;
}

static bool on_answer(checker *k, const sim_record *r) {
    message *m = find(k, r->client, r->seq);
    if (!m) return wrong(k, SIM_INVENTED, "client %u got an answer to %u, which it never sent", r->client, r->seq);
    bool ack = r->kind == SIM_ACKED;
    if (ack)
        k->v->acked += !m->acked, m->acked = true;
    else
        k->v->refused += !m->refused, m->refused = true;
    if (m->refused && m->received) return wrong(k, SIM_REFUSED_SENT, "message %u/%u", r->client, r->seq);
    return true;
}

/* What holds for every copy of a message, direct or carbon. */
static bool on_copy(checker *k, const sim_record *r, message **out) {
    message *m = find(k, r->sender, r->seq);
    if (!m) return wrong(k, SIM_INVENTED, "client %u received message %u/%u, which nobody sent", r->client, r->sender, r->seq);
    if (m->body != r->body || m->account != r->account)
        return wrong(k, SIM_ALTERED, "client %u, message %u/%u", r->client, r->sender, r->seq);
    if (m->from != r->from) return wrong(k, SIM_FORGED, "client %u, message %u/%u", r->client, r->sender, r->seq);
    uint32_t owner = r->kind == SIM_CARBON_SENT ? k->h->account_of[r->sender] : m->account;
    if (k->h->account_of[r->client] != owner)
        return wrong(k, SIM_MISDIRECTED, "client %u of account %u received message %u/%u", r->client, k->h->account_of[r->client],
                     r->sender, r->seq);
    *out = m;
    return true;
}

static bool check_id(checker *k, const sim_record *r, message *m, uint64_t index) {
    if (!r->stanza_id) return wrong(k, SIM_NO_ID, "client %u, message %u/%u", r->client, r->sender, r->seq);
    if (m->stanza_id && m->stanza_id != r->stanza_id) {
        if (m->last_sent - m->first_sent < k->c->dedup_window)
            return wrong(k, SIM_ID_CHANGED, "client %u, message %u/%u", r->client, r->sender, r->seq);
    }
    for (hmap_node *n = hmap_find(&k->ids, r->stanza_id); n; n = hmap_find_next(n))
        return container_of(n, id_row, node)->message == index
                   ? true
                   : wrong(k, SIM_ID_SHARED, "message %u/%u has the stanza-id of another one", r->sender, r->seq);
    id_row *row = mem_alloc(sizeof *row);
    row->message = index;
    hmap_insert(&k->ids, &row->node, r->stanza_id);
    m->stanza_id = r->stanza_id;
    return true;
}

static bool check_doubled(checker *k, const sim_record *r, const message *m) {
    uint64_t now = k->sessions[r->client];
    bool again = m->last_sent - m->first_sent >= k->c->dedup_window; /* sent twice, as far as the contract goes */
    for (size_t at = m->last_receipt; at; at = k->prev[at - 1]) {
        const sim_record *b = &k->h->r[at - 1];
        if (b->client != r->client) continue;
        k->v->doubled++;
        if (!again && (!k->c->faults || k->session[at - 1] == now))
            return wrong(k, SIM_DOUBLED, "client %u, message %u/%u%s", r->client, r->sender, r->seq, k->c->faults ? " in one session" : "");
        return true;
    }
    return true;
}

static bool check_order(checker *k, const sim_record *r, message *m) {
    bool alone = k->clients[m->account] == 1, own = !m->direct && m->first_sent > k->session_at[r->client] + SETTLE;
    uint32_t *newest = &k->newest[(size_t)r->sender * k->h->n_clients + r->client];
    bool first = !k->prev[k->at], excused = k->c->refusals && m->last_sent != m->first_sent;
    m->received = true;
    if (first && r->seq < *newest && (alone || own) && !excused)
        return wrong(k, SIM_REORDERED, "client %u saw message %u/%u after %u", r->client, r->sender, r->seq, *newest);
    k->v->crossed += first && r->seq < *newest;
    if (r->seq > *newest) *newest = r->seq;
    return true;
}

static bool on_recv(checker *k, const sim_record *r) {
    message *m = NULL;
    if (!on_copy(k, r, &m)) return false;
    k->v->received++;
    if (m->refused) return wrong(k, SIM_REFUSED_SENT, "message %u/%u", r->sender, r->seq);
    if (!check_id(k, r, m, (uint64_t)(m - k->m)) || !check_doubled(k, r, m)) return false;
    k->prev[k->at] = m->last_receipt;
    k->session[k->at] = k->sessions[r->client];
    m->last_receipt = k->at + 1;
    return check_order(k, r, m);
}

static void on_session(checker *k, const sim_record *r) {
    k->sessions[r->client]++;
    k->session_at[r->client] = r->at;
    if (k->clients[k->h->account_of[r->client]] == 1) return;
    for (uint32_t s = 0; s < k->h->n_clients; s++) k->newest[(size_t)s * k->h->n_clients + r->client] = 0;
}

static bool on_record(checker *k, const sim_record *r) {
    message *m = NULL;
    if (r->client >= k->h->n_clients) return wrong(k, SIM_INVENTED, "a record of client %u, which is none", r->client);
    switch (r->kind) {
    case SIM_SEND:
    case SIM_SEND_ONCE: return on_send(k, r);
    case SIM_ACKED:
    case SIM_REFUSED: return on_answer(k, r);
    case SIM_RECV: return on_recv(k, r);
    case SIM_CARBON:
    case SIM_CARBON_SENT:
        k->v->carbons++;
        if (!on_copy(k, r, &m)) return false;
        m->copied |= r->kind == SIM_CARBON;
        return true;
    case SIM_SESSION: on_session(k, r); return true;
    }
    return wrong(k, SIM_INVENTED, "a record of no kind");
}

static bool at_end(checker *k) {
    k->at = k->h->n;
    for (uint32_t c = 0; c < k->h->n_clients; c++) {
        for (uint32_t seq = 1; seq <= k->count[c]; seq++) {
            const message *m = find(k, c, seq);
            if (!m) continue;
            k->v->copy_only += m->acked && !m->received && m->copied;
            if (m->acked && !m->refused && !m->received && !m->copied)
                return wrong(k, SIM_LOST, "message %u/%u to account %u was acked", c, seq, m->account);
            if (!m->once && !m->acked && !m->refused) return wrong(k, SIM_UNANSWERED, "message %u/%u to account %u", c, seq, m->account);
        }
    }
    return true;
}

static void number(checker *k) {
    uint64_t total = 0;
    for (size_t i = 0; i < k->h->n; i++) {
        const sim_record *r = &k->h->r[i];
        if ((r->kind == SIM_SEND || r->kind == SIM_SEND_ONCE) && r->client < k->h->n_clients && r->seq > k->count[r->client])
            k->count[r->client] = r->seq;
    }
    for (uint32_t c = 0; c < k->h->n_clients; c++) {
        k->first[c] = total;
        total += k->count[c];
    }
    k->m = mem_zalloc((size_t)total * sizeof *k->m + 1);
}

bool sim_checker_run(const sim_history *h, const sim_check_cfg *c, sim_verdict *out) {
    *out = (sim_verdict){0};
    checker k = {.h = h, .c = c, .v = out};
    k.first = mem_zalloc(h->n_clients * sizeof *k.first + 1);
    k.count = mem_zalloc(h->n_clients * sizeof *k.count + 1);
    k.sessions = mem_zalloc(h->n_clients * sizeof *k.sessions + 1);
    k.newest = mem_zalloc((size_t)h->n_clients * h->n_clients * sizeof *k.newest + 1);
    k.session_at = mem_zalloc(h->n_clients * sizeof *k.session_at + 1);
    k.clients = mem_zalloc(h->n_accounts * sizeof *k.clients + 1);
    for (uint32_t i = 0; i < h->n_clients; i++) k.clients[h->account_of[i]]++;
    k.prev = mem_zalloc(h->n * sizeof *k.prev + 1);
    k.session = mem_zalloc(h->n * sizeof *k.session + 1);
    hmap_init(&k.ids);
    number(&k);
    bool ok = true;
    for (k.at = 0; ok && k.at < h->n; k.at++) ok = on_record(&k, &h->r[k.at]);
    if (ok && c->drained) ok = at_end(&k);
    for (hmap_node *n = hmap_first(&k.ids), *next; n; n = next) {
        next = hmap_next(&k.ids, n);
        mem_free(container_of(n, id_row, node));
    }
    hmap_fini(&k.ids);
    mem_free(k.first), mem_free(k.count), mem_free(k.sessions), mem_free(k.newest), mem_free(k.session_at), mem_free(k.clients);
    mem_free(k.prev), mem_free(k.session), mem_free(k.m);
    return ok;
}
