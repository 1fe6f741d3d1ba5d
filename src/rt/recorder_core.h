#ifndef RT_RECORDER_CORE_H
#define RT_RECORDER_CORE_H
/* recorder_core: where the flight recorder lies in an ELF core file (elf(5), System V gABI chapter 5). Every byte of the file is foreign:
 * what it says is held against the file's own length. */
#include "rt/sys.h"

typedef struct rt_recorder_place { /* of the recorder's image within the core */
    uint64_t at, len;              /* bytes of it that the file has; the rest of the mapping was not written, or is cut off */
} rt_recorder_place;

/* Is that, the first bytes of a file, an ELF file at all? Fewer than 4 bytes are none. */
bool rt_recorder_core_is(slice first);
/* Finds the mapping that begins with magic. fd: open; size: of the file. ERR_INVALID: an ELF file, but not a 64-bit little-endian core.
 * ERR_CORRUPT: its headers lie outside the file. ERR_EOF: a core in which no mapping that was written begins so. Or what reading
 * says. Memory does not grow with the file. */
NODISCARD err rt_recorder_core_find(sys *s, int fd, uint64_t size, slice magic, rt_recorder_place *out);

#endif
