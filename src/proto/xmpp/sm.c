/* sm: the arithmetic of stream management (XEP-0198).
 *
 * What: inbound, a ticket for every stanza read and the longest prefix of completed tickets (h); outbound, how many of the oldest
 * unacked stanzas an ack releases. Why tickets: a message completes when the disk has it, a ping at once, yet h = n tells the client that
 * all of the first n are safe. So an early completion waits in a bitmap until those before it are done.
 *
 *        handled            received            tickets, modulo 2^32
 *           |  1  .  1  1  .  |                 1: complete, waits for the '.' before it
 *     ------+-----------------+------>
 *     all   |<- <= WINDOW ---->| not read yet
 *     done     bit t % WINDOW
 *
 * Counters wrap at 2^32 (XEP-0198 section 4), so nothing here compares two of them with '<': only differences are compared, and each
 * difference is bounded (WINDOW inbound; sent - acked outbound).
 *
 * Invariants: (1) received - handled <= XMPP_SM_WINDOW. (2) the bit of handled is never set: what is complete there is counted.
 * (3) bits outside [handled, received) are clear. (4) done is NULL when handled == received, and until a ticket completes early, which
 * spares an in-order stream the heap. (5) released by all acks together = acked. (6) counting is false only while enabled tickets still
 * wait for those from before enabling. */
#include "proto/xmpp/sm.h"

#include "base/mem.h"

#define WORDS (XMPP_SM_WINDOW / 64u)

_Static_assert((XMPP_SM_WINDOW & (XMPP_SM_WINDOW - 1)) == 0, "a ticket's bit must not move when tickets wrap at 2^32");
_Static_assert(XMPP_SM_WINDOW % 64 == 0, "the bitmap is made of whole words");

static inline uint64_t bit_of(uint32_t ticket) { return (uint64_t)1 << (ticket % 64u); }
static inline size_t word_of(uint32_t ticket) { return ticket % XMPP_SM_WINDOW / 64u; }

void xmpp_sm_init(xmpp_sm *s) { *s = (xmpp_sm){0}; }

void xmpp_sm_fini(xmpp_sm *s) {
    mem_free(s->done);
    s->done = NULL;
}

void xmpp_sm_enable(xmpp_sm *s) {
    s->offset = s->received;
    s->sent = s->acked = 0;
    s->enabled = true;
    s->counting = s->handled == s->received;
}

uint32_t xmpp_sm_receive(xmpp_sm *s) {
    if (!check(!xmpp_sm_full(s))) return s->received - 1; /* the newest ticket twice: its second completion is refused */
    return s->received++;
}

static void advance(xmpp_sm *s) {
    s->handled++;
    if (s->handled == s->offset) s->counting = true;
}

bool xmpp_sm_complete(xmpp_sm *s, uint32_t ticket) {
    uint32_t ahead = ticket - s->handled;
    if (!check(ahead < s->received - s->handled)) return false; /* never given out, or complete already */
    if (ahead != 0) {
        if (!s->done) s->done = mem_zalloc(WORDS * sizeof *s->done);
        if (!check((s->done[word_of(ticket)] & bit_of(ticket)) == 0)) return false;
        s->done[word_of(ticket)] |= bit_of(ticket);
        return false;
    }
    advance(s);
    if (!s->done) return true;
    while (s->done[word_of(s->handled)] & bit_of(s->handled)) {
        s->done[word_of(s->handled)] &= ~bit_of(s->handled);
        advance(s);
    }
    if (xmpp_sm_idle(s)) xmpp_sm_fini(s);
    return true;
}

uint32_t xmpp_sm_h(const xmpp_sm *s) { return s->counting ? s->handled - s->offset : 0; }

void xmpp_sm_send(xmpp_sm *s) {
    if (!check(s->enabled)) return;
    if (!check(xmpp_sm_unacked(s) != UINT32_MAX)) return;
    s->sent++;
}

err xmpp_sm_ack(xmpp_sm *s, uint32_t h, uint32_t *out_released) {
    if (!s->enabled) return ERR_PROTO;
    uint32_t released = h - s->acked; /* an h behind acked is a huge step forward, more than was sent */
    if (released > xmpp_sm_unacked(s)) return ERR_PROTO;
    s->acked = h;
    *out_released = released;
    return ERR_OK;
}
