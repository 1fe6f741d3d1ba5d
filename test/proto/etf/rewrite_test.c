/* A term in pieces becomes what etf_copy makes of it, wherever it is cut, and what that refuses is refused. */
#include "base/mem.h"
#include "base/prng.h"
#include "proto/etf/rewrite.h"
#include "proto/etf/term.h"
#include "support/cmocka_unit.h"

#define TEXT(lit)                                                                                                                          \
    { (const uint8_t *)(lit), sizeof(lit) - 1 }

static const slice ATOMS[] = {TEXT("first"), TEXT("second")};
static const etf_atoms TABLE = {ATOMS, 2};

/* What etf_copy makes of it; false: it is not one term. */
static bool whole(slice in, buf *out) {
    arena text;
    arena_init(&text, 1 << 20);
    etf_reader r = {.in = cursor_of(in), .atoms = &TABLE, .text = &text};
    bool ok = etf_copy(&r, out) && cursor_left(&r.in) == 0;
    arena_fini(&text);
    return ok;
}

static bool in_pieces(slice in, prng *r, size_t most, buf *out) {
    etf_rewrite *w = etf_rewrite_new();
    bool ok = true, last = false;
    while (ok && !last) {
        size_t n = (size_t)prng_below(r, most + 1);
        last = n >= in.len && prng_below(r, 2) == 0;
        ok = etf_rewrite_feed(w, &TABLE, slice_sub(in, 0, n), last, out);
        in = slice_from(in, n < in.len ? n : in.len);
        assert_true(etf_rewrite_kept(w) <= ETF_REWRITE_KEPT);
    }
    etf_rewrite_free(w);
    return ok;
}

static void same(slice in, prng *r, size_t most) {
    buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    bool ok = whole(in, &a);
    assert_int_equal(in_pieces(in, r, most, &b), ok);
    if (ok) assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_fini(&a);
    buf_fini(&b);
}

/* Old tags, references to atoms, lists that are their tail, bits, numbers that are longer than they need to be. */
static const slice RAW[] = {
    TEXT("R\x01"), /* the second atom */
    TEXT("R\x02"), /* there is none */
    TEXT("h\x03R\0d\0\x02\xe4z\x62\0\0\0\x07"),
    TEXT("l\0\0\0\0l\0\0\0\0j"),
    TEXT("l\0\0\0\x02m\0\0\0\x05helloM\0\0\0\x03\x03\xff\xff\xffj"),
    TEXT("M\0\0\0\x03\x08xyz"),
    TEXT("M\0\0\0\x03\x09xyz"),
    TEXT("M\0\0\0\0\0"),
    TEXT("M\0\0\0\x01\0x"),
    TEXT("o\0\0\0\x09\0\x01\x02\x03\x04\x05\x06\x07\x08\0"),
    TEXT("n\x02\0\x07\0"),
    TEXT("k\0\x03"
         "abc"),
    TEXT("t\0\0\0\x01"
         "a\x01m\0\0\0\x04"
         "data"),
    TEXT("h\x02m\0\0\0\x04"
         "dataa\x01"
         "a\x02"), /* and more */
    TEXT("Xs\x03n@h\0\0\0\x01\0\0\0\0\0\0\0\x05"),
    TEXT("Z\0\x02R\0\0\0\0\x05\0\0\0\x01\0\0\0\x02"),
    TEXT("qR\0R\x01"
         "a\x03"),
    TEXT("p\0\0\0\x37\x01"
         "0123456789abcdef\0\0\0\x01\0\0\0\x01R\0a\x01"
         "a\x02XR\x01\0\0\0\x01\0\0\0\0\0\0\0\x05m\0\0\0\x03xyz"),
    TEXT("p\0\0\0\x38\x01"
         "0123456789abcdef\0\0\0\x01\0\0\0\x01R\0a\x01"
         "a\x02XR\x01\0\0\0\x01\0\0\0\0\0\0\0\x05m\0\0\0\x03xyz"),
    TEXT(""),
    TEXT("l\xff\xff\xff\xff"
         "a\x01"),
};

