/* sasl: the server's side of one authentication exchange (RFC 6120 section 6).
 *
 * What: SCRAM, PLAIN and ANONYMOUS behind one table of steps. Why steps: to look up keys and to check a PLAIN password (a PBKDF2) takes
 * time that a shard does not have; the machine says what it needs, the caller fetches it and comes back.
 *
 *              feed                 keys                 feed
 *     START ----------> KEYS ----------------> FINAL --------------> OVER     SCRAM
 *       |  \  ---------> CHECK ----- checked ------------------------> OVER   PLAIN
 *       |   \ -------------------------------------------------------> OVER   ANONYMOUS
 *       +-- no initial response: NEED_DATA once, then as before
 *
 * Invariants: (1) an exchange has one mechanism, which was offered on this stream. (2) SUCCESS is returned once, as the last step, and
 * only: SCRAM with a fitting proof for an account that exists, PLAIN with the caller's verdict, ANONYMOUS where it was offered. (3) an
 * authzid is refused unless it is the account's own bare JID. (4) an unknown user takes the same steps as a known one to the same error.
 * (5) a step called out of its state fails the exchange. (6) passwords are wiped: the decoded message at once, the prepared one at the
 * verdict. */
#include "proto/xmpp/sasl.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "proto/xmpp/jid.h"

#define ANON_TRACE_MAX 255                     /* RFC 4505 section 2 */
#define ARENA_MAX      (8 * XMPP_JID_PART_MAX) /* prepared user, password, domain and an authzid with its parts */
#define DOMAIN_MAX     XMPP_JID_PART_MAX

typedef enum sasl_state { START, KEYS, FINAL, CHECK, OVER } sasl_state;

struct xmpp_sasl {
    xmpp_mech mech;
    sasl_state state;
    bool asked;               /* NEED_DATA was returned: an empty answer is now data */
    bool exists;              /* the keys were an account's */
    xmpp_scram_server *scram; /* NULL for the others */
    slice domain;             /* in mem */
    slice user;               /* in mem */
    uint8_t *password;        /* NULL, or password_len bytes of the heap; PLAIN between NEED_CHECK and checked */
    size_t password_len;
    arena mem;
};

typedef struct mech_info {
    const char *name;
    digest_alg alg;
    bool scram;
    bool plus;
} mech_info;

static const mech_info mechs[XMPP_MECH_COUNT_] = {
    [XMPP_MECH_NONE] = {"", DIGEST_SHA256, false, false},
    [XMPP_MECH_SCRAM_SHA_256_PLUS] = {"SCRAM-SHA-256-PLUS", DIGEST_SHA256, true, true},
    [XMPP_MECH_SCRAM_SHA_1_PLUS] = {"SCRAM-SHA-1-PLUS", DIGEST_SHA1, true, true},
    [XMPP_MECH_SCRAM_SHA_256] = {"SCRAM-SHA-256", DIGEST_SHA256, true, false},
    [XMPP_MECH_SCRAM_SHA_1] = {"SCRAM-SHA-1", DIGEST_SHA1, true, false},
    [XMPP_MECH_PLAIN] = {"PLAIN", DIGEST_SHA256, false, false},
    [XMPP_MECH_ANONYMOUS] = {"ANONYMOUS", DIGEST_SHA256, false, false},
};

const char *xmpp_sasl_mech_name(xmpp_mech m) { return (unsigned)m < XMPP_MECH_COUNT_ ? mechs[m].name : ""; }

xmpp_mech xmpp_sasl_mech_find(slice name) {
    for (int m = XMPP_MECH_NONE + 1; m < XMPP_MECH_COUNT_; m++) {
        if (slice_is(name, mechs[m].name)) return (xmpp_mech)m;
    }
    return XMPP_MECH_NONE;
}

xmpp_sasl *xmpp_sasl_new(slice mechanism, uint32_t allowed, const xmpp_scram_binding *b, slice nonce, slice domain,
                         xmpp_sasl_error *out_error) {
    xmpp_mech m = xmpp_sasl_mech_find(mechanism);
    if (m == XMPP_MECH_NONE || !(allowed & 1u << m)) {
        *out_error = SASL_INVALID_MECHANISM;
        return NULL;
    }
    xmpp_sasl *s = mem_zalloc(sizeof *s);
    s->mech = m;
    arena_init(&s->mem, ARENA_MAX);
    if (mechs[m].scram) s->scram = xmpp_scram_server_new(mechs[m].alg, mechs[m].plus, b, nonce);
    s->domain = check(domain.len > 0 && domain.len <= DOMAIN_MAX) ? arena_dup(&s->mem, domain) : SLICE_NULL;
    if ((mechs[m].scram && !s->scram) || !s->domain.p) {
        xmpp_sasl_free(s);
        *out_error = SASL_TEMPORARY_AUTH_FAILURE;
        return NULL;
    }
    return s;
}

