/* frame_in, frame_out: frames laid out as OTP 25 lays them out, put together by hand; both of our ends against each other with random
 * signals, cache and fragments on, cut anywhere; and what hostile bytes cost. */
#include "base/mem.h"
#include "base/prng.h"
#include "proto/dist/frame_in.h"
#include "proto/dist/frame_out.h"
#include "support/cmocka_unit.h"
#include "support/dist_wire.h"
#include "support/heap.h"

#define US        "b@127.0.0.1"
#define PEER      "a@127.0.0.1"
#define PLAIN     (~(DIST_FLAG(DIST_HDR_ATOM_CACHE) | DIST_FLAG(FRAGMENTS)))
#define HEADERS   (~DIST_FLAG(FRAGMENTS))
#define FRAGMENTS (~UINT64_C(0))

static const dist_in_cfg CFG = {
    DIST_FRAME_MAX, DIST_CACHE_MAX, {DIST_FRAGMENTS_OPEN_MAX, DIST_FRAGMENTS_EACH_MAX, DIST_FRAGMENTS_BYTES_MAX, {3, 4}, 0}};
static const slice HOT[] = {{(const uint8_t *)PEER, sizeof PEER - 1},
                            {(const uint8_t *)US, sizeof US - 1},
                            {(const uint8_t *)"$gen_call", 9},
                            {(const uint8_t *)"alias", 5}};

/* Messages that are not whole. */
static size_t open_in(const dist_in *in) { return in->fragments ? dist_fragments_open(in->fragments) : 0; }

/* The next event that is not a part; NONE where the bytes end. */
static dist_in_event pull(dist_in *in, slice bytes, size_t *at, dist_refs *refs) {
    dist_in_event e;
    do {
        size_t used;
        dist_in_next(in, slice_from(bytes, *at), refs, &used, &e);
        *at += used;
    } while (e.kind == DIST_IN_PART);
    return e;
}

/* --- frames as OTP 25 sends them */

/* {6, <peer.85.0>, '', shard_srv} + {put, N}, first with all of its atoms new, then with references. */
static void wire_reg_send(buf *b, bool is_new, uint8_t number) {
    size_t at = wire_begin(b);
    if (is_new)
        WIRE(b, "\x83\x44\4\x8f\x9d\0\x7a\x0b" PEER "\5\0\xa5\x09shard_srv\xb9\3put");
    else
        WIRE(b, "\x83\x44\4\7\x15\0\x7a\5\xa5\xb9");
    WIRE(b, "h\4a\6XR\0\0\0\0\x55\0\0\0\0k\4\xa4~R\1R\2h\2R\3a");
    buf_add_byte(b, number);
    wire_end(b, at);
}

static void assert_reg_send(const dist_in_event *e, uint8_t number) {
    dist_ctl c;
    const char *why;
    int64_t n = 0;
    uint32_t arity;
    slice verb = SLICE_NULL;
    assert_int_equal(e->kind, DIST_IN_MESSAGE);
    assert_int_equal(dist_ctl_read(&e->message, NULL, &c, &why), ERR_OK);
    assert_int_equal(c.op, DIST_OP_REG_SEND);
    assert_true(slice_is(c.from.pid.node, PEER));
    assert_true(slice_is(c.to.name, "shard_srv"));
    etf_reader r = dist_message_reader(&e->message, c.payload, NULL);
    assert_true(etf_get_tuple(&r, &arity) && etf_get_atom(&r, &verb) && etf_get_int(&r, &n));
    assert_true(slice_is(verb, "put"));
    assert_int_equal(n, number);
}

