/* handshake: the machine of handshake.h.
 *
 *   unread bytes --> one whole message --> kind by its first byte --> rules[state][kind] --> action | END
 *                    (length first)
 *
 * Why a table: before the cookie is proved, everybody can send everything. Every pair of a state and a kind has one entry, and what is not
 * a named action is the end (promises.md, "pre-auth state confusion").
 *
 * Invariants: (1) a state that awaits the caller's answer (ASKED_*, UP, ENDED) looks at no byte. (2) as acceptor, no digest of ours goes
 * out before the peer's was right; as dialler, none for a challenge that this node made itself. (3) UP is reached only from a message
 * whose digest was right. (4) peer_len is 0 or the length of a valid name (of a host, while the peer has asked for a name). (5) No
 * message of ours is longer than DIST_HANDSHAKE_MESSAGE_MAX. */
#include "proto/dist/handshake.h"

#include "base/cursor.h"

#define TAG_NAME       'N' /* send_name, and challenge */
#define TAG_NAME_OLD   'n' /* the same of OTP 22 and older */
#define TAG_STATUS     's'
#define TAG_COMPLEMENT 'c'
#define TAG_REPLY      'r'
#define TAG_ACK        'a'

#define OLD_VERSION    5u /* in a send_name 'n' (erl_dist_protocol) */
#define CREATION_FIRST 4u /* 0 to 3 could be mistaken for creations of two bits */

/* What has happened. */
typedef enum state {
    ACCEPTED,        /* acceptor: nothing was read */
    ALIVE_SENT,      /* the peer was told that a connection is up */
    CHALLENGE_SENT,  /* and a complement is not owed */
    COMPLEMENT_OWED, /* a challenge was sent to who said 'n' */
    DIALLED,         /* dialler: send_name was written */
    ADMITTED,        /* the peer goes on */
    REPLIED,         /* our digest was written */
    READING_COUNT_,  /* those above read bytes */
    ASKED_ADMISSION, /* the caller owes dist_handshake_admit */
    ASKED_CONSENT,   /* dist_handshake_consent */
    ASKED_CHALLENGE, /* dist_handshake_reply */
    ASKED_OLD_DOWN,  /* dist_handshake_old_down */
    ACK_SENT,        /* the event UP has not been told yet */
    UP,
    ENDED,
} state;

typedef enum message {
    MSG_NAME,
    MSG_NAME_OLD,
    MSG_STATUS,
    MSG_COMPLEMENT,
    MSG_REPLY,
    MSG_ACK,
    MSG_OTHER, /* another first byte, or none */
    MSG_COUNT_,
} message;

typedef enum action {
    REFUSE, /* END, UNEXPECTED */
    REFUSE_OLD,
    DO_NAME,
    DO_NAME_OLD,
    DO_CONSENT,
    DO_COMPLEMENT,
    DO_REPLY,
    DO_STATUS,
    DO_CHALLENGE,
    DO_ACK,
} action;

static const uint8_t rules[READING_COUNT_][MSG_COUNT_] = {
    [ACCEPTED] = {[MSG_NAME] = DO_NAME,
                  [MSG_NAME_OLD] = DO_NAME_OLD,
                  [MSG_STATUS] = REFUSE,
                  [MSG_COMPLEMENT] = REFUSE,
                  [MSG_REPLY] = REFUSE,
                  [MSG_ACK] = REFUSE,
                  [MSG_OTHER] = REFUSE},
    [ALIVE_SENT] = {[MSG_NAME] = REFUSE,
                    [MSG_NAME_OLD] = REFUSE,
                    [MSG_STATUS] = DO_CONSENT,
                    [MSG_COMPLEMENT] = REFUSE,
                    [MSG_REPLY] = REFUSE,
                    [MSG_ACK] = REFUSE,
                    [MSG_OTHER] = REFUSE},
    [CHALLENGE_SENT] = {[MSG_NAME] = REFUSE,
                        [MSG_NAME_OLD] = REFUSE,
                        [MSG_STATUS] = REFUSE,
                        [MSG_COMPLEMENT] = REFUSE,
                        [MSG_REPLY] = DO_REPLY,
                        [MSG_ACK] = REFUSE,
                        [MSG_OTHER] = REFUSE},
    [COMPLEMENT_OWED] = {[MSG_NAME] = REFUSE,
                         [MSG_NAME_OLD] = REFUSE,
                         [MSG_STATUS] = REFUSE,
                         [MSG_COMPLEMENT] = DO_COMPLEMENT,
                         [MSG_REPLY] = REFUSE,
                         [MSG_ACK] = REFUSE,
                         [MSG_OTHER] = REFUSE},
    [DIALLED] = {[MSG_NAME] = REFUSE,
                 [MSG_NAME_OLD] = REFUSE,
                 [MSG_STATUS] = DO_STATUS,
                 [MSG_COMPLEMENT] = REFUSE,
                 [MSG_REPLY] = REFUSE,
                 [MSG_ACK] = REFUSE,
                 [MSG_OTHER] = REFUSE},
    [ADMITTED] = {[MSG_NAME] = DO_CHALLENGE,
                  [MSG_NAME_OLD] = REFUSE_OLD,
                  [MSG_STATUS] = REFUSE,
                  [MSG_COMPLEMENT] = REFUSE,
                  [MSG_REPLY] = REFUSE,
                  [MSG_ACK] = REFUSE,
                  [MSG_OTHER] = REFUSE},
    [REPLIED] = {[MSG_NAME] = REFUSE,
                 [MSG_NAME_OLD] = REFUSE,
                 [MSG_STATUS] = REFUSE,
                 [MSG_COMPLEMENT] = REFUSE,
                 [MSG_REPLY] = REFUSE,
                 [MSG_ACK] = DO_ACK,
                 [MSG_OTHER] = REFUSE},
};

