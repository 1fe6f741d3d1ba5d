/* sys_linux_sock: sockets over Linux.
 *
 * Invariants: (1) a listener on an unspecified IPv6 address takes IPv4 too; a peer that comes that way is reported as IPv4. (2) With a
 * shared port (one listener per shard) the kernel would let a second process of the same user in, and half of the connections would go
 * there: the first bind of a port therefore probes without SO_REUSEPORT, and only further binds by this sys skip the probe (of another
 * address too: "[::]:5222" and "0.0.0.0:5222" may both be asked for, and then each gets its own family).
 * (3) A Unix socket is 0600 from the moment that it has a name, and one that somebody still answers on is never replaced.
 * (4) TCP_NODELAY is set on the listener: accepted sockets inherit it, which saves a call per connection. */
#include "rt/sys_linux.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_TRIES 16 /* connections that died in the queue are skipped, at most this many a call */
#define SLOT_FREE    (-1)
#define SLOT_FILLING (-2)

typedef union sock_name {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_storage room;
} sock_name;

static err name_of(const sys_addr *a, sock_name *out, socklen_t *out_len) {
    *out = (sock_name){0};
    switch ((sys_family)a->family) {
    case SYS_INET4:
        out->in4.sin_family = AF_INET;
        out->in4.sin_port = htons(a->port);
        memcpy(&out->in4.sin_addr, a->ip, 4);
        *out_len = sizeof out->in4;
        return ERR_OK;
    case SYS_INET6:
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(a->port);
        memcpy(&out->in6.sin6_addr, a->ip, 16);
        *out_len = sizeof out->in6;
        return ERR_OK;
    case SYS_UNIX: {
        size_t len = a->path ? strlen(a->path) : 0;
        if (len == 0 || len >= sizeof out->un.sun_path) return ERR_INVALID;
        out->un.sun_family = AF_UNIX;
        memcpy(out->un.sun_path, a->path, len + 1);
        *out_len = sizeof out->un;
        return ERR_OK;
    }
    }
    return ERR_INVALID;
}

static void addr_of(const sock_name *n, sys_addr *out) {
    *out = (sys_addr){.path = ""};
    if (n->any.sa_family == AF_INET) {
        out->family = SYS_INET4;
        out->port = ntohs(n->in4.sin_port);
        memcpy(out->ip, &n->in4.sin_addr, 4);
    } else if (n->any.sa_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&n->in6.sin6_addr);
        out->family = mapped ? SYS_INET4 : SYS_INET6;
        out->port = ntohs(n->in6.sin6_port);
        memcpy(out->ip, n->in6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    } else {
        out->family = SYS_UNIX;
    }
}

static err option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? ERR_OK : sys_linux_errno(errno);
}

/* --- listening ------------------------------------------------------------------------------------------------------------------- */
static bool listens_here(sys_linux *l, uint16_t port) {
    for (int i = 0; i < SYS_LINUX_LISTENS_MAX; i++) {
        sys_linux_listen *x = &l->listens[i];
        if (atomic_load_explicit(&x->fd, memory_order_acquire) < 0) continue;
        if (atomic_load_explicit(&x->port, memory_order_relaxed) == port) return true;
    }
    return false;
}

static void remember_listener(sys_linux *l, int fd) {
    sock_name n = {0};
    socklen_t len = sizeof n;
    if (getsockname(fd, &n.any, &len) != 0) return; /* then a second bind probes, and fails: noticed, not hidden */
    for (int i = 0; i < SYS_LINUX_LISTENS_MAX; i++) {
        int mark = SLOT_FREE;
        sys_linux_listen *x = &l->listens[i];
        if (!atomic_compare_exchange_strong_explicit(&x->fd, &mark, SLOT_FILLING, memory_order_acq_rel, memory_order_relaxed)) continue;
        atomic_store_explicit(&x->port, ntohs(n.in4.sin_port), memory_order_relaxed);
        atomic_store_explicit(&x->fd, fd, memory_order_release); /* pairs with listens_here */
        return;
    }
}

static void forget_listener(sys_linux *l, int fd) {
    for (int i = 0; i < SYS_LINUX_LISTENS_MAX; i++) {
        int mark = fd;
        if (atomic_compare_exchange_strong_explicit(&l->listens[i].fd, &mark, SLOT_FREE, memory_order_acq_rel, memory_order_relaxed))
            return;
    }
}

