/* sys_linux: clocks, entropy and polling over Linux; sockets, files and threads are in the files beside it.
 *
 * Handles of sockets and files are descriptors. A poller is an epoll set and an eventfd; its handle is an index into a table, because a
 * wake from another thread needs both numbers:
 *
 *     shard thread                    other threads
 *     poll_wait(i) -> epoll_pwait2    poll_wake(i) -> write(eventfd) -> epoll wakes
 *
 * The eventfd is edge-triggered and never read: each write is one wake-up, and no read is paid for it.
 *
 * Invariants: (1) nothing here blocks but poll_wait, files and thread_join. (2) Every descriptor is close-on-exec and every socket is
 * non-blocking. (3) Process-wide effects are exactly three, made by sys_linux_new: SIGPIPE ignored and the handler of SIGUSR2
 * (sys_linux_thread.c), and the soft limit of open files raised to the hard one. None of them is a variable. */
#include "rt/sys_linux.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define CALIBRATE_NSEC 2000000L /* start-up pays this once; 2 ms gives about 50 parts in a million */
#define NSEC_PER_SEC   1000000000LL
#define TOKEN_WAKE     UINT64_MAX /* of the eventfd: callers cannot use it */

err sys_linux_errno(int e) {
    switch (e) {
    case EAGAIN: return ERR_AGAIN;
    case EINPROGRESS: return ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED: return ERR_RESET;
    case ECONNREFUSED: return ERR_REFUSED;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH: return ERR_TIMEOUT;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_NOSPC;
    case ENOENT:
    case ENOTDIR: return ERR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY: return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_PERM;
    case EADDRINUSE: return ERR_ADDR_IN_USE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return ERR_FD_LIMIT;
    case EINVAL:
    case EBADF:
    case ENOTSOCK:
    case ENAMETOOLONG:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EISDIR: return ERR_INVALID;
    default: return ERR_IO;
    }
}

/* --- clocks and entropy ---------------------------------------------------------------------------------------------------------- */
static int64_t clock_nsec(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) panic("clock_gettime failed: errno %d", errno);
    return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}
static usec linux_mono(sys *s) {
    (void)s;
    return clock_nsec(CLOCK_MONOTONIC) / 1000;
}
static usec linux_wall(sys *s) {
    (void)s;
    return clock_nsec(CLOCK_REALTIME) / 1000;
}

#if defined(__x86_64__)
static inline uint64_t read_cycles(void) { return __rdtsc(); }
#elif defined(__aarch64__)
static inline uint64_t read_cycles(void) {
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
}
#else
static inline uint64_t read_cycles(void) { return (uint64_t)clock_nsec(CLOCK_MONOTONIC); }
#endif
static uint64_t linux_cycles(sys *s) {
    (void)s;
    return read_cycles();
}
static uint64_t linux_cycles_per_sec(sys *s) { return sys_linux_of(s)->cycles_per_sec; }

static uint64_t calibrate(void) {
    int64_t t0 = clock_nsec(CLOCK_MONOTONIC);
    uint64_t c0 = read_cycles();
    struct timespec nap = {0, CALIBRATE_NSEC};
    (void)nanosleep(&nap, NULL); /* a signal makes it shorter and the figure a little worse */
    uint64_t c1 = read_cycles();
    int64_t t1 = clock_nsec(CLOCK_MONOTONIC);
    uint64_t nsec = t1 > t0 ? (uint64_t)(t1 - t0) : 1;
    uint64_t rate = (uint64_t)((long double)(c1 - c0) * (long double)NSEC_PER_SEC / (long double)nsec);
    return rate > 0 ? rate : 1;
}

static void linux_entropy(sys *s, void *out, size_t len) {
    (void)s;
    uint8_t *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) panic("getrandom failed: errno %d", errno);
        p += n;
        len -= (size_t)n;
    }
}

/* --- polling --------------------------------------------------------------------------------------------------------------------- */
static err linux_poll_new(sys *s, int *out_poll) {
    sys_linux *l = sys_linux_of(s);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0) return sys_linux_errno(errno);
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = TOKEN_WAKE};
    if (wake < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, wake, &ev) != 0) {
        err e = sys_linux_errno(errno);
        if (wake >= 0) (void)close(wake); /* nothing was written to it */
        (void)close(ep);
        return e;
    }
    for (int i = 0; i < SYS_LINUX_POLLS_MAX; i++) {
        int free_mark = -1;
        if (!atomic_compare_exchange_strong_explicit(&l->polls[i].epoll, &free_mark, ep, memory_order_acq_rel, memory_order_relaxed))
            continue;
        atomic_store_explicit(&l->polls[i].wake, wake, memory_order_release); /* pairs with poll_wake */
        *out_poll = i;
        return ERR_OK;
    }
    (void)close(wake);
    (void)close(ep);
    return ERR_FD_LIMIT;
}

static sys_linux_poll *poll_at(sys *s, int poll) {
    if (poll < 0 || poll >= SYS_LINUX_POLLS_MAX) panic("poller %d was never made", poll);
    return &sys_linux_of(s)->polls[poll];
}
static int epoll_at(sys *s, int poll) { return atomic_load_explicit(&poll_at(s, poll)->epoll, memory_order_acquire); }

static void linux_poll_free(sys *s, int poll) {
    sys_linux_poll *p = poll_at(s, poll);
    int wake = atomic_exchange_explicit(&p->wake, -1, memory_order_acq_rel);
    if (wake >= 0) (void)close(wake); /* an eventfd has nothing to lose */
    int ep = atomic_load_explicit(&p->epoll, memory_order_acquire);
    if (ep >= 0) (void)close(ep);
    atomic_store_explicit(&p->epoll, -1, memory_order_release); /* last: from here on another poll_new may take the place */
}