static void frames_with_headers_are_read_as_otp_writes_them(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 4096);
    wire_reg_send(&b, true, 1);
    WIRE(&b, "\0\0\0\0");
    wire_reg_send(&b, false, 2);
    for (size_t step = 1; step <= b.len; step++) {
        dist_in in;
        dist_refs refs;
        size_t at = 0, have = 0;
        unsigned seen = 0;
        dist_in_init(&in, &CFG, FRAGMENTS);
        while (seen < 3) {
            dist_in_event e = pull(&in, slice_sub(buf_slice(&b), 0, have), &at, &refs);
            if (e.kind == DIST_IN_NONE) {
                assert_true(have < b.len);
                have = have + step < b.len ? have + step : b.len;
                continue;
            }
            if (++seen == 2)
                assert_int_equal(e.kind, DIST_IN_TICK);
            else
                assert_reg_send(&e, seen == 1 ? 1 : 2);
        }
        dist_in_fini(&in);
    }
    buf_fini(&b);
}

/* A binary of 20 bytes in three fragments of one message; another message, and one in fragments of its own, between them. */
static void fragments_are_read_as_otp_writes_them(void **state) {
    (void)state;
    buf b;
    size_t at;
    buf_init(&b, 4096);
    wire_reg_send(&b, true, 1);
    at = wire_begin(&b), wire_fragment(&b, 69, 0x2d000000055, 3), WIRE(&b, "\3\7\5\x7a\5\xa5");
    WIRE(&b, "h\4a\6XR\0\0\0\0\x55\0\0\0\0k\4\xa4~R\1R\2m\0\0\0\x14"
             "01234"),
        wire_end(&b, at);
    at = wire_begin(&b), wire_fragment(&b, 70, 0x2d000000055, 2), WIRE(&b, "56789"), wire_end(&b, at);
    at = wire_begin(&b), WIRE(&b, "\x83\x44\1\x0d\xa5\5other"); /* the slot of shard_srv gets another name meanwhile */
    WIRE(&b, "h\3a\1X"), WIRE(&b, "w\1x\0\0\0\1\0\0\0\0\0\0\0\1Xw\1y\0\0\0\1\0\0\0\0\0\0\0\1"), wire_end(&b, at);
    at = wire_begin(&b), wire_fragment(&b, 69, 7, 2), WIRE(&b, "\0h\1a\5"), wire_end(&b, at);
    at = wire_begin(&b), wire_fragment(&b, 70, 0x2d000000055, 1), WIRE(&b, "abcdefghij"), wire_end(&b, at);
    for (size_t step = 1; step <= b.len; step++) {
        dist_in in;
        dist_refs refs;
        dist_ctl c;
        const char *why;
        unsigned seen = 0;
        size_t used_to = 0, have = 0;
        dist_in_init(&in, &CFG, FRAGMENTS);
        while (seen < 3) {
            dist_in_event e = pull(&in, slice_sub(buf_slice(&b), 0, have), &used_to, &refs);
            if (e.kind == DIST_IN_NONE) {
                assert_true(have < b.len);
                have = have + step < b.len ? have + step : b.len;
                continue;
            }
            assert_int_equal(e.kind, DIST_IN_MESSAGE);
            assert_int_equal(dist_ctl_read(&e.message, NULL, &c, &why), ERR_OK);
            assert_int_equal(c.op, ++seen == 2 ? DIST_OP_LINK : DIST_OP_REG_SEND);
        }
        assert_true(slice_is(c.to.name, "shard_srv"));
        assert_true(slice_is(slice_from(c.payload, 5), "0123456789abcdefghij"));
        assert_int_equal(open_in(&in), 1);
        dist_in_fini(&in);
    }
    buf_fini(&b);
}

static void what_was_not_agreed_is_refused(void **state) {
    (void)state;
    static const uint64_t agreed[] = {PLAIN, HEADERS, FRAGMENTS};
    static const char *const frames[] = {"\0\0\0\6\x70\x83h\1a\5", "\0\0\0\7\x83\x44\0h\1a\5",
                                         "\0\0\0\x17\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0h\1a\5"};
    static const size_t len[] = {10, 11, 27};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++) {
            dist_in in;
            dist_refs refs;
            dist_in_event e;
            size_t used;
            dist_in_init(&in, &CFG, agreed[i]);
            dist_in_next(&in, slice_of(frames[k], len[k]), &refs, &used, &e);
            bool ok = i == 0 ? k == 0 : k > 0 && k <= i;
            assert_int_equal(e.kind, ok ? DIST_IN_MESSAGE : DIST_IN_BAD);
            if (!ok) {
                dist_in_next(&in, SLICE("\0\0\0\0"), &refs, &used, &e);
                assert_int_equal(e.kind, DIST_IN_BAD); /* and nothing is read after it */
                assert_int_equal(e.error, ERR_PROTO);
                assert_int_equal(used, 0);
            }
            dist_in_fini(&in);
        }
}

