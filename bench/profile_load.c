/* profile healthy: a server as it should be (system.md F3): shards asleep for 62 % of the time, some 15 % of it in handlers, the rest in
 * what a message costs around them.
 *
 *     phone (a thread) --4 requests--> session actor --> worker of that request, on any shard: some work, now and then a file
 *          ^                                 |                     |
 *          '------------- written once a round <-------------------'
 *          all answers are there: waits until the shards have slept their share
 *
 * Invariant: what is slept is measured by the node's own accounts, over the last SHARE_ROUNDS rounds: a machine that is busy with something
 * else makes rounds longer, not different. */
#include "base/mem.h"
#include "profile.h"
#include "rt/msacc.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PHONES       64u
#define AT_ONCE_MIN  4u /* requests of a phone in a round; more while the shards have to wait for the phones */
#define AT_ONCE_MAX  16u
#define REQUEST      64u
#define WORKERS      16u
#define WORK         7u  /* units: what makes handlers 15 % beside 62 % of sleep */
#define FILE_EVERY   64u /* requests of a worker */
#define FILE_BYTES   512u
#define IDLE         (60 * USEC_PER_SEC)
#define ASLEEP       0.62
#define SHARE_ROUNDS 32u
#define NAP_NSEC     200000
#define THREADS_MAX  512u

typedef struct healthy {
    pthread_t phone;
    bool calling; /* the phone's thread runs */
    int near[PHONES], far[PHONES];
    rt_pid worker[WORKERS];
    int file;
} healthy;

/* --- a worker: some work for each request, a write to a file for some */
typedef struct worker {
    profile *p;
    uint64_t handled;
} worker;
typedef struct file_job {
    rt_job job;
    sys *s;
    int fd;
    uint64_t at;
} file_job;

static void file_run(rt_job *j) {
    static const uint8_t block[FILE_BYTES];
    const file_job *f = container_of(j, file_job, job);
    (void)f->s->file_write(f->s, f->fd, slice_of(block, sizeof block),
                           f->at); /* a disk that is full makes the load lighter, nothing else */
}

static err worker_init(rt_ctx *cx, void *st, const void *arg) {
    (void)cx;
    const profile *const *p = arg;
    memcpy(&((worker *)st)->p, p, sizeof *p);
    return ERR_OK;
}

static err worker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    worker *w = st;
    const healthy *h = w->p->load;
    if (RT_TAG(*m) != PROFILE_WORK) return ERR_OK; /* a job is done: it goes with its message */
    profile_burn(WORK);
    profile_send(cx, profile_work_of(*m)->client, PROFILE_DONE, profile_work_of(*m)->n);
    if (++w->handled % FILE_EVERY) return ERR_OK;
    file_job *f = mem_zalloc(sizeof *f);
    *f = (file_job){.job = {.box = {rt_pool_job_free}, .run = file_run, .deadline = USEC_NEVER}, .s = w->p->s, .fd = h->file};
    f->at = w->handled / FILE_EVERY % 64 * FILE_BYTES;
    rt_job *j = &f->job;
    rt_pool_submit(cx, RT_POOL_DISK, &j);
    return ERR_OK;
}
static const rt_class WORKER = {.name = "worker", .state_size = sizeof(worker), .init = worker_init, .handle = worker_handle};

/* --- a session: a socket, and requests handed on */
typedef struct session {
    profile *p;
    int fd;
    size_t have;      /* bytes of a request that is not whole yet */
    unsigned answers; /* not written yet */
    uint64_t n;       /* requests */
    rt_timer idle;
} session;
typedef struct session_arg {
    profile *p;
    int fd;
    unsigned number;
} session_arg;

static err session_init(rt_ctx *cx, void *st, const void *arg) {
    session *s = st;
    const session_arg *a = arg;
    *s = (session){.p = a->p, .fd = a->fd, .n = a->number};
    return rt_port_add(cx, s->fd, SYS_IN);
}

static err session_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    session *s = st;
    const healthy *h = s->p->load;
    sys *os = rt_ctx_sys(cx);
    size_t n = 0;
    (void)events; /* only reading is of interest, and a phone that is gone reads as an end */
    err e = os->read(os, fd, rt_scratch(cx), RT_SCRATCH, &n);
    if (e == ERR_AGAIN) return ERR_OK;
    if (e) return ERR_SHUTDOWN;
    for (s->have += n; s->have >= REQUEST; s->have -= REQUEST, s->n++) profile_send(cx, h->worker[s->n % WORKERS], PROFILE_WORK, s->n);
    rt_timer_set(cx, &s->idle, rt_now(cx) + IDLE);
    return ERR_OK;
}

static err session_timer(rt_ctx *cx, void *st, rt_timer *t) {
    rt_timer_set(cx, t, rt_now(cx) + IDLE);
    (void)st;
    return ERR_OK;
}

static err session_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)m;
    ((session *)st)->answers++;
    rt_flush_later(cx);
    return ERR_OK;
}

