/* log_spare: space that is given up when the disk is full, so that deliveries can empty what the log itself has filled: deletions must be
 * written before a segment is dead, and a lone segment must be followed by another before it can go.
 *
 *      has room:  DIR/spare is there      full: PUTs refused ----> spare unlinked: deletions, a new segment, dead segments dropped
 *          ^                                                          |
 *          +------- spare made again, and room beyond it <------------+
 *
 * Invariants: (1) PUTs are taken only while the spare is there, or could not be made at the open. (2) Its loss costs nothing: it is not
 * synced, and has no bytes that mean anything. */
#include "store/log_int.h"

#include <stdio.h>

static bool spare_path(const store_log *l, char out[LOG_PATH_MAX]) {
    int n = snprintf(out, LOG_PATH_MAX, "%s/spare", l->dir);
    return n > 0 && n < (int)LOG_PATH_MAX;
}

static uint64_t spare_bytes(const store_log *l) {
    uint64_t quarter = l->cfg.segment_bytes / 4;
    return quarter > LOG_SPARE_MAX ? LOG_SPARE_MAX : quarter;
}

err store_log_spare_keep(store_log *l) {
    char path[LOG_PATH_MAX];
    int fd;
    if (l->spare) return ERR_OK;
    if (!spare_path(l, path)) return ERR_LIMIT;
    err e = l->s->file_open(l->s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd);
    if (e != ERR_OK) return e;
    e = l->s->file_allocate(l->s, fd, 0, spare_bytes(l));
    l->s->file_close(l->s, fd);
    l->spare = true;
    if (e != ERR_OK) store_log_spare_give(l);
    return e;
}

void store_log_spare_give(store_log *l) {
    char path[LOG_PATH_MAX];
    if (!l->spare || !spare_path(l, path)) return;
    l->spare = false;
    err e = l->s->file_unlink(l->s, path);
    if (e == ERR_OK) e = l->s->dir_sync(l->s, l->dir); /* a file system may free the blocks of what is gone for good only */
    (void)e; /* if it cannot go, there is no more room than before, and the next probe finds that out */
}
