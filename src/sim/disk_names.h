#ifndef SIM_DISK_NAMES_H
#define SIM_DISK_NAMES_H
/* disk_names: the directories of a simulated disk, private to disk.c: names as calls see them, names as a power cut leaves them, and the
 * changes between the two. */
#include "sim/disk.h"

typedef struct sim_page {
    uint8_t data[SIM_PAGE]; /* as read through the cache */
    uint8_t *undo;          /* what the platter holds, for dirty sectors; NULL when none is */
    uint8_t dirty;          /* one bit a sector: written since it was last made durable */
    uint8_t lost;           /* one bit a sector: dirty, and a failed sync has given it up */
} sim_page;

struct sim_inode {
    sim_inode *next, **prev;
    uint32_t refs; /* names (live, durable, pending) and openings */
    bool dir;
    bool locked;          /* somebody has the advisory lock */
    uint64_t size;        /* in the cache */
    uint64_t synced_size; /* on the platter */
    sim_page **pages;     /* NULL: a hole, reads as zero */
    size_t n_pages, cap_pages;
    usec mtime;
};

struct sim_entry {
    char *path; /* owned */
    sim_inode *inode;
};

typedef enum sim_dirop_kind { SIM_LINK, SIM_UNLINK, SIM_RENAME } sim_dirop_kind;
struct sim_dirop {
    sim_dirop *next;
    sim_dirop_kind kind;
    char *path;       /* linked, unlinked, or renamed to; owned */
    char *from;       /* of a rename; owned */
    sim_inode *inode; /* referenced */
};

sim_inode *sim_disk_inode_new(sim_disk *d, bool dir);
void sim_disk_unref(sim_disk *d, sim_inode *f);

bool sim_disk_names_is_root(const char *path);
sim_inode *sim_disk_names_find(const sim_names *n, const char *path);
bool sim_disk_names_parent_exists(const sim_names *n, const char *path);
bool sim_disk_names_has_children(const sim_names *n, const char *path);
/* Does it in the live names and notes it as pending. */
void sim_disk_names_change(sim_disk *d, sim_dirop_kind kind, const char *path, const char *from, sim_inode *f);
void sim_disk_names_clear(sim_disk *d, sim_names *n);
void sim_disk_names_drop_ops(sim_disk *d);
/* As sim_disk_dir_sync and sim_disk_list say. */
NODISCARD err sim_disk_names_sync(sim_disk *d, const char *path);
NODISCARD err sim_disk_names_list(sim_disk *d, const char *path, void (*fn)(void *arg, const char *name), void *arg);
/* Of each directory's pending changes a prefix becomes durable; then durable is live. */
void sim_disk_names_power_cut(sim_disk *d);
void sim_disk_names_settle(sim_disk *d); /* all of them become durable */

#endif
