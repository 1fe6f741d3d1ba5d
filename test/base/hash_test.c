/* hash: SipHash-1-3 against an independent reference, which itself is held against the published vectors of SipHash-2-4. */
#include "base/hash.h"
#include "unit.h"

/* The reference works on an array of state words and on bytes, with the rounds as parameters, after the text of the paper. */
static uint64_t rot(uint64_t x, int n) { return (x << n) | (x >> (64 - n)); }

static void rounds(uint64_t v[4], int n) {
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rot(v[1], 13);
        v[3] = rot(v[3], 16);
        v[1] ^= v[0];
        v[3] ^= v[2];
        v[0] = rot(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rot(v[1], 17);
        v[3] = rot(v[3], 21);
        v[1] ^= v[2];
        v[3] ^= v[0];
        v[2] = rot(v[2], 32);
    }
}

static void reference(int c, int d, const uint8_t key[16], const uint8_t *in, size_t len, size_t out_len, uint64_t out[2]) {
    static const char start[] = "uespemosmodnarodarenegylsetybdet"; /* each word read from its least significant byte */
    uint64_t v[4] = {0};
    for (int i = 0; i < 4; i++)
        for (int j = 7; j >= 0; j--) v[i] = v[i] << 8 | (uint8_t)((uint8_t)start[8 * i + j] ^ key[8 * (i & 1) + j]);
    if (out_len == 16) v[1] ^= 0xee;
    for (size_t block = 0; block <= len / 8; block++) {
        uint64_t m = 0;
        for (size_t j = 0; j < 8; j++) {
            size_t at = block * 8 + j;
            uint64_t byte = at < len ? in[at] : j == 7 ? len & 0xff : 0;
            m += byte << (8 * j);
        }
        v[3] ^= m;
        rounds(v, c);
        v[0] ^= m;
    }
    v[2] ^= out_len == 16 ? 0xee : 0xff;
    rounds(v, d);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    if (out_len != 16) return;
    v[1] ^= 0xdd;
    rounds(v, d);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const uint8_t key_bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

static void the_reference_gives_the_published_2_4_vectors(void **state) {
    (void)state;
    uint64_t out[2];
    reference(2, 4, key_bytes, key_bytes, 15, 8, out); /* appendix A of the paper */
    assert_true(out[0] == UINT64_C(0xa129ca6149be45e5));
    reference(2, 4, key_bytes, key_bytes, 0, 8, out);
    assert_true(out[0] == UINT64_C(0x726fdb47dd0e0e31));
    reference(2, 4, key_bytes, key_bytes, 0, 16, out); /* vectors.h of the reference code: a3817f04ba25a8e6 6df67214c7550293 */
    assert_true(out[0] == UINT64_C(0xe6a825ba047f81a3) && out[1] == UINT64_C(0x930255c71472f66d));
}

static void siphash_1_3_equals_the_reference_at_every_length(void **state) {
    (void)state;
    uint8_t in[300];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof in; len++) {
        uint64_t want[2];
        uint64_t got[2];
        reference(1, 3, key_bytes, in, len, 8, want);
        assert_true(hash_bytes(&key, slice_of(in, len)) == want[0]);
        reference(1, 3, key_bytes, in, len, 16, want);
        hash_bytes128(&key, slice_of(in, len), got);
        assert_true(got[0] == want[0] && got[1] == want[1]);
    }
    assert_true(hash_bytes(&key, SLICE_NULL) == UINT64_C(0xabac0158050fc4dc)); /* also in the tests of Rust's core library */
}

static void alignment_does_not_matter(void **state) {
    (void)state;
    uint8_t in[64];
    for (size_t shift = 0; shift < 8; shift++) {
        memset(in, 0, sizeof in);
        memcpy(in + shift, "the same thirty-one bytes again", 31);
        assert_true(hash_bytes(&key, slice_of(in + shift, 31)) == hash_bytes(&key, SLICE("the same thirty-one bytes again")));
    }
}

static void keys_give_unrelated_hashes(void **state) {
    (void)state;
    hash_key other = {key.k0, key.k1 ^ 1};
    int differing = __builtin_popcountll(hash_bytes(&key, SLICE("user@example")) ^ hash_bytes(&other, SLICE("user@example")));
    assert_in_range(differing, 12, 52);
}

static void hash_u64_is_the_finaliser_of_splitmix64(void **state) {
    (void)state;
    assert_true(hash_u64(0) == UINT64_C(0xe220a8397b1dcdaf)); /* first output of splitmix64 with seed 0 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_gives_the_published_2_4_vectors),
        cmocka_unit_test(siphash_1_3_equals_the_reference_at_every_length),
        cmocka_unit_test(alignment_does_not_matter),
        cmocka_unit_test(keys_give_unrelated_hashes),
        cmocka_unit_test(hash_u64_is_the_finaliser_of_splitmix64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
