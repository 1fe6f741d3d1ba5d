#ifndef TEST_MEMSYS_H
#define TEST_MEMSYS_H
/* memsys: a sys with files only, on the simulator's disk, for unit tests of what is stored: counts calls, fails or "crashes" at the nth,
 * cuts the power, and has a sector that cannot be read. Clocks and entropy come from the seed. One thread; a node can be stepped on it. */
#include "rt/sys.h"
#include "sim/disk.h"

#define MEMSYS_FDS 1024
typedef struct memsys_fd {
    sim_inode *inode; /* NULL: free */
    bool locked;
} memsys_fd;
typedef struct memsys {
    sys sys; /* pass &m.sys */
    prng rng;
    sim_disk disk;
    memsys_fd fd[MEMSYS_FDS];
    usec wall, mono;   /* advance at will */
    uint64_t calls;    /* file calls so far */
    uint64_t crash_at; /* the call with this number is interrupted and nothing works any more; 0: never */
    uint64_t fail_at;  /* the call with this number fails with fail_with (if it can), once; 0: never */
    err fail_with;
    bool fail_syncs_only;
    const char *bad_path; /* a file with a sector that cannot be read: bad_at; NULL: there is none */
    uint64_t bad_at;
    bool ended; /* sys.end was called: dead, too */
    bool dead;  /* crashed: every call fails until memsys_power_cut */
} memsys;

void memsys_init(memsys *m, uint64_t seed);
void memsys_fini(memsys *m);      /* closes what is open */
void memsys_power_cut(memsys *m); /* closes what is open, cuts the power, and all works again */
void memsys_kill(memsys *m);      /* closes what is open: the process is gone, the kernel's cache is not */

#endif
