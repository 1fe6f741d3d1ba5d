/* codec: vectors of RFC 4648, and the second spellings that must be refused. */
#include "base/codec.h"
#include "base/prng.h"
#include "unit.h"

#include <stdio.h>

static void rfc_4648_vectors_both_ways(void **state) {
    (void)state;
    static const char *const vectors[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        buf b;
        buf_init(&b, 100);
        base64_encode(&b, slice_str(vectors[i][0]));
        assert_true(slice_is(buf_slice(&b), vectors[i][1]));
        buf_reset(&b);
        assert_int_equal(base64_decode(&b, slice_str(vectors[i][1])), ERR_OK);
        assert_true(slice_is(buf_slice(&b), vectors[i][0]));
        buf_fini(&b);
    }
}

static void base64_has_one_spelling(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "Z",        "Zg",       "Zg=",        "Zm9vYg",  "Zm9vYg=",          /* padding missing */
        "Zh==",     "Zm9=",     "Zv==",                                      /* bits that no byte holds */
        "=",        "==",       "====",       "Z===",    "=g==",     "Zg=v", /* padding elsewhere */
        "Zg==Zg==", "Zg==Zm9v",                                              /* data after padding */
        " Zg=",     "Zg==\n",   "Zm9v\n",     "Zm 9v",   "Zm9v    ",         /* white space */
        "Zm9-",     "Zm9_",     "Zm\xff\x76", "Zm9\x80", "Zm9.",     "@m9v", "[m9v", "`m9v", "{m9v", "/9v:",
    };
    buf b;
    buf_init(&b, 100);
    buf_add_str(&b, "kept");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (base64_decode(&b, slice_str(wrong[i])) != ERR_INVALID) fail_msg("accepted \"%s\"", wrong[i]);
        assert_true(slice_is(buf_slice(&b), "kept"));
        assert_true(buf_ok(&b));
    }
    assert_int_equal(base64_decode(&b, SLICE("Zm9\0")), ERR_INVALID);
    buf_fini(&b);
}

/* Of all four-character strings over a few characters, decode accepts just those that encode writes. */
static void what_decode_accepts_encode_writes(void **state) {
    (void)state;
    static const char set[] = "AQgw/+9=\n-";
    size_t accepted = 0;
    for (unsigned v = 0; v < 10000; v++) {
        uint8_t in[4] = {(uint8_t)set[v / 1000], (uint8_t)set[v / 100 % 10], (uint8_t)set[v / 10 % 10], (uint8_t)set[v % 10]};
        buf b;
        buf_init(&b, 100);
        if (base64_decode(&b, slice_of(in, 4)) == ERR_OK) {
            buf again;
            buf_init(&again, 100);
            base64_encode(&again, buf_slice(&b));
            assert_true(slice_eq(buf_slice(&again), slice_of(in, 4)));
            buf_fini(&again);
            accepted++;
        }
        buf_fini(&b);
    }
    assert_true(accepted > 7 * 7 * 7 * 7);
}

static void all_bytes_survive_base64_and_hex(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 3);
    for (size_t len = 0; len < 300; len++) {
        uint8_t in[300];
        for (size_t i = 0; i < len; i++) in[i] = (uint8_t)prng_next(&r);
        buf text;
        buf back;
        buf_init(&text, 1000);
        buf_init(&back, 1000);
        base64_encode(&text, slice_of(in, len));
        assert_int_equal(text.len, BASE64_LEN(len));
        assert_int_equal(base64_decode(&back, buf_slice(&text)), ERR_OK);
        assert_true(slice_eq(buf_slice(&back), slice_of(in, len)));
        buf_reset(&text);
        buf_reset(&back);
        hex_encode(&text, slice_of(in, len));
        assert_int_equal(hex_decode(&back, buf_slice(&text)), ERR_OK);
        assert_true(slice_eq(buf_slice(&back), slice_of(in, len)));
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void a_full_buffer_is_a_limit_not_a_cut(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 2);
    assert_int_equal(base64_decode(&b, SLICE("Zm9v")), ERR_LIMIT);
    assert_true(b.len == 0 && !buf_ok(&b));
    buf_reset(&b);
    assert_int_equal(hex_decode(&b, SLICE("010203")), ERR_LIMIT);
    buf_reset(&b);
    base64_encode(&b, SLICE("f"));
    assert_true(b.len == 0 && !buf_ok(&b));
    buf_fini(&b);
}

