#ifndef HISTORY_CHAT_H
#define HISTORY_CHAT_H
/* chat: the contract of a messaging service, judged from what its clients saw, without asking the server anything (docs/history.md).
 *
 * A history is records in the order of one clock. A client is one (account, device); it numbers its messages from 1. Texts are kept as
 * hashes (history_chat_hash). text.h reads and writes histories as lines. */
#include "base/slice.h"
#include "base/time.h"

#define HISTORY_CHAT_CLIENTS_MAX 4096u /* order is kept by pairs of clients */
#define HISTORY_CHAT_NOBODY      UINT32_MAX

typedef enum history_chat_kind {
    HISTORY_SEND,        /* client wrote message seq to account, with body and from; again when it is sent again */
    HISTORY_SEND_ONCE,   /* the same where no answer will come, and it is not sent again */
    HISTORY_ACKED,       /* the server acknowledged to client its message seq */
    HISTORY_REFUSED,     /* the server answered message seq of client with an error */
    HISTORY_RECV,        /* client received the message seq of sender */
    HISTORY_CARBON,      /* client received a copy (XEP-0280) of a message sent to its account */
    HISTORY_CARBON_SENT, /* client received a copy of a message sent by another client of its account */
    HISTORY_HAD,         /* received in a time line that a power cut ended: this message is not lost, and that is all it says */
    HISTORY_SESSION,     /* client has connected, and begun a new session */
    HISTORY_RESUMED,     /* client has connected, and goes on with its session */
    HISTORY_FAULT,       /* the server, or a part of it, was ended or cut off; client does not count */
    HISTORY_CHAT_KINDS
} history_chat_kind;

typedef struct history_chat_record {
    usec at;
    history_chat_kind kind;
    uint32_t client;    /* who saw it */
    uint32_t sender;    /* all but SEND*: the client whose message it is; HISTORY_CHAT_NOBODY: nobody is known to have sent it */
    uint32_t account;   /* SEND*: the addressee */
    uint32_t seq;       /* of the message, from 1 */
    bool direct;        /* SEND*: to one client of the account */
    uint64_t body;      /* hash of its text */
    uint64_t from;      /* hash of its sender's address; SEND*: as the client believes, RECV, CARBON*: as stamped */
    uint64_t stanza_id; /* RECV: hash of the id that the recipient's server gave it; 0: there was none, or not one */
} history_chat_record;

typedef struct history_chat_row { /* a client */
    uint32_t account;
    char *name; /* address, for people */
    char **ids; /* by seq - 1: what its messages are called, for people; n_ids of them, the others go by their number */
    size_t n_ids, ids_cap;
} history_chat_row;

typedef struct history_chat {
    history_chat_record *r; /* n of them */
    size_t n, cap;
    history_chat_row *clients; /* n_clients of them */
    uint32_t n_clients, n_accounts;
    history_chat_row nobody; /* ids that nobody sent: for records whose sender is HISTORY_CHAT_NOBODY */
} history_chat;

void history_chat_init(history_chat *h);
void history_chat_fini(history_chat *h);
/* A new client of the account, called name; its number, or HISTORY_CHAT_NOBODY: there are HISTORY_CHAT_CLIENTS_MAX. */
NODISCARD uint32_t history_chat_client(history_chat *h, uint32_t account, slice name);
/* Says what the next message of client (or of HISTORY_CHAT_NOBODY) is called; returns its seq. */
uint32_t history_chat_call(history_chat *h, uint32_t client, slice id);
void history_chat_add(history_chat *h, const history_chat_record *r); /* at must not be before the last one's */
uint64_t history_chat_hash(slice text);                               /* never 0 */

/* --- the judge ----------------------------------------------------------------------------------------------------------------------- */

typedef struct history_chat_cfg {
    bool drained;      /* in the end every account was online until nothing more came: what was acked must have arrived */
    bool answered;     /* in the end every sender was online until everything was answered */
    bool faults;       /* connections or servers broke: a message may come again in a new session */
    bool refusals;     /* a disk was full: an answer that refused a message may be lost, and the message comes again behind later ones */
    usec dedup_window; /* the same message sent again within this is one message */
    usec forgets_from; /* but not across a FAULT from then on: a full disk or a wall clock that jumps loses origin-ids (promises.md, 4); 0:
                          never */
    uint32_t window;   /* how many messages may come again after a connection broke that no fault explains; 0: this is not judged */
} history_chat_cfg;

/* What may be wrong, each once. */
typedef enum history_chat_violation {
    HISTORY_FINE,
    HISTORY_LOST,         /* acked to its sender, and the recipient's account never received it */
    HISTORY_UNANSWERED,   /* neither acked nor answered with an error */
    HISTORY_INVENTED,     /* received or answered, and nobody sent it, or not yet */
    HISTORY_ALTERED,      /* received with other content than it was sent with */
    HISTORY_FORGED,       /* received with another from than its sender's */
    HISTORY_MISDIRECTED,  /* received by an account that it was not addressed to */
    HISTORY_REFUSED_SENT, /* answered with an error, sent no second time, and delivered all the same */
    HISTORY_NO_ID,        /* received without an id of the server, or with several */
    HISTORY_ID_SHARED,    /* two messages with one such id */
    HISTORY_ID_CHANGED,   /* one message with two such ids: it was stored twice */
    HISTORY_REORDERED,    /* overtaken by a later message of the same sender; see chat_judge.c */
    HISTORY_DOUBLED,      /* received twice in one session, or twice at all without a fault */
    HISTORY_WINDOW,       /* more came again after a connection broke than may have been unacknowledged */
    HISTORY_VIOLATIONS
} history_chat_violation;

typedef struct history_chat_breach {
    history_chat_violation what;
    size_t record;  /* index at which it was found; of a message that is lost or unanswered that of its first sending */
    char text[256]; /* "name: who and what" */
} history_chat_breach;

typedef struct history_chat_verdict {
    history_chat_breach first; /* what is HISTORY_FINE if there is none */
    uint64_t breaches;
    uint64_t sent, sent_again, acked, refused, received, doubled, carbons;
    uint64_t copy_only; /* acked messages that the account received as carbon copies only */
    uint64_t crossed;   /* first deliveries behind a newer one, where several clients of an account excuse it */
    uint64_t connections, resumed, faults;
    uint64_t worst_after_break, worst_after_fault; /* most messages that came again in one connection: without, with a fault before it */
} history_chat_verdict;

const char *history_chat_name(history_chat_violation v);
/* Judges the whole history; on_breach (may be NULL) is told of each breach as it is found. Returns true if there was none. */
bool history_chat_judge(const history_chat *h, const history_chat_cfg *c, void (*on_breach)(void *arg, const history_chat_breach *),
                        void *arg, history_chat_verdict *out);

#endif
