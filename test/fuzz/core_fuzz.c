/* core_fuzz: any bytes as a core file from which the flight recorder is read. The input is laid over a core that this program makes first:
 * u16 offset, u8 length, bytes, and so on; a length of 0 cuts the file there. Oracles: opening ends, with a reason of those that the header
 * names; no record is shown that was not written; reading it again shows the same. */
#include "base/mem.h"
#include "rt/recorder.h"
#include "support/memsys.h"

#include <elf.h>
#include <stdlib.h>

#define RECORDS  20u
#define RING     1024u /* 16 records: the first four are written over */
#define PROGRAMS 4u
#define AT       8192u /* of the recorder */
#define IMAGE    (4096u + RING)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void demand(bool ok) {
    if (!ok) abort();
}

static uint8_t image[IMAGE];
static err to_image(sys *s, const char *path, size_t len, void **out) {
    (void)s, (void)path;
    demand(len == IMAGE);
    *out = image;
    return ERR_OK;
}
static void from_image(sys *s, void *p, size_t len) { (void)s, (void)p, (void)len; }

static void make_recorder(memsys *m) {
    rt_recorder *r;
    memset(image, 0, sizeof image);
    m->sys.file_map = to_image;
    m->sys.file_unmap = from_image;
    demand(rt_recorder_new(&m->sys, "flight", RING, 1, &r) == ERR_OK);
    for (unsigned i = 1; i <= RECORDS; i++) {
        rt_record x = {.wall_usec = 1000 + i, .event = EV_ACCEPT, .arg = {i, 2 * (uint64_t)i, 3}, .trace = i};
        rt_recorder_write(r, 0, &x);
    }
    rt_recorder_free(r);
}

static void make_core(uint8_t out[AT + IMAGE]) {
    Elf64_Ehdr h = {.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof h};
    h.e_phentsize = sizeof(Elf64_Phdr), h.e_phnum = PROGRAMS, h.e_ehsize = sizeof h;
    memcpy(h.e_ident, ELFMAG, SELFMAG);
    h.e_ident[EI_CLASS] = ELFCLASS64, h.e_ident[EI_DATA] = ELFDATA2LSB, h.e_ident[EI_VERSION] = EV_CURRENT;
    const Elf64_Phdr p[PROGRAMS] = {{.p_type = PT_NOTE, .p_offset = 4096, .p_filesz = 128},
                                    {.p_type = PT_LOAD, .p_offset = 4096, .p_filesz = 4096, .p_memsz = 4096, .p_vaddr = 0x1000},
                                    {.p_type = PT_LOAD, .p_offset = 4096, .p_filesz = 0, .p_memsz = 4096, .p_vaddr = 0x9000},
                                    {.p_type = PT_LOAD, .p_offset = AT, .p_filesz = IMAGE, .p_memsz = IMAGE, .p_vaddr = 0x100000}};
    memset(out, 0, AT);
    memcpy(out, &h, sizeof h);
    memcpy(out + sizeof h, p, sizeof p);
    memcpy(out + AT, image, IMAGE);
}

static void lay_over(memsys *m, int fd, const uint8_t *p, size_t len) {
    while (len >= 3) {
        size_t at = (size_t)p[0] | (size_t)p[1] << 8, n = p[2];
        p += 3;
        len -= 3;
        if (n > len) n = len;
        demand((n ? m->sys.file_write(&m->sys, fd, slice_of(p, n), at) : m->sys.file_truncate(&m->sys, fd, at)) == ERR_OK);
        p += n;
        len -= n;
    }
}

/* How many records it shows; all of them are as they were written. */
static size_t shown(memsys *m, err *out_e) {
    rt_recorder_reader *r;
    rt_record x;
    unsigned ring;
    size_t n = 0;
    *out_e = rt_recorder_open(&m->sys, "core", &r);
    if (*out_e) {
        err e = *out_e;
        demand(e == ERR_CORRUPT || e == ERR_VERSION || e == ERR_INVALID || e == ERR_EOF);
        return 0;
    }
    for (; rt_recorder_next(r, &ring, &x); n++) {
        demand(x.seq >= 1 && x.seq <= RECORDS && x.arg[0] == x.seq && x.arg[1] == 2 * x.seq && x.trace == x.seq && x.event == EV_ACCEPT);
        demand(ring < rt_recorder_info_of(r)->rings && n < RECORDS * rt_recorder_info_of(r)->rings);
    }
    rt_recorder_close(r);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    uint8_t core[AT + IMAGE];
    memsys m;
    int fd;
    memsys_init(&m, 1);
    make_recorder(&m);
    make_core(core);
    demand(m.sys.file_open(&m.sys, "core", SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd) == ERR_OK);
    demand(m.sys.file_write(&m.sys, fd, slice_of(core, sizeof core), 0) == ERR_OK);
    err first, second;
    size_t n = shown(&m, &first);
    demand(first == ERR_OK && n == RING / sizeof(rt_record)); /* as it is */
    lay_over(&m, fd, data, len);
    m.sys.file_close(&m.sys, fd);
    n = shown(&m, &first);
    demand(shown(&m, &second) == n && first == second);
    memsys_fini(&m);
    return 0;
}
