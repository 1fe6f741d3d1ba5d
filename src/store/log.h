#ifndef STORE_LOG_H
#define STORE_LOG_H
/* log: the engine of kept messages: an append-only log of segments with group commit. Synchronous; the log actor (log_actor.c) calls it
 * from disk-pool jobs, one writer at a time; readers may run beside it.
 *
 *   DIR/000000000001.seg ...   header page {magic, format, segment number, epoch, created, crc}, then records
 *   record: u32 crc32c of what follows | u32 length | u8 type | u8 flags | u16 check of these and id | u64 id | body, padded to 8 bytes
 *     PUT   wall, dedup hash, user, packed env
 *     DEL   id and loc of the PUT
 *     MARK  starts a batch: all before it was synced; length of the batch
 *     TAIL  closes a segment: number of records and their checksum
 *
 * Invariants: (1) bytes before the committed offset never change. (2) A record is valid only if its crc fits and its segment's epoch is in
 * its checksum, so that bytes of an earlier life cannot pass. (3) A torn tail (last segment, after the last whole batch) is cut; damage
 * anywhere else loses that record only: scanning goes on at the next whole record and the loss is counted and named. (4) Segments are
 * compacted oldest first: live PUTs are appended again with their id, then the segment is removed; so a DEL is never older than what it
 * deletes, and may be dropped with its segment. (5) A segment whose newest record is younger than STORE_DEDUP_WINDOW stays, because its
 * origin-ids are still needed. (6) New segments: written, synced, then the directory synced, before a record in them counts. (7) Space is
 * allocated ahead, so that a full disk is met before a record is half written. */
#include "store/store.h"

typedef struct store_log store_log;

typedef struct store_log_open_stat {
    uint64_t records, live, damaged, cut_bytes;
    uint64_t epoch;
    usec took;
} store_log_open_stat;
/* Opens or creates; recovers; starts a new epoch and a new segment. damage(arg, segment, offset, text) is called for each loss. */
NODISCARD err store_log_open(sys *s, const store_log_cfg *c, void (*damage)(void *arg, uint64_t segment, uint64_t offset, const char *text),
                             void *arg, store_log **out, store_log_open_stat *out_stat);
void store_log_close(store_log *l); /* no flush: what was not committed is gone */
/* The index of a partition, made from what is on disk now (and committed). */
NODISCARD err store_log_index(store_log *l, unsigned partition, unsigned partitions, store_index **out);

/* Append to the open batch, in memory. FULL when the batch has reached batch_bytes_max: commit first. out_loc is valid once committed. */
NODISCARD err store_log_put(store_log *l, uint64_t id, slice user, slice env, int64_t wall, uint64_t h0, uint64_t h1, uint64_t *out_loc);
NODISCARD err store_log_del(store_log *l, uint64_t id, uint64_t loc);
/* Writes and syncs the batch. OK: durable. NOSPC: nothing of it was kept, the log is as before. Anything else: the log is unusable and the
 * caller must end the node. */
NODISCARD err store_log_commit(store_log *l);
size_t store_log_batch_bytes(const store_log *l);

/* One committed record, verified. env lives in buf. */
NODISCARD err store_log_read(store_log *l, uint64_t id, uint64_t loc, buf *out_env, int64_t *out_wall);

/* Compaction: is the oldest segment worth it? now: monotonic. Copies its live records into the open batch and commits them; moved(arg,
 * user, id, new loc) for each. The segment stays readable until store_log_drop, which keeps it where something in it could not be read. */
bool store_log_wants_compact(const store_log *l, usec now, bool full); /* full: only if that needs no space: all of it is dead */
uint64_t store_log_reserve(const store_log_cfg *c); /* bytes of space that puts leave for deletions, so that a full disk can empty itself */
NODISCARD err store_log_compact(store_log *l, void (*moved)(void *arg, slice user, uint64_t id, uint64_t loc), void *arg,
                                uint64_t *out_segment);
NODISCARD err store_log_drop(store_log *l, uint64_t segment);
NODISCARD err store_log_backup(store_log *l, const char *dir); /* on stable storage; after an error nothing of it stays */
void store_log_status(const store_log *l, store_status *out);

#endif
