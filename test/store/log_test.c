/* log_test: the message log by its interface: what is acked is found again, a full disk, bit rot, compaction, format, backup. */
#include "base/mem.h"
#include "store/log_int.h"
#include "support/memsys.h"

#include <inttypes.h>
#include <stdio.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define HOUR (3600 * USEC_PER_SEC)

static store_log_cfg small(void) {
    return (store_log_cfg){.dir = "d/log", .partitions = 4, .segment_bytes = 32768, .batch_bytes_max = 65536, .compact = true};
}

typedef struct named {
    unsigned n;
    char text[256];
} named;
static void on_damage(void *arg, uint64_t segment, uint64_t off, const char *text) {
    named *d = arg;
    d->n++;
    (void)snprintf(d->text, sizeof d->text, "%" PRIu64 ":%" PRIu64 " %s", segment, off, text);
}

static store_log *open_log(memsys *m, named *d, store_log_open_stat *st) {
    store_log_cfg c = small();
    store_log *l;
    store_log_open_stat unused;
    if (m->sys.dir_make(&m->sys, "d") == ERR_OK) sim_disk_settle(&m->disk);
    assert_int_equal(store_log_open(&m->sys, &c, d ? on_damage : NULL, d, &l, st ? st : &unused), ERR_OK);
    return l;
}

static uint64_t id_of(uint64_t partition, uint64_t n) { return partition << STORE_ID_PARTITION_SHIFT | n; }

static uint64_t put(store_log *l, memsys *m, unsigned n, const char *user, const char *text) {
    uint64_t loc = 0, id = id_of(store_partition(slice_str(user), 4), n);
    assert_int_equal(store_log_put(l, id, slice_str(user), slice_str(text), m->wall, n, 1, &loc), ERR_OK);
    return loc;
}

static void expect(store_log *l, unsigned n, const char *user, uint64_t loc, const char *text) {
    buf b;
    int64_t wall;
    buf_init(&b, 65536);
    assert_int_equal(store_log_read(l, id_of(store_partition(slice_str(user), 4), n), loc, &b, &wall), ERR_OK);
    assert_true(slice_is(buf_slice(&b), text));
    buf_fini(&b);
}

static size_t count_all(store_log *l) {
    size_t n = 0;
    for (unsigned p = 0; p < 4; p++) {
        store_index *x;
        assert_int_equal(store_log_index(l, p, 4, &x), ERR_OK);
        n += x->n_entries;
        x->box.free(&x->box);
    }
    return n;
}

static void an_index_is_sorted_by_user_then_id_and_survives_a_restart(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 1);
    store_log *l = open_log(&m, NULL, NULL);
    const char *user[3] = {"zoe@x", "anna@x", "mia@x"};
    char text[64];
    for (unsigned i = 0; i < 90; i++) {
        (void)snprintf(text, sizeof text, "hello %u", i);
        (void)put(l, &m, i, user[i % 3], text);
    }
    assert_int_equal(store_log_commit(l), ERR_OK);
    for (int restart = 0; restart < 3; restart++) {
        memsys_power_cut(&m);
        store_log_open_stat st;
        store_log *again = open_log(&m, NULL, &st);
        assert_int_equal(st.live, 90);
        assert_int_equal(st.epoch, (uint64_t)restart + 2);
        for (int twice = 0; twice < 2; twice++) { /* from recovery, and from a new scan */
            size_t n = 0;
            for (unsigned p = 0; p < 4; p++) {
                store_index *x;
                assert_int_equal(store_log_index(again, p, 4, &x), ERR_OK);
                assert_int_equal(x->n_recent, x->n_entries);
                for (size_t i = 0; i < x->n_entries; i++) {
                    if (i) assert_true(x->entries[i].user > x->entries[i - 1].user || x->entries[i].id > x->entries[i - 1].id);
                    if (i) assert_true(x->entries[i].user >= x->entries[i - 1].user);
                    unsigned k = (unsigned)(x->entries[i].id & 0xffff);
                    assert_true(slice_is(x->users[x->entries[i].user], user[k % 3]));
                    (void)snprintf(text, sizeof text, "hello %u", k);
                    expect(again, k, user[k % 3], x->entries[i].loc, text);
                }
                n += x->n_entries;
                x->box.free(&x->box);
            }
            assert_int_equal(n, 90);
        }
        memsys_kill(&m);
        store_log_close(again); /* writes nothing: its descriptors are gone */
    }
    store_log_close(l);
    memsys_fini(&m);
}

