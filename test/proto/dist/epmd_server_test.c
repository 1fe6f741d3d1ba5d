/* epmd_server: our client against our server, every request cut anywhere, who may do what, limits, lists in pieces, and the memory that a
 * request can cost. */
#include "proto/dist/epmd_server.h"
#include "support/cmocka_unit.h"
#include "support/heap.h"

#include <stdio.h>

static const hash_key key = {1, 2};

#define TABLE(t, max)                                                                                                                      \
    dist_epmd_table t;                                                                                                                     \
    dist_epmd_table_init(&(t), 4369, max, &key, 1000)

typedef struct spoken {
    dist_epmd_conn c;
    buf out;
    dist_epmd_served last;
} spoken;

static void speak(spoken *s, dist_epmd_table *t, bool local) {
    *s = (spoken){0};
    dist_epmd_conn_init(&s->c, t, local, 7);
    buf_init(&s->out, 1u << 24);
}

static void hang_up(spoken *s) {
    dist_epmd_conn_fini(&s->c);
    buf_fini(&s->out);
}

/* Feeds in, cut first, and runs lists to their end. */
static void hear(spoken *s, slice in, size_t cut) {
    size_t at = 0, have = cut < in.len ? cut : in.len;
    for (;;) {
        dist_epmd_served ev;
        size_t used = 0;
        dist_epmd_conn_next(&s->c, slice_sub(in, at, have - at), &s->out, &used, &ev);
        at += used;
        assert_true(at <= have);
        if (ev.kind != DIST_EPMD_SERVED_NONE) s->last = ev;
        if (ev.kind == DIST_EPMD_SERVED_MORE) continue;
        if (have == in.len) return;
        have = in.len;
    }
}

static void one(dist_epmd_table *t, bool local, slice in, dist_epmd_served_kind kind, dist_epmd_fail fail, slice out) {
    for (size_t cut = 0; cut <= in.len; cut++) {
        spoken s;
        speak(&s, t, local);
        hear(&s, in, cut);
        assert_int_equal(s.last.kind, kind);
        assert_int_equal(s.last.fail, fail);
        assert_true(slice_eq(buf_slice(&s.out), out));
        hang_up(&s);
    }
}

static uint32_t registers(spoken *s, dist_epmd_table *t, const char *name, uint16_t port, uint16_t high) {
    dist_epmd_client c;
    dist_epmd_event ev;
    buf request;
    size_t used = 0;
    const dist_epmd_node n = {slice_str(name), SLICE("e"), port, high, 5, 77, 0};
    buf_init(&request, 4096);
    assert_int_equal(dist_epmd_register(&c, &n, &request), ERR_OK);
    speak(s, t, true);
    hear(s, buf_slice(&request), 3);
    buf_fini(&request);
    dist_epmd_next(&c, buf_slice(&s->out), false, &used, &ev);
    assert_int_equal(used, s->out.len);
    buf_reset(&s->out);
    if (s->last.kind != DIST_EPMD_SERVED_REGISTERED) {
        assert_int_equal(ev.kind, DIST_EPMD_IN_USE);
        return UINT32_MAX;
    }
    assert_true(slice_is(s->last.name, name));
    assert_int_equal(ev.kind, DIST_EPMD_REGISTERED);
    return ev.creation;
}

#define REGISTER_A SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1a\0\0")

static void a_name_lives_as_long_as_its_connection(void **state) {
    (void)state;
    TABLE(t, 10);
    spoken s;
    assert_int_equal(registers(&s, &t, "a", 4711, 6), 1000);
    one(&t, false, SLICE("\0\2za"), DIST_EPMD_SERVED_DONE, 0, SLICE("w\0\x12\x67M\0\0\6\0\5\0\1a\0\1e"));
    dist_epmd_node n;
    assert_true(dist_epmd_table_find(&t, SLICE("a"), &n));
    assert_int_equal(n.port, 4711);
    hang_up(&s);
    assert_int_equal(dist_epmd_table_count(&t), 0);
    one(&t, false, SLICE("\0\2za"), DIST_EPMD_SERVED_DONE, 0, SLICE("w\1"));
    assert_false(dist_epmd_table_find(&t, SLICE("a"), &n));
    dist_epmd_table_fini(&t);
}

