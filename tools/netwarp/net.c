/* net: see net.h. All sockets are non-blocking and close on exec. */
#include "net.h"

#include "base/codec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

void net_place_init(net_place *p) { *p = (net_place){.ns = -1, .home = -1}; }

void net_place_fini(net_place *p) {
    if (p->ns >= 0) close(p->ns);
    if (p->home >= 0) close(p->home);
    net_place_init(p);
}

err net_parse(const char *text, net_place *p) {
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon) return ERR_INVALID;
    bool v6 = text[0] == '[' && colon > text && colon[-1] == ']';
    slice h = v6 ? slice_of(text + 1, (size_t)(colon - text) - 2) : slice_of(text, (size_t)(colon - text));
    if (h.len == 0 || h.len >= sizeof host || dec_parse_u64(slice_str(colon + 1), 65535, &port)) return ERR_INVALID;
    memcpy(host, h.p, h.len);
    host[h.len] = 0;
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    if (v6 ? inet_pton(AF_INET6, host, &a6.sin6_addr) != 1 : inet_pton(AF_INET, host, &a4.sin_addr) != 1) return ERR_INVALID;
    p->len = v6 ? sizeof a6 : sizeof a4;
    memcpy(&p->addr, v6 ? (const void *)&a6 : &a4, p->len);
    return ERR_OK;
}

uint16_t net_port(const net_place *p) {
    uint16_t port; /* at the same place in both kinds of address */
    _Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "the port lies elsewhere");
    memcpy(&port, (const char *)&p->addr + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

void net_format(const struct sockaddr_storage *a, socklen_t len, char out[NET_TEXT]) {
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in a4 = {.sin_port = 0};
    struct sockaddr_in6 a6 = {.sin6_port = 0};
    bool v6 = a->ss_family == AF_INET6;
    memcpy(v6 ? (void *)&a6 : &a4, a, len < (v6 ? sizeof a6 : sizeof a4) ? len : (v6 ? sizeof a6 : sizeof a4));
    (void)inet_ntop(a->ss_family, v6 ? (const void *)&a6.sin6_addr : &a4.sin_addr, host, sizeof host); /* "?" stays if it cannot */
    (void)snprintf(out, NET_TEXT, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(v6 ? a6.sin6_port : a4.sin_port));
}

static err failed(const char *what, const char *name, char why[NET_TEXT]) {
    err e = errno == EADDRINUSE ? ERR_ADDR_IN_USE : errno == ENOENT ? ERR_NOT_FOUND : errno == EPERM ? ERR_PERM : ERR_IO;
    char reason[64];
    (void)snprintf(why, NET_TEXT, "%s %.60s: %s", what, name, strerror_r(errno, reason, sizeof reason));
    return e;
}

err net_ns(const char *name_or_path, net_place *p, char why[NET_TEXT]) {
    char path[300];
    bool is_path = strchr(name_or_path, '/') != NULL;
    int n = snprintf(path, sizeof path, "%s%s", is_path ? "" : "/var/run/netns/", name_or_path);
    if (n < 0 || (size_t)n >= sizeof path)
        errno = ENAMETOOLONG;
    else {
        p->ns = open(path, O_RDONLY | O_CLOEXEC);
        p->home = p->ns < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (p->home >= 0 && setns(p->ns, CLONE_NEWNET) == 0 && setns(p->home, CLONE_NEWNET) == 0) return ERR_OK;
    }
    return failed("cannot enter the network namespace", name_or_path, why);
}

static int make(const net_place *p, int type) {
    if (p->ns >= 0 && setns(p->ns, CLONE_NEWNET)) return -1;
    int fd = socket(p->addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved = errno;
    if (p->ns >= 0 && setns(p->home, CLONE_NEWNET)) panic("cannot return to the network namespace of the start: %s", strerror(errno));
    errno = saved;
    return fd;
}

static int bound(const net_place *p, int type) {
    int fd = make(p, type), one = 1;
    if (fd < 0) return -1;
    bool ok = (type != SOCK_STREAM || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0) &&
              bind(fd, (const struct sockaddr *)&p->addr, p->len) == 0;
    if (ok) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* The kernel takes a drawn port away from a socket that stops listening, but not one that was asked for. So a first socket draws it, a
 * second asks for the same, and the first goes. */
err net_bind(net_place *p, int type, int *out_fd, char why[NET_TEXT]) {
    char text[NET_TEXT];
    net_format(&p->addr, p->len, text);
    int first = bound(p, type);
    socklen_t len = sizeof p->addr;
    struct sockaddr_storage got;
    if (first < 0 || getsockname(first, (struct sockaddr *)&got, &len)) return failed("cannot bind", text, why);
    bool drawn = net_port(p) == 0;
    if (type != SOCK_STREAM || !drawn) {
        p->addr = got;
        *out_fd = first;
        return ERR_OK;
    }
    net_place exact = *p;
    exact.addr = got;
    int second = bound(&exact, type);
    err e = second < 0 ? failed("cannot bind", text, why) : ERR_OK;
    close(first);
    if (e) return e;
    p->addr = got;
    *out_fd = second;
    return ERR_OK;
}

err net_connect(const net_place *p, int type, int *out_fd) {
    int fd = make(p, type), one = 1;
    if (fd < 0) return ERR_FD_LIMIT;
    if (type == SOCK_STREAM) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* else only slower */
    if (connect(fd, (const struct sockaddr *)&p->addr, p->len) == 0 || errno == EINPROGRESS) {
        *out_fd = fd;
        return ERR_OK;
    }
    close(fd);
    return ERR_REFUSED;
}

void net_close_reset(int fd) {
    struct linger l = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l); /* a socket that is gone already needs none */
    close(fd);
}
