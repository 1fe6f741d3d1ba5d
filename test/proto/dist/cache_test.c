/* cache: headers as OTP writes them, every way to misuse the slots, and both of our ends against each other and a model. */
#include "base/mem.h"
#include "base/prng.h"
#include "proto/dist/cache.h"
#include "support/cmocka_unit.h"
#include "support/dist_wire.h"

#define CAP (512u << 10)

static err apply(dist_cache_in *c, slice in, dist_refs *refs, size_t *out_left) {
    cursor at = cursor_of(in);
    const char *why = NULL;
    err e = dist_cache_in_apply(c, &at, refs, &why);
    if (e) assert_non_null(why);
    if (out_left) *out_left = cursor_left(&at);
    return e;
}
#define APPLY(c, lit, refs) apply(c, slice_of(lit, sizeof(lit) - 1), refs, NULL)

static void assert_text(slice s, const char *want) { assert_true(slice_is(s, want)); }

static void a_header_of_no_references_is_one_byte(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    size_t left;
    dist_cache_in_init(&c, CAP);
    assert_int_equal(apply(&c, SLICE("\0h\1"), &refs, &left), ERR_OK);
    assert_int_equal(refs.n, 0);
    assert_int_equal(left, 2);
    assert_int_equal(c.bytes, 0);
    dist_cache_in_fini(&c);
}

static void a_new_atom_is_there_until_its_slot_gets_another(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    dist_cache_in_init(&c, CAP);
    assert_int_equal(APPLY(&c, "\1\x08\5\4sink", &refs), ERR_OK); /* as erl_ext_dist has it: new, segment 0, index 5 */
    assert_int_equal(refs.n, 1);
    assert_text(refs.atom[0], "sink");
    assert_int_equal(APPLY(&c, "\1\0\5", &refs), ERR_OK);
    assert_text(refs.atom[0], "sink");
    assert_int_equal(APPLY(&c, "\1\x0d\5\3far", &refs), ERR_OK); /* the same index in segment 5 is another slot */
    assert_int_equal(APPLY(&c, "\2\x50\0\5\5", &refs), ERR_OK);
    assert_text(refs.atom[0], "sink");
    assert_text(refs.atom[1], "far");
    assert_int_equal(APPLY(&c, "\1\x08\5\5other", &refs), ERR_OK);
    assert_int_equal(APPLY(&c, "\1\0\5", &refs), ERR_OK);
    assert_text(refs.atom[0], "other");
    dist_cache_in_fini(&c);
}

/* The nibble after the last reference says whether lengths have two bytes: in a byte of its own, or the upper half of the last. */
static void long_atoms_have_two_bytes_of_length(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    dist_cache_in_init(&c, 1u << 20);
    assert_int_equal(APPLY(&c, "\1\x18\0\0\3one", &refs), ERR_OK);
    assert_text(refs.atom[0], "one");
    assert_int_equal(APPLY(&c, "\2\x88\1\0\0\3one\1\0\3two", &refs), ERR_OK);
    assert_text(refs.atom[1], "two");
    for (size_t chars = 254; chars <= 256; chars++) { /* three bytes each */
        buf b;
        buf_init(&b, 4096);
        WIRE(&b, "\1\x18\7");
        buf_add_u16be(&b, (uint16_t)(3 * chars));
        for (size_t i = 0; i < chars; i++) WIRE(&b, "\xe2\x82\xac");
        assert_int_equal(apply(&c, buf_slice(&b), &refs, NULL), chars <= 255 ? ERR_OK : ERR_PROTO);
        if (chars <= 255) assert_int_equal(refs.atom[0].len, 3 * chars);
        buf_fini(&b);
    }
    dist_cache_in_fini(&c);
}

