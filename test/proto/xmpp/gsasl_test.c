/* gsasl: our server against libgsasl as the client, so that both ends are not our own reading of the RFCs. libgsasl binds by tls-unique
 * or tls-exporter (RFC 9266); we offer tls-exporter and tls-server-end-point. It never says 'y': with binding data at hand it refuses a
 * mechanism without -PLUS by itself, so scram_test has that case. */
#include "base/prng.h"
#include "proto/xmpp/sasl.h"
#include "support/cmocka_unit.h"

#include <gsasl.h>

#define EXPORTER     "0123456789abcdef0123456789abcdef"
#define EXPORTER_B64 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define OTHER_B64    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWc="

typedef struct peer {
    const char *user, *password, *authzid; /* as the client sends them */
    const char *exporter, *unique;         /* base64; NULL: not available */
    const char *token;                     /* of ANONYMOUS */
} peer;

static int give(Gsasl *ctx, Gsasl_session *sctx, Gsasl_property prop) {
    const peer *p = gsasl_callback_hook_get(ctx);
    const char *value = NULL;
    if (prop == GSASL_AUTHID) value = p->user;
    if (prop == GSASL_PASSWORD) value = p->password;
    if (prop == GSASL_AUTHZID) value = p->authzid;
    if (prop == GSASL_CB_TLS_EXPORTER) value = p->exporter;
    if (prop == GSASL_CB_TLS_UNIQUE) value = p->unique;
    if (prop == GSASL_ANONYMOUS_TOKEN) value = p->token;
    if (!value) return GSASL_NO_CALLBACK;
    return gsasl_property_set(sctx, prop, value);
}

typedef struct outcome {
    bool client_ok;        /* libgsasl finished and believes the server */
    xmpp_sasl_step server; /* the last step */
    xmpp_sasl_error error;
} outcome;

static xmpp_sasl_step serve(xmpp_sasl *s, slice base64, buf *out, xmpp_sasl_error *e) {
    xmpp_sasl_step step = xmpp_sasl_feed(s, base64, out, e);
    if (step == XMPP_SASL_NEED_KEYS) {
        xmpp_scram_keys k;
        bool known = slice_is(xmpp_sasl_user(s), "user") || slice_is(xmpp_sasl_user(s), "a,b=c");
        xmpp_scram_derive(xmpp_sasl_alg(s), SLICE("pencil"), SLICE("A salt, 16 bytes"), 4096, &k);
        step = xmpp_sasl_keys(s, &k, known, out, e);
    } else if (step == XMPP_SASL_NEED_CHECK) {
        step = xmpp_sasl_checked(s, slice_is(xmpp_sasl_user(s), "user") && slice_is(xmpp_sasl_password(s), "pencil"), out, e);
    }
    return step;
}

static outcome talk(const char *mech, const peer *p, bool plus_offered) {
    outcome o = {.server = XMPP_SASL_NEED_DATA};
    xmpp_scram_binding b = {.plus_offered = plus_offered, .offer = SLICE("SCRAM-SHA-1\x1eSCRAM-SHA-256")};
    if (plus_offered) b.tls_exporter = SLICE(EXPORTER);
    xmpp_sasl *s = xmpp_sasl_new(slice_str(mech), UINT32_MAX, &b, SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), SLICE("example.com"), &o.error);
    Gsasl *ctx = NULL;
    Gsasl_session *sctx = NULL;
    peer hook = *p;
    assert_non_null(s);
    assert_int_equal(gsasl_init(&ctx), GSASL_OK);
    gsasl_callback_set(ctx, give);
    gsasl_callback_hook_set(ctx, &hook);
    assert_int_equal(gsasl_client_start(ctx, mech, &sctx), GSASL_OK);
    buf out, b64;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    buf_init(&b64, 2 * SCRAM_MESSAGE_MAX);
    for (int round = 0; round < 5; round++) {
        char *says = NULL;
        buf_add_byte(&b64, 0); /* libgsasl wants a string */
        int rc = gsasl_step64(sctx, (const char *)b64.p, &says);
        if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) break;
        o.client_ok = rc == GSASL_OK;
        if (o.server == XMPP_SASL_SUCCESS || o.server == XMPP_SASL_FAILURE) {
            gsasl_free(says);
            break;
        }
        buf_reset(&out);
        o.server = serve(s, slice_str(says), &out, &o.error);
        gsasl_free(says);
        if (o.server == XMPP_SASL_FAILURE) break;
        buf_reset(&b64);
        char *encoded = NULL;
        size_t len = 0;
        assert_int_equal(gsasl_base64_to((const char *)(out.p ? out.p : (const uint8_t *)""), out.len, &encoded, &len), GSASL_OK);
        buf_add_str(&b64, encoded);
        gsasl_free(encoded);
        if (rc == GSASL_OK && o.server == XMPP_SASL_SUCCESS && out.len == 0) break; /* PLAIN, ANONYMOUS */
    }
    buf_fini(&out);
    buf_fini(&b64);
    gsasl_finish(sctx);
    gsasl_done(ctx);
    xmpp_sasl_free(s);
    return o;
}

static void accepted(const char *mech, const peer *p, bool plus_offered) {
    outcome o = talk(mech, p, plus_offered);
    if (o.server != XMPP_SASL_SUCCESS || !o.client_ok)
        fail_msg("%s: step %d, error %d, client %d", mech, (int)o.server, (int)o.error, o.client_ok);
}

