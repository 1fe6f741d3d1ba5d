/* lock: named, ranked, countable mutexes.
 *
 *     thread A             held (thread-local)          lock_set of the node
 *     lock_take(names) --> [ names ]                    head -> pool/1 -> pool/0 -> names/0 -> NULL
 *     lock_take(pool)  --> [ names, pool ]                      read by `murrectl locks` through lock_set_each
 *
 * Why ranks: a deadlock between two locks shows itself once in a million takes, a wrong order at every one. So the order is what is
 * checked, in every build: the price is one comparison.
 *
 * Invariants: (1) The ranks in held rise strictly from bottom to top; therefore held has at most one entry per rank. (2) A lock is in held
 * of exactly the thread that owns its mutex, also while that thread waits on a condition: then it runs nothing. (3) What a site counts is
 * written with the lock held, so that a load and a store do for an add; only lock_set_clear writes without it, and a take
 * at that very moment may undo it for one site. They are relaxed: nothing is read through them. A lock itself counts nothing: it is the
 * sum of its sites, so that a take pays for one add. (4) A set's own mutex has a rank as
 * well, LOCK_RANK_SET, and is in held while it is owned; with it, a callback that takes a lock is caught. (5) A site is put in front of its
 * lock's list by the owner of the lock, is complete before it can be seen, and stays until lock_fini: readers walk the list under the set's
 * mutex, which lock_fini takes as well. */
#include "base/lock.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define HELD_MAX      (LOCK_RANK_TEST + 1)
#define USEC_PER_SEC_ 1000000
#define NSEC_PER_USEC 1000
#define WAIT_SEC_MAX  (100 * 365 * 86400LL) /* a longer wait than this is for ever, and would overflow time_t nowhere */

typedef struct held_lock {
    const void *what; /* the lock; with LOCK_RANK_SET the lock_set */
    lock_rank rank;
} held_lock;

static _Thread_local struct {
    unsigned n;
    held_lock at[HELD_MAX];
} held;

/* For pthread calls that cannot fail unless memory is corrupt or the caller broke the contract. */
static void must(int rc, const char *what, const char *name) {
    if (UNLIKELY(rc != 0)) panic("%s(%s): %s", what, name, strerrordesc_np(rc));
}

static COLD void out_of_order(const char *name, uint32_t id, lock_rank rank) {
    const held_lock *top = &held.at[held.n - 1];
    const lock *l = top->rank == LOCK_RANK_SET ? NULL : top->what;
    panic("lock %s/%u (rank %d) taken while holding %s/%u (rank %d)", name, id, (int)rank, l ? l->name : "set", l ? l->id : 0,
          (int)top->rank);
}

static inline void push_held(const void *what, const char *name, uint32_t id, lock_rank rank) {
    unsigned n = held.n;
    if (UNLIKELY(n > 0 && held.at[n - 1].rank >= rank)) out_of_order(name, id, rank);
    held.at[n] = (held_lock){what, rank};
    held.n = n + 1;
}

/* Of one that is not the last that was taken. */
static COLD void pop_below(const void *what, const char *name, uint32_t id) {
    unsigned i = held.n;
    while (i > 0 && held.at[i - 1].what != what) i--;
    if (i == 0) panic("lock %s/%u released by a thread that does not hold it", name, id);
    for (; i < held.n; i++) held.at[i - 1] = held.at[i];
    held.n--;
}

static inline void pop_held(const void *what, const char *name, uint32_t id) {
    unsigned n = held.n;
    if (LIKELY(n > 0 && held.at[n - 1].what == what))
        held.n = n - 1;
    else
        pop_below(what, name, id);
}

static void set_take(lock_set *s) {
    push_held(s, "set", 0, LOCK_RANK_SET);
    must(pthread_mutex_lock(&s->m), "lock", "set");
}

static void set_release(lock_set *s) {
    pop_held(s, "set", 0);
    must(pthread_mutex_unlock(&s->m), "unlock", "set");
}

void lock_set_init(lock_set *s) {
    must(pthread_mutex_init(&s->m, NULL), "init", "set");
    s->head = NULL;
    s->cycles_per_usec = 1;
    s->on_since = s->on_before = 0;
    atomic_init(&s->counting, false);
}

