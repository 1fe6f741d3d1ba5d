/* scram_client: the client's side of SCRAM (RFC 5802), for links between clusters and for tests of the server.
 *
 * What: first() -> final() -> verify(), one exchange. Why the limits come first: the server chooses the iterations, and the client
 * computes them; a hostile server asks for 2^31 to burn the client, or for 1 to make what it overhears cheap to guess from. Both are
 * refused before anything is computed (promises.md, SCRAM iteration games).
 *
 * Invariants: (1) no PBKDF2 outside SCRAM_ITERATIONS_MIN..MAX. (2) the server's nonce extends ours by at least one byte. (3) only
 * verify() says that the server knew the keys; nothing else counts as success. (4) a state is used once; the password is wiped as soon as
 * it was used. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "proto/xmpp/scram_wire.h"

typedef enum client_state { NEW, ASKED, PROVED, OVER } client_state;

struct xmpp_scram_client {
    digest_alg alg;
    client_state state;
    buf header;   /* gs2 header */
    buf binding;  /* gs2 header and channel binding data: c= */
    buf password; /* allocated once, so that no copy is left behind */
    buf nonce;
    buf auth;                         /* AuthMessage; at first client-first-message-bare */
    uint8_t signature[SCRAM_KEY_MAX]; /* what the server must answer; set in PROVED */
};

static bool cb_name_ok(slice name) {
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
        if (!ok) return false;
    }
    return name.len > 0 && name.len <= SCRAM_BINDING_MAX;
}

xmpp_scram_client *xmpp_scram_client_new(digest_alg alg, slice user, slice password, slice nonce, bool y_flag, slice cb_name,
                                         slice cb_data) {
    if (!check(xmpp_scram_nonce_ok(nonce, SCRAM_NONCE_MAX))) return NULL;
    if (!check(user.len > 0 && user.len <= SCRAM_MESSAGE_MAX / 4 && password.len <= SCRAM_MESSAGE_MAX)) return NULL;
    if (!check(slice_find(user, 0) == user.len && utf8_valid(user))) return NULL;
    if (cb_name.p && !check(!y_flag && cb_name_ok(cb_name) && cb_data.len > 0 && cb_data.len <= SCRAM_BINDING_MAX)) return NULL;
    xmpp_scram_client *c = mem_zalloc(sizeof *c);
    c->alg = alg;
    buf_init(&c->header, SCRAM_MESSAGE_MAX);
    buf_init(&c->binding, SCRAM_MESSAGE_MAX);
    buf_init(&c->password, SCRAM_MESSAGE_MAX);
    buf_init(&c->nonce, SCRAM_NONCE_MAX);
    buf_init(&c->auth, 3 * SCRAM_MESSAGE_MAX);
    buf_add(&c->password, password);
    buf_add(&c->nonce, nonce);
    if (cb_name.p) {
        buf_add(&c->header, SLICE("p="));
        buf_add(&c->header, cb_name);
    } else {
        buf_add_byte(&c->header, y_flag ? 'y' : 'n');
    }
    buf_add(&c->header, SLICE(",,"));
    buf_add(&c->binding, buf_slice(&c->header));
    if (cb_name.p) buf_add(&c->binding, cb_data);
    buf_add(&c->auth, SLICE("n="));
    xmpp_scram_escape(&c->auth, user);
    buf_add(&c->auth, SLICE(",r="));
    buf_add(&c->auth, nonce);
    return c;
}

void xmpp_scram_client_free(xmpp_scram_client *c) {
    if (!c) return;
    xmpp_scram_buf_wipe(&c->header);
    xmpp_scram_buf_wipe(&c->binding);
    xmpp_scram_buf_wipe(&c->password);
    xmpp_scram_buf_wipe(&c->nonce);
    xmpp_scram_buf_wipe(&c->auth);
    mem_wipe(c, sizeof *c);
    mem_free(c);
}

void xmpp_scram_client_first(xmpp_scram_client *c, buf *out) {
    if (!check(c->state == NEW)) return;
    buf_add(out, buf_slice(&c->header));
    buf_add(out, buf_slice(&c->auth));
    c->state = ASKED;
}

/* i=: digits without a leading zero (posit-number). More than the limit is ERR_LIMIT however many digits it has. */
static err read_iterations(slice text, uint32_t *out) {
    uint64_t n;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return ERR_PROTO;
    }
    if (text.len == 0 || text.p[0] == '0') return ERR_PROTO;
    if (dec_parse_u64(text, SCRAM_ITERATIONS_MAX, &n) != ERR_OK) return ERR_LIMIT;
    if (n < SCRAM_ITERATIONS_MIN) return ERR_REFUSED;
    *out = (uint32_t)n;
    return ERR_OK;
}

