#ifndef MAIN_CLUSTER_SEEDS_H
#define MAIN_CLUSTER_SEEDS_H
/* cluster_seeds: the file of node.seeds_file: a node a line, as in node.seeds; empty lines and what follows a # do not count. */
#include "base/buf.h"
#include "main/config.h"
#include "rt/sys.h"

typedef struct main_seeds {
    buf text; /* of the file */
    slice *v; /* n of them, in it */
    size_t n;
} main_seeds;
/* The whole list, or nothing. why: a sentence, with the line. ERR_CONFIG: a line is no node that can be dialled from here, or there are too
 * many; ERR_NOT_FOUND, ERR_PERM, ERR_IO. out is to be freed in any case. */
NODISCARD err main_seeds_read(const config *f, main_seeds *out, char why[CONFIG_WHY_MAX]);
void main_seeds_free(main_seeds *s);

typedef struct main_seeds_seen { /* of the file */
    uint64_t size, used_size;
    usec mtime, used_mtime; /* when it was last looked at, and when it was last read */
} main_seeds_seen;
/* It is read now, as it is. */
void main_seeds_note(const config *f, sys *s, main_seeds_seen *seen);
/* Is it another one than was read last, and the same as at the last call? Then it counts as read. So a file that somebody is still writing
 * is left alone. */
bool main_seeds_changed(const config *f, sys *s, main_seeds_seen *seen);
#endif
