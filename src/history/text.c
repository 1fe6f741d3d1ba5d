/* text: lines to records. Names become numbers in the order in which they come:
 *
 *     "c" ACCOUNT/DEVICE --> client, and its account        "id" --> (sender, seq), given by the first line "send" with it
 *     "to" ADDRESS --> account                              anything else is a text, of which the hash is kept
 *
 * Invariants: (1) a line that is refused has changed nothing that is judged; (2) an id belongs to one sender, one addressee and one content
 * for ever: whoever reuses it has made a mistake of his own, which is no breach of the server's. */
#include "history/text.h"

#include "base/codec.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "history/json.h"

#include <stdarg.h>
#include <stdlib.h>

#define WHY_MAX   256
#define SHOWN_MAX 80

typedef struct named { /* a client, an account or a message, by its name */
    hmap_node node;
    char *name;
    uint32_t number; /* client, account; of a message its seq */
    uint32_t sender; /* of a message; HISTORY_CHAT_NOBODY: it was not sent so far, and number is that of chat.nobody */
    uint32_t account;
    uint64_t body;
} named;

struct history_text {
    history_chat chat;
    hmap clients, accounts, messages;
    uint32_t n_accounts;
    uint64_t line; /* read so far */
    buf unescaped;
    char why[WHY_MAX];
};

typedef struct fields { /* of the line being read; absent: p is NULL */
    slice event, client, id, to, from;
    slice sum, sid;
    bool resumed, once;
    usec at;
} fields;

static const struct {
    const char *name;
    history_chat_kind kind;
} events[] = {{"send", HISTORY_SEND}, {"ack", HISTORY_ACKED},     {"err", HISTORY_REFUSED},
              {"recv", HISTORY_RECV}, {"carbon", HISTORY_CARBON}, {"carbon-sent", HISTORY_CARBON_SENT},
              {"had", HISTORY_HAD},   {"on", HISTORY_SESSION},    {"fault", HISTORY_FAULT}};

static err PRINTF_LIKE(3, 4) refuse(history_text *t, err e, const char *fmt, ...) {
    int n = snprintf(t->why, sizeof t->why, "line %llu: ", (unsigned long long)t->line);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(t->why + n, sizeof t->why - (size_t)n, fmt, ap); /* a long one is cut */
    va_end(ap);
    return e;
}

typedef struct shown {
    char text[SHOWN_MAX];
} shown;

static shown show(slice s) { /* fit for a terminal; cut if long */
    shown out;
    (void)utf8_escape(s, out.text, sizeof out.text);
    return out;
}

/* --- names --------------------------------------------------------------------------------------------------------------------------- */

static named *named_find(const hmap *m, slice name) {
    for (hmap_node *n = hmap_find(m, history_chat_hash(name)); n; n = hmap_find_next(n)) {
        named *x = container_of(n, named, node);
        if (slice_is(name, x->name)) return x;
    }
    return NULL;
}

static named *named_add(hmap *m, slice name) {
    named *x = mem_zalloc(sizeof *x);
    x->name = slice_dup_str(name);
    hmap_insert(m, &x->node, history_chat_hash(name));
    return x;
}

static void named_fini(hmap *m) {
    for (hmap_node *n = hmap_first(m), *next; n; n = next) {
        next = hmap_next(m, n);
        named *x = container_of(n, named, node);
        mem_free(x->name);
        mem_free(x);
    }
    hmap_fini(m);
}

static uint32_t account(history_text *t, slice address) {
    slice bare = slice_sub(address, 0, slice_find(address, '/'));
    named *x = named_find(&t->accounts, bare);
    if (x) return x->number;
    x = named_add(&t->accounts, bare);
    return x->number = t->n_accounts++;
}

static err client(history_text *t, slice name, uint32_t *out) {
    named *x = named_find(&t->clients, name);
    if (!x) {
        size_t slash = slice_find(name, '/');
        if (slash == 0 || slash + 1 >= name.len)
            return refuse(t, ERR_INVALID, "\"c\" is %s; a client is written ACCOUNT/DEVICE", show(name).text);
        if (t->chat.n_clients == HISTORY_CHAT_CLIENTS_MAX) return refuse(t, ERR_LIMIT, "more than %u clients", HISTORY_CHAT_CLIENTS_MAX);
        uint32_t number = history_chat_client(&t->chat, account(t, name), name);
        x = named_add(&t->clients, name);
        x->number = number;
    }
    *out = x->number;
    return ERR_OK;
}

