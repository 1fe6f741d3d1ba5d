#ifndef PROTO_DIST_HANDSHAKE_H
#define PROTO_DIST_HANDSHAKE_H
/* handshake: how two nodes become connected (erl_dist_protocol, "Distribution Handshake"; kernel's dist_util), both roles, as a pure
 * machine: bytes in, events and bytes out.
 *
 *        dialler                          acceptor
 *        send_name  'N' (or 'n')  ----->  PEER: who it is, dist_handshake_admit
 *   ALIVE  <-------------- 's' status     ok, ok_simultaneous, alive, named:   (nok, not_allowed: the end)
 *   dist_handshake_consent  's' true -->  after alive
 *   CHALLENGED  <-------- 'N' challenge
 *        complement 'c'   ------------->  after 'n' only
 *   dist_handshake_reply  'r'  -------->  TAKEOVER after alive: dist_handshake_old_down
 *   UP     <------------------- 'a' ack   UP
 *
 * The machine keeps no bytes: the caller hands in all unread bytes and drops what was used; after UP what is left belongs to the
 * connection. Time (7 s for a step in OTP, net_setuptime), the table of peers, challenges (32 random bits each, never used twice) and
 * cookies are the caller's. About 600 bytes; it owns no memory. */
#include "proto/dist/cookie.h"
#include "proto/dist/flags.h"
#include "proto/dist/name.h"

#define DIST_HANDSHAKE_MESSAGE_MAX 512u  /* bytes of a message, its length not counted; the longest that is needed has 274 */
#define DIST_HANDSHAKE_WRITE_MAX   1024u /* no call writes more than this */

/* How long the lengths before messages are, in bytes: 2 on TCP; 4 under TLS, where a handshake is framed as what follows it. */
typedef enum dist_carrier { DIST_CARRIER_TCP = 2, DIST_CARRIER_TLS = 4 } dist_carrier;

typedef enum dist_end {
#define DIST_END_DEF(name, text) DIST_END_##name,
#include "proto/dist/handshake.def"
#undef DIST_END_DEF
} dist_end;

/* Why it ended: "NOT_ALLOWED", and a sentence without a full stop. Never NULL. */
const char *dist_handshake_end_name(dist_end e);
const char *dist_handshake_end_text(dist_end e);

/* This node as the other side is to see it. name, a valid own one, is borrowed until the machine is done. */
typedef struct dist_self {
    slice name;        /* alive@host; just a host that dist_name_parse_host takes, if flags has NAME_ME (dialler only) */
    uint64_t flags;    /* what we offer; has at least dist_flags_demanded() */
    uint32_t creation; /* which incarnation of the name this is; with NAME_ME it means nothing */
} dist_self;

/* What an acceptor knows about the name of a peer when its send_name comes. */
typedef struct dist_peer_view {
    bool allowed;          /* may connect at all */
    bool attempt_pending;  /* we are dialling it, and that handshake is not over */
    bool connected;        /* a connection to it is up */
    bool takeover_pending; /* another accepted handshake of that name takes the connection over: its peer has proved to know the cookie */
} dist_peer_view;

/* How an acceptor answers send_name. */
typedef enum dist_verdict {
    DIST_VERDICT_OK,
    DIST_VERDICT_OK_SIMULTANEOUS, /* the peer's name is greater: its attempt is to win. Drop our own when this handshake is UP, and not
                                     before: whoever sent the name has proved nothing yet. If ours is UP first, drop this one */
    DIST_VERDICT_NOK,             /* ours is greater: our attempt goes on, this one ends */
    DIST_VERDICT_NOT_ALLOWED,
    DIST_VERDICT_ALIVE, /* a connection is up; the peer may take it over after it has proved that it knows the cookie */
    DIST_VERDICT_CLOSE, /* a take-over is under way: end without an answer */
} dist_verdict;
/* The rule of OTP (dist_util, mark_pending/1; net_kernel, accept_pending). Whoever sent the name has proved nothing, so the verdict should
 * bind nobody: several may be answered with ok or alive. The caller looks again at TAKEOVER and at UP, each time in one step as seen by all
 * handshakes of that name; the first one has it. */
dist_verdict dist_handshake_decide(slice our_name, slice peer_name, dist_peer_view v);

typedef struct dist_admission {
    dist_verdict verdict;
    slice cookie;            /* for this peer; borrowed until UP or END. Not looked at for verdicts that end */
    uint32_t challenge;      /* ours */
    slice given_name;        /* for a peer that asked: its new name (dist_name_invent), whole; copied */
    uint32_t given_creation; /* and creation, which is more than 3: those were used when there were only two bits of it */
} dist_admission;

