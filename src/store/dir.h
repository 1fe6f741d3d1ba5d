#ifndef STORE_DIR_H
#define STORE_DIR_H
/* dir: directories that keep what was made in them. */
#include "rt/sys.h"

/* Makes the directory entry of path durable: syncs the directory that holds it. */
NODISCARD err store_dir_sync_parent(sys *s, const char *path);

#endif
