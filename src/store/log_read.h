#ifndef STORE_LOG_READ_H
#define STORE_LOG_READ_H
/* log_read: many committed records in a row, read by one thread; what store_log_read (log.h) does for one. Private to store. */
#include "store/log_int.h"

typedef struct log_reader {
    store_log *l;
    log_seg *g;     /* pinned and in use; NULL at first */
    uint64_t end;   /* committed bytes of it when it was entered */
    buf win;        /* its bytes from off on */
    uint64_t off;   /* see win */
    uint64_t next;  /* where the last record ended; 0: none in this segment */
    uint64_t ahead; /* bytes of the next read, at least */
} log_reader;
void store_log_reader_init(log_reader *r, store_log *l);
void store_log_reader_fini(log_reader *r);
/* env is added to out_env. NOT_FOUND: no such segment, or another record lies there; CORRUPT; INVALID: no place for a record; LIMIT:
 * out_env is full; IO. */
NODISCARD err store_log_reader_get(log_reader *r, uint64_t id, uint64_t loc, buf *out_env, int64_t *out_wall);
#endif
