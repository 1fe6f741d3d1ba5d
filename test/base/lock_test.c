/* lock: the order of ranks, who holds what, counting, and conditions. */
#include "base/lock.h"
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

typedef struct pair {
    lock_set set;
    lock low;
    lock high;
} pair;

static void pair_init(pair *p) {
    lock_set_init(&p->set);
    lock_init(&p->low, &p->set, "names", 0, LOCK_RANK_TABLES);
    lock_init(&p->high, &p->set, "log", 3, LOCK_RANK_LOG);
}

static void pair_fini(pair *p) {
    lock_fini(&p->low);
    lock_fini(&p->high);
    lock_set_fini(&p->set);
}

static void rising_ranks_are_fine_and_release_goes_in_any_order(void **state) {
    (void)state;
    pair p;
    pair_init(&p);
    for (int i = 0; i < 2; i++) {
        lock_take(&p.low);
        lock_take(&p.high);
        assert_true(lock_held(&p.low) && lock_held(&p.high));
        lock_release(i ? &p.low : &p.high);
        assert_int_equal(lock_held(&p.low), !i);
        assert_int_equal(lock_held(&p.high), i);
        lock_release(i ? &p.high : &p.low);
        assert_false(lock_held(&p.low) || lock_held(&p.high));
    }
    pair_fini(&p);
}

static void falling(void *arg) {
    pair *p = arg;
    lock_take(&p->high);
    lock_take(&p->low);
}

static void twice(void *arg) {
    pair *p = arg;
    lock_take(&p->low);
    lock_take(&p->low);
}

static void equal_rank(void *arg) {
    pair *p = arg;
    lock other;
    lock_init(&other, &p->set, "names", 1, LOCK_RANK_TABLES);
    lock_take(&p->low);
    lock_take(&other);
}

static void release_unheld(void *arg) { lock_release(&((pair *)arg)->low); }

static void wait_below_another(void *arg) {
    pair *p = arg;
    lock_cond c;
    lock_cond_init(&c);
    lock_take(&p->low);
    lock_take(&p->high);
    (void)lock_wait(&c, &p->low, 0);
}

static void wait_unheld(void *arg) {
    pair *p = arg;
    lock_cond c;
    lock_cond_init(&c);
    (void)lock_wait(&c, &p->low, 0);
}

static void takes_in_callback(void *arg, const lock *l) {
    (void)l;
    lock_take(&((pair *)arg)->high);
}

static void each_with_lock(void *arg) { lock_set_each(&((pair *)arg)->set, takes_in_callback, arg); }

static void set_before_locks(void *arg) { lock_set_fini(&((pair *)arg)->set); }

static void fini_held(void *arg) {
    pair *p = arg;
    lock_take(&p->low);
    lock_fini(&p->low);
}

static void no_name(void *arg) {
    lock l;
    lock_init(&l, &((pair *)arg)->set, "", 0, LOCK_RANK_LOG);
}

static void no_rank(void *arg) {
    lock l;
    lock_init(&l, &((pair *)arg)->set, "x", 0, LOCK_RANK_NONE);
}

static void broken_order_and_broken_contracts_panic(void **state) {
    (void)state;
    pair p;
    pair_init(&p);
    assert_true(panics(falling, &p, "lock names/0 (rank 2) taken while holding log/3"));
    assert_true(panics(twice, &p, "lock names/0"));
    assert_true(panics(equal_rank, &p, "lock names/1"));
    assert_true(panics(release_unheld, &p, "does not hold"));
    assert_true(panics(wait_below_another, &p, "not the last lock taken"));
    assert_true(panics(wait_unheld, &p, "not the last lock taken"));
    assert_true(panics(each_with_lock, &p, "while holding set"));
    assert_true(panics(set_before_locks, &p, "outlives its set"));
    assert_true(panics(fini_held, &p, "destroy(names)"));
    assert_true(panics(no_name, &p, "needs a name"));
    assert_true(panics(no_rank, &p, "needs a name and a rank"));
    pair_fini(&p);
}

static void counting_is_off_until_switched_on_and_clears(void **state) {
    (void)state;
    pair p;
    pair_init(&p);
    lock_take(&p.low);
    lock_release(&p.low);
    assert_int_equal(lock_counted(&p.low).tries, 0);
    lock_set_counting(&p.set, true);
    for (int i = 0; i < 5; i++) {
        lock_take(&p.low);
        lock_release(&p.low);
    }
    lock_set_counting(&p.set, false);
    lock_take(&p.low);
    lock_release(&p.low);
    assert_int_equal(lock_counted(&p.low).tries, 5);
    assert_int_equal(lock_counted(&p.low).collisions, 0);
    assert_int_equal(lock_counted(&p.low).wait_cycles, 0);
    lock_set_clear(&p.set);
    assert_int_equal(lock_counted(&p.low).tries, 0);
    pair_fini(&p);
}