static void each_registration_has_a_new_creation(void **state) {
    (void)state;
    TABLE(t, 10);
    spoken s;
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(registers(&s, &t, "a", 1, 6), 1000 + i);
        hang_up(&s);
    }
    t.creation = UINT32_MAX;
    assert_int_equal(registers(&s, &t, "a", 1, 6), UINT32_MAX);
    hang_up(&s);
    assert_int_equal(registers(&s, &t, "a", 1, 6), 4); /* 0 to 3 are left out */
    hang_up(&s);
    dist_epmd_table_fini(&t);
}

static void an_old_node_gets_a_creation_of_16_bits(void **state) {
    (void)state;
    TABLE(t, 10);
    for (int i = 0; i < 6; i++) {
        spoken s;
        speak(&s, &t, true);
        hear(&s, SLICE("\0\x0ex\0\1M\0\0\5\0\5\0\1a\0\0"), 0);
        assert_int_equal(s.out.len, 4);
        assert_memory_equal(s.out.p, "y\0\0", 3);
        assert_in_range(s.out.p[3], 1, 3);
        hang_up(&s);
    }
    dist_epmd_table_fini(&t);
}

static void a_name_has_one_owner(void **state) {
    (void)state;
    TABLE(t, 10);
    spoken s, other;
    assert_int_equal(registers(&s, &t, "a", 4711, 6), 1000);
    assert_int_equal(registers(&other, &t, "a", 1, 6), UINT32_MAX);
    assert_int_equal(other.last.fail, DIST_EPMD_FAIL_IN_USE);
    hang_up(&other); /* takes nothing from the owner */
    one(&t, true, REGISTER_A, DIST_EPMD_SERVED_REFUSED, DIST_EPMD_FAIL_IN_USE, SLICE("v\1\0\0\0\0"));
    one(&t, true, SLICE("\0\2sa"), DIST_EPMD_SERVED_REFUSED, DIST_EPMD_FAIL_STOP, SLICE(""));
    one(&t, true, SLICE("\0\1k"), DIST_EPMD_SERVED_REFUSED, DIST_EPMD_FAIL_STOP, SLICE("NO"));
    dist_epmd_node n;
    assert_true(dist_epmd_table_find(&t, SLICE("a"), &n));
    assert_int_equal(n.port, 4711);
    hang_up(&s);
    dist_epmd_table_fini(&t);
}

static void only_a_local_peer_registers_and_dumps(void **state) {
    (void)state;
    TABLE(t, 10);
    one(&t, false, REGISTER_A, DIST_EPMD_SERVED_REFUSED, DIST_EPMD_FAIL_PEER, SLICE(""));
    one(&t, false, SLICE("\0\1d"), DIST_EPMD_SERVED_REFUSED, DIST_EPMD_FAIL_PEER, SLICE(""));
    one(&t, false, SLICE("\0\1n"), DIST_EPMD_SERVED_DONE, 0, SLICE("\0\0\x11\x11"));
    assert_int_equal(dist_epmd_table_count(&t), 0);
    dist_epmd_table_fini(&t);
}

