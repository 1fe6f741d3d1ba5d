/* disk_names: names and their durability.
 *
 * Why a prefix a directory: a journalling file system commits the changes of a directory in order, but says nothing about when, nor about
 * two directories. Whatever was not followed by dir_sync may be missing after a power cut, also for a file whose bytes were synced.
 *
 * Invariants: (1) live = durable with all pending changes applied. (2) Entries are sorted by path and unique. (3) After a power cut no
 * entry stands in a directory that is gone. */
#include "sim/disk_names.h"

#include "base/mem.h"

bool sim_disk_names_is_root(const char *path) { return path[0] == 0 || strcmp(path, ".") == 0 || strcmp(path, "/") == 0; }

/* Index of path, or of where it would stand. */
static size_t place(const sim_names *n, slice path, bool *out_found) {
    size_t lo = 0, hi = n->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = slice_cmp(slice_str(n->e[mid].path), path);
        if (c == 0) {
            *out_found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *out_found = false;
    return lo;
}

/* Length of the directory part: "a/b/c" has "a/b", "a" has "". */
static slice parent(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slice_of(path, (size_t)(slash - path)) : SLICE("");
}

sim_inode *sim_disk_names_find(const sim_names *n, const char *path) {
    bool found;
    size_t i = place(n, slice_str(path), &found);
    return found ? n->e[i].inode : NULL;
}

bool sim_disk_names_parent_exists(const sim_names *n, const char *path) {
    slice dir = parent(path);
    if (dir.len == 0 || slice_is(dir, ".")) return true;
    bool found;
    size_t i = place(n, dir, &found);
    return found && n->e[i].inode->dir;
}

bool sim_disk_names_has_children(const sim_names *n, const char *path) {
    for (size_t i = 0; i < n->n; i++)
        if (slice_is(parent(n->e[i].path), path)) return true;
    return false;
}

static void put(sim_disk *d, sim_names *n, const char *path, sim_inode *f) {
    bool found;
    size_t i = place(n, slice_str(path), &found);
    f->refs++;
    if (found) {
        sim_disk_unref(d, n->e[i].inode);
        n->e[i].inode = f;
        return;
    }
    void *e = n->e;
    mem_grow(&e, &n->cap, n->n + 1, sizeof *n->e);
    n->e = e;
    memmove(n->e + i + 1, n->e + i, (n->n - i) * sizeof *n->e);
    n->e[i] = (sim_entry){slice_dup_str(slice_str(path)), f};
    n->n++;
}

static void take_at(sim_disk *d, sim_names *n, size_t i) {
    sim_entry gone = n->e[i];
    memmove(n->e + i, n->e + i + 1, (n->n - i - 1) * sizeof *n->e);
    n->n--;
    mem_free(gone.path);
    sim_disk_unref(d, gone.inode);
}

static void take(sim_disk *d, sim_names *n, const char *path) {
    bool found;
    size_t i = place(n, slice_str(path), &found);
    if (found) take_at(d, n, i);
}

static void apply(sim_disk *d, sim_names *n, const sim_dirop *op) {
    switch (op->kind) {
    case SIM_LINK: put(d, n, op->path, op->inode); return;
    case SIM_UNLINK: take(d, n, op->path); return;
    case SIM_RENAME:
        put(d, n, op->path, op->inode);
        take(d, n, op->from);
        return;
    }
}

static void op_free(sim_disk *d, sim_dirop *op) {
    sim_disk_unref(d, op->inode);
    mem_free(op->path);
    mem_free(op->from);
    mem_free(op);
}

void sim_disk_names_change(sim_disk *d, sim_dirop_kind kind, const char *path, const char *from, sim_inode *f) {
    sim_dirop *op = mem_zalloc(sizeof *op);
    f->refs++;
    *op =
        (sim_dirop){.kind = kind, .path = slice_dup_str(slice_str(path)), .from = from ? slice_dup_str(slice_str(from)) : NULL, .inode = f};
    apply(d, &d->live, op);
    *d->ops_tail = op;
    d->ops_tail = &op->next;
}

void sim_disk_names_clear(sim_disk *d, sim_names *n) {
    while (n->n) take_at(d, n, n->n - 1);
    mem_free(n->e);
    *n = (sim_names){0};
}

/* Takes the operation at *at out of the list. */
static sim_dirop *op_take(sim_disk *d, sim_dirop **at) {
    sim_dirop *op = *at;
    *at = op->next;
    if (!*at) d->ops_tail = at;
    return op;
}

void sim_disk_names_drop_ops(sim_disk *d) {
    while (d->ops) op_free(d, op_take(d, &d->ops));
}

static bool op_in(const sim_dirop *op, slice dir) {
    return slice_eq(parent(op->path), dir) || (op->from && slice_eq(parent(op->from), dir));
}

err sim_disk_names_sync(sim_disk *d, const char *path) {
    if (!sim_disk_names_is_root(path)) {
        sim_inode *f = sim_disk_names_find(&d->live, path);
        if (!f || !f->dir) return ERR_NOT_FOUND;
    }
    slice dir = sim_disk_names_is_root(path) ? SLICE("") : slice_str(path);
    for (sim_dirop **at = &d->ops; *at;) {
        if (!op_in(*at, dir)) {
            at = &(*at)->next;
            continue;
        }
        sim_dirop *op = op_take(d, at);
        apply(d, &d->durable, op);
        op_free(d, op);
    }
    return ERR_OK;
}

err sim_disk_names_list(sim_disk *d, const char *path, void (*fn)(void *arg, const char *name), void *arg) {
    bool root = sim_disk_names_is_root(path);
    sim_inode *f = root ? NULL : sim_disk_names_find(&d->live, path);
    if (!root && (!f || !f->dir)) return ERR_NOT_FOUND;
    slice dir = root ? SLICE("") : slice_str(path);
    for (size_t i = 0; i < d->live.n; i++) {
        const char *p = d->live.e[i].path;
        if (slice_eq(parent(p), dir)) fn(arg, dir.len || p[0] == '/' ? p + dir.len + 1 : p);
    }
    return ERR_OK;
}

/* A pending change survives unless an earlier one of its directory did not. */
static bool survives(sim_disk *d, sim_names *stopped, const sim_dirop *op, sim_inode *mark) {
    slice dir = parent(op->path);
    char *name = slice_dup_str(dir);
    bool gone = sim_disk_names_find(stopped, name) != NULL;
    if (!gone && prng_chance(d->rng, 1, 3)) {
        put(d, stopped, name, mark);
        gone = true;
    }
    mem_free(name);
    return !gone;
}

void sim_disk_names_power_cut(sim_disk *d) {
    sim_names stopped = {0}; /* directories whose later changes are lost */
    sim_inode *mark = sim_disk_inode_new(d, true);
    while (d->ops) {
        sim_dirop *op = op_take(d, &d->ops);
        if (survives(d, &stopped, op, mark)) apply(d, &d->durable, op);
        op_free(d, op);
    }
    sim_disk_names_clear(d, &stopped);
    sim_disk_unref(d, mark);
    for (size_t i = 0; i < d->durable.n;) { /* parents come before their children */
        if (sim_disk_names_parent_exists(&d->durable, d->durable.e[i].path))
            i++;
        else
            take_at(d, &d->durable, i);
    }
    sim_disk_names_clear(d, &d->live);
    for (size_t i = 0; i < d->durable.n; i++) put(d, &d->live, d->durable.e[i].path, d->durable.e[i].inode);
}

void sim_disk_names_settle(sim_disk *d) {
    while (d->ops) {
        sim_dirop *op = op_take(d, &d->ops);
        apply(d, &d->durable, op);
        op_free(d, op);
    }
}
