#ifndef TEST_EDGE_RIG_H
#define TEST_EDGE_RIG_H
/* edge_rig: a node of one or two shards with the real edge, stepped by one thread on a clock of the test's; a partition that the test
 * plays; TLS that is an exclusive or; and clients on loopback sockets. Nothing sleeps: expecting steps the node until it is so. */
#include "base/codec.h"
#include "base/mem.h"
#include "edge/c2s.h"
#include "edge/edge.h"
#include "edge/listener.h"
#include "proto/xmpp/env.h"
#include "rt/event.h"
#include "rt/stat.h"
#include "rt/workers.h"
#include "support/cmocka_unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define RIG_STEPS   200000
#define RIG_STANZAS 4096
#define RIG_KEY     0x5a /* what fake TLS xors with */

typedef struct rig_stanza {
    rt_pid from;
    uint32_t ticket;
    rt_blob *env;
    bool alone;
} rig_stanza;

typedef struct rig {
    sys *sys;
    sys real; /* the functions of sys before the rig replaced some */
    tls tls;
    rt_node *node;
    unsigned shards;
    svc_cfg svc;
    svc_domain domain[2];
    slice domain_name[2];
    edge_cfg edge;
    edge_services *edges;
    sys_addr bound, bound_tls;
    usec now;
    /* what the partition has seen */
    rt_pid part;
    rig_stanza st[RIG_STANZAS];
    size_t n_st;
    rt_pid session; /* the newest that was bound */
    unsigned binds, unbinds, auths, resumes, acks;
    uint32_t acked; /* newest SVC_ACKED */
    rt_blob *smid;
    rt_pid smid_of;
    char smid_user[64];
    unsigned made; /* resources made */
    char last_to[128];
    bool auto_done;       /* answer each stanza with SVC_DONE at once */
    bool auth_io;         /* answer SVC_AUTH with IO */
    bool part_small;      /* the partition has a mailbox of 8 messages */
    bool hold_pool;       /* jobs wait */
    bool silent;          /* do not answer SVC_BIND */
    bool accept_full;     /* the system is out of descriptors */
    unsigned accepts;     /* calls of accept */
    int rcvbuf;           /* of the clients' sockets; 0: the kernel chooses */
    xmpp_scram_keys keys; /* of alice; sha-256 */
} rig;

static rig *rig_now; /* the test's; one at a time */

/* --- TLS that is an exclusive or: the client says "HELLO", the server answers "SERVER" */
struct tls_server {
    unsigned refs;
    char name[16];
};
struct tls_conn {
    tls_server *server;
    char got[5];
    size_t n;
    buf early;
};
static inline tls_server *rig_server_new(const char *name) {
    tls_server *s = mem_zalloc(sizeof *s);
    s->refs = 1;
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}
static inline tls_server *rig_server_ref(tls_server *s) {
    s->refs++;
    return s;
}
static inline void rig_server_unref(tls_server *s) {
    if (--s->refs == 0) mem_free(s);
}
static inline tls_conn *rig_conn_new(tls_server *s) {
    tls_conn *c = mem_zalloc(sizeof *c);
    c->server = rig_server_ref(s);
    buf_init(&c->early, 65536);
    return c;
}
static inline void rig_conn_free(tls_conn *c) {
    if (!c) return;
    rig_server_unref(c->server);
    buf_fini(&c->early);
    mem_free(c);
}
static inline void rig_xor(slice in, buf *out) {
    for (size_t i = 0; i < in.len; i++) buf_add_byte(out, in.p[i] ^ RIG_KEY);
}
static inline err rig_conn_handshake(tls_conn *c, slice in, buf *out, bool *out_done) {
    size_t i = 0;
    while (i < in.len && c->n < 5) c->got[c->n++] = (char)in.p[i++];
    if (memcmp(c->got, "HELLO", c->n) != 0) return ERR_TLS;
    *out_done = c->n == 5;
    if (*out_done) buf_addf(out, "SERVER %s\n", c->server->name);
    buf_add(&c->early, slice_from(in, i));
    return ERR_OK;
}
static inline err rig_conn_read(tls_conn *c, slice in, buf *plain, buf *out) {
    (void)out;
    rig_xor(buf_slice(&c->early), plain);
    buf_reset(&c->early);
    rig_xor(in, plain);
    return ERR_OK;
}
static inline err rig_conn_write(tls_conn *c, slice plain, buf *out) {
    (void)c;
    rig_xor(plain, out);
    return ERR_OK;
}
static inline void rig_conn_close(tls_conn *c, buf *out) {
    (void)c;
    (void)out;
}
static inline err rig_conn_binding(tls_conn *c, tls_binding kind, buf *out) {
    (void)c;
    buf_add_str(out, kind == TLS_BINDING_EXPORTER ? "exporter-data" : "end-point-data");
    return ERR_OK;
}
static inline void rig_conn_info(tls_conn *c, tls_info *out) {
    (void)c;
    *out = (tls_info){.version = "TLSvX", .cipher = "XOR"};
}

