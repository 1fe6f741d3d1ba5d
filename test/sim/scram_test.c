/* The simulator's SCRAM client and proto/xmpp's server, written apart, agree; and the client refuses a server that does not know the key.
 */
#include "proto/xmpp/scram.h"
#include "sim/scram.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static void exchange(digest_alg alg, bool plus, const char *password, bool want, bool wrong_server) {
    xmpp_scram_keys k;
    uint8_t cb[32] = {1, 2, 3};
    sim_scram s;
    sim_salted cache = {0};
    slice user, authzid;
    buf a, b;
    buf_init(&a, 4096), buf_init(&b, 4096);
    xmpp_scram_derive(alg, SLICE("secret"), SLICE("saltsalt"), 4096, &k);
    xmpp_scram_binding bind = {.tls_exporter = slice_of(cb, sizeof cb), .plus_offered = plus};
    xmpp_scram_server *srv = xmpp_scram_server_new(alg, plus, &bind, SLICE("servernonceservernonce12"));
    sim_scram_first(&s, alg, "user", 99, plus ? cb : NULL, &a);
    assert_int_equal(xmpp_scram_server_first(srv, buf_slice(&a), &user, &authzid), SASL_OK);
    assert_true(slice_is(user, "user"));
    if (wrong_server) k.server_key[0] ^= 1;
    assert_int_equal(xmpp_scram_server_challenge(srv, &k, &b), SASL_OK);
    buf_reset(&a);
    assert_int_equal(sim_scram_final(&s, &cache, password, buf_slice(&b), &a), ERR_OK);
    buf_reset(&b);
    xmpp_sasl_error e = xmpp_scram_server_final(srv, buf_slice(&a), &b);
    assert_int_equal(e == SASL_OK, want);
    if (want) assert_int_equal(sim_scram_verify(&s, buf_slice(&b)), wrong_server ? ERR_AUTH : ERR_OK);
    xmpp_scram_server_free(srv);
    buf_fini(&a), buf_fini(&b);
}

static void two_implementations_agree(void **state) {
    (void)state;
    for (int plus = 0; plus < 2; plus++) {
        exchange(DIGEST_SHA1, plus, "secret", true, false);
        exchange(DIGEST_SHA256, plus, "secret", true, false);
    }
}
static void a_wrong_password_and_a_wrong_server_are_refused(void **state) {
    (void)state;
    exchange(DIGEST_SHA256, false, "guess", false, false);
    exchange(DIGEST_SHA256, true, "secret", true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_implementations_agree),
                                       cmocka_unit_test(a_wrong_password_and_a_wrong_server_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
