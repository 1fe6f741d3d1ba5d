/* frame: frames come out where they lie, or when they are whole, wherever the stream was cut; a claim of a length costs nothing. */
#include "base/mem.h"
#include "proto/dist/frame.h"
#include "support/cmocka_unit.h"
#include "support/dist_wire.h"

#define MAX (100u << 20)

/* Everything that a reader says about a stream, as text; pieces of a NEXT are put together. step: bytes that come at a time. */
static void story(slice in, uint32_t max, size_t step, buf *out) {
    dist_frames f;
    dist_frames_init(&f, max);
    size_t at = 0, have = 0;
    for (;;) {
        dist_frame x;
        size_t used;
        dist_frames_next(&f, slice_sub(in, at, have - at), &used, &x);
        assert_true(used <= have - at);
        at += used;
        if (x.kind == DIST_FRAME_NONE) {
            assert_int_equal(at, have);
            if (have == in.len) break;
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        if (x.kind == DIST_FRAME_NEXT && !x.begins) {
            buf_add(out, x.body);
        } else {
            buf_addf(out, "|%d %llx %llx ", x.kind, (unsigned long long)x.sequence, (unsigned long long)x.number);
            buf_add(out, x.body);
        }
        if (x.kind == DIST_FRAME_NEXT && !x.more) buf_add_str(out, ".");
        if (x.kind == DIST_FRAME_BAD) {
            buf_add_str(out, x.why);
            break;
        }
    }
    dist_frames_fini(&f);
}

static void all_kinds(buf *b) {
    size_t at;
    WIRE(b, "\0\0\0\0");
    at = wire_begin(b), WIRE(b, "\x70\x83h\2a\1"), wire_end(b, at);
    at = wire_begin(b), WIRE(b, "\x83\x44\0"), wire_end(b, at);
    at = wire_begin(b), wire_fragment(b, 69, 0x102030405060708, 3), WIRE(b, "first fragment, of some length"), wire_end(b, at);
    WIRE(b, "\0\0\0\0\0\0\0\0");
    at = wire_begin(b), wire_fragment(b, 70, 0x102030405060708, 2), WIRE(b, "next"), wire_end(b, at);
    at = wire_begin(b), wire_fragment(b, 70, UINT64_MAX, 1), wire_end(b, at);
    at = wire_begin(b), WIRE(b, "\x70"), wire_end(b, at);
    at = wire_begin(b), WIRE(b, "\x83\x44\0 a message with a header, longer than a fragment's numbers"), wire_end(b, at);
}

static void the_same_frames_come_out_wherever_the_stream_is_cut(void **state) {
    (void)state;
    static const char want[] = "|1 0 0 |2 0 0 \x83h\2a\1|3 0 0 \0|4 102030405060708 3 first fragment, of some length|1 0 0 |1 0 0 "
                               "|5 102030405060708 2 next.|5 ffffffffffffffff 1 .|2 0 0 "
                               "|3 0 0 \0 a message with a header, longer than a fragment's numbers";
    buf b, said;
    buf_init(&b, 4096);
    buf_init(&said, 4096);
    all_kinds(&b);
    for (size_t step = 1; step <= b.len; step++) {
        buf_reset(&said);
        story(buf_slice(&b), MAX, step, &said);
        assert_int_equal(said.len, sizeof want - 1);
        assert_memory_equal(said.p, want, said.len);
    }
    buf_fini(&b);
    buf_fini(&said);
}

static void a_frame_that_is_whole_is_a_view_of_the_input_and_costs_no_memory(void **state) {
    (void)state;
    static const uint8_t in[] = {0, 0, 0, 5, 112, 131, 'h', 1, 'j', 0, 0, 0, 0};
    dist_frames f;
    dist_frame x;
    size_t used;
    dist_frames_init(&f, MAX);
    dist_frames_next(&f, slice_of(in, sizeof in), &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_PLAIN);
    assert_int_equal(used, 9);
    assert_ptr_equal(x.body.p, in + 5);
    assert_int_equal(f.kept.cap, 0);
    uint8_t *p;
    assert_false(dist_frames_take(&f, &p));
    dist_frames_fini(&f);
}

static void a_claimed_length_reserves_nothing_and_what_came_costs_at_most_twice(void **state) {
    (void)state;
    dist_frames f;
    dist_frame x;
    size_t used;
    uint8_t head[] = {6, 0, 0, 0, 112, 131}, body[1000] = {0};
    dist_frames_init(&f, MAX);
    dist_frames_next(&f, slice_of(head, sizeof head), &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_NONE);
    assert_int_equal(f.kept.cap, 0);
    for (size_t came = 2; came < 300000; came += sizeof body) {
        dist_frames_next(&f, slice_of(body, sizeof body), &used, &x);
        assert_int_equal(used, sizeof body);
        assert_true(f.kept.cap <= 2 * (came + sizeof body));
    }
    dist_frames_fini(&f);
}

static void the_bytes_of_a_next_fragment_are_handed_on_and_not_kept(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1u << 20);
    size_t at = wire_begin(&b);
    wire_fragment(&b, 70, 7, 1);
    memset(buf_reserve(&b, 100000), 'x', 100000);
    buf_added(&b, 100000);
    wire_end(&b, at);
    dist_frames f;
    dist_frame x;
    size_t used, got = 0;
    dist_frames_init(&f, MAX);
    for (at = 0; at < b.len; at += used) {
        dist_frames_next(&f, slice_sub(buf_slice(&b), at, 1000), &used, &x);
        assert_int_equal(f.kept.cap, 0);
        if (x.kind == DIST_FRAME_NONE) continue;
        assert_int_equal(x.kind, DIST_FRAME_NEXT);
        assert_int_equal(x.begins, got == 0);
        if (x.body.len) assert_true(x.body.p >= b.p && x.body.p + x.body.len <= b.p + b.len);
        got += x.body.len;
        assert_int_equal(x.more, got < 100000);
    }
    assert_int_equal(got, 100000);
    dist_frames_fini(&f);
    buf_fini(&b);
}