/* --- the partition */
static inline void rig_part_keys(rt_ctx *cx, rt_pid to, svc_auth *a) {
    rig *r = rig_now;
    bool exists = slice_starts(rt_blob_slice(a->user), SLICE("alice@")) || slice_starts(rt_blob_slice(a->user), SLICE("bob@"));
    xmpp_scram_keys fake;
    xmpp_scram_fake(DIGEST_SHA256, SLICE("secret"), rt_blob_slice(a->user), 4096, &fake);
    buf b;
    buf_init(&b, 4096);
    svc_keys_pack(&b, NULL, exists ? &r->keys : &fake);
    rt_msg *m = rt_msg_new(cx, SVC_KEYS, sizeof(svc_keys));
    svc_keys_of(m)->ref = a->ref;
    svc_keys_of(m)->status = r->auth_io ? ERR_IO : ERR_OK;
    svc_keys_of(m)->exists = exists;
    svc_keys_of(m)->keys = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    r->auths++;
    rt_send(cx, to, &m);
}
static inline void rig_part_bind(rt_ctx *cx, rt_pid to, svc_bind *b) {
    rig *r = rig_now;
    char jid[256];
    slice user = rt_blob_slice(b->user), res = rt_blob_slice(b->resource);
    if (res.p)
        (void)snprintf(jid, sizeof jid, SLICE_FMT "/" SLICE_FMT, SLICE_ARG(user), SLICE_ARG(res));
    else
        (void)snprintf(jid, sizeof jid, SLICE_FMT "/r%u", SLICE_ARG(user), ++r->made);
    r->session = to;
    r->binds++;
    if (r->silent) return;
    rt_msg *m = rt_msg_new(cx, SVC_BOUND, sizeof(svc_bound));
    svc_bound_of(m)->ref = b->ref;
    if (res.p && slice_is(res, "taken"))
        svc_bound_of(m)->error = STANZA_CONFLICT;
    else
        svc_bound_of(m)->jid = rt_blob_new(slice_str(jid));
    rt_send(cx, to, &m);
}
static inline void rig_part_stanza(rt_ctx *cx, rt_pid from, svc_stanza *s) {
    rig *r = rig_now;
    assert_true(r->n_st < RIG_STANZAS);
    r->st[r->n_st++] = (rig_stanza){from, s->ticket, s->env, s->alone};
    s->env = NULL;
    if (!r->auto_done) return;
    rt_msg *m = rt_msg_new(cx, SVC_DONE, sizeof(svc_done));
    svc_done_of(m)->ticket = r->st[r->n_st - 1].ticket;
    rt_send(cx, from, &m);
}
static inline void rig_part_sm(svc_sm *q, rt_pid from) {
    rig *r = rig_now;
    rt_blob_unref(r->smid);
    r->smid = rt_blob_ref(q->smid);
    r->smid_of = from;
    slice bare = xmpp_jid_bare(rt_blob_slice(q->jid));
    (void)snprintf(r->smid_user, sizeof r->smid_user, SLICE_FMT, SLICE_ARG(bare));
}
static inline void rig_part_resume(rt_ctx *cx, rt_pid from, svc_resume *q) {
    rig *r = rig_now;
    bool same = r->smid && slice_eq(rt_blob_slice(r->smid), rt_blob_slice(q->smid)) && slice_is(rt_blob_slice(q->user), r->smid_user);
    rt_msg *m = rt_msg_new(cx, SVC_RESUMABLE, sizeof(svc_resumable));
    svc_resumable_of(m)->ref = q->ref;
    svc_resumable_of(m)->session = same ? r->smid_of : RT_PID_NONE;
    r->resumes++;
    rt_send(cx, from, &m);
}
static inline err rig_part_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    (void)arg;
    rig_now->part = rt_self(cx);
    return ERR_OK;
}
static inline err rig_part_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    rig *r = rig_now;
    rt_msg *m = *mp;
    (void)st;
    switch (m->tag) {
    case SVC_AUTH: rig_part_keys(cx, m->sender, svc_auth_of(m)); break;
    case SVC_BIND: rig_part_bind(cx, m->sender, svc_bind_of(m)); break;
    case SVC_STANZA: rig_part_stanza(cx, m->sender, svc_stanza_of(m)); break;
    case SVC_SM: rig_part_sm(svc_sm_of(m), m->sender); break;
    case SVC_RESUME: rig_part_resume(cx, m->sender, svc_resume_of(m)); break;
    case SVC_UNBIND: r->unbinds++; break;
    case SVC_ACKED:
        r->acks++;
        r->acked = svc_acked_of(m)->upto;
        break;
    default: break;
    }
    return ERR_OK;
}
static const rt_class rig_part_class = {.name = "part", .state_size = 8, .init = rig_part_init, .handle = rig_part_handle};

