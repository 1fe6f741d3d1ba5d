/* Lanes: each pair keeps its order whatever its receiver is called by, pairs take turns, and nothing is left behind. */
#include "base/mem.h"
#include "base/prng.h"
#include "mesh/lanes.h"
#include "support/cmocka_unit.h"

#define PIDS  4u
#define NAMES 3u /* whom a name means is the receiver's matter: here name i means pid i */

typedef struct said {
    mesh_item item;
    uint32_t from, to, number; /* of the pair */
    bool by_name;
} said;

static rt_pid here(uint32_t i) { return (rt_pid){0, 1 + i, 7}; }
static rt_pid there(uint32_t i) { return (rt_pid){3, 100 + i, 0}; }

static said *put(mesh_lanes *s, uint32_t from, uint32_t to, bool by_name, size_t bytes, uint32_t number) {
    said *x = mem_zalloc(sizeof *x);
    *x = (said){.item.bytes = bytes, .from = from, .to = to, .number = number, .by_name = by_name};
    mesh_lanes_put(s, here(from), by_name ? RT_PID_NONE : there(to), &x->item);
    return x;
}

static uint32_t take(mesh_lanes *s) {
    said *x = container_of(mesh_lanes_take(s), said, item);
    uint32_t number = x->number;
    mem_free(x);
    return number;
}

static void pairs_take_turns(void **state) {
    (void)state;
    mesh_lanes s;
    mesh_lanes_init(&s);
    assert_true(mesh_lanes_empty(&s));
    assert_null(mesh_lanes_first(&s));
    assert_null(mesh_lanes_take(&s));
    said *a = put(&s, 0, 0, false, 100, 1), *b = put(&s, 0, 1, false, 50, 2);
    (void)put(&s, 0, 0, false, 10, 3);
    assert_int_equal(s.bytes, 160);
    assert_ptr_equal(mesh_lanes_first(&s), &a->item);
    mesh_lanes_said(&s, 60);
    assert_ptr_equal(mesh_lanes_first(&s), &b->item);
    mesh_lanes_said(&s, 20);
    assert_ptr_equal(mesh_lanes_first(&s), &a->item);
    assert_int_equal(s.bytes, 80);
    assert_int_equal(take(&s), 1); /* its lane has more, and goes to the end */
    assert_int_equal(take(&s), 2);
    assert_int_equal(take(&s), 3);
    assert_int_equal(s.bytes, 0);
    assert_true(mesh_lanes_empty(&s));
    mesh_lanes_fini(&s);
}

static void who_waits(void **state) {
    (void)state;
    mesh_lanes s;
    mesh_lanes_init(&s);
    assert_false(mesh_lanes_wait(&s, here(0), there(0)));
    (void)put(&s, 0, 0, false, 100, 1);
    assert_true(mesh_lanes_wait(&s, here(0), there(0)));
    assert_false(mesh_lanes_wait(&s, here(0), there(1)));
    assert_false(mesh_lanes_wait(&s, here(1), there(0)));
    assert_true(mesh_lanes_wait(&s, here(0), RT_PID_NONE)); /* the name may be that of there(0) */
    assert_false(mesh_lanes_wait(&s, here(1), RT_PID_NONE));
    (void)put(&s, 0, 1, true, 1, 2);
    assert_true(mesh_lanes_wait(&s, here(0), there(1))); /* which may be whom the name means */
    (void)put(&s, 0, 2, false, 1, 3);
    (void)put(&s, 1, 0, false, 1, 9);
    assert_int_equal(take(&s), 1);
    assert_true(mesh_lanes_wait(&s, here(0), there(1)));
    assert_int_equal(take(&s), 9); /* what goes to names comes into the row when nothing is before it any more */
    assert_int_equal(take(&s), 2);
    assert_true(mesh_lanes_wait(&s, here(0), there(1)));
    assert_int_equal(take(&s), 3);
    assert_false(mesh_lanes_wait(&s, here(0), RT_PID_NONE));
    assert_true(mesh_lanes_empty(&s));
    mesh_lanes_fini(&s);
}

/* Against a count per pair, for as long as it takes. */
static void order_of_pairs(void **state) {
    (void)state;
    prng r;
    mesh_lanes s;
    uint32_t put_n[PIDS][PIDS] = {{0}}, took_n[PIDS][PIDS] = {{0}};
    size_t bytes = 0, waits = 0, longest = 0;
    prng_init(&r, 11);
    mesh_lanes_init(&s);
    for (unsigned step = 0; step < 200000 || waits > 0; step++) {
        if (step < 200000 && prng_below(&r, 100) < (step / 1000 % 2 ? 40u : 55u)) {
            uint32_t from = (uint32_t)prng_below(&r, PIDS), to = (uint32_t)prng_below(&r, PIDS);
            bool by_name = to < NAMES && prng_below(&r, 6) == 0;
            size_t n = 1 + prng_below(&r, 300);
            (void)put(&s, from, to, by_name, n, put_n[from][to]++);
            bytes += n;
            if (++waits > longest) longest = waits;
        } else if (waits > 0 && prng_below(&r, 2)) {
            size_t n = prng_below(&r, mesh_lanes_first(&s)->bytes + 1);
            mesh_lanes_said(&s, n);
            bytes -= n;
        } else if (waits > 0) {
            said *x = container_of(mesh_lanes_take(&s), said, item);
            assert_int_equal(x->number, took_n[x->from][x->to]++);
            bytes -= x->item.bytes;
            waits--;
            mem_free(x);
        }
        assert_int_equal(s.bytes, bytes);
        assert_int_equal(mesh_lanes_empty(&s), waits == 0);
    }
    assert_true(longest > 100);
    assert_memory_equal(put_n, took_n, sizeof put_n);
    mesh_lanes_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs_take_turns), cmocka_unit_test(who_waits), cmocka_unit_test(order_of_pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
