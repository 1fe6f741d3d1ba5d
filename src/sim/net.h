#ifndef SIM_NET_H
#define SIM_NET_H
/* net: a network of byte streams between addresses. Delay, partial reads and writes, bounded buffers, listen backlogs, orderly closes,
 * resets, silent ends (a machine that lost its power), and cuts, each direction by itself.
 *
 *     end[0] --writes--> [segments under way | arrived] --reads--> end[1]        and the same the other way
 *
 * An end tells its owner that something may have changed through wake, from within an event or a call; the owner then asks sim_net_ready.
 * A connection lives until both ends are released and no event refers to it. */
#include "rt/sys.h"
#include "sim/world.h"

typedef struct sim_net sim_net;
typedef struct sim_conn sim_conn;
typedef struct sim_listener sim_listener;
typedef struct sim_segment sim_segment;
typedef struct sim_sock sim_sock;

typedef enum sim_sock_state {
    SIM_SOCK_CONNECTING, /* the SYN is under way */
    SIM_SOCK_OPEN,       /* bytes may flow */
    SIM_SOCK_BROKEN,     /* reset, refused or timed out; error says which */
    SIM_SOCK_RELEASED,   /* its owner closed it */
} sim_sock_state;

typedef struct sim_wake {          /* whom an end or a listener tells that something may have changed */
    void (*fn)(void *arg, int fd); /* NULL: nobody */
    void *arg;
    int fd; /* whatever the owner knows it by */
} sim_wake;

typedef struct sim_flow {     /* what is under way to an end, or waits there: most of the millions of ends of a large run have none */
    sim_segment *head, *tail; /* oldest first: arrived ones, then those under way */
    sim_segment *next_in;     /* first that has not arrived; NULL: none */
    uint32_t arrived;         /* bytes that can be read */
    uint32_t outstanding;     /* bytes that were not read yet, arrived or under way */
    usec last_at;             /* when the newest segment arrives: later ones do not overtake */
} sim_flow;

struct sim_sock { /* one end */
    void (*wake)(void *arg, int fd);
    void *arg;
    sim_flow *in;    /* NULL: nothing */
    usec cut_until;  /* nothing arrives at this end before; USEC_NEVER: until healed */
    uint32_t window; /* most that may be outstanding */
    int fd;
    uint16_t error; /* err. BROKEN: why */
    uint8_t state;  /* sim_sock_state */
    uint8_t which;  /* of its connection's ends */
    bool fin_in;    /* the peer will write no more, and all that it wrote has arrived */
    bool fin_out;   /* this end will write no more */
};

typedef struct sim_place { /* a sys_addr, in less space */
    uint8_t family;
    uint8_t ip[16];
    uint16_t port;
} sim_place;

struct sim_conn {
    sim_net *net;
    sim_conn *next, **prev;
    uint64_t id;       /* counts connections of the run */
    sim_conn *backlog; /* next in the listener's queue */
    sim_sock end[2];   /* [0] connected, [1] was accepted */
    sim_place addr[2]; /* of the client's end [0] and the server's [1] */
    uint32_t refs;     /* owners and events */
};

struct sim_listener {
    sim_net *net;
    sim_listener *next;
    sys_addr addr;
    sim_wake wake;
    sim_conn *head, *tail; /* established, not accepted yet */
    int waiting, backlog;
    bool reuse_port;
};

typedef struct sim_block { /* one machine does not reach another, until then */
    sys_addr from, to;
    usec until;
} sim_block;

struct sim_net {
    sim_world *w;
    sim_listener *listeners; /* in the order of listening */
    sim_conn *conns;
    uint64_t next_id;
    uint16_t next_port;              /* for port 0 */
    usec delay, delay_rare;          /* of a segment: typical, and now and then at most */
    uint32_t window_min, window_max; /* of a direction, drawn per connection */
    bool partial;                    /* reads and writes may be short */
    uint64_t bytes;                  /* carried so far */
    size_t memory;                   /* of connections and what is under way */
    sim_block *blocks;
    size_t n_blocks, cap_blocks;
};

void sim_net_init(sim_net *n, sim_world *w);
void sim_net_fini(sim_net *n); /* every owner must be gone; the world's events too */

/* addr: the listener's own address; port 0 draws one. ADDR_IN_USE unless all listeners there have reuse_port. *io_addr gets the port. */
NODISCARD err sim_net_listen(sim_net *n, sys_addr *io_addr, int backlog, bool reuse_port, sim_wake wake, sim_listener **out);
void sim_net_unlisten(sim_listener *l, bool silent); /* what waits is reset, or, silent, never hears */
bool sim_net_acceptable(const sim_listener *l);
NODISCARD err sim_net_accept(sim_listener *l, sim_wake wake, sim_sock **out); /* AGAIN */
/* In progress until writable (or broken: sim_net_error). */
sim_sock *sim_net_connect(sim_net *n, const sys_addr *from, const sys_addr *to, sim_wake wake);

uint32_t sim_net_ready(const sim_sock *s);                                   /* SYS_IN, SYS_OUT, SYS_HUP */
NODISCARD err sim_net_read(sim_sock *s, void *p, size_t len, size_t *out_n); /* AGAIN, EOF, RESET ... */
NODISCARD err sim_net_write(sim_sock *s, const sys_iov *iov, int n, size_t *out_n);
err sim_net_error(const sim_sock *s);
void sim_net_shutdown(sim_sock *s);
sys_addr sim_net_addr(const sim_sock *s, bool peer);

/* The owner is done with its end. CLOSE: in order (a reset if unread bytes were there). RESET: at once. SILENT: the machine is gone; the
 * peer hears nothing, until it writes and the machine is back (answer_after; USEC_NEVER: never). */
typedef enum sim_release { SIM_CLOSE, SIM_RESET, SIM_SILENT } sim_release;
void sim_net_release(sim_sock **s, sim_release how, usec answer_after);
/* Nothing arrives at this end (or, out, at its peer) until then. Bytes are not lost: TCP sends them again. */
void sim_net_cut(sim_sock *s, bool in, bool out, usec until);
/* The same for all that one machine says to another, over connections that are there or come: a partition in one direction. */
void sim_net_block(sim_net *n, const sys_addr *from, const sys_addr *to, usec until);

#endif
