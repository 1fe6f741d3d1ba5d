/* timer: a hierarchical wheel (Varghese and Lauck) with the coarse levels of the classic Linux kernel's: arming and cancelling touch one
 * list, and a timer moves down at most four times before it fires.
 *
 * A timer that is moved to a later tick stays where it is filed and only takes the new tick: most timers guard against silence and are
 * moved at every sign of life, and taking one out of its list and into another touches four cache lines of others. When its slot comes up
 * it is filed again; however often it was moved meanwhile, that is once.
 *
 *     tick bits:   31..26 | 25..20 | 19..14 | 13..8 | 7..0
 *     level:       far[3]   far[2]   far[1]  far[0]  near
 *
 * Invariants: (1) a timer filed for a tick f, at most its due, is in near[f & 255] if f - tick < 256 when it was filed; if less than 2^14,
 * in far[0][f >> 8 & 63], and so on; a slot of a far level is moved down at the tick at which its range begins, by due; (2) due is rounded
 * up and the tick of now down, so none fires early; (3) a timer armed while others fire is not fired in the same sweep: a timer of zero
 * delay cannot keep the shard in its loop; (4) a bit may be set for an empty slot but is never clear for a filled one; (5) ticks are
 * compared by difference, so they may wrap; (6) what is in the lists due and firing has a due at or before tick: rt_wheel_move takes it out
 * of there. */
#include "rt/timer.h"

#include "base/plant.h"

static void head_init(rt_timer *h) { h->next = h->prev = h; }
static bool head_empty(const rt_timer *h) { return h->next == h; }

static void append(rt_timer *h, rt_timer *t) {
    t->prev = h->prev;
    t->next = h;
    h->prev->next = t;
    h->prev = t;
}

static void unlink_timer(rt_timer *t) {
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
}

void rt_wheel_init(rt_wheel *w) {
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < RT_WHEEL_NEAR; i++) head_init(&w->near[i]);
    for (unsigned l = 0; l < RT_WHEEL_LEVELS; l++)
        for (unsigned i = 0; i < RT_WHEEL_FAR; i++) head_init(&w->far[l][i]);
    head_init(&w->due);
    head_init(&w->firing);
}

static void place(rt_wheel *w, rt_timer *t) {
    uint32_t delta = t->due - w->tick;
    if ((int32_t)delta <= 0) {
        append(&w->due, t);
    } else if (delta < RT_WHEEL_NEAR) {
        uint32_t i = t->due & (RT_WHEEL_NEAR - 1);
        append(&w->near[i], t);
        w->near_bits[i / 64] |= UINT64_C(1) << (i % 64);
    } else {
        unsigned level = delta < (1u << 14) ? 0 : delta < (1u << 20) ? 1 : delta < (1u << 26) ? 2 : 3;
        uint32_t i = (t->due >> (8 + 6 * level)) & (RT_WHEEL_FAR - 1);
        append(&w->far[level][i], t);
        w->far_bits[level] |= UINT64_C(1) << i;
    }
}

void rt_wheel_set(rt_wheel *w, rt_timer *t, uint32_t due) {
    t->due = due - (plant(TIMER_EARLY) ? 1 : 0);
    w->armed++;
    place(w, t);
}

void rt_wheel_move(rt_wheel *w, rt_timer *t, uint32_t due) {
    if ((int32_t)(t->due - w->tick) <= 0 ||
        ((int32_t)(due - t->due) < 0 && !plant(TIMER_NOT_MOVED))) { /* invariant 6; or it has to come up earlier */
        unlink_timer(t);
        t->due = due;
        place(w, t);
    } else {
        t->due = due;
    }
}

void rt_wheel_cancel(rt_wheel *w, rt_timer *t) {
    unlink_timer(t);
    w->armed--;
}

