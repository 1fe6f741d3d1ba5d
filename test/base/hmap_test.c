/* hmap: growing, shrinking, duplicates, and removal in the midst of a walk. */
#include "base/hash.h"
#include "base/prng.h"
#include "unit.h"

#include <string.h>

#define N 5000

typedef struct entry {
    hmap_node node;
    bool in;
    int seen;
} entry;

static entry entries[N];

static void fill(hmap *m, size_t n) {
    memset(entries, 0, sizeof entries);
    hmap_init(m);
    for (size_t i = 0; i < n; i++) {
        hmap_insert(m, &entries[i].node, hash_u64(i));
        entries[i].in = true;
    }
}

static entry *find(const hmap *m, size_t i) {
    for (hmap_node *n = hmap_find(m, hash_u64(i)); n; n = hmap_find_next(n))
        if (n == &entries[i].node) return &entries[i];
    return NULL;
}

static void grows_with_its_entries_and_shrinks_to_nothing(void **state) {
    (void)state;
    hmap m;
    fill(&m, N);
    assert_int_equal(m.count, N);
    assert_int_equal(m.mask, 8191);
    for (size_t i = 0; i < N; i++) {
        assert_ptr_equal(find(&m, i), &entries[i]);
        hmap_remove(&m, &entries[i].node);
        assert_null(find(&m, i));
        if (m.count > 1) assert_true(m.mask + 1 <= m.count * 8 || m.mask == 7);
    }
    assert_null(m.buckets);
    assert_null(hmap_first(&m));
    assert_null(hmap_find(&m, 1));
    hmap_fini(&m);
}

static void agrees_with_a_flag_array_under_random_changes(void **state) {
    (void)state;
    hmap m;
    fill(&m, 0);
    prng r;
    prng_init(&r, 7);
    size_t count = 0;
    for (int step = 0; step < 100000; step++) {
        size_t i = (size_t)prng_below(&r, step < 50000 ? N : N / 50);
        if (step >= 50000 && step < 50000 + N) i = (size_t)(step - 50000); /* drains, so that it shrinks */
        if (entries[i].in) {
            hmap_remove(&m, &entries[i].node);
            count--;
        } else {
            hmap_insert(&m, &entries[i].node, hash_u64(i));
            count++;
        }
        entries[i].in = !entries[i].in;
        assert_true(m.count == count);
        assert_true((find(&m, i) != NULL) == entries[i].in);
    }
    size_t walked = 0;
    for (hmap_node *n = hmap_first(&m); n; n = hmap_next(&m, n)) walked++;
    assert_int_equal(walked, count);
    hmap_fini(&m);
}

static void a_walk_that_removes_sees_each_entry_once(void **state) {
    (void)state;
    for (size_t keep = 0; keep < 50; keep += 7) { /* keep one of so many; 0: none */
        hmap m;
        fill(&m, N);
        hmap_node *next;
        for (hmap_node *n = hmap_first(&m); n; n = next) {
            next = hmap_next(&m, n);
            entry *e = container_of(n, entry, node);
            e->seen++;
            if (keep == 0 || (size_t)(e - entries) % keep != 0) hmap_remove(&m, n); /* shrinks under way */
        }
        for (size_t i = 0; i < N; i++) assert_int_equal(entries[i].seen, 1);
        assert_int_equal(m.count, keep == 0 ? 0 : (N + keep - 1) / keep);
        hmap_fini(&m);
    }
}

static void equal_hashes_come_back_in_order_of_insertion(void **state) {
    (void)state;
    hmap m;
    fill(&m, 0);
    for (size_t i = 0; i < 100; i++) hmap_insert(&m, &entries[i].node, i % 2 == 0 ? 42 : hash_u64(i));
    size_t want = 0;
    for (hmap_node *n = hmap_find(&m, 42); n; n = hmap_find_next(n), want += 2) assert_ptr_equal(n, &entries[want].node);
    assert_int_equal(want, 100);
    hmap_fini(&m);
}

static void the_order_of_a_walk_does_not_depend_on_addresses(void **state) {
    (void)state;
    static entry twin[N];
    hmap a;
    hmap b;
    fill(&a, 1000);
    hmap_init(&b);
    for (size_t i = 0; i < 1000; i++) hmap_insert(&b, &twin[N - 1 - i].node, hash_u64(i)); /* the addresses run backwards */
    hmap_node *n = hmap_first(&a);
    for (hmap_node *t = hmap_first(&b); t; t = hmap_next(&b, t), n = hmap_next(&a, n)) assert_true(n->hash == t->hash);
    assert_null(n);
    hmap_fini(&a);
    hmap_fini(&b);
}

