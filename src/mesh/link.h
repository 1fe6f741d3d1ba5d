#ifndef MESH_LINK_H
#define MESH_LINK_H
/* link: one connection to another node: an actor that owns the socket. link.c: its life and its bytes; link_dial.c: until there is a
 * connection, if we dial; link_hand.c: the handshake; link_in.c: what the peer says; link_out.c: what is said to it;
 * link_turn.c: what of that has to wait; link_tls.c: TLS around all of it. */
#include "mesh/dial.h"
#include "mesh/lanes.h"
#include "mesh/lookup.h"
#include "mesh/rels.h"
#include "mesh/rpc.h"
#include "proto/dist/frame_in.h"
#include "proto/dist/frame_out.h"

#define MESH_ANSWERS_MAX (64u << 20)                /* to a peer that asks and does not read; it cannot be slowed down otherwise */
#define MESH_TURN_MAX    (4u * DIST_FRAGMENT_BYTES) /* of what waits, put into out in one go */
#define MESH_CACHE_REST  100u /* messages to a peer before its atom cache is used: more than nodes say to each other when they meet */

typedef struct mesh_link_arg {
    mesh *m;
    int fd; /* of an accepted connection */
    sys_addr addr;
    const mesh_seed *dial; /* whom to dial; NULL: the connection was accepted */
    rt_pid teller;         /* who wants it dialled, and is told with MESH_DIALLED */
    uint64_t ticket;
    bool secure; /* TLS is required where it came in */
} mesh_link_arg;

typedef enum mesh_stage {                     /* of dialling: what has happened */
                          MESH_LOOKED_UP,     /* the host's addresses are asked for */
                          MESH_CALLED_MAPPER, /* connecting to the port mapper began */
                          MESH_ASKED_MAPPER,  /* the question is written */
                          MESH_CALLED_NODE,   /* connecting to the node began */
                          MESH_SHAKES_TLS,    /* the TLS handshake began */
                          MESH_SAID_NAME,     /* the handshake began */
                          MESH_PROVED,        /* our answer to the peer's challenge is written */
} mesh_stage;

#define MESH_ADDRS_MAX 8u          /* of a host that are tried */
typedef struct mesh_call {         /* of a link that dials */
    sys_addr node, at;             /* the node; to whom it connects at the moment */
    sys_addr next[MESH_ADDRS_MAX]; /* of the node, if that one is not to be reached: n_next of them, the first to be tried last */
    uint8_t n_next;
    dist_epmd_client client;
    rt_pid teller;
    uint64_t ticket;
    uint8_t stage; /* mesh_stage */
    bool yields;   /* nothing has failed: another connection to the node goes on instead */
} mesh_call;

typedef struct mesh_hand { /* until it is up */
    dist_handshake h;
    buf in;             /* bytes that the machine has not used */
    rt_pid old;         /* the link of that name that was up when the peer said its name */
    uint64_t old_ref;   /* taking over: the monitor of that one */
    uint32_t challenge; /* ours */
    bool challenged;    /* there is one */
    mesh_call *call;    /* NULL: the connection was accepted */
} mesh_hand;

typedef struct mesh_tls mesh_tls;     /* link_tls.c */
typedef struct mesh_queue mesh_queue; /* link_turn.c */

typedef struct mesh_link_counts { /* for who looks (murrectl links) */
    uint64_t in_bytes, out_bytes; /* of the socket, the handshake and TLS among them */
    uint64_t in_messages, out_messages;
    uint32_t in_ticks, out_ticks;
    usec up_at;
} mesh_link_counts;

