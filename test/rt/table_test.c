/* table: entries under one writer and under many, growth under readers, limits, whose a table is and who inherits it. */
#include "rt/ctl.h"
#include "rt/shard.h"
#include "rt/table.h"
#include "rt_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define PATIENCE (10 * USEC_PER_SEC) /* for what comes at once */
#define KEY(x)   slice_of(&(x), sizeof(x))

/* --- an actor that keeps tables ----------------------------------------------------------------------------------------------------- */
typedef struct keeper { /* the test's; the actor's state points to it */
    rt_pid pid;
    unsigned inits, finis, downs;
    err create;       /* what rt_table_create said in init */
    rt_table_cfg cfg; /* of what it creates in init, if that has a name */
    rt_tid table;     /* created, or come to it */
    rt_transfer got;  /* the last RT_TRANSFER; its data is data */
    unsigned transfers;
    bool transfer_after_down;
    char data[16];
    err init_result, result; /* result: of the last deed */
} keeper;
typedef err keeper_deed(rt_ctx *cx, keeper *k, uint64_t arg);
#define T_KEEP_FIELDS(F) F(U64, what, "a keeper_deed *") F(U64, arg, "its argument")
enum { T_KEEP = T_DO + 1 };
RT_MSG_DECLARE(T_KEEP, t_keep, "a deed of a keeper")
RT_MSG_FIELDS(T_KEEP, t_keep, "a deed of a keeper")
static const rt_msg_desc keep_msgs[] = {RT_MSG_DESC(T_KEEP, t_keep, "a deed of a keeper")};

static err keeper_init(rt_ctx *cx, void *st, const void *arg) {
    keeper *k = *(keeper *const *)arg;
    *(keeper **)st = k;
    k->pid = rt_self(cx);
    k->inits++;
    if (k->cfg.name) k->create = rt_table_create(cx, &k->cfg, &k->table);
    return k->init_result;
}
static err keeper_handle(rt_ctx *cx, void *st, rt_msg **m) {
    keeper *k = *(keeper **)st;
    if ((*m)->tag == RT_TRANSFER) {
        k->got = *rt_transfer_of(*m);
        slice d = rt_blob_slice(k->got.data);
        (void)snprintf(k->data, sizeof k->data, SLICE_FMT, SLICE_ARG(d));
        k->table = k->got.table;
        k->transfers++;
        k->transfer_after_down |= k->downs > 0;
    } else if ((*m)->tag == RT_DOWN) {
        k->downs++;
    } else if ((*m)->tag == T_KEEP) {
        k->result = ((keeper_deed *)(uintptr_t)t_keep_of(*m)->what)(cx, k, t_keep_of(*m)->arg);
    } else if ((*m)->tag == T_NOTE) { /* how it is told to end from outside the world */
        return ERR_IO;
    }
    return ERR_OK;
}
static void keeper_fini(rt_ctx *cx, void *st, err reason) {
    (void)cx;
    (void)reason;
    (*(keeper **)st)->finis++;
}
static const rt_class keeper_class = {
    .name = "keeper", .state_size = sizeof(keeper *), .init = keeper_init, .handle = keeper_handle, .fini = keeper_fini};

static world *keepers_world(unsigned shards) {
    world *w = world_new(shards, 1);
    rt_node_add_msgs(w->n, keep_msgs, ARRAY_LEN(keep_msgs));
    rt_node_add_verbs(w->n, rt_verbs, rt_verbs_count);
    return w;
}
static keeper *keeper_start(world *w, unsigned shard, const rt_table_cfg *c) {
    keeper *k = mem_zalloc(sizeof *k);
    if (c) k->cfg = *c;
    (void)world_spawn(w, shard, &keeper_class, &k);
    assert_int_equal(k->create, ERR_OK);
    return k;
}
static void keep_post(world *w, const keeper *k, keeper_deed *d, uint64_t arg) {
    rt_msg *m = rt_msg_new_ext(T_KEEP, sizeof(t_keep));
    *t_keep_of(m) = (t_keep){(uint64_t)(uintptr_t)d, arg};
    rt_post(w->n, k->pid, &m);
}
static err keep(world *w, keeper *k, keeper_deed *d, uint64_t arg) {
    k->result = ERR_BUG;
    keep_post(w, k, d, arg);
    (void)world_run(w);
    return k->result;
}
static void crash(world *w, const keeper *k) {
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    rt_post(w->n, k->pid, &m);
    (void)world_run(w);
}

/* Deeds. */
static err put_number(rt_ctx *cx, keeper *k, uint64_t x) { return rt_table_insert(rt_epoch_reader(cx), k->table, KEY(x), KEY(x)); }
static err drop(rt_ctx *cx, keeper *k, uint64_t x) {
    (void)x;
    return rt_table_drop(cx, k->table);
}
static err give(rt_ctx *cx, keeper *k, uint64_t to) {
    rt_blob *b = rt_blob_new(SLICE("gift"));
    err e = rt_table_give_away(cx, k->table, ((const keeper *)(uintptr_t)to)->pid, b);
    rt_blob_unref(b);
    return e;
}
static err name_heir(rt_ctx *cx, keeper *k, uint64_t heir) {
    rt_blob *b = rt_blob_new(SLICE("will"));
    err e = rt_table_set_heir(cx, k->table, heir ? ((const keeper *)(uintptr_t)heir)->pid : RT_PID_NONE, b);
    rt_blob_unref(b);
    return e;
}
static err watch(rt_ctx *cx, keeper *k, uint64_t whom) {
    (void)k;
    return rt_monitor(cx, ((const keeper *)(uintptr_t)whom)->pid) ? ERR_OK : ERR_BUG;
}

