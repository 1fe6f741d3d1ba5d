/* list: order, removal, and the node that knows that it is in no list. */
#include "base/list.h"
#include "unit.h"

typedef struct item {
    int value;
    list link;
} item;

static void pushes_at_both_ends_and_walks_in_order(void **state) {
    (void)state;
    list head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head));
    item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[1].link);
    list_push_back(&head, &items[3].link);
    list_push_front(&head, &items[0].link);
    int want = 0;
    for (list *n = list_first(&head); n; n = list_next(&head, n)) assert_int_equal(container_of(n, item, link)->value, want++);
    assert_int_equal(want, 4);
}

static void a_removed_node_is_unlinked_and_its_neighbours_meet(void **state) {
    (void)state;
    list head;
    list_init(&head);
    item items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    for (int i = 0; i < 3; i++) {
        assert_false(list_linked(&items[i].link));
        list_push_back(&head, &items[i].link);
        assert_true(list_linked(&items[i].link));
    }
    list_remove(&items[1].link);
    assert_false(list_linked(&items[1].link));
    assert_ptr_equal(list_next(&head, &items[0].link), &items[2].link);
    assert_ptr_equal(list_pop_front(&head), &items[0].link);
    assert_ptr_equal(list_pop_front(&head), &items[2].link);
    assert_null(list_pop_front(&head));
    assert_true(list_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_at_both_ends_and_walks_in_order),
        cmocka_unit_test(a_removed_node_is_unlinked_and_its_neighbours_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
