/* sys_linux_file: files over Linux. All of this may block: pool threads and start-up call it.
 *
 * Invariants: (1) file_write writes everything or reports an error. (2) A failed file_sync is reported once and never retried: after EIO
 * the kernel marks the pages clean, so that a second call would say OK about data that is lost. (3) file_allocate and file_map take the
 * space at once, so that a full disk is an error here and not a signal at some later store. */
#include "base/mem.h"
#include "rt/sys_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CORE_FILE_SHARED 8ul      /* core(5): bit 3, shared mappings of files */
#define DIR_NAMES_MAX    1000000u /* entries of a directory that dir_list returns */

static err status(int rc) { return rc == 0 ? ERR_OK : sys_linux_errno(errno); }

static err linux_file_open(sys *s, const char *path, unsigned flags, int *out_fd) {
    (void)s;
    int how = O_CLOEXEC | (flags & SYS_OPEN_WRITE ? O_RDWR : O_RDONLY);
    if (flags & SYS_OPEN_CREATE) how |= O_CREAT;
    if (flags & SYS_OPEN_EXCL) how |= O_EXCL;
    if (flags & SYS_OPEN_TRUNC) how |= O_TRUNC;
    if (flags & SYS_OPEN_DSYNC) how |= O_DSYNC;
    int fd = open(path, how, 0600);
    if (fd < 0) return sys_linux_errno(errno);
    *out_fd = fd;
    return ERR_OK;
}

static err linux_file_read(sys *s, int fd, void *p, size_t len, uint64_t at, size_t *out_n) {
    (void)s;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (char *)p + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return sys_linux_errno(errno);
        if (n == 0) break;
        done += (size_t)n;
    }
    *out_n = done;
    return ERR_OK;
}

