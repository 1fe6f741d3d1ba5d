#ifndef SIM_HOST_H
#define SIM_HOST_H
/* host: one simulated machine: the simulator's implementation of rt/sys.h over a world, a network and a disk of its own.
 *
 * A host can be told to die: at once, or at the n-th file call from now (so that a crash strikes between any two steps of a job, or in the
 * middle of a write). From then on every call fails and nothing has an effect; sim_host_reset makes it a machine that has just started,
 * with what its disk holds.
 *
 * Threads are absent (thread_start is NULL): sim_node steps shards and pools. */
#include "sim/disk.h"
#include "sim/fault.h"
#include "sim/net.h"

typedef struct sim_host sim_host;
typedef struct sim_fd sim_fd;
typedef struct sim_poller sim_poller;
typedef struct sim_map sim_map;

typedef enum sim_death {
    SIM_ALIVE,
    SIM_KILLED, /* the process ended: the kernel closes its sockets and keeps its cache */
    SIM_POWER,  /* the machine ended: peers hear nothing, the cache is gone */
} sim_death;

struct sim_host {
    sys sys;         /* what the node is given: bare behind fault */
    sys bare;        /* bare.self is this */
    sim_fault fault; /* counts the node's calls; one of them may be planned to fail */
    sim_world *w;
    sim_net *net;
    sim_disk disk;   /* survives */
    sys_addr ip;     /* its address, port 0 */
    prng entropy;    /* of sys.entropy: a branch of the seed */
    usec booted;     /* monotonic time starts here */
    usec wall_shift; /* what the wall clock is ahead by */
    uint64_t cycles; /* the cycle counter's last answer: it always grows */
    sim_fd *fds;     /* by handle; kind NONE: free */
    size_t n_fds, cap_fds;
    size_t fds_max; /* FD_LIMIT past this */
    sim_map *maps;
    sim_death dead;       /* every call fails */
    sim_death dying;      /* how it dies when fuse burns down */
    uint32_t fuse;        /* file calls left; 0: not lit */
    uint64_t file_calls;  /* so far */
    bool survives_eio;    /* a mere kill may follow a failed sync; else the machine restarts too, because its cache cannot be trusted */
    sys_memory memory;    /* what the machine says; limit 0 at first: it says nothing */
    uint32_t sock_faults; /* chance in a million that a call on a socket resets it */
    void (*on_wake)(void *arg, int poll); /* a poller has something to report */
    void *on_wake_arg;
};

void sim_host_init(sim_host *h, sim_world *w, sim_net *net, const sys_addr *ip);
void sim_host_fini(sim_host *h); /* the node is gone */

void sim_host_kill(sim_host *h, sim_death how);                  /* now */
void sim_host_light(sim_host *h, sim_death how, uint32_t calls); /* at the calls-th file call from now, 1 is the next */
/* After death, and after the node was freed: closes what was open, applies the death to the disk, and lives again. */
void sim_host_reset(sim_host *h);
/* How many handles and mappings are open: 0 when a node was freed in order. */
size_t sim_host_open_handles(const sim_host *h);
size_t sim_host_sock_memory(const sim_host *h);       /* what its table of handles takes; sim_net.memory is the rest of a socket */
bool sim_host_has_ready(sim_host *h, int poll);       /* poll_wait would return at once */
void sim_host_address(uint32_t index, sys_addr *out); /* 10.x.y.z of machine index */

#endif
