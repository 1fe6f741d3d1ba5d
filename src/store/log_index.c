/* log_index: the index of a partition: what recovery found for it or, when the partition comes back later, what a new scan finds.
 *
 *   recovery --put--> collect { names, users (interned), entries (chained by partition), recent }
 *                        | index(p): users of p sorted; entries of p that are not dead, placed user by user
 *                        v
 *                     store_index, one block of names, handed to the partition
 *
 * Invariants: (1) collect holds PUTs in the order of the log; whether one is dead is asked when the index is made, never kept. (2) What
 * recovery found serves each partition once, and only until it puts something or compaction moves a record. (3) Users without messages are
 * not in an index. (4) recent keeps the order of the log. */
#include "base/mem.h"
#include "store/log_int.h"

#include <stdlib.h>

#define RECENT_ANYHOW 65536u /* newest origin-ids that are remembered over a start whatever the clock says */

typedef struct log_user {
    uint64_t hash;
    size_t off; /* of the name in names */
    uint32_t len;
    uint32_t partition;
    uint32_t count; /* while an index is made: its entries */
    uint32_t rank;  /* its place in the sorted users */
} log_user;
typedef struct log_entry {
    store_entry e;
    uint32_t next; /* + 1, of the same partition */
} log_entry;
typedef struct log_recent {
    store_recent r;
    uint32_t partition;
} log_recent;

struct log_collect {
    store_log *l;
    int only;
    uint8_t *names;
    size_t names_len, names_cap;
    log_user *users;
    size_t n_users, cap_users;
    uint32_t *table; /* open addressing: index of a user + 1 */
    size_t mask;
    log_entry *entries;
    size_t n_entries, cap_entries;
    uint32_t head[STORE_PARTITIONS_MAX], tail[STORE_PARTITIONS_MAX]; /* index + 1 */
    log_recent *recent;
    size_t n_recent, cap_recent;
    int64_t recent_from; /* wall */
    size_t recent_prune; /* entries at which those that are too old are dropped */
    bool served[STORE_PARTITIONS_MAX];
};

log_collect *store_log_collect_new(store_log *l, int only) {
    log_collect *c = mem_zalloc(sizeof *c);
    c->l = l;
    c->only = only;
    c->recent_from = l->s->wall(l->s) - STORE_DEDUP_WINDOW;
    c->recent_prune = 4 * RECENT_ANYHOW;
    return c;
}

void store_log_collect_free(log_collect *c) {
    if (!c) return;
    mem_free(c->names);
    mem_free(c->users);
    mem_free(c->table);
    mem_free(c->entries);
    mem_free(c->recent);
    mem_free(c);
}

static slice name_of(const log_collect *c, const log_user *u) { return slice_of(c->names + u->off, u->len); }

static void grow_table(log_collect *c) {
    size_t size = c->mask ? (c->mask + 1) * 2 : 1024;
    mem_free(c->table);
    c->table = mem_zalloc(size * sizeof *c->table);
    c->mask = size - 1;
    for (size_t i = 0; i < c->n_users; i++) {
        size_t at = (size_t)c->users[i].hash & c->mask;
        while (c->table[at]) at = (at + 1) & c->mask;
        c->table[at] = (uint32_t)i + 1;
    }
}

static uint32_t intern(log_collect *c, slice name) {
    if (2 * (c->n_users + 1) > c->mask) grow_table(c);
    uint64_t hash = hash_bytes(&c->l->key, name);
    size_t at = (size_t)hash & c->mask;
    for (; c->table[at]; at = (at + 1) & c->mask) {
        log_user *u = &c->users[c->table[at] - 1];
        if (u->hash == hash && slice_eq(name_of(c, u), name)) return c->table[at] - 1;
    }
    void *p = c->users;
    mem_grow(&p, &c->cap_users, c->n_users + 1, sizeof *c->users);
    c->users = p;
    p = c->names;
    mem_grow(&p, &c->names_cap, c->names_len + name.len + 1, 1);
    c->names = p;
    if (name.len) memcpy(c->names + c->names_len, name.p, name.len);
    c->users[c->n_users] =
        (log_user){.hash = hash, .off = c->names_len, .len = (uint32_t)name.len, .partition = store_partition(name, c->l->cfg.partitions)};
    c->names_len += name.len;
    c->table[at] = (uint32_t)++c->n_users;
    return (uint32_t)c->n_users - 1;
}

