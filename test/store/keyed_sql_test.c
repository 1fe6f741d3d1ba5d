/* keyed_sql_test: accounts, rosters and blocklists through SQLite on the simulated disk: what was committed survives a power cut, a full
 * disk and a failed sync are said so, damage is found and costs no more than what lies on it. */
#include "base/mem.h"
#include "store/copy.h"
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

static void an_item_never_takes_the_rosters_version_back(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 9);
    store_sql *q = open_sql(&m);
    assert_int_equal(add_user(q, 1), ERR_OK);
    slice u1 = SLICE("user00001@localhost");
    store_ops *o = store_ops_new();
    const store_item shown = {.jid = SLICE("b@x"), .ver = 7, .in_roster = true}, asks = {.jid = SLICE("s@x"), .request = SLICE("q")};
    store_ops_roster_put(o, u1, &shown);
    store_ops_roster_put(o, u1, &asks);
    assert_int_equal(apply_ops(q, o), ERR_OK);
    store_user *u;
    assert_int_equal(store_sql_load(q, u1, &u), ERR_OK);
    assert_int_equal(u->roster_ver, 7);
    assert_int_equal(u->items[1].ver, 0);
    u->box.free(&u->box);
    store_sql_close(q);
    memsys_fini(&m);
}

/* --- older formats: the statements are those of the programs that wrote them */
static const char format_1[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE account (jid TEXT PRIMARY KEY, created BIGINT NOT NULL, roster_ver BIGINT NOT NULL,"
    " i1 INTEGER NOT NULL, salt1 BLOB NOT NULL, stored1 BLOB NOT NULL, server1 BLOB NOT NULL,"
    " i256 INTEGER NOT NULL, salt256 BLOB NOT NULL, stored256 BLOB NOT NULL, server256 BLOB NOT NULL);"
    "CREATE TABLE roster (account TEXT NOT NULL, jid TEXT NOT NULL, name TEXT, grps BLOB NOT NULL, request BLOB NOT NULL,"
    " ver BIGINT NOT NULL, sub INTEGER NOT NULL, ask INTEGER NOT NULL, approved INTEGER NOT NULL, in_roster INTEGER NOT NULL,"
    " gone INTEGER NOT NULL, PRIMARY KEY (account, jid));"
    "CREATE TABLE block (account TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (account, jid));"
    "INSERT INTO meta (name, value) VALUES ('format', '1');"
    /* at 5 something was removed, of which nothing is left */
    "INSERT INTO account VALUES ('a@x', 1000, 6, 0, X'', X'', X'', 0, X'', X'', X'');"
    "INSERT INTO roster VALUES ('a@x', 'b@x', 'Bo', X'', X'', 3, 1, 0, 0, 1, 0);"
    "INSERT INTO roster VALUES ('a@x', 's@x', NULL, X'', X'71', 6, 0, 0, 0, 0, 0);"
    /* by a program that left tombstones and did not raise the format: one of a stranger's request, too */
    "INSERT INTO account VALUES ('c@x', 1001, 9, 0, X'', X'', X'', 0, X'', X'', X'');"
    "INSERT INTO roster VALUES ('c@x', '', NULL, X'', X'', 2, 0, 0, 0, 0, 1);"
    "INSERT INTO roster VALUES ('c@x', 's@x', NULL, X'', X'', 9, 0, 0, 0, 0, 1);"
    /* without a roster ever */
    "INSERT INTO account VALUES ('n@x', 1002, 0, 0, X'', X'', X'', 0, X'', X'', X'');"
    "INSERT INTO block VALUES ('n@x', 'z@x');"
    "COMMIT;";

/* Runs statements on the database as it is; the number in the first column of the last row. */
static int first_column(void *arg, int n, char **values, char **names) {
    (void)n;
    (void)names;
    *(uint64_t *)arg = strtoull(values[0], NULL, 10);
    return 0;
}
static uint64_t run_sql(memsys *m, const char *text) {
    store_vfs *v;
    sqlite3 *db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, reserved = STORE_VFS_RESERVED;
    uint64_t number = 0;
    assert_int_equal(store_vfs_new(&m->sys, &v), ERR_OK);
    assert_int_equal(sqlite3_open_v2(DB, &db, flags, store_vfs_name(v)), SQLITE_OK);
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL", NULL, NULL, NULL), SQLITE_OK);
    if (sqlite3_exec(db, text, first_column, &number, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    store_vfs_free(v);
    return number;
}

static store_user *load_of(store_sql *q, const char *name) {
    store_user *u = NULL;
    assert_int_equal(store_sql_load(q, slice_str(name), &u), ERR_OK);
    return u;
}
static void expect_floor(const store_user *u, uint64_t ver) {
    assert_int_equal(u->roster_ver, ver);
    assert_true(u->n_items > 0 && u->items[0].jid.len == 0 && u->items[0].gone);
    assert_int_equal(u->items[0].ver, ver);
}

static void expect_upgraded(store_sql *q) {
    store_user *u = load_of(q, "a@x");
    expect_floor(u, 6);
    assert_int_equal(u->n_items, 3);
    assert_true(slice_is(u->items[1].name, "Bo") && u->items[1].ver == 3 && u->items[1].sub == STORE_SUB_TO && u->items[1].in_roster);
    assert_true(slice_is(u->items[2].request, "q") && u->items[2].ver == 0 && !u->items[2].in_roster && !u->items[2].gone);
    u->box.free(&u->box);
    u = load_of(q, "c@x");
    expect_floor(u, 9);
    assert_int_equal(u->n_items, 1);
    u->box.free(&u->box);
    u = load_of(q, "n@x");
    assert_true(u->roster_ver == 0 && u->n_items == 0 && u->n_blocks == 1 && u->created == 1002);
    u->box.free(&u->box);
}

static void of_format_1_it_is_known_that_removals_are_not_known(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 10);
    (void)run_sql(&m, format_1);
    store_sql *q = open_sql(&m);
    expect_upgraded(q);
    const store_item gone = {.jid = SLICE("b@x"), .ver = 7, .gone = true};
    store_ops *o = store_ops_new();
    store_ops_roster_put(o, SLICE("a@x"), &gone);
    assert_int_equal(apply_ops(q, o), ERR_OK);
    assert_int_equal(add_user(q, 1), ERR_OK);
    store_sql_close(q);
    assert_int_equal(run_sql(&m, "SELECT value FROM meta WHERE name = 'format'"), 2); /* which programs that forget removals refuse */
    q = open_sql(&m);
    store_user *u = load_of(q, "a@x"); /* once only: what went since is known */
    assert_true(u->roster_ver == 7 && u->n_items == 3 && u->items[0].ver == 6 && u->items[1].gone && u->items[1].ver == 7);
    u->box.free(&u->box);
    expect_user(q, 1);
    u = load_of(q, "user00001@localhost");
    assert_int_equal(u->n_items, 0); /* a new account needs no floor */
    u->box.free(&u->box);
    store_sql_close(q);
    memsys_fini(&m);
}

static void an_upgrade_that_a_power_cut_ends_is_done_again(void **state) {
    (void)state;
    memsys m;
    bool crashed = true;
    unsigned points = 0;
    for (uint64_t at = 1; crashed; at++, points++) {
        memsys_init(&m, at);
        (void)run_sql(&m, format_1);
        store_sql *q = NULL;
        m.crash_at = m.calls + at;
        if (try_open(&m, NULL, &q) == ERR_OK) store_sql_close(q);
        crashed = m.dead;
        memsys_power_cut(&m);
        q = open_sql(&m);
        expect_upgraded(q);
        store_sql_close(q);
        memsys_fini(&m);
    }
    assert_true(points > 10);
}

static void an_upgrade_that_finds_no_space_is_refused_and_done_again(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 11);
    (void)run_sql(&m, format_1);
    m.disk.capacity = m.disk.used + 1;
    store_sql *q = NULL;
    assert_int_equal(try_open(&m, NULL, &q), ERR_NOSPC);
    m.disk.capacity = 0;
    q = open_sql(&m);
    expect_upgraded(q);
    store_sql_close(q);
    memsys_fini(&m);
}

static void expect_keys(store_sql *q, const char *name) {
    store_user *u = NULL;
    assert_int_equal(store_sql_load_keys(q, slice_str(name), &u), ERR_OK);
    u->box.free(&u->box);
}

static void an_upgrade_waits_for_a_damaged_page_and_what_is_not_on_it_is_served(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 12);
    (void)run_sql(&m, format_1);
    uint64_t page = run_sql(&m, "SELECT rootpage FROM sqlite_master WHERE name = 'roster'");
    sim_disk_settle(&m.disk);
    uint64_t bit = ((page - 1) * 4096 + 2048) * 8;
    assert_int_equal(sim_disk_flip(&m.disk, DB, bit), ERR_OK);
    damage d = {0};
    store_sql *q = NULL;
    store_user *u = NULL;
    assert_int_equal(try_open(&m, &d, &q), ERR_OK);
    assert_int_equal(d.n, 1);
    expect_keys(q, "a@x");
    assert_int_equal(store_sql_load(q, SLICE("a@x"), &u), ERR_CORRUPT);
    assert_int_equal(add_user(q, 1), ERR_OK);
    store_sql_close(q);
    assert_int_equal(run_sql(&m, "SELECT value FROM meta WHERE name = 'format'"), 1);
    assert_int_equal(sim_disk_flip(&m.disk, DB, bit), ERR_OK);
    q = open_sql(&m);
    expect_upgraded(q);
    expect_user(q, 1);
    store_sql_close(q);
    memsys_fini(&m);
}

static void an_upgrade_that_finds_a_wrong_structure_leaves_no_transaction_open(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 14);
    (void)run_sql(&m, format_1);
    (void)run_sql(&m, "PRAGMA writable_schema=ON; UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master "
                      "WHERE name = 'sqlite_autoindex_roster_1') WHERE name = 'roster'"); /* every checksum fits */
    store_sql *q = open_sql(&m);
    store_user *u = NULL;
    assert_int_equal(store_sql_load(q, SLICE("a@x"), &u), ERR_CORRUPT);
    assert_int_equal(add_user(q, 1), ERR_OK);
    expect_keys(q, "a@x");
    store_sql_close(q);
    memsys_fini(&m);
}