static const rt_class rig_small_class = {
    .name = "part", .state_size = 8, .init = rig_part_init, .handle = rig_part_handle, .mailbox_max = 8, .bound = RT_BOUND_REFUSE};

/* --- the node */
static inline usec rig_mono(sys *s) {
    (void)s;
    return rig_now->now;
}
static inline err rig_accept(sys *s, int fd, int *out_fd, sys_addr *out_peer) {
    rig *r = rig_now;
    r->accepts++;
    return r->accept_full ? ERR_FD_LIMIT : r->real.accept(s, fd, out_fd, out_peer);
}
static inline void rig_quiet(void *arg, const char *line) {
    (void)arg;
    (void)line;
}
static inline void rig_boot_part(rt_node *n) {
    rt_workers *pool;
    rt_workers_cfg c = {.name = "svc.part",
                        .cls = rig_now->part_small ? &rig_small_class : &rig_part_class,
                        .workers = rig_now->svc.partitions,
                        .intensity = 10,
                        .period = USEC_PER_SEC};
    assert_int_equal(rt_workers_boot(n, &c, &pool), ERR_OK);
}

/* Settings may be changed between rig_new and rig_start. */
static inline rig *rig_new(void) {
    rig *r = mem_zalloc(sizeof *r);
    rig_now = r;
    r->now = 1000 * USEC_PER_SEC;
    r->shards = 1;
    r->auto_done = true;
    svc_cfg_default(&r->svc);
    r->domain[0] = (svc_domain){SLICE("x.test"), false};
    r->domain[1] = (svc_domain){SLICE("anon.test"), true};
    r->domain_name[0] = r->domain[0].name;
    r->domain_name[1] = r->domain[1].name;
    r->svc.domains = r->domain;
    r->svc.n_domains = 2;
    r->svc.domain_names = r->domain_name;
    r->svc.partitions = 1;
    edge_cfg_default(&r->edge);
    r->edge.svc = &r->svc;
    r->edge.mechanisms |= 1u << XMPP_MECH_PLAIN;
    r->edge.tls_required = false;
    xmpp_scram_derive(DIGEST_SHA256, SLICE("secret"), SLICE("saltsaltsaltsalt"), 4096, &r->keys);
    return r;
}
static inline void rig_listen(rig *r, edge_transport t, sys_addr *out) {
    edge_listen_cfg c = {.transport = t};
    c.addr = (sys_addr){.family = SYS_INET4, .ip = {127, 0, 0, 1}};
    assert_int_equal(edge_listen(r->edges, &c, out), ERR_OK);
}
static inline void rig_step(rig *r) {
    for (unsigned i = 0; i < r->shards; i++) (void)rt_node_step(r->node, i, false);
    for (unsigned k = 0; k < RT_POOL_KINDS && !r->hold_pool; k++)
        while (rt_pool_run_one(r->node, (rt_pool_kind)k)) {
        }
}
/* Lets everything happen that is on its way. Loopback TCP is not synchronous everywhere, so this also gives the kernel a moment; what a
 * test waits for it waits for by rig_until or client_expect. */
static inline void rig_settle(rig *r) {
    usec from = r->real.mono(r->sys);
    for (int i = 0; i < 40 || r->real.mono(r->sys) - from < 2 * USEC_PER_MSEC; i++) rig_step(r);
}
#define rig_until(r, cond)                                                                                                                 \
    do {                                                                                                                                   \
        for (int i_ = 0; i_ < RIG_STEPS && !(cond); i_++) rig_step(r);                                                                     \
        rig_settle(r);                                                                                                                     \
        assert_true(cond);                                                                                                                 \
    } while (0)