static void refused(const char *mech, const peer *p, bool plus_offered, xmpp_sasl_error error) {
    outcome o = talk(mech, p, plus_offered);
    if (o.server != XMPP_SASL_FAILURE || o.error != error) fail_msg("%s: step %d, error %d", mech, (int)o.server, (int)o.error);
}

static void libgsasl_logs_in_by_each_mechanism_without_binding(void **state) {
    (void)state;
    static const char *const mechs[] = {"SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"};
    const peer p = {.user = "user", .password = "pencil"};
    for (size_t i = 0; i < ARRAY_LEN(mechs); i++) accepted(mechs[i], &p, false);
    const peer anonymous = {.token = "sirhc"};
    accepted("ANONYMOUS", &anonymous, false);
}

static void libgsasl_logs_in_with_plus_by_tls_exporter(void **state) {
    (void)state;
    const peer p = {.user = "user", .password = "pencil", .exporter = EXPORTER_B64};
    accepted("SCRAM-SHA-1-PLUS", &p, true);
    accepted("SCRAM-SHA-256-PLUS", &p, true);
}

static void another_connections_exporter_is_not_authorized(void **state) {
    (void)state;
    const peer p = {.user = "user", .password = "pencil", .exporter = OTHER_B64};
    refused("SCRAM-SHA-1-PLUS", &p, true, SASL_NOT_AUTHORIZED);
    refused("SCRAM-SHA-256-PLUS", &p, true, SASL_NOT_AUTHORIZED);
}

/* tls-unique is not defined for TLS 1.3 and was broken before it (RFC 9266): we neither offer nor accept it. */
static void tls_unique_is_refused(void **state) {
    (void)state;
    const peer p = {.user = "user", .password = "pencil", .unique = EXPORTER_B64};
    refused("SCRAM-SHA-1-PLUS", &p, true, SASL_MALFORMED_REQUEST);
    refused("SCRAM-SHA-256-PLUS", &p, true, SASL_MALFORMED_REQUEST);
}

static void a_wrong_password_from_libgsasl_is_not_authorized(void **state) {
    (void)state;
    const peer p = {.user = "user", .password = "Pencil", .exporter = EXPORTER_B64};
    refused("SCRAM-SHA-256-PLUS", &p, true, SASL_NOT_AUTHORIZED);
    refused("PLAIN", &p, false, SASL_NOT_AUTHORIZED);
    const peer stranger = {.user = "stranger", .password = "pencil"};
    refused("SCRAM-SHA-1", &stranger, false, SASL_NOT_AUTHORIZED);
}

static void escapes_and_authzids_of_libgsasl_are_understood(void **state) {
    (void)state;
    const peer odd = {.user = "a,b=c", .password = "pencil"};
    accepted("SCRAM-SHA-256", &odd, false);
    const peer self = {.user = "user", .password = "pencil", .authzid = "user@example.com"};
    accepted("SCRAM-SHA-256", &self, false);
    accepted("SCRAM-SHA-1", &self, false);
    const peer other = {.user = "user", .password = "pencil", .authzid = "root@example.com"};
    refused("SCRAM-SHA-256", &other, false, SASL_INVALID_AUTHZID);
}

/* The keys that we derive are the keys that libgsasl derives, for passwords, salts and iterations of a seed. */
static void both_derive_the_same_keys(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 5802);
    for (int i = 0; i < 40; i++) {
        char password[24], salted[32], client_key[32], server_key[32], stored_key[32];
        uint8_t salt[SCRAM_SALT_MAX];
        size_t password_len = 1 + prng_below(&r, sizeof password - 1), salt_len = 1 + prng_below(&r, sizeof salt);
        for (size_t n = 0; n < password_len; n++) password[n] = (char)('!' + prng_below(&r, 90));
        password[password_len] = 0;
        for (size_t n = 0; n < salt_len; n++) salt[n] = (uint8_t)prng_next(&r);
        uint32_t iterations = (uint32_t)(1 + prng_below(&r, 50));
        bool big = i % 2;
        xmpp_scram_keys k;
        xmpp_scram_derive(big ? DIGEST_SHA256 : DIGEST_SHA1, slice_of(password, password_len), slice_of(salt, salt_len), iterations, &k);
        assert_int_equal(gsasl_scram_secrets_from_password(big ? GSASL_HASH_SHA256 : GSASL_HASH_SHA1, password, iterations,
                                                           (const char *)salt, salt_len, salted, client_key, server_key, stored_key),
                         GSASL_OK);
        assert_memory_equal(k.stored_key, stored_key, digest_len(k.alg));
        assert_memory_equal(k.server_key, server_key, digest_len(k.alg));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libgsasl_logs_in_by_each_mechanism_without_binding),
        cmocka_unit_test(libgsasl_logs_in_with_plus_by_tls_exporter),
        cmocka_unit_test(another_connections_exporter_is_not_authorized),
        cmocka_unit_test(tls_unique_is_refused),
        cmocka_unit_test(a_wrong_password_from_libgsasl_is_not_authorized),
        cmocka_unit_test(escapes_and_authzids_of_libgsasl_are_understood),
        cmocka_unit_test(both_derive_the_same_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
