#ifndef NETWARP_TRACE_H
#define NETWARP_TRACE_H
/* trace: every decision as one line of JSON, to a file and to those who watch. Each line:
 *   {"at":USEC,"conn":N,"dir":"c2s","pos":N,"what":"loss","n":N}
 * at: since the start (the one field that differs between two runs of the same traffic); conn, dir, pos: where they have a meaning; n: of
 * jitter, stall and the like microseconds, of others a count. */
#include "loop.h"
#include "warp.h"

typedef void trace_watcher(void *arg, slice line);

typedef struct trace {
    loop *loop;
    int fd; /* -1: no file */
    usec started;
    buf out; /* lines that are not in the file yet */
    loop_job flush;
    bool failed;          /* the file took no more: said once, and at the end by the exit status */
    trace_watcher *watch; /* NULL: nobody watches */
    void *watch_arg;
} trace;

void trace_init(trace *t, loop *l);
void trace_fini(trace *t);
/* Begins a file, emptying it. ERR_IO, with errno. */
NODISCARD err trace_open(trace *t, const char *path);
static inline bool trace_on(const trace *t) { return t->fd >= 0 || t->watch; }
/* conn 0, where DIR_COUNT: absent. */
void trace_event(trace *t, uint64_t conn, dir where, uint64_t pos, const char *what, uint64_t n);

#endif