/* The message called id, for everything but "send". */
static void message(history_text *t, slice id, history_chat_record *r) {
    named *x = named_find(&t->messages, id);
    if (!x) {
        x = named_add(&t->messages, id);
        x->sender = HISTORY_CHAT_NOBODY;
        x->number = history_chat_call(&t->chat, HISTORY_CHAT_NOBODY, id);
    }
    r->sender = x->sender;
    r->seq = x->number;
}

static err sent(history_text *t, const fields *f, history_chat_record *r) {
    named *x = named_find(&t->messages, f->id);
    r->account = account(t, f->to);
    r->direct = slice_find(f->to, '/') < f->to.len;
    if (t->chat.n_accounts < t->n_accounts) t->chat.n_accounts = t->n_accounts;
    if (x && x->sender != HISTORY_CHAT_NOBODY) {
        if (x->sender != r->client)
            return refuse(t, ERR_INVALID, "the id %s is that of a message of %s", show(f->id).text, t->chat.clients[x->sender].name);
        if (x->account != r->account || x->body != r->body)
            return refuse(t, ERR_INVALID, "the id %s is that of another message: other \"to\" or \"sum\"", show(f->id).text);
        r->seq = x->number;
        return ERR_OK;
    }
    if (!x) x = named_add(&t->messages, f->id);
    x->sender = r->client;
    x->account = r->account;
    x->body = r->body;
    r->seq = x->number = history_chat_call(&t->chat, r->client, f->id);
    return ERR_OK;
}

/* --- members ------------------------------------------------------------------------------------------------------------------------- */

static err text_of(history_text *t, const history_json *j, const char *name, bool any, slice *out) {
    const history_json_member *m = history_json_get(j, name);
    if (!m || m->kind == HISTORY_JSON_NULL) return ERR_OK;
    bool ok = m->kind == HISTORY_JSON_STRING || (any && m->kind == HISTORY_JSON_NUMBER);
    if (!ok) return refuse(t, ERR_INVALID, "\"%s\" is not a string%s", name, any ? " or a number" : "");
    if (m->value.len && memchr(m->value.p, 0, m->value.len)) return refuse(t, ERR_INVALID, "\"%s\" holds a NUL", name);
    *out = m->value;
    return ERR_OK;
}

static err flag_of(history_text *t, const history_json *j, const char *name, bool *out) {
    const history_json_member *m = history_json_get(j, name);
    if (!m) return ERR_OK;
    if (m->kind != HISTORY_JSON_TRUE && m->kind != HISTORY_JSON_FALSE) return refuse(t, ERR_INVALID, "\"%s\" is not true or false", name);
    *out = m->kind == HISTORY_JSON_TRUE;
    return ERR_OK;
}

static err time_of(history_text *t, const history_json *j, usec *out) {
    const history_json_member *m = history_json_get(j, "t");
    int64_t at = 0;
    if (!m) return refuse(t, ERR_INVALID, "\"t\" is missing");
    if (m->kind != HISTORY_JSON_NUMBER || dec_parse_i64(m->value, 0, INT64_MAX, &at))
        return refuse(t, ERR_INVALID, "\"t\" is not a whole number of microseconds");
    usec last = t->chat.n ? t->chat.r[t->chat.n - 1].at : 0;
    if (at < last) return refuse(t, ERR_INVALID, "time goes back, from %lld to %lld", (long long)last, (long long)at);
    *out = at;
    return ERR_OK;
}

static err read_fields(history_text *t, const history_json *j, fields *f) {
    const struct {
        const char *name;
        slice *into;
        bool any;
    } texts[] = {{"e", &f->event, false},   {"c", &f->client, false}, {"id", &f->id, true},  {"to", &f->to, false},
                 {"from", &f->from, false}, {"sum", &f->sum, true},   {"sid", &f->sid, true}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        err e = text_of(t, j, texts[i].name, texts[i].any, texts[i].into);
        if (e) return e;
    }
    err e = flag_of(t, j, "resumed", &f->resumed);
    if (!e) e = flag_of(t, j, "once", &f->once);
    return e ? e : time_of(t, j, &f->at);
}

