/* sasl_fuzz: both roles of an exchange against bytes that a peer made up. Oracle: no success without a key; what is accepted as a name is
 * UTF-8 and prepared; our own client and server always understand each other.
 *
 * Input: one byte for the mechanism, one for the mode, then messages between newlines. */
#include "base/codec.h"
#include "base/utf8.h"
#include "proto/xmpp/jid.h"
#include "proto/xmpp/sasl.h"

#include <stdlib.h>

#define EXPORTER    "0123456789abcdef0123456789abcdef"
#define MODE_RAW    1u /* messages are base64 already */
#define MODE_CLIENT 2u /* the bytes are the server's */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

static slice line(slice *rest) {
    size_t end = slice_find(*rest, '\n');
    slice l = slice_sub(*rest, 0, end);
    *rest = slice_from(*rest, end + 1);
    return l;
}

/* An account whose ClientKey nobody knows: fake keys. */
static void as_server(xmpp_mech m, bool raw, slice in) {
    xmpp_scram_binding b = {.tls_exporter = SLICE(EXPORTER), .plus_offered = (m & 1) != 0, .offer = in};
    xmpp_sasl_error e = SASL_OK;
    xmpp_sasl *s =
        xmpp_sasl_new(slice_str(xmpp_sasl_mech_name(m)), UINT32_MAX, &b, SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), SLICE("example.com"), &e);
    buf out, b64;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    buf_init(&b64, 1u << 20);
    xmpp_sasl_step step = XMPP_SASL_NEED_DATA;
    for (int i = 0; s && i < 6 && step != XMPP_SASL_SUCCESS && step != XMPP_SASL_FAILURE; i++) {
        slice l = line(&in);
        buf_reset(&b64);
        if (!raw) base64_encode(&b64, l);
        step = xmpp_sasl_feed(s, raw ? l : buf_slice(&b64), &out, &e);
        if (step == XMPP_SASL_NEED_KEYS) {
            xmpp_scram_keys k;
            demand(xmpp_sasl_user(s).len > 0 && utf8_valid(xmpp_sasl_user(s)));
            xmpp_scram_fake(xmpp_sasl_alg(s), SLICE("secret"), xmpp_sasl_user(s), 4096, &k);
            step = xmpp_sasl_keys(s, &k, true, &out, &e);
        } else if (step == XMPP_SASL_NEED_CHECK) {
            demand(xmpp_sasl_password(s).len > 0);
            step = xmpp_sasl_checked(s, false, &out, &e);
        }
        demand(step != XMPP_SASL_SUCCESS || m == XMPP_MECH_ANONYMOUS);
        demand(step != XMPP_SASL_FAILURE || e != SASL_OK);
    }
    buf_fini(&out);
    buf_fini(&b64);
    xmpp_sasl_free(s);
}

static void as_client(digest_alg alg, slice in) {
    xmpp_scram_client *c = xmpp_scram_client_new(alg, SLICE("user"), SLICE("pencil"), SLICE("nonce"), false, SLICE_NULL, SLICE_NULL);
    buf out;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    xmpp_scram_client_first(c, &out);
    if (xmpp_scram_client_final(c, line(&in), &out) == ERR_OK) demand(xmpp_scram_client_verify(c, line(&in)) != ERR_OK);
    buf_fini(&out);
    xmpp_scram_client_free(c);
}

/* Any name that the client can say comes out of the server as it went in. */
static void as_both(digest_alg alg, slice user) {
    if (user.len == 0 || user.len > 512 || !utf8_valid(user) || slice_find(user, 0) != user.len) return;
    const xmpp_scram_binding b = {0};
    xmpp_scram_client *c = xmpp_scram_client_new(alg, user, SLICE("pencil"), SLICE("nonce"), true, SLICE_NULL, SLICE_NULL);
    xmpp_scram_server *s = xmpp_scram_server_new(alg, false, &b, SLICE("other"));
    slice got, authzid;
    buf out;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    xmpp_scram_client_first(c, &out);
    demand(xmpp_scram_server_first(s, buf_slice(&out), &got, &authzid) == SASL_OK && slice_eq(got, user) && !authzid.p);
    buf_fini(&out);
    xmpp_scram_client_free(c);
    xmpp_scram_server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    slice in = slice_of(data + 2, size - 2);
    xmpp_mech m = (xmpp_mech)(1 + data[0] % (XMPP_MECH_COUNT_ - 1));
    if (data[1] & MODE_CLIENT) {
        as_client(data[0] & 1 ? DIGEST_SHA1 : DIGEST_SHA256, in);
        as_both(data[0] & 1 ? DIGEST_SHA1 : DIGEST_SHA256, in);
    } else {
        as_server(m, (data[1] & MODE_RAW) != 0, in);
    }
    return 0;
}
