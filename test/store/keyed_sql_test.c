/* keyed_sql_test: accounts, rosters and blocklists through SQLite on the simulated disk: what was committed survives a power cut, a full
 * disk and a failed sync are said so, damage is found and costs no more than what lies on it. */
#include "base/mem.h"
#include "store/keyed_sql.h"
#include "support/memsys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define DB "accounts.db"

static store_keys keys_of(unsigned n) {
    store_keys k = {.iterations = 4096 + n, .salt_len = 16, .key_len = 32};
    memset(k.salt, (int)(n & 0xff), 16);
    memset(k.stored_key, (int)(n + 1) & 0xff, 32);
    memset(k.server_key, (int)(n + 2) & 0xff, 32);
    return k;
}
static slice name_of(unsigned n, char out[32]) {
    (void)snprintf(out, 32, "user%05u@localhost", n);
    return slice_str(out);
}

typedef struct damage {
    unsigned n;
    char text[256];
} damage;
static void on_damage(void *arg, const char *text) {
    damage *d = arg;
    d->n++;
    (void)snprintf(d->text, sizeof d->text, "%s", text);
}

static err try_open(memsys *m, damage *d, store_sql **out) {
    char why[256] = "";
    return store_sql_open(&m->sys, DB, d ? on_damage : NULL, d, out, why);
}
static store_sql *open_sql(memsys *m) {
    store_sql *q = NULL;
    assert_int_equal(try_open(m, NULL, &q), ERR_OK);
    return q;
}

static err apply_ops(store_sql *q, store_ops *o) {
    err e = store_sql_begin(q);
    if (e == ERR_OK) {
        e = store_sql_apply(q, o);
        if (e == ERR_OK)
            e = store_sql_commit(q);
        else
            store_sql_rollback(q);
    }
    store_ops_box(o)->free(store_ops_box(o));
    return e;
}

static err add_user(store_sql *q, unsigned n) {
    char name[32];
    store_keys a = keys_of(n), none = {0};
    store_ops *o = store_ops_new();
    store_ops_user_add(o, name_of(n, name), n % 2 ? &a : &none, &a, 1000 + n);
    return apply_ops(q, o);
}

static void expect_user(store_sql *q, unsigned n) {
    char name[32];
    store_user *u;
    store_keys k = keys_of(n);
    assert_int_equal(store_sql_load(q, name_of(n, name), &u), ERR_OK);
    assert_true(slice_is(u->jid, name));
    assert_memory_equal(&u->sha256, &k, sizeof k);
    assert_int_equal(u->sha1.key_len, n % 2 ? 32 : 0);
    assert_int_equal(u->created, 1000 + n);
    u->box.free(&u->box);
}

/* How many calls a lookup of the keys makes when nothing is in memory. */
static uint64_t calls_of_keys(memsys *m, const char *name, err status) {
    store_sql *q = open_sql(m);
    store_user *u = NULL;
    uint64_t before = m->calls;
    assert_int_equal(store_sql_load_keys(q, slice_str(name), &u), status);
    uint64_t calls = m->calls - before;
    assert_true(slice_is(u->jid, name));
    assert_true(u->n_items == 0 && u->n_blocks == 0);
    const store_keys none = {0};
    if (status == ERR_NOT_FOUND) {
        assert_memory_equal(&u->sha1, &none, sizeof none); /* nobody else's either */
        assert_memory_equal(&u->sha256, &none, sizeof none);
    } else
        assert_int_equal(u->sha256.key_len, 32);
    u->box.free(&u->box);
    store_sql_close(q);
    return calls;
}

/* A login: an account with a large roster costs as much as a name that nobody has, also before the first and behind the last account. */
static void keys_cost_the_same_reads_for_every_name(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 8);
    store_sql *q = open_sql(&m);
    store_user *u = NULL;
    assert_int_equal(store_sql_load_keys(q, SLICE("nobody@localhost"), &u), ERR_NOT_FOUND); /* nobody is there at all */
    u->box.free(&u->box);
    for (unsigned i = 0; i < 400; i++) assert_int_equal(add_user(q, i), ERR_OK);
    store_ops *o = store_ops_new();
    for (unsigned i = 0; i < 500; i++) {
        char jid[64];
        (void)snprintf(jid, sizeof jid, "contact%u@somewhere.example.org", i);
        store_item it = {.jid = slice_str(jid), .ver = i + 1, .in_roster = true};
        store_ops_roster_put(o, SLICE("user00200@localhost"), &it);
    }
    assert_int_equal(apply_ops(q, o), ERR_OK);
    assert_int_equal(store_sql_checkpoint(q), ERR_OK);
    store_sql_close(q);
    uint64_t known = calls_of_keys(&m, "user00200@localhost", ERR_OK);
    assert_true(known > 0);
    assert_int_equal(calls_of_keys(&m, "user00199@localhost!", ERR_NOT_FOUND), known); /* its neighbour */
    assert_int_equal(calls_of_keys(&m, "a@localhost", ERR_NOT_FOUND), calls_of_keys(&m, "user00000@localhost", ERR_OK));
    uint64_t behind = calls_of_keys(&m, "zoe@localhost", ERR_NOT_FOUND), last = calls_of_keys(&m, "user00399@localhost", ERR_OK);
    assert_true(behind >= last && behind <= 2 * last);
    memsys_fini(&m);
}