static void a_record_is_read_only_under_its_own_id(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 2);
    store_log *l = open_log(&m, NULL, NULL);
    uint64_t loc = put(l, &m, 7, "a@x", "text");
    buf b;
    int64_t wall;
    buf_init(&b, 4096);
    assert_int_not_equal(store_log_read(l, 7, loc, &b, &wall), ERR_OK); /* not committed */
    assert_int_equal(store_log_commit(l), ERR_OK);
    assert_int_equal(store_log_read(l, 8, loc, &b, &wall), ERR_NOT_FOUND);
    assert_int_not_equal(store_log_read(l, 7, loc + 8, &b, &wall), ERR_OK);
    assert_int_not_equal(store_log_read(l, 7, loc + (UINT64_C(1) << 40), &b, &wall), ERR_OK);
    expect(l, 7, "a@x", loc, "text");
    buf_fini(&b);
    store_log_close(l);
    memsys_fini(&m);
}

/* R6: a full disk refuses the batch as a whole, deletions still fit, and when there is space again the log goes on. */
static void a_full_disk_refuses_cleanly_and_recovers(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 3);
    store_log *l = open_log(&m, NULL, NULL);
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    m.disk.capacity = m.disk.used + 65536;
    uint64_t loc[500];
    unsigned n = 0;
    err e = ERR_OK;
    while (n < 500) {
        loc[n] = put(l, &m, n, "a@x", text);
        e = store_log_commit(l);
        if (e != ERR_OK) break;
        n++;
    }
    assert_int_equal(e, ERR_NOSPC);
    assert_true(n > 10);
    assert_int_equal(store_log_batch_bytes(l), 0);
    assert_int_equal(store_log_probe(l), ERR_NOSPC);
    for (unsigned i = 0; i < n; i++) expect(l, i, "a@x", loc[i], text);
    assert_int_equal(store_log_del(l, id_of(store_partition(SLICE("a@x"), 4), 0), loc[0]), ERR_OK); /* the reserve is for this */
    assert_int_equal(store_log_commit(l), ERR_OK);
    m.disk.capacity += UINT64_C(1) << 20;
    assert_int_equal(store_log_probe(l), ERR_OK);
    uint64_t after = put(l, &m, n, "a@x", "again");
    assert_int_equal(store_log_commit(l), ERR_OK);
    expect(l, n, "a@x", after, "again");
    store_log_close(l);
    memsys_power_cut(&m);
    l = open_log(&m, NULL, NULL);
    assert_int_equal(count_all(l), n); /* n put, one deleted, one more put */
    store_log_close(l);
    memsys_fini(&m);
}

/* R5: fsync is not retried as if good. */
static void after_a_failed_sync_nothing_more_is_written(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 4);
    store_log *l = open_log(&m, NULL, NULL);
    (void)put(l, &m, 1, "a@x", "one");
    assert_int_equal(store_log_commit(l), ERR_OK);
    (void)put(l, &m, 2, "a@x", "two");
    m.disk.faults.sync_eio = 1000000;
    assert_int_equal(store_log_commit(l), ERR_IO);
    m.disk.faults.sync_eio = 0;
    uint64_t writes = m.disk.writes, syncs = m.disk.syncs, loc;
    assert_int_equal(store_log_put(l, 3, SLICE("a@x"), SLICE("three"), 0, 0, 0, &loc), ERR_IO);
    assert_int_equal(store_log_commit(l), ERR_IO);
    store_log_close(l);
    assert_int_equal(m.disk.writes, writes);
    assert_int_equal(m.disk.syncs, syncs);
    memsys_fini(&m);
}

static void on_moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    uint64_t *locs = arg;
    assert_true(slice_is(user, "a@x"));
    locs[id & 0xffff] = loc;
}

