/* watchdog: looks at the shards and pool threads from outside, because what is stuck cannot say so.
 *
 *     shard                         thread "watchdog", every quarter of stuck_report, or of job_stuck where that is less
 *     steps++  idle  run_class  --> steps have not moved and it is not idle?
 *                               <-- since stuck_report: its stack, by signal; event STUCK with one line
 *                                   since stuck_limit:  panic: a restart is cheap, a zombie is not
 *     pool thread: serial, since --> in the same job since job_stuck: event JOB_STUCK, once, with the stack of that thread
 *     queue counters            --> copied once a second: rates (rate.c)
 *
 * Invariants: (1) a stall is reported once, and within twice its threshold: it is noticed at most a quarter late, and taking a stack takes
 * at most 100 ms. (2) The watchdog takes no lock that a shard could hold while it is stuck, but the log's, which is held for a copy only.
 * (3) When the watchdog itself was not run for long (a stopped process, a suspended machine), time that it did not see counts for nothing:
 * a look adds at most two intervals to a stall. */
#include "rt/watchdog.h"

#include "base/mem.h"
#include "rt/core.h"
#include "rt/memory.h"
#include "rt/pool_watch.h"
#include "rt/rate.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>

#define LOOKS_PER_REPORT 4 /* looks within stuck_report */
#define LOOK_MIN         USEC_PER_MSEC
#define STACK_SHOWN      12 /* frames in the event's text; more does not fit in it anyway */

typedef struct watched { /* a shard, or a pool thread, as it was at the last look */
    uint64_t steps;      /* of a thread: serial number of its job */
    usec stuck;          /* how long it has been seen not to move */
    bool reported;
} watched;

typedef struct rt_watchdog rt_watchdog;
struct rt_watchdog {
    rt_node *node;
    sys_thread *thread;
    int poll;          /* to sleep in, and to be woken at the end */
    _Atomic bool stop; /* relaxed: followed by a wake of the poller, which orders it */
    rt_msacc msacc;
    unsigned n_jobs; /* pool threads */
    watched *job;    /* each */
    watched shard[];
};

/* Frames as "function+0x1f < caller+0x2 < ...", innermost first; addresses where there is no name. */
static size_t format_stack(const sys_stack *st, char *out, size_t max) {
    size_t len = 0;
    for (int i = 0; i < st->n && i < STACK_SHOWN && len < max; i++) {
        Dl_info d;
        const char *sep = i ? " < " : "";
        bool known = dladdr(st->frame[i], &d) != 0;
        int n;
        if (known && d.dli_sname) {
            n = snprintf(out + len, max - len, "%s%s+0x%tx", sep, d.dli_sname, (char *)st->frame[i] - (char *)d.dli_saddr);
        } else if (known) { /* a static function: addr2line takes the offset in its file */
            const char *file = d.dli_fname ? strrchr(d.dli_fname, '/') : NULL;
            n = snprintf(out + len, max - len, "%s%s+0x%tx", sep, file ? file + 1 : "?", (char *)st->frame[i] - (char *)d.dli_fbase);
        } else {
            n = snprintf(out + len, max - len, "%s%p", sep, st->frame[i]);
        }
        if (n < 0 || (size_t)n >= max - len) break;
        len += (size_t)n;
    }
    return len;
}

rt_doing rt_watchdog_doing(const rt_node *n, unsigned shard) {
    rt_shard *sh = &n->shards[shard];
    rt_doing d;
    d.cls = atomic_load_explicit(&sh->run_class, memory_order_relaxed);
    d.pid =
        (rt_pid){0, atomic_load_explicit(&sh->run_slot, memory_order_relaxed), atomic_load_explicit(&sh->run_gen, memory_order_relaxed)};
    uint32_t tag = atomic_load_explicit(&sh->run_tag, memory_order_relaxed);
    const rt_msg_desc *desc = tag ? rt_node_desc(n, (uint16_t)(tag & 0x7fffu)) : NULL;
    d.idle = atomic_load_explicit(&sh->idle, memory_order_relaxed);
    d.msg = desc ? desc->name : "callback";
    if (!d.cls) d.cls = "no actor";
    return d;
}

bool rt_watchdog_stuck(const rt_node *n, unsigned shard) {
    return atomic_load_explicit(&n->shards[shard].stuck, memory_order_relaxed); /* with look */
}

static size_t stack_of(rt_node *n, sys_thread *t, char *out, size_t max) {
    sys_stack st = {.n = 0};
    size_t len;
    if (t && n->s->thread_stack(n->s, t, &st))
        len = format_stack(&st, out, max);
    else
        len = (size_t)snprintf(out, max, "no stack");
    return len < max ? len : max - 1;
}

size_t rt_watchdog_stack(rt_node *n, unsigned shard, char *out, size_t max) { return stack_of(n, n->shards[shard].thread, out, max); }

static void report(rt_watchdog *w, unsigned i) {
    rt_doing d = rt_watchdog_doing(w->node, i);
    char text[RT_EVENT_TEXT + 1], pid[RT_PID_TEXT];
    rt_pid_format(d.pid, pid);
    int n = snprintf(text, sizeof text, "%s %s in %s: ", d.cls, rt_pid_ok(d.pid) ? pid : "-", d.msg);
    size_t len = n > 0 && (size_t)n < sizeof text ? (size_t)n : 0;
    len += rt_watchdog_stack(w->node, i, text + len, sizeof text - len);
    rt_event_ext(w->node, EV_STUCK, i, (uint64_t)w->shard[i].stuck, slice_of(text, len));
}

