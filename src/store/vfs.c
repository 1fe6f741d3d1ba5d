/* vfs: a sqlite3_vfs over sys. So torn writes, lost directory entries and full disks of the simulator reach SQLite, and every page of a
 * database carries a checksum.
 *
 *   SQLite --> sqlite3_vfs "murre-<address>" --> sys: file_read, file_write, file_sync ...
 *                 page out: checksum into its last 8 bytes           (database file only; the WAL has checksums of its own)
 *                 page in:  verified, else SQLITE_IOERR_DATA
 *
 * SQLite keeps its list of VFSs for the whole process; that is its state, not ours: each store registers one under a name of its own, which
 * holds its sys, and takes it out again, so nodes do not see each other.
 *
 * Invariants: (1) a created file is durable, its name included, when xSync has returned OK. (2) After a write or sync that failed, other
 * than for space, every later write and sync fails (promises.md R5). (3) No shared memory: the database is opened with
 * locking_mode=EXCLUSIVE, so the WAL's index lives on SQLite's heap, and one process is seen to by the data directory's lock. (4) A WAL is
 * made invalid, durably, before it is cut, and written again when it is opened, before it is
 * trusted. */
#include "store/vfs.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/plant.h"
#include "store/dir.h"

#include <stdio.h>
#include <stdlib.h>

#define VFS_PATH_MAX   1024
#define VFS_PAGE_MAX   65536
#define VFS_SECTOR     512
#define VFS_WAL_HEADER 32                  /* sqlite.org/fileformat2.html 4.1 */
#define VFS_LOCK_AT    (UINT64_C(1) << 30) /* sqlite.org/fileformat2.html 1.3.1: the lock-byte page */
#define VFS_BLOCK      (UINT32_C(1) << 20)

struct store_vfs {
    sqlite3_vfs base;
    sys *s;
    char name[40];
    bool failed;
    uint32_t bad_page;
};
typedef struct vfs_file {
    sqlite3_file base;
    store_vfs *v;
    int fd;
    bool database; /* pages have checksums */
    bool wal;
    bool created; /* its name may not be durable: we made it, or somebody who was killed before its first sync did */
    char path[VFS_PATH_MAX];
} vfs_file;

static store_vfs *of(sqlite3_vfs *b) { return b->pAppData; }
static vfs_file *file_of(sqlite3_file *f) { return container_of(f, vfs_file, base); }

const char *store_vfs_name(const store_vfs *v) { return v->name; }
bool store_vfs_failed(const store_vfs *v) { return v->failed; }
uint32_t store_vfs_bad_page(const store_vfs *v) { return v->bad_page; }

/* A page's checksum covers its bytes and its number. */
static void page_sum(const uint8_t *p, size_t len, uint64_t page, uint8_t out[STORE_VFS_RESERVED]) {
    uint32_t a = digest_crc32c((uint32_t)page, slice_of(p, len - STORE_VFS_RESERVED)), b = ~a ^ (uint32_t)page;
    memcpy(out, &a, 4);
    memcpy(out + 4, &b, 4);
}

static bool is_page(const vfs_file *f, int n, sqlite3_int64 at) {
    return f->database && n >= VFS_SECTOR && n <= VFS_PAGE_MAX && (n & (n - 1)) == 0 && at % n == 0;
}

bool store_vfs_page_ok(const uint8_t *p, size_t len, uint64_t page) {
    if ((page - 1) * len == VFS_LOCK_AT) return true;
    uint8_t want[STORE_VFS_RESERVED];
    page_sum(p, len, page, want);
    return memcmp(want, p + len - STORE_VFS_RESERVED, STORE_VFS_RESERVED) == 0;
}

/* --- files ------------------------------------------------------------------------------------------------------------------------- */

static int x_close(sqlite3_file *b) {
    vfs_file *f = file_of(b);
    f->v->s->file_close(f->v->s, f->fd);
    return SQLITE_OK;
}