static const struct {
    const char *name, *text;
} ends[] = {
#define DIST_END_DEF(name, text) {#name, text},
#include "proto/dist/handshake.def"
#undef DIST_END_DEF
};

const char *dist_handshake_end_name(dist_end e) { return (size_t)e < ARRAY_LEN(ends) ? ends[e].name : "?"; }
const char *dist_handshake_end_text(dist_end e) { return (size_t)e < ARRAY_LEN(ends) ? ends[e].text : "?"; }

static message message_of(slice m) {
    if (m.len == 0) return MSG_OTHER;
    switch (m.p[0]) {
    case TAG_NAME: return MSG_NAME;
    case TAG_NAME_OLD: return MSG_NAME_OLD;
    case TAG_STATUS: return MSG_STATUS;
    case TAG_COMPLEMENT: return MSG_COMPLEMENT;
    case TAG_REPLY: return MSG_REPLY;
    case TAG_ACK: return MSG_ACK;
    default: return MSG_OTHER;
    }
}

/* --- ending ---------------------------------------------------------------------------------------------------------------------- */
static void finish(dist_handshake *h, dist_handshake_event *ev, dist_end e, slice what) {
    h->state = ENDED;
    h->end = (uint8_t)e;
    h->cookie = SLICE_NULL;
    *ev = (dist_handshake_event){.kind = DIST_HANDSHAKE_END, .end = e, .what = what};
}

/* --- writing --------------------------------------------------------------------------------------------------------------------- */
static void begin(const dist_handshake *h, buf *out, size_t len, uint8_t tag) {
    if (h->carrier == DIST_CARRIER_TLS) buf_add_u16be(out, 0); /* the upper half of a length that is never above 512 */
    buf_add_u16be(out, (uint16_t)len);
    buf_add_byte(out, tag);
}

static void add_name(buf *out, slice name) {
    buf_add_u16be(out, (uint16_t)name.len);
    buf_add(out, name);
}

static void write_send_name(const dist_handshake *h, buf *out) {
    slice name = h->self.name;
    begin(h, out, 1 + 8 + 4 + 2 + name.len, TAG_NAME);
    buf_add_u64be(out, h->self.flags);
    buf_add_u32be(out, h->self.creation);
    add_name(out, name);
}

static void write_status(const dist_handshake *h, buf *out, const char *status) {
    begin(h, out, 1 + strlen(status), TAG_STATUS);
    buf_add_str(out, status);
}

static void write_named(const dist_handshake *h, buf *out, uint32_t creation) {
    slice name = dist_handshake_peer(h);
    static const char status[] = "named:";
    begin(h, out, 1 + (sizeof status - 1) + 2 + name.len + 4, TAG_STATUS);
    buf_add_str(out, status);
    add_name(out, name);
    buf_add_u32be(out, creation);
}

/* What we say that we can do: towards a hidden node we are hidden too (dist_util, adjust_flags/2), and who asked for a name gets its
 * question back. */
