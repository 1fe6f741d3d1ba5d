/* copy: see copy.h.
 *
 *   NEW --step--> OPEN --step ...--> OPEN --finish--> DONE
 *
 * Invariants: (1) The copy is a file that this copy made: one that was there is neither written nor removed. (2) A page whose checksum does
 * not fit is not handed on. (3) After finish with an error, and after free, an unfinished copy is not there any more, as far as the file
 * system lets it be removed. */
#include "store/copy.h"

#include "base/mem.h"
#include "store/vfs.h"

#include <stdio.h>

#define COPY_PATH_MAX 1024
#define COPY_STEP     (UINT64_C(4) << 20) /* a whole number of pages of any size */

struct store_copy {
    sys *s;
    int in, out; /* -1: not open */
    bool made, done;
    size_t page;
    uint64_t at, size;
    char from[COPY_PATH_MAX], dir[COPY_PATH_MAX], to[COPY_PATH_MAX + sizeof STORE_COPY_NAME];
    char why[256];
};

store_copy *store_copy_new(sys *s, const char *from, const char *dir) {
    store_copy *c = mem_zalloc(sizeof *c);
    c->s = s;
    c->in = c->out = -1;
    if (strlen(from) >= sizeof c->from || strlen(dir) >= sizeof c->dir) return c; /* the first step says so */
    memcpy(c->from, from, strlen(from) + 1);
    memcpy(c->dir, dir, strlen(dir) + 1);
    (void)snprintf(c->to, sizeof c->to, "%s/%s", dir, STORE_COPY_NAME);
    return c;
}

const char *store_copy_why(const store_copy *c) { return c->why; }

static err say(store_copy *c, err e, const char *what, const char *path) {
    if (e != ERR_OK) (void)snprintf(c->why, sizeof c->why, "backup of the account database: %s %.150s: %s", what, path, err_text(e));
    return e;
}

static err open_files(store_copy *c) {
    if (!c->to[0]) return say(c, ERR_LIMIT, "too long", "a path");
    uint8_t head[STORE_VFS_HEAD] = {0};
    size_t n = 0;
    sys *s = c->s;
    err e = s->file_open(s, c->from, SYS_OPEN_READ, &c->in);
    if (e == ERR_OK) e = s->file_size(s, c->in, &c->size);
    if (e == ERR_OK) e = s->file_read(s, c->in, head, sizeof head, 0, &n);
    if (e != ERR_OK) return say(c, e, "cannot read", c->from);
    c->page = store_vfs_page_size(head);
    if (c->page == 0 || c->size % c->page != 0) return say(c, ERR_CORRUPT, "no database:", c->from);
    e = s->file_open(s, c->to, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_EXCL, &c->out);
    c->made = e == ERR_OK;
    return say(c, e, "cannot make", c->to);
}

static err check_pages(store_copy *c, const uint8_t *block, size_t len) {
    for (size_t i = 0; i < len; i += c->page) {
        uint64_t page = (c->at + i) / c->page + 1;
        if (store_vfs_page_ok(block + i, c->page, page)) continue;
        (void)snprintf(c->why, sizeof c->why, "page %llu of the account database is damaged", (unsigned long long)page);
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

err store_copy_step(store_copy *c, bool *out_more) {
    if (!check(!c->done)) return ERR_BUG;
    err e = c->in < 0 ? open_files(c) : ERR_OK;
    if (e != ERR_OK) return e;
    size_t n = c->size - c->at < COPY_STEP ? (size_t)(c->size - c->at) : (size_t)COPY_STEP, got = 0;
    uint8_t *block = mem_alloc(COPY_STEP);
    e = c->s->file_read(c->s, c->in, block, n, c->at, &got);
    if (e == ERR_OK && got != n) e = ERR_IO;
    if (e != ERR_OK)
        (void)say(c, e, "cannot read", c->from); /* e is what counts */
    else
        e = check_pages(c, block, n);
    if (e == ERR_OK) e = say(c, c->s->file_write(c->s, c->out, slice_of(block, n), c->at), "cannot write", c->to);
    mem_free(block);
    if (e != ERR_OK) return e;
    c->at += n;
    *out_more = c->at < c->size;
    return ERR_OK;
}

static void close_files(store_copy *c) {
    if (c->in >= 0) c->s->file_close(c->s, c->in);
    if (c->out >= 0) c->s->file_close(c->s, c->out);
    c->in = c->out = -1;
}

static void take_back(store_copy *c) {
    close_files(c);
    if (c->made && c->s->file_unlink(c->s, c->to) != ERR_OK) {
        size_t n = strlen(c->why);
        (void)snprintf(c->why + n, sizeof c->why - n, "; it cannot be removed");
    }
    c->made = false;
}

err store_copy_finish(store_copy *c, err so_far) {
    err e = so_far;
    if (e == ERR_OK && !check(c->made && c->at == c->size)) e = ERR_BUG;
    if (e == ERR_OK) e = say(c, c->s->file_sync(c->s, c->out), "cannot sync", c->to);
    if (e == ERR_OK) e = say(c, c->s->dir_sync(c->s, c->dir), "cannot sync", c->dir);
    if (e != ERR_OK) take_back(c);
    close_files(c);
    c->done = true;
    return e;
}

void store_copy_free(store_copy *c) {
    if (!c) return;
    if (!c->done) take_back(c);
    mem_free(c);
}
