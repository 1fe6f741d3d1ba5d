#ifndef RT_SYS_H
#define RT_SYS_H
/* sys: the one seam to the world. A node holds a sys; rt, store and edge reach clocks, entropy, sockets, files and threads only through
 * it. Two implementations: sys_linux.c and the simulator's (sim/). Handles are small non-negative ints that mean something to this sys
 * only. Calls never block, except: files (pool threads call those), poll_wait with a time-out, thread_join.
 *
 * Every function takes the sys first. Operating errors are err: AGAIN (would block), EOF (peer closed in order), RESET, IO, NOSPC,
 * NOT_FOUND, EXISTS, PERM, BUSY (file locked by another), ADDR_IN_USE, FD_LIMIT, TIMEOUT, REFUSED, INVALID. */
#include "base/slice.h"
#include "base/time.h"

typedef struct sys sys;

typedef enum sys_family { SYS_INET4 = 4, SYS_INET6 = 6, SYS_UNIX = 1 } sys_family;
typedef struct sys_addr {
    uint8_t family;   /* sys_family */
    uint16_t port;    /* host order */
    uint8_t ip[16];   /* network order; IPv4 uses 4; unused for UNIX */
    const char *path; /* UNIX only; borrowed */
} sys_addr;

#define SYS_IN  1u /* readable, or a connection to accept, or the peer closed */
#define SYS_OUT 2u /* writable */
#define SYS_HUP 4u /* error or hang-up; always reported */
typedef struct sys_ready {
    uint64_t token;  /* as given to poll_set */
    uint32_t events; /* SYS_* */
} sys_ready;

typedef struct sys_iov {
    const uint8_t *p;
    size_t len;
} sys_iov;

#define SYS_OPEN_READ   0u
#define SYS_OPEN_WRITE  1u /* read and write */
#define SYS_OPEN_CREATE 2u /* with WRITE: create if missing, mode 0600 */
#define SYS_OPEN_EXCL   4u /* with CREATE: ERR_EXISTS if present */
#define SYS_OPEN_TRUNC  8u
#define SYS_OPEN_DSYNC  16u /* reserved for engines that want O_DSYNC */

typedef struct sys_peer { /* of a Unix socket */
    int64_t pid, uid, gid;
} sys_peer;

typedef struct sys_memory { /* bytes; 0: not known */
    uint64_t own;           /* that this process has to itself: anonymous pages */
    uint64_t used, limit;   /* of all limits on its memory the nearest, and what counts against that one and cannot be taken back */
} sys_memory;

#define SYS_STACK_MAX 64
typedef struct sys_stack { /* addresses of a thread's frames, innermost first */
    void *frame[SYS_STACK_MAX];
    int n;
} sys_stack;

typedef struct sys_thread sys_thread;

struct sys {
    void *self; /* the implementation's state */

    /* --- clocks and entropy */
    usec (*mono)(sys *s);       /* never goes back; the base of every deadline */
    usec (*wall)(sys *s);       /* since 1970; may jump; for stamps only */
    uint64_t (*cycles)(sys *s); /* a fast counter of this thread's CPU */
    uint64_t (*cycles_per_sec)(sys *s);
    void (*entropy)(sys *s, void *out, size_t len); /* cryptographic (in the simulator: seeded) */

    /* --- polling: level-triggered, one poller per shard (and one for ctl) */
    err (*poll_new)(sys *s, int *out_poll);
    void (*poll_free)(sys *s, int poll);
    err (*poll_set)(sys *s, int poll, int fd, uint32_t interest, uint64_t token); /* adds or changes; interest 0 keeps only SYS_HUP */
    void (*poll_del)(sys *s, int poll, int fd);
    /* Waits at most timeout (0: not at all; USEC_NEVER) and fills up to n. Returns how many. A wake ends the wait early. */
    int (*poll_wait)(sys *s, int poll, usec timeout, sys_ready *out, int n);
    void (*poll_wake)(sys *s, int poll); /* from any thread */

