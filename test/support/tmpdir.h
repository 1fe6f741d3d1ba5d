#ifndef TEST_TMPDIR_H
#define TEST_TMPDIR_H
/* tmpdir: a folder of a test's own, removed with what is in it. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct tmpdir {
    char path[64];
} tmpdir;

static int tmpdir_remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}
static inline void tmpdir_make(tmpdir *d) {
    (void)snprintf(d->path, sizeof d->path, "/tmp/murre-test-XXXXXX");
    if (!mkdtemp(d->path)) abort();
}
static inline void tmpdir_remove(tmpdir *d) { (void)nftw(d->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS); }
/* The path of name in it; valid until the fourth next call. */
static inline const char *tmpdir_at(const tmpdir *d, const char *name) {
    static char room[4][128];
    static unsigned next;
    char *p = room[next++ % 4];
    (void)snprintf(p, sizeof room[0], "%s/%s", d->path, name);
    return p;
}

#endif