static void hex_refuses_halves_and_other_letters(void **state) {
    (void)state;
    static const char *const wrong[] = {"0", "0g", "g0", "0x", " 0", "00 ", "0:", "/0", "@0", "`0", "G0"};
    buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) assert_int_equal(hex_decode(&b, slice_str(wrong[i])), ERR_INVALID);
    assert_int_equal(hex_decode(&b, SLICE("DeadBEEF")), ERR_OK);
    assert_true(slice_is(buf_slice(&b), "\xde\xad\xbe\xef"));
    buf_fini(&b);
}

static void decimal_is_digits_within_the_limit(void **state) {
    (void)state;
    uint64_t v = 99;
    static const char *const wrong[] = {"", "+1", "-1", " 1", "1 ", "1a", "0x1", "18446744073709551616", "99999999999999999999", "1.0"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) assert_int_equal(dec_parse_u64(slice_str(wrong[i]), UINT64_MAX, &v), ERR_INVALID);
    assert_int_equal(v, 99);
    assert_int_equal(dec_parse_u64(SLICE("18446744073709551615"), UINT64_MAX, &v), ERR_OK);
    assert_true(v == UINT64_MAX);
    for (uint64_t max = 0; max < 300; max++) {
        for (uint64_t n = 0; n < 310; n++) {
            char text[8];
            int len = snprintf(text, sizeof text, "%u", (unsigned)n);
            assert_int_equal(dec_parse_u64(slice_of(text, (size_t)len), max, &v), n <= max ? ERR_OK : ERR_INVALID);
            if (n <= max) assert_true(v == n);
        }
    }
    assert_int_equal(dec_parse_u64(SLICE_NULL, 10, &v), ERR_INVALID);
}

static void signed_decimal_reaches_both_ends(void **state) {
    (void)state;
    int64_t v = 99;
    static const char *const wrong[] = {"", "-", "--1", "+1", "9223372036854775808", "-9223372036854775809", "1-"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(dec_parse_i64(slice_str(wrong[i]), INT64_MIN, INT64_MAX, &v), ERR_INVALID);
    assert_int_equal(dec_parse_i64(SLICE("-9223372036854775808"), INT64_MIN, INT64_MAX, &v), ERR_OK);
    assert_true(v == INT64_MIN);
    assert_int_equal(dec_parse_i64(SLICE("9223372036854775807"), INT64_MIN, INT64_MAX, &v), ERR_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(dec_parse_i64(SLICE("-128"), -128, 127, &v), ERR_OK);
    assert_true(v == -128);
    assert_int_equal(dec_parse_i64(SLICE("-129"), -128, 127, &v), ERR_INVALID);
    assert_int_equal(dec_parse_i64(SLICE("128"), -128, 127, &v), ERR_INVALID);
    assert_int_equal(dec_parse_i64(SLICE("5"), 6, 7, &v), ERR_INVALID);
    assert_true(v == -128);
}

static void time_is_xep_0082_in_utc(void **state) {
    (void)state;
    static const struct {
        int64_t sec;
        const char *text;
    } samples[] = {
        {0, "1970-01-01T00:00:00Z"},
        {1795427475, "2026-11-23T09:51:15Z"},
        {951782400, "2000-02-29T00:00:00Z"},
        {951868799, "2000-02-29T23:59:59Z"},
        {4107542400, "2100-03-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
        {-62167219200, "0000-01-01T00:00:00Z"},
    };
    char out[32];
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        assert_int_equal(time_format(samples[i].sec * 1000000, false, out), strlen(samples[i].text));
        assert_string_equal(out, samples[i].text);
    }
    (void)time_format(1795427475123999, true, out);
    assert_string_equal(out, "2026-11-23T09:51:15.123Z");
    (void)time_format(-1, true, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
    assert_true(time_format(INT64_MAX, true, out) < sizeof out);
    assert_true(time_format(INT64_MIN, true, out) < sizeof out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_4648_vectors_both_ways),
        cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(what_decode_accepts_encode_writes),
        cmocka_unit_test(all_bytes_survive_base64_and_hex),
        cmocka_unit_test(a_full_buffer_is_a_limit_not_a_cut),
        cmocka_unit_test(hex_refuses_halves_and_other_letters),
        cmocka_unit_test(decimal_is_digits_within_the_limit),
        cmocka_unit_test(signed_decimal_reaches_both_ends),
        cmocka_unit_test(time_is_xep_0082_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
