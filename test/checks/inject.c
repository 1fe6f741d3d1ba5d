/* inject: failures of files, of the wall clock, and of whatever else a process asks of its system, by preload: promises.md R5, R20 and R27;
 * and disks that are slow, or whose calls do not come back at all (promises.md R23).
 *
 *   check (Python) --- struct control in a mapped file ($MURRE_INJECT) ---> this library in the server
 *
 * Counts the chosen operations on files under $MURRE_INJECT_DIR from the moment that it is armed; the nth fails with an errno, or writes
 * half. A sync that fails loses what was written since the last good one, as a kernel does with the pages that it could not write: the
 * ranges are overwritten with zeros, so that an ack for them is found out as a lost message after the restart, whatever the page cache
 * holds.
 *
 * R27 counts each kind of call in the whole process (HOOKS below, and allocations), from the moment that it is armed, which may be before
 * main. What is written to standard error never fails: it says why the process ends.
 *
 * Invariants: (1) Not armed, every call goes through unchanged; only written ranges are noted. (2) Exactly one operation fails, or, if
 * sticky, that one and all later. (3) The failure is written down (fired_nsec) before the caller sees it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { OP_FSYNC = 1, OP_FDATASYNC = 2, OP_WRITE = 4, OP_PWRITE = 8, OP_FALLOCATE = 16 }; /* of files in the directory */
enum {                                                                                   /* of the process: Inject.OPS in common.py */
       ANY_ALLOC = 1 << 8,
       ANY_OPEN = 1 << 9,
       ANY_SOCKET = 1 << 10,
       ANY_BIND = 1 << 11,
       ANY_LISTEN = 1 << 12,
       ANY_ACCEPT = 1 << 13,
       ANY_READ = 1 << 14,
       ANY_WRITE = 1 << 15,
       ANY_SEND = 1 << 16,
       ANY_EPOLL_CREATE = 1 << 17,
       ANY_EPOLL_CTL = 1 << 18,
       ANY_EVENTFD = 1 << 19,
       ANY_MMAP = 1 << 20,
       ANY_THREAD = 1 << 21,
       ANY_RENAME = 1 << 22,
       ANY_UNLINK = 1 << 23,
       ANY_MKDIR = 1 << 24,
       ANY_STAT = 1 << 25,
       ANY_TRUNCATE = 1 << 26,
       ANY_LOCK = 1 << 27,
       ANY_SOCKOPT = 1 << 28,
       ANY_RECV = 1 << 29,
       ANY_KINDS = 22,
};

enum { HOLD_NONE, HOLD_CALL, HOLD_LOOP, HOLD_LOCK }; /* the thread waits in a call, loops, waits for a lock; until it is HOLD_NONE */