/* What a thread outside sees. */
static err peek(rt_node *n, rt_tid t, uint64_t x) {
    rt_reader *r = rt_epoch_begin(n);
    slice v = SLICE_NULL;
    err e = rt_table_lookup(r, t, KEY(x), &v);
    if (!e) assert_true(slice_eq(v, KEY(x)));
    rt_epoch_end(&r);
    return e;
}
static rt_tid whereis(rt_node *n, const char *name) {
    rt_reader *r = rt_epoch_begin(n);
    rt_tid t = rt_table_whereis(r, slice_str(name));
    rt_epoch_end(&r);
    return t;
}
static rt_table_info info_read(rt_reader *r, rt_tid t) {
    rt_table_info i = {0};
    assert_int_equal(rt_table_info_of(r, t, &i), ERR_OK);
    return i;
}
static rt_table_info info_of(rt_node *n, rt_tid t) {
    rt_reader *r = rt_epoch_begin(n);
    rt_table_info i = info_read(r, t);
    rt_epoch_end(&r);
    return i;
}

/* --- entries ------------------------------------------------------------------------------------------------------------------------ */
typedef struct put_many {
    rt_tid t;
    uint64_t from, to;
} put_many;
static rt_tid node_table(world *w, const rt_table_cfg *c);

typedef struct made {
    const rt_table_cfg *c;
    rt_tid t;
    err e;
} made;
static void make(rt_ctx *cx, void *arg) {
    made *m = arg;
    m->e = rt_table_create(cx, m->c, &m->t);
}
static err node_table_err(world *w, const rt_table_cfg *c) {
    made m = {.c = c};
    rt_node_boot(w->n, 0, make, &m);
    return m.e;
}
static rt_tid node_table(world *w, const rt_table_cfg *c) {
    made m = {.c = c};
    rt_node_boot(w->n, 0, make, &m);
    assert_int_equal(m.e, ERR_OK);
    return m.t;
}

static void an_entry_is_put_found_replaced_and_deleted(void **state) {
    (void)state;
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.name = "t", .writers = RT_TABLE_ALL_WRITE});
    rt_reader *r = rt_epoch_begin(w->n);
    slice v = SLICE_NULL;
    assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_NOT_FOUND);
    assert_int_equal(rt_table_delete(r, t, SLICE("k")), ERR_NOT_FOUND);
    assert_int_equal(rt_table_insert(r, t, SLICE("k"), SLICE("one")), ERR_OK);
    assert_int_equal(rt_table_insert_new(r, t, SLICE("k"), SLICE("two")), ERR_EXISTS);
    assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_OK);
    assert_true(slice_is(v, "one") && (uintptr_t)v.p % 8 == 0);
    assert_int_equal(rt_table_insert(r, t, SLICE("k"), SLICE("three")), ERR_OK);
    assert_true(slice_is(v, "one")); /* who looked it up before still reads what it was */
    assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_OK);
    assert_true(slice_is(v, "three"));
    assert_int_equal(rt_table_insert_new(r, t, SLICE(""), SLICE("")), ERR_OK); /* both may be empty */
    assert_int_equal(rt_table_lookup(r, t, SLICE(""), &v), ERR_OK);
    assert_true(v.len == 0 && v.p);
    assert_int_equal(info_read(r, t).entries, 2);
    assert_int_equal(rt_table_delete(r, t, SLICE("k")), ERR_OK);
    assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_NOT_FOUND);
    rt_epoch_end(&r);
    world_free(w);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    world *w = keepers_world(1);
    static uint8_t key[RT_TABLE_KEY_MAX + 1];
    char name[RT_TABLE_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[RT_TABLE_NAME_MAX + 1] = 0;
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.name = ""}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.name = name}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.stripes = 3}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.stripes = 2 * RT_STRIPES_MAX}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.heir = {1, 0, 1}}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.heir = {0, 5u << 24, 1}}), ERR_INVALID);
    assert_int_equal(node_table_err(w, &(rt_table_cfg){.name = "rt.names"}), ERR_EXISTS);
    rt_tid t = node_table(w, &(rt_table_cfg){.name = name + 1, .writers = RT_TABLE_ALL_WRITE});
    rt_reader *r = rt_epoch_begin(w->n);
    slice v;
    rt_table_at at = {0};
    hmap_chains s = {0};
    size_t buckets = 0;
    rt_table_info i;
    assert_int_equal(rt_table_insert(r, t, slice_of(key, sizeof key), SLICE("v")), ERR_INVALID);
    assert_int_equal(rt_table_insert(r, t, slice_of(key, sizeof key - 1), SLICE("v")), ERR_OK);
    assert_int_equal(rt_table_insert(r, rt_table_whereis(r, SLICE("rt.names")), SLICE("a"), SLICE("v")), ERR_PERM); /* the runtime's */
    const rt_tid no[] = {0, t + 1, t + RT_TABLES_MAX}; /* never was; not yet; another one with the same place */
    for (size_t k = 0; k < ARRAY_LEN(no); k++) {
        assert_int_equal(rt_table_insert(r, no[k], SLICE("k"), SLICE("v")), ERR_NO_TABLE);
        assert_int_equal(rt_table_insert_new(r, no[k], SLICE("k"), SLICE("v")), ERR_NO_TABLE);
        assert_int_equal(rt_table_delete(r, no[k], SLICE("k")), ERR_NO_TABLE);
        assert_int_equal(rt_table_update(r, no[k], SLICE("k"), NULL, NULL), ERR_NO_TABLE);
        assert_int_equal(rt_table_lookup(r, no[k], SLICE("k"), &v), ERR_NO_TABLE);
        assert_int_equal(rt_table_fold(r, no[k], &at, 1, NULL, NULL), ERR_NO_TABLE);
        assert_int_equal(rt_table_chains(r, no[k], &at, 1, &s, &buckets), ERR_NO_TABLE);
        assert_int_equal(rt_table_info_of(r, no[k], &i), ERR_NO_TABLE);
    }
    rt_epoch_end(&r);
    err e = ERR_OK;
    for (unsigned k = 0; k < RT_TABLES_MAX && !e; k++) e = node_table_err(w, &(rt_table_cfg){.stripes = 1});
    assert_int_equal(e, ERR_LIMIT);
    world_free(w);
}

