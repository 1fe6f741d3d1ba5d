/* handshake: both roles of our machine against each other in every variant, wherever the bytes are cut; every message in every state; every
 * way to end. What a real OTP says is in test/interop/otp. */
#include "proto/dist/handshake.h"
#include "support/cmocka_unit.h"

#define COOKIE    "QZLTVIWNEHJSKFDWRPMA"
#define ALICE     "alice@127.0.0.1"
#define BOB       "bob@127.0.0.1"
#define FLAGS     UINT64_C(0x6d07df7fbd)
#define CREATION  0x11223344u
#define CHALLENGE 0xfedcba98u /* of the acceptor; above 2^31: the proof is over an unsigned number */

/* --- a side: a machine, what it has not read yet, what it wrote, and what its caller answers --------------------------------------- */
typedef struct side {
    dist_handshake h;
    dist_self self;
    buf in, out;
    buf log;                 /* a word for each event */
    dist_verdict verdict;    /* acceptor */
    slice cookie, given;     /* the given name, for a peer that asks */
    bool consent, reflected; /* dialler */
    bool hold_old;           /* the old connection is not down yet */
    bool up, ended;
    dist_end end;
    uint64_t missing;
    buf what;
} side;

static void side_init(side *s, const char *name, dist_carrier carrier, bool dials, const char *cookie) {
    *s = (side){.self = {slice_str(name), FLAGS, CREATION}, .cookie = slice_str(cookie), .consent = true};
    buf_init(&s->in, 8192);
    buf_init(&s->out, 8192);
    buf_init(&s->log, 8192);
    buf_init(&s->what, 8192);
    if (!dials) dist_handshake_accept(&s->h, carrier, &s->self);
}

static void side_fini(side *s) {
    buf_fini(&s->in);
    buf_fini(&s->out);
    buf_fini(&s->log);
    buf_fini(&s->what);
}

static void answer(side *s, const dist_handshake_event *ev) {
    switch (ev->kind) {
    case DIST_HANDSHAKE_NONE: break;
    case DIST_HANDSHAKE_PEER: {
        dist_admission a = {s->verdict, s->cookie, CHALLENGE, s->given, 77};
        buf_addf(&s->log, "peer=" SLICE_FMT " ", SLICE_ARG(dist_handshake_peer(&s->h)));
        dist_handshake_admit(&s->h, &a, &s->out);
        break;
    }
    case DIST_HANDSHAKE_ALIVE:
        buf_add_str(&s->log, "alive ");
        dist_handshake_consent(&s->h, s->consent, &s->out);
        break;
    case DIST_HANDSHAKE_CHALLENGED:
        buf_addf(&s->log, "challenged=%x ", ev->challenge);
        dist_handshake_reply(&s->h, s->reflected, &s->out);
        break;
    case DIST_HANDSHAKE_TAKEOVER:
        buf_add_str(&s->log, "takeover ");
        if (!s->hold_old) dist_handshake_old_down(&s->h, &s->out);
        break;
    case DIST_HANDSHAKE_UP:
        buf_add_str(&s->log, "up ");
        s->up = true;
        break;
    case DIST_HANDSHAKE_END:
        buf_addf(&s->log, "end=%s ", dist_handshake_end_name(ev->end));
        s->ended = true;
        s->end = ev->end;
        s->missing = ev->missing;
        buf_reset(&s->what);
        buf_add(&s->what, ev->what);
        break;
    }
}

/* Lets the machine see the first have bytes that were not read yet, until it wants more. */
static void side_run(side *s, size_t have) {
    dist_handshake_event ev;
    size_t at = 0;
    do {
        size_t used = 0;
        dist_handshake_next(&s->h, slice_sub(buf_slice(&s->in), at, have - at), &s->out, &used, &ev);
        at += used;
        assert_true(at <= have);
        answer(s, &ev);
    } while (ev.kind != DIST_HANDSHAKE_NONE && ev.kind != DIST_HANDSHAKE_END && ev.kind != DIST_HANDSHAKE_UP);
    buf_consume(&s->in, at);
    assert_true(buf_ok(&s->out) && s->out.len <= 2 * DIST_HANDSHAKE_WRITE_MAX);
}

/* Moves what from has written to to: the first cut bytes, and the rest step by step. */
static void carry(side *from, side *to, size_t cut, size_t step) {
    slice bytes = buf_slice(&from->out);
    for (size_t at = 0; at < bytes.len;) {
        slice piece = slice_sub(bytes, at, at == 0 && cut ? cut : step);
        buf_add(&to->in, piece);
        at += piece.len;
        if (!to->up && !to->ended) side_run(to, to->in.len);
    }
    buf_reset(&from->out);
}

static void talk(side *a, side *b, size_t cut, size_t step) {
    while ((a->out.len && !b->ended) || (b->out.len && !a->ended)) {
        carry(a, b, cut, step);
        carry(b, a, cut, step);
    }
}

/* A dialler alice that has written its send_name, and an acceptor bob. */
static void pair(side *a, side *b, dist_carrier carrier, uint64_t dialler_flags) {
    side_init(a, ALICE, carrier, true, COOKIE);
    side_init(b, BOB, carrier, false, COOKIE);
    a->self.flags = dialler_flags;
    assert_int_equal(dist_handshake_dial(&a->h, carrier, &a->self, slice_str(BOB), a->cookie, 0x01020304, &a->out), ERR_OK);
}

static void is(const buf *b, const char *text) {
    if (!slice_is(buf_slice(b), text)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(buf_slice(b)), text);
}

/* --- each variant between two of ours ---------------------------------------------------------------------------------------------- */
typedef struct variant {
    dist_verdict verdict;
    bool consent;
    uint64_t dialler_flags;
    const char *dialler_cookie, *dialler_log, *acceptor_log;
} variant;