static err linux_file_write(sys *s, int fd, slice data, uint64_t at) {
    (void)s;
    size_t done = 0;
    while (done < data.len) {
        ssize_t n = pwrite(fd, data.p + done, data.len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return sys_linux_errno(errno);
        if (n == 0) return ERR_IO;
        done += (size_t)n;
    }
    return ERR_OK;
}

static err linux_file_sync(sys *s, int fd) {
    (void)s;
    int rc;
    do rc = fdatasync(fd);
    while (rc != 0 && errno == EINTR); /* interrupted is not failed: nothing was reported yet */
    return status(rc);
}

static err linux_file_size(sys *s, int fd, uint64_t *out) {
    (void)s;
    struct stat st;
    if (fstat(fd, &st) != 0) return sys_linux_errno(errno);
    *out = (uint64_t)st.st_size;
    return ERR_OK;
}

static err linux_file_truncate(sys *s, int fd, uint64_t size) {
    (void)s;
    return status(ftruncate(fd, (off_t)size));
}

static err allocate(int fd, uint64_t from, uint64_t len) {
    int rc;
    do rc = fallocate(fd, 0, (off_t)from, (off_t)len);
    while (rc != 0 && errno == EINTR);
    if (rc == 0) return ERR_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return sys_linux_errno(errno);
    rc = posix_fallocate(fd, (off_t)from, (off_t)len); /* touches each block, where the file system cannot do it itself */
    return rc == 0 ? ERR_OK : sys_linux_errno(rc);
}
static err linux_file_allocate(sys *s, int fd, uint64_t from, uint64_t len) {
    (void)s;
    return allocate(fd, from, len);
}

static err linux_file_lock(sys *s, int fd) {
    (void)s;
    /* flock and not fcntl: it belongs to the opening, so that it also keeps out a second node of the same process, and closing another
     * descriptor of the file does not drop it. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return ERR_OK;
    return errno == EWOULDBLOCK ? ERR_BUSY : sys_linux_errno(errno);
}

static void linux_file_close(sys *s, int fd) {
    (void)s;
    (void)close(fd); /* what must be durable was synced before; late errors of network file systems are reported by that */
}

static err linux_file_rename(sys *s, const char *from, const char *to) {
    (void)s;
    return status(rename(from, to));
}
static err linux_file_unlink(sys *s, const char *path) {
    (void)s;
    return status(unlink(path));
}
static err linux_dir_make(sys *s, const char *path) {
    (void)s;
    return status(mkdir(path, 0700));
}

static err linux_dir_remove(sys *s, const char *path) {
    (void)s;
    return status(rmdir(path));
}

static int by_name(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static err linux_dir_list(sys *s, const char *path, void (*fn)(void *arg, const char *name), void *arg) {
    (void)s;
    DIR *d = opendir(path);
    if (!d) return sys_linux_errno(errno);
    char **names = NULL;
    size_t n = 0, cap = 0;
    err e = ERR_OK;
    for (;;) {
        errno = 0;
        const struct dirent *x = readdir(d);
        if (!x) {
            if (errno) e = sys_linux_errno(errno);
            break;
        }
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0) continue;
        if (n == DIR_NAMES_MAX) {
            e = ERR_LIMIT;
            break;
        }
        void *grown = names;
        mem_grow(&grown, &cap, n + 1, sizeof *names);
        names = grown;
        names[n++] = slice_dup_str(slice_str(x->d_name));
    }
    (void)closedir(d); /* it was only read */
    if (!e && n > 0) {
        qsort(names, n, sizeof *names, by_name);
        for (size_t i = 0; i < n; i++) fn(arg, names[i]);
    }
    for (size_t i = 0; i < n; i++) mem_free(names[i]);
    mem_free(names);
    return e;
}

static err linux_dir_sync(sys *s, const char *path) {
    (void)s;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return sys_linux_errno(errno);
    err e = status(fsync(fd));
    (void)close(fd);
    return e;
}

static err linux_file_stat(sys *s, const char *path, uint64_t *out_size, usec *out_mtime) {
    (void)s;
    struct stat st;
    if (stat(path, &st) != 0) return sys_linux_errno(errno);
    if (out_size) *out_size = (uint64_t)st.st_size;
    if (out_mtime) *out_mtime = st.st_mtim.tv_sec * USEC_PER_SEC + st.st_mtim.tv_nsec / 1000;
    return ERR_OK;
}

/* By default a core has no shared file mappings (core(5)): this process has few, and what is in them is what one wants to see in a core.
 * gdb's gcore asks the same filter. Where /proc does not allow it, the core is without them, and the file is still there. */
static void keep_in_cores(void) {
    char text[32] = "";
    int fd = open("/proc/self/coredump_filter", O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = read(fd, text, sizeof text - 1);
    unsigned long mask = n > 0 ? strtoul(text, NULL, 16) : 0;
    int len = snprintf(text, sizeof text, "0x%lx", mask | CORE_FILE_SHARED);
    ssize_t done = n > 0 ? pwrite(fd, text, (size_t)len, 0) : 0;
    (void)done; /* as said */
    (void)close(fd);
}

static err linux_file_map(sys *s, const char *path, size_t len, void **out) {
    (void)s;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return sys_linux_errno(errno);
    err e = allocate(fd, 0, len);
    void *p = MAP_FAILED;
    if (!e) {
        p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) e = sys_linux_errno(errno);
    }
    (void)close(fd); /* the mapping keeps the file */
    if (e) return e;
    keep_in_cores();
    *out = p;
    return ERR_OK;
}

static void linux_file_unmap(sys *s, void *p, size_t len) {
    (void)s;
    if (p && munmap(p, len) != 0) panic("munmap of %zu bytes failed: errno %d", len, errno);
}

err sys_secret_read(const char *path, void *out, size_t max, size_t *out_n) {
    struct stat st;
    int fd = -1;
    err e = linux_file_open(NULL, path, SYS_OPEN_READ, &fd);
    if (e) return e;
    e = status(fstat(fd, &st));
    if (!e && (st.st_mode & 077)) e = ERR_PERM;
    if (!e) e = linux_file_read(NULL, fd, out, max, 0, out_n);
    linux_file_close(NULL, fd);
    return e;
}

err sys_linux_file_replace(const char *path, slice data) {
    char beside[PATH_MAX];
    int len = snprintf(beside, sizeof beside, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof beside) return ERR_INVALID;
    if (unlink(beside) != 0 && errno != ENOENT) return sys_linux_errno(errno);
    int fd = -1;
    err e = linux_file_open(NULL, beside, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_EXCL, &fd);
    if (e) return e;
    e = linux_file_write(NULL, fd, data, 0);
    if (!e) e = linux_file_sync(NULL, fd);
    linux_file_close(NULL, fd);
    if (!e) e = status(rename(beside, path));
    if (e) (void)unlink(beside); /* the first error is what counts */
    return e;
}

void sys_linux_file_fill(sys *s) {
    s->file_open = linux_file_open;
    s->file_read = linux_file_read;
    s->file_write = linux_file_write;
    s->file_sync = linux_file_sync;
    s->file_size = linux_file_size;
    s->file_truncate = linux_file_truncate;
    s->file_allocate = linux_file_allocate;
    s->file_lock = linux_file_lock;
    s->file_close = linux_file_close;
    s->file_rename = linux_file_rename;
    s->file_unlink = linux_file_unlink;
    s->dir_make = linux_dir_make;
    s->dir_remove = linux_dir_remove;
    s->dir_list = linux_dir_list;
    s->dir_sync = linux_dir_sync;
    s->file_stat = linux_file_stat;
    s->file_map = linux_file_map;
    s->file_unmap = linux_file_unmap;
}
