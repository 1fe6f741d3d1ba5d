/* keyed_sql: the SQL of keyed state. Plain statements that PostgreSQL understands as well (upsert by ON CONFLICT, no rowid tricks),
 * prepared once.
 *
 *   meta(name, value)      the format version of the schema: 2; 1 is brought to it at the opening
 *   account(jid, created, roster_ver, and for each SCRAM mechanism: iterations, salt, stored key, server key)    never a password
 *   roster(account, jid, ...)      block(account, jid)
 *
 * Invariants: (1) WAL, synchronous=FULL, exclusive locking: a commit that returned OK is on the disk. (2) Every page carries a checksum
 * (vfs.c); a page that does not fit fails the statement that needs it, CORRUPT, and no other. (3) A batch of operations that does not fit
 * changes nothing (savepoint), and does not disturb the others of its transaction. */
#include "store/keyed_sql.h"

#include "base/mem.h"

#include <limits.h>
#include <stdio.h>

#define SQL_FORMAT          2
#define SQL_RESERVED        STORE_VFS_RESERVED
#define SQL_PAGE            4096u                /* SQLite's own choice for a new database */
#define SQL_WAL_PAGES       1000                 /* a commit that leaves more of them in the WAL moves them into the database */
#define SQL_QUICK_CHECK_MAX (UINT64_C(32) << 20) /* a larger database is checked by page checksums only: about 1 GB/s, not 20 MB/s */

typedef enum sql_id {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVE,
    SQL_RELEASE,
    SQL_BACK,
    SQL_USER_ADD,
    SQL_USER_KEYS,
    SQL_USER_DEL,
    SQL_USER_DEL_ROSTER,
    SQL_USER_DEL_BLOCK,
    SQL_USER_VER,
    SQL_ROSTER_PUT,
    SQL_ROSTER_PURGE,
    SQL_BLOCK_ADD,
    SQL_BLOCK_DEL,
    SQL_LOAD_USER,
    SQL_LOAD_KEYS,
    SQL_LOAD_ROSTER,
    SQL_LOAD_BLOCK,
    SQL_LIST,
    SQL_COUNT
} sql_id;

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVE] = "SAVEPOINT batch",
    [SQL_RELEASE] = "RELEASE SAVEPOINT batch",
    [SQL_BACK] = "ROLLBACK TO SAVEPOINT batch",
    [SQL_USER_ADD] = "INSERT INTO account (jid, created, roster_ver, i1, salt1, stored1, server1, i256, salt256, stored256, server256) "
                     "VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (jid) DO NOTHING",
    [SQL_USER_KEYS] = "UPDATE account SET i1 = ?3, salt1 = ?4, stored1 = ?5, server1 = ?6, i256 = ?7, salt256 = ?8, stored256 = ?9, "
                      "server256 = ?10 WHERE jid = ?1",
    [SQL_USER_DEL] = "DELETE FROM account WHERE jid = ?1",
    [SQL_USER_DEL_ROSTER] = "DELETE FROM roster WHERE account = ?1",
    [SQL_USER_DEL_BLOCK] = "DELETE FROM block WHERE account = ?1",
    [SQL_USER_VER] = "UPDATE account SET roster_ver = CASE WHEN roster_ver < ?2 THEN ?2 ELSE roster_ver END WHERE jid = ?1",
    [SQL_ROSTER_PUT] =
        "INSERT INTO roster (account, jid, name, grps, request, ver, sub, ask, approved, in_roster, gone) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (account, jid) DO UPDATE SET name = excluded.name, "
        "grps = excluded.grps, request = excluded.request, ver = excluded.ver, sub = excluded.sub, ask = excluded.ask, "
        "approved = excluded.approved, in_roster = excluded.in_roster, gone = excluded.gone",
    [SQL_ROSTER_PURGE] = "DELETE FROM roster WHERE account = ?1 AND jid = ?2",
    [SQL_BLOCK_ADD] = "INSERT INTO block (account, jid) VALUES (?1, ?2) ON CONFLICT (account, jid) DO NOTHING",
    [SQL_BLOCK_DEL] = "DELETE FROM block WHERE account = ?1 AND jid = ?2",
    [SQL_LOAD_USER] =
        "SELECT created, roster_ver, i1, salt1, stored1, server1, i256, salt256, stored256, server256 FROM account WHERE jid = ?1",
    [SQL_LOAD_KEYS] = "SELECT created, roster_ver, i1, salt1, stored1, server1, i256, salt256, stored256, server256, jid FROM account "
                      "WHERE jid >= ?1 ORDER BY jid LIMIT 1", /* reads a row for a name that has none, too */
    [SQL_LOAD_ROSTER] =
        "SELECT jid, name, grps, request, ver, sub, ask, approved, in_roster, gone FROM roster WHERE account = ?1 ORDER BY jid",
    [SQL_LOAD_BLOCK] = "SELECT jid FROM block WHERE account = ?1 ORDER BY jid",
    [SQL_LIST] = "SELECT jid FROM account WHERE jid > ?1 ORDER BY jid LIMIT ?2",
};