static const variant variants[] = {
    {DIST_VERDICT_OK, true, FLAGS, COOKIE, "challenged=fedcba98 up ", "peer=" ALICE " up "},
    {DIST_VERDICT_OK_SIMULTANEOUS, true, FLAGS, COOKIE, "challenged=fedcba98 up ", "peer=" ALICE " up "},
    {DIST_VERDICT_ALIVE, true, FLAGS, COOKIE, "alive challenged=fedcba98 up ", "peer=" ALICE " takeover up "},
    {DIST_VERDICT_ALIVE, false, FLAGS, COOKIE, "alive end=WE_GAVE_UP ", "peer=" ALICE " end=PEER_GAVE_UP "},
    {DIST_VERDICT_NOK, true, FLAGS, COOKIE, "end=NOK ", "peer=" ALICE " end=WE_KEEP_OURS "},
    {DIST_VERDICT_NOT_ALLOWED, true, FLAGS, COOKIE, "end=NOT_ALLOWED ", "peer=" ALICE " end=WE_DO_NOT_ALLOW "},
    {DIST_VERDICT_CLOSE, true, FLAGS, COOKIE, "", "peer=" ALICE " end=BUSY "},
    {DIST_VERDICT_OK, true, FLAGS, "another", "challenged=fedcba98 ", "peer=" ALICE " end=COOKIE "},
    {DIST_VERDICT_ALIVE, true, FLAGS, "another", "alive challenged=fedcba98 ", "peer=" ALICE " end=COOKIE "},
    {DIST_VERDICT_OK, true, UINT64_C(0x4000000), COOKIE, "challenged=fedcba98 up ", "peer=" ALICE " up "},
    {DIST_VERDICT_OK, true, FLAGS & ~UINT64_C(0x4010000), COOKIE, "end=NOT_ALLOWED ", "end=FLAGS "},
};

static void every_variant_comes_out_the_same_wherever_it_is_cut(void **state) {
    (void)state;
    static const dist_carrier carriers[] = {DIST_CARRIER_TCP, DIST_CARRIER_TLS};
    for (size_t k = 0; k < ARRAY_LEN(carriers) * ARRAY_LEN(variants); k++)
        for (size_t cut = 0; cut < 60; cut++) {
            const variant *v = &variants[k / 2];
            side a, b;
            pair(&a, &b, carriers[k % 2], v->dialler_flags);
            a.h.cookie = slice_str(v->dialler_cookie);
            a.consent = v->consent;
            b.verdict = v->verdict;
            talk(&a, &b, cut, cut < 30 ? 1 : 1000);
            is(&a.log, v->dialler_log);
            is(&b.log, v->acceptor_log);
            side_fini(&a);
            side_fini(&b);
        }
}

static void both_know_the_other_when_they_are_up(void **state) {
    (void)state;
    side a, b;
    pair(&a, &b, DIST_CARRIER_TCP, FLAGS & ~DIST_FLAG(SPAWN) & ~DIST_FLAG(PUBLISHED));
    b.self.creation = 0xffffffff;
    dist_handshake_accept(&b.h, DIST_CARRIER_TCP, &b.self);
    talk(&a, &b, 0, 1000);
    assert_true(a.up && b.up);
    assert_true(slice_is(dist_handshake_peer(&a.h), BOB) && slice_is(dist_handshake_peer(&b.h), ALICE));
    assert_true(slice_is(dist_handshake_own(&a.h), ALICE) && slice_is(dist_handshake_own(&b.h), BOB));
    assert_int_equal(a.h.flags, FLAGS & ~DIST_FLAG(SPAWN) & ~DIST_FLAG(PUBLISHED));
    assert_int_equal(b.h.flags, a.h.flags);
    assert_int_equal(a.h.peer_creation, 0xffffffff);
    assert_int_equal(b.h.peer_creation, CREATION);
    assert_null(a.h.cookie.p); /* a secret is kept no longer than it is needed */
    assert_null(b.h.cookie.p);
    /* Towards a hidden node we are hidden too. */
    assert_false(a.h.peer_flags & DIST_FLAG(PUBLISHED));
    side_fini(&a);
    side_fini(&b);
}

/* The bytes of each message as the protocol's document draws them. */
static void messages_have_the_bytes_of_the_protocol(void **state) {
    (void)state;
    side a, b;
    pair(&a, &b, DIST_CARRIER_TCP, FLAGS);
    const slice send_name = SLICE("\0\x1eN\0\0\0\x6d\x07\xdf\x7f\xbd\x11\x22\x33\x44\0\x0f" ALICE);
    assert_true(slice_eq(buf_slice(&a.out), send_name));
    carry(&a, &b, 0, 1000);
    const slice answer = SLICE("\0\3sok\0\x20N\0\0\0\x6d\x07\xdf\x7f\xbd\xfe\xdc\xba\x98\x11\x22\x33\x44\0\x0d" BOB);
    assert_true(slice_eq(buf_slice(&b.out), answer));
    carry(&b, &a, 0, 1000);
    uint8_t digest[16];
    dist_cookie_digest(slice_str(COOKIE), CHALLENGE, digest);
    assert_int_equal(a.out.len, 23);
    assert_memory_equal(a.out.p, "\0\x15r\1\2\3\4", 7);
    assert_memory_equal(a.out.p + 7, digest, 16);
    carry(&a, &b, 0, 1000);
    dist_cookie_digest(slice_str(COOKIE), 0x01020304, digest);
    assert_int_equal(b.out.len, 19);
    assert_memory_equal(b.out.p,
                        "\0\x11"
                        "a",
                        3);
    assert_memory_equal(b.out.p + 3, digest, 16);
    side_fini(&a);
    side_fini(&b);
    pair(&a, &b, DIST_CARRIER_TLS, FLAGS);
    assert_memory_equal(a.out.p, "\0\0\0\x1eN", 5);
    side_fini(&a);
    side_fini(&b);
}

