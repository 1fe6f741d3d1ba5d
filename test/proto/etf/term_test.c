/* term: trees and what they cost, Erlang's order, texts to print and to read, and what verbs answer. */
#include "base/prng.h"
#include "proto/etf/term.h"
#include "support/cmocka_unit.h"
#include "support/val_nest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Terms that a test made, all in one arena. */
typedef struct rig {
    arena a;
    buf b;
} rig;

static int setup(void **state) {
    rig *r = malloc(sizeof *r);
    if (!r) return -1;
    arena_init(&r->a, 1u << 26);
    buf_init(&r->b, 1u << 24);
    *state = r;
    return 0;
}

static int teardown(void **state) {
    rig *r = *state;
    arena_fini(&r->a);
    buf_fini(&r->b);
    free(r);
    return 0;
}

static const etf_term *tree(rig *r, slice bytes) {
    slice kept = arena_dup(&r->a, bytes);
    etf_reader in = etf_reader_of(kept);
    const etf_term *t = NULL;
    err e = etf_term_read(&in, &r->a, &t);
    if (e || cursor_left(&in.in)) fail_msg("not a term: %s", err_name(e));
    return t;
}

/* The term that a text stands for. */
static const etf_term *term(rig *r, const char *text) {
    size_t at = 0;
    buf_reset(&r->b);
    err e = etf_parse(slice_str(text), &r->b, &at);
    if (e) fail_msg("%s: %s at %zu", text, err_name(e), at);
    return tree(r, buf_slice(&r->b));
}

static void assert_prints(rig *r, const etf_term *t, const char *want) {
    buf_reset(&r->b);
    etf_format(t, &r->b);
    assert_true(buf_ok(&r->b));
    buf_add_byte(&r->b, '\0');
    assert_string_equal((const char *)r->b.p, want);
}

