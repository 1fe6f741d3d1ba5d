/* fragment: messages in pieces become whole in any mixture; what is out of order, too many or too long is refused; nothing is left behind.
 */
#include "base/mem.h"
#include "base/prng.h"
#include "proto/dist/fragment.h"
#include "support/cmocka_unit.h"
#include "support/dist_wire.h"

#include <malloc.h>

static const dist_fragments_cfg CFG = {.messages_max = 100, .message_max = 1u << 20, .bytes_max = 4u << 20, .key = {1, 2}};
static const char CONTROL[] = "h\2a\5j"; /* any one term */

typedef struct bed {
    dist_cache_in cache;
    dist_fragments f;
    slice payload;
    dist_refs none, refs;
    bool whole;
    const char *why;
} bed;

static void bed_init(bed *b, const dist_fragments_cfg *cfg) {
    memset(b, 0, sizeof *b);
    dist_cache_in_init(&b->cache, 1u << 20);
    dist_fragments_init(&b->f, cfg, &b->cache);
}
static void bed_fini(bed *b) {
    dist_fragments_fini(&b->f);
    assert_int_equal(b->f.bytes, 0);
    dist_cache_in_fini(&b->cache);
}
static err first(bed *b, uint64_t sequence, uint64_t number, slice body) {
    b->whole = false;
    return dist_fragments_first(&b->f, sequence, number, body, &b->none, &b->whole, &b->why);
}
static err next(bed *b, uint64_t sequence, uint64_t number, slice body) {
    b->whole = false;
    return dist_fragments_next(&b->f, sequence, number, body, true, false, &b->whole, &b->why);
}
static slice control(void) { return slice_of(CONTROL, sizeof CONTROL - 1); }

static void fragments_that_count_down_to_one_are_a_message(void **state) {
    (void)state;
    bed b;
    bed_init(&b, &CFG);
    assert_int_equal(first(&b, 9, 3, control()), ERR_OK);
    assert_false(b.whole);
    assert_int_equal(next(&b, 9, 2, SLICE("12")), ERR_OK);
    assert_false(b.whole);
    assert_int_equal(next(&b, 9, 1, SLICE("34")), ERR_OK);
    assert_true(b.whole);
    assert_true(slice_is(dist_fragments_whole(&b.f, &b.refs, &b.payload), "h\2a\5j1234"));
    assert_int_equal(dist_fragments_open(&b.f), 0);
    dist_fragments_done(&b.f);
    assert_int_equal(b.f.bytes, 0);
    assert_int_equal(first(&b, 9, 1, control()), ERR_OK); /* one alone, and the sequence is free again */
    assert_true(b.whole);
    assert_true(slice_eq(dist_fragments_whole(&b.f, &b.refs, &b.payload), control()));
    bed_fini(&b);
}

static void messages_come_in_any_mixture_and_pieces(void **state) {
    (void)state;
    enum { MESSAGES = 40 };
    prng rng;
    prng_init(&rng, 7);
    bed b;
    bed_init(&b, &CFG);
    uint64_t left[MESSAGES] = {0};
    buf sent[MESSAGES];
    unsigned whole = 0;
    for (unsigned i = 0; i < MESSAGES; i++) buf_init(&sent[i], 1u << 20);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned m = (unsigned)prng_below(&rng, MESSAGES);
        uint8_t bytes[200];
        size_t n = prng_below(&rng, sizeof bytes);
        for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)prng_next(&rng);
        if (!left[m]) {
            buf_reset(&sent[m]);
            buf_add(&sent[m], control());
            left[m] = 1 + prng_below(&rng, 9);
            assert_int_equal(first(&b, m * 1000003u, left[m], control()), ERR_OK);
        } else {
            size_t cut = prng_below(&rng, n + 1);
            buf_add(&sent[m], slice_of(bytes, n));
            assert_int_equal(dist_fragments_next(&b.f, m * 1000003u, left[m], slice_of(bytes, cut), true, true, &b.whole, &b.why), ERR_OK);
            assert_false(b.whole);
            assert_int_equal(
                dist_fragments_next(&b.f, m * 1000003u, left[m], slice_of(bytes + cut, n - cut), false, false, &b.whole, &b.why), ERR_OK);
        }
        assert_int_equal(b.whole, --left[m] == 0);
        if (!b.whole) continue;
        assert_true(slice_eq(dist_fragments_whole(&b.f, &b.refs, &b.payload), buf_slice(&sent[m])));
        whole++;
    }
    assert_true(whole > 1000);
    for (unsigned i = 0; i < MESSAGES; i++) buf_fini(&sent[i]);
    bed_fini(&b);
}

