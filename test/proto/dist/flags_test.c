/* flags: the numbers of the masks as OTP has them, the expansion of the digest, and the names. */
#include "proto/dist/flags.h"
#include "support/cmocka_unit.h"

/* What OTP offers, read from handshakes with it. */
#define OTP_23 UINT64_C(0x101df7fbd)
#define OTP_25 UINT64_C(0xd07df7fbd)
#define OTP_29 UINT64_C(0x6d07df7fbd)

static void the_masks_are_those_of_otp(void **state) {
    (void)state;
    assert_int_equal(dist_flags_mandatory_25(), 0x1070f94);
    assert_int_equal(dist_flags_mandatory_26(), UINT64_C(0x402000000));
    assert_int_equal(dist_flags_offered(), OTP_29);
    assert_int_equal(dist_flags_demanded() & ~dist_flags_offered(), 0);
    assert_true(dist_flags_demanded() & DIST_FLAG(HANDSHAKE_23));
    assert_int_equal(DIST_FLAG(SPAWN), UINT64_C(1) << 32);
}

static void every_otp_since_23_has_what_is_demanded(void **state) {
    (void)state;
    static const uint64_t otp[] = {OTP_23, OTP_25, OTP_29};
    for (size_t i = 0; i < ARRAY_LEN(otp); i++) assert_int_equal(dist_flags_missing(otp[i]), 0);
    assert_int_equal(dist_flags_missing(0), dist_flags_demanded());
    assert_int_equal(dist_flags_missing(~UINT64_C(0)), 0);
}

static void the_digest_alone_stands_for_all_of_its_flags(void **state) {
    (void)state;
    assert_int_equal(dist_flags_missing(DIST_FLAG(MANDATORY_25_DIGEST)), 0);
    assert_int_equal(dist_flags_expand(DIST_FLAG(MANDATORY_25_DIGEST)), DIST_FLAG(MANDATORY_25_DIGEST) | dist_flags_mandatory_25());
    assert_int_equal(dist_flags_expand(DIST_FLAG(SPAWN)), DIST_FLAG(SPAWN));
}

static void each_demanded_flag_is_missed_by_itself(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t flag = UINT64_C(1) << bit, all = dist_flags_demanded();
        assert_int_equal(dist_flags_missing(all & ~flag), all & flag);
    }
}

static void in_force_is_what_both_have_and_what_has_a_name(void **state) {
    (void)state;
    assert_int_equal(dist_flags_common(OTP_29, OTP_25), OTP_25);
    assert_int_equal(dist_flags_common(OTP_29, OTP_23), OTP_23);
    assert_int_equal(dist_flags_common(OTP_29, DIST_FLAG(MANDATORY_25_DIGEST)), DIST_FLAG(MANDATORY_25_DIGEST) | dist_flags_mandatory_25());
    assert_int_equal(dist_flags_common(DIST_FLAG(MANDATORY_25_DIGEST), OTP_23), dist_flags_mandatory_25());
    uint64_t all = dist_flags_common(~UINT64_C(0), ~UINT64_C(0));
    for (unsigned bit = 0; bit < 64; bit++) assert_int_equal(all >> bit & 1, dist_flags_name(bit) != NULL && bit != DIST_BIT_NAME_ME);
}

static void flags_print_as_names_and_what_has_none_as_a_number(void **state) {
    (void)state;
    static const struct {
        uint64_t flags;
        const char *text;
    } cases[] = {
        {0, "none"}, {1, "PUBLISHED"}, {DIST_FLAG(SPAWN) | 1, "PUBLISHED|SPAWN"}, {UINT64_C(1) << 63 | UINT64_C(1) << 40, "bit 40|bit 63"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        buf_init(&b, 4096);
        dist_flags_print(&b, cases[i].flags);
        assert_true(slice_is(buf_slice(&b), cases[i].text));
        buf_fini(&b);
    }
    assert_string_equal(dist_flags_name(38), "NATIVE_RECORDS");
    assert_null(dist_flags_name(15));
    assert_null(dist_flags_name(64));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_masks_are_those_of_otp),
        cmocka_unit_test(every_otp_since_23_has_what_is_demanded),
        cmocka_unit_test(the_digest_alone_stands_for_all_of_its_flags),
        cmocka_unit_test(each_demanded_flag_is_missed_by_itself),
        cmocka_unit_test(in_force_is_what_both_have_and_what_has_a_name),
        cmocka_unit_test(flags_print_as_names_and_what_has_none_as_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