void lock_set_fini(lock_set *s) {
    if (s->head) panic("lock %s/%u outlives its set", s->head->name, s->head->id);
    must(pthread_mutex_destroy(&s->m), "destroy", "set");
}

void lock_set_clock(lock_set *s, uint64_t cycles_per_usec) { s->cycles_per_usec = cycles_per_usec ? cycles_per_usec : 1; }

void lock_set_counting(lock_set *s, bool on) {
    set_take(s);
    uint64_t now = __builtin_ia32_rdtsc();
    if (on && !s->on_since) s->on_since = now;
    if (!on && s->on_since) {
        s->on_before += now - s->on_since;
        s->on_since = 0;
    }
    atomic_store_explicit(&s->counting, on, memory_order_relaxed); /* with the load in lock_take_at */
    set_release(s);
}

uint64_t lock_set_counted(lock_set *s) {
    set_take(s);
    uint64_t now = __builtin_ia32_rdtsc(), sum = s->on_before;
    if (s->on_since && now > s->on_since) sum += now - s->on_since; /* another CPU's counter may be a little behind */
    set_release(s);
    return sum;
}

static void zero(_Atomic uint64_t *counter) { atomic_store_explicit(counter, 0, memory_order_relaxed); /* with add(); see invariant 3 */ }

void lock_set_clear(lock_set *s) {
    set_take(s);
    for (lock *l = s->head; l; l = l->next) {
        for (lock_site *i = atomic_load_explicit(&l->sites, memory_order_acquire); i; i = i->next) { /* partner: find_site */
            zero(&i->tries);
            zero(&i->collisions);
            zero(&i->wait_cycles);
            for (unsigned k = 0; k < LOCK_WAIT_BUCKETS; k++) zero(&i->waits[k]);
        }
    }
    s->on_before = 0;
    if (s->on_since) s->on_since = __builtin_ia32_rdtsc();
    set_release(s);
}

void lock_set_each(lock_set *s, void (*fn)(void *arg, const lock *l), void *arg) {
    set_take(s);
    for (const lock *l = s->head; l; l = l->next) fn(arg, l);
    set_release(s);
}

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); /* with add() */ }

lock_counts lock_counted(const lock *l) {
    lock_counts c = {0, 0, 0};
    for (const lock_site *i = atomic_load_explicit(&l->sites, memory_order_acquire); i; i = i->next) { /* partner: find_site */
        c.tries += get(&i->tries);
        c.collisions += get(&i->collisions);
        c.wait_cycles += get(&i->wait_cycles);
    }
    return c;
}

void lock_init(lock *l, lock_set *set, const char *name, uint32_t id, lock_rank rank) {
    if (!name || !*name || rank <= LOCK_RANK_NONE || rank > LOCK_RANK_TEST || rank == LOCK_RANK_SET)
        panic("a lock needs a name and a rank (%s, %d)", name ? name : "no name", (int)rank);
    must(pthread_mutex_init(&l->m, NULL), "init", name);
    l->name = name;
    l->id = id;
    l->rank = rank;
    l->set = set;
    l->last = NULL;
    atomic_init(&l->sites, NULL);
    set_take(set);
    l->next = set->head;
    set->head = l;
    set_release(set);
}

void lock_fini(lock *l) {
    set_take(l->set);
    lock **at = &l->set->head;
    while (*at && *at != l) at = &(*at)->next;
    if (!*at) panic("lock %s/%u is not in its set", l->name, l->id);
    *at = l->next;
    set_release(l->set);
    must(pthread_mutex_destroy(&l->m), "destroy", l->name); /* EBUSY: somebody still holds it */
    for (lock_site *i = atomic_load_explicit(&l->sites, memory_order_acquire), *next; i; i = next) {
        next = i->next;
        mem_free(i);
    }
}

/* Adds to a counter that only the owner of the lock writes; see invariant 3. */
static inline void add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* With the lock held. There are as many sites as places in the source that take this lock: a handful. */
static lock_site *find_site(lock *l, const char *place) {
    lock_site *first = atomic_load_explicit(&l->sites, memory_order_relaxed); /* our own */
    for (lock_site *i = first; i; i = i->next)
        if (i->place == place) return l->last = i;
    lock_site *made = mem_zalloc(sizeof *made);
    made->place = place;
    made->next = first;
    atomic_store_explicit(&l->sites, made, memory_order_release); /* partner: readers in lock_set_each */
    return l->last = made;
}

