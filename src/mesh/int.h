#ifndef MESH_INT_H
#define MESH_INT_H
/* int: what the files of the mesh know of each other. */
#include "mesh/gauge.h"
#include "mesh/mesh.h"
#include "proto/dist/frame_in.h"
#include "proto/dist/handshake.h"
#include "rt/node.h"
#include "rt/sup.h"
#include "rt/table.h"
#include "rt/tls_slot.h"

typedef struct mesh_port { /* a listening socket of one shard */
    mesh *m;
    struct mesh_port *self; /* its acceptor's arg points here */
    sys_addr addr;
    bool secure; /* TLS is required */
    int fd;      /* -1: its acceptor has it, or had */
    rt_child child;
    rt_sup_spec spec;
} mesh_port;

enum {
#define SERVICE(class, name, doc) MESH_SERVICE_##class,
#include "mesh/services.def"
#undef SERVICE
    MESH_SERVICES /* how many */
};

typedef struct mesh_pg_place { /* a scope of process groups */
    mesh *m;
    struct mesh_pg_place *self; /* its actor's arg points here */
    const char *name;
    rt_class cls; /* with its count */
    rt_class_count count;
} mesh_pg_place;

struct mesh {
    rt_remote remote; /* the plug */
    rt_node *node;
    mesh_cfg cfg;
    tls_slot tls;   /* empty: node.tls.cert is not set */
    bool certified; /* something is, and will be */
    dist_self self;
    dist_in_cfg limits;               /* of what a peer may send */
    dist_atoms *atoms[RT_SHARDS_MAX]; /* that the peers of links on that shard have named; touched there only, once links run */
    rt_tid names;                     /* name of a node -> mesh_peer */
    rt_tid nodes;                     /* number of a node -> mesh_node */
    rt_tid challenges;                /* that this node has sent, in handshakes that are not over */
    rt_tid wanted;                    /* name of a node that is to be connected -> mesh_want */
    _Atomic uint32_t next_index;      /* relaxed: only unique */
    _Atomic uint64_t next_watch;      /* likewise */
    _Atomic uint32_t handshakes;      /* under way; relaxed: only a count */
    _Atomic bool left;                /* domains.c: no connection any more; relaxed: whoever comes up all the same is ended by MESH_END */
    usec since;                       /* when it was made, on the wall's clock */
    mesh_port *ports[MESH_LISTEN_MAX][RT_SHARDS_MAX];
    size_t n_ports;
    uint16_t port;               /* of the first one */
    mesh *itself;                /* args of actors point here */
    usec born;                   /* monotonic, when it was made: its node's beginning, for others */
    _Atomic uint64_t wall_clock; /* msec after that when statistics(wall_clock) was last asked for; relaxed: a number of its own */
    rt_child services[MESH_SERVICES];
    rt_class global_class; /* with its count */
    rt_class_count global_count;
    rt_sup_spec services_spec;
    void (*stop)(void *arg, bool now, int status); /* origin.h; NULL: nobody may */
    void *stop_arg;
    rt_blob *origin; /* the process that started this node, if it is followed: a pid as a term, without version byte */
    rt_child origin_child;
    rt_sup_spec origin_spec;
    mesh_pg_place *scopes; /* of cfg.n_pg_scopes */
    rt_child *scope_children;
    rt_sup_spec scopes_spec;
    rt_child epmd_child;
    rt_sup_spec epmd_spec;
    rt_child dial_children[2];
    rt_sup_spec dial_spec;
};

dist_atoms *mesh_atoms(mesh *m, unsigned shard);    /* from that shard */
bool mesh_secure(const mesh *m, const sys_addr *a); /* connections to and from there need TLS */

/* --- peers.c: both tables. Any shard; a step each, as seen by all. */
typedef struct mesh_peer {
    uint32_t index; /* its number, of this creation; 0: it was never up */
    uint32_t creation;
    rt_pid up;       /* the link that is connected; RT_PID_NONE */
    rt_pid takeover; /* the link that takes its place: its peer has proved to know the cookie; RT_PID_NONE */
    rt_pid loss;     /* up has ended, and this actor tells those whom that concerns (loss.c); RT_PID_NONE */
    rt_pid attempt;  /* the link that dials it, whose handshake is not over; RT_PID_NONE */
} mesh_peer;
typedef struct mesh_node {
    rt_pid link;
    mesh_gauge *gauge; /* of the link; good as long as the reader is inside */
    uint32_t creation;
    bool hidden;
    uint8_t name_len;
    uint8_t name[DIST_NAME_MAX];
} mesh_node;
NODISCARD err mesh_peers_init(mesh *m, rt_ctx *cx);
/* What an accepted handshake is to answer a peer of that name. *out_old: the link that is up, or tells of its loss; RT_PID_NONE if none is.
 * It has proved nothing yet, so nothing is noted. */
