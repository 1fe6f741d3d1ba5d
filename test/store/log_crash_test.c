/* log_crash_test: promises.md R3: power is cut at every system call of a scripted workload (put, commit, delete, rotate, compact, drop),
 * with several seeds of what survives; then at every call of the recovery. After it every committed message that was not deleted is there
 * with its payload, no other one, and of the batch that was being written a prefix. */
#include "base/mem.h"
#include "store/log.h"
#include "support/memsys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define MSGS_MAX 400
typedef enum fate { ABSENT, PENDING, DURABLE, DELETING, DELETED } fate;
typedef struct model {
    fate f[MSGS_MAX];
    uint64_t loc[MSGS_MAX];
    unsigned n;
} model;

static store_log_cfg cfg_of(void) {
    return (store_log_cfg){.dir = "log", .partitions = 2, .segment_bytes = 3000, .batch_bytes_max = 8192, .compact = true};
}

static slice payload(unsigned i, char *out) { /* of very different sizes, so that records lie across sectors */
    size_t n = 20 + (i * 97) % 300;
    (void)snprintf(out, 400, "payload %u ", i);
    for (size_t k = strlen(out); k < n; k++) out[k] = (char)('a' + (k + i) % 26);
    return slice_of(out, n);
}

static void user_of(unsigned i, char out[32]) { (void)snprintf(out, 32, "user%u@localhost", i % 7); }

static void moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    (void)user;
    ((model *)arg)->loc[id] = loc;
}

static err put_some(store_log *l, model *m, prng *r, int64_t wall) {
    char text[400], user[32];
    for (uint64_t n = 1 + prng_below(r, 6); n > 0 && m->n < MSGS_MAX; n--) {
        unsigned i = m->n;
        user_of(i, user);
        err e = store_log_put(l, i, slice_str(user), payload(i, text), wall, i, i, &m->loc[i]);
        if (e != ERR_OK) return e;
        m->n++;
        m->f[i] = PENDING;
    }
    return ERR_OK;
}

static err commit(store_log *l, model *m) {
    err e = store_log_commit(l);
    if (e != ERR_OK) return e;
    for (unsigned i = 0; i < m->n; i++) {
        if (m->f[i] == PENDING) m->f[i] = DURABLE;
        if (m->f[i] == DELETING) m->f[i] = DELETED;
    }
    return ERR_OK;
}

static err compact(store_log *l, model *m, memsys *ms) {
    uint64_t seg;
    err e = commit(l, m);
    if (e != ERR_OK || !store_log_wants_compact(l, ms->wall, false)) return e;
    e = store_log_compact(l, moved, m, &seg);
    return e == ERR_OK ? store_log_drop(l, seg) : e;
}

/* Runs until it is done or the power goes. */
static void workload(memsys *ms, model *m, uint64_t seed, unsigned steps) {
    prng r;
    prng_init(&r, seed);
    store_log_cfg c = cfg_of();
    store_log *l;
    store_log_open_stat st;
    memset(m, 0, sizeof *m);
    if (store_log_open(&ms->sys, &c, NULL, NULL, &l, &st) != ERR_OK) return;
    err e = ERR_OK;
    for (unsigned i = 0; i < steps && e == ERR_OK; i++) {
        e = put_some(l, m, &r, ms->wall - 3600 * USEC_PER_SEC);
        for (unsigned k = 0; k < 5 && e == ERR_OK && m->n > 0; k++) {
            unsigned j = (unsigned)prng_below(&r, m->n);
            if (m->f[j] != DURABLE) continue;
            m->f[j] = DELETING;
            e = store_log_del(l, j, m->loc[j]);
        }
        if (e == ERR_OK && prng_chance(&r, 4, 5)) e = commit(l, m);
        if (e == ERR_OK && prng_chance(&r, 1, 4)) e = compact(l, m, ms);
    }
    store_log_close(l);
}

static void show(void *arg, uint64_t segment, uint64_t off, const char *text) {
    (void)arg;
    if (getenv("LOG_CRASH_SHOW")) print_message("segment %" PRIu64 " at %" PRIu64 ": %s\n", segment, off, text);
}

