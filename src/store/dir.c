/* dir: the data directory: who may use it, which format it has, and whether a node could start on it.
 *
 *   DIR/lock       locked while a process uses the directory
 *   DIR/format     "murre data 1": the format of everything here; a newer one is refused, never guessed at
 *   DIR/log/       the message log (log_recover.c)
 *   DIR/accounts.db  keyed state (keyed_sql.c)
 *
 * Invariants: (1) at most one process has the lock; the kernel gives it back when that process ends, however it ends. (2) The format file
 * is written as a whole under another name, synced, renamed, and the directory synced: it is there with its whole content, or not at all.
 */
#include "store/dir.h"

#include "base/codec.h"
#include "store/keyed_sql.h"
#include "store/log_int.h"

#include <stdio.h>

#define DIR_FORMAT     UINT64_C(1)
#define DIR_PATH_MAX   1024
#define DIR_FORMAT_MAX 64
static const char format_prefix[] = "murre data ";

err store_dir_sync_parent(sys *s, const char *path) {
    char parent[DIR_PATH_MAX];
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    if (n >= sizeof parent) return ERR_LIMIT;
    memcpy(parent, n ? path : ".", n ? n : 1);
    parent[n ? n : 1] = 0;
    return s->dir_sync(s, parent);
}

static bool join(char out[DIR_PATH_MAX], const char *dir, const char *name) {
    int n = snprintf(out, DIR_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < DIR_PATH_MAX;
}

static err say(char why[256], err e, const char *what, const char *path) {
    (void)snprintf(why, 256, "%.50s %.130s: %.60s", what, path, err_text(e));
    return e;
}

static err format_read(sys *s, const char *path, uint64_t *out) {
    int fd;
    err e = s->file_open(s, path, SYS_OPEN_READ, &fd);
    if (e != ERR_OK) return e;
    char text[DIR_FORMAT_MAX];
    size_t n = 0, prefix = sizeof format_prefix - 1;
    e = s->file_read(s, fd, text, sizeof text, 0, &n);
    s->file_close(s, fd);
    if (e != ERR_OK) return e;
    while (n > 0 && text[n - 1] == '\n') n--;
    if (n <= prefix || memcmp(text, format_prefix, prefix) != 0) return ERR_CORRUPT;
    return dec_parse_u64(slice_of(text + prefix, n - prefix), UINT32_MAX, out) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static err format_write(sys *s, const char *dir, const char *path) {
    char temp[DIR_PATH_MAX], text[DIR_FORMAT_MAX];
    int fd, n = snprintf(text, sizeof text, "%s%u\n", format_prefix, (unsigned)DIR_FORMAT);
    if (!join(temp, dir, "format.new")) return ERR_LIMIT;
    err e = s->file_open(s, temp, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd);
    if (e != ERR_OK) return e;
    e = s->file_write(s, fd, slice_of(text, (size_t)n), 0);
    if (e == ERR_OK) e = s->file_sync(s, fd);
    s->file_close(s, fd);
    if (e == ERR_OK) e = s->file_rename(s, temp, path);
    return e == ERR_OK ? s->dir_sync(s, dir) : e;
}

static err format_check(sys *s, const char *dir, char why[256]) {
    char path[DIR_PATH_MAX];
    uint64_t format = DIR_FORMAT;
    if (!join(path, dir, "format")) return say(why, ERR_LIMIT, "too long a path:", dir);
    err e = format_read(s, path, &format);
    if (e == ERR_NOT_FOUND) {
        e = format_write(s, dir, path);
        return e == ERR_OK ? e : say(why, e, "cannot write", path);
    }
    if (e != ERR_OK) return say(why, e, "cannot use", path);
    if (format == DIR_FORMAT) return ERR_OK;
    (void)snprintf(why, 256, "%.130s has data format %llu; this program knows format %u", dir, (unsigned long long)format,
                   (unsigned)DIR_FORMAT);
    return ERR_VERSION;
}

err store_dir_lock(sys *s, const char *dir, int *out_fd, char why[256]) {
    char path[DIR_PATH_MAX];
    int fd;
    if (!join(path, dir, "lock")) return say(why, ERR_LIMIT, "too long a path:", dir);
    err e = s->dir_make(s, dir);
    if (e == ERR_EXISTS) e = ERR_OK;
    if (e == ERR_OK) e = store_dir_sync_parent(s, dir);
    if (e != ERR_OK) return say(why, e, "cannot make the data directory", dir);
    e = s->file_open(s, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE, &fd);
    if (e != ERR_OK) return say(why, e, "cannot open", path);
    e = s->file_lock(s, fd);
    if (e != ERR_OK)
        say(why, e, "cannot take the data directory", dir);
    else
        e = format_check(s, dir, why);
    if (e != ERR_OK) {
        s->file_close(s, fd);
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

/* --- start-up errors ---------------------------------------------------------------------------------------------------------------- */

typedef struct newest {
    char name[32];
} newest;
static void keep_newest(void *arg, const char *name) {
    newest *n = arg;
    size_t len = strlen(name); /* sorted: the last one stays */
    if (len == 16 && strcmp(name + 12, ".seg") == 0) memcpy(n->name, name, len + 1);
}

/* Can a segment be made here, and is there one of a newer format? What is damaged in it is not a reason to stay away. */
static err check_log(sys *s, const char *dir, char why[256]) {
    char path[DIR_PATH_MAX], seg[DIR_PATH_MAX];
    uint8_t head[LOG_PAGE] = {0};
    newest n = {""};
    int fd;
    if (!join(path, dir, "log")) return say(why, ERR_LIMIT, "too long a path:", dir);
    err e = s->dir_make(s, path);
    if (e == ERR_OK || e == ERR_EXISTS) e = s->dir_list(s, path, keep_newest, &n);
    if (e != ERR_OK) return say(why, e, "cannot use the message log", path);
    if (n.name[0] && join(seg, path, n.name) && s->file_open(s, seg, SYS_OPEN_READ, &fd) == ERR_OK) {
        size_t got = 0;
        uint32_t format = LOG_FORMAT;
        e = s->file_read(s, fd, head, 16, 0, &got);
        s->file_close(s, fd);
        if (e == ERR_OK && got == 16 && memcmp(head, "MURRELOG", 8) == 0) memcpy(&format, head + 8, 4);
        if (format > LOG_FORMAT && format < LOG_FORMAT + 1000)
            return say(why, ERR_VERSION, "the message log was written by a newer program:", seg);
    }
    if (!join(seg, path, "probe")) return say(why, ERR_LIMIT, "too long a path:", path);
    e = s->file_open(s, seg, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd);
    if (e != ERR_OK) return say(why, e, "cannot write in", path);
    e = s->file_write(s, fd, slice_of(head, sizeof head), 0);
    if (e == ERR_OK) e = s->file_sync(s, fd);
    s->file_close(s, fd);
    (void)s->file_unlink(s, seg); /* overwritten at the next start if it stays */
    return e == ERR_OK ? e : say(why, e, "cannot write in", path);
}

/* One damaged page is not a reason to stay away either: the actor names it and serves the rest. */
err store_check(sys *s, const char *dir, char why[256]) {
    char path[DIR_PATH_MAX];
    store_sql *q;
    err e = check_log(s, dir, why);
    if (e != ERR_OK) return e;
    if (!join(path, dir, "accounts.db")) return say(why, ERR_LIMIT, "too long a path:", dir);
    e = store_sql_open(s, path, NULL, NULL, &q, why);
    if (e == ERR_OK) store_sql_close(q);
    return e;
}
