/* table: entries: lookup, change, growth, walk. See table.h for what it promises, table_own.c for whose a table is.
 *
 * A stripe is a hash table of its own: an array of buckets, chains of nodes, an entry at each. Its lock is for writers; they publish each
 * change with one store, so that a reader meets the chain before or after it:
 *
 *     insert    a fresh node, its next is the first one;  first = node        replace    node.entry = new
 *     remove    previous.next = node.next                                     (the node keeps its next and entry: who stands on it goes on)
 *
 * The nodes of an array lie in one block with it and are used once: a node that was removed may still have a reader on it. When none is
 * left the stripe gets a new array with room for half as many entries again, at least, and the entries are linked into that; readers go on
 * in the old one, which is as it was, until they have left. So growing, shrinking and sweeping are one thing, cost each change the linking
 * of two entries on average, and stop no reader. Writers of that stripe wait: 20 ns an entry.
 *
 * Bucket = top bits of the hash: halves of a bucket are neighbours, and a walk can say where it is by a hash alone, whatever the size of
 * the array when it goes on.
 *
 * Invariants: (1) only the holder of a stripe's lock writes its array, count and bytes. (2) An entry's hash, key and value never change; a
 * node has one key for its life. (3) What is unlinked is retired after the lock is released, by a reader who is inside since before. (4) An
 * array that was replaced is not written any more. (5) count <= nodes of the array; and more than an eighth of them, but in the smallest.
 */
#include "rt/table.h"

#include "base/mem.h"
#include "rt/table_int.h"

#define SIZE_MIN_LOG 3u                  /* eight buckets */
#define SPARSE       8u                  /* an array is replaced when fewer than one node in SPARSE are in use */
#define COUNT_MAX    (UINT32_C(1) << 30) /* entries of a stripe: numbers of nodes have 32 bits */
#define FREE_PART    1024u
#define LINE         64u

typedef rt_tab_entry entry;
typedef rt_tab_node node;
typedef rt_tab_array array;
typedef rt_tab_stripe stripe;

/* --- hashes ---------------------------------------------------------------------------------------------------------------------- */
typedef struct place {
    stripe *s;
    uint64_t hash; /* for buckets */
} place;

static inline place place_of(const rt_tab *t, slice key) {
    uint64_t h = hash_bytes(&t->key, key);
    return (place){&t->stripes[hash_u64(h ^ t->seed_stripe) & (t->n_stripes - 1)], hash_u64(h ^ t->seed_bucket)};
}

/* --- entries --------------------------------------------------------------------------------------------------------------------- */
static inline size_t padded(size_t n) { return (n + 7) & ~(size_t)7; }
static inline size_t size_of(const entry *e) { return sizeof *e + padded(e->key_len) + e->value_len; }
static inline slice key_of(const entry *e) { return slice_of(e->bytes, e->key_len); }
static inline slice value_of(const entry *e) { return slice_of(e->bytes + padded(e->key_len), e->value_len); }

static bool entry_free(rt_node *n, rt_retired *x) {
    (void)n;
    mem_free(container_of(x, entry, retired));
    return true;
}

static entry *entry_new(uint64_t hash, slice key, slice value) {
    entry *e = mem_alloc(sizeof *e + padded(key.len) + value.len);
    e->hash = hash;
    e->key_len = (uint32_t)key.len;
    e->value_len = (uint32_t)value.len;
    if (key.len) memcpy(e->bytes, key.p, key.len);
    if (value.len) memcpy(e->bytes + padded(key.len), value.p, value.len);
    e->retired = (rt_retired){.free = entry_free, .bytes = size_of(e)};
    return e;
}

/* --- arrays ---------------------------------------------------------------------------------------------------------------------- */
static inline array *array_of(const stripe *s) { return atomic_load_explicit(&s->array, memory_order_acquire); }
static inline entry *entry_of(const node *n) { return atomic_load_explicit(&n->entry, memory_order_acquire); }
static inline uint32_t get(const _Atomic uint32_t *link) { return atomic_load_explicit(link, memory_order_acquire); }
static inline void set(_Atomic uint32_t *link, uint32_t number) { atomic_store_explicit(link, number, memory_order_release); }
static inline node *node_of(const array *a, uint32_t number) { return number ? &a->node[number - 1] : NULL; }
/* With the lock held. */
static inline uint64_t own(const _Atomic uint64_t *x) { return atomic_load_explicit(x, memory_order_relaxed); }
static inline void own_add(_Atomic uint64_t *x, uint64_t by) { atomic_store_explicit(x, own(x) + by, memory_order_relaxed); }

static bool array_free(rt_node *n, rt_retired *x) {
    (void)n;
    mem_free(container_of(x, array, retired));
    return true;
}

