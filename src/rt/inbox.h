#ifndef RT_INBOX_H
#define RT_INBOX_H
/* inbox: how threads that are no shard hand messages to one: a locked array that the shard swaps out whole. */
#include "base/lock.h"
#include "rt/ring.h"

typedef struct rt_inbox {
    lock l;
    rt_entry *e;           /* guarded by l */
    size_t n, cap;         /* guarded by l */
    _Atomic uint64_t puts; /* entries ever put in; relaxed: written with l held, read by tools */
    rt_entry *spare;       /* the shard's: swapped with e */
    size_t spare_cap;
    _Atomic bool filled; /* seq_cst store by the poster after it has put an entry in; seq_cst load by the shard before it sleeps */
} rt_inbox;

void rt_inbox_init(rt_inbox *in, lock_set *set, uint32_t id);
void rt_inbox_fini(rt_inbox *in);                   /* must be empty */
void rt_inbox_put(rt_inbox *in, rt_entry e);        /* any thread; then rt_shard_poke */
size_t rt_inbox_take(rt_inbox *in, rt_entry **out); /* the shard; *out is valid until the next call */
#endif