static void what_follows_the_last_message_is_left_unread(void **state) {
    (void)state;
    side a, b;
    pair(&a, &b, DIST_CARRIER_TCP, FLAGS);
    carry(&a, &b, 0, 1000);
    carry(&b, &a, 0, 1000);
    buf_add_str(&a.out, "after reply"); /* nobody does, yet the bytes are not of the handshake */
    carry(&a, &b, 0, 1000);
    assert_true(b.up);
    is(&b.in, "after reply");
    buf_add(&b.out, SLICE("\0\0\0\0\0\0\0\5frame"));
    carry(&b, &a, 0, 1000);
    assert_true(a.up);
    assert_true(slice_eq(buf_slice(&a.in), SLICE("\0\0\0\0\0\0\0\5frame")));
    side_run(&a, a.in.len); /* UP is told once, and nothing is read any more */
    assert_int_equal(a.in.len, 13);
    is(&a.log, "challenged=fedcba98 up ");
    side_fini(&a);
    side_fini(&b);
}

static void the_ack_of_a_takeover_waits_for_the_old_connection(void **state) {
    (void)state;
    side a, b;
    pair(&a, &b, DIST_CARRIER_TCP, FLAGS);
    b.verdict = DIST_VERDICT_ALIVE;
    b.hold_old = true;
    talk(&a, &b, 0, 1000);
    is(&b.log, "peer=" ALICE " takeover ");
    assert_int_equal(b.out.len, 0);
    assert_false(a.up || b.up);
    buf_add_str(&b.in, "\0\5sfalse"); /* nothing is read before the old one is down */
    side_run(&b, b.in.len);
    buf_reset(&b.in);
    is(&b.log, "peer=" ALICE " takeover ");
    dist_handshake_old_down(&b.h, &b.out);
    assert_int_equal(b.out.len, 19);
    side_run(&b, 0);
    assert_true(b.up);
    talk(&a, &b, 0, 1000);
    assert_true(a.up);
    side_fini(&a);
    side_fini(&b);
}

/* --- dynamic names ----------------------------------------------------------------------------------------------------------------- */
static void a_node_without_a_name_is_given_one(void **state) {
    (void)state;
    for (size_t cut = 0; cut < 60; cut++) {
        side a, b;
        side_init(&a, "127.0.0.1", DIST_CARRIER_TCP, true, COOKIE);
        side_init(&b, BOB, DIST_CARRIER_TCP, false, COOKIE);
        a.self.flags = (FLAGS | DIST_FLAG(NAME_ME)) & ~DIST_FLAG(PUBLISHED);
        a.self.creation = 0;
        b.given = SLICE("2GQBSXKLDCWCM@127.0.0.1");
        assert_int_equal(dist_handshake_dial(&a.h, DIST_CARRIER_TCP, &a.self, slice_str(BOB), a.cookie, 5, &a.out), ERR_OK);
        talk(&a, &b, cut, cut < 30 ? 1 : 1000);
        is(&a.log, "challenged=fedcba98 up ");
        is(&b.log, "peer=127.0.0.1 up ");
        assert_true(slice_eq(dist_handshake_peer(&b.h), b.given));
        assert_true(slice_eq(dist_handshake_own(&a.h), b.given));
        assert_int_equal(a.h.self.creation, 77);
        assert_int_equal(b.h.peer_creation, 77);
        assert_true(a.h.peer_flags & DIST_FLAG(NAME_ME)); /* OTP gives the question back */
        assert_false(a.h.peer_flags & DIST_FLAG(PUBLISHED));
        assert_false(a.h.flags & DIST_FLAG(NAME_ME));
        side_fini(&a);
        side_fini(&b);
    }
}

/* --- single messages --------------------------------------------------------------------------------------------------------------- */
static void say(side *s, slice message) {
    buf_add_u16be(&s->in, (uint16_t)message.len);
    buf_add(&s->in, message);
}

static void say_name(side *s, char tag, uint64_t flags, slice name, const char *trailing) {
    buf m;
    buf_init(&m, 1024);
    buf_add_byte(&m, (uint8_t)tag);
    buf_add_u64be(&m, flags);
    buf_add_u32be(&m, 9);
    buf_add_u16be(&m, (uint16_t)name.len);
    buf_add(&m, name);
    buf_add_str(&m, trailing);
    say(s, buf_slice(&m));
    buf_fini(&m);
}

static void say_challenge(side *s, uint64_t flags, uint32_t challenge, slice name) {
    buf m;
    buf_init(&m, 1024);
    buf_add_byte(&m, 'N');
    buf_add_u64be(&m, flags);
    buf_add_u32be(&m, challenge);
    buf_add_u32be(&m, 9);
    buf_add_u16be(&m, (uint16_t)name.len);
    buf_add(&m, name);
    buf_add_str(&m, "later");
    say(s, buf_slice(&m));
    buf_fini(&m);
}

static void say_reply(side *s, slice cookie) {
    uint8_t m[21] = {'r', 1, 2, 3, 4};
    dist_cookie_digest(cookie, CHALLENGE, m + 5);
    say(s, slice_of(m, sizeof m));
}

static void say_ack(side *s, slice cookie) {
    uint8_t m[17] = {'a'};
    dist_cookie_digest(cookie, 0x01020304, m + 1);
    say(s, slice_of(m, sizeof m));
}

static void acceptor(side *s) { side_init(s, BOB, DIST_CARRIER_TCP, false, COOKIE); }

static void dialler(side *s) {
    side_init(s, ALICE, DIST_CARRIER_TCP, true, COOKIE);
    assert_int_equal(dist_handshake_dial(&s->h, DIST_CARRIER_TCP, &s->self, slice_str(BOB), s->cookie, 0x01020304, &s->out), ERR_OK);
    buf_reset(&s->out);
}