static void a_text_is_read_as_the_term_and_printed_as_the_shell_prints_it(void **state) {
    rig *r = *state;
    static const char *const cases[][2] = {
        {"{ok, [1,2|x], #{b=>1, a => \"hi\"}}", "{ok,[1,2|x],#{a => \"hi\",b => 1}}"},
        {" [ ] ", "[]"},
        {"{}", "{}"},
        {"#{}", "#{}"},
        {"[[],{},#{}]", "[[],{},#{}]"},
        {"\"\"", "[]"},
        {"[104,105]", "\"hi\""},
        {"[104|\"i\"]", "\"hi\""},
        {"[a|\"hi\"]", "[a,104,105]"},
        {"[a|[b|[c]]]", "[a,b,c]"},
        {"[a|[b|c]]", "[a,b|c]"},
        {"[1,2]", "[1,2]"},
        {"\"\\x{3bb}\\101\\n\\\"\"", "\"\xce\xbb"
                                     "A\\n\\\"\""},
        {"<<>>", "<<>>"},
        {"<<\"abc\">>", "<<\"abc\">>"},
        {"<< 97 , 98:8 >>", "<<\"ab\">>"},
        {"<<1,2:3>>", "<<1,2:3>>"},
        {"<<1:1,0:1>>", "<<2:2>>"},
        {"<<258:16>>", "<<1,2>>"},
        {"<<-1>>", "<<\"\xc3\xbf\">>"},
        {"<<\"\xce\xbb\"/utf8>>", "<<\"\xce\xbb\"/utf8>>"},
        {"'hello world'", "'hello world'"},
        {"'ok'", "ok"},
        {"''", "''"},
        {"'fun'", "'fun'"},
        {"'it\\'s'", "'it\\'s'"},
        {"'\\x{202e}'", "'\\x{202E}'"},
        {"a@b_C1", "a@b_C1"},
        {"\xc3\xa5", "\xc3\xa5"},
        {"fun m:f/2", "fun m:f/2"},
        {"fun 'A':'b c'/255", "fun 'A':'b c'/255"},
        {"-12", "-12"},
        {"+12", "12"},
        {"1_000", "1000"},
        {"16#fF", "255"},
        {"-2#101", "-5"},
        {"36#z", "35"},
        {"$a", "97"},
        {"$\\n", "10"},
        {"$ ", "32"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9223372036854775808"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"1000000000000000000000000000", "1000000000000000000000000000"},
        {"1.5", "1.5"},
        {"-0.0", "-0.0"},
        {"1.0e22", "1.0e22"},
        {"100000.0", "1.0e5"},
        {"123456.0", "123456.0"},
        {"0.001", "0.001"},
        {"0.00001", "1.0e-5"},
        {"5.0e-324", "5.0e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e308"},
        {"9007199254740992.0", "9.007199254740992e15"},
        {"5.9604644775390625e-8", "5.960464477539063e-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) assert_prints(r, term(r, cases[i][0]), cases[i][1]);
}

static void a_text_that_is_no_term_is_refused_where_it_ceases_to_make_sense(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"", 0},
        {"  ", 2},
        {"{", 1},
        {"{a", 2},
        {"{a,", 3},
        {"{a,}", 3},
        {"a b", 2},
        {"[a|]", 3},
        {"[a|b,c]", 4},
        {"[|a]", 1},
        {"#{a}", 3},
        {"#{a=>}", 5},
        {"#{a=>1,}", 7},
        {"#{a=>1,a=>2}", 12},
        {"#{1=>1,1=>2}", 12},
        {"A", 0},
        {"fun", 3},
        {"fun m:f", 7},
        {"fun m:f/256", 11},
        {"'a", 2},
        {"\"a", 2},
        {"\"\\x{110000}\"", 11},
        {"\"\\x{d800}\"", 9},
        {"\"\\", 2},
        {"<<", 2},
        {"<<1", 3},
        {"<<256:65>>", 8},
        {"<<\"\xce\xbb\">>", 6},
        {"<<1.0>>", 5},
        {"1.", 1},
        {"1.e5", 1},
        {"1.0e", 4},
        {"1.0e999", 7},
        {"1#0", 2},
        {"37#0", 3},
        {"2#2", 2},
        {"-", 1},
        {"--1", 1},
        {"<0.1.0>", 0},
        {"#Ref<0.1>", 0},
        {"{a)", 2},
        {"\xff", 0},
        {"end", 3},
        {"#m:r{}", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        size_t at = 999;
        buf_init(&b, 1024);
        buf_add_byte(&b, 'x');
        err e = etf_parse(slice_str(cases[i].text), &b, &at);
        if (e != ERR_INVALID || at != cases[i].at) fail_msg("%s: %s at %zu, not %zu", cases[i].text, err_name(e), at, cases[i].at);
        assert_true(slice_is(buf_slice(&b), "x"));
        buf_fini(&b);
    }
}

/* An atom has at most 255 characters, alone or as the name of a function, in quotes or not. */
static void a_name_that_is_too_long_for_an_atom_is_no_term(void **state) {
    (void)state;
    static const char *const around[][2] = {{"", ""}, {"'", "'"}, {"fun m:'", "'/1"}, {"fun ", ":f/1"}};
    for (size_t i = 0; i < ARRAY_LEN(around); i++)
        for (unsigned chars = 255; chars <= 256; chars++) {
            buf text, out;
            size_t at;
            buf_init(&text, 1024);
            buf_init(&out, 1024);
            buf_add_str(&text, around[i][0]);
            for (unsigned k = 0; k < chars; k++) buf_add_str(&text, "\xc3\xa9");
            buf_add_str(&text, around[i][1]);
            assert_int_equal(etf_parse(buf_slice(&text), &out, &at), chars == 255 ? ERR_OK : ERR_INVALID);
            buf_fini(&text);
            buf_fini(&out);
        }
}

static void limits_of_texts_have_an_error_of_their_own(void **state) {
    rig *r = *state;
    buf text, out;
    size_t at;
    buf_init(&text, 1u << 20);
    buf_init(&out, 1u << 20);
    for (unsigned i = 0; i <= ETF_DEPTH_MAX; i++) buf_add_byte(&text, '{');
    assert_int_equal(etf_parse(buf_slice(&text), &out, &at), ERR_LIMIT);
    buf_reset(&text);
    for (unsigned i = 0; i < 2600; i++) buf_add_byte(&text, '9');
    assert_int_equal(etf_parse(buf_slice(&text), &out, &at), ERR_LIMIT);
    buf_reset(&text);
    for (unsigned i = 0; i < 401; i++) buf_add_byte(&text, '1');
    buf_add_str(&text, ".5");
    assert_int_equal(etf_parse(buf_slice(&text), &out, &at), ERR_LIMIT);
    buf small;
    buf_init(&small, 4);
    assert_int_equal(etf_parse(SLICE("{1,2,3}"), &small, &at), ERR_LIMIT);
    assert_true(buf_ok(&small) && small.len == 0);
    buf_fini(&small);
    /* A long integer of base 16 is read, and printed like that. */
    buf_reset(&text);
    buf_add_str(&text, "-16#1");
    for (unsigned i = 0; i < 4000; i++) buf_addf(&text, "%X", i % 16);
    assert_int_equal(etf_parse(buf_slice(&text), &out, &at), ERR_OK);
    const etf_term *t = tree(r, buf_slice(&out));
    buf_reset(&out);
    etf_format(t, &out);
    assert_true(slice_eq(buf_slice(&out), buf_slice(&text)));
    buf_fini(&text);
    buf_fini(&out);
}

/* Each is less than all that follow. */
static const char *const ascending[] = {
    "-1000000000000000000000000000000",
    "-9223372036854775809",
    "-9223372036854775808",
    "-1.5",
    "-1",
    "0",
    "0.5",
    "1",
    "1.0000000000000002",
    "2",
    "9007199254740992.0",
    "9007199254740993",
    "9007199254740994.0",
    "9223372036854775807",
    "9223372036854775808.0",
    "9223372036854775809",
    "18446744073709551615",
    "18446744073709551616.0",
    "18446744073709551617",
    "1.0e300",
    "''",
    "'A'",
    "a",
    "ab",
    "b",
    "\xc3\xa5",
    "fun a:a/1",
    "fun a:a/2",
    "fun a:b/0",
    "fun b:a/0",
    "{}",
    "{a}",
    "{b}",
    "{1,1}",
    "{1,2}",
    "{1,a}",
    "#{}",
    "#{1=>b}",
    "#{1.0=>a}",
    "#{a=>1}",
    "#{a=>2}",
    "#{b=>0}",
    "#{a=>1,b=>1}",
    "#{a=>1,c=>0}",
    "[]",
    "[1|a]",
    "[1]",
    "[1,1]",
    "[1,2]",
    "[2]",
    "[a]",
    "[[]]",
    "[[1]]",
    "<<>>",
    "<<0:1>>",
    "<<0:7>>",
    "<<0>>",
    "<<1:2>>",
    "<<1:1>>",
    "<<200>>",
    "<<200,1>>",
    "<<201>>",
};

static void the_order_of_all_terms_is_erlangs(void **state) {
    rig *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(ascending); i++)
        for (size_t k = 0; k < ARRAY_LEN(ascending); k++) {
            int c = etf_compare(term(r, ascending[i]), term(r, ascending[k]));
            bool is_less = c<0, is_more = c> 0;
            if (is_less != (i < k) || is_more != (i > k)) fail_msg("%s and %s: %d", ascending[i], ascending[k], c);
        }
}

static void one_and_one_point_zero_are_equal_and_not_the_same(void **state) {
    rig *r = *state;
    static const char *const pairs[][2] = {{"1", "1.0"},
                                           {"{1,[2.0]}", "{1.0,[2]}"},
                                           {"#{a=>1}", "#{a=>1.0}"},
                                           {"18446744073709551616", "18446744073709551616.0"},
                                           {"0.0", "-0.0"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        assert_int_equal(etf_compare(term(r, pairs[i][0]), term(r, pairs[i][1])), 0);
        assert_false(etf_equal(term(r, pairs[i][0]), term(r, pairs[i][1])));
    }
    assert_true(etf_compare(term(r, "#{1=>a}"), term(r, "#{1.0=>a}")) < 0); /* as keys they differ */
}

static void a_list_is_the_same_however_it_is_written(void **state) {
    rig *r = *state;
    static const char *const forms[] = {"[1,2,3]", "[1|[2|[3|[]]]]", "[1,2|[3]]", "[1|\"\\x02\\x03\"]", "\"\\x01\\x02\\x03\""};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const etf_term *t = term(r, forms[i]), *e;
        etf_list l = etf_list_of(t);
        for (int64_t k = 1; k <= 3; k++) {
            assert_true(etf_list_next(&l, &e));
            assert_true(e->item.kind == ETF_INT && e->item.i == k);
        }
        assert_false(etf_list_next(&l, &e));
        assert_int_equal(l.rest->item.kind, ETF_NIL);
        assert_true(etf_equal(t, term(r, forms[0])));
    }
}

static void a_map_is_kept_in_the_order_of_its_keys_and_a_key_is_found(void **state) {
    rig *r = *state;
    arena a;
    buf b;
    prng p;
    prng_init(&p, 7);
    arena_init(&a, 1u << 22);
    buf_init(&b, 1u << 20);
    enum { N = 500 };
    unsigned order[N];
    for (unsigned i = 0; i < N; i++) order[i] = i;
    for (unsigned i = N - 1; i; i--) {
        unsigned k = (unsigned)prng_below(&p, i + 1), was = order[i];
        order[i] = order[k];
        order[k] = was;
    }
    etf_put_map(&b, N);
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%03u", order[i]);
        etf_put_atom(&b, slice_str(name));
        etf_put_int(&b, order[i]);
    }
    const etf_term *t = tree(r, buf_slice(&b));
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%03u", i);
        assert_true(etf_term_is_atom(etf_term_at(t, 2 * i), slice_str(name)));
        assert_int_equal(etf_term_get(t, slice_str(name))->item.i, i);
    }
    assert_null(etf_term_get(t, SLICE("k")));
    assert_null(etf_term_get(etf_term_at(t, 0), SLICE("k")));
    assert_null(etf_term_at(t, 2 * N));
    arena_fini(&a);
    buf_fini(&b);
}