static void statistics_show_a_chain_and_a_good_hash_makes_none(void **state) {
    (void)state;
    hmap m;
    size_t longest;
    size_t used;
    fill(&m, 4096);
    hmap_stat(&m, &longest, &used);
    assert_in_range(longest, 2, 10);
    assert_in_range(used, 2400, 4096);
    hmap_fini(&m);
    fill(&m, 0);
    hmap_stat(&m, &longest, &used);
    assert_int_equal(longest + used, 0);
    for (size_t i = 0; i < 500; i++) hmap_insert(&m, &entries[i].node, i); /* consecutive integers spread as well */
    hmap_stat(&m, &longest, &used);
    assert_in_range(longest, 1, 3);
    hmap_fini(&m);
    fill(&m, 0);
    for (size_t i = 0; i < 500; i++) hmap_insert(&m, &entries[i].node, 1);
    hmap_stat(&m, &longest, &used);
    assert_true(longest == 500 && used == 1);
    hmap_fini(&m);
}

static void a_look_in_parts_sees_the_same_as_one_look(void **state) {
    (void)state;
    hmap m;
    hmap_chains whole = {0}, parts = {0};
    fill(&m, 3000);
    for (size_t i = 3000; i < 3100; i++) hmap_insert(&m, &entries[i].node, 7); /* one chain of 100 and more */
    assert_int_equal(hmap_chains_add(&m, 0, SIZE_MAX, &whole), m.mask + 1);
    size_t from = 0, looks = 0;
    for (; from <= m.mask; looks++) from = hmap_chains_add(&m, from, 1000, &parts);
    assert_int_equal(looks, 5);
    assert_memory_equal(&whole, &parts, sizeof whole);
    assert_int_equal(whole.entries, 3100);
    assert_in_range(whole.longest, 100, 110);
    assert_int_equal(whole.of_len[6], 1); /* from 64 to 127 */
    size_t chains = 0;
    for (size_t k = 0; k < HMAP_CHAIN_BUCKETS; k++) chains += whole.of_len[k];
    assert_int_equal(chains, whole.used);
    hmap_fini(&m);
    hmap_chains none = {0};
    assert_int_equal(hmap_chains_add(&m, 0, 10, &none), 1); /* an empty table is seen whole at once */
    assert_int_equal(none.used, 0);
}

/* What took a large system down once (system.md G6): one hash chose the fragment of a table and the bucket within it, so that in each
 * fragment all but a few buckets stayed empty. A fragment is chosen here by the bits that hmap takes its bucket from. */
#define FRAGMENTS 2048
#define KEYS      4096 /* in the fragment that is looked at: as many as it has buckets */
static size_t longest_in_a_fragment(const hash_key *to_fragment, const hash_key *to_bucket) {
    hmap m;
    size_t longest, used;
    fill(&m, 0);
    for (uint64_t user = 0; m.count < KEYS; user++) {
        slice name = slice_of(&user, sizeof user);
        uint64_t fragment = hash_bytes(to_fragment, name) * UINT64_C(0x9e3779b97f4a7c15) >> 53;
        if (fragment == FRAGMENTS / 3) hmap_insert(&m, &entries[m.count].node, hash_bytes(to_bucket, name));
    }
    hmap_stat(&m, &longest, &used);
    hmap_fini(&m);
    return longest;
}
static void one_seed_for_fragment_and_bucket_makes_chains_of_2000_and_two_seeds_cure_it(void **state) {
    (void)state;
    const hash_key one = {1, 2}, other = {3, 4};
    assert_in_range(longest_in_a_fragment(&one, &one), 1900, 2300);
    assert_in_range(longest_in_a_fragment(&one, &other), 3, 9);
}

static void remove_twice(void *arg) {
    (void)arg;
    hmap m;
    fill(&m, 2);
    hmap_remove(&m, &entries[0].node);
    hmap_remove(&m, &entries[0].node);
}

static void removing_what_is_not_in_panics(void **state) {
    (void)state;
    assert_true(panics(remove_twice, NULL, "not in the map"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_with_its_entries_and_shrinks_to_nothing),
        cmocka_unit_test(agrees_with_a_flag_array_under_random_changes),
        cmocka_unit_test(a_walk_that_removes_sees_each_entry_once),
        cmocka_unit_test(equal_hashes_come_back_in_order_of_insertion),
        cmocka_unit_test(the_order_of_a_walk_does_not_depend_on_addresses),
        cmocka_unit_test(statistics_show_a_chain_and_a_good_hash_makes_none),
        cmocka_unit_test(a_look_in_parts_sees_the_same_as_one_look),
        cmocka_unit_test(one_seed_for_fragment_and_bucket_makes_chains_of_2000_and_two_seeds_cure_it),
        cmocka_unit_test(removing_what_is_not_in_panics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
