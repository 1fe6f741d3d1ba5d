/* cookie: contents of a file, strength, and the proof, against digests that OTP computed. */
#include "base/codec.h"
#include "base/prng.h"
#include "proto/dist/cookie.h"
#include "support/cmocka_unit.h"

static void a_file_holds_one_line(void **state) {
    (void)state;
    static const struct {
        const char *file, *cookie;
    } good[] = {{"ABC", "ABC"}, {"ABC\n", "ABC"}, {"ABC\r\n", "ABC"}, {"a b\n", "a b"}, {" \n", " "}, {"ABC\r", "ABC"}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        slice s;
        assert_int_equal(dist_cookie_parse(slice_str(good[i].file), &s), ERR_OK);
        assert_true(slice_is(s, good[i].cookie));
    }
    const slice bad[] = {SLICE(""),     SLICE("\n"),   SLICE("\r\n"),  SLICE("a\nb"),     SLICE("a\n\n"), SLICE("\na"),
                         SLICE("a\tb"), SLICE("a\0b"), SLICE("a\x7f"), SLICE("\xc3\xa5"), SLICE("a\0\n"), SLICE_NULL};
    slice kept = SLICE("kept");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_int_equal(dist_cookie_parse(bad[i], &kept), ERR_INVALID);
    assert_true(slice_is(kept, "kept"));
}

static void a_cookie_has_at_most_255_bytes(void **state) {
    (void)state;
    char text[DIST_COOKIE_MAX + 2];
    slice s;
    memset(text, 'x', sizeof text);
    assert_int_equal(dist_cookie_parse(slice_of(text, DIST_COOKIE_MAX), &s), ERR_OK);
    assert_int_equal(dist_cookie_parse(slice_of(text, DIST_COOKIE_MAX + 1), &s), ERR_LIMIT);
    assert_int_equal(dist_cookie_check(slice_of(text, DIST_COOKIE_MAX + 1)), ERR_LIMIT);
    text[DIST_COOKIE_MAX] = '\n';
    assert_int_equal(dist_cookie_parse(slice_of(text, DIST_COOKIE_MAX + 1), &s), ERR_OK);
    assert_int_equal(s.len, DIST_COOKIE_MAX);
}

static void weak_cookies_are_refused(void **state) {
    (void)state;
    static const char *const weak[] = {"monster",
                                       "nocookie",
                                       "secret",
                                       "QZLTVIWNEHJSKFDWRPM", /* 19 capitals: 89 bits */
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                       "axaaxxaxxaaxaxxaxaaxaxxaaxxaxaaxaxxaxaax", /* two letters */
                                       "monstermonstermonstermonster",
                                       "abcdefghijklmnopqrstuvwxyz",
                                       "0123456789abcdefghijklmnopqrstuvwxyz",
                                       "12345678901234567890123456789012345678901234567890",
                                       "passwordpasswordpasswordpasswordpassword",
                                       "4f1c9b07d2e8a6",
                                       "3141592653589793238462643"};
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) assert_int_equal(dist_cookie_check(slice_str(weak[i])), ERR_AUTH);
    assert_int_equal(dist_cookie_check(SLICE_NULL), ERR_INVALID);
    assert_int_equal(dist_cookie_check(SLICE("QZLTVIWNEHJSKFDWRPMA\n")), ERR_INVALID);
}

static void what_generators_make_is_taken(void **state) {
    (void)state;
    static const char *const strong[] = {"QZLTVIWNEHJSKFDWRPMA",             /* auth:create_cookie/1: 20 capitals */
                                         "9f86d081884c7d659a2feaa0c55ad015", /* 128 bits in hex */
                                         "VdP0tWgH8qzr1+eYsLw/Kj==", "correct horse battery staple"};
    for (size_t i = 0; i < ARRAY_LEN(strong); i++) assert_int_equal(dist_cookie_check(slice_str(strong[i])), ERR_OK);
    assert_int_equal(dist_cookie_bits(SLICE("QZLTVIWNEHJSKFDWRPMA")), 94);
    assert_int_equal(dist_cookie_bits(SLICE("9f86d081884c7d659a2feaa0c55ad015")), 128);
    assert_int_equal(dist_cookie_bits(SLICE_NULL), 0);
}

