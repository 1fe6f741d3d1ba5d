/* id: pids, ports and references as identities: what is the same one, and what an old peer can take. */
#include "proto/etf/etf.h"

#define SMALL_PID_ID     (UINT32_C(1) << 15)
#define SMALL_PID_SERIAL (UINT32_C(1) << 13)
#define SMALL_PORT_ID    (UINT64_C(1) << 28)
#define SMALL_REF_WORDS  3u
#define SMALL_REF_FIRST  (UINT32_C(1) << 18)

bool etf_pid_eq(const etf_pid *a, const etf_pid *b) {
    return a->id == b->id && a->serial == b->serial && a->creation == b->creation && slice_eq(a->node, b->node);
}

bool etf_ref_eq(const etf_ref *a, const etf_ref *b) {
    for (uint32_t i = 0; i < ETF_REF_WORDS; i++)
        if ((i < a->n ? a->word[i] : 0) != (i < b->n ? b->word[i] : 0)) return false;
    return a->creation == b->creation && slice_eq(a->node, b->node);
}

bool etf_pid_is_small(const etf_pid *p) { return p->id < SMALL_PID_ID && p->serial < SMALL_PID_SERIAL; }
bool etf_port_is_small(const etf_port *p) { return p->id < SMALL_PORT_ID; }
bool etf_ref_is_small(const etf_ref *r) { return r->n <= SMALL_REF_WORDS && r->word[0] < SMALL_REF_FIRST; }
