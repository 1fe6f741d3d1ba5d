/* micro_wake: an empty job to a pool thread and back, one at a time: what a lone durable message pays beside its sync. Beside it the two
 * wake-ups alone, a condition there and an eventfd in an epoll set back, with both threads on one CPU, on two, and where the kernel puts
 * them. CPU is that of the process: on a virtual machine a wake-up that crosses CPUs costs many times one that does not. */
#include "base/mem.h"
#include "micro.h"
#include "rt/actor.h"
#include "rt/node.h"
#include "rt/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define JOBS 10000u

typedef struct cost { /* of one round trip, us */
    double wall, cpu;
} cost;

static double cpu_usec(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail: a constant clock */
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* --- ours */
typedef struct runner {
    rt_job job;
    unsigned left;
    _Atomic bool done; /* release by the actor, acquire by who waits */
} runner;

static void keep(rt_box *b) { (void)b; } /* it is the measurement's */
static void nothing(rt_job *j) { (void)j; }

static void next_job(rt_ctx *cx, runner *r) {
    if (r->left-- == 0) {
        atomic_store_explicit(&r->done, true, memory_order_release);
        return;
    }
    rt_job *j = &r->job;
    rt_pool_submit(cx, RT_POOL_USER, &j);
}

static err runner_handle(rt_ctx *cx, void *st, rt_msg **m) {
    rt_job_done_of(*m)->job = NULL; /* it goes again */
    next_job(cx, *(runner **)st);
    return ERR_OK;
}

static err runner_init(rt_ctx *cx, void *st, const void *arg) {
    memcpy(st, arg, sizeof(runner *));
    next_job(cx, *(runner **)st); /* waits in the queue until there are threads */
    return ERR_OK;
}

static const rt_class RUNNER = {.name = "runner", .state_size = sizeof(runner *), .init = runner_init, .handle = runner_handle};

static void boot(rt_ctx *cx, void *arg) {
    rt_pid pid;
    if (rt_spawn(cx, &RUNNER, &arg, 0, &pid, NULL) != ERR_OK) panic("no actor");
}

static bool ours(sys *s, cost *out) {
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = "bench";
    cfg.ctl_path = cfg.recorder_path = NULL;
    cfg.spin = 0; /* as murre's default */
    rt_node *n;
    if (rt_node_new(&cfg, s, NULL, &n) != ERR_OK) return false;
    runner r = {.job = {.box = {keep}, .run = nothing, .deadline = USEC_NEVER}, .left = JOBS};
    rt_node_boot(n, 0, boot, &r);
    double c0 = cpu_usec();
    uint64_t t0 = bench_nsec();
    bool ok = rt_node_start(n) == ERR_OK;
    while (ok && !atomic_load_explicit(&r.done, memory_order_acquire)) {
        const struct timespec nap = {.tv_nsec = 1000000};
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL); /* out of the way of the two threads */
    }
    *out = (cost){(double)(bench_nsec() - t0) / 1e3 / JOBS, (cpu_usec() - c0) / JOBS};
    rt_node_stop(n);
    rt_node_free(n);
    return ok;
}

/* --- the limit */
typedef struct bare {
    pthread_mutex_t m;
    pthread_cond_t c;
    bool job; /* guarded by m */
    int wake; /* eventfd */
} bare;

static void *bare_pool(void *arg) {
    bare *b = arg;
    for (unsigned i = 0; i < JOBS; i++) {
        (void)pthread_mutex_lock(&b->m); /* cannot fail: a default mutex that this thread does not hold */
        while (!b->job) (void)pthread_cond_wait(&b->c, &b->m);
        b->job = false;
        (void)pthread_mutex_unlock(&b->m);
        const uint64_t one = 1;
        if (write(b->wake, &one, sizeof one) < 0) return NULL;
    }
    return NULL;
}

static void on_cpu(pthread_t t, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)pthread_setaffinity_np(t, sizeof set, &set); /* without a second CPU it stays where it is */
}

static void bare_loop(bare *b, int ep) {
    for (unsigned i = 0; i < JOBS; i++) {
        struct epoll_event ev;
        (void)pthread_mutex_lock(&b->m);
        b->job = true;
        (void)pthread_mutex_unlock(&b->m);
        (void)pthread_cond_signal(&b->c);
        while (epoll_wait(ep, &ev, 1, -1) != 1) {
        } /* a signal may end it early */
    }
}

/* cpu: of the pool's thread, while the other is on 0; -1: wherever the kernel puts them. */
static bool limit(int cpu, cost *out) {
    bare b = {.m = PTHREAD_MUTEX_INITIALIZER, .c = PTHREAD_COND_INITIALIZER, .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    pthread_t t;
    cpu_set_t before;
    bool ok = b.wake >= 0 && ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, b.wake, &ev) == 0 &&
              pthread_getaffinity_np(pthread_self(), sizeof before, &before) == 0 && pthread_create(&t, NULL, bare_pool, &b) == 0;
    if (ok) {
        if (cpu >= 0) {
            on_cpu(pthread_self(), 0);
            on_cpu(t, cpu);
        }
        double c0 = cpu_usec();
        uint64_t t0 = bench_nsec();
        bare_loop(&b, ep);
        *out = (cost){(double)(bench_nsec() - t0) / 1e3 / JOBS, (cpu_usec() - c0) / JOBS};
        (void)pthread_join(t, NULL);
        (void)pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    }
    if (ep >= 0) (void)close(ep);
    if (b.wake >= 0) (void)close(b.wake);
    return ok;
}

bool micro_wake(const micro_cfg *c) {
    sys *s;
    if (sys_linux_new(&s) != ERR_OK) return false;
    micro_row wall = {0}, cpu = {0}, bare_wall = {0}, bare_cpu = {0}, one = {0}, two = {0};
    bool ok = true;
    for (unsigned i = 0; i < MICRO_ROUNDS && ok; i++) {
        cost mine = {0}, free = {0}, same = {0}, apart = {0};
        ok = limit(-1, &free) && limit(0, &same) && limit(1, &apart) && ours(s, &mine);
        micro_add(&wall, mine.wall);
        micro_add(&cpu, mine.cpu);
        micro_add(&bare_wall, free.wall);
        micro_add(&bare_cpu, free.cpu);
        micro_add(&one, same.cpu);
        micro_add(&two, apart.cpu);
    }
    if (ok) {
        bench_report_begin(c->json, "wake");
        micro_report("job", "us, an empty job of the pool and back", false, &wall, &bare_wall);
        micro_report("job_cpu", "us CPU", false, &cpu, &bare_cpu);
        bench_report_num("one_cpu", "us CPU, the wake-ups alone on one CPU", micro_median(&one));
        bench_report_num("two_cpus", "us CPU, the wake-ups alone across two CPUs", micro_median(&two));
        bench_report_end();
    } else {
        (void)fputs("murre-bench: wake: no threads, or no node\n", stderr);
    }
    sys_linux_free(s);
    return ok;
}
