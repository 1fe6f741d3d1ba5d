#ifndef NETWARP_RELAY_H
#define NETWARP_RELAY_H
/* relay: the link: where it listens, where it leads, the state of its two directions, its connections. Actions are applied here.
 *
 *   client --(socket)--> side[0] --flow[C2S]: queue, fates--> side[1] --(socket)--> server
 *                        side[0] <--flow[S2C]---------------- side[1]                          conn.c, flow.c: streams
 *   client --(socket)--> listener --held datagrams--> peer.io --(socket)--> server             dgram.c: datagrams
 */
#include "base/hash.h"
#include "loop.h"
#include "net.h"
#include "trace.h"
#include "warp.h"

/* Something that is on until it is healed. A `for TIME` ends only what it began: the number says whether it still is that. */
typedef struct hold {
    bool on;
    uint64_t number;
} hold;

/* One direction of the link. */
typedef struct link_dir {
    warp_set set;
    hold cut, half_open;
    uint64_t rate_nsec; /* when the token bucket is full again, CLOCK_MONOTONIC in nanoseconds */
    warp_count count;
    uint64_t healed; /* how often; what was held before goes at once */
} link_dir;

/* `after N bytes`: done by each connection once. */
typedef struct after {
    uint64_t bytes;
    unsigned dirs;
    action act;
} after;

typedef struct relay {
    loop loop;
    trace trace;
    uint64_t seed;
    bool udp;
    net_place listen_at, to;
    loop_io listener;
    bool listening; /* the listener is watched */
    hold refuse;    /* streams: no one listens */
    usec slow;      /* streams: the time between two acceptances; 0: none */
    loop_timer accept_timer;
    uint64_t conns_max;
    usec idle;  /* datagrams: a flow ends when nothing came for so long */
    list conns; /* of conn, or peer, in the order of acceptance */
    uint64_t accepted, open, failed, resets;
    hmap peers; /* datagrams: by address */
    hash_key peers_key;
    link_dir dir[DIR_COUNT];
    after after[WARP_AFTER_MAX];
    size_t afters;
    list plan; /* of statements that wait for their time (plan.c) */
    size_t planned;
    uint64_t plan_ids; /* statements planned so far: each has its own draws */
    uint64_t holds;    /* holds begun so far */
    uint8_t *scratch;  /* RELAY_SCRATCH bytes for one read */
    int pipe[2];       /* streams: what is spliced goes through it; of RELAY_SCRATCH bytes */
} relay;

#define RELAY_SCRATCH (256u << 10)

/* relay.c: listens and serves; loop, trace, seed, udp, places and limits are set before. On failure why says it. */
void relay_init(relay *r);
NODISCARD err relay_start(relay *r, char why[NET_TEXT]);
void relay_fini(relay *r);
/* Applies an action; only: the number of the connection that an `after` fired on, or 0. ERR_UNSUPPORTED: it has no meaning for datagrams;
 * ERR_NOT_FOUND: there is no such connection. *out_number, if not NULL, is the number of the hold begun. */
NODISCARD err relay_apply(relay *r, const action *a, uint64_t only, uint64_t *out_number);
/* Ends what `cut`, `half-open` or `refuse` with this number began, if it is still that. */
void relay_undo(relay *r, const action *a, uint64_t number);
void relay_stats(const relay *r, buf *out); /* one line of JSON */
void relay_conns(const relay *r, buf *out);
/* The listener may be watched again: a connection ended, or refusing did. */
void relay_accept_again(relay *r);
/* When n bytes taken now leave the token bucket of a direction. */
usec relay_rate(relay *r, dir d, uint64_t n, usec now);
/* The position at or after given where the next `after` of a direction fires that is not in fired; UINT64_MAX: none. */
uint64_t relay_after_next(const relay *r, dir d, uint64_t given, uint64_t fired);
/* Fires what is due for connection conn, whose direction d has delivered given bytes. */
void relay_after_fire(relay *r, uint64_t conn, dir d, uint64_t given, uint64_t *fired);

/* The verb has no meaning for datagrams (a stream's handshake and end), or none outside the control socket. */
bool relay_unsupported(const relay *r, verb v);

/* flips: which bytes of a direction of a connection are changed. */
typedef struct flips {
    uint64_t seen; /* bytes before this position have been considered */
    uint64_t next; /* the position that chance flips next */
    uint64_t want; /* bytes still to be flipped by `flip N` */
    double chance; /* the setting that next was drawn with */
} flips;
/* Changes bytes [at, at + n), of which those before f->seen were considered already. */
void relay_flip(relay *r, flips *f, uint64_t conn, dir d, uint8_t *p, size_t n, uint64_t at);

/* plan.c */
NODISCARD err plan_add(relay *r, const stmt *s, char *why); /* does it now, or plans it; why has LANG_WHY_MAX bytes */
void plan_fini(relay *r);

/* conn.c: streams */
void conn_accepted(relay *r, int fd, uint64_t number);
/* conn: one connection, or 0 for each. number: of the hold that a cut begins; of the hold that a heal ends, 0: of any. Both also below. */
NODISCARD err conn_apply(relay *r, const action *a, uint64_t conn, uint64_t number);
void conn_wake_all(relay *r); /* settings or holds changed */
void conn_free_all(relay *r);
void conn_json(const relay *r, buf *out);

/* dgram.c: datagrams */
void dgram_readable(loop_io *io, uint32_t events); /* of the listener */
NODISCARD err dgram_apply(relay *r, const action *a, uint64_t conn, uint64_t number);
void dgram_release(relay *r, dir d); /* what is held goes now */
void dgram_free_all(relay *r);
void dgram_json(const relay *r, buf *out);

#endif