typedef struct control { /* Inject.LAYOUT in common.py */
    _Atomic uint32_t armed;
    uint32_t ops;
    int32_t error; /* 0: a write is short, a sync says OK and loses */
    int32_t sticky;
    uint64_t nth;
    _Atomic uint64_t count;
    _Atomic uint64_t fired_nsec;
    _Atomic int64_t wall_offset_nsec;
    _Atomic uint64_t by_kind[ANY_KINDS]; /* while armed: calls of each ANY_ kind, whether it is chosen or not */
    _Atomic uint64_t sync_nsec;          /* a sync takes so much longer, armed or not: a slow disk */
    _Atomic uint32_t hold;               /* HOLD_*: how writes and syncs of files with hold_path in their name do not come back */
    _Atomic uint32_t held;               /* calls that have been held, ever */
    char hold_path[256];
    _Atomic uint32_t wedge;  /* while set, armed or not: a shard that accepts a connection spins and does not come back */
    _Atomic uint32_t wedged; /* shards that do */
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

/* H(type, name, (parameters), (arguments), kind, what a failure returns; errno is the control block's) */
#define HOOKS(H)                                                                                                                           \
    H(int, socket, (int domain, int type, int protocol), (domain, type, protocol), ANY_SOCKET, -1)                                         \
    H(int, bind, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), ANY_BIND, -1)                                                  \
    H(int, listen, (int fd, int n), (fd, n), ANY_LISTEN, -1)                                                                               \
    H(int, accept4, (int fd, __SOCKADDR_ARG a, socklen_t *restrict n, int flags), (fd, a, n, flags), ANY_ACCEPT, -1)                       \
    H(int, connect, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), ANY_SOCKET, -1)                                             \
    H(int, setsockopt, (int fd, int level, int name, const void *p, socklen_t n), (fd, level, name, p, n), ANY_SOCKOPT, -1)                \
    H(int, getsockname, (int fd, __SOCKADDR_ARG a, socklen_t *restrict n), (fd, a, n), ANY_SOCKOPT, -1)                                    \
    H(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), ANY_READ, -1)                                                                \
    H(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), ANY_READ, -1)                                                 \
    H(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), ANY_RECV, -1)                                              \
    H(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), ANY_SEND, -1)                                         \
    H(ssize_t, sendto, (int fd, const void *p, size_t n, int flags, __CONST_SOCKADDR_ARG a, socklen_t an), (fd, p, n, flags, a, an),       \
      ANY_SEND, -1)                                                                                                                        \
    H(int, epoll_create1, (int flags), (flags), ANY_EPOLL_CREATE, -1)                                                                      \
    H(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *ev), (ep, op, fd, ev), ANY_EPOLL_CTL, -1)                               \
    H(int, eventfd, (unsigned n, int flags), (n, flags), ANY_EVENTFD, -1)                                                                  \
    H(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t from), (at, n, prot, flags, fd, from), ANY_MMAP, MAP_FAILED)   \
    H(int, rename, (const char *from, const char *to), (from, to), ANY_RENAME, -1)                                                         \
    H(int, unlink, (const char *path), (path), ANY_UNLINK, -1)                                                                             \
    H(int, rmdir, (const char *path), (path), ANY_UNLINK, -1)                                                                              \
    H(int, mkdir, (const char *path, mode_t mode), (path, mode), ANY_MKDIR, -1)                                                            \
    H(int, stat, (const char *restrict path, struct stat *restrict st), (path, st), ANY_STAT, -1)                                          \
    H(int, lstat, (const char *restrict path, struct stat *restrict st), (path, st), ANY_STAT, -1)                                         \
    H(int, fstat, (int fd, struct stat *st), (fd, st), ANY_STAT, -1)                                                                       \
    H(int, ftruncate, (int fd, off_t n), (fd, n), ANY_TRUNCATE, -1)                                                                        \
    H(int, flock, (int fd, int how), (fd, how), ANY_LOCK, -1)                                                                              \
    H(FILE *, fopen, (const char *restrict path, const char *restrict mode), (path, mode), ANY_OPEN, NULL)                                 \
    H(DIR *, opendir, (const char *path), (path), ANY_OPEN, NULL)