static void what_is_out_of_order_is_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t sequence, number;
        bool is_first, begins;
    } bad[] = {{5, 3, false, true},  {5, 1, false, true}, {5, 0, false, true}, {5, 4, false, true},         {6, 2, false, true},
               {5, 2, false, false}, {5, 3, true, true},  {6, 0, true, true},  {5, UINT64_MAX, false, true}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        bed b;
        bed_init(&b, &CFG);
        assert_int_equal(first(&b, 5, 3, control()), ERR_OK);
        err e = bad[i].is_first
                    ? first(&b, bad[i].sequence, bad[i].number, control())
                    : dist_fragments_next(&b.f, bad[i].sequence, bad[i].number, SLICE("x"), bad[i].begins, false, &b.whole, &b.why);
        assert_int_equal(e, ERR_PROTO);
        assert_non_null(b.why);
        bed_fini(&b);
    }
    bed b; /* another fragment begins although this one is not at its end; the number changes within one */
    bed_init(&b, &CFG);
    assert_int_equal(first(&b, 5, 4, control()), ERR_OK);
    assert_int_equal(dist_fragments_next(&b.f, 5, 3, SLICE("x"), true, true, &b.whole, &b.why), ERR_OK);
    assert_int_equal(dist_fragments_next(&b.f, 5, 2, SLICE("x"), true, false, &b.whole, &b.why), ERR_PROTO);
    bed_fini(&b);
    bed_init(&b, &CFG);
    assert_int_equal(first(&b, 5, 4, control()), ERR_OK);
    assert_int_equal(dist_fragments_next(&b.f, 5, 3, SLICE("x"), true, true, &b.whole, &b.why), ERR_OK);
    assert_int_equal(dist_fragments_next(&b.f, 5, 2, SLICE("x"), false, false, &b.whole, &b.why), ERR_PROTO);
    bed_fini(&b);
}

static void the_control_message_has_to_be_whole_in_the_first_fragment(void **state) {
    (void)state;
    for (size_t cut = 0; cut < sizeof CONTROL - 1; cut++) {
        bed b;
        bed_init(&b, &CFG);
        assert_int_equal(first(&b, 5, 2, slice_sub(control(), 0, cut)), ERR_PROTO);
        assert_int_equal(dist_fragments_open(&b.f), 0);
        bed_fini(&b);
    }
}

static void each_limit_holds(void **state) {
    (void)state;
    static uint8_t kilobyte[1024];
    dist_fragments_cfg cfg = {.messages_max = 3, .message_max = 4096, .bytes_max = 6000, .key = {1, 2}};
    bed b;
    bed_init(&b, &cfg);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(first(&b, i, 9, control()), ERR_OK);
    assert_int_equal(first(&b, 3, 9, control()), ERR_LIMIT);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(next(&b, 0, 8 - i, slice_of(kilobyte, 1024)), ERR_OK);
    assert_int_equal(next(&b, 0, 5, slice_of(kilobyte, 1024)), ERR_LIMIT); /* of one message: 5 bytes of it are the control message */
    for (uint64_t i = 0; i < 2; i++) assert_int_equal(next(&b, 1, 8 - i, slice_of(kilobyte, 1024)), ERR_OK);
    assert_int_equal(next(&b, 2, 8, slice_of(kilobyte, 1024)), ERR_LIMIT); /* of all */
    bed_fini(&b);
}