static void what_is_no_atom_or_no_slot_or_cut_short_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"", 0},
               {"\1", 1},
               {"\1\0", 2},
               {"\1\0\5", 3},
               {"\1\x07\5", 3},
               {"\1\x08\5", 3},
               {"\1\x08\5\4sin", 7},
               {"\1\x18\5\0", 4},
               {"\1\x18\5\xff\xff", 5},
               {"\1\x08\5\1\xff", 5},
               {"\1\x08\5\2\xc0\x80", 6},
               {"\1\x08\5\3\xed\xa0\x80", 7},
               {"\xff", 1},
               {"\2\x08\0\5\1x", 6},
               {"\2\x08\0\5\1x\6", 7}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        dist_cache_in c;
        dist_refs refs;
        dist_cache_in_init(&c, CAP);
        assert_int_equal(apply(&c, slice_of(bad[i].bytes, bad[i].len), &refs, NULL), ERR_PROTO);
        assert_int_equal(refs.n, 0);
        dist_cache_in_fini(&c);
    }
}

static void a_slot_may_be_named_and_then_replaced_in_one_header(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    dist_cache_in_init(&c, CAP);
    assert_int_equal(APPLY(&c, "\1\x08\5\3old", &refs), ERR_OK);
    assert_int_equal(APPLY(&c, "\3\x80\0\5\5\3new\5", &refs), ERR_OK);
    assert_text(refs.atom[0], "old");
    assert_text(refs.atom[1], "new");
    assert_text(refs.atom[2], "new");
    dist_cache_in_fini(&c);
}

static void atoms_that_are_held_outlive_their_slots(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs, again;
    dist_atom *held[2];
    dist_cache_in_init(&c, CAP);
    assert_int_equal(APPLY(&c, "\2\x88\0\5\3abc\6\1d", &refs), ERR_OK);
    dist_cache_in_hold(&refs, held);
    size_t before = c.bytes;
    for (int i = 0; i < 3; i++) assert_int_equal(APPLY(&c, "\2\x88\0\5\3xyz\6\1w", &refs), ERR_OK);
    assert_true(c.bytes > before); /* what is held counts */
    dist_cache_in_held(held, 2, &again);
    assert_int_equal(again.n, 2);
    assert_text(again.atom[0], "abc");
    assert_text(again.atom[1], "d");
    dist_cache_in_release(&c, held, 2);
    assert_int_equal(APPLY(&c, "\0", &refs), ERR_OK);
    assert_int_equal(c.bytes, before);
    dist_cache_in_fini(&c);
}

/* A few hundred bytes for a few atoms, whatever slots of the 2048 the peer takes. */
static void memory_is_what_the_slots_in_use_take_and_stops_at_the_limit(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    uint8_t in[] = {1, 8, 0, 1, 'a'};
    unsigned slot = 0;
    dist_cache_in_init(&c, 1000);
    assert_int_equal(c.bytes, 0);
    for (; slot < 6; slot++) {
        in[1] = (uint8_t)(8 | slot);
        in[2] = (uint8_t)(slot * 40);
        assert_int_equal(apply(&c, slice_of(in, sizeof in), &refs, NULL), ERR_OK);
    }
    assert_in_range(c.bytes, 6 * 25, 6 * 40 + 80);
    err e = ERR_OK;
    for (in[1] = 8, in[2] = 100; !e && in[2] < 200; in[2]++) e = apply(&c, slice_of(in, sizeof in), &refs, NULL);
    assert_int_equal(e, ERR_LIMIT);
    assert_in_range(c.bytes, 500, 1000);
    dist_cache_in_fini(&c);
    assert_int_equal(c.bytes, 0);
}

/* Every slot has its own atom, however many there are, and one that is replaced gives way at its own place. */
static void all_slots_are_told_from_each_other(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    dist_cache_in_init(&c, CAP);
    for (unsigned turn = 0; turn < 2; turn++)
        for (unsigned i = 0; i < DIST_CACHE_SLOTS; i++) {
            unsigned slot = i * 1181 % DIST_CACHE_SLOTS; /* in another order */
            uint8_t in[] = {1,
                            (uint8_t)(8 | slot >> 8),
                            (uint8_t)slot,
                            3,
                            (uint8_t)('a' + turn),
                            (uint8_t)('A' + slot / 64),
                            (uint8_t)('0' + slot % 64)};
            assert_int_equal(apply(&c, slice_of(in, sizeof in), &refs, NULL), ERR_OK);
        }
    for (unsigned slot = 0; slot < DIST_CACHE_SLOTS; slot++) {
        const uint8_t in[] = {1, (uint8_t)(slot >> 8), (uint8_t)slot},
                      text[] = {'b', (uint8_t)('A' + slot / 64), (uint8_t)('0' + slot % 64)};
        assert_int_equal(apply(&c, slice_of(in, sizeof in), &refs, NULL), ERR_OK);
        assert_true(slice_eq(refs.atom[0], slice_of(text, sizeof text)));
    }
    dist_cache_in_fini(&c);
    assert_int_equal(c.bytes, 0);
}

