#ifndef BASE_MEM_H
#define BASE_MEM_H
/* mem: the general heap, fail-fast: out of memory is panic(), because a node that cannot allocate a few bytes cannot keep a promise
 * either, and restart is cheap. Nothing whose size a peer chooses is allocated here without a limit checked before. */
#include "base/err.h"

void *mem_alloc(size_t size);            /* uninitialised; size 0 gives a unique pointer */
void *mem_zalloc(size_t size);           /* zeroed */
void *mem_realloc(void *p, size_t size); /* p may be NULL */
void mem_free(void *p);                  /* NULL is fine */
void mem_keep(void);                     /* what is freed stays for use again: for programs, at their start; mem_trim still gives it back */
void mem_trim(void);                     /* gives what was freed back to the system, as far as it goes; may take milliseconds */
size_t mem_in_use(void);                 /* bytes that are allocated now, as malloc counts them; 0: it does not tell (sanitizers) */
void mem_wipe(void *p, size_t len);      /* zeroes secrets; never optimised away */
/* Grows *arr (elements of elem_size, *cap of them) to hold need elements, doubling. */
void mem_grow(void **arr, size_t *cap, size_t need, size_t elem_size);

#endif