static void a_key_that_is_there_twice_is_refused_wherever_it_stands(void **state) {
    (void)state;
    for (unsigned n = 2; n < 40; n++) {
        arena a;
        buf b;
        const etf_term *t;
        arena_init(&a, 1u << 20);
        buf_init(&b, 4096);
        etf_put_tuple(&b, 1);
        etf_put_map(&b, n);
        for (unsigned i = 0; i < n; i++) {
            etf_put_int(&b, i == n - 1 ? n / 2 - 1 : (i * 7) % 41); /* the last one is one of those before, if 7 * i met it */
            etf_put_nil(&b);
        }
        bool twice = false;
        for (unsigned i = 0; i + 1 < n; i++) twice |= (i * 7) % 41 == n / 2 - 1;
        etf_reader in = etf_reader_of(buf_slice(&b));
        assert_true(etf_skip(&in, NULL)); /* who only passes it on need not know */
        in = etf_reader_of(buf_slice(&b));
        assert_int_equal(etf_term_read(&in, &a, &t), twice ? ERR_INVALID : ERR_OK);
        buf_fini(&b);
        arena_fini(&a);
    }
}

/* Promised: 64 bytes for each byte of input, for what costs most a byte, and for what pretends to be large. */
static void a_tree_costs_at_most_64_times_its_bytes(void **state) {
    (void)state;
    for (unsigned shape = 0; shape < 4; shape++) {
        buf b;
        arena a;
        const etf_term *t = NULL;
        buf_init(&b, 1u << 20);
        if (shape == 0) etf_put_tuple(&b, 1000);
        if (shape == 1) etf_put_list(&b, 999);
        if (shape == 2) etf_put_map(&b, 1);
        for (unsigned i = 0; i < 1000 && shape < 2; i++) etf_put_nil(&b);
        if (shape >= 2) {
            etf_put_nil(&b);
            etf_put_nil(&b);
        }
        if (shape == 3) buf_consume(&b, 1);
        arena_init(&a, b.len * ETF_TERM_COST);
        etf_reader in = etf_reader_of(buf_slice(&b));
        assert_int_equal(etf_term_read(&in, &a, &t), ERR_OK);
        assert_true(a.used <= b.len * ETF_TERM_COST);
        arena_fini(&a);
        buf_fini(&b);
    }
}