static void a_full_table_takes_no_more(void **state) {
    (void)state;
    TABLE(t, 2);
    spoken a, b, c;
    assert_int_equal(registers(&a, &t, "a", 1, 6), 1000);
    assert_int_equal(registers(&b, &t, "b", 1, 6), 1001);
    assert_int_equal(registers(&c, &t, "c", 1, 6), UINT32_MAX);
    assert_int_equal(c.last.fail, DIST_EPMD_FAIL_FULL);
    hang_up(&c);
    hang_up(&a);
    assert_int_equal(registers(&c, &t, "c", 1, 6), 1002);
    hang_up(&b);
    hang_up(&c);
    dist_epmd_table_fini(&t);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    TABLE(t, 10);
    static uint8_t text[2 + DIST_EPMD_REQUEST_MAX + 1];
    memset(text, 'x', sizeof text);
    const struct {
        slice request;
        dist_epmd_fail fail;
    } cases[] = {
        {SLICE("\0\0"), DIST_EPMD_FAIL_REQUEST},
        {SLICE("\0\1\0"), DIST_EPMD_FAIL_REQUEST},
        {SLICE("\0\3w\1\2"), DIST_EPMD_FAIL_REQUEST},
        {SLICE("GET / HTTP/1.1\r\n"), DIST_EPMD_FAIL_TOO_LONG},
        {SLICE("\xff\xff"), DIST_EPMD_FAIL_TOO_LONG},
        {SLICE("\5\x09"), DIST_EPMD_FAIL_TOO_LONG},
        {SLICE("\0\1x"), DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\x0dx\0\1M\0\0\6\0\5\0\1a\0"), DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\x0fx\0\1M\0\0\6\0\5\0\1a\0\0\0"), DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\xff\xff"
               "a\0\0"),
         DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1a\xff\xff"), DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\x0dx\0\1M\0\0\6\0\5\0\0\0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1\n\0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1\0\0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1@\0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1 \0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\x0ex\0\1M\0\0\6\0\5\0\1\xe5\0\0"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\1z"), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\4za\x1b["), DIST_EPMD_FAIL_NAME},
        {SLICE("\0\2nx"), DIST_EPMD_FAIL_MALFORMED},
        {SLICE("\0\2dx"), DIST_EPMD_FAIL_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) one(&t, true, cases[i].request, DIST_EPMD_SERVED_REFUSED, cases[i].fail, SLICE(""));
    text[0] = DIST_EPMD_REQUEST_MAX >> 8;
    text[1] = DIST_EPMD_REQUEST_MAX & 0xff;
    text[2] = 'z';
    spoken s;
    speak(&s, &t, true);
    hear(&s, slice_of(text, DIST_EPMD_REQUEST_MAX + 1), 0); /* one byte is missing: the longest request is waited for */
    assert_int_equal(s.last.kind, DIST_EPMD_SERVED_NONE);
    hang_up(&s);
    assert_int_equal(dist_epmd_table_count(&t), 0);
    dist_epmd_table_fini(&t);
}

static void the_longest_registration_fits(void **state) {
    (void)state;
    TABLE(t, 10);
    static uint8_t text[1100];
    memset(text, 'x', sizeof text);
    const dist_epmd_node n = {slice_of(text, 255), slice_of(text, DIST_EPMD_EXTRA_MAX), 1, 6, 5, 77, 0};
    dist_epmd_client c;
    buf request;
    buf_init(&request, 4096);
    assert_int_equal(dist_epmd_register(&c, &n, &request), ERR_OK);
    spoken s;
    speak(&s, &t, true);
    hear(&s, buf_slice(&request), 0);
    assert_int_equal(s.last.kind, DIST_EPMD_SERVED_REGISTERED);
    hang_up(&s);
    buf_fini(&request);
    dist_epmd_table_fini(&t);
}

static void a_registered_node_has_nothing_more_to_say(void **state) {
    (void)state;
    TABLE(t, 10);
    spoken s;
    (void)registers(&s, &t, "a", 1, 6);
    hear(&s, SLICE("\0\1n"), 0);
    assert_int_equal(s.last.fail, DIST_EPMD_FAIL_AFTER);
    assert_int_equal(s.out.len, 0);
    hang_up(&s);
    assert_int_equal(dist_epmd_table_count(&t), 0);
    dist_epmd_table_fini(&t);
}

static void one_connection_carries_one_request(void **state) {
    (void)state;
    TABLE(t, 10);
    one(&t, true, SLICE("\0\2za\0\2zb"), DIST_EPMD_SERVED_DONE, 0, SLICE("w\1"));
    dist_epmd_table_fini(&t);
}

static void a_dump_has_the_lines_of_otp(void **state) {
    (void)state;
    TABLE(t, 10);
    spoken a, b;
    (void)registers(&a, &t, "a", 1, 6);
    (void)registers(&b, &t, "bb", 65535, 6);
    one(&t, true, SLICE("\0\1d"), DIST_EPMD_SERVED_DONE, 0,
        SLICE("\0\0\x11\x11"
              "active name     <a> at port 1, fd = 7\n\0active name     <bb> at port 65535, fd = 7\n\0"));
    one(&t, false, SLICE("\0\1n"), DIST_EPMD_SERVED_DONE, 0, SLICE("\0\0\x11\x11name a at port 1\nname bb at port 65535\n"));
    hang_up(&a);
    hang_up(&b);
    dist_epmd_table_fini(&t);
}

