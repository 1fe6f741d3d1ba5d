/* The simulated disk loses what was not synced, and nothing else (promises.md R3, R5). */
#include "base/mem.h"
#include "rt/sys.h"
#include "sim/disk.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static sim_inode *make(sim_disk *d, const char *path) {
    sim_inode *f = NULL;
    assert_int_equal(sim_disk_open(d, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &f), ERR_OK);
    return f;
}

static void put(sim_disk *d, const char *path, const char *text, bool sync, bool sync_dir) {
    sim_inode *f = make(d, path);
    assert_int_equal(sim_disk_write(d, f, slice_str(text), 0), ERR_OK);
    if (sync) assert_int_equal(sim_disk_sync(d, f), ERR_OK);
    sim_disk_close(d, f, false);
    if (sync_dir) assert_int_equal(sim_disk_dir_sync(d, ""), ERR_OK);
}

/* The content, or "-" when the file is not there. */
static const char *get(sim_disk *d, const char *path, char out[64]) {
    sim_inode *f = NULL;
    size_t n = 0;
    if (sim_disk_open(d, path, SYS_OPEN_READ, &f)) return "-";
    assert_int_equal(sim_disk_read(d, f, out, 63, 0, &n), ERR_OK);
    out[n] = 0;
    sim_disk_close(d, f, false);
    return out;
}

static void synced_bytes_survive_every_power_cut(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        prng r;
        char text[64];
        sim_disk d;
        prng_init(&r, seed);
        sim_disk_init(&d, &r);
        put(&d, "a", "first", true, true);
        put(&d, "a", "second", true, false);
        sim_disk_power_cut(&d);
        assert_string_equal(get(&d, "a", text), "second");
        sim_disk_fini(&d);
    }
}

static void unsynced_sectors_are_kept_dropped_and_torn_independently(void **state) {
    (void)state;
    uint8_t old[4 * SIM_SECTOR], now[4 * SIM_SECTOR], got[4 * SIM_SECTOR];
    memset(old, 'o', sizeof old);
    memset(now, 'n', sizeof now);
    unsigned seen = 0, mixed = 0;
    prng r;
    prng_init(&r, 7);
    for (int i = 0; i < 400; i++) {
        sim_disk d;
        sim_disk_init(&d, &r);
        sim_inode *f = make(&d, "a");
        assert_int_equal(sim_disk_write(&d, f, slice_of(old, sizeof old), 0), ERR_OK);
        assert_int_equal(sim_disk_sync(&d, f), ERR_OK);
        assert_int_equal(sim_disk_dir_sync(&d, ""), ERR_OK);
        assert_int_equal(sim_disk_write(&d, f, slice_of(now, sizeof now), 0), ERR_OK);
        sim_disk_close(&d, f, false);
        sim_disk_power_cut(&d);
        size_t n = 0;
        assert_int_equal(sim_disk_open(&d, "a", SYS_OPEN_READ, &f), ERR_OK);
        assert_int_equal(sim_disk_read(&d, f, got, sizeof got, 0, &n), ERR_OK);
        assert_int_equal(n, sizeof got);
        unsigned kinds = 0;
        for (unsigned s = 0; s < 4; s++) {
            size_t news = 0;
            for (size_t b = 0; b < SIM_SECTOR; b++) news += got[s * SIM_SECTOR + b] == 'n';
            kinds |= news == SIM_SECTOR ? 1u : news == 0 ? 2u : 4u;
        }
        seen |= kinds;
        mixed += kinds == 7;
        sim_disk_close(&d, f, false);
        sim_disk_fini(&d);
    }
    assert_int_equal(seen, 7);
    assert_true(mixed > 0);
}

static void a_new_file_may_vanish_until_its_directory_is_synced(void **state) {
    (void)state;
    unsigned gone = 0, there = 0;
    prng r;
    prng_init(&r, 3);
    for (int i = 0; i < 100; i++) {
        char text[64];
        sim_disk d;
        sim_disk_init(&d, &r);
        put(&d, "a", "x", true, false);
        sim_disk_power_cut(&d);
        if (get(&d, "a", text)[0] == '-')
            gone++;
        else
            there++;
        sim_disk_fini(&d);
    }
    assert_true(gone > 0 && there > 0);
}