/* --- against a model, through growing and shrinking --------------------------------------------------------------------------------- */
enum { MODEL = 4000 };
typedef struct walk {
    uint8_t seen[MODEL];
    size_t n;
} walk;
static bool see(void *arg, slice key, slice value) {
    walk *x = arg;
    uint64_t k, v;
    assert_int_equal(key.len, sizeof k);
    memcpy(&k, key.p, sizeof k);
    memcpy(&v, value.p, sizeof v);
    assert_true(k < MODEL && v % MODEL == k);
    x->seen[k]++;
    x->n++;
    return true;
}
static void a_table_holds_what_a_model_holds_whatever_its_size(void **state) {
    (void)state;
    for (unsigned stripes = 1; stripes <= 16; stripes *= 4) {
        world *w = keepers_world(1);
        rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE, .stripes = stripes});
        uint64_t model[MODEL] = {0}, n = 0;
        prng rng;
        prng_init(&rng, stripes);
        for (unsigned phase = 0; phase < 8; phase++) { /* filling and emptying in turn */
            rt_reader *r = rt_epoch_begin(w->n);
            for (unsigned i = 0; i < 3 * MODEL; i++) {
                uint64_t k = prng_below(&rng, MODEL), v = k + MODEL * (1 + prng_below(&rng, 1000));
                if (prng_below(&rng, 10) < (phase % 2 ? 1u : 9u)) {
                    assert_int_equal(rt_table_insert(r, t, KEY(k), KEY(v)), ERR_OK);
                    n += model[k] == 0;
                    model[k] = v;
                } else {
                    assert_int_equal(rt_table_delete(r, t, KEY(k)), model[k] ? ERR_OK : ERR_NOT_FOUND);
                    n -= model[k] != 0;
                    model[k] = 0;
                }
            }
            walk x = {.n = 0};
            rt_table_at at = {0};
            while (!at.done) assert_int_equal(rt_table_fold(r, t, &at, 100, see, &x), ERR_OK);
            assert_int_equal(x.n, n);
            for (uint64_t k = 0; k < MODEL; k++) {
                slice v;
                assert_int_equal(x.seen[k], model[k] != 0);
                assert_int_equal(rt_table_lookup(r, t, KEY(k), &v), model[k] ? ERR_OK : ERR_NOT_FOUND);
                if (model[k]) assert_memory_equal(v.p, &model[k], sizeof model[k]);
            }
            assert_int_equal(info_read(r, t).entries, n);
            rt_epoch_end(&r);
            assert_int_equal(atomic_load_explicit(&w->n->epochs.bytes, memory_order_relaxed), 0); /* nobody reads: nothing waits */
        }
        world_free(w);
    }
}

/* Keys below MODEL / 2 stay; the others come and go between the parts, so that the arrays grow and shrink. */
static void a_walk_sees_what_stays_exactly_once_while_the_table_changes_its_size(void **state) {
    (void)state;
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE, .stripes = 4});
    for (unsigned seed = 1; seed <= 20; seed++) {
        prng rng;
        prng_init(&rng, seed);
        uint64_t stay = 20 + prng_below(&rng, 200);
        walk x = {.n = 0};
        rt_table_at at = {0};
        rt_reader *r = rt_epoch_begin(w->n);
        for (uint64_t k = 0; k < stay; k++) assert_int_equal(rt_table_insert(r, t, KEY(k), KEY(k)), ERR_OK);
        for (unsigned part = 0; !at.done; part++) {
            assert_int_equal(rt_table_fold(r, t, &at, 1 + prng_below(&rng, 8), see, &x), ERR_OK);
            for (uint64_t k = MODEL / 2; k < MODEL && part % 4 == seed % 4; k++) {
                if (part % 8 < 4)
                    (void)!rt_table_insert(r, t, KEY(k), KEY(k));
                else
                    (void)!rt_table_delete(r, t, KEY(k));
            }
        }
        for (uint64_t k = 0; k < MODEL; k++) assert_true(k < stay ? x.seen[k] == 1 : x.seen[k] <= 1);
        for (uint64_t k = 0; k < MODEL; k++) (void)!rt_table_delete(r, t, KEY(k));
        rt_epoch_end(&r);
    }
    world_free(w);
}

static bool first_only(void *arg, slice key, slice value) {
    (void)key, (void)value;
    return ++*(unsigned *)arg == 0;
}
static void a_walk_ends_where_it_is_told_to(void **state) {
    (void)state;
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE});
    rt_reader *r = rt_epoch_begin(w->n);
    for (uint64_t k = 0; k < 100; k++) assert_int_equal(rt_table_insert(r, t, KEY(k), KEY(k)), ERR_OK);
    unsigned n = 0;
    rt_table_at at = {0};
    for (unsigned i = 0; i < 3; i++) assert_int_equal(rt_table_fold(r, t, &at, 1000, first_only, &n), ERR_OK);
    assert_true(at.done && n == 1);
    rt_epoch_end(&r);
    world_free(w);
}

