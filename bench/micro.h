#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H
/* micro: parts of murre, each beside the limit of the machine in the same run: the same work as plain C, or the system calls alone. Rounds
 * of limit and ours alternate; the median counts. */
#include "bench.h"

#define MICRO_ROUNDS 7
typedef struct micro_row { /* one figure, from MICRO_ROUNDS measurements */
    double v[MICRO_ROUNDS];
    unsigned n;
} micro_row;
static inline void micro_add(micro_row *r, double v) {
    if (r->n < MICRO_ROUNDS) r->v[r->n++] = v;
}
double micro_median(const micro_row *r);
/* Prints ours, the limit and their ratio (ours over limit for times, limit over ours for rates: 1 is perfect, more is worse). */
void micro_report(const char *key, const char *unit, bool is_rate, const micro_row *ours, const micro_row *limit);

/* What something costs that can be switched on and off: rounds in pairs, first off then on, next time on then off; prints the medians of
 * both, and the median and the quartiles of the pairs' ratios. A round is some milliseconds and returns the CPU time of a unit in ns. */
#define MICRO_PAIRS 61
typedef double micro_ab_round(void *arg);
typedef void micro_ab_switch(void *arg, bool on);
void micro_ab(const char *key, const char *unit, void *arg, micro_ab_round *round, micro_ab_switch *set);

typedef struct micro_cfg {
    bool json;
    const char *dir; /* for files; on the disk that is to be measured */
} micro_cfg;
bool micro_parse(const micro_cfg *c);   /* micro_parse.c */
bool micro_send(const micro_cfg *c);    /* micro_send.c */
bool micro_msacc(const micro_cfg *c);   /* micro_send.c */
bool micro_cross(const micro_cfg *c);   /* micro_cross.c */
bool micro_wake(const micro_cfg *c);    /* micro_wake.c */
bool micro_workers(const micro_cfg *c); /* micro_workers.c */
bool micro_jobs(const micro_cfg *c);    /* micro_workers.c */
bool micro_timers(const micro_cfg *c);  /* micro_base.c */
bool micro_table(const micro_cfg *c);   /* micro_table.c */
bool micro_locks(const micro_cfg *c);   /* micro_base.c */
bool micro_log(const micro_cfg *c);     /* micro_log.c */
bool micro_looks(const micro_cfg *c);   /* micro_looks.c */
bool micro_queue(const micro_cfg *c);   /* micro_queue.c */
bool micro_dist(const micro_cfg *c);    /* micro_dist.c */
bool micro_etf(const micro_cfg *c);     /* micro_etf.c */

#endif
