/* scram_server: the server's side of SCRAM (RFC 5802, RFC 7677), with channel binding (RFC 5929 tls-server-end-point, RFC 9266
 * tls-exporter).
 *
 *     client                                      server
 *       | n,,n=user,r=C                             |   NEW
 *       |------------------------------------------>|   NAMED       first(): gs2 flag against -PLUS; who is it?
 *       |        r=CS,s=salt,i=iterations,h=offered |
 *       |<------------------------------------------|   CHALLENGED  challenge(): with the account's keys, or fake ones
 *       | c=b64(gs2 header + binding),r=CS,p=proof  |
 *       |------------------------------------------>|   OVER        final(): binding, nonce, proof
 *       |                               v=signature |
 *       |<------------------------------------------|
 *
 * Why it is written this way: a login costs two HMACs and one hash, because the account stores StoredKey and ServerKey (promises.md,
 * SCRAM iteration games); the man in the middle is caught by the c= attribute, which repeats the gs2 header as it was received and adds
 * the TLS connection's own data, all of it under the proof (promises.md, SASL downgrade). The lists from which the client chose are under
 * the proof too, as a hash in the challenge (XEP-0474): only the client can compare them, and only the server that its own is unchanged.
 *
 * Invariants: (1) every exchange ends at the first error: the state becomes OVER, and nothing is accepted in OVER. (2) the nonce is used
 * for one exchange. (3) success needs all of: the gs2 header and binding data equal to ours, the whole nonce, the proof. (4) -PLUS if and
 * only if the flag is 'p', with a binding that this connection has. (5) 'y' is refused when a -PLUS mechanism was offered. (6) the server
 * signature is sent only after the proof was right. (7) keys and proofs are wiped. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/plant.h"
#include "proto/xmpp/scram_wire.h"

typedef enum server_state { NEW, NAMED, CHALLENGED, OVER } server_state;

struct xmpp_scram_server {
    digest_alg alg;
    server_state state;
    bool plus;         /* the -PLUS mechanism was chosen */
    bool plus_offered; /* and whether one could have been */
    bool has_authzid;
    uint8_t nonce_len;
    uint8_t exporter_len; /* 0: not available */
    uint8_t end_point_len;
    uint8_t unique_len;
    uint8_t nonce[SCRAM_NONCE_MAX]; /* our half */
    uint8_t exporter[SCRAM_BINDING_MAX];
    uint8_t end_point[SCRAM_BINDING_MAX];
    uint8_t unique[SCRAM_BINDING_MAX];
    bool has_offer;
    uint8_t offer[DIGEST_MAX]; /* hash of what was offered (XEP-0474) */
    buf user;                  /* saslname decoded */
    buf authzid;               /* the same */
    buf binding;               /* what c= must decode to: the gs2 header as received, then the binding data */
    buf nonces;                /* the client's nonce, then ours */
    buf auth;                  /* AuthMessage: client-first-bare , server-first , client-final-without-proof */
    xmpp_scram_keys keys;
};

/* --- what was offered (XEP-0474) ------------------------------------------------------------------------------------------------ */
#define BETWEEN_NAMES 0x1e /* neither can be in XML, and so not in a name */
#define BETWEEN_LISTS 0x1f

static void add_sorted(const char *const *names, buf *out) {
    slice sorted[SCRAM_OFFERS_MAX];
    size_t n = 0;
    for (; names[n] && check(n < SCRAM_OFFERS_MAX); n++) {
        size_t at = n;
        for (; at > 0 && slice_cmp(slice_str(names[n]), sorted[at - 1]) < 0; at--) sorted[at] = sorted[at - 1];
        sorted[at] = slice_str(names[n]);
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_add_byte(out, BETWEEN_NAMES);
        buf_add(out, sorted[i]);
    }
}