static const char sql_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS account (jid TEXT PRIMARY KEY, created BIGINT NOT NULL, roster_ver BIGINT NOT NULL,"
    " i1 INTEGER NOT NULL, salt1 BLOB NOT NULL, stored1 BLOB NOT NULL, server1 BLOB NOT NULL,"
    " i256 INTEGER NOT NULL, salt256 BLOB NOT NULL, stored256 BLOB NOT NULL, server256 BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS roster (account TEXT NOT NULL, jid TEXT NOT NULL, name TEXT, grps BLOB NOT NULL, request BLOB NOT NULL,"
    " ver BIGINT NOT NULL, sub INTEGER NOT NULL, ask INTEGER NOT NULL, approved INTEGER NOT NULL, in_roster INTEGER NOT NULL,"
    " gone INTEGER NOT NULL, PRIMARY KEY (account, jid));"
    "CREATE TABLE IF NOT EXISTS block (account TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (account, jid));"
    "INSERT INTO meta (name, value) VALUES ('format', '2') ON CONFLICT (name) DO NOTHING;"
    "COMMIT;";

/* Format 1 forgot removals, gave a version to requests of strangers, or left tombstones of those: what it says about what went is of no
 * use. So what was removed until now is not known (a floor, for whoever's roster ever changed), and a request was never in the roster. */
static const char sql_from_1[] = "BEGIN IMMEDIATE;"
                                 "DELETE FROM roster WHERE gone <> 0;"
                                 "UPDATE roster SET ver = 0 WHERE in_roster = 0;"
                                 "INSERT INTO roster (account, jid, name, grps, request, ver, sub, ask, approved, in_roster, gone)"
                                 " SELECT jid, '', NULL, X'', X'', roster_ver, 0, 0, 0, 0, 1 FROM account WHERE roster_ver > 0;"
                                 "UPDATE meta SET value = '2' WHERE name = 'format';"
                                 "COMMIT;";

struct store_sql {
    sys *s;
    store_vfs *vfs;
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT];
    int frozen;   /* pages that the WAL may hold before the file is changed after all; 0: not frozen */
    bool changed; /* that has happened */
    char why[256];
};

bool store_sql_failed(const store_sql *q) { return store_vfs_failed(q->vfs); }
const char *store_sql_why(const store_sql *q) { return q->why; }

static err to_err(store_sql *q, int rc) {
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return ERR_OK;
    int ext = q->db ? sqlite3_extended_errcode(q->db) : rc;
    uint32_t page = store_vfs_bad_page(q->vfs);
    if (ext == SQLITE_IOERR_DATA)
        (void)snprintf(q->why, sizeof q->why, "page %u of the account database is damaged", page);
    else
        (void)snprintf(q->why, sizeof q->why, "account database: %.200s", q->db ? sqlite3_errmsg(q->db) : sqlite3_errstr(rc));
    if (ext == SQLITE_IOERR_DATA || ext == SQLITE_IOERR_SHORT_READ) return ERR_CORRUPT;
    switch (ext & 0xff) {
    case SQLITE_FULL: return ERR_NOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ERR_CORRUPT;
    case SQLITE_NOMEM: return ERR_NOMEM;
    case SQLITE_PERM:
    case SQLITE_READONLY: return ERR_PERM;
    case SQLITE_TOOBIG: return ERR_LIMIT;
    case SQLITE_BUSY: return ERR_BUSY;
    default: return ERR_IO;
    }
}