static void what_promises_more_than_is_there_costs_nothing(void **state) {
    (void)state;
    uint8_t in[1024];
    for (size_t i = 0; i < sizeof in; i += 5) { /* each list promises all that is left, and none gives it */
        size_t left = sizeof in - i;
        const uint8_t head[5] = {108, 0, 0, (uint8_t)((left - 8) >> 8), (uint8_t)(left - 8)};
        memcpy(in + i, head, left < 5 ? left : 5);
    }
    arena a;
    const etf_term *t;
    arena_init(&a, SIZE_MAX);
    etf_reader r = etf_reader_of(slice_of(in, sizeof in));
    assert_int_equal(etf_term_read(&r, &a, &t), ERR_INVALID);
    assert_int_equal(a.used, 0);
    arena_fini(&a);
}

static void a_full_arena_is_told_and_the_reader_has_not_moved(void **state) {
    (void)state;
    const uint8_t in[] = {104, 2, 104, 1, 106, 106};
    for (size_t max = 0; max < 4 * sizeof(etf_term); max += 8) {
        arena a;
        const etf_term *t = NULL;
        arena_init(&a, max);
        etf_reader r = etf_reader_of(slice_of(in, sizeof in));
        assert_int_equal(etf_term_read(&r, &a, &t), ERR_LIMIT);
        assert_true(r.in.p == in && !t);
        arena_fini(&a);
    }
}