static void compaction_keeps_the_living_and_gives_space_back(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 5);
    store_log *l = open_log(&m, NULL, NULL);
    uint64_t loc[400], part = store_partition(SLICE("a@x"), 4);
    char text[300];
    for (unsigned i = 0; i < 400; i++) {
        (void)snprintf(text, sizeof text, "message %u %0200u", i, i);
        loc[i] = put(l, &m, i, "a@x", text);
        assert_int_equal(store_log_commit(l), ERR_OK);
    }
    assert_false(store_log_wants_compact(l, m.mono, false)); /* all live */
    for (unsigned i = 0; i < 400; i++)
        if (i % 10) assert_int_equal(store_log_del(l, id_of(part, i), loc[i]), ERR_OK);
    assert_int_equal(store_log_commit(l), ERR_OK);
    assert_false(store_log_wants_compact(l, m.mono, false)); /* origin-ids of the last 10 minutes are needed */
    m.wall += HOUR;
    assert_false(store_log_wants_compact(l, m.mono, false)); /* whatever the wall clock says */
    m.mono += HOUR;
    store_status before = {0}, after = {0};
    store_log_status(l, &before);
    unsigned dropped = 0;
    while (store_log_wants_compact(l, m.mono, false)) {
        uint64_t seg, old = loc[0];
        assert_int_equal(store_log_compact(l, on_moved, loc, &seg), ERR_OK);
        if (dropped == 0) { /* a deletion by the old place, before the partition knows of the new one */
            assert_int_not_equal(loc[0], old);
            assert_int_equal(store_log_del(l, id_of(part, 0), old), ERR_OK);
            assert_int_equal(store_log_commit(l), ERR_OK);
        }
        assert_int_equal(store_log_drop(l, seg), ERR_OK);
        dropped++;
    }
    assert_true(dropped >= 2);
    store_log_status(l, &after);
    assert_true(after.total_bytes < before.total_bytes / 2);
    for (unsigned i = 10; i < 400; i += 10) {
        (void)snprintf(text, sizeof text, "message %u %0200u", i, i);
        expect(l, i, "a@x", loc[i], text);
    }
    assert_int_equal(count_all(l), after.live);
    store_log_close(l);
    memsys_power_cut(&m);
    l = open_log(&m, NULL, NULL);
    assert_int_equal(count_all(l), after.live);
    store_log_close(l);
    memsys_fini(&m);
}

/* Messages of a@x that fill some segments; of every ten the first stays. */
enum { MANY = 400 };
static const char FIRST_SEGMENT[] = "d/log/000000000001.seg";
static store_log *one_of_ten(memsys *m, named *d, uint64_t loc[MANY]) {
    store_log *l = open_log(m, NULL, NULL);
    char text[300];
    store_log_damage_to(l, on_damage, d);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "message %u %0200u", i, i);
        loc[i] = put(l, m, i, "a@x", text);
        assert_int_equal(store_log_commit(l), ERR_OK);
    }
    for (unsigned i = 0; i < MANY; i++)
        if (i % 10) assert_int_equal(store_log_del(l, id_of(store_partition(SLICE("a@x"), 4), i), loc[i]), ERR_OK);
    assert_int_equal(store_log_commit(l), ERR_OK);
    m->mono += HOUR;
    return l;
}

static void compact_first(store_log *l, memsys *m, uint64_t loc[MANY]) {
    uint64_t segment;
    assert_true(store_log_wants_compact(l, m->mono, false));
    assert_int_equal(store_log_compact(l, on_moved, loc, &segment), ERR_OK);
    assert_int_equal(segment, 1);
    assert_int_equal(store_log_drop(l, segment), ERR_OK);
}

static bool exists(memsys *m, const char *path) {
    uint64_t size;
    usec mtime;
    return m->sys.file_stat(&m->sys, path, &size, &mtime) == ERR_OK;
}

/* A sector goes bad after the message on it was acked. Nothing may delete it: it is named, and its segment stays until it is read and
 * deleted, or for this life. */