static inline void rig_start(rig *r) {
    assert_int_equal(sys_linux_new(&r->sys), ERR_OK);
    r->real = *r->sys;
    r->sys->mono = rig_mono;
    r->sys->accept = rig_accept;
    r->tls = (tls){.server_ref = rig_server_ref,
                   .server_unref = rig_server_unref,
                   .conn_new = rig_conn_new,
                   .conn_free = rig_conn_free,
                   .conn_handshake = rig_conn_handshake,
                   .conn_read = rig_conn_read,
                   .conn_write = rig_conn_write,
                   .conn_close = rig_conn_close,
                   .conn_binding = rig_conn_binding,
                   .conn_info = rig_conn_info};
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.name = "test";
    c.shards = r->shards;
    c.recorder_path = NULL;
    c.ctl_path = NULL;
    assert_int_equal(rt_node_new(&c, r->sys, &r->tls, &r->node), ERR_OK);
    rt_log_sink(r->node, rig_quiet, NULL);
    rt_node_add_msgs(r->node, svc_msgs, svc_msgs_count);
    rt_node_add_msgs(r->node, edge_msgs, edge_msgs_count);
    rig_boot_part(r->node);
    tls_server *server = rig_server_new("one");
    assert_int_equal(edge_boot(r->node, &r->edge, server, &r->edges), ERR_OK);
    rig_server_unref(server);
    rig_listen(r, EDGE_STARTTLS, &r->bound);
    rig_listen(r, EDGE_DIRECT_TLS, &r->bound_tls);
    rig_settle(r);
}
static inline void rig_forget_stanzas(rig *r) {
    for (size_t i = 0; i < r->n_st; i++) rt_blob_unref(r->st[i].env);
    r->n_st = 0;
}
static inline void rig_free(rig *r) {
    rt_node_free(r->node);
    edge_services_free(r->edges);
    sys_linux_free(r->sys);
    rig_forget_stanzas(r);
    rt_blob_unref(r->smid);
    mem_free(r);
    rig_now = NULL;
}
/* Time passes in one leap. */
static inline void rig_advance(rig *r, usec by) {
    r->now += by;
    rig_settle(r);
}

/* --- what the partition sends */
static inline void rig_done(rig *r, rt_pid to, uint32_t ticket) {
    rt_msg *m = rt_msg_new_ext(SVC_DONE, sizeof(svc_done));
    svc_done_of(m)->ticket = ticket;
    rt_post(r->node, to, &m);
}
static inline void rig_deliver(rig *r, rt_pid to, const char *body, uint32_t keep) {
    xmpp_env e = {.kind = XMPP_MESSAGE, .type = XMPP_TYPE_CHAT};
    buf inner, pack;
    buf_init(&inner, 1u << 20);
    buf_init(&pack, 1u << 20);
    buf_addf(&inner, "<body>%s</body>", body);
    e.from = SLICE("bob@x.test/phone");
    e.inner = buf_slice(&inner);
    e.flags = XMPP_F_BODY;
    xmpp_env_pack(&pack, &e);
    rt_msg *m = rt_msg_new_ext(SVC_DELIVER, sizeof(svc_deliver));
    svc_deliver_of(m)->env = rt_blob_new(buf_slice(&pack));
    svc_deliver_of(m)->keep = keep;
    buf_fini(&inner);
    buf_fini(&pack);
    rt_post(r->node, to, &m);
}
static inline void rig_kick(rig *r, rt_pid to, xmpp_stream_error e) {
    rt_msg *m = rt_msg_new_ext(SVC_KICK, sizeof(svc_kick));
    svc_kick_of(m)->error = (uint8_t)e;
    rt_post(r->node, to, &m);
}
static inline xmpp_env rig_env(rig *r, size_t i) {
    xmpp_env e;
    assert_true(i < r->n_st);
    assert_int_equal(xmpp_env_unpack(rt_blob_slice(r->st[i].env), &e), ERR_OK);
    return e;
}

/* --- clients */
typedef struct client {
    rig *r;
    int fd;
    bool tls;
    bool eof;
    buf in;      /* everything received, in clear */
    size_t seen; /* expected so far */
} client;