static void accounts_rosters_and_blocks_are_kept(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 1);
    store_sql *q = open_sql(&m);
    assert_int_equal(add_user(q, 1), ERR_OK);
    assert_int_equal(add_user(q, 1), ERR_EXISTS);
    slice u1 = SLICE("user00001@localhost");
    store_item it = {.jid = SLICE("b@x"),
                     .name = SLICE("Bo"),
                     .groups = SLICE("gg"),
                     .request = SLICE_NULL,
                     .ver = 7,
                     .sub = STORE_SUB_TO,
                     .ask = true,
                     .in_roster = true};
    store_ops *o = store_ops_new();
    store_ops_roster_put(o, u1, &it);
    it.jid = SLICE("a@x");
    it.name = SLICE_NULL;
    it.ver = 8;
    it.gone = true;
    store_ops_roster_put(o, u1, &it);
    store_ops_block_add(o, u1, SLICE("z@x"));
    store_ops_block_add(o, u1, SLICE("y@x"));
    store_ops_block_add(o, u1, SLICE("y@x"));
    assert_int_equal(apply_ops(q, o), ERR_OK);
    o = store_ops_new(); /* nothing of a batch whose second op does not fit */
    store_ops_block_del(o, u1, SLICE("z@x"));
    store_ops_roster_put(o, SLICE("nobody@x"), &it);
    assert_int_equal(apply_ops(q, o), ERR_NOT_FOUND);
    store_sql_close(q);
    memsys_power_cut(&m);
    q = open_sql(&m);
    store_user *u;
    assert_int_equal(store_sql_load(q, u1, &u), ERR_OK);
    assert_int_equal(u->roster_ver, 8);
    assert_int_equal(u->n_items, 2);
    assert_true(slice_is(u->items[0].jid, "a@x") && u->items[0].gone && !u->items[0].name.p);
    assert_true(slice_is(u->items[1].name, "Bo") && u->items[1].ask && u->items[1].sub == STORE_SUB_TO &&
                slice_is(u->items[1].groups, "gg"));
    assert_int_equal(u->n_blocks, 2);
    assert_true(slice_is(u->blocks[0], "y@x") && slice_is(u->blocks[1], "z@x"));
    u->box.free(&u->box);
    o = store_ops_new();
    store_ops_user_del(o, u1);
    assert_int_equal(apply_ops(q, o), ERR_OK);
    assert_int_equal(store_sql_load(q, u1, &u), ERR_NOT_FOUND);
    assert_int_equal(add_user(q, 1), ERR_OK);
    assert_int_equal(store_sql_load(q, u1, &u), ERR_OK);
    assert_int_equal(u->n_items + u->n_blocks, 0);
    u->box.free(&u->box);
    store_sql_close(q);
    memsys_fini(&m);
}

static void names_are_listed_in_order(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 2);
    store_sql *q = open_sql(&m);
    for (unsigned i = 20; i > 0; i--) assert_int_equal(add_user(q, i), ERR_OK);
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(store_sql_list(q, SLICE("user00005@localhost"), 2, &b), ERR_OK);
    assert_true(slice_sub(buf_slice(&b), 0, 4).p[0] == 19 && slice_starts(slice_from(buf_slice(&b), 4), SLICE("user00006@localhost")));
    assert_int_equal(b.len, 2 * 23);
    buf_fini(&b);
    store_sql_close(q);
    memsys_fini(&m);
}

/* R2, R3 for accounts: every call of a workload is a power cut once. */
static unsigned users_until_failure(memsys *m, unsigned want) {
    store_sql *q = NULL;
    if (try_open(m, NULL, &q) != ERR_OK) return 0;
    unsigned n = 0;
    while (n < want && add_user(q, n) == ERR_OK) {
        n++;
        if (n == want / 2 && store_sql_checkpoint(q) != ERR_OK) break;
    }
    store_sql_close(q);
    return n;
}

static void committed_accounts_survive_a_power_cut_at_every_call(void **state) {
    (void)state;
    memsys m;
    unsigned points = 0;
    for (uint64_t at = 1;; at++) {
        memsys_init(&m, at);
        m.crash_at = at;
        unsigned n = users_until_failure(&m, 12);
        bool crashed = m.dead;
        memsys_power_cut(&m);
        store_sql *q;
        damage d = {0};
        err e = try_open(&m, &d, &q);
        if (e != ERR_OK) fail_msg("call %" PRIu64 ": the database does not open: %s", at, err_name(e));
        for (unsigned i = 0; i < n; i++) expect_user(q, i);
        store_sql_close(q);
        memsys_fini(&m);
        points++;
        if (!crashed) break;
    }
    print_message("%u crash points\n", points);
    assert_true(points > 50);
}

