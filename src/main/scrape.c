/* scrape: see scrape.h.
 *
 *     accept --> READING --- request whole, or wrong ---> WRITING --- keep-alive ---> READING (the next request)
 *                   |                                        |
 *                   | deadline, EOF                          `-- close --> CLOSING -- EOF, deadline --> free
 *                   `--> free
 *
 * Invariants: (1) everything here belongs to the one thread; no shard is asked by this file. (2) Sockets never block, and every state has a
 * deadline that the client cannot move: who sends or reads slowly is closed. (3) At most MAIN_SCRAPE_CLIENTS_MAX clients; a new one takes
 * the place of the one that has been idle for longest, or has been ended and lingers, or has kept a request unfinished for longest; while
 * all take their answers it waits in the kernel's queue. So clients that never finish a request keep nobody waiting, however many they are.
 * (4) A request costs at most REQUEST_MAX bytes of reading, and one request of a client is answered a round, however many it sends at
 * once. (5) After a request that could not be understood, or has a body, nothing more of that connection is read as a request: where the
 * next one starts is not known. (6) A round accepts at most ACCEPTS_MAX clients, fewer than there are places: who was accepted last round
 * is read before its place can be taken.
 *
 * CLOSING reads and drops what still comes: closing a socket with unread bytes would reset it and take the answer away from the client
 * (RFC 9112 section 9.6). */
#include "main/scrape.h"

#include "base/mem.h"

#include <http_parser.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define ACCEPT_PAUSE (100 * USEC_PER_MSEC) /* when no descriptor is free */
#define ACCEPTS_MAX  (MAIN_SCRAPE_CLIENTS_MAX / 2)
#define BACKLOG      64
#define CHUNK        4096u
#define LINGER_BYTES (256u << 10) /* dropped while CLOSING; past it the connection is reset */
#define READY_MAX    32
#define TOKEN_LISTEN UINT64_C(0xffffffff)
#define PATH         "/metrics"
#define HOST_NAME    4 /* of "Host" */

typedef enum client_state { CLIENT_FREE, CLIENT_READING, CLIENT_WRITING, CLIENT_CLOSING } client_state;
typedef struct client {
    client_state state;
    int fd;
    uint32_t interest; /* as the poller has it */
    usec deadline;
    unsigned answered; /* requests */
    http_parser parser;
    /* The request under way. */
    size_t bytes; /* of it, so far */
    buf target;   /* the request target (RFC 9112 section 3.2) */
    char field[HOST_NAME + 1];
    size_t field_len;
    bool in_value, whole, has_body;
    bool bad; /* a field has a control byte */
    unsigned hosts;
    /* What was read and not parsed: the beginning of the next request. */
    uint8_t in[CHUNK];
    size_t from, to;
    buf out;
    size_t sent;
    size_t dropped; /* bytes, while CLOSING */
    bool close;     /* after this answer */
} client;

struct main_scrape {
    sys *s;
    main_scrape_text *text;
    void *arg;
    int fd, poll;
    bool listening; /* the listener is polled */
    usec listen_at; /* not before this time */
    sys_thread *thread;
    _Atomic bool stop; /* relaxed: followed by a wake of the poller */
    main_scrape_stat stat;
    buf body; /* kept between answers: its memory is as large as the text */
    client at[MAIN_SCRAPE_CLIENTS_MAX];
};

static const struct {
    unsigned code;
    const char *name, *why; /* why: for who reads the answer */
} answers[MAIN_SCRAPE_STATUSES] = {
    [MAIN_SCRAPE_OK] = {200, "OK", ""},
    [MAIN_SCRAPE_BAD_REQUEST] = {400, "Bad Request", "this is not an HTTP/1.1 request with one Host field"},
    [MAIN_SCRAPE_NOT_FOUND] = {404, "Not Found", "there is only " PATH},
    [MAIN_SCRAPE_METHOD] = {405, "Method Not Allowed", "GET and HEAD are answered"},
    [MAIN_SCRAPE_TIMEOUT] = {408, "Request Timeout", "the request took too long to come"},
    [MAIN_SCRAPE_BODY] = {413, "Content Too Large", "a request has no body here"},
    [MAIN_SCRAPE_HEADERS] = {431, "Request Header Fields Too Large", "the request is too long"},
    [MAIN_SCRAPE_FAILED] = {500, "Internal Server Error", "the text is too long"},
    [MAIN_SCRAPE_VERSION] = {505, "HTTP Version Not Supported", "HTTP/1.1 and HTTP/1.0 are spoken"},
};