static void compaction_keeps_a_segment_of_which_it_could_not_read_all(void **state) {
    (void)state;
    for (int well_again = 0; well_again < 2; well_again++) {
        memsys m;
        uint64_t loc[MANY];
        named d = {0};
        memsys_init(&m, 15);
        store_log *l = one_of_ten(&m, &d, loc);
        uint64_t bad = loc[20], good = loc[50];
        assert_true(log_loc_segment(bad) == 1 && log_loc_segment(good) == 1);
        m.bad_path = FIRST_SEGMENT;
        m.bad_at = log_loc_off(bad) + 40;
        compact_first(l, &m, loc);
        assert_true(exists(&m, FIRST_SEGMENT));
        assert_int_equal(d.n, 1);
        assert_non_null(strstr(d.text, "messages that cannot be read now: "));
        assert_true(loc[20] == bad && loc[50] != good);
        assert_false(store_log_wants_compact(l, m.mono, false));
        assert_false(store_log_wants_compact(l, m.mono, true));
        size_t live = MANY / 10;
        store_status st = {0};
        store_log_status(l, &st);
        assert_int_equal(st.live, live);
        m.bad_path = NULL;
        char text[300];
        (void)snprintf(text, sizeof text, "message 20 %0200u", 20u);
        expect(l, 20, "a@x", bad, text);
        if (well_again) { /* delivered, and with it what lies beside it: the segment may go now */
            for (unsigned i = 0; i < MANY; i += 10) {
                if (log_loc_segment(loc[i]) != 1) continue;
                assert_int_equal(store_log_del(l, id_of(store_partition(SLICE("a@x"), 4), i), loc[i]), ERR_OK);
                live--;
            }
            assert_int_equal(store_log_commit(l), ERR_OK);
            compact_first(l, &m, loc);
            assert_false(exists(&m, FIRST_SEGMENT));
            assert_int_equal(d.n, 1);
        }
        store_log_close(l);
        l = open_log(&m, NULL, NULL); /* the next life: each once, the copies and what could not be copied */
        assert_int_equal(count_all(l), live);
        store_log_close(l);
        memsys_fini(&m);
    }
}

/* A partition that comes back has its index from a new scan. What that cannot read is named; what is known to be lost is not named again.
 */
static void a_scan_names_how_many_messages_it_could_not_read(void **state) {
    (void)state;
    memsys m;
    uint64_t loc[MANY];
    named d = {0};
    memsys_init(&m, 16);
    store_log *l = one_of_ten(&m, &d, loc);
    assert_int_equal(count_all(l), MANY / 10); /* a scan each: nothing was put in this life that recovery found */
    assert_int_equal(d.n, 0);
    m.bad_path = FIRST_SEGMENT;
    m.bad_at = log_loc_off(loc[20]) + 40;
    size_t left = count_all(l);
    assert_true(left < MANY / 10);
    assert_int_equal(d.n, 4); /* by each partition's scan */
    char want[64];
    (void)snprintf(want, sizeof want, "cannot be read now: %zu within", MANY / 10 - left);
    assert_non_null(strstr(d.text, want));
    store_log_close(l);
    l = open_log(&m, &d, NULL); /* it is lost, and has been named as such */
    store_log_damage_to(l, on_damage, &d);
    d.n = 0;
    assert_int_equal(count_all(l), left);
    assert_int_equal(count_all(l), left);
    assert_int_equal(d.n, 0);
    assert_false(store_log_wants_compact(l, m.mono, false)); /* how old its messages are, no clock can say */
    m.mono += HOUR;
    compact_first(l, &m, loc); /* so it is in nobody's way */
    assert_false(exists(&m, FIRST_SEGMENT));
    assert_int_equal(d.n, 0);
    store_log_close(l);
    memsys_fini(&m);
}

/* R4: one bit flipped at every byte of a small store: every message but at most one is served, never a wrong one, and a missing one is
 * named. */
