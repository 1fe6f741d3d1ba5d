/* backup: see backup.h.
 *
 *   DIR/                made, unless it was there and empty
 *   DIR/log/N.seg       the log's engine, which takes its own back when it fails
 *   DIR/accounts.db     the accounts' engine, likewise
 *   DIR/format, secret  the small files, copied here
 *   DIR/tls/...         likewise
 *
 * Invariants: (1) A file is made only where there was none, and noted when it was made. (2) When a part fails, what was noted is removed,
 * the newest first, and nothing else; a directory goes only when it is empty then. */
#include "main/backup.h"

#include "base/buf.h"
#include "base/mem.h"
#include "main/compose.h"
#include "main/verbs.h"
#include "store/dir.h"
#include "store/store.h"

#include <stdio.h>

#define BACKUP_USEC    (3600 * USEC_PER_SEC)
#define BACKUP_DIR_MAX 400
#define BACKUP_PATH    768
#define SMALL_FILE_MAX 65536u

typedef struct made { /* a file or directory that this backup has made */
    struct made *older;
    bool dir;
    char path[BACKUP_PATH];
} made;
typedef struct backup {
    rt_verb_call *call;
    sys *s;
    const char *from, *to; /* where copy_entry copies */
    made *newest;
    err status; /* of copy_entry */
} backup;

static void note(backup *b, const char *path, bool dir) {
    made *m = mem_zalloc(sizeof *m);
    *m = (made){.older = b->newest, .dir = dir};
    (void)snprintf(m->path, sizeof m->path, "%s", path); /* it was made by a path of this size */
    b->newest = m;
}

/* The list is empty afterwards. remove: and so is the disk; false: something stays. */
static bool forget(backup *b, bool remove) {
    bool all = true;
    while (b->newest) {
        made *m = b->newest;
        b->newest = m->older;
        if (remove && (m->dir ? b->s->dir_remove(b->s, m->path) : b->s->file_unlink(b->s, m->path)) != ERR_OK) all = false;
        mem_free(m);
    }
    return all;
}

static err make_dir(backup *b, const char *path) {
    err e = b->s->dir_make(b->s, path);
    if (e == ERR_OK) note(b, path, true);
    return e;
}

/* --- the parts -------------------------------------------------------------------------------------------------------------------------
 */

static err ask_engine(backup *b, const char *name, const char *dir) {
    rt_verb_call *c = b->call;
    rt_msg *m = rt_msg_new_ext(STORE_BACKUP, sizeof(store_backup)), *r = NULL;
    store_backup_of(m)->dir = rt_blob_new(slice_str(dir));
    err e = main_ask_store(c, name, &m, BACKUP_USEC, &r);
    if (e != ERR_OK) return e;
    const store_backed_up *u = store_backed_up_of(r);
    e = u->status;
    if (e != ERR_OK)
        (void)snprintf(c->why, sizeof c->why, "%s: " SLICE_FMT, name, SLICE_ARG(u->why ? rt_blob_slice(u->why) : slice_str(err_text(e))));
    rt_msg_drop(c->node, &r);
    return e;
}

static void note_entry(void *arg, const char *name) {
    backup *b = arg;
    char path[BACKUP_PATH];
    slice s = slice_str(name);
    if (s.len < 4 || !slice_is(slice_from(s, s.len - 4), ".seg")) return;
    (void)snprintf(path, sizeof path, "%s/%s", b->to, name);
    note(b, path, false);
}

/* What the log has made in a directory that was empty before. */
static err note_made(backup *b, const char *dir) {
    b->to = dir;
    return b->s->dir_list(b->s, dir, note_entry, b);
}

/* The small files of a data directory. What is not there is not needed. */
static err copy_file(backup *b, const char *from, const char *to) {
    sys *s = b->s;
    uint64_t size = 0;
    usec mtime;
    int in, out;
    err e = s->file_stat(s, from, &size, &mtime);
    if (e == ERR_NOT_FOUND) return ERR_OK;
    if (e == ERR_OK && size > SMALL_FILE_MAX) e = ERR_LIMIT;
    if (e == ERR_OK) e = s->file_open(s, from, SYS_OPEN_READ, &in);
    if (e != ERR_OK) return e;
    uint8_t *p = mem_alloc(SMALL_FILE_MAX);
    size_t n = 0;
    e = s->file_read(s, in, p, SMALL_FILE_MAX, 0, &n);
    s->file_close(s, in);
    if (e == ERR_OK) e = s->file_open(s, to, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_EXCL, &out);
    if (e == ERR_OK) {
        note(b, to, false);
        e = s->file_write(s, out, slice_of(p, n), 0);
        if (e == ERR_OK) e = s->file_sync(s, out);
        s->file_close(s, out);
    }
    mem_wipe(p, SMALL_FILE_MAX); /* keys */
    mem_free(p);
    return e;
}

