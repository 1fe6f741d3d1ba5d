/* host: handles, pollers and clocks of a simulated machine; files are passed on to disk.c, sockets to net.c.
 *
 * Invariants: (1) A dead host has no effect on anything: each call starts with the question whether it lives, and each file call burns the
 * fuse. (2) Polling is level-triggered: a descriptor stays in its poller's ready list until it was looked at and found without anything to
 * report. (3) on_wake is called whenever a poller may have something to report that its shard has not been told. (4) The lowest free
 * handle is given out, as by a kernel, so that handles do not depend on addresses. */
#include "sim/host.h"

#include "base/mem.h"
#include "sim/host_files.h"

#define FDS_MAX       20000
#define NANOS_PER_SEC UINT64_C(1000000000)

struct sim_poller {
    int *ready; /* handles that may have something to report */
    size_t n_ready, cap_ready;
};

static sim_host *host_of(sys *s) { return s->self; }

sim_fd *sim_host_files_fd(sim_host *h, int fd, sim_fd_kind kind) {
    if (fd < 0 || (size_t)fd >= h->n_fds || h->fds[fd].kind != kind) return NULL;
    return &h->fds[fd];
}

err sim_host_files_fd_new(sim_host *h, sim_fd_kind kind, int *out) {
    size_t i = 0;
    while (i < h->n_fds && h->fds[i].kind != SIM_FD_NONE) i++;
    if (i >= h->fds_max) return ERR_FD_LIMIT;
    if (i == h->n_fds) {
        void *fds = h->fds;
        mem_grow(&fds, &h->cap_fds, i + 1, sizeof *h->fds);
        h->fds = fds;
        h->n_fds++;
    }
    h->fds[i] = (sim_fd){.kind = (uint8_t)kind, .poll = -1};
    *out = (int)i;
    return ERR_OK;
}

/* --- clocks and entropy ---------------------------------------------------------------------------------------------------------- */

static usec host_mono(sys *s) { return host_of(s)->w->now - host_of(s)->booted + USEC_PER_SEC; }
static usec host_wall(sys *s) { return host_of(s)->w->wall_base + host_of(s)->w->now + host_of(s)->wall_shift; }
static uint64_t host_cycles(sys *s) {
    sim_host *h = host_of(s);
    uint64_t t = (uint64_t)h->w->now * 1000;
    return h->cycles = t > h->cycles ? t : h->cycles + 1;
}
static uint64_t host_cycles_per_sec(sys *s) {
    (void)s;
    return NANOS_PER_SEC;
}
static void host_entropy(sys *s, void *out, size_t len) {
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)(prng_next(&host_of(s)->entropy) >> 32);
}

/* --- polling ---------------------------------------------------------------------------------------------------------------------- */

static sim_poller *poller(sim_host *h, int poll) {
    sim_fd *f = sim_host_files_fd(h, poll, SIM_FD_POLLER);
    return f ? f->poller : NULL;
}

static uint32_t fd_events(const sim_fd *f) {
    uint32_t r = 0;
    if (f->kind == SIM_FD_SOCK) r = sim_net_ready(f->sock);
    if (f->kind == SIM_FD_LISTENER) r = sim_net_acceptable(f->listener) ? SYS_IN : 0;
    return r & (f->interest | SYS_HUP);
}

/* Puts a descriptor on its poller's list if it has something to report. */
static void fd_check(sim_host *h, int fd) {
    sim_fd *f = &h->fds[fd];
    if (f->poll < 0 || !fd_events(f)) return;
    sim_poller *p = poller(h, f->poll);
    if (!f->listed) {
        void *ready = p->ready;
        mem_grow(&ready, &p->cap_ready, p->n_ready + 1, sizeof *p->ready);
        p->ready = ready;
        p->ready[p->n_ready++] = fd;
        f->listed = true;
    }
    if (h->on_wake) h->on_wake(h->on_wake_arg, f->poll);
}

static void on_sock(void *arg, int fd) {
    sim_host *h = arg;
    if (h->dead == SIM_ALIVE) fd_check(h, fd);
}

static err host_poll_new(sys *s, int *out) {
    sim_host *h = host_of(s);
    if (h->dead) return ERR_IO;
    int fd = -1;
    err e = sim_host_files_fd_new(h, SIM_FD_POLLER, &fd);
    if (e) return e;
    h->fds[fd].poller = mem_zalloc(sizeof *h->fds[fd].poller);
    *out = fd;
    return ERR_OK;
}