static void forget_password(xmpp_sasl *s) {
    if (s->password) mem_wipe(s->password, s->password_len);
    mem_free(s->password);
    s->password = NULL;
    s->password_len = 0;
}

void xmpp_sasl_free(xmpp_sasl *s) {
    if (!s) return;
    forget_password(s);
    xmpp_scram_server_free(s->scram);
    arena_fini(&s->mem);
    mem_wipe(s, sizeof *s);
    mem_free(s);
}

static xmpp_sasl_step fail(xmpp_sasl *s, xmpp_sasl_error e, xmpp_sasl_error *out_error) {
    forget_password(s);
    s->state = OVER;
    *out_error = e;
    return XMPP_SASL_FAILURE;
}

/* An authorisation identity is the bare JID of the account itself, or nothing (RFC 6120 section 6.3.8). */
static bool authzid_ok(xmpp_sasl *s, slice authzid) {
    xmpp_jid j;
    if (authzid.len == 0) return true;
    if (xmpp_jid_parse(authzid, &s->mem, &j, NULL) != ERR_OK) return false;
    return j.local.p && !j.resource.p && slice_eq(j.local, s->user) && slice_eq(j.domain, s->domain);
}

static xmpp_sasl_step on_scram_first(xmpp_sasl *s, slice msg, xmpp_sasl_error *out_error) {
    slice user, authzid;
    xmpp_sasl_error e = xmpp_scram_server_first(s->scram, msg, &user, &authzid);
    if (e != SASL_OK) return fail(s, e, out_error);
    if (xmpp_jid_prep_local(user, &s->mem, &s->user) != ERR_OK) return fail(s, SASL_NOT_AUTHORIZED, out_error);
    if (!authzid_ok(s, authzid)) return fail(s, SASL_INVALID_AUTHZID, out_error);
    s->state = KEYS;
    return XMPP_SASL_NEED_KEYS;
}

static xmpp_sasl_step on_scram_final(xmpp_sasl *s, slice msg, buf *out, xmpp_sasl_error *out_error) {
    size_t before = out->len;
    xmpp_sasl_error e = xmpp_scram_server_final(s->scram, msg, out);
    if (e == SASL_OK && !s->exists) { /* nobody has a proof for fake keys; should somebody, it is still not an account */
        out->len = before;
        e = SASL_NOT_AUTHORIZED;
    }
    if (e != SASL_OK) return fail(s, e, out_error);
    s->state = OVER;
    return XMPP_SASL_SUCCESS;
}

/* The prepared password moves to memory that is wiped when it is dropped. */
static err take_password(xmpp_sasl *s, slice text) {
    arena tmp;
    slice p;
    arena_init(&tmp, 2 * XMPP_JID_PART_MAX);
    err e = xmpp_jid_saslprep(text, &tmp, &p);
    if (e == ERR_OK) {
        s->password = mem_alloc(p.len);
        s->password_len = p.len;
        memcpy(s->password, p.p, p.len);
        mem_wipe((void *)(uintptr_t)p.p, p.len);
    }
    arena_fini(&tmp);
    return e;
}

/* [authzid] NUL authcid NUL passwd (RFC 4616 section 2). */
static xmpp_sasl_step on_plain(xmpp_sasl *s, slice msg, xmpp_sasl_error *out_error) {
    size_t first = slice_find(msg, 0);
    slice authzid = slice_sub(msg, 0, first), rest = slice_from(msg, first + 1);
    size_t second = slice_find(rest, 0);
    slice user = slice_sub(rest, 0, second), password = slice_from(rest, second + 1);
    if (first == msg.len || second == rest.len || user.len == 0 || password.len == 0) return fail(s, SASL_MALFORMED_REQUEST, out_error);
    if (slice_find(password, 0) != password.len || !utf8_valid(msg)) return fail(s, SASL_MALFORMED_REQUEST, out_error);
    /* a name or a password that cannot be prepared is nobody's: the same answer as for a wrong one */
    if (xmpp_jid_prep_local(user, &s->mem, &s->user) != ERR_OK) return fail(s, SASL_NOT_AUTHORIZED, out_error);
    if (!authzid_ok(s, authzid)) return fail(s, SASL_INVALID_AUTHZID, out_error);
    if (take_password(s, password) != ERR_OK) return fail(s, SASL_NOT_AUTHORIZED, out_error);
    s->state = CHECK;
    return XMPP_SASL_NEED_CHECK;
}