static void as_deep_as_can_be_is_read_compared_printed_and_written(void **state) {
    rig *r = *state;
    buf b, out;
    buf_init(&b, 1u << 20);
    buf_init(&out, 1u << 20);
    for (unsigned i = 0; i < ETF_DEPTH_MAX; i++) {
        if (i % 3 == 0) etf_put_tuple(&b, 1);
        if (i % 3 == 1) etf_put_list(&b, 1);
        if (i % 3 == 2) etf_put_map(&b, 1);
    }
    etf_put_string(&b, SLICE("hi"));
    for (unsigned i = ETF_DEPTH_MAX; i--;)
        if (i % 3 != 0) etf_put_nil(&b); /* the tails of lists, the values of maps */
    const etf_term *t = tree(r, buf_slice(&b)), *u = tree(r, buf_slice(&b));
    assert_true(etf_equal(t, u) && etf_compare(t, u) == 0);
    etf_term_write(t, &out);
    assert_true(buf_ok(&out) && slice_eq(buf_slice(&out), buf_slice(&b)));
    buf_reset(&out);
    etf_format(t, &out);
    assert_true(buf_ok(&out));
    size_t at;
    buf_reset(&b);
    assert_int_equal(etf_parse(buf_slice(&out), &b, &at), ERR_OK);
    assert_true(etf_equal(t, tree(r, buf_slice(&b))));
    buf_fini(&b);
    buf_fini(&out);
}

