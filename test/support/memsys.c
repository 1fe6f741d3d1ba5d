/* memsys: see memsys.h. Invariant: each file call passes gate() once, so that "the nth call" names the same instant in every run of a
 * seed. */
#include "support/memsys.h"

#include "sim/disk_names.h"

static memsys *of(sys *s) { return s->self; }

static err gate(memsys *m, bool is_sync) {
    if (m->dead) return ERR_IO;
    m->calls++;
    if (m->calls == m->crash_at) {
        m->dead = true;
        return ERR_CANCELLED;
    }
    if (m->calls == m->fail_at && (is_sync || !m->fail_syncs_only)) return m->fail_with;
    return ERR_OK;
}
static err gate_fd(memsys *m, int fd, bool is_sync) { return m->fd[fd].inode ? gate(m, is_sync) : ERR_IO; } /* the cut closed it */
static err visible(err e) { return e == ERR_CANCELLED ? ERR_IO : e; }

static usec mono(sys *s) { return of(s)->mono += 1; }
static usec wall(sys *s) { return of(s)->wall; }
static uint64_t cycles(sys *s) { return (uint64_t)mono(s); }
static uint64_t cycles_per_sec(sys *s) {
    (void)s;
    return 1000000;
}
static void entropy(sys *s, void *out, size_t len) {
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)prng_next(&of(s)->rng);
}

static void end(sys *s, const char *why) {
    (void)why;
    of(s)->ended = of(s)->dead = true;
}

/* A poller that never has anything: for nodes that are stepped. */
static err poll_new(sys *s, int *out) {
    (void)s;
    *out = 0;
    return ERR_OK;
}
static void poll_free(sys *s, int poll) {
    (void)s;
    (void)poll;
}
static int poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int n) {
    (void)s;
    (void)poll;
    (void)timeout;
    (void)out;
    (void)n;
    return 0;
}

static err file_open(sys *s, const char *path, unsigned flags, int *out_fd) {
    memsys *m = of(s);
    err e = gate(m, false);
    if (e != ERR_OK) return visible(e);
    int fd = 0;
    while (fd < MEMSYS_FDS && m->fd[fd].inode) fd++;
    if (fd == MEMSYS_FDS) return ERR_FD_LIMIT;
    e = sim_disk_open(&m->disk, path, flags, &m->fd[fd].inode);
    if (e == ERR_OK)
        *out_fd = fd;
    else
        m->fd[fd].inode = NULL;
    return e;
}
static bool is_bad(const memsys *m, const sim_inode *f, uint64_t at, size_t len) {
    if (!m->bad_path || sim_disk_names_find(&m->disk.live, m->bad_path) != f) return false;
    return m->bad_at < at + len && at < m->bad_at + SIM_SECTOR;
}
static err file_read(sys *s, int fd, void *p, size_t len, uint64_t at, size_t *out_n) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    if (e == ERR_OK && is_bad(m, m->fd[fd].inode, at, len)) e = ERR_IO;
    return e == ERR_OK ? sim_disk_read(&m->disk, m->fd[fd].inode, p, len, at, out_n) : visible(e);
}
static err file_write(sys *s, int fd, slice data, uint64_t at) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    if (e == ERR_OK) return sim_disk_write(&m->disk, m->fd[fd].inode, data, at);
    if (m->fd[fd].inode && (e != ERR_IO || !m->dead))
        sim_disk_write_part(&m->disk, m->fd[fd].inode, data, at); /* interrupted or failing half-way */
    return visible(e);
}
static err file_sync(sys *s, int fd) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, true);
    return e == ERR_OK ? sim_disk_sync(&m->disk, m->fd[fd].inode) : visible(e);
}
static err file_size(sys *s, int fd, uint64_t *out) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    if (e == ERR_OK) *out = sim_disk_size(m->fd[fd].inode);
    return visible(e);
}
static err file_truncate(sys *s, int fd, uint64_t size) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    return e == ERR_OK ? sim_disk_truncate(&m->disk, m->fd[fd].inode, size) : visible(e);
}
static err file_allocate(sys *s, int fd, uint64_t from, uint64_t len) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    return e == ERR_OK ? sim_disk_allocate(&m->disk, m->fd[fd].inode, from, len) : visible(e);
}
static err file_lock(sys *s, int fd) {
    memsys *m = of(s);
    err e = gate_fd(m, fd, false);
    if (e == ERR_OK) e = sim_disk_lock(m->fd[fd].inode);
    if (e == ERR_OK) m->fd[fd].locked = true;
    return visible(e);
}
static void file_close(sys *s, int fd) {
    memsys *m = of(s);
    if (!m->fd[fd].inode) return; /* a power cut closed it */
    sim_disk_close(&m->disk, m->fd[fd].inode, m->fd[fd].locked);
    m->fd[fd] = (memsys_fd){0};
}
static err file_rename(sys *s, const char *from, const char *to) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_rename(&of(s)->disk, from, to) : visible(e);
}
static err file_unlink(sys *s, const char *path) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_unlink(&of(s)->disk, path) : visible(e);
}
static err dir_make(sys *s, const char *path) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_mkdir(&of(s)->disk, path) : visible(e);
}
static err dir_remove(sys *s, const char *path) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_rmdir(&of(s)->disk, path) : visible(e);
}
static err dir_list(sys *s, const char *path, void (*fn)(void *arg, const char *name), void *arg) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_list(&of(s)->disk, path, fn, arg) : visible(e);
}
static err dir_sync(sys *s, const char *path) {
    err e = gate(of(s), true);
    return e == ERR_OK ? sim_disk_dir_sync(&of(s)->disk, path) : visible(e);
}
static err file_stat(sys *s, const char *path, uint64_t *out_size, usec *out_mtime) {
    err e = gate(of(s), false);
    return e == ERR_OK ? sim_disk_stat(&of(s)->disk, path, out_size, out_mtime) : visible(e);
}

void memsys_init(memsys *m, uint64_t seed) {
    memset(m, 0, sizeof *m);
    prng_init(&m->rng, seed);
    sim_disk_init(&m->disk, &m->rng);
    m->wall = INT64_C(1700000000) * USEC_PER_SEC;
    m->sys = (sys){.self = m,
                   .mono = mono,
                   .wall = wall,
                   .cycles = cycles,
                   .cycles_per_sec = cycles_per_sec,
                   .entropy = entropy,
                   .end = end,
                   .poll_new = poll_new,
                   .poll_free = poll_free,
                   .poll_wait = poll_wait,
                   .poll_wake = poll_free,
                   .file_open = file_open,
                   .file_read = file_read,
                   .file_write = file_write,
                   .file_sync = file_sync,
                   .file_size = file_size,
                   .file_truncate = file_truncate,
                   .file_allocate = file_allocate,
                   .file_lock = file_lock,
                   .file_close = file_close,
                   .file_rename = file_rename,
                   .file_unlink = file_unlink,
                   .dir_make = dir_make,
                   .dir_remove = dir_remove,
                   .dir_list = dir_list,
                   .dir_sync = dir_sync,
                   .file_stat = file_stat};
}

void memsys_kill(memsys *m) {
    for (int fd = 0; fd < MEMSYS_FDS; fd++)
        if (m->fd[fd].inode) file_close(&m->sys, fd);
    m->dead = false;
    m->crash_at = m->fail_at = 0;
}

void memsys_power_cut(memsys *m) {
    memsys_kill(m);
    sim_disk_power_cut(&m->disk);
}

void memsys_fini(memsys *m) {
    memsys_kill(m);
    sim_disk_fini(&m->disk);
}
