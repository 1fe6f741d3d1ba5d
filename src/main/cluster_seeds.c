/* cluster_seeds: see cluster_seeds.h. */
#include "main/cluster_seeds.h"

#include "base/mem.h"
#include "mesh/mesh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX (4u << 20) /* as many nodes as may be, each with the longest name, and as much again of remarks */

static err read_file(const char *path, buf *out, char *why) {
    uint8_t chunk[4096];
    size_t n;
    errno = 0;
    FILE *f = fopen(path, "rbe");
    while (f && buf_ok(out) && (n = fread(chunk, 1, sizeof chunk, f)) > 0) buf_add(out, slice_of(chunk, n));
    int error = f && !ferror(f) ? 0 : errno;
    if (f) (void)fclose(f);
    if (error) {
        err e = error == EACCES || error == EPERM ? ERR_PERM : error == ENOENT || error == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
        return config_why(why, e, "node.seeds_file: %.200s: %s", path, strerror(error));
    }
    if (!buf_ok(out)) return config_why(why, ERR_CONFIG, "node.seeds_file: %.200s: larger than %u bytes", path, FILE_MAX);
    return ERR_OK;
}

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }
static slice trimmed(slice s) {
    while (s.len && is_blank(s.p[0])) s = slice_from(s, 1);
    while (s.len && is_blank(s.p[s.len - 1])) s = slice_sub(s, 0, s.len - 1);
    return s;
}

err main_seeds_read(const config *f, main_seeds *out, char why[CONFIG_WHY_MAX]) {
    size_t cap = 0;
    unsigned line = 0;
    *out = (main_seeds){.n = 0};
    buf_init(&out->text, FILE_MAX);
    err e = read_file(f->node_seeds_file, &out->text, why);
    for (slice rest = buf_slice(&out->text); !e && rest.len;) {
        size_t end = slice_find(rest, '\n');
        slice one = slice_sub(rest, 0, end);
        char matter[MESH_WHY_MAX];
        rest = slice_from(rest, end < rest.len ? end + 1 : end);
        one = trimmed(slice_sub(one, 0, slice_find(one, '#')));
        line++;
        if (one.len == 0) continue;
        if (out->n == MESH_SEEDS_MAX) return config_why(why, ERR_CONFIG, "node.seeds_file: more than %u nodes", MESH_SEEDS_MAX);
        if (mesh_seed_check(slice_str(f->node_name), *f->node_tls_cert, one, matter))
            return config_why(why, ERR_CONFIG, "node.seeds_file: line %u: %s", line, matter);
        void *v = out->v;
        mem_grow(&v, &cap, out->n + 1, sizeof *out->v);
        out->v = v;
        out->v[out->n++] = one;
    }
    return e;
}

void main_seeds_free(main_seeds *s) {
    buf_fini(&s->text);
    mem_free(s->v);
    *s = (main_seeds){.n = 0};
}

static void look(const config *f, sys *s, main_seeds_seen *seen) {
    if (s->file_stat(s, f->node_seeds_file, &seen->size, &seen->mtime)) seen->size = 0, seen->mtime = 0;
}

void main_seeds_note(const config *f, sys *s, main_seeds_seen *seen) {
    look(f, s, seen);
    seen->used_size = seen->size;
    seen->used_mtime = seen->mtime;
}

bool main_seeds_changed(const config *f, sys *s, main_seeds_seen *seen) {
    main_seeds_seen was = *seen;
    look(f, s, seen);
    bool still = was.size == seen->size && was.mtime == seen->mtime;
    if (!still || (seen->used_size == seen->size && seen->used_mtime == seen->mtime)) return false;
    seen->used_size = seen->size;
    seen->used_mtime = seen->mtime;
    return true;
}
