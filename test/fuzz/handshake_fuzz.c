/* handshake_fuzz: a peer's side of a handshake, made of right messages and of anything, read whole and in pieces. Oracle: both readings
 * tell the same events, write the same bytes and leave the same unread; nobody is up without a right digest; what is known of a peer that
 * is up is valid; what is written is whole messages of at most DIST_HANDSHAKE_MESSAGE_MAX bytes.
 *
 * Input: a byte for the role (bit 0), the carrier (bit 1), consent (bit 2), reflection (bit 3) and asking for a name (bit 4), one for the
 * verdict, one for the size of pieces, then a script: a byte below RIGHT_COUNT is a right message of that number, another is followed by a
 * length and as many bytes, which are put into the stream as they are (or with a length before them, if the byte is even). */
#include "base/cursor.h"
#include "proto/dist/handshake.h"

#include <stdlib.h>

#define COOKIE      "QZLTVIWNEHJSKFDWRPMA"
#define OURS        "m@h.x"
#define THEIRS      "p@h.x"
#define GIVEN       "0123456789ABC@h.x"
#define OUR_CHALL   0x80000001u
#define THEIR_CHALL 0xfffffffeu
#define RIGHT_COUNT 14u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

typedef struct script {
    bool dials, consent, ours, asks;
    dist_carrier carrier;
    dist_verdict verdict;
    size_t step;
    bool proved; /* the stream has a right digest */
} script;

static void frame(buf *stream, const script *s, slice m) {
    if (s->carrier == DIST_CARRIER_TLS) buf_add_u16be(stream, 0);
    buf_add_u16be(stream, (uint16_t)m.len);
    buf_add(stream, m);
}

static void named(buf *m, const char *head, const char *name, uint32_t after, bool challenge) {
    buf_add_str(m, head);
    buf_add_u64be(m, dist_flags_offered());
    if (challenge) buf_add_u32be(m, THEIR_CHALL);
    buf_add_u32be(m, after);
    buf_add_u16be(m, (uint16_t)strlen(name));
    buf_add_str(m, name);
}

static void proof(buf *m, script *s) {
    uint8_t digest[DIST_COOKIE_DIGEST];
    dist_cookie_digest(SLICE(COOKIE), OUR_CHALL, digest);
    buf_add(m, slice_of(digest, sizeof digest));
    s->proved = true;
}

static void right(buf *stream, script *s, uint8_t which) {
    static const char *const statuses[] = {"sok", "sok_simultaneous", "snok", "snot_allowed", "salive", "strue", "sfalse"};
    buf m;
    buf_init(&m, 1024);
    switch (which) {
    case 0: named(&m, "N", THEIRS, 5, false); break;
    case 1: named(&m, "N", THEIRS, 5, true); break;
    case 2: buf_add(&m, SLICE("n\0\5\5\xdf\x7f\xbd" THEIRS)); break;
    case 3: buf_add(&m, SLICE("c\0\0\0\x0d\0\0\0\5")); break;
    case 4:
        buf_add(&m, SLICE("r\1\2\3\4"));
        proof(&m, s);
        break;
    case 5:
        buf_add_str(&m, "a");
        proof(&m, s);
        break;
    case 6: buf_add(&m, SLICE("snamed:\0\x11" GIVEN "\0\0\0\x4d")); break;
    default: buf_add_str(&m, statuses[which - 7]); break;
    }
    frame(stream, s, buf_slice(&m));
    buf_fini(&m);
}

static void compose(buf *stream, script *s, cursor *in) {
    uint8_t op, len;
    slice bytes;
    while (cursor_u8(in, &op)) {
        if (op < RIGHT_COUNT) {
            right(stream, s, op);
        } else if (cursor_u8(in, &len)) {
            if (!cursor_bytes(in, len, &bytes) && !cursor_bytes(in, cursor_left(in), &bytes)) break;
            if (op % 2)
                buf_add(stream, bytes);
            else
                frame(stream, s, bytes);
        }
    }
}

typedef struct outcome {
    buf log, out;
    size_t unread;
    bool up;
} outcome;