static const char *const TEXTS[] = {
    "{ok,[1,2,300,-5,70000000000,-123456789012345678901234567890],<<\"some bytes\">>,\"text\"}",
    "#{a=>1,{b}=>[x|y],<<1,2,3>>=>#{}}",
    "[[[[[]]]],{},{{{1.5}}},'an atom']",
};

static void wherever_it_is_cut(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 3);
    for (size_t most = 0; most < 70; most++) {
        for (size_t i = 0; i < ARRAY_LEN(RAW); i++) same(RAW[i], &r, most + 1);
        for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
            buf b;
            size_t at;
            buf_init(&b, 4096);
            assert_int_equal(etf_parse(slice_str(TEXTS[i]), &b, &at), ERR_OK);
            same(buf_slice(&b), &r, most + 1);
            buf_fini(&b);
        }
    }
}

/* Bytes changed at random: what one takes, the other takes, and makes the same of it. */
static void whatever_it_is(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 4);
    unsigned good = 0;
    for (unsigned i = 0; i < 60000; i++) {
        uint8_t bytes[200];
        slice from = RAW[prng_below(&r, ARRAY_LEN(RAW))];
        size_t n = from.len;
        memcpy(bytes, from.p, n);
        for (uint64_t k = prng_below(&r, 3); k && n; k--) bytes[prng_below(&r, n)] = (uint8_t)prng_next(&r);
        if (prng_below(&r, 4) == 0) n = (size_t)prng_below(&r, n + 1);
        same(slice_of(bytes, n), &r, 1 + (size_t)prng_below(&r, 30));
        buf b;
        buf_init(&b, 1 << 20);
        good += whole(slice_of(bytes, n), &b);
        buf_fini(&b);
    }
    assert_in_range(good, 5000, 50000); /* there are enough of both */
}

static void as_deep_as_may_be(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 5);
    for (unsigned more = 0; more < 2; more++) {
        buf b;
        buf_init(&b, 1 << 20);
        for (unsigned i = 0; i < ETF_DEPTH_MAX + more; i++) etf_put_tuple(&b, 1);
        etf_put_nil(&b);
        same(buf_slice(&b), &r, 100);
        buf_fini(&b);
    }
}

/* What is passed on as it comes does not wait here; an item that is cut does, within a limit. */
static void what_it_keeps(void **state) {
    (void)state;
    buf out;
    buf_init(&out, SIZE_MAX);
    etf_rewrite *w = etf_rewrite_new();
    uint8_t *bytes = mem_zalloc(1 << 20);
    assert_true(etf_rewrite_feed(w, NULL, SLICE("m\0\x20"), false, &out));
    assert_int_equal(etf_rewrite_kept(w), 3);
    assert_true(etf_rewrite_feed(w, NULL, SLICE("\0\0x"), false, &out)); /* 2 MiB */
    assert_int_equal(etf_rewrite_kept(w), 0);
    assert_int_equal(out.len, 6);
    assert_true(etf_rewrite_feed(w, NULL, slice_of(bytes, 1 << 20), false, &out));
    assert_int_equal(etf_rewrite_kept(w), 0);
    assert_true(etf_rewrite_feed(w, NULL, slice_of(bytes, (1 << 20) - 1), true, &out));
    assert_int_equal(out.len, 5 + (2 << 20));
    etf_rewrite_free(w);
    w = etf_rewrite_new();
    bool ok = etf_rewrite_feed(w, NULL, SLICE("o\x7f\xff\xff\xff\0"), false, &out); /* an integer of 2 GiB */
    unsigned n = 0;
    for (; ok; n++) ok = etf_rewrite_feed(w, NULL, slice_of(bytes, 1 << 20), false, &out);
    assert_int_equal(n, ETF_REWRITE_KEPT >> 20);
    etf_rewrite_free(w);
    w = etf_rewrite_new(); /* out is full */
    out.max = out.len + 10;
    assert_false(etf_rewrite_feed(w, NULL,
                                  SLICE("m\0\0\0\x20"
                                        "01234567890"),
                                  false, &out));
    assert_false(buf_ok(&out));
    etf_rewrite_free(w);
    mem_free(bytes);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(wherever_it_is_cut), cmocka_unit_test(whatever_it_is),
                                       cmocka_unit_test(as_deep_as_may_be), cmocka_unit_test(what_it_keeps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
