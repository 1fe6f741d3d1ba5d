/* global_locks: resource -> requester and the processes that hold it for that requester (OTP: global, set_lock/1). A requester may
 * lock again, also from another process; the lock is free when the last of these has given it back or has ended.
 *
 * Invariant: a lock in the table has at least one holder, and every holder is watched, but for this node's own. */
#include "base/mem.h"
#include "mesh/global_int.h"

static uint64_t hash(const mesh_global *g, slice resource) { return hash_bytes(&g->key, resource); }

static mesh_global_lock *find(const mesh_global *g, slice resource) {
    for (hmap_node *h = hmap_find(&g->locks, hash(g, resource)); h; h = hmap_find_next(h)) {
        mesh_global_lock *l = container_of(h, mesh_global_lock, by_resource);
        if (slice_eq(l->resource, resource)) return l;
    }
    return NULL;
}

static mesh_global_hold *hold_of(const mesh_global_lock *l, const etf_pid *pid) {
    for (list *i = list_first(&l->holds); i; i = list_next(&l->holds, i)) {
        mesh_global_hold *h = container_of(i, mesh_global_hold, in_lock);
        if (etf_pid_eq(&h->pid, pid)) return h;
    }
    return NULL;
}

static mesh_global_lock *make(mesh_global *g, slice resource, slice requester) {
    mesh_global_lock *l = mem_zalloc(sizeof *l + resource.len + requester.len);
    uint8_t *p = (uint8_t *)(l + 1);
    memcpy(p, resource.p, resource.len);
    memcpy(p + resource.len, requester.p, requester.len);
    l->resource = slice_of(p, resource.len);
    l->requester = slice_of(p + resource.len, requester.len);
    list_init(&l->holds);
    g->locks_bytes += resource.len + requester.len;
    hmap_insert(&g->locks, &l->by_resource, hash(g, resource));
    return l;
}

/* False: nothing is there to tell when that process ends. */
static bool hold(mesh_global *g, mesh_global_lock *l, const etf_pid *pid) {
    mesh_global_hold *h = mem_zalloc(sizeof *h + pid->node.len);
    memcpy(h + 1, pid->node.p, pid->node.len);
    h->pid = *pid;
    h->pid.node = slice_of(h + 1, pid->node.len);
    h->lock = l;
    if (!etf_pid_eq(pid, &g->self)) {
        mesh_global_watch_begin(g, &h->watch, MESH_GLOBAL_OF_HOLD, &h->pid);
        if (h->watch.id == 0 || h->watch.id == MESH_GLOBAL_LATER) {
            mem_free(h);
            return false;
        }
    }
    list_push_back(&l->holds, &h->in_lock);
    g->n_holds++;
    return true;
}

static void lock_end(mesh_global *g, mesh_global_lock *l) {
    g->locks_bytes -= l->resource.len + l->requester.len;
    hmap_remove(&g->locks, &l->by_resource);
    mem_free(l);
}

static void let_go(mesh_global *g, mesh_global_hold *h, bool down) {
    mesh_global_lock *l = h->lock;
    mesh_global_watch_end(g, &h->watch);
    list_remove(&h->in_lock);
    g->n_holds--;
    mem_free(h);
    if (!list_empty(&l->holds)) return;
    if (slice_eq(l->resource, MESH_GLOBAL_RESOURCE)) g->lock_down = down;
    lock_end(g, l);
}

bool mesh_global_lock_free(const mesh_global *g, slice resource, slice requester) {
    const mesh_global_lock *l = find(g, resource);
    return !l || slice_eq(l->requester, requester);
}

bool mesh_global_lock_set(mesh_global *g, slice resource, slice requester, const etf_pid *pid) {
    mesh_global_lock *l = find(g, resource);
    if (l && !slice_eq(l->requester, requester)) return false;
    if (l && hold_of(l, pid)) return true;
    if (g->n_holds >= MESH_GLOBAL_HOLDS_MAX || (!l && g->locks_bytes + resource.len + requester.len > MESH_GLOBAL_LOCKS_BYTES)) {
        g->io.full(g->io.arg, "locks", pid->node);
        return false;
    }
    if (!l) l = make(g, resource, requester);
    bool held = hold(g, l, pid);
    if (list_empty(&l->holds)) lock_end(g, l);
    return held;
}

void mesh_global_lock_del(mesh_global *g, slice resource, slice requester, const etf_pid *pid) {
    mesh_global_lock *l = find(g, resource);
    mesh_global_hold *h = l && slice_eq(l->requester, requester) ? hold_of(l, pid) : NULL;
    if (h) let_go(g, h, false);
}

void mesh_global_lock_down(mesh_global *g, mesh_global_hold *h) { let_go(g, h, true); }

bool mesh_global_lock_allows(const mesh_global *g, const etf_pid *from, slice requester) {
    const mesh_global_lock *l = find(g, MESH_GLOBAL_RESOURCE);
    if (!l) return !g->lock_down;
    return from ? hold_of(l, from) != NULL : slice_eq(l->requester, requester);
}

void mesh_global_locks_free(mesh_global *g) {
    for (hmap_node *n = hmap_first(&g->locks), *next; n; n = next) {
        mesh_global_lock *l = container_of(n, mesh_global_lock, by_resource);
        next = hmap_next(&g->locks, n);
        for (list *i = list_pop_front(&l->holds); i; i = list_pop_front(&l->holds)) {
            mesh_global_hold *h = container_of(i, mesh_global_hold, in_lock);
            mesh_global_watch_end(g, &h->watch);
            mem_free(h);
        }
        lock_end(g, l);
    }
    hmap_fini(&g->locks);
}