static err linux_poll_set(sys *s, int poll, int fd, uint32_t interest, uint64_t token) {
    if (token == TOKEN_WAKE) return ERR_INVALID;
    struct epoll_event ev = {.data.u64 = token};
    if (interest & SYS_IN) ev.events |= EPOLLIN;
    if (interest & SYS_OUT) ev.events |= EPOLLOUT;
    int ep = epoll_at(s, poll);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0) return ERR_OK;
    if (errno == EEXIST && epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev) == 0) return ERR_OK;
    return sys_linux_errno(errno == ENOSPC ? EMFILE : errno); /* here ENOSPC is max_user_watches, not a disk */
}

static void linux_poll_del(sys *s, int poll, int fd) {
    (void)epoll_ctl(epoll_at(s, poll), EPOLL_CTL_DEL, fd, NULL); /* not being in it is fine */
}

static int wait_some(sys_linux *l, int ep, struct epoll_event *ev, int n, usec timeout) {
    if (timeout == 0) return epoll_wait(ep, ev, n, 0);
    if (timeout == USEC_NEVER) return epoll_wait(ep, ev, n, -1);
    if (!atomic_load_explicit(&l->no_pwait2, memory_order_relaxed)) {
        struct timespec t = {timeout / USEC_PER_SEC, timeout % USEC_PER_SEC * 1000};
        int got = epoll_pwait2(ep, ev, n, &t, NULL);
        if (got >= 0 || errno != ENOSYS) return got;
        atomic_store_explicit(&l->no_pwait2, true, memory_order_relaxed);
    }
    usec msec = (timeout + USEC_PER_MSEC - 1) / USEC_PER_MSEC; /* rounded up: never early by rounding */
    return epoll_wait(ep, ev, n, msec > INT_MAX ? INT_MAX : (int)msec);
}

static int linux_poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int n) {
    struct epoll_event ev[SYS_LINUX_READY_MAX + 1];
    if (timeout < 0) timeout = 0;
    if (n > SYS_LINUX_READY_MAX) n = SYS_LINUX_READY_MAX;
    if (!check(n > 0)) return 0;
    int got = wait_some(sys_linux_of(s), epoll_at(s, poll), ev, n, timeout);
    if (got < 0) {
        if (errno == EINTR) return 0; /* the caller looks at its clock and comes back */
        panic("epoll_wait failed: errno %d", errno);
    }
    int k = 0;
    for (int i = 0; i < got; i++) {
        if (ev[i].data.u64 == TOKEN_WAKE) continue;
        uint32_t e = 0;
        if (ev[i].events & EPOLLIN) e |= SYS_IN;
        if (ev[i].events & EPOLLOUT) e |= SYS_OUT;
        if (ev[i].events & (EPOLLERR | EPOLLHUP)) e |= SYS_HUP;
        out[k++] = (sys_ready){.token = ev[i].data.u64, .events = e};
    }
    return k;
}

static void linux_poll_wake(sys *s, int poll) {
    int wake = atomic_load_explicit(&poll_at(s, poll)->wake, memory_order_acquire);
    uint64_t one = 1;
    if (wake < 0) return;
    while (write(wake, &one, sizeof one) < 0) { /* a wake that is lost leaves somebody asleep for good */
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EBADF) return; /* 2^64 wakes, and then it is awake; or it has just been freed */
        panic("a poller cannot be woken: errno %d", errno);
    }
}

/* --- making ---------------------------------------------------------------------------------------------------------------------- */
static void raise_fd_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= r.rlim_max) return;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r); /* without it there are fewer sessions, which FD_LIMIT says in time */
}

static uint32_t linux_fd_limit(sys *s) {
    struct rlimit r;
    (void)s;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return 1024; /* cannot fail with these arguments; POSIX's least otherwise */
    return r.rlim_cur > UINT32_MAX ? UINT32_MAX : (uint32_t)r.rlim_cur;
}

err sys_linux_new(sys **out) {
    err e = sys_linux_signals();
    if (e) return e;
    raise_fd_limit();
    sys_linux *l = mem_zalloc(sizeof *l);
    for (int i = 0; i < SYS_LINUX_POLLS_MAX; i++) {
        atomic_init(&l->polls[i].epoll, -1);
        atomic_init(&l->polls[i].wake, -1);
    }
    for (int i = 0; i < SYS_LINUX_LISTENS_MAX; i++) atomic_init(&l->listens[i].fd, -1);
    l->cycles_per_sec = calibrate();
    sys *s = &l->base;
    s->self = l;
    s->mono = linux_mono;
    s->wall = linux_wall;
    s->cycles = linux_cycles;
    s->cycles_per_sec = linux_cycles_per_sec;
    s->entropy = linux_entropy;
    s->poll_new = linux_poll_new;
    s->poll_free = linux_poll_free;
    s->poll_set = linux_poll_set;
    s->poll_del = linux_poll_del;
    s->poll_wait = linux_poll_wait;
    s->poll_wake = linux_poll_wake;
    sys_linux_sock_fill(s);
    sys_linux_file_fill(s);
    sys_linux_thread_fill(s);
    s->fd_limit = linux_fd_limit;
    s->memory = sys_linux_memory;
    *out = s;
    return ERR_OK;
}

void sys_linux_free(sys *s) {
    if (!s) return;
    sys_linux *l = sys_linux_of(s);
    for (int i = 0; i < SYS_LINUX_POLLS_MAX; i++)
        if (atomic_load_explicit(&l->polls[i].epoll, memory_order_acquire) >= 0) linux_poll_free(s, i);
    mem_free(l);
}