static void a_rename_is_atomic_and_durable_after_dir_sync(void **state) {
    (void)state;
    unsigned old = 0, new = 0;
    prng r;
    prng_init(&r, 5);
    for (int i = 0; i < 200; i++) {
        char a[64], b[64];
        sim_disk d;
        sim_disk_init(&d, &r);
        put(&d, "a", "old", true, true);
        put(&d, "b", "new", true, true);
        assert_int_equal(sim_disk_rename(&d, "b", "a"), ERR_OK);
        if (i % 2) assert_int_equal(sim_disk_dir_sync(&d, "."), ERR_OK);
        assert_string_equal(get(&d, "a", a), "new");
        sim_disk_power_cut(&d);
        bool done = get(&d, "a", a)[0] == 'n';
        assert_string_equal(get(&d, "b", b), done ? "-" : "new");
        if (i % 2)
            assert_true(done);
        else
            done ? new ++ : old++;
        sim_disk_fini(&d);
    }
    assert_true(old > 0 && new > 0);
}

static void a_failed_sync_loses_sectors_that_a_later_ok_does_not_bring_back(void **state) {
    (void)state;
    unsigned lost = 0;
    prng r;
    prng_init(&r, 9);
    for (int i = 0; i < 100; i++) {
        char text[64];
        sim_disk d;
        sim_disk_init(&d, &r);
        put(&d, "a", "old", true, true);
        sim_inode *f = make(&d, "a");
        assert_int_equal(sim_disk_write(&d, f, SLICE("new"), 0), ERR_OK);
        d.faults.sync_eio = 1000000;
        assert_int_equal(sim_disk_sync(&d, f), ERR_IO);
        d.faults.sync_eio = 0;
        assert_int_equal(sim_disk_sync(&d, f), ERR_OK);
        assert_string_equal(get(&d, "a", text), "new"); /* the cache looks good */
        sim_disk_close(&d, f, false);
        sim_disk_power_cut(&d);
        lost += get(&d, "a", text)[0] == 'o';
        sim_disk_fini(&d);
    }
    assert_true(lost > 10 && lost < 90);
}

static void a_truncated_file_shows_zeros_when_it_grows_again(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 1);
    sim_disk d;
    sim_disk_init(&d, &r);
    sim_inode *f = make(&d, "a");
    uint8_t big[10000], got[10000];
    size_t n = 0;
    memset(big, 1, sizeof big);
    assert_int_equal(sim_disk_write(&d, f, slice_of(big, sizeof big), 0), ERR_OK);
    assert_int_equal(sim_disk_sync(&d, f), ERR_OK);
    assert_int_equal(sim_disk_truncate(&d, f, 100), ERR_OK);
    assert_int_equal(sim_disk_write(&d, f, SLICE("x"), 9999), ERR_OK);
    assert_int_equal(sim_disk_read(&d, f, got, sizeof got, 0, &n), ERR_OK);
    assert_int_equal(n, 10000);
    for (size_t i = 0; i < 9999; i++) assert_int_equal(got[i], i < 100);
    sim_disk_close(&d, f, false);
    sim_disk_fini(&d);
}

static void a_full_disk_refuses_new_space_only(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 1);
    sim_disk d;
    sim_disk_init(&d, &r);
    d.capacity = 2 * SIM_PAGE;
    sim_inode *f = make(&d, "a");
    assert_int_equal(sim_disk_allocate(&d, f, 0, 2 * SIM_PAGE), ERR_OK);
    assert_int_equal(sim_disk_write(&d, f, SLICE("in reserved space"), SIM_PAGE), ERR_OK);
    assert_int_equal(sim_disk_write(&d, f, SLICE("x"), 2 * SIM_PAGE), ERR_NOSPC);
    assert_int_equal(sim_disk_allocate(&d, f, 0, 3 * SIM_PAGE), ERR_NOSPC);
    assert_int_equal(sim_disk_unlink(&d, "a"), ERR_OK);
    sim_disk_close(&d, f, false);
    sim_inode *g = make(&d, "b");
    assert_int_equal(sim_disk_dir_sync(&d, ""), ERR_OK); /* nobody refers to a any more */
    assert_int_equal(sim_disk_allocate(&d, g, 0, 2 * SIM_PAGE), ERR_OK);
    sim_disk_close(&d, g, false);
    sim_disk_fini(&d);
}