typedef struct mesh_link {
    mesh *m;
    int fd;
    uint32_t index, creation; /* of the peer, once it is up */
    uint64_t flags;           /* what both can do: likewise */
    mesh_hand *hand;          /* NULL: up */
    mesh_tls *tls;            /* NULL: bytes go out as they are */
    uint8_t *name;            /* of the peer, once it is known; name_len bytes */
    uint32_t name_len;
    bool ended;     /* mesh_link_end was called: nothing that came is acted on any more */
    bool invented;  /* its name was made for this connection */
    bool hidden;    /* the peer does not want to be seen */
    bool busy;      /* more waits than link_bytes, and it was not half of that since: senders are slowed */
    bool blocked;   /* the socket took not all */
    bool polled;    /* its events are wanted when it takes more */
    bool wrote;     /* since the last tick was due */
    bool heard;     /* something, since the last tick was due */
    uint8_t silent; /* ticks that were due since the peer last said something */
    uint8_t stuck;  /* ticks that were due since the socket last took something of what waits */
    mesh_link_counts n;
    size_t answers;    /* bytes of out that the peer's own doing brought, since it is longer than link_bytes */
    uint64_t sequence; /* of the last message in fragments */
    uint64_t never;    /* counts the processes that rpc.c pretends */
    mesh_rpcs *rpcs;   /* calls of the peer that are not answered yet */
    rt_timer timer;    /* handshake: until it has to be over; up: the next tick */
    buf out;           /* for the socket, but for its first out_off bytes, which are written already */
    size_t out_off;
    mesh_queue *queue; /* what waits besides; NULL: nothing does */
    dist_split *split; /* while something long begins: where what is left of it goes */
    mesh_gauge *gauge; /* while it is up */
    dist_in in;
    dist_out enc;
    mesh_rels rels;
    uint64_t next_unlink; /* number of ours */
    size_t unlinks;       /* of the peer's, on their way to actors here */
} mesh_link;

extern const rt_class mesh_link_class; /* arg: const mesh_link_arg * */

/* What waits for the socket. */
static inline slice mesh_link_waiting(const mesh_link *l) { return slice_from(buf_slice(&l->out), l->out_off); }
static inline slice mesh_link_name(const mesh_link *l) { return slice_of(l->name, l->name_len); }
/* What services hear of it. The caller owns the name. */
mesh_node_msg mesh_link_node(rt_ctx *cx, const mesh_link *l, bool up);
/* It ends; why, in words, goes into the log. Only the first call counts. */
NODISCARD err mesh_link_end(rt_ctx *cx, mesh_link *l, const char *why);
void mesh_link_flush(rt_ctx *cx, mesh_link *l); /* something was put into out */
/* What waits goes out, as far as the socket takes it: the link ends, and a peer that does not take it learns by the close. */
void mesh_link_last(rt_ctx *cx, mesh_link *l);
NODISCARD err mesh_link_feed(rt_ctx *cx, mesh_link *l, slice bytes); /* of the peer, in clear */

static inline bool mesh_link_dials(const mesh_link *l) { return l->hand && l->hand->call; }

/* link_dial.c: of a link that dials, until the connection to the node is there. */
NODISCARD err mesh_call_begin(rt_ctx *cx, mesh_link *l, const mesh_link_arg *a);
NODISCARD err mesh_call_found(rt_ctx *cx, mesh_link *l, const rt_job_done *d, const mesh_lookup *u);
bool mesh_call_connects(const mesh_link *l); /* the descriptor is no connection yet: mesh_call_ready has its events */
NODISCARD err mesh_call_ready(rt_ctx *cx, mesh_link *l, uint32_t events);
NODISCARD err mesh_call_secured(rt_ctx *cx, mesh_link *l);                   /* the TLS handshake is complete */
NODISCARD err mesh_call_answer(rt_ctx *cx, mesh_link *l, bool eof);          /* of the port mapper, in hand->in */
void mesh_call_tell(rt_ctx *cx, mesh_link *l, mesh_dialled what, slice why); /* to who wants it dialled; escaped already */
void mesh_call_failed(rt_ctx *cx, mesh_link *l, const char *why);

/* link_hand.c */
/* A place among the handshakes under way, for a connection that was accepted; false: all are taken. The link that begins gives it back when
 * its handshake is over; who comes to start none does so itself. */
NODISCARD bool mesh_hand_take(mesh *m);
void mesh_hand_give(mesh *m);
void mesh_hand_begin(mesh_link *l, dist_carrier carrier);
void mesh_hand_keep_name(mesh_link *l, slice name);
NODISCARD err mesh_hand_feed(rt_ctx *cx, mesh_link *l, slice bytes); /* may leave the link up, with all bytes used or handed on */
NODISCARD err mesh_hand_old_down(rt_ctx *cx, mesh_link *l);          /* the link that it takes over from has ended */
NODISCARD err mesh_hand_cut(rt_ctx *cx, mesh_link *l, err e);        /* the socket said so; ERR_EOF: it was closed */
void mesh_hand_free(rt_ctx *cx, mesh_link *l);