dist_verdict mesh_peers_admit(mesh *m, rt_ctx *cx, slice name, rt_pid *out_old);
/* A peer that was answered with alive has proved to know the cookie: this link may take the place of old, from admit, which has to give way
 * if it is still there. False: another one takes it, or has it. */
NODISCARD bool mesh_peers_take(mesh *m, rt_ctx *cx, slice name, rt_pid old);
/* The calling link is about to dial the node of that name, until mesh_peers_up or mesh_peers_down. ERR_EXISTS: it is up, about to be, or
 * dialled already; ERR_REFUSED: this node has left; ERR_LIMIT, ERR_FULL: there is no room in a table. */
NODISCARD err mesh_peers_dial(mesh *m, rt_ctx *cx, slice name);
bool mesh_peers_wanted(mesh *m, rt_ctx *cx, slice name); /* is the attempt of the calling link noted, and nothing up? */
rt_pid mesh_peers_of(mesh *m, rt_ctx *cx, slice name);   /* the link that is up; RT_PID_NONE */
/* Whose end is to be waited for before another link of that name can be up: that link, or who tells of its loss; RT_PID_NONE: nobody. */
rt_pid mesh_peers_holder(mesh *m, rt_ctx *cx, slice name);
/* The handshake is over. An attempt of our own that this link was faster than is told to end. ERR_EXISTS: another link of that name was
 * faster; ERR_BUSY: our own attempt is to win; ERR_REFUSED: this node has left; ERR_LIMIT, ERR_FULL: there is no room in a table. */
NODISCARD err mesh_peers_up(mesh *m, rt_ctx *cx, slice name, uint32_t creation, bool hidden, mesh_gauge *gauge, uint32_t *out_index);
/* A link is over, up or not. invented: the name was made for this connection and never comes again. */
void mesh_peers_down(mesh *m, rt_ctx *cx, rt_pid link, slice name, bool invented);
/* A link that was up has ended, but counts as up until this actor has told everybody and says mesh_peers_down. */
void mesh_peers_lost(mesh *m, rt_ctx *cx, rt_pid link, slice name);
rt_pid mesh_peers_loss(mesh *m, rt_ctx *cx, slice name); /* that actor; RT_PID_NONE */
/* The link to a node; RT_PID_NONE: not connected, or never heard of. */
rt_pid mesh_peers_link(mesh *m, rt_ctx *cx, uint32_t index);
/* Calls fn for each node that is connected now; nodes: the table of that name. */
#define MESH_NODES "mesh.nodes"
#define MESH_NAMES "mesh.names"
bool mesh_peers_find(rt_reader *r, slice name, uint32_t *out_index, mesh_node *out); /* for any thread; false: it is not connected */
void mesh_peers_each(rt_tid nodes, rt_reader *r, void (*fn)(void *arg, uint32_t index, const mesh_node *n), void *arg);

/* A challenge for a handshake, 32 random bits, and noted: no handshake of this node answers it until it is over (proto/dist/handshake.h,
 * dist_handshake_reply). ERR_LIMIT, ERR_FULL: there is no room. */
NODISCARD err mesh_challenge_draw(mesh *m, rt_ctx *cx, uint32_t *out);
bool mesh_challenge_ours(mesh *m, rt_ctx *cx, uint32_t c);
void mesh_challenge_over(mesh *m, rt_ctx *cx, uint32_t c);

/* --- plug.c: what actors here say to processes of other nodes finds its link there. A node that is not connected gets nothing. */
void mesh_plug_init(mesh *m);
/* From the actor that calls, or from none (boot), a term as in MESH_TERM; takes a reference of its own. name: a registered one over there;
 * etf_is_atom. */
void mesh_send_name(rt_ctx *cx, mesh *m, uint32_t index, slice name, rt_blob *term);
void mesh_send_pid(rt_ctx *cx, rt_pid to, rt_blob *term);
/* The calling actor monitors whoever has that registered name there, as rt_monitor does a pid: exactly one RT_DOWN comes, whose pid is only
 * of the node (id and serial 0 are said of no name). NOPROC: nobody has it; NOCONN: the node is not connected, or not any more. */