/* What thousands of peers say is mostly the same. */
static void connections_share_texts_and_the_last_one_frees_them(void **state) {
    (void)state;
    const hash_key key = {1, 2};
    dist_atoms all;
    dist_cache_in a, b;
    dist_refs ra, rb;
    dist_atom *held[1];
    dist_atoms_init(&all, &key);
    dist_cache_in_init(&a, CAP);
    dist_cache_in_init(&b, CAP);
    dist_cache_in_share(&a, &all);
    dist_cache_in_share(&b, &all);
    assert_int_equal(APPLY(&a, "\1\x08\5\3abc", &ra), ERR_OK);
    assert_int_equal(APPLY(&b, "\1\x0b\7\3abc", &rb), ERR_OK);
    assert_ptr_equal(ra.atom[0].p, rb.atom[0].p);
    assert_int_equal(a.bytes, b.bytes);
    assert_int_equal(APPLY(&a, "\1\x08\5\3xyz", &ra), ERR_OK);
    assert_true(slice_is(rb.atom[0], "abc")); /* b still has it */
    assert_int_equal(APPLY(&b, "\1\3\7", &rb), ERR_OK);
    assert_true(slice_is(rb.atom[0], "abc"));
    dist_cache_in_hold(&rb, held);
    dist_cache_in_fini(&a);
    assert_int_equal(APPLY(&b, "\1\x0b\7\3xyz", &rb), ERR_OK);
    assert_int_equal(APPLY(&b, "\0", &rb), ERR_OK);
    assert_int_equal(all.by_text.count, 2); /* a message holds the one, a slot has the other */
    dist_cache_in_release(&b, held, 1);
    assert_int_equal(all.by_text.count, 1);
    dist_cache_in_fini(&b);
    assert_int_equal(all.by_text.count, 0);
    dist_atoms_fini(&all);
}

/* 2048 slots of names as long as a legal one of ASCII: 255 bytes each pass 512 KiB; names of 200 bytes do not. */
static void the_default_limit_has_room_for_long_names_in_all_slots(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    uint8_t in[4 + 200] = {1, 8, 0, 200};
    memset(in + 4, 'n', 200);
    dist_cache_in_init(&c, CAP);
    for (unsigned slot = 0; slot < DIST_CACHE_SEGMENTS * DIST_CACHE_SEGMENT; slot++) {
        in[1] = (uint8_t)(8 | slot >> 8);
        in[2] = (uint8_t)slot;
        assert_int_equal(apply(&c, slice_of(in, sizeof in), &refs, NULL), ERR_OK);
    }
    dist_cache_in_fini(&c);
}

static void five_million_different_atoms_leave_no_more_than_the_slots_hold(void **state) {
    (void)state;
    dist_cache_in c;
    dist_refs refs;
    dist_cache_in_init(&c, CAP);
    uint8_t in[12] = {1, 8, 0, 8};
    for (uint32_t i = 0; i < 5000000; i++) {
        in[1] = (uint8_t)(8 | (i >> 8 & 7));
        in[2] = (uint8_t)i;
        for (unsigned k = 0; k < 8; k++) in[4 + k] = (uint8_t)('a' + (i >> (4 * k) & 15));
        assert_int_equal(apply(&c, slice_of(in, sizeof in), &refs, NULL), ERR_OK);
        assert_true(c.bytes <= 10 * 4096 + 2049 * 32);
    }
    dist_cache_in_fini(&c);
}

/* --- sending */

static slice text_no(uint8_t *room, unsigned i, unsigned len) {
    for (unsigned k = 0; k < len; k++) room[k] = (uint8_t)('a' + (i >> (k % 8 * 4) & 15));
    return slice_of(room, len);
}

