/* sasl: the steps of each mechanism, their errors, and that nobody gets in without a key. */
#include "base/codec.h"
#include "proto/xmpp/sasl.h"
#include "support/cmocka_unit.h"

#define NONCE     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DOMAIN    SLICE("example.com")
#define ALL_MECHS 0xffffffffu
#define EXPORTER  "0123456789abcdef0123456789abcdef"

static void ignore_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
}

static xmpp_sasl *start(const char *mech) {
    static const xmpp_scram_binding b = {
        .tls_exporter = {(const uint8_t *)EXPORTER, sizeof EXPORTER - 1}, .tls_server_end_point = {NULL, 0}, .plus_offered = true};
    xmpp_sasl_error e = SASL_OK;
    xmpp_sasl *s = xmpp_sasl_new(slice_str(mech), ALL_MECHS, &b, SLICE(NONCE), DOMAIN, &e);
    assert_non_null(s);
    return s;
}

/* Feeds raw bytes, encoded. */
static xmpp_sasl_step feed(xmpp_sasl *s, slice raw, buf *out, xmpp_sasl_error *e) {
    buf b64;
    buf_init(&b64, 16384);
    base64_encode(&b64, raw);
    xmpp_sasl_step step = xmpp_sasl_feed(s, raw.len ? buf_slice(&b64) : SLICE("="), out, e);
    buf_fini(&b64);
    return step;
}

