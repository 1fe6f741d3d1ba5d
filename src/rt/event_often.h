#ifndef RT_EVENT_OFTEN_H
#define RT_EVENT_OFTEN_H
/* event_often: the probes, and the events of every message: what rt_event does, in line, private to src/rt. A local send and its handling
 * raise three; as calls they were a seventh of its instructions.
 *
 * The probe's name is the list's string. sdt.h makes strings from bare words; RT_PROBE is its STAP_PROBE3 for strings. A probe has as many
 * places in the program as there are copies of it; whoever traces it by its name gets them all. */
#include "rt/shard.h"

#include <sys/sdt.h>

#undef _SDT_ASM_STRING_1
#define _SDT_ASM_STRING_1(x) _SDT_ASM_1(.asciz x)
#define RT_PROBE(name, a, b, c)                                                                                                            \
    __asm__ __volatile__(_SDT_ASM_BODY("murre", name, _SDT_ASM_ARGS, (3), )::_SDT_ASM_OPERANDS_3(a, b, c));                                \
    __asm__ __volatile__(_SDT_ASM_BASE)

static inline uint8_t rt_event_note(struct rt_event_state *st, rt_event_id id) {
    uint64_t k = atomic_load_explicit(&st->count[id], memory_order_relaxed);
    atomic_store_explicit(&st->count[id], k + 1, memory_order_relaxed);
    return atomic_load_explicit(&st->todo[id], memory_order_relaxed);
}
/* What else the event wants, which is seldom; event.c. todo is not 0. */
void rt_event_more(rt_ctx *cx, rt_event_id id, uint8_t todo, uint64_t a, uint64_t b, uint64_t c);

static inline void rt_event_probe(rt_event_id id, uint64_t a, uint64_t b, uint64_t c) {
    switch (id) {
#define EVENT(id, name, level, x, y, z, doc)                                                                                               \
    case EV_##id:                                                                                                                          \
        RT_PROBE(name, a, b, c);                                                                                                           \
        return;
#include "rt/events.def"
    case EV_COUNT_: return;
    }
}

/* id: a constant, so that of the probes one is left. */
static inline void rt_event_often(rt_ctx *cx, rt_event_id id, uint64_t a, uint64_t b, uint64_t c) {
    uint8_t todo = rt_event_note(&cx->sh->ev, id);
    rt_event_probe(id, a, b, c);
    if (UNLIKELY(todo)) rt_event_more(cx, id, todo, a, b, c);
}

#endif