/* --- statements --------------------------------------------------------------------------------------------------------------------- */

static void bind_text(sqlite3_stmt *st, int i, slice s) {
    (void)sqlite3_bind_text(st, i, s.p ? (const char *)s.p : "", (int)s.len, SQLITE_STATIC);
}
static void bind_blob(sqlite3_stmt *st, int i, slice s) {
    (void)sqlite3_bind_blob(st, i, s.p ? (const void *)s.p : "", (int)s.len, SQLITE_STATIC);
}
static void bind_int(sqlite3_stmt *st, int i, uint64_t v) {
    (void)sqlite3_bind_int64(st, i, (sqlite3_int64)v);
} /* a failed bind reads as NULL: NOT NULL refuses it */

/* Runs a statement that gives no rows, with the values bound before; *changed (may be NULL): rows. */
static err run(store_sql *q, sql_id id, int *changed) {
    sqlite3_stmt *st = q->stmt[id];
    err e = to_err(q, sqlite3_step(st));
    (void)sqlite3_reset(st); /* says again what step said */
    (void)sqlite3_clear_bindings(st);
    if (e == ERR_OK && changed) *changed = sqlite3_changes(q->db);
    return e;
}

err store_sql_begin(store_sql *q) { return run(q, SQL_BEGIN, NULL); }
err store_sql_commit(store_sql *q) {
    err e = run(q, SQL_COMMIT, NULL);
    if (e != ERR_OK) store_sql_rollback(q);
    return e;
}
void store_sql_rollback(store_sql *q) {
    if (sqlite3_get_autocommit(q->db)) return;        /* SQLite did it on its own, as it does for a full disk */
    if (run(q, SQL_ROLLBACK, NULL) != ERR_OK) return; /* the next BEGIN will say what is wrong */
}

static void bind_keys(sqlite3_stmt *st, int i, const store_keys *k) {
    bind_int(st, i, k->key_len ? k->iterations : 0);
    bind_blob(st, i + 1, slice_of(k->salt, k->key_len ? k->salt_len : 0));
    bind_blob(st, i + 2, slice_of(k->stored_key, k->key_len));
    bind_blob(st, i + 3, slice_of(k->server_key, k->key_len));
}

static err must_change(err e, int changed, err otherwise) { return e == ERR_OK && changed == 0 ? otherwise : e; }

static err roster_put(store_sql *q, const store_op *o) {
    const store_item *it = &o->item;
    int changed = 0;
    sqlite3_stmt *st = q->stmt[SQL_USER_VER];
    bind_text(st, 1, o->user);
    bind_int(st, 2, it->ver);
    err e = run(q, SQL_USER_VER, &changed);
    e = must_change(e, changed, ERR_NOT_FOUND);
    if (e != ERR_OK) return e;
    st = q->stmt[SQL_ROSTER_PUT];
    bind_text(st, 1, o->user);
    bind_text(st, 2, it->jid);
    if (it->name.p)
        bind_text(st, 3, it->name);
    else
        (void)sqlite3_bind_null(st, 3);
    bind_blob(st, 4, it->groups);
    bind_blob(st, 5, it->request);
    bind_int(st, 6, it->ver);
    const uint8_t v[5] = {it->sub, it->ask, it->approved, it->in_roster, it->gone};
    for (int i = 0; i < 5; i++) bind_int(st, 7 + i, v[i]);
    return run(q, SQL_ROSTER_PUT, NULL);
}

static err user_del(store_sql *q, slice user) {
    int changed = 0;
    static const sql_id each[3] = {SQL_USER_DEL_ROSTER, SQL_USER_DEL_BLOCK, SQL_USER_DEL};
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        bind_text(q->stmt[each[i]], 1, user);
        err e = run(q, each[i], &changed);
        if (e != ERR_OK) return e;
    }
    return changed ? ERR_OK : ERR_NOT_FOUND; /* of the last one: the account itself */
}