static uint64_t answered_flags(const dist_handshake *h) {
    uint64_t flags = h->self.flags;
    if (!(h->peer_flags & DIST_FLAG(PUBLISHED))) flags &= ~DIST_FLAG(PUBLISHED);
    if (dist_handshake_wants_name(h)) flags = (flags | DIST_FLAG(NAME_ME)) & ~DIST_FLAG(PUBLISHED);
    return flags;
}

static void write_challenge(const dist_handshake *h, buf *out) {
    slice name = h->self.name;
    begin(h, out, 1 + 8 + 4 + 4 + 2 + name.len, TAG_NAME);
    buf_add_u64be(out, answered_flags(h));
    buf_add_u32be(out, h->challenge);
    buf_add_u32be(out, h->self.creation);
    add_name(out, name);
}

static void add_digest(const dist_handshake *h, buf *out) {
    uint8_t digest[DIST_COOKIE_DIGEST];
    dist_cookie_digest(h->cookie, h->peer_challenge, digest);
    buf_add(out, slice_of(digest, sizeof digest));
}

static void write_reply(const dist_handshake *h, buf *out) {
    begin(h, out, 1 + 4 + DIST_COOKIE_DIGEST, TAG_REPLY);
    buf_add_u32be(out, h->challenge);
    add_digest(h, out);
}

static void write_ack(const dist_handshake *h, buf *out) {
    begin(h, out, 1 + DIST_COOKIE_DIGEST, TAG_ACK);
    add_digest(h, out);
}

/* --- the acceptor ---------------------------------------------------------------------------------------------------------------- */
void dist_handshake_accept(dist_handshake *h, dist_carrier carrier, const dist_self *self) {
    *h = (dist_handshake){.self = *self, .carrier = (uint16_t)carrier, .state = ACCEPTED};
}

static void set_peer(dist_handshake *h, slice name) {
    memcpy(h->peer, name.p, name.len);
    h->peer_len = (uint8_t)name.len;
}

/* The name of a send_name, and what else there is to say against it. OTP looks at flags first too, and says not_allowed. */
static void on_peer(dist_handshake *h, slice name, buf *out, dist_handshake_event *ev) {
    dist_name parsed;
    bool wants_name = dist_handshake_wants_name(h);
    if ((wants_name ? dist_name_parse_host(name) : dist_name_parse(name, &parsed)) != ERR_OK) {
        finish(h, ev, DIST_END_BAD_NAME, name);
        return;
    }
    set_peer(h, name);
    uint64_t missing = dist_flags_missing(h->peer_flags);
    bool own = slice_eq(name, h->self.name);
    if (missing || own) {
        write_status(h, out, "not_allowed");
        finish(h, ev, own ? DIST_END_OWN_NAME : DIST_END_FLAGS, dist_handshake_peer(h));
        if (!own) ev->missing = missing;
        return;
    }
    h->state = ASKED_ADMISSION;
    ev->kind = DIST_HANDSHAKE_PEER;
}

static void on_name(dist_handshake *h, slice m, buf *out, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(m, 1));
    uint16_t len;
    slice name;
    if (!cursor_u64be(&c, &h->peer_flags) || !cursor_u32be(&c, &h->peer_creation) || !cursor_u16be(&c, &len) ||
        !cursor_bytes(&c, len, &name)) {
        finish(h, ev, DIST_END_MALFORMED, m);
        return;
    }
    on_peer(h, name, out, ev); /* what follows the name is ignored: later versions may add to it */
}

/* 'n', version, 32 flags, name to the end: what OTP 23 and 24 send when they do not know that we are as new as they. */
static void on_name_old(dist_handshake *h, slice m, buf *out, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(m, 1));
    uint16_t version;
    uint32_t flags;
    slice name;
    if (!cursor_u16be(&c, &version) || !cursor_u32be(&c, &flags) || !cursor_bytes(&c, cursor_left(&c), &name)) {
        finish(h, ev, DIST_END_MALFORMED, m);
        return;
    }
    if (version < OLD_VERSION || !(dist_flags_expand(flags) & DIST_FLAG(HANDSHAKE_23))) {
        finish(h, ev, DIST_END_OLD_VERSION, name);
        return;
    }
    h->peer_flags = flags;
    h->old_name = true;
    on_peer(h, name, out, ev);
}

dist_verdict dist_handshake_decide(slice our_name, slice peer_name, dist_peer_view v) {
    if (!v.allowed) return DIST_VERDICT_NOT_ALLOWED;
    if (v.takeover_pending) return DIST_VERDICT_CLOSE;
    if (v.connected) return DIST_VERDICT_ALIVE;
    if (!v.attempt_pending) return DIST_VERDICT_OK;
    return dist_name_cmp(our_name, peer_name) > 0 ? DIST_VERDICT_NOK : DIST_VERDICT_OK_SIMULTANEOUS;
}