uint64_t mesh_monitor_name(rt_ctx *cx, mesh *m, uint32_t index, slice name);
/* The calling actor monitors a process that the other node is to make for it: what, {Module, Function, Args} as a term without version
 * byte, is what that runs (OTP: erlang:spawn_request/5 with monitor). The RT_DOWN is as above; a node that cannot: ERR_UNSUPPORTED, or an
 * atom as the reason. The process goes on when the monitor is given up. */
uint64_t mesh_monitor_spawn(rt_ctx *cx, mesh *m, uint32_t index, rt_blob *what);
/* The number of a node that is connected; false: it is not. */
NODISCARD bool mesh_node_index(mesh *m, rt_ctx *cx, slice name, uint32_t *out);
/* A LINK or MONITOR that cannot be said is answered, as the other node would. */
void mesh_plug_refuse(rt_ctx *cx, const mesh_signal_msg *s, err reason);
/* Ends the connection to a node; why, a string that stays, goes into the log. Nothing if it is not connected. */
void mesh_disconnect(rt_ctx *cx, mesh *m, uint32_t index, const char *why);

/* --- service.c: the actors that other nodes reach by name (services.def) */
NODISCARD err mesh_service_boot(mesh *m, rt_ctx *cx);
rt_pid mesh_service_find(rt_ctx *cx, slice name); /* RT_PID_NONE: it is no service, or does not run at the moment */
bool mesh_service_is(rt_ctx *cx, rt_pid p);
bool mesh_service_is_name(slice name); /* of services.def */
/* Tells every service that runs, with MESH_NODE, that a node has been put into the table of nodes (up), or taken out. An up comes before
 * all that its processes say, a down after all that. A service that starts registers its name first and then asks mesh_peers_each who is
 * there: so it misses nobody, but may hear of an up that it has seen already. A node that comes back in the same life has the same index,
 * and the up of its new link may overtake the down of its old one: an up with another link means that the old one is down, and a down of a
 * link that is not the one last heard of says nothing new. */
void mesh_service_tell(rt_ctx *cx, const mesh_node_msg *n);
void mesh_service_tell_one(rt_ctx *cx, rt_pid to, const mesh_node_msg *n); /* none: fine */

/* --- pg_boot.c: scopes of process groups are services whose names are set */
void mesh_pg_new(mesh *m); /* the scopes of m->cfg, which mesh_pg_check has seen */
void mesh_pg_free(mesh *m);
NODISCARD err mesh_pg_boot(mesh *m, rt_ctx *cx);
#define MESH_PG_SCOPES "mesh.scopes" /* table: name of a scope of this node -> a byte of no meaning */
/* Calls fn for each scope, whether it runs at the moment or not. */
void mesh_pg_each(rt_reader *r, void (*fn)(void *arg, slice name), void *arg);
bool mesh_pg_is(rt_ctx *cx, rt_pid p);
/* A term without version byte as OTP writes it, so that the same group has the same bytes; NULL: it is not
 * one. */
rt_blob *mesh_pg_group_blob(slice group);
void mesh_pg_tell(rt_ctx *cx, const mesh_node_msg *n); /* as mesh_service_tell */
struct rt_verb_call;
err mesh_pg_verb(struct rt_verb_call *c); /* pg_verbs.c */
extern const rt_class mesh_pg_class;      /* arg: mesh_pg_place *const * */

/* --- identities: pids of this node as others see them, and the reasons of exits */
bool mesh_own_pid(const mesh *m, const etf_pid *p, rt_pid *out); /* false: of another node, or of an earlier life of this one */
etf_pid mesh_etf_pid(const mesh *m, rt_pid own);
/* The reference of a monitor that the runtime numbers; what is not one of this life of the node is false. */
etf_ref mesh_etf_ref(const mesh *m, uint64_t number);
bool mesh_own_ref(const mesh *m, const etf_ref *r, uint64_t *out_number);
err mesh_reason_in(etf_reader r, rt_blob **out_term); /* ERR_FOREIGN: *out_term is the caller's; NULL: it is no term */
void mesh_reason_out(err reason, const rt_blob *term, buf *out);
rt_blob *mesh_term_blob(etf_reader *r); /* one term, complete in itself and with its version byte; NULL: it is none */

extern const rt_class mesh_acceptor_class; /* arg: mesh_port *const * */
extern const rt_class mesh_epmd_class;     /* arg: mesh *const *, as of services: */
#define SERVICE(class, name, doc) extern const rt_class mesh_##class##_class;
#include "mesh/services.def"
#undef SERVICE
#endif
