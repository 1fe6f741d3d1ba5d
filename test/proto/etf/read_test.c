/* read: every tag of erl_ext_dist as an item and as a whole term, what is refused, and that nothing is read past the end. */
#include "proto/etf/etf.h"
#include "support/cmocka_unit.h"

#include <stdlib.h>
#include <string.h>

#define BYTES(...)  ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})
#define NODE        119, 3, 'a', '@', 'b'
#define IS(a, b, c) 0, 0, 0, (a), 0, 0, 0, (b), 0, 0, 0, (c)
#define UNIQ        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16

typedef struct sample {
    const char *name;
    const uint8_t *in;
    size_t in_len;
    const uint8_t *out; /* what etf_copy writes; NULL: the same as in */
    size_t out_len;
} sample;

/* A fun of module m with free variables 1 and []: 29 + 3 + 2 + 2 + 18 + 2 + 1 bytes. */
#define FUN(size)                                                                                                                          \
    112, 0, 0, 0, (size), 2, UNIQ, 0, 0, 0, 7, 0, 0, 0, 2, 119, 1, 'm', 97, 9, 98, 0xff, 0, 0, 1, 88, NODE, IS(1, 2, 3), 97, 1, 106
#define FUN_SIZE (29 + 3 + 2 + 5 + 18 + 3)