/* What is on disk now against the model. */
static void verify(memsys *ms, const model *m, uint64_t where) {
    store_log_cfg c = cfg_of();
    store_log *l;
    store_log_open_stat st;
    assert_int_equal(store_log_open(&ms->sys, &c, show, NULL, &l, &st), ERR_OK);
    if (st.damaged) fail_msg("at %" PRIu64 ": a torn batch is taken for damage", where);
    bool seen[MSGS_MAX] = {false};
    for (unsigned p = 0; p < c.partitions; p++) {
        store_index *x;
        assert_int_equal(store_log_index(l, p, c.partitions, &x), ERR_OK);
        for (size_t i = 0; i < x->n_entries; i++) {
            store_entry *e = &x->entries[i];
            if (e->id >= m->n || seen[e->id]) fail_msg("at %" PRIu64 ": message %" PRIu64 " is invented or doubled", where, e->id);
            seen[e->id] = true;
            char text[400], user[32];
            buf b;
            int64_t wall;
            buf_init(&b, 4096);
            user_of((unsigned)e->id, user);
            assert_true(slice_is(x->users[e->user], user));
            assert_int_equal(store_log_read(l, e->id, e->loc, &b, &wall), ERR_OK);
            assert_true(slice_eq(buf_slice(&b), payload((unsigned)e->id, text)));
            buf_fini(&b);
        }
        x->box.free(&x->box);
    }
    bool gap = false;
    for (unsigned i = 0; i < m->n; i++) {
        if (m->f[i] == DURABLE && !seen[i]) fail_msg("at %" PRIu64 ": committed message %u is lost", where, i);
        if (m->f[i] == DELETED && seen[i]) fail_msg("at %" PRIu64 ": deleted message %u is back", where, i);
        if (m->f[i] != PENDING) continue;
        if (!seen[i])
            gap = true;
        else if (gap)
            fail_msg("at %" PRIu64 ": message %u survived one that came before it", where, i);
    }
    store_log_close(l);
}

static uint64_t crash_points;

static void crash_everywhere(uint64_t seed, unsigned steps) {
    memsys ms;
    model m;
    for (uint64_t at = 1;; at++) {
        memsys_init(&ms, seed * 1000003 + at);
        ms.crash_at = at;
        workload(&ms, &m, seed, steps);
        bool crashed = ms.dead;
        memsys_power_cut(&ms);
        /* and once more in the middle of the recovery */
        store_log_cfg c = cfg_of();
        store_log *l;
        store_log_open_stat st;
        ms.crash_at = ms.calls + 1 + at % 40;
        if (store_log_open(&ms.sys, &c, show, NULL, &l, &st) == ERR_OK) store_log_close(l);
        memsys_power_cut(&ms);
        verify(&ms, &m, at);
        memsys_kill(&ms);
        verify(&ms, &m, at); /* the second start finds the same */
        memsys_fini(&ms);
        crash_points++;
        if (!crashed) return;
    }
}

static void committed_survives_a_power_cut_at_every_call(void **state) {
    (void)state;
    const char *n = getenv("LOG_CRASH_SEEDS");
    uint64_t seeds = n ? strtoull(n, NULL, 10) : 24;
    for (uint64_t seed = 1; seed <= seeds; seed++) crash_everywhere(seed, 14);
    print_message("%" PRIu64 " crash points\n", crash_points);
    assert_true(crash_points > seeds * 50);
}

/* R5: any call that fails with EIO: what was acked stays, what was not is not promised. A log that met it refuses everything after. */
static void eio_at_every_call_keeps_what_was_committed(void **state) {
    (void)state;
    memsys ms;
    model m;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        for (uint64_t at = 1;; at++) {
            memsys_init(&ms, seed * 7777 + at);
            ms.fail_at = at;
            ms.fail_with = ERR_IO;
            workload(&ms, &m, seed, 14);
            bool met = ms.calls >= at;
            memsys_power_cut(&ms);
            verify(&ms, &m, at);
            memsys_fini(&ms);
            if (!met) break;
        }
    }
}

/* R6: any call that finds no space: the batch is gone as a whole, and the log goes on. */
static void no_space_at_every_call_keeps_what_was_committed(void **state) {
    (void)state;
    memsys ms;
    model m;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        for (uint64_t at = 1;; at++) {
            memsys_init(&ms, seed * 5555 + at);
            ms.fail_at = at;
            ms.fail_with = ERR_NOSPC;
            workload(&ms, &m, seed, 14);
            bool met = ms.calls >= at;
            memsys_kill(&ms);
            verify(&ms, &m, at);
            memsys_fini(&ms);
            if (!met) break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_survives_a_power_cut_at_every_call),
        cmocka_unit_test(eio_at_every_call_keeps_what_was_committed),
        cmocka_unit_test(no_space_at_every_call_keeps_what_was_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