typedef enum dist_handshake_kind {
    DIST_HANDSHAKE_NONE,  /* more bytes are needed, or an answer of the caller */
    DIST_HANDSHAKE_PEER,  /* acceptor: dist_handshake_admit is awaited. The peer (a host, if it wants a name) and peer_flags are known */
    DIST_HANDSHAKE_ALIVE, /* dialler: the peer believes that it is connected to us; dist_handshake_consent is awaited */
    DIST_HANDSHAKE_CHALLENGED, /* dialler: dist_handshake_reply is awaited */
    DIST_HANDSHAKE_TAKEOVER,   /* acceptor: the peer knows the cookie: take the old connection down, then dist_handshake_old_down */
    DIST_HANDSHAKE_UP,         /* connected */
    DIST_HANDSHAKE_END,        /* write what is to be written, then close; see end */
} dist_handshake_kind;

typedef struct dist_handshake_event {
    dist_handshake_kind kind;
    uint32_t challenge; /* CHALLENGED: the peer's */
    dist_end end;       /* END: why */
    uint64_t missing;   /* END with FLAGS: which (dist_flags_print) */
    slice what;         /* END: the bytes of the peer that it is about, at most DIST_HANDSHAKE_MESSAGE_MAX, for the log, to be escaped
                           (utf8_escape); empty if none. In the caller's input, or in the machine */
} dist_handshake_event;

typedef struct dist_handshake {
    dist_self self;              /* what init was told; creation is the one that we were given after a named: */
    slice cookie;                /* borrowed; empty before it is known */
    uint64_t peer_flags;         /* as sent; complete after a complement */
    uint64_t flags;              /* what both can do (dist_flags_common); without PUBLISHED: one of the two is hidden */
    uint32_t challenge;          /* ours */
    uint32_t peer_challenge;     /* dialler: what to answer */
    uint32_t peer_creation;      /* 0 as long as nothing told it */
    uint16_t carrier;            /* dist_carrier */
    uint8_t state;               /* enum state in handshake.c */
    uint8_t end;                 /* dist_end, once it ended */
    uint8_t taking_over;         /* acceptor: answered alive */
    uint8_t old_name;            /* acceptor: send_name was 'n', a complement follows */
    uint8_t peer_len;            /* bytes of peer */
    uint8_t own_len;             /* bytes of own */
    uint8_t peer[DIST_NAME_MAX]; /* the peer's name */
    uint8_t own[DIST_NAME_MAX];  /* the name that we were given */
} dist_handshake;

void dist_handshake_accept(dist_handshake *h, dist_carrier carrier, const dist_self *self);
/* Dials peer, writing send_name into out. ERR_INVALID: peer is no name; ERR_REFUSED: it is our own, or of the other style (OTP would not
 * dial it either, and neither could be dialled back). cookie is borrowed until UP or END. */
NODISCARD err dist_handshake_dial(dist_handshake *h, dist_carrier carrier, const dist_self *self, slice peer, slice cookie,
                                  uint32_t challenge, buf *out);
/* Takes messages off the front of in, and answers them into out, until one of them is an event or none is whole. *out_used bytes are done
 * with, also when the event is NONE. While the caller owes an answer, and after UP, nothing is used. END is repeated by every later call,
 * without what and missing. */
void dist_handshake_next(dist_handshake *h, slice in, buf *out, size_t *out_used, dist_handshake_event *ev);

/* The caller's answers, each only after its event (anything else is our bug: check). The next call of dist_handshake_next goes on. */
void dist_handshake_admit(dist_handshake *h, const dist_admission *a, buf *out);
/* go_on: this attempt is still wanted, and no connection to the peer is up. */
void dist_handshake_consent(dist_handshake *h, bool go_on, buf *out);
/* ours: the peer's challenge is one that this node has sent itself in a handshake that is not over. A peer that could have it answered
 * would have proved that it knows the cookie. */
void dist_handshake_reply(dist_handshake *h, bool ours, buf *out);
void dist_handshake_old_down(dist_handshake *h, buf *out); /* writes the ack; the next event is UP */

/* What is known about the peer; complete at UP. */
static inline slice dist_handshake_peer(const dist_handshake *h) { return slice_of(h->peer, h->peer_len); }
/* Our name: the one that was given to us, if we asked. */
static inline slice dist_handshake_own(const dist_handshake *h) { return h->own_len ? slice_of(h->own, h->own_len) : h->self.name; }
static inline bool dist_handshake_wants_name(const dist_handshake *h) { return (h->peer_flags & DIST_FLAG(NAME_ME)) != 0; }

#endif
