#ifndef BENCH_MODE_H
#define BENCH_MODE_H
/* mode: what one run of `murre-bench xmpp` is told, and the modes. Each returns false after it has put a sentence into l->why. */
#include "base/hist.h"
#include "client.h"

typedef struct mode_cfg {
    int64_t pairs, window, bytes, seconds, warm, count, sessions, base, per_user, parallel, first, server_pid, slices, slice_msec;
    bool to_full; /* messages go to full JIDs (needs receivers that are online) */
    bool json;
    const char *name;
    load_cfg load;
} mode_cfg;

bool mode_chat(const mode_cfg *m);     /* mode_chat.c */
bool mode_offline(const mode_cfg *m);  /* mode_offline.c */
bool mode_idle(const mode_cfg *m);     /* mode_many.c */
bool mode_login(const mode_cfg *m);    /* mode_many.c */
bool mode_register(const mode_cfg *m); /* mode_many.c */

/* Says why a run failed, on standard error; returns false. */
bool mode_failed(const load *l, const char *what);
#define MODE_PATIENCE_NSEC UINT64_C(20000000000) /* nothing at all happens for this long: the run has failed */

/* --- pairs (pairs.c): sequence numbers of messages from one client to another, checked at the receiver */
typedef struct pair {
    client *from, *to;
    uint32_t id;
    uint32_t sent;   /* messages; sequence numbers are 0 to sent - 1 */
    uint32_t expect; /* one past the highest sequence number that came */
    uint32_t unique; /* different ones that came */
    uint32_t acked;  /* of those sent, acked by the server (0198) */
    uint8_t *seen;   /* a bit for each sequence number */
    size_t seen_cap;
    uint64_t *sent_at; /* ring of window + 1 times, by sequence number */
} pair;
typedef struct pairs {
    pair *p;
    uint32_t n;
    uint32_t window; /* messages of a pair under way at once */
    uint32_t bytes;  /* of a body */
    bool acks, to_full;
    const char *domain, *user; /* for bare JIDs */
    uint32_t first;            /* number of the first user */
    uint64_t run;              /* of this run, in every body: what an earlier one left behind is told apart */
    uint64_t sent, received, doubled, reordered, misdelivered, errors, stale;
    hist delivery, ack; /* nanoseconds */
    char *padding;
} pairs;
void pairs_init(pairs *ps, const mode_cfg *m);
void pairs_fini(pairs *ps);
/* Messages of p that have neither arrived nor, with acks, been acked; counting only what the run waits for. */
uint32_t pairs_under_way(const pairs *ps, const pair *p, bool deliveries);
void pairs_send(pairs *ps, pair *p);
/* A message at a receiver. Returns the pair, NULL if it is none of ours. */
pair *pairs_got(pairs *ps, client *at, const xmpp_node *m);
void pairs_acked(pairs *ps, pair *p);
void pairs_clear_times(pairs *ps);
uint64_t pairs_lost(const pairs *ps);
uint64_t pairs_unacked(const pairs *ps);
bool pairs_clean(const pairs *ps); /* each arrived once, in order, where it should, and (with acks) was acked */
void pairs_report(const pairs *ps);

#endif