/* --- reading and writing in one step ------------------------------------------------------------------------------------------------ */
static rt_table_verdict add_one(void *arg, slice old, slice *value) {
    uint64_t *x = arg, was = 0;
    if (old.p) memcpy(&was, old.p, sizeof was);
    if (was == 3) return RT_TABLE_REMOVE;
    if (*x == UINT64_MAX) return RT_TABLE_KEEP;
    *x = was + 1;
    *value = KEY(*x);
    return RT_TABLE_PUT;
}
static void an_update_reads_and_writes_in_one_step(void **state) {
    (void)state;
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE});
    rt_reader *r = rt_epoch_begin(w->n);
    uint64_t x = UINT64_MAX;
    slice v;
    assert_int_equal(rt_table_update(r, t, SLICE("k"), add_one, &x), ERR_OK); /* kept: there is none */
    assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_NOT_FOUND);
    x = 0;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(rt_table_update(r, t, SLICE("k"), add_one, &x), ERR_OK);
        assert_int_equal(rt_table_lookup(r, t, SLICE("k"), &v), ERR_OK);
        assert_memory_equal(v.p, &i, sizeof i);
    }
    assert_int_equal(rt_table_update(r, t, SLICE("k"), add_one, &x), ERR_OK); /* removed */
    assert_int_equal(info_read(r, t).entries, 0);
    rt_epoch_end(&r);
    world_free(w);
}

/* --- limits ------------------------------------------------------------------------------------------------------------------------- */
static void a_full_table_refuses_more_and_lets_go(void **state) {
    (void)state;
    static uint8_t big[10000];
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE, .stripes = 4, .bytes_max = 200000});
    rt_reader *r = rt_epoch_begin(w->n);
    uint64_t k = 0;
    err e = ERR_OK;
    for (; !e; k++) e = rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big));
    assert_int_equal(e, ERR_LIMIT);
    assert_true(k >= 19 && k <= 20); /* all of it can be used, however the keys fall on the stripes */
    k = 0;
    assert_int_equal(rt_table_insert(r, t, KEY(k), SLICE("smaller")), ERR_OK); /* that is no growth */
    uint64_t other = 1000;
    assert_int_equal(rt_table_insert(r, t, KEY(other), slice_of(big, sizeof big - 100)), ERR_OK);
    assert_int_equal(rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big)), ERR_LIMIT);
    assert_int_equal(rt_table_delete(r, t, KEY(other)), ERR_OK);
    assert_int_equal(rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big)), ERR_OK);
    rt_epoch_end(&r);
    assert_true(info_of(w->n, t).bytes <= 200000);
    world_free(w);
}

static void what_readers_keep_from_being_freed_is_limited(void **state) {
    (void)state;
    static uint8_t big[100000];
    world *w = keepers_world(1);
    w->n->cfg.table_wait_max = 1000000;
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE});
    rt_reader *stays = rt_epoch_begin(w->n);
    err e = ERR_OK;
    uint64_t k = 0, n = 0;
    for (; !e && n < 1000; n++) { /* each in a section of its own */
        rt_reader *r = rt_epoch_begin(w->n);
        e = rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big - n));
        if (!e) e = rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big));
        rt_epoch_end(&r);
    }
    assert_int_equal(e, ERR_FULL);
    assert_true(n < 10);
    rt_reader *r = rt_epoch_begin(w->n);
    assert_int_equal(rt_table_delete(r, t, KEY(k)), ERR_OK);
    rt_epoch_end(&r);
    assert_true(atomic_load_explicit(&w->n->epochs.bytes, memory_order_relaxed) > 0);
    rt_epoch_end(&stays);
    assert_int_equal(atomic_load_explicit(&w->n->epochs.bytes, memory_order_relaxed), 0);
    r = rt_epoch_begin(w->n);
    assert_int_equal(rt_table_insert(r, t, KEY(k), slice_of(big, sizeof big)), ERR_OK);
    rt_epoch_end(&r);
    world_free(w);
}

/* --- who may write -------------------------------------------------------------------------------------------------------------------- */
static void only_the_owner_writes_unless_all_may(void **state) {
    (void)state;
    world *w = keepers_world(2);
    keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "a"}), *b = keeper_start(w, 1, NULL), *c = keeper_start(w, 0, NULL);
    b->table = c->table = a->table;
    assert_int_equal(keep(w, a, put_number, 1), ERR_OK);
    assert_int_equal(keep(w, b, put_number, 2), ERR_PERM);
    assert_int_equal(keep(w, c, put_number, 2), ERR_PERM);
    assert_int_equal(keep(w, b, drop, 0), ERR_PERM);
    assert_int_equal(keep(w, b, give, ARG(c)), ERR_PERM);
    assert_int_equal(keep(w, b, name_heir, ARG(c)), ERR_PERM);
    rt_reader *r = rt_epoch_begin(w->n);
    assert_int_equal(rt_table_insert(r, a->table, SLICE("k"), SLICE("v")), ERR_PERM);
    assert_int_equal(rt_table_delete(r, a->table, SLICE("k")), ERR_PERM);
    rt_epoch_end(&r);
    assert_int_equal(peek(w->n, a->table, 1), ERR_OK);
    keeper *p = keeper_start(w, 0, &(rt_table_cfg){.name = "p", .writers = RT_TABLE_ALL_WRITE});
    b->table = p->table;
    assert_int_equal(keep(w, b, put_number, 2), ERR_OK);
    assert_int_equal(peek(w->n, p->table, 2), ERR_OK);
    assert_int_equal(keep(w, p, drop, 0), ERR_OK);
    assert_int_equal(peek(w->n, p->table, 2), ERR_NO_TABLE);
    assert_int_equal(keep(w, p, drop, 0), ERR_NO_TABLE);
    assert_int_equal(keep(w, p, give, ARG(b)), ERR_NO_TABLE);
    assert_int_equal(keep(w, p, name_heir, 0), ERR_NO_TABLE);
    assert_true(whereis(w->n, "p") == 0 && whereis(w->n, "a") == a->table);
    world_free(w);
    mem_free(a), mem_free(b), mem_free(c), mem_free(p);
}

