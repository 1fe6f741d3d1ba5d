#ifndef RT_TABLE_INT_H
#define RT_TABLE_INT_H
/* table_int: what a table is made of; seen by table*.c and name.c.
 *
 *     rt_tables.at[tid]  ->  rt_tab  ->  stripe (a lock)  ->  array: bucket  ->  node, entry -> node, entry
 *                                          mix(h, seed a)      mix(h, seed b), its top bits
 *
 * h is SipHash of the key with the table's own key. The levels mix it with seeds of their own: were the bits that choose the stripe those
 * that choose the bucket, a stripe would use one bucket in `stripes` (system.md G6). */
#include "rt/core.h"
#include "rt/table.h"

typedef struct rt_tab_entry {
    uint64_t hash; /* mixed for buckets */
    rt_retired retired;
    uint32_t key_len, value_len;
    uint8_t bytes[]; /* the key, padded to 8; the value */
} rt_tab_entry;
_Static_assert(sizeof(rt_tab_entry) % 8 == 0, "values are aligned");
typedef struct rt_tab_node {       /* a place in a chain */
    _Atomic(rt_tab_entry *) entry; /* release by the holder of the lock, acquire by readers; likewise next */
    _Atomic uint32_t next;         /* its number; 0: the chain ends */
    uint32_t tag;                  /* low bits of the entry's hash: saves looking at an entry that is not meant */
} rt_tab_node;
typedef struct rt_tab_array { /* of buckets, and of as many nodes: one block */
    rt_retired retired;
    uint32_t shift;           /* bucket = hash >> shift: 2^(64 - shift) of them */
    uint32_t used;            /* nodes that are or were in a chain: numbers 1 to used. Guarded by the stripe's lock */
    rt_tab_node *node;        /* node[number - 1] */
    _Atomic uint32_t first[]; /* of each bucket; 0: empty. Release by the holder of the lock, acquire by readers */
} rt_tab_array;
static inline size_t rt_tab_size(const rt_tab_array *a) { return (size_t)1 << (64 - a->shift); }

typedef struct rt_tab_stripe {
    _Atomic(rt_tab_array *) array; /* NULL until something is put in; release by the holder of the lock, acquire by readers */
    uint8_t pad[56];               /* what readers read lies on another line than what writers write */
    lock l;
    _Atomic uint64_t count, bytes; /* entries; their bytes and the array's. Relaxed: written with l held, read by tools */
    uint8_t pad_after[64 - (sizeof(lock) + 2 * sizeof(uint64_t)) % 64];
} rt_tab_stripe;
_Static_assert(sizeof(rt_tab_stripe) % 64 == 0, "stripes do not share lines");

typedef struct rt_tab {
    rt_retired retired;
    rt_tid id;
    char name[RT_TABLE_NAME_MAX + 1];
    rt_table_writers writers;
    unsigned n_stripes;
    uint64_t bytes_max;
    hash_key key;
    uint64_t seed_stripe, seed_bucket;
    /* slot << 32 | gen; 0: the node. Release with rt_tables.l held, by the shard of the owner or, for a heir, of who had it before; acquire
     * by writers. Those for whom it matters run on the owner's shard and get RT_TRANSFER through it. */
    _Atomic uint64_t owner;
    /* Guarded by rt_tables.l: */
    rt_pid heir, from;         /* from: who had it before, for the RT_TRANSFER under way */
    rt_blob *heir_data, *gift; /* for the heir; of the RT_TRANSFER under way */
    /* Of who frees it: */
    unsigned free_stripe;
    size_t free_bucket;
    void *block; /* that the stripes lie in */
    rt_tab_stripe *stripes;
} rt_tab;

typedef struct rt_tables {
    lock l;                              /* guards who owns what */
    uint64_t next_id;                    /* guarded by l */
    rt_tab *names, *actors;              /* of tables -> rt_tid, and of actors -> rt_pid; set before threads run */
    _Atomic(rt_tab *) at[RT_TABLES_MAX]; /* by id modulo RT_TABLES_MAX; release by the holder of l, acquire by everybody */
} rt_tables;

/* table.c: for tables that are known to be there, by whoever may write. */
rt_tab *rt_tab_new(rt_node *n, rt_tid id, const rt_table_cfg *c);
bool rt_tab_free(rt_node *n, rt_retired *x); /* a part at a time */
rt_tab *rt_tab_find(rt_node *n, rt_tid t);   /* inside an epoch; NULL */
NODISCARD err rt_tab_lookup(rt_tab *t, slice key, slice *out_value);
NODISCARD err rt_tab_put(rt_reader *r, rt_tab *t, slice key, slice value, bool fresh); /* fresh: ERR_EXISTS rather than replace */
NODISCARD err rt_tab_delete(rt_reader *r, rt_tab *t, slice key);
void rt_tab_fold(rt_tab *t, rt_table_at *at, size_t max, bool (*fn)(void *arg, slice key, slice value), void *arg);
uint64_t rt_tab_sum(const rt_tab *t, bool bytes); /* entries, or bytes */

#endif