/* server-first-message: r= s= i= [extensions]. salt: decoded into the caller's buf. */
static err read_challenge(const xmpp_scram_client *c, slice msg, slice *out_nonce, buf *salt, uint32_t *out_iterations) {
    scram_attrs a;
    slice nonce, text, iterations;
    if (!xmpp_scram_open(msg, &a)) return ERR_PROTO;
    if (!xmpp_scram_take(&a, 'r', &nonce) || !xmpp_scram_take(&a, 's', &text) || !xmpp_scram_take(&a, 'i', &iterations)) return ERR_PROTO;
    while (a.more) {
        if (!xmpp_scram_skip_extension(&a)) return ERR_PROTO;
    }
    if (!xmpp_scram_nonce_ok(nonce, 2 * SCRAM_NONCE_MAX) || nonce.len <= c->nonce.len) return ERR_PROTO;
    if (!slice_starts(nonce, buf_slice(&c->nonce))) return ERR_PROTO;
    if (text.len > BASE64_LEN(SCRAM_SALT_MAX) || base64_decode(salt, text) != ERR_OK || !buf_ok(salt) || salt->len == 0) return ERR_PROTO;
    *out_nonce = nonce;
    return read_iterations(iterations, out_iterations);
}

err xmpp_scram_client_final(xmpp_scram_client *c, slice msg, buf *out) {
    if (!check(c->state == ASKED)) return ERR_BUG;
    c->state = OVER;
    slice nonce = SLICE_NULL;
    uint32_t iterations = 0;
    uint8_t salted[SCRAM_KEY_MAX], client_key[SCRAM_KEY_MAX], stored_key[SCRAM_KEY_MAX], server_key[SCRAM_KEY_MAX], proof[SCRAM_KEY_MAX];
    size_t len = digest_len(c->alg);
    buf salt;
    buf_init(&salt, SCRAM_SALT_MAX);
    err e = read_challenge(c, msg, &nonce, &salt, &iterations);
    if (e == ERR_OK) digest_pbkdf2(c->alg, buf_slice(&c->password), buf_slice(&salt), iterations, salted);
    buf_fini(&salt);
    xmpp_scram_buf_wipe(&c->password);
    if (e != ERR_OK) return e;
    xmpp_scram_keys_of(c->alg, salted, client_key, stored_key, server_key);

    size_t start = out->len;
    buf_add(out, SLICE("c="));
    base64_encode(out, buf_slice(&c->binding));
    buf_add(out, SLICE(",r="));
    buf_add(out, nonce);
    if (!buf_ok(out)) e = ERR_LIMIT;
    buf_add_byte(&c->auth, ',');
    buf_add(&c->auth, msg);
    buf_add_byte(&c->auth, ',');
    if (e == ERR_OK) buf_add(&c->auth, slice_from(buf_slice(out), start));
    if (!check(buf_ok(&c->auth))) e = ERR_BUG;

    digest_hmac(c->alg, slice_of(stored_key, len), buf_slice(&c->auth), proof);
    xmpp_scram_xor(c->alg, proof, client_key);
    digest_hmac(c->alg, slice_of(server_key, len), buf_slice(&c->auth), c->signature);
    mem_wipe(salted, sizeof salted);
    mem_wipe(client_key, sizeof client_key);
    mem_wipe(stored_key, sizeof stored_key);
    mem_wipe(server_key, sizeof server_key);
    if (e != ERR_OK) return e;
    buf_add(out, SLICE(",p="));
    base64_encode(out, slice_of(proof, len));
    if (!buf_ok(out)) return ERR_LIMIT;
    c->state = PROVED;
    return ERR_OK;
}

err xmpp_scram_client_verify(xmpp_scram_client *c, slice msg) {
    if (!check(c->state == PROVED)) return ERR_BUG;
    c->state = OVER;
    scram_attrs a;
    slice text;
    if (!xmpp_scram_open(msg, &a)) return ERR_PROTO;
    if (xmpp_scram_next_is(&a, 'e')) return ERR_AUTH;
    if (!xmpp_scram_take(&a, 'v', &text)) return ERR_PROTO;
    while (a.more) {
        if (!xmpp_scram_skip_extension(&a)) return ERR_PROTO;
    }
    buf got;
    buf_init(&got, SCRAM_KEY_MAX);
    err e = ERR_PROTO;
    if (text.len <= BASE64_LEN(SCRAM_KEY_MAX) && base64_decode(&got, text) == ERR_OK && buf_ok(&got)) {
        e = slice_eq_ct(buf_slice(&got), slice_of(c->signature, digest_len(c->alg))) ? ERR_OK : ERR_AUTH;
    }
    xmpp_scram_buf_wipe(&got);
    return e;
}
