#ifndef PROTO_XMPP_SM_H
#define PROTO_XMPP_SM_H
/* sm: the arithmetic of stream management (XEP-0198): two counters modulo 2^32 and the checks on them. What was sent and not acked is
 * kept by the caller, in order; this says how many of it an ack releases.
 *
 * Inbound stanzas complete out of order inside the server (a message waits for the disk, a ping does not), but h may only cover a prefix:
 * completion is by ticket. Invariants: (1) done <= received. (2) h covers exactly the longest prefix of completed tickets.
 * (3) acked <= sent. */
#include "base/err.h"

#define XMPP_SM_WINDOW 256u /* most inbound stanzas in progress at once; the reader stops at this */

typedef struct xmpp_sm {
    uint32_t received; /* tickets given out: inbound stanzas read */
    uint32_t handled;  /* h: tickets below this are all complete */
    uint32_t sent;     /* outbound stanzas written since enabling */
    uint32_t acked;    /* of those, acked by the peer */
    uint32_t offset;   /* value of received when management was enabled: h on the wire is handled - offset */
    bool enabled;      /* outbound counting is on */
    bool counting;     /* handled has reached offset; before that h is 0, because nothing that it counts is complete */
    uint64_t *done;    /* bitmap of completed tickets in [handled, handled + XMPP_SM_WINDOW); NULL while none is in progress */
} xmpp_sm;

void xmpp_sm_init(xmpp_sm *s);
void xmpp_sm_fini(xmpp_sm *s);
void xmpp_sm_enable(xmpp_sm *s);
static inline bool xmpp_sm_full(const xmpp_sm *s) { return s->received - s->handled >= XMPP_SM_WINDOW; }
static inline bool xmpp_sm_idle(const xmpp_sm *s) { return s->received == s->handled; }
uint32_t xmpp_sm_receive(xmpp_sm *s); /* a new inbound ticket; must not be full */
/* Completes a ticket. Returns true if handled advanced. ERR-free: a ticket outside the window is our bug (check). */
bool xmpp_sm_complete(xmpp_sm *s, uint32_t ticket);
uint32_t xmpp_sm_h(const xmpp_sm *s); /* for the wire */
void xmpp_sm_send(xmpp_sm *s);        /* one outbound stanza, while enabled */
static inline uint32_t xmpp_sm_unacked(const xmpp_sm *s) { return s->sent - s->acked; }
/* The peer's h. *out_released: how many of the oldest unacked are released. ERR_PROTO if h acknowledges more than was sent (XEP-0198
 * section 4: undefined-condition, handled-count-too-high) ; an h behind acked is ERR_PROTO too. */
NODISCARD err xmpp_sm_ack(xmpp_sm *s, uint32_t h, uint32_t *out_released);

#endif
