/* client: see client.h. The stages of a login, one a round trip:
 *
 *   connect [-> TLS] -> header -> features -> [starttls -> proceed -> TLS -> header -> features] -> auth .. success
 *           -> header -> features -> bind -> [enable] -> [presence] -> READY
 *
 * Reads are taken in whole, units are cut off by the framer, what is left stays in c->in. Output is gathered and written once a round. An
 * idle client keeps no buffer, so that a process can hold 15,000. */
#include "base/mem.h"
#include "client_int.h"
#include "proto/xmpp/ns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536
#define EVENTS_MAX 256
#define STANZA_MAX (1u << 20)
#define OUT_MAX    (1u << 30)
#define ARENA_MAX  (4u << 20)
#define DEPTH_MAX  60

void load_name(char out[64], const char *pattern, uint32_t n) {
    const char *at = strstr(pattern, "%u");
    if (at)
        (void)snprintf(out, 64, "%.*s%u%s", (int)(at - pattern), pattern, n, at + 2);
    else
        (void)snprintf(out, 64, "%s", pattern);
}

bool load_init(load *l, const load_cfg *cfg, const load_events *on) {
    *l = (load){.cfg = *cfg, .on = *on, .epoll = epoll_create1(EPOLL_CLOEXEC), .now = bench_nsec()};
    arena_init(&l->arena, ARENA_MAX);
    if (cfg->tls != LOAD_PLAIN) {
        l->tls = SSL_CTX_new(TLS_client_method());
        if (!l->tls) return false;
        SSL_CTX_set_verify(l->tls, SSL_VERIFY_NONE, NULL); /* it measures, it trusts nobody */
        (void)SSL_CTX_set_mode(l->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        (void)SSL_CTX_set_session_cache_mode(l->tls, SSL_SESS_CACHE_OFF);
    }
    return l->epoll >= 0;
}

void load_fini(load *l) {
    if (l->epoll >= 0) (void)close(l->epoll);
    SSL_CTX_free(l->tls);
    scram_cache_fini(&l->keys);
    arena_fini(&l->arena);
}

/* --- output */
buf *client_out(client *c, bool stanza) {
    if (stanza && c->sm) c->sm_out++;
    if (!c->dirty) {
        c->dirty = true;
        c->next_dirty = c->l->dirty;
        c->l->dirty = c;
    }
    return &c->out;
}

void client_ask_ack(client *c) { buf_add_str(client_out(c, false), "<r xmlns='" NS_SM "'/>"); }

void client_ack(client *c) {
    if (c->sm) buf_addf(client_out(c, false), "<a xmlns='" NS_SM "' h='%u'/>", c->sm_in);
}

void client_header(client *c) {
    xmpp_framer_init(&c->framer, true);
    c->state = CLIENT_FEATURES;
    buf_addf(client_out(c, false),
             "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' xmlns:stream='" NS_STREAM "'>",
             c->l->cfg.domain);
}

static void poll_for_output(client *c, bool on) {
    if (on == c->polled_out) return;
    c->polled_out = on;
    struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = c};
    (void)epoll_ctl(c->l->epoll, EPOLL_CTL_MOD, c->fd, &e); /* cannot fail for a descriptor that is in it */
}

/* Closes and reports; why NULL: as it was asked to. */
void client_end(client *c, const char *why) {
    if (c->state == CLIENT_GONE) return;
    load *l = c->l;
    if (why) {
        if (l->failures++ == 0) (void)snprintf(l->why, sizeof l->why, "user %u: %s", c->user, why);
    }
    c->state = CLIENT_GONE;
    SSL_free(c->ssl);
    c->ssl = NULL;
    const struct linger now = {.l_onoff = 1}; /* no TIME_WAIT: thousands of logins a second would use up the ports */
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(c->fd);
    c->fd = -1;
    buf_fini(&c->in);
    buf_fini(&c->out);
    scram_free(c->scram);
    c->scram = NULL;
    l->on.gone(c, why);
}

static void client_write(client *c) {
    size_t at = 0;
    while (at < c->out.len) {
        ssize_t n;
        if (c->ssl) {
            int r = SSL_write(c->ssl, c->out.p + at, (int)(c->out.len - at));
            int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
            if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ) break;
            n = r > 0 ? r : -1;
            if (r <= 0) errno = EPIPE;
        } else {
            n = send(c->fd, c->out.p + at, c->out.len - at, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) break;
        }
        if (n < 0) {
            ERR_clear_error();
            client_end(c, "write failed");
            return;
        }
        at += (size_t)n;
    }
    buf_consume(&c->out, at);
    poll_for_output(c, c->out.len > 0);
    if (c->out.len == 0 && c->out.cap > 0 && c->state == CLIENT_READY && !c->data) buf_fini(&c->out);
}

static void write_dirty(load *l) {
    while (l->dirty) {
        client *c = l->dirty;
        l->dirty = c->next_dirty;
        c->dirty = false;
        if (c->state > CLIENT_HANDSHAKE && c->state != CLIENT_GONE && !c->polled_out) client_write(c);
    }
}

/* --- input */
static const xmpp_binding BINDINGS[] = {{{(const uint8_t *)"", 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}},
                                        {{(const uint8_t *)"stream", 6}, {(const uint8_t *)NS_STREAM, sizeof NS_STREAM - 1}}};
static const xmpp_scope SCOPE = {BINDINGS, ARRAY_LEN(BINDINGS)};