/* Is it within the window? The newest count whatever their stamps say: the wall clock may have moved while the node was down, and who sends
 * again now what was not acked then must be recognised. */
static bool is_recent(const log_collect *c, size_t i) { return i + RECENT_ANYHOW >= c->n_recent || c->recent[i].r.wall >= c->recent_from; }

static void recent_add(log_collect *c, const log_put *put, uint32_t partition) {
    if (c->n_recent == c->cap_recent && c->n_recent >= c->recent_prune) {
        size_t left = 0;
        for (size_t i = 0; i < c->n_recent; i++)
            if (is_recent(c, i)) c->recent[left++] = c->recent[i];
        c->n_recent = left;
        c->recent_prune = 2 * left;
    }
    void *p = c->recent;
    mem_grow(&p, &c->cap_recent, c->n_recent + 1, sizeof *c->recent);
    c->recent = p;
    c->recent[c->n_recent++] = (log_recent){{put->h0, put->h1, put->wall}, partition};
}

void store_log_collect_put(log_collect *c, uint64_t id, uint64_t loc, uint32_t bytes, const log_put *put) {
    if (c->only >= 0 && store_partition(put->user, c->l->cfg.partitions) != (unsigned)c->only) return;
    uint32_t user = intern(c, put->user), partition = c->users[user].partition;
    void *p = c->entries;
    mem_grow(&p, &c->cap_entries, c->n_entries + 1, sizeof *c->entries);
    c->entries = p;
    c->entries[c->n_entries++] = (log_entry){.e = {.id = id, .loc = loc, .wall = put->wall, .bytes = bytes, .user = user}};
    uint32_t me = (uint32_t)c->n_entries;
    if (c->tail[partition])
        c->entries[c->tail[partition] - 1].next = me;
    else
        c->head[partition] = me;
    c->tail[partition] = me;
    if (put->h0 || put->h1) recent_add(c, put, partition);
}

/* --- from what was collected to an index ----------------------------------------------------------------------------------------- */

static void index_free(rt_box *b) {
    store_index *x = container_of(b, store_index, box);
    if (x->n_users) mem_free((void *)(uintptr_t)x->users[0].p); /* all names are one block that starts with the first */
    mem_free(x->users);
    mem_free(x->entries);
    mem_free(x->recent);
    mem_free(x);
}

typedef struct ranked {
    slice name;
    uint32_t user;
} ranked;
static int by_name(const void *a, const void *b) { return slice_cmp(((const ranked *)a)->name, ((const ranked *)b)->name); }
static int by_id(const void *a, const void *b) {
    uint64_t x = ((const store_entry *)a)->id, y = ((const store_entry *)b)->id;
    return x < y ? -1 : x > y;
}

static bool alive(const log_collect *c, uint64_t loc) {
    const log_seg *g = store_log_seg_find(c->l, log_loc_segment(loc));
    return g && !store_log_seg_is_dead(g, log_loc_off(loc));
}

/* Gives each user of the partition that has messages its rank and its name in the index; returns where each user's entries begin. */
static uint32_t *rank_users(log_collect *c, unsigned partition, store_index *x) {
    ranked *r = mem_alloc((c->n_users + 1) * sizeof *r);
    size_t n = 0, bytes = 0;
    for (uint32_t i = 0; i < c->n_users; i++) {
        const log_user *u = &c->users[i];
        if (u->partition != partition || u->count == 0) continue;
        r[n++] = (ranked){name_of(c, u), i};
        bytes += u->len;
    }
    qsort(r, n, sizeof *r, by_name);
    x->users = mem_alloc((n + 1) * sizeof *x->users);
    x->n_users = n;
    uint8_t *block = mem_alloc(bytes + 1);
    if (n == 0) mem_free(block);
    uint32_t *first = mem_alloc((n + 1) * sizeof *first), at = 0;
    for (size_t i = 0; i < n; i++) {
        log_user *u = &c->users[r[i].user];
        u->rank = (uint32_t)i;
        first[i] = at;
        at += u->count;
        if (u->len) memcpy(block, r[i].name.p, u->len);
        x->users[i] = slice_of(block, u->len);
        block += u->len;
    }
    mem_free(r);
    return first;
}

