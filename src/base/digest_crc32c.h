#ifndef BASE_DIGEST_CRC32C_H
#define BASE_DIGEST_CRC32C_H
/* digest_crc32c: the two ways to compute digest_crc32c, apart, so that a test can hold one against the other. Private to base. */
#include "base/slice.h"

/* By table; any machine. */
uint32_t digest_crc32c_table(uint32_t crc, slice in);
/* True if this CPU has SSE4.2 and PCLMULQDQ; only then may digest_crc32c_sse42 be called. */
bool digest_crc32c_has_sse42(void);
uint32_t digest_crc32c_sse42(uint32_t crc, slice in);

#endif