static void challenge_peer(dist_handshake *h, buf *out) {
    write_challenge(h, out);
    h->state = h->old_name ? COMPLEMENT_OWED : CHALLENGE_SENT;
}

/* Ends by our own decision; the event comes with the next call. */
static void give_up(dist_handshake *h, dist_end e) {
    h->state = ENDED;
    h->end = (uint8_t)e;
    h->cookie = SLICE_NULL;
}

/* With an empty cookie everybody could prove to know it. */
static bool cookie_usable(slice cookie) { return cookie.len > 0 && cookie.len <= DIST_COOKIE_MAX; }

/* Can the handshake go on with this? Whatever speaks against it is our own mistake. */
static bool admissible(const dist_handshake *h, const dist_admission *a) {
    dist_name n;
    if (!check(cookie_usable(a->cookie))) return false;
    if (!dist_handshake_wants_name(h)) return true;
    if (!check(a->verdict == DIST_VERDICT_OK)) return false; /* nobody dials a node that has no name, or is connected to it */
    /* The asker insists on its own host (dist_util, recv_status/1). */
    return check(dist_name_parse_own(a->given_name, &n) == ERR_OK && slice_eq(n.host, dist_handshake_peer(h))) &&
           check(a->given_creation >= CREATION_FIRST);
}

static bool goes_on(dist_verdict v) { return v == DIST_VERDICT_OK || v == DIST_VERDICT_OK_SIMULTANEOUS || v == DIST_VERDICT_ALIVE; }

/* Status ok, or the name that the peer has from now on. */
static void welcome(dist_handshake *h, const dist_admission *a, buf *out) {
    if (!dist_handshake_wants_name(h)) {
        write_status(h, out, "ok");
        return;
    }
    set_peer(h, a->given_name);
    h->peer_creation = a->given_creation;
    write_named(h, out, a->given_creation);
}

void dist_handshake_admit(dist_handshake *h, const dist_admission *a, buf *out) {
    if (!check(h->state == ASKED_ADMISSION)) return;
    dist_verdict v = a->verdict;
    if (goes_on(v) && !admissible(h, a)) v = DIST_VERDICT_NOT_ALLOWED;
    h->cookie = a->cookie;
    h->challenge = a->challenge;
    switch (v) {
    case DIST_VERDICT_OK:
        welcome(h, a, out);
        challenge_peer(h, out);
        break;
    case DIST_VERDICT_OK_SIMULTANEOUS:
        write_status(h, out, "ok_simultaneous");
        challenge_peer(h, out);
        break;
    case DIST_VERDICT_ALIVE:
        write_status(h, out, "alive");
        h->taking_over = true;
        h->state = ALIVE_SENT;
        break;
    case DIST_VERDICT_NOK:
        write_status(h, out, "nok");
        give_up(h, DIST_END_WE_KEEP_OURS);
        break;
    case DIST_VERDICT_NOT_ALLOWED:
        write_status(h, out, "not_allowed");
        give_up(h, DIST_END_WE_DO_NOT_ALLOW);
        break;
    case DIST_VERDICT_CLOSE: give_up(h, DIST_END_BUSY); break;
    }
}

static void on_consent(dist_handshake *h, slice m, buf *out, dist_handshake_event *ev) {
    slice text = slice_from(m, 1);
    if (slice_is(text, "true"))
        challenge_peer(h, out);
    else
        finish(h, ev, slice_is(text, "false") ? DIST_END_PEER_GAVE_UP : DIST_END_BAD_STATUS, text);
}

/* 'c': what an 'n' had no room for. */
static void on_complement(dist_handshake *h, slice m, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(m, 1));
    uint32_t high;
    if (!cursor_u32be(&c, &high) || !cursor_u32be(&c, &h->peer_creation) || cursor_left(&c) != 0) {
        finish(h, ev, DIST_END_MALFORMED, m);
        return;
    }
    h->peer_flags |= (uint64_t)high << 32 & ~DIST_FLAG(NAME_ME); /* it has told its name already */
    h->state = CHALLENGE_SENT;
}

static void come_up(dist_handshake *h, dist_handshake_event *ev) {
    h->flags = dist_flags_common(h->self.flags, h->peer_flags);
    h->cookie = SLICE_NULL;
    h->state = UP;
    ev->kind = DIST_HANDSHAKE_UP;
}