static void an_atom_is_new_once_and_a_reference_after(void **state) {
    (void)state;
    dist_cache_out o;
    dist_head h;
    uint8_t ref, out[64];
    dist_cache_out_init(&o, NULL, 0);
    assert_null(o.slots);
    dist_head_begin(&h, &o);
    assert_int_equal(dist_head_size(&h), 1);
    assert_true(dist_head_ref(&h, SLICE("sink"), &ref));
    assert_int_equal(ref, 0);
    assert_true(dist_head_ref(&h, SLICE("sink"), &ref));
    assert_int_equal(ref, 0);
    assert_int_equal(dist_head_size(&h), 1 + 1 + 2 + 4);
    dist_head_write(&h, out);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[1], 8);
    assert_memory_equal(out + 3, "\4sink", 5);
    uint8_t slot = out[2];
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("sink"), &ref));
    assert_int_equal(dist_head_size(&h), 3);
    dist_head_write(&h, out);
    assert_memory_equal(out, ((uint8_t[]){1, 0, slot}), 3);
    dist_cache_out_fini(&o);
    assert_null(o.slots);
}

static void hot_atoms_keep_their_slots_whatever_else_is_sent(void **state) {
    (void)state;
    static const slice hot[] = {{(const uint8_t *)"own@node.with.a.long.name.that.no.other.slot.takes", 50},
                                {(const uint8_t *)"$gen_call", 9}};
    dist_cache_out o;
    dist_head h;
    uint8_t ref, room[16], out[4096];
    unsigned cached = 0;
    dist_cache_out_init(&o, hot, 2);
    dist_head_begin(&h, &o);
    for (unsigned i = 0; i < 2; i++) assert_true(dist_head_ref(&h, hot[i], &ref));
    for (unsigned round = 0; round < 20; round++) {
        dist_head_begin(&h, &o);
        for (unsigned i = 0; i < 100; i++) cached += dist_head_ref(&h, text_no(room, round * 100 + i, 9), &ref);
    }
    assert_true(cached > 1000);
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("$gen_call"), &ref)); /* also where the caller's slice is another */
    assert_true(dist_head_ref(&h, hot[0], &ref));
    dist_head_write(&h, out);
    assert_memory_equal(out, "\2\0\0\1\0", 5);
    dist_cache_out_fini(&o);
}

static void what_was_not_sent_is_new_again(void **state) {
    (void)state;
    dist_cache_out o;
    dist_head h;
    uint8_t ref;
    dist_cache_out_init(&o, NULL, 0);
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("kept"), &ref));
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("kept"), &ref));
    assert_true(dist_head_ref(&h, SLICE("lost"), &ref));
    dist_head_abort(&h);
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("kept"), &ref));
    assert_int_equal(dist_head_size(&h), 3);
    assert_true(dist_head_ref(&h, SLICE("lost"), &ref));
    assert_int_equal(dist_head_size(&h), 1 + 2 + 2 + 1 + 4);
    dist_cache_out_fini(&o);
}

/* A connection that says little costs neither end a cache: no slots here, no references there. */
static void a_cache_that_rests_has_no_slots(void **state) {
    (void)state;
    static const slice hot[] = {{(const uint8_t *)"a@b", 3}};
    dist_cache_out o;
    dist_head h;
    uint8_t ref, out[8];
    dist_cache_out_init(&o, hot, 1);
    o.rest = 2;
    for (int i = 0; i < 2; i++) {
        dist_head_begin(&h, &o);
        assert_false(dist_head_ref(&h, SLICE("a@b"), &ref));
        assert_false(dist_head_ref(&h, SLICE("sink"), &ref));
        assert_int_equal(dist_head_size(&h), 1);
        dist_head_write(&h, out);
        assert_int_equal(out[0], 0);
        assert_null(o.slots);
    }
    dist_head_begin(&h, &o);
    assert_true(dist_head_ref(&h, SLICE("a@b"), &ref));
    assert_true(dist_head_ref(&h, SLICE("sink"), &ref));
    assert_int_equal(h.n, 2);
    dist_cache_out_fini(&o);
}

