#ifndef RT_RECORDER_H
#define RT_RECORDER_H
/* recorder: the flight recorder: a mapped file with one ring of fixed records per shard (and one for other threads), written with plain
 * stores, so that it survives kill -9 and needs no core. Format, little-endian: header page, then rings. A record whose check word does
 * not fit is torn and is skipped by the reader. */
#include "rt/event.h"

typedef struct rt_record {
    int64_t wall_usec;
    uint64_t seq; /* within its ring; 0: never written */
    uint32_t event;
    uint32_t slot; /* of the actor that was running, 0 if none */
    uint64_t arg[3];
    uint32_t trace;
    uint32_t check;  /* hash of the rest */
    uint8_t text[8]; /* first bytes of a text argument */
} rt_record;
_Static_assert(sizeof(rt_record) == 64, "one cache line");

typedef struct rt_recorder rt_recorder;
/* Moves an old file to path.1. ring_bytes: of each ring, 1 to RT_RECORDER_RING_MAX; else ERR_INVALID; a ring has at least 16 records. */
#define RT_RECORDER_RING_MAX ((size_t)256 << 20)
NODISCARD err rt_recorder_new(sys *s, const char *path, size_t ring_bytes, unsigned rings, rt_recorder **out);
void rt_recorder_free(rt_recorder *r);
/* For the writer of a ring, one thread at a time. wall: the time to put into a record, to the microsecond; a jump of the clock shows after
 * at most 10 ms. write sets seq and check. */
usec rt_recorder_wall(rt_recorder *r, unsigned ring);
void rt_recorder_write(rt_recorder *r, unsigned ring, const rt_record *rec);

/* Reading, of the file of a live node or of a dead one, or out of a core of its process (which has the file as long as the process may
 * write shared mappings into it: sys.h, file_map), in memory that does not grow with the file. What is torn, overwritten meanwhile or
 * cut off is left out and counted. */
typedef struct rt_recorder_info {
    uint32_t rings, per_ring; /* as the file's header says */
    bool same_events;         /* its event numbers are ours; else it is of a version with other events */
    uint64_t whole, torn;     /* records when it was opened */
    uint64_t missing_bytes;   /* at the end of the file, or of the mapping in a core: it was truncated */
    bool core;                /* read out of one */
    int64_t newest_usec;      /* wall clock of the newest record; INT64_MIN: none */
} rt_recorder_info;
typedef struct rt_recorder_reader rt_recorder_reader;
/* ERR_CORRUPT: no recorder file, or a core whose headers are damaged or cut off; ERR_VERSION: of another format; ERR_INVALID: an ELF file
 * that is no core of this kind of machine; ERR_EOF: a core without a recorder; or what opening it says. */
NODISCARD err rt_recorder_open(sys *s, const char *path, rt_recorder_reader **out);
const rt_recorder_info *rt_recorder_info_of(const rt_recorder_reader *r);
/* The next record: of each ring in the order in which they were written, of the rings the one with the earlier time first. */
NODISCARD bool rt_recorder_next(rt_recorder_reader *r, unsigned *out_ring, rt_record *out);
void rt_recorder_close(rt_recorder_reader *r); /* NULL is fine */

#endif
