/* maps: see maps.h. A table that grows or shrinks between two parts is looked at from the start again; after RESTARTS_MAX times the rest is
 * left out: its numbers are then of the buckets that were seen.
 *
 * Invariant: a table is in its shard's list exactly while its `map` is set. */
#include "rt/maps.h"

#include "base/mem.h"
#include "rt/core.h"

#define RESTARTS_MAX 8u

void rt_maps_show(rt_map **head, rt_map *m, const char *name, uint32_t id, const hmap *map) {
    while (*head) head = &(*head)->next; /* in the order of their making */
    *m = (rt_map){NULL, name, id, map};
    *head = m;
}

void rt_map_show(rt_ctx *cx, rt_map *m, const char *name, uint32_t id, const hmap *map) {
    if (check(!m->map && map)) rt_maps_show(&cx->sh->maps, m, name, id, map);
}

void rt_map_hide(rt_ctx *cx, rt_map *m) {
    if (!m->map) return;
    rt_map **at = &cx->sh->maps;
    while (*at && *at != m) at = &(*at)->next;
    if (check(*at)) *at = m->next;
    m->map = NULL;
}

void rt_maps_look_on(rt_ctx *cx, rt_maps_look *l) {
    const rt_map *m = cx->sh->maps;
    for (uint32_t i = 0; m && i < l->number; i++) m = m->next;
    l->found = m != NULL;
    l->done = true;
    if (!m) return;
    bool other = l->name && (l->name != m->name || l->id != m->id); /* one before it has gone */
    if (l->from > 0 && (other || l->mask != m->map->mask)) {
        if (l->restarts++ == RESTARTS_MAX) return;
        l->from = 0;
        l->chains = (hmap_chains){0};
    }
    l->name = m->name;
    l->id = m->id;
    l->count = m->map->count;
    l->mask = m->map->mask;
    l->buckets = m->map->buckets ? m->map->mask + 1 : 0;
    l->from = hmap_chains_add(m->map, l->from, RT_MAPS_PART, &l->chains);
    l->done = l->from > l->mask;
}

/* --- sizes ----------------------------------------------------------------------------------------------------------------------- */
typedef struct sizes_ask {
    rt_shard_call call;
    _Atomic uint32_t refs; /* the shard's and the caller's; acq_rel, pairs with itself: the last one frees */
    size_t n;
    rt_maps_size at[RT_MAPS_NAMES];
} sizes_ask;

static void unref(sizes_ask *a) {
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) mem_free(a);
}

static void free_ask(rt_box *b) { unref(container_of(b, sizes_ask, call.box)); }

static void add_size(sizes_ask *a, const rt_map *m) {
    size_t i = 0;
    while (i < a->n && strcmp(a->at[i].name, m->name) != 0) i++;
    if (!check(i < RT_MAPS_NAMES)) return;
    if (i == a->n) a->at[a->n++] = (rt_maps_size){.name = m->name};
    a->at[i].tables++;
    a->at[i].entries += m->map->count;
    a->at[i].buckets += m->map->buckets ? m->map->mask + 1 : 0;
}

static void do_sizes(rt_ctx *cx, rt_shard_call *c) {
    for (const rt_map *m = cx->sh->maps; m; m = m->next) add_size(container_of(c, sizes_ask, call), m);
}

err rt_maps_sizes(rt_node *n, unsigned shard, usec timeout, rt_maps_size out[RT_MAPS_NAMES], size_t *out_n) {
    sizes_ask *a = mem_zalloc(sizeof *a);
    a->call.box.free = free_ask;
    a->call.fn = do_sizes;
    atomic_init(&a->refs, 2);
    err e = rt_node_call(n, shard, &a->call, timeout);
    if (e == ERR_OK) {
        memcpy(out, a->at, sizeof a->at);
        *out_n = a->n;
    }
    unref(a);
    return e;
}