static void another_format_is_refused_with_its_number(void **state) {
    (void)state;
    static const char *const set[] = {"UPDATE meta SET value = '3'", "UPDATE meta SET value = '0'"};
    static const char *const said[] = {"the account database has format 3; this program knows format 2",
                                       "the account database has format 0; this program knows format 2"};
    memsys m;
    memsys_init(&m, 13);
    (void)run_sql(&m, format_1);
    for (size_t i = 0; i < ARRAY_LEN(set); i++) {
        store_sql *q = NULL;
        char why[256] = "";
        (void)run_sql(&m, set[i]);
        assert_int_equal(store_sql_open(&m.sys, DB, NULL, NULL, &q, why), ERR_VERSION);
        assert_true(slice_starts(slice_str(why), slice_str(said[i])));
        assert_int_equal(run_sql(&m, "SELECT count(*) FROM roster"), 4); /* and left as it is */
    }
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

/* Copies to b/; between the steps accounts are added from number *n on. */
static err copy_while_adding(memsys *m, store_sql *q, unsigned *n, unsigned each, char why[256]) {
    store_copy *c = store_copy_new(&m->sys, DB, "b");
    bool more = true;
    err e = ERR_OK;
    while (e == ERR_OK && more) {
        e = store_copy_step(c, &more);
        for (unsigned i = 0; i < each; i++) assert_int_equal(add_user(q, (*n)++), ERR_OK);
    }
    if (e == ERR_OK && store_sql_changed(q)) e = ERR_LIMIT;
    store_sql_thaw(q);
    e = store_copy_finish(c, e);
    slice s = slice_str(store_copy_why(c));
    memcpy(why, s.p, s.len + 1);
    store_copy_free(c);
    return e;
}

static void a_backup_is_the_database_at_one_moment(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 6);
    store_sql *q = open_sql(&m);
    char why[256];
    unsigned n = 0;
    while (n < 40000) assert_int_equal(add_user(q, n++), ERR_OK); /* more than one step */
    assert_int_equal(m.sys.dir_make(&m.sys, "b"), ERR_OK);
    assert_int_equal(m.sys.dir_sync(&m.sys, "."), ERR_OK);
    assert_int_equal(store_sql_freeze(q, UINT64_C(64) << 20), ERR_OK);
    assert_int_equal(copy_while_adding(&m, q, &n, 700, why), ERR_OK);
    assert_true(n > 40700);
    assert_int_equal(store_sql_checkpoint(q), ERR_OK);
    store_sql_close(q);
    memsys_power_cut(&m); /* it is on stable storage */
    damage d = {0};
    assert_int_equal(store_sql_open(&m.sys, "b/accounts.db", on_damage, &d, &q, why), ERR_OK);
    assert_int_equal(d.n, 0);
    for (unsigned i = 0; i < 40000; i += 7) expect_user(q, i);
    store_user *u = NULL;
    char name[32];
    (void)snprintf(name, sizeof name, "u%u@x", 40000u);
    assert_int_equal(store_sql_load(q, slice_str(name), &u), ERR_NOT_FOUND);
    store_sql_close(q);
    q = open_sql(&m);
    for (unsigned i = 0; i < n; i += 7) expect_user(q, i);
    store_sql_close(q);
    memsys_fini(&m);
}

