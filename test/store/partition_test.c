/* store_partition: the partition of a user and the table in which the partition keeps the user never share a key (system.md G6): with the
 * key of partitions for the table as well, users of one partition would share the low bits of their hash. */
#include "base/prng.h"
#include "store/log.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

#define PARTITIONS 64
#define USERS      4096 /* of one partition */

typedef struct user {
    hmap_node node;
} user;

static void users_of_one_partition_spread_over_its_table_as_all_users_do(void **state) {
    (void)state;
    static user at[USERS];
    hmap m;
    prng r;
    size_t longest, used, seen = 0;
    prng_init(&r, 11);
    hash_key node = {prng_next(&r), prng_next(&r)}; /* as a node draws its key: rt_node_hash_key, which svc/account.c uses */
    size_t low[PARTITIONS] = {0};
    hmap_init(&m);
    for (unsigned i = 0; m.count < USERS; i++, seen++) {
        char jid[40];
        int n = snprintf(jid, sizeof jid, "user%u@example.org", i);
        slice name = slice_of(jid, (size_t)n);
        if (store_partition(name, PARTITIONS) != 5) continue;
        uint64_t hash = hash_bytes(&node, name);
        low[hash % PARTITIONS]++;
        hmap_insert(&m, &at[m.count].node, hash);
    }
    assert_in_range(seen, USERS * PARTITIONS * 9 / 10, USERS * PARTITIONS * 11 / 10); /* the partitions are even themselves */
    for (size_t i = 0; i < PARTITIONS; i++) assert_in_range(low[i], 25, 110);         /* with one key all but one were empty */
    hmap_stat(&m, &longest, &used);
    assert_in_range(longest, 3, 10);
    assert_in_range(used, USERS * 6 / 10, USERS * 7 / 10); /* 63 % by chance */
    hmap_fini(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(users_of_one_partition_spread_over_its_table_as_all_users_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
