/* Terms of programs (murre_term.h): what is built reads back; what is not one term is refused; a list reads as a list however it came. */
#include "murre.h"
#include "support/cmocka_unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is(murre_bytes b, const char *text) { return b.len == strlen(text) && (b.len == 0 || memcmp(b.p, text, b.len) == 0); }

static void holds(murre_builder *b, const char *text) {
    murre_term t;
    char out[512];
    if (!murre_build_term(b, &t)) fail_msg("it is not a term: %s is wanted", text);
    size_t len = murre_term_text(t, out, sizeof out);
    assert_string_equal(out, text);
    assert_int_equal(len, strlen(text));
    murre_build_free(b);
}

static void each_kind_is_built(void **state) {
    (void)state;
    static const uint8_t two64[9] = {[8] = 1}, small[3] = {5, 0, 0};
    murre_builder *b = murre_build();
    murre_put_tuple(b, 13);
    murre_put_int(b, INT64_MIN);
    murre_put_big(b, false, (murre_bytes){two64, 9});
    murre_put_big(b, true, (murre_bytes){small, 3});
    murre_put_float(b, 0.5);
    murre_put_bool(b, true);
    murre_put_atom(b, "an atom");
    murre_put_binary(b, "b", 1);
    murre_put_string(b, "text");
    murre_put_string(b, "");
    murre_put_list(b, 2);
    murre_put_int(b, 1000);
    murre_put_nil(b);
    murre_put_atom(b, "tail");
    murre_put_map(b, 1);
    murre_put_atom(b, "k");
    murre_put_tuple(b, 0);
    murre_put_text(b, "[<<1>>, x | 2#11]");
    murre_put_term(b, (murre_term){(const uint8_t *)"a\x07", 2});
    holds(
        b,
        "{-9223372036854775808,18446744073709551616,-5,0.5,true,'an atom',<<\"b\">>,\"text\",[],[1000,[]|tail],#{k => {}},[<<1>>,x|3],7}");
}

static void limits_of_integers(void **state) {
    (void)state;
    static const uint8_t two63[8] = {[7] = 0x80};
    murre_term t;
    murre_reader r;
    int64_t i = 0;
    bool negative = true;
    murre_bytes m;
    murre_builder *b = murre_build();
    murre_put_big(b, true, (murre_bytes){two63, 8});
    assert_true(murre_build_term(b, &t));
    r = murre_read(t);
    assert_true(murre_peek(&r) == MURRE_T_INT && murre_get_int(&r, &i) && i == INT64_MIN);
    murre_build_free(b);
    b = murre_build();
    murre_put_big(b, false, (murre_bytes){two63, 8});
    assert_true(murre_build_term(b, &t));
    r = murre_read(t);
    assert_true(murre_peek(&r) == MURRE_T_BIG && !murre_get_int(&r, &i));
    assert_true(murre_get_big(&r, &negative, &m) && !negative && m.len == 8 && m.p[7] == 0x80);
    murre_build_free(b);
}

static void what_is_not_one_term_is_refused(void **state) {
    (void)state;
    murre_term t = {0};
    for (int i = 0; i < 7; i++) {
        murre_builder *b = murre_build();
        if (i == 1) murre_put_tuple(b, 2), murre_put_nil(b);
        if (i == 2) murre_put_nil(b), murre_put_nil(b);
        if (i == 3) murre_put_float(b, (double)INFINITY);
        if (i == 4) murre_put_atom(b, "\xff");
        if (i == 5) murre_put_text(b, "{a");
        if (i == 6) murre_put_term(b, (murre_term){(const uint8_t *)"\xff", 1});
        assert_false(murre_build_term(b, &t));
        assert_null(t.p);
        murre_build_free(b);
    }
    murre_build_free(NULL);
}