/* --- both ends */

static slice random_atom(prng *rng, uint8_t *room) {
    static const char *const words[] = {"put", "get", "shard_srv", "$gen_call", "alias", PEER, "undefined", "\xc3\xa9", ""};
    if (prng_chance(rng, 2, 3)) return slice_str(words[prng_below(rng, ARRAY_LEN(words))]);
    size_t n = 1 + prng_below(rng, 40);
    for (size_t i = 0; i < n; i++) room[i] = (uint8_t)('a' + prng_below(rng, 3));
    return slice_of(room, n);
}
static etf_pid random_pid(prng *rng, const char *node) {
    return (etf_pid){slice_str(node), (uint32_t)prng_below(rng, 100), (uint32_t)prng_below(rng, 3), (uint32_t)prng_next(rng)};
}
static etf_ref random_ref(prng *rng, const char *node) {
    etf_ref r = {slice_str(node), (uint32_t)prng_next(rng), 1 + (uint32_t)prng_below(rng, ETF_REF_WORDS), {0}};
    for (uint32_t i = 0; i < r.n; i++) r.word[i] = (uint32_t)prng_next(rng);
    return r;
}

static void random_term(prng *rng, buf *out, unsigned depth) {
    uint8_t room[64];
    unsigned n = 1 + (unsigned)prng_below(rng, 4);
    etf_pid pid = random_pid(rng, US);
    etf_ref ref = random_ref(rng, PEER);
    switch (prng_below(rng, depth ? 8 : 5)) {
    case 0: etf_put_int(out, (int64_t)prng_next(rng) >> prng_below(rng, 64)); break;
    case 1: etf_put_binary(out, slice_of(room, 0)); break;
    case 2: etf_put_pid(out, &pid); break;
    case 3: etf_put_ref(out, &ref); break;
    case 4: etf_put_atom(out, random_atom(rng, room)); break;
    case 5:
        etf_put_tuple(out, n);
        for (unsigned i = 0; i < n; i++) random_term(rng, out, depth - 1);
        break;
    case 6:
        etf_put_list(out, n);
        for (unsigned i = 0; i < n; i++) random_term(rng, out, depth - 1);
        random_term(rng, out, depth - 1); /* mostly improper, as aliases are */
        break;
    default:
        etf_put_map(out, n);
        for (unsigned i = 0; i < n; i++) {
            etf_put_int(out, i);
            random_term(rng, out, depth - 1);
        }
        break;
    }
}

/* Mostly short; some in a few fragments, or just around the size of one. */
static void random_payload(prng *rng, buf *out, uint32_t id) {
    static const size_t sizes[] = {4000, 5000, 65529, 65530, 65531, 131059, 131060, 131061, 300000};
    etf_put_tuple(out, 2);
    etf_put_int(out, id);
    if (prng_chance(rng, 9, 10)) {
        random_term(rng, out, 4);
        return;
    }
    size_t n = sizes[prng_below(rng, ARRAY_LEN(sizes))];
    uint8_t *p = mem_alloc(n);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(i + id);
    etf_put_binary(out, slice_of(p, n));
    mem_free(p);
}

