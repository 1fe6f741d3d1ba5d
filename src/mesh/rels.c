/* rels: see rels.h. Three maps and how each entry ends when the connection does; what the entries mean while it lasts is in link_in.c and
 * link_out.c.
 *
 * Invariants: (1) theirs + ours is the number of watches, aims and ties. (2) A watch is in both of its maps, or in none. (3) For each link
 * and monitor that the runtime has with this node there is an entry here, or a message about it on its way. (4) There are maps while there
 * is an entry: most of thousands of connections have none. */
#include "mesh/rels.h"

#include "base/mem.h"
#include "rt/remote.h"

void mesh_rels_init(mesh_rels *r) { *r = (mesh_rels){0}; }

/* For an entry to be put in. */
static mesh_rels_maps *maps(mesh_rels *r) {
    if (r->maps) return r->maps;
    mesh_rels_maps *m = r->maps = mem_zalloc(sizeof *m);
    hmap_init(&m->by_ref);
    hmap_init(&m->by_id);
    hmap_init(&m->aims);
    hmap_init(&m->ties);
    return m;
}

/* An entry has been taken out of an hmap: it was the last one? Their hmaps own nothing then. */
static void settle(mesh_rels *r) {
    if (r->theirs + r->ours > 0) return;
    mem_free(r->maps);
    r->maps = NULL;
}

/* --- watches ---------------------------------------------------------------------------------------------------------------------- */
static uint64_t ref_hash(const etf_ref *r, const etf_pid *watcher) {
    uint64_t h = (uint64_t)watcher->id << 32 | watcher->serial;
    for (uint32_t i = 0; i < r->n; i++) h = hash_u64(h ^ r->word[i]);
    return h;
}

static bool is_ref(const mesh_watch *w, const etf_ref *r, const etf_pid *watcher) {
    return w->ref.n == r->n && w->ref.creation == r->creation && memcmp(w->ref.word, r->word, r->n * sizeof r->word[0]) == 0 &&
           w->watcher.id == watcher->id && w->watcher.serial == watcher->serial;
}

mesh_watch *mesh_rels_watch(const mesh_rels *r, const etf_ref *ref, const etf_pid *watcher) {
    for (hmap_node *n = r->maps ? hmap_find(&r->maps->by_ref, ref_hash(ref, watcher)) : NULL; n; n = hmap_find_next(n)) {
        mesh_watch *w = container_of(n, mesh_watch, by_ref);
        if (is_ref(w, ref, watcher)) return w;
    }
    return NULL;
}

mesh_watch *mesh_rels_watch_by_id(const mesh_rels *r, uint64_t id) {
    for (hmap_node *n = r->maps ? hmap_find(&r->maps->by_id, hash_u64(id)) : NULL; n; n = hmap_find_next(n)) {
        mesh_watch *w = container_of(n, mesh_watch, by_id);
        if (w->id == id) return w;
    }
    return NULL;
}

mesh_watch *mesh_rels_watch_add(mesh_rels *r, uint64_t id, const etf_ref *ref, const etf_pid *watcher, rt_pid watched, slice name) {
    mesh_watch *w = mem_zalloc(sizeof *w + name.len);
    w->id = id;
    w->watcher = *watcher;
    w->ref = *ref;
    w->watcher.node = w->ref.node = SLICE_NULL; /* slices of a message */
    w->watched = watched;
    w->name_len = (uint32_t)name.len;
    if (name.len) memcpy(w->name, name.p, name.len);
    hmap_insert(&maps(r)->by_ref, &w->by_ref, ref_hash(ref, watcher));
    hmap_insert(&maps(r)->by_id, &w->by_id, hash_u64(id));
    r->theirs++;
    return w;
}

void mesh_rels_watch_drop(mesh_rels *r, mesh_watch *w) {
    hmap_remove(&r->maps->by_ref, &w->by_ref);
    hmap_remove(&r->maps->by_id, &w->by_id);
    r->theirs--;
    settle(r);
    mem_free(w);
}

/* --- aims ------------------------------------------------------------------------------------------------------------------------- */
mesh_aim *mesh_rels_aim(const mesh_rels *r, uint64_t ref) {
    for (hmap_node *n = r->maps ? hmap_find(&r->maps->aims, hash_u64(ref)) : NULL; n; n = hmap_find_next(n)) {
        mesh_aim *a = container_of(n, mesh_aim, node);
        if (a->ref == ref) return a;
    }
    return NULL;
}