static void sort_users_entries(store_index *x) {
    for (size_t i = 0; i < x->n_entries;) {
        size_t j = i + 1;
        bool sorted = true;
        for (; j < x->n_entries && x->entries[j].user == x->entries[i].user; j++)
            if (x->entries[j].id < x->entries[j - 1].id) sorted = false;
        if (!sorted) qsort(x->entries + i, j - i, sizeof *x->entries, by_id); /* copies made by compaction come late */
        i = j;
    }
}

static store_index *make_index(log_collect *c, unsigned partition) {
    store_index *x = mem_zalloc(sizeof *x);
    x->box.free = index_free;
    for (size_t i = 0; i < c->n_users; i++) c->users[i].count = 0;
    for (uint32_t i = c->head[partition]; i; i = c->entries[i - 1].next) {
        if (!alive(c, c->entries[i - 1].e.loc)) continue;
        c->users[c->entries[i - 1].e.user].count++;
        x->n_entries++;
    }
    uint32_t *at = rank_users(c, partition, x);
    x->entries = mem_alloc((x->n_entries + 1) * sizeof *x->entries);
    for (uint32_t i = c->head[partition]; i; i = c->entries[i - 1].next) {
        store_entry e = c->entries[i - 1].e;
        if (!alive(c, e.loc)) continue;
        e.user = c->users[e.user].rank;
        x->entries[at[e.user]++] = e;
    }
    mem_free(at);
    sort_users_entries(x);
    x->recent = mem_alloc((c->n_recent + 1) * sizeof *x->recent);
    for (size_t i = 0; i < c->n_recent; i++)
        if (c->recent[i].partition == partition && is_recent(c, i)) x->recent[x->n_recent++] = c->recent[i].r;
    x->lost = c->l->lost[partition];
    return x;
}

static void rescan_segment(store_log *l, log_collect *c, const log_seg *g) {
    log_scan s;
    log_found f;
    log_put p;
    log_gap gap = {0};
    uint64_t live = 0;
    store_log_scan_init(&s, l->s, g->fd, g->seed, g->end);
    while (store_log_scan_next(&s, &f)) {
        if (f.bad) store_log_gap_add(&gap, &f);
        if (f.bad || f.type != LOG_PUT || !store_log_rec_put(f.flags, f.body, &p)) continue;
        live += !store_log_seg_is_dead(g, f.off);
        store_log_collect_put(c, f.id, log_loc(g->number, f.off), (uint32_t)(f.end - f.off), &p);
    }
    store_log_scan_fini(&s);
    if (live < store_log_seg_live(g))
        store_log_report_gap(l, g, store_log_seg_live(g) - live, &gap, "the partition that asked serves none of them until it asks again");
}

static err rescan(store_log *l, log_collect *c) {
    for (size_t i = 0; i < l->n_segs; i++) {
        log_seg *g = l->segs[i];
        err e = store_log_seg_use(l, g);
        if (e != ERR_OK) return e;
        rescan_segment(l, c, g);
        store_log_seg_unuse(l, g);
    }
    return ERR_OK;
}

/* What recovery found is of no more use to the partition. */
static void served(store_log *l, unsigned partition) {
    l->found->served[partition] = true;
    for (unsigned p = 0; p < l->cfg.partitions; p++)
        if (!l->found->served[p]) return;
    store_log_collect_free(l->found);
    l->found = NULL;
}

void store_log_found_stale(store_log *l, slice user) {
    if (l->found) served(l, store_partition(user, l->cfg.partitions));
}

err store_log_index(store_log *l, unsigned partition, unsigned partitions, store_index **out) {
    if (partitions != l->cfg.partitions || partition >= partitions) return ERR_INVALID;
    if (l->failed) return ERR_IO;
    if (l->found && !l->found->served[partition]) {
        *out = make_index(l->found, partition);
        served(l, partition);
        return ERR_OK;
    }
    log_collect *c = store_log_collect_new(l, (int)partition);
    err e = rescan(l, c);
    if (e == ERR_OK) *out = make_index(c, partition);
    store_log_collect_free(c);
    return e;
}