static dist_ctl random_ctl(prng *rng, slice payload, slice token) {
    static const dist_signal signals[] = {DIST_SIG_SEND,  DIST_SIG_SEND, DIST_SIG_SEND, DIST_SIG_EXIT,
                                          DIST_SIG_EXIT2, DIST_SIG_DOWN, DIST_SIG_SPAWN};
    dist_ctl c = {.signal = signals[prng_below(rng, ARRAY_LEN(signals))]};
    c.from = (dist_addr){.kind = DIST_ADDR_PID, .pid = random_pid(rng, PEER)};
    c.to = (dist_addr){.kind = DIST_ADDR_PID, .pid = random_pid(rng, US)};
    if (prng_chance(rng, 1, 4) && c.signal != DIST_SIG_DOWN) c.token = token;
    bool reason = c.signal == DIST_SIG_EXIT || c.signal == DIST_SIG_EXIT2 || c.signal == DIST_SIG_DOWN;
    *(reason ? &c.reason : &c.payload) = payload;
    if (c.signal == DIST_SIG_SEND && prng_chance(rng, 1, 3)) c.to = (dist_addr){.kind = DIST_ADDR_NAME, .name = SLICE("shard_srv")};
    if (c.signal == DIST_SIG_SEND && prng_chance(rng, 1, 4)) c.to = (dist_addr){.kind = DIST_ADDR_ALIAS, .alias = random_ref(rng, US)};
    c.priority = (c.signal == DIST_SIG_SEND || c.signal == DIST_SIG_EXIT2) && prng_chance(rng, 1, 5);
    if (c.signal == DIST_SIG_DOWN) c.ref = random_ref(rng, US);
    if (c.signal == DIST_SIG_SPAWN) {
        c.to.kind = DIST_ADDR_NONE;
        c.ref = random_ref(rng, PEER);
        c.leader = random_pid(rng, PEER);
        c.module = SLICE("erlang");
        c.function = SLICE("node");
        c.options = SLICE("l\0\0\0\1w\4linkj");
    }
    return c;
}

/* A message that is under way, and what the receiver has to see of it. */
typedef struct flight {
    bool used;
    uint32_t id;
    buf payload;
    buf control; /* without a cache */
    dist_split split;
} flight;
#define SENDERS 6

typedef struct link_bed {
    uint64_t agreed;
    dist_out out;
    dist_in in;
    dist_refs refs;
    flight f[SENDERS];
    buf stream;
    size_t read;
    unsigned arrived, fragments;
} link_bed;

static void begin(link_bed *l, prng *rng, flight *f, uint32_t id, buf *token) {
    slice rest;
    f->used = true;
    f->id = id;
    buf_reset(&f->payload);
    buf_reset(&f->control);
    random_payload(rng, &f->payload, id);
    dist_ctl c = random_ctl(rng, buf_slice(&f->payload), buf_slice(token));
    dist_op op;
    l->out.rewrite_max = prng_chance(rng, 1, 2) ? DIST_SHORT : 0;
    assert_int_equal(dist_ctl_choose(&c, l->agreed, &op), ERR_OK);
    assert_int_equal(dist_ctl_write(&c, op, l->agreed, &(dist_pen){&f->control, NULL}), ERR_OK);
    assert_int_equal(dist_out_signal(&l->out, &c, (uint64_t)(f - l->f) << 40, &l->stream, &rest, &f->split), ERR_OK);
    buf_add(&l->stream, rest);
}

static void receive(link_bed *l, const dist_in_event *e) {
    dist_ctl c;
    const char *why;
    int64_t id = -1;
    uint32_t n;
    buf got;
    buf_init(&got, 1u << 20);
    assert_int_equal(dist_ctl_read(&e->message, NULL, &c, &why), ERR_OK);
    assert_null(dist_ctl_forged(&c, SLICE(US), SLICE(PEER)));
    slice payload = dist_ctl_payload(&c, (dist_op)c.op);
    assert_true(dist_ctl_payload_is_term(&e->message, &c, NULL));
    etf_reader r = dist_message_reader(&e->message, payload, NULL);
    assert_true(etf_get_tuple(&r, &n) && etf_get_int(&r, &id));
    flight *f = l->f;
    while (f < l->f + SENDERS && !(f->used && f->id == id)) f++;
    assert_true(f < l->f + SENDERS);
    assert_true(f->split.left == 0);
    etf_reader control = dist_message_reader(&e->message, slice_from(e->message.body, e->message.versions), NULL);
    assert_true(etf_copy(&control, &got));
    assert_true(slice_eq(buf_slice(&got), buf_slice(&f->control)));
    buf_reset(&got);
    r = dist_message_reader(&e->message, payload, NULL);
    assert_true(etf_copy(&r, &got));
    assert_true(slice_eq(buf_slice(&got), buf_slice(&f->payload)));
    f->used = false;
    l->arrived++;
    buf_fini(&got);
}

