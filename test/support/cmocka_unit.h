#ifndef TEST_SUPPORT_CMOCKA_UNIT_H
#define TEST_SUPPORT_CMOCKA_UNIT_H
/* cmocka_unit: cmocka with the headers that it wants before itself; the formatter would sort them. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
