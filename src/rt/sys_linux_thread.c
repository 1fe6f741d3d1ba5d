/* sys_linux_thread: threads with names, and the stack of one taken by another.
 *
 *     watchdog                                   stuck shard
 *     want = n; sigqueue(SIGUSR2, thread)  --->  handler: backtrace into thread.stack; answered = n
 *     looks at answered, 100 ms at most    <---  goes on where it was
 *
 * Invariants: (1) the handler touches only the sys_thread that the signal carries, which lives until that thread is joined: a request that
 * was given up does no harm when it is answered late. (2) It writes the stack only while a request is open, so that nobody reads what it
 * writes. (3) Signals for the process (TERM, INT) stay with the threads that the program itself started: threads started here block them.
 *
 * The disposition of SIGUSR2 belongs to the process and not to a sys: this is the one place of process-wide state, and it holds no
 * variable. A SIGUSR2 from anybody else is ignored. backtrace() is called once beforehand, because its first call loads a library. */
#include "base/mem.h"
#include "rt/sys_linux.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define NAME_MAX_      16      /* of a thread, with its NUL, as the kernel has it */
#define STACK_TRIES    1000    /* looks at the answer ... */
#define STACK_NAP_NSEC 100000L /* ... this far apart: 100 ms */
#define HANDLER_FRAMES 8       /* frames that the handler itself may add */

struct sys_thread {
    pthread_t id;
    char name[NAME_MAX_];
    void (*fn)(void *arg);
    void *arg;
    _Atomic bool asking;       /* one request at a time: acquire exchange to take, release to give back */
    _Atomic uint32_t want;     /* number of the last request; release by the asker, acquire by the handler */
    _Atomic uint32_t answered; /* number of the last answer; release by the handler, acquire by the asker */
    sys_stack stack;           /* the handler's while answered != want, then the asker's */
};

/* Where the thread was when the signal came: frames before this one are the handler's. */
static const void *interrupted_at(const void *context) {
    const ucontext_t *u = context;
#if defined(__x86_64__)
    return (const void *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)(uintptr_t)u->uc_mcontext.pc;
#else
    (void)u;
    return NULL;
#endif
}

static void on_stack_signal(int sig, siginfo_t *info, void *context) {
    (void)sig;
    if (info->si_code != SI_QUEUE || info->si_pid != getpid() || !info->si_value.sival_ptr) return;
    int saved = errno;
    sys_thread *t = info->si_value.sival_ptr;
    uint32_t want = atomic_load_explicit(&t->want, memory_order_acquire); /* pairs with thread_stack */
    if (atomic_load_explicit(&t->answered, memory_order_relaxed) != want) {
        void *frames[SYS_STACK_MAX + HANDLER_FRAMES];
        int n = backtrace(frames, SYS_STACK_MAX + HANDLER_FRAMES);
        const void *pc = interrupted_at(context);
        int from = 0;
        for (int i = 0; i < n && i < HANDLER_FRAMES; i++)
            if (frames[i] == pc) from = i;
        t->stack.n = 0;
        for (int i = from; i < n && t->stack.n < SYS_STACK_MAX; i++) t->stack.frame[t->stack.n++] = frames[i];
        atomic_store_explicit(&t->answered, want, memory_order_release); /* pairs with thread_stack */
    }
    errno = saved;
}

err sys_linux_signals(void) {
    void *frame[4];
    if (backtrace(frame, 4) < 0) return ERR_BUG;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction stack = {.sa_sigaction = on_stack_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    if (sigemptyset(&stack.sa_mask) != 0 || sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGUSR2, &stack, NULL) != 0)
        return sys_linux_errno(errno);
    return ERR_OK;
}

static void *thread_main(void *p) {
    sys_thread *t = p;
    t->fn(t->arg);
    return NULL;
}

static void outside_signals(sigset_t *out) {
    sigfillset(out);
    const int mine[] = {SIGUSR2, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < ARRAY_LEN(mine); i++) sigdelset(out, mine[i]);
}

static err linux_thread_start(sys *s, const char *name, void (*fn)(void *arg), void *arg, sys_thread **out) {
    (void)s;
    sys_thread *t = mem_zalloc(sizeof *t);
    t->fn = fn;
    t->arg = arg;
    size_t len = strlen(name);
    memcpy(t->name, name, len < NAME_MAX_ ? len : NAME_MAX_ - 1);
    sigset_t block, before;
    outside_signals(&block);
    if (pthread_sigmask(SIG_BLOCK, &block, &before) != 0) panic("pthread_sigmask failed");
    int rc = pthread_create(&t->id, NULL, thread_main, t); /* inherits the mask: there is no moment without it */
    if (pthread_sigmask(SIG_SETMASK, &before, NULL) != 0) panic("pthread_sigmask failed");
    if (rc != 0) {
        mem_free(t);
        return rc == EAGAIN ? ERR_LIMIT : sys_linux_errno(rc);
    }
    (void)pthread_setname_np(t->id, t->name); /* a name is a convenience */
    *out = t;
    return ERR_OK;
}

static void linux_thread_join(sys *s, sys_thread *t) {
    (void)s;
    if (!t) return;
    int rc = pthread_join(t->id, NULL);
    if (rc != 0) panic("pthread_join of %s failed: errno %d", t->name, rc);
    mem_free(t);
}

static bool linux_thread_stack(sys *s, sys_thread *t, sys_stack *out) {
    (void)s;
    if (atomic_exchange_explicit(&t->asking, true, memory_order_acquire)) return false; /* pairs with the release below */
    uint32_t want = atomic_load_explicit(&t->want, memory_order_relaxed) + 1;
    atomic_store_explicit(&t->want, want, memory_order_release); /* pairs with the handler */
    union sigval v = {.sival_ptr = t};
    bool got = false;
    if (pthread_sigqueue(t->id, SIGUSR2, v) == 0) {
        for (int i = 0; i < STACK_TRIES && !got; i++) {
            got = atomic_load_explicit(&t->answered, memory_order_acquire) == want; /* pairs with the handler */
            struct timespec nap = {0, STACK_NAP_NSEC};
            if (!got) (void)nanosleep(&nap, NULL); /* a signal makes it shorter, which does no harm */
        }
    }
    if (got) memcpy(out, &t->stack, sizeof *out);
    atomic_store_explicit(&t->asking, false, memory_order_release);
    return got;
}

static void linux_end(sys *s, const char *why) {
    (void)s;
    panic("%s", why);
}

void sys_linux_thread_fill(sys *s) {
    s->end = linux_end;
    s->thread_start = linux_thread_start;
    s->thread_join = linux_thread_join;
    s->thread_stack = linux_thread_stack;
}