static void note(void *arg, const lock *l) {
    char *names = arg;
    strncat(names, l->name, 20);
    strncat(names, " ", 2);
}

static void the_set_knows_its_locks(void **state) {
    (void)state;
    pair p;
    pair_init(&p);
    char names[64] = "";
    lock_set_each(&p.set, note, names);
    assert_string_equal(names, "log names ");
    lock_fini(&p.high);
    names[0] = '\0';
    lock_set_each(&p.set, note, names);
    assert_string_equal(names, "names ");
    lock_fini(&p.low);
    lock_set_fini(&p.set);
}

#define THREADS 2
#define ROUNDS  20000
typedef struct shared {
    pair p;
    uint64_t value; /* guarded by p.low */
} shared;

static void *adds(void *arg) {
    shared *s = arg;
    for (int i = 0; i < ROUNDS; i++) {
        lock_take(&s->p.low);
        s->value++;
        lock_release(&s->p.low);
    }
    return NULL;
}

static void two_threads_exclude_each_other_and_every_take_is_counted(void **state) {
    (void)state;
    shared s = {.value = 0};
    pair_init(&s.p);
    lock_set_counting(&s.p.set, true);
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&t[i], NULL, adds, &s), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    assert_int_equal(s.value, THREADS * ROUNDS);
    assert_int_equal(lock_counted(&s.p.low).tries, THREADS * ROUNDS);
    assert_true(lock_counted(&s.p.low).collisions <= lock_counted(&s.p.low).tries);
    pair_fini(&s.p);
}

typedef struct collision {
    pair p;
    _Atomic pid_t waiter; /* set by the other thread just before it takes p.low; release/acquire with the loop in the test */
} collision;

static void *collides(void *arg) {
    collision *c = arg;
    atomic_store_explicit(&c->waiter, gettid(), memory_order_release);
    lock_take(&c->p.low);
    lock_release(&c->p.low);
    return NULL;
}

/* True if the kernel says that the thread sleeps. */
static bool sleeps(pid_t tid) {
    char path[64];
    char text[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char *after_name = n > 0 ? strrchr(text, ')') : NULL;
    return after_name && after_name[1] == ' ' && after_name[2] == 'S';
}

static void a_take_that_had_to_wait_is_a_collision_with_its_cycles(void **state) {
    (void)state;
    collision c = {.waiter = 0};
    pair_init(&c.p);
    lock_set_counting(&c.p.set, true);
    lock_take(&c.p.low);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, collides, &c), 0);
    pid_t tid;
    while ((tid = atomic_load_explicit(&c.waiter, memory_order_acquire)) == 0 || !sleeps(tid)) sched_yield();
    lock_release(&c.p.low);
    pthread_join(t, NULL);
    assert_int_equal(lock_counted(&c.p.low).tries, 2);
    assert_int_equal(lock_counted(&c.p.low).collisions, 1);
    assert_true(lock_counted(&c.p.low).wait_cycles > 0);
    pair_fini(&c.p);
}

static void find_first(void *arg, const lock *l) {
    if (strcmp(l->name, "names") == 0) *(const lock_site **)arg = atomic_load(&l->sites);
}