static void a_frame_at_the_limit_is_taken_and_one_past_it_is_refused_by_its_length(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 4096);
    size_t at = wire_begin(&b);
    WIRE(&b, "\x70 nine.....");
    wire_end(&b, at);
    dist_frame x;
    size_t used;
    for (uint32_t max = 10; max <= 11; max++)
        for (size_t step = 4; step <= b.len; step++) {
            dist_frames f;
            dist_frames_init(&f, max);
            dist_frames_next(&f, slice_sub(buf_slice(&b), 0, step), &used, &x);
            assert_int_equal(x.kind, max == 10 ? DIST_FRAME_BAD : step == b.len ? DIST_FRAME_PLAIN : DIST_FRAME_NONE);
            if (max == 10) assert_int_equal(x.error, ERR_LIMIT);
            dist_frames_fini(&f);
        }
    buf_fini(&b);
}

static void a_type_that_does_not_exist_is_refused_before_the_rest_has_come(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\5\0\0\0\x71", 5},     {"\0\0\0\1\x83", 5},       {"\5\0\0\0\x83\x43", 6},    {"\5\0\0\0\x83\x47", 6},
               {"\0\0\0\1\0", 5},       {"\0\0\0\x11\x83\x45", 6}, {"\0\0\0\2\x83\x46", 6},    {"\5\0\0\0\x68", 5},
               {"\xff\xff\xff\xff", 4}, {"\0\0\0\3\x83\x50\0", 7}, {"\0\0\0\0\0\0\0\1\x42", 9}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        for (size_t step = 1; step <= bad[i].len; step++) {
            dist_frames f;
            dist_frame x = {0};
            size_t used = 0, at = 0, have = step;
            dist_frames_init(&f, MAX);
            while (x.kind != DIST_FRAME_BAD) {
                dist_frames_next(&f, slice_of(bad[i].bytes + at, have - at), &used, &x);
                at += used;
                if (x.kind == DIST_FRAME_NONE) {
                    assert_true(have < bad[i].len);
                    have = have + step < bad[i].len ? have + step : bad[i].len;
                }
            }
            assert_non_null(x.why);
            const char *why = x.why;
            dist_frames_next(&f, SLICE("\0\0\0\0"), &used, &x); /* nothing is read after it */
            assert_int_equal(x.kind, DIST_FRAME_BAD);
            assert_int_equal(used, 0);
            assert_ptr_equal(x.why, why);
            dist_frames_fini(&f);
        }
}

static void who_takes_the_memory_of_a_frame_keeps_its_body(void **state) {
    (void)state;
    static const char in[] = "\0\0\0\x1e\x70 a frame that comes in two...";
    dist_frames f;
    dist_frame x;
    size_t used;
    uint8_t *p;
    dist_frames_init(&f, MAX);
    dist_frames_next(&f, slice_of(in, 20), &used, &x);
    dist_frames_next(&f, slice_of(in + 20, sizeof in - 1 - 20), &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_PLAIN);
    assert_true(dist_frames_take(&f, &p));
    assert_false(dist_frames_take(&f, &(uint8_t *){NULL}));
    dist_frames_next(&f, SLICE("\0\0\0\0"), &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_TICK);
    dist_frames_fini(&f);
    p[1] = '_';
    mem_free(p);
}

static void between_frames_nothing_is_kept(void **state) {
    (void)state;
    dist_frames f;
    dist_frame x;
    size_t used;
    dist_frames_init(&f, MAX);
    dist_frames_next(&f, SLICE("\0\0\0\x19\x70 twenty-four bytes ...."), &used, &x);
    dist_frames_next(&f, SLICE("."), &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_PLAIN);
    assert_true(f.kept.cap > 0);
    dist_frames_next(&f, SLICE_NULL, &used, &x);
    assert_int_equal(x.kind, DIST_FRAME_NONE);
    assert_int_equal(f.kept.cap, 0);
    dist_frames_fini(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_frames_come_out_wherever_the_stream_is_cut),
        cmocka_unit_test(a_frame_that_is_whole_is_a_view_of_the_input_and_costs_no_memory),
        cmocka_unit_test(a_claimed_length_reserves_nothing_and_what_came_costs_at_most_twice),
        cmocka_unit_test(the_bytes_of_a_next_fragment_are_handed_on_and_not_kept),
        cmocka_unit_test(a_frame_at_the_limit_is_taken_and_one_past_it_is_refused_by_its_length),
        cmocka_unit_test(a_type_that_does_not_exist_is_refused_before_the_rest_has_come),
        cmocka_unit_test(who_takes_the_memory_of_a_frame_keeps_its_body),
        cmocka_unit_test(between_frames_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