/* Reads a random part of what was written and not read yet, or all. */
static void drain(link_bed *l, prng *rng, bool all) {
    size_t end = all ? l->stream.len : l->read + prng_below(rng, l->stream.len - l->read + 1);
    for (;;) {
        dist_in_event e = pull(&l->in, slice_sub(buf_slice(&l->stream), 0, end), &l->read, &l->refs);
        if (e.kind == DIST_IN_NONE) break;
        if (e.kind == DIST_IN_TICK) continue;
        assert_int_equal(e.kind, DIST_IN_MESSAGE);
        receive(l, &e);
    }
    assert_int_equal(l->read, end);
    if (!all) return;
    buf_reset(&l->stream);
    l->read = 0;
}

static void both_ends(uint64_t agreed, uint64_t seed, unsigned messages) {
    static link_bed l;
    prng rng;
    buf token;
    prng_init(&rng, seed);
    buf_init(&token, 64);
    etf_put_tuple(&token, 1);
    etf_put_atom(&token, SLICE("label"));
    memset(&l, 0, sizeof l);
    l.agreed = agreed;
    dist_out_init(&l.out, agreed, HOT, ARRAY_LEN(HOT));
    dist_in_init(&l.in, &CFG, agreed);
    buf_init(&l.stream, 64u << 20);
    for (unsigned i = 0; i < SENDERS; i++) {
        buf_init(&l.f[i].payload, 1u << 20);
        buf_init(&l.f[i].control, 4096);
    }
    for (uint32_t id = 0; id < messages;) {
        flight *f = &l.f[prng_below(&rng, SENDERS)];
        if (f->used && f->split.left) {
            slice rest;
            assert_int_equal(dist_out_fragment(&f->split, &l.stream, &rest), ERR_OK);
            buf_add(&l.stream, rest);
            l.fragments++;
        } else if (!f->used) {
            begin(&l, &rng, f, id++, &token);
        }
        if (prng_chance(&rng, 1, 8)) dist_frame_tick(&l.stream);
        drain(&l, &rng, prng_chance(&rng, 1, 4));
    }
    for (unsigned i = 0; i < SENDERS; i++)
        while (l.f[i].used && l.f[i].split.left) {
            slice rest;
            assert_int_equal(dist_out_fragment(&l.f[i].split, &l.stream, &rest), ERR_OK);
            buf_add(&l.stream, rest);
        }
    drain(&l, &rng, true);
    assert_int_equal(l.arrived, messages);
    assert_int_equal(open_in(&l.in), 0);
    assert_int_equal(l.fragments > messages / 50, agreed == FRAGMENTS);
    dist_out_fini(&l.out);
    dist_in_fini(&l.in);
    buf_fini(&l.stream);
    buf_fini(&token);
    for (unsigned i = 0; i < SENDERS; i++) {
        buf_fini(&l.f[i].payload);
        buf_fini(&l.f[i].control);
    }
}

static void both_ends_agree_without_headers(void **state) {
    (void)state;
    both_ends(PLAIN, 1, 2000);
}
static void both_ends_agree_with_headers(void **state) {
    (void)state;
    both_ends(HEADERS, 2, 2000);
}
static void both_ends_agree_with_fragments(void **state) {
    (void)state;
    both_ends(FRAGMENTS, 3, 3000);
}

/* --- errors and costs */

static dist_ctl to_name(slice payload) {
    dist_ctl c = {.signal = DIST_SIG_SEND, .payload = payload};
    c.from = (dist_addr){.kind = DIST_ADDR_PID, .pid = {HOT[0], 1, 2, 3}};
    c.to = (dist_addr){.kind = DIST_ADDR_NAME, .name = SLICE("shard_srv")};
    return c;
}

