/* load: either order, at every address of a word, every byte in its place and with its highest bit. */
#include "base/load.h"
#include "unit.h"

static void each_byte_has_its_place(void **state) {
    (void)state;
    for (size_t at = 0; at < 8; at++)
        for (unsigned i = 0; i < 8; i++) {
            uint8_t room[16] = {0}, *p = room + at;
            p[i] = 0x81;
            uint64_t le = UINT64_C(0x81) << (8 * i), be = UINT64_C(0x81) << (56 - 8 * i);
            assert_true(load_u64le(p) == le);
            assert_true(load_u64be(p) == be);
            assert_true(load_u32le(p) == (uint32_t)le);
            assert_true(load_u32be(p) == be >> 32);
            assert_true(load_u16le(p) == (uint16_t)le);
            assert_true(load_u16be(p) == be >> 48);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_byte_has_its_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
