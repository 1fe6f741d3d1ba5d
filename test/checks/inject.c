/* inject: failures of files and of the wall clock, by preload: promises.md R5 and R20.
 *
 *   check (Python) --- struct control in a mapped file ($MURRE_INJECT) ---> this library in the server
 *
 * Counts the chosen operations on files under $MURRE_INJECT_DIR from the moment that it is armed; the nth fails with an errno, or writes
 * half. A sync that fails loses what was written since the last good one, as a kernel does with the pages that it could not write: the
 * ranges are overwritten with zeros, so that an ack for them is found out as a lost message after the restart, whatever the page cache
 * holds.
 *
 * Invariants: (1) Not armed, every call goes through unchanged; only written ranges are noted. (2) Exactly one operation fails, or, if
 * sticky, that one and all later. (3) The failure is written down (fired_nsec) before the caller sees it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { OP_FSYNC = 1, OP_FDATASYNC = 2, OP_WRITE = 4, OP_PWRITE = 8, OP_FALLOCATE = 16 };

typedef struct control { /* Inject.LAYOUT in common.py */
    _Atomic uint32_t armed;
    uint32_t ops;
    int32_t error; /* 0: a write is short, a sync says OK and loses */
    int32_t sticky;
    uint64_t nth;
    _Atomic uint64_t count;
    _Atomic uint64_t fired_nsec;
    _Atomic int64_t wall_offset_nsec;
} control;

#define DIRTY_MAX 4096u /* written ranges that no sync has covered; more are forgotten, oldest first */
typedef struct dirty_range {
    int fd;
    off_t at;
    size_t len;
} dirty_range;

static control *shared;
static const char *directory;
static pthread_mutex_t dirty_lock = PTHREAD_MUTEX_INITIALIZER;
static dirty_range dirty[DIRTY_MAX];
static size_t dirty_n;

static struct { /* libc's own */
    int (*close)(int);
    int (*fsync)(int);
    int (*fdatasync)(int);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*fallocate)(int, int, off_t, off_t);
    int (*clock_gettime)(clockid_t, struct timespec *);
} real;

static void *next(const char *name) {
    void *p = dlsym(RTLD_NEXT, name);
    if (!p) abort();
    return p;
}

static void resolve(void) {
    *(void **)&real.close = next("close");
    *(void **)&real.fsync = next("fsync");
    *(void **)&real.fdatasync = next("fdatasync");
    *(void **)&real.write = next("write");
    *(void **)&real.pwrite = next("pwrite");
    *(void **)&real.fallocate = next("fallocate");
    *(void **)&real.clock_gettime = next("clock_gettime"); /* the last: it says that all are there */
}

/* Constructors of other libraries may call us before ours. */
static void ready(void) {
    if (!real.clock_gettime) resolve();
}

__attribute__((constructor)) static void start(void) {
    ready();
    const char *path = getenv("MURRE_INJECT");
    directory = getenv("MURRE_INJECT_DIR");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd); /* the mapping keeps it */
    if (p != MAP_FAILED) shared = p;
}

static bool ours(int fd) {
    char link[64], path[4096];
    if (!directory) return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = 0;
    return strncmp(path, directory, strlen(directory)) == 0;
}

/* Is it this operation's turn to fail? errno is kept. */
static bool hit(uint32_t op, int fd) {
    int keep = errno;
    bool now = false;
    if (shared && atomic_load(&shared->armed) && shared->ops & op && ours(fd)) {
        uint64_t n = atomic_fetch_add(&shared->count, 1) + 1;
        now = shared->sticky ? n >= shared->nth : n == shared->nth;
        struct timespec t;
        (void)real.clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
        if (now && !atomic_load(&shared->fired_nsec))
            atomic_store(&shared->fired_nsec, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec);
    }
    errno = keep;
    return now;
}

/* --- what no sync has covered */
static void dirty_add(int fd, off_t at, ssize_t len) {
    if (!shared || len <= 0 || !ours(fd) || fcntl(fd, F_GETFL) & O_DSYNC) return;
    (void)pthread_mutex_lock(&dirty_lock);
    if (dirty_n == DIRTY_MAX) memmove(dirty, dirty + 1, --dirty_n * sizeof dirty[0]);
    dirty[dirty_n++] = (dirty_range){fd, at, (size_t)len};
    (void)pthread_mutex_unlock(&dirty_lock);
}

static void dirty_end(int fd, bool lost) {
    static const char zeros[65536];
    int keep = errno;
    (void)pthread_mutex_lock(&dirty_lock);
    size_t left = 0;
    for (size_t i = 0; i < dirty_n; i++) {
        dirty_range r = dirty[i];
        if (r.fd != fd) {
            dirty[left++] = r;
            continue;
        }
        while (lost && r.len > 0) {
            ssize_t n = real.pwrite(fd, zeros, r.len < sizeof zeros ? r.len : sizeof zeros, r.at);
            if (n <= 0) abort();
            r.at += n;
            r.len -= (size_t)n;
        }
    }
    dirty_n = left;
    (void)pthread_mutex_unlock(&dirty_lock);
    errno = keep;
}

/* kind: OP_FSYNC or OP_FDATASYNC */
static int sync_call(uint32_t op, int fd) {
    ready();
    if (hit(op, fd)) {
        dirty_end(fd, true);
        if (shared->error == 0) return 0; /* a disk that lies: for the check of the check */
        errno = shared->error;
        return -1;
    }
    int rc = op == OP_FSYNC ? real.fsync(fd) : real.fdatasync(fd);
    if (rc == 0 && shared) dirty_end(fd, false);
    return rc;
}

int fsync(int fd) { return sync_call(OP_FSYNC, fd); }
int fdatasync(int fd) { return sync_call(OP_FDATASYNC, fd); }

int close(int fd) {
    ready();
    if (shared) dirty_end(fd, false); /* its number may be another file's next */
    return real.close(fd);
}

ssize_t write(int fd, const void *p, size_t n) {
    ready();
    if (hit(OP_WRITE, fd)) {
        if (shared->error == 0) return real.write(fd, p, (n + 1) / 2);
        errno = shared->error;
        return -1;
    }
    return real.write(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    ready();
    if (hit(OP_PWRITE, fd)) {
        if (shared->error) {
            errno = shared->error;
            return -1;
        }
        n = (n + 1) / 2;
    }
    ssize_t done = real.pwrite(fd, p, n, at);
    dirty_add(fd, at, done);
    return done;
}
ssize_t pwrite64(int fd, const void *p, size_t n, off_t at) { return pwrite(fd, p, n, at); }

int fallocate(int fd, int mode, off_t at, off_t len) {
    ready();
    if (hit(OP_FALLOCATE, fd)) {
        errno = shared->error;
        return -1;
    }
    return real.fallocate(fd, mode, at, len);
}

/* --- the wall clock; the monotonic one is never touched */
int clock_gettime(clockid_t which, struct timespec *t) {
    ready();
    int rc = real.clock_gettime(which, t);
    if (rc == 0 && shared && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + atomic_load(&shared->wall_offset_nsec);
        t->tv_sec = ns / 1000000000;
        t->tv_nsec = ns % 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    struct timespec s;
    if (clock_gettime(CLOCK_REALTIME, &s) != 0) return -1;
    *t = (struct timeval){s.tv_sec, s.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out) {
    struct timespec s;
    if (clock_gettime(CLOCK_REALTIME, &s) != 0) return -1;
    if (out) *out = s.tv_sec;
    return s.tv_sec;
}
