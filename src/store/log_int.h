#ifndef STORE_LOG_INT_H
#define STORE_LOG_INT_H
/* log_int: the log engine's own structures and the calls between its files; private to src/store/log*.c and their tests.
 *
 *   log_seg.c      a segment file: header, creation, sealing, which of its records are dead
 *   log_recover.c  opening: what is there, what was cut, what is damaged
 *   log_index.c    the index of a partition, from recovery or from a new scan
 *   log.c          append, commit, pins, status
 *   log_read.c     reading committed records
 *   log_compact.c  copying the oldest segment's live records, dropping it, backup */
#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/lock.h"
#include "rt/sys.h"
#include "store/log.h"
#include "store/log_rec.h"

#define LOG_FORMAT          1u
#define LOG_CHUNK_MAX       (UINT64_C(1) << 20) /* space is allocated ahead in steps of at most this: store_log.chunk */
#define LOG_CHUNK_MIN       (4 * LOG_PAGE)
#define LOG_SPARE_MAX       (UINT64_C(16) << 20) /* bytes of DIR/spare at most; a quarter of a segment otherwise */
#define LOG_SEGMENT_END_MAX (UINT64_C(3) << 30)  /* offsets have 32 bits in a loc */
#define LOG_EPOCH_MAX       ((UINT64_C(1) << 20) - 1)
#define LOG_PATH_MAX        1024u
#define LOG_OPEN_DEFAULT    64u   /* store_log_cfg.segments_open_max */
#define LOG_REPORTS_MAX     1000u /* losses that are named one by one by a call of the engine; the rest is counted */

static inline uint64_t log_loc(uint64_t segment, uint64_t off) { return segment << 32 | off; }
static inline uint64_t log_loc_segment(uint64_t loc) { return loc >> 32; }
static inline uint64_t log_loc_off(uint64_t loc) { return loc & UINT32_MAX; }

/* --- log_seg.c */
typedef struct log_seg {
    uint64_t number, epoch;
    uint32_t seed;    /* from number, epoch and a random nonce: what every checksum starts with */
    int fd;           /* -1 while it is closed; stays as it is while it is in use: store_log_seg_use */
    uint32_t users;   /* of the descriptor, now; under mu */
    list idle;        /* open and not in use: in store_log.idle */
    uint64_t end;     /* committed bytes; with TAIL once sealed */
    uint64_t size;    /* allocated bytes */
    uint64_t records; /* PUT, DEL and MARK */
    uint64_t crc_sum; /* of their checksums */
    uint64_t puts, put_bytes, dead_puts;
    usec put_at; /* when the last PUT that is no move came into it, or the log was opened: monotonic, since the wall clock may jump */
    bool sealed;
    bool kept;      /* compaction could not read all that lives in it: it stays as long as anything does */
    uint64_t *dead; /* a bit for each 8 bytes: the PUT that starts there is gone or moved */
    size_t dead_words;
    uint32_t pins;                       /* readers at work; under mu */
    bool dropped;                        /* closed and freed when the last reader leaves */
    uint64_t counted_live, counted_size; /* its part of store_log.live_bytes and total_bytes */
} log_seg;
typedef struct log_move {
    uint64_t from, to; /* locs */
} log_move;
typedef struct log_collect log_collect; /* log_index.c */
typedef void log_damage_fn(void *arg, uint64_t segment, uint64_t offset, const char *text);

struct store_log {
    sys *s;
    store_log_cfg cfg;
    char *dir;   /* owned */
    int lock_fd; /* DIR/lock: one engine at a time, also when an actor is started again while its last job still runs */
    log_damage_fn *damage;
    void *damage_arg;
    uint64_t reports; /* losses named since store_log_damage_to */
    lock_set locks;
    lock mu;   /* guards the table of segments, pins, descriptors, and what a reader or backup takes from a segment, against the writer */
    list idle; /* segments with a descriptor that nobody uses, the longest unused first; under mu */
    uint32_t n_open, open_max; /* segments with a descriptor; above open_max, idle ones are closed */
    log_seg **segs;            /* by number; the last one is written */
    size_t n_segs, cap_segs;
    uint64_t next_number;
    uint64_t epoch;
    uint64_t chunk;                   /* bytes by which a segment is allocated ahead */
    uint64_t reserve;                 /* of it, what puts leave for deletions, so that a full disk can empty itself */
    buf batch;                        /* the open batch, as it will lie in the segment from its end on */
    bool batch_puts;                  /* it has a PUT that is not a copy: the reserve is not for it */
    uint64_t batch_seq;               /* number of the open batch */
    bool failed;                      /* a write or sync failed: nothing more is written */
    uint64_t live;                    /* PUTs neither deleted nor lost */
    uint64_t live_bytes, total_bytes; /* of all segments: store_log_seg_count. A look at each would cost every commit of a large log */
    uint64_t damaged;                 /* records lost since the open */
    uint64_t *lost;                   /* per partition of cfg */
    hash_key key;                     /* drawn at open: for tables of names */
    log_collect *found;               /* what recovery found, until every partition has its index or a record moves */
    log_seg *moving;                  /* being compacted; NULL */
    uint64_t move_at;                 /* how far */
    log_move *moves;                  /* by from */
    size_t n_moves, cap_moves;
    buf told;       /* of the copies in the batch: u64le id, u64le loc, lslice user of each */
    log_gap unread; /* of the segment that is being moved */
    bool move_done; /* all copied: waits for store_log_drop */
    bool spare;     /* DIR/spare is there (log_spare.c) */
};