static void what_does_not_fit_leaves_buf_and_cache_as_they_were(void **state) {
    (void)state;
    static const uint64_t agreed[] = {PLAIN, HEADERS, FRAGMENTS};
    for (size_t i = 0; i < ARRAY_LEN(agreed); i++) {
        dist_out o;
        dist_in in;
        dist_refs refs;
        dist_split split;
        slice rest;
        buf b;
        err e = ERR_LIMIT;
        dist_ctl c = to_name(SLICE("h\2w\3putw\3key"));
        dist_out_init(&o, agreed[i], HOT, ARRAY_LEN(HOT));
        for (size_t max = 4; e == ERR_LIMIT; max++) {
            buf_init(&b, max);
            WIRE(&b, "\0\0\0\0");
            e = dist_out_signal(&o, &c, 1, &b, &rest, &split);
            assert_true(buf_ok(&b));
            if (e) assert_int_equal(b.len, 4);
            if (e) buf_fini(&b);
        }
        assert_int_equal(e, ERR_OK);
        dist_in_init(&in, &CFG, agreed[i]);
        size_t at = 4; /* what was new is new still, so that a receiver who saw nothing before understands it */
        assert_int_equal(pull(&in, buf_slice(&b), &at, &refs).kind, DIST_IN_MESSAGE);
        assert_int_equal(at, b.len);
        dist_in_fini(&in);
        dist_out_fini(&o);
        buf_fini(&b);
    }
}

static void a_short_payload_that_is_not_a_term_is_refused(void **state) {
    (void)state;
    dist_out o;
    dist_split split;
    slice rest;
    buf b;
    dist_ctl c = to_name(SLICE("h\2w\3put"));
    buf_init(&b, 4096);
    dist_out_init(&o, FRAGMENTS, NULL, 0);
    assert_int_equal(dist_out_signal(&o, &c, 1, &b, &rest, &split), ERR_INVALID);
    assert_int_equal(b.len, 0);
    dist_out_fini(&o);
    buf_fini(&b);
}

static void a_long_payload_is_never_copied_and_the_first_fragment_has_64_kib_of_it(void **state) {
    (void)state;
    enum { BYTES = 200000 };
    uint8_t *payload = mem_zalloc(BYTES);
    dist_out o;
    dist_split split;
    slice rest;
    buf b;
    payload[0] = 109, payload[2] = 3, payload[3] = 0x0d, payload[4] = 0x3b; /* a binary of BYTES - 5 */
    dist_ctl c = to_name(slice_of(payload, BYTES));
    buf_init(&b, 512);
    dist_out_init(&o, FRAGMENTS, HOT, ARRAY_LEN(HOT));
    assert_int_equal(dist_out_signal(&o, &c, 77, &b, &rest, &split), ERR_OK);
    assert_ptr_equal(rest.p, payload);
    assert_int_equal(rest.len, DIST_FRAGMENT_BYTES);
    assert_memory_equal(b.p + 4, "\x83\x45\0\0\0\0\0\0\0\x4d\0\0\0\0\0\0\0\4", 18);
    size_t total = rest.len;
    while (split.left) {
        buf_reset(&b);
        assert_int_equal(dist_out_fragment(&split, &b, &rest), ERR_OK);
        assert_int_equal(b.len, 22);
        assert_ptr_equal(rest.p, payload + total);
        total += rest.len;
    }
    assert_int_equal(total, BYTES);
    assert_int_equal(b.p[21], 1);
    buf_reset(&b); /* without fragments, in one piece */
    o.fragmenting = false;
    assert_int_equal(dist_out_signal(&o, &c, 77, &b, &rest, &split), ERR_OK);
    assert_int_equal(rest.len, BYTES);
    assert_int_equal(split.left, 0);
    dist_out_fini(&o);
    buf_fini(&b);
    mem_free(payload);
}