/* Runs what was said, and sees how it ended. */
static void ends(side *s, dist_end want, const char *written) {
    side_run(s, s->in.len);
    if (!s->ended || s->end != want)
        fail_msg("'" SLICE_FMT "' is not the end %s", SLICE_ARG(buf_slice(&s->log)), dist_handshake_end_name(want));
    slice text = buf_slice(&s->out);
    assert_true(slice_is(text.len >= 3 ? slice_from(text, 3) : text, written)); /* without the length and the 's' */
    assert_false(s->up);
    side_run(s, s->in.len); /* told again, and nothing has an effect any more */
    assert_int_equal(s->end, want);
    assert_int_equal(s->in.len, 0);
    side_fini(s);
}

static void send_names_that_are_refused(void **state) {
    (void)state;
    side s;
    const slice bad[] = {SLICE(""),   SLICE("@"),  SLICE("alice"),           SLICE("a@b@c"),
                         SLICE("@h"), SLICE("a@"), SLICE("\xe5r@127.0.0.1"), SLICE("a\n@127.0.0.1")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        acceptor(&s);
        say_name(&s, 'N', FLAGS, bad[i], "");
        side_run(&s, s.in.len);
        assert_true(slice_eq(buf_slice(&s.what), bad[i])); /* raw: the log escapes */
        ends(&s, DIST_END_BAD_NAME, "");
    }
    char longest[DIST_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest);
    longest[9] = '@';
    acceptor(&s);
    say_name(&s, 'N', FLAGS, slice_of(longest, DIST_NAME_MAX + 1), "");
    ends(&s, DIST_END_BAD_NAME, "");
    acceptor(&s);
    say_name(&s, 'N', FLAGS | DIST_FLAG(NAME_ME), slice_of(longest, 242), "");
    ends(&s, DIST_END_BAD_NAME, "");
    acceptor(&s);
    say_name(&s, 'N', FLAGS, slice_str(BOB), "");
    ends(&s, DIST_END_OWN_NAME, "not_allowed");
    acceptor(&s);
    say_name(&s, 'N', FLAGS & ~DIST_FLAG(MANDATORY_25_DIGEST) & ~DIST_FLAG(UTF8_ATOMS), slice_str(ALICE), "");
    side_run(&s, s.in.len);
    assert_int_equal(s.missing, DIST_FLAG(UTF8_ATOMS));
    is(&s.what, ALICE);
    ends(&s, DIST_END_FLAGS, "not_allowed");
}

static void a_longest_name_and_what_later_versions_add_are_taken(void **state) {
    (void)state;
    char longest[DIST_NAME_MAX];
    memset(longest, 'x', sizeof longest);
    longest[9] = '@';
    side s;
    acceptor(&s);
    say_name(&s, 'N', FLAGS, slice_of(longest, sizeof longest), "and more");
    side_run(&s, s.in.len);
    assert_memory_equal(s.out.p, "\0\3sok", 5);
    assert_true(slice_eq(dist_handshake_peer(&s.h), slice_of(longest, sizeof longest)));
    say_reply(&s, slice_str(COOKIE));
    side_run(&s, s.in.len);
    assert_true(s.up);
    assert_true(s.out.len <= DIST_HANDSHAKE_WRITE_MAX);
    side_fini(&s);
}

static void messages_cut_short_or_too_long_are_refused(void **state) {
    (void)state;
    side s;
    const slice names[] = {SLICE("N"),
                           SLICE("N1234567"),
                           SLICE("N12345678123"),
                           SLICE("N123456781234\0"),
                           SLICE("N123456781234\0\3ab"),
                           SLICE("N123456781234\xff\xff" ALICE),
                           SLICE("n"),
                           SLICE("n\0\5\1\1\1")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        acceptor(&s);
        say(&s, names[i]);
        ends(&s, DIST_END_MALFORMED, "");
    }
    const slice replies[] = {SLICE("r"), SLICE("r1234"), SLICE("r1234123456789012345"), SLICE("r123412345678901234567")};
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        acceptor(&s);
        say_name(&s, 'N', FLAGS, slice_str(ALICE), "");
        side_run(&s, s.in.len);
        buf_reset(&s.out);
        say(&s, replies[i]);
        ends(&s, DIST_END_MALFORMED, "");
    }
    const slice challenges[] = {SLICE("N"), SLICE("N12345678"), SLICE("N123456781234"), SLICE("N1234567812341234\0"),
                                SLICE("N1234567812341234\0\x0e" BOB)};
    for (size_t i = 0; i < ARRAY_LEN(challenges); i++) {
        dialler(&s);
        say(&s, SLICE("sok"));
        say(&s, challenges[i]);
        ends(&s, DIST_END_MALFORMED, "");
    }
    const slice acks[] = {SLICE("a"), SLICE("a123456789012345"), SLICE("a12345678901234567")};
    for (size_t i = 0; i < ARRAY_LEN(acks); i++) {
        dialler(&s);
        say(&s, SLICE("sok"));
        say_challenge(&s, FLAGS, CHALLENGE, slice_str(BOB));
        side_run(&s, s.in.len);
        buf_reset(&s.out);
        say(&s, acks[i]);
        ends(&s, DIST_END_MALFORMED, "");
    }
}

/* At the length already, without waiting for what it announces. */
static void a_length_beyond_the_limit_ends_it_at_once(void **state) {
    (void)state;
    side s;
    acceptor(&s);
    buf_add_u16be(&s.in, DIST_HANDSHAKE_MESSAGE_MAX);
    side_run(&s, 2);
    assert_false(s.ended);
    side_fini(&s);
    acceptor(&s);
    buf_add_u16be(&s.in, DIST_HANDSHAKE_MESSAGE_MAX + 1);
    ends(&s, DIST_END_TOO_LONG, "");
    side_init(&s, BOB, DIST_CARRIER_TLS, false, COOKIE);
    buf_add_u32be(&s.in, 0xffffffff);
    ends(&s, DIST_END_TOO_LONG, "");
    side_init(&s, BOB, DIST_CARRIER_TLS, false, COOKIE);
    buf_add_u32be(&s.in, DIST_HANDSHAKE_MESSAGE_MAX + 1);
    ends(&s, DIST_END_TOO_LONG, "");
}

