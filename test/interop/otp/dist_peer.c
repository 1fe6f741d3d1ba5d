/* dist_peer: the handshake and port mapper machines of src/proto/dist behind plain blocking sockets, for tests against a real Erlang. It
 * speaks about what happens in lines on standard output, and ends with its connections or its standard input.
 *
 * usage: dist_peer accept  [key=value ...]     one connection after the other on a free port of 127.0.0.1: "listening PORT"
 *        dist_peer dial    port=N [key=value ...]
 *        dist_peer register|lookup|names  epmd=PORT [name=ALIVE] [port=N]
 *        dist_peer serve   [remote=1] [max=N]  a port mapper on a free port of 127.0.0.1: "listening PORT"
 * keys of accept and dial: own, peer, cookie, creation, flags (added) and without (taken away; numbers), verdict (a number), given,
 * carrier (2 or 4), step (bytes that are read at once). */
#include "base/utf8.h"
#include "proto/dist/epmd_server.h"
#include "proto/dist/handshake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 64u

typedef struct args {
    int n;
    char **v;
} args;

static const char *text_arg(const args *a, const char *key, const char *otherwise) {
    size_t len = strlen(key);
    for (int i = 0; i < a->n; i++)
        if (strncmp(a->v[i], key, len) == 0 && a->v[i][len] == '=') return a->v[i] + len + 1;
    return otherwise;
}

