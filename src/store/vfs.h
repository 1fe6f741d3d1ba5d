#ifndef STORE_VFS_H
#define STORE_VFS_H
/* vfs: SQLite's files over the seam (rt/sys.h), private to store. */
#include "rt/sys.h"

#include <sqlite3.h>

#define STORE_VFS_RESERVED 8 /* bytes at the end of each database page, for its checksum */
typedef struct store_vfs store_vfs;
NODISCARD err store_vfs_new(sys *s, store_vfs **out);
void store_vfs_free(store_vfs *v); /* every database opened through it must be closed */
const char *store_vfs_name(const store_vfs *v);
bool store_vfs_failed(const store_vfs *v);       /* a write or sync failed for another reason than space: nothing is written any more */
uint32_t store_vfs_bad_page(const store_vfs *v); /* the last page whose checksum did not fit; 0: none */
/* Whether the bytes are that page's: its checksum covers them and its number, from 1. True for the page at 1 GiB, which holds SQLite's lock
 * and nothing else, ever. */
bool store_vfs_page_ok(const uint8_t *p, size_t len, uint64_t page);
#define STORE_VFS_HEAD 100                                      /* bytes of a database's header */
size_t store_vfs_page_size(const uint8_t head[STORE_VFS_HEAD]); /* bytes of a page; 0: no database whose pages have checksums */
/* Reads every page of a database file and calls fn for each whose checksum does not fit. Cheaper than SQLite's own check by far. */
NODISCARD err store_vfs_scan(sys *s, const char *path, void (*fn)(void *arg, uint32_t page), void *arg);
#endif
