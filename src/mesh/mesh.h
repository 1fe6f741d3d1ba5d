#ifndef MESH_MESH_H
#define MESH_MESH_H
/* mesh: this node as a member of an Erlang cluster (OTP: erl_dist_protocol; kernel's net_kernel and dist_util).
 *
 *      acceptor (every shard) --spawn--> link: handshake --> up: frames <--> signals and terms --> actors
 *                                         |    ^
 *                              peers: who has which name, who is up; the number of a node (rt_pid.node) -> its link
 *
 * An actor of a foreign class (rt_class.foreign) gets what processes of other nodes send as MESH_TERM; its answer is MESH_TERM too,
 * sent to the sender's pid. Links, monitors and exits are the runtime's own. */
#include "mesh/msgs.h"
#include "rt/remote.h"
#include "rt/verbs.h"

#define MESH_TICK_INTENSITY 4u                  /* ticks in a ticktime (OTP: net_tickintensity) */
#define MESH_TICKTIME       (60 * USEC_PER_SEC) /* OTP: net_ticktime */
#define MESH_SETUP_TIME     (15 * USEC_PER_SEC) /* OTP: net_setuptime, whose 7 s are too short where thousands of nodes start */
#define MESH_LISTEN_MAX     16u                 /* addresses that a node listens on */
#define MESH_LINK_BYTES     (1u << 20)          /* OTP: dist_buf_busy_limit, +zdbbl */
#define MESH_EPMD_CONNS_MAX 4096u               /* to the port mapper in this node: one for each node of the machine */
#define MESH_RELATIONS_MAX  1000000u            /* some 200 bytes each */
#define MESH_HANDSHAKES_MAX 4096u               /* under way at a time: some 2 KiB each, under TLS some 50 KiB more, and a descriptor */
#define MESH_SEEDS_MAX      4096u               /* nodes that this one keeps itself connected to: some 400 bytes each */
#define MESH_DNS_MAX        30u                 /* names that are asked for nodes */
#define MESH_DNS_EVERY      (10 * USEC_PER_SEC)
#define MESH_DIAL_RATE      100u                /* attempts a second */
#define MESH_DIALS_MAX      100u                /* attempts at a time */
#define MESH_DIAL_FIRST     USEC_PER_SEC        /* after an attempt that failed: half of it to all of it; twice as long each time */
#define MESH_DIAL_YIELDING  (8 * USEC_PER_SEC)  /* the same of a node whose name is greater, which dials by itself once it runs */
#define MESH_DIAL_LAST      (60 * USEC_PER_SEC) /* but not longer */
#define MESH_DIAL_STEADY    (10 * USEC_PER_SEC) /* a connection that is lost before counts as an attempt that failed */
#define MESH_DIAL_PATIENCE  (3 * USEC_PER_SEC)  /* a node whose name is greater is left to dial for so long and up to 1 s more */
#define MESH_WHY_MAX        256u                /* bytes of a sentence with its NUL */

typedef struct mesh_cfg {
    slice name;              /* alive@host; borrowed, as the cookie, until mesh_free */
    slice cookie;            /* of all peers (proto/dist/cookie.h) */
    const slice *domains;    /* that this node serves, in the form in which they are compared; borrowed likewise */
    size_t n_domains;        /* 0: it serves none */
    bool hidden;             /* not in nodes() of the others, who then do not introduce it to each other */
    usec ticktime;           /* a peer that says nothing for so long is gone; all nodes of a cluster have the same */
    usec setup_time;         /* a handshake takes at most this */
    size_t link_bytes;       /* waits for a peer; past it, who adds to it is slowed down until it is half (EV_MESH_BUSY) */
    int backlog;             /* connections that wait to be accepted */
    size_t relations_max;    /* links and monitors of one peer here, past which it is cut off; as many of actors here there (ERR_LIMIT) */
    uint32_t handshakes_max; /* accepted connections that are not up yet, at least 1; past it they are closed at once (EV_MESH_CROWDED) */
    const char *version;     /* of the program, for tools of other nodes; outlives the mesh */
    bool tls_required;       /* on loopback too; everywhere else it always is */
    tls *tls;                /* how; NULL: not at all */
    tls_server *tls_server;  /* with what, among peers (rt/tls.h); NULL: not at all. Borrowed for mesh_new, which takes its own reference */
    sys_addr epmd;           /* the port mapper to register with; port 0: none */
    bool epmd_serve;         /* this node is the port mapper there while nobody else is; epmd is then 127.0.0.1 */
    uint32_t epmd_conns_max; /* to it, registered nodes and who asks, at least 1; past it they are closed at once (EV_EPMD_CROWDED) */
    uint16_t mapper_port;    /* of the port mappers that are asked where nodes listen */
    uint32_t dial_rate;      /* 1 to 10000: attempts a second to connect to nodes */
    uint32_t dials_max;      /* at least 1: such attempts at a time */
    const char *const *dns;  /* names whose addresses are those of nodes (mesh_dns_check), n_dns of them; borrowed until mesh_free */
    size_t n_dns;            /* at most MESH_DNS_MAX */
    usec dns_every;          /* how often they are looked up */
    const char *const *pg_scopes; /* names of scopes of process groups (mesh/pg.h), n_pg_scopes of them; borrowed until mesh_free */
    size_t n_pg_scopes;
} mesh_cfg;
void mesh_cfg_default(mesh_cfg *c); /* all but name and cookie */