static void a_hundred_thousand_open_messages_are_refused_at_the_limit(void **state) {
    (void)state;
    dist_fragments_cfg cfg = CFG;
    cfg.messages_max = 4096;
    bed b;
    bed_init(&b, &cfg);
    err e = ERR_OK;
    uint64_t i = 0;
    while (i < 100000 && !e) e = first(&b, i++, 2, control());
    assert_int_equal(e, ERR_LIMIT);
    assert_int_equal(i, 4097);
    bed_fini(&b);
}

/* A message that is not whole keeps the atoms of its own header, whatever later headers do. */
static void atoms_stay_as_they_were_when_the_message_began(void **state) {
    (void)state;
    bed b;
    bed_init(&b, &CFG);
    cursor c = cursor_of(SLICE("\1\x08\5\3old"));
    assert_int_equal(dist_cache_in_apply(&b.cache, &c, &b.refs, &b.why), ERR_OK);
    assert_int_equal(dist_fragments_first(&b.f, 1, 2, SLICE("h\1R\0"), &b.refs, &b.whole, &b.why), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        c = cursor_of(SLICE("\1\x08\5\3new"));
        assert_int_equal(dist_cache_in_apply(&b.cache, &c, &b.refs, &b.why), ERR_OK);
    }
    assert_int_equal(next(&b, 1, 1, SLICE("payload")), ERR_OK);
    assert_true(b.whole);
    (void)dist_fragments_whole(&b.f, &b.refs, &b.payload);
    assert_int_equal(b.refs.n, 1);
    assert_true(slice_is(b.refs.atom[0], "old"));
    c = cursor_of(SLICE("\1\0\5"));
    assert_int_equal(dist_cache_in_apply(&b.cache, &c, &b.refs, &b.why), ERR_OK);
    assert_true(slice_is(b.refs.atom[0], "new"));
    bed_fini(&b);
}

/* A long fragment, then four that are short, although each of them was counted as long. */
static void the_guess_at_what_is_left_reserves_at_most_four_times_what_came(void **state) {
    (void)state;
    enum { LONG = 100000 };
    buf body;
    bed b;
    uint8_t *p;
    bed_init(&b, &CFG);
    buf_init(&body, LONG + 100);
    buf_add(&body, control());
    memset(buf_reserve(&body, LONG), 'x', LONG);
    buf_added(&body, LONG);
    assert_int_equal(first(&b, 1, 5, buf_slice(&body)), ERR_OK);
    for (uint64_t n = 4; n > 0; n--) assert_int_equal(next(&b, 1, n, SLICE("ten bytes.")), ERR_OK);
    assert_true(b.whole);
    assert_int_equal(dist_fragments_whole(&b.f, &b.refs, &b.payload).len, body.len + 40);
    assert_true(dist_fragments_take(&b.f, &p));
    assert_in_range(malloc_usable_size(p), body.len + 40, 4 * (body.len + 40) + 4096); /* a large block is whole pages */
    mem_free(p);
    buf_fini(&body);
    bed_fini(&b);
}

static void who_takes_a_message_keeps_its_bytes(void **state) {
    (void)state;
    bed b;
    uint8_t *p;
    bed_init(&b, &CFG);
    assert_int_equal(first(&b, 1, 1, control()), ERR_OK);
    slice body = dist_fragments_whole(&b.f, &b.refs, &b.payload);
    assert_true(dist_fragments_take(&b.f, &p));
    assert_false(dist_fragments_take(&b.f, &p));
    bed_fini(&b);
    assert_true(slice_eq(body, control()));
    mem_free(p);
}

/* --- payloads that are rewritten as they come --- */
#define FRONT 8u
static const dist_fragments_cfg REWRITES = {
    .messages_max = 100, .message_max = 1u << 20, .bytes_max = 4u << 20, .key = {1, 2}, .front = FRONT};