static inline client *client_new(rig *r, const sys_addr *a) {
    client *c = mem_zalloc(sizeof *c);
    c->r = r;
    buf_init(&c->in, 64u << 20);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(c->fd >= 0);
    if (r->rcvbuf) assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &r->rcvbuf, sizeof r->rcvbuf), 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(a->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c->fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return c;
}
static inline void client_free(client *c) {
    if (c->fd >= 0) close(c->fd);
    buf_fini(&c->in);
    mem_free(c);
}
static inline void client_abort(client *c) { /* the connection is gone without a word */
    struct linger l = {1, 0};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(c->fd);
    c->fd = -1;
    rig_settle(c->r);
    rig_settle(c->r);
}
static inline void client_raw(client *c, slice s) {
    size_t at = 0;
    for (int i = 0; at < s.len && i < RIG_STEPS; i++) {
        ssize_t n = send(c->fd, s.p + at, s.len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else if (errno == EPIPE || errno == ECONNRESET)
            return;
        rig_step(c->r);
    }
}
static inline void client_send(client *c, const char *text) {
    if (!c->tls) {
        client_raw(c, slice_str(text));
        return;
    }
    buf b;
    buf_init(&b, 64u << 20);
    rig_xor(slice_str(text), &b);
    client_raw(c, buf_slice(&b));
    buf_fini(&b);
}
static inline void client_read(client *c) {
    uint8_t tmp[65536];
    ssize_t n = recv(c->fd, tmp, sizeof tmp, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) c->eof = true;
    for (ssize_t i = 0; i < n; i++) buf_add_byte(&c->in, c->tls ? tmp[i] ^ RIG_KEY : tmp[i]);
}
static inline bool client_has(client *c, const char *text) {
    slice all = slice_from(buf_slice(&c->in), c->seen);
    const void *at = all.p ? memmem(all.p, all.len, text, strlen(text)) : NULL;
    if (!at) return false;
    c->seen = (size_t)((const uint8_t *)at - c->in.p) + strlen(text);
    return true;
}
/* Steps until text comes, behind what was expected before. */
static inline bool client_wait(client *c, const char *text) {
    for (int i = 0; i < RIG_STEPS; i++) {
        if (client_has(c, text)) return true;
        if (c->eof) return false;
        rig_step(c->r);
        client_read(c);
    }
    return false;
}
#define client_expect(c, text)                                                                                                             \
    do {                                                                                                                                   \
        if (!client_wait(c, text)) {                                                                                                       \
            slice rest_ = slice_from(buf_slice(&(c)->in), (c)->seen);                                                                      \
            print_error("expected '%s', got '" SLICE_FMT "'%s\n", text, SLICE_ARG(rest_), (c)->eof ? " and the end" : "");                 \
            assert_true(false);                                                                                                            \
        }                                                                                                                                  \
    } while (0)
/* Reads what comes until nothing more does: text must not be in it. */
static inline bool client_quiet(client *c, const char *text) {
    for (int i = 0; i < 4; i++) {
        rig_settle(c->r);
        client_read(c);
    }
    return !client_has(c, text);
}
static inline bool client_closed(client *c) {
    for (int i = 0; i < RIG_STEPS && !c->eof; i++) {
        rig_step(c->r);
        client_read(c);
    }
    return c->eof;
}
#define HEADER                                                                                                                             \
    "<?xml version='1.0'?><stream:stream to='x.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
#define HEADER_LANG                                                                                                                        \
    "<stream:stream to='x.test' version='1.0' xml:lang='de' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
#define NSSASL   "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
#define NSSM     "xmlns='urn:xmpp:sm:3'"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

static inline client *client_open(rig *r) {
    client *c = client_new(r, &r->bound);
    client_send(c, HEADER);
    client_expect(c, "</stream:features>");
    return c;
}
static inline void client_starttls(client *c) {
    client_send(c, STARTTLS);
    client_expect(c, "<proceed");
    client_expect(c, ">");
    client_raw(c, SLICE("HELLO"));
    client_expect(c, "SERVER one\n");
    c->tls = true;
}
/* PLAIN: the shortest way in. */
static inline void client_plain(client *c, const char *user, const char *password) {
    char raw[128];
    int n = snprintf(raw, sizeof raw, "%c%s%c%s", 0, user, 0, password);
    buf b;
    buf_init(&b, 1024);
    buf_add_str(&b, "<auth " NSSASL " mechanism='PLAIN'>");
    base64_encode(&b, slice_of(raw, (size_t)n));
    buf_add_str(&b, "</auth>");
    buf_add_byte(&b, 0);
    client_send(c, (const char *)b.p);
    buf_fini(&b);
}
static inline void client_auth(client *c, const char *user) {
    client_plain(c, user, "secret");
    client_expect(c, "<success");
    client_send(c, HEADER_LANG);
    client_expect(c, "<bind");
    client_expect(c, "</stream:features>");
}
static inline void client_bind(client *c, const char *resource) {
    char t[256];
    (void)snprintf(t, sizeof t, "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>",
                   resource);
    client_send(c, t);
}
/* A bound session; r->session is its pid. */
static inline client *client_login(rig *r, const char *user, const char *resource) {
    client *c = client_open(r);
    client_auth(c, user);
    client_bind(c, resource);
    client_expect(c, "</jid>");
    client_expect(c, "</iq>");
    return c;
}
static inline void client_sm(client *c) {
    client_send(c, "<enable " NSSM " resume='true'/>");
    client_expect(c, "<enabled");
    client_expect(c, ">");
}

#endif