typedef struct mesh mesh;
/* Between rt_node_new and boot: messages, verbs, the plug. creation is drawn. ERR_INVALID: the name is none; ERR_AUTH: the cookie is too
 * weak; as mesh_pg_check. Freed after the node. */
NODISCARD err mesh_new(rt_node *n, const mesh_cfg *c, mesh **out);
void mesh_free(mesh *m);
/* Boot: net_kernel, and acceptors on every shard for an address. *out_bound: with the port that was bound. ERR_TLS: it needs TLS, as every
 * address does that is not loopback, and there is none. */
NODISCARD err mesh_boot(mesh *m);
NODISCARD err mesh_listen(mesh *m, const sys_addr *a, sys_addr *out_bound);

/* Other certificates, from now on, for connections that begin; any thread. Takes its own reference. */
void mesh_set_tls(mesh *m, tls_server *server);

/* Registers the port of the first mesh_listen with the port mapper, and keeps it registered. Nothing if there is none. */
NODISCARD err mesh_register(mesh *m);

/* Can a node be dialled that is written so, from the one named own, which has certificates (secure) or none? why: a sentence. mesh/dial.h
 * has the form. ERR_INVALID; ERR_PERM: it has none, and that node need not be on this machine. */
NODISCARD err mesh_seed_check(slice own, bool secure, slice text, char why[MESH_WHY_MAX]);
/* Is that a name for cfg.dns: alive@name, or alive@name:port? ERR_INVALID; why: a sentence. */
NODISCARD err mesh_dns_check(slice text, char why[MESH_WHY_MAX]);
/* After mesh_listen: keeps this node connected to these, at most MESH_SEEDS_MAX, and to those that an operator adds. ERR_INVALID, ERR_PERM:
 * as mesh_seed_check; ERR_LIMIT. */
NODISCARD err mesh_dial(mesh *m, const slice *seeds, size_t n);
/* Before mesh_dial: a list beside those, which mesh_relist swaps for another one. Errors: likewise. */
NODISCARD err mesh_dial_listed(mesh *m, const slice *seeds, size_t n);
/* Any thread outside the shards: this list instead of the one before, in one step. Who is in both is not disturbed; who is in the old one
 * alone is not dialled any more, but stays connected. why: a sentence. ERR_INVALID, ERR_PERM, ERR_LIMIT: nothing has changed; ERR_TIMEOUT,
 * ERR_NOPROC: it did not hear of it, or not in time. */
NODISCARD err mesh_relist(mesh *m, const slice *seeds, size_t n, char why[MESH_WHY_MAX]);

/* Connections to other nodes, as they are at the moment; any thread. */
typedef struct mesh_load {
    uint64_t links, busy; /* that are up; of those: past link_bytes */
    uint64_t bytes;       /* that wait for all of them */
} mesh_load;
void mesh_load_read(const mesh *m, mesh_load *out);

slice mesh_name(const mesh *m);        /* of this node */
bool mesh_has_left(const mesh *m);     /* another node of the cluster serves one of the domains and stays (EV_MESH_DOMAIN); any thread */
uint32_t mesh_creation(const mesh *m); /* which life of this node's name it is: 4 to 2^32-1 */

/* The node's mesh, for verbs: murrectl nodes. */
extern const rt_verb mesh_verbs[];
extern const size_t mesh_verbs_count;
#endif