static err event_of(history_text *t, const fields *f, history_chat_kind *out) {
    if (!f->event.p) return refuse(t, ERR_INVALID, "\"e\" is missing");
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!slice_is(f->event, events[i].name)) continue;
        *out = events[i].kind;
        if (f->once && *out == HISTORY_SEND) *out = HISTORY_SEND_ONCE;
        if (f->resumed && *out == HISTORY_SESSION) *out = HISTORY_RESUMED;
        return ERR_OK;
    }
    return refuse(t, ERR_INVALID, "\"e\" is %s, which is no event", show(f->event).text);
}

/* What the kind needs is there. */
static err complete(history_text *t, const fields *f, history_chat_kind k) {
    bool sending = k == HISTORY_SEND || k == HISTORY_SEND_ONCE, copy = k == HISTORY_RECV || k == HISTORY_CARBON || k == HISTORY_CARBON_SENT;
    bool about = sending || copy || k == HISTORY_ACKED || k == HISTORY_REFUSED || k == HISTORY_HAD;
    const struct {
        const char *name;
        const slice *s;
        bool needed;
    } rows[] = {{"c", &f->client, k != HISTORY_FAULT},
                {"id", &f->id, about},
                {"to", &f->to, sending},
                {"sum", &f->sum, sending || copy},
                {"from", &f->from, copy}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].needed && !rows[i].s->len)
            return refuse(t, ERR_INVALID, "\"%s\" is missing, which %s has", rows[i].name, show(f->event).text);
    return ERR_OK;
}

static err record(history_text *t, const fields *f) {
    history_chat_record r = {.at = f->at, .body = history_chat_hash(f->sum)};
    err e = event_of(t, f, &r.kind);
    if (!e) e = complete(t, f, r.kind);
    if (!e && f->client.len) e = client(t, f->client, &r.client);
    if (e) return e;
    r.from = history_chat_hash(r.kind == HISTORY_SEND || r.kind == HISTORY_SEND_ONCE ? f->client : f->from);
    r.stanza_id = f->sid.len ? history_chat_hash(f->sid) : 0;
    if (r.kind == HISTORY_SEND || r.kind == HISTORY_SEND_ONCE)
        e = sent(t, f, &r);
    else if (f->id.len)
        message(t, f->id, &r);
    if (!e) history_chat_add(&t->chat, &r);
    return e;
}

/* --- the API ------------------------------------------------------------------------------------------------------------------------- */

history_text *history_text_new(void) {
    history_text *t = mem_zalloc(sizeof *t);
    history_chat_init(&t->chat);
    hmap_init(&t->clients);
    hmap_init(&t->accounts);
    hmap_init(&t->messages);
    buf_init(&t->unescaped, HISTORY_TEXT_LINE_MAX + 1);
    return t;
}

void history_text_free(history_text *t) {
    if (!t) return;
    named_fini(&t->clients);
    named_fini(&t->accounts);
    named_fini(&t->messages);
    history_chat_fini(&t->chat);
    buf_fini(&t->unescaped);
    mem_free(t);
}

err history_text_add(history_text *t, slice line) {
    history_json j;
    fields f = {0};
    t->line++;
    if (line.len > HISTORY_TEXT_LINE_MAX) return refuse(t, ERR_LIMIT, "longer than %u bytes", HISTORY_TEXT_LINE_MAX);
    err e = history_json_parse(line, &t->unescaped, &j);
    if (e) return refuse(t, e, "%s", j.why);
    e = read_fields(t, &j, &f);
    return e ? e : record(t, &f);
}