static void an_atom_that_is_empty_or_long_or_has_no_slot_free_is_written_in_full(void **state) {
    (void)state;
    dist_cache_out o;
    dist_head h;
    uint8_t ref, room[40];
    unsigned cached = 0;
    dist_cache_out_init(&o, NULL, 0);
    dist_head_begin(&h, &o);
    assert_false(dist_head_ref(&h, SLICE(""), &ref));
    assert_false(dist_head_ref(&h, text_no(room, 1, DIST_WARM_TEXT + 1), &ref));
    assert_true(dist_head_ref(&h, text_no(room, 1, DIST_WARM_TEXT), &ref));
    for (unsigned i = 0; i < 1000; i++) cached += dist_head_ref(&h, text_no(room, i, 10), &ref);
    assert_in_range(cached, 64, DIST_WARM); /* no slot twice in a header */
    assert_int_equal(h.n, cached + 1);
    dist_cache_out_fini(&o);
}

/* Random messages of random atoms, some of them given up: what the receiver sees is what the sender meant. */
static void both_ends_agree_on_every_reference(void **state) {
    (void)state;
    static const slice hot[] = {{(const uint8_t *)"a@b", 3}, {(const uint8_t *)"alias", 5}};
    prng rng;
    prng_init(&rng, 20261123);
    dist_cache_out o;
    dist_cache_in c;
    dist_cache_out_init(&o, hot, 2);
    dist_cache_in_init(&c, CAP);
    unsigned references = 0;
    for (unsigned m = 0; m < 20000; m++) {
        dist_head h;
        dist_refs refs;
        uint8_t room[DIST_OUT_SLOTS + 200][40], ref, out[8192];
        slice want[DIST_REFS_MAX];
        dist_head_begin(&h, &o);
        unsigned atoms = (unsigned)prng_below(&rng, m % 100 ? 12 : 300);
        for (unsigned i = 0; i < atoms; i++) {
            slice text = prng_chance(&rng, 1, 4) ? hot[prng_below(&rng, 2)]
                                                 : text_no(room[i], (unsigned)prng_below(&rng, 400), 1 + (unsigned)prng_below(&rng, 34));
            if (dist_head_ref(&h, text, &ref)) want[ref] = text;
        }
        if (prng_chance(&rng, 1, 10)) {
            dist_head_abort(&h);
            continue;
        }
        size_t size = dist_head_size(&h);
        assert_true(size <= sizeof out);
        dist_head_write(&h, out);
        size_t left;
        assert_int_equal(apply(&c, slice_of(out, size), &refs, &left), ERR_OK);
        assert_int_equal(left, 0);
        assert_int_equal(refs.n, h.n);
        for (size_t i = 0; i < refs.n; i++) assert_true(slice_eq(refs.atom[i], want[i]));
        references += h.n;
    }
    assert_true(references > 50000);
    dist_cache_out_fini(&o);
    dist_cache_in_fini(&c);
}