static void on_event(const script *s, dist_handshake *h, const dist_handshake_event *ev, outcome *o) {
    const dist_admission a = {s->verdict, SLICE(COOKIE), OUR_CHALL, SLICE(GIVEN), 77};
    dist_name n;
    buf_addf(&o->log, "%d:%d:%x:", ev->kind, ev->end, ev->challenge);
    /* What an end for a length that is too long is about is as much as was there. */
    if (ev->end != DIST_END_TOO_LONG) buf_add(&o->log, ev->what);
    switch (ev->kind) {
    case DIST_HANDSHAKE_NONE:
    case DIST_HANDSHAKE_END: break;
    case DIST_HANDSHAKE_PEER: {
        dist_admission with = a;
        bool fits = slice_is(dist_handshake_peer(h), "h.x");
        if (dist_handshake_wants_name(h) && (!fits || a.verdict != DIST_VERDICT_OK)) with.verdict = DIST_VERDICT_NOT_ALLOWED;
        dist_handshake_admit(h, &with, &o->out);
        break;
    }
    case DIST_HANDSHAKE_ALIVE: dist_handshake_consent(h, s->consent, &o->out); break;
    case DIST_HANDSHAKE_CHALLENGED: dist_handshake_reply(h, s->ours, &o->out); break;
    case DIST_HANDSHAKE_TAKEOVER: dist_handshake_old_down(h, &o->out); break;
    case DIST_HANDSHAKE_UP:
        demand(s->proved);
        demand(dist_name_parse(dist_handshake_peer(h), &n) == ERR_OK);
        demand(dist_name_parse(dist_handshake_own(h), &n) == ERR_OK);
        demand(!slice_eq(dist_handshake_peer(h), dist_handshake_own(h)));
        demand((dist_flags_demanded() & ~h->flags) == 0 && (h->flags & ~dist_flags_common(h->self.flags, h->peer_flags)) == 0);
        o->up = true;
        break;
    }
}

/* Only whole messages, none of them too long. */
static void check_written(const script *s, slice out) {
    cursor c = cursor_of(out);
    while (cursor_left(&c)) {
        uint16_t upper = 0, len;
        slice m;
        demand(s->carrier == DIST_CARRIER_TCP || cursor_u16be(&c, &upper));
        demand(upper == 0 && cursor_u16be(&c, &len) && len <= DIST_HANDSHAKE_MESSAGE_MAX && cursor_bytes(&c, len, &m));
    }
}

static void run(const script *s, slice stream, size_t step, outcome *o) {
    const dist_self self = s->dials && s->asks ? (dist_self){SLICE("h.x"), dist_flags_offered() | DIST_FLAG(NAME_ME), 0}
                                               : (dist_self){SLICE(OURS), dist_flags_offered(), 9};
    dist_handshake h;
    buf_init(&o->log, 1u << 20);
    buf_init(&o->out, 1u << 16);
    if (s->dials)
        demand(dist_handshake_dial(&h, s->carrier, &self, SLICE(THEIRS), SLICE(COOKIE), OUR_CHALL, &o->out) == ERR_OK);
    else
        dist_handshake_accept(&h, s->carrier, &self);
    size_t at = 0, have = 0;
    bool over = false;
    while (!over) {
        dist_handshake_event ev;
        size_t used = 0;
        dist_handshake_next(&h, slice_sub(stream, at, have - at), &o->out, &used, &ev);
        at += used;
        demand(at <= have);
        if (ev.kind != DIST_HANDSHAKE_NONE) on_event(s, &h, &ev, o);
        over = o->up || ev.kind == DIST_HANDSHAKE_END || (ev.kind == DIST_HANDSHAKE_NONE && have == stream.len);
        if (ev.kind == DIST_HANDSHAKE_NONE) have = step < stream.len - have ? have + step : stream.len;
    }
    o->unread = o->up ? stream.len - at : 0;
    demand(buf_ok(&o->out));
    check_written(s, buf_slice(&o->out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    script s = {.dials = data[0] & 1,
                .consent = data[0] & 4,
                .ours = data[0] & 8,
                .asks = data[0] & 16,
                .carrier = data[0] & 2 ? DIST_CARRIER_TLS : DIST_CARRIER_TCP,
                .verdict = (dist_verdict)(data[1] % (DIST_VERDICT_CLOSE + 1)),
                .step = data[2] ? data[2] : 1};
    cursor in = cursor_of(slice_of(data + 3, size - 3));
    buf stream;
    buf_init(&stream, 1u << 20);
    compose(&stream, &s, &in);
    outcome whole = {0}, pieces = {0};
    run(&s, buf_slice(&stream), stream.len, &whole);
    run(&s, buf_slice(&stream), s.step, &pieces);
    demand(whole.up == pieces.up && whole.unread == pieces.unread);
    demand(slice_eq(buf_slice(&whole.out), buf_slice(&pieces.out)) && slice_eq(buf_slice(&whole.log), buf_slice(&pieces.log)));
    buf_fini(&whole.log);
    buf_fini(&whole.out);
    buf_fini(&pieces.log);
    buf_fini(&pieces.out);
    buf_fini(&stream);
    return 0;
}
