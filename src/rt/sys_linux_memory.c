/* sys_linux_memory: how much memory the process may use, and how much counts against that.
 *
 *     machine            MemTotal                   what no other process is asked about: our own anonymous pages
 *     control group v1   memory.limit_in_bytes      memory.usage_in_bytes, less the page cache that can be given up
 *     control group v2   memory.max                 memory.current, likewise
 *
 * A group limits also what is below it, so each directory from ours up to the mount is looked at. Limits may be changed while we run: all
 * is read anew each time, a few small files. A container sees its own group mounted as the root; then the path that /proc names does not
 * exist there, and the root is taken.
 *
 * RLIMIT_DATA and RLIMIT_AS are not looked at: they count mappings, not use, and malloc keeps those that it has emptied. Where they are set
 * memory.limit is for the operator to set below them.
 *
 * Invariant: what is not known is 0, and never stands for a limit. */
#include "base/codec.h"
#include "rt/sys_linux.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_TEXT 8192 /* memory.stat of a group has about 2,000 bytes */

typedef struct group_kind { /* the two versions, by the names of their files */
    const char *mount, *limit, *usage, *cache, *shmem;
} group_kind;

static const group_kind v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache ", "total_shmem "};
static const group_kind v2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "file ", "shmem "};
static const group_kind v2_beside = {"/sys/fs/cgroup/unified", "memory.max", "memory.current", "file ", "shmem "};

/* A small file of the kernel's; its length, 0 if it cannot be read. text is terminated. */
static size_t read_text(const char *path, char text[MEMORY_TEXT]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, MEMORY_TEXT - 1); /* these files come whole */
    (void)close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* The number after the line's beginning key ("" for the first line); 0: there is none. */
static uint64_t number_after(const char *text, const char *key) {
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, len) != 0) continue;
        slice rest = slice_str(line + len);
        uint64_t v = 0;
        size_t digits = 0;
        while (digits < rest.len && rest.p[digits] >= '0' && rest.p[digits] <= '9') digits++;
        return dec_parse_u64(slice_sub(rest, 0, digits), UINT64_MAX, &v) == ERR_OK ? v : 0;
    }
    return 0;
}

static uint64_t number_in(const char *dir, const char *file) {
    char path[SYS_LINUX_GROUP_PATH + 32], text[MEMORY_TEXT];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file); /* fits */
    return read_text(path, text) ? number_after(text, "") : 0;
}

/* Which limit is nearest? */
static void nearer(sys_memory *m, uint64_t used, uint64_t limit) {
    if (limit == 0) return;
    if (m->limit == 0 || (double)used / (double)limit > (double)m->used / (double)m->limit) m->used = used, m->limit = limit;
}

static void look_at_group(const group_kind *k, const char *dir, sys_memory *m) {
    uint64_t limit = number_in(dir, k->limit); /* v2 says "max" for none, v1 a number that no machine has */
    if (limit == 0 || limit > UINT64_MAX / 4) return;
    char path[SYS_LINUX_GROUP_PATH + 32], text[MEMORY_TEXT] = "";
    (void)snprintf(path, sizeof path, "%s/memory.stat", dir); /* fits */
    (void)read_text(path, text);                              /* then nothing is known of the cache */
    uint64_t usage = number_in(dir, k->usage), cache = number_after(text, k->cache), shmem = number_after(text, k->shmem);
    uint64_t spare = cache > shmem ? cache - shmem : 0; /* files in memory, as in tmpfs, cannot be given up */
    nearer(m, usage > spare ? usage - spare : 0, limit);
}

/* Our group and all above it. */
static void look_at_groups(const group_kind *k, const char *own, sys_memory *m) {
    char dir[SYS_LINUX_GROUP_PATH];
    (void)snprintf(dir, sizeof dir, "%s%s", k->mount, own); /* a path that is too long is cut, and not found */
    size_t root = strlen(k->mount);
    if (access(dir, F_OK) != 0) dir[root] = 0;
    for (;;) {
        look_at_group(k, dir, m);
        char *slash = strrchr(dir, '/');
        if (strlen(dir) <= root || !slash || (size_t)(slash - dir) < root) return;
        *slash = 0;
    }
}

/* Lines of /proc/self/cgroup: "4:memory:/path" of version 1, "0::/path" of version 2. */
static void look_at_all_groups(sys_memory *m) {
    char text[MEMORY_TEXT];
    if (!read_text("/proc/self/cgroup", text)) return;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        names++;
        if (strcmp(path, "/") == 0) path++;
        bool unified = *names == 0;
        if (unified) look_at_groups(&v2, path, m), look_at_groups(&v2_beside, path, m);
        slice all = slice_str(names);
        while (!unified && all.len) { /* "cpu,memory" */
            size_t comma = slice_find(all, ',');
            if (slice_is(slice_sub(all, 0, comma), "memory")) look_at_groups(&v1, path, m);
            all = slice_from(all, comma < all.len ? comma + 1 : all.len);
        }
    }
}

void sys_linux_memory(sys *s, sys_memory *out) {
    (void)s;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
    unsigned long long resident = 0, shared = 0;
    char text[MEMORY_TEXT];
    sys_memory m = {0};
    if (read_text("/proc/self/statm", text)) (void)sscanf(text, "%*u %llu %llu", &resident, &shared); /* else 0 */
    m.own = (resident > shared ? resident - shared : 0) * page;
    nearer(&m, m.own, pages * page);
    look_at_all_groups(&m);
    *out = m;
}
