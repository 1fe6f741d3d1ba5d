#ifndef SIM_DISK_H
#define SIM_DISK_H
/* disk: the files of one simulated machine, with what a real disk does to those who do not sync.
 *
 * A write goes to the cache; file_sync makes the bytes and the size of that file durable. At a power cut each 512-byte sector that was
 * written since the last sync is, independently, kept, dropped or torn. Creations, renames and unlinks are durable after dir_sync of their
 * directory; at a power cut a prefix of each directory's pending changes survives. A killed process loses nothing of this: the cache
 * belongs to the kernel. A sync that fails (EIO) may lose sectors for good although they still read well from the cache, as Linux does: a
 * later sync that reports OK does not bring them back.
 *
 * Paths are compared as text, without a trailing slash; "" and "." and "/" are there from the start. */
#include "base/prng.h"
#include "base/slice.h"
#include "base/time.h"

#define SIM_SECTOR 512u
#define SIM_PAGE   4096u

typedef struct sim_inode sim_inode;
typedef struct sim_entry sim_entry;
typedef struct sim_dirop sim_dirop;
typedef struct sim_names { /* sorted by path */
    sim_entry *e;
    size_t n, cap;
} sim_names;

typedef struct sim_disk_faults { /* chances in a million per call */
    uint32_t read_eio;           /* a read fails */
    uint32_t write_eio;          /* a write fails, having written a random part */
    uint32_t sync_eio;           /* a sync fails: each dirty sector is durable, or lost for good */
    uint32_t nospc;              /* a write or an allocation that needs new space is refused */
} sim_disk_faults;

typedef struct sim_disk {
    prng *rng;                    /* borrowed: the world's */
    sim_names live;               /* what calls see */
    sim_names durable;            /* what a power cut leaves, before the pending changes that survive */
    sim_dirop *ops, **ops_tail;   /* pending directory changes, oldest first */
    sim_inode *inodes;            /* all of them */
    uint64_t capacity;            /* bytes; 0: unlimited */
    uint64_t used;                /* bytes of allocated pages */
    sim_disk_faults faults;       /* may be changed at any time */
    usec wall;                    /* wall clock for modification times; set by the host before calls */
    uint64_t writes, syncs;       /* calls so far */
    uint64_t failed_syncs;        /* since the last power cut: what the cache shows may not be on the platter, ever */
    uint64_t dropped, torn, kept; /* sectors, over all power cuts */
} sim_disk;

void sim_disk_init(sim_disk *d, prng *rng);
void sim_disk_fini(sim_disk *d); /* every open file must be closed */

/* Errors as sys.h says. An opened inode is held until sim_disk_close. flags: SYS_OPEN_*. */
NODISCARD err sim_disk_open(sim_disk *d, const char *path, unsigned flags, sim_inode **out);
void sim_disk_close(sim_disk *d, sim_inode *f, bool locked); /* locked: this opening holds the lock */
NODISCARD err sim_disk_read(sim_disk *d, sim_inode *f, void *p, size_t len, uint64_t at, size_t *out_n);
NODISCARD err sim_disk_write(sim_disk *d, sim_inode *f, slice data, uint64_t at);
NODISCARD err sim_disk_sync(sim_disk *d, sim_inode *f);
void sim_disk_sync_badly(sim_disk *d, sim_inode *f); /* what a sync that fails does: each dirty sector is durable, or lost for good */
uint64_t sim_disk_size(const sim_inode *f);
NODISCARD err sim_disk_truncate(sim_disk *d, sim_inode *f, uint64_t size);
NODISCARD err sim_disk_allocate(sim_disk *d, sim_inode *f, uint64_t from, uint64_t len);
NODISCARD err sim_disk_lock(sim_inode *f); /* BUSY */
NODISCARD err sim_disk_rename(sim_disk *d, const char *from, const char *to);
NODISCARD err sim_disk_unlink(sim_disk *d, const char *path);
NODISCARD err sim_disk_mkdir(sim_disk *d, const char *path);
NODISCARD err sim_disk_rmdir(sim_disk *d, const char *path);
NODISCARD err sim_disk_list(sim_disk *d, const char *path, void (*fn)(void *arg, const char *name), void *arg);
NODISCARD err sim_disk_dir_sync(sim_disk *d, const char *path);
NODISCARD err sim_disk_stat(sim_disk *d, const char *path, uint64_t *out_size, usec *out_mtime);

/* Part of a write that a crash interrupts: a prefix of it, drawn from the seed, reaches the cache. */
void sim_disk_write_part(sim_disk *d, sim_inode *f, slice data, uint64_t at);
/* The power goes: what was not synced is kept, dropped or torn, and that is what is there from now on. Every file must be closed. */
void sim_disk_power_cut(sim_disk *d);
/* Flips one bit of a file, in cache and on the platter: bit rot. ERR_NOT_FOUND; ERR_EOF past its end. */
NODISCARD err sim_disk_flip(sim_disk *d, const char *path, uint64_t bit);
/* Everything is durable now: for scenarios that start from a prepared image. */
void sim_disk_settle(sim_disk *d);

#endif