    /* --- sockets: non-blocking, close-on-exec, TCP_NODELAY */
    err (*listen)(sys *s, const sys_addr *a, int backlog, bool reuse_port, int *out_fd); /* UNIX: replaces a stale socket, mode 0600 */
    err (*accept)(sys *s, int fd, int *out_fd, sys_addr *out_peer);
    err (*connect)(sys *s, const sys_addr *a, int *out_fd); /* in progress: writable when done, then sock_error */
    err (*sock_error)(sys *s, int fd);
    err (*read)(sys *s, int fd, void *p, size_t len, size_t *out_n);         /* EOF when the peer closed */
    err (*writev)(sys *s, int fd, const sys_iov *iov, int n, size_t *out_n); /* may be partial; AGAIN when nothing */
    void (*shutdown)(sys *s, int fd);                                        /* no more writing */
    void (*close)(sys *s, int fd);                                           /* sockets and pollers' members: also leaves the poller */
    err (*local_addr)(sys *s, int fd, sys_addr *out);
    err (*peer_cred)(sys *s, int fd, sys_peer *out);
    /* The addresses of a host, at most max, best first (RFC 6724), with port 0. May block for as long as name servers are waited for: pool
     * threads call it. NOT_FOUND: there is no such host, or it has no address; TIMEOUT: no name server has said. */
    err (*resolve)(sys *s, const char *host, sys_addr *out, size_t max, size_t *out_n);

    /* --- files: may block */
    err (*file_open)(sys *s, const char *path, unsigned flags, int *out_fd);
    err (*file_read)(sys *s, int fd, void *p, size_t len, uint64_t at, size_t *out_n); /* short only at the end of the file */
    err (*file_write)(sys *s, int fd, slice data, uint64_t at);                        /* all of it or an error */
    err (*file_sync)(sys *s, int fd);                                                  /* fdatasync; after an error nothing is known */
    err (*file_size)(sys *s, int fd, uint64_t *out);
    err (*file_truncate)(sys *s, int fd, uint64_t size);
    err (*file_allocate)(sys *s, int fd, uint64_t from, uint64_t len); /* reserves space, reads as zero; NOSPC now, not later */
    err (*file_lock)(sys *s, int fd);                                  /* exclusive, advisory; BUSY */
    void (*file_close)(sys *s, int fd);
    err (*file_rename)(sys *s, const char *from, const char *to);
    err (*file_unlink)(sys *s, const char *path);
    err (*dir_make)(sys *s, const char *path);                                                     /* 0700; EXISTS */
    err (*dir_remove)(sys *s, const char *path);                                                   /* EXISTS: it is not empty */
    err (*dir_list)(sys *s, const char *path, void (*fn)(void *arg, const char *name), void *arg); /* sorted by name */
    err (*dir_sync)(sys *s, const char *path);
    err (*file_stat)(sys *s, const char *path, uint64_t *out_size, usec *out_mtime); /* mtime is wall time */
    /* A mapped, shared file of len bytes (created, zero-filled when new): for the flight recorder. A core of this process has it. */
    err (*file_map)(sys *s, const char *path, size_t len, void **out);
    void (*file_unmap)(sys *s, void *p, size_t len);

    /* Ends this process (in the simulator: this node) now, because going on would break a promise; why: a sentence for the operator. Live
     * it does not return. In the simulator it does: from then on every call fails and has no effect, and the node is taken down when the
     * present step or job returns. */
    void (*end)(sys *s, const char *why);

    /* --- threads: NULL in the simulator, which steps shards and pools itself */
    err (*thread_start)(sys *s, const char *name, void (*fn)(void *arg), void *arg, sys_thread **out);
    void (*thread_join)(sys *s, sys_thread *t); /* frees t */
    bool (*thread_stack)(sys *s, sys_thread *t,
                         sys_stack *out); /* interrupts t by signal and takes its stack; false: no answer in 100 ms */

    /* How many descriptors this process may hold: the lowest number that is not handed out. NULL: no limit is known. */
    uint32_t (*fd_limit)(sys *s);
    /* What is used of the memory that the process may have: from control groups and the machine. NULL: it cannot be known. */
    void (*memory)(sys *s, sys_memory *out);
};

/* The Linux implementation: one per process is enough; free with sys_linux_free. */
NODISCARD err sys_linux_new(sys **out);
void sys_linux_free(sys *s);
/* The first bytes, at most max, of a file with a secret, at start-up. ERR_PERM: it can be read by others, or not by us; ERR_NOT_FOUND;
 * ERR_IO. */
NODISCARD err sys_secret_read(const char *path, void *out, size_t max, size_t *out_n);

/* Text forms: "127.0.0.1:5222", "[::1]:5222", "unix:/path". out needs SYS_ADDR_TEXT bytes. */
#define SYS_ADDR_TEXT 128
void sys_addr_format(const sys_addr *a, char *out);
bool sys_addr_is_loopback(const sys_addr *a);            /* 127.0.0.0/8, also as IPv4 within IPv6, and ::1 */
NODISCARD err sys_addr_parse(slice text, sys_addr *out); /* numeric addresses and "unix:" only; a UNIX path borrows text (NUL-terminated) */

#endif