static err session_flush(rt_ctx *cx, void *st) {
    static const uint8_t answers[AT_ONCE_MAX * REQUEST];
    session *s = st;
    sys *os = rt_ctx_sys(cx);
    if (s->answers > AT_ONCE_MAX) return ERR_BUG; /* a phone waits for all answers before it asks again */
    sys_iov iov = {answers, s->answers * REQUEST};
    size_t n = 0;
    s->answers = 0;
    err e = os->writev(os, s->fd, &iov, 1, &n); /* there is room */
    return !e && n == iov.len ? ERR_OK : ERR_SHUTDOWN;
}

static void session_fini(rt_ctx *cx, void *st, err reason) {
    (void)reason;
    rt_timer_cancel(cx, &((session *)st)->idle);
}
static const rt_class SESSION = {.name = "session",
                                 .state_size = sizeof(session),
                                 .init = session_init,
                                 .handle = session_handle,
                                 .ready = session_ready,
                                 .timer = session_timer,
                                 .flush = session_flush,
                                 .fini = session_fini};

/* --- the phones */
typedef struct share {
    uint64_t asleep, all;
} share;

static share slept(const profile *p) {
    rt_msacc_row rows[THREADS_MAX];
    size_t n = rt_msacc_read(p->n, rows, THREADS_MAX);
    share s = {0};
    for (size_t i = 0; i < n; i++) {
        if (rows[i].type != RT_MSACC_SHARD) continue;
        s.asleep += rows[i].cycles[RT_MSACC_SLEEP];
        for (unsigned k = 0; k < RT_MSACC_STATES; k++) s.all += rows[i].cycles[k];
    }
    return s;
}

static bool round_trip(const healthy *h, unsigned at_once) {
    static const uint8_t requests[AT_ONCE_MAX * REQUEST];
    uint8_t answers[sizeof requests];
    size_t len = at_once * REQUEST;
    for (unsigned i = 0; i < PHONES; i++)
        if (write(h->far[i], requests, len) != (ssize_t)len) return false;
    for (unsigned i = 0; i < PHONES; i++)
        if (recv(h->far[i], answers, len, MSG_WAITALL) != (ssize_t)len) return false;
    return true;
}

static bool slept_enough(const share *from, const share *now) {
    return (double)(now->asleep - from->asleep) >= ASLEEP * (double)(now->all - from->all);
}

static void *phones(void *arg) {
    static const struct timespec nap = {.tv_nsec = NAP_NSEC};
    profile *p = arg;
    share from = slept(p), now = from;
    unsigned at_once = AT_ONCE_MIN;
    for (uint64_t rounds = 0; !profile_over(p) && round_trip(p->load, at_once); rounds++) {
        profile_round(p);
        for (unsigned naps = 0;; naps++) {
            now = slept(p);
            if (now.all < from.all) from = (share){0, 0}; /* somebody has reset the accounts */
            if (profile_over(p) || slept_enough(&from, &now)) {
                if (naps > 0 ? at_once > AT_ONCE_MIN : at_once < AT_ONCE_MAX) at_once += naps > 0 ? -1u : 1;
                break;
            }
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        }
        if (rounds % SHARE_ROUNDS == 0) from = now;
    }
    return NULL;
}

/* --- its life */
static void healthy_boot(profile *p) {
    healthy *h = p->load = mem_zalloc(sizeof *h);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/data", p->dir);
    if (p->s->file_open(p->s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &h->file) != ERR_OK) panic("no file");
    (void)unlink(path); /* gone when it is closed */
    for (unsigned i = 0; i < WORKERS; i++) h->worker[i] = profile_spawn(p, i, &WORKER, &p);
    for (unsigned i = 0; i < PHONES; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) panic("no sockets");
        h->near[i] = pair[0];
        h->far[i] = pair[1];
        (void)profile_spawn(p, i, &SESSION, &(session_arg){p, pair[0], i});
    }
}

static bool healthy_begin(profile *p) {
    healthy *h = p->load;
    h->calling = pthread_create(&h->phone, NULL, phones, p) == 0;
    if (!h->calling) (void)fputs("murre-bench: no thread\n", stderr);
    return h->calling;
}

static void healthy_end(profile *p) {
    const healthy *h = p->load;
    for (unsigned i = 0; i < PHONES; i++) (void)shutdown(h->far[i], SHUT_RDWR); /* ends a read that waits */
    if (h->calling) (void)pthread_join(h->phone, NULL);
    for (unsigned i = 0; i < PHONES; i++) (void)close(h->far[i]);
}

static void healthy_free(profile *p) {
    healthy *h = p->load;
    p->s->file_close(p->s, h->file);
    mem_free(h);
}

const profile_load profile_healthy = {.name = "healthy",
                                      .doc = "a server as it should be: requests over sockets, shards asleep for 62 % of the time",
                                      .warm = 2 * SHARE_ROUNDS,
                                      .boot = healthy_boot,
                                      .begin = healthy_begin,
                                      .end = healthy_end,
                                      .free = healthy_free};