#define MANY 3500u

static void a_list_of_thousands_comes_in_pieces_and_survives_changes(void **state) {
    (void)state;
    TABLE(t, MANY + 10);
    static spoken s[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u", i);
        (void)registers(&s[i], &t, name, (uint16_t)i, 6);
    }
    spoken asker;
    speak(&asker, &t, false);
    dist_epmd_client c;
    buf request, answer;
    buf_init(&request, 16);
    buf_init(&answer, 1u << 20);
    dist_epmd_names(&c, &request);
    size_t used, pieces = 0;
    dist_epmd_served served;
    do {
        buf_reset(&asker.out);
        dist_epmd_conn_next(&asker.c, pieces ? SLICE_NULL : buf_slice(&request), &asker.out, &used, &served);
        assert_true(asker.out.len <= DIST_EPMD_CHUNK + 512);
        buf_add(&answer, buf_slice(&asker.out));
        if (pieces == 1) { /* the first hundred were told already; the last is not any more */
            for (uint32_t i = 0; i < 100; i++) hang_up(&s[i]);
            hang_up(&s[MANY - 1]);
        }
        pieces++;
    } while (served.kind == DIST_EPMD_SERVED_MORE);
    assert_int_equal(served.kind, DIST_EPMD_SERVED_DONE);
    assert_true(pieces > 4);
    slice rest = buf_slice(&answer);
    dist_epmd_event ev;
    for (uint32_t i = 0; i < MANY - 1; i++) {
        dist_epmd_next(&c, rest, true, &used, &ev);
        rest = slice_from(rest, used);
        assert_int_equal(ev.kind, DIST_EPMD_NAME);
        assert_int_equal(ev.node.port, i);
    }
    dist_epmd_next(&c, rest, true, &used, &ev);
    assert_int_equal(ev.kind, DIST_EPMD_DONE);
    for (uint32_t i = 100; i < MANY - 1; i++) hang_up(&s[i]);
    hang_up(&asker);
    buf_fini(&request);
    buf_fini(&answer);
    assert_int_equal(dist_epmd_table_count(&t), 0);
    dist_epmd_table_fini(&t);
}

/* Memory kept for a registration is at most 64 times its bytes, for the shortest of them. */
static void a_registration_costs_a_bounded_multiple_of_its_bytes(void **state) {
    (void)state;
    TABLE(t, 4096);
    static spoken s[4096];
    size_t before = heap_used(), bytes = 0;
    for (uint32_t i = 0; i < ARRAY_LEN(s); i++) {
        const uint8_t request[] = {0, 15, 'x', 0, 1, 'M', 0, 0, 6, 0, 5, 0, 2, (uint8_t)('0' + i / 64), (uint8_t)('0' + i % 64), 0, 0};
        speak(&s[i], &t, true);
        hear(&s[i], slice_of(request, sizeof request), 0);
        buf_fini(&s[i].out);
        bytes += sizeof request;
    }
    size_t registered = dist_epmd_table_count(&t);
    assert_true(registered > 3900);
    assert_in_range(heap_used() - before, bytes, 64 * bytes);
    for (uint32_t i = 0; i < ARRAY_LEN(s); i++) hang_up(&s[i]);
    dist_epmd_table_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_lives_as_long_as_its_connection),
        cmocka_unit_test(each_registration_has_a_new_creation),
        cmocka_unit_test(an_old_node_gets_a_creation_of_16_bits),
        cmocka_unit_test(a_name_has_one_owner),
        cmocka_unit_test(only_a_local_peer_registers_and_dumps),
        cmocka_unit_test(a_full_table_takes_no_more),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(the_longest_registration_fits),
        cmocka_unit_test(a_registered_node_has_nothing_more_to_say),
        cmocka_unit_test(one_connection_carries_one_request),
        cmocka_unit_test(a_dump_has_the_lines_of_otp),
        cmocka_unit_test(a_list_of_thousands_comes_in_pieces_and_survives_changes),
        cmocka_unit_test(a_registration_costs_a_bounded_multiple_of_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