static void poller_free(sim_host *h, int poll) {
    sim_poller *p = h->fds[poll].poller;
    for (size_t i = 0; i < h->n_fds; i++)
        if (h->fds[i].poll == poll) h->fds[i].poll = -1, h->fds[i].listed = false;
    mem_free(p->ready);
    mem_free(p);
    h->fds[poll] = (sim_fd){.kind = SIM_FD_NONE, .poll = -1};
}

static void host_poll_free(sys *s, int poll) {
    if (poller(host_of(s), poll)) poller_free(host_of(s), poll);
}

static err host_poll_set(sys *s, int poll, int fd, uint32_t interest, uint64_t token) {
    sim_host *h = host_of(s);
    if (h->dead) return ERR_IO;
    if (!poller(h, poll) || fd < 0 || (size_t)fd >= h->n_fds || h->fds[fd].kind == SIM_FD_NONE) return ERR_INVALID;
    if (h->fds[fd].poll >= 0 && h->fds[fd].poll != poll) return ERR_EXISTS;
    h->fds[fd].poll = poll;
    h->fds[fd].interest = (uint8_t)interest; /* SYS_IN to SYS_HUP */
    h->fds[fd].token = token;
    fd_check(h, fd);
    return ERR_OK;
}

static void unlist(sim_host *h, int fd) {
    sim_fd *f = &h->fds[fd];
    sim_poller *p = poller(h, f->poll);
    if (f->listed && p) {
        size_t i = 0;
        while (p->ready[i] != fd) i++;
        memmove(p->ready + i, p->ready + i + 1, (p->n_ready - i - 1) * sizeof *p->ready);
        p->n_ready--;
    }
    f->listed = false;
    f->poll = -1;
}

static void host_poll_del(sys *s, int poll, int fd) {
    sim_host *h = host_of(s);
    if (fd >= 0 && (size_t)fd < h->n_fds && h->fds[fd].poll == poll && poll >= 0) unlist(h, fd);
}

static int host_poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int n) {
    (void)timeout; /* the world waits */
    sim_host *h = host_of(s);
    sim_poller *p = poller(h, poll);
    if (h->dead || !p) return 0;
    int got = 0;
    size_t kept = 0;
    for (size_t i = 0; i < p->n_ready; i++) {
        int fd = p->ready[i];
        uint32_t ev = got < n ? fd_events(&h->fds[fd]) : SYS_IN;
        if (ev && got < n) out[got++] = (sys_ready){.token = h->fds[fd].token, .events = ev};
        if (ev)
            p->ready[kept++] = fd;
        else
            h->fds[fd].listed = false;
    }
    p->n_ready = kept;
    if (got == n && kept > (size_t)n) { /* the next call starts with those that had to wait */
        for (size_t i = 0, rest = kept - (size_t)n; i < rest; i++) {
            int fd = p->ready[(size_t)n + i];
            memmove(p->ready + i + 1, p->ready + i, (size_t)n * sizeof *p->ready);
            p->ready[i] = fd;
        }
    }
    return got;
}

static void host_poll_wake(sys *s, int poll) {
    sim_host *h = host_of(s);
    if (h->dead || !poller(h, poll)) return;
    if (h->on_wake) h->on_wake(h->on_wake_arg, poll);
}

size_t sim_host_sock_memory(const sim_host *h) { return h->cap_fds * sizeof *h->fds; }

bool sim_host_has_ready(sim_host *h, int poll) {
    sim_poller *p = poller(h, poll);
    if (!p || h->dead) return false;
    for (size_t i = 0; i < p->n_ready; i++)
        if (fd_events(&h->fds[p->ready[i]])) return true;
    return false;
}

/* --- sockets ---------------------------------------------------------------------------------------------------------------------- */

static sim_wake wake_for(sim_host *h, int fd) { return (sim_wake){on_sock, h, fd}; }

static bool any_ip(const sys_addr *a) {
    for (size_t i = 0; i < sizeof a->ip; i++)
        if (a->ip[i]) return false;
    return true;
}

/* The wildcard, and any family, is the machine's one address. */
static sys_addr on_machine(sim_host *h, const sys_addr *a) {
    sys_addr r = *a;
    if (any_ip(a) || a->family != h->ip.family) {
        r.family = h->ip.family;
        memcpy(r.ip, h->ip.ip, sizeof r.ip);
    }
    r.path = NULL;
    return r;
}