static void on_reply(dist_handshake *h, slice m, buf *out, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(m, 1));
    slice digest;
    if (!cursor_u32be(&c, &h->peer_challenge) || !cursor_bytes(&c, DIST_COOKIE_DIGEST, &digest) || cursor_left(&c) != 0) {
        finish(h, ev, DIST_END_MALFORMED, m);
    } else if (!dist_cookie_proves(h->cookie, h->challenge, digest)) {
        finish(h, ev, DIST_END_COOKIE, dist_handshake_peer(h));
    } else if (h->taking_over) {
        h->state = ASKED_OLD_DOWN;
        ev->kind = DIST_HANDSHAKE_TAKEOVER;
    } else {
        write_ack(h, out);
        come_up(h, ev);
    }
}

void dist_handshake_old_down(dist_handshake *h, buf *out) {
    if (!check(h->state == ASKED_OLD_DOWN)) return;
    write_ack(h, out);
    h->state = ACK_SENT;
}

/* --- the dialler ----------------------------------------------------------------------------------------------------------------- */
err dist_handshake_dial(dist_handshake *h, dist_carrier carrier, const dist_self *self, slice peer, slice cookie, uint32_t challenge,
                        buf *out) {
    dist_name theirs, ours;
    if (!check(cookie_usable(cookie))) return ERR_BUG;
    if (dist_name_parse(peer, &theirs) != ERR_OK) return ERR_INVALID;
    if (!(self->flags & DIST_FLAG(NAME_ME))) {
        if (!check(dist_name_parse_own(self->name, &ours) == ERR_OK)) return ERR_BUG;
        if (slice_eq(self->name, peer) || !dist_name_same_style(&ours, &theirs)) return ERR_REFUSED;
    } else if (!check(dist_name_parse_host(self->name) == ERR_OK))
        return ERR_BUG;
    *h = (dist_handshake){.self = *self, .cookie = cookie, .challenge = challenge, .carrier = (uint16_t)carrier, .state = DIALLED};
    set_peer(h, peer);
    write_send_name(h, out);
    return ERR_OK;
}

/* named: length, name, creation. */
static void on_named(dist_handshake *h, slice text, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(text, strlen("named:")));
    uint16_t len;
    uint32_t creation;
    slice name;
    dist_name n;
    if (!cursor_u16be(&c, &len) || !cursor_bytes(&c, len, &name) || !cursor_u32be(&c, &creation)) {
        finish(h, ev, DIST_END_MALFORMED, text);
    } else if (dist_name_parse_own(name, &n) != ERR_OK) {
        finish(h, ev, DIST_END_BAD_NAME, name);
    } else if (!slice_eq(n.host, h->self.name)) {
        finish(h, ev, DIST_END_OTHER_HOST, name);
    } else {
        memcpy(h->own, name.p, name.len);
        h->own_len = (uint8_t)name.len;
        h->self.creation = creation;
        h->state = ADMITTED;
    }
}

static void on_status(dist_handshake *h, slice m, dist_handshake_event *ev) {
    slice text = slice_from(m, 1);
    bool asked = (h->self.flags & DIST_FLAG(NAME_ME)) != 0;
    if (slice_is(text, "not_allowed"))
        finish(h, ev, DIST_END_NOT_ALLOWED, SLICE_NULL);
    else if (asked && slice_starts(text, SLICE("named:")))
        on_named(h, text, ev);
    else if (asked)
        finish(h, ev, DIST_END_BAD_STATUS, text);
    else if (slice_is(text, "ok") || slice_is(text, "ok_simultaneous"))
        h->state = ADMITTED;
    else if (slice_is(text, "nok"))
        finish(h, ev, DIST_END_NOK, SLICE_NULL);
    else if (slice_is(text, "alive")) {
        h->state = ASKED_CONSENT;
        ev->kind = DIST_HANDSHAKE_ALIVE;
    } else
        finish(h, ev, DIST_END_BAD_STATUS, text);
}

void dist_handshake_consent(dist_handshake *h, bool go_on, buf *out) {
    if (!check(h->state == ASKED_CONSENT)) return;
    write_status(h, out, go_on ? "true" : "false");
    if (go_on)
        h->state = ADMITTED;
    else
        give_up(h, DIST_END_WE_GAVE_UP);
}