static err two_texts(store_sql *q, sql_id id, slice a, slice b) {
    bind_text(q->stmt[id], 1, a);
    bind_text(q->stmt[id], 2, b);
    return run(q, id, NULL);
}

static err user_keys(store_sql *q, sql_id id, const store_op *o, err otherwise) {
    sqlite3_stmt *st = q->stmt[id];
    int changed = 0;
    bind_text(st, 1, o->user);
    if (id == SQL_USER_ADD) bind_int(st, 2, (uint64_t)o->created);
    bind_keys(st, 3, &o->sha1);
    bind_keys(st, 7, &o->sha256);
    err e = run(q, id, &changed);
    return must_change(e, changed, otherwise);
}

static err apply_one(store_sql *q, const store_op *o) {
    switch (o->kind) {
    case OP_USER_ADD: return user_keys(q, SQL_USER_ADD, o, ERR_EXISTS);
    case OP_USER_SET_KEYS: return user_keys(q, SQL_USER_KEYS, o, ERR_NOT_FOUND);
    case OP_USER_DEL: return user_del(q, o->user);
    case OP_ROSTER_PUT: return roster_put(q, o);
    case OP_ROSTER_PURGE: return two_texts(q, SQL_ROSTER_PURGE, o->user, o->item.jid);
    case OP_BLOCK_ADD: return two_texts(q, SQL_BLOCK_ADD, o->user, o->item.jid);
    case OP_BLOCK_DEL: return two_texts(q, SQL_BLOCK_DEL, o->user, o->item.jid);
    case OP_KINDS: break;
    }
    return ERR_BUG;
}

err store_sql_apply(store_sql *q, const store_ops *o) {
    if (!buf_ok(&o->b)) return ERR_LIMIT;
    err e = run(q, SQL_SAVE, NULL);
    if (e != ERR_OK) return e;
    store_op op;
    size_t at = 0;
    while (e == ERR_OK && store_ops_next(o, &at, &op)) {
        e = apply_one(q, &op);
        mem_wipe(&op, sizeof op);
    }
    if (e == ERR_OK && at != o->b.len) e = ERR_BUG;
    if (sqlite3_get_autocommit(q->db)) return e == ERR_OK ? ERR_IO : e; /* rolled back as a whole: the caller sees it by this error */
    err r = e == ERR_OK ? ERR_OK : run(q, SQL_BACK, NULL);
    if (r == ERR_OK) r = run(q, SQL_RELEASE, NULL);
    return e == ERR_OK ? r : e;
}

/* --- loading -------------------------------------------------------------------------------------------------------------------------- */

static slice col(sqlite3_stmt *st, int i) {
    const void *p = sqlite3_column_blob(st, i);
    return slice_of(p ? p : "", (size_t)sqlite3_column_bytes(st, i));
}
static slice col_dup(sqlite3_stmt *st, int i) {
    slice s = col(st, i);
    uint8_t *p = mem_alloc(s.len + 1);
    memcpy(p, s.p, s.len);
    return slice_of(p, s.len);
}
static void disown(slice s) { mem_free((void *)(uintptr_t)s.p); }

static void user_free(rt_box *b) {
    store_user *u = container_of(b, store_user, box);
    for (size_t i = 0; i < u->n_items; i++) {
        disown(u->items[i].jid);
        disown(u->items[i].name);
        disown(u->items[i].groups);
        disown(u->items[i].request);
    }
    for (size_t i = 0; i < u->n_blocks; i++) disown(u->blocks[i]);
    mem_free(u->items);
    mem_free(u->blocks);
    disown(u->jid);
    mem_wipe(u, sizeof *u);
    mem_free(u);
}

