#ifndef RT_RING_H
#define RT_RING_H
/* ring: one single-producer single-consumer ring per ordered pair of shards, made when first used. See ring.c. */
#include "rt/slab.h"

#define RT_RING_SIZE  2048u        /* entries, a power of two */
#define RT_RING_BATCH 64u          /* published at the latest after this many */
#define RT_OVER_MAX   RT_RING_SIZE /* messages in overflow queues past which a shard runs no actors: pressure on its senders */
#define RT_CHAIN_MAX  64u          /* foreign blocks go home in chains of at most this many */

typedef struct rt_entry {
    rt_msg *m;
    uint32_t slot; /* of the receiver; RT_ENTRY_CHAIN: m is a chain of blocks that go home */
    uint32_t gen;  /* of the receiver; of a chain: class << 16 | count */
} rt_entry;
#define RT_ENTRY_CHAIN UINT32_MAX

typedef struct rt_ring {   /* padded, so that producer and consumer write different cache lines */
    _Atomic uint32_t head; /* consumer: entries before it are read. seq_cst store; partner: producer's loads */
    uint8_t pad_head[124];
    _Atomic uint32_t tail; /* producer: entries before it may be read. release store; partner: consumer's acquire load */
    _Atomic bool starved;  /* producer waits for room: seq_cst store, then it looks at head again (seq_cst); the consumer stores head
                            * (seq_cst), then exchanges this (seq_cst): one of them sees the other */
    /* What contend.c shows: written by the producer, once a batch or when it is full; relaxed. */
    _Atomic uint64_t entries, batches; /* published */
    _Atomic uint64_t delayed;          /* entries that found it full and waited in the overflow queue */
    _Atomic uint64_t full_usec;        /* time during which entries waited there */
    uint8_t pad_tail[88];
    rt_entry e[RT_RING_SIZE];
} rt_ring;

typedef struct rt_chain {
    rt_msg *first, *last;
    uint32_t count;
} rt_chain;
typedef struct rt_out { /* producer's side of a ring */
    rt_ring *ring;      /* NULL: not made yet */
    unsigned dst;
    uint32_t tail; /* next entry to write; ring->tail lags behind by what is not published */
    uint32_t published;
    uint32_t head_seen; /* a past value of ring->head */
    bool dirty;         /* in the shard's list of outs to publish */
    rt_entry *over;     /* overflow queue: entries over_from to over_to wait for room */
    size_t over_cap, over_from, over_to;
    usec over_since;  /* up to when full_usec counts, while the overflow queue is not empty */
    rt_chain *chains; /* blocks of dst's slab that end here, by class; NULL until there is one */
    uint32_t chained; /* bit c: chain c is not empty */
} rt_out;
#endif