/* --- heirs ---------------------------------------------------------------------------------------------------------------------------- */
static void a_table_passes_to_its_heir_before_the_end_is_told(void **state) {
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) { /* the heir's: the owner's, and another */
        world *w = keepers_world(2);
        keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "t"}), *h = keeper_start(w, shard, NULL);
        assert_int_equal(keep(w, a, put_number, 7), ERR_OK);
        assert_int_equal(keep(w, a, name_heir, ARG(h)), ERR_OK);
        assert_int_equal(keep(w, h, watch, ARG(a)), ERR_OK);
        assert_true(rt_pid_eq(info_of(w->n, a->table).heir, h->pid));
        rt_reader *r = rt_epoch_begin(w->n);
        slice v;
        uint64_t x = 7;
        assert_int_equal(rt_table_lookup(r, a->table, KEY(x), &v), ERR_OK);
        crash(w, a);
        assert_true(a->finis == 1 && h->downs == 1 && h->transfers == 1 && !h->transfer_after_down);
        assert_true(h->got.table == a->table && rt_pid_eq(h->got.from, a->pid) && h->got.reason == ERR_IO);
        assert_string_equal(h->data, "will");
        assert_true(slice_eq(v, KEY(x)) && rt_table_whereis(r, SLICE("t")) == h->table); /* readers notice nothing */
        rt_epoch_end(&r);
        assert_int_equal(peek(w->n, h->table, 7), ERR_OK);
        assert_int_equal(keep(w, h, put_number, 8), ERR_OK);
        keeper *b = keeper_start(w, 1, NULL);
        assert_int_equal(keep(w, h, give, ARG(b)), ERR_OK);
        assert_true(b->transfers == 1 && b->got.reason == ERR_OK && rt_pid_eq(b->got.from, h->pid));
        assert_string_equal(b->data, "gift");
        assert_int_equal(keep(w, h, put_number, 9), ERR_PERM);
        assert_int_equal(keep(w, b, put_number, 9), ERR_OK);
        crash(w, b); /* h is the heir still */
        assert_true(h->transfers == 2 && rt_pid_eq(info_of(w->n, h->table).owner, h->pid));
        crash(w, h); /* and nobody is h's */
        assert_int_equal(peek(w->n, a->table, 7), ERR_NO_TABLE);
        assert_int_equal(whereis(w->n, "t"), 0);
        world_free(w);
        mem_free(a), mem_free(h), mem_free(b);
    }
}

static void a_table_whose_heir_has_ended_too_is_freed(void **state) {
    (void)state;
    for (unsigned shard = 0; shard < 2; shard++) {
        world *w = keepers_world(2);
        keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "t"}), *h = keeper_start(w, shard, NULL);
        assert_int_equal(keep(w, a, name_heir, ARG(h)), ERR_OK);
        crash(w, h);
        crash(w, a);
        assert_int_equal(whereis(w->n, "t"), 0);
        a->create = node_table_err(w, &(rt_table_cfg){.name = "t"}); /* the name is free */
        assert_int_equal(a->create, ERR_OK);
        world_free(w);
        mem_free(a), mem_free(h);
    }
}

static void both_end(rt_ctx *cx, puppet *p, uint64_t arg) {
    keeper *const *k = (keeper *const *)(uintptr_t)arg;
    (void)p;
    rt_exit(cx, k[0]->pid, ERR_KILLED);
    rt_exit(cx, k[1]->pid, ERR_KILLED);
}
static void a_table_under_way_to_an_heir_that_ends_is_freed_or_goes_on(void **state) {
    (void)state;
    world *w = keepers_world(2);
    keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "t"}), *h = keeper_start(w, 1, NULL), *k[] = {a, h};
    puppet *p = puppet_new(w, 1, &puppet_class);
    assert_int_equal(keep(w, a, name_heir, ARG(h)), ERR_OK);
    tell(w, p, both_end, ARG(k)); /* h at once, a when the ring is read: h is gone when the table comes */
    (void)world_run(w);
    assert_true(a->finis == 1 && h->finis == 1 && h->transfers == 0);
    assert_int_equal(whereis(w->n, "t"), 0);
    /* Given to one that has ended on another shard, it goes to the heir as if that one had had it. */
    keeper *b = keeper_start(w, 0, &(rt_table_cfg){.name = "t"}), *heir = keeper_start(w, 0, NULL);
    assert_int_equal(keep(w, b, name_heir, ARG(heir)), ERR_OK);
    assert_int_equal(keep(w, b, give, ARG(h)), ERR_OK);
    assert_true(heir->transfers == 1 && rt_pid_eq(heir->got.from, h->pid) && heir->got.reason == ERR_NOPROC);
    assert_string_equal(heir->data, "will");
    assert_int_equal(keep(w, heir, give, ARG(a)), ERR_NOPROC); /* on the same shard that is known at once */
    assert_int_equal(keep(w, heir, give, ARG(heir)), ERR_INVALID);
    assert_int_equal(keep(w, heir, put_number, 1), ERR_OK);
    world_free(w);
    mem_free(a), mem_free(h), mem_free(b), mem_free(heir), mem_free(p);
}

static void an_actor_whose_init_fails_leaves_no_table(void **state) {
    (void)state;
    world *w = keepers_world(1);
    keeper *h = keeper_start(w, 0, NULL), *a = mem_zalloc(sizeof *a);
    a->cfg = (rt_table_cfg){.name = "t", .heir = h->pid};
    a->init_result = ERR_IO;
    spawn_arg s = {&keeper_class, &a, RT_PID_NONE, ERR_OK};
    rt_node_boot(w->n, 0, spawn_boot, &s);
    (void)world_run(w);
    assert_int_equal(s.e, ERR_IO);
    assert_true(a->create == ERR_OK && h->transfers == 0 && whereis(w->n, "t") == 0);
    world_free(w);
    mem_free(a), mem_free(h);
}

