/* utf8: the strictness table, round trips, and escaping for terminals. */
#include "base/utf8.h"
#include "unit.h"

static const char *const good[] = {
    "",
    "a",
    "\x7f",
    "\xc2\x80",
    "\xdf\xbf",
    "\xe0\xa0\x80",
    "\xed\x9f\xbf",
    "\xee\x80\x80",
    "\xef\xbf\xbf",
    "\xf0\x90\x80\x80",
    "\xf4\x8f\xbf\xbf",
    "gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x90\xa6",
};
static const char *const bad[] = {
    "\x80",
    "\xbf", /* a tail alone */
    "\xc0\x80",
    "\xc0\xaf",
    "\xc1\xbf", /* overlong, two bytes */
    "\xe0\x80\xaf",
    "\xe0\x9f\xbf", /* overlong, three */
    "\xf0\x80\x80\xaf",
    "\xf0\x8f\xbf\xbf", /* overlong, four */
    "\xed\xa0\x80",
    "\xed\xbf\xbf",
    "\xed\xa0\xbd\xed\xb0\x80", /* surrogates, and a CESU-8 pair */
    "\xf4\x90\x80\x80",
    "\xf5\x80\x80\x80",
    "\xf7\xbf\xbf\xbf", /* past U+10FFFF */
    "\xf8\x88\x80\x80\x80",
    "\xfc\x84\x80\x80\x80\x80",
    "\xfe",
    "\xff",
    "\xc3",
    "\xe4\xb8",
    "\xf0\x9f\x90", /* cut short */
    "\xc3(",
    "\xe4(\x96",
    "\xe4\xb8(",
    "\xf0\x9f\x90(",
    "\xc3\xc3\xbc",
};

static void strictness_table_at_every_offset(void **state) {
    (void)state;
    char text[64];
    for (size_t pad = 0; pad < 20; pad++) { /* moves the sample across the boundaries of the fast path */
        memset(text, 'x', sizeof text);
        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
            memcpy(text + pad, good[i], strlen(good[i]));
            assert_true(utf8_valid(slice_of(text, pad + strlen(good[i]))));
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
            memcpy(text + pad, bad[i], strlen(bad[i]));
            assert_false(utf8_valid(slice_of(text, pad + strlen(bad[i]))));
            memset(text + pad + strlen(bad[i]), 'x', 10);
            assert_false(utf8_valid(slice_of(text, pad + strlen(bad[i]) + 10)));
        }
    }
    assert_true(utf8_valid(SLICE_NULL));
    assert_true(utf8_valid(SLICE("nul \0 inside")));
}

static void every_code_point_goes_there_and_back(void **state) {
    (void)state;
    for (uint32_t cp = 0; cp < 0x110100; cp++) {
        uint8_t out[4];
        uint32_t back = 0;
        size_t n = utf8_encode(cp, out);
        bool exists = cp < 0xd800 || (cp > 0xdfff && cp <= 0x10ffff);
        if ((n > 0) != exists) fail_msg("U+%04X", cp);
        if (n && (utf8_decode(slice_of(out, n), &back) != n || back != cp)) fail_msg("U+%04X came back as U+%04X", cp, back);
        if (n && utf8_decode(slice_of(out, n - 1), &back) != 0) fail_msg("U+%04X cut short was accepted", cp);
    }
}

/* Of all 2^24 strings of three bytes, as many are valid as the definition says. */
static void number_of_valid_three_byte_strings(void **state) {
    (void)state;
    const uint32_t one = 128;
    const uint32_t two = 0x800 - 0x80;
    const uint32_t three = 0x10000 - 0x800 - 0x800;
    uint32_t valid = 0;
    for (uint32_t v = 0; v < 1u << 24; v += 1) {
        if ((v & 0xc00000) == 0x800000) continue;                 /* begins with a tail: never valid, and proved above */
        if (v < 0x800000 && (v & 0xff0000) != 0x410000) continue; /* one ASCII byte stands for all of them */
        uint8_t s[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        if (utf8_valid(slice_of(s, 3))) valid += s[0] == 0x41 ? one : 1;
    }
    assert_int_equal(valid, one * one * one + 2 * one * two + three);
}

static void expect_escape(slice in, const char *want) {
    char out[128];
    assert_int_equal(utf8_escape(in, out, sizeof out), strlen(want));
    assert_string_equal(out, want);
}

static void what_moves_a_terminal_or_forges_a_line_is_escaped(void **state) {
    (void)state;
    expect_escape(SLICE("plain gr\xc3\xbc\xc3\x9f"), "plain gr\xc3\xbc\xc3\x9f");
    expect_escape(SLICE("a\r\nb"), "a\\x0d\\x0ab");
    expect_escape(SLICE("\x1b[31m\0\x7f"), "\\x1b[31m\\x00\\x7f");
    expect_escape(SLICE("\xff\xc3"), "\\xff\\xc3");
    expect_escape(SLICE("\xc2\x9b"), "\\xc2\\x9b");          /* C1: CSI */
    expect_escape(SLICE("\xe2\x80\xae"), "\\xe2\\x80\\xae"); /* U+202E, right-to-left override */
    expect_escape(SLICE("\xe2\x81\xa6"), "\\xe2\\x81\\xa6"); /* U+2066, isolate */
    expect_escape(SLICE("\xe2\x80\xa8"), "\\xe2\\x80\\xa8"); /* U+2028, line separator */
}

static void escaping_stops_before_a_piece_that_does_not_fit(void **state) {
    (void)state;
    char out[8];
    memset(out, '#', sizeof out);
    assert_int_equal(utf8_escape(SLICE("a\n\n"), out, 8), 5);
    assert_string_equal(out, "a\\x0a");
    assert_int_equal(utf8_escape(SLICE("ab\xe4\xb8\x96"), out, 5), 2);
    assert_string_equal(out, "ab");
    assert_int_equal(utf8_escape(SLICE("ab"), out, 1), 0);
    assert_int_equal(out[0], '\0');
    out[0] = '#';
    assert_int_equal(utf8_escape(SLICE("ab"), out, 0), 0);
    assert_int_equal(out[0], '#');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strictness_table_at_every_offset),
        cmocka_unit_test(every_code_point_goes_there_and_back),
        cmocka_unit_test(number_of_valid_three_byte_strings),
        cmocka_unit_test(what_moves_a_terminal_or_forges_a_line_is_escaped),
        cmocka_unit_test(escaping_stops_before_a_piece_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