static void look(rt_watchdog *w, unsigned i, usec passed) {
    rt_shard *sh = &w->node->shards[i];
    watched *x = &w->shard[i];
    uint64_t steps = atomic_load_explicit(&sh->steps, memory_order_relaxed);
    if (steps != x->steps || atomic_load_explicit(&sh->idle, memory_order_relaxed)) {
        if (x->reported) atomic_store_explicit(&sh->stuck, false, memory_order_relaxed);
        *x = (watched){.steps = steps};
        return;
    }
    x->stuck += passed;
    const rt_node_cfg *c = &w->node->cfg;
    if (!x->reported && x->stuck >= c->stuck_report) {
        x->reported = true;
        atomic_store_explicit(&sh->stuck, true, memory_order_relaxed);
        report(w, i);
    }
    if (c->stuck_limit > 0 && x->stuck >= c->stuck_limit) {
        rt_doing d = rt_watchdog_doing(w->node, i);
        panic("shard %u has been stuck for %" PRId64 " ms in %s of %s, slot %u: the node ends", i, x->stuck / USEC_PER_MSEC, d.msg, d.cls,
              rt_slot_index(d.pid.slot));
    }
}

static void report_job(rt_watchdog *w, unsigned i, const rt_pool_doing *d) {
    char text[RT_EVENT_TEXT + 1], pid[RT_PID_TEXT];
    rt_pid_format(d->owner, pid);
    int n = snprintf(text, sizeof text, "%s %s, key %" PRIu64 ", for %s: ", rt_pool_kind_name(d->kind), d->what, d->key, pid);
    size_t len = n > 0 && (size_t)n < sizeof text ? (size_t)n : 0;
    len += stack_of(w->node, d->thread, text + len, sizeof text - len);
    rt_event_ext(w->node, EV_JOB_STUCK, (uint64_t)d->kind, (uint64_t)w->job[i].stuck, slice_of(text, len));
}

static void look_at_job(rt_watchdog *w, unsigned i, usec passed) {
    watched *x = &w->job[i];
    rt_pool_doing d;
    if (!rt_pool_doing_of(w->node, i, &d)) {
        x->stuck = 0;
        return;
    }
    if (x->steps != d.serial) { /* it began after the last look */
        *x = (watched){.steps = d.serial};
        return;
    }
    x->stuck += passed;
    if (x->reported || x->stuck < (d.slow_after ? d.slow_after : w->node->cfg.job_stuck)) return;
    x->reported = true;
    if (rt_pool_stuck(w->node, i, d.serial)) report_job(w, i, &d);
}

static usec nap_of(const rt_node_cfg *c) {
    usec least = c->stuck_report > 0 ? c->stuck_report : USEC_NEVER;
    if (c->job_stuck > 0) least = usec_min(least, c->job_stuck);
    return usec_max(least / LOOKS_PER_REPORT, LOOK_MIN);
}

static void watch(void *arg) {
    rt_watchdog *w = arg;
    sys *s = w->node->s;
    const rt_node_cfg *c = &w->node->cfg;
    bool looks = c->stuck_report > 0 || c->job_stuck > 0;
    usec nap = nap_of(c);
    usec last = s->mono(s), sample_at = last + RT_RATE_EVERY, look_at = looks ? last + nap : USEC_NEVER;
    usec memory_at = rt_memory_look(w->node, last);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        sys_ready none;
        rt_msacc_set(s, &w->msacc, RT_MSACC_SLEEP);
        usec wait = usec_max(usec_min(memory_at, usec_min(look_at, sample_at)) - s->mono(s), 0);
        (void)s->poll_wait(s, w->poll, wait, &none, 1); /* there is nothing in this poller: it ends by time or by a wake */
        rt_msacc_set(s, &w->msacc, RT_MSACC_OTHER);
        usec now = s->mono(s);
        if (now >= sample_at) {
            rt_rate_sample(w->node);
            sample_at = usec_max(sample_at, now - RT_RATE_EVERY) + RT_RATE_EVERY; /* late ones are left out, not made up for */
        }
        if (now >= memory_at) memory_at = rt_memory_look(w->node, now);
        if (now < look_at) continue;
        look_at = now + nap;
        usec passed = usec_min(now - last, 2 * nap);
        last = now;
        for (unsigned i = 0; c->stuck_report > 0 && i < w->node->n_shards; i++) look(w, i, passed);
        for (unsigned i = 0; c->job_stuck > 0 && i < w->n_jobs; i++) look_at_job(w, i, passed);
    }
}

err rt_watchdog_start(rt_node *n) {
    if (!n->s->thread_start) return ERR_OK;
    int poll;
    err e = n->s->poll_new(n->s, &poll);
    if (e) return e;
    rt_watchdog *w = mem_zalloc(sizeof *w + n->n_shards * sizeof w->shard[0]);
    w->node = n;
    w->poll = poll;
    w->n_jobs = rt_pool_threads(n);
    w->job = mem_zalloc((w->n_jobs + 1) * sizeof *w->job);
    rt_msacc_join(n, &w->msacc, RT_MSACC_WATCHDOG, 0);
    rt_rate_init(n);
    e = n->s->thread_start(n->s, "watchdog", watch, w, &w->thread);
    if (e) {
        rt_rate_fini(n);
        rt_msacc_leave(n, &w->msacc);
        n->s->poll_free(n->s, poll);
        mem_free(w->job);
        mem_free(w);
        return e;
    }
    n->watchdog = w;
    return ERR_OK;
}

void rt_watchdog_stop(rt_node *n) {
    rt_watchdog *w = n->watchdog;
    if (!w) return;
    atomic_store_explicit(&w->stop, true, memory_order_relaxed);
    n->s->poll_wake(n->s, w->poll);
    n->s->thread_join(n->s, w->thread);
    n->s->poll_free(n->s, w->poll);
    rt_msacc_leave(n, &w->msacc);
    rt_rate_fini(n);
    n->watchdog = NULL;
    mem_free(w->job);
    mem_free(w);
}
