#ifndef NETWARP_WARP_H
#define NETWARP_WARP_H
/* warp: the words that every file of netwarp shares: the two directions, the settings of a direction, the actions of the language, the
 * counters. Times are microseconds, sizes are bytes, chances are between 0 and 1. */
#include "base/buf.h"
#include "base/time.h"

#define WARP_AFTER_MAX   64                     /* `after N bytes` statements of one run: a connection remembers those done in one word */
#define WARP_PLAN_MAX    4096                   /* statements that wait for their time */
#define WARP_LINE_MAX    1024                   /* bytes of one statement */
#define WARP_SET_MAX     20                     /* settings in one `set` */
#define WARP_TIME_MAX    (86400 * USEC_PER_SEC) /* any time in the language: a day */
#define WARP_QUEUE_MAX   (UINT64_C(1) << 30)    /* bytes that one direction may be told to hold */
#define WARP_DATAGRAM    65536                  /* bytes of the longest datagram, and a little more */
#define WARP_RETRIES_MAX 15                     /* lost this often in a row, a segment ends its connection (Linux: tcp_retries2) */

/* C2S is what the client sends to the server, S2C what comes back. */
typedef enum dir { C2S, S2C, DIR_COUNT } dir;
#define DIR_BIT(d) (1u << (d))
#define DIR_BOTH   (DIR_BIT(C2S) | DIR_BIT(S2C))
const char *warp_dir_name(dir d);

typedef enum spread { SPREAD_UNIFORM, SPREAD_NORMAL, SPREAD_PARETO } spread;

/* What is done to one direction of the link. docs/netwarp.md has the meaning of each for a stream and for datagrams. */
typedef struct warp_set {
    usec delay;       /* delay: each byte is late by at least this */
    usec jitter;      /* jitter: added to the delay of a segment, drawn by spread */
    spread spread;    /* spread: the distribution of jitter */
    double loss;      /* loss: chance that a segment is lost each time it is sent */
    usec rto;         /* rto: the stall for the first loss of a segment; it doubles with each further one */
    usec rto_max;     /* rto_max: where the doubling ends */
    double duplicate; /* duplicate: chance that a segment is sent twice */
    double reorder;   /* reorder: chance that a segment is overtaken */
    usec gap;         /* gap: how late a segment is that was overtaken */
    uint64_t rate;    /* rate: bytes per second of all connections together; 0: no limit */
    uint64_t burst;   /* burst: bytes that may pass at once after a rest (the depth of the token bucket) */
    uint64_t queue;   /* queue: bytes held for one connection; then its sender waits. With datagrams: of all; then they are dropped */
    uint64_t segment; /* segment: bytes of a stream that share one fate */
    uint64_t chunk;   /* chunk: most bytes delivered at once; 0: no limit */
    usec pace;        /* pace: least time between two deliveries, while chunk is set */
    double flip;      /* flip: chance of each byte that one of its bits is turned */
} warp_set;
void warp_set_defaults(warp_set *s);

/* What a direction has counted since the start. */
typedef struct warp_count {
    uint64_t taken;      /* bytes read */
    uint64_t given;      /* bytes written */
    uint64_t held;       /* bytes held now */
    uint64_t reads;      /* reads that brought bytes */
    uint64_t writes;     /* writes that took bytes */
    uint64_t lost;       /* segments (datagrams) lost, each loss counted */
    uint64_t duplicated; /* segments (datagrams) sent twice */
    uint64_t reordered;  /* segments (datagrams) overtaken */
    uint64_t flipped;    /* bytes changed */
    uint64_t dropped;    /* datagrams dropped: the queue was full, or the direction cut */
    uint64_t fins;       /* ends of stream passed on */
    uint64_t muted;      /* ends of stream that the peer was not told */
} warp_count;

typedef enum verb {
    VERB_SET,       /* settings change */
    VERB_CLEAR,     /* settings become the defaults */
    VERB_CUT,       /* nothing is forwarded */
    VERB_HALF_OPEN, /* ends of stream are not forwarded */
    VERB_HEAL,      /* the end of cut, half-open and refuse; what is held goes now */
    VERB_RESET,     /* RST to one or both sides */
    VERB_FLIP,      /* the next bytes are changed */
    VERB_REFUSE,    /* connections are refused */
    VERB_SLOW,      /* connections are accepted late */
    VERB_STATS,     /* the counters, as one line */
    VERB_CONNS,     /* the connections, as one line */
    VERB_WATCH,     /* the decisions, from now on, a line each */
} verb;

typedef struct warp_change {
    uint8_t key; /* index of the setting (lang.c) */
    union {
        uint64_t u; /* sizes, times, spreads */
        double x;   /* chances */
    } to;
} warp_change;

typedef struct action {
    verb verb;
    unsigned dirs;  /* DIR_BITs that it is about; 0 (flip after bytes): the one that counted them; of reset: C2S is the server's side, S2C
                       the client's (where the RST travels to) */
    uint64_t conn;  /* one connection by its number; 0: all of them and those to come */
    usec lasts;     /* cut, half-open, refuse: until healed by itself; 0: for good. slow-accept: the time between two */
    uint64_t count; /* flip: how many bytes */
    bool settled;   /* reset, after bytes: these bytes arrive first, see conn.c */
    size_t changes; /* set: how many */
    warp_change change[WARP_SET_MAX];
} action;

typedef enum when { WHEN_NOW, WHEN_AT, WHEN_EVERY, WHEN_AFTER } when;

typedef struct stmt {
    when when;
    usec from, to;  /* at: from; every: a gap drawn between both */
    uint64_t bytes; /* after: bytes that a direction of a connection has delivered */
    unsigned dirs;  /* after: the directions that count, each by itself */
    action act;
} stmt;

#endif