static void any_flipped_bit_costs_one_message_at_most_and_is_named(void **state) {
    (void)state;
    enum { N = 12 };
    memsys m;
    memsys_init(&m, 6);
    store_log *l = open_log(&m, NULL, NULL);
    char text[N][120];
    uint64_t part = store_partition(SLICE("a@x"), 4);
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(text[i], sizeof text[i], "message number %u of some length %0*u", i, (int)(5 * i + 1), i);
        (void)put(l, &m, i, "a@x", text[i]);
        if (i % 3 == 2) assert_int_equal(store_log_commit(l), ERR_OK); /* batches of three; the last one has no successor */
    }
    memsys_kill(&m);
    store_log_close(l);
    sim_disk_settle(&m.disk);
    char path[] = "d/log/000000000001.seg";
    uint64_t size;
    usec mtime;
    assert_int_equal(m.sys.file_stat(&m.sys, path, &size, &mtime), ERR_OK);
    static uint8_t image[65536];
    size_t got;
    int fd;
    assert_int_equal(m.sys.file_open(&m.sys, path, SYS_OPEN_READ, &fd), ERR_OK);
    assert_int_equal(m.sys.file_read(&m.sys, fd, image, sizeof image, 0, &got), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    memsys_fini(&m);
    unsigned lost_max = 0, harmless = 0, detected = 0;
    size_t used = got;
    while (used > 0 && image[used - 1] == 0) used--;
    for (size_t at = 0; at < used + 64; at++) {
        memsys_init(&m, at + 1);
        assert_int_equal(m.sys.dir_make(&m.sys, "d"), ERR_OK);
        assert_int_equal(m.sys.dir_make(&m.sys, "d/log"), ERR_OK);
        assert_int_equal(m.sys.file_open(&m.sys, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd), ERR_OK);
        image[at] ^= (uint8_t)(1u << (at % 8));
        assert_int_equal(m.sys.file_write(&m.sys, fd, slice_of(image, got), 0), ERR_OK);
        image[at] ^= (uint8_t)(1u << (at % 8));
        m.sys.file_close(&m.sys, fd);
        named d = {0};
        store_log_open_stat st;
        l = open_log(&m, &d, &st);
        store_index *x;
        assert_int_equal(store_log_index(l, (unsigned)part, 4, &x), ERR_OK);
        for (size_t i = 0; i < x->n_entries; i++) {
            unsigned n = (unsigned)(x->entries[i].id & 0xffff);
            assert_true(n < N);
            expect(l, n, "a@x", x->entries[i].loc, text[n]);
        }
        unsigned lost = N - (unsigned)x->n_entries;
        if (lost > lost_max) lost_max = lost;
        if (lost && !d.n && !st.cut_bytes) fail_msg("byte %zu: %u lost and nothing said", at, lost);
        if (lost > 1) print_message("byte %zu: %u lost: %s, cut %" PRIu64 "\n", at, lost, d.text, st.cut_bytes);
        if (d.n || st.cut_bytes)
            detected++;
        else
            harmless++;
        x->box.free(&x->box);
        store_log_close(l);
        memsys_fini(&m);
    }
    print_message("%u detected, %u harmless, at most %u lost\n", detected, harmless, lost_max);
    assert_true(lost_max <= 1);
}