void xmpp_scram_offer(const char *const *mechs, const char *const *bindings, buf *out) {
    add_sorted(mechs, out);
    if (!bindings) return;
    buf_add_byte(out, BETWEEN_LISTS);
    add_sorted(bindings, out);
}

/* --- the exchange --------------------------------------------------------------------------------------------------------------- */
static bool copy_binding(slice from, uint8_t *to, uint8_t *out_len) {
    if (!check(from.len <= SCRAM_BINDING_MAX)) return false;
    if (from.len) memcpy(to, from.p, from.len);
    *out_len = (uint8_t)from.len;
    return true;
}

xmpp_scram_server *xmpp_scram_server_new(digest_alg alg, bool plus, const xmpp_scram_binding *b, slice nonce) {
    if (!check(xmpp_scram_nonce_ok(nonce, SCRAM_NONCE_MAX))) return NULL;
    xmpp_scram_server *s = mem_zalloc(sizeof *s);
    s->alg = alg;
    s->plus = plus;
    s->plus_offered = b->plus_offered;
    s->has_offer = b->offer.p != NULL;
    if (s->has_offer) digest_sum(alg, b->offer, s->offer);
    memcpy(s->nonce, nonce.p, nonce.len);
    s->nonce_len = (uint8_t)nonce.len;
    buf_init(&s->user, SCRAM_MESSAGE_MAX);
    buf_init(&s->authzid, SCRAM_MESSAGE_MAX);
    buf_init(&s->binding, SCRAM_MESSAGE_MAX + SCRAM_BINDING_MAX);
    buf_init(&s->nonces, 2 * SCRAM_NONCE_MAX);
    buf_init(&s->auth, 3 * SCRAM_MESSAGE_MAX);
    if (!copy_binding(b->tls_exporter, s->exporter, &s->exporter_len) ||
        !copy_binding(b->tls_server_end_point, s->end_point, &s->end_point_len) ||
        !copy_binding(b->tls_unique, s->unique, &s->unique_len)) {
        xmpp_scram_server_free(s);
        return NULL;
    }
    return s;
}

void xmpp_scram_server_free(xmpp_scram_server *s) {
    if (!s) return;
    buf_fini(&s->user);
    buf_fini(&s->authzid);
    xmpp_scram_buf_wipe(&s->binding);
    buf_fini(&s->nonces);
    xmpp_scram_buf_wipe(&s->auth);
    mem_wipe(s, sizeof *s);
    mem_free(s);
}

static xmpp_sasl_error over(xmpp_scram_server *s, xmpp_sasl_error e) {
    s->state = OVER;
    return e;
}

/* p=name: is this binding ours to check, and what is its data? */
static bool find_binding(const xmpp_scram_server *s, slice name, slice *out_data) {
    slice data = SLICE_NULL;
    if (slice_is(name, "tls-exporter"))
        data = slice_of(s->exporter, s->exporter_len);
    else if (slice_is(name, "tls-server-end-point"))
        data = slice_of(s->end_point, s->end_point_len);
    else if (slice_is(name, "tls-unique"))
        data = slice_of(s->unique, s->unique_len);
    if (data.len == 0) return false;
    *out_data = data;
    return true;
}

/* gs2-cbind-flag "," [authzid] ","; the rest stays in a. data: what the binding adds to c=. */
static xmpp_sasl_error read_gs2(xmpp_scram_server *s, scram_attrs *a, slice *out_data) {
    slice name;
    if (xmpp_scram_next_is(a, 'p')) {
        if (!s->plus || !xmpp_scram_take(a, 'p', &name) || !find_binding(s, name, out_data)) return SASL_MALFORMED_REQUEST;
    } else {
        bool y = slice_starts(a->rest, SLICE("y,"));
        if (!y && !slice_starts(a->rest, SLICE("n,"))) return SASL_MALFORMED_REQUEST;
        if (y && s->plus_offered) return SASL_NOT_AUTHORIZED; /* somebody took our -PLUS out of the list */
        if (s->plus) return SASL_MALFORMED_REQUEST;
        a->rest = slice_from(a->rest, 2);
    }
    if (slice_starts(a->rest, SLICE(","))) {
        a->rest = slice_from(a->rest, 1);
        return SASL_OK;
    }
    slice authzid;
    if (!xmpp_scram_take(a, 'a', &authzid) || !a->more) return SASL_MALFORMED_REQUEST;
    if (!xmpp_scram_unescape(authzid, &s->authzid)) return SASL_MALFORMED_REQUEST;
    s->has_authzid = true;
    return SASL_OK;
}