static const sample GOOD[] = {
    {"small integer", BYTES(97, 255), NULL, 0},
    {"integer", BYTES(98, 0xff, 0xff, 0xff, 0xff), NULL, 0},
    {"integer that is small", BYTES(98, 0, 0, 0, 5), BYTES(97, 5)},
    {"big of 4 bytes", BYTES(110, 4, 0, 0, 0, 0, 0x80), NULL, 0},
    {"big that is small", BYTES(110, 2, 1, 1, 0), BYTES(98, 0xff, 0xff, 0xff, 0xff)},
    {"big of no bytes", BYTES(110, 0, 0), BYTES(97, 0)},
    {"minus nothing", BYTES(110, 1, 1, 0), BYTES(97, 0)},
    {"least int64", BYTES(110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0x80), NULL, 0},
    {"past int64", BYTES(110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0x80), NULL, 0},
    {"9 bytes", BYTES(110, 9, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9), NULL, 0},
    {"large big", BYTES(111, 0, 0, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), BYTES(110, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
    {"zeroes on top", BYTES(111, 0, 0, 0, 3, 0, 1, 0, 0), BYTES(97, 1)},
    {"float", BYTES(70, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), NULL, 0},
    {"float, minus nothing", BYTES(70, 0x80, 0, 0, 0, 0, 0, 0, 0), NULL, 0},
    {"old float",
     BYTES(99, '1', '.', '5', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', '0', 'e', '+', '0',
           '0', 0, 0, 0, 0, 0),
     BYTES(70, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)},
    {"atom", BYTES(119, 2, 'o', 'k'), NULL, 0},
    {"empty atom", BYTES(119, 0), NULL, 0},
    {"long tag, short atom", BYTES(118, 0, 2, 'o', 'k'), BYTES(119, 2, 'o', 'k')},
    {"UTF-8", BYTES(119, 4, 0xf0, 0x9f, 0x98, 0x80), NULL, 0},
    {"Latin-1", BYTES(100, 0, 2, 'o', 'k'), BYTES(119, 2, 'o', 'k')},
    {"small Latin-1", BYTES(115, 1, 0xe5), BYTES(119, 2, 0xc3, 0xa5)},
    {"pid", BYTES(88, NODE, IS(1, 2, 3)), NULL, 0},
    {"old pid", BYTES(103, NODE, 0, 0, 0, 1, 0, 0, 0, 2, 3), BYTES(88, NODE, IS(1, 2, 3))},
    {"port", BYTES(89, NODE, 0, 0, 0, 1, 0, 0, 0, 3), NULL, 0},
    {"old port", BYTES(102, NODE, 0, 0, 0, 1, 3), BYTES(89, NODE, 0, 0, 0, 1, 0, 0, 0, 3)},
    {"V4 port", BYTES(120, NODE, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3), NULL, 0},
    {"port of 29 bits", BYTES(89, NODE, 0x10, 0, 0, 0, 0, 0, 0, 3), BYTES(120, NODE, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 3)},
    {"V4 port, small", BYTES(120, NODE, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3), BYTES(89, NODE, 0, 0, 0, 1, 0, 0, 0, 3)},
    {"reference", BYTES(90, 0, 2, NODE, 0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0, 0, 2), NULL, 0},
    {"5 words", BYTES(90, 0, 5, NODE, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5), NULL, 0},
    {"old reference", BYTES(101, NODE, 0, 0, 0, 1, 3), BYTES(90, 0, 1, NODE, 0, 0, 0, 3, 0, 0, 0, 1)},
    {"less old reference", BYTES(114, 0, 1, NODE, 3, 0, 0, 0, 1), BYTES(90, 0, 1, NODE, 0, 0, 0, 3, 0, 0, 0, 1)},
    {"binary", BYTES(109, 0, 0, 0, 2, 0, 255), NULL, 0},
    {"bits", BYTES(77, 0, 0, 0, 1, 3, 0xe0), NULL, 0},
    {"bits that are not used", BYTES(77, 0, 0, 0, 1, 3, 0xff), BYTES(77, 0, 0, 0, 1, 3, 0xe0)},
    {"bits, all of them", BYTES(77, 0, 0, 0, 1, 8, 0xff), BYTES(109, 0, 0, 0, 1, 0xff)},
    {"no bits", BYTES(77, 0, 0, 0, 0, 0), BYTES(109, 0, 0, 0, 0)},
    {"nil", BYTES(106), NULL, 0},
    {"string", BYTES(107, 0, 2, 'h', 'i'), NULL, 0},
    {"string of no bytes", BYTES(107, 0, 0), BYTES(106)},
    {"list", BYTES(108, 0, 0, 0, 2, 97, 1, 106, 106), NULL, 0},
    {"improper list", BYTES(108, 0, 0, 0, 1, 97, 1, 97, 2), NULL, 0},
    {"list of nothing", BYTES(108, 0, 0, 0, 0, 108, 0, 0, 0, 0, 97, 1), BYTES(97, 1)},
    {"list as tail", BYTES(108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 106), NULL, 0},
    {"empty tuple", BYTES(104, 0), NULL, 0},
    {"tuple", BYTES(104, 2, 97, 1, 104, 1, 106), NULL, 0},
    {"large tuple", BYTES(105, 0, 0, 0, 1, 106), BYTES(104, 1, 106)},
    {"empty map", BYTES(116, 0, 0, 0, 0), NULL, 0},
    {"map", BYTES(116, 0, 0, 0, 1, 106, 97, 1), NULL, 0},
    {"export", BYTES(113, 119, 1, 'm', 119, 1, 'f', 97, 3), NULL, 0},
    {"fun", BYTES(FUN(FUN_SIZE)), NULL, 0},
    {"fun in a fun's variable", BYTES(104, 2, FUN(FUN_SIZE), FUN(FUN_SIZE)), NULL, 0},
    {"record", BYTES(67, 0, 0, 0, 1, 1, 119, 1, 'm', 119, 1, 'r', 119, 1, 'f', 104, 0), NULL, 0},
    {"record of no fields", BYTES(67, 0, 0, 0, 0, 0, 119, 1, 'm', 119, 1, 'r'), NULL, 0},
};

static const sample BAD[] = {
    {"nothing at all", NULL, 0, NULL, 0},
    {"compressed", BYTES(80, 0, 0, 0, 1, 0x78, 0x9c), NULL, 0},
    {"private", BYTES(121, 0, 0, 0, 0, 97, 1), NULL, 0},
    {"compressed inside", BYTES(104, 1, 80, 0, 0, 0, 1, 0x78), NULL, 0},
    {"private inside", BYTES(104, 1, 121, 106), NULL, 0},
    {"version inside", BYTES(131, 97, 1), NULL, 0},
    {"tag 0", BYTES(0), NULL, 0},
    {"old fun", BYTES(117, 0, 0, 0, 0), NULL, 0},
    {"tag 255", BYTES(255, 1), NULL, 0},
    {"sign 2", BYTES(110, 1, 2, 1), NULL, 0},
    {"not a number", BYTES(70, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0), NULL, 0},
    {"infinite", BYTES(70, 0xff, 0xf0, 0, 0, 0, 0, 0, 0), NULL, 0},
    {"atom of bad UTF-8", BYTES(119, 2, 0xc0, 0x80), NULL, 0},
    {"atom of a surrogate", BYTES(119, 3, 0xed, 0xa0, 0x80), NULL, 0},
    {"reference to no atom", BYTES(82, 0), NULL, 0},
    {"node is no atom", BYTES(88, 97, 1, IS(1, 2, 3)), NULL, 0},
    {"creation of an old pid", BYTES(103, NODE, 0, 0, 0, 1, 0, 0, 0, 2, 4), NULL, 0},
    {"first word of an old reference", BYTES(101, NODE, 0, 4, 0, 0, 3), NULL, 0},
    {"first word of a less old reference", BYTES(114, 0, 1, NODE, 3, 0, 4, 0, 0), NULL, 0},
    {"reference of no words", BYTES(90, 0, 0, NODE, 0, 0, 0, 3), NULL, 0},
    {"reference of 6 words", BYTES(90, 0, 6, NODE, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6),
     NULL, 0},
    {"9 bits of a byte", BYTES(77, 0, 0, 0, 1, 9, 0xff), NULL, 0},
    {"bits of no byte", BYTES(77, 0, 0, 0, 0, 1), NULL, 0},
    {"a byte of no bits", BYTES(77, 0, 0, 0, 1, 0, 0xff), NULL, 0},
    {"tuple of 2^32-1", BYTES(105, 0xff, 0xff, 0xff, 0xff, 106), NULL, 0},
    {"list of 2^32-1", BYTES(108, 0xff, 0xff, 0xff, 0xff, 106), NULL, 0},
    {"map of 2^31", BYTES(116, 0x80, 0, 0, 0, 106, 106), NULL, 0},
    {"map of 2^32-1", BYTES(116, 0xff, 0xff, 0xff, 0xff, 106), NULL, 0},
    {"binary of 2^32-1", BYTES(109, 0xff, 0xff, 0xff, 0xff, 1), NULL, 0},
    {"big of 2^32-1", BYTES(111, 0xff, 0xff, 0xff, 0xff, 0, 1), NULL, 0},
    {"record of 2^32-1", BYTES(67, 0xff, 0xff, 0xff, 0xff, 0, 106), NULL, 0},
    {"fun of 2^32-1 variables", BYTES(112, 0, 0, 0, 29, 2, UNIQ, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 106), NULL, 0},
    {"fun that ends before its size", BYTES(FUN(FUN_SIZE + 1), 106), NULL, 0},
    {"fun that goes on past its size", BYTES(FUN(FUN_SIZE - 1)), NULL, 0},
    {"fun smaller than its head", BYTES(FUN(28)), NULL, 0},
    {"fun larger than the input", BYTES(FUN(FUN_SIZE + 1)), NULL, 0},
    {"fun of a module that is no atom", BYTES(112, 0, 0, 0, 31, 0, UNIQ, 0, 0, 0, 0, 0, 0, 0, 0, 97, 1, 97, 1, 97, 1, 97, 1), NULL, 0},
    {"arity that is a large integer", BYTES(113, 119, 1, 'm', 119, 1, 'f', 98, 0, 0, 1, 0), NULL, 0},
    {"record of a name that is no atom", BYTES(67, 0, 0, 0, 0, 0, 119, 1, 'm', 97, 1), NULL, 0},
    {"field that is no atom", BYTES(67, 0, 0, 0, 1, 0, 119, 1, 'm', 119, 1, 'r', 106, 106), NULL, 0},
    {"list without a tail", BYTES(108, 0, 0, 0, 1, 97, 1), NULL, 0},
};

static void every_tag_is_read_and_written_again_in_its_shortest_form(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++) {
        const sample *s = &GOOD[i];
        arena a;
        buf out;
        slice all;
        arena_init(&a, 1024);
        buf_init(&out, 1024);
        etf_reader r = etf_reader_of(slice_of(s->in, s->in_len));
        r.text = &a;
        etf_reader copy = r;
        if (!etf_skip(&r, &all) || all.len != s->in_len) fail_msg("%s: not skipped", s->name);
        if (!etf_copy(&copy, &out) || cursor_left(&copy.in) || !buf_ok(&out)) fail_msg("%s: not copied", s->name);
        slice want = s->out ? slice_of(s->out, s->out_len) : slice_of(s->in, s->in_len);
        if (!slice_eq(buf_slice(&out), want)) fail_msg("%s: written as something else", s->name);
        buf_fini(&out);
        arena_fini(&a);
    }
}

/* In memory of its own size, so that the address sanitizer sees a byte too many. */
static uint8_t *alone(const uint8_t *p, size_t len) {
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    if (len) memcpy(copy, p, len);
    return copy;
}

static void a_term_that_is_cut_anywhere_is_refused_and_nothing_is_consumed(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++)
        for (size_t len = 0; len < GOOD[i].in_len; len++) {
            arena a;
            arena_init(&a, 1024);
            uint8_t *p = alone(GOOD[i].in, len);
            etf_reader r = etf_reader_of(slice_of(p, len));
            r.text = &a;
            if (etf_skip(&r, NULL)) fail_msg("%s: %zu bytes are enough", GOOD[i].name, len);
            assert_ptr_equal(r.in.p, p);
            assert_int_equal(cursor_left(&r.in), len);
            free(p);
            arena_fini(&a);
        }
}