static void a_list_reads_as_one_however_it_came(void **state) {
    (void)state;
    static const char *const shapes[] = {"k\0\3abc", "l\0\0\0\3a\x61"
                                                     "a\x62"
                                                     "a\x63"
                                                     "j"};
    static const size_t lens[] = {6, 12};
    for (size_t s = 0; s < 2; s++) {
        murre_reader r = murre_read((murre_term){(const uint8_t *)shapes[s], lens[s]}), back = r;
        uint32_t n = 0;
        int64_t i = 0, sum = 0;
        murre_term t;
        murre_bytes text;
        assert_true(murre_peek(&r) == MURRE_T_LIST && !murre_get_nil(&r));
        assert_true(murre_get_list(&r, &n) && n == 3);
        assert_false(murre_get_nil(&r));
        assert_false(murre_get_string(&r, &text));
        assert_true(murre_peek(&r) == MURRE_T_INT && murre_get_int(&r, &i) && i == 'a');
        assert_true(murre_get_term(&r, &t));
        murre_reader one = murre_read(t);
        assert_true(murre_get_int(&one, &i) && i == 'b' && murre_peek(&one) == MURRE_T_NONE);
        assert_true(murre_get_int(&r, &sum) && sum == 'c');
        assert_false(murre_get_int(&r, &sum));
        assert_true(murre_peek(&r) == MURRE_T_NIL && murre_get_nil(&r) && murre_peek(&r) == MURRE_T_NONE);
        if (s == 0) assert_true(murre_get_string(&back, &text) && is(text, "abc"));
    }
}

static void a_wrong_guess_moves_nothing(void **state) {
    (void)state;
    murre_term t;
    murre_bytes text = {(const uint8_t *)"as it was", 9};
    uint32_t n = 77;
    int64_t i = 77;
    double f = 7;
    murre_builder *b = murre_build();
    murre_put_text(b, "{add, <<3:2>>, [], #{a => 1}}");
    assert_true(murre_build_term(b, &t));
    murre_reader r = murre_read(t);
    assert_false(murre_get_int(&r, &i) || murre_get_list(&r, &n) || murre_get_map(&r, &n) || murre_get_atom(&r, &text) ||
                 murre_get_binary(&r, &text) || murre_get_float(&r, &f) || murre_get_nil(&r) || murre_get_ref(&r, &t));
    assert_true(i == 77 && n == 77 && is(text, "as it was"));
    assert_true(murre_get_tuple(&r, &n) && n == 4);
    assert_false(murre_get_atom_is(&r, "ad"));
    assert_true(murre_get_atom_is(&r, "add"));
    assert_true(murre_peek(&r) == MURRE_T_OTHER && !murre_get_binary(&r, &text) && murre_get_term(&r, NULL));
    assert_true(murre_get_string(&r, &text) && text.len == 0);
    assert_true(murre_get_map(&r, &n) && n == 1 && murre_get_term(&r, NULL) && murre_get_int(&r, &i) && i == 1);
    assert_true(murre_peek(&r) == MURRE_T_NONE && !murre_get_term(&r, NULL));
    murre_build_free(b);
}

static void maps_are_looked_into(void **state) {
    (void)state;
    murre_term t, v;
    char text[8];
    murre_builder *b = murre_build();
    murre_put_text(b, "#{\"a\" => x, 1 => y, a => {z}, b => 2}");
    assert_true(murre_build_term(b, &t));
    assert_true(murre_map_find(t, "a", &v));
    assert_int_equal(murre_term_text(v, text, sizeof text), 3);
    assert_string_equal(text, "{z}");
    assert_false(murre_map_find(t, "x", &v));
    assert_false(murre_map_find(v, "z", &v));
    assert_int_equal(murre_term_text(t, text, 4), strlen("#{1 => y,a => {z},b => 2,\"a\" => x}"));
    assert_string_equal(text, "#{1");
    murre_build_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_built),
        cmocka_unit_test(limits_of_integers),
        cmocka_unit_test(what_is_not_one_term_is_refused),
        cmocka_unit_test(a_list_reads_as_one_however_it_came),
        cmocka_unit_test(a_wrong_guess_moves_nothing),
        cmocka_unit_test(maps_are_looked_into),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