static err load_keys(sqlite3_stmt *st, int i, store_keys *k) {
    slice salt = col(st, i + 1), stored = col(st, i + 2), server = col(st, i + 3);
    if (salt.len > sizeof k->salt || stored.len > sizeof k->stored_key || server.len != stored.len) return ERR_CORRUPT;
    k->iterations = (uint32_t)sqlite3_column_int64(st, i);
    k->salt_len = (uint8_t)salt.len;
    k->key_len = (uint8_t)stored.len;
    memcpy(k->salt, salt.p, salt.len);
    memcpy(k->stored_key, stored.p, stored.len);
    memcpy(k->server_key, server.p, server.len);
    return ERR_OK;
}

static err load_row(sqlite3_stmt *st, store_user *u) {
    u->created = sqlite3_column_int64(st, 0);
    u->roster_ver = (uint64_t)sqlite3_column_int64(st, 1);
    err e = load_keys(st, 2, &u->sha1);
    return e == ERR_OK ? load_keys(st, 6, &u->sha256) : e;
}

static err load_account(store_sql *q, slice user, store_user *u) {
    sqlite3_stmt *st = q->stmt[SQL_LOAD_USER];
    bind_text(st, 1, user);
    int rc = sqlite3_step(st);
    err e = rc == SQLITE_DONE ? ERR_NOT_FOUND : to_err(q, rc);
    if (e == ERR_OK) e = load_row(st, u);
    (void)sqlite3_reset(st); /* says again what step said */
    return e;
}

/* The first account whose name is from or behind it. *out_same: it is user's. NOT_FOUND: there is none. */
static err load_next(store_sql *q, slice from, slice user, store_user *u, bool *out_same) {
    sqlite3_stmt *st = q->stmt[SQL_LOAD_KEYS];
    bind_text(st, 1, from);
    int rc = sqlite3_step(st);
    err e = rc == SQLITE_DONE ? ERR_NOT_FOUND : to_err(q, rc);
    if (e == ERR_OK) e = load_row(st, u);
    if (e == ERR_OK) *out_same = slice_eq(col(st, 10), user);
    (void)sqlite3_reset(st); /* says again what step said */
    return e;
}

static err load_roster(store_sql *q, slice user, store_user *u) {
    sqlite3_stmt *st = q->stmt[SQL_LOAD_ROSTER];
    size_t cap = 0;
    int rc;
    bind_text(st, 1, user);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        void *p = u->items;
        mem_grow(&p, &cap, u->n_items + 1, sizeof *u->items);
        u->items = p;
        u->items[u->n_items++] = (store_item){.jid = col_dup(st, 0),
                                              .name = sqlite3_column_type(st, 1) == SQLITE_NULL ? SLICE_NULL : col_dup(st, 1),
                                              .groups = col_dup(st, 2),
                                              .request = col_dup(st, 3),
                                              .ver = (uint64_t)sqlite3_column_int64(st, 4),
                                              .sub = (uint8_t)sqlite3_column_int(st, 5),
                                              .ask = sqlite3_column_int(st, 6) != 0,
                                              .approved = sqlite3_column_int(st, 7) != 0,
                                              .in_roster = sqlite3_column_int(st, 8) != 0,
                                              .gone = sqlite3_column_int(st, 9) != 0};
    }
    err e = to_err(q, rc);
    (void)sqlite3_reset(st); /* says again what step said */
    return e;
}

static err load_blocks(store_sql *q, slice user, store_user *u) {
    sqlite3_stmt *st = q->stmt[SQL_LOAD_BLOCK];
    size_t cap = 0;
    int rc;
    bind_text(st, 1, user);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        void *p = u->blocks;
        mem_grow(&p, &cap, u->n_blocks + 1, sizeof *u->blocks);
        u->blocks = p;
        u->blocks[u->n_blocks++] = col_dup(st, 0);
    }
    err e = to_err(q, rc);
    (void)sqlite3_reset(st); /* says again what step said */
    return e;
}

static store_user *user_new(slice jid) {
    store_user *u = mem_zalloc(sizeof *u);
    u->box.free = user_free;
    uint8_t *p = mem_alloc(jid.len + 1);
    if (jid.len) memcpy(p, jid.p, jid.len);
    u->jid = slice_of(p, jid.len);
    return u;
}