/* --- the send_name of OTP 23 that does not know our version ------------------------------------------------------------------------ */
#define OLD_NAME "n\0\5\1\xdf\x7f\xbd" ALICE

static void an_old_send_name_is_answered_with_the_new_challenge_and_completed(void **state) {
    (void)state;
    side s;
    acceptor(&s);
    say(&s, SLICE(OLD_NAME));
    side_run(&s, s.in.len);
    assert_memory_equal(s.out.p, "\0\3sok\0\x20N", 8);
    assert_int_equal(s.h.peer_creation, 0);
    say(&s, SLICE("c\0\0\0\3\xaa\xbb\xcc\xdd")); /* SPAWN, and NAME_ME, which has no meaning now */
    say_reply(&s, slice_str(COOKIE));
    side_run(&s, s.in.len);
    assert_true(s.up);
    assert_int_equal(s.h.peer_creation, 0xaabbccdd);
    assert_int_equal(s.h.flags, UINT64_C(0x101df7fbd));
    assert_false(dist_handshake_wants_name(&s.h));
    side_fini(&s);
}

static void an_old_send_name_may_take_over_too(void **state) {
    (void)state;
    side s;
    acceptor(&s);
    s.verdict = DIST_VERDICT_ALIVE;
    say(&s, SLICE(OLD_NAME));
    say(&s, SLICE("strue"));
    say(&s, SLICE("c\0\0\0\1\0\0\0\5"));
    say_reply(&s, slice_str(COOKIE));
    side_run(&s, s.in.len);
    is(&s.log, "peer=" ALICE " takeover up ");
    side_fini(&s);
}

static void old_nodes_and_bad_complements_are_refused(void **state) {
    (void)state;
    side s;
    acceptor(&s);
    say(&s, SLICE("n\0\5\0\xdf\x7f\xbd" ALICE)); /* OTP 22: no HANDSHAKE_23 */
    ends(&s, DIST_END_OLD_VERSION, "");
    acceptor(&s);
    say(&s, SLICE("n\0\4\1\xdf\x7f\xbd" ALICE));
    ends(&s, DIST_END_OLD_VERSION, "");
    acceptor(&s);
    say(&s, SLICE("n\0\5\1\xdf\x7f\xbd" BOB));
    ends(&s, DIST_END_OWN_NAME, "not_allowed");
    acceptor(&s);
    say(&s, SLICE("n\0\5\1\xdf\x7f\xbd"));
    ends(&s, DIST_END_BAD_NAME, "");
    const slice bad[] = {SLICE("c"), SLICE("c\0\0\0\1\0\0\0"), SLICE("c\0\0\0\1\0\0\0\5\0")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        acceptor(&s);
        say(&s, SLICE(OLD_NAME));
        side_run(&s, s.in.len);
        buf_reset(&s.out);
        say(&s, bad[i]);
        ends(&s, DIST_END_MALFORMED, "");
    }
    dialler(&s);
    say(&s, SLICE("sok"));
    say(&s, SLICE("n\0\5\0\xdf\x7f\xbd"
                  "1234" BOB)); /* the challenge of OTP 22 */
    ends(&s, DIST_END_OLD_VERSION, "");
}

/* --- statuses ---------------------------------------------------------------------------------------------------------------------- */
static void statuses_that_do_not_exist_are_refused(void **state) {
    (void)state;
    side s;
    const slice bad[] = {SLICE("s"),     SLICE("sOK"),      SLICE("sok "),       SLICE("sok\0"),
                         SLICE("sok_"),  SLICE("snamed:"),  SLICE("strue"),      SLICE("sfalse"),
                         SLICE("snokk"), SLICE("salive\n"), SLICE("snot_allow"), SLICE("snamed:\0\3a@b\0\0\0\5")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        dialler(&s);
        say(&s, bad[i]);
        ends(&s, DIST_END_BAD_STATUS, "");
    }
    const slice consents[] = {SLICE("s"), SLICE("sok"), SLICE("strue "), SLICE("sTRUE")};
    for (size_t i = 0; i < ARRAY_LEN(consents); i++) {
        acceptor(&s);
        s.verdict = DIST_VERDICT_ALIVE;
        say_name(&s, 'N', FLAGS, slice_str(ALICE), "");
        side_run(&s, s.in.len);
        buf_reset(&s.out);
        say(&s, consents[i]);
        ends(&s, DIST_END_BAD_STATUS, "");
    }
}

static void names_that_a_peer_may_not_give_us(void **state) {
    (void)state;
    static const struct {
        slice status;
        dist_end end;
    } cases[] = {{{(const uint8_t *)"sok", 3}, DIST_END_BAD_STATUS},
                 {{(const uint8_t *)"salive", 6}, DIST_END_BAD_STATUS},
                 {{(const uint8_t *)"snot_allowed", 12}, DIST_END_NOT_ALLOWED},
                 {{(const uint8_t *)"snamed:", 7}, DIST_END_MALFORMED},
                 {{(const uint8_t *)"snamed:\0\3a@h\0\0\0", 15}, DIST_END_MALFORMED},
                 {{(const uint8_t *)"snamed:\0\3a@i\0\0\0\5", 16}, DIST_END_OTHER_HOST},
                 {{(const uint8_t *)"snamed:\0\3a.h\0\0\0\5", 16}, DIST_END_BAD_NAME},
                 {{(const uint8_t *)"snamed:\0\3\n@h\0\0\0\5", 16}, DIST_END_BAD_NAME}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        side s;
        side_init(&s, "h", DIST_CARRIER_TCP, true, COOKIE);
        s.self.flags |= DIST_FLAG(NAME_ME);
        assert_int_equal(dist_handshake_dial(&s.h, DIST_CARRIER_TCP, &s.self, slice_str(BOB), s.cookie, 5, &s.out), ERR_OK);
        buf_reset(&s.out);
        say(&s, cases[i].status);
        ends(&s, cases[i].end, "");
    }
}

