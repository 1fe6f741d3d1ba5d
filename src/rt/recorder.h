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
NODISCARD err rt_recorder_new(sys *s, const char *path, size_t bytes, unsigned rings, rt_recorder **out); /* moves an old file to path.1 */
void rt_recorder_free(rt_recorder *r);
void rt_recorder_write(rt_recorder *r, unsigned ring, const rt_record *rec); /* sets seq and check; one writer a ring */
/* Reads a file (of a live or a dead node) and calls fn for every whole record, ordered by time. ERR_CORRUPT, ERR_VERSION. */
NODISCARD err rt_recorder_read(sys *s, const char *path, void (*fn)(void *arg, unsigned ring, const rt_record *rec), void *arg);

#endif
