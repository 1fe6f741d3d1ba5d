#ifndef MAIN_BACKUP_H
#define MAIN_BACKUP_H
/* backup: the verb that writes a copy of the data directory while the node runs. */
#include "rt/verbs.h"

/* One argument: an absolute path of a directory that is not there, or is empty. EXISTS: something is in it; LIMIT, NOSPC, IO, CORRUPT and
 * what the engines answer. After an error nothing that it made is there, or c->why names the directory in which something stays. */
err main_backup(rt_verb_call *c);
#endif