static void what_is_no_term_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        buf out;
        buf_init(&out, 1024);
        buf_add_byte(&out, 'x');
        uint8_t *p = alone(BAD[i].in, BAD[i].in_len);
        etf_reader r = etf_reader_of(slice_of(p, BAD[i].in_len)), copy = r;
        if (etf_skip(&r, NULL)) fail_msg("%s: skipped", BAD[i].name);
        if (etf_copy(&copy, &out)) fail_msg("%s: copied", BAD[i].name);
        assert_ptr_equal(r.in.p, p);
        assert_ptr_equal(copy.in.p, p);
        assert_true(slice_is(buf_slice(&out), "x"));
        free(p);
        buf_fini(&out);
    }
}

static void the_atoms_of_a_header_are_found_by_number(void **state) {
    (void)state;
    const slice text[] = {SLICE("zero"), SLICE("one")};
    const etf_atoms atoms = {text, 2};
    const uint8_t in[] = {104, 3, 82, 1, 88, 82, 0, IS(1, 2, 3), 82, 2};
    etf_reader r = etf_reader_of(slice_of(in, sizeof in));
    r.atoms = &atoms;
    uint32_t n;
    slice a;
    etf_pid pid;
    assert_false(etf_skip(&r, NULL)); /* there is no atom 2 */
    assert_true(etf_get_tuple(&r, &n) && n == 3);
    assert_true(etf_get_atom(&r, &a) && slice_is(a, "one"));
    assert_true(etf_get_pid(&r, &pid) && slice_is(pid.node, "zero") && pid.id == 1 && pid.serial == 2 && pid.creation == 3);
    assert_false(etf_get_atom(&r, &a));
    assert_int_equal(cursor_left(&r.in), 2);
}

