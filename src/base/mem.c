/* mem: the general heap, fail-fast.
 *
 * Why: code that handles "malloc returned NULL" in a thousand places is never tested in any of them. Sizes that a peer chooses are limited
 * before they reach this file, so being out of memory means that the machine is, and then the node restarts.
 *
 * Invariants: (1) No function returns NULL. (2) No size computation wraps: a product or a doubling that would is panic(). */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES   (8 << 20) /* at the end of each heap of malloc's: no more than what was used there */
#define MAPPED_BYTES (1 << 20) /* blocks from here on are the system's, and go back at once */

#define MEM_GROW_MIN 8 /* elements of the first array that mem_grow makes */

static void *must(void *p, size_t size) {
    if (UNLIKELY(!p)) panic("out of memory for %zu bytes", size);
    return p;
}

void *mem_alloc(size_t size) { return must(malloc(size ? size : 1), size); }

void *mem_zalloc(size_t size) { return must(calloc(1, size ? size : 1), size); }

void *mem_realloc(void *p, size_t size) { return must(realloc(p, size ? size : 1), size); }

void mem_free(void *p) { free(p); }

/* As it comes, glibc gives back all that is free at the end of a heap as soon as that is 128 KiB, and maps anew whatever is as long: a node
 * that is sent messages of 64 KiB then spends two thirds of its time having their pages taken and cleared. */
void mem_keep(void) {
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES); /* under another malloc: nothing */
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

void mem_trim(void) { (void)malloc_trim(0); /* whether it found any does not matter */ }

size_t mem_in_use(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

void mem_wipe(void *p, size_t len) {
    if (len) explicit_bzero(p, len);
}

void mem_grow(void **arr, size_t *cap, size_t need, size_t elem_size) {
    if (need <= *cap) return;
    if (elem_size == 0 || need > SIZE_MAX / 2 / elem_size) panic("array of %zu elements of %zu bytes", need, elem_size);
    size_t want = *cap < MEM_GROW_MIN ? MEM_GROW_MIN : *cap;
    while (want < need) want *= 2; /* need is at most SIZE_MAX / 2, so that this cannot wrap */
    if (want > SIZE_MAX / elem_size) want = need;
    /* The caller's pointer has another type than void *: copied as bytes, the two do not break the aliasing rule. */
    void *p;
    memcpy(&p, arr, sizeof p);
    p = mem_realloc(p, want * elem_size);
    memcpy(arr, &p, sizeof p);
    *cap = want;
}