err store_sql_load_keys(store_sql *q, slice user, store_user **out) {
    store_user *u = user_new(user);
    bool same = false;
    err e = load_next(q, user, user, u, &same);
    if (e == ERR_NOT_FOUND) e = load_next(q, SLICE(""), user, u, &same); /* behind the last name: a row is read all the same */
    if (e == ERR_OK && !same) e = ERR_NOT_FOUND;
    if (e == ERR_NOT_FOUND) { /* another's */
        u->created = 0;
        u->roster_ver = 0;
        mem_wipe(&u->sha1, sizeof u->sha1);
        mem_wipe(&u->sha256, sizeof u->sha256);
    }
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        *out = u;
    else
        u->box.free(&u->box);
    return e;
}

err store_sql_load(store_sql *q, slice user, store_user **out) {
    store_user *u = user_new(user);
    err e = load_account(q, user, u);
    if (e == ERR_OK) e = load_roster(q, user, u);
    if (e == ERR_OK) e = load_blocks(q, user, u);
    if (e == ERR_OK)
        *out = u;
    else
        u->box.free(&u->box);
    return e;
}

err store_sql_list(store_sql *q, slice after, uint32_t max, buf *out) {
    sqlite3_stmt *st = q->stmt[SQL_LIST];
    int rc;
    bind_text(st, 1, after);
    bind_int(st, 2, max < STORE_SQL_LIST_MAX ? max : STORE_SQL_LIST_MAX);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) buf_add_lslice(out, col(st, 0));
    err e = to_err(q, rc);
    (void)sqlite3_reset(st); /* says again what step said */
    return e == ERR_OK && !buf_ok(out) ? ERR_LIMIT : e;
}

/* --- from the WAL into the database --------------------------------------------------------------------------------------------------- */

/* As PRAGMA wal_autocheckpoint does, but a frozen file is let alone until the WAL has become too long. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages) {
    store_sql *q = arg;
    if (pages < (q->frozen ? q->frozen : SQL_WAL_PAGES)) return SQLITE_OK;
    if (q->frozen) q->changed = true;
    q->frozen = 0;
    (void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* the next commit tries again */
    return SQLITE_OK;
}

err store_sql_checkpoint(store_sql *q) {
    if (!check(!q->frozen)) return ERR_BUG;
    return to_err(q, sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
}

err store_sql_freeze(store_sql *q, uint64_t wal_bytes_max) {
    err e = store_sql_checkpoint(q);
    if (e != ERR_OK) return e;
    uint64_t pages = wal_bytes_max / SQL_PAGE;
    q->frozen = pages < SQL_WAL_PAGES ? SQL_WAL_PAGES : pages > INT_MAX ? INT_MAX : (int)pages;
    q->changed = false;
    return ERR_OK;
}

bool store_sql_changed(const store_sql *q) { return q->changed; }
void store_sql_thaw(store_sql *q) {
    q->frozen = 0;
    q->changed = false;
}

/* --- opening -------------------------------------------------------------------------------------------------------------------------- */

typedef void damage_fn(void *arg, const char *text);
typedef struct page_report {
    damage_fn *fn;
    void *arg;
    uint32_t pages;
} page_report;
#define SQL_REPORTS_MAX 100u

static void bad_page(void *arg, uint32_t page) {
    page_report *r = arg;
    char text[128];
    if (r->pages++ >= SQL_REPORTS_MAX || !r->fn) return;
    (void)snprintf(text, sizeof text, "page %u of the account database is damaged; what does not lie on it is served", page);
    r->fn(r->arg, text);
}

/* SQLite's own check of the structure: pages in two trees, rows out of order. */
static void quick_check(store_sql *q, page_report *r) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(q->db, "PRAGMA quick_check(20)", -1, &st, NULL) != SQLITE_OK)
        return; /* the schema is loaded: reported when used */
    while (sqlite3_step(st) == SQLITE_ROW) {
        slice text = col(st, 0);
        if (slice_is(text, "ok")) break;
        char line[256];
        (void)snprintf(line, sizeof line, "account database: %.200s", (const char *)sqlite3_column_text(st, 0));
        r->pages++;
        if (r->fn) r->fn(r->arg, line);
    }
    (void)sqlite3_finalize(st); /* says again what step said */
}

