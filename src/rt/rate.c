/* rate: rings of samples of the shards' queue counters.
 *
 *     watchdog, once a second                          reader
 *     [ s s s s s s s s . . . ]  written = 8     -->   newest minus the one 1, 10 or 100 before it, by the time between the two
 *       0             7
 *
 * A window is a number of samples, and the division is by the time that really lies between them: when the watchdog was held up, the
 * window is longer and the rate still right.
 *
 * Invariants: (1) one thread writes. (2) A reader touches the newest 101 samples only; the writer, one each second, comes to them after
 * SAMPLES - 101 more seconds. A reader that was held up for so long sees it by `written` and looks again. */
#include "rt/rate.h"

#include "base/mem.h"
#include "rt/core.h"

#define SAMPLES 128u /* a power of two */
#define BACK    100u /* the longest window */

const unsigned rt_rate_seconds[RT_RATE_WINDOWS] = {1, 10, BACK};

typedef enum counter { MSG_IN, MSG_OUT, SIG_IN, SIG_OUT, COUNTERS } counter;
typedef struct sample {  /* relaxed: ordered by `written` */
    _Atomic uint64_t at; /* microseconds, monotonic */
    _Atomic uint64_t count[COUNTERS];
} sample;
struct rt_rates {
    _Atomic uint64_t written; /* samples ever; release by the writer after them, acquire by readers before */
    sample s[];               /* [shard * SAMPLES + number % SAMPLES] */
};

void rt_rate_init(rt_node *n) {
    n->rates = mem_zalloc(sizeof(struct rt_rates) + (size_t)n->n_shards * SAMPLES * sizeof(sample));
    rt_rate_sample(n); /* what the first second is compared with */
}

void rt_rate_fini(rt_node *n) {
    mem_free(n->rates);
    n->rates = NULL;
}

static void put(_Atomic uint64_t *to, uint64_t x) { atomic_store_explicit(to, x, memory_order_relaxed); }

void rt_rate_sample(rt_node *n) {
    struct rt_rates *r = n->rates;
    uint64_t number = atomic_load_explicit(&r->written, memory_order_relaxed); /* our own */
    for (unsigned i = 0; i < n->n_shards; i++) {
        rt_shard *sh = &n->shards[i];
        sample *s = &r->s[i * SAMPLES + number % SAMPLES];
        put(&s->at, (uint64_t)n->s->mono(n->s));
        put(&s->count[MSG_IN], rt_counted(&sh->msg_enqueued));
        put(&s->count[MSG_OUT], rt_counted(&sh->msg_dequeued));
        put(&s->count[SIG_IN], rt_counted(&sh->sig_enqueued));
        put(&s->count[SIG_OUT], rt_counted(&sh->sig_dequeued));
    }
    atomic_store_explicit(&r->written, number + 1, memory_order_release); /* partner: shard_rates */
}

static void add(rt_rate *to, uint64_t in, uint64_t out, usec over) {
    double sec = (double)over / (double)USEC_PER_SEC;
    to->in += (double)in / sec;
    to->out += (double)out / sec;
    if (over > to->over) to->over = over;
}

/* Adds the rates of one shard. */
static void shard_rates(struct rt_rates *r, unsigned shard, unsigned back, rt_rate *messages, rt_rate *signals) {
    for (;;) {
        uint64_t written = atomic_load_explicit(&r->written, memory_order_acquire); /* partner: rt_rate_sample */
        if (written < 2) return;
        uint64_t last = written - 1, first = last > back ? last - back : 0;
        sample *from = &r->s[shard * SAMPLES + first % SAMPLES], *to = &r->s[shard * SAMPLES + last % SAMPLES];
        /* acquire: none of these may be read after `written` is looked at again. */
        usec over = (usec)(atomic_load_explicit(&to->at, memory_order_acquire) - atomic_load_explicit(&from->at, memory_order_acquire));
        uint64_t passed[COUNTERS];
        for (unsigned k = 0; k < COUNTERS; k++) {
            passed[k] = atomic_load_explicit(&to->count[k], memory_order_acquire);
            passed[k] -= atomic_load_explicit(&from->count[k], memory_order_acquire);
        }
        if (atomic_load_explicit(&r->written, memory_order_relaxed) - first >= SAMPLES) continue; /* invariant 2 */
        if (over <= 0) return;
        add(messages, passed[MSG_IN], passed[MSG_OUT], over);
        add(signals, passed[SIG_IN], passed[SIG_OUT], over);
        return;
    }
}

void rt_rate_read(rt_node *n, uint32_t shard, unsigned window, rt_rate *out_messages, rt_rate *out_signals) {
    *out_messages = *out_signals = (rt_rate){0, 0, 0};
    if (!n->rates || !check(window < RT_RATE_WINDOWS)) return;
    for (unsigned i = 0; i < n->n_shards; i++)
        if (shard == RT_RATE_NODE || shard == i) shard_rates(n->rates, i, rt_rate_seconds[window], out_messages, out_signals);
}