/* --- who the peer is, and what it may know ----------------------------------------------------------------------------------------- */
static void challenges_that_a_dialler_refuses(void **state) {
    (void)state;
    side s;
    dialler(&s);
    say(&s, SLICE("sok"));
    say_challenge(&s, FLAGS, CHALLENGE, SLICE("eve@127.0.0.1"));
    side_run(&s, s.in.len);
    is(&s.what, "eve@127.0.0.1");
    ends(&s, DIST_END_OTHER_NAME, "");
    dialler(&s);
    say(&s, SLICE("sok"));
    say_challenge(&s, DIST_FLAG(HANDSHAKE_23), CHALLENGE, slice_str(BOB));
    side_run(&s, s.in.len);
    assert_int_equal(s.missing, dist_flags_demanded() & ~DIST_FLAG(HANDSHAKE_23));
    ends(&s, DIST_END_FLAGS, "");
    dialler(&s); /* its own challenge, sent back in the same conversation */
    say(&s, SLICE("sok"));
    say_challenge(&s, FLAGS, 0x01020304, slice_str(BOB));
    ends(&s, DIST_END_REFLECTED, "");
    dialler(&s); /* one that its node has sent in another: the caller says so */
    s.reflected = true;
    say(&s, SLICE("sok"));
    say_challenge(&s, FLAGS, CHALLENGE, slice_str(BOB));
    ends(&s, DIST_END_REFLECTED, "");
}

/* The attack that this is for: have what we asked as acceptor answered by ourselves as dialler. */
static void a_challenge_that_is_sent_back_is_never_answered(void **state) {
    (void)state;
    side a, b;
    acceptor(&b);
    say_name(&b, 'N', FLAGS, slice_str("eve@127.0.0.1"), "");
    side_run(&b, b.in.len);
    uint32_t asked = b.h.challenge;
    dialler(&a);
    a.reflected = asked == CHALLENGE; /* what the table of the caller says */
    say(&a, SLICE("sok"));
    say_challenge(&a, FLAGS, asked, slice_str(BOB));
    side_run(&a, a.in.len);
    assert_int_equal(a.out.len, 0);
    side_fini(&a);
    side_fini(&b);
}

static void a_wrong_digest_ends_both_roles(void **state) {
    (void)state;
    side s;
    acceptor(&s);
    say_name(&s, 'N', FLAGS, slice_str(ALICE), "");
    side_run(&s, s.in.len);
    buf_reset(&s.out);
    say_reply(&s, SLICE("wrong"));
    side_run(&s, s.in.len);
    is(&s.what, ALICE);
    ends(&s, DIST_END_COOKIE, "");
    dialler(&s);
    say(&s, SLICE("sok"));
    say_challenge(&s, FLAGS, CHALLENGE, slice_str(BOB));
    side_run(&s, s.in.len);
    buf_reset(&s.out);
    say_ack(&s, SLICE("wrong"));
    ends(&s, DIST_END_COOKIE, "");
}

/* --- every message in every state -------------------------------------------------------------------------------------------------- */
#define READS_NOTHING (-1)

/* The states in which a handshake can be met, and which first byte each takes. */
static const struct {
    const char *name, *takes;
    bool reads;
} states[] = {{"accepted", "Nn", true},       {"asked admission", "", false}, {"alive sent", "s", true},      {"challenge sent", "r", true},
              {"complement owed", "c", true}, {"asked old down", "", false},  {"acceptor up", "", false},     {"dialled", "s", true},
              {"asked consent", "", false},   {"admitted", "N", true},        {"asked challenge", "", false}, {"replied", "a", true},
              {"dialler up", "", false}};

static void next(side *s) {
    dist_handshake_event ev;
    size_t used = 0;
    dist_handshake_next(&s->h, buf_slice(&s->in), &s->out, &used, &ev);
    buf_consume(&s->in, used);
    buf_reset(&s->out);
}

static void admit(side *s, dist_verdict v) {
    dist_admission a = {.verdict = v, .cookie = s->cookie, .challenge = CHALLENGE};
    dist_handshake_admit(&s->h, &a, &s->out);
    buf_reset(&s->out);
}

/* Brings a machine into state number k. */
static void bring(side *s, size_t k) {
    bool dials = k >= 7;
    dials ? dialler(s) : acceptor(s);
    if (!dials && k > 0) {
        if (k == 4)
            say(s, SLICE(OLD_NAME));
        else
            say_name(s, 'N', FLAGS, slice_str(ALICE), "");
        next(s);
        if (k > 1) admit(s, k == 2 || k == 5 ? DIST_VERDICT_ALIVE : DIST_VERDICT_OK);
        if (k == 5) say(s, SLICE("strue"));
        if (k >= 5) {
            say_reply(s, s->cookie);
            next(s);
        }
    }
    if (k > 7) {
        say(s, k == 8 ? SLICE("salive") : SLICE("sok"));
        next(s);
    }
    if (k > 9) {
        say_challenge(s, FLAGS, CHALLENGE, slice_str(BOB));
        next(s);
    }
    if (k > 10) dist_handshake_reply(&s->h, false, &s->out);
    if (k > 11) {
        say_ack(s, s->cookie);
        next(s);
    }
    buf_reset(&s->out);
}