/* client-first-message-bare: n= r= [extensions]. */
static bool read_bare(xmpp_scram_server *s, scram_attrs *a) {
    slice user, nonce;
    if (!xmpp_scram_take(a, 'n', &user) || !xmpp_scram_unescape(user, &s->user)) return false;
    if (!xmpp_scram_take(a, 'r', &nonce) || !xmpp_scram_nonce_ok(nonce, SCRAM_NONCE_MAX)) return false;
    while (a->more) {
        if (!xmpp_scram_skip_extension(a)) return false;
    }
    buf_add(&s->nonces, nonce);
    buf_add(&s->nonces, slice_of(s->nonce, s->nonce_len));
    return true;
}

xmpp_sasl_error xmpp_scram_server_first(xmpp_scram_server *s, slice msg, slice *out_user, slice *out_authzid) {
    if (!check(s->state == NEW)) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    scram_attrs a;
    slice data = SLICE_NULL;
    if (!xmpp_scram_open(msg, &a)) return over(s, SASL_MALFORMED_REQUEST);
    xmpp_sasl_error e = read_gs2(s, &a, &data);
    if (e != SASL_OK) return over(s, e);
    size_t header = (size_t)(a.rest.p - msg.p);
    if (!read_bare(s, &a)) return over(s, SASL_MALFORMED_REQUEST);
    buf_add(&s->binding, slice_sub(msg, 0, header));
    buf_add(&s->binding, data);
    buf_add(&s->auth, slice_from(msg, header));
    if (!check(buf_ok(&s->binding) && buf_ok(&s->auth) && buf_ok(&s->nonces))) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    s->state = NAMED;
    *out_user = buf_slice(&s->user);
    *out_authzid = s->has_authzid ? buf_slice(&s->authzid) : SLICE_NULL;
    return SASL_OK;
}

xmpp_sasl_error xmpp_scram_server_challenge(xmpp_scram_server *s, const xmpp_scram_keys *k, buf *out) {
    if (!check(s->state == NAMED)) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    if (!check(k->alg == s->alg && k->salt_len > 0 && k->salt_len <= SCRAM_SALT_MAX)) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    s->keys = *k;
    size_t bare = s->auth.len;
    buf_add(&s->auth, SLICE(",r="));
    buf_add(&s->auth, buf_slice(&s->nonces));
    buf_add(&s->auth, SLICE(",s="));
    base64_encode(&s->auth, slice_of(k->salt, k->salt_len));
    buf_addf(&s->auth, ",i=%u", k->iterations);
    if (s->has_offer) {
        buf_add(&s->auth, SLICE(",h="));
        base64_encode(&s->auth, slice_of(s->offer, digest_len(s->alg)));
    }
    buf_add(out, slice_from(buf_slice(&s->auth), bare + 1));
    if (!check(buf_ok(&s->auth) && buf_ok(out))) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    s->state = CHALLENGED;
    return SASL_OK;
}

/* The attributes of client-final-message; without_proof ends before ",p=". */
static bool read_final(slice msg, slice *out_binding, slice *out_nonce, slice *out_without_proof, slice *out_proof) {
    scram_attrs a;
    if (!xmpp_scram_open(msg, &a)) return false;
    if (!xmpp_scram_take(&a, 'c', out_binding) || !xmpp_scram_take(&a, 'r', out_nonce)) return false;
    while (!xmpp_scram_next_is(&a, 'p')) {
        if (!xmpp_scram_skip_extension(&a)) return false;
    }
    *out_without_proof = xmpp_scram_before(&a, msg);
    return xmpp_scram_take(&a, 'p', out_proof) && !a.more;
}

