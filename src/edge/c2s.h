#ifndef EDGE_C2S_H
#define EDGE_C2S_H
/* c2s: one client's connection, and the session that it becomes. Private to the edge; the map of the files is in c2s.c. */
#include "edge/door.h"
#include "proto/xmpp/env.h"
#include "proto/xmpp/sm.h"
#include "proto/xmpp/stream.h"
#include "rt/event.h"

/* What has happened to the connection. What is allowed in which state is the table in c2s.c. */
typedef enum edge_state {
    EDGE_HANDSHAKE, /* TLS has begun: nothing can be said in XML */
    EDGE_OPEN,      /* a stream that is not bound */
    EDGE_BOUND,     /* serves an account */
    EDGE_LOST,      /* bound, its connection is gone; may be resumed */
    EDGE_ENDING,    /* the stream ends as soon as what was received is complete; nothing more is read */
    EDGE_CLOSING,   /* our </stream:stream> is written; the descriptor closes when it is out */
    EDGE_HANDOVER,  /* not bound; the descriptor is on its way to the session that it resumes */
    EDGE_GONE,      /* the actor ends after this callback */
    EDGE_STATES_
} edge_state;

/* Why units are not read at present. */
#define EDGE_HOLD_JOB    1u  /* a pool job has the TLS state or the password */
#define EDGE_HOLD_SVC    2u  /* an answer of svc decides how to go on */
#define EDGE_HOLD_WINDOW 4u  /* XMPP_SM_WINDOW stanzas, or EDGE_BUSY_KIB, are in progress */
#define EDGE_HOLD_OUT    8u  /* the client does not read what it is sent */
#define EDGE_HOLD_RESUME 16u /* resumed, but stanzas from before are still in progress */

#define EDGE_F_HEADER    0x0001u /* our stream header of this stream is written */
#define EDGE_F_SHUT      0x0002u /* our side of the socket is shut down */
#define EDGE_F_EOF       0x0004u /* the client's side is */
#define EDGE_F_PINGED    0x0008u /* silent for idle_ping; ends at deadline */
#define EDGE_F_ASK       0x0010u /* there is something written that the client should be asked to ack */
#define EDGE_F_ASKED     0x0020u /* an <r/> or a ping is out */
#define EDGE_F_REQUESTED 0x0040u /* the client's <r/> waits for an answer */
#define EDGE_F_UNBOUND   0x0080u /* svc knows that the session is over */
#define EDGE_F_SECURE    0x0100u /* runs over TLS */
#define EDGE_F_IN_OFF    0x0200u /* reading interest is off at the poller */
#define EDGE_F_OUT_ON    0x0400u /* writing interest is on */
#define EDGE_F_ACK_AGAIN 0x0800u /* an SVC_ACKED was refused: to be sent again */
#define EDGE_F_ACK_DUE   0x2000u /* an <a/> goes out at the end of the round */
#define EDGE_F_ATTACHED  0x1000u /* adopted a connection; <resumed/> is not written yet */
#define EDGE_F_WATCHED   0x4000u /* the timer is due no later than stanzas in progress need it */
#define EDGE_F_SUSPECT   0x8000u /* a partition ended while stanzas were in progress: they may have been with it */

typedef struct edge_head { /* of a stream header that says more than usual; one heap block */
    slice lang;            /* xml:lang of the stream where it does not fit into the session; p NULL: none */
    xmpp_scope scope;      /* its extra namespace bindings */
} edge_head;

typedef struct edge_out { /* exists while output waits */
    buf plain;            /* not yet encrypted; may still be dropped */
    buf wire;             /* as it goes to the socket */
    size_t off;           /* bytes of wire that are written */
    usec stalled;         /* since when the client takes nothing; 0: it takes */
    usec dropping;        /* since when best-effort stanzas are dropped; 0: they are not */
} edge_out;

typedef struct edge_held { /* a stanza that the client has not acked */
    rt_blob *env, *extra;
    uint32_t keep; /* as in SVC_DELIVER */
    uint32_t bytes;
} edge_held;
#define EDGE_SMID_RAW 18u /* random bytes in a resumption id: 144 bits */
#define EDGE_SMID     24u /* characters, base64 */
typedef struct edge_ack { /* exists once stream management is on */
    edge_held *ring;      /* NULL while empty; cap is a power of two */
    uint32_t head, count, cap;
    uint64_t bytes;     /* of the stanzas held */
    usec dropping;      /* since when best-effort stanzas are dropped for want of acks; 0: they are not */
    uint32_t since_ask; /* stanzas written since the last <r/> */
    usec wait;          /* for resumption */
    bool resumable;
    char smid[EDGE_SMID + 1];
} edge_ack;

typedef struct edge_nego { /* exists until the session is bound */
    usec deadline;         /* of the present part: authentication, then binding */
    usec tls_began;
    sys_addr addr;    /* the client's */
    xmpp_sasl *sasl;  /* while an exchange lasts */
    rt_blob *user;    /* bare JID that authenticated; NULL before */
    rt_blob *wanted;  /* SM: the previd asked for */
    rt_blob *iq_id;   /* of the bind request */
    uint64_t ref;     /* of the question that svc is asked */
    uint32_t h;       /* SM: the client's count, with wanted */
    uint32_t offered; /* mechanisms, bit (1u << xmpp_mech) */
    uint32_t failures;
    uint8_t mech; /* xmpp_mech that succeeded */
    bool anonymous;
    bool bindings_read;
    bool waited;                                     /* the guard has delayed this attempt */
    rt_pid target;                                   /* session that was asked to take the connection over */
    uint8_t exporter[64], end_point[64], unique[64]; /* channel binding data */
    uint8_t exporter_len, end_point_len, unique_len;
} edge_nego;

