/* notify: see notify.h. */
#include "main/notify.h"

#include "base/codec.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(MAIN_NOTIFY_PATH == sizeof((struct sockaddr_un *)0)->sun_path, "as long as the kernel's");

static bool send_lines(const main_notify *n, const char *lines) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(n->path);
    memcpy(a.sun_path, n->path, len);
    if (a.sun_path[0] == '@') a.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    bool sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&a, size) >= 0;
    int error = errno;
    (void)close(fd);
    errno = error;
    return sent;
}

/* WATCHDOG_PID names whom WATCHDOG_USEC is meant for; without it, whoever has the variable. */
static usec watchdog_time(void) {
    const char *time = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t limit, who;
    if (!time || dec_parse_u64(slice_str(time), INT64_MAX, &limit) != ERR_OK) return 0;
    if (pid && (dec_parse_u64(slice_str(pid), INT64_MAX, &who) != ERR_OK || who != (uint64_t)getpid())) return 0;
    return (usec)limit;
}

bool main_notify_init(main_notify *n, char why[200]) {
    const char *path = getenv("NOTIFY_SOCKET");
    *n = (main_notify){.watchdog = 0};
    if (!path || !*path) return true;
    size_t len = strlen(path);
    if ((*path != '/' && *path != '@') || len < 2 || len >= sizeof n->path) {
        (void)snprintf(why, 200, "NOTIFY_SOCKET '%.100s' is neither a path nor @name of at most %zu bytes", path, sizeof n->path - 1);
        return false;
    }
    memcpy(n->path, path, len + 1);
    if (!send_lines(n, "STATUS=starting")) {
        (void)snprintf(why, 200, "NOTIFY_SOCKET %.110s: %s", path, strerror(errno));
        n->path[0] = 0;
        return false;
    }
    n->watchdog = watchdog_time();
    return true;
}

void main_notify_send(const main_notify *n, const char *lines) {
    if (n->path[0]) (void)send_lines(n, lines); /* a manager that is away has nobody to tell */
}

void main_notify_alive(main_notify *n, usec now) {
    if (n->watchdog == 0 || now < n->alive_next) return;
    n->alive_next = now + n->watchdog / 2;
    main_notify_send(n, "WATCHDOG=1");
}