static void on_challenge(dist_handshake *h, slice m, dist_handshake_event *ev) {
    cursor c = cursor_of(slice_from(m, 1));
    uint16_t len;
    slice name;
    if (!cursor_u64be(&c, &h->peer_flags) || !cursor_u32be(&c, &h->peer_challenge) || !cursor_u32be(&c, &h->peer_creation) ||
        !cursor_u16be(&c, &len) || !cursor_bytes(&c, len, &name)) {
        finish(h, ev, DIST_END_MALFORMED, m);
        return;
    }
    uint64_t missing = dist_flags_missing(h->peer_flags);
    if (!slice_eq(name, dist_handshake_peer(h))) {
        finish(h, ev, DIST_END_OTHER_NAME, name);
    } else if (missing) {
        finish(h, ev, DIST_END_FLAGS, SLICE_NULL);
        ev->missing = missing;
    } else {
        h->state = ASKED_CHALLENGE;
        ev->kind = DIST_HANDSHAKE_CHALLENGED;
        ev->challenge = h->peer_challenge;
    }
}

void dist_handshake_reply(dist_handshake *h, bool ours, buf *out) {
    if (!check(h->state == ASKED_CHALLENGE)) return;
    if (ours || h->peer_challenge == h->challenge) {
        give_up(h, DIST_END_REFLECTED);
        return;
    }
    write_reply(h, out);
    h->state = REPLIED;
}

static void on_ack(dist_handshake *h, slice m, dist_handshake_event *ev) {
    slice digest = slice_from(m, 1);
    if (digest.len != DIST_COOKIE_DIGEST)
        finish(h, ev, DIST_END_MALFORMED, m);
    else if (!dist_cookie_proves(h->cookie, h->challenge, digest))
        finish(h, ev, DIST_END_COOKIE, dist_handshake_peer(h));
    else
        come_up(h, ev);
}

/* --- reading --------------------------------------------------------------------------------------------------------------------- */
/* The message at the front of in. False: it is not all there yet, or (ev) too long to wait for. */
static bool take_message(dist_handshake *h, slice in, slice *out, size_t *out_used, dist_handshake_event *ev) {
    cursor c = cursor_of(in);
    uint16_t len16 = 0;
    uint32_t len = 0;
    if (h->carrier == DIST_CARRIER_TLS ? !cursor_u32be(&c, &len) : !cursor_u16be(&c, &len16)) return false;
    if (h->carrier == DIST_CARRIER_TCP) len = len16;
    if (len > DIST_HANDSHAKE_MESSAGE_MAX) {
        finish(h, ev, DIST_END_TOO_LONG, slice_sub(in, 0, DIST_HANDSHAKE_MESSAGE_MAX));
        return false;
    }
    if (!cursor_bytes(&c, len, out)) return false;
    *out_used = h->carrier + len;
    return true;
}

static void apply(dist_handshake *h, action a, slice m, buf *out, dist_handshake_event *ev) {
    switch (a) {
    case REFUSE: finish(h, ev, DIST_END_UNEXPECTED, m); break;
    case REFUSE_OLD: finish(h, ev, DIST_END_OLD_VERSION, m); break;
    case DO_NAME: on_name(h, m, out, ev); break;
    case DO_NAME_OLD: on_name_old(h, m, out, ev); break;
    case DO_CONSENT: on_consent(h, m, out, ev); break;
    case DO_COMPLEMENT: on_complement(h, m, ev); break;
    case DO_REPLY: on_reply(h, m, out, ev); break;
    case DO_STATUS: on_status(h, m, ev); break;
    case DO_CHALLENGE: on_challenge(h, m, ev); break;
    case DO_ACK: on_ack(h, m, ev); break;
    }
}

void dist_handshake_next(dist_handshake *h, slice in, buf *out, size_t *out_used, dist_handshake_event *ev) {
    *ev = (dist_handshake_event){.kind = DIST_HANDSHAKE_NONE};
    *out_used = 0;
    if (h->state == ENDED) {
        ev->kind = DIST_HANDSHAKE_END;
        ev->end = (dist_end)h->end;
        *out_used = in.len;
    }
    if (h->state == ACK_SENT) come_up(h, ev);
    /* A message that calls for no event is followed by the next one, so that NONE always means that something is awaited. */
    while (ev->kind == DIST_HANDSHAKE_NONE && h->state < READING_COUNT_) {
        slice m;
        size_t used = 0;
        if (!take_message(h, slice_from(in, *out_used), &m, &used, ev)) break;
        *out_used += used;
        apply(h, (action)rules[h->state][message_of(m)], m, out, ev);
    }
}