static void every_message_in_every_state(void **state) {
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(states); k++)
        for (int tag = READS_NOTHING; tag < 256; tag++) {
            side s;
            bring(&s, k);
            assert_int_equal(s.in.len, 0);
            uint8_t byte = (uint8_t)tag;
            say(&s, tag < 0 ? SLICE_NULL : slice_of(&byte, 1));
            bool takes = tag > 0 && strchr(states[k].takes, tag);
            dist_handshake_event ev;
            size_t used = 0;
            dist_handshake_next(&s.h, buf_slice(&s.in), &s.out, &used, &ev);
            assert_int_equal(s.out.len, 0);
            if (!states[k].reads) {
                assert_int_equal(ev.kind, DIST_HANDSHAKE_NONE);
                assert_int_equal(used, 0);
            } else {
                assert_int_equal(ev.kind, DIST_HANDSHAKE_END);
                assert_int_equal(used, s.in.len);
                dist_end want = k == 9 && tag == 'n' ? DIST_END_OLD_VERSION : DIST_END_UNEXPECTED;
                if (takes ? ev.end == DIST_END_UNEXPECTED : ev.end != want)
                    fail_msg("%s: byte %d: %s", states[k].name, tag, dist_handshake_end_name(ev.end));
            }
            side_fini(&s);
        }
}

/* Whole and right messages, at the wrong time. */
static void no_right_message_helps_at_the_wrong_time(void **state) {
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(states); k++)
        for (int m = 0; m < 7; m++) {
            static const char tags[] = "NNnscra";
            side s;
            bring(&s, k);
            if (m == 0) say_name(&s, 'N', FLAGS, slice_str(ALICE), "");
            if (m == 1) say_challenge(&s, FLAGS, CHALLENGE, slice_str(BOB));
            if (m == 2) say(&s, SLICE(OLD_NAME));
            if (m == 3) say(&s, SLICE("sok"));
            if (m == 4) say(&s, SLICE("c\0\0\0\1\0\0\0\1"));
            if (m == 5) say_reply(&s, s.cookie);
            if (m == 6) say_ack(&s, s.cookie);
            dist_handshake_event ev;
            size_t used = 0;
            dist_handshake_next(&s.h, buf_slice(&s.in), &s.out, &used, &ev);
            if (states[k].reads && !strchr(states[k].takes, tags[m])) {
                assert_int_equal(ev.kind, DIST_HANDSHAKE_END);
                assert_int_equal(s.out.len, 0);
            }
            if (!states[k].reads) assert_int_equal(used, 0);
            bool up = (k == 3 && m == 5) || (k == 11 && m == 6);
            assert_int_equal(ev.kind == DIST_HANDSHAKE_UP, up);
            side_fini(&s);
        }
}

/* --- decisions --------------------------------------------------------------------------------------------------------------------- */
static void simultaneous_attempts_are_decided_by_the_greater_name(void **state) {
    (void)state;
    for (int i = 0; i < 16; i++) {
        dist_peer_view v = {i & 1, i & 2, i & 4, i & 8};
        for (int greater = 0; greater < 2; greater++) {
            dist_verdict got = dist_handshake_decide(greater ? SLICE("b@h") : SLICE("a@h"), greater ? SLICE("a@h") : SLICE("b@h"), v);
            dist_verdict want = !v.allowed           ? DIST_VERDICT_NOT_ALLOWED
                                : v.takeover_pending ? DIST_VERDICT_CLOSE
                                : v.connected        ? DIST_VERDICT_ALIVE
                                : !v.attempt_pending ? DIST_VERDICT_OK
                                : greater            ? DIST_VERDICT_NOK
                                                     : DIST_VERDICT_OK_SIMULTANEOUS;
            assert_int_equal(got, want);
        }
    }
}

/* Two nodes that dial each other at once end with one connection: that of the greater name. */
static void two_that_dial_each_other_get_one_connection(void **state) {
    (void)state;
    const dist_peer_view both = {.allowed = true, .attempt_pending = true};
    side ab[2], ba[2]; /* dialler and acceptor of alice to bob, and of bob to alice */
    pair(&ab[0], &ab[1], DIST_CARRIER_TCP, FLAGS);
    side_init(&ba[0], BOB, DIST_CARRIER_TCP, true, COOKIE);
    side_init(&ba[1], ALICE, DIST_CARRIER_TCP, false, COOKIE);
    assert_int_equal(dist_handshake_dial(&ba[0].h, DIST_CARRIER_TCP, &ba[0].self, slice_str(ALICE), ba[0].cookie, 9, &ba[0].out), ERR_OK);
    ab[1].verdict = dist_handshake_decide(slice_str(BOB), slice_str(ALICE), both);
    ba[1].verdict = dist_handshake_decide(slice_str(ALICE), slice_str(BOB), both);
    talk(&ab[0], &ab[1], 0, 1000);
    talk(&ba[0], &ba[1], 0, 1000);
    assert_int_equal(ab[0].end, DIST_END_NOK);
    assert_int_equal(ab[1].end, DIST_END_WE_KEEP_OURS);
    assert_true(ba[0].up && ba[1].up);
    for (int i = 0; i < 2; i++) {
        side_fini(&ab[i]);
        side_fini(&ba[i]);
    }
}

static void diallings_that_make_no_sense_are_refused(void **state) {
    (void)state;
    dist_handshake h;
    buf out;
    buf_init(&out, 1024);
    dist_self self = {SLICE("a@h.x"), FLAGS, 1};
    slice cookie = SLICE(COOKIE);
    assert_int_equal(dist_handshake_dial(&h, DIST_CARRIER_TCP, &self, SLICE("a@h.x"), cookie, 1, &out), ERR_REFUSED);
    assert_int_equal(dist_handshake_dial(&h, DIST_CARRIER_TCP, &self, SLICE("b@h"), cookie, 1, &out), ERR_REFUSED);
    assert_int_equal(dist_handshake_dial(&h, DIST_CARRIER_TCP, &self, SLICE("b"), cookie, 1, &out), ERR_INVALID);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

/* --- our own mistakes -------------------------------------------------------------------------------------------------------------- */
static unsigned reports;
static void count_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
    reports++;
}

