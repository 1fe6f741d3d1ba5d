/* epmd: what a client asks and how it takes every answer, cut anywhere; bad answers. The answers are those that OTP's epmd gives, byte for
 * byte (test/interop/otp talks to a real one). */
#include "proto/dist/epmd.h"
#include "support/cmocka_unit.h"

typedef struct asked {
    dist_epmd_client c;
    buf out;
} asked;

static asked ask_register(void) {
    asked a;
    buf_init(&a.out, 4096);
    const dist_epmd_node n = {SLICE("murre"), SLICE("xy"), 0x1234, 6, 5, DIST_EPMD_TYPE_VISIBLE, DIST_EPMD_PROTO_TCP};
    assert_int_equal(dist_epmd_register(&a.c, &n, &a.out), ERR_OK);
    return a;
}

static asked ask_lookup(void) {
    asked a;
    buf_init(&a.out, 4096);
    assert_int_equal(dist_epmd_lookup(&a.c, SLICE("murre"), &a.out), ERR_OK);
    return a;
}

static asked ask_names(void) {
    asked a;
    buf_init(&a.out, 4096);
    dist_epmd_names(&a.c, &a.out);
    return a;
}

static void show(buf *log, const dist_epmd_event *ev) {
    switch (ev->kind) {
    case DIST_EPMD_NONE: break;
    case DIST_EPMD_REGISTERED: buf_addf(log, "registered=%x ", ev->creation); break;
    case DIST_EPMD_IN_USE: buf_add_str(log, "in-use "); break;
    case DIST_EPMD_FOUND:
        buf_addf(log, "found=" SLICE_FMT ":%u:%u:%u:%u:%u:" SLICE_FMT " ", SLICE_ARG(ev->node.name), ev->node.port, ev->node.type,
                 ev->node.proto, ev->node.high, ev->node.low, SLICE_ARG(ev->node.extra));
        break;
    case DIST_EPMD_NOT_FOUND: buf_add_str(log, "not-found "); break;
    case DIST_EPMD_NAME: buf_addf(log, SLICE_FMT "=%u ", SLICE_ARG(ev->node.name), ev->node.port); break;
    case DIST_EPMD_DONE: buf_add_str(log, "done "); break;
    case DIST_EPMD_FAIL: buf_addf(log, "fail=%s ", dist_epmd_fail_name(ev->fail)); break;
    }
}

/* Feeds answer, cut bytes first and then step by step, and closes. */
static void hears(asked a, slice answer, bool closes, const char *want) {
    for (size_t cut = 0; cut <= answer.len; cut++)
        for (size_t step = 1; step < 2000; step += 1999 - 1) {
            dist_epmd_client c = a.c;
            buf log;
            buf_init(&log, 8192);
            size_t at = 0, have = cut;
            for (;;) {
                dist_epmd_event ev;
                size_t used = 0;
                bool eof = closes && have == answer.len;
                dist_epmd_next(&c, slice_sub(answer, at, have - at), eof, &used, &ev);
                at += used;
                assert_true(at <= have);
                show(&log, &ev);
                if (ev.kind != DIST_EPMD_NONE) continue;
                if (have == answer.len) break;
                have = have + step < answer.len ? have + step : answer.len;
            }
            if (!slice_is(buf_slice(&log), want)) fail_msg("cut at %zu: " SLICE_FMT "; not: %s", cut, SLICE_ARG(buf_slice(&log)), want);
            buf_fini(&log);
        }
    buf_fini(&a.out);
}

static void requests_have_the_bytes_of_the_protocol(void **state) {
    (void)state;
    asked a = ask_register();
    assert_true(slice_eq(buf_slice(&a.out), SLICE("\0\x14\x78\x12\x34\x4d\0\0\6\0\5\0\5murre\0\2xy")));
    buf_fini(&a.out);
    a = ask_lookup();
    assert_true(slice_eq(buf_slice(&a.out), SLICE("\0\6zmurre")));
    buf_fini(&a.out);
    a = ask_names();
    assert_true(slice_eq(buf_slice(&a.out), SLICE("\0\1n")));
    buf_fini(&a.out);
}

