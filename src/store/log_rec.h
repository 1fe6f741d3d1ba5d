#ifndef STORE_LOG_REC_H
#define STORE_LOG_REC_H
/* log_rec: a record of the log: its bytes, its checksums; and the scanner that finds records in a segment, whole or damaged. Private to
 * src/store/log*.c and their tests, like log_int.h. */
#include "rt/sys.h"

#define LOG_PAGE       4096u       /* header of a segment; two copies, each in half of it */
#define LOG_REC        20u         /* bytes of a record before its body */
#define LOG_PAD        0x5au       /* ends every record: never zero, so that a torn sector shows as zeros (log_recover.c) */
#define LOG_RECORD_MAX (16u << 20) /* of one record, with header and padding */

typedef enum log_type { LOG_PUT = 1, LOG_DEL, LOG_MARK, LOG_TAIL } log_type;
#define LOG_MOVED     1u  /* flag of a PUT: a copy; the body starts with the loc that it replaces */
#define LOG_PUT_FIXED 26u /* wall, two hashes, length of user */

typedef struct log_put { /* the body of a PUT, taken apart */
    uint64_t moved_from; /* 0: an original */
    int64_t wall;
    uint64_t h0, h1;
    slice user, env;
} log_put;
size_t store_log_rec_total(size_t body_len);
/* p: room for the record at offset off of its segment, the body already at p + LOG_REC. Fills in the rest. */
void store_log_rec_seal(uint8_t *p, uint32_t seed, uint64_t off, log_type type, uint8_t flags, uint64_t id, size_t body_len);
NODISCARD bool store_log_rec_put(uint8_t flags, slice body, log_put *out);

typedef struct log_found { /* what the scanner met */
    bool bad;              /* not a record: damage from off to end */
    bool named;            /* bad: type and id are known, because the header's own check fits */
    uint8_t type, flags;
    uint32_t crc;
    uint64_t off, end, id;
    slice body; /* valid until the next call */
} log_found;
typedef struct log_scan {
    sys *s;
    int fd;
    uint32_t seed;
    uint64_t at, limit; /* where it goes on; where the bytes end */
    uint8_t *win;       /* bytes [win_off, win_off + win_len) of the file */
    size_t win_cap, win_len;
    uint64_t win_off;
} log_scan;
void store_log_scan_init(log_scan *c, sys *s, int fd, uint32_t seed, uint64_t limit);
void store_log_scan_fini(log_scan *c);
/* False at the end: only zeros follow, or nothing. Unreadable pages count as damage. */
NODISCARD bool store_log_scan_next(log_scan *c, log_found *out);
/* Verifies one whole record at the front of p (len bytes are there). */
NODISCARD bool store_log_rec_check(const uint8_t *p, size_t len, uint32_t seed, uint64_t off, log_found *out);

typedef struct log_gap { /* from the first to the last byte of a segment that a scan took for damaged; to is 0: there is none */
    uint64_t from, to;
} log_gap;
void store_log_gap_add(log_gap *gap, const log_found *bad);

#endif