static inline lock_site *site_of(lock *l, const char *place) {
    lock_site *at = l->last;
    return LIKELY(at && at->place == place) ? at : find_site(l, place);
}

static unsigned wait_bucket(const lock_set *s, uint64_t cycles) {
    uint64_t usecs = cycles / s->cycles_per_usec;
    unsigned k = usecs ? 64u - (unsigned)__builtin_clzll(usecs) : 0;
    return k < LOCK_WAIT_BUCKETS ? k : LOCK_WAIT_BUCKETS - 1;
}

/* Another thread holds it: waits. */
static COLD void take_late(lock *l, const char *place) {
    uint64_t from = __builtin_ia32_rdtsc();
    must(pthread_mutex_lock(&l->m), "lock", l->name);
    uint64_t to = __builtin_ia32_rdtsc();
    uint64_t cycles = to > from ? to - from : 0; /* another CPU's counter may be a little behind */
    lock_site *at = site_of(l, place);
    add(&at->tries, 1);
    add(&at->collisions, 1);
    add(&at->wait_cycles, cycles);
    add(&at->waits[wait_bucket(l->set, cycles)], 1);
}

static inline void take_counted(lock *l, const char *place) {
    int rc = pthread_mutex_trylock(&l->m);
    if (UNLIKELY(rc == EBUSY)) {
        take_late(l, place);
        return;
    }
    must(rc, "trylock", l->name);
    add(&site_of(l, place)->tries, 1);
}

void lock_take_at(lock *l, const char *place) {
    push_held(l, l->name, l->id, l->rank);
    if (atomic_load_explicit(&l->set->counting, memory_order_relaxed)) /* with the store in lock_set_counting */
        take_counted(l, place);
    else
        must(pthread_mutex_lock(&l->m), "lock", l->name);
}

void lock_release(lock *l) {
    pop_held(l, l->name, l->id);
    must(pthread_mutex_unlock(&l->m), "unlock", l->name);
}

bool lock_held(const lock *l) {
    for (unsigned i = 0; i < held.n; i++)
        if (held.at[i].what == l) return true;
    return false;
}

void lock_cond_init(lock_cond *c) {
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr), "condattr", "cond");
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "setclock",
         "cond"); /* a jump of the wall clock must not end or stretch a wait */
    must(pthread_cond_init(&c->c, &attr), "init", "cond");
    must(pthread_condattr_destroy(&attr), "condattr", "cond");
}

void lock_cond_fini(lock_cond *c) { must(pthread_cond_destroy(&c->c), "destroy", "cond"); }

static struct timespec deadline_in(int64_t timeout_usec) {
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) panic("no monotonic clock");
    int64_t sec = timeout_usec / USEC_PER_SEC_;
    t.tv_sec += sec < WAIT_SEC_MAX ? sec : WAIT_SEC_MAX;
    t.tv_nsec += timeout_usec % USEC_PER_SEC_ * NSEC_PER_USEC;
    if (t.tv_nsec >= USEC_PER_SEC_ * NSEC_PER_USEC) {
        t.tv_nsec -= USEC_PER_SEC_ * NSEC_PER_USEC;
        t.tv_sec++;
    }
    return t;
}

bool lock_wait(lock_cond *c, lock *l, int64_t timeout_usec) {
    /* Waking up takes l again: with a higher lock still held that would be out of order, and with l not held there is nothing to wait in.
     */
    if (held.n == 0 || held.at[held.n - 1].what != l) panic("lock_wait: %s/%u is not the last lock taken", l->name, l->id);
    if (timeout_usec < 0) {
        must(pthread_cond_wait(&c->c, &l->m), "wait", l->name);
        return true;
    }
    struct timespec deadline = deadline_in(timeout_usec);
    int rc = pthread_cond_timedwait(&c->c, &l->m, &deadline);
    if (rc == ETIMEDOUT) return false;
    must(rc, "timedwait", l->name);
    return true;
}

void lock_signal(lock_cond *c) { must(pthread_cond_signal(&c->c), "signal", "cond"); }

void lock_broadcast(lock_cond *c) { must(pthread_cond_broadcast(&c->c), "broadcast", "cond"); }