static err host_listen(sys *s, const sys_addr *a, int backlog, bool reuse_port, int *out_fd) {
    sim_host *h = host_of(s);
    if (h->dead) return ERR_IO;
    if (a->family == SYS_UNIX) return ERR_UNSUPPORTED;
    int fd = -1;
    err e = sim_host_files_fd_new(h, SIM_FD_LISTENER, &fd);
    if (e) return e;
    sys_addr at = on_machine(h, a);
    e = sim_net_listen(h->net, &at, backlog, reuse_port, wake_for(h, fd), &h->fds[fd].listener);
    if (e) {
        h->fds[fd].kind = SIM_FD_NONE;
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

static err host_accept(sys *s, int fd, int *out_fd, sys_addr *out_peer) {
    sim_host *h = host_of(s);
    if (h->dead) return ERR_IO;
    sim_fd *l = sim_host_files_fd(h, fd, SIM_FD_LISTENER);
    if (!l) return ERR_INVALID;
    if (!sim_net_acceptable(l->listener)) return ERR_AGAIN;
    int nfd = -1;
    err e = sim_host_files_fd_new(h, SIM_FD_SOCK, &nfd);
    if (e) return e;
    sim_fd *f = &h->fds[nfd];
    e = sim_net_accept(h->fds[fd].listener, wake_for(h, nfd), &f->sock);
    if (e) {
        f->kind = SIM_FD_NONE;
        return e;
    }
    *out_fd = nfd;
    if (out_peer) *out_peer = sim_net_addr(f->sock, true);
    return ERR_OK;
}

static err host_connect(sys *s, const sys_addr *a, int *out_fd) {
    sim_host *h = host_of(s);
    if (h->dead) return ERR_IO;
    int fd = -1;
    err e = sim_host_files_fd_new(h, SIM_FD_SOCK, &fd);
    if (e) return e;
    h->fds[fd].sock = sim_net_connect(h->net, &h->ip, a, wake_for(h, fd));
    *out_fd = fd;
    return ERR_OK;
}

static err host_sock_error(sys *s, int fd) {
    sim_fd *f = sim_host_files_fd(host_of(s), fd, SIM_FD_SOCK);
    if (host_of(s)->dead) return ERR_IO;
    return f ? sim_net_error(f->sock) : ERR_INVALID;
}

/* The fault of a connection that is reset under our hands. */
static bool sock_fault(sim_host *h) { return h->sock_faults && sim_world_chance(h->w, h->sock_faults, 1000000); }

static err host_read(sys *s, int fd, void *p, size_t len, size_t *out_n) {
    sim_host *h = host_of(s);
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_SOCK);
    if (h->dead || !f) return h->dead ? ERR_IO : ERR_INVALID;
    return sock_fault(h) ? ERR_RESET : sim_net_read(f->sock, p, len, out_n);
}

static err host_writev(sys *s, int fd, const sys_iov *iov, int n, size_t *out_n) {
    sim_host *h = host_of(s);
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_SOCK);
    if (h->dead || !f) return h->dead ? ERR_IO : ERR_INVALID;
    return sock_fault(h) ? ERR_RESET : sim_net_write(f->sock, iov, n, out_n);
}

static void host_shutdown(sys *s, int fd) {
    sim_fd *f = sim_host_files_fd(host_of(s), fd, SIM_FD_SOCK);
    if (f && !host_of(s)->dead) sim_net_shutdown(f->sock);
}

static void fd_close(sim_host *h, int fd, sim_death how) {
    sim_fd *f = &h->fds[fd];
    if (f->poll >= 0) unlist(h, fd);
    switch ((sim_fd_kind)f->kind) {
    case SIM_FD_SOCK:
        if (how == SIM_POWER)
            sim_net_release(&f->sock, SIM_SILENT, sim_world_between(h->w, USEC_PER_SEC, 60 * USEC_PER_SEC));
        else
            sim_net_release(&f->sock, SIM_CLOSE, USEC_NEVER);
        break;
    case SIM_FD_LISTENER: sim_net_unlisten(f->listener, how == SIM_POWER); break;
    case SIM_FD_FILE: sim_disk_close(&h->disk, f->inode, f->locked); break;
    case SIM_FD_POLLER: poller_free(h, fd); break;
    case SIM_FD_NONE: break;
    }
    *f = (sim_fd){.kind = SIM_FD_NONE, .poll = -1};
}

static void host_close(sys *s, int fd) {
    sim_host *h = host_of(s);
    if (h->dead) return; /* sim_host_reset does */
    if (sim_host_files_fd(h, fd, SIM_FD_SOCK) || sim_host_files_fd(h, fd, SIM_FD_LISTENER)) fd_close(h, fd, SIM_ALIVE);
}