static void splice(rt_timer *from, rt_timer *to) {
    if (head_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    head_init(from);
}

/* Empties a slot whose tick has come: what is due goes to the list due, the rest where it belongs now. */
static void empty_slot(rt_wheel *w, rt_timer *slot) {
    rt_timer list;
    head_init(&list);
    splice(slot, &list);
    while (!head_empty(&list)) {
        rt_timer *t = list.next;
        unlink_timer(t);
        place(w, t);
    }
}

/* At a tick at which near begins anew: takes the far slots down whose range begins here. */
static void cascade(rt_wheel *w) {
    for (unsigned l = 0; l < RT_WHEEL_LEVELS; l++) {
        uint32_t i = (w->tick >> (8 + 6 * l)) & (RT_WHEEL_FAR - 1);
        w->far_bits[l] &= ~(UINT64_C(1) << i);
        empty_slot(w, &w->far[l][i]);
        if (i != 0 || plant(TIMER_FAR_FORGOTTEN)) break;
    }
}

/* The first possibly filled near slot after tick and before near begins anew; RT_WHEEL_NEAR if none. */
static uint32_t near_next(rt_wheel *w) {
    for (uint32_t i = (w->tick & (RT_WHEEL_NEAR - 1)) + 1; i < RT_WHEEL_NEAR;) {
        uint64_t bits = w->near_bits[i / 64] >> (i % 64);
        if (!bits) {
            i = (i / 64 + 1) * 64;
            continue;
        }
        i += (uint32_t)__builtin_ctzll(bits);
        if (!head_empty(&w->near[i])) return i;
        w->near_bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    return RT_WHEEL_NEAR;
}

void rt_wheel_advance(rt_wheel *w, uint32_t tick) {
    while ((int32_t)(tick - w->tick) > 0) {
        if (w->armed == 0) {
            w->tick = tick;
            break;
        }
        uint32_t base = w->tick & ~(RT_WHEEL_NEAR - 1), i = near_next(w), at = base + i;
        if ((int32_t)(at - tick) > 0) {
            w->tick = tick;
            break;
        }
        w->tick = at;
        if (i == RT_WHEEL_NEAR) {
            cascade(w);
            i = 0; /* slot 0 of the new turn may hold timers armed during the last one */
        }
        w->near_bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
        empty_slot(w, &w->near[i]);
    }
    splice(&w->due, &w->firing);
}

rt_timer *rt_wheel_pop(rt_wheel *w) {
    if (head_empty(&w->firing)) return NULL;
    rt_timer *t = w->firing.next;
    unlink_timer(t);
    w->armed--;
    return t;
}

bool rt_wheel_next(rt_wheel *w, uint32_t *out_tick) {
    if (w->armed == 0) return false;
    if (!head_empty(&w->due) || !head_empty(&w->firing)) {
        *out_tick = w->tick;
        return true;
    }
    uint32_t i = near_next(w), base = w->tick & ~(RT_WHEEL_NEAR - 1);
    if (i < RT_WHEEL_NEAR) {
        *out_tick = base + i;
        return true;
    }
    uint32_t best = base + RT_WHEEL_NEAR; /* slots of near before tick belong to the next turn: look again there */
    for (unsigned k = 0; k < RT_WHEEL_NEAR / 64; k++)
        if (w->near_bits[k]) {
            *out_tick = best;
            return true;
        }
    bool found = false;
    for (unsigned l = 0; l < RT_WHEEL_LEVELS; l++) {
        unsigned shift = 8 + 6 * l;
        uint32_t cur = (w->tick >> shift) & (RT_WHEEL_FAR - 1);
        for (uint32_t d = 1; d <= RT_WHEEL_FAR; d++) {
            uint32_t slot = (cur + d) & (RT_WHEEL_FAR - 1);
            if (!(w->far_bits[l] & (UINT64_C(1) << slot))) continue;
            if (head_empty(&w->far[l][slot])) {
                w->far_bits[l] &= ~(UINT64_C(1) << slot);
                continue;
            }
            uint32_t at = ((w->tick >> shift) + d) << shift;
            if (!found || (int32_t)(at - best) < 0) best = at;
            found = true;
            break;
        }
    }
    if (!found) return false;
    *out_tick = best;
    return true;
}
