/* name: local names of actors. A short table under one lock: names are few (services), lookups happen at boot and in tools; actors keep
 * the pids that they looked up.
 *
 * Invariants: (1) a name belongs to at most one actor; (2) it goes when the actor ends, before anybody is told of the end; (3) the lock is
 * held for the walk only. */
#include "base/mem.h"
#include "rt/core.h"

typedef struct name_entry {
    hmap_node node;
    const char *name;
    rt_pid pid;
    struct name_entry *next; /* of the same actor or not: one list of all */
} name_entry;
struct rt_names {
    lock l;
    hmap by_name;    /* guarded by l */
    name_entry *all; /* guarded by l */
};

void rt_name_init(rt_node *n) {
    n->names = mem_zalloc(sizeof *n->names);
    lock_init(&n->names->l, &n->locks, "names", 0, LOCK_RANK_NAMES);
    hmap_init(&n->names->by_name);
}

void rt_name_fini(rt_node *n) {
    if (!n->names) return;
    (void)check(n->names->all == NULL); /* every actor is gone */
    hmap_fini(&n->names->by_name);
    lock_fini(&n->names->l);
    mem_free(n->names);
    n->names = NULL;
}

static name_entry *find(const rt_node *n, const char *name) {
    for (hmap_node *i = hmap_find(&n->names->by_name, hash_bytes(&n->key, slice_str(name))); i; i = hmap_find_next(i)) {
        name_entry *e = container_of(i, name_entry, node);
        if (strcmp(e->name, name) == 0) return e;
    }
    return NULL;
}

err rt_name_register(rt_ctx *cx, const char *name) {
    rt_node *n = cx->sh->node;
    if (!check(cx->self && name)) return ERR_BUG;
    name_entry *e = mem_zalloc(sizeof *e);
    e->name = name;
    e->pid = rt_self(cx);
    lock_take(&n->names->l);
    bool taken = find(n, name) != NULL;
    if (!taken) {
        hmap_insert(&n->names->by_name, &e->node, hash_bytes(&n->key, slice_str(name)));
        e->next = n->names->all;
        n->names->all = e;
    }
    lock_release(&n->names->l);
    if (taken) {
        mem_free(e);
        return ERR_EXISTS;
    }
    cx->self->flags |= RT_A_NAMED;
    return ERR_OK;
}

rt_pid rt_name_whereis(rt_node *n, const char *name) {
    lock_take(&n->names->l);
    const name_entry *e = find(n, name);
    rt_pid pid = e ? e->pid : RT_PID_NONE;
    lock_release(&n->names->l);
    return pid;
}

void rt_name_remove(rt_node *n, rt_pid pid) {
    name_entry *gone = NULL;
    lock_take(&n->names->l);
    for (name_entry **link = &n->names->all; *link;) {
        name_entry *e = *link;
        if (!rt_pid_eq(e->pid, pid)) {
            link = &e->next;
            continue;
        }
        *link = e->next;
        hmap_remove(&n->names->by_name, &e->node);
        e->next = gone;
        gone = e;
    }
    lock_release(&n->names->l);
    while (gone) {
        name_entry *e = gone;
        gone = e->next;
        mem_free(e);
    }
}

bool rt_name_of(rt_node *n, rt_pid pid, char *out, size_t max) {
    bool found = false;
    lock_take(&n->names->l);
    for (const name_entry *e = n->names->all; e && !found; e = e->next) {
        if (!rt_pid_eq(e->pid, pid)) continue;
        size_t len = strlen(e->name) < max ? strlen(e->name) : max - 1;
        memcpy(out, e->name, len);
        out[len] = 0;
        found = true;
    }
    lock_release(&n->names->l);
    return found;
}

void rt_name_look(rt_node *n, rt_maps_look *l) {
    const hmap *m = &n->names->by_name;
    lock_take(&n->names->l);
    l->count = m->count;
    l->buckets = m->buckets ? m->mask + 1 : 0;
    (void)hmap_chains_add(m, 0, m->mask + 1, &l->chains); /* all: it is short */
    lock_release(&n->names->l);
}