/* link_tls.c: of a link with l->tls. Nothing is said by the nodes before mesh_tls_stepped has brought the end of the TLS handshake. */
NODISCARD err mesh_tls_accept(rt_ctx *cx, mesh_link *l);
NODISCARD err mesh_tls_dial(rt_ctx *cx, mesh_link *l);              /* mesh_call_secured follows, if all goes well */
NODISCARD err mesh_tls_feed(rt_ctx *cx, mesh_link *l, slice bytes); /* of the socket */
bool mesh_tls_is_step(rt_job_done *d);                              /* or of somebody else's job */
NODISCARD err mesh_tls_stepped(rt_ctx *cx, mesh_link *l, rt_job_done *d);
/* What the socket gets next, of which it then has taken n bytes. The first *out_taken bytes of plain are in it now. */
NODISCARD err mesh_tls_wire(mesh_link *l, slice plain, size_t *out_taken, slice *out_wire);
void mesh_tls_wrote(mesh_link *l, size_t n);
bool mesh_tls_idle(const mesh_link *l);              /* nothing waits for the socket but what is in out */
bool mesh_tls_names(const mesh_link *l, slice host); /* the peer's certificate does */
void mesh_tls_free(rt_ctx *cx, mesh_link *l);        /* says goodbye, if it can */

/* link_in.c */
NODISCARD err mesh_in_feed(rt_ctx *cx, mesh_link *l, slice bytes);
/* loss.c: tells all whom its links and monitors concern that the connection is lost, many of them in several turns of an actor of its own;
 * then the table of peers and the services. Called by the link, up until now, when it ends; takes its relations. */
void mesh_loss_begin(rt_ctx *cx, mesh_link *l);

/* rpc.c: answers a spawn request, at once or when its job is done. */
#define MESH_NEVER_SHARD 254u /* of pids that never were: no shard has this number, nor callers from outside */
NODISCARD err mesh_rpc_spawn(rt_ctx *cx, mesh_link *l, const dist_message *m, const dist_ctl *c, arena *text);
NODISCARD err mesh_rpc_done(rt_ctx *cx, mesh_link *l, rt_job_done *d);

/* link_turn.c: up. What actors say, MESH_SEND and MESH_SIGNAL, is said or waits; takes the message over if it does. */
NODISCARD err mesh_turn_take(rt_ctx *cx, mesh_link *l, rt_msg **m);
/* RT_JOB_DONE of mesh/rpc.h: its answer waits while the link is busy. */
NODISCARD err mesh_turn_done(rt_ctx *cx, mesh_link *l, rt_msg **m);
/* Puts of what waits into out, until that has enough or *done, to which it adds, is MESH_TURN_MAX. */
NODISCARD err mesh_turn_fill(rt_ctx *cx, mesh_link *l, size_t *done);
size_t mesh_turn_waiting(const mesh_link *l);   /* bytes for the peer, all together */
void mesh_turn_press(rt_ctx *cx, mesh_link *l); /* after out has become longer or shorter: is it busy? */
void mesh_turn_fini(rt_ctx *cx, mesh_link *l);  /* what still waits is dropped, or answered as by a lost connection */
/* What the link says itself: whether it has to wait, because it is long or would overtake; and that it does, in a form of its own. holds:
 * as in mesh_out_kept. ERR_UNSUPPORTED: as dist_out_apart; then nothing waits. */
bool mesh_turn_waits(const mesh_link *l, const dist_ctl *c);
NODISCARD err mesh_turn_keep(rt_ctx *cx, mesh_link *l, const dist_ctl *c, rt_blob *holds);

/* link_out.c. What cannot be said to this peer is dropped, with the answer that its sender expects. */
NODISCARD err mesh_out(rt_ctx *cx, mesh_link *l, const dist_ctl *c); /* what the link says itself */
/* The same; the payload or the reason is in holds, of which it takes a reference if it has to wait. NULL: it would be copied. */
NODISCARD err mesh_out_kept(rt_ctx *cx, mesh_link *l, const dist_ctl *c, rt_blob *holds);
/* In their turn, of actors. */
NODISCARD err mesh_out_send(rt_ctx *cx, mesh_link *l, const mesh_send_msg *s);
NODISCARD err mesh_out_demonitor(rt_ctx *cx, mesh_link *l, mesh_aim *a); /* drops it */
NODISCARD err mesh_out_signal(rt_ctx *cx, mesh_link *l, const mesh_signal_msg *s);
err mesh_links_verb(struct rt_verb_call *c); /* verbs_links.c */
#endif