static void a_registration_is_answered_with_a_creation(void **state) {
    (void)state;
    hears(ask_register(), SLICE("\x76\0\x6b\3\xf3\xb6"), false, "registered=6b03f3b6 ");
    hears(ask_register(), SLICE("\x76\0\xff\xff\xff\xff"), false, "registered=ffffffff ");
    hears(ask_register(), SLICE("\x76\0\0\0\0\4"), false, "registered=4 ");
    /* Creations of two bits, and none at all: the node draws its own. */
    hears(ask_register(), SLICE("\x76\0\0\0\0\3"), false, "registered=0 ");
    hears(ask_register(), SLICE("\x76\0\0\0\0\0"), false, "registered=0 ");
    hears(ask_register(), SLICE("\x79\0\0\1"), false, "registered=0 ");
    hears(ask_register(), SLICE("\x79\0\xff\xff"), false, "registered=0 ");
    hears(ask_register(), SLICE("\x76\1\0\0\0\0"), true, "in-use ");
    hears(ask_register(), SLICE("\x79\1\0\x63"), true, "in-use ");
}

static void a_registration_ends_with_its_connection(void **state) {
    (void)state;
    hears(ask_register(), SLICE("\x76\0\x6b\3\xf3\xb6"), true, "registered=6b03f3b6 fail=LOST ");
    hears(ask_register(), SLICE("\x76\0\x6b\3\xf3\xb6!"), false, "registered=6b03f3b6 fail=ANSWER ");
    hears(ask_register(), SLICE("\x76\0\x6b\3\xf3"), true, "fail=CUT ");
    hears(ask_register(), SLICE(""), true, "fail=CUT ");
    hears(ask_register(), SLICE("\x77\0"), false, "fail=ANSWER ");
}

static void a_lookup_finds_or_does_not(void **state) {
    (void)state;
    hears(ask_lookup(), SLICE("\x77\1"), true, "not-found ");
    hears(ask_lookup(), SLICE("\x77\0\x12\x34\x4d\0\0\6\0\5\0\5murre\0\0"), true, "found=murre:4660:77:0:6:5: ");
    hears(ask_lookup(), SLICE("\x77\0\x12\x34\x48\0\0\6\0\5\0\5murre\0\2xy"), false, "found=murre:4660:72:0:6:5:xy ");
}

static void bad_answers_to_a_lookup_fail(void **state) {
    (void)state;
    hears(ask_lookup(), SLICE("\x77\0\x12\x34\x4d\0\0\6\0\5\0\5other\0\0"), true, "fail=OTHER_NODE ");
    hears(ask_lookup(), SLICE("\x77\0\x12\x34\x4d\0\0\6\0\5\0\6murre\0"), true, "fail=CUT ");
    hears(ask_lookup(), SLICE("\x77\0"), true, "fail=CUT ");
    hears(ask_lookup(), SLICE("\x77"), true, "fail=CUT ");
    hears(ask_lookup(), SLICE("HTTP/1.1 400"), true, "fail=ANSWER ");
    static uint8_t big[70000] = {0x77, 0, 1, 1, 77, 0, 0, 6, 0, 5, 0, 5, 'm', 'u', 'r', 'r', 'e', 0xff, 0xff};
    dist_epmd_event ev;
    size_t used = 0;
    asked a = ask_lookup();
    dist_epmd_next(&a.c, slice_of(big, DIST_EPMD_ANSWER_MAX - 1), false, &used, &ev);
    assert_int_equal(ev.kind, DIST_EPMD_NONE);
    dist_epmd_next(&a.c, slice_of(big, DIST_EPMD_ANSWER_MAX), false, &used, &ev); /* waits for no more than any answer has */
    assert_int_equal(ev.kind, DIST_EPMD_FAIL);
    buf_fini(&a.out);
    a = ask_lookup();
    dist_epmd_next(&a.c, slice_of(big, sizeof big), false, &used, &ev);
    assert_int_equal(ev.fail, DIST_EPMD_FAIL_ANSWER);
    buf_fini(&a.out);
    memcpy(big + 17, "\3\xfc", 2); /* 1020 bytes of extra data are what may be */
    a = ask_lookup();
    dist_epmd_next(&a.c, slice_of(big, 19 + 1020), false, &used, &ev);
    assert_int_equal(ev.kind, DIST_EPMD_FOUND);
    assert_int_equal(ev.node.extra.len, DIST_EPMD_EXTRA_MAX);
    buf_fini(&a.out);
    memcpy(big + 17, "\3\xfd", 2);
    a = ask_lookup();
    dist_epmd_next(&a.c, slice_of(big, 19 + 1021), false, &used, &ev);
    assert_int_equal(ev.fail, DIST_EPMD_FAIL_ANSWER);
    buf_fini(&a.out);
}