static void each_mechanism_has_a_name_and_is_found_by_it(void **state) {
    (void)state;
    for (int m = XMPP_MECH_NONE + 1; m < XMPP_MECH_COUNT_; m++) {
        const char *name = xmpp_sasl_mech_name((xmpp_mech)m);
        assert_true(name[0]);
        assert_int_equal(xmpp_sasl_mech_find(slice_str(name)), m);
    }
    assert_string_equal(xmpp_sasl_mech_name(XMPP_MECH_NONE), "");
    assert_string_equal(xmpp_sasl_mech_name(XMPP_MECH_COUNT_), "");
    static const char *const none[] = {"", "plain", "PLAIN ", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS-", "SCRAM-SHA-"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) assert_int_equal(xmpp_sasl_mech_find(slice_str(none[i])), XMPP_MECH_NONE);
}

static void a_mechanism_that_was_not_offered_is_invalid(void **state) {
    (void)state;
    const xmpp_scram_binding b = {0};
    for (int m = XMPP_MECH_NONE + 1; m < XMPP_MECH_COUNT_; m++) {
        xmpp_sasl_error e = SASL_OK;
        assert_null(xmpp_sasl_new(slice_str(xmpp_sasl_mech_name((xmpp_mech)m)), ~(1u << m), &b, SLICE(NONCE), DOMAIN, &e));
        assert_int_equal(e, SASL_INVALID_MECHANISM);
        xmpp_sasl *s = xmpp_sasl_new(slice_str(xmpp_sasl_mech_name((xmpp_mech)m)), 1u << m, &b, SLICE(NONCE), DOMAIN, &e);
        assert_non_null(s);
        assert_int_equal(xmpp_sasl_mech(s), m);
        xmpp_sasl_free(s);
    }
    xmpp_sasl_error e = SASL_OK;
    assert_null(xmpp_sasl_new(SLICE("DIGEST-MD5"), ALL_MECHS, &b, SLICE(NONCE), DOMAIN, &e));
    assert_int_equal(e, SASL_INVALID_MECHANISM);
    assert_null(xmpp_sasl_new(SLICE(""), ALL_MECHS, &b, SLICE(NONCE), DOMAIN, &e));
    assert_int_equal(e, SASL_INVALID_MECHANISM);
}

/* --- SCRAM */
typedef struct login {
    const char *mech;
    slice user, password; /* as the client says them */
    bool exists;
    bool initial; /* the first message comes with <auth/> */
} login;

static xmpp_sasl_step scram(const login *l, xmpp_sasl_error *e) {
    xmpp_sasl *s = start(l->mech);
    digest_alg alg = xmpp_sasl_alg(s);
    bool plus = xmpp_sasl_mech(s) == XMPP_MECH_SCRAM_SHA_256_PLUS || xmpp_sasl_mech(s) == XMPP_MECH_SCRAM_SHA_1_PLUS;
    xmpp_scram_client *c = xmpp_scram_client_new(alg, l->user, l->password, SLICE("clientnonce"), false,
                                                 plus ? SLICE("tls-exporter") : SLICE_NULL, plus ? SLICE(EXPORTER) : SLICE_NULL);
    buf msg, out;
    buf_init(&msg, SCRAM_MESSAGE_MAX);
    buf_init(&out, SCRAM_MESSAGE_MAX);
    xmpp_scram_client_first(c, &msg);
    if (!l->initial) assert_int_equal(xmpp_sasl_feed(s, SLICE_NULL, &out, e), XMPP_SASL_NEED_DATA);
    xmpp_sasl_step step = feed(s, buf_slice(&msg), &out, e);
    if (step == XMPP_SASL_NEED_KEYS) {
        xmpp_scram_keys k;
        assert_true(slice_is(xmpp_sasl_user(s), "user"));
        xmpp_scram_derive(alg, SLICE("pencil"), SLICE("A salt, 16 bytes"), 4096, &k);
        assert_int_equal(xmpp_sasl_keys(s, &k, l->exists, &out, e), XMPP_SASL_CHALLENGE);
        buf_reset(&msg);
        assert_int_equal(xmpp_scram_client_final(c, buf_slice(&out), &msg), ERR_OK);
        buf_reset(&out);
        step = feed(s, buf_slice(&msg), &out, e);
        if (step == XMPP_SASL_SUCCESS)
            assert_int_equal(xmpp_scram_client_verify(c, buf_slice(&out)), ERR_OK);
        else
            assert_int_equal(out.len, 0);
        xmpp_sasl_error again = SASL_OK;
        assert_int_equal(feed(s, buf_slice(&msg), &out, &again), XMPP_SASL_FAILURE); /* an exchange ends once */
    }
    xmpp_scram_client_free(c);
    xmpp_sasl_free(s);
    buf_fini(&msg);
    buf_fini(&out);
    return step;
}

static void scram_logs_in_with_and_without_an_initial_response(void **state) {
    (void)state;
    static const char *const mechs[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(mechs); i++) {
        login l = {mechs[i / 2], SLICE("User"), SLICE("pencil"), true, i % 2};
        xmpp_sasl_error e = SASL_OK;
        assert_int_equal(scram(&l, &e), XMPP_SASL_SUCCESS);
    }
}

static void a_wrong_password_and_an_unknown_user_get_the_same_answer(void **state) {
    (void)state;
    login wrong = {"SCRAM-SHA-256", SLICE("user"), SLICE("Pencil"), true, true};
    login unknown = {"SCRAM-SHA-256", SLICE("user"), SLICE("Pencil"), false, true};
    login lucky = {"SCRAM-SHA-256", SLICE("user"), SLICE("pencil"), false, true}; /* the proof fits, but there is no account */
    xmpp_sasl_error e1 = SASL_OK, e2 = SASL_OK, e3 = SASL_OK;
    assert_int_equal(scram(&wrong, &e1), XMPP_SASL_FAILURE);
    assert_int_equal(scram(&unknown, &e2), XMPP_SASL_FAILURE);
    assert_int_equal(scram(&lucky, &e3), XMPP_SASL_FAILURE);
    assert_int_equal(e1, SASL_NOT_AUTHORIZED);
    assert_int_equal(e2, e1);
    assert_int_equal(e3, e1);
}

static void a_name_that_cannot_be_an_account_is_not_authorized(void **state) {
    (void)state;
    static const char *const users[] = {"a@b", "a b", "a/b", "\xef\xbc\xa0", "\xe2\x80\xaex"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        login l = {"SCRAM-SHA-256", slice_str(users[i]), SLICE("pencil"), true, true};
        xmpp_sasl_error e = SASL_OK;
        assert_int_equal(scram(&l, &e), XMPP_SASL_FAILURE);
        assert_int_equal(e, SASL_NOT_AUTHORIZED);
    }
}

/* --- first messages of all mechanisms, raw */
typedef struct first_case {
    const char *what, *mech;
    slice msg;
    xmpp_sasl_step step;
    xmpp_sasl_error error;
} first_case;

#define RAW(lit)                                                                                                                           \
    { (const uint8_t *)(lit), sizeof(lit) - 1 }
static const first_case firsts[] = {
    {"plain", "PLAIN", RAW("\0user\0pencil"), XMPP_SASL_NEED_CHECK, SASL_OK},
    {"plain, own authzid", "PLAIN", RAW("user@example.com\0user\0pencil"), XMPP_SASL_NEED_CHECK, SASL_OK},
    {"plain, own authzid in capitals", "PLAIN", RAW("USER@Example.com\0User\0pencil"), XMPP_SASL_NEED_CHECK, SASL_OK},
    {"plain, another's authzid", "PLAIN", RAW("root@example.com\0user\0pencil"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"plain, authzid of another domain", "PLAIN", RAW("user@example.org\0user\0pencil"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"plain, authzid with a resource", "PLAIN", RAW("user@example.com/r\0user\0pencil"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"plain, authzid is the domain", "PLAIN", RAW("example.com\0user\0pencil"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"plain, authzid is no JID", "PLAIN", RAW("@\0user\0pencil"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"plain, one part", "PLAIN", RAW("user"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, two parts", "PLAIN", RAW("\0user"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, four parts", "PLAIN", RAW("\0user\0pencil\0"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, no user", "PLAIN", RAW("\0\0pencil"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, no password", "PLAIN", RAW("\0user\0"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, nothing", "PLAIN", RAW(""), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, broken UTF-8", "PLAIN", RAW("\0user\0penc\xffil"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plain, a name that is none", "PLAIN", RAW("\0us er\0pencil"), XMPP_SASL_FAILURE, SASL_NOT_AUTHORIZED},
    {"plain, a password that is none", "PLAIN", RAW("\0user\0pen\x07"), XMPP_SASL_FAILURE, SASL_NOT_AUTHORIZED},
    {"anonymous, nothing", "ANONYMOUS", RAW(""), XMPP_SASL_SUCCESS, SASL_OK},
    {"anonymous, trace", "ANONYMOUS", RAW("sirhc"), XMPP_SASL_SUCCESS, SASL_OK},
    {"anonymous, broken UTF-8", "ANONYMOUS", RAW("\xff"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"scram", "SCRAM-SHA-256", RAW("n,,n=user,r=abc"), XMPP_SASL_NEED_KEYS, SASL_OK},
    {"scram, own authzid", "SCRAM-SHA-256", RAW("n,a=user@example.com,n=user,r=abc"), XMPP_SASL_NEED_KEYS, SASL_OK},
    {"scram, another's authzid", "SCRAM-SHA-256", RAW("n,a=root@example.com,n=user,r=abc"), XMPP_SASL_FAILURE, SASL_INVALID_AUTHZID},
    {"scram, nothing", "SCRAM-SHA-256", RAW(""), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"scram, y while plus was offered", "SCRAM-SHA-256", RAW("y,,n=user,r=abc"), XMPP_SASL_FAILURE, SASL_NOT_AUTHORIZED},
    {"scram, p without plus", "SCRAM-SHA-256", RAW("p=tls-exporter,,n=user,r=abc"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plus", "SCRAM-SHA-1-PLUS", RAW("p=tls-exporter,,n=user,r=abc"), XMPP_SASL_NEED_KEYS, SASL_OK},
    {"plus, n", "SCRAM-SHA-1-PLUS", RAW("n,,n=user,r=abc"), XMPP_SASL_FAILURE, SASL_MALFORMED_REQUEST},
    {"plus, a binding that this connection lacks", "SCRAM-SHA-1-PLUS", RAW("p=tls-server-end-point,,n=user,r=abc"), XMPP_SASL_FAILURE,
     SASL_MALFORMED_REQUEST},
};

static void each_first_message_leads_to_its_step(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        const first_case *f = &firsts[i];
        buf out;
        buf_init(&out, 1024);
        xmpp_sasl *s = start(f->mech);
        xmpp_sasl_error e = SASL_OK;
        xmpp_sasl_step step = feed(s, f->msg, &out, &e);
        if (step != f->step || e != f->error) fail_msg("%s: step %d, error %d", f->what, (int)step, (int)e);
        if (step == XMPP_SASL_NEED_CHECK || step == XMPP_SASL_NEED_KEYS) assert_true(slice_is(xmpp_sasl_user(s), "user"));
        if (step == XMPP_SASL_NEED_CHECK) assert_true(slice_is(xmpp_sasl_password(s), "pencil"));
        if (strcmp(f->mech, "ANONYMOUS") == 0) assert_int_equal(xmpp_sasl_user(s).len, 0);
        assert_int_equal(out.len, 0);
        xmpp_sasl_free(s);
        buf_fini(&out);
    }
}

static void what_is_not_strict_base64_is_an_encoding_error(void **state) {
    (void)state;
    static const char *const bad[] = {"A", "AA", "AAA", "AA=A", "A===", "AAAA\n", " AAAA", "AA-_", "AB==", "====", "==", "AAAA="};
    static const char *const mechs[] = {"PLAIN", "SCRAM-SHA-256", "ANONYMOUS"};
    for (size_t i = 0; i < ARRAY_LEN(bad) * ARRAY_LEN(mechs); i++) {
        buf out;
        buf_init(&out, 1024);
        xmpp_sasl *s = start(mechs[i % ARRAY_LEN(mechs)]);
        xmpp_sasl_error e = SASL_OK;
        if (xmpp_sasl_feed(s, slice_str(bad[i / ARRAY_LEN(mechs)]), &out, &e) != XMPP_SASL_FAILURE || e != SASL_INCORRECT_ENCODING) {
            fail_msg("%s: %d", bad[i / ARRAY_LEN(mechs)], (int)e);
        }
        xmpp_sasl_free(s);
        buf_fini(&out);
    }
}

static void an_oversized_message_is_refused_before_it_is_decoded(void **state) {
    (void)state;
    static char big[BASE64_LEN(SCRAM_MESSAGE_MAX) + 4];
    memset(big, 'A', sizeof big);
    buf out;
    buf_init(&out, 1024);
    xmpp_sasl *s = start("SCRAM-SHA-256");
    xmpp_sasl_error e = SASL_OK;
    assert_int_equal(xmpp_sasl_feed(s, slice_of(big, sizeof big), &out, &e), XMPP_SASL_FAILURE);
    assert_int_equal(e, SASL_MALFORMED_REQUEST);
    xmpp_sasl_free(s);
    s = start("ANONYMOUS");
    memset(big, 'Y', sizeof big);
    assert_int_equal(xmpp_sasl_feed(s, slice_of(big, 344), &out, &e), XMPP_SASL_FAILURE); /* a trace of 258 bytes */
    xmpp_sasl_free(s);
    buf_fini(&out);
}

static void without_data_the_client_is_asked_once(void **state) {
    (void)state;
    buf out;
    buf_init(&out, 1024);
    xmpp_sasl_error e = SASL_OK;
    xmpp_sasl *s = start("ANONYMOUS");
    assert_int_equal(xmpp_sasl_feed(s, SLICE_NULL, &out, &e), XMPP_SASL_NEED_DATA);
    assert_int_equal(xmpp_sasl_feed(s, SLICE(""), &out, &e), XMPP_SASL_SUCCESS);
    xmpp_sasl_free(s);
    s = start("PLAIN");
    assert_int_equal(xmpp_sasl_feed(s, SLICE(""), &out, &e), XMPP_SASL_NEED_DATA);
    assert_int_equal(xmpp_sasl_feed(s, SLICE_NULL, &out, &e), XMPP_SASL_FAILURE);
    assert_int_equal(e, SASL_MALFORMED_REQUEST);
    xmpp_sasl_free(s);
    buf_fini(&out);
}

static void plain_waits_for_the_verdict_and_drops_the_password_at_it(void **state) {
    (void)state;
    buf out;
    buf_init(&out, 1024);
    for (int ok = 0; ok < 2; ok++) {
        xmpp_sasl *s = start("PLAIN");
        xmpp_sasl_error e = SASL_OK;
        assert_int_equal(feed(s, SLICE("\0User\0p\x61\xcc\x88sswort"), &out, &e), XMPP_SASL_NEED_CHECK);
        assert_true(slice_is(xmpp_sasl_password(s), "p\xc3\xa4sswort")); /* prepared */
        assert_int_equal(xmpp_sasl_alg(s), DIGEST_SHA256);
        assert_int_equal(xmpp_sasl_checked(s, ok, &out, &e), ok ? XMPP_SASL_SUCCESS : XMPP_SASL_FAILURE);
        assert_int_equal(e, ok ? SASL_OK : SASL_NOT_AUTHORIZED);
        assert_int_equal(xmpp_sasl_password(s).len, 0);
        assert_true(slice_is(xmpp_sasl_user(s), "user"));
        err_set_reporter(ignore_report, NULL);
        assert_int_equal(xmpp_sasl_checked(s, true, &out, &e), XMPP_SASL_FAILURE); /* one verdict */
        err_set_reporter(NULL, NULL);
        xmpp_sasl_free(s);
    }
    buf_fini(&out);
}

/* Steps out of order: the client's are answered, ours are reported; neither ever leads to success. */
static void no_step_out_of_its_turn_succeeds(void **state) {
    (void)state;
    buf out;
    buf_init(&out, 4096);
    xmpp_sasl_error e = SASL_OK;
    xmpp_scram_keys k;
    xmpp_scram_derive(DIGEST_SHA256, SLICE("pencil"), SLICE("A salt, 16 bytes"), 4096, &k);
    xmpp_sasl *s = start("PLAIN");
    assert_int_equal(feed(s, SLICE("\0user\0pencil"), &out, &e), XMPP_SASL_NEED_CHECK);
    assert_int_equal(feed(s, SLICE("\0root\0pencil"), &out, &e), XMPP_SASL_FAILURE); /* another user while the first is checked */
    err_set_reporter(ignore_report, NULL);
    assert_int_equal(xmpp_sasl_checked(s, true, &out, &e), XMPP_SASL_FAILURE);
    xmpp_sasl_free(s);

    s = start("SCRAM-SHA-256");
    assert_int_equal(feed(s, SLICE("n,,n=user,r=abc"), &out, &e), XMPP_SASL_NEED_KEYS);
    assert_int_equal(feed(s, SLICE("n,,n=root,r=abc"), &out, &e), XMPP_SASL_FAILURE);
    assert_int_equal(xmpp_sasl_keys(s, &k, true, &out, &e), XMPP_SASL_FAILURE);
    xmpp_sasl_free(s);

    s = start("SCRAM-SHA-256");
    assert_int_equal(xmpp_sasl_keys(s, &k, true, &out, &e), XMPP_SASL_FAILURE);
    xmpp_sasl_free(s);
    s = start("SCRAM-SHA-256");
    assert_int_equal(xmpp_sasl_checked(s, true, &out, &e), XMPP_SASL_FAILURE);
    xmpp_sasl_free(s);
    s = start("SCRAM-SHA-1");
    assert_int_equal(feed(s, SLICE("n,,n=user,r=abc"), &out, &e), XMPP_SASL_NEED_KEYS);
    assert_int_equal(xmpp_sasl_keys(s, &k, true, &out, &e), XMPP_SASL_FAILURE); /* keys of the other algorithm */
    xmpp_sasl_free(s);
    err_set_reporter(NULL, NULL);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mechanism_has_a_name_and_is_found_by_it),
        cmocka_unit_test(a_mechanism_that_was_not_offered_is_invalid),
        cmocka_unit_test(scram_logs_in_with_and_without_an_initial_response),
        cmocka_unit_test(a_wrong_password_and_an_unknown_user_get_the_same_answer),
        cmocka_unit_test(a_name_that_cannot_be_an_account_is_not_authorized),
        cmocka_unit_test(each_first_message_leads_to_its_step),
        cmocka_unit_test(what_is_not_strict_base64_is_an_encoding_error),
        cmocka_unit_test(an_oversized_message_is_refused_before_it_is_decoded),
        cmocka_unit_test(without_data_the_client_is_asked_once),
        cmocka_unit_test(plain_waits_for_the_verdict_and_drops_the_password_at_it),
        cmocka_unit_test(no_step_out_of_its_turn_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