static void a_list_of_a_million_short_rows_is_no_deeper_than_one(void **state) {
    rig *r = *state;
    buf b, out;
    arena a;
    enum { N = 100000 };
    buf_init(&b, 1u << 24);
    buf_init(&out, 1u << 24);
    arena_init(&a, SIZE_MAX);
    for (unsigned i = 0; i < N; i++) {
        etf_put_list(&b, 1);
        etf_put_atom(&b, SLICE("x"));
    }
    etf_put_nil(&b);
    etf_reader in = etf_reader_of(buf_slice(&b)), again = in;
    const etf_term *t, *u;
    assert_int_equal(etf_term_read(&in, &a, &t), ERR_OK);
    assert_int_equal(etf_term_read(&again, &a, &u), ERR_OK);
    assert_true(etf_equal(t, u));
    etf_term_write(t, &out);
    assert_true(slice_eq(buf_slice(&out), buf_slice(&b)));
    buf_reset(&out);
    etf_format(t, &out);
    assert_int_equal(out.len, 2 * N + 1);
    arena_fini(&a);
    buf_fini(&b);
    buf_fini(&out);
    (void)r;
}

/* What has no text of its own. */
static void identities_funs_and_records_are_shown(void **state) {
    rig *r = *state;
    const slice node = SLICE("a@b");
    buf b;
    buf_init(&b, 4096);
    etf_put_pid(&b, &(etf_pid){node, 84, 1, 2});
    assert_prints(r, tree(r, buf_slice(&b)), "<a@b.84.1>");
    buf_reset(&b);
    etf_put_port(&b, &(etf_port){node, UINT64_C(1) << 40, 2});
    assert_prints(r, tree(r, buf_slice(&b)), "#Port<a@b.1099511627776>");
    buf_reset(&b);
    etf_put_ref(&b, &(etf_ref){node, 2, 3, {1, 2, 3}});
    assert_prints(r, tree(r, buf_slice(&b)), "#Ref<a@b.3.2.1>");
    buf_reset(&b);
    static const uint8_t uniq[ETF_UNIQ_BYTES];
    size_t fun = etf_put_fun(&b, &(etf_fun){.uniq = uniq, .index = 1, .n = 1, .arity = 0});
    etf_put_atom(&b, SLICE("m"));
    etf_put_int(&b, 5);
    etf_put_int(&b, 77);
    etf_put_pid(&b, &(etf_pid){node, 84, 1, 2});
    etf_put_string(&b, SLICE("free"));
    etf_put_fun_end(&b, fun);
    const etf_term *t = tree(r, buf_slice(&b));
    assert_prints(r, t, "#Fun<m.5.77>");
    buf out;
    buf_init(&out, 4096);
    etf_term_write(t, &out);
    assert_true(slice_eq(buf_slice(&out), buf_slice(&b)));
    buf_fini(&out);
    buf_reset(&b);
    etf_put_record(&b, &(etf_record){2, ETF_RECORD_EXPORTED});
    static const char *const names[] = {"users", "user", "id", "Name"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) etf_put_atom(&b, slice_str(names[i]));
    etf_put_int(&b, 1);
    etf_put_string(&b, SLICE("Ann"));
    t = tree(r, buf_slice(&b));
    assert_prints(r, t, "#users:user{id = 1,'Name' = \"Ann\"}");
    assert_true(etf_compare(t, term(r, "{z}")) > 0 && etf_compare(t, term(r, "#{}")) < 0);
    buf_fini(&b);
}

/* The order of records: module, name, visibility, number of fields, names, values (EEP 79). */
static void records_are_ordered_by_name_then_by_value(void **state) {
    rig *r = *state;
    static const struct {
        const char *module, *name, *field;
        uint8_t flags;
        int value;
    } records[] = {{"a", "z", "f", 1, 9}, {"b", "a", "f", 1, 9}, {"b", "b", "f", 0, 9},
                   {"b", "b", "f", 1, 1}, {"b", "b", "f", 1, 2}, {"b", "b", "g", 1, 0}};
    const etf_term *t[ARRAY_LEN(records)];
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        buf_reset(&r->b);
        etf_put_record(&r->b, &(etf_record){1, records[i].flags});
        etf_put_atom(&r->b, slice_str(records[i].module));
        etf_put_atom(&r->b, slice_str(records[i].name));
        etf_put_atom(&r->b, slice_str(records[i].field));
        etf_put_int(&r->b, records[i].value);
        t[i] = tree(r, buf_slice(&r->b));
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        for (size_t k = 0; k < ARRAY_LEN(t); k++) {
            int c = etf_compare(t[i], t[k]);
            assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
        }
}