mesh_aim *mesh_rels_aim_add(mesh_rels *r, uint64_t ref, rt_pid watcher, rt_pid watched, slice name) {
    mesh_aim *a = mem_zalloc(sizeof *a + name.len);
    a->ref = ref;
    a->watcher = watcher;
    a->watched = watched;
    a->name_len = (uint32_t)name.len;
    if (name.len) memcpy(a->name, name.p, name.len);
    hmap_insert(&maps(r)->aims, &a->node, hash_u64(ref));
    r->ours++;
    return a;
}

void mesh_rels_aim_drop(mesh_rels *r, mesh_aim *a) {
    hmap_remove(&r->maps->aims, &a->node);
    r->ours--;
    settle(r);
    mem_free(a);
}

/* --- ties ------------------------------------------------------------------------------------------------------------------------- */
static uint64_t tie_hash(rt_pid here, rt_pid there) {
    return hash_u64(hash_u64((uint64_t)here.slot << 32 | here.gen) ^ ((uint64_t)there.slot << 32 | there.gen));
}

mesh_tie *mesh_rels_tie(const mesh_rels *r, rt_pid here, rt_pid there) {
    for (hmap_node *n = r->maps ? hmap_find(&r->maps->ties, tie_hash(here, there)) : NULL; n; n = hmap_find_next(n)) {
        mesh_tie *t = container_of(n, mesh_tie, node);
        if (rt_pid_eq(t->here, here) && rt_pid_eq(t->there, there)) return t;
    }
    return NULL;
}

mesh_tie *mesh_rels_tie_add(mesh_rels *r, rt_pid here, rt_pid there, bool ours) {
    mesh_tie *t = mem_zalloc(sizeof *t);
    t->here = here;
    t->there = there;
    t->ours = ours;
    hmap_insert(&maps(r)->ties, &t->node, tie_hash(here, there));
    ours ? r->ours++ : r->theirs++;
    return t;
}

void mesh_rels_tie_drop(mesh_rels *r, mesh_tie *t) {
    hmap_remove(&r->maps->ties, &t->node);
    t->ours ? r->ours-- : r->theirs--;
    settle(r);
    mem_free(t);
}

/* --- the end ---------------------------------------------------------------------------------------------------------------------- */
static void end_tie(rt_ctx *cx, mesh_rels *r, hmap_node *n) {
    mesh_tie *t = container_of(n, mesh_tie, node);
    if (!t->unlink) rt_remote_signal(cx, t->there, t->here, RT_SIG_EXIT_LINK, 0, ERR_NOCONN, NULL);
    mesh_rels_tie_drop(r, t);
}

static void end_aim(rt_ctx *cx, mesh_rels *r, hmap_node *n) {
    mesh_aim *a = container_of(n, mesh_aim, node);
    rt_remote_signal(cx, a->watched, a->watcher, RT_SIG_DOWN, a->ref, ERR_NOCONN, NULL);
    mesh_rels_aim_drop(r, a);
}

static void end_watch(rt_ctx *cx, mesh_rels *r, uint32_t index, hmap_node *n) {
    mesh_watch *w = container_of(n, mesh_watch, by_id);
    rt_pid watcher = {index, w->watcher.id, w->watcher.serial};
    rt_remote_signal(cx, watcher, w->watched, RT_SIG_DEMONITOR, w->id, ERR_OK, NULL);
    mesh_rels_watch_drop(r, w);
}

/* The walk goes on where the last one stopped: an entry may be taken out in the midst of it (hash.h), and a map is empty before the next
 * one is begun. */
bool mesh_rels_end(rt_ctx *cx, mesh_rels *r, uint32_t index, size_t max) {
    for (; max > 0 && r->theirs + r->ours > 0; max--) {
        mesh_rels_maps *m = r->maps;
        hmap *map = m->ties.count ? &m->ties : m->aims.count ? &m->aims : &m->by_id;
        hmap_node *n = m->at ? m->at : hmap_first(map);
        if (!check(n)) break;
        m->at = hmap_next(map, n);
        if (map == &m->ties)
            end_tie(cx, r, n);
        else if (map == &m->aims)
            end_aim(cx, r, n);
        else
            end_watch(cx, r, index, n);
    }
    return r->theirs + r->ours == 0;
}

static void free_all(hmap *map, size_t offset) {
    for (hmap_node *n = hmap_first(map), *next; n; n = next) {
        next = hmap_next(map, n);
        mem_free((uint8_t *)n - offset);
    }
    hmap_fini(map);
}

void mesh_rels_fini(mesh_rels *r) {
    mesh_rels_maps *m = r->maps;
    if (!m) return;
    hmap_fini(&m->by_ref);
    free_all(&m->by_id, offsetof(mesh_watch, by_id));
    free_all(&m->aims, offsetof(mesh_aim, node));
    free_all(&m->ties, offsetof(mesh_tie, node));
    mem_free(m);
    mesh_rels_init(r);
}