static err bind_inet(const sock_name *n, socklen_t len, bool shared, int *out_fd) {
    int fd = socket(n->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno == EAFNOSUPPORT ? ERR_UNSUPPORTED : sys_linux_errno(errno);
    err e = option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!e && shared) e = option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!e) e = option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!e && n->any.sa_family == AF_INET6) e = option(fd, IPPROTO_IPV6, IPV6_V6ONLY, IN6_IS_ADDR_UNSPECIFIED(&n->in6.sin6_addr) ? 0 : 1);
    if (!e && bind(fd, &n->any, len) != 0) e = sys_linux_errno(errno);
    if (e) {
        (void)close(fd); /* the bind's error is what counts */
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

static err listen_inet(sys_linux *l, sock_name *n, socklen_t len, int backlog, bool reuse_port, int *out_fd) {
    uint16_t port = ntohs(n->in4.sin_port); /* it lies at the same place in both families */
    if (reuse_port && port != 0 && !listens_here(l, port)) {
        int probe;
        err e = bind_inet(n, len, false, &probe);
        if (e) return e;
        (void)close(probe); /* it never listened: its address is free at once */
    }
    int fd;
    err e = bind_inet(n, len, reuse_port, &fd);
    if (e) return e;
    if (listen(fd, backlog) != 0) {
        e = sys_linux_errno(errno);
        (void)close(fd);
        return e;
    }
    if (reuse_port) remember_listener(l, fd);
    *out_fd = fd;
    return ERR_OK;
}

/* Removes a socket that nobody answers on. BUSY: somebody does. EXISTS: it is not a socket. */
static err remove_stale(const sock_name *n, socklen_t len) {
    struct stat st;
    if (lstat(n->un.sun_path, &st) != 0) return errno == ENOENT ? ERR_OK : sys_linux_errno(errno);
    if (!S_ISSOCK(st.st_mode)) return ERR_EXISTS;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return sys_linux_errno(errno);
    int rc = connect(fd, &n->any, len);
    int why = errno;
    (void)close(fd); /* it was only a knock on the door */
    if (rc == 0 || why == EAGAIN || why == EINPROGRESS) return ERR_BUSY;
    if (why != ECONNREFUSED) return sys_linux_errno(why);
    return unlink(n->un.sun_path) == 0 || errno == ENOENT ? ERR_OK : sys_linux_errno(errno);
}

static err listen_unix(const sock_name *n, socklen_t len, int backlog, int *out_fd) {
    err e = remove_stale(n, len);
    if (e) return e;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return sys_linux_errno(errno);
    /* On Linux the name gets the mode of the socket's own inode: there is no moment at which others could connect. */
    bool bound = fchmod(fd, 0600) == 0 && bind(fd, &n->any, len) == 0;
    if (!bound || chmod(n->un.sun_path, 0600) != 0 || listen(fd, backlog) != 0) {
        e = sys_linux_errno(errno);
        if (bound) (void)unlink(n->un.sun_path); /* made just now; worst, a stale socket stays for the next start to remove */
        (void)close(fd);
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

static err linux_listen(sys *s, const sys_addr *a, int backlog, bool reuse_port, int *out_fd) {
    sock_name n;
    socklen_t len;
    err e = name_of(a, &n, &len);
    if (e) return e;
    if (a->family == SYS_UNIX) return listen_unix(&n, len, backlog, out_fd);
    e = listen_inet(sys_linux_of(s), &n, len, backlog, reuse_port, out_fd);
    if (e != ERR_UNSUPPORTED || a->family != SYS_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&n.in6.sin6_addr)) return e;
    /* A kernel without IPv6: "every address" is then every IPv4 address. */
    sys_addr any4 = {.family = SYS_INET4, .port = a->port};
    e = name_of(&any4, &n, &len);
    return e ? e : listen_inet(sys_linux_of(s), &n, len, backlog, reuse_port, out_fd);
}

/* --- connections ----------------------------------------------------------------------------------------------------------------- */
static err linux_accept(sys *s, int fd, int *out_fd, sys_addr *out_peer) {
    (void)s;
    for (int i = 0; i < ACCEPT_TRIES; i++) {
        sock_name n = {0};
        socklen_t len = sizeof n;
        int got = accept4(fd, &n.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0) {
            if (out_peer) addr_of(&n, out_peer);
            *out_fd = got;
            return ERR_OK;
        }
        switch (errno) { /* accept(2): errors of the new connection, not of the listener */
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case ENETUNREACH: continue;
        default: return sys_linux_errno(errno);
        }
    }
    return ERR_AGAIN;
}

static err linux_connect(sys *s, const sys_addr *a, int *out_fd) {
    (void)s;
    sock_name n;
    socklen_t len;
    err e = name_of(a, &n, &len);
    if (e) return e;
    int fd = socket(n.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return sys_linux_errno(errno);
    if (a->family != SYS_UNIX) e = option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!e && connect(fd, &n.any, len) != 0 && errno != EINPROGRESS && errno != EINTR) e = sys_linux_errno(errno);
    if (e) {
        (void)close(fd);
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

static err linux_sock_error(sys *s, int fd) {
    (void)s;
    int value = 0;
    socklen_t len = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) != 0) return sys_linux_errno(errno);
    return value ? sys_linux_errno(value) : ERR_OK;
}

static err linux_read(sys *s, int fd, void *p, size_t len, size_t *out_n) {
    (void)s;
    ssize_t n;
    do n = recv(fd, p, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return sys_linux_errno(errno);
    if (n == 0 && len > 0) return ERR_EOF;
    *out_n = (size_t)n;
    return ERR_OK;
}

static err linux_writev(sys *s, int fd, const sys_iov *iov, int n, size_t *out_n) {
    (void)s;
    struct iovec v[SYS_LINUX_IOV_MAX];
    if (n > SYS_LINUX_IOV_MAX) n = SYS_LINUX_IOV_MAX;
    for (int i = 0; i < n; i++) {
        v[i].iov_base = (void *)(uintptr_t)iov[i].p; /* the kernel only reads it; the C interface cannot say so */
        v[i].iov_len = iov[i].len;
    }
    struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
    ssize_t sent;
    do sent = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) return sys_linux_errno(errno);
    *out_n = (size_t)sent;
    return ERR_OK;
}

static void linux_shutdown(sys *s, int fd) {
    (void)s;
    (void)shutdown(fd, SHUT_WR); /* the peer may be gone already, which is what it would have learnt */
}

static void linux_close(sys *s, int fd) {
    forget_listener(sys_linux_of(s), fd);
    (void)close(fd); /* a socket's close reports nothing that anybody could act upon */
}

static err linux_local_addr(sys *s, int fd, sys_addr *out) {
    (void)s;
    sock_name n = {0};
    socklen_t len = sizeof n;
    if (getsockname(fd, &n.any, &len) != 0) return sys_linux_errno(errno);
    addr_of(&n, out);
    return ERR_OK;
}

static err linux_peer_cred(sys *s, int fd, sys_peer *out) {
    (void)s;
    struct ucred c;
    socklen_t len = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) != 0) return sys_linux_errno(errno);
    *out = (sys_peer){.pid = c.pid, .uid = c.uid, .gid = c.gid};
    return ERR_OK;
}