/* A rule that turned away what OTP itself generates would be a rule that nobody keeps. */
static void no_cookie_of_twenty_random_capitals_is_weak(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 4);
    for (int i = 0; i < 100000; i++) {
        uint8_t cookie[20];
        for (size_t k = 0; k < sizeof cookie; k++) cookie[k] = (uint8_t)('A' + prng_below(&r, 26));
        assert_int_equal(dist_cookie_check(slice_of(cookie, sizeof cookie)), ERR_OK);
    }
}

static void strength_grows_with_length_to_the_longest_cookie(void **state) {
    (void)state;
    uint8_t cookie[DIST_COOKIE_MAX];
    prng r;
    prng_init(&r, 5);
    unsigned before = 0;
    for (size_t i = 0; i < sizeof cookie; i++) cookie[i] = (uint8_t)('!' + prng_below(&r, 94));
    for (size_t n = 16; n <= sizeof cookie; n++) {
        unsigned bits = dist_cookie_bits(slice_of(cookie, n));
        assert_true(bits >= before && bits <= 6.57 * (double)n);
        before = bits;
    }
    assert_int_equal(before, 1675); /* 255 * log2(95) = 1675.3 */
}

/* erlang:md5(["QZLTVIWNEHJSKFDWRPMA", integer_to_list(C)]) */
static void proofs_are_those_of_otp(void **state) {
    (void)state;
    static const struct {
        const char *cookie;
        uint32_t challenge;
        const char *hex;
    } cases[] = {{"QZLTVIWNEHJSKFDWRPMA", 0u, "d3dc95e787bcd8d2e1d4ffa60a8e7987"},
                 {"QZLTVIWNEHJSKFDWRPMA", 4294967295u, "c50b16be1fef8760c926fbfe00da0edc"},
                 {"a b", 2147483648u, "689cc8af8610c83197a43dd4d5937900"},
                 {"x", 1u, "6dbf9ac2da09ee1d3debf5a51873ec6d"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t digest[DIST_COOKIE_DIGEST];
        slice cookie = slice_str(cases[i].cookie);
        dist_cookie_digest(cookie, cases[i].challenge, digest);
        buf b;
        buf_init(&b, 64);
        hex_encode(&b, slice_of(digest, sizeof digest));
        assert_true(slice_is(buf_slice(&b), cases[i].hex));
        buf_fini(&b);
        assert_true(dist_cookie_proves(cookie, cases[i].challenge, slice_of(digest, sizeof digest)));
        assert_false(dist_cookie_proves(cookie, cases[i].challenge ^ 1, slice_of(digest, sizeof digest)));
        assert_false(dist_cookie_proves(cookie, cases[i].challenge, slice_of(digest, sizeof digest - 1)));
        assert_false(dist_cookie_proves(cookie, cases[i].challenge, SLICE_NULL));
        for (size_t k = 0; k < sizeof digest * 8; k++) {
            digest[k / 8] ^= (uint8_t)(1u << k % 8);
            assert_false(dist_cookie_proves(cookie, cases[i].challenge, slice_of(digest, sizeof digest)));
            digest[k / 8] ^= (uint8_t)(1u << k % 8);
        }
    }
}

static void the_longest_cookie_and_challenge_are_hashed_whole(void **state) {
    (void)state;
    uint8_t text[DIST_COOKIE_MAX + 10], got[DIST_COOKIE_DIGEST], want[DIST_COOKIE_DIGEST];
    memset(text, 'c', DIST_COOKIE_MAX);
    memcpy(text + DIST_COOKIE_MAX, "4294967295", 10);
    digest_sum(DIGEST_MD5, slice_of(text, sizeof text), want);
    dist_cookie_digest(slice_of(text, DIST_COOKIE_MAX), UINT32_MAX, got);
    assert_memory_equal(got, want, sizeof got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_holds_one_line),
        cmocka_unit_test(a_cookie_has_at_most_255_bytes),
        cmocka_unit_test(weak_cookies_are_refused),
        cmocka_unit_test(what_generators_make_is_taken),
        cmocka_unit_test(no_cookie_of_twenty_random_capitals_is_weak),
        cmocka_unit_test(strength_grows_with_length_to_the_longest_cookie),
        cmocka_unit_test(proofs_are_those_of_otp),
        cmocka_unit_test(the_longest_cookie_and_challenge_are_hashed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