static uint64_t number_arg(const args *a, const char *key, uint64_t otherwise) {
    const char *text = text_arg(a, key, NULL);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t random32(void) {
    uint32_t v;
    if (getrandom(&v, sizeof v, 0) != sizeof v) die("getrandom");
    return v;
}

static void say(const char *what, slice s) {
    char text[2048];
    (void)utf8_escape(s, text, sizeof text);
    printf("%s %s\n", what, text);
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listens(uint16_t *out_port) {
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        die("listen");
    *out_port = ntohs(a.sin_port);
    printf("listening %u\n", *out_port);
    return fd;
}

static int connects(uint16_t port) {
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0) die("connect");
    return fd;
}

/* The test ends this program by closing its standard input. */
static bool readable(int fd) {
    struct pollfd p[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(p, 2, -1) < 0) die("poll");
    if (p[1].revents) exit(0);
    return p[0].revents != 0;
}

static void flush(int fd, buf *out) {
    while (out->len) {
        ssize_t n = send(fd, out->p, out->len, MSG_NOSIGNAL);
        if (n <= 0) return; /* the next read tells */
        buf_consume(out, (size_t)n);
    }
}

/* False at the end of input. */
static bool fill(int fd, buf *in, size_t step) {
    uint8_t *to = buf_reserve(in, step);
    if (!to) die("too much input");
    while (!readable(fd)) {
    }
    ssize_t n = recv(fd, to, step, 0);
    if (n > 0) buf_added(in, (size_t)n);
    return n > 0;
}

/* --- connections ------------------------------------------------------------------------------------------------------------------- */
static void admit(const args *a, dist_handshake *h, buf *out) {
    say("peer", dist_handshake_peer(h));
    printf("flags %#llx\n", (unsigned long long)h->peer_flags);
    const dist_admission with = {.verdict = (dist_verdict)number_arg(a, "verdict", DIST_VERDICT_OK),
                                 .cookie = slice_str(text_arg(a, "cookie", "")),
                                 .challenge = random32(),
                                 .given_name = slice_str(text_arg(a, "given", "")),
                                 .given_creation = 77};
    dist_handshake_admit(h, &with, out);
}

static void up(const dist_handshake *h, size_t left) {
    say("up", dist_handshake_peer(h));
    say("own", dist_handshake_own(h));
    printf("common %#llx\n", (unsigned long long)h->flags);
    printf("creation %u %u\n", h->peer_creation, h->self.creation);
    printf("left %zu\n", left);
}

/* True as long as the handshake goes on. */
static bool react(const args *a, dist_handshake *h, const dist_handshake_event *ev, size_t left, buf *out) {
    switch (ev->kind) {
    case DIST_HANDSHAKE_NONE: break;
    case DIST_HANDSHAKE_PEER: admit(a, h, out); break;
    case DIST_HANDSHAKE_ALIVE:
        printf("alive\n");
        dist_handshake_consent(h, true, out);
        break;
    case DIST_HANDSHAKE_CHALLENGED:
        printf("flags %#llx\n", (unsigned long long)h->peer_flags);
        dist_handshake_reply(h, false, out);
        break;
    case DIST_HANDSHAKE_TAKEOVER:
        printf("takeover\n");
        dist_handshake_old_down(h, out);
        break;
    case DIST_HANDSHAKE_UP: up(h, left); return false;
    case DIST_HANDSHAKE_END:
        say("about", ev->what);
        printf("end %s: %s\n", dist_handshake_end_name(ev->end), dist_handshake_end_text(ev->end));
        return false;
    }
    return true;
}

/* Runs a handshake to its end, and after UP reads until the peer closes. */
static void converse(const args *a, dist_handshake *h, int fd, buf *out) {
    buf in;
    dist_handshake_event ev = {.kind = DIST_HANDSHAKE_NONE};
    size_t step = number_arg(a, "step", 4096);
    buf_init(&in, 1u << 20);
    flush(fd, out);
    for (bool more = true; more;) {
        if (ev.kind == DIST_HANDSHAKE_NONE && !fill(fd, &in, step)) break;
        size_t used = 0;
        dist_handshake_next(h, buf_slice(&in), out, &used, &ev);
        buf_consume(&in, used);
        more = react(a, h, &ev, in.len, out);
        flush(fd, out);
    }
    if (ev.kind == DIST_HANDSHAKE_UP) do
            buf_reset(&in);
        while (fill(fd, &in, 4096));
    printf("closed\n");
    buf_fini(&in);
    close(fd);
}

static dist_self self_of(const args *a) {
    uint64_t flags = (dist_flags_offered() | number_arg(a, "flags", 0)) & ~number_arg(a, "without", 0);
    return (dist_self){slice_str(text_arg(a, "own", "murre@127.0.0.1")), flags, (uint32_t)number_arg(a, "creation", 4711)};
}

static int accepts(const args *a) {
    uint16_t port;
    int at = listens(&port);
    dist_self self = self_of(a);
    for (;;) {
        while (!readable(at)) {
        }
        int fd = accept(at, NULL, NULL);
        if (fd < 0) die("accept");
        dist_handshake h;
        buf out;
        buf_init(&out, DIST_HANDSHAKE_WRITE_MAX);
        dist_handshake_accept(&h, (dist_carrier)number_arg(a, "carrier", DIST_CARRIER_TCP), &self);
        converse(a, &h, fd, &out);
        buf_fini(&out);
    }
}

static int dials(const args *a) {
    dist_self self = self_of(a);
    dist_handshake h;
    buf out;
    buf_init(&out, DIST_HANDSHAKE_WRITE_MAX);
    err e = dist_handshake_dial(&h, (dist_carrier)number_arg(a, "carrier", DIST_CARRIER_TCP), &self, slice_str(text_arg(a, "peer", "")),
                                slice_str(text_arg(a, "cookie", "")), random32(), &out);
    if (e != ERR_OK) {
        printf("refused %s\n", err_name(e));
        return 1;
    }
    converse(a, &h, connects((uint16_t)number_arg(a, "port", 0)), &out);
    buf_fini(&out);
    return 0;
}

/* --- asking a port mapper ---------------------------------------------------------------------------------------------------------- */
static void tell(const dist_epmd_event *ev) {
    switch (ev->kind) {
    case DIST_EPMD_NONE: break;
    case DIST_EPMD_REGISTERED: printf("registered %u\n", ev->creation); break;
    case DIST_EPMD_IN_USE: printf("in-use\n"); break;
    case DIST_EPMD_FOUND:
        printf("found " SLICE_FMT " %u type %u versions %u %u extra %zu\n", SLICE_ARG(ev->node.name), ev->node.port, ev->node.type,
               ev->node.high, ev->node.low, ev->node.extra.len);
        break;
    case DIST_EPMD_NOT_FOUND: printf("not-found\n"); break;
    case DIST_EPMD_NAME: printf("name " SLICE_FMT " %u\n", SLICE_ARG(ev->node.name), ev->node.port); break;
    case DIST_EPMD_DONE: printf("done\n"); break;
    case DIST_EPMD_FAIL: printf("fail %s\n", dist_epmd_fail_name(ev->fail)); break;
    }
}

static int asks(const char *what, const args *a) {
    dist_epmd_client c;
    buf in, out;
    buf_init(&in, 1u << 20);
    buf_init(&out, DIST_EPMD_REQUEST_MAX + 2);
    slice name = slice_str(text_arg(a, "name", "murre"));
    const dist_epmd_node n = {name,
                              slice_str(text_arg(a, "extra", "")),
                              (uint16_t)number_arg(a, "port", 1),
                              DIST_EPMD_VERSION_HIGH,
                              DIST_EPMD_VERSION_LOW,
                              DIST_EPMD_TYPE_VISIBLE,
                              DIST_EPMD_PROTO_TCP};
    err e = ERR_OK;
    if (strcmp(what, "names") == 0)
        dist_epmd_names(&c, &out);
    else
        e = strcmp(what, "register") == 0 ? dist_epmd_register(&c, &n, &out) : dist_epmd_lookup(&c, name, &out);
    if (e != ERR_OK) {
        printf("refused %s\n", err_name(e));
        return 1;
    }
    int fd = connects((uint16_t)number_arg(a, "epmd", DIST_EPMD_PORT));
    flush(fd, &out);
    dist_epmd_event ev = {.kind = DIST_EPMD_NONE};
    for (bool eof = false, more = true; more;) {
        if (ev.kind == DIST_EPMD_NONE) eof = !fill(fd, &in, number_arg(a, "step", 4096));
        size_t used = 0;
        dist_epmd_next(&c, buf_slice(&in), eof, &used, &ev);
        tell(&ev);
        buf_consume(&in, used);
        more = ev.kind == DIST_EPMD_NONE || ev.kind == DIST_EPMD_REGISTERED || ev.kind == DIST_EPMD_NAME;
    }
    buf_fini(&in);
    buf_fini(&out);
    close(fd);
    return 0;
}

/* --- being a port mapper ----------------------------------------------------------------------------------------------------------- */
typedef struct client {
    dist_epmd_conn conn;
    buf in, out;
    int fd; /* -1: a free place */
} client;

static void client_close(client *c) {
    dist_epmd_conn_fini(&c->conn);
    buf_fini(&c->in);
    buf_fini(&c->out);
    close(c->fd);
    c->fd = -1;
}

/* False: the connection is over. */
static bool client_serve(client *c) {
    uint8_t *to = buf_reserve(&c->in, 1024);
    ssize_t n = to ? recv(c->fd, to, 1024, 0) : -1;
    if (n <= 0) return false;
    buf_added(&c->in, (size_t)n);
    for (;;) {
        dist_epmd_served ev;
        size_t used = 0;
        dist_epmd_conn_next(&c->conn, buf_slice(&c->in), &c->out, &used, &ev);
        flush(c->fd, &c->out);
        if (ev.kind == DIST_EPMD_SERVED_REGISTERED) say("registered", ev.name);
        if (ev.kind == DIST_EPMD_SERVED_REFUSED) printf("refused %s: %s\n", dist_epmd_fail_name(ev.fail), dist_epmd_fail_text(ev.fail));
        buf_consume(&c->in, used);
        if (ev.kind == DIST_EPMD_SERVED_MORE) continue;
        return ev.kind == DIST_EPMD_SERVED_NONE || ev.kind == DIST_EPMD_SERVED_REGISTERED;
    }
}

static void client_accept(client *clients, int at, dist_epmd_table *t, const args *a) {
    int fd = accept(at, NULL, NULL);
    for (uint32_t i = 0; fd >= 0 && i < CONNS_MAX; i++) {
        if (clients[i].fd >= 0) continue;
        clients[i].fd = fd;
        dist_epmd_conn_init(&clients[i].conn, t, !number_arg(a, "remote", 0), i);
        buf_init(&clients[i].in, 1u << 16);
        buf_init(&clients[i].out, 1u << 20);
        return;
    }
    die("accept");
}

static int serves(const args *a) {
    static client clients[CONNS_MAX];
    for (size_t i = 0; i < CONNS_MAX; i++) clients[i].fd = -1;
    uint16_t port;
    int at = listens(&port);
    dist_epmd_table t;
    const hash_key key = {random32(), random32()};
    dist_epmd_table_init(&t, port, (uint32_t)number_arg(a, "max", 1000), &key, random32());
    for (;;) {
        struct pollfd p[CONNS_MAX + 2] = {{at, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        for (size_t i = 0; i < CONNS_MAX; i++) p[i + 2] = (struct pollfd){clients[i].fd, POLLIN, 0};
        if (poll(p, CONNS_MAX + 2, -1) < 0) die("poll");
        if (p[1].revents) return 0;
        if (p[0].revents) client_accept(clients, at, &t, a);
        for (size_t i = 0; i < CONNS_MAX; i++) {
            if (clients[i].fd < 0 || !p[i + 2].revents || client_serve(&clients[i])) continue;
            client_close(&clients[i]);
            printf("names %zu\n", dist_epmd_table_count(&t));
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const args a = {argc - 2, argv + 2};
    if (setvbuf(stdout, NULL, _IOLBF, 0) != 0) return 1;
    if (strcmp(argv[1], "accept") == 0) return accepts(&a);
    if (strcmp(argv[1], "dial") == 0) return dials(&a);
    if (strcmp(argv[1], "serve") == 0) return serves(&a);
    return asks(argv[1], &a);
}