/* A connection between two sessions: everything that belongs to the socket. */
typedef struct edge_conn {
    rt_box box; /* frees all of it: closes the socket */
    sys *sys;
    tls *tls;
    tls_conn *conn; /* NULL: plain */
    edge_head *head;
    xmpp_stream stream; /* AUTHED, its framer fits the unread bytes */
    buf unread;         /* plain text */
    buf wire;           /* output that was not written yet */
    sys_addr addr;
    int fd;
    uint16_t domain;
    uint8_t lang_len; /* as in edge_c2s */
    char lang[8];
} edge_conn;

typedef struct edge_more { /* what few sessions have at a time; exists while there is any of it */
    edge_head *head;       /* NULL: no long lang, no extra bindings */
    buf *in;               /* unread plain text: a unit that is not whole yet, or what waits for a hold; NULL: none */
    uint64_t ping_id;      /* of the ping that is out, while ASKED without stream management; 0: none */
    uint32_t keep_asked;   /* what that ping will ack */
    uint32_t r_first;      /* while REQUESTED: answer when this many are handled ... */
    uint32_t r_last;       /* ... and again until this many are */
} edge_more;

typedef struct edge_c2s {
    edge_door *door;
    edge_ip *ip; /* its entry at the door; NULL while there is no connection */
    edge_nego *nego;
    edge_out *out;
    edge_ack *ack;
    edge_more *more;
    tls_conn *tls; /* NULL: plain, or a job has it */
    rt_blob *jid;  /* full JID, once bound */
    xmpp_sm sm;
    rt_timer timer; /* the only one; due is the earliest of all deadlines, or before */
    xmpp_stream stream;
    rt_pid part;           /* partition of the account, once bound */
    int fd;                /* -1: none */
    uint32_t last_in;      /* when something came from the client; as the three below in ms, modulo 2^32 (rt_now_msec) */
    uint32_t deadline;     /* by state: end of LOST, ENDING, CLOSING; with PINGED: of the client's silence */
    uint32_t progress;     /* while stanzas are in progress: when the oldest one last completed, or the first one came */
    uint32_t keep_written; /* highest number of a kept message that was written */
    uint32_t keep_acked;   /* what svc was told */
    uint16_t flags;        /* EDGE_F_* */
    uint16_t domain;       /* index into svc_cfg.domains; the account's, once authenticated */
    uint16_t bare_len;     /* length of the bare part of jid */
    uint16_t busy_kib;     /* KiB of stanzas that came since none was in progress */
    uint8_t state;         /* edge_state */
    uint8_t hold;          /* EDGE_HOLD_* */
    uint8_t end_error;     /* ENDING: xmpp_stream_error to close with */
    uint8_t lang_len;      /* of lang; 0: the stream has none, or it is in head */
    char lang[8];          /* xml:lang of the stream: "en", "pt-BR" */
} edge_c2s;
_Static_assert(sizeof(edge_c2s) <= 192, "an idle session's state: 15,000 sessions of 600 bytes in all");

typedef struct edge_c2s_arg { /* of edge_c2s_class */
    edge_door *door;
    edge_ip *ip; /* counted in; the actor counts it out */
    int fd;      /* the actor's from the moment that init returned OK */
    sys_addr addr;
    edge_transport transport;
} edge_c2s_arg;
extern const rt_class edge_c2s_class;

#define EDGE_CLOSE_TIMEOUT  (5 * USEC_PER_SEC)    /* for the last bytes, and for stanzas in progress when the stream ends */
#define EDGE_CLOSE_LINGER   USEC_PER_SEC          /* for the client to close too, once it can have our last byte (RFC 6120 4.4) */
#define EDGE_ACK_RETRY      (100 * USEC_PER_MSEC) /* an SVC_ACKED that the partition refused is sent again after this */
#define EDGE_STUCK          (30 * USEC_PER_SEC) /* a stanza that gets no answer for this long ends the session: its ack would never come */
#define EDGE_STUCK_SUSPECT  (2 * USEC_PER_SEC)  /* the same when a partition has ended */
#define EDGE_BUSY_KIB_TIGHT 64u                 /* the same while memory is tight */
#define EDGE_TIGHT_INPUT    (8u << 10)          /* bytes of an unfinished stanza that a client may leave here while memory is tight */
#define EDGE_TIGHT_OUT      8u                  /* and the part of out_bytes_max that may wait for it then */
#define EDGE_BUSY_KIB       1024u               /* a client that sends on while this much is in progress is not read until none is */
#define EDGE_ASK_EVERY      32u                 /* unacked best-effort stanzas that make us ask */
#define EDGE_LANG_MAX       64u                 /* bytes of a stream's xml:lang; a longer one is ignored */
#define EDGE_ID_MAX         1024u               /* bytes of the id of a bind request that is echoed */

static inline const svc_cfg *edge_c2s_svc(const edge_c2s *s) { return s->door->cfg->svc; }
static inline slice edge_c2s_domain(const edge_c2s *s) { return edge_c2s_svc(s)->domains[s->domain].name; }
static inline slice edge_c2s_full(const edge_c2s *s) { return rt_blob_slice(s->jid); }
static inline slice edge_c2s_bare(const edge_c2s *s) { return slice_sub(rt_blob_slice(s->jid), 0, s->bare_len); }
static inline const edge_head *edge_c2s_head(const edge_c2s *s) { return s->more ? s->more->head : NULL; }
static inline buf *edge_c2s_in(const edge_c2s *s) { return s->more ? s->more->in : NULL; }
static inline bool edge_c2s_resumable(const edge_c2s *s) { return s->ack && s->ack->resumable; }

#endif
