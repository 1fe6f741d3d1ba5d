/* scram_wire: the grammar and the arithmetic that both roles of SCRAM share (RFC 5802 sections 3 and 7).
 *
 * What: a reader of attributes that only moves forward, saslname escaping, and keys from a salted password. Why strict: what one side
 * reads with tolerance and the other does not is what an attacker in the middle plays with; RFC 5802 fixes the order of attributes, so
 * order is checked, and every deviation fails the exchange.
 *
 * Invariants: (1) a reader never looks past the message and never goes back. (2) a value is at least one byte, without comma, NUL or
 * broken UTF-8. (3) m= is refused wherever it stands (section 5.1: its presence must fail the exchange). */
#include "proto/xmpp/scram_wire.h"

#include "base/mem.h"
#include "base/utf8.h"

bool xmpp_scram_open(slice msg, scram_attrs *out) {
    if (msg.len > SCRAM_MESSAGE_MAX || slice_find(msg, 0) != msg.len || !utf8_valid(msg)) return false;
    *out = (scram_attrs){.rest = msg, .more = true};
    return true;
}

bool xmpp_scram_next_is(const scram_attrs *a, char name) {
    return a->more && a->rest.len >= 2 && a->rest.p[0] == (uint8_t)name && a->rest.p[1] == '=';
}

bool xmpp_scram_take(scram_attrs *a, char name, slice *out_value) {
    if (!xmpp_scram_next_is(a, name)) return false;
    size_t end = slice_find(a->rest, ',');
    if (end <= 2) return false; /* "x=" */
    *out_value = slice_sub(a->rest, 2, end - 2);
    a->more = end < a->rest.len;
    a->rest = slice_from(a->rest, a->more ? end + 1 : end);
    return true;
}

bool xmpp_scram_skip_extension(scram_attrs *a) {
    static const char defined[] = "anmrcsipve";
    if (!a->more || a->rest.len < 2) return false;
    char name = (char)a->rest.p[0];
    if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z')) || strchr(defined, name)) return false;
    slice ignored;
    return xmpp_scram_take(a, name, &ignored);
}

slice xmpp_scram_before(const scram_attrs *a, slice start) {
    size_t at = (size_t)(a->rest.p - start.p);
    return slice_sub(start, 0, a->more && at > 0 ? at - 1 : at);
}

bool xmpp_scram_nonce_ok(slice nonce, size_t max) {
    if (nonce.len == 0 || nonce.len > max) return false;
    for (size_t i = 0; i < nonce.len; i++) {
        if (nonce.p[i] < 0x21 || nonce.p[i] > 0x7e || nonce.p[i] == ',') return false;
    }
    return true;
}

bool xmpp_scram_unescape(slice name, buf *out) {
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.p[i];
        if (c == ',' || c == 0) return false;
        if (c == '=') {
            slice code = slice_sub(name, i + 1, 2);
            if (!slice_is(code, "2C") && !slice_is(code, "3D")) return false;
            c = code.p[0] == '2' ? ',' : '=';
            i += 2;
        }
        buf_add_byte(out, c);
    }
    return buf_ok(out);
}

void xmpp_scram_escape(buf *out, slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == ',')
            buf_add(out, SLICE("=2C"));
        else if (text.p[i] == '=')
            buf_add(out, SLICE("=3D"));
        else
            buf_add_byte(out, text.p[i]);
    }
}

void xmpp_scram_keys_of(digest_alg alg, const uint8_t *salted, uint8_t *client_key, uint8_t *stored_key, uint8_t *server_key) {
    uint8_t key[SCRAM_KEY_MAX];
    size_t len = digest_len(alg);
    digest_hmac(alg, slice_of(salted, len), SLICE("Client Key"), key);
    if (client_key) memcpy(client_key, key, len);
    digest_sum(alg, slice_of(key, len), stored_key);
    digest_hmac(alg, slice_of(salted, len), SLICE("Server Key"), server_key);
    mem_wipe(key, sizeof key);
}

void xmpp_scram_xor(digest_alg alg, uint8_t *a, const uint8_t *b) {
    for (size_t i = 0; i < digest_len(alg); i++) a[i] = (uint8_t)(a[i] ^ b[i]);
}

void xmpp_scram_buf_wipe(buf *b) {
    if (b->p) mem_wipe(b->p, b->cap);
    buf_fini(b);
}