static err pragma(store_sql *q, const char *text) { return to_err(q, sqlite3_exec(q->db, text, NULL, NULL, NULL)); }

/* An older format is brought to the present one: all of it or nothing, and older programs refuse it from then on. */
static err upgrade(store_sql *q) {
    err e = pragma(q, sql_from_1);
    if (!sqlite3_get_autocommit(q->db)) (void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL); /* e says what is wrong */
    return e;
}

/* NOT_FOUND: new. */
static err check_format(store_sql *q) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(q->db, "SELECT value FROM meta WHERE name = 'format'", -1, &st, NULL);
    if (rc == SQLITE_ERROR) return ERR_NOT_FOUND; /* no such table */
    err e = to_err(q, rc);
    if (e != ERR_OK) return e;
    rc = sqlite3_step(st);
    e = to_err(q, rc);
    int format = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    (void)sqlite3_finalize(st); /* says again what step said */
    if (e != ERR_OK || format == SQL_FORMAT) return e;
    if (format == 1) return upgrade(q);
    (void)snprintf(q->why, sizeof q->why, "the account database has format %d; this program knows format %d", format, SQL_FORMAT);
    return ERR_VERSION;
}

static err open_db(store_sql *q, const char *path) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, reserved = SQL_RESERVED;
    err e = to_err(q, sqlite3_open_v2(path, &q->db, flags, store_vfs_name(q->vfs)));
    if (e != ERR_OK) return e;
    (void)sqlite3_extended_result_codes(q->db, 1);                                    /* cannot fail on an open connection */
    (void)sqlite3_file_control(q->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved); /* takes effect when the database is new */
    static const char *const settings[] = {"PRAGMA temp_store=MEMORY", "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL",
                                           "PRAGMA synchronous=FULL", "PRAGMA trusted_schema=OFF"};
    for (size_t i = 0; i < ARRAY_LEN(settings) && e == ERR_OK; i++) e = pragma(q, settings[i]);
    if (e != ERR_OK) return e;
    (void)sqlite3_wal_hook(q->db, on_commit, q); /* returns the argument of the one before */
    e = check_format(q);
    if (e == ERR_NOT_FOUND) return pragma(q, sql_schema); /* new */
    return e == ERR_CORRUPT ? ERR_OK : e; /* a page is damaged; the scan has named it. What stays in an older format is tried next time */
}

err store_sql_open(sys *s, const char *path, damage_fn *damage, void *arg, store_sql **out, char why[256]) {
    store_sql *q = mem_zalloc(sizeof *q);
    q->s = s;
    page_report r = {damage, arg, 0};
    uint64_t size = 0;
    usec mtime;
    err e = store_vfs_new(s, &q->vfs);
    if (e == ERR_OK && damage && s->file_stat(s, path, &size, &mtime) == ERR_OK && size > 0) e = store_vfs_scan(s, path, bad_page, &r);
    if (e == ERR_OK) e = open_db(q, path);
    for (int i = 0; i < SQL_COUNT && e == ERR_OK; i++)
        e = to_err(q, sqlite3_prepare_v3(q->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &q->stmt[i], NULL));
    if (e == ERR_OK && r.pages == 0 && size > 0 && size <= SQL_QUICK_CHECK_MAX) quick_check(q, &r);
    if (e != ERR_OK) {
        (void)snprintf(why, 256, "%.200s: %.50s", q->why[0] ? q->why : path, err_text(e));
        store_sql_close(q);
        return e;
    }
    *out = q;
    return ERR_OK;
}

void store_sql_close(store_sql *q) {
    if (!q) return;
    for (int i = 0; i < SQL_COUNT; i++) (void)sqlite3_finalize(q->stmt[i]); /* says again what step said */
    if (q->db && sqlite3_close(q->db) != SQLITE_OK) panic("a statement of the account database is still open");
    store_vfs_free(q->vfs);
    mem_free(q);
}