static void a_payload_has_as_many_fragments_as_it_needs(void **state) {
    (void)state;
    static const struct {
        size_t bytes;
        uint64_t left; /* after the first */
    } cases[] = {{65535, 0}, {65536, 0}, {65537, 1}, {131072, 1}, {131073, 2}};
    uint8_t *payload = mem_zalloc(131073);
    dist_out o;
    dist_split split;
    slice rest;
    buf b;
    buf_init(&b, 4096);
    dist_out_init(&o, FRAGMENTS, HOT, ARRAY_LEN(HOT));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        dist_ctl c = to_name(slice_of(payload, cases[i].bytes));
        buf_reset(&b);
        assert_int_equal(dist_out_signal(&o, &c, 1, &b, &rest, &split), ERR_OK);
        assert_int_equal(b.p[5], cases[i].left ? DIST_TYPE_FIRST : DIST_TYPE_HEAD);
        assert_true(split.left == cases[i].left);
        assert_true(rest.len + split.rest.len == cases[i].bytes);
    }
    dist_out_fini(&o);
    buf_fini(&b);
    mem_free(payload);
}

static void an_idle_connection_owns_no_memory(void **state) {
    (void)state;
    dist_in in;
    dist_out out;
    dist_refs refs;
    size_t before = heap_used(), at = 0;
    dist_in_init(&in, &CFG, FRAGMENTS);
    dist_out_init(&out, FRAGMENTS, HOT, ARRAY_LEN(HOT));
    for (unsigned i = 0; i < 100; i++, at = 0) assert_int_equal(pull(&in, SLICE("\0\0\0\0"), &at, &refs).kind, DIST_IN_TICK);
    assert_int_equal(heap_used(), before);
    assert_true(sizeof in + sizeof out <= 512);
    dist_in_fini(&in);
    dist_out_fini(&out);
}

/* 1,000 bytes of hostile frames may cost 64,000 at most: new atoms in all segments, first fragments, and a frame that claims to be long. */
static void hostile_bytes_cost_at_most_64_times_what_came(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        buf b;
        buf_init(&b, 1000);
        for (unsigned i = 0; buf_ok(&b); i++) {
            size_t len = b.len, at = wire_begin(&b);
            if (kind == 0)
                WIRE(&b, "\x83\x44\1"), buf_add_byte(&b, (uint8_t)(8 | (i & 7))), buf_add_byte(&b, (uint8_t)i), WIRE(&b, "\0h\1a\5");
            if (kind == 1) wire_fragment(&b, 69, i, 2), WIRE(&b, "\0j");
            if (kind == 2) wire_fragment(&b, 69, i, UINT64_MAX), WIRE(&b, "\1\x08\0\0j");
            if (buf_ok(&b))
                wire_end(&b, at);
            else
                b.len = len;
        }
        dist_in in;
        dist_refs refs;
        size_t before = heap_used(), at = 0;
        dist_in_init(&in, &CFG, FRAGMENTS);
        while (pull(&in, buf_slice(&b), &at, &refs).kind == DIST_IN_MESSAGE) {
        }
        assert_true(at > 900);
        assert_in_range(heap_used() - before, 1, 64 * at); /* each kind makes the connection keep something */
        dist_in_fini(&in);
        buf_fini(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_with_headers_are_read_as_otp_writes_them),
        cmocka_unit_test(fragments_are_read_as_otp_writes_them),
        cmocka_unit_test(what_was_not_agreed_is_refused),
        cmocka_unit_test(both_ends_agree_without_headers),
        cmocka_unit_test(both_ends_agree_with_headers),
        cmocka_unit_test(both_ends_agree_with_fragments),
        cmocka_unit_test(what_does_not_fit_leaves_buf_and_cache_as_they_were),
        cmocka_unit_test(a_short_payload_that_is_not_a_term_is_refused),
        cmocka_unit_test(a_long_payload_is_never_copied_and_the_first_fragment_has_64_kib_of_it),
        cmocka_unit_test(a_payload_has_as_many_fragments_as_it_needs),
        cmocka_unit_test(an_idle_connection_owns_no_memory),
        cmocka_unit_test(hostile_bytes_cost_at_most_64_times_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