/* Is text the base64 of exactly want? Strict base64 has one text for each value, and a wrong length is no secret. */
static bool is_base64_of(slice text, slice want) {
    buf got;
    buf_init(&got, SCRAM_MESSAGE_MAX);
    bool same = base64_decode(&got, text) == ERR_OK && buf_ok(&got) && slice_eq_ct(buf_slice(&got), want);
    xmpp_scram_buf_wipe(&got);
    return same;
}

/* H(ClientProof xor HMAC(StoredKey, AuthMessage)) == StoredKey. */
static bool proof_fits(const xmpp_scram_server *s, const uint8_t *proof) {
    size_t len = digest_len(s->alg);
    uint8_t client_key[SCRAM_KEY_MAX], stored_key[SCRAM_KEY_MAX];
    digest_hmac(s->alg, slice_of(s->keys.stored_key, len), buf_slice(&s->auth), client_key);
    xmpp_scram_xor(s->alg, client_key, proof);
    digest_sum(s->alg, slice_of(client_key, len), stored_key);
    bool fits =
        slice_eq_ct(slice_of(stored_key, plant(PROOF_TRUNCATED) ? 1 : len), slice_of(s->keys.stored_key, plant(PROOF_TRUNCATED) ? 1 : len));
    mem_wipe(client_key, sizeof client_key);
    mem_wipe(stored_key, sizeof stored_key);
    return fits;
}

/* The proof's bytes; false if it is not base64 of one digest. */
static bool decode_proof(digest_alg alg, slice text, uint8_t *out) {
    buf proof;
    buf_init(&proof, SCRAM_KEY_MAX);
    bool ok =
        text.len <= BASE64_LEN(SCRAM_KEY_MAX) && base64_decode(&proof, text) == ERR_OK && buf_ok(&proof) && proof.len == digest_len(alg);
    if (ok) memcpy(out, proof.p, proof.len);
    xmpp_scram_buf_wipe(&proof);
    return ok;
}

xmpp_sasl_error xmpp_scram_server_final(xmpp_scram_server *s, slice msg, buf *out) {
    if (!check(s->state == CHALLENGED)) return over(s, SASL_TEMPORARY_AUTH_FAILURE);
    s->state = OVER;
    slice binding, nonce, without_proof, text;
    uint8_t proof[SCRAM_KEY_MAX], signature[SCRAM_KEY_MAX];
    if (!read_final(msg, &binding, &nonce, &without_proof, &text)) return SASL_MALFORMED_REQUEST;
    if (!decode_proof(s->alg, text, proof)) return SASL_MALFORMED_REQUEST;
    if (!is_base64_of(binding, buf_slice(&s->binding)) && !plant(BINDING_NOT_COMPARED))
        return SASL_NOT_AUTHORIZED; /* another header, or another connection */
    if (!slice_eq(nonce, buf_slice(&s->nonces))) return SASL_NOT_AUTHORIZED;
    buf_add_byte(&s->auth, ',');
    buf_add(&s->auth, without_proof);
    if (!check(buf_ok(&s->auth))) return SASL_TEMPORARY_AUTH_FAILURE;
    bool fits = proof_fits(s, proof);
    mem_wipe(proof, sizeof proof);
    if (!fits) return SASL_NOT_AUTHORIZED;
    digest_hmac(s->alg, slice_of(s->keys.server_key, digest_len(s->alg)), buf_slice(&s->auth), signature);
    buf_add(out, SLICE("v="));
    base64_encode(out, slice_of(signature, digest_len(s->alg)));
    return check(buf_ok(out)) ? SASL_OK : SASL_TEMPORARY_AUTH_FAILURE;
}
