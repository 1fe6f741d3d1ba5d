/* loop: epoll_pwait2 (microseconds, where epoll_wait has milliseconds), so that an added delay is late by little. */
#include "loop.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256

err loop_init(loop *l) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) return ERR_IO;
    *l = (loop){.epfd = fd};
    list_init(&l->jobs);
    return ERR_OK;
}

void loop_fini(loop *l) {
    mem_free(l->heap);
    close(l->epfd);
}

usec loop_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (usec)t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

err loop_watch(loop *l, loop_io *io, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = io};
    return epoll_ctl(l->epfd, EPOLL_CTL_ADD, io->fd, &ev) ? ERR_IO : ERR_OK;
}

void loop_rewatch(loop *l, loop_io *io, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = io};
    if (epoll_ctl(l->epfd, EPOLL_CTL_MOD, io->fd, &ev)) panic("epoll: %s", strerror(errno)); /* it needs no memory: it is watched */
}

void loop_unwatch(loop *l, loop_io *io) { (void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL); /* it fails only if it is not there */ }

static bool before(const loop_timer *a, const loop_timer *b) { return a->at != b->at ? a->at < b->at : a->order < b->order; }

static void place(loop *l, size_t i, loop_timer *t) {
    l->heap[i] = t;
    t->slot = i + 1;
}

static void up(loop *l, size_t i) {
    loop_timer *t = l->heap[i];
    for (; i > 0 && before(t, l->heap[(i - 1) / 2]); i = (i - 1) / 2) place(l, i, l->heap[(i - 1) / 2]);
    place(l, i, t);
}

static void down(loop *l, size_t i) {
    loop_timer *t = l->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->timers) break;
        if (child + 1 < l->timers && before(l->heap[child + 1], l->heap[child])) child++;
        if (!before(l->heap[child], t)) break;
        place(l, i, l->heap[child]);
        i = child;
    }
    place(l, i, t);
}

void loop_timer_clear(loop *l, loop_timer *t) {
    if (!t->slot) return;
    size_t i = t->slot - 1;
    loop_timer *last = l->heap[--l->timers];
    t->slot = 0;
    if (last == t) return;
    place(l, i, last);
    up(l, i);
    down(l, last->slot - 1);
}

void loop_timer_set(loop *l, loop_timer *t, usec at) {
    if (t->slot && t->at == at) return;
    loop_timer_clear(l, t);
    void *heap = l->heap;
    mem_grow(&heap, &l->cap, l->timers + 1, sizeof(loop_timer *));
    l->heap = heap;
    t->at = at;
    t->order = l->order++;
    place(l, l->timers, t);
    up(l, l->timers++);
}

void loop_later(loop *l, loop_job *j) {
    if (!list_linked(&j->node)) list_push_back(&l->jobs, &j->node);
}

static void run_timers(loop *l) {
    usec now = loop_now();
    uint64_t end = l->order; /* a timer that sets itself for now again waits for the next round */
    while (l->timers > 0 && l->heap[0]->at <= now && l->heap[0]->order < end) {
        loop_timer *t = l->heap[0];
        loop_timer_clear(l, t);
        t->fn(t);
    }
}

static void run_jobs(loop *l) {
    list batch;
    list_init(&batch);
    for (list *n; (n = list_pop_front(&l->jobs));) list_push_back(&batch, n);
    for (list *n; (n = list_pop_front(&batch));) {
        loop_job *j = container_of(n, loop_job, node);
        j->fn(j);
    }
}

static int wait_events(loop *l, struct epoll_event *events) {
    usec left = l->timers > 0 ? l->heap[0]->at - loop_now() : USEC_NEVER;
    if (left < 0 || !list_empty(&l->jobs)) left = 0;
    struct timespec t = {left / USEC_PER_SEC, left % USEC_PER_SEC * 1000};
    int n = epoll_pwait2(l->epfd, events, EVENTS_MAX, left == USEC_NEVER ? NULL : &t, NULL);
    return n < 0 && errno == EINTR ? 0 : n;
}

err loop_run(loop *l) {
    struct epoll_event events[EVENTS_MAX];
    while (!l->stop) {
        int n = wait_events(l, events);
        if (n < 0) return ERR_IO;
        for (int i = 0; i < n; i++) {
            loop_io *io = events[i].data.ptr;
            if (io->fd >= 0) io->fn(io, events[i].events);
        }
        run_timers(l);
        run_jobs(l);
    }
    run_jobs(l); /* what the last round left to be freed */
    return ERR_OK;
}