static int x_read(sqlite3_file *b, void *p, int n, sqlite3_int64 at) {
    vfs_file *f = file_of(b);
    size_t got = 0;
    if (f->v->s->file_read(f->v->s, f->fd, p, (size_t)n, (uint64_t)at, &got) != ERR_OK) return SQLITE_IOERR_READ;
    if (got < (size_t)n) {
        memset((uint8_t *)p + got, 0, (size_t)n - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    if (!is_page(f, n, at) || store_vfs_page_ok(p, (size_t)n, (uint64_t)(at / n) + 1)) return SQLITE_OK;
    f->v->bad_page = (uint32_t)(at / n) + 1;
    return SQLITE_IOERR_DATA;
}

static int write_result(store_vfs *v, err e, int code) {
    if (e == ERR_OK) return SQLITE_OK;
    if (e == ERR_NOSPC) return SQLITE_FULL;
    v->failed = true;
    return code;
}

static int x_write(sqlite3_file *b, const void *p, int n, sqlite3_int64 at) {
    vfs_file *f = file_of(b);
    store_vfs *v = f->v;
    if (v->failed) return SQLITE_IOERR_WRITE;
    if (!is_page(f, n, at)) return write_result(v, v->s->file_write(v->s, f->fd, slice_of(p, (size_t)n), (uint64_t)at), SQLITE_IOERR_WRITE);
    uint8_t *page = mem_alloc((size_t)n);
    memcpy(page, p, (size_t)n);
    page_sum(page, (size_t)n, (uint64_t)(at / n) + 1, page + n - STORE_VFS_RESERVED);
    err e = v->s->file_write(v->s, f->fd, slice_of(page, (size_t)n), (uint64_t)at);
    mem_free(page);
    return write_result(v, e, SQLITE_IOERR_WRITE);
}

/* A WAL that is emptied has been copied to the database. A power cut in the middle may leave any part of it, and a part that ends with an
 * older commit would hide what the database holds. So its header goes first: without one, nothing of it counts. */
static err wal_forget(vfs_file *f) {
    static const uint8_t none[VFS_WAL_HEADER];
    sys *s = f->v->s;
    err e = s->file_write(s, f->fd, slice_of(none, sizeof none), 0);
    return e == ERR_OK ? s->file_sync(s, f->fd) : e;
}

static int x_truncate(sqlite3_file *b, sqlite3_int64 size) {
    vfs_file *f = file_of(b);
    if (f->v->failed) return SQLITE_IOERR_TRUNCATE;
    if (f->wal && size == 0) {
        err e = wal_forget(f);
        if (e != ERR_OK) return write_result(f->v, e == ERR_NOSPC ? ERR_IO : e, SQLITE_IOERR_TRUNCATE); /* what it holds is not known */
    }
    return write_result(f->v, f->v->s->file_truncate(f->v->s, f->fd, (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

static int x_sync(sqlite3_file *b, int flags) {
    vfs_file *f = file_of(b);
    (void)flags; /* always a full one */
    if (f->v->failed) return SQLITE_IOERR_FSYNC;
    err e = plant(ACCOUNTS_NOT_SYNCED) ? ERR_OK : f->v->s->file_sync(f->v->s, f->fd);
    if (e == ERR_OK && f->created) {
        e = store_dir_sync_parent(f->v->s, f->path);
        f->created = e != ERR_OK;
    }
    if (e == ERR_NOSPC) f->v->failed = true; /* a sync that finds no space has lost pages: nothing is known */
    return write_result(f->v, e, SQLITE_IOERR_FSYNC);
}

static int x_size(sqlite3_file *b, sqlite3_int64 *out) {
    vfs_file *f = file_of(b);
    uint64_t size;
    if (f->v->s->file_size(f->v->s, f->fd, &size) != ERR_OK) return SQLITE_IOERR_FSTAT;
    *out = (sqlite3_int64)size;
    return SQLITE_OK;
}

static int x_lock(sqlite3_file *b, int level) {
    (void)b;
    (void)level; /* the data directory is locked as a whole */
    return SQLITE_OK;
}
static int x_reserved(sqlite3_file *b, int *out) {
    (void)b;
    *out = 0;
    return SQLITE_OK;
}
static int x_control(sqlite3_file *b, int op, void *arg) {
    (void)b;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}
static int x_sector(sqlite3_file *b) {
    (void)b;
    return VFS_SECTOR;
}
static int x_traits(sqlite3_file *b) {
    (void)b;
    return 0; /* nothing is atomic, nothing is safe from its neighbour's torn write */
}

static const sqlite3_io_methods vfs_io = {.iVersion = 1,
                                          .xClose = x_close,
                                          .xRead = x_read,
                                          .xWrite = x_write,
                                          .xTruncate = x_truncate,
                                          .xSync = x_sync,
                                          .xFileSize = x_size,
                                          .xLock = x_lock,
                                          .xUnlock = x_lock,
                                          .xCheckReservedLock = x_reserved,
                                          .xFileControl = x_control,
                                          .xSectorSize = x_sector,
                                          .xDeviceCharacteristics = x_traits};

/* --- the file system --------------------------------------------------------------------------------------------------------------- */

/* What is read after a failed sync may be in the cache only, and the next sync says OK: writing it again makes that sync an honest one. */
static err wal_rewrite(sys *s, int fd) {
    uint64_t size = 0;
    err e = s->file_size(s, fd, &size);
    if (e != ERR_OK || size == 0) return e;
    uint8_t *block = mem_alloc(VFS_BLOCK);
    for (uint64_t at = 0; at < size && e == ERR_OK; at += VFS_BLOCK) {
        size_t n = 0;
        e = s->file_read(s, fd, block, VFS_BLOCK, at, &n);
        if (e == ERR_OK && n > 0) e = s->file_write(s, fd, slice_of(block, n), at);
    }
    mem_free(block);
    return e == ERR_OK ? s->file_sync(s, fd) : e;
}

static int x_open(sqlite3_vfs *b, const char *path, sqlite3_file *out, int flags, int *out_flags) {
    store_vfs *v = of(b);
    vfs_file *f = file_of(out);
    memset(f, 0, sizeof *f);
    f->created = true;
    if (!path || strlen(path) >= sizeof f->path) return SQLITE_CANTOPEN; /* no temporary files: temp_store is memory */
    unsigned how = (flags & SQLITE_OPEN_READWRITE) ? SYS_OPEN_WRITE : SYS_OPEN_READ;
    err e = v->s->file_open(v->s, path, how, &f->fd);
    if (e == ERR_NOT_FOUND && (flags & SQLITE_OPEN_CREATE)) {
        e = v->s->file_open(v->s, path, how | SYS_OPEN_CREATE, &f->fd);
    }
    bool database = (flags & SQLITE_OPEN_MAIN_DB) != 0, wal = (flags & SQLITE_OPEN_WAL) != 0;
    if (e == ERR_OK && wal && how == SYS_OPEN_WRITE) { /* behind the lock of the database, which was opened before */
        e = wal_rewrite(v->s, f->fd);
        if (e != ERR_OK) v->s->file_close(v->s, f->fd);
    }
    if (e == ERR_OK && database && v->s->file_lock(v->s, f->fd) != ERR_OK) { /* an actor was started again while its last job still runs */
        v->s->file_close(v->s, f->fd);
        return SQLITE_BUSY;
    }
    if (e == ERR_NOSPC) return SQLITE_FULL;
    if (e == ERR_PERM) return SQLITE_PERM;
    if (e != ERR_OK) return SQLITE_CANTOPEN;
    f->v = v;
    f->database = database;
    f->wal = wal;
    memcpy(f->path, path, strlen(path) + 1);
    f->base.pMethods = &vfs_io;
    if (out_flags) *out_flags = flags;
    return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *b, const char *path, int sync_dir) {
    store_vfs *v = of(b);
    if (v->failed) return SQLITE_IOERR_DELETE;
    err e = v->s->file_unlink(v->s, path);
    if (e == ERR_NOT_FOUND) return SQLITE_IOERR_DELETE_NOENT;
    if (e == ERR_OK && sync_dir) e = store_dir_sync_parent(v->s, path);
    return e == ERR_OK ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int x_access(sqlite3_vfs *b, const char *path, int flags, int *out) {
    store_vfs *v = of(b);
    uint64_t size = 0;
    usec mtime;
    err e = v->s->file_stat(v->s, path, &size, &mtime);
    *out = e == ERR_OK && (flags != SQLITE_ACCESS_EXISTS || size > 0);
    return e == ERR_OK || e == ERR_NOT_FOUND ? SQLITE_OK : SQLITE_IOERR_ACCESS;
}

static int x_path(sqlite3_vfs *b, const char *path, int n, char *out) {
    (void)b;
    if (strlen(path) >= (size_t)n) return SQLITE_CANTOPEN;
    memcpy(out, path, strlen(path) + 1);
    return SQLITE_OK;
}
static int x_random(sqlite3_vfs *b, int n, char *out) {
    of(b)->s->entropy(of(b)->s, out, (size_t)n);
    return n;
}
static int x_sleep(sqlite3_vfs *b, int us) {
    (void)b;
    return us; /* nobody else holds a lock that we could wait for */
}
static int x_time64(sqlite3_vfs *b, sqlite3_int64 *out) {
    *out = INT64_C(210866760000000) + of(b)->s->wall(of(b)->s) / USEC_PER_MSEC; /* Julian day of 1970, in ms */
    return SQLITE_OK;
}
static int x_time(sqlite3_vfs *b, double *out) {
    sqlite3_int64 t;
    int rc = x_time64(b, &t);
    *out = (double)t / 86400000.0;
    return rc;
}
static int x_error(sqlite3_vfs *b, int n, char *out) {
    (void)b;
    (void)n;
    (void)out;
    return 0;
}

err store_vfs_new(sys *s, store_vfs **out) {
    store_vfs *v = mem_zalloc(sizeof *v);
    v->s = s;
    (void)snprintf(v->name, sizeof v->name, "murre-%p", (void *)v); /* a name only: nothing is ordered by it */
    v->base = (sqlite3_vfs){.iVersion = 2,
                            .szOsFile = sizeof(vfs_file),
                            .mxPathname = VFS_PATH_MAX,
                            .zName = v->name,
                            .pAppData = v,
                            .xOpen = x_open,
                            .xDelete = x_delete,
                            .xAccess = x_access,
                            .xFullPathname = x_path,
                            .xRandomness = x_random,
                            .xSleep = x_sleep,
                            .xCurrentTime = x_time,
                            .xGetLastError = x_error,
                            .xCurrentTimeInt64 = x_time64};
    if (sqlite3_vfs_register(&v->base, 0) != SQLITE_OK) {
        mem_free(v);
        return ERR_NOMEM;
    }
    *out = v;
    return ERR_OK;
}

void store_vfs_free(store_vfs *v) {
    if (!v) return;
    sqlite3_vfs_unregister(&v->base);
    mem_free(v);
}

size_t store_vfs_page_size(const uint8_t head[STORE_VFS_HEAD]) {
    size_t page = (size_t)head[16] << 8 | head[17]; /* sqlite.org/fileformat2.html 1.3 */
    if (page == 1) page = VFS_PAGE_MAX;
    bool usable = memcmp(head, "SQLite format 3", 16) == 0 && page >= VFS_SECTOR && (page & (page - 1)) == 0;
    return usable && head[20] == STORE_VFS_RESERVED ? page : 0;
}

err store_vfs_scan(sys *s, const char *path, void (*fn)(void *arg, uint32_t page), void *arg) {
    int fd;
    err e = s->file_open(s, path, SYS_OPEN_READ, &fd);
    if (e != ERR_OK) return e;
    uint8_t head[STORE_VFS_HEAD] = {0};
    size_t n = 0;
    uint64_t size = 0;
    e = s->file_size(s, fd, &size);
    if (e == ERR_OK) e = s->file_read(s, fd, head, sizeof head, 0, &n);
    size_t page = store_vfs_page_size(head);
    if (e == ERR_OK && size > 0 && page == 0) fn(arg, 1);
    uint8_t *p = mem_alloc(VFS_PAGE_MAX);
    for (uint64_t at = 0; e == ERR_OK && page > 0 && at < size; at += page) {
        err r = s->file_read(s, fd, p, page, at, &n);
        if (r != ERR_OK || n != page || !store_vfs_page_ok(p, page, at / page + 1)) fn(arg, (uint32_t)(at / page) + 1);
    }
    mem_free(p);
    s->file_close(s, fd);
    return e;
}
