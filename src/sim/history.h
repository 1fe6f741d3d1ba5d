#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H
/* history: what clients saw, in the order of virtual time: the only thing that the checker reads. A client is one (account, resource); it
 * numbers its messages from 1. Texts are kept as hashes (sim_history_hash). */
#include "base/slice.h"
#include "base/time.h"

typedef enum sim_record_kind {
    SIM_SEND,        /* client wrote message seq to account, with body and from; again when it is sent again */
    SIM_SEND_ONCE,   /* the same without stream management: no answer will come, and it is not sent again */
    SIM_ACKED,       /* the server acknowledged to client its message seq */
    SIM_REFUSED,     /* the server answered message seq of client with an error */
    SIM_RECV,        /* client received a message whose body names sender and seq */
    SIM_CARBON,      /* client received a copy (XEP-0280) of a message sent to its account */
    SIM_CARBON_SENT, /* client received a copy of a message sent by another resource of its account */
    SIM_SESSION,     /* client began a new session: not a resumption */
} sim_record_kind;

#define SIM_NOBODY UINT32_MAX
typedef struct sim_record {
    usec at;
    sim_record_kind kind;
    uint32_t client;    /* who saw it */
    uint32_t sender;    /* RECV, CARBON*: the client that the body names; SIM_NOBODY: the body names none */
    uint32_t account;   /* SEND: the addressee; RECV, CARBON*: the addressee that the body names */
    uint32_t seq;       /* of the message, from 1 */
    bool direct;        /* SEND: to a full JID */
    uint64_t body;      /* hash of its text */
    uint64_t from;      /* hash of its sender's full JID; SEND: as the client believes, RECV: as stamped */
    uint64_t stanza_id; /* RECV: hash of the stanza-id by the recipient's account; 0: there was none */
} sim_record;

typedef struct sim_history {
    sim_record *r;
    size_t n, cap;
    uint32_t n_clients, n_accounts;
    uint32_t *account_of; /* by client */
} sim_history;

void sim_history_init(sim_history *h);
void sim_history_fini(sim_history *h);
uint32_t sim_history_client(sim_history *h, uint32_t account); /* a new client of the account; its number */
void sim_history_add(sim_history *h, const sim_record *r);     /* at must not be before the last one's */
uint64_t sim_history_hash(slice text);                         /* never 0 */

#endif