static err resolve_error(int code) {
    switch (code) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return ERR_NOT_FOUND;
    case EAI_AGAIN: return ERR_TIMEOUT;
    case EAI_SYSTEM: return sys_linux_errno(errno);
    default: return ERR_IO;
    }
}

static err linux_resolve(sys *s, const char *host, sys_addr *out, size_t max, size_t *out_n) {
    (void)s;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    size_t n = 0;
    int code = getaddrinfo(host, NULL, &hints, &all);
    if (code) return resolve_error(code);
    for (const struct addrinfo *i = all; i && n < max; i = i->ai_next) {
        sock_name name = {0};
        if ((i->ai_family != AF_INET && i->ai_family != AF_INET6) || i->ai_addrlen > sizeof name) continue;
        memcpy(&name, i->ai_addr, i->ai_addrlen);
        addr_of(&name, &out[n++]);
    }
    freeaddrinfo(all);
    *out_n = n;
    return n ? ERR_OK : ERR_NOT_FOUND;
}

void sys_linux_sock_fill(sys *s) {
    s->listen = linux_listen;
    s->accept = linux_accept;
    s->connect = linux_connect;
    s->sock_error = linux_sock_error;
    s->read = linux_read;
    s->writev = linux_writev;
    s->shutdown = linux_shutdown;
    s->close = linux_close;
    s->local_addr = linux_local_addr;
    s->peer_cred = linux_peer_cred;
    s->resolve = linux_resolve;
}