static void a_backup_beside_too_many_changes_fails_and_they_do_not(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 7);
    store_sql *q = open_sql(&m);
    char why[256];
    unsigned n = 0;
    uint64_t size = 0;
    usec mtime;
    while (n < 2000) assert_int_equal(add_user(q, n++), ERR_OK);
    assert_int_equal(m.sys.dir_make(&m.sys, "b"), ERR_OK);
    assert_int_equal(store_sql_freeze(q, 0), ERR_OK);
    assert_int_equal(copy_while_adding(&m, q, &n, 2000, why), ERR_LIMIT);
    assert_int_equal(m.sys.file_stat(&m.sys, "b/accounts.db", &size, &mtime), ERR_NOT_FOUND);
    for (unsigned i = 0; i < n; i++) expect_user(q, i);
    store_sql_close(q);
    memsys_fini(&m);
}

static void a_backup_that_fails_takes_back_its_own_and_nothing_else(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 8);
    store_sql *q = open_sql(&m);
    char why[256];
    unsigned n = 0;
    uint64_t size = 0;
    usec mtime;
    while (n < 500) assert_int_equal(add_user(q, n++), ERR_OK);
    assert_int_equal(m.sys.dir_make(&m.sys, "b"), ERR_OK);
    assert_int_equal(store_sql_freeze(q, UINT64_C(64) << 20), ERR_OK);
    m.disk.capacity = m.disk.used + SIM_PAGE;
    assert_int_equal(copy_while_adding(&m, q, &n, 0, why), ERR_NOSPC);
    assert_true(strstr(why, "b/accounts.db") != NULL);
    assert_false(store_sql_failed(q)); /* the target's trouble is not the database's */
    m.disk.capacity = 0;
    assert_int_equal(m.sys.file_stat(&m.sys, "b/accounts.db", &size, &mtime), ERR_NOT_FOUND);
    int fd;
    assert_int_equal(m.sys.file_open(&m.sys, "b/accounts.db", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
    assert_int_equal(m.sys.file_write(&m.sys, fd, SLICE("mine"), 0), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    assert_int_equal(store_sql_freeze(q, UINT64_C(64) << 20), ERR_OK);
    assert_int_equal(copy_while_adding(&m, q, &n, 0, why), ERR_EXISTS);
    assert_int_equal(m.sys.file_stat(&m.sys, "b/accounts.db", &size, &mtime), ERR_OK);
    assert_int_equal(size, 4);
    assert_int_equal(m.sys.file_unlink(&m.sys, "b/accounts.db"), ERR_OK);
    assert_int_equal(store_sql_freeze(q, UINT64_C(64) << 20), ERR_OK);
    assert_int_equal(sim_disk_flip(&m.disk, DB, 8 * 4096 * 3 + 5), ERR_OK);
    assert_int_equal(copy_while_adding(&m, q, &n, 0, why), ERR_CORRUPT);
    assert_true(strstr(why, "page 4 ") != NULL);
    assert_int_equal(m.sys.file_stat(&m.sys, "b/accounts.db", &size, &mtime), ERR_NOT_FOUND);
    store_sql_close(q);
    memsys_fini(&m);
}

static void the_page_of_sqlites_lock_has_no_checksum(void **state) {
    (void)state;
    static const uint8_t none[4096];
    assert_false(store_vfs_page_ok(none, sizeof none, (1u << 30) / sizeof none));
    assert_true(store_vfs_page_ok(none, sizeof none, (1u << 30) / sizeof none + 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_rosters_and_blocks_are_kept),
        cmocka_unit_test(keys_cost_the_same_reads_for_every_name),
        cmocka_unit_test(an_item_never_takes_the_rosters_version_back),
        cmocka_unit_test(of_format_1_it_is_known_that_removals_are_not_known),
        cmocka_unit_test(an_upgrade_that_a_power_cut_ends_is_done_again),
        cmocka_unit_test(an_upgrade_that_finds_no_space_is_refused_and_done_again),
        cmocka_unit_test(an_upgrade_waits_for_a_damaged_page_and_what_is_not_on_it_is_served),
        cmocka_unit_test(an_upgrade_that_finds_a_wrong_structure_leaves_no_transaction_open),
        cmocka_unit_test(another_format_is_refused_with_its_number),
        cmocka_unit_test(names_are_listed_in_order),
        cmocka_unit_test(committed_accounts_survive_a_power_cut_at_every_call),
        cmocka_unit_test(no_space_is_an_error_and_nothing_is_lost),
        cmocka_unit_test(after_a_failed_sync_nothing_is_written),
        cmocka_unit_test(a_flipped_bit_is_noticed_and_the_rest_is_served),
        cmocka_unit_test(a_backup_is_the_database_at_one_moment),
        cmocka_unit_test(a_backup_beside_too_many_changes_fails_and_they_do_not),
        cmocka_unit_test(a_backup_that_fails_takes_back_its_own_and_nothing_else),
        cmocka_unit_test(the_page_of_sqlites_lock_has_no_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