/* A later batch proves that the earlier one was synced: a hole in it is damage, not a torn write, and cuts nothing. */
static void a_zeroed_sector_before_the_last_batch_costs_only_what_lies_on_it(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 11);
    store_log *l = open_log(&m, NULL, NULL);
    char text[1500];
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (unsigned i = 0; i < 6; i++) {
        (void)put(l, &m, i, "a@x", text);
        if (i % 2) assert_int_equal(store_log_commit(l), ERR_OK);
    }
    memsys_kill(&m);
    store_log_close(l);
    int fd;
    static const uint8_t zeros[512];
    assert_int_equal(m.sys.file_open(&m.sys, "d/log/000000000001.seg", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(m.sys.file_write(&m.sys, fd, slice_of(zeros, sizeof zeros), 4096 + 512), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    named d = {0};
    store_log_open_stat st;
    l = open_log(&m, &d, &st);
    assert_int_equal(st.live, 5);
    assert_int_equal(st.damaged, 1);
    assert_int_equal(d.n, 1);
    store_index *x;
    unsigned part = store_partition(SLICE("a@x"), 4);
    assert_int_equal(store_log_index(l, part, 4, &x), ERR_OK);
    assert_int_equal(x->lost, 1); /* its partition is told */
    x->box.free(&x->box);
    store_log_close(l);
    memsys_fini(&m);
}

static void a_header_has_two_copies(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 7);
    store_log_close(open_log(&m, NULL, NULL));
    int fd;
    assert_int_equal(m.sys.file_open(&m.sys, "d/log/000000000001.seg", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(m.sys.file_truncate(&m.sys, fd, 100), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    store_log_open_stat st;
    store_log_close(open_log(&m, NULL, &st)); /* the first copy of the header still stands */
    assert_int_equal(st.epoch, 2);
    memsys_fini(&m);
}

/* A log with 500 messages of a@x, in a fresh world, and a folder b for its backup. */
static store_log *log_of_500(memsys *m, uint64_t seed) {
    memsys_init(m, seed);
    store_log *l = open_log(m, NULL, NULL);
    char text[200];
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, "message %u %0100u", i, i);
        (void)put(l, m, i, "a@x", text);
        if (i % 20 == 19) assert_int_equal(store_log_commit(l), ERR_OK);
    }
    assert_int_equal(m->sys.dir_make(&m->sys, "b"), ERR_OK);
    return l;
}

static void count_name(void *arg, const char *name) {
    (void)name;
    ++*(unsigned *)arg;
}

static void a_backup_that_finds_no_space_takes_itself_back(void **state) {
    (void)state;
    memsys m;
    store_log *l = log_of_500(&m, 9);
    unsigned entries = 0, failed = 0;
    for (uint64_t pages = 1;; pages++) { /* at the first segment, in the middle of one, at the last */
        m.disk.capacity = m.disk.used + pages * SIM_PAGE;
        err e = store_log_backup(l, "b");
        m.disk.capacity = 0;
        assert_int_equal(m.sys.dir_list(&m.sys, "b", count_name, &entries), ERR_OK);
        if (e == ERR_OK) break;
        assert_int_equal(e, ERR_NOSPC);
        assert_int_equal(entries, 0);
        assert_int_equal(m.sys.dir_sync(&m.sys, "b"), ERR_OK); /* gives the space back */
        failed++;
    }
    assert_true(failed > 2 && entries > 1);
    unsigned before = entries;
    entries = 0;
    assert_int_equal(store_log_backup(l, "b"), ERR_EXISTS); /* what another one made stays */
    assert_int_equal(m.sys.dir_list(&m.sys, "b", count_name, &entries), ERR_OK);
    assert_int_equal(entries, before);
    store_log_close(l);
    memsys_fini(&m);
}

static void a_backup_opens_and_holds_the_same(void **state) {
    (void)state;
    memsys m;
    store_log *l = log_of_500(&m, 8);
    assert_int_equal(store_log_backup(l, "b"), ERR_OK);
    store_log_close(l);
    store_log_cfg c = small();
    c.dir = "b";
    named d = {0};
    store_log_open_stat st;
    assert_int_equal(store_log_open(&m.sys, &c, on_damage, &d, &l, &st), ERR_OK);
    assert_int_equal(st.live, 500);
    assert_int_equal(d.n, 0);
    assert_int_equal(count_all(l), 500);
    store_log_close(l);
    memsys_fini(&m);
}

static void a_sealed_segment_that_is_cut_short_is_noticed(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 9);
    store_log *l = open_log(&m, NULL, NULL);
    for (unsigned i = 0; i < 10; i++) (void)put(l, &m, i, "a@x", "some text that is kept");
    assert_int_equal(store_log_commit(l), ERR_OK);
    store_log_close(l);
    l = open_log(&m, NULL, NULL); /* seals the first */
    (void)put(l, &m, 10, "a@x", "one more");
    assert_int_equal(store_log_commit(l), ERR_OK);
    store_log_close(l);
    int fd;
    assert_int_equal(m.sys.file_open(&m.sys, "d/log/000000000001.seg", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(m.sys.file_truncate(&m.sys, fd, 4096 + 32 + 3 * 72), ERR_OK); /* between two records */
    m.sys.file_close(&m.sys, fd);
    named d = {0};
    store_log_open_stat st;
    l = open_log(&m, &d, &st);
    assert_true(d.n >= 1 && st.damaged >= 1);
    assert_true(st.live >= 3 && st.live < 11);
    assert_int_equal(count_all(l), st.live);
    store_log_close(l);
    memsys_fini(&m);
}

static void a_restart_loop_leaves_no_segments_behind(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 10);
    for (int i = 0; i < 50; i++) {
        store_log *l = open_log(&m, NULL, NULL);
        store_status st = {0};
        store_log_status(l, &st);
        assert_true(st.segments <= 2);
        memsys_power_cut(&m);
        store_log_close(l);
    }
    memsys_fini(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_is_sorted_by_user_then_id_and_survives_a_restart),
        cmocka_unit_test(a_record_is_read_only_under_its_own_id),
        cmocka_unit_test(a_full_disk_refuses_cleanly_and_recovers),
        cmocka_unit_test(after_a_failed_sync_nothing_more_is_written),
        cmocka_unit_test(compaction_keeps_the_living_and_gives_space_back),
        cmocka_unit_test(compaction_keeps_a_segment_of_which_it_could_not_read_all),
        cmocka_unit_test(a_scan_names_how_many_messages_it_could_not_read),
        cmocka_unit_test(any_flipped_bit_costs_one_message_at_most_and_is_named),
        cmocka_unit_test(a_zeroed_sector_before_the_last_batch_costs_only_what_lies_on_it),
        cmocka_unit_test(a_header_has_two_copies),
        cmocka_unit_test(a_backup_opens_and_holds_the_same),
        cmocka_unit_test(a_backup_that_finds_no_space_takes_itself_back),
        cmocka_unit_test(a_sealed_segment_that_is_cut_short_is_noticed),
        cmocka_unit_test(a_restart_loop_leaves_no_segments_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