static void take_units(client *c) {
    size_t at = 0;
    while (c->state != CLIENT_GONE) {
        size_t len = 0;
        xmpp_stream_error bad = STREAM_OK;
        slice rest = slice_of(c->in.p + at, c->in.len - at);
        xmpp_unit u = xmpp_framer_next(&c->framer, rest, STANZA_MAX, DEPTH_MAX, &len, &bad);
        if (bad != STREAM_OK) {
            client_end(c, "the server does not write XML");
            return;
        }
        if (u == XMPP_UNIT_NONE) break;
        slice unit = slice_sub(rest, 0, len);
        at += len;
        if (u == XMPP_UNIT_CLOSE) {
            client_end(c, c->state == CLIENT_CLOSING ? NULL : "the server closed the stream");
        } else if (u == XMPP_UNIT_STANZA) {
            xmpp_node *root;
            if (xmpp_xml_parse(unit, &SCOPE, &c->l->arena, &root) != STREAM_OK)
                client_end(c, "the server does not write XML");
            else
                client_unit(c, root);
            arena_reset(&c->l->arena);
        }
    }
    if (c->state == CLIENT_GONE) return;
    buf_consume(&c->in, at);
    if (c->in.len == 0 && !c->data) buf_fini(&c->in);
}

static void client_read(client *c) {
    for (;;) {
        uint8_t *to = buf_reserve(&c->in, READ_BYTES);
        if (!to) {
            client_end(c, "a unit is too long");
            return;
        }
        ssize_t n;
        if (c->ssl) {
            int r = SSL_read(c->ssl, to, READ_BYTES);
            int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
            if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) break;
            n = r > 0 ? r : e == SSL_ERROR_ZERO_RETURN ? 0 : -1;
            ERR_clear_error();
        } else {
            n = recv(c->fd, to, READ_BYTES, 0);
            if (n < 0 && errno == EAGAIN) break;
        }
        if (n <= 0) {
            client_end(c, c->state == CLIENT_CLOSING ? NULL : n == 0 ? "the server closed the connection" : "the connection broke");
            return;
        }
        buf_added(&c->in, (size_t)n);
        if (!c->ssl && n < READ_BYTES) break;
    }
    take_units(c);
}

/* --- connecting */
client *client_new(load *l, uint32_t user, uint32_t session, void *data) {
    client *c = mem_zalloc(sizeof *c);
    *c = (client){.l = l, .user = user, .session = session, .data = data, .started = bench_nsec()};
    buf_init(&c->in, STANZA_MAX + READ_BYTES);
    buf_init(&c->out, OUT_MAX);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(l->cfg.port), .sin_addr.s_addr = inet_addr(l->cfg.host)};
    const int one = 1;
    if (c->fd >= 0) (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->fd < 0 || (connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)) {
        client_end(c, strerror(errno));
        return c;
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->polled_out = true;
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) client_end(c, strerror(errno));
    return c;
}

void client_free(client *c) {
    if (!c) return;
    client **p = &c->l->dirty;
    while (*p && *p != c) p = &(*p)->next_dirty;
    if (*p) *p = c->next_dirty;
    if (c->state != CLIENT_GONE) {
        load_events on = c->l->on;
        c->l->on.gone = client_gone_quietly;
        client_end(c, NULL);
        c->l->on = on;
    }
    mem_free(c->jid);
    mem_free(c);
}

void client_gone_quietly(client *c, const char *why) {
    (void)c;
    (void)why;
}

void client_leave(client *c) {
    client_ack(c);
    buf_add_str(client_out(c, false), "</stream:stream>");
    c->state = CLIENT_CLOSING;
}

void client_tls(client *c) {
    c->ssl = SSL_new(c->l->tls);
    static const uint8_t alpn[] = "\x0bxmpp-client";
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || !SSL_set_tlsext_host_name(c->ssl, c->l->cfg.domain) ||
        SSL_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1) != 0) {
        client_end(c, "no TLS");
        return;
    }
    SSL_set_connect_state(c->ssl);
    c->state = CLIENT_HANDSHAKE;
    client_handshake(c);
}

void client_handshake(client *c) {
    int r = SSL_do_handshake(c->ssl);
    int e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        poll_for_output(c, e == SSL_ERROR_WANT_WRITE);
        return;
    }
    ERR_clear_error();
    poll_for_output(c, false);
    if (e != SSL_ERROR_NONE)
        client_end(c, "the TLS handshake failed");
    else
        client_header(c);
}

static void on_connected(client *c) {
    int e = 0;
    socklen_t len = sizeof e;
    (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (e != 0) {
        client_end(c, strerror(e));
        return;
    }
    poll_for_output(c, false);
    if (c->l->cfg.tls == LOAD_DIRECT_TLS)
        client_tls(c);
    else
        client_header(c);
}

static void on_event(client *c, uint32_t events) {
    if (c->state == CLIENT_GONE) return;
    if (c->state == CLIENT_CONNECTING) {
        on_connected(c);
    } else if (c->state == CLIENT_HANDSHAKE) {
        client_handshake(c);
    } else {
        if (events & EPOLLOUT) client_write(c);
        if ((events & ~(uint32_t)EPOLLOUT) != 0 && c->state != CLIENT_GONE) client_read(c);
    }
}

void load_round(load *l, int msec) {
    struct epoll_event e[EVENTS_MAX];
    write_dirty(l);
    int n = epoll_wait(l->epoll, e, EVENTS_MAX, msec);
    l->now = bench_nsec();
    for (int i = 0; i < n; i++) on_event(e[i].data.ptr, e[i].events);
    write_dirty(l);
}
