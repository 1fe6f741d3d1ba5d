#ifndef RT_MAPS_H
#define RT_MAPS_H
/* maps: the big tables of a shard, by name, so that tools can see how long their chains are (system.md G6). A table belongs to one shard
 * and is looked at there, a part between two handlers. */
#include "base/hash.h"
#include "rt/msg.h"

typedef struct rt_map rt_map;
struct rt_map {       /* in the owner of the table */
    rt_map *next;     /* of the shard's list */
    const char *name; /* what it holds, a literal: "accounts" */
    uint32_t id;      /* which of those */
    const hmap *map;  /* NULL: not shown */
};
/* For actors, in init and fini: m lies in the actor's state, and map as long. Hiding what is not shown is fine. */
void rt_map_show(rt_ctx *cx, rt_map *m, const char *name, uint32_t id, const hmap *map);
void rt_map_hide(rt_ctx *cx, rt_map *m);
/* The shard's own. */
void rt_maps_show(rt_map **head, rt_map *m, const char *name, uint32_t id, const hmap *map);

/* How much is in the tables of a shard, those of one name together. Asks the shard and waits up to timeout: ERR_TIMEOUT if it is stuck. Up
 * to RT_MAPS_NAMES names, in the order of their making; *out_n: how many there are. Any thread but a shard's. */
#define RT_MAPS_NAMES 32u
typedef struct rt_maps_size {
    const char *name;
    uint64_t tables, entries, buckets;
} rt_maps_size;
NODISCARD err rt_maps_sizes(rt_node *n, unsigned shard, usec timeout, rt_maps_size out[RT_MAPS_NAMES], size_t *out_n);

/* A look at one table that is done in parts, because a part should take no longer than a handler. Starts zeroed. */
#define RT_MAPS_PART 4096u /* buckets in a part */
typedef struct rt_maps_look {
    uint32_t number;  /* of the table on its shard */
    bool found, done; /* there is such a table; it has been seen whole */
    const char *name; /* and these are its */
    uint32_t id;
    size_t count, buckets;
    size_t from, mask; /* where to go on, if the table still has this size */
    unsigned restarts; /* it changed its size meanwhile */
    hmap_chains chains;
} rt_maps_look;
void rt_maps_look_on(rt_ctx *cx, rt_maps_look *l); /* on its shard */

#endif