/* One of each thing that can stand in a term, atoms in it wherever they may be. */
static void a_term_that_is_rewritten_means_the_same(void **state) {
    (void)state;
    buf term, out, back;
    buf_init(&term, 8192);
    buf_init(&out, 8192);
    buf_init(&back, 8192);
    etf_put_tuple(&term, 12);
    etf_put_atom(&term, SLICE("put"));
    wire_pid(&term, "a@b", 1, 2, 3);
    wire_ref(&term, "a@b", 4, 5);
    WIRE(&term, "\x59w\3a@b\0\0\0\1\0\0\0\2");             /* port */
    WIRE(&term, "\x78w\3a@b\0\0\0\0\0\0\0\1\0\0\0\2");     /* port with a long id */
    WIRE(&term, "\x65w\3a@b\0\0\0\1\2");                   /* the oldest reference */
    WIRE(&term, "q\x77\3modw\3fooa\2");                    /* fun mod:foo/2 */
    WIRE(&term, "t\0\0\0\1w\1kl\0\0\0\1w\1vw\4tail");      /* #{k => [v|tail]} */
    WIRE(&term, "\x43\0\0\0\1\0w\3modw\3recw\1fk\0\3put"); /* a native record; its value is a string */
    size_t fun = term.len + 1;                             /* a fun: its size counts itself and all that follows */
    WIRE(&term, "p\0\0\0\0\0"
                "0123456789abcdef"
                "\0\0\0\1\0\0\0\1w\3moda\1a\2Xw\3a@b\0\0\0\1\0\0\0\2\0\0\0\3w\3put");
    term.p[fun + 3] = (uint8_t)(term.len - fun);
    etf_put_float(&term, 1.5);
    etf_put_binary(&term, SLICE("w\3put"));
    etf_reader check = etf_reader_of(buf_slice(&term));
    assert_true(etf_skip(&check, NULL));
    assert_int_equal(cursor_left(&check.in), 0);
    dist_cache_out o;
    dist_cache_in c;
    dist_cache_out_init(&o, NULL, 0);
    dist_cache_in_init(&c, CAP);
    for (unsigned round = 0; round < 2; round++) {
        dist_head h;
        dist_refs refs;
        uint8_t header[256];
        buf_reset(&out);
        buf_reset(&back);
        dist_head_begin(&h, &o);
        dist_pen pen = {&out, &h};
        assert_int_equal(dist_put_term(&pen, buf_slice(&term)), ERR_OK);
        assert_true(out.len < term.len - 20);
        dist_head_write(&h, header);
        assert_int_equal(apply(&c, slice_of(header, dist_head_size(&h)), &refs, NULL), ERR_OK);
        etf_atoms atoms = dist_refs_atoms(&refs);
        etf_reader r = {.in = cursor_of(buf_slice(&out)), .atoms = &atoms};
        buf plain;
        buf_init(&plain, 8192);
        etf_reader whole = etf_reader_of(buf_slice(&term));
        assert_true(etf_copy(&r, &back));
        assert_int_equal(cursor_left(&r.in), 0);
        assert_true(etf_copy(&whole, &plain));
        assert_true(slice_eq(buf_slice(&back), buf_slice(&plain)));
        buf_fini(&plain);
    }
    etf_put_nil(&term); /* and a term too many is none */
    for (size_t cut = 0; cut <= term.len; cut++) {
        if (cut == term.len - 1) continue;
        dist_head h;
        buf_reset(&out);
        dist_head_begin(&h, &o);
        assert_int_equal(dist_put_term(&(dist_pen){&out, &h}, slice_sub(buf_slice(&term), 0, cut)), ERR_INVALID);
    }
    dist_cache_out_fini(&o);
    dist_cache_in_fini(&c);
    buf_fini(&term);
    buf_fini(&out);
    buf_fini(&back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_of_no_references_is_one_byte),
        cmocka_unit_test(a_new_atom_is_there_until_its_slot_gets_another),
        cmocka_unit_test(long_atoms_have_two_bytes_of_length),
        cmocka_unit_test(what_is_no_atom_or_no_slot_or_cut_short_is_refused),
        cmocka_unit_test(a_slot_may_be_named_and_then_replaced_in_one_header),
        cmocka_unit_test(atoms_that_are_held_outlive_their_slots),
        cmocka_unit_test(memory_is_what_the_slots_in_use_take_and_stops_at_the_limit),
        cmocka_unit_test(all_slots_are_told_from_each_other),
        cmocka_unit_test(connections_share_texts_and_the_last_one_frees_them),
        cmocka_unit_test(the_default_limit_has_room_for_long_names_in_all_slots),
        cmocka_unit_test(five_million_different_atoms_leave_no_more_than_the_slots_hold),
        cmocka_unit_test(an_atom_is_new_once_and_a_reference_after),
        cmocka_unit_test(hot_atoms_keep_their_slots_whatever_else_is_sent),
        cmocka_unit_test(what_was_not_sent_is_new_again),
        cmocka_unit_test(a_cache_that_rests_has_no_slots),
        cmocka_unit_test(an_atom_that_is_empty_or_long_or_has_no_slot_free_is_written_in_full),
        cmocka_unit_test(both_ends_agree_on_every_reference),
        cmocka_unit_test(a_term_that_is_rewritten_means_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