static void a_getter_takes_its_kind_and_leaves_any_other(void **state) {
    (void)state;
    const uint8_t in[] = {98, 0xff, 0xff, 0xff, 0xfe, 119, 2, 'o', 'k', 109, 0, 0, 0, 1, 'x', 90, 0, 1, NODE, 0, 0, 0, 9, 0, 0, 0, 8};
    etf_reader r = etf_reader_of(slice_of(in, sizeof in));
    int64_t i = 0;
    slice s = SLICE_NULL;
    uint32_t n;
    etf_pid pid;
    etf_ref ref;
    assert_false(etf_get_version(&r) || etf_get_atom(&r, &s) || etf_get_tuple(&r, &n) || etf_get_pid(&r, &pid) || etf_get_ref(&r, &ref));
    assert_false(etf_get_binary(&r, &s));
    assert_true(etf_get_int(&r, &i) && i == -2);
    assert_false(etf_get_int(&r, &i) || etf_get_atom_is(&r, SLICE("okay")) || etf_get_atom_is(&r, SLICE("o")));
    assert_true(etf_get_atom_is(&r, SLICE("ok")));
    assert_true(etf_get_binary(&r, &s) && slice_is(s, "x"));
    assert_true(etf_get_ref(&r, &ref) && ref.n == 1 && ref.word[0] == 8 && ref.creation == 9 && slice_is(ref.node, "a@b"));
    assert_int_equal(cursor_left(&r.in), 0);
}