void sim_host_files_close(sim_host *h, int fd) { fd_close(h, fd, SIM_ALIVE); }

static err host_local_addr(sys *s, int fd, sys_addr *out) {
    sim_host *h = host_of(s);
    sim_fd *f = sim_host_files_fd(h, fd, SIM_FD_SOCK), *l = sim_host_files_fd(h, fd, SIM_FD_LISTENER);
    if (!f && !l) return ERR_INVALID;
    *out = f ? sim_net_addr(f->sock, false) : l->listener->addr;
    return ERR_OK;
}

static err host_peer_cred(sys *s, int fd, sys_peer *out) {
    (void)s, (void)fd, (void)out;
    return ERR_UNSUPPORTED; /* no Unix sockets here */
}

static err host_resolve(sys *s, const char *host, sys_addr *out, size_t max, size_t *out_n) {
    (void)s, (void)host, (void)out, (void)max, (void)out_n;
    return ERR_NOT_FOUND; /* there are no names of hosts here */
}

static void host_memory(sys *s, sys_memory *out) { *out = host_of(s)->memory; }

static void host_end(sys *s, const char *why) {
    sim_world_log(host_of(s)->w, "the node ends: %s", why);
    sim_host_kill(host_of(s), SIM_KILLED);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */

void sim_host_address(uint32_t index, sys_addr *out) {
    *out = (sys_addr){.family = SYS_INET4, .ip = {10, (uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index}};
}

void sim_host_init(sim_host *h, sim_world *w, sim_net *net, const sys_addr *ip) {
    memset(h, 0, sizeof *h);
    h->w = w;
    h->net = net;
    h->ip = *ip;
    h->fds_max = FDS_MAX;
    h->booted = w->now;
    prng_init(&h->entropy, prng_next(&w->rng));
    sim_disk_init(&h->disk, &w->rng);
    sys *s = &h->bare;
    *s = (sys){.self = h, .mono = host_mono, .wall = host_wall, .cycles = host_cycles, .cycles_per_sec = host_cycles_per_sec};
    s->entropy = host_entropy, s->end = host_end, s->memory = host_memory;
    s->poll_new = host_poll_new, s->poll_free = host_poll_free, s->poll_set = host_poll_set;
    s->poll_del = host_poll_del, s->poll_wait = host_poll_wait, s->poll_wake = host_poll_wake;
    s->listen = host_listen, s->accept = host_accept, s->connect = host_connect, s->sock_error = host_sock_error;
    s->read = host_read, s->writev = host_writev, s->shutdown = host_shutdown, s->close = host_close;
    s->local_addr = host_local_addr, s->peer_cred = host_peer_cred, s->resolve = host_resolve;
    sim_host_files_init(h);
    sim_fault_init(&h->fault, &h->bare, &h->sys);
    h->fault.half = sim_host_files_half;
    h->fault.half_arg = h;
}

static void close_all(sim_host *h, sim_death how) {
    for (size_t i = 0; i < h->n_fds; i++)
        if (h->fds[i].kind != SIM_FD_POLLER && h->fds[i].kind != SIM_FD_NONE) fd_close(h, (int)i, how);
    for (size_t i = 0; i < h->n_fds; i++)
        if (h->fds[i].kind == SIM_FD_POLLER) poller_free(h, (int)i);
    h->n_fds = 0;
    sim_host_files_unmap(h);
}

void sim_host_fini(sim_host *h) {
    close_all(h, SIM_KILLED);
    sim_disk_fini(&h->disk);
    mem_free(h->fds);
}

size_t sim_host_open_handles(const sim_host *h) {
    size_t n = sim_host_files_maps(h);
    for (size_t i = 0; i < h->n_fds; i++) n += h->fds[i].kind != SIM_FD_NONE;
    return n;
}

void sim_host_kill(sim_host *h, sim_death how) {
    if (h->dead == SIM_ALIVE) h->dead = how;
}

void sim_host_light(sim_host *h, sim_death how, uint32_t calls) {
    h->dying = how;
    h->fuse = calls;
}

void sim_host_reset(sim_host *h) {
    sim_death how = h->disk.failed_syncs && !h->survives_eio ? SIM_POWER : h->dead;
    close_all(h, how);
    if (how == SIM_POWER) sim_disk_power_cut(&h->disk);
    h->dead = h->dying = SIM_ALIVE;
    h->fuse = 0;
    h->booted = h->w->now;
    prng_init(&h->entropy, prng_next(&h->w->rng));
}
