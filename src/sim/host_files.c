/* host_files: sys.h's file calls over disk.c, each of which may be the one at which the machine dies.
 *
 * Invariants: (1) Every call burns the fuse first; when it burns down the call fails, and if it is a write, a part of it is done. (2) A
 * call of a dead machine changes nothing. */
#include "sim/host_files.h"

#include "base/mem.h"

struct sim_map {
    sim_map *next;
    uint8_t *p;
    size_t len;
    sim_inode *inode; /* held */
};

static sim_host *host_of(sys *s) { return s->self; }

/* True: the machine lives and the call may go on. */
static bool alive(sim_host *h) {
    if (h->dead) return false;
    h->file_calls++;
    if (h->fuse && --h->fuse == 0) h->dead = h->dying;
    h->disk.wall = h->w->wall_base + h->w->now + h->wall_shift;
    return !h->dead;
}

static err files_open(sys *s, const char *path, unsigned flags, int *out_fd) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    int fd = -1;
    err e = sim_host_files_fd_new(h, SIM_FD_FILE, &fd);
    if (e) return e;
    e = sim_disk_open(&h->disk, path, flags, &h->fds[fd].inode);
    if (e) {
        h->fds[fd].kind = SIM_FD_NONE;
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

static err files_read(sys *s, int fd, void *p, size_t len, uint64_t at, size_t *out_n) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    return f ? sim_disk_read(&h->disk, f->inode, p, len, at, out_n) : ERR_INVALID;
}

static err files_write(sys *s, int fd, slice data, uint64_t at) {
    sim_host *h = host_of(s);
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    if (!f) return h->dead ? ERR_IO : ERR_INVALID;
    bool was = h->dead == SIM_ALIVE;
    if (!alive(h)) {
        if (was) sim_disk_write_part(&h->disk, f->inode, data, at);
        return ERR_IO;
    }
    return sim_disk_write(&h->disk, f->inode, data, at);
}

static err files_sync(sys *s, int fd) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    return f ? sim_disk_sync(&h->disk, f->inode) : ERR_INVALID;
}

static err files_size(sys *s, int fd, uint64_t *out) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    if (!f) return ERR_INVALID;
    *out = sim_disk_size(f->inode);
    return ERR_OK;
}

static err files_truncate(sys *s, int fd, uint64_t size) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    return f ? sim_disk_truncate(&h->disk, f->inode, size) : ERR_INVALID;
}

static err files_allocate(sys *s, int fd, uint64_t from, uint64_t len) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    return f ? sim_disk_allocate(&h->disk, f->inode, from, len) : ERR_INVALID;
}

static err files_lock(sys *s, int fd) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    if (!f) return ERR_INVALID;
    err e = f->locked ? ERR_OK : sim_disk_lock(f->inode);
    if (!e) f->locked = true;
    return e;
}

static void files_close(sys *s, int fd) {
    sim_host *h = host_of(s);
    if (!h->dead && sim_host_files_fd(h, fd, SIM_FD_FILE)) sim_host_files_close(h, fd);
}

static err files_rename(sys *s, const char *from, const char *to) {
    return alive(host_of(s)) ? sim_disk_rename(&host_of(s)->disk, from, to) : ERR_IO;
}
static err files_unlink(sys *s, const char *path) { return alive(host_of(s)) ? sim_disk_unlink(&host_of(s)->disk, path) : ERR_IO; }
static err files_dir_make(sys *s, const char *path) { return alive(host_of(s)) ? sim_disk_mkdir(&host_of(s)->disk, path) : ERR_IO; }
static err files_dir_remove(sys *s, const char *path) { return alive(host_of(s)) ? sim_disk_rmdir(&host_of(s)->disk, path) : ERR_IO; }
static err files_dir_list(sys *s, const char *path, void (*fn)(void *arg, const char *name), void *arg) {
    return alive(host_of(s)) ? sim_disk_list(&host_of(s)->disk, path, fn, arg) : ERR_IO;
}
static err files_dir_sync(sys *s, const char *path) { return alive(host_of(s)) ? sim_disk_dir_sync(&host_of(s)->disk, path) : ERR_IO; }
static err files_stat(sys *s, const char *path, uint64_t *out_size, usec *out_mtime) {
    return alive(host_of(s)) ? sim_disk_stat(&host_of(s)->disk, path, out_size, out_mtime) : ERR_IO;
}

/* A mapping is memory that reaches the cache when it is unmapped, or when the process is killed, but not when the power goes. */
static err files_map(sys *s, const char *path, size_t len, void **out) {
    sim_host *h = host_of(s);
    if (!alive(h)) return ERR_IO;
    sim_inode *f = NULL;
    err e = sim_disk_open(&h->disk, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &f);
    if (e) return e;
    sim_map *m = mem_zalloc(sizeof *m);
    *m = (sim_map){.next = h->maps, .p = mem_zalloc(len), .len = len, .inode = f};
    size_t got = 0;
    e = sim_disk_size(f) < len ? sim_disk_allocate(&h->disk, f, 0, len) : ERR_OK;
    if (!e) e = sim_disk_read(&h->disk, f, m->p, len, 0, &got);
    if (e) {
        mem_free(m->p);
        mem_free(m);
        sim_disk_close(&h->disk, f, false);
        return e;
    }
    h->maps = m;
    *out = m->p;
    return ERR_OK;
}

static void map_free(sim_host *h, sim_map *m, bool save) {
    if (save && sim_disk_write(&h->disk, m->inode, slice_of(m->p, m->len), 0)) save = false; /* as a page that could not be written back */
    sim_disk_close(&h->disk, m->inode, false);
    mem_free(m->p);
    mem_free(m);
}

static void files_unmap(sys *s, void *p, size_t len) {
    (void)len;
    sim_host *h = host_of(s);
    if (h->dead) return; /* sim_host_reset does */
    for (sim_map **at = &h->maps; *at; at = &(*at)->next) {
        sim_map *m = *at;
        if (m->p != p) continue;
        *at = m->next;
        map_free(h, m, true);
        return;
    }
}

void sim_host_files_unmap(sim_host *h) {
    while (h->maps) {
        sim_map *m = h->maps;
        h->maps = m->next;
        map_free(h, m, h->dead != SIM_POWER);
    }
}

size_t sim_host_files_maps(const sim_host *h) {
    size_t n = 0;
    for (const sim_map *m = h->maps; m; m = m->next) n++;
    return n;
}

void sim_host_files_half(void *arg, sim_call call, int fd, slice data, uint64_t at) {
    sim_host *h = arg;
    const sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_FILE);
    if (!f || !alive(h)) return;
    if (call == SIM_CALL_FILE_WRITE) sim_disk_write_part(&h->disk, f->inode, data, at);
    if (call == SIM_CALL_FILE_SYNC) sim_disk_sync_badly(&h->disk, f->inode);
}

void sim_host_files_init(sim_host *h) {
    sys *s = &h->bare;
    s->file_open = files_open, s->file_read = files_read, s->file_write = files_write, s->file_sync = files_sync;
    s->file_size = files_size, s->file_truncate = files_truncate, s->file_allocate = files_allocate, s->file_lock = files_lock;
    s->file_close = files_close, s->file_rename = files_rename, s->file_unlink = files_unlink, s->file_stat = files_stat;
    s->dir_make = files_dir_make, s->dir_remove = files_dir_remove, s->dir_list = files_dir_list, s->dir_sync = files_dir_sync;
    s->file_map = files_map, s->file_unmap = files_unmap;
}
