#ifndef SIM_HOST_FILES_H
#define SIM_HOST_FILES_H
/* host_files: handles, and the file calls of a simulated machine; private to host.c. */
#include "sim/host.h"

typedef enum sim_fd_kind { SIM_FD_NONE, SIM_FD_FILE, SIM_FD_SOCK, SIM_FD_LISTENER, SIM_FD_POLLER } sim_fd_kind;

struct sim_fd {
    uint8_t kind; /* sim_fd_kind */
    bool listed;  /* in its poller's ready list */
    bool locked;  /* FILE: this opening has the lock */
    uint8_t interest;
    int poll; /* poller that watches it; -1: none */
    uint64_t token;
    union {
        sim_inode *inode;
        sim_sock *sock;
        sim_listener *listener;
        sim_poller *poller;
    };
};

sim_fd *sim_host_files_fd(sim_host *h, int fd, sim_fd_kind kind); /* NULL: no such handle */
NODISCARD err sim_host_files_fd_new(sim_host *h, sim_fd_kind kind, int *out);
void sim_host_files_close(sim_host *h, int fd);
void sim_host_files_init(sim_host *h); /* fills the table */
void sim_host_files_unmap(sim_host *h);
size_t sim_host_files_maps(const sim_host *h); /* how many are mapped */
/* sim_fault.half: a write that fails has written a part; a sync that fails may have lost what it should have kept. arg: the host. */
void sim_host_files_half(void *arg, sim_call call, int fd, slice data, uint64_t at);

#endif
