#ifndef STORE_STORE_H
#define STORE_STORE_H
/* store: what services see of the durable engines: the messages of store.def and the objects that they carry. Two actors answer them,
 * under local names: STORE_LOG_NAME (the message log) and STORE_KEYED_NAME (SQLite today; the protocol is what another engine has to
 * speak). Services never call an engine.
 *
 * Invariants: (1) STORE_COMMITTED OK and KEYED_WRITTEN OK are sent only after fsync returned OK. (2) After a failed fsync nothing more is
 * written: the node ends (fsync is not retried). (3) A put that found no space was not kept and its sender can be told so. */
#include "rt/node.h"

#define MSG RT_MSG_DECLARE
#include "store/store.def"
#undef MSG
enum {
    STORE_TAG_FIRST_ = RT_TAG_STORE - 1,
#define MSG(T, n, d) T,
#include "store/store.def"
#undef MSG
    STORE_TAG_END_
};
extern const rt_msg_desc store_msgs[];
extern const size_t store_msgs_count;

#define STORE_LOG_NAME           "store.log"
#define STORE_KEYED_NAME         "store.keyed"
#define STORE_PARTITIONS_MAX     1024u
#define STORE_ID_EPOCH_SHIFT     44
#define STORE_ID_PARTITION_SHIFT 34
#define STORE_ID_COUNTER_MAX     ((UINT64_C(1) << 34) - 1)

/* Which partition an account belongs to: SipHash of the bare JID with a documented constant key, modulo partitions; the same on every
 * node and after every restart. */
unsigned store_partition(slice user, unsigned partitions);

/* --- the log's index of a partition */
typedef struct store_entry {
    uint64_t id, loc;
    int64_t wall;   /* usec since 1970 */
    uint32_t bytes; /* of the record, for quotas */
    uint32_t user;  /* index into users */
} store_entry;
typedef struct store_recent {
    uint64_t h0, h1; /* as in STORE_PUT */
    int64_t wall;
} store_recent;
typedef struct store_index { /* owned by who takes the box out of STORE_INDEX; freed with box.free */
    rt_box box;
    slice *users; /* bare JIDs that have messages, sorted */
    size_t n_users;
    store_entry *entries; /* sorted by user, then id */
    size_t n_entries;
    store_recent *recent; /* accepted within STORE_DEDUP_WINDOW before the start, delivered or not */
    size_t n_recent;
    uint64_t lost; /* records of this partition known to be lost to damage; their account cannot be named */
} store_index;
#define STORE_DEDUP_WINDOW (600 * USEC_PER_SEC)

/* --- keyed state */
typedef struct store_keys { /* SCRAM verifiers: never a password (promises.md) */
    uint32_t iterations;
    uint8_t salt_len;
    uint8_t salt[64];
    uint8_t stored_key[64];
    uint8_t server_key[64];
    uint8_t key_len; /* 20 or 32; 0: this mechanism is not available for the account */
} store_keys;
typedef enum store_sub { STORE_SUB_NONE, STORE_SUB_TO, STORE_SUB_FROM, STORE_SUB_BOTH } store_sub;
typedef struct store_item { /* of a roster; RFC 6121 section 2 */
    slice jid;              /* canonical bare (or what the client put, canonical) */
    slice name;             /* p NULL when absent */
    slice groups;           /* lslice for each; empty when none */
    slice request;          /* packed env of a subscribe that waits for approval; empty when none */
    uint64_t ver;           /* roster version at its last change; not in_roster: at its removal, 0 if it never was in the roster */
    uint8_t sub;            /* store_sub */
    bool ask;               /* pending out */
    bool approved;          /* pre-approved (RFC 6121 3.4) */
    bool in_roster;         /* false: only a pending request in, not shown to the user (RFC 6121 A) */
    bool gone;              /* a tombstone: removed at ver, kept for versioning; with no jid: removals up to ver are not known */
} store_item;
typedef struct store_user {
    rt_box box;
    slice jid;
    store_keys sha1, sha256;
    uint64_t roster_ver;
    store_item *items;
    size_t n_items;
    slice *blocks; /* canonical JIDs */
    size_t n_blocks;
    int64_t created; /* wall */
} store_user;

/* A batch of changes to one or more accounts: heap, freed with box.free, or consumed by KEYED_WRITE. Slices are copied. */
typedef struct store_ops store_ops;
store_ops *store_ops_new(void);
rt_box *store_ops_box(store_ops *o);
store_ops *store_ops_of(rt_box *b);
void store_ops_user_add(store_ops *o, slice user, const store_keys *sha1, const store_keys *sha256,
                        int64_t created);                                                                 /* EXISTS if present */
void store_ops_user_set_keys(store_ops *o, slice user, const store_keys *sha1, const store_keys *sha256); /* NOT_FOUND */
void store_ops_user_del(store_ops *o, slice user);                           /* roster and blocklist too; NOT_FOUND */
void store_ops_roster_put(store_ops *o, slice user, const store_item *item); /* and the account's roster_ver is at least item->ver */
void store_ops_roster_purge(store_ops *o, slice user, slice jid);            /* a row and its tombstone; no version change */
void store_ops_block_add(store_ops *o, slice user, slice jid);
void store_ops_block_del(store_ops *o, slice user, slice jid);

/* --- making the actors: classes and their arguments, which must outlive the node */
typedef struct store_log_cfg {
    const char *dir; /* made if missing */
    uint32_t partitions;
    uint64_t segment_bytes;     /* 64 MiB; a segment is closed past this */
    uint64_t batch_bytes_max;   /* 4 MiB: one commit writes at most this */
    uint64_t queue_bytes_max;   /* of memory that waits to be written or is being written; more PUTs are answered OVERLOAD. 0: 64 MiB */
    uint32_t segments_open_max; /* descriptors kept for segments; more while more are in use at once. 0: 64 */
    bool compact;               /* on */
} store_log_cfg;
void store_log_cfg_default(store_log_cfg *c);
extern const rt_class store_log_class; /* arg: const store_log_cfg *. Opens and recovers through the disk pool; serves when ready */
typedef struct store_keyed_cfg {
    const char *path;        /* of the SQLite database; made if missing */
    uint64_t backup_wal_max; /* bytes that its WAL may reach while a backup copies it; beyond, that backup fails, LIMIT. 0: 256 MiB */
} store_keyed_cfg;
extern const rt_class store_keyed_class; /* arg: const store_keyed_cfg * */

/* Takes the lock of a data directory, made if missing: ERR_BUSY when another process has it. *out_fd keeps it until closed. A format
 * version file is written, or checked (ERR_VERSION). */
NODISCARD err store_dir_lock(sys *s, const char *dir, int *out_fd, char why[256]);
/* Opens both engines here and now and reports what is wrong in a sentence, without serving: for start-up errors (NOSPC, PERM, CORRUPT,
 * VERSION). */
NODISCARD err store_check(sys *s, const char *dir, char why[256]);

#endif
