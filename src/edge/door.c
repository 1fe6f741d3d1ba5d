/* door: admission and scratch memory of one shard.
 *
 * Why shared memory between actors of one shard and not messages: a connection is counted in before its actor exists and counted out when
 * it dies for whatever reason (fini always runs), and both are one addition. A limit of the node is split evenly over the shards, rounded
 * down but at least 1: the kernel spreads connections over the listeners by hash, so the sum never passes the limit as long as the limit is
 * at least the number of shards, and an address that comes close to its limit may be refused a few per cent early.
 *
 * Invariants: (1) conns is the sum of the counts of all entries. (2) An entry with count 0 does not exist. */
#include "edge/door.h"

#include "base/mem.h"
#include "base/plant.h"

static uint32_t share(uint32_t limit, unsigned shards) {
    if (limit == 0) return 0;
    return limit / shards ? limit / shards : 1;
}

edge_door *edge_door_new(rt_node *n, const edge_cfg *cfg, tls_server *server) {
    edge_door *d = mem_zalloc(sizeof *d);
    d->cfg = cfg;
    d->node = n;
    d->sys = rt_node_sys(n);
    d->tls = rt_node_tls(n);
    d->refs = 1;
    d->conns_max = share(cfg->connections_max, rt_node_shards(n));
    d->per_ip_max = share(cfg->per_ip_max, rt_node_shards(n));
    d->guard = edge_guard_new(cfg, rt_node_hash_key(n), rt_node_shards(n));
    hmap_init(&d->ips);
    arena_init(&d->arena, EDGE_ARENA_MAX);
    buf_init(&d->plain, SIZE_MAX / 2); /* bounded by what one read of the scratch can decrypt to */
    buf_init(&d->inner, SIZE_MAX / 2); /* bounded by stanza_bytes_max times the writer's expansion */
    buf_init(&d->pack, SIZE_MAX / 2);
    edge_door_set_server(d, server);
    return d;
}

edge_door *edge_door_ref(edge_door *d) {
    d->refs++;
    return d;
}

void edge_door_unref(edge_door *d) {
    if (!d || --d->refs > 0) return;
    if (d->server) d->tls->server_unref(d->server);
    hmap_fini(&d->ips); /* the entries are gone: every session that held one has left */
    arena_fini(&d->arena);
    buf_fini(&d->plain);
    buf_fini(&d->inner);
    buf_fini(&d->pack);
    mem_free(d->watched);
    edge_guard_free(d->guard);
    mem_free(d);
}

void edge_door_set_server(edge_door *d, tls_server *server) {
    tls_server *old = d->server;
    d->server = server ? d->tls->server_ref(server) : NULL;
    if (old) d->tls->server_unref(old);
}

err edge_door_enter(edge_door *d, const sys_addr *a, bool force, edge_ip **out_ip) {
    if (!force && d->conns_max && d->conns >= d->conns_max) return ERR_LIMIT;
    uint64_t prefix = edge_guard_prefix(a);
    uint64_t hash = hash_bytes(rt_node_hash_key(d->node), slice_of(&prefix, sizeof prefix));
    edge_ip *ip = NULL;
    for (hmap_node *n = hmap_find(&d->ips, hash); n && !ip; n = hmap_find_next(n)) {
        edge_ip *c = container_of(n, edge_ip, node);
        if (c->prefix == prefix && c->family == a->family) ip = c;
    }
    if (ip && !force && d->per_ip_max && ip->count >= d->per_ip_max) return ERR_LIMIT;
    if (!ip) {
        ip = mem_zalloc(sizeof *ip);
        ip->prefix = prefix;
        ip->family = a->family;
        hmap_insert(&d->ips, &ip->node, hash);
    }
    ip->count++;
    d->conns++;
    *out_ip = ip;
    return ERR_OK;
}

void edge_door_leave(edge_door *d, edge_ip *ip) {
    if (!ip || !check(ip->count > 0) || !check(d->conns > 0)) return;
    d->conns--;
    if (plant(CONNECTION_NEVER_LEAVES) || --ip->count > 0) return;
    hmap_remove(&d->ips, &ip->node);
    mem_free(ip);
}

bool edge_door_watch(edge_door *d, rt_pid part) {
    for (size_t i = 0; i < d->n_watched; i++)
        if (rt_pid_eq(d->watched[i], part)) return false;
    void *arr = d->watched;
    mem_grow(&arr, &d->watched_cap, d->n_watched + 1, sizeof *d->watched);
    d->watched = arr;
    d->watched[d->n_watched++] = part;
    return true;
}

void edge_door_unwatch(edge_door *d, rt_pid part) {
    for (size_t i = 0; i < d->n_watched; i++)
        if (rt_pid_eq(d->watched[i], part)) d->watched[i--] = d->watched[--d->n_watched];
}

static void clean(buf *b) {
    if (b->cap > EDGE_SCRATCH_KEEP)
        buf_fini(b);
    else
        buf_reset(b);
}

void edge_door_clean(edge_door *d) {
    arena_reset(&d->arena);
    clean(&d->plain);
    clean(&d->inner);
    clean(&d->pack);
}