static array *array_new(unsigned log) {
    size_t size = (size_t)1 << log, bytes = sizeof(array) + size * (sizeof(uint32_t) + sizeof(node));
    array *a = mem_zalloc(bytes);
    a->shift = 64 - log;
    a->node = (node *)(void *)((uint8_t *)(a + 1) + size * sizeof(uint32_t)); /* eight or more links of four bytes: aligned */
    a->retired = (rt_retired){.free = array_free, .bytes = bytes};
    return a;
}

/* A node for e, which must not be there yet, in an array with room. */
static void link_in(array *a, entry *e) {
    uint32_t number = ++a->used;
    node *n = &a->node[number - 1];
    _Atomic uint32_t *first = &a->first[e->hash >> a->shift];
    n->tag = (uint32_t)e->hash;
    atomic_store_explicit(&n->entry, e, memory_order_relaxed); /* and next: published by the store to first */
    atomic_store_explicit(&n->next, get(first), memory_order_relaxed);
    set(first, number);
}

/* Gives the stripe an array with room; returns the old one, to be retired, or NULL. */
static array *renew(stripe *s) {
    array *from = array_of(s);
    uint64_t want = own(&s->count) + own(&s->count) / 2;
    unsigned log = SIZE_MIN_LOG;
    while ((UINT64_C(1) << log) <= want) log++;
    array *to = array_new(log);
    for (size_t i = 0; from && i < rt_tab_size(from); i++)
        for (const node *n = node_of(from, get(&from->first[i])); n; n = node_of(from, get(&n->next))) link_in(to, entry_of(n));
    own_add(&s->bytes, to->retired.bytes - (from ? from->retired.bytes : 0)); /* modulo 2^64: it may become less */
    atomic_store_explicit(&s->array, to, memory_order_release);               /* partner: array_of */
    return from;
}

/* --- reading --------------------------------------------------------------------------------------------------------------------- */
static inline bool is(const entry *e, uint64_t hash, slice key) { return e->hash == hash && slice_eq(key_of(e), key); }

err rt_tab_lookup(rt_tab *t, slice key, slice *out_value) {
    place p = place_of(t, key);
    const array *a = array_of(p.s);
    if (!a) return ERR_NOT_FOUND;
    for (const node *n = node_of(a, get(&a->first[p.hash >> a->shift])); n; n = node_of(a, get(&n->next))) {
        if (n->tag != (uint32_t)p.hash) continue;
        const entry *e = entry_of(n);
        if (!is(e, p.hash, key)) continue;
        *out_value = value_of(e);
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}

uint64_t rt_tab_sum(const rt_tab *t, bool bytes) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < t->n_stripes; i++) sum += own(bytes ? &t->stripes[i].bytes : &t->stripes[i].count);
    return sum;
}

err rt_table_lookup(rt_reader *r, rt_tid id, slice key, slice *out_value) {
    rt_tab *t = rt_tab_find(r->node, id);
    return t ? rt_tab_lookup(t, key, out_value) : ERR_NO_TABLE;
}

/* --- walking --------------------------------------------------------------------------------------------------------------------- */
/* Where the walk goes on after bucket i of a, or after the stripe. */
static void step(const rt_tab *t, rt_table_at *at, const array *a, size_t i) {
    at->hash = a && i + 1 < rt_tab_size(a) ? (uint64_t)(i + 1) << a->shift : 0;
    if (at->hash == 0 && ++at->stripe == t->n_stripes) at->done = true;
}

void rt_tab_fold(rt_tab *t, rt_table_at *at, size_t max, bool (*fn)(void *arg, slice key, slice value), void *arg) {
    for (size_t seen = 0; !at->done && at->stripe < t->n_stripes && seen < max;) {
        const array *a = array_of(&t->stripes[at->stripe]);
        size_t i = a ? at->hash >> a->shift : 0;
        seen++; /* empty buckets count as well: a part takes so long */
        for (const node *n = a ? node_of(a, get(&a->first[i])) : NULL; n; n = node_of(a, get(&n->next))) {
            const entry *e = entry_of(n);
            if (e->hash < at->hash) continue; /* seen when the array was larger */
            seen++;
            at->done |= !fn(arg, key_of(e), value_of(e));
            if (at->done) return;
        }
        step(t, at, a, i);
    }
}

err rt_table_fold(rt_reader *r, rt_tid id, rt_table_at *at, size_t max, bool (*fn)(void *arg, slice key, slice value), void *arg) {
    rt_tab *t = rt_tab_find(r->node, id);
    if (!t) return ERR_NO_TABLE;
    rt_tab_fold(t, at, max, fn, arg);
    return ERR_OK;
}

