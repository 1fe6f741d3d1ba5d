#ifndef MESH_DIAL_H
#define MESH_DIAL_H
/* dial: which nodes this one keeps itself connected to, and how it gets there. seed.c: how such a node is written; dial.c: when it is
 * dialled; link_dial.c: one attempt. */
#include "mesh/int.h"
#include "proto/dist/epmd.h"

/* A node to be dialled, as it is written: name@host, or name@host:port to do without the port mapper; an IPv6 host before a port is in
 * brackets, name@[::1]:9100. */
#define MESH_SEED_MAX (DIST_NAME_MAX + 8u) /* bytes: brackets, colon and port */
typedef struct mesh_seed {
    sys_addr addr; /* port 0: the port mapper of that address is asked */
    bool named;    /* the host is a name, which is to be looked up: addr has no more than the port */
    uint8_t name_len;
    uint8_t name[DIST_NAME_MAX];
} mesh_seed;
static inline slice mesh_seed_name(const mesh_seed *s) { return slice_of(s->name, s->name_len); }
/* own: this node's name. secure: it has certificates, without which nothing but loopback is dialled. why: a sentence, if it is no seed.
 * ERR_INVALID; ERR_PERM: without certificates, an address that is not loopback, or a host that need not be this one. */
NODISCARD err mesh_seed_parse(slice own, bool secure, slice text, mesh_seed *out, char why[MESH_WHY_MAX]);
NODISCARD static inline err mesh_seed_of(const mesh *m, slice text, mesh_seed *out, char why[MESH_WHY_MAX]) {
    return mesh_seed_parse(m->cfg.name, m->certified, text, out, why);
}

typedef enum mesh_dialled {                     /* what has become of a MESH_DIAL */
                            MESH_DIALLED_BEGUN, /* the sender is the link */
                            MESH_DIALLED_UP,
                            MESH_DIALLED_YIELDED, /* it is over, because another connection to that node is there or about to be */
                            MESH_DIALLED_FAILED,
} mesh_dialled;

typedef enum mesh_by {                      /* bits */
                       MESH_BY_SETTING = 1, /* node.seeds, or an operator */
                       MESH_BY_FILE = 2,    /* mesh_relist */
                       MESH_BY_DNS = 4,     /* of the first query; those of the others follow */
} mesh_by;
typedef enum mesh_want_op {
    MESH_WANT_CONNECT, /* and kept connected; answered at once */
    MESH_WANT_DISCONNECT,
    MESH_WANT_LIST,  /* all that `by` stands for */
    MESH_WANT_REACH, /* once, if it is not connected; answered when it is, or why not: ERR_NOCONN, or ERR_INVALID, PERM: as for seeds */
} mesh_want_op;
#define MESH_REACH_MAX 65536u /* who waits for one node; further ones are answered with ERR_LIMIT */

/* A node that is to be connected, as the table of that name has it for whoever looks: written by dial.c alone. */
#define MESH_WANTED_NODES "mesh.wanted"
typedef enum mesh_want_state {
    MESH_WANT_WAITING, /* until it is dialled (again) */
    MESH_WANT_READY,   /* it is dialled as soon as the rate allows it */
    MESH_WANT_DIALLING,
    MESH_WANT_UP,
} mesh_want_state;
typedef struct mesh_want {
    uint8_t state;
    uint32_t by;       /* mesh_by: whoever wants it */
    uint32_t attempts; /* that failed since it was connected last */
    uint16_t seed_len, why_len;
    uint8_t text[]; /* the seed, then what the last one that failed failed of */
} mesh_want;
const mesh_want *mesh_want_of(slice value); /* of the table, and as long */
static inline slice mesh_want_seed(const mesh_want *w) { return slice_of(w->text, w->seed_len); }
static inline slice mesh_want_why(const mesh_want *w) { return slice_of(w->text + w->seed_len, w->why_len); }

/* dns.c: a name whose addresses are the hosts of nodes, as it is written: alive@name, or alive@name:port. */
typedef struct mesh_query {
    slice alive, host; /* in the text */
    uint16_t port;     /* 0: the port mapper there is asked */
} mesh_query;
NODISCARD err mesh_dns_parse(slice text, mesh_query *out, char why[MESH_WHY_MAX]); /* ERR_INVALID, why in words */
extern const rt_class mesh_dns_class;                                              /* arg: mesh *const * */

#define MESH_DIAL_NAME "mesh_dial"     /* registered; takes MESH_WANT, answers with MESH_WANTED */
extern const rt_class mesh_dial_class; /* arg: mesh *const * */
/* Boot: makes the table of wanted nodes, and puts one in. ERR_INVALID, ERR_PERM: as mesh_seed_parse; of rt_table_insert. */
NODISCARD err mesh_dial_table(mesh *m, rt_ctx *cx);
NODISCARD err mesh_dial_add(mesh *m, rt_ctx *cx, slice text, mesh_by by);

/* The acceptor of a shard also starts the links that dial there: its registered name. */
#define MESH_ACCEPTOR_NAME_MAX 32
void mesh_acceptor_name(unsigned shard, char out[MESH_ACCEPTOR_NAME_MAX]);
#endif
