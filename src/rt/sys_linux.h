#ifndef RT_SYS_LINUX_H
#define RT_SYS_LINUX_H
/* sys_linux: the Linux implementation of the seam, private to its five files: clocks and polling (sys_linux.c), sockets
 * (sys_linux_sock.c), files (sys_linux_file.c), threads (sys_linux_thread.c), memory (sys_linux_memory.c). */
#include "rt/sys.h"

#include <stdatomic.h>

#define SYS_LINUX_POLLS_MAX   1024 /* pollers of one sys: a shard or a ctl each */
#define SYS_LINUX_LISTENS_MAX 256  /* listeners with a shared port that are told apart from those of other processes */
#define SYS_LINUX_IOV_MAX     64   /* pieces written in one call; more is a partial write */
#define SYS_LINUX_GROUP_PATH  1024 /* of a control group's directory */
#define SYS_LINUX_READY_MAX   256  /* readiness events taken in one call */

typedef struct sys_linux_poll {
    _Atomic int epoll; /* -1: free. Claimed and freed by acq_rel exchange, so that wake (acquire) sees the eventfd that belongs to it */
    _Atomic int wake;  /* eventfd, edge-triggered: never read */
} sys_linux_poll;

typedef struct sys_linux_listen { /* a port that this sys itself listens on with SO_REUSEPORT, on whatever address */
    _Atomic int fd;               /* -1: free, -2: being filled; release by who fills it, acquire by who compares */
    _Atomic uint32_t port;        /* relaxed: ordered by fd */
} sys_linux_listen;

typedef struct sys_linux {
    sys base;
    uint64_t cycles_per_sec;
    _Atomic bool no_pwait2; /* the kernel lacks epoll_pwait2; relaxed: learnt once, at worst twice */
    sys_linux_poll polls[SYS_LINUX_POLLS_MAX];
    sys_linux_listen listens[SYS_LINUX_LISTENS_MAX];
} sys_linux;

static inline sys_linux *sys_linux_of(sys *s) { return s->self; }
err sys_linux_errno(int e); /* never OK */
void sys_linux_sock_fill(sys *s);
void sys_linux_file_fill(sys *s);
void sys_linux_thread_fill(sys *s);
void sys_linux_memory(sys *s, sys_memory *out); /* sys.memory */
/* Writes a file whole: beside it, 0600, synced, then renamed over path. For key files, which must never be readable by others for a moment.
 */
NODISCARD err sys_linux_file_replace(const char *path, slice data);
/* Process-wide, for what cannot be had otherwise: SIGPIPE is ignored, SIGUSR2 means "take your stack". Idempotent. */
NODISCARD err sys_linux_signals(void);

#endif