static void what_a_verb_answers_is_a_term(void **state) {
    rig *r = *state;
    val *map = val_map(&r->a), *list = val_list(&r->a);
    val_push(&r->a, list, val_int(&r->a, -5));
    val_push(&r->a, list, val_real(&r->a, 2.5));
    val_push(&r->a, list, val_real(&r->a, 1.0 / 0.0));
    val_set(&r->a, map, "name", val_str(&r->a, SLICE("x\xff")));
    val_set(&r->a, map, "on", val_bool(&r->a, true));
    val_set(&r->a, map, "none", val_null(&r->a));
    val_set(&r->a, map, "list", list);
    val_set(&r->a, map, "empty", val_list(&r->a));
    buf_reset(&r->b);
    etf_put_val(&r->b, map);
    assert_true(buf_ok(&r->b));
    assert_prints(r, tree(r, buf_slice(&r->b)),
                  "#{empty => [],list => [-5,2.5,undefined],name => <<\"x\xc3\xbf\">>,none => undefined,on => true}");
    buf_reset(&r->b);
    val_push(&r->a, list, NULL);
    etf_put_val(&r->b, map);
    assert_false(buf_ok(&r->b));
    buf_reset(&r->b);
    etf_put_val(&r->b, NULL);
    assert_false(buf_ok(&r->b));
    for (unsigned depth = 1; depth <= VAL_DEPTH_MAX + 1; depth++) {
        buf_reset(&r->b);
        etf_put_val(&r->b, val_nested(&r->a, depth));
        assert_int_equal(buf_ok(&r->b), depth <= VAL_DEPTH_MAX);
    }
}

static void a_full_buffer_fails_and_never_ends_in_the_middle_of_nothing(void **state) {
    rig *r = *state;
    const etf_term *t = term(r, "{ok,[1,2|x],#{a => <<1,2,3>>},\"text\",123456789012345678901234567890,1.5}");
    buf whole;
    buf_init(&whole, 4096);
    etf_format(t, &whole);
    for (size_t max = 0; max < whole.len; max++) {
        buf b;
        buf_init(&b, max);
        etf_format(t, &b);
        assert_false(buf_ok(&b));
        assert_true(b.len <= max);
        buf_fini(&b);
        buf_init(&b, max);
        etf_term_write(t, &b);
        assert_true(!buf_ok(&b) || max >= 60);
        buf_fini(&b);
    }
    buf_fini(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_text_is_read_as_the_term_and_printed_as_the_shell_prints_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_that_is_no_term_is_refused_where_it_ceases_to_make_sense, setup, teardown),
        cmocka_unit_test(a_name_that_is_too_long_for_an_atom_is_no_term),
        cmocka_unit_test_setup_teardown(limits_of_texts_have_an_error_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(the_order_of_all_terms_is_erlangs, setup, teardown),
        cmocka_unit_test_setup_teardown(one_and_one_point_zero_are_equal_and_not_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_is_the_same_however_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_map_is_kept_in_the_order_of_its_keys_and_a_key_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_is_there_twice_is_refused_wherever_it_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tree_costs_at_most_64_times_its_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_promises_more_than_is_there_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_arena_is_told_and_the_reader_has_not_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(as_deep_as_can_be_is_read_compared_printed_and_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_of_a_million_short_rows_is_no_deeper_than_one, setup, teardown),
        cmocka_unit_test_setup_teardown(identities_funs_and_records_are_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_ordered_by_name_then_by_value, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_verb_answers_is_a_term, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_buffer_fails_and_never_ends_in_the_middle_of_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