static void answers_that_nobody_asked_for_change_nothing(void **state) {
    (void)state;
    err_set_reporter(count_report, NULL);
    for (size_t k = 0; k < ARRAY_LEN(states); k++) {
        side s;
        bring(&s, k);
        dist_handshake before = s.h;
        dist_admission a = {.verdict = DIST_VERDICT_OK, .cookie = s.cookie};
        reports = 0;
        unsigned wrong = 0;
        if (k != 1) wrong++, dist_handshake_admit(&s.h, &a, &s.out);
        if (k != 8) wrong++, dist_handshake_consent(&s.h, true, &s.out);
        if (k != 10) wrong++, dist_handshake_reply(&s.h, false, &s.out);
        if (k != 5) wrong++, dist_handshake_old_down(&s.h, &s.out);
        assert_int_equal(reports, wrong);
        assert_int_equal(s.out.len, 0);
        assert_int_equal(before.state, s.h.state);
        side_fini(&s);
    }
    err_set_reporter(NULL, NULL);
}

static void an_unusable_cookie_lets_nobody_in(void **state) {
    (void)state;
    static const char longest[DIST_COOKIE_MAX + 1];
    const slice bad[] = {SLICE_NULL, SLICE(""), slice_of(longest, sizeof longest)};
    err_set_reporter(count_report, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        side s;
        acceptor(&s);
        s.cookie = bad[i];
        say_name(&s, 'N', FLAGS, slice_str(ALICE), "");
        ends(&s, DIST_END_WE_DO_NOT_ALLOW, "not_allowed");
        dist_handshake h;
        buf out;
        buf_init(&out, 1024);
        dist_self self = {slice_str(ALICE), FLAGS, 1};
        assert_int_equal(dist_handshake_dial(&h, DIST_CARRIER_TCP, &self, slice_str(BOB), bad[i], 1, &out), ERR_BUG);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
    err_set_reporter(NULL, NULL);
}

static void a_given_name_must_fit_the_asker(void **state) {
    (void)state;
    const slice bad[] = {SLICE_NULL, SLICE("x@i"), SLICE("x"), SLICE("a b@h")};
    err_set_reporter(count_report, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        side s;
        acceptor(&s);
        s.given = bad[i];
        say_name(&s, 'N', FLAGS | DIST_FLAG(NAME_ME), SLICE("h"), "");
        ends(&s, DIST_END_WE_DO_NOT_ALLOW, "not_allowed");
    }
    err_set_reporter(NULL, NULL);
}

static void a_node_without_a_name_is_neither_dialled_nor_connected(void **state) {
    (void)state;
    err_set_reporter(count_report, NULL);
    for (int v = DIST_VERDICT_OK_SIMULTANEOUS; v <= DIST_VERDICT_ALIVE; v++) {
        side s;
        acceptor(&s);
        s.given = SLICE("x@h");
        s.verdict = (dist_verdict)v;
        say_name(&s, 'N', FLAGS | DIST_FLAG(NAME_ME), SLICE("h"), "");
        if (v == DIST_VERDICT_NOK)
            ends(&s, DIST_END_WE_KEEP_OURS, "nok");
        else
            ends(&s, DIST_END_WE_DO_NOT_ALLOW, "not_allowed");
    }
    err_set_reporter(NULL, NULL);
}

static void every_end_has_a_name_and_a_sentence(void **state) {
    (void)state;
    assert_string_equal(dist_handshake_end_name(DIST_END_NONE), "NONE");
    assert_string_equal(dist_handshake_end_name(DIST_END_BUSY), "BUSY");
    assert_string_equal(dist_handshake_end_text(DIST_END_COOKIE), "the peer does not know the cookie");
    assert_string_equal(dist_handshake_end_text((dist_end)1000), "?");
    assert_string_equal(dist_handshake_end_name((dist_end)1000), "?");
    assert_true(sizeof(dist_handshake) <= 640);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_comes_out_the_same_wherever_it_is_cut),
        cmocka_unit_test(both_know_the_other_when_they_are_up),
        cmocka_unit_test(messages_have_the_bytes_of_the_protocol),
        cmocka_unit_test(what_follows_the_last_message_is_left_unread),
        cmocka_unit_test(the_ack_of_a_takeover_waits_for_the_old_connection),
        cmocka_unit_test(a_node_without_a_name_is_given_one),
        cmocka_unit_test(send_names_that_are_refused),
        cmocka_unit_test(a_longest_name_and_what_later_versions_add_are_taken),
        cmocka_unit_test(messages_cut_short_or_too_long_are_refused),
        cmocka_unit_test(a_length_beyond_the_limit_ends_it_at_once),
        cmocka_unit_test(an_old_send_name_is_answered_with_the_new_challenge_and_completed),
        cmocka_unit_test(an_old_send_name_may_take_over_too),
        cmocka_unit_test(old_nodes_and_bad_complements_are_refused),
        cmocka_unit_test(statuses_that_do_not_exist_are_refused),
        cmocka_unit_test(names_that_a_peer_may_not_give_us),
        cmocka_unit_test(challenges_that_a_dialler_refuses),
        cmocka_unit_test(a_challenge_that_is_sent_back_is_never_answered),
        cmocka_unit_test(a_wrong_digest_ends_both_roles),
        cmocka_unit_test(every_message_in_every_state),
        cmocka_unit_test(no_right_message_helps_at_the_wrong_time),
        cmocka_unit_test(simultaneous_attempts_are_decided_by_the_greater_name),
        cmocka_unit_test(two_that_dial_each_other_get_one_connection),
        cmocka_unit_test(diallings_that_make_no_sense_are_refused),
        cmocka_unit_test(answers_that_nobody_asked_for_change_nothing),
        cmocka_unit_test(an_unusable_cookie_lets_nobody_in),
        cmocka_unit_test(a_given_name_must_fit_the_asker),
        cmocka_unit_test(a_node_without_a_name_is_neither_dialled_nor_connected),
        cmocka_unit_test(every_end_has_a_name_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