static struct { /* libc's own */
#define H(type, name, params, args, kind, bad) type(*name) params;
    HOOKS(H)
#undef H
    int (*open)(const char *, int, ...);
    int (*pthread_create)(pthread_t *restrict, const pthread_attr_t *restrict, void *(*)(void *), void *restrict);
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
#define H(type, name, params, args, kind, bad) *(void **)&real.name = next(#name);
    HOOKS(H)
#undef H
    *(void **)&real.open = next("open");
    *(void **)&real.pthread_create = next("pthread_create");
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
    int fd = path ? real.open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *p = real.mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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

/* --- calls that do not come back; not static: a stack shows what is exported */
int inject_holds_call(void);
int inject_holds_loop(void);
int inject_holds_lock(void);
static const struct timespec MOMENT = {0, 5000000};

int inject_holds_call(void) {
    int n = 0;
    for (; atomic_load(&shared->hold) == HOLD_CALL; n++) (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &MOMENT, NULL); /* the loop decides */
    return n;
}

int inject_holds_loop(void) {
    int n = 0;
    while (atomic_load(&shared->hold) == HOLD_LOOP) n++;
    return n;
}

static pthread_mutex_t hold_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool hold_locked;
static void *holder(void *arg) {
    (void)pthread_mutex_lock(&hold_lock);
    atomic_store(&hold_locked, true);
    while (atomic_load(&shared->hold) == HOLD_LOCK) (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &MOMENT, NULL); /* the loop decides */
    atomic_store(&hold_locked, false);
    (void)pthread_mutex_unlock(&hold_lock);
    return arg;
}

int inject_holds_lock(void) {
    pthread_t t;
    if (real.pthread_create(&t, NULL, holder, NULL) != 0) abort();
    while (!atomic_load(&hold_locked)) (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &MOMENT, NULL); /* the loop decides */
    (void)pthread_mutex_lock(&hold_lock);
    (void)pthread_mutex_unlock(&hold_lock);
    return pthread_join(t, NULL);
}

static void hold(int fd) {
    uint32_t how = shared ? atomic_load(&shared->hold) : HOLD_NONE;
    char link[64], path[4096];
    int keep = errno;
    if (how == HOLD_NONE || !directory) return;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    if (strstr(path, shared->hold_path) && strncmp(path, directory, strlen(directory)) == 0) {
        (void)atomic_fetch_add(&shared->held, 1);
        if (how == HOLD_CALL) (void)inject_holds_call(); /* what they return keeps the compiler from a jump, which leaves no frame */
        if (how == HOLD_LOOP) (void)inject_holds_loop();
        if (how == HOLD_LOCK) (void)inject_holds_lock();
    }
    errno = keep;
}

/* Is it this operation's turn to fail? errno is kept. */
static bool turn(bool counts) {
    int keep = errno;
    bool now = false;
    if (counts && atomic_load(&shared->armed)) {
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

static bool hit(uint32_t op, int fd) {
    int keep = errno;
    bool counts = shared && atomic_load(&shared->armed) && shared->ops & op && ours(fd);
    errno = keep;
    return turn(counts);
}

/* Shards are known by the names of their threads. */
static void spin(void) {
    char name[16] = "";
    if (pthread_getname_np(pthread_self(), name, sizeof name) != 0 || strncmp(name, "shard", 5) != 0) return;
    atomic_fetch_add(&shared->wedged, 1);
    while (atomic_load(&shared->wedge)) {
    }
    atomic_fetch_sub(&shared->wedged, 1);
}

/* The same for a kind of call of the whole process; errno is set when it fails. */
static bool hit_any(uint32_t kind) {
    if (shared && kind == ANY_ACCEPT && atomic_load(&shared->wedge)) spin();
    if (!shared || !atomic_load(&shared->armed)) return false;
    atomic_fetch_add(&shared->by_kind[__builtin_ctz(kind) - 8], 1);
    if (!(shared->ops & kind) || !turn(true)) return false;
    errno = shared->error;
    return true;
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
    hold(fd);
    uint64_t slow = shared && ours(fd) ? atomic_load(&shared->sync_nsec) : 0;
    struct timespec wait = {(time_t)(slow / 1000000000), (long)(slow % 1000000000)};
    while (slow && clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &wait) != 0) {
    }
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
    if (fd > STDERR_FILENO) hold(fd);
    if (fd != STDERR_FILENO && hit_any(ANY_WRITE)) return -1;
    if (hit(OP_WRITE, fd)) {
        if (shared->error == 0) return real.write(fd, p, (n + 1) / 2);
        errno = shared->error;
        return -1;
    }
    return real.write(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    ready();
    hold(fd);
    if (hit_any(ANY_WRITE)) return -1;
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

/* --- everything else */
#define H(type, name, params, args, kind, bad)                                                                                             \
    type name params {                                                                                                                     \
        ready();                                                                                                                           \
        return hit_any(kind) ? bad : real.name args;                                                                                       \
    }
HOOKS(H)
#undef H

int open(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, unsigned) : 0;
    va_end(ap);
    ready();
    return hit_any(ANY_OPEN) ? -1 : real.open(path, flags, mode);
}

int pthread_create(pthread_t *restrict t, const pthread_attr_t *restrict a, void *(*fn)(void *), void *restrict arg) {
    ready();
    return hit_any(ANY_THREAD) ? EAGAIN : real.pthread_create(t, a, fn, arg);
}

/* glibc keeps its own allocator under these names for those who put another in front of it; dlsym itself allocates. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n) { return hit_any(ANY_ALLOC) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return hit_any(ANY_ALLOC) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return hit_any(ANY_ALLOC) ? NULL : __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { return hit_any(ANY_ALLOC) ? NULL : __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { return memalign(align, n); }
void *reallocarray(void *p, size_t n, size_t size) {
    size_t all = 0;
    if (!__builtin_mul_overflow(n, size, &all)) return realloc(p, all);
    errno = ENOMEM;
    return NULL;
}
int posix_memalign(void **out, size_t align, size_t n) {
    void *p = memalign(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
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