static void a_collision_is_known_by_its_place_and_by_how_long_it_waited(void **state) {
    (void)state;
    collision c = {.waiter = 0};
    lock_set_init(&c.p.set);
    lock_set_clock(&c.p.set, 1); /* a cycle counts as a microsecond: each wait is beyond the second bucket */
    lock_init(&c.p.low, &c.p.set, "names", 0, LOCK_RANK_TABLES);
    lock_init(&c.p.high, &c.p.set, "log", 3, LOCK_RANK_LOG);
    lock_set_counting(&c.p.set, true);
    lock_take(&c.p.low);
    char here[256];
    (void)snprintf(here, sizeof here, "%s:%d", __FILE__, __LINE__ - 2);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, collides, &c), 0);
    pid_t tid;
    while ((tid = atomic_load_explicit(&c.waiter, memory_order_acquire)) == 0 || !sleeps(tid)) sched_yield();
    lock_release(&c.p.low);
    pthread_join(t, NULL);
    const lock_site *waited = NULL;
    lock_set_each(&c.p.set, find_first, &waited); /* its place came last, so it is in front */
    const lock_site *at = waited->next;
    assert_non_null(at);
    assert_null(at->next);
    assert_string_equal(at->place, here);
    assert_memory_equal(waited->place, __FILE__ ":", sizeof __FILE__);
    assert_string_not_equal(waited->place, here);
    assert_true(at->tries == 1 && at->collisions == 0 && at->wait_cycles == 0);
    assert_true(waited->tries == 1 && waited->collisions == 1 && waited->wait_cycles == lock_counted(&c.p.low).wait_cycles);
    unsigned bucket = 64u - (unsigned)__builtin_clzll(waited->wait_cycles);
    if (bucket > LOCK_WAIT_BUCKETS - 1) bucket = LOCK_WAIT_BUCKETS - 1;
    for (unsigned k = 0; k < LOCK_WAIT_BUCKETS; k++) assert_int_equal(waited->waits[k], k == bucket);
    for (int i = 0; i < 3; i++) { /* one place, however often */
        lock_take(&c.p.high);
        lock_release(&c.p.high);
    }
    const lock_site *high = atomic_load(&c.p.high.sites);
    assert_true(high->tries == 3 && !high->next);
    lock_set_clear(&c.p.set);
    assert_true(waited->tries == 0 && waited->collisions == 0 && waited->wait_cycles == 0 && waited->waits[bucket] == 0 &&
                high->tries == 0);
    pair_fini(&c.p);
}

static void the_time_during_which_is_counted_stands_still_while_off(void **state) {
    (void)state;
    pair p;
    pair_init(&p);
    assert_int_equal(lock_set_counted(&p.set), 0);
    lock_set_counting(&p.set, true);
    lock_set_counting(&p.set, true);
    uint64_t a = lock_set_counted(&p.set), b = lock_set_counted(&p.set);
    assert_true(b > a);
    lock_set_counting(&p.set, false);
    uint64_t off = lock_set_counted(&p.set);
    assert_true(off > b);
    assert_true(lock_set_counted(&p.set) == off);
    lock_set_counting(&p.set, true);
    assert_true(lock_set_counted(&p.set) > off);
    lock_set_counting(&p.set, false);
    lock_set_clear(&p.set);
    assert_int_equal(lock_set_counted(&p.set), 0);
    pair_fini(&p);
}

typedef struct meeting {
    pair p;
    lock_cond c;
    bool asked;    /* guarded by p.low */
    bool answered; /* guarded by p.low */
} meeting;

static void *answers(void *arg) {
    meeting *m = arg;
    lock_take(&m->p.low);
    while (!m->asked) (void)lock_wait(&m->c, &m->p.low, -1);
    m->answered = true;
    lock_broadcast(&m->c);
    lock_release(&m->p.low);
    return NULL;
}

static void a_condition_hands_over_between_two_threads(void **state) {
    (void)state;
    meeting m = {.asked = false};
    pair_init(&m.p);
    lock_cond_init(&m.c);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, answers, &m), 0);
    lock_take(&m.p.low);
    m.asked = true;
    lock_broadcast(&m.c);
    while (!m.answered) assert_true(lock_wait(&m.c, &m.p.low, INT64_MAX)); /* the longest wait overflows nothing */
    assert_true(lock_held(&m.p.low));
    lock_release(&m.p.low);
    pthread_join(t, NULL);
    lock_cond_fini(&m.c);
    pair_fini(&m.p);
}

static void a_wait_that_nobody_ends_times_out_with_the_lock_held(void **state) {
    (void)state;
    pair p;
    lock_cond c;
    pair_init(&p);
    lock_cond_init(&c);
    lock_take(&p.low);
    while (lock_wait(&c, &p.low, 1000)) {
    } /* true only for a spurious wake-up */
    assert_false(lock_wait(&c, &p.low, 0));
    assert_true(lock_held(&p.low));
    lock_release(&p.low);
    lock_cond_fini(&c);
    pair_fini(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rising_ranks_are_fine_and_release_goes_in_any_order),
        cmocka_unit_test(broken_order_and_broken_contracts_panic),
        cmocka_unit_test(counting_is_off_until_switched_on_and_clears),
        cmocka_unit_test(the_set_knows_its_locks),
        cmocka_unit_test(two_threads_exclude_each_other_and_every_take_is_counted),
        cmocka_unit_test(a_take_that_had_to_wait_is_a_collision_with_its_cycles),
        cmocka_unit_test(a_collision_is_known_by_its_place_and_by_how_long_it_waited),
        cmocka_unit_test(the_time_during_which_is_counted_stands_still_while_off),
        cmocka_unit_test(a_condition_hands_over_between_two_threads),
        cmocka_unit_test(a_wait_that_nobody_ends_times_out_with_the_lock_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