unsigned main_scrape_code(main_scrape_status s) { return answers[s].code; }

/* --- parsing --------------------------------------------------------------------------------------------------------------------- */
static int on_url(http_parser *p, const char *at, size_t len) {
    client *x = p->data;
    buf_add(&x->target, slice_of(at, len));
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t len) {
    client *x = p->data;
    if (x->in_value) x->field_len = 0;
    x->in_value = false;
    for (size_t i = 0; i < len; i++, x->field_len++)
        if (x->field_len < sizeof x->field) x->field[x->field_len] = at[i];
    return 0;
}

/* Called at least once for each field, for an empty value too. What a value says is known to the parser, or does not matter; but the parser
 * lets control bytes through, which a value must not have (RFC 9110 section 5.5). */
static int on_value(http_parser *p, const char *at, size_t len) {
    client *x = p->data;
    for (size_t i = 0; i < len; i++) x->bad |= ((uint8_t)at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f;
    if (!x->in_value && x->field_len == HOST_NAME && strncasecmp(x->field, "Host", HOST_NAME) == 0) x->hosts++;
    x->in_value = true;
    return 0;
}

static int on_headers(http_parser *p) {
    client *x = p->data;
    x->has_body = (p->flags & F_CHUNKED) || (p->content_length > 0 && p->content_length != UINT64_MAX);
    if (x->has_body) http_parser_pause(p, 1);
    return 0;
}

static int on_whole(http_parser *p) {
    client *x = p->data;
    x->whole = true;
    http_parser_pause(p, 1); /* what follows waits until this one is answered */
    return 0;
}

static void next_request(main_scrape *c, client *x) {
    x->bytes = x->field_len = 0;
    buf_reset(&x->target);
    x->in_value = x->whole = x->has_body = x->bad = false;
    x->hosts = 0;
    x->state = CLIENT_READING;
    x->deadline = c->s->mono(c->s) + (x->answered ? MAIN_SCRAPE_IDLE : MAIN_SCRAPE_REQUEST);
    http_parser_pause(&x->parser, 0);
}

/* --- answers --------------------------------------------------------------------------------------------------------------------- */
static void drop(main_scrape *c, client *x) {
    c->s->close(c->s, x->fd);
    buf_fini(&x->out);
    buf_fini(&x->target);
    x->state = CLIENT_FREE;
    c->stat.clients--;
}

static slice url_part(const client *x, const struct http_parser_url *u, enum http_parser_url_fields f) {
    return u->field_set & 1u << f ? slice_of(x->target.p + u->field_data[f].off, u->field_data[f].len) : SLICE_NULL;
}

/* The target may be a path or, as a proxy is asked, a whole address, whose host does not matter here (RFC 9112 section 3.2.2). A query
 * selects nothing: Prometheus adds the parameters of its configuration. */
static bool is_path(const client *x) {
    struct http_parser_url u;
    http_parser_url_init(&u);
    if (!buf_ok(&x->target) || http_parser_parse_url((const char *)x->target.p, x->target.len, 0, &u) != 0) return false;
    slice scheme = url_part(x, &u, UF_SCHEMA);
    bool http = scheme.len == 0 || (scheme.len == 4 && strncasecmp((const char *)scheme.p, "http", 4) == 0);
    return http && !(u.field_set & 1u << UF_FRAGMENT) && slice_is(url_part(x, &u, UF_PATH), PATH);
}

/* RFC 9110 section 5.6.7. */
static void add_date(main_scrape *c, buf *out) {
    char text[40];
    struct tm t;
    time_t now = (time_t)(c->s->wall(c->s) / USEC_PER_SEC);
    if (gmtime_r(&now, &t) && strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &t) > 0) buf_addf(out, "Date: %s\r\n", text);
}

