#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H
/* client: many XMPP clients in one thread over one epoll: connect, TLS, SASL, bind, stream management, presence; then messages both ways.
 * Works against any server of RFC 6120. Every unit from the server is read by murre's own framer and tokenizer, so that a server that
 * writes something unusual is understood all the same. */
#include "base/arena.h"
#include "base/buf.h"
#include "bench.h"
#include "proto/xmpp/framer.h"
#include "proto/xmpp/xml.h"
#include "scram.h"

typedef enum load_tls { LOAD_PLAIN, LOAD_STARTTLS, LOAD_DIRECT_TLS } load_tls;
typedef struct load_cfg {
    const char *host, *domain, *user, *password; /* user: a pattern in which %u stands for a number */
    const char *mech;                            /* PLAIN, SCRAM-SHA-256, SCRAM-SHA-1, ANONYMOUS */
    const char *resource;                        /* a pattern too; NULL: the server chooses */
    uint16_t port;
    load_tls tls;
    bool acks;     /* XEP-0198 on both sides */
    bool presence; /* available once bound */
    bool create;   /* XEP-0077: registers the user and closes instead of logging in */
} load_cfg;

typedef enum client_state {
    CLIENT_CONNECTING,
    CLIENT_HANDSHAKE, /* TLS */
    CLIENT_FEATURES,  /* our header is sent, features are to come */
    CLIENT_PROCEED,
    CLIENT_CREATE,
    CLIENT_AUTH,
    CLIENT_BIND,
    CLIENT_ENABLE,
    CLIENT_PRESENCE, /* sent, its echo is to come */
    CLIENT_READY,
    CLIENT_CLOSING, /* we said goodbye */
    CLIENT_GONE,
} client_state;

typedef struct load load;
typedef struct client client;
struct client {
    load *l;
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    client_state state;
    uint32_t user;    /* number of the user in the pattern */
    uint32_t session; /* number of the session of that user */
    bool authed, dirty, polled_out;
    bool sm;           /* stream management is on */
    uint32_t sm_in;    /* stanzas received since */
    uint32_t sm_out;   /* stanzas sent since */
    uint32_t sm_acked; /* of those, acked by the server */
    xmpp_framer framer;
    buf in, out;
    scram *scram;
    char *jid;        /* full, once bound */
    uint64_t started; /* nanoseconds */
    client *next_dirty;
    void *data; /* of the mode */
};

typedef struct load_events {
    void (*ready)(client *c);
    void (*message)(client *c, const xmpp_node *m);
    void (*acked)(client *c);                 /* sm_acked has changed */
    void (*gone)(client *c, const char *why); /* NULL: it was asked to */
} load_events;

struct load {
    load_cfg cfg;
    load_events on;
    int epoll;
    struct ssl_ctx_st *tls;
    scram_cache keys;
    arena arena;
    client *dirty;
    uint64_t now;      /* nanoseconds, read once a round */
    void *data;        /* of the mode */
    uint32_t failures; /* connections lost or refused that nobody asked to close */
    char why[256];     /* of the first failure */
};

bool load_init(load *l, const load_cfg *cfg, const load_events *on);
void load_fini(load *l);
/* Starts to connect and log in. */
client *client_new(load *l, uint32_t user, uint32_t session, void *data);
void client_free(client *c); /* closes at once if it is open; not from within its own callbacks */
/* The polite end: </stream:stream>, then gone(c, NULL) when the server has answered it. */
void client_leave(client *c);
/* What is to be sent; written at the end of the round. stanza: counts for stream management. */
buf *client_out(client *c, bool stanza);
void client_ask_ack(client *c);
void client_ack(client *c); /* what has come, if stream management is on */
/* One round: waits at most msec for something, handles it, writes. */
void load_round(load *l, int msec);
/* A name from a pattern. */
void load_name(char out[64], const char *pattern, uint32_t n);

#endif
