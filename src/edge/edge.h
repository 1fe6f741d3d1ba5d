#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H
/* edge: where clients connect: listeners and one actor per client connection (c2s), which turns bytes into requests to svc and back. It
 * decides nothing about routing. An idle session keeps no parser, no buffer; everything that a client can make grow has a limit below. */
#include "proto/xmpp/sasl.h"
#include "svc/svc.h"

#define MSG RT_MSG_DECLARE
#include "edge/edge.def"
#undef MSG
enum {
    EDGE_TAG_FIRST_ = RT_TAG_EDGE - 1,
#define MSG(T, n, d) T,
#include "edge/edge.def"
#undef MSG
    EDGE_TAG_END_
};
extern const rt_msg_desc edge_msgs[];
extern const size_t edge_msgs_count;

typedef struct edge_cfg { /* immutable after boot; outlives the node */
    const svc_cfg *svc;
    bool tls_required; /* true: before TLS only starttls is accepted */
    uint32_t
        mechanisms; /* bit (1u << xmpp_mech); PLAIN only ever offered under TLS (or when tls_required is false); -PLUS only under TLS */
    uint32_t stanza_bytes_max;  /* after authentication (256 KiB) */
    usec auth_deadline;         /* from accept to authenticated (30 s) */
    uint32_t auth_failures_max; /* per connection (3) */
    uint32_t account_failures;  /* wrong passwords for one account from one address (10; 0: no limit; see guard.h for all six) ... */
    usec account_refill;        /* ... and when it may be one more (30 s) */
    uint32_t address_failures;  /* from one address, whatever the account (50; 0: no limit) */
    usec address_refill;        /* (6 s) */
    uint32_t slow_failures;     /* for one account from anywhere, after which attempts are delayed (100; 0: no limit) */
    usec slow_refill;           /* (10 s) */
    uint32_t accept_rate;       /* connections a second, all together (10,000; 0: no limit) */
    uint32_t accept_rate_ip;    /* and from one address; per_ip_max may come at once, and always a second of them (100; 0: no limit) */
    usec idle_ping;             /* a silent client is pinged (or asked to ack) after this (5 min) ... */
    usec idle_timeout;          /* ... and closed when nothing came for this long after (1 min) */
    usec write_timeout;         /* a client that takes no byte for this long while some wait is closed (60 s) */
    uint32_t out_bytes_max;     /* output waiting for one client (1 MiB); past it best-effort traffic is dropped, then the client closed */
    usec resume_timeout;        /* a lost connection can be resumed for this long (5 min); 0: resumption off */
    uint32_t unacked_max;       /* stanzas held for an SM client (1,000); past it the session ends */
    uint32_t per_ip_max;        /* connections per IPv4 address or IPv6 /64 (1,000; 0: unlimited) */
    uint32_t connections_max;   /* per node; 0: what the descriptor limit leaves */
    uint32_t backlog;           /* of listen(2) (1,024) */
    uint32_t fd_reserve;        /* descriptors kept free for the store and tools (64) */
} edge_cfg;
void edge_cfg_default(edge_cfg *c);

typedef enum edge_transport { EDGE_STARTTLS, EDGE_DIRECT_TLS } edge_transport;
typedef struct edge_listen_cfg {
    edge_transport transport;
    sys_addr addr; /* port 0: any; the same port on every shard */
} edge_listen_cfg;
/* What the edge actors and their supervisors stand on: to be freed after the node. */
typedef struct edge_services edge_services;
/* Starts the edge actor of every shard, supervised: after a crash it is restarted, goes on with what the shard listens on and watches,
 * and no session notices; too many crashes end the node. server: for all listeners; NULL: no TLS on this node; takes its own reference.
 * At boot. *out_services is set also on failure: actors may hold on to it until the node is freed. */
NODISCARD err edge_boot(rt_node *n, const edge_cfg *c, tls_server *server, edge_services **out_services);
void edge_services_free(edge_services *s); /* NULL is fine */
/* Opens a listener on every shard (SO_REUSEPORT), supervised. out_bound: the address in use. ERR_ADDR_IN_USE, ERR_PERM. At boot. */
NODISCARD err edge_listen(edge_services *s, const edge_listen_cfg *c, sys_addr *out_bound);
/* The edge actor of a shard; RT_PID_NONE while it is restarted. Any thread. */
rt_pid edge_shard(rt_node *n, unsigned shard);
/* New certificates for all listeners of the node; present connections keep theirs. Any thread. Takes its own reference. */
void edge_set_tls(rt_node *n, tls_server *server);
/* Stops accepting and sends every session system-shutdown after its output; any thread. Progress: edge_session_count. */
void edge_drain(rt_node *n, const char *text);
uint32_t edge_session_count(rt_node *n);
extern const rt_verb edge_verbs[]; /* what operators ask of the connections */
extern const size_t edge_verbs_count;

#endif