err rt_table_chains(rt_reader *r, rt_tid id, rt_table_at *at, size_t max, hmap_chains *s, size_t *out_buckets) {
    rt_tab *t = rt_tab_find(r->node, id);
    if (!t) return ERR_NO_TABLE;
    for (size_t seen = 0; !at->done && at->stripe < t->n_stripes && seen < max; seen++) {
        const array *a = array_of(&t->stripes[at->stripe]);
        size_t i = a ? at->hash >> a->shift : 0, len = 0;
        for (const node *n = a ? node_of(a, get(&a->first[i])) : NULL; n; n = node_of(a, get(&n->next))) len++;
        hmap_chains_count(s, len);
        *out_buckets += a != NULL;
        step(t, at, a, i);
    }
    return ERR_OK;
}

/* --- changing -------------------------------------------------------------------------------------------------------------------- */
/* One change: what was found with the lock held, and what it leaves behind, to be retired when the lock is released. */
typedef struct change {
    rt_tab *t;
    place p;
    _Atomic uint32_t *link; /* to the key's node, or of the end of its chain */
    node *node;             /* NULL: there is none */
    entry *old;             /* at the node */
    entry *gone;
    array *replaced;
} change;

static void begin(change *c, rt_tab *t, const place *p, slice key) {
    *c = (change){.t = t, .p = *p};
    lock_take(&p->s->l);
    array *a = array_of(p->s);
    if (!a) return;
    c->link = &a->first[p->hash >> a->shift];
    for (node *n; (n = node_of(a, get(c->link))) != NULL; c->link = &n->next) {
        entry *e = entry_of(n);
        if (!is(e, p->hash, key)) continue;
        c->node = n;
        c->old = e;
        return;
    }
}

static void end(rt_reader *r, change *c) {
    lock_release(&c->p.s->l);
    if (c->gone) rt_epoch_retire(r, &c->gone->retired);
    if (c->replaced) rt_epoch_retire(r, &c->replaced->retired);
}

/* May there be size bytes where the old entry is? As long as a stripe keeps to its share of bytes_max, the others are not asked. */
static NODISCARD err may_put(const rt_reader *r, const change *c, size_t size) {
    const stripe *s = c->p.s;
    size_t before = c->old ? size_of(c->old) : 0, more = size - before;
    if (size <= before) return ERR_OK;
    if (UNLIKELY(rt_epoch_full(r->node))) return ERR_FULL;
    if (UNLIKELY(!c->old && own(&s->count) >= COUNT_MAX)) return ERR_LIMIT;
    if (own(&s->bytes) + more <= c->t->bytes_max / c->t->n_stripes) return ERR_OK;
    return rt_tab_sum(c->t, true) + more <= c->t->bytes_max ? ERR_OK : ERR_LIMIT;
}

static void put(change *c, entry *e) {
    stripe *s = c->p.s;
    array *a = array_of(s);
    own_add(&s->bytes, size_of(e));
    if (c->node) {
        own_add(&s->bytes, 0 - (uint64_t)size_of(c->old));
        atomic_store_explicit(&c->node->entry, e, memory_order_release);
        c->gone = c->old;
        return;
    }
    if (!a || a->used == rt_tab_size(a)) {
        c->replaced = renew(s);
        a = array_of(s);
    }
    link_in(a, e);
    own_add(&s->count, 1);
}

static void cut(change *c) {
    stripe *s = c->p.s;
    const array *a = array_of(s);
    set(c->link, get(&c->node->next));
    own_add(&s->bytes, 0 - (uint64_t)size_of(c->old));
    own_add(&s->count, UINT64_MAX);
    c->gone = c->old;
    if (UNLIKELY(rt_tab_size(a) > (1u << SIZE_MIN_LOG) && own(&s->count) < rt_tab_size(a) / SPARSE)) c->replaced = renew(s);
}

err rt_tab_put(rt_reader *r, rt_tab *t, slice key, slice value, bool fresh) {
    if (key.len > RT_TABLE_KEY_MAX) return ERR_INVALID;
    if (value.len > UINT32_MAX || value.len > t->bytes_max) return ERR_LIMIT;
    place p = place_of(t, key);
    entry *e = entry_new(p.hash, key, value);
    change c;
    begin(&c, t, &p, key);
    err bad = fresh && c.old ? ERR_EXISTS : may_put(r, &c, size_of(e));
    if (!bad) put(&c, e);
    end(r, &c);
    if (bad) mem_free(e);
    return bad;
}

err rt_tab_delete(rt_reader *r, rt_tab *t, slice key) {
    place p = place_of(t, key);
    change c;
    begin(&c, t, &p, key);
    if (c.old) cut(&c);
    end(r, &c);
    return c.old ? ERR_OK : ERR_NOT_FOUND;
}

static uint64_t packed(const rt_actor *a) { return a ? (uint64_t)a->slot << 32 | a->gen : 0; }

