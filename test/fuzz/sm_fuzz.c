/* sm_fuzz: bytes as operations on the counters of stream management, against a model that keeps a flag for each ticket and counts in 64
 * bits. Byte 0-3: where the tickets start, modulo 2^32. */
#include "proto/xmpp/sm.h"

#include <stdlib.h>
#include <string.h>

#define TICKETS_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct model {
    uint64_t base, received, handled, enabled_at, sent, acked;
    bool enabled;
    bool complete[TICKETS_MAX];
} model;

static void demand(bool ok) {
    if (!ok) abort();
}

static void complete(xmpp_sm *s, model *m, uint8_t which) {
    uint64_t open = m->received - m->handled;
    if (open == 0) return;
    uint64_t ticket = m->handled + which % open, before = m->handled;
    if (m->complete[ticket]) return;
    m->complete[ticket] = true;
    while (m->handled < m->received && m->complete[m->handled]) m->handled++;
    demand(xmpp_sm_complete(s, (uint32_t)(m->base + ticket)) == (m->handled > before));
}

static void ack(xmpp_sm *s, model *m, uint8_t by, bool back) {
    uint32_t n = 0, h = (uint32_t)(back ? m->acked - by : m->acked + by);
    bool valid = m->enabled && (back ? by == 0 : by <= m->sent - m->acked);
    demand((xmpp_sm_ack(s, h, &n) == ERR_OK) == valid);
    if (!valid) return;
    demand(n == (back ? 0 : by));
    m->acked += n;
}

static void step(xmpp_sm *s, model *m, uint8_t op, uint8_t arg) {
    switch (op % 6) {
    case 0:
        if (xmpp_sm_full(s) || m->received == TICKETS_MAX) break;
        demand(xmpp_sm_receive(s) == (uint32_t)(m->base + m->received));
        m->received++;
        break;
    case 1:
    case 2: complete(s, m, op % 6 == 1 ? 0 : arg); break;
    case 3:
        if (m->enabled) break;
        xmpp_sm_enable(s);
        m->enabled = true;
        m->enabled_at = m->received;
        break;
    case 4:
        if (!m->enabled) break;
        xmpp_sm_send(s);
        m->sent++;
        break;
    default: ack(s, m, arg & 0x7f, arg & 0x80); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static model m;
    xmpp_sm s;
    uint32_t base;
    if (size < 4) return 0;
    memcpy(&base, data, 4);
    memset(&m, 0, sizeof m);
    m.base = base;
    xmpp_sm_init(&s);
    s.received = s.handled = base;
    for (size_t i = 4; i + 1 < size; i += 2) {
        step(&s, &m, data[i], data[i + 1]);
        if (m.enabled) demand(xmpp_sm_h(&s) == (uint32_t)(m.handled > m.enabled_at ? m.handled - m.enabled_at : 0));
        demand(xmpp_sm_full(&s) == (m.received - m.handled >= XMPP_SM_WINDOW));
        demand(xmpp_sm_idle(&s) == (m.received == m.handled));
        demand(!xmpp_sm_idle(&s) || !s.done);
        demand(xmpp_sm_unacked(&s) == m.sent - m.acked);
    }
    xmpp_sm_fini(&s);
    return 0;
}