static void no_space_is_an_error_and_nothing_is_lost(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 3);
    store_sql *q = open_sql(&m);
    unsigned n = 0;
    m.disk.capacity = m.disk.used + 40 * 4096;
    err e;
    while ((e = add_user(q, n)) == ERR_OK) n++;
    assert_int_equal(e, ERR_NOSPC);
    assert_true(n > 3);
    assert_false(store_sql_failed(q));
    for (unsigned i = 0; i < n; i++) expect_user(q, i);
    m.disk.capacity = 0;
    assert_int_equal(add_user(q, n), ERR_OK);
    for (unsigned i = 0; i <= n; i++) expect_user(q, i);
    store_sql_close(q);
    memsys_fini(&m);
}

static void after_a_failed_sync_nothing_is_written(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 4);
    store_sql *q = open_sql(&m);
    assert_int_equal(add_user(q, 1), ERR_OK);
    m.disk.faults.sync_eio = 1000000;
    assert_int_equal(add_user(q, 2), ERR_IO);
    m.disk.faults.sync_eio = 0;
    assert_true(store_sql_failed(q));
    uint64_t writes = m.disk.writes;
    assert_int_not_equal(add_user(q, 3), ERR_OK);
    store_sql_close(q);
    assert_int_equal(m.disk.writes, writes);
    memsys_fini(&m);
}

/* R4 for accounts: a flipped bit anywhere is noticed at open, never read as something else, and others are served. */
static void a_flipped_bit_is_noticed_and_the_rest_is_served(void **state) {
    (void)state;
    enum { N = 400 };
    memsys m;
    memsys_init(&m, 5);
    store_sql *q = open_sql(&m);
    for (unsigned i = 0; i < N; i++) assert_int_equal(add_user(q, i), ERR_OK);
    assert_int_equal(store_sql_checkpoint(q), ERR_OK);
    store_sql_close(q);
    sim_disk_settle(&m.disk);
    uint64_t size;
    usec mtime;
    assert_int_equal(m.sys.file_stat(&m.sys, DB, &size, &mtime), ERR_OK);
    prng r;
    prng_init(&r, 1);
    unsigned refused = 0, served_min = N;
    for (unsigned k = 0; k < 200; k++) {
        uint64_t bit = prng_below(&r, size * 8);
        assert_int_equal(sim_disk_flip(&m.disk, DB, bit), ERR_OK);
        damage d = {0};
        err e = try_open(&m, &d, &q);
        assert_true(d.n > 0); /* named */
        if (e == ERR_OK) {
            unsigned served = 0;
            char name[32];
            for (unsigned i = 0; i < N; i += 7) {
                store_user *u;
                e = store_sql_load(q, name_of(i, name), &u);
                assert_true(e == ERR_OK || e == ERR_CORRUPT);
                if (e != ERR_OK) continue;
                served += 7;
                u->box.free(&u->box);
                expect_user(q, i);
            }
            if (served < served_min) served_min = served;
            store_sql_close(q);
        } else {
            assert_int_equal(e, ERR_CORRUPT);
            refused++;
        }
        assert_int_equal(sim_disk_flip(&m.disk, DB, bit), ERR_OK);
    }
    print_message("%u of 200 flips made it unusable, else at least %u of %u accounts were served\n", refused, served_min, N);
    assert_true(refused < 60);
    memsys_fini(&m);
}

static void a_backup_is_a_database_with_the_same_accounts(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 6);
    store_sql *q = open_sql(&m);
    for (unsigned i = 0; i < 50; i++) assert_int_equal(add_user(q, i), ERR_OK);
    assert_int_equal(m.sys.dir_make(&m.sys, "b"), ERR_OK);
    assert_int_equal(store_sql_backup(q, "b"), ERR_OK);
    assert_int_equal(add_user(q, 50), ERR_OK);
    store_sql_close(q);
    char why[256];
    damage d = {0};
    assert_int_equal(store_sql_open(&m.sys, "b/accounts.db", on_damage, &d, &q, why), ERR_OK);
    assert_int_equal(d.n, 0);
    for (unsigned i = 0; i < 50; i++) expect_user(q, i);
    store_sql_close(q);
    memsys_fini(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_rosters_and_blocks_are_kept),
        cmocka_unit_test(keys_cost_the_same_reads_for_every_name),
        cmocka_unit_test(names_are_listed_in_order),
        cmocka_unit_test(committed_accounts_survive_a_power_cut_at_every_call),
        cmocka_unit_test(no_space_is_an_error_and_nothing_is_lost),
        cmocka_unit_test(after_a_failed_sync_nothing_is_written),
        cmocka_unit_test(a_flipped_bit_is_noticed_and_the_rest_is_served),
        cmocka_unit_test(a_backup_is_a_database_with_the_same_accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
