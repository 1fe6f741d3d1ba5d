/* digest: published vectors of each algorithm, and CRC-32C by instruction against CRC-32C by table and by bit. */
#include "base/codec.h"
#include "base/digest.h"
#include "base/digest_crc32c.h"
#include "base/prng.h"
#include "unit.h"

static void expect(digest_alg alg, const uint8_t *got, const char *want) {
    buf b;
    buf_init(&b, 2 * DIGEST_MAX);
    hex_encode(&b, slice_of(got, digest_len(alg)));
    assert_int_equal(b.len, strlen(want));
    assert_memory_equal(b.p, want, b.len);
    buf_fini(&b);
}

static void digests_of_abc_and_of_nothing(void **state) {
    (void)state;
    uint8_t out[DIGEST_MAX];
    digest_sum(DIGEST_MD5, SLICE("abc"), out);
    expect(DIGEST_MD5, out, "900150983cd24fb0d6963f7d28e17f72");
    digest_sum(DIGEST_MD5, SLICE_NULL, out);
    expect(DIGEST_MD5, out, "d41d8cd98f00b204e9800998ecf8427e");
    digest_sum(DIGEST_SHA1, SLICE("abc"), out);
    expect(DIGEST_SHA1, out, "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_sum(DIGEST_SHA256, SLICE("abc"), out);
    expect(DIGEST_SHA256, out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_sum(DIGEST_SHA256, SLICE_NULL, out);
    expect(DIGEST_SHA256, out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_sum(DIGEST_SHA384, SLICE("abc"), out);
    expect(DIGEST_SHA384, out, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    digest_sum(DIGEST_SHA512, SLICE("abc"), out);
    expect(
        DIGEST_SHA512, out,
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

static void hmac_of_rfc_2202_and_rfc_4231(void **state) {
    (void)state;
    uint8_t out[DIGEST_MAX];
    slice what = SLICE("what do ya want for nothing?");
    digest_hmac(DIGEST_SHA1, SLICE("Jefe"), what, out);
    expect(DIGEST_SHA1, out, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    digest_hmac(DIGEST_SHA256, SLICE("Jefe"), what, out);
    expect(DIGEST_SHA256, out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    digest_hmac(DIGEST_SHA256, SLICE_NULL, SLICE_NULL, out);
    expect(DIGEST_SHA256, out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void pbkdf2_of_rfc_6070(void **state) {
    (void)state;
    uint8_t out[DIGEST_MAX];
    digest_pbkdf2(DIGEST_SHA1, SLICE("password"), SLICE("salt"), 1, out);
    expect(DIGEST_SHA1, out, "0c60c80f961f0e71f3a9b524af6012062fe037a6");
    digest_pbkdf2(DIGEST_SHA1, SLICE("password"), SLICE("salt"), 4096, out);
    expect(DIGEST_SHA1, out, "4b007901b765489abead49d926f721d065a429c1");
    digest_pbkdf2(DIGEST_SHA256, SLICE("password"), SLICE("salt"), 4096, out);
    expect(DIGEST_SHA256, out, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
}

/* RFC 7677 section 3: the whole computation of SCRAM-SHA-256 from the password to the server's signature. */
static void scram_sha_256_of_rfc_7677(void **state) {
    (void)state;
    static const char auth[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,"
        "i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    buf b;
    buf_init(&b, 100);
    assert_int_equal(base64_decode(&b, SLICE("W22ZaJ0SNY7soEsUEjb6gQ==")), ERR_OK);
    uint8_t salted[32];
    uint8_t server_key[32];
    uint8_t signature[32];
    digest_pbkdf2(DIGEST_SHA256, SLICE("pencil"), buf_slice(&b), 4096, salted);
    digest_hmac(DIGEST_SHA256, slice_of(salted, 32), SLICE("Server Key"), server_key);
    digest_hmac(DIGEST_SHA256, slice_of(server_key, 32), SLICE(auth), signature);
    buf_reset(&b);
    base64_encode(&b, slice_of(signature, 32));
    assert_true(slice_is(buf_slice(&b), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    buf_fini(&b);
}

static void crc32c_of_rfc_3720(void **state) {
    (void)state;
    uint8_t in[32] = {0};
    assert_int_equal(digest_crc32c(0, SLICE("123456789")), 0xE3069283);
    assert_int_equal(digest_crc32c(0, SLICE_NULL), 0);
    assert_int_equal(digest_crc32c(0, slice_of(in, 32)), 0x8A9136AA);
    memset(in, 0xff, 32);
    assert_int_equal(digest_crc32c(0, slice_of(in, 32)), 0x62A8AB43);
    for (size_t i = 0; i < 32; i++) in[i] = (uint8_t)i;
    assert_int_equal(digest_crc32c(0, slice_of(in, 32)), 0x46DD794E);
}

static uint32_t by_bit(slice in) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < in.len; i++) {
        crc ^= in.p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void instruction_table_and_bit_agree_at_every_length_and_alignment(void **state) {
    (void)state;
    static uint8_t in[10000];
    prng r;
    prng_init(&r, 9);
    for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)prng_next(&r);
    for (size_t len = 0; len < 9000; len = len < 900 ? len + 1 : len + 97) { /* passes 3 * 128 and 3 * 1024 */
        slice s = slice_of(in + len % 8, len);
        uint32_t want = by_bit(s);
        assert_int_equal(digest_crc32c_table(0, s), want);
        assert_int_equal(digest_crc32c(0, s), want);
        if (digest_crc32c_has_sse42()) assert_int_equal(digest_crc32c_sse42(0, s), want);
    }
}

static void crc32c_continues_at_every_split(void **state) {
    (void)state;
    uint8_t in[700];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 31);
    uint32_t whole = digest_crc32c(0, slice_of(in, sizeof in));
    for (size_t at = 0; at <= sizeof in; at++) {
        slice rest = slice_of(in + at, sizeof in - at);
        assert_int_equal(digest_crc32c(digest_crc32c(0, slice_of(in, at)), rest), whole);
        assert_int_equal(digest_crc32c_table(digest_crc32c_table(0, slice_of(in, at)), rest), whole);
    }
}

static void no_iterations(void *arg) { digest_pbkdf2(DIGEST_SHA1, SLICE("p"), SLICE("s"), 0, arg); }

static void zero_iterations_panic(void **state) {
    (void)state;
    uint8_t out[DIGEST_MAX];
    assert_true(panics(no_iterations, out, "0 iterations"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_of_abc_and_of_nothing),
        cmocka_unit_test(hmac_of_rfc_2202_and_rfc_4231),
        cmocka_unit_test(pbkdf2_of_rfc_6070),
        cmocka_unit_test(scram_sha_256_of_rfc_7677),
        cmocka_unit_test(crc32c_of_rfc_3720),
        cmocka_unit_test(instruction_table_and_bit_agree_at_every_length_and_alignment),
        cmocka_unit_test(crc32c_continues_at_every_split),
        cmocka_unit_test(zero_iterations_panic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