/* path of a segment; false if too long */
NODISCARD bool store_log_seg_path(const store_log *l, uint64_t number, const char *suffix, char out[LOG_PATH_MAX]);
/* Opens and reads the header: CORRUPT when neither copy is whole, VERSION. *out_flaw: one copy is damaged. In use, as after _use. */
NODISCARD err store_log_seg_open(store_log *l, uint64_t number, log_seg **out, bool *out_flaw);
/* Durable, and its name. In use, as after _use. */
NODISCARD err store_log_seg_create(store_log *l, uint64_t number, uint64_t epoch, log_seg **out);
/* g->fd may be used until the matching _unuse, by any thread; opened if need be. Who calls has the segment pinned or is the writer. The
 * active segment and the one being moved are in use all the time. FD_LIMIT: the process has no descriptor left and none of ours is idle. */
NODISCARD err store_log_seg_use(store_log *l, log_seg *g);
void store_log_seg_unuse(store_log *l, log_seg *g);
/* Space up to there, that reads as zeros and is written once, except below written: that is the caller's next write, which saves the half
 * of the bytes that a large batch would cost. NOSPC changes nothing. */
NODISCARD err store_log_seg_allocate(store_log *l, log_seg *g, uint64_t upto, uint64_t written);
/* Writes [from, to) again as it is read, and syncs. After a sync that failed, what is read may be in the cache only, and the next sync says
 * OK without it; now it is an honest one. */
NODISCARD err store_log_seg_rewrite(store_log *l, const log_seg *g, uint64_t from, uint64_t to);
NODISCARD err store_log_seg_seal(store_log *l, log_seg *g);
/* A TAIL for a segment that ends at end, as bytes. */
void store_log_seg_tail(const log_seg *g, uint64_t end, buf *out);
void store_log_seg_free(store_log *l, log_seg *g); /* closes it */
log_seg *store_log_seg_find(const store_log *l, uint64_t number);
void store_log_seg_add(store_log *l, log_seg *g);
void store_log_seg_kill(log_seg *g, uint64_t off); /* the PUT at off is dead; idempotent */
bool store_log_seg_is_dead(const log_seg *g, uint64_t off);
void store_log_kill(store_log *l, uint64_t loc); /* same, by loc; a segment that is gone is fine */
uint64_t store_log_seg_live(const log_seg *g);   /* PUTs that are neither dead nor known to be damaged */
uint64_t store_log_seg_live_bytes(const log_seg *g);
void store_log_seg_count(store_log *l, log_seg *g); /* brings the sums up to date with what changed in g; the writer calls it */

/* Says of a scan of g that n of what lives in it was passed over. then: what that means, for people. */
void store_log_report_gap(store_log *l, const log_seg *g, uint64_t n, const log_gap *gap, const char *then);
void store_log_report(store_log *l, uint64_t segment, uint64_t off, const char *text);

/* --- log_index.c */
log_collect *store_log_collect_new(store_log *l, int only); /* only: one partition; -1: all of cfg.partitions */
void store_log_collect_free(log_collect *c);
void store_log_collect_put(log_collect *c, uint64_t id, uint64_t loc, uint32_t bytes, const log_put *p);
void store_log_found_stale(store_log *l, slice user); /* a PUT for user comes: recovery has not seen it, the index of its partition must */

/* --- log_spare.c */
err store_log_spare_keep(store_log *l); /* makes it if it is not there; NOSPC and others of file_allocate */
void store_log_spare_give(store_log *l);

/* --- log.c, log_compact.c: for the actor */
/* Who is told of losses from now on: by the writer, in its calls only; NULL: nobody. At an open it is store_log_open's. */
void store_log_damage_to(store_log *l, log_damage_fn *damage, void *arg);
NODISCARD err
store_log_turn(store_log *l); /* a new segment although the present one, in which all is dead, is not full: so that it can go */
size_t store_log_put_bytes(size_t user_len, size_t env_len); /* what a put adds to a batch; a batch itself: LOG_MARK_BYTES */
#define LOG_STEP_BYTES (1u << 20)                            /* copied by compaction between two batches */
#define LOG_MARK_BYTES 32u
#define LOG_DEL_BYTES  32u
log_seg *store_log_active(const store_log *l);
NODISCARD err store_log_append(store_log *l, log_type t, uint8_t flags, uint64_t id, const slice *part, size_t n_parts, uint64_t *out_loc);
NODISCARD err store_log_probe(store_log *l); /* is there space for a put again? */
NODISCARD err store_log_mark(store_log *l);  /* idle: says on disk, without a sync, that the last batch was whole */
/* A step of compaction: copies and commits up to max_bytes of records. The batch must be empty (ERR_BUG). *out_done: the segment is copied.
 * NOSPC: try later. */
NODISCARD err store_log_compact_step(store_log *l, size_t max_bytes, void (*moved)(void *arg, slice user, uint64_t id, uint64_t loc),
                                     void *arg, bool *out_done);
log_seg *store_log_pin(store_log *l, uint64_t number, uint64_t *out_end);
void store_log_unpin(store_log *l, log_seg *g);

#endif
