/* trace: lines gather during a round and are written at its end, so that many decisions cost one write. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define HELD_MAX   (1u << 20) /* bytes of lines that wait; a round that makes more writes in between */
#define HELD_WRITE (HELD_MAX - 4096)

static void flush(trace *t) {
    size_t done = 0;
    while (t->fd >= 0 && !t->failed && done < t->out.len) {
        ssize_t n = write(t->fd, t->out.p + done, t->out.len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            t->failed = true;
            (void)dprintf(STDERR_FILENO, "netwarp: the trace is not whole: %s\n", strerror(errno)); /* nowhere else to say it */
            break;
        }
        done += (size_t)n;
    }
    buf_reset(&t->out);
}

static void flush_job(loop_job *j) { flush(container_of(j, trace, flush)); }

void trace_init(trace *t, loop *l) {
    *t = (trace){.loop = l, .fd = -1, .started = loop_now(), .flush = {.fn = flush_job}};
    buf_init(&t->out, HELD_MAX);
}

void trace_fini(trace *t) {
    flush(t);
    if (t->fd >= 0) close(t->fd);
    buf_fini(&t->out);
}

err trace_open(trace *t, const char *path) {
    t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return t->fd < 0 ? ERR_IO : ERR_OK;
}

void trace_event(trace *t, uint64_t conn, dir where, uint64_t pos, const char *what, uint64_t n) {
    char line[256];
    int len, at = 0;
    if (!trace_on(t)) return;
    len = snprintf(line, sizeof line, "{\"at\":%lld", (long long)(loop_now() - t->started));
    if (conn) at = len, len += snprintf(line + at, sizeof line - (size_t)at, ",\"conn\":%llu", (unsigned long long)conn);
    if (where != DIR_COUNT) {
        at = len;
        len += snprintf(line + at, sizeof line - (size_t)at, ",\"dir\":\"%s\",\"pos\":%llu", warp_dir_name(where), (unsigned long long)pos);
    }
    at = len;
    len += snprintf(line + at, sizeof line - (size_t)at, ",\"what\":\"%s\",\"n\":%llu}\n", what, (unsigned long long)n);
    slice s = slice_of(line, (size_t)len);
    if (t->watch) t->watch(t->watch_arg, s);
    if (t->fd < 0) return;
    if (t->out.len > HELD_WRITE) flush(t);
    buf_add(&t->out, s);
    loop_later(t->loop, &t->flush);
}