/* The message is a trace for the log of a server that wants one; this one does not. */
static xmpp_sasl_step on_anonymous(xmpp_sasl *s, slice msg, xmpp_sasl_error *out_error) {
    if (msg.len > ANON_TRACE_MAX || !utf8_valid(msg)) return fail(s, SASL_MALFORMED_REQUEST, out_error);
    s->state = OVER;
    return XMPP_SASL_SUCCESS;
}

static xmpp_sasl_step on_message(xmpp_sasl *s, slice msg, buf *out, xmpp_sasl_error *out_error) {
    switch (s->mech) {
    case XMPP_MECH_SCRAM_SHA_256_PLUS:
    case XMPP_MECH_SCRAM_SHA_1_PLUS:
    case XMPP_MECH_SCRAM_SHA_256:
    case XMPP_MECH_SCRAM_SHA_1: return s->state == START ? on_scram_first(s, msg, out_error) : on_scram_final(s, msg, out, out_error);
    case XMPP_MECH_PLAIN: return on_plain(s, msg, out_error);
    case XMPP_MECH_ANONYMOUS: return on_anonymous(s, msg, out_error);
    case XMPP_MECH_NONE:
    case XMPP_MECH_COUNT_: break;
    }
    return fail(s, SASL_TEMPORARY_AUTH_FAILURE, out_error);
}

xmpp_sasl_step xmpp_sasl_feed(xmpp_sasl *s, slice base64, buf *out, xmpp_sasl_error *out_error) {
    if (s->state != START && s->state != FINAL) return fail(s, SASL_MALFORMED_REQUEST, out_error); /* the client talks out of turn */
    if (s->state == START && !s->asked && base64.len == 0) {
        s->asked = true;
        return XMPP_SASL_NEED_DATA;
    }
    if (base64.len > BASE64_LEN(SCRAM_MESSAGE_MAX)) return fail(s, SASL_MALFORMED_REQUEST, out_error);
    buf msg;
    buf_init(&msg, BASE64_LEN(SCRAM_MESSAGE_MAX));
    (void)buf_reserve(&msg, base64.len + 1); /* in one piece: a copy that realloc leaves behind may hold a password */
    xmpp_sasl_step step;
    if (!slice_is(base64, "=") && (base64_decode(&msg, base64) != ERR_OK || !buf_ok(&msg))) {
        step = fail(s, SASL_INCORRECT_ENCODING, out_error);
    } else {
        step = on_message(s, slice_of(msg.p, msg.len), out, out_error);
    }
    if (msg.p) mem_wipe(msg.p, msg.cap);
    buf_fini(&msg);
    return step;
}

xmpp_sasl_step xmpp_sasl_keys(xmpp_sasl *s, const xmpp_scram_keys *k, bool exists, buf *out, xmpp_sasl_error *out_error) {
    if (!check(s->state == KEYS)) return fail(s, SASL_TEMPORARY_AUTH_FAILURE, out_error);
    xmpp_sasl_error e = xmpp_scram_server_challenge(s->scram, k, out);
    if (e != SASL_OK) return fail(s, e, out_error);
    s->exists = exists;
    s->state = FINAL;
    return XMPP_SASL_CHALLENGE;
}

xmpp_sasl_step xmpp_sasl_checked(xmpp_sasl *s, bool ok, buf *out, xmpp_sasl_error *out_error) {
    (void)out; /* PLAIN has no additional data with success; the parameter is there because a step may have */
    if (!check(s->state == CHECK)) return fail(s, SASL_TEMPORARY_AUTH_FAILURE, out_error);
    if (!ok) return fail(s, SASL_NOT_AUTHORIZED, out_error);
    forget_password(s);
    s->state = OVER;
    return XMPP_SASL_SUCCESS;
}

xmpp_mech xmpp_sasl_mech(const xmpp_sasl *s) { return s->mech; }
digest_alg xmpp_sasl_alg(const xmpp_sasl *s) { return mechs[s->mech].alg; }
slice xmpp_sasl_user(const xmpp_sasl *s) { return s->user; }
slice xmpp_sasl_password(const xmpp_sasl *s) { return slice_of(s->password, s->password_len); }
