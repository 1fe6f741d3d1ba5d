#ifndef PROTO_DIST_EPMD_H
#define PROTO_DIST_EPMD_H
/* epmd: the client's side of the Erlang port mapper's protocol (erl_dist_protocol, "EPMD Protocol"): registers a node, asks where a node
 * listens, asks for all names. A request is one message with a 16-bit length; an answer has no length, and after all but a registration the
 * port mapper closes. epmd_server.h is the other side.
 *
 * The machine keeps no bytes: the caller hands in all unread bytes and drops what was used. */
#include "base/buf.h"

#define DIST_EPMD_PORT      4369u /* unless ERL_EPMD_PORT says otherwise */
#define DIST_EPMD_EXTRA_MAX 1020u /* bytes of extra data of a node; OTP's port mapper takes no more either */
#define DIST_EPMD_REQUEST_MAX                                                                                                              \
    1288u                          /* bytes of a request without its length: a registration with a name and extra data as long as may be   \
                                    */
#define DIST_EPMD_ANSWER_MAX 1289u /* bytes of an answer that the machine waits for; the caller's reading buffer needs no more */

#define DIST_EPMD_TYPE_VISIBLE 77u
#define DIST_EPMD_TYPE_HIDDEN  72u
#define DIST_EPMD_PROTO_TCP    0u
#define DIST_EPMD_VERSION_HIGH 6u /* what a node of OTP 23 and later says that it speaks at most */
#define DIST_EPMD_VERSION_LOW  5u /* and at least, although since OTP 25 it does not speak 5 any more */

typedef enum dist_epmd_fail {
#define DIST_EPMD_FAIL_DEF(name, text) DIST_EPMD_FAIL_##name,
#include "proto/dist/epmd.def"
#undef DIST_EPMD_FAIL_DEF
} dist_epmd_fail;
/* "IN_USE", and a sentence without a full stop. Never NULL. */
const char *dist_epmd_fail_name(dist_epmd_fail f);
const char *dist_epmd_fail_text(dist_epmd_fail f);

/* A node as the port mapper knows it. */
typedef struct dist_epmd_node {
    slice name;    /* the part before '@' */
    slice extra;   /* bytes of the node's own, at most DIST_EPMD_EXTRA_MAX; no OTP node looks at them */
    uint16_t port; /* where it listens */
    uint16_t high; /* highest and lowest version of the handshake that it speaks */
    uint16_t low;
    uint8_t type;  /* DIST_EPMD_TYPE_* */
    uint8_t proto; /* DIST_EPMD_PROTO_TCP */
} dist_epmd_node;

typedef enum dist_epmd_event_kind {
    DIST_EPMD_NONE,       /* more bytes are needed */
    DIST_EPMD_REGISTERED, /* creation; the name stays registered as long as the connection */
    DIST_EPMD_IN_USE,     /* another node has the name */
    DIST_EPMD_FOUND,      /* node */
    DIST_EPMD_NOT_FOUND,
    DIST_EPMD_NAME, /* node.name and node.port are set; one of several */
    DIST_EPMD_DONE, /* that were all names */
    DIST_EPMD_FAIL, /* fail, what: close. With LOST: register again after a while (OTP: 2 s), and go on with the creation that the node has
                     */
} dist_epmd_event_kind;

typedef struct dist_epmd_event {
    dist_epmd_event_kind kind;
    uint32_t creation; /* REGISTERED: the node's; 0: the port mapper gave none of 32 bits, so draw one at random from 4 on (0 to 3 could be
                          mistaken for one of two bits) */
    dist_epmd_node node; /* FOUND, NAME: slices of the input */
    dist_epmd_fail fail; /* FAIL */
    slice what;          /* FAIL: bytes of the port mapper that it is about, for the log, to be escaped; empty if none */
} dist_epmd_event;

typedef struct dist_epmd_client {
    slice name;    /* LOOKUP: what was asked for; borrowed */
    uint8_t state; /* enum state in epmd.c */
} dist_epmd_client;

/* Each writes its request into out and readies c for the answer. ERR_INVALID, ERR_LIMIT: the name is none (dist_name_parse_alive), or extra
 * is too long; nothing was written then. */
NODISCARD err dist_epmd_register(dist_epmd_client *c, const dist_epmd_node *n, buf *out);
NODISCARD err dist_epmd_lookup(dist_epmd_client *c, slice alive, buf *out); /* alive is borrowed until the last event */
void dist_epmd_names(dist_epmd_client *c, buf *out);

/* Takes at most one event off the front of in. eof: the port mapper has closed and in is all that came. *out_used bytes are done with, also
 * when the event is NONE. After IN_USE, FOUND, NOT_FOUND, DONE and FAIL nothing more comes but NONE. */
void dist_epmd_next(dist_epmd_client *c, slice in, bool eof, size_t *out_used, dist_epmd_event *ev);

#endif
