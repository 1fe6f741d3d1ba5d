#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H
/* checker: judges a history of what clients saw against the contract (docs/promises.md), without asking the server anything. */
#include "sim/history.h"

typedef struct sim_check_cfg {
    bool drained;  /* in the end every account was online until nothing more came: what was acked must have arrived, every send answered */
    bool faults;   /* connections or nodes broke: a message may come again in a new session */
    bool refusals; /* a disk was full: an answer that refused a message may be lost, and the message comes again behind later ones */
    usec dedup_window; /* the same message sent again within this is one message */
} sim_check_cfg;

/* What may be wrong, each once; the first one found is reported. */
typedef enum sim_violation {
    SIM_FINE,
    SIM_LOST,         /* R1: acked to its sender, and the recipient's account never received it */
    SIM_UNANSWERED,   /* contract 1: neither acked nor answered with an error */
    SIM_INVENTED,     /* received, and nobody sent it, or not yet */
    SIM_ALTERED,      /* received with other content than it was sent with */
    SIM_FORGED,       /* received with another from than its sender's */
    SIM_MISDIRECTED,  /* received by an account that it was not addressed to */
    SIM_REFUSED_SENT, /* answered with an error, and delivered all the same */
    SIM_NO_ID,        /* contract 4: received without a stanza-id */
    SIM_ID_SHARED,    /* contract 4: two messages with one stanza-id */
    SIM_ID_CHANGED,   /* contract 4: one message with two stanza-ids */
    SIM_REORDERED,    /* R7: a first delivery was overtaken by a later message of the same sender; see checker.c */
    SIM_DOUBLED,      /* R8: received twice in one session, or twice at all without a fault */
    SIM_VIOLATIONS
} sim_violation;

#define SIM_VERDICT_MAX 256
typedef struct sim_verdict {
    sim_violation what;
    char text[SIM_VERDICT_MAX];
    size_t record; /* index at which it was found; n at the end of the history */
    uint64_t sent, sent_again, acked, refused, received, doubled, carbons;
    uint64_t copy_only; /* acked messages that the account received as carbon copies only */
    uint64_t crossed;   /* first deliveries behind a newer one, where several clients of an account excuse it */
} sim_verdict;

const char *sim_checker_name(sim_violation v);
/* Returns true if the history keeps the contract. */
bool sim_checker_run(const sim_history *h, const sim_check_cfg *c, sim_verdict *out);

#endif
