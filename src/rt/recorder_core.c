/* recorder_core: see recorder_core.h.
 *
 *     ELF header -> program headers, PROGRAM_CHUNK at a time -> each PT_LOAD: does what it points to begin with the recorder's magic?
 *
 * The note NT_FILE, which names mapped files, is not needed: the magic says more than a name, and the kernel leaves the note out of a core
 * of a process with very many mappings.
 *
 * Invariant: an offset or a length of the file is used only after it was held against the file's size; sums are never formed where they
 * could wrap. */
#include "rt/recorder_core.h"

#include <elf.h>

#define PROGRAM_CHUNK 64u
#define PROGRAMS_MAX  (1u << 24) /* mappings: 256 times what vm.max_map_count allows */
#define MAGIC_MAX     16u

bool rt_recorder_core_is(slice first) { return first.len >= SELFMAG && memcmp(first.p, ELFMAG, SELFMAG) == 0; }

/* All of len bytes at an offset. */
static err read_all(sys *s, int fd, uint64_t size, uint64_t at, void *out, size_t len) {
    size_t n = 0;
    if (at > size || len > size - at) return ERR_CORRUPT;
    err e = s->file_read(s, fd, out, len, at, &n);
    return e ? e : n == len ? ERR_OK : ERR_CORRUPT;
}

/* How many program headers there are: past PN_XNUM, section header 0 says (gABI, e_phnum). */
static err programs_of(sys *s, int fd, uint64_t size, const Elf64_Ehdr *h, uint64_t *out) {
    Elf64_Shdr first;
    *out = h->e_phnum;
    if (h->e_phnum != PN_XNUM) return ERR_OK;
    if (h->e_shentsize != sizeof first) return ERR_CORRUPT;
    err e = read_all(s, fd, size, h->e_shoff, &first, sizeof first);
    if (!e) *out = first.sh_info;
    return e;
}

static bool begins(sys *s, int fd, uint64_t size, const Elf64_Phdr *p, slice magic) {
    uint8_t have[MAGIC_MAX];
    return p->p_filesz >= magic.len && read_all(s, fd, size, p->p_offset, have, magic.len) == ERR_OK &&
           memcmp(have, magic.p, magic.len) == 0;
}

static err search(sys *s, int fd, uint64_t size, const Elf64_Ehdr *h, uint64_t programs, slice magic, rt_recorder_place *out) {
    Elf64_Phdr chunk[PROGRAM_CHUNK];
    for (uint64_t from = 0; from < programs; from += PROGRAM_CHUNK) {
        size_t n = programs - from < PROGRAM_CHUNK ? (size_t)(programs - from) : PROGRAM_CHUNK;
        uint64_t before = from * sizeof chunk[0];
        if (h->e_phoff > size || before > size - h->e_phoff) return ERR_CORRUPT;
        err e = read_all(s, fd, size, h->e_phoff + before, chunk, n * sizeof chunk[0]);
        if (e) return e;
        for (size_t i = 0; i < n; i++) {
            const Elf64_Phdr *p = &chunk[i];
            if (p->p_type != PT_LOAD || !begins(s, fd, size, p, magic)) continue;
            uint64_t left = size - p->p_offset; /* begins has read there */
            *out = (rt_recorder_place){p->p_offset, p->p_filesz < left ? p->p_filesz : left};
            return ERR_OK;
        }
    }
    return ERR_EOF;
}

err rt_recorder_core_find(sys *s, int fd, uint64_t size, slice magic, rt_recorder_place *out) {
    Elf64_Ehdr h;
    uint64_t programs;
    if (!check(magic.len > 0 && magic.len <= MAGIC_MAX)) return ERR_BUG;
    err e = read_all(s, fd, size, 0, &h, sizeof h);
    if (e) return e;
    bool core = rt_recorder_core_is(slice_of(&h, sizeof h)) && h.e_ident[EI_CLASS] == ELFCLASS64 && h.e_ident[EI_DATA] == ELFDATA2LSB &&
                h.e_type == ET_CORE;
    if (!core) return ERR_INVALID;
    if (h.e_phentsize != sizeof(Elf64_Phdr)) return ERR_CORRUPT;
    e = programs_of(s, fd, size, &h, &programs);
    if (e) return e;
    return programs > PROGRAMS_MAX ? ERR_CORRUPT : search(s, fd, size, &h, programs, magic, out);
}
