/* micro_base: timers (re-arming one of a million, beside taking a node out of one list and into another at random) and locks (uncontended,
 * counting off and on, beside the mutex alone). */
#include "base/lock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "micro.h"
#include "rt/timer.h"

#define TIMERS     1000000u
#define RE_ARMS    1000000u
#define HORIZON    300000u /* ticks of 1 ms: five minutes, as idle time-outs are */
#define LISTS      512u
#define LOCK_TAKES 5000000u

static double wheel_round(rt_wheel *w, rt_timer *t, prng *r) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < RE_ARMS; i++) {
        uint64_t x = prng_next(r);
        rt_timer *a = &t[(x & UINT32_MAX) % TIMERS];
        rt_wheel_move(w, a, w->tick + 1 + (uint32_t)((x >> 32) % HORIZON));
    }
    return (double)(bench_nsec() - t0) / RE_ARMS;
}

/* What most timers see: moved to later, at a sign of life. */
static double later_round(rt_wheel *w, rt_timer *t, prng *r) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < RE_ARMS; i++) {
        rt_timer *a = &t[(prng_next(r) & UINT32_MAX) % TIMERS];
        rt_wheel_move(w, a, a->due + 1);
    }
    return (double)(bench_nsec() - t0) / RE_ARMS;
}

static void link_in(rt_timer *head, rt_timer *t) {
    t->next = head->next;
    t->prev = head;
    head->next->prev = t;
    head->next = t;
}

static double list_round(rt_timer *heads, rt_timer *t, prng *r) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < RE_ARMS; i++) {
        uint64_t x = prng_next(r);
        rt_timer *a = &t[(x & UINT32_MAX) % TIMERS];
        a->prev->next = a->next;
        a->next->prev = a->prev;
        link_in(&heads[(x >> 32) % LISTS], a);
    }
    return (double)(bench_nsec() - t0) / RE_ARMS;
}

bool micro_timers(const micro_cfg *c) {
    rt_timer *t = mem_zalloc(TIMERS * sizeof *t), *plain = mem_zalloc(TIMERS * sizeof *plain);
    rt_wheel *w = mem_zalloc(sizeof *w);
    rt_timer heads[LISTS];
    prng r;
    prng_init(&r, 1);
    rt_wheel_init(w);
    for (unsigned i = 0; i < LISTS; i++) heads[i].next = heads[i].prev = &heads[i];
    for (unsigned i = 0; i < TIMERS; i++) {
        rt_wheel_set(w, &t[i], w->tick + 1 + (uint32_t)prng_below(&r, HORIZON));
        link_in(&heads[prng_below(&r, LISTS)], &plain[i]);
    }
    micro_row ours = {0}, later = {0}, limit = {0};
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        micro_add(&limit, list_round(heads, plain, &r));
        micro_add(&ours, wheel_round(w, t, &r));
        micro_add(&later, later_round(w, t, &r));
    }
    bench_report_begin(c->json, "timers");
    micro_report("re_arm", "ns, 1 M timers, to any tick", false, &ours, &limit);
    micro_report("re_arm_later", "ns, to a later tick", false, &later, &limit);
    bench_report_end();
    mem_free(w);
    mem_free(t);
    mem_free(plain);
    return true;
}

static double lock_round(lock *l) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < LOCK_TAKES; i++) {
        lock_take(l);
        lock_release(l);
    }
    return (double)(bench_nsec() - t0) / LOCK_TAKES;
}

static double mutex_round(pthread_mutex_t *m) {
    uint64_t t0 = bench_nsec();
    for (unsigned i = 0; i < LOCK_TAKES; i++) {
        (void)pthread_mutex_lock(m); /* cannot fail: a default mutex that this thread does not hold */
        (void)pthread_mutex_unlock(m);
    }
    return (double)(bench_nsec() - t0) / LOCK_TAKES;
}

bool micro_locks(const micro_cfg *c) {
    lock_set set;
    lock l;
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    lock_set_init(&set);
    lock_init(&l, &set, "bench", 0, LOCK_RANK_TEST);
    micro_row off = {0}, on = {0}, raw = {0};
    for (unsigned i = 0; i < MICRO_ROUNDS; i++) {
        micro_add(&raw, mutex_round(&m));
        lock_set_counting(&set, false);
        micro_add(&off, lock_round(&l));
        lock_set_counting(&set, true);
        micro_add(&on, lock_round(&l));
    }
    bench_report_begin(c->json, "locks");
    bench_report_num("mutex", "ns, take and release", micro_median(&raw));
    bench_report_num("counting_off", "ns", micro_median(&off));
    bench_report_num("counting_on", "ns", micro_median(&on));
    bench_report_num("counting_costs", "ns", micro_median(&on) - micro_median(&off));
    bench_report_end();
    lock_fini(&l);
    lock_set_fini(&set);
    return true;
}
