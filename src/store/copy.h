#ifndef STORE_COPY_H
#define STORE_COPY_H
/* copy: the database file, page by page, to a backup's directory; in steps, so that nothing waits long for one. Private to store. */
#include "rt/sys.h"

#define STORE_COPY_NAME "accounts.db"
#define STORE_BACKUP_KEY                                                                                                                   \
    2 /* of all jobs of the disk pool that write to a backup's directory: a slow one holds one thread, whichever engine */

typedef struct store_copy store_copy;
/* Of the file at from, which must not change until the last step is done, to DIR/accounts.db, which must not be there. Opens nothing. */
store_copy *store_copy_new(sys *s, const char *from, const char *dir);
/* The next part, at most 4 MiB; blocks. *out_more: there is another. EXISTS, CORRUPT (a page's checksum does not fit), NOSPC, LIMIT (a path
 * is too long), and what the files give. */
NODISCARD err store_copy_step(store_copy *c, bool *out_more);
/* so_far OK: puts it on stable storage, its name included. Else, and when that fails, what was made of it is removed. Blocks. */
NODISCARD err store_copy_finish(store_copy *c, err so_far);
const char *store_copy_why(const store_copy *c); /* a sentence about the error; "": there is none */
void store_copy_free(store_copy *c);             /* removes what was made of one that is not finished */
#endif