static void names_come_one_by_one(void **state) {
    (void)state;
    hears(ask_names(), SLICE("\0\0\x11\x11"), true, "done ");
    hears(ask_names(), SLICE("\0\0\x11\x11name a at port 4\nname b-c at port 65535\n"), true, "a=4 b-c=65535 done ");
    /* A name that cannot be one of ours is passed over. */
    hears(ask_names(), SLICE("\0\0\x11\x11name \xc3\xa5 at port 4\nname b c at port 1\nname d at port 65536\nname e at port 5\n"), true,
          "e=5 done ");
    hears(ask_names(), SLICE("\0\0\x11\x11name a at port 4"), true, "fail=CUT ");
    hears(ask_names(), SLICE("\0\0\x11"), true, "fail=CUT ");
    hears(ask_names(), SLICE("\0\0\x11\x11name a at port 4\nnonsense\n"), true, "a=4 fail=ANSWER ");
    hears(ask_names(), SLICE("\0\0\x11\x11\n"), true, "fail=ANSWER ");
    static uint8_t endless[600];
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "\0\0\x11\x11name ", 9);
    hears(ask_names(), slice_of(endless, sizeof endless), false, "fail=ANSWER ");
}

static void what_cannot_be_asked_is_not_written(void **state) {
    (void)state;
    dist_epmd_client c;
    buf out;
    buf_init(&out, 4096);
    static uint8_t long_[1100];
    memset(long_, 'x', sizeof long_);
    dist_epmd_node n = {.name = SLICE("a@h")};
    assert_int_equal(dist_epmd_register(&c, &n, &out), ERR_INVALID);
    n.name = slice_of(long_, 256);
    assert_int_equal(dist_epmd_register(&c, &n, &out), ERR_LIMIT);
    n.name = slice_of(long_, 255);
    n.extra = slice_of(long_, DIST_EPMD_EXTRA_MAX + 1);
    assert_int_equal(dist_epmd_register(&c, &n, &out), ERR_LIMIT);
    assert_int_equal(dist_epmd_lookup(&c, SLICE(""), &out), ERR_INVALID);
    assert_int_equal(dist_epmd_lookup(&c, SLICE("a\n"), &out), ERR_INVALID);
    assert_int_equal(dist_epmd_lookup(&c, slice_of(long_, 256), &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    n.extra.len = DIST_EPMD_EXTRA_MAX;
    assert_int_equal(dist_epmd_register(&c, &n, &out), ERR_OK);
    assert_int_equal(out.len, DIST_EPMD_REQUEST_MAX + 2);
    buf_fini(&out);
}

static void every_failure_has_a_name_and_a_sentence(void **state) {
    (void)state;
    assert_string_equal(dist_epmd_fail_name(DIST_EPMD_FAIL_LOST), "LOST");
    assert_string_equal(dist_epmd_fail_text(DIST_EPMD_FAIL_NONE), "nothing is wrong");
    assert_string_equal(dist_epmd_fail_name((dist_epmd_fail)99), "?");
    assert_string_equal(dist_epmd_fail_text((dist_epmd_fail)99), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_have_the_bytes_of_the_protocol),
        cmocka_unit_test(a_registration_is_answered_with_a_creation),
        cmocka_unit_test(a_registration_ends_with_its_connection),
        cmocka_unit_test(a_lookup_finds_or_does_not),
        cmocka_unit_test(bad_answers_to_a_lookup_fail),
        cmocka_unit_test(names_come_one_by_one),
        cmocka_unit_test(what_cannot_be_asked_is_not_written),
        cmocka_unit_test(every_failure_has_a_name_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
