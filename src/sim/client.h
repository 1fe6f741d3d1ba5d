#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H
/* client: a simulated XMPP client, as a person's phone would behave over bad networks: it logs in (STARTTLS or direct TLS, SCRAM, bind),
 * turns on stream management (XEP-0198) unless it is an old one, chats, loses its connection in several ways, resumes or begins anew, and
 * sends again, with the same origin-id, whatever was not acknowledged. What it sends and sees goes into a history.
 *
 * It knows nothing of the server but its address: bytes over a simulated socket. */
#include "history/chat.h"
#include "proto/xmpp/framer.h"
#include "proto/xmpp/xml.h"
#include "sim/net.h"
#include "sim/scram.h"
#include "sim/tls.h"

#define SIM_CLIENT_TEXT 64
typedef struct sim_account {
    uint32_t number;            /* in the history */
    char user[SIM_CLIENT_TEXT]; /* localpart */
    char password[SIM_CLIENT_TEXT];
    sim_salted salted[2]; /* SHA-1, SHA-256; shared by its clients */
} sim_account;

typedef struct sim_habits { /* of all clients of a run; times are typical distances */
    const char *domain;
    sys_addr server, server_tls; /* port 0 in server_tls: no direct TLS */
    usec act;                    /* between two actions of a client that is online */
    usec offline, offline_rare;  /* how long it stays away */
    uint32_t hundred_send, hundred_clean, hundred_reset, hundred_silent, hundred_pause, hundred_cut; /* chances of an action, in 100 */
    uint32_t burst; /* messages that a client sends at once, at most */
    bool calm;      /* only clean disconnects, and only when everything sent was answered */
    bool draining;  /* no new messages, no disconnects: everybody comes online and stays */
} sim_habits;

typedef enum sim_client_state {
    SIM_CLIENT_OFFLINE,
    SIM_CLIENT_DIALING,   /* connect is under way */
    SIM_CLIENT_HEADER,    /* our header is out */
    SIM_CLIENT_FEATURES,  /* theirs came */
    SIM_CLIENT_STARTTLS,  /* asked for TLS */
    SIM_CLIENT_HANDSHAKE, /* TLS messages */
    SIM_CLIENT_AUTH,      /* first SCRAM message is out */
    SIM_CLIENT_PROOF,     /* final SCRAM message is out */
    SIM_CLIENT_RESUMING,
    SIM_CLIENT_BINDING,
    SIM_CLIENT_ENABLING, /* stream management */
    SIM_CLIENT_ONLINE,
    SIM_CLIENT_LEAVING, /* our end of stream is out */
} sim_client_state;

typedef struct sim_stanza { /* one of ours that is not acknowledged: bytes as sent */
    struct sim_stanza *next;
    uint32_t seq; /* of a message; 0: another stanza */
    size_t len;
    char text[];
} sim_stanza;

typedef struct sim_message { /* one of ours without an answer */
    struct sim_message *next;
    uint32_t seq, account;
    bool direct; /* addressed to a full JID */
    uint64_t body;
    size_t len;
    char text[];
} sim_message;

typedef struct sim_client {
    sim_world *w;
    sim_net *net;
    history_chat *history;
    const sim_habits *habits;
    sim_account *account, *all; /* all: of the run, to write to */
    struct sim_client *clients; /* of the run, for full JIDs */
    uint32_t n_accounts, n_clients;
    uint32_t number; /* in the history */
    char resource[SIM_CLIENT_TEXT];
    char jid[3 * SIM_CLIENT_TEXT]; /* full */
    uint64_t jid_hash;
    sys_addr ip;
    bool sm; /* uses stream management */
    bool carbons, direct_tls;

    sim_client_state state;
    usec since;    /* when it entered the state */
    usec until;    /* OFFLINE: when it comes back; ONLINE: not reading before this */
    uint64_t life; /* of the tick events */
    bool awake;    /* a socket event is under way */
    sim_sock *sock;
    bool secure, authed;
    sim_tls_client tls;
    sim_scram scram;
    buf in, wire; /* plain bytes not parsed yet; bytes for the socket */
    xmpp_framer framer;
    bool open; /* the server's header of this stream has come */

    bool managed;                               /* stream management is on in this stream */
    char smid[SIM_CLIENT_TEXT];                 /* to resume with; empty: cannot */
    uint32_t h_in;                              /* stanzas received in this session */
    uint32_t h_acked;                           /* of ours, acknowledged */
    sim_stanza *out, **out_tail;                /* sent in this session and not acknowledged */
    sim_message *unanswered, **unanswered_tail; /* in the order of seq */
    uint32_t n_unanswered;
    uint32_t seq; /* of the newest message */
    uint32_t next_iq;
    usec last_heard;    /* when bytes came */
    usec last_received; /* when the newest message came */
    uint64_t logins, resumptions, resume_failures, auth_errors;
    char trouble[128]; /* why the last stream ended, for people */
} sim_client;

void sim_client_init(sim_client *c, sim_world *w, sim_net *net, history_chat *h, const sim_habits *habits, sim_account *account,
                     uint32_t index);
void sim_client_fini(sim_client *c);
void sim_client_start(sim_client *c); /* it lives from now on */
/* Draining: online, with everything answered. */
bool sim_client_settled(const sim_client *c);

#endif