static void answer(main_scrape *c, client *x, main_scrape_status st, bool head) {
    buf_reset(&c->body);
    if (st == MAIN_SCRAPE_OK) c->text(c->arg, &c->stat, &c->body);
    if (!buf_ok(&c->body)) {
        buf_reset(&c->body);
        st = MAIN_SCRAPE_FAILED;
    }
    bool ok = st == MAIN_SCRAPE_OK;
    if (!ok) buf_addf(&c->body, "%s\n", answers[st].why);
    buf_reset(&x->out);
    buf_addf(&x->out, "HTTP/1.1 %u %s\r\n", answers[st].code, answers[st].name);
    add_date(c, &x->out);
    buf_addf(&x->out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
             ok ? "application/openmetrics-text; version=1.0.0; charset=utf-8" : "text/plain; charset=utf-8", c->body.len);
    buf_add_str(&x->out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (st == MAIN_SCRAPE_METHOD) buf_add_str(&x->out, "Allow: GET, HEAD\r\n");
    buf_add_str(&x->out, x->close ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n"); /* HTTP/1.0 wants to hear it */
    if (!head) buf_add(&x->out, buf_slice(&c->body));
    c->stat.answers[st]++;
    x->answered++;
    x->sent = 0;
    x->state = CLIENT_WRITING;
    x->deadline = c->s->mono(c->s) + MAIN_SCRAPE_WRITE;
}

static void refuse(main_scrape *c, client *x, main_scrape_status st) {
    x->close = true;
    answer(c, x, st, x->has_body && x->parser.method == HTTP_HEAD); /* otherwise the method may not be known yet */
}

/* A request that is whole. A GET keeps the connection where the client asked for it; every refusal but "not found" ends it. */
static void serve(main_scrape *c, client *x) {
    const http_parser *p = &x->parser;
    bool head = p->method == HTTP_HEAD, get = p->method == HTTP_GET;
    bool bad = x->bad || x->hosts > 1 || (p->http_minor > 0 && x->hosts == 0); /* RFC 9112 section 3.2 */
    main_scrape_status st = p->http_major != 1 ? MAIN_SCRAPE_VERSION
                            : bad              ? MAIN_SCRAPE_BAD_REQUEST
                            : !head && !get    ? MAIN_SCRAPE_METHOD
                            : !is_path(x)      ? MAIN_SCRAPE_NOT_FOUND
                                               : MAIN_SCRAPE_OK;
    x->close = p->upgrade || !http_should_keep_alive(p) || (st != MAIN_SCRAPE_OK && st != MAIN_SCRAPE_NOT_FOUND);
    answer(c, x, st, head);
}

/* --- clients: each step says whether the next one may be tried at once ----------------------------------------------------------- */
static bool parse(main_scrape *c, client *x) {
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_headers,
                                                  .on_message_complete = on_whole};
    if (x->bytes == 0) x->deadline = c->s->mono(c->s) + MAIN_SCRAPE_REQUEST;
    size_t n = http_parser_execute(&x->parser, &settings, (const char *)x->in + x->from, x->to - x->from);
    x->from += n;
    x->bytes += n;
    enum http_errno e = HTTP_PARSER_ERRNO(&x->parser);
    if (x->bytes > MAIN_SCRAPE_REQUEST_MAX || e == HPE_HEADER_OVERFLOW)
        refuse(c, x, MAIN_SCRAPE_HEADERS);
    else if (x->has_body)
        refuse(c, x, MAIN_SCRAPE_BODY);
    else if (x->whole)
        serve(c, x);
    else if (e != HPE_OK)
        refuse(c, x, MAIN_SCRAPE_BAD_REQUEST);
    return true;
}

static bool read_more(main_scrape *c, client *x) {
    if (x->from < x->to) return parse(c, x);
    size_t n = 0;
    err e = c->s->read(c->s, x->fd, x->in, sizeof x->in, &n);
    if (e == ERR_AGAIN) return false;
    if (e != ERR_OK) {
        drop(c, x);
        return false;
    }
    x->from = 0;
    x->to = n;
    return parse(c, x);
}

/* True: there is nothing more to write for now but what comes next in this state. The next request waits for the next round. */
static bool write_more(main_scrape *c, client *x) {
    while (x->sent < x->out.len) {
        sys_iov v = {x->out.p + x->sent, x->out.len - x->sent};
        size_t n = 0;
        err e = c->s->writev(c->s, x->fd, &v, 1, &n);
        if (e == ERR_AGAIN) return false;
        if (e != ERR_OK) {
            drop(c, x);
            return false;
        }
        x->sent += n;
    }
    buf_fini(&x->out);
    if (!x->close) {
        next_request(c, x);
        return false;
    }
    c->s->shutdown(c->s, x->fd);
    x->state = CLIENT_CLOSING;
    x->deadline = c->s->mono(c->s) + MAIN_SCRAPE_LINGER;
    return true;
}

static bool drop_rest(main_scrape *c, client *x) {
    size_t n = 0;
    err e = c->s->read(c->s, x->fd, x->in, sizeof x->in, &n);
    if (e == ERR_AGAIN) return false;
    x->dropped += n;
    if (e == ERR_OK && x->dropped <= LINGER_BYTES) return true;
    drop(c, x);
    return false;
}

static bool step(main_scrape *c, client *x) {
    switch (x->state) {
    case CLIENT_FREE: return false;
    case CLIENT_READING: return read_more(c, x);
    case CLIENT_WRITING: return write_more(c, x);
    case CLIENT_CLOSING: return drop_rest(c, x);
    }
    return false;
}

static void advance(main_scrape *c, client *x) {
    while (step(c, x)) {
    }
    if (x->state == CLIENT_FREE) return;
    uint32_t want = x->state == CLIENT_WRITING ? SYS_OUT : SYS_IN;
    if (want == x->interest) return;
    x->interest = want;
    if (c->s->poll_set(c->s, c->poll, x->fd, want, (uint64_t)(x - c->at)) != ERR_OK) drop(c, x);
}

/* Whose place is taken first. */
typedef enum claim { CLAIM_FREE, CLAIM_IDLE, CLAIM_LINGERS, CLAIM_UNFINISHED, CLAIM_KEEPS } claim;

static claim claim_of(const client *x) {
    switch (x->state) {
    case CLIENT_FREE: return CLAIM_FREE;
    case CLIENT_READING: return x->from < x->to ? CLAIM_KEEPS : x->bytes == 0 && x->answered > 0 ? CLAIM_IDLE : CLAIM_UNFINISHED;
    case CLIENT_WRITING: return CLAIM_KEEPS;
    case CLIENT_CLOSING: return CLAIM_LINGERS;
    }
    return CLAIM_KEEPS;
}

/* The place of the least claim; of several such that of the longest, which is the one whose deadline comes first. NULL: all keep theirs. */
static client *find_place(main_scrape *c) {
    client *best = NULL;
    claim least = CLAIM_KEEPS;
    for (unsigned i = 0; i < MAIN_SCRAPE_CLIENTS_MAX; i++) {
        client *x = &c->at[i];
        claim k = claim_of(x);
        if (k > least || k == CLAIM_KEEPS || (best && k == least && x->deadline >= best->deadline)) continue;
        best = x;
        least = k;
    }
    return best;
}

static void on_accept(main_scrape *c) {
    client *x;
    for (unsigned n = 0; n < ACCEPTS_MAX && (x = find_place(c)); n++) {
        int fd;
        err e = c->s->accept(c->s, c->fd, &fd, NULL);
        if (e == ERR_AGAIN) return;
        if (e != ERR_OK) {
            c->listen_at = c->s->mono(c->s) + ACCEPT_PAUSE;
            return;
        }
        if (x->state != CLIENT_FREE) drop(c, x);
        memset(x, 0, sizeof *x);
        x->fd = fd;
        http_parser_init(&x->parser, HTTP_REQUEST);
        x->parser.data = x;
        buf_init(&x->out, MAIN_SCRAPE_TEXT_MAX + CHUNK);
        buf_init(&x->target, MAIN_SCRAPE_REQUEST_MAX);
        c->stat.clients++;
        next_request(c, x);
        advance(c, x);
    }
}

/* --- the thread ------------------------------------------------------------------------------------------------------------------ */
/* Closes those that are late, answers what is already read, and returns when there is more of this to do. */
static usec sweep(main_scrape *c, usec now) {
    usec next = USEC_NEVER;
    for (unsigned i = 0; i < MAIN_SCRAPE_CLIENTS_MAX; i++) {
        client *x = &c->at[i];
        if (x->state == CLIENT_READING && x->from < x->to) advance(c, x);
        if (x->state != CLIENT_FREE && x->deadline <= now) {
            if (x->state == CLIENT_READING && x->bytes > 0) {
                refuse(c, x, MAIN_SCRAPE_TIMEOUT);
                advance(c, x);
            } else {
                drop(c, x);
            }
        }
        if (x->state == CLIENT_FREE) continue;
        next = usec_min(next, x->state == CLIENT_READING && x->from < x->to ? now : x->deadline);
    }
    bool want = now >= c->listen_at && find_place(c);
    if (want && !c->listening) c->listening = c->s->poll_set(c->s, c->poll, c->fd, SYS_IN, TOKEN_LISTEN) == ERR_OK;
    if (!want && c->listening) {
        c->s->poll_del(c->s, c->poll, c->fd);
        c->listening = false;
    }
    return c->listening ? next : usec_min(next, now < c->listen_at ? c->listen_at : now + ACCEPT_PAUSE);
}

static void run(void *arg) {
    main_scrape *c = arg;
    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        usec now = c->s->mono(c->s), until = sweep(c, now);
        sys_ready r[READY_MAX];
        int n = c->s->poll_wait(c->s, c->poll, until == USEC_NEVER ? USEC_NEVER : until > now ? until - now : 0, r, READY_MAX);
        for (int i = 0; i < n; i++) {
            if (r[i].token == TOKEN_LISTEN)
                on_accept(c);
            else
                advance(c, &c->at[r[i].token % MAIN_SCRAPE_CLIENTS_MAX]); /* if it has been dropped, or reused: the calls say AGAIN */
        }
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */
err main_scrape_new(sys *s, const sys_addr *a, main_scrape_text *text, void *arg, main_scrape **out) {
    int poll, fd;
    err e = s->poll_new(s, &poll);
    if (e != ERR_OK) return e;
    e = s->listen(s, a, BACKLOG, false, &fd);
    if (e != ERR_OK) {
        s->poll_free(s, poll);
        return e;
    }
    main_scrape *c = mem_zalloc(sizeof *c);
    c->s = s;
    c->poll = poll;
    c->fd = fd;
    c->text = text;
    c->arg = arg;
    buf_init(&c->body, MAIN_SCRAPE_TEXT_MAX);
    *out = c;
    return ERR_OK;
}

err main_scrape_start(main_scrape *c) { return c->s->thread_start(c->s, "metrics", run, c, &c->thread); }

void main_scrape_stop(main_scrape *c) {
    if (!c->thread) return;
    atomic_store_explicit(&c->stop, true, memory_order_relaxed);
    c->s->poll_wake(c->s, c->poll);
    c->s->thread_join(c->s, c->thread);
    c->thread = NULL;
    for (unsigned i = 0; i < MAIN_SCRAPE_CLIENTS_MAX; i++)
        if (c->at[i].state != CLIENT_FREE) drop(c, &c->at[i]);
}

void main_scrape_free(main_scrape *c) {
    if (!c) return;
    if (!check(!c->thread)) return; /* it still uses everything here */
    c->s->close(c->s, c->fd);
    c->s->poll_free(c->s, c->poll);
    buf_fini(&c->body);
    mem_free(c);
}

void main_scrape_addr(const main_scrape *c, sys_addr *out) {
    sys_addr a;
    if (c->s->local_addr(c->s, c->fd, &a) == ERR_OK) *out = a;
}