static unsigned stripe_locks(rt_node *n);
static void count_lock(void *arg, const lock *l) { *(unsigned *)arg += strcmp(l->name, "table") == 0; }
static unsigned stripe_locks(rt_node *n) {
    unsigned k = 0;
    lock_set_each(rt_node_locks(n), count_lock, &k);
    return k;
}
static void a_table_without_an_heir_is_freed_when_the_last_reader_is_out(void **state) {
    (void)state;
    world *w = keepers_world(2);
    keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "t", .stripes = 8});
    unsigned before = stripe_locks(w->n); /* they go when its memory does */
    assert_int_equal(keep(w, a, put_number, 5), ERR_OK);
    rt_reader *one = rt_epoch_begin(w->n), *two = rt_epoch_begin(w->n);
    slice v, u;
    uint64_t x = 5;
    assert_int_equal(rt_table_lookup(one, a->table, KEY(x), &v), ERR_OK);
    assert_int_equal(rt_table_lookup(two, a->table, KEY(x), &u), ERR_OK);
    crash(w, a);
    assert_int_equal(rt_table_lookup(one, a->table, KEY(x), &v), ERR_NO_TABLE); /* for who comes now */
    assert_true(slice_eq(v, KEY(x)));                                           /* who was there reads on */
    assert_int_equal(stripe_locks(w->n), before);
    rt_epoch_end(&one);
    assert_int_equal(stripe_locks(w->n), before);
    assert_true(slice_eq(u, KEY(x)));
    rt_epoch_end(&two);
    assert_int_equal(stripe_locks(w->n), before - 8);
    world_free(w);
    mem_free(a);
}

/* --- supervisors -------------------------------------------------------------------------------------------------------------------- */
typedef struct house {
    world *w;
    keeper *kid[2];
    rt_child child[2];
    rt_sup_spec spec;
    rt_pid sup;
} house;
static house *house_new(rt_sup_strategy how, rt_restart restart, bool kept) {
    house *h = mem_zalloc(sizeof *h);
    static const char *const names[] = {"first", "second"};
    h->w = keepers_world(1);
    for (unsigned i = 0; i < 2; i++) {
        h->kid[i] = mem_zalloc(sizeof(keeper));
        h->kid[i]->cfg = (rt_table_cfg){.name = names[i]};
        h->child[i] = (rt_child){names[i], &keeper_class, &h->kid[i], restart, 50 * USEC_PER_MSEC, kept};
    }
    h->spec = (rt_sup_spec){how, 3, USEC_PER_SEC, h->child, 2, false};
    h->sup = world_spawn(h->w, 0, &rt_sup_class, &h->spec);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(keep(h->w, h->kid[i], put_number, i), ERR_OK);
    return h;
}
static void house_free(house *h) {
    world_free(h->w);
    for (unsigned i = 0; i < 2; i++) mem_free(h->kid[i]);
    mem_free(h);
}

static void a_supervisor_gives_a_childs_tables_to_its_successor(void **state) {
    (void)state;
    house *h = house_new(RT_ONE_FOR_ONE, RT_PERMANENT, true);
    keeper *k = h->kid[0];
    rt_tid t = k->table;
    assert_true(rt_pid_eq(info_of(h->w->n, t).heir, h->sup));
    for (unsigned life = 2; life <= 4; life++) {
        rt_pid was = k->pid;
        crash(h->w, k);
        assert_true(k->inits == life && !rt_pid_eq(was, k->pid));
        assert_int_equal(k->create, ERR_EXISTS); /* that is how its init knows */
        assert_true(k->transfers == life - 1 && k->got.table == t && rt_pid_eq(k->got.from, h->sup));
        assert_true(rt_pid_eq(info_of(h->w->n, t).owner, k->pid));
        assert_int_equal(peek(h->w->n, t, 0), ERR_OK);
        assert_int_equal(keep(h->w, k, put_number, life), ERR_OK);
    }
    assert_int_equal(h->kid[1]->inits, 1);
    crash(h->w, k); /* once too often: the supervisor ends, and nobody inherits from it */
    assert_true(k->finis == 4 && h->kid[1]->finis == 1);
    assert_true(whereis(h->w->n, "first") == 0 && whereis(h->w->n, "second") == 0);
    house_free(h);
}

static void children_that_are_stopped_for_a_restart_keep_their_tables(void **state) {
    (void)state;
    house *h = house_new(RT_ONE_FOR_ALL, RT_PERMANENT, true);
    rt_tid t[] = {h->kid[0]->table, h->kid[1]->table};
    crash(h->w, h->kid[1]);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(h->kid[i]->inits == 2 && h->kid[i]->transfers == 1 && h->kid[i]->table == t[i]);
        assert_int_equal(peek(h->w->n, t[i], i), ERR_OK);
    }
    house_free(h);
}

static void tables_of_a_child_that_does_not_come_back_are_freed(void **state) {
    (void)state;
    house *h = house_new(RT_ONE_FOR_ONE, RT_TEMPORARY, true);
    crash(h->w, h->kid[0]);
    assert_true(h->kid[0]->inits == 1 && whereis(h->w->n, "first") == 0 && whereis(h->w->n, "second") != 0);
    house_free(h);
    h = house_new(RT_ONE_FOR_ONE, RT_PERMANENT, false); /* one whose tables are not kept makes new ones */
    rt_tid t = h->kid[0]->table;
    crash(h->w, h->kid[0]);
    assert_true(h->kid[0]->create == ERR_OK && h->kid[0]->table != t && peek(h->w->n, h->kid[0]->table, 0) == ERR_NOT_FOUND);
    house_free(h);
}

/* --- looks ---------------------------------------------------------------------------------------------------------------------------- */
static void look(world *w, char *out, size_t max, const char *const *words) {
    buf q, a;
    buf_init(&q, 4096);
    buf_init(&a, 1 << 20);
    for (size_t i = 0; words[i]; i++) {
        buf_add_lslice(&q, slice_str(words[i]));
        if (i == 1) buf_add_lslice(&q, SLICE(""));
    }
    rt_ctl_run(w->n, 0, buf_slice(&q), &a);
    (void)snprintf(out, max, SLICE_FMT, SLICE_ARG(buf_slice(&a)));
    buf_fini(&a);
    buf_fini(&q);
}
#define LOOK(w, out, ...) look(w, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})
#define HAS(text, part)                                                                                                                    \
    do {                                                                                                                                   \
        if (!strstr(text, part)) fail_msg("%s does not contain %s", text, part);                                                           \
    } while (0)