static bool skips(const buf *b) {
    etf_reader r = etf_reader_of(buf_slice(b));
    slice all;
    return etf_skip(&r, &all) && all.len == b->len;
}

static void a_term_may_be_as_deep_as_the_limit_and_no_deeper(void **state) {
    (void)state;
    for (unsigned extra = 0; extra < 2; extra++) {
        buf b;
        buf_init(&b, 1u << 20);
        for (unsigned i = 0; i < ETF_DEPTH_MAX + extra; i++) etf_put_tuple(&b, 1);
        etf_put_nil(&b);
        assert_int_equal(skips(&b), extra == 0);
        buf_reset(&b);
        for (unsigned i = 0; i < ETF_DEPTH_MAX + extra; i++) etf_put_list(&b, 1);
        for (unsigned i = 0; i < ETF_DEPTH_MAX + extra + 1; i++) etf_put_nil(&b);
        assert_int_equal(skips(&b), extra == 0);
        buf_fini(&b);
    }
}

static void the_tail_of_a_list_is_as_deep_as_the_list(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1u << 24);
    for (unsigned i = 0; i < 1000000; i++) {
        etf_put_list(&b, 1);
        etf_put_int(&b, 1);
    }
    etf_put_nil(&b);
    assert_true(buf_ok(&b) && skips(&b));
    buf_fini(&b);
}

static void an_atom_has_255_characters_at_most_whatever_their_bytes(void **state) {
    (void)state;
    char text[ETF_ATOM_BYTES + 4];
    for (size_t i = 0; i < sizeof text; i += 4) memcpy(text + i, "\xf0\x9f\x98\x80", 4);
    buf b;
    buf_init(&b, 4096);
    etf_put_atom(&b, slice_of(text, ETF_ATOM_BYTES));
    assert_true(buf_ok(&b) && skips(&b));
    etf_put_atom(&b, slice_of(text, sizeof text));
    assert_false(buf_ok(&b));
    buf_reset(&b);
    memset(text, 'x', sizeof text);
    etf_put_atom(&b, slice_of(text, 256));
    assert_false(buf_ok(&b));
    buf_reset(&b);
    buf_add(&b, SLICE("\x76\x01\x00"));
    buf_add(&b, slice_of(text, 256));
    assert_false(skips(&b));
    buf_reset(&b);
    buf_add(&b, SLICE("\x64\x01\x00"));
    buf_add(&b, slice_of(text, 256));
    assert_false(skips(&b));
    buf_fini(&b);
}

static void latin1_needs_an_arena_and_skipping_takes_nothing_of_it(void **state) {
    (void)state;
    const uint8_t in[] = {115, 2, 'a', 0xff};
    arena a;
    arena_init(&a, 64);
    slice text;
    etf_reader r = etf_reader_of(slice_of(in, sizeof in)), bare = r;
    r.text = &a;
    assert_false(etf_get_atom(&bare, &text) || etf_skip(&bare, NULL));
    etf_reader skipped = r;
    assert_true(etf_skip(&skipped, NULL) && a.used == 0);
    assert_true(etf_get_atom(&r, &text) && slice_is(text, "a\xc3\xbf"));
    a.max = a.used;
    etf_reader again = etf_reader_of(slice_of(in, sizeof in));
    again.text = &a;
    assert_false(etf_get_atom(&again, &text));
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tag_is_read_and_written_again_in_its_shortest_form),
        cmocka_unit_test(a_term_that_is_cut_anywhere_is_refused_and_nothing_is_consumed),
        cmocka_unit_test(what_is_no_term_is_refused),
        cmocka_unit_test(the_atoms_of_a_header_are_found_by_number),
        cmocka_unit_test(a_getter_takes_its_kind_and_leaves_any_other),
        cmocka_unit_test(a_term_may_be_as_deep_as_the_limit_and_no_deeper),
        cmocka_unit_test(the_tail_of_a_list_is_as_deep_as_the_list),
        cmocka_unit_test(an_atom_has_255_characters_at_most_whatever_their_bytes),
        cmocka_unit_test(latin1_needs_an_arena_and_skipping_takes_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