static void copy_entry(void *arg, const char *name) {
    backup *b = arg;
    char from[BACKUP_PATH], to[BACKUP_PATH];
    if (b->status != ERR_OK) return;
    (void)snprintf(from, sizeof from, "%s/%s", b->from, name);
    (void)snprintf(to, sizeof to, "%s/%s", b->to, name);
    b->status = copy_file(b, from, to);
    if (b->status != ERR_OK) (void)snprintf(b->call->why, sizeof b->call->why, "%.200s cannot be copied: %s", name, err_text(b->status));
}

static void count_entry(void *arg, const char *name) {
    (void)name;
    ++*(unsigned *)arg;
}

/* The secret behind fake salts, and the certificates that clients have learnt to trust. */
static err copy_small(backup *b, const char *dir) {
    static const char *const names[] = {"format", "secret"};
    const char *data = compose_data(main_env_of(b->call)->compose);
    char tls_from[BACKUP_PATH], tls_to[BACKUP_PATH];
    unsigned n = 0;
    b->from = data, b->to = dir;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) copy_entry(b, names[i]);
    (void)snprintf(tls_from, sizeof tls_from, "%s/tls", data);
    (void)snprintf(tls_to, sizeof tls_to, "%s/tls", dir);
    if (b->status != ERR_OK || b->s->dir_list(b->s, tls_from, count_entry, &n) != ERR_OK) return b->status; /* no certificates of ours */
    err e = make_dir(b, tls_to);
    b->from = tls_from, b->to = tls_to;
    if (e == ERR_OK) e = b->s->dir_list(b->s, tls_from, copy_entry, b);
    if (e == ERR_OK) e = b->status;
    return e == ERR_OK ? b->s->dir_sync(b->s, tls_to) : e;
}

static err make_empty_dir(backup *b, const char *dir, const char *log) {
    rt_verb_call *c = b->call;
    unsigned entries = 0;
    err e = make_dir(b, dir);
    if (e == ERR_EXISTS) e = b->s->dir_list(b->s, dir, count_entry, &entries);
    if (e == ERR_OK && entries) {
        (void)snprintf(c->why, sizeof c->why, "%.200s is not empty", dir);
        return ERR_EXISTS;
    }
    if (e == ERR_OK) e = make_dir(b, log);
    if (e != ERR_OK) (void)snprintf(c->why, sizeof c->why, "%.200s cannot be made: %s", dir, err_text(e));
    return e;
}

/* Accounts come before messages: a message to an account that is not in the copy is only possible for one that was made since. */
static err write_all(backup *b, const char *dir, const char *log) {
    char accounts[BACKUP_PATH];
    (void)snprintf(accounts, sizeof accounts, "%s/accounts.db", dir);
    err e = make_empty_dir(b, dir, log);
    if (e == ERR_OK) e = ask_engine(b, STORE_KEYED_NAME, dir);
    if (e == ERR_OK) {
        note(b, accounts, false);
        e = ask_engine(b, STORE_LOG_NAME, log);
    }
    if (e == ERR_OK) e = note_made(b, log);
    if (e == ERR_OK) e = copy_small(b, dir);
    if (e == ERR_OK) e = b->s->dir_sync(b->s, dir);
    return e == ERR_OK ? store_dir_sync_parent(b->s, dir) : e;
}

err main_backup(rt_verb_call *c) {
    char dir[BACKUP_DIR_MAX], log[BACKUP_PATH];
    slice to = c->args[0];
    if (to.len == 0 || to.len >= sizeof dir || slice_find(to, 0) != to.len) {
        (void)snprintf(c->why, sizeof c->why, "a directory's path of 1 to %zu bytes is wanted", sizeof dir - 1);
        return ERR_INVALID;
    }
    if (to.p[0] != '/') {
        (void)snprintf(c->why, sizeof c->why, "an absolute path is wanted: the server does not work where you do");
        return ERR_INVALID;
    }
    (void)snprintf(dir, sizeof dir, SLICE_FMT, SLICE_ARG(to));
    (void)snprintf(log, sizeof log, "%s/log", dir);
    backup b = {.call = c, .s = rt_node_sys(c->node)};
    err e = write_all(&b, dir, log);
    if (!forget(&b, e != ERR_OK)) {
        size_t n = strlen(c->why);
        (void)snprintf(c->why + n, sizeof c->why - n, "%s; not all of %.200s could be removed", n ? "" : err_text(e), dir);
    }
    if (e == ERR_OK) c->result = val_str(c->arena, slice_str(dir));
    return e;
}
