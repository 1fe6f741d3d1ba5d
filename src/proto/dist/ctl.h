#ifndef PROTO_DIST_CTL_H
#define PROTO_DIST_CTL_H
/* ctl: control messages, which say what a message of the distribution is and for whom (OTP: erl_dist_protocol, "Protocol between Connected
 * Nodes"). ctl.def has them all.
 *
 * There are up to nine ways to say one thing, grown in thirty years. Who reads gets a signal, whichever way it was said; who writes says
 * the signal, and the way is chosen from what both nodes can do.
 *
 *     {6, From, '', shard_srv} + payload --dist_ctl_read--> SEND from a pid to a name --dist_ctl_choose--> op 6, 16 or 37
 * --dist_ctl_write-->
 *
 * Nothing is allocated. Texts and terms are slices of the message and of the atoms of its header, and live as long. */
#include "proto/dist/cache.h"
#include "proto/dist/flags.h"

typedef enum dist_op {
#define DIST_CTL(op, name, signal, fields, payload, needs, way) DIST_OP_##name = op,
#include "proto/dist/ctl.def"
#undef DIST_CTL
} dist_op;
#define DIST_OP_MAX 37u

typedef enum dist_signal {
    DIST_SIG_SEND,         /* payload: the message; from, to, token. from is NONE where the peer does not tell it */
    DIST_SIG_LINK,         /* from, to */
    DIST_SIG_UNLINK,       /* from, to, id; id is 0 if no answer is awaited (a peer without UNLINK_ID) */
    DIST_SIG_UNLINK_ACK,   /* from, to, id */
    DIST_SIG_EXIT,         /* the end of a link: from, to, reason, token */
    DIST_SIG_EXIT2,        /* exit/2: from, to, reason, token */
    DIST_SIG_MONITOR,      /* from, to, ref */
    DIST_SIG_DEMONITOR,    /* from, to, ref */
    DIST_SIG_DOWN,         /* from: what was monitored, as it was; to, ref, reason */
    DIST_SIG_GROUP_LEADER, /* leader, to */
    DIST_SIG_SPAWN,        /* ref, from, leader, module, function, arity, options, payload: the list of arguments; token */
    DIST_SIG_SPAWN_REPLY,  /* ref, to, flags, from: the pid, or a name that says why not; token */
    DIST_SIG_NODE_LINK,    /* nothing: only read, from long ago, and ignored */
} dist_signal;

typedef enum dist_addr_kind {
    DIST_ADDR_NONE,
    DIST_ADDR_PID,
    DIST_ADDR_NAME,  /* registered */
    DIST_ADDR_ALIAS, /* of a process (OTP 24: erlang:alias/0) */
} dist_addr_kind;
typedef struct dist_addr {
    dist_addr_kind kind;
    union {
        etf_pid pid;
        slice name;
        etf_ref alias;
    };
} dist_addr;

#define DIST_SPAWN_LINK    1u /* flags of SPAWN_REPLY: the link was set up */
#define DIST_SPAWN_MONITOR 2u

/* Of what its signal does not have, kinds are NONE, counts 0 and slices absent; the rest of those says nothing. Terms are without version
 * byte; what was read may hold references to the header, what is to be written must not (etf_copy). */
typedef struct dist_ctl {
    dist_signal signal;
    uint8_t op;     /* read: how it was said; writing: not looked at */
    bool priority;  /* SEND, EXIT2: overtakes others, if the peer knows that (ALTACT_SIG); else it is lost, as OTP does */
    uint8_t arity;  /* SPAWN */
    uint32_t flags; /* SPAWN_REPLY: DIST_SPAWN_* */
    uint64_t id;    /* UNLINK, UNLINK_ACK */
    dist_addr from, to;
    slice token;                     /* any term; p NULL: none */
    slice payload;                   /* SEND, SPAWN: one term */
    slice reason;                    /* EXIT, EXIT2, DOWN: one term */
    slice module, function, options; /* SPAWN */
    etf_ref ref;                     /* n 0: none */
    etf_pid leader;                  /* GROUP_LEADER, SPAWN */
} dist_ctl;

/* A message as it came: control message, and payload if there is one. */
typedef struct dist_message {
    slice body;
    slice payload;   /* a payload that was rewritten (fragment.h), without version byte and references: then not in body; else p is NULL */
    etf_atoms atoms; /* of its header; n 0: none */
    bool versions;   /* each of both terms begins with a version byte: there is no header */
} dist_message;

/* A reader for one of the terms that dist_ctl_read found in the message. */
static inline etf_reader dist_message_reader(const dist_message *m, slice term, arena *text) {
    return (etf_reader){.in = cursor_of(term), .atoms = &m->atoms, .text = text};
}

/* text: where atoms in Latin-1 become UTF-8, as in etf_reader. The payload, and a reason that is one, is not looked into: it begins where
 * the control message ends and goes to the end, or is m->payload. Older ways are accepted whatever was agreed. ERR_PROTO: malformed or
 * unknown; *out_why is then a sentence without its full stop, a literal, what *out says does not count, and the connection has to be
 * closed, as OTP does. */
NODISCARD err dist_ctl_read(const dist_message *m, arena *text, dist_ctl *out, const char **out_why);
/* Whether the payload, or a reason, is one whole term and nothing else. Who decodes it anyway does not need to ask. */
NODISCARD bool dist_ctl_payload_is_term(const dist_message *m, const dist_ctl *c, arena *text);
/* Who may be meant (OTP: erts dist.c closes the connection as for a malformed one): from and what the peer made must be of the peer's node,
 * to and what we made of ours. The sender of a message is not looked at, because nothing comes of it. Creations are not compared: what is
 * meant for an earlier life of a node is no fault; the caller drops it. NULL: all is well; else a sentence as above. */
const char *dist_ctl_forged(const dist_ctl *c, slice own, slice peer);

/* How to say it to a peer with which these flags were agreed. ERR_UNSUPPORTED: it cannot be said to that peer; the caller answers its own
 * side (OTP: spawn gives notsup, exit/2 to an alias does nothing). */
NODISCARD err dist_ctl_choose(const dist_ctl *c, uint64_t agreed, dist_op *out_op);
/* Appends the control message, without version byte and without payload. A term in it is written as dist_put_term does. ERR_UNSUPPORTED: an
 * identity that a peer without V4_NC closes the connection for (OTP 23); ERR_BUG: it has not what its signal has; ERR_INVALID: a slice is
 * not a term; ERR_LIMIT: past the limit of the pen's buf. What was appended until then has to be dropped. */
NODISCARD err dist_ctl_write(const dist_ctl *c, dist_op op, uint64_t agreed, dist_pen *pen);
/* The payload of that op: payload, reason, or absent if the reason stands in the control message. */
slice dist_ctl_payload(const dist_ctl *c, dist_op op);

const char *dist_op_name(dist_op op); /* "REG_SEND"; NULL: no such op */
uint64_t dist_op_needs(dist_op op);   /* flags; 0 also for no such op */
bool dist_op_has_payload(dist_op op);
const char *dist_signal_name(dist_signal s); /* "send" */

#endif
