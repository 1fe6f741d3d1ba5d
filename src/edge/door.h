#ifndef EDGE_DOOR_H
#define EDGE_DOOR_H
/* door: what the listeners and sessions of one shard share: who may come in (limits on connections, all together and per address; the
 * guard), the sockets that are listened on, the certificates to use, and scratch memory for the time of one callback. Touched on its
 * shard only, so it needs no lock. It outlives the edge actor of the shard, which finds in it after a crash what it had to look after;
 * counted references, because sessions hold on to it. Limits of the node are split: each shard enforces its share. */
#include "edge/guard.h"

typedef struct edge_ip {
    hmap_node node;
    uint64_t prefix; /* the IPv4 address, or the first 64 bits of the IPv6 address */
    uint8_t family;  /* sys_family */
    uint32_t count;  /* connections from it on this shard */
} edge_ip;

typedef struct edge_door {
    const edge_cfg *cfg;
    rt_node *node;
    sys *sys;
    tls *tls;
    tls_server *server; /* for new connections; NULL: no TLS */
    uint32_t refs;
    uint32_t conns;      /* connections now */
    uint32_t conns_max;  /* this shard's share; 0: unlimited */
    uint32_t per_ip_max; /* likewise */
    bool draining;       /* nobody comes in any more */
    rt_pid owner;        /* the edge actor of the shard */
    edge_guard *guard;
    struct edge_port *ports; /* what the shard listens on; see listener.h */
    rt_pid *watched;         /* partitions that it monitors for the sessions: one monitor instead of one a session */
    size_t n_watched, watched_cap;
    hmap ips;    /* edge_ip by prefix */
    arena arena; /* one unit's tree */
    buf plain;   /* decrypted input of one read */
    buf inner;   /* payload of one stanza */
    buf pack;    /* packed form of one stanza */
} edge_door;

#define EDGE_ARENA_MAX    (8u << 20)  /* memory that the tree of one stanza may take while it is handled */
#define EDGE_SCRATCH_KEEP (64u << 10) /* a scratch buffer that has grown past this is given back after use */

edge_door *edge_door_new(rt_node *n, const edge_cfg *cfg, tls_server *server); /* takes its own reference to server, which may be NULL */
edge_door *edge_door_ref(edge_door *d);
void edge_door_unref(edge_door *d);
void edge_door_set_server(edge_door *d, tls_server *server); /* takes its own reference */
/* Counts a connection from a in. ERR_LIMIT (force false): one limit or the other. *out_ip is handed back to edge_door_leave. */
NODISCARD err edge_door_enter(edge_door *d, const sys_addr *a, bool force, edge_ip **out_ip);
void edge_door_leave(edge_door *d, edge_ip *ip); /* NULL is fine */
/* A session depends on part: true if nobody of this shard did before, and the owner is to be told. */
bool edge_door_watch(edge_door *d, rt_pid part);
void edge_door_unwatch(edge_door *d, rt_pid part);
/* Empties the scratch memory; to be called when a callback is done with it. */
void edge_door_clean(edge_door *d);

#endif