static void collect(void *arg, const char *name) {
    strncat(arg, name, 8);
    strncat(arg, " ", 2);
}

static void directories_hold_sorted_names_and_go_with_their_children(void **state) {
    (void)state;
    unsigned gone = 0;
    prng r;
    prng_init(&r, 2);
    for (int i = 0; i < 50; i++) {
        sim_disk d;
        sim_disk_init(&d, &r);
        sim_inode *f = NULL;
        char names[64] = "";
        assert_int_equal(sim_disk_open(&d, "d/x", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &f), ERR_NOT_FOUND);
        assert_int_equal(sim_disk_mkdir(&d, "d"), ERR_OK);
        assert_int_equal(sim_disk_mkdir(&d, "d"), ERR_EXISTS);
        put(&d, "d/b", "1", true, false);
        put(&d, "d/a", "2", true, false);
        assert_int_equal(sim_disk_list(&d, "d", collect, names), ERR_OK);
        assert_string_equal(names, "a b ");
        assert_int_equal(sim_disk_dir_sync(&d, "d"), ERR_OK); /* but not the root, which holds d */
        sim_disk_power_cut(&d);
        char text[64];
        uint64_t size;
        usec mtime;
        bool there = sim_disk_stat(&d, "d", &size, &mtime) == ERR_OK;
        assert_int_equal(get(&d, "d/a", text)[0], there ? '2' : '-');
        gone += !there;
        sim_disk_fini(&d);
    }
    assert_true(gone > 0 && gone < 50);
}

static void a_directory_goes_when_it_is_empty_and_its_files_do_not_come_back(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 3);
    for (int i = 0; i < 50; i++) {
        sim_disk d;
        sim_disk_init(&d, &r);
        assert_int_equal(sim_disk_rmdir(&d, "d"), ERR_NOT_FOUND);
        assert_int_equal(sim_disk_mkdir(&d, "d"), ERR_OK);
        put(&d, "d/a", "1", true, i % 2 == 0);
        assert_int_equal(sim_disk_rmdir(&d, "d/a"), ERR_NOT_FOUND); /* a file */
        assert_int_equal(sim_disk_unlink(&d, "d"), ERR_INVALID);
        assert_int_equal(sim_disk_rmdir(&d, "d"), ERR_EXISTS);
        assert_int_equal(sim_disk_unlink(&d, "d/a"), ERR_OK);
        assert_int_equal(sim_disk_rmdir(&d, "d"), ERR_OK);
        assert_int_equal(sim_disk_mkdir(&d, "d"), ERR_OK);
        assert_int_equal(sim_disk_dir_sync(&d, ""), ERR_OK);
        sim_disk_power_cut(&d);
        char text[64];
        assert_int_equal(get(&d, "d/a", text)[0], '-');
        sim_disk_fini(&d);
    }
}

static void one_lock_a_file_until_its_holder_closes(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 2);
    sim_disk d;
    sim_disk_init(&d, &r);
    sim_inode *f = make(&d, "lock"), *g = make(&d, "lock");
    assert_int_equal(sim_disk_lock(f), ERR_OK);
    assert_int_equal(sim_disk_lock(g), ERR_BUSY);
    sim_disk_close(&d, f, true);
    assert_int_equal(sim_disk_lock(g), ERR_OK);
    sim_disk_close(&d, g, true);
    sim_disk_fini(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive_every_power_cut),
        cmocka_unit_test(unsynced_sectors_are_kept_dropped_and_torn_independently),
        cmocka_unit_test(a_new_file_may_vanish_until_its_directory_is_synced),
        cmocka_unit_test(a_rename_is_atomic_and_durable_after_dir_sync),
        cmocka_unit_test(a_failed_sync_loses_sectors_that_a_later_ok_does_not_bring_back),
        cmocka_unit_test(a_truncated_file_shows_zeros_when_it_grows_again),
        cmocka_unit_test(a_full_disk_refuses_new_space_only),
        cmocka_unit_test(directories_hold_sorted_names_and_go_with_their_children),
        cmocka_unit_test(a_directory_goes_when_it_is_empty_and_its_files_do_not_come_back),
        cmocka_unit_test(one_lock_a_file_until_its_holder_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
