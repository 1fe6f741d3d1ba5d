#ifndef TEST_SUPPORT_HEAP_H
#define TEST_SUPPORT_HEAP_H
/* heap: how much of the heap is in use, whichever heap it is: the C library's, or that of a sanitizer, which says it by a function of its
 * own and leaves mallinfo2() at 0. */
#include <malloc.h>
#include <stddef.h>

/* Of sanitizer/allocator_interface.h, which gcc does not bring along; NULL where no sanitizer is linked. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* Bytes that are allocated now, by all threads. */
static inline size_t heap_used(void) {
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : mallinfo2().uordblks;
}
/* What p takes of that; the C library keeps 8 bytes in front of each. */
static inline size_t heap_of(void *p) { return malloc_usable_size(p) + (__sanitizer_get_current_allocated_bytes ? 0 : 8); }

#endif