static void tables_are_listed_the_largest_first(void **state) {
    (void)state;
    static char text[1 << 16];
    world *w = keepers_world(1);
    keeper *h = keeper_start(w, 0, NULL);
    keeper *a = keeper_start(w, 0, &(rt_table_cfg){.name = "large", .stripes = 2, .heir = h->pid, .bytes_max = 1000000});
    for (uint64_t i = 0; i < 100; i++) assert_int_equal(keep(w, a, put_number, i), ERR_OK);
    LOOK(w, text, "tables", "list");
    HAS(text, "[{\"table\":\"large\",\"id\":3,\"owner\":\"<0.0.1.1>\",\"heir\":\"<0.0.0.1>\",\"writers\":\"owner\",\"entries\":100,");
    HAS(text, "\"bytes_max\":1000000,\"stripes\":2,\"first_lock\":3072}");
    HAS(text, "\"table\":\"rt.names\",\"id\":2,\"owner\":\"node\",\"heir\":\"\"");
    LOOK(w, text, "tables", "list", "1");
    HAS(text, "\"large\"");
    assert_null(strstr(text, "rt.names"));
    LOOK(w, text, "tables", "list", "0");
    HAS(text, "'0' is not a number from 1 to 4096");
    LOOK(w, text, "tables", "chains");
    HAS(text, "{\"table\":\"large\",\"id\":3,\"shard\":\"-\",\"entries\":100,");
    LOOK(w, text, "locks", "on");
    assert_int_equal(keep(w, a, put_number, 1), ERR_OK);
    LOOK(w, text, "locks", "instances", "table");
    HAS(text, "\"id\":\"3072\"");
    HAS(text, "\"tries\":1,");
    world_free(w);
    mem_free(a), mem_free(h);
}

/* The bits of a key that choose its stripe say nothing about its bucket there, nor the other way round (system.md G6). */
static void keys_spread_over_stripes_and_buckets(void **state) {
    (void)state;
    enum { KEYS = 64 * 400, STRIPES = 64 };
    world *w = keepers_world(1);
    rt_tid t = node_table(w, &(rt_table_cfg){.writers = RT_TABLE_ALL_WRITE, .stripes = STRIPES});
    rt_reader *r = rt_epoch_begin(w->n);
    for (uint64_t k = 0; k < KEYS; k++) assert_int_equal(rt_table_insert(r, t, KEY(k), KEY(k)), ERR_OK);
    hmap_chains s = {0};
    rt_table_at at = {0};
    size_t buckets = 0;
    while (!at.done) assert_int_equal(rt_table_chains(r, t, &at, 1000, &s, &buckets), ERR_OK);
    assert_true(s.entries == KEYS && s.longest <= 8);
    assert_true(s.used * 100 >= KEYS * 60 && buckets <= 2 * KEYS); /* 512 buckets for 400: a good hash uses 54 %, which is 69 % of 400 */
    rt_epoch_end(&r);
    world_free(w);
}

/* --- live: owners that crash under readers and writers on other threads --------------------------------------------------------------- */
static sys *the_sys;
enum { NUMBERS = 500, CRASHES = 30 };
typedef struct pair { /* a value: the two always agree */
    uint64_t a, b;
} pair;
typedef struct live {
    rt_node *n;
    rt_tid t;
    _Atomic bool stop;       /* relaxed: the threads are joined */
    _Atomic uint64_t rounds; /* of readers; relaxed: to see that they go on */
    uint64_t wrong[3];       /* a thread's own, read after it is joined */
    keeper *k;
    rt_child child;
    rt_sup_spec spec;
    rt_pid sup;
} live;
typedef struct live_thread {
    live *l;
    unsigned id;
    pthread_t t;
} live_thread;

/* Reads all of it, again and again: every number is there, whole, whoever owns the table. */
static void *read_all(void *arg) {
    live_thread *x = arg;
    live *l = x->l;
    uint64_t wrong = 0;
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        rt_reader *r = rt_epoch_begin(l->n);
        for (uint64_t k = 0; k < NUMBERS; k++) {
            slice v = SLICE_NULL;
            pair p = {0, 1};
            if (rt_table_lookup(r, l->t, KEY(k), &v) == ERR_OK) memcpy(&p, v.p, sizeof p);
            wrong += p.a != p.b;
        }
        wrong += rt_table_whereis(r, SLICE("live")) != l->t;
        rt_epoch_end(&r);
        (void)atomic_fetch_add_explicit(&l->rounds, 1, memory_order_relaxed);
        (void)sched_yield();
    }
    l->wrong[x->id] = wrong;
    return NULL;
}
/* Replaces values, and makes the arrays grow and shrink by keys that nobody looks for. */
static void *write_all(void *arg) {
    live_thread *x = arg;
    live *l = x->l;
    uint64_t wrong = 0;
    for (uint64_t i = 0; !atomic_load_explicit(&l->stop, memory_order_relaxed); i++) {
        rt_reader *r = rt_epoch_begin(l->n);
        for (uint64_t k = 0; k < NUMBERS; k++) {
            pair p = {i, i};
            uint64_t other = k + NUMBERS;
            wrong += rt_table_insert(r, l->t, KEY(k), KEY(p)) != ERR_OK;
            err e = i % 2 ? rt_table_delete(r, l->t, KEY(other)) : rt_table_insert(r, l->t, KEY(other), KEY(p));
            wrong += e != ERR_OK && e != ERR_NOT_FOUND;
        }
        rt_epoch_end(&r);
        (void)sched_yield();
    }
    l->wrong[x->id] = wrong;
    return NULL;
}