/* The table, if r may write to it. */
static NODISCARD err writable(rt_reader *r, rt_tid id, slice key, rt_tab **out) {
    rt_tab *t = rt_tab_find(r->node, id);
    if (!t) return ERR_NO_TABLE;
    if (key.len > RT_TABLE_KEY_MAX) return ERR_INVALID;
    if (t->writers == RT_TABLE_OWNER_WRITES) {
        uint64_t owner = atomic_load_explicit(&t->owner, memory_order_acquire);
        if (!r->sh || packed(r->sh->cx.self) != owner) return ERR_PERM;
    }
    *out = t;
    return ERR_OK;
}

err rt_table_insert(rt_reader *r, rt_tid id, slice key, slice value) {
    rt_tab *t;
    err e = writable(r, id, key, &t);
    return e ? e : rt_tab_put(r, t, key, value, false);
}

err rt_table_insert_new(rt_reader *r, rt_tid id, slice key, slice value) {
    rt_tab *t;
    err e = writable(r, id, key, &t);
    return e ? e : rt_tab_put(r, t, key, value, true);
}

err rt_table_delete(rt_reader *r, rt_tid id, slice key) {
    rt_tab *t;
    err e = writable(r, id, key, &t);
    return e ? e : rt_tab_delete(r, t, key);
}

static NODISCARD err put_locked(rt_reader *r, change *c, slice key, slice value) {
    if (value.len > UINT32_MAX || value.len > c->t->bytes_max) return ERR_LIMIT;
    err e = may_put(r, c, sizeof(entry) + padded(key.len) + value.len);
    if (!e) put(c, entry_new(c->p.hash, key, value));
    return e;
}

err rt_table_update(rt_reader *r, rt_tid id, slice key, rt_table_change *fn, void *arg) {
    rt_tab *t;
    err e = writable(r, id, key, &t);
    if (e) return e;
    place p = place_of(t, key);
    slice value = SLICE_NULL;
    change c;
    begin(&c, t, &p, key);
    switch (fn(arg, c.old ? value_of(c.old) : SLICE_NULL, &value)) {
    case RT_TABLE_KEEP: break;
    case RT_TABLE_PUT: e = put_locked(r, &c, key, value); break;
    case RT_TABLE_REMOVE:
        if (c.old) cut(&c);
        break;
    }
    end(r, &c);
    return e;
}

/* --- making and freeing ---------------------------------------------------------------------------------------------------------- */
rt_tab *rt_tab_new(rt_node *n, rt_tid id, const rt_table_cfg *c) {
    rt_tab *t = mem_zalloc(sizeof *t);
    uint64_t more[2];
    t->id = id;
    t->writers = c->writers;
    t->n_stripes = c->stripes ? c->stripes : n->cfg.table_stripes;
    t->bytes_max = c->bytes_max ? c->bytes_max : RT_TABLE_BYTES_MAX;
    if (c->name) memcpy(t->name, c->name, strlen(c->name));
    hash_bytes128(&n->key, slice_of(&id, sizeof id), more);
    t->key = (hash_key){more[0], more[1]};
    hash_bytes128(&t->key, SLICE("seeds"), more);
    t->seed_stripe = more[0];
    t->seed_bucket = more[1];
    t->block = mem_zalloc(t->n_stripes * sizeof(stripe) + LINE);
    t->stripes = (stripe *)(((uintptr_t)t->block + LINE - 1) & ~(uintptr_t)(LINE - 1));
    for (unsigned i = 0; i < t->n_stripes; i++)
        lock_init(&t->stripes[i].l, &n->locks, "table", (uint32_t)(id % RT_TABLES_MAX) * RT_STRIPES_MAX + i, LOCK_RANK_TABLE);
    t->retired.free = rt_tab_free;
    return t;
}

/* Frees entries of one stripe after another; true: there are none left. */
static bool free_entries(rt_tab *t) {
    for (size_t done = 0; t->free_stripe < t->n_stripes; t->free_stripe++, t->free_bucket = 0) {
        array *a = array_of(&t->stripes[t->free_stripe]);
        for (; a && t->free_bucket < rt_tab_size(a); t->free_bucket++) {
            if (done++ >= FREE_PART) return false;
            for (const node *n = node_of(a, get(&a->first[t->free_bucket])); n; n = node_of(a, get(&n->next)), done++)
                mem_free(entry_of(n));
        }
        mem_free(a);
    }
    return true;
}

bool rt_tab_free(rt_node *n, rt_retired *x) {
    rt_tab *t = container_of(x, rt_tab, retired);
    (void)n;
    if (!free_entries(t)) return false;
    for (unsigned i = t->n_stripes; i-- > 0;) lock_fini(&t->stripes[i].l); /* the last one first: it is first in the set's list */
    rt_blob_unref(t->heir_data);
    rt_blob_unref(t->gift);
    mem_free(t->block);
    mem_free(t);
    return true;
}
