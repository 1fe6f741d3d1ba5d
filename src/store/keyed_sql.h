#ifndef STORE_KEYED_SQL_H
#define STORE_KEYED_SQL_H
/* keyed_sql: accounts, rosters and blocklists in SQLite; synchronous, for one caller at a time (the keyed actor's pool job). Private to
 * store. */
#include "store/ops.h"
#include "store/vfs.h"

typedef struct store_sql store_sql;
/* Opens or creates. damage(arg, text) is called for each part that is found damaged; the rest is served. CORRUPT: nothing of it can be
 * used; VERSION: the schema is newer. An older one is brought to the present, after which older programs refuse it. why: a sentence. damage
 * NULL: only opened; its pages are not looked through. */
NODISCARD err store_sql_open(sys *s, const char *path, void (*damage)(void *arg, const char *text), void *arg, store_sql **out,
                             char why[256]);
void store_sql_close(store_sql *q);
bool store_sql_failed(const store_sql *q);     /* a sync or write failed: the node must end */
const char *store_sql_why(const store_sql *q); /* about the last error */

/* A transaction for many requests. Commit OK: durable. After a commit or a statement failed with NOSPC, IO or CORRUPT: roll back. */
NODISCARD err store_sql_begin(store_sql *q);
NODISCARD err store_sql_commit(store_sql *q);
void store_sql_rollback(store_sql *q);
/* All of o or nothing of it: EXISTS, NOT_FOUND. */
NODISCARD err store_sql_apply(store_sql *q, const store_ops *o);
NODISCARD err store_sql_load(store_sql *q, slice user, store_user **out);
/* The keys only, without roster and blocks, by the same statement over as many rows for every name: who logs in learns nothing from the
 * time that it takes. OK, and NOT_FOUND with a record without keys: *out is the caller's. Another error: *out is untouched. */
NODISCARD err store_sql_load_keys(store_sql *q, slice user, store_user **out);
NODISCARD err store_sql_list(store_sql *q, slice after, uint32_t max, buf *out);
NODISCARD err store_sql_checkpoint(store_sql *q); /* moves the WAL into the database and empties it */
/* Moves the WAL into the database, and then lets that file alone, so that somebody else may copy it: what is committed meanwhile stays in
 * the WAL. When that would be more than wal_bytes_max (at least 4 MB), the file changes after all, and store_sql_changed is true until
 * thaw: the copy is of no use then. Not while it is frozen. An error: it is not frozen. */
NODISCARD err store_sql_freeze(store_sql *q, uint64_t wal_bytes_max);
bool store_sql_changed(const store_sql *q);
void store_sql_thaw(store_sql *q); /* the file may change again */
#define STORE_SQL_LIST_MAX 10000u
#endif