static void a_payload_is_rewritten(void **state) {
    (void)state;
    bed b;
    uint8_t *p;
    size_t len;
    const char *why;
    bed_init(&b, &REWRITES);
    cursor header = cursor_of(SLICE("\1\x08\0\2ab")); /* one new atom */
    assert_int_equal(dist_cache_in_apply(&b.cache, &header, &b.refs, &why), ERR_OK);
    assert_int_equal(dist_fragments_first(&b.f, 7, 3, SLICE("h\1R\0h\2"), &b.refs, &b.whole, &b.why), ERR_OK);
    assert_int_equal(next(&b, 7, 2, SLICE("R")), ERR_OK); /* in the midst of a reference */
    assert_int_equal(next(&b, 7, 1, SLICE("\0b\0\0\0\5")), ERR_OK);
    assert_true(b.whole);
    assert_true(slice_eq(dist_fragments_whole(&b.f, &b.refs, &b.payload), SLICE("h\1R\0")));
    assert_true(slice_eq(b.payload, SLICE("h\2w\2ab"
                                          "a\5")));
    slice payload = b.payload;
    assert_false(dist_fragments_take(&b.f, &p));
    assert_true(dist_fragments_take_payload(&b.f, &p, &len));
    assert_false(dist_fragments_take_payload(&b.f, &p, &len));
    assert_int_equal(len, FRONT + 1 + payload.len);
    assert_int_equal(p[FRONT], ETF_VERSION);
    assert_ptr_equal(p + FRONT + 1, payload.p);
    mem_free(p);
    assert_int_equal(first(&b, 7, 1, control()), ERR_OK); /* without any */
    assert_true(b.whole);
    assert_true(slice_eq(dist_fragments_whole(&b.f, &b.refs, &b.payload), control()));
    assert_null(b.payload.p);
    bed_fini(&b);
}

static void a_payload_that_is_no_term(void **state) {
    (void)state;
    static const char *const ends[] = {"a", "a\1a", "P", ""};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        bed b;
        bed_init(&b, &REWRITES);
        assert_int_equal(first(&b, 1, 3, SLICE("h\1jh\2")), ERR_OK);
        assert_int_equal(next(&b, 1, 2, SLICE("j")), ERR_OK);
        assert_int_equal(next(&b, 1, 1, slice_str(ends[i])), ERR_PROTO);
        assert_string_equal(b.why, "a message in fragments that is not a term");
        bed_fini(&b);
    }
}

/* The texts of atoms count, not the references to them. */
static void rewritten_payloads_have_the_same_limits(void **state) {
    (void)state;
    bed b;
    buf header, refs;
    const char *why;
    bed_init(&b, &REWRITES);
    buf_init(&header, 1000);
    buf_init(&refs, 100000);
    buf_add(&header, SLICE("\1\x08\0\xff"));
    for (int i = 0; i < 255; i++) buf_add_byte(&header, 'x');
    cursor c = cursor_of(buf_slice(&header));
    assert_int_equal(dist_cache_in_apply(&b.cache, &c, &b.refs, &why), ERR_OK);
    assert_int_equal(dist_fragments_first(&b.f, 1, 9, SLICE("h\1jl\0\1\0\0"), &b.refs, &b.whole, &b.why), ERR_OK);
    for (int i = 0; i < 5000; i++) buf_add(&refs, SLICE("R\0"));
    assert_int_equal(next(&b, 1, 8, slice_sub(buf_slice(&refs), 0, 2000)), ERR_OK);
    assert_in_range(b.f.bytes, 1000 * 257, 1000 * 257 + 400); /* with the text that it holds */
    assert_int_equal(next(&b, 1, 7, buf_slice(&refs)), ERR_LIMIT);
    buf_fini(&header);
    buf_fini(&refs);
    bed_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payload_is_rewritten),
        cmocka_unit_test(a_payload_that_is_no_term),
        cmocka_unit_test(rewritten_payloads_have_the_same_limits),
        cmocka_unit_test(fragments_that_count_down_to_one_are_a_message),
        cmocka_unit_test(messages_come_in_any_mixture_and_pieces),
        cmocka_unit_test(what_is_out_of_order_is_refused),
        cmocka_unit_test(the_control_message_has_to_be_whole_in_the_first_fragment),
        cmocka_unit_test(each_limit_holds),
        cmocka_unit_test(a_hundred_thousand_open_messages_are_refused_at_the_limit),
        cmocka_unit_test(atoms_stay_as_they_were_when_the_message_began),
        cmocka_unit_test(the_guess_at_what_is_left_reserves_at_most_four_times_what_came),
        cmocka_unit_test(who_takes_a_message_keeps_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