err history_text_read(history_text *t, FILE *f) {
    char line[HISTORY_TEXT_LINE_MAX + 2]; /* with its end, and the NUL of fgets */
    while (fgets(line, sizeof line, f)) {
        size_t len = strlen(line); /* a NUL in it cuts it, and then it is no JSON */
        bool whole = len && line[len - 1] == '\n';
        if (!whole && len < sizeof line - 1) {
            t->line++;
            return refuse(t, ERR_INVALID, "torn: the file ends inside it, or it holds a NUL");
        }
        err e = history_text_add(t, slice_of(line, len - whole));
        if (e) return e;
    }
    t->line++;
    return ferror(f) ? refuse(t, ERR_IO, "cannot be read") : ERR_OK;
}

const char *history_text_why(const history_text *t) { return t->why; }
const history_chat *history_text_chat(const history_text *t) { return &t->chat; }

/* --- writing ------------------------------------------------------------------------------------------------------------------------- */

static void member(buf *out, const char *name, slice s) {
    buf_addf(out, ",\"%s\":", name);
    history_json_string(out, s);
}

static void member_hash(buf *out, const char *name, uint64_t x) { buf_addf(out, ",\"%s\":\"%016llx\"", name, (unsigned long long)x); }

static void member_id(buf *out, const history_chat *h, const history_chat_record *r, uint32_t sender) {
    const history_chat_row *row = sender < h->n_clients ? &h->clients[sender] : &h->nobody;
    char made[512];
    if (r->seq && r->seq <= row->n_ids) {
        member(out, "id", slice_str(row->ids[r->seq - 1]));
        return;
    }
    (void)snprintf(made, sizeof made, "%s #%u", row->name ? row->name : "nobody", r->seq); /* cut if long */
    member(out, "id", slice_str(made));
}

/* Some client of the account, or its number: an address that reads back as that account. */
static void member_to(buf *out, const history_chat *h, const history_chat_record *r) {
    char made[32];
    slice to = SLICE_NULL;
    for (uint32_t i = 0; i < h->n_clients && !to.p; i++)
        if (h->clients[i].account == r->account) to = slice_str(h->clients[i].name);
    (void)snprintf(made, sizeof made, "account%u/any", r->account); /* fits */
    if (!to.p) to = slice_str(made);
    member(out, "to", r->direct ? to : slice_sub(to, 0, slice_find(to, '/')));
}

/* What from is the hash of: the sender's address if it is that, or else the hash itself. */
static void member_from(buf *out, const history_chat *h, const history_chat_record *r) {
    bool true_one = r->sender < h->n_clients && history_chat_hash(slice_str(h->clients[r->sender].name)) == r->from;
    if (true_one)
        member(out, "from", slice_str(h->clients[r->sender].name));
    else
        member_hash(out, "from", r->from);
}

void history_text_write(buf *out, const history_chat *h, size_t i) {
    const history_chat_record *r = &h->r[i];
    bool sending = r->kind == HISTORY_SEND || r->kind == HISTORY_SEND_ONCE;
    bool copy = r->kind == HISTORY_RECV || r->kind == HISTORY_CARBON || r->kind == HISTORY_CARBON_SENT;
    const char *name = r->kind == HISTORY_RESUMED ? "on" : "send";
    for (size_t k = 0; k < ARRAY_LEN(events); k++)
        if (events[k].kind == r->kind) name = events[k].name;
    buf_addf(out, "{\"t\":%lld,\"e\":\"%s\"", (long long)r->at, name);
    if (r->kind != HISTORY_FAULT) member(out, "c", slice_str(h->clients[r->client].name));
    if (r->kind == HISTORY_SESSION || r->kind == HISTORY_RESUMED)
        buf_addf(out, ",\"resumed\":%s", r->kind == HISTORY_RESUMED ? "true" : "false");
    if (sending || copy || r->kind == HISTORY_ACKED || r->kind == HISTORY_REFUSED || r->kind == HISTORY_HAD)
        member_id(out, h, r, sending ? r->client : r->sender);
    if (sending) member_to(out, h, r);
    if (copy) member_from(out, h, r);
    if (r->kind == HISTORY_RECV && r->stanza_id) member_hash(out, "sid", r->stanza_id);
    if (sending || copy) member_hash(out, "sum", r->body);
    if (r->kind == HISTORY_SEND_ONCE) buf_add_str(out, ",\"once\":true");
    buf_add_str(out, "}\n");
}