/* Answers with what it knows of its table, once it owns it. */
static err live_handle(rt_ctx *cx, void *st, rt_msg **m) {
    keeper *k = *(keeper **)st;
    if ((*m)->tag != T_NOTE || t_note_of(*m)->n == 0) return keeper_handle(cx, st, m);
    note(cx, (*m)->sender, k->transfers);
    return ERR_OK;
}
static const rt_class live_class = {
    .name = "live", .state_size = sizeof(keeper *), .init = keeper_init, .handle = live_handle, .fini = keeper_fini};

/* How many transfers the keeper has had; asked again until it has had them all: each answer is an event. */
static void wait_for_transfers(live *l, rt_tid t, unsigned wanted) {
    usec end = the_sys->mono(the_sys) + PATIENCE;
    for (uint64_t had = 0; had < wanted;) {
        rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note)), *reply = NULL;
        rt_pid owner = info_of(l->n, t).owner;
        t_note_of(m)->n = 1;
        if (rt_pid_eq(owner, l->sup)) { /* for a moment */
            rt_msg_drop(l->n, &m);
            (void)sched_yield();
        } else if (rt_call(l->n, owner, &m, PATIENCE, &reply) == ERR_OK) { /* else it has ended meanwhile */
            had = t_note_of(reply)->n;
            rt_msg_drop(l->n, &reply);
        }
        assert_true(the_sys->mono(the_sys) < end);
    }
}

static void readers_and_writers_on_other_threads_do_not_notice_that_owners_crash(void **state) {
    (void)state;
    live l = {.n = NULL};
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.shards = 2;
    c.ctl_path = c.recorder_path = NULL;
    assert_int_equal(rt_node_new(&c, the_sys, NULL, &l.n), ERR_OK);
    rt_log_level(l.n, RT_ERROR + 1);
    rt_node_add_msgs(l.n, t_msgs, ARRAY_LEN(t_msgs));
    l.k = mem_zalloc(sizeof *l.k);
    l.k->cfg = (rt_table_cfg){.name = "live", .writers = RT_TABLE_ALL_WRITE, .stripes = 4};
    l.child = (rt_child){"live", &live_class, &l.k, RT_PERMANENT, USEC_PER_SEC, true};
    l.spec = (rt_sup_spec){RT_ONE_FOR_ONE, CRASHES + 1, USEC_PER_SEC, &l.child, 1, false};
    spawn_arg s = {&rt_sup_class, &l.spec, RT_PID_NONE, ERR_OK};
    rt_node_boot(l.n, 1, spawn_boot, &s);
    l.t = l.k->table;
    l.sup = s.pid;
    rt_reader *r = rt_epoch_begin(l.n);
    pair p = {0, 0};
    for (uint64_t k = 0; k < NUMBERS; k++) assert_int_equal(rt_table_insert(r, l.t, KEY(k), KEY(p)), ERR_OK);
    rt_epoch_end(&r);
    assert_int_equal(rt_node_start(l.n), ERR_OK);
    live_thread t[3];
    for (unsigned i = 0; i < 3; i++) {
        t[i] = (live_thread){.l = &l, .id = i};
        assert_int_equal(pthread_create(&t[i].t, NULL, i == 2 ? write_all : read_all, &t[i]), 0);
    }
    for (unsigned i = 1; i <= CRASHES; i++) {
        rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
        rt_post(l.n, info_of(l.n, l.t).owner, &m);
        wait_for_transfers(&l, l.t, i);
    }
    uint64_t rounds = atomic_load_explicit(&l.rounds, memory_order_relaxed);
    while (atomic_load_explicit(&l.rounds, memory_order_relaxed) < rounds + 4) (void)sched_yield();
    atomic_store_explicit(&l.stop, true, memory_order_relaxed);
    for (unsigned i = 0; i < 3; i++) (void)pthread_join(t[i].t, NULL);
    rt_node_stop(l.n);
    assert_true(l.wrong[0] == 0 && l.wrong[1] == 0 && l.wrong[2] == 0);
    assert_int_equal(l.k->inits, CRASHES + 1);
    rt_node_free(l.n);
    mem_free(l.k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_put_found_replaced_and_deleted),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_table_holds_what_a_model_holds_whatever_its_size),
        cmocka_unit_test(a_walk_sees_what_stays_exactly_once_while_the_table_changes_its_size),
        cmocka_unit_test(a_walk_ends_where_it_is_told_to),
        cmocka_unit_test(an_update_reads_and_writes_in_one_step),
        cmocka_unit_test(a_full_table_refuses_more_and_lets_go),
        cmocka_unit_test(what_readers_keep_from_being_freed_is_limited),
        cmocka_unit_test(only_the_owner_writes_unless_all_may),
        cmocka_unit_test(a_table_passes_to_its_heir_before_the_end_is_told),
        cmocka_unit_test(a_table_whose_heir_has_ended_too_is_freed),
        cmocka_unit_test(a_table_under_way_to_an_heir_that_ends_is_freed_or_goes_on),
        cmocka_unit_test(an_actor_whose_init_fails_leaves_no_table),
        cmocka_unit_test(a_table_without_an_heir_is_freed_when_the_last_reader_is_out),
        cmocka_unit_test(a_supervisor_gives_a_childs_tables_to_its_successor),
        cmocka_unit_test(children_that_are_stopped_for_a_restart_keep_their_tables),
        cmocka_unit_test(tables_of_a_child_that_does_not_come_back_are_freed),
        cmocka_unit_test(tables_are_listed_the_largest_first),
        cmocka_unit_test(keys_spread_over_stripes_and_buckets),
        cmocka_unit_test(readers_and_writers_on_other_threads_do_not_notice_that_owners_crash),
    };
    if (sys_linux_new(&the_sys) != ERR_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sys_linux_free(the_sys);
    return failed;
}
